//! CONNECT with a client id: who has it, and what that means for its durable subscriptions.

use contract::SameClientId;
use stomp::Session;
use testkit::{Setup, conversation};

#[test]
fn a_client_is_connected_once_it_has_its_client_id() {
    check(
        &Setup::websocket("v12.stomp"),
        r#"
        > recv CONNECT|accept-version:1.2|client-id:c|login:ann|passcode:x||^@
        < login 0 ann "x"
        > recv SEND|destination:/queue/a||text^@
        > reply 0 login ann
        < command 1 claim /topic/ann.c
        > recv-binary SEND|destination:/queue/b||bytes^@
        > reply 1 done
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0|user-name:ann||^@
        < command 2 publish /queue/a text : text
        < command 3 publish /queue/b : bytes
        > recv SUBSCRIBE|id:0|destination:/topic/t|durable-subscription-name:n||^@
        < command 4 subscribe 0 /topic/t automatic credit=100 durable=/subscription/ann.c.n displaces
        > notice displaced
        < send ERROR|message:displaced|content-type:text/plain|content-length:94||another connection of this user has taken over the client-id: one client at a time may have it^@
        < close Busy displaced
        "#,
    );
}

#[test]
fn a_client_whose_id_another_has_is_refused() {
    check(
        &Setup::stream(),
        "
        > recv CONNECT|accept-version:1.2|client-id:c||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < command 1 claim /topic/*0.c
        > reply 1 refused ClientIdInUse
        < send ERROR|message:client id in use|content-type:text/plain|content-length:151||CONNECT: another connection of this user has the same client id; wait until it has gone, CONNECT with displace:true to end it, or use another client-id^@
        < close Busy client id in use
        ",
    );
    check(
        &Setup::stream(),
        "
        > recv CONNECT|accept-version:1.2|client-id:c|displace:true||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < command 1 claim /topic/*0.c displaces
        > wait 60000 ms
        < send ERROR|message:login timed out|content-type:text/plain|content-length:42||a connection must be logged in within 10 s^@
        < close Idle login timed out
        ",
    );
}

#[test]
fn an_operator_says_what_becomes_of_two_with_one_client_id() {
    let mut setup = Setup::stream();
    setup.client_rules.same_client_id = SameClientId::Displace;
    for (header, displaces) in
        [("", " displaces"), ("|displace:true", " displaces"), ("|displace:false", "")]
    {
        let script = format!(
            "
            > recv CONNECT|accept-version:1.2|client-id:c{header}||^@
            < login 0 anonymous
            > reply 0 login anonymous
            < command 1 claim /topic/*0.c{displaces}
            "
        );
        check(&setup, &script);
    }
    setup.client_rules.same_client_id = SameClientId::Share;
    check(
        &setup,
        "
        > recv CONNECT|accept-version:1.2|client-id:c||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        > recv SUBSCRIBE|id:0|destination:/topic/t|durable-subscription-name:n||^@
        < command 1 subscribe 0 /topic/t automatic credit=100 durable=/subscription/*0.c.n
        ",
    );
}

#[test]
fn shared_subscriptions_that_are_not_durable_have_names_of_their_own() {
    check(
        &Setup::stream(),
        "
        > recv CONNECT|accept-version:1.2||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        > recv SUBSCRIBE|id:0|destination:/topic/t|shared-subscription-name:n||^@
        < command 1 subscribe 0 /topic/t automatic credit=100 durable=/subscription/*0.*0.n.shared shared
        > recv SUBSCRIBE|id:1|destination:/topic/t|x-queue-name:n|durable:false|auto-delete:true||^@
        < command 2 subscribe 1 /topic/t automatic credit=100 durable=/subscription/*0.*0.n.shared shared
        > recv SUBSCRIBE|id:2|destination:/topic/t|x-queue-name:n|durable:true|auto-delete:false||^@
        < command 3 subscribe 2 /topic/t automatic credit=100 durable=/subscription/*0.*0.n shared
        ",
    );
}

fn check(setup: &Setup, script: &str) {
    // The version of the package is not part of the protocol.
    let server = concat!("server:passerelle/", env!("CARGO_PKG_VERSION"));
    conversation(setup, Session::open, &script.replace("server:passerelle/*", server));
}
