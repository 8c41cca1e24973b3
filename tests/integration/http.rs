//! The API from outside, over real connections.

mod bad_input;
mod bulk;
pub mod client;
mod day;
mod erasure;
pub mod log;
mod public;
mod retries;
mod roles;
mod streams;
