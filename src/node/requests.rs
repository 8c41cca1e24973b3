//! Who asks, and how a request is known again (protocol, section 2, 'Retries').

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::ledger::Answers;
use crate::primitives::{Digest, RedemptionId, Register};

/// What an `Idempotency-Key` is scoped to: the register or the office, not the
/// bearer key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A till at this register.
    Register(Register),
    /// The office.
    Office,
}

/// One call that changes state: who makes it, under which key, with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Register or office.
    pub scope: Scope,
    /// The `Idempotency-Key`, taken literally.
    pub idempotency_key: String,
    /// SHA-256 over method, path, content type and raw body
    /// ([`Caller::request_digest`]).
    pub request: Digest,
}

impl Caller {
    /// What binds a key to its request. Each part is preceded by its length as
    /// a big-endian u64, so that no two requests give the same bytes.
    #[must_use]
    pub fn request_digest(method: &str, path: &str, content_type: &str, body: &[u8]) -> Digest {
        let mut hasher = Sha256::new();
        for part in [method.as_bytes(), path.as_bytes(), content_type.as_bytes(), body] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }
}

/// The kinds of call that a till reference is unique for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Receipt,
    /// Unique per coupon too: see [`occurrence`].
    Redemption,
    /// Unique per reversed redemption.
    Reversal(RedemptionId),
}

/// Makes the keyed hashes of formats, section 4.
#[derive(Clone)]
pub(super) struct RequestHasher {
    keyed: Hmac<Sha256>,
}

impl RequestHasher {
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            keyed: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"),
        }
    }

    /// The three hashes of one call.
    pub fn answers(&self, caller: &Caller, reference: Option<[u8; 16]>) -> Answers {
        let scope: [&[u8]; 2] = match &caller.scope {
            Scope::Register(register) => [b"register", register.as_str().as_bytes()],
            Scope::Office => [b"office", b""],
        };
        Answers {
            key: self.hash(b"key", &[scope[0], scope[1], caller.idempotency_key.as_bytes()]),
            reference,
            request: self.hash(b"request", &[caller.request.as_ref()]),
        }
    }

    /// The hash of register, kind of call and till reference.
    pub fn reference(&self, register: &Register, call: &Call, reference: &str) -> [u8; 16] {
        let (kind, redemption): (&[u8], &[u8]) = match call {
            Call::Receipt => (b"receipt", b""),
            Call::Redemption => (b"redemption", b""),
            Call::Reversal(id) => (b"reversal", id.as_ref()),
        };
        self.hash(
            b"reference",
            &[
                register.as_str().as_bytes(),
                kind,
                redemption,
                reference.as_bytes(),
            ],
        )
    }

    fn hash(&self, what: &[u8], parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.keyed.clone();
        for part in std::iter::once(&what).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }
}

/// The index key of the `n`-th redemption under one till reference: a sale may
/// redeem several coupons under one reference.
pub(super) fn occurrence(reference: [u8; 16], n: u32) -> [u8; 16] {
    u128::from_be_bytes(reference)
        .wrapping_add(u128::from(n))
        .to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(key: &str, body: &[u8]) -> Caller {
        Caller {
            scope: Scope::Office,
            idempotency_key: key.to_owned(),
            request: Caller::request_digest("POST", "/v1/coupons", "application/json", body),
        }
    }

    #[test]
    fn parts_never_run_into_each_other() {
        assert_ne!(
            Caller::request_digest("POST", "/a", "b", b""),
            Caller::request_digest("POST", "/", "ab", b"")
        );
        let hasher = RequestHasher::new(&[7; 32]);
        let register = Register::new("till-1").unwrap();
        assert_ne!(
            hasher.reference(&register, &Call::Receipt, "x"),
            hasher.reference(&register, &Call::Redemption, "x")
        );
    }

    #[test]
    fn hashes_depend_on_scope_key_body_and_secret() {
        let hasher = RequestHasher::new(&[7; 32]);
        let one = hasher.answers(&caller("a", b"1"), None);
        assert_eq!(one, hasher.answers(&caller("a", b"1"), None));
        assert_eq!(one.key, hasher.answers(&caller("a", b"2"), None).key);
        assert_ne!(one.request, hasher.answers(&caller("a", b"2"), None).request);
        assert_ne!(one.key, hasher.answers(&caller("b", b"1"), None).key);
        let till = Caller {
            scope: Scope::Register(Register::new("x").unwrap()),
            ..caller("a", b"1")
        };
        assert_ne!(one.key, hasher.answers(&till, None).key);
        assert_ne!(
            one.key,
            RequestHasher::new(&[8; 32]).answers(&caller("a", b"1"), None).key
        );
    }
}
