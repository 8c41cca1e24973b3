use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::ledger::TakenBy;
use crate::primitives::{RedemptionId, Register};

#[test]
fn every_refusal_has_a_row_and_no_code_stands_twice() {
    let codes: BTreeSet<&str> = TABLE.iter().map(|row| row.code).collect();
    assert_eq!(codes.len(), TABLE.len());
    // The arms of `Refusal::code` give every code there can be.
    let source = include_str!("../ledger/refusal.rs");
    let arms = source.lines().filter_map(|line| {
        let arm = line.trim().strip_prefix("Self::")?;
        Some(arm.split_once("=> \"")?.1.trim_end_matches("\","))
    });
    let mut found = 0;
    for code in arms {
        found += 1;
        assert!(codes.contains(code), "{code} has no row");
    }
    assert!(found > 30, "only {found} codes were found");
}

#[test]
fn the_document_of_errors_is_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    if std::env::var_os("TALLYSTICK_REGENERATE").is_some() {
        std::fs::write(&path, errors_md()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == errors_md(),
        "docs/errors.md differs from src/http/problem.rs; run this test with TALLYSTICK_REGENERATE=1"
    );
}

#[test]
fn statuses_and_advice_are_whole() {
    for row in TABLE {
        assert!((400..600).contains(&row.status), "{}", row.code);
        assert!(row.action.ends_with('.'), "{}", row.code);
        assert!(!row.title.ends_with('.'), "{}", row.code);
        assert!(row.status != 503 || row.retry, "{}", row.code);
    }
}

#[test]
fn a_used_coupon_says_when_and_where() {
    let taken = TakenBy {
        redemption: RedemptionId([1; 16]),
        entry: 9,
        at: UnixSeconds(1_772_896_869),
        redeemer: "did:web:coop.example".to_owned(),
        place: Place::Register(Register::new("shop1-lane3").unwrap()),
    };
    let problem = Problem::from(Refusal::CouponUsedUp(taken)).to_json();
    assert_eq!(problem["used_at"], "2026-03-07T15:21:09Z");
    assert_eq!(problem["used_register"], "shop1-lane3");
    assert_eq!(problem["type"], "/errors#coupon_used_up");
    assert_eq!(problem["status"], 422);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("2026-03-07T15:21:09Z at register shop1-lane3"));
}

#[test]
fn details_are_bounded_and_never_show_the_inside() {
    let long = Problem::new("body_invalid", "ä".repeat(5_000));
    assert_eq!(long.detail().chars().count(), DETAIL_CHARS_MAX + 1);
    let inside = Problem::from(NodeError::Inconsistent("/srv/secret".to_owned()));
    assert_eq!(inside.row().status, 500);
    assert!(!inside.to_json().to_string().contains("/srv/secret"));
}

#[test]
fn a_damaged_index_asks_for_a_restart_and_a_repeat() {
    let problem = Problem::from(NodeError::IndexDamaged("row 78".to_owned()));
    assert_eq!((problem.row().code, problem.row().status), ("index_damaged", 503));
    assert!(problem.row().retry);
    assert!(problem.detail().contains("started again") && !problem.detail().contains("78"));
}
