use crate::stage::check;

#[test]
fn what_failed_waits_longer_each_time_and_holds_up_nothing() {
    check(
        "
        > a1 sub 1 /queue/later.a
        < a1 1 done
        > b2 pub /queue/later.a first
        < a1 s1 first #1
        < b2 1 done
        > a1 nack 1 1
        > b2 pub /queue/later.a second
        < a1 s1 second #2
        < b2 2 done
        > a1 ack 1 2
        > time_out 900
        > time_out 100
        < a1 s1 first #3 +1
        > a1 nack 1 3
        > time_out 1400
        > time_out 100
        < a1 s1 first #4 +2
        > c3 sub 1 /queue/DLQ.all
        < c3 1 done
        > a1 nack 1 4
        < c3 s1 first [delivered 3 times without success from /queue/later.a] #1
        > c3 ack 1 1
        > a1 gone
        > b2 gone
        > c3 gone
        ",
    );
}

#[test]
fn what_is_released_or_rejected_does_not_wait() {
    check(
        "
        > a1 sub 1 /queue/later.a
        < a1 1 done
        > b2 pub /queue/later.a first
        < a1 s1 first #1
        < b2 1 done
        > a1 release 1 1
        < a1 s1 first #2
        > a1 reject 1 2
        > c3 sub 1 /queue/DLQ.all
        < c3 1 done
        < c3 s1 first [rejected from /queue/later.a] #1
        > c3 ack 1 1
        > a1 gone
        > b2 gone
        > c3 gone
        ",
    );
}

#[test]
fn a_lost_consumer_delays_what_it_had() {
    check(
        "
        > a1 sub 1 /queue/later.a
        < a1 1 done
        > b2 pub /queue/later.a first
        < a1 s1 first #1
        < b2 1 done
        > a1 break
        > b2 sub 1 /queue/later.a
        < b2 2 done
        > time_out 1000
        < b2 s1 first #1 +1
        > b2 ack 1 1
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn a_transaction_that_fails_a_delivery_delays_it() {
    check(
        "
        > a1 sub 1 /queue/later.a
        < a1 1 done
        > b2 pub /queue/later.a first
        < a1 s1 first #1
        < b2 1 done
        > a1 transact nack 1 1
        < a1 2 done
        > time_out 1000
        < a1 s1 first #2 +1
        > a1 ack 1 2
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn dead_letters_of_a_queue_without_a_place_for_them_are_dropped() {
    check(
        "
        > a1 sub 1 /queue/later.dropped
        < a1 1 done
        > b2 pub /queue/later.dropped first
        < a1 s1 first #1
        < b2 1 done
        > a1 nack 1 1
        > c3 sub 1 /queue/DLQ.later.dropped
        < c3 1 done
        > c3 sub 2 /queue/DLQ.all
        < c3 2 done
        > a1 gone
        > b2 gone
        > c3 gone
        ",
    );
}

#[test]
fn a_sender_may_want_a_message_later() {
    check(
        "
        > a1 sub 1 /queue/q auto 9
        < a1 1 done
        > b2 pub /queue/q third delay=300
        < b2 1 done
        > b2 pub /queue/q second delay=200
        < b2 2 done
        > b2 pub /queue/q first
        < a1 s1 first
        < b2 3 done
        > time_out 199
        > time_out 1
        < a1 s1 second
        > time_out 100
        < a1 s1 third
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn what_is_due_together_comes_in_the_order_of_the_queue() {
    check(
        "
        > b2 pub /queue/q second delay=300
        < b2 1 done
        > b2 pub /queue/q third delay=100
        < b2 2 done
        > b2 pub /queue/q first delay=200 priority=9
        < b2 3 done
        > a1 sub 1 /queue/q auto 9
        < a1 1 done
        > time_out 300
        < a1 s1 first
        < a1 s1 second
        < a1 s1 third
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn what_expires_before_it_is_due_is_never_delivered() {
    check(
        "
        > a1 sub 1 /queue/q auto 9
        < a1 1 done
        > b2 pub /queue/q lost delay=200 expires=200
        < b2 1 done
        > b2 pub /queue/q kept delay=200 expires=201
        < b2 2 done
        > time_out 200
        < a1 s1 kept
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn what_waits_takes_room_and_is_not_browsed() {
    check(
        "
        > b2 pub /queue/q one delay=200
        < b2 1 done
        > b2 pub /queue/q two delay=200
        < b2 2 done
        > b2 pub /queue/q three delay=200
        < b2 3 done
        > b2 pub /queue/q four
        > a1 sub 1 /queue/q browse 9
        < a1 1 done
        > a1 drain 1
        < a1 2 drained
        > a1 sub 2 /queue/q auto 9
        < a1 3 done
        > time_out 200
        < a1 s2 one
        < a1 s2 two
        < a1 s2 three
        < a1 s2 four
        < b2 4 done
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn what_waits_goes_with_its_temporary_queue() {
    check(
        "
        > a1 declare /temp-queue/5
        < a1 1 done
        > a1 sub 1 /temp-queue/5 auto 9
        < a1 2 done
        > b2 pub /temp-queue/5 soon delay=100
        < b2 1 done
        > b2 pub /temp-queue/5 never delay=200
        < b2 2 done
        > time_out 100
        < a1 s1 soon
        > a1 gone
        > b2 gone
        ",
    );
}

#[test]
fn a_selector_finds_what_becomes_due_behind_its_place() {
    check(
        "
        > a1 sub 1 /queue/q auto 9 select=key='x'
        < a1 1 done
        > b2 pub /queue/q late key=x delay=200
        < b2 1 done
        > b2 pub /queue/q early key=x
        < a1 s1 early
        < b2 2 done
        > time_out 200
        < a1 s1 late
        > a1 gone
        > b2 gone
        ",
    );
}
