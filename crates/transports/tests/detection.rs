//! Which protocol a connection speaks, by the bytes with which it begins.

use std::{io, time::Duration};

use contract::Detection;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time,
};
use transports::Accepted;

#[test]
fn a_protocol_is_detected_by_how_the_connection_begins() {
    let cases: &[(&str, &[&str], Option<usize>)] = &[
        ("a prefix", &["AB"], Some(0)),
        ("a prefix in pieces", &["A", "B"], Some(0)),
        ("and what follows", &["ABCDEF"], Some(0)),
        ("another protocol", &["AC"], Some(1)),
        ("the third", &["AX"], Some(2)),
        ("none of them", &["X"], None),
        ("none of them after all", &["A", "D"], None),
    ];
    for (rule, pieces, expected) in cases {
        let (found, early) = detect(pieces).unwrap();
        assert_eq!(found, *expected, "{rule}");
        // What was read to find it out is not lost.
        assert!(!early.is_empty() && pieces.concat().as_bytes().starts_with(&early), "{rule}");
    }
}

#[test]
fn a_protocol_that_never_decides_is_not_spoken() {
    let long = "M".repeat(2 * Detection::BYTES_MAX);
    let (found, early) = detect(&[&long]).unwrap();
    assert_eq!(found, None);
    assert!(early.len() >= Detection::BYTES_MAX);
}

#[test]
fn a_connection_that_ends_before_it_is_clear_speaks_nothing() {
    for pieces in [&[][..], &["A"]] {
        assert_eq!(detect(pieces).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn tls_begins_with_a_handshake_record_alone() {
    let cases: &[(&str, &[u8], bool)] = &[
        ("a handshake record", &[22, 3, 1], true),
        ("its first byte alone", &[22], true),
        ("application data before a handshake", &[23, 3, 3], false),
        ("an alert", &[21, 3, 3], false),
        ("an SSL 2.0 hello", &[0x80, 0x2e, 1], false),
        ("a capital letter", b"GET /", false),
        ("a small letter", b"get /", false),
        ("an end of line", b"\r\n", false),
        ("a binary protocol", &[0x10, 0x0c, 0, 4], false),
        ("zero", &[0], false),
    ];
    for (rule, bytes, expected) in cases {
        assert_eq!(begins_tls(bytes).unwrap(), *expected, "{rule}");
    }
    assert_eq!(begins_tls(b"").unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "nothing");
}

/// The peer ends after its bytes.
fn begins_tls(bytes: &[u8]) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut peer = TcpStream::connect(listener.local_addr()?).await?;
        let mut accepted = listener.accept().await?.0;
        peer.write_all(bytes).await?;
        peer.shutdown().await?;
        let begins_tls = Accepted::begins_tls(&accepted).await?;
        // What was looked at stays to be read.
        let mut unread = Vec::new();
        accepted.read_to_end(&mut unread).await?;
        assert_eq!(unread, bytes);
        Ok(begins_tls)
    })
}

/// The index of the protocol, and what was read until it was clear. The peer ends after its pieces.
fn detect(pieces: &[&str]) -> io::Result<(Option<usize>, Vec<u8>)> {
    let protocols: [fn(&[u8]) -> Detection; 4] = [
        |bytes| Detection::by_prefix(bytes, &[b"AB"]),
        |bytes| Detection::by_prefix(bytes, &[b"AC"]),
        |bytes| Detection::by_prefix(bytes, &[b"AX"]),
        |bytes| if bytes.starts_with(b"M") { Detection::More } else { Detection::No },
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut peer = TcpStream::connect(listener.local_addr()?).await?;
        peer.set_nodelay(true)?;
        let mut connection = Accepted::plain(listener.accept().await?.0);
        let send = async {
            for piece in pieces {
                peer.write_all(piece.as_bytes()).await?;
                time::sleep(Duration::from_millis(5)).await;
            }
            peer.shutdown().await
        };
        let (found, sent) = tokio::join!(connection.detect(&protocols), send);
        // A peer that is no longer read may fail to send.
        drop::<io::Result<()>>(sent);
        Ok((found?, connection.into_stream()?.1))
    })
}
