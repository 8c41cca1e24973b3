//! Every answer of add-checkpoint, from outside.

use tallystick::http::HttpOptions;
use tallystick::log::VerifierKey;
use tallystick::primitives::Clock as _;
use tallystick::testkit::TestNode;

use super::by_hand::{HandLog, cosigned_at, request};
use crate::http::client::{Answer, Served, send};

/// A node that witnesses `logs`.
pub async fn witness(logs: &[&HandLog], seed: u64) -> Served {
    witness_on(TestNode::in_memory(seed), logs).await
}

/// `node` as a witness of `logs`.
pub async fn witness_on(node: TestNode, logs: &[&HandLog]) -> Served {
    let keys = logs.iter().map(|log| VerifierKey::parse(&log.vkey()).unwrap());
    witness_of(node, keys.collect()).await
}

/// `node` as a witness of the logs with these keys.
pub async fn witness_of(node: TestNode, witness_logs: Vec<VerifierKey>) -> Served {
    let options = HttpOptions {
        witness_logs,
        ..HttpOptions::default()
    };
    Served::with(node, options).await
}

pub async fn add(served: &Served, body: impl Into<reqwest::Body>) -> Answer {
    // No key, no Idempotency-Key, no Content-Type.
    send(
        served
            .request(reqwest::Method::POST, "/add-checkpoint", "")
            .body(body),
    )
    .await
}

