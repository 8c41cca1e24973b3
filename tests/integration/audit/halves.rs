//! What a dishonest node might write about redemptions between co-ops.

use tallystick::encoding::cbor;
use tallystick::ledger::{
    CancelWished, End, Intent, IntentEnded, Place, RedeemerHalf, RequestCancelled, Wish, half_id,
};
use tallystick::log::entry_hash;
use tallystick::primitives::{CampaignId, CouponName, RedemptionId, Tag};
use tallystick::store::{Batch, beside};

use super::coupons::add;
use super::*;

const PARTNER: &str = "did:web:south.example";

fn intent(id: u8) -> Intent {
    Intent {
        id: RedemptionId([id; 16]),
        tag: Tag([6; 32]),
        name: CouponName { list: 0, index: 7 },
        issuer: PARTNER.to_owned(),
        campaign: CampaignId([5; 16]),
        currency: euro(),
        register: lane(1),
        wish: Wish::Redeem {
            basket_total: cents(1_250),
            amount: Some(cents(200)),
        },
        not_after: UnixSeconds(START + 900),
        request: Digest([2; 32]),
    }
}

fn half(id: u8, intent_entry: u64, amount: i64) -> Event {
    Event::RedeemerHalf(RedeemerHalf {
        id: RedemptionId([id; 16]),
        tag: Tag([6; 32]),
        intent_entry,
        issuer: PARTNER.to_owned(),
        issuer_entry: 9,
        issuer_hash: Digest([8; 32]),
        campaign: CampaignId([5; 16]),
        currency: euro(),
        amount: cents(amount),
        remaining_uses: Some(0),
        remaining_value: None,
        reverses: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_needs_an_open_intent_and_answers_it() {
    let world = shop().await;
    let begun = add(&world, |_| Event::Intent(intent(1)));
    add(&world, |_| half(1, begun, 200));
    let report = run(&options(&world));
    let wrong: Vec<_> = rules(&report)
        .into_iter()
        .filter(|rule| rule.contains("half") || rule.contains("intent"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // A second end, one of nothing, and one that grants something else.
    let second = add(&world, |_| half(1, begun, 200));
    let nothing = add(&world, |_| {
        Event::CancelWished(CancelWished {
            id: RedemptionId([9; 16]),
            tag: Tag([6; 32]),
            intent_entry: begun,
        })
    });
    let other = add(&world, |_| Event::Intent(intent(2)));
    let more = add(&world, |_| half(2, other, 300));
    let report = run(&options(&world));
    finds(&report, Rule::IntentUnknown, Some(second));
    finds(&report, Rule::IntentUnknown, Some(nothing));
    finds(&report, Rule::HalfDiffers, Some(more));
    assert!(!rules(&report).contains("stored_intent"));
    // An open one whose request is not there to be sent again.
    add(&world, |_| Event::Intent(intent(3)));
    finds(&run(&options(&world)), Rule::StoredIntent, None);
}

/// Puts `record` beside the entry at `index`.
fn put_beside(world: &World, index: u64, record: &[u8]) {
    let mut batch = Batch::default();
    beside::append(&mut batch, [(index, record)]).unwrap();
    engine_of(world).commit(batch).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_as_proof_is_of_the_entry_that_is_named() {
    let entry = b"an entry of the partner's log";
    let proof = |entry: &[u8]| {
        cbor::encode(&serde_cbor::Value::Array(vec![
            cbor::bytes(entry),
            cbor::bytes([0xd2]),
            cbor::text("a checkpoint"),
        ]))
    };
    let cancelled = |id: u8, intent_entry: u64| {
        Event::IntentEnded(IntentEnded {
            id: RedemptionId([id; 16]),
            tag: Tag([6; 32]),
            intent_entry,
            end: End::Cancelled {
                issuer_entry: 9,
                issuer_hash: entry_hash(entry),
            },
        })
    };
    let world = shop().await;
    let begun = add(&world, |_| Event::Intent(intent(1)));
    let good = add(&world, |_| cancelled(1, begun));
    put_beside(&world, good, &proof(entry));
    let report = run(&options(&world));
    assert!(!rules(&report).contains("proof_differs"), "{:?}", rules(&report));
    assert!(!rules(&report).contains("details_unexpected"));
    let begun = add(&world, |_| Event::Intent(intent(2)));
    let other = add(&world, |_| cancelled(2, begun));
    put_beside(&world, other, &proof(b"another entry"));
    let begun = add(&world, |_| Event::Intent(intent(3)));
    let unreadable = add(&world, |_| half(3, begun, 200));
    put_beside(&world, unreadable, b"no proof");
    let report = run(&options(&world));
    finds(&report, Rule::ProofDiffers, Some(other));
    finds(&report, Rule::ProofDiffers, Some(unreadable));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_half_has_its_requests_identity_and_no_cancelled_request_has_an_effect() {
    let world = shop().await;
    let request_id = RedemptionId([3; 16]);
    let for_partner = |id: RedemptionId| {
        move |log: &[Recorded]| {
            let first = log.iter().find_map(|recorded| match &recorded.event {
                Event::Redeemed(redeemed) => Some(redeemed.clone()),
                _ => None,
            });
            let mut redeemed = first.unwrap();
            redeemed.id = id;
            redeemed.redeemer = PARTNER.to_owned();
            redeemed.place = Place::Partner { request_id };
            redeemed.at = None;
            Event::Redeemed(redeemed)
        }
    };
    let cancelled = || {
        Event::RequestCancelled(RequestCancelled {
            request_id,
            redeemer: PARTNER.to_owned(),
        })
    };
    let wrong = add(&world, for_partner(RedemptionId([4; 16])));
    add(&world, |_| cancelled());
    let honoured = add(&world, for_partner(half_id(PARTNER, request_id)));
    let late = add(&world, |_| cancelled());
    let report = run(&options(&world));
    finds(&report, Rule::HalfIdentity, Some(wrong));
    finds(&report, Rule::CancelledHonoured, Some(honoured));
    finds(&report, Rule::CancelledHonoured, Some(late));
}
