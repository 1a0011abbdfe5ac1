//! A configuration in plain words.

use contract::Limits;

use super::Config;

/// Says what the gateway will do with this configuration.
#[must_use]
pub fn describe(config: &Config) -> String {
    let _ = (config, Limits::default());
    String::new()
}
