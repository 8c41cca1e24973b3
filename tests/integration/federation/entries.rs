//! Members read entries of each other's logs by signed message, and nobody else does.

use std::sync::Arc;

use serde_json::json;
use tallystick::credential::{Coupon, SecretKey};
use tallystick::encoding::cbor;
use tallystick::federation::copy::{Keep, LogCopy};
use tallystick::federation::entries::{Answer, Asker, Letters, MemberSource, Request};
use tallystick::federation::follower::{Again, Follower};
use tallystick::federation::message::{self, Head, MessageName};
use tallystick::federation::{DirSource, HttpSource, LogSource};
use tallystick::log::tile_path::{TileKind, read_bundle};
use tallystick::log::{TilePath, entry_hash};
use tallystick::merkle::{leaf_hash, root_of_path};
use tallystick::primitives::{CouponName, limits};
use tallystick::testkit::SeededEntropy;
use tallystick::testkit::federation::{TestFederation, TestMember};
use tallystick::testkit::fuzz::entries_seeds;
use tallystick::testkit::node::ScratchDir;
use tallystick::testkit::roster::{after, signed};

use super::redemption::{coupons, post, two_off};

const NORTH: &str = "did:web:coop-0.example";
const SOUTH: &str = "did:web:coop-1.example";
const MOST: usize = 2 * 1024 * 1024;

pub fn asker(member: &TestMember) -> Asker {
    Asker {
        letters: letters(member),
        peers: member.peers.clone(),
    }
}

fn letters(member: &TestMember) -> Letters {
    Letters {
        node: member.node.node.clone(),
        rosters: Arc::clone(&member.rosters),
        entropy: Arc::new(SeededEntropy::new(77)),
    }
}

fn file(kind: TileKind, number: u64, width: u64) -> TilePath {
    TilePath::new(kind, number, u16::try_from(width).unwrap()).unwrap()
}

/// The name of a coupon, and its bytes.
pub fn coupon_named(qr: &str) -> (CouponName, Vec<u8>) {
    let bytes = tallystick::encoding::qr_text::parse(qr).unwrap().bytes;
    let status = Coupon::parse_unverified(&bytes).unwrap().status;
    let (_, list) = status.uri.rsplit_once('/').unwrap();
    let name = format!("{list}-{}", status.index);
    (CouponName::parse(&name).unwrap(), bytes)
}

/// Posts a message to north, and gives status, code and reason, or the answer's bytes.
async fn sent(valley: &TestFederation, bytes: Vec<u8>) -> Result<Vec<u8>, (u16, String, String)> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("{}/federation/entries", valley.members[0].url))
        .header("content-type", message::CONTENT_TYPE)
        .body(bytes)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await.unwrap();
    if status == 200 {
        return Ok(bytes.to_vec());
    }
    let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    Err((status, text("code"), text("reason")))
}

fn head(valley: &TestFederation) -> Head {
    Head {
        sender: SOUTH.to_owned(),
        audience: NORTH.to_owned(),
        time: valley.members[0].node.node.now(),
        id: [9; 16],
        roster_version: valley.roster.version,
    }
}

fn sealed(key: &SecretKey, head: &Head, body: &[u8]) -> Vec<u8> {
    message::seal(key, MessageName::EntriesRequest, head, body)
}

fn counted(member: &TestMember, result: &str) -> u64 {
    let families = member.node.registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "tallystick_entries_messages_total");
    let metrics = family.into_iter().flat_map(|family| family.get_metric());
    metrics
        .filter(|metric| metric.get_label()[0].value() == result)
        .map(|metric| metric.get_counter().get_value() as u64)
        .sum()
}

#[tokio::test]
async fn a_member_reads_entries_and_tags_of_another() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    coupons(north, two_off(), 5).await;
    let (asker, node) = (asker(south), &north.node.node);
    let entries = file(TileKind::Entries, 0, node.size());
    let read = asker.file(NORTH, entries, MOST).await.unwrap().unwrap();
    assert_eq!(read, node.entry_bundle(&entries).unwrap());
    let tags = file(TileKind::Tags, 0, 5);
    let read = asker.file(NORTH, tags, MOST).await.unwrap().unwrap();
    assert_eq!(read, node.tag_bundle(&tags).unwrap().bytes);
    // What is not there is no error, and what is too long is not taken.
    let more = file(TileKind::Entries, 0, node.size() + 1);
    assert_eq!(asker.file(NORTH, more, MOST).await.unwrap(), None);
    let error = asker.file(NORTH, tags, 159).await.unwrap_err();
    assert!(error.to_string().contains("longer than 159 bytes"), "{error}");
    assert_eq!(counted(north, "piece"), 3);
    assert_eq!(counted(north, "nothing"), 1);
    valley.stop().await;
}

