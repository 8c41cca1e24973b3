//! The entry: what the log is made of.
//!
//! `[1, index, time, previous entry's hash, kind, body]` in deterministic CBOR
//! (RFC 8949 section 4.2.1). Its hash, SHA-256(0x00 || entry), is at once the
//! link that the next entry carries and its leaf in the Merkle tree (RFC 6962
//! section 2.1). Bodies are the ledger's; here they are any value.

use serde_cbor::Value;

use super::LogError;
use crate::encoding::cbor::{self, GateError};
use crate::merkle;
use crate::primitives::limits::ENTRY_BYTES_MAX;
use crate::primitives::{Digest, UnixSeconds};

/// First element of every entry: the version of its form.
const VERSION: u8 = 1;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Place in the log; the genesis entry is 0.
    pub index: u64,
    /// The node's clock when it was written; never below the previous entry's.
    pub time: UnixSeconds,
    /// Hash of the previous entry; 32 zero bytes in the genesis entry.
    pub previous: Digest,
    /// What the body is.
    pub kind: u64,
    /// What happened.
    pub body: Value,
}

impl Entry {
    /// Reads an entry through the gate.
    ///
    /// # Errors
    /// [`LogError::Entry`] when `bytes` is longer than [`ENTRY_BYTES_MAX`],
    /// not deterministic CBOR, or not of the entry's form.
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let value = cbor::decode(bytes, ENTRY_BYTES_MAX).map_err(LogError::Entry)?;
        Self::from_value(value).map_err(LogError::Entry)
    }

    fn from_value(value: Value) -> Result<Self, GateError> {
        const FORM: &str = "an entry is [1, index, time, previous hash, kind, body]";
        let Value::Array(items) = value else {
            return Err(GateError::Shape(FORM));
        };
        let [version, index, time, previous, kind, body]: [Value; 6] =
            items.try_into().map_err(|_| GateError::Shape(FORM))?;
        if cbor::as_int::<u8>(&version, FORM)? != VERSION {
            return Err(GateError::Shape("an entry of an unknown version"));
        }
        Ok(Self {
            index: cbor::as_int(&index, "an entry's index is an unsigned integer")?,
            time: UnixSeconds(cbor::as_int(&time, "an entry's time is in seconds since 1970")?),
            previous: Digest(cbor::as_byte_array(&previous, "an entry's link is 32 bytes")?),
            kind: cbor::as_int(&kind, "an entry's kind is an unsigned integer")?,
            body,
        })
    }

    /// The entry's bytes.
    ///
    /// # Errors
    /// [`LogError::Entry`] when they are more than [`ENTRY_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, LogError> {
        let value = Value::Array(vec![
            cbor::int(VERSION),
            cbor::int(self.index),
            cbor::int(self.time.0),
            cbor::bytes(self.previous),
            cbor::int(self.kind),
            self.body.clone(),
        ]);
        let bytes = cbor::encode(&value);
        check_len(bytes.len())?;
        Ok(bytes)
    }

    /// Checks that this entry may stand after the entry with hash
    /// `previous_hash`, index `previous_index` and time `previous_time`.
    ///
    /// # Errors
    /// [`LogError::EntryIndex`], [`LogError::EntryPrevious`] or
    /// [`LogError::EntryTime`], the first rule that is broken.
    pub fn follows(
        &self,
        previous_hash: &Digest,
        previous_index: u64,
        previous_time: UnixSeconds,
    ) -> Result<(), LogError> {
        self.has_place(previous_index.saturating_add(1), previous_hash)?;
        if self.time < previous_time {
            return Err(LogError::EntryTime {
                index: self.index,
                previous: previous_time.0,
                found: self.time.0,
            });
        }
        Ok(())
    }

    /// Checks that this entry may stand first: index 0, nothing before it.
    ///
    /// # Errors
    /// [`LogError::EntryIndex`] or [`LogError::EntryPrevious`].
    pub fn begins(&self) -> Result<(), LogError> {
        self.has_place(0, &Digest::ZERO)
    }

    fn has_place(&self, expected: u64, previous: &Digest) -> Result<(), LogError> {
        if self.index != expected {
            return Err(LogError::EntryIndex {
                expected,
                found: self.index,
            });
        }
        if self.previous != *previous {
            return Err(LogError::EntryPrevious { index: self.index });
        }
        Ok(())
    }
}

/// SHA-256(0x00 || entry): the link in the next entry and the leaf in the tree.
#[must_use]
pub fn entry_hash(bytes: &[u8]) -> Digest {
    Digest(merkle::leaf_hash(bytes))
}

