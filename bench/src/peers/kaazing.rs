use std::{error::Error, fmt::Write as _, fs, process::Command};

use super::{Places, brokers::installed};
use crate::server::{Readiness, Server, free_port, run};

/// Kaazing WebSocket Gateway 5.6.2, the Community Edition from Maven Central: echo and broadcast.
pub(crate) fn start(places: &Places, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    installed("java", "openjdk-17-jre-headless")?;
    let work = fs::canonicalize(&places.work)?;
    let classpath = work.join("kaazing.classpath");
    if !classpath.exists() {
        installed("mvn", "maven")?;
        run(Command::new("mvn")
            .args(["-q", "-B", "dependency:build-classpath"])
            .arg(format!("-Dmdep.outputFile={}", classpath.display()))
            .current_dir(places.peers.join("kaazing")))?;
    }
    let home = work.join("kaazing");
    for folder in ["conf", "log", "web", "temp", "lib/ext"] {
        fs::create_dir_all(home.join(folder))?;
    }
    let port = free_port()?;
    fs::write(home.join("conf/gateway-config.xml"), config(port)?)?;
    fs::write(home.join("conf/log4j-config.xml"), LOG)?;
    let mut command = Command::new("java");
    // It looks into these, which the JDK closed after it was written.
    for package in ["sun.nio.ch", "java.nio", "java.lang", "java.util", "sun.security.ssl"] {
        command.arg("--add-opens").arg(format!("java.base/{package}=ALL-UNNAMED"));
    }
    command
        .arg("-Xmx512m")
        .arg(format!("-DGATEWAY_HOME={}", home.display()))
        .arg("-Dcom.kaazing.server.UPDATE_CHECK=false")
        .arg("-cp")
        .arg(fs::read_to_string(&classpath)?.trim())
        .arg("org.kaazing.gateway.server.Main");
    Server::start(&mut command, cores, Readiness::Accepts(port))
}

fn config(port: u16) -> Result<String, std::fmt::Error> {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <gateway-config xmlns=\"http://xmlns.kaazing.org/2016/06/gateway\">\n"
        .to_owned();
    let services = [
        ("echo", "<type>echo</type>"),
        (
            "broadcast",
            "<connect>tcp://127.0.0.1:9</connect><type>broadcast</type><properties>\
             <on.client.message>broadcast</on.client.message></properties>",
        ),
    ];
    for (name, what) in services {
        writeln!(
            text,
            "<service><name>{name}</name><accept>ws://127.0.0.1:{port}/{name}</accept>{what}\
             <cross-site-constraint><allow-origin>*</allow-origin></cross-site-constraint></service>"
        )?;
    }
    text.push_str("</gateway-config>\n");
    Ok(text)
}

const LOG: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE log4j:configuration SYSTEM "log4j.dtd">
<log4j:configuration xmlns:log4j="http://jakarta.apache.org/log4j/">
  <appender name="C" class="org.apache.log4j.ConsoleAppender">
    <layout class="org.apache.log4j.PatternLayout"><param name="ConversionPattern" value="%p [%c] %m%n"/></layout>
  </appender>
  <root><priority value="error"/><appender-ref ref="C"/></root>
</log4j:configuration>
"#;
