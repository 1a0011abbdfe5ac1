//! How much memory the process may have, of which the bounds in `[memory]` are parts by default.

use std::{
    fmt,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use config::{Config, Service};

/// The least of what bounds the memory of this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Available {
    /// How much that is.
    pub bytes: usize,
    /// What bounds it, in a word or two.
    pub by: &'static str,
}

impl Available {
    /// Looks at the machine, the control groups of the process and its limits.
    #[must_use]
    pub fn of_process() -> Self {
        let (address_space, _) = rlimit::Resource::AS.get().unwrap_or((u64::MAX, u64::MAX));
        Self::below(Path::new("/"), address_space)
    }

    /// As [`Available::of_process`], with the files of the kernel below another root.
    fn below(root: &Path, address_space: u64) -> Self {
        let bounds = [
            (machine(root), "the machine"),
            (control_groups(root), "the control group"),
            (Some(address_space), "the address space"),
        ];
        let least = bounds.into_iter().filter_map(|(bytes, by)| Some((bytes?, by))).min();
        let (bytes, by) = least.filter(|(bytes, _)| *bytes < u64::MAX).unwrap_or(UNKNOWN);
        Self { bytes: usize::try_from(bytes).unwrap_or(usize::MAX), by }
    }

    /// Sets the bounds in `[memory]` that a configuration leaves open.
    pub fn complete(self, config: &mut Config) {
        let services = config.services.iter();
        let largest = services.clone().map(Service::inbound_bytes).max().unwrap_or(0);
        let memory = &mut config.memory;
        memory.inbound_bytes_max.get_or_insert_with(|| self.part(INBOUND_PART).max(largest));
        let messages = services
            .filter(|service| service.kind.uses_broker())
            .map(|service| service.limits.connection.message_bytes_max);
        let least = messages.max().unwrap_or(0).saturating_mul(4);
        let queued =
            *memory.queued_bytes_max.get_or_insert_with(|| self.part(QUEUED_PART).max(least));
        memory.queued_bytes_max_per_principal.get_or_insert(queued / 2);
    }

    /// One of `parts`, in whole MiB.
    const fn part(self, parts: usize) -> usize {
        (self.bytes / parts) >> 20 << 20
    }
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB, by {}", self.bytes >> 20, self.by)
    }
}