/// Appends an entry's bytes to `out`, given its body in deterministic CBOR,
/// and returns their number: the same bytes as [`Entry::encode`], without
/// building a value. For the writer's commit path.
///
/// # Errors
/// [`LogError::Entry`] when the entry is longer than [`ENTRY_BYTES_MAX`]; then
/// `out` is as it was.
pub fn write_entry(
    out: &mut Vec<u8>,
    index: u64,
    time: UnixSeconds,
    previous: &Digest,
    kind: u64,
    body: &[u8],
) -> Result<usize, LogError> {
    const ARRAY_OF_SIX: u8 = 0x86;
    const BYTES_OF_32: [u8; 2] = [0x58, 32];
    let start = out.len();
    out.extend([ARRAY_OF_SIX, VERSION]);
    write_uint(out, index);
    write_uint(out, time.0);
    out.extend(BYTES_OF_32);
    out.extend(previous.0);
    write_uint(out, kind);
    let len = out.len() - start + body.len();
    if let Err(error) = check_len(len) {
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(body);
    Ok(len)
}

fn check_len(len: usize) -> Result<(), LogError> {
    let max = ENTRY_BYTES_MAX;
    if len > max {
        return Err(LogError::Entry(GateError::TooLong { len, max }));
    }
    Ok(())
}

/// An unsigned integer in its shortest form (RFC 8949 section 4.2.1).
fn write_uint(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    match number {
        0..=23 => out.push(bytes[7]),
        24..=0xff => out.extend([0x18, bytes[7]]),
        0x100..=0xffff => {
            out.push(0x19);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0x1a);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(0x1b);
            out.extend_from_slice(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn genesis() -> Entry {
        Entry {
            index: 0,
            time: UnixSeconds(1_772_900_000),
            previous: Digest::ZERO,
            kind: 1,
            body: Value::Array(vec![cbor::text("shop"), cbor::int(-7)]),
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let bytes = genesis().encode().unwrap();
        let hex = format!("8601001a69ac4ea05820{}01826473686f7026", "00".repeat(32));
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes), hex);
        assert_eq!(Entry::decode(&bytes), Ok(genesis()));
        assert_eq!(entry_hash(&bytes).0, merkle::leaf_hash(&bytes));
    }

    #[test]
    fn the_published_schema_says_the_same() {
        let schema = include_str!("../../schemas/entry.cddl");
        let valid = |bytes: &[u8]| cddl::validate_cbor_from_slice(schema, bytes, None).is_ok();
        let good = genesis().encode().unwrap();
        assert!(valid(&good));
        let mut version = good.clone();
        version[1] = 2;
        assert!(!valid(&version));
        assert!(!valid(&cbor::encode(&Value::Array(vec![
            cbor::int(1),
            cbor::int(0)
        ]))));
    }

    #[test]
    fn other_forms_are_refused() {
        let good = genesis().encode().unwrap();
        let array = |change: &dyn Fn(&mut Vec<Value>)| {
            let Value::Array(mut items) = cbor::decode(&good, 100).unwrap() else {
                unreachable!()
            };
            change(&mut items);
            cbor::encode(&Value::Array(items))
        };
        for bytes in [
            array(&|items| items[0] = cbor::int(2)),
            array(&|items| items[1] = cbor::int(-1)),
            array(&|items| items[1] = cbor::text("0")),
            array(&|items| items[2] = Value::Null),
            array(&|items| items[3] = cbor::bytes([0; 31])),
            array(&|items| items[4] = cbor::bytes([0])),
            array(&|items| items.push(Value::Null)),
            array(&|items| drop(items.pop())),
            [&good[..], &[0]].concat(),
            good[..good.len() - 1].to_vec(),
            cbor::encode(&Value::Null),
        ] {
            assert!(
                matches!(Entry::decode(&bytes), Err(LogError::Entry(_))),
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn an_entry_is_at_most_six_kilobytes() {
        let mut entry = genesis();
        let sized = |len: usize| Value::Bytes(vec![7; len]);
        entry.body = sized(0);
        let around = entry.encode().unwrap().len() + 2;
        entry.body = sized(ENTRY_BYTES_MAX - around);
        let bytes = entry.encode().unwrap();
        assert_eq!(bytes.len(), ENTRY_BYTES_MAX);
        assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));

        entry.body = sized(ENTRY_BYTES_MAX - around + 1);
        assert!(entry.encode().is_err());
        let mut out = vec![1, 2, 3];
        let body = cbor::encode(&entry.body);
        assert!(write_entry(&mut out, 0, entry.time, &entry.previous, 1, &body).is_err());
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn each_broken_rule_of_the_chain_is_named() {
        let first = genesis();
        assert_eq!(first.begins(), Ok(()));
        let hash = entry_hash(&first.encode().unwrap());
        let second = Entry {
            index: 1,
            previous: hash,
            ..first.clone()
        };
        let follows = |entry: &Entry| entry.follows(&hash, first.index, first.time);
        assert_eq!(follows(&second), Ok(()));
        assert_eq!(
            follows(&Entry {
                index: 2,
                ..second.clone()
            }),
            Err(LogError::EntryIndex {
                expected: 1,
                found: 2
            })
        );
        assert_eq!(
            follows(&Entry {
                previous: Digest::ZERO,
                ..second.clone()
            }),
            Err(LogError::EntryPrevious { index: 1 })
        );
        assert_eq!(
            follows(&Entry {
                time: first.time.minus(1),
                ..second.clone()
            }),
            Err(LogError::EntryTime {
                index: 1,
                previous: first.time.0,
                found: first.time.0 - 1
            })
        );
        assert!(second.begins().is_err());
        assert!(
            Entry {
                previous: hash,
                ..first
            }
            .begins()
            .is_err()
        );
    }

    fn edges() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn the_fast_writer_writes_what_the_slow_one_does(
            index in edges(), time in edges(), kind in edges(),
            previous in any::<[u8; 32]>(), body in proptest::collection::vec(edges(), 0..40),
        ) {
            let body = Value::Array(body.into_iter().map(cbor::int).collect());
            let mut out = b"before".to_vec();
            let len = write_entry(
                &mut out, index, UnixSeconds(time), &Digest(previous), kind, &cbor::encode(&body),
            ).unwrap();
            let entry = Entry { index, time: UnixSeconds(time), previous: Digest(previous), kind, body };
            let slow = entry.encode().unwrap();
            prop_assert_eq!(&out[6..], &slow);
            prop_assert_eq!(len, slow.len());
            prop_assert_eq!(Entry::decode(&slow), Ok(entry));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode().unwrap(), bytes);
            }
        }
    }
}
