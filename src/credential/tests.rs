//! What holds for credentials of every kind: they come back, keep their
//! promised sizes, and nothing but their one form is read.

use proptest::prelude::*;
use serde_cbor::Value;

use crate::encoding::cbor;
use crate::primitives::{Amount, KeyId, UnixSeconds, limits};

use super::fixtures::{campaign, coupon, key, membership, stub};
use super::*;

const ALG: Algorithm = Algorithm::EdDsa;

#[test]
fn every_kind_comes_back() {
    let key = key();
    for alg in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let signed = Signed::<Coupon>::parse(&coupon().sign(&key, alg)).unwrap();
        assert_eq!(
            (signed.content(), signed.alg(), signed.kid()),
            (&coupon(), alg, key.public().kid())
        );
        assert_eq!(signed.verify(key.public()), Ok(()));
        let other = SecretKey::from_seed(&[9; 32]);
        assert_eq!(signed.verify(other.public()), Err(CredentialError::BadSignature));
        assert_eq!(
            Signed::<ReceiptStub>::parse(&stub().sign(&key, alg))
                .unwrap()
                .content(),
            &stub()
        );
        assert_eq!(
            Signed::<Membership>::parse(&membership().sign(&key, alg))
                .unwrap()
                .content(),
            &membership()
        );
        assert_eq!(
            Signed::<Campaign>::parse(&campaign().sign(&key, alg))
                .unwrap()
                .content(),
            &campaign()
        );
    }
    let stranger = SecretKey::from_seed(&[9; 32]);
    for (bytes, name) in [
        (coupon().sign(&key, ALG), "coupon"),
        (stub().sign(&key, ALG), "receipt"),
        (membership().sign(&key, ALG), "membership"),
        (campaign().sign(&key, ALG), "campaign"),
    ] {
        let credential = Credential::parse(&bytes).unwrap();
        assert_eq!(credential.kind_name(), name);
        assert_eq!(credential.bytes(), bytes);
        assert_eq!(credential.verify(key.public()), Ok(()));
        assert_eq!(
            credential.verify(stranger.public()),
            Err(CredentialError::BadSignature)
        );
    }
}

#[test]
fn the_wrong_kind_is_said() {
    let key = key();
    let wrong = |bytes: &[u8]| Signed::<Coupon>::parse(bytes).unwrap_err().to_string();
    for (bytes, said) in [
        (
            stub().sign(&key, ALG),
            "this is a receipt, but a coupon is needed",
        ),
        (
            membership().sign(&key, ALG),
            "this is a membership, but a coupon is needed",
        ),
        (
            campaign().sign(&key, ALG),
            "this is a campaign, but a coupon is needed",
        ),
    ] {
        assert_eq!(wrong(&bytes), said);
    }
    let coupon = Signed::<ReceiptStub>::parse(&coupon().sign(&key, ALG)).unwrap_err();
    assert_eq!(coupon.to_string(), "this is a coupon, but a receipt is needed");
}

#[test]
fn what_would_not_come_back_fails_the_check() {
    assert_eq!(coupon().check(), Ok(()));
    assert_eq!(campaign().check(), Ok(()));
    assert!(
        Coupon {
            amount: Some(Amount::ZERO),
            ..coupon()
        }
        .check()
        .is_err()
    );
    assert!(
        Coupon {
            not_after: UnixSeconds(u64::MAX),
            ..coupon()
        }
        .check()
        .is_err()
    );
    assert!(
        Membership {
            class: String::new(),
            ..membership()
        }
        .check()
        .is_err()
    );
}

/// By the gate, and by the quick ways beside it.
#[track_caller]
fn assert_refused(bytes: &[u8], why: &str) {
    assert!(Credential::parse(bytes).is_err(), "{why}");
    assert!(Coupon::parse_unverified(bytes).is_err(), "{why}");
    assert!(StubToVerify::parse(bytes).is_err(), "{why}");
}

