//! Plays conversations: what connections say to shards, on one core and on more, and what comes back.
//!
//! `> b1 pub /queue/q hello` is said by connection `b` on core 1 (modulo the number of cores). The
//! replies follow as `<` lines, by connection; its replies first, each with the number of the
//! command, then its deliveries: subscription, body, the number of the delivery if it wants to be
//! settled, and the counts of redeliveries and of dropped messages if not zero. Between `> hold` and `> carry`, messages
//! between the cores stay where they are, but for those that `> carry 0 1` names, and replies are not
//! shown, but by `> show`. What a connection is handed is written at once, unless it is `stalled`; then
//! it is by `> b1 write 2`.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use broker::{Event, Leave, Placement, Subscriber};
use bytes::Bytes;
use contract::{
    Body, BrokerLimits, ClientName, Command, ConflationKey, ConnectionId, ConnectionLimits,
    Contest, Credit, DeadLetter, DeadLetters, Declare, Destination, DestinationKind, Durable,
    DurableName, Ending, Group, Lane, Message, Mode, Notice, Operation, Outcome as Settled, Parts,
    Pattern, QueueRules, QueueSettings, Redelivery, Refusal, Reply, Selector, Settle, Settlement,
    SlowPolicy, Strings, Subscribe, SubscriptionId, Tag, Token,
};

use crate::world::{Limits, Outcome, World};

/// The conversation goes the same way on one core and on more, and leaves nothing behind.
pub(crate) fn check(script: &str) {
    for cores in [1, 2, 3, 4] {
        converse(cores, script);
    }
}

pub(crate) fn converse(cores: u16, script: &str) {
    let broker = BrokerLimits { queue_messages_max: 3, ..BrokerLimits::default() };
    let connection = ConnectionLimits {
        subscriptions_max: 3,
        transaction_operations_max: 5,
        ..ConnectionLimits::default()
    };
    let limits = Limits { broker, connection, rules: rules(), ..Limits::default() };
    let mut stage = Stage { world: World::new(cores, limits), ..Stage::default() };
    let mut actual = String::new();
    for line in script.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("> ") {
            writeln!(actual, "{line}").unwrap();
            stage.say(said);
            if !stage.is_paused || said == "show" {
                for reply in stage.replies() {
                    writeln!(actual, "< {reply}").unwrap();
                }
            }
        }
    }
    let expected: String =
        script.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| format!("{l}\n")).collect();
    assert!(actual == expected, "on {cores} cores:\n{actual}");
    for shard in &stage.world.shards {
        shard.assert_empty();
    }
}

/// Queues that are not as all others.
fn rules() -> QueueRules {
    let later = Redelivery { attempts: Some(3), delay_ms: 1000, factor: 2.0, delay_max_ms: 1500 };
    let rule = |pattern, redelivery, dead_letters| {
        let settings = QueueSettings { redelivery, dead_letters, ..QueueSettings::default() };
        (Pattern::parse_scope(pattern).unwrap(), settings)
    };
    let all = DeadLetters::To(destination("/queue/DLQ.all"));
    QueueRules::new([
        rule(
            "/queue/later.dropped",
            Redelivery { attempts: Some(1), ..later },
            DeadLetters::Dropped,
        ),
        rule("/queue/later.>", later, all),
    ])
}

struct Stage {
    world: World,
    is_paused: bool,
    tokens: BTreeMap<String, u64>,
    /// The tags each subscription got.
    tags: BTreeMap<Subscriber, Vec<Tag>>,
    message_id: u128,
}

impl Default for Stage {
    fn default() -> Self {
        let world = World::new(1, Limits::default());
        let (tokens, tags) = (BTreeMap::new(), BTreeMap::new());
        Self { world, is_paused: false, tokens, tags, message_id: 0 }
    }
}

