//! Many coupons of one campaign: the hot path of a batch, and the permutation
//! that hides how many there are.
//!
//! # The permutation
//!
//! A coupon's position in its list (0 to 131,071) is turned into its status
//! index by a keyed permutation, so that neighbours say nothing.
//!
//! ```text
//! list key K  = HMAC-SHA-256(index secret, list number as big-endian u32)
//! value       = A || B, A the high 8 bits, B the low 9 bits
//! round r     = 0 .. 11
//!   r even:  A = A xor F_r[B]       F_r: 512 entries of 8 bits
//!   r odd:   B = B xor F_r[A]       F_r: 256 entries of 9 bits
//! block(r, j) = HMAC-SHA-256(K, r as one byte || j as one byte), j = 0 .. 15
//!   r even:  F_r[32 j + k] = byte k of block(r, j)
//!   r odd:   F_r[16 j + k] = bytes 2k, 2k + 1 of block(r, j), big-endian, low 9 bits
//! ```
//!
//! The inverse takes the rounds backwards. Ten rounds are the usual choice for
//! so small a domain (NIST SP 800-38G); twelve cost two table look-ups more.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::encoding::cbor_write as write;
use crate::primitives::{Amount, CampaignId, KeyId, UnixSeconds, limits};

use super::claims::{CONTENT, EXP, NBF, STATUS};
use super::cose::{self, Algorithm, TYP_CREDENTIAL};
use super::coupon::Coupon;
use super::keys::SecretKey;
use super::signed::Content as _;

/// What the coupons of a batch have in common, encoded once.
#[derive(Clone, Debug)]
pub struct CouponTemplate {
    protected: Vec<u8>,
    /// The claims up to the status's value.
    before: Vec<u8>,
    /// The claims after the status's uri.
    after: Vec<u8>,
}

impl CouponTemplate {
    /// A batch's template: bearer coupons (no holder's key).
    #[must_use]
    pub fn new(
        campaign: CampaignId,
        amount: Option<Amount>,
        not_before: Option<UnixSeconds>,
        not_after: UnixSeconds,
        alg: Algorithm,
        kid: KeyId,
    ) -> Self {
        let mut before = Vec::with_capacity(40);
        write::head(&mut before, write::MAP, if not_before.is_some() { 4 } else { 3 });
        write::int(&mut before, EXP);
        write::uint(&mut before, not_after.0);
        if let Some(not_before) = not_before {
            write::int(&mut before, NBF);
            write::uint(&mut before, not_before.0);
        }
        write::int(&mut before, STATUS);
        write::head(&mut before, write::MAP, 1);
        write::text(&mut before, "status_list");
        write::head(&mut before, write::MAP, 2);
        write::text(&mut before, "idx");

        let mut after = Vec::with_capacity(40);
        write::int(&mut after, CONTENT);
        write::head(&mut after, write::ARRAY, if amount.is_some() { 3 } else { 2 });
        write::uint(&mut after, Coupon::KIND);
        write::bytes(&mut after, &campaign.0);
        if let Some(amount) = amount {
            write::int(&mut after, amount.minor_units());
        }
        Self {
            protected: cose::protected_header(alg, kid, TYP_CREDENTIAL),
            before,
            after,
        }
    }

    /// The coupon at `index` of the list `uri`, signed. The same bytes every
    /// time (Ed25519 is deterministic).
    #[must_use]
    pub fn sign(&self, key: &SecretKey, uri: &str, index: u32) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.before.len() + self.after.len() + uri.len() + 16);
        payload.extend_from_slice(&self.before);
        write::uint(&mut payload, u64::from(index));
        write::text(&mut payload, "uri");
        write::text(&mut payload, uri);
        payload.extend_from_slice(&self.after);
        let signature = key.sign(&cose::sig_structure(&self.protected, &[], &payload));
        cose::assemble(&self.protected, &payload, &signature)
    }
}

