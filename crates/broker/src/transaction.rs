//! Transactions: all operations or none, over the homes of all the queues in them.
//!
//! ```text
//! front of the connection            each home it needs
//!   Prepare ------------------------->  takes the deliveries, keeps places in the queues
//!           <------------------ Voted   (or undoes that and says why not)
//!   Decide  ------------------------->  carries it out, or undoes it
//! ```
//!
//! A single home decides by itself. Topics get their messages when all is decided. No vote waits
//! for anything, so transactions cannot block each other; and once begun, one ends whether or not
//! its connection is still there.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use contract::{
    Command, ConnectionId, DestinationKind, Message, Now, Operation, Outcome, Refusal, Settle, Tag,
    Token,
};

use crate::{
    home::Home,
    parcel::{Letter, Post, Subscriber, load},
    queue::QueuedMessage,
    shard::{Shard, Subscription},
};

/// A transaction under way, at the front of its connection.
#[derive(Debug)]
pub(crate) struct Transaction {
    connection: ConnectionId,
    token: Token,
    topics: Vec<Arc<Message>>,
    participants: Vec<u16>,
    /// Votes that have not come.
    missing: usize,
    refusal: Option<Refusal>,
}

/// What a connection asked while its transaction was under way and must come after it.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    commands: VecDeque<(Token, Command)>,
    bytes: usize,
}

impl Deferred {
    /// `false` if too much is deferred already.
    fn push(&mut self, token: Token, command: Command, commands_max: usize) -> bool {
        let bytes = match &command {
            Command::Publish(message) => message.cost(),
            Command::Transact(operations) => operations.iter().map(load).sum(),
            Command::Subscribe(_) | Command::Unsubscribe(_) | Command::Declare(_) => 0,
        };
        let fits = self.commands.len() < commands_max && self.bytes + bytes <= DEFERRED_BYTES;
        if fits || self.commands.is_empty() {
            self.bytes += bytes;
            self.commands.push_back((token, command));
            return true;
        }
        false
    }
}

impl Shard {
    /// Keeps a command that publishes for after the transaction that is under way, for the order
    /// of messages. Gives it back if there is none.
    pub(crate) fn defer(
        &mut self,
        connection: ConnectionId,
        token: Token,
        command: Command,
        post: &mut Post<'_>,
    ) -> Option<Command> {
        if !matches!(command, Command::Publish(_) | Command::Transact(_)) {
            return Some(command);
        }
        let commands_max = self.limits.commands_max;
        let client = self.clients.get_mut(&connection);
        let Some(deferred) = client.and_then(|client| client.deferred.as_mut()) else {
            return Some(command);
        };
        if !deferred.push(token, command, commands_max) {
            self.reply(connection, token, Err(Refusal::Busy), post);
        }
        None
    }

    pub(crate) fn transact(
        &mut self,
        connection: ConnectionId,
        token: Token,
        operations: Vec<Operation>,
        post: &mut Post<'_>,
    ) {
        if operations.len() > self.limits.transaction_operations_max {
            return self.reply(connection, token, Err(Refusal::Limit), post);
        }
        let mut topics = Vec::new();
        let mut branches: BTreeMap<u16, Vec<Operation>> = BTreeMap::new();
        for operation in operations {
            let home = match &operation {
                Operation::Publish(message)
                    if message.destination.kind() == DestinationKind::Topic =>
                {
                    topics.push(Arc::clone(message));
                    continue;
                }
                Operation::Publish(message) => self.home_of(&message.destination),
                Operation::Settle(Settle { subscription, .. }) => {
                    let subscriber = Subscriber { connection, subscription: *subscription };
                    match self.subscriptions.get(&subscriber) {
                        Some(&Subscription::Home { core, .. }) => core,
                        Some(Subscription::Topic { .. }) | None => {
                            return self.reply(connection, token, Err(Refusal::Stale), post);
                        }
                    }
                }
            };
            branches.entry(home).or_default().push(operation);
        }
        let bytes = topics.iter().map(|message| message.cost()).sum();
        let fits = |(&home, operations): (&u16, &Vec<Operation>)| {
            self.link_has_room(home, operations.iter().map(load).sum())
        };
        if !branches.iter().all(fits) || !topics.iter().all(|m| self.topic_has_room(m, bytes)) {
            return self.reply(connection, token, Err(Refusal::Busy), post);
        }
        let transaction = Transaction {
            connection,
            token,
            topics,
            participants: branches.keys().copied().collect(),
            missing: branches.len(),
            refusal: None,
        };
        if branches.is_empty() {
            return self.conclude_transaction(transaction, post);
        }
        if let Some(client) = self.clients.get_mut(&connection) {
            client.deferred = Some(Deferred::default());
        }
        let ticket = self.ticket();
        self.transactions.insert(ticket, transaction);
        let alone = branches.len() == 1;
        for (home, operations) in branches {
            self.send(home, Letter::Prepare { connection, ticket, operations, alone }, post);
        }
    }

