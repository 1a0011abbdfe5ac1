use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    Result,
    client::{Client, RECEIVER, SENDER, State, WINDOW},
    frames::{self, Kind, Said},
};

/// What a client is attached to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Link<'a> {
    /// It sends to this address, or where each message says.
    To(Option<&'a str>, &'a str),
    /// It receives from this address; `settled`: messages are its own when they are sent.
    From { address: &'a str, capability: &'a str, settled: bool },
    /// It receives from a temporary queue, whose address is returned.
    FromTemporary,
}

/// Opens a connection with these links; says the address of the temporary queue, if there is one.
pub(super) fn open(
    address: SocketAddr,
    name: &str,
    links: &[Link<'_>],
) -> Result<(Client, Option<String>)> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut wire = Wire { stream, unread: Vec::new(), state: State::default() };
    wire.state.outbox.extend_from_slice(b"AMQP\x03\x01\0\0");
    wire.say(Kind::Sasl, frames::SASL_INIT, |fields| fields.symbol("ANONYMOUS"));
    wire.header()?;
    let outcome = wire.until("the outcome of the login", |said| match said {
        Said::Outcome(code) => Some(*code),
        _ => None,
    })?;
    if outcome != Some(0) {
        return Err("the server refused the login".into());
    }
    wire.state.outbox.extend_from_slice(b"AMQP\0\x01\0\0");
    wire.say(Kind::Amqp, frames::OPEN, |fields| {
        fields.string(name);
        fields.string("localhost");
        fields.u32(65_536);
    });
    wire.header()?;
    wire.until("the open", |said| (*said == Said::Open).then_some(()))?;
    wire.say(Kind::Amqp, frames::BEGIN, |fields| {
        fields.null();
        fields.u32(0);
        fields.u32(WINDOW);
        fields.u32(WINDOW);
    });
    wire.until("the begin", |said| matches!(said, Said::Begin { .. }).then_some(()))?;
    let mut temporary = None;
    for link in links {
        wire.attach(name, *link);
        let source = wire.until("the attach", |said| match said {
            Said::Attach { source, .. } => Some(source.map(str::to_owned)),
            _ => None,
        })?;
        match link {
            Link::To(..) => {
                while !wire.state.can_send() {
                    wire.until("credit", |said| matches!(said, Said::Flow { .. }).then_some(()))?;
                }
            }
            Link::From { .. } => wire.state.grant(),
            Link::FromTemporary => {
                temporary = source;
                wire.state.grant();
            }
        }
    }
    wire.flush()?;
    Ok((wire.into_client()?, temporary))
}

struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    state: State,
}

impl Wire {
    fn say(&mut self, kind: Kind, code: u8, write: impl Fn(&mut amqp_types::Writer<'_>)) {
        frames::append(&mut self.state.outbox, kind, code, &[], write);
    }

    fn attach(&mut self, name: &str, link: Link<'_>) {
        self.say(Kind::Amqp, frames::ATTACH, |fields| {
            let is_receiver = !matches!(link, Link::To(..));
            fields.string(&format!("{name}-{}", if is_receiver { "receiver" } else { "sender" }));
            fields.u32(if is_receiver { RECEIVER } else { SENDER });
            fields.bool(is_receiver);
            let settled = match link {
                // Each transfer says.
                Link::To(..) => 2,
                Link::From { settled, .. } => u8::from(settled),
                Link::FromTemporary => 0,
            };
            fields.u8(settled);
            fields.u8(0);
            fields.composite(frames::SOURCE, |source| match link {
                Link::To(..) => source.string(name),
                Link::From { address, capability, .. } => {
                    source.string(address);
                    (0..9).for_each(|_| source.null());
                    source.symbol(capability);
                }
                Link::FromTemporary => {
                    source.null();
                    source.u32(0);
                    source.symbol("link-detach");
                    source.u32(0);
                    source.bool(true);
                    (0..5).for_each(|_| source.null());
                    source.symbol("temporary-queue");
                }
            });
            fields.composite(frames::TARGET, |target| match link {
                Link::To(address, capability) => {
                    target.string_or_null(address);
                    if address.is_some() {
                        (0..5).for_each(|_| target.null());
                        target.symbol(capability);
                    }
                }
                Link::From { .. } | Link::FromTemporary => target.string(name),
            });
            fields.null();
            fields.null();
            if !is_receiver {
                fields.u32(0);
            }
        });
    }

    fn flush(&mut self) -> Result {
        self.stream.write_all(&self.state.outbox)?;
        self.state.outbox.clear();
        Ok(())
    }

    fn read(&mut self) -> Result {
        let mut buffer = [0; 4096];
        let len = self.stream.read(&mut buffer)?;
        let bytes = buffer.get(..len).filter(|bytes| !bytes.is_empty());
        self.unread.extend_from_slice(bytes.ok_or("the server closed a connection")?);
        Ok(())
    }

    fn header(&mut self) -> Result {
        self.flush()?;
        while self.unread.len() < HEADER_BYTES {
            self.read()?;
        }
        if !self.unread.starts_with(b"AMQP") {
            return Err("no server of AMQP".into());
        }
        self.unread.drain(..HEADER_BYTES);
        Ok(())
    }

    /// Works on frames up to one.
    fn until<T>(&mut self, what: &str, is_it: impl Fn(&Said<'_>) -> Option<T>) -> Result<T> {
        self.flush()?;
        loop {
            let mut rest = self.unread.as_slice();
            if let Some(body) = frames::next(&mut rest) {
                let left = rest.len();
                let found = is_it(&self.state.apply(body)?);
                self.unread.drain(..self.unread.len() - left);
                match found {
                    Some(found) => return Ok(found),
                    None => continue,
                }
            }
            self.read().map_err(|error| format!("{error} while waiting for {what}"))?;
        }
    }

    fn into_client(self) -> Result<Client> {
        if !self.unread.is_empty() {
            return Err("more came than was expected".into());
        }
        self.stream.set_nonblocking(true)?;
        let stream = mio::net::TcpStream::from_std(self.stream);
        Ok(Client { stream, state: self.state, sent_ns: 0, waiting: 0, seen: 0 })
    }
}

const HEADER_BYTES: usize = 8;
