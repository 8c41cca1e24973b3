//! The Complete Journey's coupons, redeemed at five co-ops whose lines and nodes fail.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tallystick::testkit;

use super::{Playground, all_match, client};

/// Names the directory with the real data.
const DATA: &str = "TALLYSTICK_JOURNEY";

const HOUSEHOLDS: u32 = 40;
const DAYS: u32 = 4;

/// What is done to the nodes, a step each tenth of the redemptions.
const STEPS: [&str; 10] = [
    "cut coop-1 coop-2",
    "kill coop-3",
    "lose coop-4 coop-5",
    "start coop-3",
    "heal coop-1 coop-2",
    "kill coop-4",
    "start coop-4",
    "delay coop-2 coop-3 30",
    "heal coop-4 coop-5",
    "heal coop-2 coop-3",
];

/// Redemptions at partners must not hold up the steps that let them go on.
const STEP_WITHIN: Duration = Duration::from_secs(3);
/// Steps that may take that long without a tenth of the redemptions.
const WAITS_MAX: usize = 100;

/// Purchases and coupons made up in the data's form, which may not be handed on.
/// Every household buys each day, with a discount, and uses one coupon a day; one day
/// one of them uses another without a discount.
fn made_up(dir: &Path) -> i64 {
    let mut transactions =
        "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,\
                            coupon_match_disc,week,transaction_timestamp\n"
            .to_owned();
    let mut redemptions = "household_id,coupon_upc,campaign_id,redemption_date\n".to_owned();
    let mut value = 0;
    for day in 1..=DAYS {
        for household in 1..=HOUSEHOLDS {
            let (store, basket, cents) = (300 + household * 7 % 23, day * 1_000 + household, household + day);
            let _ = writeln!(
                transactions,
                "{household},{store},{basket},1,1,9.99,0.00,0.{cents:02},0.00,36,2017-09-{day:02} 08:{:02}:00",
                household % 60
            );
            let campaign = household % 3 + 11;
            let _ = writeln!(redemptions, "{household},51{day},{campaign},2017-09-{day:02}");
            value += i64::from(cents);
        }
    }
    let _ = writeln!(redemptions, "{},9,11,2017-09-01", HOUSEHOLDS + 1);
    let campaigns = "campaign_id,campaign_type,start_date,end_date\n11,Type A,2017-08-08,2017-09-24\n\
                     12,Type B,2017-08-08,2017-09-24\n13,Type C,2017-08-08,2017-09-24\n";
    let products = "product_id,manufacturer_id,department,brand,product_category,product_type,package_size\n";
    for (name, text) in [
        ("transactions", transactions.as_str()),
        ("coupon_redemptions", redemptions.as_str()),
        ("campaigns", campaigns),
        ("products", products),
    ] {
        std::fs::write(dir.join(format!("{name}.csv")), text).unwrap();
    }
    value
}

/// Lets the data be replayed while lines and nodes fail; gives what was made of it.
fn replay(data: &Path) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let data = data.to_str().unwrap();
    let mut playground = Playground::start(dir.path(), &["--coupons", "1", "--journey", data]);
    let (mut steps, mut waits) = (STEPS.into_iter(), 0);
    let played = loop {
        match playground.line(STEP_WITHIN) {
            Some(line) if line.starts_with("journey: {") => {
                break serde_json::from_str(&line["journey: ".len()..]).unwrap();
            }
            Some(line) => assert!(!line.contains("failed"), "{line}"),
            None => waits += 1,
        }
        assert!(waits < WAITS_MAX, "the redemptions do not come to an end");
        if let Some(step) = steps.next() {
            playground.command(step);
        }
    };
    // Whoever had finished sooner leaves lines and nodes as they were.
    for step in steps {
        playground.command(step);
    }
    let matched = all_match(&client(), &playground.nodes);
    let played: Value = played;
    assert_eq!(played["at_partners"], matched, "{played}");
    assert_eq!(played["refused"], json!([]), "{played}");
    let compared = playground.compared();
    assert_eq!(
        (&compared["matched"], &compared["unmatched"], &compared["open"]),
        (&json!(matched), &json!(0), &json!(0)),
        "{compared}"
    );
    playground.end_and_audit();
    played
}

#[test]
fn households_redeem_their_coupons_all_over_a_federation() {
    let data = tempfile::tempdir().unwrap();
    let value = made_up(data.path());
    let played = replay(data.path());
    assert_eq!(played["value"], value, "{played}");
    assert_eq!(played["worth_nothing"], 1, "{played}");
    let redeemed = played["at_partners"].as_u64().unwrap() + played["at_issuers"].as_u64().unwrap();
    assert_eq!(redeemed, u64::from(HOUSEHOLDS * DAYS));
}

#[test]
fn the_complete_journey_is_redeemed_all_over_a_federation() {
    let data = std::env::var_os(DATA).map(PathBuf::from);
    let (Some(data), 1) = (data, testkit::repeats(0, 1)) else {
        eprintln!(
            "SKIPPED: {DATA}=DIR with what scripts/complete-journey-csv has written, and TALLYSTICK_LONG_TESTS=1, run it"
        );
        return;
    };
    let played = replay(&data);
    eprintln!("{played}");
    // docs/import.md has how many there are, and for how much.
    assert_eq!(played["value"], 354_009, "{played}");
    assert_eq!(played["worth_nothing"], 233 + 189, "{played}");
}
