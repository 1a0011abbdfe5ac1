//! What a session does, told as conversations.

use contract::Principal;
use stomp::Session;
use testkit::{Setup, conversation};

#[test]
fn logs_in_anonymously() {
    check(
        "
        > opened
        > recv CONNECT|accept-version:1.0,1.1,1.2|host:/||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        ",
    );
}

#[test]
fn logs_in_with_a_password() {
    check(
        r#"
        > recv STOMP|accept-version:1.2|login:ann|passcode:a\\nb:c||^@
        < login 0 ann "a\\nb:c"
        > reply 0 login ann
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0|user-name:ann||^@
        "#,
    );
}

#[test]
fn refuses_a_wrong_password() {
    check(
        r#"
        > recv CONNECT|accept-version:1.2|login:ann|passcode:x||^@
        < login 0 ann "x"
        > reply 0 refused Unauthenticated
        < send ERROR|message:login refused|content-type:text/plain|content-length:79||the login: the login or password is wrong; check the login and passcode headers^@
        < close Unauthenticated login refused
        > recv SEND|destination:/queue/a||^@
        "#,
    );
}

#[test]
fn logs_in_by_an_exchange() {
    check(
        r#"
        > recv CONNECT|accept-version:1.2|heart-beat:0,0|sasl-mechanism:SCRAM-SHA-256|sasl-response:biwsbj11c2VyLHI9eA==||^@
        < login 0 sasl SCRAM-SHA-256 "n,,n=user,r=x"
        > reply 0 challenge r=xy,s=c2FsdA==,i=4096
        < send CHALLENGE|sasl-challenge:cj14eSxzPWMyRnNkQT09LGk9NDA5Ng==||^@
        > recv CONNECT|sasl-response:Yz1iaXdzLHI9eHkscD1wcm9vZg==||^@
        < login 1 response "c=biws,r=xy,p=proof"
        > reply 1 login ann v=signature
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0|user-name:ann|sasl-success:dj1zaWduYXR1cmU=||^@
        > recv SUBSCRIBE|id:1|destination:/topic/a||^@
        < command 2 subscribe 0 /topic/a automatic
        "#,
    );
}

#[test]
fn an_exchange_has_as_many_legs_as_its_mechanism_wants() {
    check(
        r#"
        > recv STOMP|accept-version:1.1|sasl-mechanism:X||^@
        < login 0 sasl X none
        > reply 0 challenge
        < send CHALLENGE|sasl-challenge:||^@
        > recv STOMP|sasl-response:||^@CONNECT|sasl-response:Mg==||^@
        < login 1 response ""
        # What comes before the challenge to it waits.
        > reply 1 challenge 1
        < send CHALLENGE|sasl-challenge:MQ==||^@
        < login 2 response "2"
        # The reply to an earlier leg counts no more.
        > reply 1 login eve
        > reply 2 refused Unauthenticated
        < send ERROR|message:login refused|content-type:text/plain|content-length:74||the login: the login or password is wrong; check the name and the password^@
        < close Unauthenticated login refused
        "#,
    );
}

#[test]
fn a_client_goes_on_with_a_challenge_in_time() {
    check(
        r#"
        > recv CONNECT|accept-version:1.2|sasl-mechanism:X||^@
        < login 0 sasl X none
        > wait 6000 ms
        > reply 0 challenge
        < send CHALLENGE|sasl-challenge:||^@
        > wait 3999 ms
        > wait 1 ms
        < send ERROR|message:login timed out|content-type:text/plain|content-length:42||a connection must be logged in within 10 s^@
        < close Idle login timed out
        "#,
    );
}

#[test]
fn an_exchange_that_is_refused_says_why() {
    check(
        r#"
        > recv CONNECT|accept-version:1.2|sasl-mechanism:SCRAM-SHA-256-PLUS||^@
        < login 0 sasl SCRAM-SHA-256-PLUS none
        > reply 0 refused Sasl(ChannelBinding)
        < send ERROR|message:login refused|content-type:text/plain|content-length:165||the login: channel binding is not supported: use the mechanism without -PLUS, and tell the server so with the flag n or y; begin again with the header sasl-mechanism^@
        < close Malformed login refused
        "#,
    );
    check(
        r#"
        > recv CONNECT|accept-version:1.2|login:ann|passcode:x||^@
        < login 0 ann "x"
        > reply 0 refused Expired
        < send ERROR|message:login refused|content-type:text/plain|content-length:64||the login: the login has expired; ask the operator to prolong it^@
        < close Unauthenticated login refused
        "#,
    );
}

#[test]
fn a_login_that_ends_ends_the_connection() {
    check(
        "
        > recv CONNECT|accept-version:1.2|login:ann|passcode:x||^@
        < login 0 ann \"x\"
        > reply 0 login ann
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0|user-name:ann||^@
        > notice renewed ann
        > given-up the login has expired
        < send ERROR|message:login ended|content-type:text/plain|content-length:21||the login has expired^@
        < close Unauthenticated login ended
        ",
    );
}

#[test]
fn a_peer_that_the_transport_knows_needs_no_login() {
    let setup = Setup { principal: Some(Principal::new("ann", [])), ..Setup::stream() };
    check_as(
        &setup,
        "
        > recv CONNECT|accept-version:1.1||^@
        < send CONNECTED|version:1.1|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0|user-name:ann||^@
        > recv SUBSCRIBE|id:s:1|destination:/topic/a||^@
        < command 1 subscribe 0 /topic/a automatic
        ",
    );
    check_as(
        &setup,
        r#"
        > recv CONNECT|login:bob|passcode:x||^@
        < login 0 bob "x"
        "#,
    );
}

