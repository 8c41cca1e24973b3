//! `tallystick erase`: what a shop promises a member, down to the bytes on its disk.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::cli::{Place, copy, sale};

/// Words that stand in the details of one receipt and nowhere else.
const WORDS: [&str; 4] = ["member-0815", "till/ref/0815", "Quittenbrot", "cashier-0815"];

fn holds(dir: &Path, word: &str) -> bool {
    fs::read_dir(dir).unwrap().any(|file| {
        let path = file.unwrap().path();
        if path.is_dir() {
            return holds(&path, word);
        }
        let bytes = fs::read(&path).unwrap();
        bytes.windows(word.len()).any(|part| part == word.as_bytes())
    })
}

/// Posts a sale; its id.
fn sell(place: &Place, reference: &str, member: &str) -> String {
    let mut body = sale();
    body["till_reference"] = json!(reference);
    body["member"] = json!(member);
    body["cashier"] = json!("cashier-0815");
    body["lines"][0]["description"] = json!("Quittenbrot");
    fs::write(place.dir.path().join("sale.json"), body.to_string()).unwrap();
    let sold = place.json(&["receipt", "--node", "shop", "sale.json", "--json"]);
    sold["id"].as_str().unwrap().to_owned()
}

#[test]
fn erased_bytes_are_gone_from_the_disk_after_a_compaction() {
    let place = Place::new();
    sell(&place, WORDS[1], WORDS[0]);
    assert!(
        WORDS.iter().all(|word| holds(&place.shop(), word)),
        "this test looks in the right place"
    );
    let erased = place.json(&[
        "erase",
        "--node",
        "shop",
        "--member",
        WORDS[0],
        "--reason",
        "moved away",
        "--json",
    ]);
    assert_eq!(erased["erased"], 1);
    place.refused(
        &[
            "erase",
            "--node",
            "shop",
            "--member",
            WORDS[0],
            "--reason",
            "moved away",
        ],
        1,
        &["no receipt", "names this member"],
    );
    place.done(&["compact", "shop"]);
    fs::remove_file(place.dir.path().join("sale.json")).unwrap();
    for word in WORDS {
        assert!(!holds(place.dir.path(), word), "{word}");
    }
    let audit = place.done(&["audit", "shop"]);
    assert!(audit.contains("1 receipt erased on 2"), "{audit}");
    assert!(audit.contains("because: moved away"), "{audit}");
    assert!(audit.contains("Clean: every rule holds"), "{audit}");
}

#[test]
fn a_backup_from_before_an_erasure_is_erased_by_the_recovery() {
    let place = Place::new();
    sell(&place, WORDS[1], WORDS[0]);
    let kept = sell(&place, "another", "4711");
    copy(&place.shop().join("store"), &place.dir.path().join("backup"));
    let id = place.json(&[
        "erase",
        "--node",
        "shop",
        "--member",
        WORDS[0],
        "--reason",
        "moved away",
        "--json",
    ]);
    assert_eq!(id["erased"], 1);
    let served = place.serve();
    let key = place.key("office_key");
    place.done(&["mirror", served.url(), "mirror", "--key", key, "--once"]);
    assert_eq!(served.signal("-TERM").0, Some(0));

    fs::remove_dir_all(place.shop().join("store")).unwrap();
    copy(&place.dir.path().join("backup"), &place.shop().join("store"));
    place.done(&["recover", "shop", "--from", "mirror"]);
    fs::remove_dir_all(place.dir.path().join("backup")).unwrap();
    fs::remove_file(place.dir.path().join("sale.json")).unwrap();
    place.done(&["compact", "shop"]);
    assert!(!holds(place.dir.path(), WORDS[0]) && !holds(place.dir.path(), WORDS[1]));
    assert!(
        holds(&place.shop(), "4711"),
        "the other receipt is still there: {kept}"
    );
    let audit = place.done(&["audit", "shop"]);
    assert!(audit.contains("Clean: every rule holds"), "{audit}");
}

/// The repeat of a till's call says that it is erased, and how the page of an audit
/// tells of it.
#[test]
fn a_till_and_an_auditor_read_when_and_why() {
    let place = Place::new();
    let id = sell(&place, "a/1", "4711");
    place.done(&["erase", "--node", "shop", &id, "--reason", "<b>moved</b>"]);
    let again = place
        .command(&["receipt", "--node", "shop", "sale.json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(said.contains("this receipt was erased on 2"), "{said}");
    assert!(said.contains("because: <b>moved</b>"), "{said}");
    place.done(&["audit", "shop", "--html", "audit.html"]);
    let page = fs::read_to_string(place.dir.path().join("audit.html")).unwrap();
    assert!(
        page.contains("<h2>Erased receipts</h2>") && page.contains("&lt;b&gt;moved&lt;/b&gt;"),
        "{page}"
    );
    let report = place.json(&["audit", "shop", "--json"]);
    assert_eq!(report["erasures"][0]["receipts"], 1);
    assert_eq!(report["erasures"][0]["reason"], "<b>moved</b>");
    place.refused(&["erase", "--node", "shop", &id], 2, &["--reason"]);
    place.refused(&["erase", "--node", "shop", "--reason", "x"], 2, &["--member"]);
}
