use std::{
    collections::{BTreeSet, VecDeque},
    fmt, mem,
    ops::Range,
    time::Duration,
};

use contract::{
    Body, Command, Content, Data, Delivery, Input, Message, Notice, Now, Opening, Parts, Principal,
    Reason, Refusal, Reply, Sections, Session, Step, SubscriptionId, Token,
};

use crate::{Model, Output, Random, Recorder, Setup, live_bytes};

/// Random input for a session, from the vocabulary of its protocol, and what must hold for all of it:
///
/// - no panic, nothing after a close, no deadline after it;
/// - a token is used once, a subscription's number not while it lasts;
/// - only what was delivered and is not settled is settled, and credit stays within
///   [`contract::ConnectionLimits::prefetch_max`] and what open transactions may settle;
/// - the session holds no more memory than it may.
///
/// When a session has closed, the storm goes on with a new one.
#[derive(Debug)]
pub struct Storm {
    /// What the sessions are opened with.
    pub setup: Setup,
    /// The number of inputs for each seed.
    pub steps: usize,
    /// The number of seeds, from 0 on.
    pub seeds: u64,
    /// Memory that a session may hold, in bytes; looked at where [`crate::Counting`] is installed.
    pub memory_bytes_max: usize,
}

impl Storm {
    /// 10,000 steps of each of 200 seeds.
    #[must_use]
    pub const fn new(setup: Setup, memory_bytes_max: usize) -> Self {
        Self { setup, steps: 10_000, seeds: 200, memory_bytes_max }
    }

    /// `STORM_SEEDS=5000` makes so many runs, `STORM_SEED=17` that one again.
    #[expect(clippy::disallowed_methods, reason = "runs of tests are chosen by the environment")]
    fn seeds(&self) -> Range<u64> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        match number("STORM_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("STORM_SEEDS").unwrap_or(self.seeds),
        }
    }

    /// Runs the storm. `vocabulary` makes what the peer sends next; it is split anywhere.
    ///
    /// # Panics
    /// When an invariant breaks, with the seed, the step and the inputs before.
    pub fn run<S: Session>(
        &self,
        open: impl Fn(&Opening<'_>, Now) -> S,
        vocabulary: impl Fn(&mut Random, &mut Peer) -> Vec<u8>,
    ) -> Tally {
        let seeds = self.seeds();
        let is_partial = seeds.end - seeds.start < self.seeds;
        let mut tally = Tally { is_partial, ..Tally::default() };
        for seed in seeds {
            let mut random = Random::new(seed);
            let mut steps = 0;
            while steps < self.steps {
                let session = open(&self.setup.opening(), Setup::START);
                tally.sessions += 1;
                let mut harness = Harness {
                    tally: &mut tally,
                    peer: Peer::default(),
                    storm: self,
                    seed,
                    session,
                    random: &mut random,
                    now: Setup::START,
                    out: Recorder::seeded(seed),
                    unsent: Vec::new(),
                    model: Model::default(),
                    is_detached: false,
                    memory_bytes: 0,
                    recent: VecDeque::new(),
                };
                while steps < self.steps && !harness.out.is_closed() {
                    steps += 1;
                    if harness.step(steps, &vocabulary) {
                        break;
                    }
                }
                harness.check_deadline();
            }
        }
        tally
    }
}

/// The state of a peer in a storm.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// How often it has sent.
    pub sent: usize,
    /// The last 16 messages (or pieces of the stream) that it received.
    pub received: VecDeque<Vec<u8>>,
    /// What else the vocabulary requires: names in use.
    pub notes: BTreeSet<String>,
}

impl Peer {
    fn receive(&mut self, output: &Output) {
        if let Output::Send(_, bytes) | Output::Share(_, bytes) = output {
            self.received.truncate(15);
            self.received.push_front(bytes.clone());
        }
    }
}

/// The counts of a storm; a test checks whether everything was reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// The number of sessions.
    pub sessions: usize,
    /// [`contract::Outbox::send`] and [`contract::Outbox::send_shared`].
    pub sends: usize,
    /// [`contract::Outbox::command`].
    pub commands: usize,
    /// [`Command::Transact`] among them.
    pub transactions: usize,
    /// [`contract::Outbox::settle`].
    pub settles: usize,
    /// [`contract::Outbox::credit`].
    pub credits: usize,
    /// Messages for subscriptions.
    pub deliveries: usize,
    /// The most memory that a session held, in bytes.
    pub memory_bytes: isize,
    /// There were fewer runs than the storm has.
    pub is_partial: bool,
}

