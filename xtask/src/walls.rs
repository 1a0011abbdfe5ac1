use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    failure::{Doing as _, Outcome},
    paths,
};

/// What each crate in `crates` may depend on of the others, as `ARCHITECTURE.md` draws it. None
/// points back.
const WALLS: &[(&str, &[&str])] = &[
    ("amqp-types", &["wire"]),
    ("contract", &["amqp-types", "selector", "wire"]),
    ("selector", &[]),
    ("wire", &[]),
    ("logging", &[]),
    ("auth", &["contract"]),
    ("broker", &["contract", "wire"]),
    ("config", &["auth", "contract"]),
    ("store", &["broker", "contract", "wire"]),
    ("transports", &["contract", "wire"]),
    ("drive", &["auth", "broker", "contract", "transports", "websocket", "wire"]),
    (
        "http",
        &["auth", "broker", "config", "contract", "drive", "logging", "transports", "websocket"],
    ),
];

/// What each crate in `crates/protocols` may depend on.
const PROTOCOLS: &[&str] = &["amqp-types", "contract", "wire"];

/// Those that may depend on any other: the shell, the clients, and what tests require.
const FREE: &[&str] = &["server", "demo", "testkit"];

/// Checks that no crate depends on one that it is not to know.
pub(crate) fn check(faults: &mut Vec<String>) -> Outcome {
    let workspace = paths::root().join("Cargo.toml");
    let text = fs::read_to_string(&workspace).doing(workspace.display())?;
    let crates: Vec<_> = text
        .lines()
        .filter(|line| line.contains("path = \"crates/"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    for (folder, allowed) in bounded(faults)? {
        let manifest = folder.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).doing(manifest.display())?;
        let shown = folder.strip_prefix(paths::root()).unwrap_or(&folder).display();
        let forbidden = dependencies(&text)
            .filter(|name| crates.contains(name) && !allowed.contains(name))
            .map(|name| format!("{shown} depends on {name}, which it is not to know"));
        faults.extend(forbidden);
    }
    Ok(())
}

/// The folders of the crates that may not depend on all others, and on which they may.
fn bounded(faults: &mut Vec<String>) -> Outcome<Vec<(PathBuf, &'static [&'static str])>> {
    let protocols = protocols()?.into_iter();
    let mut bounded: Vec<_> = protocols.map(|folder| (folder, PROTOCOLS)).collect();
    for folder in crates_in("crates")? {
        let name = name(&folder);
        match WALLS.iter().find(|(crate_name, _)| *crate_name == name) {
            Some((_, allowed)) => bounded.push((folder, *allowed)),
            None if FREE.contains(&&*name) => {}
            None => faults.push(format!(
                "crates/{name}: say in xtask/src/walls.rs on which crates it may depend"
            )),
        }
    }
    Ok(bounded)
}

/// The folders of the protocols' crates.
pub(crate) fn protocols() -> Outcome<Vec<PathBuf>> {
    crates_in("crates/protocols")
}

/// The name of a folder.
pub(crate) fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn crates_in(parent: &str) -> Outcome<Vec<PathBuf>> {
    let parent = paths::root().join(parent);
    let mut folders = Vec::new();
    for entry in fs::read_dir(&parent).doing(parent.display())? {
        let folder = entry.doing(parent.display())?.path();
        if folder.join("Cargo.toml").is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The names of what a manifest depends on: in every section of dependencies, those of targets
/// among them, but those of tests.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut is_listed = false;
    manifest.lines().filter_map(move |line| {
        let Some(section) = line.strip_prefix('[') else {
            return line.split(['.', ' ', '=']).next().filter(|_| is_listed);
        };
        let section = section.trim_end_matches(']');
        is_listed = lists_dependencies(section);
        section.rsplit_once('.').and_then(|(list, name)| lists_dependencies(list).then_some(name))
    })
}

fn lists_dependencies(section: &str) -> bool {
    matches!(section.rsplit('.').next(), Some("dependencies" | "build-dependencies"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_dependencies_of_a_manifest() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nb.workspace = true\n\
                        c = { path = \"../c\" }\n\n[dev-dependencies]\nd.workspace = true\n\n\
                        [build-dependencies]\ne.workspace = true\n\n\
                        [target.'cfg(unix)'.dependencies]\nf = \"1.0\"\n\n\
                        [dependencies.g]\npath = \"../g\"\n\n[features]\nh = []\n";
        let found: Vec<_> = dependencies(manifest).filter(|name| !name.is_empty()).collect();
        assert_eq!(found, ["b", "c", "e", "f", "g"]);
    }
}
