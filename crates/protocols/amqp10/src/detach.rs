use contract::{Command, Ending};

use crate::{
    attach::send_detach,
    error::{AmqpError, End, UNATTACHED_HANDLE},
    link::{LinkEnd, LinkId, LinkState},
    open::{Context, Open, Release},
    pending::Request,
    performative::{Channel, Detach, Handle},
};

impl Open {
    pub(crate) fn detach(
        &mut self,
        channel: Channel,
        detach: Detach,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let id = self.link_of(channel, detach.handle)?;
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        match &link.state {
            LinkState::Detached => {
                self.forget(id);
                return Ok(());
            }
            LinkState::Closing { .. } => {
                return Err(End::session(UNATTACHED_HANDLE, "a link is detached twice"));
            }
            LinkState::Attaching(_) => self.attached(id, cx),
            LinkState::Attached => {}
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.state = LinkState::Closing { closed: detach.closed };
        let ending = match &mut link.end {
            LinkEnd::Outgoing(outgoing) => {
                outgoing.unsent.clear();
                let is_over = detach.closed && outgoing.subscription.is_some();
                if is_over { Ending::Delete } else { Ending::Suspend }
            }
            LinkEnd::Lookup(name) if detach.closed => {
                let name = name.clone();
                let token = self.pending.wait(Request::Delete(id));
                cx.out.command(token, Command::Delete(name));
                return Ok(());
            }
            LinkEnd::Lookup(_) | LinkEnd::Incoming(_) => Ending::Suspend,
        };
        let release = Release { ending, is_subscribed: true, waits: true };
        if !self.release(id, release, cx) {
            self.detached(id, cx);
        }
        Ok(())
    }

    /// The broker has ended what it did for a link: replies to the peer's detach.
    pub(crate) fn detached(&mut self, id: LinkId, cx: &mut Context<'_>) {
        self.detached_with(id, None, cx);
    }

    pub(crate) fn detached_with(
        &mut self,
        id: LinkId,
        error: Option<&AmqpError>,
        cx: &mut Context<'_>,
    ) {
        let Some(link) = self.links.get(&id) else { return };
        if let LinkState::Closing { closed } = link.state {
            send_detach(link.channel, link.handle, closed, error, cx);
            self.forget(id);
        }
    }

    fn forget(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id)
            && let Some(session) = self.sessions.get_mut(&link.channel)
        {
            session.handles.remove(&link.handle);
        }
    }

    pub(crate) fn link_of(&self, channel: Channel, handle: Handle) -> Result<LinkId, End> {
        let session = self.sessions.get(&channel);
        session.and_then(|session| session.handles.get(&handle).copied()).ok_or_else(|| {
            End::session(UNATTACHED_HANDLE, format!("handle {handle} has no link: attach first"))
        })
    }
}