#[tokio::test]
async fn a_long_bundle_comes_in_pieces() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    for n in 0..100 {
        let campaign = json!({
            "name": format!("Harvest {n}"), "text": "x".repeat(2_000), "currency": "EUR", "benefit": two_off(),
            "not_before": "2026-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z",
            "reversal_window_seconds": 86_400,
        });
        let key = format!("campaign {n}").replace(' ', "-");
        let (status, answer) = post(north, "/v1/campaigns", &north.node.office_key, &key, campaign).await;
        assert_eq!(status, 201, "{answer}");
    }
    let size = north.node.node.size();
    let path = file(TileKind::Entries, 0, size);
    let whole = asker(south).file(NORTH, path, MOST).await.unwrap().unwrap();
    assert!(
        whole.len() > limits::ENTRIES_PIECE_BYTES_MAX,
        "{} bytes",
        whole.len()
    );
    assert!(counted(north, "piece") > 1);
    let entries = read_bundle(&whole, u16::try_from(size).unwrap()).unwrap();
    assert_eq!(entries[99], node_entry(north, 99));
    valley.stop().await;
}

fn node_entry(member: &TestMember, index: u64) -> Vec<u8> {
    member.node.node.log_entry(index).unwrap().bytes
}

#[tokio::test]
async fn a_coupon_comes_with_its_way_to_the_checkpoint() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    let qrs = coupons(north, two_off(), 5).await;
    let (name, bytes) = coupon_named(&qrs[3]);
    let path = asker(south).coupon(NORTH, name, 1).await.unwrap().unwrap();
    assert_eq!(
        path.tag,
        tallystick::credential::Signed::<Coupon>::parse(&bytes)
            .unwrap()
            .tag()
    );
    assert_eq!((path.leaf, path.log.old_size), (3, 1));
    let proof = north.node.node.inclusion(2, None).unwrap();
    let root = root_of_path(&entry_hash(&path.entry).0, 2, proof.tree_size, &path.entry_path);
    assert_eq!(root, Ok(proof.root.0));
    let root = root_of_path(&leaf_hash(&path.tag.0), 3, 5, &path.tag_path).unwrap();
    assert_eq!(root, north.node.node.batch(2).unwrap().batch.tags_root.0);
    let other = CouponName { list: 7, ..name };
    assert_eq!(asker(south).coupon(NORTH, other, 1).await.unwrap(), None);
    valley.stop().await;
}

#[tokio::test]
async fn a_mirror_needs_no_key_for_a_fellow_members_entries() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    coupons(north, two_off(), 5).await;
    let (size, log_key) = (north.node.node.size(), north.node.node.log_key());
    let (url, letters) = (north.url.clone(), letters(south));
    // Mirrors are kept by threads that may block.
    let work = move || {
        let dir = ScratchDir::new();
        let round = |source: Arc<dyn LogSource>| {
            let copy = LogCopy::open(dir.path(), Keep::Entries).unwrap();
            let keys = std::slice::from_ref(&log_key);
            let (mut follower, _) = Follower::begin(source, copy, keys, Vec::new(), false).unwrap();
            follower.round(&[], Again::Bundles(1), &SeededEntropy::new(1), &mut |_| {})
        };
        let http = || HttpSource::new(&url, None).unwrap();
        let shut_out = round(Arc::new(http()));
        let origin = log_key.name().to_owned();
        let read = round(Arc::new(MemberSource::new(http(), letters, origin)));
        let entries = DirSource::new(dir.path().to_owned());
        let path = file(TileKind::Entries, 0, size).to_string();
        (shut_out, read, entries.get(&path, MOST).unwrap())
    };
    let (shut_out, read, copied) = tokio::task::spawn_blocking(work).await.unwrap();
    assert!(
        shut_out.findings[0].detail.contains("may not be read"),
        "{shut_out:?}"
    );
    assert!(read.findings.is_empty(), "{read:?}");
    let path = file(TileKind::Entries, 0, size);
    assert_eq!(copied, Some(north.node.node.entry_bundle(&path).unwrap()));
    // Stubs stay an auditor's.
    let beside = read.beside.unwrap().not_shown.unwrap();
    assert!(
        beside.contains("stubs") && beside.contains("may not be read"),
        "{beside}"
    );
    valley.stop().await;
}

