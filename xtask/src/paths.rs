use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::failure::{Doing, Outcome};

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where everything goes that is made or downloaded.
pub(crate) fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A folder under [`target`], made if need be.
pub(crate) fn folder(name: &str) -> Outcome<PathBuf> {
    let path = target().join(name);
    fs::create_dir_all(&path).doing(path.display())?;
    Ok(path)
}

/// The same, emptied.
pub(crate) fn fresh_folder(name: &str) -> Outcome<PathBuf> {
    let path = target().join(name);
    if path.exists() {
        fs::remove_dir_all(&path).doing(path.display())?;
    }
    folder(name)
}
