use crate::{ConnectionLimits, Now};

/// A frame or message that was received in part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Partial {
    /// Differs from those of the ones before it.
    pub number: u32,
    /// Bytes of its body that were received, wrapping; `None` while its header is incomplete.
    pub body_bytes: Option<u32>,
}

/// The time that a peer has for what it began to send.
///
/// A header must be complete within [`ConnectionLimits::assembly_timeout`]. A body has the same
/// time, and each byte extends it by its time at
/// [`ConnectionLimits::assembly_bytes_per_second_min`], up to that timeout from now on: so a pause
/// may last as long as the timeout, and no burst makes it longer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Assembly {
    /// On the clock of [`Now::mono_ns`]; zero: no message is incomplete.
    until_mono_ns: u64,
    number: u32,
    body_bytes: Option<u32>,
}

impl Assembly {
    /// Notes what is incomplete after a read.
    pub fn observe(&mut self, partial: Option<Partial>, limits: &ConnectionLimits, now: Now) {
        let Some(Partial { number, body_bytes }) = partial else {
            self.until_mono_ns = 0;
            return;
        };
        if limits.assembly_timeout.is_zero() {
            return;
        }
        let full = now.after(limits.assembly_timeout);
        let is_same = self.until_mono_ns > 0 && self.number == number;
        self.until_mono_ns = match (self.body_bytes, body_bytes) {
            (None, None) if is_same => self.until_mono_ns,
            (Some(before), Some(bytes)) if is_same => {
                let more = u64::from(bytes.wrapping_sub(before));
                let rate = limits.assembly_bytes_per_second_min.max(1) as u64;
                let extension = more.saturating_mul(1_000_000_000) / rate;
                self.until_mono_ns.saturating_add(extension).min(full)
            }
            _ => full,
        };
        self.number = number;
        self.body_bytes = body_bytes;
    }

    /// When what is incomplete is too late, on the clock of [`Now::mono_ns`].
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        (self.until_mono_ns > 0).then_some(self.until_mono_ns)
    }

    /// The error of a peer that is too late; it fits a close frame of WebSocket.
    #[must_use]
    pub fn text(limits: &ConnectionLimits) -> String {
        format!(
            "too slow: {} s (limits.assembly-timeout), {} bytes/s \
             (limits.assembly-bytes-per-second-min)",
            limits.assembly_timeout.as_secs_f64(),
            limits.assembly_bytes_per_second_min
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it is too late, in milliseconds, for a peer that does this: at these milliseconds so
    /// many bytes of the body of this frame have come (less than none: not all of its head).
    fn late_at(steps: &[(u64, u32, i64)]) -> Option<u64> {
        let limits = ConnectionLimits::default();
        let mut assembly = Assembly::default();
        for &(ms, number, bytes) in steps {
            if assembly.deadline().is_some_and(|at| at <= ms * 1_000_000) {
                break;
            }
            let partial = Partial { number, body_bytes: u32::try_from(bytes).ok() };
            assembly.observe(Some(partial), &limits, Now { mono_ns: ms * 1_000_000, unix_ms: 0 });
        }
        assembly.deadline().map(|ns| ns / 1_000_000)
    }

    #[test]
    fn what_comes_too_slowly_ends_and_what_does_not_goes_on() {
        let every = |ms: u64, bytes: i64| -> Vec<_> {
            (0..300).map(|step| (step * ms, 0, step.cast_signed() * bytes)).collect()
        };
        let heads = |of: fn(u32) -> u32| -> Vec<_> {
            (0..300).map(|second| (1000 + u64::from(second) * 1000, of(second), -1)).collect()
        };
        let cases = [
            ("nothing after the beginning", vec![(1000, 0, -1)], 31_000),
            ("a head, a byte a second", heads(|_| 0), 31_000),
            ("heads that end", heads(|second| second), 330_000),
            ("a body after a slow head", vec![(0, 0, -1), (29_000, 0, 0)], 59_000),
            ("a body, a byte a second", every(1000, 1), 30_029),
            ("2 KiB a second", every(1000, 2048), 329_000),
            ("1 KiB a second", every(1000, 1024), 329_000),
            ("half of that", every(1000, 512), 59_000),
            ("a pause of 20 s", vec![(0, 0, 0), (1000, 0, 9000), (21_000, 0, 9001)], 31_000),
            ("a burst, then nothing", vec![(0, 0, 0), (1000, 0, 1 << 20)], 31_000),
        ];
        for (rule, steps, expected) in cases {
            assert_eq!(late_at(&steps), Some(expected), "{rule}");
        }
    }

    #[test]
    fn nothing_is_expected_of_one_that_began_nothing_or_where_it_is_off() {
        let mut assembly = Assembly::default();
        let partial = Partial { number: 0, body_bytes: None };
        assembly.observe(Some(partial), &ConnectionLimits::default(), Now::default());
        assembly.observe(None, &ConnectionLimits::default(), Now::default());
        assert_eq!(assembly.deadline(), None);
        let off = ConnectionLimits {
            assembly_timeout: std::time::Duration::ZERO,
            ..ConnectionLimits::default()
        };
        assembly.observe(Some(partial), &off, Now::default());
        assert_eq!(assembly.deadline(), None);
    }

    #[test]
    fn the_text_fits_a_close_frame() {
        let text = Assembly::text(&ConnectionLimits::default());
        assert!(text.len() <= 123, "{} bytes", text.len());
    }
}
