//! A log that is followed: from one verified checkpoint to the next.

use std::sync::Arc;

use serde_json::Value;

use super::bundles::EntryForm;
use super::error::FollowError;
use super::source::{FetchError, LogSource};
use super::tree::VerifiedTree;
use crate::ledger::{Event, Genesis};
use crate::log::evidence::OtherHistory;
use crate::log::{Checkpoint, Entry, ForkEvidence, KeyKind, Policy, VerifierKey};
use crate::primitives::{Digest, UnixSeconds, limits};

/// Where a checkpoint lies under the log's prefix.
pub const CHECKPOINT: &str = "checkpoint";

/// Where a mirror tells the key of the log that it is a copy of.
pub const LOG_KEY: &str = "log.vkey";

/// Where a node tells the newest checkpoint that a quorum has cosigned.
const WITNESSED: &str = "v1/log/proofs/inclusion?index=0&witnessed=true";

/// Where a node tells its keys.
const DID_DOCUMENT: &str = ".well-known/did.json";

/// Type of the service in a node's `did.json` that tells its log's key.
pub const LOG_SERVICE: &str = "TransparencyLog";

/// A checkpoint that the log's key has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// Size and root.
    pub checkpoint: Checkpoint,
    /// The note that it came in, byte for byte, cosignatures included.
    pub note: String,
    /// Known witnesses that have cosigned it, by name, and when.
    pub cosigned: Vec<(String, UnixSeconds)>,
}

/// A log, told by its key, at some place.
#[derive(Clone, Debug)]
pub struct LogClient {
    source: Arc<dyn LogSource>,
    key: VerifierKey,
    witnesses: Vec<VerifierKey>,
    policy: Option<Arc<Policy>>,
}

impl LogClient {
    /// The log of `key` at `source`.
    #[must_use]
    pub fn new(source: Arc<dyn LogSource>, key: VerifierKey) -> Self {
        Self {
            source,
            key,
            witnesses: Vec::new(),
            policy: None,
        }
    }

    /// The same with witnesses whose cosignatures are checked and told.
    #[must_use]
    pub fn with_witnesses(self, witnesses: Vec<VerifierKey>) -> Self {
        Self { witnesses, ..self }
    }

    /// The same with a policy, whose quorum has to have cosigned what is shown, and
    /// whose witnesses' cosignatures are checked and told too.
    #[must_use]
    pub fn with_policy(mut self, policy: Arc<Policy>) -> Self {
        for witness in policy.witnesses() {
            if !self.witnesses.contains(&witness.key) {
                self.witnesses.push(witness.key.clone());
            }
        }
        self.policy = Some(policy);
        self
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    /// The log's key.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where it is read.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn LogSource> {
        &self.source
    }

    /// The same log at another place.
    #[must_use]
    pub fn at(&self, source: Arc<dyn LogSource>) -> Self {
        Self {
            source,
            ..self.clone()
        }
    }

    /// The checkpoint that is shown now. Only its signatures are checked.
    ///
    /// # Errors
    /// [`FollowError::Checkpoint`] when the log's key has not signed it, or a known
    /// witness's cosignature is wrong; [`FollowError::Fetch`].
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, FollowError> {
        let note = self.source.get(CHECKPOINT, limits::NOTE_BYTES_MAX)?;
        let note = note.ok_or_else(|| FetchError::Answer {
            what: format!("{}/{CHECKPOINT}", self.source.name()),
            why: "there is none: is this the address of a log?".to_owned(),
        })?;
        self.open(&note)
    }

