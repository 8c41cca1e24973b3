//! Audits of a log that is read from elsewhere: what a URL or a mirror shows.

use std::fmt;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json};
use tallystick::federation::{AuditedLog, FetchError, LogClient, LogSource};
use tallystick::log::TilePath;
use tallystick::log::tile_path::{TileKind, read_bundle, write_bundle_entry};
use tallystick::node::NodeError;
use tallystick::node::audit::{Against, Part, audit_served};
use tallystick::testkit::TestNode;

use super::*;
use crate::http::client::Served;

/// What is done to a file before it is shown.
pub type Lie = Box<dyn Fn(&TilePath, &mut Vec<u8>) + Send + Sync>;

/// A node's files, without HTTP.
pub struct Shown {
    pub node: Node,
    pub lie: Lie,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl LogSource for Shown {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let Ok(tile) = TilePath::parse(path) else {
            return Ok((path == "checkpoint").then(|| self.node.checkpoint().as_bytes().to_vec()));
        };
        let bytes = match tile.kind() {
            TileKind::Hashes(_) => self.node.hash_tile(&tile),
            TileKind::Entries => self.node.entry_bundle(&tile),
            TileKind::Stubs => self.node.stub_bundle(&tile).map(|stubs| stubs.bytes),
            TileKind::Tags => self.node.tag_bundle(&tile).map(|tags| tags.bytes),
        };
        match bytes {
            Ok(mut bytes) => {
                assert!(bytes.len() <= most, "{path}");
                (self.lie)(&tile, &mut bytes);
                Ok((!bytes.is_empty()).then_some(bytes))
            }
            Err(NodeError::NotFound(_)) => Ok(None),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn name(&self) -> &str {
        "https://coop.example"
    }
}

/// A day in a shop, and some hundred receipts more.
async fn long_day() -> (World, Node) {
    let world = World::sled();
    let node = world.open();
    day(&node, &world).await;
    for n in 0..400 {
        let draft = receipt(&lane(1), &format!("more{n}"), node.now().0);
        node.issue_receipt(&till(&lane(1)), draft).await.unwrap();
    }
    (world, node)
}

/// The log's key.
pub fn vkey(world: &World) -> VerifierKey {
    let key = ed25519_dalek::VerifyingKey::from_bytes(world.keyring.log.public().as_bytes()).unwrap();
    VerifierKey::new("coop.example", KeyKind::Ed25519, key).unwrap()
}

async fn looked_at(world: &World, node: &Node, part: Part, lie: Lie) -> AuditReport {
    let key = vkey(world);
    let source = Arc::new(Shown {
        node: node.clone(),
        lie,
    });
    // The follower's threads are its own; the test's must not be held up.
    tokio::task::spawn_blocking(move || {
        let log = AuditedLog::open(&LogClient::new(source, key)).unwrap();
        audit_served(&log, part, Against::default(), &mut |_, _| {}).unwrap()
    })
    .await
    .unwrap()
}

pub fn honest() -> Lie {
    Box::new(|_, _| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_counts_as_what_is_stored() {
    let (world, node) = long_day().await;
    let shown = looked_at(&world, &node, Part::default(), honest()).await;
    node.shut_down().await;
    drop(node);
    assert_eq!(shown.verdict(), Verdict::Clean, "{:#?}", shown.findings.kept());
    assert!(shown.points[0].compared, "{:?}", shown.points);
    let stored = run(&options(&world));
    assert_eq!(shown.summary, stored.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_judged_without_what_came_before() {
    let (world, node) = long_day().await;
    let size = node.size();
    for (from, to) in [
        (0, Some(300)),
        (1, None),
        (155, None),
        (180, Some(400)),
        (size - 1, None),
    ] {
        let part = Part { from, to };
        let shown = looked_at(&world, &node, part, honest()).await;
        assert_eq!(
            (shown.verdict(), shown.part.clone()),
            (Verdict::Clean, from..to.unwrap_or(size)),
            "{:#?}",
            shown.findings.kept()
        );
    }
    node.shut_down().await;
    drop(node);
    for (from, to, verdict) in [
        (0, Some(300), Verdict::CleanAsFarAsKnown),
        (155, None, Verdict::CleanAsFarAsKnown),
        (180, Some(400), Verdict::CleanAsFarAsKnown),
        (0, Some(size), Verdict::Clean),
    ] {
        let mut options = options(&world);
        options.part = Part { from, to };
        let report = run(&options);
        assert_eq!(report.verdict(), verdict, "{:#?}", report.findings.kept());
        assert_eq!(report.part, from..to.unwrap_or(size));
    }
    let mut beyond = options(&world);
    beyond.part.from = size;
    let refused = audit(&beyond, &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, AuditError::Range { .. }), "{refused}");
}

/// Changes the stub at `place` of bundle `number`.
pub fn other_stub(number: u64, place: usize, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Lie {
    Box::new(move |path, bytes| {
        if path.kind() == TileKind::Stubs && path.number() == number {
            let mut stubs: Vec<Vec<u8>> = read_bundle(bytes, path.width())
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect();
            change(&mut stubs[place]);
            bytes.clear();
            stubs
                .iter()
                .for_each(|stub| write_bundle_entry(bytes, stub).unwrap());
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_shown_wrong_is_named() {
    let (world, node) = long_day().await;
    let look = async |lie| looked_at(&world, &node, Part::default(), lie).await;
    // Entry 300 stands in the second bundle; the rest of the log is still judged.
    let report = look(Box::new(|path, bytes| {
        if path.kind() == TileKind::Entries && path.number() == 1 {
            let entries: Vec<Vec<u8>> = read_bundle(bytes, path.width())
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect();
            bytes.clear();
            for (at, mut entry) in entries.into_iter().enumerate() {
                if at == 300 - 256 {
                    let last = entry.len() - 1;
                    entry[last] ^= 1;
                }
                write_bundle_entry(bytes, &entry).unwrap();
            }
        }
    }))
    .await;
    finds(&report, Rule::EntryChanged, Some(300));
    assert_eq!(report.findings.total(), 1, "{:#?}", report.findings.kept());
    assert_eq!(report.summary.size, node.size());
    // The last bundle is not there.
    let report = look(Box::new(|path, bytes| {
        if path.kind() == TileKind::Entries && path.number() == 2 {
            bytes.clear();
        }
    }))
    .await;
    finds(&report, Rule::EntriesUnreadable, Some(node.size() - 1));
    // A stub of other bytes, of another key, none at all, and one too many.
    let report = look(other_stub(0, 5, |stub| stub[100] ^= 1)).await;
    finds(&report, Rule::ReceiptTag, Some(5));
    let report = look(other_stub(0, 5, Vec::clear)).await;
    finds(&report, Rule::DetailsMissing, Some(5));
    let report = look(other_stub(0, 0, |stub| stub.push(7))).await;
    finds(&report, Rule::DetailsUnexpected, Some(0));
    // One tag of the first batch.
    let report = look(Box::new(|path, bytes| {
        if path.kind() == TileKind::Tags {
            bytes[40] ^= 1;
        }
    }))
    .await;
    finds(&report, Rule::TagsRoot, None);
    finds(&report, Rule::CouponTag, None);
    // No tags.
    let report = look(Box::new(|path, bytes| {
        if path.kind() == TileKind::Tags {
            bytes.clear();
        }
    }))
    .await;
    finds(&report, Rule::TagsMissing, None);
    // Neither stubs nor tags: what can be known is known, and no more is said.
    let report = look(Box::new(|path, bytes| {
        if matches!(path.kind(), TileKind::Tags | TileKind::Stubs) {
            bytes.clear();
        }
    }))
    .await;
    assert_eq!(
        report.verdict(),
        Verdict::CleanAsFarAsKnown,
        "{:#?}",
        report.findings.kept()
    );
    assert!(report.notes[0].contains("stubs and tags"), "{:?}", report.notes);
    node.shut_down().await;
}

async fn tallystick(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallystick"));
    command.env_remove("TALLYSTICK_KEY").arg("audit").args(args);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn told(output: &Output) -> (Option<i32>, Value) {
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), json)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_with_a_url_and_a_key() {
    let served = Served::start(TestNode::in_memory(91)).await;
    let till = served.node.till_key.clone();
    for n in 0..3 {
        served
            .post(
                "/v1/receipts",
                &till,
                &format!("k{n}"),
                &crate::http::client::receipt(&format!("r{n}")),
            )
            .await
            .created();
    }
    let key = served.node.auditor_key.clone();
    let (code, report) = told(&tallystick(&[&served.base, "--key", &key, "--json"]).await);
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("clean")), "{report}");
    assert_eq!(report["entries"]["receipt"], 3);
    assert_eq!((&report["from"], &report["to"]), (&json!(0), &report["size"]));
    let (code, report) = told(&tallystick(&[&served.base, "--key", &key, "--json", "--from", "2"]).await);
    assert_eq!(
        (code, &report["entries"]["receipt"]),
        (Some(0), &json!(2)),
        "{report}"
    );
    for (args, why) in [
        (&[served.base.as_str()][..], "may not be read"),
        (
            &[served.base.as_str(), "--key", till.as_str()][..],
            "may not be read",
        ),
        (
            &[served.base.as_str(), "--key", key.as_str(), "--from", "99"][..],
            "nothing to audit from 99 on",
        ),
    ] {
        let output = tallystick(args).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
    // Audits that go on with each other are about the whole log.
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("shop.audit").display().to_string();
    let on = [&served.base, "--key", &key, "--state", &state, "--json"];
    for receipts in [3, 4, 4] {
        let (code, report) = told(&tallystick(&on).await);
        assert_eq!(
            (code, &report["entries"]["receipt"], &report["from"]),
            (Some(0), &json!(receipts), &json!(0)),
            "{report}"
        );
        let more = crate::http::client::receipt("one-more");
        served
            .post("/v1/receipts", &till, "one-more", &more)
            .await
            .created();
    }
    let mut bytes = std::fs::read(&state).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let output = tallystick(&on).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("its checksum does not fit") && said.contains("--state FILE"),
        "{said}"
    );
    for args in [
        &[served.base.as_str(), "--from", "3", "--to", "3"][..],
        &[served.base.as_str(), "--guard", "x"][..],
        &[served.base.as_str(), "--from", "3", "--state", &state][..],
        &[served.base.as_str(), "--to", "3", "--state", &state][..],
        &[&dir.path().display().to_string(), "--state", &state][..],
    ] {
        assert_eq!(tallystick(args).await.status.code(), Some(2));
    }
    served.stop().await;
}
