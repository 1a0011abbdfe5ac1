//! What becomes of a SEND: whether its body is text, and whom receivers see as its sender.

use contract::{ClientRules, Principal};
use stomp::Session;
use testkit::{Setup, conversation};

#[test]
fn text_is_what_is_called_so() {
    check(
        &Setup::stream(),
        r"
        > recv SEND|destination:/topic/a||plain^@
        < command 1 publish /topic/a : plain
        > recv SEND|destination:/topic/a|content-type:text/plain||text^@
        < command 2 publish /topic/a content-type=text/plain text : text
        > recv SEND|destination:/topic/a|content-type:application/json;charset=utf-8||{}^@
        < command 3 publish /topic/a content-type=application/json;charset=utf-8 text : {}
        > recv SEND|destination:/topic/a|content-type:application/octet-stream||bytes^@
        < command 4 publish /topic/a content-type=application/octet-stream : bytes
        > recv SEND|destination:/topic/a|amq-msg-type:text||text^@
        < command 5 publish /topic/a text : text
        > recv SEND|destination:/topic/a|amq-msg-type:bytes|content-type:text/plain||bytes^@
        < command 6 publish /topic/a content-type=text/plain : bytes
        > recv SEND|destination:/topic/a|amq-msg-type:map|content-type:text/plain||text^@
        < command 7 publish /topic/a content-type=text/plain text : text
        # Latin 1, and what is called UTF-8 and is not.
        > recv SEND|destination:/topic/a|content-type:text/plain;charset=iso-8859-1||\xe9^@
        < command 8 publish /topic/a content-type=text/plain;charset=iso-8859-1 binary : \xe9
        > recv SEND|destination:/topic/a|content-type:text/plain||\xe9^@
        < command 9 publish /topic/a content-type=text/plain binary : \xe9
        > recv SEND|destination:/topic/a|amq-msg-type:text||\xe9^@
        < command 10 publish /topic/a binary : \xe9
        ",
    );
}

#[test]
fn a_frame_that_ends_in_a_text_message_has_text() {
    check(
        &Setup::websocket("v12.stomp"),
        r"
        > recv SEND|destination:/topic/a||text^@
        < command 1 publish /topic/a text : text
        > recv-binary SEND|destination:/topic/a||bytes^@
        < command 2 publish /topic/a : bytes
        > recv SEND|destination:/topic/a||he
        > recv llo^@
        < command 3 publish /topic/a text : hello
        > recv-binary SEND|destination:/topic/a||he
        > recv llo^@SEND|destination:/topic/a||more^@
        < command 4 publish /topic/a text : hello
        < command 5 publish /topic/a text : more
        > recv SEND|destination:/topic/a||he
        > recv-binary llo^@
        < command 6 publish /topic/a : hello
        # Its first half came in a binary message: it need not be text.
        > recv-binary SEND|destination:/topic/a||\xff
        > recv x^@
        < command 7 publish /topic/a binary : \xffx
        > recv SEND|destination:/topic/a|amq-msg-type:bytes||bytes^@
        < command 8 publish /topic/a : bytes
        ",
    );
}

#[test]
fn what_came_during_the_login_is_remembered_as_it_came() {
    let script = "
        > recv CONNECT|accept-version:1.2||^@
        < login 0 anonymous
        > recv-binary SEND|destination:/topic/a||bytes^@
        > recv SEND|destination:/topic/a||text^@SEND|destination:/topic/a||he
        > recv-binary llo^@
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        < command 1 publish /topic/a : bytes
        < command 2 publish /topic/a text : text
        < command 3 publish /topic/a : hello
        ";
    play(&Setup::websocket("v12.stomp"), script);
}

#[test]
fn receivers_see_a_sender_that_says_who_it_is() {
    check(
        &ann(false),
        "
        > recv SEND|destination:/topic/a||x^@
        < command 1 publish /topic/a : x
        > recv SEND|destination:/topic/a|user-id:ann||x^@
        < command 2 publish /topic/a sender=ann : x
        > recv SEND|destination:/topic/a|JMSXUserID:ann||x^@
        < command 3 publish /topic/a sender=ann : x
        > recv SUBSCRIBE|id:0|destination:/topic/a||^@
        < command 4 subscribe 0 /topic/a automatic
        > reply 4 done
        > deliver 0 /topic/a sender=bo:b : x
        < share MESSAGE|subscription:0|message-id:00000000000000000000000000000001|destination:/topic/a|content-length:1|timestamp:1000000|JMSXUserID:bo\\\\cb|user-id:bo\\\\cb||x^@
        > recv SEND|destination:/topic/a|user-id:bob|receipt:r||x^@
        < send ERROR|message:bad user-id|receipt-id:r|content-type:text/plain|content-length:77||user-id must be the user of this connection, \"ann\", or be left out: not \"bob\"^@
        < close Forbidden bad user-id
        ",
    );
}

#[test]
fn receivers_see_every_sender_where_the_operator_says_so() {
    check(
        &ann(true),
        "
        > recv SEND|destination:/topic/a||x^@
        < command 1 publish /topic/a sender=ann : x
        > recv SEND|destination:/topic/a|_AMQ_VALIDATED_USER:ann||x^@
        < command 2 publish /topic/a sender=ann : x
        ",
    );
}

#[test]
fn who_has_not_logged_in_is_no_user() {
    let mut setup = Setup::stream();
    setup.client_rules.shows_senders = true;
    check(
        &setup,
        "
        > recv SEND|destination:/topic/a||x^@
        < command 1 publish /topic/a : x
        > recv SEND|destination:/topic/a|user-id:anonymous||x^@
        < send ERROR|message:bad user-id|content-type:text/plain|content-length:84||user-id names a user, and this connection has not logged in: log in, or leave it out^@
        < close Forbidden bad user-id
        ",
    );
}

fn ann(shows_senders: bool) -> Setup {
    Setup {
        principal: Some(Principal::new("ann", [])),
        client_rules: ClientRules { shows_senders, ..ClientRules::default() },
        ..Setup::stream()
    }
}

/// Plays a conversation that begins after the login.
fn check(setup: &Setup, script: &str) {
    let login = match &setup.principal {
        Some(principal) => format!(
            "
            > recv CONNECT|accept-version:1.2||^@
            < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0|user-name:{}||^@
            ",
            principal.name
        ),
        None => "
            > recv CONNECT|accept-version:1.2||^@
            < login 0 anonymous
            > reply 0 login anonymous
            < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
            "
        .to_owned(),
    };
    play(setup, &format!("{login}{script}"));
}

fn play(setup: &Setup, script: &str) {
    // The version of the package is not part of the protocol.
    let server = concat!("server:passerelle/", env!("CARGO_PKG_VERSION"));
    conversation(setup, Session::open, &script.replace("server:passerelle/*", server));
}
