use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    failure::{Doing, Failure, Outcome},
    gateway::{Binaries, Gateway},
    paths, shell, tools,
};

/// Runs all 517 cases against the echo service; all must be OK, or INFORMATIONAL.
pub(crate) fn run(threads: u16, quick: bool, certificate: Option<&Path>) -> Outcome {
    let bin = tools::python27("autobahn", &["autobahntestsuite==25.10.1"])?;
    let binaries = Binaries::build()?;
    let name = super::name("autobahn", threads, certificate);
    // The echo service takes what cases 9.3.1 and 9.4.1 send: 16 MiB and 65,536 fragments a message.
    let gateway = Gateway::start(&binaries, &name, &super::standard(threads, certificate))?;
    let scheme = if certificate.is_some() { "wss" } else { "ws" };
    let runner = Runner {
        python: bin.join("python"),
        url: format!("{scheme}://{}/echo", gateway.authority),
        folder: paths::fresh_folder(&name)?,
        messages: if quick { MESSAGES_QUICK } else { MESSAGES },
    };

    let mut chunks = Mutex::new(CHUNKS.iter());
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(cases) = chunks.lock().ok().and_then(|mut chunks| chunks.next()) {
                    let start = Instant::now();
                    let outcome = runner.run(cases);
                    println!("{cases}: {:.1} s", start.elapsed().as_secs_f32());
                    if let (Err(failure), Ok(mut faults)) = (outcome, faults.lock()) {
                        faults.push(format!("{cases}: {failure}"));
                    }
                }
            });
        }
    });
    debug_assert!(chunks.get_mut().is_ok_and(|left| left.len() == 0));

    let mut faults = faults.into_inner().unwrap_or_default();
    let results = read(&runner.folder)?;
    summarize(&results);
    println!("reports: {}", runner.folder.display());
    faults.extend(judge(&results, &exceptions()?));
    if faults.is_empty() { Ok(()) } else { Err(Failure::Failed(faults.join("\n"))) }
}

/// Cases that one client runs in one go; it writes its reports only at its end.
const CHUNKS: &[&str] = &[
    "9.*",
    "1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*",
    "12.1.*",
    "12.2.*",
    "12.3.*",
    "12.4.*",
    "12.5.*",
    "13.1.*",
    "13.2.*",
    "13.3.*",
    "13.4.*",
    "13.5.*",
    "13.6.*",
    "13.7.*",
];

/// Cases in all chunks.
const CASES: usize = 517;
/// Clients at a time: the suite is the slower side.
const CLIENTS: usize = 2;
/// Messages of each deflate case, as the suite has it.
const MESSAGES: u32 = 1000;
const MESSAGES_QUICK: u32 = 40;
const CHUNK_TIMEOUT: Duration = Duration::from_secs(900);

struct Runner {
    python: PathBuf,
    url: String,
    folder: PathBuf,
    messages: u32,
}

impl Runner {
    fn run(&self, cases: &str) -> Outcome {
        let folder = self.folder.join(cases.replace('*', "x"));
        fs::create_dir_all(&folder).doing(folder.display())?;
        let log = folder.join("client.log");
        let log = fs::File::create(&log).doing(log.display())?;
        let mut command = Command::new(&self.python);
        command
            .arg(paths::root().join("tests/interop/autobahn/client.py"))
            .arg(&self.url)
            .arg(&folder)
            .args([cases, &self.messages.to_string()])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stderr(log.try_clone().doing("client.log")?)
            .stdout(log);
        let mut client = command.spawn().map_err(|error| shell::unstarted(&command, &error))?;
        let deadline = Instant::now() + CHUNK_TIMEOUT;
        loop {
            match client.try_wait().doing("the client")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Failure::Failed(format!("the client ended: {status}"))),
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                None => {
                    drop(client.kill());
                    drop(client.wait());
                    return Err(Failure::failed("the client did not end in time"));
                }
            }
        }
    }
}

/// A case's number, such as 9.4.1.
type Case = Vec<u32>;

struct Verdict {
    behavior: String,
    close: String,
}

