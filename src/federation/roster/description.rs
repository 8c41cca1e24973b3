//! What a member hands to whoever drafts the next version: who it is, its keys,
//! and the proofs that it has them. A file of its own, so that no secret key leaves
//! its node.
//!
//! ```text
//! ["tallystick/member/v1", federation: bstr .size 16, member]     (schemas/roster.cddl)
//! ```
//!
//! The member is active there and joined at 0: from when on, the draft says.

use serde_cbor::Value;

use super::body::{Member, Role};
use super::{RosterError, possession};
use crate::credential::SecretKey;
use crate::encoding::cbor::{self, GateError};
use crate::primitives::{FederationId, Origin, UnixSeconds, limits};

use super::body::{KeyState, MemberKey, MemberStatus};

const NAME: &str = "tallystick/member/v1";

/// A member's own description. What [`Description::decode`] gives has proven every
/// key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// For which federation: the proofs hold in no other.
    pub federation: FederationId,
    /// The member as it would be listed.
    pub member: Member,
}

impl Description {
    /// The description of the member at `base_url`, with proofs of its keys. Its
    /// witness bears the name of its log.
    #[must_use]
    pub fn new<'a>(
        federation: FederationId,
        name: String,
        base_url: Origin,
        keys: impl IntoIterator<Item = (Role, &'a SecretKey)>,
        mirrors: Vec<String>,
    ) -> Self {
        let did = base_url.did_web();
        let keys = keys.into_iter().map(|(role, key)| MemberKey {
            role,
            key: *key.public(),
            proof: possession::prove(federation, &did, role, key),
            state: KeyState::Active,
        });
        let mut member = Member {
            name,
            witness_name: base_url.authority().to_owned(),
            base_url,
            keys: keys.collect(),
            status: MemberStatus::Active,
            joined: UnixSeconds(0),
            mirrors,
        };
        member.sort();
        Self { federation, member }
    }

    /// Reads one through the gate and verifies its proofs.
    ///
    /// # Errors
    /// [`RosterError::Description`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RosterError> {
        Self::read(bytes).map_err(RosterError::Description)
    }

    fn read(bytes: &[u8]) -> Result<Self, GateError> {
        let value = cbor::decode(bytes, limits::MEMBER_DESCRIPTION_BYTES_MAX)?;
        let [name, federation, member] =
            cbor::as_tuple(&value, "it is an array of its name, a federation and a member")?;
        if cbor::as_text(name, "it begins with its name")? != NAME {
            return Err(GateError::Shape("its name is another one"));
        }
        let read = Self {
            federation: FederationId(cbor::as_byte_array(federation, "a federation's id is 16 bytes")?),
            member: Member::read(member)?,
        };
        let member = &read.member;
        if member.joined != UnixSeconds(0) || !member.is_active() {
            return Err(GateError::Shape(
                "who hands it in is active there, and joined at 0",
            ));
        }
        if member.keys.iter().any(|key| key.state != KeyState::Active) {
            return Err(GateError::Shape("a member hands in active keys"));
        }
        let did = member.did();
        if !member
            .keys
            .iter()
            .all(|key| possession::holds(read.federation, &did, key))
        {
            return Err(GateError::Shape("a key has no proof that the member has it"));
        }
        Ok(read)
    }

    /// The bytes to hand in.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&Value::Array(vec![
            cbor::text(NAME),
            cbor::bytes(self.federation),
            self.member.to_value(),
        ]))
    }
}
