//! A version with its signatures, as it travels.
//!
//! Who signs a version signs its body's bytes (COSE_Sign1 with a detached payload
//! and `external_aad` [`AAD`]). The signatures are a set, sorted by kid: two copies
//! of one body are merged, and signatures are no part of the version's identity.
//! What is read here is not yet verified; nothing of the body is decoded before
//! somebody who may has signed it ([`super::Chain`]), so that a stranger's megabyte
//! costs a hash and no more.

use std::sync::Arc;

use super::RosterError;
use super::body::{Roster, Signer, hash_of};
use crate::credential::{Algorithm, DetachedSignature, SecretKey};
use crate::encoding::cbor::GateError;
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::primitives::{Digest, limits};

/// What every signature of a roster is bound to.
pub const AAD: &[u8] = b"tallystick/roster/v1";

/// A body and the signatures that were gathered for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRoster {
    body: Arc<[u8]>,
    signatures: Vec<DetachedSignature>,
}

/// Who of some signers has signed a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The version whose signers they are.
    pub version: u64,
    /// How many have to sign.
    pub need: u64,
    /// The names of those who have, in the roster's order.
    pub signed: Vec<String>,
    /// The names of those who have not.
    pub missing: Vec<String>,
}

impl Tally {
    /// How many more have to sign.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        self.need.saturating_sub(self.signed.len() as u64)
    }
}

impl SignedRoster {
    /// A version that nobody has signed.
    #[must_use]
    pub fn unsigned(roster: &Roster) -> Self {
        Self {
            body: roster.encode().into(),
            signatures: Vec::new(),
        }
    }

    /// Reads body and signatures; the body is not looked into.
    ///
    /// # Errors
    /// [`RosterError::Gate`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RosterError> {
        let max = limits::ROSTER_BYTES_MAX;
        if bytes.len() > max {
            let len = bytes.len();
            return Err(GateError::TooLong { len, max }.into());
        }
        let read = Self::read(bytes).ok_or(GateError::Shape(
            "it is a body and up to 200 signatures, each a COSE_Sign1 with alg and kid and no payload",
        ))?;
        if !read.signatures.is_sorted_by(|a, b| a < b) {
            return Err(GateError::Shape("signatures are sorted by kid, and none stands there twice").into());
        }
        if read.encode() != bytes {
            return Err(GateError::NotDeterministic.into());
        }
        Ok(read)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.tuple(2)?;
        let body = reader.bytes()?.into();
        let count = usize::try_from(reader.array()?).ok()?;
        if count > limits::ROSTER_SIGNATURES_MAX {
            return None;
        }
        let signatures = (0..count)
            .map(|_| DetachedSignature::read(&mut reader))
            .collect::<Option<_>>()?;
        reader.is_done().then_some(Self { body, signatures })
    }

    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 90 * self.signatures.len() + 16);
        write::head(&mut out, write::ARRAY, 2);
        write::bytes(&mut out, &self.body);
        write::head(&mut out, write::ARRAY, self.signatures.len() as u64);
        for signature in &self.signatures {
            signature.write(&mut out);
        }
        out
    }

    /// The body's bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The version's identity.
    #[must_use]
    pub fn hash(&self) -> Digest {
        hash_of(&self.body)
    }

    /// The number that the body says it has, without reading the rest; for people.
    #[must_use]
    pub fn version_said(&self) -> Option<u64> {
        self.after_name()?.uint()
    }

    /// The hash that the body names as that of the version before, in the same way.
    #[must_use]
    pub fn previous_said(&self) -> Option<Digest> {
        let mut reader = self.after_name()?;
        reader.uint()?;
        (reader.uint()? == 4).then_some(())?;
        reader.byte_array().map(Digest)
    }

    /// From the value of the key 3 on.
    fn after_name(&self) -> Option<Reader<'_>> {
        let mut reader = Reader::new(&self.body);
        reader.map()?;
        (reader.uint()? == 1).then_some(())?;
        reader.bytes()?;
        (reader.uint()? == 2).then_some(())?;
        reader.text()?;
        (reader.uint()? == 3).then_some(reader)
    }

    /// What the body says, in keeping with the rules of one version.
    ///
    /// # Errors
    /// As [`Roster::decode`].
    pub fn roster(&self) -> Result<Roster, RosterError> {
        Roster::decode(&self.body)
    }

    /// How many signatures there are, good or not.
    #[must_use]
    pub fn signatures(&self) -> usize {
        self.signatures.len()
    }

    /// Adds the signature of `key`.
    ///
    /// # Errors
    /// [`RosterError::Gate`] where there is no room for it.
    pub fn sign(&mut self, key: &SecretKey, alg: Algorithm) -> Result<(), RosterError> {
        let made = DetachedSignature::sign(key, alg, &self.body, AAD);
        self.add([made])
    }

    /// Adds the signatures of `other`, a copy of the same body.
    ///
    /// # Errors
    /// [`RosterError::Gate`] for another body, and where there is no room.
    pub fn merge(&mut self, other: &Self) -> Result<(), RosterError> {
        if self.body != other.body {
            return Err(
                GateError::Shape("two different bodies: only signatures of the same one are merged").into(),
            );
        }
        self.add(other.signatures.iter().cloned())
    }

    fn add(&mut self, more: impl IntoIterator<Item = DetachedSignature>) -> Result<(), RosterError> {
        let mut signatures = self.signatures.clone();
        signatures.extend(more);
        signatures.sort_unstable();
        signatures.dedup();
        if signatures.len() > limits::ROSTER_SIGNATURES_MAX {
            return Err(GateError::Shape("a roster has at most 200 signatures").into());
        }
        self.signatures = signatures;
        Ok(())
    }

    /// Who of `signers`, those of `version` of whom `need` have to sign, has
    /// signed; each counts once, whatever he signed with.
    #[must_use]
    pub fn tally(&self, version: u64, need: u64, signers: &[Signer]) -> Tally {
        let (signed, missing): (Vec<_>, Vec<_>) = signers
            .iter()
            .partition(|signer| self.signature_of(signer).is_some());
        let names = |signers: Vec<&Signer>| signers.into_iter().map(|signer| signer.name.clone()).collect();
        Tally {
            version,
            need,
            signed: names(signed),
            missing: names(missing),
        }
    }

    /// The same body with one good signature of each of `signers` who has signed,
    /// and no other: what is kept and passed on.
    #[must_use]
    pub fn cleaned<'a>(&self, signers: impl IntoIterator<Item = &'a Signer>) -> Self {
        let good = signers.into_iter().filter_map(|signer| self.signature_of(signer));
        let mut signatures: Vec<_> = good.cloned().collect();
        signatures.sort_unstable();
        signatures.dedup();
        Self {
            body: Arc::clone(&self.body),
            signatures,
        }
    }

    /// The first good signature of `signer`, in their order.
    fn signature_of(&self, signer: &Signer) -> Option<&DetachedSignature> {
        let kid = signer.key.kid();
        let begin = self.signatures.partition_point(|signature| signature.kid() < kid);
        self.signatures[begin..]
            .iter()
            .take_while(|signature| signature.kid() == kid)
            .find(|signature| signature.verifies(&signer.key, &self.body, AAD))
    }
}
