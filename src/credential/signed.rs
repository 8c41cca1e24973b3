//! Typed credentials with their signatures: one way in for all kinds.

use serde_cbor::Value;
use sha2::{Digest as _, Sha256};

use crate::encoding::cbor;
use crate::primitives::{CampaignId, Digest, KeyId, Tag, limits};

use super::campaign::Campaign;
use super::claims;
use super::cose::{self, Algorithm, Sign1, TYP_CREDENTIAL};
use super::coupon::Coupon;
use super::error::CredentialError;
use super::keys::{SecretKey, Verifies};
use super::membership::Membership;
use super::receipt::ReceiptStub;

const COUPON_TAG_DOMAIN: &[u8] = b"tallystick/coupon-tag/v1";
const RECEIPT_TAG_DOMAIN: &[u8] = b"tallystick/receipt-tag/v1";

/// What a kind of credential says, without its signature.
pub trait Content: Sized {
    /// The kind's number (formats, section 3).
    const KIND: u64;
    /// The kind's name, for people.
    const NAME: &'static str;

    /// The claims map.
    fn to_value(&self) -> Value;

    /// The claims map's deterministic encoding.
    fn to_payload(&self) -> Vec<u8> {
        cbor::encode(&self.to_value())
    }

    /// Reads the claims map; the kind has been checked.
    ///
    /// # Errors
    /// [`CredentialError`] for every key, arity or range that is not allowed.
    fn read(payload: &Value) -> Result<Self, CredentialError>;

    /// Checks what the types do not, by the very rules that reading applies:
    /// what passes here, is signed and comes back.
    ///
    /// # Errors
    /// [`CredentialError`] with the rule that is broken.
    fn check(&self) -> Result<(), CredentialError> {
        Self::read(&self.to_value()).map(drop)
    }

    /// Signs it: the whole credential's bytes. What is beyond the limits of
    /// its fields is signed too, but not read back: see [`Content::check`].
    #[must_use]
    fn sign(&self, key: &SecretKey, alg: Algorithm) -> Vec<u8> {
        cose::sign1(key, alg, TYP_CREDENTIAL, key.kid(), &self.to_payload(), &[])
    }
}

/// A well-formed credential of one kind. Its signature counts once
/// [`Signed::verify`] has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    content: T,
    sign1: Sign1,
}

impl<T: Content> Signed<T> {
    /// Reads a credential that has to be of this kind.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialError> {
        let sign1 = parse_credential(bytes)?;
        match claims::kind_of(sign1.value())? {
            kind if kind == T::KIND => Self::read(sign1),
            kind => Err(CredentialError::WrongKind {
                expected: T::NAME,
                found: kind_name(kind).ok_or(CredentialError::UnknownKind)?,
            }),
        }
    }

    fn read(sign1: Sign1) -> Result<Self, CredentialError> {
        Ok(Self {
            content: T::read(sign1.value())?,
            sign1,
        })
    }
}

impl<T> Signed<T> {
    /// What it says.
    #[must_use]
    pub fn content(&self) -> &T {
        &self.content
    }

    /// What it says, without the rest.
    #[must_use]
    pub fn into_content(self) -> T {
        self.content
    }

    /// The whole bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.sign1.bytes()
    }

    /// The signer's kid.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.sign1.kid()
    }

    /// The signature's algorithm.
    #[must_use]
    pub fn alg(&self) -> Algorithm {
        self.sign1.alg()
    }

    /// The COSE structure.
    #[must_use]
    pub fn sign1(&self) -> &Sign1 {
        &self.sign1
    }

    /// Verifies the signature strictly.
    ///
    /// # Errors
    /// [`CredentialError::BadSignature`].
    pub fn verify(&self, key: &impl Verifies) -> Result<(), CredentialError> {
        self.sign1.verify(key, &[])
    }
}

impl Signed<Coupon> {
    /// Its name in logs, evidence and look-ups.
    #[must_use]
    pub fn tag(&self) -> Tag {
        coupon_tag(self.bytes())
    }
}

impl Signed<ReceiptStub> {
    /// Its name in logs, evidence and look-ups: the receipt's id.
    #[must_use]
    pub fn tag(&self) -> Tag {
        receipt_tag(self.bytes())
    }