#[test]
fn times_and_days_reach_to_the_end_of_9999() {
    let coupon = |seconds| Coupon {
        not_after: UnixSeconds(seconds),
        ..coupon()
    };
    let member = |days| Membership {
        member_since_days: days,
        ..membership()
    };
    assert_eq!(coupon(limits::UNIX_SECONDS_MAX).check(), Ok(()));
    assert!(coupon(limits::UNIX_SECONDS_MAX + 1).check().is_err());
    assert_eq!(member(limits::DAY_NUMBER_MAX).check(), Ok(()));
    assert!(member(limits::DAY_NUMBER_MAX + 1).check().is_err());
}

/// A coupon byte by byte, written down by hand from formats, sections 2 and 3:
/// the format cannot drift unseen.
#[test]
fn known_coupon() {
    let mut parts = vec![
        "d284".to_owned(),                                                  // tag 18, four items
        "5823".to_owned() + "a3" + "0127",                                  // alg: EdDSA
        "0448".to_owned() + "KID",                                          // kid
        "1074".to_owned() + &to_hex(b"application/coop+cwt"),               // typ
        "a0".to_owned(),                                                    // nothing unprotected
        "585f".to_owned() + "a3",                                           // three claims
        "041a6b36ec80".to_owned(),                                          // exp
        "19ffff".to_owned() + "a1" + "6b" + &to_hex(b"status_list") + "a2", // status
        "63".to_owned() + &to_hex(b"idx") + "1a0001ffff",                   // the last index
        "63".to_owned() + &to_hex(b"uri") + "7820" + &to_hex(b"https://shop.coop-example.eu/s/7"),
        "3a00010000".to_owned() + "8201" + "50" + &"ca".repeat(16), // -65537: [1, campaign]
        "5840".to_owned(),                                          // 64 bytes of signature
    ];
    parts[2] = parts[2].replace("KID", &key().public().kid().to_string());
    let expected = parts.concat();
    let bytes = coupon().sign(&key(), ALG);
    assert_eq!(to_hex(&bytes[..bytes.len() - 64]), expected);
}

fn to_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Formats, section 3: at a host of 20 characters.
#[test]
fn the_promised_sizes() {
    let key = key();
    let plain = coupon();
    let with_amount = Coupon {
        not_before: Some(UnixSeconds(1_772_900_000)),
        amount: Some(Amount::new(1_000_000).unwrap()),
        ..coupon()
    };
    let bound = Coupon {
        holder: Some(membership().holder),
        ..with_amount.clone()
    };
    for (what, bytes, len_max) in [
        ("coupon", plain.sign(&key, ALG), 205),
        ("coupon with nbf and amount", with_amount.sign(&key, ALG), 220),
        ("bound coupon", bound.sign(&key, ALG), 265),
        ("receipt stub", stub().sign(&key, ALG), 190),
        ("membership", membership().sign(&key, ALG), 300),
    ] {
        println!("{what}: {} bytes of {len_max}", bytes.len());
        assert!(
            bytes.len() <= len_max,
            "{what}: {} bytes, {len_max} promised",
            bytes.len()
        );
    }
    let origin = crate::primitives::Origin::parse("https://shop.coop-example.eu").unwrap();
    let versions = |coupon: &Coupon| {
        let bytes = coupon.sign(&key, ALG);
        (
            qr_code::link(&origin, &bytes).unwrap().version(),
            qr_code::bare(&bytes).unwrap().version(),
        )
    };
    assert_eq!(versions(&plain), (11, 10));
    assert_eq!(versions(&with_amount).0, 11);
    assert!(versions(&bound).0 <= 13);
}

