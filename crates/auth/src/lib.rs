//! Who may: users and their passwords, logins, and the rules of who may subscribe and send.
//!
//! Checking a password takes some 20 ms of processor time, on purpose. [`Logins`] decides which
//! logins need that; everything else answers at once.
#![forbid(unsafe_code)]

mod access;
mod address;
mod basic;
mod failures;
mod logins;
mod password;
mod scram;
mod turns;
mod user;

pub use access::{Access, Action, Denial, Grant, Rule, RuleError, Scope};
pub use address::AddressKey;
pub use basic::{BasicError, basic};
pub use logins::{Ask, Finished, Job, Logins, Ticket, Verdict};
pub use password::{Password, PasswordError};
pub use scram::{Mechanism, Scram};
pub use user::{User, UserError, Users};
