use std::net::TcpListener;

use crate::{
    failure::{Failure, Outcome},
    gateway::Binaries,
    shell,
};

/// Builds everything and runs the demo until it is stopped.
pub(crate) fn run(listen: &str) -> Outcome {
    free(listen)?;
    let binaries = Binaries::build()?;
    println!("\nThe Trader is at http://{listen}/ (Ctrl-C stops it)\n");
    let mut demo = shell::command(&binaries.gateway);
    demo.arg("demo");
    if listen != "127.0.0.1:8080" {
        demo.args(["--listen", listen]);
    }
    shell::run(&mut demo)
}

/// Says so at once, before the long build, when something else has the port.
fn free(listen: &str) -> Outcome {
    TcpListener::bind(listen).map(drop).map_err(|error| {
        Failure::Failed(format!(
            "cannot listen on {listen}: {error}; stop what uses it (a demo that still runs?) or \
             say --listen 127.0.0.1:PORT"
        ))
    })
}
