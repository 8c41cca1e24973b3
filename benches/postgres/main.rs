//! Durable redemptions over HTTP beside the same bookkeeping in PostgreSQL, in
//! one run on the same cores.
//!
//! `cargo bench --bench postgres -- [--requests N] [--rounds N] [--quick]`
//!
//! PostgreSQL is Debian's, in a directory of its own, with
//! `synchronous_commit=on`; `pgbench` runs the redemption transaction from 64
//! clients over its socket: a unique insert of the request, an update of the
//! coupon's counter, an insert into the log. Once its statements come one by
//! one, once as one call of a function. It verifies and makes no signature,
//! parses no JSON and speaks no HTTP; the node does all of that.
//!
//! Each coupon has a counter of its own, so that clients do not wait for each
//! other's rows: a budget that all coupons of a campaign share, as the node
//! keeps one, would hold every transaction up until the one before it is
//! durable. That is in PostgreSQL's favour.

#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../support/generator.rs"]
mod generator;
mod server;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../support/servers.rs"]
mod servers;

use server::{Postgres, Script};
use servers::{ServedNode, median};

/// Connections to the node, and clients of PostgreSQL.
const CLIENTS: usize = 64;

/// Threads that answer HTTP.
const WORKERS: usize = 2;

/// One side's round.
struct Measured {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn main() {
    let (mut requests, mut rounds) = (10_000, 5);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .and_then(|text| text.parse().ok())
                .expect("a number")
        };
        match name.as_str() {
            "--requests" => requests = number(),
            "--rounds" => rounds = number(),
            "--quick" => (requests, rounds) = (1_280, 1),
            // Cargo's own.
            "--bench" => {}
            other => panic!("{other} is not known: --requests, --rounds, --quick"),
        }
    }
    let Some(postgres) = Postgres::start() else {
        println!("skipped: PostgreSQL is not here (Debian: apt-get install postgresql)");
        return;
    };
    let place = tempfile::tempdir().expect("a temporary directory");
    let node = ServedNode::start(place.path(), WORKERS);
    // One round more than is counted: all warm up.
    let coupons = node.issue(requests * (rounds + 1));
    let mut measured = Vec::new();
    for (round, coupons) in coupons.chunks(requests).enumerate() {
        let calls = node.redemptions(&round.to_string(), coupons);
        let of_node = || {
            let done = generator::run(node.server.address, CLIENTS, &calls);
            assert_eq!(done.failed, 0, "the node refused requests");
            Measured {
                per_second: done.per_second(),
                p50_ms: done.quantile_ms(0.5),
                p99_ms: done.quantile_ms(0.99),
            }
        };
        let single = || postgres.run(Script::OneByOne, CLIENTS, requests);
        let call = || postgres.run(Script::OneStatement, CLIENTS, requests);
        let sides = match round % 3 {
            0 => {
                let node = of_node();
                let single = single();
                (node, single, call())
            }
            1 => {
                let single = single();
                let call = call();
                (of_node(), single, call)
            }
            _ => {
                let call = call();
                let node = of_node();
                (node, single(), call)
            }
        };
        if round > 0 {
            measured.push(sides);
        }
    }
    report(requests, &measured);
}

fn report(requests: usize, measured: &[(Measured, Measured, Measured)]) {
    type Rounds = (Measured, Measured, Measured);
    let of = |value: &dyn Fn(&Rounds) -> f64| median(measured.iter().map(value).collect());
    println!(
        "redemptions, {CLIENTS} clients, {requests} a round, median of {} rounds\n",
        measured.len()
    );
    println!("{:<34} per second   p50 ms   p99 ms", "");
    let line = |name: &str, side: &dyn Fn(&Rounds) -> &Measured| {
        println!(
            "{name:<34} {:>10.0} {:>8.2} {:>8.2}",
            of(&|rounds| side(rounds).per_second),
            of(&|rounds| side(rounds).p50_ms),
            of(&|rounds| side(rounds).p99_ms),
        );
    };
    line("the node over HTTP", &|rounds| &rounds.0);
    line("PostgreSQL, statements one by one", &|rounds| &rounds.1);
    line("PostgreSQL, one statement", &|rounds| &rounds.2);
    println!(
        "\nratio to statements one by one: {:.2} (asked 6); to one statement: {:.2} (asked 3)",
        of(&|(node, single, _)| node.per_second / single.per_second),
        of(&|(node, _, call)| node.per_second / call.per_second),
    );
}
