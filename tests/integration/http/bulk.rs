//! Coupons as a stream of lines, and the paths of their tags.

use reqwest::Method;
use serde_json::{Value, json};
use tallystick::merkle::{leaf_hash, verify_inclusion};
use tallystick::testkit::TestNode;

use super::client::{Answer, Served, send};

const LINES: &str = "application/x-ndjson";

async fn stream(served: &Served, query: &str, idempotency: &str, body: &Value) -> Answer {
    let request = served
        .request(
            Method::POST,
            &format!("/v1/coupons{query}"),
            &served.node.office_key,
        )
        .header("content-type", "application/json")
        .header("idempotency-key", idempotency)
        .header("accept", LINES)
        .body(body.to_string());
    send(request).await
}

fn lines(answer: &Answer) -> Vec<&[u8]> {
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), LINES);
    answer.body.split_inclusive(|byte| *byte == b'\n').collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::BASE64URL_NOPAD
        .decode(value.as_str().unwrap().as_bytes())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_a_line_a_coupon_and_is_taken_up_again() {
    let served = Served::start(TestNode::in_memory(91)).await;
    let campaign = served.campaign(&json!({"name": "Mailing"})).await;
    let body = json!({"campaign": campaign, "count": 3_000});
    let whole = stream(&served, "", "mailing", &body).await;
    let all = lines(&whole);
    assert_eq!(all.len(), 3_000);
    for line in &all {
        let coupon: Value = serde_json::from_slice(line).unwrap();
        let members: Vec<&String> = coupon.as_object().unwrap().keys().collect();
        assert_eq!(members, ["credential", "name", "qr"]);
    }
    for from in [0, 1, 255, 256, 257, 2_999, 3_000] {
        let rest = stream(&served, &format!("?from={from}"), "mailing", &body).await;
        assert_eq!(rest.body, all[from..].concat(), "from {from}");
        assert_eq!(rest.header("location"), whole.header("location"));
    }
    assert_eq!(served.effects(), 2, "one campaign and one batch");

    // What a line says is a coupon, and its tag leads into the batch.
    let key = &served.node.office_key;
    let batch = served.get(whole.header("location"), key).await.ok();
    assert_eq!(
        (&batch["count"], &batch["campaign"]),
        (&json!(3_000), &json!(campaign))
    );
    let line: Value = serde_json::from_slice(all[2_500]).unwrap();
    let name = line["name"].as_str().unwrap();
    let found = served.get(&format!("/v1/coupons/{name}/path"), key).await.ok();
    assert_eq!((&found["leaf"], &found["batch"]), (&json!(2_500), &batch));
    let path: Vec<[u8; 32]> = found["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hash| bytes(hash).try_into().unwrap())
        .collect();
    let root: [u8; 32] = bytes(&batch["tags_root"]).try_into().unwrap();
    let tag = tallystick::credential::coupon_tag(&bytes(&line["credential"]));
    assert_eq!(bytes(&found["tag"]), tag.0);
    assert_eq!(
        verify_inclusion(&leaf_hash(&tag.0), 2_500, 3_000, &path, &root),
        Ok(())
    );
    let by_leaf = format!("{}/tags/2500", whole.header("location"));
    assert_eq!(served.get(&by_leaf, &served.node.auditor_key).await.ok(), found);
}

#[tokio::test]
async fn what_a_stream_is_not_for() {
    let served = Served::start(TestNode::in_memory(92)).await;
    let campaign = served.campaign(&json!({"name": "Mailing"})).await;
    let body = json!({"campaign": campaign, "count": 1_001});
    let key = &served.node.office_key;
    let whole = served
        .post("/v1/coupons", key, "a", &body)
        .await
        .problem(422, "batch_invalid");
    assert!(
        whole["detail"]
            .as_str()
            .unwrap()
            .contains("Accept: application/x-ndjson")
    );
    let too_many = json!({"campaign": campaign, "count": 1_000_001});
    stream(&served, "", "b", &too_many)
        .await
        .problem(422, "batch_invalid");
    stream(&served, "?from=5", "c", &body)
        .await
        .problem(404, "not_found");
    for query in ["?from=1002", "?from=-1", "?from=x", "?from=1&to=2"] {
        stream(&served, query, "d", &body)
            .await
            .problem(400, "query_invalid");
    }
    let few = json!({"campaign": campaign, "count": 2});
    let query = "/v1/coupons?from=1";
    served
        .post(query, key, "e", &few)
        .await
        .problem(400, "query_invalid");
    assert_eq!(served.effects(), 1, "the campaign");
    // The form of the answer is no part of the request.
    let answer = served.post("/v1/coupons", key, "f", &few).await;
    let lined = stream(&served, "", "f", &few).await;
    let coupons: Vec<Value> = lines(&lined)
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(answer.created()["coupons"], json!(coupons));
    assert_eq!(answer.header("location"), lined.header("location"));
    stream(&served, "", "f", &body)
        .await
        .problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn paths_are_for_office_and_auditors() {
    let served = Served::start(TestNode::in_memory(93)).await;
    let coupon = served
        .coupon(&served.campaign(&json!({"name": "One"})).await, "c")
        .await;
    let by_name = format!("/v1/coupons/{}/path", coupon["name"].as_str().unwrap());
    for path in [by_name.as_str(), "/v1/batches/2", "/v1/batches/2/tags/0"] {
        served.get(path, "").await.problem(401, "access_key_missing");
        served
            .get(path, &served.node.till_key)
            .await
            .problem(403, "role_forbidden");
        served.get(path, &served.node.auditor_key).await.ok();
        served.get(path, &served.node.office_key).await.ok();
    }
    let absent = [
        "/v1/batches/1",
        "/v1/batches/99",
        "/v1/batches/x",
        "/v1/batches/02",
        "/v1/batches/2/tags/1",
        "/v1/batches/2/tags/4294967296",
        "/v1/coupons/9-1/path",
        "/v1/coupons/x/path",
        "/v1/coupons/0-131072/path",
    ];
    for path in absent {
        served
            .get(path, &served.node.office_key)
            .await
            .problem(404, "not_found");
    }
}
