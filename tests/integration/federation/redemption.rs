//! Coupons of one co-op redeemed at another: two logs, two halves, and the truth told
//! to the till at every moment.

use reqwest::Method;
use serde_json::{Value, json};
use tallystick::ledger::{Event, Place};
use tallystick::log::Entry;
use tallystick::node::audit::{AuditOptions, Verdict, audit};
use tallystick::server::line::Line;
use tallystick::testkit::TestNode;
use tallystick::testkit::federation::{TestFederation, TestMember};

/// Sends JSON, and gives status and answer.
async fn call(
    member: &TestMember,
    method: Method,
    path: &str,
    key: &str,
    body: Option<(&str, Value)>,
) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client
        .request(method, format!("{}{path}", member.url))
        .bearer_auth(key);
    if let Some((idempotency_key, body)) = body {
        request = request
            .header("idempotency-key", idempotency_key)
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap(),
    )
}

pub async fn post(
    member: &TestMember,
    path: &str,
    key: &str,
    idempotency_key: &str,
    body: Value,
) -> (u16, Value) {
    call(member, Method::POST, path, key, Some((idempotency_key, body))).await
}

async fn get(member: &TestMember, path: &str, key: &str) -> (u16, Value) {
    call(member, Method::GET, path, key, None).await
}

/// A campaign of `member` and some of its coupons, as QR texts.
pub async fn coupons(member: &TestMember, benefit: Value, count: u32) -> Vec<String> {
    let office = &member.node.office_key;
    let (status, campaign) = post(
        member,
        "/v1/campaigns",
        office,
        "campaign",
        json!({
            "name": "Harvest", "text": "For members of all our co-ops", "currency": "EUR", "benefit": benefit,
            "not_before": "2026-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z",
            "reversal_window_seconds": 86_400,
        }),
    )
    .await;
    assert_eq!(status, 201, "{campaign}");
    let order = json!({"campaign": campaign["id"], "count": count});
    let (status, issued) = post(member, "/v1/coupons", office, "coupons", order).await;
    assert_eq!(status, 201, "{issued}");
    let text = |coupon: &Value| coupon["qr"].as_str().unwrap().to_owned();
    issued["coupons"].as_array().unwrap().iter().map(text).collect()
}

pub fn two_off() -> Value {
    json!({"kind": "amount_off", "amount": 200})
}

fn sale(coupon: &str, reference: &str) -> Value {
    json!({
        "coupon": coupon, "register": TestNode::REGISTER, "till_reference": reference,
        "basket": {"total": 1_250, "currency": "EUR"},
    })
}

async fn redeem(member: &TestMember, coupon: &str, reference: &str) -> (u16, Value) {
    post(
        member,
        "/v1/redemptions",
        &member.node.till_key,
        reference,
        sale(coupon, reference),
    )
    .await
}

/// The events in a member's log, in order.
fn events(member: &TestMember) -> Vec<Event> {
    let node = &member.node.node;
    (0..node.size())
        .map(|index| {
            let entry = Entry::decode(&node.log_entry(index).unwrap().bytes).unwrap();
            Event::from_body(entry.kind, &entry.body).unwrap().0
        })
        .collect()
}

/// Every entry, against `schemas/entry-bodies.cddl`.
fn assert_entries_are_as_the_schema_says(member: &TestMember) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/entry-bodies.cddl");
    let schema = std::fs::read_to_string(path).unwrap();
    let node = &member.node.node;
    for index in 0..node.size() {
        let bytes = node.log_entry(index).unwrap().bytes;
        if let Err(error) = cddl::validate_cbor_from_slice(&schema, &bytes, None) {
            panic!("entry {index} is refused: {error}");
        }
    }
}

