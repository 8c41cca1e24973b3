//! Floor 7: bodies and answers a line at a time (NDJSON), through the real
//! handlers and a node in memory.

use std::collections::HashSet;

use actix_web::test::TestRequest;
use actix_web::web::Bytes;
use serde_json::{Value, json};

use super::http::{
    Answer, COUPONS, RECEIPTS, Shop, asks_for_few, block_on, check, check_problem, coupon_seeds, receipt,
    request, send, serve, shop,
};
use super::{Target, take};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "receipt_stream",
        run: receipts,
        seeds: receipt_seeds,
    },
    Target {
        name: "coupon_stream",
        run: coupons,
        seeds: coupon_stream_seeds,
    },
];

const NDJSON: &str = "application/x-ndjson";

/// Most lines that an input may have: an empty one is refused as any other.
const LINES_MAX: usize = 64;

/// Posts a stream of receipts in pieces of a length that the input begins with,
/// and the same at once: either way each line is answered, in the lines' order,
/// as a receipt posted by itself is; a repeat gets the same; and exactly what was
/// answered is in the log.
fn receipts(mut data: &[u8]) -> bool {
    let [piece] = take(&mut data);
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    // A last line may lack its end; after an end there is none.
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    if lines.len() > LINES_MAX {
        return false;
    }
    let shop = shop();
    let fork = shop.node.fork(|_| {}).expect("a copy of a whole log");
    let alone = shop.node.fork(|_| {}).expect("a copy of a whole log");
    block_on(async {
        let (ask, ask_alone) = (serve(shop.http(&fork)).await, serve(shop.http(&alone)).await);
        let before = fork.node.size();
        let pieces = data.chunks(usize::from(piece).max(1));
        let pieces = pieces.map(Bytes::copy_from_slice).collect();
        let first = stream(&ask, shop, pieces).await;
        check(&RECEIPTS, &first);
        let results = parsed(&first);
        assert_eq!(results.len(), lines.len());
        let mut made = HashSet::new();
        for ((number, line), result) in (1_u64..).zip(lines).zip(&results) {
            assert_eq!(result["line"], number);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let key = format!("fuzz/{number}");
            let by_itself = send(&ask_alone, shop, &RECEIPTS, &key, line).await;
            assert_eq!(result["status"], by_itself.status, "{result}");
            if by_itself.is_good() {
                assert_eq!(result["sequence_number"], by_itself.json()["sequence_number"]);
                made.insert(result["entry"]["index"].as_u64().expect("an index"));
            } else {
                check_problem(result);
                assert_eq!(result["code"], by_itself.json()["code"], "{result}");
            }
        }
        let accepted = !made.is_empty();
        // What the shop has sold before is answered, and not done again.
        made.retain(|index| *index >= before);
        assert_eq!(fork.node.size() - before, made.len() as u64);
        let again = stream(&ask, shop, vec![Bytes::copy_from_slice(data)]).await;
        for (again, first) in parsed(&again).iter().zip(&results) {
            // What was refused may break another rule too by now.
            let is_refused = first["status"] != 201 && again["status"] != 201;
            assert!(again == first || is_refused, "{again} after {first}");
        }
        assert_eq!(fork.node.size() - before, made.len() as u64);
        assert_eq!(fork.node.stopped(), None);
        drop((ask, ask_alone));
        fork.node.shut_down().await;
        alone.node.shut_down().await;
        accepted
    })
}

async fn stream(
    ask: &impl AsyncFn(TestRequest, Vec<Bytes>) -> Answer,
    shop: &Shop,
    pieces: Vec<Bytes>,
) -> Answer {
    let request = request(shop, &RECEIPTS, "fuzz").insert_header(("content-type", NDJSON));
    ask(request, pieces).await
}

/// The objects in an answer's lines.
fn parsed(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.media, NDJSON);
    let lines = answer.body.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            assert!(line.ends_with(b"\n"), "the last line is cut off");
            let value: Value = serde_json::from_slice(line).expect("a line is JSON");
            assert!(value.is_object());
            value
        })
        .collect()
}

fn receipt_seeds() -> Vec<Vec<u8>> {
    let line = |reference: &str| receipt(reference).to_string();
    let mut wrong = receipt("c");
    wrong["total"] = json!(145);
    let all = [
        line("a"),
        line("b"),
        String::new(),
        line("a"),
        wrong.to_string(),
        line("sale-1"),
    ];
    vec![
        [&[255], all.join("\n").as_bytes()].concat(),
        [&[7], all[..2].join("\r\n").as_bytes(), b"\r\n"].concat(),
    ]
}

/// Orders coupons as a stream from the line on that the input begins with: the
/// lines are the end of those from the first on, and hold what the same order
/// without a stream gives.
fn coupons(mut data: &[u8]) -> bool {
    let [from] = take(&mut data);
    if !asks_for_few(data) {
        return false;
    }
    let shop = shop();
    let fork = shop.node.fork(|_| {}).expect("a copy of a whole log");
    block_on(async {
        let ask = serve(shop.http(&fork)).await;
        let before = fork.node.size();
        let order = async |from: usize| {
            let request = request(shop, &COUPONS, "fuzz")
                .uri(&format!("{}?from={from}", COUPONS.path))
                .insert_header(("content-type", "application/json"))
                .insert_header(("accept", NDJSON));
            let answer = ask(request, vec![Bytes::copy_from_slice(data)]).await;
            check(&COUPONS, &answer);
            answer
        };
        // Nothing was issued yet: from the first line on alone.
        let early = order(from.into()).await;
        assert!(from == 0 || !early.is_good());
        assert_eq!(fork.node.size() - before, u64::from(early.is_good()));
        let whole = order(0).await;
        let plain = send(&ask, shop, &COUPONS, "fuzz", data).await;
        check(&COUPONS, &plain);
        assert_eq!(fork.node.size() - before, u64::from(whole.is_good()));
        assert_eq!(fork.node.stopped(), None);
        assert_eq!(plain.status, whole.status);
        if whole.is_good() {
            let lines = parsed(&whole);
            let plain_body = plain.json();
            assert_eq!(plain_body["coupons"].as_array(), Some(&lines));
            let batch = format!("/v1/batches/{}", plain_body["batch"]);
            assert_eq!([&whole.location, &plain.location], [&batch, &batch]);
            let from = usize::from(from);
            if from <= lines.len() {
                let later = order(from).await;
                assert!(whole.body.ends_with(&later.body));
                assert_eq!(parsed(&later)[..], lines[from..]);
            } else {
                assert_eq!(early.json()["code"], "query_invalid");
            }
        }
        drop(ask);
        fork.node.shut_down().await;
        whole.is_good()
    })
}

fn coupon_stream_seeds() -> Vec<Vec<u8>> {
    let orders = coupon_seeds().into_iter();
    orders.map(|order| [&[1], order.as_slice()].concat()).collect()
}
