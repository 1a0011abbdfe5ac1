use std::collections::VecDeque;

use contract::{ConnectionId, Token};

/// How much of what publishers sent is in flight between this shard and each other one.
///
/// A shard reports what it has processed in steps of [`Windows::STEP_BYTES`]. While more than
/// [`Windows::DELAY_BYTES`] are in flight to a shard, the replies to those who publish to topics with
/// subscriptions there are delayed, so that they stop (a queue replies by itself); beyond
/// [`Windows::REFUSE_BYTES`] messages are refused.
#[derive(Debug)]
pub(crate) struct Windows {
    core: u16,
    /// By core; that of this one is not used.
    windows: Vec<Window>,
}

#[derive(Debug, Default)]
struct Window {
    /// Bytes sent to it that it has not reported.
    in_flight: usize,
    /// Bytes that came from it and are not reported to it.
    unreported: usize,
    /// Replies that are delayed.
    delayed: VecDeque<(ConnectionId, Token)>,
}

impl Windows {
    const DELAY_BYTES: usize = 4 << 20;
    const REFUSE_BYTES: usize = 64 << 20;
    const STEP_BYTES: usize = Self::DELAY_BYTES / 4;

    /// Those of the shard of `core`, one of `cores`.
    pub(crate) fn new(core: u16, cores: u16) -> Self {
        Self { core, windows: (0..cores).map(|_| Window::default()).collect() }
    }

    /// Whether a message of this size may be sent. One of any size may, when nothing is in
    /// flight.
    pub(crate) fn has_room(&self, to: u16, bytes: usize) -> bool {
        to == self.core
            || self.windows.get(usize::from(to)).is_some_and(|window| {
                window.in_flight == 0 || window.in_flight + bytes <= Self::REFUSE_BYTES
            })
    }

    /// Whether replies to those who publish there are to be delayed.
    pub(crate) fn is_full(&self, to: u16) -> bool {
        self.windows.get(usize::from(to)).is_some_and(Window::is_full)
    }

    /// Bytes are sent.
    pub(crate) fn sent(&mut self, to: u16, bytes: usize) {
        if let Some(window) = self.window_mut(to) {
            window.in_flight += bytes;
        }
    }

    /// Delays a reply until the window to `full` has room. `false`: it is one's own core.
    pub(crate) fn delay(&mut self, full: u16, connection: ConnectionId, token: Token) -> bool {
        let window = self.window_mut(full);
        window.map(|window| window.delayed.push_back((connection, token))).is_some()
    }

    /// This shard has processed bytes from another one; returns how many to report now.
    pub(crate) fn processed(&mut self, from: u16, bytes: usize) -> Option<usize> {
        let window = self.window_mut(from)?;
        window.unreported += bytes;
        (window.unreported >= Self::STEP_BYTES).then(|| std::mem::take(&mut window.unreported))
    }

    /// Another shard reports what it has processed; returns the replies that are delayed no more.
    pub(crate) fn updated(&mut self, from: u16, bytes: usize) -> VecDeque<(ConnectionId, Token)> {
        let Some(window) = self.window_mut(from) else { return VecDeque::new() };
        window.in_flight -= bytes;
        if window.is_full() { VecDeque::new() } else { std::mem::take(&mut window.delayed) }
    }

    /// See [`crate::Shard::assert_empty`]. What is in flight is known to a step.
    pub(crate) fn assert_empty(&self) {
        for window in &self.windows {
            assert!(window.delayed.is_empty(), "replies are delayed");
            assert!(window.in_flight < Self::STEP_BYTES, "{} bytes in flight", window.in_flight);
        }
    }

    fn window_mut(&mut self, core: u16) -> Option<&mut Window> {
        if core == self.core { None } else { self.windows.get_mut(usize::from(core)) }
    }
}

impl Window {
    const fn is_full(&self) -> bool {
        self.in_flight > Windows::DELAY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_delayed_while_much_is_in_flight() {
        let publisher = ConnectionId { core: 0, slot: 0, generation: 0 };
        let (mut here, mut there) = (Windows::new(0, 2), Windows::new(1, 2));
        here.sent(1, Windows::DELAY_BYTES + 1);
        assert!(here.is_full(1));
        assert!(here.delay(1, publisher, Token(1)));
        assert_eq!(there.processed(0, Windows::STEP_BYTES - 1), None);
        let report = there.processed(0, 1).unwrap();
        assert_eq!(here.updated(1, report), [(publisher, Token(1))]);
        assert!(!here.is_full(1));
    }

    #[test]
    fn a_window_refuses_at_its_bound_but_takes_one_message_of_any_size() {
        let mut windows = Windows::new(0, 2);
        assert!(windows.has_room(1, 2 * Windows::REFUSE_BYTES));
        windows.sent(1, Windows::REFUSE_BYTES);
        assert!(!windows.has_room(1, 1));
        assert!(windows.has_room(0, 1), "to itself there is no window");
    }
}
