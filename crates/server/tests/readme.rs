//! What the README shows is true.

use config::{Config, describe};

#[test]
fn the_configuration_of_the_readme_is_one() {
    let config = Config::parse(&block("toml"), "passerelle.toml").unwrap();
    let described = describe(&config);
    assert!(described.contains("/messaging"), "{described}");
    assert_eq!(config.services.len(), 4, "the broker, and what operators need");
}

/// The README's first block in a language.
fn block(language: &str) -> String {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once(&format!("```{language}\n")).expect("a block");
    rest.split_once("```").expect("its end").0.to_owned()
}
