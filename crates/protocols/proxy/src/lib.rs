//! Proxy: passes on what it receives, between a client and an upstream, and knows nothing of it.
#![forbid(unsafe_code)]

use contract::{Data, End, Kind, Now, Reason, Relay, RelayInput, RelayOutbox, STOPPING};

/// Passes on what it receives.
#[derive(Debug)]
pub struct Proxy {
    /// What a stream sends are messages of text, else of bytes.
    text: bool,
    /// The beginning of a character of text whose rest has not been received: at most three bytes.
    partial_character: Vec<u8>,
}

impl Proxy {
    /// One whose client gets what a stream sends as messages of text, split at characters, or of
    /// bytes. The messages of an upstream that has messages stay as they are.
    #[must_use]
    pub const fn new(text: bool) -> Self {
        Self { text, partial_character: Vec::new() }
    }

    fn pass_on(&mut self, from: End, data: Data<'_>, out: &mut dyn RelayOutbox) {
        match (from, data.kind) {
            (End::Upstream, Kind::Stream) if self.text => self.send_text(data.bytes, out),
            (End::Upstream, Kind::Stream) => send(out, End::Client, Kind::Binary, true, data.bytes),
            (End::Upstream, kind) => send(out, End::Client, kind, data.last, data.bytes),
            (End::Client, kind) => send(out, End::Upstream, kind, data.last, data.bytes),
        }
    }

    /// Sends the whole characters of a stream as one message.
    fn send_text(&mut self, bytes: &[u8], out: &mut dyn RelayOutbox) {
        let begun = std::mem::take(&mut self.partial_character);
        let joined;
        let bytes = if begun.is_empty() {
            bytes
        } else {
            joined = [&begun, bytes].concat();
            &joined
        };
        let Some(whole) = whole_characters(bytes) else {
            return out.close(Reason::Upstream, "the upstream's bytes are not text");
        };
        let (characters, partial_character) = bytes.split_at(whole);
        self.partial_character = partial_character.to_vec();
        if !characters.is_empty() {
            send(out, End::Client, Kind::Text, true, characters);
        }
    }
}

impl Relay for Proxy {
    fn handle(&mut self, input: RelayInput<'_>, _: Now, out: &mut dyn RelayOutbox) {
        match input {
            RelayInput::Received(from, data) => self.pass_on(from, data, out),
            RelayInput::Closed(End::Upstream, _) if !self.partial_character.is_empty() => {
                out.close(Reason::Upstream, "the upstream ended within a character");
            }
            RelayInput::Shutdown => out.close(Reason::Shutdown, STOPPING),
            RelayInput::Opened | RelayInput::Timeout | RelayInput::Closed(..) => {}
        }
    }
}

fn send(out: &mut dyn RelayOutbox, to: End, kind: Kind, last: bool, bytes: &[u8]) {
    out.send(to, kind, last, &mut |buffer| buffer.extend_from_slice(bytes));
}

/// How many bytes are whole characters; `None`: not UTF-8.
fn whole_characters(bytes: &[u8]) -> Option<usize> {
    match str::from_utf8(bytes) {
        Ok(_) => Some(bytes.len()),
        Err(error) if error.error_len().is_none() => Some(error.valid_up_to()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a proxy did: `client text: hello`, `client text…: hel` for a piece, `close: why`.
    #[derive(Default)]
    struct Done(Vec<String>);

    impl RelayOutbox for Done {
        fn send(&mut self, to: End, kind: Kind, last: bool, encode: &mut dyn FnMut(&mut Vec<u8>)) {
            let mut bytes = Vec::new();
            encode(&mut bytes);
            let more = if last { "" } else { "…" };
            self.0.push(format!("{to:?} {kind:?}{more}: {}", bytes.escape_ascii()));
        }

        fn close(&mut self, reason: Reason, message: &str) {
            self.0.push(format!("close {reason:?}: {message}"));
        }
    }

    fn done(text: bool, inputs: &[RelayInput<'_>]) -> Vec<String> {
        let (mut proxy, mut done) = (Proxy::new(text), Done::default());
        for input in inputs {
            proxy.handle(*input, Now::default(), &mut done);
        }
        done.0
    }

    const fn received(from: End, kind: Kind, bytes: &[u8], last: bool) -> RelayInput<'_> {
        RelayInput::Received(from, Data { kind, bytes, last })
    }

    const fn streamed(bytes: &[u8]) -> RelayInput<'_> {
        received(End::Upstream, Kind::Stream, bytes, true)
    }

    #[test]
    fn messages_stay_messages() {
        let inputs = [
            RelayInput::Opened,
            received(End::Client, Kind::Text, b"hel", false),
            received(End::Client, Kind::Text, b"lo", true),
            received(End::Upstream, Kind::Text, b"w\xc3", false),
            received(End::Upstream, Kind::Text, b"\xa9", true),
            received(End::Upstream, Kind::Binary, b"\0", true),
            RelayInput::Closed(End::Upstream, Reason::Normal),
        ];
        let expected = [
            "Upstream Text…: hel",
            "Upstream Text: lo",
            "Client Text…: w\\xc3",
            "Client Text: \\xa9",
            "Client Binary: \\x00",
        ];
        assert_eq!(done(false, &inputs), expected);
        assert_eq!(done(true, &inputs), expected, "whatever streams are");
    }

    #[test]
    fn a_stream_is_messages_of_bytes_or_of_whole_characters() {
        assert_eq!(done(false, &[streamed(b"\xff")]), ["Client Binary: \\xff"]);
        let text = "aé長😀";
        for split in 0..=text.len() {
            let (one, other) = text.as_bytes().split_at(split);
            let messages = done(true, &[streamed(one), streamed(other)]);
            let joined: String = messages
                .iter()
                .map(|message| message.strip_prefix("Client Text: ").unwrap())
                .collect();
            assert_eq!(joined, text.as_bytes().escape_ascii().to_string(), "split at {split}");
        }
        let not_text = ["close Upstream: the upstream's bytes are not text"];
        assert_eq!(done(true, &[streamed(b"\xff")]), not_text);
        let partial = [streamed(b"\xc3"), RelayInput::Closed(End::Upstream, Reason::Normal)];
        assert_eq!(done(true, &partial), ["close Upstream: the upstream ended within a character"]);
    }

    #[test]
    fn a_gateway_that_stops_says_so() {
        let stopping = format!("close Shutdown: {STOPPING}");
        assert_eq!(done(false, &[RelayInput::Shutdown]), [stopping]);
    }
}