#[test]
fn the_subprotocol_bounds_the_version() {
    check_as(
        &Setup::websocket("v11.stomp"),
        "
        > recv CONNECT|accept-version:1.0,1.1,1.2||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:1.1|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        ",
    );
    check_as(
        &Setup::websocket("v10.stomp"),
        "
        > recv CONNECT|accept-version:1.1,1.2||^@
        < send ERROR|message:no common version|version:1.0|content-type:text/plain|content-length:35||accept-version must name one of 1.0^@
        < close Malformed no common version
        ",
    );
}

#[test]
fn login_must_come_in_time() {
    check(
        "
        > wait 9999 ms
        > wait 1 ms
        < send ERROR|message:login timed out|content-type:text/plain|content-length:42||a connection must be logged in within 10 s^@
        < close Idle login timed out
        > recv CONNECT||^@
        ",
    );
    check(
        "
        > recv CONNECT||^@
        < login 0 anonymous
        > wait 10000 ms
        < send ERROR|message:login timed out|content-type:text/plain|content-length:42||a connection must be logged in within 10 s^@
        < close Idle login timed out
        ",
    );
}

#[test]
fn frames_may_follow_connect_at_once() {
    check(
        r"
        > recv CONNECT|accept-version:1.2||^@SEND|destination:/queue/a|receipt:r1|a\\cb:c\\nd||hel
        < login 0 anonymous
        > recv lo^@DISCONNECT||^@
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        < command 1 publish /queue/a x:a:b=c|d : hello
        > reply 1 done
        < send RECEIPT|receipt-id:r1||^@
        < close Normal
        ",
    );
}

#[test]
fn sends_with_all_headers() {
    check_in(
        "1.2",
        r"
        > recv SEND|destination:/queue/a|content-type:text/plain|content-length:5|priority:9|expires:5000|persistent:true|correlation-id:c1|reply-to:/queue/b|colour:red|colour:blue|receipt:r1||hello^@
        < command 1 publish /queue/a durable priority=9 expires=5000 reply-to=/queue/b content-type=text/plain correlation-id=c1 x:colour=red text : hello
        > reply 1 done
        < send RECEIPT|receipt-id:r1||^@
        > recv SEND|destination:/topic/a|expires:0||\xff^@
        < command 2 publish /topic/a binary : \xff
        > reply 2 done
        ",
    );
}

#[test]
fn receipts_come_in_the_order_of_frames() {
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/a|receipt:r1||1^@BEGIN|transaction:t|receipt:r2||^@SEND|destination:/queue/a|receipt:r3||2^@ABORT|transaction:t|receipt:r4||^@
        < command 1 publish /queue/a : 1
        < command 3 publish /queue/a : 2
        > reply 2 done
        > reply 1 done
        < send RECEIPT|receipt-id:r1||^@
        < send RECEIPT|receipt-id:r2||^@
        ",
    );
}

#[test]
fn a_refused_send_is_an_error() {
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/a|receipt:r1||1^@
        < command 1 publish /queue/a : 1
        > reply 1 refused Full
        < send ERROR|message:destination full|receipt-id:r1|content-type:text/plain|content-length:100||SEND to /queue/a: the destination is full; its consumers are too slow; reconnect and try again later^@
        < close Busy destination full
        > reply 1 done
        ",
    );
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/a|receipt:r1||1^@
        < command 1 publish /queue/a : 1
        > reply 1 refused Busy
        < send ERROR|message:too busy|receipt-id:r1|content-type:text/plain|content-length:82||SEND to /queue/a: too busy, try again later; an ERROR ends a connection: reconnect^@
        < close Busy too busy
        ",
    );
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/a||1^@
        < command 1 publish /queue/a : 1
        > reply 1 refused Forbidden
        < send ERROR|message:not allowed|content-type:text/plain|content-length:86||SEND to /queue/a: not allowed for this user; ask the operator for the right to do this^@
        < close Forbidden not allowed
        ",
    );
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/DLQ.a||1^@
        < command 1 publish /queue/DLQ.a : 1
        > reply 1 refused DeadLetterQueue
        < send ERROR|message:not allowed|content-type:text/plain|content-length:187||SEND to /queue/DLQ.a: only the gateway sends to dead-letter queues, unless an access rule that names them allows it; send to the queue itself, or ask the operator for the right to do this^@
        < close Forbidden not allowed
        ",
    );
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/a||1^@
        < command 1 publish /queue/a : 1
        > reply 1 refused Limit
        < send ERROR|message:limit reached|content-type:text/plain|content-length:99||SEND to /queue/a: a limit of this gateway is reached; end what is not required, or ask the operator^@
        < close Busy limit reached
        ",
    );
}

#[test]
fn a_reply_to_a_closed_session_is_dropped() {
    check_in(
        "1.2",
        "
        > recv SEND|destination:/temp-queue/0123456789abcdef0123456789abcdef|receipt:r1||1^@
        < command 1 publish /temp-queue/0123456789abcdef0123456789abcdef : 1
        > reply 1 refused NotFound
        < send RECEIPT|receipt-id:r1||^@
        > recv SUBSCRIBE|id:1|destination:/temp-queue/0123456789abcdef0123456789abcdef||^@
        < command 2 subscribe 0 /temp-queue/0123456789abcdef0123456789abcdef automatic credit=100
        > reply 2 refused NotFound
        < send ERROR|message:no such destination|content-type:text/plain|content-length:144||SUBSCRIBE to /temp-queue/0123456789abcdef0123456789abcdef: no such destination; a temporary destination is gone with the connection that made it^@
        < close Malformed no such destination
        ",
    );
}

