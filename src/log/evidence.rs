//! Evidence of a fork: that a log's key has signed two histories.
//!
//! ```text
//! ["tallystick/fork-evidence/v1", log key, first, second, nil / [other root, [* hash]]]
//! ```
//!
//! in deterministic CBOR, with the log's key as text (vkey) and the two signed
//! checkpoints as byte strings. Two kinds convict (protocol, section 6): equal
//! sizes with different roots, the smaller root first and nil last; or sizes
//! n1 < n2 with a valid consistency proof (RFC 9162 section 2.1.4) into the
//! second from another root of size n1 than the first has. Different sizes alone
//! prove nothing: as long as SHA-256 holds, the checkpoints of one history give no
//! evidence that verifies, whoever makes it.

use std::fmt;

use serde_cbor::Value;

use super::{Checkpoint, LogError, VerifierKey};
use crate::encoding::cbor::{self, GateError};
use crate::merkle::{Hash, PROOF_LEN_MAX, verify_consistency};
use crate::primitives::Digest;
use crate::primitives::limits::FORK_EVIDENCE_BYTES_MAX;

/// First item of all evidence.
const NAME: &str = "tallystick/fork-evidence/v1";

/// Two signed checkpoints that contradict each other. Nothing of it counts
/// before [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkEvidence {
    /// The log's key, as whoever found it was told. Say who vouches for it.
    pub log_key: String,
    /// The checkpoint of the smaller size, or of the smaller root: a signed note.
    pub first: Vec<u8>,
    /// The other one.
    pub second: Vec<u8>,
    /// How the second contradicts the first; `None` where their sizes are equal.
    pub other_history: Option<OtherHistory>,
}

/// What the second checkpoint's tree begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHistory {
    /// The root of its first leaves, as many as the first checkpoint has.
    pub root: Digest,
    /// The proof that its tree begins with that one.
    pub proof: Vec<Hash>,
}

/// What evidence shows of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conviction {
    /// What the log has signed first, or one of two.
    pub first: Checkpoint,
    /// What it has signed as well.
    pub second: Checkpoint,
    /// The root of the second's tree at the first's size.
    pub other_root: Digest,
}

impl fmt::Display for Conviction {
    /// What the log did, in a sentence without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second, .. } = self;
        if first.size == second.size {
            write!(
                f,
                "the log {:?} has signed two histories: two checkpoints of {} entries with different roots",
                first.origin, first.size
            )
        } else {
            write!(
                f,
                "the log {:?} has signed two histories: its checkpoint of {} entries does not begin with the {} entries \
                 of the checkpoint that it signed as well",
                first.origin, second.size, first.size
            )
        }
    }
}

impl ForkEvidence {
    /// Evidence of two signed checkpoints in any order, with what proves how the
    /// later one's tree begins where their sizes differ.
    ///
    /// # Errors
    /// As [`verify`](Self::verify): what convicts nobody is no evidence.
    pub fn new(
        log_key: &VerifierKey,
        one: &[u8],
        other: &[u8],
        other_history: Option<OtherHistory>,
    ) -> Result<Self, LogError> {
        let order = |note: &[u8]| {
            let checkpoint = Checkpoint::open(note, log_key)?;
            Ok::<_, LogError>((checkpoint.size, checkpoint.root))
        };
        let (first, second) = if order(one)? <= order(other)? {
            (one, other)
        } else {
            (other, one)
        };
        let evidence = Self {
            log_key: log_key.to_string(),
            first: first.to_vec(),
            second: second.to_vec(),
            other_history,
        };
        evidence.verify(log_key)?;
        Ok(evidence)
    }

