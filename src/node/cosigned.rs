//! The node's own checkpoints with the cosignatures of its witnesses.
//!
//! Two are kept: the newest that any witness has cosigned, and the newest that a
//! quorum has, to which proofs refer. Both outlive restarts. The writer makes
//! them durable with whatever else is in its batch; a till never waits for one.
//!
//! They also say how long the log was: a store behind what the node itself has
//! signed and others have cosigned is not opened.

use std::sync::Arc;

use crate::log::{Checkpoint, LogError, VerifierKey};
use crate::merkle::{TileBuilder, TreeView};
use crate::primitives::Digest;
use crate::primitives::limits::{COSIGNED_NOTE_BYTES_MAX, COSIGNED_ROW_BYTES};
use crate::store::{Batch, Engine, StoreError, rows};

use super::commands::{Command, Reply};
use super::open::StoredTiles;
use super::pending::Pending;
use super::writer::{Head, Shared, Writer};
use super::{Node, NodeError, OpenReport};

/// A checkpoint of this node with cosignatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedCheckpoint {
    /// Size of the log in it, in entries.
    pub size: u64,
    /// Root of the log at that size.
    pub root: Digest,
    /// The note, cosignatures included.
    pub note: Arc<str>,
}

/// What is kept: the newest of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CosignedHeads {
    /// Cosigned by any witness.
    pub newest: Option<CosignedCheckpoint>,
    /// Cosigned by a quorum.
    pub quorum: Option<CosignedCheckpoint>,
}

/// Which of the two a row is of.
const NEWEST: u8 = 0;
const QUORUM: u8 = 1;

impl CosignedCheckpoint {
    /// Reads a note that `log_key` has signed. Cosignatures are not checked.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open(note: &str, log_key: &VerifierKey) -> Result<Self, LogError> {
        let checkpoint = Checkpoint::open(note.as_bytes(), log_key)?;
        Ok(Self {
            size: checkpoint.size,
            root: checkpoint.root,
            note: note.into(),
        })
    }
}

impl Node {
    /// Keeps a checkpoint of this node with the cosignatures in it, which the
    /// caller has verified, durably: as the newest that was cosigned, and, with
    /// `is_quorum`, as the newest that a quorum has cosigned. An older one than
    /// is kept changes nothing.
    ///
    /// # Errors
    /// [`NodeError::Busy`], [`NodeError::Stopped`]; [`NodeError::Inconsistent`]
    /// for a checkpoint that is not this node's, or too long.
    pub async fn keep_cosigned(&self, note: &str, is_quorum: bool) -> Result<(), NodeError> {
        let shared = &self.inner.shared;
        let refuse = |why: String| NodeError::Inconsistent(format!("a cosigned checkpoint: {why}"));
        if note.len() > COSIGNED_NOTE_BYTES_MAX {
            return Err(refuse("it is too long to be kept".to_owned()));
        }
        let cosigned =
            CosignedCheckpoint::open(note, &shared.log_key).map_err(|error| refuse(error.to_string()))?;
        if cosigned.size > self.size() {
            return Err(refuse(
                "it is of a larger log than this node's newest one".to_owned(),
            ));
        }
        if self.consistency(cosigned.size, None)?.first_root != cosigned.root {
            return Err(refuse(
                "its root is not the one that this log has at its size: two histories were signed".to_owned(),
            ));
        }
        let command = Command::KeepCosigned { cosigned, is_quorum };
        self.ask(command, None).await.map(|_| ())
    }

    /// The newest checkpoint that a quorum of the node's witnesses has cosigned.
    #[must_use]
    pub fn cosigned_by_quorum(&self) -> Option<CosignedCheckpoint> {
        self.cosigned().quorum
    }

    /// The newest checkpoint that any of the node's witnesses has cosigned.
    #[must_use]
    pub fn cosigned_newest(&self) -> Option<CosignedCheckpoint> {
        self.cosigned().newest
    }

    fn cosigned(&self) -> CosignedHeads {
        let cosigned = self.inner.shared.cosigned.read();
        cosigned.expect("no holder of this lock panics").clone()
    }
}

impl Shared {
    /// The note of `head`, with the cosignatures of exactly that checkpoint.
    pub(super) fn note_of(&self, head: &Head) -> Arc<str> {
        let cosigned = self.cosigned.read().expect("no holder of this lock panics");
        match &cosigned.newest {
            Some(newest) if newest.size == head.size => Arc::clone(&newest.note),
            _ => Arc::clone(&head.note),
        }
    }
}

