//! The kill test: a gateway is killed at random moments under load, again and again on the same
//! store, and what its clients were told is compared with what is there afterwards.
//!
//! A *round* has a store of its own and a seed. The clients of a round ([`actors`]) live through all
//! of its kills and keep a ledger ([`event`]). In the end its queues are emptied, and [`check`] tells
//! from the ledger alone whether each promise was kept. SIGKILL leaves the page cache as it is, so
//! this is the end of the process, not of the machine; for that `crates/store` has its model.

mod actors;
mod check;
mod client;
mod dice;
mod durable;
mod event;
mod process;
mod round;
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};

use self::{
    round::{Round, Totals},
    stage::lock,
};

/// How often, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The gateway's binary
    program: PathBuf,
    /// Where stores, logs and ledgers go
    #[arg(long)]
    work: PathBuf,
    /// How often to kill it
    #[arg(long, default_value_t = 300)]
    count: u32,
    /// The seed of the first round; each other round has the next one
    #[arg(long)]
    seed: u32,
    /// Rounds at a time, each with a gateway and a store of its own
    #[arg(long, default_value_t = 2)]
    lanes: u32,
    /// Show that it can fail, by forgetting something
    #[arg(long, value_enum)]
    forget: Option<Forget>,
}

/// What is forgotten to show that the test can fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Forget {
    /// All deliveries of a confirmed message, in the ledger: it is lost
    Message,
    /// What the store has written between two kills: its folder is put back
    Store,
}

/// Kills it as often as wanted. Tells whether all promises were kept.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    fs::create_dir_all(&options.work).map_err(|error| error.to_string())?;
    let work = options.work.canonicalize().map_err(|error| error.to_string())?;
    // Gateways are started in their own folders.
    let program = options.program.canonicalize();
    let program = program.map_err(|error| format!("{}: {error}", options.program.display()))?;
    let begin = Instant::now();
    let rounds = options.count.div_ceil(KILLS_PER_ROUND);
    let (next, failed) = (AtomicU32::new(0), AtomicBool::new(false));
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..options.lanes.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= rounds {
                        break;
                    }
                    let left = options.count - index * KILLS_PER_ROUND;
                    let kills = left.min(KILLS_PER_ROUND);
                    let seed = options.seed.wrapping_add(index);
                    let folder = work.join(format!("seed-{seed}"));
                    let round = Round::play(&program, &folder, seed, kills, options.forget);
                    let is_kept = round.faults.is_empty();
                    let shown = report(&round, seed, kills, &folder);
                    let elapsed = begin.elapsed().as_secs();
                    println!("[{}/{rounds}, {elapsed} s] {shown}", index + 1);
                    *lock(&totals) += round.totals;
                    if is_kept {
                        drop(fs::remove_dir_all(&folder));
                    } else {
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = totals.missing();
    if let Some(missing) = missing {
        println!("FAULT: {missing}");
    }
    let failed = failed.into_inner() || missing.is_some();
    println!(
        "\n{totals} from seed {}, on {}, in {} s: {}",
        options.seed,
        crate::process::machine(),
        begin.elapsed().as_secs(),
        if failed { "FAILED" } else { "all promises were kept" }
    );
    Ok(!failed)
}

/// Checks a ledger in a file. Tells whether all promises were kept.
pub(crate) fn check_file(file: &Path) -> Result<bool, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let faults = check::check(&event::parse(&text)?);
    faults.iter().for_each(|fault| println!("{fault}"));
    println!("{} faults", faults.len());
    Ok(faults.is_empty())
}

fn report(round: &Round, seed: u32, kills: u32, folder: &Path) -> String {
    let mut shown = format!("seed {seed}: {}", round.totals);
    if round.faults.is_empty() {
        return shown;
    }
    for fault in round.faults.iter().take(FAULTS_SHOWN) {
        shown += &format!("\n    FAULT: {fault}");
    }
    if round.faults.len() > FAULTS_SHOWN {
        shown += &format!("\n    and {} more", round.faults.len() - FAULTS_SHOWN);
    }
    shown += &format!(
        "\n    The store, the log and the ledger are in {}. Again: cargo xtask chaos kill --seed \
         {seed} --count {kills}",
        folder.display()
    );
    shown
}

/// On one store.
const KILLS_PER_ROUND: u32 = 50;
const FAULTS_SHOWN: usize = 10;
