//! Bad input gets a clear error and changes nothing.

use serde_json::{Value, json};
use tallystick::encoding::qr_text;
use tallystick::testkit::TestNode;

use super::client::{Served, campaign, merge, receipt, redemption, send};

/// A receipt with other members.
fn with(changes: Value) -> Value {
    let mut body = receipt("bad");
    merge(&mut body, &changes);
    body
}

#[tokio::test]
async fn receipts_that_cannot_be_read_or_do_not_add_up() {
    let served = Served::start(TestNode::in_memory(41)).await;
    let key = &served.node.till_key;
    let size = served.node.node.size();
    let line = |changes: Value| {
        let mut line = receipt("bad")["lines"][0].clone();
        merge(&mut line, &changes);
        with(json!({"lines": [line]}))
    };
    let invalid = [
        json!([]),
        json!("text"),
        json!(null),
        json!({}),
        with(json!({"more": 1})),
        with(json!({"total": "144"})),
        with(json!({"total": 144.0})),
        with(json!({"total": 144.5})),
        with(json!({"total": 9_007_199_254_740_992_i64})),
        with(json!({"total": 1e30})),
        with(json!({"total": null})),
        with(json!({"currency": "EUX"})),
        with(json!({"currency": "eur"})),
        with(json!({"currency": "XAU"})),
        with(json!({"currency": 978})),
        with(json!({"type": "gift"})),
        with(json!({"type": "Sale"})),
        with(json!({"register": ""})),
        with(json!({"register": "kasse-ä"})),
        with(json!({"register": "x".repeat(20)})),
        with(json!({"till_reference": ""})),
        with(json!({"till_reference": "a\nb"})),
        with(json!({"till_reference": "x".repeat(129)})),
        with(json!({"issued_at": "2026-03-07T16:21:09"})),
        with(json!({"issued_at": "yesterday"})),
        with(json!({"issued_at": 1_772_896_869})),
        with(json!({"lines": {}})),
        with(json!({"prices_include_tax": "yes"})),
        line(json!({"quantity": 0.482})),
        line(json!({"quantity": "0.4820000"})),
        line(json!({"quantity": "1e3"})),
        line(json!({"tax_rate": "7.001"})),
        line(json!({"price": 1})),
        // Members in a row are no object.
        json!([
            "r",
            "t",
            "sale",
            "EUR",
            null,
            true,
            [],
            [],
            [],
            0,
            null,
            null,
            null,
            false
        ]),
        with(json!({"lines": [["Apples", "1", null, null, 144, "7.00"]]})),
        with(json!({"taxes": [["7.00", 135, 9]]})),
        with(json!({"tenders": [["cash", 144]]})),
    ];
    for body in &invalid {
        let problem = served
            .post("/v1/receipts", key, "bad", body)
            .await
            .problem(400, "body_invalid");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("line 1 column"), "{detail}");
    }
    for missing in [
        "till_reference",
        "register",
        "type",
        "currency",
        "lines",
        "taxes",
        "tenders",
        "total",
    ] {
        let mut body = receipt("bad");
        body.as_object_mut().unwrap().remove(missing);
        let problem = served
            .post("/v1/receipts", key, "bad", &body)
            .await
            .problem(400, "body_invalid");
        assert!(problem["detail"].as_str().unwrap().contains(missing));
    }
    let refused = [
        with(json!({"total": 145})),
        with(json!({"total": -144})),
        with(json!({"tenders": []})),
        with(json!({"tenders": [{"kind": "cash", "amount": 143}]})),
        with(json!({"tenders": [{"kind": "Cash", "amount": 144}]})),
        with(json!({"taxes": [{"rate": "7.00", "net": 130, "tax": 14}]})),
        with(json!({"type": "refund"})),
        with(json!({"lines": []})),
        line(json!({"description": ""})),
        line(json!({"description": "x".repeat(201)})),
        with(json!({"lines": [
            {"description": "a", "quantity": "1", "total": 9_007_199_254_740_991_i64},
            {"description": "b", "quantity": "1", "total": 9_007_199_254_740_991_i64}
        ]})),
    ];
    for body in &refused {
        let answer = served.post("/v1/receipts", key, "bad", body).await;
        answer.problem(422, "receipt_invalid");
    }
    let many = json!({"description": "a", "quantity": "1", "total": 0});
    let body = with(json!({"lines": vec![many; 1_001]}));
    served
        .post("/v1/receipts", key, "bad", &body)
        .await
        .problem(422, "receipt_invalid");
    let early = with(json!({"issued_at": "2026-03-07T15:16:08Z"}));
    let problem = served
        .post("/v1/receipts", key, "bad", &early)
        .await
        .problem(422, "time_too_far");
    assert_eq!(problem["seconds"], 301);
    assert!(problem["detail"].as_str().unwrap().contains("\"offline\": true"));
    // No mark allows a sale in the future: it is a clock that is wrong.
    for offline in [false, true] {
        let late = with(json!({"issued_at": "2026-03-07T15:26:10Z", "offline": offline}));
        let answer = served.post("/v1/receipts", key, "bad", &late).await;
        let problem = answer.problem(422, "time_too_far");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("check the till's clock"), "{detail}");
        assert!(!detail.contains("offline"), "{detail}");
    }
    assert_eq!(served.node.node.size(), size);
    // A refusal stores nothing: the same key is free, and so is the reference.
    served
        .post("/v1/receipts", key, "bad", &receipt("bad"))
        .await
        .created();
    let offline = json!({"issued_at": "2026-03-07T12:00:00Z", "offline": true, "till_reference": "late"});
    served
        .post("/v1/receipts", key, "late", &with(offline))
        .await
        .created();
}

