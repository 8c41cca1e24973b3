//! Tallystick: signed receipts and coupons for co-operatives, in a hash-linked
//! log that anyone can check.
//!
//! The modules are floors; imports go downwards only (see `ARCHITECTURE.md`):
//!
//! | floor | module | what it may do |
//! |---|---|---|
//! | 0 | [`primitives`] | newtypes, limits, the clock: no IO |
//! | 1 | [`encoding`], [`merkle`] | bytes to values and back, tree hashing: pure |
//! | 2 | [`credential`] | keys, COSE, coupons, receipts, campaigns, status lists: pure |
//! | 3 | [`ledger`], [`log`] | decisions of the domain; formats of the log: pure |
//! | 4 | [`store`] | durable rows and the guard file |
//! | 5 | [`node`] | the writer, recovery, queries, audit |
//! | 6 | [`federation`] | the logs of others: clients, monitors, mirrors, witnessing |
//! | 7 | [`http`], [`web`] | JSON, CBOR and pages |
//! | 8 | [`cli`], [`server`] | commands, config, wiring, shutdown |
//! | – | [`testkit`] | tests and benches only |

#![forbid(unsafe_code)]

pub mod cli;
pub mod credential;
pub mod encoding;
pub mod federation;
pub mod http;
pub mod ledger;
pub mod log;
pub mod merkle;
pub mod node;
pub mod primitives;
pub mod server;
pub mod store;
pub mod testkit;
pub mod web;
