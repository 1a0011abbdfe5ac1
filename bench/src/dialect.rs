//! What clients of each kind say.
use crate::{
    load::encode,
    plan::{Frame, Framing, MARK, Step},
};

/// How to reach a server, and how a message looks there.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub(crate) framing: Framing,
    /// What a client or a subscriber says first.
    pub(crate) opening: Vec<Step>,
    /// What a publisher says first.
    pub(crate) publisher: Vec<Step>,
    pub(crate) message: Vec<u8>,
    /// Whether a publisher gets its own messages.
    pub(crate) comes_back: bool,
}

/// A payload of this size.
pub(crate) fn payload(len: usize) -> Vec<u8> {
    let mut bytes = vec![b'x'; len];
    if let Some(last) = bytes.last_mut() {
        *last = MARK;
    }
    bytes
}

/// Bytes over TCP.
pub(crate) fn raw(len: usize) -> Dialect {
    Dialect {
        framing: Framing::Stream,
        opening: Vec::new(),
        publisher: Vec::new(),
        message: payload(len),
        comes_back: false,
    }
}

/// Messages over a WebSocket, which come back.
pub(crate) fn websocket(path: &str, frame: Frame, len: usize) -> Dialect {
    let opening = vec![upgrade(path, None)];
    Dialect {
        framing: Framing::WebSocket,
        publisher: opening.clone(),
        opening,
        message: encode(frame, &payload(len)),
        comes_back: true,
    }
}

/// STOMP 1.2. `destination` may have `{n}` in it, in place of which comes the subscriber's number modulo `modulus`.
#[derive(Clone, Debug)]
pub(crate) struct Stomp<'a> {
    /// The path of the WebSocket; none for TCP.
    pub(crate) path: Option<&'a str>,
    pub(crate) login: Option<(&'a str, &'a str)>,
    pub(crate) destination: &'a str,
    pub(crate) modulus: usize,
}

impl Stomp<'_> {
    pub(crate) fn fan_out(&self, len: usize) -> Dialect {
        let mut opening = self.connect();
        let publisher = opening.clone();
        opening.push(self.subscribe(0, self.destination));
        Dialect {
            framing: if self.path.is_some() { Framing::WebSocket } else { Framing::Stream },
            opening,
            publisher,
            message: self.message(0, len),
            comes_back: false,
        }
    }

    pub(crate) fn connect(&self) -> Vec<Step> {
        let login = self.login.map_or(String::new(), |(login, passcode)| {
            format!("login:{login}\npasscode:{passcode}\n")
        });
        let connect = format!("CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n{login}\n\0");
        let upgrade = self.path.map(|path| upgrade(path, Some("v12.stomp")));
        upgrade.into_iter().chain([self.step(connect, "CONNECTED")]).collect()
    }

    pub(crate) fn subscribe(&self, id: usize, destination: &str) -> Step {
        let frame = format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:r{id}\n\n\0");
        self.step(frame, &format!("receipt-id:r{id}"))
    }

    /// The frame that sends to the `number`th destination.
    pub(crate) fn message(&self, number: usize, len: usize) -> Vec<u8> {
        let destination = self.destination.replace("{n}", &number.to_string());
        let mut frame =
            format!("SEND\ndestination:{destination}\ncontent-length:{len}\n\n").into_bytes();
        frame.extend(payload(len));
        frame.push(0);
        encode(self.frame(), &frame)
    }

    fn step(&self, send: String, until: &str) -> Step {
        Step { modulus: self.modulus, ..step(self.frame(), send, until) }
    }

    fn frame(&self) -> Frame {
        if self.path.is_some() { Frame::Text } else { Frame::Bare }
    }
}

/// The request for a WebSocket.
pub(crate) fn upgrade(path: &str, subprotocol: Option<&str>) -> Step {
    let subprotocol =
        subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    let send = format!(
        "GET {path} HTTP/1.1\r\nHost: {{host}}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\n{subprotocol}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    step(Frame::Bare, send, "\r\n\r\n")
}

/// Sends something and waits for the reply.
pub(crate) fn step(frame: Frame, send: impl Into<Vec<u8>>, until: impl Into<Vec<u8>>) -> Step {
    Step { send: send.into(), frame, modulus: 1, until: until.into() }
}
