//! HTTP/1.1 by hyper, which reads only what has been checked before.

mod chunks;
mod guard;
mod head;

use std::{
    cell::RefCell,
    convert::Infallible,
    error::Error,
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1::{Builder, Parts},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time;

pub use chunks::BodyError;
pub use head::{BadRequest, HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};

use crate::{Accepted, Closed};
use guard::{Guard, HeadWait, Inspection};

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the first head.
    pub first_head: Duration,
    /// For any other, from its first byte on.
    pub head: Duration,
    /// Between the end of a response and the first byte of the next request; zero: the response
    /// ends the connection.
    pub keep_alive: Duration,
}

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    inspection: Rc<Inspection>,
    peer: PeerWatch,
}

/// Tells whether the peer of a connection has closed it, without reading, while its request is
/// replied to.
#[derive(Clone)]
pub struct PeerWatch(Weak<dyn Close>);

trait Close {
    fn closed(&self) -> Closed;
}

impl Close for RefCell<Accepted> {
    fn closed(&self) -> Closed {
        self.borrow().closed()
    }
}

impl PeerWatch {
    /// How much of the connection the peer has closed.
    #[must_use]
    pub fn closed(&self) -> Closed {
        self.0.upgrade().map_or(Closed::All, |connection| connection.closed())
    }
}

impl fmt::Debug for PeerWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerWatch").field(&self.closed()).finish()
    }
}

impl RequestBody {
    /// Watches the peer that sends it.
    #[must_use]
    pub fn peer(&self) -> PeerWatch {
        self.peer.clone()
    }

    /// Its length, as far as the head has it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// All of it, in memory that it fills. Each piece is copied as it comes: hyper's are parts of
    /// its read buffer. `came` is called with the piece's length and the memory that all take by
    /// then. Nothing bounds the time.
    ///
    /// # Errors
    /// When it is broken, or larger than `max`: that is known from the size of a chunk, or of the
    /// whole, and not waited for.
    pub async fn collect(
        self,
        max: usize,
        came: impl Fn(usize, usize),
    ) -> Result<Bytes, BodyError> {
        let Self { mut incoming, inspection, .. } = self;
        let bound = max as u64;
        inspection.body_max.set(Some(bound));
        let size = incoming.size_hint();
        if size.lower().max(inspection.announced.get()) > bound {
            return Err(BodyError::TooLarge);
        }
        let most = size.exact().and_then(|size| usize::try_from(size).ok()).unwrap_or(max);
        let mut body = Vec::new();
        while !incoming.is_end_stream()
            && let Some(frame) = incoming.frame().await
        {
            let broken = |_| inspection.bad_body.get().unwrap_or(BodyError::Broken);
            // Others are trailers.
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            if piece.len() > max - body.len() {
                return Err(BodyError::TooLarge);
            }
            wire::extend_within(most, &mut body, &piece);
            came(piece.len(), body.capacity());
        }
        Ok(body.into_boxed_slice().into())
    }
}

/// Serves HTTP/1.1 on a connection until it ends or a response switches protocols; returns it with
/// what was read but belongs to the next protocol, and the error if the connection broke or timed
/// out.
///
/// A request that is [bad](BadRequest) is passed to `respond` as such, and its response is the last.
///
/// Nothing bounds the time of a request here. When `stop` is ready, the current request is the last.
pub async fn serve<A, F, B>(
    connection: Accepted,
    respond: A,
    times: Times,
    stop: impl Future<Output = ()>,
) -> (Accepted, io::Result<()>)
where
    A: Fn(Result<Request<RequestBody>, BadRequest>) -> F + Unpin,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connection = Rc::new(RefCell::new(connection));
    let (unread, served) = serve_on(Rc::clone(&connection), respond, times, stop).await;
    let connection = Rc::into_inner(connection).expect("requests only look at it");
    let mut connection = connection.into_inner();
    connection.unread(unread);
    (connection, served)
}

async fn serve_on<S, A, F, B>(
    connection: Rc<RefCell<S>>,
    respond: A,
    times: Times,
    stop: impl Future<Output = ()>,
) -> (Bytes, io::Result<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    RefCell<S>: Close,
    A: Fn(Result<Request<RequestBody>, BadRequest>) -> F + Unpin,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let inspection = Rc::new(Inspection::default());
    let peer: Rc<dyn Close> = Rc::clone(&connection) as _;
    let peer = PeerWatch(Rc::downgrade(&peer));
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(match inspection.bad.take() {
            Some(bad) => Err(bad),
            None => Ok(request.map(|incoming| RequestBody {
                incoming,
                inspection: Rc::clone(&inspection),
                peer: peer.clone(),
            })),
        });
        Box::pin(async { Ok::<_, Infallible>(response.await) })
    });
    let mut connection = Builder::new()
        // It makes no difference between a connection at rest and half a head.
        .header_read_timeout(None)
        .keep_alive(!times.keep_alive.is_zero())
        .max_buf_size(HEAD_BYTES_MAX)
        // Some send a request and close their side at once; they still want the reply.
        .half_close(true)
        .serve_connection(TokioIo::new(Guard::new(connection, Rc::clone(&inspection))), service);
    let mut stop = pin!(stop);
    let mut stopping = false;
    let alarm = pin!(time::sleep(times.first_head));
    let mut head_timeout = HeadTimeout { times, wait: inspection.head_wait(), alarm, is_set: true };
    let served = poll_fn(|context| {
        if !stopping && stop.as_mut().poll(context).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(served) = connection.poll_without_shutdown(context) {
            return Poll::Ready(served.map_err(io::Error::other));
        }
        head_timeout.poll(inspection.head_wait(), context)
    })
    .await;
    let Parts { io, read_buf, .. } = connection.into_parts();
    let rest = io.into_inner().into_unread();
    let unread = if rest.is_empty() { read_buf } else { [read_buf, rest].concat().into() };
    (unread, served)
}

