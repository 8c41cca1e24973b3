//! Receipts as a stream: a line in, a result out.

use serde_json::{Value, json};
use tallystick::testkit::TestNode;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::client::{Answer, Served, merge, receipt, send};

const NDJSON: &str = "application/x-ndjson";

async fn post(served: &Served, key: &str, idempotency: &str, body: String) -> Answer {
    let request = served.request(reqwest::Method::POST, "/v1/receipts", key);
    let headed = request
        .header("content-type", NDJSON)
        .header("idempotency-key", idempotency);
    send(headed.body(body)).await
}

/// The lines of a stream's answer.
#[track_caller]
fn results(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), NDJSON);
    let text = std::str::from_utf8(&answer.body).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (line, number) in lines.iter().zip(1..) {
        assert_eq!(line["line"], number);
    }
    lines
}

fn sales(count: u32) -> Vec<String> {
    (1..=count)
        .map(|n| receipt(&format!("s{n}")).to_string())
        .collect()
}

/// A stream whose sender takes its time: a chunk at a time, results as they come.
struct Slow {
    out: OwnedWriteHalf,
    back: BufReader<OwnedReadHalf>,
}

impl Slow {
    async fn begin(served: &Served, key: &str, idempotency: &str) -> Self {
        let address = served.base.trim_start_matches("http://");
        let (back, mut out) = TcpStream::connect(address).await.unwrap().into_split();
        let head = format!(
            "POST /v1/receipts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nidempotency-key: {idempotency}\r\n\
             content-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        out.write_all(head.as_bytes()).await.unwrap();
        Self {
            out,
            back: BufReader::new(back),
        }
    }

    async fn send(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.out.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// The next chunk of the answer; the head is passed over, the end is empty.
    async fn chunk(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.back.read_line(&mut line).await.unwrap() > 0, "no answer");
            if let Ok(length) = usize::from_str_radix(line.trim(), 16) {
                let mut chunk = vec![0; length + 2];
                self.back.read_exact(&mut chunk).await.unwrap();
                chunk.truncate(length);
                return String::from_utf8(chunk).unwrap();
            }
            let head = line.starts_with("HTTP/1.1 200") || line.contains(": ") || line == "\r\n";
            assert!(head, "{line}");
        }
    }

