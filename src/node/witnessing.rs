//! Cosigning other logs' checkpoints (c2sp.org/tlog-witness): the step from one
//! to the next, compared and stored at once.
//!
//! The writer decides, since it is the only one that writes: what was cosigned
//! last is compared, its row in the store and the guard's slot are durable, and
//! only then the cosignature goes out. Size *and root* stand in the guard too, so
//! that with an older store in its place the witness still goes on from what it
//! cosigned last, and a log's proof is checked from there.
//!
//! A log is known by its origin, as to C2SP tlog-witness. Where a federation's roster
//! declares a new log under an origin, by marking the key compromised that has signed
//! what was cosigned last, the new one begins at size 0 and is known by
//!
//! ```text
//! SHA-256( SHA-256 of the origin [32]  key id of the compromised key [4] )
//! ```
//!
//! while what was cosigned of the old one stays as it is. Whose key was only replaced goes
//! on with the same log.
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
use crate::primitives::limits::{GUARD_WITNESSED_MAX, ROSTER_MEMBER_KEYS_MAX, WITNESSED_TEXT_BYTES_MAX};
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
    compromised: Vec<KeyId>,
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
            compromised: Vec::new(),
        })
    }

    /// The same, where the roster that is followed says that these keys of the log are
    /// compromised: what they have signed last is continued by no other key.
    #[must_use]
    pub fn but_for(mut self, compromised: Vec<KeyId>) -> Self {
        self.compromised = compromised;
        self
    }
}

/// A key of a log, as C2SP signed notes name it.
pub type KeyId = [u8; 4];

/// Another log as it was cosigned last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub head: TreeHead,
    /// The cosigned note; `None` where only the guard knows of it.
    pub note: Option<Arc<str>>,
    /// The log's key that has signed it; `None` where only the guard knows of it.
    pub signed_by: Option<KeyId>,
}

/// The logs that were cosigned, by the first halves of what they are known by.
pub(super) type HeldLogs = BTreeMap<[u8; 16], Held>;

/// What a log is known by in store and guard.
type LogName = [u8; 32];

fn place_of(log: &LogName) -> [u8; 16] {
    *log.first_chunk().expect("32 bytes begin with 16")
}

/// What the log is known by that the roster has declared in the place of one that a
/// compromised key has signed.
fn declared_after(origin_hash: &[u8; 32], compromised: KeyId) -> LogName {
    Sha256::new()
        .chain_update(origin_hash)
        .chain_update(compromised)
        .finalize()
        .into()
}

/// What a log would be known by that is declared after the last one under this origin;
/// `None` where nothing, or the guard alone, knows of the last.
fn after_last(logs: &HeldLogs, origin_hash: &[u8; 32]) -> Option<LogName> {
    let last = in_force(logs, origin_hash, &[]);
    let key = logs.get(&place_of(&last))?.signed_by?;
    Some(declared_after(origin_hash, key))
}

/// The log under this origin that counts: the last one that was declared, and past that
/// another one where a compromised key has signed what is held of it.
fn in_force(logs: &HeldLogs, origin_hash: &[u8; 32], compromised: &[KeyId]) -> LogName {
    let mut log = *origin_hash;
    // Each step is for a key that was compromised, of which a roster has few.
    for _ in 0..ROSTER_MEMBER_KEYS_MAX {
        let Some(key) = logs.get(&place_of(&log)).and_then(|held| held.signed_by) else {
            break;
        };
        let next = declared_after(origin_hash, key);
        if next == log || !(logs.contains_key(&place_of(&next)) || compromised.contains(&key)) {
            break;
        }
        log = next;
    }
    log
}

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
            let log = in_force(&logs, &hash_of(&asked.checkpoint.origin), &asked.compromised);
            logs.get(&place_of(&log)).cloned()
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
        self.witnessed_but_for(origin_hash, &[])
    }

    /// The same, where these keys of the log are compromised: `None` too where one of them
    /// has signed what was cosigned last. The log that is declared in its place begins anew.
    #[must_use]
    pub fn witnessed_but_for(&self, origin_hash: &[u8; 32], compromised: &[KeyId]) -> Option<Arc<str>> {
        let logs = self.inner.shared.witnessed.read();
        let logs = logs.expect("no holder of this lock panics");
        let held = logs.get(&place_of(&in_force(&logs, origin_hash, compromised)))?;
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
        let origin_hash = hash_of(&asked.checkpoint.origin);
        let name = in_force(&self.witnessed, &origin_hash, &asked.compromised);
        let log = place_of(&name);
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
        let signed_by = note.signatures().first().map(|line| line.key_id);
        note.push(line.clone());
        let note: Arc<str> = note.to_string().into();
        pending.batch.put(rows::witnessed(&name), note.as_bytes());
        let held = Held {
            head: new,
            note: Some(note),
            signed_by,
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

fn hash_of(origin: &str) -> [u8; 32] {
    Sha256::digest(origin).into()
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
        let mut declared = Vec::new();
        let mut unreadable = Vec::new();
        engine.scan(&prefix, &prefix, &mut |row, value| {
            match read_row(value, key) {
                Ok((origin_hash, held)) if row == rows::witnessed(&origin_hash) => {
                    found.held.insert(place_of(&origin_hash), held);
                }
                Ok((origin_hash, held)) => declared.push((row.to_vec(), origin_hash, held)),
                Err(error) => unreadable.push(error),
            }
            ControlFlow::Continue(())
        })?;
        // Each is known by the one before it.
        let is_next = |held: &HeldLogs, (row, origin_hash, _): &(Vec<u8>, [u8; 32], Held)| {
            let next = after_last(held, origin_hash)?;
            (*row == rows::witnessed(&next)).then(|| place_of(&next))
        };
        while let Some((at, place)) =
            (0..declared.len()).find_map(|at| Some((at, is_next(&found.held, &declared[at])?)))
        {
            let (.., held) = declared.swap_remove(at);
            found.held.insert(place, held);
        }
        unreadable.extend(
            declared
                .iter()
                .map(|_| LogError::Checkpoint("it stands under another log's name")),
        );
        let sentence =
            |error| format!("a checkpoint of another log that was cosigned here cannot be read: {error}");
        found.unreadable = unreadable.into_iter().map(sentence).collect();
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
                let (note, signed_by) = (None, None);
                self.held.insert(
                    log.log,
                    Held {
                        head,
                        note,
                        signed_by,
                    },
                );
            }
        }
        self.held
    }
}