#[test]
fn subscribes_and_receives() {
    check_in(
        "1.2",
        r"
        > recv SUBSCRIBE|id:s1|destination:/topic/news.*|receipt:r1||^@
        < command 1 subscribe 0 /topic/news.* automatic
        > deliver 0 /topic/news.a : early
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|destination:/topic/news.a|content-length:5|timestamp:1000000||early^@
        > reply 1 done
        < send RECEIPT|receipt-id:r1||^@
        > deliver 0 /topic/news.b priority=9 expires=7 durable reply-to=/queue/r content-type=text/plain correlation-id=c x:a=b x:a:b=c|d\\e x:subscription=other : hello
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|destination:/topic/news.b|content-length:5|content-type:text/plain|timestamp:1000000|expires:7|priority:9|persistent:true|reply-to:/queue/r|correlation-id:c|a:b|a\\cb:c\\nd\\\\e||hello^@
        > deliver 0 /topic/news.b binary : \xff
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000003|destination:/topic/news.b|content-length:1|timestamp:1000000||\xff^@
        > recv UNSUBSCRIBE|id:s1|receipt:r2||^@
        < command 2 unsubscribe 0
        > deliver 0 /topic/news.b : late
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000004|destination:/topic/news.b|content-length:4|timestamp:1000000||late^@
        > reply 2 done
        < send RECEIPT|receipt-id:r2||^@
        > deliver 0 /topic/news.b : too late
        ",
    );
}

#[test]
fn a_binary_body_is_a_binary_message_on_a_websocket() {
    check_as(
        &Setup::websocket("v12.stomp"),
        r"
        > recv CONNECT|accept-version:1.2||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        > recv SUBSCRIBE|id:0|destination:/topic/a||^@
        < command 1 subscribe 0 /topic/a automatic
        > reply 1 done
        > deliver 0 /topic/a : text
        < share MESSAGE|subscription:0|message-id:00000000000000000000000000000001|destination:/topic/a|content-length:4|timestamp:1000000||text^@
        > deliver 0 /topic/a binary : \xff
        < share (Binary) MESSAGE|subscription:0|message-id:00000000000000000000000000000002|destination:/topic/a|content-length:1|timestamp:1000000||\xff^@
        ",
    );
}

#[test]
fn automatic_credit_comes_back_in_batches() {
    check_in(
        "1.2",
        "
        > recv SUBSCRIBE|id:s1|destination:/queue/a|prefetch:4||^@
        < command 1 subscribe 0 /queue/a automatic credit=4
        > reply 1 done
        > deliver 0 /queue/a : 1
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /queue/a : 2
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|destination:/queue/a|content-length:1|timestamp:1000000||2^@
        < credit 0 2
        > deliver 0 /queue/a : 3
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000003|destination:/queue/a|content-length:1|timestamp:1000000||3^@
        > deliver 0 /queue/a redeliveries=2 : 4
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000004|destination:/queue/a|content-length:1|timestamp:1000000|redelivered:true|delivery-count:3||4^@
        < credit 0 2
        ",
    );
}

#[test]
fn a_browser_is_shown_a_queue_and_its_end() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:b|destination:/queue/a|browser:true|prefetch:2|receipt:r1||^@
        < command 1 browse 0 /queue/a credit=2
        < command 2 drain 0
        > reply 1 done
        < send RECEIPT|receipt-id:r1||^@
        > deliver 0 /queue/a : 1
        < share MESSAGE|subscription:b|message-id:00000000000000000000000000000001|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /queue/a redeliveries=1 x:browser=end : 2
        < send MESSAGE|subscription:b|message-id:00000000000000000000000000000002|destination:/queue/a|content-length:1|timestamp:1000000|redelivered:true|delivery-count:2||2^@
        > reply 2 drained
        < credit 0 2
        < command 3 drain 0
        > deliver 0 /queue/a : 3
        < share MESSAGE|subscription:b|message-id:00000000000000000000000000000003|destination:/queue/a|content-length:1|timestamp:1000000||3^@
        > reply 3 drained
        < send MESSAGE|subscription:b|message-id:0|destination:/queue/a|browser:end|content-length:0||^@
        > recv UNSUBSCRIBE|id:b|receipt:r2||^@
        < command 4 unsubscribe 0
        > reply 4 done
        < send RECEIPT|receipt-id:r2||^@
        > recv SUBSCRIBE|id:b|destination:/queue/a|browser:true||^@UNSUBSCRIBE|id:b||^@
        < command 5 browse 1 /queue/a credit=100
        < command 6 drain 1
        < command 7 unsubscribe 1
        > reply 6 drained
        > recv SUBSCRIBE|id:c|destination:/topic/a|browser:true||^@
        < send ERROR|message:bad browser|content-type:text/plain|content-length:26||only queues can be browsed^@
        < close Malformed bad browser
        "#,
    );
}

#[test]
fn client_acknowledgement_is_cumulative() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client|prefetch:10||^@
        < command 1 subscribe 0 /queue/a explicit credit=10
        > reply 1 done
        > deliver 0 /queue/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /queue/a tag=2 : 2
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|ack:0-2|destination:/queue/a|content-length:1|timestamp:1000000||2^@
        > deliver 0 /queue/a tag=3 : 3
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000003|ack:0-3|destination:/queue/a|content-length:1|timestamp:1000000||3^@
        > recv ACK|id:0-2|receipt:r1||^@
        < command 2 settle 0 1-2 Accepted
        < credit 0 2
        > reply 2 done
        < send RECEIPT|receipt-id:r1||^@
        > recv NACK|id:0-3||^@
        < settle 0 3 Failed
        < credit 0 1
        > recv ACK|id:0-1||^@
        < send ERROR|message:unknown message|content-type:text/plain|content-length:90||ACK of "0-1": no message with this ack header waits for it, or it was acknowledged already^@
        < close Malformed unknown message
        "#,
    );
}

