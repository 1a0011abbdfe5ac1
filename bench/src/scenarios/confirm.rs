use std::{error::Error, fs, process::Command};

use super::Context;
use crate::{
    compare::{Contender, SERVER_CORES, compare, plan},
    dialect::{Stomp, step},
    peers::{artemis_with_journal, start_gateway},
    plan::{Frame, Framing, MARK, Shape, Step},
    server::{Readiness, Server},
};

/// Producers of persistent messages, each of which waits for its RECEIPT; a consumer empties the queue.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let folder = fs::canonicalize(&context.places.work)?.join("confirm");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder)?;
    let store = format!("[store]\npath = \"{}\"\n", folder.join("store").display());
    let gateway = start_gateway(&context.places, SERVER_CORES, &store)?;
    let wants = |name: &str| {
        context.only_peers.is_empty() || context.only_peers.iter().any(|only| name.contains(only))
    };
    let mut servers = vec![("passerelle", gateway)];
    if wants(BARE) {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", "sync"]).env("BENCH_FOLDER", &folder);
        servers.push((BARE, Server::start(&mut command, SERVER_CORES, Readiness::Says)?));
    }
    if wants(ARTEMIS) {
        match artemis_with_journal(&context.places, SERVER_CORES) {
            Ok(server) => servers.push((ARTEMIS, server)),
            Err(error) => println!("skipped: {ARTEMIS}: {error}"),
        }
    }
    for producers in [1, 32, 128] {
        let name = format!("1 KiB, {producers} producers");
        if !context.wants_cell(&name) {
            continue;
        }
        let mut contenders = Vec::new();
        for (who, server) in &servers {
            let shape = shape(producers, *who != BARE);
            contenders.push(Contender::new(who, &plan(server, Framing::Stream, shape))?);
        }
        context.add(compare("confirmed", &name, &context.effort.orders(None), contenders));
    }
    Ok(())
}

pub(super) fn shape(producers: usize, speaks_stomp: bool) -> Shape {
    let stomp = Stomp { path: None, login: None, destination: QUEUE, modulus: 1 };
    let message = message();
    if !speaks_stomp {
        return Shape::Confirm { producers, producer: Vec::new(), consumer: None, message };
    }
    let mut consumer = stomp.connect();
    consumer.push(subscribe());
    Shape::Confirm { producers, producer: stomp.connect(), consumer: Some(consumer), message }
}

fn message() -> Vec<u8> {
    let mark = char::from(MARK);
    let header = format!(
        "SEND\ndestination:{QUEUE}\npersistent:true\nreceipt:{mark}\ncontent-length:1024\n\n"
    );
    [header.as_bytes(), &[b'x'; 1024], b"\0"].concat()
}

fn subscribe() -> Step {
    let subscribe =
        format!("SUBSCRIBE\nid:0\ndestination:{QUEUE}\nack:client-individual\nreceipt:r\n\n\0");
    step(Frame::Bare, subscribe, "receipt-id:r")
}

const QUEUE: &str = "/queue/confirmed";
const BARE: &str = "bare fdatasync";
const ARTEMIS: &str = "Artemis 2.44";
