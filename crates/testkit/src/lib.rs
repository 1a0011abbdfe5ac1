//! Harnesses that every session's tests use.
#![forbid(unsafe_code)]
