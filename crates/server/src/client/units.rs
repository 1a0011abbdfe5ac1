//! Times, sizes and headers, as they are written on the command line, and numbers as they are shown.

use std::time::Duration;

/// Reads a time: seconds, or a number with `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(NO_DURATION.to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| NO_DURATION.to_owned())?;
    let seconds = number * scale;
    // A longer one is no bound, and more than timers take.
    if number > 0.0 && seconds <= 1e8 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(NO_DURATION.to_owned())
    }
}

/// Reads a number of bytes, with `KiB` or `MiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        _ => return Err(NO_BYTES.to_owned()),
    };
    let number: usize = digits.parse().map_err(|_| NO_BYTES.to_owned())?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= BODY_BYTES_MAX);
    bytes.ok_or_else(|| NO_BYTES.to_owned())
}

/// Reads how many in a second.
pub(super) fn rate(text: &str) -> Result<f64, &'static str> {
    let rate: f64 = text.parse().map_err(|_| NO_RATE)?;
    if (0.001..=1e9).contains(&rate) { Ok(rate) } else { Err(NO_RATE) }
}

/// Reads `NAME:VALUE`.
pub(super) fn header(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("a header is written NAME:VALUE, such as priority:9"),
    }
}

/// A number with a comma between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The largest body that is made or read.
pub(super) const BODY_BYTES_MAX: usize = 1 << 30;

const NO_DURATION: &str = "expected a time, such as 500ms, 10s or 5m";
const NO_BYTES: &str = "expected a number of bytes up to 1 GiB, such as 512, 4KiB or 1MiB";
const NO_RATE: &str = "expected how many in a second, such as 100 or 0.5";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let times = [("500ms", 500), ("2", 2000), ("0.5s", 500), ("1m", 60_000), ("1h", 3_600_000)];
        for (text, ms) in times {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "0", "-1", "s", "1d", "1e300", "nan", "inf", "1 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for (text, expected) in [("0", 0), ("512", 512), ("4KiB", 4096), ("1MiB", 1 << 20)] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "KiB", "1kB", "-1", "1.5MiB", "2000MiB", "99999999999999999999"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(header("a:b:c"), Ok(("a".into(), "b:c".into())));
        assert_eq!(header("a:"), Ok(("a".into(), String::new())));
        assert!(header("a").is_err() && header(":b").is_err());
        assert!(rate("0").is_err() && rate("nan").is_err() && rate("0.5").is_ok());
        let numbers = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, expected) in numbers {
            assert_eq!(grouped(number), expected);
        }
    }
}
