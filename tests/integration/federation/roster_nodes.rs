//! A federation of three nodes, run by five co-ops' votes: the real binary, from the
//! first key to a removal.

use serde_json::{Value, json};

use super::keeper::until;
use crate::cli::{Place, Served};

const SIGNERS: [&str; 5] = ["ada", "ben", "cem", "dia", "eli"];
const NODES: [&str; 3] = ["a", "b", "c"];

struct Valley {
    place: Place,
    office: Vec<String>,
    served: Vec<Option<Served>>,
}

impl Valley {
    /// Three nodes that serve and pin nothing yet; version 1, signed by three of five.
    fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let place = Place::new();
        let office = NODES.map(|node| {
            let url = format!("https://{node}.example");
            let made = place.json(&["init", node, "--base-url", &url, "--name", node, "--json"]);
            made["office_key"].as_str().unwrap().to_owned()
        });
        let mut args = vec!["create".to_owned(), "Valley".to_owned()];
        args.extend(["--out", "1.roster"].map(str::to_owned));
        for name in SIGNERS {
            let key = place.done(&["federation", "signer", &format!("{name}.pem")]);
            args.extend(["--signer".to_owned(), format!("{name}={}", key.trim())]);
        }
        let valley = Self {
            place,
            office: office.to_vec(),
            served: NODES.iter().map(|_| None).collect(),
        };
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        valley.run(&args);
        valley.sign("1.roster", &["ada", "ben", "cem"]);
        valley
    }

    fn run(&self, args: &[&str]) -> Value {
        self.place.json(&[&["federation"], args, &["--json"]].concat())
    }

    fn sign(&self, file: &str, by: &[&str]) {
        for name in by {
            self.run(&["sign", file, "--key", &format!("{name}.pem")]);
        }
    }

    /// The next version, signed by three, published everywhere.
    fn next(&self, version: u64, more: &[&str]) -> Value {
        let (from, out) = (format!("{}.roster", version - 1), format!("{version}.roster"));
        let proposed = self.run(&[&["propose", &from, "--out", &out], more].concat());
        self.sign(&out, &["ben", "cem", "dia"]);
        for n in 0..NODES.len() {
            self.publish(n, &[&out]);
        }
        proposed
    }

    fn publish(&self, n: usize, files: &[&str]) -> Value {
        let node = self.at(n);
        self.run(&[&["publish"], files, &["--node", &node, "--key", &self.office[n]]].concat())
    }

    fn refused(&self, n: usize, file: &str, parts: &[&str]) {
        let node = self.at(n);
        let args = [
            "federation",
            "publish",
            file,
            "--node",
            &node,
            "--key",
            &self.office[n],
        ];
        self.place.refused(&args, 1, parts);
    }

    fn at(&self, n: usize) -> String {
        self.served[n].as_ref().unwrap().url().to_owned()
    }

    /// Starts a node, or starts it again after a kill.
    fn start(&mut self, n: usize) {
        self.served[n] = None;
        self.served[n] = Some(self.place.serve_dir(NODES[n], "127.0.0.1:0"));
    }

    fn get(&self, n: usize, path: &str) -> (u16, Vec<u8>) {
        let answer = reqwest::blocking::get(self.at(n) + path).unwrap();
        (answer.status().as_u16(), answer.bytes().unwrap().to_vec())
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.place.dir.path().join(name)).unwrap()
    }

    /// All nodes follow this version, and still sell.
    #[track_caller]
    fn all_at(&self, version: u64) {
        for (n, office) in self.office.iter().enumerate() {
            assert_eq!(
                self.get(n, "/federation/roster"),
                (200, self.file(&format!("{version}.roster")))
            );
            let sale = json!({
                "register": "till-1", "till_reference": format!("at version {version}"), "type": "sale",
                "currency": "EUR", "prices_include_tax": true, "taxes": [], "total": 250,
                "lines": [{"description": "Bread", "quantity": "1", "total": 250}],
                "tenders": [{"kind": "cash", "amount": 250}],
            });
            let client = reqwest::blocking::Client::new();
            let request = client.post(self.at(n) + "/v1/receipts").bearer_auth(office);
            let sold = request
                .header("idempotency-key", format!("sale-{version}"))
                .json(&sale)
                .send();
            assert_eq!(sold.unwrap().status().as_u16(), 201);
        }
    }
}

