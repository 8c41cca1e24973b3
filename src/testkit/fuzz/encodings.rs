//! Floor 1 and names: the gate, QR text, zlib, DIDs, and the texts of names,
//! numbers and times.

use std::str::FromStr as _;

use super::canonical::{Canonical, canonical};
use super::{Target, take, texts};
use crate::encoding::{cbor, did, qr_text, zlib};
use crate::http::scalars::{read_rfc3339, rfc3339};
use crate::primitives::{CouponName, Currency, Decimal, Digest, Origin, RedemptionId, Register, limits};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "cbor_gate",
        run: cbor_gate,
        seeds: cbor_seeds,
    },
    Target {
        name: "qr_text",
        run: qr,
        seeds: qr_seeds,
    },
    Target {
        name: "zlib",
        run: inflate,
        seeds: zlib_seeds,
    },
    Target {
        name: "did",
        run: dids,
        seeds: did_seeds,
    },
    Target {
        name: "names",
        run: names,
        seeds: name_seeds,
    },
];

/// Arrays, maps and tags inside each other that serde_cbor reads.
const GATE_DEPTH: usize = 127;

/// The gate accepts exactly what the independent checker does, as deep as its
/// library reads.
fn cbor_gate(data: &[u8]) -> bool {
    let read = cbor::decode(data, limits::STATUS_TOKEN_BYTES_MAX);
    let expected = match canonical(data) {
        Canonical::Yes(depth) => depth <= GATE_DEPTH && data.len() <= limits::STATUS_TOKEN_BYTES_MAX,
        Canonical::No => false,
    };
    assert_eq!(read.is_ok(), expected, "the gate says {read:?}");
    read.is_ok_and(|value| {
        assert_eq!(cbor::encode(&value), data);
        true
    })
}

fn cbor_seeds() -> Vec<Vec<u8>> {
    use cbor::{bytes, int, map, text};
    use serde_cbor::Value;
    let edges = [
        0,
        23,
        24,
        255,
        256,
        65_535,
        65_536,
        u64::from(u32::MAX),
        1 << 32,
        u64::MAX,
    ];
    let numbers = edges.map(|n| (int(n), int(-1 - i128::from(n)))).into_iter();
    let texts = map([
        (text(""), bytes([])),
        (text("ä"), bytes([0; 24])),
        (bytes([1]), Value::Null),
        (Value::Array(vec![int(1)]), Value::Bool(true)),
        (Value::Bool(false), Value::Tag(18, Box::new(text("x")))),
    ]);
    let deep = (0..GATE_DEPTH).fold(int(0), |inner, _| Value::Array(vec![inner]));
    [map(numbers), texts, deep].iter().map(cbor::encode).collect()
}

