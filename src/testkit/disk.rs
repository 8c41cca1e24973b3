//! Disks for tests: one that fails on demand and can lose what was not synced,
//! one that leaves the store's sync out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Fault;
use crate::store::journaled::SEGMENT_FILES;
use crate::store::sled::DATA_FILE;
use crate::store::{Disk, OsDisk};

/// What would outlive a power cut, by what was synced.
#[derive(Debug, Default)]
struct Durable {
    /// Each file as it was when it was synced last.
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// The names in each directory when it was synced last.
    names: BTreeMap<PathBuf, BTreeSet<OsString>>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    failed: Option<String>,
}

/// A disk of which one call fails on demand, and which can lose everything
/// that was not synced: the worst that a power cut may leave, where the files
/// of a real one keep some of it. Clones drive the same disk.
///
/// A call fails once and the next one succeeds, as with a real disk: whoever
/// goes on after a failed sync is not stopped by this disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    durable: Arc<Mutex<Durable>>,
}

impl FaultyDisk {
    /// A disk on which the files of `dirs`, as they stand now, are durable. A
    /// directory that is not there yet is watched from its first sync on.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn over(dirs: &[&Path]) -> Self {
        let disk = Self::default();
        {
            let mut durable = disk.durable();
            for dir in dirs.iter().filter(|dir| dir.is_dir()) {
                durable.sync_names(dir).expect("a readable directory");
                for path in files_in(dir).expect("a readable directory") {
                    durable.sync_bytes(&path).expect("a readable file");
                }
            }
        }
        disk
    }

    /// Lets the `nth` call from now fail (1 is the next one).
    pub fn fail(&self, nth: u64, fault: Fault) {
        let mut durable = self.durable();
        durable.fault = Some((durable.calls + nth, fault));
    }

    /// Calls made so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.durable().calls
    }

    /// What the call that failed was to do.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        self.durable().failed.clone()
    }

    /// Takes back what was not synced. Nothing may have the files open.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn cut_power(&self) {
        let durable = self.durable();
        for (dir, names) in &durable.names {
            for path in files_in(dir).unwrap_or_default() {
                let kept = path.file_name().is_some_and(|name| names.contains(name));
                if !kept {
                    fs::remove_file(&path).expect("a file of the test's own");
                }
            }
            for path in names
                .iter()
                .map(|name| dir.join(name))
                .filter(|path| !path.is_dir())
            {
                let synced = durable.files.get(&path).cloned();
                fs::write(&path, synced.unwrap_or_default()).expect("a file of the test's own");
            }
        }
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().expect("no holder of the lock panics")
    }

    /// Does `call`, or fails as planned; `synced` keeps what it made durable.
    fn run(
        &self,
        what: impl FnOnce() -> String,
        call: impl FnOnce() -> io::Result<()>,
        synced: impl FnOnce(&mut Durable) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut durable = self.durable();
        durable.calls += 1;
        let fault = durable.fault.filter(|(at, _)| *at == durable.calls);
        if let Some((_, fault)) = fault {
            durable.failed = Some(what());
            if fault == Fault::Persisted {
                call()?;
                synced(&mut durable)?;
            }
            return Err(io::Error::other(format!("a fault was asked for: {fault:?}")));
        }
        call()?;
        synced(&mut durable)
    }
}

impl Durable {
    fn sync_bytes(&mut self, path: &Path) -> io::Result<()> {
        self.files.insert(path.to_owned(), fs::read(path)?);
        Ok(())
    }

    fn sync_names(&mut self, dir: &Path) -> io::Result<()> {
        let mut names = BTreeSet::new();
        for file in fs::read_dir(dir)? {
            names.insert(file?.file_name());
        }
        self.names.insert(dir.to_owned(), names);
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        let what = || format!("write {}", path.display());
        let call = || OsDisk.write_at(file, path, bytes, offset);
        self.run(what, call, |_| Ok(()))
    }

    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        let what = || format!("sync {}", path.display());
        let call = || OsDisk.sync_file(file, path);
        self.run(what, call, |durable| {
            if path.is_dir() {
                durable.sync_names(path)
            } else {
                durable.sync_bytes(path)
            }
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let what = || format!("sync the directory {}", dir.display());
        self.run(what, || OsDisk.sync_dir(dir), |durable| durable.sync_names(dir))
    }
}

fn files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// A disk that syncs everything but the store's journal and data file: what a
/// node would be that trusts the system to write them. A rig that finds nothing wrong with it finds
/// nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnsyncedDisk;

impl Disk for UnsyncedDisk {
    /// Not past the page cache: what is to be lost has to be in it.
    fn open_blocks(&self, path: &Path, _block: usize) -> io::Result<File> {
        File::options().write(true).open(path)
    }

    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        OsDisk.write_at(file, path, bytes, offset)
    }

    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        let unsynced = |name| name == DATA_FILE || SEGMENT_FILES.iter().any(|segment| name == *segment);
        if path.file_name().is_some_and(unsynced) {
            return Ok(());
        }
        OsDisk.sync_file(file, path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}
