//! Everything that is tested through the public doors, in one binary.

#![allow(clippy::unwrap_used)]

mod cli;
mod coset;
mod layering;
mod node;
mod page;
mod schemas;
