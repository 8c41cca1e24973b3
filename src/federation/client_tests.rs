//! The log client against logs that lie.

use std::sync::Arc;

use crate::log::LogError;
use crate::testkit::log::{MemorySource, TestLog};

use super::bundles::EntryForm;
use super::chain::{entries_of, join};
use super::client::{LogClient, SignedCheckpoint, key_told_at};
use super::error::FollowError;
use super::source::FetchError;
use super::tree::VerifiedTree;

fn client(log: &TestLog, source: &Arc<MemorySource>) -> LogClient {
    LogClient::new(Arc::<MemorySource>::clone(source), log.vkey())
}

fn first_look(log: &TestLog) -> (Arc<MemorySource>, LogClient, SignedCheckpoint) {
    let source = log.source();
    let client = client(log, &source);
    let signed = client.checkpoint().unwrap();
    (source, client, signed)
}

/// Reads all entries from `from` on and gives their bytes.
fn read(tree: &VerifiedTree, from: u64) -> Result<Vec<Vec<u8>>, FollowError> {
    let mut found = Vec::new();
    let mut end = None;
    tree.read_entries(
        from..tree.size(),
        EntryForm::Tallystick,
        &entries_of,
        &mut |bundle, entries| {
            end = join(end, &bundle, &entries)?;
            let wanted = bundle.entries().filter(|(index, _)| *index >= from);
            found.extend(wanted.map(|(_, bytes)| bytes.to_vec()));
            Ok::<_, FollowError>(())
        },
    )?;
    Ok(found)
}

#[test]
fn a_log_is_read_whole_at_every_shape_of_its_tree() {
    let full = TestLog::new(1_300);
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 700, 1_024, 1_300] {
        let mut log = full.clone();
        log.entries.truncate(size);
        let (_, client, _) = first_look(&log);
        let tree = client.update(None).unwrap();
        assert_eq!(tree.size(), size as u64);
        assert_eq!(read(&tree, 0).unwrap(), log.entries, "{size}");
        let form = client.form(&tree).unwrap();
        let expected = if size == 0 {
            EntryForm::Any
        } else {
            EntryForm::Tallystick
        };
        assert_eq!(form.0, expected);
        for from in [1, 255, 256, 300].into_iter().filter(|from| *from <= size) {
            assert_eq!(
                read(&tree, from as u64).unwrap(),
                log.entries[from..],
                "{size} from {from}"
            );
        }
        assert!(matches!(
            tree.read_entries(0..size as u64 + 1, EntryForm::Any, &|_| Ok(()), &mut |_, ()| {
                Ok::<_, FollowError>(())
            }),
            Err(FollowError::Tree(_))
        ));
    }
}

#[test]
fn trees_above_one_level_of_tiles_are_read() {
    let log = TestLog::new(66_000);
    let (_, client, _) = first_look(&log);
    let tree = client.update(None).unwrap();
    assert_eq!(read(&tree, 65_000).unwrap(), log.entries[65_000..]);
    let mut earlier = log.clone();
    earlier.entries.truncate(65_536);
    let (_, _, signed) = first_look(&earlier);
    client.begins_with(&tree, &signed).unwrap();

    let other = TestLog::rewritten(&log, 65_999, "changed");
    let (_, _, signed) = first_look(&other);
    assert!(matches!(
        client.begins_with(&tree, &signed),
        Err(FollowError::Forked(_))
    ));
}

#[test]
fn a_checkpoint_is_followed_to_the_next_one() {
    let mut log = TestLog::new(300);
    let (source, client, first) = first_look(&log);
    for size in [300, 301, 512, 900] {
        log.grow(size);
        source.serve(&log);
        let tree = client.update(Some(&first)).unwrap();
        assert_eq!(tree.size(), size as u64);
    }
    // A server that keeps no partial tiles of a size that is over.
    let tree = client.tree(client.checkpoint().unwrap()).unwrap();
    log.grow(1_100);
    let newest = log.files();
    source.files().retain(|path, _| newest.contains_key(path));
    source.files().extend(newest);
    assert_eq!(read(&tree, 0).unwrap(), log.entries[..900]);
}

