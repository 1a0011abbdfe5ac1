//! Upstreams that are slow, stop or lie.

use std::{
    io::Write as _,
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use drive::{Framing, UpstreamAddress};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use transports::ClientTls;
use websocket::Version;

use crate::{gateway::Gateway, read, reset, rest};

const WEBSOCKET: Framing = Framing::WebSocket { version: Version::Rfc6455, deflate: None };
const HOUR: Duration = Duration::from_secs(3600);

/// A gateway whose clients are WebSockets, to a server with TLS.
fn secure(connect_timeout: Duration) -> Gateway {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let tls = ClientTls { config: Arc::new(config), name: "localhost".try_into().unwrap() };
    let with = |address| UpstreamAddress { tls: Some(tls), ..address };
    Gateway::start_with(WEBSOCKET, connect_timeout, with, || Box::new(proxy::Proxy::new(false)))
}

#[test]
fn a_client_that_leaves_stops_the_connect() {
    let leaves: [(&str, fn(TcpStream) -> Option<TcpStream>); 3] =
        [("closes", |_| None), ("resets", reset_now), ("closes its side", close_side)];
    let gateway = secure(HOUR);
    let mut tried = 0;
    for (how, leave) in leaves {
        for (first, pause) in [(false, false), (true, false), (true, true)] {
            let rule = format!("{how}, sends first: {first}, with a pause: {pause}");
            let (mut client, mut server) = gateway.connect();
            if first {
                client.write_all(&[0x82; 100]).unwrap();
            }
            // The TLS handshake has begun, and goes on for an hour.
            assert_eq!(read(&mut server, 1), [22], "{rule}");
            if pause {
                // The core has read what the client sent, and reads no more.
                thread::park_timeout(Duration::from_millis(50));
            }
            let client = leave(client);
            rest(&mut server);
            drop(client);
            tried += 1;
        }
    }
    gateway.wait_for_counts((0, 0));
    assert_eq!(tried, 9);
    gateway.stop();
}

fn reset_now(client: TcpStream) -> Option<TcpStream> {
    reset(client);
    None
}

fn close_side(client: TcpStream) -> Option<TcpStream> {
    client.shutdown(Shutdown::Write).unwrap();
    Some(client)
}