#[test]
fn names_depend_on_kind_and_signature() {
    use sha2::{Digest as _, Sha256};
    let key = key();
    let bytes = coupon().sign(&key, ALG);
    let tag = Signed::<Coupon>::parse(&bytes).unwrap().tag();
    let expected: [u8; 32] = Sha256::digest([b"tallystick/coupon-tag/v1", &bytes[..]].concat()).into();
    assert_eq!(tag.0, expected);
    assert_ne!(coupon_tag(&bytes), receipt_tag(&bytes));

    let receipt = Signed::<ReceiptStub>::parse(&stub().sign(&key, ALG)).unwrap();
    let proof: [u8; 32] = Sha256::digest(receipt.sign1().signature()).into();
    assert_eq!(receipt.receipt_proof().0, proof);
    assert_eq!(receipt.tag(), receipt_tag(receipt.bytes()));

    let signed = Signed::<Campaign>::parse(&campaign().sign(&key, ALG)).unwrap();
    let hash: [u8; 32] = Sha256::digest(signed.sign1().sig_structure(&[])).into();
    assert_eq!(signed.id().0, hash[..16]);
    let mut later = campaign();
    later.issued_at = later.issued_at.plus(1);
    assert_ne!(
        Signed::<Campaign>::parse(&later.sign(&key, ALG)).unwrap().id(),
        signed.id()
    );
}

/// A coupon's claims, changed by `change`, signed as they are.
fn changed(change: impl FnOnce(&mut std::collections::BTreeMap<Value, Value>)) -> Vec<u8> {
    let Value::Map(mut map) = coupon().to_value() else {
        panic!("claims are a map")
    };
    change(&mut map);
    wrap(&cbor::encode(&Value::Map(map)))
}

fn wrap(payload: &[u8]) -> Vec<u8> {
    let key = key();
    cose::sign1(&key, ALG, cose::TYP_CREDENTIAL, key.public().kid(), payload, &[])
}

fn content(items: Vec<Value>) -> Vec<u8> {
    changed(|map| {
        map.insert(cbor::int(-65_537), Value::Array(items));
    })
}

#[test]
fn crooked_claims_are_refused() {
    let set = |key: i64, value: Value| {
        changed(|map| {
            map.insert(cbor::int(key), value);
        })
    };
    let status =
        |pairs: Vec<(Value, Value)>| set(65_535, cbor::map([(cbor::text("status_list"), cbor::map(pairs))]));
    let index = |index: i64| (cbor::text("idx"), cbor::int(index));
    let uri = || (cbor::text("uri"), cbor::text("https://coop.example/s/0"));
    let campaign_id = || cbor::bytes([0; 16]);
    let cnf = |x: [u8; 32], extra: bool| {
        let mut pairs = vec![
            (cbor::int(1), cbor::int(1)),
            (cbor::int(-1), cbor::int(6)),
            (cbor::int(-2), cbor::bytes(x)),
        ];
        pairs.extend(extra.then(|| (cbor::int(2), cbor::bytes([1]))));
        set(8, cbor::map([(cbor::int(1), cbor::map(pairs))]))
    };
    let good = *key().public().as_bytes();
    assert!(Credential::parse(&changed(|_| {})).is_ok());
    assert!(Credential::parse(&status(vec![index(131_071), uri()])).is_ok());
    assert!(Credential::parse(&cnf(good, false)).is_ok());
    for (why, bytes) in [
        ("an extra claim", set(1, cbor::text("issuer"))),
        ("a claim of another kind", set(6, cbor::int(1))),
        (
            "a text key",
            changed(|map| drop(map.insert(cbor::text("exp"), cbor::int(1)))),
        ),
        ("no expiry", changed(|map| drop(map.remove(&cbor::int(4))))),
        ("no status", changed(|map| drop(map.remove(&cbor::int(65_535))))),
        ("no content", changed(|map| drop(map.remove(&cbor::int(-65_537))))),
        ("a negative expiry", set(4, cbor::int(-1))),
        ("an expiry as text", set(4, cbor::text("2030"))),
        (
            "an expiry after the year 9999",
            set(4, cbor::int(limits::UNIX_SECONDS_MAX + 1)),
        ),
        ("an index out of bounds", status(vec![index(131_072), uri()])),
        ("a negative index", status(vec![index(-1), uri()])),
        ("a status without uri", status(vec![index(1)])),
        (
            "a status with more",
            status(vec![index(1), uri(), (cbor::text("x"), cbor::int(1))]),
        ),
        ("a bare status", set(65_535, cbor::int(1))),
        ("a holder's key of small order", cnf([0; 32], false)),
        ("a holder's key with a kid", cnf(good, true)),
        ("an unknown kind", content(vec![cbor::int(5), campaign_id()])),
        ("kind nought", content(vec![cbor::int(0), campaign_id()])),
        ("no kind", content(vec![])),
        (
            "a short campaign",
            content(vec![cbor::int(1), cbor::bytes([0; 15])]),
        ),
        (
            "an amount of nothing",
            content(vec![cbor::int(1), campaign_id(), cbor::int(0)]),
        ),
        (
            "a negative amount",
            content(vec![cbor::int(1), campaign_id(), cbor::int(-5)]),
        ),
        (
            "an amount beyond 2^53",
            content(vec![
                cbor::int(1),
                campaign_id(),
                cbor::int(limits::AMOUNT_MAX + 1),
            ]),
        ),
        (
            "a null amount",
            content(vec![cbor::int(1), campaign_id(), Value::Null]),
        ),
        (
            "one item too many",
            content(vec![cbor::int(1), campaign_id(), cbor::int(1), cbor::int(1)]),
        ),
        (
            "content as a map",
            set(-65_537, cbor::map([(cbor::int(0), cbor::int(1))])),
        ),
        ("claims as an array", wrap(&cbor::encode(&Value::Array(vec![])))),
        ("a payload that is no CBOR", wrap(&[0xff])),
        ("an empty payload", wrap(&[])),
        (
            "a CWT tag",
            wrap(&[&[0xd8, 61][..], &cbor::encode(&coupon().to_value())].concat()),
        ),
    ] {
        assert_refused(&bytes, why);
    }
}

