//! Erasures: each about a receipt of this log, and done.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Event, ReceiptErased, Recorded};
use crate::log::Entry;
use crate::node::answers::ReceiptRecord;
use crate::primitives::Tag;
use crate::store::{Engine, beside};

use super::AuditError;
use super::finding::{Findings, Rule};
use super::saved::keep;
use super::source::Source;

/// The erasures of a log, by the entries of their receipts: some 80 bytes each.
#[derive(Default)]
pub(super) struct Erasures {
    of_receipts: BTreeMap<u64, (u64, Tag)>,
    /// Receipts whose entries were not looked at yet.
    unseen: BTreeSet<u64>,
}

keep!(Erasures { of_receipts, unseen });

impl Erasures {
    pub fn add(&mut self, recorded: &Recorded, erased: &ReceiptErased, findings: &mut Findings) {
        let (index, receipt) = (recorded.index, erased.receipt_entry);
        if receipt >= index {
            let why = format!("it names entry {receipt} as the receipt's, which does not come before it");
            findings.at(index, Rule::ErasureOfNothing, why);
            return;
        }
        if let Some((first, _)) = self.of_receipts.get(&receipt) {
            let why = format!("the receipt of entry {receipt} was erased before, by entry {first}");
            findings.at(index, Rule::ErasureRepeated, why);
            return;
        }
        self.of_receipts.insert(receipt, (index, erased.tag));
        self.unseen.insert(receipt);
    }

    /// Whether an entry says that the receipt of entry `index` was erased.
    pub fn tell_of(&self, index: u64) -> bool {
        self.of_receipts.contains_key(&index)
    }

    /// Looks at the entries of the receipts that were erased, each once.
    pub fn check_entries(&mut self, source: &Source<'_>, findings: &mut Findings) -> Result<(), AuditError> {
        let wanted: Vec<u64> = self.unseen.iter().copied().collect();
        source.look_at(&wanted, &mut |receipt, bytes| {
            let (index, tag) = self.of_receipts[&receipt];
            if !is_receipt(bytes, &tag) {
                findings.at(
                    index,
                    Rule::ErasureOfNothing,
                    format!("entry {receipt} is not that of the receipt whose tag it names"),
                );
            }
        })?;
        self.unseen.clear();
        Ok(())
    }

    /// Looks at what the store still holds beside the receipts that were erased.
    pub fn check_rows(&self, engine: &dyn Engine, findings: &mut Findings) {
        for (&receipt, (index, _)) in &self.of_receipts {
            // A record that cannot be read is a finding of its own.
            let record = beside::read(engine, receipt).ok().flatten();
            let is_whole = record
                .and_then(|record| ReceiptRecord::decode(&record))
                .is_some_and(|record| record.personal.is_some());
            if is_whole {
                findings.at(
                    receipt,
                    Rule::DetailsNotErased,
                    format!(
                        "entry {index} says that this receipt was erased, but its details are in the store"
                    ),
                );
            }
        }
    }
}

fn is_receipt(bytes: &[u8], tag: &Tag) -> bool {
    let event = Entry::decode(bytes)
        .ok()
        .and_then(|entry| Event::from_body(entry.kind, &entry.body).ok());
    matches!(event, Some((Event::ReceiptIssued(receipt), _)) if receipt.tag == *tag)
}
