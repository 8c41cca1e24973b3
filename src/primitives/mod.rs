//! Floor 0: the newtypes every other floor speaks in, and every protocol maximum.
//!
//! Nothing here does IO. Clock and randomness are traits, so that the pure
//! floors and the tests are given time and entropy instead of reading them.

mod amount;
mod clock;
mod digest;
mod entropy;
mod names;
mod os_error;

pub mod limits;

pub use amount::{Amount, AmountError, Currency, Decimal, DecimalError};
pub use clock::{Clock, SystemClock, UnixSeconds};
pub use digest::{CampaignId, Digest, FederationId, KeyId, RedemptionId, Tag};
pub use entropy::{Entropy, OsEntropy};
pub use names::{CouponName, NameError, Origin, Position, Register};
pub use os_error::WithRemedy;
