//! Watches a connection from outside, frame by frame in both directions, for what the standard demands of who
//! sends: that sessions and links are used between their begin and end, that no more is sent than there is
//! window and credit for, and no frame that is larger than its peer takes.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use amqp_types::{Descriptor, Fields, Value, read, skip};
use amqp10::Connection;
use contract::{
    Command, Credit, Data, Incoming, Input, Kind, Login, Message, Now, Opening, Outbox, Reason,
    SendBuffer, Session, Settle, SubscriptionId, Token,
};
use wire::Reader;

/// A connection that is watched.
pub struct Monitored {
    connection: Connection,
    /// What has come of a header or frame.
    partial: Vec<u8>,
    monitor: Monitor,
}

impl Monitored {
    /// As [`Connection::open`].
    pub fn open(opening: &Opening<'_>, now: Now) -> Self {
        let connection = Connection::open(opening, now);
        Self { connection, partial: Vec::new(), monitor: Monitor::default() }
    }

    fn advance(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox) {
        self.connection.handle(input, now, &mut Tee { out, monitor: &mut self.monitor });
        self.monitor.is_catching_up = false;
    }

    /// Bytes that complete the header or frame that has begun; all, if they do not.
    fn next_piece<'b>(&mut self, bytes: &mut &'b [u8]) -> &'b [u8] {
        let before = self.partial.len();
        let missing = |len: usize| len.saturating_sub(before).min(bytes.len());
        let (head, _) = bytes.split_at(missing(8));
        self.partial.extend_from_slice(head);
        let size = self.partial.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
        let size = if self.partial.starts_with(b"AMQP") { 8 } else { size.max(8) };
        let (piece, rest) = bytes.split_at(missing(size).max(head.len()));
        self.partial.extend_from_slice(piece.get(head.len()..).unwrap_or_default());
        if self.partial.len() >= size.max(8) {
            let frame = mem::take(&mut self.partial);
            self.monitor.came(frame);
        }
        *bytes = rest;
        piece
    }
}

impl Session for Monitored {
    fn handle(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox) {
        let Input::Received(data) = input else { return self.advance(input, now, out) };
        // The connection and the monitor take each frame before the next.
        let mut bytes = data.bytes;
        while !bytes.is_empty() && !self.monitor.is_over {
            let piece = self.next_piece(&mut bytes);
            self.advance(Input::Received(Data { bytes: piece, ..data }), now, out);
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.connection.deadline()
    }

    fn incoming(&self) -> Incoming {
        self.connection.incoming()
    }

    fn in_flight_bytes(&self) -> usize {
        self.connection.in_flight_bytes()
    }
}

#[derive(Default)]
struct Monitor {
    is_open: bool,
    is_over: bool,
    /// What came before the gateway has opened the connection.
    waiting: Vec<Vec<u8>>,
    /// That is worked on now, all at once.
    is_catching_up: bool,
    /// What of that has ended, and whether anew, is not known.
    is_blind: bool,
    frame_bytes_max: usize,
    channels: BTreeMap<u16, Channel>,
}

#[derive(Default)]
struct Channel {
    has_begun: bool,
    peer_has_ended: bool,
    has_ended: bool,
    /// Transfers that the peer takes.
    window: u32,
    next_transfer: u32,
    next_delivery: u32,
    /// By handle, one after the other.
    links: BTreeMap<u32, VecDeque<Link>>,
}

#[derive(Default)]
struct Link {
    peer_receives: bool,
    is_attached: bool,
    is_detached: bool,
    peer_has_detached: bool,
    credit: u32,
    count: u32,
    is_midway: bool,
}

fn left(allowed: u32, theirs: u32, ours: u32) -> u32 {
    let in_flight = ours.wrapping_sub(theirs).cast_signed();
    let left = i64::from(allowed) - i64::from(in_flight);
    u32::try_from(left.max(0)).unwrap_or(u32::MAX)
}

impl Monitor {
    /// The peer has sent a frame.
    fn came(&mut self, frame: Vec<u8>) {
        if !self.is_open {
            self.waiting.push(frame);
        } else if self.peer(&frame).is_none() {
            // It is malformed, which is the connection's affair.
        }
    }

