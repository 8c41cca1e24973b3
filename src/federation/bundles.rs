//! Entries in order, from bundles of 256, each entry hashed and found in the
//! tree of a signed checkpoint. A few bundles are under way at a time: memory
//! does not grow with the log.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::error::FollowError;
use super::tree::{VerifiedTree, fetch, path};
use crate::log::tile_path::{TileKind, read_bundle};
use crate::merkle::{Hash, TILE_LEN, leaf_hash, root_of};
use crate::primitives::limits;

const BUNDLE_LEN: u64 = TILE_LEN as u64;

/// What entries a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryForm {
    /// Tallystick's: deterministic CBOR of at most 6 KiB, linked by hashes.
    Tallystick,
    /// Any bytes of a C2SP log.
    Any,
}

impl EntryForm {
    /// Longest entry.
    #[must_use]
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Tallystick => limits::ENTRY_BYTES_MAX,
            Self::Any => limits::FOREIGN_ENTRY_BYTES_MAX,
        }
    }
}

/// The entries under a tile of level 0, or the first of them. Their hashes are
/// those of the checkpoint's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    number: u64,
    bytes: Vec<u8>,
    /// Where each entry stands in `bytes`.
    spans: Vec<Range<usize>>,
    hashes: Vec<Hash>,
}

impl Bundle {
    fn parse(number: u64, mut bytes: Vec<u8>, served: u16, width: u16) -> Result<Self, crate::log::LogError> {
        let mut spans = Vec::with_capacity(usize::from(width));
        let mut hashes = Vec::with_capacity(usize::from(width));
        let mut end = 0;
        for entry in read_bundle(&bytes, served)?.iter().take(usize::from(width)) {
            let start = end + 2;
            end = start + entry.len();
            spans.push(start..end);
            hashes.push(leaf_hash(entry));
        }
        bytes.truncate(end);
        Ok(Self {
            number,
            bytes,
            spans,
            hashes,
        })
    }

    /// A full bundle, not checked against any tree.
    pub(super) fn whole(number: u64, bytes: Vec<u8>) -> Result<Self, crate::log::LogError> {
        Self::parse(number, bytes, TILE_LEN as u16, TILE_LEN as u16)
    }

    /// Which bundle: its first entry is this times 256.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many entries it has, at most 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        u16::try_from(self.hashes.len()).expect("at most 256")
    }

    /// Index of its first entry.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.number * BUNDLE_LEN
    }

    /// Its entries with their indices.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let spans = self.spans.iter().map(|span| &self.bytes[span.clone()]);
        (self.first()..).zip(spans)
    }

    /// The entries' hashes, which are their leaves in the tree.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The bundle as C2SP logs serve it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the entries of a bundle have to hash to.
enum Expected {
    /// The root of a full tile.
    Full(Hash),
    /// Each leaf of an unfinished one.
    Partial(Vec<Hash>),
}

struct Job<T, E> {
    number: u64,
    expected: Expected,
    done: Sender<Result<(Bundle, T), E>>,
}

impl VerifiedTree {
    /// Reads and checks bundle `number`, as far as the checkpoint's tree has it.
    ///
    /// # Errors
    /// [`FollowError::EntryChanged`] names the first entry that is not what was
    /// signed.
    pub fn bundle(&self, number: u64, form: EntryForm) -> Result<Bundle, FollowError> {
        let expected = self.expected(number)?;
        self.fetch_bundle(number, &expected, form)
    }

