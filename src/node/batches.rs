//! Issuing coupons in two passes (protocol, section 1).
//!
//! A batch's entry commits to all its tags, so: the writer reserves the
//! positions durably; the signing threads sign, and the tags go into the store
//! in bounded commits; the last of them and the entry are one commit; only then
//! are coupons given out, by signing once more, in pieces. Of a coupon nothing
//! is kept but its tag, and a batch of any size takes the same memory.
//!
//! A reservation that a crash leaves behind holds all that signing needs. It is
//! signed again from its beginning when the node is opened: the tags that were
//! stored already are written once more, the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_cbor::Value;
use tokio::sync::oneshot;

use crate::credential::coupon_series::CouponTemplate;
use crate::credential::coupon_tag;
use crate::encoding::cbor::{self, GateError};
use crate::ledger::{Answers, BatchIssued, BatchOrder, Event, Recorded};
use crate::merkle::{Frontier, leaf_hash};
use crate::primitives::{Digest, Position, Tag, UnixSeconds, limits};
use crate::store::{Engine, Row, rows};

use super::answers::IssuedCoupon;
use super::commands::{Command, Reply, expect_recorded};
use super::coupons::{Covered, TAG_LEN, tag_place};
use super::pending::{BatchRow, Pending};
use super::signers::Pieces;
use super::writer::{Shared, Writer};
use super::{Node, NodeError};

/// A position range set aside for a batch that is being signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub batch: BatchIssued,
    pub answers: Option<Answers>,
}

impl Reservation {
    /// The batch's body, as its entry will have it but for the tags' root.
    pub fn encode(&self) -> Vec<u8> {
        Event::BatchIssued(self.batch.clone()).encode_body(self.answers.as_ref(), [0; 16])
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
    /// Signs coupons `leaves` of a batch, in order of position.
    pub(super) fn sign_coupons<'a>(
        &'a self,
        batch: &'a BatchIssued,
        leaves: std::ops::Range<u32>,
    ) -> impl Iterator<Item = IssuedCoupon> + 'a {
        let template = template_of(batch);
        let key = self
            .keyring
            .credential_of(batch.kid)
            .expect("a batch's key is held before it is signed");
        leaves.map(move |leaf| {
            let name = self.permutations.name_of(batch.position(leaf));
            let uri = self.options.origin.status_uri(name.list);
            let credential = template.sign(key, &uri, name.index);
            IssuedCoupon { name, credential }
        })
    }
}

impl Node {
    /// Signs a reserved batch, stores its tags and records it. Blocks the
    /// thread: the writer is handed each piece even when its queue is full, for
    /// nothing may be left half done.
    pub(super) fn finish_reserved(&self, batch: BatchIssued) -> Result<Arc<Recorded>, NodeError> {
        let (first, count) = (batch.first, batch.count);
        let tags_of = |coupons: &mut dyn Iterator<Item = IssuedCoupon>| -> Vec<Tag> {
            coupons.map(|coupon| coupon_tag(&coupon.credential)).collect()
        };
        let shared = Arc::clone(&self.inner.shared);
        let mut pieces = Pieces::new(shared, batch, 0, Arc::new(tags_of));
        let mut tree = Frontier::new();
        let (mut from, mut next, mut tags) = (0, 0, Vec::new());
        while let Some(piece) = pieces.take() {
            let piece = piece.blocking_recv().map_err(|_| self.not_signed())?;
            next += u32::try_from(piece.len()).expect("a piece is short");
            for tag in &piece {
                tree.push(leaf_hash(&tag.0));
            }
            tags.extend(piece);
            let at_end = (first.0 + u64::from(next)).is_multiple_of(u64::from(limits::TAGS_PER_COMMIT));
            if at_end && next < count {
                let tags = std::mem::take(&mut tags);
                let first = first.0;
                self.insisted(Command::StoreTags { first, from, tags })?;
                from = next;
            }
        }
        let reply = self.insisted(Command::Finish {
            first: first.0,
            from,
            tags,
            root: Digest(tree.root()),
        });
        expect_recorded(reply?)
    }