#[test]
fn individual_acknowledgement() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client-individual||^@
        < command 1 subscribe 0 /queue/a explicit credit=100
        > deliver 0 /queue/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /queue/a tag=2 redeliveries=1 : 2
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|ack:0-2|destination:/queue/a|content-length:1|timestamp:1000000|redelivered:true|delivery-count:2||2^@
        > recv ACK|id:0-2||^@
        < settle 0 2 Accepted
        < credit 0 1
        > recv NACK|id:0-1||^@
        < settle 0 1 Failed
        < credit 0 1
        > recv ACK|id:0-2|receipt:r||^@
        < send ERROR|message:unknown message|receipt-id:r|content-type:text/plain|content-length:90||ACK of "0-2": no message with this ack header waits for it, or it was acknowledged already^@
        < close Malformed unknown message
        "#,
    );
}

#[test]
fn older_versions_acknowledge_by_message() {
    check_in(
        "1.1",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client-individual||^@
        < command 1 subscribe 0 /queue/a explicit credit=100
        > deliver 0 /queue/a tag=1 id=10 : 1
        < send MESSAGE|subscription:s1|message-id:0000000000000000000000000000000a|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /queue/a tag=2 id=11 : 2
        < send MESSAGE|subscription:s1|message-id:0000000000000000000000000000000b|destination:/queue/a|content-length:1|timestamp:1000000||2^@
        > recv ACK|subscription:s1|message-id:0000000000000000000000000000000b||^@
        < settle 0 2 Accepted
        < credit 0 1
        > recv NACK|subscription:s1|message-id:0000000000000000000000000000000a||^@
        < settle 0 1 Failed
        < credit 0 1
        > recv ACK|subscription:s1|message-id:x||^@
        < send ERROR|message:unknown message|content-type:text/plain|content-length:109||ACK of "x": no message with this message-id waits for it on this subscription, or it was acknowledged already^@
        < close Malformed unknown message
        "#,
    );
    check_in(
        "1.0",
        "
        > recv SUBSCRIBE|destination: /topic/a|ack:client||^@
        < command 1 subscribe 0 /topic/a automatic
        > recv SUBSCRIBE|destination:/queue/a|ack:client||^@
        < command 2 subscribe 1 /queue/a explicit credit=100
        > deliver 0 /topic/a id=9 : 0
        < send MESSAGE|subscription:/topic/a|message-id:00000000000000000000000000000009|destination:/topic/a|content-length:1|timestamp:1000000||0^@
        > deliver 1 /queue/a tag=1 id=10 : 1
        < send MESSAGE|subscription:/queue/a|message-id:0000000000000000000000000000000a|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > recv ACK|message-id:0000000000000000000000000000000a||^@
        < settle 1 1 Accepted
        < credit 1 1
        > recv ACK|message-id:00000000000000000000000000000009|receipt:r1||^@
        > recv UNSUBSCRIBE|destination:/queue/a||^@
        < command 4 unsubscribe 1
        > recv NACK|message-id:00000000000000000000000000000009||^@
        < send ERROR|message:unknown command|content-type:text/plain|content-length:66||STOMP 1.0 has no NACK: ask for a newer version with accept-version^@
        < close Malformed unknown command
        ",
    );
}

#[test]
fn topics_count_acknowledgements_only() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/topic/a|ack:client||^@
        < command 1 subscribe 0 /topic/a automatic
        > deliver 0 /topic/a : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/topic/a|content-length:1|timestamp:1000000||1^@
        > recv ACK|id:0-1|receipt:r1||^@
        > recv NACK|id:0-2||^@
        < send ERROR|message:unknown message|content-type:text/plain|content-length:91||NACK of "0-2": no message with this ack header waits for it, or it was acknowledged already^@
        < close Malformed unknown message
        "#,
    );
}

#[test]
fn an_acknowledgement_may_cross_an_unsubscribe() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client||^@
        < command 1 subscribe 0 /queue/a explicit credit=100
        > deliver 0 /queue/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > recv UNSUBSCRIBE|id:s1||^@
        < command 2 unsubscribe 0
        > deliver 0 /queue/a tag=2 : 2
        > reply 1 done
        > reply 2 done
        > recv ACK|id:0-1|receipt:r1||^@
        < send RECEIPT|receipt-id:r1||^@
        > recv ACK|id:1-1||^@
        < send ERROR|message:unknown message|content-type:text/plain|content-length:90||ACK of "1-1": no message with this ack header waits for it, or it was acknowledged already^@
        < close Malformed unknown message
        "#,
    );
}

#[test]
fn a_subscription_id_may_be_used_again() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/topic/a||^@
        < command 1 subscribe 0 /topic/a automatic
        > recv UNSUBSCRIBE|id:s1||^@
        < command 2 unsubscribe 0
        > recv SUBSCRIBE|id:s1|destination:/topic/b||^@
        < command 3 subscribe 1 /topic/b automatic
        > recv SUBSCRIBE|id:s1|destination:/topic/c||^@
        < send ERROR|message:subscription exists|content-type:text/plain|content-length:59||this connection has a subscription with the id "s1" already^@
        < close Malformed subscription exists
        "#,
    );
}

#[test]
fn transactions_commit() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client||^@
        < command 1 subscribe 0 /queue/a explicit credit=100
        > reply 1 done
        > deliver 0 /queue/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /queue/a tag=2 : 2
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|ack:0-2|destination:/queue/a|content-length:1|timestamp:1000000||2^@
        > recv BEGIN|transaction:t1||^@
        > recv SEND|destination:/queue/b|transaction:t1|receipt:r1||x^@
        < send RECEIPT|receipt-id:r1||^@
        > recv ACK|id:0-2|transaction:t1|receipt:r2||^@
        < credit 0 2
        < send RECEIPT|receipt-id:r2||^@
        > recv COMMIT|transaction:t1|receipt:r3||^@
        < command 5 transact [publish /queue/b : x; settle 0 1-2 Accepted]
        > reply 5 done
        < send RECEIPT|receipt-id:r3||^@
        > recv BEGIN|transaction:t1||^@COMMIT|transaction:t1|receipt:r4||^@
        < send RECEIPT|receipt-id:r4||^@
        > recv COMMIT|transaction:t1|receipt:r5||^@
        < send ERROR|message:unknown transaction|receipt-id:r5|content-type:text/plain|content-length:43||no transaction "t1" is open: BEGIN it first^@
        < close Malformed unknown transaction
        "#,
    );
}

