use amqp_types::Writer;
use contract::{
    Command, ConnectionLimits, Declare, Destination, DestinationKind, Durable, Ending, Mode,
    Pattern, Settlement, Subscribe,
};

use crate::{
    codes,
    error::{
        AmqpError, DECODE_ERROR, End, FRAME_SIZE_TOO_SMALL, HANDLE_IN_USE, INVALID_FIELD,
        NOT_FOUND, NOT_IMPLEMENTED, RESOURCE_LIMIT_EXCEEDED, RESOURCE_LOCKED, STOLEN,
    },
    link::{Incoming, Link, LinkEnd, LinkId, LinkState, Node, Outgoing},
    open::{Context, HANDLE_MAX, Open, Release, is_receiver},
    outcome::Verdict,
    pending::Request,
    performative::{Attach, Channel, Role},
    terminus::{self, Filter, Target, Terminus},
};

impl Open {
    pub(crate) fn attach(
        &mut self,
        channel: Channel,
        attach: &Attach<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let Some(session) = self.sessions.get(&channel) else { return Ok(()) };
        if attach.handle > HANDLE_MAX {
            let what = format!("handle {}: handle-max is {HANDLE_MAX}", attach.handle);
            return Err(End::out_of_range(what));
        }
        if attach.handle > session.handle_max {
            let max = session.handle_max;
            let what = format!("an attach replies with its own handle: handle-max is {max}");
            return Err(End::session(NOT_IMPLEMENTED, what));
        }
        if let Some(&id) = session.handles.get(&attach.handle) {
            let link = self.links.get(&id);
            if !link.is_some_and(|link| matches!(link.state, LinkState::Closing { .. })) {
                let what = format!("handle {} has a link: detach it first", attach.handle);
                return Err(End::session(HANDLE_IN_USE, what));
            }
            // The peer's detach has freed the handle (part 2, section 2.7.7): it does not wait for
            // the reply, which must come before another link has the handle here too.
            self.detached(id, cx);
        }
        // Those that were refused are here until the peer has detached them too.
        if self.links.len() >= 2 * cx.limits.subscriptions_max {
            let what = "links that the gateway has detached are to be detached by their peer too";
            return Err(End::session(RESOURCE_LIMIT_EXCEEDED, what));
        }
        if attach.name.len() > NAME_BYTES_MAX {
            let what = format!("the name of a link has at most {NAME_BYTES_MAX} bytes");
            return Err(End::session(INVALID_FIELD, what));
        }
        if attach.name.len() + REFUSAL_BYTES > self.frame_bytes_max {
            let what = "a reply with the name of this link is larger than max-frame-size";
            return Err(End::session(FRAME_SIZE_TOO_SMALL, what));
        }
        self.steal(attach, cx);
        let id = LinkId(self.next_link);
        self.next_link = self.next_link.wrapping_add(1);
        let checked = self.check_attach(attach).and_then(|()| self.check_links(cx));
        let result = checked.and_then(|()| match attach.role {
            Role::Sender => self.attach_sender(id, channel, attach, cx),
            Role::Receiver => self.attach_receiver(id, channel, attach, cx),
        });
        if let Err(error) = result {
            self.refuse(id, channel, attach, &error, cx);
        }
        Ok(())
    }

    /// What must hold of each attach. Its source and target are part of the reply, as the peer has said
    /// them.
    fn check_attach(&self, attach: &Attach<'_>) -> Result<(), AmqpError> {
        if attach.snd_settle_mode > 2 || attach.rcv_settle_mode > 1 {
            let what = "snd-settle-mode is 0, 1 or 2, rcv-settle-mode 0 or 1";
            return Err(AmqpError::new(INVALID_FIELD, what));
        }
        let termini = || [attach.source, attach.target].into_iter().flatten();
        let said: usize = termini().map(<[u8]>::len).sum();
        if attach.name.len() + said + REPLY_BYTES > self.frame_bytes_max {
            let what = "a reply with the name, source and target of this link is larger than max-frame-size";
            return Err(AmqpError::new(FRAME_SIZE_TOO_SMALL, what));
        }
        termini().try_for_each(|terminus| {
            amqp_types::check(terminus).map_err(|error| {
                AmqpError::new(DECODE_ERROR, format!("the source or target: {error}"))
            })
        })
    }