#[test]
fn one_co_op_one_vote_over_its_whole_life() {
    let mut valley = Valley::new();
    // Before a node pins a federation it has none.
    valley.start(0);
    valley.refused(0, "1.roster", &["belongs to no federation", "federation pin"]);
    assert_eq!(valley.get(0, "/federation/roster").0, 404);
    valley.served[0] = None;
    for (n, node) in NODES.iter().enumerate() {
        let pinned = valley.run(&["pin", node, "1.roster"]);
        assert_eq!(pinned["federation"], valley.run(&["show", "1.roster"])["hash"]);
        valley.run(&["pin", node, "1.roster"]);
        valley.run(&[
            "member",
            node,
            "--roster",
            "1.roster",
            "--out",
            &format!("{node}.member"),
        ]);
        valley.start(n);
        assert_eq!(valley.get(n, "/federation/roster").0, 404);
        valley.publish(n, &["1.roster"]);
    }
    let members = [
        "--member", "a.member", "--member", "b.member", "--member", "c.member",
    ];
    valley.next(2, &members);
    valley.all_at(2);

    // Too few have signed version 3; nothing comes of it before the third has.
    let kid = |shown: &Value, role: &str| {
        let keys = shown["keys"].as_array().unwrap();
        let key = keys.iter().rfind(|key| key["role"] == role).unwrap();
        key["kid"].as_str().unwrap().to_owned()
    };
    let old = kid(&valley.run(&["show", "a.member"]), "messages");

    // A key is replaced without an outage: listed, used, the old one retired.
    let made = valley.run(&["new-key", "a"]);
    valley.run(&["member", "a", "--roster", "2.roster", "--out", "a-new.member"]);
    valley.run(&[
        "propose",
        "2.roster",
        "--out",
        "3.roster",
        "--member",
        "a-new.member",
    ]);
    valley.sign("3.roster", &["ada", "ben"]);
    valley.refused(
        1,
        "3.roster",
        &[
            "3.roster is not followed",
            "2 of the 3 signatures",
            "roster_incomplete",
        ],
    );
    valley.all_at(2);
    valley.sign("3.roster", &["cem"]);
    for n in 0..NODES.len() {
        valley.publish(n, &["3.roster"]);
    }
    valley.all_at(3);
    assert_eq!(valley.run(&["new-key", "a", "--use"])["kid"], made["kid"]);
    valley.start(0);
    let retired = valley.next(4, &["--retire", &format!("{old}=+30d")]);
    assert!(retired["changes"][0].as_str().unwrap().contains(&old));
    valley.all_at(4);

    // A signer's key is replaced; the old signers let the new one in.
    let fay = valley.place.done(&["federation", "signer", "fay.pem"]);
    let fay = format!("fay={}", fay.trim());
    valley.next(
        5,
        &["--add-signer", &fay, "--drop-signer", "ada", "--threshold", "3"],
    );
    valley.all_at(5);
    // Not ada's any more: version 6 needs three of the five as they are now.
    valley.run(&["propose", "5.roster", "--out", "by-ada.roster", "--name", "Hills"]);
    valley.place.refused(
        &["federation", "sign", "by-ada.roster", "--key", "ada.pem"],
        1,
        &["the key of no signer"],
    );
    valley.sign("by-ada.roster", &["fay", "eli"]);
    valley.refused(2, "by-ada.roster", &["2 of the 3 signatures"]);

    // A member leaves, and does not come back under its name.
    let removed = valley.next(6, &["--remove", "did:web:c.example=7"]);
    assert!(removed["changes"][0].as_str().unwrap().contains("is removed"));
    valley.all_at(6);
    valley.run(&["member", "c", "--roster", "6.roster", "--out", "c-again.member"]);
    valley.place.refused(
        &[
            "federation",
            "propose",
            "6.roster",
            "--out",
            "7.roster",
            "--member",
            "c-again.member",
        ],
        1,
        &["was removed, and that is final"],
    );
    let shown = valley.run(&["show", "6.roster"]);
    let members = shown["members"].as_array().unwrap();
    assert_eq!(
        members
            .iter()
            .filter(|member| member["status"] == "active")
            .count(),
        2
    );

    // Killed and started again, each node follows what it followed, and shows all versions.
    for n in 0..NODES.len() {
        valley.start(n);
        for version in 1..=6 {
            let served = valley.get(n, &format!("/federation/roster/{version}"));
            assert_eq!(served, (200, valley.file(&format!("{version}.roster"))));
        }
        for path in [
            "/federation/roster/7",
            "/federation/roster/0",
            "/federation/roster/01",
            "/federation/conflict",
        ] {
            assert_eq!(valley.get(n, path).0, 404, "{path}");
        }
    }
    valley.all_at(6);
    // All of them may be published once more: nothing changes.
    let again = valley.publish(0, &["1.roster", "2.roster", "6.roster"]);
    assert_eq!(again["followed"][2]["version"], 6);

    // Who is named as a mirror is asked before the node serves again.
    valley.next(7, &["--mirrors", "did:web:a.example=did:web:b.example"]);
    valley.start(0);
    until("the node's answer", || valley.get(0, "/healthz").0 == 200);
    let (code, said) = valley.served[0].take().unwrap().signal("-TERM");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("https://b.example/mirror/a.example/") && said.contains("not compared"),
        "{said}"
    );
}

