//! One suite of behaviours that every engine passes: the contract of
//! [`Engine`], as tests.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::primitives::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::store::{Batch, Engine, Row, StoreError};

/// Runs the whole suite. `fresh` makes a new store and gives back the way to
/// open it; each opening is dropped before the next one.
///
/// # Panics
/// When the engine breaks its contract.
pub fn check<E: Engine, O: FnMut() -> E>(mut fresh: impl FnMut() -> O) {
    commits_are_whole(&fresh()());
    require_absent_guards_the_head(&fresh()());
    one_of_many_writers_wins(&fresh()());
    readers_see_whole_commits(&fresh()());
    finds_at_or_before(&fresh()());
    scans_in_order(&fresh()());
    last_write_in_a_batch_wins(&fresh()());
    refuses_what_is_too_long(&fresh()());
    keeps_over_reopening(fresh());
}

/// All rows whose keys begin with `prefix`.
///
/// # Panics
/// When the engine cannot read.
#[must_use]
pub fn rows(engine: &dyn Engine, prefix: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    engine
        .scan(prefix, b"", &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .expect("the engine scans");
    rows
}

fn batch_of(writes: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.remove(*key),
        }
    }
    batch
}

fn value(engine: &dyn Engine, key: &str) -> Option<String> {
    let value = engine.get(key.as_bytes()).expect("the engine reads")?;
    Some(String::from_utf8(value).expect("the suite writes text"))
}

fn commit(engine: &dyn Engine, writes: &[(&str, Option<&str>)]) {
    engine.commit(batch_of(writes)).expect("the engine commits");
}

fn commits_are_whole(engine: &dyn Engine) {
    assert_eq!(value(engine, "a1"), None);
    commit(engine, &[("a1", Some("one")), ("b1", Some("two"))]);
    assert_eq!(value(engine, "a1").as_deref(), Some("one"));
    assert_eq!(value(engine, "b1").as_deref(), Some("two"));
    // Overwriting, removing, and removing what is not there, in one batch.
    commit(engine, &[("a1", Some("three")), ("b1", None), ("c1", None)]);
    assert_eq!(value(engine, "a1").as_deref(), Some("three"));
    assert_eq!(value(engine, "b1"), None);
    commit(engine, &[]);
}

fn require_absent_guards_the_head(engine: &dyn Engine) {
    let mut first = batch_of(&[("e1", Some("first")), ("n", Some("1"))]);
    first.require_absent = Some(b"e1".to_vec());
    engine.commit(first).expect("the key was free");
    let mut second = batch_of(&[("e1", Some("second")), ("n", Some("2")), ("m", Some("2"))]);
    second.require_absent = Some(b"e1".to_vec());
    assert!(matches!(engine.commit(second), Err(StoreError::HeadMoved)));
    assert_eq!(value(engine, "e1").as_deref(), Some("first"));
    assert_eq!(value(engine, "n").as_deref(), Some("1"));
    assert_eq!(value(engine, "m"), None);
    // Losing the race is no failure: the engine still writes.
    commit(engine, &[("m", Some("3"))]);
    assert_eq!(value(engine, "m").as_deref(), Some("3"));
}

fn one_of_many_writers_wins(engine: &dyn Engine) {
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let won = &won;
            scope.spawn(move || {
                let mut batch = batch_of(&[("head", Some("taken"))]);
                batch.put(format!("by{writer}"), "me");
                batch.require_absent = Some(b"head".to_vec());
                match engine.commit(batch) {
                    Ok(()) => {
                        won.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => assert!(matches!(error, StoreError::HeadMoved), "{error}"),
                }
            });
        }
    });
    assert_eq!(won.load(Ordering::Relaxed), 1);
    assert_eq!(rows(engine, b"by").len(), 1);
}