/// One session and what is around it.
struct Harness<'a, S> {
    storm: &'a Storm,
    tally: &'a mut Tally,
    seed: u64,
    session: S,
    random: &'a mut Random,
    now: Now,
    out: Recorder,
    /// What the peer sends next.
    unsent: Vec<u8>,
    peer: Peer,
    model: Model,
    is_detached: bool,
    memory_bytes: isize,
    /// The last inputs, printed when a test fails.
    recent: VecDeque<Stimulus>,
}

/// An input that owns its data.
enum Stimulus {
    Opened,
    Received(Vec<u8>),
    Replied(Token, Result<Reply, Refusal>),
    Delivered(SubscriptionId, Delivery),
    Notice(Notice),
    Timeout,
    Shutdown,
    Closed,
}

impl<S: Session> Harness<'_, S> {
    /// Feeds one input; returns whether it was the last.
    fn step(
        &mut self,
        step: usize,
        vocabulary: &impl Fn(&mut Random, &mut Peer) -> Vec<u8>,
    ) -> bool {
        let stimulus =
            if self.recent.is_empty() { Stimulus::Opened } else { self.stimulus(vocabulary) };
        let over = matches!(stimulus, Stimulus::Closed);
        if self.recent.len() == 12 {
            self.recent.pop_front();
        }
        self.recent.push_back(stimulus);
        let shown = Shown { seed: self.seed, step, recent: &self.recent };
        let Some(stimulus) = self.recent.back() else { return true };
        let kind = self.storm.setup.kind;
        let input = match stimulus {
            Stimulus::Opened => Input::Opened,
            Stimulus::Received(bytes) => Input::Received(Data { kind, bytes, last: true }),
            Stimulus::Replied(token, result) => Input::Replied(*token, result.clone()),
            Stimulus::Delivered(id, delivery) => Input::Delivered(*id, delivery),
            Stimulus::Notice(notice) => Input::Notice(notice.clone()),
            Stimulus::Timeout => Input::Timeout,
            Stimulus::Shutdown => Input::Shutdown,
            Stimulus::Closed => Input::Closed(Reason::Lost),
        };
        let before = live_bytes();
        self.session.handle(input, self.now, &mut self.out);
        // What the recorder keeps for the turn does not belong to the session.
        self.out.end_turn();
        let handled = live_bytes();
        let outputs = self.out.take();
        for output in &outputs {
            self.tally.count(output);
            self.peer.receive(output);
            self.model.apply(output, &self.storm.setup.limits);
        }
        let with_outputs = live_bytes();
        drop(outputs);
        // What the session allocated, its outputs not counted.
        self.memory_bytes += handled - before - (with_outputs - live_bytes());
        self.tally.memory_bytes = self.tally.memory_bytes.max(self.memory_bytes);
        let bound = isize::try_from(self.storm.memory_bytes_max).unwrap_or(isize::MAX);
        assert!(self.memory_bytes <= bound, "the session holds {} bytes", self.memory_bytes);
        drop(shown);
        over
    }

    /// A session that has closed has no deadline; its driver drops it.
    fn check_deadline(&self) {
        if self.out.is_closed() {
            assert_eq!(self.session.deadline(), None, "a deadline after the close");
        }
    }

    fn stimulus(&mut self, vocabulary: &impl Fn(&mut Random, &mut Peer) -> Vec<u8>) -> Stimulus {
        self.pass_time();
        let random = &mut *self.random;
        match random.below(100) {
            0 if random.once_in(20) => Stimulus::Shutdown,
            1 if random.once_in(20) => Stimulus::Closed,
            2 | 3 => {
                self.out.set_backlog(random.below(100_000));
                Stimulus::Timeout
            }
            4..=9 => Stimulus::Timeout,
            10..=35 => self.reply().unwrap_or(Stimulus::Timeout),
            36..=60 => self.delivery().unwrap_or(Stimulus::Timeout),
            61 if random.once_in(20) => self.cancel().unwrap_or(Stimulus::Timeout),
            62 => self.carry(),
            // The peer of one that is detached sends nothing before it comes back.
            _ if self.is_detached => self.carry(),
            _ => {
                if self.unsent.is_empty() {
                    self.unsent = vocabulary(random, &mut self.peer);
                    self.peer.sent += 1;
                }
                let whole = random.once_in(3);
                let split = if whole { 0 } else { random.below(self.unsent.len() + 1) };
                let rest = self.unsent.split_off(if whole { self.unsent.len() } else { split });
                Stimulus::Received(mem::replace(&mut self.unsent, rest))
            }
        }
    }

    fn pass_time(&mut self) {
        let millis = match self.random.below(50) {
            0 => 1_000,
            1 => 100,
            _ => 1,
        };
        self.now.mono_ns = self.now.after(Duration::from_millis(millis));
        self.now.unix_ms += millis;
    }

    fn reply(&mut self) -> Option<Stimulus> {
        let random = &mut *self.random;
        let refused = random.once_in(60).then(|| {
            random.pick(&[Refusal::Forbidden, Refusal::Full, Refusal::Busy, Refusal::Limit])
        });
        if let Some((token, is_exchange)) = self.model.login() {
            let principal = Principal::new(random.pick(&["ann", "anonymous"]), []);
            let step = if is_exchange && random.once_in(2) {
                Step::Challenge(vec![b'x'; random.below(100)])
            } else {
                Step::Accepted(principal, Vec::new())
            };
            let accepted = Reply::Login(Box::new(step));
            return Some(Stimulus::Replied(token, refused.map_or(Ok(accepted), Err)));
        }
        // Replies come in any order.
        let index = random.below(self.model.pending());
        let (token, result) = self.model.reply(index, refused)?;
        Some(Stimulus::Replied(token, result))
    }

    fn delivery(&mut self) -> Option<Stimulus> {
        let random = &mut *self.random;
        let index = random.below(self.model.subscriptions());
        let now = self.now;
        let (id, mut delivery) = self.model.delivery(index, |to| {
            let message_id = u128::from(random.bits());
            Message::new(to.clone(), message_id, now.unix_ms, content(random))
        })?;
        delivery.redeliveries = u32::from(random.once_in(8));
        self.tally.deliveries += 1;
        Some(Stimulus::Delivered(id, delivery))
    }

    /// Detaches the session, or attaches it again.
    const fn carry(&mut self) -> Stimulus {
        self.is_detached = !self.is_detached;
        Stimulus::Notice(if self.is_detached { Notice::Detached } else { Notice::Attached })
    }

    fn cancel(&mut self) -> Option<Stimulus> {
        let id = self.model.cancel(0)?;
        Some(Stimulus::Notice(Notice::Cancelled(id, Refusal::NotFound)))
    }
}

