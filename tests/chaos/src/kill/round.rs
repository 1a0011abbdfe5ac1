//! A round: one store, and the gateways that are killed on it.

use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
    fs, io,
    path::Path,
    thread,
    time::Duration,
};

use super::{
    Forget,
    actors::{self, Actor},
    check,
    dice::Dice,
    durable,
    event::{self, Event, MessageId},
    process::{DELIVERIES_MAX, Gateway, Place},
    stage::Stage,
};

/// What came of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) totals: Totals,
    pub(super) faults: Vec<String>,
}

/// How much there was of what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    kills: u32,
    /// Of these, before the gateway listened.
    early: u32,
    confirmed: usize,
    settled: usize,
    transactions: usize,
    redelivered: usize,
    dead_letters: usize,
    browsed: usize,
    /// Messages that were sent again, and transactions.
    again: usize,
    transactions_again: usize,
    /// Of these, those that were there already, as so many gateways have counted.
    duplicates: u64,
    counted: u32,
    /// Messages that a compaction of the store has moved.
    moved: usize,
    /// Segments of the store that were begun.
    segments: u32,
    /// Of these, before the queues were emptied.
    segments_left: u32,
    starts: u32,
    /// From the start of a gateway that was not killed before until it listened: in all, and the most.
    start_sum: Duration,
    start_max: Duration,
}

impl Round {
    /// Kills gateways on one store, and looks what is there then.
    pub(super) fn play(
        program: &Path,
        folder: &Path,
        seed: u32,
        kills: u32,
        forget: Option<Forget>,
    ) -> Self {
        let stage = Stage::default();
        let mut round = Self::default();
        let played = round.play_on(&stage, program, folder, seed, kills, forget);
        stage.finish();
        round.faults.extend(played.err());
        round.faults.extend(stage.faults());
        let mut events = stage.events();
        if forget == Some(Forget::Message) {
            forget_one(&mut events);
        }
        round.faults.extend(check::check(&events).iter().map(ToString::to_string));
        round.totals.count(&events);
        if !round.faults.is_empty()
            && let Err(error) = fs::write(folder.join("ledger"), event::text(&events))
        {
            round.faults.push(format!("the ledger could not be written: {error}"));
        }
        round
    }

    fn play_on(
        &mut self,
        stage: &Stage,
        program: &Path,
        folder: &Path,
        seed: u32,
        kills: u32,
        forget: Option<Forget>,
    ) -> Result<(), String> {
        let place = Place::new(program, folder.to_owned()).map_err(|error| error.to_string())?;
        stage.record(Event::DeliveriesMax(DELIVERIES_MAX));
        for queue in actors::ORDERED {
            stage.record(Event::Ordered(queue.to_owned()));
        }
        let mut gateway = start(stage, &place, THREADS, SEGMENT_KIB)?;
        gateway.wait()?;
        durable::bind(stage, place.address()).map_err(|error| format!("binding: {error}"))?;
        gateway.kill()?;
        let dice = Dice::new(seed.into());
        thread::scope(|scope| {
            for mut actor in actors::all(&dice) {
                scope.spawn(move || attend(stage, &mut actor));
            }
            let killed = self.kill_often(stage, &place, dice.fork(0), kills, forget);
            stage.finish();
            killed
        })?;
        // Nobody else is there now.
        let mut gateway = start(stage, &place, THREADS, SEGMENT_KIB)?;
        gateway.wait()?;
        (self.totals.segments, self.totals.segments_left) = segments(&place.store());
        actors::empty(stage, place.address()).map_err(|error| format!("in the end: {error}"))?;
        stage.record(Event::Empty);
        gateway.stop()
    }

    fn kill_often(
        &mut self,
        stage: &Stage,
        place: &Place<'_>,
        mut dice: Dice,
        kills: u32,
        forget: Option<Forget>,
    ) -> Result<(), String> {
        let copy = place.folder().join("copy");
        let mut moved = HashSet::new();
        while self.totals.kills < kills && stage.faults().is_empty() {
            if forget == Some(Forget::Store) {
                let putting_back = match self.totals.kills {
                    3 => copy_folder(&place.store(), &copy),
                    6 => copy_folder(&copy, &place.store()),
                    _ => Ok(()),
                };
                putting_back.map_err(|error| format!("the copy of the store: {error}"))?;
            }
            // Queues have other homes then.
            let threads = if dice.percent(10) { 1 + dice.below(3) } else { THREADS };
            let segment_kib = if dice.percent(10) { SEGMENT_KIB / 2 } else { SEGMENT_KIB };
            let mut gateway = start(stage, place, threads, segment_kib)?;
            if dice.percent(15) {
                // Where the start is slow, it is killed late in it as well.
                let most = self.totals.start_max.max(START_LEAST).as_micros();
                let delay = dice.below(u32::try_from(most).unwrap_or(u32::MAX));
                thread::sleep(Duration::from_micros(delay.into()));
                gateway.kill()?;
                self.totals.early += 1;
                self.totals.kills += 1;
                continue;
            }
            let waited = gateway.wait()?;
            self.totals.starts += 1;
            self.totals.start_sum += waited;
            self.totals.start_max = self.totals.start_max.max(waited);
            stage.begin(place.address());
            let most_ms = if dice.percent(30) { 60 } else { 700 };
            thread::sleep(Duration::from_millis(dice.below(most_ms).into()));
            if dice.percent(COUNTED_PERCENT) {
                self.totals.duplicates += gateway.duplicates()?;
                self.totals.counted += 1;
                thread::sleep(Duration::from_micros(dice.below(20_000).into()));
            }
            stage.end();
            if dice.percent(5) {
                stage.record(Event::Stop);
                gateway.stop()?;
            } else {
                gateway.kill()?;
                self.totals.kills += 1;
            }
            // What they still read is of this one, not of the next.
            stage.wait_for_clients();
            if self.totals.kills.is_multiple_of(KILLS_PER_CHECK) {
                place.check()?;
                moved.extend(place.moved()?);
                self.totals.moved = moved.len();
            }
        }
        Ok(())
    }
}

