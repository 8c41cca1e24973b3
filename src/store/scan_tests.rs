//! Tests of the raw scan, on files that sled wrote.

use std::collections::BTreeMap;

use super::*;
use crate::store::rows::{append_entries, beside, derived};
use crate::store::{Batch, Engine, SledEngine};

fn bytes_of(index: u64) -> Vec<u8> {
    let mut bytes = vec![index as u8; 150 + (index % 11) as usize * 40];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// Commits entries `from..to`, `step` to a commit, with rows beside them that
/// are rewritten again and again, as a node does.
fn write(engine: &SledEngine, from: u64, to: u64, step: u64) {
    for first in (from..to).step_by(step as usize) {
        let entries: Vec<Vec<u8>> = (first..(first + step).min(to)).map(bytes_of).collect();
        let mut batch = Batch::default();
        append_entries(&mut batch, first, entries.iter().map(Vec::as_slice)).unwrap();
        for name in 0..8_u8 {
            batch.put(derived(&[name]), vec![first as u8; 200]);
        }
        batch.put(beside(first, 0), vec![first as u8; 700]);
        engine.commit(batch).unwrap();
    }
}

/// What a scan finds: each index with its bytes.
fn found(dir: &Path) -> (BTreeMap<u64, Vec<u8>>, Scanned) {
    let mut entries = BTreeMap::new();
    let scanned = scan_raw(dir, &mut |packed| {
        for (index, bytes) in packed.iter() {
            assert_eq!(bytes, bytes_of(index), "a row that verifies is as written");
            entries.insert(index, bytes.to_vec());
        }
    })
    .unwrap();
    (entries, scanned)
}

#[test]
fn finds_all_after_pages_were_split_rewritten_and_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::create(dir.path()).unwrap();
    write(&engine, 0, 900, 23);
    drop(engine);
    assert_eq!(found(dir.path()).0.len(), 900);
    // Opening again makes a snapshot; writing again rewrites pages and uses
    // segments anew.
    for round in 1..4 {
        let (engine, _) = SledEngine::open(dir.path()).unwrap();
        write(&engine, round * 900, (round + 1) * 900, 19);
        drop(engine);
    }
    // Pages that lose their rows are merged with those of the entries.
    let (engine, _) = SledEngine::open(dir.path()).unwrap();
    let mut batch = Batch::default();
    for index in 0..3_600 {
        batch.remove(beside(index, 0));
    }
    engine.commit(batch).unwrap();
    drop(engine);
    let (entries, scanned) = found(dir.path());
    assert!(entries.keys().copied().eq(0..3_600), "{} of 3600", entries.len());
    assert_eq!(scanned.damaged, 0);
    assert!(
        scanned.bytes > 2 * SCAN_WINDOW_BYTES as u64,
        "several windows: {scanned:?}"
    );
}

#[test]
fn a_flipped_byte_costs_its_own_row_only() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::create(dir.path()).unwrap();
    write(&engine, 0, 300, 19);
    drop(engine);
    // Entry 100 stands wherever its row was written: all of them are hit.
    let wanted = bytes_of(100);
    for name in ["db", "journal.0", "journal.1"] {
        let path = dir.path().join(name);
        let mut file = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..file.len().saturating_sub(wanted.len()))
            .filter(|at| file[*at..].starts_with(&wanted))
            .collect();
        assert!(name != "db" || !places.is_empty());
        for at in places {
            file[at + 50] ^= 0x10;
        }
        std::fs::write(&path, file).unwrap();
    }
    let (entries, scanned) = found(dir.path());
    assert!(scanned.damaged >= 1);
    let lost: Vec<u64> = (0..300).filter(|index| !entries.contains_key(index)).collect();
    assert!(lost.contains(&100));
    assert!(
        lost.len() <= 19 && lost.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "one row is lost: {lost:?}"
    );
}

#[test]
fn rows_across_windows_are_found_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut packer = crate::store::Packer::new();
    assert_eq!(packer.push(5, &bytes_of(5)).unwrap(), None);
    let row = packer.finish().unwrap().bytes;
    for at in [
        0,
        SCAN_WINDOW_BYTES - row.len(),
        SCAN_WINDOW_BYTES - 9,
        SCAN_WINDOW_BYTES - 1,
        SCAN_WINDOW_BYTES,
        SCAN_WINDOW_BYTES + PACKED_ROW_BYTES_MAX - 4,
        3 * SCAN_WINDOW_BYTES - 1,
    ] {
        let mut file = vec![0; at];
        file.extend_from_slice(&row);
        std::fs::write(dir.path().join("db"), &file).unwrap();
        let (entries, scanned) = found(dir.path());
        assert_eq!(entries.len(), 1, "at {at}");
        assert_eq!(
            (scanned.rows, scanned.damaged, scanned.bytes),
            (1, 0, file.len() as u64)
        );
        // The same, cut short by a byte.
        file.pop();
        std::fs::write(dir.path().join("db"), &file).unwrap();
        assert_eq!(found(dir.path()).1.rows, 0, "at {at}");
    }
}

/// A file with a block that the disk cannot read.
struct BadBlock {
    file: std::io::Cursor<Vec<u8>>,
    bad: std::ops::Range<u64>,
}

impl Read for BadBlock {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let position = self.file.position();
        if self.bad.contains(&position) {
            return Err(std::io::Error::from_raw_os_error(EIO));
        }
        let room = if position < self.bad.start {
            self.bad.start - position
        } else {
            u64::MAX
        };
        self.file.by_ref().take(room).read(buffer)
    }
}

impl Seek for BadBlock {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_bad_block_is_passed_over() {
    let mut file = Vec::new();
    for index in 0..40 {
        let mut packer = crate::store::Packer::new();
        packer.push(index, &[1; 950]).unwrap();
        let row = packer.finish().unwrap().bytes;
        file.extend_from_slice(&row);
        file.resize((index as usize + 1) * 1_024, 0);
    }
    let mut indices = Vec::new();
    let mut scanned = Scanned::default();
    let reader = BadBlock {
        file: std::io::Cursor::new(file),
        bad: 8_192..16_384,
    };
    scan_reader(reader, &mut scanned, &mut |packed| indices.push(packed.first())).unwrap();
    assert_eq!(indices, (0..8).chain(16..40).collect::<Vec<_>>());
    assert_eq!((scanned.unreadable, scanned.bytes), (8_192, 32 * 1_024));
}

#[test]
fn no_store_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        scan_raw(dir.path(), &mut |_| ()),
        Err(StoreError::Io { .. })
    ));
}
