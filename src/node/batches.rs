//! Issuing coupons in two passes (protocol, section 1).
//!
//! A batch's entry commits to all its tags, so: the writer reserves the
//! positions durably; the caller's thread signs and hands back the tags; the
//! writer stores tags and entry in one commit; only then are coupons given out,
//! by signing once more. A reservation that a crash leaves behind is finished
//! at the next opening: it holds all that signing needs.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use serde_cbor::Value;

use crate::credential::coupon_series::CouponTemplate;
use crate::credential::coupon_tag;
use crate::encoding::cbor::{self, GateError};
use crate::ledger::{Answers, BatchIssued, BatchOrder, Event, Recorded};
use crate::merkle;
use crate::primitives::{CouponName, Digest, Position, Tag, UnixSeconds, limits};
use crate::store::{Engine, rows};

use super::NodeError;
use super::coupons::{TAG_LEN, tag_place};
use super::pending::{BatchRow, Pending};
use super::writer::{Reply, Shared, Writer};

/// A position range set aside for a batch that is being signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub batch: BatchIssued,
    pub answers: Option<Answers>,
}

impl Reservation {
    /// The batch's body, as its entry will have it but for the tags' root.
    fn encode(&self) -> Vec<u8> {
        let body = Event::BatchIssued(self.batch.clone()).to_body(self.answers.as_ref(), [0; 16]);
        cbor::encode(&body)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        let broken =
            |error: String| NodeError::Inconsistent(format!("a reserved batch cannot be read: {error}"));
        let body: Value = cbor::decode(bytes, limits::ENTRY_BYTES_MAX)
            .map_err(|error: GateError| broken(error.to_string()))?;
        match Event::from_body(2, &body) {
            Ok((Event::BatchIssued(batch), answers)) => Ok(Self { batch, answers }),
            Ok(_) => Err(broken("not a batch".to_owned())),
            Err(error) => Err(broken(error.to_string())),
        }
    }
}

impl Shared {
    pub(super) fn template(&self, batch: &BatchIssued) -> CouponTemplate {
        CouponTemplate::new(
            batch.campaign,
            batch.amount,
            batch.not_before,
            batch.not_after,
            batch.algorithm,
            batch.kid,
        )
    }

    /// Signs the coupons of a reserved range, in order of position.
    pub(super) fn sign_coupons<'a>(
        &'a self,
        batch: &'a BatchIssued,
    ) -> impl Iterator<Item = (CouponName, Vec<u8>)> + 'a {
        let template = self.template(batch);
        (0..u64::from(batch.count)).map(move |leaf| {
            let name = self.permutations.name_of(Position(batch.first.0 + leaf));
            let uri = self.options.origin.status_uri(name.list);
            (name, template.sign(&self.keyring.credential, &uri, name.index))
        })
    }

    /// The tags of a reserved range, in order of position.
    pub(super) fn batch_tags(&self, batch: &BatchIssued) -> Vec<Tag> {
        self.sign_coupons(batch)
            .map(|(_, coupon)| coupon_tag(&coupon))
            .collect()
    }
}

impl Writer {
    /// First pass: sets the positions aside, durably.
    pub(super) fn reserve(
        &mut self,
        order: &BatchOrder,
        answers: Option<Answers>,
        pending: &mut Pending,
        now: UnixSeconds,
    ) -> Result<Reply, NodeError> {
        let not_after = self.state.decide_batch(order, now)?;
        let campaign = self.state.campaign(&order.campaign)?;
        let batch = BatchIssued {
            campaign: order.campaign,
            first: self.state.next_position,
            count: order.count,
            not_before: order.not_before.filter(|from| *from != campaign.not_before),
            not_after,
            amount: order.amount,
            kid: self.shared.keyring.credential.public().kid(),
            algorithm: self.shared.options.algorithm,
            tags_root: Digest::ZERO,
        };
        let first = batch.first.0;
        self.state.next_position = Position(first + u64::from(order.count));
        let reservation = Reservation { batch, answers };
        pending.batch.put(rows::reservation(first), reservation.encode());
        self.reservations.insert(first, reservation.clone());
        Ok(Reply::Reserved(Box::new(reservation)))
    }

