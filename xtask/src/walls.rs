use std::fs;

use crate::{
    failure::{Doing as _, Outcome},
    paths,
};

/// What each crate may depend on of the others, as `ARCHITECTURE.md` draws it. None points back.
const WALLS: &[(&str, &[&str])] = &[
    ("contract", &[]),
    ("wire", &[]),
    ("logging", &[]),
    ("protocols/broadcast", &["contract", "wire"]),
    ("protocols/echo", &["contract", "wire"]),
    ("protocols/stomp", &["contract", "wire"]),
    ("protocols/websocket", &["contract", "wire"]),
    ("auth", &["contract"]),
    ("broker", &["contract", "wire"]),
    ("config", &["auth", "contract"]),
    ("transports", &["contract", "wire"]),
    ("drive", &["auth", "broker", "contract", "transports", "websocket", "wire"]),
    (
        "http",
        &["auth", "broker", "config", "contract", "drive", "logging", "transports", "websocket"],
    ),
];

/// Checks that no crate depends on one that it is not to know. The shell, the tools and what tests
/// need are free.
pub(crate) fn check(faults: &mut Vec<String>) -> Outcome {
    let workspace = paths::root().join("Cargo.toml");
    let text = fs::read_to_string(&workspace).doing(workspace.display())?;
    let crates: Vec<_> = text
        .lines()
        .filter(|line| line.contains("path = \"crates/"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    for (folder, allowed) in WALLS {
        let manifest = paths::root().join("crates").join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).doing(manifest.display())?;
        let forbidden = dependencies(&text)
            .filter(|name| crates.contains(name) && !allowed.contains(name))
            .map(|name| format!("crates/{folder} depends on {name}, which it is not to know"));
        faults.extend(forbidden);
    }
    Ok(())
}

/// The names in the section `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', ' ', '=']).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_dependencies_of_a_manifest() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nb.workspace = true\n\
                        c = { path = \"../c\" }\n\n[dev-dependencies]\nd.workspace = true\n";
        let found: Vec<_> = dependencies(manifest).filter(|name| !name.is_empty()).collect();
        assert_eq!(found, ["b", "c"]);
    }
}
