use std::{collections::VecDeque, mem, sync::Arc};

use contract::{Message, Tag};

use crate::{
    link::{LinkId, Unsent},
    outcome::Verdict,
};

/// The deliveries of a session that its peer has not settled, in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    list: VecDeque<Entry>,
    /// How many of the list are gone.
    gone: usize,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u32,
    pub(crate) link: LinkId,
    pub(crate) origin: Origin,
    pub(crate) state: EntryState,
}

/// What a delivery can be delivered again from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// What its queue knows it by.
    Queued(Tag),
    /// The message of a topic, which keeps nothing ([`Unsent::order`], [`Unsent::redeliveries`]).
    Kept {
        message: Arc<Message>,
        order: u32,
        redeliveries: u8,
    },
    Nothing,
}

impl Origin {
    const fn tag(&self) -> Option<Tag> {
        match self {
            Self::Queued(tag) => Some(*tag),
            Self::Kept { .. } | Self::Nothing => None,
        }
    }

    /// Bytes of what is kept.
    fn bytes(&self) -> usize {
        match self {
            Self::Kept { message, .. } => message.cost(),
            Self::Queued(_) | Self::Nothing => 0,
        }
    }

    /// What is kept, to be sent again.
    fn take(&mut self) -> Option<Unsent> {
        match mem::replace(self, Self::Nothing) {
            Self::Kept { message, order, redeliveries } => {
                let (tag, progress) = (None, None);
                Some(Unsent { message, tag, redeliveries: redeliveries.into(), order, progress })
            }
            Self::Queued(_) | Self::Nothing => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EntryState {
    Unsettled,
    /// Settled with the transaction. `by_peer`: the peer has settled it already.
    InTransaction {
        transaction: u64,
        verdict: Verdict,
        by_peer: bool,
    },
    Gone,
}

/// Deliveries that follow each other, of one link and of one state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) link: LinkId,
    pub(crate) ids: (u32, u32),
    /// The first and the last; `None`: of a topic.
    pub(crate) tags: Option<(Tag, Tag)>,
    pub(crate) count: u32,
    /// Bytes of what is kept of a topic.
    pub(crate) bytes: usize,
}

impl Run {
    fn of(entry: &Entry) -> Self {
        let tags = entry.origin.tag().map(|tag| (tag, tag));
        let (ids, bytes) = ((entry.id, entry.id), entry.origin.bytes());
        Self { link: entry.link, ids, tags, count: 1, bytes }
    }

    /// Adds the next one.
    fn extend(&mut self, entry: &Entry) {
        self.ids.1 = entry.id;
        self.count += 1;
        self.bytes += entry.origin.bytes();
        if let (Some((_, last)), Some(tag)) = (&mut self.tags, entry.origin.tag()) {
            *last = tag;
        }
    }
}

impl Unsettled {
    pub(crate) fn push(&mut self, id: u32, link: LinkId, origin: Origin) {
        self.list.push_back(Entry { id, link, origin, state: EntryState::Unsettled });
    }

    /// Changes those with these ids that are unsettled and in no transaction; returns them. `taken` is
    /// given what was kept of those that are gone.
    pub(crate) fn change(
        &mut self,
        first: u32,
        last: u32,
        state: EntryState,
        mut taken: impl FnMut(LinkId, Unsent),
    ) -> Vec<Run> {
        let Some(base) = self.list.front().map(|entry| entry.id) else { return Vec::new() };
        let first = serial(first, base).max(0);
        let last = serial(last, base);
        let start = self.list.partition_point(|entry| serial(entry.id, base) < first);
        let mut runs = Runs::default();
        for entry in self.list.range_mut(start..) {
            if serial(entry.id, base) > last {
                break;
            }
            match entry.state {
                EntryState::Unsettled => {
                    entry.state = state;
                    runs.add(entry, true);
                    if state == EntryState::Gone {
                        self.gone += 1;
                        if let Some(kept) = entry.origin.take() {
                            taken(entry.link, kept);
                        }
                    }
                }
                EntryState::InTransaction { .. } => runs.end(),
                EntryState::Gone => {}
            }
        }
        self.tidy();
        runs.list
    }

    /// Those of a transaction, each run with what became of it and whether the peer has settled it.
    pub(crate) fn in_transaction(&self, transaction: u64) -> Vec<(Run, Verdict, bool)> {
        let mut all: Vec<(Run, Verdict, bool)> = Vec::new();
        let mut last = None;
        for (index, entry) in self.list.iter().enumerate() {
            let EntryState::InTransaction { transaction: of, verdict, by_peer } = entry.state
            else {
                // What lies between would be settled with them.
                if entry.state == EntryState::Unsettled {
                    last = None;
                }
                continue;
            };
            if of != transaction {
                last = None;
                continue;
            }
            match (all.last_mut(), last) {
                (Some((run, is, peer)), Some(_))
                    if (run.link, *is, *peer) == (entry.link, verdict, by_peer) =>
                {
                    run.extend(entry);
                }
                _ => all.push((Run::of(entry), verdict, by_peer)),
            }
            last = Some(index);
        }
        all
    }

    /// The transaction has ended: those that the peer has settled are gone, and the others too, if
    /// it was carried out. `taken` is given what was kept of those that are gone.
    pub(crate) fn end_transaction(
        &mut self,
        transaction: u64,
        is_done: bool,
        mut taken: impl FnMut(LinkId, Verdict, Unsent),
    ) {
        for entry in &mut self.list {
            if let EntryState::InTransaction { transaction: of, by_peer, verdict } = entry.state
                && of == transaction
            {
                let is_gone = is_done || by_peer;
                entry.state = if is_gone { EntryState::Gone } else { EntryState::Unsettled };
                self.gone += usize::from(is_gone);
                if is_gone && let Some(kept) = entry.origin.take() {
                    taken(entry.link, verdict, kept);
                }
            }
        }
        self.tidy();
    }

    /// A link has ended. Returns the transactions that were to settle deliveries of it.
    pub(crate) fn end_link(&mut self, link: LinkId) -> Vec<u64> {
        let mut transactions = Vec::new();
        for entry in self.list.iter_mut().filter(|entry| entry.link == link) {
            if let EntryState::InTransaction { transaction, .. } = entry.state
                && entry.origin.tag().is_some()
                && !transactions.contains(&transaction)
            {
                transactions.push(transaction);
            }
            self.gone += usize::from(entry.state != EntryState::Gone);
            entry.state = EntryState::Gone;
            entry.origin = Origin::Nothing;
        }
        self.tidy();
        transactions
    }

    /// Forgets what is gone, where that costs little.
    fn tidy(&mut self) {
        while self.list.pop_front_if(|entry| entry.state == EntryState::Gone).is_some() {
            self.gone -= 1;
        }
        if self.gone > self.list.len() / 2 {
            self.list.retain(|entry| entry.state != EntryState::Gone);
            self.gone = 0;
        }
        if self.list.is_empty() {
            self.list.shrink_to(KEPT);
        }
    }
}

#[derive(Debug, Default)]
struct Runs {
    list: Vec<Run>,
    is_open: bool,
}

impl Runs {
    fn add(&mut self, entry: &Entry, is_open: bool) {
        match self.list.last_mut() {
            Some(run) if self.is_open && run.link == entry.link => run.extend(entry),
            _ => self.list.push(Run::of(entry)),
        }
        self.is_open = is_open;
    }

    const fn end(&mut self) {
        self.is_open = false;
    }
}

/// Where a serial number (RFC 1982) lies, seen from another.
pub(crate) const fn serial(id: u32, base: u32) -> i32 {
    id.wrapping_sub(base).cast_signed()
}

/// Entries that an empty list keeps room for.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn unsettled(first: u32, links: &[u32]) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for (index, link) in (0..).zip(links) {
            let origin = Origin::Queued(Tag(index.into()));
            unsettled.push(first.wrapping_add(index), LinkId(*link), origin);
        }
        unsettled
    }

    fn change(list: &mut Unsettled, first: u32, last: u32, state: EntryState) -> Vec<Run> {
        list.change(first, last, state, |_, _| {})
    }

    fn shown(runs: &[Run]) -> Vec<(u32, u32, u32, u32)> {
        runs.iter().map(|run| (run.link.0, run.ids.0, run.ids.1, run.count)).collect()
    }

    #[test]
    fn a_range_settles_what_is_in_it_link_by_link() {
        let mut list = unsettled(5, &[1, 1, 2, 2, 1]);
        assert_eq!(shown(&change(&mut list, 6, 8, EntryState::Gone)), [(1, 6, 6, 1), (2, 7, 8, 2)]);
        assert_eq!(shown(&change(&mut list, 0, u32::MAX / 4, EntryState::Gone)), [(1, 5, 9, 2)]);
        assert_eq!((list.list.len(), list.gone), (0, 0));
        assert!(change(&mut list, 0, u32::MAX, EntryState::Gone).is_empty());
    }

    #[test]
    fn what_is_kept_takes_no_more_room_than_a_tag() {
        assert_eq!(size_of::<Origin>(), size_of::<Option<Tag>>());
    }

    #[test]
    fn ids_wrap() {
        let mut list = unsettled(u32::MAX - 1, &[1; 4]);
        assert_eq!(shown(&change(&mut list, u32::MAX, 0, EntryState::Gone)), [(1, u32::MAX, 0, 2)]);
        assert_eq!(shown(&change(&mut list, 1, 1, EntryState::Gone)), [(1, 1, 1, 1)]);
        assert_eq!(shown(&change(&mut list, u32::MAX - 5, 9, EntryState::Gone)).len(), 1);
    }

    #[test]
    fn what_is_in_a_transaction_is_left_and_divides_what_is_around() {
        let mut list = unsettled(0, &[1; 5]);
        let state =
            EntryState::InTransaction { transaction: 7, verdict: Verdict::Accepted, by_peer: true };
        assert_eq!(shown(&change(&mut list, 2, 2, state)), [(1, 2, 2, 1)]);
        assert_eq!(shown(&change(&mut list, 0, 4, EntryState::Gone)), [(1, 0, 1, 2), (1, 3, 4, 2)]);
        assert_eq!(list.in_transaction(7).len(), 1);
        list.end_transaction(7, false, |_, _, _| {});
        assert!(list.list.is_empty());
    }

    #[test]
    fn a_link_that_ends_names_its_transactions() {
        let mut list = unsettled(0, &[1, 2, 1]);
        let state = EntryState::InTransaction {
            transaction: 3,
            verdict: Verdict::Accepted,
            by_peer: false,
        };
        change(&mut list, 2, 2, state);
        assert_eq!(list.end_link(LinkId(1)), [3]);
        assert_eq!(shown(&change(&mut list, 0, 9, EntryState::Gone)), [(2, 1, 1, 1)]);
    }
}