    /// Second pass: tags and entry, in one commit.
    pub(super) fn finish_batch(
        &mut self,
        first: u64,
        tags: &[Tag],
        pending: &mut Pending,
    ) -> Result<Recorded, NodeError> {
        let reservation =
            self.reservations.get(&first).cloned().ok_or_else(|| {
                NodeError::Inconsistent(format!("no batch is reserved from position {first}"))
            })?;
        let mut batch = reservation.batch;
        let leaves: Vec<merkle::Hash> = tags.iter().map(|tag| merkle::leaf_hash(&tag.0)).collect();
        batch.tags_root = Digest(merkle::root_of(&leaves));
        let (count, campaign) = (batch.count, batch.campaign);
        let closed = self.names_if_closed(&batch);
        self.store_tags(batch.first, tags, pending)?;
        let recorded = self.record_with(
            Event::BatchIssued(batch),
            reservation.answers,
            pending,
            None,
            &closed,
        )?;
        // Only now: a batch that could not be recorded stays reserved.
        self.reservations.remove(&first);
        pending.batch.remove(rows::reservation(first));
        let now = self.now();
        for list in closed.iter().map(|name| name.list).collect::<BTreeSet<_>>() {
            self.lists.revoked(list, now);
        }
        let row = BatchRow {
            first,
            count,
            entry: recorded.index,
            campaign,
        };
        pending.batch.put(rows::batch(first), row.encode());
        pending.batches.push(row);
        Ok(recorded)
    }

    /// The coupons of a batch whose campaign was revoked or suspended while it
    /// was being signed: they come into the world with that status.
    pub(super) fn names_if_closed(&self, batch: &BatchIssued) -> Vec<CouponName> {
        let flags = self.state.campaigns.get(&batch.campaign).map(|c| c.flags);
        if !flags.is_some_and(|flags| flags.revoked || flags.suspended) {
            return Vec::new();
        }
        let positions = batch.first.0..batch.first.0 + u64::from(batch.count);
        positions
            .map(|position| self.shared.permutations.name_of(Position(position)))
            .collect()
    }

    /// Adds tags to their rows of 128; a row that this batch has changed
    /// already is changed further.
    fn store_tags(&self, first: Position, tags: &[Tag], pending: &mut Pending) -> Result<(), NodeError> {
        let mut changed: HashMap<u64, Vec<u8>> = HashMap::new();
        for (position, tag) in (first.0..).zip(tags) {
            let (tile, at) = tag_place(Position(position));
            let row = match changed.entry(tile) {
                Entry::Occupied(row) => row.into_mut(),
                Entry::Vacant(place) => {
                    let key = rows::tag_tile(tile);
                    let earlier = pending
                        .batch
                        .writes
                        .iter()
                        .rev()
                        .find(|(written, _)| *written == key);
                    let row = match earlier {
                        Some((_, value)) => value.clone(),
                        None => self.shared.engine.get(&key)?,
                    };
                    place.insert(row.unwrap_or_default())
                }
            };
            if row.len() < at + TAG_LEN {
                row.resize(at + TAG_LEN, 0);
            }
            row[at..at + TAG_LEN].copy_from_slice(&tag.0);
        }
        for (tile, row) in changed {
            pending.batch.put(rows::tag_tile(tile), row);
        }
        Ok(())
    }
}

/// Reads the reservations that are left in the store.
pub(super) fn left_reservations(engine: &dyn Engine) -> Result<Vec<Reservation>, NodeError> {
    let mut left = Vec::new();
    engine.scan(&[rows::RESERVATION], &[rows::RESERVATION], &mut |_, value| {
        left.push(Reservation::decode(value));
        std::ops::ControlFlow::Continue(())
    })?;
    left.into_iter().collect()
}
