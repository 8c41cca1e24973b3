//! Evidence against members, from a node that holds it to whoever judges it offline: the
//! real binary, with a node that is served and with one's directory.

use std::path::Path;
use std::process::{Command, Output};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};
use tallystick::credential::status_list::{Status, StatusList, Statuses};
use tallystick::credential::{Algorithm, ListEvidence, PublicKey, SecretKey};
use tallystick::encoding::cbor;
use tallystick::federation::gossip::{Kind, evidence};
use tallystick::log::{Checkpoint, ForkEvidence, KeyKind, VerifierKey};
use tallystick::node::GossipedToKeep;
use tallystick::node::keyring::Keyring;
use tallystick::primitives::{Digest, UnixSeconds, limits};
use tallystick::server::{NodeDir, Overrides};

use super::keeper::{get, until};
use crate::cli::Place;

const SIGNED: UnixSeconds = UnixSeconds(1_790_000_000);
/// Status lists of one member that are convicted: with its fork more than one answer shows.
const LISTS: u32 = 65;
const LIAR: &str = "did:web:b.example";

/// A list of one member with a revoked coupon, signed by `key`.
fn list(uri: &str, at: UnixSeconds, revoked: u32, key: &SecretKey) -> Vec<u8> {
    let mut statuses = Statuses::new();
    assert!(statuses.set(revoked, Status::Revoked));
    let list = StatusList {
        uri: uri.to_owned(),
        issued_at: at,
        expires: at.plus(86_400),
        ttl: 60,
        statuses,
    };
    list.sign(key, Algorithm::EdDsa)
}

fn two_lists(uri: &str, key: &SecretKey) -> Vec<u8> {
    ListEvidence::of(&list(uri, SIGNED, 17, key), &list(uri, SIGNED, 4_711, key))
}

fn keyring(dir: &Path) -> Keyring {
    NodeDir::at(dir).unwrap().keyring(None).unwrap()
}

fn fork(name: &str, keys: &Keyring) -> Vec<u8> {
    let key = VerifierKey::of(name, KeyKind::Ed25519, keys.log.public()).unwrap();
    let note = |root| {
        let checkpoint = Checkpoint::new(name, 9, Digest([root; 32]));
        checkpoint.sign(&key, |bytes| keys.log.sign(bytes)).unwrap()
    };
    let (one, other) = (note(1).to_string(), note(2).to_string());
    let fork = ForkEvidence::new(&key, one.as_bytes(), other.as_bytes(), None).unwrap();
    evidence::of_fork(&fork).unwrap()
}

/// Puts evidence into a node's store, as if gossip had brought it.
fn brought(dir: &Path, all: Vec<Vec<u8>>) {
    let opened = NodeDir::at(dir)
        .unwrap()
        .open(&Overrides::default(), None)
        .unwrap();
    let put = all.into_iter().enumerate().map(|(n, bytes)| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        (Kind::Evidence.number(), id, bytes)
    });
    let keep = GossipedToKeep {
        put: put.collect(),
        remove: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        opened.node.keep_gossiped(keep).await.unwrap();
        opened.node.shut_down().await;
    });
}

/// Two members, `a` and `b`; `a` holds evidence against `b`.
fn valley(all: impl FnOnce(&Keyring) -> Vec<Vec<u8>>) -> Place {
    let place = Place::new();
    let run = |args: &[&str]| place.done(&[&["federation"], args].concat());
    for node in ["a", "b"] {
        let url = format!("https://{node}.example");
        place.done(&["init", node, "--base-url", &url, "--name", node]);
    }
    let signer = format!("ada={}", run(&["signer", "ada.pem"]).trim());
    run(&["create", "Valley", "--out", "1.roster", "--signer", &signer]);
    run(&["sign", "1.roster", "--key", "ada.pem"]);
    for node in ["a", "b"] {
        let member = format!("{node}.member");
        run(&["member", node, "--roster", "1.roster", "--out", &member]);
    }
    let members = ["--member", "a.member", "--member", "b.member"];
    run(&[&["propose", "1.roster", "--out", "2.roster"][..], &members].concat());
    run(&["sign", "2.roster", "--key", "ada.pem"]);
    run(&["pin", "a", "1.roster"]);
    run(&["publish", "1.roster", "2.roster", "--node", "a"]);
    brought(
        &place.dir.path().join("a"),
        all(&keyring(&place.dir.path().join("b"))),
    );
    place
}