#[tokio::test]
async fn bodies_that_are_no_bodies() {
    let served = Served::start(TestNode::in_memory(42)).await;
    let key = served.node.till_key.clone();
    let size = served.node.node.size();
    let whole = receipt("s").to_string();
    let bodies: [&[u8]; 6] = [
        b"",
        b"{",
        &whole.as_bytes()[..whole.len() - 1],
        b"\xff\xfe{}",
        br#"{"register":"a","register":"b"}"#,
        b"{}{}",
    ];
    for body in bodies {
        let answer = served.post_raw("/v1/receipts", &key, "k", body.to_vec()).await;
        answer.problem(400, "body_invalid");
    }
    let deep = "[".repeat(100_000);
    served
        .post_raw("/v1/receipts", &key, "k", deep)
        .await
        .problem(400, "body_invalid");
    let doubled = whole.replacen("\"total\":144", "\"total\":144,\"total\":144", 1);
    served
        .post_raw("/v1/receipts", &key, "k", doubled)
        .await
        .problem(400, "body_invalid");
    for length in [512 * 1024 + 1, 1_200_000] {
        let long = format!("{whole}{}", " ".repeat(length - whole.len()));
        let answer = served.post_raw("/v1/receipts", &key, "k", long).await;
        answer.problem(413, "body_too_large");
    }
    for content_type in ["text/plain", "application/xml", "application/jsonp", ""] {
        let request = served
            .request(reqwest::Method::POST, "/v1/receipts", &key)
            .header("idempotency-key", "k")
            .header("content-type", content_type)
            .body(whole.clone());
        send(request).await.problem(415, "content_type_unsupported");
    }
    let packed = served
        .request(reqwest::Method::POST, "/v1/receipts", &key)
        .header("idempotency-key", "k")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(whole.clone());
    send(packed).await.problem(415, "content_type_unsupported");
    assert_eq!(served.node.node.size(), size);
    // Null says that a member is absent.
    let mut nulls = receipt("nulls");
    let absent = json!({"cashier": null, "member": null, "refers_to": null, "offline": null});
    merge(&mut nulls, &absent);
    served.post("/v1/receipts", &key, "nulls", &nulls).await.created();
    // At the limit, and with a charset, it is taken.
    let longest = format!("{whole}{}", " ".repeat(512 * 1024 - whole.len()));
    let request = served
        .request(reqwest::Method::POST, "/v1/receipts", &key)
        .header("idempotency-key", "k")
        .header("content-type", "application/json; charset=utf-8")
        .body(longest);
    send(request).await.created();
}

#[tokio::test]
async fn a_body_that_breaks_off_or_never_ends_is_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let options = tallystick::http::HttpOptions {
        client_timeout: std::time::Duration::from_millis(300),
        ..Default::default()
    };
    let served = Served::with(TestNode::in_memory(43), options).await;
    let size = served.node.node.size();
    let address = served.base.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/receipts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        served.node.till_key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = vec![0; 4_096];
    let read = stream.read(&mut said).await.unwrap();
    let said = String::from_utf8_lossy(&said[..read]);
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("body_timeout"),
        "{said}"
    );
    assert_eq!(served.node.node.size(), size);
}