const LOW_BITS: u32 = 9;
const HIGH_SIZE: usize = 1 << 8;
const LOW_SIZE: usize = 1 << LOW_BITS;
const LOW_MASK: u16 = (1 << LOW_BITS) - 1;
const ROUND_PAIRS: usize = 6;
const BLOCKS: u8 = 16;
const BLOCK_LEN: usize = 32;

const _: () = assert!(HIGH_SIZE * LOW_SIZE == limits::STATUS_LIST_LEN as usize);

/// Two rounds: `A ^= high[B]`, then `B ^= low[A]`.
#[derive(Clone)]
struct RoundPair {
    high: [u8; LOW_SIZE],
    low: [u16; HIGH_SIZE],
}

/// The permutation of one status list's indices (see the module's text). Its
/// tables give away the order of the coupons: nothing of them is in `Debug`.
#[derive(Clone)]
pub struct StatusPermutation {
    rounds: Vec<RoundPair>,
}

impl StatusPermutation {
    /// Fills the tables for list `list`: 193 HMACs, some 50 microseconds.
    #[must_use]
    pub fn new(index_secret: &[u8; 32], list: u32) -> Self {
        let list_key = Zeroizing::new(block(&keyed(index_secret), &list.to_be_bytes()));
        let keyed = keyed(&list_key);
        let rounds = (0..ROUND_PAIRS)
            .map(|pair| RoundPair::fill(&keyed, pair))
            .collect();
        Self { rounds }
    }

    /// The status index of the position's offset in its list.
    ///
    /// # Panics
    /// If `offset` is not below [`limits::STATUS_LIST_LEN`]; `Position::offset`
    /// always is.
    #[must_use]
    pub fn index_of(&self, offset: u32) -> u32 {
        let (mut high, mut low) = split(offset);
        for round in &self.rounds {
            high ^= round.high[usize::from(low)];
            low ^= round.low[usize::from(high)];
        }
        join(high, low)
    }

    /// The offset of a status index: the inverse of [`Self::index_of`].
    ///
    /// # Panics
    /// If `index` is not below [`limits::STATUS_LIST_LEN`]; a parsed
    /// `StatusRef`'s always is.
    #[must_use]
    pub fn offset_of(&self, index: u32) -> u32 {
        let (mut high, mut low) = split(index);
        for round in self.rounds.iter().rev() {
            low ^= round.low[usize::from(high)];
            high ^= round.high[usize::from(low)];
        }
        join(high, low)
    }
}

impl std::fmt::Debug for StatusPermutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatusPermutation(..)")
    }
}