#[test]
fn a_shorter_log_is_named_but_proves_nothing() {
    let log = TestLog::new(300);
    let (source, client, held) = first_look(&log);
    source.serve(&TestLog::new(299));
    match client.update(Some(&held)) {
        Err(FollowError::WentBack {
            held: 300,
            shown: 299,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_checkpoints_of_one_size_are_evidence() {
    let log = TestLog::new(300);
    let (source, client, held) = first_look(&log);
    let other = log.rewritten(299, "changed");
    source.serve(&other);
    let Err(FollowError::Forked(evidence)) = client.update(Some(&held)) else {
        panic!("a fork is found");
    };
    let convicted = evidence.verify(&log.vkey()).unwrap();
    assert_eq!((convicted.first.size, convicted.second.size), (300, 300));
}

#[test]
fn a_rewritten_entry_is_evidence_and_is_named() {
    let log = TestLog::new(700);
    let (source, client, held) = first_look(&log);
    let held_tree = client.tree(held.clone()).unwrap();
    held_tree.tile(0, 0, 256).unwrap();
    for changed in [1, 128, 255, 256, 600, 699] {
        let mut other = log.rewritten(changed, "changed");
        other.grow(1_000);
        let shown = other.source();
        let elsewhere = client.at(Arc::<MemorySource>::clone(&shown));
        let Err(FollowError::Forked(evidence)) = elsewhere.update(Some(&held)) else {
            panic!("a fork is found");
        };
        let convicted = evidence.verify(&log.vkey()).unwrap();
        assert_eq!((convicted.first.size, convicted.second.size), (700, 1_000));
        let new_tree = elsewhere.tree(elsewhere.checkpoint().unwrap()).unwrap();
        let first = held_tree.first_difference(&new_tree, 700).unwrap();
        assert_eq!(first, Some(changed as u64));
        assert_eq!(
            held_tree.first_difference(&new_tree, changed as u64).unwrap(),
            None
        );
    }
    drop(source);
}

#[test]
fn each_byte_that_is_changed_is_named() {
    let log = TestLog::new(700);
    let (source, client, _) = first_look(&log);
    // An entry's byte in a full bundle and in the last one.
    for (path, first, changed) in [
        ("tile/entries/001", 256, 300),
        ("tile/entries/002.p/188", 512, 699),
    ] {
        source.serve(&log);
        let tree = client.update(None).unwrap();
        let mut at = 0;
        for entry in &log.entries[first..changed] {
            at += 2 + entry.len();
        }
        source.change(path, |bundle| bundle[at + 20] ^= 1);
        let error = read(&tree, 0).unwrap_err();
        assert_eq!(error.entry(), Some(changed as u64), "{error}");
        assert!(error.is_about_the_log());
    }
    // A length, a cut, a byte too many.
    for change in [
        (|bundle: &mut Vec<u8>| bundle[1] ^= 1) as fn(&mut Vec<u8>),
        |bundle| bundle.truncate(100),
        |bundle| bundle.push(0),
    ] {
        source.serve(&log);
        let tree = client.update(None).unwrap();
        source.change("tile/entries/001", change);
        assert!(matches!(
            read(&tree, 0),
            Err(FollowError::Bundle { first: 256, .. })
        ));
    }
    // Hashes: at the edge, and of a full tile, which is read only to name an entry.
    for path in ["tile/0/002.p/188", "tile/1/000.p/2"] {
        source.serve(&log);
        source.change(path, |tile| tile[33] ^= 1);
        assert!(
            matches!(client.update(None), Err(FollowError::Tile { .. })),
            "{path}"
        );
    }
    source.serve(&log);
    source.change("tile/0/001", |tile| tile[33] ^= 1);
    let tree = client.update(None).unwrap();
    read(&tree, 0).unwrap();
    assert!(matches!(tree.tile(0, 1, 256), Err(FollowError::Tile { .. })));
    source.change("tile/0/001", |tile| tile.truncate(100));
    assert!(matches!(tree.tile(0, 1, 256), Err(FollowError::Fetch(_))));
    // What is covered has to be there.
    for path in ["tile/entries/001", "tile/0/002.p/188"] {
        source.serve(&log);
        source.files().remove(path);
        let read = client.update(None).and_then(|tree| read(&tree, 0));
        assert!(
            matches!(read, Err(FollowError::Missing { size: 700, .. })),
            "{path}"
        );
    }
}

/// An entry replaced and all hashes over it made anew, but not the links.
#[test]
fn entries_that_break_the_chain_are_named() {
    let log = TestLog::new(600);
    for changed in [0, 100, 256, 511] {
        let mut other = log.clone();
        other.entries[changed] = log.rewritten(changed, "changed").entries[changed].clone();
        let (_, client, _) = first_look(&other);
        let tree = client.update(None).unwrap();
        let error = read(&tree, 0).unwrap_err();
        assert!(matches!(
            error,
            FollowError::EntryRule {
                error: LogError::EntryPrevious { .. },
                ..
            }
        ));
        assert_eq!(error.entry(), Some(changed as u64 + 1), "{error}");
    }
    let mut other = log;
    other.entries[300][0] = 0xff;
    let (_, client, _) = first_look(&other);
    let error = read(&client.update(None).unwrap(), 0).unwrap_err();
    assert!(matches!(
        error,
        FollowError::EntryRule {
            index: 300,
            error: LogError::Entry(_)
        }
    ));
}

#[test]
fn only_the_logs_own_signature_counts() {
    let log = TestLog::new(3);
    let (source, client, signed) = first_look(&log);
    source.change("checkpoint", |note| {
        let text = String::from_utf8(note.clone()).unwrap().replace("\n3\n", "\n2\n");
        *note = text.into_bytes();
    });
    assert!(matches!(
        client.update(None),
        Err(FollowError::Checkpoint {
            error: LogError::BadSignature { .. },
            ..
        })
    ));
    source.change("checkpoint", |note| *note = vec![b'x'; 200 * 1024]);
    assert!(matches!(
        client.checkpoint(),
        Err(FollowError::Fetch(FetchError::TooLong { .. }))
    ));
    source.files().remove("checkpoint");
    assert!(matches!(
        client.checkpoint(),
        Err(FollowError::Fetch(FetchError::Answer { .. }))
    ));

    // A root that no tree has, signed all the same.
    source.serve(&log);
    source.change("checkpoint", |note| *note = log.signed(3, [9; 32]).into_bytes());
    assert!(matches!(client.update(None), Err(FollowError::Tile { .. })));
    // Though there is a contradiction: the notes alone convict.
    assert!(matches!(
        client.update(Some(&signed)),
        Err(FollowError::Forked(_))
    ));
    // A size that nobody can read to its end.
    source.change("checkpoint", |note| {
        *note = log.signed(u64::MAX, [9; 32]).into_bytes()
    });
    assert!(matches!(client.update(None), Err(FollowError::Missing { .. })));
}

#[test]
fn a_key_is_told_in_the_did_document() {
    let log = TestLog::new(3);
    let source = log.source();
    assert_eq!(key_told_at(source.as_ref()), Ok(None));
    let tell = |document: String| {
        let name = ".well-known/did.json".to_owned();
        source.files().insert(name, document.into_bytes());
        key_told_at(source.as_ref()).unwrap()
    };
    let service = |kind: &str, key: &str| {
        format!(r#"{{"service": [{{"type": "Other"}}, {{"type": "{kind}", "verifierKey": "{key}"}}]}}"#)
    };
    let key = log.vkey().to_string();
    assert_eq!(tell(service("TransparencyLog", &key)), Some(log.vkey()));
    for other in [
        service("Other", &key),
        service("TransparencyLog", "x+y+z"),
        r#"{"service": 5}"#.to_owned(),
        "no JSON".to_owned(),
    ] {
        assert_eq!(tell(other.clone()), None, "{other}");
    }

    // Entry 0 has to name the key that the log is followed under.
    let (_, client, _) = first_look(&log);
    let tree = client.update(None).unwrap();
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key();
    let stranger = crate::log::VerifierKey::new("coop.example", crate::log::KeyKind::Ed25519, stranger);
    let other = LogClient::new(log.source(), stranger.unwrap());
    assert!(matches!(other.form(&tree), Err(FollowError::Genesis { .. })));
}
