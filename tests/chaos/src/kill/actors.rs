//! The clients of a round: who sends, takes, moves, refuses and looks at messages.

use std::{collections::VecDeque, io, net::SocketAddr, thread, time::Duration};

use super::{
    client::{Client, Incoming, Outgoing},
    dice::Dice,
    durable::{DURABLE, Durable, FEEDS},
    event::MessageId,
    stage::Stage,
};

/// Where several consumers take messages, refuse them and leave.
const WORK: [&str; 4] = ["/queue/work.0", "/queue/work.1", "/queue/work.2", "/queue/work.3"];
/// Where messages are moved to in transactions.
const MOVED: [&str; 2] = ["/queue/moved.0", "/queue/moved.1"];
/// Where messages lie for long, so that segments become sparse, and are compacted.
const LYING: [&str; 1] = ["/queue/lying"];
/// With one consumer each.
pub(super) const ORDERED: [&str; 4] =
    ["/queue/ordered.0", "/queue/ordered.1", DURABLE[0].queue, DURABLE[1].queue];
/// Of [`WORK`], [`MOVED`], and the durable subscription with several readers.
const DEAD: [&str; 7] = [
    "/queue/DLQ.work.0",
    "/queue/DLQ.work.1",
    "/queue/DLQ.work.2",
    "/queue/DLQ.work.3",
    "/queue/DLQ.moved.0",
    "/queue/DLQ.moved.1",
    "/queue/DLQ.topic.feed.1",
];

