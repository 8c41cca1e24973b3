//! Every fuzz target over its seeds and its corpus, which `scripts/fuzz`
//! makes: what was found once stays found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tallystick::testkit::fuzz::{Target, targets};

/// Bytes of one target's corpus, so that the repository stays small.
const CORPUS_BYTES_MAX: u64 = 30_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn run(target: &Target, input: &[u8], what: &str) -> bool {
    let name = target.name;
    std::panic::catch_unwind(|| (target.run)(input))
        .unwrap_or_else(|_| panic!("fuzz target {name} has a finding in {what}"))
}

#[test]
fn seeds_are_accepted_and_whatever_is_near_them_is_no_finding() {
    let mut refused = Vec::new();
    for target in targets() {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for (n, seed) in seeds.iter().enumerate() {
            if !run(&target, seed, &format!("seed {n}")) {
                refused.push(format!("{}, seed {n}", target.name));
            }
            let middle = seed.len() / 2;
            run(&target, &seed[..middle], &format!("half of seed {n}"));
            if !seed.is_empty() {
                let mut other = seed.clone();
                other[middle] ^= 1;
                run(&target, &other, &format!("seed {n} with a bit turned"));
            }
        }
        run(&target, b"", "nothing");
    }
    assert!(refused.is_empty(), "refused: {refused:?}");
}

#[test]
fn corpora_hold_no_finding() {
    let corpora = root().join("tests/data/fuzz-corpus");
    let known: BTreeSet<_> = targets().iter().map(|target| target.name).collect();
    for corpus in files(&corpora) {
        let name = corpus.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(known.contains(name.as_str()), "{name} is the corpus of no target");
    }
    for target in targets() {
        let (mut bytes, mut accepted) = (0, 0);
        let inputs = files(&corpora.join(target.name));
        for input in &inputs {
            let data = std::fs::read(input).unwrap();
            bytes += data.len() as u64;
            accepted += u32::from(run(&target, &data, &input.display().to_string()));
        }
        assert!(
            bytes <= CORPUS_BYTES_MAX,
            "the corpus of {} has {bytes} bytes",
            target.name
        );
        assert!(
            accepted > 0,
            "nothing in the corpus of {} is accepted",
            target.name
        );
    }
}

/// `cargo fuzz` builds a program for each target.
#[test]
fn every_target_has_its_program() {
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let programs: BTreeSet<_> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|program| program["name"].as_str().unwrap())
        .collect();
    let targets = targets();
    let known: BTreeSet<_> = targets.iter().map(|target| target.name).collect();
    assert_eq!(known.len(), targets.len(), "two targets have one name");
    assert_eq!(programs, known);
}
