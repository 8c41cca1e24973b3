//! Receipt stubs (formats, section 3, kind 2): the short signed part of a receipt.

use serde_cbor::Value;

use crate::encoding::cbor;
use crate::primitives::{Amount, Currency, Digest, Register, UnixSeconds};

use super::claims::{self, CONTENT, Claims, IAT};
use super::error::CredentialError;
use super::signed::Content;

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