#[test]
fn two_versions_of_one_number_are_kept_and_decided_by_the_operator() {
    let mut valley = Valley::new();
    valley.run(&["pin", "a", "1.roster"]);
    valley.run(&["member", "a", "--roster", "1.roster", "--out", "a.member"]);
    valley.start(0);
    for (out, name) in [("2.roster", "Hills"), ("other.roster", "Dales")] {
        valley.run(&[
            "propose", "1.roster", "--out", out, "--member", "a.member", "--name", name,
        ]);
        valley.sign(out, &["ben", "cem", "dia"]);
    }
    valley.publish(0, &["1.roster", "2.roster"]);
    let metric = |valley: &Valley, name: &str| {
        let text = String::from_utf8(valley.get(0, "/metrics").1).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("tallystick_roster_{name} ")));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!((metric(&valley, "version"), metric(&valley, "conflict")), (2, 0));
    for _ in 0..2 {
        valley.refused(
            0,
            "other.roster",
            &["two versions 2 of the roster were signed", "federation_decided"],
        );
    }
    assert_eq!((metric(&valley, "version"), metric(&valley, "conflict")), (2, 1));
    let (status, both) = valley.get(0, "/federation/conflict");
    assert_eq!(status, 200);
    for file in ["2.roster", "other.roster"] {
        let one = valley.file(file);
        assert!(both.windows(one.len()).any(|window| window == one), "{file}");
    }
    assert_eq!(
        valley.get(0, "/federation/roster"),
        (200, valley.file("2.roster"))
    );
    // Over a restart, and until it is decided, for the other one.
    valley.start(0);
    assert_eq!(metric(&valley, "conflict"), 1);
    valley.run(&[
        "propose",
        "other.roster",
        "--out",
        "3.roster",
        "--expires",
        "+700d",
    ]);
    valley.sign("3.roster", &["ben", "cem", "dia"]);
    valley.refused(0, "3.roster", &["roster"]);
    let hash = valley.run(&["show", "other.roster"])["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    valley.served[0] = None;
    let config = valley.place.dir.path().join("a/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("federation_decided = [\"{hash}\"]\n{text}")).unwrap();
    valley.start(0);
    assert_eq!(metric(&valley, "conflict"), 0);
    assert_eq!(
        valley.get(0, "/federation/roster"),
        (200, valley.file("other.roster"))
    );
    valley.publish(0, &["3.roster"]);
    assert_eq!(
        valley.get(0, "/federation/roster/2"),
        (200, valley.file("other.roster"))
    );
    assert_eq!(metric(&valley, "version"), 3);
}

