//! Fixed-size byte strings with a meaning.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

macro_rules! byte_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal, $encoding:expr, $form:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            #[doc = concat!("Reads the ", $form, " form that [`fmt::Display`] prints.")]
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let bytes = $encoding.decode(text.as_bytes()).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }

            /// The bytes, when `bytes` has the right length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Some(Self(bytes.try_into().ok()?))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$encoding.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

byte_newtype!(
    /// A SHA-256 digest: an entry's hash, a tree's root, a details root.
    Digest, 32, BASE64URL_NOPAD, "base64url (no padding)"
);
byte_newtype!(
    /// The name of a coupon or receipt in logs, evidence and look-ups: SHA-256
    /// over a domain string and the whole COSE bytes, signature included.
    Tag, 32, BASE64URL_NOPAD, "base64url (no padding)"
);
byte_newtype!(
    /// A campaign's identity: the first 16 bytes of SHA-256 over its
    /// `Sig_structure`.
    CampaignId, 16, BASE64URL_NOPAD, "base64url (no padding)"
);
byte_newtype!(
    /// A redemption's or reversal's identity: 16 random bytes, the request id
    /// that stays the same over retries.
    RedemptionId, 16, BASE64URL_NOPAD, "base64url (no padding)"
);
byte_newtype!(
    /// A federation's identity: 16 random bytes, drawn once.
    FederationId, 16, BASE64URL_NOPAD, "base64url (no padding)"
);
byte_newtype!(
    /// A COSE `kid`: the first 8 bytes of the key's COSE Key thumbprint (RFC 9679).
    KeyId, 8, HEXLOWER, "lower-case hexadecimal"
);

impl Default for Digest {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Digest {
    /// 32 zero bytes: the hash before the first.
    pub const ZERO: Self = Self([0; 32]);
}
