//! The type system of AMQP 1.0 (part 1 of the standard): values read where they lie, and written.
//!
//! What reads a value looks at its constructor and its size, and at its parts only when it is asked
//! for them: nothing is copied or allocated, and what is nested costs no stack. [`check`] looks at
//! all of a value once.
#![forbid(unsafe_code)]
#![expect(clippy::wildcard_enum_match_arm, reason = "the types of the standard are complete")]

mod fields;
mod items;
mod value;
mod writer;

pub use fields::Fields;
pub use items::{Array, Items};
pub use value::{Descriptor, TypeError, Value, check, descriptor, read, skip};
pub use writer::Writer;
