use std::sync::Arc;

use bytes::Bytes;
use contract::{Command, Lane};
use wire::extend_within;

use crate::{
    codes,
    error::{
        AmqpError, End, ILLEGAL_STATE, INVALID_FIELD, MESSAGE_SIZE_EXCEEDED, NOT_IMPLEMENTED,
        RESOURCE_LIMIT_EXCEEDED, TRANSFER_LIMIT_EXCEEDED, WINDOW_VIOLATION,
    },
    link::{Assembly, Incoming, LinkId, LinkState, Node},
    mapping,
    open::{Context, Open},
    outcome::{DeliveryState, Verdict, write_transactional},
    pending::Request,
    performative::{Channel, Transfer},
    session::SessionId,
};

/// A message that has come whole.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) link: LinkId,
    pub(crate) session: SessionId,
    pub(crate) delivery: u32,
    pub(crate) is_settled: bool,
    pub(crate) format: u32,
    /// The transaction that it is sent in, if it is in one.
    pub(crate) transaction: Option<Option<u64>>,
}

impl Open {
    pub(crate) fn transfer(
        &mut self,
        channel: Channel,
        transfer: &Transfer<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let Some(session) = self.sessions.get_mut(&channel) else { return Ok(()) };
        if session.incoming_window == 0 {
            return Err(End::session(WINDOW_VIOLATION, "a transfer where the window is closed"));
        }
        session.incoming_window -= 1;
        session.next_incoming_id = session.next_incoming_id.wrapping_add(1);
        let session = session.id;
        let id = self.link_of(channel, transfer.handle)?;
        let transaction = self.transaction_of(id, transfer);
        match self.receive(id, session, transfer, cx) {
            Ok(()) => {}
            Err(Stop::End(end)) => return Err(end),
            Err(Stop::Link(error)) => {
                // What is not taken is missing in it.
                transaction.into_iter().for_each(|id| self.transactions.fail(id, &error));
                self.fail(id, &error, true, cx);
            }
            Err(Stop::Late) => {
                let error = AmqpError::new(ILLEGAL_STATE, "a message was sent on a detached link");
                transaction.into_iter().for_each(|id| self.transactions.fail(id, &error));
            }
        }
        self.widen(channel, cx);
        Ok(())
    }

    /// The open transaction in which a message is sent.
    fn transaction_of(&self, id: LinkId, transfer: &Transfer<'_>) -> Option<u64> {
        if self.transactions.is_empty() {
            return None;
        }
        let incoming = self.links.get(&id).and_then(|link| link.incoming());
        match incoming.and_then(|incoming| incoming.assembly.as_ref()) {
            Some(assembly) => assembly.transaction?,
            None => match DeliveryState::read(transfer.state?).ok()? {
                DeliveryState::Transactional(transaction, _) => transaction,
                DeliveryState::Terminal(_) | DeliveryState::Other => None,
            },
        }
    }

    fn receive(
        &mut self,
        id: LinkId,
        session: SessionId,
        transfer: &Transfer<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if !matches!(link.state, LinkState::Attached) {
            return Err(Stop::Late);
        }
        let Some(incoming) = link.incoming_mut() else {
            let what = "a transfer on a link on which the peer receives";
            return Err(Stop::End(End::session(ILLEGAL_STATE, what)));
        };
        if transfer.resume {
            return Err(link_error(NOT_IMPLEMENTED, "deliveries are not resumed: send them again"));
        }
        let (arrived, assembled) = match incoming.assembly.take() {
            None => {
                let arrived = begin(id, session, incoming, transfer)?;
                self.credit_used -= 1;
                (arrived, Vec::new())
            }
            Some(assembly) => {
                self.assembled_bytes -= assembly.bytes.capacity();
                if transfer.delivery_id.is_some_and(|delivery| delivery != assembly.delivery) {
                    return Err(link_error(INVALID_FIELD, "deliveries of a link are interleaved"));
                }
                let Assembly { delivery, is_settled, format, transaction, bytes } = assembly;
                let is_settled = is_settled || transfer.settled == Some(true);
                let link = id;
                (Arrived { link, session, delivery, is_settled, format, transaction }, bytes)
            }
        };
        if transfer.aborted {
            // It is as if it had not been sent, but it has used its credit.
            self.replenish(id, cx);
            return Ok(());
        }
        let size = assembled.len() + transfer.payload.len();
        let size_max = cx.limits.message_bytes_max + OVERHEAD_BYTES;
        if size > size_max {
            let what = format!(
                "a message has at most {} bytes (limits.message-bytes-max)",
                cx.limits.message_bytes_max
            );
            return Err(link_error(MESSAGE_SIZE_EXCEEDED, what));
        }
        if transfer.more {
            return self.assemble(&arrived, assembled, transfer.payload, size_max, cx);
        }
        if assembled.is_empty() {
            self.arrived(&arrived, Payload::Lent(transfer.payload), cx);
        } else {
            let mut bytes = assembled;
            self.assembled_total = total(self.assembled_total, transfer.payload);
            extend_within(size_max, &mut bytes, transfer.payload);
            self.arrived(&arrived, Payload::Owned(bytes), cx);
        }
        Ok(())
    }

