use crate::{Data, Kind, Now, Reason};

/// The protocol logic of a connection with two ends, as a pure state machine: a [`crate::Session`]
/// that stands between a client and a server which already exists.
///
/// What reads for it reads from one end only while little of what the other was sent is unsent: a
/// relay needs no bound for what it passes on, but bounds what it keeps. It is first called when
/// both ends are connected.
pub trait Relay: Send {
    /// Advances the relay by one input. `now` never goes back between calls.
    ///
    /// After it has called [`RelayOutbox::close`], or was told [`RelayInput::Closed`], it is dropped.
    fn handle(&mut self, input: RelayInput<'_>, now: Now, out: &mut dyn RelayOutbox);

    /// As [`crate::Session::deadline`].
    fn deadline(&self) -> Option<u64> {
        None
    }
}

/// One of the two ends of a relay.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// Who connected to the gateway.
    Client,
    /// The server that the gateway connected to.
    Upstream,
}

/// What happens to a relay.
#[derive(Clone, Copy, Debug)]
pub enum RelayInput<'a> {
    /// Both ends are connected; comes first, once.
    Opened,
    /// An end sent something.
    Received(End, Data<'a>),
    /// The [`Relay::deadline`] has passed.
    Timeout,
    /// The gateway is stopping: send a normal close.
    Shutdown,
    /// An end has gone, or was closed by its transport. What is sent to the other now still leaves
    /// before that is closed, too; [`RelayOutbox::close`] says why, if the transport does not know.
    Closed(End, Reason),
}

/// Where a relay says what it wants done. Nothing follows [`RelayOutbox::close`].
pub trait RelayOutbox {
    /// Sends a piece of a message that `encode` appends to the buffer it is given; it must only
    /// append. `last` ends the message; all pieces of it have its `kind`. To an end that is a stream
    /// only the bytes are sent.
    fn send(&mut self, to: End, kind: Kind, last: bool, encode: &mut dyn FnMut(&mut Vec<u8>));

    /// Ends both connections, once what was sent before has left. `reason` and `message` are for the
    /// client, as in [`crate::Outbox::close`]; an upstream is told no more than that its peer ends.
    fn close(&mut self, reason: Reason, message: &str);
}
