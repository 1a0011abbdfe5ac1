//! What the kernel knows of the process: the `process_` metrics that all of Prometheus's clients have.

use std::{fmt, fs};

use drive::tasks;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use rustix::param;
use tokio::sync::oneshot;

/// What the process takes of its machine; numbers as Prometheus has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Process {
    cpu_seconds: f64,
    /// In seconds since 1970.
    started_unix: f64,
    threads: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    open_files: f64,
    /// `None`: there is no limit.
    open_files_max: Option<f64>,
}

/// What the kernel counts in.
#[derive(Clone, Copy, Debug)]
struct Units {
    /// Units of time.
    per_second: f64,
    page_bytes: f64,
}

impl Process {
    /// Reads it, on a thread of its own: the files of a hundred thousand connections are many to
    /// count. `None`: this system does not say it as Linux does.
    pub(crate) async fn read() -> Option<Self> {
        let (send, receive) = oneshot::channel();
        // Who does not wait any more does not want it.
        tasks::thread("metrics", move || drop(send.send(Self::read_now()))).ok()?;
        receive.await.ok()?
    }

    fn read_now() -> Option<Self> {
        let read = |name| fs::read_to_string(name).ok();
        let (stat, limits) = (read("/proc/self/stat")?, read("/proc/self/limits")?);
        let open_files = u32::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
        let per_second = u32::try_from(param::clock_ticks_per_second()).ok()?.into();
        let page_bytes = u32::try_from(param::page_size()).ok()?.into();
        let units = Units { per_second, page_bytes };
        Self::parse(&stat, &limits, &read("/proc/stat")?, open_files, units)
    }

    /// Of what is in `/proc` (proc(5)).
    fn parse(
        stat: &str,
        limits: &str,
        machine: &str,
        open_files: u32,
        units: Units,
    ) -> Option<Self> {
        // The name of the program, in parentheses, may have spaces.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        // They are numbered from 1, and the first here is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let booted = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
        let open_files_max = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / units.per_second,
            started_unix: booted.trim().parse::<f64>().ok()? + field(22)? / units.per_second,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * units.page_bytes,
            open_files: open_files.into(),
            open_files_max: open_files_max.split_whitespace().next()?.parse().ok(),
        })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Processor time, in user space and in the kernel";
        encoder
            .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.cpu_seconds, None)?;
        let mut gauge = |name: &str, help: &str, value: f64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        let help = "When the process began, in seconds since 1970";
        gauge("process_start_time_seconds", help, self.started_unix)?;
        gauge("process_resident_memory_bytes", "Memory in use", self.resident_bytes)?;
        gauge("process_virtual_memory_bytes", "Memory reserved", self.virtual_bytes)?;
        gauge("process_threads", "Threads", self.threads)?;
        gauge("process_open_fds", "Open files and sockets", self.open_files)?;
        match self.open_files_max {
            Some(max) => gauge("process_max_fds", "How many files and sockets may be open", max),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 900 0 3 0 250 50 0 0 20 0 12 0 1000 4096000 300 18446744073709551615";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             94517                94517                processes\n\
                      Max open files            1024                 524288               files\n";
        let machine = "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n";
        let units = Units { per_second: 100.0, page_bytes: 4096.0 };
        let expected = Process {
            cpu_seconds: 3.0,
            started_unix: 1_700_000_010.0,
            threads: 12.0,
            resident_bytes: 1_228_800.0,
            virtual_bytes: 4_096_000.0,
            open_files: 9.0,
            open_files_max: Some(1024.0),
        };
        assert_eq!(Process::parse(stat, limits, machine, 9, units), Some(expected.clone()));
        let unlimited = limits.replace("1024", "unlimited");
        let process = Process::parse(stat, &unlimited, machine, 9, units).unwrap();
        assert_eq!(process, Process { open_files_max: None, ..expected });
        for malformed in ["", "7 (a", "7 (a) S 1", "7 (a) S x"] {
            assert_eq!(Process::parse(malformed, limits, machine, 9, units), None, "{malformed}");
        }
    }

    /// The kernel's own words are understood.
    #[test]
    fn this_process_is_read() {
        let process = Process::read_now().unwrap();
        assert!(process.resident_bytes > 1e6, "{process:?}");
        assert!(process.open_files >= 3.0 && process.threads >= 1.0, "{process:?}");
    }
}
