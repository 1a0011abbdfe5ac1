use std::{
    io::{self, Read as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::stream::Stream;

/// A connection that was accepted, as long as tokio drives it: with TLS or without, and with what
/// was read of it to find out what it speaks.
#[derive(Debug)]
pub struct Accepted {
    layer: Layer,
    /// Read already, and read again before anything else.
    seen: Bytes,
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
        Self { layer: Layer::Plain(stream), seen: Bytes::new() }
    }

    /// A connection after its TLS handshake. Nothing bounds the time that takes.
    ///
    /// # Errors
    /// When the handshake fails, which the peer has been told by an alert.
    pub async fn tls(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Self { layer: Layer::Tls(Box::new(stream)), seen: Bytes::new() })
    }

    /// Reads until it is clear with which of the `known` beginnings the peer begins; `None`: with
    /// none of them. What was read stays to be read. Nothing bounds the time that takes.
    ///
    /// # Errors
    /// When the connection ends first, or is broken.
    pub async fn first_bytes(&mut self, known: &[&[u8]]) -> io::Result<Option<usize>> {
        let mut seen = BytesMut::with_capacity(FIRST_READ_BYTES);
        let found = loop {
            if self.read_buf(&mut seen).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(index) = known.iter().position(|begin| seen.starts_with(begin)) {
                break Some(index);
            }
            if !known.iter().any(|begin| begin.starts_with(&seen)) {
                break None;
            }
        };
        self.seen = seen.freeze();
        Ok(found)
    }

    /// Puts back what was read last.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.seen = if self.seen.is_empty() {
            bytes
        } else {
            [bytes, self.seen.split_off(0)].concat().into()
        };
    }

    /// The connection for a reactor, and what was read of it, or decrypted, and not used yet.
    ///
    /// # Errors
    /// When the system does not give the socket back.
    pub fn into_stream(self) -> io::Result<(Stream, Vec<u8>)> {
        let mut early = Vec::from(self.seen);
        let stream = match self.layer {
            Layer::Plain(stream) => Stream::plain(unwatched(stream)?),
            Layer::Tls(stream) => {
                let (stream, mut connection) = stream.into_inner();
                // Otherwise there is an error that says: nothing more for now.
                let ended = connection.reader().read_to_end(&mut early).is_ok();
                Stream::tls(unwatched(stream)?, connection, ended)
            }
        };
        Ok((stream, early))
    }
}

fn unwatched(stream: TcpStream) -> io::Result<mio::net::TcpStream> {
    stream.into_std().map(mio::net::TcpStream::from_std)
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.seen.is_empty() {
            let count = self.seen.len().min(buffer.remaining());
            buffer.put_slice(&self.seen.split_to(count));
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

/// Room for the head of a request; what is longer is read by whoever needs it.
const FIRST_READ_BYTES: usize = 1024;
