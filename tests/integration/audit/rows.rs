//! What lies beside the entries.

use super::*;

/// Applies one change to the rows of a whole store, audits, and takes it back.
fn with_row(world: &World, key: &[u8], value: Option<Vec<u8>>) -> AuditReport {
    let engine = engine_of(world);
    let before = engine.get(key).unwrap();
    assert_ne!(before, value);
    let write = |value: Option<Vec<u8>>| Batch {
        require_absent: None,
        writes: vec![(key.to_vec(), value)],
    };
    engine.commit(write(value)).unwrap();
    drop(engine);
    let report = run(&options(world));
    engine_of(world).commit(write(before)).unwrap();
    report
}

fn row(world: &World, prefix: u8) -> (Vec<u8>, Vec<u8>) {
    let mut found = None;
    engine_of(world)
        .scan(&[prefix], &[prefix], &mut |key, value| {
            found = Some((key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })
        .unwrap();
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beside_the_log_that_were_changed_or_removed_are_named() {
    let world = shop().await;
    let flip = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        Some(bytes)
    };
    // Counters: `[entry, issued, redemptions, spent, flags, as of]` and `[last, as of]`.
    let (key, value) = row(&world, keys::CAMPAIGN);
    let mut items = match cbor::decode(&value, 100).unwrap() {
        serde_cbor::Value::Array(items) => items,
        _ => panic!("an array"),
    };
    items[2] = cbor::int(5_000);
    let changed = cbor::encode(&serde_cbor::Value::Array(items));
    finds(&with_row(&world, &key, Some(changed)), Rule::StoredCampaign, None);
    finds(&with_row(&world, &key, None), Rule::StoredCampaign, None);
    finds(
        &with_row(&world, &key, Some(vec![0xff])),
        Rule::StoredCampaign,
        None,
    );
    let (key, _) = row(&world, keys::REGISTER);
    let size = entries(&engine_of(&world)).len();
    let wrong = cbor::encode(&serde_cbor::Value::Array(vec![
        cbor::int(3),
        cbor::int(size as u64),
    ]));
    finds(&with_row(&world, &key, Some(wrong)), Rule::StoredRegister, None);
    finds(&with_row(&world, &key, None), Rule::StoredRegister, None);
    // Statuses: a used-up coupon made valid, an unknown one revoked.
    let mut statuses = Vec::new();
    engine_of(&world)
        .scan(&[keys::STATUS], &[keys::STATUS], &mut |key, value| {
            statuses.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    for byte in [4, 0] {
        let (key, value) = statuses.iter().find(|(_, value)| value.contains(&byte)).unwrap();
        let mut changed = value.clone();
        let at = changed.iter().position(|found| *found == byte).unwrap();
        changed[at] = 4 - byte;
        finds(&with_row(&world, key, Some(changed)), Rule::StoredStatus, None);
    }
    let (key, value) = row(&world, keys::BATCH);
    finds(&with_row(&world, &key, flip(&value, 11)), Rule::StoredBatch, None);
    finds(&with_row(&world, &key, None), Rule::StoredBatch, None);
    // Tags and tiles.
    let key = keys::tag_tile(0);
    let value = engine_of(&world).get(&key).unwrap().unwrap();
    let report = with_row(&world, &key, flip(&value, 5));
    finds(&report, Rule::TagsRoot, None);
    finds(&report, Rule::CouponTag, None);
    finds(&with_row(&world, &key, None), Rule::TagsMissing, None);
    let mut twice = value.clone();
    twice.copy_within(0..32, 64);
    finds(&with_row(&world, &key, Some(twice)), Rule::TagRepeated, None);
    let (key, value) = (keys::tag_tile(9), vec![7; 32]);
    finds(&with_row(&world, &key, Some(value)), Rule::TagUnexpected, None);
    let (key, value) = row(&world, keys::HASH_TILE);
    finds(
        &with_row(&world, &key, flip(&value, 32 * 7)),
        Rule::TileWrong,
        Some(7),
    );
    finds(&with_row(&world, &key, None), Rule::TileMissing, Some(7));
    let extra = keys::hash_tile(0, 1, 0);
    finds(
        &with_row(&world, &extra, Some(vec![0; 4096])),
        Rule::TileExtra,
        None,
    );
    // What lies beside the entries, and the index.
    let (key, value) = row(&world, keys::BESIDE);
    finds(&with_row(&world, &key, None), Rule::DetailsMissing, Some(1));
    finds(
        &with_row(&world, &key, flip(&value, 100)),
        Rule::DetailsUnreadable,
        Some(1),
    );
    let (key, value) = row(&world, keys::INDEX_RUN);
    finds(&with_row(&world, &key, flip(&value, 40)), Rule::StoredIndex, None);
    finds(&with_row(&world, &key, None), Rule::StoredIndex, None);
    let key = keys::derived(b"state");
    let value = serde_cbor::Value::Array(vec![cbor::int(9_999), cbor::int(144), cbor::map([])]);
    finds(
        &with_row(&world, &key, Some(cbor::encode(&value))),
        Rule::StoredState,
        None,
    );
    // All taken back: clean again.
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn details_that_were_replaced_are_told_from_the_signed_ones() {
    let world = shop().await;
    let engine = engine_of(&world);
    let record = tallystick::store::beside::read(&engine, 5).unwrap().unwrap();
    let other = tallystick::store::beside::read(&engine, 6).unwrap().unwrap();
    // Apples for pears: the same length, so that all else stays well-formed.
    let at = record.windows(5).position(|bytes| bytes == b"Topaz").unwrap();
    let mut changed = record.clone();
    changed[at..at + 5].copy_from_slice(b"Birne");
    for (record, rule) in [
        (changed, Rule::DetailsRoot),
        (other, Rule::ReceiptTag),
        (vec![1], Rule::DetailsUnreadable),
    ] {
        let mut batch = Batch::default();
        let edits = std::iter::once((5, Some(record))).collect();
        tallystick::store::beside::edit(&engine, &mut batch, &edits).unwrap();
        engine.commit(batch).unwrap();
        let copy = tempfile::tempdir().unwrap();
        // The engine holds its lock: the audit is of a copy.
        for (path, bytes) in files(&store_of(&world)) {
            std::fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
        let mut copied = options(&world);
        copied.dir = copy.path().to_path_buf();
        finds(&run(&copied), rule, Some(5));
    }
}
