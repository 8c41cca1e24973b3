//! Floor 2: signed things. Keys, COSE_Sign1, and the typed credentials: coupon,
//! receipt stub, membership, campaign, status list. Pure: time and randomness
//! are passed in.
//!
//! In scope: formats, sections 1 to 3. A parsed credential is well-formed and
//! within every limit; it is *not* yet verified. [`Signed::verify`] takes the
//! key, and whether the key may sign this is the caller's knowledge.

mod campaign;
mod claims;
pub mod cose;
mod coupon;
pub mod coupon_series;
pub mod detached;
pub mod details;
mod error;
pub mod keys;
pub mod known_key;
mod list_evidence;
mod membership;
pub mod qr_code;
mod receipt;
mod signed;
pub mod status_list;
pub mod verify;

pub use campaign::{Benefit, Campaign, Terms};
pub use cose::{Algorithm, Sign1};
pub use coupon::{Coupon, CouponToVerify, StatusRef};
pub use detached::DetachedSignature;
pub use error::CredentialError;
pub use keys::{KeyError, PublicKey, SecretKey, Verifies};
pub use known_key::KnownKey;
pub use list_evidence::ListEvidence;
pub use membership::Membership;
pub use receipt::{ReceiptKind, ReceiptStub, StubToVerify};
pub use signed::{Content, Credential, Signed, coupon_tag, receipt_tag};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
