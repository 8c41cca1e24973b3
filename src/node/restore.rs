//! Putting lost entries back into a store, from a copy of the log that somebody
//! else kept. The caller has found them in the tree of a checkpoint that this node
//! signed; here they are checked once more as this node's own, and what is derived
//! from keys alone is made anew: rows of batches, and the tags of coupons, by
//! signing them again (Ed25519 is deterministic). Index and state come from the
//! entries when the node is opened. What lay beside receipts is not in the log: their
//! stubs can come from whoever kept them, details and secrets are gone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::credential::{coupon_tag, receipt_tag};
use crate::ledger::{BatchIssued, Event};
use crate::merkle::{Frontier, Hash, TILE_LEN, leaf_hash};
use crate::primitives::{Digest, Position, Tag, UnixSeconds, limits};
use crate::store::{Batch, Engine, beside, rows, scan_entries};

use super::answers::ReceiptRecord;
use super::batches::{tag_rows, template_of};
use super::coupons::Permutations;
use super::find::{linked, recorded};
use super::keyring::Keyring;
use super::pending::BatchRow;
use super::{NodeError, NodeOptions};

/// A store that lacks entries at its end.
pub struct Restore<'a> {
    engine: &'a dyn Engine,
    keyring: &'a Keyring,
    options: &'a NodeOptions,
    permutations: Permutations,
    /// Index of the first entry that is not there.
    size: u64,
    /// Hash and time of the last one that is.
    last: Option<(Digest, UnixSeconds)>,
}

impl<'a> Restore<'a> {
    /// Looks at what the store holds, which may be nothing.
    ///
    /// # Errors
    /// [`NodeError`] when it cannot be read.
    pub fn begin(
        engine: &'a dyn Engine,
        keyring: &'a Keyring,
        options: &'a NodeOptions,
    ) -> Result<Self, NodeError> {
        let last = match rows::last_entry(engine)? {
            Some((index, bytes)) => Some(linked(index, &bytes)?.0),
            None => None,
        };
        Ok(Self {
            engine,
            keyring,
            options,
            permutations: Permutations::new(*keyring.index_secret),
            size: last.as_ref().map_or(0, |last| last.index + 1),
            last: last.map(|last| (last.hash, last.time)),
        })
    }

    /// Entries that are there.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over the first `size` of them, every one hashed again.
    ///
    /// # Errors
    /// [`NodeError`] when they cannot be read, or are fewer.
    pub fn root_at(&self, size: u64) -> Result<Hash, NodeError> {
        let mut tree = Frontier::new();
        scan_entries(self.engine, 0, &mut |index, bytes| {
            if index >= size {
                return ControlFlow::Break(());
            }
            tree.push(leaf_hash(bytes));
            ControlFlow::Continue(())
        })?;
        if tree.size() == size {
            Ok(tree.root())
        } else {
            Err(NodeError::Inconsistent(format!(
                "entry {} is missing from the store",
                tree.size()
            )))
        }
    }

    /// Appends the entries that follow, durably, as one commit. What was appended
    /// stays when a later call fails: the next recovery goes on there.
    ///
    /// # Errors
    /// [`NodeError::Refuse`] when an entry is not the next one of this log, or the
    /// tags of a batch cannot be made anew with the keys that are held.
    pub fn append(&mut self, entries: &[&[u8]]) -> Result<(), NodeError> {
        let (mut batch, mut erased) = (Batch::default(), BTreeMap::new());
        let (mut size, mut last) = (self.size, self.last);
        for bytes in entries {
            let (recorded, previous) = linked(size, bytes)?;
            let (hash, time) = last.unwrap_or((Digest::ZERO, UnixSeconds(0)));
            if previous != hash || recorded.time < time {
                return Err(NodeError::Refuse(format!(
                    "entry {size} does not follow the one before it in the store"
                )));
            }
            match &recorded.event {
                Event::BatchIssued(issued) => self.restore_batch(size, issued, &mut batch)?,
                Event::Genesis(genesis) if genesis.log_key != *self.keyring.log.public().as_bytes() => {
                    return Err(NodeError::Refuse(
                        "entry 0 names another log key than the one in keys/".to_owned(),
                    ));
                }
                // A backup from before it holds what was to be gone.
                Event::ReceiptErased(erasure) => {
                    if let Some(stub) = self.stub(erasure.receipt_entry)? {
                        erased.insert(erasure.receipt_entry, Some(ReceiptRecord::encode_stub(&stub)));
                    }
                }
                _ => {}
            }
            last = Some((recorded.hash, recorded.time));
            size += 1;
        }
        beside::edit(self.engine, &mut batch, &erased)?;
        rows::append_entries(&mut batch, self.size, entries.iter().copied())?;
        self.engine.commit(batch)?;
        (self.size, self.last) = (size, last);
        Ok(())
    }

