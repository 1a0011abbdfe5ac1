use std::{str::SplitWhitespace, sync::Arc, time::Duration};

use bytes::Bytes;
use contract::{
    Body, Content, Data, Delivery, Destination, Input, Kind, Message, Notice, Now, Opening, Parts,
    Principal, Reason, Refusal, Reply, SaslError, Sender, Session, Step, SubscriptionId, Tag,
    Token,
};

use crate::{Recorder, Setup, parse_bytes, show};

/// Plays a conversation: feeds the lines that begin with `>` to a new session, and compares what
/// comes of it with the lines that begin with `<`. Empty lines, and those that begin with `#`,
/// are passed over.
///
/// ```text
/// > recv SEND|destination:/queue/a||hello^@      bytes, see show_bytes
/// > recv-binary SEND|...                         in a binary message of a WebSocket
/// > reply 1 done                                 or: drained, refused Forbidden, login ann (and what
///                                                is said with success), challenge bytes
/// > deliver 0 /topic/a tag=7 redeliveries=1 id=5 priority=9 expires=1 reply-to=/queue/b
///     content-type=text/plain correlation-id=c durable binary x:name=value : hello
/// > notice cancelled 0 Forbidden                 or: displaced, renewed ann, detached, attached
/// > wait 1500 ms                                 a Timeout comes whenever the deadline is reached
/// > backlog 100000
/// > given-up the login has expired
/// > shutdown
/// > closed Lost
/// < send CONNECTED|version:1.2||^@               `share` for a shared encoding; a kind that is
///                                                not the usual one as in: send (Binary) …
/// < login 0 anonymous                            or: login 0 ann "password",
///                                                login 0 sasl SCRAM-SHA-256 "n,,n=ann,r=x",
///                                                login 1 response "c=biws,r=x"
/// < command 1 subscribe 0 /topic/a automatic
/// < settle 0 7 Accepted                          or: 5-7; with a reply: command 3 settle 0 7 Accepted
/// < credit 0 1                                   or, where it is set: =1
/// < close Normal
/// ```
///
/// # Panics
/// On a difference, with the whole conversation as it really went.
pub fn conversation<S: Session>(
    setup: &Setup,
    open: impl FnOnce(&Opening<'_>, Now) -> S,
    script: &str,
) {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected: Vec<_> = lines.filter(|line| !line.starts_with('#')).collect();
    let mut play = Play {
        session: open(&setup.opening(), Setup::START),
        setup,
        now: Setup::START,
        out: Recorder::new(),
        actual: Vec::new(),
        delivered: 0,
    };
    for line in &expected {
        if let Some(step) = line.strip_prefix('>') {
            play.actual.push((*line).to_owned());
            play.step(step.trim());
        } else {
            assert!(line.starts_with('<'), "a line begins with > or <: {line}");
        }
    }
    if play.actual != expected {
        let differs = play.actual.iter().zip(&expected).position(|(is, should)| is != should);
        let at = differs.unwrap_or_else(|| play.actual.len().min(expected.len()));
        panic!(
            "\nthe conversation went differently from line {} on:\n  expected: {}\n  actual:   \
             {}\n\nthe whole of it:\n{}\n",
            at + 1,
            expected.get(at).unwrap_or(&"(nothing)"),
            play.actual.get(at).map_or("(nothing)", |line| line),
            play.actual.iter().map(|line| format!("        {line}\n")).collect::<String>()
        );
    }
}

struct Play<'a, S> {
    session: S,
    setup: &'a Setup,
    now: Now,
    out: Recorder,
    actual: Vec<String>,
    delivered: u128,
}

