//! What the tests of this floor share.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::primitives::{Amount, CampaignId, Currency, Digest, Entropy, Register, UnixSeconds};

use super::{Benefit, Campaign, Coupon, Membership, ReceiptKind, ReceiptStub, SecretKey, StatusRef, Terms};

/// Bytes that count up: the same in every run.
pub struct CountingEntropy(AtomicU8);

impl CountingEntropy {
    pub fn new(first: u8) -> Self {
        Self(AtomicU8::new(first))
    }
}

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

pub fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn status() -> StatusRef {
    // 20 characters of host, and an index that takes the most bytes.
    StatusRef {
        uri: "https://shop.coop-example.eu/s/7".to_owned(),
        index: 131_071,
    }
}

pub fn coupon() -> Coupon {
    Coupon {
        campaign: CampaignId([0xca; 16]),
        amount: None,
        not_before: None,
        not_after: UnixSeconds(1_798_761_600),
        status: status(),
        holder: None,
    }
}

pub fn stub() -> ReceiptStub {
    ReceiptStub {
        issued_at: UnixSeconds(1_772_896_869),
        total: Amount::new(-1_234_567).unwrap(),
        currency: Currency::from_letters("EUR").unwrap(),
        register: Register::new("shop1-lane3-express").unwrap(),
        sequence_number: 100_000_000,
        kind: ReceiptKind::Refund,
        details_root: Digest([0xde; 32]),
    }
}

pub fn membership() -> Membership {
    Membership {
        class: "consumer-worker1".to_owned(),
        member_since_days: 20_000,
        details_root: Digest([0xde; 32]),
        not_before: UnixSeconds(1_772_896_869),
        not_after: UnixSeconds(1_798_761_600),
        holder: *SecretKey::from_seed(&[2; 32]).public(),
        status: status(),
    }
}

pub fn campaign() -> Campaign {
    let benefit = Benefit::PercentOff {
        basis_points: 1_000,
        cap: None,
    };
    Campaign {
        issued_at: UnixSeconds(1_772_896_869),
        not_before: UnixSeconds(1_772_900_000),
        not_after: UnixSeconds(1_798_761_600),
        terms: Terms::new(
            "Apple week",
            "10 % off",
            Currency::from_letters("EUR").unwrap(),
            benefit,
        ),
    }
}
