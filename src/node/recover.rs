//! Making a guard file again from a checkpoint that somebody else kept.

use std::ops::ControlFlow;

use crate::log::{Checkpoint, KeyKind};
use crate::merkle::{Frontier, leaf_hash};
use crate::store::{Engine, GuardState, scan_entries};

use super::keyring::Keyring;
use super::open::named_key;
use super::witnessing::StoredLogs;
use super::{NodeError, NodeOptions};

/// Compares a log with `note`, a checkpoint that this node once signed, and
/// gives the state for a new guard file. Every entry up to the checkpoint's
/// size is hashed again.
///
/// Only the newest checkpoint that anyone holds keeps the log from being
/// forked: an older one would let entries be signed a second time.
///
/// # Errors
/// [`NodeError::Refuse`] when the note is not this log's checkpoint, or the
/// store is behind it, or gives another root.
pub fn guard_from_checkpoint(
    engine: &dyn Engine,
    keyring: &Keyring,
    options: &NodeOptions,
    note: &[u8],
) -> Result<GuardState, NodeError> {
    let key = named_key(&options.origin, KeyKind::Ed25519, &keyring.log)?;
    let checkpoint = Checkpoint::open(note, &key).map_err(|error| {
        NodeError::Refuse(format!(
            "this is no checkpoint that this node has signed: {error}"
        ))
    })?;
    let mut tree = Frontier::new();
    scan_entries(engine, 0, &mut |index, bytes| {
        if index >= checkpoint.size {
            return ControlFlow::Break(());
        }
        tree.push(leaf_hash(bytes));
        ControlFlow::Continue(())
    })?;
    if tree.size() < checkpoint.size {
        return Err(NodeError::Refuse(format!(
            "the store holds {} entries, the checkpoint is about {}: entries that were signed are missing. \
             Restore a newer store",
            tree.size(),
            checkpoint.size
        )));
    }
    if tree.root() != checkpoint.root.0 {
        return Err(NodeError::Refuse(format!(
            "the store's first {} entries give another root than the checkpoint has: this is another history",
            checkpoint.size
        )));
    }
    let witness = named_key(&options.origin, KeyKind::Cosignature, &keyring.witness)?;
    // The newest that is known; who has kept a later one of them is not.
    let witnessed = StoredLogs::read(engine, &witness)?.guarded();
    Ok(GuardState {
        witnessed,
        roster_version: super::rosters::highest(engine)?,
        ..GuardState::new(checkpoint.size, checkpoint.root.0)
    })
}
