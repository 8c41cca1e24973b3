//! Tests of `details`.
use super::*;
use proptest::prelude::*;

const SECRET: [u8; 32] = [6; 32];

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text, 6).unwrap()
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

fn sample() -> ReceiptDetails {
    ReceiptDetails {
        lines: vec![
            Line {
                description: "Äpfel Topaz".to_owned(),
                quantity: decimal("0.482"),
                unit: Some("kg".to_owned()),
                unit_price: Some(decimal("2.99")),
                total: amount(144),
                tax_rate: Some(decimal("7.00")),
            },
            Line {
                description: "Pfand zurück".to_owned(),
                quantity: decimal("1"),
                unit: None,
                unit_price: None,
                total: amount(-25),
                tax_rate: None,
            },
        ],
        tenders: vec![Tender {
            kind: "gift_card".to_owned(),
            amount: amount(119),
        }],
        taxes: vec![Tax {
            rate: None,
            net: amount(110),
            tax: amount(9),
        }],
        cashier: Some("Ada".to_owned()),
        member: None,
        till_reference: Some("2026-03-07/000812".to_owned()),
        refers_to: None,
    }
}

#[test]
fn leaves_are_what_the_library_writes() {
    let null = Value::Null;
    let minor = |units: i64| cbor::int(units);
    let expected = [
        (
            1,
            vec![
                cbor::text("Äpfel Topaz"),
                cbor::text("0.482"),
                cbor::text("kg"),
                cbor::text("2.99"),
                minor(144),
                cbor::text("7.00"),
            ],
        ),
        (
            1,
            vec![
                cbor::text("Pfand zurück"),
                cbor::text("1"),
                null.clone(),
                null.clone(),
                minor(-25),
                null.clone(),
            ],
        ),
        (2, vec![cbor::text("gift_card"), minor(119)]),
        (3, vec![null, minor(110), minor(9)]),
        (4, vec![cbor::text("Ada")]),
        (6, vec![cbor::text("2026-03-07/000812")]),
    ];
    let leaves = sample().leaves(&SECRET);
    assert_eq!(leaves.len(), expected.len());
    for (index, (label, value)) in expected.into_iter().enumerate() {
        let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET).unwrap();
        mac.update(&u32::try_from(index).unwrap().to_be_bytes());
        let salt = &mac.finalize().into_bytes()[..16];
        let leaf = Value::Array(vec![cbor::bytes(salt), cbor::int(label), Value::Array(value)]);
        assert_eq!(leaves[index], cbor::encode(&leaf), "leaf {index}");
    }
    assert_eq!(sample().root(&SECRET), root_of_leaves(&leaves));
    assert_eq!(sample().leaf_count(), 6);
}

#[test]
fn another_secret_another_root() {
    assert_ne!(sample().root(&SECRET), sample().root(&[7; 32]));
}

/// What an import tells its sales apart by.
#[test]
fn written_details_are_the_stored_form_under_no_secret() {
    let written = sample().write();
    assert_eq!(written.as_bytes(), sample().encode(&[0; 32]));
    let (stored, root) = written.with_secret(&SECRET);
    assert_eq!(stored, sample().encode(&SECRET));
    assert_eq!(root, sample().root(&SECRET));
}

