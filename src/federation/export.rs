//! A stretch of a log as files of the log's own layout: its entries and what lies
//! beside them, the checkpoint, and of the tree the hashes that lead from these
//! entries to the checkpoint's root. Whoever has the directory can audit the stretch
//! without the node.
//!
//! The first bundle is always there, since entry 0 names the log's keys. Everything
//! is checked on the way, as a mirror checks it.

use std::ops::Range;
use std::path::Path;

use super::beside::{Beside, TagFetcher};
use super::bundles::{Bundle, EntryForm};
use super::client::SignedCheckpoint;
use super::copy::{CopyFiles, TagTiles};
use super::error::FollowError;
use super::tree::VerifiedTree;
use crate::log::{Entry, VerifierKey};
use crate::merkle::TILE_LEN;
use crate::primitives::UnixSeconds;

const BUNDLE_LEN: u64 = TILE_LEN as u64;

/// An entry of the stretch, with the stub beside it.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The receipt's stub; empty where there is none, or none is shown.
    pub stub: &'a [u8],
}

/// The index of the first entry made at `time` or later; the log's size where there
/// is none. Entry times never decrease, so a few bundles tell.
///
/// # Errors
/// [`FollowError`] when they cannot be read.
pub fn first_at(tree: &VerifiedTree, time: UnixSeconds) -> Result<u64, FollowError> {
    let starts_late = |number: u64| {
        let bundle = tree.bundle(number, EntryForm::Tallystick)?;
        let first = bundle.entries().next().and_then(|(_, bytes)| time_of(bytes));
        Ok::<bool, FollowError>(first.is_none_or(|first| first >= time))
    };
    let (mut known_early, mut known_late) = (0, tree.size().div_ceil(BUNDLE_LEN));
    if known_late == 0 || starts_late(0)? {
        return Ok(0);
    }
    while known_late - known_early > 1 {
        let middle = known_early + (known_late - known_early) / 2;
        if starts_late(middle)? {
            known_late = middle;
        } else {
            known_early = middle;
        }
    }
    let bundle = tree.bundle(known_early, EntryForm::Tallystick)?;
    let found = bundle
        .entries()
        .find(|(_, bytes)| time_of(bytes).is_some_and(|made| made >= time));
    Ok(found.map_or((known_late * BUNDLE_LEN).min(tree.size()), |(index, _)| index))
}

fn time_of(bytes: &[u8]) -> Option<UnixSeconds> {
    Entry::decode(bytes).ok().map(|entry| entry.time)
}

/// Whether entry `index` can be had, before anything is written.
///
/// # Errors
/// [`FollowError`] when it cannot: it is not shown, or is not what was signed.
pub fn check_shown(tree: &VerifiedTree, index: u64) -> Result<(), FollowError> {
    tree.bundle(index / BUNDLE_LEN, EntryForm::Tallystick).map(drop)
}

/// Writes the entries `range` of the tree's log into `dir`, and gives each of them to
/// `visit`, in order. [`seal`] makes an export of it.
///
/// # Errors
/// What reading and checking gives, and `visit`; [`FollowError::Copy`] for what
/// cannot be written.
pub fn export<E: From<FollowError> + Send>(
    tree: &VerifiedTree,
    dir: &Path,
    range: Range<u64>,
    visit: &mut dyn FnMut(Exported<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let files = CopyFiles::new(dir);
    let mut export = Export {
        tree,
        tags: TagTiles::begin(&files, 0)?,
        fetcher: TagFetcher::new(tree.source().as_ref(), tree.size()),
        files: &files,
    };
    let mut nobody = |_: Exported<'_>| Ok(());
    if range.start >= BUNDLE_LEN || range.is_empty() {
        export.entries::<E>(0..tree.size().min(1), false, &mut nobody)?;
    }
    export.entries(range, true, visit)?;
    export.hashes()?;
    Ok(export.tags.finish()?)
}

/// Writes the checkpoint, the last of all, once everything in `dir` is durable: a
/// directory without one was cut off.
///
/// # Errors
/// [`FollowError::Copy`].
pub fn seal(tree: &VerifiedTree, key: &VerifierKey, dir: &Path) -> Result<(), FollowError> {
    let files = CopyFiles::new(dir);
    files.put_key(key)?;
    files.sync()?;
    let SignedCheckpoint { note, .. } = tree.signed();
    files.put_checkpoint(note)
}

struct Export<'a> {
    tree: &'a VerifiedTree,
    files: &'a CopyFiles,
    tags: TagTiles<'a>,
    fetcher: TagFetcher<'a>,
}

impl Export<'_> {
    /// The bundles that hold `range`; of batches in the range the tags too.
    fn entries<E: From<FollowError> + Send>(
        &mut self,
        range: Range<u64>,
        with_tags: bool,
        visit: &mut dyn FnMut(Exported<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (tree, files) = (self.tree, self.files);
        let read = |bundle: &Bundle| Ok::<Option<Beside>, E>(beside(tree, bundle)?);
        let (tags, fetcher) = (&mut self.tags, &mut self.fetcher);
        tree.read_entries(
            range.clone(),
            EntryForm::Tallystick,
            &read,
            &mut |bundle, beside| {
                files.put_bundle(&bundle)?;
                if let Some(beside) = &beside {
                    files.put_stubs(&bundle, &beside.stubs)?;
                }
                let none = Vec::new();
                let mut stubs = beside.iter().flat_map(|beside| &beside.stubs);
                for (index, bytes) in bundle.entries() {
                    let stub = stubs.next().unwrap_or(&none);
                    if range.contains(&index) {
                        visit(Exported { index, bytes, stub })?;
                    }
                }
                let batches = beside.iter().flat_map(|beside| &beside.batches);
                for (index, batch) in batches.filter(|(index, _)| with_tags && range.contains(index)) {
                    tags.put(batch.first.0, &fetcher.batch(*index, batch)?)?;
                }
                Ok(())
            },
        )
    }

    /// The tree above its leaves, and its unfinished tile of leaves.
    fn hashes(&self) -> Result<(), FollowError> {
        let size = self.tree.size();
        let edge = size / BUNDLE_LEN;
        if !size.is_multiple_of(BUNDLE_LEN) {
            self.files.put_hashes(self.tree, 0, edge)?;
        }
        for level in 1..8 {
            for number in 0..(size >> (u32::from(level) * 8)).div_ceil(BUNDLE_LEN) {
                self.files.put_hashes(self.tree, level, number)?;
            }
        }
        Ok(())
    }
}

/// What lies beside a bundle's entries; `None` where the source has nothing of it.
fn beside(tree: &VerifiedTree, bundle: &Bundle) -> Result<Option<Beside>, FollowError> {
    match Beside::read(tree.source().as_ref(), bundle, tree.size()) {
        Ok(beside) => Ok(Some(beside)),
        Err(error) if error.is_not_shown() => Ok(None),
        Err(error) => Err(error),
    }
}
