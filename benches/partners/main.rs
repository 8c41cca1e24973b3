//! Redemptions at a partner, both halves durable, beside redemptions at one node, in
//! one run on the same cores.
//!
//! `cargo bench --bench partners -- [--connections N[,N…]] [--requests N] [--rounds N]
//! [--quick]`
//!
//! Two nodes as `tallystick serve` runs them form a federation. Each round redeems as
//! many of the issuer's coupons at the issuer as at its partner, one after the other;
//! the order alternates. What is printed is the median over the rounds, and the median
//! of the rounds' ratios. The generator shares the cores with both nodes.

#[path = "../support/generator.rs"]
mod generator;
#[path = "../support/servers.rs"]
mod servers;

use std::path::Path;
use std::process::Command;

use generator::Round;
use servers::{ServedNode, median};

/// Workers of each node: as many as the cores of the machine that the figures are
/// asked for.
const WORKERS: usize = 2;

struct Settings {
    connections: Vec<usize>,
    requests: usize,
    rounds: usize,
}

fn settings() -> Settings {
    let mut settings = Settings {
        connections: vec![64],
        requests: 10_000,
        rounds: 9,
    };
    let number = |text: &str| text.parse().expect("a number");
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().expect("a value after the name");
        match name.as_str() {
            "--connections" => settings.connections = value().split(',').map(number).collect(),
            "--requests" => settings.requests = number(&value()),
            "--rounds" => settings.rounds = number(&value()),
            "--quick" => (settings.requests, settings.rounds) = (1_000, 1),
            // Cargo's own.
            "--bench" => {}
            other => panic!("{other} is not known: --connections, --requests, --rounds, --quick"),
        }
    }
    settings
}

fn main() {
    let settings = settings();
    let place = tempfile::tempdir().expect("a temporary directory");
    let [issuer, partner] = ["issuer", "partner"].map(|name| {
        let place = place.path().join(name);
        std::fs::create_dir(&place).expect("an empty directory");
        ServedNode::start(&place, WORKERS)
    });
    let [issuer, partner] = federate(place.path(), [issuer, partner]);
    // One round more than is counted: both nodes warm up.
    let rounds = settings.rounds + 1;
    println!(
        "{} redemptions a round, {} rounds, two nodes of {WORKERS} workers and the generator on the same cores",
        settings.requests, settings.rounds
    );
    let coupons = issuer.issue(settings.requests * rounds * 2 * settings.connections.len());
    let mut coupons = coupons.chunks(settings.requests);
    for connections in &settings.connections {
        let mut measured = Vec::new();
        for number in 0..rounds {
            let mut redeem = |node: &ServedNode, at: &str| {
                let coupons = coupons.next().expect("coupons for all rounds");
                let requests = node.redemptions(&format!("{at}-{connections}-{number}"), coupons);
                let spent = || issuer.server.processor_seconds() + partner.server.processor_seconds();
                let before = spent();
                let round = generator::run(node.server.address, *connections, &requests);
                assert_eq!(round.failed, 0, "redemptions were refused {at}");
                let processor_us = (spent() - before) * 1e6 / round.requests as f64;
                Measured { round, processor_us }
            };
            let both = if number % 2 == 0 {
                let alone = redeem(&issuer, "alone");
                (alone, redeem(&partner, "partner"))
            } else {
                let at_partner = redeem(&partner, "partner");
                (redeem(&issuer, "alone"), at_partner)
            };
            if number > 0 {
                measured.push(both);
            }
        }
        report(*connections, &measured);
    }
}

/// Both nodes follow a roster that lists them, made as `docs/federation.md` has it.
fn federate(place: &Path, nodes: [ServedNode; 2]) -> [ServedNode; 2] {
    let run = |arguments: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_tallystick"))
            .current_dir(place)
            .arg("federation")
            .args(arguments)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{arguments:?}: {said}");
        String::from_utf8(out.stdout).expect("text")
    };
    let key = run(&["signer", "signer.pem"]);
    let signer = format!("board={}", key.trim());
    run(&["create", "Bench", "--out", "1.roster", "--signer", &signer]);
    run(&["sign", "1.roster", "--key", "signer.pem"]);
    let mut restarted = Vec::new();
    for (node, name) in nodes.into_iter().zip(["issuer", "partner"]) {
        let directory = format!("{name}/node");
        run(&["pin", &directory, "1.roster"]);
        let description = format!("{name}.member");
        run(&[
            "member",
            &directory,
            "--roster",
            "1.roster",
            "--out",
            &description,
        ]);
        // What is pinned counts from the next start.
        restarted.push(node.restarted(&place.join(name), WORKERS));
    }
    run(&[
        "propose",
        "1.roster",
        "--out",
        "2.roster",
        "--member",
        "issuer.member",
        "--member",
        "partner.member",
    ]);
    run(&["sign", "2.roster", "--key", "signer.pem"]);
    for node in &restarted {
        let url = format!("http://{}", node.server.address);
        run(&[
            "publish",
            "1.roster",
            "2.roster",
            "--node",
            &url,
            "--key",
            &node.office,
        ]);
    }
    let restarted: Result<[ServedNode; 2], _> = restarted.try_into();
    restarted.ok().expect("two nodes")
}

/// A round, with the processor time of both nodes for a redemption, in microseconds.
struct Measured {
    round: Round,
    processor_us: f64,
}

fn report(connections: usize, measured: &[(Measured, Measured)]) {
    let of = |value: &dyn Fn(&(Measured, Measured)) -> f64| median(measured.iter().map(value).collect());
    println!("\nredemptions, {connections} connections");
    println!("               per second   p50 ms   p99 ms   processor us, both nodes");
    let line = |name: &str, side: &dyn Fn(&(Measured, Measured)) -> &Measured| {
        println!(
            "  {name:<12} {:>10.0} {:>8.2} {:>8.2} {:>8.1}",
            of(&|both| side(both).round.per_second()),
            of(&|both| side(both).round.quantile_ms(0.5)),
            of(&|both| side(both).round.quantile_ms(0.99)),
            of(&|both| side(both).processor_us),
        );
    };
    line("one node", &|both| &both.0);
    line("at a partner", &|both| &both.1);
    println!(
        "  ratio        {:>10.2} {:>8.2} {:>8.2} {:>8.2}",
        of(&|(alone, partner)| partner.round.per_second() / alone.round.per_second()),
        of(&|(alone, partner)| partner.round.quantile_ms(0.5) / alone.round.quantile_ms(0.5)),
        of(&|(alone, partner)| partner.round.quantile_ms(0.99) / alone.round.quantile_ms(0.99)),
        of(&|(alone, partner)| partner.processor_us / alone.processor_us),
    );
}
