use std::{
    fmt,
    ops::Deref,
    path::{Path, PathBuf},
};

use crate::ConfigError;

/// A path that the configuration names. Nothing is looked up while the configuration is read:
/// a caller that opens the path reports what is wrong with it as an error of the file.
#[derive(Clone, Debug)]
pub struct NamedPath {
    path: PathBuf,
    /// Where the file names it, with the beginning of a message.
    place: Option<ConfigError>,
}

impl NamedPath {
    pub(crate) const fn new(path: PathBuf, place: ConfigError) -> Self {
        Self { path, place: Some(place) }
    }

    /// An error at the place where the configuration names the path.
    #[must_use]
    pub fn error(&self, message: impl fmt::Display) -> ConfigError {
        match self.place.clone() {
            Some(place) => {
                ConfigError { message: format!("{}{message}", place.message).into(), ..place }
            }
            None => ConfigError::of_file(&self.path.display().to_string(), message),
        }
    }
}

/// Two that name the same are equal, wherever they stand.
impl PartialEq for NamedPath {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for NamedPath {}

impl Deref for NamedPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// A path that no file names.
impl From<PathBuf> for NamedPath {
    fn from(path: PathBuf) -> Self {
        Self { path, place: None }
    }
}
