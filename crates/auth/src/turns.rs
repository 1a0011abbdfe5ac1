use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::{Now, internal};

use crate::AddressKey;

/// Who is next: addresses take turns, and so do the names that are tried from one address.
///
/// Each stands in line by the time since when it waits, or from when it may be served; one that was
/// served goes to the end. Addresses under suspicion have a line of their own, which gets one turn
/// of [`Turns::SUSPECTS_EVERY`] as long as others wait.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    addresses: BTreeMap<AddressKey, Waiting<T>>,
    /// The addresses by when it is their turn: those without and with suspicion.
    lines: [BTreeSet<(Place, AddressKey)>; 2],
    places: u64,
    served: u64,
}

/// A name of one address, by a keyed hash.
pub(crate) type NameKey = u64;

/// From when it may be served, and who came first.
type Place = (u64, u64);

#[derive(Debug)]
struct Waiting<T> {
    /// Its entry in a line, and in which.
    place: Place,
    line: usize,
    /// When it was last served, or began to wait.
    since: Place,
    names: BTreeMap<NameKey, Tries<T>>,
    count: usize,
}

#[derive(Debug)]
struct Tries<T> {
    since: Place,
    jobs: VecDeque<T>,
}

/// What the record of an address and its names says.
pub(crate) trait Record {
    /// Whether an address is under suspicion: a login from there failed not long ago.
    fn is_suspect(&self, address: AddressKey) -> bool;
    /// The time before which nothing of it is checked.
    fn address_until(&self, address: AddressKey) -> u64;
    /// The same of one name from there.
    fn name_until(&self, address: AddressKey, name: NameKey) -> u64;
}

impl<T: Copy + Eq> Turns<T> {
    /// One turn of so many is for addresses under suspicion, when there are others.
    const SUSPECTS_EVERY: u64 = 4;

    pub(crate) const fn new() -> Self {
        Self {
            addresses: BTreeMap::new(),
            lines: [BTreeSet::new(), BTreeSet::new()],
            places: 0,
            served: 0,
        }
    }

    /// What waits of an address, and of one name there.
    pub(crate) fn count(&self, address: AddressKey, name: NameKey) -> (usize, usize) {
        self.addresses.get(&address).map_or((0, 0), |waiting| {
            (waiting.count, waiting.names.get(&name).map_or(0, |tries| tries.jobs.len()))
        })
    }

    /// Whether a job stands in an address's line.
    pub(crate) fn contains(&self, address: AddressKey, name: NameKey, job: T) -> bool {
        let tries = self.addresses.get(&address).and_then(|waiting| waiting.names.get(&name));
        tries.is_some_and(|tries| tries.jobs.contains(&job))
    }

    pub(crate) fn push(
        &mut self,
        address: AddressKey,
        name: NameKey,
        job: T,
        now: Now,
        record: &impl Record,
    ) {
        self.places += 1;
        let since = (now.mono_ns, self.places);
        let waiting = self.addresses.entry(address).or_insert_with(|| Waiting {
            place: since,
            line: 0,
            since,
            names: BTreeMap::new(),
            count: 0,
        });
        let tries = waiting.names.entry(name);
        tries.or_insert_with(|| Tries { since, jobs: VecDeque::new() }).jobs.push_back(job);
        waiting.count += 1;
        self.update(address, record);
    }

    pub(crate) fn remove(
        &mut self,
        address: AddressKey,
        name: NameKey,
        job: T,
        record: &impl Record,
    ) {
        let Some(waiting) = self.addresses.get_mut(&address) else { return };
        let Some(tries) = waiting.names.get_mut(&name) else { return };
        let before = tries.jobs.len();
        tries.jobs.retain(|other| *other != job);
        waiting.count -= before - tries.jobs.len();
        if tries.jobs.is_empty() {
            waiting.names.remove(&name);
        }
        self.update(address, record);
    }

