use std::fmt;

/// What becomes of a piece of work.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a piece of work did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ran, and failed.
    Failed(String),
    /// It could not run: a tool is not there. Says what to install.
    Missing(String),
}

impl Failure {
    /// It ran, and failed.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// It could not run for want of `tool`; `remedy` is the command that brings it.
    pub(crate) fn missing(tool: &str, remedy: &str) -> Self {
        Self::Missing(format!("{tool} is not there; install it with: {remedy}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::Missing(what) => write!(f, "could not run: {what}"),
        }
    }
}

/// Adds what was being done when the kernel refused.
pub(crate) trait Doing<T> {
    /// Turns an error into a [`Failure`] that begins with `what`.
    fn doing(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure::Failed(format!("{what}: {error}")))
    }
}