    /// Keeps a piece of a message until the next.
    fn assemble(
        &mut self,
        arrived: &Arrived,
        mut bytes: Vec<u8>,
        payload: &[u8],
        size_max: usize,
        cx: &Context<'_>,
    ) -> Result<(), Stop> {
        extend_within(size_max, &mut bytes, payload);
        self.assembled_total = total(self.assembled_total, payload);
        if self.assembled_bytes + bytes.capacity() > ASSEMBLED_MESSAGES_MAX * size_max {
            let what = format!(
                "the messages of a connection that have come in part take more than \
                 {ASSEMBLED_MESSAGES_MAX} of the largest may (limits.message-bytes-max of {})",
                cx.limits.message_bytes_max
            );
            return Err(link_error(RESOURCE_LIMIT_EXCEEDED, what));
        }
        self.assembled_bytes += bytes.capacity();
        let &Arrived { link, delivery, is_settled, format, transaction, .. } = arrived;
        let assembly = Assembly { delivery, is_settled, format, transaction, bytes };
        if let Some(incoming) = self.links.get_mut(&link).and_then(|link| link.incoming_mut()) {
            incoming.assembly = Some(assembly);
        }
        Ok(())
    }

    fn arrived(&mut self, arrived: &Arrived, payload: Payload<'_>, cx: &mut Context<'_>) {
        let incoming = self.links.get(&arrived.link).map(|link| &link.end);
        let is_coordinator = matches!(
            incoming,
            Some(crate::link::LinkEnd::Incoming(Incoming { node: Node::Coordinator, .. }))
        );
        if is_coordinator {
            self.coordinate(arrived, payload.bytes(), cx);
        } else if let Err(error) = self.publish(arrived, payload, cx) {
            self.reject(arrived, &error, cx);
        }
        self.replenish(arrived.link, cx);
    }

    fn publish(
        &mut self,
        arrived: &Arrived,
        payload: Payload<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let Some(incoming) = self.links.get_mut(&arrived.link).and_then(|one| one.incoming_mut())
        else {
            return Ok(());
        };
        let parsed = mapping::parse(payload.bytes())?;
        let to = incoming.node.destination(&parsed)?;
        if let Some(user) = parsed.user_id
            && !self.identity.may_claim(user)
        {
            let what = "user-id must be the user of this connection, or be left out";
            return Err(AmqpError::new(crate::error::UNAUTHORIZED_ACCESS, what));
        }
        let header = parsed.header(&to, cx.now)?;
        let (start, ends) = (parsed.start, parsed.ends);
        let bytes = payload.into_bytes(start);
        let id = cx.out.message_id();
        let mut message = mapping::message(to, id, bytes, ends, arrived.format, cx.now);
        message.header = header;
        message.sender = self.identity.sender();
        if let Some(transaction) = arrived.transaction {
            self.transactions.publish(transaction, message, cx)?;
            self.accept(arrived, transaction, cx);
            return Ok(());
        }
        if let Some(incoming) = self.links.get_mut(&arrived.link).and_then(|one| one.incoming_mut())
        {
            incoming.in_flight += 1;
            self.credit_used += 1;
        }
        let &Arrived { link, session, delivery, is_settled, .. } = arrived;
        let is_temporary = message.to.kind().is_temporary();
        let request = Request::Publish { link, session, delivery, is_settled, is_temporary };
        let token = self.pending.publish(request, message.cost());
        cx.out.command(token, Command::Publish(Lane(session.channel.into()), Arc::new(message)));
        Ok(())
    }

