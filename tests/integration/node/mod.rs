//! A node through its public doors, on every engine.
#![allow(clippy::unwrap_used)]

mod lifecycle;
pub mod world;
