//! Who may do and read what (formats, section 4, 'Who may read').

use serde_json::{Value, json};
use tallystick::credential::{ReceiptStub, Signed};
use tallystick::testkit::TestNode;

use super::client::{Served, campaign, receipt, redemption, send};

#[tokio::test]
async fn each_role_does_what_it_may_and_nothing_else() {
    let served = Served::start(TestNode::in_memory(21)).await;
    let node = &served.node;
    let coupon = served
        .coupon(&served.campaign(&json!({"name": "First"})).await, "c")
        .await;
    let validation = json!({"coupon": coupon["qr"], "basket": {"total": 500, "currency": "EUR"}});
    let revocation = json!({"name": coupon["name"], "status": "suspended"});
    let selling = [
        ("/v1/receipts", receipt("s1")),
        ("/v1/validations", validation),
        ("/v1/redemptions", redemption(&coupon, "s2")),
        (
            "/v1/redemptions/AAAAAAAAAAAAAAAAAAAAAA/reversals",
            json!({"till_reference": "x", "give_back": true}),
        ),
    ];
    let administering = [
        ("/v1/campaigns", campaign()),
        ("/v1/coupons", json!({"campaign": "AAAAAAAAAAAAAAAAAAAAAA"})),
        ("/v1/revocations", revocation),
    ];
    let size = node.node.size();
    for (path, body) in selling.iter().chain(&administering) {
        let missing = served.post(path, "", "k", body).await;
        missing.problem(401, "access_key_missing");
        assert_eq!(missing.header("www-authenticate"), "Bearer");
        let unknown = served.post(path, "till_made-up", "k", body).await;
        unknown.problem(401, "access_key_unknown");
        assert_eq!(unknown.header("www-authenticate"), "Bearer");
        served
            .post(path, &node.auditor_key, "k", body)
            .await
            .problem(403, "role_forbidden");
    }
    for (path, body) in &administering {
        served
            .post(path, &node.till_key, "k", body)
            .await
            .problem(403, "role_forbidden");
    }
    assert_eq!(node.node.size(), size);
    for (path, key, body) in [
        ("/v1/receipts", &node.till_key, receipt("t1")),
        ("/v1/receipts", &node.office_key, receipt("o1")),
        ("/v1/redemptions", &node.office_key, redemption(&coupon, "o2")),
    ] {
        served
            .post(path, key, &format!("{}{path}", body["till_reference"]), &body)
            .await
            .created();
    }
}

#[tokio::test]
async fn a_till_acts_for_its_own_register_only() {
    let served = Served::start(TestNode::in_memory(22)).await;
    let node = &served.node;
    let coupon = served.coupon(&served.campaign(&json!({})).await, "c").await;
    let size = node.node.size();
    let wrong = &node.other_till_key;
    served
        .post("/v1/receipts", wrong, "k", &receipt("s"))
        .await
        .problem(403, "register_mismatch");
    let body = redemption(&coupon, "s");
    served
        .post("/v1/redemptions", wrong, "k", &body)
        .await
        .problem(403, "register_mismatch");
    assert_eq!(node.node.size(), size);

    let made = served
        .post("/v1/receipts", &node.till_key, "k1", &receipt("s"))
        .await
        .created();
    let redeemed = served
        .post("/v1/redemptions", &node.till_key, "k2", &body)
        .await
        .created();
    let paths = [
        format!("/v1/receipts/{}", made["id"].as_str().unwrap()),
        format!("/v1/redemptions/{}", redeemed["id"].as_str().unwrap()),
        format!("/v1/receipts?till_reference=s&register={}", TestNode::REGISTER),
        format!("/v1/redemptions?till_reference=s&register={}", TestNode::REGISTER),
    ];
    for path in &paths {
        served.get(path, wrong).await.problem(403, "register_mismatch");
        served.get(path, "").await.problem(401, "access_key_missing");
        for key in [&node.till_key, &node.office_key, &node.auditor_key] {
            served.get(path, key).await.ok();
        }
    }
    for kind in ["receipts", "redemptions"] {
        let path = format!("/v1/{kind}?till_reference=s");
        served
            .get(&path, &node.office_key)
            .await
            .problem(400, "query_invalid");
        // Its own register's, where the same reference stands for nothing.
        assert_eq!(served.get(&path, wrong).await.ok()[kind], json!([]));
    }
    let reversals = format!("{}/reversals", paths[1]);
    let reversal = json!({"till_reference": "back", "give_back": true});
    served
        .post(&reversals, wrong, "k3", &reversal)
        .await
        .problem(403, "register_mismatch");
    served
        .post(&reversals, &node.office_key, "k3", &reversal)
        .await
        .created();
}