    /// A link with the name of another takes its place (part 2, section 2.6.1).
    fn steal(&mut self, attach: &Attach<'_>, cx: &mut Context<'_>) {
        if is_lookup(attach) {
            return;
        }
        let stolen = self.links.iter().find_map(|(id, link)| {
            let is_same = *link.name == *attach.name && link.role() != attach.role;
            (is_attached(link) && is_same).then_some(*id)
        });
        if let Some(id) = stolen {
            let error = AmqpError::new(STOLEN, "another link has the same name");
            self.fail(id, &error, true, cx);
        }
    }

    /// The peer sends.
    fn attach_sender(
        &mut self,
        id: LinkId,
        channel: Channel,
        attach: &Attach<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let target = Target::read(attach.target)?;
        let source = attach.source;
        let mut temporary = None;
        let (node, target_encoded) = match &target {
            None => return Err(AmqpError::new(INVALID_FIELD, "a link to send needs a target")),
            Some(Target::Coordinator(desired)) => {
                let mut encoded = Vec::new();
                terminus::write_coordinator(&mut Writer::new(&mut encoded), *desired);
                (Node::Coordinator, Some(encoded))
            }
            Some(Target::Node(target)) => {
                let (node, address) = if target.is_dynamic {
                    let destination = self.declare(id, target.capabilities.temporary(), cx)?;
                    let address = destination.to_string();
                    temporary = Some(destination.clone());
                    (Node::Destination(destination), Some(address))
                } else if target.address.is_none() {
                    (Node::Anonymous(None), None)
                } else {
                    (Node::Destination(terminus::destination(&target.pattern()?)?), None)
                };
                let mut encoded = Vec::new();
                let mut writer = Writer::new(&mut encoded);
                target.write(&mut writer, address.as_deref(), &Filter::default());
                (node, Some(encoded))
            }
        };
        let is_declared = temporary.is_some();
        let reply = attach_reply(
            attach,
            attach.snd_settle_mode,
            (source, target_encoded.as_deref()),
            cx.limits,
        );
        let mut incoming =
            Incoming::new(node, attach.initial_delivery_count, attach.snd_settle_mode == 1);
        incoming.peer_settles = attach.rcv_settle_mode == 1;
        self.producers += 1;
        let end = LinkEnd::Incoming(incoming);
        self.insert(id, channel, attach, temporary, LinkState::Attaching(reply.into()), end);
        if !is_declared {
            self.attached(id, cx);
        }
        Ok(())
    }

