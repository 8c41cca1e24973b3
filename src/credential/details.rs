//! Receipt details: lines, tenders, taxes and what else stands on a receipt,
//! as leaves of a Merkle tree whose root the stub signs (formats, section 3,
//! 'Details and selective disclosure').
//!
//! A leaf is `[salt (bstr .size 16), label, value]`; salt i is the first 16
//! bytes of HMAC-SHA-256(receipt secret, i as big-endian u32). Leaves stand in
//! the order line, tender, tax, cashier, member, till reference, refunded
//! receipt. Values are arrays in the order of the JSON members (formats,
//! section 6), null for what is absent, decimals as text as written.
//!
//! Reading and writing are hot paths: leaves are written as bytes, and the tests
//! prove them equal to what the CBOR library writes; `stored` reads them back.

mod stored;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_cbor::Value;
use sha2::Sha256;

use crate::encoding::cbor::{self, GateError};
use crate::encoding::cbor_write as write;
use crate::merkle;
use crate::primitives::{Amount, Decimal, Digest, limits};

use super::claims;
use super::error::CredentialError;

const LABEL_LINE: u64 = 1;
const LABEL_TENDER: u64 = 2;
const LABEL_TAX: u64 = 3;
const LABEL_CASHIER: u64 = 4;
const LABEL_MEMBER: u64 = 5;
const LABEL_TILL_REFERENCE: u64 = 6;
const LABEL_REFERS_TO: u64 = 7;

const SALT_LEN: usize = 16;

const SECRET_LEN: usize = 32;

/// Where the secret stands in the stored form: behind the heads of the array and
/// of itself.
const SECRET_AT: usize = 1 + 2;

/// One line of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What was bought, 1 to 200 bytes.
    pub description: String,
    /// How much of it, up to six places.
    pub quantity: Decimal,
    /// The quantity's unit, 1 to 16 bytes.
    pub unit: Option<String>,
    /// The price of one unit, in the currency's major unit, up to six places.
    pub unit_price: Option<Decimal>,
    /// What counts, in minor units; of either sign.
    pub total: Amount,
    /// Percent, up to two places.
    pub tax_rate: Option<Decimal>,
}

/// The tax of one rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tax {
    /// Percent, up to two places; absent where the till does not tell it.
    pub rate: Option<Decimal>,
    /// Without tax, in minor units.
    pub net: Amount,
    /// The tax, in minor units.
    pub tax: Amount,
}

/// How a part of the total was paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tender {
    /// A snake_case word of up to 32 characters.
    pub kind: String,
    /// In minor units.
    pub amount: Amount,
}

/// Everything that stands on a receipt beside its stub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptDetails {
    /// The lines.
    pub lines: Vec<Line>,
    /// How it was paid.
    pub tenders: Vec<Tender>,
    /// The tax of each rate.
    pub taxes: Vec<Tax>,
    /// Who sat at the till.
    pub cashier: Option<String>,
    /// The member's number.
    pub member: Option<String>,
    /// The till's own reference.
    pub till_reference: Option<String>,
    /// The receipt that this one refunds or voids.
    pub refers_to: Option<String>,
}

impl ReceiptDetails {
    /// How many leaves it has. A receipt has at least one: the root of none
    /// would say that there are none.
    #[must_use]
    pub fn leaf_count(&self) -> usize {
        let singles = self.singles().iter().filter(|(_, text)| text.is_some()).count();
        self.lines.len() + self.tenders.len() + self.taxes.len() + singles
    }

    /// The leaves, salted from the receipt's `secret` (32 random bytes).
    #[must_use]
    pub fn leaves(&self, secret: &[u8; 32]) -> Vec<Vec<u8>> {
        let mut leaves = Vec::with_capacity(self.leaf_count());
        self.for_each_leaf(secret, |leaf| leaves.push(leaf.to_vec()));
        leaves
    }

    /// The details root: the RFC 6962 tree hash of the leaves.
    #[must_use]
    pub fn root(&self, secret: &[u8; 32]) -> Digest {
        let mut hashes = Vec::with_capacity(self.leaf_count());
        self.for_each_leaf(secret, |leaf| hashes.push(merkle::leaf_hash(leaf)));
        Digest(merkle::root_of(&hashes))
    }

    /// The stored form, deterministic CBOR: `[secret, [[label, value], …]]`.
    #[must_use]
    pub fn encode(&self, secret: &[u8; 32]) -> Vec<u8> {
        let mut written = self.write();
        written.put_secret(secret);
        written.bytes
    }

