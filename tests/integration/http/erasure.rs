//! Erasing what is personal of receipts.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::Digest as _;
use tallystick::store::{Batch, Engine as _, rows};
use tallystick::testkit::TestNode;

use super::client::{Answer, Served, merge, receipt, send};

const REASON: &str = "request of the person concerned";

async fn sell(served: &Served, reference: &str, member: &str) -> Answer {
    let mut body = receipt(reference);
    merge(&mut body, &json!({"member": member, "cashier": "17"}));
    let till = &served.node.till_key;
    served
        .post("/v1/receipts", till, &format!("sale-{reference}"), &body)
        .await
}

async fn erase(served: &Served, key: &str, body: &Value) -> Answer {
    let office = &served.node.office_key;
    served.post("/v1/erasures", office, key, body).await
}

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::BASE64URL_NOPAD
        .decode(value.as_str().unwrap().as_bytes())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_receipt_is_gone_but_for_its_stub() {
    let served = Served::start(TestNode::in_memory(17)).await;
    let (till, office) = (served.node.till_key.clone(), served.node.office_key.clone());
    let sold = sell(&served, "a/1", "4711").await.created();
    let kept = sell(&served, "a/2", "4711").await;
    let id = sold["id"].as_str().unwrap();
    let path = format!("/v1/receipts/{id}");
    let body = json!({"receipt": id, "reason": REASON});
    served.node.clock.advance(3_600);

    let done = erase(&served, "erasure", &body).await;
    assert_eq!(done.created()["erased"], 1);
    // Again with the same key: the same answer; with another: it is erased.
    assert_eq!(erase(&served, "erasure", &body).await.body, done.body);
    let problem = erase(&served, "another", &body).await.problem(410, "erased");
    assert_eq!(problem["entry"], done.json()["entry"]["index"]);
    assert_eq!(problem["erased_at"], "2026-03-07T16:21:09Z");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .ends_with(&format!("because: {REASON}")),
        "{problem}"
    );

    // Its till, whatever it asks: a repeat, under another key, with other content, by reference.
    sell(&served, "a/1", "4711").await.problem(410, "erased");
    let mut again = receipt("a/1");
    for key in ["k1", "k2"] {
        let answer = served.post("/v1/receipts", &till, key, &again).await;
        answer.problem(410, "erased");
        merge(&mut again, &json!({"member": "815"}));
    }
    let by_reference = format!(
        "/v1/receipts?till_reference=a%2F1&register={}",
        TestNode::REGISTER
    );
    served.get(&by_reference, &till).await.problem(410, "erased");
    served.get(&path, &till).await.problem(410, "erased");
    // Another register's till learns nothing of it.
    let other = &served.node.other_till_key;
    served.get(&path, other).await.problem(403, "register_mismatch");

    // The stub, and the proof that it is in the log, stay.
    let stub = bytes(&sold["credential"]);
    let cose = |key: &str| {
        served
            .request(Method::GET, &path, key)
            .header("accept", "application/cose")
    };
    assert_eq!(send(cose(&office)).await.body, stub);
    let proof = data_encoding::BASE64URL_NOPAD.encode(&sha2::Sha256::digest(&stub[stub.len() - 64..]));
    let holder = send(cose("").header("receipt-proof", &proof)).await;
    assert_eq!(holder.body, stub);
    let holder = served
        .request(Method::GET, &path, "")
        .header("receipt-proof", &proof);
    send(holder).await.problem(410, "erased");
    let included = served
        .get(&format!("/v1/log/proofs/inclusion?receipt={id}"), &till)
        .await;
    assert_eq!(included.ok()["entry"], sold["entry"]);

    // The other sale is as it was.
    assert_eq!(sell(&served, "a/2", "4711").await.body, kept.body);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_receipts_are_erased_all_of_them_and_no_others() {
    const THEIRS: u64 = 150;
    let mut served = Served::start(TestNode::in_memory(18)).await;
    let mut sold = Vec::new();
    for n in 0..THEIRS {
        sold.push(sell(&served, &format!("m/{n}"), "4711").await);
        if n % 10 == 0 {
            // A number that holds theirs, and theirs in another place.
            sell(&served, &format!("o/{n}"), "47110").await.created();
            sell(&served, &format!("4711/{n}"), "99").await.created();
        }
    }
    let body = json!({"member": "4711", "reason": REASON});
    let before = served.effects();
    let done = erase(&served, "member", &body).await;
    assert_eq!(done.created()["erased"], THEIRS);
    for restarted in [false, true] {
        if restarted {
            served = Served::start(served.stop().await.reopened().await).await;
        }
        for n in 0..THEIRS {
            sell(&served, &format!("m/{n}"), "4711")
                .await
                .problem(410, "erased");
        }
        for n in (0..THEIRS).step_by(10) {
            sell(&served, &format!("o/{n}"), "47110").await.created();
            sell(&served, &format!("4711/{n}"), "99").await.created();
        }
        assert_eq!(erase(&served, "member", &body).await.body, done.body);
        erase(&served, "more", &body).await.problem(404, "not_found");
        if !restarted {
            assert_eq!(served.effects(), before, "nothing was sold twice");
        }
    }
    // What they buy afterwards is another matter.
    sell(&served, "later", "4711").await.created();
    assert_eq!(erase(&served, "more", &body).await.created()["erased"], 1);
    let other = json!({"member": "815", "reason": REASON});
    erase(&served, "member", &other)
        .await
        .problem(422, "idempotency_key_reused");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_keeps_nothing_else_from_being_erased() {
    let served = Served::start(TestNode::in_memory(20)).await;
    for n in 0..40 {
        sell(&served, &format!("a/{n}"), "4711").await.created();
    }
    let engine = served.node.memory_engine();
    let put = |key: &[u8], row: Vec<u8>| {
        let mut batch = Batch::default();
        batch.put(key.to_vec(), row);
        engine.commit(batch).unwrap();
    };
    let mut stored = Vec::new();
    engine
        .scan(&[rows::BESIDE], &[rows::BESIDE], &mut |key, row| {
            stored.push((key.to_vec(), row.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let (key, row) = &stored[2];
    let mut damaged = row.clone();
    damaged[100] ^= 1;
    put(key, damaged);
    let body = json!({"member": "4711", "reason": REASON});
    let problem = erase(&served, "all", &body).await.problem(500, "erased_in_part");
    let detail = problem["detail"].as_str().unwrap();
    let erased: u64 = detail.split(' ').next().unwrap().parse().unwrap();
    let first = rows::number_of(key).unwrap();
    assert!((30..40).contains(&erased), "{detail}");
    assert!(
        detail.contains("1 in all") && detail.ends_with(&format!("the entries {first}")),
        "{detail}"
    );
    // Nothing is left but there, and that was not answered as done.
    let problem = erase(&served, "all", &body).await.problem(500, "erased_in_part");
    assert!(
        problem["detail"].as_str().unwrap().starts_with("0 receipts"),
        "{problem}"
    );
    put(key, row.clone());
    let done = erase(&served, "all", &body).await;
    assert_eq!(done.created()["erased"], 40 - erased);
    assert_eq!(erase(&served, "all", &body).await.body, done.body);
    erase(&served, "another", &body).await.problem(404, "not_found");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_erasure_changes_nothing() {
    let served = Served::start(TestNode::in_memory(19)).await;
    let sold = sell(&served, "a/1", "4711").await.created();
    let size = served.node.node.size();
    let id = &sold["id"];
    for key in [&served.node.till_key, &served.node.auditor_key] {
        let body = json!({"receipt": id, "reason": REASON});
        let answer = served.post("/v1/erasures", key, "k", &body).await;
        answer.problem(403, "role_forbidden");
    }
    let long = "x".repeat(501);
    for body in [
        json!({"receipt": id}),
        json!({"reason": REASON}),
        json!({"receipt": id, "member": "4711", "reason": REASON}),
        json!({"receipt": id, "reason": ""}),
        json!({"receipt": id, "reason": long}),
        json!({"receipt": id, "reason": "two\nlines"}),
        json!({"member": "", "reason": REASON}),
        json!({"member": "4711", "reason": REASON, "till": "x"}),
    ] {
        erase(&served, "k", &body).await.problem(400, "body_invalid");
    }
    let nothing = "mJ2yJb5nH0YkqFv0m3K7m3Jx0l2y8b1dH9w7Z4T1u0E";
    for body in [
        json!({"receipt": nothing, "reason": REASON}),
        json!({"receipt": "no id", "reason": REASON}),
        json!({"member": "815", "reason": REASON}),
    ] {
        erase(&served, "k", &body).await.problem(404, "not_found");
    }
    assert_eq!(served.node.node.size(), size);
    served.stop().await;
}
