//! The log as auditors read it: tiles, bundles of entries, proofs (formats,
//! section 4). All of it of the published checkpoint's tree, from stored rows
//! and what the checkpoint's tree has in memory: never from all entries.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::log::cose_receipt::{self, Consistency, Inclusion};
use crate::log::tile_path::write_bundle_entry;
use crate::log::{TilePath, TlogProof, entry_hash};
use crate::merkle::{
    Hash, TreeError, TreeView, batch_proof, consistency_proof, inclusion_proof, open_batch, root_of_path,
    verify_consistency,
};
use crate::primitives::{CouponName, Digest, KeyId};
use crate::store::{StoreError, rows};

use super::answers::EntryRef;
use super::open::StoredTiles;
use super::writer::Head;
use super::{Node, NodeError};

/// An entry with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Which.
    pub entry: EntryRef,
    /// The entry: deterministic CBOR.
    pub bytes: Vec<u8>,
}

/// That an entry is in the log's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry; its hash is the leaf hash.
    pub entry: EntryRef,
    /// Leaves in the tree.
    pub tree_size: u64,
    /// The tree's root.
    pub root: Digest,
    /// The audit path from the leaf upwards (RFC 9162, section 2.1.3).
    pub path: Vec<Digest>,
    /// The published checkpoint, a signed note: of this tree or a larger one.
    pub checkpoint: Arc<str>,
    /// Leaves in the checkpoint's tree.
    pub checkpoint_size: u64,
}

impl InclusionProof {
    /// The proof as text; `None` unless it is about the checkpoint's tree.
    #[must_use]
    pub fn to_tlog_proof(&self) -> Option<TlogProof> {
        (self.tree_size == self.checkpoint_size).then(|| TlogProof {
            extra: None,
            index: self.entry.index,
            path: self.path.iter().map(|hash| hash.0).collect(),
            checkpoint: self.checkpoint.to_string(),
        })
    }
}

/// What proves entries to a partner that has verified earlier trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerProofs {
    /// The entries' indices, which increase, with their hashes.
    pub entries: Vec<(u64, Hash)>,
    /// Their batch proof ([`batch_proof`]) in the tree of the published checkpoint.
    pub hashes: Vec<Hash>,
    /// The audit path of each, which follows from that.
    pub paths: Vec<Vec<Hash>>,
    /// That this tree continues the one that the partner has named.
    pub first: ConsistencyProof,
    /// That it continues another one, where there is one.
    pub other: Option<ConsistencyProof>,
}

/// That the log's tree at one size begins with its tree at an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Leaves in the earlier tree.
    pub first: u64,
    /// Its root.
    pub first_root: Digest,
    /// Leaves in the later tree.
    pub second: u64,
    /// Its root.
    pub second_root: Digest,
    /// The proof (RFC 9162, section 2.1.4); empty where `first` is 0 or `second`.
    pub path: Vec<Digest>,
    /// The published checkpoint, a signed note: of the later tree or a larger one.
    pub checkpoint: Arc<str>,
}

const NO_TILE: NodeError = NodeError::NotFound("the log's checkpoint has no such tile");
const NO_ENTRY: NodeError = NodeError::NotFound("the log's checkpoint covers no such entry");
const NOT_WITNESSED: NodeError = NodeError::NotFound(
    "no checkpoint that a quorum of this node's witnesses has cosigned covers this entry yet",
);
const NO_TREE: NodeError = NodeError::NotFound("the log has not had this size yet");

impl Node {
    fn head(&self) -> Head {
        let head = self.inner.shared.head.read();
        head.expect("no holder of this lock panics").clone()
    }

    /// Looks at the tree of the published checkpoint.
    fn with_tree<T>(
        &self,
        head: &Head,
        look: impl FnOnce(&TreeView<'_, StoredTiles<'_>>) -> Result<T, TreeError<StoreError>>,
    ) -> Result<T, NodeError> {
        let stored = StoredTiles(self.inner.shared.engine.as_ref());
        look(&TreeView::new(&head.tree, &stored)).map_err(|error| match error {
            TreeError::Read(error) => error.into(),
            other => NodeError::Inconsistent(format!("the tree: {other}")),
        })
    }