    /// The stored form and the details root, with every value written once.
    #[must_use]
    pub fn encode_with_root(&self, secret: &[u8; 32]) -> (Vec<u8>, Digest) {
        self.write().with_secret(secret)
    }

    /// The stored form as far as it is the same under any secret.
    #[must_use]
    pub fn write(&self) -> WrittenDetails {
        let leaves = self.leaf_count();
        let mut bytes = Vec::with_capacity(64 + 96 * leaves);
        write::head(&mut bytes, write::ARRAY, 2);
        write::bytes(&mut bytes, &[0; SECRET_LEN]);
        write::head(&mut bytes, write::ARRAY, leaves as u64);
        let mut places = Vec::with_capacity(leaves + 1);
        places.push(bytes.len());
        self.for_each_value(|label, write_value| {
            write::head(&mut bytes, write::ARRAY, 2);
            write::uint(&mut bytes, label);
            write_value(&mut bytes);
            places.push(bytes.len());
        });
        WrittenDetails { bytes, places }
    }

    /// Reads the stored form: the details and the receipt's secret.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn decode(bytes: &[u8]) -> Result<(Self, [u8; 32]), CredentialError> {
        match stored::read(bytes) {
            Some((details, secret)) if details.encode(&secret) == bytes => Ok((details, secret)),
            _ => Self::decode_slowly(bytes),
        }
    }

    /// As [`ReceiptDetails::decode`], and the details root.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn decode_with_root(bytes: &[u8]) -> Result<(Self, [u8; 32], Digest), CredentialError> {
        if let Some((details, secret)) = stored::read(bytes) {
            let (written, root) = details.encode_with_root(&secret);
            if written == bytes {
                return Ok((details, secret, root));
            }
        }
        let (details, secret) = Self::decode_slowly(bytes)?;
        let root = details.root(&secret);
        Ok((details, secret, root))
    }

    /// Through the gate: for whatever [`stored::read`] does not take, and to say
    /// what is wrong with it.
    fn decode_slowly(bytes: &[u8]) -> Result<(Self, [u8; 32]), CredentialError> {
        const WHAT: &str = "stored details are [secret, [[label, value], …]]";
        let stored = cbor::decode(bytes, limits::DETAILS_BYTES_MAX)?;
        let [secret, items] = cbor::as_tuple::<2>(&stored, WHAT)?;
        let secret = cbor::as_byte_array(secret, WHAT)?;
        let mut builder = Builder::default();
        for item in cbor::as_array(items, WHAT)? {
            let [label, value] = cbor::as_tuple::<2>(item, WHAT)?;
            builder.add(label, value)?;
        }
        Ok((builder.finish()?, secret))
    }

    /// Reads details from all their leaves. The salts are not checked (that
    /// takes the secret); the root is compared by the caller.
    ///
    /// # Errors
    /// [`CredentialError`] for none, a wrong order, or a leaf that is not of its
    /// one form.
    pub fn from_leaves(leaves: &[Vec<u8>]) -> Result<Self, CredentialError> {
        const WHAT: &str = "a leaf is [salt of 16 bytes, label, value]";
        let mut builder = Builder::default();
        for leaf in leaves {
            let leaf = cbor::decode(leaf, limits::LEAF_BYTES_MAX)?;
            let [salt, label, value] = cbor::as_tuple::<3>(&leaf, WHAT)?;
            cbor::as_byte_array::<SALT_LEN>(salt, WHAT)?;
            builder.add(label, value)?;
        }
        builder.finish()
    }

    fn singles(&self) -> [(u64, Option<&str>); 4] {
        [
            (LABEL_CASHIER, self.cashier.as_deref()),
            (LABEL_MEMBER, self.member.as_deref()),
            (LABEL_TILL_REFERENCE, self.till_reference.as_deref()),
            (LABEL_REFERS_TO, self.refers_to.as_deref()),
        ]
    }

    /// Calls `each` with label and value writer of every leaf, in order.
    fn for_each_value(&self, mut each: impl FnMut(u64, &dyn Fn(&mut Vec<u8>))) {
        for line in &self.lines {
            each(LABEL_LINE, &|out| write_line(out, line));
        }
        for tender in &self.tenders {
            each(LABEL_TENDER, &|out| write_tender(out, tender));
        }
        for tax in &self.taxes {
            each(LABEL_TAX, &|out| write_tax(out, tax));
        }
        for (label, text) in self.singles() {
            if let Some(text) = text {
                each(label, &|out| {
                    write::head(out, write::ARRAY, 1);
                    write::text(out, text);
                });
            }
        }
    }

    fn for_each_leaf(&self, secret: &[u8; 32], mut each: impl FnMut(&[u8])) {
        let salts = Salts::new(secret);
        let mut leaf = Vec::with_capacity(limits::LEAF_BYTES_MAX);
        let mut index = 0;
        self.for_each_value(|label, write_value| {
            leaf.clear();
            write::head(&mut leaf, write::ARRAY, 3);
            write::bytes(&mut leaf, &salts.salt(index));
            write::uint(&mut leaf, label);
            write_value(&mut leaf);
            each(&leaf);
            index += 1;
        });
    }
}

