//! The architecture, as a test: every `crate::` path in `src` goes to a lower
//! floor, or stays in its own room.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rooms by floor (ARCHITECTURE.md, 'Floors').
const FLOORS: &[(&str, u8)] = &[
    ("primitives", 0),
    ("encoding", 1),
    ("merkle", 1),
    ("credential", 2),
    ("ledger", 3),
    ("log", 3),
    ("store", 4),
    ("node", 5),
    ("federation", 6),
    ("http", 7),
    ("web", 7),
    ("server", 8),
    ("cli", 8),
];

/// Edges within a floor: the pages are mounted by the API's server, and
/// commands start servers.
const BESIDE: &[(&str, &str)] = &[("http", "web"), ("cli", "server")];

/// Rooms that may read no clock, no randomness and no disk.
const PURE: &[&str] = &["encoding", "merkle", "credential", "ledger", "log"];

/// Parts of other rooms that are as pure, and do not reach for rooms that are not.
const PURE_PARTS: &[&str] = &["federation/roster", "federation/message", "federation/gossip"];

/// What a pure room must not name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "std::env",
    "getrandom",
    "OsEntropy",
    "SystemClock",
    "tokio::",
];

struct Source {
    room: String,
    path: PathBuf,
    /// The text up to the unit tests, which may use what they like.
    text: String,
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![src.clone()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&src).unwrap().to_path_buf();
                let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
                let room = first.trim_end_matches(".rs").to_owned();
                let whole = std::fs::read_to_string(&path).unwrap();
                let text = whole.split("#[cfg(test)]\nmod").next().unwrap().to_owned();
                found.push(Source {
                    room,
                    path: inside,
                    text,
                });
            }
        }
    }
    found
}

fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_str().unwrap().trim_end_matches(".rs");
        name == "tests" || name.ends_with("_tests") || name == "fixtures"
    })
}

#[test]
fn imports_go_downwards_only() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut edges = 0;
    for source in sources() {
        if matches!(source.room.as_str(), "lib" | "main" | "testkit") || is_test_file(&source.path) {
            continue;
        }
        let floor = *floors
            .get(source.room.as_str())
            .unwrap_or_else(|| panic!("{} is in no room of the table", source.path.display()));
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for after in code.split("crate::").skip(1) {
                let target: String = after
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if target == source.room || target.is_empty() {
                    continue;
                }
                edges += 1;
                let beside = BESIDE.contains(&(source.room.as_str(), target.as_str()));
                let below = floors.get(target.as_str()).is_some_and(|lower| *lower < floor);
                assert!(
                    below || beside,
                    "src/{}:{}: {} may not import {target}",
                    source.path.display(),
                    number + 1,
                    source.room
                );
            }
        }
    }
    assert!(
        edges > 100,
        "only {edges} imports were found: the test reads the wrong place"
    );
}

#[test]
fn pure_rooms_read_no_clock_no_randomness_and_no_disk() {
    for source in sources() {
        let is_part = PURE_PARTS.iter().any(|part| source.path.starts_with(part));
        if !(is_part || PURE.contains(&source.room.as_str())) || is_test_file(&source.path) {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let impure_rooms = ["crate::store", "crate::node"].into_iter().filter(|_| is_part);
            for word in IMPURE.iter().copied().chain(impure_rooms) {
                assert!(
                    !code.contains(word),
                    "src/{}:{}: a pure room names {word}",
                    source.path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn only_one_file_names_sled_and_none_is_too_long() {
    for source in sources() {
        let text = source.text.replace("use sled::SledEngine", "");
        let uses_sled = text.contains("use sled") || text.contains(" sled::");
        let may = source.path == Path::new("store/sled.rs") || is_test_file(&source.path);
        assert!(may || !uses_sled, "src/{} names sled", source.path.display());
        let whole = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src")
            .join(&source.path);
        let lines = std::fs::read_to_string(whole).unwrap().lines().count();
        assert!(
            lines <= 800,
            "src/{} has {lines} lines, at most 800",
            source.path.display()
        );
    }
}
