//! Bytes to and from a server: over TCP or in the messages of a WebSocket, with TLS or without.

use std::{io, net::IpAddr, pin::Pin};

use contract::ConnectionLimits;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::lookup_host,
};
use transports::{Connected, dial};
use websocket::{
    Decoder, Event, InflaterPool, NO_CODE, Opcode, Sender, Unread,
    client::{Request, Response},
    encode, encode_close, encode_pong,
};

use super::{address::Address, target::Server, units::BODY_BYTES_MAX};

/// A connection that carries bytes.
pub(super) struct Link {
    from: Pin<Box<dyn AsyncRead>>,
    to: Pin<Box<dyn AsyncWrite>>,
    websocket: Option<WebSocket>,
    unsent: Vec<u8>,
    /// How many bytes of `unsent` were written.
    written: usize,
    buffer: Vec<u8>,
}

/// What a WebSocket needs to be read.
struct WebSocket {
    decoder: Decoder,
    pool: InflaterPool,
    limits: ConnectionLimits,
    /// What was read and is not decoded.
    unread: Vec<u8>,
}

impl Link {
    /// Connects. Nothing bounds the time that takes.
    pub(super) async fn open(server: &Server) -> Result<Self, String> {
        let Server { address, tls, .. } = server;
        let Address { host, port, path, .. } = address;
        let found = lookup_host((&**host, *port)).await;
        let found = found.map_err(|error| format!("its name cannot be resolved: {error}"))?;
        let ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        let stream = dial(&ips, *port).await.map_err(|error| error.to_string())?;
        let mut connected = match tls {
            Some(tls) => Connected::tls(stream, tls).await.map_err(|error| error.to_string())?,
            None => Connected::Plain(stream),
        };
        let (mut websocket, mut early) = (None, Vec::new());
        if let Some(path) = path {
            early = shake_hands(&mut connected, &address.authority(), path).await?;
            websocket = Some(WebSocket::new());
        }
        let (from, to): (Pin<Box<dyn AsyncRead>>, Pin<Box<dyn AsyncWrite>>) = match connected {
            Connected::Plain(stream) => {
                let (from, to) = stream.into_split();
                (Box::pin(from), Box::pin(to))
            }
            Connected::Tls(stream) => {
                let (from, to) = tokio::io::split(*stream);
                (Box::pin(from), Box::pin(to))
            }
        };
        if let Some(websocket) = &mut websocket {
            websocket.unread.append(&mut early);
        }
        let (unsent, buffer) = (Vec::new(), vec![0; READ_BYTES]);
        Ok(Self { from, to, websocket, unsent, written: 0, buffer })
    }

    /// Adds what is to be sent: one message where there are messages.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.websocket {
            None => self.unsent.extend_from_slice(bytes),
            Some(_) => {
                // Text where it is, as other clients have it.
                let is_text = str::from_utf8(bytes).is_ok();
                let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
                encode(&mut self.unsent, masked()?, opcode, true, bytes);
            }
        }
        Ok(())
    }

    /// How many bytes are not written.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.written
    }

    /// Writes some of what is to be sent, or reads some of what comes into `received`; either may be
    /// dropped before it has ended.
    pub(super) async fn turn(&mut self, received: &mut Vec<u8>) -> io::Result<()> {
        let Self { from, to, websocket, unsent, written, buffer } = self;
        let rest = unsent.get(*written..).unwrap_or_default();
        tokio::select! {
            biased;
            count = from.read(buffer) => {
                let bytes = match count? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => buffer.get(..count).unwrap_or_default(),
                };
                match websocket {
                    None => received.extend_from_slice(bytes),
                    Some(websocket) => {
                        websocket.unread.extend_from_slice(bytes);
                        websocket.decode(received, unsent)?;
                    }
                }
            }
            count = to.write(rest), if !rest.is_empty() => {
                *written += count?;
                if *written == unsent.len() {
                    to.flush().await?;
                    unsent.clear();
                    *written = 0;
                }
            }
        }
        Ok(())
    }

    /// Says the end, where there is something to say.
    pub(super) async fn close(mut self) {
        if self.websocket.is_some()
            && let Ok(sender) = masked()
        {
            encode_close(&mut self.unsent, sender, 1000, "");
        }
        let rest = self.unsent.get(self.written..).unwrap_or_default();
        // All that matters was confirmed.
        let _gone = self.to.write_all(rest).await;
        let _gone = self.to.shutdown().await;
    }
}

impl WebSocket {
    fn new() -> Self {
        let limits = ConnectionLimits {
            message_bytes_max: BODY_BYTES_MAX,
            fragments_max: u32::MAX,
            ..ConnectionLimits::default()
        };
        Self {
            decoder: Decoder::of_server(),
            pool: InflaterPool::new(),
            limits,
            unread: Vec::new(),
        }
    }

    /// Decodes all that was read; what is to be replied goes to `unsent`.
    fn decode(&mut self, received: &mut Vec<u8>, unsent: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.unread);
        let mut unread = Unread::new(&mut bytes);
        loop {
            match self.decoder.next(&mut unread, &self.limits, &mut self.pool) {
                Ok(None) => break,
                Ok(Some(Event::Data(data))) => received.extend_from_slice(data.bytes),
                Ok(Some(Event::Ping(payload))) => encode_pong(unsent, masked()?, payload),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(close))) => {
                    let (code, reason) =
                        close.map_or((NO_CODE, ""), |close| (close.code, close.reason));
                    // What came before it is read first: an ERROR says more.
                    if received.is_empty() {
                        return Err(io::Error::other(format!(
                            "the server closed the WebSocket with {code} {reason}"
                        )));
                    }
                    break;
                }
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
        }
        self.unread = unread.rest().to_vec();
        Ok(())
    }
}

/// Makes it a WebSocket. Returns what came behind the response.
async fn shake_hands(connected: &mut Connected, host: &str, path: &str) -> Result<Vec<u8>, String> {
    let nonce = u128::from_ne_bytes(random().map_err(|error| error.to_string())?);
    let request = Request { host, path, subprotocol: "v12.stomp", nonce };
    let mut response = Response::new(request);
    let parse = |received: &[u8]| response.parse(received).transpose();
    let (outcome, mut received) = connected
        .exchange(&request.encode(), RESPONSE_BYTES_MAX, parse)
        .await
        .map_err(|error| format!("it ended the connection in the WebSocket handshake: {error}"))?;
    let len = outcome.ok_or("its reply to the WebSocket handshake has no end")?;
    let len = len.map_err(|error| error.to_string())?;
    Ok(received.split_off(len))
}

/// A client masks each frame by a key of its own.
fn masked() -> io::Result<Sender> {
    Ok(Sender::Client { key: random()? })
}

fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

const READ_BYTES: usize = 64 << 10;
const RESPONSE_BYTES_MAX: usize = 16 << 10;
