//! The log client over HTTP and over a directory.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tallystick::federation::chain::{entries_of, join};
use tallystick::federation::client::key_told_at;
use tallystick::federation::{
    DirSource, EntryForm, FetchError, FollowError, HttpSource, LogClient, LogSource, VerifiedTree,
};
use tallystick::http::HttpOptions;
use tallystick::ledger::Event;
use tallystick::testkit::TestNode;
use tallystick::testkit::log::TestLog;
use tallystick::testkit::node::ScratchDir;

use super::host::{Host, Reply};
use crate::http::client::{Served, receipt};

fn http(url: &str, key: Option<&str>) -> Arc<dyn LogSource> {
    Arc::new(HttpSource::new(url, key).unwrap())
}

/// All entries, with the chain between them checked.
fn entries(tree: &VerifiedTree, form: EntryForm) -> Result<Vec<Vec<u8>>, FollowError> {
    let mut found = Vec::new();
    let mut end = None;
    tree.read_entries(0..tree.size(), form, &entries_of, &mut |bundle, decoded| {
        end = join(end, &bundle, &decoded)?;
        found.extend(bundle.entries().map(|(_, bytes)| bytes.to_vec()));
        Ok::<_, FollowError>(())
    })?;
    Ok(found)
}

/// What is blocking, away from the threads that serve.
async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_node_is_followed_from_its_address_alone() {
    let served = Served::start(TestNode::in_memory(501)).await;
    let (till, auditor) = (served.node.till_key.clone(), served.node.auditor_key.clone());
    let base = served.base.clone();
    let sell = async |from: u32, to: u32| {
        for n in from..to {
            let body = receipt(&format!("r{n}"));
            served
                .post("/v1/receipts", &till, &format!("k{n}"), &body)
                .await
                .created();
        }
    };
    sell(0, 5).await;
    let told = {
        let base = base.clone();
        away(move || {
            let source = http(&base, None);
            let key = key_told_at(source.as_ref()).unwrap().unwrap();
            let client = LogClient::new(Arc::clone(&source), key);
            let tree = client.update(None).unwrap();
            // Entries show a shop's trade.
            let refused = tree.bundle(0, EntryForm::Tallystick);
            let Err(FollowError::Fetch(FetchError::Forbidden { why, .. })) = refused else {
                panic!("{refused:?}");
            };
            assert!(why.contains("key"), "{why}");
            (client, tree.signed().clone())
        })
        .await
    };
    assert_eq!(told.0.key(), &served.node.node.log_key());

    sell(5, 300).await;
    let size = served.node.node.size();
    let (client, first) = told;
    let read = away(move || {
        let client = client.at(http(&base, Some(&auditor)));
        let tree = client.update(Some(&first)).unwrap();
        let (form, genesis) = client.form(&tree).unwrap();
        assert_eq!(form, EntryForm::Tallystick);
        assert_eq!(genesis.unwrap().base_url, "https://coop.example");
        entries(&tree, form).unwrap()
    })
    .await;
    assert_eq!(read.len() as u64, size);
    let stored = served.node.node.log_entry(size - 1).unwrap();
    assert_eq!(read.last(), Some(&stored.bytes));
    served.stop().await;
}

#[tokio::test]
async fn mirrors_are_served_under_a_prefix_like_logs() {
    let (dir, log) = (ScratchDir::new(), TestLog::new(700));
    write(dir.path(), &log);
    std::fs::write(dir.path().join("log.vkey"), format!("{}\n", log.vkey())).unwrap();
    std::fs::write(dir.path().join(".lock"), "").unwrap();
    for kind in ["stubs", "tags"] {
        std::fs::create_dir(dir.path().join("tile").join(kind)).unwrap();
        std::fs::write(dir.path().join("tile").join(kind).join("000"), kind).unwrap();
    }
    let options = HttpOptions {
        mirrors: [("other-coop".to_owned(), dir.path().to_owned())].into(),
        ..HttpOptions::default()
    };
    let served = Served::with(TestNode::in_memory(502), options).await;
    let (till, auditor) = (served.node.till_key.clone(), served.node.auditor_key.clone());
    let base = format!("{}/mirror/other-coop", served.base);
    let (expected, till_key) = (log.clone(), till.clone());
    away(move || {
        let source = http(&base, Some(&auditor));
        let key = key_told_at(source.as_ref()).unwrap();
        assert_eq!(key, Some(expected.vkey()));
        let client = LogClient::new(source, expected.vkey());
        let tree = client.update(None).unwrap();
        assert_eq!(entries(&tree, EntryForm::Tallystick).unwrap(), expected.entries);
        for key in [None, Some(&*till_key)] {
            let tree = client.at(http(&base, key)).update(None).unwrap();
            let refused = tree.bundle(0, EntryForm::Tallystick);
            assert!(matches!(
                refused,
                Err(FollowError::Fetch(FetchError::Forbidden { .. }))
            ));
        }
    })
    .await;
    for absent in [
        "nobody/checkpoint",
        "other-coop/.lock",
        "other-coop/tile/0/009",
        "other-coop/tile/0/000.p/3",
        "other-coop/tile/0/..%2f..%2fcheckpoint",
        "other-coop/tile/9/000",
        "other-coop/tile/stubs/001",
        "other-coop/tile/tags/000.p/3",
        "other-coop/tile/data/000",
    ] {
        let path = format!("/mirror/{absent}");
        served
            .get(&path, &served.node.auditor_key)
            .await
            .problem(404, "not_found");
    }
    let bundle = served
        .get("/mirror/other-coop/tile/entries/000", &served.node.auditor_key)
        .await;
    assert_eq!(
        bundle.header("cache-control"),
        "private, max-age=31536000, immutable"
    );
    // What shows a shop's trade is for those who may read entries, however it is spelled.
    for kind in ["entries", "stubs", "tags"] {
        let path = format!("/mirror/other-coop/tile/{kind}/000");
        served.get(&path, "").await.problem(401, "access_key_missing");
        served.get(&path, &till).await.problem(403, "role_forbidden");
        if kind != "entries" {
            let shown = served.get(&path, &served.node.auditor_key).await;
            assert_eq!((shown.status.as_u16(), &shown.body[..]), (200, kind.as_bytes()));
            assert_eq!(shown.header("cache-control"), "no-store");
        }
        let spelled = format!(
            "/mirror/other-coop/tile/%{:02x}{}/000",
            kind.as_bytes()[0],
            &kind[1..]
        );
        assert_ne!(served.get(&spelled, "").await.status, 200, "{spelled}");
    }
    served.stop().await;
}

