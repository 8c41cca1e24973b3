//! Changes of status in the writer: which coupons they cover, and which lists
//! have to be signed anew for them.

use std::sync::Arc;

use crate::ledger::{Answers, Event, NewStatus, Recorded, StatusOrder, StatusSet, StatusTarget};
use crate::primitives::Position;

use super::NodeError;
use super::coupons::Covered;
use super::pending::{BatchRow, Pending};
use super::writer::Writer;

impl Writer {
    pub(super) fn set_status(
        &mut self,
        target: StatusTarget,
        status: NewStatus,
        reason: Option<String>,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        let covered = self.coupons_of(&target, pending)?;
        let order = StatusOrder { target, status };
        let names = self.shared.permutations.names(&covered);
        let decision = self.state.decide_status(&order, names)?;
        let event = Event::StatusSet(StatusSet {
            target,
            status,
            changed: decision.changed,
        });
        let recorded = self.record_with(event, answers, pending, None, &covered)?;
        let now = self.now();
        for list in decision.lists {
            self.lists.revoked(list, now);
        }
        if let Some(reason) = reason {
            pending.put_beside(recorded.index, reason.into_bytes());
        }
        Ok(recorded)
    }

    /// The coupons that a change of status covers.
    fn coupons_of(&self, target: &StatusTarget, pending: &Pending) -> Result<Covered, NodeError> {
        let batches = match target {
            StatusTarget::Coupon(name) => {
                let position = self.shared.permutations.position_of(*name);
                let issued = self.batch_holding(position, pending)?;
                return Ok(issued.map(|_| Covered::from(*name)).unwrap_or_default());
            }
            StatusTarget::Batch(entry) => self.batches(pending, |row| row.entry == *entry)?,
            StatusTarget::Campaign(id) => self.batches(pending, |row| row.campaign == *id)?,
        };
        Ok(Covered::batches(&batches))
    }

    fn batch_holding(&self, position: Position, pending: &Pending) -> Result<Option<BatchRow>, NodeError> {
        match pending.batches.iter().find(|row| row.holds(position.0)) {
            Some(row) => Ok(Some(*row)),
            None => self.shared.batch_holding(position),
        }
    }

    fn batches(
        &self,
        pending: &Pending,
        wanted: impl Fn(&BatchRow) -> bool,
    ) -> Result<Vec<BatchRow>, NodeError> {
        let mut found = super::open::all_batches(self.shared.engine.as_ref())?;
        found.extend(&pending.batches);
        found.retain(wanted);
        Ok(found)
    }
}
