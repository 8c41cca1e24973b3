//! COSE_Sign1 (RFC 9052 section 4.2) in the one shape that is used here.
//!
//! ```text
//! 18([ bstr {1: alg, 4: kid, 16: typ}, {}, payload bstr, signature bstr .size 64 ])
//! ```
//!
//! In scope: making, parsing through the strict gate, verifying. Out of scope:
//! what the payload says; detached payloads; unprotected headers.

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError};
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::primitives::KeyId;

use super::error::CredentialError;
use super::keys::{SecretKey, Verifies};

/// The type of coupons, receipts, memberships and campaigns (RFC 9596).
pub const TYP_CREDENTIAL: &str = "application/coop+cwt";
/// The type of a status list token (draft-ietf-oauth-status-list).
pub const TYP_STATUS_LIST: &str = "application/statuslist+cwt";
/// The type of messages between nodes.
pub const TYP_MESSAGE: &str = "application/coop-message+cbor";

const TAG_SIGN1: u64 = 18;
const LABEL_ALG: u64 = 1;
const LABEL_KID: u64 = 4;
const LABEL_TYP: u64 = 16;
const SIGNATURE_LEN: usize = 64;
const SIG_CONTEXT: &str = "Signature1";

/// The COSE algorithm of a signature: both are Ed25519 here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// EdDSA, -8 (RFC 9053): what most verifiers know.
    #[default]
    EdDsa,
    /// Ed25519, -19 (RFC 9864).
    Ed25519,
}

impl Algorithm {
    /// The COSE number.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Ed25519 => -19,
        }
    }

    /// From the COSE number.
    ///
    /// # Errors
    /// [`CredentialError::UnknownAlgorithm`].
    pub fn from_number(number: i64) -> Result<Self, CredentialError> {
        match number {
            -8 => Ok(Self::EdDsa),
            -19 => Ok(Self::Ed25519),
            _ => Err(CredentialError::UnknownAlgorithm),
        }
    }
}

/// The protected header's bytes: `{1: alg, 4: kid, 16: typ}`.
pub(super) fn protected_header(alg: Algorithm, kid: KeyId, typ: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + typ.len());
    write::head(&mut out, write::MAP, 3);
    write::uint(&mut out, LABEL_ALG);
    write::int(&mut out, alg.number());
    write::uint(&mut out, LABEL_KID);
    write::bytes(&mut out, &kid.0);
    write::uint(&mut out, LABEL_TYP);
    write::text(&mut out, typ);
    out
}

/// The signed bytes (RFC 9052 section 4.4):
/// `["Signature1", protected, external_aad, payload]`.
#[must_use]
pub fn sig_structure(protected: &[u8], external_aad: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(protected.len() + external_aad.len() + payload.len() + 32);
    write::head(&mut out, write::ARRAY, 4);
    write::text(&mut out, SIG_CONTEXT);
    write::bytes(&mut out, protected);
    write::bytes(&mut out, external_aad);
    write::bytes(&mut out, payload);
    out
}

/// The whole COSE_Sign1 of its three byte strings.
pub(super) fn assemble(protected: &[u8], payload: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Vec<u8> {
    let mut out = Vec::with_capacity(protected.len() + payload.len() + SIGNATURE_LEN + 16);
    write::head(&mut out, write::TAG, TAG_SIGN1);
    write::head(&mut out, write::ARRAY, 4);
    write::bytes(&mut out, protected);
    write::head(&mut out, write::MAP, 0);
    write::bytes(&mut out, payload);
    write::bytes(&mut out, signature);
    out
}

/// Signs `payload` (deterministic CBOR) as a COSE_Sign1. `external_aad` is
/// empty for credentials and names the message for messages.
#[must_use]
pub fn sign1(
    key: &SecretKey,
    alg: Algorithm,
    typ: &str,
    kid: KeyId,
    payload: &[u8],
    external_aad: &[u8],
) -> Vec<u8> {
    let protected = protected_header(alg, kid, typ);
    let signature = key.sign(&sig_structure(&protected, external_aad, payload));
    assemble(&protected, payload, &signature)
}

/// A well-formed COSE_Sign1, its signature not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign1 {
    bytes: Vec<u8>,
    alg: Algorithm,
    kid: KeyId,
    typ: String,
    protected: Vec<u8>,
    payload: Vec<u8>,
    value: Value,
    signature: [u8; SIGNATURE_LEN],
}

