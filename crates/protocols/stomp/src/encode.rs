use std::{fmt, io::Write as _};

use contract::Destination;

use crate::{Verb, Version};

/// Appends a frame to a buffer.
pub(crate) struct Writer<'a> {
    to: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Writer<'a> {
    pub(crate) fn begin(to: &'a mut Vec<u8>, version: Version, verb: Verb) -> Self {
        to.extend_from_slice(verb.as_str().as_bytes());
        to.push(b'\n');
        Self::resume(to, if verb.has_escapes() { version } else { Version::V1_0 })
    }

    /// Continues a frame that has begun.
    pub(crate) const fn resume(to: &'a mut Vec<u8>, version: Version) -> Self {
        Self { to, version }
    }

    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.version.escape(name, self.to);
        self.to.push(b':');
        self.version.escape(value, self.to);
        self.to.push(b'\n');
    }

    /// A header whose value is a destination.
    pub(crate) fn destination(&mut self, name: &str, destination: &Destination) {
        self.to.extend_from_slice(name.as_bytes());
        self.to.push(b':');
        destination.text().for_each(|piece| self.version.escape(piece, self.to));
        self.to.push(b'\n');
    }

    /// A header whose value needs no escapes.
    pub(crate) fn number(&mut self, name: &str, value: impl fmt::Display) {
        self.version.escape(name, self.to);
        let written = writeln!(self.to, ":{value}");
        debug_assert!(written.is_ok(), "writing to a Vec does not fail");
    }

    pub(crate) fn body(self, body: &[u8]) {
        self.to.push(b'\n');
        self.to.extend_from_slice(body);
        self.to.push(0);
    }
}
