//! Floor 2: COSE_Sign1, each kind of credential, status lists, receipt
//! details, key files, did documents, and the offline verification.
//!
//! A signature cannot be guessed, so the targets of single kinds take a
//! payload and sign it themselves.

use std::fmt::Debug;
use std::sync::LazyLock;

use super::{Target, take};
use crate::credential::cose::{self, TYP_CREDENTIAL, TYP_STATUS_LIST};
use crate::credential::details::{self, Line, ReceiptDetails, Tax, Tender};
use crate::credential::status_list::{Status, StatusList, StatusListToken, Statuses};
use crate::credential::verify::{DidDocument, Verdict, Verifier};
use crate::credential::{
    Algorithm, Benefit, Campaign, Content, Coupon, Credential, ListEvidence, Membership, PublicKey,
    ReceiptKind, ReceiptStub, SecretKey, Sign1, Signed, StatusRef, Terms, coupon_tag,
};
use crate::encoding::{cbor, qr_text};
use crate::log::tile_path::{read_bundle, write_bundle_entry};
use crate::log::{KeyKind, VerifierKey};
use crate::primitives::{
    Amount, CampaignId, Currency, Decimal, Digest, Origin, Register, UnixSeconds, limits,
};
use crate::testkit::SeededEntropy;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "cose_sign1",
        run: sign1,
        seeds: || all_kinds().into_iter().chain([token()]).collect(),
    },
    Target {
        name: "credential",
        run: credential,
        seeds: all_kinds,
    },
    Target {
        name: "coupon",
        run: kind::<Coupon>,
        seeds: || coupons().iter().map(payload).collect(),
    },
    Target {
        name: "receipt_stub",
        run: kind::<ReceiptStub>,
        seeds: || vec![payload(&stub())],
    },
    Target {
        name: "membership",
        run: kind::<Membership>,
        seeds: || vec![payload(&membership())],
    },
    Target {
        name: "campaign",
        run: kind::<Campaign>,
        seeds: || campaigns().iter().map(payload).collect(),
    },
    Target {
        name: "status_list_token",
        run: status_list,
        seeds: || {
            let token = StatusListToken::parse(&token()).expect("signed above");
            vec![token.sign1().payload().to_vec()]
        },
    },
    Target {
        name: "list_evidence",
        run: list_evidence,
        seeds: || vec![ListEvidence::of(&token_of_eight(1), &token_of_eight(6))],
    },
    Target {
        name: "stored_details",
        run: stored_details,
        seeds: || vec![receipt_details().encode(&[5; 32])],
    },
    Target {
        name: "detail_leaves",
        run: detail_leaves,
        seeds: leaf_seeds,
    },
    Target {
        name: "did_document",
        run: did_document,
        seeds: did_document_seeds,
    },
    Target {
        name: "key_file",
        run: key_file,
        seeds: || {
            let pem = key().to_pkcs8_pem(None, &SeededEntropy::new(1));
            vec![pem.as_bytes().to_vec()]
        },
    },
    Target {
        name: "offline_verification",
        run: offline,
        seeds: offline_seeds,
    },
];

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn cents(units: i64) -> Amount {
    Amount::new(units).expect("a small amount")
}

fn euro() -> Currency {
    Currency::from_letters("EUR").expect("a currency")
}

fn origin() -> Origin {
    Origin::parse("https://coop.example").expect("a base URL")
}

fn status(index: u32) -> StatusRef {
    StatusRef {
        uri: origin().status_uri(0),
        index,
    }
}

fn coupons() -> [Coupon; 2] {
    let plain = Coupon {
        campaign: campaign_id(&campaigns()[0]),
        amount: None,
        not_before: None,
        not_after: UnixSeconds(1_798_761_600),
        status: status(131_071),
        holder: None,
    };
    let bound = Coupon {
        amount: Some(cents(500)),
        not_before: Some(UnixSeconds(1_772_896_869)),
        holder: Some(*SecretKey::from_seed(&[2; 32]).public()),
        ..plain.clone()
    };
    [plain, bound]
}

fn campaign_id(campaign: &Campaign) -> CampaignId {
    let signed = Signed::<Campaign>::parse(&campaign.sign(&key(), Algorithm::EdDsa));
    signed.expect("a campaign within its limits").id()
}

fn stub() -> ReceiptStub {
    ReceiptStub {
        issued_at: UnixSeconds(1_772_896_869),
        total: cents(-1_234_567),
        currency: euro(),
        register: Register::new("shop1-lane3").expect("a register's name"),
        sequence_number: 100_000_000,
        kind: ReceiptKind::Refund,
        details_root: Digest([0xde; 32]),
    }
}