/// Details in their stored form, with zeros where the secret is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenDetails {
    bytes: Vec<u8>,
    /// Where each `[label, value]` begins, and where the last one ends.
    places: Vec<usize>,
}

impl WrittenDetails {
    /// The stored form under a secret of zeros: the same for the same details.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stored form under this secret, and the details root.
    #[must_use]
    pub fn with_secret(mut self, secret: &[u8; 32]) -> (Vec<u8>, Digest) {
        // A leaf is a stored item with its salt put before the label.
        const LEAF_HEAD: [u8; 2] = [0x83, 0x50];
        self.put_secret(secret);
        let salts = Salts::new(secret);
        let items = (0..).zip(self.places.windows(2));
        let hash = |(index, place): (u32, &[usize])| {
            let item = &self.bytes[place[0] + 1..place[1]];
            merkle::leaf_hash_of_parts(&[&LEAF_HEAD, &salts.salt(index), item])
        };
        let hashes: Vec<_> = items.map(hash).collect();
        (self.bytes, Digest(merkle::root_of(&hashes)))
    }

    fn put_secret(&mut self, secret: &[u8; 32]) {
        self.bytes[SECRET_AT..SECRET_AT + SECRET_LEN].copy_from_slice(secret);
    }
}

/// The details root of leaves as they were handed over: what a verifier
/// compares with the stub's.
#[must_use]
pub fn root_of_leaves(leaves: &[Vec<u8>]) -> Digest {
    let hashes: Vec<_> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
    Digest(merkle::root_of(&hashes))
}

/// The salts of a receipt's leaves: the HMAC is keyed once and cloned.
struct Salts {
    keyed: Hmac<Sha256>,
}

impl Salts {
    fn new(secret: &[u8; 32]) -> Self {
        Self {
            keyed: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"),
        }
    }

    fn salt(&self, index: u32) -> [u8; SALT_LEN] {
        let mut mac = self.keyed.clone();
        mac.update(&index.to_be_bytes());
        let full = mac.finalize().into_bytes();
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&full[..SALT_LEN]);
        salt
    }
}

fn write_line(out: &mut Vec<u8>, line: &Line) {
    write::head(out, write::ARRAY, 6);
    write::text(out, &line.description);
    write_decimal(out, line.quantity);
    match &line.unit {
        Some(unit) => write::text(out, unit),
        None => write::null(out),
    }
    write_optional_decimal(out, line.unit_price);
    write::int(out, line.total.minor_units());
    write_optional_decimal(out, line.tax_rate);
}

fn write_tender(out: &mut Vec<u8>, tender: &Tender) {
    write::head(out, write::ARRAY, 2);
    write::text(out, &tender.kind);
    write::int(out, tender.amount.minor_units());
}

fn write_tax(out: &mut Vec<u8>, tax: &Tax) {
    write::head(out, write::ARRAY, 3);
    write_optional_decimal(out, tax.rate);
    write::int(out, tax.net.minor_units());
    write::int(out, tax.tax.minor_units());
}

fn write_decimal(out: &mut Vec<u8>, decimal: Decimal) {
    decimal.with_text(|text| write::text(out, text));
}

fn write_optional_decimal(out: &mut Vec<u8>, decimal: Option<Decimal>) {
    match decimal {
        Some(decimal) => write_decimal(out, decimal),
        None => write::null(out),
    }
}

/// Takes labels and values in their order.
#[derive(Default)]
struct Builder {
    details: ReceiptDetails,
    last_label: u64,
}

impl Builder {
    fn add(&mut self, label: &Value, value: &Value) -> Result<(), CredentialError> {
        const ORDER: &str = "leaves are out of order, or a single one stands twice";
        let label: u64 = cbor::as_int(label, "a leaf's label is a number")?;
        let repeats = label == self.last_label && label <= LABEL_TAX;
        if label <= self.last_label && !repeats {
            return Err(CredentialError::Content(ORDER));
        }
        self.last_label = label;
        let details = &mut self.details;
        match label {
            LABEL_LINE => details.lines.push(read_line(value)?),
            LABEL_TENDER => details.tenders.push(read_tender(value)?),
            LABEL_TAX => details.taxes.push(read_tax(value)?),
            LABEL_CASHIER => details.cashier = Some(read_single(value)?),
            LABEL_MEMBER => details.member = Some(read_single(value)?),
            LABEL_TILL_REFERENCE => details.till_reference = Some(read_single(value)?),
            LABEL_REFERS_TO => details.refers_to = Some(read_single(value)?),
            _ => return Err(CredentialError::Content("a leaf with an unknown label")),
        }
        if has_room(details) {
            Ok(())
        } else {
            Err(CredentialError::Content("too many leaves"))
        }
    }

