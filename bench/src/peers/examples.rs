//! Small servers on libraries, whose sources are in `bench/peers`.
use std::{error::Error, path::PathBuf, process::Command};

use super::Places;
use crate::{
    dialect::{Dialect, payload, step, upgrade},
    load::encode,
    plan::{Frame, Framing},
    server::{Readiness, Server, run},
};

/// A Rust example.
pub(crate) fn rust(places: &Places, cores: &[usize], name: &str) -> Result<Server, Box<dyn Error>> {
    let target = places.work.join("rust");
    run(Command::new("cargo")
        .args(["build", "--quiet", "--release", "--locked"])
        .current_dir(places.peers.join("rust"))
        .env("CARGO_TARGET_DIR", &target))?;
    Server::start(&mut Command::new(target.join("release").join(name)), cores, Readiness::Says)
}

/// A script for Node.js.
pub(crate) fn node(
    places: &Places,
    cores: &[usize],
    script: &str,
) -> Result<Server, Box<dyn Error>> {
    let folder = places.peers.join("node");
    if !folder.join("node_modules").exists() {
        run(Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund"])
            .current_dir(&folder))?;
    }
    let mut command = Command::new("node");
    Server::start(command.arg(script).current_dir(&folder), cores, Readiness::Says)
}

/// The Go program.
pub(crate) fn go(places: &Places, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    let program: PathBuf = places.work.join("centrifuge");
    run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(places.peers.join("go")))?;
    Server::start(&mut Command::new(&program), cores, Readiness::Says)
}

/// Socket.IO's own framing, over WebSocket: an event with one text.
pub(crate) fn socketio(event: &str, len: usize) -> Dialect {
    let opening = vec![
        upgrade("/socket.io/?EIO=4&transport=websocket", None),
        step(Frame::Text, "40", "40{"),
    ];
    Dialect {
        framing: Framing::WebSocket,
        publisher: opening.clone(),
        opening,
        message: encode(Frame::Text, format!("42[\"{event}\",\"{}\"]", text(len)).as_bytes()),
        comes_back: true,
    }
}

/// Centrifuge's JSON protocol: one channel.
pub(crate) fn centrifuge(len: usize) -> Dialect {
    let publisher = vec![
        upgrade("/connection/websocket", None),
        step(Frame::Text, "{\"id\":1,\"connect\":{}}", "\"id\":1"),
    ];
    let mut opening = publisher.clone();
    opening.push(step(Frame::Text, "{\"id\":2,\"subscribe\":{\"channel\":\"b\"}}", "\"id\":2"));
    let publish =
        format!("{{\"id\":3,\"publish\":{{\"channel\":\"b\",\"data\":\"{}\"}}}}", text(len));
    Dialect {
        framing: Framing::WebSocket,
        opening,
        publisher,
        message: encode(Frame::Text, publish.as_bytes()),
        comes_back: false,
    }
}

fn text(len: usize) -> String {
    String::from_utf8_lossy(&payload(len)).into_owned()
}
