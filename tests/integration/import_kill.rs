//! SIGKILL in the middle of an import, again and again: what is imported in the
//! end is what an undisturbed import makes, once.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tallystick::node::Node;
use tallystick::primitives::Register;
use tallystick::server::{NodeDir, Overrides};
use tallystick::store::Guard;
use tallystick::testkit;

use crate::cli::Place;
use crate::import::Journey;

const SEED: &str = "TALLYSTICK_KILL_SEED";
const KILLS: u32 = 6;
/// In CI.
const KILLS_LONG: u32 = 20;
const DAYS: u64 = 12;
const BASKETS_A_DAY: u64 = 60;
/// Per day one of a household with a discount.
const COUPONS_A_DAY: u64 = 4;

/// Twelve days of purchases in seven stores, with redemptions.
fn journey() -> Journey {
    let (mut rows, mut redemptions) = (String::new(), String::new());
    redemptions.push_str("household_id,coupon_upc,campaign_id,redemption_date\n");
    for n in 0..DAYS * BASKETS_A_DAY {
        let (day, nth) = (n / BASKETS_A_DAY + 1, n % BASKETS_A_DAY);
        for line in 0..=n % 3 {
            rows.push_str(&format!(
                "{nth},{},{},{line},1,{}.{:02},0.00,0.{:02},0.00,1,2017-09-{day:02} {:02}:{:02}:00\n",
                n % 7,
                10_000 + n,
                n % 9,
                n % 100,
                nth % 50,
                8 + nth / 10,
                nth % 10,
            ));
        }
        if nth < COUPONS_A_DAY {
            redemptions.push_str(&format!("{nth},{},13,2017-09-{day:02}\n", 500 + n));
        }
    }
    let journey = Journey::new(&rows);
    let campaigns = "campaign_id,campaign_type,start_date,end_date\n13,Type A,2017-08-08,2017-09-24\n";
    std::fs::write(journey.dir.path().join("campaigns.csv"), campaigns).unwrap();
    std::fs::write(journey.dir.path().join("coupon_redemptions.csv"), redemptions).unwrap();
    journey
}

/// Everything that was imported, in a form that two nodes can be compared by.
fn imported(shop: &Path) -> Vec<String> {
    let directory = NodeDir::at(shop).unwrap();
    let opened = directory.open(&Overrides::default(), None).unwrap();
    let node: &Node = &opened.node;
    let mut all = Vec::new();
    for n in 0..DAYS * BASKETS_A_DAY {
        let register = Register::new(format!("store-{}", n % 7)).unwrap();
        let receipt = node
            .receipt_by_reference(&register, &(10_000 + n).to_string())
            .unwrap()
            .unwrap_or_else(|| panic!("the receipt {n} is missing"));
        let number = receipt.sequence_number;
        all.push(format!(
            "{n} {register} {number} {:?} {:?}",
            receipt.mark, receipt.details
        ));
        for store in 0..7 {
            let register = Register::new(format!("store-{store}")).unwrap();
            let reference = format!("{}/13/{}/1", n % BASKETS_A_DAY, 500 + n);
            for found in node.redemptions_by_reference(&register, &reference).unwrap() {
                all.push(format!(
                    "{reference} {register} {:?} {:?}",
                    found.at, found.made.amount
                ));
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.shut_down());
    all
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) | 1);
    println!("{SEED}={seed}");
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let journey = journey();
    let (undisturbed, killed) = (Place::new(), Place::new());
    let path = journey.path();
    let arguments = [
        "import",
        "complete-journey",
        path.as_str(),
        "--node",
        "shop",
        "--json",
    ];
    let counts: Value = undisturbed.json(&arguments);
    assert_eq!(counts["receipts_issued"], DAYS * BASKETS_A_DAY, "{counts}");
    assert_eq!(
        counts["coupons"]["redemptions_made"],
        DAYS * COUPONS_A_DAY,
        "{counts}"
    );
    let entries = DAYS * (BASKETS_A_DAY + 2 * COUPONS_A_DAY);
    let guard = killed.shop().with_extension("guard");
    let size = || Guard::read(&guard).map_or(0, |state| state.size);
    for _ in 0..testkit::repeats(KILLS, KILLS_LONG) {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        // At any moment of what is left, the beginning and the end included.
        let until = size() + dice % (entries + 20 - size().min(entries));
        let mut child = killed
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while size() < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
    }
    let counts = killed.json(&arguments);
    let receipts = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(
        receipts("receipts_issued") + receipts("receipts_repeated"),
        DAYS * BASKETS_A_DAY,
        "seed {seed}: {counts}"
    );
    let entries = |place: &Place| {
        let report = place.json(&["audit", "shop", "--json"]);
        assert_eq!(report["findings_total"], 0, "seed {seed}: {report}");
        let mut entries = report["entries"].clone();
        entries.as_object_mut().unwrap().remove("status_list");
        entries
    };
    assert_eq!(entries(&killed), entries(&undisturbed), "seed {seed}");
    assert_eq!(
        imported(&killed.shop()),
        imported(&undisturbed.shop()),
        "seed {seed}"
    );
}
