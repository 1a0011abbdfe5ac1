//! What is told about the measurements.
pub(crate) mod table;
