//! Opening: what index and derived state do not cover yet is read again.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ledger::{Event, Recorded, State, StatusTarget};
use crate::primitives::{Digest, UnixSeconds};
use crate::store::scan_entries;

use super::NodeError;
use super::coupons::Covered;
use super::find::{keys_of, linked, shares_reference};
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
        // Read only when they are needed: there may be as many as entries.
        let batches = OnceCell::new();
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
        batches: &OnceCell<Vec<BatchRow>>,
        previous: &mut Option<(Digest, UnixSeconds)>,
    ) -> Result<(), NodeError> {
        let (recorded, names) = linked(index, bytes)?;
        if let Some((hash, time)) = previous
            && (names != *hash || recorded.time < *time)
        {
            return Err(NodeError::Inconsistent(format!(
                "entry {index} does not follow the one before it"
            )));
        }
        *previous = Some((recorded.hash, recorded.time));
        let campaign = match &recorded.event {
            Event::CampaignSigned(signed) => Some(campaign_state(&campaign_view(signed, &recorded)?, index)),
            _ => None,
        };
        let covered = match &recorded.event {
            Event::StatusSet(set) => self.covered(&set.target, index, batches)?,
            Event::BatchIssued(batch) => self.covered_if_closed(batch),
            _ => Covered::default(),
        };
        if index >= index_covers {
            self.index_again(&recorded)?;
        }
        self.state.apply(&recorded, campaign);
        self.snapshot.touch(&recorded);
        self.replay_intent(&recorded);
        self.cover(&recorded.event, &covered);
        self.applied = index + 1;
        Ok(())
    }

    fn index_again(&mut self, recorded: &Recorded) -> Result<(), NodeError> {
        let mut nth = 0;
        let reference = recorded.answers.and_then(|answers| answers.reference);
        if let (true, Some(reference)) = (shares_reference(&recorded.event), reference) {
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

    /// The coupons that a change of status in entry `index` covered then.
    fn covered(
        &self,
        target: &StatusTarget,
        index: u64,
        batches: &OnceCell<Vec<BatchRow>>,
    ) -> Result<Covered, NodeError> {
        if let StatusTarget::Coupon(name) = target {
            return Ok(Covered::from(*name));
        }
        let batches = match batches.get() {
            Some(batches) => batches,
            None => {
                let read = all_batches(self.shared.engine.as_ref())?;
                batches.get_or_init(|| read)
            }
        };
        let wanted = |row: &&BatchRow| match target {
            StatusTarget::Coupon(_) => false,
            StatusTarget::Batch(entry) => row.entry == *entry,
            StatusTarget::Campaign(id) => row.campaign == *id && row.entry < index,
        };
        Ok(Covered::batches(batches.iter().filter(wanted)))
    }
}