/// All clients of a round.
pub(super) fn all(dice: &Dice) -> Vec<Actor> {
    let [first, second, one, all] = ORDERED;
    let shared = DURABLE[2].queue;
    let queues = [first, second];
    let work_and = |more: &[&'static str]| [WORK.as_slice(), more].concat();
    let everywhere = work_and(&[queues, FEEDS].concat());
    let roles = [
        Role::ProduceAgain { to: WORK.to_vec(), window: 32 },
        Role::ProduceAgain { to: [queues, FEEDS].concat(), window: 16 },
        Role::Produce { to: everywhere.clone(), window: 1 },
        Role::Produce { to: LYING.to_vec(), window: 1 },
        Role::ProduceInTransactions { to: everywhere.clone(), again: false },
        Role::ProduceInTransactions { to: everywhere.clone(), again: true },
        Role::Work { queues: WORK.to_vec() },
        Role::Work { queues: work_and(&MOVED) },
        Role::Work { queues: vec![shared] },
        Role::Work { queues: vec![shared] },
        Role::Move { from: WORK.to_vec(), to: [MOVED, FEEDS].concat() },
        Role::Take { queues: vec![first], at_once: 1 },
        Role::Take { queues: vec![second], at_once: 8 },
        Role::Take { queues: vec![one], at_once: 1 },
        Role::Take { queues: vec![all], at_once: 8 },
        Role::Take { queues: DEAD.to_vec(), at_once: 1 },
        Role::Look { queues: [work_and(&queues), DEAD.to_vec()].concat() },
    ];
    let actor = |(index, role): (u32, Role)| {
        let dice = dice.fork(index.into());
        let hand = Hand { dice, producer: index, ..Hand::default() };
        Actor { role, hand }
    };
    (1..).zip(roles).map(actor).collect()
}

/// A client that connects again in each life of the gateway.
#[derive(Debug)]
pub(super) struct Actor {
    role: Role,
    hand: Hand,
}

#[derive(Debug)]
enum Role {
    /// Sends messages, with so many RECEIPTs in flight. What may not have arrived when the gateway
    /// ends it does not send again.
    Produce { to: Vec<&'static str>, window: usize },
    /// The same with durable messages, which have numbers. With each connection it sends the last ones
    /// again, whether they were confirmed or not. It leaves now and then, not knowing what has arrived.
    ProduceAgain { to: Vec<&'static str>, window: usize },
    /// Sends messages to several queues in each transaction. `again`: and does as [`Self::ProduceAgain`]
    /// does, with whole transactions.
    ProduceInTransactions { to: Vec<&'static str>, again: bool },
    /// Acknowledges, refuses, holds messages, and leaves now and then.
    Work { queues: Vec<&'static str> },
    /// Acknowledges messages and sends others in transactions.
    Move { from: Vec<&'static str>, to: Vec<&'static str> },
    /// Acknowledges all messages, so many with each ACK.
    Take { queues: Vec<&'static str>, at_once: usize },
    /// Browses.
    Look { queues: Vec<&'static str> },
}

/// What a client keeps from one life of the gateway to the next.
#[derive(Debug, Default)]
struct Hand {
    dice: Dice,
    producer: u32,
    number: u32,
    /// What is sent again: each in a transaction, or one message.
    last: VecDeque<Vec<Outgoing<'static>>>,
    /// It has left while its last messages may have been on their way: until all that is sent again is confirmed,
    /// it may be told to try once more.
    has_left: bool,
    /// How often it was told so, one after the other.
    tries: u32,
}

impl Actor {
    /// For errors.
    pub(super) fn name(&self) -> &'static str {
        match self.role {
            Role::Produce { .. } | Role::ProduceAgain { .. } => "a producer",
            Role::ProduceInTransactions { .. } => "a producer with transactions",
            Role::Work { .. } => "a worker",
            Role::Move { .. } => "a mover",
            Role::Take { .. } => "a consumer",
            Role::Look { .. } => "a browser",
        }
    }

    /// Does its work until the gateway ends.
    pub(super) fn run(&mut self, stage: &Stage, address: SocketAddr) -> io::Result<()> {
        let hand = &mut self.hand;
        loop {
            let mut client = Client::connect(stage, address, self.role.login())?;
            let outcome = match &self.role {
                Role::Produce { to, window } => hand.produce(stage, &mut client, to, *window),
                Role::ProduceAgain { to, window } => {
                    hand.produce_again(stage, &mut client, to, *window)
                }
                Role::ProduceInTransactions { to, again } => {
                    hand.transact(stage, &mut client, to, *again)
                }
                Role::Work { queues } => hand.work(client, queues),
                Role::Move { from, to } => hand.move_on(&mut client, from, to),
                Role::Take { queues, at_once } => hand.take(&mut client, queues, *at_once),
                Role::Look { queues } => hand.look(&mut client, queues),
            };
            match outcome {
                Err(error) if hand.tries_again(&error) => thread::sleep(PAUSE),
                outcome => outcome?,
            }
        }
    }
}

impl Role {
    /// The headers of its CONNECT.
    fn login(&self) -> &'static str {
        let (Self::Work { queues } | Self::Take { queues, .. }) = self else { return "" };
        let durable = queues.first().and_then(|queue| Durable::of(queue));
        durable.map_or("", |durable| durable.client)
    }
}

impl Hand {
    fn produce(
        &mut self,
        stage: &Stage,
        client: &mut Client<'_>,
        to: &[&str],
        window: usize,
    ) -> io::Result<()> {
        loop {
            wait_for_room(stage, client, window)?;
            let durable = !self.dice.percent(10);
            self.send(client, to, durable, None)?;
            if to == LYING {
                thread::sleep(Duration::from_millis(self.dice.below(200).into()));
            }
            if self.dice.percent(2) {
                thread::sleep(Duration::from_millis(self.dice.below(10).into()));
            }
        }
    }

    fn produce_again(
        &mut self,
        stage: &Stage,
        client: &mut Client<'_>,
        to: &[&'static str],
        window: usize,
    ) -> io::Result<()> {
        for outgoing in self.last.iter().flatten() {
            client.send(*outgoing)?;
        }
        self.all_is_known(client)?;
        while let Some(to) = self.dice.pick(to) {
            wait_for_room(stage, client, window)?;
            let is_numbered = true;
            let outgoing = Outgoing { is_numbered, ..self.next_message(to, true, None) };
            self.remember(vec![outgoing], window);
            client.send(outgoing)?;
            if self.dice.below(LEAVES) == 0 {
                self.has_left = true;
                break;
            }
        }
        Ok(())
    }

    fn transact(
        &mut self,
        stage: &Stage,
        client: &mut Client<'_>,
        to: &[&'static str],
        again: bool,
    ) -> io::Result<()> {
        for messages in &self.last {
            let transaction = send_all(client, messages)?;
            client.commit(transaction)?;
        }
        self.all_is_known(client)?;
        loop {
            wait_for_room(stage, client, TRANSACTIONS_MAX)?;
            let most = if self.dice.percent(2) { 100 } else { 6 };
            let mut messages = Vec::new();
            for _ in 0..=self.dice.below(most) {
                let Some(to) = self.dice.pick(to) else { return Ok(()) };
                let message = self.next_message(to, true, None);
                messages.push(Outgoing { is_numbered: again, ..message });
            }
            let transaction = send_all(client, &messages)?;
            if self.dice.percent(15) {
                client.abort(transaction)?;
                continue;
            }
            if again {
                self.remember(messages, TRANSACTIONS_MAX);
            }
            client.commit(transaction)?;
            if again && self.dice.below(LEAVES) == 0 {
                self.has_left = true;
                return Ok(());
            }
        }
    }

    fn remember(&mut self, messages: Vec<Outgoing<'static>>, window: usize) {
        self.last.push_back(messages);
        if self.last.len() > window {
            self.last.pop_front();
        }
    }

    /// All that was sent again has to be confirmed, if it was on its way before.
    fn all_is_known(&mut self, client: &mut Client<'_>) -> io::Result<()> {
        if self.has_left {
            client.await_all()?;
            (self.has_left, self.tries) = (false, 0);
        }
        Ok(())
    }

    /// Whether an error says that what is sent again is still on its way. It may be that of a
    /// connection that ends, where more was written than was read.
    fn tries_again(&mut self, error: &io::Error) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, ResourceBusy};
        self.tries += 1;
        self.has_left
            && self.tries < TRIES_MAX
            && matches!(error.kind(), ResourceBusy | ConnectionReset | BrokenPipe)
    }

    fn send(
        &mut self,
        client: &mut Client<'_>,
        to: &[&str],
        durable: bool,
        transaction: Option<u32>,
    ) -> io::Result<()> {
        let Some(to) = self.dice.pick(to) else { return Ok(()) };
        client.send(self.next_message(to, durable, transaction))
    }

    fn next_message<'a>(
        &mut self,
        to: &'a str,
        durable: bool,
        transaction: Option<u32>,
    ) -> Outgoing<'a> {
        self.number += 1;
        let message = MessageId { producer: self.producer, number: self.number };
        let most = match self.dice.below(100) {
            0..60 => 500,
            60..85 => 4 << 10,
            // So that segments become full, and are removed and compacted.
            _ => 48 << 10,
        };
        let bytes = self.dice.below(most) as usize;
        Outgoing { message, to, bytes, durable, transaction, is_numbered: false }
    }

    /// Until it leaves.
    fn work(&mut self, mut client: Client<'_>, queues: &[&str]) -> io::Result<()> {
        self.subscribe(&mut client, queues, "client-individual")?;
        let stays = self.dice.percent(40);
        let mut left = 20 + self.dice.below(1000);
        let mut unsettled = Vec::new();
        while stays || left > 0 {
            left = left.saturating_sub(1);
            match client.next(QUIET)? {
                Some(message) if self.dice.percent(8) => unsettled.push(message),
                Some(message) => self.settle(&mut client, message)?,
                None => {}
            }
            if unsettled.len() > UNSETTLED_MAX {
                for message in unsettled.drain(..) {
                    self.settle(&mut client, message)?;
                }
            }
        }
        client.leave(self.dice.percent(50))
    }

    /// Some messages are refused each time, others now and then.
    fn settle(&mut self, client: &mut Client<'_>, message: Incoming) -> io::Result<()> {
        let wants_receipt = self.dice.percent(80);
        if message.message.number.is_multiple_of(REFUSED) || self.dice.percent(4) {
            client.refuse(&message, wants_receipt)
        } else {
            client.acknowledge(&[message], None, wants_receipt)
        }
    }

    fn move_on(&mut self, client: &mut Client<'_>, from: &[&str], to: &[&str]) -> io::Result<()> {
        self.subscribe(client, from, "client-individual")?;
        loop {
            let mut messages = Vec::new();
            let enough = 1 + self.dice.below(4) as usize;
            while messages.len() < enough
                && let Some(message) = client.next(QUIET)?
            {
                messages.push(message);
            }
            if messages.is_empty() {
                continue;
            }
            let transaction = client.begin()?;
            for message in &messages {
                if self.dice.percent(60) {
                    self.send(client, to, true, Some(transaction))?;
                }
                client.acknowledge(std::slice::from_ref(message), Some(transaction), false)?;
            }
            if !self.dice.percent(15) {
                client.commit(transaction)?;
                continue;
            }
            client.abort(transaction)?;
            for message in messages {
                self.settle(client, message)?;
            }
        }
    }

    fn take(&mut self, client: &mut Client<'_>, queues: &[&str], at_once: usize) -> io::Result<()> {
        let mode = if at_once == 1 { "client-individual" } else { "client" };
        self.subscribe(client, queues, mode)?;
        let mut messages = Vec::new();
        loop {
            let message = client.next(QUIET)?;
            let is_quiet = message.is_none();
            messages.extend(message);
            if is_quiet || messages.len() >= at_once {
                client.acknowledge(&messages, None, true)?;
                messages.clear();
            }
        }
    }

    fn look(&mut self, client: &mut Client<'_>, queues: &[&str]) -> io::Result<()> {
        while let Some(queue) = self.dice.pick(queues) {
            client.browse(queue)?;
            thread::sleep(Duration::from_millis(self.dice.below(30).into()));
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        client: &mut Client<'_>,
        queues: &[&str],
        mode: &str,
    ) -> io::Result<()> {
        for queue in queues {
            // With `ack:client` as many as are acknowledged at once must be in flight.
            let prefetch = 8 + self.dice.below(40);
            client.subscribe(queue, &format!("ack:{mode}\nprefetch-count:{prefetch}\n"))?;
        }
        Ok(())
    }
}

/// Sends these in a transaction.
fn send_all(client: &mut Client<'_>, messages: &[Outgoing<'_>]) -> io::Result<u32> {
    let transaction = client.begin()?;
    for message in messages {
        client.send(Outgoing { transaction: Some(transaction), ..*message })?;
    }
    Ok(transaction)
}

/// Until fewer than this are not confirmed, and little waits in the queues.
fn wait_for_room(stage: &Stage, client: &mut Client<'_>, window: usize) -> io::Result<()> {
    while client.awaited() >= window {
        client.next_receipt()?;
    }
    while stage.depth() > DEPTH_MAX {
        // No message comes to a producer.
        client.next(Duration::from_millis(2))?;
    }
    Ok(())
}

/// Takes what is left out of all queues, until nothing is in them.
pub(super) fn empty(stage: &Stage, address: SocketAddr) -> io::Result<()> {
    let [first, second, ..] = ORDERED;
    let queues = [WORK.as_slice(), &MOVED, &LYING, &[first, second], &DEAD].concat();
    let mut rounds_empty = 0;
    while rounds_empty < 2 {
        let mut browser = Client::connect(stage, address, "")?;
        let mut count = 0;
        for queue in &queues {
            count += browser.browse(queue)?;
        }
        // They cannot be browsed.
        for durable in &DURABLE {
            let client = Client::connect(stage, address, durable.client)?;
            count += take_all(client, &[durable.queue])?;
        }
        if count == 0 {
            // A dead letter may be on its way from one queue to the other.
            rounds_empty += 1;
            thread::sleep(Duration::from_millis(100));
            continue;
        }
        rounds_empty = 0;
        take_all(Client::connect(stage, address, "")?, &queues)?;
    }
    Ok(())
}

/// Acknowledges what is in these queues. Returns how many messages there were.
fn take_all(mut client: Client<'_>, queues: &[&str]) -> io::Result<usize> {
    for queue in queues {
        client.subscribe(queue, "ack:client-individual\nprefetch-count:100\n")?;
    }
    let mut count = 0;
    while let Some(message) = client.next(Duration::from_millis(200))? {
        client.acknowledge(&[message], None, true)?;
        count += 1;
    }
    client.leave(false)?;
    Ok(count)
}

/// Messages that wait, above which producers wait.
const DEPTH_MAX: usize = 1500;
/// COMMITs in flight.
const TRANSACTIONS_MAX: usize = 4;
/// Who sends again leaves once in so many times.
const LEAVES: u32 = 40;
/// How often it is told that something is still on its way.
const TRIES_MAX: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(5);
/// Messages whose number is a multiple become dead letters.
const REFUSED: u32 = 25;
const UNSETTLED_MAX: usize = 8;
/// After this long without a message a consumer does something else.
const QUIET: Duration = Duration::from_millis(20);