impl Sign1 {
    /// Passes `bytes`, its protected header and its payload through the gate
    /// and demands the one shape of this module.
    ///
    /// # Errors
    /// [`CredentialError::Gate`] and [`CredentialError::UnknownAlgorithm`].
    pub fn parse(bytes: &[u8], max: usize) -> Result<Self, CredentialError> {
        let Value::Tag(TAG_SIGN1, inner) = cbor::decode(bytes, max)? else {
            return Err(GateError::Shape("not a COSE_Sign1: tag 18 is missing").into());
        };
        let [protected, unprotected, payload, signature] =
            cbor::as_tuple::<4>(&inner, "a COSE_Sign1 is an array of four items")?;
        if !cbor::as_map(unprotected, "the unprotected header is a map")?.is_empty() {
            return Err(GateError::Shape("the unprotected header is not empty").into());
        }
        let protected = cbor::as_bytes(protected, "the protected header is a byte string")?;
        let payload = cbor::as_bytes(payload, "the payload is a byte string")?;
        let signature = cbor::as_byte_array(signature, "the signature is a byte string of 64 bytes")?;
        let (alg, kid, typ) = read_header(&cbor::decode(protected, max)?)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            alg,
            kid,
            typ,
            value: cbor::decode(payload, max)?,
            protected: protected.to_vec(),
            payload: payload.to_vec(),
            signature,
        })
    }

    /// The whole bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The algorithm.
    #[must_use]
    pub fn alg(&self) -> Algorithm {
        self.alg
    }

    /// The signer's kid. More than one key may have it: try them all.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The type (RFC 9596).
    #[must_use]
    pub fn typ(&self) -> &str {
        &self.typ
    }

    /// The payload's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload, decoded.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        &self.signature
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn sig_structure(&self, external_aad: &[u8]) -> Vec<u8> {
        sig_structure(&self.protected, external_aad, &self.payload)
    }

    /// Verifies the signature strictly.
    ///
    /// # Errors
    /// [`CredentialError::BadSignature`].
    pub fn verify(&self, key: &impl Verifies, external_aad: &[u8]) -> Result<(), CredentialError> {
        if key.verify_strict(&self.sig_structure(external_aad), &self.signature) {
            Ok(())
        } else {
            Err(CredentialError::BadSignature)
        }
    }
}

/// A COSE_Sign1 taken apart without building values.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The signer's kid.
    pub kid: KeyId,
    /// The payload's bytes. They have not passed the gate.
    pub payload: &'a [u8],
    /// The signature.
    pub signature: [u8; SIGNATURE_LEN],
    protected: &'a [u8],
}

