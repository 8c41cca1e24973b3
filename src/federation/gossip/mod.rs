//! Gossip: how status lists, campaigns, checkpoints and evidence reach every member
//! (protocol, section 4). Pure: a state machine over messages and time.
//!
//! Each item has an author, a kind, a name and a version, and is signed, so anybody may
//! bring it. The newest counts; of two bodies of one version the smaller hash does, and
//! both together are evidence. The roster itself is only named here, by number and
//! hash: who is behind fetches it.
//!
//! | module | what it is |
//! |---|---|
//! | [`item`] | what travels, and when it is good |
//! | [`evidence`] | proofs of misbehaviour, as they travel |
//! | [`held`] | what is held, and how two nodes compare it |
//! | [`body`] | what a message says |
//! | [`machine`] | the exchange |
//! | `news` | what is told at once |
//! | [`view`] | look-ups of what has become durable |
//!
//! In scope: what is taken, told, asked for, and to whom. Out of scope: sending,
//! waiting, making durable.

pub mod body;
pub mod evidence;
pub mod held;
pub mod item;
pub mod machine;
mod news;
pub mod view;

pub use evidence::Evidence;
pub use held::{Held, Stored};
pub use item::{Content, Item, ItemError, ItemId, ItemKey, Kind, Name};
pub use machine::{Effects, Gossip, GossipError, Identity, Kept, Sending};
pub use view::{CouponStatus, KnownCampaign, KnownFork, Undetermined, View};

#[cfg(test)]
mod tests;
