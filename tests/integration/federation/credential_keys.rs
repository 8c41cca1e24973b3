//! Real processes: a co-op changes its key for credentials while its partner goes on
//! redeeming its coupons. Nothing that the old key signed is lost.

use std::fs;

use serde_json::{Value, json};

use super::keeper::until;
use crate::cli::{Place, Served, sale};

const NAMES: [&str; 2] = ["a", "b"];

/// Two co-ops' nodes in one federation.
struct Two {
    place: Place,
    made: [Value; 2],
    authorities: [String; 2],
    served: [Option<Served>; 2],
}

impl Two {
    fn new() -> Self {
        let (place, made, authorities) = Place::with_two(NAMES);
        let mut two = Self {
            place,
            made,
            authorities,
            served: [None, None],
        };
        let board = two.run(&["signer", "board.pem"]);
        let board = format!("board={}", board["key"].as_str().unwrap());
        two.run(&["create", "Valley", "--signer", &board, "--out", "1.roster"]);
        two.run(&["sign", "1.roster", "--key", "board.pem"]);
        for (n, name) in NAMES.iter().enumerate() {
            let config = two.place.dir.path().join(name).join("config.toml");
            let text = fs::read_to_string(&config).unwrap();
            fs::write(config, format!("gossip_seconds = 1\n{text}")).unwrap();
            two.run(&["pin", name, "1.roster"]);
            two.describe(name, "1.roster");
            two.start(n);
            two.publish(n, "1.roster");
        }
        two.next(2, &["--member", "a.member", "--member", "b.member"]);
        two
    }

    fn run(&self, args: &[&str]) -> Value {
        self.place.json(&[&["federation"], args, &["--json"]].concat())
    }

    fn describe(&self, name: &str, roster: &str) {
        let out = format!("{name}.member");
        let _ = fs::remove_file(self.place.dir.path().join(&out));
        self.run(&["member", name, "--roster", roster, "--out", &out]);
    }

    fn publish(&self, n: usize, file: &str) {
        let key = text(&self.made[n], "office_key");
        self.run(&["publish", file, "--node", self.url(n), "--key", key]);
    }

    fn next(&self, version: u64, more: &[&str]) {
        let (from, out) = (format!("{}.roster", version - 1), format!("{version}.roster"));
        self.run(&[&["propose", &from, "--out", &out], more].concat());
        self.run(&["sign", &out, "--key", "board.pem"]);
        for n in 0..2 {
            self.publish(n, &out);
        }
    }

    fn url(&self, n: usize) -> &str {
        self.served[n].as_ref().unwrap().url()
    }

    /// Starts a node, after it has ended if it runs.
    fn start(&mut self, n: usize) {
        if let Some(served) = self.served[n].take() {
            let (code, said) = served.signal("-TERM");
            assert_eq!(code, Some(0), "{said}");
        }
        self.served[n] = Some(self.place.serve_dir(NAMES[n], &self.authorities[n]));
        until("it serves", || {
            let ready = reqwest::blocking::get(format!("{}/readyz", self.url(n)));
            ready.is_ok_and(|answer| answer.status().is_success())
        });
    }

    fn post(&self, n: usize, role: &str, path: &str, key: &str, accept: &str, body: &Value) -> (u16, String) {
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let request = client
            .post(format!("{}{path}", self.url(n)))
            .bearer_auth(text(&self.made[n], role));
        let request = request.header("Idempotency-Key", key).header("Accept", accept);
        let answer = request.json(body).send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    }

    /// Coupons of the first, as a stream has them: a line each.
    fn issue(&self, key: &str, campaign: &str, count: u32) -> String {
        let order = json!({"campaign": campaign, "count": count});
        let accept = "application/x-ndjson";
        let (status, lines) = self.post(0, "office_key", "/v1/coupons", key, accept, &order);
        assert_eq!(status, 201, "{lines}");
        assert_eq!(lines.lines().count(), usize::try_from(count).unwrap());
        lines
    }

