//! Five nodes whose lines are cut, lose answers and are slow, whose processes are
//! killed, and one of which has a full disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{NODES, Playground, all_match, client, text};
use crate::reliability::full_disk::Disk;

const COUPONS: usize = 16;
/// Tills at work at a time.
const TILLS: usize = 6;
/// Until everything has to be known.
const WITHIN: Duration = Duration::from_secs(120);
/// Room for a node's store and its guard.
const DISK_KIBIBYTES: u64 = 16 * 1024;
/// The node whose disk gets full.
const FULL: usize = 2;
/// Receipts take up the room that the store has set aside already: far fewer do.
const RECEIPTS_MAX: usize = 5_000;
const LINES: usize = 40;

/// Asks once; the status and the answer, `None` where the node is not there.
fn ask(http: &reqwest::blocking::Client, at: &Value, coupon: &str, reference: &str) -> Option<(u16, Value)> {
    let body = json!({"coupon": coupon, "register": "till-1", "till_reference": reference,
                      "basket": {"total": 2_500, "currency": "EUR"}});
    let answer = http
        .post(format!("{}/v1/redemptions", text(at, "url")))
        .bearer_auth(text(at, "till_key"))
        .header("idempotency-key", reference)
        .json(&body)
        .send()
        .ok()?;
    Some((answer.status().as_u16(), answer.json().unwrap_or_default()))
}

