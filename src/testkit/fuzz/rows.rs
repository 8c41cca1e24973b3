//! Floors 4 and 5: what is read back from the disk. Rows with a checksum get
//! one that fits, since damage by chance never comes so far: what is behind it
//! has to hold too.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use super::http::{block_on, shop};
use super::{Target, take};
use crate::credential::Algorithm;
use crate::encoding::cbor;
use crate::ledger::{Answers, BatchIssued, State};
use crate::merkle::{HALF_TILE_LEN, half_tile_from_bytes};
use crate::node::answers::ReceiptRecord;
use crate::node::batches::Reservation;
use crate::node::index::filter::Filter;
use crate::node::index::key::Mixed;
use crate::node::index::manifest::{Manifest, RunEntry};
use crate::node::index::row::{self, DataRow};
use crate::node::pending::BatchRow;
use crate::node::snapshot::{self, CampaignRow};
use crate::primitives::{Amount, CampaignId, Digest, KeyId, Position, UnixSeconds, limits};
use crate::store::{Batch, Engine, GuardState, MemoryEngine, Packed, Packer, Witnessed, beside};
use crate::store::{journal, rows as keys};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "packed_entries",
        run: packed,
        seeds: packed_seeds,
    },
    Target {
        name: "beside_row",
        run: beside_row,
        seeds: || {
            rows_of(keys::BESIDE)
                .into_iter()
                .map(|(_, value)| value)
                .collect()
        },
    },
    Target {
        name: "guard_slot",
        run: guard_slot,
        seeds: guard_seeds,
    },
    Target {
        name: "journal",
        run: journal_segments,
        seeds: journal_seeds,
    },
    Target {
        name: "index_data",
        run: index_data,
        seeds: index_data_seeds,
    },
    Target {
        name: "index_manifest",
        run: index_manifest,
        seeds: index_manifest_seeds,
    },
    Target {
        name: "reservation",
        run: reservation,
        seeds: reservation_seeds,
    },
    Target {
        name: "receipt_record",
        run: receipt_record,
        seeds: receipt_record_seeds,
    },
    Target {
        name: "derived_row",
        run: derived_row,
        seeds: derived_seeds,
    },
    Target {
        name: "stored_row",
        run: stored_row,
        seeds: stored_row_seeds,
    },
];

/// Puts the SHA-256 of everything else to `at`.
fn seal(row: &[u8], at: usize) -> Vec<u8> {
    let mut row = row.to_vec();
    if row.len() >= at + 32 {
        let digest = Sha256::new()
            .chain_update(&row[..at])
            .chain_update(&row[at + 32..])
            .finalize();
        row[at..at + 32].copy_from_slice(&digest);
    }
    row
}

/// Most bytes of a row of the index before its checksum.
const SEALED_BYTES_MAX: usize = limits::INDEX_ROW_BYTES_MAX - 8;

/// Where the SHA-256 stands in a row of packed entries, and in one beside.
const PACKED_SHA_AT: usize = 18;
const BESIDE_SHA_AT: usize = 22;

/// The rows with a prefix in the template's store.
fn rows_of(prefix: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let scanned = shop().engine.scan(&[prefix], &[prefix], &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    });
    scanned.expect("rows in memory");
    rows
}

/// A row that is read is packed again as the same bytes.
fn packed(data: &[u8]) -> bool {
    let _ = Packed::parse_front(data);
    let row = seal(data, PACKED_SHA_AT);
    let Ok(read) = Packed::parse(&row) else {
        return false;
    };
    assert_eq!(read.as_bytes(), row);
    assert_eq!(read.iter().count() as u64, read.end() - read.first());
    let mut packer = Packer::new();
    for (index, entry) in read.iter() {
        assert_eq!(read.get(index), Some(entry));
        match packer.push(index, entry) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("a row within its limit is one row"),
            // An entry that is too long stands in no row of ours.
            Err(_) => return true,
        }
    }
    assert_eq!(packer.finish().map(|row| row.bytes), Some(row.clone()));
    assert!(read.get(read.end()).is_none());
    true
}

fn packed_seeds() -> Vec<Vec<u8>> {
    let mut packer = Packer::new();
    let entries = [&b"first"[..], b"", &[7; 300]];
    for (index, entry) in (41..).zip(entries) {
        assert!(packer.push(index, entry).is_ok_and(|full| full.is_none()));
    }
    packer.finish().map(|row| row.bytes).into_iter().collect()
}

