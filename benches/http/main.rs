//! Durable redemptions and receipts per second over HTTP on loopback, beside a
//! bare loop, in one run on the same cores.
//!
//! `cargo bench --bench http -- [--connections N] [--requests N] [--rounds N]`
//!
//! Each round sends the same number of requests to the bare loop and to the
//! node, one after the other; the order alternates from round to round. What is
//! printed is the median over the rounds, and the median of the rounds' ratios,
//! so that a noisy machine does not decide. The node is the program itself as
//! `tallystick serve` runs it, with its access checks, metrics and logging.

mod bare;
mod generator;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use generator::{Round, post};
use serde_json::{Value, json};

/// Workers of either server: as many as the cores of the machine that the
/// figures are asked for.
const WORKERS: usize = 2;

/// Set in the child process that is the bare loop.
const BARE: &str = "TALLYSTICK_BENCH_BARE";

struct Settings {
    connections: usize,
    requests: usize,
    rounds: usize,
}

fn settings() -> Settings {
    let mut settings = Settings {
        connections: 64,
        requests: 20_000,
        rounds: 5,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let place = match name.as_str() {
            "--connections" => &mut settings.connections,
            "--requests" => &mut settings.requests,
            "--rounds" => &mut settings.rounds,
            // Cargo's own.
            "--bench" => continue,
            other => panic!("{other} is not known: --connections, --requests, --rounds"),
        };
        let value = arguments.next().expect("a number after the name");
        *place = value.parse().expect("a number");
    }
    settings
}

/// A process that ends with this value.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() {
    if let Ok(directory) = std::env::var(BARE) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        actix_web::rt::System::new()
            .block_on(bare::serve(listener, WORKERS, Path::new(&directory)))
            .expect("the bare loop serves");
        return;
    }
    let settings = settings();
    let place = tempfile::tempdir().expect("a temporary directory");
    let bare = start_bare(place.path());
    let (node, till, office) = start_node(place.path());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime");
    // One round more than is counted: both servers warm up.
    let rounds = settings.rounds + 1;
    let coupons = runtime.block_on(issue(node.address, &office, settings.requests * rounds));
    let redemptions: Vec<Vec<Vec<u8>>> = coupons
        .chunks(settings.requests)
        .enumerate()
        .map(|(round, coupons)| redemption_requests(&till, round, coupons))
        .collect();
    let receipts: Vec<Vec<Vec<u8>>> = (0..rounds)
        .map(|round| receipt_requests(&office, round, settings.requests))
        .collect();
    println!(
        "{} connections, {} requests a round, {} rounds, {WORKERS} workers, generator on the same cores\n",
        settings.connections, settings.requests, settings.rounds
    );
    for (what, requests) in [("redemptions", redemptions), ("receipts", receipts)] {
        let measured = runtime.block_on(measure(&settings, bare.address, node.address, requests));
        report(what, &measured);
    }
}

fn start_bare(place: &Path) -> Server {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .env(BARE, place)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bare loop starts");
    let mut line = String::new();
    let out = child.stdout.take().expect("its output is piped");
    BufReader::new(out)
        .read_line(&mut line)
        .expect("it prints its address");
    Server {
        child,
        address: line.trim().parse().expect("an address"),
    }
}

fn start_node(place: &Path) -> (Server, String, String) {
    let program = env!("CARGO_BIN_EXE_tallystick");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let directory = place.join("node");
    let made = Command::new(program)
        .arg("init")
        .arg(&directory)
        .args(["--json", "--base-url", &format!("http://{address}")])
        .output()
        .expect("init runs");
    let made: Value = serde_json::from_slice(&made.stdout).expect("init prints JSON");
    let key = |name: &str| made[name].as_str().expect("init prints keys").to_owned();
    let child = Command::new(program)
        .arg("serve")
        .arg(&directory)
        .args([
            "--listen",
            &address.to_string(),
            "--workers",
            &WORKERS.to_string(),
        ])
        .stderr(Stdio::null())
        .spawn()
        .expect("serve runs");
    while TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    (Server { child, address }, key("till_key"), key("office_key"))
}

