//! Authentication and authorisation: users and their passwords, logins, and access rules.
//!
//! Checking a password takes some 20 ms of processor time, on purpose. [`Logins`] decides which
//! logins need that; everything else is decided at once.
#![forbid(unsafe_code)]

mod access;
mod address;
mod basic;
mod decoys;
mod exchanges;
mod failures;
mod fair_queue;
mod logins;
mod password;
mod scram;
mod scram_exchange;
mod user;

pub use access::{Access, Action, Denial, Grant, Rule, RuleError, Scope};
pub use address::AddressKey;
pub use basic::{BasicError, basic};
pub use logins::{Accepted, Authentication, Finished, Job, LoginId, Logins, Verdict};
pub use password::{Password, PasswordError};
pub use scram::{Mechanism, Scram, ScramError};
pub use user::{Change, User, UserError, Users};
