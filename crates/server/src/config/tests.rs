use super::*;

#[test]
fn an_empty_file_is_the_default() {
    let config = Config::parse("", "a.toml").unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
}
