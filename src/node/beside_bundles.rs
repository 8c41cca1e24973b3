//! What lies beside the log, 256 at a time, for auditors and mirrors: the signed
//! stubs of receipts, which name no person, and the tags of coupons.

use std::ops::ControlFlow;

use crate::ledger::ReceiptIssued;
use crate::log::tile_path::write_bundle_entry;
use crate::log::{Entry, TilePath};
use crate::merkle::TILE_LEN;
use crate::primitives::Tag;
use crate::store::{beside, rows};

use super::answers::ReceiptRecord;
use super::pending::BatchRow;
use super::{Node, NodeError};

const NO_STUBS: NodeError = NodeError::NotFound("the log's checkpoint has no such entries");
const NO_TAGS: NodeError = NodeError::NotFound("no coupons were issued at these positions");

/// Stubs or tags of 256 places that follow one another, or the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BesideBundle {
    /// As a file of the log's layout.
    pub bytes: Vec<u8>,
    /// Nothing is lacking among them: these bytes stay what they are.
    pub is_final: bool,
}

impl Node {
    /// The stubs beside the entries of a bundle: a big-endian length in two bytes
    /// and as many bytes for each entry, none for an entry that is no receipt's, and
    /// for a receipt whose stub was lost with an earlier store.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for what the published checkpoint does not cover;
    /// [`NodeError::Inconsistent`] where an entry is missing.
    pub fn stub_bundle(&self, path: &TilePath) -> Result<BesideBundle, NodeError> {
        if !path.is_within(self.size()) {
            return Err(NO_STUBS);
        }
        let engine = self.inner.shared.engine.as_ref();
        // No overflow: all of it is within the log.
        let first = path.number() * TILE_LEN as u64;
        let end = first + u64::from(path.width());
        let mut receipts = Vec::with_capacity(TILE_LEN);
        rows::scan_entries(engine, first, &mut |index, bytes| {
            if index >= end {
                return ControlFlow::Break(());
            }
            let is_receipt = Entry::decode(bytes).is_ok_and(|entry| entry.kind == ReceiptIssued::KIND);
            receipts.push((index, is_receipt));
            ControlFlow::Continue(())
        })?;
        if receipts.len() as u64 != end - first {
            return Err(NodeError::Inconsistent(format!(
                "an entry from {first} to {} is missing from the store",
                end - 1
            )));
        }
        let mut stubs = vec![Vec::new(); receipts.len()];
        beside::scan(engine, first, &mut |index, bytes| {
            if index >= end {
                return ControlFlow::Break(());
            }
            let at = usize::try_from(index - first).expect("below 256");
            if receipts[at].1
                && let Some(stub) = ReceiptRecord::stub_of(bytes)
            {
                stubs[at] = stub.to_vec();
            }
            ControlFlow::Continue(())
        })?;
        let is_final = receipts
            .iter()
            .zip(&stubs)
            .all(|((_, is_receipt), stub)| !is_receipt || !stub.is_empty());
        let mut bytes = Vec::new();
        for stub in stubs {
            write_bundle_entry(&mut bytes, &stub)
                .map_err(|error| NodeError::Inconsistent(error.to_string()))?;
        }
        Ok(BesideBundle { bytes, is_final })
    }

    /// The tags of the coupons at the positions of a tile.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] beyond the last position of an issued batch.
    pub fn tag_bundle(&self, path: &TilePath) -> Result<BesideBundle, NodeError> {
        if !path.is_within(self.issued_positions()?) {
            return Err(NO_TAGS);
        }
        let engine = self.inner.shared.engine.as_ref();
        let rows_each = (TILE_LEN / rows::TILE_ROW_LEN) as u64;
        let mut bytes = Vec::with_capacity(TILE_LEN * Tag::LEN);
        for row in 0..rows_each {
            let mut row = engine
                .get(&rows::tag_tile(path.number() * rows_each + row))?
                .unwrap_or_default();
            row.resize(rows::TILE_ROW_LEN * Tag::LEN, 0);
            bytes.extend(row);
        }
        bytes.truncate(usize::from(path.width()) * Tag::LEN);
        let is_final = bytes
            .chunks_exact(Tag::LEN)
            .all(|tag| tag.iter().any(|byte| *byte != 0));
        Ok(BesideBundle { bytes, is_final })
    }

    /// Positions up to the end of the last batch that was issued.
    fn issued_positions(&self) -> Result<u64, NodeError> {
        let engine = self.inner.shared.engine.as_ref();
        let last = engine.at_or_before(&[rows::BATCH], &rows::batch(u64::MAX))?;
        let Some((key, value)) = last else { return Ok(0) };
        let first = rows::number_of(&key).unwrap_or(u64::MAX);
        BatchRow::decode(first, &value)
            .map(|row| row.positions().end)
            .ok_or_else(|| NodeError::Inconsistent(format!("the row of the batch from position {first}")))
    }
}
