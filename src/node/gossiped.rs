//! What other members have signed and gossip has brought, as rows of the store: the
//! newest of each status list, campaign, checkpoint and piece of evidence.
//!
//! What an item says, and whether it counts, is the federation's business: here they
//! are bytes under a kind and an id, which whoever keeps them has verified. They are
//! verified once more when a node takes them up again, since keys and members may have
//! gone meanwhile.

use std::ops::ControlFlow;

use crate::primitives::limits::GOSSIPED_EVIDENCE_BYTES_MAX;
use crate::store::{Engine, StoreError, rows};

use super::commands::{Command, Reply};
use super::pending::Pending;
use super::writer::Writer;
use super::{Node, NodeError, pieces};

/// What is to be kept of others' items, and what is to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GossipedToKeep {
    /// Kind, id and bytes; each in the place of what has the same kind and id.
    pub put: Vec<GossipedItem>,
    /// Kinds and ids.
    pub remove: Vec<(u8, [u8; 16])>,
}

impl GossipedToKeep {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}

/// An item's kind, id and bytes.
pub type GossipedItem = (u8, [u8; 16], Vec<u8>);

/// Kind and id.
type Place = (u8, [u8; 16]);

impl Node {
    /// Keeps others' items, all at once and durably.
    ///
    /// # Errors
    /// [`NodeError::Busy`], [`NodeError::Stopped`].
    pub async fn keep_gossiped(&self, keep: GossipedToKeep) -> Result<(), NodeError> {
        if keep.is_empty() {
            return Ok(());
        }
        self.ask(Command::KeepGossiped(Box::new(keep)), None)
            .await
            .map(|_| ())
    }

    /// Kinds, ids and bytes of all that is kept, and which are damaged: gossip brings
    /// those anew.
    ///
    /// # Errors
    /// [`StoreError`] when the rows cannot be read.
    pub fn gossiped(&self) -> Result<(Vec<GossipedItem>, Vec<Place>), StoreError> {
        let engine = self.inner.shared.engine.as_ref();
        let (mut kept, mut damaged) = (Vec::new(), Vec::new());
        for (kind, id) in places(engine)? {
            match read(engine, kind, &id) {
                Ok(Some(bytes)) => kept.push((kind, id, bytes)),
                Ok(None) => {}
                Err(StoreError::Damaged(_)) => damaged.push((kind, id)),
                Err(error) => return Err(error),
            }
        }
        Ok((kept, damaged))
    }
}

impl Writer {
    /// Makes others' items part of the batch under way.
    pub(super) fn keep_gossiped(
        &mut self,
        keep: GossipedToKeep,
        pending: &mut Pending,
    ) -> Result<Reply, NodeError> {
        let engine = self.shared.engine.as_ref();
        for (kind, id) in &keep.remove {
            pieces::remove(engine, &mut pending.batch, 0, |part| {
                rows::gossiped(*kind, id, part)
            })?;
        }
        for (kind, id, bytes) in &keep.put {
            pending.bytes += bytes.len();
            pieces::replace(engine, &mut pending.batch, bytes, |part| {
                rows::gossiped(*kind, id, part)
            })?;
        }
        Ok(Reply::Done)
    }
}

fn read(engine: &dyn Engine, kind: u8, id: &[u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
    let key = |part| rows::gossiped(kind, id, part);
    let what = || {
        let name = data_encoding::HEXLOWER.encode(id);
        format!("the rows of the item {name} of another member, kind {kind}")
    };
    pieces::read(engine, GOSSIPED_EVIDENCE_BYTES_MAX, key, what)
}

/// Of which items there are first rows.
fn places(engine: &dyn Engine) -> Result<Vec<Place>, StoreError> {
    let mut places = Vec::new();
    engine.scan(&[rows::GOSSIPED], &[rows::GOSSIPED], &mut |key, _| {
        if let Some((kind, id, 0)) = rows::gossiped_place(key) {
            places.push((kind, id));
        }
        ControlFlow::Continue(())
    })?;
    Ok(places)
}

/// What is wrong with the rows, for an audit, a sentence each.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub(super) fn examine(engine: &dyn Engine) -> Result<Vec<String>, StoreError> {
    let mut wrong = Vec::new();
    for (kind, id) in places(engine)? {
        match read(engine, kind, &id) {
            Ok(_) => {}
            Err(StoreError::Damaged(what)) => wrong.push(format!("{what} are damaged")),
            Err(error) => return Err(error),
        }
    }
    Ok(wrong)
}
