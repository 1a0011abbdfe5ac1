use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    chunks::{BodyError, ChunkScanner},
    head::{BadRequest, BodyLength, HeadScanner},
};

/// A connection of which hyper reads only what has been checked.
///
/// hyper reads a head when it is whole and good, and one request at a time: when it calls the
/// service, [`Inspection`] is about that request. In place of a bad head it reads [`REPLACEMENT`], so
/// that the response is sent after those before it, and the connection ends with it.
#[derive(Debug)]
pub(super) struct Guard<S> {
    /// Also looked at by [`super::PeerWatch`] while a request is replied to.
    connection: Rc<RefCell<S>>,
    /// Read from the connection and not by hyper.
    unread: BytesMut,
    state: State,
    inspection: Rc<Inspection>,
}

/// What the guard knows of the request that hyper has read.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    /// Why it is refused. The service responds without looking at the request.
    pub(super) bad: Cell<Option<BadRequest>>,
    /// Bytes that its body may have at most, if that is known yet.
    pub(super) body_max: Cell<Option<u64>>,
    /// Bytes that its body has at least.
    pub(super) announced: Cell<u64>,
    /// What is wrong with its body.
    pub(super) bad_body: Cell<Option<BodyError>>,
    head_wait: Cell<HeadWait>,
    /// The count of whole heads.
    heads: Cell<u64>,
}

/// What hyper, when it reads, waits for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum HeadWait {
    /// No head: a body, or it does not read.
    None,
    /// The first byte of a request.
    FirstByte,
    /// More of a head; also at first, since protocol detection has read its beginning.
    #[default]
    Rest,
}

impl Inspection {
    /// What is waited for, and the count of heads before.
    pub(super) const fn head_wait(&self) -> (HeadWait, u64) {
        (self.head_wait.get(), self.heads.get())
    }
}

#[derive(Debug)]
enum State {
    Head(HeadScanner),
    /// This many bytes of the head, or of its replacement, are still to be passed to hyper.
    Pass {
        left: usize,
        next: Next,
    },
    Body(Body),
    /// Nothing more is read.
    Ended,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Body(BodyLength),
    End,
}

#[derive(Debug)]
enum Body {
    Known(u64),
    Chunked(ChunkScanner),
}

impl<S> Guard<S> {
    pub(super) fn new(connection: Rc<RefCell<S>>, inspection: Rc<Inspection>) -> Self {
        Self {
            connection,
            unread: BytesMut::new(),
            state: State::Head(HeadScanner::default()),
            inspection,
        }
    }

    /// What was read from the connection and not by hyper.
    pub(super) fn into_unread(self) -> Bytes {
        self.unread.freeze()
    }