/// One piece that is shown: whose, of what kind, of which list.
fn named(one: &Value) -> (&str, &str, Option<u64>) {
    let text = |member: &str| one[member].as_str().unwrap();
    (text("member"), text("kind"), one["list"].as_u64())
}

#[test]
fn evidence_is_shown_chosen_saved_and_judged_offline() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let place = valley(|keys| {
        let uri = |list| format!("https://b.example/s/{list}");
        let lists = (0..LISTS).map(|list| two_lists(&uri(list), &keys.credential));
        lists.chain([fork("b.example", keys)]).collect()
    });
    let all = LISTS as usize + 1;
    let shown = limits::EVIDENCE_SHOWN_MAX;

    // The node in its directory, which nobody serves.
    let at_dir = ["federation", "evidence", "--node", "a"];
    let first = place.json(&[&at_dir[..], &["--json"]].concat());
    assert_eq!(first["total"], all);
    let pieces = first["evidence"].as_array().unwrap();
    assert_eq!(pieces.len(), shown);
    assert_eq!(named(&pieces[0]), (LIAR, "fork", None));
    for (piece, list) in pieces[1..].iter().zip(0..) {
        assert_eq!(named(piece), (LIAR, "two_lists", Some(list)));
    }
    let said = place.done(&at_dir);
    assert!(
        said.contains(&format!(
            "Shown are 1 to {shown} of {all} pieces: go on with --from {shown}"
        )),
        "{said}"
    );
    let rest = place.done(&[&at_dir[..], &["--from", &shown.to_string()]].concat());
    assert_eq!(rest.lines().count(), all - shown, "{rest}");
    assert!(
        rest.contains("two status lists 63 ") && rest.contains("two status lists 64 "),
        "{rest}"
    );
    let choose = [&at_dir[..], &["--save", "x.cbor"]].concat();
    place.refused(
        &choose,
        1,
        &[
            "there are 66",
            &format!("--member {LIAR} --kind fork"),
            "--list 7",
            "and others",
        ],
    );
    assert!(!place.dir.path().join("x.cbor").exists());
    let by_dir = place.run(&[&at_dir[..], &["--list", "7", "--save", "dir.cbor"]].concat());
    assert!(by_dir.status.success(), "{by_dir:?}");

    // The same of the served node.
    let served = place.serve_dir("a", "127.0.0.1:0");
    let auditor = place.json(&["key", "add", "a", "--role", "auditor", "--json"]);
    let key = auditor["key"].as_str().unwrap();
    let at_url = ["federation", "evidence", "--node", served.url(), "--key", key];
    let ask = |more: &[&str]| place.run(&[&at_url[..], more].concat());
    until("the new key", || ask(&[]).status.success());
    let none = String::from_utf8(ask(&["--member", "did:web:a.example"]).stdout).unwrap();
    assert_eq!(none, "No such evidence is held.\n");
    let lists = place.json(&[&at_url[..], &["--member", LIAR, "--kind", "two_lists", "--json"]].concat());
    assert_eq!(lists["total"], LISTS);
    let saved = ask(&["--list", "7", "--save", "lists.cbor"]);
    let said = String::from_utf8(saved.stderr).unwrap();
    assert!(
        said.contains("verify --evidence lists.cbor --trust did.json"),
        "{said}"
    );
    let file = |name: &str| std::fs::read(place.dir.path().join(name)).unwrap();
    assert_eq!(file("lists.cbor"), file("dir.cbor"));
    // A file that is there is not written over.
    assert_eq!(
        ask(&["--list", "8", "--save", "lists.cbor"]).status.code(),
        Some(1)
    );
    assert!(ask(&["--kind", "fork", "--save", "fork.cbor"]).status.success());
    let refused = get(served.url(), "/v1/federation/evidence");
    assert_eq!(refused, None, "not without a key");
    for wrong in ["kind=spoon", "list=-1", "from=x", "who=b"] {
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let asked = client.get(format!("{}/v1/federation/evidence?{wrong}", served.url()));
        let answer: Value =
            serde_json::from_slice(&asked.bearer_auth(key).send().unwrap().bytes().unwrap()).unwrap();
        assert_eq!(answer["code"], "query_invalid", "{wrong}");
    }

    // Whoever has the file judges it by what the liar's node shows of itself.
    let liar = place.serve_dir("b", "127.0.0.1:0");
    let did_json = get(liar.url(), "/.well-known/did.json").unwrap();
    std::fs::write(place.dir.path().join("did.json"), did_json).unwrap();
    let judged = place.json(&[
        "verify",
        "--json",
        "--evidence",
        "lists.cbor",
        "--trust",
        "did.json",
    ]);
    assert_eq!(judged["verdict"], "convicted");
    assert_eq!(
        (&judged["issuer"], &judged["list"]),
        (&json!("b.example"), &json!("https://b.example/s/7"))
    );
    let words = place.done(&["verify", "--evidence", "lists.cbor", "--trust", "did.json"]);
    assert!(
        words.starts_with("convicted: b.example: two status lists"),
        "{words}"
    );
    let forked = the_one(&place.json(&[&at_url[..], &["--kind", "fork", "--json"]].concat()));
    let log_key = forked["log_key"].as_str().unwrap();
    place.done(&["verify", "--evidence", "fork.cbor", "--log-key", log_key]);
    let by_trust = place.run(&["verify", "--evidence", "fork.cbor", "--trust", "did.json"]);
    let note = String::from_utf8(by_trust.stderr).unwrap();
    assert_eq!(by_trust.status.code(), Some(16));
    assert!(
        note.contains("--trust says nothing about a log; --log-key does"),
        "{note}"
    );
}

