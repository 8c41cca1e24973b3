//! Ed25519 keys (RFC 8032): signing, strict verification, names, PKCS#8.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use curve25519_dalek::edwards::EdwardsPoint;
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::pkcs8::ALGORITHM_ID;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use pkcs8::der::asn1::{BitStringRef, OctetStringRef};
use pkcs8::der::pem::PemLabel as _;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::encoding::did;
use crate::primitives::{Entropy, KeyId};

/// Deterministic CBOR of an OKP COSE Key (RFC 9679 section 3) up to its x:
/// `{1: 1, -1: 6, -2: h'…'}`.
const THUMBPRINT_PREFIX: [u8; 8] = [0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20];

/// scrypt's cost as PKCS#5 v2.1 implementations default to it: N = 2^15 (32 MiB,
/// about 0.1 s), r = 8, p = 1. Unit tests take a small N.
const SCRYPT_LOG_N: u8 = if cfg!(test) { 8 } else { 15 };
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the one encoding of a point on the curve.
    #[error("not an Ed25519 public key")]
    NotAPoint,
    /// A point of small order: anyone can sign under it.
    #[error("the public key is of small order: signatures under it prove nothing")]
    SmallOrder,
    /// Not a PKCS#8 PEM file of an Ed25519 key.
    #[error("not a PKCS#8 PEM file of an Ed25519 key")]
    NotPkcs8,
    /// The key is encrypted, and no passphrase was given.
    #[error("the key is encrypted, and no passphrase was given")]
    PassphraseMissing,
    /// A passphrase was given, but the key is not encrypted.
    #[error("a passphrase was given, but the key is not encrypted")]
    NotEncrypted,
    /// The passphrase does not open the key.
    #[error("the passphrase does not open the key")]
    WrongPassphrase,
}

/// An Ed25519 secret key. Wiped from memory when dropped; its bytes stand in
/// no `Debug` output.
#[derive(Clone)]
pub struct SecretKey {
    // `SigningKey` wipes itself on drop (feature `zeroize`).
    inner: SigningKey,
    // Signs in half of dalek's time; wipes itself when it is freed. Ed25519 is
    // deterministic, so the bytes are the same: a test compares them.
    signer: Arc<Ed25519KeyPair>,
    public: PublicKey,
    // Hashed once: each credential names it.
    kid: KeyId,
}

impl SecretKey {
    /// A new key from 32 random bytes.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let seed = Zeroizing::new(entropy.bytes::<32>());
        Self::from_seed(&seed)
    }

    /// The key of an RFC 8032 seed (its 32-byte 'private key').
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::from_signing(SigningKey::from_bytes(seed))
    }

    fn from_signing(inner: SigningKey) -> Self {
        let public = PublicKey {
            inner: inner.verifying_key(),
        };
        let seed = Zeroizing::new(inner.to_bytes());
        let signer = Ed25519KeyPair::from_seed_and_public_key(&*seed, public.as_bytes())
            .expect("a seed and the public key made from it");
        Self {
            inner,
            signer: Arc::new(signer),
            kid: public.kid(),
            public,
        }
    }

    /// The seed, for writing it down. Wiped when dropped.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.inner.to_bytes())
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The kid of its public half.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The signature of `message` (RFC 8032 section 5.1.6, deterministic).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.signer.sign(message).as_ref());
        signature
    }

    /// Reads a PKCS#8 PEM file (RFC 8410; encrypted: RFC 8018 PBES2). With a
    /// passphrase the file has to be encrypted, without one it must not be.
    ///
    /// # Errors
    /// [`KeyError`]; a wrong passphrase is told apart from a damaged file only
    /// as far as padding shows it.
    pub fn from_pkcs8_pem(pem: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|_| KeyError::NotPkcs8)?;
        let encrypted = label == EncryptedPrivateKeyInfoRef::PEM_LABEL;
        if !encrypted && label != PrivateKeyInfoRef::PEM_LABEL {
            return Err(KeyError::NotPkcs8);
        }
        match (encrypted, passphrase) {
            (true, None) => Err(KeyError::PassphraseMissing),
            (false, Some(_)) => Err(KeyError::NotEncrypted),
            (false, None) => Self::from_pkcs8_der(document.as_bytes()),
            (true, Some(passphrase)) => {
                let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                    .map_err(|_| KeyError::NotPkcs8)?;
                let opened = sealed
                    .decrypt(passphrase)
                    .map_err(|_| KeyError::WrongPassphrase)?;
                // A wrong passphrase passes the padding check once in 256 times.
                Self::from_pkcs8_der(opened.as_bytes()).map_err(|_| KeyError::WrongPassphrase)
            }
        }
    }

    fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::NotPkcs8)?;
        SigningKey::try_from(info)
            .map(Self::from_signing)
            .map_err(|_| KeyError::NotPkcs8)
    }

    /// Writes a PKCS#8 PEM file: encrypted (scrypt, AES-256-CBC) when a
    /// passphrase is given. `entropy` makes salt and IV.
    #[must_use]
    pub fn to_pkcs8_pem(&self, passphrase: Option<&str>, entropy: &dyn Entropy) -> Zeroizing<String> {
        // RFC 8410 section 7: the seed is an octet string inside an octet string.
        let mut nested = Zeroizing::new([0; 34]);
        nested[..2].copy_from_slice(&[0x04, 0x20]);
        nested[2..].copy_from_slice(&*self.seed());
        let info = PrivateKeyInfoRef {
            algorithm: ALGORITHM_ID,
            private_key: OctetStringRef::new(&*nested).expect("34 bytes"),
            public_key: None::<BitStringRef<'_>>,
        };
        let (label, document) = match passphrase {
            None => (
                PrivateKeyInfoRef::PEM_LABEL,
                SecretDocument::encode_msg(&info).expect("a key of fixed size encodes"),
            ),
            Some(passphrase) => (
                EncryptedPrivateKeyInfoRef::PEM_LABEL,
                info.encrypt_with_params(encryption(entropy), passphrase)
                    .expect("fixed, valid parameters encrypt"),
            ),
        };
        document
            .to_pem(label, LineEnding::LF)
            .expect("PEM of a short document")
    }
}

