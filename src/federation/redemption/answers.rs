//! What the redeemer believes of an issuer's answer: nothing before it is verified.
//! Pure.
//!
//! A half counts when its entry is in the tree of a checkpoint that the issuer's log
//! key has signed, that checkpoint continues the one which the request named, and the
//! entry answers just the request that was made.

use ed25519_dalek::VerifyingKey;

use super::wire::{LogState, Receipts};
use crate::credential::{Coupon, Terms};
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::federation::roster::Member;
use crate::ledger::{Event, IssuerHalf, Place, Quote, Redeemed, Reversed, Wish, half_id};
use crate::log::cose_receipt::SignedTree;
use crate::log::entry::write_entry;
use crate::log::{Checkpoint, Entry, KeyKind, LogError, VerifierKey, entry_hash};
use crate::merkle::{Hash, verify_consistency};
use crate::node::OpenIntent;
use crate::primitives::{Amount, Digest, UnixSeconds};

/// Why an answer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No key that is listed for the issuer's log has signed the checkpoint.
    #[error("its checkpoint is signed with no key that the roster lists for the issuer's log: {0}")]
    Checkpoint(String),
    /// The log is shorter than it was.
    #[error("its log has {now} entries, and had {before} before: it went back")]
    WentBack {
        /// Entries that were verified before.
        before: u64,
        /// Entries that the answer proves.
        now: u64,
    },
    /// The checkpoint does not continue what was verified before.
    #[error("its log does not continue the one that was verified before, of {0} entries")]
    NotContinued(u64),
    /// The half, or the cancellation, is not in the tree.
    #[error("its entry is not in the tree of its checkpoint: {0}")]
    NotIncluded(String),
    /// The half, or the cancellation, is another's.
    #[error("its entry does not answer the request, in {0}")]
    OtherHalf(&'static str),
    /// It has an entry without a log.
    #[error("it has an entry and no checkpoint")]
    NoCheckpoint,
}

/// A log's size with the root of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Entries.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

impl Tree {
    /// The tree of nothing: what every log continues.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            root: Checkpoint::empty("").root.0,
        }
    }
}

/// A checkpoint that continues a tree which was verified before.
#[derive(Clone, Debug)]
pub struct VerifiedLog {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The note that it came in.
    pub note: String,
    /// The key that signed it.
    pub key: VerifierKey,
}

impl VerifiedLog {
    /// Its tree.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree {
            size: self.checkpoint.size,
            root: self.checkpoint.root.0,
        }
    }
}

/// The keys that the roster lists for a member's log, as they sign checkpoints now.
pub fn log_keys(
    directory: &crate::federation::roster::Directory,
    member: &Member,
    now: crate::primitives::UnixSeconds,
) -> Vec<VerifierKey> {
    let origin = member.log_origin();
    directory
        .keys(member, crate::federation::roster::Role::Log, now)
        .filter_map(|key| {
            let key = VerifyingKey::from_bytes(key.key.as_bytes()).ok()?;
            VerifierKey::new(origin, KeyKind::Ed25519, key).ok()
        })
        .collect()
}

/// Verifies the log of an answer: that one of `keys` has signed its checkpoint, and
/// that it continues `named`, which the request named.
///
/// # Errors
/// [`AnswerError`].
pub fn verify_log(log: &LogState, keys: &[VerifierKey], named: &Tree) -> Result<VerifiedLog, AnswerError> {
    let mut why = "the roster lists none".to_owned();
    let mut opened = None;
    for key in keys {
        match Checkpoint::open(log.checkpoint.as_bytes(), key) {
            Ok(checkpoint) => opened = Some((checkpoint, key.clone())),
            Err(error) => why = error.to_string(),
        }
    }
    let (checkpoint, key) = opened.ok_or(AnswerError::Checkpoint(why))?;
    if checkpoint.size < named.size || log.old_size != named.size {
        return Err(AnswerError::WentBack {
            before: named.size,
            now: checkpoint.size,
        });
    }
    verify_consistency(
        named.size,
        checkpoint.size,
        &named.root,
        &checkpoint.root.0,
        &log.proof,
    )
    .map_err(|_| AnswerError::NotContinued(named.size))?;
    Ok(VerifiedLog {
        checkpoint,
        note: log.checkpoint.clone(),
        key,
    })
}

/// What is known of the coupon that an open intent is about.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// This co-op.
    pub own_did: &'a str,
    /// The campaign's terms, where they are known: they say what is left.
    pub terms: Option<&'a Terms>,
    /// The coupon's own amount.
    pub coupon_amount: Option<Amount>,
}