    /// So many lines of the answer.
    async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut text = String::new();
        while text.lines().count() < count {
            text.push_str(&self.chunk().await);
        }
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn each_line_is_answered_like_a_call_of_its_own() {
    let served = Served::start(TestNode::on_sled(61)).await;
    let till = served.node.till_key.clone();
    let mut lines = sales(300);
    let mut elsewhere = receipt("s-elsewhere");
    merge(&mut elsewhere, &json!({"register": TestNode::OTHER_REGISTER}));
    let mut wrong_sum = receipt("s-wrong");
    merge(&mut wrong_sum, &json!({"total": 145}));
    let long = json!({"register": "x".repeat(600_000)}).to_string();
    let bad = [
        (10, "{", 400, "body_invalid"),
        (11, "", 400, "body_invalid"),
        (12, &elsewhere.to_string(), 403, "register_mismatch"),
        (13, &wrong_sum.to_string(), 422, "receipt_invalid"),
        (14, &long, 413, "body_too_large"),
    ];
    for (at, line, _, _) in &bad {
        lines[at - 1] = (*line).to_owned();
    }
    // Line ends of either kind, and none after the last.
    lines[20].push('\r');
    let answer = post(&served, &till, "day", lines.join("\n")).await;
    let said = results(&answer);
    assert_eq!(said.len(), 300);
    for (at, _, status, code) in &bad {
        let line = &said[at - 1];
        assert_eq!(
            (&line["status"], &line["code"]),
            (&json!(status), &json!(code)),
            "{line}"
        );
        assert!(line["detail"].is_string() && line["retry"].is_boolean(), "{line}");
    }
    assert_eq!(served.effects(), 295);
    let issued: Vec<&Value> = said.iter().filter(|line| line["status"] == 201).collect();
    for (line, number) in issued.iter().zip(1..) {
        assert_eq!(line["sequence_number"], number, "numbers follow the lines");
    }
    // The same content as a single call: the same receipt, with the same members.
    let single = served
        .post("/v1/receipts", &till, "single", &receipt("s1"))
        .await
        .created();
    let mut first = said[0].clone();
    for added in ["line", "status"] {
        first.as_object_mut().unwrap().remove(added);
    }
    assert_eq!(first, single);
    // Line 14 was too long to be taken, so its number is free for what fits.
    lines[13] = receipt("s14").to_string();
    lines.push(receipt("s301").to_string());
    let served = Served::start(served.stop().await.reopened().await).await;
    let again = results(&post(&served, &till, "day", lines.join("\n") + "\n").await);
    assert_eq!(again.len(), 301);
    for (line, earlier) in again.iter().zip(&said) {
        if line["line"] != 14 {
            assert_eq!(line, earlier);
        }
    }
    assert_eq!(
        (&again[13]["status"], &again[300]["status"]),
        (&json!(201), &json!(201))
    );
    assert_eq!(served.effects(), 2);
    // A line's key names that line's bytes.
    lines[0] = receipt("other").to_string();
    let other = results(&post(&served, &till, "day", lines[..2].join("\n")).await);
    assert_eq!(other[0]["code"], "idempotency_key_reused");
    assert_eq!(other[1], said[1]);
    served.stop().await;
}

#[tokio::test]
async fn results_come_while_the_stream_is_still_being_sent() {
    let served = Served::start(TestNode::in_memory(62)).await;
    let mut slow = Slow::begin(&served, &served.node.till_key.clone(), "slow").await;
    for (n, sale) in sales(3).iter().enumerate() {
        // In two pieces, so that a line is put together again.
        let (one, other) = sale.split_at(n * 40);
        slow.send(&format!("\n{one}")).await;
        slow.send(&format!("{other}\n")).await;
        let said = slow.lines(2).await;
        let result: Value = serde_json::from_str(&said[1]).unwrap();
        assert_eq!(
            (&result["line"], &result["sequence_number"]),
            (&json!(2 * n + 2), &json!(n + 1))
        );
    }
    // A key that is revoked meanwhile is good for no further line.
    let node = &served.node;
    let id = node.access.list().unwrap()[0].id.clone();
    node.access.revoke(&id, node.node.now()).unwrap();
    slow.send(&format!("{}\n", receipt("late"))).await;
    assert!(slow.lines(1).await[0].contains("access_key_unknown"));
    slow.send("").await;
    assert_eq!(slow.chunk().await, "");
}

#[tokio::test]
async fn a_stream_that_was_cut_is_posted_again_without_a_duplicate() {
    let served = Served::start(TestNode::on_sled(63)).await;
    let till = served.node.till_key.clone();
    let sales = sales(60);
    let mut cut = Slow::begin(&served, &till, "cut").await;
    cut.send(&(sales[..40].join("\n") + "\n" + &sales[40][..100]))
        .await;
    let first = cut.lines(40).await;
    drop(cut);
    let again = post(&served, &till, "cut", sales.join("\n")).await;
    assert_eq!(results(&again).len(), 60);
    let text = String::from_utf8(again.body).unwrap();
    assert!(text.lines().zip(&first).all(|(again, first)| again == first));
    assert_eq!(served.effects(), 60);
    // Cut while the client still listens: it is told where.
    let mut cut = Slow::begin(&served, &till, "told").await;
    cut.send(&(receipt("told").to_string() + "\n{")).await;
    cut.lines(1).await;
    cut.out.shutdown().await.unwrap();
    let last: Value = serde_json::from_str(&cut.lines(1).await[0]).unwrap();
    assert_eq!(
        (&last["line"], &last["code"]),
        (&json!(2), &json!("body_invalid"))
    );
    assert_eq!(served.effects(), 61);
}

#[tokio::test]
async fn a_stream_is_refused_whole_before_it_is_read() {
    let served = Served::start(TestNode::in_memory(64)).await;
    let (till, auditor) = (served.node.till_key.clone(), served.node.auditor_key.clone());
    post(&served, &till, "", sales(1).join("\n"))
        .await
        .problem(400, "idempotency_key_invalid");
    post(&served, &auditor, "a", sales(1).join("\n"))
        .await
        .problem(403, "role_forbidden");
    let elsewhere = served
        .request(reqwest::Method::POST, "/v1/redemptions", &till)
        .header("content-type", NDJSON)
        .header("idempotency-key", "a")
        .body("{}");
    send(elsewhere).await.problem(415, "content_type_unsupported");
    let cose = served
        .request(reqwest::Method::POST, "/v1/receipts", &till)
        .header("content-type", NDJSON)
        .header("accept", "application/cose")
        .header("idempotency-key", "a")
        .body("{}");
    send(cose).await.problem(406, "not_acceptable");
    assert_eq!(
        results(&post(&served, &till, "none", String::new()).await),
        Vec::<Value>::new()
    );
    assert_eq!(served.effects(), 0);
}

/// A line without an end is not kept in memory, and given up.
#[tokio::test]
async fn an_endless_line_is_given_up() {
    let served = Served::start(TestNode::in_memory(65)).await;
    let till = served.node.till_key.clone();
    let body = receipt("s1").to_string() + "\n" + &" ".repeat(3 << 20);
    let answer = post(&served, &till, "endless", body).await;
    let said = results(&answer);
    assert_eq!(said.len(), 2);
    assert_eq!(
        (&said[0]["status"], &said[1]["code"]),
        (&json!(201), &json!("body_too_large"))
    );
}
