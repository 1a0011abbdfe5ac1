//! Echo at `/echo` and broadcast at `/broadcast` with tokio-tungstenite, as one would write it:
//! a task for each connection, a channel for each subscriber, what waits is sent with one flush.
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write as _},
    rc::Rc,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpListener, sync::mpsc, task::LocalSet};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::WebSocketConfig,
    },
};

type Subscribers = Rc<RefCell<BTreeMap<usize, mpsc::UnboundedSender<Message>>>>;

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
            // The default of 128 KiB is filled with zeros before each read.
            let config = WebSocketConfig::default().read_buffer_size(4096);
            let mut is_broadcast = false;
            let look = |request: &Request, response: Response| {
                is_broadcast = request.uri().path() == "/broadcast";
                Ok(response)
            };
            let Ok(socket) = accept_hdr_async_with_config(stream, look, Some(config)).await else { return };
            let (mut sink, mut source) = socket.split();
            if !is_broadcast {
                while let Some(Ok(message)) = source.next().await {
                    if (message.is_text() || message.is_binary()) && sink.send(message).await.is_err() {
                        break;
                    }
                }
                return;
            }
            let (sender, mut receiver) = mpsc::unbounded_channel();
            subscribers.borrow_mut().insert(number, sender);
            let writer = tokio::task::spawn_local(async move {
                while let Some(message) = receiver.recv().await {
                    let mut outcome = sink.feed(message).await;
                    while let (Ok(()), Ok(message)) = (&outcome, receiver.try_recv()) {
                        outcome = sink.feed(message).await;
                    }
                    if outcome.is_err() || sink.flush().await.is_err() {
                        break;
                    }
                }
            });
            while let Some(Ok(message)) = source.next().await {
                if message.is_text() || message.is_binary() {
                    // Messages are reference-counted.
                    for subscriber in subscribers.borrow().values() {
                        subscriber.send(message.clone()).ok();
                    }
                }
            }
            subscribers.borrow_mut().remove(&number);
            writer.abort();
        });
    }
}
