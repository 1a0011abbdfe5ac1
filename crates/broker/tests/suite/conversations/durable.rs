//! Durable subscriptions: queues that are bound to topics.

use crate::stage::check;

#[test]
fn what_is_published_without_a_consumer_waits() {
    check(
        "
        > a0 sub 1 /topic/t durable=c.n
        < a0 1 done
        > p1 pub /topic/t 1
        < a0 s1 1 #1
        < p1 1 done
        > a0 gone
        > p1 pub /topic/t 2 durable=1
        < p1 2 done
        > p1 pub /topic/other 3
        < p1 3 done
        > b2 sub 7 /topic/t auto 9 durable=c.n
        < b2 1 done
        < b2 s7 1 +1
        < b2 s7 2
        > b2 unsub 7
        < b2 2 done
        > p1 pub /topic/t 4
        < p1 4 done
        > b2 sub 7 /topic/t auto 9 durable=c.n
        < b2 3 done
        < b2 s7 4
        > b2 unsub 7 delete
        < b2 4 done
        > p1 pub /topic/t 5
        < p1 5 done
        > b2 sub 7 /topic/t auto 9 durable=c.n
        < b2 5 done
        > b2 gone
        > p1 find c.n
        < p1 6 done
        > p1 delete c.n
        < p1 7 done
        > p1 find c.n
        < p1 8 refused NotFound
        > p1 delete c.n
        < p1 9 done
        > p1 gone
        ",
    );
}

#[test]
fn all_that_match_get_a_publication_and_the_reply_comes_when_they_have_it() {
    check(
        "
        > a0 sub 1 /topic/t.* durable=c.one
        < a0 1 done
        > a0 sub 2 /topic/> durable=c.two select=key='x'
        < a0 2 done
        > b1 sub 1 /topic/t.a
        < b1 1 done
        > a0 sub 3 /topic/t.a durable=d.one
        < a0 3 done
        > p2 pub /topic/t.a 1
        < a0 s1 1 #1
        < a0 s3 1 #1
        < b1 s1 1
        < p2 1 done
        > p2 pub /topic/t.a 2 key=x durable=1
        < a0 s1 2 #2
        < a0 s2 2 #1
        < a0 s3 2 #2
        < b1 s1 2
        < p2 2 done
        > a0 ack 1 1-2
        > a0 unsub 1
        < a0 4 done
        > p2 pub /topic/t.b 3
        < p2 3 done
        > p2 pub /topic/t.b 4
        < p2 4 done
        > p2 pub /topic/t.b 5
        < p2 5 done
        > p2 pub /topic/t.b 6
        > time_out 60000
        < p2 6 refused Full
        > a0 gone
        > b1 gone
        > p2 delete c.one
        < p2 7 done
        > p2 delete c.two
        < p2 8 done
        > p2 delete d.one
        < p2 9 done
        > p2 gone
        ",
    );
}

#[test]
fn one_consumer_at_a_time_has_one_that_is_not_shared() {
    check(
        "
        > a0 sub 1 /topic/t durable=c.n
        < a0 1 done
        > b1 sub 1 /topic/t durable=c.n
        < b1 1 refused DurableInUse
        > b1 sub 1 /topic/t durable=c.n shared
        < b1 2 refused DurableShared
        > b1 delete c.n
        < b1 3 refused DurableInUse
        > p2 pub /topic/t 1
        < a0 s1 1 #1
        < p2 1 done
        > b1 sub 1 /topic/t durable=c.n displace
        < a0 s1 cancelled Displaced
        < b1 4 done
        < b1 s1 1 #1
        > p2 pub /topic/t 2
        < b1 s1 2 #2
        < p2 2 done
        > a0 gone
        > b1 unsub 1 delete
        < b1 5 done
        > b1 gone
        > p2 gone
        ",
    );
}

#[test]
fn each_message_of_a_shared_one_goes_to_one_consumer() {
    check(
        "
        > a0 sub 1 /topic/t ack 1 durable=.n shared
        < a0 1 done
        > b1 sub 1 /topic/t ack 1 durable=.n shared
        < b1 1 done
        > c2 sub 1 /topic/u durable=.n shared
        < c2 1 refused DurableInUse
        > p3 pub /topic/t 1
        < a0 s1 1 #1
        < p3 1 done
        > p3 pub /topic/t 2
        < b1 s1 2 #1
        < p3 2 done
        > a0 unsub 1 delete
        < a0 2 done
        > b1 ack 1 1
        > b1 credit 1 1
        < b1 s1 1 #2
        > b1 unsub 1 delete
        < b1 2 done
        > p3 pub /topic/t 3
        < p3 3 done
        > a0 gone
        > b1 gone
        > c2 gone
        > p3 gone
        ",
    );
}

