use super::*;

fn put(rows: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in rows {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.remove(*key),
        }
    }
    batch
}

fn table(rows: &[(&str, Option<&str>)]) -> Table {
    let owned = |(key, value): &(&str, Option<&str>)| {
        (
            key.as_bytes().to_vec(),
            value.map(|value| value.as_bytes().to_vec()),
        )
    };
    rows.iter().map(owned).collect()
}

fn opened(dir: &Path) -> (Journal, Table) {
    Journal::open(Arc::new(crate::store::OsDisk), dir, Layout::BYTES).unwrap()
}

fn refused(dir: &Path) -> String {
    match Journal::open(Arc::new(crate::store::OsDisk), dir, Layout::BYTES) {
        Err(error @ StoreError::Damaged(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok((_, table)) => panic!("opened with {table:?}"),
    }
}

fn segment(dir: &Path, number: usize) -> std::path::PathBuf {
    dir.join(SEGMENT_FILES[number])
}

/// Three commits and a mark in the first segment, two commits in the second; `x`
/// says which.
fn two_segments(dir: &Path) {
    let (mut journal, held) = opened(dir);
    assert!(held.is_empty());
    for x in ["1", "2", "3", "4", "5"] {
        let batch = put(&[("x", Some(x)), (&format!("only-{x}"), Some(x))]);
        journal.append(&batch).unwrap();
        if x == "3" {
            journal.turn().unwrap();
        }
    }
}

#[test]
fn what_was_appended_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, held) = opened(dir.path());
    assert!(held.is_empty());
    journal
        .append(&put(&[("a", Some("1")), ("b", Some(""))]))
        .unwrap();
    journal.append(&put(&[("b", None), ("c", Some("3"))])).unwrap();
    let (mut journal, held) = opened(dir.path());
    assert_eq!(held, table(&[("a", Some("1")), ("b", None), ("c", Some("3"))]));
    journal.mark_empty().unwrap();
    assert!(opened(dir.path()).1.is_empty());
    journal.append(&put(&[("d", Some("4"))])).unwrap();
    assert_eq!(opened(dir.path()).1, table(&[("d", Some("4"))]));
}

#[test]
fn both_segments_are_held_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    let (mut journal, held) = opened(dir.path());
    assert_eq!(held.get(&b"x"[..]).unwrap().as_deref(), Some(&b"5"[..]));
    assert_eq!(held.len(), 6);
    // Numbers go on where they were, so nothing old can continue what is new.
    journal.mark_empty().unwrap();
    journal.append(&put(&[("x", Some("6"))])).unwrap();
    assert_eq!(opened(dir.path()).1, table(&[("x", Some("6"))]));
}

#[test]
fn a_later_turn_replaces_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    let (mut journal, _) = opened(dir.path());
    journal.mark_empty().unwrap();
    // Shorter than what stands there, so records of the first turn stay behind.
    for x in ["6", "7", "8"] {
        journal.append(&put(&[("x", Some(x))])).unwrap();
        journal.turn().unwrap();
    }
    let (_, held) = opened(dir.path());
    assert_eq!(held, table(&[("x", Some("8"))]));
}

#[test]
fn a_torn_last_record_was_never_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = opened(dir.path());
    journal.append(&put(&[("a", Some("1"))])).unwrap();
    let before = journal.filled();
    journal.append(&put(&[("a", Some("2"))])).unwrap();
    let whole = std::fs::read(segment(dir.path(), 0)).unwrap();
    for length in usize::try_from(before).unwrap()..whole.len() {
        for rest in [0, 0xa5] {
            let mut torn = whole.clone();
            torn[length..].fill(rest);
            std::fs::write(segment(dir.path(), 0), &torn).unwrap();
            assert_eq!(
                opened(dir.path()).1,
                table(&[("a", Some("1"))]),
                "cut at {length}"
            );
        }
        std::fs::write(segment(dir.path(), 0), &whole[..length]).unwrap();
        assert_eq!(
            opened(dir.path()).1,
            table(&[("a", Some("1"))]),
            "cut at {length}"
        );
    }
}

#[test]
fn a_torn_first_record_of_a_turn_leaves_the_segment_before_it() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    let (mut journal, _) = opened(dir.path());
    journal.turn().unwrap();
    let before = std::fs::read(segment(dir.path(), 0)).unwrap();
    journal.append(&put(&[("x", Some("6"))])).unwrap();
    drop(journal);
    let after = std::fs::read(segment(dir.path(), 0)).unwrap();
    for length in 0..HEAD_BYTES {
        let mut torn = before.clone();
        torn[..length].copy_from_slice(&after[..length]);
        std::fs::write(segment(dir.path(), 0), &torn).unwrap();
        let (_, left) = opened(dir.path());
        let newer = [("x", Some("5")), ("only-4", Some("4")), ("only-5", Some("5"))];
        assert_eq!(left, table(&newer), "cut at {length}");
    }
}

