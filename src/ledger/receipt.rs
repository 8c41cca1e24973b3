//! What a receipt must add up to (formats, section 3, 'Totals').

use crate::credential::ReceiptKind;
use crate::credential::details::{Line, ReceiptDetails, WrittenDetails, is_tender_kind};
use crate::primitives::{Amount, Currency, Decimal, Register, UnixSeconds, limits};

use super::event::Mark;
use super::refusal::Refusal;

/// A receipt as a till means it, before it has a number and a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptDraft {
    /// The register it is issued at.
    pub register: Register,
    /// Sale, refund, void or training.
    pub kind: ReceiptKind,
    /// The currency of every amount.
    pub currency: Currency,
    /// The time of sale.
    pub issued_at: UnixSeconds,
    /// How that time came about.
    pub mark: Mark,
    /// Whether line totals include tax.
    pub prices_include_tax: bool,
    /// What the receipt comes to.
    pub total: Amount,
    /// Lines, tenders, taxes and the rest.
    pub details: ReceiptDetails,
}

impl ReceiptDraft {
    /// Checks everything that can be checked without the log.
    ///
    /// # Errors
    /// [`Refusal::ReceiptInvalid`] with a sentence that names the member and
    /// the numbers; [`Refusal::TimeTooFar`].
    pub fn check(&self, now: UnixSeconds) -> Result<(), Refusal> {
        self.check_time(now)?;
        self.check_texts()?;
        self.check_sign()?;
        self.check_sums()?;
        self.check_taxes()
    }

    fn check_time(&self, now: UnixSeconds) -> Result<(), Refusal> {
        let seconds = self.issued_at.distance(now);
        let marked = self.mark != Mark::Live;
        let ahead = self.issued_at > now;
        if seconds > limits::CLOCK_SKEW_SECONDS_MAX && (ahead || !marked) {
            return Err(Refusal::TimeTooFar { seconds, ahead });
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), Refusal> {
        let details = &self.details;
        if details.leaf_count() == 0 {
            return invalid("a receipt has at least one line, tender, tax or reference".to_owned());
        }
        at_most("lines", details.lines.len(), limits::RECEIPT_LINES_MAX)?;
        at_most("tenders", details.tenders.len(), limits::RECEIPT_TENDERS_MAX)?;
        at_most("taxes", details.taxes.len(), limits::RECEIPT_TENDERS_MAX)?;
        details.lines.iter().try_for_each(check_line)?;
        let references = [
            ("cashier", &details.cashier),
            ("member", &details.member),
            ("till_reference", &details.till_reference),
            ("refers_to", &details.refers_to),
        ];
        for (name, value) in references {
            if let Some(value) = value {
                text(name, value, limits::REFERENCE_BYTES_MAX)?;
            }
        }
        for tender in &details.tenders {
            if !is_tender_kind(&tender.kind) {
                return invalid(format!(
                    "the tender kind {:?} is not a snake_case word of up to {} characters",
                    tender.kind,
                    limits::TENDER_KIND_CHARS_MAX
                ));
            }
        }
        Ok(())
    }

    fn check_sign(&self) -> Result<(), Refusal> {
        let total = self.total.minor_units();
        match self.kind {
            ReceiptKind::Sale if total < 0 => invalid("a sale's total is not negative".to_owned()),
            ReceiptKind::Refund | ReceiptKind::Void if total > 0 => {
                invalid("a refund's and a void's total is not positive".to_owned())
            }
            ReceiptKind::Sale | ReceiptKind::Refund | ReceiptKind::Void | ReceiptKind::Training => Ok(()),
            _ => invalid("tills issue receipts of type sale, refund, void or training".to_owned()),
        }
    }

    fn check_sums(&self) -> Result<(), Refusal> {
        let details = &self.details;
        let lines = sum("lines", details.lines.iter().map(|line| line.total))?;
        let taxes = sum("taxes", details.taxes.iter().map(|tax| tax.tax))?;
        let due = if self.prices_include_tax {
            lines
        } else {
            sum("lines and taxes", [lines, taxes])?
        };
        if due != self.total {
            let what = if self.prices_include_tax {
                "the lines"
            } else {
                "the lines and taxes"
            };
            return invalid(format!("{what} sum to {due}, the total is {}", self.total));
        }
        let tendered = sum("tenders", details.tenders.iter().map(|tender| tender.amount))?;
        if tendered != self.total {
            return invalid(format!(
                "the tenders sum to {tendered}, the total is {}",
                self.total
            ));
        }
        Ok(())
    }

    /// Per rate, the tax given differs from the tax computed by at most one
    /// minor unit for each line of that rate. Where some line tells no rate,
    /// the tax is computed from its own net amount instead of from the lines.
    fn check_taxes(&self) -> Result<(), Refusal> {
        let lines = &self.details.lines;
        let unrated = lines.iter().filter(|line| line.tax_rate.is_none()).count();
        let mut rates: Vec<i128> = Vec::new();
        for tax in &self.details.taxes {
            let Some(rate) = tax.rate else { continue };
            let hundredths = rate_hundredths(rate)?;
            if rates.contains(&hundredths) {
                return invalid(format!("the tax rate {rate} stands twice in taxes"));
            }
            rates.push(hundredths);
            let group = self.group(hundredths)?;
            let net = i128::from(tax.net.minor_units());
            let given = i128::from(tax.tax.minor_units());
            let (base, includes) = if unrated > 0 {
                (net, false)
            } else {
                let whole = if self.prices_include_tax { net + given } else { net };
                if whole != group.total {
                    return invalid(format!(
                        "net{} of the tax rate {rate} is {whole}, its lines sum to {}",
                        if self.prices_include_tax { " and tax" } else { "" },
                        group.total
                    ));
                }
                (group.total, self.prices_include_tax)
            };
            within(rate, given, base, includes, hundredths, group.lines + unrated)?;
        }
        let told = self.details.taxes.iter().all(|tax| tax.rate.is_some());
        for line in lines {
            let Some(rate) = line.tax_rate else { continue };
            let hundredths = rate_hundredths(rate)?;
            if told && unrated == 0 && !rates.contains(&hundredths) {
                rates.push(hundredths);
                let group = self.group(hundredths)?;
                within(
                    rate,
                    0,
                    group.total,
                    self.prices_include_tax,
                    hundredths,
                    group.lines,
                )?;
            }
        }
        Ok(())
    }

    fn group(&self, hundredths: i128) -> Result<Group, Refusal> {
        let mut group = Group { total: 0, lines: 0 };
        for line in &self.details.lines {
            if let Some(rate) = line.tax_rate
                && rate_hundredths(rate)? == hundredths
            {
                group.total += i128::from(line.total.minor_units());
                group.lines += 1;
            }
        }
        Ok(group)
    }
}

/// A draft with its details written, once for all that is made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenDraft {
    draft: ReceiptDraft,
    details: WrittenDetails,
}

