//! SIGKILL while large batches are issued, in either pass: afterwards there is
//! neither gap nor duplicate, every piece that was given out is the same again,
//! and the audit of what the kill left finds nothing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tallystick::node::audit::{AuditOptions, audit};
use tallystick::node::{IssuedCoupon, NewNode, Node, NodeError, NodeParts, Scope, create_log};
use tallystick::primitives::{CampaignId, OsEntropy, UnixSeconds};
use tallystick::store::{Guard, SledEngine};
use tallystick::testkit::{self, ManualClock};

use crate::node::world::*;

const CHILD: &str = "TALLYSTICK_KILL_BULK_CHILD";
const FROM: &str = "TALLYSTICK_KILL_BULK_FROM";
const SEED: &str = "TALLYSTICK_KILL_BULK_SEED";
const MARK: &str = "PIECE ";
const ROUNDS: u32 = 4;
/// In CI.
const ROUNDS_LONG: u32 = 30;
const COUNT: u32 = 5_000;

fn open(dir: &Path) -> Node {
    let (engine, _) = SledEngine::open(&dir.join("store")).unwrap();
    let (guard, state) = Guard::open(&dir.join("guard")).unwrap();
    let parts = NodeParts {
        engine: Arc::new(engine),
        guard: (Box::new(guard), state),
        keyring: keyring(10),
        options: options(),
        clock: Arc::new(ManualClock::new(START)),
        entropy: Arc::new(OsEntropy),
        registry: prometheus::Registry::new(),
    };
    Node::open(parts).unwrap().0
}

fn init(dir: &Path) {
    let engine = SledEngine::create(&dir.join("store")).unwrap();
    let new = NewNode {
        name: "Dorfladen".to_owned(),
        origin: origin(),
    };
    let state = create_log(&engine, &new, &keyring(10), UnixSeconds(START)).unwrap();
    Guard::create(&dir.join("guard"), &state).unwrap();
}

async fn campaign(node: &Node) -> CampaignId {
    let office = caller(Scope::Office, "campaign", "campaign");
    node.sign_campaign(&office, two_off("a")).await.unwrap().id
}

/// Issues or reads again batch `n`: tells each piece's first coupon, how many it
/// has, and a hash of them.
async fn batch(
    node: &Node,
    campaign: CampaignId,
    n: u32,
    each: &mut dyn FnMut(u32, u32, String),
) -> Result<(), NodeError> {
    let key = format!("batch-{n}");
    let office = caller(Scope::Office, &key, &key);
    let hash = |coupons: &mut dyn Iterator<Item = IssuedCoupon>| {
        let mut hasher = Sha256::new();
        let mut count = 0;
        for coupon in coupons {
            hasher.update(&coupon.credential);
            count += 1;
        }
        (count, data_encoding::HEXLOWER.encode(&hasher.finalize()))
    };
    let mut pieces = node
        .stream_coupons(&office, order(campaign, COUNT), 0, hash)
        .await?;
    let mut from = 0;
    while let Some(piece) = pieces.next().await {
        let (count, hash) = piece?;
        each(from, count, hash);
        from += count;
    }
    assert_eq!(from, COUNT);
    Ok(())
}

/// Issues until it is killed; does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let from: u32 = std::env::var(FROM).unwrap().parse().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = open(Path::new(&dir));
        let campaign = campaign(&node).await;
        for n in from.. {
            batch(&node, campaign, n, &mut |first, _, hash| {
                println!("{MARK}{n} {first} {hash}");
            })
            .await
            .unwrap();
        }
    });
}

type Pieces = BTreeMap<(u32, u32), String>;

fn note(pieces: &mut Pieces, place: (u32, u32), hash: &str) {
    let first = pieces.entry(place).or_insert_with(|| hash.to_owned());
    assert_eq!(first, hash, "{place:?} was given out in two ways");
}

/// Runs a child and kills it after a while, or once it has given out `most`
/// pieces.
fn run_and_kill(dir: &Path, from: u32, (most, within): (u64, Duration), pieces: &mut Pieces) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill_bulk::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (said, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let whole = lines.map_while(Result::ok);
        whole.for_each(|line| said.send(line).unwrap_or(()));
    });
    let mut all = Vec::new();
    while (all.len() as u64) < most
        && let Ok(line) = heard.recv_timeout(within)
    {
        all.push(line);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    all.extend(heard.iter());
    // A line cut short was not read whole by anyone.
    for line in all {
        let Some((_, line)) = line.split_once(MARK) else {
            continue;
        };
        let parts: Vec<&str> = line.split(' ').collect();
        if let [n, first, hash] = parts[..]
            && hash.len() == 64
        {
            note(pieces, (n.parse().unwrap(), first.parse().unwrap()), hash);
        }
    }
}

#[test]
fn large_batches_outlive_sigkill_in_either_pass() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) | 1);
    println!("{SEED}={seed}");
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    init(dir);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut pieces, mut next) = (Pieces::new(), 0);
    let mut cut_off = 0;
    for round in 0..testkit::repeats(ROUNDS, ROUNDS_LONG) {
        // In the first pass nothing is said, so it ends by the time; the second by the pieces.
        let within = Duration::from_millis(if round % 2 == 0 { 30 + roll(300) } else { 60_000 });
        run_and_kill(dir, next, (1 + roll(60), within), &mut pieces);
        let options = AuditOptions {
            dir: dir.join("store"),
            guard: Some(dir.join("guard")),
            ..AuditOptions::default()
        };
        let report = audit(&options, &mut |_, _| {}).unwrap();
        let what = format!("seed {seed}, round {round}");
        assert!(
            report.findings.kept().is_empty(),
            "{what}: {:#?}",
            report.findings.kept()
        );
        runtime.block_on(async {
            let node = open(dir);
            let campaign = campaign(&node).await;
            // Up to the one that was cut off, and one more, which follows it.
            let last = pieces.keys().next_back().map_or(next, |(n, _)| *n) + 1;
            for n in 0..=last {
                let read = loop {
                    let mut found = Pieces::new();
                    let mut keep = |first, _, hash| drop(found.insert((n, first), hash));
                    match batch(&node, campaign, n, &mut keep).await {
                        Ok(()) => break found,
                        Err(NodeError::InProgress) => {
                            cut_off += 1;
                            tokio::task::yield_now().await;
                        }
                        Err(error) => panic!("{what}: {error:?}"),
                    }
                };
                for (place, hash) in read {
                    note(&mut pieces, place, &hash);
                }
            }
            next = last + 1;
            // Neither gap nor duplicate: each batch begins where one ends.
            let batches = (0..node.size()).filter_map(|entry| node.batch(entry).ok());
            let mut firsts: Vec<u64> = batches.map(|view| view.batch.first.0).collect();
            firsts.sort_unstable();
            let expected: Vec<u64> = (0..u64::from(next)).map(|n| n * u64::from(COUNT)).collect();
            assert_eq!(firsts, expected, "{what}");
            node.shut_down().await;
        });
    }
    println!("waited {cut_off} times for a batch that was cut off");
}
