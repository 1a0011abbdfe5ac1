use std::collections::BTreeMap;

use crate::{
    link::LinkId,
    performative::{Begin, Channel, Handle},
    unsettled::Unsettled,
};

/// Names a session as no other of its connection is named: another may have its channel later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SessionId {
    pub(crate) channel: Channel,
    number: u32,
}

/// A session of a connection. Its channel has the same number in both directions.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) next_incoming_id: u32,
    /// Transfers that the peer may still send.
    pub(crate) incoming_window: u32,
    pub(crate) next_outgoing_id: u32,
    /// Transfers that the peer takes.
    pub(crate) remote_window: u32,
    pub(crate) next_delivery_id: u32,
    /// The highest handle that the peer has room for.
    pub(crate) handle_max: u32,
    pub(crate) handles: BTreeMap<Handle, LinkId>,
    pub(crate) unsettled: Unsettled,
    /// Something waits for the window to open.
    pub(crate) is_blocked: bool,
    /// The gateway has ended it, and the peer has not.
    pub(crate) is_ended: bool,
}

impl Session {
    /// The session that is begun on this channel, the `number`th of its connection.
    pub(crate) fn new(begin: &Begin, channel: Channel, number: u32) -> Self {
        Self {
            id: SessionId { channel, number },
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: WINDOW,
            next_outgoing_id: 0,
            remote_window: begin.incoming_window,
            next_delivery_id: 0,
            handle_max: begin.handle_max,
            handles: BTreeMap::new(),
            unsettled: Unsettled::default(),
            is_blocked: false,
            is_ended: false,
        }
    }
}

/// Transfers that a session may send before it is told that they have come.
pub(crate) const WINDOW: u32 = 2048;
