//! The key layout: every prefix in one place, and the readers of the log's rows.
//!
//! A key is one prefix byte and then big-endian numbers, so that keys sort as
//! their numbers do. All rows lie in one tree (a batch is atomic on one only).
//!
//! | prefix | key after it | value |
//! |---|---|---|
//! | `b` | batch number u64 | a coupon batch: position range, exp, root of tags |
//! | `c` | campaign identity, 16 bytes | a campaign as signed, with what is counted of it |
//! | `d` | entry index u64, part u16 | records beside the log ([`super::beside`]) |
//! | `e` | index u64 of the first entry in the row | packed entries ([`super::pack`]) |
//! | `f` | which u8, then version u64 and part u16, or 16 bytes of a request | rosters of the federation |
//! | `format` | nothing | the number of this layout |
//! | `g` | tag tile number u64 | 128 coupon tags of 32 bytes |
//! | `i` | identity, 16 bytes | an intent that has not ended: its entry, and what the issuer is sent |
//! | `k` | which u8, part u8 | the node's own checkpoint with its cosignatures |
//! | `n` | the register's name | a register's counters |
//! | `o` | kind u8, id of 16 bytes, part u16 | what other members have signed, brought by gossip |
//! | `q` | scoped identity, 16 bytes | a partner's request that was refused, until its time is over |
//! | `r` | reservation number u64 | a position range reserved, not yet issued |
//! | `s` | status list number u64, row u16 | status bits |
//! | `t` | level u8, tile number u64, half u8 | 128 hashes of a Merkle tile |
//! | `v` | SHA-256 of an origin, 32 bytes, and a key id, 4 | another log's newest checkpoint that a redemption has verified |
//! | `w` | SHA-256 of an origin, 32 bytes | another log's checkpoint, as it was cosigned last |
//! | `x` | level u8, run number u64, row u32 | a row of a sorted index run |
//! | `y` | a name | what the index is made of |
//! | `z` | a name | checkpoint of derived state: what opening starts from |

use std::ops::ControlFlow;

use super::pack::Packed;
use super::{Batch, Engine, StoreError};
use crate::primitives::{CampaignId, RedemptionId};

/// The number of the layout that this code writes and reads.
pub const FORMAT: u8 = 2;

/// The layout of the same rows, all of them in sled: read, and made the other.
pub const FORMAT_WITHOUT_JOURNAL: u8 = 1;

/// Key of the row that holds [`FORMAT`] as one byte.
pub const FORMAT_KEY: &[u8] = b"format";

/// Coupon batches.
pub const BATCH: u8 = b'b';
/// Campaigns.
pub const CAMPAIGN: u8 = b'c';
/// Records beside the log.
pub const BESIDE: u8 = b'd';
/// Packed entries.
pub const ENTRY: u8 = b'e';
/// Rosters of the federation.
pub const ROSTER: u8 = b'f';
/// Tiles of coupon tags.
pub const TAG_TILE: u8 = b'g';
/// Intents that have not ended.
pub const INTENT: u8 = b'i';
/// Own checkpoints with cosignatures.
pub const COSIGNED: u8 = b'k';
/// Registers.
pub const REGISTER: u8 = b'n';
/// What other members have signed, brought by gossip.
pub const GOSSIPED: u8 = b'o';
/// Partners' requests that were refused.
pub const REFUSAL: u8 = b'q';
/// Reserved position ranges.
pub const RESERVATION: u8 = b'r';
/// Status bits.
pub const STATUS: u8 = b's';
/// Tiles of the Merkle tree.
pub const HASH_TILE: u8 = b't';
/// Other logs' checkpoints that redemptions have verified.
pub const VERIFIED: u8 = b'v';
/// Other logs' checkpoints that were cosigned.
pub const WITNESSED: u8 = b'w';
/// Index runs.
pub const INDEX_RUN: u8 = b'x';
/// What the index is made of.
pub const INDEX_META: u8 = b'y';
/// Checkpoint of derived state.
pub const DERIVED: u8 = b'z';

/// Hashes, or tags, of 32 bytes in one tile row: a tile of 8,192 bytes is two
/// rows, so that none comes near `VALUE_BYTES_MAX`.
pub const TILE_ROW_LEN: usize = 128;

