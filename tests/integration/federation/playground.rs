//! Real processes: a federation of five nodes whose lines are cut and whose processes
//! are killed while redemptions go on. Afterwards every half has its other half.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tallystick::ledger::{Event, Place};
use tallystick::log::{Entry, entry_hash};

const NODES: usize = 5;
const COUPONS: usize = 16;
/// Tills at work at a time.
const TILLS: usize = 6;
/// Until everything has to be known.
const WITHIN: Duration = Duration::from_secs(90);

struct Playground {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    nodes: Vec<Value>,
}

impl Playground {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tallystick"))
            .args(["playground", "--json", "--nodes", &NODES.to_string()])
            .args(["--coupons", &COUPONS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line).unwrap();
        Self {
            process,
            input,
            output,
            nodes: started["nodes"].as_array().unwrap().clone(),
        }
    }

    fn command(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), format!("done: {command}"));
    }

    fn end(mut self) {
        writeln!(self.input, "quit").unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

fn text<'a>(node: &'a Value, member: &str) -> &'a str {
    node[member].as_str().unwrap()
}

/// Redeems until the outcome is known, whatever happens to nodes and lines meanwhile.
fn redeem(
    http: &reqwest::blocking::Client,
    at: &Value,
    coupon: &str,
    reference: &str,
    until: Instant,
) -> Value {
    let body = json!({"coupon": coupon, "register": "till-1", "till_reference": reference,
                      "basket": {"total": 2_500, "currency": "EUR"}});
    loop {
        let sent = http
            .post(format!("{}/v1/redemptions", text(at, "url")))
            .bearer_auth(text(at, "till_key"))
            .header("idempotency-key", reference)
            .json(&body)
            .send();
        if let Ok(answer) = sent {
            let status = answer.status().as_u16();
            let answer: Value = answer.json().unwrap_or_default();
            match status {
                201 => return answer,
                // The outcome is not known, or the first call is still being worked on.
                503 | 409 => {}
                _ => panic!("{reference}: {status} {answer}"),
            }
        }
        assert!(Instant::now() < until, "{reference} never became known");
        std::thread::sleep(Duration::from_millis(50));
    }
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

#[test]
fn lines_are_cut_and_nodes_killed_and_every_half_has_its_other_half() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut playground = Playground::start();
    let nodes = playground.nodes.clone();
    let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let until = Instant::now() + WITHIN;
    let sales: Vec<(usize, usize, usize)> = (0..COUPONS)
        .flat_map(|coupon| {
            (0..NODES).map(move |issuer| (issuer, (issuer + 1 + coupon % (NODES - 1)) % NODES, coupon))
        })
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..TILLS {
            scope.spawn(|| {
                while let Some((issuer, at, coupon)) = sales.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let text = nodes[*issuer]["coupons"][*coupon].as_str().unwrap();
                    let made = redeem(&http, &nodes[*at], text, &format!("{issuer}/{coupon}"), until);
                    assert_eq!(made["amount"], 200);
                }
            });
        }
        let done = |share: usize| next.load(Ordering::SeqCst) >= sales.len() * share / 100;
        let wait = |share: usize| {
            while !done(share) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        for (share, command) in [
            (10, "cut coop-1 coop-2"),
            (20, "kill coop-3"),
            (25, "lose coop-4 coop-5"),
            (25, "start coop-3"),
            (30, "kill coop-1"),
            (35, "start coop-1"),
            (40, "delay coop-2 coop-3 40"),
            (50, "kill coop-5"),
            (55, "heal coop-1 coop-2"),
            (55, "start coop-5"),
        ] {
            // What waits for a line that is cut must not hold up the story.
            let patience = Instant::now() + Duration::from_secs(3);
            while !done(share) && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(20));
            }
            playground.command(command);
        }
        playground.command("heal coop-4 coop-5");
        playground.command("heal coop-2 coop-3");
        wait(100);
    });
    let logs: Vec<_> = nodes.iter().map(|node| halves(&http, node)).collect();
    let mut matched = 0;
    for (issuer, [issued, _]) in logs.iter().enumerate() {
        for (redeemer, [_, redeemed]) in logs.iter().enumerate() {
            let there = issued.get(text(&nodes[redeemer], "did"));
            let here = redeemed.get(text(&nodes[issuer], "did"));
            assert_eq!(there, here, "{issuer} and {redeemer}");
            matched += there.map_or(0, Vec::len);
        }
    }
    assert_eq!(matched, NODES * COUPONS);
    playground.end();
}
