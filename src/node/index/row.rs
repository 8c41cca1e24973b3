//! The bytes of the index's rows.
//!
//! ```text
//! data      'x' run:u64 low:16   -> "TSi1" count:u32 high:16 (key:16 value:u40)* sum:u64
//! filter    'y' run:u64 chunk:u32 -> "TSf1" blocks:64* sum:u64
//! manifest  'z' "index"          -> "TSm1" covers:u64 (run:u64 level:u8 count:u64 blocks:u32)* sum:u64
//! ```
//!
//! Numbers are big-endian. A data row answers for all keys from its `low` to
//! its `high`, both included; the first row of a run begins at zero, the last
//! ends at the greatest key, and each begins just after the one before it. So
//! a row that has gone missing is noticed, not taken for keys that were never
//! there.
//!
//! `sum` is a checksum over the row's key and the rest of its value. It is 64
//! bits and fast, not SHA-256: it is there for damaged disks, and whoever can
//! write to the store could make any sum without a key come out right. The
//! index is derived from the log, which has its own hashes. A lookup checks a
//! whole row, so that SHA-256 would cost more than all the rest of it.

use data_encoding::HEXLOWER;

use super::key::{Mixed, scramble};
use crate::primitives::limits::INDEX_ROW_BYTES_MAX;
use crate::store::{Row, StoreError};

/// First byte of the keys of data rows.
pub(crate) const DATA: u8 = b'x';
/// First byte of the keys of filter rows.
pub(crate) const FILTER: u8 = b'y';
/// The manifest's key.
pub(crate) const MANIFEST_KEY: &[u8] = b"zindex";

pub(super) const DATA_MAGIC: [u8; 4] = *b"TSi1";
pub(super) const FILTER_MAGIC: [u8; 4] = *b"TSf1";
pub(super) const MANIFEST_MAGIC: [u8; 4] = *b"TSm1";

const SUM_BYTES: usize = 8;
const DATA_HEADER_BYTES: usize = 4 + 4 + 16;
const PAIR_BYTES: usize = 16 + 5;

/// Most pairs of a data row.
pub(super) const PAIRS_MAX: usize = (INDEX_ROW_BYTES_MAX - DATA_HEADER_BYTES - SUM_BYTES) / PAIR_BYTES;

/// Largest value: five bytes of a pair.
pub(super) const VALUE_MAX: u64 = (1 << 40) - 1;

/// What the keys of a run's rows begin with.
pub(super) fn run_prefix(family: u8, run: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(25);
    key.push(family);
    key.extend_from_slice(&run.to_be_bytes());
    key
}

/// Key of the data row that begins at `low`.
pub(crate) fn data_key(run: u64, low: Mixed) -> Vec<u8> {
    let mut key = run_prefix(DATA, run);
    key.extend_from_slice(&low.0);
    key
}

/// Key of a run's filter row.
pub(crate) fn filter_key(run: u64, chunk: u32) -> Vec<u8> {
    let mut key = run_prefix(FILTER, run);
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The error for a row that is not what was written.
pub(super) fn damaged(key: &[u8], what: &str) -> StoreError {
    StoreError::Damaged(format!("index row {}: {what}", HEXLOWER.encode(key)))
}

/// Mixes `bytes` into four lanes. For a given lane each step is one-to-one in
/// the word that comes in, so that a change of a single word always shows.
fn absorb(lanes: &mut [u64; 4], bytes: &[u8]) {
    let mut blocks = bytes.chunks_exact(32);
    let mut block_in = |block: &[u8]| {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(8)) {
            let word = u64::from_be_bytes(word.try_into().expect("chunks of eight"));
            *lane = (*lane ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(31);
        }
    };
    for block in &mut blocks {
        block_in(block);
    }
    let mut last = [0; 32];
    last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    block_in(&last);
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; SUM_BYTES] {
    let mut lanes = [1, 2, 3, 4];
    absorb(&mut lanes, key);
    absorb(&mut lanes, value);
    let lengths = ((key.len() as u64) << 32) | value.len() as u64;
    lanes
        .iter()
        .fold(scramble(lengths), |sum, lane| scramble(sum ^ lane))
        .to_be_bytes()
}

/// Appends the checksum.
pub(crate) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let sum = checksum(key, &value);
    value.extend_from_slice(&sum);
    debug_assert!(value.len() <= INDEX_ROW_BYTES_MAX);
    value
}

