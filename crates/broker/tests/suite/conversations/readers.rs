//! Readers of queues: what they are handed while it is not written to their sockets, and what becomes
//! of it when they leave.

use crate::stage::check;

#[test]
fn a_reader_is_handed_a_window_of_what_it_reads() {
    check(
        "
        > a0 stall
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        > p1 pub /queue/q 1 size=200000
        < a0 s1 1 #1
        < p1 1 done
        > p1 pub /queue/q 2 size=200000
        < a0 s1 2 #2
        < p1 2 done
        > p1 pub /queue/q 3 size=200000
        < p1 3 done
        > b2 sub 1 /queue/q ack 1
        < b2 1 done
        < b2 s1 3 #1
        > p1 pub /queue/q 4
        > a0 ack 1 1
        < p1 4 done
        > a0 write 1
        < a0 s1 4 #3
        > b2 gone
        < a0 s1 3 #4 +1
        > a0 write 9
        > a0 close
        > c3 sub 1 /queue/q auto 9
        < c3 1 done
        < c3 s1 2
        < c3 s1 3 +1
        < c3 s1 4
        > a0 gone
        > c3 gone
        > p1 gone
        ",
    );
}

#[test]
fn all_subscriptions_of_a_connection_share_its_window() {
    check(
        "
        > a0 stall
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        > a0 sub 2 /queue/r auto 9
        < a0 2 done
        > p1 pub /queue/q 1 size=300000
        < a0 s1 1 #1
        < p1 1 done
        > p1 pub /queue/r 2
        < p1 2 done
        > a0 drain 2
        > a0 write 1
        < a0 3 drained
        < a0 s2 2
        > p1 pub /queue/q 3
        < a0 s1 3 #2
        < p1 3 done
        > a0 gone
        > b2 sub 1 /queue/r auto 9
        < b2 1 done
        < b2 s1 2
        > b2 sub 2 /queue/q ack 9
        < b2 2 done
        < b2 s2 1 #1 +1
        < b2 s2 3 #2
        > b2 ack 2 1-2
        > b2 gone
        > p1 gone
        ",
    );
}

/// Fails when `Allowance::next_drained` does not look whether there is more.
#[test]
fn a_drain_waits_for_the_window() {
    check(
        "
        > p1 pub /queue/q 1 size=300000
        < p1 1 done
        > p1 pub /queue/q 2 size=300000
        < p1 2 done
        > p1 pub /queue/q 3
        < p1 3 done
        > a0 stall
        > a0 sub 1 /queue/q browse 2
        < a0 1 done
        < a0 s1 1
        > a0 drain 1
        > a0 credit 1 2
        > a0 drain 1
        > a0 write 1
        < a0 2 drained
        < a0 s1 2
        > a0 write 1
        < a0 3 drained
        < a0 s1 3
        > b2 stall
        > b2 sub 1 /queue/q ack 9
        < b2 1 done
        < b2 s1 1 #1
        > b2 drain 1
        > b2 unsub 1
        < b2 2 drained
        < b2 3 done
        > c3 sub 1 /queue/q auto 9
        < c3 1 done
        < c3 s1 1
        < c3 s1 2
        < c3 s1 3
        > a0 gone
        > b2 gone
        > c3 gone
        > p1 gone
        ",
    );
}

#[test]
fn what_is_settled_automatically_is_settled_when_it_is_written() {
    check(
        "
        > a0 stall
        > a0 sub 1 /queue/q auto 9
        < a0 1 done
        > p1 pub /queue/q 1
        < a0 s1 1
        < p1 1 done
        > p1 pub /queue/q 2
        < a0 s1 2
        < p1 2 done
        > p1 pub /queue/q 3
        < a0 s1 3
        < p1 3 done
        > a0 write 1
        > a0 unsub 1
        > p1 pub /queue/q 4
        < p1 4 done
        > b2 sub 1 /queue/q ack 9
        < b2 1 done
        < b2 s1 4 #1
        > a0 write 1
        > a0 close
        > a0 gone
        < b2 s1 3 #2
        > b2 ack 1 1-2
        > b2 gone
        > p1 gone
        ",
    );
}

