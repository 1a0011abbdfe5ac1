//! A configuration is taken or refused with a place in the file and a word of advice.
#![no_main]

use config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::parse(text, "passerelle.toml") {
        Ok(config) => assert!(!config.listens.is_empty()),
        Err(error) => assert!(error.to_string().starts_with("passerelle.toml:")),
    }
});
