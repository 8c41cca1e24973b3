//! From the rows of one purchase to a receipt.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use super::zone::{self, Shift, When};
use crate::credential::ReceiptKind;
use crate::credential::details::{Line, ReceiptDetails, Tax, Tender};
use crate::ledger::{Mark, ReceiptDraft, WrittenDraft};
use crate::primitives::{Amount, Currency, Decimal, Digest, Register, limits};

/// What every row of a purchase says of the whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The register's name.
    pub register: String,
    /// The currency of its amounts.
    pub currency: Currency,
    /// The kind of receipt; by the sign of its total where `None`.
    pub kind: Option<ReceiptKind>,
    /// How it was paid.
    pub tender: String,
    /// The member's number.
    pub member: Option<String>,
    /// Who sat at the till.
    pub cashier: Option<String>,
}

/// One row that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it says of the purchase: most rows have that of the one before.
    pub head: Arc<Head>,
    /// The time of sale.
    pub when: When,
    /// What it says of itself.
    pub line: Line,
    /// An amount in it did not fit the currency's minor unit and was rounded.
    pub rounded: bool,
    /// Its description was longer than a receipt takes and was cut.
    pub cut: bool,
}

/// How the rows of one export are understood.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The export's name: part of what makes an import repeatable.
    pub name: String,
    /// Whether amounts include tax.
    pub prices_include_tax: bool,
    /// Whether rows of one purchase may differ in time (the first counts).
    pub times_may_differ: bool,
    /// The zone of local times.
    pub zone: TimeZone,
}

/// A purchase that is ready to become a receipt.
#[derive(Clone, Debug)]
pub struct Sale {
    /// What people call it: the key columns, joined.
    pub name: String,
    /// The receipt, until it is prepared.
    pub draft: Option<WrittenDraft>,
    /// What it comes to.
    pub total: Amount,
    /// The same for every import of this purchase from this kind of export.
    pub idempotency_key: String,
    /// Of everything that it says: another content under the same key is noticed.
    pub request: Digest,
    /// Its first row's line in the file.
    pub first_line: u64,
    /// How many rows it is made of.
    pub rows: u64,
    /// What became of its time.
    pub shift: Shift,
}

impl Sale {
    /// A purchase of the export `name`, known by `key`; `first_line` and `rows`
    /// say where it stands in the file.
    #[must_use]
    pub fn new(
        name: &str,
        key: &[String],
        draft: ReceiptDraft,
        shift: Shift,
        (first_line, rows): (u64, u64),
    ) -> Self {
        let (total, draft) = (draft.total, WrittenDraft::of(draft));
        Self {
            name: key.join("/"),
            idempotency_key: idempotency_key(name, key),
            request: digest(&draft),
            total,
            draft: Some(draft),
            first_line,
            rows,
            shift,
        }
    }
}

/// Makes a receipt of the rows of one purchase, in their order.
///
/// # Errors
/// A sentence that says what is wrong with the whole.
pub fn assemble(rules: &Rules, key: &[String], first_line: u64, rows: Vec<Row>) -> Result<Sale, String> {
    let first = rows.first().ok_or("no rows")?;
    let (head, when) = (Arc::clone(&first.head), first.when);
    if let Some(other) = rows.iter().find(|row| row.head != head) {
        return Err(difference(&head, &other.head));
    }
    if !rules.times_may_differ && rows.iter().any(|row| row.when != when) {
        return Err("its rows differ in time".to_owned());
    }
    let (issued_at, shift) = zone::resolve(when, &rules.zone)?;
    let lines: Vec<Line> = rows.into_iter().map(|row| row.line).collect();
    let head = Arc::unwrap_or_clone(head);
    let count = lines.len() as u64;
    let taxes = taxes(&lines, rules.prices_include_tax)?;
    let of_lines = total(lines.iter().map(|line| line.total))?;
    let of_taxes = total(taxes.iter().map(|tax| tax.tax))?;
    let total = if rules.prices_include_tax {
        of_lines
    } else {
        total([of_lines, of_taxes])?
    };
    let by_sign = if total.is_negative() {
        ReceiptKind::Refund
    } else {
        ReceiptKind::Sale
    };
    let tender = (total != Amount::ZERO).then_some(Tender {
        kind: head.tender,
        amount: total,
    });
    let draft = ReceiptDraft {
        register: Register::new(head.register).map_err(|error| error.to_string())?,
        kind: head.kind.unwrap_or(by_sign),
        currency: head.currency,
        issued_at,
        mark: Mark::Import,
        prices_include_tax: rules.prices_include_tax,
        total,
        details: ReceiptDetails {
            lines,
            tenders: tender.into_iter().collect(),
            taxes,
            cashier: head.cashier,
            member: head.member,
            till_reference: Some(key.join("/")),
            refers_to: None,
        },
    };
    Ok(Sale::new(&rules.name, key, draft, shift, (first_line, count)))
}

