//! Every durable write of the commit path fails once, written or not: nothing
//! that was answered is missing afterwards, and there is one history.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tallystick::ledger::NewStatus;
use tallystick::merkle;
use tallystick::node::audit::{AuditOptions, Verdict, audit};
use tallystick::node::{Caller, ErasureTarget, Node, NodeError, RevocationTarget, Scope, Upkeep};
use tallystick::primitives::{Digest, Register};
use tallystick::server::{NewDir, NodeDir, Overrides, ServerError, System};
use tallystick::store::{Engine, Guard, SledEngine, scan_entries};
use tallystick::testkit::{self, Fault, FaultHandle, FaultyDisk, FaultyEngine, FaultyGuard, ManualClock};

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
    let cards = node.sign_campaign(&office("cards"), gift_card("b")).await?;
    note(seen, node, &cards);
    let card = node.issue_coupons(&office("card"), order(cards.id, 1)).await?;
    note(seen, node, &card);
    let mut part = redemption(&card.coupons[0].credential, &lane, "p", 900);
    part.amount = Some(cents(700));
    let part = node.redeem(&till("part"), part).await?;
    note(seen, node, &part);
    for (n, give_back) in [true, false].into_iter().enumerate() {
        let some = reversal(part.id, &format!("p{n}"), Some(300), give_back);
        note(
            seen,
            node,
            &node.reverse(&till(&format!("some-{n}")), some).await?,
        );
    }
    let name = RevocationTarget::Name(coupons.coupons[1].name);
    let revoked = node
        .set_status(&office("revoke"), &name, NewStatus::Revoked, None)
        .await?;
    note(seen, node, &revoked);
    let mut gone = receipt(&lane, "gone", START);
    gone.details.member = Some("4711".to_owned());
    match node.issue_receipt(&till("gone"), gone).await {
        Ok(_) | Err(NodeError::Erased { .. }) => {}
        Err(error) => return Err(error),
    }
    let target = ErasureTarget::Member("4711".to_owned());
    let erased = node.erase(&office("erase"), target, "asked for").await?;
    note(seen, node, &erased);
    let left = node.receipt_by_reference(&lane, "gone");
    assert!(matches!(left, Err(NodeError::Erased { .. })), "{left:?}");
    node.status_list(0).await?;
    Ok(())
}

/// Every how many-th call to the disk fails.
const STRIDE: &str = "TALLYSTICK_FAULT_STRIDE";