    fn insisted(&self, command: Command) -> Result<Reply, NodeError> {
        match self.insist(command).blocking_recv() {
            Ok(Reply::Failed(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(oneshot::error::RecvError { .. }) => Err(self.stopped_error()),
        }
    }

    /// Why a signing thread gave no answer.
    pub(super) fn not_signed(&self) -> NodeError {
        match self.stopped() {
            Some(why) => NodeError::Stopped(why),
            None => NodeError::Inconsistent("the signing threads gave no answer".to_owned()),
        }
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
        self.name_credential_key(pending)?;
        let campaign = self.state.campaign(&order.campaign)?;
        let batch = BatchIssued {
            campaign: order.campaign,
            first: self.state.next_position,
            count: order.count,
            not_before: order.not_before.filter(|from| *from != campaign.not_before),
            not_after,
            amount: order.amount,
            kid: self.shared.keyring.credential.kid(),
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

    /// The first pass ends: the last tags and the entry, in one commit.
    pub(super) fn finish_batch(
        &mut self,
        first: u64,
        (from, tags): (u32, &[Tag]),
        root: Digest,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        self.store_tags(first, from, tags, pending)?;
        let reservation = self.reserved(first)?.clone();
        let mut batch = reservation.batch;
        batch.tags_root = root;
        let (count, campaign) = (batch.count, batch.campaign);
        let covered = self.covered_if_closed(&batch);
        let recorded = self.record_with(
            Event::BatchIssued(batch),
            reservation.answers,
            pending,
            None,
            &covered,
        )?;
        // Only now: a batch that could not be recorded stays reserved.
        self.reservations.remove(&first);
        pending.batch.remove(rows::reservation(first));
        let now = self.now();
        let lists = covered.positions.iter().flat_map(|range| {
            let last = range.end.saturating_sub(1).max(range.start);
            Position(range.start).list()..=Position(last).list()
        });
        for list in lists.collect::<BTreeSet<_>>() {
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

    fn reserved(&self, first: u64) -> Result<&Reservation, NodeError> {
        let found = self.reservations.get(&first);
        found.ok_or_else(|| NodeError::Inconsistent(format!("no batch is reserved from position {first}")))
    }

    /// The coupons of a batch whose campaign was revoked or suspended while it
    /// was being signed: they come into the world with that status.
    pub(super) fn covered_if_closed(&self, batch: &BatchIssued) -> Covered {
        let flags = self.state.campaigns.get(&batch.campaign).map(|c| c.flags);
        if !flags.is_some_and(|flags| flags.revoked || flags.suspended) {
            return Covered::default();
        }
        Covered::positions(batch.first.0..batch.first.0 + u64::from(batch.count))
    }

    /// Adds tags of the batch reserved from `first`, from its coupon `from` on,
    /// to their rows of 128.
    pub(super) fn store_tags(
        &self,
        first: u64,
        from: u32,
        tags: &[Tag],
        pending: &mut Pending,
    ) -> Result<(), NodeError> {
        let batch = &self.reserved(first)?.batch;
        let end = u64::from(from) + tags.len() as u64;
        if end > u64::from(batch.count) {
            return Err(NodeError::Inconsistent(format!(
                "tags up to {end} for a batch of {}",
                batch.count
            )));
        }
        let from = Position(first + u64::from(from));
        let rows = tag_rows(from, tags, |key| self.stored_row(key, pending))?;
        for (key, row) in rows {
            pending.bytes += row.len();
            pending.batch.put(key, row);
        }
        Ok(())
    }

    /// A row as the batch under way leaves it.
    fn stored_row(&self, key: &[u8], pending: &Pending) -> Result<Option<Vec<u8>>, NodeError> {
        let mut written = pending.batch.writes.iter().rev();
        match written.find(|(written, _)| written == key) {
            Some((_, value)) => Ok(value.clone()),
            None => Ok(self.shared.engine.get(key)?),
        }
    }
}

/// The rows of 128 that hold `tags` from position `from` on. `stored` gives a row
/// as it is: neighbours in it may be of another batch.
pub(super) fn tag_rows(
    from: Position,
    tags: &[Tag],
    stored: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, NodeError>,
) -> Result<Vec<Row>, NodeError> {
    let (mut position, mut rest) = (from.0, tags);
    let mut made = Vec::new();
    while !rest.is_empty() {
        let (tile, at) = tag_place(Position(position));
        let (now, later) = rest.split_at(rest.len().min(rows::TILE_ROW_LEN - at / TAG_LEN));
        let key = rows::tag_tile(tile);
        let mut row = if now.len() == rows::TILE_ROW_LEN {
            Vec::new()
        } else {
            stored(&key)?.unwrap_or_default()
        };
        let end = at + now.len() * TAG_LEN;
        row.resize(row.len().max(end), 0);
        for (place, tag) in row[at..end].chunks_exact_mut(TAG_LEN).zip(now) {
            place.copy_from_slice(&tag.0);
        }
        made.push((key, row));
        position += now.len() as u64;
        rest = later;
    }
    Ok(made)
}

/// What signs the coupons of `batch`.
pub(super) fn template_of(batch: &BatchIssued) -> CouponTemplate {
    CouponTemplate::new(
        batch.campaign,
        batch.amount,
        batch.not_before,
        batch.not_after,
        batch.algorithm,
        batch.kid,
    )
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
