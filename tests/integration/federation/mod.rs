//! Logs of others, followed over real connections: honest nodes and servers that
//! lie.

mod host;
mod log_client;
mod mirror;
mod monitor;
mod recover;
