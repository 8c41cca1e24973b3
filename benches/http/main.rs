//! Durable redemptions and receipts per second over HTTP on loopback, beside a
//! bare loop, in one run on the same cores.
//!
//! `cargo bench --bench http -- [--connections N[,N…]] [--requests N] [--rounds N]
//! [--only redemptions|receipts] [--quick]`
//!
//! Each round sends the same number of requests to the bare loop and to the
//! node, one after the other; the order alternates from round to round. What is
//! printed is the median over the rounds, and the median of the rounds' ratios,
//! so that a noisy machine does not decide. The node is the program itself as
//! `tallystick serve` runs it, with its access checks, metrics and logging. The
//! processor time a request takes is the server's alone, without the generator's.

mod bare;
#[path = "../support/generator.rs"]
mod generator;
#[path = "../support/servers.rs"]
mod servers;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use generator::Round;
use servers::{ServedNode, Server, median};

/// The bare loop gets the node's allocator too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Workers of either server: as many as the cores of the machine that the
/// figures are asked for.
const WORKERS: usize = 2;

/// Set in the child process that is the bare loop.
const BARE: &str = "TALLYSTICK_BENCH_BARE";

struct Settings {
    connections: Vec<usize>,
    requests: usize,
    rounds: usize,
    only: Option<String>,
}

fn settings() -> Settings {
    let mut settings = Settings {
        connections: vec![16, 64, 256],
        requests: 20_000,
        rounds: 5,
        only: None,
    };
    let number = |text: &str| text.parse().expect("a number");
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().expect("a value after the name");
        match name.as_str() {
            "--connections" => settings.connections = value().split(',').map(number).collect(),
            "--requests" => settings.requests = number(&value()),
            "--rounds" => settings.rounds = number(&value()),
            "--only" => settings.only = Some(value()),
            "--quick" => (settings.requests, settings.rounds) = (1_000, 1),
            // Cargo's own.
            "--bench" => {}
            other => panic!("{other} is not known: --connections, --requests, --rounds, --only, --quick"),
        }
    }
    settings
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
    let node = ServedNode::start(place.path(), WORKERS);
    // One round more than is counted: both servers warm up.
    let rounds = settings.rounds + 1;
    println!(
        "{} requests a round, {} rounds, {WORKERS} workers, generator on the same cores",
        settings.requests, settings.rounds
    );
    for what in ["redemptions", "receipts"] {
        if settings.only.as_deref().is_some_and(|only| only != what) {
            continue;
        }
        let of_all = rounds * settings.connections.len();
        let requests: Vec<Vec<Vec<u8>>> = if what == "redemptions" {
            let coupons = node.issue(settings.requests * of_all);
            let of_round =
                |(round, coupons): (usize, &[String])| node.redemptions(&round.to_string(), coupons);
            coupons
                .chunks(settings.requests)
                .enumerate()
                .map(of_round)
                .collect()
        } else {
            (0..of_all)
                .map(|round| node.receipts(&round.to_string(), settings.requests))
                .collect()
        };
        for (connections, requests) in settings.connections.iter().zip(requests.chunks(rounds)) {
            let measured = measure(*connections, &bare, &node.server, requests);
            report(what, *connections, &measured);
        }
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

/// A round with the processor time that its server took for a request, in microseconds.
struct Measured {
    round: Round,
    processor_us: f64,
}

fn run(connections: usize, server: &Server, requests: &[Vec<u8>]) -> Measured {
    let before = server.processor_seconds();
    let round = generator::run(server.address, connections, requests);
    assert_eq!(round.failed, 0, "requests were refused");
    let spent = server.processor_seconds() - before;
    Measured {
        processor_us: spent * 1e6 / round.requests as f64,
        round,
    }
}

/// Rounds of the bare loop and of the node; the first is not counted.
fn measure(
    connections: usize,
    bare: &Server,
    node: &Server,
    requests: &[Vec<Vec<u8>>],
) -> Vec<(Measured, Measured)> {
    let mut measured = Vec::new();
    for (number, requests) in requests.iter().enumerate() {
        let (of_bare, of_node) = if number % 2 == 0 {
            let first = run(connections, bare, requests);
            (first, run(connections, node, requests))
        } else {
            let first = run(connections, node, requests);
            (run(connections, bare, requests), first)
        };
        if number > 0 {
            measured.push((of_bare, of_node));
        }
    }
    measured
}

fn report(what: &str, connections: usize, measured: &[(Measured, Measured)]) {
    let of = |value: &dyn Fn(&(Measured, Measured)) -> f64| median(measured.iter().map(value).collect());
    println!("\n{what}, {connections} connections");
    println!("             per second   p50 ms   p99 ms   processor us a request");
    let line = |name: &str, side: &dyn Fn(&(Measured, Measured)) -> &Measured| {
        println!(
            "  {name:<10} {:>10.0} {:>8.2} {:>8.2} {:>8.1}",
            of(&|both| side(both).round.per_second()),
            of(&|both| side(both).round.quantile_ms(0.5)),
            of(&|both| side(both).round.quantile_ms(0.99)),
            of(&|both| side(both).processor_us),
        );
    };
    line("bare loop", &|both| &both.0);
    line("node", &|both| &both.1);
    println!(
        "  ratio      {:>10.2} {:>8.2} {:>8.2} {:>8.2}",
        of(&|(bare, node)| node.round.per_second() / bare.round.per_second()),
        of(&|(bare, node)| node.round.quantile_ms(0.5) / bare.round.quantile_ms(0.5)),
        of(&|(bare, node)| node.round.quantile_ms(0.99) / bare.round.quantile_ms(0.99)),
        of(&|(bare, node)| node.processor_us / bare.processor_us),
    );
}
