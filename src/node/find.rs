//! Reading events back: by index, by key, by what they are about.

use crate::ledger::{CouponState, Event, Recorded, RedemptionState, TakenBy, Wish, half_id};
use crate::log::{Entry, entry_hash};
use crate::primitives::{Amount, CouponName, Digest, RedemptionId, Tag};
use crate::store::{Engine, rows};

use super::NodeError;

/// The index key of a coupon: its latest entry. Set apart from keyed hashes by
/// its zero bytes.
pub(super) fn coupon_key(name: CouponName) -> [u8; 16] {
    let mut key = [0; 16];
    key[0] = b'c';
    key[8..12].copy_from_slice(&name.list.to_be_bytes());
    key[12..].copy_from_slice(&name.index.to_be_bytes());
    key
}

/// The index key of the keys for credentials: the entry that names the newest one.
/// Set apart from keyed hashes by its zero bytes.
pub(super) const CREDENTIAL_KEY: [u8; 16] = *b"k\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The index key of a receipt.
pub(super) fn receipt_key(tag: &Tag) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&tag.0[..16]);
    key
}

/// Reads entry bytes as an event in its place.
///
/// # Errors
/// [`NodeError::Inconsistent`] when they are not an entry of this log.
pub(super) fn recorded(index: u64, bytes: &[u8]) -> Result<Recorded, NodeError> {
    Ok(linked(index, bytes)?.0)
}

/// [`recorded`], with the hash that the entry names as the one before it.
///
/// # Errors
/// As [`recorded`].
pub(super) fn linked(index: u64, bytes: &[u8]) -> Result<(Recorded, Digest), NodeError> {
    let broken = |why: String| NodeError::Inconsistent(format!("entry {index}: {why}"));
    let entry = Entry::decode(bytes).map_err(|error| broken(error.to_string()))?;
    if entry.index != index {
        return Err(broken(format!("it says that it is entry {}", entry.index)));
    }
    let (event, answers) =
        Event::from_body(entry.kind, &entry.body).map_err(|error| broken(error.to_string()))?;
    let recorded = Recorded {
        index,
        hash: entry_hash(bytes),
        time: entry.time,
        event,
        answers,
    };
    Ok((recorded, entry.previous))
}

/// Whatever can give an entry by its index and an index value by its key: the
/// writer (who sees its own unfinished batch) and every reader.
pub(super) trait Lookup {
    /// The entry at `index`.
    fn entry(&self, index: u64) -> Result<Recorded, NodeError>;
    /// The newest entry under `key`.
    fn newest(&self, key: [u8; 16]) -> Result<Option<u64>, NodeError>;

    /// What has been counted of a coupon, from its latest entry.
    fn coupon(&self, name: CouponName) -> Result<Option<CouponState>, NodeError> {
        let Some(index) = self.newest(coupon_key(name))? else {
            return Ok(None);
        };
        let latest = self.entry(index)?;
        let state = match &latest.event {
            Event::Redeemed(redeemed) => CouponState {
                uses: redeemed.uses_after,
                spent: redeemed.spent_after,
                last_entry: latest.hash,
                last_use: taken_by(&latest),
            },
            Event::Reversed(reversed) => CouponState {
                uses: reversed.uses_after,
                spent: reversed.spent_after,
                last_entry: latest.hash,
                last_use: taken_by(&self.entry(reversed.latest_redemption_entry)?),
            },
            _ => return Err(misplaced(index, "a coupon's")),
        };
        Ok(Some(state))
    }

