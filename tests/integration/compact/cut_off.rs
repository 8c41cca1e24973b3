//! In a node's directory: the steps of the exchange, cut off at each of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tallystick::node::audit::{AuditOptions, Verdict, audit};
use tallystick::primitives::{OsEntropy, Register};
use tallystick::server::{NewDir, NodeDir, OpenedNode, Overrides, Step, System};
use tallystick::testkit::{self, Fault, FaultyDisk, ManualClock};

use super::fixed;
use crate::node::world::*;

const BINARY: &str = env!("CARGO_BIN_EXE_tallystick");
const RECEIPTS: u64 = 120;
/// With the first entry, a campaign, a batch, nine redemptions and a status list.
const ENTRIES: u64 = RECEIPTS + 13;

fn system() -> System {
    System {
        clock: Arc::new(ManualClock::new(START)),
        entropy: Arc::new(OsEntropy),
        ..System::default()
    }
}

fn open(dir: &NodeDir) -> OpenedNode {
    dir.open_in(&system(), &Overrides::default(), None).unwrap()
}

/// A node with receipts and redemptions, a commit each, stopped.
async fn shop(place: &Path) -> NodeDir {
    let new = NewDir {
        base_url: origin(),
        name: "Dorfladen".to_owned(),
        register: Register::new("till-1").unwrap(),
        guard: None,
        passphrase: None,
    };
    let made = NodeDir::create_in(&system(), &place.join("shop"), &new).unwrap();
    let opened = open(&made.directory);
    // Nobody else holds its log: it signs its lists as one that is served.
    opened.node.compared();
    let lane = lane(1);
    for n in 0..RECEIPTS {
        let key = format!("r{n}");
        let draft = receipt(&lane, &key, START);
        opened.node.issue_receipt(&fixed(&key), draft).await.unwrap();
    }
    let campaign = opened
        .node
        .sign_campaign(&fixed("c"), two_off("off"))
        .await
        .unwrap();
    let coupons = opened
        .node
        .issue_coupons(&fixed("b"), order(campaign.id, 9))
        .await
        .unwrap();
    for (n, coupon) in coupons.coupons.iter().enumerate() {
        let request = redemption(&coupon.credential, &lane, &format!("s{n}"), 1_500);
        opened
            .node
            .redeem(&fixed(&format!("s{n}")), request)
            .await
            .unwrap();
    }
    opened.node.shut_down().await;
    made.directory
}

/// What a kill at this moment would leave of a node's directory and guard.
fn as_it_stands(shop: &Path, place: PathBuf) -> NodeDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            if file.path().is_dir() {
                copy(&file.path(), &to.join(file.file_name()));
            } else {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
    copy(shop, &place.join("shop"));
    fs::copy(shop.with_extension("guard"), place.join("shop.guard")).unwrap();
    NodeDir::at(&place.join("shop")).unwrap()
}

