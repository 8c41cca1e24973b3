//! The sample that comes with CORE-POS, whole. It is no part of this project
//! and is looked for beside it.

use std::path::Path;

use tallystick::node::audit::{AuditOptions, Verdict, audit};

use super::*;
use crate::import::SOME_REJECTED;
use crate::node::world::{Rows, START};

#[test]
fn the_sample_goes_in_whole() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/core-pos-sample.csv.gz");
    if !sample.exists() {
        eprintln!("skipped: {} is not at hand", sample.display());
        return;
    }
    let world = World::sled();
    world.clock.set(START);
    let coop = Coop {
        world,
        dir: tempfile::tempdir().unwrap(),
    };
    let sample = sample.display().to_string();
    let options = ["--year", "2013", "--time-zone", "America/Chicago"];
    let ran = coop.import_files(&[&sample], &options);
    assert_eq!(ran.code, SOME_REJECTED);
    let counts = &ran.counts;
    assert_eq!(
        (&counts["rows"], &counts["rows_bad"]),
        (&92_899.into(), &0.into())
    );
    let core = &counts["core_pos"];
    assert_eq!(
        (&core["keys"], &core["transactions"], &core["repeat_trans_id"]),
        (&3_626.into(), &6_000.into(), &345.into())
    );
    let clear = &core["live_and_clear"];
    assert_eq!(
        (&clear["transactions"], &clear["add_up_to_zero"]),
        (&5_478.into(), &5_462.into())
    );
    assert_eq!(
        (&clear["goods"], &clear["tax"]),
        (&14_187_916.into(), &242_715.into())
    );
    // All of them but one, whose discount and tax stand in it twice; of 15 that
    // were posted without a tender the receipt says so.
    let receipts = &core["receipts"];
    assert_eq!(counts["receipts_issued"], 5_477);
    assert_eq!(receipts["tender_not_recorded"], 15);
    let left = |why: &str| left_out(&ran, why);
    assert_eq!(
        (
            left("training"),
            left("cancelled"),
            left("repeated_trans_id"),
            left("does_not_add_up")
        ),
        (27, 158, 337, 1)
    );
    assert_eq!(core["left_out"].as_object().unwrap().len(), 4);
    assert!(coop.reports("/0/101/90/7/1805,receipt,\"goods and tax come to 1.11, the tenders to 1.15"));
    let again = coop.import_files(&[&sample], &options);
    assert_eq!(
        (
            &again.counts["receipts_issued"],
            &again.counts["receipts_repeated"]
        ),
        (&0.into(), &5_477.into())
    );
    audit_is_clean(&coop.world, number(&receipts["goods"]) + number(&receipts["tax"]));
}

/// The log's receipts come to as much as the report says.
fn audit_is_clean(world: &World, total: i64) {
    let Rows::Sled(dir) = &world.rows else {
        panic!("an audit is of files")
    };
    let options = AuditOptions {
        dir: dir.clone(),
        guard: Some(world.guard.clone()),
        ..AuditOptions::default()
    };
    let report = audit(&options, &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    let sum: i128 = report.summary.receipts.values().map(|total| total.sum).sum();
    assert_eq!(sum, i128::from(total));
}