#[test]
fn crooked_leaves_are_refused() {
    let leaves = sample().leaves(&SECRET);
    assert!(ReceiptDetails::from_leaves(&[]).is_err());
    let mut swapped = leaves.clone();
    swapped.swap(1, 2);
    assert!(ReceiptDetails::from_leaves(&swapped).is_err(), "out of order");
    let twice = vec![leaves[4].clone(), leaves[4].clone()];
    assert!(ReceiptDetails::from_leaves(&twice).is_err(), "two cashiers");
    let leaf = |label: i32, value: Vec<Value>| {
        vec![cbor::encode(&Value::Array(vec![
            cbor::bytes([0; 16]),
            cbor::int(label),
            Value::Array(value),
        ]))]
    };
    assert!(ReceiptDetails::from_leaves(&leaf(4, vec![cbor::text("Ada")])).is_ok());
    let line = |quantity: &str| {
        let mut value = vec![cbor::text("x"), cbor::text(quantity), Value::Null, Value::Null];
        value.extend([cbor::int(1), Value::Null]);
        leaf(1, value)
    };
    assert!(ReceiptDetails::from_leaves(&line("1.5")).is_ok());
    for (why, leaves) in [
        ("an unknown label", leaf(8, vec![cbor::text("x")])),
        ("a label of none", leaf(0, vec![cbor::text("x")])),
        ("wrong arity", leaf(4, vec![])),
        ("a number for text", leaf(4, vec![cbor::int(1)])),
        (
            "a spaced tender",
            leaf(2, vec![cbor::text("gift card"), cbor::int(1)]),
        ),
        ("a negative zero", line("-0")),
        ("seven places", line("0.1234567")),
        ("an exponent", line("1e3")),
    ] {
        assert!(ReceiptDetails::from_leaves(&leaves).is_err(), "{why}");
    }
    assert!(ReceiptDetails::from_leaves(&[vec![0x80]]).is_err());
}

/// What the quick reader takes and only writing it again shows to be crooked.
#[test]
fn crooked_stored_forms_are_refused() {
    let good = sample().encode(&SECRET);
    let quantity = good.windows(6).position(|bytes| bytes == b"\x650.482").unwrap();
    let mut long_head = good.clone();
    long_head.splice(quantity..=quantity, [0x78, 5]);
    let mut negative_zero = good.clone();
    negative_zero.splice(quantity..quantity + 6, *b"\x62-0");
    let trailing = [&good[..], &[0]].concat();
    for bytes in [
        long_head,
        negative_zero,
        trailing,
        good[..good.len() - 1].to_vec(),
    ] {
        assert!(ReceiptDetails::decode(&bytes).is_err());
        assert!(ReceiptDetails::decode_with_root(&bytes).is_err());
    }
    assert!(ReceiptDetails::decode(&good).is_ok());
}

/// By the gate, by the quick way beside it, and leaf by leaf.
#[test]
fn details_reach_to_their_limits_and_no_further() {
    type Change = fn(&mut ReceiptDetails, usize);
    let sizes: [(&str, usize, Change); 8] = [
        (
            "a description",
            limits::DESCRIPTION_BYTES_MAX,
            |details, bytes| {
                details.lines[0].description = "x".repeat(bytes);
            },
        ),
        ("a unit", limits::UNIT_BYTES_MAX, |details, bytes| {
            details.lines[0].unit = Some("x".repeat(bytes));
        }),
        ("a kind", limits::TENDER_KIND_CHARS_MAX, |details, bytes| {
            details.tenders[0].kind = "x".repeat(bytes);
        }),
        ("a cashier", limits::REFERENCE_BYTES_MAX, |details, bytes| {
            details.cashier = Some("x".repeat(bytes));
        }),
        ("a member", limits::REFERENCE_BYTES_MAX, |details, bytes| {
            details.member = Some("x".repeat(bytes));
        }),
        ("a reference", limits::REFERENCE_BYTES_MAX, |details, bytes| {
            details.till_reference = Some("x".repeat(bytes));
        }),
        (
            "what it refers to",
            limits::REFERENCE_BYTES_MAX,
            |details, bytes| {
                details.refers_to = Some("x".repeat(bytes));
            },
        ),
        ("lines", limits::RECEIPT_LINES_MAX, |details, count| {
            details.lines = vec![details.lines[1].clone(); count];
        }),
    ];
    for (what, most, change) in sizes {
        let with = |size| {
            let mut details = sample();
            change(&mut details, size);
            details
        };
        assert_readable(&with(1), true, what);
        assert_readable(&with(most), true, what);
        assert_readable(&with(most + 1), false, what);
    }
    for count in [100, 101] {
        let mut details = sample();
        details.tenders = vec![details.tenders[0].clone(); count];
        assert_readable(&details, count == 100, "tenders");
        let mut details = sample();
        details.taxes = vec![details.taxes[0].clone(); count];
        assert_readable(&details, count == 100, "taxes");
    }
}

