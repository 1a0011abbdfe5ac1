//! Connections of fe2o3-amqp to a running gateway, whose address is in `GATEWAY` (`HOST:PORT`).
//!
//! `GATEWAY_TLS` is the address of one with TLS, `GATEWAY_CERTIFICATE` the certificate to trust. The user is `ann`,
//! whose password is `secret`; to `forbidden.>` nobody may send, and from it nobody may receive.
#![expect(clippy::disallowed_methods, reason = "the gateways are in the environment")]

use std::{
    env,
    fmt::Debug,
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use fe2o3_amqp::{
    Connection, Delivery, Receiver, Sendable, Sender, Session,
    connection::{ConnectionHandle, OpenError},
    link::{CreditMode, ReceiverAttachError, SenderAttachError},
    sasl_profile::SaslProfile,
    session::SessionHandle,
    types::{
        definitions::{ReceiverSettleMode, SenderSettleMode},
        messaging::{Message, Outcome, Source, Target},
        primitives::{Array, Symbol, Value},
    },
};
use fe2o3_amqp_ws::WebSocketStream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// A way to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Tcp,
    Tls,
    WebSocket,
    WebSocketTls,
}

impl Over {
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::WebSocket, Self::WebSocketTls];

    async fn stream(self) -> Box<dyn Stream> {
        let secured = matches!(self, Self::Tls | Self::WebSocketTls);
        let authority = env::var(if secured { "GATEWAY_TLS" } else { "GATEWAY" })
            .expect("the address of a gateway");
        let tcp = TcpStream::connect(&authority).await.expect("a gateway");
        let stream: Box<dyn Stream> =
            if secured { Box::new(encrypted(tcp).await) } else { Box::new(tcp) };
        if matches!(self, Self::Tcp | Self::Tls) {
            return stream;
        }
        let url = format!("ws://{authority}/messaging");
        Box::new(WebSocketStream::connect_with_stream(url, stream).await.expect("a WebSocket"))
    }
}

/// A connection below AMQP.
trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for T {}

async fn encrypted(tcp: TcpStream) -> impl Stream + 'static {
    let mut roots = RootCertStore::empty();
    let file = env::var("GATEWAY_CERTIFICATE").expect("a certificate");
    roots.add(CertificateDer::from_pem_file(file).expect("a certificate")).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS")
}

/// How a client connects.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub container: Option<String>,
    pub login: Option<SaslProfile>,
    pub max_frame_size: Option<u32>,
    pub idle_ms: Option<u32>,
}

impl Client {
    pub async fn open(self, over: Over) -> Result<ConnectionHandle<()>, OpenError> {
        let container = self.container.unwrap_or_else(|| unique("container"));
        let mut builder = Connection::builder().container_id(container);
        if let Some(login) = self.login {
            builder = builder.sasl_profile(login);
        }
        if let Some(bytes) = self.max_frame_size {
            builder = builder.max_frame_size(bytes);
        }
        if let Some(ms) = self.idle_ms {
            builder = builder.idle_time_out(ms);
        }
        within(builder.open_with_stream(over.stream().await)).await
    }

    pub async fn connect(self, over: Over) -> Peer {
        let mut connection = self.open(over).await.expect("a connection");
        let session = within(Session::begin(&mut connection)).await.expect("a session");
        Peer { session, connection }
    }
}

/// A connection with a session.
#[derive(Debug)]
pub struct Peer {
    // Before the connection, so that it ends first.
    pub session: SessionHandle<()>,
    pub connection: ConnectionHandle<()>,
}

impl Peer {
    /// Over TCP, as nobody.
    pub async fn new() -> Self {
        Client::default().connect(Over::Tcp).await
    }

    pub async fn sender(&mut self, target: impl Into<Target>) -> Sender {
        self.try_sender(target, SenderSettleMode::default()).await.expect("a sender")
    }

    pub async fn try_sender(
        &mut self,
        target: impl Into<Target>,
        settle_mode: SenderSettleMode,
    ) -> Result<Sender, SenderAttachError> {
        let builder = Sender::builder()
            .name(unique("sender"))
            .target(target.into())
            .sender_settle_mode(settle_mode);
        within(builder.attach(&mut self.session)).await
    }

    /// One that gives credit as the test does.
    pub async fn receiver(&mut self, source: impl Into<Source>) -> Receiver {
        self.try_receiver(unique("receiver"), source, Settling::default())
            .await
            .expect("a receiver")
    }

