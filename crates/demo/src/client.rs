use std::{io, time::Duration};

use stomp::{Decoder, Frame, FrameError, FrameLimits, Verb, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time,
};
use tracing::{debug, info, warn};

/// A STOMP client over TCP which connects again, and subscribes again, whenever it lost the
/// gateway.
#[derive(Debug)]
pub(crate) struct Client {
    /// For the log.
    pub(crate) name: &'static str,
    /// Host and port of the gateway.
    pub(crate) gateway: String,
    /// Login and passcode, where the gateway wants them.
    pub(crate) credentials: Option<(String, String)>,
    /// A queue to consume from.
    pub(crate) queue: Option<&'static str>,
}

/// What a client has to tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// A MESSAGE came; it waits for its [`ack`].
    Message(Frame),
    /// The connection is lost, and what was on its way.
    Lost,
}

/// Messages that may wait for their acknowledgement.
pub(crate) const PREFETCH: usize = 50;
/// Room for everything a client may have to tell at once.
pub(crate) const EVENTS_MAX: usize = PREFETCH + 2;

const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// We beat twice as often as we promise.
const BEAT: Duration = Duration::from_secs(5);
const PROMISE_MS: u64 = 10_000;
/// The gateway promises the same, and gets some grace.
const SILENCE_MAX: Duration = Duration::from_secs(25);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 << 10;