fn membership() -> Membership {
    Membership {
        class: "consumer".to_owned(),
        member_since_days: 20_000,
        details_root: Digest([0xde; 32]),
        not_before: UnixSeconds(1_772_896_869),
        not_after: UnixSeconds(1_798_761_600),
        holder: *SecretKey::from_seed(&[2; 32]).public(),
        status: status(1),
    }
}

fn campaigns() -> [Campaign; 3] {
    let campaign = |benefit| Campaign {
        issued_at: UnixSeconds(1_772_896_869),
        not_before: UnixSeconds(1_772_896_869),
        not_after: UnixSeconds(1_798_761_600),
        terms: Terms::new("Apple week", "10 % off", euro(), benefit),
    };
    let mut all = [
        campaign(Benefit::AmountOff { amount: cents(300) }),
        campaign(Benefit::PercentOff {
            basis_points: 1_000,
            cap: Some(cents(500)),
        }),
        campaign(Benefit::StoredValue { value: cents(2_000) }),
    ];
    let terms = &mut all[1].terms;
    terms.minimum_basket = Some(cents(1_000));
    terms.uses_per_coupon = Some(3);
    terms.budget = Some(cents(100_000));
    terms.redeemers = Some(vec!["did:web:coop.example".to_owned()]);
    terms.reversal_window_seconds = Some(604_800);
    terms.other.insert(13, cbor::int(1));
    all
}

fn payload<T: Content>(content: &T) -> Vec<u8> {
    cbor::encode(&content.to_value())
}

fn all_kinds() -> Vec<Vec<u8>> {
    let alg = Algorithm::EdDsa;
    let mut all = vec![
        stub().sign(&key(), Algorithm::Ed25519),
        membership().sign(&key(), alg),
    ];
    all.extend(coupons().iter().map(|coupon| coupon.sign(&key(), alg)));
    all.extend(campaigns().iter().map(|campaign| campaign.sign(&key(), alg)));
    all
}

fn token() -> Vec<u8> {
    let mut statuses = Statuses::new();
    for (index, status) in [
        (7, Status::Revoked),
        (77_777, Status::UsedUp),
        (131_071, Status::Suspended),
    ] {
        statuses.set(index, status);
    }
    signed_list(statuses)
}

/// A status list of eight coupons, one of which is revoked.
fn token_of_eight(revoked: u32) -> Vec<u8> {
    let mut statuses = Statuses::from_packed(vec![0; 2]).expect("some bytes");
    statuses.set(revoked, Status::Revoked);
    signed_list(statuses)
}

fn signed_list(statuses: Statuses) -> Vec<u8> {
    let list = StatusList {
        uri: origin().status_uri(0),
        issued_at: UnixSeconds(1_790_000_000),
        expires: UnixSeconds(1_790_086_400),
        ttl: 60,
        statuses,
    };
    list.sign(&key(), Algorithm::EdDsa)
}

/// Two lists that contradict each other have one form, and convict only whose key has
/// signed both.
fn list_evidence(data: &[u8]) -> bool {
    let begins = ListEvidence::begins(data);
    let Ok(read) = ListEvidence::decode(data) else {
        return false;
    };
    assert!(begins, "what is evidence of two lists is not seen to be");
    let [first, second] = read.tokens();
    let named = |token: &StatusListToken| (token.list().uri.clone(), token.list().issued_at);
    assert_eq!(named(first), named(second));
    assert_ne!(first.sign1().payload(), second.sign1().payload());
    assert!(read.differing().all(|(_, [one, other])| one != other));
    let [one, other] = [first, second].map(|token| token.sign1().bytes());
    assert_eq!(ListEvidence::of(other, one), data);
    if read.verify(key().public()).is_ok() {
        assert!(first.verify(key().public()).is_ok() && second.verify(key().public()).is_ok());
    }
    true
}

/// A signed structure is of its one form; its parts give its bytes again.
fn sign1(data: &[u8]) -> bool {
    let Ok(sign1) = Sign1::parse(data, limits::STATUS_TOKEN_BYTES_MAX) else {
        return false;
    };
    assert_eq!(sign1.bytes(), data);
    assert_eq!(cbor::encode(sign1.value()), sign1.payload());
    let _ = sign1.verify(key().public(), &[]);
    // The same header and payload, signed: all but the last 64 bytes is the same.
    let (typ, kid) = (sign1.typ(), sign1.kid());
    let signed = cose::sign1(&key(), sign1.alg(), typ, kid, sign1.payload(), b"aad");
    let (body, signature) = data.split_at(data.len() - 64);
    assert_eq!(signed[..signed.len() - 64], *body);
    assert_eq!(sign1.signature()[..], *signature);
    let signed = Sign1::parse(&signed, limits::STATUS_TOKEN_BYTES_MAX).expect("as long as before");
    assert_eq!(signed.verify(key().public(), b"aad"), Ok(()));
    assert!(signed.verify(key().public(), &[]).is_err());
    true
}

