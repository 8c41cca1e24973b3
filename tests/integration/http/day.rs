//! A till's day: sale, campaign, coupon, validation, redemption, reversal,
//! revocation, and everything looked up again.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tallystick::credential::status_list::{Status, StatusListToken};
use tallystick::credential::{ReceiptStub, Signed, details::ReceiptDetails};
use tallystick::encoding::qr_text;
use tallystick::merkle;
use tallystick::primitives::CouponName;
use tallystick::testkit::TestNode;

use super::client::{Served, merge, receipt, redemption, send};

fn bytes(value: &Value) -> Vec<u8> {
    BASE64URL_NOPAD
        .decode(value.as_str().unwrap().as_bytes())
        .unwrap()
}

#[tokio::test]
async fn a_sale_becomes_a_receipt_that_shows_the_same_every_time() {
    let served = Served::start(TestNode::in_memory(1)).await;
    let till = served.node.till_key.clone();
    let mut body = receipt("2026-03-07/000812");
    merge(&mut body, &json!({"cashier": "Ada", "member": "M-17"}));
    let posted = served.post("/v1/receipts", &till, "k1", &body).await;
    let answer = posted.created();
    assert_eq!(answer["sequence_number"], 1);
    let id = answer["id"].as_str().unwrap();
    assert_eq!(posted.header("location"), format!("/v1/receipts/{id}"));
    assert!(!posted.header("x-request-id").is_empty());
    let stub = bytes(&answer["credential"]);
    assert_eq!(
        answer["qr"],
        qr_text::link(&served.node.node.options().origin, &stub)
    );
    let signed = Signed::<ReceiptStub>::parse(&stub).unwrap();
    signed.verify(&served.node.node.credential_key()).unwrap();
    assert_eq!(signed.tag().to_string(), id);

    let view = served.get(&format!("/v1/receipts/{id}"), &till).await.ok();
    for member in ["id", "sequence_number", "qr", "credential", "secret", "entry"] {
        assert_eq!(view[member], answer[member], "{member}");
    }
    for member in ["register", "type", "currency", "total"] {
        assert_eq!(view[member], body[member], "{member}");
    }
    assert_eq!(view["issued_at"], "2026-03-07T15:21:09Z");
    for member in ["lines", "taxes", "tenders", "cashier", "member", "till_reference"] {
        assert_eq!(view["details"][member], body[member], "{member}");
    }
    // The leaves give the root that the stub signs, and so does the secret.
    let leaves: Vec<Vec<u8>> = view["leaves"].as_array().unwrap().iter().map(bytes).collect();
    let hashes: Vec<_> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
    assert_eq!(merkle::root_of(&hashes), signed.content().details_root.0);
    let details = ReceiptDetails::from_leaves(&leaves).unwrap();
    let secret: [u8; 32] = bytes(&view["secret"]).try_into().unwrap();
    assert_eq!(details.root(&secret), signed.content().details_root);

    let path = "/v1/receipts?till_reference=2026-03-07%2F000812";
    let found = served.get(path, &till).await.ok();
    assert_eq!(found, json!({"receipts": [view]}));
    let path = format!("{path}&register={}", TestNode::REGISTER);
    assert_eq!(served.get(&path, &served.node.office_key).await.ok(), found);
    let none = served.get("/v1/receipts?till_reference=other", &till).await.ok();
    assert_eq!(none, json!({"receipts": []}));
}

#[tokio::test]
async fn a_coupon_lives_and_ends() {
    let served = Served::start(TestNode::in_memory(2)).await;
    let (till, office) = (served.node.till_key.clone(), served.node.office_key.clone());
    let campaign = served.campaign(&json!({"minimum_basket": 1_000})).await;
    let coupon = served.coupon(&campaign, "c1").await;
    let validation = json!({"coupon": coupon["qr"], "basket": {"total": 1_250, "currency": "EUR"}});

    let size = served.node.node.size();
    let quote = served.post("/v1/validations", &till, "", &validation).await.ok();
    let good = json!({"valid": true, "amount": 300, "remaining_uses": 0, "remaining_value": null});
    assert_eq!(quote, good);
    let mut small = validation.clone();
    small["basket"]["total"] = json!(999);
    let refused = served.post("/v1/validations", &till, "", &small).await.ok();
    assert_eq!(
        (&refused["valid"], &refused["code"]),
        (&json!(false), &json!("basket_below_minimum"))
    );
    assert_eq!(refused["minimum"], 1_000);
    assert_eq!(served.node.node.size(), size, "a validation changes nothing");

    let made = served
        .post("/v1/redemptions", &till, "r1", &redemption(&coupon, "sale-1"))
        .await;
    let made = made.created();
    assert_eq!(
        (&made["amount"], &made["remaining_uses"]),
        (&json!(300), &json!(0))
    );
    served.node.clock.advance(60);
    let second = redemption(&coupon, "sale-2");
    let problem = served.post("/v1/redemptions", &till, "r2", &second).await;
    let problem = problem.problem(422, "coupon_used_up");
    assert_eq!(problem["used_at"], "2026-03-07T15:21:09Z");
    assert_eq!(problem["used_register"], TestNode::REGISTER);
    let refused = served.post("/v1/validations", &till, "", &validation).await.ok();
    assert_eq!(refused["code"], "coupon_used_up");
    assert_eq!(refused["used_register"], TestNode::REGISTER);

    let id = made["id"].as_str().unwrap();
    let view = served.get(&format!("/v1/redemptions/{id}"), &till).await.ok();
    assert_eq!(
        (&view["coupon"], &view["campaign"]),
        (&coupon["name"], &json!(campaign))
    );
    assert_eq!(
        (&view["reversed"], &view["basket_total"]),
        (&json!(0), &json!(1_250))
    );
    let found = served
        .get("/v1/redemptions?till_reference=sale-1", &till)
        .await
        .ok();
    assert_eq!(found, json!({"redemptions": [view]}));
    let none = served
        .get("/v1/redemptions?till_reference=sale-2", &till)
        .await
        .ok();
    assert_eq!(none, json!({"redemptions": []}));

    let path = format!("/v1/redemptions/{id}/reversals");
    let reversal = json!({"till_reference": "sale-1-back", "give_back": true});
    let reversed = served.post(&path, &till, "v1", &reversal).await.created();
    assert_eq!(reversed["amount"], 300);
    let view = served.get(&format!("/v1/redemptions/{id}"), &till).await.ok();
    assert_eq!(view["reversed"], 300);
    served
        .post(
            &path,
            &till,
            "v2",
            &json!({"till_reference": "again", "give_back": true}),
        )
        .await
        .problem(422, "reversal_too_large");
    assert_eq!(
        served.post("/v1/validations", &till, "", &validation).await.ok(),
        good
    );

    let revocation = json!({"name": coupon["name"], "status": "revoked", "reason": "printed twice"});
    let revoked = served
        .post("/v1/revocations", &office, "x1", &revocation)
        .await
        .created();
    assert_eq!(revoked["changed"], 1);
    let refused = served.post("/v1/validations", &till, "", &validation).await.ok();
    assert_eq!(refused["code"], "coupon_revoked");
    served
        .post(
            "/v1/revocations",
            &office,
            "x2",
            &json!({"coupon": coupon["qr"], "status": "valid"}),
        )
        .await
        .problem(422, "revocation_final");
    // The next second, the list says so to everyone.
    served.node.clock.advance(2);
    served.post("/v1/validations", &till, "", &validation).await.ok();
    let name = CouponName::parse(coupon["name"].as_str().unwrap()).unwrap();
    let token = served.get(&format!("/s/{}", name.list), "").await.body;
    let token = StatusListToken::parse(&token).unwrap();
    token.verify(&served.node.node.credential_key()).unwrap();
    assert_eq!(token.list().get(name.index), Some(Status::Revoked));
}

