//! Rows in sled 0.34.7: the only file that names it.
//!
//! What sled does not do by itself, and is done here (house.md, 'The commit path'):
//!
//! - One tree and one batch per commit: a batch is atomic on one tree only.
//! - `flush` writes, but does not sync: after it `sync_data` is called on a
//!   second handle of `<dir>/db`. Without it a power cut loses what was answered.
//! - Values stay under `VALUE_BYTES_MAX`, so that no page becomes a blob file,
//!   which sled never syncs.
//! - Nothing is flushed behind the writer's back (`flush_every_ms(None)`).
//! - A lock file of our own, that says who is meant and never waits.
//! - `open` may panic on a damaged file, so it runs inside `catch_unwind`. The
//!   panic's message still goes to standard error: a hook that hides it would
//!   hide those of other threads too.
//! - sled writes its snapshot only while opening, and opening reads all that was
//!   written since: so closing a store opens it once more, if it was much.
//!
//! A batch can be read a moment before it is durable; what must not be told
//! before it is durable waits for [`Engine::commit`] to return. A scan is no
//! snapshot: rows committed while it runs may be visited or not.
//!
//! Opening a damaged store changes it. Of 24 copies of a store of 400 entries
//! with one bit flipped, sled refused 12 and opened 12; of these, 8 held 326 to
//! 395 rows, and the entries after the damage, whole until then, had been wiped
//! from the file by opening it. So an audit scans the raw file first
//! ([`super::scan`]) and then opens a copy.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::engine::{check_sizes, floor_row};
use super::files::{sync_dir, sync_with_parent};
use super::journaled::Journaled;
use super::rows::{FORMAT, FORMAT_KEY, FORMAT_WITHOUT_JOURNAL};
use super::{Batch, Disk, Engine, OsDisk, Row, StoreError, Visitor};
use crate::primitives::WithRemedy;
use crate::primitives::limits::{STORE_CACHE_BYTES, STORE_SNAPSHOT_BYTES};

/// The lock file inside the store's directory.
pub const LOCK_FILE: &str = "lock";

/// sled's data file inside the store's directory.
pub const DATA_FILE: &str = "db";

/// What the name of a snapshot moved aside begins with.
const KEPT_PREFIX: &str = "kept-";

/// Tries to get sled's own lock, `LOCK_PAUSE` apart: with our lock file held,
/// only sled's threads of a handle just dropped can still hold it.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Rows in a sled tree, durable at every commit.
pub struct SledTree {
    /// `None` only while the engine is dropped: sled first, our lock last.
    db: Option<sled::Db>,
    /// Held by the one commit under way.
    committing: Mutex<Committing>,
    dir: PathBuf,
    _lock: StoreLock,
}

/// What commits one after the other share.
struct Committing {
    /// The second handle of the data file; `Err` says why the engine is
    /// poisoned.
    data: Result<DataFile, String>,
    /// Bytes written since the store was opened: what the next opening reads.
    written: u64,
}

/// The second handle of sled's data file, with the disk it is synced on.
struct DataFile {
    file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl DataFile {
    fn sync(&self) -> std::io::Result<()> {
        self.disk.sync_file(&self.file, &self.path)
    }
}

impl fmt::Debug for SledTree {
    /// sled's own `Debug` prints every row, and with them what is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledTree").finish_non_exhaustive()
    }
}

