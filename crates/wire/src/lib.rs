//! Reading bytes that came from outside, without panics.
#![forbid(unsafe_code)]

mod extend;
mod fragments;
mod map;
mod reader;
mod utf8;

pub use extend::extend_within;
pub use fragments::Fragments;
pub use map::Map;
pub use reader::Reader;
pub use utf8::{NotUtf8, Utf8, is_text};
