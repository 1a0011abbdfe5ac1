use super::{super::event, Kind, check};

/// The kinds of faults in a ledger that begins with one gateway and ends with empty queues.
fn kinds(ledger: &str) -> Vec<Kind> {
    let events: Vec<String> = ["deliveries-max 2", "ordered /queue/o", "start"]
        .into_iter()
        .chain(ledger.split(';').map(str::trim).filter(|line| !line.is_empty()))
        .chain(["empty"])
        .map(|line| format!("{line}\n"))
        .collect();
    let events = event::parse(&events.concat()).unwrap();
    let mut kinds: Vec<Kind> = check(&events).iter().map(|fault| fault.kind).collect();
    kinds.dedup();
    kinds
}

/// A message that was sent to `/queue/q`, and confirmed.
const SENT: &str = "send 1-1 /queue/q durable; confirmed 1-1;";
/// And delivered.
const NEW: &str = "send 1-1 /queue/q durable; confirmed 1-1; got 1 1-1 /queue/q 1 new;";
/// Or after a restart.
const GOT: &str =
    "send 1-1 /queue/q durable; confirmed 1-1; start; got 1 1-1 /queue/q 1 redelivered;";
/// One that is delivered, and acknowledged in a transaction that sends two others.
const MOVED: &str = "send 1-1 /queue/q durable; confirmed 1-1; got 1 1-1 /queue/q 1 new; \
    ack 1 7; send 2-1 /queue/a durable 7; send 2-2 /queue/b durable 7;";
const A: &str = "got 2 2-1 /queue/a 2 redelivered; ack 2; settled 2;";
const B: &str = "got 3 2-2 /queue/b 3 redelivered; ack 3; settled 3;";
const BACK: &str = "got 4 1-1 /queue/q 4 redelivered; ack 4; settled 4;";
/// A transaction whose COMMIT is sent once more after a restart.
const TWICE: &str = "send 3-1 /queue/a durable 7; send 3-2 /queue/b durable 7; commit 7; start; \
    send 3-1 /queue/a durable 8; send 3-2 /queue/b durable 8; commit 8;";
const ONE: &str = "got 5 3-1 /queue/a 5 redelivered; ack 5; settled 5;";
const TWO: &str = "got 6 3-2 /queue/b 6 redelivered; ack 6; settled 6;";
/// A dead letter.
const DEAD: &str = "got 9 1-1 /queue/DLQ.q 9 new; ack 9; settled 9;";

