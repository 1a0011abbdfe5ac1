use std::{io, sync::Arc, sync::mpsc as blocking, time::Duration};

use bytes::Bytes;
use drive::{Carrier, CoreRef, Pulled, tasks};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::TlsConnector;

use crate::gateway::Setup;

/// One end of a connection, the other end of which a session has. It reads nothing but on demand.
pub(crate) struct Peer {
    /// What is to be sent; dropped, its side is closed.
    input: Option<mpsc::UnboundedSender<Bytes>>,
    /// How much is to be read at most.
    demand: mpsc::UnboundedSender<usize>,
    /// What was read; dropped, the gateway has closed its side.
    output: blocking::Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Peer {
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        // One that has gone takes nothing.
        drop(self.input.as_ref().unwrap().send(bytes));
    }

    /// Closes its side.
    pub(crate) fn end(&mut self) {
        self.input = None;
    }

    /// Reads once, at most so many bytes; none at the end.
    pub(crate) fn read_some(&mut self, max: usize) -> Vec<u8> {
        if !self.unread.is_empty() {
            let rest = self.unread.split_off(max.min(self.unread.len()));
            return std::mem::replace(&mut self.unread, rest);
        }
        if self.demand.send(max).is_err() {
            return Vec::new();
        }
        match self.output.recv_timeout(Duration::from_secs(20)) {
            Ok(bytes) => bytes,
            Err(blocking::RecvTimeoutError::Disconnected) => Vec::new(),
            Err(blocking::RecvTimeoutError::Timeout) => panic!("nothing comes"),
        }
    }

    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let more = self.read_some(count - bytes.len());
            assert!(!more.is_empty(), "the end after {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend(more);
        }
        bytes
    }

    /// Reads a frame of STOMP, without heart-beats before it and without its NUL.
    pub(crate) fn frame(&mut self) -> String {
        let mut bytes = Vec::new();
        loop {
            let some = self.read_some(64 << 10);
            assert!(!some.is_empty(), "the end after {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend(some);
            let start = bytes.iter().take_while(|byte| **byte == b'\n').count();
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                drop(self.unread.splice(..0, bytes.split_off(end + 1)));
                return String::from_utf8(bytes[start..end].to_vec()).unwrap();
            }
        }
    }

    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = self.read_some(64 << 10);
            if more.is_empty() {
                return bytes;
            }
            bytes.extend(more);
        }
    }
}

/// The other side of a [`Peer`]: what is to be sent and read, and what was read.
struct Wires {
    input: mpsc::UnboundedReceiver<Bytes>,
    demand: mpsc::UnboundedReceiver<usize>,
    output: blocking::Sender<Vec<u8>>,
}

fn wires() -> (Wires, Peer) {
    let (input_in, input) = mpsc::unbounded_channel();
    let (demand_in, demand) = mpsc::unbounded_channel();
    let (output, output_out) = blocking::channel();
    let peer =
        Peer { input: Some(input_in), demand: demand_in, output: output_out, unread: Vec::new() };
    (Wires { input, demand, output }, peer)
}

pub(crate) fn over_tcp(
    runtime: &tokio::runtime::Handle,
    socket: std::net::TcpStream,
    tls: Option<Arc<ClientConfig>>,
) -> Peer {
    let (wires, peer) = wires();
    drop(runtime.spawn(async move {
        let socket = TcpStream::from_std(socket).unwrap();
        match tls {
            None => exchange(socket, wires).await,
            Some(config) => {
                let name = "localhost".try_into().unwrap();
                let stream = TlsConnector::from(config).connect(name, socket).await.unwrap();
                exchange(stream, wires).await;
            }
        }
    }));
    peer
}

/// Sends and reads at the same time, until the gateway has closed its side or the peer is dropped.
async fn exchange(stream: impl AsyncRead + AsyncWrite, wires: Wires) {
    let Wires { mut input, mut demand, output } = wires;
    let (mut from, mut to) = tokio::io::split(stream);
    let send = async {
        let mut result = io::Result::Ok(());
        while let Some(bytes) = input.recv().await
            && result.is_ok()
        {
            result = async {
                to.write_all(&bytes).await?;
                to.flush().await
            }
            .await;
        }
        drop(to.shutdown().await);
        // What it is sent is still read.
        std::future::pending::<()>().await;
    };
    let receive = async {
        while let Some(max) = demand.recv().await {
            let mut bytes = vec![0; max];
            match from.read(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.truncate(count),
            }
            drop(output.send(bytes));
        }
        drop((demand, output));
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}

/// A connection that a task of the core is to carry.
pub(crate) struct Carry(Wires);

pub(crate) fn carried() -> (Carry, Peer) {
    let (wires, peer) = wires();
    (Carry(wires), peer)
}

pub(crate) async fn carry_all(
    core: CoreRef,
    setup: Setup,
    mut connections: mpsc::UnboundedReceiver<Carry>,
) {
    while let Some(Carry(wires)) = connections.recv().await {
        let carrier = core.carry(setup.carried(), setup.open).unwrap();
        tasks::local(carry(carrier, wires));
    }
}

/// Hands over what the peer sends, and takes what is for it when it reads, which acknowledges it.
async fn carry(carrier: Carrier, wires: Wires) {
    let Wires { mut input, mut demand, output } = wires;
    let feed = async {
        while let Some(bytes) = input.recv().await {
            if carrier.feed(bytes).await.is_err() {
                break;
            }
        }
        carrier.end();
        std::future::pending::<()>().await;
    };
    let pull = async {
        let mut acked = 0;
        while let Some(max) = demand.recv().await {
            let Pulled::Bytes(bytes) = carrier.pull(acked, max).await else { break };
            acked += bytes.len() as u64;
            drop(output.send(bytes.into()));
            drop(carrier.pull(acked, 0).await);
        }
        drop((demand, output));
    };
    tokio::select! {
        () = feed => {}
        () = pull => {}
    }
}
