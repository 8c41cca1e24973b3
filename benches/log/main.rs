//! What a log serves to those who follow it: a tile of hashes beside a fixed body
//! of as many bytes, and proofs of inclusion, at several sizes of the log.
//!
//! `cargo bench --bench log -- [--entries N] [--requests N] [--rounds N]
//! [--connections N] [--directory 0|1] [--quick]`
//!
//! The log is one of receipts, served by `tallystick serve` with two workers. Fixed
//! bodies come from the same server, a file of its page of 8.7 KB, and from
//! actix-web alone with as many workers, in a process of its own. All are asked over
//! keep-alive connections by a generator on the same cores; full tiles and entries
//! are picked all over the log, in no order. Proofs are asked for one by
//! one, over one connection, when the log has a tenth, and when it has all of its
//! entries. Last, for the memory that takes, the log is audited from outside, with a
//! state too that is written on the way and then gone on with, as an export, and in its
//! directory. `--rounds 0` leaves out tiles and proofs, `--directory 0` the last audit.
//!
//! 10,000,000 entries take some 8 GB where temporary files are made, 6 GB more with the
//! export, twice that while the directory is audited, and three quarters of an hour on
//! two cores.

// It posts for another bench.
#[allow(dead_code)]
#[path = "../support/generator.rs"]
mod generator;
#[path = "../support/library.rs"]
mod library;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/rounds.rs"]
mod rounds;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use tallystick::server::{NodeDir, Overrides};

/// The fixed body's server gets the node's allocator too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Workers of either server.
const WORKERS: usize = 2;

/// Receipts issued at a time while the log is made: bounds memory.
const CHUNK: u64 = 20_000;

/// Entries of a full tile.
const TILE: u64 = 256;

/// Bytes of a full tile.
const TILE_BYTES: usize = 8_192;

/// A fixed body of about that length, 8.7 KB, from the node itself.
const OWN_FILE: &str = "/web/credential.js";

/// Proofs asked for at each size.
const PROOFS: u64 = 2_000;

/// Set in the child process that serves the fixed body.
const FIXED: &str = "TALLYSTICK_BENCH_FIXED";

