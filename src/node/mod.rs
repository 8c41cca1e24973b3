//! Floor 5: the node: joins ledger, log and store.

pub mod keyring;
