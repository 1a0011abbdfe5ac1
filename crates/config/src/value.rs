//! How durations, numbers of bytes and addresses are written.

use core::net::SocketAddr;
use std::time::Duration;

use toml::value::{Datetime, Offset};

use crate::{Feed, HostPort, Server, ServerScheme, service::without_query};

/// Reads `500ms`, `30s`, `1.5s`, `5m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str =
        "expected a number of seconds, or a string such as \"500ms\", \"30s\", \"5m\" or \"1h\"";
    let unit_start = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_start);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(FORM),
    };
    let number: f64 = number.trim_end().replace('_', "").parse().map_err(|_| FORM)?;
    Some(number * seconds_per_unit)
        .filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or("a duration is between 0 and 365 days")
}

const SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// Milliseconds from 1970-01-01 UTC to a date and time that has an offset.
pub(crate) fn unix_ms(at: &Datetime) -> Result<u64, &'static str> {
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = *at else {
        return Err(DATE_AND_TIME);
    };
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    // Years that begin in March end with the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * month + 2) / 5 + i64::from(date.day) - 1;
    let days = year * 365 + leap_days + day_of_year - DAYS_TO_1970;
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute) - offset_minutes;
    let seconds = minutes * 60 + i64::from(time.second.unwrap_or_default());
    let ms = i64::from(time.nanosecond.unwrap_or_default()) / 1_000_000;
    u64::try_from(seconds * 1000 + ms)
        .map_err(|_| "a time before 1970: write a later one, such as 2026-12-31T18:00:00Z")
}

/// What is said where there is no date and time with an offset.
pub(crate) const DATE_AND_TIME: &str =
    "expected a date and time with its offset, and no quotes: 2026-12-31T18:00:00Z";

/// From the first of March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

/// Reads `16MiB` and the like.
pub(crate) fn bytes(text: &str) -> Result<usize, &'static str> {
    const FORM: &str =
        "expected a number of bytes, or a string such as \"64KiB\", \"16MiB\" or \"1GiB\"";
    let unit_start = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(FORM)?;
    let (number, unit) = text.split_at(unit_start);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(FORM),
    };
    let number: usize = number.trim_end().replace('_', "").parse().map_err(|_| FORM)?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("0 is too small: at least 1"),
        Some(bytes) => Ok(bytes),
        None => Err("too many bytes"),
    }
}

/// Writes a duration as [`duration`] reads it, in the largest unit that fits.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// Writes a number of bytes as [`bytes()`] reads it, in the largest unit that fits.
pub(crate) fn show_bytes(bytes: usize) -> String {
    match bytes {
        0 => "0".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// Writes a malformed URL, without what may be a secret.
pub(crate) fn show_url(text: &str) -> String {
    match text.contains('@') {
        true => "a URL with `user:password@`".into(),
        false => format!("`{}`", without_query(text)),
    }
}

/// Reads the address of a listener.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!(
            "`{text}` is no IP address with a port, such as 127.0.0.1:8080 for this machine alone, \
             0.0.0.0:8080 or [::]:8080 for all"
        )
    })?;
    let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
    match address.is_ipv4() == plain.is_ipv4() {
        true => Ok(address),
        false => Err(format!("`{text}` is an IPv4 address: write {plain}")),
    }
}

/// Reads `tcp://host:port`, `tls://host:port`, `ws://host:port/path` or `wss://host:port/path`.
pub(crate) fn upstream(text: &str) -> Result<Server, String> {
    let read = || {
        let (scheme, rest) = text.split_once("://")?;
        let schemes = [ServerScheme::Tcp, ServerScheme::Tls, ServerScheme::Ws, ServerScheme::Wss];
        let scheme = schemes.into_iter().find(|known| known.as_str() == scheme)?;
        let (authority, path) = match rest.find('/').filter(|_| scheme.is_websocket()) {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let with_port = || {
            let port = scheme.default_port()?;
            host_port(&format!("{authority}:{port}"))
        };
        let address = host_port(authority).or_else(with_port)?;
        let is_path = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        is_path.then(|| Server { scheme, address, path: path.into() })
    };
    read().ok_or_else(|| {
        let shown = show_url(text);
        format!(
            "{shown} is no server, such as tcp://rabbit.internal:5672, tls://rabbit.internal:5671 \
             or wss://rabbit.internal:15673/ws"
        )
    })
}

/// Reads `tcp://host:port` or `udp://address:port`.
pub(crate) fn feed(text: &str) -> Result<Feed, String> {
    let form = || {
        let shown = show_url(text);
        format!(
            "{shown} is no feed: tcp://host:port connects to a server, udp://127.0.0.1:9999 \
             receives datagrams there"
        )
    };
    match text.strip_prefix("udp://") {
        Some(address) => address.parse().map(Feed::Bind).map_err(|_| form()),
        None => {
            let server = text.strip_prefix("tcp://").and_then(host_port);
            server.map(Feed::Connect).ok_or_else(form)
        }
    }
}

/// Reads `host:port`; an IPv6 address stands in brackets.
pub(crate) fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port > 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(v6) => v6.parse::<core::net::Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    is_host.then(|| HostPort { host: bare.unwrap_or(host).into(), port })
}

/// Whether it can be the name of a host, or an IPv4 address.
pub(crate) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.split('.').all(is_label)
}

/// Reads the path of a service.
pub(crate) fn service_path(text: &str) -> Result<&str, String> {
    let trouble = match text {
        "/" => return Ok(text),
        _ if !text.starts_with('/') => "begins with a slash",
        _ if text.ends_with('/') => "has no slash at its end: what is below belongs to it anyway",
        _ if text.split('/').skip(1).any(|part| ["", ".", ".."].contains(&part)) => {
            "has no empty parts, and no . or .."
        }
        _ if !text.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\\\"".contains(&b)) => {
            "is made of printable ASCII without ? # % \\ and quotes"
        }
        _ => return Ok(text),
    };
    Err(format!("a path {trouble}"))
}

/// Reads the name of a file, without a folder.
pub(crate) fn file_name(text: &str) -> Result<&str, String> {
    match text.is_empty() || text.contains(['/', '\\']) || text.starts_with('.') {
        true => Err(format!("`{text}` is no name of a file, such as index.html")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T01:00:00.250+01:00", Some(250)),
            ("1969-12-31T23:59:59Z", None),
            ("1970-01-01T00:30:00+01:00", None),
            ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
            ("2000-03-01T00:00:00-00:30", Some(951_870_600_000)),
            ("2026-12-31T18:00:00Z", Some(1_798_740_000_000)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400_000)),
            ("2026-12-31T18:00:00", None),
            ("2026-12-31", None),
            ("18:00:00", None),
        ] {
            assert_eq!(unix_ms(&text.parse().unwrap()).ok(), expected, "{text}");
        }
    }
}
