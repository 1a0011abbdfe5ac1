//! What patterns with wildcards cost, whatever is subscribed to: memory, and look-ups.

use std::sync::Arc;

use broker::{Effect, Event, Shard};
use contract::{
    Body, Command, ConnectionId, ConnectionLimits, Destination, Lane, Message, Now, Pattern,
    QuotaLimits, Refusal, Subscribe, SubscriptionId, Token,
};
use testkit::{Random, live_bytes};

use crate::world::SharedLedger;

/// Many patterns, and a name that they are made against.
struct Input {
    about: &'static str,
    connections: u32,
    pattern: fn(usize, &mut Random) -> String,
    name: String,
    /// Whether all patterns are allowed.
    is_allowed: bool,
    lookups_max: usize,
}

fn inputs() -> Vec<Input> {
    let (deep, wide) = (["a"; 63].join("."), ["a"; 16].join("."));
    let input = |about, pattern, name: &String| Input {
        about,
        connections: 1,
        pattern,
        name: name.clone(),
        is_allowed: true,
        lookups_max: LOOKUPS_MAX,
    };
    let many = |input: Input| Input { connections: 40, ..input };
    let refused = |input: Input| Input { is_allowed: false, ..input };
    vec![
        refused(input("17 levels of a or *, then 46", |n, _| ones(n * 131, 17, ".a", 46), &deep)),
        input("10 levels of a or *, then 53", |n, _| ones(n, 10, ".a", 53), &deep),
        input("the same, and nothing matches", |n, _| ones(n, 10, ".b", 53), &deep),
        many(refused(input(
            "17 random levels of many connections",
            |_, random| ones(random.below(1 << 17), 17, ".a", random.below(46)),
            &deep,
        ))),
        many(refused(input(
            "all shapes of many connections",
            |_, random| {
                let (bits, levels) = (random.below(1 << 10), 1 + random.below(15));
                ones(bits, levels, random.pick(&[".>", ".#", ".a", ".b"]), 1)
            },
            &wide,
        ))),
        input("* at the end", |n, _| format!("w{n}{}", ".*".repeat(9)), &wide),
        input("long words", |n, _| format!("{}.{n:03}.*", "x".repeat(1000)), &wide),
        input("a and * in turn", |n, _| format!("{}.w{n}", ["*.a"; 5].join(".")), &wide),
        input(
            "> and # at any level",
            |n, _| {
                format!(
                    "{}{}",
                    "a.".repeat(n % 60),
                    [">", "#", "*"][usize::from(n % 60 < 10) * n / 60 % 3]
                )
            },
            &deep,
        ),
        Input {
            lookups_max: 1,
            ..many(input("ordinary ones", |n, _| format!("a.{n}.*.x"), &"a.7.y.x".into()))
        },
        Input {
            connections: 100,
            lookups_max: 4,
            ..input(
                "ordinary ones of four kinds",
                |n, _| {
                    let end = ["*.x", "*.x.>", "*.*", "y.#"][n % 4];
                    format!("site.{}.{end}", n / 4)
                },
                &"site.7.y.x".into(),
            )
        },
    ]
}

/// Levels of `a`, or `*` where a bit is set, and what follows.
fn ones(bits: usize, levels: usize, end: &str, ends: usize) -> String {
    let level = |level| if bits >> level & 1 == 1 { "*" } else { "a" };
    (0..levels).map(level).collect::<Vec<_>>().join(".") + &end.repeat(ends)
}

#[test]
fn a_subscription_takes_no_more_than_1_kib_and_its_pattern() {
    for Input { about, connections, pattern, is_allowed, .. } in inputs() {
        let mut shard = shard();
        let mut after_all_left = None;
        for round in 0..3 {
            let mut random = Random::new(round);
            let before = live_bytes();
            let (mut allowed, mut bytes) = (0, 0);
            for n in 0..connections * PATTERNS {
                let text = pattern(n as usize, &mut random);
                if subscribe(&mut shard, n, &text) {
                    allowed += 1;
                    bytes += text.len();
                }
            }
            let taken = live_bytes() - before;
            let shown = format!("{about}: {allowed} subscriptions take {taken} bytes");
            assert!(allowed > 0 && (allowed == connections * PATTERNS || !is_allowed), "{shown}");
            assert!(taken <= (allowed as usize * 1024 + bytes) as isize, "{shown}");
            for slot in 0..connections {
                apply(&mut shard, Event::Gone(connection(slot)));
            }
            shard.assert_empty();
            // Tables keep their room for the next, which is not the same each time as their hashes
            // are not; what were kept for each subscription would be more than that.
            let left = live_bytes() - *after_all_left.get_or_insert_with(live_bytes);
            assert!(left <= 8 * allowed as isize, "{about}: {left} bytes more are left");
        }
    }
}

#[test]
fn a_publication_is_looked_up_in_few_tables() {
    for Input { about, connections, pattern, name, lookups_max, .. } in inputs() {
        let mut shard = shard();
        let mut random = Random::new(1);
        let mut patterns = Vec::new();
        for n in 0..connections * PATTERNS {
            let text = pattern(n as usize, &mut random);
            if subscribe(&mut shard, n, &text) {
                patterns.push(Pattern::parse(&format!("/topic/{text}")).unwrap());
            }
        }
        assert_eq!(shard.take_lookups(), 0, "{about}");
        let other = format!("{name}.other");
        for name in [&*name, &other, "other", "a.other"] {
            let to = Destination::parse(&format!("/topic/{name}")).unwrap();
            let matching = patterns.iter().filter(|pattern| pattern.matches(&to)).count();
            let message = Message::new(to, 1, 0, Body::Text("x".into()));
            let command = Command::Publish(Lane::default(), Arc::new(message));
            let event = Event::Command(connection(1_000_000), Token(1), command, None);
            let delivered = apply(&mut shard, event)
                .iter()
                .map(|effect| if let Effect::Fanout(list, _) = effect { list.len() } else { 0 })
                .sum::<usize>();
            assert_eq!(delivered, matching, "{about}: {name}");
            let lookups = shard.take_lookups();
            assert!(lookups <= lookups_max, "{about}: {name} is looked up {lookups} times");
        }
    }
}

fn shard() -> Shard {
    let limits = ConnectionLimits { pattern_bytes_max: 1 << 30, ..ConnectionLimits::default() };
    let pool = SharedLedger::new(QuotaLimits::default());
    Shard::new(0, 1, Arc::default(), Arc::new(limits), pool)
}

/// The next subscription of one of the connections; whether it is allowed.
fn subscribe(shard: &mut Shard, n: u32, pattern: &str) -> bool {
    let topics = Pattern::parse(&format!("/topic/{pattern}")).unwrap();
    let subscribe = Subscribe::new(SubscriptionId(n), topics);
    let command = Command::Subscribe(Box::new(subscribe));
    let effects = apply(shard, Event::Command(connection(n / PATTERNS), Token(1), command, None));
    match *effects {
        [Effect::Reply(_, _, Ok(_))] => true,
        [Effect::Reply(_, _, Err(Refusal::TooDeep))] => false,
        _ => panic!("{pattern}: {effects:?}"),
    }
}

fn apply(shard: &mut Shard, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    shard.apply(event, Now::default(), &mut effects);
    effects
}

const fn connection(slot: u32) -> ConnectionId {
    ConnectionId { core: 0, slot, generation: 0 }
}

/// Of a connection.
const PATTERNS: u32 = 1_000;

/// What [`Shard::take_lookups`] promises.
const LOOKUPS_MAX: usize = 2_100;
