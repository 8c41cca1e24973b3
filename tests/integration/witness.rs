//! A node as a witness: durably, and over HTTP to the letter of its specification.

pub mod by_hand;
mod durable;
mod policies;
pub mod serving;
mod submitting;