/// A row as [`Writer::witness`] writes it, with the hash of its log's origin.
fn read_row(note: &[u8], key: &VerifierKey) -> Result<([u8; 32], Held), LogError> {
    let parsed = Note::parse(note)?;
    parsed.verify(std::slice::from_ref(key))?;
    let checkpoint = Checkpoint::parse(parsed.text())?;
    let by_log = parsed.signatures().iter().find(|line| !key.made(line));
    let held = Held {
        head: TreeHead::from(&checkpoint),
        note: Some(parsed.to_string().into()),
        signed_by: by_log.map(|line| line.key_id),
    };
    Ok((hash_of(&checkpoint.origin), held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Digest;

    const A: KeyId = [1; 4];
    const B: KeyId = [2; 4];
    const C: KeyId = [3; 4];
    const ORIGIN: [u8; 32] = [9; 32];

    fn held(size: u64, signed_by: Option<KeyId>) -> Held {
        let root = Digest([7; 32]);
        Held {
            head: TreeHead { size, root },
            note: signed_by.map(|_| Arc::from("a note")),
            signed_by,
        }
    }

    fn first_is(signed_by: Option<KeyId>) -> HeldLogs {
        HeldLogs::from([(place_of(&ORIGIN), held(5, signed_by))])
    }

    #[test]
    fn a_log_is_known_by_its_origin_until_another_is_declared() {
        let none = HeldLogs::new();
        assert_eq!(in_force(&none, &ORIGIN, &[A]), ORIGIN);
        let logs = first_is(Some(A));
        assert_eq!(in_force(&logs, &ORIGIN, &[]), ORIGIN);
        // A key that was compromised before has to do with what it has signed alone.
        assert_eq!(in_force(&logs, &ORIGIN, &[B, C]), ORIGIN);
        assert_ne!(in_force(&logs, &ORIGIN, &[A]), ORIGIN);
    }

    #[test]
    fn a_declared_log_stays_the_one_in_force_until_the_next() {
        let mut logs = first_is(Some(A));
        let second = in_force(&logs, &ORIGIN, &[A]);
        logs.insert(place_of(&second), held(1, Some(B)));
        for compromised in [&[][..], &[A], &[C]] {
            assert_eq!(in_force(&logs, &ORIGIN, compromised), second);
        }
        let third = in_force(&logs, &ORIGIN, &[A, B]);
        assert!(third != second && third != ORIGIN);
        logs.insert(place_of(&third), held(1, Some(C)));
        assert_eq!(in_force(&logs, &ORIGIN, &[]), third);
        // Another origin's is another log.
        assert_eq!(in_force(&logs, &[8; 32], &[A, B, C]), [8; 32]);
    }

    #[test]
    fn what_the_guard_alone_knows_begins_nothing_anew() {
        let logs = first_is(None);
        assert_eq!(in_force(&logs, &ORIGIN, &[A, B, C]), ORIGIN);
    }
}
