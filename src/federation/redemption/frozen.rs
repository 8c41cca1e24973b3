//! Whether a coupon of a compromised key was issued before its key was stolen. Pure.
//!
//! Dates inside such a coupon prove nothing, nor does its signature: the thief makes
//! both. What counts is a place in the issuer's log below the size that the roster
//! froze (protocol, section 5): the coupon's tag is a leaf under the root in a batch's
//! entry, and that entry is in the tree of a checkpoint which continues what was
//! verified before.

use super::answers::Tree;
use crate::federation::entries::CouponPath;
use crate::ledger::{BatchIssued, Event};
use crate::log::{Entry, entry_hash};
use crate::merkle::{leaf_hash, root_of_path};
use crate::primitives::{CampaignId, CouponName, KeyId, Position, Tag};

/// What a coupon says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its tag, over all of its bytes.
    pub tag: Tag,
    /// What it is called.
    pub name: CouponName,
    /// Its campaign.
    pub campaign: CampaignId,
    /// The key that signed it.
    pub kid: KeyId,
}

/// Why a coupon of a compromised key is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// What is shown is no entry of a batch.
    #[error("what is shown for it is no entry of a batch of coupons")]
    NoBatch,
    /// Its batch was issued too late.
    #[error(
        "its batch is entry {index} of its co-op's log, and since the key was stolen only those in the first {frozen} \
         entries count"
    )]
    TooLate {
        /// The batch's entry.
        index: u64,
        /// Entries that count.
        frozen: u64,
    },
    /// The entry is not in the log.
    #[error("the entry of its batch is not in its co-op's log, as far as that is verified")]
    NotInLog,
    /// Another coupon has that name.
    #[error("the coupon that was issued under its name is another one")]
    OtherCoupon,
    /// The batch says something else of its coupons.
    #[error("its batch was issued with {0}")]
    OtherBatch(&'static str),
    /// Its tag does not lead to the root in the entry.
    #[error("it is not among the coupons of its batch")]
    NotInBatch,
}

/// Checks that the coupon `shown` was issued with a batch whose entry is one of the
/// first `frozen` of the log whose tree is `log`, by what `path` proves. `log` is
/// verified already.
///
/// # Errors
/// [`NotProven`].
pub fn verify(path: &CouponPath, shown: &Shown, frozen: u64, log: &Tree) -> Result<(), NotProven> {
    let entry = Entry::decode(&path.entry).map_err(|_| NotProven::NoBatch)?;
    let index = entry.index;
    let Ok((Event::BatchIssued(batch), _)) = Event::from_body(entry.kind, &entry.body) else {
        return Err(NotProven::NoBatch);
    };
    if index >= frozen {
        return Err(NotProven::TooLate { index, frozen });
    }
    let hash = entry_hash(&path.entry);
    if root_of_path(&hash.0, index, log.size, &path.entry_path) != Ok(log.root) {
        return Err(NotProven::NotInLog);
    }
    if path.tag != shown.tag {
        return Err(NotProven::OtherCoupon);
    }
    check_batch(&batch, path.leaf, shown)?;
    let (leaf, count) = (u64::from(path.leaf), u64::from(batch.count));
    match root_of_path(&leaf_hash(&shown.tag.0), leaf, count, &path.tag_path) {
        Ok(root) if root == batch.tags_root.0 => Ok(()),
        _ => Err(NotProven::NotInBatch),
    }
}

