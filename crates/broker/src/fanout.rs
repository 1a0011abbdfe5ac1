//! Topics: who is interested where, and publications on their way there.

use std::{mem, sync::Arc};

use contract::{Destination, Message, Pattern, Reply};

use crate::{
    parcel::{Letter, Post, Subscriber},
    shard::{Effect, Scratch, Shard, Subscription},
    topics::Topic,
};

impl Shard {
    /// Adds a subscription to a topic; its first one is announced to the other shards. Gives the
    /// topic, the index in its list, and whether all shards know.
    pub(crate) fn join(
        &mut self,
        subscriber: Subscriber,
        pattern: &Pattern,
        post: &mut Post<'_>,
    ) -> (usize, usize, bool) {
        let ticket = self.ticket();
        let others = self.others().count();
        let (id, topic) = self.topics.enter(pattern);
        let index = topic.join(subscriber);
        if index == 0 {
            topic.announce(ticket, others);
        }
        let confirmed = !topic.is_announcing();
        if index == 0 {
            for other in self.others() {
                let pattern = pattern.clone();
                post.send(other, Letter::AddInterest { pattern, topic: id, ticket });
            }
        }
        (id, index, confirmed)
    }

    /// Removes a subscription to a topic; with the last one the announcement is withdrawn.
    pub(crate) fn leave(&mut self, id: usize, index: usize, post: &mut Post<'_>) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        if let Some(moved) = topic.leave(index)
            && let Some(Subscription::Topic { index: moved, .. }) =
                self.subscriptions.get_mut(&moved)
        {
            *moved = index;
        }
        if topic.locals().is_empty() {
            topic.withdraw();
            let pattern = topic.pattern().clone();
            self.topics.tidy(id);
            for other in self.others() {
                post.send(other, Letter::RemoveInterest(pattern.clone()));
            }
        }
    }

    /// Another shard announces its interest.
    pub(crate) fn add_interest(&mut self, from: u16, pattern: &Pattern) {
        self.topics.enter(pattern).1.add_remote(from);
    }

    pub(crate) fn remove_interest(&mut self, from: u16, pattern: &Pattern) {
        if let Some(id) = self.topics.find(pattern) {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.remove_remote(from);
            }
            self.topics.tidy(id);
        }
    }

    /// Another shard knows of our interest; once all do, the subscriptions are confirmed.
    pub(crate) fn interest_added(&mut self, id: usize, ticket: u64, post: &mut Post<'_>) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        if !topic.interest_added(ticket) {
            return;
        }
        for subscriber in Arc::clone(topic.locals()).iter() {
            if let Some(Subscription::Topic { pending, .. }) =
                self.subscriptions.get_mut(subscriber)
                && let Some(token) = pending.take()
            {
                self.reply(subscriber.connection, token, Ok(Reply::Done), post);
            }
        }
    }

    /// Publishes to the subscriptions of this core and to the shards that are interested. Gives a
    /// core with which too much is under way, if there is one.
    pub(crate) fn fan_out(&mut self, message: &Arc<Message>, post: &mut Post<'_>) -> Option<u16> {
        let found = self.find(&message.destination);
        self.stats.topic_published += 1;
        self.fan_out_here(&found, message, post);
        let mut busy = None;
        for &core in &found.cores {
            self.send(core, Letter::Topic(Arc::clone(message)), post);
            if self.link_is_busy(core) {
                busy = Some(core);
            }
        }
        self.scratch = found;
        busy
    }

    /// A publication from another shard.
    pub(crate) fn fan_in(&mut self, message: &Arc<Message>, post: &mut Post<'_>) {
        let found = self.find(&message.destination);
        self.fan_out_here(&found, message, post);
        self.scratch = found;
    }

    /// Whether not too much is under way to those that are interested.
    pub(crate) fn topic_has_room(&mut self, message: &Message, load: usize) -> bool {
        let found = self.find(&message.destination);
        let has_room = found.cores.iter().all(|&core| self.link_has_room(core, load));
        self.scratch = found;
        has_room
    }

    fn fan_out_here(&mut self, found: &Scratch, message: &Arc<Message>, post: &mut Post<'_>) {
        let lists = found.topics.iter().filter_map(|&id| self.topics.get(id)).map(Topic::locals);
        for list in lists.filter(|list| !list.is_empty()) {
            self.stats.topic_delivered += list.len() as u64;
            post.effects.push(Effect::Fanout(Arc::clone(list), Arc::clone(message)));
        }
    }

    /// The topics whose patterns match, and the other cores that are interested. The memory is to
    /// be given back to `self.scratch`.
    fn find(&mut self, destination: &Destination) -> Scratch {
        let mut found = mem::take(&mut self.scratch);
        found.topics.clear();
        found.cores.clear();
        self.topics.matching(destination, &mut found.topics);
        for topic in found.topics.iter().filter_map(|&id| self.topics.get(id)) {
            found.cores.extend_from_slice(topic.remotes());
        }
        found.cores.sort_unstable();
        found.cores.dedup();
        found
    }
}