fn key(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(prefix);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Key of the packed row whose first entry is `first`.
#[must_use]
pub fn entry(first: u64) -> Vec<u8> {
    key(ENTRY, &[&first.to_be_bytes()])
}

/// Key of part `part` of the records beside the entry `index`.
#[must_use]
pub fn beside(index: u64, part: u16) -> Vec<u8> {
    key(BESIDE, &[&index.to_be_bytes(), &part.to_be_bytes()])
}

/// Key of half `half` (0 or 1, 128 hashes each) of tile `tile` on `level`.
#[must_use]
pub fn hash_tile(level: u8, tile: u64, half: u8) -> Vec<u8> {
    debug_assert!(half < 2, "a tile has two halves");
    key(HASH_TILE, &[&[level], &tile.to_be_bytes(), &[half]])
}

/// Key of the coupon tags number `128 * tile` and on.
#[must_use]
pub fn tag_tile(tile: u64) -> Vec<u8> {
    key(TAG_TILE, &[&tile.to_be_bytes()])
}

/// Key of a coupon batch.
#[must_use]
pub fn batch(number: u64) -> Vec<u8> {
    key(BATCH, &[&number.to_be_bytes()])
}

/// Key of a reserved position range.
#[must_use]
pub fn reservation(number: u64) -> Vec<u8> {
    key(RESERVATION, &[&number.to_be_bytes()])
}

/// Key of a campaign.
#[must_use]
pub fn campaign(id: &CampaignId) -> Vec<u8> {
    key(CAMPAIGN, &[id.as_ref()])
}

/// Key of a register.
#[must_use]
pub fn register(name: &str) -> Vec<u8> {
    key(REGISTER, &[name.as_bytes()])
}

/// Key of row `row` of status list `list`.
#[must_use]
pub fn status(list: u64, row: u16) -> Vec<u8> {
    key(STATUS, &[&list.to_be_bytes(), &row.to_be_bytes()])
}

/// Key of part `part` of one of the node's own cosigned checkpoints.
#[must_use]
pub fn cosigned(which: u8, part: u8) -> Vec<u8> {
    key(COSIGNED, &[&[which, part]])
}

/// Key of the checkpoint that was cosigned last of the log that is known by this: the
/// SHA-256 of its origin, unless it was declared in the place of another.
#[must_use]
pub fn witnessed(log: &[u8; 32]) -> Vec<u8> {
    key(WITNESSED, &[log])
}

/// Key of the newest checkpoint that a redemption has verified of the log whose origin
/// has this SHA-256, and that the key of this id has signed.
#[must_use]
pub fn verified(origin_hash: &[u8; 32], key_id: &[u8; 4]) -> Vec<u8> {
    key(VERIFIED, &[origin_hash, key_id])
}

/// Which rows of [`ROSTER`] one is of; none is a letter, so that none is taken for
/// [`FORMAT_KEY`].
const ROSTER_FOLLOWED: u8 = 0;
const ROSTER_SECOND: u8 = 1;
const ROSTER_REQUEST: u8 = 2;

/// Key of an open intent.
#[must_use]
pub fn intent(id: &RedemptionId) -> Vec<u8> {
    key(INTENT, &[&id.0])
}

/// Key of a partner's request that was refused, by its scoped identity.
#[must_use]
pub fn partner_refusal(id: &RedemptionId) -> Vec<u8> {
    key(REFUSAL, &[&id.0])
}

/// Key of part `part` of a version of the roster: of the one that is followed, or of a
/// second one of its number.
#[must_use]
pub fn roster(is_second: bool, version: u64, part: u16) -> Vec<u8> {
    let which = if is_second { ROSTER_SECOND } else { ROSTER_FOLLOWED };
    key(ROSTER, &[&[which], &version.to_be_bytes(), &part.to_be_bytes()])
}

/// The version that a key of [`roster`] is of; `None` for other keys.
#[must_use]
pub fn roster_version(key: &[u8]) -> Option<u64> {
    let bytes = key.get(2..10)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Key of the request that brought a roster, by the keyed hash of its
/// `Idempotency-Key`.
#[must_use]
pub fn roster_request(hash: &[u8; 16]) -> Vec<u8> {
    key(ROSTER, &[&[ROSTER_REQUEST], hash])
}

/// Key of part `part` of another member's item.
#[must_use]
pub fn gossiped(kind: u8, id: &[u8; 16], part: u16) -> Vec<u8> {
    key(GOSSIPED, &[&[kind], id, &part.to_be_bytes()])
}

/// Kind, id and part that a key of [`gossiped`] is of; `None` for other keys.
#[must_use]
pub fn gossiped_place(key: &[u8]) -> Option<(u8, [u8; 16], u16)> {
    let (kind, rest) = key.get(1..)?.split_first()?;
    let (id, part) = rest.split_first_chunk::<16>()?;
    Some((*kind, *id, u16::from_be_bytes(part.try_into().ok()?)))
}

/// Key of row `row` of index run `run` on `level`.
#[must_use]
pub fn index_run(level: u8, run: u64, row: u32) -> Vec<u8> {
    key(INDEX_RUN, &[&[level], &run.to_be_bytes(), &row.to_be_bytes()])
}

/// Key of a named row about the index.
#[must_use]
pub fn index_meta(name: &[u8]) -> Vec<u8> {
    key(INDEX_META, &[name])
}

/// Key of a named row of the checkpoint of derived state.
#[must_use]
pub fn derived(name: &[u8]) -> Vec<u8> {
    key(DERIVED, &[name])
}

/// The big-endian number that follows the prefix of `key`; `None` when the key
/// is shorter.
#[must_use]
pub fn number_of(key: &[u8]) -> Option<u64> {
    let bytes = key.get(1..9)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Adds `entries`, the first of which has index `first`, to `batch` as packed
/// rows, and makes the first row's key the batch's `require_absent`: a writer
/// whose head is stale gets [`StoreError::HeadMoved`].
///
/// Every commit begins a row of its own, so that no row is ever rewritten.
///
/// # Errors
/// [`StoreError::Refused`] for an entry over `ENTRY_BYTES_MAX`.
pub fn append_entries<'a>(
    batch: &mut Batch,
    first: u64,
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), StoreError> {
    let mut packer = super::pack::Packer::new();
    let mut any = false;
    for (index, bytes) in (first..).zip(entries) {
        any = true;
        if let Some(row) = packer.push(index, bytes)? {
            batch.put(entry(row.first), row.bytes);
        }
    }
    if let Some(row) = packer.finish() {
        batch.put(entry(row.first), row.bytes);
    }
    if any {
        batch.require_absent = Some(entry(first));
    }
    Ok(())
}

/// The packed row in `value`, whose key is `key`.
fn packed_entries<'a>(key: &[u8], value: &'a [u8]) -> Result<Packed<'a>, StoreError> {
    let packed = Packed::parse(value)
        .map_err(|error| StoreError::Damaged(format!("row of entries from {:?}: {error}", number_of(key))))?;
    if number_of(key) != Some(packed.first()) {
        return Err(StoreError::Damaged(format!(
            "a row of entries from {} lies under the key for {:?}",
            packed.first(),
            number_of(key)
        )));
    }
    Ok(packed)
}

