//! Malformed frames and edge cases, each with what exactly comes of it.

use contract::{Data, Input, Kind, Principal, Reason, Session as _};
use stomp::Session;
use testkit::{Output, Recorder, Setup, parse_bytes, show_bytes};

#[test]
fn each_fault_has_its_error() {
    for (rule, version, sent, expected) in FAULTS {
        let sent = parse_bytes(sent);
        // Cutting the input anywhere must not change the outcome.
        for split in 0..=sent.len() {
            let (frames, reason) = sent_back(version, &[&sent[..split], &sent[split..]]);
            assert_eq!(error(&frames), *expected, "{rule}, split at {split}");
            assert!(reason.is_some(), "{rule}: the connection stays open");
        }
        let bytewise: Vec<_> = sent.chunks(1).collect();
        assert_eq!(error(&sent_back(version, &bytewise).0), *expected, "{rule}, byte by byte");
    }
}

#[test]
fn edge_cases_are_in_order() {
    for (rule, version, sent, expected) in EDGES {
        let sent = parse_bytes(sent);
        for split in 0..=sent.len() {
            let (frames, reason) = sent_back(version, &[&sent[..split], &sent[split..]]);
            assert_eq!(frames, *expected, "{rule}, split at {split}");
            assert_eq!(reason, None, "{rule}");
        }
    }
}

