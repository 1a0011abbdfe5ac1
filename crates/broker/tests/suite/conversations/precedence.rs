//! Exclusive consumers, and those with a priority.

use crate::stage::check;

#[test]
fn one_exclusive_consumer_gets_all_and_the_next_takes_over() {
    check(
        "
        > a1 sub 1 /queue/q ack 9
        < a1 1 done
        > p0 pub /queue/q 1
        < a1 s1 1 #1
        < p0 1 done
        > b2 sub 1 /queue/q ack 2 exclusive
        < b2 1 done
        > c3 sub 1 /queue/q ack 9 exclusive
        < c3 1 done
        > p0 pub /queue/q 2
        < b2 s1 2 #1
        < p0 2 done
        > p0 pub /queue/q 3
        < b2 s1 3 #2
        < p0 3 done
        > a1 ack 1 1
        > p0 pub /queue/q 4
        < p0 4 done
        > b2 nack 1 1
        > b2 gone
        < c3 s1 2 #1 +1
        < c3 s1 3 #2 +1
        < c3 s1 4 #3
        > c3 ack 1 1-2
        > c3 unsub 1
        < a1 s1 4 #2
        < c3 2 done
        > a1 ack 1 2
        > p0 pub /queue/q 5
        < a1 s1 5 #3
        < p0 5 done
        > a1 ack 1 3
        > a1 gone
        > c3 gone
        > p0 gone
        ",
    );
}

#[test]
fn an_exclusive_consumer_with_a_higher_priority_takes_over_at_once() {
    check(
        "
        > a1 sub 1 /queue/q ack 9 exclusive
        < a1 1 done
        > p0 pub /queue/q 1
        < a1 s1 1 #1
        < p0 1 done
        > b2 sub 1 /queue/q ack 9 exclusive priority=5
        < b2 1 done
        > c3 sub 1 /queue/q ack 9 exclusive priority=5
        < c3 1 done
        > p0 pub /queue/q 2
        < b2 s1 2 #1
        < p0 2 done
        > a1 release 1 1
        < b2 s1 1 #2
        > b2 ack 1 1-2
        > b2 gone
        > p0 pub /queue/q 3
        < c3 s1 3 #1
        < p0 3 done
        > c3 ack 1 1
        > c3 gone
        > p0 pub /queue/q 4
        < a1 s1 4 #2
        < p0 4 done
        > a1 ack 1 2
        > a1 gone
        > p0 gone
        ",
    );
}

#[test]
fn others_get_what_those_with_a_higher_priority_cannot_take() {
    check(
        "
        > a1 sub 1 /queue/q ack 9 priority=-1
        < a1 1 done
        > b2 sub 1 /queue/q ack 1 priority=1
        < b2 1 done
        > c3 sub 1 /queue/q ack 1
        < c3 1 done
        > p0 pub /queue/q 1
        < b2 s1 1 #1
        < p0 1 done
        > p0 pub /queue/q 2
        < c3 s1 2 #1
        < p0 2 done
        > p0 pub /queue/q 3
        < a1 s1 3 #1
        < p0 3 done
        > b2 ack 1 1
        > b2 credit 1 2
        > p0 pub /queue/q 4
        < b2 s1 4 #2
        < p0 4 done
        > a1 release 1 1
        < b2 s1 3 #3
        > b2 ack 1 2-3
        > c3 ack 1 1
        > a1 gone
        > b2 gone
        > c3 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_selector_of_an_exclusive_consumer_keeps_the_rest_for_itself() {
    check(
        "
        > a1 sub 1 /queue/q ack 9
        < a1 1 done
        > b2 sub 1 /queue/q ack 9 exclusive select=key='x'
        < b2 1 done
        > p0 pub /queue/q 1 key=y
        < p0 1 done
        > p0 pub /queue/q 2 key=x
        < b2 s1 2 #1
        < p0 2 done
        > b2 ack 1 1
        > b2 gone
        < a1 s1 1 #1
        > a1 ack 1 1
        > a1 gone
        > p0 gone
        ",
    );
}