#[test]
fn each_promise_is_checked() {
    let cases: &[(&str, &[&str], &[Kind])] = &[
        ("confirmed and acknowledged", &[GOT, "ack 1; settled 1"], &[]),
        ("what was not confirmed may be nowhere", &["send 1-1 /queue/q durable"], &[]),
        ("what is not durable too", &["send 1-1 /queue/q transient; confirmed 1-1; start"], &[]),
        ("what was confirmed may not", &[SENT], &[Kind::Lost]),
        ("delivered is not acknowledged", &[GOT], &[Kind::Lost]),
        ("an ACK that was not confirmed may have taken effect", &[GOT, "ack 1; start"], &[]),
        ("or not", &[GOT, "ack 1; start;", BACK], &[]),
        ("a confirmed one has", &[GOT, "ack 1; settled 1; start;", BACK], &[Kind::Returned]),
        (
            "also without a restart",
            &[GOT, "ack 1; settled 1;", BACK],
            &[Kind::Returned, Kind::Doubled],
        ),
        (
            "also as a dead letter",
            &[GOT, "nack 1; left 1 lost;", BACK, "start;", DEAD],
            &[Kind::Returned],
        ),
        ("two copies", &[GOT, "got 2 1-1 /queue/q 2 redelivered; ack 1; ack 2"], &[Kind::Doubled]),
        ("a NACK is a reason", &[GOT, "nack 1;", BACK], &[]),
        ("a consumer that leaves too", &[GOT, "left 1 released;", BACK], &[]),
        ("or a gateway that ends", &[NEW, "stop; got 2 1-1 /queue/q 2 new; start;", BACK], &[]),
        (
            "which may not read a NACK",
            &[NEW, "stop; nack 1; got 2 1-1 /queue/q 2 new; start;", BACK],
            &[],
        ),
        (
            "nor one that was sent before",
            &[NEW, "nack 1; stop; got 2 1-1 /queue/q 2 new; start;", BACK],
            &[],
        ),
        (
            "unless it is known that it did",
            &[NEW, "nack 1; settled 1; stop; got 2 1-1 /queue/q 2 new; start;", BACK],
            &[Kind::Unmarked],
        ),
        (
            "and may see a lost consumer after its end",
            &[NEW, "left 1 lost; stop; got 2 1-1 /queue/q 2 new; start;", BACK],
            &[],
        ),
        (
            "but not what came back before",
            &[NEW, "left 1 lost; got 2 1-1 /queue/q 2 new; stop; start;", BACK],
            &[Kind::Unmarked],
        ),
        ("another one that leaves is none", &[GOT, "left 2 lost;", BACK], &[Kind::Doubled]),
        (
            "what was refused is marked",
            &[GOT, "nack 1; got 2 1-1 /queue/q 2 new; ack 2"],
            &[Kind::Unmarked],
        ),
        (
            "what was lost with a consumer too",
            &[GOT, "left 1 lost; got 2 1-1 /queue/q 2 new; ack 2"],
            &[Kind::Unmarked],
        ),
        (
            "what was released may be",
            &[SENT, "got 1 1-1 /queue/q 1 new; left 1 released; got 2 1-1 /queue/q 2 new; ack 2"],
            &[],
        ),
        (
            "what was delivered before a restart is marked",
            &[GOT, "start; got 2 1-1 /queue/q 2 new; ack 2"],
            &[Kind::Unmarked],
        ),
        ("what was not too", &[SENT, "start; got 2 1-1 /queue/q 2 new; ack 2"], &[Kind::Unmarked]),
        (
            "a message sent again is one, from then on",
            &["send 1-1 /queue/q durable; start;", SENT, "got 1 1-1 /queue/q 1 new; ack 1"],
            &[],
        ),
        ("a dead letter that failed", &[GOT, "nack 1;", DEAD], &[]),
        ("or was lost", &[GOT, "left 1 lost;", DEAD], &[]),
        ("or did not", &[GOT, "left 1 released;", DEAD], &[Kind::DeadLetter]),
        ("a dead letter in none", &[GOT, "nack 1; settled 1; start"], &[Kind::Lost]),
        (
            "a dead letter in two",
            &[GOT, "nack 1; start; got 9 1-1 /queue/DLQ.q 9 new; start;", BACK],
            &[Kind::DeadLetter],
        ),
        (
            "a dead letter comes again, too, and is marked",
            &[
                GOT,
                "nack 1; got 9 1-1 /queue/DLQ.q 9 new; start; got 10 1-1 /queue/DLQ.q 10 new; \
               ack 10",
            ],
            &[Kind::Unmarked],
        ),
        (
            "refused as often as may be",
            &[GOT, "nack 1; settled 1; got 2 1-1 /queue/q 1 redelivered; nack 2; settled 2;", BACK],
            &[Kind::DeadLetter],
        ),
        (
            "counted from the start",
            &[
                GOT,
                "nack 1; settled 1; start; got 2 1-1 /queue/q 1 redelivered; nack 2; \
               settled 2;",
                BACK,
            ],
            &[],
        ),
        ("never sent", &["got 1 1-1 /queue/q 1 new; ack 1"], &[Kind::Phantom]),
        (
            "somewhere else",
            &["send 1-1 /queue/r durable; got 1 1-1 /queue/q 1 new; ack 1"],
            &[Kind::Phantom],
        ),
        ("before its COMMIT", &[MOVED, A, B, "commit 7; committed 7"], &[Kind::Phantom]),
        ("dropped", &[MOVED, "start;", A, B, BACK], &[Kind::Phantom]),
        ("a transaction", &[MOVED, "commit 7; committed 7; start;", A, B], &[]),
        ("none of it", &[MOVED, "commit 7; start;", BACK], &[]),
        ("all of it", &[MOVED, "commit 7; start;", A, B], &[]),
        ("half of its messages", &[MOVED, "commit 7; start;", B], &[Kind::Half]),
        ("its messages alone", &[MOVED, "commit 7; start;", A, B, BACK], &[Kind::Half]),
        ("its acknowledgements alone", &[MOVED, "commit 7; start"], &[Kind::Half]),
        ("one that is sent again is one", &[TWICE, "committed 8;", ONE, TWO], &[]),
        ("or the first of them was", &[TWICE, "start;", ONE, TWO], &[]),
        ("or none", &[TWICE, "start"], &[]),
        ("not half of it", &[TWICE, "start;", ONE], &[Kind::Half]),
        (
            "a part of it that was confirmed",
            &[TWICE, "committed 8; start;", ONE],
            &[Kind::Lost, Kind::Half],
        ),
        (
            "and not twice",
            &[TWICE, "committed 8;", ONE, TWO, "start; got 7 3-1 /queue/a 7 redelivered; ack 7"],
            &[Kind::Returned],
        ),
        ("a part that was confirmed", &[MOVED, "commit 7; committed 7; start;", A], &[Kind::Lost]),
        (
            "an ACK that was confirmed",
            &[MOVED, "commit 7; committed 7; start;", A, B, BACK],
            &[Kind::Returned],
        ),
        ("an ACK in one that was dropped", &[MOVED, "start"], &[Kind::Lost]),
        (
            "the order of a producer",
            &[
                SENT,
                "send 1-2 /queue/q durable; got 1 1-2 /queue/q 1 new; ack 1; \
               got 2 1-1 /queue/q 1 new; ack 2",
            ],
            &[Kind::Order],
        ),
        (
            "of two consumers each has its own",
            &[
                SENT,
                "send 1-2 /queue/q durable; got 1 1-2 /queue/q 1 new; ack 1; \
               got 2 1-1 /queue/q 2 new; ack 2",
            ],
            &[],
        ),
        (
            "what returns comes late",
            &[
                SENT,
                "send 1-2 /queue/q durable; got 1 1-1 /queue/q 1 new; \
               got 2 1-2 /queue/q 2 new; ack 2; nack 1; got 3 1-1 /queue/q 2 redelivered; ack 3",
            ],
            &[],
        ),
        (
            "what was not read by a consumer that has left too",
            &[
                SENT,
                "send 1-2 /queue/q durable; got 1 1-2 /queue/q 1 new; nack 1; left 1 lost; \
               got 2 1-2 /queue/q 2 redelivered; ack 2; got 3 1-1 /queue/q 2 redelivered; ack 3",
            ],
            &[],
        ),
        (
            "or by one that has read nothing",
            &[
                SENT,
                "send 1-2 /queue/q durable; subscribe 1 /queue/q; left 1 lost; \
               got 2 1-2 /queue/q 2 new; ack 2; got 3 1-1 /queue/q 2 redelivered; ack 3",
            ],
            &[],
        ),
        (
            "with one consumer it holds over restarts",
            &["send 1-1 /queue/o durable; send 1-2 /queue/o durable; start; \
               got 1 1-2 /queue/o 1 redelivered; ack 1; start; \
               got 2 1-1 /queue/o 2 redelivered; ack 2"],
            &[Kind::Order],
        ),
        ("a browser", &[SENT, "browse 1 /queue/q; seen 1 1-1;", BACK], &[]),
        (
            "a browser, twice",
            &[SENT, "browse 1 /queue/q; seen 1 1-1; seen 1 1-1;", BACK],
            &[Kind::Browsed],
        ),
        (
            "what is gone",
            &[GOT, "ack 1; settled 1; browse 1 /queue/q; seen 1 1-1"],
            &[Kind::Browsed],
        ),
        ("what is elsewhere", &[GOT, "ack 1; browse 1 /queue/r; seen 1 1-1"], &[Kind::Browsed]),
        ("what was never sent", &["browse 1 /queue/r; seen 1 1-1"], &[Kind::Phantom]),
        (
            "what is not committed",
            &["send 1-1 /queue/q durable 7; browse 1 /queue/q; seen 1 1-1"],
            &[Kind::Browsed],
        ),
        (
            "a durable subscription has all from its beginning",
            &["bound /queue/s /topic/t; send 1-1 /topic/t durable; confirmed 1-1; start"],
            &[Kind::Lost],
        ),
        (
            "and may have what came at the same time",
            &["send 1-1 /topic/t durable; bound /queue/s /topic/t; confirmed 1-1; \
               got 1 1-1 /queue/s 1 new; ack 1; settled 1"],
            &[],
        ),
        (
            "once each",
            &["bound /queue/s /topic/t; bound /queue/r /topic/t; send 1-1 /topic/t durable; \
               confirmed 1-1; got 1 1-1 /queue/s 1 new; ack 1; settled 1; \
               got 2 1-1 /queue/r 2 new; ack 2; settled 2"],
            &[],
        ),
        (
            "in a transaction all or none",
            &["bound /queue/s /topic/t; bound /queue/r /topic/t; send 1-1 /topic/t durable 7; \
               send 1-2 /queue/q durable 7; commit 7; start; got 1 1-2 /queue/q 1 redelivered; \
               ack 1; settled 1; got 2 1-1 /queue/s 2 redelivered; ack 2; settled 2"],
            &[Kind::Half],
        ),
        (
            "and no more",
            &["bound /queue/s /topic/t; send 1-1 /topic/t durable; got 1 1-1 /queue/s 1 new; \
               ack 1; settled 1; start; got 2 1-1 /queue/s 1 redelivered; ack 2"],
            &[Kind::Returned],
        ),
        ("a settlement of nothing", &["settled 3"], &[Kind::Ledger]),
    ];
    for (rule, ledger, expected) in cases {
        assert_eq!(kinds(&ledger.concat()), *expected, "{rule}");
    }
}

#[test]
fn nothing_is_lost_that_was_not_looked_for() {
    let events = event::parse("start\nsend 1-1 /queue/q durable\nconfirmed 1-1\n").unwrap();
    assert_eq!(check(&events), []);
}
