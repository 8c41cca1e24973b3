use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::{MemoryEngine, OsDisk};
use crate::testkit::conformance;
use crate::testkit::{Fault, FaultyEngine};

/// Small, so that a few commits fill it.
const SEGMENT: u64 = 300;

fn open<E: Engine>(below: E, dir: &Path) -> Journaled<E> {
    Journaled::with_segments(below, Arc::new(OsDisk), dir, SEGMENT, Layout::BYTES).unwrap()
}

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(key, value);
    batch
}

/// What a disk holds at this moment, put where it can be opened.
fn copy(dir: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

fn rows(engine: &dyn Engine) -> BTreeMap<Vec<u8>, Vec<u8>> {
    conformance::rows(engine, b"").into_iter().collect()
}

#[test]
fn keeps_the_contract_of_engines() {
    conformance::check(|| {
        let (below, dir) = (MemoryEngine::new(), tempfile::tempdir().unwrap());
        move || open(below.clone(), dir.path())
    });
}

#[test]
fn a_clean_end_leaves_everything_below() {
    let (below, dir) = (MemoryEngine::new(), tempfile::tempdir().unwrap());
    let engine = open(below.clone(), dir.path());
    for number in 0..40 {
        engine.commit(put(&format!("k{number}"), "v")).unwrap();
    }
    drop(engine);
    assert_eq!(rows(&below).len(), 40);
    let (_, held) = Journal::open(Arc::new(OsDisk), dir.path(), Layout::BYTES).unwrap();
    assert!(held.is_empty());
}

#[test]
fn a_row_is_carried_down_once_however_often_it_was_written() {
    let (below, faults) = FaultyEngine::new(MemoryEngine::new());
    let dir = tempfile::tempdir().unwrap();
    let engine =
        Journaled::with_segments(below, Arc::new(OsDisk), dir.path(), u64::MAX, Layout::BYTES).unwrap();
    for number in 0..100 {
        engine.commit(put("counter", &number.to_string())).unwrap();
    }
    assert_eq!(faults.writes(), 0);
    drop(engine);
    assert_eq!(faults.writes(), 1);
}

#[test]
fn an_engine_that_cannot_carry_down_stops_and_loses_nothing() {
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let memory = MemoryEngine::new();
        let (below, faults) = FaultyEngine::new(memory.clone());
        let dir = tempfile::tempdir().unwrap();
        let engine = open(below, dir.path());
        faults.fail(2, fault);
        let mut answered = 0;
        let error = loop {
            match engine.commit(put(&format!("k{answered:04}"), "value")) {
                Ok(()) => answered += 1,
                Err(error) => break error,
            }
            assert!(answered < 10_000, "the fault was never noticed");
        };
        assert!(matches!(error, StoreError::Fatal(_)), "{error}");
        assert!(engine.commit(put("late", "v")).is_err());
        let read = rows(&engine).len();
        assert_eq!(read, answered);
        drop(engine);
        let engine = open(memory, dir.path());
        let found = rows(&engine);
        assert!(found.len() == answered, "{} of {answered}", found.len());
        assert!(!found.contains_key(&b"late"[..]));
    }
}

#[test]
fn a_journal_that_cannot_be_written_stops_the_engine() {
    let (below, dir) = (MemoryEngine::new(), tempfile::tempdir().unwrap());
    let engine = open(below, dir.path());
    engine.commit(put("a", "1")).unwrap();
    // A handle that cannot write stands for a disk that fails.
    let broken = std::fs::File::open(dir.path().join("journal.0")).unwrap();
    engine
        .committing
        .lock()
        .unwrap()
        .as_mut()
        .unwrap()
        .replace_current(broken);
    let error = engine.commit(put("b", "2")).unwrap_err();
    assert!(matches!(error, StoreError::Fatal(_)), "{error}");
    assert!(matches!(engine.commit(put("c", "3")), Err(StoreError::Fatal(_))));
    assert_eq!(engine.get(b"b").unwrap(), None);
    assert_eq!(engine.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
}

/// A key out of few, so that rows are written again, and a value or none.
fn write() -> impl Strategy<Value = (u8, Option<u8>)> {
    (0..12_u8, proptest::option::weighted(0.7, any::<u8>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// After every commit: reads agree with a plain map, and so does an engine
    /// that is opened on what the disk holds at that moment.
    #[test]
    fn reads_and_crashes_agree_with_a_map(
        commits in prop::collection::vec(prop::collection::vec(write(), 1..6), 1..40),
    ) {
        let (below, dir) = (MemoryEngine::new(), tempfile::tempdir().unwrap());
        let engine = open(below.clone(), dir.path());
        let mut map = BTreeMap::new();
        for (number, writes) in commits.iter().enumerate() {
            let mut batch = Batch::default();
            for (key, value) in writes {
                let key = vec![b'k', *key];
                match value {
                    Some(value) => {
                        let value = vec![*value; usize::from(*value % 40)];
                        batch.put(key.clone(), value.clone());
                        map.insert(key, value);
                    }
                    None => {
                        batch.remove(key.clone());
                        map.remove(&key);
                    }
                }
            }
            engine.commit(batch).unwrap();
            prop_assert_eq!(&rows(&engine), &map);
            for key in 0..13_u8 {
                let at = vec![b'k', key];
                let last = map.range(..=at.clone()).next_back().map(|(k, v)| (k.clone(), v.clone()));
                prop_assert_eq!(engine.at_or_before(b"k", &at).unwrap(), last);
                prop_assert_eq!(engine.get(&at).unwrap(), map.get(&at).cloned());
                let from: Vec<_> = map.range(at.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect();
                let mut scanned = Vec::new();
                engine.scan(b"k", &at, &mut |k, v| {
                    scanned.push((k.to_vec(), v.to_vec()));
                    if scanned.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }).unwrap();
                prop_assert_eq!(&scanned[..], &from[..from.len().min(3)]);
            }
            if number % 5 == 0 {
                // The rows below are copied first: what is carried down meanwhile is
                // in the journal too.
                let (below, dir) = (below.fork(), copy(dir.path()));
                prop_assert_eq!(&rows(&open(below, dir.path())), &map);
            }
        }
    }
}