/// One text for one credential: what is read is written as the same text.
fn qr(data: &[u8]) -> bool {
    let digits = qr_text::encode_digits(data);
    if digits.len() <= limits::QR_DIGITS_MAX {
        assert_eq!(qr_text::decode_digits(&digits).as_deref(), Ok(data));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(read) = qr_text::parse(text) else {
        return false;
    };
    let digits = qr_text::encode_digits(&read.bytes);
    assert!(text.trim_end().ends_with(&digits));
    assert_eq!(by_long_division(&digits), [&[1], &read.bytes[..]].concat());
    match read.origin {
        None => assert_eq!(text.trim(), digits),
        Some(origin) => {
            let written = qr_text::link(&origin, &read.bytes);
            let again = qr_text::parse(&written).expect("what is written is read");
            assert_eq!((again.bytes, again.origin), (read.bytes, Some(origin)));
        }
    }
    true
}

/// Decimal to bytes as one learns it at school, most significant byte first.
fn by_long_division(digits: &str) -> Vec<u8> {
    let mut digits: Vec<u32> = digits.bytes().map(|digit| u32::from(digit - b'0')).collect();
    let mut bytes = Vec::new();
    while digits.iter().any(|digit| *digit != 0) {
        let mut rest = 0;
        for digit in &mut digits {
            rest = rest * 10 + *digit;
            *digit = rest / 256;
            rest %= 256;
        }
        bytes.insert(0, u8::try_from(rest).expect("a remainder of 256"));
    }
    bytes
}

fn qr_seeds() -> Vec<Vec<u8>> {
    texts([
        "256",
        " 18446744073709551616\n",
        "HTTPS://COOP.EXAMPLE/V#511",
        "https://coop.example:8443/v%23511",
        "http://127.0.0.1:8080/V#511",
    ])
}

/// The cap of the first two bytes holds, to the byte; what was inflated
/// deflates and inflates to itself.
fn inflate(mut data: &[u8]) -> bool {
    let max = usize::from(u16::from_be_bytes(take(&mut data)));
    let Ok(out) = zlib::inflate(data, max) else {
        return false;
    };
    assert!(out.len() <= max);
    assert_eq!(zlib::inflate(data, out.len()).as_deref(), Ok(&out[..]));
    if let Some(less) = out.len().checked_sub(1) {
        assert_eq!(
            zlib::inflate(data, less),
            Err(zlib::ZlibError::TooLong { max: less })
        );
    }
    assert_eq!(
        zlib::inflate(&zlib::deflate(&out), out.len()).as_deref(),
        Ok(&out[..])
    );
    for longer in [0, 0x78] {
        let longer = [data, &[longer]].concat();
        assert_eq!(zlib::inflate(&longer, max), Err(zlib::ZlibError::Trailing));
    }
    let shorter = &data[..data.len() - 1];
    assert!(zlib::inflate(shorter, max).is_err());
    true
}

fn zlib_seeds() -> Vec<Vec<u8>> {
    let mut spotted = vec![0; 2_000];
    (0..2_000).step_by(37).for_each(|at| spotted[at] = 1);
    [&b""[..], b"valid", &[0; 1_000], &spotted]
        .iter()
        .map(|bytes| [&[0x80, 0], &zlib::deflate(bytes)[..]].concat())
        .collect()
}

fn dids(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    if let Ok(key) = did::decode_did_key(text) {
        assert_eq!(did::encode_did_key(&key), text);
        return true;
    }
    did::did_web_authority(text).is_ok_and(|authority| {
        let origin = Origin::parse(&format!("https://{authority}")).expect("the authority of an origin");
        assert_eq!(
            (origin.did_web().as_str(), origin.authority()),
            (text, authority.as_str())
        );
        true
    })
}

fn did_seeds() -> Vec<Vec<u8>> {
    texts([
        "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
        "did:web:coop.example",
        "did:web:coop.example%3A8443",
    ])
}

/// Every text that names or counts something is written as it was read, or in
/// its one spelling, which is read as the same.
fn names(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let mut accepted = false;
    let mut same = |read: Option<String>| {
        if let Some(written) = read {
            assert_eq!(written, text);
            accepted = true;
        }
    };
    same(Register::new(text).ok().map(|name| name.to_string()));
    same(CouponName::parse(text).ok().map(|name| name.to_string()));
    same(Digest::parse(text).map(|digest| digest.to_string()));
    same(RedemptionId::parse(text).map(|id| id.to_string()));
    same(
        Currency::from_letters(text)
            .ok()
            .map(|currency| currency.letters().to_owned()),
    );
    if let Ok(decimal) = Decimal::parse(text, limits::QUANTITY_PLACES_MAX) {
        let written = decimal.to_string();
        let negative_zero = text.starts_with('-') && !text.contains(|c: char| ('1'..='9').contains(&c));
        assert!(
            written == text || negative_zero,
            "{text:?} came back as {written:?}"
        );
        let scaled = decimal
            .scaled(limits::QUANTITY_PLACES_MAX)
            .expect("no more places");
        let float = f64::from_str(text).expect("a plain decimal");
        assert!((scaled as f64 / 1e6 - float).abs() <= float.abs() * 1e-12);
        accepted = true;
    }
    if let Ok(origin) = Origin::parse(text) {
        assert_eq!(Origin::parse(&origin.to_string()).as_ref(), Ok(&origin));
        for list in [0, 7, u32::MAX] {
            assert_eq!(origin.status_list_of(&origin.status_uri(list)), Some(list));
        }
        accepted = true;
    }
    if let Some(time) = read_rfc3339(text) {
        assert_eq!(read_rfc3339(&rfc3339(time)), Some(time));
        accepted = true;
    }
    accepted
}

fn name_seeds() -> Vec<Vec<u8>> {
    texts([
        "shop1-lane3",
        "7-131071",
        "mJ2yJb5nH0YkqFv0m3K7m3Jx0l2y8b1dH9w7Z4T1u0E",
        "b0mT3s8wQ1e5r7Y9u2I4oA",
        "EUR",
        "-0.482",
        "123456789.123456",
        "https://coop.example:8443",
        "http://[::1]:8080",
        "2026-03-07T16:21:09+01:00",
        "2024-02-29T23:59:59.5Z",
    ])
}
