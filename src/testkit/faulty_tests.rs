//! Each durable write, failed and not persisted, and failed but persisted.

use super::*;
use std::path::Path;

use crate::store::{Disk, Guard, MemoryEngine, SledEngine};
use crate::testkit::{FaultyDisk, UnsyncedDisk};

fn one(key: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(key, "v");
    batch.require_absent = Some(key.into());
    batch
}

/// Commits `a`, fails at `b`, tries `c`.
fn fails_at_b(engine: impl Engine, fault: Fault) {
    let (engine, faults) = FaultyEngine::new(engine);
    faults.fail(2, fault);
    engine.commit(one("a")).unwrap();
    assert!(!faults.has_failed());
    assert!(matches!(engine.commit(one("b")), Err(StoreError::Fatal(_))));
    assert!(faults.has_failed());
    assert!(
        matches!(engine.commit(one("c")), Err(StoreError::Fatal(_))),
        "poisoned"
    );
    assert_eq!(faults.writes(), 2);
}

fn check_after(engine: &dyn Engine, fault: Fault) {
    let has = |key: &str| engine.get(key.as_bytes()).unwrap().is_some();
    assert!(has("a"));
    assert_eq!(has("b"), fault == Fault::Persisted);
    assert!(!has("c"));
    // Who opens anew and tries `b` again learns whether it is there.
    match engine.commit(one("b")) {
        Ok(()) => assert_eq!(fault, Fault::NotPersisted),
        Err(error) => {
            assert!(matches!(error, StoreError::HeadMoved));
            assert_eq!(fault, Fault::Persisted);
        }
    }
}

#[test]
fn a_failed_commit_in_memory() {
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let engine = MemoryEngine::new();
        fails_at_b(engine.clone(), fault);
        check_after(&engine, fault);
    }
}

#[test]
fn a_failed_commit_on_disk() {
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let dir = tempfile::tempdir().unwrap();
        fails_at_b(SledEngine::create(dir.path()).unwrap(), fault);
        check_after(&SledEngine::open(dir.path()).unwrap().0, fault);
    }
}

#[test]
fn a_failed_guard_write() {
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.guard");
        let state = |size| GuardState::new(size, [size as u8; 32]);
        let (mut guard, faults) = FaultyGuard::new(Guard::create(&path, &state(1)).unwrap());
        faults.fail(1, fault);
        assert!(matches!(guard.write(&state(2)), Err(StoreError::Fatal(_))));
        assert!(matches!(guard.write(&state(3)), Err(StoreError::Fatal(_))));
        drop(guard);
        let expected = if fault == Fault::Persisted { 2 } else { 1 };
        assert_eq!(Guard::open(&path).unwrap().1, state(expected));
    }
}

/// Commits `a` and `b` on `disk`, the sync of `b` with a fault, then takes back
/// what was not synced.
fn commit_and_cut(
    disk: &FaultyDisk,
    store_on: Arc<dyn Disk>,
    dir: &Path,
    fault: Option<Fault>,
) -> Result<SledEngine, StoreError> {
    let (engine, _) = SledEngine::open_on(store_on, dir).unwrap();
    engine.commit(one("a")).unwrap();
    if let Some(fault) = fault {
        // A commit is a write of the journal and its sync.
        disk.fail(2, fault);
    }
    let _ = engine.commit(one("b"));
    drop(engine);
    disk.cut_power();
    Ok(SledEngine::open(dir)?.0)
}

#[test]
fn a_cut_takes_back_what_was_not_synced_and_only_that() {
    for (fault, kept) in [
        (None, true),
        (Some(Fault::Persisted), true),
        (Some(Fault::NotPersisted), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        drop(SledEngine::create(dir.path()).unwrap());
        let disk = FaultyDisk::over(&[dir.path()]);
        let engine = commit_and_cut(&disk, Arc::new(disk.clone()), dir.path(), fault).unwrap();
        assert!(engine.get(b"a").unwrap().is_some(), "{fault:?}");
        assert_eq!(engine.get(b"b").unwrap().is_some(), kept, "{fault:?}");
        let failed = disk
            .failed()
            .is_some_and(|call| call.starts_with("sync") && call.contains("journal"));
        assert_eq!(failed, fault.is_some(), "{:?}", disk.failed());
    }
}

#[test]
fn without_the_sync_everything_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    drop(SledEngine::create(dir.path()).unwrap());
    let disk = FaultyDisk::over(&[dir.path()]);
    let engine = commit_and_cut(&disk, Arc::new(UnsyncedDisk), dir.path(), None).unwrap();
    assert!(engine.get(b"a").unwrap().is_none());
}
