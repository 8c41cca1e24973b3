//! SIGKILL at random moments: a child process works on a store until it is
//! killed; then every effect that it answered has to be there, exactly once,
//! and a repeat has to answer byte for byte.
//!
//! The child is this binary, started again with [`CHILD`] set.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tallystick::log::Entry;
use tallystick::merkle;
use tallystick::node::{CouponsAnswer, NewNode, Node, NodeParts, Scope, create_log};
use tallystick::primitives::{OsEntropy, UnixSeconds};
use tallystick::store::{Guard, SledEngine, scan_entries};
use tallystick::testkit::{self, ManualClock};

use crate::node::world::*;

const CHILD: &str = "TALLYSTICK_KILL_CHILD";
const FROM: &str = "TALLYSTICK_KILL_FROM";
const SEED: &str = "TALLYSTICK_KILL_SEED";
const MARK: &str = "EFFECT ";
const ROUNDS: u32 = 20;
/// In CI.
const ROUNDS_LONG: u32 = 100;
/// Calls that the child has under way at once.
const TASKS: u64 = 16;
const COUPONS: u32 = 1_000;

pub fn open(dir: &Path) -> Node {
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

pub fn init(dir: &Path) {
    let engine = SledEngine::create(&dir.join("store")).unwrap();
    let new = NewNode {
        name: "Dorfladen".to_owned(),
        origin: origin(),
    };
    let state = create_log(&engine, &new, &keyring(10), UnixSeconds(START)).unwrap();
    Guard::create(&dir.join("guard"), &state).unwrap();
}

/// The coupons that are redeemed: a repeat after the first time.
async fn coupons(node: &Node) -> CouponsAnswer {
    let office = |key: &str| caller(Scope::Office, key, key);
    let campaign = node
        .sign_campaign(&office("campaign"), two_off("a"))
        .await
        .unwrap();
    node.issue_coupons(&office("coupons"), order(campaign.id, COUPONS))
        .await
        .unwrap()
}

/// The call number `n`, always the same, and what it is answered.
async fn effect(node: &Node, coupons: &CouponsAnswer, n: u64) -> String {
    let lane = lane(u32::try_from(n % 3).unwrap());
    let key = format!("call-{n}");
    let caller = caller(Scope::Register(lane.clone()), &key, &key);
    match n % 4 {
        0 | 1 => {
            let answer = node.issue_receipt(&caller, receipt(&lane, &key, START)).await;
            format!("{:?}", answer.unwrap())
        }
        2 => {
            let coupon = &coupons.coupons[usize::try_from(n / 4).unwrap()].credential;
            let answer = node.redeem(&caller, redemption(coupon, &lane, &key, 900)).await;
            format!("{:?}", answer.unwrap())
        }
        _ => {
            let campaign = node.campaigns()[0].id;
            let answer = node.issue_coupons(&caller, order(campaign, 2)).await;
            format!("{:?}", answer.unwrap())
        }
    }
}

/// Works until it is killed; does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = open(Path::new(&dir));
        let coupons = Arc::new(coupons(&node).await);
        let next = Arc::new(AtomicU64::new(from));
        let tasks = (0..TASKS).map(|_| {
            let (node, coupons, next) = (node.clone(), Arc::clone(&coupons), Arc::clone(&next));
            tokio::spawn(async move {
                while let n = next.fetch_add(1, Ordering::Relaxed)
                    && n / 4 < u64::from(COUPONS)
                {
                    let answer = effect(&node, &coupons, n).await;
                    println!("{MARK}{n} {answer}");
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// Runs a child and kills it once it has answered `answers` calls.
fn run_and_kill(dir: &Path, from: u64, answers: u64, answered: &mut BTreeMap<u64, String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut left = answers;
    let mut note = |line: &str| {
        // The harness may have begun the line.
        let Some((_, line)) = line.split_once(MARK) else {
            return false;
        };
        let (n, answer) = line.split_once(' ').unwrap();
        let n = n.parse().unwrap();
        let first = answered.entry(n).or_insert_with(|| answer.to_owned());
        assert_eq!(first, answer, "call {n} was answered in two ways");
        true
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    while left > 0
        && let Some(line) = lines.next()
    {
        left -= u64::from(note(&String::from_utf8(line.unwrap()).unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What is still in the pipe was answered too; a line cut short was not read whole by anyone.
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let whole = rest.len().saturating_sub(1);
    for line in &rest[..whole] {
        note(&String::from_utf8(line.clone()).unwrap());
    }
}

/// Chain, root, guard and checkpoint agree.
fn check_log(dir: &Path) -> u64 {
    let (engine, _) = SledEngine::open(&dir.join("store")).unwrap();
    let (mut leaves, mut before) = (Vec::new(), None);
    scan_entries(&engine, 0, &mut |index, bytes| {
        let entry = Entry::decode(bytes).unwrap();
        assert_eq!(entry.index, index);
        if let Some((hash, time)) = before {
            assert_eq!(entry.previous, hash);
            assert!(entry.time >= time);
        }
        before = Some((tallystick::log::entry_hash(bytes), entry.time));
        leaves.push(merkle::leaf_hash(bytes));
        ControlFlow::Continue(())
    })
    .unwrap();
    let guard = Guard::read(&dir.join("guard")).unwrap();
    assert_eq!(guard.size, leaves.len() as u64);
    assert_eq!(guard.root, merkle::root_of(&leaves));
    guard.size
}

#[test]
fn what_was_answered_outlives_sigkill() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) | 1);
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
    let mut answered = BTreeMap::new();
    let rounds = u64::from(testkit::repeats(ROUNDS, ROUNDS_LONG));
    for round in 0..rounds {
        let from = answered
            .keys()
            .next_back()
            .map_or(0, |last: &u64| last.saturating_sub(2 * TASKS));
        let answers = roll(if round % 3 == 0 { 3 } else { 160 });
        run_and_kill(dir, from, answers, &mut answered);
        // Every other round the next child finds what the last one left.
        if round % 2 == 0 && round + 1 < rounds {
            continue;
        }
        runtime.block_on(async {
            let node = open(dir);
            let size = node.size();
            let coupons = coupons(&node).await;
            // The first round may have ended before the coupons were there.
            let made = node.size();
            for (n, answer) in &answered {
                assert_eq!(
                    &effect(&node, &coupons, *n).await,
                    answer,
                    "seed {seed}, round {round}"
                );
            }
            assert_eq!(
                node.size(),
                made,
                "seed {seed}, round {round}: a repeat was done again"
            );
            assert!(size == made || answered.is_empty());
            let head = head_of(&node.checkpoint());
            node.shut_down().await;
            drop(node);
            assert_eq!(check_log(dir), head.0);
        });
    }
    assert!(
        answered.len() > 100,
        "only {} calls were answered",
        answered.len()
    );
}
