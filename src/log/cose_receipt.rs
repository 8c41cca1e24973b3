//! COSE receipts of inclusion and consistency (RFC 9942, RFC 9052, RFC 9162).
//!
//! ```text
//! 18([bstr {1: alg, 4: kid, 395: 1}, {396: {label: [bstr proof]}}, nil, signature])
//! label -1: proof = [tree size, leaf index, [+ bstr .size 32]]
//! label -2: proof = [tree size, later tree size, [+ bstr .size 32]]
//! ```
//!
//! The signature is by the log's key over the (later) tree's root as detached
//! payload. The subject of an inclusion is the entry. In scope: receipts with
//! one proof and an Ed25519 key. The signature does not bind the trees' sizes: a
//! verifier compares size and root with a signed checkpoint.

use ed25519_dalek::{Signature, VerifyingKey};
use serde_cbor::Value;

use super::LogError;
use crate::encoding::cbor::{self, GateError};
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::merkle::{self, Hash, root_of_path};
use crate::primitives::limits::COSE_RECEIPT_BYTES_MAX;
use crate::primitives::{Digest, KeyId};

/// COSE tag of `COSE_Sign1` (RFC 9052 section 2).
const TAG_SIGN1: u64 = 18;
const LABEL_ALG: i64 = 1;
const LABEL_KID: i64 = 4;
/// Verifiable data structure; 1 is RFC9162_SHA256 (RFC 9942).
const LABEL_VDS: i64 = 395;
const VDS_RFC9162_SHA256: i64 = 1;
/// Proofs; -1 are those of inclusion, -2 those of consistency (RFC 9942).
const LABEL_VDP: i64 = 396;
const VDP_INCLUSION: i64 = -1;
const VDP_CONSISTENCY: i64 = -2;
const LABELS: [i64; 2] = [VDP_INCLUSION, VDP_CONSISTENCY];
/// EdDSA (RFC 9053) and Ed25519 (RFC 9864).
const ALGS: [i64; 2] = [-8, -19];

/// Where an entry stands in which tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// Leaves in the tree, at least 2: a path has at least one hash.
    pub size: u64,
    /// The entry's index.
    pub index: u64,
    /// The audit path from the leaf upwards.
    pub path: Vec<Hash>,
}

/// That a tree begins with an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Leaves in the earlier tree, at least 1.
    pub first: u64,
    /// Leaves in the later tree, more than `first`: a path has at least one hash.
    pub second: u64,
    /// The proof (RFC 9162 section 2.1.4).
    pub path: Vec<Hash>,
}

/// What a receipt proves once it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// Tree size, index and path.
    pub inclusion: Inclusion,
    /// The root that the log's key has signed.
    pub root: Digest,
}

