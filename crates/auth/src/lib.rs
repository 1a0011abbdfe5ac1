//! Who may: passwords and access rules.
