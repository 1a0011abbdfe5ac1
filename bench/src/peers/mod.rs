//! The servers that are compared: how each is started, and what it can do.
pub(crate) mod bare;
mod brokers;
mod examples;
mod jms;
mod kaazing;
mod passerelle;

use std::{env, error::Error, path::PathBuf, process::Command};

use crate::{
    dialect::{self, Dialect, Stomp},
    plan::Frame,
    server::{Readiness, Server},
};

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The gateway's program.
    pub(crate) gateway: PathBuf,
    /// The folder of the peers' sources.
    pub(crate) peers: PathBuf,
    /// A folder for what is made on the way.
    pub(crate) work: PathBuf,
}

/// A server that is compared.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) start: fn(&Places, &[usize]) -> Result<Server, Box<dyn Error>>,
    /// Echoes messages of this many bytes.
    pub(crate) echo: Option<fn(usize) -> Dialect>,
    /// Takes part in echo only with 16 bytes, and in fan-out only to 1,000.
    pub(crate) is_third_party: bool,
    /// Sends what one says to all.
    pub(crate) broadcast: Option<fn(usize) -> Dialect>,
    pub(crate) stomp: Option<Stomp<'static>>,
}

/// The gateway.
pub(crate) const PASSERELLE: Peer = Peer {
    name: "passerelle",
    start: |places, cores| passerelle::start(places, cores, ""),
    echo: Some(|len| dialect::websocket("/echo", Frame::Binary, len)),
    is_third_party: false,
    broadcast: Some(|len| dialect::websocket("/broadcast", Frame::Text, len)),
    stomp: Some(Stomp {
        path: Some("/messaging"),
        login: None,
        destination: "/topic/bench",
        modulus: 1,
    }),
};

/// The limit of an echo.
pub(crate) const BARE_ECHO: Peer = Peer {
    name: "bare TCP echo",
    start: |_, cores| start_bare("echo", cores),
    echo: Some(dialect::raw),
    is_third_party: false,
    broadcast: None,
    stomp: None,
};

/// The limit of a fan-out.
pub(crate) const BARE_LOOP: Peer = Peer {
    name: "bare loop",
    start: |_, cores| start_bare("fan-out", cores),
    echo: None,
    is_third_party: false,
    broadcast: Some(dialect::raw),
    stomp: None,
};

/// What peers have in common.
const PEER: Peer = Peer {
    name: "",
    start: |_, _| Err("it is nothing".into()),
    echo: None,
    is_third_party: false,
    broadcast: None,
    stomp: None,
};

/// The products and examples.
pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: "tokio-tungstenite",
        start: |places, cores| examples::rust(places, cores, "tungstenite"),
        echo: Some(|len| dialect::websocket("/echo", Frame::Binary, len)),
        broadcast: Some(|len| dialect::websocket("/broadcast", Frame::Text, len)),
        ..PEER
    },
    Peer {
        name: "fastwebsockets",
        start: |places, cores| examples::rust(places, cores, "fastwebsockets"),
        echo: Some(|len| dialect::websocket("/echo", Frame::Binary, len)),
        broadcast: Some(|len| dialect::websocket("/broadcast", Frame::Text, len)),
        ..PEER
    },
    Peer {
        name: "npm ws",
        start: |places, cores| examples::node(places, cores, "ws.js"),
        echo: Some(|len| dialect::websocket("/echo", Frame::Binary, len)),
        broadcast: Some(|len| dialect::websocket("/broadcast", Frame::Text, len)),
        ..PEER
    },
    Peer {
        name: "Kaazing 5.6.2",
        start: kaazing::start,
        echo: Some(|len| dialect::websocket("/echo", Frame::Binary, len)),
        is_third_party: true,
        broadcast: Some(|len| dialect::websocket("/broadcast", Frame::Text, len)),
        ..PEER
    },
    Peer {
        name: "socket.io",
        start: |places, cores| examples::node(places, cores, "socketio.js"),
        echo: Some(|len| examples::socketio("e", len)),
        is_third_party: true,
        broadcast: Some(|len| examples::socketio("b", len)),
        ..PEER
    },
    Peer {
        name: "centrifuge",
        start: examples::go,
        is_third_party: true,
        broadcast: Some(examples::centrifuge),
        ..PEER
    },
    Peer {
        name: "nats-server",
        start: brokers::nats,
        is_third_party: true,
        broadcast: Some(brokers::nats_subject),
        ..PEER
    },
    Peer {
        name: "mosquitto",
        start: brokers::mosquitto,
        is_third_party: true,
        broadcast: Some(brokers::mqtt_topic),
        ..PEER
    },
    Peer {
        name: "nchan",
        start: brokers::nchan,
        is_third_party: true,
        broadcast: Some(brokers::nchan_channel),
        ..PEER
    },
    Peer {
        name: "Artemis 2.44",
        start: brokers::artemis,
        is_third_party: true,
        stomp: Some(Stomp {
            path: Some("/stomp"),
            login: None,
            destination: "/topic/bench",
            modulus: 1,
        }),
        ..PEER
    },
    Peer {
        name: "RabbitMQ",
        start: brokers::rabbitmq,
        is_third_party: true,
        stomp: Some(Stomp {
            path: Some("/ws"),
            login: Some(("guest", "guest")),
            destination: "/topic/bench",
            modulus: 1,
        }),
        ..PEER
    },
];

pub(crate) use brokers::{artemis_with_amqp, artemis_with_journal};
pub(crate) use jms::qpid_jms;
pub(crate) use passerelle::{
    password, start as start_gateway, start_on_slow_disk, start_tls as start_gateway_tls,
};

pub(crate) fn start_bare(kind: &str, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    Server::start(Command::new(env::current_exe()?).args(["bare", kind]), cores, Readiness::Says)
}
