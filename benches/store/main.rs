//! The store alone: entries of 300 bytes, made durable by one committer for
//! many writers, each of whom waits for its own. Once through the engine, in
//! packed rows as the node writes them, and once in a plain file, one append
//! and one `fdatasync` a batch: the least that durability costs.
//!
//! `cargo bench --bench store -- [--entries N] [--rounds N] [--memory-entries N] [--quick]`
//!
//! Rounds alternate between the two, in one run; store and file go on growing.
//! What is printed is the median over the rounds, and the median of the rounds'
//! ratios. Memory and disk of an entry are measured in a process of its own.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use tallystick::store::{Batch, Engine, SledEngine, rows};
use tokio::sync::oneshot;

const ENTRY_BYTES: usize = 300;

/// Entries of one batch at the most, as with the node.
const BATCH_MAX: usize = tallystick::primitives::limits::BATCH_COMMANDS_MAX;

/// Set in a child process: how many entries it is to write.
const MEMORY: &str = "TALLYSTICK_BENCH_MEMORY";

struct Settings {
    entries: u64,
    rounds: usize,
    memory_entries: u64,
}

fn settings() -> Settings {
    let mut settings = Settings {
        entries: 100_000,
        rounds: 5,
        memory_entries: 1_000_000,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || {
            let value = arguments.next().expect("a number after the name");
            value.parse::<u64>().expect("a number")
        };
        match name.as_str() {
            "--entries" => settings.entries = value(),
            "--rounds" => settings.rounds = usize::try_from(value()).expect("few rounds"),
            "--memory-entries" => settings.memory_entries = value(),
            "--quick" => (settings.entries, settings.memory_entries) = (2_000, 10_000),
            // Cargo's own.
            "--bench" => {}
            other => panic!("{other} is not known: --entries, --rounds, --memory-entries, --quick"),
        }
    }
    settings
}

/// What makes a batch durable.
trait Log: Send {
    fn commit(&mut self, entries: &[Vec<u8>]);
}

struct Store {
    engine: SledEngine,
    next: u64,
}

impl Store {
    fn make(dir: &Path) -> Self {
        Self {
            engine: SledEngine::create(&dir.join("store")).expect("a fresh directory"),
            next: 0,
        }
    }
}

impl Log for Store {
    fn commit(&mut self, entries: &[Vec<u8>]) {
        let mut batch = Batch::default();
        rows::append_entries(&mut batch, self.next, entries.iter().map(Vec::as_slice))
            .expect("short entries");
        self.engine.commit(batch).expect("it is durable");
        self.next += entries.len() as u64;
    }
}

struct PlainFile(File);

impl Log for PlainFile {
    fn commit(&mut self, entries: &[Vec<u8>]) {
        self.0.write_all(&entries.concat()).expect("it is written");
        self.0.sync_data().expect("it is durable");
    }
}

/// An entry and whoever waits for it.
type Job = (Vec<u8>, oneshot::Sender<()>);

/// Group commit: batches form by themselves while the last one is written.
fn work(log: &mut dyn Log, jobs: &Receiver<Job>) {
    while let Ok((first, waits)) = jobs.recv() {
        let (mut entries, mut waiting) = (vec![first], vec![waits]);
        while entries.len() < BATCH_MAX
            && let Ok((entry, waits)) = jobs.try_recv()
        {
            entries.push(entry);
            waiting.push(waits);
        }
        log.commit(&entries);
        for waits in waiting {
            let _ = waits.send(());
        }
    }
}

/// Entries a second, from `writers` who write `entries` in all.
fn round(log: &mut dyn Log, writers: u64, entries: u64) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    let each = entries / writers;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let (jobs, queue) = sync_channel::<Job>(4_096);
        scope.spawn(move || work(log, &queue));
        let writing: Vec<_> = (0..writers)
            .map(|writer| {
                let jobs = jobs.clone();
                runtime.spawn(async move {
                    for number in 0..each {
                        let (sender, done) = oneshot::channel();
                        jobs.send((entry(writer, number), sender)).expect("it works");
                        done.await.expect("it answers");
                    }
                })
            })
            .collect();
        drop(jobs);
        runtime.block_on(async {
            for writer in writing {
                writer.await.expect("no writer panics");
            }
        });
    });
    (each * writers) as f64 / begin.elapsed().as_secs_f64()
}

/// Bytes that no compression would make fewer.
fn entry(writer: u64, number: u64) -> Vec<u8> {
    let mut state = (writer << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(ENTRY_BYTES);
    while bytes.len() < ENTRY_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(ENTRY_BYTES);
    bytes
}

fn main() {
    if let Ok(entries) = std::env::var(MEMORY) {
        return memory(entries.parse().expect("a number"));
    }
    let settings = settings();
    println!(
        "{} entries of {ENTRY_BYTES} bytes a round, {} rounds\n",
        settings.entries, settings.rounds
    );
    println!("writers   store a second   plain file a second   ratio");
    for writers in [64, 256] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut store = Store::make(dir.path());
        let mut file = PlainFile(File::create(dir.path().join("plain")).expect("a fresh file"));
        let mut measured = Vec::new();
        for number in 0..=settings.rounds {
            let run = |log: &mut dyn Log| round(log, writers, settings.entries);
            let pair = if number % 2 == 0 {
                let first = run(&mut store);
                (first, run(&mut file))
            } else {
                let first = run(&mut file);
                (run(&mut store), first)
            };
            // The first one warms up.
            if number > 0 {
                measured.push(pair);
            }
        }
        let of = |value: &dyn Fn(&(f64, f64)) -> f64| median(measured.iter().map(value).collect());
        println!(
            "{writers:>7} {:>16.0} {:>21.0} {:>7.2}",
            of(&|pair| pair.0),
            of(&|pair| pair.1),
            of(&|pair| pair.0 / pair.1)
        );
    }
    let program = std::env::current_exe().expect("this program");
    let done = Command::new(program)
        .env(MEMORY, settings.memory_entries.to_string())
        .status()
        .expect("this program starts");
    assert!(done.success());
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What an entry takes in memory and on disk, with 64 writers: smaller batches
/// make more and smaller rows.
fn memory(entries: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut store = Store::make(dir.path());
    round(&mut store, 64, 64);
    let before = resident();
    round(&mut store, 64, entries);
    let took = resident().saturating_sub(before);
    let on_disk = store.engine.size_on_disk().expect("it tells");
    println!(
        "\n{entries} entries, 64 writers: {:.0} bytes on disk and {:.0} bytes resident an entry",
        on_disk as f64 / entries as f64,
        took as f64 / entries as f64
    );
}

/// Bytes that this process has resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line
        .expect("a line on resident memory")
        .trim()
        .trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("a number") * 1024
}
