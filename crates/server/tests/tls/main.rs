//! The gateway over TLS: what each client sees, and what the operator may do meanwhile.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::symlink,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use rustls::{ClientConfig, HandshakeKind};

use self::support::{Client, Gateway, VERSIONS, frame, handshake, pattern};

#[test]
fn http_websocket_and_stomp_are_spoken_on_one_port() {
    let gateway = Gateway::start("spoken", &["localhost"], "");
    for version in VERSIONS {
        let config = gateway.trust(&["localhost"], &[version]);

        let mut http = gateway.connect(&config, "localhost");
        assert_eq!(http.version(), Some(version.version));
        http.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let response = String::from_utf8(http.read_to_end()).unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");

        let mut websocket = gateway.connect(&config, "localhost");
        websocket.upgrade("/echo");
        for len in [0, 1, 125, 126, 1000, 16_383, 16_384, 16_385, 65_536, 1_000_000] {
            let payload = pattern(len, len);
            websocket.send(&frame(&payload, true));
            websocket.expect(&frame(&payload, false));
        }
        websocket.send(&[0x88, 0x80, 0, 0, 0, 0]);
        assert_eq!(websocket.read_to_end(), [0x88, 0]);

        let mut stomp = gateway.connect(&config, "localhost");
        stomp.log_in();
        stomp.send(b"SUBSCRIBE\nid:1\ndestination:/topic/t\nreceipt:s\n\n\0");
        assert!(stomp.read_to(b"\0").contains("receipt-id:s\n"));
        let body = "quotes ".repeat(50_000);
        stomp.send(format!("SEND\ndestination:/topic/t\n\n{body}\0").as_bytes());
        let message = stomp.read_to(b"\0");
        assert!(message.contains(&body), "{} bytes", message.len());
        stomp.send(b"DISCONNECT\nreceipt:bye\n\n\0");
        assert!(String::from_utf8(stomp.read_to_end()).unwrap().contains("receipt-id:bye"));
    }
}

#[test]
fn what_comes_with_the_handshake_is_not_lost() {
    let gateway = Gateway::start("early", &["localhost"], "");
    for version in VERSIONS {
        let config = gateway.trust(&["localhost"], &[version]);
        // A little, more than is read at a time, and more than TLS holds.
        for count in [1, 9, 200] {
            let mut client = gateway.connect(&config, "localhost");
            let payloads: Vec<_> = (0..count).map(|seed| pattern(1000, seed)).collect();
            let frames: Vec<u8> = payloads.iter().flat_map(|bytes| frame(bytes, true)).collect();
            client.send(&[handshake("/echo").as_bytes(), &frames].concat());
            client.expect_upgrade();
            for payload in &payloads {
                client.expect(&frame(payload, false));
            }
        }
    }
}

#[test]
fn records_and_segments_may_be_split_anywhere() {
    let gateway = Gateway::start("cuts", &["localhost"], "");
    for version in VERSIONS {
        let config = gateway.trust(&["localhost"], &[version]);
        for segment_len in [1, 7, 1000] {
            let mut client = gateway.connect(&config, "localhost");
            client.limit_to(segment_len);
            // Each byte is a record.
            for byte in b"CONNECT\naccept-version:1.2\nhost:/\n\n\0" {
                client.send(&[*byte]);
            }
            assert!(client.read_to(b"\0").starts_with("CONNECTED\n"));
        }
    }
}

#[test]
fn what_a_slow_peer_does_not_take_waits() {
    let gateway = Gateway::start("slow", &["localhost"], "");
    for version in VERSIONS {
        let config = gateway.trust(&["localhost"], &[version]);
        let mut client = gateway.connect(&config, "localhost");
        client.upgrade("/echo");
        // More than the kernel takes, less than makes the gateway close.
        let sizes = (0..400).map(|index| if index % 3 == 0 { 100 } else { 60_000 + index });
        let payloads: Vec<_> = sizes.map(|len| pattern(len, len)).collect();
        for payload in &payloads {
            client.send(&frame(payload, true));
        }
        for payload in &payloads {
            client.expect(&frame(payload, false));
        }
        client.send(&frame(b"still there", true));
        client.expect(&frame(b"still there", false));
    }
}

#[test]
fn keys_may_be_changed_meanwhile() {
    let gateway = Gateway::start("keys", &["localhost"], "");
    let config = gateway.trust(&["localhost"], &[VERSIONS[1]]);
    let mut client = gateway.connect(&config, "localhost");
    client.upgrade("/echo");
    for seed in 0..20 {
        client.stream.conn.refresh_traffic_keys().unwrap();
        let payload = pattern(5000, seed);
        client.send(&frame(&payload, true));
        client.expect(&frame(&payload, false));
    }
}

#[test]
fn a_peer_that_sends_close_notify_alone_is_closed() {
    let gateway = Gateway::start("close-notify", &["localhost"], "");
    let config = gateway.trust(&["localhost"], &VERSIONS);
    let mut client = gateway.connect(&config, "localhost");
    client.upgrade("/echo");
    // The message and the end come together.
    client.stream.conn.writer().write_all(&frame(b"a message", true)).unwrap();
    client.stream.conn.send_close_notify();
    client.stream.flush().unwrap();
    let mut rest = Vec::new();
    // The gateway responds, or only ends the connection, but does not wait.
    drop(client.stream.sock.stream.read_to_end(&mut rest));
}