/// Replaces the one occurrence of `from` in the payload.
fn patched_payload(from: &[u8], to: &[u8]) -> Vec<u8> {
    let payload = cbor::encode(&coupon().to_value());
    let at = payload
        .windows(from.len())
        .position(|window| window == from)
        .expect("it is there");
    wrap(&[&payload[..at], to, &payload[at + from.len()..]].concat())
}

#[test]
fn a_payload_that_is_not_deterministic_is_refused() {
    let exp = [0x04, 0x1a, 0x6b, 0x36, 0xec, 0x80];
    assert!(Credential::parse(&patched_payload(&exp, &exp)).is_ok());
    let payload = cbor::encode(&coupon().to_value());
    for (why, bytes) in [
        (
            "a long key",
            patched_payload(&exp, &[0x18, 0x04, 0x1a, 0x6b, 0x36, 0xec, 0x80]),
        ),
        (
            "a long integer",
            patched_payload(&exp, &[0x04, 0x1b, 0, 0, 0, 0, 0x6b, 0x36, 0xec, 0x80]),
        ),
        (
            "a float",
            patched_payload(&exp, &[0x04, 0xfa, 0x4e, 0xd6, 0x6d, 0xd9]),
        ),
        (
            "a duplicate key",
            patched_payload(&[&[0xa3][..], &exp].concat(), &[&[0xa4][..], &exp, &exp].concat()),
        ),
        (
            "an indefinite map",
            wrap(&[&[0xbf][..], &payload[1..], &[0xff]].concat()),
        ),
        ("trailing bytes", wrap(&[&payload[..], &[0x00]].concat())),
        ("unsorted keys", {
            let rest = &payload[1 + exp.len()..];
            wrap(&[&[0xa3][..], rest, &exp].concat())
        }),
    ] {
        assert_refused(&bytes, why);
    }
}

/// A COSE_Sign1 around a coupon's payload, put together by hand.
fn cose_of(tag: u64, items: Vec<Value>) -> Vec<u8> {
    cbor::encode(&Value::Tag(tag, Box::new(Value::Array(items))))
}