#[tokio::test]
async fn keys_are_made_and_revoked_while_the_node_runs() {
    let served = Served::start(TestNode::in_memory(23)).await;
    let node = &served.node;
    let path = "/v1/receipts?till_reference=s";
    served.get(path, &node.till_key).await.ok();
    let id = node.access.list().unwrap()[0].id.clone();
    node.access.revoke(&id, node.node.now()).unwrap();
    served
        .get(path, &node.till_key)
        .await
        .problem(401, "access_key_unknown");
    served.get(path, &node.other_till_key).await.ok();
    for header in ["Basic x", "Bearer", "till_x"] {
        let request = served.http.get(format!("{}{path}", served.base));
        send(request.header("authorization", header))
            .await
            .problem(401, "access_key_unknown");
    }
}

fn proof_of(receipt: &Value) -> String {
    let stub = receipt["credential"].as_str().unwrap();
    let stub = data_encoding::BASE64URL_NOPAD.decode(stub.as_bytes()).unwrap();
    Signed::<ReceiptStub>::parse(&stub)
        .unwrap()
        .receipt_proof()
        .to_string()
}

#[tokio::test]
async fn who_has_the_receipt_may_read_it() {
    let served = Served::start(TestNode::in_memory(24)).await;
    let till = &served.node.till_key;
    let one = served
        .post("/v1/receipts", till, "k1", &receipt("s1"))
        .await
        .created();
    let two = served
        .post("/v1/receipts", till, "k2", &receipt("s2"))
        .await
        .created();
    let path = format!("/v1/receipts/{}", one["id"].as_str().unwrap());
    let with_proof = |path: &str, proof: &str| {
        let request = served.http.get(format!("{}{path}", served.base));
        send(request.header("receipt-proof", proof.to_owned()))
    };
    let opened = with_proof(&path, &proof_of(&one)).await;
    assert_eq!(opened.ok(), served.get(&path, till).await.ok());
    // A wrong proof and a receipt that is not there look the same.
    let wrong = with_proof(&path, &proof_of(&two)).await;
    wrong.problem(404, "not_found");
    let nowhere = format!("/v1/receipts/{}", "A".repeat(43));
    let absent = with_proof(&nowhere, &proof_of(&one)).await;
    assert_eq!((wrong.status, &wrong.body), (absent.status, &absent.body));
    for (path, proof) in [
        (path.as_str(), ""),
        (&path, "x"),
        ("/v1/receipts/x", &proof_of(&one)),
    ] {
        let answer = with_proof(path, proof).await;
        assert_eq!((answer.status, &answer.body), (absent.status, &absent.body));
    }
    // It opens this receipt and nothing else.
    let lookup = with_proof("/v1/receipts?till_reference=s1", &proof_of(&one)).await;
    lookup.problem(401, "access_key_missing");
}

#[tokio::test]
async fn coupons_cannot_be_fetched_by_any_name() {
    let served = Served::start(TestNode::in_memory(25)).await;
    let coupon = served.coupon(&served.campaign(&json!({})).await, "c").await;
    let name = coupon["name"].as_str().unwrap();
    for path in [format!("/v1/coupons/{name}"), format!("/v1/coupons?name={name}")] {
        let answer = served.get(&path, &served.node.office_key).await;
        assert!([404, 405].contains(&answer.status.as_u16()), "{path}");
    }
}
