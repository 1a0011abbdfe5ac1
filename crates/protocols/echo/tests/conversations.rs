//! What an echo sends.

use echo::Echo;
use testkit::{Setup, conversation};

#[test]
fn sends_back_what_it_receives() {
    conversation(
        &Setup::websocket(""),
        |_, _| Echo::default(),
        "
        > recv hello
        < send hello
        > recv
        < send
        > deliver 0 /topic/t : hello
        > shutdown
        < close Shutdown the gateway is stopping
        ",
    );
}