/// Index checkpoints all the time, so that their writes fail too.
const UPKEEP: Upkeep = Upkeep {
    checkpoint_entries: 3,
};

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
    let (node, _) = Node::open_with(parts, UPKEEP).unwrap();
    (node, engine_faults, guard_faults)
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
                let faults = if on_guard { &guard } else { &engine };
                faults.fail(nth, fault);
                let before = play(&node).await;
                // A clean stop writes too.
                node.shut_down().await;
                if !faults.has_failed() {
                    assert_eq!(before.answers.len(), whole);
                    break;
                }
                failures += 1;
                if let Some(error) = &before.failed {
                    assert!(matches!(error, NodeError::Stopped(_)), "{what}: {error:?}");
                }
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
                let effects = node
                    .metrics()
                    .recorded_total
                    .with_label_values(&["receipt"])
                    .get();
                assert!(effects <= 4, "{what}: {report:?}");
                assert_eq!(
                    node.receipt_by_reference(&lane(1), "receipt-2")
                        .unwrap()
                        .unwrap()
                        .sequence_number,
                    3
                );
            }
            assert!(
                failures >= whole,
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

/// The life of a node in `shop` on `system`'s disk, from its making to a second
/// clean stop; what it answered until then, or until the disk failed.
async fn live(system: &System, shop: &Path) -> (Seen, Option<ServerError>) {
    let new = NewDir {
        base_url: origin(),
        name: "Dorfladen".to_owned(),
        register: Register::new("till-1").unwrap(),
        guard: None,
        passphrase: None,
    };
    let mut seen = Seen::default();
    // An empty directory is taken, as after an `init` that was cut off at once.
    if !shop.join("config.toml").exists()
        && let Err(error) = NodeDir::create_in(system, shop, &new)
    {
        return (seen, Some(error));
    }
    let dir = NodeDir::at(shop).unwrap();
    for _ in 0..2 {
        let opened = match dir.open_in(system, &Overrides::default(), None) {
            Ok(opened) => opened,
            Err(error) => return (seen, Some(error)),
        };
        let again = play(&opened.node).await;
        opened.node.shut_down().await;
        let shared = again.answers.len().min(seen.answers.len());
        assert_eq!(again.answers[..shared], seen.answers[..shared]);
        seen.heads.extend(&again.heads);
        if again.answers.len() > seen.answers.len() {
            seen.answers = again.answers;
        }
        if let Some(error) = again.failed {
            return (seen, Some(error.into()));
        }
    }
    (seen, None)
}

/// What was answered in `before` is answered again, in the same history.
async fn lives_on(shop: &Path, before: &Seen, whole: usize, what: &str) {
    let system = System {
        clock: Arc::new(ManualClock::new(START)),
        ..System::default()
    };
    let (after, failed) = live(&system, shop).await;
    assert!(failed.is_none(), "{what}: {failed:?}");
    assert_eq!(after.answers[..before.answers.len()], before.answers, "{what}");
    assert_eq!(after.answers.len(), whole, "{what}");
    let (engine, _) = SledEngine::open(&shop.join("store")).unwrap();
    let roots = roots(&engine);
    drop(engine);
    for (size, root) in before.heads.iter().chain(&after.heads) {
        assert_eq!(roots[*size as usize], root.0, "{what}: two histories");
    }
    let options = AuditOptions {
        dir: shop.to_owned(),
        ..AuditOptions::default()
    };
    let report = audit(&options, &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean, "{what}: {:?}", report.findings);
}

/// On a disk that loses what was not synced: each sync of the store, of the
/// guard and of their directories, and each write of a guard slot, over the
/// whole life of a node. A call that fails 'not persisted' is followed by the
/// loss of everything that was not synced.
#[tokio::test(flavor = "multi_thread")]
async fn each_call_to_the_disk_fails_once() {
    let whole = {
        let world = World::memory();
        play(&world.open()).await.answers.len()
    };
    // A few of them, another few each time; all of them where the stride is set to 1.
    let stride = std::env::var(STRIDE).ok().map(|stride| stride.parse().unwrap());
    let stride = stride.unwrap_or_else(|| u64::from(testkit::repeats(16, 4)));
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let mut nth = 1 + u64::from(std::process::id()) % stride;
        let mut failures = 0;
        loop {
            let place = tempfile::tempdir().unwrap();
            let shop = place.path().join("shop");
            let disk = FaultyDisk::over(&[place.path()]);
            disk.fail(nth, fault);
            let system = System {
                disk: Arc::new(disk.clone()),
                clock: Arc::new(ManualClock::new(START)),
                ..System::default()
            };
            let (before, error) = live(&system, &shop).await;
            let Some(call) = disk.failed() else {
                assert!(error.is_none(), "{error:?}");
                assert_eq!(before.answers.len(), whole);
                break;
            };
            let what = format!("call {nth} ({call}), {fault:?}");
            failures += 1;
            if fault == Fault::NotPersisted {
                disk.cut_power();
            }
            let unfinished = matches!(NodeDir::at(&shop).map(|dir| dir.config(&Overrides::default())),
                Ok(Err(ServerError::Refused(why))) if why.contains("did not finish"));
            if unfinished {
                assert!(before.answers.is_empty(), "{what}");
                std::fs::remove_dir_all(&shop).unwrap();
                let _ = std::fs::remove_file(shop.with_extension("guard"));
            }
            lives_on(&shop, &before, whole, &what).await;
            nth += stride;
        }
        println!("{failures} calls failed, {fault:?}: nothing lost");
        assert!(failures > 40 / stride, "only {failures} calls failed");
    }
}
