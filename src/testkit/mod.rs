//! For tests and benches only: engines that fail on demand, and the suite that
//! every engine must pass. The program itself uses nothing of it.

mod faulty;

pub mod conformance;

pub use faulty::{Fault, FaultHandle, FaultyEngine, FaultyGuard};