/// Both logs' halves, as the identities, entries and amounts that have to match.
fn assert_halves_match(issuer: &TestMember, redeemer: &TestMember) -> usize {
    let own = redeemer.node.node.options().origin.did_web();
    let issued: Vec<_> = events(issuer)
        .into_iter()
        .zip(0_u64..)
        .filter_map(|(event, index)| match event {
            Event::Redeemed(half) if half.redeemer == own => match half.place {
                Place::Partner { request_id } => Some((request_id, index, half.amount)),
                Place::Register(_) => None,
            },
            Event::Reversed(half) => half
                .partner
                .filter(|call| call.redeemer == own)
                .map(|call| (call.request_id, index, half.amount)),
            _ => None,
        })
        .collect();
    let did = issuer.node.node.options().origin.did_web();
    let mut redeemed: Vec<_> = events(redeemer)
        .into_iter()
        .filter_map(|event| match event {
            Event::RedeemerHalf(half) if half.issuer == did => {
                let entry = issuer.node.node.log_entry(half.issuer_entry).unwrap();
                assert_eq!(entry.entry.hash, half.issuer_hash);
                Some((half.id, half.issuer_entry, half.amount))
            }
            _ => None,
        })
        .collect();
    redeemed.sort_by_key(|half| half.1);
    assert_eq!(issued, redeemed);
    issued.len()
}

#[tokio::test]
async fn a_partner_redeems_a_coupon_once_with_a_half_in_each_log() {
    let valley = TestFederation::start(3, false).await;
    let [north, south, east] = &valley.members[..] else {
        panic!("three")
    };
    let coupons = coupons(north, two_off(), 2).await;
    let validation = json!({"coupon": coupons[0], "basket": {"total": 1_250, "currency": "EUR"}});
    let (status, valid) = post(
        south,
        "/v1/validations",
        &south.node.till_key,
        "unused",
        validation,
    )
    .await;
    assert_eq!(
        (status, &valid["valid"], &valid["amount"]),
        (200, &json!(true), &json!(200)),
        "{valid}"
    );

    let (status, made) = redeem(south, &coupons[0], "sale-1").await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (&made["amount"], &made["remaining_uses"]),
        (&json!(200), &json!(0))
    );
    assert_eq!(made["issuer_half"]["issuer"], "did:web:coop-0.example");
    // A repeat is the same, byte for byte, and is done once.
    assert_eq!(redeem(south, &coupons[0], "sale-1").await, (201, made.clone()));
    assert_eq!(assert_halves_match(north, south), 1);

    // At a third co-op, at the issuer, and here again, it is used up.
    for (member, reference) in [(east, "sale-2"), (north, "sale-3"), (south, "sale-4")] {
        let (status, refused) = redeem(member, &coupons[0], reference).await;
        assert_eq!(
            (status, &refused["code"]),
            (422, &json!("coupon_used_up")),
            "{refused}"
        );
        assert_eq!(redeem(member, &coupons[0], reference).await, (422, refused));
    }
    // A till's reference finds it, and its identity.
    let till = &south.node.till_key;
    let (_, found) = get(south, "/v1/redemptions?till_reference=sale-1", till).await;
    assert_eq!(found["redemptions"][0]["id"], made["id"]);
    let path = format!("/v1/redemptions/{}", made["id"].as_str().unwrap());
    let (status, shown) = get(south, &path, till).await;
    assert_eq!(
        (status, &shown["id"], &shown["reversed"]),
        (200, &made["id"], &json!(0))
    );

    // Reversed with its use, another co-op redeems it.
    let reversal = json!({"till_reference": "sale-1", "give_back": true});
    let (status, reversed) = post(south, &format!("{path}/reversals"), till, "reversal", reversal).await;
    assert_eq!((status, &reversed["amount"]), (201, &json!(200)), "{reversed}");
    assert_eq!(get(south, &path, till).await.1["reversed"], 200);
    assert_eq!(redeem(east, &coupons[0], "sale-5").await.0, 201);
    assert_eq!(
        (
            assert_halves_match(north, south),
            assert_halves_match(north, east)
        ),
        (2, 1)
    );
    for member in &valley.members {
        assert_entries_are_as_the_schema_says(member);
    }
    for node in valley.stop().await {
        node.node.shut_down().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_outcome_unknown_until_it_is_known() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    let coupons = coupons(north, two_off(), 3).await;
    // The terms are known before the line is cut.
    assert_eq!(redeem(south, &coupons[0], "sale-0").await.0, 201);
    let till = &south.node.till_key;

    for (n, line, made_before) in [(1, Line::AnswersLost, true), (2, Line::Cut, false)] {
        valley.lines[0].set(line);
        let reference = format!("sale-{n}");
        let (status, unknown) = redeem(south, &coupons[n], &reference).await;
        assert_eq!(
            (status, &unknown["code"]),
            (503, &json!("outcome_unknown")),
            "{unknown}"
        );
        assert_eq!(
            (&unknown["retry"], &unknown["offline_acceptance"]),
            (&json!(true), &json!(false))
        );
        let (_, found) = get(
            south,
            &format!("/v1/redemptions?till_reference={reference}"),
            till,
        )
        .await;
        assert_eq!(found["not_made"][0]["state"], "unknown");
        let halves = events(north).into_iter().filter(
            |event| matches!(event, Event::Redeemed(half) if matches!(half.place, Place::Partner { .. })),
        );
        assert_eq!(halves.count(), n + usize::from(made_before), "{line:?}");
        valley.lines[0].set(Line::Whole);
        let made = until_made(south, &coupons[n], &reference).await;
        assert_eq!(made["id"], unknown["redemption"]);
    }
    assert_eq!(assert_halves_match(north, south), 3);
    valley.stop().await;
}

