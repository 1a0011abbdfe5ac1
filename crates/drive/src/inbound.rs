//! The memory of what peers have sent in part: messages, frames and the bodies of requests that are
//! incomplete. One bound holds for all cores together.
//!
//! A core draws an allowance from the pool that all share, and counts what its own unfinished
//! messages take against that. What comes whole in one read is not counted.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::oneshot;
use transports::Slot;
use wire::Map;

use crate::log_limiter::LogLimiter;

/// What the peer of a message is told that was refused because there is no memory for it.
pub const INBOUND_FULL: &str =
    "the gateway's memory for incoming messages is full: try again later";

/// What all cores share.
#[derive(Debug)]
pub struct InboundPool {
    max: usize,
    /// What a core draws at a time.
    chunk: usize,
    drawn: AtomicUsize,
    cores: Box<[PoolCore]>,
}

/// What the others know of a core.
#[derive(Debug, Default)]
struct PoolCore {
    /// No unfinished message there is larger; there may be none of that size any more.
    largest: AtomicUsize,
    /// It was told to free memory, and has not done so yet.
    told: AtomicBool,
}

impl InboundPool {
    pub(crate) fn new(max: usize, cores: usize) -> Self {
        // So that what cores have drawn and do not use is an eighth at most.
        let chunk = (max / (16 * cores.max(1))).clamp(1, CHUNK_BYTES);
        Self {
            max,
            chunk,
            drawn: AtomicUsize::new(0),
            cores: (0..cores).map(|_| PoolCore::default()).collect(),
        }
    }

    /// The allowances of all cores, in bytes.
    #[must_use]
    pub fn drawn(&self) -> usize {
        self.drawn.load(Ordering::Relaxed)
    }

    /// Whether cores have drawn more than there is, as they may when another is to free some.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.drawn() > self.max
    }

    /// The core, other than this, that may have the largest of the messages over a size.
    pub(crate) fn larger_elsewhere(&self, core: u16, size: usize) -> Option<usize> {
        let largest = |core: &PoolCore| core.largest.load(Ordering::Relaxed);
        let others = self.cores.iter().enumerate().filter(|(index, _)| *index != usize::from(core));
        let (index, other) = others.max_by_key(|(_, other)| largest(other))?;
        (largest(other) > size).then_some(index)
    }

    /// Whether a core has to be told to free memory: it was not yet.
    pub(crate) fn tell(&self, core: usize) -> bool {
        self.cores.get(core).is_some_and(|core| !core.told.swap(true, Ordering::Relaxed))
    }

    /// A core does what it was told.
    pub(crate) fn heard(&self, core: u16) {
        if let Some(core) = self.cores.get(usize::from(core)) {
            core.told.store(false, Ordering::Relaxed);
        }
    }

    fn draw(&self, bytes: usize, max: usize) -> bool {
        let more = |drawn: usize| drawn.checked_add(bytes).filter(|drawn| *drawn <= max);
        self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// Who sends an unfinished message.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum InboundSender {
    /// The peer of a socket of the reactor.
    Socket(Slot),
    /// The peer of a task.
    Task(u64),
}

/// The unfinished messages of one core.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    sizes: BTreeMap<InboundSender, usize>,
    /// The sum of `sizes`.
    used: usize,
    /// The most that it was since some was last freed.
    used_max: usize,
    /// The allowance drawn from the pool.
    drawn: usize,
    /// What the pool knows as this core's largest.
    largest: usize,
    /// Dropped when their message is refused.
    tasks: Map<u64, oneshot::Sender<()>>,
    task_count: u64,
    pub(crate) limiter: LogLimiter,
}

impl Inbound {
    /// Sets what an unfinished message takes; 0: it is complete, or was given up.
    pub(crate) fn set(&mut self, pool: &InboundPool, core: u16, from: InboundSender, bytes: usize) {
        let before = match bytes {
            0 => self.sizes.remove(&from),
            _ => self.sizes.insert(from, bytes),
        };
        self.used = self.used + bytes - before.unwrap_or(0);
        let largest = if self.used == 0 { 0 } else { self.largest.max(bytes) };
        self.publish(pool, core, largest);
        let kept = match self.used {
            0 => 0,
            used => used.next_multiple_of(pool.chunk) + pool.chunk,
        };
        self.give_back(pool, kept);
    }

    /// Draws what is missing, if there is as much.
    pub(crate) fn draw(&mut self, pool: &InboundPool) -> bool {
        let Some(missing) = self.used.checked_sub(self.drawn).filter(|missing| *missing > 0) else {
            return true;
        };
        [missing.next_multiple_of(pool.chunk), missing]
            .into_iter()
            .any(|bytes| self.draw_within(pool, bytes, pool.max))
    }

    /// Draws what is missing from what there is for the time in which another core frees memory.
    pub(crate) fn overdraw(&mut self, pool: &InboundPool) -> bool {
        let missing = self.used.saturating_sub(self.drawn);
        self.draw_within(pool, missing, pool.max.saturating_add(pool.max / 8))
    }

    /// Keeps no more than is used.
    pub(crate) fn give_back_spare(&mut self, pool: &InboundPool) {
        self.give_back(pool, self.used);
    }

    /// Looks which is the largest.
    pub(crate) fn largest(
        &mut self,
        pool: &InboundPool,
        core: u16,
    ) -> Option<(usize, InboundSender)> {
        let largest = self.sizes.iter().map(|(from, bytes)| (*bytes, *from)).max();
        self.publish(pool, core, largest.map_or(0, |(bytes, _)| bytes));
        largest
    }

    /// Whether `bytes` of what was used have been freed since this was last so.
    pub(crate) fn has_freed(&mut self, bytes: usize) -> bool {
        self.used_max = self.used_max.max(self.used);
        let has_freed = self.used_max - self.used >= bytes;
        if has_freed {
            self.used_max = self.used;
        }
        has_freed
    }

