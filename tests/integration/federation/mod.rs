//! Logs of others, followed over real connections: honest nodes and servers that
//! lie.

mod beside;
mod host;
mod keeper;
mod log_client;
mod mirror;
mod monitor;
mod recover;