#[test]
fn the_requested_name_picks_the_certificate() {
    let gateway = Gateway::start("names", &["a.test", "*.b.test", "c.test"], "");
    let names = ["a.test", "*.b.test", "c.test"];
    let config = gateway.trust(&names, &VERSIONS);
    for (requested, shown) in
        [("a.test", "a.test"), ("www.b.test", "*.b.test"), ("c.test", "c.test")]
    {
        let client = gateway.connect(&config, requested);
        assert_eq!(client.certificate(), gateway.certificate(shown), "{requested}");
    }
    // Others get the first, which is not theirs: an unknown name, and none at all.
    for requested in ["d.test", "b.test", "127.0.0.1"] {
        let error = gateway.try_connect(&config, requested).unwrap_err().to_string();
        assert!(error.contains("a.test"), "{error}");
    }
}

#[test]
fn check_names_the_certificates_and_misses_none() {
    let gateway = Gateway::start("check", &["a.test", "b.test"], "");
    let said = gateway.check();
    let (before, _) = said.split_once(": everybody may connect").unwrap();
    assert!(before.contains(", TLS with ") && before.ends_with("b.test.pem"), "{said}");
    gateway.write("b.test.key", &fs::read_to_string(gateway.file("a.test.key")).unwrap());
    let said = gateway.check();
    assert!(said.contains("`key`: "), "{said}");
    assert!(said.contains("b.test.key is not the key of the first certificate in "), "{said}");
}

#[test]
fn http_1_is_agreed_on() {
    let gateway = Gateway::start("alpn", &["localhost"], "");
    let mut config = ClientConfig::clone(&gateway.trust(&["localhost"], &VERSIONS));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = gateway.connect(&Arc::new(config.clone()), "localhost");
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    gateway.try_connect(&Arc::new(config), "localhost").unwrap_err();
}

