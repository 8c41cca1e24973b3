//! What everyone may read, COSE, and how the API behaves at its edges.

use serde_json::json;
use tallystick::credential::{Campaign, Coupon, ReceiptStub, Signed};
use tallystick::encoding::qr_text;
use tallystick::http::{HttpOptions, QrForm};
use tallystick::testkit::TestNode;

use super::client::{Served, campaign, receipt, send};

#[tokio::test]
async fn public_documents_need_no_key() {
    let served = Served::start(TestNode::in_memory(31)).await;
    let id = served.campaign(&json!({})).await;
    served.coupon(&id, "c").await;
    let all = served.get("/v1/campaigns", "").await.ok();
    let one = served.get(&format!("/v1/campaigns/{id}"), "").await.ok();
    assert_eq!(all, json!({"campaigns": [one]}));
    assert_eq!(
        (&one["name"], &one["benefit"]),
        (&campaign()["name"], &campaign()["benefit"])
    );
    assert_eq!(one["not_before"], "2026-02-28T23:00:00Z");
    served.get("/v1/campaigns/x", "").await.problem(404, "not_found");

    let did = served.get("/.well-known/did.json", "").await;
    assert_eq!(did.header("content-type"), "application/did+json");
    let did = did.ok();
    let key = served.node.node.credential_key();
    let method = format!("did:web:coop.example#{}", key.kid());
    assert_eq!(did["id"], "did:web:coop.example");
    assert_eq!(did["alsoKnownAs"], json!([key.did_key()]));
    assert_eq!(did["assertionMethod"], json!([method]));
    let first = &did["verificationMethod"][0];
    assert_eq!(
        (&first["id"], &first["type"]),
        (&json!(method), &json!("JsonWebKey"))
    );
    assert_eq!(first["publicKeyJwk"]["x"], key.to_jwk().x);
    let service = &did["service"][0];
    assert_eq!(
        (&service["id"], &service["type"], &service["serviceEndpoint"]),
        (
            &json!("did:web:coop.example#log"),
            &json!("TransparencyLog"),
            &json!("https://coop.example")
        )
    );
    assert_eq!(service["verifierKey"], served.node.node.log_key().to_string());

    let checkpoint = served.get("/checkpoint", "").await;
    assert_eq!(checkpoint.header("content-type"), "text/plain; charset=utf-8");
    let text = String::from_utf8(checkpoint.body).unwrap();
    assert!(
        text.starts_with(&format!("coop.example\n{}\n", served.node.node.size())),
        "{text}"
    );

    let list = served.get("/s/0", "").await;
    assert_eq!(list.header("content-type"), "application/statuslist+cwt");
    assert_eq!(list.header("cache-control"), "public, max-age=60");
    let known = served
        .request(reqwest::Method::GET, "/s/0", "")
        .header("if-none-match", list.header("etag"));
    let known = send(known).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    for path in ["/s/1", "/s/00", "/s/-1", "/s/x", "/s/99999999999"] {
        served.get(path, "").await.problem(404, "not_found");
    }
    assert_eq!(served.get("/healthz", "").await.ok(), json!({"status": "ok"}));
    assert_eq!(served.get("/readyz", "").await.ok(), json!({"status": "ok"}));
    assert_eq!(
        &served.get("/openapi.json", "").await.ok(),
        tallystick::http::openapi_document()
    );
    assert!(served.get("/errors", "").await.body.starts_with(b"# Errors"));
    assert!(
        served
            .get("/V", "")
            .await
            .header("content-security-policy")
            .contains("script-src")
    );
}

#[tokio::test]
async fn metrics_are_for_the_machine_itself() {
    let served = Served::start(TestNode::in_memory(32)).await;
    served
        .post("/v1/receipts", &served.node.till_key, "k", &receipt("s"))
        .await
        .created();
    served.get("/v1/receipts/secret-path", "").await;
    served.get("/nowhere/at/all", "").await;
    let text = String::from_utf8(served.get("/metrics", "").await.body).unwrap();
    for line in [
        r#"tallystick_http_request_seconds_count{method="POST",route="/v1/receipts",status="201"} 1"#,
        r#"tallystick_http_request_seconds_count{method="GET",route="/v1/receipts/{id}",status="401"} 1"#,
        r#"tallystick_http_request_seconds_count{method="GET",route="unmatched",status="404"} 1"#,
        "tallystick_log_entries 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let forwarded = |served: &Served| {
        let request = served.request(reqwest::Method::GET, "/metrics", "");
        send(request.header("x-forwarded-for", "203.0.113.9"))
    };
    forwarded(&served).await.problem(403, "role_forbidden");
    let options = HttpOptions {
        metrics_public: true,
        ..HttpOptions::default()
    };
    let open = Served::with(TestNode::in_memory(33), options).await;
    assert_eq!(forwarded(&open).await.status, 200);
}

