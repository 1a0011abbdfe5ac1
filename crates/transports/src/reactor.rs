use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use contract::internal;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use crate::{
    io::{Carried, Io},
    socket::{Input, Output, Socket},
};

/// The connections of one core, each with its owner's part. Most are sockets; others are carried by
/// a task, or by nothing for a time ([`Io`]).
///
/// Edge-triggered: a socket is registered once, for both directions. The owner calls
/// [`Reactor::poll`], then serves the [`Reactor::next_readable`] and [`Reactor::next_writable`]
/// sockets; nothing here waits.
#[derive(Debug)]
pub struct Reactor<T> {
    poll: Poll,
    events: Events,
    entries: Slab<Entry<T>>,
    generation: u32,
    /// Slots that may have something to read, each at most once ([`Socket::queued`]).
    readable: VecDeque<u32>,
    /// Slots with a backlog that the kernel may accept more of.
    writable: Vec<u32>,
    /// Slots that are paused and whose peer has closed its side.
    ended: Vec<u32>,
}

/// A socket and its owner's part.
#[derive(Debug)]
pub struct Entry<T> {
    /// The socket.
    pub socket: Socket,
    /// The owner's part.
    pub state: T,
}

/// Names a socket of a [`Reactor`]; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Slot {
    /// Its index.
    pub index: u32,
    /// Tells apart the sockets that had this index one after the other.
    pub generation: u32,
}