#[test]
fn a_prefetch_of_zero_is_the_most_that_is_allowed() {
    for header in
        ["prefetch:0", "prefetch-count:0", "activemq.prefetchSize:00", "prefetch:99999999999"]
    {
        let script = r#"
            > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client|HEADER||^@
            < command 1 subscribe 0 /queue/a explicit credit=1000
        "#;
        check_in("1.2", &script.replace("HEADER", header));
    }
}

#[test]
fn a_topic_pushes_unless_a_header_says_otherwise() {
    for (headers, command) in [
        ("", "automatic"),
        ("ack:client", "automatic"),
        ("prefetch-count:0", "automatic"),
        ("x-slow:close", "automatic"),
        ("prefetch-count:5", "automatic credit=5"),
        ("prefetch-count:9999", "automatic credit=1000"),
        ("ack:client|prefetch-count:5", "explicit credit=5"),
        ("ack:client|prefetch:5", "explicit credit=5"),
        ("ack:client|activemq.prefetchSize:1", "automatic"),
        ("x-slow:drop-oldest", "automatic drop-oldest"),
        ("x-slow:latest|ack:client", "automatic latest"),
        ("x-slow:latest|x-key:destination", "automatic latest"),
        ("x-slow:latest|x-key:sym|prefetch-count:2", r#"automatic credit=2 latest by "sym""#),
        ("x-max-rate:10", "automatic latest rate=10"),
        ("x-max-rate:10|x-key:sym", r#"automatic latest by "sym" rate=10"#),
        ("x-max-rate:10|x-slow:drop-oldest", "automatic drop-oldest rate=10"),
        ("x-max-rate:10|x-slow:close", "automatic rate=10"),
    ] {
        let headers = if headers.is_empty() { String::new() } else { format!("|{headers}") };
        let script = format!(
            "
            > recv SUBSCRIBE|id:s1|destination:/topic/a.>{headers}||^@
            < command 1 subscribe 0 /topic/a.> {command}
            "
        );
        check_in("1.2", &script);
    }
}

#[test]
fn a_message_tells_how_many_were_dropped_before_it() {
    check_in(
        "1.2",
        "
        > recv SUBSCRIBE|id:s1|destination:/topic/a|x-slow:latest||^@
        < command 1 subscribe 0 /topic/a automatic latest
        > reply 1 done
        > deliver 0 /topic/a dropped=3 x:x-dropped=9 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|destination:/topic/a|content-length:1|timestamp:1000000|x-dropped:3||1^@
        > deliver 0 /topic/a x:x-dropped=9 : 2
        < share MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|destination:/topic/a|content-length:1|timestamp:1000000||2^@
        ",
    );
}

#[test]
fn acknowledgements_of_a_topic_give_credit() {
    check_in(
        "1.2",
        "
        > recv SUBSCRIBE|id:s1|destination:/topic/a|ack:client|prefetch-count:2||^@
        < command 1 subscribe 0 /topic/a explicit credit=2
        > reply 1 done
        > deliver 0 /topic/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/topic/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /topic/a tag=2 dropped=1 : 2
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|ack:0-2|destination:/topic/a|content-length:1|timestamp:1000000|x-dropped:1||2^@
        > recv ACK|id:0-2|receipt:r||^@
        < command 2 settle 0 1-2 Accepted
        < credit 0 2
        > reply 2 done
        < send RECEIPT|receipt-id:r||^@
        ",
    );
}

#[test]
fn a_subscription_that_is_too_slow_ends_its_connection() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/topic/a|ack:client|prefetch-count:1||^@
        < command 1 subscribe 0 /topic/a explicit credit=1
        > reply 1 done
        > notice cancelled 0 Slow
        < send ERROR|message:too slow|content-type:text/plain|content-length:174||the subscription "s1" was ended: more messages wait for its reader than may (limits.unsent-bytes-max); read and acknowledge faster, or have older messages dropped with x-slow^@
        < close Slow too slow
        "#,
    );
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/topic/a|ack:client|prefetch-count:1||^@
        < command 1 subscribe 0 /topic/a explicit credit=1
        > reply 1 done
        > notice cancelled 0 SlowCore
        < send ERROR|message:too slow|content-type:text/plain|content-length:233||the subscription "s1" was ended: more messages wait for slow readers than may, and the most of them for this one (a quarter of memory.unsent-bytes-max-per-core); read and acknowledge faster, or have older messages dropped with x-slow^@
        < close Slow too slow
        "#,
    );
}

#[test]
fn a_transaction_may_hold_more_than_prefetch() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client|prefetch:2||^@
        < command 1 subscribe 0 /queue/a explicit credit=2
        > deliver 0 /queue/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /queue/a tag=2 : 2
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|ack:0-2|destination:/queue/a|content-length:1|timestamp:1000000||2^@
        > recv BEGIN|transaction:t1||^@ACK|id:0-2|transaction:t1||^@
        < credit 0 2
        > deliver 0 /queue/a tag=5 : 3
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000003|ack:0-5|destination:/queue/a|content-length:1|timestamp:1000000||3^@
        > deliver 0 /queue/a tag=6 : 4
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000004|ack:0-6|destination:/queue/a|content-length:1|timestamp:1000000||4^@
        > recv ABORT|transaction:t1||^@
        < credit 0 =0
        > recv ACK|id:0-1||^@
        < settle 0 1 Accepted
        > recv BEGIN|transaction:t2||^@ACK|id:0-5|transaction:t2||^@
        < credit 0 1
        > recv ACK|id:0-6||^@
        < settle 0 6 Accepted
        < credit 0 1
        > recv COMMIT|transaction:t2||^@
        < command 7 transact [settle 0 2-5 Accepted]
        "#,
    );
}

