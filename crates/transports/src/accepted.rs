use std::{
    io::{self, Read as _},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use bytes::{Bytes, BytesMut};
use contract::Detection;
use contract::internal;
use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::stream::Stream;

/// A connection that was accepted, as long as tokio drives it: with TLS or without, and with what
/// was read of it to find out what it speaks.
#[derive(Debug)]
pub struct Accepted {
    layer: Layer,
    /// Read already, and read again before anything else.
    read_ahead: Bytes,
}

#[derive(Debug)]
enum Layer {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Accepted {
    /// A connection without TLS.
    #[must_use]
    pub const fn plain(stream: TcpStream) -> Self {
        Self { layer: Layer::Plain(stream), read_ahead: Bytes::new() }
    }

    /// A connection after its TLS handshake; `None`: no permit was given. Nothing bounds the
    /// time that takes.
    ///
    /// A step that may make a signature is done while a permit of `permit` is held.
    ///
    /// # Errors
    /// When the handshake fails, which the peer has been told by an alert.
    pub async fn tls<T>(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        permit: impl AsyncFn(&TcpStream) -> Option<T>,
    ) -> io::Result<Option<Self>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let Some(mut current) = permit(&hello.io).await else { return Ok(None) };
        // A second hello (RFC 8446 4.1.4) is signed at a later step, so all steps are alike.
        let mut handshake = pin!(hello.into_stream(config));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            let step = handshake.as_mut().poll(&mut Context::from_waker(&waker));
            drop(current);
            if let Poll::Ready(done) = step {
                let layer = Layer::Tls(Box::new(done?));
                return Ok(Some(Self { layer, read_ahead: Bytes::new() }));
            }
            woken.0.notified().await;
            let Some(stream) = handshake.as_ref().get_ref().get_ref() else {
                internal!("a TLS handshake that is not done and has no socket");
                return Ok(None);
            };
            let Some(next) = permit(stream).await else { return Ok(None) };
            current = next;
        }
    }

    /// Waits for the first byte, and says whether a TLS handshake begins with it, as a record of
    /// that kind (RFC 8446 5.1); it stays to be read. Nothing bounds the time that takes.
    ///
    /// # Errors
    /// When the connection ends first, or is broken.
    pub async fn begins_tls(stream: &TcpStream) -> io::Result<bool> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(first == [TLS_HANDSHAKE_RECORD])
    }

    /// Reads until one of some functions has detected its protocol, and returns its index; `None`:
    /// the peer speaks none of them. What was read stays to be read. Nothing bounds the time that
    /// takes.
    ///
    /// # Errors
    /// When the connection ends first, or is broken.
    pub async fn detect(
        &mut self,
        protocols: &[fn(&[u8]) -> Detection],
    ) -> io::Result<Option<usize>> {
        let mut bytes = BytesMut::with_capacity(Detection::BYTES_MAX);
        let found = loop {
            if self.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut is_open = false;
            let found = protocols.iter().position(|detect| match detect(&bytes) {
                Detection::Yes => true,
                Detection::No => false,
                Detection::More => {
                    is_open = true;
                    false
                }
            });
            if found.is_some() || !is_open || bytes.len() >= Detection::BYTES_MAX {
                break found;
            }
        };
        self.read_ahead = bytes.freeze();
        Ok(found)
    }

    /// How much of the connection its peer has closed. What it sent before may be unread.
    pub(crate) fn closed(&self) -> Closed {
        Closed::look(match &self.layer {
            Layer::Plain(stream) => stream,
            Layer::Tls(stream) => stream.get_ref().0,
        })
    }

    /// Puts back what was read last.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.read_ahead = if self.read_ahead.is_empty() {
            bytes
        } else {
            [bytes, self.read_ahead.split_off(0)].concat().into()
        };
    }

    /// The connection for a reactor, and what was read of it, or decrypted, and not used yet.
    ///
    /// # Errors
    /// When the kernel does not give the socket back.
    pub fn into_stream(self) -> io::Result<(Stream, Vec<u8>)> {
        let mut early = Vec::from(self.read_ahead);
        let stream = match self.layer {
            Layer::Plain(stream) => Stream::plain(unwatched(stream)?),
            Layer::Tls(stream) => {
                let (stream, mut connection) = stream.into_inner();
                // Otherwise there is an error that says: nothing more for now.
                let half_closed = connection.reader().read_to_end(&mut early).is_ok();
                Stream::tls(unwatched(stream)?, connection, half_closed)
            }
        };
        Ok((stream, early))
    }
}

/// Remembers that it was woken.
#[derive(Debug, Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// How much of a connection its peer has closed, as far as the kernel knows without sending.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Closed {
    /// Nothing.
    Nothing,
    /// Its side: it sends no more, and may still receive.
    Side,
    /// All: the connection is broken.
    All,
}

impl Closed {
    /// Looks, without waiting.
    #[must_use]
    pub fn look(stream: &TcpStream) -> Self {
        let mut sockets = [PollFd::new(stream, PollFlags::RDHUP)];
        match event::poll(&mut sockets, Some(&Timespec::default())) {
            Ok(1..) if sockets[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => {
                Self::All
            }
            Ok(1..) => Self::Side,
            // Interrupted, or out of memory: the next look tells.
            Ok(0) | Err(_) => Self::Nothing,
        }
    }
}

pub(crate) fn unwatched(stream: TcpStream) -> io::Result<mio::net::TcpStream> {
    stream.into_std().map(mio::net::TcpStream::from_std)
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            let count = self.read_ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.read_ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Layer::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Layer::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Layer::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.layer {
            Layer::Plain(stream) => stream.is_write_vectored(),
            Layer::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_flush(context),
            Layer::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Layer::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// The content type of a TLS record that carries a handshake message (RFC 8446 5.1).
const TLS_HANDSHAKE_RECORD: u8 = 22;
