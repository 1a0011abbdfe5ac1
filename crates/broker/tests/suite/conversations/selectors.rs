//! Subscriptions with selectors.

use crate::stage::check;

#[test]
fn what_no_consumer_selects_stays_in_its_queue() {
    check(
        "
        > a1 sub 1 /queue/q ack 9 select=key='x'
        < a1 1 done
        > p0 pub /queue/q 1 key=y
        < p0 1 done
        > p0 pub /queue/q 2 key=x
        < a1 s1 2 #1
        < p0 2 done
        > p0 pub /queue/q 3
        < p0 3 done
        > b2 sub 1 /queue/q ack 9 select=key<>'x'
        < b2 1 done
        < b2 s1 1 #1
        > c3 sub 1 /queue/q auto 9
        < c3 1 done
        < c3 s1 3
        > a1 gone
        < c3 s1 2 +1
        > b2 gone
        < c3 s1 1 +1
        > c3 gone
        > p0 gone
        ",
    );
}

#[test]
fn what_returns_or_is_more_urgent_is_found_behind_what_was_passed() {
    check(
        "
        > a1 sub 1 /queue/q ack 9 select=key='x'
        < a1 1 done
        > b2 sub 1 /queue/q ack 9 select=key='x'
        < b2 1 done
        > p0 pub /queue/q 1 key=y
        < p0 1 done
        > p0 pub /queue/q 2 key=x
        < a1 s1 2 #1
        < p0 2 done
        > p0 pub /queue/q 3 key=x
        < b2 s1 3 #1
        < p0 3 done
        > a1 nack 1 1
        < a1 s1 2 #2 +1
        > a1 credit 1 =0
        > a1 nack 1 2
        < b2 s1 2 #2 +2
        > b2 ack 1 1
        > p0 pub /queue/q urgent key=x priority=9
        < b2 s1 urgent #3
        < p0 4 done
        > b2 credit 1 =0
        > b2 release 1 2-3
        > a1 credit 1 1
        < a1 s1 urgent #3
        > a1 credit 1 1
        < a1 s1 2 #4 +2
        > a1 gone
        > b2 gone
        > p0 gone
        > c3 sub 1 /queue/q auto 9
        < c3 1 done
        < c3 s1 urgent +1
        < c3 s1 1
        < c3 s1 2 +3
        > c3 gone
        ",
    );
}

#[test]
fn a_consumer_without_a_message_does_not_keep_others_from_theirs() {
    check(
        "
        > a1 sub 1 /queue/q ack 9 select=key='x'
        < a1 1 done
        > b2 sub 1 /queue/q auto 1 select=key='y'
        < b2 1 done
        > c3 sub 1 /queue/q auto 1
        < c3 1 done
        > p0 pub /queue/q 1
        < c3 s1 1
        < p0 1 done
        > p0 pub /queue/q 2 key=y
        < b2 s1 2
        < p0 2 done
        > p0 pub /queue/q 3 key=y
        < p0 3 done
        > a1 drain 1
        < a1 2 drained
        > p0 pub /queue/q 4 key=x
        < p0 4 done
        > a1 credit 1 2
        < a1 s1 4 #1
        > a1 drain 1
        < a1 3 drained
        > c3 credit 1 1
        < c3 s1 3
        > a1 ack 1 1
        > a1 gone
        > b2 gone
        > c3 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_browser_is_shown_what_it_selects() {
    check(
        "
        > p0 pub /queue/q 1 key=x
        < p0 1 done
        > p0 pub /queue/q 2
        < p0 2 done
        > p0 pub /queue/q 3 key=x
        < p0 3 done
        > a1 sub 1 /queue/q browse 9 select=key='x'
        < a1 1 done
        < a1 s1 1
        < a1 s1 3
        > a1 drain 1
        < a1 2 drained
        > b2 sub 1 /queue/q browse 9 select=key='z'
        < b2 1 done
        > b2 drain 1
        < b2 2 drained
        > c3 sub 1 /queue/q auto 9
        < c3 1 done
        < c3 s1 1
        < c3 s1 2
        < c3 s1 3
        > a1 gone
        > b2 gone
        > c3 gone
        > p0 gone
        ",
    );
}

#[test]
fn temporary_destinations_have_selectors_too() {
    check(
        "
        > a1 declare /temp-topic/1
        < a1 1 done
        > a1 declare /temp-queue/2
        < a1 2 done
        > a1 sub 1 /temp-topic/1 select=key='x'
        < a1 3 done
        > a1 sub 2 /temp-queue/2 auto 9 select=key='x'
        < a1 4 done
        > p0 pub /temp-topic/1 1 key=y
        < p0 1 done
        > p0 pub /temp-topic/1 2 key=x
        < a1 s1 2
        < p0 2 done
        > p0 pub /temp-queue/2 3 key=y
        < p0 3 done
        > p0 pub /temp-queue/2 4 key=x
        < a1 s2 4
        < p0 4 done
        > a1 gone
        > p0 gone
        ",
    );
}

#[test]
fn of_a_topic_each_gets_what_it_selects() {
    check(
        "
        > a0 sub 1 /topic/t select=key='x'
        < a0 1 done
        > b1 sub 1 /topic/* select=key='x'
        < b1 1 done
        > c2 sub 1 /topic/t
        < c2 1 done
        > d3 sub 1 /topic/t select=key<>'x'
        < d3 1 done
        > p0 pub /topic/t 1 key=x
        < a0 s1 1
        < b1 s1 1
        < c2 s1 1
        < p0 1 done
        > p0 pub /topic/t 2 key=y
        < c2 s1 2
        < d3 s1 2
        < p0 2 done
        > p0 pub /topic/t 3
        < c2 s1 3
        < p0 3 done
        > a0 unsub 1
        < a0 2 done
        > b1 gone
        > p0 pub /topic/t 4 key=x
        < c2 s1 4
        < p0 4 done
        > a0 gone
        > c2 gone
        > d3 gone
        > p0 gone
        ",
    );
}

#[test]
fn the_selector_decides_before_anything_is_replaced_or_dropped() {
    check(
        "
        > a0 sub 1 /topic/t auto 0 latest select=key='x'
        < a0 1 done
        > b1 sub 1 /topic/t auto 0 latest
        < b1 1 done
        > c2 sub 1 /topic/t ack 1 select=key='x'
        < c2 1 done
        > p0 pub /topic/t 1 key=x
        < c2 s1 1 #1
        < p0 1 done
        > p0 pub /topic/t 2 key=x
        < p0 2 done
        > p0 pub /topic/t 3 key=y
        < p0 3 done
        > a0 credit 1 9
        < a0 s1 2 -1
        > b1 credit 1 9
        < b1 s1 3 -2
        > c2 credit 1 9
        < c2 s1 2 #2
        > a0 gone
        > b1 gone
        > c2 gone
        > p0 gone
        ",
    );
}
