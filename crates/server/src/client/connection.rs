//! Frames to and from a server.

use std::{future::pending, io, time::Duration};

use contract::{ConnectionLimits, ProtocolLimits};
use drive::clock;
use stomp::{Decoder, Frame, FrameLimits, Verb, Version};
use tokio::time;

use super::{
    Failure,
    link::Link,
    target::{Server, Target},
    units::BODY_BYTES_MAX,
};

/// A connection after its CONNECT.
pub(super) struct Connection {
    link: Link,
    decoder: Decoder,
    limits: FrameLimits,
    received: Vec<u8>,
    /// How many bytes of `received` were decoded.
    decoded: usize,
    encoded: Vec<u8>,
    /// How long the server may be silent, once it has promised not to be.
    silence_max: Option<Duration>,
    heard_ns: u64,
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(target: &Target, server: &Server) -> Result<Self, Failure> {
        let unreachable =
            |error: String| Failure::Unreachable { address: server.address.to_string(), error };
        let opened = async {
            let link = Link::open(server).await.map_err(unreachable)?;
            Self::log_in(link, target, server).await
        };
        match time::timeout(target.connect_timeout, opened).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(unreachable(format!(
                "no answer within {:?} (--connect-timeout)",
                target.connect_timeout
            ))),
        }
    }

    async fn log_in(link: Link, target: &Target, server: &Server) -> Result<Self, Failure> {
        let connection =
            ConnectionLimits { message_bytes_max: BODY_BYTES_MAX, ..ConnectionLimits::default() };
        let protocol = ProtocolLimits {
            header_bytes_max: HEADER_BYTES_MAX,
            headers_max: HEADERS_MAX,
            ..ProtocolLimits::default()
        };
        let mut this = Self {
            link,
            decoder: Decoder::new(),
            limits: FrameLimits::new(&connection, &protocol),
            received: Vec::new(),
            decoded: 0,
            encoded: Vec::new(),
            silence_max: None,
            heard_ns: clock::now().mono_ns,
        };
        let mut connect = Frame::new(Verb::Connect)
            .with("accept-version", Version::V1_2.as_str())
            .with("host", &server.address.host)
            .with("heart-beat", &format!("0,{BEAT_MS}"));
        if let Some((login, passcode)) = &server.login {
            connect = connect.with("login", login).with("passcode", passcode.expose());
        }
        if let Some(client_id) = &target.client_id {
            connect = connect.with("client-id", client_id);
        }
        this.send(&connect)?;
        let connected = loop {
            match this.next()? {
                Some(frame) => break frame,
                None => this.turn().await?,
            }
        };
        if connected.verb != Verb::Connected {
            return Err(Failure::Refused(format!(
                "{} instead of CONNECTED",
                connected.verb.as_str()
            )));
        }
        this.decoder.set_version(Version::V1_2);
        let beat = connected.header("heart-beat").and_then(|beat| beat.split(',').next());
        let beat_ms: u64 = beat.and_then(|ms| ms.trim().parse().ok()).unwrap_or(0);
        this.silence_max = (beat_ms > 0).then(|| Duration::from_millis(beat_ms.max(BEAT_MS)) * 3);
        Ok(this)
    }

    /// Adds a frame to what is to be sent.
    pub(super) fn send(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.encoded.clear();
        frame.encode(Version::V1_2, &mut self.encoded);
        self.link.send(&self.encoded).map_err(|error| Failure::Lost(error.to_string()))
    }

    /// How many bytes are not written.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.link.unsent_bytes()
    }

    /// The next frame that has come.
    ///
    /// # Errors
    /// When the server sends an ERROR, or what is none of a server's frames.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Failure> {
        let rest = self.received.get(self.decoded..).unwrap_or_default();
        let mut left = rest;
        let frame = self.decoder.next(&mut left, self.limits).map_err(|error| {
            Failure::Lost(format!("what the server sends is no STOMP: {error}"))
        })?;
        self.decoded += rest.len() - left.len();
        if self.decoded == self.received.len() {
            self.received.clear();
            self.decoded = 0;
        }
        match frame {
            Some(frame) if frame.verb == Verb::Error => Err(Failure::Refused(complaint(&frame))),
            frame => Ok(frame),
        }
    }

    /// Writes or reads some bytes. It may be dropped before it has ended.
    pub(super) async fn turn(&mut self) -> Result<(), Failure> {
        let silence = async {
            match self.silence_max {
                Some(max) => {
                    let silent_ns = clock::now().mono_ns.saturating_sub(self.heard_ns);
                    time::sleep(max.saturating_sub(Duration::from_nanos(silent_ns))).await;
                }
                None => pending().await,
            }
        };
        let before = self.received.len();
        tokio::select! {
            biased;
            outcome = self.link.turn(&mut self.received) => {
                outcome.map_err(|error| Failure::Lost(why(&error)))?;
            }
            () = silence => {
                return Err(Failure::Lost("the server has been silent for too long".to_owned()));
            }
        }
        if self.received.len() > before {
            self.heard_ns = clock::now().mono_ns;
        }
        Ok(())
    }

    /// Ends the connection once the server has seen to all that was sent: it says so. Messages that
    /// still come are not taken.
    pub(super) async fn end(mut self, timeout: Duration) -> Result<(), Failure> {
        self.send(&Frame::new(Verb::Disconnect).with("receipt", LAST))?;
        let confirmed = async {
            loop {
                match self.next()? {
                    Some(frame) if frame.header("receipt-id") == Some(LAST) => return Ok(()),
                    Some(_) => {}
                    None => self.turn().await?,
                }
            }
        };
        match time::timeout(timeout, confirmed).await {
            Ok(outcome) => outcome?,
            Err(_elapsed) => {
                return Err(Failure::Lost("the server did not confirm its end".to_owned()));
            }
        }
        // Not for long: there is nothing to lose.
        let _elapsed = time::timeout(CLOSE_TIMEOUT, self.link.close()).await;
        Ok(())
    }
}

fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        "the server closed it".to_owned()
    } else {
        error.to_string()
    }
}

/// What an ERROR says.
fn complaint(frame: &Frame) -> String {
    let message = frame.header("message").unwrap_or("an ERROR without a message");
    let details = String::from_utf8_lossy(&frame.body);
    match details.trim() {
        "" => message.to_owned(),
        details if details.starts_with(message) => details.to_owned(),
        details => format!("{message}: {details}"),
    }
}

/// The receipt of DISCONNECT.
const LAST: &str = "end";
/// How often a server that has nothing to send is to send something.
const BEAT_MS: u64 = 10_000;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const HEADER_BYTES_MAX: usize = 1 << 20;
const HEADERS_MAX: usize = 10_000;
