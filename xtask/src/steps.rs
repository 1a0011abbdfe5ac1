use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};

/// A list of steps that are all run, whatever becomes of each.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    only: Vec<String>,
    list: bool,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    took: Duration,
    outcome: Outcome,
}

impl Steps {
    /// Steps of which only those run whose name begins with one of `only` (all, if it is empty);
    /// with `list` they are named, not run.
    pub(crate) fn some(only: &[String], list: bool) -> Self {
        Self { only: only.to_vec(), list, rows: Vec::new() }
    }

    /// Runs a step and remembers what became of it. Tells whether it succeeded.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Outcome) -> bool {
        if !self.only.is_empty() && !self.only.iter().any(|only| name.starts_with(only)) {
            return true;
        }
        if self.list {
            println!("{name}");
            return true;
        }
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        match &outcome {
            Ok(()) => println!("=== {name}: passed in {:.1} s", took.as_secs_f32()),
            Err(failure) => println!("=== {name}: {failure}"),
        }
        let passed = outcome.is_ok();
        self.rows.push(Row { name: name.to_owned(), took, outcome });
        passed
    }

    /// Prints what became of each, and a last line that says how many passed and failed. A step
    /// that could not run counts as failed.
    pub(crate) fn finish(self) -> Outcome {
        if self.list {
            return Ok(());
        }
        println!("\n=== Summary");
        for row in &self.rows {
            let word = match &row.outcome {
                Ok(()) => "passed",
                Err(Failure::Failed(_)) => "FAILED",
                Err(Failure::Missing(_)) => "NOT RUN",
            };
            println!("{:>8.1} s  {word:<8} {}", row.took.as_secs_f32(), row.name);
            if let Err(failure) = &row.outcome {
                println!("                       {failure}");
            }
        }
        let total: Duration = self.rows.iter().map(|row| row.took).sum();
        let failed = self.rows.iter().filter(|row| row.outcome.is_err()).count();
        let passed = self.rows.len() - failed;
        println!("{:>8.1} s  in all\n\n{passed} passed, {failed} failed", total.as_secs_f32());
        if failed > 0 {
            return Err(Failure::failed("not everything passed"));
        }
        if passed == 0 {
            return Err(Failure::failed("no step has such a name"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_could_not_run_fails_the_whole() {
        let mut steps = Steps::default();
        assert!(steps.run("one", || Ok(())));
        assert!(
            !steps.run("two", || Err(Failure::missing("chromium", "apt-get install chromium")))
        );
        assert!(steps.run("three", || Ok(())));
        assert!(steps.finish().is_err());
    }

    #[test]
    fn only_the_named_steps_run() {
        let mut steps = Steps::some(&["interop".into()], false);
        steps.run("lint: format", || Err(Failure::failed("must not run")));
        steps.run("interop: stompjs", || Ok(()));
        assert!(steps.finish().is_ok());
        assert!(Steps::some(&["nothing".into()], false).finish().is_err());
    }
}
