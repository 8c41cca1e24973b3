//! What an import of CORE-POS comes to: every transaction in exactly one
//! bucket, with its amounts.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde_json::{Value, json};

use super::Rules;
use super::receipt::{Transaction, Why};
use crate::cli::import::sale::Sale;
use crate::cli::import::tally::Tally;
use crate::credential::ReceiptKind;
use crate::primitives::Amount;

/// Amounts in minor units, with the export's signs: tenders are negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Items, open rings and discounts.
    pub goods: i128,
    /// Tax.
    pub tax: i128,
    /// Tenders.
    pub tenders: i128,
}

impl Sums {
    /// True where what was sold was paid.
    #[must_use]
    pub fn add_up(self) -> bool {
        self.goods + self.tax + self.tenders == 0
    }
}

/// Transactions of one fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How many.
    pub transactions: u64,
    /// Their rows that could be read.
    pub rows: u64,
    /// Their amounts.
    pub sums: Sums,
}

impl Bucket {
    fn add(&mut self, rows: u64, sums: Sums) {
        *self += Self {
            transactions: 1,
            rows,
            sums,
        };
    }

    fn json(&self) -> Value {
        json!({
            "transactions": self.transactions,
            "rows": self.rows,
            "goods": minor(self.sums.goods),
            "tax": minor(self.sums.tax),
            "tenders": minor(self.sums.tenders),
        })
    }

    fn words(&self, rules: &Rules) -> String {
        let Sums { goods, tax, tenders } = self.sums;
        let [goods, tax, tenders] = [goods, tax, tenders].map(|minor| rules.shown(minor));
        format!(
            "{} transactions of {} rows: goods {goods}, tax {tax}, tenders {tenders}",
            self.transactions, self.rows
        )
    }
}

impl AddAssign for Bucket {
    fn add_assign(&mut self, other: Self) {
        self.transactions += other.transactions;
        self.rows += other.rows;
        self.sums.goods += other.sums.goods;
        self.sums.tax += other.sums.tax;
        self.sums.tenders += other.sums.tenders;
    }
}

/// What became of the transactions of an import, file by file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files read.
    pub files: u64,
    /// Keys of day, store, lane, cashier and number.
    pub keys: u64,
    /// Transactions: keys with the member's number.
    pub transactions: u64,
    /// Transactions in which a `trans_id` repeats.
    pub repeat_trans_id: u64,
    /// Transactions that are clear and took place.
    pub clear: Bucket,
    /// How many of them add up to zero.
    pub add_up: u64,
    /// Transactions that were given to the node as receipts.
    pub receipts: Bucket,
    /// Receipts by type and the like.
    pub refunds: u64,
    pub voids: u64,
    pub of_zero: u64,
    pub without_tender: u64,
    /// Transactions that were left out, by reason.
    pub left_out: BTreeMap<Why, Bucket>,
}

impl Summary {
    /// Counts a transaction that was looked at.
    pub fn seen(&mut self, transaction: &Transaction) {
        self.transactions += 1;
        self.repeat_trans_id += u64::from(transaction.repeats_trans_id());
    }

    /// Counts one that is clear and took place.
    pub fn clear(&mut self, rows: u64, sums: Sums) {
        self.clear.add(rows, sums);
        self.add_up += u64::from(sums.add_up());
    }

    /// Counts one that is given to the node.
    pub fn receipt(&mut self, rows: u64, sums: Sums, sale: &Sale) {
        self.receipts.add(rows, sums);
        let is = |kind| {
            sale.draft
                .as_ref()
                .is_some_and(|draft| draft.draft().kind == kind)
        };
        self.refunds += u64::from(is(ReceiptKind::Refund));
        self.voids += u64::from(is(ReceiptKind::Void));
        self.of_zero += u64::from(sale.total == Amount::ZERO);
        self.without_tender += u64::from(!sums.add_up());
    }

    /// Counts one that is left out.
    pub fn left_out(&mut self, why: Why, rows: u64, sums: Sums) {
        self.left_out.entry(why).or_default().add(rows, sums);
    }

    /// Adds another file's.
    pub fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.keys += other.keys;
        self.transactions += other.transactions;
        self.repeat_trans_id += other.repeat_trans_id;
        self.clear += other.clear;
        self.add_up += other.add_up;
        self.receipts += other.receipts;
        self.refunds += other.refunds;
        self.voids += other.voids;
        self.of_zero += other.of_zero;
        self.without_tender += other.without_tender;
        for (why, bucket) in other.left_out {
            *self.left_out.entry(why).or_default() += bucket;
        }
    }

    /// As JSON, amounts in minor units.
    #[must_use]
    pub fn json(&self, rules: &Rules, tally: &Tally) -> Value {
        let left_out: serde_json::Map<String, Value> = self
            .left_out
            .iter()
            .map(|(why, bucket)| (why.word().to_owned(), bucket.json()))
            .collect();
        let mut clear = self.clear.json();
        clear["add_up_to_zero"] = self.add_up.into();
        let mut receipts = self.receipts.json();
        receipts["refunds"] = self.refunds.into();
        receipts["voids"] = self.voids.into();
        receipts["total_zero"] = self.of_zero.into();
        receipts["tender_not_recorded"] = self.without_tender.into();
        receipts["refused_by_the_node"] = json!({
            "transactions": tally.refused,
            "rows": tally.rows_refused,
            "total": minor(tally.refused_total),
        });
        json!({
            "files": self.files,
            "currency": rules.currency.letters(),
            "keys": self.keys,
            "transactions": self.transactions,
            "repeat_trans_id": self.repeat_trans_id,
            "live_and_clear": clear,
            "receipts": receipts,
            "left_out": left_out,
        })
    }

    /// In words.
    #[must_use]
    pub fn words(&self, rules: &Rules, tally: &Tally) -> String {
        let mut text = format!(
            "{} keys (day, store, lane, cashier, number) with card_no make {} transactions; {} repeat a trans_id\n\
             live and clear: {}; {} add up to zero\n\
             receipts: {} ({} refunds, {} voids, {} of zero, {} whose tender is not recorded)",
            self.keys,
            self.transactions,
            self.repeat_trans_id,
            self.clear.words(rules),
            self.add_up,
            self.receipts.words(rules),
            self.refunds,
            self.voids,
            self.of_zero,
            self.without_tender,
        );
        if tally.refused > 0 {
            text.push_str(&format!(
                "\nof these the node refused {} of {} rows, in all {}",
                tally.refused,
                tally.rows_refused,
                rules.shown(tally.refused_total)
            ));
        }
        for (why, bucket) in &self.left_out {
            text.push_str(&format!("\nleft out, {}: {}", why.meaning(), bucket.words(rules)));
        }
        text
    }
}

/// Sums of amounts fit what JSON carries; past it the nearest is given.
fn minor(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}