impl RoundPair {
    fn fill(keyed: &Hmac<Sha256>, pair: usize) -> Self {
        let even = u8::try_from(2 * pair).expect("a handful of rounds");
        let mut filled = Self {
            high: [0; LOW_SIZE],
            low: [0; HIGH_SIZE],
        };
        for (j, out) in (0..BLOCKS).zip(filled.high.chunks_exact_mut(BLOCK_LEN)) {
            out.copy_from_slice(&block(keyed, &[even, j]));
        }
        for (j, out) in (0..BLOCKS).zip(filled.low.chunks_exact_mut(BLOCK_LEN / 2)) {
            for (entry, bytes) in out.iter_mut().zip(block(keyed, &[even + 1, j]).chunks_exact(2)) {
                *entry = u16::from_be_bytes([bytes[0], bytes[1]]) & LOW_MASK;
            }
        }
        filled
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn block(keyed: &Hmac<Sha256>, message: &[u8]) -> [u8; BLOCK_LEN] {
    let mut mac = keyed.clone();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn split(value: u32) -> (u8, u16) {
    let high = u8::try_from(value >> LOW_BITS).expect("below STATUS_LIST_LEN");
    let low = u16::try_from(value & u32::from(LOW_MASK)).expect("masked to 9 bits");
    (high, low)
}

fn join(high: u8, low: u16) -> u32 {
    (u32::from(high) << LOW_BITS) | u32::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::StatusRef;
    use proptest::prelude::*;

    #[test]
    fn a_permutation_of_the_whole_list() {
        let permutation = StatusPermutation::new(&[5; 32], 0);
        let mut seen = vec![false; limits::STATUS_LIST_LEN as usize];
        for offset in 0..limits::STATUS_LIST_LEN {
            let index = permutation.index_of(offset);
            assert_eq!(permutation.offset_of(index), offset);
            assert!(
                !std::mem::replace(&mut seen[index as usize], true),
                "{index} twice"
            );
        }
    }

    #[test]
    fn lists_and_secrets_have_their_own() {
        let first = |secret: [u8; 32], list| -> Vec<u32> {
            let permutation = StatusPermutation::new(&secret, list);
            (0..100).map(|offset| permutation.index_of(offset)).collect()
        };
        let base = first([5; 32], 0);
        for other in [first([5; 32], 1), first([6; 32], 0), (0..100).collect()] {
            let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 5, "{same} of 100 the same");
        }
        // Neighbours say nothing: differences are spread over the list.
        let near = base
            .windows(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) < 1_000)
            .count();
        assert!(near < 10, "{near} of 99 neighbours lie near each other");
    }

    #[test]
    fn debug_shows_no_table() {
        let permutation = StatusPermutation::new(&[5; 32], 0);
        assert_eq!(format!("{permutation:?}"), "StatusPermutation(..)");
    }

    /// Round 0 done by hand from the written construction, with all later
    /// rounds undone by the tables.
    #[test]
    fn the_construction_is_as_written() {
        let secret = [5; 32];
        let mac = |key: &[u8], message: &[u8]| -> [u8; 32] {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.update(message);
            mac.finalize().into_bytes().into()
        };
        let list_key = mac(&secret, &[0, 0, 0, 7]);
        let (mut high, mut low) = (0x12_usize, 0x155_usize);
        for round in 0..12_u8 {
            if round % 2 == 0 {
                high ^= usize::from(mac(&list_key, &[round, u8::try_from(low / 32).unwrap()])[low % 32]);
            } else {
                let block = mac(&list_key, &[round, u8::try_from(high / 16).unwrap()]);
                let pair = [block[high % 16 * 2], block[high % 16 * 2 + 1]];
                low ^= usize::from(u16::from_be_bytes(pair)) & 0x1ff;
            }
        }
        let expected = u32::try_from(high << 9 | low).unwrap();
        let permutation = StatusPermutation::new(&secret, 7);
        assert_eq!(permutation.index_of(0x12 << 9 | 0x155), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_same_bytes_as_the_slow_way(
            campaign: [u8; 16],
            amount in proptest::option::of(1..=limits::AMOUNT_MAX),
            not_before in proptest::option::of(0..=limits::UNIX_SECONDS_MAX),
            not_after in 0..=limits::UNIX_SECONDS_MAX,
            index in 0..limits::STATUS_LIST_LEN,
            newer: bool,
            uri in "https://[a-z]{1,250}/s/[0-9]{1,4}",
        ) {
            let key = SecretKey::from_seed(&[8; 32]);
            let alg = if newer { Algorithm::Ed25519 } else { Algorithm::EdDsa };
            let coupon = Coupon {
                campaign: CampaignId(campaign),
                amount: amount.map(|amount| Amount::new(amount).unwrap()),
                not_before: not_before.map(UnixSeconds),
                not_after: UnixSeconds(not_after),
                status: StatusRef { uri: uri.clone(), index },
                holder: None,
            };
            let template = CouponTemplate::new(
                coupon.campaign, coupon.amount, coupon.not_before, coupon.not_after, alg, key.public().kid(),
            );
            prop_assert_eq!(template.sign(&key, &uri, index), coupon.sign(&key, alg));
        }
    }
}
