//! The body of a message of gossip (schemas/messages.cddl, `gossip`): a map whose
//! parts are all optional, so that one form serves news, digests and answers.

use serde_cbor::Value;

use super::held::{BUCKET_HASH_LEN, BUCKETS, SUMMARY_LEN};
use super::item::ItemId;
use crate::encoding::cbor::{self, GateError};
use crate::encoding::cbor_write as write;
use crate::primitives::{Digest, limits};

const ROSTER: u64 = 1;
const DIGESTS: u64 = 2;
const BUCKET_HASHES: u64 = 3;
const SUMMARIES: u64 = 4;
const ITEMS: u64 = 5;
const WANTS: u64 = 6;
const MORE: u64 = 7;

/// A kind, one of its buckets or all of it, and lines.
pub type Summary = (u64, Option<u8>, Vec<u8>);

/// What one node tells another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Number and hash of the version of the roster that the sender follows.
    pub roster: Option<(u64, Digest)>,
    /// The hash of all that it holds, by kind. Kinds are numbers here: some may be
    /// unknown to the receiver.
    pub digests: Vec<(u64, [u8; 16])>,
    /// The hashes of a kind's buckets.
    pub bucket_hashes: Vec<(u64, Vec<u8>)>,
    /// Which items it holds of a kind, or of a bucket of it.
    pub summaries: Vec<Summary>,
    /// Items.
    pub items: Vec<(u64, Vec<u8>)>,
    /// Which items it asks for.
    pub wants: Vec<(u64, Vec<ItemId>)>,
    /// Whether there is more to tell than has found room.
    pub more: bool,
}

impl Body {
    /// Whether it says nothing but which roster its sender follows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
            && self.bucket_hashes.is_empty()
            && self.summaries.is_empty()
            && self.items.is_empty()
            && self.wants.is_empty()
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let parts = [
            self.roster.is_some(),
            !self.digests.is_empty(),
            !self.bucket_hashes.is_empty(),
            !self.summaries.is_empty(),
            !self.items.is_empty(),
            !self.wants.is_empty(),
            self.more,
        ];
        let mut out = Vec::new();
        let count = parts.iter().filter(|part| **part).count();
        write::head(&mut out, write::MAP, count as u64);
        if let Some((version, hash)) = &self.roster {
            write::uint(&mut out, ROSTER);
            write::head(&mut out, write::ARRAY, 2);
            write::uint(&mut out, *version);
            write::bytes(&mut out, &hash.0);
        }
        pairs(
            &mut out,
            DIGESTS,
            self.digests.iter().map(|(kind, hash)| (*kind, &hash[..])),
        );
        let hashes = self.bucket_hashes.iter();
        pairs(
            &mut out,
            BUCKET_HASHES,
            hashes.map(|(kind, all)| (*kind, &all[..])),
        );
        if !self.summaries.is_empty() {
            write::uint(&mut out, SUMMARIES);
            write::head(&mut out, write::ARRAY, self.summaries.len() as u64);
            for (kind, bucket, lines) in &self.summaries {
                write::head(&mut out, write::ARRAY, 3);
                write::uint(&mut out, *kind);
                match bucket {
                    Some(bucket) => write::uint(&mut out, u64::from(*bucket)),
                    None => write::null(&mut out),
                }
                write::bytes(&mut out, lines);
            }
        }
        pairs(
            &mut out,
            ITEMS,
            self.items.iter().map(|(kind, bytes)| (*kind, &bytes[..])),
        );
        let wants = self.wants.iter();
        pairs(
            &mut out,
            WANTS,
            wants.map(|(kind, ids)| (*kind, ids.as_flattened())),
        );
        if self.more {
            write::uint(&mut out, MORE);
            write::bool(&mut out, true);
        }
        out
    }
}

