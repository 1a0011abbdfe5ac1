//! The unit that is shipped.

#[test]
fn the_unit_reloads_and_is_told() {
    let unit = include_str!("../../../packaging/systemd/passerelle.service");
    // Debian 12's systemd (252) has no notify-reload, which would be refused.
    for line in ["Type=notify", "ExecReload=/bin/kill -HUP $MAINPID"] {
        assert!(unit.lines().any(|said| said == line), "{line} is not in:\n{unit}");
    }
}
