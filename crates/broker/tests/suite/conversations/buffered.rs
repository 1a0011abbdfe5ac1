//! Subscriptions to topics with credit, a rate or a policy: what waits for them, and what does not.

use crate::stage::{check, converse};

#[test]
fn the_latest_of_each_destination_waits() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p.* latest
        < a0 1 done
        > p1 pub /topic/p.a 1 size=20000
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p.a 2
        < p1 2 done
        > p1 pub /topic/p.b 3
        < p1 3 done
        > p1 pub /topic/p.a 4
        < p1 4 done
        > q2 pub /topic/p.b 5
        < q2 1 done
        > p1 pub /topic/p.c 6
        < p1 5 done
        > a0 write 1
        < a0 s1 4 -1
        < a0 s1 5 -1
        < a0 s1 6
        > a0 write 3
        > p1 pub /topic/p.c 7
        < a0 s1 7
        < p1 6 done
        > a0 gone
        > p1 gone
        > q2 gone
        ",
    );
}

#[test]
fn the_latest_of_each_value_of_a_property_waits() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p latest=key
        < a0 1 done
        > p1 pub /topic/p 1 size=20000 key=x
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p 2 key=x
        < p1 2 done
        > p1 pub /topic/p 3
        < p1 3 done
        > p1 pub /topic/p 4 key=y
        < p1 4 done
        > p1 pub /topic/p 5
        < p1 5 done
        > p1 pub /topic/p 6 key=x
        < p1 6 done
        > a0 write 1
        < a0 s1 6 -1
        < a0 s1 3
        < a0 s1 4
        < a0 s1 5
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn the_latest_that_expires_is_told_of_with_another() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p.* latest
        < a0 1 done
        > p1 pub /topic/p.a 1 size=20000
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p.a 2
        < p1 2 done
        > p1 pub /topic/p.a 3 expires=100
        < p1 3 done
        > p1 pub /topic/p.b 4
        < p1 4 done
        > pass 100
        > a0 write 1
        < a0 s1 4 -2
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn the_latest_is_drained() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p.* auto 3 latest
        < a0 1 done
        > a0 sub 2 /topic/p.b latest
        < a0 2 done
        > p1 pub /topic/p.a 1 size=20000
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p.b 2
        < a0 s2 2
        < p1 2 done
        > a0 drain 1
        > a0 write 1
        < a0 3 drained
        < a0 s1 2
        > p1 pub /topic/p.b 3
        < a0 s2 3
        < p1 3 done
        > p1 pub /topic/p.b 4
        < a0 s2 4
        < p1 4 done
        > a0 write 9
        > a0 credit 1 1
        < a0 s1 4 -1
        > a0 unsub 1
        < a0 4 done
        > p1 pub /topic/p.b 5
        < a0 s2 5
        < p1 5 done
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn the_oldest_are_dropped_where_more_wait_than_may() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p drop-oldest
        < a0 1 done
        > p1 pub /topic/p 1 size=2000000
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p 2 size=2000000
        < p1 2 done
        > p1 pub /topic/p 3 size=2000000
        < p1 3 done
        > p1 pub /topic/p 4 size=2000000
        < p1 4 done
        > p1 pub /topic/p 5
        < p1 5 done
        > a0 write 1
        < a0 s1 3 -1
        > a0 write 1
        < a0 s1 4
        > a0 write 1
        < a0 s1 5
        > p1 pub /topic/p 6
        < a0 s1 6
        < p1 6 done
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn all_subscriptions_of_a_connection_share_what_may_wait() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p drop-oldest
        < a0 1 done
        > a0 sub 2 /topic/q latest
        < a0 2 done
        > p1 pub /topic/p 1 size=3000000
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p 2 size=3000000
        < p1 2 done
        > p1 pub /topic/q 3 size=3000000
        < p1 3 done
        > p1 pub /topic/q 4
        < p1 4 done
        > a0 write 1
        < a0 s1 2
        < a0 s2 4 -1
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_subscription_ends_when_more_waits_than_may() {
    check(
        "
        > a0 sub 1 /topic/p ack 1
        < a0 1 done
        > b1 sub 1 /topic/p
        < b1 1 done
        > p1 pub /topic/p 1
        < a0 s1 1 #1
        < b1 s1 1
        < p1 1 done
        > p1 pub /topic/p 2 size=2000000
        < b1 s1 2
        < p1 2 done
        > p1 pub /topic/p 3 size=2000000
        < b1 s1 3
        < p1 3 done
        > p1 pub /topic/p 4 size=2000000
        < a0 s1 cancelled Slow
        < b1 s1 4
        < p1 4 done
        > a0 credit 1 5
        > a0 unsub 1
        < a0 2 done
        > p1 pub /topic/p 5
        < b1 s1 5
        < p1 5 done
        > a0 gone
        > b1 gone
        > p1 gone
        ",
    );
}

