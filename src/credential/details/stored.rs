//! The stored form of details, read the quick way.
//!
//! An audit and every repeated answer read millions of them. What is read here
//! is written again and compared, so it is accepted only if it is, byte for
//! byte, what [`ReceiptDetails::encode`] writes of it; anything else is left to
//! the gate, which also says what is wrong. So ranges are judged here, while
//! lengths of arrays, the order of labels, one that stands twice and what follows
//! come out in the comparison.

use crate::encoding::cbor_read::Reader;
use crate::primitives::{Amount, Decimal, limits};

use super::{
    LABEL_CASHIER, LABEL_LINE, LABEL_MEMBER, LABEL_REFERS_TO, LABEL_TAX, LABEL_TENDER, LABEL_TILL_REFERENCE,
    Line, ReceiptDetails, Tax, Tender, has_room, is_tender_kind,
};

/// Details and secret, to be compared with `bytes` once they are written again.
pub(super) fn read(bytes: &[u8]) -> Option<(ReceiptDetails, [u8; 32])> {
    if bytes.len() > limits::DETAILS_BYTES_MAX {
        return None;
    }
    let mut reader = Reader::new(bytes);
    reader.array()?;
    let secret = reader.byte_array()?;
    let mut details = ReceiptDetails::default();
    let count = reader.array()?;
    for _ in 0..count {
        reader.array()?;
        let label = reader.uint()?;
        leaf(&mut reader, label, &mut details)?;
    }
    (count > 0 && has_room(&details)).then_some((details, secret))
}

fn leaf(reader: &mut Reader<'_>, label: u64, details: &mut ReceiptDetails) -> Option<()> {
    match label {
        LABEL_LINE => details.lines.push(line(reader)?),
        LABEL_TENDER => details.tenders.push(tender(reader)?),
        LABEL_TAX => details.taxes.push(tax(reader)?),
        LABEL_CASHIER => details.cashier = Some(single(reader)?),
        LABEL_MEMBER => details.member = Some(single(reader)?),
        LABEL_TILL_REFERENCE => details.till_reference = Some(single(reader)?),
        LABEL_REFERS_TO => details.refers_to = Some(single(reader)?),
        _ => return None,
    }
    Some(())
}

fn line(reader: &mut Reader<'_>) -> Option<Line> {
    reader.array()?;
    Some(Line {
        description: text(reader, limits::DESCRIPTION_BYTES_MAX)?,
        quantity: decimal(reader, limits::QUANTITY_PLACES_MAX)?,
        unit: reader.optional(|reader| text(reader, limits::UNIT_BYTES_MAX))?,
        unit_price: reader.optional(|reader| decimal(reader, limits::UNIT_PRICE_PLACES_MAX))?,
        total: amount(reader)?,
        tax_rate: reader.optional(|reader| decimal(reader, limits::RATE_PLACES_MAX))?,
    })
}

fn tender(reader: &mut Reader<'_>) -> Option<Tender> {
    reader.array()?;
    let kind = text(reader, limits::TENDER_KIND_CHARS_MAX)?;
    Some(Tender {
        kind: is_tender_kind(&kind).then_some(kind)?,
        amount: amount(reader)?,
    })
}

fn tax(reader: &mut Reader<'_>) -> Option<Tax> {
    reader.array()?;
    Some(Tax {
        rate: reader.optional(|reader| decimal(reader, limits::RATE_PLACES_MAX))?,
        net: amount(reader)?,
        tax: amount(reader)?,
    })
}

fn single(reader: &mut Reader<'_>) -> Option<String> {
    reader.array()?;
    text(reader, limits::REFERENCE_BYTES_MAX)
}

fn text(reader: &mut Reader<'_>, max: usize) -> Option<String> {
    let text = reader.text()?;
    (1..=max).contains(&text.len()).then(|| text.to_owned())
}

fn decimal(reader: &mut Reader<'_>, places_max: u8) -> Option<Decimal> {
    Decimal::parse(reader.text()?, places_max).ok()
}

fn amount(reader: &mut Reader<'_>) -> Option<Amount> {
    Amount::new(reader.int()?).ok()
}
