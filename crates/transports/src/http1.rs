//! HTTP/1.1, by hyper behind a [`guard`] of ours.

mod chunks;
mod guard;
mod head;

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1::{Builder, Parts},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};

pub use chunks::BodyError;
pub use head::{BadRequest, HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};

use crate::Accepted;
use guard::{Guard, Seen};

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    seen: Rc<Seen>,
}

impl RequestBody {
    /// Its length, as far as the head says it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// All of it. Nothing bounds the time that takes.
    ///
    /// # Errors
    /// When it is broken, or larger than `max`: that is known from the size of a chunk, or of the
    /// whole, and not waited for.
    pub async fn collect(self, max: usize) -> Result<Bytes, BodyError> {
        let bound = max as u64;
        self.seen.body_max.set(Some(bound));
        let announced = self.incoming.size_hint().lower().max(self.seen.announced.get());
        if announced > bound {
            return Err(BodyError::TooLarge);
        }
        match Limited::new(self.incoming, max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
            Err(_) => Err(self.seen.bad_body.get().unwrap_or(BodyError::Broken)),
        }
    }
}

/// Serves HTTP/1.1 on a connection until it ends or a response switches protocols; gives it back
/// with what was read but belongs to the next protocol, and says what was wrong if something was:
/// the connection broke or timed out.
///
/// A request that is [bad](BadRequest) is given to `answer` as such, and its answer is the last.
///
/// `header_timeout` bounds the time from the end of the last answer to the end of a request's head.
/// When `stop` is ready, the request under way is the last.
pub async fn serve<A, F, B>(
    connection: Accepted,
    answer: A,
    header_timeout: Duration,
    stop: impl Future<Output = ()>,
) -> (Accepted, hyper::Result<()>)
where
    A: Fn(Result<Request<RequestBody>, BadRequest>) -> F + Unpin,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let seen = Rc::new(Seen::default());
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(match seen.bad.take() {
            Some(bad) => Err(bad),
            None => Ok(request.map(|incoming| RequestBody { incoming, seen: Rc::clone(&seen) })),
        });
        Box::pin(async { Ok::<_, Infallible>(response.await) })
    });
    let mut connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        // Some send a request and close their side at once; they still want the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(Guard::new(connection, Rc::clone(&seen))), service);
    let mut stop = pin!(stop);
    let mut stopping = false;
    let served = poll_fn(|context| {
        if !stopping && stop.as_mut().poll(context).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(context)
    })
    .await;
    let Parts { io, read_buf, .. } = connection.into_parts();
    let (mut connection, held) = io.into_inner().into_parts();
    connection.unread(held);
    connection.unread(read_buf);
    (connection, served)
}
