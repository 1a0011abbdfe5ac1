//! Sessions without a socket: a task carries them, or nothing for a time.
//!
//! A session outlives what carries it. What it sends is numbered by position, counted from the
//! beginning of its connection, and kept until the peer is known to have it: so another carrier can
//! go on where one was lost. Nothing else of a connection knows: backlog, bounds, deadlines and
//! shutdown are those of a socket, of which the kernel is the peer that acknowledges.

use std::{io, sync::Arc, task::Poll};

use bytes::Bytes;
use contract::{Input, Notice, Now, Opening, Reason, Session};
use tokio::sync::Notify;
use transports::{Entry, Io, Slot};

use super::{
    Core, CoreRef, Registration,
    connection::{Connection, ConnectionKind, Life},
};
use crate::clock;

/// Carries a session, for a task: hands it what the peer sends, takes what is for the peer.
///
/// A session whose carrier is dropped is detached: another carrier can take it over
/// ([`CoreRef::attach`]) within a minute, and while what waits for the peer stays within
/// [`contract::ConnectionLimits::unsent_bytes_max`]. That holds for one that has ended as well, until
/// a carrier has taken [`Pulled::End`]; it counts as a connection meanwhile.
#[derive(Debug)]
pub struct Carrier {
    core: CoreRef,
    slot: Slot,
    changed: Arc<Notify>,
}

/// A session has ended, or another carrier has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gone;

/// The result of a [`Carrier::pull`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pulled {
    /// What comes at the position.
    Bytes(Bytes),
    /// The connection was closed, and the peer has all that was sent to it. It is gone with that.
    End(Reason),
    /// There are no bytes at the position: they were acknowledged before, or never sent. Nothing was
    /// done.
    NotKept,
    /// As [`Gone`].
    Gone,
}

impl CoreRef {
    /// Opens a session that a task carries.
    ///
    /// # Errors
    /// When there are more connections than can be numbered.
    pub fn carry(
        &self,
        registration: Registration<'_>,
        open: impl FnOnce(&Opening<'_>, Now) -> Box<dyn Session>,
    ) -> io::Result<Carrier> {
        let (io, changed) = Io::carried();
        let kind = |opening: &Opening<'_>, now| ConnectionKind::Session(open(opening, now));
        let slot = self.with(|core| core.register(io, registration, kind))?;
        Ok(Carrier { core: self.clone(), slot, changed })
    }

    /// Has another carrier go on with a connection. One that it still has is detached first.
    ///
    /// # Errors
    /// When the connection is gone. One that has ended is kept for a minute, with the bytes that its
    /// peer has not acknowledged.
    pub fn attach(&self, slot: Slot) -> Result<Carrier, Gone> {
        let (io, changed) = Io::carried();
        self.with(|core| core.attach(slot, io)).map_err(|_gone| Gone)?;
        Ok(Carrier { core: self.clone(), slot, changed })
    }
}

impl Carrier {
    /// The connection, by which it can be attached again. Not a secret: slots can be guessed.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Hands over what the peer has sent, once what came before it is read: as with a socket, that
    /// waits while the session is busy. One piece of any size may wait.
    ///
    /// # Errors
    /// When there is no session to hand it to.
    pub async fn feed(&self, bytes: Bytes) -> Result<(), Gone> {
        loop {
            let fed = self.core.with(|core| core.feed(self, &bytes));
            match fed {
                Poll::Ready(result) => return result,
                Poll::Pending => self.changed.notified().await,
            }
        }
    }

    /// The peer sends nothing more. It still gets the replies to what it has sent. A peer that is
    /// attached anew says so again.
    pub fn end(&self) {
        self.core.with(|core| {
            if core.is_carried_by(self.slot, &self.changed) {
                core.reactor.end(self.slot);
            }
        });
    }

    /// Acknowledges for the peer all that is before the position `acked`, and takes up to `max` bytes
    /// from there on, once there are some. They are kept until they are acknowledged, so that they can
    /// be pulled again; what was never acknowledged counts as unsent. With `max` 0 nothing is waited
    /// for.
    pub async fn pull(&self, acked: u64, max: usize) -> Pulled {
        loop {
            let pulled = self.core.with(|core| core.pull(self, acked, max));
            match pulled {
                Poll::Ready(pulled) => return pulled,
                Poll::Pending => self.changed.notified().await,
            }
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let (slot, changed) = (self.slot, Arc::clone(&self.changed));
        self.core.with_when_free(move |core| {
            if core.is_carried_by(slot, &changed) {
                core.lose_carrier(slot);
            }
        });
    }
}

impl Core {
    /// Takes away what carries a connection, and tells its session. `None`: nothing carries it, or it
    /// has gone, maybe with this, since nothing is left to be sent or the gateway is stopping.
    pub fn detach(&mut self, slot: Slot) -> Option<Io> {
        self.now = clock::now();
        if self.is_shutting_down {
            self.remove(slot, Reason::Shutdown);
            return None;
        }
        // The kernel has the end of a TCP connection; of others, the peer is still to learn it.
        let is_over = |entry: &Entry<Connection>| {
            matches!(entry.state.life, Life::Lingering { .. }) && entry.socket.is_tcp()
        };
        if self.reactor.get(slot).is_some_and(is_over) {
            self.remove(slot, Reason::Lost);
            return None;
        }
        let io = self.reactor.detach(slot, self.now.mono_ns)?;
        let entry = self.reactor.get_mut(slot)?;
        entry.state.life.detach();
        // Ciphertext that waited went with the transport.
        self.tools.mark_dirty(slot, &entry.socket);
        self.step(slot, Input::Notice(Notice::Detached));
        self.schedule_check(slot);
        Some(io)
    }

