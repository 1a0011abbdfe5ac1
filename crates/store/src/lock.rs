use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process,
};

use rustix::fs::{FlockOperation, flock};

use crate::error::{StoreError, doing};

/// A folder is this process's alone, until this is dropped or the process ends.
///
/// The file stays, with the number of the process that had the folder last: removing it would let
/// two processes lock two files of the same name.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: fs::File,
}

impl Lock {
    pub(crate) fn acquire(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(LOCK);
        let shown = path.display().to_string();
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(doing("open", &shown))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                let mut text = String::new();
                // Without a number the error still says what is wrong.
                file.take(20).read_to_string(&mut text).ok();
                let process = text.trim().parse().unwrap_or_default();
                let folder = folder.display().to_string();
                return Err(StoreError::Locked { folder, process, program: program(process) });
            }
            Err(error) => return Err(doing("lock", &shown)(error.into())),
        }
        let write = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        write.map_err(doing("write", &shown))?;
        Ok(Self { _file: file })
    }
}

/// What a process is called; empty where that is not known.
fn program(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

/// The name of the file that is locked.
const LOCK: &str = "lock";
