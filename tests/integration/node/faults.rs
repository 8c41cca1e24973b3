//! Every durable write of the commit path fails once, written or not: nothing
//! that was answered is missing afterwards, and there is one history.

use std::ops::ControlFlow;
use std::sync::Arc;

use tallystick::ledger::NewStatus;
use tallystick::merkle;
use tallystick::node::{Caller, Node, NodeError, RevocationTarget, Scope};
use tallystick::primitives::Digest;
use tallystick::store::{Engine, Guard, scan_entries};
use tallystick::testkit::{Fault, FaultHandle, FaultyEngine, FaultyGuard};

use super::world::*;

/// What was answered, and what checkpoints were seen, until the first failure.
#[derive(Default)]
struct Seen {
    answers: Vec<String>,
    heads: Vec<(u64, Digest)>,
    failed: Option<NodeError>,
}

async fn play(node: &Node) -> Seen {
    let mut seen = Seen::default();
    seen.failed = steps(node, &mut seen).await.err();
    seen
}

async fn steps(node: &Node, seen: &mut Seen) -> Result<(), NodeError> {
    fn note<T: std::fmt::Debug>(seen: &mut Seen, node: &Node, answer: &T) {
        seen.answers.push(format!("{answer:?}"));
        seen.heads.push(head_of(&node.checkpoint()));
    }
    let lane = lane(1);
    let office = |key: &str| caller(Scope::Office, key, key);
    let till = |key: &str| -> Caller { caller(Scope::Register(lane.clone()), key, key) };
    let campaign = node.sign_campaign(&office("campaign"), two_off("a")).await?;
    note(seen, node, &campaign);
    let coupons = node
        .issue_coupons(&office("coupons"), order(campaign.id, 3))
        .await?;
    note(seen, node, &coupons);
    let coupon = |n: usize| coupons.coupons[n].credential.as_slice();
    for n in 0..3 {
        let key = format!("receipt-{n}");
        let answer = node
            .issue_receipt(&till(&key), receipt(&lane, &key, START))
            .await?;
        note(seen, node, &answer);
    }
    let first = node
        .redeem(&till("redeem"), redemption(coupon(0), &lane, "s", 900))
        .await?;
    note(seen, node, &first);
    let back = reversal(first.id, "s", None, true);
    note(seen, node, &node.reverse(&till("reverse"), back).await?);
    let again = redemption(coupon(0), &lane, "t", 900);
    note(seen, node, &node.redeem(&till("again"), again).await?);
    let name = RevocationTarget::Name(coupons.coupons[1].name);
    let revoked = node
        .set_status(&office("revoke"), &name, NewStatus::Revoked, None)
        .await?;
    note(seen, node, &revoked);
    Ok(())
}

fn roots(engine: &dyn Engine) -> Vec<merkle::Hash> {
    let (mut leaves, mut roots) = (Vec::new(), vec![merkle::root_of(&[])]);
    scan_entries(engine, 0, &mut |_, bytes| {
        leaves.push(merkle::leaf_hash(bytes));
        roots.push(merkle::root_of(&leaves));
        ControlFlow::Continue(())
    })
    .unwrap();
    roots
}

