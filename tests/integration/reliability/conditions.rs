//! Full disks, a disk that is read-only, a clock that was set back: the program
//! says so in words, nothing is damaged, and it serves again once it is mended.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json};
use tallystick::primitives::{Clock as _, SystemClock, limits};
use tallystick::server::{NodeDir, Overrides, Serving, System};
use tallystick::testkit::ManualClock;
use tokio::runtime::Runtime;

use super::full_disk::Disk;
use super::load::Load;
use super::victim::Victim;
use super::{BINARY, init, tallystick, verdict};

fn run(args: &[&str]) -> Output {
    tallystick(args).output().unwrap()
}

#[track_caller]
fn says(output: &Output, code: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    all_said(&said, parts);
}

#[track_caller]
fn all_said(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "it does not say {part:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary directory's name is text")
}

#[test]
fn init_on_a_full_disk_says_what_to_do_and_that_is_enough() {
    let Some(disk) = Disk::of_kibibytes(16) else {
        return;
    };
    let shop = disk.shop();
    let full = run(&["init", text(&shop)]);
    let words = [
        "No space left",
        "free some space",
        "Nothing was issued from it yet: remove",
        "init` again",
    ];
    says(&full, 1, &words);
    assert!(
        full.stdout.is_empty(),
        "keys are shown of a node that is not there"
    );
    assert!(!disk.root().join("shop.guard").exists());
    fs::remove_dir_all(&shop).unwrap();
    disk.grow(2_048);
    init(&shop, None);
    Victim::serve(&shop).unwrap().kill();
}

#[test]
fn a_disk_that_fills_up_under_load_stops_the_node_and_nothing_is_lost() {
    let Some(disk) = Disk::of_kibibytes(8_192) else {
        return;
    };
    let shop = disk.shop();
    init(&shop, None);
    let load = Load::on(&NodeDir::at(&shop).unwrap());
    let runtime = Runtime::new().unwrap();
    let victim = Victim::serve(&shop).unwrap();
    let url = victim.url.clone();
    let (status, said) = runtime.block_on(load.work_until(&url, 60, || {
        disk.fill();
        // The load goes on until the node has ended by itself.
        victim.ended()
    }));
    assert_eq!(status.code(), Some(1), "{said}");
    let words = [
        "the writer has stopped",
        "No space left",
        "the disk is full: free some space",
        "so the process ends",
    ];
    all_said(&said, &words);
    // Still full: what room its files have may do for a start; else it says so. It
    // changes nothing.
    for _ in 0..2 {
        match Victim::serve(&shop) {
            Ok(still) => drop(still.kill()),
            Err(still) => all_said(&still, &["error: ", "No space left", "free some space"]),
        }
    }
    disk.free();
    verdict::judge(&shop, &load, &runtime).unwrap();
    let again = Victim::serve(&shop).unwrap();
    let url = again.url.clone();
    let (status, said) = runtime.block_on(load.work_until(&url, 60, || again.stop()));
    assert_eq!(status.code(), Some(0), "{said}");
    verdict::judge(&shop, &load, &runtime).unwrap();
}