impl SledTree {
    /// Makes an empty store in `dir`, which is created when it is missing.
    ///
    /// File, directory and parent directory are synced before this returns.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is a store already, or `dir` holds
    /// something else; [`StoreError::Locked`]; [`StoreError::Io`].
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        Self::create_on(Arc::new(OsDisk), dir)
    }

    /// [`create`](Self::create) on another disk than the system's.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io(format!("could not create {}", dir.display())))?;
        let lock = lock(dir)?;
        for file in names_in(dir)? {
            if file != LOCK_FILE {
                return Err(StoreError::Refused(format!(
                    "{} is not empty (it holds {file}); choose another directory for a new store",
                    dir.display()
                )));
            }
        }
        let db = match try_open(dir) {
            Ok(db) => db,
            Err(failure) => return Err(failure.into_error(dir)),
        };
        let engine = Self::with(Arc::clone(&disk), db, dir, lock)?;
        engine.commit(format_row())?;
        sync_with_parent(disk.as_ref(), dir)?;
        Ok(engine)
    }

    /// Opens the store in `dir`. The notes say, a sentence each, what was
    /// repaired on the way; they are for the operator.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no store in `dir`, or one of an
    /// unknown format; [`StoreError::Locked`] when another process has it open;
    /// [`StoreError::Damaged`] when sled cannot open it; [`StoreError::Io`].
    pub fn open(dir: &Path) -> Result<(Self, Vec<String>), StoreError> {
        Self::open_on(Arc::new(OsDisk), dir)
    }

    /// [`open`](Self::open) on another disk than the system's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, Vec<String>), StoreError> {
        if !dir.join(DATA_FILE).is_file() {
            return Err(StoreError::Refused(format!(
                "there is no store in {}; make one with `tallystick init`, or name the right directory",
                dir.display()
            )));
        }
        let lock = lock(dir)?;
        let mut notes = Vec::new();
        remove_unfinished_snapshots(dir, &mut notes)?;
        let db = match try_open(dir) {
            Ok(db) => db,
            Err(failure)
                if failure.may_be_snapshot() && move_snapshots_aside(disk.as_ref(), dir, &mut notes)? =>
            {
                try_open(dir).map_err(|second| second.into_error(dir))?
            }
            Err(failure) => return Err(failure.into_error(dir)),
        };
        let engine = Self::with(disk, db, dir, lock)?;
        engine.check_format(dir)?;
        // Opening wrote a snapshot, and perhaps repaired the data file.
        engine.sync_now(dir)?;
        Ok((engine, notes))
    }

    /// Bytes that the store takes on disk.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when sled cannot say.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.db().size_on_disk().map_err(read_failed)
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("it is taken out by `drop` alone")
    }

    fn with(disk: Arc<dyn Disk>, db: sled::Db, dir: &Path, lock: StoreLock) -> Result<Self, StoreError> {
        let path = dir.join(DATA_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io(format!("could not open {}", path.display())))?;
        Ok(Self {
            db: Some(db),
            committing: Mutex::new(Committing {
                data: Ok(DataFile { file, path, disk }),
                written: 0,
            }),
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    fn check_format(&self, dir: &Path) -> Result<(), StoreError> {
        match self.get(FORMAT_KEY)?.as_deref() {
            Some([FORMAT]) => Ok(()),
            // From here on a program that knows no journal must not open it.
            Some([FORMAT_WITHOUT_JOURNAL]) => self.commit(format_row()),
            Some(other) => Err(StoreError::Refused(format!(
                "the store in {} has format {other:?} and this program reads format {FORMAT}; \
                 use the program that wrote it",
                dir.display()
            ))),
            None if self.db().is_empty() => Err(StoreError::Refused(format!(
                "the store in {} is empty: its creation was cut short, or all of it was lost; if nothing was \
                 ever written, remove the directory and run `tallystick init` again, otherwise restore a copy",
                dir.display()
            ))),
            None => Err(StoreError::Damaged(format!(
                "the store in {} has lost the row that says its format; {ADVICE}",
                dir.display()
            ))),
        }
    }

    fn sync_now(&self, dir: &Path) -> Result<(), StoreError> {
        let committing = self.committing.lock().map_err(|_| panicked())?;
        let data = committing
            .data
            .as_ref()
            .map_err(|why| StoreError::Fatal(why.clone()))?;
        self.db().flush().map_err(read_failed)?;
        data.sync()
            .map_err(|error| StoreError::Fatal(format!("could not sync {}: {error}", dir.display())))?;
        sync_dir(data.disk.as_ref(), dir)
    }

    /// Applies, flushes and syncs; an error text means that nobody knows what
    /// is on disk.
    fn write(&self, batch: sled::Batch, data: &DataFile) -> Result<(), String> {
        self.db()
            .apply_batch(batch)
            .map_err(|error| format!("writing a batch: {}", in_words(&error)))?;
        self.db()
            .flush()
            .map_err(|error| format!("flushing a batch: {}", in_words(&error)))?;
        data.sync()
            .map_err(|error| format!("syncing a batch: {}", WithRemedy(&error)))
    }
}

impl Engine for SledTree {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .db()
            .get(key)
            .map_err(read_failed)?
            .map(|value| value.to_vec()))
    }

    fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, StoreError> {
        let mut failed = None;
        let row = floor_row(prefix, key, |bound| {
            match self
                .db()
                .range::<&[u8], _>((Bound::Unbounded, bound))
                .next_back()?
            {
                Ok((key, value)) => Some((key.to_vec(), value.to_vec())),
                Err(error) => {
                    failed = Some(error);
                    None
                }
            }
        });
        failed.map_or(Ok(row), |error| Err(read_failed(error)))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        for row in self.db().range(from.max(prefix)..) {
            let (key, value) = row.map_err(read_failed)?;
            if !key.starts_with(prefix) || visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        check_sizes(&batch)?;
        let mut committing = self.committing.lock().map_err(|_| panicked())?;
        let data = committing
            .data
            .as_ref()
            .map_err(|why| StoreError::Fatal(why.clone()))?;
        if let Some(key) = &batch.require_absent
            && self.db().contains_key(key).map_err(read_failed)?
        {
            return Err(StoreError::HeadMoved);
        }
        let mut rows = sled::Batch::default();
        let mut written = 0;
        for (key, value) in batch.writes {
            written += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(key),
            }
        }
        if let Err(why) = self.write(rows, data) {
            // After a failed sync the kernel may call lost pages clean, so no
            // later success can be trusted.
            committing.data = Err(format!("an earlier commit failed ({why})"));
            return Err(StoreError::Fatal(why));
        }
        committing.written += written;
        Ok(())
    }
}