pub fn broken(world: &World) -> (Node, FaultHandle, FaultHandle) {
    let (engine, engine_faults) = FaultyEngine::new(world.memory_engine().clone());
    let (guard, state) = Guard::open(&world.guard).unwrap();
    let (guard, guard_faults) = FaultyGuard::new(guard);
    let parts = world.parts(Arc::new(engine), (Box::new(guard), state));
    (Node::open(parts).unwrap().0, engine_faults, guard_faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_fails_once() {
    let whole = {
        let world = World::memory();
        play(&world.open()).await.answers.len()
    };
    for on_guard in [false, true] {
        for fault in [Fault::NotPersisted, Fault::Persisted] {
            let mut failures = 0;
            for nth in 1.. {
                let what = format!("write {nth}, guard {on_guard}, {fault:?}");
                let world = World::memory();
                let (node, engine, guard) = broken(&world);
                if on_guard { &guard } else { &engine }.fail(nth, fault);
                let before = play(&node).await;
                let Some(error) = before.failed else {
                    assert_eq!(before.answers.len(), whole);
                    break;
                };
                failures += 1;
                assert!(matches!(error, NodeError::Stopped(_)), "{what}: {error:?}");
                assert!(node.stopped().is_some(), "{what}");
                let refused = node
                    .issue_receipt(&till(&lane(1)), receipt(&lane(1), "late", START))
                    .await;
                assert!(matches!(refused, Err(NodeError::Stopped(_))), "{what}");

                let (node, report) = world.try_open().unwrap();
                let after = play(&node).await;
                assert!(after.failed.is_none(), "{what}: {:?}", after.failed);
                assert_eq!(after.answers[..before.answers.len()], before.answers, "{what}");
                assert_eq!(after.answers.len(), whole, "{what}");
                let roots = roots(world.memory_engine());
                for (size, root) in before.heads.iter().chain(&after.heads) {
                    assert_eq!(roots[*size as usize], root.0, "{what}: two histories");
                }
                // Campaign, batch, 3 receipts, 2 redemptions, reversal, revocation.
                let effects = node
                    .metrics()
                    .recorded_total
                    .with_label_values(&["receipt"])
                    .get();
                assert!(effects <= 3, "{what}: {report:?}");
                assert_eq!(
                    node.receipt_by_reference(&lane(1), "receipt-2")
                        .unwrap()
                        .unwrap()
                        .sequence_number,
                    3
                );
            }
            assert!(
                failures >= 9,
                "only {failures} writes of {on_guard} {fault:?} failed"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_cut_off_between_its_passes_is_finished_once() {
    // The second pass is the first write after the reservation.
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let world = World::memory();
        let (node, engine, _) = broken(&world);
        let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap();
        engine.fail(2, fault);
        let caller = office();
        let error = node
            .issue_coupons(&caller, order(campaign.id, 300))
            .await
            .unwrap_err();
        assert!(matches!(error, NodeError::Stopped(_)), "{error:?}");
        let (node, report) = world.try_open().unwrap();
        let finished = report.notes.iter().any(|note| note.contains("has been finished"));
        assert_eq!(finished, fault == Fault::NotPersisted, "{report:?}");
        let first = node
            .issue_coupons(&caller, order(campaign.id, 300))
            .await
            .unwrap();
        assert_eq!(first.coupons.len(), 300);
        assert_eq!(
            node.issue_coupons(&caller, order(campaign.id, 300))
                .await
                .unwrap(),
            first
        );
        // The next batch begins where this one ends.
        let next = node
            .issue_coupons(&office(), order(campaign.id, 1))
            .await
            .unwrap();
        assert!(
            first
                .coupons
                .iter()
                .all(|coupon| coupon.name != next.coupons[0].name)
        );
        for coupon in [&first.coupons[299], &next.coupons[0]] {
            node.redeem(
                &till(&lane(1)),
                redemption(&coupon.credential, &lane(1), "x", 900),
            )
            .await
            .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_closed_between_the_passes_closes_the_batch_too() {
    let world = World::memory();
    let (node, engine, _) = broken(&world);
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap();
    engine.fail(2, Fault::NotPersisted);
    let caller = office();
    node.issue_coupons(&caller, order(campaign.id, 2))
        .await
        .unwrap_err();
    // As if the closing had come first: the batch is reserved, nothing else is.
    let (node, _) = world.try_open().unwrap();
    let coupons = node.issue_coupons(&caller, order(campaign.id, 2)).await.unwrap();
    let target = RevocationTarget::Campaign(campaign.id);
    let changed = node
        .set_status(&office(), &target, NewStatus::Revoked, None)
        .await
        .unwrap();
    assert_eq!(changed.changed, 2);
    assert!(
        node.issue_coupons(&office(), order(campaign.id, 1))
            .await
            .is_err()
    );
    let again = node.issue_coupons(&caller, order(campaign.id, 2)).await.unwrap();
    assert_eq!(again, coupons, "what was issued is still shown");
}
