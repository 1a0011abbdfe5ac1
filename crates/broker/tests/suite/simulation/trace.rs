//! What happened in a run: its hash, and its last lines to find a fault with.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

#[derive(Debug)]
pub(super) struct Trace {
    seed: u64,
    step: usize,
    hasher: DefaultHasher,
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Trace {
    /// Keeps this many lines.
    pub(super) fn new(seed: u64, lines_max: usize) -> Self {
        let lines = VecDeque::new();
        Self { seed, step: 0, hasher: DefaultHasher::new(), lines, lines_max }
    }

    pub(super) fn add(&mut self, line: String) {
        line.hash(&mut self.hasher);
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) const fn begin_step(&mut self, step: usize) {
        self.step = step;
    }

    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}

impl Drop for Trace {
    /// Whatever panics, the run can be repeated.
    #[expect(clippy::print_stderr, reason = "a test has failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.lines {
                eprintln!("{line}");
            }
            eprintln!("SIMULATION_SEED={} fails at step {}", self.seed, self.step);
        }
    }
}
