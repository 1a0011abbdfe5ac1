//! The one place that decides whether a session, a request or a task may do what it wants of the
//! broker.

use std::net::SocketAddr;

use auth::{Action, Denial};
use contract::{ConnectionId, Principal, Refusal};
use transports::Slot;

use super::{CoreRef, connection::Context, name, outlet::Tools, service};
use crate::{
    clock,
    excerpt::{DETAIL_CHARS_MAX, excerpt},
};

/// Who wants something, as the log names it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who it is; `None` before it has logged in.
    pub principal: Option<&'a Principal>,
    /// Its address.
    pub peer: SocketAddr,
    /// The index of its service in [`crate::Settings::services`].
    pub service: u16,
    /// What it speaks: one of [`crate::Settings::labels`].
    pub protocol: &'static str,
    /// Its connection, where it has one of the reactor's.
    pub connection: Option<ConnectionId>,
    /// Whether a denial is a line in the log, or is counted only.
    pub is_logged: bool,
}

impl Context {
    /// The peer of a connection.
    pub(super) fn subject(&self, tools: &Tools, slot: Slot) -> Subject<'_> {
        Subject {
            principal: self.principal.as_deref(),
            peer: self.peer,
            service: self.service,
            protocol: tools.counters().name(self.protocol),
            connection: Some(tools.id(slot)),
            is_logged: !self.has_denial,
        }
    }
}

impl CoreRef {
    /// Decides whether a request may do something, before what it costs is spent. What it then does,
    /// as [`CoreRef::publish`], is authorised by itself: the rules or the user may have changed.
    ///
    /// # Errors
    /// When it is not allowed, which was counted and logged.
    pub fn authorise(&self, subject: &Subject<'_>, action: Action<'_>) -> Result<(), Refusal> {
        self.core.borrow_mut().tools.authorise(subject, action)
    }
}

impl Tools {
    /// Decides whether a subject may do something; what is denied is counted and logged here.
    #[expect(clippy::disallowed_methods, reason = "the one place that calls the rules")]
    pub(super) fn authorise(
        &mut self,
        subject: &Subject<'_>,
        action: Action<'_>,
    ) -> Result<(), Refusal> {
        self.access
            .authorise(subject.principal, action)
            .map_err(|denial| self.denied(subject, &denial))
    }

    #[cold]
    fn denied(&mut self, subject: &Subject<'_>, denial: &Denial) -> Refusal {
        self.counters().deny(denial);
        if subject.is_logged
            && let Some(missed) = self.denials.due(clock::now())
        {
            tracing::info!(
                connection = subject.connection.map(|id| tracing::field::display(name(id))),
                peer = %subject.peer,
                service = %service(&self.cores, subject.service).path,
                protocol = subject.protocol,
                principal = subject.principal.map(|principal| &*principal.name),
                action = denial.action,
                destination = &*excerpt(&denial.destination, DETAIL_CHARS_MAX),
                rule = &*denial.rule,
                missed,
                "access denied"
            );
        }
        denial.refusal
    }
}

/// Denials that each core logs in a second.
pub(super) const DENIALS_LOGGED: u32 = 100;
