//! The copy that an audit works on, and the place for it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::store::sled::{DATA_FILE, LOCK_FILE};

use super::AuditError;

/// A directory of the audit's own, owner-only, removed when dropped.
#[derive(Debug)]
pub(super) struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    /// Makes one in `wanted`; else beside `store`, where copying can share
    /// blocks and there is room for what was there before; else in the
    /// system's directory for temporary files.
    pub fn make(wanted: Option<&Path>, store: &Path) -> Result<Self, AuditError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let beside = store.parent().map(Path::to_path_buf);
        let places = match wanted {
            Some(wanted) => vec![wanted.to_path_buf()],
            None => beside.into_iter().chain([std::env::temp_dir()]).collect(),
        };
        let mut failed = None;
        for place in places {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = place.join(format!(".tallystick-audit-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(source) => {
                    failed = Some(AuditError::Io {
                        context: format!("could not make the audit's working directory {}", path.display()),
                        source,
                    });
                }
            }
        }
        Err(failed.expect("there is always a place to try"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Nothing is lost when a left-over stays: its name says what it is.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The lock of the store that is copied: nobody opens it meanwhile.
#[derive(Debug)]
pub(super) struct StoreLock {
    file: Option<File>,
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Closing alone would not do: a child process that is just being started
        // holds a copy of the file until it becomes another program.
        if let Some(file) = &self.file {
            let _ = file.unlock();
        }
    }
}

impl StoreLock {
    /// Takes the lock, if the store has a lock file that can be opened (a copy
    /// on a read-only medium needs none).
    pub fn take(store: &Path) -> Result<Self, AuditError> {
        let Ok(file) = OpenOptions::new().read(true).open(store.join(LOCK_FILE)) else {
            return Ok(Self { file: None });
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(AuditError::InUse {
                store: store.to_path_buf(),
            }),
            Err(TryLockError::Error(_)) => Ok(Self { file: None }),
        }
    }
}

/// Copies the files of the store in `from` to `to`, its lock aside.
pub(super) fn copy_store(from: &Path, to: &Path) -> Result<(), AuditError> {
    if !from.join(DATA_FILE).is_file() {
        return Err(AuditError::NoStore {
            path: from.to_path_buf(),
        });
    }
    let failed = |path: &Path| {
        let context = format!("could not copy {}", path.display());
        move |source| AuditError::Io { context, source }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for file in fs::read_dir(from).map_err(failed(from))? {
        let file = file.map_err(failed(from))?;
        let (path, name) = (file.path(), file.file_name());
        if path.is_dir() {
            // sled's blobs: one level, files only.
            copy_files(&path, &to.join(&name)).map_err(failed(&path))?;
        } else if name != LOCK_FILE {
            fs::copy(&path, to.join(&name)).map_err(failed(&path))?;
        }
    }
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.path().is_file() {
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}
