use std::fmt;

/// What is wrong with a configuration, in the words of the file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError {
    /// The file's name.
    pub file: Box<str>,
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: Box<str>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message } = self;
        match line {
            0 => write!(f, "{file}: {message}"),
            _ => write!(f, "{file}:{line}:{column}: {message}"),
        }
    }
}

impl ConfigError {
    /// An error about the file as a whole.
    #[must_use]
    pub fn of_file(file: &str, message: impl fmt::Display) -> Self {
        Self { file: file.into(), line: 0, column: 0, message: message.to_string().into() }
    }
}

/// All that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConfigErrors {
    /// The first of them.
    pub(crate) errors: Vec<ConfigError>,
    /// How many there are besides.
    pub(crate) more: usize,
}

impl ConfigErrors {
    /// Errors that are shown; beyond, they are counted.
    pub(crate) const SHOWN_MAX: usize = 100;

    /// The first of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    pub(crate) fn push(&mut self, error: ConfigError) {
        if self.errors.len() < Self::SHOWN_MAX {
            let place = |error: &ConfigError| (error.line, error.column);
            let at = self.errors.partition_point(|other| place(other) <= place(&error));
            self.errors.insert(at, error);
        } else {
            self.more += 1;
        }
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self { errors: vec![error], more: 0 }
    }
}

/// A line for each.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}