#[tokio::test]
async fn stored_value_is_spent_in_parts_and_percentages_are_capped() {
    let served = Served::start(TestNode::in_memory(3)).await;
    let till = served.node.till_key.clone();
    let value = json!({"name": "Gift", "benefit": {"kind": "stored_value", "amount": 2_000}});
    let gift = served.coupon(&served.campaign(&value).await, "c1").await;
    let mut part = redemption(&gift, "g1");
    part["amount"] = json!(700);
    let made = served.post("/v1/redemptions", &till, "g1", &part).await.created();
    assert_eq!(
        (&made["amount"], &made["remaining_uses"], &made["remaining_value"]),
        (&json!(700), &json!(null), &json!(1_300))
    );
    part["amount"] = json!(1_301);
    part["till_reference"] = json!("g2");
    let problem = served.post("/v1/redemptions", &till, "g2", &part).await;
    assert_eq!(problem.problem(422, "amount_too_large")["most"], 1_250);

    let percent =
        json!({"name": "Ten", "benefit": {"kind": "percent_off", "basis_points": 1_000, "cap": 100}});
    let ten = served.coupon(&served.campaign(&percent).await, "c2").await;
    let made = served
        .post("/v1/redemptions", &till, "t1", &redemption(&ten, "t1"))
        .await
        .created();
    assert_eq!(made["amount"], 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_clients_exactly_one_redeems() {
    let served = Arc::new(Served::start(TestNode::on_sled(4)).await);
    let campaign = served.campaign(&json!({})).await;
    let coupon = served.coupon(&campaign, "c1").await;
    let effects = served.effects();
    let clients = (0..64).map(|n| {
        let (served, coupon) = (Arc::clone(&served), coupon.clone());
        tokio::spawn(async move {
            let mut body = redemption(&coupon, &format!("sale-{n}"));
            let mut key = &served.node.till_key;
            if n % 2 == 1 {
                key = &served.node.other_till_key;
                body["register"] = json!(TestNode::OTHER_REGISTER);
            }
            let request = served
                .request(reqwest::Method::POST, "/v1/redemptions", key)
                .header("idempotency-key", format!("key-{n}"))
                .json(&body);
            (body["register"].clone(), send(request).await)
        })
    });
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for client in clients.collect::<Vec<_>>() {
        let (register, answer) = client.await.unwrap();
        if answer.status == 201 {
            winners.push(register);
        } else {
            losers.push(answer.problem(422, "coupon_used_up"));
        }
    }
    assert_eq!((winners.len(), losers.len()), (1, 63));
    for problem in losers {
        assert_eq!(problem["used_register"], winners[0]);
        assert_eq!(problem["used_at"], "2026-03-07T15:21:09Z");
        assert_eq!(problem["retry"], false);
    }
    assert_eq!(served.effects(), effects + 1);
}

#[tokio::test]
async fn numbers_have_no_gaps_and_are_each_registers_own() {
    let served = Served::start(TestNode::in_memory(5)).await;
    let mut numbers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for n in 0..6 {
        let register = [TestNode::REGISTER, TestNode::OTHER_REGISTER][n % 2];
        let mut body = receipt(&format!("s{n}"));
        body["register"] = json!(register);
        let answer = served
            .post("/v1/receipts", &served.node.office_key, &format!("k{n}"), &body)
            .await;
        let number = answer.created()["sequence_number"].as_u64().unwrap();
        numbers.entry(register).or_default().push(number);
    }
    assert!(numbers.values().all(|numbers| *numbers == [1, 2, 3]));
}
