//! `verify` from the command line, with what a node really issues.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use clap::Parser as _;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tallystick::cli::verify::{VerifyArgs, run};
use tallystick::credential::{Algorithm, Benefit, PublicKey};
use tallystick::encoding::qr_text;
use tallystick::ledger::{BatchOrder, NewStatus};
use tallystick::node::{IssuedCoupon, Node, RedemptionRequest, RevocationTarget};
use tallystick::testkit::ManualClock;

use crate::node::world::{START, World, basket, cents, draft, lane, office, origin, till};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: VerifyArgs,
}

/// Files as a partner co-op keeps them.
struct Desk {
    dir: tempfile::TempDir,
    coupons: Vec<IssuedCoupon>,
}

const DAY: u64 = 86_400;
const HALF_LIFE: u64 = 43_200;

fn at(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap())
        .unwrap()
        .to_string()
}

fn did_json(key: &PublicKey) -> Value {
    json!({"id": "did:web:coop.example", "verificationMethod": [{
        "id": format!("did:web:coop.example#{}", key.kid()),
        "type": "JsonWebKey",
        "controller": "did:web:coop.example",
        "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key.as_bytes())},
    }]})
}

impl Desk {
    /// Coupons 0 to 3 of one campaign: good, used up, revoked, suspended.
    fn new(algorithm: Algorithm) -> Self {
        let mut world = World::memory();
        world.options.algorithm = algorithm;
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let node = world.open();
        let (campaign, coupons, list) = runtime.block_on(issue(&node, &world.clock));
        std::fs::create_dir(dir.path().join("trust")).unwrap();
        let desk = Self { dir, coupons };
        desk.write("trust/did.json", did_json(&node.credential_key()).to_string());
        desk.write("trust/apples.json", campaign.to_string());
        desk.write("trust/README.txt", "not a key");
        desk.write("list", list);
        runtime.block_on(node.shut_down());
        desk
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn link(&self, coupon: usize) -> String {
        qr_text::link(&origin(), &self.coupons[coupon].credential)
    }

    /// Runs `verify` with all that is trusted, a day after the start.
    fn verify(&self, input: &str) -> (u8, Value) {
        self.verify_at(input, START + DAY / 2)
    }

    fn verify_at(&self, input: &str, seconds: u64) -> (u8, Value) {
        let (trust, list) = (self.path("trust"), self.path("list"));
        let at = at(seconds);
        let arguments = [
            input,
            "--trust",
            trust.to_str().unwrap(),
            "--status",
            list.to_str().unwrap(),
            "--at",
            &at,
        ];
        let (code, said, _) = self.run(&arguments, b"");
        (code, said)
    }

    fn run(&self, arguments: &[&str], mut stdin: &[u8]) -> (u8, Value, String) {
        let all = [&["verify", "--json"], arguments].concat();
        let cli = Cli::try_parse_from(all).unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = run(&cli.args, &mut stdin, &mut stdout, &mut stderr).unwrap();
        let said: Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!(said["exit_code"], code, "{said}");
        assert!(!said["reason"].as_str().unwrap().is_empty());
        (code, said, String::from_utf8(stderr).unwrap())
    }
}

async fn issue(node: &Node, clock: &ManualClock) -> (Value, Vec<IssuedCoupon>, Vec<u8>) {
    let apples = draft("Apples", Benefit::AmountOff { amount: cents(200) });
    let campaign = node.sign_campaign(&office(), apples).await.unwrap();
    let order = BatchOrder {
        campaign: campaign.id,
        count: 4,
        amount: None,
        not_before: None,
        not_after: None,
    };
    let coupons = node.issue_coupons(&office(), order).await.unwrap().coupons;
    let register = lane(1);
    let request = RedemptionRequest {
        coupon: coupons[1].credential.clone(),
        register: register.clone(),
        till_reference: "1".to_owned(),
        basket: basket(1_000),
        amount: None,
    };
    node.redeem(&till(&register), request).await.unwrap();
    for (coupon, status) in [(2, NewStatus::Revoked), (3, NewStatus::Suspended)] {
        let target = RevocationTarget::Name(coupons[coupon].name);
        node.set_status(&office(), &target, status, None).await.unwrap();
    }
    // What used coupons up is gathered for some seconds before a list is signed anew.
    clock.advance(HALF_LIFE + 10);
    let list = node.status_list(0).await.unwrap();
    let json =
        json!({"id": campaign.id.to_string(), "credential": BASE64URL_NOPAD.encode(&campaign.credential)});
    (json, coupons, list)
}

#[test]
fn every_exit_code_by_what_a_node_issued() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let desk = Desk::new(algorithm);
        let (code, said) = desk.verify(&desk.link(0));
        assert_eq!(code, 0, "{said}");
        assert_eq!(
            (&said["verdict"], &said["kind"]),
            (&"valid".into(), &"coupon".into())
        );
        let reason = said["reason"].as_str().unwrap();
        for part in [
            "a coupon of coop.example",
            "worth 2.00 EUR off",
            "until 2026-06-05T",
        ] {
            assert!(reason.contains(part), "{reason}");
        }
        for (coupon, expected) in [(1, 14), (2, 12), (3, 13)] {
            assert_eq!(desk.verify(&desk.link(coupon)).0, expected);
        }
        assert_eq!(desk.verify_at(&desk.link(0), START - 1).0, 10);
        assert_eq!(desk.verify_at(&desk.link(0), START + 90 * DAY).0, 11);
        assert_eq!(desk.verify_at(&desk.link(2), START + 60 * DAY).0, 15);
        let did = desk.path("trust/did.json");
        let trust_only = [
            &desk.link(0),
            "--trust",
            did.to_str().unwrap(),
            "--at",
            &at(START),
        ];
        let (code, said, _) = desk.run(&trust_only, b"");
        assert_eq!(code, 15);
        assert!(
            said["reason"]
                .as_str()
                .unwrap()
                .contains("only its campaign says so"),
            "{said}"
        );
        let mut altered = desk.coupons[0].credential.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert_eq!(desk.verify(&qr_text::encode_digits(&altered)).0, 17);
    }
}