/// A row under its own key: a scan and single reads agree.
fn beside_row(data: &[u8]) -> bool {
    let row = seal(data, BESIDE_SHA_AT);
    let (Some(first), Some(part)) = (row.get(8..16), row.get(16..18)) else {
        return false;
    };
    let first = u64::from_be_bytes(first.try_into().expect("eight bytes"));
    let part = u16::from_be_bytes(part.try_into().expect("two bytes"));
    let engine = MemoryEngine::new();
    let mut batch = Batch::default();
    batch.put(keys::beside(first, part), row.clone());
    if engine.commit(batch).is_err() {
        return false;
    }
    let mut records = Vec::new();
    let scanned = beside::scan(&engine, 0, &mut |index, bytes| {
        records.push((index, bytes.to_vec()));
        ControlFlow::Continue(())
    });
    if scanned.is_err() {
        return false;
    }
    // What no row of ours is: too long, out of order, under another's key.
    if row.len() > limits::DETAIL_ROW_BYTES_MAX
        || !records.is_sorted_by(|a, b| a.0 < b.0)
        || records.first().is_some_and(|(index, _)| *index != first)
    {
        return true;
    }
    for (index, bytes) in &records {
        assert_eq!(beside::read(&engine, *index).ok().flatten().as_ref(), Some(bytes));
    }
    let mut batch = Batch::default();
    let records = records.iter().map(|(index, bytes)| (*index, bytes.as_slice()));
    beside::append(&mut batch, records).expect("records in order, within their limits");
    let written: BTreeMap<_, _> = batch.writes.into_iter().collect();
    let empty = written.is_empty();
    assert!(empty || written.get(&keys::beside(first, part)) == Some(&Some(row)));
    true
}

/// A slot that is read is written as the same bytes, whatever follows them.
fn guard_slot(data: &[u8]) -> bool {
    let _ = GuardState::from_slot(data);
    let count = data
        .get(64..66)
        .map_or(0, |count| usize::from(u16::from_be_bytes([count[0], count[1]])));
    let end = 66 + 56 * count;
    let mut slot = data.to_vec();
    if slot.len() >= end + 32 {
        let digest = Sha256::digest(&slot[..end]);
        slot[end..end + 32].copy_from_slice(&digest);
    }
    GuardState::from_slot(&slot).is_some_and(|(sequence, state)| {
        assert_eq!(state.to_slot(sequence), slot[..end + 32]);
        true
    })
}

fn guard_seeds() -> Vec<Vec<u8>> {
    let mut state = GuardState::new(70_000, [7; 32]);
    let plain = state.to_slot(1);
    state.witnessed = [(1, 5), (2, u64::MAX)]
        .map(|(log, size)| Witnessed {
            log: [log; 16],
            size,
            root: [3; 32],
        })
        .to_vec();
    state.roster_version = 3;
    vec![plain, state.to_slot(u64::MAX)]
}

/// Records, each as segment and number, `below`, length and payload: their checks
/// are made to fit. Which file holds which segment makes no difference, and of
/// whole records in order all rows come back.
fn journal_segments(mut data: &[u8]) -> bool {
    let mut segments = [Vec::new(), Vec::new()];
    let mut firsts = [None, None];
    let (mut in_order, mut next) = (true, 1);
    let mut expected = BTreeMap::new();
    while !data.is_empty() {
        let [first, below, length] = take(&mut data);
        let (segment, number) = (usize::from(first >> 7), u64::from(first & 0x7f));
        let (payload, rest) = data.split_at(data.len().min(usize::from(length)));
        data = rest;
        firsts[segment].get_or_insert(number);
        segments[segment].extend(journal::record(number, u64::from(below), payload));
        in_order &= segment == 0 && number == next && below <= 1;
        next += 1;
        if let [key, value @ ..] = payload.get(6..).unwrap_or_default()
            && payload[..6] == [0, 1, 0, 0, 0, value.len() as u8]
        {
            expected.insert(vec![*key], Some(value.to_vec()));
        } else {
            in_order = false;
        }
    }
    let read = journal::rows_in(segments.clone());
    let [first, second] = segments;
    let swapped = journal::rows_in([second, first]);
    // No two segments of ours begin with one number.
    assert!(firsts[0] == firsts[1] || read.as_ref().ok() == swapped.as_ref().ok());
    assert!(!in_order || read.as_ref().is_ok_and(|rows| *rows == expected));
    read.is_ok()
}