/// Checks magic and checksum; returns what lies between them.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8], magic: [u8; 4]) -> Result<&'a [u8], StoreError> {
    let (value, sum) = value
        .split_last_chunk()
        .ok_or_else(|| damaged(key, "it is too short"))?;
    if checksum(key, value) != *sum {
        return Err(damaged(key, "its checksum is wrong"));
    }
    value
        .strip_prefix(&magic)
        .ok_or_else(|| damaged(key, "it begins with other bytes"))
}

/// A row's key and value out of its pairs; `high` is the greatest key it
/// answers for.
pub(crate) fn data_row(run: u64, low: Mixed, high: Mixed, pairs: &[(Mixed, u64)]) -> Row {
    debug_assert!(pairs.is_sorted_by(|a, b| a.0 < b.0));
    debug_assert!(
        pairs
            .iter()
            .all(|pair| low <= pair.0 && pair.0 <= high && pair.1 <= VALUE_MAX)
    );
    let key = data_key(run, low);
    let count = u32::try_from(pairs.len()).expect("a row has at most PAIRS_MAX pairs");
    let mut value = Vec::with_capacity(DATA_HEADER_BYTES + pairs.len() * PAIR_BYTES + SUM_BYTES);
    value.extend_from_slice(&DATA_MAGIC);
    value.extend_from_slice(&count.to_be_bytes());
    value.extend_from_slice(&high.0);
    for (key, number) in pairs {
        value.extend_from_slice(&key.0);
        value.extend_from_slice(&number.to_be_bytes()[3..]);
    }
    let value = seal(&key, value);
    (key, value)
}

/// A data row that has passed its checks.
pub(crate) struct DataRow {
    value: Vec<u8>,
    len: usize,
    /// The greatest key that the row answers for.
    pub high: Mixed,
}

impl DataRow {
    /// Checks a row's checksum and lengths.
    pub fn parse(key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        let rest = unseal(key, &value, DATA_MAGIC)?;
        let wrong = || damaged(key, "its length is wrong");
        let (count, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let (high, pairs) = rest.split_first_chunk().ok_or_else(wrong)?;
        let (len, high) = (u32::from_be_bytes(*count) as usize, Mixed(*high));
        if pairs.len() != len * PAIR_BYTES {
            return Err(wrong());
        }
        Ok(Self { value, len, high })
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Pair number `at`, which must be below [`len`](Self::len).
    pub fn pair(&self, at: usize) -> (Mixed, u64) {
        let start = DATA_HEADER_BYTES + at * PAIR_BYTES;
        let pair = &self.value[start..start + PAIR_BYTES];
        let mut number = [0; 8];
        number[3..].copy_from_slice(&pair[16..]);
        (
            Mixed(pair[..16].try_into().expect("16 bytes")),
            u64::from_be_bytes(number),
        )
    }

    /// The value of `key`.
    pub fn find(&self, key: Mixed) -> Option<u64> {
        let (mut from, mut to) = (0, self.len);
        while from < to {
            let middle = from + (to - from) / 2;
            let (found, value) = self.pair(middle);
            match found.cmp(&key) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return Some(value),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_row_fits_its_limit() {
        let pairs: Vec<_> = (0..PAIRS_MAX as u128)
            .map(|n| (Mixed((n * 7).to_be_bytes()), VALUE_MAX - n as u64))
            .collect();
        let (key, value) = data_row(3, Mixed::MIN, Mixed::MAX, &pairs);
        assert_eq!((PAIRS_MAX, key.len(), value.len()), (303, 25, 6_395));
        let row = DataRow::parse(&key, value).unwrap();
        assert_eq!((row.len(), row.high), (303, Mixed::MAX));
        for (at, pair) in pairs.iter().enumerate() {
            assert_eq!(row.pair(at), *pair);
            assert_eq!(row.find(pair.0), Some(pair.1));
            assert_eq!(row.find(pair.0.after().unwrap()), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_changed_byte_is_damage(len in 0_usize..40, at in 0_usize..1_000, flip in 1_u8..=255) {
            let pairs: Vec<_> = (0..len as u128).map(|n| (Mixed(n.to_be_bytes()), n as u64)).collect();
            let (key, mut value) = data_row(9, Mixed::MIN, Mixed::MAX, &pairs);
            let other = data_key(8, Mixed::MIN);
            prop_assert!(DataRow::parse(&other, value.clone()).is_err());
            prop_assert!(DataRow::parse(&key, value[..at % value.len()].to_vec()).is_err());
            let at = at % value.len();
            value[at] ^= flip;
            let error = DataRow::parse(&key, value).err().unwrap().to_string();
            prop_assert!(error.contains("780000000000000009"), "{}", error);
        }
    }
}