fn start<'a>(
    stage: &Stage,
    place: &'a Place<'a>,
    threads: u32,
    segment_kib: u32,
) -> Result<Gateway<'a>, String> {
    stage.record(Event::Start);
    place.start(threads, segment_kib)
}

fn attend(stage: &Stage, actor: &mut Actor) {
    stage.attend(actor.name(), |address| actor.run(stage, address));
}

/// Takes what happened to a confirmed message out of the ledger, but its beginning.
fn forget_one(events: &mut Vec<Event>) {
    let durable: HashSet<MessageId> =
        (events.iter()).filter_map(|event| match_durable(event).copied()).collect();
    let forgotten = events.iter().find_map(|event| {
        let Event::Confirmed(message) = event else { return None };
        durable.contains(message).then_some(*message)
    });
    let mut deliveries = Vec::new();
    events.retain(|event| {
        if let Event::Got { delivery, message, .. } = event
            && Some(*message) == forgotten
        {
            deliveries.push(*delivery);
            return false;
        }
        let (Event::Ack { delivery, .. } | Event::Nack(delivery) | Event::Settled(delivery)) =
            event
        else {
            return true;
        };
        !deliveries.contains(delivery)
    });
}

fn match_durable(event: &Event) -> Option<&MessageId> {
    let Event::Send { message, durable: true, .. } = event else { return None };
    Some(message)
}

/// How many segments of a store were begun, and how many there are.
fn segments(store: &Path) -> (u32, u32) {
    let files = fs::read_dir(store).into_iter().flatten().flatten();
    let numbers: Vec<u32> = files
        .filter_map(|file| file.file_name().to_str()?.strip_prefix("log-")?.parse().ok())
        .collect();
    (
        numbers.iter().copied().max().unwrap_or_default(),
        numbers.len().try_into().unwrap_or_default(),
    )
}

/// Makes a folder what another one is.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

impl Totals {
    /// What did not happen in so many kills that it should have: then the test does not test it.
    pub(super) fn missing(&self) -> Option<&'static str> {
        let happened = [
            (
                self.transactions_again > 0 && self.duplicates > 0,
                "nothing that was sent again was there",
            ),
            (self.moved > 0, "no segment was compacted"),
            (self.dead_letters > 0, "there was no dead letter"),
            (self.browsed > 0, "nothing was browsed"),
        ];
        let mut missing = happened.into_iter().filter(|(happened, _)| !happened);
        let missing = missing.next().map(|(_, what)| what);
        missing.filter(|_| self.kills >= KILLS_ENOUGH)
    }

    fn count(&mut self, events: &[Event]) {
        let mut sent = HashSet::new();
        let mut again = HashSet::new();
        for event in events {
            if let Event::Send { message, transaction, .. } = event
                && !sent.insert(message)
            {
                self.again += 1;
                again.extend(*transaction);
            }
            self.confirmed += usize::from(matches!(event, Event::Confirmed(_)));
            self.settled += usize::from(matches!(event, Event::Settled(_)));
            self.transactions += usize::from(matches!(event, Event::Committed(_)));
            self.browsed += usize::from(matches!(event, Event::Seen { .. }));
            if let Event::Got { from, redelivered, .. } = event {
                self.redelivered += usize::from(*redelivered);
                self.dead_letters += usize::from(from.starts_with("/queue/DLQ."));
            }
        }
        self.transactions_again += again.len();
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.early += other.early;
        self.confirmed += other.confirmed;
        self.settled += other.settled;
        self.transactions += other.transactions;
        self.redelivered += other.redelivered;
        self.dead_letters += other.dead_letters;
        self.browsed += other.browsed;
        self.again += other.again;
        self.transactions_again += other.transactions_again;
        self.duplicates += other.duplicates;
        self.moved += other.moved;
        self.counted += other.counted;
        self.segments += other.segments;
        self.segments_left += other.segments_left;
        self.starts += other.starts;
        self.start_sum += other.start_sum;
        self.start_max = self.start_max.max(other.start_max);
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kills, early, confirmed, settled, transactions, .. } = self;
        let Self { redelivered, dead_letters, browsed, segments, segments_left, start_max, .. } =
            self;
        let Self { again, transactions_again, duplicates, moved, counted, .. } = self;
        let start_mean = self.start_sum / self.starts.max(1);
        write!(
            f,
            "{kills} kills ({early} before it listened), {confirmed} messages, {settled} settlements \
             and {transactions} transactions confirmed, {redelivered} redelivered, {dead_letters} \
             dead letters, {browsed} browsed, {again} sent again, {transactions_again} transactions \
             among them, {duplicates} found there in {counted} lives, {moved} moved by compaction, \
             {segments_left} of {segments} segments left, starts of {} ms, the slowest of {} ms",
            start_mean.as_millis(),
            start_max.as_millis()
        )
    }
}

/// After so many kills all of what is to be tested has happened.
const KILLS_ENOUGH: u32 = 100;
/// Of the gateway.
const THREADS: u32 = 4;
/// How often it is looked into the store.
const KILLS_PER_CHECK: u32 = 10;
/// How many gateways are asked for what they have counted, before they are killed.
const COUNTED_PERCENT: u32 = 25;
/// So small that some are compacted.
const SEGMENT_KIB: u32 = 256;
const START_LEAST: Duration = Duration::from_millis(20);
