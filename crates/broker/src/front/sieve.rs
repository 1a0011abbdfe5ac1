//! Subscriptions to topics with selectors: those to one pattern with equal ones share a [`Sieve`], so that a
//! selector is evaluated once for each publication, whatever their number.
//!
//! ```text
//! publication --> each sieve of its topics --selected--> the buffers and tables behind it
//!                   |
//!                   +-- no more may be spent on selectors in this turn: it waits, in order
//! ```
//!
//! What waits is not known to be for anybody, so it counts as what waits for all behind the sieve: beyond
//! what may, the oldest goes.

use std::{collections::VecDeque, sync::Arc};

use contract::{Message, Refusal, Selector, SlowPolicy, internal};

use super::{
    End, Front, Holder,
    audience::{Audience, AudienceId},
    buffer::Waiting,
    buffered::OFFER_LOOKUPS,
};
use crate::{output::ShardOutput, stats::Shed};

/// The subscriptions of a topic with one selector.
#[derive(Debug)]
pub(super) struct Sieve {
    topic: usize,
    selector: Arc<Selector>,
    audience: Audience,
    /// Tells it from others that had its key.
    serial: u64,
    /// What is to be looked at, in order.
    unseen: VecDeque<Arc<Waiting>>,
    /// What that costs, and what it may. One may always wait, however large.
    bytes: usize,
    bytes_max: usize,
    /// What it is known by among those with something waiting.
    pub(super) known_bytes: usize,
}

impl Sieve {
    pub(super) const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// What the messages cost that wait to be looked at.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn pop(&mut self) -> Option<Arc<Waiting>> {
        let message = self.unseen.pop_front()?;
        self.bytes -= message.bytes();
        Some(message)
    }
}

impl Front {
    pub(crate) const fn set_selection_per_turn(&mut self, cost: usize) {
        self.effort.set_per_turn(cost);
    }

    pub(super) fn audience(&self, id: AudienceId) -> Option<&Audience> {
        match id.sieve {
            Some(sieve) => self.sieves.get(sieve).map(Sieve::audience),
            None => Some(self.topics.get(id.topic)?.audience()),
        }
    }

    pub(super) fn audience_mut(&mut self, id: AudienceId) -> Option<&mut Audience> {
        match id.sieve {
            Some(sieve) => self.sieves.get_mut(sieve).map(|sieve| &mut sieve.audience),
            None => Some(self.topics.get_mut(id.topic)?.audience_mut()),
        }
    }

