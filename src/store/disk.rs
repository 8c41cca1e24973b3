//! What the store asks of the operating system to make its writes durable, as
//! a seam: tests let each of these calls fail, or leave it out to show that it
//! is needed. The program itself has one implementation, [`OsDisk`], and every
//! constructor that is not told otherwise takes it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// The calls that stand between a write and its being durable.
///
/// # Contract
/// When a call returns `Ok`, what it was asked for outlives a power cut. When
/// it fails, nobody knows how much of it is on disk; the caller stops.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens `path`, which is there, for overwriting whole blocks of `block`
    /// bytes, past the page cache where that is possible.
    ///
    /// # Errors
    /// What the system says.
    fn open_blocks(&self, path: &Path, block: usize) -> io::Result<File> {
        match open_direct(path, block) {
            Some(file) => Ok(file),
            None => OpenOptions::new().write(true).open(path),
        }
    }

    /// Overwrites `bytes` at `offset` of `file`, which is at `path`.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written into `file`, which is at `path`, durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn write_at(&self, file: &File, _path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// `fdatasync`: it also syncs a file's new length, and the places of its blocks.
    fn sync_file(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// `path` without the page cache; `None` where file system or disk refuse it,
/// which some do only when something is read or written.
fn open_direct(path: &Path, block: usize) -> Option<File> {
    if !block.is_multiple_of(super::blocks::BLOCK_BYTES) {
        return None;
    }
    let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let mut room = vec![0; 2 * block];
    let start = room.as_ptr().align_offset(block);
    file.read_at(&mut room[start..start + block], 0).ok()?;
    Some(file)
}