impl Writer {
    pub(super) fn keep_cosigned(
        &mut self,
        cosigned: CosignedCheckpoint,
        is_quorum: bool,
        pending: &mut Pending,
    ) -> Reply {
        let mut kept = match &pending.cosigned {
            Some(kept) => kept.clone(),
            None => {
                let shared = self.shared.cosigned.read();
                shared.expect("no holder of this lock panics").clone()
            }
        };
        let mut keep = |place: &mut Option<CosignedCheckpoint>, which| {
            if place.as_ref().is_none_or(|kept| kept.size <= cosigned.size) {
                put(&mut pending.batch, which, &cosigned.note);
                *place = Some(cosigned.clone());
            }
        };
        keep(&mut kept.newest, NEWEST);
        if is_quorum {
            keep(&mut kept.quorum, QUORUM);
        }
        pending.cosigned = Some(kept);
        Reply::Done
    }

    /// Lets readers see what is durable now.
    pub(super) fn publish_cosigned(&self, pending: &Pending) {
        if let Some(kept) = &pending.cosigned {
            let cosigned = self.shared.cosigned.write();
            cosigned.expect("no holder of this lock panics").clone_from(kept);
        }
    }
}

/// A note in as many rows as it needs; rows of a longer one before it go.
fn put(batch: &mut Batch, which: u8, note: &str) {
    let mut pieces = note.as_bytes().chunks(COSIGNED_ROW_BYTES);
    for part in 0..parts() {
        match pieces.next() {
            Some(piece) => batch.put(rows::cosigned(which, part), piece),
            None => batch.remove(rows::cosigned(which, part)),
        }
    }
}

fn parts() -> u8 {
    u8::try_from(COSIGNED_NOTE_BYTES_MAX.div_ceil(COSIGNED_ROW_BYTES)).expect("a few rows")
}

impl CosignedHeads {
    /// Reads the rows of a log whose `tree` is open. What is damaged is noted in
    /// `report` and counts for nothing: the witnesses are asked again.
    ///
    /// # Errors
    /// [`NodeError::Refuse`] when they are of a longer or of another log than
    /// the store holds; [`NodeError::Store`].
    pub fn load(
        engine: &dyn Engine,
        log_key: &VerifierKey,
        tree: &TileBuilder,
        report: &mut OpenReport,
    ) -> Result<Self, NodeError> {
        let mut loaded = Self::default();
        for (which, place) in [(NEWEST, &mut loaded.newest), (QUORUM, &mut loaded.quorum)] {
            match read(engine, which, log_key)? {
                Ok(found) => *place = found,
                Err(error) => report.notes.push(format!(
                    "a checkpoint of this log with its cosignatures cannot be read, and is made anew: {error}"
                )),
            }
        }
        for kept in [&loaded.newest, &loaded.quorum].into_iter().flatten() {
            if kept.size > tree.size() {
                return Err(NodeError::Refuse(format!(
                    "the store holds {} entries, but a checkpoint of {} that this node has signed was cosigned by its \
                     witnesses. Starting would give out a second history: put the newer store back, or fetch the \
                     missing entries with `tallystick recover`",
                    tree.size(),
                    kept.size
                )));
            }
            let stored = StoredTiles(engine);
            let root = TreeView::new(tree, &stored)
                .root_at(kept.size)
                .map_err(|error| NodeError::Inconsistent(error.to_string()))?;
            if root != kept.root.0 {
                return Err(NodeError::Refuse(format!(
                    "the store's first {} entries give another root than the checkpoint that this node's witnesses have \
                     cosigned: this is another history. Run `tallystick audit` on it, and restore the right store",
                    kept.size
                )));
            }
        }
        Ok(loaded)
    }
}

/// The kept note; the inner error is one of what stands there.
fn read(
    engine: &dyn Engine,
    which: u8,
    log_key: &VerifierKey,
) -> Result<Result<Option<CosignedCheckpoint>, String>, StoreError> {
    let mut bytes = Vec::new();
    for part in 0..parts() {
        match engine.get(&rows::cosigned(which, part))? {
            Some(piece) => bytes.extend(piece),
            None => break,
        }
    }
    if bytes.is_empty() {
        return Ok(Ok(None));
    }
    Ok(String::from_utf8(bytes)
        .map_err(|error| error.to_string())
        .and_then(|note| CosignedCheckpoint::open(&note, log_key).map_err(|error| error.to_string()))
        .map(Some))
}

/// What is wrong with the rows, for an audit, each a sentence; and the
/// checkpoints in the others, which the log has to agree with.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub(super) fn examine(
    engine: &dyn Engine,
    log_key: &VerifierKey,
) -> Result<(Vec<CosignedCheckpoint>, Vec<String>), StoreError> {
    let (mut whole, mut wrong) = (Vec::new(), Vec::new());
    for which in [NEWEST, QUORUM] {
        match read(engine, which, log_key)? {
            // Both are the same where the newest has a quorum.
            Ok(found) => whole.extend(found.filter(|found| !whole.contains(found))),
            Err(error) => wrong.push(format!(
                "a checkpoint of this log with its cosignatures cannot be read: {error}"
            )),
        }
    }
    Ok((whole, wrong))
}
