//! Evidence that an issuer has signed two status lists of one number and time that say
//! different things:
//!
//! ```text
//! [2, status list token: bstr, another: bstr]
//! ```
//!
//! in deterministic CBOR, the token with the smaller SHA-256 first, so that one case has
//! one form (protocol, section 4; schemas/gossip.cddl). Of one list a newer one has a
//! later time, always: two of one time are two histories of what was revoked.

use std::fmt;

use serde_cbor::Value;
use sha2::{Digest as _, Sha256};

use super::error::CredentialError;
use super::keys::Verifies;
use super::status_list::{StatusList, StatusListToken};
use crate::encoding::cbor::{self, GateError};
use crate::primitives::limits::GOSSIPED_EVIDENCE_BYTES_MAX;

/// First item of all such evidence.
const TWO_LISTS: u64 = 2;

/// Two well-formed tokens that contradict each other. Nothing of it counts before both
/// are verified under keys of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEvidence {
    first: StatusListToken,
    second: StatusListToken,
}

impl ListEvidence {
    /// The evidence about two tokens, in any order. What they say is not looked at.
    #[must_use]
    pub fn of(one: &[u8], other: &[u8]) -> Vec<u8> {
        let (first, second) = if hash(one) < hash(other) {
            (one, other)
        } else {
            (other, one)
        };
        cbor::encode(&Value::Array(vec![
            cbor::int(TWO_LISTS),
            cbor::bytes(first),
            cbor::bytes(second),
        ]))
    }

    /// Reads evidence through the gate. No signature is verified yet.
    ///
    /// # Errors
    /// [`CredentialError`] for what has another form, and for two tokens that do not
    /// contradict each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        let value = cbor::decode(bytes, GOSSIPED_EVIDENCE_BYTES_MAX)?;
        Self::from_value(&value)
    }

    /// The same of a value that came through the gate.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn from_value(value: &Value) -> Result<Self, CredentialError> {
        const WHAT: &str = "evidence of two lists is [2, token, token]";
        let content = |what| Err(CredentialError::Content(what));
        let [kind, one, other] = cbor::as_tuple(value, WHAT)?;
        if cbor::as_int::<u64>(kind, WHAT)? != TWO_LISTS {
            return Err(GateError::Shape(WHAT).into());
        }
        let (one, other) = (cbor::as_bytes(one, WHAT)?, cbor::as_bytes(other, WHAT)?);
        if hash(one) >= hash(other) {
            return content("the smaller hash stands first");
        }
        let (first, second) = (StatusListToken::parse(one)?, StatusListToken::parse(other)?);
        let name = |list: &StatusList| (list.uri.clone(), list.issued_at);
        if name(first.list()) != name(second.list()) {
            return content("the two lists differ in name or version");
        }
        if first.sign1().payload() == second.sign1().payload() {
            return content("the two lists say the same");
        }
        Ok(Self { first, second })
    }

    /// The two tokens.
    #[must_use]
    pub fn tokens(&self) -> [&StatusListToken; 2] {
        [&self.first, &self.second]
    }

    /// What both are called, and of when they are.
    #[must_use]
    pub fn list(&self) -> &StatusList {
        self.first.list()
    }

    /// Whether one key has signed both.
    ///
    /// # Errors
    /// [`CredentialError::BadSignature`] if not.
    pub fn verify(&self, key: &impl Verifies) -> Result<(), CredentialError> {
        self.first.verify(key)?;
        self.second.verify(key)
    }
}

impl fmt::Display for ListEvidence {
    /// What was done, in a sentence without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list();
        write!(
            f,
            "two status lists {} that say different things were signed as of {}",
            list.uri,
            list.issued_at.rfc3339()
        )
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