#[test]
fn other_terms_begin_anew() {
    check(
        "
        > a0 sub 1 /topic/t durable=c.n
        < a0 1 done
        > p1 pub /topic/t 1 durable=1
        < a0 s1 1 #1
        < p1 1 done
        > a0 sub 2 /topic/u durable=c.n
        < a0 2 refused DurableInUse
        > a0 unsub 1
        < a0 3 done
        > p1 pub /topic/t 2 durable=1
        < p1 2 done
        > a0 sub 1 /topic/u durable=c.n
        < a0 4 done
        > p1 pub /topic/t 3
        < p1 3 done
        > p1 pub /topic/u 4
        < a0 s1 4 #2
        < p1 4 done
        > a0 unsub 1
        < a0 5 done
        > a0 sub 1 /topic/u durable=c.n select=key='x'
        < a0 6 done
        > p1 pub /topic/u 5
        < p1 5 done
        > p1 pub /topic/u 6 key=x
        < a0 s1 6 #3
        < p1 6 done
        > a0 unsub 1 delete
        < a0 7 done
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn a_transaction_reaches_all_or_none() {
    check(
        "
        > a0 sub 1 /topic/t auto 0 durable=c.n
        < a0 1 done
        > a0 sub 2 /topic/t auto 9 durable=d.n
        < a0 2 done
        > b1 sub 1 /topic/t
        < b1 1 done
        > b1 sub 2 /queue/q auto 9
        < b1 2 done
        > p2 transact pub /topic/t 1 durable=1 ; pub /queue/q 2 ; pub /topic/t 3
        < a0 s2 1
        < a0 s2 3
        < b1 s1 1
        < b1 s1 3
        < b1 s2 2
        < p2 1 done
        > p2 pub /topic/t 4
        < a0 s2 4
        < b1 s1 4
        < p2 2 done
        > p2 transact pub /queue/q 5 ; pub /topic/t 6
        < p2 3 refused Full
        > a0 unsub 1 delete
        < a0 3 done
        > p2 transact pub /queue/q 7 ; pub /topic/t 8 durable=1
        < a0 s2 8
        < b1 s1 8
        < b1 s2 7
        < p2 4 done
        > a0 unsub 2 delete
        < a0 4 done
        > a0 gone
        > b1 gone
        > p2 gone
        ",
    );
}

#[test]
fn what_its_own_connection_publishes_may_be_left_out() {
    check(
        "
        > a0 sub 1 /topic/t durable=c.n no-local
        < a0 1 done
        > a0 pub /topic/t 1
        < a0 2 done
        > p1 pub /topic/t 2
        < a0 s1 2 #1
        < p1 1 done
        > a0 unsub 1 delete
        < a0 3 done
        > a0 gone
        > p1 gone
        ",
    );
}

#[test]
fn its_dead_letters_go_to_the_queue_of_its_topic() {
    check(
        "
        > a0 sub 1 /topic/t.a durable=c.n
        < a0 1 done
        > b1 sub 1 /queue/DLQ.topic.t.a auto 9
        < b1 1 done
        > p2 pub /topic/t.a 1 durable=1
        < a0 s1 1 #1
        < p2 1 done
        > a0 reject 1 1
        < b1 s1 1 [rejected from /topic/t.a]
        > a0 unsub 1 delete
        < a0 2 done
        > a0 gone
        > b1 gone
        > p2 gone
        ",
    );
}

#[test]
fn a_shared_subscription_that_is_not_durable_ends_with_its_last_consumer() {
    check(
        "
        > a0 sub 1 /topic/t ack 1 shared=c.n
        < a0 1 done
        > b1 sub 1 /topic/t ack 1 shared=c.n
        < b1 1 done
        > p2 pub /topic/t 1 durable=1
        < a0 s1 1 #1
        < p2 1 done
        > p2 pub /topic/t 2
        < b1 s1 2 #1
        < p2 2 done
        > p2 pub /topic/t 3
        < p2 3 done
        > a0 gone
        > b1 ack 1 1 reply
        < b1 2 done
        > b1 credit 1 9
        < b1 s1 1 #2 +1
        < b1 s1 3 #3
        > b1 unsub 1
        < b1 3 done
        > p2 pub /topic/t 4
        < p2 4 done
        > b1 sub 1 /topic/t ack 9 shared=c.n
        < b1 4 done
        > p2 pub /topic/t 5
        < b1 s1 5 #4
        < p2 5 done
        > b1 gone
        > p2 gone
        ",
    );
}

#[test]
fn a_shared_subscription_has_one_set_of_terms_and_names_of_its_own() {
    check(
        "
        > a0 sub 1 /topic/t ack 9 shared=c.n
        < a0 1 done
        > b1 sub 1 /topic/u ack 9 shared=c.n
        < b1 1 refused DurableInUse
        > b1 sub 1 /topic/t ack 9 shared=c.n select=key='x'
        < b1 2 refused DurableInUse
        > b1 sub 1 /topic/t durable=c.n
        < b1 3 done
        > p2 pub /topic/t 1
        < a0 s1 1 #1
        < b1 s1 1 #1
        < p2 1 done
        > a0 gone
        > c0 sub 1 /topic/u ack 9 shared=c.n
        < c0 1 done
        > p2 pub /topic/u 2
        < c0 s1 2 #1
        < p2 2 done
        > c0 gone
        > b1 unsub 1 delete
        < b1 4 done
        > b1 gone
        > p2 gone
        ",
    );
}

#[test]
fn a_transaction_comes_to_shared_subscriptions_too() {
    check(
        "
        > a0 sub 1 /topic/t ack 9 shared=c.n
        < a0 1 done
        > b1 sub 1 /topic/t durable=c.m
        < b1 1 done
        > p2 transact pub /topic/t 1 durable=1 ; pub /topic/t 2
        < a0 s1 1 #1
        < a0 s1 2 #2
        < b1 s1 1 #1
        < b1 s1 2 #2
        < p2 1 done
        > a0 reject 1 1 reply
        < a0 2 done
        > a0 sub 2 /queue/DLQ.topic.t ack 9
        < a0 3 done
        < a0 s2 1 [rejected from /topic/t] #1
        > a0 ack 2 1 reply
        < a0 4 done
        > a0 gone
        > b1 unsub 1 delete
        < b1 2 done
        > b1 gone
        > p2 gone
        ",
    );
}
