use std::fmt::Write as _;

use contract::{
    BodyView, Command, ConflationKey, Content, Contest, Credit, Durable, Ending, Header, Kind,
    Lane, Login, Message, Mode, Operation, Secret, Settle, Settlement, SlowPolicy, SubscriptionId,
    Value,
};

use crate::Output;

/// Bytes as a conversation writes them: `|` is a line feed, `^@` a NUL; `\|`, `\^` and `\\` are
/// those characters, `\r` a carriage return and `\x41` any byte.
#[must_use]
pub fn show_bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\n' => shown.push('|'),
                '\0' => shown.push_str("^@"),
                '\r' => shown.push_str("\\r"),
                '|' | '^' | '\\' => shown.extend(['\\', char]),
                char if char.is_ascii_control() => {
                    put(&mut shown, format_args!("\\x{:02x}", char as u32));
                }
                char => shown.push(char),
            }
        }
        for byte in chunk.invalid() {
            put(&mut shown, format_args!("\\x{byte:02x}"));
        }
    }
    shown
}

/// The bytes that [`show_bytes`] shows so.
///
/// # Panics
/// When an escape is not one of those.
#[must_use]
pub fn parse_bytes(shown: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(shown.len());
    let mut chars = shown.chars();
    while let Some(char) = chars.next() {
        match char {
            '|' => bytes.push(b'\n'),
            '^' => {
                assert_eq!(chars.next(), Some('@'), "^ stands only in ^@: write \\^");
                bytes.push(0);
            }
            '\\' => match chars.next() {
                Some('r') => bytes.push(b'\r'),
                Some('x') => {
                    let (digits, rest) = chars.as_str().split_at(2);
                    bytes.push(u8::from_str_radix(digits, 16).expect("two hex digits after \\x"));
                    chars = rest.chars();
                }
                Some(char @ ('|' | '^' | '\\')) => bytes.push(char as u8),
                other => panic!("no such escape: \\{other:?}"),
            },
            char => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// An output as a line of a conversation.
pub(crate) fn output(output: &Output, kind: Kind) -> String {
    match output {
        Output::Send(sent, bytes) => bytes_line("send", *sent, kind, bytes),
        Output::Share(sent, bytes) => bytes_line("share", *sent, kind, bytes),
        Output::Command(token, what) => format!("command {} {}", token.0, command(what)),
        Output::Settle(settled, None) => settle(settled),
        Output::Settle(settled, Some(token)) => format!("command {} {}", token.0, settle(settled)),
        Output::Credit(SubscriptionId(id), Credit::Add(count)) => format!("credit {id} {count}"),
        Output::Credit(SubscriptionId(id), Credit::Set(count)) => format!("credit {id} ={count}"),
        Output::Login(token, Login::Anonymous) => format!("login {} anonymous", token.0),
        Output::Login(token, Login::Password(credentials)) => {
            format!("login {} {} {:?}", token.0, credentials.name, credentials.password.expose())
        }
        Output::Login(token, Login::Sasl { mechanism, initial }) => {
            let initial = initial.as_ref().map_or_else(|| "none".to_owned(), secret);
            format!("login {} sasl {mechanism} {initial}", token.0)
        }
        Output::Login(token, Login::Response(response)) => {
            format!("login {} response {}", token.0, secret(response))
        }
        Output::Close(reason, message) if message.is_empty() => format!("close {reason:?}"),
        Output::Close(reason, message) => format!("close {reason:?} {message}"),
    }
}

fn secret(secret: &Secret<[u8]>) -> String {
    format!("{:?}", String::from_utf8_lossy(secret.expose()))
}

fn bytes_line(verb: &str, sent: Kind, usual: Kind, bytes: &[u8]) -> String {
    if sent == usual {
        format!("{verb} {}", show_bytes(bytes))
    } else {
        format!("{verb} ({sent:?}) {}", show_bytes(bytes))
    }
}

fn durable(durable: &Durable) -> String {
    let Durable { name, is_shared, no_local, displaces } = durable;
    let words = [(is_shared, " shared"), (no_local, " no-local"), (displaces, " displaces")];
    let said: String = words.iter().filter(|(is, _)| **is).map(|(_, word)| *word).collect();
    format!(" durable={name}{said}")
}

fn command(command: &Command) -> String {
    match command {
        Command::Subscribe(subscribe) => {
            let settlement = match subscribe.settlement {
                Settlement::Automatic => "automatic",
                Settlement::Explicit => "explicit",
            };
            let (SubscriptionId(id), pattern) = (subscribe.id, &subscribe.pattern);
            let what = match subscribe.mode {
                Mode::Consume => format!("subscribe {id} {pattern} {settlement}"),
                Mode::Browse => format!("browse {id} {pattern}"),
            };
            let credit = subscribe.credit.map(|credit| format!(" credit={credit}"));
            let on_slow = match &subscribe.on_slow {
                SlowPolicy::Close => String::new(),
                SlowPolicy::DropOldest => " drop-oldest".to_owned(),
                SlowPolicy::Latest(ConflationKey::Destination) => " latest".to_owned(),
                SlowPolicy::Latest(ConflationKey::Property(name)) => format!(" latest by {name:?}"),
            };
            let rate = subscribe.rate.map(|rate| format!(" rate={rate}"));
            let durable = subscribe.durable.as_deref().map(durable).unwrap_or_default();
            let (credit, rate) = (credit.unwrap_or_default(), rate.unwrap_or_default());
            format!("{what}{credit}{on_slow}{rate}{durable}")
        }
        Command::Unsubscribe(SubscriptionId(id), Ending::Suspend) => format!("unsubscribe {id}"),
        Command::Unsubscribe(SubscriptionId(id), Ending::Delete) => {
            format!("unsubscribe {id} delete")
        }
        Command::Claim(client, contest) => {
            let displaces = if *contest == Contest::Displace { " displaces" } else { "" };
            format!("claim {}{displaces}", client.as_levels())
        }
        Command::Delete(name) => format!("delete {name}"),
        Command::Find(name) => format!("find {name}"),
        Command::Undeclare(destination) => format!("undeclare {destination}"),
        Command::Drain(SubscriptionId(id)) => format!("drain {id}"),
        Command::Publish(Lane(0) | Lane::CONNECTION, published) => publish(published),
        Command::Publish(Lane(lane), published) => {
            format!("in lane {lane}: {}", publish(published))
        }
        Command::Declare(declare) => format!("declare {}", declare.destination),
        Command::Transact(lane, operations) => {
            let shown: Vec<_> = operations
                .iter()
                .map(|operation| match operation {
                    Operation::Publish(message) => publish(message),
                    Operation::Settle(settled) => settle(settled),
                })
                .collect();
            let lane = match lane {
                Lane(0) | &Lane::CONNECTION => String::new(),
                Lane(lane) => format!("in lane {lane} "),
            };
            format!("transact {lane}[{}]", shown.join("; "))
        }
    }
}

fn settle(settle: &Settle) -> String {
    let Settle { subscription: SubscriptionId(id), tags, outcome } = settle;
    let (first, last) = (tags.start().0, tags.end().0);
    let range = if first == last { String::new() } else { format!("-{last}") };
    format!("settle {id} {first}{range} {outcome:?}")
}

fn publish(message: &Message) -> String {
    let mut shown = format!("publish {}", message.to);
    match message.header.durable {
        Some(true) => shown.push_str(" durable"),
        Some(false) => shown.push_str(" not-durable"),
        None => {}
    }
    if message.header.delay_ms > 0 {
        put(&mut shown, format_args!(" delay={}", message.header.delay_ms));
    }
    if message.header.priority != Header::PRIORITY_DEFAULT {
        put(&mut shown, format_args!(" priority={}", message.header.priority));
    }
    if let Some(expires) = message.header.expires_unix_ms {
        put(&mut shown, format_args!(" expires={expires}"));
    }
    if let Some(sender) = &message.sender {
        put(&mut shown, format_args!(" sender={}", sender.name()));
    }
    let Content::Parts(parts) = &message.content else {
        return format!("{shown} {:?}", message.content);
    };
    if let Some(reply_to) = &parts.reply_to {
        put(&mut shown, format_args!(" reply-to={reply_to}"));
    }
    if let Some(content_type) = &parts.content_type {
        put(&mut shown, format_args!(" content-type={content_type}"));
    }
    if let Some(correlation) = &parts.correlation {
        put(&mut shown, format_args!(" correlation-id={correlation}"));
    }
    for (name, value) in parts.properties.iter() {
        let name = show_bytes(name.as_bytes());
        let value = if let Value::String(text) = value {
            show_bytes(text.as_bytes())
        } else {
            format!("{value:?}")
        };
        put(&mut shown, format_args!(" x:{name}={value}"));
    }
    match message.body() {
        BodyView::Text(_) => shown.push_str(" text"),
        BodyView::Utf8(_) => {}
        BodyView::Binary(_) | BodyView::Amqp(_) => shown.push_str(" binary"),
    }
    put(&mut shown, format_args!(" : {}", show_bytes(message.body().bytes())));
    shown
}

fn put(to: &mut String, arguments: std::fmt::Arguments<'_>) {
    to.write_fmt(arguments).expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_and_read_again() {
        let all: Vec<u8> = (0..=255).chain("é^|\\".bytes()).collect();
        assert_eq!(parse_bytes(&show_bytes(&all)), all);
        assert_eq!(show_bytes(b"A\nb:c\r\n\n\0\x01"), "A|b:c\\r||^@\\x01");
    }
}