/// What a message has in it: a text, bytes, or the sections of AMQP, some of them larger than a frame.
fn content(random: &mut Random) -> Content {
    if random.once_in(6) {
        let len = random.pick(&[0, 40, 600, 3_000, 70_000]);
        let mut bytes = vec![0, 0x53, 0x75, 0xb0];
        bytes.extend(u32::try_from(len).unwrap_or_default().to_be_bytes());
        bytes.resize(bytes.len() + len, b'x');
        let end = u32::try_from(bytes.len()).unwrap_or_default();
        if let Some(sections) = Sections::new(bytes.into(), [0, 0, 0, end, end], 0) {
            return sections.into();
        }
    }
    let body = if random.once_in(4) {
        Body::Binary(vec![0xff; random.below(100)].into())
    } else {
        Body::Text(vec![b'x'; random.below(100)].into())
    };
    let mut parts = Parts::new(body);
    if random.once_in(4) {
        parts.properties.push("a:b\\c", "d\r\ne\0f");
    }
    parts.into()
}

impl Tally {
    /// Requires that all was reached, of a storm that has all its runs.
    ///
    /// # Panics
    /// When it was not.
    pub fn require(&self, reached: bool) {
        assert!(reached || self.is_partial, "{self:?}");
    }

    const fn count(&mut self, output: &Output) {
        match output {
            Output::Send(..) | Output::Share(..) => self.sends += 1,
            Output::Command(_, command) => {
                self.commands += 1;
                if matches!(command, Command::Transact(..)) {
                    self.transactions += 1;
                }
            }
            Output::Settle(..) => self.settles += 1,
            Output::Credit(..) => self.credits += 1,
            Output::Login(..) | Output::Close(..) => {}
        }
    }
}

/// Prints the seed, the step and the last inputs when a test fails.
struct Shown<'a> {
    seed: u64,
    step: usize,
    recent: &'a VecDeque<Stimulus>,
}

impl Drop for Shown<'_> {
    #[expect(clippy::print_stderr, reason = "the output of a failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("STORM_SEED={} fails at step {}; the last inputs:", self.seed, self.step);
            for stimulus in self.recent {
                eprintln!("  {stimulus:?}");
            }
        }
    }
}

impl fmt::Debug for Stimulus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::Received(bytes) => write!(f, "recv {}", crate::show_bytes(bytes)),
            Self::Replied(token, result) => write!(f, "reply {} {result:?}", token.0),
            Self::Delivered(id, delivery) => {
                write!(f, "deliver {} {} {:?}", id.0, delivery.message.to, delivery.tag)
            }
            Self::Notice(notice) => write!(f, "notice {notice:?}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Closed => f.write_str("closed"),
        }
    }
}
