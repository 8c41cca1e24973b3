//! Redemption between nodes (protocol, section 2).
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | requests and answers: their bytes, pure |
//! | [`answers`] | what a redeemer verifies of an answer, pure |
//! | [`frozen`] | whether a coupon of a stolen key was issued before, pure |
//! | [`campaigns`] | the terms of other co-ops' campaigns |
//! | [`issuer`] | a partner's requests in, issuer halves out |
//! | [`redeemer`] | a till's call in, both halves in two logs, or the truth about why not |
//! | `proving` | asks the issuer for what proves such a coupon |
//! | `signatures` | of coupons: those that come together are checked together |
//! | `desk` | requests on their way to one issuer: batched, pipelined, repeated |
//!
//! An intent is durable before the issuer is asked and ends once. Whatever gets lost,
//! the same request is sent again until its outcome is known; nothing is guessed.

pub mod answers;
pub mod campaigns;
mod desk;
mod doubts;
pub mod frozen;
pub mod issuer;
mod proving;
pub mod redeemer;
mod signatures;
pub mod wire;

pub use issuer::{Issuer, IssuerError};
pub use redeemer::{Knowledge, NoKnowledge, RedeemError, Redeemer, RedeemerParts, Status};

/// Where an issuer takes requests.
pub const PATH: &str = "/federation/redemptions";