fn difference(one: &Head, other: &Head) -> String {
    let what = if one.register != other.register {
        "register"
    } else if one.member != other.member {
        "member"
    } else if one.cashier != other.cashier {
        "cashier"
    } else if one.tender != other.tender {
        "tender"
    } else if one.currency != other.currency {
        "currency"
    } else {
        "type"
    };
    format!("its rows differ in {what}")
}

fn total(amounts: impl IntoIterator<Item = Amount>) -> Result<Amount, String> {
    Amount::sum(amounts).map_err(|error| format!("its sum: {error}"))
}

/// The tax of each rate, computed once over all lines of the rate and rounded
/// half away from zero (formats, section 3, 'Totals').
fn taxes(lines: &[Line], prices_include_tax: bool) -> Result<Vec<Tax>, String> {
    let mut by_rate: BTreeMap<i128, (Decimal, i128)> = BTreeMap::new();
    for line in lines {
        let Some(rate) = line.tax_rate else { continue };
        let hundredths = rate
            .scaled(limits::RATE_PLACES_MAX)
            .ok_or("a tax rate has more than two places")?;
        let group = by_rate.entry(hundredths).or_insert((rate, 0));
        group.1 += i128::from(line.total.minor_units());
    }
    let amount = |minor: i128| {
        i64::try_from(minor)
            .ok()
            .and_then(|minor| Amount::new(minor).ok())
            .ok_or("a tax is out of range")
    };
    let mut taxes = Vec::new();
    for (hundredths, (rate, sum)) in by_rate {
        let divisor = if prices_include_tax {
            10_000 + hundredths
        } else {
            10_000
        };
        if hundredths < 0 {
            return Err(format!("the tax rate {rate} is negative"));
        }
        let tax = round_half_away(sum * hundredths, divisor);
        let net = if prices_include_tax { sum - tax } else { sum };
        taxes.push(Tax {
            rate: Some(rate),
            net: amount(net)?,
            tax: amount(tax)?,
        });
    }
    Ok(taxes)
}

fn round_half_away(number: i128, divisor: i128) -> i128 {
    let rounded = (number.abs() + divisor / 2) / divisor;
    if number < 0 { -rounded } else { rounded }
}

/// Cuts a description to what a receipt takes: control characters become
/// spaces, and of more than 200 bytes the first are kept. True if it was cut.
pub fn description(text: &str) -> (String, bool) {
    let mut text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned();
    let mut end = limits::DESCRIPTION_BYTES_MAX;
    let cut = text.len() > end;
    if cut {
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.truncate(text.trim_end().len());
    }
    (text, cut)
}