#[test]
fn crooked_envelopes_are_refused() {
    let payload = cbor::bytes(cbor::encode(&coupon().to_value()));
    let none = || cbor::map([]);
    let signature = || cbor::bytes([0; 64]);
    let header = |pairs: Vec<(i64, Value)>| {
        cbor::bytes(cbor::encode(&cbor::map(
            pairs.into_iter().map(|(label, value)| (cbor::int(label), value)),
        )))
    };
    let base = || {
        vec![
            (1, cbor::int(-8)),
            (4, cbor::bytes([0; 8])),
            (16, cbor::text(cose::TYP_CREDENTIAL)),
        ]
    };
    let with = |label: i64, value: Value| {
        let mut pairs = base();
        pairs.retain(|(known, _)| *known != label);
        pairs.push((label, value));
        cose_of(18, vec![header(pairs), none(), payload.clone(), signature()])
    };
    let good = || vec![header(base()), none(), payload.clone(), signature()];
    let at = |place: usize, value: Value| {
        let mut items = good();
        items[place] = value;
        cose_of(18, items)
    };
    assert!(
        Credential::parse(&cose_of(18, good())).is_ok(),
        "the base of what follows"
    );
    let unprotected = cbor::map([(cbor::int(4), cbor::bytes([0; 8]))]);
    let bytes = cose_of(18, good());
    for (why, bytes) in [
        ("no tag", cbor::encode(&Value::Array(good()))),
        ("the tag of COSE_Sign", cose_of(98, good())),
        (
            "two tags",
            cbor::encode(&Value::Tag(
                18,
                Box::new(Value::Tag(18, Box::new(Value::Array(good())))),
            )),
        ),
        ("three items", cose_of(18, good()[..3].to_vec())),
        ("five items", cose_of(18, [good(), vec![Value::Null]].concat())),
        ("an unprotected header", at(1, unprotected)),
        (
            "an unprotected header that is no map",
            at(1, Value::Array(vec![])),
        ),
        ("a protected map not wrapped", at(0, none())),
        ("an empty protected header", at(0, cbor::bytes([]))),
        ("a detached payload", at(2, Value::Null)),
        ("a payload not wrapped", at(2, coupon().to_value())),
        ("a short signature", at(3, cbor::bytes([0; 63]))),
        ("a long signature", at(3, cbor::bytes([0; 65]))),
        ("another algorithm", with(1, cbor::int(-7))),
        ("an algorithm as text", with(1, cbor::text("EdDSA"))),
        ("a short kid", with(4, cbor::bytes([0; 7]))),
        ("a kid as text", with(4, cbor::text("kidkidki"))),
        ("another type", with(16, cbor::text("application/cwt"))),
        (
            "a status list's type",
            with(16, cbor::text(cose::TYP_STATUS_LIST)),
        ),
        ("a type as a number", with(16, cbor::int(61))),
        ("a critical header", with(2, Value::Array(vec![cbor::int(1)]))),
        ("a content type", with(3, cbor::int(60))),
        ("a text label", {
            let mut map = vec![(cbor::text("x"), cbor::int(1))];
            map.extend(base().into_iter().map(|(label, value)| (cbor::int(label), value)));
            at(0, cbor::bytes(cbor::encode(&cbor::map(map))))
        }),
        ("a header that is not deterministic", {
            let Value::Bytes(header) = header(base()) else {
                panic!("bytes")
            };
            at(0, cbor::bytes([&[0xb8, 0x03][..], &header[1..]].concat()))
        }),
        ("trailing bytes", [&bytes[..], &[0]].concat()),
        ("nothing", vec![]),
        ("too long", vec![0; limits::CREDENTIAL_BYTES_MAX + 1]),
    ] {
        assert_refused(&bytes, why);
    }
}

