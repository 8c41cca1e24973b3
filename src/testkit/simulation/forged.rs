//! Messages under the key id of somebody who has not signed them.

use crate::credential::cose::{self, Algorithm};
use crate::credential::{SecretKey, Sign1};
use crate::federation::message::{self, Head, MessageName};
use crate::primitives::KeyId;

/// The key of whoever forges.
const SEED: [u8; 32] = [0xbb; 32];

/// Seals a message with the forger's own key, which it names.
#[must_use]
pub fn own(name: MessageName, head: &Head, body: &[u8]) -> Vec<u8> {
    message::seal(&SecretKey::from_seed(&SEED), name, head, body)
}

/// The same, naming the key `kid`, which is another's.
///
/// # Panics
/// Never.
#[must_use]
pub fn seal(kid: KeyId, name: MessageName, head: &Head, body: &[u8]) -> Vec<u8> {
    let sealed = own(name, head, body);
    let sealed = Sign1::parse(&sealed, name.most()).expect("a message");
    let key = SecretKey::from_seed(&SEED);
    let alg = Algorithm::EdDsa;
    cose::sign1(
        &key,
        alg,
        cose::TYP_MESSAGE,
        kid,
        sealed.payload(),
        name.external_aad(),
    )
}
