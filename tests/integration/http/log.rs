//! The log as its clients see it: a tiny client of our own that goes by the
//! specifications alone, and other people's Merkle trees.

use std::collections::BTreeMap;
use std::io::Read as _;

use coset::TaggedCborSerializable as _;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ed25519_dalek::{Signature, VerifyingKey};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tallystick::http::HttpOptions;
use tallystick::ledger::Event;
use tallystick::log::{Checkpoint, Entry, KeyKind, TlogProof, VerifierKey, cose_receipt};
use tallystick::merkle::{verify_consistency, verify_inclusion};
use tallystick::primitives::Digest;
use tallystick::testkit::TestNode;

use super::client::{Answer, Served, receipt, redemption, send};

const TILE: u64 = 256;

type Hash = [u8; 32];

fn sha(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// RFC 6962, section 2.1, over hashes of leaves.
fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha(&[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            sha(&[&[1], &tree_hash(left), &tree_hash(right)])
        }
    }
}

/// A number as tlog-tiles spells it.
fn spelled(number: u64) -> String {
    match number {
        0..1000 => format!("{number:03}"),
        _ => {
            let before = spelled(number / 1000);
            let (head, last) = before.rsplit_once('/').map_or(("", &*before), |(a, b)| (a, b));
            let slash = if head.is_empty() { "" } else { "/" };
            format!("{head}{slash}x{last}/{:03}", number % 1000)
        }
    }
}

/// The paths of the tiles of a level that a tree of `size` has, with widths.
fn tiles_of(level: &str, count: u64) -> Vec<(String, u64)> {
    let full = (0..count / TILE).map(|n| (format!("/tile/{level}/{}", spelled(n)), TILE));
    let rest = count % TILE;
    let partial = (rest > 0).then(|| (format!("/tile/{level}/{}.p/{rest}", spelled(count / TILE)), rest));
    full.chain(partial).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64URL_NOPAD
        .decode(value.as_str().unwrap().as_bytes())
        .unwrap()
}

fn hash(value: &Value) -> Hash {
    bytes(value).try_into().unwrap()
}

fn path(proof: &Value) -> Vec<Hash> {
    proof["path"].as_array().unwrap().iter().map(hash).collect()
}

/// The key of the log, out of its first entry.
pub async fn log_key(served: &Served) -> VerifierKey {
    let first = served.get("/v1/log/entries/0", &served.node.auditor_key).await;
    let entry = Entry::decode(&bytes(&first.ok()["bytes"])).unwrap();
    let (Event::Genesis(genesis), _) = Event::from_body(entry.kind, &entry.body).unwrap() else {
        panic!("entry 0 is the genesis entry");
    };
    let key = VerifyingKey::from_bytes(&genesis.log_key).unwrap();
    VerifierKey::new("coop.example", KeyKind::Ed25519, key).unwrap()
}

async fn checkpoint(served: &Served, key: &VerifierKey) -> Checkpoint {
    let note = served.get("/checkpoint", "").await;
    Checkpoint::open(&note.body, key).unwrap()
}

