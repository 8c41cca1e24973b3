//! The description's examples are what a node answers: a day is played on a
//! node whose clock and randomness are fixed, and compared with them.

use std::path::Path;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tallystick::federation::Rosters;
use tallystick::federation::gossip::body::Body;
use tallystick::federation::message::{Head, MessageName, seal};
use tallystick::federation::roster::{Role, Roster};
use tallystick::http::HttpOptions;
use tallystick::log::VerifierKey;
use tallystick::testkit::TestNode;
use tallystick::testkit::fuzz::{entries_seeds, redemption_seeds};
use tallystick::testkit::log::TestLog;
use tallystick::testkit::node::ScratchDir;
use tallystick::testkit::roster::{ISSUED, after, description, founded, member_key, signed};

use crate::http::client::{Answer, Served, receipt, send};
use crate::witness::by_hand::HandLog;
use crate::witness::serving::add;

const NDJSON: &str = "application/x-ndjson";
const FILE: &str = "src/http/openapi/examples.json";

/// A day's calls, with the examples that they give.
struct Day {
    served: Served,
    examples: Value,
}

impl Day {
    async fn post(&mut self, name: &str, path: &str, key: &str, body: Value) -> Value {
        let answer = self.served.post(path, key, name, &body).await;
        assert!(
            answer.status.is_success(),
            "{name}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        let mut example = json!({"request": body, "answers": {"application/json": answer.json()}});
        let location = answer.header("location");
        if !location.is_empty() {
            example["location"] = json!(location);
        }
        self.note(name, example, &answer)
    }

    async fn get(&mut self, name: &str, path: &str, key: &str, parameters: Value) -> Value {
        let answer = self.served.get(path, key).await;
        let media = answer.header("content-type").to_owned();
        let body = if media.contains("json") {
            json!({"answers": {(media): answer.ok()}})
        } else if [
            "application/statuslist+cwt",
            "application/octet-stream",
            "application/cbor",
        ]
        .contains(&media.as_str())
        {
            json!({"bytes": {(media): HEXLOWER.encode(&answer.body)}})
        } else {
            json!({"answers": {(media): String::from_utf8_lossy(&answer.body)}})
        };
        let mut example = body;
        example["parameters"] = parameters;
        self.note(name, example, &answer)
    }

    /// The same call again with lines in the place of one body: a line of the answer.
    async fn line(&mut self, name: &str, path: &str, key: &str) {
        let body = format!("{}\n", self.examples[name]["request"]);
        let request = self.served.request(Method::POST, path, key);
        let request = match name {
            "issueCoupons" => request
                .header("content-type", "application/json")
                .header("accept", NDJSON)
                .header("idempotency-key", "lines-of-coupons"),
            _ => request
                .header("content-type", NDJSON)
                .header("idempotency-key", "lines-of-receipts"),
        };
        let answer = send(request.body(body)).await;
        let line = answer.json();
        assert!(answer.status.is_success(), "{line}");
        self.examples[name]["answers"][NDJSON] = line;
    }

    /// The same call again, with its answer in another form.
    async fn also(&mut self, name: &str, path: &str, key: &str, media: &str) {
        let request = self.served.request(Method::GET, path, key);
        let answer = send(request.header("accept", media)).await;
        assert!(answer.header("content-type").starts_with(media), "{name}");
        let body = String::from_utf8(answer.body);
        match (media, body) {
            ("text/plain", Ok(text)) => {
                self.examples[name]["answers"]["text/plain; charset=utf-8"] = json!(text);
            }
            (_, body) => {
                let bytes = body.map_or_else(|error| error.into_bytes(), String::into_bytes);
                self.examples[name]["bytes"][media] = json!(HEXLOWER.encode(&bytes));
            }
        }
    }

    /// Keeps the example, with the credential in it as bytes too.
    fn note(&mut self, name: &str, mut example: Value, answer: &Answer) -> Value {
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let one = json.get("credential").or(json.pointer("/coupons/0/credential"));
        if let Some(credential) = one.and_then(Value::as_str) {
            let bytes = BASE64URL_NOPAD.decode(credential.as_bytes()).unwrap();
            example["bytes"]["application/cose"] = json!(HEXLOWER.encode(&bytes));
        }
        self.examples[name] = example;
        json
    }
}

/// A node that serves a mirror of another log, kept in `dir`.
fn mirroring(dir: &ScratchDir) -> HttpOptions {
    for (path, bytes) in TestLog::new(2).files() {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    // No receipt and no coupon is among the entries.
    for (kind, bytes) in [("stubs", &[0; 4][..]), ("tags", &[0; 64])] {
        let part = dir.path().join("tile").join(kind).join("000.p");
        std::fs::create_dir_all(&part).unwrap();
        std::fs::write(part.join("2"), bytes).unwrap();
    }
    let key = TestLog::new(0).vkey();
    std::fs::write(dir.path().join("log.vkey"), format!("{key}\n")).unwrap();
    HttpOptions {
        mirrors: [("other-coop".to_owned(), dir.path().to_owned())].into(),
        ..HttpOptions::default()
    }
}

async fn played() -> Value {
    let node = TestNode::in_memory(7);
    let mirrored = ScratchDir::new();
    let (till, office) = (node.till_key.clone(), node.office_key.clone());
    let partner = HandLog::new("partner.example", 9).grown(9, "a");
    let first = founded(&[1], 1);
    let rosters = Rosters::open(node.node.clone(), first.hash(), &[], &node.registry);
    let options = HttpOptions {
        rosters: Some(rosters.unwrap().0),
        witness_logs: vec![VerifierKey::parse(&partner.vkey()).unwrap()],
        ..mirroring(&mirrored)
    };
    let mut day = Day {
        served: Served::with(node, options).await,
        examples: json!({}),
    };
    let terms = json!({
        "name": "Spring", "text": "3.00 EUR off from 10.00 EUR", "currency": "EUR",
        "benefit": {"kind": "amount_off", "amount": 300}, "minimum_basket": 1_000, "budget": 500_000,
        "not_before": "2026-03-01T00:00:00+01:00", "not_after": "2026-04-01T00:00:00+02:00",
        "reversal_window_seconds": 604_800
    });
    let campaign = day.post("signCampaign", "/v1/campaigns", &office, terms).await["id"].clone();
    let id = campaign.as_str().unwrap();
    day.get("listCampaigns", "/v1/campaigns", "", json!({})).await;
    day.get(
        "getCampaign",
        &format!("/v1/campaigns/{id}"),
        "",
        json!({"id": id}),
    )
    .await;
    let order = json!({"campaign": id, "count": 1});
    let issued = day.post("issueCoupons", "/v1/coupons", &office, order).await;
    let coupon = issued["coupons"][0].clone();
    day.line("issueCoupons", "/v1/coupons", &office).await;
    let (batch, name) = (&issued["batch"], coupon["name"].as_str().unwrap());
    let path = format!("/v1/batches/{batch}");
    day.get("getBatch", &path, &office, json!({"batch": batch})).await;
    let leaf = json!({"batch": batch, "leaf": 0});
    day.get("getTagPath", &format!("{path}/tags/0"), &office, leaf)
        .await;
    let path = format!("/v1/coupons/{name}/path");
    day.get("getCouponPath", &path, &office, json!({"name": name}))
        .await;
    let basket = json!({"total": 1_250, "currency": "EUR"});
    let validation = json!({"coupon": coupon["qr"], "basket": basket});
    day.post("validateCoupon", "/v1/validations", &till, validation)
        .await;
    let redemption = json!({
        "coupon": coupon["qr"], "register": TestNode::REGISTER, "till_reference": "2026-03-07/000812",
        "basket": basket,
    });
    let redeemed = day
        .post("redeemCoupon", "/v1/redemptions", &till, redemption)
        .await;
    let redemption = redeemed["id"].as_str().unwrap();
    let sale = receipt("2026-03-07/000812");
    let receipt = day.post("issueReceipt", "/v1/receipts", &till, sale).await["id"].clone();
    day.line("issueReceipt", "/v1/receipts", &till).await;
    let receipt = receipt.as_str().unwrap();
    let asked = "register=shop1-lane3&till_reference=2026-03-07%2F000812";
    let by_reference = json!({"register": TestNode::REGISTER, "till_reference": "2026-03-07/000812"});
    day.get(
        "findReceipts",
        &format!("/v1/receipts?{asked}"),
        &till,
        by_reference.clone(),
    )
    .await;
    day.get(
        "getReceipt",
        &format!("/v1/receipts/{receipt}"),
        &till,
        json!({"id": receipt}),
    )
    .await;
    day.get(
        "findRedemptions",
        &format!("/v1/redemptions?{asked}"),
        &till,
        by_reference,
    )
    .await;
    let path = format!("/v1/redemptions/{redemption}");
    day.get("getRedemption", &path, &till, json!({"id": redemption}))
        .await;
    let reversal = json!({"till_reference": "2026-03-07/000813", "give_back": true});
    day.post("reverseRedemption", &format!("{path}/reversals"), &till, reversal)
        .await;
    day.examples["reverseRedemption"]["parameters"] = json!({"id": redemption});
    let revocation = json!({"name": coupon["name"], "status": "revoked", "reason": "printed twice"});
    day.post("setCouponStatus", "/v1/revocations", &office, revocation)
        .await;
    day.get("getStatusList", "/s/0", "", json!({"list": 0})).await;
    day.get("getDidDocument", "/.well-known/did.json", "", json!({}))
        .await;
    day.get("getCheckpoint", "/checkpoint", "", json!({})).await;
    let tile = json!({"level": 0, "number": "000.p/2"});
    day.get("getTile", "/tile/0/000.p/2", "", tile).await;
    let bundle = json!({"number": "000.p/1"});
    day.get("getEntryBundle", "/tile/entries/000.p/1", &office, bundle)
        .await;
    day.mirror(&office).await;
    let stubs = json!({"number": "000.p/4"});
    day.get("getStubBundle", "/tile/stubs/000.p/4", &office, stubs)
        .await;
    let tags = json!({"number": "000.p/2"});
    day.get("getTagTile", "/tile/tags/000.p/2", &office, tags).await;
    day.log(&office, (receipt, redemption, name)).await;
    day.witness(&partner).await;
    let erasure = json!({"receipt": receipt, "reason": "request of the person concerned"});
    day.post("eraseReceipts", "/v1/erasures", &office, erasure).await;
    day.federation(&office, &first).await;
    day.partners(redemption);
    day.get("getHealth", "/healthz", "", json!({})).await;
    day.get("getReadiness", "/readyz", "", json!({})).await;
    day.get("getErrors", "/errors", "", json!({})).await;
    day.get("getMetrics", "/metrics", "", json!({})).await;
    shorten(&mut day.examples);
    let mut examples = day.examples.take();
    let info = &tallystick::http::openapi_document()["info"];
    let document = json!({"openapi": "3.1.0", "info": {"title": info["title"], "version": info["version"]}, "paths": {}});
    examples["getOpenApi"] = json!({"answers": {"application/json": document}});
    day.served.stop().await;
    examples
}

impl Day {
    /// Entries and proofs of the log that the day has made.
    async fn mirror(&mut self, office: &str) {
        let log = json!({"log": "other-coop"});
        for (name, file) in [
            ("getMirrorCheckpoint", "checkpoint"),
            ("getMirrorKey", "log.vkey"),
        ] {
            self.get(name, &format!("/mirror/other-coop/{file}"), "", log.clone())
                .await;
        }
        let mut tile = log;
        tile["number"] = json!("000.p/2");
        for (name, kind) in [
            ("getMirrorEntryBundle", "entries"),
            ("getMirrorStubBundle", "stubs"),
            ("getMirrorTagTile", "tags"),
        ] {
            let path = format!("/mirror/other-coop/tile/{kind}/000.p/2");
            self.get(name, &path, office, tile.clone()).await;
        }
        tile["level"] = json!(0);
        self.get("getMirrorTile", "/mirror/other-coop/tile/0/000.p/2", "", tile)
            .await;
    }

    async fn log(&mut self, office: &str, (receipt, redemption, coupon): (&str, &str, &str)) {
        let path = "/v1/log/entries/1";
        self.get("getEntry", path, office, json!({"index": 1})).await;
        self.also("getEntry", path, office, "application/cbor").await;
        let path = "/v1/log/proofs/inclusion?index=1";
        let all = json!({
            "index": 1, "receipt": receipt, "redemption": redemption, "coupon": coupon, "tree_size": 3,
            "witnessed": true,
        });
        self.get("getInclusionProof", path, "", all).await;
        for media in ["application/cose", "text/plain"] {
            self.also("getInclusionProof", path, "", media).await;
        }
        let path = "/v1/log/proofs/consistency?first=2&second=4";
        let sizes = json!({"first": 2, "second": 4});
        self.get("getConsistencyProof", path, "", sizes).await;
        self.also("getConsistencyProof", path, "", "application/cose")
            .await;
    }
}

impl Day {
    /// A partner's log has its checkpoints cosigned.
    async fn witness(&mut self, partner: &HandLog) {
        assert_eq!(add(&self.served, partner.request(0, 5)).await.status, 200);
        let request = partner.request(5, 9);
        let cosigned = add(&self.served, request.clone()).await;
        let conflict = add(&self.served, request.clone()).await;
        let mut answers = json!({});
        for answer in [cosigned, conflict] {
            answers[answer.header("content-type")] = json!(String::from_utf8(answer.body.clone()).unwrap());
        }
        self.examples["addCheckpoint"] = json!({"request": request, "answers": answers});
        let hash = HEXLOWER.encode(&Sha256::digest(&partner.origin));
        let (path, parameters) = (format!("/{hash}/checkpoint"), json!({"origin": hash}));
        self.get("getWitnessedCheckpoint", &path, "", parameters).await;
    }
}

impl Day {
    /// A board publishes two versions, and then another second one.
    async fn federation(&mut self, office: &str, first: &Roster) {
        let second = after(first, |draft| draft.member(description(1, 0)).unwrap());
        let other = after(first, |_| ());
        for (roster, status) in [(first, 200), (&second, 200), (&other, 422)] {
            let body = signed(roster, &[1]).encode();
            let path = "/v1/federation/rosters";
            let request = self.served.request(Method::POST, path, office);
            let request = request
                .header("content-type", "application/cbor")
                .header("idempotency-key", roster.hash().to_string());
            let answer = send(request.body(body.clone())).await;
            assert_eq!(answer.status, status);
            if roster.hash() == second.hash() {
                self.examples["publishRoster"] = json!({
                    "sent": {"application/cbor": HEXLOWER.encode(&body)},
                    "answers": {"application/json": answer.json()},
                });
                self.get("getRoster", "/federation/roster", "", json!({})).await;
                let path = "/federation/roster/1";
                self.get("getRosterVersion", path, "", json!({"version": 1}))
                    .await;
            }
        }
        self.get("getRosterConflict", "/federation/conflict", "", json!({}))
            .await;
        self.get("listEvidence", "/v1/federation/evidence", office, json!({}))
            .await;
    }
}

impl Day {
    /// A partner's message as its node seals it, and its answer; a sale that was given up.
    fn partners(&mut self, redemption: &str) {
        let [request, answer] = &redemption_seeds()[..] else {
            panic!("a body of each")
        };
        let seal = |n: u8, name, body: &[u8]| {
            let did = |n| description(n, 0).member.did();
            let head = Head {
                sender: did(n),
                audience: did(3 - n),
                time: ISSUED,
                id: [7; 16],
                roster_version: 2,
            };
            HEXLOWER.encode(&seal(&member_key(n, Role::Messages, 0), name, &head, body))
        };
        self.examples["partnerRedemptions"] = json!({
            "sent": {"application/cose": seal(1, MessageName::Redemption, request)},
            "bytes": {"application/cose": seal(2, MessageName::RedemptionAnswer, answer)},
        });
        let [request, answer] = [&entries_seeds()[0], &entries_seeds()[2]];
        self.examples["readEntries"] = json!({
            "sent": {"application/cose": seal(1, MessageName::EntriesRequest, request)},
            "bytes": {"application/cose": seal(2, MessageName::Entries, answer)},
        });
        // The shortest there is: which roster the sender follows, and nothing else.
        let body = Body {
            roster: Some((2, tallystick::primitives::Digest([9; 32]))),
            ..Body::default()
        };
        self.examples["gossip"] = json!({
            "sent": {"application/cose": seal(1, MessageName::Gossip, &body.encode())},
            "bytes": {"application/cose": seal(2, MessageName::GossipAnswer, &body.encode())},
        });
        self.examples["cancelRedemption"] = json!({
            "parameters": {"id": redemption},
            "request": {},
            "answers": {"application/json": {"id": redemption, "state": "cancelled"}},
        });
    }
}

/// Long texts by their beginning; of the metrics what does not change.
fn shorten(examples: &mut Value) {
    for (name, from) in [
        ("getErrors", "# Errors"),
        ("getMetrics", "# HELP tallystick_log_entries "),
    ] {
        for text in examples[name]["answers"].as_object_mut().unwrap().values_mut() {
            let whole = text.as_str().unwrap();
            let begin = whole.find(from).unwrap();
            let lines: Vec<&str> = whole[begin..].lines().take(3).collect();
            *text = json!(lines.join("\n") + "\n");
        }
    }
}

#[tokio::test]
async fn examples_are_what_a_node_answers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let played = played().await;
    if std::env::var_os("TALLYSTICK_REGENERATE").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&played).unwrap() + "\n").unwrap();
    }
    let committed: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (name, example) in played.as_object().unwrap() {
        assert_eq!(
            &committed[name], example,
            "{FILE} is not what a node answers; if the change is meant, run this test with TALLYSTICK_REGENERATE=1, \
             then that of the description"
        );
    }
    assert_eq!(
        committed.as_object().unwrap().len(),
        played.as_object().unwrap().len()
    );
}
