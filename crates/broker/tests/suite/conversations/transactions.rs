//! Transactions and lanes.

use crate::stage::{check, converse};

#[test]
fn a_transaction_happens_whole_or_not_at_all() {
    check(
        "
        > a1 sub 1 /queue/q ack 9
        < a1 1 done
        > w2 sub 1 /topic/t
        < w2 1 done
        > w2 sub 2 /queue/r auto 9
        < w2 2 done
        > p0 pub /queue/q 1
        < a1 s1 1 #1
        < p0 1 done
        > p0 pub /queue/q 2
        < a1 s1 2 #2
        < p0 2 done
        > a1 transact ack 1 1 ; pub /queue/r r1 ; pub /topic/t t1 ; pub /queue/s s1
        < a1 2 done
        < w2 s1 t1
        < w2 s2 r1
        > a1 transact ack 1 2 ; pub /queue/r r2 ; pub /topic/t t2 ; pub /queue/s s2 ; ack 1 1
        < a1 3 refused Stale
        > a1 transact pub /queue/s s2 ; pub /temp-queue/9 x
        < a1 4 refused NotFound
        > a1 transact ack 1 2 ; pub /queue/s s3 ; pub /queue/s s4 ; pub /queue/s s5
        < a1 5 refused Full
        > a1 transact pub /topic/t t3
        < a1 6 done
        < w2 s1 t3
        > a1 transact nack 1 2
        < a1 7 done
        < a1 s1 2 #3 +1
        > a1 ack 1 3
        > w2 sub 3 /queue/s auto 9
        < w2 3 done
        < w2 s3 s1
        > a1 gone
        > w2 gone
        > p0 gone
        ",
    );
}

#[test]
fn what_is_published_after_a_transaction_comes_after_it() {
    check(
        "
        > w2 sub 1 /queue/q1 auto 9
        < w2 1 done
        > w2 sub 2 /queue/q2 auto 9
        < w2 2 done
        > w2 sub 3 /topic/t auto 9
        < w2 3 done
        > hold
        > p0 transact pub /queue/q1 1 ; pub /queue/q2 1 ; pub /topic/t 1
        > p0 pub /queue/q1 2
        > p0 transact pub /queue/q2 2 ; pub /queue/q1 3
        > p0 pub /topic/t 2
        > carry
        < p0 1 done
        < p0 2 done
        < p0 3 done
        < p0 4 done
        < w2 s1 1
        < w2 s1 2
        < w2 s1 3
        < w2 s2 1
        < w2 s2 2
        < w2 s3 1
        < w2 s3 2
        > p0 gone
        > w2 gone
        ",
    );
}

#[test]
fn lanes_do_not_wait_for_each_other() {
    converse(
        2,
        "
        > w0 sub 1 /topic/t auto 9
        < w0 1 done
        > w0 sub 2 /queue/a auto 9
        < w0 2 done
        > hold
        > p0 lane 1 transact pub /queue/a 1 ; pub /topic/t 1
        > p0 lane 1 pub /topic/t 2
        > p0 lane 1 transact pub /topic/t 3
        > p0 lane 2 transact pub /topic/t 4
        > p0 pub /topic/t 5
        > p0 lane 2 transact pub /queue/a 6
        > p0 lane 2 pub /topic/t 7
        > p0 pub /topic/t 8
        > show
        < p0 4 done
        < p0 5 done
        < p0 8 done
        < w0 s1 4
        < w0 s1 5
        < w0 s1 8
        > p0 gone
        > carry
        < w0 s1 1
        < w0 s1 2
        < w0 s1 3
        < w0 s1 7
        < w0 s2 1
        < w0 s2 6
        > w0 gone
        ",
    );
}

/// Otherwise it would be before what was refused and is sent again. Fails when `Client::refuses` allows all.
#[test]
fn nothing_is_carried_out_behind_a_refusal_that_ends_the_connection() {
    converse(
        2,
        "
        > hold
        > p0 lane connection transact pub /queue/a 1 ; pub /temp-queue/9 x
        > p0 lane connection pub /queue/a 2
        > p0 lane connection transact pub /queue/a 3
        > carry
        < p0 1 refused NotFound
        < p0 2 refused Busy
        < p0 3 refused Busy
        > p0 lane connection pub /queue/a 3
        < p0 4 refused Busy
        > p0 gone
        > q1 lane connection transact pub /queue/a 1
        < q1 1 done
        > q1 lane connection pub /queue/a 2
        < q1 2 done
        > q1 transact pub /temp-queue/9 x
        < q1 3 refused NotFound
        > q1 pub /queue/a 3
        < q1 4 done
        > w1 sub 1 /queue/a auto 9
        < w1 1 done
        < w1 s1 1
        < w1 s1 2
        < w1 s1 3
        > q1 gone
        > w1 gone
        ",
    );
}

#[test]
fn the_end_of_a_connection_waits_for_no_transaction() {
    converse(
        2,
        "
        > w0 declare /temp-queue/4
        < w0 1 done
        > w0 sub 1 /temp-queue/4
        < w0 2 done
        > p1 pub /temp-queue/4 x
        < p1 1 done
        < w0 s1 x #1
        > hold
        > w0 transact pub /queue/a 1 ; pub /queue/b 1 ; pub /queue/c 1
        > w0 transact ack 1 1
        > w0 unsub 1
        > w0 gone
        > carry
        > c1 sub 1 /queue/a auto 9
        < c1 1 done
        < c1 s1 1
        > c1 sub 2 /queue/b auto 9
        < c1 2 done
        < c1 s2 1
        > c1 sub 3 /queue/c auto 9
        < c1 3 done
        < c1 s3 1
        > c1 gone
        > p1 gone
        ",
    );
}

/// Otherwise its home would take back what the transaction settles, and refuse it.

#[test]
fn the_end_of_a_subscription_waits_for_a_transaction_that_settles_it() {
    converse(
        2,
        "
        > p0 pub /queue/a 1
        < p0 1 done
        > p0 pub /queue/a 2
        < p0 2 done
        > w0 sub 1 /queue/a
        < w0 1 done
        < w0 s1 1 #1
        < w0 s1 2 #2
        > hold
        > w0 transact pub /queue/b 1
        > w0 transact ack 1 1
        > w0 unsub 1
        > carry
        < w0 2 done
        < w0 3 done
        < w0 4 done
        > w0 sub 2 /queue/a auto 9
        < w0 5 done
        < w0 s2 2
        > w0 sub 3 /queue/b auto 9
        < w0 6 done
        < w0 s3 1
        > w0 gone
        > p0 gone
        ",
    );
}
