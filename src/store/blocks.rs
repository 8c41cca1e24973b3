//! A file that is overwritten in whole blocks, and durable after each: the
//! journal's segments, the guard.
//!
//! Where the file system can, the blocks go past the page cache (`O_DIRECT`):
//! what is written is read again only by the next opening, and the two thirds of
//! the processor time that it takes are the page cache's. Where it cannot,
//! nothing but that time differs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Disk;

/// Bytes of a block: a page, and a multiple of the sectors of disks.
pub const BLOCK_BYTES: usize = 4096;

/// A file that is there, and a buffer whose address direct writes take.
#[derive(Debug)]
pub(super) struct BlockFile {
    disk: Arc<dyn Disk>,
    file: File,
    path: PathBuf,
    block: usize,
    buffer: Vec<u8>,
}

impl BlockFile {
    /// Opens the file at `path` for overwriting blocks of `block` bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, block: usize) -> io::Result<Self> {
        let file = disk.open_blocks(path, block)?;
        Ok(Self {
            disk,
            file,
            path: path.to_owned(),
            block,
            buffer: Vec::new(),
        })
    }

    /// Overwrites what is at `offset`, where a block begins, with `parts` one after
    /// the other and zeros up to the end of a block. It is durable then, if the
    /// file had these blocks before.
    ///
    /// # Errors
    /// What the system says; what the blocks hold is not known then.
    pub fn overwrite(&mut self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let padded = length.next_multiple_of(self.block);
        self.buffer.clear();
        self.buffer.reserve(padded + self.block);
        // Within what was reserved nothing moves.
        let start = self.buffer.as_ptr().align_offset(self.block);
        self.buffer.resize(start, 0);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.buffer.resize(start + padded, 0);
        self.disk
            .write_at(&self.file, &self.path, &self.buffer[start..], offset)?;
        self.disk.sync_file(&self.file, &self.path)
    }

    /// Puts `file` in its place, and gives back what was there.
    #[cfg(test)]
    pub fn replace(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::store::OsDisk;

    #[test]
    fn blocks_are_overwritten_and_padded_with_zeros() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        std::fs::write(&path, [7; 4 * BLOCK_BYTES]).unwrap();
        let mut blocks = BlockFile::open(Arc::new(OsDisk), &path, BLOCK_BYTES).unwrap();
        for length in [1, 100, BLOCK_BYTES - 3, BLOCK_BYTES - 2, 2 * BLOCK_BYTES - 2] {
            std::fs::write(&path, [7; 4 * BLOCK_BYTES]).unwrap();
            let part = vec![1; length];
            blocks.overwrite(&[&[2, 3], &part], BLOCK_BYTES as u64).unwrap();
            let end = BLOCK_BYTES + (length + 2).next_multiple_of(BLOCK_BYTES);
            let mut expected = vec![7; 4 * BLOCK_BYTES];
            expected[BLOCK_BYTES..end].fill(0);
            expected[BLOCK_BYTES..BLOCK_BYTES + 2].copy_from_slice(&[2, 3]);
            expected[BLOCK_BYTES + 2..BLOCK_BYTES + 2 + length].fill(1);
            assert!(std::fs::read(&path).unwrap() == expected, "{length}");
        }
    }

    #[test]
    fn what_was_written_past_the_cache_is_read_through_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        let plain = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .unwrap();
        plain.write_all_at(&[0; 2 * BLOCK_BYTES], 0).unwrap();
        let mut blocks = BlockFile::open(Arc::new(OsDisk), &path, BLOCK_BYTES).unwrap();
        let mut read = [0; 5];
        for text in [b"first", b"other"] {
            blocks.overwrite(&[text], BLOCK_BYTES as u64).unwrap();
            plain.read_exact_at(&mut read, BLOCK_BYTES as u64).unwrap();
            assert_eq!(&read, text);
        }
    }
}
