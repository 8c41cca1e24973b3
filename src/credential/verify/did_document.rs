//! A node's `did.json` (W3C DID core; the method `did:web`): whose keys sign.
//!
//! In scope: `id`, and the entries of `verificationMethod` of type
//! `JsonWebKey` with an Ed25519 key (RFC 8037), which are named
//! `#<kid in hex>`. Other entries, and those that say that they were `revoked`
//! (Controlled Identifiers 1.0, section 2.2), are none of a credential's keys and
//! are passed over.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::credential::{KeyError, PublicKey};
use crate::encoding::did::{self, DidError};
use crate::primitives::{KeyId, limits};

/// Why a did document was refused. It is refused whole: a document with one
/// bad key was not written by a node that can be trusted with the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DidDocumentError {
    /// Longer than [`limits::DID_DOCUMENT_BYTES_MAX`].
    #[error("a did document has at most {max} bytes", max = limits::DID_DOCUMENT_BYTES_MAX)]
    TooLong,
    /// Not JSON, or not of a did document's shape.
    #[error("not a did document: {0}")]
    Shape(String),
    /// Its `id` is not a did:web of a host.
    #[error("its id is {0}")]
    Id(DidError),
    /// A key that is no good key.
    #[error("its key {name} is refused: {error}")]
    Key {
        /// The fragment that names the key.
        name: String,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A key whose name is not its kid.
    #[error("its key {name} is refused: by its x, its name is #{kid}")]
    KeyName {
        /// The `id` of the entry.
        name: String,
        /// The kid computed from the key (RFC 9679).
        kid: KeyId,
    },
    /// No key that could sign a credential.
    #[error("it holds no Ed25519 key of type JsonWebKey that was not revoked")]
    NoKey,
}

/// A node's name and the keys that it signs credentials with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    /// Host and port, out of the did:web.
    pub authority: String,
    /// Its Ed25519 keys.
    pub keys: Vec<PublicKey>,
}

impl DidDocument {
    /// Reads a `did.json`. Every kid is computed anew from the key.
    ///
    /// # Errors
    /// [`DidDocumentError`].
    pub fn parse(json: &[u8]) -> Result<Self, DidDocumentError> {
        if json.len() > limits::DID_DOCUMENT_BYTES_MAX {
            return Err(DidDocumentError::TooLong);
        }
        let document: Value =
            serde_json::from_slice(json).map_err(|error| DidDocumentError::Shape(error.to_string()))?;
        let id = document["id"].as_str().ok_or_else(|| shape("id is missing"))?;
        let authority = did::did_web_authority(id).map_err(DidDocumentError::Id)?;
        let methods = document["verificationMethod"]
            .as_array()
            .ok_or_else(|| shape("verificationMethod is missing"))?;
        let mut keys = Vec::new();
        for method in methods {
            keys.extend(read_method(id, method)?);
        }
        if keys.is_empty() {
            return Err(DidDocumentError::NoKey);
        }
        Ok(Self { authority, keys })
    }
}

fn read_method(did: &str, method: &Value) -> Result<Option<PublicKey>, DidDocumentError> {
    let jwk = &method["publicKeyJwk"];
    let ours = method["type"] == "JsonWebKey" && jwk["kty"] == "OKP" && jwk["crv"] == "Ed25519";
    // Whatever time it says: a document that is kept for long is read later too.
    let revoked = !method["revoked"].is_null();
    if !ours || revoked {
        return Ok(None);
    }
    let name = method["id"]
        .as_str()
        .ok_or_else(|| shape("a verificationMethod has no id"))?;
    let x = jwk["x"].as_str().unwrap_or_default();
    let bytes = BASE64URL_NOPAD
        .decode(x.as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let refused = |error| DidDocumentError::Key {
        name: name.to_owned(),
        error,
    };
    let bytes = bytes.ok_or_else(|| refused(KeyError::NotAPoint))?;
    let key = PublicKey::from_bytes(&bytes).map_err(refused)?;
    // A relative name is this document's (DID core, section 3.2).
    let fragment = name.strip_prefix(did).unwrap_or(name).strip_prefix('#');
    if fragment == Some(key.kid().to_string().as_str()) {
        Ok(Some(key))
    } else {
        Err(DidDocumentError::KeyName {
            name: name.to_owned(),
            kid: key.kid(),
        })
    }
}

fn shape(why: &str) -> DidDocumentError {
    DidDocumentError::Shape(why.to_owned())
}
