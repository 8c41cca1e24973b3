//! Tests of the guard file.

use super::*;

fn state(size: u64) -> GuardState {
    GuardState::new(size, [size as u8; 32])
}

fn witnessed(log: u8, size: u64, root: u8) -> Witnessed {
    Witnessed {
        log: [log; 16],
        size,
        root: [root; 32],
    }
}

/// A guard of states 1 to `last`, closed.
fn written(last: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.guard");
    let mut guard = Guard::create(&path, &state(1)).unwrap();
    for size in 2..=last {
        guard.write(&state(size)).unwrap();
    }
    (dir, path)
}

#[test]
fn keeps_the_newest_state() {
    for last in 1..5 {
        let (_dir, path) = written(last);
        let (mut guard, read) = Guard::open(&path).unwrap();
        assert_eq!(read, state(last));
        assert_eq!(Guard::read(&path).unwrap(), state(last));
        let full = GuardState {
            witnessed: (0..GUARD_WITNESSED_MAX)
                .map(|i| witnessed(i as u8, i as u64, 1))
                .collect(),
            roster_version: 9,
            ..state(last)
        };
        guard.write(&full).unwrap();
        assert_eq!(guard.state(), &full);
        drop(guard);
        assert_eq!(Guard::open(&path).unwrap().1, full);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * SLOT_BYTES as u64);
    }
}

#[test]
fn missing_existing_and_ruined_files_are_told_apart() {
    let (_dir, path) = written(2);
    assert!(matches!(
        Guard::create(&path, &state(1)),
        Err(StoreError::Refused(_))
    ));
    let elsewhere = path.with_extension("other");
    assert!(matches!(
        Guard::open(&elsewhere),
        Err(StoreError::GuardMissing { .. })
    ));
    for ruin in [vec![], vec![0; 2 * SLOT_BYTES], vec![0xff; 30]] {
        std::fs::write(&path, ruin).unwrap();
        let error = Guard::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)));
        assert!(error.to_string().contains("recover"), "{error}");
    }
}

/// Power is cut while the newest slot is written: the one before it counts.
#[test]
fn a_torn_write_leaves_the_state_before_it() {
    let slot_bytes = state(5).to_slot(5);
    for kept in 0..slot_bytes.len() {
        let (_dir, path) = written(4);
        let mut file = std::fs::read(&path).unwrap();
        file[SLOT_BYTES..SLOT_BYTES + kept].copy_from_slice(&slot_bytes[..kept]);
        std::fs::write(&path, file).unwrap();
        // Sequence 4 is in the slot that was not touched.
        assert_eq!(Guard::read(&path).unwrap(), state(4), "{kept} bytes written");
        // The first bytes are the same in both.
        let untouched = slot_bytes[..kept] == state(3).to_slot(3)[..kept];
        assert_eq!(Guard::is_whole(&path).unwrap(), untouched, "{kept} bytes written");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let slot = state(3).to_slot(3);
    for at in 0..slot.len() * 8 {
        let mut damaged = slot.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert_eq!(GuardState::from_slot(&damaged), None, "bit {at}");
    }
}

#[test]
fn never_goes_back() {
    let (_dir, path) = written(4);
    let (mut guard, _) = Guard::open(&path).unwrap();
    for fork in [state(3), GuardState::new(4, [0; 32])] {
        assert!(matches!(guard.write(&fork), Err(StoreError::Fatal(_))));
    }
    let mut crowded = state(5);
    crowded.witnessed = vec![witnessed(0, 0, 0); GUARD_WITNESSED_MAX + 1];
    assert!(matches!(guard.write(&crowded), Err(StoreError::Fatal(_))));
    guard.write(&state(4)).unwrap();
    assert_eq!(Guard::read(&path).unwrap(), state(4));
    let federated = |size, roster_version| GuardState {
        witnessed: vec![witnessed(7, size, 1), witnessed(8, 5, 1)],
        roster_version,
        ..state(5)
    };
    guard.write(&federated(20, 3)).unwrap();
    let other_root = GuardState {
        witnessed: vec![witnessed(7, 20, 2), witnessed(8, 5, 1)],
        ..federated(20, 3)
    };
    let left_out = GuardState {
        witnessed: vec![witnessed(7, 20, 1)],
        ..federated(20, 3)
    };
    for backwards in [federated(19, 3), federated(21, 2), other_root, left_out] {
        assert!(matches!(guard.write(&backwards), Err(StoreError::Fatal(_))));
    }
    guard.write(&federated(20, 4)).unwrap();
    guard.write(&federated(21, 4)).unwrap();
    assert_eq!(Guard::read(&path).unwrap(), federated(21, 4));
}

/// The write itself fails: nothing is persisted, and nothing is tried again.
#[test]
fn a_failed_write_ends_the_guard() {
    let (_dir, path) = written(2);
    let (mut guard, _) = Guard::open(&path).unwrap();
    let writable = guard.slots.replace(File::open(&path).unwrap());
    assert!(matches!(guard.write(&state(3)), Err(StoreError::Fatal(_))));
    guard.slots.replace(writable);
    assert!(matches!(guard.write(&state(3)), Err(StoreError::Fatal(_))));
    assert_eq!(Guard::read(&path).unwrap(), state(2));
}

/// The sync fails: what is on disk is not known, so nothing is tried again.
#[test]
fn a_failed_sync_ends_the_guard() {
    let (_dir, path) = written(2);
    let (mut guard, _) = Guard::open(&path).unwrap();
    let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let real = guard.slots.replace(null);
    assert!(matches!(guard.write(&state(3)), Err(StoreError::Fatal(_))));
    guard.slots.replace(real);
    assert!(matches!(guard.write(&state(3)), Err(StoreError::Fatal(_))));
}
