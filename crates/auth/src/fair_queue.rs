use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::{Now, internal};

use crate::AddressKey;

/// A fair queue of jobs: round-robin over addresses, and over the names tried from one address.
///
/// Addresses and names are ordered by the time since when they wait, or from when they may be
/// served; one that was served goes to the end. Suspect addresses have a queue of their own, which
/// is served once in [`FairQueue::SUSPECTS_EVERY`] times as long as others wait.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    addresses: BTreeMap<AddressKey, AddressQueue<T>>,
    /// The addresses in the order in which they are served: those not suspect, and suspects.
    queues: [BTreeSet<(Position, AddressKey)>; 2],
    last_position: u64,
    served: u64,
}

/// A name of one address, by a keyed hash.
pub(crate) type NameKey = u64;

/// From when it may be served, then the order of arrival.
type Position = (u64, u64);

#[derive(Debug)]
struct AddressQueue<T> {
    /// Its entry in [`FairQueue::queues`], and in which of them.
    position: Position,
    queue: usize,
    /// When it was last served, or began to wait.
    since: Position,
    names: BTreeMap<NameKey, NameQueue<T>>,
    count: usize,
}

#[derive(Debug)]
struct NameQueue<T> {
    since: Position,
    jobs: VecDeque<T>,
}

/// What limits the rate of an address and its names.
pub(crate) trait Throttle {
    /// Whether an address is suspect: a login from there failed not long ago.
    fn is_suspect(&self, address: AddressKey) -> bool;
    /// The time before which none of its logins is checked.
    fn address_until(&self, address: AddressKey) -> u64;
    /// The same for one name at the address.
    fn name_until(&self, address: AddressKey, name: NameKey) -> u64;
}

impl<T: Copy + Eq> FairQueue<T> {
    /// One job of this many is one of a suspect address, when others wait.
    const SUSPECTS_EVERY: u64 = 4;

