//! What a mirror keeps beside entries: receipts' stubs and coupons' tags, each
//! found in its entry before it is kept, and enough of them for an audit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tallystick::federation::copy::{Keep, LogCopy};
use tallystick::federation::follower::{Again, Follower, Round, Severity};
use tallystick::federation::{AuditedLog, DirSource, FetchError, LogClient, LogSource};
use tallystick::log::tile_path::{TileKind, read_bundle, write_bundle_entry};
use tallystick::log::{TilePath, VerifierKey};
use tallystick::node::Node;
use tallystick::node::audit::{Against, AuditReport, Part, Verdict, audit_served};
use tallystick::testkit::node::ScratchDir;
use tallystick::testkit::{SeededEntropy, TestNode, repeats};

use super::monitor::{tallystick, told};
use crate::audit::day;
use crate::audit::served::{Lie, Shown, honest, other_stub, vkey};
use crate::http::client::{Served, receipt as receipt_body};
use crate::node::world::*;

/// A node's files, some of which are refused.
#[derive(Debug)]
struct Guarded {
    shown: Shown,
    /// Whose tiles are not shown, and how that is said.
    hidden: Option<(TileKind, Option<FetchError>)>,
}

impl LogSource for Guarded {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        match (&self.hidden, TilePath::parse(path)) {
            (Some((kind, how)), Ok(tile)) if tile.kind() == *kind => how.clone().map_or(Ok(None), Err),
            _ => self.shown.get(path, most),
        }
    }

    fn name(&self) -> &str {
        "https://coop.example"
    }
}

fn source(node: &Node, lie: Lie) -> Guarded {
    Guarded {
        shown: Shown {
            node: node.clone(),
            lie,
        },
        hidden: None,
    }
}

/// One round of a mirror in `dir`.
async fn mirrored(source: impl LogSource + 'static, key: VerifierKey, dir: &Path) -> Round {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || {
        let copy = LogCopy::open(&dir, Keep::Entries).unwrap();
        let begun = Follower::begin(Arc::new(source), copy, &[key], Vec::new(), false);
        let entropy = SeededEntropy::new(1);
        begun
            .unwrap()
            .0
            .round(&[], Again::Bundles(1), &entropy, &mut |_| {})
    })
    .await
    .unwrap()
}

/// What an audit says of a log's files.
async fn audited(source: impl LogSource + 'static, key: VerifierKey) -> AuditReport {
    tokio::task::spawn_blocking(move || {
        let log = AuditedLog::open(&LogClient::new(Arc::new(source), key)).unwrap();
        audit_served(&log, Part::default(), Against::default(), &mut |_, _| {}).unwrap()
    })
    .await
    .unwrap()
}

#[track_caller]
fn is_whole(round: &Round, node: &Node) {
    assert_eq!(round.findings, []);
    let beside = round.beside.as_ref().unwrap();
    assert_eq!((round.size, beside.entries), (node.size(), node.size()));
    assert_eq!((beside.lacking, &beside.not_shown), (0, &None));
}

