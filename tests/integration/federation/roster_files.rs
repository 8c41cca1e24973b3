//! Rosters as people draw them up, sign them and look at them: the real binary, and
//! no node that runs.

use serde_json::Value;

use crate::cli::Place;

/// A directory in which some people meet.
struct Table {
    place: Place,
}

impl Table {
    fn new() -> Self {
        Self { place: Place::new() }
    }

    /// A signer's key `NAME.pem`, as an argument: `NAME=did:key:…`.
    fn signer(&self, name: &str) -> String {
        let key = self.place.done(&["federation", "signer", &format!("{name}.pem")]);
        format!("{name}={}", key.trim())
    }

    fn run(&self, args: &[&str]) -> Value {
        self.place.json(&[&["federation"], args, &["--json"]].concat())
    }

    /// Has these sign, one after the other.
    fn sign(&self, file: &str, by: &[&str]) -> Value {
        let mut shown = Value::Null;
        for name in by {
            shown = self.run(&["sign", file, "--key", &format!("{name}.pem")]);
        }
        shown
    }

    /// Version 1 of five co-ops with a vote each.
    fn five(&self) -> Value {
        let signers = ["ada", "ben", "cem", "dia", "eli"].map(|name| self.signer(name));
        let mut args = vec!["create", "Valley Co-ops", "--out", "1.roster"];
        args.extend(signers.iter().flat_map(|signer| ["--signer", signer]));
        self.run(&args)
    }
}

