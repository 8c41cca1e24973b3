//! Logs of others, followed over real connections: honest nodes and servers that
//! lie.

mod beside;
mod credential_keys;
mod entries;
mod evidence;
mod frozen;
mod host;
mod keeper;
mod log_client;
mod mirror;
mod mirrored;
mod monitor;
mod overtaking;
mod own_fork;
mod peers;
mod playground;
mod recover;
pub mod redemption;
mod redemption_attacks;
pub mod redemption_lies;
mod roster_durable;
mod roster_files;
mod roster_nodes;
mod simulated;
