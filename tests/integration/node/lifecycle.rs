//! From an empty directory through every kind of effect, and open again.

use tallystick::ledger::{NewStatus, Refusal};
use tallystick::node::{NodeError, RevocationTarget, Scope};

use super::world::*;

fn refusal(error: NodeError) -> Refusal {
    match error {
        NodeError::Refused(refusal) => refusal,
        error => panic!("not a refusal: {error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_effect_happens_once_and_is_answered_the_same_for_ever() {
    for world in World::all() {
        let node = world.open();
        let first = story(&node, "a").await;
        assert_eq!(first.redeemed.amount, cents(200));
        assert_eq!(first.redeemed.remaining_uses, Some(0));
        assert_eq!(first.coupons.coupons.len(), 5);
        assert_eq!(first.receipt.sequence_number, 1);
        assert_eq!(first.revoked.changed, 1);
        let size = node.size();
        assert_eq!(story(&node, "a").await, first);
        assert_eq!(node.size(), size, "a repeat records nothing");
        node.shut_down().await;
        drop(node);

        let (node, report) = world.try_open().unwrap();
        assert_eq!((report.size, report.replayed), (size, 0), "{report:?}");
        assert_eq!(story(&node, "a").await, first);
        let second = story(&node, "b").await;
        assert_eq!(second.receipt.sequence_number, 2);
        assert_eq!(node.receipt(&first.receipt.id).unwrap(), first.receipt);
        assert_eq!(
            node.receipt_by_reference(&lane(1), "a-r").unwrap().unwrap(),
            first.receipt
        );
        let view = node.redemption(first.redeemed.id).unwrap();
        assert_eq!(
            (view.reversed, view.coupon),
            (cents(200), first.coupons.coupons[0].name)
        );
        assert_eq!(node.redemptions_by_reference(&lane(1), "a-s").unwrap(), [view]);
        assert_eq!(node.campaigns().len(), 2);
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_comes_back_with_everything_it_answered() {
    let world = World::memory();
    let node = world.open();
    let first = story(&node, "a").await;
    let (size, root) = head_of(&node.checkpoint());
    // What a disk held at this moment; the first node is never shut down.
    let copy = world.memory_engine().fork();
    let again = tallystick::node::Node::open(world.parts(std::sync::Arc::new(copy), world.guard()));
    let (again, report) = again.unwrap();
    assert_eq!(head_of(&again.checkpoint()), (size, root));
    assert_eq!(report.replayed, size);
    assert_eq!(story(&again, "a").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_or_a_reference_stands_for_never_changes() {
    let world = World::memory();
    let node = world.open();
    let first = story(&node, "a").await;
    let lane = lane(1);
    let coupon = |n: usize| first.coupons.coupons[n].credential.clone();

    // The same key with another body.
    let other = caller(Scope::Register(lane.clone()), "a-redeem", "another");
    let error = node
        .redeem(&other, redemption(&coupon(2), &lane, "x", 1_500))
        .await;
    assert_eq!(refusal(error.unwrap_err()), Refusal::KeyReused);
    // The same key of another scope is another key.
    let other = caller(Scope::Office, "a-redeem", "another");
    node.redeem(&other, redemption(&coupon(2), &lane, "x", 1_500))
        .await
        .unwrap();
    // The same content under another key.
    let twin = caller(Scope::Register(lane.clone()), "fresh", "a-redeem");
    let again = node
        .redeem(&twin, redemption(&coupon(0), &lane, "a-s", 1_500))
        .await;
    assert_eq!(again.unwrap(), first.redeemed);
    // Other content under the same reference and coupon.
    let error = node
        .redeem(&till(&lane), redemption(&coupon(0), &lane, "a-s", 1_600))
        .await;
    assert_eq!(refusal(error.unwrap_err()), Refusal::ReferenceReused);
    // Another coupon of the same sale.
    node.redeem(&till(&lane), redemption(&coupon(3), &lane, "a-s", 1_500))
        .await
        .unwrap();
    assert_eq!(node.redemptions_by_reference(&lane, "a-s").unwrap().len(), 2);
    // The same receipt, written in another way, under the same reference.
    let again = node
        .issue_receipt(&till(&lane), receipt(&lane, "a-r", START))
        .await;
    assert_eq!(again.unwrap(), first.receipt);
    // Another receipt under it.
    let mut other = receipt(&lane, "a-r", START);
    other.details.cashier = Some("somebody else".to_owned());
    let error = node.issue_receipt(&till(&lane), other).await;
    assert_eq!(refusal(error.unwrap_err()), Refusal::ReferenceReused);
}

#[tokio::test(flavor = "multi_thread")]
async fn coupons_are_refused_for_what_they_are() {
    let world = World::memory();
    let node = world.open();
    let first = story(&node, "a").await;
    let lane = lane(1);
    let coupon = |n: usize| first.coupons.coupons[n].credential.clone();
    let redeem = async |coupon: Vec<u8>| {
        let outcome = node
            .redeem(
                &till(&lane),
                redemption(&coupon, &lane, &till(&lane).idempotency_key, 900),
            )
            .await;
        outcome.map_err(refusal)
    };
    assert_eq!(redeem(coupon(1)).await.unwrap_err(), Refusal::CouponRevoked);
    let mut altered = coupon(2);
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert!(matches!(
        redeem(altered).await.unwrap_err(),
        Refusal::CouponForged(_)
    ));
    assert!(matches!(
        redeem(vec![1, 2, 3]).await.unwrap_err(),
        Refusal::CouponForged(_)
    ));
    let used = redeem(coupon(2)).await.unwrap();
    let Refusal::CouponUsedUp(taken) = redeem(coupon(2)).await.unwrap_err() else {
        panic!("used up")
    };
    assert_eq!((taken.redemption, taken.place.register()), (used.id, Some(&lane)));
    assert_eq!(taken.entry, used.entry.index);

    let campaign = RevocationTarget::Campaign(first.campaign.id);
    node.set_status(&office(), &campaign, NewStatus::Suspended, None)
        .await
        .unwrap();
    assert_eq!(
        redeem(coupon(3)).await.unwrap_err(),
        Refusal::CampaignClosed("suspended")
    );
    node.set_status(&office(), &campaign, NewStatus::Valid, None)
        .await
        .unwrap();
    redeem(coupon(3)).await.unwrap();
    world.clock.advance(90 * 86_400);
    assert!(matches!(
        redeem(coupon(4)).await.unwrap_err(),
        Refusal::CouponExpired(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_value_is_spent_in_parts_and_never_twice() {
    let world = World::memory();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), gift_card("card")).await.unwrap();
    let coupons = node
        .issue_coupons(&office(), order(campaign.id, 1))
        .await
        .unwrap();
    let (card, lane) = (&coupons.coupons[0].credential, lane(1));
    let spend = |reference: &str, total: i64, part: Option<i64>| {
        let mut request = redemption(card, &lane, reference, total);
        request.amount = part.map(cents);
        request
    };
    let first = node
        .redeem(&till(&lane), spend("1", 5_000, Some(700)))
        .await
        .unwrap();
    assert_eq!(
        (first.amount, first.remaining_value),
        (cents(700), Some(cents(1_300)))
    );
    let second = node.redeem(&till(&lane), spend("2", 900, None)).await.unwrap();
    assert_eq!(
        (second.amount, second.remaining_value),
        (cents(900), Some(cents(400)))
    );
    let more = node
        .redeem(&till(&lane), spend("3", 5_000, Some(401)))
        .await
        .unwrap_err();
    assert_eq!(refusal(more), Refusal::AmountTooLarge { most: cents(400) });
    node.reverse(&till(&lane), reversal(first.id, "1", Some(200), true))
        .await
        .unwrap();
    let quote = node.validate(card, basket(5_000), None).await.unwrap();
    assert_eq!(
        (quote.amount, quote.remaining_value),
        (cents(600), Some(cents(0)))
    );
    let error = node
        .reverse(&till(&lane), reversal(first.id, "1b", Some(501), true))
        .await;
    assert_eq!(
        refusal(error.unwrap_err()),
        Refusal::ReversalTooLarge { left: cents(500) }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_what_changed_and_is_signed_only_when_something_did() {
    use tallystick::credential::status_list::{Status, StatusListToken};
    let world = World::memory();
    let node = world.open();
    assert!(matches!(node.status_list(0).await, Err(NodeError::NotFound(_))));
    let first = story(&node, "a").await;
    let token = node.status_list(0).await.unwrap();
    let size = node.size();
    // Everyone who asks at once gets the one token; nothing is signed for them.
    let asked: Vec<_> = (0..32).map(|_| node.status_list(0)).collect();
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.unwrap(), token);
    }
    assert_eq!(node.size(), size);
    let status = |token: &[u8], n: usize| {
        let token = StatusListToken::parse(token).unwrap();
        token.verify(&node.credential_key()).unwrap();
        token.list().get(first.coupons.coupons[n].name.index).unwrap()
    };
    // The first use was shown at once; what followed waits its turn.
    assert_eq!(status(&token, 0), Status::UsedUp);
    assert_eq!(status(&token, 1), Status::Valid);
    let nudge = async |seconds: u64| {
        world.clock.advance(seconds);
        // Any call makes the writer look at what is due.
        let _ = node
            .validate(&first.coupons.coupons[2].credential, basket(900), None)
            .await;
        node.status_list(0).await.unwrap()
    };
    let token = nudge(1).await;
    assert_eq!(status(&token, 0), Status::Valid, "given back");
    assert_eq!(status(&token, 1), Status::Revoked);
    let version = StatusListToken::parse(&token).unwrap().list().issued_at;
    assert_eq!(version.0, START + 1, "no list is signed ahead of the clock");
    let size = node.size();
    for _ in 0..30 {
        assert_eq!(nudge(1).await, token, "nothing has changed");
    }
    assert_eq!(node.size(), size);
    // Past half of its life it is signed anew, once, however many ask.
    world.clock.advance(43_200);
    let asked: Vec<_> = (0..32).map(|_| node.status_list(0)).collect();
    let answers = futures_util::future::join_all(asked).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap() == answers[0].as_ref().unwrap())
    );
    assert_eq!(node.size(), size + 1);
}
