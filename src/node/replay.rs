//! Opening: what index and derived state do not cover yet is read again.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ledger::{Event, Recorded, State, StatusTarget};
use crate::log;
use crate::primitives::{Digest, UnixSeconds};
use crate::store::scan_entries;

use super::NodeError;
use super::coupons::Covered;
use super::find::{keys_of, recorded};
use super::open::{OpenReport, all_batches, campaign_state, campaign_view};
use super::pending::BatchRow;
use super::requests::occurrence;
use super::snapshot::{self, Snapshot};
use super::writer::Writer;

impl Writer {
    /// Reads the entries that index or derived state do not cover yet, and
    /// checks how each follows the one before.
    pub(super) fn replay(
        &mut self,
        index_covers: u64,
        state_covers: u64,
        report: &mut OpenReport,
    ) -> Result<(), NodeError> {
        let engine = Arc::clone(&self.shared.engine);
        let batches = all_batches(engine.as_ref())?;
        let size = report.size;
        let mut from = index_covers.min(state_covers);
        self.applied = from;
        let mut previous: Option<(Digest, UnixSeconds)> = match from.checked_sub(1) {
            Some(before) => {
                let before = super::find::committed_entry(engine.as_ref(), before)?;
                Some((before.hash, before.time))
            }
            None => None,
        };
        while from < size {
            // A bounded stretch at a time, so that the index can be written out between two.
            let until = size.min(from + self.upkeep.checkpoint_entries);
            let mut outcome = Ok(());
            scan_entries(engine.as_ref(), from, &mut |index, bytes| {
                if index < from {
                    return ControlFlow::Continue(());
                }
                if index >= until {
                    return ControlFlow::Break(());
                }
                outcome = self.replay_entry(index, bytes, index_covers, &batches, &mut previous);
                if outcome.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            outcome?;
            if self.applied != until {
                return Err(NodeError::Inconsistent(format!(
                    "entries {} to {} are missing from the store",
                    self.applied,
                    until - 1
                )));
            }
            self.index.committed();
            if until < size {
                self.settle()?;
            }
            report.replayed += until - from;
            from = until;
        }
        self.state.coupons.clear();
        Ok(())
    }

    /// Begins the replay again, without the index whose damaged row ended it.
    pub(super) fn replay_all(&mut self, row: &str, report: &mut OpenReport) -> Result<(), NodeError> {
        self.clear_index(row, report)?;
        snapshot::wipe(self.shared.engine.as_ref())?;
        self.state = State {
            did: std::mem::take(&mut self.state.did),
            ..State::default()
        };
        self.snapshot = Snapshot::default();
        report.replayed = 0;
        self.replay(0, 0, report)
    }

    fn replay_entry(
        &mut self,
        index: u64,
        bytes: &[u8],
        index_covers: u64,
        batches: &[BatchRow],
        previous: &mut Option<(Digest, UnixSeconds)>,
    ) -> Result<(), NodeError> {
        let entry = log::Entry::decode(bytes)
            .map_err(|error| NodeError::Inconsistent(format!("entry {index}: {error}")))?;
        if let Some((hash, time)) = previous
            && (entry.previous != *hash || entry.time < *time)
        {
            return Err(NodeError::Inconsistent(format!(
                "entry {index} does not follow the one before it"
            )));
        }
        let recorded = recorded(index, bytes)?;
        *previous = Some((recorded.hash, recorded.time));
        let campaign = match &recorded.event {
            Event::CampaignSigned(signed) => Some(campaign_state(&campaign_view(signed, &recorded)?, index)),
            _ => None,
        };
        let covered = match &recorded.event {
            Event::StatusSet(set) => covered(&set.target, index, batches),
            Event::BatchIssued(batch) => self.covered_if_closed(batch),
            _ => Covered::default(),
        };
        if index >= index_covers {
            self.index_again(&recorded)?;
        }
        self.state.apply(&recorded, campaign);
        self.snapshot.touch(&recorded);
        self.cover(&recorded.event, &covered);
        self.applied = index + 1;
        Ok(())
    }

    fn index_again(&mut self, recorded: &Recorded) -> Result<(), NodeError> {
        let mut nth = 0;
        let reference = recorded.answers.and_then(|answers| answers.reference);
        if let (Event::Redeemed(_), Some(reference)) = (&recorded.event, reference) {
            let shared = Arc::clone(&self.shared);
            let lookup = |key| {
                let found = self.index.lookup(shared.engine.as_ref(), key);
                found.map_err(|error| shared.index_error(error))
            };
            while let Some(index) = lookup(occurrence(reference, nth))? {
                if index == recorded.index {
                    break;
                }
                nth += 1;
            }
        }
        for key in keys_of(recorded, nth) {
            self.index.insert(key, recorded.index);
        }
        Ok(())
    }
}

/// The coupons that a change of status in entry `index` covered then.
fn covered(target: &StatusTarget, index: u64, batches: &[BatchRow]) -> Covered {
    let of = |wanted: &dyn Fn(&BatchRow) -> bool| Covered::batches(batches.iter().filter(|row| wanted(row)));
    match target {
        StatusTarget::Coupon(name) => Covered::from(*name),
        StatusTarget::Batch(entry) => of(&|row| row.entry == *entry),
        StatusTarget::Campaign(id) => of(&|row| row.campaign == *id && row.entry < index),
    }
}
