//! Entries out of the raw files of a store that sled cannot open, or opens
//! with less than the guard file says there must be (house.md, 'A damaged file').
//!
//! Scan before sled opens the file, or scan a copy made before: opening can wipe
//! whole rows that lie after the damage ([`super::sled`]).
//!
//! sled writes a value as one run of bytes: when it is put, as the end of a
//! record of its log, and again whenever it rewrites the page that holds it.
//! Neither is compressed, and neither crosses a segment of its file; the journal
//! holds values as they are too. So a packed row is found by its magic wherever it lies, and believed when its
//! SHA-256 fits. What follows from it:
//!
//! - The same row is found as often as sled has written it; the caller counts
//!   an index once.
//! - Rows that were never committed, because the process died inside a commit,
//!   can be found too. The hash links say which entries belong to the log.
//! - Rows found in segments that sled has since given free stay until it
//!   writes over them. Entries are never removed, so that does no harm here;
//!   records beside the log can have been erased and are not looked for.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::StoreError;
use super::journal::SEGMENT_FILES;
use super::pack::{MAGIC, Packed};
use crate::primitives::limits::{PACKED_ROW_BYTES_MAX, SCAN_WINDOW_BYTES};

/// What the system calls a place of the disk that cannot be read (Linux, POSIX).
const EIO: i32 = 5;

/// Step over a place that cannot be read: the size of a page of the system.
const BLOCK_BYTES: u64 = 4096;

/// What a raw scan went over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Bytes read.
    pub bytes: u64,
    /// Rows whose SHA-256 fits, repeats included.
    pub rows: u64,
    /// Bytes that the disk could not read; they were passed over.
    pub unreadable: u64,
    /// Places with the magic of a row where its SHA-256 does not fit.
    pub damaged: u64,
}

/// Visits every whole packed row in the files of the store in `dir`, in no
/// order, some more than once. Reads only; holds `SCAN_WINDOW_BYTES` and one
/// row in memory. Works without a lock: the caller sees to it that nobody writes.
///
/// # Errors
/// [`StoreError::Io`] when a file cannot be opened or read; a bad place on the
/// disk is passed over and counted.
pub fn scan_raw(dir: &Path, visit: &mut dyn FnMut(Packed<'_>)) -> Result<Scanned, StoreError> {
    let mut scanned = Scanned::default();
    scan_file(&dir.join("db"), &mut scanned, visit)?;
    for segment in SEGMENT_FILES.map(|name| dir.join(name)) {
        if segment.is_file() {
            scan_file(&segment, &mut scanned, visit)?;
        }
    }
    let blobs = dir.join("blobs");
    if !blobs.is_dir() {
        return Ok(scanned);
    }
    let failed = || StoreError::io(format!("could not list {}", blobs.display()));
    for blob in std::fs::read_dir(&blobs).map_err(failed())? {
        scan_file(&blob.map_err(failed())?.path(), &mut scanned, visit)?;
    }
    Ok(scanned)
}

fn scan_file(
    path: &Path,
    scanned: &mut Scanned,
    visit: &mut dyn FnMut(Packed<'_>),
) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| scan_reader(file, scanned, visit))
        .map_err(StoreError::io(format!("could not read {}", path.display())))
}

fn scan_reader(
    mut file: impl Read + Seek,
    scanned: &mut Scanned,
    visit: &mut dyn FnMut(Packed<'_>),
) -> std::io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut position = file.seek(SeekFrom::Start(0))?;
    let mut window = vec![0; SCAN_WINDOW_BYTES + PACKED_ROW_BYTES_MAX];
    let mut filled = 0;
    loop {
        match file.read(&mut window[filled..]) {
            Ok(0) => {
                scan_window(&window[..filled], filled, scanned, visit);
                return Ok(());
            }
            Ok(read) => {
                filled += read;
                position += read as u64;
                scanned.bytes += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(EIO) && position < end => {
                // A bad place on the disk: what stands before it and after it
                // can still be read.
                scan_window(&window[..filled], filled, scanned, visit);
                filled = 0;
                let next = (position / BLOCK_BYTES + 1) * BLOCK_BYTES;
                scanned.unreadable += next.min(end) - position;
                position = file.seek(SeekFrom::Start(next))?;
            }
            Err(error) => return Err(error),
        }
        if filled == window.len() {
            // A row that begins in the last bytes may go on past the window:
            // it is looked at in the next one.
            let reached = scan_window(&window, SCAN_WINDOW_BYTES, scanned, visit);
            window.copy_within(reached.., 0);
            filled -= reached;
        }
    }
}

/// Looks for rows that begin before `stop`; gives back where to go on.
fn scan_window(bytes: &[u8], stop: usize, scanned: &mut Scanned, visit: &mut dyn FnMut(Packed<'_>)) -> usize {
    let mut at = 0;
    while at < stop {
        let Some(found) = bytes[at..]
            .windows(MAGIC.len())
            .position(|window| window == MAGIC)
        else {
            return stop;
        };
        at += found;
        if at >= stop {
            return stop;
        }
        match Packed::parse_front(&bytes[at..]) {
            Some(packed) => {
                scanned.rows += 1;
                visit(packed);
                at += packed.as_bytes().len();
            }
            None => {
                scanned.damaged += 1;
                at += 1;
            }
        }
    }
    at
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
