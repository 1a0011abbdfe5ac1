//! Client ids: one connection at a time is a client.

use crate::stage::check;

#[test]
fn a_client_id_is_one_connections_until_it_ends() {
    check(
        "
        > a0 claim c
        < a0 1 done
        > b1 claim d
        < b1 1 done
        > c2 claim c
        > time_out 400
        > time_out 200
        < c2 1 refused ClientIdInUse
        > c2 close
        > d1 claim c
        > time_out 100
        > a0 close
        < d1 1 done
        > a0 gone
        > b1 claim e
        < b1 2 refused Limit
        > d1 gone
        > e0 claim c
        < e0 1 done
        > e0 gone
        > b1 gone
        > c2 gone
        ",
    );
}

#[test]
fn who_displaces_another_is_the_client_once_that_has_ended() {
    check(
        "
        > a0 claim c
        < a0 1 done
        > b1 claim c displace
        < a0 displaced
        > c2 claim c displace
        > d0 claim c
        > time_out 600
        < d0 1 refused ClientIdInUse
        > a0 close
        < b1 1 done
        < b1 displaced
        > b1 gone
        < c2 1 done
        > a0 gone
        > c2 gone
        > d0 gone
        ",
    );
}

#[test]
fn one_that_gives_up_waiting_is_passed_over() {
    check(
        "
        > a0 claim c
        < a0 1 done
        > b1 claim c
        > c2 claim c
        > b1 gone
        > a0 gone
        < c2 1 done
        > c2 gone
        ",
    );
}
