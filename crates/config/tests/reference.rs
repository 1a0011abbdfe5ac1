//! `docs/` holds what the code says; `UPDATE_DOCS=1 cargo test -p config` rewrites it.

use std::{fs, path::Path};

use config::{reference, schema};

#[test]
fn the_reference_and_the_schema_are_those_of_the_code() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let (page, json) = (docs.join("configuration.md"), docs.join("configuration.schema.json"));
    if option_env!("UPDATE_DOCS").is_some() {
        fs::write(&page, reference()).unwrap();
        fs::write(&json, serde_json::to_string_pretty(&schema()).unwrap() + "\n").unwrap();
    }
    let outdated = "docs are outdated: see the comment of this test";
    assert!(fs::read_to_string(page).unwrap() == reference(), "{outdated}");
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert!(json == schema(), "{outdated}");
}
