//! `tallystick mirror`: a copy that is whole at every moment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tallystick::federation::chain::{entries_of, join};
use tallystick::federation::copy::{Keep, LogCopy, Reading};
use tallystick::federation::{
    DirSource, EntryForm, FetchError, FollowError, LogClient, LogSource, SignedCheckpoint,
};
use tallystick::testkit::log::{MemorySource, TestLog};
use tallystick::testkit::node::ScratchDir;
use tallystick::testkit::repeats;

use super::host::Host;
use super::monitor::{tallystick, told};

/// Files in `dir`, by their paths.
fn files(dir: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The copy holds what `log` serves, and of what is full no part.
#[track_caller]
fn check_same(dir: &Path, log: &TestLog) {
    for (path, bytes) in log.files() {
        assert!(
            std::fs::read(dir.join(&path)).is_ok_and(|there| there == bytes),
            "{path}"
        );
    }
    for path in files(dir) {
        if let Some((full, _)) = path.split_once(".p/") {
            assert!(!dir.join(full).exists(), "{path}");
        }
    }
}

/// Whatever is in `dir` is a whole log as of its checkpoint; its size.
#[track_caller]
fn check_whole(dir: &Path, log: &TestLog) -> u64 {
    if !dir.join("checkpoint").exists() {
        return 0;
    }
    let client = LogClient::new(Arc::new(DirSource::new(dir)), log.vkey());
    let tree = client.update(None).unwrap();
    let mut end = None;
    let read = tree.read_entries(
        0..tree.size(),
        EntryForm::Tallystick,
        &entries_of,
        &mut |bundle, entries| {
            end = join(end, &bundle, &entries)?;
            Ok::<_, FollowError>(())
        },
    );
    read.unwrap();
    tree.size()
}

#[test]
fn a_mirror_holds_what_the_log_serves() {
    let (dir, host) = (ScratchDir::new(), Host::start());
    let copy = dir.path().join("copy");
    let mut log = TestLog::new(1);
    let key = log.vkey().to_string();
    let mirror = |from: &str, to: &Path| {
        told(&tallystick(&[
            "mirror",
            from,
            to.to_str().unwrap(),
            "--log-key",
            &key,
            "--once",
            "--json",
        ]))
    };
    for size in [1, 200, 255, 256, 300, 700, 1_024] {
        log.grow(size);
        host.serve(&log);
        let (code, json) = mirror(&host.url, &copy);
        assert_eq!((code, &json["size"]), (0, &json!(size)), "{json}");
        check_same(&copy, &log);
    }
    // A mirror of the mirror, whose key is told beside it, and a monitor of both.
    let second = dir.path().join("second");
    let args = [
        "mirror",
        copy.to_str().unwrap(),
        second.to_str().unwrap(),
        "--once",
        "--json",
    ];
    assert_eq!(told(&tallystick(&args)).0, 0);
    check_same(&second, &log);
    let state = dir.path().join("state");
    let watched = tallystick(&[
        "monitor",
        &host.url,
        "--log-key",
        &key,
        "--once",
        "--json",
        "--state",
        state.to_str().unwrap(),
        "--compare",
        copy.to_str().unwrap(),
        "--compare",
        second.to_str().unwrap(),
    ]);
    let (code, json) = told(&watched);
    assert_eq!(
        (code, json["agreeing"].as_array().unwrap().len()),
        (0, 2),
        "{json}"
    );

    // A log that rewrites its past changes nothing of the copy.
    host.serve(&log.rewritten(5, "another story"));
    let (code, json) = mirror(&host.url, &copy);
    assert_eq!((code, &json["findings"][0]["entry"]), (22, &json!(5)), "{json}");
    check_same(&copy, &log);
    let other = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let taken = tallystick(&[
        "mirror",
        &host.url,
        copy.to_str().unwrap(),
        "--log-key",
        other,
        "--once",
        "--json",
    ]);
    assert_eq!(told(&taken).0, 23);
}

/// Serves so many files, and then none.
#[derive(Debug)]
struct Failing {
    files: Arc<MemorySource>,
    left: std::sync::atomic::AtomicUsize,
    asked: std::sync::Mutex<Vec<String>>,
}

impl LogSource for Failing {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        use std::sync::atomic::Ordering;
        self.asked.lock().unwrap().push(path.to_owned());
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.files.get(path, most),
            Err(_) => Err(FetchError::Unreachable {
                what: path.to_owned(),
                why: "it has gone".to_owned(),
            }),
        }
    }

    fn name(&self) -> &str {
        "failing"
    }
}