/// At each depth: the array, the protected header, the payload.
#[test]
fn a_length_longer_than_it_need_be_is_refused() {
    let short = cose::protected_header(ALG, key().public().kid(), cose::TYP_CREDENTIAL);
    let typ_at = short.len() - 21;
    let long = [&short[..typ_at], &[0x78, 20], &short[typ_at + 1..]].concat();
    let payload = coupon().to_payload();
    assert_eq!(payload[..2], [0xa3, 0x04]);
    let long_payload = [&[0xb8, 3], &payload[1..]].concat();
    let plain = cose::assemble(&short, &payload, &[7; 64]);
    assert_eq!(Coupon::parse_unverified(&plain), Ok(coupon()));
    assert_eq!(plain[..3], [0xd2, 0x84, 0x58]);
    for (why, bytes) in [
        ("the array", [&[0xd2, 0x98, 4], &plain[2..]].concat()),
        ("the header", cose::assemble(&long, &payload, &[7; 64])),
        ("the payload", cose::assemble(&short, &long_payload, &[7; 64])),
    ] {
        assert_refused(&bytes, why);
    }
}

#[test]
fn a_kid_alone_proves_nothing() {
    let key = key();
    let forger = SecretKey::from_seed(&[66; 32]);
    let payload = cbor::encode(&coupon().to_value());
    let forged = cose::sign1(
        &forger,
        ALG,
        cose::TYP_CREDENTIAL,
        key.public().kid(),
        &payload,
        &[],
    );
    let parsed = Credential::parse(&forged).unwrap();
    assert_eq!(parsed.kid(), key.public().kid());
    assert_eq!(parsed.verify(key.public()), Err(CredentialError::BadSignature));
    assert_ne!(forger.public().kid(), KeyId([0; 8]));
}

#[test]
fn receipt_stubs_keep_to_their_ranges() {
    let with = |place: usize, value: Value| {
        let Value::Map(mut map) = stub().to_value() else {
            panic!("claims are a map")
        };
        let Some(Value::Array(items)) = map.get_mut(&cbor::int(-65_537)) else {
            panic!("content")
        };
        items[place] = value;
        wrap(&cbor::encode(&Value::Map(map)))
    };
    assert!(Credential::parse(&with(5, cbor::int(11))).is_ok());
    for (why, bytes) in [
        ("an unknown type", with(5, cbor::int(12))),
        ("type nought", with(5, cbor::int(0))),
        ("gold", with(2, cbor::int(959))),
        ("a long register", with(3, cbor::text("x".repeat(20)))),
        ("an empty register", with(3, cbor::text(""))),
        ("a negative number", with(4, cbor::int(-1))),
        ("a short root", with(6, cbor::bytes([0; 31]))),
    ] {
        assert_refused(&bytes, why);
    }
    for (kind, number, word) in ReceiptKind::ALL {
        assert_eq!(ReceiptKind::from_number(number), Some(kind));
        assert_eq!(ReceiptKind::from_word(word), Some(kind));
        assert_eq!((kind.number(), kind.word()), (number, word));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_flipped_bit_never_verifies(place in 0..10_000_usize, bit in 0..8_u8) {
        let key = key();
        let mut bytes = coupon().sign(&key, ALG);
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        if let Ok(credential) = Credential::parse(&bytes) {
            prop_assert_eq!(credential.bytes(), &bytes[..]);
            prop_assert!(credential.verify(key.public()).is_err());
        }
    }

    #[test]
    fn whatever_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..250)) {
        prop_assert!(Credential::parse(&bytes).is_err());
        prop_assert!(status_list::StatusListToken::parse(&bytes).is_err());
    }

    #[test]
    fn what_is_cut_or_spliced_is_refused(from in 0..250_usize, len in 1..40_usize) {
        let bytes = campaign().sign(&key(), ALG);
        let from = from % bytes.len();
        let to = (from + len).min(bytes.len());
        let cut = [&bytes[..from], &bytes[to..]].concat();
        prop_assert!(Credential::parse(&cut).is_err());
    }
}