    /// The hashes of a tile, one after the other.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for what the published checkpoint does not cover.
    pub fn hash_tile(&self, path: &TilePath) -> Result<Vec<u8>, NodeError> {
        let head = self.head();
        if !path.is_within(head.size) {
            return Err(NO_TILE);
        }
        let (level, number, width) = (path.level(), path.number(), usize::from(path.width()));
        let hashes = self.with_tree(&head, |tree| tree.tile(level, number, width))?;
        Ok(hashes.into_flattened())
    }

    /// The bundle of the entries under a tile of level 0.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for what the published checkpoint does not cover.
    pub fn entry_bundle(&self, path: &TilePath) -> Result<Vec<u8>, NodeError> {
        if !path.is_within(self.size()) {
            return Err(NO_TILE);
        }
        // No overflow: all of it is within the log.
        let first = path.number() * crate::merkle::TILE_LEN as u64;
        let end = first + u64::from(path.width());
        let mut bundle = Vec::new();
        let (mut next, mut written) = (first, Ok(()));
        rows::scan_entries(self.inner.shared.engine.as_ref(), first, &mut |index, bytes| {
            if index >= end || written.is_err() {
                return ControlFlow::Break(());
            }
            written = write_bundle_entry(&mut bundle, bytes);
            next = index + 1;
            ControlFlow::Continue(())
        })?;
        written.map_err(|error| NodeError::Inconsistent(error.to_string()))?;
        if next < end {
            return Err(NodeError::Inconsistent(format!(
                "entry {next} is missing from the store"
            )));
        }
        Ok(bundle)
    }

    /// One entry.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for what the published checkpoint does not cover.
    pub fn log_entry(&self, index: u64) -> Result<LogEntry, NodeError> {
        if index >= self.size() {
            return Err(NO_ENTRY);
        }
        let bytes = rows::read_entry(self.inner.shared.engine.as_ref(), index)?
            .ok_or_else(|| NodeError::Inconsistent(format!("entry {index} is missing from the store")))?;
        let hash = entry_hash(&bytes);
        let entry = EntryRef { index, hash };
        Ok(LogEntry { entry, bytes })
    }

    /// That entry `index` is in the tree of `tree_size` entries; without one in
    /// the published checkpoint's. Reads some rows for each level of tiles.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] where the log has no such entry or has not had
    /// that size, or the tree of that size has no such entry;
    /// [`NodeError::Inconsistent`] when the stored rows do not give the root
    /// that was signed.
    pub fn inclusion(&self, index: u64, tree_size: Option<u64>) -> Result<InclusionProof, NodeError> {
        let head = self.head();
        let size = tree_size.unwrap_or(head.size);
        if size > head.size {
            return Err(NO_TREE);
        }
        if index >= size {
            return Err(NO_ENTRY);
        }
        let (leaf, path, root) = self.with_tree(&head, |tree| {
            let leaf = tree.node(0, index)?;
            Ok((leaf, inclusion_proof(index, size, tree)?, tree.root_at(size)?))
        })?;
        // A damaged row is found here, not by whoever is given the proof.
        if root_of_path(&leaf, index, size, &path) != Ok(root) {
            return Err(broken(size));
        }
        Ok(InclusionProof {
            entry: EntryRef {
                index,
                hash: Digest(leaf),
            },
            tree_size: size,
            root: Digest(root),
            path: path.into_iter().map(Digest).collect(),
            checkpoint: self.inner.shared.note_of(&head),
            checkpoint_size: head.size,
        })
    }