fn credential(data: &[u8]) -> bool {
    let Ok(credential) = Credential::parse(data) else {
        return false;
    };
    assert_eq!(credential.bytes(), data);
    let value = match &credential {
        Credential::Coupon(signed) => signed.content().to_value(),
        Credential::Receipt(signed) => signed.content().to_value(),
        Credential::Membership(signed) => signed.content().to_value(),
        Credential::Campaign(signed) => signed.content().to_value(),
    };
    assert_eq!(cbor::encode(&value), credential.sign1().payload());
    // Only the very bytes that were signed verify, malleable signatures included.
    if credential.verify(key().public()).is_ok() {
        assert!(
            again(credential.sign1()) == data,
            "a second signature of one payload verifies"
        );
    }
    true
}

/// Signs the same header and payload: Ed25519 is deterministic.
fn again(sign1: &Sign1) -> Vec<u8> {
    cose::sign1(
        &key(),
        sign1.alg(),
        sign1.typ(),
        sign1.kid(),
        sign1.payload(),
        &[],
    )
}

/// A payload of one kind, signed: what is read is written as the same bytes.
fn kind<T: Content + Debug + PartialEq>(data: &[u8]) -> bool {
    let kid = key().public().kid();
    let bytes = cose::sign1(&key(), Algorithm::EdDsa, TYP_CREDENTIAL, kid, data, &[]);
    let Ok(signed) = Signed::<T>::parse(&bytes) else {
        return false;
    };
    assert_eq!(signed.verify(key().public()), Ok(()));
    assert_eq!(signed.content().check(), Ok(()));
    assert_eq!(signed.content().sign(&key(), Algorithm::EdDsa), bytes);
    assert_eq!(Credential::parse(&bytes).map(|any| any.kind_name()), Ok(T::NAME));
    true
}

/// A token's payload, signed. The stream may be packed otherwise than ours, so
/// what it says is compared.
fn status_list(data: &[u8]) -> bool {
    let kid = key().public().kid();
    let bytes = cose::sign1(&key(), Algorithm::Ed25519, TYP_STATUS_LIST, kid, data, &[]);
    let Ok(token) = StatusListToken::parse(&bytes) else {
        return false;
    };
    assert_eq!(token.verify(key().public()), Ok(()));
    let list = token.into_list();
    let len = list.statuses.len();
    assert!((1..=limits::STATUS_LIST_LEN).contains(&len));
    assert!(list.get(len - 1).is_some());
    assert_eq!(list.get(len), None);
    let written = StatusListToken::parse(&list.sign(&key(), Algorithm::EdDsa));
    assert_eq!(written.map(StatusListToken::into_list), Ok(list));
    true
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text, limits::QUANTITY_PLACES_MAX).expect("a decimal")
}

fn receipt_details() -> ReceiptDetails {
    let line = |unit: Option<&str>| Line {
        description: "Äpfel Topaz".to_owned(),
        quantity: decimal("0.482"),
        unit: unit.map(str::to_owned),
        unit_price: unit.map(|_| decimal("2.99")),
        total: cents(144),
        tax_rate: Some(decimal("7.00")),
    };
    ReceiptDetails {
        lines: vec![line(Some("kg")), line(None)],
        tenders: vec![Tender {
            kind: "gift_card".to_owned(),
            amount: cents(288),
        }],
        taxes: vec![Tax {
            rate: None,
            net: cents(270),
            tax: cents(18),
        }],
        cashier: Some("7".to_owned()),
        member: Some("4711".to_owned()),
        till_reference: Some("2026-03-07/000812".to_owned()),
        refers_to: Some("shop1-lane3/7".to_owned()),
    }
}

fn stored_details(data: &[u8]) -> bool {
    let Ok((read, secret)) = ReceiptDetails::decode(data) else {
        return false;
    };
    assert_eq!(read.encode(&secret), data);
    let leaves = read.leaves(&secret);
    assert_eq!(leaves.len(), read.leaf_count());
    assert_eq!(details::root_of_leaves(&leaves), read.root(&secret));
    assert_eq!(ReceiptDetails::from_leaves(&leaves).as_ref(), Ok(&read));
    true
}

