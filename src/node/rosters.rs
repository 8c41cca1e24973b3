//! Rosters of the federation as rows of the store.
//!
//! What a roster says, and whether it counts, is the federation's business: here
//! they are bytes with a number, which whoever keeps them has verified. The writer
//! makes them durable with whatever else is in its batch, and the guard file holds
//! the highest number ever kept, so that with an older store in the place of its own
//! a node knows that it is behind.

use crate::ledger::Refusal;
use crate::primitives::limits::ROSTER_BYTES_MAX;
use crate::store::{Batch, Engine, StoreError, rows};

use super::commands::{Command, Reply};
use super::pending::Pending;
use super::requests::Caller;
use super::writer::Writer;
use super::{Node, NodeError, pieces};

/// A version to keep: its bytes were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterToKeep {
    /// Its number, counted from 1; at most one above the highest that is kept.
    pub version: u64,
    /// Whether it is a second version of that number: evidence, not followed.
    pub is_second: bool,
    /// Its bytes, signatures included.
    pub bytes: Vec<u8>,
}

/// The writer's own form of it.
pub(super) struct RosterCommand {
    pub keep: RosterToKeep,
    /// Hashes of key and request of the call that brought it.
    pub request: Option<([u8; 16], [u8; 16])>,
}

impl Node {
    /// Keeps a version of the federation's roster, durably, for `caller` if a call
    /// brought it. An older one in its place is written over.
    ///
    /// # Errors
    /// [`NodeError::Refused`] where the caller's key was used for something else;
    /// [`NodeError::Inconsistent`] where a version before it is lacking;
    /// [`NodeError::Busy`], [`NodeError::Stopped`].
    pub async fn keep_roster(&self, keep: RosterToKeep, caller: Option<&Caller>) -> Result<(), NodeError> {
        let answers = caller.map(|caller| self.inner.shared.hasher.answers(caller, None));
        let request = answers.map(|answers| (answers.key, answers.request));
        let command = Command::KeepRoster(Box::new(RosterCommand { keep, request }));
        self.ask(command, answers).await.map(|_| ())
    }

    /// Whether this call has brought a version before.
    ///
    /// # Errors
    /// [`NodeError::Refused`] where its key was used for another roster;
    /// [`NodeError::Store`].
    pub fn brought_roster(&self, caller: &Caller) -> Result<bool, NodeError> {
        let answers = self.inner.shared.hasher.answers(caller, None);
        let engine = self.inner.shared.engine.as_ref();
        known_request(engine, answers.key, answers.request)
    }

    /// The version of this number that is followed, as it was kept.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when its rows are not what was written.
    pub fn roster(&self, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
        read(self.inner.shared.engine.as_ref(), false, version)
    }

    /// The second version of this number, if one was kept as evidence.
    ///
    /// # Errors
    /// As [`roster`](Self::roster).
    pub fn second_roster(&self, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
        read(self.inner.shared.engine.as_ref(), true, version)
    }

    /// The highest number that was ever kept, as far as the guard file or the store
    /// knew when the node was opened; 0 where there was none.
    #[must_use]
    pub fn roster_floor(&self) -> u64 {
        self.inner.shared.roster_floor
    }
}

impl Writer {
    /// Makes a version part of the batch under way.
    pub(super) fn keep_roster(
        &mut self,
        command: RosterCommand,
        pending: &mut Pending,
    ) -> Result<Reply, NodeError> {
        let RosterCommand { keep, request } = command;
        if keep.version == 0 || keep.version > self.rosters + 1 || keep.bytes.len() > ROSTER_BYTES_MAX {
            return Err(NodeError::Inconsistent(format!(
                "version {} of the roster cannot be kept: version {} is the highest there",
                keep.version, self.rosters
            )));
        }
        if let Some((key, request)) = request {
            known_request(self.shared.engine.as_ref(), key, request)?;
            pending.batch.put(rows::roster_request(&key), request);
        }
        put(&mut pending.batch, &keep);
        if !keep.is_second && keep.version > self.rosters {
            self.rosters = keep.version;
            pending.roster = Some(keep.version);
        }
        Ok(Reply::Done)
    }
}

/// Whether the request under this key was answered before.
fn known_request(engine: &dyn Engine, key: [u8; 16], request: [u8; 16]) -> Result<bool, NodeError> {
    match engine.get(&rows::roster_request(&key))? {
        None => Ok(false),
        Some(first) if first == request => Ok(true),
        Some(_) => Err(Refusal::KeyReused.into()),
    }
}

fn put(batch: &mut Batch, keep: &RosterToKeep) {
    pieces::put(batch, &keep.bytes, |part| {
        rows::roster(keep.is_second, keep.version, part)
    });
}

fn read(engine: &dyn Engine, is_second: bool, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let key = |part| rows::roster(is_second, version, part);
    let what = || format!("the rows of the roster's version {version}");
    pieces::read(engine, ROSTER_BYTES_MAX, key, what)
}

/// The highest version that the store holds; 0 where there is none.
pub(super) fn highest(engine: &dyn Engine) -> Result<u64, StoreError> {
    let last = rows::roster(false, u64::MAX, u16::MAX);
    let found = engine.at_or_before(&last[..2], &last)?;
    Ok(found.and_then(|(key, _)| rows::roster_version(&key)).unwrap_or(0))
}

/// What is wrong with the rows, for an audit, a sentence each.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub(super) fn examine(engine: &dyn Engine) -> Result<Vec<String>, StoreError> {
    let mut wrong = Vec::new();
    for version in 1..=highest(engine)? {
        for is_second in [false, true] {
            match read(engine, is_second, version) {
                Ok(None) if !is_second => {
                    wrong.push(format!("version {version} of the federation's roster is missing"));
                }
                Ok(_) => {}
                Err(StoreError::Damaged(what)) => wrong.push(format!("{what} are damaged")),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(wrong)
}
