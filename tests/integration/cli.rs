//! The real binary in directories of its own: what people type and see.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_tallystick");

/// Nothing here takes longer on a machine that is not stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of its own, with a node in `shop`.
pub struct Place {
    pub dir: TempDir,
    made: Value,
}

impl Place {
    pub fn new() -> Self {
        Self::at("http://127.0.0.1:8080")
    }

    /// A place whose node goes by `base_url`.
    pub fn at(base_url: &str) -> Self {
        let mut place = Self {
            dir: tempfile::tempdir().unwrap(),
            made: Value::Null,
        };
        place.made = place.json(&["init", "shop", "--base-url", base_url, "--json"]);
        place
    }

    /// A place with two more nodes on ports that were free: what `init` said of each, and
    /// their authorities.
    pub fn with_two(names: [&str; 2]) -> (Self, [Value; 2], [String; 2]) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let place = Self::new();
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let authorities = free.each_ref().map(|port| port.local_addr().unwrap().to_string());
        drop(free);
        let made = std::array::from_fn(|n| {
            let url = format!("http://{}", authorities[n]);
            place.json(&["init", names[n], "--base-url", &url, "--json"])
        });
        (place, made, authorities)
    }

    /// The node's directory.
    pub fn shop(&self) -> PathBuf {
        self.dir.path().join("shop")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).current_dir(self.dir.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TALLYSTICK_")) {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).unwrap()
    }

    /// A command that fails with `code` and says all of `parts`.
    #[track_caller]
    pub fn refused(&self, args: &[&str], code: i32, parts: &[&str]) {
        let output = self.run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert_eq!(text(&output.stdout), "", "{args:?} prints data though it failed");
        for part in parts {
            assert!(said.contains(part), "{args:?} does not say {part:?}: {said}");
        }
    }

    /// Starts `serve` on a free port and waits until it listens.
    pub fn serve(&self) -> Served {
        self.serve_on("127.0.0.1:0")
    }

    /// Starts `serve` on `address` and waits until it listens.
    pub fn serve_on(&self, address: &str) -> Served {
        self.serve_dir("shop", address)
    }

    /// Starts `serve` for the node in `dir` on `address` and waits until it listens.
    pub fn serve_dir(&self, dir: &str, address: &str) -> Served {
        let mut child = self
            .command(&["serve", dir, "--listen", address, "--workers", "1"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let url = loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "serve ended: {seen}");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().to_owned();
            }
            seen.push_str(&line);
        };
        Served {
            child,
            lines,
            url,
            seen,
        }
    }

    /// The bearer key that `init` gave: `till_key` or `office_key`.
    pub fn key(&self, which: &str) -> &str {
        self.made[which].as_str().unwrap()
    }

    pub fn campaign(&self, node: &[&str]) -> String {
        // The same terms signed within the same second would be the same campaign.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("Spring {}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut args = vec!["campaign", "create", "--name", &name, "--text", "2 EUR off"];
        args.extend(["--currency", "EUR", "--amount-off", "200", "--not-after", "+30d"]);
        args.extend(node);
        self.done(&args).trim().to_owned()
    }
}

/// A node in a process of its own; it ends when this is dropped.
pub struct Served {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    url: String,
    /// What it said before it listened.
    seen: String,
}

impl Served {
    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn checkpoint(&self) -> String {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let answer = reqwest::blocking::get(format!("{}/checkpoint", self.url)).unwrap();
        answer.text().unwrap()
    }

    /// Sends a signal; the exit code, and what was said from the start on.
    pub fn signal(self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        self.all_said()
    }

    /// Waits until it ends by itself; the exit code, and what was said from the start on.
    #[track_caller]
    pub fn ended(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < 4 * PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.all_said()
    }