#[test]
fn what_is_no_roster_is_refused_over_http() {
    let mut valley = Valley::new();
    valley.run(&["pin", "a", "1.roster"]);
    let elsewhere = valley.place.done(&["federation", "signer", "zoe.pem"]);
    let zoe = format!("zoe={}", elsewhere.trim());
    valley.run(&["create", "Elsewhere", "--out", "z.roster", "--signer", &zoe]);
    valley.place.refused(
        &["federation", "pin", "a", "z.roster"],
        1,
        &["does not count yet"],
    );
    valley.sign("z.roster", &["zoe"]);
    valley.place.refused(
        &["federation", "pin", "a", "z.roster"],
        1,
        &["pins", "one federation for good"],
    );
    valley.start(0);
    valley.refused(0, "z.roster", &["another federation", "roster_refused"]);
    let client = reqwest::blocking::Client::new();
    let url = valley.at(0) + "/v1/federation/rosters";
    let post = |key: Option<&str>, idempotency: &str, media: &str, body: Vec<u8>| {
        let mut request = client.post(&url).header("content-type", media).body(body);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if !idempotency.is_empty() {
            request = request.header("idempotency-key", idempotency);
        }
        let answer = request.send().unwrap();
        let status = answer.status().as_u16();
        let said: Value = answer.json().unwrap();
        (status, said["code"].as_str().unwrap_or_default().to_owned(), said)
    };
    let office = valley.office[0].clone();
    let key = Some(office.as_str());
    let cbor = "application/cbor";
    let first = valley.file("1.roster");
    for (who, idempotency, media, body, status, code) in [
        (None, "x", cbor, first.clone(), 401, "access_key_missing"),
        (key, "", cbor, first.clone(), 400, "idempotency_key_required"),
        (
            key,
            "x",
            "application/json",
            first.clone(),
            415,
            "content_type_unsupported",
        ),
        (key, "x", cbor, b"no roster".to_vec(), 400, "body_invalid"),
        (key, "x", cbor, Vec::new(), 400, "body_invalid"),
        (key, "x", cbor, vec![0x82; 1024 * 1024 + 1], 413, "body_too_large"),
    ] {
        let (found, said, _) = post(who, idempotency, media, body);
        assert_eq!((found, said.as_str()), (status, code));
    }
    // A repeat gets the same answer; its key with another body is refused.
    let (status, _, answer) = post(key, "mine", cbor, first.clone());
    assert_eq!((status, &answer["version"]), (200, &json!(1)));
    assert_eq!(post(key, "mine", cbor, first).2, answer);
    valley.run(&["propose", "1.roster", "--out", "2.roster", "--name", "Hills"]);
    valley.sign("2.roster", &["ben", "cem", "dia"]);
    let (status, code, _) = post(key, "mine", cbor, valley.file("2.roster"));
    assert_eq!((status, code.as_str()), (422, "idempotency_key_reused"));
    assert_eq!(post(key, "yours", cbor, valley.file("2.roster")).0, 200);
    // More signatures of the newest are taken.
    let before = valley.get(0, "/federation/roster").1.len();
    valley.sign("2.roster", &["eli"]);
    valley.publish(0, &["2.roster"]);
    let after = valley.get(0, "/federation/roster").1;
    assert!(after.len() > before && after == valley.file("2.roster"));
}
