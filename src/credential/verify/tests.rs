use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::credential::status_list::Statuses;
use crate::credential::{Algorithm, Content, KeyError, ReceiptKind, ReceiptStub, SecretKey, Terms};
use crate::encoding::qr_text;
use crate::primitives::{Amount, CouponName, Currency, Digest, Register};

const START: u64 = 1_000_000;
const END: u64 = 2_000_000;
const NOW: UnixSeconds = UnixSeconds(1_500_000);
const LIST_END: u64 = 1_600_000;
const INDEX: u32 = 7;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn origin() -> Origin {
    Origin::parse("https://coop.example").unwrap()
}

fn did_json(did: &str, keys: &[&SecretKey]) -> serde_json::Value {
    let method = |key: &&SecretKey| {
        json!({
            "id": format!("{did}#{}", key.public().kid()),
            "type": "JsonWebKey",
            "controller": did,
            "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key.public().as_bytes())},
        })
    };
    json!({"id": did, "verificationMethod": keys.iter().map(method).collect::<Vec<_>>()})
}

fn document(did: &str, keys: &[&SecretKey]) -> DidDocument {
    DidDocument::parse(did_json(did, keys).to_string().as_bytes()).unwrap()
}

fn campaign(benefit: Benefit) -> Campaign {
    Campaign {
        issued_at: UnixSeconds(START),
        not_before: UnixSeconds(START),
        not_after: UnixSeconds(END),
        terms: Terms::new("Apples", "", Currency::from_letters("EUR").unwrap(), benefit),
    }
}

fn five_off() -> Benefit {
    Benefit::AmountOff {
        amount: Amount::new(500).unwrap(),
    }
}

fn coupon_under(campaign: CampaignId) -> Coupon {
    Coupon {
        campaign,
        amount: None,
        not_before: None,
        not_after: UnixSeconds(END),
        status: StatusRef::new(
            &origin(),
            CouponName {
                list: 0,
                index: INDEX,
            },
        ),
        holder: None,
    }
}

fn member() -> Membership {
    Membership {
        class: "full".to_owned(),
        member_since_days: 1,
        details_root: Digest::ZERO,
        not_before: UnixSeconds(START),
        not_after: UnixSeconds(END),
        holder: *key(5).public(),
        status: coupon_under(CampaignId([0; 16])).status,
    }
}

fn list(status: Status) -> StatusList {
    let mut statuses = Statuses::new();
    assert!(statuses.set(INDEX, status));
    StatusList {
        uri: origin().status_uri(0),
        issued_at: UnixSeconds(START),
        expires: UnixSeconds(LIST_END),
        ttl: 60,
        statuses,
    }
}

/// A verifier that trusts coop.example with its campaign and its list.
struct World {
    verifier: Verifier,
    campaign: CampaignId,
}

impl World {
    fn bare() -> Self {
        let mut verifier = Verifier::new();
        verifier.add_issuer(document("did:web:coop.example", &[&key(1)]));
        let id = Signed::<Campaign>::parse(&campaign(five_off()).sign(&key(1), Algorithm::EdDsa))
            .unwrap()
            .id();
        Self {
            verifier,
            campaign: id,
        }
    }

    fn with_list(status: Status) -> Self {
        let mut world = Self::bare();
        let signed = campaign(five_off()).sign(&key(1), Algorithm::EdDsa);
        world.verifier.add_campaign(&signed).unwrap();
        let token = list(status).sign(&key(1), Algorithm::EdDsa);
        world.verifier.add_status_list(&token).unwrap();
        world
    }

    fn coupon(&self) -> Coupon {
        coupon_under(self.campaign)
    }

    fn verdict(&self, coupon: &Coupon, at: u64) -> Verdict {
        let bytes = coupon.sign(&key(1), Algorithm::EdDsa);
        self.verifier.check_bytes(&bytes, UnixSeconds(at)).verdict
    }
}

