//! Cosigning other logs' checkpoints (c2sp.org/tlog-witness): the step from one
//! to the next, compared and stored at once.
//!
//! The writer decides, since it is the only one that writes: what was cosigned
//! last is compared, its row in the store and the guard's slot are durable, and
//! only then the cosignature goes out. Size *and root* stand in the guard too, so
//! that with an older store in its place the witness still goes on from what it
//! cosigned last, and a log's proof is checked from there.
//!
//! A row is the note as it was cosigned: the checkpoint, its log's signatures, and
//! the cosignature. Of row and guard the larger size counts: the row's after a
//! crash between the two, when nothing was answered yet; the guard's after the
//! store was restored.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::log::witness::decide;
use crate::log::{Checkpoint, LogError, Note, NoteSignature, TreeHead, VerifierKey, cosignature};
use crate::merkle::Hash;
use crate::primitives::limits::{GUARD_WITNESSED_MAX, WITNESSED_TEXT_BYTES_MAX};
use crate::store::{Engine, StoreError, Witnessed, rows};

use super::commands::{Command, Reply};
use super::pending::Pending;
use super::writer::{Shared, Writer};
use super::{Node, NodeError};

/// A checkpoint of another log, to be cosigned.
#[derive(Clone, Debug)]
pub struct ToWitness {
    checkpoint: Checkpoint,
    note: Note,
    old: u64,
    proof: Vec<Hash>,
}

impl ToWitness {
    /// The checkpoint in `note`, signed by one at least of its log's `keys`, with
    /// the proof that it continues the one of size `old`. Of the signatures
    /// one by `keys` is kept.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and [`LogError::Checkpoint`] for one with a
    /// text that is too long to be kept.
    pub fn open(note: &Note, keys: &[VerifierKey], old: u64, proof: Vec<Hash>) -> Result<Self, LogError> {
        note.verify(keys)?;
        if note.text().len() > WITNESSED_TEXT_BYTES_MAX {
            return Err(LogError::Checkpoint("its text is too long to be witnessed here"));
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        let mut kept = Note::new(note.text())?;
        // One line: what is kept has to fit a row.
        let by_log = |line: &&NoteSignature| keys.iter().any(|key| key.made(line));
        if let Some(line) = note.signatures().iter().find(by_log) {
            kept.push(line.clone());
        }
        Ok(Self {
            checkpoint,
            note: kept,
            old,
            proof,
        })
    }
}

/// Another log as it was cosigned last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub head: TreeHead,
    /// The cosigned note; `None` where only the guard knows of it.
    pub note: Option<Arc<str>>,
}

/// The logs that were cosigned, by [`Witnessed::log_of`] their origins.
pub(super) type HeldLogs = BTreeMap<[u8; 16], Held>;

fn head_in(held: Option<&Held>) -> TreeHead {
    held.map_or_else(TreeHead::empty, |held| held.head)
}

impl Node {
    /// Cosigns a checkpoint of another log, if it continues the one that was
    /// cosigned last; what was cosigned is durable before the line is given.
    /// The time is the node's clock's.
    ///
    /// # Errors
    /// [`NodeError::NotCosigned`]; [`NodeError::Busy`]; [`NodeError::Stopped`].
    pub async fn witness(&self, asked: ToWitness) -> Result<NoteSignature, NodeError> {
        let shared = &self.inner.shared;
        let held = {
            let logs = shared.witnessed.read().expect("no holder of this lock panics");
            logs.get(&Witnessed::log_of(&asked.checkpoint.origin)).cloned()
        };
        // What is refused, or was cosigned already, need not wait for the writer.
        let (before, new) = (head_in(held.as_ref()), TreeHead::from(&asked.checkpoint));
        decide(&before, asked.old, &asked.proof, &new)?;
        let is_kept = new.size == 0 || held.is_some_and(|held| held.note.is_some());
        if new == before && is_kept {
            return shared.cosign(&asked.note);
        }
        match self.ask(Command::Witness(Box::new(asked)), None).await? {
            Reply::Cosigned(line) => Ok(line),
            _ => Err(NodeError::Inconsistent(
                "the writer answered another question".to_owned(),
            )),
        }
    }

    /// The checkpoint that was cosigned last of the log whose origin has this
    /// SHA-256: a signed note, cosignature included.
    #[must_use]
    pub fn witnessed(&self, origin_hash: &[u8; 32]) -> Option<Arc<str>> {
        let logs = self.inner.shared.witnessed.read();
        let logs = logs.expect("no holder of this lock panics");
        let held = logs.get(origin_hash.first_chunk::<16>()?)?;
        held.note.clone()
    }

    /// Whether the guard file has room for these logs beside those that were
    /// cosigned before.
    ///
    /// # Errors
    /// [`NodeError::Refuse`] when it has not.
    pub fn check_room_to_witness<'a>(&self, origins: impl Iterator<Item = &'a str>) -> Result<(), NodeError> {
        let logs = self.inner.shared.witnessed.read();
        let logs = logs.expect("no holder of this lock panics");
        let new = origins.filter(|origin| !logs.contains_key(&Witnessed::log_of(origin)));
        if new.count() + logs.len() > GUARD_WITNESSED_MAX {
            return Err(no_room());
        }
        Ok(())
    }

    /// The key that cosigns, as a C2SP verifier key.
    #[must_use]
    pub fn witness_key(&self) -> &VerifierKey {
        &self.inner.shared.witness_key
    }
}