    /// Has something else carry a connection, and tells its session. What carries it still is
    /// detached first. What was received in part may be continued; an end of the peer's side comes
    /// again.
    ///
    /// # Errors
    /// When the connection is gone, or the kernel cannot watch what is to carry it.
    pub fn attach(&mut self, slot: Slot, io: impl Into<Io>) -> io::Result<()> {
        self.lose_carrier(slot);
        self.now = clock::now();
        self.reactor.attach(slot, io.into(), self.now.mono_ns)?;
        self.set_user_timeout(slot);
        let Some(entry) = self.reactor.get_mut(slot) else { return Ok(()) };
        let context = &mut entry.state.context;
        entry.state.life.attach(self.now.mono_ns + AWAY_TIMEOUT_NS);
        context.codec.heard(self.now.mono_ns);
        // The peer has its time from now on.
        context.assemblies = Default::default();
        self.tools.mark_dirty(slot, &entry.socket);
        self.step(slot, Input::Notice(Notice::Attached));
        self.update_inbound(slot);
        self.schedule_check(slot);
        Ok(())
    }

    /// Detaches a connection from what carries it. What that was handed is still received.
    fn lose_carrier(&mut self, slot: Slot) {
        let Some(io) = self.detach(slot) else { return };
        let fed = io.into_fed();
        let Some(entry) = self.reactor.get_mut(slot).filter(|_| !fed.is_empty()) else { return };
        let context = &mut entry.state.context;
        context.counts.bytes_in += fed.len() as u64;
        self.tools.row(context).bytes_in.add(fed.len() as u64);
        let unread = context.unread.take().unwrap_or_default();
        context.unread = Some([&unread, &*fed].concat().into());
        self.reactor.resume(slot);
    }

    fn is_carried_by(&self, slot: Slot, changed: &Arc<Notify>) -> bool {
        self.reactor.get(slot).is_some_and(|entry| entry.socket.is_carried_by(changed))
    }

    /// Hands over what the peer has sent. Pending while what came before is not read.
    fn feed(&mut self, carrier: &Carrier, bytes: &Bytes) -> Poll<Result<(), Gone>> {
        if !self.is_carried_by(carrier.slot, &carrier.changed) {
            return Poll::Ready(Err(Gone));
        }
        // What other carriers handed over counts too, so that these can come and go.
        let waits = |entry: &Entry<Connection>| {
            entry.socket.is_full() || entry.state.context.unread.is_some()
        };
        if self.reactor.get(carrier.slot).is_some_and(waits) {
            return Poll::Pending;
        }
        self.reactor.feed(carrier.slot, bytes.clone());
        Poll::Ready(Ok(()))
    }

    /// See [`Carrier::pull`]. Pending while there is nothing to take.
    fn pull(&mut self, carrier: &Carrier, acked: u64, max: usize) -> Poll<Pulled> {
        let slot = carrier.slot;
        self.now = clock::now();
        if !self.is_carried_by(slot, &carrier.changed) {
            return Poll::Ready(Pulled::Gone);
        }
        let Some(entry) = self.reactor.get_mut(slot) else { return Poll::Ready(Pulled::Gone) };
        let (socket, connection) = (&mut entry.socket, &entry.state);
        let more = acked.checked_sub(connection.context.counts.bytes_out);
        let more = more.and_then(|more| usize::try_from(more).ok());
        let Some(count) = more.filter(|more| *more <= socket.backlog_bytes()) else {
            return Poll::Ready(Pulled::NotKept);
        };
        let bytes = if count == 0 {
            socket.peek(max)
        } else {
            let flushed = socket.acknowledge(count, self.now.mono_ns);
            let bytes = socket.peek(max);
            self.count_flushed(slot, flushed);
            bytes
        };
        if !bytes.is_empty() || max == 0 {
            return Poll::Ready(Pulled::Bytes(bytes));
        }
        let Some(entry) = self.reactor.get(slot) else { return Poll::Ready(Pulled::Gone) };
        match entry.state.life.closed() {
            Some(reason) if !entry.socket.has_pending() => {
                self.remove(slot, reason);
                Poll::Ready(Pulled::End(reason))
            }
            // The next flush wakes it.
            Some(_) | None => Poll::Pending,
        }
    }
}

/// Time that a session waits for its peer to come back, and one that has ended for its peer to learn
/// why: 1 min.
pub(super) const AWAY_TIMEOUT_NS: u64 = 60_000_000_000;
