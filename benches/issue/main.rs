//! Receipts issued through the library, and imported from CSV, beside bare
//! `ed25519-dalek` signing on as many threads.
//!
//! `cargo bench --bench issue -- [--receipts N] [--rounds N] [--lines N]
//! [--baskets N] [--quick]`
//!
//! The library's side is `Node::issue_receipt` on a node in a directory: every
//! receipt is durable before it is answered. The import is the program itself,
//! `tallystick import complete-journey`, from the start of the process to its
//! end, on baskets made up as The Complete Journey's are: 9.4 lines on average.

mod journey;
#[path = "../support/library.rs"]
mod library;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/rounds.rs"]
mod rounds;

use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};

/// The program's: the library is measured as the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes that a stub's signature is over.
const STUB_MESSAGE_BYTES: usize = 150;

fn main() {
    let (mut receipts, mut count, mut lines) = (20_000, 5, 5);
    // As many as The Complete Journey has.
    let mut baskets = 155_848;
    let mut quick = false;
    rounds::read_arguments(
        &mut [
            ("--receipts", &mut receipts),
            ("--rounds", &mut count),
            ("--lines", &mut lines),
            ("--baskets", &mut baskets),
        ],
        &mut quick,
    );
    if quick {
        (receipts, count, baskets) = (1_000, 1, 1_000);
    }
    let count = usize::try_from(count).expect("a small number");
    let lines = u32::try_from(lines).expect("a small number");
    library(receipts, count, lines);
    import(baskets, count);
}

fn library(receipts: u64, count: usize, lines: u32) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (runtime, node) = (library::runtime(), library::new_node(&place.path().join("node")));
    // Not counted: both sides warm up.
    let mut next = 0;
    let mut issue = || {
        let took = library::issue(&runtime, &node, next, receipts, lines);
        next += receipts;
        took
    };
    issue();
    let times = rounds::alternate(count, &mut || sign_bare(receipts), &mut issue);
    rounds::report(
        &format!("receipts of {lines} lines through the library"),
        ("bare signing", "Node::issue_receipt"),
        receipts,
        &times,
    );
    runtime.block_on(node.shut_down());
}

fn import(baskets: u64, count: usize) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let lines = journey::write(&place.path().join("journey"), baskets);
    let mut peak = 0;
    let mut number = 0;
    let mut import = || -> Duration {
        number += 1;
        let node = format!("node-{number}");
        let origin = "https://shop.coop-example.eu";
        program::run(&["init", &node, "--base-url", origin], place.path());
        let arguments = ["import", "complete-journey", "journey", "--node", &node];
        let run = program::run(&arguments, place.path());
        peak = peak.max(run.peak_bytes);
        std::fs::remove_dir_all(place.path().join(&node)).expect("the node's own directory");
        run.elapsed
    };
    let times = rounds::alternate(count, &mut || sign_bare(baskets), &mut import);
    rounds::report(
        &format!("receipts imported from {lines} rows of CSV"),
        ("bare signing", "tallystick import"),
        baskets,
        &times,
    );
    println!("  peak memory of the import {:>19} MB", peak / 1_000_000);
}

/// Signs `count` messages as long as a stub's, in as many threads.
fn sign_bare(count: u64) -> Duration {
    let key = SigningKey::from_bytes(&[7; 32]);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..library::THREADS as u64 {
            let key = &key;
            scope.spawn(move || {
                let mut message = [0; STUB_MESSAGE_BYTES];
                for number in (thread..count).step_by(library::THREADS) {
                    message[..8].copy_from_slice(&number.to_be_bytes());
                    std::hint::black_box(key.sign(&message));
                }
            });
        }
    });
    started.elapsed()
}