#[test]
fn acknowledgements_of_a_topic_fail_no_transaction() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/topic/a|ack:client|prefetch-count:2||^@
        < command 1 subscribe 0 /topic/a explicit credit=2
        > reply 1 done
        > deliver 0 /topic/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/topic/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /topic/a tag=2 : 2
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000002|ack:0-2|destination:/topic/a|content-length:1|timestamp:1000000||2^@
        > recv BEGIN|transaction:t1||^@ACK|id:0-1|transaction:t1||^@
        < credit 0 1
        > recv ABORT|transaction:t1||^@
        < credit 0 =0
        > recv BEGIN|transaction:t2||^@ACK|id:0-1|transaction:t2||^@
        < credit 0 1
        > recv COMMIT|transaction:t2|receipt:r1||^@
        < send RECEIPT|receipt-id:r1||^@
        > recv BEGIN|transaction:t3||^@ACK|id:0-2|transaction:t3||^@
        < credit 0 1
        > recv SEND|destination:/queue/b|transaction:t3||x^@
        > recv UNSUBSCRIBE|id:s1|receipt:r2||^@
        < command 11 unsubscribe 0
        > reply 11 done
        < send RECEIPT|receipt-id:r2||^@
        > recv COMMIT|transaction:t3|receipt:r3||^@
        < command 12 transact [publish /queue/b : x]
        > reply 12 done
        < send RECEIPT|receipt-id:r3||^@
        "#,
    );
}

#[test]
fn acknowledgements_of_a_topic_count_as_operations() {
    let setup = Setup::stream().limited(|limits, _| limits.transaction_operations_max = 1);
    let script = "
        > recv SUBSCRIBE|id:1|destination:/topic/a|ack:client|prefetch-count:2||^@
        < command 1 subscribe 0 /topic/a explicit credit=2
        > reply 1 done
        > deliver 0 /topic/a tag=1 : 1
        < send MESSAGE|subscription:1|message-id:00000000000000000000000000000001|ack:0-1|destination:/topic/a|content-length:1|timestamp:1000000||1^@
        > deliver 0 /topic/a tag=2 : 2
        < send MESSAGE|subscription:1|message-id:00000000000000000000000000000002|ack:0-2|destination:/topic/a|content-length:1|timestamp:1000000||2^@
        > recv BEGIN|transaction:a||^@
        > recv ACK|id:0-2|transaction:a||^@
        < send ERROR|message:limit reached|content-type:text/plain|content-length:79||a transaction may have at most 1 operations (limits.transaction-operations-max)^@
        < close TooLarge limit reached
        ";
    check_as(&setup, &format!("{}{script}", login("1.2")));
}

#[test]
fn a_transaction_may_fail() {
    check_in(
        "1.2",
        r#"
        > recv BEGIN|transaction:t1||^@
        > recv SEND|destination:/queue/b|transaction:t1||x^@
        > recv COMMIT|transaction:t1|receipt:r3||^@
        < command 3 transact [publish /queue/b : x]
        > reply 3 refused Stale
        < send ERROR|message:transaction failed|receipt-id:r3|content-type:text/plain|content-length:165||COMMIT of transaction "t1": the transaction cannot be carried out: a delivery in it is settled already; nothing of it was carried out; begin again after reconnecting^@
        < close Malformed transaction failed
        "#,
    );
}

#[test]
fn an_aborted_acknowledgement_was_never_sent() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/queue/a|ack:client-individual||^@
        < command 1 subscribe 0 /queue/a explicit credit=100
        > reply 1 done
        > deliver 0 /queue/a tag=1 : 1
        < send MESSAGE|subscription:s1|message-id:00000000000000000000000000000001|ack:0-1|destination:/queue/a|content-length:1|timestamp:1000000||1^@
        > recv BEGIN|transaction:t1||^@
        > recv NACK|id:0-1|transaction:t1||^@
        < credit 0 1
        > recv ABORT|transaction:t1|receipt:r1||^@
        < credit 0 =99
        < send RECEIPT|receipt-id:r1||^@
        > recv ACK|id:0-1||^@
        < settle 0 1 Accepted
        < credit 0 1
        > recv BEGIN|transaction:t2||^@
        > recv ACK|id:0-1|transaction:t2||^@
        < send ERROR|message:unknown message|content-type:text/plain|content-length:90||ACK of "0-1": no message with this ack header waits for it, or it was acknowledged already^@
        < close Malformed unknown message
        "#,
    );
}

