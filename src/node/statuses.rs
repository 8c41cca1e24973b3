//! Changes of status in the writer: which coupons they cover, and which lists
//! have to be signed anew for them.

use std::collections::BTreeSet;

use crate::ledger::{Answers, Event, NewStatus, Recorded, StatusOrder, StatusSet, StatusTarget};
use crate::primitives::{CouponName, Position};

use super::NodeError;
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
    ) -> Result<Recorded, NodeError> {
        let coupons = self.coupons_of(&target, pending)?;
        let order = StatusOrder {
            target,
            status,
            coupons,
        };
        let changed = self.state.decide_status(&order)?;
        let now = self.now();
        let changes = |name: &&CouponName| self.state.status(**name).set(status) != self.state.status(**name);
        let lists: BTreeSet<u32> = order
            .coupons
            .iter()
            .filter(changes)
            .map(|name| name.list)
            .collect();
        let event = Event::StatusSet(StatusSet {
            target,
            status,
            changed,
        });
        let recorded = self.record_with(event, answers, pending, None, &order.coupons)?;
        for list in lists {
            self.lists.revoked(list, now);
        }
        if let Some(reason) = reason {
            pending.put_beside(recorded.index, reason.into_bytes());
        }
        Ok(recorded)
    }

    /// Names of the coupons that a change of status covers.
    fn coupons_of(&self, target: &StatusTarget, pending: &Pending) -> Result<Vec<CouponName>, NodeError> {
        let permutations = &self.shared.permutations;
        let batches = match target {
            StatusTarget::Coupon(name) => {
                let position = permutations.position_of(*name);
                let issued = self.batch_holding(position, pending)?.is_some();
                return Ok(if issued { vec![*name] } else { Vec::new() });
            }
            StatusTarget::Batch(entry) => self.batches(pending, |row| row.entry == *entry)?,
            StatusTarget::Campaign(id) => self.batches(pending, |row| row.campaign == *id)?,
        };
        let positions = batches
            .iter()
            .flat_map(|row| row.first..row.first + u64::from(row.count));
        Ok(positions
            .map(|position| permutations.name_of(Position(position)))
            .collect())
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