    /// The peer receives.
    fn attach_receiver(
        &mut self,
        id: LinkId,
        channel: Channel,
        attach: &Attach<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let Some(source) = Terminus::source(attach.source)? else {
            return self.look_up(id, channel, attach, cx);
        };
        let filter = source.filter()?;
        let mut temporary = None;
        let pattern = if source.is_dynamic {
            let destination = self.declare(id, source.capabilities.temporary(), cx)?;
            temporary = Some(destination.clone());
            Pattern::from(destination)
        } else if source.address.is_some() {
            source.pattern()?
        } else {
            return Err(AmqpError::new(INVALID_FIELD, "the source has no address"));
        };
        let durable = self.durable(attach, &source, &filter, &pattern, cx)?;
        if let Some(durable) = &durable {
            self.check_alone(durable)?;
        }
        let address = temporary.as_ref().map(Destination::to_string);
        let mut encoded = Vec::new();
        source.write(&mut Writer::new(&mut encoded), address.as_deref(), &filter);
        let is_queue = pattern.kind().is_queue() || durable.is_some();
        let is_browsed = source.is_copy && pattern.kind().is_queue();
        let is_settled = attach.snd_settle_mode == 1 || is_browsed;
        let settles = if is_settled { 1 } else { attach.snd_settle_mode };
        let reply = attach_reply(attach, settles, (Some(&encoded), attach.target), cx.limits);
        let mut subscribe = Subscribe::new(id.subscription(), pattern);
        subscribe.mode = if is_browsed { Mode::Browse } else { Mode::Consume };
        // Of a topic each takes its credit for good, whether it is settled or not.
        let is_automatic = is_queue && is_settled;
        subscribe.settlement =
            if is_automatic { Settlement::Automatic } else { Settlement::Explicit };
        let is_pushed = subscribe.pattern.kind() == DestinationKind::TempTopic;
        subscribe.credit = Some(0);
        subscribe.selector.clone_from(&filter.selector);
        let reads = subscribe.pattern.destination().cloned();
        let outgoing = Outgoing {
            is_queue,
            is_settled,
            is_pushed,
            subscription: durable.as_ref().map(|durable| durable.name.clone()),
            reads: reads.and_then(|destination| self.temporaries.read(&destination)),
            ..Outgoing::new(source.default_outcome.unwrap_or(Verdict::Released))
        };
        subscribe.durable = durable;
        if is_pushed {
            subscribe.settlement = Settlement::Automatic;
            subscribe.credit = None;
        }
        let end = LinkEnd::Outgoing(Box::new(outgoing));
        let kept = reply.len();
        self.insert(id, channel, attach, temporary, LinkState::Attaching(reply.into()), end);
        let token = self.pending.publish(Request::Subscribe(id), kept);
        cx.out.command(token, Command::Subscribe(Box::new(subscribe)));
        Ok(())
    }

    /// What a source says of a subscription that is a queue, by its name.
    fn durable(
        &self,
        attach: &Attach<'_>,
        source: &Terminus<'_>,
        filter: &Filter,
        pattern: &Pattern,
        cx: &mut Context<'_>,
    ) -> Result<Option<Box<Durable>>, AmqpError> {
        if pattern.kind() != DestinationKind::Topic {
            return Ok(None);
        }
        let capabilities = source.capabilities;
        let is_shared = capabilities.is_shared;
        if is_shared && filter.no_local {
            let what = "no-local is not for shared subscriptions";
            return Err(AmqpError::new(INVALID_FIELD, what));
        }
        let name = if source.is_durable || is_shared {
            // Each consumer of a shared one has a link of its own.
            let name = attach.name.split('|').next().unwrap_or_default();
            self.identity.subscription(name, capabilities.is_global, source.is_durable)
        } else if filter.no_local {
            // What leaves out its own is kept as a queue, which ends with the link.
            let name = format!("{:032x}", cx.out.random());
            self.identity.subscription(&name, false, false)
        } else {
            return Ok(None);
        };
        let name = name.map_err(|error| {
            AmqpError::new(INVALID_FIELD, format!("the name of the subscription: {error}"))
        })?;
        // Of a connection that has had the container-id before, the end may not have been heard yet.
        let displaces = self.identity.is_exclusive && !is_shared;
        Ok(Some(Box::new(Durable { name, is_shared, no_local: filter.no_local, displaces })))
    }

    /// A subscription that is not shared has one consumer: the connection's own does not displace it.
    fn check_alone(&self, durable: &Durable) -> Result<(), AmqpError> {
        let is_there = |link: &Link| {
            let outgoing = link.outgoing().filter(|_| is_attached(link));
            outgoing.is_some_and(|one| one.subscription.as_ref() == Some(&durable.name))
        };
        if !durable.is_shared && self.links.values().any(is_there) {
            let what = "the durable subscription has a consumer on this connection already";
            return Err(AmqpError::new(RESOURCE_LOCKED, what));
        }
        Ok(())
    }