    /// What becomes of a coupon of the first at a node: the status, and a refusal's code.
    fn redeem(&self, n: usize, coupon: &Value, reference: &str) -> (u16, String) {
        let body = json!({
            "coupon": coupon["qr"], "register": "till-1", "till_reference": reference,
            "basket": {"total": 1_850, "currency": "EUR"},
        });
        let json = "application/json";
        let (status, answer) = self.post(n, "till_key", "/v1/redemptions", reference, json, &body);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn redeemed(&self, n: usize, coupon: &Value, reference: &str) {
        assert_eq!(self.redeem(n, coupon, reference), (201, String::new()));
    }

    /// A receipt of the first: its QR text, and its entry.
    fn sell(&self, reference: &str) -> (String, u64) {
        let mut body = sale();
        body["till_reference"] = json!(reference);
        let json = "application/json";
        let (status, answer) = self.post(0, "till_key", "/v1/receipts", reference, json, &body);
        assert_eq!(status, 201, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        (
            text(&answer, "qr").to_owned(),
            answer["entry"]["index"].as_u64().unwrap(),
        )
    }

    /// Keeps the first's did.json, and says how many keys are in it.
    fn keep_did(&self, name: &str) -> usize {
        let url = format!("{}/.well-known/did.json", self.url(0));
        let json = reqwest::blocking::get(url).unwrap().text().unwrap();
        fs::write(self.place.dir.path().join(name), &json).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json["verificationMethod"].as_array().unwrap().len(),
            json["assertionMethod"].as_array().unwrap().len()
        );
        json["verificationMethod"].as_array().unwrap().len()
    }

    fn code(&self, args: &[&str]) -> Option<i32> {
        self.place.run(args).status.code()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn coupons(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_key_for_credentials_is_replaced_without_an_outage() {
    let mut two = Two::new();
    let campaign = two
        .place
        .campaign(&["--node", two.url(0), "--key", text(&two.made[0], "office_key")]);
    let issued = two.issue("old", &campaign, 300);
    let old = coupons(&issued);
    let (old_receipt, _) = two.sell("before");
    two.redeemed(0, &old[0], "home/0");
    two.redeemed(1, &old[1], "away/0");
    assert_eq!(two.keep_did("one.json"), 1);
    let (old_kid, guessed) = (
        text(&two.made[0], "kid").to_owned(),
        two.place.dir.path().join("a/keys"),
    );

    // Made, listed in did.json and in the roster: the old one goes on signing.
    let made = two.run(&["new-key", "a", "--role", "credentials"]);
    assert_eq!(
        (text(&made, "role"), &made["in_use"]),
        ("credentials", &json!(false))
    );
    let again = two
        .place
        .run(&["federation", "new-key", "a", "--role", "credentials"]);
    assert_eq!(again.status.code(), Some(1), "one at a time");
    two.start(0);
    assert_eq!(two.keep_did("two.json"), 2);
    two.describe("a", "2.roster");
    two.next(3, &["--member", "a.member"]);
    two.redeemed(1, &old[2], "away/1");

    // Used.
    let used = two.run(&["new-key", "a", "--role", "credentials", "--use"]);
    assert_eq!((&used["kid"], &used["in_use"]), (&made["kid"], &json!(true)));
    assert!(guessed.join(format!("credential-{old_kid}.pem")).exists());
    two.start(0);
    assert_eq!(two.keep_did("after.json"), 2);
    two.next(4, &["--retire", &format!("{old_kid}=+30d")]);

    // A repeat of the old batch is the same bytes; new coupons are under the new key.
    assert_eq!(two.issue("old", &campaign, 300), issued);
    let new = coupons(&two.issue("new", &campaign, 3));
    let other = two
        .place
        .campaign(&["--node", two.url(0), "--key", text(&two.made[0], "office_key")]);
    let newest = coupons(&two.issue("newest", &other, 2));
    for (n, at) in [(0, "home"), (1, "away")] {
        two.redeemed(n, &old[3 + n], &format!("{at}/old"));
        two.redeemed(n, &new[n], &format!("{at}/new"));
        two.redeemed(n, &newest[n], &format!("{at}/newest"));
    }

    // A revocation of an old coupon is in a list of the new key, which the partner takes.
    let office = text(&two.made[0], "office_key").to_owned();
    let revoke = [
        "revoke",
        text(&old[9], "qr"),
        "--node",
        two.url(0),
        "--key",
        &office,
    ];
    two.place.done(&revoke);
    assert_eq!(
        two.redeem(0, &old[9], "home/9"),
        (422, "coupon_revoked".to_owned())
    );
    let mut tried = 0;
    until("the partner knows", || {
        tried += 1;
        let (status, code) = two.redeem(1, &old[9], &format!("away/9/{tried}"));
        assert_eq!(status, 422, "the issuer refuses anyhow");
        code == "coupon_revoked"
    });

    // Offline: the newer did.json knows both, the one of before the old one alone.
    let (new_receipt, from) = two.sell("after");
    for (receipt, did, code) in [
        (&old_receipt, "one.json", 0),
        (&old_receipt, "after.json", 0),
        (&new_receipt, "two.json", 0),
        (&new_receipt, "after.json", 0),
    ] {
        let args = ["verify", receipt, "--trust", did];
        assert_eq!(two.code(&args), Some(code), "{did}");
    }
    assert_ne!(
        two.code(&["verify", &new_receipt, "--trust", "one.json"]),
        Some(0)
    );

    // From outside, whole; and a part that begins after the key was named.
    let url = two.url(0).to_owned();
    let vkey = text(&two.made[0], "vkey").to_owned();
    let audit = |more: &[&str]| {
        let args = ["audit", &url, "--key", &office, "--log-key", &vkey];
        two.place.run(&[&args[..], more].concat())
    };
    let whole = audit(&[]);
    assert_eq!(
        whole.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&whole.stdout)
    );
    let from = from.to_string();
    let part = audit(&["--from", &from]);
    let said = String::from_utf8(part.stdout).unwrap();
    assert_eq!(part.status.code(), Some(21), "{said}");
    assert!(said.contains("1 signatures could not be checked"), "{said}");
    assert_eq!(
        audit(&["--from", &from, "--trust", "after.json"]).status.code(),
        Some(0)
    );

    // A mirror of it serves to recover the store, old batches and all.
    let mirrored = [
        "mirror",
        &url,
        "mirrored",
        "--key",
        &office,
        "--log-key",
        &vkey,
        "--once",
    ];
    let stop = |two: &mut Two, n: usize| {
        assert_eq!(two.served[n].take().unwrap().signal("-TERM").0, Some(0));
        assert_eq!(two.code(&["audit", NAMES[n]]), Some(0), "{}", NAMES[n]);
    };
    stop(&mut two, 1);
    let store = two.place.dir.path().join("a/store");
    let lost = two.place.dir.path().join("lost");
    // The node signs lists by itself, perhaps between the mirror and its end.
    until("a mirror that holds all", || {
        two.place.done(&mirrored);
        stop(&mut two, 0);
        fs::rename(&store, &lost).unwrap();
        let is_whole = two.code(&["recover", "a", "--from", "mirrored"]) == Some(0);
        if !is_whole {
            assert!(!store.exists(), "a recovery that is refused makes nothing");
            fs::rename(&lost, &store).unwrap();
            two.start(0);
        }
        is_whole
    });
    two.start(0);
    assert_eq!(two.issue("old", &campaign, 300), issued);
    two.redeemed(0, &old[20], "home/20");

    // The roster was in the store, too. A key that is used before it is listed is told at
    // each start.
    for version in 1..=4 {
        two.publish(0, &format!("{version}.roster"));
    }
    for more in [&[][..], &["--use"]] {
        two.run(&[&["new-key", "a", "--role", "credentials"], more].concat());
    }
    let (code, said) = two.served[0].take().unwrap().signal("-TERM");
    assert!(
        code == Some(0) && !said.contains("is not listed as active"),
        "{said}"
    );
    two.start(0);
    let (code, said) = two.served[0].take().unwrap().signal("-TERM");
    assert!(
        code == Some(0) && said.contains("is not listed as active"),
        "{said}"
    );
}
