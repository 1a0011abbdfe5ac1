use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use crate::failure::{Doing, Outcome};

/// A note beside something made, of what it was made from: made again only when that changes.
#[derive(Debug)]
pub(crate) struct Stamp {
    file: PathBuf,
    mark: String,
}

impl Stamp {
    /// The stamp in `file`, of something made from the files and folders `inputs` in the way `how`.
    pub(crate) fn new(file: PathBuf, inputs: &[PathBuf], how: &str) -> Outcome<Self> {
        let mut hasher = DefaultHasher::new();
        how.hash(&mut hasher);
        for input in inputs {
            add(input, &mut hasher)?;
        }
        Ok(Self { file, mark: format!("{:016x}\n", hasher.finish()) })
    }

    /// Whether nothing has changed since [`Stamp::set`].
    pub(crate) fn is_set(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|mark| mark == self.mark)
    }

    /// Notes that it was made.
    pub(crate) fn set(&self) -> Outcome {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).doing(folder.display())?;
        }
        fs::write(&self.file, &self.mark).doing(self.file.display())
    }
}

/// Adds a file, or all files of a folder but those that were made there.
fn add(path: &Path, hasher: &mut DefaultHasher) -> Outcome {
    if path.is_file() {
        path.hash(hasher);
        fs::read(path).doing(path.display())?.hash(hasher);
    } else if path.is_dir() {
        let entries = fs::read_dir(path).doing(path.display())?;
        let mut entries = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .doing(path.display())?;
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default();
            if name != "node_modules" && name != "dist" {
                add(&entry, hasher)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_until_an_input_changes() {
        let folder = std::env::temp_dir().join(format!("xtask-stamp-{}", std::process::id()));
        let source = folder.join("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("a"), "1").unwrap();
        let stamp =
            || Stamp::new(folder.join("stamp"), std::slice::from_ref(&source), "how").unwrap();
        assert!(!stamp().is_set());
        stamp().set().unwrap();
        assert!(stamp().is_set());
        fs::write(source.join("a"), "2").unwrap();
        assert!(!stamp().is_set());
        fs::remove_dir_all(folder).unwrap();
    }
}