#[test]
fn a_good_coupon_is_valid_in_every_form_and_under_both_algorithms() {
    let world = World::with_list(Status::Valid);
    for alg in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let bytes = world.coupon().sign(&key(1), alg);
        let report = world.verifier.check_bytes(&bytes, NOW);
        assert_eq!((report.verdict, report.whys), (Verdict::Valid, vec![]));
        assert_eq!(report.issuer.as_deref(), Some("coop.example"));
        assert_eq!(report.not_before, Some(UnixSeconds(START)));
        assert!(report.campaign.is_some() && report.notes.is_empty());
        for text in [
            qr_text::encode_digits(&bytes),
            qr_text::link(&origin(), &bytes),
            format!("\n  {}\r\n", qr_text::link(&origin(), &bytes)),
        ] {
            assert_eq!(world.verifier.check_text(&text, NOW).verdict, Verdict::Valid);
        }
    }
}

#[test]
fn time_runs_from_the_campaigns_start_to_the_end_excluded() {
    let mut world = World::with_list(Status::Valid);
    let mut fresh = list(Status::Valid);
    fresh.issued_at = UnixSeconds(START + 1);
    fresh.expires = UnixSeconds(END + 10);
    world
        .verifier
        .add_status_list(&fresh.sign(&key(1), Algorithm::EdDsa))
        .unwrap();
    let coupon = world.coupon();
    assert_eq!(world.verdict(&coupon, START - 1), Verdict::NotYetValid);
    assert_eq!(world.verdict(&coupon, START), Verdict::Valid);
    assert_eq!(world.verdict(&coupon, END - 1), Verdict::Valid);
    assert_eq!(world.verdict(&coupon, END), Verdict::Expired);
    let own_times = Coupon {
        not_before: Some(UnixSeconds(START - 50)),
        not_after: UnixSeconds(END + 5),
        ..coupon
    };
    // Never outside of its campaign, as the ledger redeems.
    assert_eq!(world.verdict(&own_times, START - 1), Verdict::NotYetValid);
    assert_eq!(world.verdict(&own_times, END), Verdict::Expired);
}

#[test]
fn the_list_decides_and_only_while_it_lasts() {
    for (status, verdict) in [
        (Status::Valid, Verdict::Valid),
        (Status::Revoked, Verdict::Revoked),
        (Status::Suspended, Verdict::Suspended),
        (Status::UsedUp, Verdict::UsedUp),
    ] {
        let world = World::with_list(status);
        let coupon = world.coupon();
        assert_eq!(world.verdict(&coupon, NOW.0), verdict);
        assert_eq!(world.verdict(&coupon, LIST_END - 1), verdict);
        assert_eq!(world.verdict(&coupon, LIST_END), Verdict::Undetermined);
    }
    let bare = World::bare();
    assert_eq!(bare.verdict(&bare.coupon(), NOW.0), Verdict::Undetermined);
}

#[test]
fn the_newest_list_counts_whatever_the_order() {
    let mut newer = list(Status::Revoked);
    newer.issued_at = UnixSeconds(START + 1);
    let tokens = [list(Status::Valid), newer].map(|list| list.sign(&key(1), Algorithm::Ed25519));
    for order in [[0, 1], [1, 0]] {
        let mut world = World::bare();
        for place in order {
            world.verifier.add_status_list(&tokens[place]).unwrap();
        }
        assert_eq!(world.verdict(&world.coupon(), NOW.0), Verdict::Revoked);
    }
}

#[test]
fn of_two_lists_of_one_second_the_first_stays() {
    for (first, second) in [(Status::Valid, Status::Revoked), (Status::Revoked, Status::Valid)] {
        let mut world = World::with_list(first);
        let before = world.verdict(&world.coupon(), NOW.0);
        let token = list(second).sign(&key(1), Algorithm::EdDsa);
        world.verifier.add_status_list(&token).unwrap();
        assert_eq!(world.verdict(&world.coupon(), NOW.0), before);
    }
}