/// Redeems until the outcome is known, whatever happens to nodes and lines meanwhile.
fn redeem(
    http: &reqwest::blocking::Client,
    at: &Value,
    coupon: &str,
    reference: &str,
    until: Instant,
) -> Value {
    loop {
        match ask(http, at, coupon, reference) {
            Some((201, answer)) => return answer,
            // The outcome is not known, or the first call is still being worked on.
            None | Some((503 | 409, _)) => {}
            Some((status, answer)) => panic!("{reference}: {status} {answer}"),
        }
        assert!(Instant::now() < until, "{reference} never became known");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wait(holds: impl Fn() -> bool, patience: Duration) {
    let until = Instant::now() + patience;
    while !holds() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sells at a node whose disk is full until it stops; gives the references of what was
/// answered with a receipt.
fn sell_until_it_stops(http: &reqwest::blocking::Client, node: &Value) -> Vec<String> {
    let line = json!({"description": "Äpfel Topaz", "quantity": "1", "unit": "piece", "total": 1});
    let mut sold = Vec::new();
    for number in 0..RECEIPTS_MAX {
        let reference = format!("sale/{number}");
        let body = json!({
            "register": "till-1", "till_reference": reference, "type": "sale", "currency": "EUR",
            "prices_include_tax": true, "lines": vec![&line; LINES], "taxes": [],
            "tenders": [{"kind": "cash", "amount": LINES}], "total": LINES,
        });
        let answer = http
            .post(format!("{}/v1/receipts", text(node, "url")))
            .bearer_auth(text(node, "till_key"))
            .header("idempotency-key", &reference)
            .json(&body)
            .send();
        let Ok(answer) = answer else { return sold };
        match answer.status().as_u16() {
            201 => sold.push(reference),
            503 => assert_eq!(answer.json::<Value>().unwrap()["code"], "stopped"),
            other => panic!("{other} {:?}", answer.text()),
        }
    }
    panic!("{RECEIPTS_MAX} receipts were issued on a full disk");
}

fn is_sold(http: &reqwest::blocking::Client, node: &Value, reference: &str) -> bool {
    let answer = http
        .get(format!(
            "{}/v1/receipts?register=till-1&till_reference={reference}",
            text(node, "url")
        ))
        .bearer_auth(text(node, "till_key"))
        .send()
        .unwrap();
    answer.status().is_success()
}

/// Fills the disk of a node, lets it stop, and makes room again.
fn full_disk(
    playground: &mut Playground,
    disk: &Disk,
    http: &reqwest::blocking::Client,
    (spare_of_full, spare_of_other): (&str, &str),
    until: Instant,
) {
    let (full, other) = (playground.nodes[FULL].clone(), playground.nodes[0].clone());
    let name = text(&full, "name");
    disk.fill();
    let sold = sell_until_it_stops(http, &full);
    assert!(!sold.is_empty());
    let state = format!("{name}  {}", text(&full, "url"));
    while !playground
        .ask("status", |line| line.starts_with(&state))
        .ends_with("does not run")
    {
        assert!(Instant::now() < until, "{name} still runs");
    }
    let said = std::fs::read_to_string(playground.dir.join(format!("{name}.log"))).unwrap();
    for words in ["the writer has stopped", "the disk is full: free some space"] {
        assert!(said.contains(words), "{said}");
    }
    // Its coupons are asked for in vain, and what it shall redeem has to wait.
    let (status, answer) = ask(http, &other, spare_of_full, "full/issuer").unwrap();
    assert_eq!(
        (status, &answer["code"]),
        (503, &json!("outcome_unknown")),
        "{answer}"
    );
    assert!(ask(http, &full, spare_of_other, "full/redeemer").is_none());
    disk.free();
    playground.command(&format!("start {name}"));
    for reference in &sold {
        assert!(
            is_sold(http, &full, reference),
            "{reference} was answered and is gone"
        );
    }
    redeem(http, &other, spare_of_full, "full/issuer", until);
    redeem(http, &full, spare_of_other, "full/redeemer", until);
}

#[test]
fn lines_nodes_and_a_disk_fail_and_every_half_has_its_other_half() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::of_kibibytes(DISK_KIBIBYTES);
    if let Some(disk) = &disk {
        std::fs::create_dir(disk.shop()).unwrap();
        let place = dir.path().join(format!("coop-{}", FULL + 1));
        std::os::unix::fs::symlink(disk.shop(), place).unwrap();
    }
    // One more each than the tills redeem.
    let coupons = (COUPONS + 1).to_string();
    let mut playground = Playground::start(dir.path(), &["--coupons", &coupons]);
    let nodes = playground.nodes.clone();
    let coupon = |issuer: usize, which: usize| nodes[issuer]["coupons"][which].as_str().unwrap();
    let (http, until) = (client(), Instant::now() + WITHIN);
    let sales: Vec<(usize, usize, usize)> = (0..COUPONS)
        .flat_map(|coupon| {
            (0..NODES).map(move |issuer| (issuer, (issuer + 1 + coupon % (NODES - 1)) % NODES, coupon))
        })
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..TILLS {
            scope.spawn(|| {
                while let Some(&(issuer, at, which)) = sales.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let reference = format!("{issuer}/{which}");
                    let made = redeem(&http, &nodes[at], coupon(issuer, which), &reference, until);
                    assert_eq!(made["amount"], 200);
                }
            });
        }
        for (share, command) in [
            (10, "cut coop-1 coop-2"),
            (20, "kill coop-3"),
            (25, "lose coop-4 coop-5"),
            (25, "start coop-3"),
            (30, "kill coop-1"),
            (35, "start coop-1"),
            (40, "delay coop-2 coop-3 40"),
            (40, "delay coop-3 coop-5 150"),
            (45, "kill coop-5"),
            (50, "heal coop-1 coop-2"),
            (50, "start coop-5"),
        ] {
            // What waits for a line that is cut must not hold up the story.
            let done = || next.load(Ordering::SeqCst) >= sales.len() * share / 100;
            wait(done, Duration::from_secs(3));
            playground.command(command);
        }
        if let Some(disk) = &disk {
            let spare = (coupon(FULL, COUPONS), coupon(0, COUPONS));
            full_disk(&mut playground, disk, &http, spare, until);
        }
        for line in ["coop-4 coop-5", "coop-2 coop-3", "coop-3 coop-5"] {
            playground.command(&format!("heal {line}"));
        }
    });
    let redeemed = NODES * COUPONS + if disk.is_some() { 2 } else { 0 };
    assert_eq!(all_match(&http, &nodes), redeemed);
    let compared = playground.compared();
    assert_eq!(
        (&compared["matched"], &compared["unmatched"], &compared["open"]),
        (&json!(redeemed), &json!(0), &json!(0)),
        "{compared}"
    );
    playground.end_and_audit();
}
