//! Tests of the key layout and the readers.

use super::*;
use crate::store::MemoryEngine;

fn bytes_of(index: u64) -> Vec<u8> {
    let mut bytes = vec![b'.'; 100 + (index % 7) as usize * 150];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// Commits the entries `from..to` as one batch.
fn append(engine: &dyn Engine, from: u64, to: u64) -> Result<(), StoreError> {
    let entries: Vec<Vec<u8>> = (from..to).map(bytes_of).collect();
    let mut batch = Batch::default();
    append_entries(&mut batch, from, entries.iter().map(Vec::as_slice)).unwrap();
    engine.commit(batch)
}

fn visited(engine: &dyn Engine, from: u64) -> Result<Vec<u64>, StoreError> {
    let mut indices = Vec::new();
    scan_entries(engine, from, &mut |index, bytes| {
        assert_eq!(bytes, bytes_of(index));
        indices.push(index);
        ControlFlow::Continue(())
    })?;
    Ok(indices)
}

#[test]
fn keys_are_distinct_and_sorted_as_their_numbers() {
    let campaign_id = CampaignId([7; 16]);
    let keys = [
        batch(1),
        batch(256),
        campaign(&campaign_id),
        beside(1, 0),
        beside(1, 1),
        beside(2, 0),
        entry(255),
        entry(256),
        FORMAT_KEY.to_vec(),
        tag_tile(3),
        register("checkout-1"),
        reservation(4),
        status(1, 0),
        status(1, 256),
        hash_tile(0, 1, 0),
        hash_tile(0, 1, 1),
        hash_tile(0, 2, 0),
        hash_tile(1, 0, 0),
        index_run(0, 1, 2),
        index_meta(b"runs"),
        derived(b"state"),
    ];
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    assert_eq!(number_of(&entry(256)), Some(256));
    assert_eq!(number_of(b"e123"), None);
}

#[test]
fn entries_are_read_one_by_one_and_in_order() {
    let engine = MemoryEngine::new();
    assert_eq!(read_entry(&engine, 0).unwrap(), None);
    assert_eq!(last_entry(&engine).unwrap(), None);
    append(&engine, 0, 1).unwrap();
    append(&engine, 1, 60).unwrap();
    append(&engine, 60, 63).unwrap();
    for index in 0..63 {
        assert_eq!(read_entry(&engine, index).unwrap(), Some(bytes_of(index)));
    }
    assert_eq!(read_entry(&engine, 63).unwrap(), None);
    for from in [0, 1, 2, 30, 62, 63, 100] {
        assert_eq!(visited(&engine, from).unwrap(), (from..63).collect::<Vec<_>>());
    }
    assert_eq!(last_entry(&engine).unwrap(), Some((62, bytes_of(62))));
    let mut seen = 0;
    scan_entries(&engine, 5, &mut |_, _| {
        seen += 1;
        if seen == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(seen, 2);
}

#[test]
fn a_stale_head_loses() {
    let engine = MemoryEngine::new();
    append(&engine, 0, 5).unwrap();
    append(&engine, 5, 9).unwrap();
    assert!(matches!(append(&engine, 5, 6), Err(StoreError::HeadMoved)));
    assert_eq!(visited(&engine, 0).unwrap().len(), 9);
}

#[test]
fn an_empty_append_asks_for_nothing() {
    let mut batch = Batch::default();
    append_entries(&mut batch, 4, []).unwrap();
    assert!(batch.is_empty() && batch.require_absent.is_none());
}

#[test]
fn damage_and_gaps_are_named() {
    let engine = MemoryEngine::new();
    append(&engine, 0, 4).unwrap();
    append(&engine, 4, 8).unwrap();
    append(&engine, 8, 9).unwrap();
    let change = |key: Vec<u8>, value: Option<Vec<u8>>| {
        let engine = engine.fork();
        let mut batch = Batch::default();
        batch.writes.push((key, value));
        engine.commit(batch).unwrap();
        engine
    };
    let missing = change(entry(4), None);
    let error = visited(&missing, 0).unwrap_err().to_string();
    assert!(error.contains("entries 4 to 7 are missing"), "{error}");
    assert!(visited(&missing, 5).is_err());
    assert_eq!(read_entry(&missing, 5).unwrap(), None);

    let mut row = engine.get(&entry(4)).unwrap().unwrap();
    row[100] ^= 1;
    let damaged = change(entry(4), Some(row));
    let error = read_entry(&damaged, 5).unwrap_err().to_string();
    assert!(error.contains("from Some(4)"), "{error}");
    assert!(matches!(visited(&damaged, 0), Err(StoreError::Damaged(_))));

    // A whole row under a key that is not its own.
    let moved = change(entry(6), Some(engine.get(&entry(4)).unwrap().unwrap()));
    assert!(matches!(read_entry(&moved, 6), Err(StoreError::Damaged(_))));
}