/// Opens, finds everything, goes on, and is clean.
async fn is_whole(dir: &NodeDir) {
    let left = dir.root().join("store.compacting");
    let was_left = left.exists();
    let opened = open(dir);
    assert!(!left.exists());
    let said = opened
        .report
        .notes
        .iter()
        .any(|note| note.contains("store.compacting"));
    assert_eq!(said, was_left, "{:?}", opened.report.notes);
    let lane = lane(1);
    for n in 0..RECEIPTS {
        let found = opened
            .node
            .receipt_by_reference(&lane, &format!("r{n}"))
            .unwrap()
            .unwrap();
        assert_eq!(found.sequence_number, n + 1);
    }
    let again = opened.node.redemptions_by_reference(&lane, "s3").unwrap();
    assert_eq!(again.len(), 1);
    let size = opened.node.size();
    let draft = receipt(&lane, "after", START);
    let after = opened.node.issue_receipt(&fixed("after"), draft).await.unwrap();
    assert_eq!(after.entry.index, size);
    opened.node.shut_down().await;
    drop(opened);
    let options = AuditOptions {
        dir: dir.root().to_owned(),
        ..AuditOptions::default()
    };
    let report = audit(&options, &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", report.findings.kept());
}

#[tokio::test]
async fn cut_off_after_each_step_the_node_opens_with_all_of_it() {
    let place = tempfile::tempdir().unwrap();
    let dir = shop(place.path()).await;
    let guard = fs::read(dir.root().with_extension("guard")).unwrap();
    let mut steps = Vec::new();
    let done = dir
        .compact_in(&system(), &Overrides::default(), &mut |step| {
            let at = place.path().join(format!("step-{}", steps.len()));
            steps.push((step, as_it_stands(dir.root(), at)));
        })
        .unwrap();
    let reached: Vec<Step> = steps.iter().map(|(step, _)| *step).collect();
    assert_eq!(
        reached,
        [
            Step::Copied(ENTRIES, ENTRIES),
            Step::Written,
            Step::Checked,
            Step::Exchanged
        ]
    );
    for (_, left) in &steps {
        is_whole(left).await;
    }
    assert_eq!(done.entries, ENTRIES);
    // Both are one segment of sled's file.
    assert!(done.bytes_after <= done.bytes_before, "{done:?}");
    assert!(!dir.root().join("store.compacting").exists());
    assert_eq!(fs::read(dir.root().with_extension("guard")).unwrap(), guard);
    is_whole(&dir).await;
}

#[tokio::test]
async fn a_sync_that_fails_leaves_the_old_store_or_the_new_one() {
    let place = tempfile::tempdir().unwrap();
    let made = shop(place.path()).await;
    let mut failed = 0;
    for nth in 1.. {
        for fault in [Fault::NotPersisted, Fault::Persisted] {
            let at = place.path().join(format!("fault-{nth}-{fault:?}"));
            let dir = as_it_stands(made.root(), at.clone());
            let disk = FaultyDisk::over(&[&dir.store()]);
            disk.fail(nth, fault);
            let faulty = System {
                disk: Arc::new(disk.clone()),
                ..system()
            };
            let outcome = dir.compact_in(&faulty, &Overrides::default(), &mut |_| {});
            // What fails when a store is closed the next opening makes up for.
            assert!(outcome.is_ok() || disk.failed().is_some(), "{outcome:?}");
            if disk.failed().is_none() {
                assert!(failed > 8, "only {failed} syncs were made to fail");
                return;
            }
            failed += 1;
            is_whole(&dir).await;
            fs::remove_dir_all(at).unwrap();
        }
    }
}

#[tokio::test]
async fn an_open_node_a_missing_guard_and_a_damaged_store_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let dir = shop(place.path()).await;
    let compact = || {
        dir.compact(&Overrides::default(), &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    let opened = open(&dir);
    assert!(compact().contains("open in another process"), "{}", compact());
    opened.node.shut_down().await;
    drop(opened);
    let guard = dir.root().with_extension("guard");
    fs::rename(&guard, place.path().join("away")).unwrap();
    assert!(compact().contains("guard file"), "{}", compact());
    fs::rename(place.path().join("away"), &guard).unwrap();
    // An older store under the newer guard: nothing is compacted, nothing changed.
    let older = as_it_stands(dir.root(), place.path().join("older"));
    is_whole(&dir).await;
    fs::copy(&guard, older.root().with_extension("guard")).unwrap();
    let said = older
        .compact(&Overrides::default(), &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("not compacted and is as it was") && said.contains("second history"),
        "{said}"
    );
    assert!(!older.root().join("store.compacting").exists());
}

/// SIGKILL at random moments, through the program.
#[tokio::test]
async fn killed_at_any_moment_the_node_opens_with_all_of_it() {
    let place = tempfile::tempdir().unwrap();
    let made = shop(place.path()).await;
    let (mut cut, mut finished) = (0, 0);
    for round in 0..testkit::repeats(4, 40) {
        let at = place.path().join(format!("kill-{round}"));
        let dir = as_it_stands(made.root(), at.clone());
        let mut child = Command::new(BINARY)
            .args(["compact", "--json"])
            .arg(dir.root())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The moment is what differs from round to round; nothing is waited for.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 17 % 90));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(said) => {
                assert_eq!(said["entries"], ENTRIES);
                finished += 1;
            }
            Err(_) => cut += 1,
        }
        is_whole(&dir).await;
        fs::remove_dir_all(at).unwrap();
    }
    assert!(cut > 0, "{finished} compactions, none of them cut off");
}
