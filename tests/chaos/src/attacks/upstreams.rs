//! Servers behind a proxy that answer a TLS handshake in every wrong way, or not at all.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use super::{Attack, Scene};
use crate::{
    client::{self, RESPONSE_MAX},
    gateway::Start,
};

pub(super) const ATTACKS: &[Attack] = &[Attack {
    name: "upstreams that stop or lie in the TLS handshake",
    start: |_| {
        let port = port().map_err(|error| error.to_string())?;
        let mut services = format!(
            "\n[[service]]\npath = \"/upstream\"\ntype = \"proxy\"\n\
             connect = \"tls://127.0.0.1:{port}\"\nconnect-timeout = \"2s\"\n"
        );
        // Those that there are by default.
        for (path, kind) in USUAL {
            services += &format!("\n[[service]]\npath = \"{path}\"\ntype = \"{kind}\"\n");
        }
        Ok(Start { services, ..Start::default() })
    },
    run: attack,
    ..Attack::USUAL
}];

const USUAL: [(&str, &str); 6] = [
    ("/", "pages"),
    ("/messaging", "broker"),
    ("/topics", "topics"),
    ("/queues", "queues"),
    ("/echo", "echo"),
    ("/broadcast", "broadcast"),
];

/// Where the servers are: known before the gateway starts.
static SERVERS: LazyLock<io::Result<TcpListener>> =
    LazyLock::new(|| TcpListener::bind("127.0.0.1:0"));

fn servers() -> io::Result<TcpListener> {
    match &*SERVERS {
        Ok(listener) => listener.try_clone(),
        Err(error) => Err(error.kind().into()),
    }
}

fn port() -> io::Result<u16> {
    Ok(servers()?.local_addr()?.port())
}

/// What a server does with a ClientHello.
const SERVERS_DO: &[fn(&mut TcpStream) -> io::Result<()>] = &[
    // Nothing.
    |_| Ok(()),
    // The beginning of a record whose rest never comes.
    |stream| stream.write_all(b"\x16\x03\x03\x40\x00\x02"),
    // Records without end that are none.
    |stream| (0..1_000).try_for_each(|_| stream.write_all(&[0x16; 1 << 10])),
    // Another protocol.
    |stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    // A fatal alert.
    |stream| stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28"),
    // Its end.
    |stream| stream.shutdown(std::net::Shutdown::Both),
];

/// Each client is told of the failure soon, whatever the servers do.
fn attack(scene: &Scene<'_>) -> Result<(), String> {
    let count = scene.pick(60, 600);
    let listener = servers().map_err(|error| error.to_string())?;
    let server = thread::spawn(move || serve(&listener, count));
    let attacker = scene.attacker();
    let mut clients = Vec::new();
    for _ in 0..count {
        let opened = client::connect(attacker, scene.gateway.addresses.plain, RESPONSE_MAX)
            .and_then(|mut stream| client::handshake(&mut stream, "/upstream").map(|()| stream));
        clients.push(opened.map_err(|error| format!("a client is not served: {error}"))?);
    }
    let start = Instant::now();
    for mut stream in clients {
        let mut bytes = Vec::new();
        stream.set_read_timeout(Some(TOLD_MAX)).map_err(|error| error.to_string())?;
        let read = stream.read_to_end(&mut bytes);
        // 1014, in a close frame.
        if !bytes.get(2..).is_some_and(|rest| rest.starts_with(&1014_u16.to_be_bytes())) {
            return Err(format!("a client is not told: {read:?}, {}", bytes.escape_ascii()));
        }
    }
    println!("    {count} clients were told within {:.1} s", start.elapsed().as_secs_f32());
    // Their connections have ended by now, which frees their servers.
    drop(server.join());
    Ok(())
}

/// Serves so many connections, each in one of the wrong ways, and keeps them until they end.
fn serve(listener: &TcpListener, count: usize) {
    let mut served = Vec::new();
    for server in SERVERS_DO.iter().cycle().take(count) {
        let Ok((mut stream, _)) = listener.accept() else { return };
        served.push(thread::spawn(move || {
            let mut hello = [0; 1 << 10];
            // The gateway may have gone before it is answered.
            drop(stream.read(&mut hello).and_then(|_| server(&mut stream)));
            drop(io::copy(&mut stream, &mut io::sink()));
        }));
    }
    for thread in served {
        drop(thread.join());
    }
}

/// More than `connect-timeout` at a machine that is busy.
const TOLD_MAX: Duration = Duration::from_secs(20);
