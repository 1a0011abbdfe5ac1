//! Message groups.

use crate::stage::check;

#[test]
fn the_messages_of_a_group_go_to_one_consumer_until_it_leaves() {
    check(
        "
        > a1 sub 1 /queue/q ack 1
        < a1 1 done
        > b2 sub 1 /queue/q ack 9
        < b2 1 done
        > p0 pub /queue/q a1 group=a
        < a1 s1 a1 #1
        < p0 1 done
        > p0 pub /queue/q a2 group=a
        < p0 2 done
        > p0 pub /queue/q b1 group=b
        < b2 s1 b1 #1
        < p0 3 done
        > b2 ack 1 1
        > p0 pub /queue/q none
        < b2 s1 none #2
        < p0 4 done
        > a1 ack 1 1
        > a1 credit 1 1
        < a1 s1 a2 #2
        > a1 gone
        < b2 s1 a2 #3 +1
        > c3 sub 1 /queue/q ack 9
        < c3 1 done
        > p0 pub /queue/q a3 group=a
        < b2 s1 a3 #4
        < p0 5 done
        > b2 gone
        < c3 s1 a2 #1 +2
        < c3 s1 none #2 +1
        < c3 s1 a3 #3 +1
        > c3 ack 1 1-3
        > p0 pub /queue/q a4 group=a
        < c3 s1 a4 #4
        < p0 6 done
        > c3 ack 1 4
        > c3 gone
        > p0 gone
        ",
    );
}

#[test]
fn what_returns_goes_to_the_consumer_of_its_group_again_before_what_came_later() {
    check(
        "
        > a1 sub 1 /queue/q ack 1
        < a1 1 done
        > b2 sub 1 /queue/q ack 9
        < b2 1 done
        > p0 pub /queue/q 1 group=a
        < a1 s1 1 #1
        < p0 1 done
        > p0 pub /queue/q 2 group=a
        < p0 2 done
        > p0 pub /queue/q urgent group=a priority=9
        < p0 3 done
        > a1 nack 1 1
        > a1 credit 1 1
        < a1 s1 urgent #2
        > a1 release 1 2
        > a1 credit 1 3
        < a1 s1 urgent #3
        < a1 s1 1 #4 +1
        < a1 s1 2 #5
        > a1 ack 1 3-5
        > a1 gone
        > b2 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_group_is_closed_once_the_message_that_says_so_is_settled() {
    check(
        "
        > a1 sub 1 /queue/q ack 9
        < a1 1 done
        > p0 pub /queue/q 1 group=a
        < a1 s1 1 #1
        < p0 1 done
        > b2 sub 1 /queue/q ack 9
        < b2 1 done
        > p0 pub /queue/q last group=a closes=1
        < a1 s1 last #2
        < p0 2 done
        > p0 pub /queue/q next group=a
        < p0 3 done
        > a1 ack 1 2
        > a1 credit 1 =0
        > a1 ack 1 1
        < b2 s1 next #1
        > a1 credit 1 5
        > p0 pub /queue/q more group=a
        < b2 s1 more #2
        < p0 4 done
        > b2 ack 1 1-2
        > a1 gone
        > b2 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_group_goes_to_who_selects_a_message_of_it_and_the_rest_waits_for_that() {
    check(
        "
        > a1 sub 1 /queue/q ack 9 select=key='x'
        < a1 1 done
        > p0 pub /queue/q 1 group=a key=y
        < p0 1 done
        > p0 pub /queue/q 2 group=a key=x
        < a1 s1 2 #1
        < p0 2 done
        > b2 sub 1 /queue/q ack 9 select=key='y'
        < b2 1 done
        > p0 pub /queue/q 3 group=b key=y
        < b2 s1 3 #1
        < p0 3 done
        > a1 ack 1 1
        > a1 gone
        < b2 s1 1 #2
        > b2 ack 1 1-2
        > b2 gone
        > p0 gone
        ",
    );
}

#[test]
fn who_browses_is_shown_groups_as_all_else() {
    check(
        "
        > a1 sub 1 /queue/q ack 1
        < a1 1 done
        > p0 pub /queue/q 1 group=a
        < a1 s1 1 #1
        < p0 1 done
        > p0 pub /queue/q 2 group=a
        < p0 2 done
        > b2 sub 1 /queue/q browse 9
        < b2 1 done
        < b2 s1 2
        > a1 ack 1 1
        > a1 credit 1 1
        < a1 s1 2 #2
        > a1 ack 1 2
        > a1 gone
        > b2 gone
        > p0 gone
        ",
    );
}

#[test]
fn a_group_waits_with_the_message_of_it_that_has_failed() {
    check(
        "
        > a1 sub 1 /queue/later.a ack 9
        < a1 1 done
        > p0 pub /queue/later.a 1 group=a
        < a1 s1 1 #1
        < p0 1 done
        > a1 nack 1 1
        > p0 pub /queue/later.a 2 group=a key=x
        < p0 2 done
        > p0 pub /queue/later.a other group=b
        < a1 s1 other #2
        < p0 3 done
        > a1 ack 1 2
        > c3 sub 1 /queue/later.a ack 9 select=key='x'
        < c3 1 done
        > a1 unsub 1
        < a1 2 done
        > p0 pub /queue/later.a none
        < p0 4 done
        > time_out 900
        > b2 sub 1 /queue/later.a ack 1
        < b2 1 done
        < b2 s1 none #1
        > b2 ack 1 1
        > c3 unsub 1
        < c3 2 done
        > time_out 100
        > b2 credit 1 2
        < b2 s1 1 #2 +1
        < b2 s1 2 #3
        > b2 ack 1 2-3
        > a1 gone
        > b2 gone
        > c3 gone
        > p0 gone
        ",
    );
}

#[test]
fn what_expires_while_it_waits_lets_its_group_go() {
    check(
        "
        > a1 sub 1 /queue/later.a ack 9
        < a1 1 done
        > c3 sub 1 /queue/later.a ack 9 select=key='x'
        < c3 1 done
        > p0 pub /queue/later.a 1 group=a expires=500
        < a1 s1 1 #1
        < p0 1 done
        > a1 nack 1 1
        > a1 unsub 1
        < a1 2 done
        > p0 pub /queue/later.a 2 group=a key=x
        < p0 2 done
        > time_out 400
        > time_out 100
        < c3 s1 2 #1
        > c3 ack 1 1
        > a1 gone
        > c3 gone
        > p0 gone
        ",
    );
}
