//! `verify --proof`, with what a node really serves.

use std::path::PathBuf;

use clap::Parser as _;
use data_encoding::BASE64URL_NOPAD;
use reqwest::Method;
use serde_json::{Value, json};
use tallystick::cli::verify::{VerifyArgs, run};
use tallystick::testkit::TestNode;

use crate::http::client::{Served, receipt, send};
use crate::http::log::log_key;
use crate::witness::by_hand::HandWitness;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: VerifyArgs,
}

/// A partner's files.
struct Desk(tempfile::TempDir);

impl Desk {
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn verify(&self, arguments: &[&str]) -> (u8, Value) {
        let trust = self.0.path().join("did.json").display().to_string();
        let at = "2026-03-08T12:00:00Z";
        let all = [&["verify", "--json", "--trust", &trust, "--at", at], arguments].concat();
        let cli = Cli::try_parse_from(all).unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = run(&cli.args, &mut &b""[..], &mut stdout, &mut stderr).unwrap();
        (code, serde_json::from_slice(&stdout).unwrap())
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64URL_NOPAD
        .decode(value.as_str().unwrap().as_bytes())
        .unwrap()
}

async fn sold(served: &Served, reference: &str) -> (Value, Value) {
    let till = &served.node.till_key;
    let made = served
        .post("/v1/receipts", till, reference, &receipt(reference))
        .await
        .created();
    let path = format!("/v1/receipts/{}?proof=cose", made["id"].as_str().unwrap());
    let answer = served.get(&path, till).await.ok();
    (made, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_shown_to_be_in_the_log() {
    let served = Served::start(TestNode::in_memory(81)).await;
    let desk = Desk(tempfile::tempdir().unwrap());
    desk.write("did.json", served.get("/.well-known/did.json", "").await.body);
    let key = log_key(&served).await.to_string();
    let (one, answer) = sold(&served, "one").await;
    let (two, later) = sold(&served, "two").await;
    let text = one["qr"].as_str().unwrap();
    let whole = desk.write("answer.json", answer.to_string());
    let part = desk.write("proof.json", answer["proof"].to_string());
    let cose = desk.write("receipt.cose", bytes(&answer["proof"]["cose"]));
    let entry = desk.write("entry.cbor", bytes(&answer["proof"]["entry_bytes"]));
    let note = desk.write("checkpoint", answer["proof"]["checkpoint"].as_str().unwrap());
    let newer = desk.write("newer", served.get("/checkpoint", "").await.body);
    for proof in [
        &["--proof", &whole][..],
        &["--proof", &part],
        &["--proof", &part, "--checkpoint", &note],
        &["--proof", &cose, "--entry", &entry, "--checkpoint", &note],
    ] {
        let (code, said) = desk.verify(&[&[text, "--log-key", &key], proof].concat());
        assert_eq!(code, 0, "{said}");
        let shown = "It is entry 1 of its issuer's log, by the checkpoint of 2 entries.";
        assert_eq!(said["notes"], json!([shown]));
    }
    let with = |input: &str, proof: &[&str]| desk.verify(&[&[input, "--log-key", &key], proof].concat());
    // Another receipt's proof, another log's key, and what was altered prove nothing.
    let (code, said) = with(two["qr"].as_str().unwrap(), &["--proof", &part]);
    assert_eq!((code, &said["verdict"]), (17, &json!("forged_or_malformed")));
    let other = TestNode::in_memory(82);
    let other = log_key(&Served::start(other).await).await.to_string();
    assert_eq!(desk.verify(&[text, "--log-key", &other, "--proof", &part]).0, 17);
    for member in ["entry_bytes", "cose"] {
        let mut altered = answer["proof"].clone();
        let mut changed = bytes(&altered[member]);
        *changed.last_mut().unwrap() ^= 1;
        altered[member] = json!(BASE64URL_NOPAD.encode(&changed));
        let altered = desk.write("altered.json", altered.to_string());
        assert_eq!(with(text, &["--proof", &altered]).0, 17, "{member}");
    }
    let unsigned = answer["proof"]["checkpoint"]
        .as_str()
        .unwrap()
        .replacen("\n2\n", "\n3\n", 1);
    let unsigned = desk.write("unsigned", unsigned);
    assert_eq!(with(text, &["--proof", &part, "--checkpoint", &unsigned]).0, 17);
    // What is not enough to tell is no verdict.
    for proof in [
        &["--proof", &part, "--checkpoint", &newer][..],
        &["--proof", &cose, "--checkpoint", &note],
        &["--proof", &cose, "--entry", &entry],
        &["--proof", &note],
        &["--proof", "no-such-file"],
    ] {
        assert_eq!(with(text, proof).0, 1, "{proof:?}");
    }
    assert!(Cli::try_parse_from(["verify", text, "--proof", &part]).is_err());
    assert!(Cli::try_parse_from(["verify", text, "--log-key", &key]).is_err());
    let later = desk.write("later.json", later.to_string());
    assert_eq!(with(two["qr"].as_str().unwrap(), &["--proof", &later]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_shown_and_a_coupon_has_no_entry() {
    let served = Served::start(TestNode::in_memory(83)).await;
    let desk = Desk(tempfile::tempdir().unwrap());
    desk.write("did.json", served.get("/.well-known/did.json", "").await.body);
    let key = log_key(&served).await.to_string();
    let id = served.campaign(&json!({})).await;
    let request = served.request(Method::GET, &format!("/v1/campaigns/{id}"), "");
    let campaign = send(request.header("accept", "application/cose")).await;
    let campaign = desk.write("campaign.cose", campaign.body);
    let at = "/v1/log/proofs/inclusion?index=1";
    let request = served.request(Method::GET, at, "");
    let cose = desk.write(
        "cose",
        send(request.header("accept", "application/cose")).await.body,
    );
    let note = desk.write("note", served.get("/checkpoint", "").await.body);
    let office = &served.node.office_key;
    let request = served.request(Method::GET, "/v1/log/entries/1", office);
    let entry = desk.write(
        "entry",
        send(request.header("accept", "application/cbor")).await.body,
    );
    let proof = [
        "--log-key",
        &key,
        "--proof",
        &cose,
        "--entry",
        &entry,
        "--checkpoint",
        &note,
    ];
    let (code, said) = desk.verify(&[&[campaign.as_str()], &proof[..]].concat());
    assert_eq!(code, 0, "{said}");
    let coupon = served.coupon(&id, "c").await;
    let (code, said) = desk.verify(&[&[coupon["qr"].as_str().unwrap()], &proof[..]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(
        said["reason"]
            .as_str()
            .unwrap()
            .contains("has no entry of its own")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_asks_for_a_quorum_of_witnesses() {
    let served = Served::start(TestNode::in_memory(83)).await;
    let node = served.node.node.clone();
    let desk = Desk(tempfile::tempdir().unwrap());
    desk.write("did.json", served.get("/.well-known/did.json", "").await.body);
    let key = log_key(&served).await.to_string();
    let (made, plain) = sold(&served, "one").await;
    let witness = HandWitness::new("w.example", 7);
    let note = node.checkpoint();
    let text = format!("{}\n", note.split("\n\n").next().unwrap());
    let cosigned = format!("{note}{}", witness.line(&text, 1_772_896_900));
    node.keep_cosigned(&cosigned, true).await.unwrap();
    // Later entries have no cosignature yet.
    sold(&served, "two").await;
    let (id, till) = (made["id"].as_str().unwrap(), &served.node.till_key);
    let path = format!("/v1/receipts/{id}?proof=cose&witnessed=true");
    let witnessed = served.get(&path, till).await.ok();
    assert_eq!(witnessed["proof"]["checkpoint"], cosigned.as_str());
    let path = format!("/v1/log/proofs/inclusion?receipt={id}&witnessed=true");
    let request = served
        .request(Method::GET, &path, till)
        .header("accept", "text/plain");
    let tlog_proof = send(request).await.body;
    let qr = made["qr"].as_str().unwrap();
    let entry = desk.write("entry.cbor", bytes(&witnessed["proof"]["entry_bytes"]));
    let plain = desk.write("plain.json", plain.to_string());
    let whole = desk.write("witnessed.json", witnessed.to_string());
    let proof = desk.write("one.tlog-proof", tlog_proof);
    let policy = desk.write(
        "policy",
        format!("log {key}\nwitness w {}\nquorum w\n", witness.vkey()),
    );
    let stranger = HandWitness::new("w.example", 8).vkey();
    let other = desk.write("other", format!("witness w {stranger}\nquorum w\n"));
    let not_its = "log example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\nquorum none\n";
    let not_its = desk.write("not-its", not_its);
    let broken = desk.write("broken", "quorum w\n");
    let both = |proof: &str| -> Vec<String> {
        ["--log-key", &key, "--proof", proof, "--entry", &entry]
            .map(ToOwned::to_owned)
            .to_vec()
    };
    for (proof, policy, expected) in [
        (&whole, Some(&policy), 0),
        (&proof, Some(&policy), 0),
        (&proof, None, 0),
        (&plain, None, 0),
        (&plain, Some(&policy), 17),
        (&whole, Some(&other), 17),
        (&proof, Some(&other), 17),
        (&proof, Some(&not_its), 17),
    ] {
        let mut arguments = vec![qr.to_owned()];
        arguments.extend(both(proof));
        if let Some(policy) = policy {
            arguments.extend(["--policy".to_owned(), policy.clone()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, said) = desk.verify(&arguments);
        assert_eq!(code, expected, "{arguments:?}: {said}");
        let told = said.to_string().contains("a quorum of witnesses has cosigned");
        assert_eq!(told, expected == 0 && policy.is_some(), "{said}");
        if expected == 17 && policy.is_some_and(|policy| !policy.ends_with("not-its")) {
            assert!(said.to_string().contains("quorum"), "{said}");
        }
    }
    let arguments = [
        &[qr][..],
        &["--log-key", &key, "--proof", &whole, "--policy", &broken],
    ]
    .concat();
    assert_eq!(desk.verify(&arguments).0, 1);
    // A tlog-proof of another entry.
    let wrong = std::fs::read_to_string(&proof)
        .unwrap()
        .replace("index 1\n", "index 0\n");
    let wrong = desk.write("wrong.tlog-proof", wrong);
    let arguments = [
        &[qr][..],
        &["--log-key", &key, "--proof", &wrong, "--entry", &entry],
    ]
    .concat();
    assert_eq!(desk.verify(&arguments).0, 17);
    let arguments = [&[qr][..], &["--log-key", &key, "--proof", &proof]].concat();
    assert_eq!(desk.verify(&arguments).0, 1, "a tlog-proof needs its entry");
    drop(node);
    served.stop().await;
}
