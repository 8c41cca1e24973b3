//! Gossip: over a simulated network, from seeds; and what is kept of it.

mod durable;
mod histories;
mod nodes;
mod simulated;