/// Ends a connection whose next head does not come in time.
struct HeadTimeout<'a> {
    times: Times,
    wait: (HeadWait, u64),
    alarm: Pin<&'a mut time::Sleep>,
    is_set: bool,
}

impl HeadTimeout<'_> {
    /// Sets the time anew if `wait`, what is waited for, has changed. Completes when the time has
    /// come: with an error if the peer has begun a head, or owes the first.
    fn poll(&mut self, wait: (HeadWait, u64), context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if wait != self.wait {
            self.wait = wait;
            self.is_set = wait.0 != HeadWait::None;
            match wait {
                (HeadWait::None, _) => {}
                (HeadWait::FirstByte, _) => self.alarm.set(time::sleep(self.times.keep_alive)),
                // The first head had its time from the beginning.
                (HeadWait::Rest, 0) => {}
                (HeadWait::Rest, _) => self.alarm.set(time::sleep(self.times.head)),
            }
        }
        if !self.is_set || self.alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match wait.0 {
            HeadWait::FirstByte => Ok(()),
            HeadWait::None | HeadWait::Rest => Err(io::ErrorKind::TimedOut.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io};

    use http::{HeaderValue, StatusCode, header};
    use http_body_util::Full;
    use testkit::Random;
    use tokio::io::ReadBuf;

    use super::*;

    /// A peer that sends `piece` bytes at a time, and then nothing more.
    struct Peer {
        sends: Bytes,
        piece: usize,
        receives: Rc<RefCell<Vec<u8>>>,
    }

    impl Close for RefCell<Peer> {
        fn closed(&self) -> Closed {
            Closed::Nothing
        }
    }

    impl AsyncRead for Peer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.piece.min(self.sends.len()).min(buffer.remaining());
            buffer.put_slice(&self.sends.split_to(count));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.receives.borrow_mut().extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The requests that the service was called with, and the responses.
    async fn converse(sends: &[u8], piece: usize) -> (Vec<String>, String) {
        let receives = Rc::new(RefCell::new(Vec::new()));
        let sends = Bytes::copy_from_slice(sends);
        let peer = Peer { sends, piece, receives: Rc::clone(&receives) };
        let peer = Rc::new(RefCell::new(peer));
        let requests = RefCell::new(Vec::new());
        let respond = async |request: Result<Request<RequestBody>, BadRequest>| {
            let (status, line) = match request {
                Err(bad) => (bad.status(), bad.to_string()),
                Ok(request) => {
                    let line = format!("{} {}", request.method(), request.uri());
                    match request.into_body().collect(1000, |_, _| ()).await {
                        Ok(body) => (StatusCode::OK, format!("{line} {}", body.escape_ascii())),
                        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
                    }
                }
            };
            requests.borrow_mut().push(line);
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = status;
            response.headers_mut().insert(header::SERVER, HeaderValue::from_static("here"));
            response
        };
        // An error of hyper, as of a body that ends too early, is expected.
        let limit = Duration::from_secs(10);
        let times = Times { first_head: limit, head: limit, keep_alive: limit };
        drop(serve_on(peer, respond, times, std::future::pending()).await.1);
        let receives = String::from_utf8(receives.take()).unwrap();
        (requests.into_inner(), receives)
    }

    /// hyper has no objection to what it gets, and reads the same requests however they are split.
    #[tokio::test]
    async fn hyper_refuses_nothing_itself() {
        let mut random = Random::new(7);
        let mut good = 0;
        for round in 0..5000 {
            let mut bytes = random.pick(REQUESTS).to_vec();
            for _ in 0..=random.below(12) {
                let words = if random.once_in(2) { REQUESTS } else { REST };
                bytes.extend_from_slice(random.pick(words));
                if random.once_in(12) {
                    bytes.push(u8::try_from(random.below(256)).unwrap());
                }
            }
            let (requests, responses) = converse(&bytes, 4096).await;
            let shown = format!("round {round}: {} gave {responses}", bytes.escape_ascii());
            let count =
                responses.matches("HTTP/1.").count() - responses.matches("100 Cont").count();
            assert_eq!(count, responses.matches("server: here").count(), "{shown}");
            assert_eq!(count, requests.len(), "{shown}");
            good += responses.matches(" 200 OK").count();
            let piece = 1 + random.below(20);
            assert_eq!(converse(&bytes, piece).await.0, requests, "{shown} in pieces of {piece}");
        }
        assert!(good > 1000, "{good}");
    }

    const REQUESTS: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /d HTTP/1.1\r\n",
        b"GET http://gw:1/?a HTTP/1.0\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"HEAD /\xC3\xBC?\xC3\xBC{}|^`\" HTTP/1.1\r\n",
    ];

    const REST: &[&[u8]] = &[
        b"Content-Length: 3\r\n",
        b"Content-Length: 9223372036854775807\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\tCHUNKED \r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: websocket\r\n",
        b"A: \xFF\t\r\n",
        b"!#$%&'*+-.^_`|~: \"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"5\r\nhello\r\n",
        b"3;a=b \"\xFF\r\nxyz\r\n",
        b"3e9\r\n",
        b"0\r\n",
        b"0\r\nB: c\r\n\r\n",
        b"B : c\r\n",
        b" folded\r\n",
        b"xyz",
    ];
}