#[test]
fn an_unsubscribe_is_replied_to_when_it_is_known_what_was_written() {
    check(
        "
        > a0 stall
        > a0 sub 1 /queue/q auto 9
        < a0 1 done
        > p1 pub /queue/q 1
        < a0 s1 1
        < p1 1 done
        > a0 unsub 1
        > a0 write 1
        < a0 2 done
        > a0 sub 1 /queue/q auto 9
        < a0 3 done
        > p1 pub /queue/q 2
        < a0 s1 2
        < p1 2 done
        > a0 break
        > a0 write 1
        > a0 gone
        > b2 sub 1 /queue/q auto 9
        < b2 1 done
        > b2 gone
        > p1 gone
        ",
    );
}

#[test]
fn only_a_lost_connection_counts_as_a_failed_attempt() {
    check(
        "
        > p1 pub /queue/q 1
        < p1 1 done
        > a0 sub 1 /queue/q
        < a0 1 done
        < a0 s1 1 #1
        > a0 close
        > a0 gone
        > b2 sub 1 /queue/q
        < b2 1 done
        < b2 s1 1 #1
        > b2 unsub 1
        < b2 2 done
        > b2 sub 1 /queue/q
        < b2 3 done
        < b2 s1 1 #2
        > b2 break
        > b2 gone
        > c3 stall
        > c3 sub 1 /queue/q
        < c3 1 done
        < c3 s1 1 #1 +1
        > c3 gone
        > d0 sub 1 /queue/q auto 9
        < d0 1 done
        < d0 s1 1 +1
        > d0 gone
        > p1 gone
        ",
    );
}

#[test]
fn what_was_parked_is_for_others_once_its_subscription_has_ended() {
    check(
        "
        > a0 stall
        > a0 sub 1 /queue/q auto 9
        < a0 1 done
        > p1 pub /queue/q 1 size=300000
        < a0 s1 1
        < p1 1 done
        > a0 sub 2 /queue/r auto 9
        < a0 2 done
        > p1 pub /queue/r 2
        < p1 2 done
        > a0 write 1
        < a0 s2 2
        > p1 pub /queue/q 3 size=300000
        < a0 s1 3
        < p1 3 done
        > p1 pub /queue/r 4
        < p1 4 done
        > a0 unsub 2
        > b2 sub 1 /queue/r auto 9
        < b2 1 done
        < b2 s1 4
        > a0 sub 3 /queue/r auto 9
        < a0 4 done
        > p1 pub /queue/r 5
        < b2 s1 5
        < p1 5 done
        > a0 gone
        < b2 s1 2
        > b2 sub 2 /queue/q auto 9
        < b2 2 done
        < b2 s2 3
        > b2 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_connection_that_does_not_read_browses_no_more_than_it_may_have_unsent() {
    check(
        "
        > p1 pub /queue/q 1 size=3000000
        < p1 1 done
        > p1 pub /queue/r 2 size=3000000
        < p1 2 done
        > a0 stall
        > a0 sub 1 /queue/q browse 9
        < a0 1 done
        < a0 s1 1
        > a0 sub 2 /queue/r browse 9
        < a0 2 done
        > a0 sub 3 /queue/q browse 9
        < a0 3 done
        < a0 s3 cancelled Limit
        > a0 write 1
        < a0 s2 2
        > a0 gone
        > b2 sub 1 /queue/q auto 9
        < b2 1 done
        < b2 s1 1
        > b2 sub 2 /queue/r auto 9
        < b2 2 done
        < b2 s2 2
        > b2 gone
        > p1 gone
        ",
    );
}

#[test]
fn subscriptions_of_a_connection_have_turns() {
    check(
        "
        > a0 stall
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        > a0 sub 2 /queue/r ack 9
        < a0 2 done
        > a0 sub 3 /queue/s ack 9
        < a0 3 done
        > p1 pub /queue/q 1 size=300000
        < a0 s1 1 #1
        < p1 1 done
        > p1 pub /queue/r 2 size=200000
        < p1 2 done
        > p1 pub /queue/r 3 size=200000
        < p1 3 done
        > p1 pub /queue/s 4 size=200000
        < p1 4 done
        > a0 write 1
        < a0 s2 2 #1
        < a0 s3 4 #1
        > a0 write 2
        < a0 s2 3 #2
        > a0 ack 1 1
        > a0 ack 2 1-2
        > a0 ack 3 1
        > a0 gone
        > p1 gone
        ",
    );
}
