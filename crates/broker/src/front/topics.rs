use std::sync::Arc;

use contract::{Destination, Pattern};
use slab::Slab;
use wire::Map;

use super::{audience::Audience, wildcards::Wildcards};
use crate::{queued::QueueId, shard_message::Subscriber};

/// The patterns of topics in which there is an interest, and whose.
///
/// A pattern without wildcards is found by one look-up of its name, the others among the [`Wildcards`].
#[derive(Debug, Default)]
pub(super) struct Topics {
    exact: Map<Destination, usize>,
    wild: Wildcards,
    topics: Slab<Topic>,
}

/// The interests in one pattern.
#[derive(Debug)]
pub(super) struct Topic {
    pattern: Pattern,
    /// The subscriptions of this core that are pushed to.
    ///
    /// Effects share the list, so that a publication allocates nothing; it is copied only if it
    /// changes while an effect still holds it.
    locals: Arc<Vec<Subscriber>>,
    /// The others of this core that have no selector.
    audience: Audience,
    /// The sieves of those with one, by their keys; each has a subscription.
    sieves: Vec<usize>,
    /// The queues of durable subscriptions, wherever they are.
    queues: Vec<QueueId>,
    /// The other cores.
    remotes: Vec<u16>,
    /// The interest of this core lasts without subscriptions.
    kept: bool,
    /// Names this core's request to the others to add its interest; 0 when there is none.
    request: u64,
    /// Cores that have not replied to it.
    missing: usize,
}

impl Topics {
    /// Whether the wildcards of a pattern stand where they may.
    pub(super) fn allows(pattern: &Pattern) -> bool {
        pattern.destination().is_some() || Wildcards::allows(pattern)
    }

    pub(super) fn get_mut(&mut self, id: usize) -> Option<&mut Topic> {
        self.topics.get_mut(id)
    }

