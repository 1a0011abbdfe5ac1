//! What ActiveMQ says of the table of selectors, through its own client library.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    failure::{Doing as _, Failure, Outcome},
    paths, shell,
};

/// Compares; what is different must be listed, with the clause that decides, and what is listed must
/// be different.
pub(crate) fn run(jars: &Path) -> Outcome {
    let root = paths::root();
    let table = root.join("crates/selector/tests/expressions.txt");
    let listed = root.join("tests/interop/java/selectors.txt");
    let (table, listed) = (read(&table)?, read(&listed)?);
    let rows: Vec<(&str, &str)> = rows(&table).collect();
    let values = values(jars, rows.iter().map(|(_, selector)| *selector))?;
    if values.len() != rows.len() {
        let count = format!("{} selectors have {} values", rows.len(), values.len());
        return Err(Failure::failed(count));
    }
    let different: Vec<String> = rows
        .iter()
        .zip(&values)
        .filter(|((expected, _), value)| expected != value)
        .map(|((_, selector), value)| format!("{value:<8} {selector}"))
        .collect();
    let listed: Vec<String> =
        self::rows(&listed).map(|(value, selector)| format!("{value:<8} {selector}")).collect();
    let unlisted = different.iter().filter(|row| !listed.contains(row));
    let settled = listed.iter().filter(|row| !different.contains(row));
    let faults: Vec<String> = unlisted
        .map(|row| format!("not listed: {row}"))
        .chain(settled.map(|row| format!("listed, but not so: {row}")))
        .collect();
    println!("{} of {} agree", rows.len() - different.len(), rows.len());
    if faults.is_empty() { Ok(()) } else { Err(Failure::failed(faults.join("\n"))) }
}

/// Each line that is no comment: a value and a selector.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.filter_map(|row| row.split_once(' '))
        .map(|(value, selector)| (value, selector.trim_start()))
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).doing(path.display())
}

/// What ActiveMQ says of each.
fn values<'s>(jars: &Path, selectors: impl Iterator<Item = &'s str>) -> Outcome<Vec<String>> {
    let jars: Vec<PathBuf> = JARS.iter().map(|jar| jars.join(jar)).collect();
    if !shell::is_there("javac") || !jars.iter().all(|jar| jar.exists()) {
        return Err(Failure::missing("ActiveMQ's client or a JDK", REMEDY));
    }
    let jars: Vec<_> = jars.iter().map(|jar| jar.to_string_lossy()).collect();
    let mut java = shell::command("java");
    java.args(["-cp", &jars.join(":")]).arg("tests/interop/java/Selectors.java");
    let mut child = java
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| shell::unstarted(&java, &error))?;
    let text: String = selectors.map(|selector| format!("{selector}\n")).collect();
    // It reads a line before it writes one, and a pipe takes them all.
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).doing("java")?;
    }
    let output = child.wait_with_output().doing("java")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Of Debian's packages.
const JARS: [&str; 6] = [
    "activemq-client.jar",
    "activemq-broker.jar",
    "geronimo-jms_1.1_spec.jar",
    "geronimo-j2ee-management-1.1-spec.jar",
    "hawtbuf.jar",
    "slf4j-api.jar",
];

const REMEDY: &str = "apt-get install default-jdk-headless libactivemq-java";
