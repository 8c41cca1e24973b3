//! Derived rows that rot while the node does not look: nothing wrong is said,
//! nothing is done twice, and the next opening mends them.

use std::ops::ControlFlow;
use std::sync::Arc;

use tallystick::node::{Node, NodeError, OpenReport, ReceiptAnswer, Scope, Upkeep};
use tallystick::store::{Batch, Engine, Guard, MemoryEngine, rows};

use super::world::*;

const UPKEEP: Upkeep = Upkeep {
    checkpoint_entries: 4,
};

fn open(world: &World, engine: MemoryEngine) -> Result<(Node, OpenReport), NodeError> {
    Node::open_with(world.parts(Arc::new(engine), world.guard()), UPKEEP)
}

fn keys(engine: &MemoryEngine, prefix: u8) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    engine
        .scan(&[prefix], &[prefix], &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    keys
}

/// Turns one bit in every data row of the index.
fn spoil_index(engine: &MemoryEngine) -> usize {
    let mut batch = Batch::default();
    for key in keys(engine, rows::INDEX_RUN) {
        let mut row = engine.get(&key).unwrap().unwrap();
        *row.last_mut().unwrap() ^= 1;
        batch.put(key, row);
    }
    let spoilt = batch.writes.len();
    engine.commit(batch).unwrap();
    spoilt
}

async fn issue(node: &Node, n: u32) -> Result<ReceiptAnswer, NodeError> {
    let reference = format!("sale-{n}");
    let caller = caller(Scope::Register(lane(1)), &reference, &reference);
    node.issue_receipt(&caller, receipt(&lane(1), &reference, START))
        .await
}

fn mended(report: &OpenReport) -> bool {
    report
        .notes
        .iter()
        .any(|note| note.contains("a row of the index was damaged"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_row_is_refused_and_mended_by_the_next_start() {
    let world = World::memory();
    let (node, _) = open(&world, world.memory_engine().clone()).unwrap();
    let mut answers = Vec::new();
    for n in 0..10 {
        answers.push(issue(&node, n).await.unwrap());
    }
    node.shut_down().await;
    assert!(spoil_index(world.memory_engine()) > 0);
    let (node, report) = open(&world, world.memory_engine().clone()).unwrap();
    assert!(!mended(&report), "{report:?}");
    let refused = issue(&node, 3).await.unwrap_err();
    assert!(matches!(refused, NodeError::IndexDamaged(_)), "{refused:?}");
    let refused = node.receipt_by_reference(&lane(1), "sale-4").unwrap_err();
    assert!(matches!(refused, NodeError::IndexDamaged(_)), "{refused:?}");
    // What needs no damaged row goes on.
    assert_eq!(issue(&node, 10).await.unwrap().sequence_number, 11);
    assert_eq!(node.stopped(), None);
    node.shut_down().await;
    let (node, report) = open(&world, world.memory_engine().clone()).unwrap();
    assert!(mended(&report), "{report:?}");
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(issue(&node, n as u32).await.unwrap(), *answer);
    }
    assert_eq!(issue(&node, 11).await.unwrap().sequence_number, 12);
    node.shut_down().await;
    let (_, report) = open(&world, world.memory_engine().clone()).unwrap();
    assert!(report.notes.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_s_find_is_marked_without_another_call() {
    let world = World::memory();
    let (node, _) = open(&world, world.memory_engine().clone()).unwrap();
    issue(&node, 0).await.unwrap();
    node.shut_down().await;
    spoil_index(world.memory_engine());
    let (node, _) = open(&world, world.memory_engine().clone()).unwrap();
    node.receipt_by_reference(&lane(1), "sale-0").unwrap_err();
    node.shut_down().await;
    let (node, report) = open(&world, world.memory_engine().clone()).unwrap();
    assert!(mended(&report), "{report:?}");
    assert!(node.receipt_by_reference(&lane(1), "sale-0").unwrap().is_some());
}

/// Merges read every row of their runs, while serving and while opening.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_that_ends_a_merge_is_mended_too() {
    let world = World::memory();
    let (mut stopped, mut at_opening) = (0, 0);
    let (mut node, _) = open(&world, world.memory_engine().clone()).unwrap();
    for n in 0..80 {
        issue(&node, n).await.unwrap();
        if n % 3 == 0 {
            // What a power cut in this moment leaves, with rot.
            let left = world.memory_engine().fork();
            spoil_index(&left);
            let (_, state) = Guard::open(&world.guard).unwrap();
            let beside = world.guard.with_extension("copy");
            let _ = std::fs::remove_file(&beside);
            Guard::create(&beside, &state).unwrap();
            let (guard, state) = Guard::open(&beside).unwrap();
            let parts = world.parts(Arc::new(left), (Box::new(guard), state));
            let few = Upkeep {
                checkpoint_entries: 1,
            };
            let (copy, report) = Node::open_with(parts, few).unwrap();
            at_opening += u32::from(mended(&report));
            copy.shut_down().await;
        }
    }
    node.shut_down().await;
    for n in 80..200 {
        spoil_index(world.memory_engine());
        node = open(&world, world.memory_engine().clone()).unwrap().0;
        let issued = issue(&node, n).await;
        node.shut_down().await;
        if node
            .stopped()
            .is_some_and(|why| why.contains("the index is damaged"))
        {
            stopped += 1;
        }
        let (node, _) = open(&world, world.memory_engine().clone()).unwrap();
        let again = issue(&node, n).await;
        if let (Ok(issued), Ok(again)) = (&issued, &again) {
            assert_eq!(issued, again);
        }
        node.shut_down().await;
    }
    assert!(stopped > 0, "no merge met a damaged row");
    assert!(at_opening > 0, "no opening met a damaged row");
}

/// One row of derived state after the other is lost: without its register's
/// row a node would number receipts from 1 again.
#[tokio::test(flavor = "multi_thread")]
async fn derived_rows_that_are_lost_are_noticed_and_made_anew() {
    let world = World::memory();
    let (node, _) = open(&world, world.memory_engine().clone()).unwrap();
    let told = story(&node, "a").await;
    for n in 0..10 {
        issue(&node, n).await.unwrap();
    }
    node.shut_down().await;
    drop(node);
    let kept = world.memory_engine();
    let mut lost = Vec::new();
    for prefix in [rows::REGISTER, rows::CAMPAIGN, rows::STATUS] {
        let found = keys(kept, prefix);
        assert!(!found.is_empty(), "no rows of {prefix}");
        lost.extend(found);
    }
    lost.extend([rows::derived(b"rows"), rows::derived(b"state")]);
    for key in lost {
        let engine = kept.fork();
        let mut batch = Batch::default();
        batch.remove(key.clone());
        engine.commit(batch).unwrap();
        let state = key == rows::derived(b"state");
        let (node, report) = open(&world, engine.clone()).unwrap();
        assert_eq!(report.replayed, report.size, "{key:?}");
        let noted = report
            .notes
            .iter()
            .any(|note| note.contains("the derived state did not fit"));
        assert_eq!(noted, !state, "{key:?}: {report:?}");
        assert_eq!(story(&node, "a").await, told, "{key:?}");
        assert_eq!(issue(&node, 9).await.unwrap().sequence_number, 11, "{key:?}");
        node.shut_down().await;
        let (_, report) = open(&world, engine).unwrap();
        assert!(
            report.notes.is_empty() && report.replayed == 0,
            "{key:?}: {report:?}"
        );
    }
    let (_, report) = open(&world, kept.clone()).unwrap();
    assert!(report.notes.is_empty() && report.replayed == 0, "{report:?}");
}
