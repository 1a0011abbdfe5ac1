//! WebSocket (RFC 6455, RFC 7692, hybi-06) as a pure codec.
#![forbid(unsafe_code)]
