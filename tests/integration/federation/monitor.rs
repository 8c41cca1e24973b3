//! `tallystick monitor` against a server that lies in every way it can, and
//! `verify --evidence`, with which a third party judges what was found.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tallystick::testkit::log::TestLog;
use tallystick::testkit::node::ScratchDir;

use super::host::{Host, Reply};

const SIZE: usize = 700;

/// A log under watch.
struct Watch {
    log: TestLog,
    host: Host,
    dir: ScratchDir,
}

pub fn tallystick(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallystick"));
    command.env_remove("TALLYSTICK_KEY").args(args).output().unwrap()
}

/// The exit code and the one line of JSON.
pub fn told(output: &Output) -> (i32, Value) {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("{output:?}"));
    let json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), json)
}

impl Watch {
    /// A log that has been verified at [`SIZE`] entries.
    fn begun() -> Self {
        let watch = Self {
            log: TestLog::new(SIZE),
            host: Host::start(),
            dir: ScratchDir::new(),
        };
        watch.host.serve(&watch.log);
        let (code, json) = watch.round(&[]);
        assert_eq!(
            (code, &json["status"], &json["size"]),
            (0, &json!("ok"), &json!(SIZE)),
            "{json}"
        );
        watch
    }

    fn round(&self, more: &[&str]) -> (i32, Value) {
        let key = self.log.vkey().to_string();
        let state = self.dir.path().join("state");
        let mut args = vec![
            "monitor",
            &self.host.url,
            "--log-key",
            &key,
            "--once",
            "--json",
            "--state",
        ];
        args.push(state.to_str().unwrap());
        args.extend(more);
        told(&tallystick(&args))
    }

    /// One round that finds one thing.
    #[track_caller]
    fn finds(&self, more: &[&str], code: i32, rule: &str, entry: Option<usize>) -> Value {
        let (found, json) = self.round(more);
        let finding = &json["findings"][0];
        assert_eq!(
            (found, &finding["rule"], &finding["entry"]),
            (code, &json!(rule), &json!(entry)),
            "{json}"
        );
        assert_eq!(json["findings"].as_array().unwrap().len(), 1, "{json}");
        finding.clone()
    }

    /// One that finds a fork, and what a third party says of the evidence.
    #[track_caller]
    fn convicts(&self, more: &[&str], entry: Option<usize>) -> Value {
        let finding = self.finds(more, 22, "fork", entry);
        // The third party has the file and the log's key, and no network.
        let file = self.dir.path().join("shown.cbor");
        std::fs::copy(finding["evidence"].as_str().unwrap(), &file).unwrap();
        let judged = verify(&file, Some(&self.log.vkey().to_string()));
        assert_eq!(
            (judged.0, &judged.1["verdict"]),
            (0, &json!("convicted")),
            "{judged:?}"
        );
        judged.1
    }
}

fn verify(file: &Path, log_key: Option<&str>) -> (i32, Value) {
    let mut args = vec!["verify", "--json", "--evidence", file.to_str().unwrap()];
    args.extend(log_key.iter().flat_map(|key| ["--log-key", key]));
    told(&tallystick(&args))
}

#[test]
fn an_honest_log_is_followed_as_it_grows() {
    let mut watch = Watch::begun();
    for size in [SIZE, SIZE + 1, 1_024, 1_500] {
        watch.log.grow(size);
        watch.host.serve(&watch.log);
        let (code, json) = watch.round(&[]);
        assert_eq!((code, &json["size"]), (0, &json!(size)), "{json}");
        assert_eq!(json["findings"], json!([]));
        assert_eq!(json["origin"], "coop.example");
    }
    let (_, json) = watch.round(&["--again", "all"]);
    assert_eq!(
        (&json["new_entries"], &json["entries_again"]),
        (&json!(0), &json!(1_500))
    );
}

#[test]
fn a_changed_byte_is_named_in_new_entries_and_in_old_ones() {
    let mut watch = Watch::begun();
    let at = |log: &TestLog, first: usize, index: usize| -> usize {
        log.entries[first..index]
            .iter()
            .map(|entry| 2 + entry.len())
            .sum()
    };
    // In what is new.
    watch.log.grow(900);
    watch.host.serve(&watch.log);
    let place = at(&watch.log, 768, 850);
    watch
        .host
        .change("tile/entries/003.p/132", |bundle| bundle[place + 30] ^= 1);
    watch.finds(&[], 20, "entry_changed", Some(850));
    // Nothing of it was taken over: it is found again, and an honest log goes on.
    watch.finds(&[], 20, "entry_changed", Some(850));
    watch.host.serve(&watch.log);
    assert_eq!(watch.round(&[]).1["new_entries"], 200);
    // In what is old, whose hashes are as they were.
    let place = at(&watch.log, 256, 300);
    watch
        .host
        .change("tile/entries/001", |bundle| bundle[place + 30] ^= 1);
    watch.finds(&["--again", "all"], 20, "entry_changed", Some(300));
    watch
        .host
        .change("tile/entries/001", |bundle| bundle.truncate(1_000));
    watch.finds(&["--again", "all"], 20, "bundle_malformed", None);
}