#[test]
fn text_file_bytes_and_standard_input_are_the_same() {
    let desk = Desk::new(Algorithm::EdDsa);
    let link = desk.link(0);
    let bare = qr_text::encode_digits(&desk.coupons[0].credential);
    let text = desk.write("coupon.txt", format!("{link}\n"));
    let raw = desk.write("coupon.cose", &desk.coupons[0].credential);
    for input in [&link, &bare, &text, &raw] {
        assert_eq!(desk.verify(input).0, 0, "{input}");
    }
    let (trust, list) = (desk.path("trust"), desk.path("list"));
    let (trust, list) = (trust.to_str().unwrap(), list.to_str().unwrap());
    let at = at(START + 1);
    let common = ["--trust", trust, "--status", list, "--at", &at];
    for stdin in [link.as_bytes(), bare.as_bytes(), &desk.coupons[0].credential] {
        assert_eq!(desk.run(&common, stdin).0, 0);
        assert_eq!(desk.run(&[&["-"], &common[..]].concat(), stdin).0, 0);
    }
    assert_eq!(desk.run(&common, b"").0, 1);
    // The campaign and the list themselves.
    let list_itself = desk.path("list");
    assert_eq!(
        desk.verify(list_itself.to_str().unwrap()).1["kind"],
        "status_list"
    );
}

#[test]
fn malformed_is_not_unreadable() {
    let desk = Desk::new(Algorithm::EdDsa);
    let link = desk.link(0);
    let bare = qr_text::encode_digits(&desk.coupons[0].credential);
    let long = desk.write("long.cose", vec![0xd2; 70_000]);
    let noise = desk.write("noise", [0xff, 0x00, 0x80]);
    for input in [
        format!("junk {link}"),
        format!("{link} junk"),
        format!("junk{bare}"),
        format!("{bare}junk"),
        "123".to_owned(),
        "https://coop.example/V#".to_owned(),
        link.replace("COOP.EXAMPLE", "COOP.EXAMPLE.EVIL.EXAMPLE"),
        long,
        noise,
    ] {
        let (code, said) = desk.verify(&input);
        assert_eq!(code, 17, "{input}: {said}");
    }
    for input in ["/no/such/file", "no-such-file.cose", " "] {
        assert_eq!(desk.verify(input).0, 1, "{input}");
    }
}