    /// Reads the bundles that hold the entries `range` (the first and last ones
    /// whole, as far as the tree has them), several at a time. `work` is called in
    /// the threads that fetch, for what can be done with each bundle alone; `each`
    /// in this one, in order.
    ///
    /// # Errors
    /// The first error of fetching, checking, `work` or `each`, in the order of the
    /// entries; and [`FollowError::Tree`] where the tree ends before the range.
    pub fn read_entries<T, E>(
        &self,
        range: Range<u64>,
        form: EntryForm,
        work: &(dyn Fn(&Bundle) -> Result<T, E> + Sync),
        each: &mut dyn FnMut(Bundle, T) -> Result<(), E>,
    ) -> Result<(), E>
    where
        T: Send,
        E: From<FollowError> + Send,
    {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.size() {
            let what = format!("it has {} entries, not {}", self.size(), range.end);
            return Err(FollowError::Tree(what).into());
        }
        let numbers = range.start / BUNDLE_LEN..range.end.div_ceil(BUNDLE_LEN);
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (jobs, taken) = bounded::<Job<T, E>>(limits::BUNDLES_IN_FLIGHT_MAX);
            for _ in 0..limits::BUNDLES_IN_FLIGHT_MAX
                .min(usize::try_from(numbers.end - numbers.start).unwrap_or(usize::MAX))
            {
                let (taken, stopped) = (taken.clone(), &stopped);
                scope.spawn(move || self.fetch_all(&taken, stopped, form, work));
            }
            drop(taken);
            let result = self.hand_out(numbers, &jobs, each);
            stopped.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Gives out jobs and takes the results in the same order.
    fn hand_out<T, E: From<FollowError>>(
        &self,
        mut numbers: Range<u64>,
        jobs: &Sender<Job<T, E>>,
        each: &mut dyn FnMut(Bundle, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut waiting: VecDeque<Receiver<Result<(Bundle, T), E>>> = VecDeque::new();
        loop {
            while waiting.len() < limits::BUNDLES_IN_FLIGHT_MAX
                && let Some(number) = numbers.next()
            {
                let (done, result) = bounded(1);
                let expected = self.expected(number)?;
                let job = Job {
                    number,
                    expected,
                    done,
                };
                if jobs.send(job).is_err() {
                    return Ok(()); // A worker panicked, and so will the scope.
                }
                waiting.push_back(result);
            }
            let Some(next) = waiting.pop_front() else {
                return Ok(());
            };
            let Ok(result) = next.recv() else {
                return Ok(()); // As above.
            };
            let (bundle, made) = result?;
            each(bundle, made)?;
        }
    }

    fn fetch_all<T, E: From<FollowError>>(
        &self,
        jobs: &Receiver<Job<T, E>>,
        stopped: &AtomicBool,
        form: EntryForm,
        work: &(dyn Fn(&Bundle) -> Result<T, E> + Sync),
    ) {
        for job in jobs {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let result = self
                .fetch_bundle(job.number, &job.expected, form)
                .map_err(E::from)
                .and_then(|bundle| {
                    let made = work(&bundle)?;
                    Ok((bundle, made))
                });
            // Nobody waits any more once an earlier bundle has failed.
            let _ = job.done.send(result);
        }
    }

    fn expected(&self, number: u64) -> Result<Expected, FollowError> {
        let first = number.saturating_mul(BUNDLE_LEN);
        let len = self.size().saturating_sub(first).min(BUNDLE_LEN);
        if len == BUNDLE_LEN {
            Ok(Expected::Full(self.node(BUNDLE_LEN.ilog2(), number)?))
        } else {
            let len = usize::try_from(len).expect("below 256");
            Ok(Expected::Partial(self.tile(0, number, len)?))
        }
    }

    fn fetch_bundle(&self, number: u64, expected: &Expected, form: EntryForm) -> Result<Bundle, FollowError> {
        let width = match expected {
            Expected::Full(_) => TILE_LEN,
            Expected::Partial(leaves) => leaves.len(),
        };
        let width = u16::try_from(width).expect("at most 256");
        let wanted = path(TileKind::Entries, number, width);
        let most = |width| usize::from(width) * (2 + form.bytes_max());
        let from = || self.source().name().to_owned();
        let (bytes, served) = fetch(self.source().as_ref(), wanted, self.size(), most)?;
        let bundle = Bundle::parse(number, bytes, served, width).map_err(|error| FollowError::Bundle {
            from: from(),
            path: wanted.to_string(),
            first: number * BUNDLE_LEN,
            error,
        })?;
        let as_expected = match expected {
            Expected::Full(root) => root_of(&bundle.hashes) == *root,
            Expected::Partial(leaves) => bundle.hashes == *leaves,
        };
        if as_expected {
            return Ok(bundle);
        }
        let leaves = match expected {
            Expected::Full(_) => &self.tile(0, number, TILE_LEN)?,
            Expected::Partial(leaves) => leaves,
        };
        let changed = leaves
            .iter()
            .zip(&bundle.hashes)
            .position(|(leaf, hash)| leaf != hash);
        let changed = changed.expect("the tile was checked, so that some hash differs") as u64;
        Err(FollowError::EntryChanged {
            from: from(),
            index: bundle.first() + changed,
            size: self.size(),
        })
    }
}