#[test]
fn a_rewritten_entry_is_proven_and_named() {
    let watch = Watch::begun();
    let mut other = watch.log.rewritten(5, "another story");
    other.grow(1_000);
    watch.host.serve(&other);
    let judged = watch.convicts(&[], Some(5));
    assert_eq!(
        (&judged["first"]["size"], &judged["second"]["size"]),
        (&json!(SIZE), &json!(1_000))
    );
    // The evidence counts, and is the same, until a person takes it away.
    watch.host.serve(&watch.log);
    watch.finds(&[], 22, "evidence_kept", None);
    let kept = watch.finds(&[], 22, "evidence_kept", None);
    std::fs::remove_file(kept["evidence"].as_str().unwrap()).unwrap();
    assert_eq!(watch.round(&[]).0, 0);
}

#[test]
fn two_checkpoints_of_one_size_are_proven() {
    let watch = Watch::begun();
    watch.host.serve(&watch.log.rewritten(SIZE - 1, "another story"));
    watch.convicts(&[], Some(SIZE - 1));
    // Where the tiles are held back the notes alone convict.
    let watch = Watch::begun();
    let note = watch.log.signed(SIZE as u64, [9; 32]).into_bytes();
    watch.host.set("checkpoint", Reply::File(note));
    watch.convicts(&[], None);
}

#[test]
fn a_tail_cut_off_is_named_and_an_older_copy_that_goes_on_is_proven() {
    let watch = Watch::begun();
    let mut older = watch.log.clone();
    older.entries.truncate(600);
    watch.host.serve(&older);
    watch.finds(&[], 20, "went_back", None);
    // The older copy goes on with other entries: shorter, as long, longer.
    let other = older.rewritten(599, "from here on another story");
    watch.host.serve(&other);
    watch.convicts(&[], Some(599));
    for size in [SIZE, 800] {
        let watch = Watch::begun();
        let mut restored = watch.log.clone();
        restored.entries.truncate(600);
        let mut other = restored.rewritten(599, "from here on another story");
        other.grow(size);
        watch.host.serve(&other);
        watch.convicts(&[], Some(599));
    }
}

#[test]
fn entries_that_break_the_logs_rules_are_named() {
    let mut watch = Watch::begun();
    watch.log.grow(800);
    let mut other = watch.log.clone();
    other.entries[750] = watch.log.rewritten(750, "another story").entries[750].clone();
    watch.host.serve(&other);
    watch.finds(&[], 20, "entry_breaks_rule", Some(751));
}

#[test]
fn what_others_were_shown_is_compared() {
    let mut watch = Watch::begun();
    let elsewhere = Host::start();
    let compare = ["--compare", &elsewhere.url];
    // Behind, as far, ahead: all agree, while the log itself shows as much.
    for size in [600, SIZE] {
        let mut shown = watch.log.clone();
        shown.entries.truncate(size);
        elsewhere.serve(&shown);
        let (code, json) = watch.round(&compare);
        assert_eq!((code, &json["agreeing"]), (0, &json!([elsewhere.url])), "{json}");
    }
    let mut more = watch.log.clone();
    more.grow(900);
    elsewhere.serve(&more);
    let finding = watch.finds(&compare, 20, "went_back", None);
    assert!(
        finding["detail"].as_str().unwrap().contains("shows 700 entries"),
        "{finding}"
    );
    watch.log = more;
    watch.host.serve(&watch.log);
    assert_eq!(watch.round(&compare).0, 0);
    // Others were shown another history: shorter, as long, longer.
    for (changed, size) in [(100, 600), (890, 900), (5, 1_000)] {
        let watch = Watch::begun();
        let mut other = TestLog::new(size.max(SIZE)).rewritten(changed.min(SIZE - 1), "another story");
        other.grow(size);
        other.entries.truncate(size);
        elsewhere.serve(&other);
        watch.convicts(&compare, Some(changed.min(SIZE - 1)));
    }
    // A place that is not there says nothing about the log.
    elsewhere.set("checkpoint", Reply::Other("404 Not Found", "", Vec::new()));
    watch.finds(&compare, 23, "wrong_answer", None);
}

#[test]
fn evidence_convicts_only_whom_it_is_about() {
    let watch = Watch::begun();
    watch.host.serve(&watch.log.rewritten(SIZE - 1, "another story"));
    watch.convicts(&[], Some(SIZE - 1));
    let file = watch.dir.path().join("shown.cbor");
    let (code, json) = verify(&file, None);
    assert_eq!((code, &json["verdict"]), (16, &json!("unknown_key")));
    assert_eq!(json["log_key"], watch.log.vkey().to_string());
    let stranger = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    assert_eq!(verify(&file, Some(stranger)).0, 16);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(verify(&file, None).0, 17);
    assert_eq!(verify(Path::new("/no/such/file"), None).0, 1);
    let words = tallystick(&["verify", "--evidence", file.to_str().unwrap(), "123"]);
    assert_eq!(
        words.status.code(),
        Some(2),
        "a credential and evidence are two questions"
    );
}

