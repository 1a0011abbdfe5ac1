//! Passerelle: a gateway between browsers and messaging, in one binary.
//!
//! This crate is the shell around the pure parts. [`configuration`] loads what is wanted, [`serve`] lives
//! the life of the process.

pub mod available;
pub mod cli;
mod client;
pub mod configuration;
mod demo;
mod files;
mod init;
mod listen;
mod memory;
mod password;
mod registry;
pub mod serve;
mod store;
mod store_command;
mod systemd;
pub mod tls;
mod upstream;
