use std::{fs, net::TcpListener, os::unix::process::CommandExt as _};

use crate::{
    failure::{Doing, Failure, Outcome},
    gateway::Binaries,
    paths, shell,
};

/// Builds everything and becomes the demo.
pub(crate) fn run(listen: &str) -> Outcome {
    free(listen)?;
    let binaries = Binaries::build()?;
    let mut demo = shell::command(&binaries.gateway);
    demo.arg("demo");
    let folder = paths::folder("demo")?;
    let file = folder.join("passerelle.toml");
    // Orders are persistent: they have a store of their own here.
    let store = folder.join("store");
    let config = format!(
        "[[listen]]\naddress = \"{listen}\"\noperations = true\n\n[store]\npath = {:?}\n",
        store.display().to_string()
    );
    fs::write(&file, config).doing(file.display())?;
    demo.arg("--config").arg(file);
    println!("\nThe Trader is at http://{listen}/ (Ctrl-C stops it)\n");
    // In our place, so that Ctrl-C reaches it alone and it stops in good order.
    let error = demo.exec();
    Err(shell::unstarted(&demo, &error))
}

/// Where the demo listens when nothing else is said.
pub(crate) const DEFAULT: &str = "127.0.0.1:8080";

/// Says so at once, before the long build, when something else has the port.
fn free(listen: &str) -> Outcome {
    TcpListener::bind(listen).map(drop).map_err(|error| {
        Failure::Failed(format!(
            "cannot listen on {listen}: {error}; stop what uses it (a demo that still runs?) or \
             say --listen 127.0.0.1:PORT"
        ))
    })
}
