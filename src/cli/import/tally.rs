//! What an import counts, and the report of what did not become a receipt.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::replay::Use;
use super::rows::{Reject, RowCounts};
use super::target::Outcome;
use crate::primitives::{Amount, Currency, limits};

/// What became of coupons that were replayed. Every row of the redemptions is
/// in exactly one of `made`, `repeated`, `refused` and `bad`.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// Campaigns signed now, and by an earlier import.
    pub campaigns: (u64, u64),
    /// Rows read.
    pub rows: u64,
    /// Rows that are bad themselves.
    pub bad: u64,
    /// Rows that are a household's later uses of one coupon.
    pub later_uses: u64,
    /// Coupons issued and redeemed now.
    pub made: u64,
    /// Redemptions that an earlier import made.
    pub repeated: u64,
    /// Redemptions that the node refused.
    pub refused: u64,
    /// Redemptions by a household that bought nothing that day.
    pub without_basket: u64,
    /// Redemptions by a household that bought without a discount that day.
    pub without_discount: u64,
    /// What was redeemed, in minor units.
    pub value: i64,
    /// What was shared out but refused, in minor units.
    pub value_refused: i64,
    /// The letters of the currency.
    pub currency: &'static str,
    /// Their file.
    pub file: String,
}

impl Replayed {
    fn count(&mut self, used: &Use) -> i64 {
        self.without_basket += u64::from(used.basket.is_none());
        self.without_discount += u64::from(used.basket.is_some() && used.value == Amount::ZERO);
        used.value.minor_units()
    }

    fn json(&self) -> Value {
        json!({
            "campaigns_signed": self.campaigns.0,
            "campaigns_repeated": self.campaigns.1,
            "redemptions": self.rows,
            "redemptions_made": self.made,
            "redemptions_repeated": self.repeated,
            "redemptions_rejected": self.bad + self.refused,
            "redemptions_without_basket": self.without_basket,
            "redemptions_without_discount": self.without_discount,
            "later_uses": self.later_uses,
            "value": self.value,
            "value_rejected": self.value_refused,
            "currency": self.currency,
        })
    }

    fn words(&self, text: &mut String) {
        let shown = |minor: i64| match Currency::from_letters(self.currency) {
            Ok(currency) => currency.show(Amount::new(minor).unwrap_or(Amount::ZERO)),
            Err(_) => minor.to_string(),
        };
        text.push_str(&format!(
            "\n{} campaigns signed, {} coupons issued and redeemed, for {} with those of before",
            self.campaigns.0,
            self.made,
            shown(self.value),
        ));
        let others = [
            (self.campaigns.1, "campaigns were signed before"),
            (self.repeated, "redemptions were imported before"),
            (
                self.later_uses,
                "redemptions are a household's later uses of one coupon, each with a coupon of its own",
            ),
            (
                self.without_basket,
                "redemptions have no purchase of their household that day: they come to nothing",
            ),
            (
                self.without_discount,
                "redemptions have a purchase without a coupon discount that day: they come to nothing",
            ),
            (self.bad, "rows of redemptions are bad"),
            (self.refused, "redemptions do not fit and were refused"),
        ];
        for (count, what) in others {
            if count > 0 {
                text.push_str(&format!("\n{count} {what}"));
            }
        }
        if self.value_refused > 0 {
            text.push_str(&format!(
                "\n{} of discount was not redeemed",
                shown(self.value_refused)
            ));
        }
    }
}

/// The counts of an import, and where rejects are written.
pub struct Tally {
    report: Option<csv::Writer<File>>,
    file: String,
    rejects: u64,
    shown: Vec<String>,
    /// Receipts issued now.
    pub issued: u64,
    /// Receipts that an earlier import issued.
    pub repeated: u64,
    /// Rows of both.
    pub rows_imported: u64,
    /// Receipts that the node refused.
    pub refused: u64,
    /// Their rows.
    pub rows_refused: u64,
    /// What they come to, in minor units.
    pub refused_total: i128,
    /// What became of coupons, where the data has them.
    pub replayed: Option<Replayed>,
}

impl Tally {
    /// Starts counting; `report` is made anew.
    ///
    /// # Errors
    /// When the report cannot be written.
    pub fn new(report: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| -> anyhow::Result<csv::Writer<File>> {
            let mut writer =
                csv::Writer::from_path(path).with_context(|| format!("cannot write {}", path.display()))?;
            writer.write_record(["file", "line", "receipt", "what", "reason"])?;
            Ok(writer)
        };
        Ok(Self {
            report: report.map(open).transpose()?,
            file: String::new(),
            rejects: 0,
            shown: Vec::new(),
            issued: 0,
            repeated: 0,
            rows_imported: 0,
            refused: 0,
            rows_refused: 0,
            refused_total: 0,
            replayed: None,
        })
    }

    /// Says which file is read from now on.
    pub fn begin(&mut self, file: &Path) {
        self.file = file.display().to_string();
    }

    /// Counts a receipt of so many rows.
    pub fn issued(&mut self, outcome: Outcome, rows: u64) {
        match outcome {
            Outcome::Issued => self.issued += 1,
            Outcome::Repeated => self.repeated += 1,
        }
        self.rows_imported += rows;
    }

    /// Counts a coupon that was redeemed.
    pub fn used(&mut self, used: &Use, outcome: Outcome) {
        let replayed = self.replayed.get_or_insert_default();
        let value = replayed.count(used);
        replayed.value = replayed.value.saturating_add(value);
        match outcome {
            Outcome::Issued => replayed.made += 1,
            Outcome::Repeated => replayed.repeated += 1,
        }
    }