/// The one piece of an answer.
fn the_one(answer: &Value) -> Value {
    assert_eq!(answer["total"], 1);
    answer["evidence"][0].clone()
}

#[test]
fn a_directory_without_a_federation_says_so() {
    let place = Place::new();
    let at_dir = ["federation", "evidence", "--node", "shop"];
    place.refused(&at_dir, 1, &["belongs to no federation"]);
    let place = valley(|_| Vec::new());
    let held = place.done(&["federation", "evidence", "--node", "a"]);
    assert_eq!(held, "No evidence is held against any member.\n");
    let save = ["federation", "evidence", "--node", "a", "--save", "x.cbor"];
    place.refused(&save, 1, &["there is no such evidence to be saved"]);
    // Who has it open is asked in its place.
    let served = place.serve_dir("a", "127.0.0.1:0");
    place.refused(
        &["federation", "evidence", "--node", "a"],
        1,
        &["open in another process", "--node http://"],
    );
    drop(served);
}

/// Files on a desk, with the did.json of coop.example.
struct Desk(tempfile::TempDir);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn method(did: &str, key: &PublicKey) -> Value {
    json!({
        "id": format!("{did}#{}", key.kid()), "type": "JsonWebKey", "controller": did,
        "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key.as_bytes())},
    })
}

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let did = "did:web:coop.example";
        let mut revoked = method(did, key(2).public());
        revoked["revoked"] = json!("2026-03-07T15:21:09Z");
        let methods = json!([method(did, key(1).public()), revoked]);
        desk.write(
            "did.json",
            json!({"id": did, "verificationMethod": methods}).to_string(),
        );
        let did = "did:web:other.example";
        let methods = json!([method(did, key(3).public())]);
        desk.write(
            "other.json",
            json!({"id": did, "verificationMethod": methods}).to_string(),
        );
        desk
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tallystick"));
        command.args(["verify", "--evidence", "evidence.cbor"]).args(args);
        command.current_dir(self.0.path()).output().unwrap()
    }

    /// What is said of evidence: the exit code, JSON and words, which agree.
    fn judge(&self, evidence: &[u8], args: &[&str]) -> (i32, Value, String) {
        self.write("evidence.cbor", evidence);
        let json = self.run(&[args, &["--json"]].concat());
        let said: Value = serde_json::from_slice(&json.stdout).unwrap();
        let words = self.run(args);
        let code = words.status.code().unwrap();
        assert_eq!(json.status.code(), Some(code));
        assert_eq!(said["exit_code"], code);
        let words = String::from_utf8(words.stdout).unwrap();
        let reason = said["reason"].as_str().unwrap();
        assert!(words.contains(reason), "{words} does not say {reason}");
        (code, said, words)
    }
}

