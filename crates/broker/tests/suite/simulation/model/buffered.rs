//! What the model knows of a subscription to topics to which nothing is pushed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::{ConflationKey, SlowPolicy, Subscribe};

use super::{Arrival, CommandId, Producer, Sent};

#[derive(Debug)]
pub(crate) struct Buffered {
    on_slow: SlowPolicy,
    pub(super) has_credit: bool,
    pub(super) rate: Option<u32>,
    /// What has no room before a selector has looked at it counts as dropped, whatever it is.
    has_selector: bool,
    /// Messages that it must have been offered, if their commands were carried out, and the others
    /// that it may have been.
    certain: BTreeMap<u128, CommandId>,
    possible: BTreeSet<u128>,
    /// Those of the certain ones of which neither they nor what may have replaced them has come.
    missing: BTreeMap<u128, (Producer, Option<String>)>,
    got: u64,
    dropped: u64,
    /// A message may expire that waits.
    may_expire: bool,
    /// One may have, and no delivery has told since.
    may_have_expired: bool,
    /// When the last messages came.
    times_ns: VecDeque<u64>,
}

impl Buffered {
    pub(super) fn new(subscribe: &Subscribe) -> Self {
        Self {
            on_slow: subscribe.on_slow.clone(),
            has_credit: subscribe.credit.is_some(),
            rate: subscribe.rate.map(Into::into),
            has_selector: subscribe.selector.is_some(),
            certain: BTreeMap::new(),
            possible: BTreeSet::new(),
            missing: BTreeMap::new(),
            got: 0,
            dropped: 0,
            may_expire: false,
            may_have_expired: false,
            times_ns: VecDeque::new(),
        }
    }

    /// It may end when more waits than may.
    pub(super) fn may_be_closed(&self) -> bool {
        self.on_slow == SlowPolicy::Close
    }

    /// What a message is about, so that a newer one about it says all. Where nothing is dropped, and
    /// of what has no key, each is about itself.
    fn key(&self, to: &str, key: Option<&str>) -> Option<String> {
        match &self.on_slow {
            SlowPolicy::Close => None,
            SlowPolicy::DropOldest => Some(String::new()),
            SlowPolicy::Latest(ConflationKey::Destination) => Some(to.to_owned()),
            SlowPolicy::Latest(ConflationKey::Property(_)) => key.map(str::to_owned),
        }
    }

    /// In which order a message comes: with those of the same producer and result.
    pub(super) fn order_key(&self, arrival: &Arrival) -> String {
        match &self.on_slow {
            SlowPolicy::Latest(ConflationKey::Property(_)) => format!("key {:?}", arrival.key),
            SlowPolicy::Close
            | SlowPolicy::DropOldest
            | SlowPolicy::Latest(ConflationKey::Destination) => arrival.to.clone(),
        }
    }

    /// A message is published that it may get.
    pub(super) fn offer(
        &mut self,
        sent: &Sent,
        producer: Producer,
        command: CommandId,
        is_certain: bool,
    ) {
        let key = self.key(&sent.to, sent.key.as_deref());
        if is_certain && sent.expires_unix_ms.is_none() {
            self.certain.insert(sent.id, command);
            self.missing.insert(sent.id, (producer, key));
            return;
        }
        self.possible.insert(sent.id);
        if sent.expires_unix_ms.is_some() {
            self.may_expire = true;
            // It may take the place of others, and then expire.
            self.missing.retain(|_, (_, other)| key.is_none() || *other != key);
        }
    }

    pub(super) fn delivered(&mut self, arrival: &Arrival, now_ns: u64) {
        self.got += 1;
        self.dropped += u64::from(arrival.dropped);
        self.may_have_expired = false;
        let key = self.key(&arrival.to, arrival.key.as_deref());
        self.missing.retain(|&id, (producer, other)| {
            let is_replaced = key.is_some()
                && *other == key
                && (*producer != arrival.producer || id < arrival.id);
            id != arrival.id && !is_replaced
        });
        let Some(rate) = self.rate else { return };
        self.times_ns.push_back(now_ns);
        for (&since, count) in self.times_ns.iter().rev().zip(0_u64..) {
            let allowed = u128::from(now_ns - since + BURST_NS) * u128::from(rate) / 1_000_000_000;
            assert!(u128::from(count) <= allowed, "{count} in {} ns", now_ns - since);
        }
        if self.times_ns.len() > 20 {
            self.times_ns.pop_front();
        }
    }

    /// Nothing is in flight, and nothing keeps it from what waits: so nothing does. `is_narrow`: more
    /// may have come than may wait.
    pub(super) fn rest(
        &mut self,
        verdict: impl Fn(CommandId) -> Option<bool>,
        is_narrow: bool,
    ) -> bool {
        let count = |counts: fn(Option<bool>) -> bool| {
            self.certain.values().filter(|&&command| counts(verdict(command))).count() as u64
        };
        let (least, most) = (count(|v| v == Some(true)), count(|v| v != Some(false)));
        let most = most + self.possible.len() as u64;
        let all = self.got + self.dropped;
        let may_be_more = self.has_selector && is_narrow;
        assert!(
            all <= most || may_be_more,
            "{} came and {} were dropped, of {most}",
            self.got,
            self.dropped
        );
        let is_told = !self.may_expire && !self.may_have_expired && !is_narrow;
        self.may_have_expired |= std::mem::take(&mut self.may_expire);
        if !is_told {
            return false;
        }
        assert!(all >= least, "{} came and {} were dropped, of {least}", self.got, self.dropped);
        let mut missing = self.missing.keys().filter(|&id| {
            let command = self.certain.get(id);
            command.is_some_and(|&command| verdict(command) == Some(true))
        });
        let missing = missing.next();
        assert_eq!(missing, None, "the newest has not come");
        true
    }

    pub(super) const fn has_dropped(&self) -> bool {
        self.dropped > 0
    }
}

/// What may come at once, of a time in which nothing came.
const BURST_NS: u64 = 100_000_000;
