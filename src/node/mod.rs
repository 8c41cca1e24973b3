//! Floor 5: the writer, recovery and queries; joins ledger, log and store.

pub mod index;
