//! Broadcast: sends what one peer sends to all, itself included.
#![forbid(unsafe_code)]

use std::sync::Arc;

use bytes::Bytes;
use contract::{
    Body, Command, Destination, Incoming, Input, Kind, Lane, Message, Notice, Now, Outbox, Reason,
    STOPPING, Session, Subscribe, SubscriptionId, Token,
};
use wire::Fragments;

/// Publishes what it receives on a topic, and sends what is published there.
#[derive(Debug)]
pub struct Broadcast {
    topic: Destination,
    fragments: Fragments,
    token: u64,
}

impl Broadcast {
    /// A session on the topic that all peers of a service share.
    #[must_use]
    pub fn new(topic: Destination) -> Self {
        Self { topic, fragments: Fragments::default(), token: 0 }
    }

    fn command(&mut self, command: Command, out: &mut dyn Outbox) {
        self.token += 1;
        out.command(Token(self.token), command);
    }
}

impl Session for Broadcast {
    fn handle(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox) {
        match input {
            Input::Opened => {
                let subscribe = Subscribe::new(SubscriptionId(0), self.topic.clone().into());
                self.command(Command::Subscribe(Box::new(subscribe)), out);
            }
            Input::Received(data) => {
                let mut body = None;
                self.fragments.add(data.bytes, data.last, |message| {
                    let bytes = Bytes::copy_from_slice(message);
                    body = Some(match data.kind {
                        Kind::Text => Body::Text(bytes),
                        Kind::Binary | Kind::Stream => Body::Binary(bytes),
                    });
                });
                if let Some(body) = body {
                    let id = out.message_id();
                    let message = Message::new(self.topic.clone(), id, now.unix_ms, body);
                    self.command(Command::Publish(Lane::default(), Arc::new(message)), out);
                }
            }
            Input::Delivered(_, delivery) => {
                let message = &delivery.message;
                let kind = if message.body().is_utf8() { Kind::Text } else { Kind::Binary };
                out.send_shared(kind, message, &[], &mut |buffer| buffer.append_body(message));
            }
            Input::Replied(_, Err(refusal)) | Input::Notice(Notice::Cancelled(_, refusal)) => {
                out.close(Reason::Busy, &refusal.to_string(), None);
            }
            Input::GivenUp(reason, why) => out.close(reason, why, None),
            Input::Shutdown => out.close(Reason::Shutdown, STOPPING, None),
            Input::Replied(_, Ok(_))
            | Input::Notice(
                Notice::Displaced | Notice::Renewed(_) | Notice::Detached | Notice::Attached,
            )
            | Input::Timeout
            | Input::Closed(_) => {}
        }
    }

    fn deadline(&self) -> Option<u64> {
        None
    }

    fn incoming(&self) -> Incoming {
        Incoming { partial: None, bytes: self.fragments.memory() }
    }
}