#[tokio::test]
async fn qr_texts_with_junk_and_coupons_with_malformed_cbor() {
    let served = Served::start(TestNode::in_memory(44)).await;
    let key = &served.node.till_key;
    let coupon = served.coupon(&served.campaign(&json!({})).await, "c").await;
    let good = coupon["qr"].as_str().unwrap();
    let (link, digits) = good.split_once('#').unwrap();
    let bytes = qr_text::parse(good).unwrap().bytes;
    let size = served.node.node.size();
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut longer = bytes.clone();
    longer.push(0);
    let text = qr_text::encode_digits;
    let cases = [
        (String::new(), "coupon_unreadable"),
        ("hello".to_owned(), "coupon_unreadable"),
        (format!("x{digits}"), "coupon_unreadable"),
        (format!("{digits}x"), "coupon_unreadable"),
        (format!("{digits}\u{0000}"), "coupon_unreadable"),
        (format!("{good} {good}"), "coupon_unreadable"),
        (format!("0{digits}"), "coupon_unreadable"),
        (format!("{digits}{}", "1".repeat(2_500)), "coupon_unreadable"),
        (format!("junk{good}"), "coupon_unreadable"),
        (format!("{link}/x#{digits}"), "coupon_unreadable"),
        (format!("HTTPS://EVIL.EXAMPLE/V#{digits}"), "coupon_link_foreign"),
        // Malformed CBOR of each kind that formats section 1 names.
        (text(&[]), "coupon_forged"),
        (text(&[0xff]), "coupon_forged"),
        (text(&bytes[..bytes.len() - 1]), "coupon_forged"),
        (text(&longer), "coupon_forged"),
        (text(&[0xd2, 0x9f, 0xff]), "coupon_forged"),
        (text(&[0xa2, 0x01, 0x01, 0x01, 0x01]), "coupon_forged"),
        (text(&[0x18, 0x01]), "coupon_forged"),
        (text(&[0xa2, 0x02, 0x01, 0x01, 0x01]), "coupon_forged"),
        (text(&[0xfb, 0, 0, 0, 0, 0, 0, 0, 0]), "coupon_forged"),
        (text(&[0xc1, 0x00]), "coupon_forged"),
        (text(&[0x81; 600]), "coupon_forged"),
        (text(&flipped), "coupon_forged"),
    ];
    for (qr, code) in cases {
        let basket = json!({"total": 1_250, "currency": "EUR"});
        let validation = json!({"coupon": qr, "basket": basket});
        let answer = served.post("/v1/validations", key, "", &validation).await.ok();
        assert_eq!(
            (&answer["valid"], &answer["code"]),
            (&json!(false), &json!(code)),
            "{qr}"
        );
        let body = redemption(&json!({"qr": qr}), "bad");
        served
            .post("/v1/redemptions", key, "bad", &body)
            .await
            .problem(422, code);
        let revocation = json!({"coupon": qr, "status": "revoked"});
        let office = &served.node.office_key;
        served
            .post("/v1/revocations", office, "bad", &revocation)
            .await
            .problem(422, code);
    }
    assert_eq!(served.node.node.size(), size);
    for form in [
        format!(" {digits}\r\n"),
        format!("{}%23{digits}", link.to_lowercase()),
    ] {
        let validation = json!({"coupon": form, "basket": {"total": 1_250, "currency": "EUR"}});
        let answer = served.post("/v1/validations", key, "", &validation).await.ok();
        assert_eq!(answer["valid"], true, "{form}");
    }
}

