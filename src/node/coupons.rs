//! Finding a presented coupon again (protocol, section 1): the permutation is
//! inverted, and the coupon's tag compared with the one stored at its position.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, RwLock};

use crate::credential::coupon_series::StatusPermutation;
use crate::credential::{Coupon, Signed, coupon_tag};
use crate::ledger::{Event, Presented, Refusal};
use crate::primitives::{Amount, CouponName, Position, Tag, limits};
use crate::store::rows;

use super::NodeError;
use super::find::{Lookup, misplaced};
use super::pending::BatchRow;
use super::writer::Shared;

/// A coupon's tag in its row.
pub(super) const TAG_LEN: usize = Tag::LEN;

/// Coupons that an event covers: one by its name, or whole ranges of positions.
/// Their names are never all in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Covered {
    pub name: Option<CouponName>,
    pub positions: Vec<Range<u64>>,
}

impl Covered {
    /// The coupons at these positions.
    pub fn positions(range: Range<u64>) -> Self {
        Self {
            name: None,
            positions: std::iter::once(range).collect(),
        }
    }

    /// All coupons of these batches.
    pub fn batches<'a>(rows: impl IntoIterator<Item = &'a BatchRow>) -> Self {
        let positions = rows.into_iter().map(BatchRow::positions).collect();
        Self {
            name: None,
            positions,
        }
    }
}

impl From<CouponName> for Covered {
    fn from(name: CouponName) -> Self {
        Self {
            name: Some(name),
            positions: Vec::new(),
        }
    }
}

/// The keyed permutations of all lists, made as they are needed.
pub(super) struct Permutations {
    secret: [u8; 32],
    lists: RwLock<HashMap<u32, Arc<StatusPermutation>>>,
}

impl Permutations {
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            lists: RwLock::default(),
        }
    }

    pub fn name_of(&self, position: Position) -> CouponName {
        let list = position.list();
        let index = self.list(list).index_of(position.offset());
        CouponName { list, index }
    }

    /// The names of the coupons in `covered`, made one by one.
    pub fn names<'a>(&'a self, covered: &'a Covered) -> impl Iterator<Item = CouponName> + 'a {
        let mut held: Option<(u32, Arc<StatusPermutation>)> = None;
        let positions = covered.positions.iter().cloned().flatten();
        let names = positions.map(move |position| {
            let position = Position(position);
            let list = position.list();
            let permutation = match &held {
                Some((of, permutation)) if *of == list => permutation,
                _ => &held.insert((list, self.list(list))).1,
            };
            CouponName {
                list,
                index: permutation.index_of(position.offset()),
            }
        });
        covered.name.into_iter().chain(names)
    }

    pub fn position_of(&self, name: CouponName) -> Position {
        Position::at(name.list, self.list(name.list).offset_of(name.index))
    }

    fn list(&self, list: u32) -> Arc<StatusPermutation> {
        let known = self
            .lists
            .read()
            .expect("no holder of this lock panics")
            .get(&list)
            .cloned();
        known.unwrap_or_else(|| {
            let made = Arc::new(StatusPermutation::new(&self.secret, list));
            let mut lists = self.lists.write().expect("no holder of this lock panics");
            // What an outsider names is bounded: lists that were never issued are not kept.
            if lists.len() >= limits::PERMUTATIONS_KEPT_MAX {
                lists.clear();
            }
            lists.entry(list).or_insert(made).clone()
        })
    }
}

/// Rows of batches that were looked up: a batch never changes, and finding the
/// row before a key costs the engine more than any other read of a redemption.
#[derive(Default)]
pub(super) struct KnownBatches(RwLock<BTreeMap<u64, BatchRow>>);

impl KnownBatches {
    fn holding(&self, position: u64) -> Option<BatchRow> {
        let known = self.0.read().expect("no holder of this lock panics");
        let (_, row) = known.range(..=position).next_back()?;
        row.holds(position).then_some(*row)
    }

    fn keep(&self, row: BatchRow) {
        let mut known = self.0.write().expect("no holder of this lock panics");
        if known.len() >= limits::BATCHES_KEPT_MAX {
            known.clear();
        }
        known.insert(row.first, row);
    }
}

