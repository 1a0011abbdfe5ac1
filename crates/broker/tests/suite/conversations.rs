//! What connections say to the broker, and what comes back, on one core and on more.
//!
//! `> b1 pub /queue/q hello` is said by connection `b` on core 1 (modulo the number of cores). The
//! replies follow as `<` lines, by connection; its replies first, each with the number of the
//! question, then its deliveries: subscription, body, the number of the delivery if it wants to be
//! settled, and the count of redeliveries if not zero. Between `> hold` and `> carry`, message
//! between the cores stay where they are (but those that `> carry 0 1` asks for) and replies are not shown (but by `> show`).

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use broker::{Event, Placement, Subscriber};
use bytes::Bytes;
use contract::{
    Body, BrokerLimits, Command, ConnectionId, ConnectionLimits, Credit, DeadLetter, Declare,
    Destination, DestinationKind, Lane, Message, Mode, Notice, Operation, Outcome as Settled,
    Pattern, Refusal, Reply, Settle, Settlement, Subscribe, SubscriptionId, Tag, Token,
};

use crate::world::{Limits, Outcome, World};

#[test]
fn a_topic_delivers_nothing_that_has_expired() {
    check(
        "
        > a0 sub 1 /topic/a
        < a0 1 done
        > b1 sub 1 /topic/a
        < b1 1 done
        > p0 pub /topic/a old expires=0
        < p0 1 done
        > p0 pub /topic/a new expires=100
        < a0 s1 new
        < b1 s1 new
        < p0 2 done
        > a0 gone
        > b1 gone
        > p0 gone
        ",
    );
}

#[test]
fn topics_reach_all_subscribers() {
    check(
        "
        > a0 sub 1 /topic/a.b
        < a0 1 done
        > b1 sub 1 /topic/a.*
        < b1 1 done
        > b1 sub 2 /topic/a.b
        < b1 2 done
        > c2 sub 1 /topic/>
        < c2 1 done
        > c2 sub 2 /topic/b
        < c2 2 done
        > d3 pub /topic/a.b x
        < a0 s1 x
        < b1 s1 x
        < b1 s2 x
        < c2 s1 x
        < d3 1 done
        > b1 unsub 1
        < b1 3 done
        > c2 gone
        > a0 pub /topic/a.b y
        < a0 2 done
        < a0 s1 y
        < b1 s2 y
        > b1 unsub 2
        < b1 4 done
        > a0 gone
        > d3 pub /topic/a.b z
        < d3 2 done
        > d3 gone
        > b1 gone
        ",
    );
}

#[test]
fn a_subscription_may_end_before_all_know_of_it() {
    check(
        "
        > hold
        > a0 sub 1 /topic/a
        > a0 unsub 1
        > a0 sub 1 /topic/a
        > carry
        < a0 1 done
        < a0 2 done
        < a0 3 done
        > c1 pub /topic/a x
        < a0 s1 x
        < c1 1 done
        > a0 gone
        > c1 gone
        ",
    );
}

#[test]
fn a_subscription_is_confirmed_once_all_know_of_it() {
    converse(
        3,
        "
        > hold
        > a0 sub 1 /topic/a
        > b0 sub 1 /topic/a
        > c0 sub 1 /topic/a
        > c0 gone
        > carry 0 1
        > carry 1 0
        > show
        > carry
        < a0 1 done
        < b0 1 done
        > b0 sub 2 /topic/a
        < b0 2 done
        > a0 gone
        > b0 gone
        ",
    );
}

#[test]
fn a_reply_to_an_earlier_request_for_interest_confirms_nothing() {
    converse(
        2,
        "
        > hold
        > a0 sub 1 /topic/a
        > a0 unsub 1
        > carry 0 1
        > a0 sub 1 /topic/a
        > carry 1 0
        > show
        < a0 1 done
        < a0 2 done
        > b1 pub /topic/a lost
        > carry
        < a0 3 done
        < b1 1 done
        > a0 gone
        > b1 gone
        ",
    );
}

