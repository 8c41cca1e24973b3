//! `tallystick export`: a period for an auditor's program and for a spreadsheet.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tallystick::log::{TlogProof, VerifierKey, entry_hash};

use crate::cli::{Place, sale};

/// A shop with some hundred entries: sales, coupons, redemptions and a reversal.
fn shop() -> Place {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let place = Place::new();
    let served = place.serve();
    let node = ["--node", served.url(), "--key", place.key("office_key")];
    let campaign = place.campaign(&node);
    let issue = ["issue", &campaign, "--count", "40"];
    let issued = place.done(&[&issue[..], &node].concat());
    let coupons: Vec<&str> = issued
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let post = |path: &str, body: &Value| -> Value {
        let answer = http
            .post(format!("{}{path}", served.url()))
            .bearer_auth(place.key("office_key"))
            .header("Content-Type", "application/json")
            .header(
                "Idempotency-Key",
                format!("{path}-{}", body["till_reference"].as_str().unwrap()),
            )
            .body(body.to_string());
        let answer = answer.send().unwrap();
        assert_eq!(answer.status(), 201);
        serde_json::from_str(&answer.text().unwrap()).unwrap()
    };
    let mut last = Value::Null;
    for n in 0..300 {
        let mut body = sale();
        body["till_reference"] = json!(format!("r/{n}"));
        body["member"] = json!("member-0815");
        body["register"] = json!(if n % 3 == 0 { "=till-2" } else { "till-1" });
        post("/v1/receipts", &body);
        if n % 10 == 0 {
            let body = json!({
                "coupon": coupons[n / 10], "register": "till-1", "till_reference": format!("c/{n}"),
                "basket": {"total": 1_850, "currency": "EUR"},
            });
            last = post("/v1/redemptions", &body)["id"].clone();
        }
    }
    let path = format!("/v1/redemptions/{}/reversals", last.as_str().unwrap());
    post(&path, &json!({"till_reference": "v/1", "give_back": true}));
    assert_eq!(served.signal("-TERM").0, Some(0));
    place
}

fn rows(dir: &Path, name: &str) -> Vec<Vec<String>> {
    let mut table = csv::Reader::from_path(dir.join(name)).unwrap();
    let rows = table.records();
    rows.map(|row| row.unwrap().iter().map(ToOwned::to_owned).collect())
        .collect()
}

fn audit(place: &Place, dir: &str) -> (Option<i32>, Value) {
    let output = place.run(&["audit", dir, "--log-key", place.key("vkey"), "--json"]);
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
    )
}

