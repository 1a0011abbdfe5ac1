use crate::{
    failure::{Failure, Outcome},
    shell,
    steps::Steps,
    tools,
};

/// Formatting, lints, documentation, spelling, manifests, licences.
pub(crate) fn steps(steps: &mut Steps) {
    steps.run("lint: format", format);
    steps.run("lint: clippy", clippy);
    steps.run("lint: documentation", documentation);
    steps.run("lint: spelling", spelling);
    steps.run("lint: manifests", manifests);
    steps.run("lint: unused dependencies", unused);
}

/// Licences, sources and banned crates.
pub(crate) fn deny() -> Outcome {
    let deny = tools::cargo_tool("cargo-deny", "0.20.2")?;
    shell::run(shell::command(deny).args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}

fn format() -> Outcome {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
        .map_err(|_| Failure::failed("run `cargo fmt --all`"))
}

fn clippy() -> Outcome {
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

/// The documentation is the project's own: it shows, and may link to, what is private.
fn documentation() -> Outcome {
    let mut doc = shell::cargo();
    doc.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--quiet",
        "--locked",
    ]);
    doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    shell::run(&mut doc)
}

fn spelling() -> Outcome {
    shell::run(&mut shell::command(lint_tool("typos")?))
}

fn manifests() -> Outcome {
    shell::run(shell::command(lint_tool("taplo")?).args(["fmt", "--check", "--diff"]))
        .map_err(|_| Failure::failed("run `target/tools/lint/bin/taplo fmt`"))
}

fn unused() -> Outcome {
    let machete = tools::cargo_tool("cargo-machete", "0.9.2")?;
    shell::run(&mut shell::command(machete))
}

fn lint_tool(name: &str) -> Outcome<std::path::PathBuf> {
    Ok(tools::python("lint", &["typos==1.52.0", "taplo==0.9.3"])?.join(name))
}
