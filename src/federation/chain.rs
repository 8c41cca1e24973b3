//! The rules that a Tallystick log's entries follow one after the other: form,
//! index, link to the entry before, time (formats, section 4).

use super::bundles::Bundle;
use super::error::FollowError;
use crate::log::{Entry, LogError, entry_hash};
use crate::primitives::{Digest, UnixSeconds};

/// The end of a chain of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// Index of the last entry.
    pub index: u64,
    /// Its hash.
    pub hash: Digest,
    /// Its time.
    pub time: UnixSeconds,
}

/// Decodes the entries of a bundle and checks each against the one before it
/// within the bundle. For the threads that fetch.
///
/// # Errors
/// [`FollowError::EntryRule`] names the entry.
pub fn entries_of(bundle: &Bundle) -> Result<Vec<Entry>, FollowError> {
    let mut entries: Vec<Entry> = Vec::with_capacity(bundle.hashes().len());
    for ((index, bytes), at) in bundle.entries().zip(0..) {
        let rule = |error| FollowError::EntryRule { index, error };
        let entry = Entry::decode(bytes).map_err(rule)?;
        match entries.last() {
            Some(before) => {
                let hash = Digest(bundle.hashes()[at - 1]);
                entry.follows(&hash, before.index, before.time)
            }
            None if index == 0 => entry.begins(),
            None if entry.index == index => Ok(()),
            None => Err(LogError::EntryIndex {
                expected: index,
                found: entry.index,
            }),
        }
        .map_err(rule)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Checks that a bundle's first entry follows the end of the chain so far, and
/// gives the new end. `None` before the first bundle that is read: what is
/// before it is not looked at.
///
/// # Errors
/// [`FollowError::EntryRule`] names the entry.
pub fn join(
    end: Option<ChainEnd>,
    bundle: &Bundle,
    entries: &[Entry],
) -> Result<Option<ChainEnd>, FollowError> {
    let (Some(first), Some(last), Some(hash)) = (entries.first(), entries.last(), bundle.hashes().last())
    else {
        return Ok(end);
    };
    if let Some(end) = end {
        first
            .follows(&end.hash, end.index, end.time)
            .map_err(|error| FollowError::EntryRule {
                index: first.index,
                error,
            })?;
    }
    Ok(Some(ChainEnd {
        index: last.index,
        hash: Digest(*hash),
        time: last.time,
    }))
}

/// The end of a chain whose last entry has these bytes.
///
/// # Errors
/// [`LogError::Entry`].
pub fn end_at(bytes: &[u8]) -> Result<ChainEnd, LogError> {
    let entry = Entry::decode(bytes)?;
    Ok(ChainEnd {
        index: entry.index,
        hash: entry_hash(bytes),
        time: entry.time,
    })
}
