use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::federation::beside::fetch_tags;
use crate::federation::dir_source::DirSource;
use crate::testkit::node::ScratchDir;

/// Batches as they were reserved, one behind the other, in the order in which
/// they ended.
fn batches(counts: &[usize], order: &[Index]) -> Vec<(u64, Vec<Tag>)> {
    let mut first = 0;
    let mut reserved: Vec<(u64, Vec<Tag>)> = Vec::new();
    for (batch, count) in counts.iter().enumerate() {
        let tag = |n: usize| {
            Tag([u8::try_from(batch % 200 + 1).unwrap(), (n % 251) as u8]
                .repeat(16)
                .try_into()
                .unwrap())
        };
        reserved.push((first, (0..*count).map(tag).collect()));
        first += *count as u64;
    }
    let mut ended = Vec::new();
    for pick in order {
        if !reserved.is_empty() {
            // At most three are under way.
            ended.push(reserved.remove(pick.index(reserved.len().min(3))));
        }
    }
    ended.append(&mut reserved);
    ended
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Whoever goes through the batches finds each one's tags in the tiles, in the
/// widths that the batches up to there reach.
fn check(dir: &Path, batches: &[(u64, Vec<Tag>)]) {
    let source = DirSource::new(dir);
    let mut reached = 0;
    for (first, tags) in batches {
        let end = first + tags.len() as u64;
        reached = reached.max(end);
        let mut found = Vec::new();
        for number in first / TILE..end.div_ceil(TILE) {
            let width = u16::try_from((reached - number * TILE).min(TILE)).unwrap();
            let tile = fetch_tags(&source, number, width, 0).unwrap();
            let (from, to) = (
                first.saturating_sub(number * TILE),
                (end - number * TILE).min(TILE),
            );
            found.extend_from_slice(&tile[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()]);
        }
        assert_eq!(&found, tags, "the batch from position {first}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn tiles_hold_every_batch_at_every_time(
        counts in proptest::collection::vec(prop_oneof![3 => 1..4_usize, 2 => 1..700_usize, 1 => Just(256_usize)], 1..24),
        order in proptest::collection::vec(any::<Index>(), 24),
        runs in proptest::collection::vec((1..5_usize, 0..4_usize), 1..24),
    ) {
        let dir = ScratchDir::new();
        let copy = CopyFiles::new(dir.path());
        let batches = batches(&counts, &order);
        let (mut done, mut positions) = (0, 0);
        for (taken, cut_off) in runs {
            let before = files(dir.path());
            let put = |count: usize| {
                let mut tiles = TagTiles::begin(&copy, positions).unwrap();
                for (first, tags) in batches.iter().skip(done).take(count) {
                    tiles.put(*first, tags).unwrap();
                }
                tiles.finish().unwrap();
                tiles.positions()
            };
            // A run that was cut off: of its files, those that are new may be torn.
            put(cut_off);
            for (path, bytes) in files(dir.path()) {
                if !before.contains_key(&path) {
                    std::fs::write(path, vec![0xff; bytes.len()]).unwrap();
                }
            }
            check(dir.path(), &batches[..done]);
            let begun = positions;
            positions = put(taken);
            copy.drop_partial(TileKind::Tags, begun / TILE..positions / TILE).unwrap();
            done = (done + taken).min(batches.len());
            check(dir.path(), &batches[..done]);
        }
    }
}

#[test]
fn of_the_unfinished_tile_each_width_is_kept_and_of_no_other() {
    let dir = ScratchDir::new();
    let copy = CopyFiles::new(dir.path());
    let mut tiles = TagTiles::begin(&copy, 0).unwrap();
    for position in 0..300 {
        tiles.put(position, &[Tag([7; 32])]).unwrap();
    }
    tiles.finish().unwrap();
    let names: Vec<String> = files(dir.path())
        .keys()
        .map(|path| path.strip_prefix(dir.path()).unwrap().display().to_string())
        .collect();
    assert!(names.contains(&"tile/tags/000".to_owned()));
    assert!(names.contains(&"tile/tags/001.p/44".to_owned()));
    assert_eq!(names.len(), 1 + 44);

    std::fs::write(dir.path().join("tile/tags/001.p/44"), "torn").unwrap();
    assert!(matches!(
        TagTiles::begin(&copy, 300),
        Err(FollowError::Copy { .. })
    ));
}

/// A run that dropped the widths of a tile that it had finished, and was cut off before
/// that went on record: the next one begins where this one did.
#[test]
fn what_was_dropped_before_it_went_on_record_is_found_in_the_full_tile() {
    let dir = ScratchDir::new();
    let copy = CopyFiles::new(dir.path());
    let batches: Vec<(u64, Vec<Tag>)> = (0..40_u8)
        .map(|batch| (u64::from(batch) * 10, vec![Tag([batch + 1; 32]); 10]))
        .collect();
    let run = |positions: u64, batches: &[(u64, Vec<Tag>)]| {
        let mut tiles = TagTiles::begin(&copy, positions).unwrap();
        for (first, tags) in batches {
            tiles.put(*first, tags).unwrap();
        }
        tiles.finish().unwrap();
    };
    run(0, &batches[..5]);
    for _ in 0..2 {
        run(50, &batches[5..]);
        copy.drop_partial(TileKind::Tags, 0..1).unwrap();
        check(dir.path(), &batches);
    }
    std::fs::remove_file(dir.path().join("tile/tags/000")).unwrap();
    let lost = TagTiles::begin(&copy, 50).unwrap_err();
    assert!(lost.to_string().contains("remove the file .beside"), "{lost}");
}
