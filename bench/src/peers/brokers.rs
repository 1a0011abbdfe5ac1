//! Brokers that a distribution or a registry brings.
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Places;
use crate::{
    dialect::{Dialect, payload, step, upgrade},
    load::encode,
    plan::{Frame, Framing},
    server::{Readiness, Server, free_port, run},
};

/// Debian's NATS server, over WebSocket.
pub(crate) fn nats(places: &Places, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    let program = installed("nats-server", "nats-server")?;
    let (port, own) = (free_port()?, free_port()?);
    let file = places.work.join("nats.conf");
    let config = format!(
        "listen: \"127.0.0.1:{own}\"\nping_interval: \"1h\"\nmax_connections: 70000\n\
         websocket {{ listen: \"127.0.0.1:{port}\", no_tls: true }}\n"
    );
    fs::write(&file, config)?;
    Server::start(Command::new(program).arg("-c").arg(&file), cores, Readiness::Accepts(port))
}

/// One subject of NATS.
pub(crate) fn nats_subject(len: usize) -> Dialect {
    let connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n";
    let publisher =
        vec![upgrade("/", None), step(Frame::Binary, format!("{connect}PING\r\n"), "PONG\r\n")];
    let subscribe = step(Frame::Binary, format!("{connect}SUB t 1\r\nPING\r\n"), "PONG\r\n");
    let message = [format!("PUB t {len}\r\n").as_bytes(), &payload(len), b"\r\n"].concat();
    Dialect {
        framing: Framing::WebSocket,
        opening: vec![upgrade("/", None), subscribe],
        publisher,
        message: encode(Frame::Binary, &message),
        comes_back: false,
    }
}

/// Debian's Mosquitto, over WebSocket.
pub(crate) fn mosquitto(places: &Places, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    let program = installed("mosquitto", "mosquitto")?;
    let (port, tcp) = (free_port()?, free_port()?);
    let file = places.work.join("mosquitto.conf");
    // It refuses to start with WebSocket listeners alone.
    let config = format!(
        "listener {tcp} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\nuser root\n\
         max_queued_messages 0\nset_tcp_nodelay true\n"
    );
    fs::write(&file, config)?;
    Server::start(Command::new(program).arg("-c").arg(&file), cores, Readiness::Accepts(port))
}

/// One topic of MQTT 3.1.1, with QoS 0.
pub(crate) fn mqtt_topic(len: usize) -> Dialect {
    let connect = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0".as_slice();
    let subscribe = b"\x82\x06\0\x01\0\x01t\0".as_slice();
    let publisher =
        vec![upgrade("/", Some("mqtt")), step(Frame::Binary, connect, b"\x20\x02\0\0".as_slice())];
    let mut opening = publisher.clone();
    opening.push(step(Frame::Binary, subscribe, b"\x90\x03\0\x01\0".as_slice()));
    let remaining = u8::try_from(len + 3).unwrap_or(127);
    let message = [&[0x30, remaining, 0, 1, b't'], payload(len).as_slice()].concat();
    Dialect {
        framing: Framing::WebSocket,
        opening,
        publisher,
        message: encode(Frame::Binary, &message),
        comes_back: false,
    }
}

/// Debian's nginx with the module nchan: what one sends to the path all get who are there.
pub(crate) fn nchan(places: &Places, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
    let program = installed("nginx", "nginx libnginx-mod-nchan")?;
    if !Path::new(MODULE).exists() {
        return Err("it is not there; install it with: apt-get install libnginx-mod-nchan".into());
    }
    let port = free_port()?;
    let folder = fs::canonicalize(folder(places, "nginx")?)?;
    let config = format!(
        "load_module {MODULE};\nuser root;\ndaemon off;\nworker_processes 1;\n\
         worker_rlimit_nofile 20000;\npid {0}/pid;\nerror_log {0}/error.log error;\n\
         events {{ worker_connections 20000; }}\n\
         http {{\n  access_log off;\n  nchan_max_reserved_memory 256M;\n  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    \
         location / {{ nchan_subscriber websocket; nchan_channel_id b; nchan_subscriber_first_message newest; }}\n    \
         location /publish {{ nchan_publisher websocket; nchan_channel_id b; nchan_message_buffer_length 16; }}\n  }}\n}}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&folder).arg("-c").arg(&file);
    Server::start(&mut command, cores, Readiness::Accepts(port))
}

/// One channel of nchan.
pub(crate) fn nchan_channel(len: usize) -> Dialect {
    Dialect {
        framing: Framing::WebSocket,
        opening: vec![upgrade("/", None)],
        publisher: vec![upgrade("/publish", None)],
        message: encode(Frame::Text, &payload(len)),
        comes_back: false,
    }
}

/// Debian's RabbitMQ with web-stomp.
pub(crate) fn rabbitmq(places: &Places, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
    if !Path::new(PROGRAM).exists() {
        return Err("it is not there; install it with: apt-get install rabbitmq-server".into());
    }
    let (port, amqp, stomp, distribution) =
        (free_port()?, free_port()?, free_port()?, free_port()?);
    let folder = fs::canonicalize(folder(places, "rabbitmq")?)?;
    fs::write(folder.join("enabled_plugins"), "[rabbitmq_web_stomp].\n")?;
    let config = format!(
        "listeners.tcp.local = 127.0.0.1:{amqp}\nstomp.listeners.tcp.1 = 127.0.0.1:{stomp}\n\
         web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = {port}\n\
         web_stomp.tcp.backlog = 4096\nweb_stomp.cowboy_opts.idle_timeout = 3600000\n\
         log.console = false\nlog.file.level = error\n"
    );
    fs::write(folder.join("rabbitmq.conf"), config)?;
    let mut command = Command::new(PROGRAM);
    command
        .env("HOME", &folder)
        .env("RABBITMQ_NODENAME", format!("bench{}@localhost", std::process::id()))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string());
    Server::start(&mut command, cores, Readiness::Accepts(port))
}