/// The memory of the machine.
fn machine(root: &Path) -> Option<u64> {
    let text = read(&root.join("proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of the control groups that the process is in, and of those above them.
fn control_groups(root: &Path) -> Option<u64> {
    let groups = read(&root.join("proc/self/cgroup"))?;
    let mounts = read(&root.join("proc/self/mountinfo"))?;
    let mut least = None;
    for group in groups.lines() {
        let mut fields = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        // All controllers of version 2 share one tree, which names none here.
        let file = match controllers {
            "" => "memory.max",
            _ if controllers.split(',').any(|name| name == "memory") => "memory.limit_in_bytes",
            _ => continue,
        };
        for (mounted, point) in mounts.lines().filter_map(|line| mount(line, controllers)) {
            let point = root.join(point.trim_start_matches('/'));
            for folder in folders(&point, mounted, path) {
                let limit = read(&folder.join(file)).and_then(|text| text.trim().parse().ok());
                least = least.into_iter().chain(limit).min();
            }
        }
    }
    least
}

/// Which part of a tree of control groups is mounted, and where, of a line of `mountinfo`.
fn mount<'a>(line: &'a str, controllers: &str) -> Option<(&'a str, &'a str)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let is_it = match (kind.next()?, controllers) {
        ("cgroup2", "") => true,
        ("cgroup", of) if !of.is_empty() => {
            kind.nth(1)?.split(',').any(|option| option == "memory")
        }
        _ => false,
    };
    let mut place = place.split(' ').skip(3);
    is_it.then_some((place.next()?, place.next()?))
}

/// The folders of a group and of those above it, as far as they are mounted.
fn folders(point: &Path, mounted: &str, group: &str) -> Vec<PathBuf> {
    // In a container the group may be outside what is mounted: then the top is all there is.
    let below = group.strip_prefix(mounted.trim_end_matches('/')).unwrap_or_default();
    let below = if below.contains("..") { "" } else { below };
    let group = point.join(below.trim_start_matches('/'));
    group.ancestors().take_while(|folder| folder.starts_with(point)).map(Path::to_owned).collect()
}

/// A file of the kernel, which has no size before it is read.
fn read(file: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What is received in part may take an eighth.
const INBOUND_PART: usize = 8;
/// What is in queues may take a quarter.
const QUEUED_PART: usize = 4;
/// Where nothing can be found out.
const UNKNOWN: (u64, &str) = (1 << 30, "a guess");
/// A machine with many mounts has some 100 KiB of them.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:       16384000 kB\nMemFree:        1000 kB\n");
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    const V1_UNLIMITED: &str = "9223372036854771712\n";

    #[test]
    fn the_least_bound_counts() {
        let cases: &[(&str, &[(&str, &str)], u64, u64, &str)] = &[
            ("the machine", &[MEMINFO], u64::MAX, 16_384_000 << 10, "the machine"),
            ("ulimit -v", &[MEMINFO], 1 << 30, 1 << 30, "the address space"),
            ("nothing known", &[], u64::MAX, 1 << 30, "a guess"),
            (
                "version 2",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/system.slice/gw.service\n"),
                    ("proc/self/mountinfo", V2),
                    ("sys/fs/cgroup/system.slice/gw.service/memory.max", "268435456\n"),
                    ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
                ],
                u64::MAX,
                256 << 20,
                "the control group",
            ),
            (
                "version 2, a group above it",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/system.slice/gw.service\n"),
                    ("proc/self/mountinfo", V2),
                    ("sys/fs/cgroup/system.slice/gw.service/memory.max", "268435456\n"),
                    ("sys/fs/cgroup/system.slice/memory.max", "134217728\n"),
                ],
                u64::MAX,
                128 << 20,
                "the control group",
            ),
            (
                "version 2 in a container with its own namespace",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/\n"),
                    ("proc/self/mountinfo", V2),
                    ("sys/fs/cgroup/memory.max", "67108864\n"),
                ],
                u64::MAX,
                64 << 20,
                "the control group",
            ),
            (
                "version 1",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "4:cpu,memory:/docker/7\n1:cpu:/docker/7\n0::/\n"),
                    ("proc/self/mountinfo", V1),
                    ("sys/fs/cgroup/memory/docker/7/memory.limit_in_bytes", "268435456\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_UNLIMITED),
                    ("sys/fs/cgroup/cpu/memory.limit_in_bytes", "1\n"),
                ],
                u64::MAX,
                256 << 20,
                "the control group",
            ),
            (
                "version 1 in a container: its group is what is mounted",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "4:memory:/docker/7\n"),
                    (
                        "proc/self/mountinfo",
                        "35 31 0:32 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
                    ),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
                ],
                u64::MAX,
                256 << 20,
                "the control group",
            ),
            (
                "without a limit",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "4:memory:/\n"),
                    ("proc/self/mountinfo", V1),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_UNLIMITED),
                ],
                u64::MAX,
                16_384_000 << 10,
                "the machine",
            ),
        ];
        let folder = std::env::temp_dir().join(format!("passerelle-memory-{}", std::process::id()));
        for (rule, files, address_space, bytes, by) in cases {
            for (path, text) in *files {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let expected = Available { bytes: usize::try_from(*bytes).unwrap(), by };
            assert_eq!(Available::below(&folder, *address_space), expected, "{rule}");
            // The first case without files has none.
            drop(fs::remove_dir_all(&folder));
        }
    }

    #[test]
    fn what_is_configured_stays_and_the_rest_is_a_part() {
        let available = |bytes| Available { bytes, by: "the machine" };
        let cases = [
            ("", 1 << 30, 128 << 20),
            // The largest message passes however little there is.
            ("", 64 << 20, 32 << 20),
            ("[memory]\ninbound-bytes-max = '40MiB'", 1 << 30, 40 << 20),
        ];
        for (text, bytes, inbound) in cases {
            let mut config = Config::parse(text, "test.toml").unwrap();
            available(bytes).complete(&mut config);
            assert_eq!(config.memory.inbound_bytes_max, Some(inbound), "{text}");
        }
    }
}
