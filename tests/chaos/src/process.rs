//! What /proc and signals tell of, and do to, a process.

use std::{fs, io, process::Child};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// Sends a signal.
pub(crate) fn signal(process: &Child, signal: Signal) -> io::Result<()> {
    Ok(kill_process(Pid::from_child(process), signal)?)
}

/// Memory of the process, in bytes: `VmRSS` is what it has now, `VmHWM` the most it ever had.
pub(crate) fn memory(process: u32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Lets this process, and those that it starts, have as many open files as there may be.
pub(crate) fn raise_files_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// The machine, in a few words.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpu = cpu.map_or("unknown processor", |(_, name)| name);
    format!("{cores} cores of {cpu}, Linux {}", kernel.trim())
}