/// Both rows are always written together; who reads `a` first never finds an
/// older `b`.
fn readers_see_whole_commits(engine: &dyn Engine) {
    let done = AtomicBool::new(false);
    let number = |key: &str| {
        engine
            .get(key.as_bytes())
            .expect("the engine reads")
            .map_or(0, |value| value[0])
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let a = number("a");
                let b = number("b");
                assert!(b >= a, "b is {b} where a was {a}");
            }
        });
        for round in 1..=50_u8 {
            let mut batch = Batch::default();
            batch.put("a", [round]);
            batch.put("b", [round]);
            engine.commit(batch).expect("the engine commits");
            assert_eq!((number("a"), number("b")), (round, round), "seen once committed");
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn finds_at_or_before(engine: &dyn Engine) {
    commit(
        engine,
        &[
            ("a9", Some("a")),
            ("b2", Some("2")),
            ("b5", Some("5")),
            ("c1", Some("c")),
        ],
    );
    let found = |prefix: &str, key: &str| {
        engine
            .at_or_before(prefix.as_bytes(), key.as_bytes())
            .expect("the engine reads")
            .map(|(key, _)| String::from_utf8(key).expect("the suite writes text"))
    };
    for (prefix, key, expected) in [
        ("b", "b1", None),
        ("b", "b2", Some("b2")),
        ("b", "b4", Some("b2")),
        ("b", "b5", Some("b5")),
        ("b", "b99", Some("b5")),
        // A key past the prefix's rows asks for the last of them.
        ("b", "z", Some("b5")),
        ("b", "c1", Some("b5")),
        ("b", "a", None),
        ("d", "z", None),
        ("", "b3", Some("b2")),
        // Before 'f', for an engine may hold its format row there.
        ("", "d", Some("c1")),
    ] {
        assert_eq!(found(prefix, key).as_deref(), expected, "{prefix:?} {key:?}");
    }
    let mut batch = Batch::default();
    batch.put([0xff, 1], "x");
    engine.commit(batch).expect("the engine commits");
    let row = engine
        .at_or_before(&[0xff], &[0xff, 9])
        .expect("the engine reads");
    assert_eq!(row, Some((vec![0xff, 1], b"x".to_vec())));
}

fn scans_in_order(engine: &dyn Engine) {
    // More rows than a page holds, written out of order.
    let mut batch = Batch::default();
    for number in (0..100_u8).rev() {
        batch.put([b'k', number], [number]);
    }
    batch.put("j", "before");
    batch.put("l", "after");
    engine.commit(batch).expect("the engine commits");
    let visited = |from: &[u8], most: usize| {
        let mut visited = Vec::new();
        engine
            .scan(b"k", from, &mut |key, value| {
                assert_eq!(key[1..], *value);
                visited.push(value[0]);
                if visited.len() == most {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .expect("the engine scans");
        visited
    };
    assert_eq!(visited(b"", 1_000), (0..100).collect::<Vec<_>>());
    assert_eq!(visited(b"k", 3), [0, 1, 2]);
    assert_eq!(visited(&[b'k', 97], 1_000), [97, 98, 99]);
    assert_eq!(visited(&[b'k', 97, 0], 1), [98]);
    assert!(visited(b"l", 1_000).is_empty());
    // A visitor may read.
    engine
        .scan(b"k", b"", &mut |key, value| {
            assert_eq!(engine.get(key).expect("the engine reads").as_deref(), Some(value));
            ControlFlow::Continue(())
        })
        .expect("the engine scans");
}

fn last_write_in_a_batch_wins(engine: &dyn Engine) {
    commit(
        engine,
        &[
            ("a", Some("1")),
            ("a", Some("2")),
            ("b", Some("1")),
            ("b", None),
            ("c", None),
            ("c", Some("1")),
        ],
    );
    assert_eq!(value(engine, "a").as_deref(), Some("2"));
    assert_eq!(value(engine, "b"), None);
    assert_eq!(value(engine, "c").as_deref(), Some("1"));
}

fn refuses_what_is_too_long(engine: &dyn Engine) {
    let put = |key: usize, value: usize| {
        let mut batch = batch_of(&[("beside", Some("x"))]);
        batch.put(vec![b'k'; key], vec![0; value]);
        engine.commit(batch)
    };
    for (key, value) in [(1, VALUE_BYTES_MAX + 1), (KEY_BYTES_MAX + 1, 1), (0, 1)] {
        assert!(
            matches!(put(key, value), Err(StoreError::Refused(_))),
            "{key} {value}"
        );
    }
    assert_eq!(value(engine, "beside"), None);
    put(KEY_BYTES_MAX, VALUE_BYTES_MAX).expect("the limits themselves fit");
    put(1, 0).expect("an empty value is a value");
    assert_eq!(engine.get(b"k").expect("the engine reads"), Some(Vec::new()));
}

fn keeps_over_reopening<E: Engine>(mut open: impl FnMut() -> E) {
    for round in 0..3_u8 {
        let engine = open();
        assert_eq!(rows(&engine, b"k").len(), 40 * usize::from(round));
        let mut batch = Batch::default();
        for number in 0..40 {
            batch.put([b'k', round, number], vec![number; 300]);
        }
        batch.put("last", [round]);
        engine.commit(batch).expect("the engine commits");
    }
    let engine = open();
    let found = rows(&engine, b"k");
    assert_eq!(found.len(), 120);
    assert!(found.iter().all(|(key, value)| *value == vec![key[2]; 300]));
    assert_eq!(
        engine.get(b"last").expect("the engine reads").as_deref(),
        Some(&[2][..])
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryEngine, SledEngine};
    use crate::testkit::FaultyEngine;

    #[test]
    fn memory_conforms() {
        check(|| {
            let engine = MemoryEngine::new();
            move || engine.clone()
        });
    }

    #[test]
    fn faulty_without_faults_conforms() {
        check(|| {
            let engine = MemoryEngine::new();
            move || FaultyEngine::new(engine.clone()).0
        });
    }

    #[test]
    fn sled_conforms() {
        check(|| {
            let dir = tempfile::tempdir().unwrap();
            drop(SledEngine::create(dir.path()).unwrap());
            move || {
                let (engine, notes) = SledEngine::open(dir.path()).unwrap();
                assert_eq!(notes, Vec::<String>::new());
                engine
            }
        });
    }
}
