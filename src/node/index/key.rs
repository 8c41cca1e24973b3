//! Keys after mixing, and maps over them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A key after a fixed one-to-one scrambling of its 128 bits.
///
/// Everything behind the public door uses mixed keys: their bits are uniform
/// even when the keys are positions that count up, so that they can be taken
/// as they are for shards, hash tables, filters and the order of rows. Being
/// one-to-one, the scrambling makes no two keys equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Mixed(pub [u8; 16]);

impl Mixed {
    pub const MIN: Self = Self([0; 16]);
    pub const MAX: Self = Self([0xff; 16]);

    /// Three Feistel rounds: one-to-one whatever the round function is.
    pub fn of(key: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(key);
        let (mut high, mut low) = ((number >> 64) as u64, number as u64);
        high ^= scramble(low);
        low ^= scramble(high);
        high ^= scramble(low);
        Self(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
    }

    /// The first 64 bits: they decide the order, the shard and the filter's block.
    pub fn high(self) -> u64 {
        (u128::from_be_bytes(self.0) >> 64) as u64
    }

    /// The last 64 bits: they decide the hash table's slot and the filter's bits.
    pub fn low(self) -> u64 {
        u128::from_be_bytes(self.0) as u64
    }

    /// The key just before this one; `MIN` has none.
    pub fn before(self) -> Option<Self> {
        Some(Self(u128::from_be_bytes(self.0).checked_sub(1)?.to_be_bytes()))
    }

    /// The key just after this one; `MAX` has none.
    pub fn after(self) -> Option<Self> {
        Some(Self(u128::from_be_bytes(self.0).checked_add(1)?.to_be_bytes()))
    }
}

impl Hash for Mixed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low());
    }
}

/// A one-to-one scrambling of 64 bits in which each input bit reaches every
/// output bit (xor-shifts and odd multipliers).
pub(super) fn scramble(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Passes the bits of a [`Mixed`] key through: they need no more hashing.
#[derive(Default)]
pub(super) struct PassThrough(u64);

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = scramble(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A hash map over mixed keys.
pub(super) type Map = HashMap<Mixed, u64, BuildHasherDefault<PassThrough>>;

/// Shards of a [`Tail`]: one for each value of a key's first byte.
const SHARDS: usize = 256;

/// Keys that are in memory only, in shards by their first byte.
///
/// Shards keep every single piece of work small: a table that grows moves a
/// few hundred keys, and a checkpoint sorts one shard at a time.
pub(super) struct Tail {
    shards: Vec<Map>,
    len: usize,
}

impl Tail {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Map::default()).collect(),
            len: 0,
        }
    }

    /// Sets `key` to `value`, whatever it was before.
    pub fn insert(&mut self, key: Mixed, value: u64) {
        if self.shards[usize::from(key.0[0])].insert(key, value).is_none() {
            self.len += 1;
        }
    }

    pub fn get(&self, key: Mixed) -> Option<u64> {
        self.shards[usize::from(key.0[0])].get(&key).copied()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the tables, roughly: a slot is a pair and a control byte.
    pub fn bytes(&self) -> usize {
        let slots: usize = self.shards.iter().map(|shard| shard.capacity() * 8 / 7).sum();
        slots * (size_of::<(Mixed, u64)>() + 1)
    }

    /// The pairs of shard `number` in order, or `None` past the last shard.
    /// All keys of a shard come before those of the next.
    pub fn sorted_shard(&self, number: usize) -> Option<Vec<(Mixed, u64)>> {
        let mut pairs: Vec<_> = self
            .shards
            .get(number)?
            .iter()
            .map(|(key, value)| (*key, *value))
            .collect();
        pairs.sort_unstable_by_key(|pair| pair.0);
        Some(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn counting_keys_spread_over_shards_and_slots() {
        let keys: Vec<Mixed> = (0..65_536_u128).map(|n| Mixed::of(n.to_be_bytes())).collect();
        let mut shards = [0_u32; 256];
        let mut slots = [0_u32; 256];
        for key in &keys {
            shards[usize::from(key.0[0])] += 1;
            slots[(key.low() & 255) as usize] += 1;
        }
        // 256 expected in each; seven standard deviations are 112.
        for count in shards.iter().chain(&slots) {
            assert!((144..=368).contains(count), "{count}");
        }
        assert_eq!(
            keys.iter().map(|key| key.0).collect::<HashSet<_>>().len(),
            keys.len()
        );
    }

    #[test]
    fn shards_come_out_in_order() {
        let mut tail = Tail::new();
        for n in 0..2_000_u64 {
            tail.insert(Mixed::of(u128::from(n % 1_500).to_be_bytes()), n);
        }
        let all: Vec<_> = (0..)
            .map_while(|shard| tail.sorted_shard(shard))
            .flatten()
            .collect();
        assert_eq!((all.len(), tail.len()), (1_500, 1_500));
        assert!(all.is_sorted_by(|a, b| a.0 < b.0));
    }
}
