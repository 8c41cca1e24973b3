//! A node through its public doors, on every engine.
#![allow(clippy::unwrap_used)]

mod bulk;
mod credential_keys;
mod crowd;
mod damage;
pub mod faults;
mod lifecycle;
mod overspend;
mod refusals;
mod schema;
pub mod world;