#[test]
fn a_list_that_is_not_the_issuers_is_no_list() {
    let mut world = World::bare();
    world
        .verifier
        .add_issuer(document("did:web:other.example", &[&key(2)]));
    let mut wrong_sub = list(Status::Valid);
    wrong_sub.uri = "https://coop.example/s/1".to_owned();
    let token = wrong_sub.sign(&key(1), Algorithm::EdDsa);
    assert!(world.verifier.add_status_list(&token).is_ok());
    for uri in [
        "https://coop.example/s/00",
        "https://coop.example/s/0/",
        "http://coop.example/s/0",
        "https://coop.example.evil/s/0",
    ] {
        let mut elsewhere = list(Status::Valid);
        elsewhere.uri = uri.to_owned();
        let refused = world
            .verifier
            .add_status_list(&elsewhere.sign(&key(1), Algorithm::EdDsa));
        assert_eq!(refused, Err(TrustError::ListElsewhere(uri.to_owned())));
    }
    let others = list(Status::Valid).sign(&key(2), Algorithm::EdDsa);
    assert!(matches!(
        world.verifier.add_status_list(&others),
        Err(TrustError::ListElsewhere(_))
    ));
    let strangers = list(Status::Valid).sign(&key(3), Algorithm::EdDsa);
    assert!(matches!(
        world.verifier.add_status_list(&strangers),
        Err(TrustError::UnknownKey(_))
    ));
    let mut forged = list(Status::Valid).sign(&key(1), Algorithm::EdDsa);
    *forged.last_mut().unwrap() ^= 1;
    assert!(world.verifier.add_status_list(&forged).is_err());
    assert_eq!(world.verdict(&world.coupon(), NOW.0), Verdict::Undetermined);
}

#[test]
fn an_index_beyond_a_short_list_is_rejected() {
    let mut world = World::bare();
    let mut short = list(Status::Valid);
    short.statuses = Statuses::from_packed(vec![0]).unwrap();
    world
        .verifier
        .add_status_list(&short.sign(&key(1), Algorithm::EdDsa))
        .unwrap();
    assert_eq!(world.verdict(&world.coupon(), NOW.0), Verdict::Forged);
}

#[test]
fn kid_campaign_and_status_belong_to_one_issuer() {
    let mut world = World::with_list(Status::Valid);
    world
        .verifier
        .add_issuer(document("did:web:other.example", &[&key(2)]));
    // Signed by the other, everything else of the first.
    let crossed = world.coupon().sign(&key(2), Algorithm::EdDsa);
    let report = world.verifier.check_bytes(&crossed, NOW);
    assert_eq!(report.verdict, Verdict::Forged);
    assert!(report.whys.contains(&Why::CampaignElsewhere));
    // A uri that only begins like the issuer's.
    for uri in [
        "https://coop.example.evil/s/0",
        "https://other.example/s/0",
        "https://coop.example/s/00",
        "http://coop.example/s/0",
    ] {
        let mut coupon = world.coupon();
        coupon.status.uri = uri.to_owned();
        assert_eq!(world.verdict(&coupon, NOW.0), Verdict::Forged, "{uri}");
    }
    // A campaign of the other, and one of a stranger.
    let others = campaign(five_off()).sign(&key(2), Algorithm::EdDsa);
    let id = world.verifier.add_campaign(&others).unwrap();
    assert_eq!(world.verdict(&coupon_under(id), NOW.0), Verdict::Forged);
    let strangers = campaign(five_off()).sign(&key(3), Algorithm::EdDsa);
    let id = Signed::<Campaign>::parse(&strangers).unwrap().id();
    assert!(world.verifier.add_campaign(&strangers).is_err());
    assert_eq!(world.verdict(&coupon_under(id), NOW.0), Verdict::UnknownIssuer);
}

#[test]
fn a_forged_copy_of_a_campaign_does_not_stand_in_for_it() {
    let mut world = World::bare();
    let good = campaign(five_off()).sign(&key(1), Algorithm::EdDsa);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    // The identity does not cover the signature.
    assert_eq!(
        Signed::<Campaign>::parse(&forged).unwrap().id(),
        world.verifier.add_campaign(&good).unwrap()
    );
    assert!(world.verifier.add_campaign(&forged).is_err());
    let coupon = world.coupon().sign(&key(1), Algorithm::EdDsa);
    assert!(world.verifier.check_bytes(&coupon, NOW).campaign.is_some());
}