    /// A home has voted; with the last vote the transaction is decided.
    pub(crate) fn voted(&mut self, ticket: u64, result: Result<(), Refusal>, post: &mut Post<'_>) {
        let Some(transaction) = self.transactions.get_mut(&ticket) else { return };
        transaction.refusal = result.err().or(transaction.refusal);
        transaction.missing -= 1;
        if transaction.missing > 0 {
            return;
        }
        let Some(transaction) = self.transactions.remove(&ticket) else { return };
        let commit = transaction.refusal.is_none();
        if let [_, _, ..] = *transaction.participants {
            for &home in &transaction.participants {
                post.send(home, Letter::Decide { ticket, commit });
            }
        }
        let connection = transaction.connection;
        self.conclude_transaction(transaction, post);
        self.resume(connection, post);
    }

    fn conclude_transaction(&mut self, transaction: Transaction, post: &mut Post<'_>) {
        let Transaction { connection, token, topics, refusal, .. } = transaction;
        if let Some(refusal) = refusal {
            return self.reply(connection, token, Err(refusal), post);
        }
        let mut busy = None;
        for message in &topics {
            busy = self.fan_out(message, post).or(busy);
        }
        self.reply_unless_busy(busy, connection, token, post);
    }

    /// Carries out what was deferred; it may begin another transaction, which defers the rest.
    fn resume(&mut self, connection: ConnectionId, post: &mut Post<'_>) {
        let Some(client) = self.clients.get_mut(&connection) else { return };
        for (token, command) in client.deferred.take().unwrap_or_default().commands {
            self.command(connection, token, command, post);
        }
        if self.clients.get(&connection).is_some_and(|c| c.gone && c.deferred.is_none()) {
            self.clients.remove(&connection);
        }
    }
}

/// The branch of a transaction that one home is ready to carry out.
#[derive(Debug, Default)]
pub(crate) struct Branch {
    /// Publications; those to queues have their places kept.
    publications: Vec<Arc<Message>>,
    /// Deliveries, taken from their consumers.
    settles: Vec<(Subscriber, Tag, Outcome, QueuedMessage)>,
}

impl Home {
    pub(crate) fn prepare(
        &mut self,
        connection: ConnectionId,
        ticket: u64,
        operations: Vec<Operation>,
        alone: bool,
        now: Now,
        post: &mut Post<'_>,
    ) {
        let mut branch = Branch::default();
        let mut take = |operation| self.take(connection, operation, &mut branch);
        let result = operations.into_iter().try_for_each(&mut take);
        post.send(connection.core, Letter::Voted { ticket, result });
        match result {
            Err(_) => self.roll_back(branch, now, post),
            Ok(()) if alone => self.commit(branch, now, post),
            Ok(()) => drop(self.prepared.insert((connection.core, ticket), branch)),
        }
    }