    /// Scans what is unread for a head.
    fn scan_head(&mut self) -> Option<State> {
        let State::Head(scanner) = &mut self.state else { return None };
        match scanner.scan(&self.unread) {
            Ok(None) => None,
            Ok(Some(head)) => {
                self.inspection.body_max.set(None);
                self.inspection.announced.set(0);
                self.inspection.bad_body.set(None);
                Some(State::Pass { left: head.len, next: Next::Body(head.body) })
            }
            Err(bad) => {
                self.inspection.bad.set(Some(bad));
                self.unread = REPLACEMENT.into();
                Some(State::Pass { left: REPLACEMENT.len(), next: Next::End })
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads more of a head.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.connection.borrow_mut()).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.unread.extend_from_slice(read);
        let count = read.len();
        buffer.set_filled(before);
        Poll::Ready(Ok(count))
    }

    /// Reads more of a body, and no byte behind it.
    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let State::Body(body) = &mut self.state else { return Poll::Ready(Ok(())) };
        let before = buffer.filled().len();
        let is_unread = !self.unread.is_empty();
        if is_unread {
            let count = self.unread.len().min(buffer.remaining());
            buffer.put_slice(self.unread.get(..count).unwrap_or_default());
        } else {
            ready!(Pin::new(&mut *self.connection.borrow_mut()).poll_read(context, buffer))?;
        }
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        let used = match body.scan(bytes, &self.inspection) {
            Ok(used) => used,
            Err(error) => {
                self.inspection.bad_body.set(Some(error));
                self.state = State::Ended;
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        };
        if is_unread {
            self.unread.advance(used);
        } else {
            self.unread.extend_from_slice(bytes.get(used..).unwrap_or_default());
        }
        buffer.set_filled(before + used);
        if body.is_done() {
            self.state = State::Head(HeadScanner::default());
        }
        Poll::Ready(Ok(()))
    }
}

impl Body {
    fn scan(&mut self, bytes: &[u8], inspection: &Inspection) -> Result<usize, BodyError> {
        match self {
            Self::Known(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                Ok(count)
            }
            Self::Chunked(scanner) => {
                let scanned = scanner.scan(bytes, inspection.body_max.get().unwrap_or(u64::MAX));
                inspection.announced.set(scanner.announced());
                scanned
            }
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Known(left) => *left == 0,
            Self::Chunked(scanner) => scanner.is_done(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        loop {
            match &mut guard.state {
                State::Head(_) => {
                    if let Some(state) = guard.scan_head() {
                        guard.inspection.head_wait.set(HeadWait::None);
                        guard.inspection.heads.set(guard.inspection.heads.get() + 1);
                        guard.state = state;
                        continue;
                    }
                    let is_first = guard.inspection.heads.get() == 0;
                    guard.inspection.head_wait.set(if guard.unread.is_empty() && !is_first {
                        HeadWait::FirstByte
                    } else {
                        HeadWait::Rest
                    });
                    if ready!(guard.poll_head(context, buffer))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Pass { left, next } => {
                    let count = (*left).min(buffer.remaining());
                    buffer.put_slice(&guard.unread.split_to(count));
                    *left -= count;
                    if *left == 0 {
                        guard.state = match *next {
                            Next::Body(BodyLength::Known(0)) => State::Head(HeadScanner::default()),
                            Next::Body(BodyLength::Known(length)) => {
                                State::Body(Body::Known(length))
                            }
                            Next::Body(BodyLength::Chunked) => {
                                State::Body(Body::Chunked(ChunkScanner::default()))
                            }
                            Next::End => State::Ended,
                        };
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Body(_) => return guard.poll_body(context, buffer),
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.connection.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.connection.borrow_mut()).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.connection.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.connection.borrow_mut()).poll_shutdown(context)
    }
}

/// What hyper reads in place of a head that is refused: a request that ends the connection.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Returns `n` bytes a read.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.1.min(self.0.len()).min(buffer.remaining());
            let (piece, rest) = self.0.split_at(count);
            buffer.put_slice(piece);
            self.0 = rest;
            Poll::Ready(Ok(()))
        }
    }

    /// What hyper would read, one line per request part: what came in one piece, or would have.
    fn read(
        bytes: &[u8],
        piece: usize,
        body_max: Option<u64>,
    ) -> (Vec<String>, Rc<Inspection>, Bytes) {
        let inspection = Rc::new(Inspection::default());
        let mut guard =
            Guard::new(Rc::new(RefCell::new(Pieces(bytes, piece))), Rc::clone(&inspection));
        let mut parts = vec![String::new()];
        let mut was_body = false;
        loop {
            let is_body = matches!(guard.state, State::Body(_));
            let mut room = [0; 4096];
            let mut buffer = ReadBuf::new(&mut room);
            let context = &mut Context::from_waker(Waker::noop());
            match Pin::new(&mut guard).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
                Poll::Ready(Ok(())) => {
                    if is_body != was_body || !is_body {
                        parts.push(String::new());
                    }
                    was_body = is_body;
                    inspection.body_max.set(body_max);
                    let text = str::from_utf8(buffer.filled()).unwrap();
                    parts.last_mut().unwrap().push_str(text);
                }
                Poll::Ready(Err(error)) => {
                    parts.push(error.to_string());
                    break;
                }
                Poll::Pending => unreachable!(),
            }
        }
        parts.remove(0);
        (parts, inspection, guard.into_unread())
    }

    #[test]
    fn hyper_reads_one_part_of_one_request_at_a_time() {
        let requests = [
            "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "hello",
            "GET /b HTTP/1.1\r\n\r\n",
            "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "GET /d HTTP/1.1\r\n\r\n",
        ];
        let replacement = str::from_utf8(REPLACEMENT).unwrap();
        for piece in [1, 2, 3, 7, 50, 4096] {
            let (parts, inspection, unread) = read(requests.concat().as_bytes(), piece, None);
            assert_eq!(parts, requests, "in pieces of {piece}");
            assert_eq!((inspection.bad.get(), unread.len()), (None, 0));

            let bad = requests.concat() + "GET nothing HTTP/1.1\r\n";
            let (parts, inspection, _) = read(bad.as_bytes(), piece, None);
            assert_eq!(
                (&parts[..6], &parts[6..]),
                (&requests.map(str::to_owned)[..], &[replacement.to_owned()][..])
            );
            assert_eq!(inspection.bad.get(), Some(BadRequest::Target));
        }
    }

    #[test]
    fn what_follows_a_head_stays_where_it_is() {
        let head = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        let bytes = [head.as_bytes(), &[0x81, 0x80, 0, 0, 0, 0]].concat();
        let inspection = Rc::new(Inspection::default());
        let mut guard = Guard::new(Rc::new(RefCell::new(Pieces(&bytes, 4096))), inspection);
        let mut room = [0; 4096];
        let mut buffer = ReadBuf::new(&mut room);
        let context = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut guard).poll_read(context, &mut buffer).is_ready());
        assert_eq!(buffer.filled(), head.as_bytes());
        assert_eq!(guard.into_unread(), &bytes[head.len()..]);
    }

    #[test]
    fn a_chunk_that_can_never_fit_is_not_waited_for() {
        let head = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for piece in [1, 60, 4096] {
            let bytes = [head, "5\r\nhello\r\n60\r\nand no more"].concat();
            let (parts, inspection, _) = read(bytes.as_bytes(), piece, Some(100));
            assert_eq!(parts.last().unwrap(), &BodyError::TooLarge.to_string());
            assert_eq!(inspection.bad_body.get(), Some(BodyError::TooLarge));
            let bytes = [head, "5\r\nhello!\r\n"].concat();
            let (_, inspection, _) = read(bytes.as_bytes(), piece, None);
            assert_eq!(inspection.bad_body.get(), Some(BodyError::Broken));
        }
    }
}
