use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    pin::pin,
    sync::{Arc, mpsc},
    time::Duration,
};

use broker::Event;
use tokio::{io::unix::AsyncFd, task::LocalSet, time};
use transports::Reactor;

use super::{Connection, Core, CoreRef};
use crate::{
    clock,
    cores::{Arrival, Cores, ToCore},
};

/// A core that is still to run.
pub struct NewCore {
    cores: Arc<Cores>,
    index: u16,
    inbox: mpsc::Receiver<ToCore>,
    reactor: Reactor<Connection>,
}

impl std::fmt::Debug for NewCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCore").field("index", &self.index).finish_non_exhaustive()
    }
}

impl NewCore {
    pub(crate) const fn new(
        cores: Arc<Cores>,
        index: u16,
        inbox: mpsc::Receiver<ToCore>,
        reactor: Reactor<Connection>,
    ) -> Self {
        Self { cores, index, inbox, reactor }
    }

    #[cfg(test)]
    pub(super) fn into_core(self) -> Core {
        Core::new(self.cores, self.index, self.inbox, self.reactor)
    }

    /// Which of the cores it is.
    #[must_use]
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// Runs the core on this thread until it is shut down and the connections of all cores have gone.
    ///
    /// `start` is called first, and returns what is done with each new socket.
    ///
    /// # Errors
    /// When the kernel has no descriptors for it.
    pub fn run<A: FnMut(Arrival)>(self, start: impl FnOnce(CoreRef) -> A) -> io::Result<()> {
        let Self { cores, index, inbox, reactor } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async move {
            let descriptor = Descriptor(reactor.descriptor());
            let core = CoreRef::new(Core::new(cores, index, inbox, reactor));
            let accept = start(core.clone());
            let outcome = react(&core, descriptor, accept).await;
            core.core.borrow_mut().count_messages_left();
            outcome
        })
    }
}

/// The descriptor of the reactor's poll, owned by the reactor.
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Has the core do a turn whenever there is something to do.
async fn react(
    core: &CoreRef,
    descriptor: Descriptor,
    mut accept: impl FnMut(Arrival),
) -> io::Result<()> {
    // SAFETY: the descriptor is that of the poll inside `core`, which this future borrows: it stays
    // open, and the same, for longer than `readiness` lives.
    #[expect(unsafe_code, reason = "AsyncFd wants to be promised that the descriptor stays open")]
    let readiness = unsafe { AsyncFd::register(descriptor) }?;
    let mut alarm_mono_ns = 0;
    let mut alarm = pin!(time::sleep(Duration::ZERO));
    loop {
        tokio::select! {
            // tokio sees the edges of the poll only. Forgetting this one before the poll is asked
            // is safe: what happens after that makes a new one.
            ready = readiness.readable() => ready?.clear_ready(),
            () = core.work.notified() => {}
            () = &mut alarm => {}
        }
        let next_mono_ns = 'busy: loop {
            core.handshakes.grant_next();
            for _ in 0..TURNS_PER_YIELD {
                let received = take_inbox(core, &mut accept);
                let turn = core.core.borrow_mut().turn()?;
                if !turn.busy && !received {
                    break 'busy turn.next_mono_ns;
                }
            }
            // Others on this thread get their turn.
            tokio::task::yield_now().await;
        };
        if next_mono_ns != alarm_mono_ns || alarm.is_elapsed() {
            alarm_mono_ns = next_mono_ns;
            alarm.set(time::sleep(until(next_mono_ns)));
        }
        if core.core.borrow_mut().has_ended() {
            return Ok(());
        }
    }
}

/// Takes what other threads have sent; `false`: nothing.
pub(super) fn take_inbox(core: &CoreRef, accept: &mut impl FnMut(Arrival)) -> bool {
    for count in 0..INBOX_PER_TURN {
        let Some(what) = core.core.borrow_mut().next_message() else { return count > 0 };
        match what {
            ToCore::Socket(arrival) => {
                core.core.borrow().tools.handle().arrived();
                accept(arrival);
            }
            ToCore::ShardMessages(from, messages) => {
                core.core.borrow_mut().apply_shard_messages(from, messages);
            }
            ToCore::Login(id, token, outcome, users_version) => {
                core.core.borrow_mut().login_decided(id, token, outcome, users_version);
            }
            ToCore::Reload(reload) => core.core.borrow_mut().reload(reload),
            ToCore::QueueRules(rules) => {
                core.core.borrow_mut().apply_all([Event::QueueRules(rules)]);
            }
            ToCore::Stored(upto) => core.core.borrow_mut().apply_all([Event::Stored(upto)]),
            ToCore::StoreRefused(write, refusal) => {
                core.core.borrow_mut().apply_all([Event::StoreRefused(write, refusal)]);
            }
            ToCore::StoreOpened(is_open) => {
                core.core.borrow_mut().apply_all([Event::StoreOpened(is_open)]);
            }
            ToCore::Bound(bindings) => {
                let events = bindings.into_iter().map(|(queue, terms)| Event::Bound(queue, terms));
                core.core.borrow_mut().apply_all(events);
            }
            ToCore::RestoredNumbers(producers) => {
                core.core.borrow_mut().restore_numbers(producers);
            }
            ToCore::RestoredOnDisk(queue, messages) => {
                core.core.borrow_mut().apply_all([Event::RestoredOnDisk(queue, messages)]);
            }
            ToCore::Loaded(load, queue, messages) => {
                core.core.borrow_mut().loaded(load, queue, messages);
            }
            ToCore::Restored(messages) => core.core.borrow_mut().restore(messages),
            ToCore::Call(call) => call(core),
            ToCore::FreeInbound => core.core.borrow_mut().free_inbound(),
            ToCore::Shutdown => core.core.borrow_mut().start_shutdown(),
            ToCore::RoundEnded => core.core.borrow_mut().round_ended(),
        }
    }
    true
}

fn until(mono_ns: u64) -> Duration {
    Duration::from_nanos(mono_ns.saturating_sub(clock::now().mono_ns))
}

/// Turns before tasks on the same thread (HTTP, logins) get theirs.
const TURNS_PER_YIELD: usize = 8;
/// Batches of messages, sockets and calls taken from the inbox in a turn.
const INBOX_PER_TURN: usize = 256;