/// Apache Artemis from Maven Central: STOMP over WebSocket.
pub(crate) fn artemis(places: &Places, cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    artemis_with(places, cores, &["--no-autotune"], STOMP)
}

/// The same with its journal as `artemis create` measures and makes it.
pub(crate) fn artemis_with_journal(
    places: &Places,
    cores: &[usize],
) -> Result<Server, Box<dyn Error>> {
    artemis_with(places, cores, &[], STOMP)
}

/// The same with AMQP.
pub(crate) fn artemis_with_amqp(
    places: &Places,
    cores: &[usize],
) -> Result<Server, Box<dyn Error>> {
    // Subscribers that say nothing are not idle.
    artemis_with(places, cores, &[], "protocols=AMQP;amqpIdleTimeout=0")
}

const STOMP: &str =
    "protocols=STOMP;multicastPrefix=/topic/;anycastPrefix=/queue/;connectionTtl=3600000";

fn artemis_with(
    places: &Places,
    cores: &[usize],
    more: &[&str],
    protocol: &str,
) -> Result<Server, Box<dyn Error>> {
    const VERSION: &str = "2.44.0";
    installed("java", "openjdk-17-jre-headless")?;
    let work = fs::canonicalize(&places.work)?;
    let home = work.join(format!("artemis-home/apache-artemis-{VERSION}"));
    if !home.exists() {
        installed("mvn", "maven")?;
        run(Command::new("mvn")
            .args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:unpack"])
            .arg(format!("-Dartifact=org.apache.activemq:apache-artemis:{VERSION}:zip:bin"))
            .arg(format!("-DoutputDirectory={}", work.join("artemis-home").display()))
            .current_dir(&work))?;
    }
    let port = free_port()?;
    let instance = work.join(format!("artemis-{}", std::process::id()));
    if instance.exists() {
        fs::remove_dir_all(&instance)?;
    }
    run(Command::new("sh")
        .arg(home.join("bin/artemis"))
        .args(["create", "--silent", "--user", "u", "--password", "p", "--allow-anonymous"])
        .args(more)
        .args(["--no-web", "--no-amqp-acceptor", "--no-hornetq-acceptor"])
        .args([
            "--no-mqtt-acceptor",
            "--no-stomp-acceptor",
            "--host",
            "127.0.0.1",
            "--default-port",
            "0",
        ])
        .arg(&instance))?;
    let file = instance.join("etc/broker.xml");
    let config = fs::read_to_string(&file)?;
    let acceptor = format!(
        "<acceptors><acceptor name=\"bench\">tcp://127.0.0.1:{port}?{protocol};backlog=4096</acceptor></acceptors>"
    );
    let (before, rest) = config.split_once("<acceptors>").ok_or("no acceptors in broker.xml")?;
    let (_, after) = rest.split_once("</acceptors>").ok_or("no end of acceptors in broker.xml")?;
    fs::write(&file, [before, &acceptor, after].concat())?;
    Server::start(
        Command::new("sh").arg(instance.join("bin/artemis")).arg("run"),
        cores,
        Readiness::Accepts(port),
    )
}

/// An installed program, or how to get it.
pub(crate) fn installed(program: &str, packages: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            format!("it is not there; install it with: apt-get install {packages}").into()
        })
}

fn folder(places: &Places, name: &str) -> std::io::Result<PathBuf> {
    let folder = places.work.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
