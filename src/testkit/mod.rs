//! For tests and benches only: engines and disks that fail on demand, the suite that
//! every engine must pass, and a node of its own. The program itself uses
//! nothing of it.

mod disk;
mod faulty;
mod fixtures;

/// How often a test repeats: `short`, or `long` where `TALLYSTICK_LONG_TESTS`
/// is set, as it is in CI.
#[must_use]
pub fn repeats(short: u32, long: u32) -> u32 {
    if std::env::var_os("TALLYSTICK_LONG_TESTS").is_some() {
        long
    } else {
        short
    }
}

pub mod conformance;
pub mod node;

pub use disk::{FaultyDisk, UnsyncedDisk};
pub use faulty::{Fault, FaultHandle, FaultyEngine, FaultyGuard};
pub use fixtures::{ManualClock, SeededEntropy};
pub use node::TestNode;