#[test]
fn sessions_are_resumed() {
    let gateway = Gateway::start("resumed", &["localhost"], "");
    for version in VERSIONS {
        let config = gateway.trust(&["localhost"], &[version]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut client = gateway.connect(&config, "localhost");
            client.log_in();
            assert_eq!(client.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

#[test]
fn certificates_change_without_effect_on_connections() {
    let gateway = Gateway::start("swap", &["localhost"], "");
    let old = gateway.trust(&["localhost"], &VERSIONS);
    let old_certificate = gateway.certificate("localhost");
    let mut clients: Vec<Client> = (0..1000)
        .map(|_| {
            let mut client = gateway.connect(&old, "localhost");
            client.upgrade("/echo");
            client
        })
        .collect();
    let echo = |clients: &mut Vec<Client>, text: &[u8]| {
        for client in &mut *clients {
            client.send(&frame(text, true));
        }
        for client in clients {
            client.expect(&frame(text, false));
        }
    };
    echo(&mut clients, b"before");

    gateway.renew("localhost");
    gateway.hang_up("certificates reloaded");
    let new = gateway.trust(&["localhost"], &VERSIONS);
    let mut fresh = gateway.connect(&new, "localhost");
    assert_eq!(fresh.certificate(), gateway.certificate("localhost"));
    assert_ne!(fresh.certificate(), old_certificate);
    fresh.log_in();
    echo(&mut clients, b"after");

    // What cannot be used changes nothing, and is said.
    let shown = fresh.certificate();
    gateway.write("localhost.pem", "no certificate");
    gateway.hang_up("localhost.pem has no certificate in PEM");
    assert_eq!(gateway.connect(&new, "localhost").certificate(), shown);
    echo(&mut clients, b"at last");
}

#[test]
fn files_that_cannot_be_read_to_the_end_stop_nothing() {
    let more = "[shutdown]\ngrace = \"0s\"\ndrain = \"1s\"\n";
    let mut gateway = Gateway::start("endless", &["localhost"], more);
    let config = gateway.trust(&["localhost"], &VERSIONS);
    let certificate = gateway.certificate("localhost");
    let (key, kept) = (gateway.file("localhost.key"), gateway.file("kept.key"));
    fs::rename(&key, &kept).unwrap();

    symlink("/dev/zero", &key).unwrap();
    gateway.hang_up("localhost.key cannot be read: it has more than 1 MiB");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    gateway.hang_up("localhost.key cannot be read: Is a directory");
    fs::remove_dir(&key).unwrap();

    // A pipe without a writer, and one whose writer writes nothing.
    mknodat(CWD, &key, FileType::Fifo, Mode::RWXU, 0).unwrap();
    for silent in [false, true] {
        let writer = silent.then(|| fs::File::options().read(true).write(true).open(&key).unwrap());
        for _ in 0..20 {
            gateway.signal(Signal::HUP);
        }
        let mut fresh = gateway.connect(&config, "localhost");
        assert_eq!(fresh.certificate(), certificate);
        fresh.log_in();
        gateway.hang_up("localhost.key cannot be read: it took longer than 10 s");
        drop(writer);
    }

    // What is requested meanwhile is done afterwards.
    gateway.signal(Signal::HUP);
    fs::remove_file(&key).unwrap();
    fs::rename(&kept, &key).unwrap();
    gateway.hang_up("certificates reloaded");
    gateway.connect(&config, "localhost").log_in();

    // And who is to stop stops.
    fs::rename(&key, &kept).unwrap();
    mknodat(CWD, &key, FileType::Fifo, Mode::RWXU, 0).unwrap();
    gateway.signal(Signal::HUP);
    assert_eq!(gateway.terminate(), Some(0));
    let said = gateway.check();
    assert!(said.contains("localhost.key cannot be read: it took longer than 10 s"), "{said}");
    fs::remove_file(&key).unwrap();
}

#[test]
fn systemd_is_told() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notify");
    drop(fs::remove_file(&path));
    let name = format!("passerelle-test-{}", std::process::id());
    let sockets = [
        (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
        (
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            format!("@{name}").into(),
        ),
    ];
    for (socket, name) in sockets {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let told = || {
            let mut datagram = [0; 1000];
            let len = socket.recv(&mut datagram).unwrap();
            String::from_utf8(datagram[..len].to_vec()).unwrap()
        };
        let mut gateway = Gateway::start_under("systemd", &["localhost"], "", Some(&name));
        assert_eq!(told(), "READY=1\n");
        let mut last = 0;
        for content in [None, Some("no certificate"), None] {
            match content {
                Some(content) => gateway.write("localhost.pem", content),
                None => gateway.renew("localhost"),
            }
            gateway.signal(Signal::HUP);
            let reloading = told();
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            let time: u64 = time.strip_suffix('\n').unwrap().parse().unwrap();
            assert!(time > last, "{reloading}");
            last = time;
            assert_eq!(told(), "READY=1\n");
        }
        gateway.signal(Signal::TERM);
        assert_eq!(told(), "STOPPING=1\n");
        assert_eq!(gateway.terminate(), Some(0));
    }
}

#[test]
fn a_systemd_that_takes_nothing_stops_nothing() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notify-full");
    drop(fs::remove_file(&path));
    let socket = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"X=1\n", &path).is_ok() {}
    let mut gateway =
        Gateway::start_under("systemd-full", &["localhost"], "", Some(path.as_os_str()));
    let config = gateway.trust(&["localhost"], &VERSIONS);
    for _ in 0..20 {
        gateway.hang_up("certificates reloaded");
        gateway.connect(&config, "localhost").log_in();
    }
    assert_eq!(gateway.terminate(), Some(0));
    drop(socket);
}

#[test]
fn bad_handshakes_end_and_cost_little() {
    let gateway = Gateway::start("bad", &["localhost"], "[limits]\nlogin-timeout = \"2s\"\n");
    let config = gateway.trust(&["localhost"], &VERSIONS);
    let hello = client_hello(&config);
    // A handshake message that claims to have 16 MiB, in records of 16 KiB.
    let mut endless = Vec::new();
    for index in 0..8 {
        endless.extend([22, 3, 1, 0x40, 0]);
        let mut fragment = vec![0; 0x4000];
        if index == 0 {
            fragment[..4].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        }
        endless.extend(fragment);
    }
    let cases: &[(&str, &[u8])] = &[
        ("silence", b""),
        ("the beginning of a greeting", &hello[..hello.len() / 2]),
        ("a greeting, and then silence", &hello),
        ("HTTP without TLS", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("STOMP without TLS", b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"),
        ("noise", &pattern(5000, 1)),
        ("an endless message", &endless),
        ("the beginning of an endless message", &endless[..60_000]),
        ("a record of another kind", &[23, 3, 3, 0, 1, 0]),
        ("an empty record", &[22, 3, 3, 0, 0]),
        ("a record that is too long", &[22, 3, 3, 0xff, 0xff]),
    ];
    gateway.connect(&config, "localhost").log_in();
    let before = gateway.memory();
    let mut streams = Vec::new();
    for _ in 0..20 {
        for (rule, bytes) in cases {
            let mut stream = gateway.connect_plain();
            // The gateway may have refused it before the end.
            drop(stream.write_all(bytes));
            streams.push((rule, stream));
        }
    }
    let grown = gateway.memory().saturating_sub(before);
    let bound = streams.len() * HANDSHAKE_BYTES_MAX;
    assert!(grown <= bound, "{grown} bytes for {} connections", streams.len());
    for (rule, stream) in &mut streams {
        let mut response = Vec::new();
        match stream.read_to_end(&mut response) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{rule}");
            }
        }
    }
    // It ended in the middle: the peer closes.
    let mut stream = gateway.connect_plain();
    stream.write_all(&hello[..10]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    drop(stream.read_to_end(&mut Vec::new()));
    gateway.connect(&config, "localhost").log_in();
}

/// What a handshake may hold: 64 KiB of one message, and the connection.
const HANDSHAKE_BYTES_MAX: usize = 80 << 10;

fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}