/// The verdicts of all reports under `folder`.
fn read(folder: &Path) -> Outcome<BTreeMap<Case, Verdict>> {
    let mut results = BTreeMap::new();
    for chunk in fs::read_dir(folder).doing(folder.display())? {
        let index = chunk.doing(folder.display())?.path().join("index.json");
        let Ok(text) = fs::read_to_string(&index) else { continue };
        let index: Value = serde_json::from_str(&text).doing(index.display())?;
        let cases = index.get("passerelle").and_then(Value::as_object).into_iter().flatten();
        for (case, verdict) in cases {
            let word =
                |name| verdict.get(name).and_then(Value::as_str).unwrap_or("absent").to_owned();
            let verdict = Verdict { behavior: word("behavior"), close: word("behaviorClose") };
            results.insert(number(case), verdict);
        }
    }
    Ok(results)
}

fn number(case: &str) -> Case {
    case.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

fn shown(case: &Case) -> String {
    case.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Prints how many cases of each group had which verdict.
fn summarize(results: &BTreeMap<Case, Verdict>) {
    let mut groups: BTreeMap<u32, BTreeMap<&str, usize>> = BTreeMap::new();
    for (case, verdict) in results {
        let group = case.first().copied().unwrap_or_default();
        *groups.entry(group).or_default().entry(&verdict.behavior).or_default() += 1;
    }
    for (group, verdicts) in &groups {
        let verdicts: Vec<_> = verdicts.iter().map(|(word, n)| format!("{n} {word}")).collect();
        println!("{group:>4}.*  {}", verdicts.join(", "));
    }
    println!("   all  {} of {CASES} cases", results.len());
}

/// What is wrong with the verdicts.
fn judge(results: &BTreeMap<Case, Verdict>, exceptions: &BTreeMap<Case, String>) -> Vec<String> {
    let good = |word: &str| matches!(word, "OK" | "INFORMATIONAL");
    let mut faults = Vec::new();
    if results.len() != CASES {
        faults.push(format!("{} of {CASES} cases were reported", results.len()));
    }
    for (case, verdict) in results {
        let is_good = good(&verdict.behavior) && good(&verdict.close);
        match (is_good, exceptions.get(case)) {
            (true, None) => {}
            (false, Some(reason)) => println!("{}: accepted: {reason}", shown(case)),
            (true, Some(_)) => faults.push(format!("{}: is good, yet excepted", shown(case))),
            (false, None) => faults.push(format!(
                "{}: {} (close: {})",
                shown(case),
                verdict.behavior,
                verdict.close
            )),
        }
    }
    faults
}

/// The cases of `exceptions.txt`, each with its reason.
fn exceptions() -> Outcome<BTreeMap<Case, String>> {
    let file = paths::root().join("tests/interop/autobahn/exceptions.txt");
    let text = fs::read_to_string(&file).doing(file.display())?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| match line.split_once(' ') {
            Some((case, reason)) => Ok((number(case), reason.trim().to_owned())),
            None => Err(Failure::Failed(format!("{}: {line}: no reason", file.display()))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strictly_good_verdicts_pass() {
        let verdict = |behavior: &str, close: &str| Verdict {
            behavior: behavior.into(),
            close: close.into(),
        };
        let cases = [
            ("all good", verdict("OK", "OK"), false, 0),
            ("informational", verdict("INFORMATIONAL", "INFORMATIONAL"), false, 0),
            ("not strict", verdict("NON-STRICT", "OK"), false, 1),
            ("a bad close", verdict("OK", "FAILED"), false, 1),
            ("excepted", verdict("FAILED", "OK"), true, 0),
            ("excepted for nothing", verdict("OK", "OK"), true, 1),
        ];
        for (rule, verdict, excepted, count) in cases {
            let exceptions = excepted.then(|| (vec![6, 4, 1], "why".to_owned()));
            let faults = judge(
                &BTreeMap::from([(vec![6, 4, 1], verdict)]),
                &exceptions.into_iter().collect(),
            );
            // One fault more: the other cases are missing.
            assert_eq!(faults.len(), count + 1, "{rule}: {faults:?}");
        }
    }
}