    /// The receipts among the 256 entries from `number` times 256 on beside which
    /// nothing lies, with the tags of their stubs.
    ///
    /// # Errors
    /// [`NodeError`] when the store cannot be read.
    pub fn without_stub(&self, number: u64) -> Result<Vec<(u64, Tag)>, NodeError> {
        let first = number.saturating_mul(TILE_LEN as u64);
        let end = first.saturating_add(TILE_LEN as u64);
        let mut receipts = BTreeMap::new();
        let mut unread = None;
        scan_entries(self.engine, first, &mut |index, bytes| {
            if index >= end {
                return ControlFlow::Break(());
            }
            match recorded(index, bytes).map(|recorded| recorded.event) {
                Ok(Event::ReceiptIssued(receipt)) => {
                    receipts.insert(index, receipt.tag);
                }
                Ok(_) => {}
                Err(error) => unread = Some(error),
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = unread {
            return Err(error);
        }
        beside::scan(self.engine, first, &mut |index, _| {
            if index >= end {
                return ControlFlow::Break(());
            }
            receipts.remove(&index);
            ControlFlow::Continue(())
        })?;
        Ok(receipts.into_iter().collect())
    }

    /// Puts stubs beside receipts that [lack](Self::without_stub) them, durably, as
    /// one commit. One that is not what the tag with it names is left out; how many
    /// were put.
    ///
    /// # Errors
    /// [`NodeError`] when the store cannot be read or written.
    pub fn put_stubs(&mut self, stubs: &[((u64, Tag), &[u8])]) -> Result<u64, NodeError> {
        let named = stubs.iter().filter(|((_, tag), stub)| receipt_tag(stub) == *tag);
        let records: BTreeMap<u64, Option<Vec<u8>>> = named
            .map(|((index, _), stub)| (*index, Some(ReceiptRecord::encode_stub(stub))))
            .collect();
        if records.is_empty() {
            return Ok(0);
        }
        let mut batch = Batch::default();
        beside::edit(self.engine, &mut batch, &records)?;
        self.engine.commit(batch)?;
        Ok(records.len() as u64)
    }

    /// The stub that the store holds of the receipt of entry `index`.
    fn stub(&self, index: u64) -> Result<Option<Vec<u8>>, NodeError> {
        let record = beside::read(self.engine, index)?;
        Ok(record.and_then(|record| ReceiptRecord::stub_of(&record).map(<[u8]>::to_vec)))
    }

    /// The row of a batch goes with its entry; its tags are stored before.
    fn restore_batch(&self, entry: u64, issued: &BatchIssued, batch: &mut Batch) -> Result<(), NodeError> {
        let first = issued.first.0;
        let Some(key) = self.keyring.credential_of(issued.kid) else {
            return Err(NodeError::Refuse(format!(
                "the batch of entry {entry} was signed with the key {}, which is not in keys/: without it its coupons \
                 cannot be recognised again. Put the key back",
                issued.kid
            )));
        };
        let template = template_of(issued);
        let mut tree = Frontier::new();
        let (mut leaf, mut tags) = (0, Vec::<Tag>::new());
        while leaf < issued.count {
            let begin = leaf;
            let end = issued.count.min(leaf + limits::TAGS_PER_COMMIT);
            tags.clear();
            while leaf < end {
                let name = self.permutations.name_of(issued.position(leaf));
                let uri = self.options.origin.status_uri(name.list);
                let tag = coupon_tag(&template.sign(key, &uri, name.index));
                tree.push(leaf_hash(&tag.0));
                tags.push(tag);
                leaf += 1;
            }
            let from = Position(first + u64::from(begin));
            let mut some = Batch::default();
            for (key, row) in tag_rows(from, &tags, |key| Ok(self.engine.get(key)?))? {
                some.put(key, row);
            }
            self.engine.commit(some)?;
        }
        if Digest(tree.root()) != issued.tags_root {
            return Err(NodeError::Refuse(format!(
                "the coupons of entry {entry}, signed again, are not those that it was about: index-secret.pem or the \
                 credential key in keys/ is not the one that they were issued with. Put the right one back"
            )));
        }
        let row = BatchRow {
            first,
            count: issued.count,
            entry,
            campaign: issued.campaign,
        };
        batch.put(rows::batch(first), row.encode());
        // A backup may hold it between its two passes.
        batch.remove(rows::reservation(first));
        Ok(())
    }
}
