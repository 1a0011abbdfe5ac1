//! How many messages in what time, and how long each took.

use std::fmt::Write as _;

use super::units::grouped;

/// Counts what a command sends or receives.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) messages: u64,
    bytes: u64,
    /// Of the first and the last message, in nanoseconds.
    span: Option<(u64, u64)>,
    latencies: Latencies,
}

impl Meter {
    /// Counts a message; with one that has just been sent it has begun.
    pub(super) fn count(&mut self, bytes: usize, now_ns: u64) {
        self.messages += 1;
        self.bytes += bytes as u64;
        self.see(now_ns);
    }

    /// Notes that something happened: the time goes up to here.
    pub(super) fn see(&mut self, now_ns: u64) {
        self.span = Some((self.span.map_or(now_ns, |(first, _)| first), now_ns));
    }

    /// Notes how long a message took.
    pub(super) fn took(&mut self, ns: u64) {
        self.latencies.add(ns / 1000);
    }

    /// What was counted, for people; `did` says what was done with the messages.
    pub(super) fn describe(&self, did: &str) -> String {
        let s = if self.messages == 1 { "" } else { "s" };
        let mut text = format!("{} message{s} {did}", grouped(self.messages));
        let (first, last) = self.span.unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
        let seconds = last.saturating_sub(first) as f64 / 1e9;
        if self.messages > 1 && seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
            let (rate, bytes) = (self.messages as f64 / seconds, self.bytes as f64 / seconds);
            // What is written to a string arrives.
            let _ = write!(text, " in {seconds:.3} s: {}/s, {}/s", count(rate), size(bytes));
        }
        text
    }

    /// How long messages took, if that is known.
    pub(super) fn describe_latencies(&self) -> Option<String> {
        let of = |part| time(self.latencies.quantile(part));
        let most = time(self.latencies.max_us);
        (self.latencies.count > 0).then(|| {
            format!("median {}, 90 % {}, 99 % {}, most {most}", of(0.5), of(0.9), of(0.99))
        })
    }
}

/// How often which time was measured, within 3 %.
#[derive(Debug, Default)]
struct Latencies {
    /// By [`bucket`].
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Latencies {
    fn add(&mut self, us: u64) {
        let bucket = bucket(us);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The time that this part of all did not exceed.
    fn quantile(&self, part: f64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count is one"
        )]
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.map_or(0, |bucket| last_of(bucket).min(self.max_us))
    }
}

/// Exact up to 63, then 32 for each doubling.
const fn bucket(us: u64) -> usize {
    if us < 64 {
        return as_index(us);
    }
    let shift = us.ilog2() - 5;
    as_index(shift as u64 * 32 + (us >> shift))
}

#[expect(clippy::cast_possible_truncation, reason = "there are some 2,000 buckets")]
const fn as_index(bucket: u64) -> usize {
    bucket as usize
}

/// The largest time of a bucket.
const fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 64 {
        return bucket;
    }
    let shift = bucket / 32 - 1;
    ((bucket - shift * 32 + 1) << shift) - 1
}

fn time(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{}.{} ms", us / 1000, us / 100 % 10),
        _ => format!("{}.{} s", us / 1_000_000, us / 100_000 % 10),
    }
}

fn count(rate: f64) -> String {
    if rate < 100.0 {
        return format!("{rate:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
    grouped(rate.round() as u64)
}

fn size(bytes: f64) -> String {
    match bytes {
        ..1024.0 => format!("{bytes:.0} B"),
        1024.0..1_048_576.0 => format!("{:.1} KiB", bytes / 1024.0),
        _ => format!("{:.1} MiB", bytes / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut before = 0;
        for us in (0..5000).chain([1 << 20, (1 << 20) + 1, 1 << 40, u64::MAX / 2]) {
            let bucket = bucket(us);
            assert!(bucket >= before, "{us}");
            assert!(last_of(bucket) >= us && last_of(bucket) - us <= us / 32, "{us}");
            before = bucket;
        }
    }

    #[test]
    fn what_is_measured_is_described() {
        let mut meter = Meter::default();
        assert_eq!(meter.describe("received"), "0 messages received");
        assert_eq!(meter.describe_latencies(), None);
        meter.count(10, 5);
        assert_eq!(meter.describe("received"), "1 message received");
        for n in 1..=1000 {
            meter.count(2048, n * 1_000_000);
            meter.took(n * 1000);
        }
        let expected = "1,001 messages received in 1.000 s: 1,001/s, 2.0 MiB/s";
        assert_eq!(meter.describe("received"), expected);
        let latencies = meter.describe_latencies().unwrap();
        assert_eq!(latencies, "median 503 µs, 90 % 911 µs, 99 % 991 µs, most 1.0 ms");
    }
}
