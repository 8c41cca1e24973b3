//! From a transaction to a receipt, or to the reason why it is none.

use jiff::civil::Date;

use super::Rules;
use super::row::{Key, Row, What};
use super::summary::Sums;
use crate::cli::import::complete_journey::TENDER_NOT_RECORDED;
use crate::cli::import::sale::Sale;
use crate::cli::import::zone::{self, When};
use crate::credential::ReceiptKind;
use crate::credential::details::{Line, ReceiptDetails, Tax, Tender};
use crate::ledger::{Mark, ReceiptDraft};
use crate::primitives::{Amount, Register};

/// The kind of export, as receipts are known by it.
const NAME: &str = "core-pos";

/// A transaction whose rows have all been read.
#[derive(Debug)]
pub struct Transaction {
    /// The day of its rows.
    pub day: Date,
    /// Its key.
    pub key: Key,
    /// Its rows in their order (`trans_id`), those that could be read.
    pub rows: Vec<Row>,
    /// Why a row of it cannot be read, or may not be.
    pub spoilt: Option<String>,
    /// The line of its first row.
    pub first_line: u64,
}

/// Why a transaction is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Training and tests.
    Training,
    /// The whole of it was cancelled.
    Cancelled,
    /// It holds nothing but what was shown on the screen.
    NothingSold,
    /// Its `trans_id` repeat: rows of several transactions.
    RepeatedTransId,
    /// A row of it cannot be read.
    BadRow,
    /// A code that is not known.
    UnknownCode,
    /// Goods, tax and tenders do not add up.
    DoesNotAddUp,
    /// Goods without a tender.
    NoTender,
    /// A rule of receipts is broken.
    NotAReceipt,
}

impl Why {
    /// Its name in the counts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Cancelled => "cancelled",
            Self::NothingSold => "nothing_sold",
            Self::RepeatedTransId => "repeated_trans_id",
            Self::BadRow => "bad_row",
            Self::UnknownCode => "unknown_code",
            Self::DoesNotAddUp => "does_not_add_up",
            Self::NoTender => "no_tender",
            Self::NotAReceipt => "not_a_receipt",
        }
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Training => "training and tests (emp_no 9999 or register_no 99)",
            Self::Cancelled => "cancelled (trans_status X)",
            Self::NothingSold => "nothing but rows for the screen, or left out of reports",
            Self::RepeatedTransId => {
                "several transactions under one key that cannot be told apart (trans_id repeats)"
            }
            Self::BadRow => "a row cannot be read",
            Self::UnknownCode => "a code that is not known",
            Self::DoesNotAddUp => "goods, tax and tenders do not add up",
            Self::NoTender => "goods without a tender: unfinished, or exported in part",
            Self::NotAReceipt => "breaks a rule of receipts",
        }
    }

    /// Whether it is no sale by the data's own rules, and not missed.
    #[must_use]
    pub fn is_no_sale(self) -> bool {
        matches!(self, Self::Training | Self::Cancelled | Self::NothingSold)
    }
}

/// Why a transaction is left out, with a sentence.
pub type Left = (Why, String);

