//! Audits of real logs: clean ones, and ones that something was done to.
#![allow(clippy::unwrap_used)]

mod clean;
mod coupons;
mod credential_keys;
mod damage;
mod entries;
mod erasures;
mod halves;
mod resumed;
mod rows;
pub mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tallystick::credential::Benefit;
use tallystick::encoding::cbor;
use tallystick::ledger::{Event, NewStatus, Recorded};
use tallystick::log::{Checkpoint, Entry, KeyKind, VerifierKey, entry_hash};
use tallystick::node::audit::{AuditError, AuditOptions, AuditReport, Rule, Verdict, audit};
use tallystick::node::{Node, RevocationTarget};
use tallystick::primitives::{Digest, UnixSeconds};
use tallystick::store::rows as keys;
use tallystick::store::{Batch, Engine, Guard, GuardState, SledEngine};

use crate::node::world::*;

/// A day in a shop: enough entries for several half tiles, every kind of effect.
pub async fn day(node: &Node, world: &World) {
    let lanes = [lane(1), lane(2)];
    for n in 0..150_u64 {
        world.clock.advance(n % 3);
        let lane = &lanes[usize::from(n % 3 == 0)];
        let draft = receipt(lane, &format!("r{n}"), node.now().0);
        node.issue_receipt(&till(lane), draft).await.unwrap();
    }
    let off = node.sign_campaign(&office(), two_off("off")).await.unwrap();
    let cards = node.sign_campaign(&office(), gift_card("cards")).await.unwrap();
    let mut many = draft(
        "tenth",
        Benefit::PercentOff {
            basis_points: 1_000,
            cap: Some(cents(300)),
        },
    );
    many.terms.uses_per_coupon = Some(3);
    many.terms.budget = Some(cents(1_000));
    let many = node.sign_campaign(&office(), many).await.unwrap();
    let off = node.issue_coupons(&office(), order(off.id, 140)).await.unwrap();
    let single = node.issue_coupons(&office(), order(cards.id, 1)).await.unwrap();
    let many = node.issue_coupons(&office(), order(many.id, 3)).await.unwrap();
    let mut made = Vec::new();
    for (n, coupon) in off.coupons.iter().take(20).enumerate() {
        let lane = &lanes[n % 2];
        let request = redemption(&coupon.credential, lane, &format!("s{}", n / 2), 1_500);
        made.push(node.redeem(&till(lane), request).await.unwrap());
    }
    for (n, amount) in [700, 500, 800].into_iter().enumerate() {
        let mut request = redemption(&single.coupons[0].credential, &lanes[0], &format!("c{n}"), 1_500);
        request.amount = Some(cents(amount));
        let card = node.redeem(&till(&lanes[0]), request).await.unwrap();
        if n == 0 {
            let back = reversal(card.id, "c0", Some(200), true);
            node.reverse(&till(&lanes[0]), back).await.unwrap();
        }
    }
    for n in 0..3 {
        let request = redemption(&many.coupons[0].credential, &lanes[1], &format!("m{n}"), 2_005);
        node.redeem(&till(&lanes[1]), request).await.unwrap();
    }
    world.clock.advance(20);
    node.reverse(&office(), reversal(made[0].id, "s0", None, true))
        .await
        .unwrap();
    node.reverse(&office(), reversal(made[1].id, "s0", Some(50), false))
        .await
        .unwrap();
    let again = redemption(&off.coupons[0].credential, &lanes[1], "again", 900);
    node.redeem(&till(&lanes[1]), again).await.unwrap();
    let name = RevocationTarget::Name(off.coupons[30].name);
    node.set_status(&office(), &name, NewStatus::Revoked, Some("lost".to_owned()))
        .await
        .unwrap();
    let batch = RevocationTarget::Batch(many.batch);
    node.set_status(&office(), &batch, NewStatus::Suspended, None)
        .await
        .unwrap();
    node.status_list(0).await.unwrap();
    world.clock.advance(20);
    let lane = &lanes[0];
    node.issue_receipt(&till(lane), receipt(lane, "last", node.now().0))
        .await
        .unwrap();
}

