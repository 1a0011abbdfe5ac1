//! Messages that a consumer says it cannot process, though others may.

use crate::stage::check;

#[test]
fn what_one_consumer_cannot_process_goes_to_another() {
    check(
        "
        > p1 pub /queue/q 1
        < p1 1 done
        > p1 pub /queue/q 2
        < p1 2 done
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        < a0 s1 1 #1
        < a0 s1 2 #2
        > a0 pass 1 1
        > a0 fail 1 2
        > p1 pub /queue/q 3
        < a0 s1 3 #3
        < p1 3 done
        > a0 release 1 3
        < a0 s1 3 #4
        > a0 drain 1
        < a0 2 drained
        > c2 sub 1 /queue/q ack 9
        < c2 1 done
        < c2 s1 1 #1
        < c2 s1 2 #2 +1
        > c2 pass 1 2
        > c2 ack 1 1
        > b1 sub 1 /queue/q ack 9
        < b1 1 done
        < b1 s1 2 #1 +1
        > b1 ack 1 1
        > a0 ack 1 4
        > a0 gone
        > b1 gone
        > c2 gone
        > p1 gone
        ",
    );
}

/// Each attempt that failed counts: it is a dead letter in the end.
#[test]
fn what_fails_everywhere_is_a_dead_letter() {
    check(
        "
        > p1 pub /queue/later.x 1
        < p1 1 done
        > a0 sub 1 /queue/later.x ack 9
        < a0 1 done
        < a0 s1 1 #1
        > a0 fail 1 1
        > time_out 1000
        > b1 sub 1 /queue/later.x ack 9
        < b1 1 done
        < b1 s1 1 #1 +1
        > b1 fail 1 1
        > time_out 1500
        > c2 sub 1 /queue/later.x ack 9
        < c2 1 done
        < c2 s1 1 #1 +2
        > c2 fail 1 1
        > d3 sub 1 /queue/DLQ.all ack 9
        < d3 1 done
        < d3 s1 1 [delivered 3 times without success from /queue/later.x] #1
        > d3 ack 1 1
        > a0 gone
        > b1 gone
        > c2 gone
        > d3 gone
        > p1 gone
        ",
    );
}

/// It holds from the commit; what is rolled back is with the consumer as before.
#[test]
fn in_a_transaction() {
    check(
        "
        > p1 pub /queue/q 1
        < p1 1 done
        > a0 sub 1 /queue/q ack 9
        < a0 1 done
        < a0 s1 1 #1
        > a0 transact pass 1 1 ; pub /topic/t x
        < a0 2 done
        > a0 drain 1
        < a0 3 drained
        > b1 sub 1 /queue/q ack 9
        < b1 1 done
        < b1 s1 1 #1
        > b1 release 1 1
        < b1 s1 1 #2
        > b1 ack 1 2
        > a0 gone
        > b1 gone
        > p1 gone
        ",
    );
}

/// A selector holds beside it, and what returns is looked at again.
#[test]
fn with_a_selector() {
    check(
        "
        > a0 sub 1 /queue/q ack 9 select=key='x'
        < a0 1 done
        > p1 pub /queue/q 1 key=x
        < a0 s1 1 #1
        < p1 1 done
        > p1 pub /queue/q 2 key=y
        < p1 2 done
        > p1 pub /queue/q 3 key=x
        < a0 s1 3 #2
        < p1 3 done
        > a0 pass 1 1
        > a0 release 1 2
        < a0 s1 3 #3
        > b1 sub 1 /queue/q ack 9
        < b1 1 done
        < b1 s1 1 #1
        < b1 s1 2 #2
        > b1 ack 1 1-2
        > a0 ack 1 3
        > a0 gone
        > b1 gone
        > p1 gone
        ",
    );
}
