//! A damaged row of the index: refused while serving, mended by opening.
//!
//! Opening reads the index's manifest and filters but not its rows, which may
//! be gigabytes. A row that is not what was written is so met by whoever looks
//! it up, long after. Whoever meets it refuses with
//! [`NodeError::IndexDamaged`]; the writer makes a durable mark; and an
//! opening that finds the mark makes the index anew from the log. Calls that
//! do not need the row are answered as before.

use std::sync::PoisonError;

use crate::store::{Batch, Engine, StoreError, rows};

use super::NodeError;
use super::index::Index;
use super::open::OpenReport;
use super::writer::{Shared, Writer};

/// The name of the row that asks the next opening for a new index.
const MARK: &[u8] = b"index-damaged";

/// What this process knows of damage in the index.
#[derive(Debug, Default)]
pub(super) enum IndexDamage {
    /// Nothing.
    #[default]
    None,
    /// It was met; the mark is not written yet.
    Met(String),
    /// The mark is durable, or in the batch under way.
    Marked,
}

/// Wipes an index that was marked while the node served.
///
/// # Errors
/// Any error of the engine. The mark goes last, so that another opening ends
/// what this one began.
pub(super) fn wipe_if_marked(engine: &dyn Engine, report: &mut OpenReport) -> Result<(), NodeError> {
    let mark = rows::derived(MARK);
    let Some(row) = engine.get(&mark)? else {
        return Ok(());
    };
    Index::wipe(engine)?;
    let mut batch = Batch::default();
    batch.remove(mark);
    engine.commit(batch)?;
    report.notes.push(note(&String::from_utf8_lossy(&row)));
    Ok(())
}

fn note(row: &str) -> String {
    format!("a row of the index was damaged ({row}): the index was made anew from the entries")
}

impl Shared {
    /// An index that could not be read, as an error of the node. Damage is
    /// remembered for the mark.
    pub(super) fn index_error(&self, error: StoreError) -> NodeError {
        let StoreError::Damaged(row) = error else {
            return error.into();
        };
        let mut damage = self.index_damage.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*damage, IndexDamage::None) {
            tracing::error!(
                row,
                "the index is damaged: calls that need this row are refused. Start the node again: it then makes \
                 the index anew from the log. The log itself is not touched, but look after the disk"
            );
            *damage = IndexDamage::Met(row.clone());
        }
        NodeError::IndexDamaged(row)
    }

    /// Adds the mark to `batch` when damage was met and not marked yet.
    pub(super) fn mark_index_damage(&self, batch: &mut Batch) {
        let mut damage = self.index_damage.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *damage) {
            IndexDamage::None => return,
            IndexDamage::Met(row) => batch.put(rows::derived(MARK), row),
            IndexDamage::Marked => {}
        }
        *damage = IndexDamage::Marked;
    }
}

impl Writer {
    /// Wipes an index whose damage was met while opening, before anyone reads.
    pub(super) fn clear_index(&mut self, row: &str, report: &mut OpenReport) -> Result<(), NodeError> {
        let engine = self.shared.engine.as_ref();
        self.index.clear(engine)?;
        let mut batch = Batch::default();
        batch.remove(rows::derived(MARK));
        engine.commit(batch)?;
        *self
            .shared
            .index_damage
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = IndexDamage::None;
        report.notes.push(note(row));
        Ok(())
    }
}
