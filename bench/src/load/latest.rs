use std::{
    error::Error,
    io::{self, ErrorKind, Read as _},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use memchr::{memchr, memmem};
use mio::{Events, Interest, Poll, Token};

use super::connection::Connection;

/// Subscribers of the latest of many keys: some read what comes, some at a fixed rate.
#[derive(Debug)]
pub(crate) struct Readers {
    poll: Poll,
    fast: Vec<Reader>,
    slow: Vec<Reader>,
    buffer: Vec<u8>,
}

/// A message of a key: what its body says, up to a space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) key: usize,
    /// Which round of all keys it is of, from 1.
    pub(crate) round: u64,
    /// When it was published, in nanoseconds since the beginning.
    pub(crate) sent_ns: u64,
}

/// What came to some readers.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) messages: u64,
    /// Nanoseconds from when they were published.
    pub(crate) ages: Histogram<u64>,
    /// Of each reader, how many messages it read once nothing was published any more, up to the newest
    /// of all keys; the most.
    pub(crate) last: u64,
}

impl Readers {
    pub(crate) fn new(
        fast: Vec<Connection>,
        slow: Vec<Connection>,
        keys: usize,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut fast: Vec<_> = fast.into_iter().map(|one| Reader::new(one, keys)).collect();
        for (index, reader) in fast.iter_mut().enumerate() {
            let stream = &mut reader.connection.stream;
            poll.registry().register(stream, Token(index), Interest::READABLE)?;
        }
        let slow = slow.into_iter().map(|one| Reader::new(one, keys)).collect();
        Ok(Self { poll, fast, slow, buffer: vec![0; 256 * 1024] })
    }

    /// Reads until all have the newest of each key, once `last_round` says which that is: 0 until then.
    /// Each slow one reads at most this much every so often.
    pub(crate) fn read(
        &mut self,
        began: Instant,
        last_round: &AtomicU64,
        (slow_bytes, every): (usize, Duration),
    ) -> Result<[Received; 2], Box<dyn Error>> {
        let step = every / u32::try_from(self.slow.len().max(1))?;
        let mut slow_next = (0, Instant::now());
        let mut results = [Received::new()?, Received::new()?];
        let [fast, slow] = &mut results;
        let mut events = Events::with_capacity(1024);
        let mut over = None;
        loop {
            let last = last_round.load(Ordering::Acquire);
            if last > 0 {
                let is_done = |reader: &Reader| reader.newest.iter().all(|round| *round == last);
                if self.fast.iter().chain(&self.slow).all(is_done) {
                    break;
                }
                let since = *over.get_or_insert_with(Instant::now);
                if since.elapsed() > STUCK {
                    return Err("the newest of each key did not come to all".into());
                }
            }
            match self.poll.poll(&mut events, Some(Duration::from_millis(1))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                let Some(reader) = self.fast.get_mut(event.token().0) else { continue };
                while reader.read(&mut self.buffer, began, last, fast)? == self.buffer.len() {}
            }
            while slow_next.1 <= Instant::now() {
                if let Some(reader) = self.slow.get_mut(slow_next.0)
                    && let Some(buffer) = self.buffer.get_mut(..slow_bytes)
                {
                    reader.read(buffer, began, last, slow)?;
                }
                slow_next = ((slow_next.0 + 1) % self.slow.len(), slow_next.1 + step);
            }
        }
        for (readers, received) in [(&mut self.fast, fast), (&mut self.slow, slow)] {
            for reader in readers {
                received.last = received.last.max(std::mem::take(&mut reader.last));
            }
        }
        Ok(results)
    }
}

impl Received {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            messages: 0,
            ages: Histogram::new_with_bounds(1000, 600_000_000_000, 3)?,
            last: 0,
        })
    }
}

#[derive(Debug)]
struct Reader {
    connection: Connection,
    /// The beginning of a frame.
    rest: Vec<u8>,
    /// The round of which each key is.
    newest: Vec<u64>,
    last: u64,
}

impl Reader {
    fn new(connection: Connection, keys: usize) -> Self {
        Self { connection, rest: Vec::new(), newest: vec![0; keys], last: 0 }
    }

    /// Reads once; says how many bytes.
    fn read(
        &mut self,
        buffer: &mut [u8],
        began: Instant,
        last_round: u64,
        received: &mut Received,
    ) -> Result<usize, Box<dyn Error>> {
        let len = match self.connection.stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let now_ns = u64::try_from(began.elapsed().as_nanos())?;
        let mut bytes = buffer.get(..len).unwrap_or_default();
        while let Some(end) = memchr(0, bytes) {
            let (frame, next) = bytes.split_at(end);
            bytes = next.get(1..).unwrap_or_default();
            let stamp = if self.rest.is_empty() {
                Stamp::of(frame)
            } else {
                self.rest.extend(frame);
                let stamp = Stamp::of(&self.rest);
                self.rest.clear();
                stamp
            };
            let stamp = stamp.ok_or("not a message of a key")?;
            let newest = self.newest.get_mut(stamp.key).ok_or("an unknown key")?;
            if *newest >= stamp.round {
                return Err("an older message came after a newer one".into());
            }
            // What comes beyond the newest of all keys was never needed.
            if last_round > 0 {
                self.last += 1;
            }
            *newest = stamp.round;
            received.messages += 1;
            received.ages.saturating_record(now_ns.saturating_sub(stamp.sent_ns));
        }
        self.rest.extend(bytes);
        Ok(len)
    }
}

impl Stamp {
    pub(crate) fn write(self, to: &mut Vec<u8>) {
        let Self { key, round, sent_ns } = self;
        to.extend(format!("{key} {round} {sent_ns} ").into_bytes());
    }

    /// That of a MESSAGE.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let body = frame.get(memmem::find(frame, b"\n\n")? + 2..)?;
        let mut numbers = body.split(|byte| *byte == b' ').map(|word| {
            word.iter().try_fold(0_u64, |sum, digit| {
                let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
                sum.checked_mul(10)?.checked_add(u64::from(digit))
            })
        });
        let (key, round, sent_ns) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(Self { key: usize::try_from(key).ok()?, round, sent_ns })
    }
}

/// How long the newest of each key may take once nothing is published.
const STUCK: Duration = Duration::from_secs(60);