    /// The newest checkpoint that a quorum of its witnesses has cosigned, as a
    /// Tallystick node says: the newest one of all is often not cosigned yet. Only its
    /// signatures are checked. `None` where none is told.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn told_witnessed(&self) -> Result<Option<SignedCheckpoint>, FollowError> {
        let answer = match self.source.get(WITNESSED, limits::WITNESSED_ANSWER_BYTES_MAX) {
            Ok(answer) => answer.unwrap_or_default(),
            Err(error @ FetchError::Unreachable { .. }) => return Err(error.into()),
            // Other logs answer what they like.
            Err(_) => return Ok(None),
        };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let note = answer["checkpoint"].as_str();
        note.map(|note| self.open(note.as_bytes())).transpose()
    }

    /// The size of the newest checkpoint that is valid by the policy, of `shown` and
    /// of what is [told](Self::told_witnessed); it is of the same history as `tree`,
    /// which is that of `shown`. `None` without a policy.
    ///
    /// # Errors
    /// [`FollowError::NoQuorum`]; [`FollowError::Forked`] with the evidence.
    pub fn vouched(&self, tree: &VerifiedTree) -> Result<Option<u64>, FollowError> {
        let Some(policy) = &self.policy else {
            return Ok(None);
        };
        let (shown, size) = (tree.signed(), tree.size());
        let error = match policy.open(shown.note.as_bytes(), Some(&self.key)) {
            Ok(_) => return Ok(Some(size)),
            Err(error) => error,
        };
        let told = self.told_witnessed()?;
        let valid = told.filter(|told| policy.open(told.note.as_bytes(), Some(&self.key)).is_ok());
        let Some(valid) = valid else {
            let from = self.source.name().to_owned();
            return Err(FollowError::NoQuorum { from, size, error });
        };
        let vouched = valid.checkpoint.size;
        if vouched <= size {
            self.begins_with(tree, &valid)?;
        } else {
            // The log has grown meanwhile.
            self.begins_with(&self.tree(valid)?, shown)?;
        }
        Ok(Some(vouched))
    }

    /// Opens a checkpoint of this log that was found somewhere.
    ///
    /// # Errors
    /// [`FollowError::Checkpoint`].
    pub fn open(&self, note: &[u8]) -> Result<SignedCheckpoint, FollowError> {
        let open = Checkpoint::open_cosigned(note, &self.key, &self.witnesses).map_err(|error| {
            FollowError::Checkpoint {
                from: self.source.name().to_owned(),
                error,
            }
        })?;
        let cosigned = open
            .cosigned
            .iter()
            .filter_map(|signed| signed.time.map(|time| (signed.key.name().to_owned(), time)));
        Ok(SignedCheckpoint {
            cosigned: cosigned.collect(),
            checkpoint: open.checkpoint,
            note: open.note.to_string(),
        })
    }

    /// The tree of `signed`, read here.
    ///
    /// # Errors
    /// As [`VerifiedTree::open`].
    pub fn tree(&self, signed: SignedCheckpoint) -> Result<VerifiedTree, FollowError> {
        VerifiedTree::open(Arc::clone(&self.source), signed)
    }

    /// The tree of the checkpoint that is shown now, proven to begin with the
    /// last verified one from tiles that were fetched and hashed here. The entries
    /// that are new are not read yet.
    ///
    /// # Errors
    /// [`FollowError::Forked`] with the evidence, [`FollowError::WentBack`] (which
    /// alone proves nothing), and why the checkpoint or its tree were refused.
    pub fn update(&self, last: Option<&SignedCheckpoint>) -> Result<VerifiedTree, FollowError> {
        self.update_to(self.checkpoint()?, last)
    }

    /// As [`update`](Self::update), to a checkpoint that has been read here.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_to(
        &self,
        shown: SignedCheckpoint,
        last: Option<&SignedCheckpoint>,
    ) -> Result<VerifiedTree, FollowError> {
        if let Some(last) = last
            && shown.checkpoint.size < last.checkpoint.size
        {
            return Err(FollowError::WentBack {
                from: self.source.name().to_owned(),
                held: last.checkpoint.size,
                shown: shown.checkpoint.size,
            });
        }
        if let Some(last) = last
            && shown.checkpoint.size == last.checkpoint.size
        {
            // Before any tile is read: the notes alone convict.
            self.compare(last, &shown, None)?;
        }
        let tree = self.tree(shown)?;
        if let Some(last) = last {
            self.begins_with(&tree, last)?;
        }
        Ok(tree)
    }

    /// Checks that `tree` begins with the tree of `earlier`, which is not larger.
    ///
    /// # Errors
    /// [`FollowError::Forked`] with the evidence.
    pub fn begins_with(&self, tree: &VerifiedTree, earlier: &SignedCheckpoint) -> Result<(), FollowError> {
        let size = earlier.checkpoint.size;
        let root = tree.root_at(size)?;
        if root == earlier.checkpoint.root.0 {
            return Ok(());
        }
        let other = OtherHistory {
            root: Digest(root),
            proof: tree.consistency(size)?,
        };
        let other = (size < tree.size()).then_some(other);
        self.compare(earlier, tree.signed(), other)
    }

    fn compare(
        &self,
        one: &SignedCheckpoint,
        other: &SignedCheckpoint,
        history: Option<OtherHistory>,
    ) -> Result<(), FollowError> {
        if one.checkpoint.size == other.checkpoint.size && one.checkpoint.root == other.checkpoint.root {
            return Ok(());
        }
        let (one, other) = (one.note.as_bytes(), other.note.as_bytes());
        match ForkEvidence::new(&self.key, one, other, history) {
            Ok(evidence) => Err(FollowError::Forked(Box::new(evidence))),
            Err(error) => Err(FollowError::Tree(format!("evidence that does not hold: {error}"))),
        }
    }

    /// What entries the log has: Tallystick's where entry 0 is a genesis entry.
    /// The genesis entry is given with it.
    ///
    /// # Errors
    /// [`FollowError::Genesis`] when entry 0 names another log key; and as
    /// [`VerifiedTree::bundle`].
    pub fn form(&self, tree: &VerifiedTree) -> Result<(EntryForm, Option<Genesis>), FollowError> {
        if tree.size() == 0 {
            return Ok((EntryForm::Any, None));
        }
        let bundle = tree.bundle(0, EntryForm::Any)?;
        let (_, first) = bundle.entries().next().expect("a bundle of at least one entry");
        let event = Entry::decode(first)
            .ok()
            .and_then(|entry| Event::from_body(entry.kind, &entry.body).ok());
        let Some((Event::Genesis(genesis), _)) = event else {
            return Ok((EntryForm::Any, None));
        };
        if genesis.log_key != *self.key.key().as_bytes() {
            return Err(FollowError::Genesis {
                found: data_encoding::BASE64.encode(&genesis.log_key),
                key: self.key.to_string(),
            });
        }
        Ok((EntryForm::Tallystick, Some(genesis)))
    }
}

/// The key that is told beside a log: a mirror has it in a file, a Tallystick node
/// in its `did.json`. `None` where none is told. Nobody vouches for it but who
/// serves it.
///
/// # Errors
/// [`FetchError`].
pub fn key_told_at(source: &dyn LogSource) -> Result<Option<VerifierKey>, FetchError> {
    if let Some(text) = source.get(LOG_KEY, limits::REFUSAL_BYTES_MAX)? {
        let text = String::from_utf8_lossy(&text);
        return Ok(VerifierKey::parse(text.trim_end()).ok().filter(is_a_logs));
    }
    let Some(document) = source.get(DID_DOCUMENT, limits::DID_DOCUMENT_BYTES_MAX)? else {
        return Ok(None);
    };
    let document: Value = serde_json::from_slice(&document).unwrap_or_default();
    let services = document["service"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(services
        .iter()
        .filter(|service| service["type"] == LOG_SERVICE)
        .filter_map(|service| VerifierKey::parse(service["verifierKey"].as_str()?).ok())
        .find(is_a_logs))
}

fn is_a_logs(key: &VerifierKey) -> bool {
    key.kind() == KeyKind::Ed25519
}
