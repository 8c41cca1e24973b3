//! Receipt stubs (formats, section 3, kind 2): the short signed part of a receipt.
//!
//! They are written for every sale and read for every receipt of an audit, so
//! both are done without building values; tests prove the same bytes, and the
//! same answers, as the way of the other kinds.

use serde_cbor::Value;

use crate::encoding::cbor;
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::primitives::{Amount, Currency, Digest, KeyId, Register, UnixSeconds, limits};

use super::claims::{self, CONTENT, Claims, IAT};
use super::cose;
use super::error::CredentialError;
use super::signed::{Content, Signed};

/// What a receipt is for (formats, section 3, 'Numbers').
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceiptKind {
    /// A sale.
    Sale,
    /// Money given back for an earlier sale.
    Refund,
    /// An earlier receipt taken back.
    Void,
    /// Practice, not trade.
    Training,
    /// A receipt over nothing, for an inspection.
    Zero,
    /// A register's first.
    Start,
    /// A day's closing.
    Daily,
    /// A month's closing.
    Monthly,
    /// A year's closing.
    Yearly,
    /// What was sold while the node was out of reach, in one.
    OutageCollective,
    /// A sale that was broken off.
    Aborted,
}

impl ReceiptKind {
    /// Every kind with its number and its lower-case word.
    pub const ALL: [(Self, u64, &'static str); 11] = [
        (Self::Sale, 1, "sale"),
        (Self::Refund, 2, "refund"),
        (Self::Void, 3, "void"),
        (Self::Training, 4, "training"),
        (Self::Zero, 5, "zero"),
        (Self::Start, 6, "start"),
        (Self::Daily, 7, "daily"),
        (Self::Monthly, 8, "monthly"),
        (Self::Yearly, 9, "yearly"),
        (Self::OutageCollective, 10, "outage_collective"),
        (Self::Aborted, 11, "aborted"),
    ];

    /// Its number, 1 to 11.
    #[must_use]
    pub fn number(self) -> u64 {
        self.row().1
    }

    /// Its word, as JSON has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (Self, u64, &'static str) {
        *Self::ALL
            .iter()
            .find(|row| row.0 == self)
            .expect("every kind has a row")
    }

    /// The kind of a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.2 == word).map(|row| row.0)
    }
}

/// What a receipt stub says. It names no person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptStub {
    /// When the sale was.
    pub issued_at: UnixSeconds,
    /// The receipt's total.
    pub total: Amount,
    /// Its currency.
    pub currency: Currency,
    /// The register that made it.
    pub register: Register,
    /// The register's running number, given out by the node.
    pub sequence_number: u64,
    /// What it is for.
    pub kind: ReceiptKind,
    /// The Merkle tree hash of its details.
    pub details_root: Digest,
}

impl Content for ReceiptStub {
    const KIND: u64 = 2;
    const NAME: &'static str = "receipt";

    fn to_value(&self) -> Value {
        let content = vec![
            cbor::int(Self::KIND),
            claims::amount(self.total),
            cbor::int(self.currency.number()),
            cbor::text(self.register.as_str()),
            cbor::int(self.sequence_number),
            cbor::int(self.kind.number()),
            cbor::bytes(self.details_root),
        ];
        cbor::map([
            (cbor::int(IAT), claims::time(self.issued_at)),
            (cbor::int(CONTENT), Value::Array(content)),
        ])
    }

    fn to_payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        write::head(&mut out, write::MAP, 2);
        write::int(&mut out, IAT);
        write::uint(&mut out, self.issued_at.0);
        write::int(&mut out, CONTENT);
        write::head(&mut out, write::ARRAY, 7);
        write::uint(&mut out, Self::KIND);
        write::int(&mut out, self.total.minor_units());
        write::uint(&mut out, u64::from(self.currency.number()));
        write::text(&mut out, self.register.as_str());
        write::uint(&mut out, self.sequence_number);
        write::uint(&mut out, self.kind.number());
        write::bytes(&mut out, &self.details_root.0);
        out
    }

    fn read(payload: &Value) -> Result<Self, CredentialError> {
        const WHAT: &str =
            "a receipt's content is [2, total, currency, register, number, type, details root]";
        let claims = Claims::read(payload, &[IAT, CONTENT])?;
        let [_, total, currency, register, sequence_number, kind, details_root] =
            cbor::as_tuple::<7>(claims.need(CONTENT)?, WHAT)?;
        Ok(Self {
            issued_at: claims.time(IAT)?,
            total: claims::read_amount(total)?,
            currency: Currency::from_number(cbor::as_int(currency, WHAT)?).map_err(|_| {
                CredentialError::Content("the currency is not an ISO 4217 code with a minor unit")
            })?,
            register: Register::new(cbor::as_text(register, WHAT)?).map_err(|_| {
                CredentialError::Content("the register is not 1 to 19 characters of printable ASCII")
            })?,
            sequence_number: cbor::as_int(sequence_number, WHAT)?,
            kind: ReceiptKind::from_number(cbor::as_int(kind, WHAT)?).ok_or(CredentialError::Content(
                "a receipt type is a number from 1 to 11",
            ))?,
            details_root: Digest(cbor::as_byte_array(details_root, WHAT)?),
        })
    }
}

