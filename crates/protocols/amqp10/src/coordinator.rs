use std::{collections::BTreeMap, sync::Arc};

use amqp_types::{Value, read};
use contract::{Command, Lane, Message, Operation, Outcome, Settle, allocation_bytes};
use wire::Reader;

use crate::{
    codes,
    disposition::{operations, settle_sent},
    error::{
        AmqpError, DECODE_ERROR, NOT_IMPLEMENTED, PRECONDITION_FAILED, RESOURCE_LIMIT_EXCEEDED,
        TRANSACTION_ROLLBACK, TRANSACTION_UNKNOWN,
    },
    link::LinkId,
    mapping,
    open::{Context, Open},
    outcome::{Verdict, transaction_id},
    pending::Request,
    performative::composite,
    transfer::Arrived,
};

/// The open transactions of a connection. What they send is kept here until they are discharged; what
/// they settle, with the deliveries.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: BTreeMap<u64, Transaction>,
    next: u64,
    /// Bytes of the messages in all of them.
    bytes: usize,
}

#[derive(Debug)]
struct Transaction {
    /// The link that controls it.
    coordinator: LinkId,
    messages: Vec<Arc<Message>>,
    /// Messages sent and deliveries settled.
    count: usize,
    bytes: usize,
    /// Why it can only be rolled back: the first part of it that was refused.
    failure: Option<Box<AmqpError>>,
}

impl Transactions {
    fn begin(&mut self, coordinator: LinkId) -> u64 {
        self.next += 1;
        let bytes = size_of::<Transaction>();
        let (messages, count, failure) = (Vec::new(), 0, None);
        self.open.insert(self.next, Transaction { coordinator, messages, count, bytes, failure });
        self.bytes += bytes;
        self.next
    }

    fn end(&mut self, id: u64) -> Option<Transaction> {
        let transaction = self.open.remove(&id)?;
        self.bytes -= transaction.bytes;
        Some(transaction)
    }

    pub(crate) fn is_open(&self, id: u64) -> bool {
        self.open.contains_key(&id)
    }

