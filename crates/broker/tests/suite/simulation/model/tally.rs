/// How often runs came by what they are to test.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) topic_deliveries: u64,
    /// Deliveries to subscriptions to topics to which nothing is pushed, what was dropped for these,
    /// how often all of that was accounted for, and how many of them ended since too much waited for their
    /// connection, or on their core.
    pub(super) buffered: u64,
    pub(super) dropped: u64,
    pub(super) told: u64,
    pub(super) closed: [u64; 2],
    pub(crate) queue_deliveries: u64,
    /// Of these, those from durable and shared subscriptions.
    pub(super) bound: u64,
    pub(super) redeliveries: u64,
    /// Deliveries of messages with a group, and those behind one that had closed it.
    pub(super) grouped: u64,
    pub(super) groups_closed: u64,
    /// Deliveries to exclusive consumers.
    pub(super) exclusive: u64,
    /// Deliveries to subscriptions that browse.
    pub(super) shown: u64,
    pub(super) dead_letters: u64,
    pub(super) expired: u64,
    pub(super) committed: u64,
    pub(super) rolled_back: u64,
    /// Requests whose end was shown by what they did, before a reply or without.
    pub(super) found_out: u64,
    pub(super) refused: u64,
    /// Of these, those for want of memory in all queues, or of one principal's memory or queues.
    pub(super) over_quota: [u64; 3],
    /// Those for want of room on the disk.
    pub(super) store_full: u64,
    /// Subscriptions that were ended from outside.
    pub(super) cancelled: u64,
    /// Publications that waited at a full queue when nothing was in flight.
    pub(super) waiting: u64,
    /// Runs in which a bound on what is in flight was reached.
    pub(super) busy: u64,
    pub(super) rests: u64,
    /// Messages that were loaded from the disk.
    pub(crate) loaded: u64,
    /// Ends of the process or the machine within what the store did, after which it was read.
    pub(crate) ends: u64,
}

impl Tally {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.topic_deliveries += other.topic_deliveries;
        self.buffered += other.buffered;
        self.dropped += other.dropped;
        self.told += other.told;
        let [connection, core] = other.closed;
        self.closed[0] += connection;
        self.closed[1] += core;
        self.queue_deliveries += other.queue_deliveries;
        self.bound += other.bound;
        self.redeliveries += other.redeliveries;
        self.grouped += other.grouped;
        self.groups_closed += other.groups_closed;
        self.exclusive += other.exclusive;
        self.shown += other.shown;
        self.dead_letters += other.dead_letters;
        self.expired += other.expired;
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.found_out += other.found_out;
        self.refused += other.refused;
        let [memory, principal, queues] = other.over_quota;
        self.over_quota[0] += memory;
        self.over_quota[1] += principal;
        self.over_quota[2] += queues;
        self.store_full += other.store_full;
        self.cancelled += other.cancelled;
        self.waiting += other.waiting;
        self.busy += other.busy;
        self.rests += other.rests;
        self.loaded += other.loaded;
        self.ends += other.ends;
    }

    /// So many runs came by everything.
    pub(crate) fn assert_covers(&self, runs: u64) {
        let counts = [
            (self.topic_deliveries, 45),
            (self.buffered, 10),
            (self.dropped, 2),
            (8 * self.told, 1),
            (20 * self.closed[0], 1),
            (100 * self.closed[1], 1),
            (self.queue_deliveries, 50),
            (self.bound, 2),
            (self.redeliveries, 4),
            (self.grouped, 10),
            (5 * self.groups_closed, 1),
            (self.exclusive, 1),
            (self.shown, 4),
            (self.dead_letters, 1),
            (self.expired, 2),
            (self.committed, 10),
            (self.rolled_back, 4),
            (self.found_out, 2),
            (self.refused, 10),
            (self.over_quota[0], 1),
            (2 * self.over_quota[1], 1),
            (self.over_quota[2], 1),
            (self.store_full, 1),
            (self.cancelled, 1),
            (self.waiting, 1),
            (self.rests, 4),
            (self.loaded, 4),
            (self.ends, 1),
        ];
        let is_covered = counts.iter().all(|&(count, per_run)| count >= runs * per_run);
        assert!(is_covered && self.busy > 0, "{runs} runs came by too little: {self:?}");
    }
}