fn no_room() -> NodeError {
    NodeError::Refuse(format!(
        "the guard file has room for {GUARD_WITNESSED_MAX} logs that are witnessed, those that were witnessed before \
         included: take some out of witness_logs"
    ))
}

impl Shared {
    fn cosign(&self, note: &Note) -> Result<NoteSignature, NodeError> {
        cosignature::cosign(note.text(), &self.witness_key, self.clock.now(), |message| {
            self.keyring.witness.sign(message)
        })
        .map_err(|error| NodeError::Inconsistent(error.to_string()))
    }
}

impl Writer {
    /// Decides, and makes what is cosigned part of the batch under way: store
    /// and guard are durable before the reply goes out.
    pub(super) fn witness(&mut self, asked: ToWitness, pending: &mut Pending) -> Result<Reply, NodeError> {
        let log = Witnessed::log_of(&asked.checkpoint.origin);
        let (before, new) = (
            head_in(self.witnessed.get(&log)),
            TreeHead::from(&asked.checkpoint),
        );
        decide(&before, asked.old, &asked.proof, &new)?;
        if !self.witnessed.contains_key(&log) && self.witnessed.len() == GUARD_WITNESSED_MAX {
            return Err(no_room());
        }
        let line = self.shared.cosign(&asked.note)?;
        let mut note = asked.note;
        note.push(line.clone());
        let note: Arc<str> = note.to_string().into();
        let row = rows::witnessed(&Sha256::digest(&asked.checkpoint.origin).into());
        pending.batch.put(row, note.as_bytes());
        let held = Held {
            head: new,
            note: Some(note),
        };
        self.witnessed.insert(log, held.clone());
        pending.witnessed.push((log, held));
        Ok(Reply::Cosigned(line))
    }

    /// What the guard has to hold of the logs that were cosigned.
    pub(super) fn guarded_logs(&self) -> Vec<Witnessed> {
        guarded(&self.witnessed)
    }

    /// Lets readers see what is durable now.
    pub(super) fn publish_witnessed(&self, pending: &Pending) {
        if pending.witnessed.is_empty() {
            return;
        }
        let logs = self.shared.witnessed.write();
        let mut logs = logs.expect("no holder of this lock panics");
        logs.extend(pending.witnessed.iter().cloned());
    }
}

fn guarded(logs: &HeldLogs) -> Vec<Witnessed> {
    let logs = logs.iter().map(|(log, held)| Witnessed {
        log: *log,
        size: held.head.size,
        root: held.head.root.0,
    });
    logs.collect()
}

/// What the store holds of logs that were cosigned.
#[derive(Default)]
pub(super) struct StoredLogs {
    pub held: HeldLogs,
    /// What is wrong with other rows, a sentence each.
    pub unreadable: Vec<String>,
}

impl StoredLogs {
    /// Reads the rows; what `key` has not cosigned does not count.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn read(engine: &dyn Engine, key: &VerifierKey) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let prefix = [rows::WITNESSED];
        engine.scan(&prefix, &prefix, &mut |row, value| {
            match read_row(row, value, key) {
                Ok((log, held)) => drop(found.held.insert(log, held)),
                Err(error) => found.unreadable.push(format!(
                    "a checkpoint of another log that was cosigned here cannot be read: {error}"
                )),
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// For a guard that is made anew.
    pub fn guarded(&self) -> Vec<Witnessed> {
        guarded(&self.held)
    }

    /// Where the guard knows better, each a sentence.
    pub fn behind(&self, guarded: &[Witnessed]) -> Vec<String> {
        let behind = guarded.iter().filter_map(|log| {
            let head = head_in(self.held.get(&log.log));
            let other_root = head.size == log.size && head.root.0 != log.root;
            (head.size < log.size || other_root).then(|| {
                format!(
                    "another log was cosigned here at size {}, so says the guard file; the store has it at size {}{}",
                    log.size,
                    head.size,
                    if other_root { " with another root" } else { "" }
                )
            })
        });
        behind.collect()
    }

    /// With the guard's where they are larger, or differ.
    pub fn with(mut self, guarded: &[Witnessed]) -> HeldLogs {
        for log in guarded {
            let head = TreeHead {
                size: log.size,
                root: crate::primitives::Digest(log.root),
            };
            let stored = self.held.get(&log.log);
            if stored.is_none_or(|held| held.head.size <= head.size && held.head != head) {
                self.held.insert(log.log, Held { head, note: None });
            }
        }
        self.held
    }
}

/// A row as [`Writer::witness`] writes it.
fn read_row(row: &[u8], note: &[u8], key: &VerifierKey) -> Result<([u8; 16], Held), LogError> {
    let parsed = Note::parse(note)?;
    parsed.verify(std::slice::from_ref(key))?;
    let checkpoint = Checkpoint::parse(parsed.text())?;
    if row != rows::witnessed(&Sha256::digest(&checkpoint.origin).into()) {
        return Err(LogError::Checkpoint("it stands under another log's name"));
    }
    let held = Held {
        head: TreeHead::from(&checkpoint),
        note: Some(parsed.to_string().into()),
    };
    Ok((Witnessed::log_of(&checkpoint.origin), held))
}