/// An entry of the issuer's log, proven to be in it.
#[derive(Clone, Debug)]
pub struct Proven<'a> {
    entry: &'a [u8],
    hash: Digest,
    index: u64,
    /// What it says, if its form is one of ours.
    event: Option<Event>,
    /// Its COSE receipt (RFC 9942).
    receipt: Vec<u8>,
}

/// Verifies that `entries` are in `log`; they come back in their order, each with its
/// receipt. One that is not leaves nothing proven of the others.
///
/// # Errors
/// [`AnswerError`].
pub fn prove_entries<'a>(
    entries: impl Iterator<Item = &'a [u8]>,
    receipts: &Receipts,
    log: &VerifiedLog,
) -> Result<Vec<Proven<'a>>, AnswerError> {
    let not_included = |error: LogError| AnswerError::NotIncluded(error.to_string());
    let common = (&receipts.protected[..], &receipts.signature);
    let (size, root) = (log.checkpoint.size, log.checkpoint.root.0);
    let tree = SignedTree::open(size, root, common, log.key.key()).map_err(not_included)?;
    let read = |entry| {
        let (index, event) = read_entry(entry).ok_or(AnswerError::OtherHalf("its form"))?;
        Ok((entry, entry_hash(entry), index, event))
    };
    let read: Vec<_> = entries.map(read).collect::<Result<_, _>>()?;
    // More than one request may have come to one entry; two entries at one index cannot
    // both be in the tree, and are left for the proof to refuse.
    let mut leaves: Vec<(u64, Hash)> = read.iter().map(|(_, hash, index, _)| (*index, hash.0)).collect();
    leaves.sort_unstable();
    leaves.dedup();
    if leaves.is_empty() {
        return Ok(Vec::new());
    }
    let made = tree.receipts(&leaves, &receipts.hashes).map_err(not_included)?;
    let proven = read.into_iter().map(|(entry, hash, index, event)| {
        let at = leaves
            .binary_search(&(index, hash.0))
            .expect("each is among them");
        Proven {
            entry,
            hash,
            receipt: made[at].clone(),
            index,
            event,
        }
    });
    Ok(proven.collect())
}

/// The index of an entry of another log, and what it says where that is an event; `None`
/// where it is no entry.
fn read_entry(entry: &[u8]) -> Option<(u64, Option<Event>)> {
    if let Some((index, event)) = read_half_quickly(entry) {
        return Some((index, Some(event)));
    }
    let read = Entry::decode(entry).ok()?;
    let event = Event::from_body(read.kind, &read.body).ok();
    Some((read.index, event.map(|(event, _)| event)))
}

/// The quick way, for issuer halves of redemptions, which nearly all entries are; it
/// leaves what it does not take to the gate.
fn read_half_quickly(entry: &[u8]) -> Option<(u64, Event)> {
    let mut reader = Reader::new(entry);
    reader.tuple(6)?;
    reader.uint()?;
    let (index, time) = (reader.uint()?, UnixSeconds(reader.uint()?));
    let previous = Digest(reader.byte_array()?);
    let kind = reader.uint()?;
    let event = Event::issuer_half_of(reader.rest())?;
    let body = event.encode_body(None, [0; 16]);
    let mut again = Vec::with_capacity(entry.len());
    write_entry(&mut again, index, time, &previous, event.kind(), &body).ok()?;
    (kind == event.kind() && again == entry).then_some((index, event))
}

impl Proven<'_> {
    fn event(&self) -> Result<&Event, AnswerError> {
        self.event.as_ref().ok_or(AnswerError::OtherHalf("its form"))
    }

    /// What is kept beside the entry that ends an intent: `[entry, COSE receipt,
    /// checkpoint]`, which prove the issuer's entry to anyone who has the key of its log.
    #[must_use]
    pub fn to_keep(&self, log: &VerifiedLog) -> Vec<u8> {
        let size = self.entry.len() + self.receipt.len() + log.note.len();
        let mut out = Vec::with_capacity(size + 16);
        write::head(&mut out, write::ARRAY, 3);
        write::bytes(&mut out, self.entry);
        write::bytes(&mut out, &self.receipt);
        write::text(&mut out, &log.note);
        out
    }
}

/// Verifies that `proven` is the issuer's word that the request of `open` has no effect;
/// the entry's index and hash come back.
///
/// # Errors
/// [`AnswerError`].
pub fn verify_cancelled(
    open: &OpenIntent,
    own_did: &str,
    proven: &Proven<'_>,
) -> Result<(u64, Digest), AnswerError> {
    let Event::RequestCancelled(cancelled) = proven.event()? else {
        return Err(AnswerError::OtherHalf("what was asked for"));
    };
    all_hold(&[
        (cancelled.request_id == open.intent.id, "its request"),
        (cancelled.redeemer == own_did, "its redeemer"),
    ])?;
    Ok((proven.index, proven.hash))
}