    fn all_said(mut self) -> (Option<i32>, String) {
        let mut said = std::mem::take(&mut self.seen);
        self.lines.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A sale of 1.44 EUR at till-1.
pub fn sale() -> Value {
    json!({"register": "till-1", "till_reference": "2026-03-07/000812", "type": "sale", "currency": "EUR",
        "prices_include_tax": true,
        "lines": [{"description": "Äpfel Topaz", "quantity": "0.482", "unit": "kg", "unit_price": "2.99",
            "total": 144, "tax_rate": "7.00"}],
        "taxes": [{"rate": "7.00", "net": 135, "tax": 9}],
        "tenders": [{"kind": "cash", "amount": 144}], "total": 144})
}

#[test]
fn init_makes_an_owner_only_directory_once() {
    let place = Place::new();
    let shop = place.shop();
    for dir in [&shop, &shop.join("keys"), &shop.join("store")] {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    let guard = place.dir.path().join("shop.guard");
    let files = [
        "config.toml",
        "keys/credential.pem",
        "keys/log.pem",
        "keys/access.json",
    ];
    for file in files.iter().map(|name| shop.join(name)).chain([guard.clone()]) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert!(!shop.join("init-unfinished").exists());
    assert_eq!(place.made["register"], "till-1");
    assert!(place.key("till_key").starts_with("till_"));
    assert!(place.key("office_key").starts_with("office_"));
    for vkey in ["vkey", "witness_vkey"] {
        assert!(place.key(vkey).starts_with("127.0.0.1:8080+"), "{vkey}");
    }
    assert_ne!(place.made["vkey"], place.made["witness_vkey"]);
    place.refused(
        &["init", "shop"],
        1,
        &["shop is not empty", "nothing is overwritten"],
    );
    fs::remove_dir_all(&shop).unwrap();
    place.refused(&["init", "shop"], 1, &["shop.guard is there already"]);
    place.refused(
        &["init", "other", "--base-url", "http://coop.example"],
        2,
        &["--base-url", "loopback"],
    );
    place.refused(&["init", "missing/shop"], 1, &["make it first"]);
}

#[test]
fn an_init_that_did_not_finish_says_how_to_clean_up() {
    let place = Place::new();
    fs::write(place.shop().join("init-unfinished"), "").unwrap();
    place.refused(&["serve", "shop"], 1, &["did not finish", "remove ", "init"]);
    place.refused(&["init", "shop"], 1, &["did not finish", "remove shop"]);
}

#[test]
fn serve_ends_cleanly_on_a_signal_and_keeps_what_was_answered() {
    let place = Place::new();
    fs::write(place.dir.path().join("sale.json"), sale().to_string()).unwrap();
    let mut issued = Vec::new();
    for signal in ["-TERM", "-INT"] {
        let served = place.serve();
        let args = [
            "receipt",
            "sale.json",
            "--json",
            "--node",
            &served.url,
            "--key",
            place.key("till_key"),
        ];
        issued.push(place.json(&args));
        // A connection that idles does not hold the node up.
        let idle = std::net::TcpStream::connect(served.url.trim_start_matches("http://")).unwrap();
        let asked = Instant::now();
        let (code, said) = served.signal(signal);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("stopped"), "{said}");
        assert!(asked.elapsed() < PATIENCE);
        drop(idle);
    }
    // One till reference: the second process found the first one's receipt.
    assert_eq!(issued[0], issued[1]);
    assert_eq!(issued[0]["sequence_number"], 1);
}

#[test]
fn keys_are_added_and_revoked_while_the_node_runs() {
    let place = Place::new();
    let served = place.serve();
    let added = place.json(&[
        "key",
        "add",
        "shop",
        "--role",
        "office",
        "--label",
        "second desk",
        "--json",
    ]);
    let key = added["key"].as_str().unwrap();
    let list = ["campaign", "list", "--node", &served.url, "--key", key];
    let create = |name: &str| {
        let terms = [
            "campaign",
            "create",
            "--name",
            name,
            "--currency",
            "EUR",
            "--amount-off",
            "5",
        ];
        let rest = ["--not-after", "+1d", "--node", &served.url, "--key", key];
        place.run(&[&terms[..], &rest].concat())
    };
    wait_for(|| create("added").status.success());
    assert!(place.done(&list).contains("added"));
    let id = added["id"].as_str().unwrap();
    place.done(&["key", "revoke", "shop", id]);
    wait_for(|| !create("revoked").status.success());
    let listed = place.done(&["key", "list", "shop"]);
    assert!(
        listed.contains("second desk") && listed.contains("revoked 2"),
        "{listed}"
    );
    assert!(!listed.contains(key));
    place.refused(
        &["key", "revoke", "shop", "00000000"],
        1,
        &["no access key with the id"],
    );
    place.refused(&["key", "add", "shop", "--role", "till"], 2, &["--register"]);
    place.refused(
        &["key", "add", "shop", "--role", "auditor", "--register", "x"],
        2,
        &["leave out"],
    );
}

/// Until a condition holds; the command that is tried again is pause enough.
#[track_caller]
fn wait_for(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "it never came");
        std::thread::yield_now();
    }
}

