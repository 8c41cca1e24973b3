//! How a node grows: memory, disk, opening, proofs and redemptions with more
//! and more entries.
//!
//! `cargo bench --bench growth -- [--entries N[,N…]] [--dir DIR] [--tills N] [--quick]`
//!
//! For each size a log is written by one process that has opened it once, which
//! is then killed with SIGKILL: so all of it was written since the last
//! opening. A second process opens it after the kill, writes a tenth more and
//! stops cleanly; a third opens it after that stop, a fourth makes proofs from
//! the store alone, a fifth compacts it, a sixth opens the new store. The files
//! are in the page cache.
//!
//! 10,000,000 entries take some 9 GB in DIR (a temporary directory, unless it is
//! named), twice that while they are compacted, and most of an hour on two cores.

mod machine;
mod shop;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shop::Shop;
use tallystick::merkle::{
    Hash, NodeReader, TileBuilder, TreeView, half_tile_from_bytes, inclusion_proof, leaf_hash,
    verify_inclusion,
};
use tallystick::primitives::{Origin, Register};
use tallystick::server::{NewDir, NodeDir, Overrides};
use tallystick::store::{Engine, SledEngine, StoreError, read_entry, rows, scan_entries};

/// Set in a child process: what it is to do.
const PHASE: &str = "TALLYSTICK_BENCH_PHASE";

struct Settings {
    entries: Vec<u64>,
    dir: Option<PathBuf>,
    tills: u32,
}

fn settings() -> Settings {
    let mut settings = Settings {
        entries: vec![100_000, 1_000_000],
        dir: None,
        tills: 256,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().expect("a value after the name");
        match name.as_str() {
            "--entries" => {
                settings.entries = value()
                    .split(',')
                    .map(|number| number.replace('_', "").parse().expect("numbers of entries"))
                    .collect();
            }
            "--dir" => settings.dir = Some(value().into()),
            "--tills" => settings.tills = value().parse().expect("a number"),
            "--quick" => settings.entries = vec![2_000, 8_000],
            // Cargo's own.
            "--bench" => {}
            other => panic!("{other} is not known: --entries, --dir, --tills, --quick"),
        }
    }
    settings
}

fn main() {
    if let Ok(phase) = std::env::var(PHASE) {
        return child(&phase);
    }
    let settings = settings();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let place = settings.dir.as_deref().unwrap_or(scratch.path());
    println!("{} calls under way while the logs are written\n", settings.tills);
    let mut before: Option<(u64, u64)> = None;
    for size in settings.entries {
        let dir = place.join(format!("node-{size}"));
        let measured = measure(&dir, size, settings.tills);
        report(size, &measured, before);
        before = Some((size, measured.written["resident"].as_u64().expect("a number")));
        std::fs::remove_dir_all(&dir).expect("it was made here");
        std::fs::remove_file(place.join(format!("node-{size}.guard"))).expect("it was made here");
    }
}

/// What the processes of one size have measured.
struct Measured {
    written: Value,
    after_kill: Value,
    after_stop: Value,
    proofs: Value,
    compacted: Value,
    after_compaction: Value,
}

fn measure(dir: &Path, size: u64, tills: u32) -> Measured {
    let written = run(dir, "write", &[size, u64::from(tills)]);
    let after_kill = run(dir, "open", &[size / 10, u64::from(tills)]);
    let after_stop = run(dir, "open", &[0, 0]);
    let proofs = run(dir, "prove", &[]);
    let compacted = run(dir, "compact", &[]);
    let after_compaction = run(dir, "open", &[0, 0]);
    Measured {
        written,
        after_kill,
        after_stop,
        proofs,
        compacted,
        after_compaction,
    }
}

/// Runs one phase in a process of its own, which is killed once it has told
/// what it measured.
fn run(dir: &Path, phase: &str, numbers: &[u64]) -> Value {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .env(PHASE, format!("{phase} {}", numbers.join(" ")))
        .env("TALLYSTICK_BENCH_DIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped"))
        .read_line(&mut line)
        .expect("it tells");
    child.kill().expect("it waits to be killed");
    child.wait().expect("it was killed");
    let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{phase} failed"));
    eprintln!("{phase}: {told}");
    told
}