/// The rule, the version, the bytes; the ERROR, without the headers that each has.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    (
        "a password and an exchange",
        "",
        "CONNECT|accept-version:1.2|login:ann|sasl-mechanism:X||^@",
        "ERROR|message:login refused||CONNECT has login and passcode, or sasl-mechanism, not both",
    ),
    (
        "a response to nothing",
        "",
        "CONNECT|accept-version:1.2|sasl-response:eA==||^@",
        "ERROR|message:login refused||sasl-response without a CHALLENGE comes with sasl-mechanism",
    ),
    (
        "a response without its padding",
        "",
        "CONNECT|accept-version:1.2|sasl-mechanism:X|sasl-response:eA||^@",
        "ERROR|message:login refused||sasl-response is no base64 with its padding",
    ),
    (
        "a command in small letters",
        "",
        "connect||^@",
        "ERROR|message:unknown command||the first line of a frame must be a STOMP command, in capitals",
    ),
    (
        "not STOMP at all",
        "",
        r"GET / HTTP/1.1\r|",
        "ERROR|message:unknown command||the first line of a frame must be a STOMP command, in capitals",
    ),
    (
        "a long first line",
        "",
        "xxxxxxxxxxxxxxxxxxxxxx",
        "ERROR|message:unknown command||the first line of a frame must be a STOMP command, in capitals",
    ),
    (
        "spaces before a command",
        "",
        " CONNECT||^@",
        "ERROR|message:unknown command||the first line of a frame must be a STOMP command, in capitals",
    ),
    (
        "a NUL instead of a command",
        "",
        "^@",
        "ERROR|message:malformed frame||a NUL where a command should be: a body with NULs needs a content-length",
    ),
    (
        "a frame before CONNECT",
        "",
        "SEND|destination:/queue/a|receipt:r||^@",
        "ERROR|message:not connected|receipt-id:r||SEND came before CONNECT: log in first",
    ),
    (
        "DISCONNECT before CONNECT",
        "",
        "DISCONNECT||^@",
        "ERROR|message:not connected||DISCONNECT came before CONNECT: log in first",
    ),
    (
        "a server's frame before CONNECT",
        "",
        "CONNECTED||^@",
        "ERROR|message:not connected||CONNECTED came before CONNECT: log in first",
    ),
    (
        "an unknown version",
        "",
        "CONNECT|accept-version:3.0||^@",
        "ERROR|message:no common version|version:1.0,1.1,1.2||accept-version must name one of 1.0,1.1,1.2",
    ),
    (
        "an empty list of versions",
        "",
        "CONNECT|accept-version:||^@",
        "ERROR|message:no common version|version:1.0,1.1,1.2||accept-version must name one of 1.0,1.1,1.2",
    ),
    (
        "a heart-beat of one number",
        "",
        "CONNECT|accept-version:1.1|heart-beat:1000||^@",
        "ERROR|message:bad heart-beat||heart-beat must be two numbers of milliseconds, as in heart-beat:10000,10000",
    ),
    (
        "a negative heart-beat",
        "",
        "CONNECT|accept-version:1.2|heart-beat:-1,0||^@",
        "ERROR|message:bad heart-beat||heart-beat must be two numbers of milliseconds, as in heart-beat:10000,10000",
    ),
    (
        "a heart-beat with a space",
        "",
        "CONNECT|accept-version:1.2|heart-beat:0, 0||^@",
        "ERROR|message:bad heart-beat||heart-beat must be two numbers of milliseconds, as in heart-beat:10000,10000",
    ),
    (
        "CONNECT with a body",
        "",
        "CONNECT||hello^@",
        "ERROR|message:malformed frame||only SEND, MESSAGE and ERROR frames have a body",
    ),
    (
        "CONNECT with a counted body",
        "",
        "CONNECT|content-length:5||hello^@",
        "ERROR|message:malformed frame||only SEND, MESSAGE and ERROR frames have a body",
    ),
    (
        "CONNECT without the empty line",
        "",
        "CONNECT|^@",
        "ERROR|message:malformed frame||a NUL in the header of a frame: an empty line must follow its headers",
    ),
    (
        "a second CONNECT",
        "1.2",
        "CONNECT|accept-version:1.2||^@",
        "ERROR|message:already connected||a connection takes one CONNECT or STOMP frame: open another connection",
    ),
    (
        "an unknown command",
        "1.2",
        "SENT|destination:/queue/a||^@",
        "ERROR|message:unknown command||the first line of a frame must be a STOMP command, in capitals",
    ),
    (
        "a command that is too long",
        "1.2",
        "UNSUBSCRIBED||^@",
        "ERROR|message:unknown command||the first line of a frame must be a STOMP command, in capitals",
    ),
    (
        "MESSAGE from a client",
        "1.2",
        "MESSAGE||^@",
        "ERROR|message:unknown command||MESSAGE is sent by servers only",
    ),
    (
        "RECEIPT from a client",
        "1.2",
        "RECEIPT|receipt-id:1||^@",
        "ERROR|message:unknown command||RECEIPT is sent by servers only",
    ),
    (
        "ERROR from a client",
        "1.2",
        "ERROR||^@",
        "ERROR|message:unknown command||ERROR is sent by servers only",
    ),
    (
        "a header without a colon",
        "1.2",
        "SEND|destination||^@",
        "ERROR|message:malformed frame||a header line has no colon: headers are written name:value",
    ),
    (
        "a header without a name",
        "1.2",
        "SEND|:/queue/a||^@",
        "ERROR|message:malformed frame||a header has no name before its colon",
    ),
    (
        "an undefined escape",
        "1.2",
        r"SEND|a:\\t||^@",
        r"ERROR|message:malformed frame||an undefined escape in a header: STOMP 1.2 has \\n, \\r, \\c and \\\\ for line feed, carriage return, colon and backslash",
    ),
    (
        "a lone backslash",
        "1.2",
        r"SEND|a:b\\||^@",
        r"ERROR|message:malformed frame||an undefined escape in a header: STOMP 1.2 has \\n, \\r, \\c and \\\\ for line feed, carriage return, colon and backslash",
    ),
    (
        "an undefined escape in a name",
        "1.2",
        r"SEND|a\\x:b||^@",
        r"ERROR|message:malformed frame||an undefined escape in a header: STOMP 1.2 has \\n, \\r, \\c and \\\\ for line feed, carriage return, colon and backslash",
    ),
    (
        "a header that is not UTF-8",
        "1.2",
        r"SEND|a:\xff||^@",
        "ERROR|message:malformed frame||a header is not UTF-8",
    ),
    (
        "half a character",
        "1.2",
        r"SEND|a:\xc3||^@",
        "ERROR|message:malformed frame||a header is not UTF-8",
    ),
    (
        "a NUL in a header",
        "1.2",
        "SEND|destination:/queue/a^@|",
        "ERROR|message:malformed frame||a NUL in the header of a frame: an empty line must follow its headers",
    ),
    (
        "a NUL where a command should be",
        "1.2",
        "^@",
        "ERROR|message:malformed frame||a NUL where a command should be: a body with NULs needs a content-length",
    ),
    (
        "two NULs after a frame",
        "1.2",
        "BEGIN|transaction:t||^@^@",
        "ERROR|message:malformed frame||a NUL where a command should be: a body with NULs needs a content-length",
    ),
    (
        "content-length that is no number",
        "1.2",
        "SEND|content-length:five||^@",
        "ERROR|message:malformed frame||content-length must be a number of bytes, in digits",
    ),
    (
        "an empty content-length",
        "1.2",
        "SEND|content-length:||^@",
        "ERROR|message:malformed frame||content-length must be a number of bytes, in digits",
    ),
    (
        "a negative content-length",
        "1.2",
        "SEND|content-length:-1||^@",
        "ERROR|message:malformed frame||content-length must be a number of bytes, in digits",
    ),
    (
        "content-length with a sign",
        "1.2",
        "SEND|content-length:+5||hello^@",
        "ERROR|message:malformed frame||content-length must be a number of bytes, in digits",
    ),
    (
        "content-length with a space",
        "1.2",
        "SEND|content-length: 5||hello^@",
        "ERROR|message:malformed frame||content-length must be a number of bytes, in digits",
    ),
    (
        "content-length too small",
        "1.2",
        "SEND|content-length:4||hello^@",
        "ERROR|message:malformed frame||no NUL after the body: content-length must count the bytes of the body, not its characters",
    ),
    (
        "content-length counts characters",
        "1.2",
        "SEND|content-length:1||é^@",
        "ERROR|message:malformed frame||no NUL after the body: content-length must count the bytes of the body, not its characters",
    ),
    (
        "an enormous content-length",
        "1.2",
        "SEND|content-length:99999999999999999999||",
        "ERROR|message:frame too large||the body of a frame may have at most 1048576 bytes (limits.message-bytes-max)",
    ),
    (
        "content-length over the bound",
        "1.2",
        "SEND|content-length:1048577||",
        "ERROR|message:frame too large||the body of a frame may have at most 1048576 bytes (limits.message-bytes-max)",
    ),
    (
        "a body in ACK",
        "1.2",
        "ACK|id:1||hello^@",
        "ERROR|message:malformed frame||only SEND, MESSAGE and ERROR frames have a body",
    ),
    (
        "a body in SUBSCRIBE",
        "1.2",
        "SUBSCRIBE|content-length:5||hello^@",
        "ERROR|message:malformed frame||only SEND, MESSAGE and ERROR frames have a body",
    ),
    (
        "SEND to nowhere",
        "1.2",
        "SEND|receipt:r1||hello^@",
        "ERROR|message:missing header|receipt-id:r1||SEND needs the header destination",
    ),
    (
        "SEND without a prefix",
        "1.2",
        "SEND|destination:a||^@",
        r#"ERROR|message:bad destination||"a": a destination begins with /topic/, /queue/, /temp-topic/ or /temp-queue/"#,
    ),
    (
        "SEND to an unknown prefix",
        "1.2",
        "SEND|destination:/exchange/a||^@",
        r#"ERROR|message:bad destination||"/exchange/a": a destination begins with /topic/, /queue/, /temp-topic/ or /temp-queue/"#,
    ),
    (
        "SEND to an empty name",
        "1.2",
        "SEND|destination:/queue/||^@",
        r#"ERROR|message:bad destination||"/queue/": a destination's name, and each of its levels between dots, must not be empty"#,
    ),
    (
        "SEND to an empty level",
        "1.2",
        "SEND|destination:/topic/a..b||^@",
        r#"ERROR|message:bad destination||"/topic/a..b": a destination's name, and each of its levels between dots, must not be empty"#,
    ),
    (
        "SEND to a wildcard",
        "1.2",
        "SEND|destination:/topic/a.*||^@",
        r#"ERROR|message:bad destination||"/topic/a.*": wildcards stand only in subscriptions to topics: * for one whole level, > or # as the whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"#,
    ),
    (
        "SEND to a rest of levels",
        "1.2",
        "SEND|destination:/topic/>||^@",
        r#"ERROR|message:bad destination||"/topic/>": wildcards stand only in subscriptions to topics: * for one whole level, > or # as the whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"#,
    ),
    (
        "SEND to a control character",
        "1.2",
        r"SEND|destination:/queue/a\\nb||^@",
        r#"ERROR|message:bad destination||"/queue/a\\nb": a destination's name holds no control characters"#,
    ),
    (
        "SEND to an unknown temporary queue",
        "1.2",
        "SEND|destination:/temp-queue/a||^@",
        "ERROR|message:no such destination||this connection has no /temp-queue/a: subscribe to it or name it in reply-to first; the one of another connection is named as in its reply-to",
    ),
    (
        "a bad reply-to",
        "1.2",
        "SEND|destination:/queue/a|reply-to:b||^@",
        r#"ERROR|message:bad destination||"b": a destination begins with /topic/, /queue/, /temp-topic/ or /temp-queue/"#,
    ),
    (
        "a wildcard in reply-to",
        "1.2",
        "SEND|destination:/queue/a|reply-to:/topic/*||^@",
        r#"ERROR|message:bad destination||"/topic/*": wildcards stand only in subscriptions to topics: * for one whole level, > or # as the whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"#,
    ),
    (
        "a priority over 9",
        "1.2",
        "SEND|destination:/queue/a|priority:10||^@",
        "ERROR|message:bad priority||priority must be a digit from 0 to 9",
    ),
    (
        "a priority that is no number",
        "1.2",
        "SEND|destination:/queue/a|priority:high||^@",
        "ERROR|message:bad priority||priority must be a digit from 0 to 9",
    ),
    (
        "expires that is no number",
        "1.2",
        "SEND|destination:/queue/a|expires:soon||^@",
        "ERROR|message:bad expires||expires must be a time in milliseconds since 1970, or 0 for never",
    ),
    (
        "persistent that is neither",
        "1.2",
        "SEND|destination:/queue/a|persistent:1||^@",
        "ERROR|message:bad persistent||persistent must be true or false",
    ),
    (
        "SEND in no transaction",
        "1.2",
        "SEND|destination:/queue/a|transaction:t||^@",
        r#"ERROR|message:unknown transaction||no transaction "t" is open: BEGIN it first"#,
    ),
    (
        "SUBSCRIBE to nothing",
        "1.2",
        "SUBSCRIBE|id:1||^@",
        "ERROR|message:missing header||SUBSCRIBE needs the header destination",
    ),
    (
        "SUBSCRIBE without an id",
        "1.1",
        "SUBSCRIBE|destination:/topic/a||^@",
        "ERROR|message:missing header||SUBSCRIBE needs the header id",
    ),
    (
        "a wildcard on queues",
        "1.2",
        "SUBSCRIBE|id:1|destination:/queue/*||^@",
        r#"ERROR|message:bad destination||"/queue/*": wildcards stand only in subscriptions to topics: * for one whole level, > or # as the whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"#,
    ),
    (
        "a wildcard on temporary topics",
        "1.2",
        "SUBSCRIBE|id:1|destination:/temp-topic/>||^@",
        r#"ERROR|message:bad destination||"/temp-topic/>": wildcards stand only in subscriptions to topics: * for one whole level, > or # as the whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"#,
    ),
    (
        "a wildcard in a word",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a*||^@",
        r#"ERROR|message:bad destination||"/topic/a*": wildcards stand only in subscriptions to topics: * for one whole level, > or # as the whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"#,
    ),
    (
        "a rest that is not final",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/#.a||^@",
        r#"ERROR|message:bad destination||"/topic/#.a": wildcards stand only in subscriptions to topics: * for one whole level, > or # as the whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"#,
    ),
    (
        "an unknown ack mode",
        "1.2",
        "SUBSCRIBE|id:1|destination:/queue/a|ack:none||^@",
        "ERROR|message:bad ack||ack must be auto, client or, since STOMP 1.1, client-individual",
    ),
    (
        "client-individual in 1.0",
        "1.0",
        "SUBSCRIBE|destination:/queue/a|ack:client-individual||^@",
        "ERROR|message:bad ack||ack must be auto, client or, since STOMP 1.1, client-individual",
    ),
    (
        "a prefetch that is no number",
        "1.2",
        "SUBSCRIBE|id:1|destination:/queue/a|prefetch:-1||^@",
        "ERROR|message:bad prefetch||prefetch must be a number of messages",
    ),
    (
        "an unknown policy for slow readers",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-slow:newest||^@",
        "ERROR|message:bad x-slow||x-slow must be close, drop-oldest or latest",
    ),
    (
        "a policy for slow readers of a queue",
        "1.2",
        "SUBSCRIBE|id:1|destination:/queue/a|x-slow:latest||^@",
        "ERROR|message:topics only||the header x-slow is for subscriptions to topics; a queue drops no message: it waits for its consumers",
    ),
    (
        "a rate of a queue",
        "1.2",
        "SUBSCRIBE|id:1|destination:/queue/a|x-max-rate:5||^@",
        "ERROR|message:topics only||the header x-max-rate is for subscriptions to topics; a queue drops no message: it waits for its consumers",
    ),
    (
        "a key of a temporary topic",
        "1.2",
        "SUBSCRIBE|id:1|destination:/temp-topic/a|x-key:k||^@",
        "ERROR|message:topics only||the header x-key is for subscriptions to topics; not for temporary ones",
    ),
    (
        "a rate of zero",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-max-rate:0||^@",
        "ERROR|message:bad x-max-rate||x-max-rate must be a number of messages a second, from 1 to 4294967295",
    ),
    (
        "a rate that is no number",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-max-rate:+5||^@",
        "ERROR|message:bad x-max-rate||x-max-rate must be a number of messages a second, from 1 to 4294967295",
    ),
    (
        "a rate that is too much",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-max-rate:4294967296||^@",
        "ERROR|message:bad x-max-rate||x-max-rate must be a number of messages a second, from 1 to 4294967295",
    ),
    (
        "a key without its policy",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-key:k||^@",
        "ERROR|message:bad x-key||x-key goes with x-slow:latest, whose key it names, or with x-max-rate",
    ),
    (
        "a key with another policy",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-slow:drop-oldest|x-key:k||^@",
        "ERROR|message:bad x-key||x-key goes with x-slow:latest, whose key it names",
    ),
    (
        "a key that the gateway writes",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-slow:latest|x-key:message-id||^@",
        "ERROR|message:bad x-key||x-key must be destination, or name a header of the senders' own",
    ),
    (
        "a key without a name",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|x-max-rate:9|x-key:||^@",
        "ERROR|message:bad x-key||x-key must be destination, or name a header of the senders' own",
    ),
    (
        "a prefetch of a topic that is no number",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|prefetch-count:x||^@",
        "ERROR|message:bad prefetch||prefetch-count must be a number of messages",
    ),
    (
        "a selector",
        "1.2",
        "SUBSCRIBE|id:1|destination:/queue/a|selector:a LIKE 1||^@",
        "ERROR|message:bad selector||selector, column 8: expected a string after LIKE",
    ),
    (
        "a durable subscription",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a|activemq.subscriptionName:d||^@",
        "ERROR|message:bad durable subscription||a durable subscription belongs to a client: CONNECT with a client-id, or subscribe with shared:true",
    ),
    (
        "the same id twice",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a||^@SUBSCRIBE|id:1|destination:/topic/b|receipt:r||^@",
        r#"ERROR|message:subscription exists|receipt-id:r||this connection has a subscription with the id "1" already"#,
    ),
    (
        "the same destination twice in 1.0",
        "1.0",
        "SUBSCRIBE|destination:/topic/a||^@SUBSCRIBE|destination:/topic/a||^@",
        r#"ERROR|message:subscription exists||this connection has a subscription with the id "/topic/a" already"#,
    ),
    (
        "UNSUBSCRIBE without an id",
        "1.2",
        "UNSUBSCRIBE|destination:/topic/a||^@",
        "ERROR|message:missing header||UNSUBSCRIBE needs the header id",
    ),
    (
        "UNSUBSCRIBE of nothing",
        "1.2",
        "UNSUBSCRIBE|id:1||^@",
        r#"ERROR|message:unknown subscription||UNSUBSCRIBE: this connection has no subscription with the id "1""#,
    ),
    (
        "UNSUBSCRIBE without any name in 1.0",
        "1.0",
        "UNSUBSCRIBE||^@",
        "ERROR|message:missing header||UNSUBSCRIBE needs the header destination",
    ),
    (
        "ACK without an id",
        "1.2",
        "ACK|message-id:1|subscription:1||^@",
        "ERROR|message:missing header||ACK needs the header id",
    ),
    (
        "ACK of nothing",
        "1.2",
        "ACK|id:1-1|receipt:r||^@",
        r#"ERROR|message:unknown message|receipt-id:r||ACK of "1-1": no message with this ack header waits for it, or it was acknowledged already"#,
    ),
    (
        "ACK of no number",
        "1.2",
        "ACK|id:a||^@",
        r#"ERROR|message:unknown message||ACK of "a": no message with this ack header waits for it, or it was acknowledged already"#,
    ),
    (
        "ACK of an automatic subscription",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/a||^@ACK|id:0-1||^@",
        r#"ERROR|message:unknown message||ACK of "0-1": no message with this ack header waits for it, or it was acknowledged already"#,
    ),
    (
        "ACK without message-id",
        "1.1",
        "ACK|subscription:1||^@",
        "ERROR|message:missing header||ACK needs the header message-id",
    ),
    (
        "ACK without subscription",
        "1.1",
        "ACK|message-id:1||^@",
        "ERROR|message:missing header||ACK needs the header subscription",
    ),
    (
        "ACK for an unknown subscription",
        "1.1",
        "ACK|message-id:1|subscription:1||^@",
        r#"ERROR|message:unknown subscription||ACK: this connection has no subscription with the id "1""#,
    ),
    (
        "ACK of an unknown message",
        "1.0",
        "ACK|message-id:1||^@",
        r#"ERROR|message:unknown message||ACK of "1": no message with this message-id waits for it on this subscription, or it was acknowledged already"#,
    ),
    (
        "NACK of nothing",
        "1.2",
        "NACK|id:1-1||^@",
        r#"ERROR|message:unknown message||NACK of "1-1": no message with this ack header waits for it, or it was acknowledged already"#,
    ),
    (
        "NACK in 1.0",
        "1.0",
        "NACK|message-id:1||^@",
        "ERROR|message:unknown command||STOMP 1.0 has no NACK: ask for a newer version with accept-version",
    ),
    (
        "ACK in no transaction",
        "1.2",
        "ACK|id:1-1|transaction:t||^@",
        r#"ERROR|message:unknown transaction||no transaction "t" is open: BEGIN it first"#,
    ),
    (
        "BEGIN of nothing",
        "1.2",
        "BEGIN||^@",
        "ERROR|message:missing header||BEGIN needs the header transaction",
    ),
    (
        "BEGIN twice",
        "1.2",
        "BEGIN|transaction:t||^@BEGIN|transaction:t||^@",
        r#"ERROR|message:transaction exists||BEGIN of transaction "t", which has begun already"#,
    ),
    (
        "COMMIT of nothing",
        "1.2",
        "COMMIT|receipt:r||^@",
        "ERROR|message:missing header|receipt-id:r||COMMIT needs the header transaction",
    ),
    (
        "COMMIT of what has not begun",
        "1.2",
        "COMMIT|transaction:t||^@",
        r#"ERROR|message:unknown transaction||no transaction "t" is open: BEGIN it first"#,
    ),
    (
        "ABORT of what has not begun",
        "1.2",
        "ABORT|transaction:t||^@",
        r#"ERROR|message:unknown transaction||no transaction "t" is open: BEGIN it first"#,
    ),
];