#[test]
fn what_is_to_be_trusted_has_to_hold() {
    let desk = Desk::new(Algorithm::EdDsa);
    let link = desk.link(0);
    let good: Value = serde_json::from_slice(&std::fs::read(desk.path("trust/did.json")).unwrap()).unwrap();
    let mut small_order = good.clone();
    small_order["verificationMethod"][0]["publicKeyJwk"]["x"] = BASE64URL_NOPAD.encode(&[0; 32]).into();
    let mut renamed = good.clone();
    renamed["verificationMethod"][0]["id"] = "did:web:coop.example#0011223344556677".into();
    let mut elsewhere = good.clone();
    elsewhere["id"] = "did:web:other.example".into();
    elsewhere["verificationMethod"][0]["id"] = good["verificationMethod"][0]["id"]
        .as_str()
        .unwrap()
        .replace("coop", "other")
        .into();
    let run = |name: &str, did: &Value, link: &str| {
        let path = desk.write(name, did.to_string());
        let list = desk.path("list");
        let at = at(START + 1);
        desk.run(
            &[
                link,
                "--trust",
                &path,
                "--status",
                list.to_str().unwrap(),
                "--at",
                &at,
            ],
            b"",
        )
    };
    assert_eq!(run("good.json", &good, &link).0, 0);
    let (code, said, stderr) = run("small.json", &small_order, &link);
    assert_eq!(code, 1);
    assert!(
        said["reason"].as_str().unwrap().contains("small order"),
        "{stderr}"
    );
    assert_eq!(run("renamed.json", &renamed, &link).0, 1);
    // The same key under another name: nothing of the coupon is that node's.
    let (code, _, stderr) = run("elsewhere.json", &elsewhere, &link);
    assert_eq!(code, 17);
    assert!(stderr.contains("is not used"), "{stderr}");
    let stranger = json!({"id": "did:web:coop.example", "verificationMethod": []});
    assert_eq!(run("empty.json", &stranger, &link).0, 1);
    // Nobody trusted: an unknown issuer, whatever else is wrong.
    let nobody = desk.path("nobody");
    std::fs::create_dir(&nobody).unwrap();
    let arguments = [
        &link,
        "--trust",
        nobody.to_str().unwrap(),
        "--at",
        "2126-01-01T00:00:00Z",
    ];
    assert_eq!(desk.run(&arguments, b"").0, 16);
    // A coupon is no status list, and a forged list is none either.
    let did = desk.path("trust/did.json");
    let did = did.to_str().unwrap();
    let coupon = desk.write("coupon.cose", &desk.coupons[0].credential);
    assert_eq!(desk.run(&[&link, "--trust", did, "--status", &coupon], b"").0, 1);
    let mut list = std::fs::read(desk.path("list")).unwrap();
    *list.last_mut().unwrap() ^= 1;
    let forged = desk.write("forged-list", list);
    let (code, _, stderr) = desk.run(
        &[&link, "--trust", did, "--status", &forged, "--at", &at(START)],
        b"",
    );
    assert_eq!(code, 15);
    assert!(stderr.contains("is not used"), "{stderr}");
}

#[test]
fn wrong_usage_is_told_apart() {
    for arguments in [
        &["verify", "123", "--trust"][..],
        &["verify", "123", "--trust", "x", "--at", "noon"],
        &["verify", "123", "--trust", "x", "--wat"],
    ] {
        let error = Cli::try_parse_from(arguments).err().unwrap();
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}

#[test]
fn people_get_sentences() {
    let desk = Desk::new(Algorithm::EdDsa);
    let link = desk.link(2);
    let (trust, list) = (desk.path("trust"), desk.path("list"));
    let at = at(START + 1);
    let arguments = [
        "verify",
        &link,
        "--trust",
        trust.to_str().unwrap(),
        "--status",
        list.to_str().unwrap(),
        "--at",
        &at,
    ];
    let cli = Cli::try_parse_from(arguments).unwrap();
    let mut stdout = Vec::new();
    let code = run(&cli.args, &mut &b""[..], &mut stdout, &mut Vec::new()).unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(code, 12);
    assert!(text.starts_with("Revoked: a coupon of coop.example"), "{text}");
    assert!(text.ends_with("its issuer revoked it.\n"), "{text}");
}
