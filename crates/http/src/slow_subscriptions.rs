use std::cmp::Reverse;

use broker::SlowSubscription;

/// The subscriptions that miss most of what was published.
#[derive(Debug, Default)]
pub(crate) struct SlowSubscriptions(Vec<Slow>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    /// The connection, as logs name it.
    pub(crate) connection: String,
    /// Its number within the connection.
    pub(crate) subscription: String,
    /// What it subscribes to.
    pub(crate) destination: String,
    pub(crate) dropped: u64,
    pub(crate) conflated: u64,
    pub(crate) waiting: u64,
}

impl SlowSubscriptions {
    /// How many are named. Each is a time series of its own in Prometheus.
    pub(crate) const NAMED_MAX: usize = 100;

    /// Those of one core. It never holds more than twice what it keeps.
    pub(crate) fn collect<'a>(all: impl Iterator<Item = SlowSubscription<'a>>) -> Self {
        let mut slowest: Vec<SlowSubscription<'a>> = Vec::new();
        for slow in all {
            slowest.push(slow);
            if slowest.len() == 2 * Self::NAMED_MAX {
                keep_slowest(&mut slowest, |slow| slow.dropped + slow.conflated);
            }
        }
        keep_slowest(&mut slowest, |slow| slow.dropped + slow.conflated);
        Self(slowest.into_iter().map(Slow::new).collect())
    }

    /// Those of all cores.
    pub(crate) fn merge<'a>(parts: impl Iterator<Item = &'a Self>) -> Vec<Slow> {
        let mut all: Vec<Slow> = parts.flat_map(|part| part.0.iter().cloned()).collect();
        keep_slowest(&mut all, |slow| slow.dropped + slow.conflated);
        all
    }
}

impl Slow {
    fn new(slow: SlowSubscription<'_>) -> Self {
        Self {
            connection: drive::connection_name(slow.subscriber.connection),
            subscription: slow.subscriber.subscription.0.to_string(),
            destination: slow.pattern.to_string(),
            dropped: slow.dropped,
            conflated: slow.conflated,
            waiting: u64::try_from(slow.waiting).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn labels(&self) -> [(&str, &str); 3] {
        [
            ("connection", &self.connection),
            ("subscription", &self.subscription),
            ("destination", &self.destination),
        ]
    }
}

fn keep_slowest<T>(all: &mut Vec<T>, missed: impl Fn(&T) -> u64) {
    all.sort_by_key(|slow| Reverse(missed(slow)));
    all.truncate(SlowSubscriptions::NAMED_MAX);
}

#[cfg(test)]
mod tests {
    use broker::Subscriber;
    use contract::{ConnectionId, Pattern, SubscriptionId};

    use super::*;

    #[test]
    fn names_no_more_than_the_slowest() {
        let pattern = Pattern::parse("/topic/a.*").unwrap();
        let slow = |n: u32| SlowSubscription {
            subscriber: Subscriber {
                connection: ConnectionId { core: 1, slot: n, generation: 2 },
                subscription: SubscriptionId(3),
            },
            pattern: &pattern,
            dropped: u64::from(n % 2),
            conflated: u64::from(n),
            waiting: 4,
        };
        let parts = [SlowSubscriptions::collect((0..999).map(slow)), SlowSubscriptions::default()];
        assert_eq!(parts[0].0.len(), SlowSubscriptions::NAMED_MAX);
        let all = SlowSubscriptions::merge(parts.iter());
        assert_eq!(all.len(), SlowSubscriptions::NAMED_MAX);
        assert!(all.iter().all(|slow| slow.conflated >= 998 - 100));
        let labels = all.iter().find(|slow| slow.conflated == 998).map(Slow::labels);
        let expected =
            [("connection", "1.998.2"), ("subscription", "3"), ("destination", "/topic/a.*")];
        assert_eq!(labels, Some(expected));
    }
}