/// The rule, the version, the bytes; the frames sent back.
const EDGES: &[(&str, &str, &str, &[&str])] = &[
    ("nothing", "1.2", "", &[]),
    (
        "EOLs between frames",
        "1.2",
        r"||\r|BEGIN|transaction:t|receipt:r||^@|\r|",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "EOLs may be CR LF",
        "1.2",
        r"BEGIN\r|transaction:t\r|receipt:r\r|\r|^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "EOLs before CONNECT",
        "",
        r"|\r|CONNECT|accept-version:1.2||^@",
        &[
            "CONNECTED|version:1.2|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@",
        ],
    ),
    (
        "the first of repeated headers counts",
        "1.2",
        "BEGIN|transaction:t|receipt:a|receipt:b||^@",
        &["RECEIPT|receipt-id:a||^@"],
    ),
    (
        "an escaped receipt comes back escaped",
        "1.2",
        r"BEGIN|transaction:t|receipt:a\\cb\\nc\\r\\\\||^@",
        &[r"RECEIPT|receipt-id:a\\cb\\nc\\r\\\\||^@"],
    ),
    (
        "1.1 keeps what is no escape",
        "1.1",
        r"BEGIN|transaction:t|receipt:a\\tb||^@",
        &[r"RECEIPT|receipt-id:a\\\\tb||^@"],
    ),
    (
        "1.0 has no escapes",
        "1.0",
        r"BEGIN|transaction:t|receipt:a\\nb:c||^@",
        &[r"RECEIPT|receipt-id:a\\nb:c||^@"],
    ),
    (
        "1.0 pads with spaces",
        "1.0",
        "BEGIN|transaction: t|receipt: r ||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "a colon in a value",
        "1.2",
        "BEGIN|transaction:t|receipt:a:b||^@",
        &[r"RECEIPT|receipt-id:a\\cb||^@"],
    ),
    ("an empty value", "1.2", "BEGIN|transaction:|receipt:||^@", &["RECEIPT|receipt-id:||^@"]),
    (
        "an unknown header",
        "1.2",
        "BEGIN|transaction:t|x:y|receipt:r||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "an empty content-length's body",
        "1.2",
        "BEGIN|transaction:t|content-length:0|receipt:r||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "NULs in a counted body",
        "1.2",
        "SEND|destination:/queue/a|content-length:3|receipt:r||^@x^@^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "a body of EOLs",
        "1.2",
        "SEND|destination:/queue/a|receipt:r|||||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "a body that looks like a frame",
        "1.2",
        "SEND|destination:/queue/a|receipt:r||ABORT||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "a destination with spaces",
        "1.2",
        "SEND|destination:/queue/a b/c|receipt:r||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "a prefetch over the bound",
        "1.2",
        "SUBSCRIBE|id:1|destination:/queue/a|prefetch:99999999999|receipt:r||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "all topics",
        "1.2",
        "SUBSCRIBE|id:1|destination:/topic/>|receipt:r||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "a long command, split anywhere",
        "1.2",
        r"SUBSCRIBE|id:1|destination:/topic/a||^@UNSUBSCRIBE\r|id:1|receipt:r\r||^@",
        &["RECEIPT|receipt-id:r||^@"],
    ),
    (
        "STOMP instead of CONNECT",
        "",
        "STOMP|accept-version:1.1|host:||^@",
        &[
            "CONNECTED|version:1.1|server:passerelle/*|session:00000000000000000000000000000001|heart-beat:0,0||^@",
        ],
    ),
];