async fn sell(node: &Node, name: &str, count: u64) {
    for n in 0..count {
        let draft = receipt(&lane(1), &format!("{name}/{n}"), node.now().0);
        node.issue_receipt(&till(&lane(1)), draft).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_audited_like_its_log() {
    let (world, dir) = (World::memory(), ScratchDir::new());
    let (node, key) = (world.open(), vkey(&world));
    let (copy, second) = (dir.path().join("copy"), dir.path().join("second"));
    let campaign = node.sign_campaign(&office(), two_off("more")).await.unwrap().id;
    // Coupons one by one, then more than a tile of them, with rounds in between.
    for (round, count) in [1, 1, 3, 250, 1, 300, 2].into_iter().enumerate() {
        sell(&node, &format!("a{round}"), 40).await;
        node.issue_coupons(&office(), order(campaign, count))
            .await
            .unwrap();
        if round == 3 {
            day(&node, &world).await;
        }
        let round = mirrored(source(&node, honest()), key.clone(), &copy).await;
        is_whole(&round, &node);
        let of_copy = audited(DirSource::new(&copy), key.clone()).await;
        assert_eq!(
            of_copy.verdict(),
            Verdict::Clean,
            "{:#?}",
            of_copy.findings.kept()
        );
        let of_log = audited(source(&node, honest()), key.clone()).await;
        assert_eq!(of_copy.summary, of_log.summary);
    }
    // A mirror of the mirror is as good.
    let round = mirrored(DirSource::new(&copy), key.clone(), &second).await;
    is_whole(&round, &node);
    let report = audited(DirSource::new(&second), key.clone()).await;
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    // Of what is full no part is kept.
    let parts = |kind: &str, number: &str| copy.join(format!("tile/{kind}/{number}.p")).exists();
    assert!(!parts("stubs", "000") && !parts("tags", "000"));
    // Nothing new: nothing is asked for twice.
    let refusing = Guarded {
        hidden: Some((TileKind::Stubs, None)),
        ..source(&node, honest())
    };
    is_whole(&mirrored(refusing, key, &copy).await, &node);
    node.shut_down().await;
}

/// The stubs of entries 5 and 6 in each other's place.
fn swapped() -> Lie {
    Box::new(|path, bytes| {
        if path.kind() == TileKind::Stubs && path.number() == 0 {
            let mut stubs: Vec<Vec<u8>> = read_bundle(bytes, path.width())
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect();
            stubs.swap(5, 6);
            bytes.clear();
            stubs
                .iter()
                .for_each(|stub| write_bundle_entry(bytes, stub).unwrap());
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_that_its_entry_does_not_name() {
    let world = World::memory();
    let (node, key) = (world.open(), vkey(&world));
    day(&node, &world).await;
    sell(&node, "more", 200).await;
    let tags: Lie = Box::new(|path, bytes| {
        // The first batch's second coupon, given as the third one's.
        if path.kind() == TileKind::Tags && bytes.len() > 96 {
            bytes.copy_within(32..64, 64);
        }
    });
    let cut: Lie = Box::new(|path, bytes| {
        if path.kind() == TileKind::Tags {
            bytes.pop();
        }
    });
    let lies: [(Lie, &str, Option<u64>, &str); 6] = [
        (swapped(), "stub_differs", Some(5), "stubs"),
        (
            other_stub(0, 9, |stub| stub[90] ^= 1),
            "stub_differs",
            Some(9),
            "stubs",
        ),
        (
            other_stub(0, 0, |stub| stub.push(7)),
            "stub_differs",
            Some(0),
            "stubs",
        ),
        (
            Box::new(|path, bytes| {
                if path.kind() == TileKind::Stubs {
                    bytes.pop();
                }
            }),
            "bundle_malformed",
            None,
            "stubs",
        ),
        (tags, "tags_differ", None, "tags"),
        (cut, "bundle_malformed", None, "tags"),
    ];
    for (lie, rule, entry, kind) in lies {
        let dir = ScratchDir::new();
        let round = mirrored(source(&node, lie), key.clone(), dir.path()).await;
        let [finding] = &round.findings[..] else {
            panic!("{rule}: {:?}", round.findings);
        };
        assert_eq!((finding.severity, finding.rule), (Severity::Wrong, rule));
        assert!(entry.is_none() || finding.entry == entry, "{finding:?}");
        assert!(!dir.path().join("tile").join(kind).exists(), "{rule}");
        // Entries are kept all the same, and so is the rest once it is shown.
        assert_eq!(round.size, node.size());
        assert_eq!(round.beside.unwrap().entries, 0);
        let round = mirrored(source(&node, honest()), key.clone(), dir.path()).await;
        is_whole(&round, &node);
        let report = audited(DirSource::new(dir.path()), key.clone()).await;
        assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    }
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_stubs_the_rest_is_kept() {
    let world = World::memory();
    let (node, key) = (world.open(), vkey(&world));
    day(&node, &world).await;
    let forbidden = FetchError::Forbidden {
        what: "tile/stubs/000".to_owned(),
        why: "not with this key".to_owned(),
    };
    for (kind, how, said) in [
        (TileKind::Stubs, Some(forbidden.clone()), "not with this key"),
        (TileKind::Stubs, None, "has no tile/stubs/000"),
        (TileKind::Tags, Some(forbidden), "not with this key"),
        (TileKind::Tags, None, "has no tile/tags/000"),
    ] {
        let dir = ScratchDir::new();
        let refusing = || Guarded {
            hidden: Some((kind, how.clone())),
            ..source(&node, honest())
        };
        let round = mirrored(refusing(), key.clone(), dir.path()).await;
        assert_eq!((round.findings, round.size), (Vec::new(), node.size()));
        let why = round.beside.unwrap().not_shown.unwrap();
        assert!(why.contains(said), "{why}");
        if kind == TileKind::Stubs {
            let report = audited(DirSource::new(dir.path()), key.clone()).await;
            assert_eq!(report.verdict(), Verdict::CleanAsFarAsKnown);
        }
        // An auditor's key comes: what was not shown is fetched.
        sell(&node, &format!("{kind:?}{said}"), 3).await;
        is_whole(
            &mirrored(source(&node, honest()), key.clone(), dir.path()).await,
            &node,
        );
        let report = audited(DirSource::new(dir.path()), key.clone()).await;
        assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    }
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stub_that_the_node_has_lost_is_counted() {
    let (world, dir) = (World::memory(), ScratchDir::new());
    let (node, key) = (world.open(), vkey(&world));
    day(&node, &world).await;
    let lost = source(&node, other_stub(0, 7, Vec::clear));
    let round = mirrored(lost, key.clone(), dir.path()).await;
    assert_eq!(round.findings, []);
    let beside = round.beside.unwrap();
    assert_eq!((beside.entries, beside.lacking), (node.size(), 1));
    let report = audited(DirSource::new(dir.path()), key.clone()).await;
    assert_eq!(report.findings.total(), 1, "{:#?}", report.findings.kept());
    // Removing the note of what is kept has everything looked at once more.
    std::fs::remove_file(dir.path().join(".beside")).unwrap();
    is_whole(
        &mirrored(source(&node, honest()), key.clone(), dir.path()).await,
        &node,
    );
    let report = audited(DirSource::new(dir.path()), key).await;
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_beside_keeps_the_checkpoint_back() {
    let (world, dir) = (World::memory(), ScratchDir::new());
    let (node, key) = (world.open(), vkey(&world));
    day(&node, &world).await;
    is_whole(
        &mirrored(source(&node, honest()), key.clone(), dir.path()).await,
        &node,
    );
    let held = std::fs::read(dir.path().join("checkpoint")).unwrap();
    let campaign = node.sign_campaign(&office(), two_off("more")).await.unwrap().id;
    sell(&node, "more", 300).await;
    node.issue_coupons(&office(), order(campaign, 200)).await.unwrap();
    for blocked in ["tile/stubs/000", "tile/tags/000", ".beside"] {
        let (path, aside) = (dir.path().join(blocked), dir.path().join("aside"));
        let was_there = std::fs::rename(&path, &aside).is_ok();
        std::fs::create_dir_all(path.join("in-the-way")).unwrap();
        let round = mirrored(source(&node, honest()), key.clone(), dir.path()).await;
        assert_eq!(round.findings[0].rule, "copy", "{blocked}");
        assert_eq!(
            std::fs::read(dir.path().join("checkpoint")).unwrap(),
            held,
            "{blocked}"
        );
        std::fs::remove_dir_all(&path).unwrap();
        if was_there {
            std::fs::rename(&aside, &path).unwrap();
        }
        let report = audited(DirSource::new(dir.path()), key.clone()).await;
        assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    }
    is_whole(
        &mirrored(source(&node, honest()), key.clone(), dir.path()).await,
        &node,
    );
    node.shut_down().await;
}

/// A node over HTTP that sells `count` receipts more.
async fn sold(served: &Served, name: &str, count: u64) {
    let lines: Vec<String> = (0..count)
        .map(|n| receipt_body(&format!("{name}/{n}")).to_string())
        .collect();
    let request = served
        .request(reqwest::Method::POST, "/v1/receipts", &served.node.till_key)
        .header("content-type", "application/x-ndjson")
        .header("idempotency-key", name);
    let answer = crate::http::client::send(request.body(lines.join("\n") + "\n")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_leaves_what_an_audit_needs() {
    let dir = ScratchDir::new();
    let served = Served::start(TestNode::in_memory(93)).await;
    let campaign = served.campaign(&json!({})).await;
    let (base, key) = (served.base.clone(), served.node.auditor_key.clone());
    let log_key = served.node.node.log_key();
    let copy = dir.path().join("copy");
    let args = [
        "mirror",
        &base,
        copy.to_str().unwrap(),
        "--key",
        &key,
        "--once",
        "--json",
    ];
    let mut killed = 0;
    for n in 0..repeats(6, 60) {
        sold(&served, &format!("s{n}"), 300).await;
        for coupon in 0..20 {
            served.coupon(&campaign, &format!("c{n}/{coupon}")).await;
        }
        let mut mirror = Command::new(env!("CARGO_BIN_EXE_tallystick"))
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Another moment each time: this waits for nothing, it chooses.
        tokio::time::sleep(Duration::from_millis(25 + 17 * (n as u64 % 9))).await;
        killed += usize::from(mirror.try_wait().unwrap().is_none());
        mirror.kill().unwrap();
        mirror.wait().unwrap();
        if copy.join("checkpoint").exists() {
            let report = audited(DirSource::new(&copy), log_key.clone()).await;
            assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
        }
    }
    assert!(killed > 0, "every run was over before it was killed");
    let args = args.map(ToOwned::to_owned);
    let (code, round) = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        told(&tallystick(&args))
    })
    .await
    .unwrap();
    assert_eq!(
        (code, &round["beside"]["entries"]),
        (0, &round["size"]),
        "{round}"
    );
    let report = audited(DirSource::new(&copy), log_key).await;
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    served.stop().await;
}