#[test]
fn the_key_is_given_or_trusted_on_first_use() {
    let dir = ScratchDir::new();
    let state = dir.path().to_str().unwrap();
    let (host, log) = (Host::start(), TestLog::new(10));
    host.serve(&log);
    let monitor = |more: &[&str]| {
        let fixed = ["monitor", &host.url, "--state", state, "--once", "--json"];
        tallystick(&[&fixed[..], more].concat())
    };
    // No key is told, and none was given.
    let (code, json) = told(&monitor(&[]));
    assert_eq!(
        (code, &json["findings"][0]["rule"]),
        (23, &json!("key_unknown")),
        "{json}"
    );
    let stranger = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    assert_eq!(told(&monitor(&["--log-key", stranger])).0, 23);

    let tell = |key: String| {
        let service = json!({"service": [{"type": "TransparencyLog", "verifierKey": key}]});
        host.set(
            ".well-known/did.json",
            Reply::File(service.to_string().into_bytes()),
        );
    };
    tell(log.vkey().to_string());
    let first = monitor(&[]);
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert_eq!(told(&first).0, 0);
    assert!(
        said.contains("trusted on first use") && said.contains(&log.vkey().to_string()),
        "{said}"
    );
    // From then on another key that is told there counts for nothing.
    tell(stranger.to_owned());
    let again = monitor(&[]);
    assert_eq!((told(&again).0, &again.stderr[..]), (0, &b""[..]));
}

#[test]
fn hashes_alone_show_that_nothing_was_rewritten() {
    let mut watch = Watch::begun();
    let state = watch.dir.path().join("hashes");
    let url = watch.host.url.clone();
    let key = watch.log.vkey().to_string();
    let round = |more: &[&str]| {
        let fixed = [
            "monitor",
            &url,
            "--log-key",
            &key,
            "--once",
            "--json",
            "--state",
            state.to_str().unwrap(),
        ];
        told(&tallystick(&[&fixed[..], more].concat()))
    };
    let close = |watch: &Watch| {
        for path in watch.log.files().keys().filter(|path| path.contains("entries")) {
            watch.host.set(
                path,
                Reply::Other(
                    "401 Unauthorized",
                    "",
                    b"{\"detail\": \"a key is missing\"}".to_vec(),
                ),
            );
        }
    };
    close(&watch);
    let (code, json) = round(&[]);
    assert_eq!(
        (code, &json["findings"][0]["rule"], &json["size"]),
        (23, &json!("forbidden"), &json!(0))
    );
    let (code, json) = round(&["--hashes-only"]);
    assert_eq!((code, &json["size"]), (0, &json!(SIZE)), "{json}");
    // A key comes: what has not been read is read then.
    watch.log.grow(750);
    watch.host.serve(&watch.log);
    watch.host.change("tile/entries/000", |bundle| bundle[20] ^= 1);
    let (code, json) = round(&["--again", "0"]);
    assert_eq!((code, &json["findings"][0]["entry"]), (20, &json!(0)), "{json}");
    watch.host.serve(&watch.log);
    assert_eq!(round(&[]).0, 0);
    close(&watch);
    watch.host.serve(&watch.log.rewritten(3, "another story"));
    close(&watch);
    let (code, json) = round(&["--hashes-only"]);
    assert_eq!((code, &json["findings"][0]["entry"]), (22, &json!(3)), "{json}");
}

#[test]
fn several_logs_each_have_their_key_and_metrics_are_written() {
    let (one, other) = (Watch::begun(), Watch::begun());
    let dir = ScratchDir::new();
    let metrics: PathBuf = dir.path().join("follow.prom");
    let key = one.log.vkey().to_string();
    let fixed = [
        "monitor",
        &one.host.url,
        &other.host.url,
        "--log-key",
        &key,
        "--once",
        "--json",
        "--state",
        dir.path().to_str().unwrap(),
        "--metrics",
        metrics.to_str().unwrap(),
    ];
    let (code, _) = told(&tallystick(&fixed));
    assert_eq!(code, 0);
    let ambiguous = tallystick(&[&fixed[..], &["--key", "abc"]].concat());
    assert_eq!(ambiguous.status.code(), Some(2));
    other.host.serve(&other.log.rewritten(7, "another story"));
    let named = format!("{}=abc", other.host.url);
    let found = tallystick(&[&fixed[..], &["--key", &named]].concat());
    assert_eq!(found.status.code(), Some(22));
    assert_eq!(String::from_utf8_lossy(&found.stdout).lines().count(), 2);
    let text = std::fs::read_to_string(metrics).unwrap();
    for line in [
        format!(
            "tallystick_follow_verified_entries{{log=\"{}\"}} 700",
            one.host.url
        ),
        format!(
            "tallystick_follow_findings{{log=\"{}\",severity=\"fork\"}} 0",
            one.host.url
        ),
        format!(
            "tallystick_follow_findings{{log=\"{}\",severity=\"fork\"}} 1",
            other.host.url
        ),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert!(text.contains("tallystick_follow_verified_timestamp_seconds{"));
}
