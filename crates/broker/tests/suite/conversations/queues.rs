//! Queues, temporary destinations, settlement, credit and browsing.

use crate::stage::{check, converse, home_core};

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
        < c3 s5 1 #1 +2
        < c3 s5 2 #2 +1
        < c3 s5 3 #3
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

/// Its refusal ends no connection: STOMP drops such a message, as a reply whose requester has gone.
#[test]
fn what_is_sent_behind_a_message_to_a_temporary_queue_that_has_gone_is_taken() {
    check(
        "
        > p0 lane connection pub /temp-queue/00000000000000000000000000000001 1
        < p0 1 refused NotFound
        > p0 lane connection pub /queue/q 2
        < p0 2 done
        > a1 sub 1 /queue/q auto 9
        < a1 1 done
        < a1 s1 2
        > p0 gone
        > a1 gone
        ",
    );
}

/// Otherwise it would be before what was refused and is sent again. Fails when `Home::refuse_behind` does
/// nothing, and when `Home::is_behind_refusal` says no.
#[test]
fn nothing_is_carried_out_behind_a_publication_whose_refusal_ends_the_connection() {
    check(
        "
        > p0 lane connection pub /queue/q 1
        < p0 1 done
        > p0 lane connection pub /queue/q 2
        < p0 2 done
        > p0 lane connection pub /queue/q 3
        < p0 3 done
        > p0 lane connection pub /queue/q 4
        > r2 pub /queue/q other
        > time_out 3000
        > p0 lane connection pub /queue/q 5
        > r2 pub /queue/q another
        > q1 lane connection pub /queue/q 6
        > time_out 2000
        < p0 4 refused Full
        < p0 5 refused Busy
        < r2 1 refused Full
        > p0 lane connection pub /queue/q 7
        < p0 6 refused Busy
        > p0 lane connection transact pub /queue/r 7
        < p0 7 refused Busy
        > hold
        > time_out 3000
        > q1 lane connection pub /queue/q 7
        > q1 lane connection transact pub /queue/q 7
        > carry
        < q1 1 refused Full
        < q1 2 refused Busy
        < q1 3 refused Busy
        < r2 2 refused Full
        > p0 gone
        > q1 gone
        > r2 gone
        > a1 sub 1 /queue/q auto 9
        < a1 1 done
        < a1 s1 1
        < a1 s1 2
        < a1 s1 3
        > a1 gone
        ",
    );
}

#[test]
fn a_temporary_destination_may_be_given_up_once_nothing_reads_it() {
    check(
        "
        > a1 declare /temp-queue/5
        < a1 1 done
        > a1 declare /temp-topic/6
        < a1 2 done
        > a1 sub 1 /temp-queue/5
        < a1 3 done
        > b2 undeclare /temp-queue/5
        < b2 1 refused NotFound
        > a1 undeclare /temp-queue/5
        < a1 4 refused Busy
        > a1 unsub 1
        < a1 5 done
        > b2 pub /temp-queue/5 dropped
        < b2 2 done
        > a1 undeclare /temp-queue/5
        < a1 6 done
        > b2 pub /temp-queue/5 x
        < b2 3 refused NotFound
        > a1 sub 1 /temp-queue/5
        < a1 7 refused NotFound
        > a1 undeclare /temp-topic/6
        < a1 8 done
        > b2 pub /temp-topic/6 x
        < b2 4 refused NotFound
        > a1 declare /temp-queue/5
        < a1 9 done
        > a1 gone
        > b2 gone
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

/// Fails when `Home::settle` takes the first of a range alone.
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

/// Fails when `Credit::Set` adds (`Allowance::apply`), or `Home::drain` replies with the next delivery alone.
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