/// What a session sends back, and why it closed. An empty version stands for a peer before CONNECT.
/// Each command is carried out at once.
fn sent_back(version: &str, pieces: &[&[u8]]) -> (Vec<String>, Option<Reason>) {
    let setup = Setup { principal: Some(Principal::anonymous()), ..Setup::stream() };
    let mut session = Session::open(&setup.opening(), Setup::START);
    let mut out = Recorder::new();
    let (mut frames, mut reason) = (Vec::new(), None);
    let mut feed = |bytes: &[u8]| {
        let data = Data { kind: Kind::Stream, bytes, last: true };
        session.handle(Input::Received(data), Setup::START, &mut out);
        loop {
            let outputs = out.take();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match &output {
                    Output::Send(_, bytes) => {
                        frames.push(show_bytes(bytes).replace(SERVER, "server:passerelle/*"));
                    }
                    Output::Command(token, _) if !out.is_closed() => {
                        let reply = Input::Replied(*token, Ok(contract::Reply::Done));
                        session.handle(reply, Setup::START, &mut out);
                    }
                    Output::Close(why, _) => reason = Some(*why),
                    Output::Command(..) => {}
                    Output::Share(..)
                    | Output::Settle(..)
                    | Output::Credit(..)
                    | Output::Login(..) => panic!("{output:?}"),
                }
            }
        }
        frames.len()
    };
    let mut before = 0;
    if !version.is_empty() {
        before = feed(format!("CONNECT\naccept-version:{version}\n\n\0").as_bytes());
    }
    for piece in pieces {
        feed(piece);
    }
    frames.drain(..before);
    (frames, reason)
}

/// The version of the package is not part of the protocol.
const SERVER: &str = concat!("server:passerelle/", env!("CARGO_PKG_VERSION"));

/// The last frame, without the headers that every ERROR has.
fn error(frames: &[String]) -> String {
    let last = frames.last().map(String::as_str).unwrap_or_default();
    let (headers, detail) = last.split_once("||").unwrap_or_default();
    let bytes = parse_bytes(detail).len() - 1;
    let usual = format!("|content-type:text/plain|content-length:{bytes}");
    let headers = headers.strip_suffix(&usual).unwrap_or_default();
    format!("{headers}||{}", detail.strip_suffix("^@").unwrap_or_default())
}
