//! The TLS handshakes of a core: how many there may be, and which is next.
//!
//! A handshake costs a signature, of 0.1 to 5 ms, and any peer can cause one. So the core's own
//! loop grants one permit to sign at a time, and has looked at everything else before the next;
//! addresses take turns: a flood from one delays the handshakes of another by one signature at a time.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    future,
    net::IpAddr,
    pin,
    rc::Rc,
};

use auth::AddressKey;
use contract::internal;
use tokio::sync::{Notify, oneshot};

use crate::permit::LimitReached;

/// The handshakes of a core.
#[derive(Clone, Debug)]
pub struct Handshakes {
    state: Rc<RefCell<State>>,
    /// Wakes the core's loop.
    work: Rc<Notify>,
}

/// A handshake in flight, from the first byte on.
#[derive(Debug)]
pub struct Handshake {
    handshakes: Handshakes,
    key: AddressKey,
    id: u64,
    /// Ends when the handshake has to make room.
    ended: RefCell<oneshot::Receiver<Infallible>>,
}

/// The right to work on a handshake now. When it is dropped, the core's loop may grant it to another.
#[derive(Debug)]
pub struct SigningPermit(Handshakes);

#[derive(Debug, Default)]
struct State {
    /// Those of each address, oldest first: a number, and what ends it when it is dropped. No
    /// address has none.
    in_flight: BTreeMap<AddressKey, VecDeque<(u64, oneshot::Sender<Infallible>)>>,
    count: usize,
    next_id: u64,
    is_taken: bool,
    /// Handshakes that wait for a permit. No address has none, and each is in `order` once.
    waiting: BTreeMap<AddressKey, VecDeque<oneshot::Sender<SigningPermit>>>,
    order: VecDeque<AddressKey>,
}

impl Handshakes {
    /// None yet, on a core whose loop is woken so.
    pub(crate) fn new(work: Rc<Notify>) -> Self {
        Self { state: Rc::default(), work }
    }

    /// Begins a handshake. Where the core has too many, the oldest of the address that has most
    /// makes room, unless that is this address.
    ///
    /// # Errors
    /// When there is no room.
    pub fn begin(&self, address: IpAddr) -> Result<Handshake, LimitReached> {
        let key = AddressKey::from(address);
        let mut state = self.state.borrow_mut();
        let own = state.in_flight.get(&key).map_or(0, VecDeque::len);
        if own >= PER_ADDRESS_MAX || (state.count >= PER_CORE_MAX && !state.make_room(own)) {
            return Err(LimitReached);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.count += 1;
        let (end, ended) = oneshot::channel();
        state.in_flight.entry(key).or_default().push_back((id, end));
        drop(state);
        Ok(Handshake { handshakes: self.clone(), key, id, ended: RefCell::new(ended) })
    }

    /// Grants the permit, if it is free, to the next handshake that waits.
    pub(crate) fn grant_next(&self) {
        let mut state = self.state.borrow_mut();
        if state.is_taken {
            return;
        }
        let next = state.next_waiting();
        state.is_taken = next.is_some();
        drop(state);
        if let Some(next) = next {
            // It was there a moment ago, on this very thread.
            drop(next.send(SigningPermit(self.clone())));
        }
    }
}

impl Handshake {
    /// Waits for the permit to sign.
    pub async fn permit(&self) -> SigningPermit {
        let (sender, receiver) = oneshot::channel();
        self.handshakes.state.borrow_mut().wait(self.key, sender);
        self.handshakes.work.notify_one();
        match receiver.await {
            Ok(permit) => permit,
            // A waiter is only forgotten when all are dropped.
            Err(_) => future::pending().await,
        }
    }

    /// Completes when the handshake has to make room for another.
    pub async fn ended(&self) {
        future::poll_fn(|context| {
            let mut ended = self.ended.borrow_mut();
            pin::Pin::new(&mut *ended).poll(context).map(|_| ())
        })
        .await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.state.borrow_mut().remove(self.key, self.id);
    }
}

impl SigningPermit {
    /// Returns a permit with which nothing was done: the next handshake gets it at once.
    pub fn release(self) {
        let handshakes = self.0.clone();
        drop(self);
        handshakes.grant_next();
    }
}

impl Drop for SigningPermit {
    fn drop(&mut self) {
        self.0.state.borrow_mut().is_taken = false;
        self.0.work.notify_one();
    }
}

impl State {
    /// Ends the oldest handshake of the address that has most, if those are more than `own`.
    fn make_room(&mut self, own: usize) -> bool {
        let most = self.in_flight.iter().max_by_key(|(_, all)| {
            (all.len(), Reverse(all.front().map_or(u64::MAX, |&(id, _)| id)))
        });
        let Some((&key, all)) = most.filter(|(_, all)| all.len() > own) else { return false };
        let Some(&(oldest, _)) = all.front() else {
            internal!("handshakes of an address without an oldest");
            return false;
        };
        self.remove(key, oldest);
        true
    }

    fn remove(&mut self, key: AddressKey, id: u64) {
        let Some(all) = self.in_flight.get_mut(&key) else { return };
        // The numbers only grow.
        let Ok(at) = all.binary_search_by_key(&id, |&(id, _)| id) else { return };
        drop(all.remove(at));
        self.count -= 1;
        if all.is_empty() {
            self.in_flight.remove(&key);
        }
    }