    /// Reads evidence through the gate. Nothing of it is verified yet.
    ///
    /// # Errors
    /// [`LogError::Evidence`] when it is too long, not deterministic CBOR or not
    /// of the form.
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let value = cbor::decode(bytes, FORK_EVIDENCE_BYTES_MAX).map_err(LogError::Evidence)?;
        Self::from_value(&value).map_err(LogError::Evidence)
    }

    fn from_value(value: &Value) -> Result<Self, GateError> {
        let [name, log_key, first, second, other] = cbor::as_tuple(value, "it is an array of 5 items")?;
        if cbor::as_text(name, "it begins with its name")? != NAME {
            return Err(GateError::Shape("its name is another one"));
        }
        let other_history = cbor::as_optional(other, |other| {
            let [root, proof] = cbor::as_tuple(other, "another history is a root and a proof")?;
            let proof = cbor::as_array(proof, "a proof is an array of hashes")?;
            if proof.len() > PROOF_LEN_MAX {
                return Err(GateError::Shape("a proof has at most 65 hashes"));
            }
            Ok(OtherHistory {
                root: Digest(cbor::as_byte_array(root, "a root is 32 bytes")?),
                proof: proof
                    .iter()
                    .map(|hash| cbor::as_byte_array(hash, "a hash is 32 bytes"))
                    .collect::<Result<_, _>>()?,
            })
        })?;
        Ok(Self {
            log_key: cbor::as_text(log_key, "the log's key is text")?.to_owned(),
            first: cbor::as_bytes(first, "a checkpoint is a byte string")?.to_vec(),
            second: cbor::as_bytes(second, "a checkpoint is a byte string")?.to_vec(),
            other_history,
        })
    }

    /// The bytes to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let other = cbor::optional(self.other_history.as_ref(), |other| {
            let proof = other.proof.iter().map(cbor::bytes).collect();
            Value::Array(vec![cbor::bytes(other.root), Value::Array(proof)])
        });
        cbor::encode(&Value::Array(vec![
            cbor::text(NAME),
            cbor::text(self.log_key.clone()),
            cbor::bytes(&self.first),
            cbor::bytes(&self.second),
            other,
        ]))
    }

    /// Checks that the log whose key is `log_key` has signed both checkpoints and
    /// that they contradict each other. Safe on hostile input.
    ///
    /// # Errors
    /// [`LogError`]: what convicts nobody, with the reason.
    pub fn verify(&self, log_key: &VerifierKey) -> Result<Conviction, LogError> {
        let refuse = |why| LogError::Evidence(GateError::Shape(why));
        if self.log_key != log_key.to_string() {
            return Err(refuse("it is about a log with another key"));
        }
        let first = Checkpoint::open(&self.first, log_key)?;
        let second = Checkpoint::open(&self.second, log_key)?;
        let other_root = match &self.other_history {
            None if first.size != second.size => {
                return Err(refuse("checkpoints of different sizes prove nothing alone"));
            }
            None if first.root > second.root => {
                return Err(refuse("the smaller root stands first"));
            }
            None => second.root,
            Some(_) if first.size >= second.size => {
                return Err(refuse("a proof is from a smaller size to a larger one"));
            }
            Some(OtherHistory { root, proof }) => {
                verify_consistency(first.size, second.size, &root.0, &second.root.0, proof)?;
                *root
            }
        };
        if other_root == first.root {
            return Err(refuse("the two checkpoints agree"));
        }
        Ok(Conviction {
            first,
            second,
            other_root,
        })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;
    use crate::log::KeyKind;
    use crate::merkle::{Frontier, TileBuilder, TreeView, consistency_proof, leaf_hash};

    struct NoRows;

    impl crate::merkle::NodeReader for NoRows {
        type Error = std::convert::Infallible;

        fn half_tile(&self, _: u8, _: u64, _: u8) -> Result<Option<Vec<Hash>>, Self::Error> {
            Ok(None)
        }
    }

    fn key(seed: u8, origin: &str) -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let verifier = VerifierKey::new(origin, KeyKind::Ed25519, key.verifying_key()).unwrap();
        (key, verifier)
    }

    fn signed(size: u64, root: Hash) -> Vec<u8> {
        let (signer, key) = key(1, "coop.example");
        let checkpoint = Checkpoint::new("coop.example", size, Digest(root));
        let note = checkpoint.sign(&key, |text| signer.sign(text).to_bytes());
        note.unwrap().to_string().into_bytes()
    }

    /// A history of `size` entries in which entry `changed` says something else.
    fn history(size: u64, changed: Option<u64>) -> TileBuilder {
        let mut tree = TileBuilder::new();
        for n in 0..size {
            let text = format!("{n}{}", if changed == Some(n) { " changed" } else { "" });
            tree.append(leaf_hash(text.as_bytes()), &mut |_| {});
        }
        tree
    }

    fn root_at(tree: &TileBuilder, size: u64) -> Hash {
        TreeView::new(tree, &NoRows).root_at(size).unwrap()
    }

    fn other_history(tree: &TileBuilder, size: u64) -> OtherHistory {
        let view = TreeView::new(tree, &NoRows);
        OtherHistory {
            root: Digest(view.root_at(size).unwrap()),
            proof: consistency_proof(size, tree.size(), &view).unwrap(),
        }
    }

    #[test]
    fn two_roots_of_one_size_convict() {
        let (_, log) = key(1, "coop.example");
        let (a, b) = (signed(5, [7; 32]), signed(5, [3; 32]));
        let evidence = ForkEvidence::new(&log, &a, &b, None).unwrap();
        assert_eq!(evidence, ForkEvidence::new(&log, &b, &a, None).unwrap());
        let found = evidence.verify(&log).unwrap();
        assert_eq!(
            (found.first.root, found.second.root),
            (Digest([3; 32]), Digest([7; 32]))
        );
        let swapped = ForkEvidence {
            first: evidence.second.clone(),
            second: evidence.first.clone(),
            ..evidence.clone()
        };
        assert!(swapped.verify(&log).is_err());
        for other in [key(2, "coop.example").1, key(1, "other.example").1] {
            assert!(evidence.verify(&other).is_err());
        }
        assert!(ForkEvidence::new(&log, &a, &a, None).is_err());
        assert!(ForkEvidence::new(&log, &a, &signed(6, [3; 32]), None).is_err());
    }

    #[test]
    fn a_changed_entry_convicts_by_proof() {
        let (_, log) = key(1, "coop.example");
        let (old, new) = (history(100, None), history(200, Some(17)));
        let (first, second) = (signed(100, old.root()), signed(200, new.root()));
        let other = other_history(&new, 100);
        let evidence = ForkEvidence::new(&log, &second, &first, Some(other.clone())).unwrap();
        let bytes = evidence.encode();
        assert_eq!(ForkEvidence::decode(&bytes).unwrap(), evidence);
        let found = evidence.verify(&log).unwrap();
        assert_eq!((found.first.size, found.second.size), (100, 200));
        assert_eq!(found.other_root.0, root_at(&new, 100));

        let changes: [&dyn Fn(&mut OtherHistory); 3] = [
            &|other| other.root.0[0] ^= 1,
            &|other| other.proof[0][0] ^= 1,
            &|other| other.proof.truncate(1),
        ];
        for change in changes {
            let mut broken = other.clone();
            change(&mut broken);
            assert!(ForkEvidence::new(&log, &first, &second, Some(broken)).is_err());
        }
        // An unsigned second, and a second of the first's size.
        let forged = String::from_utf8(second).unwrap().replace("200", "201");
        assert!(ForkEvidence::new(&log, &first, forged.as_bytes(), Some(other.clone())).is_err());
        assert!(ForkEvidence::new(&log, &first, &signed(100, new.root()), Some(other)).is_err());
    }

    #[test]
    fn the_published_schema_says_the_same() {
        let schema = include_str!("../../schemas/fork-evidence.cddl");
        let valid = |bytes: &[u8]| cddl::validate_cbor_from_slice(schema, bytes, None).is_ok();
        let (_, log) = key(1, "coop.example");
        let (old, new) = (history(3, None), history(6, Some(1)));
        let two = ForkEvidence::new(&log, &signed(5, [7; 32]), &signed(5, [3; 32]), None).unwrap();
        let first = signed(3, old.root());
        let second = signed(6, new.root());
        let proven = ForkEvidence::new(&log, &first, &second, Some(other_history(&new, 3))).unwrap();
        assert!(valid(&two.encode()));
        assert!(valid(&proven.encode()));
        assert!(!valid(&cbor::encode(&Value::Array(vec![cbor::text(NAME)]))));
        let mut other = two.encode();
        other[3] ^= 1;
        assert!(!valid(&other));
        assert!(ForkEvidence::decode(&other).is_err());
    }

    proptest! {
        /// Evidence must not frame the honest: any two checkpoints of one history,
        /// any proof made from its hashes, any of them moved to another place.
        #[test]
        fn one_history_gives_no_evidence(
            sizes in (0..256_u64, 0..256_u64), other in 0..256_u64, flip in any::<Option<(u8, u8)>>(),
            swap in any::<Option<(u8, u8)>>(), root_at_other in any::<bool>(),
        ) {
            let (_, log) = key(1, "coop.example");
            let (n1, n2) = (sizes.0.min(sizes.1), sizes.0.max(sizes.1));
            let tree = history(n2, None);
            let mut small = Frontier::new();
            for n in 0..n1 {
                small.push(leaf_hash(n.to_string().as_bytes()));
            }
            let (first, second) = (signed(n1, small.root()), signed(n2, tree.root()));
            prop_assert!(ForkEvidence::new(&log, &first, &second, None).is_err());
            let mut made = other_history(&tree, other.min(n2));
            if !root_at_other {
                made.root = Digest(small.root());
            }
            if let Some((hash, bit)) = flip.filter(|_| !made.proof.is_empty()) {
                let at = usize::from(hash) % made.proof.len();
                made.proof[at][usize::from(bit / 8)] ^= 1 << (bit % 8);
            }
            if let Some((a, b)) = swap.filter(|_| !made.proof.is_empty()) {
                let len = made.proof.len();
                made.proof.swap(usize::from(a) % len, usize::from(b) % len);
            }
            prop_assert!(ForkEvidence::new(&log, &first, &second, Some(made)).is_err());
        }

        #[test]
        fn what_is_written_is_read_the_same(
            log_key in "[ -~]{0,80}", first in proptest::collection::vec(any::<u8>(), 0..300),
            second in proptest::collection::vec(any::<u8>(), 0..300),
            other in any::<Option<([u8; 32], Vec<[u8; 32]>)>>(),
        ) {
            let other_history = other.map(|(root, mut proof)| {
                proof.truncate(PROOF_LEN_MAX);
                OtherHistory { root: Digest(root), proof }
            });
            let evidence = ForkEvidence { log_key, first, second, other_history };
            prop_assert_eq!(ForkEvidence::decode(&evidence.encode()), Ok(evidence));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(evidence) = ForkEvidence::decode(&bytes) {
                prop_assert_eq!(evidence.encode(), bytes);
            }
        }
    }
}
