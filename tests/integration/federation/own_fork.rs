//! Real processes: a node that learns by gossip, while it runs, that its own keys have
//! signed more than its log, or another history. It ends, is refused each start, and goes
//! on once it was cured as docs/gossip.md says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::keeper::get;
use crate::cli::{PATIENCE, Place, Served, copy, sale};

/// Two co-ops' nodes, the second of which mirrors the first.
struct Two {
    place: Place,
    made: [Value; 2],
    authorities: [String; 2],
}

impl Two {
    fn new() -> Self {
        let (place, made, authorities) = Place::with_two(NAMES);
        let two = Self {
            place,
            made,
            authorities,
        };
        for name in NAMES {
            two.set(name, "gossip_seconds = 1");
        }
        two.mirror();
        two.found();
        two
    }

    /// The second mirrors the first, with an access key of it.
    fn mirror(&self) {
        let (authority, vkey) = (&self.authorities[0], text(&self.made[0], "vkey"));
        let config = self.at("b/config.toml");
        let settings = fs::read_to_string(&config).unwrap();
        let mirror = format!(
            "[mirrors.\"{}\"]\ndir = \"mirrors/a\"\nurl = \"http://{authority}\"\nlog_key = \"{vkey}\"\n\
             key_file = \"a.key\"\nseconds = 1\n",
            authority.replace(':', "-")
        );
        fs::write(config, format!("{settings}\n{mirror}")).unwrap();
        fs::write(self.at("b/a.key"), text(&self.made[0], "office_key")).unwrap();
    }

    /// Both follow version 2 of a roster that lists them.
    fn found(&self) {
        let run = |args: &[&str]| self.place.done(&[&["federation"], args].concat());
        let board = run(&["signer", "board.pem"]);
        let board = format!("board={}", board.trim());
        run(&["create", "Valley", "--signer", &board, "--out", "1.roster"]);
        run(&["sign", "1.roster", "--key", "board.pem"]);
        let (second, mirrored_by) = (self.did(1), ["a.member", "b.member"]);
        for (n, name) in NAMES.iter().enumerate() {
            run(&["pin", name, "1.roster"]);
            let member = ["member", name, "--roster", "1.roster", "--out", mirrored_by[n]];
            let by = ["--mirror", &second];
            run(&[&member[..], if n == 0 { &by[..] } else { &[] }].concat());
        }
        let members = ["--member", "a.member", "--member", "b.member"];
        run(&[&["propose", "1.roster", "--out", "2.roster"], &members[..]].concat());
        run(&["sign", "2.roster", "--key", "board.pem"]);
        for n in [0, 1] {
            let served = self.serve(n);
            let (url, key) = (served.url().to_owned(), text(&self.made[n], "office_key"));
            run(&["publish", "1.roster", "2.roster", "--node", &url, "--key", key]);
            assert_eq!(served.signal("-TERM").0, Some(0));
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.dir.path().join(name)
    }

    fn did(&self, n: usize) -> String {
        format!("did:web:{}", self.authorities[n].replace(':', "%3A"))
    }

    /// Puts a setting before the others.
    fn set(&self, name: &str, setting: &str) {
        let config = self.at(name).join("config.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{setting}\n{text}")).unwrap();
    }

    fn serve(&self, n: usize) -> Served {
        self.place.serve_dir(NAMES[n], &self.authorities[n])
    }