#[test]
fn strangers_forgers_and_links_to_elsewhere() {
    let world = World::with_list(Status::Valid);
    let stranger = world.coupon().sign(&key(9), Algorithm::EdDsa);
    assert_eq!(
        world.verifier.check_bytes(&stranger, NOW).verdict,
        Verdict::UnknownIssuer
    );
    let good = world.coupon().sign(&key(1), Algorithm::EdDsa);
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(world.verifier.check_bytes(&altered, NOW).verdict, Verdict::Forged);
    let evil = Origin::parse("https://coop.example.evil").unwrap();
    let report = world.verifier.check_text(&qr_text::link(&evil, &good), NOW);
    assert_eq!(report.verdict, Verdict::Forged);
    assert!(matches!(&report.whys[0], Why::LinkElsewhere { link } if link == &evil.to_string()));
}

#[test]
fn of_several_reasons_the_first_by_rank_counts() {
    // Suspended, expired, its list past its time, and a link to elsewhere.
    let world = World::with_list(Status::Suspended);
    let mut coupon = world.coupon();
    coupon.not_after = UnixSeconds(START + 10);
    let bytes = coupon.sign(&key(1), Algorithm::EdDsa);
    let evil = Origin::parse("https://evil.example").unwrap();
    let forged = world
        .verifier
        .check_text(&qr_text::link(&evil, &bytes), UnixSeconds(LIST_END));
    let verdicts: Vec<_> = forged.whys.iter().map(Why::verdict).collect();
    assert_eq!(
        verdicts,
        [Verdict::Forged, Verdict::Expired, Verdict::Undetermined]
    );
    assert_eq!(world.verdict(&coupon, NOW.0), Verdict::Expired);
    assert_eq!(world.verdict(&coupon, START - 1), Verdict::NotYetValid);
    // Expired is found before the list that is not the issuer's, and counts less.
    let mut elsewhere = coupon.clone();
    elsewhere.status.uri = "https://other.example/s/0".to_owned();
    let report = world
        .verifier
        .check_bytes(&elsewhere.sign(&key(1), Algorithm::EdDsa), NOW);
    let verdicts: Vec<_> = report.whys.iter().map(Why::verdict).collect();
    assert_eq!(verdicts, [Verdict::Forged, Verdict::Expired]);
    assert_eq!(report.verdict, Verdict::Forged);
    let bare = World::bare();
    coupon.not_before = Some(UnixSeconds(START));
    assert_eq!(bare.verdict(&coupon, START - 1), Verdict::NotYetValid);
    let codes = Verdict::PRECEDENCE.map(Verdict::exit_code);
    assert_eq!(codes, [17, 16, 11, 10, 15, 12, 13, 14]);
}

#[test]
fn without_the_campaign_the_start_is_said_to_be_unknown() {
    let mut world = World::bare();
    let token = list(Status::Valid).sign(&key(1), Algorithm::EdDsa);
    world.verifier.add_status_list(&token).unwrap();
    let bytes = world.coupon().sign(&key(1), Algorithm::EdDsa);
    let report = world.verifier.check_bytes(&bytes, UnixSeconds(1));
    assert_eq!(report.verdict, Verdict::Valid);
    assert_eq!(report.notes, [Note::StartUnknown, Note::TermsUnknown]);
    let own_start = Coupon {
        not_before: Some(UnixSeconds(START)),
        ..world.coupon()
    };
    let report = world
        .verifier
        .check_bytes(&own_start.sign(&key(1), Algorithm::EdDsa), NOW);
    assert_eq!(report.notes, [Note::TermsUnknown]);
}

#[test]
fn an_own_amount_does_not_go_with_a_percentage() {
    let mut world = World::with_list(Status::Valid);
    let percent = campaign(Benefit::PercentOff {
        basis_points: 1_000,
        cap: None,
    });
    let id = world
        .verifier
        .add_campaign(&percent.sign(&key(1), Algorithm::EdDsa))
        .unwrap();
    let mut coupon = coupon_under(id);
    assert_eq!(world.verdict(&coupon, NOW.0), Verdict::Valid);
    coupon.amount = Some(Amount::new(5).unwrap());
    assert_eq!(world.verdict(&coupon, NOW.0), Verdict::Forged);
}

