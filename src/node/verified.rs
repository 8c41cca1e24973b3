//! Issuers' logs as redemptions have verified them: of each the newest checkpoint, kept
//! with the halves that it was shown with, so that after a crash too an issuer has to
//! continue what it has shown (protocol, section 2, step 6).
//!
//! ```text
//! row v + SHA-256 of the origin = size u64  note
//! ```

use super::pending::Pending;
use super::writer::Writer;
use super::{Node, NodeError};
use crate::store::rows;

/// A checkpoint of another log that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    /// SHA-256 of the log's origin.
    pub origin_hash: [u8; 32],
    /// Its size, in entries.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

impl Node {
    /// The newest verified checkpoint that is kept of the log whose origin has this
    /// SHA-256: a signed note.
    ///
    /// # Errors
    /// [`NodeError`] when the store cannot be read.
    pub fn verified(&self, origin_hash: &[u8; 32]) -> Result<Option<String>, NodeError> {
        let row = self.inner.shared.engine.get(&rows::verified(origin_hash))?;
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
        let key = rows::verified(&verified.origin_hash);
        let before = match self.verified.get(&verified.origin_hash) {
            Some(size) => Some(*size),
            None => self.shared.engine.get(&key)?.and_then(|row| {
                let size = row.first_chunk::<8>()?;
                Some(u64::from_be_bytes(*size))
            }),
        };
        if before.is_some_and(|size| size >= verified.size) {
            return Ok(());
        }
        self.verified.insert(verified.origin_hash, verified.size);
        let row = [&verified.size.to_be_bytes()[..], verified.note.as_bytes()].concat();
        pending.bytes += row.len();
        pending.batch.put(key, row);
        Ok(())
    }
}
