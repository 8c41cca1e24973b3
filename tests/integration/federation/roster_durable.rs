//! The roster that a node follows never goes back: over faults, restarts, an older
//! store in the place of the new one, damage, a compaction.

use std::sync::Arc;

use prometheus::Registry;
use tallystick::federation::roster::{NotRedeeming, Roster, RosterError, SignedRoster};
use tallystick::federation::rosters::{Rosters, RostersError};
use tallystick::node::audit::{AuditOptions, Rule, audit};
use tallystick::node::compact::{check_copy, copy_live};
use tallystick::node::{Node, NodeError};
use tallystick::primitives::{Digest, Register, UnixSeconds};
use tallystick::server::{NewDir, NodeDir, Overrides};
use tallystick::store::{Batch, Engine, Guard, MemoryEngine, SledEngine, rows};
use tallystick::testkit::Fault;
use tallystick::testkit::roster::{EXPIRES, ISSUED, after, description, founded, signed};

use crate::node::faults::broken;
use crate::node::world::*;

/// Three versions by three signers, of whom two have to sign.
struct Versions {
    first: Roster,
    second: Roster,
    third: Roster,
}

fn versions() -> Versions {
    let first = founded(&[1, 2, 3], 2);
    let second = after(&first, |draft| draft.member(description(1, 0)).unwrap());
    let third = after(&second, |draft| draft.member(description(2, 0)).unwrap());
    Versions { first, second, third }
}

fn open(node: &Node, pin: Digest, decided: &[Digest]) -> (Arc<Rosters>, Vec<String>) {
    Rosters::open(node.clone(), pin, decided, &Registry::new()).unwrap()
}

async fn offer(rosters: &Rosters, roster: &Roster, by: &[u8]) -> Result<(u64, Digest), RostersError> {
    rosters.offer(&signed(roster, by), None).await
}

