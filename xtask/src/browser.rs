use crate::{failure::Outcome, gateway::Binaries, paths, shell, tools};

/// Drives the pages and @stomp/stompjs in a real browser; pictures go to `target/artefacts`.
pub(crate) fn run() -> Outcome {
    let chromium = tools::chromium()?;
    tools::proxies()?;
    let folder = paths::root().join("tests/browser");
    tools::npm_ci(&folder)?;
    let binaries = Binaries::build()?;
    let artefacts = paths::fresh_folder("artefacts")?;
    shell::run(
        tools::node()?
            .args(["--test", "--test-reporter=spec", "--test-concurrency=1"])
            .args([
                "trader.test.mjs",
                "slow-link.test.mjs",
                "pages.test.mjs",
                "paths.test.mjs",
                "stompjs.test.mjs",
            ])
            .current_dir(folder)
            .env("CHROMIUM", chromium)
            .env("PASSERELLE", binaries.gateway)
            .env("PASSERELLE_MARKET", binaries.market)
            .env("ARTEFACTS", artefacts)
            .env("LOGS", paths::folder("logs")?),
    )
}