    pub async fn try_receiver(
        &mut self,
        name: String,
        source: impl Into<Source>,
        settling: Settling,
    ) -> Result<Receiver, ReceiverAttachError> {
        let builder = Receiver::builder()
            .name(name)
            .source(source)
            .sender_settle_mode(settling.sender)
            .receiver_settle_mode(settling.receiver)
            .credit_mode(CreditMode::Manual);
        within(builder.attach(&mut self.session)).await
    }

    /// Returns when the gateway has worked on what was sent before.
    pub async fn sync(&mut self) {
        within(self.sender(unique("sync")).await.close()).await.expect("closed");
    }

    pub async fn close(mut self) {
        within(self.session.end()).await.expect("ended");
        within(self.connection.close()).await.expect("closed");
    }
}

/// Attaches a receiver that the gateway must refuse, in a session of its own: fe2o3-amqp detaches
/// a link that was refused twice, which is an error (part 2, section 2.8.17).
pub async fn refused_receiver(client: Client, source: impl Into<Source>, condition: &str) {
    let mut peer = client.connect(Over::Tcp).await;
    let name = unique("refused");
    assert_refused(peer.try_receiver(name, source, Settling::default()).await, condition);
}

/// The same of a sender.
pub async fn refused_sender(target: impl Into<Target>, condition: &str) {
    let mut peer = Peer::new().await;
    assert_refused(peer.try_sender(target, SenderSettleMode::default()).await, condition);
}

/// Who settles, and when.
#[derive(Clone, Debug, Default)]
pub struct Settling {
    pub sender: SenderSettleMode,
    pub receiver: ReceiverSettleMode,
}

pub fn capable(address: &str, capabilities: &[&str]) -> Source {
    Source::builder().address(address).capabilities(symbols(capabilities)).build()
}

pub fn topic(address: &str) -> Target {
    Target::builder().address(address).capabilities(symbols(&["topic"])).build()
}

fn symbols(names: &[&str]) -> Array<Symbol> {
    names.iter().map(|name| Symbol::from(*name)).collect::<Vec<_>>().into()
}

/// Sends texts, each of which must be accepted.
pub async fn send(sender: &mut Sender, bodies: &[&str]) {
    for body in bodies {
        let outcome = within(sender.send(*body)).await.expect("an outcome");
        assert!(outcome.is_accepted(), "{outcome:?}");
    }
}

/// What becomes of a message with this body and address.
pub async fn outcome(
    sender: &mut Sender,
    message: Message<fe2o3_amqp::types::messaging::AmqpValue<Value>>,
) -> Outcome {
    within(sender.send(Sendable::from(message))).await.expect("an outcome")
}

/// Gives credit for a message and receives it.
pub async fn next(receiver: &mut Receiver) -> Delivery<Value> {
    within(receiver.set_credit(1)).await.expect("credit");
    within(receiver.recv()).await.expect("a message")
}

/// Receives and accepts messages, and returns their texts.
pub async fn take(receiver: &mut Receiver, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let delivery = next(receiver).await;
        within(receiver.accept(&delivery)).await.expect("accepted");
        texts.push(text(&delivery));
    }
    texts
}

/// Gives credit, receives what is to come for it, and has the rest used up.
pub async fn drain(
    peer: &mut Peer,
    receiver: &mut Receiver,
    credit: u32,
    count: usize,
) -> Vec<Delivery<Value>> {
    within(receiver.set_credit(credit)).await.expect("credit");
    let mut deliveries = Vec::new();
    for _ in 0..count {
        deliveries.push(within(receiver.recv()).await.expect("a message"));
    }
    within(receiver.drain()).await.expect("a drain");
    // fe2o3-amqp does not say when that is answered.
    peer.sync().await;
    nothing(receiver).await;
    deliveries
}

/// Nothing comes.
pub async fn nothing(receiver: &mut Receiver) {
    let more = timeout(Duration::from_millis(50), receiver.recv::<Value>()).await;
    assert!(more.is_err(), "{more:?}");
}

pub fn text(delivery: &Delivery<Value>) -> String {
    match delivery.body() {
        Value::String(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

/// An error of the gateway's with a condition, as fe2o3-amqp names it.
#[track_caller]
pub fn assert_refused<T: Debug, E: Debug>(result: Result<T, E>, condition: &str) {
    let error = format!("{:?}", result.expect_err(condition));
    assert!(error.contains(condition), "{error} instead of {condition}");
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}.fe2o3.{}.{}", process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

/// What takes too long fails.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), work).await.expect("no answer in ten seconds")
}
