//! A STOMP client over TCP or WebSocket, as blocking calls.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::client::{self, RESPONSE_MAX};

/// What carries the frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carrier {
    Tcp,
    WebSocket,
}

/// How a client connects, and how much it takes at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) source: Ipv4Addr,
    pub(crate) carrier: Carrier,
    /// The headers `login` and `passcode`, if any.
    pub(crate) login: &'static str,
    /// `SO_RCVBUF`, from before it connects.
    pub(crate) receive_buffer: Option<usize>,
    /// Bytes of one read.
    pub(crate) read_max: usize,
    /// After each read.
    pub(crate) pause: Duration,
}

impl Options {
    /// TCP, as fast as it goes.
    pub(crate) fn from(source: Ipv4Addr) -> Self {
        Self {
            source,
            carrier: Carrier::Tcp,
            login: "",
            receive_buffer: None,
            read_max: 64 << 10,
            pause: Duration::ZERO,
        }
    }
}

/// A client that is logged in.
#[derive(Debug)]
pub(crate) struct Stomp {
    stream: TcpStream,
    carrier: Carrier,
    /// As long as a read.
    buffer: Vec<u8>,
    /// WebSocket frames that are not complete.
    incomplete: Vec<u8>,
    /// STOMP frames that are not complete.
    received: Vec<u8>,
    /// Frames that came while a RECEIPT was waited for.
    waiting: VecDeque<Frame>,
    receipts: u64,
    pause: Duration,
}

/// What the gateway sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) command: String,
    /// The lines of its header.
    header: String,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    /// A header, as it was written.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.header.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }
}

impl Stomp {
    /// Connects and logs in.
    pub(crate) fn connect(to: SocketAddr, options: Options) -> io::Result<Self> {
        let Options { source, carrier, login, receive_buffer, read_max, pause } = options;
        let mut stream = client::connect_with(source, to, RESPONSE_MAX, receive_buffer)?;
        if carrier == Carrier::WebSocket {
            client::handshake(&mut stream, "/messaging")?;
        }
        let mut stomp = Self {
            stream,
            carrier,
            buffer: vec![0; read_max],
            incomplete: Vec::new(),
            received: Vec::new(),
            waiting: VecDeque::new(),
            receipts: 0,
            pause,
        };
        let header = format!("accept-version:1.2\nhost:localhost\n{login}");
        stomp.send("CONNECT", &header, b"")?;
        match stomp.receive(RESPONSE_MAX)? {
            Some(frame) if frame.command == "CONNECTED" => Ok(stomp),
            Some(frame) => Err(unexpected(&frame)),
            None => Err(io::Error::new(ErrorKind::TimedOut, "no CONNECTED came")),
        }
    }

    /// Sends a frame; each line of the header ends with LF.
    pub(crate) fn send(&mut self, command: &str, header: &str, body: &[u8]) -> io::Result<()> {
        let mut frame = format!("{command}\n{header}").into_bytes();
        if !body.is_empty() {
            frame.extend(format!("content-length:{}\n", body.len()).into_bytes());
        }
        frame.push(b'\n');
        frame.extend(body);
        frame.push(0);
        self.write(&frame)
    }

    /// The same, and waits for the RECEIPT.
    pub(crate) fn confirm(&mut self, command: &str, header: &str, body: &[u8]) -> io::Result<()> {
        self.receipts += 1;
        let receipt = self.receipts.to_string();
        self.send(command, &format!("{header}receipt:{receipt}\n"), body)?;
        let end = Instant::now() + RESPONSE_MAX;
        while let Some(frame) = self.read_frame(end)? {
            if frame.command == "RECEIPT" && frame.get("receipt-id") == Some(&receipt) {
                return Ok(());
            }
            self.waiting.push_back(frame);
        }
        Err(io::Error::new(ErrorKind::TimedOut, format!("no RECEIPT of {command} came")))
    }