impl WrittenDraft {
    /// Writes the details of `draft`.
    #[must_use]
    pub fn of(draft: ReceiptDraft) -> Self {
        let details = draft.details.write();
        Self { draft, details }
    }

    /// The draft.
    #[must_use]
    pub fn draft(&self) -> &ReceiptDraft {
        &self.draft
    }

    /// Its details as they are written.
    #[must_use]
    pub fn details(&self) -> &WrittenDetails {
        &self.details
    }

    /// Both.
    #[must_use]
    pub fn into_parts(self) -> (ReceiptDraft, WrittenDetails) {
        (self.draft, self.details)
    }
}

/// The time of sale that a receipt's entry tells: where it is not the entry's own.
#[must_use]
pub fn own_time(issued_at: UnixSeconds, entry_time: UnixSeconds) -> Option<UnixSeconds> {
    (issued_at != entry_time).then_some(issued_at)
}

struct Group {
    total: i128,
    lines: usize,
}

fn within(
    rate: Decimal,
    given: i128,
    base: i128,
    base_includes_tax: bool,
    hundredths: i128,
    lines: usize,
) -> Result<(), Refusal> {
    // tax = base * rate / 100 on net amounts, base * rate / (100 + rate) on gross ones;
    // everything times 10,000, so that the comparison is exact.
    let divisor = if base_includes_tax {
        10_000 + hundredths
    } else {
        10_000
    };
    let tolerance = lines.max(1) as i128;
    if (given * divisor - base * hundredths).abs() <= tolerance * divisor {
        return Ok(());
    }
    let computed = (base * hundredths + divisor / 2).div_euclid(divisor);
    invalid(format!(
        "the tax at the rate {rate} comes to {computed}, {given} is given; one minor unit a line may differ"
    ))
}

fn rate_hundredths(rate: Decimal) -> Result<i128, Refusal> {
    match rate.scaled(limits::RATE_PLACES_MAX) {
        Some(hundredths) if (0..=100_000).contains(&hundredths) => Ok(hundredths),
        _ => invalid(format!("the tax rate {rate} is not between 0 and 1000 percent")),
    }
}

fn sum(what: &str, amounts: impl IntoIterator<Item = Amount>) -> Result<Amount, Refusal> {
    Amount::sum(amounts).map_err(|error| Refusal::ReceiptInvalid(format!("the sum of the {what}: {error}")))
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most {
        Ok(())
    } else {
        invalid(format!("{count} {what}, at most {most} are allowed"))
    }
}

fn text(what: &str, value: &str, bytes_max: usize) -> Result<(), Refusal> {
    if value.is_empty() || value.len() > bytes_max {
        return invalid(format!(
            "{what} has {} bytes, 1 to {bytes_max} are allowed",
            value.len()
        ));
    }
    if value.chars().any(char::is_control) {
        return invalid(format!("{what} holds a control character"));
    }
    Ok(())
}

fn places(what: &str, decimal: Option<Decimal>, most: u8) -> Result<(), Refusal> {
    match decimal {
        Some(decimal) if decimal.places > most => {
            invalid(format!("{what} {decimal} has more than {most} places"))
        }
        _ => Ok(()),
    }
}

/// Checks what stands on a line: lengths of texts, places of decimals.
///
/// # Errors
/// [`Refusal::ReceiptInvalid`] with a sentence that names the member.
pub fn check_line(line: &Line) -> Result<(), Refusal> {
    text("description", &line.description, limits::DESCRIPTION_BYTES_MAX)?;
    if let Some(unit) = &line.unit {
        text("unit", unit, limits::UNIT_BYTES_MAX)?;
    }
    places("quantity", Some(line.quantity), limits::QUANTITY_PLACES_MAX)?;
    places("unit_price", line.unit_price, limits::UNIT_PRICE_PLACES_MAX)?;
    places("tax_rate", line.tax_rate, limits::RATE_PLACES_MAX)
}

fn invalid<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal::ReceiptInvalid(why))
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