/// Visible ASCII of bounded length, whatever the key columns hold.
fn idempotency_key(name: &str, key: &[String]) -> String {
    let mut hasher = Sha256::new();
    for part in key {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let hash = Digest(hasher.finalize().into());
    format!("import/{name}/{hash}")
}

fn digest(written: &WrittenDraft) -> Digest {
    let (draft, mut hasher) = (written.draft(), Sha256::new());
    let parts: [&[u8]; 6] = [
        draft.register.as_str().as_bytes(),
        draft.kind.word().as_bytes(),
        draft.currency.letters().as_bytes(),
        &draft.issued_at.0.to_be_bytes(),
        &[u8::from(draft.prices_include_tax)],
        // The secret is the node's; the content is the same under any.
        written.details().as_bytes(),
    ];
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::UnixSeconds;
    use proptest::prelude::*;

    fn rules(prices_include_tax: bool) -> Rules {
        Rules {
            name: "test".to_owned(),
            prices_include_tax,
            times_may_differ: false,
            zone: TimeZone::UTC,
        }
    }

    fn row(total: i64, rate: Option<&str>) -> Row {
        Row {
            head: Arc::new(Head {
                register: "store-1".to_owned(),
                currency: Currency::from_letters("EUR").unwrap(),
                kind: None,
                tender: "cash".to_owned(),
                member: None,
                cashier: None,
            }),
            when: When::Local("2026-01-01 10:00:00".parse().unwrap()),
            line: Line {
                description: "Apples".to_owned(),
                quantity: Decimal::parse("1", 6).unwrap(),
                unit: None,
                unit_price: None,
                total: Amount::new(total).unwrap(),
                tax_rate: rate.map(|rate| Decimal::parse(rate, 2).unwrap()),
            },
            rounded: false,
            cut: false,
        }
    }

    fn sale(rows: Vec<Row>) -> Result<Sale, String> {
        assemble(&rules(true), &["1".to_owned()], 2, rows)
    }

    #[test]
    fn totals_decide_kind_and_tender() {
        let sale = |rows| sale(rows).unwrap().draft.unwrap().into_parts().0;
        let bought = sale(vec![row(144, None), row(-44, None)]);
        assert_eq!(
            (bought.kind, bought.total.minor_units()),
            (ReceiptKind::Sale, 100)
        );
        assert_eq!(bought.details.tenders.len(), 1);
        let back = sale(vec![row(-5, None)]);
        assert_eq!(back.kind, ReceiptKind::Refund);
        let nothing = sale(vec![row(0, None)]);
        assert!(nothing.details.tenders.is_empty());
        for draft in [bought, back, nothing] {
            draft.check(draft.issued_at).unwrap();
        }
    }

    #[test]
    fn rows_of_one_purchase_agree() {
        let mut other = row(1, None);
        Arc::make_mut(&mut other.head).member = Some("7".to_owned());
        assert_eq!(
            sale(vec![row(1, None), other]).unwrap_err(),
            "its rows differ in member"
        );
        let mut later = row(1, None);
        later.when = When::Local("2026-01-01 10:00:01".parse().unwrap());
        assert!(sale(vec![row(1, None), later]).is_err());
    }

    #[test]
    fn keys_tell_parts_apart_and_contents_too() {
        let key = |parts: &[&str]| {
            let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            idempotency_key("x", &parts)
        };
        assert_ne!(key(&["a/b", "c"]), key(&["a", "b/c"]));
        assert!(key(&["ä".repeat(500).as_str()]).len() <= limits::IDEMPOTENCY_KEY_CHARS_MAX);
        let one = sale(vec![row(1, None)]).unwrap();
        let other = sale(vec![row(2, None)]).unwrap();
        assert_eq!(one.idempotency_key, other.idempotency_key);
        assert_ne!(one.request, other.request);
        assert_eq!(one.draft.unwrap().draft().issued_at, UnixSeconds(1_767_261_600));
    }

    #[test]
    fn descriptions_fit() {
        let (text, cut) = description(&format!(" a\tb{}", "ä".repeat(200)));
        assert!(cut && text.starts_with("a b") && text.len() <= limits::DESCRIPTION_BYTES_MAX);
        assert_eq!(description("Äpfel "), ("Äpfel".to_owned(), false));
    }

    proptest! {
        #[test]
        fn computed_taxes_pass_the_nodes_rules(
            lines in proptest::collection::vec((-100_000_i64..100_000, 0..4_usize), 1..20), includes: bool,
        ) {
            let rates = [None, Some("0"), Some("7.00"), Some("19.00")];
            let rows = lines.iter().map(|(total, rate)| row(*total, rates[*rate])).collect();
            let sale = assemble(&rules(includes), &["1".to_owned()], 1, rows).unwrap();
            let (draft, _) = sale.draft.unwrap().into_parts();
            prop_assert!(draft.check(draft.issued_at).is_ok());
        }
    }
}