/// Leaves as a client has them, each behind two bytes of length.
fn detail_leaves(data: &[u8]) -> bool {
    let most = limits::RECEIPT_LINES_MAX + 2 * limits::RECEIPT_TENDERS_MAX + 4;
    let leaves: Vec<Vec<u8>> = (0..=u16::try_from(most).unwrap_or(u16::MAX))
        .find_map(|width| read_bundle(data, width).ok())
        .unwrap_or_default()
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    let Ok(read) = ReceiptDetails::from_leaves(&leaves) else {
        return false;
    };
    // All but the salts comes back.
    let written = read.leaves(&[0; 32]);
    let unsalted = |leaf: &Vec<u8>| leaf[18..].to_vec();
    assert_eq!(
        written.iter().map(unsalted).collect::<Vec<_>>(),
        leaves.iter().map(unsalted).collect::<Vec<_>>()
    );
    stored_details(&read.encode(&[0; 32]))
}

fn leaf_seeds() -> Vec<Vec<u8>> {
    let mut bundle = Vec::new();
    for leaf in receipt_details().leaves(&[5; 32]) {
        write_bundle_entry(&mut bundle, &leaf).expect("a short leaf");
    }
    vec![bundle]
}

fn did_document(data: &[u8]) -> bool {
    let Ok(read) = DidDocument::parse(data) else {
        return false;
    };
    let origin = Origin::parse(&format!("https://{}", read.authority)).expect("the authority of a did:web");
    let written = written_did_document(&origin, &read.keys[0]);
    let again = DidDocument::parse(written.as_bytes()).expect("a node's own document");
    assert_eq!(
        (again.authority, again.keys),
        (read.authority, vec![read.keys[0]])
    );
    true
}

fn did_document_seeds() -> Vec<Vec<u8>> {
    vec![written_did_document(&origin(), key().public()).into_bytes()]
}

fn written_did_document(origin: &Origin, key: &PublicKey) -> String {
    let log_key = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).expect("a public key");
    let log_key = VerifierKey::new(origin.authority(), KeyKind::Ed25519, log_key).expect("a host's name");
    crate::http::did_document(origin, std::slice::from_ref(key), &log_key)
}

fn key_file(data: &[u8]) -> bool {
    let Ok(pem) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(read) = SecretKey::from_pkcs8_pem(pem, None) else {
        return false;
    };
    let written = read.to_pkcs8_pem(None, &SeededEntropy::new(1));
    let again = SecretKey::from_pkcs8_pem(&written, None).expect("what is written is read");
    assert_eq!(again.public(), read.public());
    true
}

/// A time, then a QR text. Valid is only what the trusted key has signed, and
/// that is what it signs again.
fn offline(mut data: &[u8]) -> bool {
    let at = UnixSeconds(u64::from(u32::from_be_bytes(take(&mut data))));
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let report = VERIFIER.check_text(text, at);
    assert_eq!(report.whys.is_empty(), report.verdict == Verdict::Valid);
    if report.verdict != Verdict::Valid {
        return false;
    }
    let bytes = qr_text::parse(text).expect("it was read").bytes;
    let sign1 = Sign1::parse(&bytes, limits::STATUS_TOKEN_BYTES_MAX).expect("it was read");
    assert!(
        again(&sign1) == bytes,
        "a second signature of one payload verifies"
    );
    assert_eq!(coupon_tag(&again(&sign1)), coupon_tag(&bytes));
    true
}

/// Trusts [`key`], and holds its campaigns and list.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let mut verifier = Verifier::new();
    let document = DidDocument::parse(&did_document_seeds()[0]);
    verifier.add_issuer(document.expect("a node's own document"));
    for campaign in campaigns() {
        let signed = campaign.sign(&key(), Algorithm::EdDsa);
        verifier.add_campaign(&signed).expect("by the trusted key");
    }
    verifier.add_status_list(&token()).expect("by the trusted key");
    verifier
});

fn offline_seeds() -> Vec<Vec<u8>> {
    let at = 1_790_000_100_u32.to_be_bytes();
    let mut coupon = coupons()[0].clone();
    coupon.status = status(3);
    let coupon = coupon.sign(&key(), Algorithm::EdDsa);
    let stub = stub().sign(&key(), Algorithm::EdDsa);
    [qr_text::link(&origin(), &coupon), qr_text::encode_digits(&stub)]
        .map(|text| [&at[..], text.as_bytes()].concat())
        .to_vec()
}
