//! What the operator says of queues.

use std::sync::Arc;

use crate::{Destination, Header, Pattern};

/// What is said of queues, by their names. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueRules {
    rules: Arc<[(Pattern, Arc<QueueSettings>)]>,
    default: Arc<QueueSettings>,
}

/// What is said of a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueSettings {
    /// Whether it keeps messages whose sender does not say whether they are durable.
    pub is_durable: bool,
    /// What becomes of a message after a failed attempt to deliver it.
    pub redelivery: Redelivery,
    /// Where its dead letters go.
    pub dead_letters: DeadLetters,
}

/// What becomes of a message after a failed attempt to deliver it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Redelivery {
    /// Deliveries before it is dead; `None`: [`crate::BrokerLimits::deliveries_max`].
    pub attempts: Option<u32>,
    /// How long it waits after the first failed attempt, in milliseconds.
    pub delay_ms: u64,
    /// What that is multiplied by with each attempt after it.
    pub factor: f64,
    /// How long it waits at most.
    pub delay_max_ms: u64,
}

/// Where the dead letters of a queue go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum DeadLetters {
    /// To [`Destination::dead_letter_queue`].
    #[default]
    Own,
    /// To this one, which is a dead-letter queue: so only the gateway sends there, and it has none.
    To(Destination),
    /// Nowhere: they are dropped.
    Dropped,
}

impl QueueRules {
    /// Of several that match, the first decides.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = (Pattern, QueueSettings)>) -> Self {
        let rules = rules.into_iter().map(|(pattern, settings)| (pattern, Arc::new(settings)));
        Self { rules: rules.collect(), default: Arc::default() }
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[(Pattern, Arc<QueueSettings>)] {
        &self.rules
    }

    /// What is said of this queue. Nothing is of a temporary one.
    #[must_use]
    pub fn settings(&self, queue: &Destination) -> &Arc<QueueSettings> {
        let rule = self.rules.iter().find(|(pattern, _)| pattern.matches(queue));
        rule.map_or(&self.default, |(_, settings)| settings)
    }
}

impl QueueSettings {
    /// Whether a message is durable here: as its sender wishes, where it wishes something.
    #[must_use]
    pub fn keeps(&self, header: &Header) -> bool {
        header.durable.unwrap_or(self.is_durable)
    }

    /// Where the dead letters of this queue go; `None`: nowhere.
    #[must_use]
    pub fn dead_letter_queue(&self, queue: &Destination) -> Option<Destination> {
        let own = queue.dead_letter_queue()?;
        match &self.dead_letters {
            DeadLetters::Own => Some(own),
            DeadLetters::To(other) => Some(other.clone()),
            DeadLetters::Dropped => None,
        }
    }
}

impl Redelivery {
    /// How long a message waits after this many failed attempts, in milliseconds.
    #[must_use]
    pub fn wait_ms(&self, attempts: u32) -> u64 {
        if self.delay_ms == 0 || attempts == 0 {
            return 0;
        }
        let exponent = i32::try_from(attempts - 1).unwrap_or(i32::MAX);
        #[expect(clippy::cast_precision_loss, reason = "a wait of 2^53 ms is bounded anyway")]
        let wait_ms = self.delay_ms as f64 * self.factor.powi(exponent);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates, and no part of it is negative"
        )]
        let wait_ms = wait_ms as u64;
        wait_ms.min(self.delay_max_ms)
    }
}

/// A message is delivered again at once.
impl Default for Redelivery {
    fn default() -> Self {
        Self { attempts: None, delay_ms: 0, factor: 1.0, delay_max_ms: u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Destination {
        Destination::parse(&format!("/queue/{name}")).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |pattern, is_durable| {
            let settings = QueueSettings { is_durable, ..QueueSettings::default() };
            (Pattern::parse_scope(pattern).unwrap(), settings)
        };
        let rules = QueueRules::new([
            rule("/queue/orders.fast", false),
            rule("/queue/orders.>", true),
            rule("/queue/*.slow", false),
        ]);
        for (name, expected) in [
            ("orders.fast", false),
            ("orders.slow", true),
            ("orders", true),
            ("a.slow", false),
            ("other", false),
        ] {
            assert_eq!(rules.settings(&queue(name)).is_durable, expected, "{name}");
        }
        let temporary = Destination::temporary(crate::DestinationKind::TempQueue, 1);
        let all = QueueRules::new([rule("/queue/>", true)]);
        assert!(!all.settings(&temporary).is_durable);
    }

    #[test]
    fn a_sender_that_says_something_decides() {
        for (wish, is_durable, expected) in [
            (None, false, false),
            (None, true, true),
            (Some(true), false, true),
            (Some(false), true, false),
        ] {
            let settings = QueueSettings { is_durable, ..QueueSettings::default() };
            let header = Header { durable: wish, ..Header::new(0) };
            assert_eq!(settings.keeps(&header), expected, "{wish:?} in {is_durable}");
        }
    }

    #[test]
    fn waits_grow_up_to_the_longest() {
        let grows =
            Redelivery { attempts: None, delay_ms: 1000, factor: 2.0, delay_max_ms: 60_000 };
        let steady = Redelivery { factor: 1.0, ..grows };
        let steep = Redelivery { factor: 1e300, delay_max_ms: u64::MAX, ..grows };
        for (redelivery, attempts, expected) in [
            (grows, 0, 0),
            (grows, 1, 1000),
            (grows, 2, 2000),
            (grows, 6, 32_000),
            (grows, 7, 60_000),
            (grows, u32::MAX, 60_000),
            (steady, 9, 1000),
            (steep, u32::MAX, u64::MAX),
            (Redelivery::default(), 5, 0),
        ] {
            assert_eq!(redelivery.wait_ms(attempts), expected, "{redelivery:?} after {attempts}");
        }
    }

    #[test]
    fn dead_letters_go_where_the_queue_says() {
        let settings = |dead_letters| QueueSettings { dead_letters, ..QueueSettings::default() };
        let to = DeadLetters::To(queue("DLQ.all"));
        for (dead_letters, of, expected) in [
            (DeadLetters::Own, "a", Some("DLQ.a")),
            (to.clone(), "a", Some("DLQ.all")),
            (to, "DLQ.a", None),
            (DeadLetters::Dropped, "a", None),
        ] {
            let actual = settings(dead_letters.clone()).dead_letter_queue(&queue(of));
            assert_eq!(actual, expected.map(queue), "{dead_letters:?} of {of}");
        }
    }
}
