use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    time::Duration,
};

use mio::net::TcpStream;
use socket2::SockRef;

use super::frames::Counter;

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
    pub(crate) fn new(stream: TcpStream, counter: Counter) -> Self {
        Self { stream, counter, unsent: Vec::new() }
    }

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