/// Makes the receipt of the entry with hash `entry_hash`: `sign` is given the
/// bytes to sign with the log's key, whose id is `kid`; `alg` is -8 or -19.
///
/// # Errors
/// [`LogError::Proof`] when the path does not fit size and index,
/// [`LogError::Receipt`] for a tree of size 1 and an unknown algorithm.
pub fn issue(
    entry_hash: &Digest,
    inclusion: &Inclusion,
    alg: i64,
    kid: KeyId,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<Vec<u8>, LogError> {
    if inclusion.path.is_empty() {
        return Err(shape("there is no receipt for a tree of size 1"));
    }
    let root = root_of_path(&entry_hash.0, inclusion.index, inclusion.size, &inclusion.path)?;
    let signed = SignedTree::new(inclusion.size, root, (alg, kid), sign)?;
    signed.receipt(inclusion.index, &inclusion.path)
}

/// A tree that the log's key has signed, to make the receipts of many entries of: the
/// signature covers the root alone.
#[derive(Clone, Debug)]
pub struct SignedTree {
    size: u64,
    root: Hash,
    protected: Vec<u8>,
    signature: [u8; 64],
}

impl SignedTree {
    /// Signs the tree of `size` leaves with `root`: `sign` is given the bytes to sign
    /// with the log's key, whose algorithm (-8 or -19) and id are `alg` and `kid`.
    ///
    /// # Errors
    /// [`LogError::Receipt`] for an unknown algorithm.
    pub fn new(
        size: u64,
        root: Hash,
        (alg, kid): (i64, KeyId),
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<Self, LogError> {
        let protected = protected_header(alg, kid)?;
        Ok(Self {
            size,
            root,
            signature: sign(&to_be_signed(&protected, &root)),
            protected,
        })
    }

    /// A tree that another log has signed with `key`, from what is the same in all its
    /// receipts: protected header and signature.
    ///
    /// # Errors
    /// [`LogError::Receipt`] for a header that is not of the form, [`LogError::NotSigned`].
    pub fn open(
        size: u64,
        root: Hash,
        (protected, signature): (&[u8], &[u8; 64]),
        key: &VerifyingKey,
    ) -> Result<Self, LogError> {
        read_protected(protected).map_err(LogError::Receipt)?;
        check_signature((protected, signature), &root, key)?;
        Ok(Self {
            size,
            root,
            protected: protected.to_vec(),
            signature: *signature,
        })
    }

    /// What is the same in all its receipts: protected header and signature.
    #[must_use]
    pub fn common(&self) -> (&[u8], &[u8; 64]) {
        (&self.protected, &self.signature)
    }

    /// The receipts of the entries with these indices, which increase strictly, and
    /// hashes, from their batch proof ([`merkle::batch_proof`]).
    ///
    /// # Errors
    /// [`LogError::Proof`] when the proof does not lead from them to the root,
    /// [`LogError::Receipt`] for a tree of size 1.
    pub fn receipts(&self, entries: &[(u64, Hash)], proof: &[Hash]) -> Result<Vec<Vec<u8>>, LogError> {
        let opened = merkle::open_batch(entries, self.size, proof)?;
        if opened.root != self.root {
            return Err(LogError::Proof(merkle::ProofError::WrongRoot));
        }
        let receipt = |((index, _), path): (&(u64, Hash), &Vec<Hash>)| self.receipt(*index, path);
        entries.iter().zip(&opened.paths).map(receipt).collect()
    }

    /// The receipt of the entry at `index`, whose path leads to the root.
    fn receipt(&self, index: u64, path: &[Hash]) -> Result<Vec<u8>, LogError> {
        if path.is_empty() {
            return Err(shape("there is no receipt for a tree of size 1"));
        }
        let proof = (self.size, index, path);
        Ok(assemble(&self.protected, VDP_INCLUSION, proof, &self.signature))
    }
}

/// Makes the receipt that the tree with root `second_root` begins with the one
/// with root `first_root`; the rest as of [`issue`].
///
/// # Errors
/// [`LogError::Proof`] when the proof does not hold, [`LogError::Receipt`] for
/// an empty path and an unknown algorithm.
pub fn issue_consistency(
    consistency: &Consistency,
    (first_root, second_root): (&Digest, &Digest),
    alg: i64,
    kid: KeyId,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<Vec<u8>, LogError> {
    let Consistency { first, second, path } = consistency;
    if path.is_empty() {
        return Err(shape(
            "there is no receipt where one of the trees is empty or both are one",
        ));
    }
    merkle::verify_consistency(*first, *second, &first_root.0, &second_root.0, path)?;
    let proof = (*first, *second, &path[..]);
    let protected = protected_header(alg, kid)?;
    let signature = sign(&to_be_signed(&protected, &second_root.0));
    Ok(assemble(&protected, VDP_CONSISTENCY, proof, &signature))
}

fn protected_header(alg: i64, kid: KeyId) -> Result<Vec<u8>, LogError> {
    if !ALGS.contains(&alg) {
        return Err(shape("the algorithm is -8 or -19"));
    }
    let mut out = Vec::with_capacity(20);
    write::head(&mut out, write::MAP, 3);
    write::int(&mut out, LABEL_ALG);
    write::int(&mut out, alg);
    write::int(&mut out, LABEL_KID);
    write::bytes(&mut out, &kid.0);
    write::int(&mut out, LABEL_VDS);
    write::int(&mut out, VDS_RFC9162_SHA256);
    Ok(out)
}

/// The receipt with one proof under `label`.
fn assemble(
    protected: &[u8],
    label: i64,
    (first, second, path): (u64, u64, &[Hash]),
    signature: &[u8; 64],
) -> Vec<u8> {
    let mut proof = Vec::with_capacity(24 + 34 * path.len());
    write::head(&mut proof, write::ARRAY, 3);
    write::uint(&mut proof, first);
    write::uint(&mut proof, second);
    write::head(&mut proof, write::ARRAY, path.len() as u64);
    for hash in path {
        write::bytes(&mut proof, hash);
    }
    let mut out = Vec::with_capacity(proof.len() + protected.len() + 96);
    write::head(&mut out, write::TAG, TAG_SIGN1);
    write::head(&mut out, write::ARRAY, 4);
    write::bytes(&mut out, protected);
    write::head(&mut out, write::MAP, 1);
    write::int(&mut out, LABEL_VDP);
    write::head(&mut out, write::MAP, 1);
    write::int(&mut out, label);
    write::head(&mut out, write::ARRAY, 1);
    write::bytes(&mut out, &proof);
    write::null(&mut out);
    write::bytes(&mut out, signature);
    out
}

/// The id of the key that a receipt names, to find the key by. Not verified.
///
/// # Errors
/// [`LogError::Receipt`] when `receipt` is not of the form.
pub fn key_id(receipt: &[u8]) -> Result<KeyId, LogError> {
    Parts::read(receipt)
        .map(|parts| parts.kid)
        .map_err(LogError::Receipt)
}

/// Checks that `receipt` is the log's statement that the entry with hash
/// `entry_hash` is in its tree. Compare size and root with a checkpoint.
///
/// # Errors
/// [`LogError::Receipt`] when it is not of the form, [`LogError::Proof`] when
/// the path does not fit, [`LogError::NotSigned`] when the key has not signed
/// the root that the path leads to.
pub fn verify(receipt: &[u8], entry_hash: &Digest, key: &VerifyingKey) -> Result<Included, LogError> {
    let parts = Parts::read_as(receipt, VDP_INCLUSION, "it is no receipt of inclusion")?;
    let (size, index) = parts.proof.numbers;
    let root = root_of_path(&entry_hash.0, index, size, &parts.proof.path)?;
    parts.check_signature(&root, key)?;
    let path = parts.proof.path;
    Ok(Included {
        inclusion: Inclusion { size, index, path },
        root: Digest(root),
    })
}

/// Checks that `receipt` is the log's statement that its tree with root
/// `second_root` begins with the one with root `first_root`. Compare the sizes
/// with checkpoints, and the roots are theirs.
///
/// # Errors
/// As of [`verify`].
pub fn verify_consistency(
    receipt: &[u8],
    (first_root, second_root): (&Digest, &Digest),
    key: &VerifyingKey,
) -> Result<Consistency, LogError> {
    let parts = Parts::read_as(receipt, VDP_CONSISTENCY, "it is no receipt of consistency")?;
    let (first, second) = parts.proof.numbers;
    merkle::verify_consistency(first, second, &first_root.0, &second_root.0, &parts.proof.path)?;
    parts.check_signature(&second_root.0, key)?;
    let path = parts.proof.path;
    Ok(Consistency { first, second, path })
}

/// `Sig_structure` (RFC 9052 section 4.4) with empty `external_aad`.
fn to_be_signed(protected: &[u8], root: &Hash) -> Vec<u8> {
    cbor::encode(&Value::Array(vec![
        cbor::text("Signature1"),
        cbor::bytes(protected),
        cbor::bytes([]),
        cbor::bytes(root),
    ]))
}

fn shape(what: &'static str) -> LogError {
    LogError::Receipt(GateError::Shape(what))
}

/// A receipt taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    protected: Vec<u8>,
    kid: KeyId,
    proof: Proof,
    signature: [u8; 64],
}

/// The one proof of a receipt, by its label.
#[derive(Debug, PartialEq, Eq)]
struct Proof {
    label: i64,
    numbers: (u64, u64),
    path: Vec<Hash>,
}

impl Parts {
    fn read(receipt: &[u8]) -> Result<Self, GateError> {
        match Self::read_quickly(receipt) {
            Some(parts) => Ok(parts),
            None => Self::read_slowly(receipt),
        }
    }

    /// The quick way, which leaves what it does not take to the gate: what is read is
    /// written again and has to be the same.
    fn read_quickly(receipt: &[u8]) -> Option<Self> {
        if receipt.len() > COSE_RECEIPT_BYTES_MAX {
            return None;
        }
        let mut reader = Reader::new(receipt);
        reader.tag()?;
        reader.tuple(4)?;
        let protected = reader.bytes()?;
        reader.map()?;
        reader.int()?;
        reader.map()?;
        let label = reader.int().filter(|label| LABELS.contains(label))?;
        reader.array()?;
        let mut proof = Reader::new(reader.bytes()?);
        reader.optional::<()>(|_| None)?;
        let signature = reader.byte_array()?;
        proof.tuple(3)?;
        let numbers = (proof.uint()?, proof.uint()?);
        let length = proof.array()?;
        let mut path = Vec::new();
        while !proof.is_done() {
            path.push(proof.byte_array()?);
        }
        let mut header = Reader::new(protected);
        header.map()?;
        header.int()?;
        let alg = header.int()?;
        header.int()?;
        let kid = KeyId(header.byte_array()?);
        let same = length == path.len() as u64
            && !path.is_empty()
            && protected_header(alg, kid).ok()? == protected
            && assemble(protected, label, (numbers.0, numbers.1, &path), &signature) == receipt;
        same.then(|| Self {
            protected: protected.to_vec(),
            kid,
            proof: Proof { label, numbers, path },
            signature,
        })
    }

    fn read_slowly(receipt: &[u8]) -> Result<Self, GateError> {
        let value = cbor::decode(receipt, COSE_RECEIPT_BYTES_MAX)?;
        let Value::Tag(TAG_SIGN1, inner) = &value else {
            return Err(GateError::Shape("a receipt is a COSE_Sign1 with tag 18"));
        };
        let [protected, unprotected, payload, signature] =
            cbor::as_tuple(inner, "a COSE_Sign1 is an array of four")?;
        if *payload != Value::Null {
            return Err(GateError::Shape("a receipt's payload is detached"));
        }
        let protected = cbor::as_bytes(protected, "a protected header is a byte string")?;
        Ok(Self {
            protected: protected.to_vec(),
            kid: read_protected(protected)?,
            proof: read_proofs(unprotected)?,
            signature: cbor::as_byte_array(signature, "a signature is 64 bytes")?,
        })
    }

    fn read_as(receipt: &[u8], label: i64, other: &'static str) -> Result<Self, LogError> {
        let parts = Self::read(receipt).map_err(LogError::Receipt)?;
        if parts.proof.label == label {
            Ok(parts)
        } else {
            Err(shape(other))
        }
    }

    fn check_signature(&self, root: &Hash, key: &VerifyingKey) -> Result<(), LogError> {
        check_signature((&self.protected, &self.signature), root, key)
    }
}

fn check_signature(
    (protected, signature): (&[u8], &[u8; 64]),
    root: &Hash,
    key: &VerifyingKey,
) -> Result<(), LogError> {
    let signed = to_be_signed(protected, root);
    key.verify_strict(&signed, &Signature::from_bytes(signature))
        .map_err(|_| LogError::NotSigned)
}

/// Exactly alg, kid and the data structure: anything else could be critical.
fn read_protected(bytes: &[u8]) -> Result<KeyId, GateError> {
    const FORM: &str = "a receipt's protected header is {1: -8 or -19, 4: kid, 395: 1}";
    let header = cbor::decode(bytes, COSE_RECEIPT_BYTES_MAX)?;
    let header = cbor::as_map(&header, FORM)?;
    let field = |label: i64| header.get(&cbor::int(label)).ok_or(GateError::Shape(FORM));
    let alg: i64 = cbor::as_int(field(LABEL_ALG)?, FORM)?;
    let vds: i64 = cbor::as_int(field(LABEL_VDS)?, FORM)?;
    let kid = KeyId(cbor::as_byte_array(field(LABEL_KID)?, FORM)?);
    if header.len() == 3 && ALGS.contains(&alg) && vds == VDS_RFC9162_SHA256 {
        Ok(kid)
    } else {
        Err(GateError::Shape(FORM))
    }
}

fn read_proofs(unprotected: &Value) -> Result<Proof, GateError> {
    const FORM: &str = "a receipt's unprotected header is {396: {-1 or -2: [one proof]}}";
    let (_, proofs) = only(unprotected, &[LABEL_VDP], FORM)?;
    let (label, proofs) = only(proofs, &LABELS, FORM)?;
    let [proof] = cbor::as_tuple(proofs, FORM)?;
    let proof = cbor::decode(cbor::as_bytes(proof, FORM)?, COSE_RECEIPT_BYTES_MAX)?;
    let [first, second, path] = cbor::as_tuple(&proof, "a proof is two numbers and a path")?;
    let path = cbor::as_array(path, "a path is an array")?
        .iter()
        .map(|hash| cbor::as_byte_array(hash, "a path is made of hashes of 32 bytes"))
        .collect::<Result<Vec<Hash>, _>>()?;
    if path.is_empty() {
        return Err(GateError::Shape("a path has at least one hash"));
    }
    let number = |value| cbor::as_int(value, "sizes and indices are unsigned integers");
    Ok(Proof {
        label,
        numbers: (number(first)?, number(second)?),
        path,
    })
}

/// The only member of a map, whose key is one of `keys`.
fn only<'a>(map: &'a Value, keys: &[i64], what: &'static str) -> Result<(i64, &'a Value), GateError> {
    let map = cbor::as_map(map, what)?;
    let (found, value) = map.first_key_value().ok_or(GateError::Shape(what))?;
    let key = keys.iter().find(|key| *found == cbor::int(**key));
    match key {
        Some(key) if map.len() == 1 => Ok((*key, value)),
        _ => Err(GateError::Shape(what)),
    }
}

#[cfg(test)]
mod tests {
    use coset::{CborSerializable as _, TaggedCborSerializable as _};
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::{ProofError, leaf_hash, path_in, root_of};

    const KID: KeyId = KeyId([1, 2, 3, 4, 5, 6, 7, 8]);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn leaves() -> Vec<Hash> {
        (0..11_u8).map(|n| leaf_hash(&[n])).collect()
    }

    fn inclusion(index: usize) -> Inclusion {
        Inclusion {
            size: 11,
            index: index as u64,
            path: path_in(&leaves(), index).unwrap(),
        }
    }

    fn receipt(index: usize, alg: i64) -> Vec<u8> {
        let sign = |message: &[u8]| key().sign(message).to_bytes();
        issue(&Digest(leaves()[index]), &inclusion(index), alg, KID, sign).unwrap()
    }

    #[test]
    fn a_receipt_proves_its_entry_and_no_other() {
        let verifying = key().verifying_key();
        for alg in ALGS {
            let receipt = receipt(10, alg);
            let included = verify(&receipt, &Digest(leaves()[10]), &verifying).unwrap();
            assert_eq!(included.inclusion, inclusion(10));
            assert_eq!(included.root.0, root_of(&leaves()));
            assert_eq!(key_id(&receipt), Ok(KID));
            let other = Digest(leaves()[9]);
            assert_eq!(verify(&receipt, &other, &verifying), Err(LogError::NotSigned));
            let stranger = SigningKey::from_bytes(&[6; 32]).verifying_key();
            assert!(verify(&receipt, &Digest(leaves()[10]), &stranger).is_err());
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_reads_what_the_gate_reads(
            index in 0..11_usize,
            newer in any::<bool>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 16),
            end in any::<prop::sample::Index>(),
        ) {
            let bytes = receipt(index, if newer { -19 } else { -8 });
            prop_assert_eq!(Parts::read_quickly(&bytes), Parts::read_slowly(&bytes).ok());
            prop_assert!(Parts::read_quickly(&bytes).is_some());
            prop_assert_eq!(Parts::read_quickly(&bytes[..end.index(bytes.len())]), None);
            for (at, byte) in changes {
                let mut changed = bytes.clone();
                let at = at.index(changed.len());
                changed[at] = byte;
                if let Some(quick) = Parts::read_quickly(&changed) {
                    prop_assert_eq!(Parts::read_slowly(&changed), Ok(quick));
                }
            }
        }
    }

    #[test]
    fn receipts_of_a_signed_tree_are_those_of_the_entries() {
        let sign = |message: &[u8]| key().sign(message).to_bytes();
        let root = root_of(&leaves());
        let signed = SignedTree::new(11, root, (-8, KID), sign).unwrap();
        let opened = SignedTree::open(11, root, signed.common(), &key().verifying_key()).unwrap();
        for index in 0..11 {
            let entry = (index as u64, leaves()[index]);
            let path = inclusion(index).path;
            // Of one leaf it is the path, from the left.
            let size = path.len();
            let mut proof = path;
            proof.sort_by_key(leftmost);
            assert_eq!(proof.len(), size);
            for tree in [&signed, &opened] {
                assert_eq!(tree.receipts(&[entry], &proof), Ok(vec![receipt(index, -8)]));
                let elsewhere = ((index as u64 + 1) % 11, entry.1);
                assert!(tree.receipts(&[elsewhere], &proof).is_err());
            }
        }
        let all: Vec<(u64, Hash)> = (0..).zip(leaves()).collect();
        let receipts: Vec<Vec<u8>> = (0..11).map(|index| receipt(index, -8)).collect();
        assert_eq!(opened.receipts(&all, &[]), Ok(receipts));
        assert!(SignedTree::new(11, root, (-7, KID), sign).is_err());
        let (protected, signature) = signed.common();
        let stranger = SigningKey::from_bytes(&[6; 32]).verifying_key();
        for refused in [
            SignedTree::open(11, root, signed.common(), &stranger),
            SignedTree::open(11, [1; 32], signed.common(), &key().verifying_key()),
            SignedTree::open(11, root, (&protected[1..], signature), &key().verifying_key()),
        ] {
            assert!(refused.is_err());
        }
    }

    /// The first leaf under a node of the tree, by its hash.
    fn leftmost(hash: &Hash) -> usize {
        let leaves = leaves();
        let starts = (0..leaves.len()).flat_map(|from| (from + 1..=leaves.len()).map(move |to| (from, to)));
        let found = starts.filter(|(from, to)| root_of(&leaves[*from..*to]) == *hash);
        found.map(|(from, _)| from).next().unwrap()
    }

    #[test]
    fn a_receipt_of_consistency_proves_two_trees_and_no_others() {
        let verifying = key().verifying_key();
        let sign = |message: &[u8]| key().sign(message).to_bytes();
        let root = |size: usize| Digest(root_of(&leaves()[..size]));
        // RFC 9162, section 2.1.5: from 2 leaves, a whole subtree, to 4.
        let consistency = Consistency {
            first: 2,
            second: 4,
            path: vec![root_of(&leaves()[2..4])],
        };
        let of = |first, second, alg| {
            issue_consistency(&consistency, (&root(first), &root(second)), alg, KID, sign)
        };
        for alg in ALGS {
            let receipt = of(2, 4, alg).unwrap();
            let proven = verify_consistency(&receipt, (&root(2), &root(4)), &verifying);
            assert_eq!(proven.as_ref(), Ok(&consistency));
            assert_eq!(key_id(&receipt), Ok(KID));
            for (first, second) in [(3, 4), (2, 5), (4, 2)] {
                assert!(verify_consistency(&receipt, (&root(first), &root(second)), &verifying).is_err());
            }
            let stranger = SigningKey::from_bytes(&[6; 32]).verifying_key();
            let refused = verify_consistency(&receipt, (&root(2), &root(4)), &stranger);
            assert_eq!(refused, Err(LogError::NotSigned));
            // Neither is taken for the other.
            assert!(verify(&receipt, &Digest(leaves()[0]), &verifying).is_err());
            let schema = include_str!("../../schemas/cose-receipt.cddl");
            cddl::validate_cbor_from_slice(schema, &receipt, None).unwrap();
            let theirs = coset::CoseSign1::from_tagged_slice(&receipt).unwrap();
            let signature = Signature::from_slice(&theirs.signature).unwrap();
            let signed = theirs.tbs_detached_data(&root(4).0, &[]);
            verifying.verify_strict(&signed, &signature).unwrap();
        }
        let inclusion = receipt(3, -8);
        assert!(verify_consistency(&inclusion, (&root(2), &root(4)), &verifying).is_err());
        assert!(of(3, 4, -8).is_err());
        assert!(of(2, 4, -7).is_err());
        let none = Consistency {
            first: 4,
            second: 4,
            path: Vec::new(),
        };
        assert!(issue_consistency(&none, (&root(4), &root(4)), -8, KID, sign).is_err());
    }

    #[test]
    fn what_cannot_be_proven_is_not_issued() {
        let sign = |_: &[u8]| [0; 64];
        let entry = Digest(leaves()[0]);
        let alone = Inclusion {
            size: 1,
            index: 0,
            path: Vec::new(),
        };
        assert!(issue(&entry, &alone, -8, KID, sign).is_err());
        assert!(issue(&entry, &inclusion(0), -7, KID, sign).is_err());
        let mut long = inclusion(0);
        long.path.push([0; 32]);
        let wrong = LogError::Proof(ProofError::WrongLength);
        assert_eq!(issue(&entry, &long, -8, KID, sign), Err(wrong));
    }

    #[test]
    fn the_published_schema_says_the_same() {
        let schema = include_str!("../../schemas/cose-receipt.cddl");
        let valid = |bytes: &[u8]| cddl::validate_cbor_from_slice(schema, bytes, None);
        valid(&receipt(3, -8)).unwrap();
        let mut other = receipt(3, -8);
        let at = other.windows(3).position(|at| at == [0x19, 0x01, 0x8b]).unwrap();
        // 395: 2 is no data structure that we know.
        other[at + 3] = 2;
        assert!(valid(&other).is_err());
        assert!(key_id(&other).is_err());
    }

    /// The crate `coset` reads our receipt and builds the same signed bytes.
    #[test]
    fn another_implementation_agrees() {
        let receipt = receipt(4, -8);
        let sign1 = coset::CoseSign1::from_tagged_slice(&receipt).unwrap();
        let root = root_of(&leaves());
        let signature = Signature::from_slice(&sign1.signature).unwrap();
        assert_eq!(sign1.payload, None);
        assert_eq!(sign1.protected.header.key_id, KID.0);
        let signed = sign1.tbs_detached_data(&root, &[]);
        key().verifying_key().verify_strict(&signed, &signature).unwrap();
        assert_eq!(
            sign1.protected.header.clone().to_vec().unwrap().len(),
            1 + 2 + 10 + 4
        );
    }

    proptest! {
        #[test]
        fn a_changed_receipt_is_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut receipt = receipt(4, -8);
            let at = at.index(receipt.len());
            receipt[at] ^= 1 << bit;
            let checked = verify(&receipt, &Digest(leaves()[4]), &key().verifying_key());
            // The signature does not bind the tree's size: another size with
            // a path of the same form passes, and is compared by the caller.
            if let Ok(included) = checked {
                prop_assert_ne!(included.inclusion.size, 11);
                prop_assert_eq!(included.root.0, root_of(&leaves()));
            }
        }
    }
}
