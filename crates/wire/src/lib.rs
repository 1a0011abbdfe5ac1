//! Reading bytes that came from outside, without panics.
#![forbid(unsafe_code)]

mod map;
mod reader;

pub use map::Map;
pub use reader::Reader;