    /// What only someone with the receipt can present: SHA-256 of the stub's
    /// signature (formats, section 4, `Receipt-Proof`).
    #[must_use]
    pub fn receipt_proof(&self) -> Digest {
        Digest(Sha256::digest(self.sign1.signature()).into())
    }
}

impl Signed<Campaign> {
    /// The campaign's identity: the first 16 bytes of SHA-256 over its
    /// `Sig_structure`.
    #[must_use]
    pub fn id(&self) -> CampaignId {
        let hash: [u8; 32] = Sha256::digest(self.sign1.sig_structure(&[])).into();
        CampaignId::from_slice(&hash[..CampaignId::LEN]).expect("a hash is longer")
    }
}

/// The tag of a coupon's whole bytes, unparsed: for batches.
#[must_use]
pub fn coupon_tag(coupon: &[u8]) -> Tag {
    tag(COUPON_TAG_DOMAIN, coupon)
}

/// The tag of a receipt stub's whole bytes, unparsed.
#[must_use]
pub fn receipt_tag(stub: &[u8]) -> Tag {
    tag(RECEIPT_TAG_DOMAIN, stub)
}

fn tag(domain: &[u8], bytes: &[u8]) -> Tag {
    let mut hasher = Sha256::new();
    hasher.update(domain);
    hasher.update(bytes);
    Tag(hasher.finalize().into())
}

fn parse_credential(bytes: &[u8]) -> Result<Sign1, CredentialError> {
    let sign1 = Sign1::parse(bytes, limits::CREDENTIAL_BYTES_MAX)?;
    if sign1.typ() == TYP_CREDENTIAL {
        Ok(sign1)
    } else {
        Err(CredentialError::WrongType {
            expected: TYP_CREDENTIAL,
        })
    }
}

fn kind_name(kind: u64) -> Option<&'static str> {
    match kind {
        Coupon::KIND => Some(Coupon::NAME),
        ReceiptStub::KIND => Some(ReceiptStub::NAME),
        Membership::KIND => Some(Membership::NAME),
        Campaign::KIND => Some(Campaign::NAME),
        _ => None,
    }
}

/// A well-formed credential of whichever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Kind 1.
    Coupon(Signed<Coupon>),
    /// Kind 2.
    Receipt(Signed<ReceiptStub>),
    /// Kind 3.
    Membership(Signed<Membership>),
    /// Kind 4.
    Campaign(Signed<Campaign>),
}

impl Credential {
    /// Reads a credential of any kind through the gate.
    ///
    /// # Errors
    /// [`CredentialError`], never a panic, for whatever bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialError> {
        let sign1 = parse_credential(bytes)?;
        match claims::kind_of(sign1.value())? {
            Coupon::KIND => Signed::read(sign1).map(Self::Coupon),
            ReceiptStub::KIND => Signed::read(sign1).map(Self::Receipt),
            Membership::KIND => Signed::read(sign1).map(Self::Membership),
            Campaign::KIND => Signed::read(sign1).map(Self::Campaign),
            _ => Err(CredentialError::UnknownKind),
        }
    }

    /// The COSE structure.
    #[must_use]
    pub fn sign1(&self) -> &Sign1 {
        match self {
            Self::Coupon(signed) => signed.sign1(),
            Self::Receipt(signed) => signed.sign1(),
            Self::Membership(signed) => signed.sign1(),
            Self::Campaign(signed) => signed.sign1(),
        }
    }

    /// The whole bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.sign1().bytes()
    }

    /// The signer's kid.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.sign1().kid()
    }

    /// The kind's name, for people.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Coupon(_) => Coupon::NAME,
            Self::Receipt(_) => ReceiptStub::NAME,
            Self::Membership(_) => Membership::NAME,
            Self::Campaign(_) => Campaign::NAME,
        }
    }

    /// Verifies the signature strictly.
    ///
    /// # Errors
    /// [`CredentialError::BadSignature`].
    pub fn verify(&self, key: &impl Verifies) -> Result<(), CredentialError> {
        self.sign1().verify(key, &[])
    }
}
