//! Topics, and subscriptions to them.

use crate::stage::{check, converse};

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