impl Body {
    /// Reads a body that has passed the gate.
    ///
    /// # Errors
    /// [`GateError::Shape`].
    pub fn read(value: &Value) -> Result<Self, GateError> {
        const WHAT: &str = "a body of gossip is a map with some of the keys 1 to 7";
        let mut body = Self::default();
        for (label, part) in cbor::as_map(value, WHAT)? {
            match cbor::as_int::<u64>(label, WHAT)? {
                ROSTER => {
                    let [version, hash] = cbor::as_tuple(part, "a roster is named by number and hash")?;
                    let hash = cbor::as_byte_array(hash, "a hash is 32 bytes")?;
                    body.roster = Some((cbor::as_int(version, WHAT)?, Digest(hash)));
                }
                DIGESTS => {
                    body.digests = read_pairs(part, limits::GOSSIP_KINDS_MAX, |bytes| bytes.try_into().ok())?;
                }
                BUCKET_HASHES => {
                    let length = usize::from(BUCKETS) * BUCKET_HASH_LEN;
                    body.bucket_hashes = read_pairs(part, limits::GOSSIP_KINDS_MAX, |bytes| {
                        (bytes.len() == length).then(|| bytes.to_vec())
                    })?;
                }
                SUMMARIES => body.summaries = read_summaries(part)?,
                ITEMS => {
                    body.items = read_pairs(part, limits::GOSSIP_ITEMS_MAX, |bytes| Some(bytes.to_vec()))?;
                }
                WANTS => {
                    body.wants = read_pairs(part, limits::GOSSIP_KINDS_MAX, |bytes| {
                        let (ids, rest) = bytes.as_chunks::<16>();
                        rest.is_empty().then(|| ids.to_vec())
                    })?;
                }
                MORE if *part == Value::Bool(true) => body.more = true,
                _ => return Err(GateError::Shape(WHAT)),
            }
        }
        Ok(body)
    }
}

fn pairs<'a>(out: &mut Vec<u8>, label: u64, rows: impl ExactSizeIterator<Item = (u64, &'a [u8])>) {
    if rows.len() == 0 {
        return;
    }
    write::uint(out, label);
    write::head(out, write::ARRAY, rows.len() as u64);
    for (kind, bytes) in rows {
        write::head(out, write::ARRAY, 2);
        write::uint(out, kind);
        write::bytes(out, bytes);
    }
}

fn read_pairs<T>(
    part: &Value,
    most: usize,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<(u64, T)>, GateError> {
    const WHAT: &str = "a part of gossip is an array of pairs, a kind and a byte string of its length";
    let rows = cbor::as_array(part, WHAT)?;
    if rows.is_empty() || rows.len() > most {
        return Err(GateError::Shape(
            "a part of gossip is empty, or has too many rows",
        ));
    }
    rows.iter()
        .map(|row| {
            let [kind, bytes] = cbor::as_tuple(row, WHAT)?;
            let read = read(cbor::as_bytes(bytes, WHAT)?).ok_or(GateError::Shape(WHAT))?;
            Ok((cbor::as_int(kind, WHAT)?, read))
        })
        .collect()
}

fn read_summaries(part: &Value) -> Result<Vec<Summary>, GateError> {
    const WHAT: &str = "a summary is a kind, a bucket from 0 to 63 or null, and lines of 40 bytes";
    let rows = cbor::as_array(part, WHAT)?;
    if rows.is_empty() || rows.len() > limits::GOSSIP_SUMMARIES_MAX {
        return Err(GateError::Shape("there are no summaries, or too many"));
    }
    rows.iter()
        .map(|row| {
            let [kind, bucket, lines] = cbor::as_tuple(row, WHAT)?;
            let bucket = cbor::as_optional(bucket, |bucket| cbor::as_int::<u8>(bucket, WHAT))?;
            let lines = cbor::as_bytes(lines, WHAT)?;
            let fits = bucket.is_none_or(|bucket| bucket < BUCKETS) && lines.len() % SUMMARY_LEN == 0;
            if fits {
                Ok((cbor::as_int(kind, WHAT)?, bucket, lines.to_vec()))
            } else {
                Err(GateError::Shape(WHAT))
            }
        })
        .collect()
}
