//! Floor 3: the domain's decisions. Pure: no clock, no randomness, no IO.
//!
//! A command is decided against a [`State`] and becomes an [`Event`] or a
//! [`Refusal`]; applying the event gives the next state. The writer in
//! `node` turns each event into one log entry, so the log alone rebuilds the
//! state: [`State::apply`] is used for new events and for replay alike.
//!
//! In scope: what a campaign's terms allow, who counts (protocol, section 1),
//! what a receipt must add up to (formats, section 3). Out of scope: signatures
//! and CBOR of credentials (`credential`), retries (`node`).

mod body;
mod campaign;
mod event;
mod partner;
mod receipt;
mod redemption;
mod refusal;
mod revocation;
mod state;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod model_tests;

pub use body::{BodyError, kind_has_tag};
pub use campaign::{BatchOrder, CampaignDraft};
pub use event::{
    Answers, BatchIssued, CampaignSigned, CredentialKeyAdded, Event, Genesis, Mark, PartnerCall,
    ReceiptErased, ReceiptIssued, Recorded, Redeemed, Reversed, StatusListSigned, StatusSet, StatusTarget,
};
pub use partner::{
    CancelWished, End, Intent, IntentEnded, IssuerHalf, Place, RedeemerHalf, RequestCancelled, Reverses,
    Wish, half_id,
};
pub use receipt::{ReceiptDraft, WrittenDraft, check_line, own_time};
pub use redemption::{Asked, Basket, Presented, Quote, RedemptionOrder, ReversalOrder};
pub use refusal::{Refusal, TakenBy};
pub use revocation::{NewStatus, StatusDecision, StatusOrder};
pub use state::{CampaignState, CouponState, RedemptionState, RegisterState, State, StatusFlags};