    /// A transaction can only be rolled back any more.
    pub(crate) fn fail(&mut self, id: u64, error: &AmqpError) {
        if let Some(transaction) = self.open.get_mut(&id) {
            transaction.failure.get_or_insert_with(|| Box::new(error.clone()));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Counts deliveries that are settled in a transaction, and the bytes of what is kept of topics.
    pub(crate) fn count(&mut self, id: u64, count: u32, bytes: usize) {
        if let Some(transaction) = self.open.get_mut(&id) {
            transaction.count += count as usize;
            transaction.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// What to say of a transaction that has more operations than one may have; or, where there are some
    /// of topics (`has_kept`), more bytes.
    pub(crate) fn excess(&self, id: u64, has_kept: bool, cx: &Context<'_>) -> Option<AmqpError> {
        let operations_max = cx.limits.transaction_operations_max;
        if self.open.get(&id)?.count > operations_max {
            return Some(too_many(operations_max));
        }
        let bytes_max = cx.protocol_limits.transaction_bytes_max;
        (has_kept && self.bytes > bytes_max).then(|| too_large(bytes_max))
    }

    pub(crate) fn publish(
        &mut self,
        id: Option<u64>,
        message: Message,
        cx: &Context<'_>,
    ) -> Result<(), AmqpError> {
        let transaction = id.and_then(|id| self.open.get_mut(&id)).ok_or_else(unknown)?;
        let operations_max = cx.limits.transaction_operations_max;
        if transaction.count >= operations_max {
            return Err(too_many(operations_max));
        }
        let bytes = message.cost() + allocation_bytes(size_of::<Operation>());
        if self.bytes + bytes > cx.protocol_limits.transaction_bytes_max {
            return Err(too_large(cx.protocol_limits.transaction_bytes_max));
        }
        transaction.messages.push(Arc::new(message));
        transaction.count += 1;
        transaction.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Open {
    /// A message to the coordinator: a declare or a discharge.
    pub(crate) fn coordinate(&mut self, arrived: &Arrived, payload: &[u8], cx: &mut Context<'_>) {
        let result = match request(payload) {
            Ok(Demand::Declare) => self.declare_transaction(arrived, cx),
            Ok(Demand::Discharge { id, fail }) => self.discharge(arrived, id, fail, cx),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.reject(arrived, &error, cx);
        }
    }

    fn declare_transaction(
        &mut self,
        arrived: &Arrived,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        if self.transactions.open.len() >= cx.limits.transactions_max {
            let what = format!(
                "a connection may have at most {} open transactions (limits.transactions-max)",
                cx.limits.transactions_max
            );
            return Err(AmqpError::new(RESOURCE_LIMIT_EXCEEDED, what));
        }
        let id = self.transactions.begin(arrived.link);
        self.settle_received(arrived, cx, |to| {
            to.composite(codes::DECLARED, |fields| fields.binary(&id.to_be_bytes()));
        });
        Ok(())
    }

    fn discharge(
        &mut self,
        arrived: &Arrived,
        id: Option<u64>,
        fail: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let id = id.ok_or_else(unknown)?;
        let Some(transaction) = self.transactions.end(id) else { return Err(unknown()) };
        if fail {
            self.undo(id, cx);
            self.accept(arrived, None, cx);
            return Ok(());
        }
        if let Some(failure) = transaction.failure {
            self.undo(id, cx);
            return Err(rolled_back(&failure));
        }
        if transaction.count > cx.limits.transaction_operations_max {
            self.undo(id, cx);
            return Err(too_many(cx.limits.transaction_operations_max));
        }
        let settlements = self.settlements(id);
        let publications = transaction.messages.into_iter().map(Operation::Publish);
        let operations: Vec<_> = publications.chain(operations(&settlements)).collect();
        if operations.is_empty() {
            self.end_settlements(id, cx);
            self.accept(arrived, None, cx);
            return Ok(());
        }
        let &Arrived { link, session, delivery, is_settled, .. } = arrived;
        let request = Request::Discharge { link, session, delivery, is_settled, transaction: id };
        let token = self.pending.publish(request, transaction.bytes);
        cx.out.command(token, Command::Transact(Lane(session.channel.into()), operations));
        Ok(())
    }

    /// A transaction was carried out, or not.
    pub(crate) fn discharged(
        &mut self,
        arrived: &Arrived,
        transaction: u64,
        refusal: Option<contract::Refusal>,
        cx: &mut Context<'_>,
    ) {
        match refusal {
            None => {
                self.end_settlements(transaction, cx);
                self.accept(arrived, None, cx);
            }
            Some(refusal) => {
                self.undo(transaction, cx);
                self.reject(arrived, &rolled_back(&AmqpError::refused(refusal)), cx);
            }
        }
    }

    /// What a transaction that was carried out has settled, is.
    fn end_settlements(&mut self, id: u64, cx: &mut Context<'_>) {
        let settlements = self.settlements(id);
        for (channel, run, verdict, by_peer) in &settlements {
            if !by_peer {
                settle_sent(*channel, run.ids, *verdict, cx);
            }
        }
        let mut again = Vec::new();
        for session in self.sessions.values_mut() {
            session.unsettled.end_transaction(id, true, |link, verdict, kept| {
                again.extend(kept.again(verdict).map(|unsent| (link, unsent)));
            });
        }
        self.take_back(again);
        self.go_on(settlements.iter().map(|(_, run, ..)| run), false, cx);
    }

    /// Of a transaction that is rolled back, what its peer has settled is delivered again; the rest is
    /// unsettled as before.
    fn undo(&mut self, id: u64, cx: &mut Context<'_>) {
        let settlements = self.settlements(id);
        for (_, run, _, by_peer) in &settlements {
            let by_peer = *by_peer;
            let outgoing = self.links.get_mut(&run.link).and_then(|link| link.outgoing_mut());
            match (run.tags, outgoing) {
                (Some((first, last)), _) if by_peer => {
                    let (subscription, outcome) = (run.link.subscription(), Outcome::Failed);
                    cx.out.settle(Settle { subscription, tags: first..=last, outcome }, None);
                }
                (_, Some(outgoing)) if !by_peer => {
                    outgoing.unsettled += run.count;
                    outgoing.keep(run.bytes, &mut self.kept_bytes);
                }
                (_, Some(_) | None) => {}
            }
        }
        let mut again = Vec::new();
        for session in self.sessions.values_mut() {
            session.unsettled.end_transaction(id, false, |link, _, kept| {
                again.extend(kept.again(FAILED).map(|unsent| (link, unsent)));
            });
        }
        self.transactions.end(id);
        self.take_back(again);
        self.go_on(settlements.iter().map(|(_, run, ..)| run), false, cx);
    }

    /// A coordinator's link has ended: so have its transactions.
    pub(crate) fn rollback_of(&mut self, coordinator: LinkId, cx: &mut Context<'_>) {
        let of = |(id, one): (&u64, &Transaction)| (one.coordinator == coordinator).then_some(*id);
        let ids: Vec<u64> = self.transactions.open.iter().filter_map(of).collect();
        for id in ids {
            self.undo(id, cx);
        }
    }
}

/// What a transaction that is rolled back makes of its deliveries.
const FAILED: Verdict = Verdict::Modified { failed: true, undeliverable: false };

/// What the controller of transactions wants.
enum Demand {
    Declare,
    Discharge { id: Option<u64>, fail: bool },
}

fn request(payload: &[u8]) -> Result<Demand, AmqpError> {
    let malformed = || AmqpError::new(DECODE_ERROR, "a coordinator takes a declare or a discharge");
    let parsed = mapping::parse(payload)?;
    let body = parsed.body(payload).ok_or_else(malformed)?;
    let Ok(Value::Described(descriptor, value)) = read(&mut Reader::new(body)) else {
        return Err(malformed());
    };
    if codes::code(descriptor) != Some(codes::VALUE) {
        return Err(malformed());
    }
    let (code, mut fields) = composite(value).map_err(|_| malformed())?;
    match code {
        Some(codes::DECLARE) => match fields.encoded() {
            Ok(None) => Ok(Demand::Declare),
            _ => Err(AmqpError::new(NOT_IMPLEMENTED, "only local transactions: no global-id")),
        },
        Some(codes::DISCHARGE) => {
            let id = fields.binary().ok().flatten().ok_or_else(malformed)?;
            let fail = fields.bool().map_err(|_| malformed())?.unwrap_or(false);
            Ok(Demand::Discharge { id: transaction_id(id), fail })
        }
        _ => Err(malformed()),
    }
}

fn too_many(operations_max: usize) -> AmqpError {
    let what = format!(
        "a transaction may have at most {operations_max} operations \
         (limits.transaction-operations-max)"
    );
    AmqpError::new(RESOURCE_LIMIT_EXCEEDED, what)
}

/// Says that nothing of a transaction was done, and why. Its condition is that of the reason: of
/// `amqp:transaction:rollback` Qpid JMS makes a transaction in doubt, which this is not.
fn rolled_back(reason: &AmqpError) -> AmqpError {
    let condition = match reason.condition {
        TRANSACTION_ROLLBACK => PRECONDITION_FAILED,
        condition => condition,
    };
    AmqpError::new(condition, format!("the transaction was rolled back: {}", reason.description))
}

fn too_large(bytes_max: usize) -> AmqpError {
    let what = format!(
        "the open transactions of a connection may hold at most {bytes_max} bytes \
         (limits.transaction-bytes-max)"
    );
    AmqpError::new(RESOURCE_LIMIT_EXCEEDED, what)
}

fn unknown() -> AmqpError {
    AmqpError::new(TRANSACTION_UNKNOWN, "no transaction with this txn-id is open")
}
