//! Repeats get the first answer, byte for byte (protocol, section 2).

use serde_json::{Value, json};
use tallystick::testkit::TestNode;

use super::client::{Served, campaign, receipt, redemption};

/// Every POST that changes state: path, key, body.
async fn posts(served: &Served) -> Vec<(String, String, Value)> {
    let (till, office) = (served.node.till_key.clone(), served.node.office_key.clone());
    let id = served.campaign(&json!({"name": "First"})).await;
    let coupon = served.coupon(&id, "given").await;
    let used = served.coupon(&id, "used").await;
    let made = served
        .post("/v1/redemptions", &till, "made", &redemption(&used, "made"))
        .await;
    let made = made.created()["id"].as_str().unwrap().to_owned();
    vec![
        ("/v1/receipts".to_owned(), till.clone(), receipt("s1")),
        ("/v1/campaigns".to_owned(), office.clone(), campaign()),
        (
            "/v1/coupons".to_owned(),
            office.clone(),
            json!({"campaign": id, "count": 3}),
        ),
        (
            "/v1/redemptions".to_owned(),
            till.clone(),
            redemption(&coupon, "s2"),
        ),
        (
            format!("/v1/redemptions/{made}/reversals"),
            till,
            json!({"till_reference": "s3", "give_back": true}),
        ),
        (
            "/v1/revocations".to_owned(),
            office,
            json!({"name": coupon["name"], "status": "suspended"}),
        ),
    ]
}

#[tokio::test]
async fn repeats_get_the_first_answer_even_late_and_after_a_restart() {
    let served = Served::start(TestNode::on_sled(11)).await;
    let mut first = Vec::new();
    for (n, (path, key, body)) in posts(&served).await.into_iter().enumerate() {
        let idempotency = format!("key-{n}");
        let answer = served.post(&path, &key, &idempotency, &body).await;
        answer.created();
        let effects = served.effects();
        let again = served.post(&path, &key, &idempotency, &body).await;
        assert_eq!(
            (again.status, &again.body),
            (answer.status, &answer.body),
            "{path}"
        );
        // Later than a new receipt may be dated.
        served.node.clock.advance(3_600);
        let late = served.post(&path, &key, &idempotency, &body).await;
        assert_eq!((late.status, &late.body), (answer.status, &answer.body), "{path}");
        // The same key means another thing: not the effect, an error.
        let spaced = format!("{body} ");
        served
            .post_raw(&path, &key, &idempotency, spaced)
            .await
            .problem(422, "idempotency_key_reused");
        assert_eq!(served.effects(), effects, "{path}");
        first.push((path, key, idempotency, body, answer));
    }
    let node = served.stop().await.reopened().await;
    assert_eq!(node.report.notes, Vec::<String>::new());
    let served = Served::start(node).await;
    let effects = served.effects();
    for (path, key, idempotency, body, answer) in first {
        let again = served.post(&path, &key, &idempotency, &body).await;
        assert_eq!(
            (again.status, &again.body),
            (answer.status, &answer.body),
            "{path}"
        );
    }
    assert_eq!(served.effects(), effects);
}

#[tokio::test]
async fn the_same_till_reference_under_another_key_gets_the_first_answer() {
    let served = Served::start(TestNode::in_memory(12)).await;
    for (n, (path, key, body)) in posts(&served).await.into_iter().enumerate() {
        if body["till_reference"].is_null() {
            continue;
        }
        let first = served.post(&path, &key, &format!("one-{n}"), &body).await;
        first.created();
        served.node.clock.advance(3_600);
        let second = served.post(&path, &key, &format!("two-{n}"), &body).await;
        assert_eq!(
            (second.status, &second.body),
            (first.status, &first.body),
            "{path}"
        );
        // The same content in other bytes is the same content.
        let respelled = serde_json::to_string_pretty(&body).unwrap();
        let third = served
            .post_raw(&path, &key, &format!("three-{n}"), respelled)
            .await;
        assert_eq!((third.status, &third.body), (first.status, &first.body), "{path}");
        let mut other = body.clone();
        if other["lines"].is_array() {
            other["cashier"] = json!("somebody else");
        } else if other["basket"].is_object() {
            other["basket"]["total"] = json!(other["basket"]["total"].as_i64().unwrap() + 1);
        } else {
            other["give_back"] = json!(!other["give_back"].as_bool().unwrap());
        }
        served
            .post(&path, &key, &format!("four-{n}"), &other)
            .await
            .problem(422, "till_reference_reused");
    }
}

#[tokio::test]
async fn keys_are_scoped_to_the_register_not_to_the_bearer() {
    let served = Served::start(TestNode::in_memory(13)).await;
    let node = &served.node;
    let first = served
        .post("/v1/receipts", &node.till_key, "same", &receipt("s1"))
        .await;
    // Another register's till and the office have keys of their own.
    let mut elsewhere = receipt("s1");
    elsewhere["register"] = json!(TestNode::OTHER_REGISTER);
    let other = served
        .post("/v1/receipts", &node.other_till_key, "same", &elsewhere)
        .await;
    assert_ne!(other.created()["id"], first.created()["id"]);
    served
        .post("/v1/receipts", &node.office_key, "same", &receipt("s9"))
        .await
        .created();
    // A till's access key that replaces another repeats nothing.
    let register = tallystick::primitives::Register::new(TestNode::REGISTER).unwrap();
    let role = tallystick::node::access::Role::Till(register);
    let entropy = tallystick::primitives::OsEntropy;
    let new = node.access.add(role, "new", node.node.now(), &entropy).unwrap();
    let again = served
        .post("/v1/receipts", &new.key, "same", &receipt("s1"))
        .await;
    assert_eq!(again.body, first.body);
}

#[tokio::test]
async fn idempotency_keys_are_literal_and_needed() {
    let served = Served::start(TestNode::in_memory(14)).await;
    let effects = served.effects();
    for (path, key, body) in [
        ("/v1/receipts", &served.node.till_key, receipt("s1")),
        ("/v1/campaigns", &served.node.office_key, campaign()),
        ("/v1/coupons", &served.node.office_key, json!({})),
        ("/v1/redemptions", &served.node.till_key, json!({})),
        ("/v1/redemptions/x/reversals", &served.node.till_key, json!({})),
        ("/v1/revocations", &served.node.office_key, json!({})),
    ] {
        let missing = served.post(path, key, "", &body).await;
        missing.problem(400, "idempotency_key_required");
        for bad in ["a b", "ä", "tab\tbed", "x".repeat(256).as_str()] {
            let answer = served.post(path, key, bad, &body).await;
            answer.problem(400, "idempotency_key_invalid");
        }
        let twice = served
            .request(reqwest::Method::POST, path, key)
            .header("idempotency-key", "a")
            .header("idempotency-key", "a")
            .json(&body);
        super::client::send(twice)
            .await
            .problem(400, "idempotency_key_invalid");
    }
    assert_eq!(served.effects(), effects);
    let longest = "~".repeat(255);
    let answer = served
        .post("/v1/receipts", &served.node.till_key, &longest, &receipt("s1"))
        .await;
    answer.created();
}
