//! What is measured, ready to be called.

use std::hint::black_box;

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde_cbor::Value;
use tallystick::credential::details::{Line, ReceiptDetails, Tax, Tender};
use tallystick::credential::status_list::{StatusList, Statuses};
use tallystick::credential::verify::{DidDocument, Verdict, Verifier};
use tallystick::credential::{
    Algorithm, Benefit, Campaign, Content as _, Coupon, KnownKey, ReceiptKind, ReceiptStub, SecretKey,
    Signed, StatusRef, Terms,
};
use tallystick::encoding::{cbor, qr_text};
use tallystick::log::{Entry, entry_hash};
use tallystick::merkle;
use tallystick::primitives::{Amount, Currency, Decimal, Digest, Origin, Register, UnixSeconds, limits};

const NOW: UnixSeconds = UnixSeconds(1_772_900_000);
const SEED: [u8; 32] = [7; 32];

pub struct Fixture {
    secret: SecretKey,
    bare: SigningKey,
    known: KnownKey,
    verifier: Verifier,
    coupon: Coupon,
    coupon_bytes: Vec<u8>,
    text: String,
    message: Vec<u8>,
    signature: [u8; 64],
    stub: ReceiptStub,
    details: ReceiptDetails,
    details_bytes: Vec<u8>,
    entry: Vec<u8>,
    path: Vec<merkle::Hash>,
    root: merkle::Hash,
}

impl Fixture {
    pub fn new() -> Self {
        let secret = SecretKey::from_seed(&SEED);
        let origin = Origin::parse("https://shop.coop-example.eu").expect("a base URL");
        let campaign = campaign().sign(&secret, Algorithm::EdDsa);
        let uri = format!("{origin}/s/7");
        let coupon = Coupon {
            campaign: Signed::<Campaign>::parse(&campaign)
                .expect("it was just signed")
                .id(),
            amount: None,
            not_before: None,
            not_after: UnixSeconds(NOW.0 + 1_000_000),
            status: StatusRef {
                uri: uri.clone(),
                index: 4_711,
            },
            holder: None,
        };
        let list = StatusList {
            uri,
            issued_at: NOW,
            expires: UnixSeconds(NOW.0 + 100_000),
            ttl: 60,
            statuses: Statuses::new(),
        };
        let mut verifier = Verifier::new();
        verifier.add_issuer(DidDocument {
            authority: "shop.coop-example.eu".to_owned(),
            keys: vec![*secret.public()],
        });
        verifier.add_campaign(&campaign).expect("its key is trusted");
        verifier
            .add_status_list(&list.sign(&secret, Algorithm::EdDsa))
            .expect("its key is trusted");
        let coupon_bytes = coupon.sign(&secret, Algorithm::EdDsa);
        let signed = Signed::<Coupon>::parse(&coupon_bytes).expect("it was just signed");
        let details = details();
        let (path, root) = path();
        let fixture = Self {
            bare: SigningKey::from_bytes(&SEED),
            known: KnownKey::new(*secret.public()),
            message: signed.sign1().sig_structure(&[]),
            signature: *signed.sign1().signature(),
            text: qr_text::link(&origin, &coupon_bytes),
            stub: stub(&details),
            details_bytes: details.encode(&SEED),
            entry: entry(),
            secret,
            verifier,
            coupon,
            coupon_bytes,
            details,
            path,
            root,
        };
        assert!(fixture.check_offline() && fixture.verify_bare() && fixture.verify_known());
        fixture
    }

    pub fn verify_bare(&self) -> bool {
        self.bare
            .verifying_key()
            .verify_strict(black_box(&self.message), &Signature::from_bytes(&self.signature))
            .is_ok()
    }

    pub fn known_key(&self) -> KnownKey {
        KnownKey::new(*self.secret.public())
    }

    pub fn verify_known(&self) -> bool {
        self.known
            .verify_strict(black_box(&self.message), &self.signature)
    }

    pub fn verify_known_64(&self) -> Vec<bool> {
        let one = (&self.message[..], &self.signature);
        self.known.verify_each(black_box(&[one; 64]))
    }

    pub fn check_offline(&self) -> bool {
        self.verifier.check_text(black_box(&self.text), NOW).verdict == Verdict::Valid
    }

