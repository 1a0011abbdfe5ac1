use std::collections::VecDeque;

use contract::{ConnectionId, Reply, Token};

use crate::{
    parcel::{Letter, Post},
    shard::Shard,
};

/// What is under way between this shard and another one.
///
/// The other shard reports what it has worked off in steps of [`Link::STEP_BYTES`]. While more
/// than [`Link::HELD_BYTES`] are under way, the publishers' replies are held, so that they stop;
/// beyond [`Link::REFUSED_BYTES`] their messages are refused.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Bytes sent to it that it has not reported.
    under_way: usize,
    /// Bytes that came from it and are not reported to it.
    unreported: usize,
    held: VecDeque<(ConnectionId, Token)>,
}

impl Link {
    const HELD_BYTES: usize = 4 << 20;
    const REFUSED_BYTES: usize = 64 << 20;
    const STEP_BYTES: usize = Self::HELD_BYTES / 4;

    const fn has_room(&self, load: usize) -> bool {
        self.under_way == 0 || self.under_way + load <= Self::REFUSED_BYTES
    }

    const fn is_busy(&self) -> bool {
        self.under_way > Self::HELD_BYTES
    }

    /// The other shard has worked off so much; gives the replies that need not be held any more.
    fn reported(&mut self, load: usize) -> VecDeque<(ConnectionId, Token)> {
        self.under_way = self.under_way.saturating_sub(load);
        if self.is_busy() { VecDeque::new() } else { std::mem::take(&mut self.held) }
    }

    /// This shard has worked off so much; gives what to report now.
    fn taken(&mut self, load: usize) -> Option<usize> {
        self.unreported += load;
        (self.unreported >= Self::STEP_BYTES).then(|| std::mem::take(&mut self.unreported))
    }
}

impl Shard {
    /// Sends what a publisher caused.
    pub(crate) fn send(&mut self, to: u16, letter: Letter, post: &mut Post<'_>) {
        if let Some(link) = self.link_mut(to) {
            link.under_way += letter.load();
        }
        post.send(to, letter);
    }

    pub(crate) fn link_has_room(&self, to: u16, load: usize) -> bool {
        to == self.core || self.links.get(usize::from(to)).is_some_and(|link| link.has_room(load))
    }

    pub(crate) fn link_is_busy(&self, to: u16) -> bool {
        self.links.get(usize::from(to)).is_some_and(Link::is_busy)
    }

    /// Answers a publication, at once or when the link to `busy` is not busy any more.
    pub(crate) fn reply_unless_busy(
        &mut self,
        busy: Option<u16>,
        connection: ConnectionId,
        token: Token,
        post: &mut Post<'_>,
    ) {
        match busy.and_then(|core| self.link_mut(core)) {
            Some(link) => link.held.push_back((connection, token)),
            None => self.reply(connection, token, Ok(Reply::Done), post),
        }
    }

    /// A parcel from another shard has been worked off.
    pub(crate) fn taken(&mut self, from: u16, load: usize, post: &mut Post<'_>) {
        if let Some(report) = self.link_mut(from).and_then(|link| link.taken(load)) {
            post.send(from, Letter::WindowUpdate(report));
        }
    }

    /// Another shard has worked off so much.
    pub(crate) fn reported(&mut self, from: u16, load: usize, post: &mut Post<'_>) {
        let held = self.link_mut(from).map(|link| link.reported(load)).unwrap_or_default();
        for (connection, token) in held {
            self.reply(connection, token, Ok(Reply::Done), post);
        }
    }

    fn link_mut(&mut self, core: u16) -> Option<&mut Link> {
        if core == self.core { None } else { self.links.get_mut(usize::from(core)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_held_while_much_is_under_way() {
        let publisher = ConnectionId { core: 0, slot: 0, generation: 0 };
        let (mut here, mut there) = (Link::default(), Link::default());
        here.under_way += Link::HELD_BYTES + 1;
        assert!(here.is_busy());
        here.held.push_back((publisher, Token(1)));
        assert_eq!(there.taken(Link::STEP_BYTES - 1), None);
        let report = there.taken(1).unwrap();
        assert_eq!(here.reported(report), [(publisher, Token(1))]);
        assert!(!here.is_busy());
    }

    #[test]
    fn a_link_refuses_at_its_bound_but_takes_one_message_of_any_size() {
        let mut link = Link::default();
        assert!(link.has_room(2 * Link::REFUSED_BYTES));
        link.under_way += Link::REFUSED_BYTES;
        assert!(!link.has_room(1));
    }
}
