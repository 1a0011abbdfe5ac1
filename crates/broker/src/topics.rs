use std::sync::Arc;

use contract::{Destination, Pattern};
use slab::Slab;
use wire::Map;

use crate::{
    parcel::Subscriber,
    trie::{LEVELS_MAX, Trie},
};

/// The patterns of topics that someone is interested in, and who.
///
/// A pattern without wildcards is found by one look-up of its name, the others in a [`Trie`].
#[derive(Debug, Default)]
pub(crate) struct Topics {
    exact: Map<Destination, usize>,
    wild: Trie,
    topics: Slab<Topic>,
}

/// Who is interested in one pattern.
#[derive(Debug)]
pub(crate) struct Topic {
    pattern: Pattern,
    /// The subscriptions of this core.
    ///
    /// Effects share the list, so that a publication allocates nothing; it is copied only if it
    /// changes while an effect still holds it.
    locals: Arc<Vec<Subscriber>>,
    /// The other cores.
    remotes: Vec<u16>,
    /// Names our announcement to the others; 0 when we made none.
    ticket: u64,
    /// Cores that have not answered our announcement.
    missing: usize,
}

impl Topics {
    /// Whether a pattern is not too deep.
    pub(crate) fn allows(pattern: &Pattern) -> bool {
        pattern.destination().is_some() || pattern.levels().count() <= LEVELS_MAX
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut Topic> {
        self.topics.get_mut(id)
    }

    pub(crate) fn get(&self, id: usize) -> Option<&Topic> {
        self.topics.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn find(&self, pattern: &Pattern) -> Option<usize> {
        match pattern.destination() {
            Some(destination) => self.exact.get(destination).copied(),
            None => self.wild.get(pattern),
        }
    }

    /// The topic of a pattern, made when missing.
    pub(crate) fn enter(&mut self, pattern: &Pattern) -> (usize, &mut Topic) {
        let id = match self.find(pattern) {
            Some(id) => id,
            None => {
                let id = self.topics.insert(Topic::new(pattern.clone()));
                match pattern.destination() {
                    Some(destination) => drop(self.exact.insert(destination.clone(), id)),
                    None => *self.wild.entry(pattern) = Some(id),
                }
                id
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the maps name only topics that exist")]
        (id, &mut self.topics[id])
    }

    /// Forgets a topic that nobody is interested in.
    pub(crate) fn tidy(&mut self, id: usize) {
        let unused = |topic: &Topic| topic.locals.is_empty() && topic.remotes.is_empty();
        if self.topics.get(id).is_some_and(unused) {
            let topic = self.topics.remove(id);
            match topic.pattern.destination() {
                Some(destination) => drop(self.exact.remove(destination)),
                None => self.wild.remove(&topic.pattern),
            }
        }
    }

    /// Adds all topics whose pattern matches.
    pub(crate) fn matching(&self, destination: &Destination, found: &mut Vec<usize>) {
        found.extend(self.exact.get(destination));
        // What no peer can name, no peer finds by wildcards.
        if !destination.is_hidden() {
            self.wild.matching(destination, found);
        }
    }
}

impl Topic {
    fn new(pattern: Pattern) -> Self {
        Self { pattern, locals: Arc::default(), remotes: Vec::new(), ticket: 0, missing: 0 }
    }

    pub(crate) const fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    pub(crate) const fn locals(&self) -> &Arc<Vec<Subscriber>> {
        &self.locals
    }

    pub(crate) fn remotes(&self) -> &[u16] {
        &self.remotes
    }

    /// Adds a subscription of this core; gives its index in the list.
    pub(crate) fn join(&mut self, subscriber: Subscriber) -> usize {
        Arc::make_mut(&mut self.locals).push(subscriber);
        self.locals.len() - 1
    }

    /// Removes the subscription at this index; gives the one that stands there now.
    pub(crate) fn leave(&mut self, index: usize) -> Option<Subscriber> {
        if index < self.locals.len() {
            Arc::make_mut(&mut self.locals).swap_remove(index);
        }
        self.locals.get(index).copied()
    }

    pub(crate) fn add_remote(&mut self, core: u16) {
        if !self.remotes.contains(&core) {
            self.remotes.push(core);
        }
    }

    pub(crate) fn remove_remote(&mut self, core: u16) {
        self.remotes.retain(|&other| other != core);
    }

    pub(crate) const fn announce(&mut self, ticket: u64, others: usize) {
        self.ticket = ticket;
        self.missing = others;
    }

    /// Takes back the announcement, answered or not.
    pub(crate) const fn withdraw(&mut self) {
        self.ticket = 0;
        self.missing = 0;
    }

    pub(crate) const fn is_announcing(&self) -> bool {
        self.missing > 0
    }

    /// A core has answered an announcement. `true` if it was the last answer to the present one.
    pub(crate) const fn interest_added(&mut self, ticket: u64) -> bool {
        if self.ticket != ticket || self.missing == 0 {
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