    /// A source that is null: the peer looks for a subscription, to delete it.
    fn look_up(
        &mut self,
        id: LinkId,
        channel: Channel,
        attach: &Attach<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        if self.links.values().any(|link| is_attached(link) && *link.name == *attach.name) {
            let what = "the subscription has a consumer on this connection: close it first";
            return Err(AmqpError::new(RESOURCE_LOCKED, what));
        }
        let is_global = attach.desired.symbols().any(|one| one == "global");
        let name = attach.name.split('|').next().unwrap_or_default();
        let name = self
            .identity
            .subscription(name, is_global, true)
            .map_err(|_| AmqpError::new(NOT_FOUND, "there is no such subscription"))?;
        let mut source = Vec::new();
        Writer::new(&mut source).composite(codes::SOURCE, |fields| {
            fields.null();
            fields.u32(2);
            fields.symbol("never");
        });
        let reply =
            attach_reply(attach, attach.snd_settle_mode, (Some(&source), attach.target), cx.limits);
        let state = LinkState::Attaching(reply.into());
        self.insert(id, channel, attach, None, state, LinkEnd::Lookup(name.clone()));
        let token = self.pending.wait(Request::Find(id));
        cx.out.command(token, Command::Find(name));
        Ok(())
    }

    /// Makes a temporary destination for a link.
    fn declare(
        &mut self,
        id: LinkId,
        kind: DestinationKind,
        cx: &mut Context<'_>,
    ) -> Result<Destination, AmqpError> {
        if self.temporaries.len() >= cx.limits.temporary_max {
            let what = format!(
                "a connection may have at most {} temporary destinations (limits.temporary-max): \
                 close one first",
                cx.limits.temporary_max
            );
            return Err(AmqpError::new(RESOURCE_LIMIT_EXCEEDED, what));
        }
        let destination = Destination::temporary(kind, cx.out.random());
        self.temporaries.add(&destination);
        let token = self.pending.wait(Request::Declare(id));
        let declare = Declare { destination: destination.clone() };
        cx.out.command(token, Command::Declare(declare));
        Ok(destination)
    }

    fn insert(
        &mut self,
        id: LinkId,
        channel: Channel,
        attach: &Attach<'_>,
        temporary: Option<Destination>,
        state: LinkState,
        end: LinkEnd,
    ) {
        let (handle, name) = (attach.handle, attach.name.into());
        self.links.insert(id, Link { channel, handle, name, state, temporary, end });
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.handles.insert(handle, id);
        }
    }

    /// All that a link requires is there: tells the peer so.
    pub(crate) fn attached(&mut self, id: LinkId, cx: &mut Context<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let LinkState::Attaching(reply) = &link.state else { return };
        send_attach(link.channel, reply, cx);
        link.state = LinkState::Attached;
        match &link.end {
            LinkEnd::Incoming(_) => self.replenish(id, cx),
            LinkEnd::Outgoing(_) => self.resume(id, cx),
            LinkEnd::Lookup(_) => {}
        }
    }

    /// Refuses a link: an attach without what it was to be attached to, and a detach behind it.
    fn refuse(
        &mut self,
        id: LinkId,
        channel: Channel,
        attach: &Attach<'_>,
        error: &AmqpError,
        cx: &mut Context<'_>,
    ) {
        send_refusal(channel, attach.name, attach.handle, attach.role, cx);
        send_detach(channel, attach.handle, true, Some(error), cx);
        // What it sends meanwhile is of no use, and no error.
        let end = match attach.role {
            Role::Sender => {
                let count = attach.initial_delivery_count;
                LinkEnd::Incoming(Incoming::new(Node::Anonymous(None), count, true))
            }
            Role::Receiver => LinkEnd::Outgoing(Box::new(Outgoing::new(Verdict::Released))),
        };
        self.insert(id, channel, attach, None, LinkState::Detached, end);
    }

    /// Ends a link with an error. `is_subscribed`: the broker has its subscription still.
    pub(crate) fn fail(
        &mut self,
        id: LinkId,
        error: &AmqpError,
        is_subscribed: bool,
        cx: &mut Context<'_>,
    ) {
        let Some(link) = self.links.get(&id) else { return };
        let (channel, handle) = (link.channel, link.handle);
        match &link.state {
            LinkState::Attaching(_) => {
                let role = if is_receiver(link.role()) { Role::Sender } else { Role::Receiver };
                send_refusal(channel, &link.name, handle, role, cx);
            }
            LinkState::Attached => {}
            LinkState::Detached | LinkState::Closing { .. } => return,
        }
        self.release(id, Release { ending: Ending::Suspend, is_subscribed, waits: false }, cx);
        if let Some(link) = self.links.get_mut(&id) {
            link.state = LinkState::Detached;
            if let Some(outgoing) = link.outgoing_mut() {
                outgoing.unsent.clear();
            }
        }
        send_detach(channel, handle, true, Some(error), cx);
    }
}