    /// That entry `index` is in the tree of the newest checkpoint that a quorum
    /// of the node's witnesses has cosigned; that checkpoint comes with it.
    ///
    /// # Errors
    /// As [`inclusion`](Self::inclusion), [`NodeError::NotFound`] also where no
    /// such checkpoint covers the entry.
    pub fn witnessed_inclusion(&self, index: u64) -> Result<InclusionProof, NodeError> {
        let cosigned = self.cosigned_by_quorum().filter(|cosigned| index < cosigned.size);
        let Some(cosigned) = cosigned else {
            // An entry that is not there at all is told so.
            self.inclusion(index, None)?;
            return Err(NOT_WITNESSED);
        };
        let proof = self.inclusion(index, Some(cosigned.size))?;
        if proof.root != cosigned.root {
            return Err(broken(cosigned.size));
        }
        Ok(InclusionProof {
            checkpoint: cosigned.note,
            checkpoint_size: cosigned.size,
            ..proof
        })
    }

    /// That the tree of `second` entries (without one: the published
    /// checkpoint's) begins with the tree of `first`, which is not above it.
    ///
    /// # Errors
    /// As [`inclusion`](Self::inclusion).
    pub fn consistency(&self, first: u64, second: Option<u64>) -> Result<ConsistencyProof, NodeError> {
        let head = self.head();
        let second = second.unwrap_or(head.size);
        if second > head.size || first > second {
            return Err(NO_TREE);
        }
        let (old, new, path) = self.with_tree(&head, |tree| {
            let path = consistency_proof(first, second, tree)?;
            Ok((tree.root_at(first)?, tree.root_at(second)?, path))
        })?;
        if verify_consistency(first, second, &old, &new, &path).is_err() {
            return Err(broken(second));
        }
        Ok(ConsistencyProof {
            first,
            first_root: Digest(old),
            second,
            second_root: Digest(new),
            path: path.into_iter().map(Digest).collect(),
            checkpoint: self.inner.shared.note_of(&head),
        })
    }

    /// That each of `indices` is in the tree of the published checkpoint, and that this
    /// tree continues the one of `first` entries, or itself where it is not that large;
    /// the same of the one of `other` entries, where that is a third one.
    ///
    /// # Errors
    /// As [`inclusion`](Self::inclusion).
    pub fn partner_proofs(
        &self,
        indices: &[u64],
        first: u64,
        other: Option<u64>,
    ) -> Result<PartnerProofs, NodeError> {
        let head = self.head();
        let (size, first) = (head.size, first.min(head.size));
        let other = other.filter(|other| *other < size && *other != first);
        if indices.iter().any(|index| *index >= size) {
            return Err(NO_ENTRY);
        }
        let stored = StoredTiles(self.inner.shared.engine.as_ref());
        let tree = TreeView::new(&head.tree, &stored).remembering();
        let failed = |error| match error {
            TreeError::Read(error) => NodeError::from(error),
            other => NodeError::Inconsistent(format!("the tree: {other}")),
        };
        let checkpoint = self.inner.shared.note_of(&head);
        let new = head.tree.root();
        let continues = |first: u64| {
            let old = tree.root_at(first).map_err(failed)?;
            let path = consistency_proof(first, size, &tree).map_err(failed)?;
            if verify_consistency(first, size, &old, &new, &path).is_err() {
                return Err(broken(size));
            }
            Ok(ConsistencyProof {
                first,
                first_root: Digest(old),
                second: size,
                second_root: Digest(new),
                path: path.into_iter().map(Digest).collect(),
                checkpoint: Arc::clone(&checkpoint),
            })
        };
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let with_hash = |index| Ok((index, tree.node(0, index)?));
        let entries: Vec<(u64, Hash)> = sorted
            .iter()
            .map(|index| with_hash(*index))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let hashes = batch_proof(&sorted, size, &tree).map_err(failed)?;
        let opened = open_batch(&entries, size, &hashes).map_err(|_| broken(size))?;
        if opened.root != new {
            return Err(broken(size));
        }
        Ok(PartnerProofs {
            entries,
            hashes,
            paths: opened.paths,
            first: continues(first)?,
            other: other.map(continues).transpose()?,
        })
    }

