use std::{error::Error, fs, process::Command};

use super::Places;
use crate::server::{Readiness, Server};

/// The gateway with a thread for each core. Pings would disturb peers that wait for their turn.
pub(crate) fn start(
    places: &Places,
    cores: &[usize],
    more: &str,
) -> Result<Server, Box<dyn Error>> {
    let file = places.work.join("passerelle.toml");
    let config = format!(
        "threads = {}\n[[listen]]\naddress = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n\
         [limits]\nping-interval = 0\n{more}",
        cores.len()
    );
    fs::write(&file, config)?;
    let mut command = Command::new(&places.gateway);
    Server::start(command.args(["serve", "--config"]).arg(&file), cores, Readiness::Says)
}
