//! The one error of this floor.

use crate::encoding::cbor::GateError;
use crate::encoding::zlib::ZlibError;

use super::keys::KeyError;

/// Why bytes are not a credential, or not a good one. None of these is cured
/// by trying again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The bytes did not pass the CBOR gate, or are not of the form due here.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// A key inside it is no good key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The status list does not inflate.
    #[error(transparent)]
    Zlib(#[from] ZlibError),
    /// The form is right, the content is not allowed.
    #[error("{0}")]
    Content(&'static str),
    /// The protected header names an algorithm other than EdDSA or Ed25519.
    #[error("the signature algorithm is neither EdDSA (-8) nor Ed25519 (-19)")]
    UnknownAlgorithm,
    /// The type in the protected header is another one.
    #[error("the credential's type is not {expected}")]
    WrongType {
        /// The type that is due here.
        expected: &'static str,
    },
    /// A credential of a kind that is not known here.
    #[error("a credential of an unknown kind")]
    UnknownKind,
    /// A credential, but of another kind than is due here.
    #[error("this is a {found}, but a {expected} is needed")]
    WrongKind {
        /// The kind that is due here.
        expected: &'static str,
        /// The kind that came.
        found: &'static str,
    },
    /// The signature is not this key's over these bytes.
    #[error("the signature does not fit the credential and the key")]
    BadSignature,
}
