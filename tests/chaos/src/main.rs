//! Attacks on a running gateway, and what honest clients notice of them: `cargo xtask chaos`.
//!
//! For each attack a gateway is started anew. Honest clients speak with it before, during and
//! after. It fails when the gateway panics or ends, when an honest client gets no reply or is
//! refused, when a message that was confirmed is lost, when SIGTERM does not end it, or when it keeps
//! more memory than it should.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command-line tool")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod attacks;
mod client;
mod gateway;
mod honest;
mod kill;
mod ledger;
mod process;
mod report;
mod stomp;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;

use crate::{
    attacks::{Attack, Form, Scene},
    client::RESPONSE_MAX,
    gateway::{End, Gateway, Start},
    honest::{COLLECTOR, Clients, Notes, QUEUE},
    ledger::Count,
    report::{Figures, Phase, Row, Times},
};

#[derive(Debug, Parser)]
#[command(about = "Attacks on a running gateway, and what honest clients notice of them")]
enum Cli {
    /// Attack it
    Attack(Options),
    /// Kill it at random moments, and see what its store has kept
    Kill(kill::Options),
    /// Check the ledger that a failed round of kills has left
    Check {
        /// The file
        ledger: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// The gateway's binary
    program: PathBuf,
    /// Where configurations, logs and the table go
    #[arg(long)]
    work: PathBuf,
    /// A short form: two minutes
    #[arg(long)]
    quick: bool,
    /// Only attacks whose name contains this (may be given more than once)
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Name the attacks, run none
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse() {
        Cli::Attack(options) => run(&options),
        Cli::Kill(options) => kill::run(&options),
        Cli::Check { ledger } => kill::check_file(&ledger),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out the attacks and prints the table. Tells whether the gateway held.
fn run(options: &Options) -> Result<bool, String> {
    let form = if options.quick { Form::Quick } else { Form::Full };
    let attacks: Vec<&Attack> = attacks::all()
        .filter(|attack| attack.forms.contains(&form))
        .filter(|attack| {
            options.only.is_empty() || options.only.iter().any(|only| attack.name.contains(only))
        })
        .collect();
    if options.list {
        attacks.iter().for_each(|attack| println!("{}", attack.name));
        return Ok(true);
    }
    process::raise_files_limit().map_err(|error| format!("the limit of open files: {error}"))?;
    fs::create_dir_all(&options.work)
        .map_err(|error| format!("{}: {error}", options.work.display()))?;
    let work = options.work.canonicalize().map_err(|error| error.to_string())?;
    let start = Instant::now();
    let mut rows = Vec::new();
    for (index, attack) in attacks.iter().enumerate() {
        let elapsed = start.elapsed().as_secs();
        println!("[{}/{}, {elapsed} s] {}", index + 1, attacks.len(), attack.name);
        let row = attempt(&options.program, &work.join(format!("{:02}", index + 1)), attack, form);
        row.faults.iter().for_each(|fault| println!("    FAULT: {fault}"));
        rows.push(row);
    }
    let table = report::table(&rows);
    println!("\n{table}\nOn {}, in {} s.", process::machine(), start.elapsed().as_secs());
    fs::write(work.join("table.md"), &table).map_err(|error| error.to_string())?;
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.faults.is_empty()).collect();
    let skipped = rows.iter().filter(|row| row.skipped.is_some()).count();
    let passed = rows.len() - failed.len() - skipped;
    println!("{passed} held, {} failed, {skipped} not run", failed.len());
    for row in &failed {
        println!("  {}: {}", row.name, row.faults.join("; "));
    }
    if rows.is_empty() {
        return Err("no attack has such a name".into());
    }
    Ok(failed.is_empty())
}

/// One attack on one gateway.
fn attempt(program: &Path, folder: &Path, attack: &Attack, form: Form) -> Row {
    let mut row = Row { name: attack.name, figures: None, faults: Vec::new(), skipped: None };
    match (attack.start)(form) {
        Err(why) if attack.optional => row.skipped = Some(why),
        Err(why) => row.faults.push(format!("could not run: {why}")),
        Ok(start) => match carry_out(program, folder, &start, attack, form, &mut row.faults) {
            Ok(figures) => row.figures = Some(figures),
            Err(fault) => row.faults.insert(0, fault),
        },
    }
    row
}

fn carry_out(
    program: &Path,
    folder: &Path,
    start: &Start,
    attack: &Attack,
    form: Form,
    faults: &mut Vec<String>,
) -> Result<Figures, String> {
    let mut gateway = Gateway::start(program, folder, start)?;
    let clients = Clients::start(&gateway.addresses, attack.visits)?;
    let calm = if form == Form::Quick { CALM_QUICK } else { CALM };
    thread::sleep(calm);
    let memory_at_start = gateway.memory("VmRSS");

    let begin = Instant::now();
    let scene = Scene::new(&gateway, form);
    faults.extend((attack.run)(&scene).err());
    let mut count = scene.into_count();
    let times = Times { begin, end: Instant::now() };
    if !attack.ends {
        faults.extend(recover(&mut gateway, attack).err());
        thread::sleep(calm);
    }
    let peak = gateway.memory("VmHWM");
    let mut notes = clients.stop();
    if !attack.ends {
        faults.extend(account(&gateway, &mut notes, &mut count).err());
    }
    let last = settle(&gateway, memory_at_start, form);
    if last > memory_at_start + MEMORY_KEPT_MAX {
        faults
            .push(format!("it kept {} MiB more than at the start", (last - memory_at_start) >> 20));
    }
    faults.extend(gateway.ended().filter(|_| !attack.ends));
    if !attack.ends {
        faults.extend(complaints(&notes, attack, times));
    }
    let panicked = gateway.log().lines().find(|line| line.contains("panicked")).map(str::to_owned);
    faults.extend(panicked);
    match gateway.stop() {
        Ok(End::Ended(status)) if status.success() => {}
        Ok(End::Ended(status)) => faults.push(format!("it did not end with 0: {status}")),
        Ok(End::Hung) => faults.push("SIGTERM did not end it".into()),
        Err(error) => faults.push(format!("SIGTERM: {error}")),
    }
    let memory = [memory_at_start, peak, last];
    let count = (!attack.ends).then_some(count);
    Ok(Figures::new(&notes, attack.visits, times, count, memory))
}

/// Takes out what is left in the queue of the honest clients, and tells whether each message that was
/// confirmed is somewhere.
fn account(gateway: &Gateway, notes: &mut Notes, count: &mut Count) -> Result<(), String> {
    let collector = stomp::Options::from(COLLECTOR);
    let rest = notes.queue.take_rest(gateway.addresses.plain, collector, QUEUE);
    *count += notes.queue.count();
    rest.map_err(|error| format!("the rest of the queue could not be taken out: {error}"))?;
    match count.lost {
        0 => Ok(()),
        lost => Err(format!("{lost} confirmed messages are lost")),
    }
}

/// Waits until new connections are served again. How long that took is printed.
fn recover(gateway: &mut Gateway, attack: &Attack) -> Result<(), String> {
    let start = Instant::now();
    for visit in attack.visits {
        while let Err(error) = visit.pay(&gateway.addresses) {
            if gateway.ended().is_some() {
                return Ok(());
            }
            if start.elapsed() > RECOVERY_MAX {
                return Err(format!(
                    "after the attack, a new {} connection: {error}",
                    visit.name()
                ));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    if start.elapsed() > Duration::from_secs(1) {
        println!("    new connections are served {:.1} s after it", start.elapsed().as_secs_f32());
    }
    Ok(())
}

/// The memory in the end: what it falls to in a while, or as far as it has to fall.
fn settle(gateway: &Gateway, start: u64, form: Form) -> u64 {
    let begin = Instant::now();
    let enough = if form == Form::Quick { Duration::ZERO } else { SETTLE };
    loop {
        let memory = gateway.memory("VmRSS");
        let elapsed = begin.elapsed();
        let is_low = memory <= start + MEMORY_KEPT_LITTLE
            || memory <= start + MEMORY_KEPT_MAX && elapsed >= enough;
        if is_low || elapsed > SETTLE_MAX {
            return memory;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// What honest clients have to complain of.
fn complaints(notes: &Notes, attack: &Attack, times: Times) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, samples) in [("echoes", &notes.echo), ("messages", &notes.sends)] {
        let mut failed =
            samples.iter().filter_map(|sample| Some((sample, sample.result.as_ref().err()?)));
        if let Some((sample, error)) = failed.next() {
            let phase = times.phase(sample.at);
            faults.push(format!("{} {name} failed, first {phase:?}: {error}", failed.count() + 1));
        }
        let late = samples.iter().filter_map(|sample| sample.result.as_ref().ok()).max();
        if late.is_some_and(|late| *late > RESPONSE_MAX) {
            faults.push(format!("one of the {name} took {:?}", late.copied().unwrap_or_default()));
        }
    }
    faults.extend(notes.consumer.as_ref().map(|error| format!("the consumer: {error}")));
    match notes.topic.missing() {
        0 => {}
        missing => faults.push(format!("{missing} messages of a topic were not delivered")),
    }
    for &kind in attack.visits {
        let must = |phase| phase != Phase::During || attack.served;
        let mut failed = notes
            .visits
            .iter()
            .filter(|(visit, sample)| *visit == kind && must(times.phase(sample.at)))
            .filter_map(|(_, sample)| Some((sample, sample.result.as_ref().err()?)));
        if let Some((sample, error)) = failed.next() {
            let (name, phase) = (kind.name(), times.phase(sample.at));
            let count = failed.count() + 1;
            faults.push(format!("{count} new {name} connections failed, first {phase:?}: {error}"));
        }
    }
    faults
}

/// Before an attack, and after it.
const CALM: Duration = Duration::from_secs(4);
const CALM_QUICK: Duration = Duration::from_millis(900);
/// How long a gateway may take to serve new connections again.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// What an attack may leave behind.
const MEMORY_KEPT_MAX: u64 = 64 << 20;
/// So little more that waiting shows nothing.
const MEMORY_KEPT_LITTLE: u64 = 4 << 20;
/// The gateway gives memory back a few seconds after it was freed.
const SETTLE: Duration = Duration::from_secs(8);
const SETTLE_MAX: Duration = Duration::from_secs(30);
