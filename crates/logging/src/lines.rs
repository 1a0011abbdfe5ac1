//! A queue of lines, bounded, and what takes them out and writes them.

use std::{
    collections::VecDeque,
    io,
    mem::take,
    os::fd::AsFd,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Lines on their way to a descriptor.
///
/// Those that come while it is full are dropped, and so are all others until half of it has left:
/// a gap is one gap, with one notice at its place, and not a comb.
#[derive(Debug)]
pub(crate) struct Lines {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// There is nothing any more.
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Line>,
    bytes: usize,
    full: bool,
    /// Lines dropped since the last in the queue.
    lost: u64,
    /// A line has been taken out and not been written yet.
    writing: bool,
}

/// A line that waits, or (without text) only the lines that were lost at its place.
#[derive(Debug, Default)]
struct Line {
    /// Lines dropped in front of it.
    lost_before: u64,
    text: Box<[u8]>,
}

impl Lines {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        let state =
            State { queue: VecDeque::new(), bytes: 0, full: false, lost: 0, writing: false };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Takes a line, its end included, or drops it. The lock is never held while anything is
    /// written.
    pub(crate) fn push(&self, text: &[u8]) {
        let line = Box::from(text);
        if !self.lock().push(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.filled.notify_one();
    }

    /// Lines that were dropped, or that could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all has been written, for at most `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) {
        let busy = |state: &mut State| !state.is_empty() || state.writing;
        // Whether it is empty now or the time is up, nothing more can be done.
        drop(self.emptied.wait_timeout_while(self.lock(), timeout, busy));
    }

    /// Writes what comes, for ever. A line that cannot be written is dropped; once one can be,
    /// `notice` is written before it, with the number of lines that are missing.
    pub(crate) fn write_to(&self, file: impl AsFd, notice: impl Fn(u64) -> String) {
        let mut lost = 0;
        // A line was written in part: what follows must not look like its end.
        let mut torn = false;
        loop {
            let Line { lost_before, text } = self.next();
            lost += lost_before;
            let mut failed = false;
            if lost > 0 {
                let start = if torn { "\n" } else { "" };
                match write_all(&file, format!("{start}{}", notice(lost)).as_bytes()) {
                    Ok(()) => (lost, torn) = (0, false),
                    Err(Failed { written, .. }) => {
                        torn |= written > 0;
                        failed = true;
                    }
                }
            }
            if text.is_empty() {
                continue;
            }
            if !failed && let Err(Failed { written, .. }) = write_all(&file, &text) {
                torn = written > 0;
                failed = true;
            }
            if failed {
                lost += 1;
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn next(&self) -> Line {
        let mut state = self.lock();
        state.writing = false;
        if state.is_empty() {
            self.emptied.notify_all();
        }
        let mut state = self
            .filled
            .wait_while(state, |state| state.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        state.next()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for &Lines {
    /// Takes a whole line: the formatter of `tracing-subscriber` writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.lost == 0
    }

    fn push(&mut self, text: Box<[u8]>) -> bool {
        let bytes = self.bytes + text.len();
        self.full |= self.queue.len() >= LINES_MAX || bytes > BYTES_MAX;
        if self.full {
            self.lost += 1;
            return false;
        }
        self.bytes = bytes;
        self.queue.push_back(Line { lost_before: take(&mut self.lost), text });
        true
    }

    fn next(&mut self) -> Line {
        let Some(line) = self.queue.pop_front() else {
            self.full = false;
            return Line { lost_before: take(&mut self.lost), ..Line::default() };
        };
        self.bytes -= line.text.len();
        self.full &= self.queue.len() > LINES_MAX / 2 || self.bytes > BYTES_MAX / 2;
        line
    }
}

/// A write that failed, and what had been written before.
#[derive(Debug)]
pub(crate) struct Failed {
    written: usize,
    pub(crate) error: io::Error,
}

/// Writes all of it, and waits as long as it is not read.
pub(crate) fn write_all(file: impl AsFd, bytes: &[u8]) -> Result<(), Failed> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(&file, rest) {
            Ok(0) => return Err(Failed { written, error: io::ErrorKind::WriteZero.into() }),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for_room(&file),
            Err(error) => return Err(Failed { written, error: error.into() }),
        }
    }
    Ok(())
}

/// Waits a little until a descriptor that does not wait by itself takes more.
fn wait_for_room(file: impl AsFd) {
    let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
    // Whatever the result, the next write tells more.
    let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&timeout));
    // Some descriptors are ready with too little room.
    thread::park_timeout(PAUSE);
}

/// What waits to be written: some seconds of a busy log, and little memory.
const LINES_MAX: usize = 8192;
const BYTES_MAX: usize = 1 << 20;
/// Between two attempts to write to a descriptor that does not wait by itself.
const PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{PipeReader, Read, pipe},
        os::fd::OwnedFd,
        sync::Arc,
    };

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let (lines, mut reader) = lines_to_a_pipe(|_| {});
        for at in 0..3000 {
            lines.push(format!("line {at}\n").as_bytes());
            if at % 100 == 0 {
                lines.flush(LONG);
                assert_eq!(read(&mut reader, "\n"), said(at - at.min(99), at));
            }
        }
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn a_reader_that_comes_back_sees_where_lines_are_missing() {
        for nonblocking in [false, true] {
            let (lines, mut reader) =
                lines_to_a_pipe(|pipe| rustix::io::ioctl_fionbio(pipe, nonblocking).unwrap());
            let count = 40_000;
            for at in 0..count {
                lines.push(format!("line {at:0100}\n").as_bytes());
            }
            let dropped = lines.dropped();
            assert!(dropped > 0);
            lines.flush(Duration::from_millis(10));
            let text = read(&mut reader, " lost\n");
            let (before, notice) = text.trim_end().rsplit_once('\n').unwrap();
            assert_eq!(notice, format!("{dropped} lost"));
            let kept = before.lines().count();
            assert_eq!(u64::try_from(kept).unwrap() + dropped, count);
            for (at, line) in before.lines().enumerate() {
                assert_eq!(line, format!("line {at:0100}"));
            }
            // From here on nothing is missing.
            lines.push(b"again\n");
            assert_eq!(read(&mut reader, "again\n"), "again\n");
            assert_eq!(lines.dropped(), dropped);
        }
    }

    #[test]
    fn what_waits_is_bounded_in_lines_and_bytes() {
        // Nothing takes them out.
        let lines = Lines::new();
        let cases: [(usize, usize); 4] =
            [(1, LINES_MAX), (100, LINES_MAX), (1000, BYTES_MAX / 1000), (BYTES_MAX + 1, 0)];
        for (len, kept) in cases {
            let dropped = lines.dropped();
            for _ in 0..2 * LINES_MAX {
                lines.push(&vec![b'x'; len]);
            }
            assert_eq!(lines.lock().queue.len(), kept, "of {len} bytes");
            let dropped = lines.dropped() - dropped;
            assert_eq!(dropped, u64::try_from(2 * LINES_MAX - kept).unwrap(), "of {len} bytes");
            while !lines.lock().is_empty() {
                lines.next();
            }
        }
    }

    #[test]
    fn a_gap_is_one_gap() {
        let mut state =
            State { queue: VecDeque::new(), bytes: 0, full: false, lost: 0, writing: false };
        let push = |state: &mut State| state.push(Box::from(*b"x\n"));
        while push(&mut state) {}
        // One for one: without a gap, every second line would be a notice.
        for _ in 0..LINES_MAX / 2 - 1 {
            assert_eq!(state.next().lost_before, 0);
            assert!(!push(&mut state));
        }
        state.next();
        assert!(push(&mut state));
        assert_eq!(state.lost, 0);
        let gaps = std::iter::from_fn(|| (!state.is_empty()).then(|| state.next().lost_before));
        assert_eq!(gaps.filter(|lost| *lost > 0).collect::<Vec<_>>(), [LINES_MAX as u64 / 2]);
    }

    #[test]
    fn a_write_that_fails_is_counted() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (reader, broken) = pipe().unwrap();
        drop(reader);
        let unwritable = File::open("/dev/null").unwrap();
        for file in [OwnedFd::from(full), broken.into(), unwritable.into()] {
            let lines = write_lines_to(file);
            for at in 1..=100 {
                lines.push(b"never shown\n");
                lines.flush(LONG);
                assert_eq!(lines.dropped(), at);
            }
        }
    }

    #[test]
    fn after_half_a_line_the_next_begins_afresh() {
        let path = std::env::temp_dir().join(format!("passerelle-fifo-{}", std::process::id()));
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // Opening one end alone waits for the other.
        let both = File::options().read(true).write(true).open(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        drop(both);
        let lines = write_lines_to(file.into());
        let long = "x".repeat(100_000);
        lines.push(format!("{long}\n").as_bytes());
        // It stands in the middle of the line, and then its reader goes.
        lines.flush(Duration::from_millis(50));
        drop(reader);
        lines.flush(LONG);
        lines.push(b"never read\n");
        lines.flush(LONG);
        assert_eq!(lines.dropped(), 2);
        let mut reader = File::open(&path).unwrap();
        lines.push(b"again\n");
        let text = read(&mut reader, "again\n");
        let (half, rest) = text.split_once('\n').unwrap();
        assert!(half.len() < long.len() && half.bytes().all(|byte| byte == b'x'), "{half}");
        assert_eq!(rest, "2 lost\nagain\n");
        std::fs::remove_file(path).unwrap();
    }

    const LONG: Duration = Duration::from_secs(60);

    fn said(from: u64, to: u64) -> String {
        (from..=to).map(|at| format!("line {at}\n")).collect()
    }

    fn lines_to_a_pipe(set: impl Fn(&OwnedFd)) -> (Arc<Lines>, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let writer = OwnedFd::from(writer);
        set(&writer);
        (write_lines_to(writer), reader)
    }

    fn write_lines_to(file: OwnedFd) -> Arc<Lines> {
        let lines = Arc::new(Lines::new());
        let writer = Arc::clone(&lines);
        thread::Builder::new()
            .spawn(move || writer.write_to(file, |lost| format!("{lost} lost\n")))
            .unwrap();
        lines
    }

    fn read(reader: &mut impl Read, end: &str) -> String {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        while !text.ends_with(end.as_bytes()) {
            let len = reader.read(&mut piece).unwrap();
            assert!(len > 0);
            text.extend_from_slice(&piece[..len]);
        }
        String::from_utf8(text).unwrap()
    }
}
