//! What a witness has cosigned it never takes back: over faults, restarts, an
//! older store in the place of the new one, a compaction.

use std::sync::Arc;

use tallystick::log::{NotCosigned, Note, VerifierKey};
use tallystick::node::audit::{AuditOptions, Rule, Verdict, audit};
use tallystick::node::{Node, NodeError, ToWitness};
use tallystick::primitives::Register;
use tallystick::server::{NewDir, NodeDir, Overrides};
use tallystick::store::{Guard, MemoryEngine};
use tallystick::testkit::Fault;

use super::by_hand::{HandLog, cosigned_at};
use crate::node::faults::broken;
use crate::node::world::*;

async fn submit(node: &Node, log: &HandLog, old: usize, size: usize) -> Result<String, NodeError> {
    let key = VerifierKey::parse(&log.vkey()).unwrap();
    let note = Note::parse(log.note(size).as_bytes()).unwrap();
    let asked = ToWitness::open(&note, &[key], old as u64, log.proof(old, size)).unwrap();
    let line = node.witness(asked).await?;
    Ok(format!("{line}\n"))
}

/// What the witness says it has cosigned last: nobody is at the size asked with.
async fn held(node: &Node, log: &HandLog) -> u64 {
    let log = log.grown(200, "probe");
    match submit(node, &log, 199, 200).await {
        Err(NodeError::NotCosigned(NotCosigned::OtherOld { held })) => held,
        other => panic!("{other:?}"),
    }
}

fn inconsistent<T>(outcome: &Result<T, NodeError>) -> bool {
    matches!(outcome, Err(NodeError::NotCosigned(NotCosigned::Inconsistent(_))))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_fails_once_and_no_second_history_is_cosigned() {
    let log = HandLog::new("log.example", 7).grown(40, "a");
    let steps = [(0, 3), (3, 5), (5, 6), (6, 20), (20, 21)];
    for on_guard in [false, true] {
        for fault in [Fault::NotPersisted, Fault::Persisted] {
            let mut failures = 0;
            for nth in 1.. {
                let what = format!("write {nth}, guard {on_guard}, {fault:?}");
                let world = World::memory();
                let (node, engine, guard) = broken(&world);
                let faults = if on_guard { &guard } else { &engine };
                faults.fail(nth, fault);
                let mut answered = 0;
                for (old, size) in steps {
                    match submit(&node, &log, old, size).await {
                        Ok(line) => {
                            let vkey = node.witness_key().to_string();
                            assert_eq!(cosigned_at(&vkey, &log.text(size), &line), Some(START));
                            answered = size;
                        }
                        Err(error) => {
                            assert!(matches!(error, NodeError::Stopped(_)), "{what}: {error:?}");
                            break;
                        }
                    }
                }
                node.shut_down().await;
                if !faults.has_failed() {
                    assert_eq!(answered, 21);
                    break;
                }
                failures += 1;
                // The store may be ahead of what was answered, the guard never of the store.
                let (node, _) = world.try_open().unwrap();
                let now = held(&node, &log).await as usize;
                assert!(now >= answered, "{what}: {now} after {answered}");
                let on_disk = Guard::open(&world.guard).unwrap().1.witnessed;
                assert_eq!(on_disk.first().map_or(0, |log| log.size as usize), now, "{what}");
                if now > 0 {
                    let forked = log.cut(now - 1).grown(40, "b");
                    assert!(inconsistent(&submit(&node, &forked, now, 40).await), "{what}");
                    assert!(inconsistent(&submit(&node, &forked, now, now).await), "{what}");
                }
                submit(&node, &log, now, 40).await.unwrap();
                assert_eq!(held(&node, &log).await, 40, "{what}");
            }
            assert!(
                failures >= 5,
                "only {failures} writes of {on_guard} {fault:?} failed"
            );
        }
    }
}

/// An older store in the place of the new one, its own log no shorter: the guard
/// goes on from what was cosigned last, root included.
#[tokio::test]
async fn a_restored_store_does_not_make_the_witness_forget() {
    let world = World::memory();
    let log = HandLog::new("log.example", 7).grown(40, "a");
    let node = world.open();
    submit(&node, &log, 0, 10).await.unwrap();
    let older: MemoryEngine = world.memory_engine().fork();
    submit(&node, &log, 10, 20).await.unwrap();
    node.shut_down().await;

    let (node, report) = Node::open(world.parts(Arc::new(older), world.guard())).unwrap();
    let note = report
        .notes
        .iter()
        .find(|note| note.contains("guard file"))
        .unwrap();
    assert!(
        note.contains("at size 20") && note.contains("has it at size 10"),
        "{note}"
    );
    assert_eq!(held(&node, &log).await, 20);
    let hash = sha2_of("log.example");
    assert_eq!(
        node.witnessed(&hash),
        None,
        "the newest note is not there to be shown"
    );
    // From where the store stands, and from where the guard does, with another history.
    let forked = log.cut(15).grown(40, "b");
    assert!(matches!(
        submit(&node, &forked, 10, 30).await,
        Err(NodeError::NotCosigned(NotCosigned::OtherOld { held: 20 }))
    ));
    assert!(inconsistent(&submit(&node, &forked, 20, 20).await));
    assert!(inconsistent(&submit(&node, &forked, 20, 30).await));
    // The same checkpoint again brings the note back.
    submit(&node, &log, 20, 20).await.unwrap();
    assert!(node.witnessed(&hash).unwrap().starts_with("log.example\n20\n"));
    submit(&node, &log, 20, 40).await.unwrap();
    assert_eq!(held(&node, &log).await, 40);
}

fn sha2_of(text: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).into()
}

