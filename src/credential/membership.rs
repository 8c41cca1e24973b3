//! Memberships (formats, section 3, kind 3).

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError};
use crate::primitives::{Digest, UnixSeconds, limits};

use super::claims::{self, CNF, CONTENT, Claims, EXP, NBF, STATUS};
use super::coupon::StatusRef;
use super::error::CredentialError;
use super::keys::PublicKey;
use super::signed::Content;

/// What a membership says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The class of membership as the co-op calls it, 1 to 16 bytes.
    pub class: String,
    /// The day of joining, in days since 1970-01-01.
    pub member_since_days: u32,
    /// The Merkle tree hash of what may be disclosed singly.
    pub details_root: Digest,
    /// Valid from.
    pub not_before: UnixSeconds,
    /// Valid until, this second excluded.
    pub not_after: UnixSeconds,
    /// The holder's key.
    pub holder: PublicKey,
    /// Where its status stands.
    pub status: StatusRef,
}

impl Content for Membership {
    const KIND: u64 = 3;
    const NAME: &'static str = "membership";

    fn to_value(&self) -> Value {
        let content = vec![
            cbor::int(Self::KIND),
            cbor::text(self.class.as_str()),
            cbor::int(self.member_since_days),
            cbor::bytes(self.details_root),
        ];
        cbor::map([
            (cbor::int(EXP), claims::time(self.not_after)),
            (cbor::int(NBF), claims::time(self.not_before)),
            (cbor::int(CNF), claims::cnf(&self.holder)),
            (cbor::int(STATUS), self.status.to_value()),
            (cbor::int(CONTENT), Value::Array(content)),
        ])
    }

    fn read(payload: &Value) -> Result<Self, CredentialError> {
        const WHAT: &str = "a membership's content is [3, class, member since, details root]";
        let claims = Claims::read(payload, &[EXP, NBF, CNF, STATUS, CONTENT])?;
        let [_, class, since, details_root] = cbor::as_tuple::<4>(claims.need(CONTENT)?, WHAT)?;
        let member_since_days: u32 = cbor::as_int(since, WHAT)?;
        if member_since_days > limits::DAY_NUMBER_MAX {
            return Err(GateError::Shape("the day of joining lies beyond the year 9999").into());
        }
        Ok(Self {
            class: claims::read_text(
                class,
                limits::MEMBERSHIP_CLASS_BYTES_MAX,
                "a membership's class is text of 1 to 16 bytes",
            )?,
            member_since_days,
            details_root: Digest(cbor::as_byte_array(details_root, WHAT)?),
            not_before: claims.time(NBF)?,
            not_after: claims.time(EXP)?,
            holder: claims::read_cnf(claims.need(CNF)?)?,
            status: StatusRef::read(claims.need(STATUS)?)?,
        })
    }
}