    /// The next job, or when there may be one.
    pub(crate) fn next(&mut self, now: Now, record: &impl Record) -> Result<T, Option<u64>> {
        let firsts = self.lines.each_ref().map(|line| line.first().copied());
        let is_due = |first: &Option<(Place, AddressKey)>| {
            first.filter(|((ready_ns, _), _)| *ready_ns <= now.mono_ns)
        };
        let [clean, suspect] = firsts.each_ref().map(is_due);
        let is_suspects_turn = self.served % Self::SUSPECTS_EVERY == Self::SUSPECTS_EVERY - 1;
        let first = if is_suspects_turn { suspect.or(clean) } else { clean.or(suspect) };
        let soonest = firsts.into_iter().flatten().map(|((ready_ns, _), _)| ready_ns).min();
        let (_, address) = first.ok_or(soonest)?;
        self.served += 1;
        self.places += 1;
        let served = (now.mono_ns, self.places);
        let Some(job) = self.take_first(address, served, record) else {
            internal!("an address in line that waits for nothing");
            return Err(soonest);
        };
        self.update(address, record);
        Ok(job)
    }

    fn take_first(
        &mut self,
        address: AddressKey,
        served: Place,
        record: &impl Record,
    ) -> Option<T> {
        let waiting = self.addresses.get_mut(&address)?;
        let (_, name) = first_name(address, waiting, record)?;
        let tries = waiting.names.get_mut(&name)?;
        let job = tries.jobs.pop_front()?;
        (waiting.since, tries.since) = (served, served);
        waiting.count -= 1;
        if tries.jobs.is_empty() {
            waiting.names.remove(&name);
        }
        Some(job)
    }

    /// Looks at an address's record again.
    pub(crate) fn update(&mut self, address: AddressKey, record: &impl Record) {
        let Some(waiting) = self.addresses.get_mut(&address) else { return };
        if let Some(line) = self.lines.get_mut(waiting.line) {
            line.remove(&(waiting.place, address));
        }
        let Some(((name_ns, _), _)) = first_name(address, waiting, record) else {
            self.addresses.remove(&address);
            return;
        };
        let (since_ns, order) = waiting.since;
        waiting.place = (since_ns.max(record.address_until(address)).max(name_ns), order);
        waiting.line = usize::from(record.is_suspect(address));
        if let Some(line) = self.lines.get_mut(waiting.line) {
            line.insert((waiting.place, address));
        }
    }

    /// Of the address that has most, suspects first, the last job of the name with most: what is
    /// given up so that another address may wait. `None`: nobody has more than the other would.
    pub(crate) fn last_of_largest(
        &self,
        other: AddressKey,
        record: &impl Record,
    ) -> Option<(AddressKey, NameKey, T)> {
        let rank = |address: AddressKey, count| (record.is_suspect(address), count);
        let own = rank(other, self.addresses.get(&other).map_or(0, |waiting| waiting.count) + 1);
        let ranked = self.addresses.iter().map(|(key, waiting)| (rank(*key, waiting.count), *key));
        let (_, address) = ranked.max().filter(|(largest, _)| *largest > own)?;
        self.last_of_name(address, 0).map(|(name, job)| (address, name, job))
    }

    /// Of the name with most jobs at an address, the last one; of a name with more than `least`.
    pub(crate) fn last_of_name(&self, address: AddressKey, least: usize) -> Option<(NameKey, T)> {
        let names = &self.addresses.get(&address)?.names;
        let (name, tries) = names.iter().max_by_key(|(_, tries)| tries.jobs.len())?;
        let last = tries.jobs.back().filter(|_| tries.jobs.len() > least)?;
        Some((*name, *last))
    }
}

fn first_name<T>(
    address: AddressKey,
    waiting: &Waiting<T>,
    record: &impl Record,
) -> Option<(Place, NameKey)> {
    let names = waiting.names.iter().map(|(name, tries)| {
        let (since_ns, order) = tries.since;
        ((since_ns.max(record.name_until(address, *name)), order), *name)
    });
    names.min()
}