#[test]
fn credit_comes_from_the_session_or_with_what_is_written() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p ack 2
        < a0 1 done
        > a0 sub 2 /topic/p auto 2
        < a0 2 done
        > p1 pub /topic/p 1
        < a0 s1 1 #1
        < a0 s2 1
        < p1 1 done
        > p1 pub /topic/p 2
        < a0 s1 2 #2
        < a0 s2 2
        < p1 2 done
        > p1 pub /topic/p 3
        < p1 3 done
        > p1 pub /topic/p 4
        < p1 4 done
        > a0 ack 1 1-2 reply
        < a0 3 done
        > a0 credit 1 1
        < a0 s1 3 #3
        > a0 write 2
        < a0 s2 3
        > a0 write 3
        < a0 s2 4
        > a0 credit 1 =1
        < a0 s1 4 #4
        > a0 transact nack 1 3 ; pub /topic/p 5
        < a0 4 done
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_drain_takes_back_the_credit_that_is_left() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p ack 9
        < a0 1 done
        > a0 drain 1
        < a0 2 drained
        > p1 pub /topic/p 1 size=20000
        < p1 1 done
        > p1 pub /topic/p 2
        < p1 2 done
        > a0 credit 1 5
        < a0 s1 1 #1
        > a0 drain 1
        > a0 credit 1 1
        > p1 pub /topic/p 3
        < p1 3 done
        > a0 write 1
        < a0 3 drained
        < a0 s1 2 #2
        < a0 s1 3 #3
        > p1 pub /topic/p 4
        < a0 s1 4 #4
        < p1 4 done
        > p1 pub /topic/p 5
        < p1 5 done
        > a0 sub 2 /topic/p latest
        < a0 4 done
        > a0 drain 2
        < a0 5 drained
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn what_was_in_flight_leaves_no_credit_after_a_drain() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p auto 3
        < a0 1 done
        > p1 pub /topic/p 1
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p 2
        < a0 s1 2
        < p1 2 done
        > a0 drain 1
        < a0 2 drained
        > p1 pub /topic/p 3
        < p1 3 done
        > a0 write 1
        > a0 credit 1 2
        < a0 s1 3
        > a0 write 1
        > p1 pub /topic/p 4
        < a0 s1 4
        < p1 4 done
        > p1 pub /topic/p 5
        < p1 5 done
        > a0 write 1
        < a0 s1 5
        > a0 write 2
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn what_was_in_flight_leaves_no_credit_when_it_was_set() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p auto 2
        < a0 1 done
        > p1 pub /topic/p 1
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p 2
        < a0 s1 2
        < p1 2 done
        > a0 credit 1 =1
        > a0 write 2
        > p1 pub /topic/p 3
        < a0 s1 3
        < p1 3 done
        > p1 pub /topic/p 4
        < p1 4 done
        > a0 write 1
        < a0 s1 4
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn what_is_written_does_not_prolong_a_drain() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p auto 2
        < a0 1 done
        > p1 pub /topic/p 1 size=20000
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p 2 size=20000
        < p1 2 done
        > p1 pub /topic/p 3
        < p1 3 done
        > a0 drain 1
        > a0 write 1
        < a0 2 drained
        < a0 s1 2
        > a0 write 1
        > a0 credit 1 1
        < a0 s1 3
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_rate_is_kept() {
    check(
        "
        > pass 60000
        > a0 sub 1 /topic/p.* latest rate=10
        < a0 1 done
        > p1 pub /topic/p.a 1
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p.b 2
        < a0 s1 2
        < p1 2 done
        > p1 pub /topic/p.a 3
        < p1 3 done
        > p1 pub /topic/p.b 4
        < p1 4 done
        > p1 pub /topic/p.a 5
        < p1 5 done
        > time_out 50
        > time_out 50
        < a0 s1 5 -1
        > pass 100
        > p1 pub /topic/p.c 6
        < a0 s1 4
        < p1 6 done
        > time_out 100
        < a0 s1 6
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn what_expires_while_it_waits_is_dropped() {
    check(
        "
        > a0 stall
        > a0 sub 1 /topic/p drop-oldest
        < a0 1 done
        > p1 pub /topic/p 1 size=20000
        < a0 s1 1
        < p1 1 done
        > p1 pub /topic/p 2 expires=100
        < p1 2 done
        > p1 pub /topic/p 3
        < p1 3 done
        > pass 100
        > a0 write 1
        < a0 s1 3 -1
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn queues_and_buffered_subscriptions_take_turns() {
    check(
        "
        > a0 stall
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        > a0 sub 2 /topic/p drop-oldest
        < a0 2 done
        > p1 pub /queue/q 1 size=300000
        < a0 s1 1 #1
        < p1 1 done
        > p1 pub /topic/p 2 size=20000
        < p1 2 done
        > p1 pub /topic/p 3
        < p1 3 done
        > a0 write 1
        < a0 s2 2
        > p1 pub /queue/q 4
        < a0 s1 4 #2
        < p1 4 done
        > a0 unsub 2
        < a0 3 done
        > a0 write 2
        > a0 sub 2 /topic/p drop-oldest
        < a0 4 done
        > p1 pub /topic/p 5
        < a0 s2 5
        < p1 5 done
        > a0 ack 1 1-2
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_buffered_subscription_is_confirmed_once_all_know_of_it() {
    converse(
        3,
        "
        > hold
        > a0 sub 1 /topic/a latest
        > b0 sub 1 /topic/a
        > c0 sub 1 /topic/a drop-oldest
        > c0 unsub 1
        > carry 0 1
        > carry 1 0
        > show
        < c0 1 done
        < c0 2 done
        > carry
        < a0 1 done
        < b0 1 done
        > p1 pub /topic/a x
        < a0 s1 x
        < b0 s1 x
        < p1 1 done
        > b0 gone
        > p1 pub /topic/a y
        < a0 s1 y
        < p1 2 done
        > a0 gone
        > c0 gone
        > p1 gone
        ",
    );
}