#[test]
fn hostile_answers_are_capped_and_named() {
    let host = Host::start();
    let log = TestLog::new(300);
    let client = LogClient::new(http(&host.url, None), log.vkey());
    host.serve(&log);
    let packed = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // What is packed is unpacked, asked for or not, and capped unpacked.
    let bundle = log.files()["tile/entries/000"].clone();
    let gzip = |bytes: &[u8]| Reply::Other("200 OK", "Content-Encoding: gzip\r\n", packed(bytes));
    host.set("tile/entries/000", gzip(&bundle));
    let tree = client.update(None).unwrap();
    assert_eq!(entries(&tree, EntryForm::Tallystick).unwrap(), log.entries);
    host.set("tile/entries/000", gzip(&vec![0; 20_000_000]));
    for (path, reply) in [
        ("checkpoint", Reply::Endless),
        ("tile/0/001.p/44", Reply::Endless),
        ("tile/entries/000", gzip(&vec![0; 20_000_000])),
    ] {
        host.serve(&log);
        host.set(path, reply);
        let read = client
            .update(None)
            .and_then(|tree| entries(&tree, EntryForm::Tallystick));
        assert!(
            matches!(read, Err(FollowError::Fetch(FetchError::TooLong { .. }))),
            "{path}: {read:?}"
        );
    }
    for (status, headers) in [
        ("302 Found", "Location: http://127.0.0.1:1/checkpoint\r\n"),
        ("204 No Content", ""),
    ] {
        host.set("checkpoint", Reply::Other(status, headers, Vec::new()));
        let answer = client.checkpoint();
        assert!(
            matches!(answer, Err(FollowError::Fetch(FetchError::Answer { .. }))),
            "{answer:?}"
        );
    }
    let problem = br#"{"detail": "come back later", "action": "wait"}"#.to_vec();
    host.set("checkpoint", Reply::Other("403 Forbidden", "", problem));
    let Err(FollowError::Fetch(FetchError::Forbidden { why, .. })) = client.checkpoint() else {
        panic!("it is forbidden");
    };
    assert_eq!(why, "come back later. wait");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for (url, key) in [
        ("coop.example", None),
        ("https://coop.example/?x=1", None),
        ("https://coop.example/#x", None),
        ("http://coop.example", Some("key")),
    ] {
        let refused = HttpSource::new(url, key);
        assert!(matches!(refused, Err(FetchError::Answer { .. })), "{url}");
    }
    HttpSource::new("http://coop.example/mirror/", None).unwrap();
}

fn write(dir: &Path, log: &TestLog) {
    for (path, bytes) in log.files() {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_directory_is_read_like_a_url() {
    let dir = ScratchDir::new();
    let mut log = TestLog::new(700);
    write(dir.path(), &log);
    let client = LogClient::new(Arc::new(DirSource::new(dir.path())), log.vkey());
    let tree = client.update(None).unwrap();
    let read = entries(&tree, EntryForm::Tallystick).unwrap();
    assert_eq!(read, log.entries);
    let first = tallystick::log::Entry::decode(&read[0]).unwrap();
    assert!(matches!(
        Event::from_body(first.kind, &first.body),
        Ok((Event::Genesis(_), _))
    ));

    log.grow(900);
    write(dir.path(), &log);
    let held = tree.signed().clone();
    assert_eq!(client.update(Some(&held)).unwrap().size(), 900);
    std::fs::remove_file(dir.path().join("tile/entries/001")).unwrap();
    let tree = client.update(Some(&held)).unwrap();
    assert!(matches!(
        entries(&tree, EntryForm::Any),
        Err(FollowError::Missing { .. })
    ));
    std::fs::remove_file(dir.path().join("checkpoint")).unwrap();
    assert!(client.checkpoint().is_err());
}
