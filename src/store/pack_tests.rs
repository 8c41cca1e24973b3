//! Tests of packed rows.

use proptest::prelude::*;

use super::*;

fn pack(first: u64, entries: &[Vec<u8>]) -> Vec<PackedRow> {
    let mut packer = Packer::new();
    let mut rows = Vec::new();
    for (index, entry) in (first..).zip(entries) {
        rows.extend(packer.push(index, entry).unwrap());
    }
    rows.extend(packer.finish());
    rows
}

/// The bytes of the smallest row, written out by hand from the module's grammar.
#[test]
fn known_bytes() {
    let rows = pack(7, &[b"ab".to_vec(), b"".to_vec()]);
    assert_eq!(rows.len(), 1);
    let row = &rows[0].bytes;
    let mut plain = b"TLYPACK1\0\0\0\0\0\0\0\x07\0\x02".to_vec();
    assert_eq!(row[..18], plain);
    assert_eq!(row[50..], *b"\0\x02ab\0\0");
    plain.extend_from_slice(b"\0\x02ab\0\0");
    assert_eq!(row[18..50], *Sha256::digest(&plain));
}

#[test]
fn the_largest_entry_fits_a_row() {
    let rows = pack(0, &[vec![1; ENTRY_BYTES_MAX], vec![2; ENTRY_BYTES_MAX]]);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].first, 1);
    assert!(matches!(
        Packer::new().push(0, &vec![0; ENTRY_BYTES_MAX + 1]),
        Err(StoreError::Refused(_))
    ));
}

#[test]
fn a_gap_begins_a_row() {
    let mut packer = Packer::new();
    assert_eq!(packer.push(3, b"x").unwrap(), None);
    assert_eq!(packer.push(5, b"y").unwrap().unwrap().first, 3);
    assert_eq!(packer.finish().unwrap().first, 5);
    assert_eq!(Packer::new().finish(), None);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let row = pack(1 << 40, &[vec![5; 20], vec![6; 3]]).remove(0).bytes;
    for at in 0..row.len() * 8 {
        let mut damaged = row.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(Packed::parse(&damaged).is_err(), "bit {at}");
        assert_eq!(Packed::parse_front(&damaged), None, "bit {at}");
    }
    for length in 0..row.len() {
        assert!(Packed::parse(&row[..length]).is_err(), "cut to {length}");
    }
    let mut longer = row.clone();
    longer.push(0);
    assert!(Packed::parse(&longer).is_err());
    assert_eq!(Packed::parse_front(&longer).unwrap().as_bytes(), row);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn entries_come_back(
        first in 0..u64::MAX - 1_000,
        lengths in prop::collection::vec(prop_oneof![0..400_usize, 0..ENTRY_BYTES_MAX], 1..60),
    ) {
        let entries: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(i, length)| vec![i as u8; *length]).collect();
        let mut next = first;
        for row in pack(first, &entries) {
            prop_assert!(row.bytes.len() <= PACKED_ROW_BYTES_MAX);
            let packed = Packed::parse(&row.bytes).unwrap();
            prop_assert_eq!(packed.first(), next);
            prop_assert_eq!(packed.first(), row.first);
            for (index, bytes) in packed.iter() {
                prop_assert_eq!(index, next);
                prop_assert_eq!(bytes, &entries[(index - first) as usize][..]);
                prop_assert_eq!(packed.get(index), Some(bytes));
                next += 1;
            }
            prop_assert_eq!(packed.end(), next);
            prop_assert_eq!(packed.get(next), None);
            prop_assert_eq!(packed.get(row.first.wrapping_sub(1)), None);
        }
        prop_assert_eq!(next, first + entries.len() as u64);
    }

    #[test]
    fn junk_never_panics(junk in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut row = MAGIC.to_vec();
        row.extend_from_slice(&junk);
        prop_assert!(Packed::parse(&row).is_err());
    }
}