/// The bytes of entry `index`; `None` past the end.
///
/// # Errors
/// [`StoreError::Damaged`] when its row is not what was written.
pub fn read_entry(engine: &dyn Engine, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match engine.at_or_before(&[ENTRY], &entry(index))? {
        Some((key, value)) => Ok(packed_entries(&key, &value)?.get(index).map(<[u8]>::to_vec)),
        None => Ok(None),
    }
}

/// The index and bytes of the last entry; `None` for an empty log.
///
/// # Errors
/// [`StoreError::Damaged`] when its row is not what was written.
pub fn last_entry(engine: &dyn Engine) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    match engine.at_or_before(&[ENTRY], &entry(u64::MAX))? {
        Some((key, value)) => {
            let last = packed_entries(&key, &value)?.iter().last();
            Ok(last.map(|(index, bytes)| (index, bytes.to_vec())))
        }
        None => Ok(None),
    }
}

/// Visits the entries from index `from` on, in order, until `visit` breaks.
///
/// The indices visited have no gap: the caller that knows the log's size
/// compares it with the number visited.
///
/// # Errors
/// [`StoreError::Damaged`] at the first row that is not what was written, and
/// where a row is missing.
pub fn scan_entries(
    engine: &dyn Engine,
    from: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let start = match engine.at_or_before(&[ENTRY], &entry(from))? {
        Some((key, _)) => key,
        None => entry(from),
    };
    let mut outcome = Ok(());
    let mut next = None;
    engine.scan(&[ENTRY], &start, &mut |key, value| {
        let packed = match packed_entries(key, value) {
            Ok(packed) => packed,
            Err(error) => {
                outcome = Err(error);
                return ControlFlow::Break(());
            }
        };
        let expected = next.unwrap_or(if packed.first() <= from {
            packed.first()
        } else {
            from
        });
        if packed.first() != expected {
            outcome = Err(StoreError::Damaged(format!(
                "entries {expected} to {} are missing",
                packed.first().saturating_sub(1)
            )));
            return ControlFlow::Break(());
        }
        next = Some(packed.end());
        for (index, bytes) in packed.iter().filter(|(index, _)| *index >= from) {
            visit(index, bytes)?;
        }
        ControlFlow::Continue(())
    })?;
    outcome
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
