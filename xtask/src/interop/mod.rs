mod amqp;
mod autobahn;
mod tls;

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::{
    failure::{Failure, Outcome},
    gateway::{Binaries, Gateway},
    paths, shell,
    steps::Steps,
    tools,
};

/// Which suites, and how.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The suites; all of them when none is named
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Cores of the gateway; as CI has them when not given: 1 and then 4, or 4 alone
    #[arg(long)]
    threads: Option<u16>,
    /// As CI runs them: Autobahn with fewer messages in its deflate groups
    #[arg(long)]
    quick: bool,
}

/// A suite of third-party clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Suite {
    /// The Autobahn test suite against the echo service
    Autobahn,
    /// @stomp/stompjs over WebSocket: sessions, destinations, log-in, protocols that meet
    Stompjs,
    /// stomp.py over TCP and WebSocket
    Stomppy,
    /// rhea over TCP and WebSocket: AMQP 1.0; frames by hand that are wrong
    Rhea,
    /// Apache Qpid JMS over TCP, TLS and WebSocket, Qpid ProtonJ2, and the programs of examples/jms
    Jms,
    /// Qpid Proton for Python over TCP and TLS: AMQP 1.0
    Proton,
    /// Go's go-amqp over TCP, TLS and WebSocket: AMQP 1.0
    GoAmqp,
    /// Rust's fe2o3-amqp over TCP, TLS and WebSocket: AMQP 1.0; its codec against the gateway's
    Fe2o3,
    /// npm's ws, fetch and raw sockets: echo, broadcast, proxy, directory, origins, old drafts, bounds
    Services,
    /// Many clients at once: order, hand-over and counts across cores
    Cores,
    /// Peers that are slow, silent or gone, and the gateway's own end
    Peers,
    /// nginx, HAProxy and Caddy in front: pages, WebSocket, POST, as the documentation configures them
    Proxies,
    /// The suites of Node, stomp.py and Autobahn over TLS
    Tls,
    /// sslyze: nothing below Mozilla's "intermediate" profile
    Sslyze,
}

impl Suite {
    /// All of them, quick ones first.
    pub(crate) const ALL: [Self; 14] = [
        Self::Services,
        Self::Stompjs,
        Self::Stomppy,
        Self::Rhea,
        Self::Proton,
        Self::GoAmqp,
        Self::Fe2o3,
        Self::Jms,
        Self::Cores,
        Self::Peers,
        Self::Proxies,
        Self::Sslyze,
        Self::Tls,
        Self::Autobahn,
    ];

    /// The name of the step that runs it.
    pub(crate) fn step(self, threads: u16) -> String {
        let name = format!("{self:?}").to_lowercase();
        let cores = if threads == 1 { "core" } else { "cores" };
        format!("interop: {name}, {threads} {cores}")
    }

    /// The cores that gateways have for it, whatever the machine has: one and several, where that may
    /// matter. It does not below the broker, what TLS carries was carried on one without, and what other clients
    /// say by AMQP rhea says too.
    pub(crate) const fn threads(self) -> &'static [u16] {
        match self {
            Self::Autobahn
            | Self::Fe2o3
            | Self::GoAmqp
            | Self::Jms
            | Self::Proton
            | Self::Proxies
            | Self::Sslyze
            | Self::Tls => &[4],
            Self::Stompjs
            | Self::Stomppy
            | Self::Rhea
            | Self::Services
            | Self::Cores
            | Self::Peers => &[1, 4],
        }
    }

    /// Runs it against a gateway with `threads` threads.
    pub(crate) fn run(self, threads: u16, quick: bool) -> Outcome {
        match self {
            Self::Autobahn => autobahn::run(threads, quick, None),
            Self::Stomppy => stomppy(threads, None),
            Self::Sslyze => tls::sslyze(threads),
            Self::Stompjs => node(threads, STOMPJS, None),
            Self::Rhea => node(threads, RHEA, None),
            Self::Jms => jms(threads),
            Self::Proton => amqp::proton(threads),
            Self::GoAmqp => amqp::go(threads),
            Self::Fe2o3 => amqp::fe2o3(threads),
            Self::Services if threads == 1 => node(threads, &[SERVICES, PLAIN].concat(), None),
            Self::Services => node(threads, &[SERVICES, PLAIN, HTTP, RELAYS].concat(), None),
            Self::Cores => node(threads, CORES, None),
            Self::Peers => node(threads, PEERS, None),
            Self::Proxies => proxies(threads),
            Self::Tls => {
                let certificate = tls::certificate()?;
                let files = [STOMPJS, RHEA, SERVICES, HTTP, CORES, PEERS].concat();
                node(threads, &files, Some(&certificate))?;
                stomppy(threads, Some(&certificate))?;
                autobahn::run(threads, true, Some(&certificate))
            }
        }
    }
}