/// Evidence that other code has made (`tests/data/list-evidence.py`) convicts as well.
#[test]
fn evidence_of_other_code_convicts() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/list-evidence.json");
    let made: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let bytes = HEXLOWER
        .decode(made["evidence"].as_str().unwrap().as_bytes())
        .unwrap();
    let desk = Desk::new();
    desk.write("did.json", made["did_json"].to_string());
    let (code, said, _) = desk.judge(&bytes, &TRUST);
    assert_eq!((code, &said["statuses_differing"]), (0, &json!(2)), "{said}");
    let schema = include_str!("../../../schemas/list-evidence.cddl");
    cddl::validate_cbor_from_slice(schema, &bytes, None).unwrap();
}

const URI: &str = "https://coop.example/s/0";
const TRUST: [&str; 2] = ["--trust", "did.json"];

#[test]
fn two_lists_convict_by_the_issuers_did_json_alone() {
    let desk = Desk::new();
    let lie = two_lists(URI, &key(1));
    let (code, said, words) = desk.judge(&lie, &TRUST);
    assert_eq!(code, 0);
    for (member, value) in [
        ("verdict", json!("convicted")),
        ("kind", json!("list_evidence")),
        ("issuer", json!("coop.example")),
        ("list", json!(URI)),
        ("issued_at", json!("2026-09-21T14:13:20Z")),
        ("statuses_differing", json!(2)),
    ] {
        assert_eq!(said[member], value, "{said}");
    }
    let kid = key(1).public().kid().to_string();
    assert!(
        [&said["first"], &said["second"]]
            .iter()
            .all(|list| list["kid"] == kid.as_str())
    );
    let difference = &said["first_difference"];
    let mut both = [&difference["first"], &difference["second"]].map(|said| said.as_str().unwrap());
    both.sort_unstable();
    assert_eq!((&difference["index"], both), (&json!(17), ["revoked", "valid"]));
    assert!(
        words.contains("2 statuses differ, first that of index 17: "),
        "{words}"
    );
    // A directory of what is trusted serves too.
    assert_eq!(desk.judge(&lie, &["--trust", "."]).0, 0);

    // Without the issuer's did.json nobody is convicted, though nothing is wrong with it.
    let (code, said, words) = desk.judge(&lie, &[]);
    assert_eq!((code, &said["verdict"]), (16, &json!("unknown_key")));
    for part in [
        "no signature was checked",
        "https://coop.example/.well-known/did.json",
        "--trust",
    ] {
        assert!(words.contains(part), "{words}");
    }
    let (code, said, words) = desk.judge(&lie, &["--trust", "other.json"]);
    assert_eq!((code, &said["issuer"]), (16, &Value::Null));
    assert!(
        words.contains(&kid) && words.contains("replaced its key"),
        "{words}"
    );

    // Each kind of evidence has its own way of saying whom it is about.
    let vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let both = desk.run(&[&TRUST[..], &["--log-key", vkey]].concat());
    assert_eq!(both.status.code(), Some(0));
    let note = String::from_utf8(both.stderr).unwrap();
    assert!(
        note.contains("--log-key says nothing about status lists"),
        "{note}"
    );
    assert_eq!(desk.run(&["--trust", "evidence.cbor"]).status.code(), Some(16));
    assert_eq!(desk.run(&["--trust", "missing.json"]).status.code(), Some(1));
    desk.write("bad.json", "{\"id\": 7, \"verificationMethod\": []}");
    assert_eq!(desk.run(&["--trust", "bad.json"]).status.code(), Some(1));
    assert_eq!(desk.run(&["--at", "2026-03-07T16:21:09Z"]).status.code(), Some(2));
}

