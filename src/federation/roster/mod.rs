//! Who belongs to a federation, and who says so (protocol, section 5). Pure.
//!
//! A roster is a chain of versions, each a signed document:
//!
//! ```text
//! [ body: bstr, [ * COSE_Sign1, payload nil ] ]     (schemas/roster.cddl)
//! ```
//!
//! The body is one CBOR map, and its SHA-256 is the version's identity; signatures
//! are a set beside it that can be merged. Version n+1 counts once a threshold of
//! the signers of version n has signed it, and its own threshold of its own
//! signers. A node pins the hash of version 1 and walks forward, never back.
//!
//! | module | what it is |
//! |---|---|
//! | [`body`] | what one version says, and its bytes |
//! | [`rules`] | what one version must keep, alone and after the one before |
//! | [`possession`] | that whoever lists a key has it |
//! | [`signed`] | body and signatures |
//! | [`chain`] | from version to version |
//! | [`directory`] | a version in force, with its look-ups |
//! | [`description`] | what a member hands in, to be listed |
//! | [`draft`] | the next version: what people propose |
//! | [`mod@changes`] | what a version changes, in sentences |
//!
//! In scope: bytes, rules, who has signed. Out of scope: where rosters are kept
//! and fetched.

pub mod body;
pub mod chain;
pub mod changes;
pub mod description;
pub mod directory;
pub mod draft;
mod error;
pub mod possession;
pub mod rules;
pub mod signed;

pub use body::{KeyState, Member, MemberKey, MemberStatus, Role, Roster, Signer};
pub use chain::{Chain, Conflict, NotRedeeming, Offered};
pub use changes::changes;
pub use description::Description;
pub use directory::{Directory, KnownAs, Standing};
pub use draft::Draft;
pub use error::RosterError;
pub use signed::{SignedRoster, Tally};

#[cfg(test)]
mod tests;
