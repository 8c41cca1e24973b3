//! For tests and benches only: engines and disks that fail on demand, the suite that
//! every engine must pass, a node of its own, and a network that a seed fixes. The program itself uses
//! nothing of it.

mod dice;
mod disk;
mod faulty;
mod fixtures;
mod repeats;

pub mod conformance;
pub mod federation;
pub mod fuzz;
pub mod gossip;
pub mod log;
pub mod network;
pub mod node;
pub mod roster;
pub mod simulation;

pub use dice::Dice;
pub use disk::{FaultyDisk, UnsyncedDisk};
pub use faulty::{Fault, FaultHandle, FaultyEngine, FaultyGuard};
pub use fixtures::{ManualClock, SeededEntropy};
pub use node::TestNode;
pub use repeats::{for_each_seed, for_each_seed_at_once, repeats};
