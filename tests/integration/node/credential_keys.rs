//! A node that is given another key for credentials: what the old one signed goes on
//! counting, and the log names the new one before its first use.

use std::sync::Arc;

use tallystick::credential::{Content as _, ReceiptStub, SecretKey, Signed};
use tallystick::ledger::{Event, Refusal};
use tallystick::log::Entry;
use tallystick::node::keyring::Keyring;
use tallystick::node::{Node, NodeError};
use tallystick::testkit::Fault;

use super::faults::broken;
use super::world::*;

/// The world's keys with number `in_use` for credentials, and those of `held` before.
fn keys(in_use: u8, held: &[u8]) -> Arc<Keyring> {
    let key = |n: &u8| SecretKey::from_seed(&[*n; 32]);
    let first = Arc::into_inner(keyring(10)).unwrap();
    Arc::new(Keyring {
        credential: key(&in_use),
        credentials_before: held.iter().map(key).collect(),
        ..first
    })
}

/// The world's first one.
const FIRST: u8 = 11;

/// The keys that the log's entries name after entry 0: index, key, the one before.
fn named(node: &Node) -> Vec<(u64, [u8; 32], u64)> {
    (0..node.size())
        .filter_map(|index| {
            let entry = Entry::decode(&node.log_entry(index).unwrap().bytes).unwrap();
            match Event::from_body(entry.kind, &entry.body).unwrap().0 {
                Event::CredentialKeyAdded(added) => Some((index, added.key, added.previous)),
                _ => None,
            }
        })
        .collect()
}

fn public(n: u8) -> [u8; 32] {
    *SecretKey::from_seed(&[n; 32]).public().as_bytes()
}

async fn signed_by(node: &Node, reference: &str) -> SecretKey {
    let lane = lane(1);
    let sold = node
        .issue_receipt(&till(&lane), receipt(&lane, reference, START))
        .await;
    let stub = Signed::<ReceiptStub>::parse(&sold.unwrap().stub).unwrap();
    let all = [FIRST, 60, 61].map(|n| SecretKey::from_seed(&[n; 32]));
    all.into_iter()
        .find(|key| stub.verify(key.public()).is_ok())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_each_key_once_and_before_its_first_use() {
    for mut world in World::all() {
        let node = world.open();
        let first = story(&node, "a").await;
        let size = node.size();
        assert_eq!(named(&node), []);
        node.shut_down().await;
        drop(node);

        // Opening alone changes nothing.
        world.keyring = keys(60, &[FIRST]);
        let node = world.open();
        assert_eq!(node.size(), size);
        assert_eq!(node.credential_keys().len(), 2);
        // A repeat records nothing, and is the same though another key signed it.
        assert_eq!(story(&node, "a").await, first);
        assert_eq!(node.size(), size);
        assert_eq!(signed_by(&node, "new").await.kid(), node.credential_key().kid());
        assert_eq!(named(&node), [(size, public(60), 0)]);
        let lane = lane(1);
        let old = redemption(&first.coupons.coupons[2].credential, &lane, "old", 1_500);
        node.redeem(&till(&lane), old).await.unwrap();
        let issued = node
            .issue_coupons(&office(), order(first.campaign.id, 1))
            .await
            .unwrap();
        let new = redemption(&issued.coupons[0].credential, &lane, "new", 1_500);
        node.redeem(&till(&lane), new).await.unwrap();
        story(&node, "b").await;
        node.shut_down().await;
        drop(node);

        // Back to the first, and on to a third: each is named once, in a chain.
        world.keyring = keys(FIRST, &[60]);
        let node = world.open();
        assert_eq!(signed_by(&node, "back").await.public().as_bytes(), &public(FIRST));
        node.shut_down().await;
        drop(node);
        world.keyring = keys(61, &[FIRST, 60]);
        let node = world.open();
        let before = node.size();
        signed_by(&node, "third").await;
        assert_eq!(named(&node), [(size, public(60), 0), (before, public(61), size)]);
        assert_eq!(story(&node, "a").await, first);
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_cut_off_between_its_passes_is_finished_with_the_key_that_began_it() {
    let mut world = World::memory();
    let (node, engine, _) = broken(&world);
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap();
    // The second pass is the first write after the reservation.
    engine.fail(2, Fault::NotPersisted);
    let caller = office();
    let cut_off = node.issue_coupons(&caller, order(campaign.id, 300)).await;
    assert!(matches!(cut_off, Err(NodeError::Stopped(_))), "{cut_off:?}");

    // Without that key the node does not start; nothing is lost by trying.
    world.keyring = keys(60, &[]);
    let refused = world.try_open().err().unwrap().to_string();
    assert!(refused.contains("put the key back"), "{refused}");
    world.keyring = keys(60, &[FIRST]);
    let (node, report) = world.try_open().unwrap();
    assert!(
        report.notes.iter().any(|note| note.contains("has been finished")),
        "{report:?}"
    );
    let issued = node
        .issue_coupons(&caller, order(campaign.id, 300))
        .await
        .unwrap();
    let batch = node.batch(issued.batch).unwrap().batch;
    assert_eq!(batch.kid, SecretKey::from_seed(&[FIRST; 32]).kid());
    assert_eq!(named(&node), [], "the new key has signed nothing yet");
    let lane = lane(1);
    let sale = redemption(&issued.coupons[299].credential, &lane, "s", 1_500);
    node.redeem(&till(&lane), sale).await.unwrap();
    let next = node
        .issue_coupons(&office(), order(campaign.id, 1))
        .await
        .unwrap();
    assert_eq!(
        node.batch(next.batch).unwrap().batch.kid,
        node.credential_key().kid()
    );
    assert_eq!(named(&node).len(), 1);
    node.shut_down().await;

    // Once the old key is gone, its coupons count by their tags and are shown no more.
    world.keyring = keys(60, &[]);
    let node = world.open();
    let gone = node.issue_coupons(&caller, order(campaign.id, 300)).await;
    assert!(matches!(gone, Err(NodeError::Gone(_))), "{gone:?}");
    let sale = redemption(&issued.coupons[0].credential, &lane, "t", 1_500);
    node.redeem(&till(&lane), sale).await.unwrap();
    assert_eq!(node.credential_keys().len(), 1, "it vouches for nothing any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_that_a_stolen_old_key_signed_is_told_as_such() {
    let mut world = World::memory();
    let node = world.open();
    let first = story(&node, "a").await;
    node.shut_down().await;
    world.keyring = keys(60, &[]);
    let node = world.open();
    let genuine = &first.coupons.coupons[4].credential;
    let mut coupon = Signed::<tallystick::credential::Coupon>::parse(genuine)
        .unwrap()
        .into_content();
    coupon.status.index = (coupon.status.index + 1) % 131_072;
    let refusal = |by: u8, coupon: &tallystick::credential::Coupon| {
        let bytes = coupon.sign(
            &SecretKey::from_seed(&[by; 32]),
            tallystick::credential::Algorithm::EdDsa,
        );
        let node = node.clone();
        async move {
            match node.validate(&bytes, basket(1_500), None).await {
                Err(NodeError::Refused(refusal)) => refusal,
                other => panic!("not a refusal: {other:?}"),
            }
        }
    };
    assert_eq!(refusal(FIRST, &coupon).await, Refusal::CouponNotIssued);
    assert_eq!(refusal(99, &coupon).await, Refusal::CouponForeign);
    assert_eq!(node.metrics().unissued_coupons.get(), 1);
}
