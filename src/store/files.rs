//! Syncing of files and directories.

use std::fs::File;
use std::path::Path;

use super::StoreError;

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(StoreError::io(format!(
            "could not sync the directory {}",
            dir.display()
        )))
}

/// Makes the files in `dir`, their names and the name of `dir` itself durable.
pub(super) fn sync_with_parent(dir: &Path) -> Result<(), StoreError> {
    let failed = || StoreError::io(format!("could not sync {}", dir.display()));
    for file in std::fs::read_dir(dir).map_err(failed())? {
        let file = file.map_err(failed())?;
        File::open(file.path())
            .and_then(|handle| handle.sync_all())
            .map_err(failed())?;
    }
    sync_dir(dir)?;
    sync_dir(parent_of(dir))
}

/// The directory that holds `path`.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