impl Stage {
    fn say(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["hold"] => self.is_paused = true,
            ["carry"] => self.is_paused = false,
            ["show"] => {}
            ["carry", from, to] => {
                while self.world.carry(from.parse().unwrap(), to.parse().unwrap()) {}
            }
            ["pass", ms] => self.world.advance(ms.parse().unwrap()),
            ["time_out", ms] => {
                self.world.advance(ms.parse().unwrap());
                self.world.time_out();
            }
            [who, "stall"] => drop(self.world.stalled.insert(self.connection(who))),
            [who, "write", count] => {
                self.world.write(self.connection(who), count.parse().unwrap());
            }
            [who, ref what @ ..] => {
                let connection = self.connection(who);
                let event = self.event(who, connection, what);
                self.world.apply(connection.core, event);
            }
            [] => {}
        }
        if !self.is_paused {
            self.world.carry_all();
        }
    }

    fn connection(&self, who: &str) -> ConnectionId {
        let core: u16 = who[1..].parse().unwrap();
        let cores = u16::try_from(self.world.shards.len()).unwrap();
        ConnectionId { core: core % cores, slot: who.as_bytes()[0].into(), generation: core.into() }
    }

    fn event(&mut self, who: &str, connection: ConnectionId, words: &[&str]) -> Event {
        let (lane, words) = match *words {
            ["lane", "connection", ref rest @ ..] => (Lane::CONNECTION, rest),
            ["lane", lane, ref rest @ ..] => (Lane(lane.parse().unwrap()), rest),
            _ => (Lane::default(), words),
        };
        let command = match *words {
            ["gone"] => return Event::Gone(connection),
            ["close"] => return Event::Closing(connection, Leave::Orderly),
            ["break"] => return Event::Closing(connection, Leave::Lost),
            ["cancel", id] => {
                let subscriber = Subscriber { connection, subscription: subscription(id) };
                return Event::Cancel(subscriber, Refusal::Forbidden);
            }
            ["credit", id, count] => {
                let credit = match count.strip_prefix('=') {
                    Some(count) => Credit::Set(count.parse().unwrap()),
                    None => Credit::Add(count.parse().unwrap()),
                };
                return Event::Credit(connection, subscription(id), credit);
            }
            ["drain", id] => Command::Drain(subscription(id)),
            [
                outcome @ ("ack" | "nack" | "release" | "reject" | "pass" | "fail"),
                id,
                numbers,
                ref reply @ ..,
            ] => {
                let settle = self.settle(connection, outcome, id, numbers);
                let reply = (*reply == ["reply"]).then(|| self.token(who));
                return Event::Settle(connection, settle, reply);
            }
            ["sub", id, pattern, ref rest @ ..] => {
                Command::Subscribe(Box::new(subscribe(id, pattern, rest)))
            }
            ["unsub", id, "delete"] => Command::Unsubscribe(subscription(id), Ending::Delete),
            ["claim", id, ref rest @ ..] => {
                let client = ClientName::new(None, id).unwrap();
                let displaces = rest == ["displace"];
                let contest = if displaces { Contest::Displace } else { Contest::Refuse };
                Command::Claim(client, contest)
            }
            ["delete", name] => Command::Delete(durable_name(name)),
            ["find", name] => Command::Find(durable_name(name)),
            ["undeclare", name] => Command::Undeclare(destination(name)),
            ["unsub", id] => Command::Unsubscribe(subscription(id), Ending::Suspend),
            ["pub", ref rest @ ..] => Command::Publish(lane, self.message(rest)),
            ["declare", name] => Command::Declare(Declare { destination: destination(name) }),
            ["transact", ref rest @ ..] => {
                let parts = rest.split(|&word| word == ";");
                let operations = parts.map(|part| self.operation(connection, part)).collect();
                Command::Transact(lane, operations)
            }
            _ => panic!("{words:?}"),
        };
        Event::Command(connection, self.token(who), command, None)
    }

    fn token(&mut self, who: &str) -> Token {
        let token = self.tokens.entry(who.to_owned()).or_default();
        *token += 1;
        Token(*token)
    }

    fn operation(&mut self, connection: ConnectionId, words: &[&str]) -> Operation {
        match *words {
            ["pub", ref rest @ ..] => Operation::Publish(self.message(rest)),
            [outcome, id, number] => {
                Operation::Settle(self.settle(connection, outcome, id, number))
            }
            _ => panic!("{words:?}"),
        }
    }

    fn settle(&self, connection: ConnectionId, outcome: &str, id: &str, numbers: &str) -> Settle {
        let subscription = subscription(id);
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let tags = self.tags.get(&Subscriber { connection, subscription });
        let tag =
            |number: &str| tags.map_or(Tag(0), |tags| tags[number.parse::<usize>().unwrap() - 1]);
        let outcome = match outcome {
            "ack" => Settled::Accepted,
            "nack" => Settled::Failed,
            "release" => Settled::Released,
            "pass" => Settled::Undeliverable { failed: false },
            "fail" => Settled::Undeliverable { failed: true },
            _ => Settled::Rejected,
        };
        Settle { subscription, tags: tag(first)..=tag(last), outcome }
    }

    fn message(&mut self, words: &[&str]) -> Arc<Message> {
        self.message_id += 1;
        let size = words.iter().find_map(|word| word.strip_prefix("size="));
        let size = size.map_or(0, |size| size.parse().unwrap());
        let body = Body::Text(Bytes::from(format!("{}{}", words[1], " ".repeat(size))));
        let unix_ms = self.world.now.unix_ms;
        let mut parts = Parts::new(body);
        let key = words.iter().find_map(|word| word.strip_prefix("key="));
        key.into_iter().for_each(|key| parts.properties.push("key", key));
        let mut message = Message::new(destination(words[0]), self.message_id, unix_ms, parts);
        for word in &words[2..] {
            match word.split_once('=').unwrap() {
                ("size" | "key" | "closes", _) => {}
                ("group", id) => {
                    let closes = words.contains(&"closes=1").then_some("-1");
                    message.header.group = Some(Group::new(id, closes));
                }
                ("durable", value) => message.header.durable = Some(value == "1"),
                ("priority", value) => message.header.priority = value.parse().unwrap(),
                ("delay", value) => message.header.delay_ms = value.parse().unwrap(),
                (_, value) => {
                    message.header.expires_unix_ms = Some(unix_ms + value.parse::<u64>().unwrap());
                }
            }
        }
        Arc::new(message)
    }

    /// What came back since the last time, by connection, its replies first.
    fn replies(&mut self) -> Vec<String> {
        let mut replies: Vec<(String, bool, String)> = Vec::new();
        for outcome in self.world.outcomes.drain(..) {
            let name = |connection: ConnectionId| {
                format!("{}{}", char::from_u32(connection.slot).unwrap(), connection.generation)
            };
            replies.push(match outcome {
                Outcome::Replied(connection, token, result) => {
                    let result = match result {
                        Ok(Reply::Drained) => "drained".to_owned(),
                        Ok(Reply::Done | Reply::Login(_)) => "done".to_owned(),
                        Err(refusal) => format!("refused {refusal:?}"),
                    };
                    (name(connection), false, format!("{} {result}", token.0))
                }
                Outcome::Noticed(connection, Notice::Cancelled(id, refusal)) => {
                    (name(connection), true, format!("s{} cancelled {refusal:?}", id.0))
                }
                Outcome::Noticed(connection, Notice::Displaced) => {
                    (name(connection), true, "displaced".to_owned())
                }
                Outcome::Noticed(_, Notice::Renewed(_)) => panic!("a broker knows no principals"),
                Outcome::Noticed(_, Notice::Detached | Notice::Attached) => {
                    panic!("a broker knows no transports")
                }
                Outcome::Delivered(subscriber, delivery) => {
                    let message = &delivery.message;
                    let body = str::from_utf8(message.body().bytes()).unwrap().trim_end();
                    let mut text = format!("s{} {body}", subscriber.subscription.0);
                    if let Some(DeadLetter { queue, reason }) = message.dead_letter() {
                        write!(text, " [{reason} from {queue}]").unwrap();
                    }
                    if let Some(tag) = delivery.tag {
                        let tags = self.tags.entry(subscriber).or_default();
                        tags.push(tag);
                        write!(text, " #{}", tags.len()).unwrap();
                    }
                    if delivery.redeliveries > 0 {
                        write!(text, " +{}", delivery.redeliveries).unwrap();
                    }
                    if delivery.dropped > 0 {
                        write!(text, " -{}", delivery.dropped).unwrap();
                    }
                    (name(subscriber.connection), true, text)
                }
            });
        }
        // Only the order within a subscription is promised.
        replies.sort_by(|a, b| {
            let key = |(name, delivery, text): &(String, bool, String)| {
                let subscription = text.split_whitespace().next().filter(|_| *delivery);
                (name.clone(), *delivery, subscription.map(str::to_owned))
            };
            key(a).cmp(&key(b))
        });
        replies.into_iter().map(|(name, _, text)| format!("{name} {text}")).collect()
    }
}