/// Both of a race are consistent; one of them was first.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_race_one_is_cosigned_or_both_in_order() {
    let log = HandLog::new("log.example", 7).grown(120, "a");
    let world = World::memory();
    let node = world.open();
    submit(&node, &log, 0, 1).await.unwrap();
    let mut size = 1;
    while size < 100 {
        let (short, long) = tokio::join!(
            submit(&node, &log, size, size + 1),
            submit(&node, &log, size, size + 3)
        );
        let now = held(&node, &log).await as usize;
        let lost = |outcome: &Result<String, NodeError>| {
            matches!(outcome, Err(NodeError::NotCosigned(NotCosigned::OtherOld { .. })))
        };
        assert!(short.is_ok() != long.is_ok(), "{short:?} {long:?}");
        assert!(lost(&short) || lost(&long));
        assert_eq!(now, if long.is_ok() { size + 3 } else { size + 1 });
        size = now;
    }
}

#[tokio::test]
async fn what_was_cosigned_outlives_a_compaction_and_an_audit_knows_it() {
    let place = tempfile::tempdir().unwrap();
    let shop = place.path().join("shop");
    let new = NewDir {
        base_url: origin(),
        name: "Dorfladen".to_owned(),
        register: Register::new("till-1").unwrap(),
        guard: None,
        passphrase: None,
    };
    NodeDir::create(&shop, &new).unwrap();
    let dir = NodeDir::at(&shop).unwrap();
    let log = HandLog::new("log.example", 7).grown(40, "a");
    let findings = || {
        let options = AuditOptions {
            dir: shop.clone(),
            ..AuditOptions::default()
        };
        audit(&options, &mut |_, _| {}).unwrap()
    };
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        std::fs::create_dir_all(to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            if file.path().is_file() {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    };
    for (old, size) in [(0, 10), (10, 20)] {
        let opened = dir.open(&Overrides::default(), None).unwrap();
        submit(&opened.node, &log, old, size).await.unwrap();
        opened.node.shut_down().await;
        drop(opened);
        assert_eq!(findings().verdict(), Verdict::Clean);
        if size == 10 {
            copy(&dir.store(), &place.path().join("older"));
        }
    }
    dir.compact(&Overrides::default(), &mut |_| {}).unwrap();
    assert_eq!(findings().verdict(), Verdict::Clean);
    let opened = dir.open(&Overrides::default(), None).unwrap();
    assert!(opened.node.witnessed(&sha2_of("log.example")).is_some());
    assert_eq!(held(&opened.node, &log).await, 20);
    opened.node.shut_down().await;
    drop(opened);
    // A guard made anew from the log's own checkpoint remembers what the store does.
    let guard = shop.with_extension("guard");
    let signed = Guard::read(&guard).unwrap();
    assert_eq!(signed.witnessed.len(), 1);

    std::fs::remove_dir_all(dir.store()).unwrap();
    copy(&place.path().join("older"), &dir.store());
    let report = findings();
    let found: Vec<_> = report
        .findings
        .kept()
        .iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(found, [Rule::StoredWitness]);
}
