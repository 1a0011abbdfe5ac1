use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    time::Duration,
};

use mio::net::TcpStream;
use socket2::SockRef;

use super::{
    Result,
    frames::{self, Kind, Said},
};

/// A connection with one session, and a link or two.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) state: State,
    /// When what it waits for was sent, in nanoseconds.
    pub(super) sent_ns: u64,
    /// How much of what it has sent is not accepted yet.
    pub(super) waiting: usize,
    /// How many messages it has got in this round.
    pub(super) seen: usize,
}

/// What it knows of its session and its links.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What has come and is no whole frame yet.
    inbox: Vec<u8>,
    /// What is to be sent.
    pub(super) outbox: Vec<u8>,
    next_incoming: u32,
    next_outgoing: u32,
    /// Transfers that the server takes.
    pub(super) window: u32,
    /// Messages that the server takes, on the link on which it receives, and the handle that has for it.
    pub(super) credit: u32,
    receiving: Option<u32>,
    sent: u32,
    received: u32,
    /// Messages that the server may still send on the link with the handle [`RECEIVER`].
    granted: u32,
}

/// What one reading gave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrived {
    /// Messages that came.
    pub(super) messages: usize,
    /// Messages that were accepted.
    pub(super) accepted: usize,
    pub(super) bytes: usize,
}

impl Client {
    /// Reads until nothing is left, and settles what came.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<Arrived> {
        let mut arrived = Arrived::default();
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(len) => {
                    arrived.bytes += len;
                    self.state.take(buffer.get(..len).unwrap_or_default(), &mut arrived)?;
                    if len < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(arrived)
    }

    /// Writes what can be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.state.outbox.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.state.outbox) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            outcome => drop(self.state.outbox.drain(..outcome?)),
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A reset leaves no port behind that waits for stray packets.
        drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
    }
}

impl State {
    /// Whether the server takes a message.
    pub(super) const fn can_send(&self) -> bool {
        self.window > 0 && self.credit > 0
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: &[u8], settled: bool) {
        let delivery = self.sent;
        self.sent = self.sent.wrapping_add(1);
        self.credit = self.credit.saturating_sub(1);
        self.window = self.window.saturating_sub(1);
        self.next_outgoing = self.next_outgoing.wrapping_add(1);
        frames::append(&mut self.outbox, Kind::Amqp, frames::TRANSFER, message, |fields| {
            fields.u32(SENDER);
            fields.u32(delivery);
            fields.binary(&delivery.to_be_bytes());
            fields.u32(0);
            fields.bool(settled);
        });
    }

    fn take(&mut self, bytes: &[u8], arrived: &mut Arrived) -> Result {
        // Frames that come whole are not copied.
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut rest = if inbox.is_empty() {
            bytes
        } else {
            inbox.extend_from_slice(bytes);
            &inbox
        };
        while let Some(body) = frames::next(&mut rest) {
            match self.apply(body)? {
                Said::Transfer { .. } => arrived.messages += 1,
                Said::Disposition { first, last, .. } => {
                    arrived.accepted += last.wrapping_sub(first) as usize + 1;
                }
                _ => {}
            }
        }
        self.inbox = rest.to_vec();
        Ok(())
    }

    /// Does what a frame requires.
    pub(super) fn apply<'a>(&mut self, body: &'a [u8]) -> Result<Said<'a>> {
        let said = Said::read(body)?;
        match said {
            Said::Begin { window } => self.window = window,
            Said::Attach { handle, receives: true, .. } => self.receiving = Some(handle),
            Said::Flow { next_incoming, window, link } => {
                let limit = next_incoming.unwrap_or(0).wrapping_add(window);
                self.window = limit.wrapping_sub(self.next_outgoing);
                if let Some((handle, count, credit)) = link
                    && self.receiving == Some(handle)
                {
                    self.credit = count.wrapping_add(credit).wrapping_sub(self.sent);
                }
            }
            Said::Transfer { more: true, .. } => return Err("a message in several frames".into()),
            Said::Transfer { delivery, settled, .. } => {
                self.next_incoming = self.next_incoming.wrapping_add(1);
                self.received = self.received.wrapping_add(1);
                self.granted = self.granted.saturating_sub(1);
                if !settled {
                    self.settle(delivery.unwrap_or(0));
                }
                if self.granted <= CREDIT / 2 {
                    self.grant();
                }
            }
            Said::Disposition { accepted: false, .. } => {
                return Err("the server did not accept a message".into());
            }
            Said::Ended => {
                let what = String::from_utf8_lossy(body).into_owned();
                return Err(format!("the server ended a link or a connection: {what:?}").into());
            }
            _ => {}
        }
        Ok(said)
    }

    fn settle(&mut self, delivery: u32) {
        frames::append(&mut self.outbox, Kind::Amqp, frames::DISPOSITION, &[], |fields| {
            fields.bool(true);
            fields.u32(delivery);
            fields.null();
            fields.bool(true);
            fields.composite(frames::ACCEPTED, |_| {});
        });
    }

    /// Gives the server credit.
    pub(super) fn grant(&mut self) {
        self.granted = CREDIT;
        let (incoming, outgoing, received) =
            (self.next_incoming, self.next_outgoing, self.received);
        frames::append(&mut self.outbox, Kind::Amqp, frames::FLOW, &[], |fields| {
            fields.u32(incoming);
            fields.u32(WINDOW);
            fields.u32(outgoing);
            fields.u32(WINDOW);
            fields.u32(RECEIVER);
            fields.u32(received);
            fields.u32(CREDIT);
        });
    }
}

/// The handles of links.
pub(super) const SENDER: u32 = 0;
pub(super) const RECEIVER: u32 = 1;
/// That of Qpid JMS.
const CREDIT: u32 = 1000;
/// So large that it is never used up.
pub(super) const WINDOW: u32 = i32::MAX as u32;