    /// Tells the sender that a message was taken.
    pub(crate) fn accept(&self, arrived: &Arrived, transaction: Option<u64>, cx: &mut Context<'_>) {
        if arrived.is_settled {
            return;
        }
        self.settle_received(arrived, cx, |to| match transaction {
            Some(transaction) => write_transactional(to, transaction, Verdict::Accepted),
            None => Verdict::Accepted.write(to),
        });
    }

    /// Tells the sender that a message was not taken. One that waits for no outcome is told by the end
    /// of its link.
    pub(crate) fn reject(&mut self, arrived: &Arrived, error: &AmqpError, cx: &mut Context<'_>) {
        if let Some(Some(transaction)) = arrived.transaction {
            self.transactions.fail(transaction, error);
        }
        if arrived.is_settled {
            return self.fail(arrived.link, error, true, cx);
        }
        self.settle_received(arrived, cx, |to| {
            to.composite(codes::REJECTED, |fields| error.write(fields));
        });
    }

    /// Says what became of a message that has come.
    pub(crate) fn settle_received(
        &self,
        arrived: &Arrived,
        cx: &mut Context<'_>,
        state: impl Fn(&mut amqp_types::Writer<'_>),
    ) {
        let &Arrived { link, session, delivery, .. } = arrived;
        let incoming = self.links.get(&link).and_then(|link| link.incoming());
        // That its peer then settles too is of no use: deliveries are not resumed.
        let is_settled = incoming.is_none_or(|incoming| !incoming.peer_settles);
        if !self.has_session(session) {
            return;
        }
        cx.send(session.channel, |to| {
            to.composite(codes::DISPOSITION, |fields| {
                fields.bool(true);
                fields.u32(delivery);
                fields.null();
                fields.bool(is_settled);
                state(fields);
            });
        });
    }
}

/// The first transfer of a delivery.
fn begin(
    link: LinkId,
    session: SessionId,
    incoming: &mut Incoming,
    transfer: &Transfer<'_>,
) -> Result<Arrived, Stop> {
    let Some(delivery) = transfer.delivery_id else {
        return Err(link_error(INVALID_FIELD, "the first transfer of a delivery has its id"));
    };
    let state = transfer.state.map(DeliveryState::read).transpose();
    let transaction = match state.map_err(|error| Stop::End(error.into()))? {
        Some(DeliveryState::Transactional(transaction, _)) => Some(transaction),
        Some(DeliveryState::Terminal(_) | DeliveryState::Other) | None => None,
    };
    let Some(credit) = incoming.credit.checked_sub(1) else {
        return Err(link_error(TRANSFER_LIMIT_EXCEEDED, "a message was sent without credit"));
    };
    incoming.credit = credit;
    incoming.delivery_count = incoming.delivery_count.wrapping_add(1);
    let is_settled = transfer.settled.unwrap_or(incoming.is_settled);
    let format = transfer.message_format;
    Ok(Arrived { link, session, delivery, is_settled, format, transaction })
}

/// The encoded message.
enum Payload<'a> {
    Lent(&'a [u8]),
    Owned(Vec<u8>),
}

impl Payload<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// What stands behind `start`, in an allocation that it fills.
    fn into_bytes(self, start: usize) -> Bytes {
        match self {
            Self::Lent(bytes) => Bytes::copy_from_slice(bytes.get(start..).unwrap_or_default()),
            Self::Owned(mut bytes) => {
                bytes.drain(..start.min(bytes.len()));
                bytes.into_boxed_slice().into()
            }
        }
    }
}

/// Why a transfer is not worked on.
enum Stop {
    Link(AmqpError),
    /// It was sent before the peer has heard that its link is detached.
    Late,
    End(End),
}

fn link_error(condition: &'static str, description: impl Into<String>) -> Stop {
    Stop::Link(AmqpError::new(condition, description))
}

fn total(before: u32, payload: &[u8]) -> u32 {
    before.wrapping_add(u32::try_from(payload.len()).unwrap_or(u32::MAX))
}

/// What sections other than the body of a message may take beside its limit.
const OVERHEAD_BYTES: usize = 16 << 10;
/// Messages of the largest size that may have come in part.
const ASSEMBLED_MESSAGES_MAX: usize = 4;
