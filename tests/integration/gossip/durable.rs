//! What gossip has brought is kept whole, over faults, restarts, and damage.

use tallystick::node::audit::{AuditOptions, Rule, audit};
use tallystick::node::{GossipedToKeep, Node, NodeError};
use tallystick::primitives::Register;
use tallystick::server::{NewDir, NodeDir, Overrides};
use tallystick::store::{Batch, Engine, SledEngine, rows};
use tallystick::testkit::Fault;

use crate::node::faults::broken;
use crate::node::world::*;

fn put(id: u8, length: usize) -> GossipedToKeep {
    GossipedToKeep {
        put: vec![(2, [id; 16], vec![id ^ length.to_le_bytes()[0]; length])],
        remove: Vec::new(),
    }
}

fn held(node: &Node) -> Vec<(u8, usize)> {
    let (kept, damaged) = node.gossiped().unwrap();
    assert!(damaged.is_empty());
    for (kind, id, bytes) in &kept {
        assert_eq!(*kind, 2);
        assert!(
            bytes
                .iter()
                .all(|byte| *byte == id[0] ^ bytes.len().to_le_bytes()[0])
        );
    }
    kept.iter().map(|(_, id, bytes)| (id[0], bytes.len())).collect()
}

/// One row, several, fewer again, and none.
fn steps() -> Vec<(GossipedToKeep, Vec<(u8, usize)>)> {
    let remove = GossipedToKeep {
        put: Vec::new(),
        remove: vec![(2, [2; 16])],
    };
    vec![
        (put(1, 100), vec![(1, 100)]),
        (put(2, 60_000), vec![(1, 100), (2, 60_000)]),
        (put(2, 13_000), vec![(1, 100), (2, 13_000)]),
        (put(1, 30_000), vec![(1, 30_000), (2, 13_000)]),
        (remove, vec![(1, 30_000)]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_fails_once_and_nothing_is_half_kept() {
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let mut failures = 0;
        for nth in 1.. {
            let world = World::memory();
            let (node, faults, _) = broken(&world);
            faults.fail(nth, fault);
            let (mut answered, mut after) = (Vec::new(), Vec::new());
            for (keep, expected) in steps() {
                after = expected;
                match node.keep_gossiped(keep).await {
                    Ok(()) => answered.clone_from(&after),
                    Err(error) => {
                        assert!(matches!(error, NodeError::Stopped(_)), "{error}");
                        break;
                    }
                }
            }
            node.shut_down().await;
            if !faults.has_failed() {
                assert_eq!(answered, steps().pop().unwrap().1);
                break;
            }
            failures += 1;
            let (node, _) = world.try_open().unwrap();
            let now = held(&node);
            assert!(now == answered || now == after, "{now:?} after {answered:?}");
            let clear = GossipedToKeep {
                put: Vec::new(),
                remove: vec![(2, [1; 16]), (2, [2; 16])],
            };
            node.keep_gossiped(clear).await.unwrap();
            for (keep, expected) in steps() {
                node.keep_gossiped(keep).await.unwrap();
                assert_eq!(held(&node), expected);
            }
            // Nothing is left of what was removed.
            let mut left = 0;
            let prefix = &rows::gossiped(2, &[2; 16], 0)[..18];
            world
                .engine()
                .scan(prefix, prefix, &mut |_, _| {
                    left += 1;
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(left, 0);
            node.shut_down().await;
        }
        assert!(failures >= 5, "only {failures} writes failed");
    }
}

#[tokio::test]
async fn an_audit_finds_damaged_rows_and_the_node_goes_on_without_them() {
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
    let open = || dir.open(&Overrides::default(), None).unwrap();
    let opened = open();
    for id in [1, 2] {
        opened.node.keep_gossiped(put(id, 9_000)).await.unwrap();
    }
    opened.node.shut_down().await;
    drop(opened);
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
    batch.put(rows::gossiped(2, &[2; 16], 1), [0; 60]);
    engine.commit(batch).unwrap();
    drop(engine);
    assert_eq!(found(), [Rule::StoredGossip]);
    let opened = open();
    let (kept, damaged) = opened.node.gossiped().unwrap();
    assert_eq!((kept.len(), damaged), (1, vec![(2, [2; 16])]));
    opened.node.shut_down().await;
}