#[tokio::test]
async fn redemptions_campaigns_coupons_and_revocations_that_cannot_be() {
    let served = Served::start(TestNode::in_memory(45)).await;
    let (till, office) = (&served.node.till_key, &served.node.office_key);
    let id = served.campaign(&json!({"name": "First"})).await;
    let coupon = served.coupon(&id, "c").await;
    let size = served.node.node.size();
    let mut redemptions = Vec::new();
    for (changes, status, code) in [
        (
            json!({"basket": {"total": 1, "currency": "EUR", "more": 1}}),
            400,
            "body_invalid",
        ),
        (
            json!({"basket": {"total": 1.5, "currency": "EUR"}}),
            400,
            "body_invalid",
        ),
        (
            json!({"basket": {"total": 1_250, "currency": "QQQ"}}),
            400,
            "body_invalid",
        ),
        (
            json!({"basket": {"total": 1_250, "currency": "USD"}}),
            422,
            "currency_differs",
        ),
        (
            json!({"basket": {"total": 0, "currency": "EUR"}}),
            422,
            "nothing_to_redeem",
        ),
        (
            json!({"basket": {"total": -1_250, "currency": "EUR"}}),
            422,
            "nothing_to_redeem",
        ),
        (json!({"basket": [1_250, "EUR", null]}), 400, "body_invalid"),
        (json!({"amount": 301}), 422, "amount_differs"),
        (json!({"amount": -300}), 422, "amount_differs"),
        (json!({"till_reference": null}), 400, "body_invalid"),
    ] {
        let mut body = redemption(&coupon, "bad");
        merge(&mut body, &changes);
        redemptions.push(("/v1/redemptions", till, body, status, code));
    }
    let terms = |changes: Value| {
        let mut body = campaign();
        merge(&mut body, &changes);
        body
    };
    let no_campaign = "A".repeat(22);
    let rest = [
        (
            "/v1/campaigns",
            terms(json!({"benefit": {"kind": "amount_off", "amount": 0}})),
            422,
            "terms_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"benefit": {"kind": "amount_off", "amount": -5}})),
            422,
            "terms_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"benefit": {"kind": "amount_off"}})),
            400,
            "body_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"benefit": ["amount_off", 1]})),
            400,
            "body_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"benefit": {"kind": "free", "amount": 1}})),
            400,
            "body_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"benefit": {"kind": "amount_off", "amount": 1, "cap": 1}})),
            400,
            "body_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"benefit": {"kind": "percent_off", "basis_points": 10_001}})),
            422,
            "terms_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"not_after": "2026-01-01T00:00:00Z"})),
            422,
            "terms_invalid",
        ),
        ("/v1/campaigns", terms(json!({"name": ""})), 422, "terms_invalid"),
        (
            "/v1/campaigns",
            terms(json!({"text": "x".repeat(2_001)})),
            422,
            "terms_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"stacking": true})),
            400,
            "body_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"uses_per_coupon": -1})),
            400,
            "body_invalid",
        ),
        (
            "/v1/campaigns",
            terms(json!({"redeemers": []})),
            422,
            "terms_invalid",
        ),
        ("/v1/coupons", json!({"campaign": "x"}), 400, "body_invalid"),
        (
            "/v1/coupons",
            json!({"campaign": no_campaign}),
            422,
            "campaign_unknown",
        ),
        (
            "/v1/coupons",
            json!({"campaign": id, "count": 0}),
            422,
            "batch_invalid",
        ),
        (
            "/v1/coupons",
            json!({"campaign": id, "count": 1_001}),
            422,
            "batch_invalid",
        ),
        (
            "/v1/coupons",
            json!({"campaign": id, "count": -1}),
            400,
            "body_invalid",
        ),
        (
            "/v1/coupons",
            json!({"campaign": id, "amount": -1}),
            422,
            "batch_invalid",
        ),
        (
            "/v1/coupons",
            json!({"campaign": id, "not_after": "2027-01-01T00:00:00Z"}),
            422,
            "batch_invalid",
        ),
        (
            "/v1/revocations",
            json!({"status": "revoked"}),
            400,
            "body_invalid",
        ),
        (
            "/v1/revocations",
            json!({"name": "0-1", "batch": 1, "status": "revoked"}),
            400,
            "body_invalid",
        ),
        (
            "/v1/revocations",
            json!({"name": "0-1x", "status": "revoked"}),
            400,
            "body_invalid",
        ),
        (
            "/v1/revocations",
            json!({"name": coupon["name"], "status": "gone"}),
            400,
            "body_invalid",
        ),
        (
            "/v1/revocations",
            json!({"batch": 0, "status": "revoked"}),
            422,
            "target_unknown",
        ),
        (
            "/v1/revocations",
            json!({"batch": 9_999, "status": "revoked"}),
            422,
            "target_unknown",
        ),
        (
            "/v1/revocations",
            json!({"name": "7-7", "status": "revoked"}),
            422,
            "target_unknown",
        ),
        (
            "/v1/revocations",
            json!({"campaign": no_campaign, "status": "revoked"}),
            422,
            "campaign_unknown",
        ),
        (
            "/v1/revocations",
            json!({"name": coupon["name"], "status": "revoked", "reason": "x".repeat(501)}),
            400,
            "body_invalid",
        ),
        (
            "/v1/revocations",
            json!({"name": coupon["name"], "status": "revoked", "reason": ""}),
            400,
            "body_invalid",
        ),
    ];
    let rest = rest.map(|(path, body, status, code)| (path, office, body, status, code));
    for (n, (path, key, body, status, code)) in redemptions.into_iter().chain(rest).enumerate() {
        let answer = served.post(path, key, &format!("bad-{n}"), &body).await;
        answer.problem(status, code);
    }
    for id in ["x", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let reversal = json!({"till_reference": "s", "give_back": false});
        let path = format!("/v1/redemptions/{id}/reversals");
        served
            .post(&path, till, "bad", &reversal)
            .await
            .problem(404, "not_found");
    }
    assert_eq!(served.node.node.size(), size);
}
