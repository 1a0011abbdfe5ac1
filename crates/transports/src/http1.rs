use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1::{Builder, Parts},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::Accepted;

/// Serves HTTP/1.1 on a connection until it ends or a response switches protocols; gives it back
/// with what was read but belongs to the next protocol, and says what was wrong if something was:
/// the connection broke or timed out, or what came is not HTTP, which may have been answered.
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
    A: Fn(Request<Incoming>) -> F + Unpin,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let response = answer(request);
        Box::pin(async { Ok::<_, Infallible>(response.await) })
    });
    let mut connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        // Some send a request and close their side at once; they still want the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(connection), service);
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
    let mut connection = io.into_inner();
    connection.unread(read_buf);
    (connection, served)
}

/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
