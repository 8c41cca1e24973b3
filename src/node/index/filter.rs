//! Bloom filters: an absent key mostly costs no read.

use super::key::Mixed;
use super::row::{FILTER_MAGIC, damaged, filter_key, seal, unseal};
use crate::primitives::limits::{INDEX_FILTER_BITS_PER_KEY, INDEX_ROW_BYTES_MAX};
use crate::store::{Engine, Row, StoreError};

const BLOCK_BYTES: usize = 64;
const BLOCK_BITS: u64 = 512;

/// Bits set for a key: near the best number for ten bits a key, and seven
/// times nine bits come out of 64.
const PROBES: u32 = 7;

/// Blocks of a filter row: magic and checksum take 12 bytes.
const BLOCKS_PER_ROW: usize = (INDEX_ROW_BYTES_MAX - 12) / BLOCK_BYTES;

/// A Bloom filter in blocks of a cache line.
///
/// All bits of a key lie in one block, so that asking costs one cache miss;
/// the price is about 1.3 % of false positives where a filter without blocks
/// has 0.8 %. The block follows the key's order, so that a merge, which adds
/// keys in order, walks through memory from one end to the other.
pub(crate) struct Filter {
    blocks: Vec<[u64; 8]>,
}

impl Filter {
    /// An empty filter with room for `keys` keys.
    pub fn for_keys(keys: u64) -> Self {
        let blocks = keys
            .saturating_mul(INDEX_FILTER_BITS_PER_KEY)
            .div_ceil(BLOCK_BITS)
            .max(1);
        let blocks = usize::try_from(blocks).expect("a filter fits into memory");
        Self {
            blocks: vec![[0; 8]; blocks],
        }
    }

    fn block(&self, key: Mixed) -> usize {
        ((u128::from(key.high()) * self.blocks.len() as u128) >> 64) as usize
    }

    fn probes(key: Mixed) -> impl Iterator<Item = (usize, u64)> {
        let bits = key.low();
        (0..PROBES).map(move |probe| {
            let bit = (bits >> (probe * 9)) & (BLOCK_BITS - 1);
            ((bit >> 6) as usize, 1 << (bit & 63))
        })
    }

    pub fn insert(&mut self, key: Mixed) {
        let at = self.block(key);
        let block = &mut self.blocks[at];
        for (word, bit) in Self::probes(key) {
            block[word] |= bit;
        }
    }

    /// False: the key was never inserted. True: it probably was.
    pub fn may_hold(&self, key: Mixed) -> bool {
        let block = &self.blocks[self.block(key)];
        Self::probes(key).all(|(word, bit)| block[word] & bit != 0)
    }

    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Number of blocks, for the manifest.
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.blocks.len()).expect("2^32 blocks are 200 thousand million keys")
    }

    /// Row number `chunk` of the filter, or `None` past the last.
    pub fn row(&self, run: u64, chunk: u32) -> Option<Row> {
        let blocks = self.blocks.chunks(BLOCKS_PER_ROW).nth(chunk as usize)?;
        let key = filter_key(run, chunk);
        let mut value = FILTER_MAGIC.to_vec();
        for word in blocks.as_flattened() {
            value.extend_from_slice(&word.to_be_bytes());
        }
        let value = seal(&key, value);
        Some((key, value))
    }

    /// Reads a run's filter back.
    pub fn read(engine: &dyn Engine, run: u64, blocks: u32) -> Result<Self, StoreError> {
        let total = blocks as usize;
        let mut filter = Self { blocks: Vec::new() };
        // A manifest that was written wrong must not end the process.
        filter
            .blocks
            .try_reserve_exact(total)
            .map_err(|_| damaged(&filter_key(run, 0), "it is said to be larger than memory"))?;
        for chunk in 0.. {
            if filter.blocks.len() == total {
                break;
            }
            let key = filter_key(run, chunk);
            let value = engine.get(&key)?.ok_or_else(|| damaged(&key, "it is missing"))?;
            let bytes = unseal(&key, &value, FILTER_MAGIC)?;
            let expected = BLOCKS_PER_ROW.min(total - filter.blocks.len());
            if bytes.len() != expected * BLOCK_BYTES {
                return Err(damaged(&key, "its length is wrong"));
            }
            filter.blocks.extend(bytes.chunks_exact(BLOCK_BYTES).map(|block| {
                let mut words = [0; 8];
                for (word, bytes) in words.iter_mut().zip(block.chunks_exact(8)) {
                    *word = u64::from_be_bytes(bytes.try_into().expect("chunks of eight"));
                }
                words
            }));
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_every_key_and_few_others() {
        let mut filter = Filter::for_keys(20_000);
        let key = |n: u128| Mixed::of(n.to_be_bytes());
        (0..20_000).for_each(|n| filter.insert(key(n)));
        assert!((0..20_000).all(|n| filter.may_hold(key(n))));
        let wrong = (20_000..120_000).filter(|n| filter.may_hold(key(*n))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000 false positives");
        assert_eq!(filter.bytes(), 391 * 64);
    }
}
