//! Batches of many coupons: two passes in pieces, taken up again anywhere, and
//! finished after whatever cuts them off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::Sha256;
use tallystick::credential::{SecretKey, coupon_tag};
use tallystick::ledger::NewStatus;
use tallystick::merkle::{leaf_hash, root_of, verify_inclusion};
use tallystick::node::keyring::Keyring;
use tallystick::node::{Caller, IssuedCoupon, Node, NodeError, RevocationTarget, TagPath};
use tallystick::primitives::{CampaignId, Position, limits};
use tallystick::testkit::Fault;

use super::faults::broken;
use super::world::*;

/// More than an opening finishes before it serves, and three commits of tags.
const MANY: u32 = 9_000;

/// The like, with two commits of tags.
const SOME: u32 = 4_500;

async fn read(
    node: &Node,
    caller: &Caller,
    campaign: CampaignId,
    count: u32,
    from: u32,
) -> Vec<IssuedCoupon> {
    try_read(node, caller, campaign, count, from).await.unwrap()
}

async fn try_read(
    node: &Node,
    caller: &Caller,
    campaign: CampaignId,
    count: u32,
    from: u32,
) -> Result<Vec<IssuedCoupon>, NodeError> {
    let all = |coupons: &mut dyn Iterator<Item = IssuedCoupon>| coupons.collect::<Vec<_>>();
    let mut stream = node
        .stream_coupons(caller, order(campaign, count), from, all)
        .await?;
    let mut coupons = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        assert!(piece.len() <= limits::COUPON_PIECE_LEN as usize);
        coupons.extend(piece);
    }
    Ok(coupons)
}