#[tokio::test]
async fn credentials_come_as_cose_too() {
    let served = Served::start(TestNode::in_memory(34)).await;
    let (till, office) = (&served.node.till_key, &served.node.office_key);
    let key = served.node.node.credential_key();
    let cose = |path: &str, key: &str, idempotency: &str, body: serde_json::Value| {
        let method = if body.is_null() {
            reqwest::Method::GET
        } else {
            reqwest::Method::POST
        };
        let request = served
            .request(method, path, key)
            .header("accept", "application/cose; cose-type=\"cose-sign1\"")
            .header("idempotency-key", idempotency);
        send(if body.is_null() {
            request
        } else {
            request.json(&body)
        })
    };
    let made = cose("/v1/receipts", till, "k1", receipt("s1")).await;
    assert_eq!(made.status, 201);
    assert_eq!(
        made.header("content-type"),
        "application/cose; cose-type=\"cose-sign1\""
    );
    let stub = Signed::<ReceiptStub>::parse(&made.body).unwrap();
    stub.verify(&key).unwrap();
    assert_eq!(made.header("location"), format!("/v1/receipts/{}", stub.tag()));
    let read = cose(made.header("location"), till, "", json!(null)).await;
    assert_eq!(read.body, made.body);

    let signed = cose("/v1/campaigns", office, "k2", campaign()).await;
    let terms = Signed::<Campaign>::parse(&signed.body).unwrap();
    let read = cose(signed.header("location"), "", "", json!(null)).await;
    assert_eq!(read.body, signed.body);
    let order = json!({"campaign": terms.id().to_string()});
    let coupon = cose("/v1/coupons", office, "k3", order).await;
    Signed::<Coupon>::parse(&coupon.body)
        .unwrap()
        .verify(&key)
        .unwrap();
    let size = served.node.node.size();
    let order = json!({"campaign": terms.id().to_string(), "count": 2});
    cose("/v1/coupons", office, "k4", order)
        .await
        .problem(406, "not_acceptable");
    assert_eq!(served.node.node.size(), size);
}

#[tokio::test]
async fn the_bare_form_is_a_setting() {
    let options = HttpOptions {
        qr_form: QrForm::Bare,
        ..HttpOptions::default()
    };
    let served = Served::with(TestNode::in_memory(35), options).await;
    let made = served
        .post("/v1/receipts", &served.node.till_key, "k", &receipt("s"))
        .await
        .created();
    let text = qr_text::parse(made["qr"].as_str().unwrap()).unwrap();
    assert_eq!(text.origin, None);
}

#[tokio::test]
async fn edges_speak_in_problem_documents() {
    let served = Served::start(TestNode::in_memory(36)).await;
    served.get("/nowhere", "").await.problem(404, "not_found");
    served.get("/v1/receipts/", "").await.problem(404, "not_found");
    let deleted = send(served.request(reqwest::Method::DELETE, "/v1/receipts", "")).await;
    deleted.problem(405, "method_not_allowed");
    assert_eq!(deleted.header("allow"), "GET, HEAD, POST");
    let head = send(served.request(reqwest::Method::HEAD, "/healthz", "")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), "15");
    let head = send(served.request(reqwest::Method::HEAD, "/v1/coupons", "")).await;
    assert_eq!((head.status.as_u16(), head.header("allow")), (405, "POST"));
    let answer = served.get("/v1/campaigns", "").await;
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    let key = &served.node.till_key;
    for query in [
        "",
        "?till_reference=",
        "?till_reference=a&more=1",
        "?till_reference=a&register=%C3%A4",
    ] {
        served
            .get(&format!("/v1/receipts{query}"), key)
            .await
            .problem(400, "query_invalid");
    }
}

#[tokio::test]
async fn other_origins_are_let_in_by_name_only() {
    let preflight = |served: &Served| {
        let request = served.request(reqwest::Method::OPTIONS, "/v1/receipts", "");
        send(
            request
                .header("origin", "https://till.example")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,idempotency-key"),
        )
    };
    let closed = Served::start(TestNode::in_memory(37)).await;
    assert_eq!(preflight(&closed).await.header("access-control-allow-origin"), "");
    let options = HttpOptions {
        cors_origins: vec!["https://till.example".to_owned()],
        ..HttpOptions::default()
    };
    let open = Served::with(TestNode::in_memory(38), options).await;
    let answer = preflight(&open).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://till.example"
    );
}

#[tokio::test]
async fn a_node_that_was_shut_down_says_so_and_what_was_accepted_is_finished() {
    let served = Served::start(TestNode::in_memory(39)).await;
    served.node.node.shut_down().await;
    let key = &served.node.till_key;
    let answer = served.post("/v1/receipts", key, "k", &receipt("s")).await;
    let problem = answer.problem(503, "stopped");
    assert_eq!(problem["retry"], true);
    assert_eq!(answer.header("retry-after"), "1");
    served.get("/readyz", "").await.problem(503, "stopped");
    served.get("/healthz", "").await.ok();
    served.stop().await;
}
