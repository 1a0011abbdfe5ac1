//! Publications to topics: to the subscriptions of this core, and to the cores with an interest.

use std::{iter, mem, sync::Arc};

use contract::{Destination, Message, Pattern, Refusal, Reply, internal};

use super::{Front, Subscription, audience::AudienceId, topics::Topic};
use crate::{
    event::Effect,
    output::ShardOutput,
    queued::QueueId,
    shard_message::{Interest, Publisher},
};

/// Where a publication goes; memory that the next one reuses.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    topics: Vec<usize>,
    cores: Vec<u16>,
    /// Those of durable subscriptions.
    queues: Vec<QueueId>,
}

impl Front {
    /// A message from the front of another core.
    pub(crate) fn interest(&mut self, from: u16, message: Interest, output: &mut ShardOutput<'_>) {
        match message {
            Interest::Add { pattern, topic, request } => {
                self.topics.enter(&pattern).1.add_remote(from);
                output.send_interest(from, Interest::Added { topic, request });
            }
            Interest::Added { topic, request } => self.interest_added(topic, request, output),
            Interest::Remove(pattern) => self.remove_interest(from, &pattern),
            Interest::Publication(message) => self.fan_out_received(&message, output),
        }
    }

    /// Adds a subscription to a topic; with the first one, the interest is added at the other
    /// shards. `add` adds it to the topic's list, and returns the index. Returns the topic, the index,
    /// and whether all shards know.
    pub(super) fn join(
        &mut self,
        pattern: &Pattern,
        add: impl FnOnce(&mut Topic) -> usize,
        output: &mut ShardOutput<'_>,
    ) -> (usize, usize, bool) {
        let request = self.next_request();
        let others = self.others().count();
        let (id, topic) = self.topics.enter(pattern);
        let is_first = !topic.has_locals() && !topic.is_kept();
        let index = add(topic);
        if is_first {
            topic.request_interest(request, others);
        }
        let confirmed = !topic.is_requesting();
        if is_first {
            self.add_interest(id, pattern, request, output);
        }
        (id, index, confirmed)
    }

    /// Keeps this core's interest in a topic for good. See [`crate::Event::KeepInterest`].
    pub(crate) fn keep_interest(&mut self, pattern: &Pattern, output: &mut ShardOutput<'_>) {
        let request = self.next_request();
        let others = self.others().count();
        let (id, topic) = self.topics.enter(pattern);
        topic.keep();
        topic.request_interest(request, others);
        self.add_interest(id, pattern, request, output);
    }

    fn add_interest(
        &self,
        topic: usize,
        pattern: &Pattern,
        request: u64,
        output: &mut ShardOutput<'_>,
    ) {
        for other in self.others() {
            let pattern = pattern.clone();
            output.send_interest(other, Interest::Add { pattern, topic, request });
        }
    }

    /// Removes a subscription to a topic; with the last one, the interest is removed.
    pub(super) fn leave(&mut self, id: usize, index: usize, output: &mut ShardOutput<'_>) {
        let Some(topic) = self.topics.get_mut(id) else {
            return internal!("a subscription to a topic that does not exist");
        };
        if let Some(moved) = topic.leave(index)
            && let Some(Subscription::Topic { index: moved, .. }) =
                self.subscriptions.get_mut(&moved)
        {
            *moved = index;
        }
        self.tidy(id, output);
    }

    /// As [`Front::leave`], of a buffered subscription.
    pub(super) fn leave_buffered(
        &mut self,
        id: AudienceId,
        index: usize,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(audience) = self.audience_mut(id) else {
            return internal!("a subscription to a topic that does not exist");
        };
        if let Some(moved) = audience.leave(index)
            && let Some(moved) = self.buffered.get_mut(moved)
        {
            moved.index = index;
        }
        self.leave_audience(id, output);
    }

