//! Audits of real logs: clean ones, and ones that something was done to.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tallystick::credential::Benefit;
use tallystick::encoding::cbor;
use tallystick::ledger::{Event, NewStatus, Recorded};
use tallystick::log::{Checkpoint, Entry, KeyKind, VerifierKey, entry_hash};
use tallystick::node::audit::{AuditError, AuditOptions, AuditReport, Rule, Verdict, audit};
use tallystick::node::{Node, RevocationTarget};
use tallystick::primitives::{Digest, UnixSeconds};
use tallystick::store::{Batch, Engine, Guard, GuardState, SledEngine, rows};

use crate::node::world::*;

/// A day in a shop: enough entries for several half tiles, every kind of effect.
async fn day(node: &Node, world: &World) {
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
    rows::scan_entries(engine, 0, &mut |_, bytes| {
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
        .scan(&[rows::ENTRY], &[rows::ENTRY], &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    let mut batch = Batch::default();
    keys.into_iter().for_each(|key| batch.remove(key));
    rows::append_entries(&mut batch, 0, all.iter().map(Vec::as_slice)).unwrap();
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
    for at in 0..all.len() {
        let found = recorded(&all[at]);
        let mut event = found.event;
        if change(&mut event) {
            let mut entry = Entry::decode(&all[at]).unwrap();
            entry.body = event.to_body(found.answers.as_ref(), [7; 16]);
            all[at] = entry.encode().unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_log_by_the_rules_is_clean_and_left_alone() {
    let world = shop().await;
    let before = files(&store_of(&world));
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    assert!(report.points[0].compared && report.summary.whole);
    assert_eq!(report.summary.kind("receipt"), 151);
    assert_eq!(report.summary.kind("redemption"), 27);
    assert_eq!(
        (report.summary.coupons, report.summary.coupons_redeemed),
        (144, 22)
    );
    let receipts: u64 = report.summary.receipts.values().map(|total| total.count).sum();
    let sum: i128 = report.summary.receipts.values().map(|total| total.sum).sum();
    assert_eq!((receipts, sum), (151, 151 * 144));
    assert_eq!(report.summary.campaigns.len(), 3);
    // Nothing was changed, nothing left behind.
    assert_eq!(files(&store_of(&world)), before);
    let beside = std::fs::read_dir(store_of(&world).parent().unwrap()).unwrap();
    let left: Vec<_> = beside
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("audit"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_off_or_continued_is_clean() {
    let world = World::sled();
    let node = world.open();
    day(&node, &world).await;
    // Not shut down: no checkpoint of derived state. A running node is refused.
    let refused = audit(&options(&world), &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, AuditError::InUse { .. }), "{refused}");
    node.shut_down().await;
    drop(node);
    let node = world.open();
    let campaign = node.campaigns()[0].id;
    let more = node.issue_coupons(&office(), order(campaign, 2)).await.unwrap();
    let target = RevocationTarget::Campaign(campaign);
    node.set_status(&office(), &target, NewStatus::Revoked, None)
        .await
        .unwrap();
    assert_eq!(more.coupons.len(), 2);
    node.shut_down().await;
    drop(node);
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_signed_the_end_cannot_be_known() {
    let world = shop().await;
    let mut alone = options(&world);
    alone.guard = None;
    let report = run(&alone);
    assert_eq!(
        report.verdict(),
        Verdict::CleanAsFarAsKnown,
        "{:#?}",
        report.findings.kept()
    );

    // A checkpoint settles it, of the same size or of a smaller one.
    let all = entries(&engine_of(&world));
    for size in [all.len(), 100] {
        let note = checkpoint(&world, size as u64, root_of(&all[..size]));
        alone.checkpoints = vec![("note".to_owned(), note)];
        assert_eq!(run(&alone).verdict(), Verdict::Clean);
    }
    // Another root, a larger size, another log's key.
    let note = checkpoint(&world, 100, root_of(&all[..99]));
    alone.checkpoints = vec![("note".to_owned(), note)];
    finds(&run(&alone), Rule::RootDiffers, Some(99));
    let note = checkpoint(&world, all.len() as u64 + 5, Digest::ZERO);
    alone.checkpoints = vec![("note".to_owned(), note)];
    finds(
        &run(&alone),
        Rule::LogShorterThanSigned,
        Some(all.len() as u64 + 4),
    );
    alone.checkpoints = vec![("note".to_owned(), b"not a note".to_vec())];
    finds(&run(&alone), Rule::CheckpointForeign, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_of_an_entry_changed_in_the_file_is_found_where_it_is() {
    let world = shop().await;
    let all = entries(&engine_of(&world));
    let path = store_of(&world).join("db");
    let whole = std::fs::read(&path).unwrap();
    // Entry 40's bytes, wherever sled has put them.
    let needle = &all[40];
    let mut file = whole.clone();
    let places: Vec<usize> = (0..whole.len() - needle.len())
        .filter(|at| whole[*at] == needle[0] && whole[*at..].starts_with(needle))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        file[at + 60] ^= 1;
    }
    std::fs::write(&path, file).unwrap();
    let report = run(&options(&world));
    let hit = report.findings.kept().iter().any(|finding| {
        let unreadable = matches!(finding.rule, Rule::EntriesUnreadable | Rule::LogShorterThanSigned);
        unreadable
            && finding
                .entries
                .is_some_and(|(first, last)| (first..=last).contains(&40))
    });
    assert!(hit, "{:#?}", report.findings.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_entry_is_named_with_or_without_new_links() {
    let world = shop().await;
    let engine = engine_of(&world);
    let mut all = entries(&engine);
    let at = forge(&mut all, |event| match event {
        Event::ReceiptIssued(receipt) if receipt.sequence_number == 9 => {
            receipt.sequence_number = 10;
            true
        }
        _ => false,
    });
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    finds(&report, Rule::EntryLink, Some(at as u64 + 1));
    finds(&report, Rule::SequenceNumber, Some(at as u64));
    finds(&report, Rule::ReceiptDiffers, Some(at as u64));
    finds(&report, Rule::TileWrong, Some(at as u64));
    finds(&report, Rule::RootDiffers, None);

    let engine = engine_of(&world);
    relink(&mut all, at);
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    assert!(!rules(&report).contains("entry_link"));
    finds(&report, Rule::RootDiffers, None);
    finds(&report, Rule::TileWrong, Some(at as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_out_of_order_time_or_form_are_named() {
    let world = shop().await;
    let engine = engine_of(&world);
    let good = entries(&engine);
    let mut all = good.clone();
    let change = |bytes: &[u8], change: &dyn Fn(&mut Entry)| {
        let mut entry = Entry::decode(bytes).unwrap();
        change(&mut entry);
        entry.encode().unwrap()
    };
    all[20] = change(&all[20], &|entry| entry.index = 21);
    all[30] = change(&all[30], &|entry| entry.time = UnixSeconds(START - 1));
    all[40] = change(&all[40], &|entry| entry.kind = 99);
    all[50] = change(&all[50], &|entry| entry.body = cbor::int(3));
    all[60][0] = 0xff;
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    finds(&report, Rule::EntryIndex, Some(20));
    finds(&report, Rule::EntryTime, Some(30));
    finds(&report, Rule::EntryKind, Some(40));
    finds(&report, Rule::EntryBody, Some(50));
    finds(&report, Rule::EntryForm, Some(60));
    assert_eq!(report.summary.undecodable, 3);
    // What follows is not blamed for what is missing.
    assert!(
        !rules(&report).contains("sequence_number"),
        "{:#?}",
        report.findings.kept()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_cut_off_and_an_older_store_are_told_by_what_was_signed() {
    let world = shop().await;
    let older = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for (path, bytes) in files(from) {
            std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
        }
    };
    let kept = older.path().join("store");
    copy(&store_of(&world), &kept);
    let before = entries(&engine_of(&world)).len() as u64;

    let node = world.open();
    for n in 0..5 {
        let draft = receipt(&lane(1), &format!("more{n}"), node.now().0);
        node.issue_receipt(&till(&lane(1)), draft).await.unwrap();
    }
    node.shut_down().await;
    drop(node);
    let size = entries(&engine_of(&world)).len() as u64;
    assert!(size >= before + 5);

    let mut older_store = options(&world);
    older_store.dir = kept;
    let report = run(&older_store);
    finds(&report, Rule::LogShorterThanSigned, Some(before));
    finds(&report, Rule::LogShorterThanSigned, Some(size - 1));

    // The tail's rows removed: what the raw file still holds is told apart.
    let engine = engine_of(&world);
    let mut batch = Batch::default();
    engine
        .scan(&[rows::ENTRY], &rows::entry(before), &mut |key, _| {
            batch.remove(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    engine.commit(batch).unwrap();
    drop(engine);
    let report = run(&options(&world));
    let lost = report.findings.kept().iter().any(|finding| {
        matches!(finding.rule, Rule::EntriesLost | Rule::LogShorterThanSigned)
            && finding
                .entries
                .is_some_and(|(first, last)| first <= before && last == size - 1)
    });
    assert!(lost, "{:#?}", report.findings.kept());
}

/// Adds an entry at the end, linked, with tiles, guard and counters left as
/// they are: a dishonest node would write those too.
fn add(world: &World, make: impl FnOnce(&[Recorded]) -> Event) -> u64 {
    let engine = engine_of(world);
    let all = entries(&engine);
    let log: Vec<Recorded> = all.iter().map(|bytes| recorded(bytes)).collect();
    let event = make(&log);
    let last = log.last().unwrap();
    let entry = Entry {
        index: all.len() as u64,
        time: last.time,
        previous: last.hash,
        kind: event.kind(),
        body: event.to_body(None, [9; 16]),
    };
    let bytes = entry.encode().unwrap();
    let mut batch = Batch::default();
    rows::append_entries(&mut batch, entry.index, [bytes.as_slice()]).unwrap();
    engine.commit(batch).unwrap();
    entry.index
}

fn last_of<T>(log: &[Recorded], pick: impl Fn(&Recorded) -> Option<T>) -> T {
    log.iter().rev().find_map(pick).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dishonest_nodes_redemptions_and_reversals_are_named() {
    // A coupon used once more, with everything counted as it should be.
    let world = shop().await;
    let at = add(&world, |log| {
        last_of(log, |recorded| match &recorded.event {
            Event::Redeemed(used) if used.used_up && used.uses_after == 1 => {
                let mut again = used.clone();
                again.id.0[0] ^= 1;
                again.previous = recorded.hash;
                again.uses_after = 2;
                again.spent_after = used.spent_after.plus(used.amount).unwrap();
                again.at = None;
                Some(Event::Redeemed(again))
            }
            _ => None,
        })
    });
    let report = run(&options(&world));
    finds(&report, Rule::OverRedeemed, Some(at));
    assert_eq!(rules(&report), BTreeSet::from(["over_redeemed"]));

    // The same once more, told as if it were the first use.
    let at = add(&world, |log| {
        last_of(log, |recorded| match &recorded.event {
            Event::Redeemed(used) if used.amount == cents(200) && used.previous == Digest::ZERO => {
                let mut again = used.clone();
                again.id.0[0] ^= 2;
                Some(Event::Redeemed(again))
            }
            _ => None,
        })
    });
    let report = run(&options(&world));
    finds(&report, Rule::OverRedeemed, Some(at));
    finds(&report, Rule::CouponChain, Some(at));
    finds(&report, Rule::CountWrong, Some(at));

    // Never issued, another tag, another name, too much off.
    let world = shop().await;
    let forged = |change: fn(&mut tallystick::ledger::Redeemed)| {
        add(&world, |log| {
            let first = log.iter().find_map(|recorded| match &recorded.event {
                Event::Redeemed(redeemed) => Some(redeemed.clone()),
                _ => None,
            });
            let mut redeemed = first.unwrap();
            change(&mut redeemed);
            Event::Redeemed(redeemed)
        })
    };
    let never = forged(|redeemed| redeemed.leaf = 1_000);
    let tag = forged(|redeemed| redeemed.tag.0[0] ^= 1);
    let name = forged(|redeemed| redeemed.name.index ^= 1);
    let list = forged(|redeemed| redeemed.name.list = 77);
    let batch = forged(|redeemed| redeemed.batch_entry = 3);
    let report = run(&options(&world));
    finds(&report, Rule::CouponNotIssued, Some(never));
    finds(&report, Rule::CouponTag, Some(tag));
    finds(&report, Rule::CouponName, Some(name));
    finds(&report, Rule::CouponName, Some(list));
    finds(&report, Rule::CouponNotIssued, Some(batch));
    finds(&report, Rule::IdentityRepeated, Some(tag));

    // A reversal of nothing, and one of more than there is left.
    let world = shop().await;
    let reversed = |change: fn(&mut tallystick::ledger::Reversed)| {
        add(&world, |log| {
            let mut reversed = last_of(log, |recorded| match &recorded.event {
                Event::Reversed(reversed) => Some(reversed.clone()),
                _ => None,
            });
            change(&mut reversed);
            Event::Reversed(reversed)
        })
    };
    let nothing = reversed(|reversed| reversed.redemption.0[3] ^= 1);
    let more = reversed(|reversed| {
        reversed.id.0[3] ^= 1;
        reversed.amount = cents(400);
    });
    let report = run(&options(&world));
    finds(&report, Rule::ReversalOfNothing, Some(nothing));
    finds(&report, Rule::ReversalRefused, Some(more));
}

#[tokio::test(flavor = "multi_thread")]
async fn redeeming_what_was_revoked_expired_or_miscalculated_is_named() {
    let world = shop().await;
    let engine = engine_of(&world);
    let good = entries(&engine);
    drop(engine);
    for (rule, change) in [
        (
            Rule::RedeemedWhileRevoked,
            (|event| match event {
                // The third use of the coupon whose batch is then suspended, made after it.
                Event::StatusSet(set) if set.status == NewStatus::Revoked => {
                    set.status = NewStatus::Suspended;
                    false
                }
                _ => false,
            }) as fn(&mut Event) -> bool,
        ),
        (Rule::RedeemedOutsideDates, |event| match event {
            Event::Redeemed(redeemed) => {
                redeemed.at = Some(UnixSeconds(START - 500));
                true
            }
            _ => false,
        }),
        (Rule::TimeTooFar, |event| match event {
            Event::Redeemed(redeemed) => {
                redeemed.at = Some(UnixSeconds(START - 500));
                true
            }
            _ => false,
        }),
        (Rule::BenefitWrong, |event| match event {
            Event::Redeemed(redeemed) if redeemed.basket_total == cents(2_005) => {
                redeemed.amount = cents(202);
                true
            }
            _ => false,
        }),
        (Rule::RedeemedAgainstTerms, |event| match event {
            Event::Redeemed(redeemed) => {
                redeemed.redeemer = "did:web:elsewhere.example".to_owned();
                true
            }
            _ => false,
        }),
        (Rule::BatchTerms, |event| match event {
            Event::BatchIssued(batch) => {
                batch.not_after = batch.not_after.plus(1);
                true
            }
            _ => false,
        }),
        (Rule::BatchGap, |event| match event {
            Event::BatchIssued(batch) if batch.count == 1 => {
                batch.first.0 += 3;
                true
            }
            _ => false,
        }),
        (Rule::BatchOverlap, |event| match event {
            Event::BatchIssued(batch) if batch.count == 1 => {
                batch.first.0 -= 1;
                true
            }
            _ => false,
        }),
        (Rule::TagsRoot, |event| match event {
            Event::BatchIssued(batch) => {
                batch.tags_root.0[0] ^= 1;
                true
            }
            _ => false,
        }),
        (Rule::StatusCount, |event| match event {
            Event::StatusSet(set) => {
                set.changed = 2;
                true
            }
            _ => false,
        }),
        (Rule::StatusList, |event| match event {
            Event::StatusListSigned(signed) => {
                signed.expires = signed.issued_at;
                true
            }
            _ => false,
        }),
        (Rule::CampaignSignature, |event| match event {
            Event::CampaignSigned(signed) => {
                *signed.credential.last_mut().unwrap() ^= 1;
                true
            }
            _ => false,
        }),
        (Rule::CampaignIdentity, |event| match event {
            Event::CampaignSigned(signed) => {
                signed.id.0[0] ^= 1;
                true
            }
            _ => false,
        }),
    ] {
        if rule == Rule::RedeemedWhileRevoked {
            let at = add(&world, |log| {
                // One more use of a coupon of the suspended batch that was never used.
                let mut redeemed = last_of(log, |recorded| match &recorded.event {
                    Event::Redeemed(redeemed) if redeemed.basket_total == cents(2_005) => {
                        Some(redeemed.clone())
                    }
                    _ => None,
                });
                redeemed.leaf = 1;
                redeemed.id.0[0] ^= 1;
                redeemed.uses_after = 1;
                redeemed.previous = Digest::ZERO;
                redeemed.spent_after = redeemed.amount;
                redeemed.name.index ^= 1;
                Event::Redeemed(redeemed)
            });
            finds(&run(&options(&world)), rule, Some(at));
            continue;
        }
        let mut all = good.clone();
        let at = forge(&mut all, change);
        relink(&mut all, at);
        let engine = engine_of(&world);
        put_entries(&engine, &all);
        drop(engine);
        // A gap is told at the batch that follows it.
        let entry = (rule != Rule::BatchGap).then_some(at as u64);
        finds(&run(&options(&world)), rule, entry);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_references_stand_once_and_salts_are_salts() {
    let world = shop().await;
    let engine = engine_of(&world);
    let mut all = entries(&engine);
    let first = recorded(&all[1]).answers;
    let mut entry = Entry::decode(&all[2]).unwrap();
    entry.body = recorded(&all[2]).event.to_body(first.as_ref(), [7; 16]);
    all[2] = entry.encode().unwrap();
    let signed = all
        .iter()
        .position(|bytes| matches!(recorded(bytes).event, Event::CampaignSigned(_)));
    let signed = signed.unwrap();
    let mut entry = Entry::decode(&all[signed]).unwrap();
    let found = recorded(&all[signed]);
    entry.body = found.event.to_body(found.answers.as_ref(), [0; 16]);
    all[signed] = entry.encode().unwrap();
    relink(&mut all, 2);
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    finds(&report, Rule::KeyRepeated, Some(2));
    finds(&report, Rule::ReferenceRepeated, Some(2));
    finds(&report, Rule::SaltMissing, Some(signed as u64));
}

/// Applies one change to the rows of a whole store, audits, and takes it back.
fn with_row(world: &World, key: &[u8], value: Option<Vec<u8>>) -> AuditReport {
    let engine = engine_of(world);
    let before = engine.get(key).unwrap();
    assert_ne!(before, value);
    let write = |value: Option<Vec<u8>>| Batch {
        require_absent: None,
        writes: vec![(key.to_vec(), value)],
    };
    engine.commit(write(value)).unwrap();
    drop(engine);
    let report = run(&options(world));
    engine_of(world).commit(write(before)).unwrap();
    report
}

fn row(world: &World, prefix: u8) -> (Vec<u8>, Vec<u8>) {
    let mut found = None;
    engine_of(world)
        .scan(&[prefix], &[prefix], &mut |key, value| {
            found = Some((key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })
        .unwrap();
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beside_the_log_that_were_changed_or_removed_are_named() {
    let world = shop().await;
    let flip = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        Some(bytes)
    };
    // Counters: `[entry, issued, redemptions, spent, flags, as of]` and `[last, as of]`.
    let (key, value) = row(&world, rows::CAMPAIGN);
    let mut items = match cbor::decode(&value, 100).unwrap() {
        serde_cbor::Value::Array(items) => items,
        _ => panic!("an array"),
    };
    items[2] = cbor::int(5_000);
    let changed = cbor::encode(&serde_cbor::Value::Array(items));
    finds(&with_row(&world, &key, Some(changed)), Rule::StoredCampaign, None);
    finds(&with_row(&world, &key, None), Rule::StoredCampaign, None);
    finds(
        &with_row(&world, &key, Some(vec![0xff])),
        Rule::StoredCampaign,
        None,
    );
    let (key, _) = row(&world, rows::REGISTER);
    let size = entries(&engine_of(&world)).len();
    let wrong = cbor::encode(&serde_cbor::Value::Array(vec![
        cbor::int(3),
        cbor::int(size as u64),
    ]));
    finds(&with_row(&world, &key, Some(wrong)), Rule::StoredRegister, None);
    finds(&with_row(&world, &key, None), Rule::StoredRegister, None);
    // Statuses: a used-up coupon made valid, an unknown one revoked.
    let mut statuses = Vec::new();
    engine_of(&world)
        .scan(&[rows::STATUS], &[rows::STATUS], &mut |key, value| {
            statuses.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    for byte in [4, 0] {
        let (key, value) = statuses.iter().find(|(_, value)| value.contains(&byte)).unwrap();
        let mut changed = value.clone();
        let at = changed.iter().position(|found| *found == byte).unwrap();
        changed[at] = 4 - byte;
        finds(&with_row(&world, key, Some(changed)), Rule::StoredStatus, None);
    }
    let (key, value) = row(&world, rows::BATCH);
    finds(&with_row(&world, &key, flip(&value, 11)), Rule::StoredBatch, None);
    finds(&with_row(&world, &key, None), Rule::StoredBatch, None);
    // Tags and tiles.
    let key = rows::tag_tile(0);
    let value = engine_of(&world).get(&key).unwrap().unwrap();
    let report = with_row(&world, &key, flip(&value, 5));
    finds(&report, Rule::TagsRoot, None);
    finds(&report, Rule::CouponTag, None);
    finds(&with_row(&world, &key, None), Rule::TagsMissing, None);
    let mut twice = value.clone();
    twice.copy_within(0..32, 64);
    finds(&with_row(&world, &key, Some(twice)), Rule::TagRepeated, None);
    let (key, value) = (rows::tag_tile(9), vec![7; 32]);
    finds(&with_row(&world, &key, Some(value)), Rule::TagUnexpected, None);
    let (key, value) = row(&world, rows::HASH_TILE);
    finds(
        &with_row(&world, &key, flip(&value, 32 * 7)),
        Rule::TileWrong,
        Some(7),
    );
    finds(&with_row(&world, &key, None), Rule::TileMissing, Some(7));
    let extra = rows::hash_tile(0, 1, 0);
    finds(
        &with_row(&world, &extra, Some(vec![0; 4096])),
        Rule::TileExtra,
        None,
    );
    // What lies beside the entries, and the index.
    let (key, value) = row(&world, rows::BESIDE);
    finds(&with_row(&world, &key, None), Rule::DetailsMissing, Some(1));
    finds(
        &with_row(&world, &key, flip(&value, 100)),
        Rule::DetailsUnreadable,
        Some(1),
    );
    let (key, value) = row(&world, rows::INDEX_RUN);
    finds(&with_row(&world, &key, flip(&value, 40)), Rule::StoredIndex, None);
    finds(&with_row(&world, &key, None), Rule::StoredIndex, None);
    let key = rows::derived(b"state");
    let value = serde_cbor::Value::Array(vec![cbor::int(9_999), cbor::int(144), cbor::map([])]);
    finds(
        &with_row(&world, &key, Some(cbor::encode(&value))),
        Rule::StoredState,
        None,
    );
    // All taken back: clean again.
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn details_that_were_replaced_are_told_from_the_signed_ones() {
    let world = shop().await;
    let engine = engine_of(&world);
    let record = tallystick::store::beside::read(&engine, 5).unwrap().unwrap();
    let other = tallystick::store::beside::read(&engine, 6).unwrap().unwrap();
    // Apples for pears: the same length, so that all else stays well-formed.
    let at = record.windows(5).position(|bytes| bytes == b"Topaz").unwrap();
    let mut changed = record.clone();
    changed[at..at + 5].copy_from_slice(b"Birne");
    for (record, rule) in [
        (changed, Rule::DetailsRoot),
        (other, Rule::ReceiptTag),
        (vec![1], Rule::DetailsUnreadable),
    ] {
        let mut batch = Batch::default();
        let edits = std::iter::once((5, Some(record))).collect();
        tallystick::store::beside::edit(&engine, &mut batch, &edits).unwrap();
        engine.commit(batch).unwrap();
        let copy = tempfile::tempdir().unwrap();
        // The engine holds its lock: the audit is of a copy.
        for (path, bytes) in files(&store_of(&world)) {
            std::fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
        let mut copied = options(&world);
        copied.dir = copy.path().to_path_buf();
        finds(&run(&copied), rule, Some(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_audited_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let options = AuditOptions {
        dir: empty.path().to_path_buf(),
        ..AuditOptions::default()
    };
    assert!(matches!(
        audit(&options, &mut |_, _| {}),
        Err(AuditError::NoStore { .. })
    ));
    std::fs::write(empty.path().join("db"), b"").unwrap();
    assert!(audit(&options, &mut |_, _| {}).is_err());
    // A guard that cannot be read is a finding, not a shrug.
    let world = shop().await;
    let ruined = empty.path().join("ruined.guard");
    std::fs::write(&ruined, [0; 100]).unwrap();
    let mut options = self::options(&world);
    options.guard = Some(ruined);
    finds(&run(&options), Rule::GuardUnreadable, None);
    // Another log's guard.
    let other = empty.path().join("other.guard");
    Guard::create(&other, &GuardState::new(20, [3; 32])).unwrap();
    options.guard = Some(other);
    finds(&run(&options), Rule::RootDiffers, Some(19));
}

/// Whatever is done to the file, an audit ends, and calls only that clean
/// which still holds every entry.
#[test]
fn damage_never_goes_unseen() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(shop());
    let whole = files(&store_of(&world));
    let good = entries(&engine_of(&world));
    let place = tempfile::tempdir().unwrap();
    let config = ProptestConfig {
        cases: 24,
        max_shrink_iters: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let damage = proptest::collection::vec((any::<u32>(), 1..=255_u8), 1..6);
    proptest!(config, |(flips in damage, with_guard in any::<bool>(), cut in 0..8_u32)| {
        let dir = place.path().join("store");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        for (path, bytes) in &whole {
            let name = path.file_name().unwrap();
            let mut bytes = bytes.clone();
            if name == "db" {
                // sled's file ends in zeros: damage goes where data is.
                let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u32;
                for (at, flip) in &flips {
                    bytes[(at % end) as usize] ^= flip;
                }
                if cut == 0 {
                    bytes.truncate((flips[0].0 % end) as usize);
                }
            } else if name.to_string_lossy().starts_with("snap") && flips.len() > 2 {
                continue;
            }
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        let options = AuditOptions {
            dir: dir.clone(),
            guard: with_guard.then(|| world.guard.clone()),
            ..AuditOptions::default()
        };
        let Ok(report) = audit(&options, &mut |_, _| {}) else { return Ok(()) };
        if !with_guard {
            prop_assert_ne!(report.verdict(), Verdict::Clean);
        } else if report.verdict() == Verdict::Clean {
            let left = entries(&SledEngine::open(&dir).unwrap().0);
            prop_assert!(left == good, "called clean with {} of {} entries", left.len(), good.len());
        }
    });
}
