//! Counting under disorder: `tests/disorder`, run.
use crate::{failure::Outcome, gateway::Binaries, paths, shell, tools};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// For how many minutes; each is a round with a seed of its own
    #[arg(long, default_value_t = 1)]
    minutes: u32,
    /// The seed of the first round, to repeat one; at random when not given
    #[arg(long)]
    seed: Option<u32>,
    /// Test for what the gateway does not do right yet, by the name of the fault (may be given
    /// more than once)
    #[arg(long, value_name = "NAME")]
    right: Vec<String>,
}

impl Options {
    /// What `cargo xtask test` runs.
    pub(crate) fn quick() -> Self {
        Self { minutes: 1, seed: None, right: Vec::new() }
    }
}

/// Lets clients send, settle and fail at random, and checks that each message is accounted for.
pub(crate) fn run(options: &Options) -> Outcome {
    let folder = paths::root().join("tests/disorder");
    // The clients are those of the other suites.
    tools::npm_ci(&paths::root().join("tests/interop/node"))?;
    let binaries = Binaries::build()?;
    shell::run(tools::node()?.args(["--test", "--test-reporter=spec"]).current_dir(&folder))?;
    let mut disorder = tools::node()?;
    disorder.args(["disorder.mjs", "--minutes", &options.minutes.to_string()]).current_dir(folder);
    if let Some(seed) = options.seed {
        disorder.arg("--seed").arg(seed.to_string());
    }
    for name in &options.right {
        disorder.args(["--right", name]);
    }
    shell::run(disorder.env("PASSERELLE", binaries.gateway).env("LOGS", paths::folder("logs")?))
}
