//! Everything that is tested through the public doors, in one binary.

#![allow(clippy::unwrap_used)]

mod attack;
mod audit;
mod cli;
mod compact;
mod compose;
mod coset;
mod erase;
mod export;
mod federation;
mod fuzz;
mod gossip;
mod http;
mod import;
mod import_core_pos;
mod import_kill;
mod kill_bulk;
mod layering;
mod node;
mod openapi;
mod page;
mod page_node;
mod readme;
mod reliability;
mod replay;
mod schemas;
mod sheet;
mod store_format;
mod till_example;
mod verify;
mod verify_proof;
mod witness;