#[test]
fn what_convicts_nobody_is_refused_with_its_reason() {
    let desk = Desk::new();
    let good = || list(URI, SIGNED, 17, &key(1));
    let with =
        |uri: &str, at: UnixSeconds, by: u8| ListEvidence::of(&good(), &list(uri, at, 4_711, &key(by)));
    let again = [Algorithm::EdDsa, Algorithm::Ed25519].map(|alg| {
        let list = StatusList {
            uri: URI.to_owned(),
            issued_at: SIGNED,
            expires: SIGNED.plus(60),
            ttl: 60,
            statuses: Statuses::new(),
        };
        list.sign(&key(1), alg)
    });
    let mut forged = list(URI, SIGNED, 4_711, &key(1));
    *forged.last_mut().unwrap() ^= 1;
    let mut swapped = two_lists(URI, &key(1));
    swapped[1] = 1;
    let form = "evidence of two lists is [2, token, token]";
    let one = serde_cbor::Value::Array(vec![cbor::int(2), cbor::bytes(good())]);
    let mut odd = two_lists(URI, &key(1));
    odd.push(0);
    for (what, bytes, code, part) in [
        (
            "nothing",
            Vec::new(),
            17,
            "neither of a fork nor of two status lists",
        ),
        (
            "text",
            b"two lists".to_vec(),
            17,
            "neither of a fork nor of two status lists",
        ),
        ("one list alone", good(), 17, "one status list"),
        ("evidence with one list", cbor::encode(&one), 17, form),
        (
            "half of it",
            two_lists(URI, &key(1))[..200].to_vec(),
            17,
            "not well-formed CBOR",
        ),
        ("more than it", odd, 17, "not well-formed CBOR"),
        (
            "too much",
            [&[0x83, 2][..], &vec![0; 300_000]].concat(),
            17,
            "at most 131136 are allowed",
        ),
        ("another kind", swapped, 17, "evidence of a fork"),
        (
            "a list twice",
            ListEvidence::of(&good(), &good()),
            17,
            "one list twice",
        ),
        (
            "the same claims",
            ListEvidence::of(&again[0], &again[1]),
            17,
            "say the same",
        ),
        (
            "other number",
            with("https://coop.example/s/1", SIGNED, 1),
            17,
            "different names",
        ),
        (
            "other issuer",
            with("https://other.example/s/0", SIGNED, 3),
            17,
            "different names",
        ),
        ("a newer one", with(URI, SIGNED.plus(1), 1), 17, "different times"),
        (
            "no signature",
            ListEvidence::of(&good(), &forged),
            17,
            "signature does not fit",
        ),
        (
            "a stranger's",
            with(URI, SIGNED, 9),
            16,
            "no trusted key is named",
        ),
        (
            "a revoked key's",
            with(URI, SIGNED, 2),
            16,
            "no trusted key is named",
        ),
        (
            "all by a revoked key",
            two_lists(URI, &key(2)),
            16,
            "no trusted key is named",
        ),
        (
            "in another's name",
            two_lists("https://other.example/s/0", &key(1)),
            17,
            "is not a status list of the node that signed it",
        ),
    ] {
        let (found, said, words) = desk.judge(&bytes, &["--trust", "did.json"]);
        assert_eq!(found, code, "{what}: {words}");
        assert!(words.contains(part), "{what}: {words}");
        let verdict = if code == 16 { "unknown_key" } else { "no_evidence" };
        assert_eq!(said["verdict"], verdict, "{what}");
    }
    // Signed by another trusted co-op: it joins in for nobody.
    let (code, _, words) = desk.judge(&with(URI, SIGNED, 3), &["--trust", "."]);
    assert_eq!(code, 17);
    assert!(
        words.contains("is not a status list of the node that signed it"),
        "{words}"
    );
    // What it says of itself cannot write over the terminal.
    let (_, _, words) = desk.judge(&two_lists("https://coop.example/s/0\u{1b}[2J", &key(1)), &TRUST);
    assert!(!words.contains('\u{1b}'), "{words:?}");
    std::fs::remove_file(desk.0.path().join("evidence.cbor")).unwrap();
    assert_eq!(desk.run(&TRUST).status.code(), Some(1));
}
