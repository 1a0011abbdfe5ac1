//! Echo: sends back each message that it receives.
#![forbid(unsafe_code)]

use contract::{Incoming, Input, Notice, Now, Outbox, Reason, STOPPING, Session};
use wire::Fragments;

/// Sends back what it receives.
#[derive(Debug, Default)]
pub struct Echo {
    fragments: Fragments,
}

impl Session for Echo {
    fn handle(&mut self, input: Input<'_>, _: Now, out: &mut dyn Outbox) {
        match input {
            Input::Received(data) => self.fragments.add(data.bytes, data.last, |message| {
                out.send(data.kind, &mut |buffer| buffer.extend_from_slice(message));
            }),
            Input::GivenUp(reason, why) => out.close(reason, why, None),
            Input::Shutdown => out.close(Reason::Shutdown, STOPPING, None),
            Input::Opened
            | Input::Replied(..)
            | Input::Delivered(..)
            | Input::Notice(
                Notice::Cancelled(..)
                | Notice::Displaced
                | Notice::Renewed(_)
                | Notice::Detached
                | Notice::Attached,
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