async fn until_made(member: &TestMember, coupon: &str, reference: &str) -> Value {
    for _ in 0..100 {
        match redeem(member, coupon, reference).await {
            (201, made) => return made,
            (503, _) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("the outcome never became known");
}

#[tokio::test]
async fn a_sale_that_is_given_up_is_cancelled_at_the_issuer() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    let coupons = coupons(north, two_off(), 3).await;
    assert_eq!(redeem(south, &coupons[0], "sale-0").await.0, 201);
    let till = &south.node.till_key;
    valley.lines[0].set(Line::Cut);
    let (_, unknown) = redeem(south, &coupons[1], "sale-1").await;
    let path = format!(
        "/v1/redemptions/{}/cancellations",
        unknown["redemption"].as_str().unwrap()
    );
    let (status, still) = post(south, &path, till, "cancel-1", json!({})).await;
    assert_eq!(
        (status, &still["code"]),
        (503, &json!("outcome_unknown")),
        "{still}"
    );
    valley.lines[0].set(Line::Whole);
    let mut cancelled = (503, Value::Null);
    for _ in 0..100 {
        cancelled = post(south, &path, till, "cancel-1", json!({})).await;
        if cancelled.0 != 503 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        (cancelled.0, &cancelled.1["state"]),
        (200, &json!("cancelled")),
        "{cancelled:?}"
    );
    assert!(
        events(north)
            .iter()
            .any(|event| matches!(event, Event::RequestCancelled(_)))
    );
    // The till hears of it, and the coupon is free for another sale.
    let (status, refused) = redeem(south, &coupons[1], "sale-1").await;
    assert_eq!((status, &refused["code"]), (409, &json!("redemption_cancelled")));
    assert_eq!(redeem(south, &coupons[1], "sale-2").await.0, 201);
    // What was made cannot be cancelled.
    valley.lines[0].set(Line::AnswersLost);
    let (_, unknown) = redeem(south, &coupons[2], "sale-3").await;
    let path = format!(
        "/v1/redemptions/{}/cancellations",
        unknown["redemption"].as_str().unwrap()
    );
    valley.lines[0].set(Line::Whole);
    let (status, made) = post(south, &path, till, "cancel-2", json!({})).await;
    assert_eq!(
        (status, &made["code"]),
        (409, &json!("redemption_made")),
        "{made}"
    );
    assert_eq!(assert_halves_match(north, south), 3);
    for member in &valley.members {
        assert_entries_are_as_the_schema_says(member);
    }
    valley.stop().await;
}

#[test]
fn requests_and_answers_are_as_the_schema_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/redemption.cddl");
    let schema = std::fs::read_to_string(path).unwrap();
    let seeds = tallystick::testkit::fuzz::redemption_seeds();
    for (start, bytes) in ["redemption-body", "redemption-answer-body"].iter().zip(seeds) {
        let schema = format!("start = {start}\n{schema}");
        let validate = |bytes: &[u8]| cddl::validate_cbor_from_slice(&schema, bytes, None);
        if let Err(error) = validate(&bytes) {
            panic!("{start}: {error}");
        }
        assert!(
            validate(&bytes[1..]).is_err() && validate(&[0x82, 0, 0]).is_err(),
            "{start}"
        );
    }
}