#[test]
fn receipts_need_no_list() {
    let world = World::bare();
    let stub = ReceiptStub {
        issued_at: UnixSeconds(START),
        total: Amount::new(144).unwrap(),
        currency: Currency::from_letters("EUR").unwrap(),
        register: Register::new("shop1").unwrap(),
        sequence_number: 1,
        kind: ReceiptKind::Sale,
        details_root: Digest::ZERO,
    };
    let bytes = stub.sign(&key(1), Algorithm::Ed25519);
    let report = world.verifier.check_bytes(&bytes, NOW);
    assert_eq!((report.verdict, report.notes), (Verdict::Valid, vec![]));
    let at_once = world.verifier.check_bytes(&bytes, UnixSeconds(START));
    assert_eq!((at_once.verdict, at_once.notes), (Verdict::Valid, vec![]));
    let early = world.verifier.check_bytes(&bytes, UnixSeconds(START - 1));
    assert_eq!(early.verdict, Verdict::Valid);
    assert_eq!(early.notes, [Note::FromTheFuture(UnixSeconds(START))]);
}

#[test]
fn memberships_campaigns_and_lists_are_judged_too() {
    let world = World::with_list(Status::Suspended);
    let check = |bytes: &[u8], at: u64| world.verifier.check_bytes(bytes, UnixSeconds(at)).verdict;
    let member = member().sign(&key(1), Algorithm::EdDsa);
    assert_eq!(check(&member, NOW.0), Verdict::Suspended);
    assert_eq!(check(&member, START - 1), Verdict::NotYetValid);
    let campaign = campaign(five_off()).sign(&key(1), Algorithm::EdDsa);
    assert_eq!(check(&campaign, START - 1), Verdict::NotYetValid);
    assert_eq!(check(&campaign, NOW.0), Verdict::Valid);
    assert_eq!(check(&campaign, END), Verdict::Expired);
    let token = list(Status::Valid).sign(&key(1), Algorithm::EdDsa);
    assert_eq!(check(&token, NOW.0), Verdict::Valid);
    assert_eq!(check(&token, LIST_END), Verdict::Expired);
    let mut elsewhere = list(Status::Valid);
    elsewhere.uri = "https://other.example/s/0".to_owned();
    assert_eq!(
        check(&elsewhere.sign(&key(1), Algorithm::EdDsa), NOW.0),
        Verdict::Forged
    );
    assert_eq!(
        check(&elsewhere.sign(&key(9), Algorithm::EdDsa), NOW.0),
        Verdict::UnknownIssuer
    );
}

#[test]
fn two_nodes_with_one_key_are_told_apart_by_what_belongs_to_them() {
    let mut world = World::bare();
    let mut verifier = Verifier::new();
    verifier.add_issuer(document("did:web:first.example", &[&key(1)]));
    verifier.add_issuer(document("did:web:coop.example", &[&key(1)]));
    // Two documents of one node add up.
    verifier.add_issuer(document("did:web:coop.example", &[&key(2)]));
    assert_eq!((Verifier::new().issuers(), verifier.issuers()), (0, 2));
    let signed = campaign(five_off()).sign(&key(1), Algorithm::EdDsa);
    verifier.add_campaign(&signed).unwrap();
    let token = list(Status::Valid).sign(&key(1), Algorithm::EdDsa);
    verifier.add_status_list(&token).unwrap();
    world.verifier = verifier;
    let coupon = world.coupon().sign(&key(1), Algorithm::EdDsa);
    let member = member().sign(&key(1), Algorithm::EdDsa);
    for (bytes, kind) in [(coupon, "coupon"), (member, "membership"), (token, "status list")] {
        let report = world.verifier.check_bytes(&bytes, NOW);
        assert_eq!(report.subject.as_ref().map(Subject::kind_name), Some(kind));
        assert_eq!((report.verdict, report.whys), (Verdict::Valid, vec![]));
        assert_eq!(report.issuer.as_deref(), Some("coop.example"));
    }
}

#[test]
fn loopback_nodes_speak_http() {
    let mut verifier = Verifier::new();
    verifier.add_issuer(document("did:web:127.0.0.1%3A8080", &[&key(1)]));
    let origin = Origin::parse("http://127.0.0.1:8080").unwrap();
    let mut token = list(Status::UsedUp);
    token.uri = origin.status_uri(0);
    verifier
        .add_status_list(&token.sign(&key(1), Algorithm::EdDsa))
        .unwrap();
    let mut coupon = coupon_under(CampaignId([0; 16]));
    coupon.status.uri = origin.status_uri(0);
    let bytes = coupon.sign(&key(1), Algorithm::EdDsa);
    let report = verifier.check_text(&qr_text::link(&origin, &bytes), NOW);
    assert_eq!(report.verdict, Verdict::UsedUp);
}

