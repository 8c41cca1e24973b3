//! Everything that is tested through the public doors, in one binary.

#![allow(clippy::unwrap_used)]

mod coset;
mod http;
mod layering;
mod openapi;
mod page;
mod schemas;