#[track_caller]
fn conflict(answer: &Answer, size: u64) {
    assert_eq!(answer.status, 409);
    assert_eq!(answer.header("content-type"), "text/x.tlog.size");
    assert_eq!(answer.body, format!("{size}\n").as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_is_as_the_specification_has_it() {
    let log = HandLog::new("log.example/path", 3).grown(300, "a");
    let served = witness(&[&log], 61).await;
    let vkey = served.node.node.witness_key().to_string();
    let cosigned = |answer: &Answer, text: &str| {
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        let line = String::from_utf8(answer.body.clone()).unwrap();
        assert_eq!(
            cosigned_at(&vkey, text, &line),
            Some(served.node.clock.now().0),
            "{line}"
        );
    };
    // Nothing cosigned yet: any old size but 0 is another.
    conflict(&add(&served, log.request(5, 7)).await, 0);
    cosigned(&add(&served, log.request(0, 0)).await, &log.text(0));
    cosigned(&add(&served, log.request(0, 1)).await, &log.text(1));
    cosigned(&add(&served, log.request(1, 7)).await, &log.text(7));
    cosigned(&add(&served, log.request(7, 256)).await, &log.text(256));
    // Again, later: the same head, a new time.
    served.node.clock.set(served.node.clock.now().0 + 90);
    cosigned(&add(&served, log.request(256, 256)).await, &log.text(256));
    // A stale old size, the one it would have begun with included.
    conflict(&add(&served, log.request(7, 300)).await, 256);
    conflict(&add(&served, log.request(0, 300)).await, 256);
    conflict(&add(&served, log.request(7, 100)).await, 256);
    // Backwards.
    let back = request(256, &[], &log.note(255));
    add(&served, back).await.problem(400, "checkpoint_invalid");
    // Two checkpoints of one size; a history that begins otherwise; a proof of another.
    let fork = HandLog::new("log.example/path", 3)
        .grown(200, "a")
        .grown(300, "b");
    for bad in [
        fork.request(256, 256),
        fork.request(256, 300),
        request(256, &fork.proof(256, 300), &log.note(300)),
        request(256, &[], &log.note(300)),
        request(256, &[[1; 32]], &log.note(256)),
        request(256, &vec![[1; 32]; 63], &log.note(300)),
    ] {
        add(&served, bad).await.problem(422, "checkpoint_inconsistent");
    }
    // A log without entries has one root.
    let empty = HandLog::new("empty.example", 4);
    let other = witness(&[&empty], 62).await;
    let text = format!("empty.example\n0\n{}\n", data_encoding::BASE64.encode(&[1; 32]));
    let wrong = format!("{text}\n{}", empty.line(&text));
    add(&other, request(0, &[], &wrong))
        .await
        .problem(422, "checkpoint_inconsistent");
    let proven = request(0, &[[1; 32]], &empty.grown(1, "a").note(1));
    add(&other, proven).await.problem(422, "checkpoint_inconsistent");
    cosigned(&add(&served, log.request(256, 300)).await, &log.text(300));
    other.stop().await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_logs_and_keys_that_it_was_told_of_count() {
    let log = HandLog::new("log.example", 3).grown(20, "a");
    let rotated = HandLog::new("log.example", 4).grown(20, "a");
    let stranger = HandLog::new("log.example", 5).grown(20, "a");
    let unknown = HandLog::new("other.example", 3).grown(20, "a");
    let served = witness(&[&log, &rotated], 63).await;
    add(&served, unknown.request(0, 5))
        .await
        .problem(404, "log_unknown");
    add(&served, stranger.request(0, 5))
        .await
        .problem(403, "checkpoint_not_signed");
    // The right name and key id over another text.
    let text = log.text(5);
    let moved = format!("{text}\n{}", log.line(&log.text(6)));
    add(&served, request(0, &[], &moved))
        .await
        .problem(403, "checkpoint_not_signed");
    // A known key's bad signature beside a good one refuses the note.
    let both = format!("{text}\n{}{}", rotated.line(&text), log.line("other\n"));
    add(&served, request(0, &[], &both))
        .await
        .problem(403, "checkpoint_not_signed");
    // Unknown signatures are ignored, and of two known keys one is enough.
    let many = format!(
        "{text}\n{}{}{}",
        stranger.line(&text),
        unknown.line("x\n").repeat(20),
        rotated.line(&text)
    );
    assert_eq!(add(&served, request(0, &[], &many)).await.status, 200);
    assert_eq!(add(&served, log.request(5, 6)).await.status, 200);
    // A node that was told of none knows none.
    let none = witness(&[], 64).await;
    add(&none, log.request(0, 5)).await.problem(404, "log_unknown");
    none.stop().await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extension_lines_are_cosigned_whole() {
    let log = HandLog::new("log.example", 3).grown(20, "a");
    let served = witness(&[&log], 65).await;
    let vkey = served.node.node.witness_key().to_string();
    let text = format!("{}one more line\nand \u{e9} another\n", log.text(5));
    let note = format!("{text}\n{}", log.line(&text));
    let answer = add(&served, request(0, &[], &note)).await;
    let line = String::from_utf8(answer.body).unwrap();
    assert!(cosigned_at(&vkey, &text, &line).is_some());
    assert_eq!(cosigned_at(&vkey, &log.text(5), &line), None);
    // What was cosigned last is shown, with both signatures.
    let hash: String = {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest("log.example");
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let shown = served.get(&format!("/{hash}/checkpoint"), "").await;
    assert_eq!(shown.status, 200);
    let shown = String::from_utf8(shown.body).unwrap();
    assert_eq!(shown, format!("{note}{line}"));
    for absent in [
        hash.replace(char::from(hash.as_bytes()[0]), "0"),
        hash.to_uppercase(),
        "x".to_owned(),
    ] {
        served
            .get(&format!("/{absent}/checkpoint"), "")
            .await
            .problem(404, "not_found");
    }
    // Texts that would not fit a row are refused, and nothing changes.
    let long = format!("{}{}\n", log.text(6), "x".repeat(3_000));
    let note = format!("{long}\n{}", log.line(&long));
    add(&served, request(5, &log.proof(5, 6), &note))
        .await
        .problem(400, "checkpoint_invalid");
    assert_eq!(add(&served, log.request(5, 7)).await.status, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_form_or_size_are_refused() {
    let log = HandLog::new("log.example", 3).grown(20, "a");
    let served = witness(&[&log], 66).await;
    let good = log.request(0, 5);
    let hash = format!("{}\n", data_encoding::BASE64.encode(&[1; 32]));
    for bad in [
        String::new(),
        "old 0\n".to_owned(),
        good.replace("old 0", "old 00"),
        good.replace("old 0", "old"),
        good.replace("old 0\n", "old 0\r\n"),
        good.replace("old 0\n", "old 0\nAAAA\n"),
        good.replace("\n\n\u{2014}", "\n\u{2014}"),
        good.replace("log.example\n5\n", "log.example\n05\n"),
        good.replace("log.example\n5\n", "\n5\n"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        good.replace("old 0\n", &format!("old 0\n{}", hash.repeat(64))),
    ] {
        assert_ne!(bad, good);
        add(&served, bad).await.problem(400, "checkpoint_invalid");
    }
    add(&served, vec![0xff; 40])
        .await
        .problem(400, "checkpoint_invalid");
    add(&served, "x".repeat(140_000))
        .await
        .problem(413, "body_too_large");
    add(&served, "x".repeat(3_000_000))
        .await
        .problem(413, "body_too_large");
    let packed = served
        .request(reqwest::Method::POST, "/add-checkpoint", "")
        .header("content-encoding", "gzip")
        .body(good.clone());
    send(packed).await.problem(415, "content_type_unsupported");
    served
        .get("/add-checkpoint", "")
        .await
        .problem(405, "method_not_allowed");
    // Nothing of that was cosigned.
    assert_eq!(add(&served, good).await.status, 200);
    served.stop().await;
}

/// Many at once, all from where the witness stood: one is cosigned.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_race_exactly_one_is_cosigned() {
    let log = HandLog::new("log.example", 3).grown(40, "a");
    let served = witness(&[&log], 67).await;
    assert_eq!(add(&served, log.request(0, 4)).await.status, 200);
    let race = (5..37).map(|size| add(&served, log.request(4, size)));
    let answers = futures_util::future::join_all(race).await;
    let mut cosigned = 0;
    for answer in &answers {
        match answer.status.as_u16() {
            200 => cosigned += 1,
            409 => assert_eq!(answer.header("content-type"), "text/x.tlog.size"),
            // More of one log under way than it has places.
            503 => drop(answer.problem(503, "busy")),
            other => panic!("{other}"),
        }
    }
    assert_eq!(cosigned, 1);
    let text = served.get("/metrics", "").await.body;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("tallystick_witness_requests_total{result=\"cosigned\"} 2"),
        "{text}"
    );
    served.stop().await;
}
