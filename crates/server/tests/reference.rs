//! `docs/command-line.md` has what `--help` says. With `UPDATE_DOCS=1` it is written there.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{env, fmt::Write as _, fs, path::Path, process::Command};

const COMMANDS: [&str; 13] = [
    "",
    "serve",
    "demo",
    "check",
    "init",
    "pub",
    "sub",
    "password",
    "store",
    "store check",
    "store dump",
    "store compact",
    "completions",
];

#[test]
fn the_page_has_what_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/command-line.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, found) = page.split_once(HEADING).unwrap();
    let mut expected = String::from("\n");
    for command in COMMANDS {
        let name = format!("passerelle {command}");
        let help = help(command);
        write!(expected, "\n### {}\n\n```text\n{}\n```\n", name.trim_end(), help.trim_end())
            .unwrap();
    }
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{HEADING}{expected}")).unwrap();
    } else {
        assert!(
            found == expected,
            "write the page anew: UPDATE_DOCS=1 cargo test -p passerelle --test reference"
        );
    }
}

#[test]
fn the_page_has_all_commands() {
    let all = help("");
    let (_, commands) = all.split_once("Commands:\n").unwrap();
    let names = commands.lines().take_while(|line| line.starts_with("  "));
    for name in names.filter_map(|line| line.split_whitespace().next()) {
        assert!(name == "help" || COMMANDS.contains(&name), "{name} is not in the page");
    }
}

fn help(command: &str) -> String {
    let mut passerelle = Command::new(env!("CARGO_BIN_EXE_passerelle"));
    let output = passerelle.args(command.split_whitespace()).arg("--help").output().unwrap();
    assert!(output.status.success(), "{command}");
    let help = String::from_utf8(output.stdout).unwrap();
    // Lines that hold nothing have no blanks in the page.
    help.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

const HEADING: &str = "## All commands\n";
