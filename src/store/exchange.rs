//! A new store in the place of an old one, in one step.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use rustix::io::Errno;

use super::files::{parent_of, sync_dir};
use super::{Disk, StoreError};

/// Exchanges the names of two directories that lie in one directory. The system
/// does it in one step: after a kill or a power cut at any moment either both
/// have their old names or both their new ones. [`sync_names`] makes it durable.
///
/// # Errors
/// [`StoreError::Refused`] where the file system cannot do that,
/// [`StoreError::Io`]: nothing has changed then.
pub fn exchange(one: &Path, other: &Path) -> Result<(), StoreError> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(StoreError::Refused(format!(
            "the file system of {} cannot exchange two directories in one step; move the node's directory to one \
             that can (ext4, XFS, Btrfs, ZFS from 2.2)",
            one.display()
        ))),
        Err(error) => Err(StoreError::io(format!(
            "could not exchange {} and {}",
            one.display(),
            other.display()
        ))(error.into())),
    }
}

/// Makes the names beside `path`, and its own, outlive a power cut.
///
/// # Errors
/// [`StoreError::Io`].
pub fn sync_names(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    sync_dir(disk, parent_of(path))
}

/// Bytes that may still be written to the file system of `path`.
///
/// # Errors
/// [`StoreError::Io`].
pub fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let stat = statvfs(path).map_err(|error| {
        StoreError::io(format!("could not ask for the free room of {}", path.display()))(error.into())
    })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testkit::node::ScratchDir;

    #[test]
    fn two_directories_change_their_names_or_keep_them() {
        let scratch = ScratchDir::new();
        let (one, other) = (scratch.path().join("one"), scratch.path().join("other"));
        fs::create_dir(&one).unwrap();
        fs::write(one.join("first"), b"1").unwrap();
        assert!(matches!(exchange(&one, &other), Err(StoreError::Io { .. })));
        assert!(one.join("first").exists());
        fs::create_dir(&other).unwrap();
        exchange(&one, &other).unwrap();
        sync_names(&crate::store::OsDisk, &one).unwrap();
        assert!(other.join("first").exists() && !one.join("first").exists());
        assert!(free_bytes(scratch.path()).unwrap() > 0);
    }
}