/// Whether the peer looks for a subscription by its name: it receives from no source.
const fn is_lookup(attach: &Attach<'_>) -> bool {
    matches!(attach.role, Role::Receiver) && attach.source.is_none()
}

const fn is_attached(link: &Link) -> bool {
    matches!(link.state, LinkState::Attaching(_) | LinkState::Attached)
}

/// Writes the attach that replies to one.
fn attach_reply(
    attach: &Attach<'_>,
    snd_settle_mode: u8,
    (source, target): (Option<&[u8]>, Option<&[u8]>),
    limits: &ConnectionLimits,
) -> Vec<u8> {
    let mut reply = Vec::new();
    let is_receiver = attach.role == Role::Sender;
    Writer::new(&mut reply).composite(codes::ATTACH, |fields| {
        fields.string(attach.name);
        fields.u32(attach.handle);
        fields.bool(is_receiver);
        fields.u8(snd_settle_mode);
        fields.u8(attach.rcv_settle_mode);
        fields.encoded(source);
        fields.encoded(target);
        fields.null();
        fields.null();
        if is_receiver {
            fields.null();
            fields.u64(limits.message_bytes_max as u64);
        } else {
            fields.u32(0);
            fields.null();
        }
        let desired: Vec<_> =
            attach.desired.symbols().filter(|one| LINK_CAPABILITIES.contains(one)).collect();
        fields.symbols(&desired);
    });
    reply
}

fn send_attach(channel: Channel, reply: &[u8], cx: &mut Context<'_>) {
    cx.send(channel, |to| to.encoded(Some(reply)));
}

/// An attach that is attached to nothing. `role` is that of the peer.
fn send_refusal(channel: Channel, name: &str, handle: u32, role: Role, cx: &mut Context<'_>) {
    cx.send(channel, |to| {
        to.composite(codes::ATTACH, |fields| {
            fields.string(name);
            fields.u32(handle);
            fields.bool(!is_receiver(role));
            fields.null();
            fields.null();
            fields.null();
            fields.null();
            fields.null();
            fields.null();
            if is_receiver(role) {
                fields.u32(0);
            }
        });
    });
}

pub(crate) fn send_detach(
    channel: Channel,
    handle: u32,
    closed: bool,
    error: Option<&AmqpError>,
    cx: &mut Context<'_>,
) {
    cx.send(channel, |to| {
        to.composite(codes::DETACH, |fields| {
            fields.u32(handle);
            fields.bool(closed);
            match error {
                Some(error) => error.write(fields),
                None => fields.null(),
            }
        });
    });
}

/// Bytes of the name of a link.
const NAME_BYTES_MAX: usize = 1024;
/// Bytes of a frame with an attach that is attached to nothing, beside the name.
const REFUSAL_BYTES: usize = 48;
/// Bytes of a frame with an attach beside what its peer has said, with the address of a node that was made.
const REPLY_BYTES: usize = 200;
/// What links may do, where their peers would have it.
const LINK_CAPABILITIES: [&str; 2] = ["SHARED-SUBS", "DELAYED_DELIVERY"];
