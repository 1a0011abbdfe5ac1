use contract::Detection;

/// Whether a connection begins as AMQP 1.0 does. One that wants another layer or version of AMQP is
/// told so by the header of this one.
#[must_use]
pub fn detect(bytes: &[u8]) -> Detection {
    Detection::by_prefix(bytes, &[b"AMQP"])
}

/// The header of a connection, or of what follows its login.
pub const PLAIN_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
/// The header of a login.
pub const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_begins_with_a_header() {
        use Detection::{More, No, Yes};
        for (bytes, expected) in [
            (&PLAIN_HEADER[..], Yes),
            (&SASL_HEADER, Yes),
            (b"AMQP\x00\x00\x09\x01", Yes),
            (b"AMQ", More),
            (b"AMQX", No),
            (b"GET / HTTP/1.1\r\n", No),
        ] {
            assert_eq!(detect(bytes), expected, "{bytes:?}");
        }
    }
}
