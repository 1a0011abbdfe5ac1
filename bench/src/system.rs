//! Cores, CPU time and memory, as the kernel counts them.
use std::{fs, io};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

/// Keeps this thread, and what it starts, on these cores.
pub(crate) fn stay_on(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set)?;
    Ok(())
}

/// The processes and all their descendants.
pub(crate) fn family(roots: &[u32]) -> Vec<u32> {
    let mut all = roots.to_vec();
    let mut next = 0;
    while let Some(process) = all.get(next).copied() {
        next += 1;
        for task in tasks(process) {
            let children = fs::read_to_string(format!("{task}/children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// CPU time that the threads of these processes have had, in nanoseconds.
pub(crate) fn cpu_ns(processes: &[u32]) -> u64 {
    let mut sum = 0;
    for task in processes.iter().flat_map(|process| tasks(*process)) {
        let times = fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
        sum +=
            times.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    sum
}

/// Memory of the processes' own: of each its `RssAnon`, or all of `VmRSS`, in bytes.
pub(crate) fn memory(processes: &[u32], key: &str) -> u64 {
    processes.iter().map(|process| kib(&format!("/proc/{process}/status"), key) * 1024).sum()
}

/// What the kernel keeps for sockets, files and the like, in bytes.
pub(crate) fn kernel_memory() -> u64 {
    ["Slab", "PageTables", "KernelStack"].iter().map(|key| kib("/proc/meminfo", key) * 1024).sum()
}

/// The load average of the last minute.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// What processor this is.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("", |(_, name)| name).to_owned()
}

/// Today.
pub(crate) fn date() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// Lets this process, and those that it starts, have as many open files as there may be.
pub(crate) fn raise_files_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

/// The release of the kernel.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn tasks(process: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

fn kib(file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