/// A well-formed stub, with what its signature is to be verified over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubToVerify {
    /// What it says.
    pub stub: ReceiptStub,
    /// The signer's kid.
    pub kid: KeyId,
    /// The signed bytes (RFC 9052 section 4.4).
    pub message: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
}

impl StubToVerify {
    /// Reads a stub as [`Signed::parse`] does.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialError> {
        if let Some(read) = Self::read(bytes) {
            return Ok(read);
        }
        let signed = Signed::<ReceiptStub>::parse(bytes)?;
        Ok(Self {
            kid: signed.kid(),
            message: signed.sign1().sig_structure(&[]),
            signature: *signed.sign1().signature(),
            stub: signed.into_content(),
        })
    }

    /// The quick way, which leaves what it does not take to the gate.
    fn read(bytes: &[u8]) -> Option<Self> {
        let parts = cose::Parts::read(bytes, cose::TYP_CREDENTIAL, limits::CREDENTIAL_BYTES_MAX)?;
        let stub = read_payload(parts.payload).filter(|stub| stub.to_payload() == parts.payload)?;
        Some(Self {
            stub,
            kid: parts.kid,
            message: parts.sig_structure(&[]),
            signature: parts.signature,
        })
    }
}

/// Ranges are judged here; keys, order and what follows by writing it again.
fn read_payload(payload: &[u8]) -> Option<ReceiptStub> {
    let mut reader = Reader::new(payload);
    reader.map()?;
    reader.int()?;
    let issued_at = reader.uint()?;
    reader.int()?;
    reader.array()?;
    reader.uint()?;
    let stub = ReceiptStub {
        issued_at: UnixSeconds(issued_at),
        total: Amount::new(reader.int()?).ok()?,
        currency: Currency::from_number(u16::try_from(reader.uint()?).ok()?).ok()?,
        register: Register::new(reader.text()?).ok()?,
        sequence_number: reader.uint()?,
        kind: ReceiptKind::from_number(reader.uint()?)?,
        details_root: Digest(reader.byte_array()?),
    };
    (issued_at <= limits::UNIX_SECONDS_MAX).then_some(stub)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credential::{Algorithm, fixtures};

    fn slowly(bytes: &[u8]) -> Result<StubToVerify, CredentialError> {
        Signed::<ReceiptStub>::parse(bytes).map(|signed| StubToVerify {
            stub: signed.content().clone(),
            kid: signed.kid(),
            message: signed.sign1().sig_structure(&[]),
            signature: *signed.sign1().signature(),
        })
    }

    fn any_stub() -> impl Strategy<Value = ReceiptStub> {
        let times = prop_oneof![0..100_u64, 0..=limits::UNIX_SECONDS_MAX];
        let totals = prop_oneof![-300..300_i64, -limits::AMOUNT_MAX..=limits::AMOUNT_MAX];
        let numbers = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
        let registers = "[!-~]{1,19}";
        (times, totals, registers, numbers, 1..=11_u64, any::<[u8; 32]>()).prop_map(
            |(time, total, register, sequence_number, kind, root)| ReceiptStub {
                issued_at: UnixSeconds(time),
                total: Amount::new(total).unwrap(),
                register: Register::new(&register).unwrap(),
                sequence_number,
                kind: ReceiptKind::from_number(kind).unwrap(),
                details_root: Digest(root),
                ..fixtures::stub()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_quick_ways_equal_the_slow_ones(stub in any_stub(), newer in any::<bool>()) {
            prop_assert_eq!(stub.to_payload(), cbor::encode(&stub.to_value()));
            let alg = if newer { Algorithm::Ed25519 } else { Algorithm::EdDsa };
            let bytes = stub.sign(&fixtures::key(), alg);
            let quick = StubToVerify::read(&bytes).unwrap();
            prop_assert_eq!(&quick.stub, &stub);
            prop_assert!(fixtures::key().public().verify_strict(&quick.message, &quick.signature));
            prop_assert_eq!(Ok(quick), slowly(&bytes));
        }

        #[test]
        fn changed_bytes_are_judged_as_the_gate_judges_them(
            stub in any_stub(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..3),
        ) {
            let mut bytes = stub.sign(&fixtures::key(), Algorithm::EdDsa);
            for (place, byte, how) in changes {
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = byte,
                    1 => bytes[place] ^= 1 << (byte % 8),
                    2 => bytes.insert(place, byte),
                    _ => drop(bytes.remove(place)),
                }
            }
            prop_assert_eq!(StubToVerify::parse(&bytes), slowly(&bytes));
        }
    }

    #[test]
    fn other_kinds_are_no_stubs() {
        let coupon = fixtures::coupon().sign(&fixtures::key(), Algorithm::EdDsa);
        assert_eq!(StubToVerify::parse(&coupon), slowly(&coupon));
        assert!(StubToVerify::parse(&coupon).is_err());
    }
}
