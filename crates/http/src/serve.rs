use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use drive::ConnectionPermit;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time,
};
use transports::{
    Accepted,
    http1::{self, Times},
};

use crate::{
    gateway::{Phase, Worker},
    requests::{self, Connection},
};

/// Serves the requests of a connection until it ends, or leaves for the reactor as a WebSocket.
pub async fn serve(
    worker: Worker,
    connection: Accepted,
    listen: usize,
    peer: SocketAddr,
    permit: ConnectionPermit,
) {
    let gateway = &worker.gateway;
    let head = gateway.config.limits.connection.login_timeout;
    let keep_alive = gateway.config.http.keep_alive;
    let times = Times { first_head: head, head, keep_alive };
    let requests = Rc::new(Connection::new(worker.clone(), listen, peer));
    let responding = Rc::clone(&requests);
    let mut phase = gateway.phase.clone();
    let stop = async move {
        // An error says that the gateway is gone, which is to stop too.
        drop(phase.wait_for(|phase| *phase >= Phase::Draining).await);
    };
    let respond = move |request| {
        let requests = Rc::clone(&responding);
        async move {
            match request {
                Ok(request) => requests.respond(request).await,
                Err(bad) => requests.refuse(bad),
            }
        }
    };
    let (connection, served) = http1::serve(connection, respond, times, stop).await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "HTTP connection ended");
        return linger(connection).await;
    }
    match requests.take_upgrade() {
        Some(upgrade) => {
            let Ok((stream, early)) = connection.into_stream() else { return };
            requests::upgrade(&worker, stream, &early, upgrade, listen, permit);
        }
        None => linger(connection).await,
    }
}

/// Ends a connection so that the last response arrives: closing one with unread bytes would take it
/// back.
pub async fn linger(mut connection: Accepted) {
    let mut unread = [0; 4 << 10];
    let drain = async {
        connection.shutdown().await?;
        for _ in 0..LINGER_READS_MAX {
            if connection.read(&mut unread).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // A peer that has not ended by now is closed all the same.
    drop(time::timeout(LINGER, drain).await);
}

/// Time and pieces that a peer has to end after its last response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS_MAX: usize = 2_000;