async fn shop() -> World {
    let world = World::sled();
    let node = world.open();
    day(&node, &world).await;
    node.shut_down().await;
    world
}

fn store_of(world: &World) -> PathBuf {
    match &world.rows {
        Rows::Sled(dir) => dir.clone(),
        Rows::Memory(_) => panic!("an audit is of files"),
    }
}

fn options(world: &World) -> AuditOptions {
    AuditOptions {
        dir: store_of(world),
        guard: Some(world.guard.clone()),
        ..AuditOptions::default()
    }
}

fn run(options: &AuditOptions) -> AuditReport {
    audit(options, &mut |_, _| {}).unwrap()
}

fn rules(report: &AuditReport) -> BTreeSet<&'static str> {
    report.findings.counts().keys().map(|rule| rule.id()).collect()
}

#[track_caller]
fn finds(report: &AuditReport, rule: Rule, entry: Option<u64>) {
    let found = report.findings.kept().iter().any(|finding| {
        finding.rule == rule
            && entry.is_none_or(|entry| {
                finding
                    .entries
                    .is_some_and(|(first, last)| (first..=last).contains(&entry))
            })
    });
    assert!(
        found,
        "{} at {entry:?} is not among {:#?}",
        rule.id(),
        report.findings.kept()
    );
    assert_eq!(report.verdict(), Verdict::Findings);
}

/// Every entry in the store, in order.
fn entries(engine: &dyn Engine) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    keys::scan_entries(engine, 0, &mut |_, bytes| {
        all.push(bytes.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

/// Replaces all entries of the store; tiles and all else stay.
fn put_entries(engine: &dyn Engine, all: &[Vec<u8>]) {
    let mut keys = Vec::new();
    engine
        .scan(&[keys::ENTRY], &[keys::ENTRY], &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    let mut batch = Batch::default();
    keys.into_iter().for_each(|key| batch.remove(key));
    keys::append_entries(&mut batch, 0, all.iter().map(Vec::as_slice)).unwrap();
    batch.require_absent = None;
    engine.commit(batch).unwrap();
}

fn engine_of(world: &World) -> SledEngine {
    SledEngine::open(&store_of(world)).unwrap().0
}

fn recorded(bytes: &[u8]) -> Recorded {
    let entry = Entry::decode(bytes).unwrap();
    let (event, answers) = Event::from_body(entry.kind, &entry.body).unwrap();
    Recorded {
        index: entry.index,
        hash: entry_hash(bytes),
        time: entry.time,
        event,
        answers,
    }
}

/// Writes the entries from `changed` on again, each with the hash of the one
/// before: what someone does who covers up a change.
fn relink(all: &mut [Vec<u8>], changed: usize) {
    for at in changed + 1..all.len() {
        let mut entry = Entry::decode(&all[at]).unwrap();
        entry.previous = entry_hash(&all[at - 1]);
        all[at] = entry.encode().unwrap();
    }
}

/// Changes the event of the first entry that `wanted` picks; its index.
fn forge(all: &mut [Vec<u8>], mut change: impl FnMut(&mut Event) -> bool) -> usize {
    for (at, bytes) in all.iter_mut().enumerate() {
        let found = recorded(bytes);
        let mut event = found.event;
        if change(&mut event) {
            let mut entry = Entry::decode(bytes).unwrap();
            entry.body = event.to_body(found.answers.as_ref(), [7; 16]);
            *bytes = entry.encode().unwrap();
            return at;
        }
    }
    panic!("no such entry");
}

fn root_of(all: &[Vec<u8>]) -> Digest {
    let leaves: Vec<_> = all.iter().map(|entry| entry_hash(entry).0).collect();
    Digest(tallystick::merkle::root_of(&leaves))
}

fn checkpoint(world: &World, size: u64, root: Digest) -> Vec<u8> {
    let secret = &world.keyring.log;
    let key = ed25519_dalek::VerifyingKey::from_bytes(secret.public().as_bytes()).unwrap();
    let key = VerifierKey::new("coop.example", KeyKind::Ed25519, key).unwrap();
    let note = Checkpoint::new("coop.example", size, root).sign(&key, |text| secret.sign(text));
    note.unwrap().to_string().into_bytes()
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}
