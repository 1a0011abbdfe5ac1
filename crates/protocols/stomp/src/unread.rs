use contract::Kind;

/// What a client has sent behind its CONNECT, which waits for the reply to that.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    bytes: Vec<u8>,
    /// Where bytes that came in messages of one kind end, and their kind.
    runs: Vec<(usize, Kind)>,
}

impl Unread {
    /// Adds what came; `false`: there may be no more of it.
    pub(crate) fn add(&mut self, bytes: &[u8], kind: Kind) -> bool {
        if self.bytes.len() + size_of_val(&*self.runs) + bytes.len() > BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.len();
        match self.runs.last_mut() {
            Some((last, of)) if *of == kind => *last = end,
            Some(_) | None => self.runs.push((end, kind)),
        }
        true
    }

    /// Memory that it takes, in bytes.
    pub(crate) const fn memory(&self) -> usize {
        self.bytes.capacity() + self.runs.capacity() * size_of::<(usize, Kind)>()
    }

    /// What came, and in what.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&[u8], Kind)> {
        let mut start = 0;
        self.runs.iter().map(move |&(end, kind)| {
            let piece = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            (piece, kind)
        })
    }
}

/// Bytes that may wait, and what is kept of the changes of their kind.
const BYTES_MAX: usize = 64 << 10;
