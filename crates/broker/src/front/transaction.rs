//! Transactions: all operations or none, over the homes of all the queues in them.
//!
//! ```text
//! front of the connection            each home with a branch
//!   Prepare ------------------------->  takes the deliveries, reserves room in the queues
//!           <------------------ Voted   (or rolls that back and says why not)
//!   Decide  ------------------------->  commits the branch, or rolls it back
//! ```
//!
//! A single home decides by itself. What is durable is stored before it is said: a home votes when its
//! branch is stored, the front decides when the decision is. Topics get their messages when all is decided. No vote waits
//! for anything, so transactions cannot block each other; and once begun, one ends whether or not
//! its connection is still there.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use contract::{
    Command, ConnectionId, DestinationKind, Lane, Message, Operation, Refusal, Settle,
    SubscriptionId, Token, internal,
};

use super::{Front, Subscription};
use crate::{
    output::ShardOutput,
    quota::{Account, Usage},
    record::{Record, TransactionId},
    shard_message::{BranchOperation, Payload, Subscriber, ToFront, ToHome},
};

/// A transaction in flight, at the front of its connection.
#[derive(Debug)]
pub(super) struct Transaction {
    connection: ConnectionId,
    lane: Lane,
    token: Token,
    /// Those with a delay are charged to the account.
    topic_publications: Vec<Arc<Message>>,
    account: Option<Account>,
    participants: Vec<u16>,
    /// Votes that have not come.
    missing: usize,
    refusal: Option<Refusal>,
    /// A home has records of its branch in the store.
    has_records: bool,
}

/// What a connection sent in a lane while a transaction was in flight there, and must come after it.
///
/// It is bounded by what a connection may have in flight.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    items: VecDeque<Item>,
}

#[derive(Debug)]
enum Item {
    Command(Token, Command, Option<Account>),
    /// The end of a subscription, for its home: after a transaction that settles its deliveries.
    End(Box<(Subscriber, u16, ToHome)>),
}

impl Deferred {
    /// Whether a transaction among them settles deliveries of this subscription.
    fn settles(&self, subscription: SubscriptionId) -> bool {
        self.items.iter().any(|item| {
            let Item::Command(_, Command::Transact(_, operations), _) = item else { return false };
            operations.iter().any(|operation| {
                matches!(operation, Operation::Settle(settle) if settle.subscription == subscription)
            })
        })
    }

    /// The connection has gone: the ends of its subscriptions wait no longer.
    pub(super) fn send_ends(&mut self, output: &mut ShardOutput<'_>) {
        for item in mem::take(&mut self.items) {
            match item {
                Item::End(end) => {
                    let (_, home, end) = *end;
                    output.send_home(home, end);
                }
                Item::Command(..) => self.items.push_back(item),
            }
        }
    }
}

impl Front {
    /// Keeps a command that publishes for after the transaction that is in flight in its lane, for
    /// the order of messages. Returns it if there is none.
    pub(super) fn defer(
        &mut self,
        connection: ConnectionId,
        token: Token,
        command: Command,
        account: Option<Account>,
    ) -> Option<Command> {
        let (Command::Publish(lane, _) | Command::Transact(lane, _)) = &command else {
            return Some(command);
        };
        let client = self.clients.get_mut(&connection);
        let Some(deferred) = client.and_then(|client| client.lanes.get_mut(lane)) else {
            return Some(command);
        };
        deferred.items.push_back(Item::Command(token, command, account));
        None
    }

    /// Tells a home that a subscription has ended, after the transactions that settle its
    /// deliveries: otherwise they would be taken back first, and the transactions refused.
    pub(super) fn send_end(
        &mut self,
        subscriber: Subscriber,
        home: u16,
        end: ToHome,
        output: &mut ShardOutput<'_>,
    ) {
        let lanes = self.clients.get_mut(&subscriber.connection).map(|client| &mut client.lanes);
        let mut lanes = lanes.into_iter().flat_map(BTreeMap::values_mut);
        match lanes.find(|deferred| deferred.settles(subscriber.subscription)) {
            Some(deferred) => {
                deferred.items.push_back(Item::End(Box::new((subscriber, home, end))));
            }
            None => output.send_home(home, end),
        }
    }

