//! Proofs of possession: whoever has a key listed as his has signed so with it.
//! Without them a co-op could have another one's key listed as its own, and claim
//! what that one signs.
//!
//! ```text
//! ["tallystick/key-possession/v1", federation: bstr .size 16, did: tstr, role: uint, key: bstr .size 32]
//! ```
//!
//! These bytes are no message of any other kind: a key for credentials signs
//! arrays that begin with "Signature1", keys of logs and witnesses sign text.

use std::collections::HashSet;

use serde_cbor::Value;

use super::RosterError;
use super::body::{Member, MemberKey, Role, Roster};
use super::rules::broken;
use crate::credential::{PublicKey, SecretKey};
use crate::encoding::cbor;
use crate::primitives::FederationId;

const NAME: &str = "tallystick/key-possession/v1";

/// What is signed.
fn message(federation: FederationId, did: &str, role: Role, key: &PublicKey) -> Vec<u8> {
    cbor::encode(&Value::Array(vec![
        cbor::text(NAME),
        cbor::bytes(federation),
        cbor::text(did),
        cbor::int(role.number()),
        cbor::bytes(key.as_bytes()),
    ]))
}

/// The proof that the member `did` of `federation` has `key`, for `role`.
#[must_use]
pub fn prove(federation: FederationId, did: &str, role: Role, key: &SecretKey) -> [u8; 64] {
    key.sign(&message(federation, did, role, key.public()))
}

/// Whether the proof of `key`, listed as that of the member `did`, holds.
#[must_use]
pub fn holds(federation: FederationId, did: &str, key: &MemberKey) -> bool {
    key.key
        .verify_strict(&message(federation, did, key.role, &key.key), &key.proof)
}

/// Verifies the proofs of all keys in `roster` but those that stand in `before`
/// with the same proof, whose proofs have been verified.
///
/// # Errors
/// [`RosterError::Rule`] that names the first key without one.
pub fn check_all(roster: &Roster, before: Option<&Roster>) -> Result<(), RosterError> {
    let verified: HashSet<_> = before
        .filter(|before| before.federation == roster.federation)
        .into_iter()
        .flat_map(|before| &before.members)
        .flat_map(|member| member.keys.iter().map(|key| place(member, key)))
        .collect();
    for member in &roster.members {
        let did = member.did();
        for key in &member.keys {
            if !verified.contains(&place(member, key)) && !holds(roster.federation, &did, key) {
                return broken(
                    roster,
                    format!(
                        "{did} has not proven that it has the key {} that it lists for {}",
                        key.key.kid(),
                        key.role.word()
                    ),
                );
            }
        }
    }
    Ok(())
}

fn place<'a>(member: &'a Member, key: &'a MemberKey) -> (&'a str, Role, &'a [u8; 32], &'a [u8; 64]) {
    (member.log_origin(), key.role, key.key.as_bytes(), &key.proof)
}