#[tokio::test]
async fn stored_value_is_spent_in_parts_at_several_co_ops() {
    let valley = TestFederation::start(3, false).await;
    let [north, south, east] = &valley.members[..] else {
        panic!("three")
    };
    let coupons = coupons(north, json!({"kind": "stored_value", "amount": 2_000}), 1).await;
    let spend = |member, amount: i64, reference: &'static str| {
        let mut body = sale(&coupons[0], reference);
        body["amount"] = json!(amount);
        async move {
            post(
                member,
                "/v1/redemptions",
                &TestMember::till(member),
                reference,
                body,
            )
            .await
        }
    };
    let (status, first) = spend(south, 700, "a").await;
    assert_eq!(
        (status, &first["remaining_value"]),
        (201, &json!(1_300)),
        "{first}"
    );
    let (status, second) = spend(east, 1_000, "b").await;
    assert_eq!(
        (status, &second["remaining_value"]),
        (201, &json!(300)),
        "{second}"
    );
    let (status, refused) = spend(south, 700, "c").await;
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("amount_too_large")),
        "{refused}"
    );
    // Without an amount it is as much as there is.
    let (status, rest) = redeem(south, &coupons[0], "d").await;
    assert_eq!(
        (status, &rest["amount"], &rest["remaining_value"]),
        (201, &json!(300), &json!(0)),
        "{rest}"
    );
    assert_eq!(
        (
            assert_halves_match(north, south),
            assert_halves_match(north, east)
        ),
        (2, 1)
    );
    valley.stop().await;
}

#[tokio::test]
async fn both_sides_start_anew_and_nothing_is_lost() {
    let mut valley = TestFederation::start(2, true).await;
    let coupons = coupons(&valley.members[0], two_off(), 2).await;
    assert_eq!(redeem(&valley.members[1], &coupons[0], "sale-0").await.0, 201);
    valley.lines[0].set(Line::AnswersLost);
    let (_, unknown) = redeem(&valley.members[1], &coupons[1], "sale-1").await;
    assert_eq!(unknown["code"], "outcome_unknown");
    valley.restart(1).await;
    valley.restart(0).await;
    assert_eq!(valley.members[1].node.node.open_intents().len(), 1);
    valley.lines[0].set(Line::Whole);
    // Without a till that asks.
    for _ in 0..200 {
        if valley.members[1].node.node.open_intents().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (status, made) = redeem(&valley.members[1], &coupons[1], "sale-1").await;
    assert_eq!((status, &made["id"]), (201, &unknown["redemption"]), "{made}");
    assert_eq!(assert_halves_match(&valley.members[0], &valley.members[1]), 2);
    for node in valley.stop().await {
        node.node.shut_down().await;
        // The test holds its own handle on the store.
        let copied = tempfile::tempdir().unwrap();
        let dir = copied.path().join("copy");
        crate::cli::copy(node.dir(), &dir);
        let options = AuditOptions {
            dir: dir.join("store"),
            guard: Some(dir.join("guard")),
            ..AuditOptions::default()
        };
        let report = audit(&options, &mut |_, _| ()).unwrap();
        assert_eq!(report.verdict(), Verdict::Clean, "{:?}", report.findings);
    }
}