/// Lets the log grow to `size` entries, by receipts of which `till` has the key.
async fn grow(served: &Served, size: u64) {
    let now = served.node.node.size();
    let lines: Vec<String> = (now..size)
        .map(|n| receipt(&format!("sale {n}")).to_string())
        .collect();
    if lines.is_empty() {
        return;
    }
    let request = served
        .request(Method::POST, "/v1/receipts", &served.node.till_key)
        .header("content-type", "application/x-ndjson")
        .header("idempotency-key", format!("to-{size}"));
    let answer = send(request.body(lines.join("\n") + "\n")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(served.node.node.size(), size);
}

/// What a client gets from tiles alone: the entries and all hashes of tiles, checked
/// against the checkpoint's root.
async fn walked(served: &Served, size: u64) -> (Vec<Vec<u8>>, Vec<Hash>) {
    let mut entries = Vec::new();
    for (path, width) in tiles_of("entries", size) {
        let bundle = served.get(&path, &served.node.auditor_key).await;
        assert_eq!(bundle.status, 200, "{path}");
        let mut rest = &bundle.body[..];
        for _ in 0..width {
            let (len, after) = rest.split_first_chunk::<2>().unwrap();
            let (entry, after) = after.split_at(u16::from_be_bytes(*len).into());
            entries.push(entry.to_vec());
            rest = after;
        }
        assert!(rest.is_empty(), "{path}");
    }
    let mut leaves = Vec::new();
    let mut below: Vec<Hash> = Vec::new();
    for level in 0..8_u32 {
        let mut hashes = Vec::new();
        for (path, width) in tiles_of(&level.to_string(), size >> (8 * level)) {
            let tile = served.get(&path, "").await;
            assert_eq!(
                (tile.status.as_u16(), tile.body.len() as u64),
                (200, 32 * width),
                "{path}"
            );
            let (rows, _) = tile.body.as_chunks::<32>();
            hashes.extend_from_slice(rows);
        }
        if level == 0 {
            leaves.clone_from(&hashes);
        } else {
            let (full, _) = below.as_chunks::<256>();
            let roots: Vec<Hash> = full.iter().map(|tile| tree_hash(tile)).collect();
            assert_eq!(hashes, roots, "level {level}");
        }
        below = hashes;
    }
    (entries, leaves)
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_give_the_root_of_every_checkpoint_and_proofs_hold_for_others_too() {
    let served = Served::start(TestNode::in_memory(71)).await;
    let key = log_key(&served).await;
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut roots = BTreeMap::from([(0, tree_hash(&[]))]);
    for size in [1, 2, 255, 256, 257, 600] {
        grow(&served, size).await;
        let (entries, leaves) = walked(&served, size).await;
        for entry in &entries[theirs.len() as usize..] {
            theirs.push(entry.clone());
        }
        let hashed: Vec<Hash> = entries.iter().map(|entry| sha(&[&[0], entry])).collect();
        assert_eq!(hashed, leaves);
        let signed = checkpoint(&served, &key).await;
        let root = tree_hash(&leaves);
        assert_eq!((signed.size, signed.root), (size, Digest(root)));
        assert_eq!(theirs.root().as_bytes()[..], root);
        roots.insert(size, root);
        // Every entry of small trees, and of large ones those at the seams.
        for index in (0..size).filter(|n| size < 300 && n % 5 == 0 || n % 128 < 2 || n + 3 > size) {
            inclusion(
                &served,
                &theirs.root(),
                &entries[index as usize],
                index,
                size,
                root,
            )
            .await;
        }
    }
    for (first, old) in &roots {
        for (second, new) in roots.range(first..) {
            consistency(&served, (*first, old), (*second, new)).await;
        }
    }
    // Sizes that were never published have proofs too, as parts of the log.
    for (first, second) in [(3, 100), (128, 129), (255, 599), (512, 600)] {
        let hashes = walked(&served, 600).await.1;
        let of = |size: usize| tree_hash(&hashes[..size]);
        let (old, new) = (of(first), of(second));
        consistency(&served, (first as u64, &old), (second as u64, &new)).await;
    }
    let at = format!("/v1/log/proofs/inclusion?index=70&tree_size={}", 256);
    let earlier = served.get(&at, "").await.ok();
    assert_eq!(
        (&earlier["tree_size"], hash(&earlier["root"])),
        (&json!(256), roots[&256])
    );
}

async fn inclusion(
    served: &Served,
    their_root: &RootHash<Sha256>,
    entry: &Vec<u8>,
    index: u64,
    size: u64,
    root: Hash,
) {
    let at = format!("/v1/log/proofs/inclusion?index={index}");
    let proof = served.get(&at, "").await.ok();
    let (leaf, path) = (sha(&[&[0], entry]), path(&proof));
    assert_eq!(
        proof["entry"],
        json!({"index": index, "hash": Digest(leaf).to_string()})
    );
    assert_eq!((&proof["tree_size"], hash(&proof["root"])), (&json!(size), root));
    // An index tells nobody more than a tile does.
    assert!(proof.get("bytes").is_none());
    assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()));
    let theirs = InclusionProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
    their_root.verify_inclusion(entry, index, &theirs).unwrap();
}

