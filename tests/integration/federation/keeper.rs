//! Mirrors that a node keeps by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Registry, TextEncoder};
use serde_json::json;
use tallystick::federation::LogSource;
use tallystick::federation::keeper::{Keeper, KeptMirror};
use tallystick::primitives::{Clock, Entropy, SystemClock};
use tallystick::testkit::SeededEntropy;
use tallystick::testkit::log::{MemorySource, TestLog};
use tallystick::testkit::node::ScratchDir;

use crate::cli::{PATIENCE, Place, Served, sale};

#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kept(source: &Arc<MemorySource>, log: &TestLog, dir: &Path, registry: &Registry) -> Keeper {
    let mirror = KeptMirror {
        name: "other".to_owned(),
        dir: dir.to_owned(),
        source: Arc::<MemorySource>::clone(source) as Arc<dyn LogSource>,
        log_key: log.vkey(),
        every: Duration::from_millis(5),
    };
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)));
    Keeper::start(&[mirror], registry, &clock, &entropy).unwrap()
}

/// The value of a metric in Prometheus's text, of the mirror `log`.
fn value(text: &str, name: &str, log: &str) -> Option<f64> {
    let begin = format!("tallystick_follow_{name}{{log=\"{log}\"}} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&begin)?.parse().ok())
}

fn metric(registry: &Registry, name: &str) -> Option<f64> {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    value(&text, name, "other")
}

#[test]
fn a_mirror_follows_and_goes_on_after_failures() {
    let (dir, registry) = (ScratchDir::new(), Registry::new());
    let mut log = TestLog::new(300);
    let source = log.source();
    let keeper = kept(&source, &log, dir.path(), &registry);
    until("the first round", || {
        metric(&registry, "verified_entries") == Some(300.0)
    });
    log.grow(700);
    // Entries that cannot be had are known to be lacking.
    let mut shown = log.files();
    shown.remove("tile/entries/002.p/188");
    *source.files() = shown;
    until("the lag", || metric(&registry, "lag_entries") == Some(400.0));
    assert!(metric(&registry, "failed_rounds_total").unwrap() >= 1.0);
    assert_eq!(metric(&registry, "verified_entries"), Some(300.0));
    source.serve(&log);
    until("the rest", || {
        metric(&registry, "verified_entries") == Some(700.0)
    });
    assert_eq!(metric(&registry, "lag_entries"), Some(0.0));
    assert_eq!(metric(&registry, "ended"), None);
    drop(keeper);
    // It has let go of the copy.
    let registry = Registry::new();
    let _again = kept(&source, &log, dir.path(), &registry);
    until("another round", || {
        metric(&registry, "verified_entries") == Some(700.0)
    });
    assert_eq!(metric(&registry, "failed_rounds_total"), Some(0.0));
}

#[test]
fn a_fork_ends_a_mirror_until_a_person_has_looked() {
    let (dir, registry) = (ScratchDir::new(), Registry::new());
    let log = TestLog::new(300);
    let source = log.source();
    let _keeper = kept(&source, &log, dir.path(), &registry);
    until("the first round", || {
        metric(&registry, "verified_entries") == Some(300.0)
    });
    source.serve(&log.rewritten(5, "another story"));
    until("the end", || metric(&registry, "ended") == Some(1.0));
    let evidence = dir.path().join("evidence");
    assert_eq!(std::fs::read_dir(&evidence).unwrap().count(), 1);

    // Started anew it does not go on either, whatever is shown; once the evidence was
    // moved away it does.
    let mut longer = log.clone();
    longer.grow(400);
    source.serve(&longer);
    for (ended, entries) in [(Some(1.0), 300.0), (None, 400.0)] {
        let registry = Registry::new();
        let _keeper = kept(&source, &log, dir.path(), &registry);
        until("the round", || {
            metric(&registry, "verified_entries") == Some(entries)
        });
        until("its end", || metric(&registry, "ended") == ended);
        if ended.is_some() {
            std::fs::rename(&evidence, dir.path().join("seen")).unwrap();
        }
    }
}

/// Two nodes, the second of which is told to mirror the first.
pub struct Pair {
    pub first: Place,
    pub served: Served,
    pub second: Place,
}

impl Pair {
    pub fn new() -> Self {
        let first = Place::new();
        let served = first.serve();
        let second = Place::at("http://127.0.0.1:8090");
        std::fs::write(
            second.shop().join("first.key"),
            format!("{}\n", first.key("office_key")),
        )
        .unwrap();
        let pair = Self {
            first,
            served,
            second,
        };
        pair.set("key_file = \"first.key\"");
        pair
    }

    fn set(&self, more: &str) {
        let path = self.second.shop().join("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("\n[mirrors").next().unwrap();
        let (url, vkey) = (self.served.url(), self.first.key("vkey"));
        let mirror = format!(
            "{text}\n[mirrors.first]\ndir = \"mirrors/first\"\nurl = \"{url}\"\nlog_key = \"{vkey}\"\nseconds = 1\n{more}\n"
        );
        std::fs::write(path, mirror).unwrap();
    }
}

pub fn get(url: &str, path: &str) -> Option<String> {
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{url}{path}")).send().ok()?;
    (answer.status() == 200).then(|| answer.text().unwrap())
}

pub fn sell(place: &Place, url: &str, reference: &str) {
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let mut body = sale();
    body["till_reference"] = json!(reference);
    let request = client
        .post(format!("{url}/v1/receipts"))
        .bearer_auth(place.key("till_key"))
        .header("Idempotency-Key", reference)
        .json(&body);
    assert_eq!(request.send().unwrap().status(), 201);
}

#[test]
fn a_node_is_told_to_mirror_another_and_serves_what_it_keeps() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let pair = Pair::new();
    pair.set("key_file = \"nowhere.key\"");
    let args = ["serve", "shop", "--listen", "127.0.0.1:0"];
    pair.second.refused(&args, 1, &["key_file", "nowhere.key"]);
    std::fs::write(pair.second.shop().join("empty.key"), "\n").unwrap();
    pair.set("key_file = \"empty.key\"");
    pair.second.refused(&args, 1, &["holds no key"]);
    pair.set("key_file = \"first.key\"");

    sell(&pair.first, pair.served.url(), "a/1");
    let second = pair.second.serve();
    let size = || {
        let checkpoint = get(second.url(), "/mirror/first/checkpoint")?;
        checkpoint.lines().nth(1)?.parse::<u64>().ok()
    };
    until("the first round", || size() == Some(2));
    sell(&pair.first, pair.served.url(), "a/2");
    until("the second sale", || size() == Some(3));
    // What it serves is audited like the log.
    let mirror = format!("{}/mirror/first", second.url());
    let audited = pair.second.json(&[
        "audit",
        &mirror,
        "--key",
        pair.second.key("office_key"),
        "--log-key",
        pair.first.key("vkey"),
        "--json",
    ]);
    assert_eq!(
        (&audited["verdict"], &audited["entries"]["receipt"]),
        (&json!("clean"), &json!(2)),
        "{audited}"
    );
    let metrics = || get(second.url(), "/metrics").unwrap();
    until("the metrics", || {
        value(&metrics(), "beside_entries", "first") == Some(3.0)
    });
    assert_eq!(value(&metrics(), "lag_entries", "first"), Some(0.0));

    // The first one is gone: the second sells on, and says that it cannot be reached.
    let (first, keys) = (pair.first, pair.second.key("office_key").to_owned());
    assert_eq!(pair.served.signal("-TERM").0, Some(0));
    sell(&pair.second, second.url(), "b/1");
    until("a failed round", || {
        value(&metrics(), "failed_rounds_total", "first").is_some_and(|failed| failed >= 1.0)
    });
    // Its disk was lost; what the second has kept for it puts it right.
    std::fs::remove_dir_all(first.shop().join("store")).unwrap();
    let recovered = first.json(&["recover", "shop", "--from", &mirror, "--key", &keys, "--json"]);
    assert_eq!(
        (&recovered["fetched"], &recovered["stubs"]),
        (&json!(3), &json!({"fetched": 2, "lacking": 0, "stopped": null}))
    );
    let again = first.serve();
    sell(&first, again.url(), "a/3");
    assert_eq!(again.signal("-TERM").0, Some(0));
    let begun = Instant::now();
    let (code, said) = second.signal("-TERM");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not looked at"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}
