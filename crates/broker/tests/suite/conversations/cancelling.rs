//! Subscriptions that are ended from outside.

use crate::stage::{check, converse, home_core};

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
        < c2 s1 1 #1
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
        < c1 s1 1 #1
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
        < c2 s1 3
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