impl Transaction {
    /// What its rows come to.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for row in &self.rows {
            let minor = i128::from(row.total.minor_units());
            match row.what {
                What::Item(_) | What::OpenRing(_) | What::Discount(_) => sums.goods += minor,
                What::Tax => sums.tax += minor,
                What::Tender(_) => sums.tenders += minor,
                What::Screen | What::LeftOut | What::Unknown(_) => {}
            }
        }
        sums
    }

    /// Whether two of its rows claim the same place.
    #[must_use]
    pub fn repeats_trans_id(&self) -> bool {
        self.rows
            .windows(2)
            .any(|pair| pair[0].trans_id == pair[1].trans_id)
    }

    /// Whether it is a transaction of one customer that took place; else why
    /// it is left out.
    ///
    /// # Errors
    /// [`Left`].
    pub fn clear(&self) -> Result<(), Left> {
        let left = |why: Why| Err((why, why.meaning().to_owned()));
        if self.key.till.is_training() {
            return left(Why::Training);
        }
        if let Some(spoilt) = &self.spoilt {
            return Err((Why::BadRow, spoilt.clone()));
        }
        let cancelled = self.rows.iter().filter(|row| row.cancelled).count();
        let repeats = self.repeats_trans_id();
        if cancelled == self.rows.len() || (cancelled > 0 && !repeats) {
            return left(Why::Cancelled);
        }
        if repeats {
            return left(Why::RepeatedTransId);
        }
        Ok(())
    }

    /// Makes a receipt of a clear transaction.
    ///
    /// # Errors
    /// [`Left`].
    pub fn receipt(&self, rules: &Rules) -> Result<Sale, Left> {
        let tenders = self.tenders(rules)?;
        let lines: Vec<Line> = self.lines().cloned().collect();
        let Sums { goods, tax, .. } = self.sums();
        let amount = |minor: i128| amount(minor).map_err(|why| (Why::NotAReceipt, why));
        let total = amount(goods + tax)?;
        let tenders = self.settled(tenders, total, rules)?;
        if lines.is_empty() && tenders.is_empty() && tax == 0 {
            return Err((Why::NothingSold, Why::NothingSold.meaning().to_owned()));
        }
        // One row tells the tax of the whole, without a rate.
        let taxes = if tax == 0 {
            Vec::new()
        } else {
            vec![Tax {
                rate: None,
                net: amount(goods)?,
                tax: amount(tax)?,
            }]
        };
        let key = self.key.parts(self.day);
        let details = ReceiptDetails {
            lines,
            tenders,
            taxes,
            cashier: Some(self.key.till.employee.to_string()),
            member: rules.member(&self.key.card),
            till_reference: Some(key.join("/")),
            refers_to: None,
        };
        self.sale(rules, &key, total, details)
            .map_err(|why| (Why::NotAReceipt, why))
    }

    fn sale(
        &self,
        rules: &Rules,
        key: &[String],
        total: Amount,
        details: ReceiptDetails,
    ) -> Result<Sale, String> {
        let first = self.rows.first().ok_or("no rows")?;
        let (issued_at, shift) = zone::resolve(When::Local(first.at), &rules.zone)?;
        let draft = ReceiptDraft {
            register: Register::new(rules.register(self.key.till))
                .map_err(|error| format!("{error}; --register NAME gives another"))?,
            kind: self.kind(total),
            currency: rules.currency,
            issued_at,
            mark: Mark::Import,
            prices_include_tax: false,
            total,
            details,
        };
        draft.check(issued_at).map_err(|refusal| refusal.to_string())?;
        let place = (self.first_line, self.rows.len() as u64);
        Ok(Sale::new(NAME, key, draft, shift, place))
    }

    fn kind(&self, total: Amount) -> ReceiptKind {
        let mut amounts = self.rows.iter().filter(|row| {
            let line = matches!(row.what, What::Item(_) | What::OpenRing(_) | What::Discount(_));
            line && row.total != Amount::ZERO
        });
        match total.is_negative() {
            false => ReceiptKind::Sale,
            true if amounts.all(|row| row.void) => ReceiptKind::Void,
            true => ReceiptKind::Refund,
        }
    }

    /// Every item and open ring, and the discounts that are not zero.
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.rows.iter().filter_map(|row| match &row.what {
            What::Item(line) | What::OpenRing(line) => Some(&**line),
            What::Discount(line) if row.total != Amount::ZERO => Some(&**line),
            _ => None,
        })
    }

    /// What was paid, by kind: change is part of cash, and a void takes its
    /// tender back.
    fn tenders(&self, rules: &Rules) -> Result<Vec<(String, i128)>, Left> {
        let mut tenders: Vec<(String, i128)> = Vec::new();
        for row in &self.rows {
            let code = match &row.what {
                What::Tender(code) if row.total != Amount::ZERO => code,
                What::Unknown(what) => {
                    let why = format!("{what}, with an amount, is not known (line {})", row.line);
                    return Err((Why::UnknownCode, why));
                }
                _ => continue,
            };
            let Some(kind) = rules.tender(code) else {
                let why = format!(
                    "the tender code {code:?} is not known (line {}): --tender {code}=KIND says what it is",
                    row.line
                );
                return Err((Why::UnknownCode, why));
            };
            let paid = -i128::from(row.total.minor_units());
            match tenders.iter_mut().find(|(known, _)| known == kind) {
                Some((_, sum)) => *sum += paid,
                None => tenders.push((kind.to_owned(), paid)),
            }
        }
        Ok(tenders)
    }

    /// The tenders, if they pay the total.
    fn settled(
        &self,
        tenders: Vec<(String, i128)>,
        total: Amount,
        rules: &Rules,
    ) -> Result<Vec<Tender>, Left> {
        let due = i128::from(total.minor_units());
        let paid: i128 = tenders.iter().map(|(_, sum)| sum).sum();
        let tenders = match tenders.is_empty() {
            _ if paid == due => tenders,
            // A posting to an account: rung to departments alone, and nothing
            // says how it was paid.
            true if self.only_open_rings() => vec![(TENDER_NOT_RECORDED.to_owned(), due)],
            true => return Err((Why::NoTender, Why::NoTender.meaning().to_owned())),
            false => {
                let [due, paid, off] = [due, paid, due - paid].map(|minor| rules.shown(minor));
                let why = format!("goods and tax come to {due}, the tenders to {paid}: {off} is missing");
                return Err((Why::DoesNotAddUp, why));
            }
        };
        let tender = |(kind, sum)| {
            let amount = amount(sum).map_err(|why| (Why::NotAReceipt, why))?;
            Ok(Tender { kind, amount })
        };
        tenders
            .into_iter()
            .filter(|(_, sum)| *sum != 0)
            .map(tender)
            .collect()
    }

    fn only_open_rings(&self) -> bool {
        let mut amounts = self.rows.iter().filter(|row| row.total != Amount::ZERO);
        amounts.all(|row| matches!(row.what, What::OpenRing(_) | What::LeftOut | What::Screen))
    }
}

fn amount(minor: i128) -> Result<Amount, String> {
    let minor = i64::try_from(minor)
        .ok()
        .and_then(|minor| Amount::new(minor).ok());
    minor.ok_or_else(|| "a sum is out of range".to_owned())
}
