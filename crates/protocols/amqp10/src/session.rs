use std::collections::BTreeMap;

use crate::{
    link::LinkId,
    performative::{Begin, Handle},
    unsettled::Unsettled,
};

/// A session of a connection. Its channel has the same number in both directions.
#[derive(Debug)]
pub(crate) struct Session {
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
    pub(crate) fn new(begin: &Begin) -> Self {
        Self {
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
