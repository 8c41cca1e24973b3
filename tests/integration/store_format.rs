//! A store that an earlier version wrote still opens, answers as it did, and
//! goes on.
//!
//! The files under `tests/data/store-format-1` were written once and stay as
//! they are. To make those of a new format, change [`FORMAT`] and run
//! `TALLYSTICK_WRITE_FIXTURE=1 cargo test --test integration store_format`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tallystick::node::{NewNode, Node, NodeParts, OpenReport, Upkeep, create_log};
use tallystick::primitives::UnixSeconds;
use tallystick::store::{Guard, SledEngine};
use tallystick::testkit::{ManualClock, SeededEntropy};

use crate::node::world::*;

const FORMAT: &str = "store-format-1";
const WRITE: &str = "TALLYSTICK_WRITE_FIXTURE";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(FORMAT)
}

fn open(dir: &Path, seed: u64) -> (Node, OpenReport) {
    let (engine, _) = SledEngine::open(&dir.join("store")).unwrap();
    let (guard, state) = Guard::open(&dir.join("guard")).unwrap();
    let parts = NodeParts {
        engine: Arc::new(engine),
        guard: (Box::new(guard), state),
        keyring: keyring(10),
        options: options(),
        clock: Arc::new(ManualClock::new(START)),
        entropy: Arc::new(SeededEntropy::new(seed)),
        registry: prometheus::Registry::new(),
    };
    // Small, so that the fixture holds runs of the index and entries after them.
    Node::open_with(
        parts,
        Upkeep {
            checkpoint_entries: 8,
        },
    )
    .unwrap()
}

/// What has to stay as it was, a line each.
fn facts(name: &str, story: &Story) -> String {
    let mut out = String::new();
    let mut fact =
        |what: &str, bytes: &[u8]| writeln!(out, "{name} {what} {}", HEXLOWER.encode(bytes)).unwrap();
    fact("campaign", &story.campaign.credential);
    for coupon in &story.coupons.coupons {
        fact("coupon", &coupon.credential);
        fact("name", coupon.name.to_string().as_bytes());
    }
    fact("receipt", story.receipt.id.as_ref());
    fact("stub", &story.receipt.stub);
    fact("secret", &story.receipt.secret);
    fact("details", &story.receipt.details.encode(&story.receipt.secret));
    fact("redemption", story.redeemed.id.as_ref());
    fact("redemption's entry", story.redeemed.entry.hash.as_ref());
    fact("reversal's entry", story.reversed.entry.hash.as_ref());
    fact("revocation's entry", story.revoked.entry.hash.as_ref());
    out
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Files of `from`, each packed by itself, under `to`.
fn pack(from: &Path, to: &Path) {
    for path in files(from) {
        let inside = path.strip_prefix(from).unwrap();
        let packed = to.join(format!("{}.gz", inside.display()));
        fs::create_dir_all(packed.parent().unwrap()).unwrap();
        let mut encoder = GzEncoder::new(fs::File::create(packed).unwrap(), Compression::best());
        encoder.write_all(&fs::read(&path).unwrap()).unwrap();
        encoder.finish().unwrap();
    }
}

fn unpack(from: &Path, to: &Path) {
    for path in files(from) {
        let Some(plain) = path
            .strip_prefix(from)
            .unwrap()
            .to_str()
            .unwrap()
            .strip_suffix(".gz")
        else {
            continue;
        };
        let mut bytes = Vec::new();
        GzDecoder::new(fs::File::open(&path).unwrap())
            .read_to_end(&mut bytes)
            .unwrap();
        fs::create_dir_all(to.join(plain).parent().unwrap()).unwrap();
        fs::write(to.join(plain), bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_the_fixture() {
    if std::env::var_os(WRITE).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::create(&dir.path().join("store")).unwrap();
    let new = NewNode {
        name: "Dorfladen".to_owned(),
        origin: origin(),
    };
    let state = create_log(&engine, &new, &keyring(10), UnixSeconds(START)).unwrap();
    Guard::create(&dir.path().join("guard"), &state).unwrap();
    drop(engine);
    let (node, _) = open(dir.path(), 1);
    let mut written = facts("a", &story(&node, "a").await);
    node.status_list(0).await.unwrap();
    node.shut_down().await;
    drop(node);
    let (node, _) = open(dir.path(), 2);
    written += &facts("b", &story(&node, "b").await);
    written += &node.checkpoint();
    // Taken from under the open node, as a crash would leave it.
    fs::remove_dir_all(fixture()).ok();
    pack(dir.path(), &fixture());
    fs::write(fixture().join("facts.txt"), written).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_1_opens_answers_as_before_and_goes_on() {
    if std::env::var_os(WRITE).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    unpack(&fixture(), dir.path());
    let expected = fs::read_to_string(fixture().join("facts.txt")).unwrap();
    let (node, report) = open(dir.path(), 3);
    assert!(report.replayed > 0 && report.replayed < report.size, "{report:?}");
    assert!(report.notes.is_empty(), "{report:?}");
    let mut found = facts("a", &story(&node, "a").await);
    found += &facts("b", &story(&node, "b").await);
    found += &node.checkpoint();
    assert_eq!(found, expected);
    let next = story(&node, "c").await;
    assert_eq!(next.receipt.sequence_number, 3);
    node.shut_down().await;
    drop(node);
    let (node, report) = open(dir.path(), 4);
    assert_eq!(report.replayed, 0);
    assert_eq!(story(&node, "c").await, next);
    node.shut_down().await;
}
