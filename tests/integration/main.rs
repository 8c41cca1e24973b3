//! Everything that is tested through the public doors, in one binary.

mod coset;
mod layering;
mod node;
mod page;
mod schemas;
