//! Floor 6: what nodes and outsiders do with the logs of others.
//!
//! | module | what it is |
//! |---|---|
//! | [`source`] | the port: where the files of a log are read from |
//! | [`http_source`], [`dir_source`] | its adapters: a URL, a directory |
//! | [`tree`] | the tree of a signed checkpoint, every hash checked on the way |
//! | [`bundles`] | entries in order, each hashed and found in that tree |
//! | [`beside`] | stubs and tags, each found in its entry |
//! | [`mod@catch_up`] | the roster's next versions, from another member's node |
//! | [`chain`] | the links between entries |
//! | [`client`] | a log: its checkpoint, from the last verified one to the next |
//! | [`copy`] | a verified copy in a directory: a mirror, a monitor's memory |
//! | [`entries`] | what a member may read of another's log, asked for by message |
//! | [`export`] | a stretch of a log as files: a period for an auditor |
//! | [`follower`] | rounds of a monitor or mirror, and what they find |
//! | [`audited`] | a log read from elsewhere, for an audit |
//! | [`gossip`] | how news of coupons and logs reach every member, pure |
//! | [`gossiper`] | gossip in a node: rounds over HTTP, own items, what is kept |
//! | [`keeper`] | mirrors that a node keeps by itself |
//! | [`peers`] | calling other members' nodes |
//! | [`redemption`] | coupons of one co-op redeemed at another |
//! | [`roster`] | who belongs to the federation, and who says so: formats and rules, pure |
//! | [`rosters`] | the roster that a node follows, kept in its store |
//! | [`mirrored`] | what mirrors hold of the own log, asked before a node serves |
//! | [`message`] | the envelope of messages between nodes, pure |
//! | [`metrics`] | what monitors and mirrors count |
//! | [`submit`] | the node's own checkpoints on their way to its witnesses |
//! | `turns` | how many messages of one member are worked on at a time |
//! | [`witness`] | cosigning the logs of others (c2sp.org/tlog-witness) |

pub mod audited;
pub mod beside;
pub mod bundles;
pub mod catch_up;
pub mod chain;
pub mod client;
#[cfg(test)]
mod client_tests;
pub mod copy;
pub mod dir_source;
pub mod entries;
mod error;
pub mod export;
pub mod follower;
pub mod gossip;
pub mod gossiper;
pub mod http_source;
pub mod keeper;
pub mod message;
pub mod metrics;
pub mod mirrored;
pub mod peers;
pub mod redemption;
pub mod roster;
pub mod rosters;
pub mod source;
pub mod submit;
pub mod tree;
mod turns;
pub mod witness;

pub use audited::AuditedLog;
pub use bundles::{Bundle, EntryForm};
pub use catch_up::{CatchUpError, catch_up};
pub use client::{LogClient, SignedCheckpoint};
pub use dir_source::DirSource;
pub use error::FollowError;
pub use http_source::HttpSource;
pub use message::{Head, MessageError, MessageName};
pub use mirrored::{Lost, MirroredError};
pub use peers::{PeerError, Peers};
pub use rosters::{Rosters, RostersError};
pub use source::{FetchError, LogSource};
pub use submit::{Behind, SubmitError, Submitter};
pub use tree::VerifiedTree;
pub use witness::{Witness, WitnessError};
