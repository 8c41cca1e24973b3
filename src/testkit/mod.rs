//! For tests and benches only: engines that fail on demand, the suite that
//! every engine must pass, and a node of its own. The program itself uses
//! nothing of it.

mod faulty;
mod fixtures;

pub mod conformance;
pub mod node;

pub use faulty::{Fault, FaultHandle, FaultyEngine, FaultyGuard};
pub use fixtures::{ManualClock, SeededEntropy};
pub use node::TestNode;