/// QR texts of `count` new coupons.
async fn issue(node: SocketAddr, office: &str, count: usize) -> Vec<String> {
    let client = |path: &str, name: String, body: Value| {
        let request = post(path, office, &name, &body.to_string());
        async move { generator::ask(node, &request).await }
    };
    let campaign = client(
        "/v1/campaigns",
        "campaign".to_owned(),
        json!({"name": "Bench", "text": "", "currency": "EUR",
               "benefit": {"kind": "amount_off", "amount": 200},
               "not_before": "2020-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z"}),
    )
    .await;
    let mut coupons = Vec::with_capacity(count);
    while coupons.len() < count {
        let ask = (count - coupons.len()).min(1_000);
        let body = json!({"campaign": campaign["id"], "count": ask});
        let answer = client("/v1/coupons", format!("coupons-{}", coupons.len()), body).await;
        let issued = answer["coupons"].as_array().expect("coupons");
        coupons.extend(
            issued
                .iter()
                .map(|coupon| coupon["qr"].as_str().expect("a QR text").to_owned()),
        );
    }
    coupons
}

fn redemption_requests(till: &str, round: usize, coupons: &[String]) -> Vec<Vec<u8>> {
    coupons
        .iter()
        .enumerate()
        .map(|(number, coupon)| {
            let name = format!("redemption-{round}-{number}");
            let body = json!({"coupon": coupon, "register": "till-1", "till_reference": name,
                              "basket": {"total": 2500, "currency": "EUR"}});
            post("/v1/redemptions", till, &name, &body.to_string())
        })
        .collect()
}

/// Receipts of five lines, some 700 bytes each, over 64 registers.
fn receipt_requests(office: &str, round: usize, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            let name = format!("receipt-{round}-{number}");
            let lines: Vec<Value> = (1..=5)
                .map(|line| {
                    json!({"description": format!("Article {line}"), "quantity": "1", "unit_price": "1.07",
                           "total": 107, "tax_rate": "7.00"})
                })
                .collect();
            let body = json!({"register": format!("lane-{}", number % 64), "till_reference": name, "type": "sale",
                "currency": "EUR", "prices_include_tax": true, "lines": lines,
                "taxes": [{"rate": "7.00", "net": 500, "tax": 35}],
                "tenders": [{"kind": "cash", "amount": 535}], "total": 535});
            post("/v1/receipts", office, &name, &body.to_string())
        })
        .collect()
}

/// Rounds of the bare loop and of the node.
async fn measure(
    settings: &Settings,
    bare: SocketAddr,
    node: SocketAddr,
    requests: Vec<Vec<Vec<u8>>>,
) -> Vec<(Round, Round)> {
    let mut measured = Vec::new();
    for (number, requests) in requests.into_iter().enumerate() {
        let requests = Arc::new(requests);
        let run = |server| generator::run(server, settings.connections, Arc::clone(&requests));
        let (of_bare, of_node) = if number % 2 == 0 {
            let first = run(bare).await;
            (first, run(node).await)
        } else {
            let first = run(node).await;
            (run(bare).await, first)
        };
        assert_eq!(of_node.failed, 0, "the node refused requests");
        assert_eq!(of_bare.failed, 0, "the bare loop refused requests");
        if number > 0 {
            measured.push((of_bare, of_node));
        }
    }
    measured
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(what: &str, measured: &[(Round, Round)]) {
    let of = |value: &dyn Fn(&(Round, Round)) -> f64| median(measured.iter().map(value).collect());
    let ms = |round: &Round, q: f64| round.quantile(q).as_secs_f64() * 1e3;
    println!("{what:<12} per second   p50 ms   p99 ms");
    println!(
        "  bare loop  {:>10.0} {:>8.2} {:>8.2}",
        of(&|(bare, _)| bare.per_second()),
        of(&|(bare, _)| ms(bare, 0.5)),
        of(&|(bare, _)| ms(bare, 0.99))
    );
    println!(
        "  node       {:>10.0} {:>8.2} {:>8.2}",
        of(&|(_, node)| node.per_second()),
        of(&|(_, node)| ms(node, 0.5)),
        of(&|(_, node)| ms(node, 0.99))
    );
    println!(
        "  ratio      {:>10.2}\n",
        of(&|(bare, node)| node.per_second() / bare.per_second())
    );
}