    /// A redemption and what has been reversed of it; `None` when no
    /// redemption has that identity.
    fn redemption(&self, id: RedemptionId) -> Result<Option<(RedemptionState, Recorded)>, NodeError> {
        let Some(index) = self.newest(id.0)? else {
            return Ok(None);
        };
        let latest = self.entry(index)?;
        let (original, reversed) = match &latest.event {
            Event::Redeemed(redeemed) if redeemed.id == id => (latest, Amount::ZERO),
            Event::Reversed(reversed) if reversed.redemption == id => {
                (self.entry(reversed.redemption_entry)?, reversed.reversed_after)
            }
            _ => return Ok(None),
        };
        let Event::Redeemed(redeemed) = &original.event else {
            return Err(misplaced(original.index, "a redemption's"));
        };
        let coupon_amount = match self.entry(redeemed.batch_entry)?.event {
            Event::BatchIssued(batch) => batch.amount,
            _ => return Err(misplaced(redeemed.batch_entry, "a batch's")),
        };
        let state = RedemptionState {
            entry: original.index,
            tag: redeemed.tag,
            name: redeemed.name,
            coupon_amount,
            campaign: redeemed.campaign,
            redeemer: redeemed.redeemer.clone(),
            place: redeemed.place.clone(),
            at: redeemed.at.unwrap_or(original.time),
            amount: redeemed.amount,
            reversed,
        };
        Ok(Some((state, original)))
    }
}

fn taken_by(recorded: &Recorded) -> Option<TakenBy> {
    match &recorded.event {
        Event::Redeemed(redeemed) => Some(TakenBy {
            redemption: redeemed.id,
            entry: recorded.index,
            at: redeemed.at.unwrap_or(recorded.time),
            redeemer: redeemed.redeemer.clone(),
            place: redeemed.place.clone(),
        }),
        _ => None,
    }
}

pub(super) fn misplaced(index: u64, whose: &str) -> NodeError {
    NodeError::Inconsistent(format!("entry {index} stands where {whose} entry is expected"))
}

/// Reads a committed entry.
pub(super) fn committed_entry(engine: &dyn Engine, index: u64) -> Result<Recorded, NodeError> {
    let bytes = rows::read_entry(engine, index)?
        .ok_or_else(|| NodeError::Inconsistent(format!("entry {index} is missing from the store")))?;
    recorded(index, &bytes)
}

/// Whether several events may be found under one till reference: a sale redeems
/// several coupons, each in an entry of its own.
pub(super) fn shares_reference(event: &Event) -> bool {
    match event {
        Event::Redeemed(_) => true,
        Event::Intent(intent) => matches!(intent.wish, Wish::Redeem { .. }),
        _ => false,
    }
}

/// The keys under which an event is found again, for the index.
pub(super) fn keys_of(recorded: &Recorded, reference_occurrence: u32) -> Vec<[u8; 16]> {
    let mut keys = Vec::with_capacity(4);
    // An intent is found by its request and reference, and through it what it came to.
    let ends = matches!(recorded.event, Event::RedeemerHalf(_) | Event::IntentEnded(_));
    if let Some(answers) = recorded.answers.as_ref().filter(|_| !ends) {
        keys.push(answers.key);
        if let Some(reference) = answers.reference {
            keys.push(super::requests::occurrence(reference, reference_occurrence));
        }
    }
    match &recorded.event {
        Event::ReceiptIssued(receipt) => keys.push(receipt_key(&receipt.tag)),
        // The receipt is found through it from now on.
        Event::ReceiptErased(erased) => keys.push(receipt_key(&erased.tag)),
        Event::Redeemed(redeemed) => keys.extend([redeemed.id.0, coupon_key(redeemed.name)]),
        Event::Reversed(reversed) => {
            keys.extend([reversed.id.0, reversed.redemption.0, coupon_key(reversed.name)]);
        }
        Event::Intent(intent) => keys.extend([intent.id.0, receipt_key(&intent.tag)]),
        Event::CancelWished(wished) => keys.push(wished.id.0),
        Event::IntentEnded(ended) => keys.push(ended.id.0),
        Event::RedeemerHalf(half) => {
            keys.extend([half.id.0, receipt_key(&half.tag)]);
            keys.extend(half.reverses.map(|reverses| reverses.redemption.0));
        }
        Event::RequestCancelled(cancelled) => {
            keys.push(half_id(&cancelled.redeemer, cancelled.request_id).0);
        }
        Event::CredentialKeyAdded(_) => keys.push(CREDENTIAL_KEY),
        _ => {}
    }
    keys
}

/// SHA-256 of bytes, as a digest.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}