/// The same commands against a URL and against a directory.
fn a_coupons_life(place: &Place, office: &[&str], till: &[&str]) {
    let with = |args: &[&str], node: &[&str]| -> Vec<String> {
        args.iter().chain(node).map(ToString::to_string).collect()
    };
    let json = |args: &[&str], node: &[&str]| {
        let args = with(&[args, &["--json"]].concat(), node);
        place.json(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let campaign = place.campaign(office);
    let issued = json(&["issue", &campaign, "--count", "2"], office);
    let coupons: Vec<&str> = (0..2)
        .map(|i| issued["coupons"][i]["qr"].as_str().unwrap())
        .collect();
    let basket = ["--total", "2500", "--currency", "EUR"];
    let check = json(&[&["redeem", coupons[0], "--check"][..], &basket].concat(), till);
    assert_eq!((&check["valid"], &check["amount"]), (&json!(true), &json!(200)));

    let asked = with(&[&["redeem", coupons[0], "--check"][..], &basket].concat(), till);
    let asked = place.done(&asked.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(asked, "would work: amount 2.00 EUR\n");

    let redeem = |coupon: &str, key: &str| {
        let call = ["redeem", coupon, "--register", "till-1", "--idempotency-key", key];
        with(&[&call[..], &basket].concat(), till)
    };
    let run = |args: &[String]| place.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let first = run(&redeem(coupons[0], "one"));
    assert!(first.status.success(), "{}", text(&first.stderr));
    // The same key is the same call; another one finds the coupon used.
    assert_eq!(run(&redeem(coupons[0], "one")).stdout, first.stdout);
    let second = run(&redeem(coupons[0], "two"));
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains("used up") && said.contains("till-1"), "{said}");

    let shown = text(&first.stdout);
    let id = shown.lines().next().unwrap().strip_prefix("redemption ").unwrap();
    let reversed = json(&["reverse", id, "--give-back"], till);
    assert_eq!(reversed["amount"], 200);
    assert!(run(&redeem(coupons[0], "three")).status.success());

    let name = issued["coupons"][1]["name"].as_str().unwrap();
    assert_eq!(
        json(&["revoke", "--name", name, "--reason", "lost"], office)["changed"],
        1
    );
    let refused = run(&redeem(coupons[1], "four"));
    assert!(
        text(&refused.stderr).contains("coupon_revoked"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_coupon_lives_against_a_url() {
    let place = Place::new();
    let served = place.serve();
    let office = ["--node", &served.url, "--key", place.key("office_key")];
    let till = ["--node", &served.url, "--key", place.key("till_key")];
    a_coupons_life(&place, &office, &till);
    let (code, said) = served.signal("-TERM");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_coupon_lives_against_a_directory() {
    let place = Place::new();
    a_coupons_life(&place, &["--node", "shop"], &["--node", "shop"]);
}

#[test]
fn an_open_directory_is_left_to_the_process_that_has_it() {
    let place = Place::new();
    let served = place.serve();
    let list = ["campaign", "list", "--node", "shop"];
    place.refused(
        &list,
        1,
        &["shop is open in another process", "--node http://127.0.0.1:8080"],
    );
    place.refused(
        &["serve", "shop", "--listen", "127.0.0.1:0"],
        1,
        &["is open in another process", "stop that process"],
    );
    let address = served.url.trim_start_matches("http://").to_owned();
    place.refused(
        &["serve", "shop", "--listen", &address],
        1,
        &["cannot listen on", "--listen"],
    );
    drop(served);
    assert_eq!(
        place.json(&["campaign", "list", "--node", "shop", "--json"])["campaigns"],
        json!([])
    );
}

#[test]
fn a_wrong_setting_is_named_with_its_remedy() {
    let place = Place::new();
    let file = place.shop().join("config.toml");
    let right = fs::read_to_string(&file).unwrap();
    let line = right.lines().count() + 1;
    for (wrong, said) in [
        ("workers = \"two\"", "workers = 2"),
        ("lisen = \"127.0.0.1:1\"", "Did you mean listen?"),
        ("algorithm = \"rsa\"", "algorithm = \"eddsa\""),
    ] {
        fs::write(&file, format!("{right}{wrong}\n")).unwrap();
        place.refused(
            &["serve", "shop"],
            1,
            &["config.toml", &format!("line {line}: "), said],
        );
    }
    fs::write(
        &file,
        right.replace("http://127.0.0.1:8080", "http://127.0.0.1:8081"),
    )
    .unwrap();
    place.refused(
        &["campaign", "list", "--node", "shop"],
        1,
        &["base_url", "http://127.0.0.1:8080", "set it back"],
    );
    fs::write(&file, &right).unwrap();
    let mut command = place.command(&["serve", "shop"]);
    let output = command.env("TALLYSTICK_LOG_LEVEL", "loud").output().unwrap();
    assert!(text(&output.stderr).contains("log_level from the command line or the environment"));
    fs::remove_file(&file).unwrap();
    place.refused(&["serve", "shop"], 1, &["config.toml", "restore it"]);
    place.refused(
        &["serve", "nowhere"],
        1,
        &["there is no directory nowhere", "init"],
    );
    fs::create_dir(place.dir.path().join("empty")).unwrap();
    place.refused(&["serve", "empty"], 1, &["is no node's directory"]);
}

#[test]
fn keys_that_are_missing_or_open_to_others_are_refused() {
    let place = Place::new();
    let key = place.shop().join("keys/log.pem");
    let list = ["campaign", "list", "--node", "shop"];
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    place.refused(&list, 1, &["log.pem has mode 0644", "chmod 600"]);
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let pem = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    place.refused(&list, 1, &["log.pem is missing", "backup"]);
    let mut file = fs::File::create(&key).unwrap();
    file.write_all(&pem).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    place.done(&list);
    let mut command = place.command(&list);
    let output = command.env("TALLYSTICK_KEY_PASSPHRASE", "x").output().unwrap();
    assert!(
        text(&output.stderr).contains("are not encrypted"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_store_behind_its_guard_or_without_it_is_refused() {
    let place = Place::new();
    let backup = place.dir.path().join("backup");
    copy(&place.shop().join("store"), &backup);
    place.campaign(&["--node", "shop"]);
    fs::remove_dir_all(place.shop().join("store")).unwrap();
    copy(&backup, &place.shop().join("store"));
    let list = ["campaign", "list", "--node", "shop"];
    place.refused(
        &list,
        1,
        &["entries, but", "were signed", "put the newer store back"],
    );
    fs::remove_file(place.dir.path().join("shop.guard")).unwrap();
    place.refused(&list, 1, &["guard file", "shop.guard is missing", "put it back"]);
}

#[test]
fn a_lost_guard_file_is_made_again_from_a_checkpoint_of_this_log_only() {
    let place = Place::new();
    let file = |name: &str| place.dir.path().join(name);
    place.campaign(&["--node", "shop"]);
    let served = place.serve();
    fs::write(file("checkpoint.txt"), served.checkpoint()).unwrap();
    assert_eq!(served.signal("-TERM").0, Some(0));
    let recover = ["recover", "shop", "--checkpoint", "checkpoint.txt"];
    place.refused(&recover, 1, &["the guard file", "is there already"]);
    fs::remove_file(file("shop.guard")).unwrap();
    // The word of another node's log counts for nothing.
    let other = Place::at("http://127.0.0.1:8081");
    let served = other.serve();
    fs::write(file("foreign.txt"), served.checkpoint()).unwrap();
    place.refused(
        &["recover", "shop", "--checkpoint", "foreign.txt"],
        1,
        &["no checkpoint that this node has signed"],
    );
    let done = place.done(&recover);
    assert!(done.contains("agrees with the checkpoint at 2 entries"), "{done}");
    place.campaign(&["--node", "shop", "--budget", "1000"]);
    assert_eq!(place.json(&["audit", "shop", "--json"])["verdict"], "clean");
    // The store alone does not say how long it has to be; a checkpoint does.
    let alone = |more: &[&str]| {
        place
            .run(&[&["audit", "shop/store"], more].concat())
            .status
            .code()
    };
    assert_eq!(alone(&[]), Some(21));
    assert_eq!(alone(&["--checkpoint", "checkpoint.txt"]), Some(0));
    assert_eq!(alone(&["--checkpoint", "foreign.txt"]), Some(20));
    assert_eq!(alone(&["--checkpoint", "shop/config.toml"]), Some(1));
}

#[test]
fn an_audit_takes_the_guard_file_that_the_settings_name() {
    let place = Place::new();
    fs::create_dir(place.dir.path().join("safe")).unwrap();
    place.done(&["init", "other", "--guard", "safe/other.guard"]);
    let audited = place.json(&["audit", "other", "--json"]);
    assert_eq!(audited["verdict"], "clean", "{audited}");
    let source = audited["compared_with"][0]["source"].as_str().unwrap();
    assert!(source.contains("safe/other.guard"), "{source}");
    // Settings that cannot be read must not turn into an audit without a guard.
    fs::write(place.dir.path().join("other/config.toml"), "nonsense").unwrap();
    place.refused(&["audit", "other"], 1, &["config.toml", "--guard FILE"]);
    place.done(&["audit", "other", "--guard", "safe/other.guard"]);
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn qr_draws_what_issue_prints() {
    let place = Place::new();
    let campaign = place.campaign(&["--node", "shop"]);
    let line = place.done(&["issue", &campaign, "--node", "shop"]);
    let (_, qr) = line.trim().split_once('\t').unwrap();
    fs::write(place.dir.path().join("coupon.txt"), qr).unwrap();
    let drawn = place.done(&["qr", qr]);
    assert!(drawn.contains('▀') && drawn.lines().count() > 25);
    assert_eq!(place.done(&["qr", "coupon.txt"]), drawn);
    assert_eq!(
        place.done(&["qr", "coupon.txt", "--svg", "c.svg", "--png", "c.png"]),
        ""
    );
    assert!(
        fs::read_to_string(place.dir.path().join("c.svg"))
            .unwrap()
            .starts_with("<svg")
    );
    assert!(
        fs::read(place.dir.path().join("c.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    for junk in ["hello", &format!("{qr}x"), "123", ""] {
        place.refused(&["qr", junk], 1, &["no QR text"]);
    }
}

#[test]
fn wrong_usage_and_unreachable_nodes_are_said_plainly() {
    let place = Place::new();
    place.refused(&["redeem", "1"], 2, &["--node", "--total"]);
    place.refused(
        &["campaign", "show", "../coupons", "--node", "shop"],
        2,
        &["an id has letters"],
    );
    let relative = [
        "issue",
        "x",
        "--not-after",
        "+1d",
        "--idempotency-key",
        "k",
        "--node",
        "shop",
    ];
    place.refused(&relative, 2, &["absolute times"]);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    place.refused(
        &["campaign", "list", "--node", &url],
        1,
        &["cannot be reached", "tallystick serve"],
    );
    let served = place.serve();
    place.refused(
        &["issue", "x", "--node", &served.url, "--key", "wrong"],
        1,
        &["access key", "(access_key_unknown)"],
    );
    let till = ["--node", &served.url, "--key", place.key("till_key")];
    place.refused(&[&["issue", "x"][..], &till].concat(), 1, &["(role_forbidden)"]);
}
