//! The limit: servers that do nothing but read and write.
use std::{
    error::Error,
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

use crate::plan::MARK;

/// What a bare server does with what it reads.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Sends it back.
    Echo,
    /// Sends it to all others.
    FanOut,
    /// Writes it to a file in the folder that `BENCH_FOLDER` names, syncs that, and confirms each frame: it ends
    /// with NUL.
    Sync,
}

const LISTENER: Token = Token(usize::MAX);

/// Serves until it is killed. What does not fit into a socket is kept, as any server must.
pub(crate) fn serve(kind: Kind) -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;

    let mut file = (matches!(kind, Kind::Sync)).then(File::allocate).transpose()?;
    let mut peers: Slab<Peer> = Slab::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    let mut readable = Vec::new();
    loop {
        // A socket whose reading filled the buffer may have more, and will not be announced again.
        let timeout = (!readable.is_empty()).then_some(std::time::Duration::ZERO);
        poll.poll(&mut events, timeout)?;
        let mut turn = std::mem::take(&mut readable);
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut peers)?;
                continue;
            }
            let Some(peer) = peers.get_mut(event.token().0) else { continue };
            if event.is_writable() && !peer.unsent.is_empty() {
                let unsent = std::mem::take(&mut peer.unsent);
                peer.send(&unsent);
            }
            if event.is_readable() {
                turn.push(event.token().0);
            }
        }
        for key in turn {
            let Some(peer) = peers.get_mut(key) else { continue };
            match peer.stream.read(&mut buffer) {
                Ok(len) if len > 0 => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    match kind {
                        Kind::Echo => peer.send(bytes),
                        Kind::Sync => {
                            if let Some(file) = &mut file {
                                file.append(bytes)?;
                            }
                            let frames = bytes.iter().filter(|byte| **byte == 0).count();
                            peer.send(&vec![MARK; frames]);
                        }
                        Kind::FanOut => {
                            let others = peers.iter_mut().filter(|(other, _)| *other != key);
                            others.for_each(|(_, other)| other.send(bytes));
                        }
                    }
                    if len == buffer.len() {
                        readable.push(key);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => drop(peers.remove(key)),
            }
        }
    }
}

/// A file that is allocated beforehand, as that of a log.
#[derive(Debug)]
struct File {
    file: fs::File,
    offset: u64,
}

impl File {
    fn allocate() -> io::Result<Self> {
        let folder = std::env::var_os("BENCH_FOLDER").unwrap_or_else(|| ".".into());
        let path = Path::new(&folder).join("bare-sync");
        let file = fs::File::create(path)?;
        for _ in 0..FILE_BYTES >> 20 {
            (&file).write_all(&[0; 1 << 20])?;
        }
        file.sync_all()?;
        Ok(Self { file, offset: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.offset + bytes.len() as u64 > FILE_BYTES {
            self.offset = 0;
        }
        self.file.write_all_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        self.file.sync_data()
    }
}

const FILE_BYTES: u64 = 32 << 20;

#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Peer {
    fn send(&mut self, bytes: &[u8]) {
        if !self.unsent.is_empty() {
            return self.unsent.extend(bytes);
        }
        // An error shows at the next read.
        let sent = self.stream.write(bytes).unwrap_or(0);
        self.unsent.extend(bytes.get(sent..).unwrap_or_default());
    }
}

fn accept(poll: &Poll, listener: &TcpListener, peers: &mut Slab<Peer>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let entry = peers.vacant_entry();
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(entry.key()), both)?;
                entry.insert(Peer { stream, unsent: Vec::new() });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
