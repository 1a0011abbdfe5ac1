//! Reading files that may be anything: pipes, devices, on a file system that hangs.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use drive::tasks;

/// Reads a file, in bounded time. A thread of its own waits for the kernel; one that waits for
/// ever is left behind, and there are never more than [`READERS_MAX`].
///
/// # Errors
/// When it cannot be read, takes too long or is too large.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    static READERS: AtomicUsize = AtomicUsize::new(0);
    if READERS.fetch_add(1, Ordering::Relaxed) >= READERS_MAX {
        READERS.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::other("too many earlier attempts to read a file still wait"));
    }
    let (sender, result) = mpsc::sync_channel(1);
    let name = file.to_owned();
    let started = tasks::thread("read", move || {
        // The caller may have given up.
        drop(sender.send(read_bounded(&name)));
        READERS.fetch_sub(1, Ordering::Relaxed);
    });
    if let Err(error) = started {
        READERS.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    result.recv_timeout(READ_TIMEOUT).unwrap_or_else(|_| {
        let what = format!(
            "it took longer than {} s: a pipe, or on a file system that hangs?",
            READ_TIMEOUT.as_secs()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    })
}

/// Reads a file that is not too large.
///
/// # Errors
/// When it cannot be read or is too large.
pub(crate) fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let len = File::open(file)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(len).is_ok_and(|len| len <= BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"))
    }
}

/// Far more than certificates, keys and configurations have; a device may have no end.
const BYTES_MAX: u64 = 1 << 20;
/// How long a file is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Threads that wait for files, those given up included.
const READERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_is_no_file_is_refused() {
        let folder = std::env::temp_dir().join(format!("passerelle-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let sized = |name: &str, len: u64| {
            let file = folder.join(name);
            File::create(&file).unwrap().set_len(len).unwrap();
            file
        };
        let cases = [
            ("as large as may be", sized("large", BYTES_MAX), ""),
            ("nothing", sized("empty", 0), ""),
            ("a byte more", sized("larger", BYTES_MAX + 1), "it has more than 1 MiB"),
            ("a device without end", "/dev/zero".into(), "it has more than 1 MiB"),
            ("a folder", folder.clone(), "Is a directory"),
            ("no file", folder.join("none"), "No such file"),
        ];
        for (rule, file, expected) in cases {
            let said = read(&file).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(said.is_empty(), expected.is_empty(), "{rule}: {said}");
            assert!(said.starts_with(expected), "{rule}: {said}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
