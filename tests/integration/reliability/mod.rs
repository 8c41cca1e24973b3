//! The node proven against what machines do: kills, power cuts, full disks,
//! clocks that go back. docs/reliability.md says what each of these shows.
//!
//! | module | what it is |
//! |---|---|
//! | `load` | what tills and office ask of the node meanwhile, and what it answered |
//! | `victim` | the node in a process of its own |
//! | `verdict` | whether all that was answered is there once, in one history |
//! | `kills` | SIGKILL at random moments |
//! | `power` | power cuts on a loop device |
//! | `conditions` | full disks, read-only directories, wrong clocks |
//! | `full_disk` | a disk that can be filled |
//!
//! The dice come from a seed, which is printed; the moments depend on the
//! machine too, so a seed repeats a run's plan, not each of its instants.

mod conditions;
pub mod full_disk;
mod kills;
mod load;
mod loop_fs;
mod power;
mod verdict;
mod victim;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tallystick::testkit;

/// Repeats a run's dice.
const SEED: &str = "TALLYSTICK_SEED";

const BINARY: &str = env!("CARGO_BIN_EXE_tallystick");

/// Random numbers from a seed (xorshift64*).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// The seed of this run: that of the environment, or one of its own.
fn seed() -> u64 {
    let given = std::env::var(SEED).ok();
    given.map_or_else(
        || u64::from(std::process::id()),
        |seed| seed.parse().expect("a number"),
    )
}

/// How many rounds: what the variable says, else `short`, or `long` in CI.
fn rounds(variable: &str, short: u32, long: u32) -> u64 {
    match std::env::var(variable) {
        Ok(given) => given.parse().expect("a number of rounds"),
        Err(_) => u64::from(testkit::repeats(short, long)),
    }
}

/// The program, without settings from this process's environment.
fn tallystick(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TALLYSTICK_")) {
        command.env_remove(name);
    }
    command
}

/// `tallystick init DIR`, and what it printed.
fn init(dir: &Path, guard: Option<&Path>) -> Value {
    let dir = dir.to_str().expect("a temporary directory's name is text");
    let mut command = tallystick(&["init", dir, "--json"]);
    if let Some(guard) = guard {
        command.arg("--guard").arg(guard);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