/// Reads a batch that may still be finished in the background.
async fn read_when_finished(
    node: &Node,
    caller: &Caller,
    campaign: CampaignId,
    count: u32,
) -> Vec<IssuedCoupon> {
    loop {
        match try_read(node, caller, campaign, count, 0).await {
            Ok(coupons) => return coupons,
            Err(NodeError::InProgress) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn check_path(found: &TagPath, coupon: &IssuedCoupon, leaf: u32) {
    assert_eq!((found.leaf, found.name), (leaf, coupon.name));
    assert_eq!(found.tag, coupon_tag(&coupon.credential));
    let (count, root) = (u64::from(found.batch.batch.count), found.batch.batch.tags_root);
    let path: Vec<_> = found.path.iter().map(|hash| hash.0).collect();
    let hash = leaf_hash(&found.tag.0);
    assert_eq!(
        verify_inclusion(&hash, leaf.into(), count, &path, &root.0),
        Ok(())
    );
    // And so says another implementation.
    let proof = ct_merkle::InclusionProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
    let root = ct_merkle::RootHash::<Sha256>::new(root.0.into(), count);
    root.verify_inclusion(&found.tag.0.to_vec(), leaf.into(), &proof)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_read_again_from_any_line() {
    let world = World::sled();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap().id;
    // So that the batch begins within a row of tags.
    let before = node.issue_coupons(&office(), order(campaign, 77)).await.unwrap();
    let caller = office();
    let coupons = read(&node, &caller, campaign, MANY, 0).await;
    assert_eq!(coupons.len(), MANY as usize);
    let size = node.size();
    for from in [1, 2, 178, 179, 255, 256, 4_018, 4_019, MANY - 1, MANY] {
        let rest = read(&node, &caller, campaign, MANY, from).await;
        assert!(rest == coupons[from as usize..], "from {from}");
    }
    assert_eq!(node.size(), size, "a repeat issues nothing");
    let names: std::collections::HashSet<_> = coupons.iter().chain(&before.coupons).map(|c| c.name).collect();
    assert_eq!(names.len(), MANY as usize + 77);

    let batch = before.batch + 1;
    let tags: Vec<_> = coupons
        .iter()
        .map(|c| leaf_hash(&coupon_tag(&c.credential).0))
        .collect();
    let view = node.batch(batch).unwrap();
    assert_eq!(view.batch.tags_root.0, root_of(&tags));
    assert_eq!((view.batch.first, view.batch.count), (Position(77), MANY));
    for leaf in [0, 1, 50, 51, 4_095, 4_096, 8_191, 8_192, MANY - 1] {
        let coupon = &coupons[leaf as usize];
        let found = node.tag_path(batch, leaf).await.unwrap();
        check_path(&found, coupon, leaf);
        assert_eq!(node.tag_path_of(coupon.name).await.unwrap(), found);
    }
    check_path(
        &node.tag_path(before.batch, 76).await.unwrap(),
        &before.coupons[76],
        76,
    );
    let absent = [
        node.tag_path(batch, MANY).await.err(),
        node.tag_path(batch - 2, 0).await.err(),
        node.tag_path(u64::MAX, 0).await.err(),
    ];
    for error in absent {
        assert!(matches!(error, Some(NodeError::NotFound(_))), "{error:?}");
    }
    let lane = lane(1);
    let sale = redemption(&coupons[MANY as usize - 1].credential, &lane, "s", 900);
    node.redeem(&till(&lane), sale).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_up_nobody_and_keeps_little() {
    let world = World::memory();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap().id;
    let made = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&made);
    let count = move |coupons: &mut dyn Iterator<Item = IssuedCoupon>| {
        let signed = u32::try_from(coupons.count()).unwrap();
        counter.fetch_add(signed, Ordering::SeqCst);
        signed
    };
    let caller = office();
    let mut slow = node
        .stream_coupons(&caller, order(campaign, MANY), 0, count)
        .await
        .unwrap();
    let first = slow.next().await.unwrap().unwrap();
    let lane = lane(1);
    for n in 0..50 {
        let reference = format!("r{n}");
        node.issue_receipt(&till(&lane), receipt(&lane, &reference, START))
            .await
            .unwrap();
    }
    // Another one reads all of it meanwhile.
    assert_eq!(read(&node, &caller, campaign, MANY, 0).await.len(), MANY as usize);
    let cores = std::thread::available_parallelism().unwrap().get();
    let ahead = made.load(Ordering::SeqCst) / limits::COUPON_PIECE_LEN;
    assert!(
        ahead as usize <= cores + 1,
        "{ahead} pieces were signed for a reader of one"
    );
    let mut rest = 0;
    while let Some(piece) = slow.next().await {
        rest += piece.unwrap();
    }
    assert_eq!(first + rest, MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_streamed_is_said_before_anything_is_issued() {
    let world = World::memory();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap().id;
    let size = node.size();
    let too_many = limits::BATCH_COUPONS_MAX + 1;
    let refused = try_read(&node, &office(), campaign, too_many, 0).await;
    assert!(matches!(refused, Err(NodeError::Refused(_))), "{refused:?}");
    let whole = node
        .issue_coupons(&office(), order(campaign, limits::ANSWER_COUPONS_MAX + 1))
        .await;
    assert!(whole.unwrap_err().to_string().contains("application/x-ndjson"));
    // Nobody has lines of a batch that was never issued.
    let unknown = try_read(&node, &office(), campaign, 10, 1).await;
    assert!(matches!(unknown, Err(NodeError::NotFound(_))), "{unknown:?}");
    assert_eq!(node.size(), size);

    let caller = office();
    let mut open = Vec::new();
    for _ in 0..limits::COUPON_STREAMS_MAX {
        let stream = node.stream_coupons(&caller, order(campaign, 1), 0, |coupons| coupons.count());
        open.push(stream.await.unwrap());
    }
    let busy = try_read(&node, &office(), campaign, 1, 0).await;
    assert!(matches!(busy, Err(NodeError::Busy)), "{busy:?}");
    drop(open.pop());
    assert_eq!(read(&node, &caller, campaign, 1, 0).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_that_signed_them_coupons_are_gone_but_not_their_paths() {
    let mut world = World::memory();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap().id;
    let caller = office();
    let coupons = read(&node, &caller, campaign, 300, 0).await;
    let batch = node.size() - 1;
    node.shut_down().await;
    // All keys but this one stay.
    world.keyring = Arc::new(Keyring {
        credential: SecretKey::from_seed(&[77; 32]),
        log: SecretKey::from_seed(&[12; 32]),
        witness: SecretKey::from_seed(&[13; 32]),
        messages: SecretKey::from_seed(&[16; 32]),
        messages_next: None,
        credential_next: None,
        credentials_before: Vec::new(),
        index_secret: [14; 32].into(),
        request_secret: [15; 32].into(),
    });
    let node = world.open();
    for from in [0, 299] {
        let gone = try_read(&node, &caller, campaign, 300, from).await;
        assert!(matches!(gone, Err(NodeError::Gone(_))), "{gone:?}");
    }
    check_path(&node.tag_path(batch, 255).await.unwrap(), &coupons[255], 255);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_of_a_large_batch_fails_once() {
    // Reservation, a commit of tags, the last of them with the entry.
    for nth in 1..=3 {
        for fault in [Fault::NotPersisted, Fault::Persisted] {
            let what = format!("write {nth}, {fault:?}");
            let world = World::memory();
            let (node, engine, _) = broken(&world);
            let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap().id;
            engine.fail(nth, fault);
            let caller = office();
            let error = try_read(&node, &caller, campaign, SOME, 0).await.unwrap_err();
            assert!(matches!(error, NodeError::Stopped(_)), "{what}: {error:?}");

            let (node, report) = world.try_open().unwrap();
            let left = report.notes.iter().any(|note| note.contains("in the background"));
            let reserved = (nth, fault) != (1, Fault::NotPersisted);
            let recorded = (nth, fault) == (3, Fault::Persisted);
            assert_eq!(left, reserved && !recorded, "{what}: {report:?}");
            // It serves at once.
            let lane = lane(1);
            let other = node.issue_coupons(&office(), order(campaign, 2)).await.unwrap();
            let sale = redemption(&other.coupons[0].credential, &lane, "s", 900);
            node.redeem(&till(&lane), sale).await.unwrap();
            let coupons = read_when_finished(&node, &caller, campaign, SOME).await;
            assert_eq!(read(&node, &caller, campaign, SOME, 0).await, coupons, "{what}");
            let mut positions = std::collections::HashSet::new();
            positions.extend(coupons.iter().chain(&other.coupons).map(|coupon| coupon.name));
            assert_eq!(positions.len(), SOME as usize + 2, "{what}: a duplicate");
            // Neither gap nor duplicate: the next batch follows both.
            let next = node.issue_coupons(&office(), order(campaign, 1)).await.unwrap();
            let first = node.batch(next.batch).unwrap().batch.first;
            assert_eq!(first, Position(u64::from(SOME) + 2), "{what}");
            let last = &coupons[SOME as usize - 1];
            let found = node.tag_path_of(last.name).await.unwrap();
            check_path(&found, last, SOME - 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_revoked_whole() {
    let world = World::sled();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap().id;
    let coupons = read(&node, &office(), campaign, MANY, 0).await;
    let other = node.issue_coupons(&office(), order(campaign, 1)).await.unwrap();
    let batch = RevocationTarget::Batch(other.batch - 1);
    let suspended = node
        .set_status(&office(), &batch, NewStatus::Suspended, None)
        .await
        .unwrap();
    assert_eq!(suspended.changed, u64::from(MANY));
    let lane = lane(1);
    let sale = |coupon: &IssuedCoupon, n: &str| redemption(&coupon.credential, &lane, n, 900);
    for coupon in [&coupons[0], &coupons[MANY as usize - 1]] {
        let refused = node.redeem(&till(&lane), sale(coupon, "s")).await;
        assert!(matches!(refused, Err(NodeError::Refused(_))), "{refused:?}");
    }
    node.redeem(&till(&lane), sale(&other.coupons[0], "t"))
        .await
        .unwrap();
    let whole = RevocationTarget::Campaign(campaign);
    let revoked = node
        .set_status(&office(), &whole, NewStatus::Revoked, None)
        .await
        .unwrap();
    assert_eq!(revoked.changed, u64::from(MANY) + 1);
    node.shut_down().await;
    drop(node);
    // Opening finds the same.
    let node = world.open();
    let again = node
        .set_status(&office(), &whole, NewStatus::Revoked, None)
        .await
        .unwrap();
    assert_eq!(again.changed, 0);
}
