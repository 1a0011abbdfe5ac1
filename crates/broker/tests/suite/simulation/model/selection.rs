//! The selectors of simulated subscriptions, and what the model says of them.

use contract::{Selector, Subscribe};

/// Whether a message with this priority and this property `key` is selected.
pub(super) type Selects = fn(u8, Option<&str>) -> bool;

/// What a subscription selects.
pub(super) fn selects(subscribe: &Subscribe) -> Selects {
    let Some(text) = subscribe.selector.as_deref().map(Selector::text) else { return |_, _| true };
    SELECTORS.iter().find(|(other, _)| *other == text).unwrap().1
}

pub(crate) const SELECTORS: [(&str, Selects); 4] = [
    ("JMSPriority > 4", |priority, _| priority > 4),
    ("key = 'x'", |_, key| key == Some("x")),
    ("key IS NULL OR key = 'y'", |_, key| key.is_none_or(|key| key == "y")),
    ("NOT key = 'y' AND JMSPriority IS NOT NULL", |_, key| key.is_some_and(|key| key != "y")),
];
