//! What happens, in a line each, for the trace.

use broker::{Event, Subscriber};
use contract::{
    Command, ConnectionId, Delivery, Header, Message, Notice, Operation, Refusal, Reply, Settle,
    Token,
};

pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Command(connection, token, c, _) => {
            format!("{} command {}: {}", name(*connection), token.0, command(c))
        }
        Event::Settle(connection, settled, token) => {
            format!("{} {}, reply to {token:?}", name(*connection), settle(settled))
        }
        Event::Credit(connection, subscription, credit) => {
            format!("{} credit {} {credit:?}", name(*connection), subscription.0)
        }
        Event::Cancel(Subscriber { connection, subscription }, refusal) => {
            format!("cancel {} {}: {refusal:?}", name(*connection), subscription.0)
        }
        Event::Written(connection, count) => format!("{} has {count} more", name(*connection)),
        Event::Closing(connection, leave) => format!("{} closes: {leave:?}", name(*connection)),
        Event::Gone(connection) => format!("{} is gone", name(*connection)),
        Event::KeepInterest(pattern) => format!("keep interest in {pattern}"),
        Event::QueueRules(rules) => format!("settings of queues {rules:?}"),
        Event::Opened(..)
        | Event::Bound(..)
        | Event::FromShard(..)
        | Event::Stored(_)
        | Event::StoreOpened(_)
        | Event::StoreRefused(..)
        | Event::Restored(_)
        | Event::RestoredNumbers(_)
        | Event::RestoredOnDisk(..)
        | Event::Loaded(..)
        | Event::Turn
        | Event::Timeout => format!("{event:?}"),
    }
}

pub(super) fn reply(
    connection: ConnectionId,
    token: Token,
    result: Result<&Reply, &Refusal>,
) -> String {
    format!("  {} reply {}: {result:?}", name(connection), token.0)
}

pub(super) fn notice(connection: ConnectionId, notice: &Notice) -> String {
    format!("  {} notice {notice:?}", name(connection))
}

pub(super) fn delivery(subscriber: Subscriber, delivery: &Delivery) -> String {
    let Subscriber { connection, subscription } = subscriber;
    let Delivery { message, tag, redeliveries, dropped } = delivery;
    let tag = tag.map(|tag| format!(" tag {}", tag.0)).unwrap_or_default();
    let (name, message) = (name(connection), show_message(message));
    format!("  {name} gets by {}: {message}{tag} +{redeliveries} -{dropped}", subscription.0)
}

/// Core and slot.
fn name(connection: ConnectionId) -> String {
    format!("{}/{}", connection.core, connection.slot)
}

fn command(command: &Command) -> String {
    match command {
        Command::Claim(client, contest) => format!("claim {client:?} {contest:?}"),
        Command::Subscribe(subscribe) => format!(
            "subscribe {} to {} {:?} {:?} credit {:?} {:?} rate {:?}",
            subscribe.id.0,
            subscribe.pattern,
            subscribe.mode,
            subscribe.settlement,
            subscribe.credit,
            subscribe.on_slow,
            subscribe.rate
        ),
        Command::Drain(subscription) => format!("drain {}", subscription.0),
        Command::Unsubscribe(subscription, _) => format!("unsubscribe {}", subscription.0),
        Command::Delete(name) => format!("delete {name}"),
        Command::Find(name) => format!("find {name}"),
        Command::Undeclare(destination) => format!("undeclare {destination}"),
        Command::Publish(lane, message) => {
            format!("lane {}: publish {}", lane.0, show_message(message))
        }
        Command::Declare(declare) => format!("declare {}", declare.destination),
        Command::Transact(lane, operations) => {
            let operations: Vec<String> = operations.iter().map(operation).collect();
            format!("lane {}: transact {}", lane.0, operations.join("; "))
        }
    }
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Publish(message) => format!("publish {}", show_message(message)),
        Operation::Settle(settled) => settle(settled),
    }
}

fn settle(settle: &Settle) -> String {
    let (first, last) = (settle.tags.start().0, settle.tags.end().0);
    format!("{:?} {} tags {first} to {last}", settle.outcome, settle.subscription.0)
}

fn show_message(message: &Message) -> String {
    let Message { id, to, header, .. } = message;
    let Header { priority, expires_unix_ms, group, .. } = header;
    let group = group.map(|group| format!(" {group:?}")).unwrap_or_default();
    let expires = expires_unix_ms.map(|ms| format!(" expires {ms}")).unwrap_or_default();
    format!("message {id} to {to} priority {priority}{expires}{group}")
}
