//! Packed rows of entries that describe themselves (house.md, 'The commit
//! path'): found again in a damaged file by their magic, and believed only
//! when their SHA-256 fits.
//!
//! ```text
//! row   = "TLYPACK1"  first u64  count u16  sha256 [32]  item*
//! item  = length u16  bytes
//! ```
//!
//! Numbers are big-endian. The SHA-256 is over everything else in the row, in
//! order. A row has at least one item and at most `PACKED_ROW_BYTES_MAX` bytes.

use sha2::{Digest as _, Sha256};

use super::StoreError;
use crate::primitives::limits::{ENTRY_BYTES_MAX, PACKED_ROW_BYTES_MAX};

/// What a packed row of entries begins with.
pub const MAGIC: &[u8; 8] = b"TLYPACK1";

const COUNT_AT: usize = 16;
const SHA_AT: usize = 18;
const HEADER: usize = SHA_AT + 32;

/// A finished row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedRow {
    /// Index of its first entry.
    pub first: u64,
    /// The row's value, at most `PACKED_ROW_BYTES_MAX` bytes.
    pub bytes: Vec<u8>,
}

/// Gathers entries in order into rows.
#[derive(Debug, Default)]
pub struct Packer {
    row: Option<(PackedRow, u16)>,
}

impl Packer {
    /// A packer with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next entry; gives back the row before it when this one does
    /// not fit, or does not follow on.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an entry over `ENTRY_BYTES_MAX`.
    pub fn push(&mut self, index: u64, bytes: &[u8]) -> Result<Option<PackedRow>, StoreError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(StoreError::Refused(format!(
                "entry {index} has {} bytes, the most is {ENTRY_BYTES_MAX}",
                bytes.len()
            )));
        }
        let fits = self.row.as_ref().is_some_and(|(row, count)| {
            row.first.checked_add(u64::from(*count)) == Some(index)
                && *count < u16::MAX
                && row.bytes.len() + 2 + bytes.len() <= PACKED_ROW_BYTES_MAX
        });
        let finished = if fits { None } else { std::mem::take(self).finish() };
        let (row, count) = self.row.get_or_insert_with(|| {
            let mut header = Vec::with_capacity(PACKED_ROW_BYTES_MAX);
            header.extend_from_slice(MAGIC);
            header.extend_from_slice(&index.to_be_bytes());
            header.resize(HEADER, 0);
            (
                PackedRow {
                    first: index,
                    bytes: header,
                },
                0,
            )
        });
        let length = u16::try_from(bytes.len()).expect("ENTRY_BYTES_MAX fits 16 bits");
        row.bytes.extend_from_slice(&length.to_be_bytes());
        row.bytes.extend_from_slice(bytes);
        *count += 1;
        Ok(finished)
    }

    /// The last row, when there is one.
    #[must_use]
    pub fn finish(self) -> Option<PackedRow> {
        let (mut row, count) = self.row?;
        row.bytes[COUNT_AT..SHA_AT].copy_from_slice(&count.to_be_bytes());
        let digest = digest_of(&row.bytes);
        row.bytes[SHA_AT..HEADER].copy_from_slice(&digest);
        debug_assert!(
            row.bytes.len() <= PACKED_ROW_BYTES_MAX,
            "rows stay inside their limit"
        );
        Some(row)
    }
}

fn digest_of(row: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(&row[..SHA_AT]);
    hasher.update(&row[HEADER..]);
    hasher.finalize().into()
}

/// A row whose SHA-256 fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    first: u64,
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Reads a whole row.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not a row, or its SHA-256 does not fit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StoreError> {
        match Self::parse_front(bytes) {
            Some(packed) if packed.bytes.len() == bytes.len() => Ok(packed),
            _ => Err(StoreError::Damaged(
                "packed entries do not match their SHA-256".into(),
            )),
        }
    }

    /// The row that `bytes` begins with, whatever follows it; `None` when
    /// there is none whose SHA-256 fits.
    #[must_use]
    pub fn parse_front(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < HEADER || !bytes.starts_with(MAGIC) {
            return None;
        }
        let first = u64::from_be_bytes(bytes[8..COUNT_AT].try_into().ok()?);
        let count = u16::from_be_bytes(bytes[COUNT_AT..SHA_AT].try_into().ok()?);
        if count == 0 || first.checked_add(u64::from(count)).is_none() {
            return None;
        }
        let mut end = HEADER;
        for _ in 0..count {
            let length = bytes.get(end..end + 2)?;
            end += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            if end > bytes.len() || end > PACKED_ROW_BYTES_MAX {
                return None;
            }
        }
        let bytes = &bytes[..end];
        (digest_of(bytes) == bytes[SHA_AT..HEADER]).then_some(Self { first, count, bytes })
    }

    /// Index of the first entry.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Index after the last entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// The row as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The entries with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        let mut at = HEADER;
        (self.first..self.end()).map(move |index| {
            let length = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            let item = &bytes[at + 2..at + 2 + length];
            at += 2 + length;
            (index, item)
        })
    }

    /// The entry `index`, when it is in this row.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&'a [u8]> {
        if !(self.first..self.end()).contains(&index) {
            return None;
        }
        self.iter().find(|(at, _)| *at == index).map(|(_, bytes)| bytes)
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