#[test]
fn who_has_signed_what_is_plain_to_see() {
    let table = Table::new();
    let made = table.five();
    assert_eq!((&made["version"], &made["threshold"]), (&1.into(), &3.into()));
    assert_eq!(made["complete"], false);
    // Two sign one copy, another one a second copy; merged they are enough.
    std::fs::create_dir(table.place.dir.path().join("other")).unwrap();
    let dir = table.place.dir.path();
    std::fs::copy(dir.join("1.roster"), dir.join("other/1.roster")).unwrap();
    table.sign("1.roster", &["ada", "ben"]);
    table.sign("other/1.roster", &["eli"]);
    let shown = table.run(&["show", "1.roster"]);
    assert_eq!(shown["signatures"][0]["lacking"], 1);
    let merged = table.run(&["merge", "1.roster", "other/1.roster"]);
    assert_eq!(merged["complete"], true);
    let mut missing: Vec<_> = merged["signatures"][0]["missing"].as_array().unwrap().clone();
    missing.sort_by_key(Value::to_string);
    assert_eq!(missing, ["cem", "dia"]);

    // The next version takes one signer out and two in.
    let (fay, gus) = (table.signer("fay"), table.signer("gus"));
    let description = ["member", "shop", "--roster", "1.roster", "--out", "shop.member"];
    let described = table.run(&description);
    assert_eq!(described["did"], "did:web:127.0.0.1%3A8080");
    assert_eq!(table.run(&["show", "shop.member"]), described);
    let mut propose = vec![
        "propose",
        "1.roster",
        "--out",
        "2.roster",
        "--member",
        "shop.member",
    ];
    propose.extend(["--add-signer", &fay, "--add-signer", &gus, "--drop-signer", "eli"]);
    propose.extend(["--threshold", "4"]);
    let proposed = table.run(&propose);
    assert_eq!(proposed["previous"], made["hash"]);
    let changes: Vec<_> = proposed["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    for part in [
        "Of 6 signers 4 have to sign; before, 3 of 5.",
        "becomes a signer",
        "is no signer any more",
        "joins, with the key",
    ] {
        assert!(
            changes.iter().any(|change| change.contains(part)),
            "{part}: {changes:?}"
        );
    }
    // Enough of the new ones, not of the old ones; then of both.
    let shown = table.sign("2.roster", &["fay", "gus", "ada", "ben"]);
    let lacking = |shown: &Value, of: usize| shown["signatures"][of]["lacking"].clone();
    assert_eq!((lacking(&shown, 0), lacking(&shown, 1)), (1.into(), 0.into()));
    assert_eq!(shown["complete"], false);
    assert_eq!(table.sign("2.roster", &["eli"])["complete"], true);
    let text = table.place.done(&["federation", "show", "2.roster"]);
    for part in [
        "Valley Co-ops, version 2",
        "What it changes",
        "of the signers of version 1: 3 of 5, 3 needed: enough",
        "of the signers of version 2: 4 of 6, 4 needed: enough",
        "it has every signature that it needs",
        "credentials",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    // Without the version before it beside it, less is known.
    std::fs::copy(dir.join("2.roster"), dir.join("other/2.roster")).unwrap();
    std::fs::remove_file(dir.join("other/1.roster")).unwrap();
    let shown = table.run(&["show", "other/2.roster"]);
    assert_eq!(
        (&shown["changes"], &shown["complete"]),
        (&Value::Null, &Value::Null)
    );
    let shown = table.run(&["show", "other/2.roster", "--after", "1.roster"]);
    assert_eq!(shown["complete"], true);
}

#[test]
fn what_cannot_be_is_refused_in_words_that_help() {
    let table = Table::new();
    table.five();
    let place = &table.place;
    let refused = |args: &[&str], parts: &[&str]| place.refused(&[&["federation"], args].concat(), 1, parts);
    table.signer("stranger");
    refused(
        &["sign", "1.roster", "--key", "stranger.pem"],
        &["the key of no signer of version 1"],
    );
    refused(
        &["sign", "1.roster", "--key", "missing.pem"],
        &["missing.pem", "missing"],
    );
    refused(&["show", "ada.pem"], &["ada.pem cannot be used", "no roster"]);
    refused(&["show", "nothing.roster"], &["cannot read nothing.roster"]);
    let ada = format!(
        "ada={}",
        table.place.done(&["federation", "signer", "ada.pem"]).trim()
    );
    refused(
        &["create", "X", "--out", "1.roster", "--signer", &ada],
        &["nothing is overwritten"],
    );
    refused(
        &[
            "create", "X", "--out", "x.roster", "--signer", &ada, "--signer", &ada,
        ],
        &["each stands there once"],
    );
    refused(
        &[
            "create",
            "X",
            "--out",
            "x.roster",
            "--signer",
            &ada,
            "--threshold",
            "2",
        ],
        &["the threshold is 2", "more than half"],
    );
    refused(
        &[
            "create",
            "X",
            "--out",
            "x.roster",
            "--signer",
            &ada,
            "--expires",
            "+2000d",
        ],
        &["five years"],
    );
    place.refused(
        &[
            "federation",
            "create",
            "X",
            "--out",
            "x.roster",
            "--signer",
            "ada",
        ],
        2,
        &["NAME=did:key:z6Mk"],
    );
    // Another federation's description, and one that was changed on the way.
    table.run(&["create", "Others", "--out", "others.roster", "--signer", &ada]);
    table.run(&[
        "member",
        "shop",
        "--roster",
        "others.roster",
        "--out",
        "others.member",
    ]);
    let propose = |member: &'static str| ["propose", "1.roster", "--out", "2.roster", "--member", member];
    refused(&propose("others.member"), &["for another federation"]);
    let path = place.dir.path().join("others.member");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[30] ^= 1;
    std::fs::write(place.dir.path().join("changed.member"), bytes).unwrap();
    refused(
        &propose("changed.member"),
        &["changed.member cannot be used", "no proof"],
    );
    let none = |more: &[&'static str]| [&["propose", "1.roster", "--out", "2.roster"], more].concat();
    refused(
        &none(&["--remove", "did:web:x.example=4"]),
        &["did:web:x.example is no member"],
    );
    refused(
        &none(&["--retire", "0011223344556677=+1d"]),
        &["no member has a key 0011223344556677"],
    );
    refused(&none(&["--drop-signer", "zoe"]), &["there is no signer \"zoe\""]);
    refused(
        &none(&["--drop-signer", "ada", "--threshold", "5"]),
        &["of 4 signers"],
    );
    refused(
        &["merge", "1.roster", "others.roster"],
        &["are different versions"],
    );
    assert!(!place.dir.path().join("2.roster").exists());
    // Signers' keys can be encrypted.
    std::fs::write(place.dir.path().join("secret"), "correct horse\n").unwrap();
    let shut = ["signer", "zoe.pem", "--passphrase-file", "secret"];
    let zoe = format!(
        "zoe={}",
        place.done(&[&["federation"], &shut[..]].concat()).trim()
    );
    table.run(&["create", "Zoe", "--out", "z.roster", "--signer", &zoe]);
    refused(
        &["sign", "z.roster", "--key", "zoe.pem"],
        &["the key is encrypted"],
    );
    let open = [
        "sign",
        "z.roster",
        "--key",
        "zoe.pem",
        "--passphrase-file",
        "secret",
    ];
    assert_eq!(table.run(&open)["complete"], true);
}