    fn peer(&mut self, frame: &[u8]) -> Option<()> {
        let (number, code, mut fields) = performative(frame)?;
        if code == 0x10 {
            fields.skip(2).ok()?;
            self.frame_bytes_max = fields.u32().ok()?.unwrap_or(u32::MAX) as usize;
            return Some(());
        }
        if code == 0x11 {
            fields.skip(2).ok()?;
            let window = fields.u32().ok()??;
            let new = Channel { window, ..Channel::default() };
            self.channels.entry(number).or_insert(new);
            return Some(());
        }
        let channel = self.channels.get_mut(&number)?;
        match code {
            0x12 => {
                fields.skip(1).ok()?;
                let (handle, receives) = (fields.u32().ok()??, fields.bool().ok()??);
                let new = Link { peer_receives: receives, ..Link::default() };
                channel.links.entry(handle).or_default().push_back(new);
            }
            0x13 => {
                let (next, window) = (fields.u32().ok()?.unwrap_or(0), fields.u32().ok()??);
                fields.skip(2).ok()?;
                channel.window = left(window, next, channel.next_transfer);
                let handle = fields.u32().ok()??;
                let (count, credit) = (fields.u32().ok()?.unwrap_or(0), fields.u32().ok()??);
                let link = channel.links.get_mut(&handle)?.back_mut()?;
                link.credit = left(credit, count, link.count);
            }
            0x16 => {
                let handle = fields.u32().ok()??;
                channel.links.get_mut(&handle)?.back_mut()?.peer_has_detached = true;
                channel.tidy();
            }
            0x17 => {
                channel.peer_has_ended = true;
                if channel.has_ended {
                    self.channels.remove(&number);
                }
            }
            _ => {}
        }
        Some(())
    }

    /// The gateway sends a frame, or a header.
    fn sent(&mut self, bytes: &[u8]) {
        assert!(!self.is_over, "something behind the close");
        let Some((number, code, mut fields)) = performative(bytes) else { return };
        match code {
            0x10 => {
                self.is_open = true;
                self.is_catching_up = true;
                for frame in mem::take(&mut self.waiting) {
                    self.is_blind |= performative(&frame).is_some_and(|(_, code, _)| code > 0x15);
                    self.peer(&frame);
                }
                return;
            }
            0x18 => {
                self.is_over = true;
                return;
            }
            0x11..=0x17 => {}
            _ => return,
        }
        let len = bytes.len();
        assert!(len <= self.frame_bytes_max, "a frame of {len} bytes, of {}", self.frame_bytes_max);
        if self.is_blind {
            return;
        }
        let channel = self.channels.get_mut(&number).expect("a channel that the peer has begun");
        assert!(!channel.has_ended, "0x{code:02x} behind the end of channel {number}");
        if code == 0x11 {
            assert!(!mem::replace(&mut channel.has_begun, true), "a second begin of {number}");
            return;
        }
        assert!(channel.has_begun, "0x{code:02x} before the begin of {number}");
        if self.is_catching_up {
            // How far each of the peer's frames has been worked on is not known.
            channel.follow(code, fields);
            return;
        }
        match code {
            0x17 => {
                channel.has_ended = true;
                if channel.peer_has_ended {
                    self.channels.remove(&number);
                }
            }
            0x15 => {}
            0x13 => {
                fields.skip(4).expect("the fields of a session");
                let handle = fields.u32().expect("a handle");
                let (count, credit) =
                    (fields.u32().expect("a count"), fields.u32().expect("credit"));
                fields.skip(2).expect("available and drain");
                assert_ne!(fields.bool(), Ok(Some(true)), "an echo");
                let Some(handle) = handle else { return };
                let link = channel.link(handle);
                assert!(link.is_attached && !link.is_detached, "a flow of {handle}, not attached");
                if link.peer_receives {
                    link.count = count.expect("a count");
                    link.credit = credit.expect("credit");
                }
            }
            0x12 => {
                fields.skip(1).expect("a name");
                let handle = fields.u32().expect("a number").expect("a handle");
                let link = channel.link(handle);
                assert!(!mem::replace(&mut link.is_attached, true), "{handle} is attached twice");
            }
            0x16 => {
                let handle = fields.u32().expect("a number").expect("a handle");
                let link = channel.link(handle);
                assert!(link.is_attached, "a detach before the attach of {handle}");
                assert!(!mem::replace(&mut link.is_detached, true), "{handle} is detached twice");
                channel.tidy();
            }
            _ => channel.transferred(fields),
        }
    }
}

impl Channel {
    /// The one that the gateway uses.
    fn link(&mut self, handle: u32) -> &mut Link {
        let links = self.links.get_mut(&handle);
        links.and_then(|links| links.front_mut()).expect("a link that the peer has attached")
    }

