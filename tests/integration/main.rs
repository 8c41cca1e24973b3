//! Everything that is tested through the public doors, in one binary.

mod coset;
mod import;
mod layering;
mod node;
mod page;
mod schemas;
mod verify;