    fn post(&self, url: &str, role: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{url}{path}")).bearer_auth(role);
        let answer = request.header("Idempotency-Key", key).json(body).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    /// A sale at the first, or at what goes by its name elsewhere.
    fn sell(&self, url: &str, reference: &str) {
        let mut body = sale();
        body["till_reference"] = json!(reference);
        let till = text(&self.made[0], "till_key");
        let (status, answer) = self.post(url, till, "/v1/receipts", reference, &body);
        assert_eq!(status, 201, "{answer}");
    }

    /// What becomes of a coupon of the first at the second: the status, and the code of a
    /// refusal.
    fn redeem(&self, url: &str, coupon: &str, reference: &str) -> (u16, String) {
        let body = json!({
            "coupon": coupon, "register": "till-1", "till_reference": reference,
            "basket": {"total": 1_850, "currency": "EUR"},
        });
        let till = text(&self.made[1], "till_key");
        let (status, answer) = self.post(url, till, "/v1/redemptions", reference, &body);
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Texts of coupons of the first.
    fn coupons(&self, url: &str, count: u32) -> Vec<String> {
        let node = ["--node", url, "--key", text(&self.made[0], "office_key")];
        let campaign = self.place.campaign(&node);
        let count = count.to_string();
        let lines = self
            .place
            .done(&[&["issue", &campaign, "--count", &count], &node[..]].concat());
        let texts = lines.lines().filter_map(|line| line.split_whitespace().last());
        texts.map(ToOwned::to_owned).collect()
    }

    /// The second has cosigned, and its mirror has, all of the first's log.
    #[track_caller]
    fn both_have_it_all(&self, first: &Served, second: &Served) -> u64 {
        let size = size_of(&first.checkpoint()).unwrap();
        let hash = HEXLOWER.encode(&Sha256::digest(&self.authorities[0]));
        let mirror = format!("/mirror/{}", self.authorities[0].replace(':', "-"));
        for place in [format!("/{hash}"), mirror] {
            until(&format!("{place} of {size} entries"), || {
                get(second.url(), &format!("{place}/checkpoint")).and_then(|note| size_of(&note))
                    >= Some(size)
            });
        }
        size
    }

    /// A node's store with its guard.
    fn copy(&self, from: &str, to: &str) {
        fs::create_dir_all(self.at(to)).unwrap();
        let store = self.at(to).join("store");
        if store.exists() {
            fs::remove_dir_all(&store).unwrap();
        }
        copy(&self.at(from).join("store"), &store);
        fs::copy(self.at(&format!("{from}.guard")), self.at(&format!("{to}.guard"))).unwrap();
    }

    #[track_caller]
    fn is_refused(&self, n: usize, parts: &[&str]) {
        let args = ["serve", NAMES[n], "--listen", "127.0.0.1:0"];
        self.place.refused(&args, 1, parts);
    }
}

const NAMES: [&str; 2] = ["a", "b"];

/// One checkpoint is shown for half a minute, so that others cosign the same one.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < 4 * PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text<'a>(made: &'a Value, member: &str) -> &'a str {
    made[member].as_str().unwrap()
}

fn size_of(note: &str) -> Option<u64> {
    note.lines().nth(1)?.parse().ok()
}

/// The command that a page shows and that begins so.
#[track_caller]
fn written(begins: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gossip.md")).unwrap();
    let line = page.lines().map(str::trim).find(|line| line.starts_with(begins));
    line.unwrap_or_else(|| panic!("docs/gossip.md does not say {begins}"))
        .to_owned()
}

/// A store that was put back from a backup, guard and all, while nobody could be asked: the
/// first that is heard in gossip stops its node.
#[test]
fn a_store_that_was_set_back_stops_while_it_runs_and_recover_cures_it() {
    let two = Two::new();
    let (first, second) = (two.serve(0), two.serve(1));
    two.sell(first.url(), "a/1");
    two.both_have_it_all(&first, &second);
    assert_eq!(first.signal("-TERM").0, Some(0));
    two.copy("a", "backup");
    let first = two.serve(0);
    two.sell(first.url(), "a/2");
    let size = two.both_have_it_all(&first, &second);
    assert_eq!(first.signal("-TERM").0, Some(0));

    // Nobody is there to be asked, so it starts.
    assert_eq!(second.signal("-TERM").0, Some(0));
    two.copy("backup", "a");
    let first = two.serve(0);
    let held = size_of(&first.checkpoint()).unwrap();
    assert_eq!(held, size - 1);
    let second = two.serve(1);
    let (code, said) = first.ended();
    assert_eq!(code, Some(1), "{said}");
    let (over, holds) = (format!("over {size} entries"), format!("the store holds {held}"));
    let why = [
        "gossip shows a checkpoint of this log",
        &over,
        &holds,
        "tallystick recover DIR --from",
    ];
    for part in why.iter().chain(&["signs nothing any more, so the process ends"]) {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Whether anybody can be asked or not.
    two.is_refused(0, &why);
    assert_eq!(second.signal("-TERM").0, Some(0));
    two.is_refused(0, &why);

    let second = two.serve(1);
    let cure = written("tallystick recover ");
    let mirror = format!(
        "{}/mirror/{}/",
        second.url(),
        two.authorities[0].replace(':', "-")
    );
    let cure = cure
        .replace("https://partner.example/mirror/shop.example/", &mirror)
        .replace("KEY", text(&two.made[1], "office_key"))
        .replace("shop", "a");
    let args: Vec<&str> = cure.split(' ').skip(1).collect();
    assert!(two.place.done(&args).contains("1 entries were fetched"));
    let first = two.serve(0);
    two.sell(first.url(), "a/3");
    assert_eq!(two.both_have_it_all(&first, &second), size + 1);
    assert_eq!(first.signal("-TERM").0, Some(0));
}

/// A copy of a node's directory that was started beside it, where nobody could be asked, and
/// so signs a second history: both end, the others take no coupon of it, and who has decided
/// which of the two is to go on has it go on.
#[test]
fn a_second_history_stops_both_that_sign_and_is_forgiven() {
    let two = Two::new();
    let (first, second) = (two.serve(0), two.serve(1));
    let coupons = two.coupons(first.url(), 3);
    two.both_have_it_all(&first, &second);
    until("the terms are known", || {
        two.redeem(second.url(), &coupons[0], "b/1").0 == 201
    });
    two.both_have_it_all(&first, &second);
    assert_eq!(first.signal("-TERM").0, Some(0));
    copy(&two.at("a"), &two.at("twin"));
    fs::set_permissions(two.at("twin/keys"), Permissions::from_mode(0o700)).unwrap();
    two.copy("a", "twin");
    let first = two.serve(0);
    two.sell(first.url(), "a/1");
    two.both_have_it_all(&first, &second);

    assert_eq!(second.signal("-TERM").0, Some(0));
    let twin = two.place.serve_dir("twin", "127.0.0.1:0");
    two.sell(twin.url(), "twin/1");
    let second = two.serve(1);
    let why = [
        "gossip has brought evidence",
        "has signed two histories",
        "declare a new log",
    ];
    for ended in [twin.ended(), first.ended()] {
        let (code, said) = ended;
        assert_eq!(code, Some(1), "{said}");
        for part in why.iter().chain(&["signs nothing any more, so the process ends"]) {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    two.is_refused(0, &why);
    until("the second knows", || {
        two.redeem(second.url(), &coupons[1], "b/2").1 == "issuer_forked"
    });
    assert_eq!(second.signal("-TERM").0, Some(0));
    two.is_refused(0, &why);

    // It is this history that the second has cosigned, and it forgives.
    let setting = written("federation_forgiven = ").replace("did:web:shop.example", &two.did(0));
    for name in NAMES {
        two.set(name, &setting);
    }
    let (second, first) = (two.serve(1), two.serve(0));
    two.sell(first.url(), "a/2");
    two.both_have_it_all(&first, &second);
    assert_eq!(two.redeem(second.url(), &coupons[1], "b/3"), (201, String::new()));
    for served in [first, second] {
        assert_eq!(served.signal("-TERM").0, Some(0));
    }
}
