//! The index against a plain map, with crashes, on an engine in memory.

mod world;

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use self::world::{World, entries, key};
use super::row::{DATA, FILTER, MANIFEST_KEY};
use super::{Index, StepOutcome};
use crate::primitives::limits::{INDEX_FAN_IN, INDEX_RUNS_MAX};
use crate::store::{Batch, Engine, Row, StoreError};

#[derive(Clone, Debug)]
enum Act {
    /// Commits entries, of so many keys each, with a step.
    Write {
        keys: Vec<u64>,
        per_entry: usize,
        rows_max: usize,
    },
    /// Inserts and steps, but the commit fails; the writer goes on.
    Fail {
        keys: Vec<u64>,
        rows_max: usize,
    },
    /// The process ends before its commit, or after it.
    Crash {
        rows_max: usize,
        committed: bool,
    },
    Checkpoint,
    Settle,
}

fn act() -> impl Strategy<Value = Act> {
    // Few different keys, so that many are overwritten across runs.
    let keys = |most| prop::collection::vec(0_u64..600, 0..most);
    prop_oneof![
        4 => (keys(60), 1..5_usize, 0..6_usize)
            .prop_map(|(keys, per_entry, rows_max)| Act::Write { keys, per_entry, rows_max }),
        1 => (keys(400), 3..5_usize, 0..3_usize)
            .prop_map(|(keys, per_entry, rows_max)| Act::Write { keys, per_entry, rows_max }),
        1 => (keys(20), 0..4_usize).prop_map(|(keys, rows_max)| Act::Fail { keys, rows_max }),
        1 => (0..5_usize, any::<bool>()).prop_map(|(rows_max, committed)| Act::Crash { rows_max, committed }),
        4 => Just(Act::Checkpoint),
        1 => Just(Act::Settle),
    ]
}

