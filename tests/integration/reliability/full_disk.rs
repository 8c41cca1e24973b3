//! A disk that can be filled, and that has room again.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Deref;
use std::path::PathBuf;

use super::loop_fs::TmpFs;

/// A disk of its own, some of which can be taken away.
pub struct Disk(TmpFs);

impl Disk {
    /// `None`, with a word, where none can be made.
    pub fn of_kibibytes(kibibytes: u64) -> Option<Self> {
        TmpFs::fresh(kibibytes)
            .map_err(|why| eprintln!("SKIPPED, no disk can be filled here: {why}"))
            .ok()
            .map(Self)
    }

    /// The node's directory on it.
    pub fn shop(&self) -> PathBuf {
        self.root().join("shop")
    }

    fn filler(&self) -> PathBuf {
        self.root().join("filler")
    }

    /// Takes all that is free.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&[7; 4096]).is_ok() {}
    }

    /// Gives that many bytes back.
    pub fn free_some(&self, bytes: u64) {
        let filler = File::options().write(true).open(self.filler()).unwrap();
        let length = filler.metadata().unwrap().len();
        filler.set_len(length - bytes).unwrap();
    }

    /// Gives all back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Deref for Disk {
    type Target = TmpFs;

    fn deref(&self) -> &TmpFs {
        &self.0
    }
}