impl Drop for SledTree {
    /// Closes sled, and lets it write its snapshot when much was written. After
    /// a failure nothing is touched: the next opening looks at what is there.
    fn drop(&mut self) {
        drop(self.db.take());
        let Ok(committing) = self.committing.get_mut() else {
            return;
        };
        let Ok(data) = &committing.data else { return };
        if committing.written < STORE_SNAPSHOT_BYTES {
            return;
        }
        tracing::info!("closing the store: its snapshot is written, so that the next opening is quick");
        let written = try_open(&self.dir)
            .map_err(|failure| failure.into_error(&self.dir))
            .and_then(|_| sync_dir(data.disk.as_ref(), &self.dir));
        if let Err(error) = written {
            tracing::warn!(%error, "the store's snapshot could not be written; the next opening takes longer");
        }
    }
}

/// The node's store: rows in sled behind a journal.
pub type SledEngine = Journaled<SledTree>;

impl Journaled<SledTree> {
    /// Makes an empty store in `dir`, which is created when it is missing.
    ///
    /// # Errors
    /// As [`SledTree::create`].
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        Self::create_on(Arc::new(OsDisk), dir)
    }

    /// [`create`](Self::create) on another disk than the system's.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        let tree = SledTree::create_on(Arc::clone(&disk), dir)?;
        Self::before(tree, disk, dir)
    }

    /// Opens the store in `dir`, with notes on what was repaired on the way.
    ///
    /// # Errors
    /// As [`SledTree::open`]; [`StoreError::Damaged`] when the journal lacks a
    /// record.
    pub fn open(dir: &Path) -> Result<(Self, Vec<String>), StoreError> {
        Self::open_on(Arc::new(OsDisk), dir)
    }

    /// [`open`](Self::open) on another disk than the system's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, Vec<String>), StoreError> {
        let (tree, notes) = SledTree::open_on(Arc::clone(&disk), dir)?;
        Ok((Self::before(tree, disk, dir)?, notes))
    }

    /// Bytes that the rows below the journal take on disk.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when sled cannot say.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.below().size_on_disk()
    }
}

fn format_row() -> Batch {
    let mut batch = Batch::default();
    batch.put(FORMAT_KEY, [FORMAT]);
    batch
}

const ADVICE: &str = "keep a copy of the directory as it is, run `tallystick audit` on that copy to learn what can \
                      be read, and restore a backup or fetch the entries from a mirror";

fn panicked() -> StoreError {
    StoreError::Fatal("an earlier commit panicked".into())
}

fn read_failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(format!("{error}; {ADVICE}")),
        other => StoreError::Fatal(format!("sled: {}", in_words(&other))),
    }
}

fn in_words(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(error) => WithRemedy(error).to_string(),
        other => other.to_string(),
    }
}

/// Why sled did not open.
enum OpenFailure {
    Sled(sled::Error),
    Panicked(String),
}