    /// Removes the interest in a topic without subscriptions.
    pub(super) fn tidy(&mut self, id: usize, output: &mut ShardOutput<'_>) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        if !topic.has_locals() && !topic.is_kept() {
            topic.cancel_request();
            let pattern = topic.pattern().clone();
            self.topics.tidy(id);
            for other in self.others() {
                output.send_interest(other, Interest::Remove(pattern.clone()));
            }
        }
    }

    fn remove_interest(&mut self, from: u16, pattern: &Pattern) {
        if let Some(id) = self.topics.find(pattern) {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.remove_remote(from);
            }
            self.topics.tidy(id);
        }
    }

    /// Another shard has added the interest; once all have, the subscriptions are confirmed.
    fn interest_added(&mut self, id: usize, request: u64, output: &mut ShardOutput<'_>) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        if !topic.interest_added(request) {
            return;
        }
        let Some(topic) = self.topics.get(id) else { return };
        let sieves = topic.sieves().iter().map(|&sieve| Some(sieve));
        let audiences = iter::once(None).chain(sieves).map(|sieve| AudienceId { topic: id, sieve });
        let audiences = audiences.filter_map(|audience| self.audience(audience));
        let all: Vec<usize> = audiences.flat_map(|audience| self.listeners(audience)).collect();
        for key in all {
            if let Some(buffered) = self.buffered.get_mut(key)
                && let Some(token) = buffered.pending.take()
            {
                let connection = buffered.subscriber.connection;
                self.reply(connection, token, Ok(Reply::Done), output);
            }
        }
        let Some(topic) = self.topics.get(id) else { return };
        for subscriber in Arc::clone(topic.locals()).iter() {
            if let Some(Subscription::Topic { pending, .. }) =
                self.subscriptions.get_mut(subscriber)
                && let Some(token) = pending.take()
            {
                self.reply(subscriber.connection, token, Ok(Reply::Done), output);
            }
        }
    }

    /// Publishes to a topic, unless too much is in flight to a shard with an interest.
    pub(super) fn publish_to_topic(
        &mut self,
        publisher: Publisher,
        message: &Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) {
        let Publisher { connection, token, .. } = publisher;
        let found = self.find(&message.to);
        let has_room = |&core: &u16| output.windows.has_room(core, message.cost());
        let has_room = found.cores.iter().all(has_room);
        if has_room && found.queues.is_empty() {
            let full = self.fan_out_to(&found, message, output);
            self.reply_when_not_full(full, connection, token, output);
        } else if has_room && self.has_room_for(&found.queues, message, output) {
            let full = self.fan_out_to(&found, message, output);
            self.publish_to_bound(publisher, &found.queues, message, full, output);
        } else {
            self.refuse_publisher(publisher, Refusal::Busy, output);
        }
        self.scratch = found;
    }

    /// The queues of durable subscriptions that a message to a topic is for.
    pub(super) fn bound_queues(&mut self, destination: &Destination) -> Vec<QueueId> {
        let mut found = self.find(destination);
        let queues = mem::take(&mut found.queues);
        self.scratch = found;
        queues
    }

    /// Publishes to the subscriptions of this core and to the shards with an interest. Returns a
    /// core to which too much is in flight, if there is one.
    pub(super) fn fan_out(
        &mut self,
        message: &Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) -> Option<u16> {
        let found = self.find(&message.to);
        let full = self.fan_out_to(&found, message, output);
        self.scratch = found;
        full
    }

    /// As [`Front::fan_out`], if there is room in flight to all shards with an interest; else `false`.
    pub(super) fn fan_out_with_room(
        &mut self,
        message: &Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) -> bool {
        let found = self.find(&message.to);
        let has_room =
            found.cores.iter().all(|&core| output.windows.has_room(core, message.cost()));
        if has_room {
            self.fan_out_to(&found, message, output);
        }
        self.scratch = found;
        has_room
    }

    /// A publication from another shard.
    fn fan_out_received(&mut self, message: &Arc<Message>, output: &mut ShardOutput<'_>) {
        if message.is_expired(output.now.unix_ms) {
            // Its publisher's shard, where it had not, counted it as published.
            return;
        }
        let found = self.find(&message.to);
        self.fan_out_here(&found, message, output);
        self.scratch = found;
    }

    fn fan_out_to(
        &mut self,
        found: &Scratch,
        message: &Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) -> Option<u16> {
        self.topic_published += 1;
        if message.is_expired(output.now.unix_ms) {
            self.topic_expired += 1;
            return None;
        }
        self.fan_out_here(found, message, output);
        let mut full = None;
        for &core in &found.cores {
            output.send_interest(core, Interest::Publication(Arc::clone(message)));
            if output.windows.is_full(core) {
                full = Some(core);
            }
        }
        full
    }

    fn fan_out_here(
        &mut self,
        found: &Scratch,
        message: &Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) {
        let lists = found.topics.iter().filter_map(|&id| self.topics.get(id)).map(Topic::locals);
        for list in lists.filter(|list| !list.is_empty()) {
            self.topic_delivered += list.len() as u64;
            output.effects.push(Effect::Fanout(Arc::clone(list), Arc::clone(message)));
        }
        if !self.buffered.is_empty() {
            let mut waiting = None;
            self.effort.renew(output.now);
            for &topic in &found.topics {
                self.offer(AudienceId { topic, sieve: None }, message, &mut waiting, output);
                self.sift(topic, message, &mut waiting, output);
            }
            drop(waiting);
            self.time_out(output);
            self.end_overflowing(output);
            self.make_room(output);
        }
    }

    /// The topics whose patterns match, and the other cores with an interest. The memory is to
    /// be given back to `self.scratch`.
    fn find(&mut self, destination: &Destination) -> Scratch {
        let mut found = mem::take(&mut self.scratch);
        found.topics.clear();
        found.cores.clear();
        found.queues.clear();
        self.lookups += self.topics.matching(destination, &mut found.topics);
        for topic in found.topics.iter().filter_map(|&id| self.topics.get(id)) {
            found.cores.extend_from_slice(topic.remotes());
            found.queues.extend_from_slice(topic.queues());
        }
        found.cores.sort_unstable();
        found.cores.dedup();
        found
    }
}