    /// A number for the message of a task, and what completes when it is refused.
    pub(crate) fn add_task(&mut self) -> (u64, oneshot::Receiver<()>) {
        self.task_count += 1;
        let (refuse, refused) = oneshot::channel();
        self.tasks.insert(self.task_count, refuse);
        (self.task_count, refused)
    }

    /// Whether the message of a task was not refused.
    pub(crate) fn has_task(&self, task: u64) -> bool {
        self.tasks.get(&task).is_some()
    }

    /// The message of a task has ended, or is refused.
    pub(crate) fn remove_task(&mut self, task: u64) {
        self.tasks.remove(&task);
    }

    fn publish(&mut self, pool: &InboundPool, core: u16, largest: usize) {
        if largest != self.largest
            && let Some(core) = pool.cores.get(usize::from(core))
        {
            self.largest = largest;
            core.largest.store(largest, Ordering::Relaxed);
        }
    }

    fn draw_within(&mut self, pool: &InboundPool, bytes: usize, max: usize) -> bool {
        let is_drawn = pool.draw(bytes, max);
        if is_drawn {
            self.drawn += bytes;
        }
        is_drawn
    }

    fn give_back(&mut self, pool: &InboundPool, kept: usize) {
        let spare = self.drawn.saturating_sub(kept);
        if spare > 0 {
            self.drawn -= spare;
            pool.drawn.fetch_sub(spare, Ordering::Relaxed);
        }
    }
}

/// Few draws, and little that is drawn in vain.
const CHUNK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn set(inbound: &mut Inbound, pool: &InboundPool, core: u16, task: u64, bytes: usize) -> bool {
        inbound.set(pool, core, InboundSender::Task(task), bytes);
        inbound.draw(pool)
    }

    #[test]
    fn a_core_draws_chunks_and_gives_them_back() {
        let pool = InboundPool::new(64 * MIB, 4);
        let mut inbound = Inbound::default();
        let steps = [
            // The message, what it takes, and what is drawn then.
            (1, 100, MIB),
            (2, 1000, MIB),
            (1, MIB, 2 * MIB),
            (1, 10 * MIB, 11 * MIB),
            (1, 0, 2 * MIB),
            (2, 0, 0),
            (2, 0, 0),
        ];
        for (task, bytes, drawn) in steps {
            assert!(set(&mut inbound, &pool, 0, task, bytes));
            assert_eq!((inbound.drawn, pool.drawn()), (drawn, drawn), "{task}: {bytes}");
        }
    }

    #[test]
    fn all_of_the_pool_can_be_used_and_no_more() {
        let pool = InboundPool::new(64 * MIB, 64);
        let mut inbound = Inbound::default();
        assert!(set(&mut inbound, &pool, 0, 1, 64 * MIB - 1));
        assert!(set(&mut inbound, &pool, 0, 2, 1));
        assert!(!set(&mut inbound, &pool, 0, 3, 1));
        assert_eq!(pool.drawn(), 64 * MIB);
        assert!(set(&mut inbound, &pool, 0, 2, 0));
        assert_eq!(inbound.largest(&pool, 0), Some((64 * MIB - 1, InboundSender::Task(1))));
    }

    #[test]
    fn what_idle_cores_have_drawn_is_little() {
        for cores in [1, 2, 16, 100] {
            let pool = InboundPool::new(64 * MIB, cores);
            let mut all: Vec<_> = (0..cores).map(|_| Inbound::default()).collect();
            for (core, inbound) in (0..).zip(&mut all) {
                // The most that is kept for the least that is used.
                assert!(set(inbound, &pool, core, 1, 2 * pool.chunk));
                assert!(set(inbound, &pool, core, 1, 1));
            }
            assert!(pool.drawn() <= 8 * MIB + cores, "{cores}: {}", pool.drawn());
            for (core, inbound) in (0..).zip(&mut all) {
                assert!(set(inbound, &pool, core, 1, 0));
            }
            assert_eq!(pool.drawn(), 0);
        }
    }

    #[test]
    fn the_largest_is_found_on_whichever_core_it_is() {
        let pool = InboundPool::new(64 * MIB, 3);
        let (mut a, mut b) = (Inbound::default(), Inbound::default());
        assert!(set(&mut a, &pool, 0, 1, 60 * MIB));
        assert!(set(&mut b, &pool, 1, 1, MIB));
        assert!(!set(&mut b, &pool, 1, 2, 5 * MIB));
        assert_eq!(pool.larger_elsewhere(1, 5 * MIB), Some(0));
        assert_eq!(pool.larger_elsewhere(0, 60 * MIB), None);
        // Meanwhile a little more than there is may be drawn.
        assert!(b.overdraw(&pool) && pool.is_overdrawn());
        assert!(pool.tell(0) && !pool.tell(0));
        pool.heard(0);
        assert!(pool.tell(0));
        assert!(set(&mut b, &pool, 1, 2, 6 * MIB) || b.overdraw(&pool));
        assert!(!set(&mut b, &pool, 1, 3, 10 * MIB) && !b.overdraw(&pool));
        assert!(set(&mut a, &pool, 0, 1, 0));
        assert!(b.draw(&pool) && !pool.is_overdrawn());
        assert_eq!(pool.larger_elsewhere(1, 0), None);
    }

    #[test]
    fn a_task_hears_that_its_message_is_refused() {
        let mut inbound = Inbound::default();
        let (task, mut refused) = inbound.add_task();
        assert_eq!(refused.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(inbound.has_task(task));
        inbound.remove_task(task);
        assert!(!inbound.has_task(task));
        assert_eq!(refused.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
