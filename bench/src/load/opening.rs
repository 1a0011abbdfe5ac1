use std::{
    error::Error,
    io::{self, Read, Write},
    net::SocketAddr,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use mio::net::TcpStream;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption,
    pki_types::CertificateDer,
};
use socket2::{Domain, Socket, Type};

use super::{
    connection::Connection,
    frames::{Counter, encode},
};
use crate::plan::{Plan, Step};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Opens connections with these numbers together, step by step.
pub(crate) fn open(
    plan: &Plan,
    steps: &[Step],
    numbers: Range<usize>,
    receive_buffer: Option<usize>,
) -> Result<Vec<Connection>> {
    let tls = plan.certificate.as_deref().map(tls).transpose()?;
    let mut opening = Vec::new();
    for number in numbers {
        let wire = Wire::connect(plan.address, receive_buffer, tls.as_ref())?;
        opening.push((number, wire, Counter::new(plan.framing)));
    }
    for step in steps {
        for (number, wire, _) in &mut opening {
            wire.write_all(&encode(step.frame, &filled(step, *number, plan.address)))?;
        }
        for (_, wire, counter) in &mut opening {
            await_response(wire, counter, step)?;
        }
    }
    opening
        .into_iter()
        .map(|(_, wire, counter)| Ok(Connection::new(wire.into_stream()?, counter)))
        .collect()
}

/// A connection while it is opened.
enum Wire {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Wire {
    fn connect(
        address: SocketAddr,
        receive_buffer: Option<usize>,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&address.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(match tls {
            None => Self::Plain(socket),
            Some(tls) => {
                let client = ClientConnection::new(Arc::clone(tls), "localhost".try_into()?)?;
                Self::Tls(Box::new(StreamOwned::new(client, socket)))
            }
        })
    }

    /// What is behind it. A TLS connection can only be idle from now on.
    fn into_stream(self) -> io::Result<TcpStream> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.into_parts().1,
        };
        socket.set_nonblocking(true)?;
        Ok(TcpStream::from_std(socket.into()))
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn tls(certificate: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.to_vec()))?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn filled(step: &Step, number: usize, address: SocketAddr) -> Vec<u8> {
    match str::from_utf8(&step.send) {
        Ok(text) if text.contains('{') => {
            let number = (number % step.modulus.max(1)).to_string();
            text.replace("{n}", &number).replace("{host}", &address.to_string()).into_bytes()
        }
        Ok(_) | Err(_) => step.send.clone(),
    }
}

fn await_response(wire: &mut Wire, counter: &mut Counter, step: &Step) -> Result {
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    while memchr::memmem::find(&response, &step.until).is_none() {
        let so_far = || String::from_utf8_lossy(&response).into_owned();
        let len = wire.read(&mut buffer).map_err(|error| {
            let until = String::from_utf8_lossy(&step.until);
            format!("{error} while waiting for {until:?} after {:?}", so_far())
        })?;
        let bytes = buffer.get(..len).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| format!("the server closed after {:?}", so_far()))?;
        counter.feed(bytes);
        response.extend(bytes);
    }
    if step.send.starts_with(b"GET ") && !response.starts_with(b"HTTP/1.1 101") {
        return Err(format!("no WebSocket: {:?}", String::from_utf8_lossy(&response)).into());
    }
    Ok(())
}