fn report(size: u64, measured: &Measured, before: Option<(u64, u64)>) {
    let Measured {
        written,
        after_kill,
        after_stop,
        proofs,
        compacted,
        after_compaction,
    } = measured;
    let number = |value: &Value| value.as_f64().expect("a number");
    let entries = size as f64;
    let resident = number(&written["resident"]);
    println!("{size} entries");
    println!(
        "  written        {:>9.0} a second",
        entries / number(&written["seconds"])
    );
    println!(
        "  resident       {:>9.0} MB, {:.0} MB after opening",
        resident / 1e6,
        number(&after_stop["resident_opened"]) / 1e6
    );
    if let Some((smaller, then)) = before {
        println!(
            "                 {:>9.0} MB more for each million more entries",
            (resident - then as f64) / (entries - smaller as f64)
        );
    }
    println!(
        "  on disk        {:>9.0} bytes an entry",
        number(&written["on_disk"]) / entries
    );
    println!(
        "  opening        {:>9.2} s after a kill, {:.2} s after a clean stop (which took {:.2} s)",
        number(&after_kill["open_seconds"]),
        number(&after_stop["open_seconds"]),
        number(&after_kill["stop_seconds"])
    );
    println!(
        "  redemption     {:>9.0} us one by one, p99 {:.0} us; {:.0} a second from 64 tills",
        number(&written["redemption_us"]),
        number(&written["redemption_p99_us"]),
        number(&written["redemptions_per_second"])
    );
    println!(
        "  proof          {:>9.1} us of inclusion, {} hashes",
        number(&proofs["proof_us"]),
        proofs["hashes"]
    );
    println!(
        "  compacted      {:>9.1} s from {:.0} to {:.0} MB, {:.0} bytes an entry, with {:.0} MB of memory",
        number(&compacted["seconds"]),
        number(&compacted["bytes_before"]) / 1e6,
        number(&compacted["bytes_after"]) / 1e6,
        number(&compacted["bytes_after"]) / number(&compacted["entries"]),
        number(&compacted["resident_most"]) / 1e6
    );
    println!(
        "                 {:>9.2} s opening, {:.0} us a redemption, {:.0} MB after opening\n",
        number(&after_compaction["open_seconds"]),
        number(&after_compaction["redemption_us"]),
        number(&after_compaction["resident_opened"]) / 1e6
    );
}

