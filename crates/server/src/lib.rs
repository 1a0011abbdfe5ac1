//! Passerelle: a gateway between browsers and messaging, in one binary.
//!
//! This crate is the shell around the pure parts. [`configuration`] loads what is wanted, [`serve`] lives
//! the life of the process, `drive` is what each core does.

mod body;
pub mod cli;
mod clock;
pub mod configuration;
mod demo;
mod drive;
mod entropy;
mod excerpt;
mod exposition;
mod files;
mod forwarded;
mod gate;
mod gateway;
mod handshakes;
mod http;
mod internal_errors;
mod listen;
mod memory;
mod metrics;
mod password;
mod registry;
mod seldom;
pub mod serve;
mod services;
mod systemd;
mod tasks;
pub mod tls;