#[test]
fn subscriptions_have_bounds_and_names() {
    check(
        "
        > a0 sub 1 /topic/a
        < a0 1 done
        > a0 sub 1 /queue/a
        < a0 2 refused DuplicateId
        > a0 unsub 7
        < a0 3 done
        > a0 sub 2 /queue/a
        < a0 4 done
        > a0 sub 3 /queue/b
        < a0 5 done
        > a0 sub 4 /queue/c
        < a0 6 refused Limit
        > a0 ack 9 1
        > a0 credit 1 5
        > a0 credit 9 5
        > a0 gone
        ",
    );
}

#[test]
fn a_queue_keeps_messages_in_order_and_gives_each_to_one() {
    check(
        "
        > p0 pub /queue/q 1
        < p0 1 done
        > p0 pub /queue/q 2
        < p0 2 done
        > p0 pub /queue/q urgent priority=9
        < p0 3 done
        > a1 sub 1 /queue/q auto 1
        < a1 1 done
        < a1 s1 urgent
        > b2 sub 1 /queue/q ack 5
        < b2 1 done
        < b2 s1 1 #1
        < b2 s1 2 #2
        > a1 credit 1 1
        > p0 pub /queue/q 3
        < b2 s1 3 #3
        < p0 4 done
        > b2 ack 1 2
        > b2 ack 1 1
        > b2 ack 1 1
        > b2 credit 1 2
        > a1 credit 1 9
        > p0 pub /queue/q 4
        < a1 s1 4
        < p0 5 done
        > p0 pub /queue/q 5
        < b2 s1 5 #4
        < p0 6 done
        > b2 ack 1 3
        > b2 ack 1 4
        > p0 gone
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn what_is_not_settled_goes_to_others() {
    check(
        "
        > a1 sub 1 /queue/q ack 2
        < a1 1 done
        > p0 pub /queue/q 1
        < a1 s1 1 #1
        < p0 1 done
        > p0 pub /queue/q 2
        < a1 s1 2 #2
        < p0 2 done
        > p0 pub /queue/q 3
        < p0 3 done
        > b2 sub 1 /queue/q ack 9
        < b2 1 done
        < b2 s1 3 #1
        > a1 gone
        < b2 s1 1 #2 +1
        < b2 s1 2 #3 +1
        > b2 release 1 2
        < b2 s1 1 #4 +1
        > c3 sub 5 /queue/q ack 9
        < c3 1 done
        > b2 nack 1 4
        < b2 s1 1 #5 +2
        > b2 unsub 1
        < b2 2 done
        < c3 s5 1 #1 +3
        < c3 s5 2 #2 +2
        < c3 s5 3 #3 +1
        > c3 ack 5 1
        > c3 ack 5 2
        > c3 ack 5 3
        > c3 gone
        > b2 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_subscription_to_a_topic_is_cancelled() {
    check(
        "
        > a0 sub 1 /topic/a
        < a0 1 done
        > b1 pub /topic/a 1
        < a0 s1 1
        < b1 1 done
        > a0 cancel 1
        < a0 s1 cancelled Forbidden
        > a0 cancel 1
        > b1 pub /topic/a 2
        < b1 2 done
        > a0 unsub 1
        < a0 2 done
        > a0 sub 1 /topic/a
        < a0 3 done
        > hold
        > a0 sub 2 /topic/b
        > a0 cancel 2
        > carry
        < a0 4 done
        < a0 s2 cancelled Forbidden
        > a0 gone
        > a0 cancel 1
        > b1 gone
        ",
    );
}

#[test]
fn what_a_cancelled_consumer_has_goes_to_others() {
    check(
        "
        > p1 pub /queue/q 1
        < p1 1 done
        > p1 pub /queue/q 2
        < p1 2 done
        > a0 sub 1 /queue/q ack 1
        < a0 1 done
        < a0 s1 1 #1
        > a0 cancel 1
        < a0 s1 cancelled Forbidden
        > a0 cancel 1
        > a0 ack 1 1
        > c2 sub 1 /queue/q ack 9
        < c2 1 done
        < c2 s1 1 #1 +1
        < c2 s1 2 #2
        > c2 ack 1 1-2
        > a0 gone
        > c2 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_cancel_meets_what_is_in_flight_from_another_core() {
    assert_eq!(home_core("/queue/q", 2), 1);
    converse(
        2,
        "
        > p1 pub /queue/q 1
        < p1 1 done
        > p1 pub /queue/q 2
        < p1 2 done
        > a0 sub 1 /queue/q ack 1
        < a0 1 done
        < a0 s1 1 #1
        > hold
        > a0 credit 1 1
        > carry 0 1
        > a0 cancel 1
        > a0 cancel 1
        > carry
        < a0 s1 cancelled Forbidden
        > c1 sub 1 /queue/q ack 9
        < c1 1 done
        < c1 s1 1 #1 +1
        < c1 s1 2 #2
        > c1 ack 1 1-2
        > hold
        > c1 gone
        > a0 sub 1 /queue/q ack 9
        > a0 cancel 1
        > a0 unsub 1
        > carry
        < a0 2 done
        < a0 3 done
        > hold
        > a0 sub 1 /queue/q ack 9
        > a0 unsub 1
        > a0 cancel 1
        > carry
        < a0 4 done
        < a0 5 done
        > hold
        > a0 sub 1 /queue/q auto 9
        > a0 cancel 1
        > a0 gone
        > carry
        > p1 gone
        ",
    );
}

#[test]
fn a_browser_is_cancelled() {
    check(
        "
        > p1 pub /queue/q 1
        < p1 1 done
        > p1 pub /queue/q 2
        < p1 2 done
        > a0 sub 1 /queue/q browse 1
        < a0 1 done
        < a0 s1 1
        > a0 cancel 1
        < a0 s1 cancelled Forbidden
        > a0 credit 1 9
        > a0 drain 1
        < a0 2 drained
        > c2 sub 1 /queue/q auto 9
        < c2 1 done
        < c2 s1 1
        < c2 s1 2
        > a0 gone
        > c2 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_cancel_waits_for_the_transactions_that_settle_before_it() {
    check(
        "
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        > p1 pub /queue/q 1
        < a0 s1 1 #1
        < p1 1 done
        > p1 pub /queue/q 2
        < a0 s1 2 #2
        < p1 2 done
        > p1 pub /queue/q 3
        < a0 s1 3 #3
        < p1 3 done
        > hold
        > a0 transact ack 1 1 ; pub /queue/r x
        > a0 transact ack 1 2 ; pub /queue/r y
        > a0 cancel 1
        > a0 transact ack 1 3
        > carry
        < a0 2 done
        < a0 3 done
        < a0 4 refused Stale
        < a0 s1 cancelled Forbidden
        > c2 sub 1 /queue/q auto 9
        < c2 1 done
        < c2 s1 3 +1
        > c2 sub 2 /queue/r auto 9
        < c2 2 done
        < c2 s2 x
        < c2 s2 y
        > a0 gone
        > c2 gone
        > p1 gone
        ",
    );
}

#[test]
fn what_never_reached_a_consumer_was_not_delivered() {
    let script = "
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        > b0 sub 1 /queue/r auto 9
        < b0 1 done
        > hold
        > a0 unsub 1
        > b0 gone
        > p1 pub /queue/q 1
        > p1 pub /queue/r 2
        > carry 1 0
        > carry
        < a0 2 done
        < p1 1 done
        < p1 2 done
        > c0 sub 1 /queue/q ack 9
        < c0 1 done
        < c0 s1 1 #1
        > c0 sub 2 /queue/r auto 9
        < c0 2 done
        < c0 s2 2
        > c0 ack 1 1
        > c0 gone
        > a0 gone
        > p1 gone
        ";
    // The queues live on core 1, away from the consumers.
    let far = |name: &str| {
        (0..).map(|n| format!("/queue/{name}{n}")).find(|name| home_core(name, 2) == 1).unwrap()
    };
    let script = script.replace("/queue/q", &far("q")).replace("/queue/r", &far("r"));
    converse(2, &script);
}

#[test]
fn messages_that_no_consumer_can_process_are_dead_lettered() {
    check(
        "
        > d3 sub 1 /queue/DLQ.q ack 9
        < d3 1 done
        > a1 sub 1 /queue/q ack 9
        < a1 1 done
        > p0 pub /queue/q bad
        < a1 s1 bad #1
        < p0 1 done
        > a1 nack 1 1
        < a1 s1 bad #2 +1
        > a1 nack 1 2
        < a1 s1 bad #3 +2
        > a1 nack 1 3
        < a1 s1 bad #4 +3
        > a1 nack 1 4
        < a1 s1 bad #5 +4
        > a1 nack 1 5
        < a1 s1 bad #6 +5
        > a1 nack 1 6
        < d3 s1 bad [delivered 6 times without success from /queue/q] #1
        > p0 pub /queue/q worse
        < a1 s1 worse #7
        < p0 2 done
        > a1 reject 1 7
        < d3 s1 worse [rejected from /queue/q] #2
        > d3 reject 1 1
        > d3 ack 1 2
        > d3 gone
        > a1 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_full_dead_letter_queue_drops_its_oldest() {
    check(
        "
        > a1 sub 1 /queue/q ack 99
        < a1 1 done
        > p0 pub /queue/q 1
        < a1 s1 1 #1
        < p0 1 done
        > a1 reject 1 1
        > p0 pub /queue/q 2
        < a1 s1 2 #2
        < p0 2 done
        > a1 reject 1 2
        > p0 pub /queue/q 3
        < a1 s1 3 #3
        < p0 3 done
        > a1 reject 1 3
        > p0 pub /queue/q 4
        < a1 s1 4 #4
        < p0 4 done
        > a1 reject 1 4
        > d2 sub 1 /queue/DLQ.q auto 9
        < d2 1 done
        < d2 s1 2 [rejected from /queue/q]
        < d2 s1 3 [rejected from /queue/q]
        < d2 s1 4 [rejected from /queue/q]
        > a1 gone
        > d2 gone
        > p0 gone
        ",
    );
}

#[test]
fn expired_messages_vanish() {
    check(
        "
        > p0 pub /queue/q old expires=100
        < p0 1 done
        > p0 pub /queue/q new
        < p0 2 done
        > p0 pub /queue/q dead expires=0
        < p0 3 done
        > pass 100
        > a1 sub 1 /queue/q auto 9
        < a1 1 done
        < a1 s1 new
        > a1 unsub 1
        < a1 2 done
        > p0 pub /queue/q old expires=100
        < p0 4 done
        > time_out 100
        > p0 gone
        > a1 gone
        ",
    );
}

#[test]
fn a_full_queue_lets_publishers_wait_and_then_refuses() {
    check(
        "
        > p0 pub /queue/q 1
        < p0 1 done
        > p0 pub /queue/q 2
        < p0 2 done
        > p0 pub /queue/q 3
        < p0 3 done
        > p0 pub /queue/q 4
        > p0 pub /queue/q 5
        > r2 pub /queue/q 6
        > p0 transact pub /queue/q 7
        < p0 6 refused Full
        > time_out 3000
        > a1 sub 1 /queue/q ack 2
        < a1 1 done
        < a1 s1 1 #1
        < a1 s1 2 #2
        > a1 ack 1 1
        < p0 4 done
        > time_out 2000
        < p0 5 refused Full
        < r2 1 refused Full
        > a1 ack 1 2
        > a1 credit 1 9
        < a1 s1 3 #3
        < a1 s1 4 #4
        > a1 ack 1 3
        > a1 ack 1 4
        > p0 pub /queue/q 8
        < a1 s1 8 #5
        < p0 7 done
        > a1 ack 1 5
        > a1 gone
        > p0 gone
        > r2 gone
        ",
    );
}

#[test]
fn temporary_destinations_belong_to_one() {
    check(
        "
        > a1 sub 1 /temp-queue/5
        < a1 1 refused NotFound
        > b2 pub /temp-queue/5 x
        < b2 1 refused NotFound
        > b2 pub /temp-topic/6 x
        < b2 2 refused NotFound
        > a1 declare /temp-queue/5
        < a1 2 done
        > a1 declare /temp-topic/6
        < a1 3 done
        > b2 pub /temp-queue/5 early
        < b2 3 done
        > b2 declare /temp-queue/5
        < b2 4 refused Forbidden
        > b2 sub 1 /temp-queue/5
        < b2 5 refused Forbidden
        > b2 sub 1 /temp-topic/6
        < b2 6 refused Forbidden
        > a1 sub 1 /temp-queue/5
        < a1 4 done
        < a1 s1 early #1
        > a1 sub 2 /temp-topic/6
        < a1 5 done
        > b2 pub /temp-queue/5 x
        < a1 s1 x #2
        < b2 7 done
        > b2 pub /temp-topic/6 y
        < a1 s2 y
        < b2 8 done
        > a1 unsub 2
        < a1 6 done
        > b2 pub /temp-topic/6 z
        < b2 9 done
        > b2 pub /temp-queue/5 1
        < a1 s1 1 #3
        < b2 10 done
        > b2 pub /temp-queue/5 2
        > a1 gone
        < b2 11 refused NotFound
        > b2 pub /temp-queue/5 x
        < b2 12 refused NotFound
        > b2 pub /temp-topic/6 x
        < b2 13 refused NotFound
        > b2 gone
        ",
    );
}

#[test]
fn a_transaction_happens_whole_or_not_at_all() {
    check(
        "
        > a1 sub 1 /queue/q ack 9
        < a1 1 done
        > w2 sub 1 /topic/t
        < w2 1 done
        > w2 sub 2 /queue/r auto 9
        < w2 2 done
        > p0 pub /queue/q 1
        < a1 s1 1 #1
        < p0 1 done
        > p0 pub /queue/q 2
        < a1 s1 2 #2
        < p0 2 done
        > a1 transact ack 1 1 ; pub /queue/r r1 ; pub /topic/t t1 ; pub /queue/s s1
        < a1 2 done
        < w2 s1 t1
        < w2 s2 r1
        > a1 transact ack 1 2 ; pub /queue/r r2 ; pub /topic/t t2 ; pub /queue/s s2 ; ack 1 1
        < a1 3 refused Stale
        > a1 transact pub /queue/s s2 ; pub /temp-queue/9 x
        < a1 4 refused NotFound
        > a1 transact ack 1 2 ; pub /queue/s s3 ; pub /queue/s s4 ; pub /queue/s s5
        < a1 5 refused Full
        > a1 transact pub /topic/t t3
        < a1 6 done
        < w2 s1 t3
        > a1 transact nack 1 2
        < a1 7 done
        < a1 s1 2 #3 +1
        > a1 ack 1 3
        > w2 sub 3 /queue/s auto 9
        < w2 3 done
        < w2 s3 s1
        > a1 gone
        > w2 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_range_is_settled_at_once_and_replied_to_after() {
    check(
        "
        > p0 pub /queue/q 1
        < p0 1 done
        > p0 pub /queue/q 2
        < p0 2 done
        > p0 pub /queue/q 3
        < p0 3 done
        > a1 sub 1 /queue/q
        < a1 1 done
        < a1 s1 1 #1
        < a1 s1 2 #2
        < a1 s1 3 #3
        > a1 nack 1 1-2 reply
        < a1 2 done
        < a1 s1 1 #4 +1
        < a1 s1 2 #5 +1
        > a1 ack 1 3-4
        > a1 transact ack 1 4-5
        < a1 3 refused Stale
        > a1 transact ack 1 5-5
        < a1 4 done
        > a1 ack 1 1-5 reply
        < a1 5 done
        > a1 ack 7 1 reply
        < a1 6 done
        > a1 gone
        > p0 gone
        ",
    );
}

#[test]
fn credit_is_used_up_set_and_taken_back() {
    check(
        "
        > a1 sub 1 /queue/q ack 2
        < a1 1 done
        > a1 drain 1
        < a1 2 drained
        > p0 pub /queue/q 1
        < p0 1 done
        > a1 credit 1 5
        < a1 s1 1 #1
        > a1 credit 1 =0
        > p0 pub /queue/q 2
        < p0 2 done
        > p0 pub /queue/q 3
        < p0 3 done
        > a1 credit 1 =1
        < a1 s1 2 #2
        > a1 credit 1 1
        < a1 s1 3 #3
        > a1 credit 1 3
        > a1 release 1 3
        < a1 s1 3 #4
        > a1 drain 1
        < a1 3 drained
        > a1 release 1 4
        > a1 credit 1 9
        < a1 s1 3 #5
        > a1 ack 1 1-5
        > a1 drain 7
        < a1 4 drained
        > a1 sub 2 /topic/t
        < a1 5 done
        > a1 drain 2
        < a1 6 drained
        > a1 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_drain_is_replied_to_after_the_deliveries() {
    converse(
        2,
        "
        > p1 pub /queue/a 1
        < p1 1 done
        > hold
        > a0 sub 1 /queue/a auto 5
        > a0 drain 1
        > a0 credit 1 =2
        > carry 0 1
        > p1 pub /queue/a 2
        > p1 pub /queue/a 3
        > show
        < p1 2 done
        < p1 3 done
        > carry
        < a0 1 done
        < a0 2 drained
        < a0 s1 1
        < a0 s1 2
        > a0 credit 1 1
        < a0 s1 3
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn browsing_takes_nothing_out_of_a_queue() {
    check(
        "
        > p0 pub /queue/q 1
        < p0 1 done
        > p0 pub /queue/q 2 priority=9
        < p0 2 done
        > p0 pub /queue/q 3 expires=100
        < p0 3 done
        > a1 sub 1 /queue/q browse 1
        < a1 1 done
        < a1 s1 2
        > pass 100
        > c2 sub 1 /queue/q ack 1
        < c2 1 done
        < c2 s1 2 #1
        > c2 nack 1 1
        > p0 pub /queue/q 4
        < p0 4 done
        > a1 credit 1 1
        < a1 s1 1
        > a1 credit 1 9
        > a1 drain 1
        < a1 2 drained
        > a1 sub 2 /queue/q browse 9
        < a1 3 done
        < a1 s2 2 +1
        < a1 s2 1
        < a1 s2 4
        > a1 unsub 2
        < a1 4 done
        > a1 sub 3 /queue/none browse 9
        < a1 5 done
        > a1 drain 3
        < a1 6 drained
        > a1 unsub 3
        < a1 7 done
        > a1 sub 2 /topic/t browse 9
        < a1 8 refused NotFound
        > a1 sub 3 /temp-queue/7 browse 9
        < a1 9 refused NotFound
        > c2 credit 1 9
        < c2 s1 2 #2 +1
        < c2 s1 1 #3
        < c2 s1 4 #4
        > c2 ack 1 2-4
        > c2 gone
        > a1 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_settlement_is_replied_to_after_it_was_carried_out() {
    converse(
        2,
        "
        > p0 pub /queue/a 1
        < p0 1 done
        > a0 sub 1 /queue/a ack 1
        < a0 1 done
        < a0 s1 1 #1
        > b1 sub 1 /queue/a ack 1
        < b1 1 done
        > hold
        > a0 release 1 1 reply
        > show
        > carry
        < a0 2 done
        < b1 s1 1 #1
        > b1 ack 1 1
        > b1 gone
        > a0 gone
        > p0 gone
        ",
    );
}

#[test]
fn what_is_published_after_a_transaction_comes_after_it() {
    check(
        "
        > w2 sub 1 /queue/q1 auto 9
        < w2 1 done
        > w2 sub 2 /queue/q2 auto 9
        < w2 2 done
        > w2 sub 3 /topic/t auto 9
        < w2 3 done
        > hold
        > p0 transact pub /queue/q1 1 ; pub /queue/q2 1 ; pub /topic/t 1
        > p0 pub /queue/q1 2
        > p0 transact pub /queue/q2 2 ; pub /queue/q1 3
        > p0 pub /topic/t 2
        > carry
        < p0 1 done
        < p0 2 done
        < p0 3 done
        < p0 4 done
        < w2 s1 1
        < w2 s1 2
        < w2 s1 3
        < w2 s2 1
        < w2 s2 2
        < w2 s3 1
        < w2 s3 2
        > p0 gone
        > w2 gone
        ",
    );
}

#[test]
fn lanes_do_not_wait_for_each_other() {
    converse(
        2,
        "
        > w0 sub 1 /topic/t auto 9
        < w0 1 done
        > w0 sub 2 /queue/a auto 9
        < w0 2 done
        > hold
        > p0 lane 1 transact pub /queue/a 1 ; pub /topic/t 1
        > p0 lane 1 pub /topic/t 2
        > p0 lane 1 transact pub /topic/t 3
        > p0 lane 2 transact pub /topic/t 4
        > p0 pub /topic/t 5
        > p0 lane 2 transact pub /queue/a 6
        > p0 lane 2 pub /topic/t 7
        > p0 pub /topic/t 8
        > show
        < p0 4 done
        < p0 5 done
        < p0 8 done
        < w0 s1 4
        < w0 s1 5
        < w0 s1 8
        > p0 gone
        > carry
        < w0 s1 1
        < w0 s1 2
        < w0 s1 3
        < w0 s1 7
        < w0 s2 1
        < w0 s2 6
        > w0 gone
        ",
    );
}

#[test]
fn the_end_of_a_connection_waits_for_no_transaction() {
    converse(
        2,
        "
        > w0 declare /temp-queue/4
        < w0 1 done
        > w0 sub 1 /temp-queue/4
        < w0 2 done
        > p1 pub /temp-queue/4 x
        < p1 1 done
        < w0 s1 x #1
        > hold
        > w0 transact pub /queue/a 1 ; pub /queue/b 1 ; pub /queue/c 1
        > w0 transact ack 1 1
        > w0 unsub 1
        > w0 gone
        > carry
        > c1 sub 1 /queue/a auto 9
        < c1 1 done
        < c1 s1 1
        > c1 sub 2 /queue/b auto 9
        < c1 2 done
        < c1 s2 1
        > c1 sub 3 /queue/c auto 9
        < c1 3 done
        < c1 s3 1
        > c1 gone
        > p1 gone
        ",
    );
}

/// Otherwise its home would take back what the transaction settles, and refuse it.
#[test]
fn the_end_of_a_subscription_waits_for_a_transaction_that_settles_it() {
    converse(
        2,
        "
        > p0 pub /queue/a 1
        < p0 1 done
        > p0 pub /queue/a 2
        < p0 2 done
        > w0 sub 1 /queue/a
        < w0 1 done
        < w0 s1 1 #1
        < w0 s1 2 #2
        > hold
        > w0 transact pub /queue/b 1
        > w0 transact ack 1 1
        > w0 unsub 1
        > carry
        < w0 2 done
        < w0 3 done
        < w0 4 done
        > w0 sub 2 /queue/a auto 9
        < w0 5 done
        < w0 s2 2 +1
        > w0 sub 3 /queue/b auto 9
        < w0 6 done
        < w0 s3 1
        > w0 gone
        > p0 gone
        ",
    );
}

/// The conversation goes the same way on one core and on more, and leaves nothing behind.
fn check(script: &str) {
    for cores in [1, 2, 3, 4] {
        converse(cores, script);
    }
}

fn converse(cores: u16, script: &str) {
    let broker = BrokerLimits { queue_messages_max: 3, ..BrokerLimits::default() };
    let connection = ConnectionLimits {
        subscriptions_max: 3,
        transaction_operations_max: 5,
        ..ConnectionLimits::default()
    };
    let limits = Limits { broker, connection };
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
            ["lane", lane, ref rest @ ..] => (Lane(lane.parse().unwrap()), rest),
            _ => (Lane::default(), words),
        };
        let command = match *words {
            ["gone"] => return Event::Gone(connection),
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
            [outcome @ ("ack" | "nack" | "release" | "reject"), id, numbers, ref reply @ ..] => {
                let settle = self.settle(connection, outcome, id, numbers);
                let reply = (*reply == ["reply"]).then(|| self.token(who));
                return Event::Settle(connection, settle, reply);
            }
            ["sub", id, pattern, ref rest @ ..] => {
                let (mode, settlement, credit) = match *rest {
                    ["auto", credit] => (Mode::Consume, Settlement::Automatic, credit),
                    ["ack", credit] => (Mode::Consume, Settlement::Explicit, credit),
                    ["browse", credit] => (Mode::Browse, Settlement::Automatic, credit),
                    _ => (Mode::Consume, Settlement::Explicit, "9"),
                };
                Command::Subscribe(Box::new(Subscribe {
                    id: subscription(id),
                    pattern: Pattern::parse(&full(pattern)).unwrap(),
                    mode,
                    settlement,
                    credit: credit.parse().unwrap(),
                }))
            }
            ["unsub", id] => Command::Unsubscribe(subscription(id)),
            ["pub", ref rest @ ..] => Command::Publish(lane, self.message(rest)),
            ["declare", name] => Command::Declare(Declare { destination: destination(name) }),
            ["transact", ref rest @ ..] => {
                let parts = rest.split(|&word| word == ";");
                let operations = parts.map(|part| self.operation(connection, part)).collect();
                Command::Transact(lane, operations)
            }
            _ => panic!("{words:?}"),
        };
        Event::Command(connection, self.token(who), command)
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
            _ => Settled::Rejected,
        };
        Settle { subscription, tags: tag(first)..=tag(last), outcome }
    }

    fn message(&mut self, words: &[&str]) -> Arc<Message> {
        self.message_id += 1;
        let body = Body::Text(Bytes::copy_from_slice(words[1].as_bytes()));
        let unix_ms = self.world.now.unix_ms;
        let mut message = Message::new(destination(words[0]), self.message_id, unix_ms, body);
        for word in &words[2..] {
            match word.split_once('=').unwrap() {
                ("priority", value) => message.header.priority = value.parse().unwrap(),
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
                Outcome::Noticed(_, notice) => panic!("{notice:?}"),
                Outcome::Delivered(subscriber, delivery) => {
                    let message = &delivery.message;
                    let body = str::from_utf8(message.body().bytes()).unwrap();
                    let mut text = format!("s{} {body}", subscriber.subscription.0);
                    if let Some(DeadLetter { queue, reason }) = message.dead_letter.as_deref() {
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

fn home_core(name: &str, cores: u16) -> u16 {
    Placement::new(cores).home(&Destination::parse(name).unwrap())
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
