//! The machine under the gateway: descriptors, signals, clocks, files.

use std::{
    fs,
    io::{self, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode},
    process::Signal,
};

use super::{Attack, Scene};
use crate::{
    client::{self, RESPONSE_MAX},
    gateway::Start,
    honest::Visit,
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "no descriptors",
        start: |_| Ok(Start { files_max: Some(FILES), ..Start::default() }),
        served: false,
        run: no_descriptors,
        ..Attack::USUAL
    },
    Attack { name: "SIGSTOP, then SIGCONT", served: false, run: stopped, ..Attack::USUAL },
    Attack {
        name: "the clock jumps by years and back",
        start: |_| {
            let library = libfaketime()
                .ok_or("libfaketime is not there; install it with: apt-get install libfaketime")?;
            let file = std::env::temp_dir().join(format!("chaos-clock-{}", std::process::id()));
            set_clock(&file, "+0").map_err(|error| error.to_string())?;
            let environment = vec![
                ("LD_PRELOAD", library),
                ("FAKETIME_TIMESTAMP_FILE", file),
                ("FAKETIME_NO_CACHE", "1".into()),
                // A machine's monotonic clock does not jump.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
                ("DONT_FAKE_MONOTONIC", "1".into()),
            ];
            // So that each new connection shows what time it is.
            Ok(Start { environment, log_level: "debug", ..Start::default() })
        },
        run: clock_jumps,
        ..Attack::USUAL
    },
    Attack { name: "a storm of SIGHUP", run: hangups, ..Attack::USUAL },
    Attack { name: "SIGHUP while the key is a FIFO without a writer", run: fifo, ..Attack::USUAL },
];

/// More connections than there are descriptors. The honest echo goes on; new connections wait.
fn no_descriptors(scene: &Scene<'_>) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let source = scene.attacker();
    let mut flood = Vec::new();
    for _ in 0..2 * FILES {
        // The kernel takes them, as long as its queue for the gateway has room.
        flood.extend(client::connect(source, to, Duration::from_secs(1)));
    }
    let line = scene.gateway.wait_for_line(&["cannot accept"])?;
    println!("    it says: {line}");
    thread::sleep(scene.secs(1.0, 8.0));
    Ok(())
}

/// Nothing runs for a while; then all that came meanwhile is replied to.
fn stopped(scene: &Scene<'_>) -> Result<(), String> {
    scene.gateway.signal(Signal::STOP)?;
    thread::sleep(scene.secs(1.5, 6.0));
    scene.gateway.signal(Signal::CONT)?;
    thread::sleep(scene.secs(0.3, 1.0));
    Ok(())
}

/// No time-out may be earlier or later because the clock was set.
fn clock_jumps(scene: &Scene<'_>) -> Result<(), String> {
    let Some(file) = clock_file(scene) else { return Err("no file for the clock".into()) };
    let failed = |error: io::Error| format!("a quiet connection: {error}");
    let mut quiet = quiet(scene).map_err(failed)?;
    for jump in ["+3650d", "-3650d", "+1d", "-1h", "+0"] {
        set_clock(&file, jump).map_err(|error| error.to_string())?;
        thread::sleep(scene.secs(0.4, 3.0));
        for stream in &mut quiet {
            client::echo(stream, b"still here").map_err(failed)?;
        }
    }
    let log = scene.gateway.log();
    let mut years: Vec<&str> = log
        .lines()
        .filter_map(|line| line.get(..4))
        .filter(|year| year.starts_with("20"))
        .collect();
    years.sort_unstable();
    years.dedup();
    println!("    years in its log: {}", years.join(", "));
    if years.len() < 3 {
        return Err("libfaketime had no effect: the log shows no jump of the clock".into());
    }
    Ok(())
}

/// Connections that wait for something, each with another time-out running.
fn quiet(scene: &Scene<'_>) -> io::Result<Vec<TcpStream>> {
    let mut quiet = Vec::new();
    for _ in 0..20 {
        let to = scene.gateway.addresses.plain;
        let mut stream = client::connect(scene.attacker(), to, RESPONSE_MAX)?;
        client::handshake(&mut stream, "/echo")?;
        quiet.push(stream);
    }
    Ok(quiet)
}

/// The certificates are read again and again; each new connection gets one.
fn hangups(scene: &Scene<'_>) -> Result<(), String> {
    let end = Instant::now() + scene.secs(1.2, 6.0);
    while Instant::now() < end {
        scene.gateway.signal(Signal::HUP)?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The FIFO stays; so SIGTERM, at the end, comes while the gateway still reads it.
fn fifo(scene: &Scene<'_>) -> Result<(), String> {
    let key = scene.gateway.folder.join("gw.key");
    fs::remove_file(&key).map_err(|error| error.to_string())?;
    rustix::fs::mkfifoat(CWD, &key, Mode::RUSR | Mode::WUSR).map_err(|error| error.to_string())?;
    for _ in 0..5 {
        scene.gateway.signal(Signal::HUP)?;
        thread::sleep(scene.secs(0.3, 2.0));
    }
    for visit in [Visit::Plain, Visit::Tls] {
        visit
            .pay(&scene.gateway.addresses)
            .map_err(|error| format!("a new {} connection: {error}", visit.name()))?;
    }
    Ok(())
}

/// Says what time it is, in libfaketime's words.
fn set_clock(file: &Path, offset: &str) -> io::Result<()> {
    // In one step: the gateway reads it all the time.
    let new = file.with_extension("new");
    fs::File::create(&new)?.write_all(format!("{offset}\n").as_bytes())?;
    fs::rename(new, file)
}

fn clock_file(scene: &Scene<'_>) -> Option<PathBuf> {
    let environment = fs::read(format!("/proc/{}/environ", scene.gateway.id())).ok()?;
    let text = String::from_utf8_lossy(&environment).into_owned();
    let file = text.split('\0').find_map(|entry| entry.strip_prefix("FAKETIME_TIMESTAMP_FILE="))?;
    Some(file.into())
}

/// The library that fakes the time of a program with threads, where distributions have it.
fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders
        .chain(["/usr/lib".into(), "/usr/lib64".into(), "/usr/local/lib".into()])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
}

/// The limit of open files that is soon reached.
const FILES: u32 = 200;