impl<S: Session> Play<'_, S> {
    fn step(&mut self, step: &str) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        let mut words = rest.split_whitespace();
        match verb {
            "recv" => {
                let bytes = parse_bytes(rest);
                let data = Data { kind: self.setup.kind, bytes: &bytes, last: true };
                self.feed(Input::Received(data));
            }
            "recv-binary" => {
                let bytes = parse_bytes(rest);
                let data = Data { kind: Kind::Binary, bytes: &bytes, last: true };
                self.feed(Input::Received(data));
            }
            "reply" => {
                let token = Token(number(words.next()));
                let reply = match words.next() {
                    Some("done") => Ok(Reply::Done),
                    Some("drained") => Ok(Reply::Drained),
                    Some("login") => {
                        let name = words.next().expect("a name");
                        let message = words.next().map(parse_bytes).unwrap_or_default();
                        let accepted = Step::Accepted(Principal::new(name, []), message);
                        Ok(Reply::Login(Box::new(accepted)))
                    }
                    Some("challenge") => {
                        let challenge = words.next().map(parse_bytes).unwrap_or_default();
                        Ok(Reply::Login(Box::new(Step::Challenge(challenge))))
                    }
                    Some("refused") => Err(refusal(words.next())),
                    other => panic!("done, drained, login, challenge or refused, not {other:?}"),
                };
                self.feed(Input::Replied(token, reply));
            }
            "deliver" => {
                let (head, body) = rest.split_once(" : ").expect("a body after ' : '");
                let (id, delivery) = self.delivery(head, parse_bytes(body));
                self.feed(Input::Delivered(id, &delivery));
            }
            "notice" => {
                let notice = match words.next() {
                    Some("cancelled") => {
                        let id = SubscriptionId(number(words.next()));
                        Notice::Cancelled(id, refusal(words.next()))
                    }
                    Some("renewed") => {
                        Notice::Renewed(Arc::new(Principal::new(words.next().expect("a name"), [])))
                    }
                    Some("displaced") => Notice::Displaced,
                    Some("detached") => Notice::Detached,
                    Some("attached") => Notice::Attached,
                    other => {
                        panic!("cancelled, displaced, renewed, detached or attached, not {other:?}")
                    }
                };
                self.feed(Input::Notice(notice));
            }
            "wait" => {
                assert_eq!(words.clone().nth(1), Some("ms"), "wait in ms");
                self.wait(Duration::from_millis(number(words.next())));
            }
            "backlog" => self.out.set_backlog(number(words.next())),
            "opened" => self.feed(Input::Opened),
            "given-up" => self.feed(Input::GivenUp(Reason::Unauthenticated, rest)),
            "shutdown" => self.feed(Input::Shutdown),
            "closed" => self.feed(Input::Closed(Reason::Lost)),
            _ => panic!("no such step: {step}"),
        }
        if self.out.is_closed() {
            assert_eq!(self.session.deadline(), None, "a deadline after the close");
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now, &mut self.out);
        self.out.end_turn();
        for output in self.out.take() {
            let line = format!("< {}", show::output(&output, self.setup.kind));
            self.actual.push(line.trim_end().to_owned());
        }
    }

    /// Lets time go by, waking the session when it wants to be woken.
    fn wait(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= until) {
            self.go_to(deadline.max(self.now.mono_ns));
            self.feed(Input::Timeout);
            let next = self.session.deadline();
            assert_ne!(next, Some(deadline), "the deadline did not move on");
        }
        self.go_to(until);
    }

    const fn go_to(&mut self, mono_ns: u64) {
        self.now.mono_ns = mono_ns;
        self.now.unix_ms = Setup::START.unix_ms + mono_ns / 1_000_000;
    }

    fn delivery(&mut self, head: &str, body: Vec<u8>) -> (SubscriptionId, Delivery) {
        let mut words = head.split_whitespace();
        let id = SubscriptionId(number(words.next()));
        let destination = destination(words.next());
        self.delivered += 1;
        let parts = Parts::new(Body::Text(body.into()));
        let mut message = Message::new(destination, self.delivered, self.now.unix_ms, parts);
        let (tag, redeliveries, dropped) = options(&mut message, words);
        (id, Delivery { message: Arc::new(message), tag, redeliveries, dropped })
    }
}

fn options(message: &mut Message, words: SplitWhitespace<'_>) -> (Option<Tag>, u32, u32) {
    let (mut tag, mut redeliveries, mut dropped) = (None, 0, 0);
    let Content::Parts(parts) = &mut message.content else { panic!("a message of parts") };
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let some = Some(value);
        match name {
            "tag" => tag = Some(Tag(number(some))),
            "redeliveries" => redeliveries = number(some),
            "dropped" => dropped = number(some),
            "id" => message.id = number(some),
            "priority" => message.header.priority = number(some),
            "expires" => message.header.expires_unix_ms = Some(number(some)),
            "reply-to" => parts.reply_to = Some(destination(some)),
            "content-type" => parts.content_type = Some(value.into()),
            "correlation-id" => parts.correlation = Some(value.into()),
            "durable" => message.header.durable = Some(true),
            "sender" => message.sender = Some(Sender::new(value)),
            "binary" => {
                parts.body = Body::Binary(Bytes::clone(parts.body.bytes()));
            }
            name => {
                let name = name.strip_prefix("x:").expect("a property as x:name=value");
                let text = |shown| String::from_utf8(parse_bytes(shown)).expect("UTF-8");
                parts.properties.push(&text(name), text(value).as_str());
            }
        }
    }
    (tag, redeliveries, dropped)
}

fn number<T: std::str::FromStr>(word: Option<&str>) -> T {
    let word = word.expect("a number");
    word.parse().unwrap_or_else(|_| panic!("a number, not {word:?}"))
}

fn destination(word: Option<&str>) -> Destination {
    Destination::parse(word.expect("a destination")).expect("a good destination")
}

fn refusal(word: Option<&str>) -> Refusal {
    let all = [
        Refusal::Unauthenticated,
        Refusal::Expired,
        Refusal::Sasl(SaslError::ChannelBinding),
        Refusal::Forbidden,
        Refusal::DeadLetterQueue,
        Refusal::Full,
        Refusal::Busy,
        Refusal::Limit,
        Refusal::Queues,
        Refusal::StoreFull,
        Refusal::NoStore,
        Refusal::QueueMemory,
        Refusal::PrincipalMemory,
        Refusal::PrincipalQueues,
        Refusal::ClientIdInUse,
        Refusal::DurableInUse,
        Refusal::DurableShared,
        Refusal::Displaced,
        Refusal::DuplicateId,
        Refusal::TooDeep,
        Refusal::PatternBytes,
        Refusal::NotFound,
        Refusal::Slow,
        Refusal::SlowCore,
        Refusal::Stale,
    ];
    let found = all.into_iter().find(|refusal| Some(format!("{refusal:?}").as_str()) == word);
    found.unwrap_or_else(|| panic!("a refusal, not {word:?}"))
}