fn journal_seeds() -> Vec<Vec<u8>> {
    let put = |first: u8, below: u8, key: u8| vec![first, below, 8, 0, 1, 0, 0, 0, 1, key, 7];
    vec![
        [put(1, 1, 1), put(2, 1, 2), put(3, 1, 1)].concat(),
        [put(1, 1, 1), put(2, 1, 2), put(0x80 | 3, 2, 3)].concat(),
        vec![5, 6, 0],
    ]
}

/// A row's own bytes, without the checksum, which is made to fit.
fn index_data(data: &[u8]) -> bool {
    if data.len() > SEALED_BYTES_MAX {
        return false;
    }
    let key = row::data_key(3, Mixed::MIN);
    let sealed = row::seal(&key, data.to_vec());
    let _ = DataRow::parse(&key, data.to_vec());
    let Ok(read) = DataRow::parse(&key, sealed.clone()) else {
        return false;
    };
    let pairs: Vec<_> = (0..read.len()).map(|at| read.pair(at)).collect();
    let in_order = pairs.is_sorted_by(|a, b| a.0 < b.0);
    for (key, value) in &pairs {
        let found = read.find(*key);
        assert!(!in_order || found == Some(*value));
    }
    if in_order && pairs.last().is_none_or(|last| last.0 <= read.high) {
        assert_eq!(row::data_row(3, Mixed::MIN, read.high, &pairs).1, sealed);
    }
    true
}

fn index_data_seeds() -> Vec<Vec<u8>> {
    let pairs: Vec<_> = (0..20_u128)
        .map(|n| (Mixed((n * 7).to_be_bytes()), n as u64))
        .collect();
    [&pairs[..], &[]]
        .iter()
        .map(|pairs| {
            let (_, value) = row::data_row(3, Mixed::MIN, Mixed::MAX, pairs);
            value[..value.len() - 8].to_vec()
        })
        .collect()
}

/// The manifest, and the filters that it promises, which are not there.
fn index_manifest(data: &[u8]) -> bool {
    if data.len() > SEALED_BYTES_MAX {
        return false;
    }
    let engine = MemoryEngine::new();
    let mut batch = Batch::default();
    let sealed = row::seal(row::MANIFEST_KEY, data.to_vec());
    batch.put(row::MANIFEST_KEY, sealed.clone());
    if engine.commit(batch).is_err() {
        return false;
    }
    let Ok(manifest) = Manifest::read(&engine) else {
        return false;
    };
    assert_eq!(manifest.row().1, sealed);
    for run in &manifest.runs {
        let filter = Filter::read(&engine, run.id, run.blocks);
        assert!(filter.is_err() || run.blocks == 0);
    }
    true
}

fn index_manifest_seeds() -> Vec<Vec<u8>> {
    let run = |id| RunEntry {
        id,
        level: 1,
        count: 1_000,
        blocks: 20,
    };
    let manifest = Manifest {
        covers: 70_000,
        runs: vec![run(3), run(4)],
    };
    let mut huge = manifest.clone();
    huge.runs[0].blocks = u32::MAX;
    [manifest, huge, Manifest::default()]
        .iter()
        .map(|manifest| {
            let value = manifest.row().1;
            value[..value.len() - 8].to_vec()
        })
        .collect()
}

/// What the second pass will be made of is what the first one wrote.
fn reservation(data: &[u8]) -> bool {
    let Ok(read) = Reservation::decode(data) else {
        return false;
    };
    // The salt means nothing yet.
    let written = read.encode();
    assert_eq!(written[..written.len() - 16], data[..data.len() - 16]);
    assert_eq!(Reservation::decode(&written).ok(), Some(read));
    true
}

fn reservation_seeds() -> Vec<Vec<u8>> {
    let batch = BatchIssued {
        campaign: CampaignId([5; 16]),
        first: Position(131_070),
        count: 1_000,
        not_before: None,
        not_after: UnixSeconds(1_798_761_600),
        amount: Amount::new(500).ok(),
        kid: KeyId([8; 8]),
        algorithm: Algorithm::EdDsa,
        tags_root: Digest::ZERO,
    };
    let answers = Answers {
        key: [1; 16],
        reference: None,
        request: [3; 16],
    };
    [Some(answers), None]
        .map(|answers| Reservation {
            batch: batch.clone(),
            answers,
        })
        .iter()
        .map(Reservation::encode)
        .collect()
}

fn receipt_record(data: &[u8]) -> bool {
    let Some(read) = ReceiptRecord::decode(data) else {
        return false;
    };
    assert_eq!(
        match read.personal {
            Some(personal) => ReceiptRecord::encode(&read.stub, &personal.details.encode(&personal.secret)),
            None => ReceiptRecord::encode_stub(&read.stub),
        },
        data
    );
    true
}

