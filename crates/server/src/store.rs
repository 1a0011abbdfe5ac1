//! The store of the process: where it is, when it is opened, and how the cores come to it.

mod opening;

use std::{
    env, future,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
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

use self::opening::{Failure, Opening};

/// The store, opened with the first durable message if it was not opened before.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    cores: Arc<OnceLock<Weak<Cores>>>,
    cores_count: u16,
    sync: SyncPolicy,
    /// The default where the configuration names no store.
    segment_bytes: Option<u32>,
    opened: OnceLock<store::Store>,
    /// To the thread that reads messages.
    loads: OnceLock<mpsc::Sender<Load>>,
    opening: Mutex<Opening>,
    /// It is there, and could not be opened. One that is made is none of these.
    is_unread: AtomicBool,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    /// Itself, for the thread that opens it.
    this: Weak<Self>,
    /// Until when durable messages are refused since the disk was full, on the monotonic clock.
    full_until_ns: Arc<AtomicU64>,
}

impl Store {
    /// The store of this configuration, for so many cores; not open yet.
    pub(crate) fn new(config: &Config, cores_count: u16) -> Arc<Self> {
        let path = config.store.as_ref().and_then(|store| store.path.as_deref());
        let sync = config.store.as_ref().map(|store| store.sync).unwrap_or_default();
        Arc::new_cyclic(|this| Self {
            folder: path.map_or_else(|| state_directory().join("store"), Path::to_path_buf),
            cores: Arc::default(),
            cores_count,
            sync,
            segment_bytes: config.store.as_ref().map(|store| store.segment_bytes),
            opened: OnceLock::new(),
            loads: OnceLock::new(),
            opening: Mutex::default(),
            is_unread: AtomicBool::new(false),
            writer: Mutex::default(),
            this: Weak::clone(this),
            full_until_ns: Arc::default(),
        })
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
        self.lock_opening().begin(clock::now());
        match self.open() {
            Err(error @ StoreError::Locked { .. }) if !is_named => {
                self.ended(Some(&error));
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.ended(None);
                Ok(())
            }
        }
    }

    /// Opens it beside the cores: they would wait for the disk otherwise, and for the time that it takes
    /// to read a large one.
    fn open_beside(&self) {
        let Some(this) = self.this.upgrade() else { return };
        let open = move || this.ended(this.open().err().as_ref());
        if let Err(error) = tasks::thread("store-opener", open) {
            self.ended(Some(&self.no_thread(error)));
        }
    }

    fn ended(&self, error: Option<&StoreError>) {
        let failure = error.map(|error| Failure {
            what: error.to_string(),
            is_costly: !matches!(error, StoreError::Locked { .. }),
        });
        self.is_unread.store(failure.is_some() && self.folder.is_dir(), Ordering::Relaxed);
        let is_news = self.lock_opening().ended(failure, clock::now());
        if let Some(error) = error.filter(|_| is_news) {
            tracing::warn!(%error, "persistent messages are refused: there is no store");
        }
        // Who waits for it goes on.
        if let Some(cores) = self.cores.get().and_then(Weak::upgrade) {
            cores.store_opened(error.is_none());
        }
    }

    fn lock_opening(&self) -> MutexGuard<'_, Opening> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it, and puts what it has kept into the queues. One attempt at a time.
    fn open(&self) -> Result<(), StoreError> {
        let folder = Folder::open(&self.folder)?;
        let mut options = Options::new(self.cores_count, salt());
        options.syncs_commits = self.sync == SyncPolicy::Always;
        options.segment_bytes = self.segment_bytes.unwrap_or(options.segment_bytes);
        let opened = store::open(Arc::new(folder), options)?;
        let kept = Kept::of(&opened)?;
        tracing::info!(
            folder = %self.folder.display(),
            messages = kept.messages,
            subscriptions = kept.bindings.len(),
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
        let (loads, requests) = mpsc::channel();
        let (cores, reader) = (Arc::clone(&self.cores), store.reader().clone());
        let load = move || Loader { cores, reader }.run(&requests);
        // It ends with the process.
        drop(tasks::thread("store-reader", load).map_err(|error| self.no_thread(error))?);
        let writer = tasks::thread("store", run).map_err(|error| self.no_thread(error))?;
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).replace(writer);
        // Nobody else has set these.
        let _is_set = self.loads.set(loads);
        let _is_set = self.opened.set(store);
        // Cores that have something may load and remove it: so only now.
        if let Some(cores) = self.cores.get().and_then(Weak::upgrade) {
            kept.restore(&cores);
        }
        Ok(())
    }

