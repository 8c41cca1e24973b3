//! Tests of the records beside the log.

use proptest::prelude::*;

use super::*;
use crate::store::MemoryEngine;

fn add(engine: &dyn Engine, records: &[(u64, Vec<u8>)]) {
    let mut batch = Batch::default();
    append(
        &mut batch,
        records.iter().map(|(index, bytes)| (*index, &bytes[..])),
    )
    .unwrap();
    engine.commit(batch).unwrap();
}

fn change(engine: &dyn Engine, edits: Vec<(u64, Option<Vec<u8>>)>) -> Vec<bool> {
    let mut batch = Batch::default();
    let existed = edit(engine, &mut batch, &edits.into_iter().collect()).unwrap();
    for (_, value) in &batch.writes {
        assert!(value.as_ref().is_none_or(|row| row.len() <= DETAIL_ROW_BYTES_MAX));
    }
    engine.commit(batch).unwrap();
    existed
}

fn all(engine: &dyn Engine) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    scan(engine, 0, &mut |index, bytes| {
        records.push((index, bytes.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

fn row_count(engine: &dyn Engine) -> usize {
    let mut count = 0;
    engine
        .scan(&[BESIDE], b"", &mut |_, value| {
            assert!(value.len() <= DETAIL_ROW_BYTES_MAX);
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    count
}

#[test]
fn small_records_share_a_row_and_large_ones_are_split() {
    let engine = MemoryEngine::new();
    let records = [
        (3, vec![3; 700]),
        (4, vec![4; 700]),
        (9, vec![9; 20_000]),
        (10, vec![10; PIECE_BYTES_MAX]),
        (11, vec![]),
    ];
    add(&engine, &records);
    assert_eq!(row_count(&engine), 1 + 5 + 1 + 1);
    for (index, bytes) in &records {
        assert_eq!(read(&engine, *index).unwrap().as_ref(), Some(bytes));
    }
    for index in [0, 2, 5, 8, 12, u64::MAX] {
        assert_eq!(read(&engine, index).unwrap(), None, "{index}");
    }
    assert_eq!(all(&engine), records);
}

#[test]
fn erasing_leaves_the_others() {
    let engine = MemoryEngine::new();
    add(&engine, &[(3, vec![3; 70]), (4, vec![4; 70]), (5, vec![5; 70])]);
    add(&engine, &[(6, vec![6; 10_000])]);
    // The first of a shared row, by whose index the row is found, and another
    // one of that row in the same batch.
    assert_eq!(change(&engine, vec![(3, None), (5, None)]), [true, true]);
    assert_eq!(read(&engine, 3).unwrap(), None);
    assert_eq!(all(&engine), [(4, vec![4; 70]), (6, vec![6; 10_000])]);
    assert_eq!(change(&engine, vec![(3, None), (6, None)]), [false, true]);
    assert_eq!(all(&engine), [(4, vec![4; 70])]);
    assert_eq!(change(&engine, vec![(4, None)]), [true]);
    assert_eq!(row_count(&engine), 0);
}

#[test]
fn the_erased_bytes_are_in_no_row() {
    let engine = MemoryEngine::new();
    add(&engine, &[(1, b"kept".to_vec()), (2, b"personal".to_vec())]);
    change(&engine, vec![(2, None)]);
    engine
        .scan(b"", b"", &mut |_, value| {
            assert!(!value.windows(8).any(|window| window == b"personal"));
            ControlFlow::Continue(())
        })
        .unwrap();
}

#[test]
fn damage_is_noticed() {
    let engine = MemoryEngine::new();
    add(&engine, &[(1, vec![1; 50]), (2, vec![2; 9_000])]);
    for (key, value) in [
        (beside(2, 1), None),
        (beside(2, 2), None),
        (beside(1, 0), Some(vec![0; 80])),
        (beside(2, 1), engine.get(&beside(2, 0)).unwrap()),
    ] {
        let damaged = engine.fork();
        let mut batch = Batch::default();
        batch.writes.push((key.clone(), value));
        damaged.commit(batch).unwrap();
        let index = super::super::rows::number_of(&key).unwrap();
        assert!(
            matches!(read(&damaged, index), Err(StoreError::Damaged(_))),
            "{key:?}"
        );
        let mut scanned = 0;
        let outcome = scan(&damaged, 0, &mut |_, _| {
            scanned += 1;
            ControlFlow::Continue(())
        });
        assert!(matches!(outcome, Err(StoreError::Damaged(_))), "{key:?}");
    }
}

#[test]
fn refuses_disorder_and_excess() {
    let refused = |records: &[(u64, &[u8])]| {
        matches!(
            append(&mut Batch::default(), records.iter().copied()),
            Err(StoreError::Refused(_))
        )
    };
    assert!(refused(&[(2, b""), (2, b"")]));
    assert!(refused(&[(2, b""), (1, b"")]));
    assert!(refused(&[(2, &vec![0; DETAIL_RECORD_BYTES_MAX + 1])]));
    assert!(!refused(&[(2, &vec![0; DETAIL_RECORD_BYTES_MAX])]));
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..900_usize, 1 => 3_900..4_200_usize, 1 => 0..15_000_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against a plain map: appended, then edited in several batches.
    #[test]
    fn behaves_as_a_map(
        appended in prop::collection::vec((1..4_u64, length()), 0..30),
        edits in prop::collection::vec(
            prop::collection::btree_map(0..70_u64, prop::option::of(length()), 1..8), 0..5),
    ) {
        let engine = MemoryEngine::new();
        let mut model = BTreeMap::new();
        let mut index = 0;
        for chunk in appended.chunks(7) {
            let mut records = Vec::new();
            for (step, length) in chunk {
                index += step;
                records.push((index, vec![index as u8; *length]));
            }
            add(&engine, &records);
            model.extend(records);
        }
        for (round, edits) in edits.into_iter().enumerate() {
            let edits: Vec<(u64, Option<Vec<u8>>)> = edits
                .into_iter()
                .map(|(index, length)| (index, length.map(|length| vec![round as u8; length])))
                .collect();
            let mut expected = Vec::new();
            for (index, edit) in &edits {
                expected.push(match edit {
                    Some(bytes) => model.insert(*index, bytes.clone()),
                    None => model.remove(index),
                }.is_some());
            }
            prop_assert_eq!(change(&engine, edits), expected);
        }
        for index in 0..80 {
            let record = read(&engine, index).unwrap();
            prop_assert_eq!(record.as_ref(), model.get(&index), "{}", index);
        }
        prop_assert_eq!(all(&engine), model.into_iter().collect::<Vec<_>>());
    }
}
