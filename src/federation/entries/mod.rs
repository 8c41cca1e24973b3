//! What a member may read of another's log (formats, section 4, 'Who may read'): it
//! asks by a signed message, where others need the key of an auditor.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | requests and answers: their bytes, pure |
//! | [`archive`] | a member's requests in, what the log has out |
//! | [`asker`] | asks other members |
//! | [`member_source`] | a fellow member's log, as a mirror reads it |
//!
//! Entries and coupons' tags are read so, and the path of one coupon into its batch.
//! Hashes and checkpoints are everyone's; receipts' stubs are for auditors alone. A
//! request reads and changes nothing, so one that comes twice is answered twice.

pub mod archive;
pub mod asker;
pub mod member_source;
pub mod wire;

pub use archive::{Archive, ArchiveError};
pub use asker::{AskError, Asker, Letters};
pub use member_source::MemberSource;
pub use wire::{Answer, CouponPath, Request};

/// Where a node takes such requests.
pub const PATH: &str = "/federation/entries";
