use std::{io, sync::Arc};

use bytes::Bytes;
use mio::{Interest, Registry, Token, net::TcpStream};
use tokio::sync::Notify;

use crate::{
    socket::{Input, Read},
    stream::Stream,
    tls::Tls,
};

/// What carries the bytes of a [`crate::Socket`].
#[derive(Debug)]
pub enum Io {
    /// A TCP connection, with TLS or without.
    Tcp(TcpStream, Option<Box<Tls>>),
    /// A task, which hands over what the peer sends, and takes what is sent to the peer.
    Carried(Box<Carried>),
    /// Nothing: the peer may come back.
    Away {
        /// Since when, on the clock of [`contract::Now::mono_ns`].
        since_mono_ns: u64,
    },
}

impl Io {
    /// A connection that a task carries. What is returned wakes the task when it may go on, and names
    /// what it carries.
    #[must_use]
    pub fn carried() -> (Self, Arc<Notify>) {
        let changed = Arc::new(Notify::new());
        let carried = Carried::new(Arc::clone(&changed));
        (Self::Carried(Box::new(carried)), changed)
    }

    /// What was handed over by the task and not read.
    #[must_use]
    pub fn into_fed(self) -> Bytes {
        match self {
            Self::Carried(mut carried) => std::mem::take(&mut carried.fed),
            Self::Tcp(..) | Self::Away { .. } => Bytes::new(),
        }
    }

    /// Has the kernel tell what happens to it, if it does.
    pub(crate) fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(tcp, _) => {
                registry.register(tcp, token, Interest::READABLE | Interest::WRITABLE)
            }
            Self::Carried(_) | Self::Away { .. } => Ok(()),
        }
    }

    /// Closing the descriptor would do too; this also holds when a duplicate exists.
    pub(crate) fn unwatch(&mut self, registry: &Registry) {
        match self {
            Self::Tcp(tcp, _) => drop(registry.deregister(tcp)),
            Self::Carried(_) | Self::Away { .. } => {}
        }
    }

    /// Bytes of ciphertext that the kernel did not accept.
    pub(crate) fn encrypted_bytes(&mut self) -> usize {
        match self {
            Self::Tcp(_, Some(tls)) => tls.encrypted_bytes(),
            Self::Tcp(_, None) | Self::Carried(_) | Self::Away { .. } => 0,
        }
    }
}

impl From<TcpStream> for Io {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp, None)
    }
}

impl From<Stream> for Io {
    fn from(Stream { tcp, tls }: Stream) -> Self {
        Self::Tcp(tcp, tls)
    }
}

/// The reactor's end of a connection that a task carries.
#[derive(Debug)]
pub struct Carried {
    /// What the peer has sent and is not read yet: one piece.
    fed: Bytes,
    /// The peer sends nothing more.
    has_ended: bool,
    /// Wakes the task: what it handed over was read, there is something for the peer, or the
    /// connection is no longer carried by it.
    changed: Arc<Notify>,
}

impl Carried {
    const fn new(changed: Arc<Notify>) -> Self {
        Self { fed: Bytes::new(), has_ended: false, changed }
    }

    /// Whether this wakes the task that carries it.
    pub(crate) fn is_carried_by(&self, changed: &Arc<Notify>) -> bool {
        Arc::ptr_eq(&self.changed, changed)
    }

    /// Whether what was handed over last is not read yet.
    pub(crate) const fn is_full(&self) -> bool {
        !self.fed.is_empty()
    }

    /// Takes what the peer has sent, once the piece before was read.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.fed = bytes;
    }

    /// The peer sends nothing more.
    pub(crate) const fn end(&mut self) {
        self.has_ended = true;
    }

    pub(crate) fn read(&mut self, input: &mut Input, buffer: &mut [u8]) -> Read {
        let count = self.fed.len().min(buffer.len());
        let Some(room) = buffer.get_mut(..count).filter(|room| !room.is_empty()) else {
            if self.has_ended {
                return Read::End;
            }
            *input = Input::Dry;
            return Read::Nothing;
        };
        room.copy_from_slice(&self.fed.split_to(count));
        if self.fed.is_empty() {
            // Not a part of something larger.
            self.fed = Bytes::new();
            self.wake();
            if !self.has_ended {
                *input = Input::Dry;
            }
        }
        Read::Bytes(count)
    }

    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.wake();
    }
}
