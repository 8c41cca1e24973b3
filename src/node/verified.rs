//! Issuers' logs as redemptions have verified them: of each the newest checkpoint, kept
//! with the halves that it was shown with, so that after a crash too an issuer has to
//! continue what it has shown (protocol, section 2, step 6). Each key of a log has a row of
//! its own: the roster says which of them count.
//!
//! ```text
//! row v + SHA-256 of the origin + key id [4] = size u64  note
//! ```

use super::pending::Pending;
use super::witnessing::KeyId;
use super::writer::Writer;
use super::{Node, NodeError};
use crate::store::rows;

/// A checkpoint of another log that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    /// SHA-256 of the log's origin.
    pub origin_hash: [u8; 32],
    /// The log's key that has signed it.
    pub key_id: KeyId,
    /// Its size, in entries.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

impl Node {
    /// The newest verified checkpoint that is kept of the log whose origin has this
    /// SHA-256 and that this key of it has signed: a signed note.
    ///
    /// # Errors
    /// [`NodeError`] when the store cannot be read.
    pub fn verified(&self, origin_hash: &[u8; 32], key_id: KeyId) -> Result<Option<String>, NodeError> {
        let key = rows::verified(origin_hash, &key_id);
        let row = self.inner.shared.engine.get(&key)?;
        Ok(row.and_then(|row| {
            let (_, note) = row.split_first_chunk::<8>()?;
            String::from_utf8(note.to_vec()).ok()
        }))
    }
}

impl Writer {
    /// Keeps a checkpoint, unless a newer one of its log is kept.
    pub(super) fn keep_verified(
        &mut self,
        verified: VerifiedCheckpoint,
        pending: &mut Pending,
    ) -> Result<(), NodeError> {
        let log = (verified.origin_hash, verified.key_id);
        let key = rows::verified(&log.0, &log.1);
        let before = match self.verified.get(&log) {
            Some(size) => Some(*size),
            None => self.shared.engine.get(&key)?.and_then(|row| {
                let size = row.first_chunk::<8>()?;
                Some(u64::from_be_bytes(*size))
            }),
        };
        if before.is_some_and(|size| size >= verified.size) {
            return Ok(());
        }
        self.verified.insert(log, verified.size);
        let row = [&verified.size.to_be_bytes()[..], verified.note.as_bytes()].concat();
        pending.bytes += row.len();
        pending.batch.put(key, row);
        Ok(())
    }
}