    pub(crate) fn decide(
        &mut self,
        core: u16,
        ticket: u64,
        commit: bool,
        now: Now,
        post: &mut Post<'_>,
    ) {
        match self.prepared.remove(&(core, ticket)) {
            Some(branch) if commit => self.commit(branch, now, post),
            Some(branch) => self.roll_back(branch, now, post),
            None => {} // It voted against.
        }
    }

    fn take(
        &mut self,
        connection: ConnectionId,
        operation: Operation,
        branch: &mut Branch,
    ) -> Result<(), Refusal> {
        match operation {
            Operation::Publish(message) => {
                if message.destination.kind() == DestinationKind::TempTopic {
                    if !self.temp_topics.contains_key(&message.destination) {
                        return Err(Refusal::NotFound);
                    }
                } else {
                    self.reserve(&message)?;
                }
                branch.publications.push(message);
            }
            Operation::Settle(Settle { subscription, tag, outcome }) => {
                let subscriber = Subscriber { connection, subscription };
                let consumer = self.consumers.get_mut(&subscriber).ok_or(Refusal::Stale)?;
                let held = consumer.unsettled.remove(&tag).ok_or(Refusal::Stale)?;
                branch.settles.push((subscriber, tag, outcome, held));
            }
        }
        Ok(())
    }

    fn reserve(&mut self, message: &Message) -> Result<(), Refusal> {
        let id = self.enter_queue(&message.destination)?;
        let limits = Arc::clone(&self.limits);
        let queue = self.queue_mut(id).ok_or(Refusal::NotFound)?;
        if !queue.takes(message, &limits) {
            self.stats.refused_full += 1;
            return Err(Refusal::Full);
        }
        queue.reserve(message);
        Ok(())
    }

    fn commit(&mut self, branch: Branch, now: Now, post: &mut Post<'_>) {
        for message in branch.publications {
            if message.destination.kind() == DestinationKind::TempTopic {
                // If it has gone since, so has everyone who would get it.
                let _gone = self.publish_temp_topic(&message, post);
            } else if let Some(id) = self.queue_id(&message.destination) {
                self.release(id, &message);
                self.put_new(id, message, now);
                self.pump(id, now, post);
            } else {
                self.stats.queue_published += 1;
                self.stats.dropped += 1;
            }
        }
        for (subscriber, _, outcome, held) in branch.settles {
            self.conclude_named(held, outcome, now, post);
            self.credit(subscriber, 0, now, post);
        }
    }

    fn roll_back(&mut self, branch: Branch, now: Now, post: &mut Post<'_>) {
        for message in branch.publications {
            if let Some(id) = self.queue_id(&message.destination) {
                self.release(id, &message);
                self.pump(id, now, post);
            }
        }
        for (subscriber, tag, _, held) in branch.settles {
            match self.consumers.get_mut(&subscriber) {
                Some(consumer) if tag > consumer.since => {
                    consumer.unsettled.insert(tag, held);
                }
                Some(_) | None => self.conclude_named(held, Outcome::Failed, now, post),
            }
        }
    }

    /// As [`Home::conclude`]; the queue may have been temporary and gone with its owner.
    fn conclude_named(
        &mut self,
        held: QueuedMessage,
        outcome: Outcome,
        now: Now,
        post: &mut Post<'_>,
    ) {
        if let Some(id) = self.queue_id(&held.message.destination) {
            self.conclude(id, held, outcome, post);
            self.pump(id, now, post);
        } else if outcome == Outcome::Accepted {
            self.stats.queue_settled += 1;
        } else {
            self.stats.dropped += 1;
        }
    }

    fn release(&mut self, id: usize, message: &Message) {
        if let Some(queue) = self.queue_mut(id) {
            queue.unreserve(message);
        }
    }
}

/// Bytes of messages that one connection may have deferred. One command may always be.
const DEFERRED_BYTES: usize = 4 << 20;
