//! Everything that is tested through the public doors, in one binary.

#![allow(clippy::unwrap_used)]

mod audit;
mod cli;
mod coset;
mod import;
mod layering;
mod node;
mod page;
mod schemas;
mod verify;
