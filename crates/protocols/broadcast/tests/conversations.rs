//! What a peer of a broadcast sends and receives.

use broadcast::Broadcast;
use contract::{Destination, Opening};
use testkit::{Setup, conversation};

#[test]
fn publishes_what_it_receives_and_sends_what_is_published() {
    check(
        "
        > recv hello
        < command 1 publish /topic/t text : hello
        > reply 1 done
        > deliver 0 /topic/t : hello
        < share hello
        > deliver 0 /topic/t binary : hello
        < share (Binary) hello
        > shutdown
        < close Shutdown the gateway is stopping
        ",
    );
}

#[test]
fn ends_with_its_subscription() {
    check(
        "
        > notice cancelled 0 Forbidden
        < close Busy not allowed for this user
        ",
    );
}

#[test]
fn ends_when_a_message_is_refused() {
    check(
        "
        > recv hello
        < command 1 publish /topic/t text : hello
        > reply 1 refused Busy
        < close Busy too busy, try again later
        ",
    );
}

fn check(script: &str) {
    let topic = Destination::parse("/topic/t").expect("a topic");
    let open = |_: &Opening<'_>, _| Broadcast::new(topic.clone());
    conversation(&Setup::websocket(""), open, script);
}
