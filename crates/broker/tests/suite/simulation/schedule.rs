//! What a run is like, and what happens in it when: all drawn from its seed.

use contract::{
    BrokerLimits, ConnectionId, ConnectionLimits, DeadLetters, Destination, Pattern, QueueRules,
    QueueSettings, QuotaLimits, Redelivery,
};
use testkit::Random;

use super::model::Rules;
use crate::world::Limits;

/// What a run is like.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) cores: u16,
    pub(super) limits: Limits,
    pub(super) rules: Rules,
    /// No subscription ends and nothing is returned, so that queues keep the order of all messages.
    pub(super) is_calm: bool,
    /// Each core keeps its interest in [`super::KEPT`].
    pub(super) keeps_interest: bool,
    clients_max: usize,
    /// The core that hears late from others.
    slow: u16,
    /// One step in this number is a rest.
    rest_in: usize,
    /// With batches to store, one step in this number stores some.
    store_in: usize,
    /// With messages to load, one step in this number loads some.
    load_in: usize,
    /// With deliveries that are not written, one step in this number writes some.
    write_in: usize,
    /// One message in this number is durable.
    pub(super) durable_in: usize,
    /// Messages wait in queues, as their senders or the settings of the queues want.
    pub(super) has_delays: bool,
    /// There are durable and shared subscriptions.
    pub(super) has_bound: bool,
    /// Messages are in groups.
    pub(super) has_groups: bool,
    /// Consumers want all of a queue, or come before others.
    pub(super) has_precedence: bool,
    /// The store itself runs too; whether it syncs before it reports.
    pub(super) real_store: Option<bool>,
}

/// What has not come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight<'w> {
    /// The pairs of shards between which something is in flight.
    pub(super) busy: &'w [(u16, u16)],
    /// The cores with batches that are not stored.
    pub(super) writing: &'w [u16],
    /// The cores that want messages loaded.
    pub(super) loading: &'w [u16],
    /// The connections with deliveries that are not written.
    pub(super) reading: &'w [ConnectionId],
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// So many messages reach a shard from another.
    Carry {
        from: u16,
        to: u16,
        count: usize,
    },
    /// The store has so many more batches of a core.
    Store(u16, usize),
    /// What a core wants loaded next is.
    Load(u16),
    /// So many more deliveries to a connection are written.
    Write(ConnectionId, usize),
    /// Time passes, in milliseconds.
    Pass(u64),
    /// The clock of the day is set back, by milliseconds.
    SetBack(u64),
    /// A shard is told that time has passed.
    Timeout(u16),
    /// It may hand over more of the latest.
    Turn(u16),
    /// The disk of the store is full, or has room again.
    Disk,
    Connect(u16),
    Vanish,
    Act,
    /// All that is in flight arrives.
    Rest,
}

