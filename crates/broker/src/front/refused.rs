//! What a front has refused of producers that number their messages.
//!
//! Were a greater number to enter a queue behind one that was refused, that would be taken for a
//! duplicate when it comes again: so the front refuses what the connection has sent behind it, as a home
//! does.

use contract::{Command, Message, Operation, Producer, Refusal};

use crate::queued::QueueId;

/// The first number that was refused to a connection, of each producer and queue.
#[derive(Debug, Default)]
pub(super) struct RefusedNumbers(Vec<(QueueId, Producer, u64)>);

impl RefusedNumbers {
    /// Why a command is not carried out, if so.
    pub(super) fn refusal(&mut self, command: &Command) -> Option<Refusal> {
        if self.0.is_empty() {
            return None;
        }
        let Self(refused) = self;
        let mut is_behind = false;
        for message in messages(command) {
            let Some(numbered) = &message.numbered else { continue };
            let number = numbered.sequence;
            let is_of = |(queue, producer, _): &(QueueId, Producer, u64)| {
                queue.name() == &message.to && *producer == numbered.producer
            };
            is_behind |= refused.iter().any(|one| is_of(one) && number > one.2);
            refused.retain(|one| !is_of(one) || number > one.2);
        }
        is_behind.then_some(Refusal::Unordered)
    }

    /// A message was refused here.
    pub(super) fn add(&mut self, message: &Message) {
        let Some(numbered) = &message.numbered else { return };
        let Some(queue) = QueueId::of(&message.to) else { return };
        let (producer, number) = (&numbered.producer, numbered.sequence);
        let known = self.0.iter_mut().find(|(q, p, _)| *q == queue && p == producer);
        match known {
            Some((.., first)) => *first = number.min(*first),
            None => {
                if self.0.len() == REFUSED_MAX {
                    self.0.remove(0);
                }
                self.0.push((queue, producer.clone(), number));
            }
        }
    }
}

fn messages(command: &Command) -> impl Iterator<Item = &Message> {
    let (one, operations) = match command {
        Command::Publish(_, message) => (Some(&**message), None),
        Command::Transact(_, operations) => (None, Some(operations)),
        Command::Subscribe(_)
        | Command::Unsubscribe(_)
        | Command::Declare(_)
        | Command::Drain(_) => (None, None),
    };
    let in_transaction = operations.into_iter().flatten().filter_map(|operation| match operation {
        Operation::Publish(message) => Some(&**message),
        Operation::Settle(_) => None,
    });
    one.into_iter().chain(in_transaction)
}

/// Producers of a connection, by queue, that something was refused to.
const REFUSED_MAX: usize = 64;
