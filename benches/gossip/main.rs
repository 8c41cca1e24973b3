//! How fast a revocation is everywhere: rounds and bytes over a simulated network, for
//! federations of 10, 100 and 1,000 nodes, with none, a tenth and three tenths of all
//! messages lost, and after an hour in which the network was cut in two halves (of a
//! thousand nodes: five minutes).
//!
//!     cargo bench --bench gossip                # writes docs/gossip/convergence.{csv,svg}
//!     cargo bench --bench gossip -- --nodes 100 # those of one size; the other rows stay
//!     cargo bench --bench gossip -- --hour      # a thousand nodes after an hour, one seed
//!     cargo bench --bench gossip -- --quick     # shows that it runs, and writes nothing
//!     cargo bench --bench gossip -- --plot      # draws the table anew
//!
//! The state machines are the node's own (`testkit::gossip`); a round is five seconds of
//! simulated time. Each row is the median and the worst of several seeds, once with
//! rounds alone and once with news told at once to three peers.

mod plot;

use std::fmt::Write as _;

use tallystick::federation::gossip::CouponStatus;
use tallystick::testkit::gossip::{GossipWorld, ROUND_MS, SimFederation};
use tallystick::testkit::network::Conditions;

use self::plot::plot;

/// Peers that are told news at once in a node.
const TOLD_AT_ONCE: usize = 3;

/// One way of running a federation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Nodes.
    pub nodes: usize,
    /// Of a hundred messages so many are lost.
    pub lost_percent: u64,
    /// Minutes for which the network was cut in two before; 0 where it was not.
    pub cut_minutes: u64,
    /// Peers that are told news at once.
    pub fanout: usize,
}

/// What came of its seeds.
pub struct Row {
    /// The way.
    pub case: Case,
    /// Rounds until the revocation was everywhere: the median, and the worst.
    pub rounds: (f64, f64),
    /// Bytes of messages in that time, a node: the median.
    pub bytes: f64,
}

impl Case {
    /// Rounds within which it has to be everywhere (protocol, section 4).
    pub fn bound(self) -> f64 {
        if self.cut_minutes > 0 {
            2.0
        } else {
            theory(self.nodes) + 4.0
        }
    }
}

/// The binary logarithm: in each round those who know can at best double.
pub fn theory(nodes: usize) -> f64 {
    (nodes as f64).log2()
}

/// Where the results are.
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gossip");

/// The first line of the table.
const COLUMNS: &str = "nodes,lost_percent,after_a_cut_of_minutes,told_at_once,rounds_median,rounds_worst,bound_rounds,log2_nodes,bytes_a_node";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has("--plot") {
        return draw(&table());
    }
    if has("--quick") || has("--test") {
        measure(10, usual(10), 2);
        return;
    }
    let at = arguments.iter().position(|argument| argument == "--nodes");
    let only: Option<usize> = at.map(|at| {
        let nodes = arguments.get(at + 1).and_then(|nodes| nodes.parse().ok());
        nodes.expect("--nodes is followed by 10, 100 or 1000")
    });
    let mut rows = Vec::new();
    if has("--hour") {
        let cases = losses().map(|lost_percent| Case {
            nodes: LARGEST,
            lost_percent,
            cut_minutes: 60,
            fanout: TOLD_AT_ONCE,
        });
        rows.extend(measure(LARGEST, cases.collect(), 1));
    } else {
        for nodes in [10, 100, LARGEST] {
            if only.is_none_or(|only| only == nodes) {
                let seeds = if nodes == LARGEST { 3 } else { 11 };
                rows.extend(measure(nodes, usual(nodes), seeds));
            }
        }
    }
    // What was not measured now stays as it was.
    let is_new = |row: &Row| rows.iter().any(|new: &Row| new.case == row.case);
    let mut all = table();
    all.retain(|row| !is_new(row));
    all.extend(rows);
    all.sort_by_key(|row| {
        let case = row.case;
        (case.nodes, case.cut_minutes, case.lost_percent, case.fanout)
    });
    let mut csv = format!("{COLUMNS}\n");
    for row in &all {
        writeln!(csv, "{}", line(row)).expect("a String takes everything");
    }
    std::fs::create_dir_all(DIR).expect("a directory for the results");
    std::fs::write(format!("{DIR}/convergence.csv"), csv).expect("room for the table");
    draw(&all);
}

/// The most nodes.
const LARGEST: usize = 1_000;