impl Schedule {
    pub(super) fn draw(seed: u64, random: &mut Random) -> Self {
        let cores = u16::try_from(seed % 8 + 1).unwrap();
        let is_calm = random.once_in(3);
        let rules = Rules {
            is_roomy: random.once_in(2),
            is_heavy: random.once_in(6),
            is_tight: random.once_in(3),
            is_narrow: random.once_in(4),
            is_filled: random.once_in(4),
        };
        let may_refuse = !rules.is_roomy || rules.is_heavy || rules.is_tight || rules.is_filled;
        let has_bound = !may_refuse && random.once_in(2);
        // One message may be in several of them, but in one dead-letter queue once.
        let deliveries_max = if has_bound { 1_000_000 } else { 3 };
        let broker = BrokerLimits { deliveries_max, ..BrokerLimits::default() };
        let queued_bytes_max = if rules.is_heavy { 24 << 20 } else { 12 << 10 };
        let quotas = if rules.is_tight {
            QuotaLimits {
                queued_bytes_max,
                queued_bytes_max_per_principal: queued_bytes_max / 2,
                queues_max_per_principal: 3,
            }
        } else {
            QuotaLimits {
                queued_bytes_max: 1 << 40,
                queued_bytes_max_per_principal: 1 << 40,
                ..QuotaLimits::default()
            }
        };
        let connection = ConnectionLimits {
            prefetch_max: 6,
            transactions_max: 1,
            transaction_operations_max: 5,
            unsent_bytes_max: if rules.is_narrow { 1_500 } else { usize::MAX },
            ..ConnectionLimits::default()
        };
        let waiting_bytes_max = (rules.is_narrow && random.once_in(2)).then_some(3_000);
        let latest_per_turn = random.once_in(2).then_some(2);
        let has_delays = random.once_in(2);
        let queues = if has_delays { queue_rules() } else { QueueRules::default() };
        let selection_per_turn = random.once_in(2).then_some(8);
        let search_per_turn = random.once_in(3).then_some(4);
        // Of a queue one message, or some.
        let resident_bytes_max = random.pick(&[None, Some(64), Some(64 * 1500)]);
        let limits = if rules.is_roomy {
            let broker = BrokerLimits { queue_bytes_max: 1 << 40, ..broker };
            Limits {
                broker,
                connection,
                quotas,
                rules: queues,
                waiting_bytes_max,
                latest_per_turn,
                selection_per_turn,
                search_per_turn,
                resident_bytes_max,
            }
        } else {
            Limits {
                broker: BrokerLimits {
                    queue_messages_max: 8,
                    queue_bytes_max: 16 << 20,
                    queues_max: 8,
                    ..broker
                },
                connection: ConnectionLimits {
                    subscriptions_max: 6,
                    temporary_max: 2,
                    ..connection
                },
                quotas,
                rules: queues,
                waiting_bytes_max,
                latest_per_turn,
                selection_per_turn,
                search_per_turn,
                resident_bytes_max,
            }
        };
        Self {
            cores,
            limits,
            rules,
            is_calm,
            keeps_interest: random.once_in(4),
            clients_max: 4 + random.below(8),
            slow: u16::try_from(random.below(16)).unwrap(),
            rest_in: random.pick(&[40, 100, 400]),
            store_in: random.pick(&[2, 10, 50]),
            load_in: random.pick(&[2, 10, 50]),
            write_in: random.pick(&[2, 10, 50]),
            durable_in: random.pick(&[1, 2, 10]),
            has_delays,
            has_bound,
            has_groups: random.once_in(2),
            has_precedence: random.once_in(3),
            real_store: (!rules.is_heavy && random.once_in(3)).then(|| !random.once_in(3)),
        }
    }

    pub(super) fn next(&self, random: &mut Random, world: InFlight<'_>, clients: usize) -> Step {
        let InFlight { busy, writing, loading, reading } = world;
        if random.once_in(self.rest_in) {
            return Step::Rest;
        }
        if !writing.is_empty() && random.once_in(self.store_in) {
            return Step::Store(random.pick(writing), 1 + random.below(4));
        }
        if !loading.is_empty() && random.once_in(self.load_in) {
            return Step::Load(random.pick(loading));
        }
        if !reading.is_empty() && random.once_in(self.write_in) {
            return Step::Write(random.pick(reading), 1 + random.below(4));
        }
        match random.below(20) {
            0..9 if !busy.is_empty() => self.carry(random, busy),
            9 => Step::Pass(random.below(1000) as u64),
            10 if random.once_in(2) => Step::Turn(self.any_core(random)),
            10 => Step::Timeout(self.any_core(random)),
            11 if clients < self.clients_max => Step::Connect(self.any_core(random)),
            11 if !self.is_calm && random.once_in(4) => Step::Vanish,
            12 if self.rules.is_filled && random.once_in(4) => Step::Disk,
            12 if random.once_in(20) => Step::SetBack(random.below(500) as u64),
            _ => Step::Act,
        }
    }

    fn carry(&self, random: &mut Random, busy: &[(u16, u16)]) -> Step {
        let (mut from, mut to) = random.pick(busy);
        if to == self.slow && !random.once_in(8) {
            (from, to) = random.pick(busy);
        }
        Step::Carry { from, to, count: 1 + random.below(4) }
    }

    fn any_core(&self, random: &mut Random) -> u16 {
        u16::try_from(random.below(self.cores.into())).unwrap()
    }
}

/// Some queues keep what does not say, deliver again later, and have dead letters elsewhere.
fn queue_rules() -> QueueRules {
    let queue = |text| Destination::parse(text).unwrap();
    let redelivery =
        Redelivery { attempts: Some(4), delay_ms: 200, factor: 2.0, delay_max_ms: DELAY_MAX_MS };
    let dead_letters = DeadLetters::To(queue("/queue/DLQ.q"));
    let r = QueueSettings { redelivery, dead_letters, ..QueueSettings::default() };
    let s = QueueSettings { is_durable: true, ..QueueSettings::default() };
    let rule = |text, settings| (Pattern::from(queue(text)), settings);
    QueueRules::new([rule("/queue/r", r), rule("/queue/s", s)])
}

/// A message waits no longer.
pub(super) const DELAY_MAX_MS: u64 = 600;