pub(crate) fn home_core(name: &str, cores: u16) -> u16 {
    Placement::new(cores).home(&Destination::parse(name).unwrap())
}

/// With credit to a queue, and as topics push where nothing else is said.
fn subscribe(id: &str, pattern: &str, words: &[&str]) -> Subscribe {
    let mut subscribe = Subscribe::new(subscription(id), Pattern::parse(&full(pattern)).unwrap());
    if subscribe.pattern.kind().is_queue() {
        subscribe.settlement = Settlement::Explicit;
        subscribe.credit = Some(9);
    }
    let rest = match words {
        [how @ ("auto" | "ack" | "browse"), credit, rest @ ..] => {
            subscribe.credit = Some(credit.parse().unwrap());
            let is_explicit = *how == "ack";
            subscribe.settlement =
                if is_explicit { Settlement::Explicit } else { Settlement::Automatic };
            subscribe.mode = if *how == "browse" { Mode::Browse } else { Mode::Consume };
            rest
        }
        rest => rest,
    };
    for word in rest {
        match word.split_once('=') {
            None if *word == "drop-oldest" => subscribe.on_slow = SlowPolicy::DropOldest,
            None if *word == "exclusive" => subscribe.precedence.is_exclusive = true,
            Some(("priority", priority)) => {
                subscribe.precedence.priority = priority.parse().unwrap();
            }
            None if *word == "latest" => {
                subscribe.on_slow = SlowPolicy::Latest(ConflationKey::Destination);
            }
            Some(("latest", name)) => {
                subscribe.on_slow = SlowPolicy::Latest(ConflationKey::Property(name.into()));
            }
            Some(("select", text)) => {
                let selector = Selector::parse(text, Strings::Coerced).unwrap();
                subscribe.selector = Some(Arc::new(selector));
            }
            Some((kind @ ("durable" | "shared"), name)) => {
                subscribe.credit = subscribe.credit.or(Some(9));
                if words.first() != Some(&"auto") {
                    subscribe.settlement = Settlement::Explicit;
                }
                subscribe.durable = Some(Box::new(Durable {
                    name: if kind == "durable" {
                        durable_name(name)
                    } else {
                        let (client, name) = name.split_once('.').unwrap();
                        DurableName::not_durable(None, client, name).unwrap()
                    },
                    is_shared: kind == "shared" || words.contains(&"shared"),
                    no_local: words.contains(&"no-local"),
                    displaces: words.contains(&"displace"),
                }));
            }
            None if ["shared", "no-local", "displace"].contains(word) => {}
            Some(("rate", rate)) => subscribe.rate = Some(rate.parse().unwrap()),
            _ => panic!("{word:?}"),
        }
    }
    subscribe
}

/// Of a client id and a name.
fn durable_name(text: &str) -> DurableName {
    let (client, name) = text.split_once('.').unwrap();
    DurableName::new(None, client, name).unwrap()
}

fn subscription(id: &str) -> SubscriptionId {
    SubscriptionId(id.parse().unwrap())
}

fn destination(name: &str) -> Destination {
    Destination::parse(&full(name)).unwrap()
}

/// `/temp-queue/5` is short for one with 32 digits.
fn full(name: &str) -> String {
    let short = |kind: DestinationKind| name.strip_prefix(kind.prefix())?.parse().ok();
    [DestinationKind::TempQueue, DestinationKind::TempTopic]
        .into_iter()
        .find_map(|kind| Some(Destination::temporary(kind, short(kind)?).to_string()))
        .unwrap_or_else(|| name.to_owned())
}