    fn finish(self) -> Result<ReceiptDetails, CredentialError> {
        if self.last_label == 0 {
            return Err(CredentialError::Content("a receipt has at least one leaf"));
        }
        Ok(self.details)
    }
}

/// Whether there are no more leaves of each kind than a receipt may have.
fn has_room(details: &ReceiptDetails) -> bool {
    details.lines.len() <= limits::RECEIPT_LINES_MAX
        && details.tenders.len() <= limits::RECEIPT_TENDERS_MAX
        && details.taxes.len() <= limits::RECEIPT_TENDERS_MAX
}

fn read_line(value: &Value) -> Result<Line, GateError> {
    const WHAT: &str = "a line is [description, quantity, unit, unit price, total, tax rate]";
    let [description, quantity, unit, unit_price, total, tax_rate] = cbor::as_tuple::<6>(value, WHAT)?;
    Ok(Line {
        description: claims::read_text(
            description,
            limits::DESCRIPTION_BYTES_MAX,
            "a description is text of 1 to 200 bytes",
        )?,
        quantity: read_decimal(quantity, limits::QUANTITY_PLACES_MAX)?,
        unit: cbor::as_optional(unit, |unit| {
            claims::read_text(unit, limits::UNIT_BYTES_MAX, "a unit is text of 1 to 16 bytes")
        })?,
        unit_price: read_optional_decimal(unit_price, limits::UNIT_PRICE_PLACES_MAX)?,
        total: claims::read_amount(total)?,
        tax_rate: read_optional_decimal(tax_rate, limits::RATE_PLACES_MAX)?,
    })
}

fn read_tender(value: &Value) -> Result<Tender, GateError> {
    const WHAT: &str = "a tender is [kind, amount], the kind a snake_case word of up to 32 characters";
    let [kind, amount] = cbor::as_tuple::<2>(value, WHAT)?;
    let kind = claims::read_text(kind, limits::TENDER_KIND_CHARS_MAX, WHAT)?;
    if !is_tender_kind(&kind) {
        return Err(GateError::Shape(WHAT));
    }
    Ok(Tender {
        kind,
        amount: claims::read_amount(amount)?,
    })
}

/// True for a snake_case word of up to 32 characters: a lower-case letter,
/// then lower-case letters, digits and single underscores between them.
#[must_use]
pub fn is_tender_kind(kind: &str) -> bool {
    let word =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    kind.len() <= limits::TENDER_KIND_CHARS_MAX
        && kind.starts_with(|first: char| first.is_ascii_lowercase())
        && kind.split('_').all(word)
}

fn read_tax(value: &Value) -> Result<Tax, GateError> {
    let [rate, net, tax] = cbor::as_tuple::<3>(value, "a tax is [rate, net, tax]")?;
    Ok(Tax {
        rate: read_optional_decimal(rate, limits::RATE_PLACES_MAX)?,
        net: claims::read_amount(net)?,
        tax: claims::read_amount(tax)?,
    })
}

fn read_single(value: &Value) -> Result<String, GateError> {
    const WHAT: &str = "this leaf's value is an array of one text of 1 to 128 bytes";
    let [text] = cbor::as_tuple::<1>(value, WHAT)?;
    claims::read_text(text, limits::REFERENCE_BYTES_MAX, WHAT)
}

fn read_decimal(value: &Value, places_max: u8) -> Result<Decimal, GateError> {
    const WHAT: &str = "a decimal is text such as 12, -0.5 or 0.482";
    let text = cbor::as_text(value, WHAT)?;
    let decimal = Decimal::parse(text, places_max).map_err(|_| GateError::Shape(WHAT))?;
    // A negative zero would not come back as written.
    if decimal.with_text(|written| written == text) {
        Ok(decimal)
    } else {
        Err(GateError::Shape(WHAT))
    }
}

fn read_optional_decimal(value: &Value, places_max: u8) -> Result<Option<Decimal>, GateError> {
    cbor::as_optional(value, |value| read_decimal(value, places_max))
}

#[cfg(test)]
#[path = "details_tests.rs"]
mod tests;
