//! Says which commit a release is built from, where that is known: by the variable `PASSERELLE_COMMIT`, by
//! git, or by what `git archive` has written into `commit.txt`. A debug build does not say it, and so is not
//! built again with each commit.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=PASSERELLE_COMMIT");
    println!("cargo::rerun-if-changed=commit.txt");
    println!("cargo::rerun-if-changed=build.rs");
    let version = env::var_os("CARGO_PKG_VERSION").unwrap_or_default();
    let version = version.to_string_lossy();
    let version = match commit() {
        Some(commit) => format!("{version} ({commit})"),
        None => version.into_owned(),
    };
    println!("cargo::rustc-env=PASSERELLE_VERSION={version}");
}

fn commit() -> Option<String> {
    let named =
        env::var_os("PASSERELLE_COMMIT").map(|commit| commit.to_string_lossy().into_owned());
    let is_release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let commit = named.or_else(of_archive).or_else(|| of_git().filter(|_| is_release))?;
    let commit: String = commit.trim().chars().take(LENGTH).collect();
    commit.chars().all(|c| c.is_ascii_hexdigit()).then_some(commit).filter(|it| !it.is_empty())
}

/// What `git archive` has written.
fn of_archive() -> Option<String> {
    fs::read_to_string("commit.txt").ok().filter(|text| !text.starts_with('$'))
}

/// The commit that is checked out, if this is the repository's own folder: an archive may have been
/// unpacked in another's.
fn of_git() -> Option<String> {
    let root = Path::new("../..").canonicalize().ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(top.trim()).canonicalize().ok()? != root {
        return None;
    }
    // Both change with what is checked out. One that is not there would make every build a new one.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(path.trim()).exists() {
            println!("cargo::rerun-if-changed={}", path.trim());
        }
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

/// Digits that are shown.
const LENGTH: usize = 12;