impl<'a> Parts<'a> {
    /// The quick way in: what is read of the array and of the protected header is
    /// written again and compared. The caller does the same with the payload.
    /// `None`, for what is longer than `max` too, leaves it to the gate, which also
    /// says what is wrong.
    #[must_use]
    pub fn read(bytes: &'a [u8], typ: &str, max: usize) -> Option<Self> {
        if bytes.len() > max {
            return None;
        }
        let (protected, payload, signature) = read_array(bytes)?;
        let (alg, kid) = read_alg_and_kid(protected)?;
        let same =
            protected_header(alg, kid, typ) == protected && assemble(protected, payload, &signature) == bytes;
        same.then_some(Self {
            kid,
            payload,
            signature,
            protected,
        })
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn sig_structure(&self, external_aad: &[u8]) -> Vec<u8> {
        sig_structure(self.protected, external_aad, self.payload)
    }
}

// What these two read is not judged: written again it has to be the same.

fn read_array(bytes: &[u8]) -> Option<(&[u8], &[u8], [u8; SIGNATURE_LEN])> {
    let mut reader = Reader::new(bytes);
    reader.tag()?;
    reader.array()?;
    let protected = reader.bytes()?;
    reader.map()?;
    let payload = reader.bytes()?;
    let signature = reader.byte_array()?;
    Some((protected, payload, signature))
}

fn read_alg_and_kid(header: &[u8]) -> Option<(Algorithm, KeyId)> {
    let mut reader = Reader::new(header);
    reader.map()?;
    reader.uint()?;
    let alg = Algorithm::from_number(reader.int()?).ok()?;
    reader.uint()?;
    let kid = KeyId(reader.byte_array()?);
    Some((alg, kid))
}

fn read_header(header: &Value) -> Result<(Algorithm, KeyId, String), CredentialError> {
    const KEYS: &str = "the protected header holds exactly alg (1), kid (4) and typ (16)";
    let map = cbor::as_map(header, "the protected header is a map")?;
    let item = |label: u64| map.get(&cbor::int(label)).ok_or(GateError::Shape(KEYS));
    if map.len() != 3 {
        return Err(GateError::Shape(KEYS).into());
    }
    let alg = cbor::as_int(item(LABEL_ALG)?, "alg is an integer")?;
    let kid = cbor::as_byte_array(item(LABEL_KID)?, "kid is a byte string of 8 bytes")?;
    let typ = cbor::as_text(item(LABEL_TYP)?, "typ is text")?;
    Ok((Algorithm::from_number(alg)?, KeyId(kid), typ.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::fixtures::hex;

    /// The to-be-signed bytes of RFC 9052's single-signer example (protected
    /// `{1: -7}`, no aad, 'This is the content.').
    #[test]
    fn known_sig_structure() {
        let expected = "846a5369676e61747572653143a101264054546869732069732074686520636f6e74656e742e";
        assert_eq!(
            sig_structure(&hex("a10126"), &[], b"This is the content."),
            hex(expected)
        );
    }

    #[test]
    fn sig_structure_and_header_equal_the_slow_way() {
        let kid = KeyId([9; 8]);
        for (alg, aad) in [
            (Algorithm::EdDsa, &b""[..]),
            (Algorithm::Ed25519, b"tallystick/x/v1"),
        ] {
            let header = cbor::map([
                (cbor::int(1), cbor::int(alg.number())),
                (cbor::int(4), cbor::bytes(kid)),
                (cbor::int(16), cbor::text(TYP_CREDENTIAL)),
            ]);
            let protected = protected_header(alg, kid, TYP_CREDENTIAL);
            assert_eq!(protected, cbor::encode(&header));
            let payload = [1; 300];
            let slow = Value::Array(vec![
                cbor::text("Signature1"),
                cbor::bytes(&protected),
                cbor::bytes(aad),
                cbor::bytes(payload),
            ]);
            assert_eq!(sig_structure(&protected, aad, &payload), cbor::encode(&slow));
        }
    }

    #[test]
    fn a_message_is_bound_to_its_aad() {
        let key = SecretKey::from_seed(&[3; 32]);
        let payload = cbor::encode(&cbor::int(5));
        let bytes = sign1(
            &key,
            Algorithm::Ed25519,
            "application/x",
            key.public().kid(),
            &payload,
            b"aad",
        );
        let parsed = Sign1::parse(&bytes, 4_096).unwrap();
        assert_eq!(
            (parsed.alg(), parsed.typ()),
            (Algorithm::Ed25519, "application/x")
        );
        assert_eq!((parsed.payload(), parsed.value()), (&payload[..], &cbor::int(5)));
        assert_eq!(parsed.kid(), key.public().kid());
        assert_eq!(parsed.verify(key.public(), b"aad"), Ok(()));
        assert_eq!(
            parsed.verify(key.public(), b""),
            Err(CredentialError::BadSignature)
        );
        assert!(Sign1::parse(&bytes, bytes.len() - 1).is_err());
    }
}