    pub(super) fn transact(
        &mut self,
        connection: ConnectionId,
        token: Token,
        lane: Lane,
        operations: Vec<Operation>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(client) = self.clients.get(&connection) else {
            internal!("a transaction of a connection that is not open");
            return self.reply(connection, token, Err(Refusal::Busy), output);
        };
        if operations.len() > client.limits.transaction_operations_max {
            return self.refuse_transaction(connection, token, lane, Refusal::Limit, output);
        }
        let mut topic_publications = Vec::new();
        let mut branches: BTreeMap<u16, Vec<BranchOperation>> = BTreeMap::new();
        for operation in operations {
            let home = match &operation {
                Operation::Publish(message) if message.to.kind() == DestinationKind::Topic => {
                    if message.header.durable == Some(true)
                        && let Some(refusal) = output.writes.unread()
                    {
                        return self.refuse_transaction(connection, token, lane, refusal, output);
                    }
                    topic_publications.push(Arc::clone(message));
                    for queue in self.bound_queues(&message.to) {
                        let home = self.home_of(queue.name());
                        let part = BranchOperation::PublishTo(queue, Arc::clone(message));
                        branches.entry(home).or_default().push(part);
                    }
                    continue;
                }
                Operation::Publish(message) => self.home_of(&message.to),
                Operation::Settle(Settle { subscription, .. }) => {
                    let subscriber = Subscriber { connection, subscription: *subscription };
                    match self.subscriptions.get(&subscriber) {
                        Some(Subscription::Home(home)) => home.core,
                        // A topic keeps nothing.
                        Some(Subscription::Buffered(_)) => continue,
                        Some(Subscription::Topic { .. }) | None => {
                            let refusal = Refusal::Stale;
                            return self
                                .refuse_transaction(connection, token, lane, refusal, output);
                        }
                    }
                }
            };
            branches.entry(home).or_default().push(BranchOperation::Own(operation));
        }
        let bytes = topic_publications.iter().map(|message| message.cost()).sum();
        let fits = |(&home, operations): (&u16, &Vec<BranchOperation>)| {
            let bytes = operations.iter().map(BranchOperation::published_bytes).sum();
            output.windows.has_room(home, bytes)
        };
        if !branches.iter().all(fits)
            || !(topic_publications.is_empty()
                || self.others().all(|core| output.windows.has_room(core, bytes)))
        {
            return self.refuse_transaction(connection, token, lane, Refusal::Busy, output);
        }
        if let Err(refusal) = charge_delayed(&topic_publications, account, output) {
            return self.refuse_transaction(connection, token, lane, refusal, output);
        }
        let transaction = Transaction {
            connection,
            lane,
            token,
            topic_publications,
            account,
            participants: branches.keys().copied().collect(),
            missing: branches.len(),
            refusal: None,
            has_records: false,
        };
        if branches.is_empty() {
            return self.finish(transaction, output);
        }
        if let Some(client) = self.clients.get_mut(&connection) {
            client.lanes.insert(lane, Deferred::default());
        }
        let id = self.next_request();
        self.transactions.insert(id, transaction);
        let alone = branches.len() == 1;
        for (home, operations) in branches {
            let prepare =
                ToHome::Prepare { connection, transaction: id, operations, account, alone };
            output.send_home(home, prepare);
        }
    }