fn encryption(entropy: &dyn Entropy) -> pbes2::Parameters {
    let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).expect("constant, valid parameters");
    pbes2::Parameters::generate_scrypt_aes256cbc(cost, &entropy.bytes::<16>(), entropy.bytes::<16>())
        .expect("constant, valid parameters")
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public.did_key())
    }
}

/// The members of a JSON Web Key (RFC 8037 section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    /// Key type: `OKP`.
    pub kty: &'static str,
    /// Curve: `Ed25519`.
    pub crv: &'static str,
    /// The key, base64url without padding.
    pub x: String,
}

/// An Ed25519 public key: a point of the curve in its one encoding, not of
/// small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    inner: VerifyingKey,
}

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032 section 5.1.2.
    ///
    /// # Errors
    /// [`KeyError::NotAPoint`] and [`KeyError::SmallOrder`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let inner = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if inner.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        // The library takes a y beyond the field's prime; one key has one encoding.
        if inner.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::NotAPoint);
        }
        Ok(Self { inner })
    }

    /// Reads a `did:key`.
    ///
    /// # Errors
    /// [`KeyError::NotAPoint`] also for text that is no such did.
    pub fn from_did_key(text: &str) -> Result<Self, KeyError> {
        let bytes = did::decode_did_key(text).map_err(|_| KeyError::NotAPoint)?;
        Self::from_bytes(&bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.inner.as_bytes()
    }

    /// The COSE Key thumbprint (RFC 9679): SHA-256 of the required members.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(THUMBPRINT_PREFIX);
        hasher.update(self.as_bytes());
        hasher.finalize().into()
    }

    /// The kid: the first 8 bytes of the thumbprint.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        let [a, b, c, d, e, f, g, h, ..] = self.thumbprint();
        KeyId([a, b, c, d, e, f, g, h])
    }

    /// The `did:key`.
    #[must_use]
    pub fn did_key(&self) -> String {
        did::encode_did_key(self.as_bytes())
    }

    /// The members of its JSON Web Key.
    #[must_use]
    pub fn to_jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP",
            crv: "Ed25519",
            x: BASE64URL_NOPAD.encode(self.as_bytes()),
        }
    }

    /// True if `signature` is this key's over `message`. Strict: small-order
    /// parts and non-canonical scalars are refused.
    #[must_use]
    pub fn verify_strict(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.inner
            .verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }

    /// The point.
    pub(super) fn point(&self) -> EdwardsPoint {
        self.inner.to_edwards()
    }
}

/// A public key, as it is or with a table of its multiples
/// ([`KnownKey`](super::KnownKey)): both accept the same signatures.
pub trait Verifies {
    /// As [`PublicKey::verify_strict`].
    #[must_use]
    fn verify_strict(&self, message: &[u8], signature: &[u8; 64]) -> bool;
}

