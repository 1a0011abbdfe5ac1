//! The store of the process: where it is, when it is opened, and how the cores come to it.

use std::{
    env, future,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use broker::{
    LoadId, OnDisk, QueueId, QueuePosition, RecordBatch, Restored, RestoredNumbers, StoreGate,
    StoreStats, Terms, WriteId,
};
use config::{Config, SyncPolicy};
use contract::Refusal;
use drive::{Cores, clock, tasks};
use store::{
    Completions, Folder, Opened, Options, Reader, StoreError, StoredMessage, WriteRefusal,
};
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
    /// To the thread that reads messages.
    loads: OnceLock<mpsc::Sender<Load>>,
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
            loads: OnceLock::new(),
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
        let bindings = opened.bindings();
        let cores = self.cores.get().and_then(Weak::upgrade);
        let messages = cores.map_or(Ok(0), |cores| restore(&opened, &bindings, &cores))?;
        tracing::info!(
            folder = %self.folder.display(),
            messages,
            subscriptions = bindings.len(),
            "store opened"
        );
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
        let no_thread = |source| StoreError::Io {
            doing: "start a thread for",
            file: self.folder.display().to_string(),
            source,
        };
        let (loads, requests) = mpsc::channel();
        let (cores, reader) = (Arc::clone(&self.cores), store.reader().clone());
        let load = move || Loader { cores, reader }.run(&requests);
        // It ends with the process.
        drop(tasks::thread("store-reader", load).map_err(no_thread)?);
        opening.writer = Some(tasks::thread("store", run).map_err(no_thread)?);
        // Under the lock: nobody else has set it.
        let _is_set = self.loads.set(loads);
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
    fn write(&self, core: u16, batches: Vec<RecordBatch>) {
        match self.open.get() {
            Some(store) => store.write(core, batches),
            None => contract::internal!("something is stored where there is no store"),
        }
    }

    fn stats(&self) -> Option<StoreStats> {
        self.open.get().map(store::Store::stats)
    }

    fn load(&self, core: u16, id: LoadId, queue: QueueId, positions: Vec<QueuePosition>) {
        let load = Load { core, id, queue, positions };
        // The thread ends with the process.
        if self.loads.get().is_none_or(|loads| loads.send(load).is_err()) {
            contract::internal!("something is loaded where there is no store");
        }
    }
}

/// Puts what a store has kept into the queues, before anything else is written: what they work by, and
/// the messages themselves of those that are to leave as dead letters. Returns how many there are.
fn restore(
    opened: &Opened,
    bindings: &[(QueueId, Arc<Terms>)],
    cores: &Cores,
) -> Result<usize, StoreError> {
    let mut count = 0;
    let mut restored = Vec::new();
    let numbers = |(queue, producer, numbers)| RestoredNumbers { queue, producer, numbers };
    cores.restore_numbers(opened.producers().into_iter().map(numbers));
    cores.restore(bindings, []);
    for queue in opened.queues() {
        let mut last = None;
        loop {
            let messages = opened.messages_after(&queue, last, RESTORED_AT_ONCE);
            let Some(StoredMessage { position, .. }) = messages.last() else { break };
            last = Some(*position);
            count += messages.len();
            let (dead, on_disk): (Vec<_>, Vec<_>) =
                messages.into_iter().partition(|message| message.dead_letter.is_some());
            for StoredMessage { position, body, dead_letter, attempts, .. } in dead {
                if let Some(message) = opened.reader().read(body)? {
                    let (queue, message) = (queue.clone(), Arc::new(message));
                    restored.push(Restored { queue, position, message, dead_letter, attempts });
                }
            }
            let on_disk = on_disk.into_iter().map(|message| OnDisk {
                position: message.position,
                bytes: message.bytes,
                expires_unix_ms: message.expires_unix_ms,
                due_unix_ms: message.due_unix_ms,
                group: message.group,
                attempts: message.attempts,
            });
            cores.restore_on_disk(&queue, on_disk.collect());
        }
    }
    cores.restore(&[], restored);
    Ok(count)
}

/// Messages of a queue that a core wants.
#[derive(Debug)]
struct Load {
    core: u16,
    id: LoadId,
    queue: QueueId,
    positions: Vec<QueuePosition>,
}

/// Reads messages for the cores, on a thread that may wait for the disk.
struct Loader {
    cores: Arc<OnceLock<Weak<Cores>>>,
    reader: Reader,
}

impl Loader {
    /// Until nobody is left who could want more.
    fn run(&self, requests: &mpsc::Receiver<Load>) {
        while let Ok(Load { core, id, queue, positions }) = requests.recv() {
            let mut failed = None;
            let read = |position| {
                let message = self.reader.read_from(&queue, position).unwrap_or_else(|error| {
                    failed.get_or_insert((0, error)).0 += 1;
                    None
                });
                (position, message.map(Arc::new))
            };
            let messages = positions.into_iter().map(read).collect();
            if let Some((messages, error)) = failed {
                tracing::error!(
                    %error,
                    %queue,
                    messages,
                    "messages cannot be read: they stay in the store, and their queue goes on without them"
                );
            }
            let Some(cores) = self.cores.get().and_then(Weak::upgrade) else { return };
            cores.loaded(core, id, queue, messages);
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

/// Messages of a queue that a core is told of at once when the store is opened.
const RESTORED_AT_ONCE: usize = 10_000;

/// Until a store that could not be opened, or whose disk was full, is tried again.
const RETRY: Duration = Duration::from_secs(1);
