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
    Journal::open(Arc::new(crate::store::OsDisk), dir).unwrap()
}

fn refused(dir: &Path) -> String {
    match Journal::open(Arc::new(crate::store::OsDisk), dir) {
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

#[test]
fn a_torn_mark_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    two_segments(dir.path());
    let before = std::fs::read(segment(dir.path(), 1)).unwrap();
    let (mut journal, held) = opened(dir.path());
    journal.mark_empty().unwrap();
    let after = std::fs::read(segment(dir.path(), 1)).unwrap();
    assert_eq!(after.len(), before.len() + HEAD_BYTES);
    for length in before.len()..after.len() {
        std::fs::write(segment(dir.path(), 1), &after[..length]).unwrap();
        assert_eq!(opened(dir.path()).1, held, "cut at {length}");
    }
    std::fs::write(segment(dir.path(), 1), &after).unwrap();
    assert!(opened(dir.path()).1.is_empty());
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
