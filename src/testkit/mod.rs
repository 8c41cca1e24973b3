//! For tests and benches only: engines that fail on demand, and the suite that
//! every engine must pass. The program itself uses nothing of it.

mod faulty;
mod fixtures;

pub mod conformance;

pub use faulty::{Fault, FaultHandle, FaultyEngine, FaultyGuard};
pub use fixtures::{ManualClock, SeededEntropy};
