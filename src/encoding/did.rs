//! Decentralised identifiers: `did:key` for Ed25519 keys and `did:web` for
//! nodes (W3C DID methods of those names).

use multibase::Base;

use crate::primitives::{Origin, limits};

/// Multicodec `ed25519-pub` (0xed) as an unsigned varint.
const ED25519_PUB: [u8; 2] = [0xed, 0x01];

/// 34 bytes in base58 are 48 characters with the multibase prefix; base58 is
/// quadratic, so what is longer is not decoded.
const DID_KEY_CHARS: usize = "did:key:".len() + 48;

/// Why a DID was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DidError {
    /// Not `did:key:z…` of an Ed25519 key.
    #[error("not a did:key of an Ed25519 key (did:key:z6Mk…)")]
    Key,
    /// Not `did:web:host` or `did:web:host%3Aport`.
    #[error("not a did:web of a host (did:web:HOST or did:web:HOST%3APORT, in lower case)")]
    Web,
}

/// The `did:key` of an Ed25519 public key.
#[must_use]
pub fn encode_did_key(public_key: &[u8; 32]) -> String {
    let mut bytes = ED25519_PUB.to_vec();
    bytes.extend_from_slice(public_key);
    format!("did:key:{}", multibase::encode(Base::Base58Btc, bytes))
}

/// The 32 bytes of the Ed25519 public key in a `did:key`. Whether they are a
/// good key is not checked here.
///
/// # Errors
/// [`DidError::Key`].
pub fn decode_did_key(did: &str) -> Result<[u8; 32], DidError> {
    let text = did.strip_prefix("did:key:").ok_or(DidError::Key)?;
    if did.len() != DID_KEY_CHARS || !text.starts_with('z') {
        return Err(DidError::Key);
    }
    let (_, bytes) = multibase::decode(text).map_err(|_| DidError::Key)?;
    let key = bytes.strip_prefix(&ED25519_PUB).ok_or(DidError::Key)?;
    key.try_into().map_err(|_| DidError::Key)
}

/// Host and port of a `did:web` without a path, in the one spelling that
/// [`Origin::did_web`] writes.
///
/// # Errors
/// [`DidError::Web`].
pub fn did_web_authority(did: &str) -> Result<String, DidError> {
    let host = did.strip_prefix("did:web:").ok_or(DidError::Web)?;
    if host.len() > limits::AUTHORITY_CHARS_MAX {
        return Err(DidError::Web);
    }
    let origin =
        Origin::parse(&format!("https://{}", host.replace("%3A", ":"))).map_err(|_| DidError::Web)?;
    // A default port would be folded away; a did that is not the one spelling is refused.
    if origin.did_web() == did {
        Ok(origin.authority().to_owned())
    } else {
        Err(DidError::Web)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The Ed25519 example of the did:key method's specification.
    const KNOWN: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    const KNOWN_HEX: &str = "2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6";

    #[test]
    fn known_did_key() {
        let key = decode_did_key(KNOWN).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&key), KNOWN_HEX);
        assert_eq!(encode_did_key(&key), KNOWN);
    }

    #[test]
    fn other_dids_are_refused() {
        for did in [
            "",
            "did:key:",
            "did:key:z6Mk",
            "did:web:coop.example",
            "did:key:m6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
            "did:key:z0MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
            "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        ] {
            assert_eq!(decode_did_key(did), Err(DidError::Key), "{did}");
        }
    }

    #[test]
    fn did_web_has_one_spelling() {
        assert_eq!(did_web_authority("did:web:coop.example").unwrap(), "coop.example");
        assert_eq!(
            did_web_authority("did:web:coop.example%3A8443").unwrap(),
            "coop.example:8443"
        );
        for did in [
            "did:web:",
            "did:web:Coop.example",
            "did:web:coop.example:shop",
            "did:web:coop.example%3a8443",
            "did:web:coop.example%3A443",
            "did:web:coop.example/",
            "did:web:coop.example%2Fshop",
            "web:coop.example",
        ] {
            assert_eq!(did_web_authority(did), Err(DidError::Web), "{did}");
        }
    }

    proptest! {
        #[test]
        fn did_key_round_trip(key: [u8; 32]) {
            let did = encode_did_key(&key);
            prop_assert_eq!(did.len(), DID_KEY_CHARS);
            prop_assert_eq!(decode_did_key(&did).unwrap(), key);
        }
    }
}
