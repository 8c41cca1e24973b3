//! `import core-pos`: exports made by hand, a case for each rule of
//! docs/import.md, and the whole sample where it is at hand.
#![allow(clippy::unwrap_used)]

mod export;
mod files;
mod rules;
mod sample;

use std::path::PathBuf;

use serde_json::Value;
use tallystick::credential::{ReceiptStub, Signed};
use tallystick::node::ReceiptAnswer;

use self::export::Row;
use crate::import::{Ran, import, receipt, world};
use crate::node::world::World;

/// A node, and a directory for exports.
struct Coop {
    world: World,
    dir: tempfile::TempDir,
}

impl Coop {
    fn new() -> Self {
        Self {
            world: world(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn report(&self) -> PathBuf {
        self.dir.path().join("report.csv")
    }

    /// Imports rows in the older tables' order.
    fn import(&self, rows: &[Row], options: &[&str]) -> Ran {
        let file = self.file("export.csv", export::older(rows));
        self.import_files(&[&file], options)
    }

    fn import_files(&self, files: &[&str], options: &[&str]) -> Ran {
        let report = self.report().display().to_string();
        let ran = import(
            &self.world,
            &[&["core-pos"], files, &["--report", &report], options].concat(),
        );
        every_row_is_in_one_bucket(&ran.counts);
        ran
    }

    fn reports(&self, text: &str) -> bool {
        std::fs::read_to_string(self.report()).unwrap().contains(text)
    }

    /// The receipt of a transaction at lane 3 by cashier 7 on the usual day.
    #[track_caller]
    fn receipt(&self, number: u32, card: &str) -> ReceiptAnswer {
        let reference = format!("2026-03-07/0/3/7/{number}/{card}");
        receipt(&self.world, "lane3", &reference).unwrap_or_else(|| panic!("no receipt {reference}"))
    }
}

fn stub(receipt: &ReceiptAnswer) -> ReceiptStub {
    Signed::<ReceiptStub>::parse(&receipt.stub)
        .unwrap()
        .content()
        .clone()
}

fn tenders(receipt: &ReceiptAnswer) -> Vec<(&str, i64)> {
    let tenders = receipt.details.tenders.iter();
    tenders
        .map(|tender| (tender.kind.as_str(), tender.amount.minor_units()))
        .collect()
}

fn lines(receipt: &ReceiptAnswer) -> Vec<(&str, i64)> {
    let lines = receipt.details.lines.iter();
    lines
        .map(|line| (line.description.as_str(), line.total.minor_units()))
        .collect()
}

fn number(json: &Value) -> i64 {
    json.as_i64().unwrap()
}

/// How many transactions were left out for this reason.
fn left_out(ran: &Ran, why: &str) -> i64 {
    let bucket = &ran.counts["core_pos"]["left_out"][why];
    bucket["transactions"].as_i64().unwrap_or(0)
}

#[track_caller]
fn every_row_is_in_one_bucket(counts: &Value) {
    let core = &counts["core_pos"];
    let left_out = core["left_out"].as_object().unwrap();
    let all = |member: &str| {
        let left: i64 = left_out.values().map(|bucket| number(&bucket[member])).sum();
        left + number(&core["receipts"][member])
    };
    assert_eq!(
        number(&counts["rows"]),
        all("rows") + number(&counts["rows_bad"]),
        "{counts}"
    );
    assert_eq!(number(&core["transactions"]), all("transactions"), "{counts}");
    let no_sale: i64 = ["training", "cancelled", "nothing_sold"]
        .iter()
        .filter_map(|why| left_out.get(*why))
        .map(|bucket| number(&bucket["rows"]))
        .sum();
    let settled = ["rows_imported", "rows_bad", "rows_of_rejected_receipts"]
        .iter()
        .map(|member| number(&counts[*member]))
        .sum::<i64>();
    assert_eq!(number(&counts["rows"]), settled + no_sale, "{counts}");
    let refused = number(&core["receipts"]["refused_by_the_node"]["transactions"]);
    let issued = number(&counts["receipts_issued"]) + number(&counts["receipts_repeated"]);
    assert_eq!(
        number(&core["receipts"]["transactions"]),
        issued + refused,
        "{counts}"
    );
}