/// A world whose clock has come to when the versions are issued.
fn world() -> World {
    let world = World::memory();
    world.clock.set(ISSUED.0);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_fails_once_and_no_version_is_taken_back() {
    let Versions { first, second, third } = versions();
    let steps: [(&Roster, &[u8]); 4] = [
        (&first, &[1, 2]),
        (&second, &[1, 2]),
        (&second, &[3]),
        (&third, &[2, 3]),
    ];
    for on_guard in [false, true] {
        for fault in [Fault::NotPersisted, Fault::Persisted] {
            let mut failures = 0;
            for nth in 1.. {
                let what = format!("write {nth}, guard {on_guard}, {fault:?}");
                let world = world();
                let (node, engine, guard) = broken(&world);
                let faults = if on_guard { &guard } else { &engine };
                faults.fail(nth, fault);
                let (rosters, _) = open(&node, first.hash(), &[]);
                let mut answered = 0;
                for (roster, by) in steps {
                    match offer(&rosters, roster, by).await {
                        Ok((version, hash)) => {
                            assert_eq!((version, hash), (roster.version, roster.hash()));
                            answered = version;
                        }
                        Err(error) => {
                            let stopped = matches!(error, RostersError::Node(NodeError::Stopped(_)));
                            assert!(stopped, "{what}: {error:?}");
                            assert_eq!(
                                rosters.chain().version(),
                                answered,
                                "{what}: followed before it was durable"
                            );
                            break;
                        }
                    }
                }
                node.shut_down().await;
                if !faults.has_failed() {
                    assert_eq!(answered, 3);
                    break;
                }
                failures += 1;
                let (node, _) = world.try_open().unwrap();
                let (rosters, _) = open(&node, first.hash(), &[]);
                let now = rosters.chain().version();
                assert!(now >= answered, "{what}: {now} after {answered}");
                assert!(node.roster_floor() >= answered, "{what}");
                for roster in [&first, &second, &third] {
                    let outcome = offer(&rosters, roster, &[1, 2]).await;
                    assert_eq!(outcome.unwrap(), (roster.version, roster.hash()), "{what}");
                }
                assert_eq!(rosters.may_redeem(), Ok(()), "{what}");
                node.shut_down().await;
                assert_eq!(Guard::open(&world.guard).unwrap().1.roster_version, 3, "{what}");
            }
            assert!(
                failures >= 3,
                "only {failures} writes of {on_guard} {fault:?} failed"
            );
        }
    }
}

#[tokio::test]
async fn a_restored_store_redeems_nothing_before_it_has_caught_up() {
    let Versions { first, second, third } = versions();
    let world = world();
    let node = world.open();
    let (rosters, notes) = open(&node, first.hash(), &[]);
    assert!(notes[0].contains("no roster"), "{notes:?}");
    offer(&rosters, &first, &[1, 2]).await.unwrap();
    offer(&rosters, &second, &[1, 2]).await.unwrap();
    let older: MemoryEngine = world.memory_engine().fork();
    offer(&rosters, &third, &[1, 2]).await.unwrap();
    node.shut_down().await;

    let (node, _) = Node::open(world.parts(Arc::new(older), world.guard())).unwrap();
    let (rosters, notes) = open(&node, first.hash(), &[]);
    assert_eq!(rosters.chain().version(), 2);
    assert_eq!(
        rosters.may_redeem(),
        Err(NotRedeeming::Behind { floor: 3, held: 2 })
    );
    assert!(notes.iter().any(|note| note.contains("version 3")), "{notes:?}");
    offer(&rosters, &third, &[1, 2]).await.unwrap();
    assert_eq!(rosters.may_redeem(), Ok(()));
    // The store can even have been emptied of them.
    let chain = rosters.chain();
    assert_eq!(chain.directory().unwrap().roster(), &third);
}

#[tokio::test]
async fn what_is_kept_outlives_restarts_compaction_and_damage() {
    let Versions { first, second, third } = versions();
    let world = world();
    let node = world.open();
    let (rosters, _) = open(&node, first.hash(), &[]);
    for roster in [&first, &second, &third] {
        offer(&rosters, roster, &[1, 2]).await.unwrap();
    }
    offer(&rosters, &third, &[3]).await.unwrap();
    // Whatever was followed may be offered again, and is told as it was.
    assert_eq!(offer(&rosters, &first, &[1, 2]).await.unwrap(), (1, first.hash()));
    let all = signed(&third, &[1, 2, 3]).encode();
    node.shut_down().await;

    let node = world.open();
    let (rosters, notes) = open(&node, first.hash(), &[]);
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(rosters.version(3).unwrap().unwrap(), all);
    assert_eq!(
        rosters.version(1).unwrap().unwrap(),
        signed(&first, &[1, 2]).encode()
    );
    assert_eq!(
        (rosters.version(4).unwrap(), rosters.version(0).unwrap()),
        (None, None)
    );
    node.shut_down().await;

    let copy = MemoryEngine::new();
    let (_, guard) = Guard::open(&world.guard).unwrap();
    let source = world.memory_engine();
    let copied = copy_live(source, &copy, &guard, &mut |_, _| {}).unwrap();
    check_copy(&copy, &copied).unwrap();
    let (node, _) = Node::open(world.parts(Arc::new(copy), world.guard())).unwrap();
    assert_eq!(open(&node, first.hash(), &[]).0.version(3).unwrap().unwrap(), all);
    node.shut_down().await;

    // A row of version 2 is damaged: what follows waits until it was published again.
    let damaged = world.memory_engine().fork();
    let mut batch = Batch::default();
    batch.put(rows::roster(false, 2, 0), [0; 60]);
    damaged.commit(batch).unwrap();
    let (node, _) = Node::open(world.parts(Arc::new(damaged), world.guard())).unwrap();
    let (rosters, notes) = open(&node, first.hash(), &[]);
    assert!(
        notes[0].contains("version 2 of the roster in the store is damaged"),
        "{notes:?}"
    );
    assert_eq!(
        rosters.may_redeem(),
        Err(NotRedeeming::Behind { floor: 3, held: 1 })
    );
    offer(&rosters, &second, &[1, 2]).await.unwrap();
    offer(&rosters, &third, &[1, 2]).await.unwrap();
    assert_eq!(rosters.may_redeem(), Ok(()));
}

#[tokio::test]
async fn two_versions_of_one_number_stop_a_node_until_its_operator_decides() {
    let Versions { first, second, third } = versions();
    let other = after(&second, |draft| draft.expires(EXPIRES.plus(1)));
    let world = world();
    let node = world.open();
    let (rosters, _) = open(&node, first.hash(), &[]);
    for roster in [&first, &second, &third] {
        offer(&rosters, roster, &[1, 2]).await.unwrap();
    }
    for _ in 0..2 {
        assert!(matches!(
            offer(&rosters, &other, &[1, 3]).await,
            Err(RostersError::Conflict(_))
        ));
    }
    node.shut_down().await;
    let fourth = |before| after(before, |draft| draft.expires(EXPIRES.plus(7)));

    let node = world.open();
    let (rosters, notes) = open(&node, first.hash(), &[]);
    assert!(
        notes.iter().any(|note| note.contains("two versions 3")),
        "{notes:?}"
    );
    assert_eq!(rosters.may_redeem(), Err(NotRedeeming::Conflict { version: 3 }));
    let conflict = rosters.chain().conflict().unwrap().clone();
    assert_eq!(
        (conflict.held.hash(), conflict.other.hash()),
        (third.hash(), other.hash())
    );
    assert!(matches!(
        offer(&rosters, &fourth(&third), &[1, 2]).await,
        Err(RostersError::Refused(RosterError::Undecided { .. }))
    ));
    // Decided for the one that it did not follow, and gone on from there.
    let (rosters, _) = open(&node, first.hash(), &[other.hash()]);
    assert_eq!(rosters.may_redeem(), Ok(()));
    assert_eq!(rosters.chain().directory().unwrap().hash(), other.hash());
    offer(&rosters, &fourth(&other), &[1, 2]).await.unwrap();
    node.shut_down().await;
    // The setting may be taken out afterwards: the next version says what counted.
    let node = world.open();
    let (rosters, notes) = open(&node, first.hash(), &[]);
    assert_eq!(
        (rosters.chain().version(), rosters.may_redeem(), notes),
        (4, Ok(()), vec![])
    );
    let served = SignedRoster::decode(&rosters.version(3).unwrap().unwrap()).unwrap();
    assert_eq!(served.hash(), other.hash());
}

#[tokio::test]
async fn a_node_belongs_to_one_federation_and_reads_when_its_roster_has_expired() {
    let Versions { first, second, .. } = versions();
    let world = world();
    let node = world.open();
    let (rosters, _) = open(&node, first.hash(), &[]);
    offer(&rosters, &first, &[1, 2]).await.unwrap();
    offer(&rosters, &second, &[1, 2]).await.unwrap();
    let others = founded(&[7], 1);
    assert!(matches!(
        offer(&rosters, &others, &[7]).await,
        Err(RostersError::Refused(
            RosterError::TooFewSigners { .. } | RosterError::Older { .. }
        ))
    ));
    let wrong = Rosters::open(node.clone(), others.hash(), &[], &Registry::new());
    let said = wrong.unwrap_err().to_string();
    assert!(said.contains("put the right pin back"), "{said}");
    world.clock.set(EXPIRES.0);
    assert_eq!(rosters.may_redeem(), Err(NotRedeeming::Expired));
    assert!(
        rosters
            .chain()
            .directory()
            .unwrap()
            .by_did("did:web:coop-1.example")
            .is_some()
    );
    let renewed = after(&second, |draft| draft.expires(UnixSeconds(EXPIRES.0 + 1_000)));
    offer(&rosters, &renewed, &[1, 2]).await.unwrap();
    assert_eq!(rosters.may_redeem(), Ok(()));
}

/// An older directory gets its key for messages; an audit knows the roster's rows.
#[tokio::test]
async fn an_audit_finds_damaged_rows_of_rosters() {
    let Versions { first, second, .. } = versions();
    let place = tempfile::tempdir().unwrap();
    let shop = place.path().join("shop");
    let new = NewDir {
        base_url: origin(),
        name: "Dorfladen".to_owned(),
        register: Register::new("till-1").unwrap(),
        guard: None,
        passphrase: None,
    };
    NodeDir::create(&shop, &new).unwrap();
    let dir = NodeDir::at(&shop).unwrap();
    std::fs::remove_file(dir.keys().join("messages.pem")).unwrap();
    let opened = dir.open(&Overrides::default(), None).unwrap();
    assert!(dir.keys().join("messages.pem").exists());
    let (rosters, _) = open(&opened.node, first.hash(), &[]);
    for roster in [&first, &second] {
        offer(&rosters, roster, &[1, 2]).await.unwrap();
    }
    opened.node.shut_down().await;
    drop((opened, rosters));
    let found = || -> Vec<Rule> {
        let options = AuditOptions {
            dir: shop.clone(),
            ..AuditOptions::default()
        };
        let report = audit(&options, &mut |_, _| {}).unwrap();
        report
            .findings
            .kept()
            .iter()
            .map(|finding| finding.rule)
            .collect()
    };
    assert_eq!(found(), []);
    let engine = SledEngine::open(&dir.store()).unwrap().0;
    let mut batch = Batch::default();
    batch.put(rows::roster(false, 2, 0), [0; 60]);
    engine.commit(batch).unwrap();
    drop(engine);
    assert_eq!(found(), [Rule::StoredRoster]);
}