/// What the coupon says has to be what its batch was issued with.
fn check_batch(batch: &BatchIssued, leaf: u32, shown: &Shown) -> Result<(), NotProven> {
    let position = batch.first.0.checked_add(u64::from(leaf)).map(Position);
    let is_in_list = position.is_some_and(|position| position.list() == shown.name.list);
    let checks = [
        (batch.kid == shown.kid, "another key"),
        (batch.campaign == shown.campaign, "another campaign"),
        (is_in_list, "places in another status list"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(NotProven::OtherBatch(what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Algorithm;
    use crate::federation::redemption::wire::LogState;
    use crate::merkle::{Hash, path_over, root_of};
    use crate::primitives::{Digest, UnixSeconds};

    const LEAF: u32 = 2;
    const INDEX: u64 = 3;

    fn shown() -> Shown {
        Shown {
            tag: tag(LEAF),
            name: CouponName { list: 1, index: 9 },
            campaign: CampaignId([4; 16]),
            kid: KeyId([5; 8]),
        }
    }

    fn tag(leaf: u32) -> Tag {
        Tag([u8::try_from(leaf).unwrap() + 1; 32])
    }

    fn path_in(leaves: &[Hash], index: u64) -> Vec<Hash> {
        let root = |range: std::ops::Range<u64>| {
            let [from, to] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
            Ok::<_, ()>(root_of(&leaves[from..to]))
        };
        path_over(index, leaves.len() as u64, root).unwrap()
    }

    /// A batch of five coupons, entry 3 of a log of seven, and the log's tree.
    fn batch(change: impl FnOnce(&mut BatchIssued)) -> (CouponPath, Tree) {
        let tags: Vec<Hash> = (0..5).map(|leaf| leaf_hash(&tag(leaf).0)).collect();
        let mut batch = BatchIssued {
            campaign: shown().campaign,
            first: Position::at(1, 0),
            count: 5,
            not_before: None,
            not_after: UnixSeconds(1_798_761_600),
            amount: None,
            kid: shown().kid,
            algorithm: Algorithm::EdDsa,
            tags_root: Digest(root_of(&tags)),
        };
        change(&mut batch);
        let (path, log) = logged(&Event::BatchIssued(batch));
        let path = CouponPath {
            tag_path: path_in(&tags, u64::from(LEAF)),
            ..path
        };
        (path, log)
    }

    fn logged(event: &Event) -> (CouponPath, Tree) {
        let entry = Entry {
            index: INDEX,
            time: UnixSeconds(1_772_896_869),
            previous: Digest([2; 32]),
            kind: event.kind(),
            body: event.to_body(None, [6; 16]),
        };
        let entry = entry.encode().unwrap();
        let mut leaves = vec![[0xee; 32]; 7];
        leaves[usize::try_from(INDEX).unwrap()] = entry_hash(&entry).0;
        let log = Tree {
            size: 7,
            root: root_of(&leaves),
        };
        let path = CouponPath {
            entry,
            entry_path: path_in(&leaves, INDEX),
            leaf: LEAF,
            tag: tag(LEAF),
            tag_path: Vec::new(),
            log: LogState {
                checkpoint: String::new(),
                old_size: 0,
                proof: Vec::new(),
            },
        };
        (path, log)
    }

    #[test]
    fn a_coupon_of_an_early_batch_is_proven() {
        let (path, log) = batch(|_| ());
        assert_eq!(verify(&path, &shown(), INDEX + 1, &log), Ok(()));
    }

    #[test]
    fn a_batch_at_the_frozen_size_is_too_late() {
        let (path, log) = batch(|_| ());
        let (index, frozen) = (INDEX, INDEX);
        let refused = verify(&path, &shown(), frozen, &log);
        assert_eq!(refused, Err(NotProven::TooLate { index, frozen }));
    }

    #[test]
    fn everything_on_the_way_has_to_hold() {
        let (good, log) = batch(|_| ());
        let with = |change: &dyn Fn(&mut CouponPath)| {
            let mut path = good.clone();
            change(&mut path);
            verify(&path, &shown(), 7, &log).unwrap_err()
        };
        assert_eq!(with(&|path| path.entry_path[0][0] ^= 1), NotProven::NotInLog);
        assert_eq!(with(&|path| path.entry_path.truncate(1)), NotProven::NotInLog);
        assert_eq!(with(&|path| path.tag_path[0][0] ^= 1), NotProven::NotInBatch);
        assert_eq!(with(&|path| path.tag_path.clear()), NotProven::NotInBatch);
        assert_eq!(with(&|path| path.leaf = 1), NotProven::NotInBatch);
        assert_eq!(with(&|path| path.leaf = 5), NotProven::NotInBatch);
        assert_eq!(with(&|path| path.tag = tag(1)), NotProven::OtherCoupon);
        assert_eq!(with(&|path| path.entry.truncate(40)), NotProven::NoBatch);
        // Another tree: a smaller one, one that was never signed.
        for other in [Tree { size: 3, ..log }, Tree { root: [1; 32], ..log }] {
            assert_eq!(verify(&good, &shown(), 7, &other), Err(NotProven::NotInLog));
        }
    }

    #[test]
    fn the_batch_has_to_be_the_coupons_own() {
        let refused = |change: &dyn Fn(&mut BatchIssued)| {
            let (path, log) = batch(change);
            verify(&path, &shown(), 7, &log).unwrap_err()
        };
        assert_eq!(
            refused(&|batch| batch.kid = KeyId([9; 8])),
            NotProven::OtherBatch("another key")
        );
        assert_eq!(
            refused(&|batch| batch.campaign = CampaignId([9; 16])),
            NotProven::OtherBatch("another campaign")
        );
        assert_eq!(
            refused(&|batch| batch.first = Position::at(0, 0)),
            NotProven::OtherBatch("places in another status list")
        );
        assert_eq!(
            refused(&|batch| batch.tags_root = Digest([9; 32])),
            NotProven::NotInBatch
        );
    }

    #[test]
    fn only_a_batch_counts() {
        let event = Event::CampaignSigned(crate::ledger::CampaignSigned {
            id: shown().campaign,
            credential: vec![7; 64],
        });
        let (path, log) = logged(&event);
        assert_eq!(verify(&path, &shown(), 7, &log), Err(NotProven::NoBatch));
    }
}
