use std::{error::Error, fs, process::Command};

use super::{Places, brokers::installed};
use crate::{plan::Java, server::run};

/// Apache Qpid JMS from Maven Central, and the program that loads by it.
pub(crate) fn qpid_jms(places: &Places) -> Result<Java, Box<dyn Error>> {
    installed("javac", "openjdk-17-jdk-headless")?;
    let file = fs::canonicalize(&places.work)?.join("jms.classpath");
    if !file.exists() {
        installed("mvn", "maven")?;
        run(Command::new("mvn")
            .args(["-q", "-B", "dependency:build-classpath"])
            .arg(format!("-Dmdep.outputFile={}", file.display()))
            .current_dir(places.peers.join("jms")))?;
    }
    let class_path = fs::read_to_string(file)?.trim().to_owned();
    Ok(Java { class_path, source: fs::canonicalize(places.peers.join("jms/Load.java"))? })
}