    pub fn gate(&self) -> Signed<Coupon> {
        Signed::parse(black_box(&self.coupon_bytes)).expect("a coupon")
    }

    pub fn read_qr_text(&self) -> qr_text::QrText {
        qr_text::parse(black_box(&self.text)).expect("a QR text")
    }

    pub fn sign_bare(&self) -> Signature {
        self.bare.sign(black_box(&self.message))
    }

    pub fn sign_coupon(&self) -> Vec<u8> {
        black_box(&self.coupon).sign(&self.secret, Algorithm::EdDsa)
    }

    pub fn sign_stub(&self) -> Vec<u8> {
        black_box(&self.stub).sign(&self.secret, Algorithm::EdDsa)
    }

    pub fn details_root(&self) -> Digest {
        black_box(&self.details).root(&SEED)
    }

    pub fn encode_details(&self) -> Vec<u8> {
        black_box(&self.details).encode(&SEED)
    }

    pub fn decode_details(&self) -> ReceiptDetails {
        ReceiptDetails::decode(black_box(&self.details_bytes))
            .expect("details")
            .0
    }

    pub fn entry_hash(&self) -> Digest {
        entry_hash(black_box(&self.entry))
    }

    pub fn decode_entry(&self) -> Entry {
        Entry::decode(black_box(&self.entry)).expect("an entry")
    }

    pub fn verify_inclusion(&self) {
        merkle::verify_inclusion(&[1; 32], 0, 1_000_000, black_box(&self.path), &self.root).expect("a proof");
    }
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).expect("a small amount")
}

fn euro() -> Currency {
    Currency::from_letters("EUR").expect("a currency")
}

fn campaign() -> Campaign {
    Campaign {
        issued_at: UnixSeconds(NOW.0 - 1_000),
        not_before: UnixSeconds(NOW.0 - 1_000),
        not_after: UnixSeconds(NOW.0 + 1_000_000),
        terms: Terms::new(
            "Apple week",
            "2 euro off",
            euro(),
            Benefit::AmountOff { amount: amount(200) },
        ),
    }
}

fn details() -> ReceiptDetails {
    let decimal = |text| Decimal::parse(text, 6).expect("a decimal");
    ReceiptDetails {
        lines: (0..9)
            .map(|number| Line {
                description: format!("Article number {number}"),
                quantity: decimal("1"),
                unit: None,
                unit_price: Some(decimal("2.99")),
                total: amount(299),
                tax_rate: Some(decimal("7")),
            })
            .collect(),
        tenders: vec![Tender {
            kind: "cash".to_owned(),
            amount: amount(2_691),
        }],
        taxes: vec![Tax {
            rate: Some(decimal("7")),
            net: amount(2_515),
            tax: amount(176),
        }],
        till_reference: Some("2026-03-07/000812".to_owned()),
        ..ReceiptDetails::default()
    }
}

fn stub(details: &ReceiptDetails) -> ReceiptStub {
    ReceiptStub {
        issued_at: NOW,
        total: amount(2_691),
        currency: euro(),
        register: Register::new("shop1-lane3").expect("a register"),
        sequence_number: 100_000,
        kind: ReceiptKind::Sale,
        details_root: details.root(&SEED),
    }
}

/// As long as a receipt's entry is.
fn entry() -> Vec<u8> {
    let body = vec![
        cbor::bytes([3; 32]),
        cbor::text("shop1-lane3"),
        cbor::int(100_000),
        Value::Null,
        cbor::bytes([4; 16]),
        cbor::bytes([5; 16]),
        cbor::bytes([6; 16]),
    ];
    let entry = Entry {
        index: 1_000_000,
        time: NOW,
        previous: Digest([2; 32]),
        kind: 3,
        body: Value::Array(body),
    };
    let bytes = entry.encode().expect("a short entry");
    assert!(bytes.len() < limits::ENTRY_BYTES_MAX);
    bytes
}

/// A path for leaf 0 of 1,000,000, and the root that it leads to.
fn path() -> (Vec<merkle::Hash>, merkle::Hash) {
    let path = vec![[9; 32]; 20];
    let root = merkle::root_of_path(&[1; 32], 0, 1_000_000, &path).expect("a path of 20");
    (path, root)
}