impl OpenFailure {
    fn is_locked(&self) -> bool {
        // sled gives its lock error no kind of its own.
        matches!(self, Self::Sled(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock"))
    }

    /// Errors of the operating system are not cured by moving files.
    fn may_be_snapshot(&self) -> bool {
        match self {
            Self::Panicked(_) => true,
            Self::Sled(sled::Error::Io(error)) => {
                !self.is_locked()
                    && matches!(
                        error.kind(),
                        std::io::ErrorKind::Other
                            | std::io::ErrorKind::InvalidData
                            | std::io::ErrorKind::InvalidInput
                            | std::io::ErrorKind::UnexpectedEof
                    )
            }
            Self::Sled(_) => true,
        }
    }

    fn into_error(self, dir: &Path) -> StoreError {
        if self.is_locked() {
            return StoreError::Locked {
                path: dir.display().to_string(),
                lock: dir.join(DATA_FILE).display().to_string(),
            };
        }
        let why = match self {
            Self::Sled(sled::Error::Io(source)) if source.raw_os_error().is_some() => {
                return StoreError::Io {
                    context: format!("could not open the store in {}", dir.display()),
                    source,
                };
            }
            Self::Sled(error) => error.to_string(),
            Self::Panicked(message) => message,
        };
        StoreError::Damaged(format!("{} cannot be opened ({why}); {ADVICE}", dir.display()))
    }
}

fn try_open(dir: &Path) -> Result<sled::Db, OpenFailure> {
    let mut tries = 1;
    loop {
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| {
            sled::Config::new()
                .path(dir)
                .cache_capacity(STORE_CACHE_BYTES)
                .flush_every_ms(None)
                .open()
        }));
        let failure = match opened {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => OpenFailure::Sled(error),
            Err(panic) => OpenFailure::Panicked(
                panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_else(|| "sled panicked".to_owned()),
            ),
        };
        if !failure.is_locked() || tries == LOCK_TRIES {
            return Err(failure);
        }
        tries += 1;
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// The lock on a store's directory.
#[derive(Debug)]
struct StoreLock(File);

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Closing alone would not do: a child process that is just being started
        // holds a copy of the file until it becomes another program.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<StoreLock, StoreError> {
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io(format!("could not open {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(StoreLock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: dir.display().to_string(),
            lock: path.display().to_string(),
        }),
        Err(TryLockError::Error(source)) => Err(StoreError::Io {
            context: format!("could not lock {}", path.display()),
            source,
        }),
    }
}

fn names_in(dir: &Path) -> Result<Vec<String>, StoreError> {
    let failed = || StoreError::io(format!("could not list {}", dir.display()));
    let mut names = Vec::new();
    for file in fs::read_dir(dir).map_err(failed())? {
        names.push(file.map_err(failed())?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A snapshot that was being written when the process died makes sled report
/// corruption; the data file has all of it.
fn remove_unfinished_snapshots(dir: &Path, notes: &mut Vec<String>) -> Result<(), StoreError> {
    for name in names_in(dir)? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let path = dir.join(&name);
            fs::remove_file(&path).map_err(StoreError::io(format!("could not remove {}", path.display())))?;
            notes.push(format!("removed the unfinished snapshot {name}"));
        }
    }
    Ok(())
}

/// Renames the snapshots, so that sled rebuilds from the data file alone.
/// False when there is none.
fn move_snapshots_aside(disk: &dyn Disk, dir: &Path, notes: &mut Vec<String>) -> Result<bool, StoreError> {
    let mut any = false;
    for name in names_in(dir)?
        .into_iter()
        .filter(|name| name.starts_with("snap."))
    {
        let kept = free_name(dir, &name);
        fs::rename(dir.join(&name), &kept).map_err(StoreError::io(format!(
            "could not rename {name} in {}",
            dir.display()
        )))?;
        notes.push(format!(
            "sled could not open the store with its snapshot {name}; it is kept as {} and the store was \
             rebuilt from its data file",
            kept.display()
        ));
        any = true;
    }
    sync_dir(disk, dir)?;
    Ok(any)
}

fn free_name(dir: &Path, name: &str) -> PathBuf {
    let mut kept = dir.join(format!("{KEPT_PREFIX}{name}"));
    let mut number = 1_u32;
    while kept.exists() {
        number += 1;
        kept = dir.join(format!("{KEPT_PREFIX}{number}-{name}"));
    }
    kept
}

#[cfg(test)]
#[path = "sled_tests.rs"]
mod tests;