    /// Counts a coupon that the node refused.
    ///
    /// # Errors
    /// When the report cannot be written.
    pub fn unused(&mut self, used: &Use, why: &str) -> anyhow::Result<()> {
        let replayed = self.replayed.get_or_insert_default();
        let value = replayed.count(used);
        replayed.value_refused = replayed.value_refused.saturating_add(value);
        replayed.refused += 1;
        let of_receipts = std::mem::replace(&mut self.file, replayed.file.clone());
        let written = self.reject(&Reject {
            line: used.line,
            receipt: Some(used.name.clone()),
            reason: format!("the node refuses this redemption: {why}"),
            whole: true,
        });
        self.file = of_receipts;
        written
    }

    /// Counts a receipt that the node refused.
    ///
    /// # Errors
    /// When the report cannot be written.
    pub fn refused(
        &mut self,
        line: u64,
        receipt: &str,
        (rows, total): (u64, Amount),
        why: &str,
    ) -> anyhow::Result<()> {
        self.refused += 1;
        self.rows_refused += rows;
        self.refused_total += i128::from(total.minor_units());
        self.reject(&Reject {
            line,
            receipt: Some(receipt.to_owned()),
            reason: format!("the node refuses it: {why}"),
            whole: true,
        })
    }

    /// Writes a reject to the report; the first few are kept for the terminal.
    ///
    /// # Errors
    /// When the report cannot be written.
    pub fn reject(&mut self, reject: &Reject) -> anyhow::Result<()> {
        let what = if reject.whole { "receipt" } else { "row" };
        let receipt = reject.receipt.as_deref().unwrap_or_default();
        self.rejects += 1;
        if self.rejects <= limits::IMPORT_REJECTS_SHOWN_MAX {
            let of = if receipt.is_empty() {
                String::new()
            } else {
                format!(" (receipt {receipt})")
            };
            self.shown
                .push(format!("line {}{of}: {}", reject.line, reject.reason));
        }
        self.report(what, reject)
    }

    /// Writes what is no sale to the report; it is no reject.
    ///
    /// # Errors
    /// When the report cannot be written.
    pub fn set_aside(&mut self, reject: &Reject) -> anyhow::Result<()> {
        self.report("no sale", reject)
    }

    fn report(&mut self, what: &str, reject: &Reject) -> anyhow::Result<()> {
        let receipt = reject.receipt.as_deref().unwrap_or_default();
        if let Some(report) = &mut self.report {
            let line = reject.line.to_string();
            let record = [
                self.file.as_str(),
                line.as_str(),
                receipt,
                what,
                reject.reason.as_str(),
            ];
            report.write_record(record).context("cannot write the report")?;
        }
        Ok(())
    }

    /// True when everything became a receipt.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rejects == 0
    }

    /// Prints the first rejects and finishes the report.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn finish(&mut self, stderr: &mut dyn Write) -> anyhow::Result<()> {
        for shown in &self.shown {
            writeln!(stderr, "{shown}")?;
        }
        let more = self.rejects - self.shown.len() as u64;
        if more > 0 {
            let hint = if self.report.is_some() {
                "the report has them"
            } else {
                "--report FILE writes them all"
            };
            writeln!(stderr, "and {more} more: {hint}")?;
        }
        if let Some(report) = &mut self.report {
            report.flush().context("cannot write the report")?;
        }
        Ok(())
    }

    /// The counts as JSON.
    #[must_use]
    pub fn json(&self, counts: &RowCounts, seconds: f64) -> Value {
        json!({
            "receipts_issued": self.issued,
            "receipts_repeated": self.repeated,
            "receipts_rejected": counts.rejected_receipts + self.refused,
            "rows": counts.rows,
            "rows_imported": self.rows_imported,
            "rows_bad": counts.bad,
            "rows_of_rejected_receipts": counts.left_out + self.rows_refused,
            "amounts_rounded": counts.rounded,
            "descriptions_cut": counts.cut,
            "times_in_a_gap": counts.gaps,
            "times_in_an_overlap": counts.overlaps,
            "coupons": self.replayed.as_ref().map(Replayed::json),
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "receipts_per_second": (self.rate(seconds) * 10.0).round() / 10.0,
        })
    }

    /// The counts in words.
    #[must_use]
    pub fn words(&self, counts: &RowCounts, seconds: f64) -> String {
        let mut text = format!(
            "{} receipts issued of {} rows in {seconds:.1} s ({:.0} a second)",
            self.issued,
            counts.rows,
            self.rate(seconds)
        );
        let others = [
            (self.repeated, "receipts were imported before"),
            (counts.bad, "rows are bad"),
            (counts.rejected_receipts + self.refused, "receipts were rejected"),
            (
                counts.left_out + self.rows_refused,
                "good rows are not imported, for their receipts were rejected",
            ),
            (
                counts.rounded,
                "rows had amounts that were rounded to the minor unit",
            ),
            (counts.cut, "descriptions were cut to 200 bytes"),
            (
                counts.gaps,
                "receipts are of a local time that the clock skipped, and were moved on",
            ),
            (
                counts.overlaps,
                "receipts are of a local time that came twice; the first was taken",
            ),
        ];
        for (count, what) in others {
            if count > 0 {
                text.push_str(&format!("\n{count} {what}"));
            }
        }
        if let Some(replayed) = &self.replayed {
            replayed.words(&mut text);
        }
        text
    }

    #[expect(clippy::cast_precision_loss, reason = "shown to people, rounded")]
    fn rate(&self, seconds: f64) -> f64 {
        if seconds > 0.0 {
            (self.issued + self.repeated) as f64 / seconds
        } else {
            0.0
        }
    }
}
