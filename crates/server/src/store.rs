//! The store of the process: where it is, when it is opened, and how the cores come to it.

use std::{
    env, future,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use broker::{Record, Restored, RestoredNumbers, StoreGate, WriteId};
use config::{Config, SyncPolicy};
use contract::Refusal;
use drive::{Cores, clock, tasks};
use store::{Completions, Folder, Options, StoreError, StoredMessage, WriteRefusal};
use tokio::time;

/// The store, opened with the first durable message if it was not opened before.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    cores: Arc<OnceLock<Weak<Cores>>>,
    cores_count: u16,
    sync: SyncPolicy,
    /// The default where the configuration names no store.
    segment_bytes: Option<u32>,
    open: OnceLock<store::Store>,
    opening: Mutex<Opening>,
    /// Until when durable messages are refused since the disk was full, on the monotonic clock.
    full_until_ns: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Opening {
    /// When to try again, on the monotonic clock.
    next_mono_ns: u64,
    writer: Option<thread::JoinHandle<()>>,
}

impl Store {
    /// The store of this configuration, for so many cores; not open yet.
    pub(crate) fn new(config: &Config, cores_count: u16) -> Self {
        let path = config.store.as_ref().and_then(|store| store.path.as_deref());
        let sync = config.store.as_ref().map(|store| store.sync).unwrap_or_default();
        Self {
            folder: path.map_or_else(|| state_directory().join("store"), Path::to_path_buf),
            cores: Arc::default(),
            cores_count,
            sync,
            segment_bytes: config.store.as_ref().map(|store| store.segment_bytes),
            open: OnceLock::new(),
            opening: Mutex::default(),
            full_until_ns: Arc::default(),
        }
    }

    /// Says whose shards write to it. Opens it, and puts what it has kept into their queues, if the
    /// configuration names it or it is there.
    ///
    /// # Errors
    /// When it cannot be opened, unless another process has it and the configuration does not name it.
    pub(crate) fn start(&self, config: &Config, cores: &Arc<Cores>) -> Result<(), StoreError> {
        // Nothing else sets it.
        let _is_set = self.cores.set(Arc::downgrade(cores));
        let is_named = config.store.is_some();
        if !is_named && !self.folder.is_dir() {
            return Ok(());
        }
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match self.open_locked(&mut opening) {
            Err(error @ StoreError::Locked { .. }) if !is_named => {
                tracing::warn!(%error, "persistent messages are refused: there is no store");
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn open_locked(&self, opening: &mut Opening) -> Result<(), StoreError> {
        if self.open.get().is_some() {
            return Ok(());
        }
        let folder = Folder::open(&self.folder)?;
        let mut options = Options::new(self.cores_count, salt());
        options.syncs_commits = self.sync == SyncPolicy::Always;
        options.segment_bytes = self.segment_bytes.unwrap_or(options.segment_bytes);
        let opened = store::open(Arc::new(folder), options)?;
        let (bindings, producers) = (opened.bindings(), opened.producers());
        let mut restored = Vec::new();
        for queue in opened.queues() {
            for StoredMessage { position, body, dead_letter } in opened.messages(&queue) {
                if let Some(message) = opened.reader().read(body)? {
                    let (queue, message) = (queue.clone(), Arc::new(message));
                    restored.push(Restored { queue, position, message, dead_letter });
                }
            }
        }
        tracing::info!(
            folder = %self.folder.display(),
            messages = restored.len(),
            subscriptions = bindings.len(),
            "store opened"
        );
        if let Some(cores) = self.cores.get().and_then(Weak::upgrade) {
            let numbers = |(queue, producer, numbers)| RestoredNumbers { queue, producer, numbers };
            cores.restore_numbers(producers.into_iter().map(numbers));
            cores.restore(&bindings, restored);
        }
        let (cores, full_until_ns) = (Arc::clone(&self.cores), Arc::clone(&self.full_until_ns));
        let (store, writer) = opened.start(ToCores { cores, full_until_ns });
        let run = move || {
            if let Err(error) = writer.run() {
                // What was not confirmed may be on the disk or not: only a restart tells.
                tracing::error!(%error, "the store has failed");
                logging::flush();
                process::exit(1);
            }
        };
        let started = tasks::thread("store", run).map_err(|source| StoreError::Io {
            doing: "start a thread for",
            file: self.folder.display().to_string(),
            source,
        });
        opening.writer = Some(started?);
        // Under the lock: nobody else has set it.
        let _is_set = self.open.set(store);
        Ok(())
    }

    /// Has what was written synced from time to time, if it is not before it is confirmed.
    pub(crate) async fn sync(&self) {
        if self.sync == SyncPolicy::Always {
            return future::pending().await;
        }
        let mut due = time::interval(SYNC_INTERVAL);
        loop {
            due.tick().await;
            if let Some(store) = self.open.get() {
                store.sync();
            }
        }
    }

    /// Writes what is left. Nothing is to be stored any more.
    pub(crate) fn close(&self) {
        let Some(store) = self.open.get() else { return };
        store.close();
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        // It has ended the process if it could not write.
        if let Some(writer) = opening.writer.take() {
            drop(writer.join());
        }
    }
}

impl StoreGate for Store {
    fn refusal(&self) -> Option<Refusal> {
        if self.open.get().is_none() {
            let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock::now();
            if now.mono_ns < opening.next_mono_ns {
                return Some(Refusal::NoStore);
            }
            if let Err(error) = self.open_locked(&mut opening) {
                opening.next_mono_ns = now.after(RETRY);
                tracing::warn!(%error, "persistent messages are refused: there is no store");
                return Some(Refusal::NoStore);
            }
        }
        let full_until_ns = self.full_until_ns.load(Ordering::Relaxed);
        (full_until_ns > 0 && clock::now().mono_ns < full_until_ns).then_some(Refusal::StoreFull)
    }
}

impl drive::Store for Store {
    fn write(&self, core: u16, id: WriteId, records: Vec<Record>) {
        match self.open.get() {
            Some(store) => store.write(core, id, records),
            None => contract::internal!("something is stored where there is no store"),
        }
    }
}

/// Tells the cores what the writer has done.
struct ToCores {
    cores: Arc<OnceLock<Weak<Cores>>>,
    full_until_ns: Arc<AtomicU64>,
}

impl ToCores {
    fn cores(&self) -> Option<Arc<Cores>> {
        self.cores.get().and_then(Weak::upgrade)
    }
}

impl Completions for ToCores {
    fn stored(&mut self, core: u16, upto: WriteId) {
        if let Some(cores) = self.cores() {
            cores.stored(core, upto);
        }
    }

    fn refused(&mut self, core: u16, write: WriteId, refusal: WriteRefusal) {
        let refusal = match refusal {
            WriteRefusal::DiskFull => {
                let now = clock::now();
                let before = self.full_until_ns.swap(now.after(RETRY), Ordering::Relaxed);
                if before <= now.mono_ns {
                    tracing::warn!(
                        "the disk of the store is full: persistent messages are refused"
                    );
                }
                Refusal::StoreFull
            }
            WriteRefusal::InFlight | WriteRefusal::TooLarge => Refusal::Busy,
        };
        if let Some(cores) = self.cores() {
            cores.store_refused(core, write, refusal);
        }
    }
}

/// A number that no peer knows: see [`Options::salt`].
fn salt() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Where systemd wants state to be, or a folder beside.
fn state_directory() -> PathBuf {
    // Of several the first one is the service's main one.
    let given = env::var_os("STATE_DIRECTORY");
    let first = given.as_ref().and_then(|all| env::split_paths(all).next());
    first.unwrap_or_else(|| "passerelle-state".into())
}

/// With [`SyncPolicy::Interval`].
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// Until a store that could not be opened, or whose disk was full, is tried again.
const RETRY: Duration = Duration::from_secs(1);
