//! `tallystick audit` beside what it can at least not do without: one SHA-256
//! of each entry and one `verify_strict` of each stub, over the same bytes, on
//! as many threads as the machine's.
//!
//! `cargo bench --bench audit -- [--receipts N] [--rounds N] [--lines N] [--quick]`
//!
//! The audit is the program itself, from the start of the process to its end,
//! with the copy of the store that it makes. The other side has all it needs in
//! memory and ready. Then the same from outside, `tallystick audit URL` of a node
//! that serves the log on loopback, by its own process on the same processors.

#[path = "../support/library.rs"]
mod library;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/rounds.rs"]
mod rounds;

use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, VerifyingKey};
use serde_cbor::Value;
use sha2::{Digest as _, Sha256};
use tallystick::credential::{ReceiptStub, Signed};
use tallystick::encoding::cbor;
use tallystick::ledger::Event;
use tallystick::log::Entry;
use tallystick::primitives::limits;
use tallystick::store::{SledEngine, beside, rows};

/// Receipts issued at a time while the store is made: bounds memory.
const CHUNK: u64 = 20_000;

fn main() {
    let (mut receipts, mut count, mut lines, mut quick) = (100_000, 5, 5, false);
    rounds::read_arguments(
        &mut [
            ("--receipts", &mut receipts),
            ("--rounds", &mut count),
            ("--lines", &mut lines),
        ],
        &mut quick,
    );
    if quick {
        (receipts, count) = (2_000, 1);
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let node = place.path().join("node");
    make(&node, receipts, u32::try_from(lines).expect("a small number"));
    let bare = Bare::read(&node.join("store"));
    let mut peak = 0;
    let mut audit = || -> Duration {
        let run = program::run(&["audit", "node"], place.path());
        peak = peak.max(run.peak_bytes);
        run.elapsed
    };
    let count = usize::try_from(count).expect("a small number");
    let times = rounds::alternate(count, &mut || bare.run(), &mut audit);
    rounds::report(
        &format!("receipts of {lines} lines audited"),
        ("a hash and a verify_strict each", "tallystick audit"),
        receipts,
        &times,
    );
    println!("  peak memory of the audit {:>20} MB", peak / 1_000_000);
    let key = program::auditor_key(&node);
    let served = Served::start(&node);
    let mut peak = 0;
    let mut audit = || -> Duration {
        let run = program::run(&["audit", &served.url, "--key", &key], place.path());
        peak = peak.max(run.peak_bytes);
        run.elapsed
    };
    let times = rounds::alternate(count, &mut || bare.run(), &mut audit);
    rounds::report(
        &format!("receipts of {lines} lines audited from outside"),
        ("a hash and a verify_strict each", "tallystick audit URL"),
        receipts,
        &times,
    );
    println!("  peak memory of the audit {:>20} MB", peak / 1_000_000);
}

/// The node, serving its log on loopback.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(node: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let child = Command::new(env!("CARGO_BIN_EXE_tallystick"))
            .arg("serve")
            .arg(node)
            .args(["--listen", &address.to_string(), "--log-level", "error"])
            .stderr(Stdio::null())
            .spawn()
            .expect("serve runs");
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = format!("http://{address}");
        Self { child, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a node with that many receipts, and stops it.
fn make(directory: &Path, receipts: u64, lines: u32) {
    let (runtime, node) = (library::runtime(), library::new_node(directory));
    let mut from = 0;
    while from < receipts {
        let count = CHUNK.min(receipts - from);
        library::issue(&runtime, &node, from, count, lines);
        from += count;
    }
    runtime.block_on(node.shut_down());
}

/// The bytes of the other side, one after another, with where each ends.
#[derive(Default)]
struct Packed {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packed {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }
}

struct Bare {
    key: VerifyingKey,
    entries: Packed,
    /// What each stub's signature is over, and the signature.
    stubs: Packed,
    signatures: Vec<[u8; 64]>,
}

impl Bare {
    fn read(store: &Path) -> Self {
        let (engine, _) = SledEngine::open(store).expect("the node has stopped");
        let genesis = rows::read_entry(&engine, 0).expect("a store").expect("an entry");
        let genesis = Entry::decode(&genesis).expect("an entry");
        let Ok((Event::Genesis(genesis), _)) = Event::from_body(genesis.kind, &genesis.body) else {
            panic!("entry 0 is the genesis entry");
        };
        let mut bare = Self {
            key: VerifyingKey::from_bytes(&genesis.credential_key).expect("a key"),
            entries: Packed::default(),
            stubs: Packed::default(),
            signatures: Vec::new(),
        };
        rows::scan_entries(&engine, 0, &mut |_, bytes| {
            bare.entries.push(bytes);
            ControlFlow::Continue(())
        })
        .expect("a whole store");
        beside::scan(&engine, 0, &mut |_, record| {
            let record = cbor::decode(record, limits::DETAIL_RECORD_BYTES_MAX).expect("a record");
            let Value::Array(items) = record else {
                panic!("a record of stub and details")
            };
            let stub = cbor::as_bytes(&items[0], "a stub").expect("a stub");
            let stub = Signed::<ReceiptStub>::parse(stub).expect("a stub");
            bare.stubs.push(&stub.sign1().sig_structure(&[]));
            bare.signatures.push(*stub.sign1().signature());
            ControlFlow::Continue(())
        })
        .expect("a whole store");
        bare
    }

    fn run(&self) -> Duration {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || self.part(thread, threads));
            }
        });
        started.elapsed()
    }

    fn part(&self, first: usize, step: usize) {
        for at in (first..self.entries.ends.len()).step_by(step) {
            std::hint::black_box(Sha256::digest(self.entries.get(at)));
        }
        for at in (first..self.signatures.len()).step_by(step) {
            let signature = Signature::from_bytes(&self.signatures[at]);
            self.key
                .verify_strict(self.stubs.get(at), &signature)
                .expect("the node signed it");
        }
    }
}
