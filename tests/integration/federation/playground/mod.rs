//! Real processes: federations of `tallystick playground` whose lines are cut, lose
//! answers or are slow, whose processes are killed and whose disks are full, while
//! redemptions go on. Afterwards every half has its other half.

mod journey;
mod trouble;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use tallystick::ledger::{Event, Place};
use tallystick::log::{Entry, entry_hash};

const BINARY: &str = env!("CARGO_BIN_EXE_tallystick");
const NODES: usize = 5;
/// Until the playground has done what it was told.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// The process with its nodes; what it prints comes line by line.
struct Playground {
    process: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// What came while an answer was waited for.
    kept: VecDeque<String>,
    nodes: Vec<Value>,
    dir: PathBuf,
}

impl Playground {
    /// Starts one whose nodes' directories are in `dir`.
    fn start(dir: &Path, args: &[&str]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut process = Command::new(BINARY)
            .args(["playground", "--json", "--nodes", &NODES.to_string(), "--dir"])
            .arg(dir)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut playground = Self {
            process,
            input,
            lines,
            kept: VecDeque::new(),
            nodes: Vec::new(),
            dir: dir.to_owned(),
        };
        let started = playground.line(DONE_WITHIN).expect("it starts");
        let started: Value = serde_json::from_str(&started).unwrap();
        playground.nodes = started["nodes"].as_array().unwrap().clone();
        playground
    }

    /// The next line that is no answer, if one comes in time.
    fn line(&mut self, within: Duration) -> Option<String> {
        self.kept.pop_front().or_else(|| self.next_line(within))
    }

    fn next_line(&self, within: Duration) -> Option<String> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the playground has ended"),
        }
    }

    /// Gives a command, and the answer that `is_answer` knows.
    fn ask(&mut self, command: &str, is_answer: impl Fn(&str) -> bool) -> String {
        writeln!(self.input, "{command}").unwrap();
        let until = Instant::now() + DONE_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self
                .next_line(left)
                .unwrap_or_else(|| panic!("no answer to {command}"));
            assert!(!line.contains("failed"), "{line}");
            if is_answer(&line) {
                return line;
            }
            self.kept.push_back(line);
        }
    }

    fn command(&mut self, command: &str) {
        let done = format!("done: {command}");
        self.ask(command, |line| line == done);
    }

    /// What the playground itself says of the halves.
    fn compared(&mut self) -> Value {
        let said = self.ask("compare", |line| line.starts_with('{'));
        serde_json::from_str(&said).unwrap()
    }

    /// Ends all nodes, and audits what they leave: all of it is clean.
    fn end_and_audit(mut self) {
        writeln!(self.input, "quit").unwrap();
        assert!(self.process.wait().unwrap().success());
        for number in 1..=NODES {
            let dir = self.dir.join(format!("coop-{number}"));
            let audited = Command::new(BINARY)
                .arg("audit")
                .arg(&dir)
                .arg("--json")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&audited.stderr);
            assert!(audited.status.success(), "{}: {said}", dir.display());
            let report: Value = serde_json::from_slice(&audited.stdout).unwrap();
            assert_eq!(report["verdict"], "clean", "{}: {report}", dir.display());
        }
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        // After a test that failed; its nodes end with the end of its input.
        if std::thread::panicking() {
            let _ = writeln!(self.input, "quit");
            let _ = self.process.wait();
        }
    }
}

fn client() -> reqwest::blocking::Client {
    reqwest::blocking::Client::builder().no_proxy().build().unwrap()
}

fn text<'a>(node: &'a Value, member: &str) -> &'a str {
    node[member].as_str().unwrap()
}

/// Request, issuer's entry and its hash, amount in minor units.
type Half = (String, u64, String, i64);

/// The halves in a node's log, by the other co-op: those it issued, those it redeemed.
fn halves(http: &reqwest::blocking::Client, node: &Value) -> [BTreeMap<String, Vec<Half>>; 2] {
    let [mut issued, mut redeemed] = [BTreeMap::<_, Vec<_>>::new(), BTreeMap::new()];
    for index in 0.. {
        let answer = http
            .get(format!("{}/v1/log/entries/{index}", text(node, "url")))
            .bearer_auth(text(node, "office_key"))
            .send()
            .unwrap();
        if answer.status().as_u16() == 404 {
            break;
        }
        let answer: Value = answer.json().unwrap();
        let bytes = BASE64URL_NOPAD.decode(text(&answer, "bytes").as_bytes()).unwrap();
        let entry = Entry::decode(&bytes).unwrap();
        match Event::from_body(entry.kind, &entry.body).unwrap().0 {
            Event::Redeemed(half) => {
                if let Place::Partner { request_id } = half.place {
                    let hash = entry_hash(&bytes).to_string();
                    let half_of = (request_id.to_string(), index, hash, half.amount.minor_units());
                    issued.entry(half.redeemer).or_default().push(half_of);
                }
            }
            Event::RedeemerHalf(half) => {
                let hash = half.issuer_hash.to_string();
                let half_of = (
                    half.id.to_string(),
                    half.issuer_entry,
                    hash,
                    half.amount.minor_units(),
                );
                redeemed.entry(half.issuer).or_default().push(half_of);
            }
            _ => {}
        }
    }
    for halves in issued.values_mut().chain(redeemed.values_mut()) {
        halves.sort();
    }
    [issued, redeemed]
}

/// How many redemptions have both halves, which are the same in every pair of logs.
fn all_match(http: &reqwest::blocking::Client, nodes: &[Value]) -> usize {
    let logs: Vec<_> = nodes.iter().map(|node| halves(http, node)).collect();
    let mut matched = 0;
    for (issuer, [issued, _]) in logs.iter().enumerate() {
        for (redeemer, [_, redeemed]) in logs.iter().enumerate() {
            let there = issued.get(text(&nodes[redeemer], "did"));
            let here = redeemed.get(text(&nodes[issuer], "did"));
            assert_eq!(there, here, "{issuer} and {redeemer}");
            matched += there.map_or(0, Vec::len);
        }
    }
    matched
}