#[test]
fn temporary_destinations_get_real_names() {
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/orders|reply-to:/temp-queue/fills|receipt:r1||buy^@
        < command 1 declare /temp-queue/00000000000000000000000000000002
        < command 2 publish /queue/orders reply-to=/temp-queue/00000000000000000000000000000002 : buy
        > recv SUBSCRIBE|id:f|destination:/temp-queue/fills||^@
        < command 3 subscribe 0 /temp-queue/00000000000000000000000000000002 automatic credit=100
        > recv SEND|destination:/temp-queue/fills||own^@
        < command 4 publish /temp-queue/00000000000000000000000000000002 : own
        > recv SUBSCRIBE|id:t|destination:/temp-topic/news||^@
        < command 5 declare /temp-topic/00000000000000000000000000000005
        < command 6 subscribe 1 /temp-topic/00000000000000000000000000000005 automatic
        > reply 1 done
        > reply 2 done
        < send RECEIPT|receipt-id:r1||^@
        > reply 3 done
        > deliver 0 /temp-queue/00000000000000000000000000000002 : sold
        < share MESSAGE|subscription:f|message-id:00000000000000000000000000000001|destination:/temp-queue/00000000000000000000000000000002|content-length:4|timestamp:1000000||sold^@
        > recv SEND|destination:/temp-queue/0123456789abcdef0123456789abcdef||somebody's^@
        < command 7 publish /temp-queue/0123456789abcdef0123456789abcdef : somebody's
        > recv SUBSCRIBE|id:o|destination:/temp-queue/0123456789abcdef0123456789abcdef||^@
        < command 8 subscribe 2 /temp-queue/0123456789abcdef0123456789abcdef automatic credit=100
        > recv SEND|destination:/temp-queue/other||^@
        < send ERROR|message:no such destination|content-type:text/plain|content-length:145||this connection has no /temp-queue/other: subscribe to it or name it in reply-to first; the one of another connection is named as in its reply-to^@
        < close Malformed no such destination
        ",
    );
}

#[test]
fn disconnect_waits_for_what_came_before() {
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/a||1^@DISCONNECT|receipt:bye||^@SEND|destination:/queue/a||2^@
        < command 1 publish /queue/a : 1
        > recv SEND|destination:/queue/a||3^@
        > reply 1 done
        < send RECEIPT|receipt-id:bye||^@
        < close Normal
        ",
    );
}

#[test]
fn hearts_do_not_beat_while_nothing_carries_the_connection() {
    check(
        "
        > recv CONNECT|accept-version:1.2|heart-beat:5000,2000||^@
        < login 0 anonymous
        > notice detached
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:2000,5000||^@
        > wait 60000 ms
        > notice attached
        > wait 4999 ms
        < send |
        < send |
        > notice detached
        > wait 60000 ms
        > notice attached
        > wait 9999 ms
        < send |
        < send |
        < send |
        < send |
        > wait 1 ms
        < send ERROR|message:no heart-beat|content-type:text/plain|content-length:65||nothing came for twice the heart-beat interval that was agreed on^@
        < close Idle no heart-beat
        ",
    );
}

#[test]
fn hearts_beat() {
    check(
        "
        > recv CONNECT|accept-version:1.2|heart-beat:5000,2000||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:2000,5000||^@
        > wait 1999 ms
        > wait 1 ms
        < send |
        > recv |
        > wait 1000 ms
        > recv BEGIN|transaction:t|receipt:r||^@
        < send RECEIPT|receipt-id:r||^@
        > wait 2000 ms
        < send |
        > backlog 1
        > wait 7999 ms
        > wait 1 ms
        < send ERROR|message:no heart-beat|content-type:text/plain|content-length:65||nothing came for twice the heart-beat interval that was agreed on^@
        < close Idle no heart-beat
        ",
    );
}

#[test]
fn no_heartbeat_is_expected_while_a_destination_is_full() {
    check(
        "
        > recv CONNECT|accept-version:1.1|heart-beat:1000,0||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:1.1|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,1000||^@
        > recv SEND|destination:/queue/a|receipt:r||1^@
        < command 1 publish /queue/a : 1
        > wait 3000 ms
        > reply 1 done
        < send RECEIPT|receipt-id:r||^@
        > wait 2000 ms
        < send ERROR|message:no heart-beat|content-type:text/plain|content-length:65||nothing came for twice the heart-beat interval that was agreed on^@
        < close Idle no heart-beat
        ",
    );
}

#[test]
fn hearts_agree_on_the_slower_side() {
    // What the client can and wants; what we can and want.
    let cases = [
        ("0,0", "0,0"),
        ("100,100", "1000,1000"),
        ("10000,20000", "20000,10000"),
        ("60000,0", "0,30000"),
        ("0,99999999999999999999", "30000,0"),
    ];
    for (theirs, ours) in cases {
        check(&format!(
            "
            > recv CONNECT|accept-version:1.1|heart-beat:{theirs}||^@
            < login 0 anonymous
            > reply 0 login anonymous
            < send CONNECTED|version:1.1|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:{ours}||^@
            "
        ));
    }
}

#[test]
fn closes_when_the_gateway_stops() {
    check_in(
        "1.2",
        "
        > shutdown
        < send ERROR|message:gateway is stopping|content-type:text/plain|content-length:34||the gateway is stopping: reconnect^@
        < close Shutdown gateway is stopping
        ",
    );
    // The WebSocket's close code says it.
    check_as(
        &Setup::websocket("v12.stomp"),
        "
        > opened
        > shutdown
        < close Shutdown gateway is stopping
        ",
    );
}

#[test]
fn a_cancelled_subscription_is_an_error() {
    check_in(
        "1.2",
        r#"
        > recv SUBSCRIBE|id:s1|destination:/topic/a||^@
        < command 1 subscribe 0 /topic/a automatic
        > notice cancelled 0 Forbidden
        < send ERROR|message:not allowed|content-type:text/plain|content-length:101||the subscription "s1" was ended: not allowed for this user; ask the operator for the right to do this^@
        < close Forbidden not allowed
        "#,
    );
}

#[test]
fn nothing_is_said_to_a_peer_that_has_gone() {
    check_in(
        "1.2",
        "
        > recv SEND|destination:/queue/a||1^@
        < command 1 publish /queue/a : 1
        > closed
        > reply 1 done
        > wait 100000 ms
        ",
    );
}