#[test]
fn did_documents_with_a_bad_key_are_refused_whole() {
    let did = "did:web:coop.example";
    let with_x = |x: &[u8; 32], name: &str| {
        let mut json = did_json(did, &[&key(1), &key(2)]);
        json["verificationMethod"][1]["publicKeyJwk"]["x"] = BASE64URL_NOPAD.encode(x).into();
        json["verificationMethod"][1]["id"] = format!("{did}#{name}").into();
        DidDocument::parse(json.to_string().as_bytes())
    };
    // The eight points of small order, as every encoder writes them.
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut order_two = [0xff; 32];
    (order_two[0], order_two[31]) = (0xec, 0x7f);
    for x in [[0; 32], identity, order_two] {
        assert!(
            matches!(
                with_x(&x, "00"),
                Err(DidDocumentError::Key {
                    error: KeyError::SmallOrder,
                    ..
                })
            ),
            "{x:?}"
        );
    }
    let good = *key(2).public().as_bytes();
    assert!(matches!(
        with_x(&good, "0011223344556677"),
        Err(DidDocumentError::KeyName { .. })
    ));
    let kid = key(2).public().kid().to_string();
    assert_eq!(with_x(&good, &kid).unwrap().keys.len(), 2);
    assert!(with_x(&good, &kid.to_ascii_uppercase()).is_err());
    for (member, value) in [
        ("id", json!("did:web:coop.example:shop")),
        ("id", json!(7)),
        ("verificationMethod", json!([])),
        ("verificationMethod", json!("none")),
    ] {
        let mut json = did_json(did, &[&key(1)]);
        json[member] = value;
        assert!(DidDocument::parse(json.to_string().as_bytes()).is_err());
    }
    assert!(DidDocument::parse(b"[").is_err());
}

#[test]
fn did_documents_reach_to_their_limit_and_no_further() {
    let mut json = did_json("did:web:coop.example", &[&key(1)])
        .to_string()
        .into_bytes();
    json.resize(limits::DID_DOCUMENT_BYTES_MAX, b' ');
    assert!(DidDocument::parse(&json).is_ok());
    json.push(b' ');
    assert_eq!(DidDocument::parse(&json), Err(DidDocumentError::TooLong));
}

#[test]
fn keys_of_other_kinds_and_relative_names_are_fine() {
    let mut json = did_json("did:web:coop.example", &[&key(1), &key(2)]);
    json["verificationMethod"][0]["publicKeyJwk"]["crv"] = "P-256".into();
    json["verificationMethod"][1]["id"] = format!("#{}", key(2).public().kid()).into();
    let document = DidDocument::parse(json.to_string().as_bytes()).unwrap();
    assert_eq!(document.keys, [*key(2).public()]);
}

#[test]
fn a_key_that_was_revoked_is_passed_over() {
    let mut json = did_json("did:web:coop.example", &[&key(1), &key(2)]);
    json["verificationMethod"][0]["revoked"] = "2026-03-07T15:21:09Z".into();
    let document = DidDocument::parse(json.to_string().as_bytes()).unwrap();
    assert_eq!(document.keys, [*key(2).public()]);
    json["verificationMethod"][1]["revoked"] = true.into();
    let none = DidDocument::parse(json.to_string().as_bytes());
    assert_eq!(none, Err(DidDocumentError::NoKey));
}

/// Two lists of one time, signed with these keys.
fn two_lists(uri: &str, keys: [u8; 2]) -> ListEvidence {
    let token = |status, seed| {
        let mut list = list(status);
        list.uri = uri.to_owned();
        list.sign(&key(seed), Algorithm::EdDsa)
    };
    let bytes = ListEvidence::of(&token(Status::Valid, keys[0]), &token(Status::Revoked, keys[1]));
    ListEvidence::decode(&bytes).unwrap()
}

