//! Echo at `/echo` and broadcast at `/broadcast` with fastwebsockets and hyper: a task for each
//! connection, a channel for each subscriber.
use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    io::{self, Write as _},
    rc::Rc,
};

use bytes::Bytes;
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc, task::LocalSet};

type Subscribers = Rc<RefCell<BTreeMap<usize, mpsc::UnboundedSender<Bytes>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    LocalSet::new().run_until(serve()).await
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    let subscribers = Subscribers::default();
    let mut number = 0;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        number += 1;
        let subscribers = Rc::clone(&subscribers);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| respond(request, number, Rc::clone(&subscribers)));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
        });
    }
}

async fn respond(
    mut request: Request<Incoming>,
    number: usize,
    subscribers: Subscribers,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let is_broadcast = request.uri().path() == "/broadcast";
    let (response, socket) = upgrade::upgrade(&mut request)?;
    tokio::task::spawn_local(async move {
        if is_broadcast {
            broadcast(socket, number, subscribers).await.ok();
        } else {
            echo(socket).await.ok();
        }
    });
    Ok(response)
}

async fn echo(socket: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = fastwebsockets::FragmentCollector::new(socket.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

async fn broadcast(socket: upgrade::UpgradeFut, number: usize, subscribers: Subscribers) -> Result<(), WebSocketError> {
    let (reader, mut writer) = socket.await?.split(tokio::io::split);
    let mut reader = FragmentCollectorRead::new(reader);
    let (sender, mut receiver) = mpsc::unbounded_channel::<Bytes>();
    subscribers.borrow_mut().insert(number, sender);
    let writing = tokio::task::spawn_local(async move {
        while let Some(message) = receiver.recv().await {
            let frame = Frame::text(Payload::Borrowed(&message));
            if writer.write_frame(frame).await.is_err() {
                break;
            }
        }
    });
    let outcome = loop {
        let mut pong = |_: Frame<'_>| async { Ok::<(), Infallible>(()) };
        match reader.read_frame(&mut pong).await {
            Ok(frame) if frame.opcode == OpCode::Close => break Ok(()),
            Ok(frame) => {
                let message = Bytes::copy_from_slice(&frame.payload);
                for subscriber in subscribers.borrow().values() {
                    subscriber.send(message.clone()).ok();
                }
            }
            Err(error) => break Err(error),
        }
    };
    subscribers.borrow_mut().remove(&number);
    writing.abort();
    outcome
}