    fn wait(&mut self, key: AddressKey, sender: oneshot::Sender<SigningPermit>) {
        let waiting = self.waiting.entry(key).or_default();
        if waiting.is_empty() {
            self.order.push_back(key);
        }
        waiting.push_back(sender);
    }

    /// The first that still waits, of the address that has waited longest.
    fn next_waiting(&mut self) -> Option<oneshot::Sender<SigningPermit>> {
        while let Some(key) = self.order.pop_front() {
            let Some(waiting) = self.waiting.get_mut(&key) else {
                internal!("an address in order without a waiting handshake");
                continue;
            };
            let mut found = None;
            while found.is_none()
                && let Some(sender) = waiting.pop_front()
            {
                found = (!sender.is_closed()).then_some(sender);
            }
            if waiting.is_empty() {
                self.waiting.remove(&key);
            } else {
                self.order.push_back(key);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// Handshakes of a core, at some 15 KiB each.
const PER_CORE_MAX: usize = 2048;
/// Those of one address: many may stand behind a proxy that passes TLS on, and come back at once.
const PER_ADDRESS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::Context,
    };

    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x7f00_0000 + n).into()
    }

    fn handshakes() -> Handshakes {
        Handshakes::new(Rc::default())
    }

    /// Whether a future is ready at once.
    fn ready<F: Future>(future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn an_address_has_a_bound_and_others_do_not_feel_it() {
        let handshakes = handshakes();
        let flood: Vec<_> =
            (0..PER_ADDRESS_MAX).map(|_| handshakes.begin(address(1)).unwrap()).collect();
        assert_eq!(handshakes.begin(address(1)).err(), Some(LimitReached));
        drop(handshakes.begin(address(2)).unwrap());
        drop(flood);
        drop(handshakes.begin(address(1)).unwrap());
        assert!(handshakes.state.borrow().in_flight.is_empty());
    }

    #[test]
    fn the_address_with_most_makes_room() {
        let handshakes = handshakes();
        let mut flood = Vec::new();
        for n in 0..u32::try_from(PER_CORE_MAX).unwrap() {
            flood.push(handshakes.begin(address(n % 4)).unwrap());
        }
        assert_eq!(handshakes.begin(address(0)).err(), Some(LimitReached), "it is one of the four");
        let newcomer = handshakes.begin(address(9)).unwrap();
        assert_eq!(handshakes.state.borrow().count, PER_CORE_MAX);
        let ended: Vec<_> =
            (0..flood.len()).filter(|&n| ready(flood[n].ended()).is_some()).collect();
        assert_eq!(ended, [0], "the oldest");
        assert!(ready(newcomer.ended()).is_none());
    }

    #[test]
    fn of_many_with_one_each_the_oldest_makes_room() {
        let handshakes = handshakes();
        let all: Vec<_> = (0..u32::try_from(PER_CORE_MAX).unwrap() + 10)
            .map(|n| handshakes.begin(address(n)).unwrap())
            .collect();
        let ended: Vec<_> = (0..all.len()).filter(|&n| ready(all[n].ended()).is_some()).collect();
        assert_eq!(ended, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn addresses_take_turns() {
        let handshakes = handshakes();
        let begin = |n: u32| handshakes.begin(address(n)).unwrap();
        let (flood, other) = ([begin(1), begin(1), begin(1)], begin(2));
        let mut waiting: Vec<(&str, Pin<Box<dyn Future<Output = SigningPermit>>>)> = vec![
            ("gone", Box::pin(flood[0].permit())),
            ("flood 1", Box::pin(flood[1].permit())),
            ("flood 2", Box::pin(flood[2].permit())),
            ("other", Box::pin(other.permit())),
        ];
        for (_, permit) in &mut waiting {
            assert!(ready(permit.as_mut()).is_none());
        }
        drop(waiting.remove(0));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            handshakes.grant_next();
            handshakes.grant_next();
            // Each permit is dropped at once, but the next is not granted before the loop does it.
            let had: Vec<_> = waiting
                .extract_if(.., |(_, permit)| ready(permit.as_mut()).is_some())
                .map(|(name, _)| name)
                .collect();
            assert_eq!(had.len(), 1, "{had:?}");
            order.extend(had);
        }
        assert_eq!(order, ["flood 1", "other", "flood 2"]);
    }

    #[test]
    fn an_unused_permit_is_passed_on() {
        let handshakes = handshakes();
        let [one, two, three] = [1, 2, 3].map(|n| handshakes.begin(address(n)).unwrap());
        let [mut first, second, mut third] = [&one, &two, &three].map(|one| Box::pin(one.permit()));
        let mut second = second;
        for permit in [&mut first, &mut second, &mut third] {
            assert!(ready(permit.as_mut()).is_none());
        }
        handshakes.grant_next();
        ready(first.as_mut()).unwrap().release();
        // It has been given to the second, which goes without a look at it.
        drop(second);
        assert!(ready(third.as_mut()).is_none());
        handshakes.grant_next();
        assert!(ready(third.as_mut()).is_some());
    }
}
