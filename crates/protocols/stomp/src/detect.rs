use contract::Detection;

/// Whether a connection begins as STOMP does: with the command of its first frame.
#[must_use]
pub fn detect(bytes: &[u8]) -> Detection {
    Detection::by_prefix(bytes, &[b"CONNECT\n", b"CONNECT\r\n", b"STOMP\n", b"STOMP\r\n"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_begins_with_a_command_on_a_line_of_its_own() {
        use Detection::{No, Yes};
        let cases: &[(&str, &[u8], Detection)] = &[
            ("CONNECT", b"CONNECT\naccept-version:1.2\n\n\0", Yes),
            ("CR LF", b"CONNECT\r\naccept-version:1.2\r\n\r\n\0", Yes),
            ("STOMP", b"STOMP\n", Yes),
            ("STOMP with CR LF", b"STOMP\r\n", Yes),
            ("HTTP's CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\n", No),
            ("another command of STOMP", b"SEND\n", No),
            ("a lone CR", b"STOMP\rx", No),
            ("another request", b"GET / HTTP/1.1\r\n", No),
            ("an empty line", b"\nCONNECT\n", No),
        ];
        for (rule, bytes, expected) in cases {
            let mut decided = Detection::More;
            for end in 1..=bytes.len() {
                let detected = detect(&bytes[..end]);
                assert!(decided == Detection::More || detected == decided, "{rule}: {end} bytes");
                decided = detected;
            }
            assert_eq!(decided, *expected, "{rule}");
        }
    }
}