/// Verifies that `proven` is the issuer half of `open`.
///
/// # Errors
/// [`AnswerError`].
pub fn verify_half(
    open: &OpenIntent,
    known: &Known<'_>,
    proven: &Proven<'_>,
) -> Result<IssuerHalf, AnswerError> {
    let event = proven.event()?;
    let said = match (event, open.intent.wish) {
        (Event::Redeemed(redeemed), Wish::Redeem { basket_total, .. }) => {
            check_redeemed(open, known, redeemed, basket_total)?;
            let left = known.terms.map(|terms| {
                Quote::after(
                    terms,
                    known.coupon_amount,
                    redeemed.amount,
                    redeemed.uses_after,
                    redeemed.spent_after,
                )
            });
            let used_up = redeemed.used_up.then_some(0);
            (
                redeemed.amount,
                left.map_or(used_up, |left| left.remaining_uses),
                left.and_then(|left| left.remaining_value),
                None,
            )
        }
        (Event::Reversed(reversed), Wish::Reverse { redemption, .. }) => {
            check_reversed(open, known, reversed, half_id(known.own_did, redemption))?;
            (reversed.amount, None, None, Some(reversed.reversed_after))
        }
        _ => return Err(AnswerError::OtherHalf("what was asked for")),
    };
    Ok(IssuerHalf {
        entry: proven.index,
        hash: proven.hash,
        amount: said.0,
        remaining_uses: said.1,
        remaining_value: said.2,
        reversed_after: said.3,
    })
}

fn check_redeemed(
    open: &OpenIntent,
    known: &Known<'_>,
    half: &Redeemed,
    basket_total: Amount,
) -> Result<(), AnswerError> {
    let intent = &open.intent;
    let request_id = intent.id;
    let checks = [
        (half.place == Place::Partner { request_id }, "its request"),
        (half.id == half_id(known.own_did, request_id), "its identity"),
        (half.request == intent.request, "its request's hash"),
        (half.redeemer == known.own_did, "its redeemer"),
        (half.issuer == intent.issuer, "its issuer"),
        (half.tag == intent.tag && half.name == intent.name, "its coupon"),
        (half.campaign == intent.campaign, "its campaign"),
        (half.basket_total == basket_total, "its basket"),
    ];
    all_hold(&checks)
}

fn check_reversed(
    open: &OpenIntent,
    known: &Known<'_>,
    half: &Reversed,
    redemption: crate::primitives::RedemptionId,
) -> Result<(), AnswerError> {
    let intent = &open.intent;
    let call = half
        .partner
        .as_ref()
        .ok_or(AnswerError::OtherHalf("its redeemer"))?;
    let give_back = matches!(intent.wish, Wish::Reverse { give_back, .. } if give_back == half.give_back);
    let checks = [
        (call.request_id == intent.id, "its request"),
        (half.id == half_id(known.own_did, intent.id), "its identity"),
        (call.request == intent.request, "its request's hash"),
        (call.redeemer == known.own_did, "its redeemer"),
        (half.redemption == redemption, "the redemption"),
        (half.tag == intent.tag && half.name == intent.name, "its coupon"),
        (half.campaign == intent.campaign, "its campaign"),
        (give_back, "whether the use returns"),
    ];
    all_hold(&checks)
}

fn all_hold(checks: &[(bool, &'static str)]) -> Result<(), AnswerError> {
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(AnswerError::OtherHalf(what)),
        None => Ok(()),
    }
}

/// The coupon's own amount, out of the request that is open.
#[must_use]
pub fn coupon_amount(request: &[u8]) -> Option<Amount> {
    match super::wire::Request::decode(request).ok()?.wanted {
        super::wire::Wanted::Redeem { coupon, .. } => Coupon::parse_unverified(&coupon).ok()?.amount,
        _ => None,
    }
}

/// The tree of a checkpoint that a witness holds of the issuer's log, and which of `keys`
/// has signed it, if one has.
#[must_use]
pub fn tree_of(note: &str, keys: &[VerifierKey]) -> Option<(Tree, VerifierKey)> {
    keys.iter().find_map(|key| {
        let opened = Checkpoint::open(note.as_bytes(), key).ok()?;
        let (size, root) = (opened.size, opened.root.0);
        Some((Tree { size, root }, key.clone()))
    })
}

/// The hashes in a node's answer about the consistency of two trees (JSON).
#[must_use]
pub fn read_consistency(answer: &[u8]) -> Option<Vec<Hash>> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let hash = |text: &serde_json::Value| {
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(text.as_str()?.as_bytes())
            .ok()?;
        Hash::try_from(bytes.as_slice()).ok()
    };
    answer["path"].as_array()?.iter().map(hash).collect()
}