#[tokio::test]
async fn nobody_else_reads_them() {
    let valley = TestFederation::start(3, false).await;
    let north = &valley.members[0];
    let size = north.node.node.size();
    let path = file(TileKind::Entries, 0, size);
    let body = Request::File { path, offset: 0 }.encode();
    let key = |n: usize| valley.members[n].node.keyring();
    let south = key(1).messages;
    let good = head(&valley);
    let bytes = sent(&valley, sealed(&south, &good, &body)).await.unwrap();
    let chain = valley.members[1].rosters.chain();
    let now = good.time;
    let opened = message::open(
        &bytes,
        MessageName::Entries,
        chain.directory().unwrap(),
        SOUTH,
        now,
    );
    let (answered, answer) = opened.unwrap();
    assert_eq!((answered.sender.as_str(), answered.id), (NORTH, good.id));
    assert!(matches!(Answer::decode(&answer).unwrap(), Answer::Piece { .. }));
    // Reading again does no harm, though the message is the same.
    assert!(sent(&valley, sealed(&south, &good, &body)).await.is_ok());

    let stranger = SecretKey::from_seed(&[0x55; 32]);
    let with = |change: &dyn Fn(&mut Head)| {
        let mut head = good.clone();
        change(&mut head);
        sealed(&south, &head, &body)
    };
    let stubs = file(TileKind::Stubs, 0, size);
    let stubs = Request::File {
        path: stubs,
        offset: 0,
    }
    .encode();
    for (bytes, reason) in [
        (sealed(&stranger, &good, &body), "not_a_member"),
        (sealed(&key(1).log, &good, &body), "key_not_for_messages"),
        (sealed(&key(2).messages, &good, &body), "wrong_sender"),
        (with(&|head| head.audience = SOUTH.to_owned()), "wrong_audience"),
        (with(&|head| head.time = head.time.plus(301)), "from_the_future"),
        (with(&|head| head.time = head.time.minus(301)), "too_old"),
        (
            message::seal(&south, MessageName::Gossip, &good, &body),
            "signature_wrong",
        ),
        // Stubs are for auditors.
        (sealed(&south, &good, &stubs), "malformed"),
        (sealed(&south, &good, &cbor::encode(&cbor::int(1))), "malformed"),
    ] {
        let (status, code, said) = sent(&valley, bytes).await.unwrap_err();
        assert_eq!(
            (status, code.as_str(), said.as_str()),
            (403, "message_refused", reason)
        );
        assert!(counted(north, reason) > 0, "{reason}");
    }
    let (status, code, _) = sent(&valley, with(&|head| head.roster_version += 1))
        .await
        .unwrap_err();
    assert_eq!((status, code.as_str()), (503, "roster_behind"));
    let long = vec![0; limits::ENTRIES_REQUEST_BYTES_MAX + 1];
    let (status, code, _) = sent(&valley, long).await.unwrap_err();
    assert_eq!((status, code.as_str()), (413, "body_too_large"));

    // Whoever left the federation reads no more.
    let without = after(&valley.roster, |draft| draft.remove(SOUTH, 1).unwrap());
    north.rosters.offer(&signed(&without, &[1]), None).await.unwrap();
    let (_, _, reason) = sent(&valley, sealed(&south, &good, &body)).await.unwrap_err();
    assert_eq!(reason, "removed_member");
    assert_eq!(counted(north, "piece"), 2);
    valley.stop().await;
}

#[test]
fn requests_and_answers_are_as_the_schema_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/entries.cddl");
    let schema = std::fs::read_to_string(path).unwrap();
    let valid = |start: &str, bytes: &[u8]| {
        let schema = format!("start = {start}\n{schema}");
        cddl::validate_cbor_from_slice(&schema, bytes, None).map_err(|error| error.to_string())
    };
    let (request, answer) = ("entries-request-body", "entries-body");
    for (n, bytes) in entries_seeds().iter().enumerate() {
        let [good, other] = if n < 2 {
            [request, answer]
        } else {
            [answer, request]
        };
        valid(good, bytes).unwrap_or_else(|error| panic!("{good}, {n}: {error}"));
        assert!(valid(other, bytes).is_err(), "{other}, {n}");
    }
    let file = |path: &str| {
        let items = vec![cbor::int(1), cbor::text(path), cbor::int(0)];
        cbor::encode(&serde_cbor::Value::Array(items))
    };
    valid(request, &file("tile/entries/x001/x234/067.p/17")).unwrap();
    valid(request, &file("tile/tags/000")).unwrap();
    for path in [
        "tile/stubs/000",
        "tile/0/000",
        "/tile/tags/000",
        "tile/tags/000/",
        "tile/tags/1",
    ] {
        assert!(valid(request, &file(path)).is_err(), "{path}");
    }
    assert!(
        valid(request, &[0x84, 2, 0, 0x1a, 0, 2, 0, 0, 0]).is_err(),
        "an index out of bounds"
    );
    assert!(valid(answer, &[0x83, 1, 5, 0x40]).is_err(), "an empty piece");
}
