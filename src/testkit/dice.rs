//! Choices that a seed fixes.

use crate::primitives::Entropy;
use crate::testkit::SeededEntropy;

/// Throws that are the same for the same seed.
#[derive(Debug)]
pub struct Dice(SeededEntropy);

impl Dice {
    /// The throws of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// A number below `end`, which is above zero. (Not quite even: the ends are
    /// small against 2^64.)
    pub fn below(&self, end: u64) -> u64 {
        let entropy: &dyn Entropy = &self.0;
        u64::from_be_bytes(entropy.bytes()) % end
    }

    /// A place in something of length `len`, which is above zero.
    ///
    /// # Panics
    /// Where memory has fewer than 64 bits of addresses, and it is beyond them.
    pub fn place(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length in memory")
    }

    /// True once in `times`.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}
