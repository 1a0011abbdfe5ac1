use crate::{failure::Outcome, paths, shell};

/// Checks that the fuzz targets compile; running them is in CONTRIBUTING.md.
pub(crate) fn check() -> Outcome {
    shell::run(
        shell::cargo()
            .args([
                "check",
                "--quiet",
                "--locked",
                "--manifest-path",
                "fuzz/Cargo.toml",
                "--target-dir",
            ])
            .arg(paths::target().join("fuzz")),
    )
}