    fn transferred(&mut self, mut fields: Fields<'_>) {
        let handle = fields.u32().expect("a number").expect("a handle");
        let delivery = fields.u32().expect("an id");
        fields.skip(3).expect("the tag, the format, and whether it is settled");
        let more = fields.bool().expect("whether there is more").unwrap_or(false);
        let window = self.window.checked_sub(1);
        self.window = window.expect("a transfer where the window is closed");
        self.next_transfer = self.next_transfer.wrapping_add(1);
        let next = self.next_delivery;
        let link = self.link(handle);
        assert!(link.is_attached && !link.is_detached, "a transfer where nothing is attached");
        assert!(link.peer_receives, "a transfer on a link on which the peer sends");
        assert_eq!(link.is_midway, delivery.is_none(), "a delivery begins with its id");
        if let Some(delivery) = delivery {
            assert_eq!(delivery, next, "ids follow each other");
            assert!(link.credit > 0, "a delivery without credit");
        }
        link.is_midway = more;
        if !more {
            link.credit = link.credit.saturating_sub(1);
            link.count = link.count.wrapping_add(1);
        }
        self.next_delivery = next.wrapping_add(u32::from(delivery.is_some()));
    }

    /// Forgets what both ends have detached.
    fn tidy(&mut self) {
        self.links.retain(|_, links| {
            while links.pop_front_if(|one| one.is_detached && one.peer_has_detached).is_some() {}
            !links.is_empty()
        });
    }

    /// Takes note of what the gateway has sent, without a look at whether it may.
    fn follow(&mut self, code: u8, mut fields: Fields<'_>) -> Option<()> {
        match code {
            0x17 => self.has_ended = true,
            0x12 => {
                fields.skip(1).ok()?;
                let handle = fields.u32().ok()??;
                let links = self.links.get_mut(&handle)?;
                links.iter_mut().find(|link| !link.is_attached)?.is_attached = true;
            }
            0x16 => {
                let handle = fields.u32().ok()??;
                let links = self.links.get_mut(&handle)?;
                links.iter_mut().find(|link| !link.is_detached)?.is_detached = true;
                self.tidy();
            }
            _ => {}
        }
        Some(())
    }
}

/// The channel, the code and the fields of a frame that has a performative.
fn performative(frame: &[u8]) -> Option<(u16, u8, Fields<'_>)> {
    let (&[_, _, _, _, offset, 0, high, low], _) = frame.split_first_chunk()? else { return None };
    let mut reader = Reader::new(frame.get(usize::from(offset) * 4..)?);
    let Value::Described(descriptor, list) =
        read(&mut Reader::new(skip(&mut reader).ok()?)).ok()?
    else {
        return None;
    };
    let code = match descriptor {
        Descriptor::Code(code) => u8::try_from(code).ok()?,
        Descriptor::Symbol(name) => NAMES.iter().find(|(_, is)| *is == name)?.0,
        Descriptor::Other => return None,
    };
    Some((u16::from_be_bytes([high, low]), code, Fields::of(list).ok()?))
}

const NAMES: [(u8, &str); 9] = [
    (0x10, "amqp:open:list"),
    (0x11, "amqp:begin:list"),
    (0x12, "amqp:attach:list"),
    (0x13, "amqp:flow:list"),
    (0x14, "amqp:transfer:list"),
    (0x15, "amqp:disposition:list"),
    (0x16, "amqp:detach:list"),
    (0x17, "amqp:end:list"),
    (0x18, "amqp:close:list"),
];

/// Shows the monitor what is sent.
struct Tee<'a> {
    out: &'a mut dyn Outbox,
    monitor: &'a mut Monitor,
}

impl Outbox for Tee<'_> {
    fn send(&mut self, kind: Kind, encode: &mut dyn FnMut(&mut SendBuffer)) {
        let mut buffer = SendBuffer::default();
        encode(&mut buffer);
        self.monitor.sent(&buffer.to_vec());
        self.out.send(kind, encode);
    }

    fn send_shared(
        &mut self,
        kind: Kind,
        message: &Arc<Message>,
        header: &[u8],
        encode: &mut dyn FnMut(&mut SendBuffer),
    ) {
        self.out.send_shared(kind, message, header, encode);
    }

    fn command(&mut self, token: Token, command: Command) {
        self.out.command(token, command);
    }

    fn settle(&mut self, settle: Settle, reply: Option<Token>) {
        self.out.settle(settle, reply);
    }

    fn credit(&mut self, subscription: SubscriptionId, credit: Credit) {
        self.out.credit(subscription, credit);
    }

    fn login(&mut self, token: Token, login: Login) {
        self.out.login(token, login);
    }

    fn close(&mut self, reason: Reason, message: &str, description: Option<&str>) {
        self.monitor.is_over = true;
        self.out.close(reason, message, description);
    }

    fn random(&mut self) -> u128 {
        self.out.random()
    }

    fn message_id(&mut self) -> u128 {
        self.out.message_id()
    }

    fn backlog(&self) -> usize {
        self.out.backlog()
    }
}
