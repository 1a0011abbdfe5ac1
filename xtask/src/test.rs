use clap::Args;

use crate::{
    browser, chaos, disorder, failure::Outcome, fuzz, gateway::Binaries, interop::Suite, lint,
    paths, shell, steps::Steps, tidy, web,
};

/// What to test.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run only the steps whose name begins with this; may be given more than once
    #[arg(long)]
    only: Vec<String>,
    /// Name the steps, run none
    #[arg(long)]
    list: bool,
}

/// Runs everything that CI runs.
pub(crate) fn run(options: &Options) -> Outcome {
    paths::fresh_folder("logs")?;
    let mut steps = Steps::some(&options.only, options.list);
    steps.run("build: web pages", web::build);
    lint::steps(&mut steps);
    steps.run("tidy", tidy::run);
    steps.run("web", web::check);
    steps.run("unit tests", unit_tests);
    steps.run("fuzz targets compile", fuzz::check);
    steps.run("build: gateway", || Binaries::build().map(drop));
    for suite in Suite::ALL {
        for &threads in suite.threads() {
            steps.run(&suite.step(threads), || suite.run(threads, true));
        }
    }
    steps.run("chaos", || chaos::run(&chaos::Options::quick()));
    steps.run("kill", || chaos::kill(&chaos::Kill::quick()));
    steps.run("disorder", || disorder::run(&disorder::Options::quick()));
    steps.run("browser", browser::run);
    steps.finish()
}

fn unit_tests() -> Outcome {
    let mut tests = shell::cargo();
    tests.args(["test", "--workspace", "--quiet", "--locked"]).env("SIMULATION_SEEDS", "2000");
    shell::run(&mut tests)
}
