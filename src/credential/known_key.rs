//! A key against which many signatures are checked: exactly as strict as
//! [`PublicKey::verify_strict`], several times as fast.
//!
//! Ed25519 verification computes R' = \[s\]B - \[k\]A (RFC 8032 section 5.1.7). For
//! a key that stays the same, the multiples of A can be laid out beforehand as
//! those of B can, and R' is then a sum of table entries without a doubling.
//!
//! # Why it is exactly as strict
//! ed25519-dalek's `verify_strict` (3.0) accepts when
//!
//! 1. s is canonical, that is below the group's order;
//! 2. the 32 bytes of R decompress to a point;
//! 3. neither that point nor A is of small order;
//! 4. R', compressed, equals the 32 bytes of R.
//!
//! Here 1 and 4 are checked in the same way, on the same R' (group arithmetic is
//! exact, in whatever order it adds). If 4 holds, then the bytes of R are the
//! compressed form of R', and decompressing that gives R': so 2 holds, and the
//! point that 3 asks about is R' itself. If 4 does not hold, both refuse. A is
//! a [`PublicKey`], which is never of small order.
//!
//! Nothing here is secret, so nothing runs in constant time.

use std::sync::OnceLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity as _, IsIdentity as _};
use sha2::{Digest as _, Sha512};

use crate::primitives::KeyId;

use super::keys::{PublicKey, Verifies};

/// Bits of a scalar that one table entry stands for. 8 bits make 640 KiB a
/// point, which the second cache of a core holds for A and B together.
const WINDOW_BITS: usize = 8;
const WINDOWS: usize = 32;
/// Entries of a window: the multiples 1 to 128; negative ones are subtracted.
const ENTRIES: usize = 1 << (WINDOW_BITS - 1);

/// The multiples `d * 2^(8w)` of a point, for each window `w` and `d` of 1 to 128.
struct Multiples(Vec<EdwardsPoint>);

impl Multiples {
    fn of(point: EdwardsPoint) -> Self {
        let mut all = Vec::with_capacity(WINDOWS * ENTRIES);
        let mut base = point;
        for _ in 0..WINDOWS {
            let mut multiple = base;
            for _ in 0..ENTRIES {
                all.push(multiple);
                multiple += base;
            }
            // The last entry is 2^7 times the base.
            let last = all[all.len() - 1];
            base = last + last;
        }
        Self(all)
    }

    /// The entries whose sum is `scalar` times the point, and whether each is to be
    /// subtracted.
    fn terms(&self, scalar: &Scalar) -> [(EdwardsPoint, bool); WINDOWS] {
        let digits = digits(scalar);
        std::array::from_fn(|window| {
            let digit = digits[window];
            let point = match usize::from(digit.unsigned_abs()).checked_sub(1) {
                Some(entry) => self.0[window * ENTRIES + entry],
                None => EdwardsPoint::identity(),
            };
            (point, digit < 0)
        })
    }

    /// Those of the base point, laid out once a process.
    fn of_base() -> &'static Self {
        static BASE: OnceLock<Multiples> = OnceLock::new();
        BASE.get_or_init(|| Self::of(ED25519_BASEPOINT_POINT))
    }
}

fn sum_of(terms: &[(EdwardsPoint, bool)]) -> EdwardsPoint {
    let mut sum = EdwardsPoint::identity();
    for (point, is_negative) in terms {
        if *is_negative {
            sum -= point;
        } else {
            sum += point;
        }
    }
    sum
}

/// The scalar's digits to the base 256, lowest first, each of -127 to 128.
fn digits(scalar: &Scalar) -> [i16; WINDOWS] {
    let mut carry = 0;
    // Scalars are below 2^253, so the last digit carries nothing.
    scalar.to_bytes().map(|byte| {
        let digit = i16::from(byte) + carry;
        carry = i16::from(digit > 128);
        digit - 256 * carry
    })
}

/// A public key with its table, 640 KiB. Making it costs as much as some 20
/// verifications without it.
pub struct KnownKey {
    key: PublicKey,
    kid: KeyId,
    minus_a: Multiples,
}

impl KnownKey {
    /// Lays out the table of `key`.
    #[must_use]
    pub fn new(key: PublicKey) -> Self {
        Self {
            kid: key.kid(),
            minus_a: Multiples::of(-key.point()),
            key,
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Its kid.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// R' of a signature, unless its s is not canonical.
    fn expected(&self, message: &[u8], signature: &[u8; 64]) -> Option<EdwardsPoint> {
        let (r, s) = halves(signature);
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s))?;
        let mut hasher = Sha512::new();
        hasher.update(r);
        hasher.update(self.key.as_bytes());
        hasher.update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hasher.finalize().into());
        // All are fetched before the first is added: with other work on the core they are
        // in no near cache, and a sum takes too long for the next fetch to begin meanwhile.
        let terms = [Multiples::of_base().terms(&s), self.minus_a.terms(&k)];
        Some(sum_of(terms.as_flattened()))
    }

    /// As [`PublicKey::verify_strict`], on the same signatures.
    #[must_use]
    pub fn verify_strict(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.expected(message, signature)
            .is_some_and(|point| is_strict(&point, &point.compress(), signature))
    }

    /// Whether each signature is this key's over the message beside it, as
    /// [`KnownKey::verify_strict`] says it of one. Not a batch verification:
    /// each is decided by itself, only the final division is shared.
    #[must_use]
    pub fn verify_each(&self, signed: &[(&[u8], &[u8; 64])]) -> Vec<bool> {
        let points: Vec<Option<EdwardsPoint>> = signed
            .iter()
            .map(|(message, signature)| self.expected(message, signature))
            .collect();
        let present: Vec<EdwardsPoint> = points.iter().flatten().copied().collect();
        let mut compressed = EdwardsPoint::compress_batch_alloc(&present).into_iter();
        points
            .iter()
            .zip(signed)
            .map(|(point, (_, signature))| {
                point.is_some_and(|point| {
                    compressed
                        .next()
                        .is_some_and(|bytes| is_strict(&point, &bytes, signature))
                })
            })
            .collect()
    }
}

impl Verifies for KnownKey {
    fn verify_strict(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        KnownKey::verify_strict(self, message, signature)
    }
}

impl std::fmt::Debug for KnownKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KnownKey({})", self.key.did_key())
    }
}

fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    r.copy_from_slice(&signature[..32]);
    s.copy_from_slice(&signature[32..]);
    (r, s)
}

/// Points 3 and 4 of the module's list.
fn is_strict(expected: &EdwardsPoint, compressed: &CompressedEdwardsY, signature: &[u8; 64]) -> bool {
    compressed.as_bytes() == &signature[..32] && !expected.mul_by_cofactor().is_identity()
}

#[cfg(test)]
#[path = "known_key_tests.rs"]
mod tests;