#[test]
fn every_bound_is_kept() {
    let check_bound = |script: &str| {
        let setup = Setup::stream().limited(|limits, protocol| {
            limits.subscriptions_max = 1;
            limits.temporary_max = 1;
            limits.transactions_max = 1;
            limits.transaction_operations_max = 1;
            protocol.transaction_bytes_max = 700;
            limits.prefetch_max = 5;
            limits.message_bytes_max = 300;
            protocol.header_bytes_max = 200;
            protocol.headers_max = 3;
        });
        let long = "x".repeat(150);
        check_as(&setup, &format!("{}{script}", login("1.2")).replace("LONG", &long));
    };
    check_bound(
        "
        > recv SUBSCRIBE|id:1|destination:/queue/a|prefetch:6||^@
        < command 1 subscribe 0 /queue/a automatic credit=5
        > recv SUBSCRIBE|id:2|destination:/queue/a||^@
        < send ERROR|message:limit reached|content-type:text/plain|content-length:106||a connection may have at most 1 subscriptions (limits.subscriptions-max): use a wildcard, or end one first^@
        < close Busy limit reached
        ",
    );
    check_bound(
        "
        > recv SEND|destination:/queue/a|reply-to:/temp-queue/a||^@
        < command 1 declare /temp-queue/00000000000000000000000000000002
        < command 2 publish /queue/a reply-to=/temp-queue/00000000000000000000000000000002 :
        > recv SEND|destination:/queue/a|reply-to:/temp-queue/b||^@
        < send ERROR|message:limit reached|content-type:text/plain|content-length:103||a connection may have at most 1 temporary destinations (limits.temporary-max): use one for many replies^@
        < close Busy limit reached
        ",
    );
    check_bound(
        "
        > recv BEGIN|transaction:a||^@BEGIN|transaction:b||^@
        < send ERROR|message:limit reached|content-type:text/plain|content-length:102||a connection may have at most 1 open transactions (limits.transactions-max): COMMIT or ABORT one first^@
        < close Busy limit reached
        ",
    );
    check_bound(
        "
        > recv BEGIN|transaction:a||^@
        > recv SEND|destination:/queue/a|transaction:a||^@
        > recv SEND|destination:/queue/a|transaction:a||^@
        < send ERROR|message:limit reached|content-type:text/plain|content-length:79||a transaction may have at most 1 operations (limits.transaction-operations-max)^@
        < close TooLarge limit reached
        ",
    );
    check_bound(
        "
        > recv BEGIN|transaction:a||^@
        > recv SEND|destination:/queue/a|transaction:a||LONGLONG^@
        < send ERROR|message:limit reached|content-type:text/plain|content-length:95||the open transactions of a connection may hold at most 700 bytes (limits.transaction-bytes-max)^@
        < close TooLarge limit reached
        ",
    );
    check_bound(
        "
        > recv SEND|destination:/queue/a||LONGLONGx
        < send ERROR|message:frame too large|content-type:text/plain|content-length:73||the body of a frame may have at most 300 bytes (limits.message-bytes-max)^@
        < close TooLarge frame too large
        ",
    );
    check_bound(
        "
        > recv SEND|destination:/queue/a|content-length:301||
        < send ERROR|message:frame too large|content-type:text/plain|content-length:73||the body of a frame may have at most 300 bytes (limits.message-bytes-max)^@
        < close TooLarge frame too large
        ",
    );
    check_bound(
        "
        > recv SEND|destination:/queue/a|a:LONG|b:LONG
        < send ERROR|message:frame too large|content-type:text/plain|content-length:87||the command and headers of a frame may have at most 200 bytes (limits.header-bytes-max)^@
        < close TooLarge frame too large
        ",
    );
    check_bound(
        "
        > recv SEND|destination:/queue/a|a:1|b:2|c:3|
        < send ERROR|message:frame too large|content-type:text/plain|content-length:55||a frame may have at most 3 headers (limits.headers-max)^@
        < close TooLarge frame too large
        ",
    );
}

#[test]
fn frames_behind_one_that_waits_for_its_reply_wait_too() {
    let setup = Setup::stream().limited(|limits, _| limits.unsent_bytes_max = 200);
    let script = "
        > recv SEND|destination:/queue/a||1^@
        < command 1 publish /queue/a : 1
        > recv BEGIN|transaction:1|receipt:r1||^@BEGIN|transaction:2|receipt:r2||^@
        > recv BEGIN|transaction:3|receipt:r3||^@BEGIN|transaction:4|receipt:r4||^@
        > reply 1 done
        < send RECEIPT|receipt-id:r1||^@
        < send RECEIPT|receipt-id:r2||^@
        < send RECEIPT|receipt-id:r3||^@
        < send RECEIPT|receipt-id:r4||^@
    ";
    check_as(&setup, &format!("{}{script}", login("1.2")));
}

#[test]
fn little_may_follow_connect_before_its_reply() {
    let long = "x".repeat(70_000);
    check(&format!(
        "
        > recv CONNECT|accept-version:1.2||^@
        < login 0 anonymous
        > recv {long}
        < send ERROR|message:too early|content-type:text/plain|content-length:38||wait for CONNECTED before sending more^@
        < close TooLarge too early
        "
    ));
}

/// Plays a conversation with a peer on TCP.
fn check(script: &str) {
    check_as(&Setup::stream(), script);
}

/// Plays a conversation that begins after the login.
fn check_in(version: &str, script: &str) {
    check(&format!("{}{script}", login(version)));
}

fn check_as(setup: &Setup, script: &str) {
    // The version of the package is not part of the protocol.
    let server = concat!("server:passerelle/", env!("CARGO_PKG_VERSION"));
    conversation(setup, Session::open, &script.replace("server:passerelle/*", server));
}

fn login(version: &str) -> String {
    format!(
        "
        > recv CONNECT|accept-version:{version}||^@
        < login 0 anonymous
        > reply 0 login anonymous
        < send CONNECTED|version:{version}|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@
        "
    )
}
