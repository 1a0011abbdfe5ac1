//! The header that a proxy sends before a connection's own bytes, with the client's address:
//! the PROXY protocol of HAProxy, versions 1 and 2; written in version 2.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt as _, net::TcpStream};
use wire::Reader;

/// Reads the header, and nothing behind it. Returns the client's address; `None`: the connection is
/// the proxy's own, or the client has no IP address. Nothing bounds the time that takes.
///
/// # Errors
/// When the connection ends or breaks. Of the kind [`io::ErrorKind::InvalidData`] when there is no
/// such header, with what is wrong.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = Vec::new();
    loop {
        let taken = header.len();
        header.resize(taken + PEEK_BYTES, 0);
        let peeked = stream.peek(header.get_mut(taken..).unwrap_or_default()).await?;
        if peeked == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        header.truncate(taken + peeked);
        let decoded =
            decode(&header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // All that was peeked belongs to the header, except what follows its end.
        let end = decoded.map_or(header.len(), |(_, end)| end);
        stream.read_exact(header.get_mut(taken..end).unwrap_or_default()).await?;
        if let Some((source, _)) = decoded {
            return Ok(source);
        }
    }
}

/// The header of version 2 (2.2) for a connection of `source` to `target`. An IPv4 address beside one
/// of IPv6 is written as that is mapped.
#[must_use]
pub fn encode(source: SocketAddr, target: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(PROXY);
    match (source.ip().to_canonical(), target.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            header.extend([TCP_OVER_IPV4, 0, 12]);
            header.extend(source.octets());
            header.extend(target.octets());
        }
        (source, target) => {
            header.extend([TCP_OVER_IPV6, 0, 36]);
            header.extend(mapped(source).octets());
            header.extend(mapped(target).octets());
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(target.port().to_be_bytes());
    header
}

const fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The proxy sends no such header, or a malformed one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum HeaderError {
    /// It begins like neither version.
    #[error("the proxy sends no PROXY protocol header")]
    Missing,
    /// Version 1: too long a line, or not of the form that the standard has (2.1).
    #[error("the line of PROXY protocol version 1 is malformed")]
    Line,
    /// Version 2: another version, or a command that is neither LOCAL nor PROXY.
    #[error("the PROXY protocol header is of no known version or command")]
    Version,
    /// Version 2: an address family or a transport that the standard does not have.
    #[error("the PROXY protocol header has no known family")]
    Family,
    /// Version 2: longer than [`REST_BYTES_MAX`].
    #[error("the PROXY protocol header is longer than 16 KiB")]
    TooLong,
    /// Version 2: shorter than the addresses of its family.
    #[error("the addresses of the PROXY protocol header are truncated")]
    TooShort,
}

/// The client's address, and the length of the header; `None`: it is not complete. Each call is
/// independent of the bytes that version 2 lets one skip, so that reading is linear.
fn decode(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, HeaderError> {
    if begins(bytes, SIGNATURE) {
        decode_binary(bytes)
    } else if begins(bytes, TEXT) {
        decode_text(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Whether the bytes may become, or are, something that begins like that.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.starts_with(with) || with.starts_with(bytes)
}

/// Version 1 (2.1): a line such as `PROXY TCP4 192.0.2.7 198.51.100.1 50000 443`.
fn decode_text(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, HeaderError> {
    let in_reach = bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes);
    let Some(newline) = in_reach.iter().position(|&byte| byte == b'\n') else {
        return if in_reach.len() == TEXT_BYTES_MAX { Err(HeaderError::Line) } else { Ok(None) };
    };
    let line = in_reach.get(TEXT.len()..newline).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.ok_or(HeaderError::Line)?;
    // Whatever else such a line says is not looked at.
    if line.split(|&byte| byte == b' ').next() == Some(b"UNKNOWN") {
        return Ok(Some((None, newline + 1)));
    }
    let mut words = str::from_utf8(line).map_err(|_| HeaderError::Line)?.split(' ');
    let source = match words.next() {
        Some("TCP4") => Some(text_source::<Ipv4Addr>(words).ok_or(HeaderError::Line)?),
        Some("TCP6") => Some(text_source::<Ipv6Addr>(words).ok_or(HeaderError::Line)?),
        Some(_) | None => return Err(HeaderError::Line),
    };
    Ok(Some((source, newline + 1)))
}

/// The source of `source target source-port target-port`, all of which must be there and right.
fn text_source<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Option<SocketAddr>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let source: A = words.next()?.parse().ok()?;
    let _target: A = words.next()?.parse().ok()?;
    let source_port = port(words.next()?)?;
    let _target_port = port(words.next()?)?;
    words.next().is_none().then(|| SocketAddr::new(source.into(), source_port))
}

/// Without a sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

/// Version 2 (2.2): the signature, version and command, family and transport, the length of what
/// follows, the addresses, and TLVs.
///
/// ```text
/// 12 signature | 1 version, command | 1 family, transport | 2 length | addresses | TLVs
/// ```
fn decode_binary(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, HeaderError> {
    let mut reader = Reader::new(bytes.get(SIGNATURE.len()..).unwrap_or_default());
    let is_local = match reader.u8() {
        Some(LOCAL) => true,
        Some(PROXY) => false,
        Some(_) => return Err(HeaderError::Version),
        None => return Ok(None),
    };
    let family = match reader.u8() {
        Some(both) if is_local || both & 0x0f <= 2 && both >> 4 <= 3 => both >> 4,
        Some(_) => return Err(HeaderError::Family),
        None => return Ok(None),
    };
    let Some(length) = reader.u16() else { return Ok(None) };
    let length = usize::from(length);
    if length > REST_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let addresses_len = match family {
        _ if is_local => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if length < addresses_len {
        return Err(HeaderError::TooShort);
    }
    let Some(rest) = reader.take(length) else { return Ok(None) };
    let mut rest = Reader::new(rest);
    let source = match family {
        _ if is_local => None,
        1 => Some(binary_source::<4, Ipv4Addr>(&mut rest).ok_or(HeaderError::TooShort)?),
        2 => Some(binary_source::<16, Ipv6Addr>(&mut rest).ok_or(HeaderError::TooShort)?),
        // UNSPEC, and UNIX, whose names say nothing here.
        _ => None,
    };
    Ok(Some((source, HEAD_BYTES + length)))
}

/// The source of two addresses and two ports.
fn binary_source<const N: usize, A>(reader: &mut Reader<'_>) -> Option<SocketAddr>
where
    A: From<[u8; N]> + Into<IpAddr>,
{
    let source = reader.array::<N>()?;
    let _target = reader.array::<N>()?;
    Some(SocketAddr::new(A::from(source).into(), reader.u16()?))
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const TEXT: &[u8] = b"PROXY ";
/// Version 2 and its commands.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Address families and transports.
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// The longest line of version 1, its end included (2.1).
const TEXT_BYTES_MAX: usize = 107;
/// Before what the length of version 2 counts.
const HEAD_BYTES: usize = SIGNATURE.len() + 4;
/// The most that the length of version 2 may count: room for a client's certificate.
const REST_BYTES_MAX: usize = 16 << 10;
/// Looked at in one piece; most headers are shorter.
const PEEK_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<Option<(Option<SocketAddr>, usize)>, HeaderError>;

    fn from(address: &str, len: usize) -> Outcome {
        Ok(Some((address.parse().ok(), len)))
    }

    /// Version 2: what follows the signature.
    fn binary(rest: &[u8]) -> Vec<u8> {
        [SIGNATURE, rest].concat()
    }

    fn addresses<const N: usize>(rest: &str) -> Vec<u8> {
        let mut bytes = if N == 4 { vec![0x21, 0x11, 0, 12] } else { vec![0x21, 0x21, 0, 36] };
        bytes.extend([7; N]);
        bytes.extend([8; N]);
        bytes.extend([0x12, 0x34, 0x01, 0xbb]);
        [binary(&bytes), rest.into()].concat()
    }

    #[test]
    fn headers_are_read_to_their_end_wherever_they_are_split() {
        const NONE: Outcome = Ok(None);
        let own = |len| Ok(Some((None, len)));
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        let too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
        let mut with_tlvs = binary(&[0x21, 0x11, 0, 17]);
        with_tlvs.extend(&addresses::<4>("")[HEAD_BYTES..]);
        with_tlvs.extend(b"\x04\0\x02ab");
        let cases: &[(&str, Vec<u8>, Outcome)] = &[
            (
                "an IPv4 line",
                b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\nGET /".into(),
                from("192.0.2.7:50000", 45),
            ),
            (
                "an IPv6 line",
                b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n".into(),
                from("[2001:db8::7]:1", 36),
            ),
            ("a line without addresses", b"PROXY UNKNOWN\r\n".into(), own(15)),
            ("what follows UNKNOWN is no matter", b"PROXY UNKNOWN x 1\r\n".into(), own(19)),
            ("whatever its bytes", b"PROXY UNKNOWN \xff\0\r x\r\n".into(), own(21)),
            ("the longest line", longest.into(), own(107)),
            ("a line over the bound", too_long.into(), Err(HeaderError::Line)),
            ("half a line waits", b"PROXY TCP4 192.0".into(), NONE),
            ("IPv4", addresses::<4>("\x16\x03"), from("7.7.7.7:4660", 28)),
            ("IPv6", addresses::<16>(""), from("[707:707:707:707:707:707:707:707]:4660", 52)),
            ("TLVs are skipped", with_tlvs, from("7.7.7.7:4660", 33)),
            ("LOCAL", binary(b"\x20\0\0\0"), own(16)),
            ("LOCAL, whatever else it says", binary(b"\x20\x11\0\x03abc"), own(19)),
            ("LOCAL, whatever its family", binary(b"\x20\xff\0\0"), own(16)),
            ("UNSPEC", binary(b"\x21\0\0\x02ab"), own(18)),
            ("UNIX", binary(&[&b"\x21\x31\0\xd8"[..], &[b'/'; 216]].concat()), own(232)),
            ("UDP", [binary(b"\x21\x12\0\x0c"), vec![1; 12]].concat(), from("1.1.1.1:257", 28)),
        ];
        for (rule, bytes, expected) in cases {
            let shown = bytes.escape_ascii();
            assert_eq!(decode(bytes), *expected, "{rule}: {shown}");
            let end = expected.ok().flatten().map_or(0, |(_, end)| end);
            for split in 0..end {
                assert_eq!(decode(&bytes[..split]), Ok(None), "{rule}, split at {split}: {shown}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_once() {
        let cases: &[(&str, Vec<u8>, HeaderError)] = &[
            ("HTTP", b"GET / HTTP/1.1\r\n\r\n".into(), HeaderError::Missing),
            ("a TLS hello", b"\x16\x03\x01\x02\0\x01\0".into(), HeaderError::Missing),
            ("its first byte", b"G".into(), HeaderError::Missing),
            ("another case", b"proxy TCP4".into(), HeaderError::Missing),
            ("a bare LF", b"PROXY UNKNOWN\n".into(), HeaderError::Line),
            (
                "another protocol",
                b"PROXY TCP5 192.0.2.7 192.0.2.8 1 2\r\n".into(),
                HeaderError::Line,
            ),
            ("nothing", b"PROXY \r\n".into(), HeaderError::Line),
            ("a longer word", b"PROXY UNKNOWNS\r\n".into(), HeaderError::Line),
            (
                "bytes that are no text",
                b"PROXY TCP4 \xff 192.0.2.8 1 2\r\n".into(),
                HeaderError::Line,
            ),
            ("no addresses", b"PROXY TCP4\r\n".into(), HeaderError::Line),
            ("two spaces", b"PROXY TCP4  192.0.2.7 192.0.2.8 1 2\r\n".into(), HeaderError::Line),
            (
                "a word too many",
                b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n".into(),
                HeaderError::Line,
            ),
            ("a port too few", b"PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n".into(), HeaderError::Line),
            (
                "a port too large",
                b"PROXY TCP4 192.0.2.7 192.0.2.8 1 65536\r\n".into(),
                HeaderError::Line,
            ),
            (
                "a port with a sign",
                b"PROXY TCP4 192.0.2.7 192.0.2.8 +1 2\r\n".into(),
                HeaderError::Line,
            ),
            (
                "a port with a zero before it",
                b"PROXY TCP4 192.0.2.7 192.0.2.8 01 2\r\n".into(),
                HeaderError::Line,
            ),
            ("an IPv6 address as IPv4", b"PROXY TCP4 ::1 ::1 1 2\r\n".into(), HeaderError::Line),
            (
                "an IPv4 address as IPv6",
                b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n".into(),
                HeaderError::Line,
            ),
            (
                "an octet with a zero before it",
                b"PROXY TCP4 192.0.02.7 1.2.3.4 1 2\r\n".into(),
                HeaderError::Line,
            ),
            ("half a signature", b"\r\n\r\nGET /".into(), HeaderError::Missing),
            ("another version", binary(b"\x11"), HeaderError::Version),
            ("another command", binary(b"\x22"), HeaderError::Version),
            ("another family", binary(b"\x21\x41"), HeaderError::Family),
            ("another transport", binary(b"\x21\x13"), HeaderError::Family),
            ("too short for IPv4", binary(b"\x21\x11\0\x0b"), HeaderError::TooShort),
            ("too short for IPv6", binary(b"\x21\x21\0\x23"), HeaderError::TooShort),
            ("too short for UNIX", binary(b"\x21\x31\0\xd7"), HeaderError::TooShort),
            ("longer than the bound", binary(b"\x20\0\x40\x01"), HeaderError::TooLong),
        ];
        for (rule, bytes, error) in cases {
            assert_eq!(decode(bytes), Err(*error), "{rule}");
        }
    }

    #[test]
    fn what_is_encoded_is_what_is_decoded() {
        let cases = [
            ("192.0.2.7:4711", "198.51.100.1:443", "192.0.2.7:4711", 28),
            ("[2001:db8::7]:4711", "[::1]:443", "[2001:db8::7]:4711", 52),
            ("[2001:db8::7]:4711", "198.51.100.1:443", "[2001:db8::7]:4711", 52),
            ("192.0.2.7:0", "[::1]:443", "[::ffff:192.0.2.7]:0", 52),
            ("[::ffff:192.0.2.7]:1", "198.51.100.1:443", "192.0.2.7:1", 28),
        ];
        for (source, target, decoded, len) in cases {
            let header = encode(source.parse().unwrap(), target.parse().unwrap());
            assert_eq!(decode(&header), from(decoded, len), "{source} to {target}");
            assert_eq!(header.len(), len);
        }
        let header = encode("1.2.3.4:258".parse().unwrap(), "5.6.7.8:772".parse().unwrap());
        let bytes = b"\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04";
        assert_eq!(header, binary(bytes));
    }

    #[tokio::test]
    async fn nothing_behind_a_header_is_taken() {
        for header in [b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n".to_vec(), addresses::<16>("")] {
            // In one piece, and a byte at a time.
            for piece_len in [usize::MAX, 1] {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let sent = [&header[..], b"hello"].concat();
                let send = async {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    for piece in sent.chunks(piece_len.min(sent.len())) {
                        tokio::io::AsyncWriteExt::write_all(&mut stream, piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let receive = async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    assert!(read(&mut stream).await.unwrap().is_some());
                    let mut rest = String::new();
                    stream.read_to_string(&mut rest).await.unwrap();
                    rest
                };
                let ((), rest) = tokio::join!(send, receive);
                assert_eq!(rest, "hello");
            }
        }
    }
}
