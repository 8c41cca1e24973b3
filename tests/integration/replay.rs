//! The Complete Journey's coupons, replayed beside its receipts.

use std::sync::Arc;

use serde_json::Value;
use tallystick::ledger::{Event, Mark, Refusal};
use tallystick::node::NodeError;
use tallystick::node::audit::{AuditOptions, Verdict, audit};
use tallystick::primitives::{Register, UnixSeconds};
use tallystick::store::Engine;

use crate::import::{Journey, Ran, import};
use crate::node::world::{
    Rows, START, World, cents, gift_card, lane, office, order, redemption, till, two_off,
};

const CAMPAIGNS: &str = "campaign_id,campaign_type,start_date,end_date\n\
    13,Type A,2017-08-08,2017-09-24\n\
    18,Type B,2016-12-24,2017-12-24\n";

/// Household 7 shops twice on the first day, with 1.00 of coupon discount, 8
/// once without; on the second day 7 again with 0.05; 9 never.
const ROWS: &str = "7,1,10,1,1,3.00,0.00,0.60,0.00,36,2017-09-01 08:00:00\n\
    8,2,11,1,1,1.00,0.00,0.00,0.00,36,2017-09-01 08:30:00\n\
    7,2,12,1,1,2.00,0.00,0.30,0.00,36,2017-09-01 09:00:00\n\
    7,2,12,2,1,1.00,0.00,0.10,0.00,36,2017-09-01 09:00:00\n\
    7,1,13,1,1,0.04,0.00,0.05,0.00,36,2017-09-02 08:00:00\n";

/// Three of one day by one household (two of them of one coupon), one by a
/// household without discount, one without a basket, one that does not fit its
/// basket, and one after its campaign's end.
const REDEMPTIONS: &str = "household_id,coupon_upc,campaign_id,redemption_date\n\
    7,500,13,2017-09-01\n\
    7,501,13,2017-09-01\n\
    7,500,13,2017-09-01\n\
    8,500,18,2017-09-01\n\
    9,500,18,2017-08-30\n\
    7,500,18,2017-09-02\n\
    9,501,13,2017-09-25\n";

fn journey() -> Journey {
    let journey = Journey::new(ROWS);
    std::fs::write(journey.dir.path().join("campaigns.csv"), CAMPAIGNS).unwrap();
    std::fs::write(journey.dir.path().join("coupon_redemptions.csv"), REDEMPTIONS).unwrap();
    journey
}

fn world() -> World {
    let world = World::sled();
    world.clock.set(START + 30 * 86_400);
    world
}

fn run(world: &World, journey: &Journey) -> Ran {
    import(world, &["complete-journey", &journey.path()])
}

/// What the log says of redemptions, in its order.
fn redeemed(world: &World) -> Vec<(Mark, Option<UnixSeconds>, i64, i64, bool, String)> {
    events(world)
        .into_iter()
        .filter_map(|(_, event)| match event {
            Event::Redeemed(r) => Some((
                r.mark,
                r.at,
                r.amount.minor_units(),
                r.basket_total.minor_units(),
                r.used_up,
                r.place.register().expect("one of the shop's own").to_string(),
            )),
            _ => None,
        })
        .collect()
}

