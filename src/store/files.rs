//! Syncing of files and directories.

use std::fs::File;
use std::path::Path;

use super::{Disk, StoreError};

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    disk.sync_dir(dir).map_err(StoreError::io(format!(
        "could not sync the directory {}",
        dir.display()
    )))
}

/// Makes the files in `dir`, their names and the name of `dir` itself durable.
pub(super) fn sync_with_parent(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let failed = || StoreError::io(format!("could not sync {}", dir.display()));
    for file in std::fs::read_dir(dir).map_err(failed())? {
        let path = file.map_err(failed())?.path();
        File::open(&path)
            .and_then(|handle| disk.sync_file(&handle, &path))
            .map_err(failed())?;
    }
    sync_dir(disk, dir)?;
    sync_dir(disk, parent_of(dir))
}

/// The directory that holds `path`.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