fn receipt_record_seeds() -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let scanned = beside::scan(&shop().engine, 0, &mut |_, bytes| {
        records.push(bytes.to_vec());
        ControlFlow::Continue(())
    });
    scanned.expect("rows in memory");
    records.retain(|record| ReceiptRecord::decode(record).is_some());
    records
}

/// Rows of derived state, and the rows of batches and half tiles.
fn derived_row(data: &[u8]) -> bool {
    let mut accepted = false;
    if let Ok(read) = snapshot::campaign_row(data) {
        let again = [
            cbor::int(read.entry),
            cbor::int(read.issued),
            cbor::int(read.redemptions),
            cbor::int(read.spent.minor_units()),
            cbor::int(read.flags.to_byte()),
            cbor::int(read.as_of),
        ];
        let again = cbor::encode(&serde_cbor::Value::Array(again.to_vec()));
        let again = snapshot::campaign_row(&again).expect("what is written is read");
        // Bits that no flag has mean nothing, and are not kept.
        let what = |row: &CampaignRow| {
            (
                row.entry,
                row.issued,
                row.redemptions,
                row.spent,
                row.flags,
                row.as_of,
            )
        };
        assert_eq!(what(&again), what(&read));
        accepted = true;
    }
    if let Ok(read) = snapshot::register_row(data) {
        let again = [read.last_sequence_number, read.as_of].map(cbor::int);
        assert_eq!(cbor::encode(&serde_cbor::Value::Array(again.to_vec())), data);
        accepted = true;
    }
    accepted |= snapshot::load_state_row(data, &mut State::default()).is_ok();
    if let Some(row) = BatchRow::decode(7, data) {
        assert_eq!(row.encode(), data);
        assert!(!row.holds(6) && (row.count == 0 || row.holds(7)));
        assert!(!row.holds(7 + u64::from(row.count)));
        accepted = true;
    }
    if let Some(hashes) = half_tile_from_bytes(data) {
        assert_eq!((hashes.as_flattened(), hashes.len()), (data, HALF_TILE_LEN));
        accepted = true;
    }
    accepted
}

fn derived_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = [keys::CAMPAIGN, keys::REGISTER, keys::BATCH]
        .into_iter()
        .flat_map(rows_of)
        .map(|(_, value)| value)
        .collect();
    seeds.extend(shop().engine.get(&keys::derived(b"state")).ok().flatten());
    seeds.push(vec![7; 4_096]);
    seeds
}

/// A store in which one row says something else: the node opens or says why
/// not, and whatever it is asked, it answers or refuses.
fn stored_row(mut data: &[u8]) -> bool {
    let shop = shop();
    if data.len() > SEALED_BYTES_MAX {
        return false;
    }
    let at = usize::from(u16::from_be_bytes(take(&mut data)));
    let rows = all_rows();
    let (key, _) = &rows[at % rows.len()];
    let value = match key[0] {
        keys::ENTRY => seal(data, PACKED_SHA_AT),
        keys::BESIDE => seal(data, BESIDE_SHA_AT),
        row::DATA | row::FILTER => row::seal(key, data.to_vec()),
        _ if key == row::MANIFEST_KEY => row::seal(key, data.to_vec()),
        _ => data.to_vec(),
    };
    let mut batch = Batch::default();
    batch.put(key.clone(), value);
    let opened = shop.node.fork(|engine| {
        // A row that is too long cannot be stored at all.
        let _ = engine.commit(batch);
    });
    let Ok(fork) = opened else {
        return false;
    };
    block_on(super::http::look_around(&fork));
    true
}

/// Every row of the template's store.
fn all_rows() -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..=u8::MAX).flat_map(rows_of).collect()
}

/// Two rows of each kind.
fn stored_row_seeds() -> Vec<Vec<u8>> {
    let rows = all_rows();
    let kind = |at: usize| rows.get(at).map(|(key, _)| key[0]);
    rows.iter()
        .zip(0_u16..)
        .filter(|(_, at)| usize::from(*at).checked_sub(2).and_then(kind) != kind(usize::from(*at)))
        .map(|((key, value), at)| {
            let end = match key[0] {
                row::DATA | row::FILTER => value.len() - 8,
                _ if key == row::MANIFEST_KEY => value.len() - 8,
                _ => value.len(),
            };
            [&at.to_be_bytes(), &value[..end]].concat()
        })
        .collect()
}