#[test]
fn an_import_onto_a_full_disk_goes_on_where_it_stopped() {
    let Some(disk) = Disk::of_kibibytes(8_192) else {
        return;
    };
    let shop = disk.shop();
    init(&shop, None);
    let place = tempfile::tempdir().unwrap();
    let (export, map) = (place.path().join("sales.csv"), place.path().join("till.toml"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/import");
    fs::copy(example.join("till.toml"), &map).unwrap();
    let mut rows = fs::read_to_string(example.join("till.csv"))
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let sales = 400;
    for sale in 0..sales {
        // Some lines each, so that the store has to grow.
        for _ in 0..20 {
            rows.push_str(&format!(
                "\n07.03.2026;16:21;Kasse 3;{sale};V;Äpfel Topaz;0,482;kg;1,44;7;bar;"
            ));
        }
    }
    fs::write(&export, rows).unwrap();
    let args = [
        "import",
        "csv",
        text(&export),
        "--map",
        text(&map),
        "--node",
        text(&shop),
        "--json",
    ];
    disk.fill();
    says(&run(&args), 1, &["No space left", "free some space"]);
    // Room for some of it.
    disk.free_some(700 * 1024);
    let stopped = run(&args);
    says(&stopped, 1, &["No space left", "free some space"]);
    disk.free();
    let done = run(&args);
    let counts: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        done.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let number = |name: &str| {
        counts[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {counts}"))
    };
    assert_eq!(
        number("receipts_issued") + number("receipts_repeated"),
        sales,
        "{counts}"
    );
    let audited = run(&["audit", text(&shop), "--json"]);
    let said = String::from_utf8_lossy(&audited.stderr);
    let report: Value =
        serde_json::from_slice(&audited.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(report["verdict"], "clean");
    assert_eq!(report["entries"]["receipt"], sales);
}

#[test]
fn a_read_only_disk_is_named_and_serves_again_once_it_is_writable() {
    let Some(disk) = Disk::of_kibibytes(8_192) else {
        return;
    };
    let shop = disk.shop();
    init(&shop, None);
    let load = Load::on(&NodeDir::at(&shop).unwrap());
    let runtime = Runtime::new().unwrap();
    let victim = Victim::serve(&shop).unwrap();
    let url = victim.url.clone();
    runtime.block_on(load.work_until(&url, 40, || victim.stop()));
    disk.remount("ro");
    let said = Victim::serve(&shop)
        .err()
        .expect("it serves from a read-only disk");
    all_said(&said, &["error: ", "Read-only file system", "mount it writable"]);
    says(
        &run(&["key", "add", text(&shop), "--role", "office"]),
        1,
        &["Read-only file system", "mount it writable"],
    );
    says(
        &run(&["init", text(&disk.root().join("other"))]),
        1,
        &["Read-only file system", "mount it writable"],
    );
    // Reading is enough for an audit.
    assert!(run(&["audit", text(&shop)]).status.success());
    disk.remount("rw");
    verdict::judge(&shop, &load, &runtime).unwrap();
}

/// As for a node that is not run by its owner; root may write everywhere.
#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let place = tempfile::tempdir().unwrap();
    let shop = place.path().join("shop");
    init(&shop, None);
    let nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", BINARY])
            .args(args);
        command.output()
    };
    let Ok(output) = nobody(&["serve", text(&shop)]) else {
        eprintln!("SKIPPED: setpriv is missing (Debian: util-linux)");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("setpriv:") {
        eprintln!("SKIPPED: only root becomes another user: {said}");
        return;
    }
    says(
        &output,
        1,
        &["Permission denied", "the user who owns the node's directory"],
    );
}

fn open_at(dir: &NodeDir, clock: &Arc<ManualClock>) -> (Vec<String>, Serving) {
    let system = System {
        clock: Arc::clone(clock) as _,
        ..System::default()
    };
    let opened = dir.open_in(&system, &Overrides::default(), None).unwrap();
    (opened.report.notes.clone(), Serving::start(opened).unwrap())
}

#[test]
fn a_clock_set_back_by_an_hour_does_no_damage() {
    let place = tempfile::tempdir().unwrap();
    let shop = place.path().join("shop");
    init(&shop, None);
    let dir = NodeDir::at(&shop).unwrap();
    let load = Load::on(&dir);
    let runtime = Runtime::new().unwrap();
    let right = SystemClock.now().0;
    let clock = Arc::new(ManualClock::new(right));
    let (notes, serving) = open_at(&dir, &clock);
    assert_eq!(notes, Vec::<String>::new());
    let work = |serving: Serving, between: &dyn Fn()| {
        let url = serving.url();
        runtime.block_on(load.work_until(&url, 60, || {
            between();
            serving.stop().unwrap();
        }));
    };
    // While it serves, and while it does not.
    work(serving, &|| clock.set(right - 3_600));
    let (notes, serving) = open_at(&dir, &clock);
    assert!(
        notes.iter().any(|note| note.contains("clock is 3600 s behind")),
        "{notes:?}"
    );
    assert!(
        notes.iter().any(|note| note.contains("set it right")),
        "{notes:?}"
    );
    // A sale that was made by a right clock, which has gone on.
    let later = i64::try_from(right + limits::CLOCK_SKEW_SECONDS_MAX + 60).unwrap();
    let sold = load.post_sale(
        &runtime,
        &serving.url(),
        jiff::Timestamp::from_second(later).unwrap().to_string(),
    );
    assert_eq!(
        (&sold["code"], &sold["status"]),
        (&json!("time_too_far"), &json!(422)),
        "{sold}"
    );
    let detail = sold["detail"].as_str().unwrap();
    assert!(detail.contains("360 s"), "{detail}");
    work(serving, &|| ());
    clock.set(right + 3_600);
    let (notes, serving) = open_at(&dir, &clock);
    assert_eq!(notes, Vec::<String>::new());
    work(serving, &|| ());
    verdict::judge_at(
        &shop,
        &load,
        &runtime,
        &System {
            clock,
            ..System::default()
        },
    )
    .unwrap();
}