    /// Subscribes; confirmed when this returns.
    pub(crate) fn subscribe(&mut self, id: &str, destination: &str, more: &str) -> io::Result<()> {
        self.confirm("SUBSCRIBE", &format!("id:{id}\ndestination:{destination}\n{more}"), b"")
    }

    /// Sends a message; confirmed when this returns.
    pub(crate) fn publish(&mut self, destination: &str, body: &[u8]) -> io::Result<()> {
        self.confirm("SEND", &format!("destination:{destination}\n"), body)
    }

    /// Acknowledges (`ACK`) or refuses (`NACK`) a message.
    pub(crate) fn settle(&mut self, command: &str, message: &Frame) -> io::Result<()> {
        let id = message.get("ack").ok_or_else(|| unexpected(message))?;
        self.send(command, &format!("id:{id}\n"), b"")
    }

    /// The next frame, or none in this time. An ERROR is an error.
    pub(crate) fn receive(&mut self, timeout: Duration) -> io::Result<Option<Frame>> {
        match self.waiting.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.read_frame(Instant::now() + timeout),
        }
    }

    /// Writes what may be several frames, or a part of one.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.carrier {
            Carrier::Tcp => self.stream.write_all(bytes),
            Carrier::WebSocket => self.stream.write_all(&client::frame(0x82, bytes)),
        }
    }

    /// What carries it, to end it in another way than by dropping it.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn read_frame(&mut self, end: Instant) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return if frame.command == "ERROR" {
                    Err(unexpected(&frame))
                } else {
                    Ok(Some(frame))
                };
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    self.take_bytes(len)?;
                    thread::sleep(self.pause);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What was read into the buffer.
    fn take_bytes(&mut self, len: usize) -> io::Result<()> {
        let bytes = self.buffer.get(..len).unwrap_or_default();
        if self.carrier == Carrier::Tcp {
            self.received.extend(bytes);
            return Ok(());
        }
        self.incomplete.extend(bytes);
        while let Some((opcode, header, len)) = client::frame_header(&self.incomplete) {
            let Some(payload) = self.incomplete.get(header..header + len) else { break };
            match opcode {
                0x0..=0x2 => self.received.extend(payload),
                0x9 => self.stream.write_all(&client::frame(0x8a, payload))?,
                // What is behind a close is the end of the connection.
                _ => {}
            }
            self.incomplete.drain(..header + len);
        }
        Ok(())
    }

    fn take_frame(&mut self) -> io::Result<Option<Frame>> {
        // Between frames there may be heart-beats.
        let idle = self.received.iter().take_while(|byte| **byte == b'\n').count();
        self.received.drain(..idle);
        let Some(header) = find(&self.received, b"\n\n") else { return Ok(None) };
        let text = self.received.get(..header).unwrap_or_default();
        let text = str::from_utf8(text).map_err(io::Error::other)?;
        let (command, header_lines) = text.split_once('\n').unwrap_or((text, ""));
        let mut frame = Frame {
            command: command.to_owned(),
            header: header_lines.to_owned(),
            body: Vec::new(),
        };
        let behind = self.received.get(header + 2..).unwrap_or_default();
        let len = match frame.get("content-length").map(str::parse) {
            Some(len) => len.map_err(io::Error::other)?,
            None => match find(behind, b"\0") {
                Some(len) => len,
                None => return Ok(None),
            },
        };
        if behind.len() <= len {
            return Ok(None);
        }
        frame.body = behind.get(..len).unwrap_or_default().to_vec();
        self.received.drain(..header + 2 + len + 1);
        Ok(Some(frame))
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// An ERROR by which the gateway wants something done once more is [`ErrorKind::ResourceBusy`].
fn unexpected(frame: &Frame) -> io::Error {
    let message = frame.get("message").unwrap_or_default();
    let kind = if message == "too busy" { ErrorKind::ResourceBusy } else { ErrorKind::Other };
    io::Error::new(kind, format!("{} {message}", frame.command))
}