/// The files as they are before and after each of the three writes that note
/// that everything is below.
fn emptied(dir: &Path) -> Vec<[Vec<u8>; 2]> {
    let read = || [0, 1].map(|number| std::fs::read(segment(dir, number)).unwrap());
    let before = read();
    opened(dir).0.mark_empty().unwrap();
    let after = read();
    let mut steps = vec![before];
    for (number, from, to) in [
        (1, after[1].len() - HEAD_BYTES, after[1].len()),
        (0, 0, HEAD_BYTES),
        (1, 0, HEAD_BYTES),
    ] {
        let mut files = steps[steps.len() - 1].clone();
        let length = files[number].len().max(to);
        files[number].resize(length, 0);
        files[number][from..to].copy_from_slice(&after[number][from..to]);
        steps.push(files);
    }
    assert_eq!(steps[3], after);
    steps
}

#[test]
fn torn_marks_change_nothing_and_bring_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    let (_, held) = opened(dir.path());
    let steps = emptied(dir.path());
    for (step, pair) in steps.windows(2).enumerate() {
        let changed = usize::from(step != 1);
        for cut in 0..=HEAD_BYTES {
            let mut files = pair[0].clone();
            let from = if step == 0 { pair[0][1].len() } else { 0 };
            files[changed].resize(pair[1][changed].len(), 0);
            files[changed][from..from + cut].copy_from_slice(&pair[1][changed][from..from + cut]);
            for number in [0, 1] {
                std::fs::write(segment(dir.path(), number), &files[number]).unwrap();
            }
            let (_, left) = opened(dir.path());
            if step == 0 && cut < HEAD_BYTES {
                assert_eq!(left, held, "cut at {cut}");
            } else {
                assert!(left.is_empty(), "step {step}, cut at {cut}: {left:?}");
            }
        }
    }
}

#[test]
fn damage_to_what_was_carried_down_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    emptied(dir.path());
    for number in [0, 1] {
        let whole = std::fs::read(segment(dir.path(), number)).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            std::fs::write(segment(dir.path(), number), &flipped).unwrap();
            assert!(opened(dir.path()).1.is_empty());
        }
        std::fs::write(segment(dir.path(), number), &whole).unwrap();
    }
}

#[test]
fn damage_before_the_last_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    for number in [0, 1] {
        let path = segment(dir.path(), number);
        let whole = std::fs::read(&path).unwrap();
        let last = (0..whole.len())
            .rev()
            .find(|at| whole[*at..].starts_with(MAGIC))
            .unwrap();
        // A broken last record of the newest segment cannot be told from a torn one.
        let end = if number == 0 { whole.len() } else { last };
        for at in 0..end {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            std::fs::write(&path, &flipped).unwrap();
            let words = refused(dir.path());
            assert!(words.contains("cannot be read"), "{words}");
        }
        std::fs::write(&path, &whole).unwrap();
    }
    opened(dir.path());
}

#[test]
fn no_bytes_make_it_panic() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    let whole = std::fs::read(segment(dir.path(), 0)).unwrap();
    for length in [u32::MAX, u32::MAX - 31, 0x7fff_ffff] {
        let mut long = whole.clone();
        long[20..CHECK_AT].copy_from_slice(&length.to_be_bytes());
        std::fs::write(segment(dir.path(), 0), &long).unwrap();
        refused(dir.path());
    }
    // A record whose check fits and whose payload is nonsense.
    let mut record = Vec::new();
    begin(&mut record);
    record.extend([0, 9, 0, 0]);
    finish(&mut record, 1, 1);
    std::fs::write(segment(dir.path(), 0), &record).unwrap();
    std::fs::write(segment(dir.path(), 1), b"").unwrap();
    let words = refused(dir.path());
    assert!(words.contains("does not hold rows"), "{words}");
}

/// Records of every length around a block's, some in one block, some over many,
/// each behind what the last opening found.
#[test]
fn whole_blocks_hold_what_single_bytes_hold() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Journal::open(Arc::new(crate::store::OsDisk), dir.path(), Layout::WHOLE_BLOCKS).unwrap();
    let lengths = [
        1,
        5,
        4000,
        30,
        4096 - 6,
        4096,
        100,
        100,
        9_000,
        8_192 - 46,
        3,
        70_000,
        2,
    ];
    let mut expected = Table::new();
    for (number, length) in lengths.into_iter().cycle().take(60).enumerate() {
        let (mut journal, held) = open();
        assert_eq!(held, expected, "before record {number}");
        for n in 0..=number % 3 {
            let key = format!("{}", (number + n) % 7);
            let value = "v".repeat(length + n);
            journal.append(&put(&[(&key, Some(&value))])).unwrap();
            expected.insert(key.into_bytes(), Some(value.into_bytes()));
        }
        match number % 10 {
            3 => {
                journal.mark_empty().unwrap();
                journal.append(&put(&[("after", None)])).unwrap();
                expected = table(&[("after", None)]);
            }
            // All records before are in the other segment from now on.
            6 => {
                journal.mark_empty().unwrap();
                expected.clear();
            }
            _ => {}
        }
    }
}
