use std::time::Duration;

use config::{Broadcast, Feed, HostPort, ServiceKind};
use contract::{Body, Destination, Message};
use drive::{CoreRef, Publisher, tasks};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpStream, UdpSocket},
    time,
};

use crate::gateway::{Worker, index_u16};

/// The topic of a `broadcast` service.
pub(super) fn topic(service: u16) -> Destination {
    Destination::hidden(&format!("broadcast-{service}"))
}

/// Lets a core have what is sent to each `broadcast` service, so that a peer misses nothing from the
/// moment on at which it is connected.
pub fn keep_interests(worker: &Worker) {
    for (index, service) in worker.gateway.config.services.iter().enumerate() {
        if let ServiceKind::Broadcast { .. } = &service.kind {
            let topic = topic(index_u16(index));
            worker.core.with(|core| core.keep_interest(topic.into()));
        }
    }
}

/// Starts the feeds of all `broadcast` services. One core does that.
pub fn start_feeds(worker: &Worker) {
    for (index, service) in worker.gateway.config.services.iter().enumerate() {
        let ServiceKind::Broadcast(Broadcast { feed: Some(feed) }) = &service.kind else {
            continue;
        };
        let topic = topic(index_u16(index));
        let (core, feed, max) =
            (worker.core.clone(), feed.clone(), service.limits.connection.message_bytes_max);
        tasks::local(async move {
            match feed {
                Feed::Connect(server) => connect(&core, &server, &topic, max).await,
                Feed::Bind(address) => match UdpSocket::bind(address).await {
                    Ok(socket) => receive(&core, &socket, &topic).await,
                    Err(error) => {
                        tracing::error!(feed = %format_args!("udp://{address}"), %error, "no feed");
                    }
                },
            }
        });
    }
}

/// Publishes each line that a TCP server sends, and connects again when it has gone.
async fn connect(core: &CoreRef, server: &HostPort, topic: &Destination, line_max: usize) {
    let mut pause = RECONNECT_FIRST;
    loop {
        match TcpStream::connect((&*server.host, server.port)).await {
            Ok(stream) => {
                tracing::info!(feed = %server, "feed connected");
                pause = RECONNECT_FIRST;
                let error = read_lines(core, stream, topic, line_max).await;
                tracing::warn!(feed = %server, %error, "feed lost");
            }
            Err(error) => tracing::warn!(feed = %server, %error, "feed does not respond"),
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_LAST);
    }
}

async fn read_lines(
    core: &CoreRef,
    stream: TcpStream,
    topic: &Destination,
    line_max: usize,
) -> std::io::Error {
    use std::io::{Error, ErrorKind};
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let part = match reader.fill_buf().await {
            Ok([]) => return ErrorKind::UnexpectedEof.into(),
            Ok(part) => part,
            Err(error) => return error,
        };
        let end = part.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(part.len(), |end| end + 1);
        line.extend(part.iter().take(end.unwrap_or(taken)));
        reader.consume(taken);
        if line.len() > line_max {
            return Error::new(ErrorKind::InvalidData, "a line is longer than message-bytes-max");
        }
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            publish(core, topic, std::mem::take(&mut line)).await;
        }
    }
}

/// Publishes each datagram.
async fn receive(core: &CoreRef, socket: &UdpSocket, topic: &Destination) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        match socket.recv(&mut datagram).await {
            Ok(count) => {
                let bytes = datagram.get(..count).unwrap_or_default().to_vec();
                publish(core, topic, bytes).await;
            }
            Err(error) => {
                tracing::warn!(%error, "feed cannot receive");
                time::sleep(RECONNECT_FIRST).await;
            }
        }
    }
}

async fn publish(core: &CoreRef, topic: &Destination, bytes: Vec<u8>) {
    let is_text = str::from_utf8(&bytes).is_ok();
    let bytes = bytes.into_boxed_slice().into();
    let body = if is_text { Body::Text(bytes) } else { Body::Binary(bytes) };
    let published = core
        .publish(Publisher::Internal, |id, now| Message::new(topic.clone(), id, now.unix_ms, body))
        .await;
    if let Err(refusal) = published {
        tracing::warn!(%refusal, "a message of a feed is lost");
    }
}

/// Pauses between attempts to reach a feed's server grow from the first to the last.
const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_LAST: Duration = Duration::from_secs(10);
/// No UDP datagram is larger.
const DATAGRAM_BYTES_MAX: usize = 65_535;