fn play(world: &mut World, act: Act) {
    match act {
        Act::Write {
            keys,
            per_entry,
            rows_max,
        } => {
            let entries: Vec<_> = keys.chunks(per_entry).map(<[u64]>::to_vec).collect();
            world.write(&entries, rows_max);
        }
        Act::Fail { keys, rows_max } => {
            world.insert(&[keys]);
            drop(world.step(rows_max));
            world.index.abandon();
        }
        Act::Crash { rows_max, committed } => {
            let (batch, _) = world.step(rows_max);
            if committed {
                world.engine.commit(batch).unwrap();
            }
            world.reopen();
        }
        Act::Checkpoint => drop(world.checkpoint()),
        Act::Settle => world.settle(3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_a_map(acts in prop::collection::vec(act(), 1..70), probe in 0_u64..600) {
        let mut world = World::new();
        for act in acts {
            play(&mut world, act);
            world.check((probe..700).step_by(97));
        }
        world.check(0..610);
        world.settle(2);
        world.reopen();
        world.check(0..610);
        // Nothing is left over once all is settled.
        world.settle(5);
        let runs = world.index.runs_len();
        prop_assert!(world.engine.rows_of(DATA) >= runs);
        prop_assert_eq!(world.engine.rows_of(FILTER), runs);
    }
}

#[test]
fn an_index_without_keys_covers_entries_all_the_same() {
    let mut world = World::new();
    world.write(&[vec![], vec![]], 4);
    assert!(world.checkpoint());
    assert_eq!(
        world.write(&[], 4),
        StepOutcome::Checkpoint { rows: 1, covers: 2 }
    );
    assert_eq!((world.index.runs_len(), world.index.covers()), (0, 2));
    assert!(world.index.is_idle());
    assert!(!world.checkpoint(), "nothing new to cover");
    let (_, covers) = Index::open(&world.engine).unwrap();
    assert_eq!(covers, 2);
}

#[test]
fn readers_see_a_key_after_its_commit_only() {
    let mut world = World::new();
    world.insert(&[vec![1]]);
    assert_eq!(world.index.lookup(&world.engine, key(1)).unwrap(), Some(0));
    assert_eq!(world.reader.lookup(&world.engine, key(1)).unwrap(), None);
    world.index.abandon();
    assert_eq!(world.index.lookup(&world.engine, key(1)).unwrap(), None);
    world.write(&[vec![1]], 0);
    world.check(0..3);
    assert_eq!(world.index.tail_len(), 1);
}

#[test]
fn keys_stay_readable_while_the_tail_is_written_out() {
    let mut world = World::new();
    world.write(&entries(0, 2_000), 0);
    assert!(world.checkpoint());
    assert!(!world.checkpoint(), "one at a time");
    assert_eq!(world.index.tail_len(), 0);
    // 7 data rows, a filter row and the manifest.
    let mut steps = 0;
    while world.index.covers() == 0 {
        world.write(&entries(1_900 + steps, 1), 1);
        world.check((0..2_100).step_by(13));
        steps += 1;
    }
    assert_eq!((steps, world.index.runs_len()), (9, 1));
    world.check(0..2_100);
    world.reopen();
    assert_eq!(world.index.tail_len(), 9);
    world.check(0..2_100);
}

#[test]
fn runs_grow_as_the_logarithm_and_the_newest_value_wins() {
    let mut world = World::new();
    let levels = 3_u32;
    let checkpoints = (INDEX_FAN_IN as u64).pow(levels);
    for round in 0..checkpoints {
        // Each key is written in every seventh round, so many times over.
        world.write(&entries(1_000 * (round % 7), 40), 0);
        assert!(world.checkpoint());
        world.settle(4);
        let round = round + 1;
        let digits: u64 = (0..=levels).map(|level| round / 8_u64.pow(level) % 8).sum();
        assert_eq!(world.index.runs_len() as u64, digits, "after {round} checkpoints");
        if round % 61 == 0 {
            world.check((0..7_000).step_by(3));
            world.reopen();
        }
    }
    assert_eq!(world.index.runs_len(), 1);
    // 280 keys in one run: one data row, whatever was written over.
    assert_eq!((world.engine.rows_of(DATA), world.engine.rows_of(FILTER)), (1, 1));
    world.check(0..7_000);
}

#[test]
fn a_merge_of_many_rows_lets_checkpoints_pass() {
    let mut world = World::new();
    for round in 0..INDEX_FAN_IN as u64 {
        world.write(&entries(round * 700, 1_000), 0);
        assert!(world.checkpoint());
        while world.index.covers() < world.log.len() as u64 {
            world.write(&[], 3);
        }
    }
    assert_eq!(world.index.runs_len(), INDEX_FAN_IN);
    world.write(&entries(9_000, 50), 3);
    assert!(world.checkpoint(), "though a merge is under way");
    world.write(&[], 3);
    assert_eq!(world.index.runs_len(), INDEX_FAN_IN + 1);
    world.settle(3);
    assert_eq!(world.index.runs_len(), 2);
    world.check(0..9_100);
    world.reopen();
    world.check(0..9_100);
}

#[test]
fn rows_of_a_merged_run_stay_while_a_reader_is_in_it() {
    let mut world = World::new();
    for round in 0..INDEX_FAN_IN as u64 {
        world.write(&entries(round, 1), 0);
        assert!(world.checkpoint());
        while world.index.covers() < world.log.len() as u64 {
            world.write(&[], 1);
        }
    }
    let in_use = world.index.shared.runs();
    while world.write(&[], 1) != StepOutcome::Nothing {}
    assert_eq!((world.index.runs_len(), world.index.is_idle()), (1, false));
    for (number, run) in in_use.iter().enumerate() {
        let found = run.lookup(&world.engine, super::Mixed::of(key(number as u64)));
        assert_eq!(found.unwrap(), Some(number as u64));
    }
    drop(in_use);
    world.settle(1);
    assert_eq!(world.engine.rows_of(DATA), 1);
}

#[test]
fn checkpoints_wait_when_merges_fall_behind() {
    let mut world = World::new();
    // Steps are only ever given to checkpoints.
    while world.index.runs_len() < INDEX_RUNS_MAX {
        let first = world.log.len() as u64;
        world.write(&entries(first, 1), 0);
        assert!(world.checkpoint());
        while world.index.covers() < world.log.len() as u64 {
            world.write(&[], 1);
        }
    }
    world.write(&entries(500, 1), 0);
    assert!(!world.checkpoint());
    world.settle(8);
    assert!(world.index.runs_len() < 16);
    assert!(world.checkpoint());
    world.check(0..510);
}

#[test]
fn absent_keys_mostly_cost_no_read() {
    let mut world = World::new();
    world.write(&entries(0, 5_000), 0);
    assert!(world.checkpoint());
    world.settle(50);
    let before = world.engine.reads();
    world.check(5_000..7_000);
    let reads = world.engine.reads() - before;
    assert!(reads < 150, "{reads} reads for 4,000 look-ups");
}

#[test]
fn a_damaged_or_missing_row_is_named_and_wiping_heals() {
    let mut world = World::new();
    world.write(&entries(0, 1_000), 0);
    assert!(world.checkpoint());
    world.settle(50);
    let rows: Vec<Row> = world.engine.rows.lock().unwrap().clone().into_iter().collect();
    assert_eq!(rows.len(), 4 + 1 + 1);
    for (row_key, value) in &rows {
        let mut flipped = value.clone();
        flipped[value.len() / 2] ^= 4;
        for wrong in [Some(flipped), None] {
            if row_key == MANIFEST_KEY && wrong.is_none() {
                continue;
            }
            let mut batch = Batch::default();
            batch.writes.push((row_key.clone(), wrong));
            world.engine.commit(batch).unwrap();
            let error = Index::open(&world.engine).map(|(index, _)| {
                (0..1_000).find_map(|number| index.lookup(&world.engine, key(number)).err())
            });
            let error = error.unwrap_or_else(Some).expect("damage is noticed");
            assert!(matches!(error, StoreError::Damaged(_)), "{error}");

            let mut batch = Batch::default();
            batch.put(row_key.clone(), value.clone());
            world.engine.commit(batch).unwrap();
        }
    }
    // Without its manifest the index begins anew, and its old rows go.
    for wipe in [false, true] {
        if wipe {
            Index::wipe(&world.engine).unwrap();
            assert!(world.engine.rows.lock().unwrap().is_empty());
        } else {
            let mut batch = Batch::default();
            batch.remove(MANIFEST_KEY);
            world.engine.commit(batch).unwrap();
        }
        world.reopen();
        assert_eq!((world.index.covers(), world.index.tail_len()), (0, 1_000));
        world.check(0..1_010);
        world.settle(2);
        assert!(world.engine.rows.lock().unwrap().is_empty());
    }
}

#[test]
fn damage_stops_a_merge_and_leaves_what_counts() {
    let mut world = World::new();
    for round in 0..INDEX_FAN_IN as u64 {
        world.write(&entries(round * 400, 400), 0);
        assert!(world.checkpoint());
        while world.index.covers() < world.log.len() as u64 {
            world.write(&[], 1);
        }
    }
    let lost = world.engine.rows.lock().unwrap().keys().nth(3).cloned().unwrap();
    let mut batch = Batch::default();
    batch.remove(lost);
    world.engine.commit(batch).unwrap();
    let mut batch = Batch::default();
    let error = loop {
        match world.index.step(&world.engine, &mut batch, 50) {
            Ok(outcome) => assert_ne!(outcome, StepOutcome::Nothing),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Damaged(_)));
    assert!(batch.is_empty());
    world.index.abandon();
    assert_eq!(world.index.runs_len(), INDEX_FAN_IN);
}

/// Readers look up without a break while the writer writes, checkpoints,
/// merges and removes: a key once seen stays, and its value never falls.
#[test]
fn readers_beside_the_writer_never_lose_a_key() {
    let mut world = World::new();
    let shared = std::sync::Arc::new(std::mem::take(&mut world.engine));
    let (mut index, _) = Index::open(&*shared).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let published = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let reader = index.reader();
            let (shared, stop, published) = (&shared, &stop, &published);
            scope.spawn(move || {
                let mut number = thread;
                while !stop.load(Ordering::Relaxed) {
                    let known = published.load(Ordering::Acquire);
                    number = (number + 7) % 500;
                    let value = reader.lookup(&**shared, key(number)).unwrap();
                    let least = (known > 500).then(|| known - 500);
                    assert!(value >= least, "key {number}: {value:?} below {least:?}");
                }
            });
        }
        for entry in 0..20_000_u64 {
            index.insert(key(entry % 500), entry);
            if entry % 50 == 49 {
                let mut batch = Batch::default();
                index.step(&*shared, &mut batch, 4).unwrap();
                shared.commit(batch).unwrap();
                index.committed();
                published.store(entry + 1, Ordering::Release);
                if entry % 1_000 == 999 {
                    index.begin_checkpoint(entry + 1);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(index.runs_len() < 30);
}