impl Shared {
    pub(super) fn batch_holding(&self, position: Position) -> Result<Option<BatchRow>, NodeError> {
        if let Some(row) = self.batches.holding(position.0) {
            return Ok(Some(row));
        }
        let found = self
            .engine
            .at_or_before(&[rows::BATCH], &rows::batch(position.0))?;
        let Some((key, value)) = found else {
            return Ok(None);
        };
        let first = rows::number_of(&key).unwrap_or(u64::MAX);
        let row = BatchRow::decode(first, &value)
            .ok_or_else(|| NodeError::Inconsistent(format!("the row of the batch from position {first}")))?;
        self.batches.keep(row);
        Ok(row.holds(position.0).then_some(row))
    }

    pub(super) fn batch_amount(&self, entry: u64) -> Result<Option<Amount>, NodeError> {
        match self.entry(entry)?.event {
            Event::BatchIssued(batch) => Ok(batch.amount),
            _ => Err(misplaced(entry, "a batch's")),
        }
    }

    pub(super) fn stored_tag(&self, position: Position) -> Result<Option<Tag>, NodeError> {
        let (tile, at) = tag_place(position);
        let row = self.engine.get(&rows::tag_tile(tile))?;
        Ok(row.and_then(|row| Tag::from_slice(row.get(at..at + TAG_LEN)?)))
    }

    /// Finds out whether `bytes` are exactly a coupon that was issued here:
    /// its tag is compared with the one stored at its position (one SHA-256
    /// and one read). Only where that fails is the signature looked at, to say
    /// why.
    ///
    /// # Errors
    /// A [`Refusal`] that names the reason.
    pub(super) fn present(&self, bytes: &[u8]) -> Result<Presented, NodeError> {
        let forged = |why: String| NodeError::Refused(Refusal::CouponForged(why));
        let coupon = Coupon::parse_unverified(bytes).map_err(|error| forged(error.to_string()))?;
        let Some(list) = self.options.origin.status_list_of(&coupon.status.uri) else {
            return Err(Refusal::CouponForeign.into());
        };
        if coupon.status.index >= limits::STATUS_LIST_LEN {
            return Err(forged("its status index is out of bounds".to_owned()));
        }
        let name = CouponName {
            list,
            index: coupon.status.index,
        };
        let tag = coupon_tag(bytes);
        let position = self.permutations.position_of(name);
        let stored = self.stored_tag(position)?;
        if stored != Some(tag) {
            let signed = Signed::parse(bytes).map_err(|error| forged(error.to_string()))?;
            return Err(self.why_not_issued(&signed));
        }
        if coupon.holder.is_some() {
            return Err(Refusal::HolderSignatureMissing.into());
        }
        let row = self.batch_holding(position)?.ok_or(Refusal::CouponNotIssued)?;
        let leaf = u32::try_from(position.0 - row.first).expect("a batch holds fewer than 2^32 coupons");
        Ok(Presented {
            name,
            tag,
            batch_entry: row.entry,
            leaf,
            campaign: coupon.campaign,
            amount: coupon.amount,
            not_before: coupon.not_before,
            not_after: coupon.not_after,
        })
    }

    fn why_not_issued(&self, signed: &Signed<Coupon>) -> NodeError {
        let keys = self
            .credential_keys
            .read()
            .expect("no holder of this lock panics");
        let mut named = keys.iter().filter(|key| key.kid() == signed.kid()).peekable();
        if named.peek().is_none() {
            return Refusal::CouponForeign.into();
        }
        if !named.any(|key| signed.verify(key).is_ok()) {
            return Refusal::CouponForged("its signature does not fit".to_owned()).into();
        }
        tracing::error!(
            campaign = %signed.content().campaign,
            index = signed.content().status.index,
            "a coupon with a good signature that was never issued: the credential key may be stolen"
        );
        self.metrics.unissued_coupons.inc();
        Refusal::CouponNotIssued.into()
    }
}

/// The row of a position's tag, and where in it the tag begins.
pub(super) fn tag_place(position: Position) -> (u64, usize) {
    let per_row = rows::TILE_ROW_LEN as u64;
    let at = usize::try_from(position.0 % per_row).expect("below 128");
    (position.0 / per_row, at * TAG_LEN)
}
