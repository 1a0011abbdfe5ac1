use std::{
    error::Error,
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use mio::net::TcpStream;
use socket2::{Domain, SockRef, Socket, Type};

use super::frames::{Counter, encode};
use crate::plan::{Framing, Step};

/// A connection to the server, open and ready.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    counter: Counter,
    unsent: Vec<u8>,
}

/// What one reading gave.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Connection {
    /// Writes what can be written, keeps the rest.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend(bytes);
            return Ok(());
        }
        let sent = write_some(&self.stream, bytes)?;
        self.unsent.extend(bytes.get(sent..).unwrap_or_default());
        Ok(())
    }

    /// Writes more of what was kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = write_some(&self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// Reads until nothing is left; appends what it read to `inbox`, if there is one.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut inbox: Option<&mut Vec<u8>>,
    ) -> io::Result<Arrived> {
        let mut arrived = Arrived::default();
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server closed a connection",
                    ));
                }
                Ok(len) => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    arrived.messages += self.counter.feed(bytes);
                    arrived.bytes += len;
                    if let Some(inbox) = &mut inbox {
                        inbox.extend(bytes);
                    }
                    if len < buffer.len() {
                        return Ok(arrived);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(arrived),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A reset leaves no port behind that waits for stray packets.
        drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
    }
}

fn write_some(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    }
}

/// Opens connections with these numbers together, step by step.
pub(crate) fn open(
    address: SocketAddr,
    framing: Framing,
    steps: &[Step],
    numbers: std::ops::Range<usize>,
    receive_buffer: Option<usize>,
) -> Result<Vec<Connection>, Box<dyn Error>> {
    let mut opening = Vec::new();
    for number in numbers {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&address.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        opening.push((number, socket, Counter::new(framing)));
    }
    for step in steps {
        for (number, socket, _) in &mut opening {
            socket.write_all(&encode(step.frame, &filled(step, *number, address)))?;
        }
        for (_, socket, counter) in &mut opening {
            await_answer(socket, counter, step)?;
        }
    }
    opening
        .into_iter()
        .map(|(_, socket, counter)| {
            socket.set_nonblocking(true)?;
            let stream = TcpStream::from_std(socket.into());
            Ok(Connection { stream, counter, unsent: Vec::new() })
        })
        .collect()
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

fn await_answer(
    socket: &mut Socket,
    counter: &mut Counter,
    step: &Step,
) -> Result<(), Box<dyn Error>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while memchr::memmem::find(&answer, &step.until).is_none() {
        let len = socket.read(&mut buffer).map_err(|error| {
            format!(
                "{error} while waiting for {:?} after {:?}",
                String::from_utf8_lossy(&step.until),
                String::from_utf8_lossy(&answer)
            )
        })?;
        let bytes = buffer.get(..len).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| {
            format!("the server closed after {:?}", String::from_utf8_lossy(&answer))
        })?;
        counter.feed(bytes);
        answer.extend(bytes);
    }
    if step.send.starts_with(b"GET ") && !answer.starts_with(b"HTTP/1.1 101") {
        return Err(format!("no WebSocket: {:?}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(())
}