fn losses() -> impl Iterator<Item = u64> {
    [0, 10, 30].into_iter()
}

/// Minutes of the cut that is usually measured. An hour of a thousand nodes is millions
/// of messages, and five minutes of a seed's time.
pub fn usual_cut(nodes: usize) -> u64 {
    if nodes == LARGEST { 5 } else { 60 }
}

fn usual(nodes: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for cut_minutes in [0, usual_cut(nodes)] {
        for lost_percent in losses() {
            cases.extend([0, TOLD_AT_ONCE].map(|fanout| Case {
                nodes,
                lost_percent,
                cut_minutes,
                fanout,
            }));
        }
    }
    cases
}

fn measure(nodes: usize, cases: Vec<Case>, seeds: u64) -> Vec<Row> {
    let federation = SimFederation::new(nodes);
    let measured = cases.into_iter().map(|case| {
        let row = measured(&federation, case, seeds);
        println!("{}", line(&row));
        row
    });
    measured.collect()
}

/// What was measured before.
fn table() -> Vec<Row> {
    let csv = std::fs::read_to_string(format!("{DIR}/convergence.csv")).unwrap_or_default();
    csv.lines().skip(1).map(read).collect()
}

fn draw(rows: &[Row]) {
    std::fs::write(format!("{DIR}/convergence.svg"), plot(rows)).expect("room for the plot");
}

fn read(line: &str) -> Row {
    let number = |at: usize| -> f64 {
        let field = line.split(',').nth(at).expect("nine columns");
        field.parse().expect("a number")
    };
    Row {
        case: Case {
            nodes: number(0) as usize,
            lost_percent: number(1) as u64,
            cut_minutes: number(2) as u64,
            fanout: number(3) as usize,
        },
        rounds: (number(4), number(5)),
        bytes: number(8),
    }
}

fn line(row: &Row) -> String {
    let Case {
        nodes,
        lost_percent,
        cut_minutes,
        fanout,
    } = row.case;
    format!(
        "{nodes},{lost_percent},{cut_minutes},{fanout},{:.2},{:.2},{:.2},{:.2},{:.0}",
        row.rounds.0,
        row.rounds.1,
        row.case.bound(),
        theory(nodes),
        row.bytes
    )
}

fn measured(federation: &SimFederation, case: Case, seeds: u64) -> Row {
    let mut runs: Vec<(f64, f64)> = (0..seeds).map(|seed| run(federation, case, seed)).collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut bytes: Vec<f64> = runs.iter().map(|run| run.1).collect();
    bytes.sort_by(f64::total_cmp);
    Row {
        case,
        rounds: (runs[runs.len() / 2].0, runs[runs.len() - 1].0),
        bytes: bytes[bytes.len() / 2],
    }
}

/// Rounds until all know of a revocation, and bytes a node until then.
fn run(federation: &SimFederation, case: Case, seed: u64) -> (f64, f64) {
    let conditions = Conditions {
        lost_percent: case.lost_percent,
        doubled_percent: 0,
        delay_ms_min: 10,
        delay_ms_max: 200,
    };
    let mut world = GossipWorld::of(federation.clone(), conditions, seed, Some(case.fanout));
    world.revoke(0, None);
    world.run(4 * ROUND_MS);
    if case.cut_minutes > 0 {
        let side: Vec<_> = (0..case.nodes / 2).collect();
        world.network.cut(&side);
        world.run(case.cut_minutes * 30_000);
        world.revoke(0, Some(7));
        world.run(case.cut_minutes * 30_000);
        world.network.heal();
    } else {
        world.revoke(0, Some(7));
    }
    let (begun, bytes) = (world.network.now_ms(), world.bytes);
    // Which nodes know is looked at once a tenth of a round, for all.
    let mut last = begun;
    let mut known = vec![false; case.nodes];
    let everywhere = world.run_until(100 * ROUND_MS, |world| {
        if world.network.now_ms() < last + ROUND_MS / 10 {
            return false;
        }
        last = world.network.now_ms();
        for (node, known) in known.iter_mut().enumerate().filter(|(_, known)| !**known) {
            *known = world.status(node, 0, 7) == Some(CouponStatus::Revoked);
        }
        known.iter().all(|known| *known)
    });
    assert!(everywhere, "not everywhere after 100 rounds: seed {seed}");
    let rounds = (world.network.now_ms() - begun) as f64 / ROUND_MS as f64;
    (rounds, (world.bytes - bytes) as f64 / case.nodes as f64)
}
