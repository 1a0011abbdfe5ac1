//! An honest client, as blocking calls that give up after [`RESPONSE_MAX`].

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use socket2::{Domain, Protocol, Socket, Type};

/// After this a response that has not come means that the gateway hangs. Far more than a busy
/// machine needs.
pub(crate) const RESPONSE_MAX: Duration = Duration::from_secs(15);

/// What a client must read from and write to.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection from an address of the loopback network, so that peers can be told apart.
pub(crate) fn connect(
    source: Ipv4Addr,
    to: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    connect_with(source, to, timeout, None)
}

/// The same, with a receive buffer of so many bytes.
pub(crate) fn connect_with(
    source: Ipv4Addr,
    to: SocketAddr,
    timeout: Duration,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // A flood uses its ports again before the kernel has forgotten them.
    socket.set_reuse_address(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&to.into(), timeout)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// TLS over a connection; the handshake is done.
pub(crate) fn tls(
    config: &Arc<ClientConfig>,
    stream: TcpStream,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut stream = StreamOwned::new(tls_session(config)?, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// The bytes of a ClientHello.
pub(crate) fn client_hello(config: &Arc<ClientConfig>) -> io::Result<Vec<u8>> {
    let mut hello = Vec::new();
    tls_session(config)?.write_tls(&mut hello)?;
    Ok(hello)
}

fn tls_session(config: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)
}

/// A WebSocket handshake for a path.
pub(crate) fn handshake_request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Opens a WebSocket over a connection.
pub(crate) fn handshake(stream: &mut impl Stream, path: &str) -> io::Result<()> {
    stream.write_all(handshake_request(path).as_bytes())?;
    let head = read_until(stream, b"\r\n\r\n")?;
    if head.starts_with(b"HTTP/1.1 101") { Ok(()) } else { Err(unexpected(&head)) }
}

/// Sends a message to the echo and waits until it is back.
pub(crate) fn echo(stream: &mut impl Stream, message: &[u8]) -> io::Result<()> {
    stream.write_all(&frame(0x81, message))?;
    loop {
        let (opcode, payload) = read_frame(stream)?;
        match opcode {
            0x1 if payload == message => return Ok(()),
            0x9 => stream.write_all(&frame(0x8a, &payload))?,
            _ => return Err(unexpected(&payload)),
        }
    }
}

/// A frame as a client sends it: masked, with a key of zeros.
pub(crate) fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte];
    if let Ok(len @ ..126) = u8::try_from(payload.len()) {
        frame.push(0x80 | len);
    } else if let Ok(len) = u16::try_from(payload.len()) {
        frame.push(0x80 | 126);
        frame.extend(len.to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend((payload.len() as u64).to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The opcode of the frame that begins here, and how long its header and its payload are; none if
/// there is not enough of it. The gateway masks nothing.
pub(crate) fn frame_header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (header, len) = match bytes.get(1)? {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        &len => (2, len.into()),
    };
    Some((bytes.first()? & 0x0f, header, usize::try_from(len).ok()?))
}

/// The opcode and the payload of the next frame, which must be a short one.
fn read_frame(stream: &mut impl Stream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let [first, len @ ..126] = head else { return Err(unexpected(&head)) };
    let mut payload = vec![0; len.into()];
    stream.read_exact(&mut payload)?;
    Ok((first & 0x0f, payload))
}

/// Publishes by POST with HTTP Basic credentials; returns the status of the response.
pub(crate) fn post(stream: &mut impl Stream, user: &str, password: &str) -> io::Result<u16> {
    let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
    write!(
        stream,
        "POST /topics/chaos HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    )?;
    let head = read_until(stream, b"\r\n\r\n")?;
    let status = str::from_utf8(&head).ok().and_then(|head| head.split(' ').nth(1)?.parse().ok());
    status.ok_or_else(|| unexpected(&head))
}

/// Logs in by STOMP over TCP; returns whether the login was accepted.
pub(crate) fn stomp_login(
    stream: &mut impl Stream,
    user: &str,
    password: &str,
) -> io::Result<bool> {
    write!(
        stream,
        "CONNECT\naccept-version:1.2\nhost:localhost\nlogin:{user}\npasscode:{password}\n\n\0"
    )?;
    Ok(read_until(stream, b"\0")?.starts_with(b"CONNECTED\n"))
}

/// Reads byte by byte until an end, which is read too.
pub(crate) fn read_until(stream: &mut impl Read, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(unexpected(&bytes));
        }
        stream.read_exact(&mut byte)?;
        bytes.extend(byte);
    }
    Ok(bytes)
}

fn unexpected(bytes: &[u8]) -> io::Error {
    let bytes = bytes.get(..80).unwrap_or(bytes);
    io::Error::other(format!("unexpected response {:?}", String::from_utf8_lossy(bytes)))
}

const RESPONSE_BYTES_MAX: usize = 64 << 10;