/// Runs suites by name.
pub(crate) fn run(options: &Options) -> Outcome {
    paths::fresh_folder("logs")?;
    let mut steps = Steps::default();
    let suites: &[Suite] =
        if options.suites.is_empty() { &Suite::ALL } else { options.suites.as_slice() };
    for suite in suites {
        for threads in options.threads.map_or_else(|| suite.threads().to_vec(), |n| vec![n]) {
            steps.run(&suite.step(threads), || suite.run(threads, options.quick));
        }
    }
    steps.finish()
}

const STOMPJS: &[&str] = &[
    "session",
    "destinations",
    "settlement",
    "shared",
    "dead-letters",
    "delays",
    "attempts",
    "browsing",
    "clients",
    "durable",
    "jms",
    "messages",
    "opening",
    "persistence",
    "producers",
    "groups",
    "exclusive",
    "selectors",
    "transactions",
    "login",
    "reload",
    "flood",
    "meeting",
];
const RHEA: &[&str] = &["amqp", "frames", "windows"];
const SERVICES: &[&str] = &["services", "pubsub", "operation", "operators"];
/// What knows nothing of the broker: once, whatever the number of cores.
const HTTP: &[&str] = &["directory", "pages", "requests", "origins", "host", "drafts"];
const CORES: &[&str] = &["cores"];
const PEERS: &[&str] = &["peers", "endings", "drain", "assembly"];
/// Files of `tests/interop/proxies`.
const PROXIES: &[&str] = &["addresses", "proxies", "restarts", "upstreams"];
/// Nor does this, and not repeated over TLS: what the README shows has none, and relays have their own.
const RELAYS: &[&str] = &["readme", "proxied", "upstreams", "websocket-upstreams"];
/// Not repeated over TLS: these bounds know nothing of it.
const PLAIN: &[&str] = &["bounds", "inbound", "limits", "quotas", "readers", "resting", "slow"];

/// Files of `tests/interop/node`; each starts the gateways that it needs, with TLS when there is a
/// folder with its certificate.
fn node(threads: u16, files: &[&str], certificate: Option<&Path>) -> Outcome {
    let folder = paths::root().join("tests/interop/node");
    tools::npm_ci(&folder)?;
    if files.contains(&"drafts") {
        tools::ruby("em-websocket", "apt-get install ruby ruby-em-websocket")?;
    }
    let binaries = Binaries::build()?;
    let mut node = tools::node()?;
    if let Some(certificate) = certificate {
        node.env("TLS", certificate).env("NODE_EXTRA_CA_CERTS", certificate.join("ca.pem"));
    }
    shell::run(
        node.args(["--test", "--test-reporter=spec", "--test-concurrency=2"])
            .args(files.iter().map(|file| format!("{file}.test.mjs")))
            .current_dir(folder)
            .env("PASSERELLE", binaries.gateway)
            .env("THREADS", threads.to_string())
            .env("LOGS", paths::folder("logs")?),
    )
}

/// `tests/interop/proxies`, which starts its gateways and what stands in front of them.
fn proxies(threads: u16) -> Outcome {
    tools::proxies()?;
    let certificate = tls::certificate()?;
    let folder = paths::root().join("tests/interop");
    // The clients are those of the other suites.
    tools::npm_ci(&folder.join("node"))?;
    let binaries = Binaries::build()?;
    shell::run(
        tools::node()?
            .args(["--test", "--test-reporter=spec", "--test-concurrency=2"])
            .args(PROXIES.iter().map(|file| format!("{file}.test.mjs")))
            .current_dir(folder.join("proxies"))
            .env("PASSERELLE", binaries.gateway)
            .env("CERTIFICATE", certificate)
            .env("THREADS", threads.to_string())
            .env("LOGS", paths::folder("logs")?),
    )
}

