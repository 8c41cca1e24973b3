//! What opening repairs, and where it refuses to start.

use std::sync::Arc;

use tallystick::node::{Node, NodeError, OpenReport};
use tallystick::primitives::Origin;
use tallystick::store::{Batch, Engine, MemoryEngine, rows};

use super::world::*;

async fn told(world: &World) -> Story {
    let node = world.open();
    let story = story(&node, "a").await;
    node.shut_down().await;
    story
}

fn refused(outcome: Result<(Node, OpenReport), NodeError>) -> String {
    match outcome {
        Err(NodeError::Refuse(why)) => why,
        Err(error) => panic!("not a refusal to start: {error:?}"),
        Ok((_, report)) => panic!("it started: {report:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_behind_its_guard_is_refused() {
    let world = World::memory();
    let backup = world.memory_engine().fork();
    told(&world).await;
    let why = refused(Node::open(world.parts(Arc::new(backup), world.guard())));
    assert!(why.contains("restored from a backup"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_another_history_is_refused() {
    let world = World::memory();
    let other = World::memory();
    told(&world).await;
    other.clock.advance(5);
    told(&other).await;
    let node = other.open();
    story(&node, "b").await;
    node.shut_down().await;
    let engine = Arc::new(other.memory_engine().clone());
    let why = refused(Node::open(world.parts(engine, world.guard())));
    assert!(why.contains("do not give the root"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_and_another_base_url_are_refused() {
    let mut world = World::memory();
    told(&world).await;
    let right = Arc::clone(&world.keyring);
    world.keyring = keyring(99);
    assert!(refused(world.try_open()).contains("belong to another node"));
    let (a, b) = (keyring(10), keyring(99));
    let mixed = tallystick::node::keyring::Keyring {
        credential: Arc::into_inner(a).unwrap().credential,
        log: Arc::into_inner(keyring(10)).unwrap().log,
        witness: Arc::into_inner(keyring(10)).unwrap().witness,
        messages: right.messages.clone(),
        messages_next: None,
        credential_next: None,
        credentials_before: Vec::new(),
        index_secret: right.index_secret.clone(),
        request_secret: Arc::into_inner(b).unwrap().request_secret,
    };
    world.keyring = Arc::new(mixed);
    assert!(refused(world.try_open()).contains("request-secret.pem"));
    world.keyring = right;
    world.options.origin = Origin::parse("https://other.example").unwrap();
    assert!(refused(world.try_open()).contains("base_url"));
    world.options.origin = origin();
    world.try_open().unwrap();
}

fn without(engine: &MemoryEngine, prefix: &[u8]) -> MemoryEngine {
    let copy = engine.fork();
    let mut batch = Batch::default();
    let mut keys = Vec::new();
    copy.scan(prefix, prefix, &mut |key, _| {
        keys.push(key.to_vec());
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert!(!keys.is_empty(), "there is nothing under {prefix:?}");
    for key in keys {
        batch.remove(key);
    }
    copy.commit(batch).unwrap();
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_derived_is_made_anew() {
    let world = World::memory();
    let first = told(&world).await;
    let node = world.open();
    for n in 0..150 {
        let reference = format!("more-{n}");
        node.issue_receipt(&till(&lane(2)), receipt(&lane(2), &reference, START))
            .await
            .unwrap();
    }
    let head = head_of(&node.checkpoint());
    node.shut_down().await;
    // Tiles, index (data, filters, manifest), counters, statuses, each lost.
    for prefix in [&b"t"[..], b"x", b"zindex", b"zstate", b"z", b"s", b"n"] {
        let copy = without(world.memory_engine(), prefix);
        let parts = world.parts(Arc::new(copy.clone()), world.guard());
        let (node, report) = Node::open(parts).unwrap();
        assert_eq!(head_of(&node.checkpoint()), head, "{prefix:?}: {report:?}");
        if prefix == b"t" {
            assert!(
                report.notes.iter().any(|note| note.contains("tiles")),
                "{report:?}"
            );
        }
        let answers = node.receipt(&first.receipt.id);
        if prefix != b"x" {
            assert_eq!(answers.unwrap(), first.receipt, "{prefix:?}");
            assert_eq!(story(&node, "a").await, first, "{prefix:?}");
        }
        node.shut_down().await;
    }
    // A half tile with one bit turned.
    let copy = world.memory_engine().fork();
    let key = rows::hash_tile(0, 0, 0);
    let mut tile = copy.get(&key).unwrap().unwrap();
    tile[7] ^= 1;
    let mut batch = Batch::default();
    batch.put(key.clone(), tile);
    copy.commit(batch).unwrap();
    let (node, report) = Node::open(world.parts(Arc::new(copy.clone()), world.guard())).unwrap();
    assert_eq!(head_of(&node.checkpoint()), head, "{report:?}");
    assert_eq!(copy.get(&key).unwrap(), world.memory_engine().get(&key).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_has_a_bounded_length_whoever_asks() {
    use tallystick::ledger::{NewStatus, Refusal};
    use tallystick::node::RevocationTarget;
    use tallystick::primitives::limits::REASON_BYTES_MAX;
    let world = World::memory();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap();
    let target = RevocationTarget::Campaign(campaign.id);
    let set = async |reason: &str| {
        let reason = Some(reason.to_owned());
        node.set_status(&office(), &target, NewStatus::Suspended, reason)
            .await
    };
    for wrong in ["", &"x".repeat(REASON_BYTES_MAX + 1)] {
        let refused = set(wrong).await.unwrap_err();
        assert!(
            matches!(refused, NodeError::Refused(Refusal::ReasonInvalid)),
            "{refused:?}"
        );
    }
    set(&"x".repeat(REASON_BYTES_MAX)).await.unwrap();
}