    /// The keys of all subscriptions of an audience.
    pub(super) fn listeners<'a>(&'a self, audience: &'a Audience) -> impl Iterator<Item = usize> {
        let tables = audience.tables().iter().filter_map(|&table| self.tables.get(table));
        let members = tables.flat_map(|table| table.members().iter().copied());
        audience.buffered().iter().copied().chain(members)
    }

    /// The audience of a topic for a selector, if there is one.
    pub(super) fn find_audience(
        &self,
        topic: usize,
        selector: Option<&Arc<Selector>>,
    ) -> Option<AudienceId> {
        let sieve = match selector {
            Some(selector) => Some(*self.sieves_by_selector.get(&(topic, Arc::clone(selector)))?),
            None => None,
        };
        Some(AudienceId { topic, sieve })
    }

    /// The same, made when missing. What waits at it may cost the most that one of its subscriptions
    /// allows.
    pub(super) fn enter_audience(
        &mut self,
        topic: usize,
        selector: Option<&Arc<Selector>>,
        bytes_max: usize,
    ) -> AudienceId {
        let found = self.find_audience(topic, selector);
        let Some(selector) = selector else { return AudienceId { topic, sieve: None } };
        let id = found.unwrap_or_else(|| {
            let sieve = Sieve {
                topic,
                selector: Arc::clone(selector),
                audience: Audience::default(),
                serial: self.next_request(),
                unseen: VecDeque::new(),
                bytes: 0,
                bytes_max: 0,
                known_bytes: 0,
            };
            let key = self.sieves.insert(sieve);
            self.sieves_by_selector.insert((topic, Arc::clone(selector)), key);
            if let Some(topic) = self.topics.get_mut(topic) {
                topic.add_sieve(key);
            }
            AudienceId { topic, sieve: Some(key) }
        });
        if let Some(sieve) = id.sieve.and_then(|sieve| self.sieves.get_mut(sieve)) {
            sieve.bytes_max = sieve.bytes_max.max(bytes_max);
        }
        id
    }

    /// A subscription has left: a sieve without any goes, and so does a topic.
    pub(super) fn leave_audience(&mut self, id: AudienceId, output: &mut ShardOutput<'_>) {
        if let Some(key) = id.sieve
            && let Some(sieve) = self.sieves.get_mut(key)
            && sieve.audience.is_empty()
        {
            self.by_waiting.correct(Holder::Sieve(key), &mut sieve.known_bytes, 0);
            let sieve = self.sieves.remove(key);
            self.sieves_by_selector.remove(&(sieve.topic, sieve.selector));
            if let Some(topic) = self.topics.get_mut(id.topic) {
                topic.remove_sieve(key);
            }
        }
        self.tidy(id.topic, output);
    }

    /// Offers a publication to the subscriptions of a topic whose selectors select it.
    pub(super) fn sift(
        &mut self,
        topic: usize,
        message: &Arc<Message>,
        waiting: &mut Option<Arc<Waiting>>,
        output: &mut ShardOutput<'_>,
    ) {
        let mut index = 0;
        // None is made or goes meanwhile.
        while let Some(&key) = self.topics.get(topic).and_then(|t| t.sieves().get(index)) {
            index += 1;
            let Some(sieve) = self.sieves.get_mut(key) else {
                return internal!("a topic has a sieve that does not exist");
            };
            if !sieve.unseen.is_empty() || self.effort.is_spent() {
                self.postpone(key, message, waiting);
            } else if self.effort.selects(&sieve.selector, message) {
                self.offer(AudienceId { topic, sieve: Some(key) }, message, waiting, output);
            }
        }
    }

    /// A message is looked at in another turn.
    fn postpone(&mut self, key: usize, message: &Arc<Message>, waiting: &mut Option<Arc<Waiting>>) {
        let Some(sieve) = self.sieves.get_mut(key) else { return };
        let waiting = waiting.get_or_insert_with(|| Waiting::new(message, &self.waiting_bytes));
        if sieve.unseen.is_empty() {
            self.unfinished.push_back((key, sieve.serial));
        }
        sieve.bytes += waiting.bytes();
        sieve.unseen.push_back(Arc::clone(waiting));
        self.by_waiting.grow(Holder::Sieve(key), &mut sieve.known_bytes, sieve.bytes);
        while let Some(sieve) = self.sieves.get_mut(key)
            && sieve.bytes > sieve.bytes_max
            && sieve.unseen.len() > 1
        {
            drop(sieve.pop());
            for key in self.miss_behind(key) {
                let subscriber = self.buffered.get(key).map(|buffered| buffered.subscriber);
                self.overflowing.extend(subscriber);
            }
        }
    }

    /// Those behind a sieve do not get a message. Returns those that end with that.
    fn miss_behind(&mut self, key: usize) -> Vec<usize> {
        let Some(sieve) = self.sieves.get(key) else { return Vec::new() };
        let listeners: Vec<usize> = self.listeners(&sieve.audience).collect();
        self.lookups += listeners.len();
        let mut ending = Vec::new();
        for listener in listeners {
            let Some(buffered) = self.buffered.get_mut(listener) else { continue };
            if buffered.on_slow == SlowPolicy::Close {
                ending.push(listener);
            } else {
                buffered.count_lost();
                self.topic_dropped += 1;
            }
        }
        ending
    }

    /// Where more waits on the core than may, and most at this sieve: the oldest is not looked at any
    /// more.
    pub(super) fn take_from_sieve(&mut self, key: usize, output: &mut ShardOutput<'_>) {
        let Some(sieve) = self.sieves.get_mut(key) else { return };
        drop(sieve.pop());
        let ending = self.miss_behind(key);
        let Some(sieve) = self.sieves.get(key) else { return };
        let listeners = self.listeners(&sieve.audience);
        let (mut all, mut from) = (0, None);
        for listener in listeners {
            all += 1;
            from = from.or_else(|| self.buffered.get(listener).map(|one| one.subscriber));
        }
        let Some(from) = from else { return internal!("a sieve without subscriptions") };
        let shed = self.shed.get_or_insert(Shed { from, dropped: 0, ended: 0 });
        shed.from = from;
        shed.ended += ending.len() as u64;
        shed.dropped += all - ending.len() as u64;
        for key in ending {
            let subscriber = self.buffered.get(key).map(|buffered| buffered.subscriber);
            if let Some(subscriber) = subscriber {
                self.end(subscriber, End::Cancelled(Refusal::SlowCore), output);
            }
        }
    }

    /// Whether something waits to be looked at.
    pub(super) fn has_unseen(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Looks at what waits for that, each sieve in turn, as far as the effort allows.
    pub(super) fn sift_on(&mut self, output: &mut ShardOutput<'_>) {
        if self.unfinished.is_empty() {
            return;
        }
        while !self.effort.is_spent()
            && let Some((key, serial)) = self.unfinished.pop_front()
        {
            // It may have gone.
            let Some(sieve) = self.sieves.get_mut(key).filter(|sieve| sieve.serial == serial)
            else {
                continue;
            };
            self.lookups += OFFER_LOOKUPS;
            // All that waited may have been given up.
            let next = sieve.pop();
            self.by_waiting.correct(Holder::Sieve(key), &mut sieve.known_bytes, sieve.bytes);
            if !sieve.unseen.is_empty() {
                self.unfinished.push_back((key, serial));
            }
            if let Some(message) = next
                && self.effort.selects(&sieve.selector, &message)
            {
                let id = AudienceId { topic: sieve.topic, sieve: Some(key) };
                self.offer_late(id, message, output);
            }
        }
        self.end_overflowing(output);
        self.make_room(output);
    }

    /// Offers what has waited: some of it has expired since.
    fn offer_late(&mut self, id: AudienceId, message: Arc<Waiting>, output: &mut ShardOutput<'_>) {
        if !message.is_expired(output.now.unix_ms) {
            let inner = Arc::<Message>::clone(&message);
            return self.offer(id, &inner, &mut Some(message), output);
        }
        let Some(audience) = self.audience(id) else { return };
        for key in self.listeners(audience).collect::<Vec<_>>() {
            if let Some(buffered) = self.buffered.get_mut(key) {
                buffered.count_dropped();
                self.topic_expired += 1;
            }
        }
    }

    /// See [`crate::Shard::assert_consistent`]. Returns how many sieves are known to have something
    /// waiting.
    pub(super) fn assert_sieves_consistent(&self) -> usize {
        let mut known = 0;
        for (key, sieve) in &self.sieves {
            let found = self.find_audience(sieve.topic, Some(&sieve.selector));
            let id = AudienceId { topic: sieve.topic, sieve: Some(key) };
            assert_eq!(found, Some(id), "where a sieve is");
            let topic = self.topics.get(sieve.topic);
            assert!(topic.is_some_and(|topic| topic.sieves().contains(&key)), "{sieve:?}");
            assert!(!sieve.audience.is_empty(), "a sieve without subscriptions");
            let bytes: usize = sieve.unseen.iter().map(|message| message.bytes()).sum();
            assert_eq!(sieve.bytes, bytes, "bytes that wait at a sieve");
            let waits = self.unfinished.contains(&(key, sieve.serial));
            assert!(waits || sieve.unseen.is_empty(), "a sieve that is never looked at again");
            self.by_waiting.assert_contains(Holder::Sieve(key), sieve.known_bytes, bytes);
            known += usize::from(sieve.known_bytes > 0);
        }
        known
    }
}
