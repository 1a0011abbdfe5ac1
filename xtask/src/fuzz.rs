use crate::{failure::Outcome, paths, shell};

/// Checks that the fuzz targets compile; running them is in CONTRIBUTING.md.
pub(crate) fn check() -> Outcome {
    // Not locked: its lock file follows the dependencies of the crates that it tries.
    let mut check = shell::cargo();
    check.args(["check", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    shell::run(check.arg(paths::target().join("fuzz")))
}
