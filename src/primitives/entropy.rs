//! Randomness, passed in.

use std::cell::RefCell;

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// A fresh array of `N` random bytes.
impl dyn Entropy {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

/// The operating system's random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > DRAWN {
            return draw(bytes);
        }
        POOL.with_borrow_mut(|pool| pool.take(bytes));
    }
}

/// Bytes drawn from the operating system at once: a system call for each salt
/// and each identity is a measurable part of a redemption.
const DRAWN: usize = 512;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; DRAWN], left: 0 }) };
}

/// Bytes of the operating system that nobody has been given yet.
struct Pool {
    bytes: [u8; DRAWN],
    left: usize,
}

impl Pool {
    /// Gives bytes out, each once: what is given is wiped here.
    fn take(&mut self, bytes: &mut [u8]) {
        if self.left < bytes.len() {
            draw(&mut self.bytes);
            self.left = DRAWN;
        }
        let given = &mut self.bytes[self.left - bytes.len()..self.left];
        bytes.copy_from_slice(given);
        given.fill(0);
        self.left -= bytes.len();
    }
}

fn draw(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_given_twice() {
        let entropy: &dyn Entropy = &OsEntropy;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            assert!(seen.insert(entropy.bytes::<16>()));
            assert!(seen.insert(entropy.bytes::<32>()[..16].try_into().unwrap()));
        }
        let long = entropy.bytes::<1000>();
        assert!(long.iter().any(|byte| *byte != 0));
    }
}