impl Verifies for PublicKey {
    fn verify_strict(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        PublicKey::verify_strict(self, message, signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.did_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::fixtures::{CountingEntropy, hex};

    fn hex_array<const N: usize>(text: &str) -> [u8; N] {
        hex(text).try_into().unwrap()
    }

    /// Two implementations, one deterministic signature.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        use ed25519_dalek::Signer as _;
        let entropy = CountingEntropy::new(1);
        for length in (0..300).step_by(7) {
            let key = SecretKey::generate(&entropy);
            let message = vec![0x5a; length];
            let dalek = SigningKey::from_bytes(&key.seed()).sign(&message);
            assert_eq!(key.sign(&message), dalek.to_bytes());
        }
    }

    /// RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
    #[test]
    fn rfc_8032_vectors() {
        for [seed, public, message, signature] in [
            [
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ],
            [
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ],
            [
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ],
        ] {
            let key = SecretKey::from_seed(&hex_array(seed));
            assert_eq!(key.public(), &PublicKey::from_bytes(&hex_array(public)).unwrap());
            assert_eq!(key.sign(&hex(message)), hex_array(signature));
            assert!(key.public().verify_strict(&hex(message), &hex_array(signature)));
            assert!(
                !key.public()
                    .verify_strict(b"another message", &hex_array(signature))
            );
        }
    }

    /// RFC 8410 section 10.3: the private key, and section 10.1: its public key.
    #[test]
    fn rfc_8410_private_key() {
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let key = SecretKey::from_pkcs8_pem(pem, None).unwrap();
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(key.public().as_bytes(), &hex_array(public));
        assert_eq!(*key.to_pkcs8_pem(None, &CountingEntropy::new(0)), pem);
    }

    /// The same key as OpenSSL 3.0 encrypted it (`pkcs8 -topk8 -scrypt -scrypt_N 256`).
    #[test]
    fn a_key_that_openssl_encrypted() {
        let pem = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
                   MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAhIofcDKC0SBgICAQAC\n\
                   AQgCAQEwHQYJYIZIAWUDBAEqBBDpNe9p5A44jEoJulKxy9tMBEAl2t7F3V8l4JxU\n\
                   j7re6vZSTN2tBDCCmj+JFP4Ay30gJRR6T1KPYVGouUNcEhlLYMF1zEOZIL4QDwEr\n\
                   7XE60ejs\n\
                   -----END ENCRYPTED PRIVATE KEY-----\n";
        let key = SecretKey::from_pkcs8_pem(pem, Some("correct horse")).unwrap();
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(key.public().as_bytes(), &hex_array(public));
    }

    #[test]
    fn encrypted_keys_need_their_passphrase() {
        let entropy = CountingEntropy::new(1);
        let key = SecretKey::generate(&entropy);
        let plain = key.to_pkcs8_pem(None, &entropy);
        let sealed = key.to_pkcs8_pem(Some("correct horse"), &entropy);
        assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let opened = SecretKey::from_pkcs8_pem(&sealed, Some("correct horse")).unwrap();
        assert_eq!(opened.public(), key.public());
        let refuse = |pem: &str, passphrase| SecretKey::from_pkcs8_pem(pem, passphrase).unwrap_err();
        assert_eq!(refuse(&sealed, Some("wrong")), KeyError::WrongPassphrase);
        assert_eq!(refuse(&sealed, None), KeyError::PassphraseMissing);
        assert_eq!(refuse(&plain, Some("correct horse")), KeyError::NotEncrypted);
        assert_eq!(refuse("no key", None), KeyError::NotPkcs8);
        assert_eq!(
            refuse(&plain.replace("PRIVATE", "PUBLIC"), None),
            KeyError::NotPkcs8
        );
    }

    #[test]
    fn debug_names_the_public_key_alone() {
        let key = SecretKey::from_seed(&[0xab; 32]);
        let did_key = key.public().did_key();
        assert!(did_key.starts_with("did:key:z6Mk"));
        assert_eq!(format!("{:?}", key.public()), format!("PublicKey({did_key})"));
        assert_eq!(format!("{key:?}"), format!("SecretKey(of {did_key})"));
    }

    #[test]
    fn small_order_and_crooked_keys_are_refused() {
        let mut weak: Vec<[u8; 32]> = vec![[0; 32]];
        weak.extend([
            hex_array("0100000000000000000000000000000000000000000000000000000000000000"),
            hex_array("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
            hex_array("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            hex_array("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
        ]);
        for bytes in weak {
            assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::SmallOrder));
        }
        // y = p + n: a second spelling of y = n.
        for n in 0..19_u8 {
            let mut bytes = [0xff; 32];
            bytes[0] = 0xed + n;
            bytes[31] = 0x7f;
            assert!(PublicKey::from_bytes(&bytes).is_err(), "p + {n}");
        }
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert_eq!(PublicKey::from_bytes(&no_point), Err(KeyError::NotAPoint));
    }

    /// A small-order key 'verifies' a crafted signature anywhere but in strict
    /// verification; here not even the key is taken, and R = identity, S = 0
    /// fails under a good key.
    #[test]
    fn crafted_signatures_fail() {
        let key = SecretKey::from_seed(&[7; 32]);
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!key.public().verify_strict(b"anything", &signature));
    }

    /// RFC 9679 section 3: SHA-256 of the deterministic COSE Key with its
    /// required members only.
    #[test]
    fn thumbprint_and_kid() {
        use crate::encoding::cbor;
        let public = *SecretKey::from_seed(&[7; 32]).public();
        let cose_key = cbor::map([
            (cbor::int(1), cbor::int(1)),
            (cbor::int(-1), cbor::int(6)),
            (cbor::int(-2), cbor::bytes(public.as_bytes())),
        ]);
        let encoded = cbor::encode(&cose_key);
        assert_eq!(encoded.len(), 40);
        let expected: [u8; 32] = Sha256::digest(&encoded).into();
        assert_eq!(public.thumbprint(), expected);
        assert_eq!(public.kid().0, expected[..8]);
        assert_eq!(PublicKey::from_did_key(&public.did_key()), Ok(public));
        assert_eq!(
            BASE64URL_NOPAD.decode(public.to_jwk().x.as_bytes()).unwrap(),
            public.as_bytes()
        );
    }
}
