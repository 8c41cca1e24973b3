//! A log of one's own making, in memory: entries, tiles and signed checkpoints as
//! a node serves them, and every way to lie about them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use ed25519_dalek::{Signer as _, SigningKey};

use crate::encoding::cbor;
use crate::federation::{FetchError, LogSource};
use crate::ledger::{Event, Genesis};
use crate::log::tile_path::{TileKind, partial_width, write_bundle_entry};
use crate::log::{Checkpoint, Entry, KeyKind, TilePath, VerifierKey, entry_hash};
use crate::merkle::{Frontier, Hash, TILE_LEN, leaf_hash, root_of};
use crate::primitives::{Digest, UnixSeconds};

/// What [`TestLog`]s are called.
pub const ORIGIN: &str = "coop.example";

/// A log whose maker holds its key.
#[derive(Clone, Debug)]
pub struct TestLog {
    key: SigningKey,
    /// The entries' bytes; change them as you like.
    pub entries: Vec<Vec<u8>>,
}

impl TestLog {
    /// A Tallystick log of `size` entries, the first of them a genesis entry, the
    /// others of a kind that nobody knows yet.
    ///
    /// # Panics
    /// When the entries cannot be made.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let mut log = Self {
            key: SigningKey::from_bytes(&[7; 32]),
            entries: Vec::new(),
        };
        log.grow(size);
        log
    }

    /// Appends entries up to `size`.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn grow(&mut self, size: usize) {
        while self.entries.len() < size {
            let index = self.entries.len();
            let entry = self.entry(index, &format!("entry {index}"));
            self.entries.push(entry);
        }
    }

    /// The same log in which entry `index` says `text`, the hash links after it
    /// made anew: what a node does that rewrites its past.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn rewritten(&self, index: usize, text: &str) -> Self {
        let mut log = Self {
            entries: self.entries[..index].to_vec(),
            ..self.clone()
        };
        log.entries.push(log.entry(index, text));
        log.grow(self.entries.len());
        log
    }

    fn entry(&self, index: usize, text: &str) -> Vec<u8> {
        let previous = index
            .checked_sub(1)
            .map_or(Digest::ZERO, |before| entry_hash(&self.entries[before]));
        let (kind, body) = if index == 0 {
            let genesis = Event::Genesis(Genesis {
                name: text.to_owned(),
                base_url: format!("https://{ORIGIN}"),
                credential_key: [1; 32],
                log_key: *self.key.verifying_key().as_bytes(),
                witness_key: [2; 32],
            });
            let mut body = Vec::new();
            genesis.write_body(&mut body, None, [0; 16]);
            (genesis.kind(), cbor::decode(&body, body.len()).expect("a body"))
        } else {
            (999, cbor::text(text))
        };
        let entry = Entry {
            index: index as u64,
            time: UnixSeconds(1_772_900_000 + index as u64 / 10),
            previous,
            kind,
            body,
        };
        entry.encode().expect("a short entry")
    }

    /// The log's key.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn vkey(&self) -> VerifierKey {
        VerifierKey::new(ORIGIN, KeyKind::Ed25519, self.key.verifying_key()).expect("a plain name")
    }

    /// A checkpoint of any size and root, signed.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn signed(&self, size: u64, root: Hash) -> String {
        let checkpoint = Checkpoint::new(ORIGIN, size, Digest(root));
        let note = checkpoint.sign(&self.vkey(), |text| self.key.sign(text).to_bytes());
        note.expect("the log's own key").to_string()
    }

    /// All files that it serves at its size.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let size = self.entries.len() as u64;
        let mut hashes: Vec<Hash> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut frontier = Frontier::new();
        hashes.iter().for_each(|hash| frontier.push(*hash));
        files.insert(
            "checkpoint".to_owned(),
            self.signed(size, frontier.root()).into_bytes(),
        );
        let path = |kind, number, width: usize| {
            let width = u16::try_from(width).expect("at most 256");
            TilePath::new(kind, number, width)
                .expect("a level below 8")
                .to_string()
        };
        for (number, entries) in (0..).zip(self.entries.chunks(TILE_LEN)) {
            let mut bundle = Vec::new();
            for entry in entries {
                write_bundle_entry(&mut bundle, entry).expect("a short entry");
            }
            files.insert(path(TileKind::Entries, number, entries.len()), bundle);
        }
        for level in 0.. {
            let mut above = Vec::new();
            for (number, tile) in (0..).zip(hashes.chunks(TILE_LEN)) {
                files.insert(
                    path(TileKind::Hashes(level), number, tile.len()),
                    tile.as_flattened().to_vec(),
                );
                if tile.len() == TILE_LEN {
                    above.push(root_of(tile));
                }
            }
            debug_assert_eq!(hashes.len() % TILE_LEN, usize::from(partial_width(level, size)));
            if above.is_empty() {
                return files;
            }
            hashes = above;
        }
        files
    }

    /// Where it is served from, as it is now.
    #[must_use]
    pub fn source(&self) -> Arc<MemorySource> {
        Arc::new(MemorySource(Mutex::new(self.files())))
    }
}

/// Files in memory, to be changed under the reader.
#[derive(Debug, Default)]
pub struct MemorySource(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemorySource {
    /// The files.
    ///
    /// # Panics
    /// When a holder of them has.
    pub fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Serves what `log` has now, and nothing else.
    pub fn serve(&self, log: &TestLog) {
        *self.files() = log.files();
    }

    /// Changes one file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.files().get_mut(path).expect("a file that is served"));
    }
}

impl LogSource for MemorySource {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let found = self.files().get(path).cloned();
        match found {
            Some(bytes) if bytes.len() > most => Err(FetchError::TooLong {
                what: path.to_owned(),
                most,
            }),
            found => Ok(found),
        }
    }

    fn name(&self) -> &str {
        "memory"
    }
}