fn events(world: &World) -> Vec<(u64, Event)> {
    let engine: Arc<dyn Engine> = world.engine();
    let mut events = Vec::new();
    tallystick::store::scan_entries(engine.as_ref(), 0, &mut |index, bytes| {
        let entry = tallystick::log::Entry::decode(bytes).unwrap();
        events.push((index, Event::from_body(entry.kind, &entry.body).unwrap().0));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    events
}

fn coupons(ran: &Ran) -> &Value {
    &ran.counts["coupons"]
}

#[test]
fn coupons_are_redeemed_at_their_own_time_for_their_share() {
    let (world, journey) = (world(), journey());
    let ran = run(&world, &journey);
    assert_eq!(ran.code, tallystick::cli::import::SOME_REJECTED, "{}", ran.stderr);
    assert_eq!(ran.counts["receipts_issued"], 4);
    let said = coupons(&ran);
    for (name, expected) in [
        ("campaigns_signed", 2),
        ("redemptions", 7),
        ("redemptions_made", 5),
        ("redemptions_rejected", 2),
        ("redemptions_without_basket", 2),
        ("redemptions_without_discount", 1),
        ("later_uses", 1),
        ("value", 100),
        ("value_rejected", 5),
    ] {
        assert_eq!(said[name], expected, "{name}: {said}");
    }
    // The last seconds of the 30th of August and the 1st of September 2017.
    let (august, september) = (Some(UnixSeconds(1_504_137_599)), Some(UnixSeconds(1_504_310_399)));
    let at =
        |at, amount, basket, register: &str| (Mark::Import, at, amount, basket, true, register.to_owned());
    assert_eq!(
        redeemed(&world),
        [
            at(august, 0, 0, "store-unknown"),
            at(september, 34, 600, "store-2"),
            at(september, 33, 600, "store-2"),
            at(september, 33, 600, "store-2"),
            at(september, 0, 100, "store-2"),
        ]
    );
    assert!(
        ran.stderr.contains("7/18/500/1") && ran.stderr.contains("9/13/501/1"),
        "{}",
        ran.stderr
    );
    // A day's redemptions come after its receipts.
    let order: Vec<u64> = events(&world)
        .iter()
        .filter(|(_, event)| matches!(event, Event::ReceiptIssued(_) | Event::Redeemed(_)))
        .map(|(_, event)| event.kind())
        .collect();
    assert_eq!(order, [4, 3, 3, 3, 4, 4, 4, 4, 3]);
}

#[test]
fn importing_again_redeems_nothing_again_and_the_log_is_clean() {
    let (world, journey) = (world(), journey());
    run(&world, &journey);
    let before = events(&world).len();
    let again = run(&world, &journey);
    assert_eq!(again.counts["receipts_repeated"], 4);
    let said = coupons(&again);
    assert_eq!(
        (
            &said["redemptions_repeated"],
            &said["redemptions_made"],
            &said["campaigns_repeated"]
        ),
        (&5.into(), &0.into(), &2.into())
    );
    assert_eq!(said["value"], 100);
    let after = events(&world);
    let effects = |events: &[(u64, Event)]| {
        let lists = events.iter().filter(|(_, event)| event.kind() == 7).count();
        events.len() - lists
    };
    // The coupons of what was refused were issued, and are not issued again.
    assert!(after.len() - before <= 2, "status lists alone");
    assert_eq!(
        effects(&after),
        1 + 2 + 4 + 6 + 5,
        "genesis, campaigns, receipts, batches, redemptions"
    );
    // Another zone has other dates, so it is another import.
    let elsewhere = import(
        &world,
        &["complete-journey", &journey.path(), "--time-zone", "+01:00"],
    );
    assert!(
        elsewhere.stderr.contains("imported before with other"),
        "{}",
        elsewhere.stderr
    );
    assert_eq!(coupons(&elsewhere)["redemptions_rejected"], 7);
    let Rows::Sled(dir) = &world.rows else {
        unreachable!("an audit is of files")
    };
    let options = AuditOptions {
        dir: dir.clone(),
        guard: Some(world.guard.clone()),
        ..AuditOptions::default()
    };
    let report = audit(&options, &mut |_, _| {}).unwrap();
    assert_eq!(report.findings.kept(), []);
    assert_eq!(report.verdict(), Verdict::Clean);
    let node = world.open();
    let register = Register::new("store-2").unwrap();
    let found = node.redemptions_by_reference(&register, "7/13/500/2").unwrap();
    assert_eq!((found.len(), found[0].at), (1, UnixSeconds(1_504_310_399)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.shut_down());
}

#[test]
fn without_redemptions_receipts_alone_are_imported() {
    let (world, journey) = (world(), Journey::new(ROWS));
    let ran = run(&world, &journey);
    assert_eq!((ran.code, &ran.counts["coupons"]), (0, &Value::Null));
    assert!(
        ran.stderr.contains("there is no coupon_redemptions.csv"),
        "{}",
        ran.stderr
    );
}

#[test]
fn only_an_import_redeems_for_nothing_and_never_ahead_of_time() {
    let world = World::memory();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = world.open();
        let campaign = node.sign_campaign(&office(), gift_card("card")).await.unwrap();
        let coupons = node
            .issue_coupons(&office(), order(campaign.id, 2))
            .await
            .unwrap();
        let lane = lane(1);
        let nothing = |n: usize| {
            let mut request = redemption(&coupons.coupons[n].credential, &lane, &format!("s{n}"), 900);
            request.amount = Some(cents(0));
            request
        };
        let refused = node.redeem(&till(&lane), nothing(0)).await.unwrap_err();
        assert!(
            matches!(refused, NodeError::Refused(Refusal::NothingToRedeem)),
            "{refused}"
        );
        world.clock.advance(1_000);
        let ahead = UnixSeconds(START + 1_001);
        let refused = node
            .enqueue_redemption(&office(), nothing(0), ahead)
            .unwrap()
            .await;
        assert!(matches!(
            refused,
            Err(NodeError::Refused(Refusal::TimeTooFar {
                seconds: 1,
                ahead: true
            }))
        ));
        let past = UnixSeconds(START + 10);
        node.enqueue_redemption(&office(), nothing(1), past)
            .unwrap()
            .await
            .unwrap();
        let found = node.redemptions_by_reference(&lane, "s1").unwrap();
        assert_eq!((found[0].at, found[0].made.amount), (past, cents(0)));
        let off = node.sign_campaign(&office(), two_off("off")).await.unwrap();
        let coupons = node
            .issue_coupons_at(&office(), order(off.id, 1), past)
            .await
            .unwrap();
        let mut request = redemption(&coupons.coupons[0].credential, &lane, "off", 900);
        request.amount = Some(cents(0));
        let refused = node.enqueue_redemption(&office(), request, past).unwrap().await;
        assert!(matches!(
            refused,
            Err(NodeError::Refused(Refusal::AmountDiffers { .. }))
        ));
        node.shut_down().await;
    });
}
