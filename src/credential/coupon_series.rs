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
