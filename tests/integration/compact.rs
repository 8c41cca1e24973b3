//! Compaction: everything that lives is in the new store, nothing is dropped
//! silently, and whenever it is cut off the store is the old one or the new one.
#![allow(clippy::unwrap_used)]

mod cut_off;

use std::ops::ControlFlow;

use tallystick::node::compact::{Copied, check_copy, copy_live};
use tallystick::node::{Node, NodeError, Scope};
use tallystick::store::rows as keys;
use tallystick::store::{Batch, Engine, GuardState, MemoryEngine, StoreError};
use tallystick::testkit::{Fault, FaultyEngine};

use crate::audit::day;
use crate::node::world::*;

fn compacted(world: &World, target: &dyn Engine) -> Result<Copied, NodeError> {
    copy_live(world.memory_engine(), target, &world.guard().1, &mut |_, _| {})
}

fn rows_of(engine: &dyn Engine, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    engine
        .scan(prefix, prefix, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// A day's trade, and a story that is told again, in memory.
async fn shop() -> (World, Story) {
    let world = World::memory();
    let node = world.open();
    day(&node, &world).await;
    let told = story(&node, "told").await;
    node.shut_down().await;
    (world, told)
}

#[tokio::test]
async fn the_copy_answers_as_the_store_did_in_fewer_rows() {
    let (world, told) = shop().await;
    let target = MemoryEngine::new();
    let copied = compacted(&world, &target).unwrap();
    check_copy(&target, &copied).unwrap();
    // Each call was a commit of its own, so each entry had a row of its own.
    let source = world.memory_engine();
    let count = |engine: &MemoryEngine, prefix| rows_of(engine, &[prefix]).len();
    assert_eq!(copied.entries, keys::last_entry(source).unwrap().unwrap().0 + 1);
    assert!(count(source, keys::ENTRY) > 150);
    assert!(count(&target, keys::ENTRY) < 20);
    assert!(count(&target, keys::BESIDE) < count(source, keys::BESIDE) / 4);
    let every = |engine: &MemoryEngine| {
        let mut all = Vec::new();
        keys::scan_entries(engine, 0, &mut |_, bytes| {
            all.push(bytes.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
        all
    };
    assert_eq!(every(source), every(&target));
    for prefix in [
        keys::BATCH,
        keys::CAMPAIGN,
        keys::HASH_TILE,
        keys::REGISTER,
        keys::STATUS,
        keys::TAG_TILE,
        keys::INDEX_RUN,
        keys::INDEX_META,
        keys::DERIVED,
    ] {
        assert_eq!(
            rows_of(source, &[prefix]),
            rows_of(&target, &[prefix]),
            "rows {:?}",
            char::from(prefix)
        );
    }
    let (node, report) = Node::open(world.parts(std::sync::Arc::new(target), world.guard())).unwrap();
    assert_eq!((report.replayed, report.notes), (0, Vec::new()));
    assert_eq!(story(&node, "told").await, told);
    let lane = lane(1);
    let next = node
        .issue_receipt(&till(&lane), receipt(&lane, "after", node.now().0))
        .await
        .unwrap();
    assert_eq!(next.entry.index, copied.entries);
    assert_eq!(next.sequence_number, told.receipt.sequence_number + 1);
}

#[tokio::test]
async fn rows_of_kinds_that_are_not_known_are_copied_and_left_over_runs_are_not() {
    let (world, _) = shop().await;
    let mut batch = Batch::default();
    batch.put(b"?later".to_vec(), b"of a later program".to_vec());
    batch.put(keys::index_run(0, 1 << 40, 0), b"left over".to_vec());
    world.memory_engine().commit(batch).unwrap();
    let target = MemoryEngine::new();
    compacted(&world, &target).unwrap();
    assert_eq!(target.get(b"?later").unwrap().unwrap(), b"of a later program");
    assert_eq!(target.get(&keys::index_run(0, 1 << 40, 0)).unwrap(), None);
}

/// Changes the row with this key and value.
type Change<'a> = &'a dyn Fn(&mut Batch, Vec<u8>, Vec<u8>);

/// Changes one row of each kind in turn, and expects a refusal that says `word`.
#[tokio::test]
async fn whatever_is_missing_or_damaged_ends_it() {
    let (world, _) = shop().await;
    let whole = world.memory_engine().fork();
    let signed = world.guard().1;
    let spoilt = |change: Change<'_>, prefix: u8, at: usize| {
        let engine = whole.fork();
        let found = rows_of(&engine, &[prefix]);
        let (key, value) = found[at.min(found.len() - 1)].clone();
        let mut batch = Batch::default();
        change(&mut batch, key, value);
        engine.commit(batch).unwrap();
        copy_live(&engine, &MemoryEngine::new(), &signed, &mut |_, _| {})
    };
    let lost = |batch: &mut Batch, key, _| batch.remove(key);
    let flipped = |batch: &mut Batch, key: Vec<u8>, mut value: Vec<u8>| {
        let middle = value.len() / 2;
        value[middle] ^= 1;
        batch.put(key, value);
    };
    for prefix in [
        keys::ENTRY,
        keys::BESIDE,
        keys::BATCH,
        keys::TAG_TILE,
        keys::INDEX_RUN,
    ] {
        for at in [0, 1, usize::MAX] {
            for (how, outcome) in [
                ("lost", spoilt(&lost, prefix, at)),
                ("flipped", spoilt(&flipped, prefix, at)),
            ] {
                let kind = char::from(prefix);
                // A reason of a revocation may be there or not: nothing in the log tells.
                let reason = prefix == keys::BESIDE && at == usize::MAX && how == "lost";
                assert!(outcome.is_err() || reason, "row {at} of {kind:?} {how}");
            }
        }
    }
    assert!(spoilt(&flipped, keys::INDEX_META, 0).is_err());
    assert!(spoilt(&lost, keys::INDEX_META, 0).is_err());
    // Tiles are made anew, so that a damaged one is mended.
    assert!(spoilt(&flipped, keys::HASH_TILE, 0).is_ok());
}

#[tokio::test]
async fn a_store_behind_its_guard_or_of_another_history_is_refused() {
    let (world, _) = shop().await;
    let signed = world.guard().1;
    let copy = |signed: &GuardState| {
        let error = copy_live(
            world.memory_engine(),
            &MemoryEngine::new(),
            signed,
            &mut |_, _| {},
        );
        error.unwrap_err().to_string()
    };
    let ahead = GuardState {
        size: signed.size + 1,
        ..signed.clone()
    };
    assert!(copy(&ahead).contains("second history"), "{}", copy(&ahead));
    let other = GuardState {
        root: [7; 32],
        ..signed
    };
    assert!(copy(&other).contains("do not give the root that was signed"));
}

#[tokio::test]
async fn a_write_that_fails_ends_it_and_a_copy_that_changed_is_noticed() {
    let (world, _) = shop().await;
    let before = rows_of(world.memory_engine(), &[]);
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let (target, handle) = FaultyEngine::new(MemoryEngine::new());
        handle.fail(1, fault);
        let failed = compacted(&world, &target).unwrap_err();
        assert!(
            matches!(failed, NodeError::Store(StoreError::Fatal(_))),
            "{failed}"
        );
    }
    let target = MemoryEngine::new();
    let copied = compacted(&world, &target).unwrap();
    let (key, mut value) = rows_of(&target, &[keys::STATUS])[0].clone();
    value[9] ^= 1;
    let mut batch = Batch::default();
    batch.put(key, value);
    target.commit(batch).unwrap();
    assert!(matches!(
        check_copy(&target, &copied),
        Err(StoreError::Damaged(_))
    ));
    assert_eq!(rows_of(world.memory_engine(), &[]), before);
}

/// A caller of the office under a fixed key.
fn fixed(key: &str) -> tallystick::node::Caller {
    caller(Scope::Office, key, key)
}