/// All that a receipt may have, each as long as it may be, lies within the caps
/// on bytes: these bound the work of reading, and refuse no receipt.
#[test]
fn the_largest_details_are_read() {
    let most = |places| Decimal {
        units: -(10_i64.pow(u32::try_from(limits::DECIMAL_DIGITS_MAX).unwrap()) - 1),
        places,
    };
    let text = "x".repeat(limits::REFERENCE_BYTES_MAX);
    let line = Line {
        description: "x".repeat(limits::DESCRIPTION_BYTES_MAX),
        quantity: most(limits::QUANTITY_PLACES_MAX),
        unit: Some("x".repeat(limits::UNIT_BYTES_MAX)),
        unit_price: Some(most(limits::UNIT_PRICE_PLACES_MAX)),
        total: amount(-limits::AMOUNT_MAX),
        tax_rate: Some(most(limits::RATE_PLACES_MAX)),
    };
    let tender = Tender {
        kind: "x".repeat(limits::TENDER_KIND_CHARS_MAX),
        amount: amount(-limits::AMOUNT_MAX),
    };
    let tax = Tax {
        rate: line.tax_rate,
        net: amount(-limits::AMOUNT_MAX),
        tax: amount(-limits::AMOUNT_MAX),
    };
    let details = ReceiptDetails {
        lines: vec![line; limits::RECEIPT_LINES_MAX],
        tenders: vec![tender; limits::RECEIPT_TENDERS_MAX],
        taxes: vec![tax; limits::RECEIPT_TENDERS_MAX],
        cashier: Some(text.clone()),
        member: Some(text.clone()),
        till_reference: Some(text.clone()),
        refers_to: Some(text),
    };
    assert_readable(&details, true, "the largest details");
    assert!(details.encode(&SECRET).len() < limits::DETAILS_BYTES_MAX);
    assert!(
        details
            .leaves(&SECRET)
            .iter()
            .all(|leaf| leaf.len() < limits::LEAF_BYTES_MAX)
    );
}

#[test]
fn decimals_have_so_many_places_and_no_more() {
    type Change = fn(&mut ReceiptDetails, u8);
    let cases: [(u8, Change); 4] = [
        (6, |details, places| details.lines[0].quantity.places = places),
        (6, |details, places| {
            details.lines[0].unit_price.as_mut().unwrap().places = places;
        }),
        (2, |details, places| {
            details.lines[0].tax_rate.as_mut().unwrap().places = places;
        }),
        (2, |details, places| {
            details.taxes[0].rate = Some(Decimal { units: 1, places });
        }),
    ];
    for (most, change) in cases {
        for places in [most, most + 1] {
            let mut details = sample();
            change(&mut details, places);
            assert_readable(&details, places == most, "places");
        }
    }
}

#[test]
fn nothing_is_there_that_is_empty() {
    assert_readable(&ReceiptDetails::default(), false, "no leaf at all");
    let empty = |change: fn(&mut ReceiptDetails)| {
        let mut details = sample();
        change(&mut details);
        details
    };
    for details in [
        empty(|details| details.lines[0].description.clear()),
        empty(|details| details.lines[0].unit = Some(String::new())),
        empty(|details| details.tenders[0].kind.clear()),
        empty(|details| details.cashier = Some(String::new())),
    ] {
        assert_readable(&details, false, "an empty text");
    }
}

#[track_caller]
fn assert_readable(details: &ReceiptDetails, readable: bool, what: &str) {
    let bytes = details.encode(&SECRET);
    assert_eq!(stored::read(&bytes).is_some(), readable, "{what}");
    assert_eq!(ReceiptDetails::decode_slowly(&bytes).is_ok(), readable, "{what}");
    let leaves = details.leaves(&SECRET);
    assert_eq!(ReceiptDetails::from_leaves(&leaves).is_ok(), readable, "{what}");
    let changed = ReceiptDetails::decode_with_root(&bytes).map(|(details, ..)| details);
    assert_eq!(changed.ok().as_ref(), readable.then_some(details), "{what}");
}