/// `tests/interop/jms`, which starts its gateways; a part of it once more with the client for JMS 2.0.
fn jms(threads: u16) -> Outcome {
    if !shell::is_there("mvn") {
        return Err(Failure::missing("Maven", "apt-get install maven default-jdk-headless"));
    }
    let binaries = Binaries::build()?;
    let profiles: [&[&str]; 2] = [&[], &["-Pjavax"]];
    for profile in profiles {
        shell::run(
            shell::command("mvn")
                .args(["--batch-mode", "--no-transfer-progress", "test"])
                .args(profile)
                .current_dir(paths::root().join("tests/interop/jms"))
                .env("PASSERELLE", &binaries.gateway)
                .env("THREADS", threads.to_string()),
        )?;
    }
    Ok(())
}

/// `tests/interop/python`, against one gateway.
fn stomppy(threads: u16, certificate: Option<&Path>) -> Outcome {
    let bin = tools::python(
        "stomppy",
        &["stomp.py==9.0.0", "scramp==1.5.0", "websocket-client", "pytest==9.2.0"],
    )?;
    let binaries = Binaries::build()?;
    let name = name("stomppy", threads, certificate);
    let configuration = standard(threads, certificate) + SCRAM_USER;
    let gateway = Gateway::start(&binaries, &name, &configuration)?;
    let mut pytest = shell::command(bin.join("pytest"));
    pytest.args(["--quiet", "-p", "no:cacheprovider"]);
    match certificate {
        None => pytest.arg("tests/interop/python"),
        // What the README shows goes to a gateway without.
        Some(certificate) => pytest
            .args(
                ["test_stomppy.py", "test_scram.py"]
                    .map(|file| format!("tests/interop/python/{file}")),
            )
            .env("GATEWAY_CERTIFICATE", certificate.join("ca.pem"))
            .env("SSL_CERT_FILE", certificate.join("ca.pem")),
    };
    shell::run(pytest.env("PYTHONDONTWRITEBYTECODE", "1").env("GATEWAY", &gateway.authority))
}

/// The user of `test_scram.py`: verifiers of the password `secret`.
const SCRAM_USER: &str = r#"
[[user]]
name = "scram"
[user.password]
scram-sha-1 = "SCRAM-SHA-1$4096:c2FsdHNhbHRzYWx0c2FsdA==$rDEFCUExgaG3sJdXCceJEWtQAMA=:slSXyd5ql3g7UWtr94XvgGzqDcY="
scram-sha-256 = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$Ce3wZiZ+yIBCjltccfRiqM0+XDsLE3qPdkEeZKe3hus=:k3q4nlLsA09ST5FLo9zNmfyXR+Ci1J4KmBK5JRVSxeI="
"#;

/// How a suite's files are called.
fn name(suite: &str, threads: u16, certificate: Option<&Path>) -> String {
    format!("{suite}{}-{threads}", if certificate.is_some() { "-tls" } else { "" })
}

/// The default services on a free port, with TLS when there is a folder with its certificate.
fn standard(threads: u16, certificate: Option<&Path>) -> String {
    let tls = certificate.map_or_else(String::new, |folder| {
        let (certificate, key) = (folder.join("gw.pem"), folder.join("gw.key"));
        format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}\n")
    });
    format!("threads = {threads}\n\n[[listen]]\naddress = \"127.0.0.1:0\"\n{tls}")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, error::Error, fs};

    use super::*;

    #[test]
    fn no_file_of_tests_is_forgotten() -> Result<(), Box<dyn Error>> {
        let node = [STOMPJS, RHEA, SERVICES, HTTP, CORES, PEERS, PLAIN, RELAYS].concat();
        for (folder, run) in [("node", node), ("proxies", PROXIES.to_vec())] {
            let mut files = BTreeSet::new();
            for entry in fs::read_dir(paths::root().join("tests/interop").join(folder))? {
                let name = entry?.file_name().into_string().unwrap_or_default();
                files.extend(name.strip_suffix(".test.mjs").map(str::to_owned));
            }
            let run: BTreeSet<_> = run.into_iter().map(str::to_owned).collect();
            assert_eq!(run, files, "{folder}");
        }
        Ok(())
    }
}