async fn consistency(served: &Served, (first, old): (u64, &Hash), (second, new): (u64, &Hash)) {
    let at = format!("/v1/log/proofs/consistency?first={first}&second={second}");
    let proof = served.get(&at, "").await.ok();
    assert_eq!(
        (hash(&proof["first_root"]), hash(&proof["second_root"])),
        (*old, *new),
        "{at}"
    );
    let path = path(&proof);
    assert_eq!(verify_consistency(first, second, old, new, &path), Ok(()), "{at}");
    if first > 0 && first < second {
        let root = |hash: &Hash, size| RootHash::<Sha256>::new((*hash).into(), size);
        let theirs = ConsistencyProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
        root(new, second)
            .verify_consistency(&root(old, first), &theirs)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_are_kept_long_when_full_and_served_in_every_width_there_was() {
    let served = Served::start(TestNode::in_memory(72)).await;
    grow(&served, 300).await;
    let whole = served.get("/tile/0/000", "").await;
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert_eq!(
        whole.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(whole.body.len(), 8_192);
    for width in [1, 2, 127, 128, 129, 255] {
        let part = served.get(&format!("/tile/0/000.p/{width}"), "").await;
        assert_eq!(part.header("cache-control"), "public, max-age=60");
        assert_eq!(part.body, whole.body[..32 * width]);
    }
    for width in [1, 43, 44] {
        let part = served.get(&format!("/tile/0/001.p/{width}"), "").await;
        assert_eq!((part.status.as_u16(), part.body.len()), (200, 32 * width));
    }
    let auditor = served.node.auditor_key.clone();
    for path in [
        "/tile/0/001",
        "/tile/0/001.p/45",
        "/tile/0/002.p/1",
        "/tile/1/000",
        "/tile/1/000.p/2",
        "/tile/1/001.p/1",
        "/tile/2/000.p/1",
        "/tile/63/000.p/1",
        "/tile/64/000",
        "/tile/00/000",
        "/tile/0/0",
        "/tile/0/0000",
        "/tile/0/x000/000",
        "/tile/0/001/000",
        "/tile/0/x001/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/01",
        "/tile/0/000.p/256",
        "/tile/0/000.p/",
        "/tile/0/000/",
        "/tile/0/",
        "/tile/0/%30%30%30",
        "/tile/0//000",
        "/tile/-1/000",
        "/tile/data/000",
        "/tile/entries/001",
        "/tile/entries/001.p/45",
        "/tile/entries/0",
        "/tile/entries/",
        "/tile/0",
        "/tile/",
    ] {
        let absent = served.get(path, &auditor).await;
        absent.problem(404, "not_found");
        assert_eq!(absent.header("cache-control"), "no-store", "{path}");
    }
    let head = send(served.request(Method::HEAD, "/tile/0/000", "")).await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, "8192")
    );
    assert!(head.body.is_empty());
    let posted = send(served.request(Method::POST, "/tile/0/x001/000", "")).await;
    posted.problem(405, "method_not_allowed");
    assert_eq!(posted.header("allow"), "GET, HEAD");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_for_auditors_unless_the_setting_says_otherwise() {
    let closed = Served::start(TestNode::in_memory(73)).await;
    grow(&closed, 260).await;
    let paths = ["/tile/entries/000", "/tile/entries/001.p/4", "/v1/log/entries/3"];
    for path in paths {
        closed.get(path, "").await.problem(401, "access_key_missing");
        closed
            .get(path, "till_x")
            .await
            .problem(401, "access_key_unknown");
        closed
            .get(path, &closed.node.till_key)
            .await
            .problem(403, "role_forbidden");
        for key in [&closed.node.office_key, &closed.node.auditor_key] {
            assert_eq!(closed.get(path, key).await.status, 200, "{path}");
        }
    }
    let kept = |answer: &Answer| answer.header("cache-control").to_owned();
    let auditor = &closed.node.auditor_key;
    let full = closed.get(paths[0], auditor).await;
    assert_eq!(kept(&full), "private, max-age=31536000, immutable");
    let partial = closed.get(paths[1], auditor).await;
    assert_eq!(kept(&partial), "private, max-age=60");
    let entry = closed.get(paths[2], auditor).await.ok();
    let entry_bytes = bytes(&entry["bytes"]);
    assert_eq!(entry["hash"], Digest(sha(&[&[0], &entry_bytes])).to_string());
    assert_eq!(Entry::decode(&entry_bytes).unwrap().index, 3);
    let request = closed.request(Method::GET, paths[2], auditor);
    let raw = send(request.header("accept", "application/cbor")).await;
    assert_eq!(
        (raw.header("content-type"), &raw.body),
        ("application/cbor", &entry_bytes)
    );
    for index in ["260", "03", "-1", "x", "99999999999999999999"] {
        let path = format!("/v1/log/entries/{index}");
        closed.get(&path, auditor).await.problem(404, "not_found");
    }

    let node = closed.stop().await.reopened().await;
    let options = HttpOptions {
        entries_public: true,
        ..HttpOptions::default()
    };
    let open = Served::with(node, options).await;
    let public = open.get(paths[0], "").await;
    assert_eq!(kept(&public), "public, max-age=31536000, immutable");
    assert_eq!(public.body, full.body);
    assert_eq!(open.get(paths[1], "").await.body, partial.body);
    assert_eq!(open.get(paths[2], "").await.ok(), entry);
    // A stub opens its receipt: stubs are for keys all the same.
    let stubs = "/tile/stubs/000";
    open.get(stubs, "").await.problem(401, "access_key_missing");
    open.get(stubs, &open.node.till_key)
        .await
        .problem(403, "role_forbidden");
    let shown = open.get(stubs, &open.node.auditor_key).await;
    assert_eq!(
        (shown.status.as_u16(), kept(&shown).starts_with("private")),
        (200, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_packed_where_the_client_asks() {
    let served = Served::start(TestNode::in_memory(74)).await;
    grow(&served, 40).await;
    let get = |coding: &'static str| {
        let request = served.request(Method::GET, "/tile/entries/000.p/40", &served.node.auditor_key);
        send(request.header("accept-encoding", coding))
    };
    let plain = get("identity").await;
    assert_eq!(plain.header("content-encoding"), "");
    for coding in ["gzip", "br, gzip;q=0.5"] {
        let packed = get(coding).await;
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert_eq!(packed.header("content-length"), packed.body.len().to_string());
        assert!(packed.body.len() < plain.body.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, plain.body);
    }
    for coding in ["gzip;q=0", "br", "gzip;q=0.1, identity", "*"] {
        let answer = get(coding).await;
        assert_eq!(
            (answer.header("content-encoding"), &answer.body),
            ("", &plain.body),
            "{coding}"
        );
        assert_eq!(answer.header("vary"), "Accept-Encoding");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_comes_as_a_cose_receipt_and_as_text() {
    let served = Served::start(TestNode::in_memory(75)).await;
    let key = log_key(&served).await;
    let at = "/v1/log/proofs/inclusion?index=";
    let get = |path: String, accept: &'static str| {
        let request = served.request(Method::GET, &path, "");
        send(request.header("accept", accept))
    };
    // The genesis entry alone: its path is empty.
    get(format!("{at}0"), "application/cose")
        .await
        .problem(406, "not_acceptable");
    let text = get(format!("{at}0"), "text/plain").await;
    let alone = TlogProof::parse(str::from_utf8(&text.body).unwrap()).unwrap();
    assert_eq!((alone.index, alone.path.len()), (0, 0));

    grow(&served, 130).await;
    let (entries, leaves) = walked(&served, 130).await;
    let root = tree_hash(&leaves);
    for index in [0, 1, 64, 127, 128, 129] {
        let leaf = Digest(sha(&[&[0], &entries[index]]));
        let answer = get(format!("{at}{index}"), "application/cose").await;
        assert_eq!(
            answer.header("content-type"),
            "application/cose; cose-type=\"cose-sign1\""
        );
        let ours = cose_receipt::verify(&answer.body, &leaf, key.key()).unwrap();
        assert_eq!((ours.inclusion.size, ours.inclusion.index), (130, index as u64));
        assert_eq!(ours.root, Digest(root));
        // Somebody else's COSE, and the root from nowhere but the tiles.
        let theirs = coset::CoseSign1::from_tagged_slice(&answer.body).unwrap();
        assert_eq!(theirs.payload, None);
        let signature = Signature::from_slice(&theirs.signature).unwrap();
        let signed = theirs.tbs_detached_data(&root, &[]);
        key.key().verify_strict(&signed, &signature).unwrap();

        let answer = get(format!("{at}{index}"), "text/plain").await;
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        let proof = TlogProof::parse(str::from_utf8(&answer.body).unwrap()).unwrap();
        assert_eq!(proof.index, index as u64);
        assert_eq!(proof.verify(&leaf, &key).unwrap().root, Digest(root));
        let expected = get(format!("{at}{index}"), "*/*").await.ok();
        assert_eq!(expected["checkpoint"], proof.checkpoint);
        let lines: Vec<String> = path(&expected).iter().map(|hash| BASE64.encode(hash)).collect();
        let head = format!("c2sp.org/tlog-proof@v1\nindex {index}\n{}\n\n", lines.join("\n"));
        assert_eq!(answer.body, format!("{head}{}", proof.checkpoint).as_bytes());
    }
    let earlier = get(format!("{at}3&tree_size=100"), "application/cose").await;
    let leaf = Digest(leaves[3]);
    let ours = cose_receipt::verify(&earlier.body, &leaf, key.key()).unwrap();
    assert_eq!(ours.root, Digest(tree_hash(&leaves[..100])));
    get(format!("{at}3&tree_size=100"), "text/plain")
        .await
        .problem(406, "not_acceptable");
    get(format!("{at}0&tree_size=1"), "application/cose")
        .await
        .problem(406, "not_acceptable");

    let at = "/v1/log/proofs/consistency?first=";
    for first in [1, 64, 77, 129] {
        let answer = get(format!("{at}{first}"), "application/cose").await;
        let old = tree_hash(&leaves[..first]);
        let roots = (&Digest(old), &Digest(root));
        let proven = cose_receipt::verify_consistency(&answer.body, roots, key.key()).unwrap();
        assert_eq!((proven.first, proven.second), (first as u64, 130));
        let theirs = coset::CoseSign1::from_tagged_slice(&answer.body).unwrap();
        let signature = Signature::from_slice(&theirs.signature).unwrap();
        let signed = theirs.tbs_detached_data(&root, &[]);
        key.key().verify_strict(&signed, &signature).unwrap();
    }
    for sizes in ["0", "130", "9&second=9"] {
        get(format!("{at}{sizes}"), "application/cose")
            .await
            .problem(406, "not_acceptable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_wrongly_is_told() {
    let served = Served::start(TestNode::in_memory(76)).await;
    grow(&served, 5).await;
    for (query, status, code) in [
        ("inclusion?index=5", 404, "not_found"),
        ("inclusion?index=2&tree_size=6", 404, "not_found"),
        ("inclusion?index=2&tree_size=2", 404, "not_found"),
        ("inclusion?index=0&tree_size=0", 404, "not_found"),
        ("inclusion", 400, "query_invalid"),
        ("inclusion?tree_size=2", 400, "query_invalid"),
        ("inclusion?index=x", 400, "query_invalid"),
        ("inclusion?index=-1", 400, "query_invalid"),
        ("inclusion?index=1&more=1", 400, "query_invalid"),
        ("inclusion?index=1&receipt=x", 400, "query_invalid"),
        ("consistency?first=1&second=6", 404, "not_found"),
        ("consistency?first=6", 404, "not_found"),
        ("consistency?first=3&second=2", 400, "query_invalid"),
        ("consistency?second=2", 400, "query_invalid"),
        (
            "consistency?first=1&second=18446744073709551616",
            400,
            "query_invalid",
        ),
    ] {
        let answer = served.get(&format!("/v1/log/proofs/{query}"), "").await;
        answer.problem(status, code);
    }
    let newest = served.get("/v1/log/proofs/consistency?first=2", "").await.ok();
    assert_eq!((&newest["first"], &newest["second"]), (&json!(2), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn things_are_found_by_what_they_are_for_who_may_read_them() {
    let served = Served::start(TestNode::in_memory(77)).await;
    let node = &served.node;
    let key = log_key(&served).await;
    let coupon = served.coupon(&served.campaign(&json!({})).await, "c").await;
    let sold = served
        .post("/v1/receipts", &node.till_key, "r", &receipt("s"))
        .await
        .created();
    let redeemed = served
        .post("/v1/redemptions", &node.till_key, "x", &redemption(&coupon, "s"))
        .await
        .created();
    grow(&served, 20).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let at = |what: &str, name: &Value| format!("/v1/log/proofs/inclusion?{what}={}", text(name));
    let of_receipt = at("receipt", &sold["id"]);
    let of_redemption = at("redemption", &redeemed["id"]);
    let of_coupon = at("coupon", &coupon["name"]);

    for path in [&of_receipt, &of_redemption] {
        served.get(path, "").await.problem(401, "access_key_missing");
        let other = served.get(path, &node.other_till_key).await;
        other.problem(403, "register_mismatch");
    }
    served
        .get(&of_coupon, "")
        .await
        .problem(401, "access_key_missing");
    let till = served.get(&of_coupon, &node.till_key).await;
    till.problem(403, "role_forbidden");
    let found = |path: &str, key: &str| {
        let request = served.request(Method::GET, path, key);
        async move { send(request).await.ok() }
    };
    for (path, entry) in [
        (&of_receipt, &sold["entry"]),
        (&of_redemption, &redeemed["entry"]),
    ] {
        for key in [&node.till_key, &node.office_key, &node.auditor_key] {
            let proof = found(path, key).await;
            assert_eq!(&proof["entry"], entry);
            assert_eq!(
                proof["entry"]["hash"],
                Digest(sha(&[&[0], &bytes(&proof["bytes"])])).to_string()
            );
        }
    }
    let batch = found(&of_coupon, &node.auditor_key).await;
    let path_of = format!("/v1/coupons/{}/path", text(&coupon["name"]));
    let issued = found(&path_of, &node.auditor_key).await["batch"]["entry"].clone();
    assert_eq!(batch["entry"], issued);

    // Who has the receipt proves that it is in the log, without a key.
    let stub = bytes(&sold["credential"]);
    let stub = tallystick::credential::Signed::<tallystick::credential::ReceiptStub>::parse(&stub).unwrap();
    let opened = |path: &str, proof: String| {
        send(
            served
                .request(Method::GET, path, "")
                .header("receipt-proof", proof),
        )
    };
    let own = stub.receipt_proof().to_string();
    let by_holder = opened(&of_receipt, own.clone()).await.ok();
    assert_eq!(by_holder, found(&of_receipt, &node.auditor_key).await);
    opened(&of_receipt, "A".repeat(43))
        .await
        .problem(404, "not_found");
    // The proof of one's receipt opens nothing else.
    opened(&of_redemption, own)
        .await
        .problem(401, "access_key_missing");
    for (what, name) in [
        ("receipt", "A".repeat(43)),
        ("redemption", "A".repeat(22)),
        ("coupon", "0-9".into()),
    ] {
        let path = at(what, &json!(name));
        served
            .get(&path, &node.auditor_key)
            .await
            .problem(404, "not_found");
        let path = at(what, &json!("x"));
        served
            .get(&path, &node.auditor_key)
            .await
            .problem(404, "not_found");
    }

    // And the answers carry it where they are asked to, and are else as they were.
    for (kind, made) in [("receipts", &sold), ("redemptions", &redeemed)] {
        let path = format!("/v1/{kind}/{}", text(&made["id"]));
        let without = found(&path, &node.till_key).await;
        assert!(without.get("proof").is_none());
        let mut with = found(&format!("{path}?proof=cose"), &node.till_key).await;
        let proof = with.as_object_mut().unwrap().remove("proof").unwrap();
        assert_eq!(with, without);
        let leaf = Digest(sha(&[&[0], &bytes(&proof["entry_bytes"])]));
        assert_eq!(made["entry"]["hash"], leaf.to_string());
        let proven = cose_receipt::verify(&bytes(&proof["cose"]), &leaf, key.key()).unwrap();
        let signed = Checkpoint::open(text(&proof["checkpoint"]).as_bytes(), &key).unwrap();
        assert_eq!((signed.size, signed.root), (proven.inclusion.size, proven.root));
        assert_eq!(proven.inclusion.index, made["entry"]["index"]);
        for query in ["?proof=text", "?proof", "?prof=cose"] {
            let wrong = served.get(&format!("{path}{query}"), &node.till_key).await;
            wrong.problem(400, "query_invalid");
        }
    }
    let path = format!("/v1/receipts/{}?proof=cose", text(&sold["id"]));
    let request = served.request(Method::GET, &path, &node.till_key);
    let stub = send(request.header("accept", "application/cose")).await;
    stub.problem(406, "not_acceptable");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_sale_carries_its_proof_where_it_is_asked_to() {
    let served = Served::start(TestNode::in_memory(83)).await;
    let node = &served.node;
    let key = node.node.log_key();
    let campaign = served.campaign(&json!({})).await;
    let coupon = served.coupon(&campaign, "coupon").await;
    for (path, body) in [
        ("/v1/receipts", receipt("a/1")),
        ("/v1/redemptions", redemption(&coupon, "a/1")),
    ] {
        let effects = served.effects();
        for query in ["?proof=text", "?proof=cose&witnessed=true", "?prof=cose"] {
            let wrong = served
                .post(&format!("{path}{query}"), &node.till_key, "k", &body)
                .await;
            wrong.problem(400, "query_invalid");
        }
        assert_eq!(served.effects(), effects, "nothing was done");
        let asked = format!("{path}?proof=cose");
        let first = served.post(&asked, &node.till_key, path, &body).await.created();
        served
            .post(
                "/v1/receipts",
                &node.till_key,
                &format!("more{path}"),
                &receipt(path),
            )
            .await
            .created();
        // Again with the proof, and without: one effect, the same answer.
        let again = served.post(&asked, &node.till_key, path, &body).await.created();
        let mut plain = served.post(path, &node.till_key, path, &body).await.created();
        assert_eq!(served.effects(), effects + 2);
        for mut answer in [first, again] {
            let proof = answer.as_object_mut().unwrap().remove("proof").unwrap();
            assert_eq!(answer, plain);
            let leaf = Digest(sha(&[&[0], &bytes(&proof["entry_bytes"])]));
            assert_eq!(answer["entry"]["hash"], leaf.to_string());
            let proven = cose_receipt::verify(&bytes(&proof["cose"]), &leaf, key.key()).unwrap();
            let signed = Checkpoint::open(proof["checkpoint"].as_str().unwrap().as_bytes(), &key).unwrap();
            assert_eq!((signed.size, signed.root), (proven.inclusion.size, proven.root));
        }
        assert!(plain.as_object_mut().unwrap().remove("proof").is_none());
    }
    let stub = served
        .request(Method::POST, "/v1/receipts?proof=cose", &node.till_key)
        .header("content-type", "application/json")
        .header("idempotency-key", "stub")
        .header("accept", "application/cose")
        .body(receipt("b/1").to_string());
    send(stub).await.problem(406, "not_acceptable");
    let lines = served
        .request(Method::POST, "/v1/receipts?proof=cose", &node.till_key)
        .header("content-type", "application/x-ndjson")
        .header("idempotency-key", "lines")
        .body(format!("{}\n", receipt("b/2")));
    send(lines).await.problem(406, "not_acceptable");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_opened_anew_serves_the_same_tiles() {
    let served = Served::start(TestNode::in_memory(78)).await;
    grow(&served, 530).await;
    let before = walked(&served, 530).await;
    let node = served.stop().await.reopened().await;
    let served = Served::start(node).await;
    assert!(walked(&served, 530).await == before);
    let tile = served.get("/tile/1/000.p/2", "").await;
    assert_eq!(
        tile.body,
        [tree_hash(&before.1[..256]), tree_hash(&before.1[256..512])].concat()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_tile_is_not_proven_by() {
    use tallystick::store::{Batch, Engine as _, rows};
    let served = Served::start(TestNode::in_memory(79)).await;
    grow(&served, 300).await;
    let engine = served.node.memory_engine();
    let name = rows::hash_tile(0, 0, 0);
    let mut row = engine.get(&name).unwrap().unwrap();
    row[40] ^= 1;
    let mut batch = Batch::default();
    batch.put(name, row);
    engine.commit(batch).unwrap();
    let proof = |query: &str| {
        let path = format!("/v1/log/proofs/{query}");
        let request = served.request(Method::GET, &path, "");
        async move { send(request).await }
    };
    proof("inclusion?index=2").await.problem(500, "internal");
    proof("inclusion?index=1").await.problem(500, "internal");
    proof("consistency?first=3").await.problem(500, "internal");
    proof("inclusion?index=299").await.ok();
}
