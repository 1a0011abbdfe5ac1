//! Shorter suites of AMQP 1.0 clients, each against a gateway without TLS and one with it.

use std::{path::Path, process::Command};

use super::{standard, tls};
use crate::{
    failure::{Failure, Outcome},
    gateway::{Binaries, Gateway},
    paths, shell, tools,
};

/// `tests/interop/proton`: Apache Qpid Proton for Python.
pub(super) fn proton(threads: u16) -> Outcome {
    const BUILT_FROM: &str = "apt-get install gcc python3-dev libssl-dev pkg-config";
    let packages = ["python-qpid-proton==0.40.0", "pytest==9.2.0"];
    let bin = tools::python("proton", &packages).map_err(|failure| match failure {
        Failure::Failed(what) => Failure::Failed(format!("{what}; Proton is built: {BUILT_FROM}")),
        missing @ Failure::Missing(_) => missing,
    })?;
    // Without OpenSSL at hand it is built without TLS, and nothing says so.
    let with_tls = "import proton, sys; sys.exit(not proton.SSL.present())";
    if shell::run(shell::command(bin.join("python")).args(["-c", with_tls])).is_err() {
        let remedy = format!("{BUILT_FROM}, and remove target/tools/proton");
        return Err(Failure::missing("Qpid Proton with TLS", &remedy));
    }
    against_gateways("proton", threads, || {
        let mut pytest = shell::command(bin.join("pytest"));
        pytest.args(["--quiet", "-p", "no:cacheprovider", "tests/interop/proton"]);
        pytest.env("PYTHONDONTWRITEBYTECODE", "1");
        pytest
    })
}

/// `tests/interop/go`: go-amqp.
pub(super) fn go(threads: u16) -> Outcome {
    if !shell::is_there("go") {
        return Err(Failure::missing("Go 1.21 or newer", "apt-get install golang-go"));
    }
    against_gateways("go-amqp", threads, || {
        let mut go = shell::command("go");
        // Not from the cache: what is tried is not a file of Go's.
        go.args(["test", "-count=1", "-mod=readonly", "./..."]);
        go.current_dir(paths::root().join("tests/interop/go"));
        go
    })
}

/// `tests/interop/fe2o3`: fe2o3-amqp, and its codec against the gateway's.
pub(super) fn fe2o3(threads: u16) -> Outcome {
    // Not locked: its lock file follows the dependencies of the crates that it tries.
    let test = |arguments: &[&str]| {
        let mut cargo = shell::cargo();
        cargo.args(["test", "--quiet", "--manifest-path", "tests/interop/fe2o3/Cargo.toml"]);
        cargo.arg("--target-dir").arg(paths::target().join("fe2o3")).args(arguments);
        cargo
    };
    // Compiled first, so that no gateway waits for it.
    shell::run(&mut test(&["--no-run"]))?;
    against_gateways("fe2o3", threads, || test(&[]))
}

/// Runs a suite that finds its gateways in the environment.
fn against_gateways(suite: &str, threads: u16, command: impl FnOnce() -> Command) -> Outcome {
    let certificate = tls::certificate()?;
    let binaries = Binaries::build()?;
    let start = |certificate: Option<&Path>| {
        let name = super::name(suite, threads, certificate);
        let store = paths::fresh_folder(&format!("stores/{name}"))?;
        let store = format!("\n[store]\npath = {store:?}\n");
        let configuration = standard(threads, certificate) + &store + USER_AND_RULES;
        Gateway::start(&binaries, &name, &configuration)
    };
    let (plain, secured) = (start(None)?, start(Some(&certificate))?);
    shell::run(
        command()
            .env("GATEWAY", &plain.authority)
            .env("GATEWAY_TLS", &secured.authority)
            .env("GATEWAY_CERTIFICATE", certificate.join("ca.pem")),
    )
}

/// The user's password is `secret`.
const USER_AND_RULES: &str = r#"
[[user]]
name = "ann"
[user.password]
argon2id = "$argon2id$v=19$m=19456,t=2,p=1$zJiqJNqLtIqSWexqAohYXw$oDMAwrPWieuFD+l8dibEFfcvKWRfhJIjA58sTQJzeDo"
scram-sha-256 = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$Ce3wZiZ+yIBCjltccfRiqM0+XDsLE3qPdkEeZKe3hus=:k3q4nlLsA09ST5FLo9zNmfyXR+Ci1J4KmBK5JRVSxeI="

[[access]]
destination = "/queue/forbidden.>"

[[access]]
destination = ">"
subscribe = ["*"]
send = ["*"]
"#;