    /// The bytes of the entries at `indices`, in their order: those that lie together
    /// are read together.
    ///
    /// # Errors
    /// [`NodeError::Inconsistent`] where one is missing.
    pub fn entries_at(&self, indices: &[u64]) -> Result<Vec<Vec<u8>>, NodeError> {
        let engine = self.inner.shared.engine.as_ref();
        let (Some(&first), Some(&last)) = (indices.iter().min(), indices.iter().max()) else {
            return Ok(Vec::new());
        };
        let mut found: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        if last - first <= 2 * indices.len() as u64 {
            rows::scan_entries(engine, first, &mut |index, bytes| {
                if indices.contains(&index) {
                    found.insert(index, bytes.to_vec());
                }
                if index < last {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        } else {
            for &index in indices {
                if let Some(bytes) = rows::read_entry(engine, index)? {
                    found.insert(index, bytes);
                }
            }
        }
        let take = |index: &u64| {
            let missing = || NodeError::Inconsistent(format!("entry {index} is missing from the store"));
            found.get(index).cloned().ok_or_else(missing)
        };
        indices.iter().map(take).collect()
    }

    /// The kid of the log's key, and the algorithm that its COSE receipts name.
    #[must_use]
    pub fn log_key_id(&self) -> (KeyId, i64) {
        let shared = &self.inner.shared;
        (
            shared.keyring.log.public().kid(),
            shared.options.algorithm.number(),
        )
    }

    /// Signs the root of a tree of this log, as a COSE receipt has it.
    #[must_use]
    pub fn sign_tree(&self, text: &[u8]) -> [u8; 64] {
        self.inner.shared.keyring.log.sign(text)
    }

    /// `proof` as a COSE receipt (RFC 9942), signed with the log's key; `None`
    /// for a tree of one entry, for which the format has no receipt.
    ///
    /// # Errors
    /// [`NodeError::Inconsistent`] when `proof` does not hold.
    pub fn cose_receipt(&self, proof: &InclusionProof) -> Result<Option<Vec<u8>>, NodeError> {
        if proof.path.is_empty() {
            return Ok(None);
        }
        let shared = &self.inner.shared;
        let inclusion = Inclusion {
            size: proof.tree_size,
            index: proof.entry.index,
            path: proof.path.iter().map(|hash| hash.0).collect(),
        };
        let (key, algorithm) = (&shared.keyring.log, shared.options.algorithm.number());
        let kid = key.public().kid();
        cose_receipt::issue(&proof.entry.hash, &inclusion, algorithm, kid, |text| {
            key.sign(text)
        })
        .map(Some)
        .map_err(|error| NodeError::Inconsistent(error.to_string()))
    }

    /// The entry of the batch that the coupon called `name` was issued with.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub fn coupon_entry(&self, name: CouponName) -> Result<u64, NodeError> {
        let shared = &self.inner.shared;
        let row = shared.batch_holding(shared.permutations.position_of(name))?;
        row.map(|row| row.entry)
            .ok_or(NodeError::NotFound("no such coupon was issued"))
    }
}

impl Node {
    /// `proof` as a COSE receipt (RFC 9942), signed with the log's key; `None`
    /// where there is nothing to prove: the earlier tree is empty or the later one.
    ///
    /// # Errors
    /// [`NodeError::Inconsistent`] when `proof` does not hold.
    pub fn cose_consistency(&self, proof: &ConsistencyProof) -> Result<Option<Vec<u8>>, NodeError> {
        if proof.path.is_empty() {
            return Ok(None);
        }
        let shared = &self.inner.shared;
        let consistency = Consistency {
            first: proof.first,
            second: proof.second,
            path: proof.path.iter().map(|hash| hash.0).collect(),
        };
        let (key, algorithm) = (&shared.keyring.log, shared.options.algorithm.number());
        let roots = (&proof.first_root, &proof.second_root);
        let kid = key.public().kid();
        cose_receipt::issue_consistency(&consistency, roots, algorithm, kid, |text| key.sign(text))
            .map(Some)
            .map_err(|error| NodeError::Inconsistent(error.to_string()))
    }
}

fn broken(size: u64) -> NodeError {
    NodeError::Inconsistent(format!(
        "the stored tiles do not give the root of the tree of {size} entries"
    ))
}
