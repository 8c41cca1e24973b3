//! The published schemas describe what the code emits, and nothing wrong.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_cbor::Value;
use tallystick::credential::details::{Line, ReceiptDetails, Tax, Tender};
use tallystick::credential::status_list::{Status, StatusList, Statuses};
use tallystick::credential::{
    Algorithm, Benefit, Campaign, Content, Coupon, Membership, ReceiptKind, ReceiptStub, SecretKey,
    StatusRef, Terms, cose,
};
use tallystick::encoding::cbor;
use tallystick::primitives::{Amount, CampaignId, Currency, Decimal, Digest, Register, UnixSeconds};

fn schema(name: &str) -> String {
    let path = format!("{}/schemas/{name}.cddl", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn validates(schema: &str, bytes: &[u8]) -> Result<(), String> {
    cddl::validate_cbor_from_slice(schema, bytes, None).map_err(|error| error.to_string())
}

/// `name` accepts `good` and refuses each of `bad`.
fn check(name: &str, good: &[Vec<u8>], bad: &[(&str, Vec<u8>)]) {
    let schema = schema(name);
    for (at, bytes) in good.iter().enumerate() {
        if let Err(error) = validates(&schema, bytes) {
            panic!("{name} refuses example {at}: {error}");
        }
    }
    for (why, bytes) in bad {
        assert!(validates(&schema, bytes).is_err(), "{name} accepts {why}");
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

fn euro() -> Currency {
    Currency::from_letters("EUR").unwrap()
}

fn status() -> StatusRef {
    StatusRef {
        uri: "https://coop.example/s/0".to_owned(),
        index: 4_711,
    }
}

fn sign(payload: &Value, typ: &str) -> Vec<u8> {
    let key = key();
    cose::sign1(
        &key,
        Algorithm::EdDsa,
        typ,
        key.public().kid(),
        &cbor::encode(payload),
        &[],
    )
}

/// Signs `content`'s claims after `change`.
fn changed(content: &impl Content, change: impl FnOnce(&mut BTreeMap<Value, Value>)) -> Vec<u8> {
    let Value::Map(mut map) = content.to_value() else {
        panic!("claims are a map")
    };
    change(&mut map);
    sign(&Value::Map(map), cose::TYP_CREDENTIAL)
}

/// Signs `content`'s claims with one item of the private claim replaced.
fn with_item(content: &impl Content, place: usize, value: Value) -> Vec<u8> {
    changed(content, |map| {
        let Some(Value::Array(items)) = map.get_mut(&cbor::int(-65_537)) else {
            panic!("content")
        };
        items[place] = value;
    })
}

fn both(content: &impl Content) -> [Vec<u8>; 2] {
    [Algorithm::EdDsa, Algorithm::Ed25519].map(|alg| content.sign(&key(), alg))
}

/// What every kind refuses.
fn crooked(content: &impl Content) -> Vec<(&'static str, Vec<u8>)> {
    let good = content.sign(&key(), Algorithm::EdDsa);
    let Value::Tag(18, inner) = cbor::decode(&good, 4_096).unwrap() else {
        panic!("tag 18")
    };
    let Value::Array(items) = *inner else {
        panic!("an array")
    };
    let envelope = |place: usize, value: Value| {
        let mut items = items.clone();
        items[place] = value;
        cbor::encode(&Value::Tag(18, Box::new(Value::Array(items))))
    };
    vec![
        (
            "an extra claim",
            changed(content, |map| drop(map.insert(cbor::int(1), cbor::text("x")))),
        ),
        (
            "no content",
            changed(content, |map| drop(map.remove(&cbor::int(-65_537)))),
        ),
        ("another kind", with_item(content, 0, cbor::int(9))),
        ("another type", sign(&content.to_value(), "application/cwt")),
        (
            "an unprotected header",
            envelope(1, cbor::map([(cbor::int(4), cbor::bytes([0; 8]))])),
        ),
        ("a short signature", envelope(3, cbor::bytes([0; 63]))),
        ("no tag", cbor::encode(&Value::Array(items.clone()))),
    ]
}

#[test]
fn coupons() {
    let plain = Coupon {
        campaign: CampaignId([7; 16]),
        amount: None,
        not_before: None,
        not_after: UnixSeconds(1_798_761_600),
        status: status(),
        holder: None,
    };
    let full = Coupon {
        amount: Some(amount(500)),
        not_before: Some(UnixSeconds(1_772_896_869)),
        holder: Some(*key().public()),
        ..plain.clone()
    };
    let mut bad = crooked(&plain);
    bad.push(("a short campaign", with_item(&plain, 1, cbor::bytes([0; 15]))));
    bad.push(("a negative amount", with_item(&full, 2, cbor::int(-1))));
    bad.push((
        "no status",
        changed(&plain, |map| drop(map.remove(&cbor::int(65_535)))),
    ));
    check("coupon", &[both(&plain), both(&full)].concat(), &bad);
}

#[test]
fn receipt_stubs() {
    let stub = ReceiptStub {
        issued_at: UnixSeconds(1_772_896_869),
        total: amount(-144),
        currency: euro(),
        register: Register::new("shop1-lane3").unwrap(),
        sequence_number: 812,
        kind: ReceiptKind::Refund,
        details_root: Digest([3; 32]),
    };
    let mut bad = crooked(&stub);
    bad.push(("type 12", with_item(&stub, 5, cbor::int(12))));
    bad.push(("a long register", with_item(&stub, 3, cbor::text("x".repeat(20)))));
    bad.push(("a short root", with_item(&stub, 6, cbor::bytes([3; 31]))));
    check("receipt-stub", &both(&stub), &bad);
}

#[test]
fn memberships() {
    let membership = Membership {
        class: "consumer".to_owned(),
        member_since_days: 20_000,
        details_root: Digest([3; 32]),
        not_before: UnixSeconds(1_772_896_869),
        not_after: UnixSeconds(1_798_761_600),
        holder: *key().public(),
        status: status(),
    };
    let mut bad = crooked(&membership);
    bad.push((
        "no holder",
        changed(&membership, |map| drop(map.remove(&cbor::int(8)))),
    ));
    bad.push(("an empty class", with_item(&membership, 1, cbor::text(""))));
    check("membership", &both(&membership), &bad);
}

#[test]
fn campaigns() {
    let campaign = |benefit| Campaign {
        issued_at: UnixSeconds(1_772_896_869),
        not_before: UnixSeconds(1_772_896_869),
        not_after: UnixSeconds(1_798_761_600),
        terms: Terms::new("Apple week", "", euro(), benefit),
    };
    let cap = Some(amount(1_000));
    let mut full = campaign(Benefit::PercentOff {
        basis_points: 1_000,
        cap,
    });
    full.terms.minimum_basket = Some(amount(2_000));
    full.terms.uses_per_coupon = Some(3);
    full.terms.budget = Some(amount(100_000));
    full.terms.redeemers = Some(vec!["did:web:coop.example".to_owned()]);
    full.terms.reversal_window_seconds = Some(86_400);
    full.terms.other.insert(10, Value::Bool(true));
    full.terms.other.insert(40, cbor::text("later"));
    let good = [
        both(&full),
        both(&campaign(Benefit::PercentOff {
            basis_points: 1,
            cap: None,
        })),
        both(&campaign(Benefit::AmountOff { amount: amount(1) })),
        both(&campaign(Benefit::StoredValue { value: amount(1) })),
    ]
    .concat();
    let term = |number: u64, value: Value| {
        let mut campaign = full.clone();
        campaign.terms.other.insert(number, value);
        campaign.sign(&key(), Algorithm::EdDsa)
    };
    let mut bad = crooked(&full);
    bad.push((
        "an unknown benefit",
        term(4, Value::Array(vec![cbor::int(4), cbor::int(1)])),
    ));
    bad.push((
        "more than all off",
        term(
            4,
            Value::Array(vec![cbor::int(2), cbor::int(10_001), Value::Null]),
        ),
    ));
    bad.push(("an empty name", term(1, cbor::text(""))));
    bad.push(("no use", term(6, cbor::int(0))));
    bad.push(("nobody who redeems", term(9, Value::Array(vec![]))));
    check("campaign", &good, &bad);
}

#[test]
fn status_list_tokens() {
    let mut statuses = Statuses::new();
    assert!(statuses.set(77, Status::Revoked));
    let list = StatusList {
        uri: "https://coop.example/s/0".to_owned(),
        issued_at: UnixSeconds(1_772_896_869),
        expires: UnixSeconds(1_772_983_269),
        ttl: 60,
        statuses,
    };
    let token = |bits: i32, typ| {
        let list = cbor::map([
            (cbor::text("bits"), cbor::int(bits)),
            (cbor::text("lst"), cbor::bytes([1])),
        ]);
        let claims = [
            (2, cbor::text("x")),
            (4, cbor::int(1)),
            (6, cbor::int(1)),
            (65_533, list),
            (65_534, cbor::int(1)),
        ];
        sign(
            &cbor::map(claims.map(|(key, value)| (cbor::int(key), value))),
            typ,
        )
    };
    let good = [
        list.sign(&key(), Algorithm::EdDsa),
        token(2, cose::TYP_STATUS_LIST),
    ];
    let bad = [
        ("one bit", token(1, cose::TYP_STATUS_LIST)),
        ("a credential's type", token(2, cose::TYP_CREDENTIAL)),
        ("an empty map", sign(&cbor::map([]), cose::TYP_STATUS_LIST)),
    ];
    check("status-list-token", &good, &bad);
}

#[test]
fn receipt_details() {
    let decimal = |text: &str| Decimal::parse(text, 6).unwrap();
    let line = Line {
        description: "Äpfel Topaz".to_owned(),
        quantity: decimal("0.482"),
        unit: Some("kg".to_owned()),
        unit_price: Some(decimal("2.99")),
        total: amount(144),
        tax_rate: Some(decimal("7.00")),
    };
    let bare = Line {
        unit: None,
        unit_price: None,
        tax_rate: None,
        total: amount(-25),
        ..line.clone()
    };
    let details = ReceiptDetails {
        lines: vec![line, bare],
        tenders: vec![Tender {
            kind: "gift_card".to_owned(),
            amount: amount(119),
        }],
        taxes: vec![
            Tax {
                rate: Some(decimal("7.00")),
                net: amount(135),
                tax: amount(9),
            },
            Tax {
                rate: None,
                net: amount(0),
                tax: amount(0),
            },
        ],
        cashier: Some("Ada".to_owned()),
        member: Some("4711".to_owned()),
        till_reference: Some("2026-03-07/000812".to_owned()),
        refers_to: Some("x".repeat(43)),
    };
    let leaf = |label: i32, value: Vec<Value>| {
        cbor::encode(&Value::Array(vec![
            cbor::bytes([0; 16]),
            cbor::int(label),
            Value::Array(value),
        ]))
    };
    let bad = [
        ("an unknown label", leaf(8, vec![cbor::text("x")])),
        (
            "a line's value under another label",
            leaf(4, vec![cbor::text("x"), cbor::int(1)]),
        ),
        (
            "a tender in capitals",
            leaf(2, vec![cbor::text("CASH"), cbor::int(1)]),
        ),
        // The validator does not anchor regular expressions, as CDDL does, so
        // these have nothing that fits anywhere.
        (
            "a decimal in words",
            leaf(3, vec![cbor::text("seven"), cbor::int(1), cbor::int(1)]),
        ),
        (
            "a float's amount",
            leaf(2, vec![cbor::text("cash"), Value::Float(1.5)]),
        ),
        (
            "no salt",
            cbor::encode(&Value::Array(vec![
                cbor::int(4),
                Value::Array(vec![cbor::text("x")]),
            ])),
        ),
    ];
    check("receipt-details", &details.leaves(&[5; 32]), &bad);
    let short = Value::Array(vec![cbor::bytes([5; 31]), Value::Array(vec![])]);
    check(
        "receipt-details-stored",
        &[details.encode(&[5; 32])],
        &[("a short secret", cbor::encode(&short))],
    );
}
