//! Tests of `access`.
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::primitives::OsEntropy;

const NOW: UnixSeconds = UnixSeconds(1_772_896_869);

fn file() -> (tempfile::TempDir, AccessFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = AccessFile::in_dir(dir.path());
    (dir, file)
}

fn till() -> Role {
    Role::Till(Register::new("shop1-lane3").unwrap())
}

#[test]
fn keys_are_shown_once_and_kept_hashed() {
    let (_dir, file) = file();
    let made = file.add(till(), "front", NOW, &OsEntropy).unwrap();
    assert!(made.key.starts_with("till_"));
    assert_eq!(made.key.len(), "till_".len() + 43);
    let text = fs::read_to_string(&file.path).unwrap();
    assert!(!text.contains(&made.key["till_".len()..]));
    assert_eq!(fs::metadata(&file.path).unwrap().mode() & 0o7777, 0o600);
    let keys = AccessKeys::open(file.clone()).unwrap();
    let found = keys.find(&made.key).unwrap();
    assert_eq!((found.id.as_str(), &found.role), (made.id.as_str(), &till()));
    assert_eq!((found.label.as_str(), found.created), ("front", NOW));
    assert!(keys.find(&made.id).is_none());
    assert!(keys.find("").is_none());
}

#[test]
fn a_serving_node_sees_what_is_added_and_revoked() {
    let (_dir, file) = file();
    let office = file.add(Role::Office, "office", NOW, &OsEntropy).unwrap();
    let keys = AccessKeys::open(file.clone()).unwrap().checking_always();
    let auditor = file.add(Role::Auditor, "audit", NOW, &OsEntropy).unwrap();
    assert_eq!(keys.find(&auditor.key).unwrap().role, Role::Auditor);
    let revoked = file.revoke(&office.id, NOW.plus(9)).unwrap();
    assert_eq!(revoked.revoked, Some(NOW.plus(9)));
    assert!(keys.find(&office.key).is_none());
    assert_eq!(file.list().unwrap().len(), 2);
    // The first revocation counts.
    assert_eq!(file.revoke(&office.id, NOW.plus(10)).unwrap(), revoked);
    assert!(matches!(
        file.revoke("ffffffffff", NOW),
        Err(AccessError::Unknown(_))
    ));
    // A broken file changes nothing.
    fs::write(&file.path, "{").unwrap();
    assert!(keys.find(&auditor.key).is_some());
}

#[test]
fn a_look_within_the_second_is_saved() {
    let (_dir, file) = file();
    file.add(Role::Office, "office", NOW, &OsEntropy).unwrap();
    let mut keys = AccessKeys::open(file.clone()).unwrap();
    keys.recheck = Duration::from_secs(3_600);
    let late = file.add(Role::Office, "late", NOW, &OsEntropy).unwrap();
    assert!(keys.find(&late.key).is_none());
}

#[test]
fn files_that_others_can_read_or_that_are_broken_are_refused() {
    let (_dir, file) = file();
    assert!(matches!(file.list(), Err(AccessError::Missing { .. })));
    file.add(Role::Office, "office", NOW, &OsEntropy).unwrap();
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o640)).unwrap();
    let said = file.list().unwrap_err().to_string();
    assert!(said.contains("0640") && said.contains("chmod 600"), "{said}");
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o600)).unwrap();
    for broken in [
        "",
        r#"{"version":2,"keys":[]}"#,
        r#"{"version":1,"keys":[],"more":1}"#,
        r#"{"version":1,"keys":[{"id":"a","role":"till","label":"x","created":1,"sha256":"AA"}]}"#,
    ] {
        fs::write(&file.path, broken).unwrap();
        assert!(
            matches!(file.list(), Err(AccessError::Malformed { .. })),
            "{broken}"
        );
    }
    for label in ["", "two\nlines", "x".repeat(129).as_str()] {
        assert!(matches!(
            file.add(Role::Office, label, NOW, &OsEntropy),
            Err(AccessError::Label)
        ));
    }
}

#[test]
fn two_commands_at_once_lose_no_key() {
    let (_dir, file) = file();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| file.add(Role::Office, "x", NOW, &OsEntropy).unwrap());
        }
    });
    assert_eq!(file.list().unwrap().len(), 8);
}
