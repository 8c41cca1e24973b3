//! Floor 4: durable rows. Everything that is kept passes through [`Engine`].
//!
//! | module | what it is |
//! |---|---|
//! | [`rows`] | the key layout, readers and appender of entries |
//! | [`pack`] | packed rows of entries that describe themselves |
//! | [`beside`] | records beside the log, which can be erased |
//! | [`exchange`] | a new store in the place of an old one, in one step |
//! | [`guard`] | the guard file: what was signed last |
//! | [`scan`] | entries out of the raw files of a damaged store |
//! | [`disk`] | what the system is asked to make durable |
//! | [`sled`] | rows in sled |
//! | [`journaled`] | a journal before an engine: with sled below it, the node's store |
//! | [`memory`] | an engine in memory, for tests |

mod blocks;
mod engine;
mod files;
pub(crate) mod journal;

pub mod beside;
pub mod disk;
pub mod exchange;
pub mod guard;
pub mod journaled;
pub mod memory;
pub mod pack;
pub mod rows;
pub mod scan;
pub mod sled;

pub use disk::{Disk, OsDisk};
pub use engine::{Batch, Engine, Row, StoreError, Visitor};
pub use guard::{Guard, GuardFile, GuardState, Witnessed};
pub use memory::MemoryEngine;
pub use pack::{Packed, PackedRow, Packer};
pub use rows::{read_entry, scan_entries};
pub use sled::SledEngine;
