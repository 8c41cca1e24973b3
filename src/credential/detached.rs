//! COSE_Sign1 with a detached payload (RFC 9052 section 4.1): a signature that
//! travels beside what it signs, so that several can be gathered over the same
//! bytes.
//!
//! ```text
//! 18([ bstr {1: alg, 4: kid}, {}, nil, signature bstr .size 64 ])
//! ```

use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::primitives::KeyId;

use super::cose::{Algorithm, sig_structure};
use super::keys::{SecretKey, Verifies};

const TAG_SIGN1: u64 = 18;
const LABEL_ALG: u64 = 1;
const LABEL_KID: u64 = 4;

/// A signature over bytes that are kept elsewhere. Sorted by kid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DetachedSignature {
    kid: KeyId,
    alg: i64,
    signature: [u8; 64],
}

impl DetachedSignature {
    /// Signs `payload`; `external_aad` says what kind of message it is.
    #[must_use]
    pub fn sign(key: &SecretKey, alg: Algorithm, payload: &[u8], external_aad: &[u8]) -> Self {
        let (kid, alg) = (key.kid(), alg.number());
        let signature = key.sign(&sig_structure(&header(alg, kid), external_aad, payload));
        Self { kid, alg, signature }
    }

    /// The signer's kid. More than one key may have it: try them all.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// Whether it is the signature of `key` over `payload`, strictly.
    #[must_use]
    pub fn verifies(&self, key: &impl Verifies, payload: &[u8], external_aad: &[u8]) -> bool {
        let signed = sig_structure(&header(self.alg, self.kid), external_aad, payload);
        key.verify_strict(&signed, &self.signature)
    }

    /// Appends its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        write::head(out, write::TAG, TAG_SIGN1);
        write::head(out, write::ARRAY, 4);
        write::bytes(out, &header(self.alg, self.kid));
        write::head(out, write::MAP, 0);
        write::null(out);
        write::bytes(out, &self.signature);
    }

    /// Reads one. The reader is lenient: the caller writes what it has read once
    /// more and compares. `None` where it is no such signature.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.tag()? != TAG_SIGN1 {
            return None;
        }
        reader.tuple(4)?;
        let mut header = Reader::new(reader.bytes()?);
        if reader.map()? != 0 {
            return None;
        }
        reader.optional(|_| None::<()>)?;
        let signature = reader.byte_array()?;
        if header.map()? != 2 || header.uint()? != LABEL_ALG {
            return None;
        }
        let alg = Algorithm::from_number(header.int()?).ok()?.number();
        if header.uint()? != LABEL_KID {
            return None;
        }
        let kid = KeyId(header.byte_array()?);
        header.is_done().then_some(Self { kid, alg, signature })
    }
}

/// The protected header's bytes: `{1: alg, 4: kid}`.
fn header(alg: i64, kid: KeyId) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    write::head(&mut out, write::MAP, 2);
    write::uint(&mut out, LABEL_ALG);
    write::int(&mut out, alg);
    write::uint(&mut out, LABEL_KID);
    write::bytes(&mut out, &kid.0);
    out
}

#[cfg(test)]
mod tests {
    use serde_cbor::Value;

    use super::*;
    use crate::encoding::cbor;

    const AAD: &[u8] = b"tallystick/x/v1";

    fn written(signature: &DetachedSignature) -> Vec<u8> {
        let mut out = Vec::new();
        signature.write(&mut out);
        out
    }

    #[test]
    fn it_equals_the_slow_way_and_is_read_back() {
        let key = SecretKey::from_seed(&[3; 32]);
        for alg in [Algorithm::EdDsa, Algorithm::Ed25519] {
            let made = DetachedSignature::sign(&key, alg, b"payload", AAD);
            let header = cbor::encode(&cbor::map([
                (cbor::int(1), cbor::int(alg.number())),
                (cbor::int(4), cbor::bytes(key.kid())),
            ]));
            let signed = cbor::encode(&Value::Array(vec![
                cbor::text("Signature1"),
                cbor::bytes(&header),
                cbor::bytes(AAD),
                cbor::bytes(b"payload"),
            ]));
            let slow = cbor::encode(&Value::Tag(
                18,
                Box::new(Value::Array(vec![
                    cbor::bytes(&header),
                    cbor::map([]),
                    Value::Null,
                    cbor::bytes(key.sign(&signed)),
                ])),
            ));
            assert_eq!(written(&made), slow);
            let mut reader = Reader::new(&slow);
            assert_eq!(DetachedSignature::read(&mut reader), Some(made.clone()));
            assert!(reader.is_done());
            assert!(made.verifies(key.public(), b"payload", AAD));
            assert!(!made.verifies(key.public(), b"payloae", AAD));
            assert!(!made.verifies(key.public(), b"payload", b"tallystick/y/v1"));
            let other = SecretKey::from_seed(&[4; 32]);
            assert!(!made.verifies(other.public(), b"payload", AAD));
        }
    }

    #[test]
    fn other_shapes_are_not_read() {
        let key = SecretKey::from_seed(&[3; 32]);
        let good = written(&DetachedSignature::sign(&key, Algorithm::EdDsa, b"payload", AAD));
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            DetachedSignature::read(&mut reader).filter(|read| reader.is_done() && written(read) == bytes)
        };
        assert!(read(&good).is_some());
        for (at, byte) in [
            (0, 0xd1),  // another tag
            (1, 0x85),  // five items
            (4, 0x02),  // another label than alg
            (5, 0x26),  // ES256
            (6, 0x05),  // another label than kid
            (16, 0xa1), // something in the unprotected header
            (17, 0x40), // a payload
        ] {
            let mut other = good.clone();
            other[at] = byte;
            assert_eq!(read(&other), None, "byte {at}");
        }
        for end in 0..good.len() {
            assert_eq!(read(&good[..end]), None);
        }
    }
}