/// Why a connection ended, or was not made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Network(#[from] io::Error),
    #[error("no reply in time")]
    Timeout(#[from] time::error::Elapsed),
    #[error("what came is no STOMP: {0}")]
    Malformed(#[from] FrameError),
    #[error("the gateway says: {0}")]
    Refused(String),
    #[error("the gateway closed the connection")]
    Closed,
    #[error("the gateway sends more than was asked for")]
    Flooded,
}

impl Client {
    /// Keeps the connection up. Writes the frames of `outgoing`, which are lost while there is no
    /// connection; ends when `outgoing` does.
    pub(crate) async fn run(
        self,
        mut outgoing: mpsc::Receiver<Vec<u8>>,
        events: mpsc::Sender<Event>,
    ) {
        let mut delay = DELAY_MIN;
        loop {
            match self.connect().await {
                Ok((mut stream, mut decoder)) => {
                    info!(client = self.name, gateway = self.gateway, "connected");
                    while outgoing.try_recv().is_ok() {}
                    let end = talk(&mut stream, &mut decoder, &mut outgoing, &events).await;
                    let Err(failure) = end else { return };
                    warn!(client = self.name, %failure, "connection lost");
                    if events.send(Event::Lost).await.is_err() {
                        return;
                    }
                    delay = DELAY_MIN;
                }
                Err(failure) if delay > DELAY_MIN => {
                    debug!(client = self.name, %failure, "still not connected");
                }
                Err(failure) => warn!(client = self.name, %failure, "not connected"),
            }
            if time::timeout(delay, drain(&mut outgoing)).await.is_ok() {
                return;
            }
            delay = (delay * 2).min(DELAY_MAX);
        }
    }

    async fn connect(&self) -> Result<(TcpStream, Decoder), Failure> {
        time::timeout(CONNECT_TIMEOUT, async {
            let mut stream = TcpStream::connect(&self.gateway).await?;
            stream.set_nodelay(true)?;
            let host = self.gateway.rsplit_once(':').map_or(&*self.gateway, |(host, _)| host);
            let mut connect = Frame::new(Verb::Connect)
                .with("accept-version", Version::V1_2.as_str())
                .with("host", host)
                .with("heart-beat", &format!("{PROMISE_MS},{PROMISE_MS}"));
            if let Some((login, passcode)) = &self.credentials {
                connect = connect.with("login", login).with("passcode", passcode);
            }
            stream.write_all(&encoded(&connect)).await?;
            let mut decoder = Decoder::new();
            let reply = first_frame(&mut stream, &mut decoder).await?;
            if reply.verb != Verb::Connected {
                return Err(Failure::Refused(complaint(&reply)));
            }
            decoder.set_version(Version::V1_2);
            if let Some(queue) = self.queue {
                let subscribe = Frame::new(Verb::Subscribe)
                    .with("id", "0")
                    .with("destination", queue)
                    .with("ack", "client-individual")
                    .with("prefetch", &PREFETCH.to_string());
                stream.write_all(&encoded(&subscribe)).await?;
            }
            Ok((stream, decoder))
        })
        .await?
    }
}

/// The frame that sends a JSON body.
pub(crate) fn send(destination: &str, body: Vec<u8>) -> Frame {
    Frame::new(Verb::Send)
        .with("destination", destination)
        .with("content-type", "application/json")
        .with_body(body)
}

/// The frame that acknowledges a MESSAGE.
pub(crate) fn ack(message: &Frame) -> Frame {
    Frame::new(Verb::Ack).with("id", message.header("ack").unwrap_or_default())
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(Version::V1_2, &mut bytes);
    bytes
}

/// The reply to CONNECT, before which nothing else comes and after which nothing is due.
async fn first_frame(stream: &mut TcpStream, decoder: &mut Decoder) -> Result<Frame, Failure> {
    loop {
        let byte = [stream.read_u8().await?];
        if let Some(frame) = decoder.next(&mut &byte[..], FrameLimits::default())? {
            return Ok(frame);
        }
    }
}

/// Carries frames both ways until something fails, or until `outgoing` ends.
async fn talk(
    stream: &mut TcpStream,
    decoder: &mut Decoder,
    outgoing: &mut mpsc::Receiver<Vec<u8>>,
    events: &mpsc::Sender<Event>,
) -> Result<(), Failure> {
    let (mut from, mut to) = stream.split();
    let mut buffer = vec![0; READ_BYTES];
    let mut beat = time::interval(BEAT);
    let silence = time::sleep(SILENCE_MAX);
    tokio::pin!(silence);
    loop {
        let output = tokio::select! {
            count = from.read(&mut buffer) => {
                silence.set(time::sleep(SILENCE_MAX));
                match count? {
                    0 => return Err(Failure::Closed),
                    count => hear(buffer.get(..count).unwrap_or_default(), decoder, events)?,
                }
                continue;
            }
            frames = outgoing.recv() => match frames {
                Some(frames) => frames,
                None => return Ok(()),
            },
            _ = beat.tick() => b"\n".to_vec(),
            () = &mut silence => return Err(Failure::Closed),
        };
        time::timeout(WRITE_TIMEOUT, to.write_all(&output)).await??;
    }
}

fn hear(
    mut bytes: &[u8],
    decoder: &mut Decoder,
    events: &mpsc::Sender<Event>,
) -> Result<(), Failure> {
    while let Some(frame) = decoder.next(&mut bytes, FrameLimits::default())? {
        if frame.verb == Verb::Message {
            events.try_send(Event::Message(frame)).map_err(|_| Failure::Flooded)?;
        } else if frame.verb == Verb::Error {
            return Err(Failure::Refused(complaint(&frame)));
        }
    }
    Ok(())
}

fn complaint(frame: &Frame) -> String {
    let message = frame.header("message").unwrap_or("no message");
    let details = String::from_utf8_lossy(&frame.body);
    format!("{message} ({})", details.trim())
}

/// Throws away what cannot be sent; returns when nothing will come any more.
async fn drain(outgoing: &mut mpsc::Receiver<Vec<u8>>) {
    while outgoing.recv().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    /// The gateway's end of one connection.
    struct Gateway {
        stream: TcpStream,
        decoder: Decoder,
    }

    impl Gateway {
        /// Accepts a connection and replies to its CONNECT.
        async fn accept(listener: &TcpListener) -> (Self, Frame) {
            let (stream, _) = listener.accept().await.unwrap();
            let mut decoder = Decoder::new();
            decoder.set_version(Version::V1_2);
            let mut gateway = Self { stream, decoder };
            let connect = gateway.hear().await;
            gateway.say(&Frame::new(Verb::Connected).with("version", "1.2")).await;
            (gateway, connect)
        }

        async fn say(&mut self, frame: &Frame) {
            self.stream.write_all(&encoded(frame)).await.unwrap();
        }

        async fn hear(&mut self) -> Frame {
            first_frame(&mut self.stream, &mut self.decoder).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_client_that_lost_its_gateway_comes_back_and_subscribes_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client {
            name: "test",
            gateway: listener.local_addr().unwrap().to_string(),
            credentials: Some(("ann".to_owned(), "a:secret".to_owned())),
            queue: Some("/queue/orders"),
        };
        let (outgoing, outgoing_out) = mpsc::channel(1);
        let (events_in, mut events) = mpsc::channel(EVENTS_MAX);
        let script = async move {
            let (mut gateway, connect) = Gateway::accept(&listener).await;
            assert_eq!(connect.header("host"), Some("127.0.0.1"));
            assert_eq!(connect.header("passcode"), Some("a:secret"), "CONNECT has no escapes");
            let subscribe = gateway.hear().await;
            assert_eq!(subscribe.header("destination"), Some("/queue/orders"));
            assert_eq!(subscribe.header("ack"), Some("client-individual"));

            gateway.say(&Frame::new(Verb::Message).with("ack", "7").with_body("hello")).await;
            let Some(Event::Message(message)) = events.recv().await else { panic!("no message") };
            assert_eq!(message.body, "hello");
            let mut frames = encoded(&ack(&message));
            frames.extend(encoded(&send("/topic/a", b"{}".to_vec())));
            outgoing.send(frames).await.unwrap();
            assert_eq!(gateway.hear().await.header("id"), Some("7"));
            assert_eq!(gateway.hear().await.body, "{}");

            for farewell in [Some(Frame::new(Verb::Error).with("message", "stopping")), None] {
                if let Some(error) = farewell {
                    gateway.say(&error).await;
                }
                drop(gateway.stream);
                assert!(matches!(events.recv().await, Some(Event::Lost)));
                (gateway, _) = Gateway::accept(&listener).await;
                assert_eq!(gateway.hear().await.verb, Verb::Subscribe);
            }
        };
        // When the script is over, nothing goes out any more, and the client ends.
        time::timeout(Duration::from_secs(30), async {
            tokio::join!(client.run(outgoing_out, events_in), script)
        })
        .await
        .unwrap();
    }
}