fn child(phase: &str) {
    let dir = PathBuf::from(std::env::var_os("TALLYSTICK_BENCH_DIR").expect("where"));
    let mut words = phase.split_whitespace();
    let what = words.next().expect("a phase");
    let numbers: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let told = match what {
        "write" => runtime.block_on(write(&dir, numbers[0], numbers[1])),
        "open" => runtime.block_on(open(&dir, numbers[0], numbers[1])),
        "compact" => compact(&dir),
        "prove" => prove(&dir),
        other => panic!("no phase {other}"),
    };
    println!("{told}");
    // Until it is killed.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

async fn write(dir: &Path, size: u64, tills: u64) -> Value {
    let new = NewDir {
        base_url: Origin::parse("https://coop.example").expect("a base URL"),
        name: "Growing co-op".to_owned(),
        register: Register::new("lane-0").expect("a name"),
        guard: None,
        passphrase: None,
    };
    let made = NodeDir::create(dir, &new).expect("a fresh directory").directory;
    let opened = made.open(&Overrides::default(), None).expect("it was just made");
    let shop = Shop::begin(opened.node.clone(), "written").await;
    let begin = Instant::now();
    let mut steps = Vec::new();
    for tenth in 1..=10 {
        shop.fill(size * tenth / 10, u32::try_from(tills).expect("few"))
            .await;
        steps.push(
            json!({"entries": shop.node.size(), "seconds": begin.elapsed().as_secs_f64(),
                          "resident": machine::resident()}),
        );
        eprintln!("{}", steps.last().expect("one was pushed"));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let (resident, on_disk) = (machine::resident(), machine::on_disk(dir));
    let mut told = redemptions(&shop).await;
    told["seconds"] = seconds.into();
    told["resident"] = resident.into();
    told["on_disk"] = on_disk.into();
    told
}

async fn redemptions(shop: &std::sync::Arc<Shop>) -> Value {
    let mut alone = shop.redeem(1, 400).await;
    let (each, tills) = (100_u32, 64_u32);
    let begin = Instant::now();
    let many = shop.redeem(tills, each).await;
    let per_second = many.len() as f64 / begin.elapsed().as_secs_f64();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    json!({
        "redemption_us": us(machine::quantile(&mut alone, 0.5)),
        "redemption_p99_us": us(machine::quantile(&mut alone, 0.99)),
        "redemptions_per_second": per_second,
    })
}

/// Opens the node, redeems, writes `more` entries and stops.
async fn open(dir: &Path, more: u64, tills: u64) -> Value {
    let begin = Instant::now();
    let node = NodeDir::at(dir).expect("it is there");
    let opened = node.open(&Overrides::default(), None).expect("it opens");
    let open_seconds = begin.elapsed().as_secs_f64();
    eprintln!("{:?}", opened.report);
    let resident_opened = machine::resident();
    let name = format!("opened-{}", opened.node.size());
    let shop = Shop::begin(opened.node.clone(), &name).await;
    let mut told = redemptions(&shop).await;
    let size = opened.node.size();
    shop.fill(size + more, u32::try_from(tills).expect("few")).await;
    told["resident"] = machine::resident().into();
    drop(shop);
    let begin = Instant::now();
    opened.node.shut_down().await;
    drop(opened);
    told["stop_seconds"] = begin.elapsed().as_secs_f64().into();
    told["open_seconds"] = open_seconds.into();
    told["resident_opened"] = resident_opened.into();
    told
}

fn compact(dir: &Path) -> Value {
    let begin = Instant::now();
    let node = NodeDir::at(dir).expect("it is there");
    let done = node
        .compact(&Overrides::default(), &mut |_| {})
        .expect("it is compacted");
    json!({
        "seconds": begin.elapsed().as_secs_f64(),
        "entries": done.entries,
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "resident_most": machine::resident_most(),
    })
}

/// Half tiles of the store.
struct Tiles<'a>(&'a dyn Engine);

impl NodeReader for Tiles<'_> {
    type Error = StoreError;

    fn half_tile(&self, level: u8, tile: u64, half: u8) -> Result<Option<Vec<Hash>>, StoreError> {
        let row = self.0.get(&rows::hash_tile(level, tile, half))?;
        Ok(row.and_then(|bytes| half_tile_from_bytes(&bytes)))
    }
}

/// Inclusion proofs of entries all over the log, each made from the store.
fn prove(dir: &Path) -> Value {
    let store = NodeDir::at(dir).expect("it is there").store();
    let (engine, _) = SledEngine::open(&store).expect("it opens");
    let tiles = Tiles(&engine);
    let (last, _) = rows::last_entry(&engine)
        .expect("it can be read")
        .expect("entries");
    let size = last + 1;
    let mut tree = TileBuilder::resume(size, &tiles).expect("tiles");
    scan_entries(&engine, tree.size(), &mut |index, bytes| {
        if index >= tree.size() {
            tree.append(leaf_hash(bytes), &mut |_| {});
        }
        std::ops::ControlFlow::Continue(())
    })
    .expect("entries");
    let root = tree.root();
    let count = 2_000;
    let mut times = Vec::new();
    let mut hashes = 0;
    for n in 0..count {
        // A fixed walk over all of the log.
        let index = (n * 7_919 * 104_729) % size;
        let begin = Instant::now();
        let path = inclusion_proof(index, size, &TreeView::new(&tree, &tiles)).expect("a proof");
        times.push(begin.elapsed());
        hashes = hashes.max(path.len());
        let entry = read_entry(&engine, index)
            .expect("it can be read")
            .expect("it is there");
        verify_inclusion(&leaf_hash(&entry), index, size, &path, &root).expect("a proof that holds");
    }
    json!({"proof_us": machine::quantile(&mut times, 0.5).as_secs_f64() * 1e6, "hashes": hashes})
}