#[test]
fn two_lists_convict_the_issuer_whose_keys_have_signed_both() {
    let mut verifier = World::bare().verifier;
    verifier.add_issuer(document("did:web:coop.example", &[&key(2)]));
    verifier.add_issuer(document("did:web:other.example", &[&key(3)]));
    let own = origin().status_uri(0);
    // With one key, and with a key and the one that came after it.
    for keys in [[1, 1], [1, 2], [2, 1]] {
        assert_eq!(verifier.convict(&two_lists(&own, keys)), Ok("coop.example"));
    }
    let unknown = Err(TrustError::UnknownKey(key(9).public().kid()));
    for keys in [[1, 9], [9, 1], [9, 9]] {
        assert_eq!(verifier.convict(&two_lists(&own, keys)), unknown, "{keys:?}");
    }
    // Another member's name, by one's own keys; and a co-op that joins in for it.
    let others = "https://other.example/s/0";
    for (uri, keys) in [
        (others, [1, 1]),
        (others, [1, 3]),
        (own.as_str(), [1, 3]),
        (others, [9, 1]),
    ] {
        let elsewhere = Err(TrustError::ListElsewhere(uri.to_owned()));
        assert_eq!(
            verifier.convict(&two_lists(uri, keys)),
            elsewhere,
            "{uri} {keys:?}"
        );
    }
    assert!(Verifier::new().convict(&two_lists(&own, [1, 1])).is_err());
}

/// A stranger puts a second list beside a true one, under the kid of the true key.
#[test]
fn what_a_stranger_signs_in_an_issuers_name_convicts_nobody() {
    let verifier = World::bare().verifier;
    let good = list(Status::Valid).sign(&key(1), Algorithm::EdDsa);
    let mut forged = list(Status::Revoked).sign(&key(1), Algorithm::EdDsa);
    *forged.last_mut().unwrap() ^= 1;
    let unknown = list(Status::Suspended).sign(&key(9), Algorithm::EdDsa);
    for other in [&good, &unknown] {
        let evidence = ListEvidence::decode(&ListEvidence::of(other, &forged)).unwrap();
        let bad = TrustError::Malformed(CredentialError::BadSignature);
        assert_eq!(verifier.convict(&evidence), Err(bad));
    }
}

#[test]
fn junk_around_a_text_is_refused() {
    let world = World::with_list(Status::Valid);
    let bytes = world.coupon().sign(&key(1), Algorithm::EdDsa);
    let (digits, link) = (qr_text::encode_digits(&bytes), qr_text::link(&origin(), &bytes));
    for text in [
        format!("x{digits}"),
        format!("{digits}x"),
        format!("{digits} 1"),
        format!("0{digits}"),
        format!("{digits}0"),
        format!("{digits}\n{digits}"),
        format!("a {link}"),
        format!("{link}#"),
        format!("{link}{link}"),
        link.replace("/V#", "/V/#"),
        link.replace("/V#", "/W#"),
        digits.replacen('1', "\u{661}", 1),
        String::new(),
        "17".to_owned(),
    ] {
        assert_eq!(
            world.verifier.check_text(&text, NOW).verdict,
            Verdict::Forged,
            "{text}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_changed_it_is_never_valid(
        place in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<prop::sample::Index>(), how in 0..3_u8,
    ) {
        let world = World::with_list(Status::Valid);
        let mut bytes = world.coupon().sign(&key(1), Algorithm::EdDsa);
        match how {
            0 => { let at = place.index(bytes.len()); bytes[at] ^= flip; }
            1 => bytes.truncate(cut.index(bytes.len())),
            _ => bytes.insert(cut.index(bytes.len() + 1), flip),
        }
        let report = world.verifier.check_bytes(&bytes, NOW);
        prop_assert!(matches!(report.verdict, Verdict::Forged | Verdict::UnknownIssuer));
        prop_assert!(report.whys.iter().all(|why| !why.clause(&|at| at.to_string()).is_empty()));
    }

    #[test]
    fn whatever_comes_nothing_panics(bytes: Vec<u8>, text: String) {
        let world = World::bare();
        prop_assert_ne!(world.verifier.check_bytes(&bytes, NOW).verdict, Verdict::Valid);
        prop_assert_ne!(world.verifier.check_text(&text, NOW).verdict, Verdict::Valid);
        prop_assert!(DidDocument::parse(&bytes).is_err());
    }
}
