use std::sync::Arc;

use contract::{ConnectionLimits, Lane, Message, Operation, Settle, allocation_bytes, internal};

use crate::{fault::Fault, open::Context};

/// The open transactions of a session. They are kept here until COMMIT.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: Vec<Transaction>,
    /// Bytes of the messages and settlements in all of them.
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Transaction {
    name: Box<str>,
    /// What the broker is to do.
    pub(crate) operations: Vec<Operation>,
    /// Settlements of deliveries from topics, which keep nothing: no end of a subscription makes COMMIT
    /// fail for them.
    of_topics: Vec<Settle>,
    /// Messages sent and deliveries settled.
    count: usize,
    pub(crate) bytes: usize,
}

impl Transaction {
    pub(crate) fn settles(&self) -> impl Iterator<Item = &Settle> {
        let of_queues = self.operations.iter().filter_map(|operation| match operation {
            Operation::Settle(settle) => Some(settle),
            Operation::Publish(_) => None,
        });
        of_queues.chain(&self.of_topics)
    }
}

impl Transactions {
    pub(crate) fn begin(&mut self, name: &str, limits: &ConnectionLimits) -> Result<(), Fault> {
        if self.position(name).is_ok() {
            return Err(Fault::malformed(
                "transaction exists",
                format!("BEGIN of transaction {name:?}, which has begun already"),
            ));
        }
        if self.open.len() >= limits.transactions_max {
            return Err(Fault::limit(format!(
                "a connection may have at most {} open transactions (limits.transactions-max): COMMIT or \
                 ABORT one first",
                limits.transactions_max
            )));
        }
        self.open.reserve_exact(1);
        let bytes = size_of::<Transaction>() + allocation_bytes(name.len());
        self.bytes += bytes;
        self.open.push(Transaction {
            name: name.into(),
            operations: Vec::new(),
            of_topics: Vec::new(),
            count: 0,
            bytes,
        });
        Ok(())
    }

    /// Ends a transaction; returns what was to be done in it.
    pub(crate) fn end(&mut self, name: &str) -> Result<Transaction, Fault> {
        let position = self.position(name)?;
        let transaction = self.open.swap_remove(position);
        self.bytes -= transaction.bytes;
        Ok(transaction)
    }

    /// Fails as adding to the transaction would.
    pub(crate) fn check(&self, name: &str) -> Result<(), Fault> {
        self.position(name).map(|_| ())
    }

    pub(crate) fn publish(
        &mut self,
        name: &str,
        message: Message,
        cx: &Context<'_>,
    ) -> Result<(), Fault> {
        let bytes = message.cost();
        let operation = Operation::Publish(Arc::new(message));
        self.add(name, 1, cx, |transaction| {
            bytes + extend(&mut transaction.operations, [operation])
        })
    }

    /// Adds settlements of `count` deliveries, from a queue or from a topic.
    pub(crate) fn settle(
        &mut self,
        name: &str,
        settles: impl IntoIterator<Item = Settle>,
        count: usize,
        is_queue: bool,
        cx: &Context<'_>,
    ) -> Result<(), Fault> {
        self.add(name, count, cx, |transaction| {
            if is_queue {
                let operations = settles.into_iter().map(Operation::Settle);
                extend(&mut transaction.operations, operations)
            } else {
                extend(&mut transaction.of_topics, settles)
            }
        })
    }

    /// `add` adds to the transaction, and returns the bytes that it takes more with that.
    fn add(
        &mut self,
        name: &str,
        count: usize,
        cx: &Context<'_>,
        add: impl FnOnce(&mut Transaction) -> usize,
    ) -> Result<(), Fault> {
        let position = self.position(name)?;
        let Some(transaction) = self.open.get_mut(position) else {
            internal!("a transaction is not where it was found");
            return Ok(());
        };
        if transaction.count + count > cx.limits.transaction_operations_max {
            return Err(Fault::transaction_too_large(format!(
                "a transaction may have at most {} operations (limits.transaction-operations-max)",
                cx.limits.transaction_operations_max
            )));
        }
        let bytes = add(transaction);
        if self.bytes + bytes > cx.protocol_limits.transaction_bytes_max {
            return Err(Fault::transaction_too_large(format!(
                "the open transactions of a connection may hold at most {} bytes \
                 (limits.transaction-bytes-max)",
                cx.protocol_limits.transaction_bytes_max
            )));
        }
        transaction.count += count;
        transaction.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    fn position(&self, name: &str) -> Result<usize, Fault> {
        self.open.iter().position(|transaction| *transaction.name == *name).ok_or_else(|| {
            Fault::malformed(
                "unknown transaction",
                format!("no transaction {name:?} is open: BEGIN it first"),
            )
        })
    }
}

/// Adds to a list; returns by how many bytes its memory grew.
fn extend<T>(list: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> usize {
    let room = list.capacity();
    list.extend(items);
    (list.capacity() - room) * size_of::<T>()
}

/// All that a connection sends is one lane: its messages stay in order, whether they were sent in a
/// transaction or outside, and transactions take effect in the order of their COMMITs.
pub(crate) const LANE: Lane = Lane::CONNECTION;