    fn no_thread(&self, source: io::Error) -> StoreError {
        let file = self.folder.display().to_string();
        StoreError::Io { doing: "start a thread for", file, source }
    }

    /// Has what was written synced from time to time, if it is not before it is confirmed.
    pub(crate) async fn sync(&self) {
        if self.sync == SyncPolicy::Always {
            return future::pending().await;
        }
        let mut due = time::interval(SYNC_INTERVAL);
        loop {
            due.tick().await;
            if let Some(store) = self.opened.get() {
                store.sync();
            }
        }
    }

    /// Writes what is left. Nothing is to be stored any more.
    pub(crate) fn close(&self) {
        let Some(store) = self.opened.get() else { return };
        store.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has ended the process if it could not write.
        if let Some(writer) = writer {
            drop(writer.join());
        }
    }
}

impl StoreGate for Store {
    fn refusal(&self) -> Option<Refusal> {
        if !self.is_open() {
            let mut opening = self.lock_opening();
            // It may have been opened just now.
            if !self.is_open() {
                let begins = opening.begin(clock::now());
                let refusal = (!opening.is_running()).then_some(Refusal::NoStore);
                drop(opening);
                if begins {
                    self.open_beside();
                }
                return refusal;
            }
        }
        let full_until_ns = self.full_until_ns.load(Ordering::Relaxed);
        (full_until_ns > 0 && clock::now().mono_ns < full_until_ns).then_some(Refusal::StoreFull)
    }

    fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    fn is_unread(&self) -> bool {
        self.is_unread.load(Ordering::Relaxed)
    }
}

impl drive::Store for Store {
    fn write(&self, core: u16, batches: Vec<RecordBatch>) {
        match self.opened.get() {
            Some(store) => store.write(core, batches),
            None => {
                // It must not be confirmed with what comes later.
                contract::internal!("something is stored where there is no store");
                logging::flush();
                process::exit(1);
            }
        }
    }

    fn stats(&self) -> Option<StoreStats> {
        self.opened.get().map(store::Store::stats)
    }

    fn load(&self, core: u16, id: LoadId, queue: QueueId, positions: Vec<QueuePosition>) {
        let load = Load { core, id, queue, positions };
        // The thread ends with the process.
        if self.loads.get().is_none_or(|loads| loads.send(load).is_err()) {
            contract::internal!("something is loaded where there is no store");
        }
    }
}

/// What a store has kept, for the queues: what they work by, and the messages themselves of those that are to
/// leave as dead letters.
struct Kept {
    producers: Vec<RestoredNumbers>,
    bindings: Vec<(QueueId, Arc<Terms>)>,
    on_disk: Vec<(QueueId, Vec<OnDisk>)>,
    dead: Vec<Restored>,
    /// How many there are.
    messages: usize,
}

impl Kept {
    fn of(opened: &Opened) -> Result<Self, StoreError> {
        let numbers = |(queue, producer, numbers)| RestoredNumbers { queue, producer, numbers };
        let producers = opened.producers().into_iter().map(numbers).collect();
        let bindings = opened.bindings();
        let mut kept =
            Self { producers, bindings, on_disk: Vec::new(), dead: Vec::new(), messages: 0 };
        for queue in opened.queues() {
            let mut last = None;
            loop {
                let messages = opened.messages_after(&queue, last, RESTORED_AT_ONCE);
                let Some(StoredMessage { position, .. }) = messages.last() else { break };
                last = Some(*position);
                kept.messages += messages.len();
                let (dead, on_disk): (Vec<_>, Vec<_>) =
                    messages.into_iter().partition(|message| message.dead_letter.is_some());
                for StoredMessage { position, body, dead_letter, attempts, .. } in dead {
                    if let Some(message) = opened.reader().read(body)? {
                        let (queue, message) = (queue.clone(), Arc::new(message));
                        kept.dead.push(Restored {
                            queue,
                            position,
                            message,
                            dead_letter,
                            attempts,
                        });
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
                kept.on_disk.push((queue.clone(), on_disk.collect()));
            }
        }
        Ok(kept)
    }

    /// Puts it into the queues, before anything else is written.
    fn restore(self, cores: &Cores) {
        cores.restore_numbers(self.producers);
        cores.restore(&self.bindings, []);
        for (queue, messages) in self.on_disk {
            cores.restore_on_disk(&queue, messages);
        }
        cores.restore(&[], self.dead);
    }
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
const RESTORED_AT_ONCE: usize = 1000;

/// Until a store whose disk was full is tried again.
const RETRY: Duration = Duration::from_secs(1);
