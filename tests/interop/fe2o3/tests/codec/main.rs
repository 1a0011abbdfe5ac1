//! The gateway's codec of AMQP 1.0 against that of fe2o3-amqp: what one writes the other reads as it was.
//!
//! Where they differ the README says which clause of the standard decides.

mod generator;
mod performatives;
mod values;