fn main() {
    if std::env::var_os(FIXED).is_some() {
        return serve_fixed();
    }
    let (mut entries, mut requests, mut count, mut connections, mut quick) = (200_000, 20_000, 5, 64, false);
    let mut with_directory = 1;
    rounds::read_arguments(
        &mut [
            ("--entries", &mut entries),
            ("--requests", &mut requests),
            ("--rounds", &mut count),
            ("--connections", &mut connections),
            ("--directory", &mut with_directory),
        ],
        &mut quick,
    );
    if quick {
        (entries, requests, count) = (3_000, 500, 1);
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("node");
    let (runtime, node) = (library::runtime(), library::new_node(&directory));
    let grow = |node: &tallystick::node::Node, size: u64| {
        while node.size() < size {
            let from = node.size();
            library::issue(&runtime, node, from, CHUNK.min(size - from), 1);
        }
        runtime.block_on(node.shut_down());
    };
    grow(&node, entries / 10);
    drop(node);
    if count > 0 {
        prove(&Served::node(&directory), entries / 10);
    }
    let opened = NodeDir::at(&directory)
        .and_then(|node| node.open(&Overrides::default(), None))
        .expect("it was stopped")
        .node;
    grow(&opened, entries);
    drop(opened);
    let key = program::auditor_key(&directory);
    let served = Served::node(&directory);
    if count > 0 {
        prove(&served, entries);
        serve_tiles(&served, entries, requests, count, connections);
    }
    let url = format!("http://{}", served.address);
    let from_outside = ["audit", &url, "--key", &key];
    audit("from outside", &from_outside, place.path());
    let on = [&from_outside[..], &["--state", "state"]].concat();
    audit("from outside, with a state", &on, place.path());
    let state = std::fs::metadata(place.path().join("state")).expect("it was written");
    println!("the state has {} MB", state.len() / 1_000_000);
    audit("once more, from the state", &on, place.path());
    let export = ["export", "period", "--node", &url, "--key", &key];
    measured("exported", &export, place.path());
    drop(served);
    audit("as an export", &["audit", "period"], place.path());
    if with_directory > 0 {
        audit("in its directory", &["audit", "node"], place.path());
    }
}

/// Tiles beside fixed bodies.
fn serve_tiles(served: &Served, entries: u64, requests: u64, count: u64, connections: u64) {
    let fixed = Served::fixed();
    let requests = usize::try_from(requests).expect("a count");
    let tiles: Vec<Vec<u8>> = walk(entries / TILE, requests)
        .map(|number| get(&format!("/tile/0/{}", tile_path(number))))
        .collect();
    let bodies = vec![get("/fixed"); requests];
    let ask = |server: &Served, requests: &[Vec<u8>]| -> Duration {
        let connections = usize::try_from(connections).expect("a count");
        let round = generator::run(server.address, connections, requests);
        assert_eq!(round.failed, 0, "requests were refused");
        round.elapsed
    };
    let own = vec![get(OWN_FILE); requests];
    for (name, server, bodies) in [
        ("the same server's page file", served, &own),
        ("actix-web alone, 8,192 bytes", &fixed, &bodies),
    ] {
        // Both warm up.
        ask(server, bodies);
        ask(served, &tiles);
        let times = rounds::alternate(
            usize::try_from(count).expect("a count"),
            &mut || ask(server, bodies),
            &mut || ask(served, &tiles),
        );
        rounds::report(
            &format!("full tiles of a log of {entries} entries, {connections} connections"),
            (name, "/tile/0/N"),
            requests as u64,
            &times,
        );
    }
}

fn audit(how: &str, arguments: &[&str], place: &Path) {
    measured(&format!("audited {how}"), arguments, place);
}

fn measured(what: &str, arguments: &[&str], place: &Path) {
    let run = program::run(arguments, place);
    println!(
        "{what}: {:.1} s, at most {} MB resident",
        run.elapsed.as_secs_f64(),
        run.peak_bytes / 1_000_000
    );
}

fn prove(served: &Served, size: u64) {
    let requests: Vec<Vec<u8>> = walk(size, usize::try_from(PROOFS).expect("a count"))
        .map(|index| get(&format!("/v1/log/proofs/inclusion?index={index}")))
        .collect();
    // What is in the page cache once is measured.
    generator::run(served.address, 1, &requests);
    let round = generator::run(served.address, 1, &requests);
    assert_eq!(round.failed, 0, "requests were refused");
    println!(
        "proofs of inclusion at {size} entries, one after another: median {:.3} ms, p99 {:.3} ms",
        round.quantile_ms(0.5),
        round.quantile_ms(0.99)
    );
}

/// Numbers below `end`, all over it, the same in every run.
fn walk(end: u64, count: usize) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |n| (n * 7_919 * 104_729) % end)
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// Groups of three digits, all but the last one with an x (C2SP tlog-tiles).
fn tile_path(number: u64) -> String {
    let (mut rest, mut path) = (number / 1_000, format!("{:03}", number % 1_000));
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1_000);
        rest /= 1_000;
    }
    path
}

/// A server in a process of its own, which ends with this value.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn node(directory: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let child = Command::new(env!("CARGO_BIN_EXE_tallystick"))
            .arg("serve")
            .arg(directory)
            .args(["--listen", &address.to_string(), "--log-level", "error"])
            .args(["--workers", &WORKERS.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("serve runs");
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address }
    }

    fn fixed() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(FIXED, "")
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it tells its address");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // As an operator stops it, so that the next start reads nothing again.
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
    }
}

fn serve_fixed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("{}", listener.local_addr().expect("an address"));
    let body = web::Bytes::from(vec![7_u8; TILE_BYTES]);
    actix_web::rt::System::new()
        .block_on(async move {
            HttpServer::new(move || {
                let body = body.clone();
                App::new().route(
                    "/fixed",
                    web::get().to(move || {
                        let body = body.clone();
                        async move {
                            HttpResponse::Ok()
                                .content_type("application/octet-stream")
                                .body(body)
                        }
                    }),
                )
            })
            .workers(WORKERS)
            .backlog(4_096)
            .listen(listener)?
            .run()
            .await
        })
        .expect("the fixed body is served");
}