#[test]
fn a_copy_that_broke_off_goes_on_and_reads_nothing_twice() {
    let dir = ScratchDir::new();
    let mut log = TestLog::new(300);
    let mut held: Option<SignedCheckpoint> = None;
    let copy = LogCopy::open(dir.path(), Keep::Entries).unwrap();
    assert!(matches!(
        LogCopy::open(dir.path(), Keep::Entries),
        Err(FollowError::Copy { .. })
    ));
    for size in [300, 5_000, 9_000] {
        log.grow(size);
        let mut asked_before: Vec<String> = Vec::new();
        for allowed in [4, 8, 13, 1_000] {
            let source = Arc::new(Failing {
                files: log.source(),
                left: allowed.into(),
                asked: std::sync::Mutex::default(),
            });
            let client = LogClient::new(Arc::<Failing>::clone(&source), log.vkey());
            let done = client.update(held.as_ref()).and_then(|tree| {
                copy.advance(
                    held.as_ref(),
                    &tree,
                    Reading::Entries(EntryForm::Tallystick),
                    &mut |_| {},
                )
            });
            let before = held.as_ref().map_or(0, |held| held.checkpoint.size);
            assert_eq!(
                check_whole(dir.path(), &log),
                if done.is_ok() { size as u64 } else { before }
            );
            let asked = source.asked.lock().unwrap().clone();
            let bundles = |asked: &[String]| asked.iter().filter(|path| path.contains("entries")).count();
            if allowed == 1_000 && size > 300 {
                let all = (size as u64 - before).div_ceil(256);
                assert!(bundles(&asked) as u64 <= all, "{} of {all}", bundles(&asked));
                assert!(
                    bundles(&asked_before) > 0 && (bundles(&asked) as u64) < all,
                    "it goes on where it broke off"
                );
            }
            asked_before = asked;
        }
        let client = LogClient::new(Arc::new(DirSource::new(dir.path())), log.vkey());
        held = copy.held(&client).unwrap();
        check_same(dir.path(), &log);
    }
    // What lies beyond the checkpoint counts for nothing: it is read again where it is wrong.
    log.grow(9_500);
    std::fs::write(dir.path().join("tile/0/035"), vec![7; 8_192]).unwrap();
    std::fs::write(dir.path().join("tile/entries/035"), b"torn").unwrap();
    std::fs::write(dir.path().join(".part"), b"torn").unwrap();
    let client = LogClient::new(log.source(), log.vkey());
    let tree = client.update(held.as_ref()).unwrap();
    copy.advance(
        held.as_ref(),
        &tree,
        Reading::Entries(EntryForm::Tallystick),
        &mut |_| {},
    )
    .unwrap();
    check_same(dir.path(), &log);
}

#[test]
fn what_cannot_be_written_leaves_the_copy_as_it_was() {
    let dir = ScratchDir::new();
    let mut log = TestLog::new(300);
    let copy = LogCopy::open(dir.path(), Keep::Entries).unwrap();
    let advance = |log: &TestLog| {
        let client = LogClient::new(log.source(), log.vkey());
        let held = copy.held(&client)?;
        let tree = client.update(held.as_ref())?;
        copy.advance(
            held.as_ref(),
            &tree,
            Reading::Entries(EntryForm::Tallystick),
            &mut |_| {},
        )
    };
    advance(&log).unwrap();
    log.grow(700);
    // The place of the first file that is written, of one in the middle, of the checkpoint.
    for blocked in [".part", "tile/entries/001", "tile/1/000.p/2"] {
        let blocked = dir.path().join(blocked);
        std::fs::create_dir_all(&blocked).unwrap();
        assert!(
            matches!(advance(&log), Err(FollowError::Copy { .. })),
            "{}",
            blocked.display()
        );
        assert_eq!(check_whole(dir.path(), &log), 300);
        std::fs::remove_dir(&blocked).unwrap();
    }
    let client = LogClient::new(log.source(), log.vkey());
    std::fs::write(dir.path().join("evidence"), "in the way").unwrap();
    let fork = {
        let other = log.rewritten(5, "another story");
        let elsewhere = LogClient::new(other.source(), log.vkey());
        let held = copy.held(&client).unwrap();
        elsewhere.update(held.as_ref()).unwrap_err()
    };
    let FollowError::Forked(evidence) = fork else {
        panic!("{fork}");
    };
    assert!(matches!(
        copy.keep_evidence(&evidence),
        Err(FollowError::Copy { .. })
    ));
    std::fs::remove_file(dir.path().join("evidence")).unwrap();
    let kept = copy.keep_evidence(&evidence).unwrap();
    assert_eq!(std::fs::read(kept).unwrap(), evidence.encode());
    advance(&log).unwrap();
    check_same(dir.path(), &log);
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_mirror() {
    let (dir, host) = (ScratchDir::new(), Host::start());
    let copy: PathBuf = dir.path().join("copy");
    let mut log = TestLog::new(3_000);
    let key = log.vkey().to_string();
    let (mut sizes, mut killed) = (Vec::new(), 0);
    for n in 0..repeats(6, 100) {
        log.grow(3_000 + 700 * n as usize);
        host.serve(&log);
        let mut mirror = Command::new(env!("CARGO_BIN_EXE_tallystick"))
            .args([
                "mirror",
                &host.url,
                copy.to_str().unwrap(),
                "--log-key",
                &key,
                "--once",
                "--json",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Another moment each time: this waits for nothing, it chooses.
        std::thread::sleep(Duration::from_millis(20 + 61 * (n as u64 % 9)));
        killed += usize::from(mirror.try_wait().unwrap().is_none());
        mirror.kill().unwrap();
        mirror.wait().unwrap();
        if copy.exists() {
            sizes.push(check_whole(&copy, &log));
        }
    }
    assert!(killed > 0, "every run was over before it was killed");
    assert!(sizes.is_sorted(), "{sizes:?}");
    let args = [
        "mirror",
        &host.url,
        copy.to_str().unwrap(),
        "--log-key",
        &key,
        "--once",
        "--json",
    ];
    assert_eq!(told(&tallystick(&args)).0, 0);
    check_same(&copy, &log);
}