    /// A home has voted; with the last vote the transaction is decided.
    pub(super) fn voted(
        &mut self,
        id: u64,
        result: Result<bool, Refusal>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return internal!("a vote on a transaction that is not in flight");
        };
        match result {
            Ok(has_records) => transaction.has_records |= has_records,
            Err(refusal) => transaction.refusal = Some(refusal),
        }
        transaction.missing -= 1;
        if transaction.missing > 0 {
            return;
        }
        let is_alone = transaction.participants.len() == 1;
        if is_alone || !transaction.has_records || transaction.refusal.is_some() {
            return self.decided(id, output);
        }
        let record = Record::Commit(TransactionId { core: self.core, number: id });
        let write = output.writes.add(record);
        let decided = Payload::ToFront(ToFront::Decided { transaction: id });
        output.send_when_stored(Some(write), self.core, decided);
    }

    /// All homes have voted, and the store knows what that means.
    pub(super) fn decided(&mut self, id: u64, output: &mut ShardOutput<'_>) {
        let Some(transaction) = self.transactions.remove(&id) else {
            return internal!("a transaction is decided that is not in flight");
        };
        let commit = transaction.refusal.is_none();
        if let [_, _, ..] = *transaction.participants {
            for &home in &transaction.participants {
                output.send_home(home, ToHome::Decide { transaction: id, commit });
            }
        }
        let (connection, lane) = (transaction.connection, transaction.lane);
        self.finish(transaction, output);
        self.resume(connection, lane, output);
    }

    fn finish(&mut self, transaction: Transaction, output: &mut ShardOutput<'_>) {
        let Transaction { connection, lane, token, topic_publications, account, refusal, .. } =
            transaction;
        if let Some(refusal) = refusal {
            uncharge_delayed(&topic_publications, account, output);
            return self.refuse_transaction(connection, token, lane, refusal, output);
        }
        let mut full = None;
        for message in &topic_publications {
            full = self.fan_out_when_due(message, account, output).or(full);
        }
        self.reply_when_not_full(full, connection, token, output);
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(super) fn add_usage_of_transactions(&self, usage: &mut Usage) {
        for Transaction { topic_publications, account, .. } in self.transactions.values() {
            let delayed = topic_publications.iter().filter(|message| is_delayed(message));
            delayed.for_each(|message| usage.add_message(*account, message));
        }
    }

    fn refuse_transaction(
        &mut self,
        connection: ConnectionId,
        token: Token,
        lane: Lane,
        refusal: Refusal,
        output: &mut ShardOutput<'_>,
    ) {
        if lane == Lane::CONNECTION {
            self.refuse_behind(connection);
        }
        self.reply(connection, token, Err(refusal), output);
    }

    /// Carries out what was deferred; it may begin another transaction, which defers the rest.
    fn resume(&mut self, connection: ConnectionId, lane: Lane, output: &mut ShardOutput<'_>) {
        let Some(client) = self.clients.get_mut(&connection) else {
            return internal!("a connection was forgotten before its transactions");
        };
        for item in client.lanes.remove(&lane).unwrap_or_default().items {
            match item {
                Item::Command(token, command, account) => {
                    self.command(connection, token, command, account, output);
                }
                Item::End(end) => {
                    let (subscriber, home, end) = *end;
                    self.send_end(subscriber, home, end, output);
                }
            }
        }
        if self.clients.get(&connection).is_some_and(|c| c.gone && c.lanes.is_empty()) {
            self.clients.remove(&connection);
        }
    }
}

const fn is_delayed(message: &Message) -> bool {
    message.header.delay_ms > 0
}

fn uncharge_delayed(
    messages: &[Arc<Message>],
    account: Option<Account>,
    output: &mut ShardOutput<'_>,
) {
    let delayed = messages.iter().filter(|message| is_delayed(message));
    delayed.for_each(|message| output.quotas.uncharge(account, message));
}

/// Charges for what is to be kept until it is due, or for none of it.
fn charge_delayed(
    messages: &[Arc<Message>],
    account: Option<Account>,
    output: &mut ShardOutput<'_>,
) -> Result<(), Refusal> {
    for (index, message) in messages.iter().enumerate().filter(|(_, one)| is_delayed(one)) {
        if let Err(refusal) = output.quotas.charge(account, message) {
            let charged = messages.get(..index).unwrap_or_default();
            uncharge_delayed(charged, account, output);
            return Err(refusal);
        }
    }
    Ok(())
}
