//! The one error of rosters.

use crate::encoding::cbor::GateError;
use crate::primitives::Digest;

/// Why a roster is refused. None is cured by trying again with the same bytes,
/// except where more signatures or a version in between are lacking.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The bytes are no roster.
    #[error("these bytes are no roster: {0}")]
    Gate(#[from] GateError),
    /// They are no member's description.
    #[error("these bytes are no member's description: {0}")]
    Description(GateError),
    /// What is proposed makes no version.
    #[error("{0}")]
    Proposal(String),
    /// A version breaks a rule that each has to keep.
    #[error("version {version} breaks a rule: {rule}")]
    Rule {
        /// The version.
        version: u64,
        /// What is wrong, a sentence without its end.
        rule: String,
    },
    /// A version does not fit the one before it.
    #[error("version {version} does not follow the one before it: {rule}")]
    Follows {
        /// The version.
        version: u64,
        /// What is wrong, a sentence without its end.
        rule: String,
    },
    /// It is of another federation than the one that is pinned.
    #[error("this is version 1 of another federation: its hash is {found}, and {pin} is pinned")]
    NotPinned {
        /// The hash of the body.
        found: Digest,
        /// What is pinned.
        pin: Digest,
    },
    /// An older version than the one in force, or one that was passed over.
    #[error("this is version {version}, and version {held} is in force: a roster never goes back")]
    Older {
        /// The version.
        version: u64,
        /// The version in force.
        held: u64,
    },
    /// A version in between is lacking.
    #[error("this is version {version}, but version {next} comes next: give the versions in their order")]
    Gap {
        /// The version.
        version: u64,
        /// The version that comes next.
        next: u64,
    },
    /// Not enough of those have signed who have to.
    #[error("{have} of the {need} signatures that are needed by signers of version {version} are there")]
    TooFewSigners {
        /// Whose signers.
        version: u64,
        /// How many of them have signed.
        have: u64,
        /// How many have to.
        need: u64,
    },
    /// Two versions of one number were signed, and nobody has decided yet.
    #[error(
        "two versions {version} were signed, {held} and {other}: none is followed further until the operator decides \
         which one counts (the setting federation_decided)"
    )]
    Undecided {
        /// The number of both.
        version: u64,
        /// The hash of the one in force.
        held: Digest,
        /// The hash of the other one.
        other: Digest,
    },
}
