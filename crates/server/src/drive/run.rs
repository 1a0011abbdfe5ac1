use std::{
    cell::RefCell,
    io,
    os::fd::{AsRawFd, RawFd},
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::{io::unix::AsyncFd, sync::Notify, task::LocalSet, time};
use transports::Reactor;

use super::{Connection, Core, CoreRef};
use crate::{
    clock,
    gateway::{Gateway, ToCore},
    handshakes::Handshakes,
    listen, services, tasks,
};

/// Runs a core until the gateway is stopped and its connections have gone.
///
/// # Errors
/// When the system has no descriptors for it.
pub(crate) fn run(
    gateway: Arc<Gateway>,
    index: u16,
    inbox: mpsc::Receiver<ToCore>,
    reactor: CoreReactor,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let descriptor = Descriptor(reactor.0.descriptor());
        let core = Rc::new(RefCell::new(Core::new(gateway, index, inbox, reactor.0)));
        let work = Rc::new(Notify::new());
        let handshakes = Handshakes::new(Rc::clone(&work));
        let core = CoreRef { core, work, handshakes };
        services::keep_interests(&core);
        if index == 0 {
            services::feeds(&core);
        }
        react(&core, descriptor).await
    })
}

/// The reactor of a core that is still to run.
pub(crate) struct CoreReactor(Reactor<Connection>);

impl std::fmt::Debug for CoreReactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CoreReactor")
    }
}

impl CoreReactor {
    /// A reactor, and what wakes its core.
    ///
    /// # Errors
    /// When the system has no descriptors for it.
    pub(crate) fn new() -> io::Result<(Self, Arc<mio::Waker>)> {
        let (reactor, waker) = Reactor::new()?;
        Ok((Self(reactor), waker))
    }
}

/// The descriptor of the reactor's poll, owned by the reactor.
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Turns the core whenever there is something to do.
async fn react(core: &CoreRef, descriptor: Descriptor) -> io::Result<()> {
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
            core.handshakes.pass_on();
            for _ in 0..TURNS_PER_YIELD {
                let received = receive(core);
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
        if core.core.borrow().is_finished() {
            return Ok(());
        }
    }
}

/// Takes what other threads have sent; `false`: nothing.
fn receive(core: &CoreRef) -> bool {
    for count in 0..RECEIVED_PER_TURN {
        let Some(what) = core.core.borrow_mut().receive() else { return count > 0 };
        match what {
            ToCore::Socket(stream, listen, occupied) => {
                core.core.borrow().arrived();
                tasks::local(listen::serve(core.clone(), stream, listen, occupied));
            }
            ToCore::ShardMessages(from, messages) => {
                core.core.borrow_mut().receive_shard_messages(from, messages);
            }
            ToCore::Login(id, token, answer) => {
                core.core.borrow_mut().logged_in(id, token, answer);
            }
            ToCore::Call(call) => call(core),
            ToCore::Drain => core.core.borrow_mut().start_draining(),
        }
    }
    true
}

fn until(mono_ns: u64) -> Duration {
    Duration::from_nanos(mono_ns.saturating_sub(clock::now().mono_ns))
}

/// Turns before tasks on the same thread (HTTP, logins) get theirs.
const TURNS_PER_YIELD: usize = 8;
/// Batches of messages, sockets and calls taken before the sockets are looked at again.
const RECEIVED_PER_TURN: usize = 256;