impl<T> Reactor<T> {
    /// An empty reactor, and what wakes its poll from other threads.
    ///
    /// # Errors
    /// When the kernel has no more descriptors.
    pub fn new() -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let reactor = Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL),
            entries: Slab::new(),
            generation: 0,
            readable: VecDeque::new(),
            writable: Vec::new(),
            ended: Vec::new(),
        };
        Ok((reactor, waker))
    }

    /// The descriptor to wait on until [`Reactor::poll`] has something to tell.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Takes a connection. It counts as readable at first, since its bytes may have come before.
    ///
    /// # Errors
    /// When the kernel cannot watch it; the connection is closed then.
    pub fn insert(&mut self, io: impl Into<Io>, state: T) -> io::Result<Slot> {
        let mut io = io.into();
        let vacant = self.entries.vacant_entry();
        let index = u32::try_from(vacant.key()).map_err(io::Error::other)?;
        io.watch(self.poll.registry(), Token(vacant.key()))?;
        self.generation = self.generation.wrapping_add(1);
        let socket = Socket::new(io, self.generation);
        vacant.insert(Entry { socket, state });
        self.readable.push_back(index);
        Ok(Slot { index, generation: self.generation })
    }

    /// Closes a socket; returns the owner's part.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        self.get_mut(slot)?;
        let mut entry = self.entries.try_remove(slot.index as usize)?;
        entry.socket.io.unwatch(self.poll.registry());
        Some(entry.state)
    }

    /// Takes away what carries a connection: the peer may come back, and what is sent to it waits.
    /// `None`: it is gone or broken, or nothing carries it.
    pub fn detach(&mut self, slot: Slot, mono_ns: u64) -> Option<Io> {
        let socket = &mut self.get_mut(slot)?.socket;
        if socket.is_broken() || socket.away_since().is_some() {
            return None;
        }
        let mut io = socket.replace(Io::Away { since_mono_ns: mono_ns }, mono_ns);
        io.unwatch(self.poll.registry());
        Some(io)
    }

    /// Has a connection whose peer was away carried by something. It counts as readable.
    ///
    /// # Errors
    /// When the kernel cannot watch it, the connection is gone, or something carries it.
    pub fn attach(&mut self, slot: Slot, mut io: Io, mono_ns: u64) -> io::Result<()> {
        if self.get(slot).is_none_or(|entry| entry.socket.away_since().is_none()) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        io.watch(self.poll.registry(), Token(slot.index as usize))?;
        if let Some(entry) = self.get_mut(slot) {
            entry.socket.replace(io, mono_ns);
            if entry.socket.backlog.is_some() {
                self.writable.push(slot.index);
            }
            self.resume(slot);
        }
        Ok(())
    }

    /// Hands over what the peer of a carried connection has sent, which must not be
    /// [full](Socket::is_full).
    pub fn feed(&mut self, slot: Slot, bytes: Bytes) {
        self.fed(slot, |carried| carried.feed(bytes));
    }

    /// The peer of a carried connection sends nothing more.
    pub fn end(&mut self, slot: Slot) {
        self.fed(slot, Carried::end);
    }

    fn fed(&mut self, slot: Slot, act: impl FnOnce(&mut Carried)) {
        let Some(entry) = self.get_mut(slot) else { return };
        let Io::Carried(carried) = &mut entry.socket.io else { return };
        act(carried);
        entry.socket.input = Input::Ready;
        self.requeue(slot);
    }

    /// The socket, unless it is gone.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Entry<T>> {
        let entry = self.entries.get(slot.index as usize)?;
        (entry.socket.generation == slot.generation).then_some(entry)
    }

    /// The socket, unless it is gone.
    #[must_use]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<T>> {
        let entry = self.entries.get_mut(slot.index as usize)?;
        (entry.socket.generation == slot.generation).then_some(entry)
    }

    /// Asks the kernel once, without waiting, for events; `true`: there may be more.
    ///
    /// # Errors
    /// When the kernel refuses, which would be a bug.
    pub fn poll(&mut self) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        }
        let mut more = self.events.iter().count() == EVENTS_PER_POLL;
        for event in &self.events {
            let Token(index) = event.token();
            // The thread that woke the poll has left something where the owner looked before it.
            more |= event.token() == WAKER;
            let Some(entry) = self.entries.get_mut(index) else { continue };
            let socket = &mut entry.socket;
            let Ok(index) = u32::try_from(index) else {
                internal!("a socket registered under a number over 32 bits");
                continue;
            };
            if event.is_read_closed() || event.is_error() {
                socket.input = Input::Ended;
                if socket.paused {
                    self.ended.push(index);
                }
            } else if event.is_readable() && socket.input == Input::Dry {
                socket.input = Input::Ready;
            }
            let may_read = event.is_readable() || socket.input == Input::Ended;
            if may_read && !socket.queued && !socket.paused {
                socket.queued = true;
                self.readable.push_back(index);
            }
            if event.is_writable() {
                if socket.output == Output::Full {
                    socket.output = Output::Ready;
                }
                if socket.backlog.is_some() {
                    self.writable.push(index);
                }
            }
        }
        Ok(more)
    }

    /// How many sockets wait to be read.
    #[must_use]
    pub fn readable_len(&self) -> usize {
        self.readable.len()
    }

    /// Takes the next socket to read from. One that was not read dry must be handed back with
    /// [`Reactor::requeue`].
    pub fn next_readable(&mut self) -> Option<Slot> {
        while let Some(index) = self.readable.pop_front() {
            let Some(entry) = self.entries.get_mut(index as usize) else { continue };
            let socket = &mut entry.socket;
            // A slot is queued once for each socket it had: a left-over names the newest one.
            if !std::mem::take(&mut socket.queued) || socket.paused {
                continue;
            }
            return Some(Slot { index, generation: socket.generation });
        }
        None
    }

    /// Puts a socket at the end of those to read from, if it may have something left.
    pub fn requeue(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(slot.index as usize) else { return };
        let socket = &mut entry.socket;
        if socket.generation == slot.generation
            && socket.input != Input::Dry
            && !socket.queued
            && !socket.paused
        {
            socket.queued = true;
            self.readable.push_back(slot.index);
        }
    }

    /// Takes the next socket with a backlog that the kernel may accept more of.
    pub fn next_writable(&mut self) -> Option<Slot> {
        while let Some(index) = self.writable.pop() {
            if let Some(entry) = self.entries.get(index as usize) {
                return Some(Slot { index, generation: entry.socket.generation });
            }
        }
        None
    }

    /// Takes the next socket that is paused and whose peer has closed its side or reset the
    /// connection. What was sent before may still be read.
    pub fn next_ended(&mut self) -> Option<Slot> {
        while let Some(index) = self.ended.pop() {
            if let Some(entry) = self.entries.get(index as usize)
                && entry.socket.paused
                && entry.socket.input == Input::Ended
            {
                return Some(Slot { index, generation: entry.socket.generation });
            }
        }
        None
    }

    /// Stops reading from a socket.
    pub fn pause(&mut self, slot: Slot) {
        let Some(entry) = self.get_mut(slot) else { return };
        entry.socket.paused = true;
        if entry.socket.input == Input::Ended {
            self.ended.push(slot.index);
        }
    }

    /// Goes on with a socket: it is among the next to read from, even if nothing new came.
    pub fn resume(&mut self, slot: Slot) {
        if let Some(entry) = self.get_mut(slot) {
            entry.socket.paused = false;
            if entry.socket.input == Input::Dry {
                entry.socket.input = Input::Ready;
            }
        }
        self.requeue(slot);
    }

    /// All sockets.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Entry<T>)> {
        self.entries.iter().filter_map(|(index, entry)| {
            let generation = entry.socket.generation;
            Some((Slot { index: u32::try_from(index).ok()?, generation }, entry))
        })
    }

    /// How many sockets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

const WAKER: Token = Token(usize::MAX - 1);
const EVENTS_PER_POLL: usize = 1024;