#[test]
fn a_period_is_audited_and_read_without_the_node() {
    let place = shop();
    let whole = place.json(&["export", "whole", "--node", "shop", "--json"]);
    let size = whole["size"].as_u64().unwrap();
    assert_eq!((&whole["from"], &whole["to"]), (&json!(0), &json!(size)));
    assert_eq!(
        (&whole["receipts"], &whole["redemptions"], &whole["reversals"]),
        (&json!(300), &json!(30), &json!(1))
    );
    // A period in the middle that begins and ends inside bundles.
    place.json(&[
        "export", "part", "--node", "shop", "--from", "270", "--to", "330", "--json",
    ]);
    // By time: everything, for it was all made just now.
    let timed = place.json(&[
        "export",
        "timed",
        "--node",
        "shop",
        "--from",
        "2026-01-01T00:00:00Z",
        "--json",
    ]);
    assert_eq!(timed["from"], 0);
    place.refused(
        &[
            "export",
            "later",
            "--node",
            "shop",
            "--from",
            "2126-01-01T00:00:00Z",
        ],
        2,
        &["no entries in that period"],
    );
    place.refused(&["export", "part", "--node", "shop"], 2, &["not empty"]);
    let shown = place.done(&["export", "shown", "--node", "shop", "--from", "3", "--to", "5"]);
    assert!(shown.starts_with("exported entries 3 to 4 of "), "{shown}");

    let dir = place.dir.path();
    // The node is gone: what is there is enough.
    fs::rename(place.shop(), dir.join("elsewhere")).unwrap();
    let (code, report) = audit(&place, "whole");
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("clean")), "{report}");
    assert_eq!(report["entries"]["receipt"], 300);
    assert_eq!(report["coupons_redeemed"], 30);
    let (code, report) = audit(&place, "part");
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("clean")), "{report}");
    assert_eq!((&report["from"], &report["to"]), (&json!(270), &json!(330)));
    let beyond = ["audit", "part", "--log-key", place.key("vkey"), "--to", "331"];
    place.refused(&beyond, 2, &["holds the entries 270 to 329 alone"]);

    let mode = fs::metadata(dir.join("whole")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it shows a shop's trade");

    // For a person: each receipt once, and sums that are the audit's.
    let receipts = rows(&dir.join("whole"), "receipts.csv");
    assert_eq!(receipts.len(), 300);
    assert!(
        receipts
            .iter()
            .all(|row| row[5..9] == ["sale", "EUR", "1.44", "live"])
    );
    assert!(
        receipts
            .iter()
            .flatten()
            .all(|cell| !cell.starts_with(['=', '+', '-', '@'])),
        "one identity in 64 begins with a minus"
    );
    let registers: BTreeSet<&str> = receipts.iter().map(|row| row[3].as_str()).collect();
    assert_eq!(
        registers,
        BTreeSet::from(["'=till-2", "till-1"]),
        "no cell is a formula"
    );
    let redemptions = rows(&dir.join("whole"), "redemptions.csv");
    let kinds: Vec<&str> = redemptions.iter().map(|row| row[3].as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "redemption").count(), 30);
    let last = redemptions.last().unwrap();
    assert_eq!(
        (last[3].as_str(), last[9].as_str(), last[10].as_str()),
        ("reversal", "EUR", "-2.00")
    );
    assert!(redemptions.iter().all(|row| row[7].starts_with("Spring")));
    // The campaign of the period's redemptions is there, though it was signed before.
    assert_eq!(rows(&dir.join("part"), "campaigns.csv").len(), 1);
    let readme = fs::read_to_string(dir.join("whole/README.txt")).unwrap();
    assert!(
        readme.contains("300 receipts") && readme.contains("288.00 EUR"),
        "{readme}"
    );

    // Nothing of a person, and proofs and credentials that others can check.
    for file in ["receipts.csv", "credentials/receipts.ndjson", "tile/stubs/000"] {
        let bytes = fs::read(dir.join("whole").join(file)).unwrap();
        assert!(!bytes.windows(11).any(|part| part == b"member-0815"), "{file}");
    }
    let key = VerifierKey::parse(place.key("vkey")).unwrap();
    let entry = last[0].parse::<usize>().unwrap();
    let proof = fs::read_to_string(dir.join(format!("whole/proofs/{entry}.tlog-proof"))).unwrap();
    let bundles = [fs::read(dir.join("whole/tile/entries/000")).unwrap(), {
        let rest = format!("whole/tile/entries/001.p/{}", size - 256);
        fs::read(dir.join(rest)).unwrap()
    }];
    let mut entries = Vec::new();
    for bundle in &bundles {
        let mut rest = bundle.as_slice();
        while let [a, b, more @ ..] = rest {
            let (entry, after) = more.split_at(usize::from(u16::from_be_bytes([*a, *b])));
            entries.push(entry);
            rest = after;
        }
    }
    let proof = TlogProof::parse(&proof).unwrap();
    assert_eq!(
        proof.verify(&entry_hash(entries[entry]), &key).unwrap().size,
        size
    );
}

#[test]
fn an_export_that_was_changed_is_found_out() {
    let place = shop();
    place.json(&[
        "export", "part", "--node", "shop", "--from", "10", "--to", "200", "--json",
    ]);
    let bundle = place.dir.path().join("part/tile/entries/000");
    let whole = fs::read(&bundle).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&bundle, &changed).unwrap();
    let (code, report) = audit(&place, "part");
    assert_eq!(code, Some(20), "{report}");
    assert_eq!(report["findings_by_rule"]["entry_changed"], 1, "{report}");
    fs::write(&bundle, &whole).unwrap();

    let stubs = place.dir.path().join("part/tile/stubs/000");
    let mut other = fs::read(&stubs).unwrap();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    fs::write(&stubs, &other).unwrap();
    let (code, report) = audit(&place, "part");
    assert_eq!(code, Some(20), "{report}");
    assert!(report["findings_total"].as_u64().unwrap() >= 1, "{report}");
}

#[test]
fn without_a_key_there_is_no_export() {
    let place = Place::new();
    let served = place.serve();
    let out = place.dir.path().join("out");
    let export = ["export", "out", "--node", served.url()];
    place.refused(&export, 1, &["may not be read"]);
    assert!(!out.exists(), "so that it can be tried again with a key");
    let other = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let other = [
        &export[..],
        &["--key", place.key("office_key"), "--log-key", other],
    ]
    .concat();
    place.refused(&other, 1, &["is not this log's"]);
    place.done(&[&export[..], &["--key", place.key("office_key")]].concat());
    assert!(out.join("checkpoint").is_file());
    assert_eq!(served.signal("-TERM").0, Some(0));
}

#[test]
fn an_export_that_was_cut_off_is_told_as_such() {
    let place = shop();
    let dir = place.dir.path();
    let export = ["export", "part", "--node", "shop", "--from", "10", "--to", "20"];
    place.done(&export);
    let last = |name: &str| {
        fs::metadata(dir.join("part").join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    for name in [
        "receipts.csv",
        "redemptions.csv",
        "README.txt",
        "export.json",
        "log.vkey",
    ] {
        assert!(last(name) <= last("checkpoint"), "{name}");
    }
    fs::remove_file(dir.join("part/checkpoint")).unwrap();
    place.refused(
        &["audit", "part", "--log-key", place.key("vkey")],
        1,
        &["no checkpoint", "cut off"],
    );
}