    pub(crate) const fn new() -> Self {
        Self {
            addresses: BTreeMap::new(),
            queues: [BTreeSet::new(), BTreeSet::new()],
            last_position: 0,
            served: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The number of jobs of an address, and of one name there.
    pub(crate) fn count(&self, address: AddressKey, name: NameKey) -> (usize, usize) {
        self.addresses.get(&address).map_or((0, 0), |waiting| {
            (waiting.count, waiting.names.get(&name).map_or(0, |queue| queue.jobs.len()))
        })
    }

    /// Whether a job is queued for an address.
    pub(crate) fn contains(&self, address: AddressKey, name: NameKey, job: T) -> bool {
        let queue = self.addresses.get(&address).and_then(|waiting| waiting.names.get(&name));
        queue.is_some_and(|queue| queue.jobs.contains(&job))
    }

    pub(crate) fn push(
        &mut self,
        address: AddressKey,
        name: NameKey,
        job: T,
        now: Now,
        throttle: &impl Throttle,
    ) {
        self.last_position += 1;
        let since = (now.mono_ns, self.last_position);
        let waiting = self.addresses.entry(address).or_insert_with(|| AddressQueue {
            position: since,
            queue: 0,
            since,
            names: BTreeMap::new(),
            count: 0,
        });
        let queue = waiting.names.entry(name);
        queue.or_insert_with(|| NameQueue { since, jobs: VecDeque::new() }).jobs.push_back(job);
        waiting.count += 1;
        self.update(address, throttle);
    }

    pub(crate) fn remove(
        &mut self,
        address: AddressKey,
        name: NameKey,
        job: T,
        throttle: &impl Throttle,
    ) {
        let Some(waiting) = self.addresses.get_mut(&address) else { return };
        let Some(queue) = waiting.names.get_mut(&name) else { return };
        let before = queue.jobs.len();
        queue.jobs.retain(|other| *other != job);
        waiting.count -= before - queue.jobs.len();
        if queue.jobs.is_empty() {
            waiting.names.remove(&name);
        }
        self.update(address, throttle);
    }

    /// The next job, or when there may be one.
    pub(crate) fn next(&mut self, now: Now, throttle: &impl Throttle) -> Result<T, Option<u64>> {
        let firsts = self.queues.each_ref().map(|queue| queue.first().copied());
        let is_due = |first: &Option<(Position, AddressKey)>| {
            first.filter(|((ready_ns, _), _)| *ready_ns <= now.mono_ns)
        };
        let [clean, suspect] = firsts.each_ref().map(is_due);
        let serves_suspect = self.served % Self::SUSPECTS_EVERY == Self::SUSPECTS_EVERY - 1;
        let first = if serves_suspect { suspect.or(clean) } else { clean.or(suspect) };
        let soonest = firsts.into_iter().flatten().map(|((ready_ns, _), _)| ready_ns).min();
        let (_, address) = first.ok_or(soonest)?;
        self.served += 1;
        self.last_position += 1;
        let served = (now.mono_ns, self.last_position);
        let Some(job) = self.take_first(address, served, throttle) else {
            internal!("a queued address without a job");
            return Err(soonest);
        };
        self.update(address, throttle);
        Ok(job)
    }

    fn take_first(
        &mut self,
        address: AddressKey,
        served: Position,
        throttle: &impl Throttle,
    ) -> Option<T> {
        let waiting = self.addresses.get_mut(&address)?;
        let (_, name) = first_name(address, waiting, throttle)?;
        let queue = waiting.names.get_mut(&name)?;
        let job = queue.jobs.pop_front()?;
        (waiting.since, queue.since) = (served, served);
        waiting.count -= 1;
        if queue.jobs.is_empty() {
            waiting.names.remove(&name);
        }
        Some(job)
    }

    /// Moves an address to its position after its jobs or its throttling changed.
    pub(crate) fn update(&mut self, address: AddressKey, throttle: &impl Throttle) {
        let Some(waiting) = self.addresses.get_mut(&address) else { return };
        if let Some(queue) = self.queues.get_mut(waiting.queue) {
            queue.remove(&(waiting.position, address));
        }
        let Some(((name_ns, _), _)) = first_name(address, waiting, throttle) else {
            self.addresses.remove(&address);
            return;
        };
        let (since_ns, order) = waiting.since;
        waiting.position = (since_ns.max(throttle.address_until(address)).max(name_ns), order);
        waiting.queue = usize::from(throttle.is_suspect(address));
        if let Some(queue) = self.queues.get_mut(waiting.queue) {
            queue.insert((waiting.position, address));
        }
    }

    /// The last job of the name with most jobs at the address with most, suspects first: what is
    /// evicted so that a job of another address can be queued. `None`: no address has more jobs than
    /// the other would have.
    pub(crate) fn last_of_largest(
        &self,
        other: AddressKey,
        throttle: &impl Throttle,
    ) -> Option<(AddressKey, NameKey, T)> {
        let weight = |address: AddressKey, count| (throttle.is_suspect(address), count);
        let own = weight(other, self.addresses.get(&other).map_or(0, |waiting| waiting.count) + 1);
        let weighted =
            self.addresses.iter().map(|(key, waiting)| (weight(*key, waiting.count), *key));
        let (_, address) = weighted.max().filter(|(largest, _)| *largest > own)?;
        self.last_of_name(address, 0).map(|(name, job)| (address, name, job))
    }

    /// The last job of the name with most jobs at an address, if these are more than `least`.
    pub(crate) fn last_of_name(&self, address: AddressKey, least: usize) -> Option<(NameKey, T)> {
        let names = &self.addresses.get(&address)?.names;
        let (name, queue) = names.iter().max_by_key(|(_, queue)| queue.jobs.len())?;
        let last = queue.jobs.back().filter(|_| queue.jobs.len() > least)?;
        Some((*name, *last))
    }
}

fn first_name<T>(
    address: AddressKey,
    waiting: &AddressQueue<T>,
    throttle: &impl Throttle,
) -> Option<(Position, NameKey)> {
    let names = waiting.names.iter().map(|(name, queue)| {
        let (since_ns, order) = queue.since;
        ((since_ns.max(throttle.name_until(address, *name)), order), *name)
    });
    names.min()
}