    pub(super) fn get(&self, id: usize) -> Option<&Topic> {
        self.topics.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn find(&self, pattern: &Pattern) -> Option<usize> {
        match pattern.destination() {
            Some(destination) => self.exact.get(destination).copied(),
            None => self.wild.get(pattern),
        }
    }

    /// The topic of a pattern, made when missing.
    pub(super) fn enter(&mut self, pattern: &Pattern) -> (usize, &mut Topic) {
        let id = match self.find(pattern) {
            Some(id) => id,
            None => {
                let id = self.topics.insert(Topic::new(pattern.clone()));
                match pattern.destination() {
                    Some(destination) => drop(self.exact.insert(destination.clone(), id)),
                    None => self.wild.insert(pattern.clone(), id),
                }
                id
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the maps name only topics that exist")]
        (id, &mut self.topics[id])
    }

    /// Forgets a topic without interests.
    pub(super) fn tidy(&mut self, id: usize) {
        let unused = |topic: &Topic| {
            !topic.has_locals()
                && topic.remotes.is_empty()
                && topic.queues.is_empty()
                && !topic.kept
        };
        if self.topics.get(id).is_some_and(unused) {
            let topic = self.topics.remove(id);
            match topic.pattern.destination() {
                Some(destination) => drop(self.exact.remove(destination)),
                None => self.wild.remove(&topic.pattern),
            }
        }
    }

    /// See [`crate::Shard::assert_consistent`]. `is_at` tells whether a subscription is known to be
    /// at this index of this topic.
    pub(super) fn assert_consistent(&self, is_at: impl Fn(&Subscriber, usize, usize) -> bool) {
        for (id, topic) in &self.topics {
            assert_eq!(self.find(&topic.pattern), Some(id), "{:?} is not found", topic.pattern);
            for (index, subscriber) in topic.locals.iter().enumerate() {
                assert!(is_at(subscriber, id, index), "{subscriber:?} is not at {index}");
            }
        }
    }

    /// See [`crate::Shard::assert_empty`]: only interests that are kept are left.
    pub(super) fn assert_empty(&self) {
        for (_, topic) in &self.topics {
            assert!(topic.kept && !topic.has_locals(), "{:?} is left", topic.pattern);
        }
        let wild = self.topics.iter().filter(|(_, topic)| topic.pattern.destination().is_none());
        assert_eq!(self.exact.len() + wild.count(), self.topics.len(), "names of topics");
    }

    /// Adds all topics whose pattern matches. Returns how many tables of patterns with wildcards
    /// were looked into.
    pub(super) fn matching(&self, destination: &Destination, found: &mut Vec<usize>) -> usize {
        found.extend(self.exact.get(destination));
        // Wildcards do not match what peers cannot name.
        if destination.is_hidden() { 0 } else { self.wild.matching(destination, found) }
    }
}

impl Topic {
    fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            locals: Arc::default(),
            audience: Audience::default(),
            sieves: Vec::new(),
            queues: Vec::new(),
            remotes: Vec::new(),
            kept: false,
            request: 0,
            missing: 0,
        }
    }

    pub(super) const fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    pub(super) const fn locals(&self) -> &Arc<Vec<Subscriber>> {
        &self.locals
    }

    pub(super) const fn audience(&self) -> &Audience {
        &self.audience
    }

    pub(super) const fn audience_mut(&mut self) -> &mut Audience {
        &mut self.audience
    }

    pub(super) fn sieves(&self) -> &[usize] {
        &self.sieves
    }

    pub(super) fn add_sieve(&mut self, key: usize) {
        self.sieves.push(key);
    }

    pub(super) fn remove_sieve(&mut self, key: usize) {
        self.sieves.retain(|&other| other != key);
    }

    /// Whether there are subscriptions of this core.
    pub(super) fn has_locals(&self) -> bool {
        !self.locals.is_empty() || !self.audience.is_empty() || !self.sieves.is_empty()
    }

    pub(super) fn queues(&self) -> &[QueueId] {
        &self.queues
    }

    pub(super) fn bind(&mut self, queue: &QueueId) {
        if !self.queues.contains(queue) {
            self.queues.push(queue.clone());
        }
    }

    pub(super) fn unbind(&mut self, queue: &QueueId) {
        self.queues.retain(|other| other != queue);
    }

    pub(super) fn remotes(&self) -> &[u16] {
        &self.remotes
    }

    /// Adds a subscription of this core; returns its index in the list.
    pub(super) fn join(&mut self, subscriber: Subscriber) -> usize {
        Arc::make_mut(&mut self.locals).push(subscriber);
        self.locals.len() - 1
    }

    /// Removes the subscription at this index; returns the one that is there now.
    pub(super) fn leave(&mut self, index: usize) -> Option<Subscriber> {
        if index < self.locals.len() {
            Arc::make_mut(&mut self.locals).swap_remove(index);
        }
        self.locals.get(index).copied()
    }

    pub(super) const fn keep(&mut self) {
        self.kept = true;
    }

    pub(super) const fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) fn add_remote(&mut self, core: u16) {
        if !self.remotes.contains(&core) {
            self.remotes.push(core);
        }
    }

    pub(super) fn remove_remote(&mut self, core: u16) {
        self.remotes.retain(|&other| other != core);
    }

    pub(super) const fn request_interest(&mut self, request: u64, others: usize) {
        self.request = request;
        self.missing = others;
    }

    /// Forgets the request, replied to or not.
    pub(super) const fn cancel_request(&mut self) {
        self.request = 0;
        self.missing = 0;
    }

    pub(super) const fn is_requesting(&self) -> bool {
        self.missing > 0
    }

    /// A core has replied. `true` if it was the last reply to the present request.
    pub(super) const fn interest_added(&mut self, request: u64) -> bool {
        if self.request != request || self.missing == 0 {
            return false;
        }
        self.missing -= 1;
        self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_find_no_topic_that_peers_cannot_name() {
        let mut topics = Topics::default();
        let everything = Pattern::parse("/topic/>").unwrap();
        let (all, _) = topics.enter(&everything);
        let hidden = Destination::hidden("broadcast-1");
        let (own, _) = topics.enter(&hidden.clone().into());
        let matching = |destination: &Destination| {
            let mut found = Vec::new();
            topics.matching(destination, &mut found);
            found
        };
        assert_eq!(matching(&hidden), [own]);
        assert_eq!(matching(&Destination::parse("/topic/a").unwrap()), [all]);
    }
}