#[test]
fn tender_kinds() {
    for kind in ["cash", "gift_card", "a", "b2b", "store_credit_2"] {
        assert!(is_tender_kind(kind), "{kind}");
    }
    let long = "a".repeat(33);
    for kind in [
        "",
        "Cash",
        "gift card",
        "_x",
        "x_",
        "a__b",
        "2x",
        "käse",
        long.as_str(),
    ] {
        assert!(!is_tender_kind(kind), "{kind}");
    }
}

fn any_details() -> impl Strategy<Value = ReceiptDetails> {
    let amounts = -1_000_000_i64..1_000_000;
    let decimals = (-100_000_i64..100_000, 0..=2_u8).prop_map(|(units, places)| Decimal { units, places });
    let positive = (1..100_000_i64, 0..=6_u8).prop_map(|(units, places)| Decimal { units, places });
    let line = (
        "\\PC{1,40}",
        positive.clone(),
        proptest::option::of("[a-z]{1,4}"),
        proptest::option::of(positive),
        amounts.clone(),
        proptest::option::of(decimals.clone()),
    )
        .prop_map(
            |(description, quantity, unit, unit_price, total, tax_rate)| Line {
                description,
                quantity,
                unit,
                unit_price,
                total: amount(total),
                tax_rate,
            },
        );
    let tender = ("[a-z]{1,8}(_[a-z]{1,8})?", amounts.clone()).prop_map(|(kind, paid)| Tender {
        kind,
        amount: amount(paid),
    });
    let tax = (proptest::option::of(decimals), amounts.clone(), amounts).prop_map(|(rate, net, tax)| Tax {
        rate,
        net: amount(net),
        tax: amount(tax),
    });
    let single = || proptest::option::of("\\PC{1,20}");
    (
        proptest::collection::vec(line, 0..12),
        proptest::collection::vec(tender, 0..3),
        proptest::collection::vec(tax, 0..3),
        single(),
        single(),
        "[!-~]{1,20}",
        single(),
    )
        .prop_map(
            |(lines, tenders, taxes, cashier, member, till_reference, refers_to)| ReceiptDetails {
                lines,
                tenders,
                taxes,
                cashier,
                member,
                till_reference: Some(till_reference),
                refers_to,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn leaves_and_stored_form_come_back(details in any_details(), secret: [u8; 32]) {
        prop_assert_eq!(&ReceiptDetails::from_leaves(&details.leaves(&secret)).unwrap(), &details);
        let stored = details.encode(&secret);
        let root = details.root(&secret);
        prop_assert_eq!(details.encode_with_root(&secret), (stored.clone(), root));
        prop_assert_eq!(stored::read(&stored).unwrap(), (details.clone(), secret));
        prop_assert_eq!(ReceiptDetails::decode_with_root(&stored).unwrap(), (details.clone(), secret, root));
        prop_assert_eq!(ReceiptDetails::decode(&stored).unwrap(), (details, secret));
    }

    /// The quick way accepts nothing that the gate would not, and reads it as
    /// the gate does.
    #[test]
    fn changed_bytes_are_judged_as_the_gate_judges_them(
        details in any_details(),
        secret: [u8; 32],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = details.encode(&secret);
        for (place, byte, how) in changes {
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes[place] ^= 1 << (byte % 8),
                2 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        let slow = ReceiptDetails::decode_slowly(&bytes);
        prop_assert_eq!(&ReceiptDetails::decode(&bytes), &slow);
        let with_root = slow.map(|(details, secret)| {
            let root = details.root(&secret);
            (details, secret, root)
        });
        prop_assert_eq!(ReceiptDetails::decode_with_root(&bytes), with_root);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = ReceiptDetails::decode(&bytes);
        let _ = ReceiptDetails::from_leaves(&[bytes]);
    }
}
