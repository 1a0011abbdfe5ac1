use memchr::memchr_iter;

use crate::plan::{Frame, Framing, MARK};

/// Counts messages in what a connection sends, however it is split.
#[derive(Debug)]
pub(crate) enum Counter {
    Stream,
    WebSocket(Frames),
}

impl Counter {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Stream => Self::Stream,
            Framing::WebSocket => Self::WebSocket(Frames::default()),
        }
    }

    /// The messages whose mark is in these bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Stream => memchr_iter(MARK, bytes).count(),
            Self::WebSocket(frames) => frames.feed(bytes),
        }
    }
}

/// Where one is in an HTTP response head and the WebSocket frames behind it.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// How much of the empty line that ends the response head has been seen.
    end_seen: usize,
    head: [u8; 10],
    head_len: usize,
    remaining: usize,
}

const END: &[u8] = b"\r\n\r\n";

impl Frames {
    fn feed(&mut self, mut bytes: &[u8]) -> usize {
        while self.end_seen < END.len() {
            let Some((byte, rest)) = bytes.split_first() else { return 0 };
            bytes = rest;
            self.end_seen = match END.get(self.end_seen) {
                Some(expected) if expected == byte => self.end_seen + 1,
                _ => usize::from(*byte == b'\r'),
            };
        }
        let mut count = 0;
        loop {
            let take = self.remaining.min(bytes.len());
            let (payload, rest) = bytes.split_at(take);
            count += memchr_iter(MARK, payload).count();
            self.remaining -= take;
            bytes = rest;
            // The head of the next frame.
            while self.remaining == 0 {
                let Some((byte, rest)) = bytes.split_first() else { return count };
                bytes = rest;
                if let Some(place) = self.head.get_mut(self.head_len) {
                    *place = *byte;
                }
                self.head_len += 1;
                self.remaining = self.payload_len().inspect(|_| self.head_len = 0).unwrap_or(0);
            }
            if bytes.is_empty() {
                return count;
            }
        }
    }

    /// What the head says, once it is complete.
    fn payload_len(&self) -> Option<usize> {
        let len = usize::from(*self.head.get(1)? & 0x7f);
        let (from, to) = match len {
            _ if self.head_len < 2 => return None,
            126 => (2, 4),
            127 => (2, 10),
            _ => return Some(len),
        };
        let more = self.head.get(from..to).filter(|_| self.head_len == to)?;
        Some(more.iter().fold(0, |len, byte| (len << 8) | usize::from(*byte)))
    }
}

/// A frame as a client sends it.
pub(crate) fn encode(frame: Frame, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    match frame {
        Frame::Bare => return payload.to_vec(),
        Frame::Text => bytes.push(0x81),
        Frame::Binary => bytes.push(0x82),
    }
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len), _) if len < 126 => bytes.push(0x80 | len),
        (_, Ok(len)) => {
            bytes.push(0x80 | 126);
            bytes.extend(len.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_marks_in_payloads_however_they_are_split() {
        let mut bytes = b"HTTP/1.1 101 #\r\nx: y\r\n\r\n".to_vec();
        // A length that looks like the mark, an empty frame, an extended length.
        bytes.extend([0x82, 35]);
        bytes.extend([b'x'; 34]);
        bytes.push(MARK);
        bytes.extend([0x89, 0]);
        bytes.extend([0x81, 126, 1, 35]);
        bytes.extend([b'x'; 256 + 34]);
        bytes.push(MARK);
        for split in 0..bytes.len() {
            let mut counter = Counter::new(Framing::WebSocket);
            let (first, second) = bytes.split_at(split);
            assert_eq!(counter.feed(first) + counter.feed(second), 2, "split at {split}");
        }
    }
}
