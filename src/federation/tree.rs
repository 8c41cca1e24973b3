//! The tree of a signed checkpoint, read from tiles that nobody has to trust:
//! every tile is checked against the one above it, up to the root.

use std::sync::{Arc, Mutex};

use super::client::SignedCheckpoint;
use super::error::FollowError;
use super::source::{FetchError, LogSource};
use crate::log::TilePath;
use crate::log::tile_path::{TileKind, partial_width};
use crate::merkle::{
    HALF_TILE_LEN, Hash, NodeReader, TILE_LEN, TileBuilder, TreeError, TreeView, consistency_proof,
    inclusion_proof, root_of,
};
use crate::primitives::limits;

const TILE_BYTES: usize = TILE_LEN * 32;

/// Levels of tiles that a tree can have: 8 levels of the tree each.
const TILE_LEVELS: u8 = 8;

/// A full tile by level and number, with its hashes.
type KeptTile = ((u8, u64), Arc<[Hash]>);

/// The tree that a checkpoint is about. What it gives is what the checkpoint's
/// root commits to, or an error.
#[derive(Debug)]
pub struct VerifiedTree {
    source: Arc<dyn LogSource>,
    signed: SignedCheckpoint,
    /// The unfinished tile of each level.
    edge: TileBuilder,
    /// Full tiles that were checked, the one used last at the end.
    kept: Mutex<Vec<KeptTile>>,
}

impl VerifiedTree {
    /// Reads the unfinished tiles of the checkpoint's tree and checks that they
    /// give its root.
    ///
    /// # Errors
    /// [`FollowError::Tile`] or [`FollowError::Missing`] when they do not;
    /// [`FollowError::Fetch`].
    pub fn open(source: Arc<dyn LogSource>, signed: SignedCheckpoint) -> Result<Self, FollowError> {
        let size = signed.checkpoint.size;
        let mut edge = Vec::new();
        for level in 0..TILE_LEVELS {
            let count = size >> (u32::from(level) * 8);
            if count == 0 {
                break;
            }
            let width = partial_width(level, size);
            edge.push(if width == 0 {
                Vec::new()
            } else {
                let number = count / TILE_LEN as u64;
                fetch_hashes(source.as_ref(), level, number, width, size)?
            });
        }
        let edge = TileBuilder::from_right_edge(size, edge).expect("each tile of the width asked for");
        let tree = Self {
            source,
            signed,
            edge,
            kept: Mutex::default(),
        };
        if tree.edge.root() != tree.signed.checkpoint.root.0 {
            return Err(FollowError::Tile {
                from: tree.source.name().to_owned(),
                path: "the unfinished tiles together".to_owned(),
                size,
            });
        }
        Ok(tree)
    }

    /// The checkpoint that it is of.
    #[must_use]
    pub fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }

    /// Leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.signed.checkpoint.size
    }

    /// Where it is read from.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn LogSource> {
        &self.source
    }

    /// The root of the first `size` leaves.
    ///
    /// # Errors
    /// [`FollowError`]; [`FollowError::Tree`] where the tree is smaller.
    pub fn root_at(&self, size: u64) -> Result<Hash, FollowError> {
        Ok(self.view().root_at(size)?)
    }

    /// The node `index` of tree level `level` (leaves are level 0).
    ///
    /// # Errors
    /// As [`root_at`](Self::root_at).
    pub fn node(&self, level: u32, index: u64) -> Result<Hash, FollowError> {
        Ok(self.view().node(level, index)?)
    }

    /// The first `width` hashes (1 to 256) of a tile.
    ///
    /// # Errors
    /// As [`root_at`](Self::root_at).
    pub fn tile(&self, level: u8, number: u64, width: usize) -> Result<Vec<Hash>, FollowError> {
        Ok(self.view().tile(level, number, width)?)
    }

    /// The proof that this tree begins with its first `old` leaves.
    ///
    /// # Errors
    /// As [`root_at`](Self::root_at).
    pub fn consistency(&self, old: u64) -> Result<Vec<Hash>, FollowError> {
        Ok(consistency_proof(old, self.size(), &self.view())?)
    }

    /// The audit path of leaf `index`.
    ///
    /// # Errors
    /// As [`root_at`](Self::root_at).
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, FollowError> {
        Ok(inclusion_proof(index, self.size(), &self.view())?)
    }

    /// The first of the leaves `0..size` in which this tree differs from
    /// `other`; both have that many. `None` where they agree. Reads a few tiles.
    ///
    /// # Errors
    /// As [`root_at`](Self::root_at).
    pub fn first_difference(&self, other: &Self, size: u64) -> Result<Option<u64>, FollowError> {
        let mut from = 0;
        for level in (0..u64::BITS).rev().filter(|level| (size >> level) & 1 == 1) {
            let (mut level, mut index) = (level, from >> level);
            from += 1 << level;
            if self.node(level, index)? == other.node(level, index)? {
                continue;
            }
            while level > 0 {
                level -= 1;
                index *= 2;
                if self.node(level, index)? == other.node(level, index)? {
                    index += 1;
                }
            }
            return Ok(Some(index));
        }
        Ok(None)
    }

    fn view(&self) -> TreeView<'_, Self> {
        TreeView::new(&self.edge, self)
    }

    /// A full tile, checked against its node in the tile above it.
    fn full_tile(&self, level: u8, number: u64) -> Result<Arc<[Hash]>, FollowError> {
        let name = (level, number);
        {
            let mut kept = self.kept.lock().expect("no holder of this lock panics");
            if let Some(at) = kept.iter().position(|(kept, _)| *kept == name) {
                let found = kept.remove(at);
                let hashes = Arc::clone(&found.1);
                kept.push(found);
                return Ok(hashes);
            }
        }
        let expected = self.node(u32::from(level + 1) * 8, number)?;
        let hashes = fetch_hashes(self.source.as_ref(), level, number, TILE_LEN as u16, self.size())?;
        if root_of(&hashes) != expected {
            return Err(FollowError::Tile {
                from: self.source.name().to_owned(),
                path: path(TileKind::Hashes(level), number, TILE_LEN as u16).to_string(),
                size: self.size(),
            });
        }
        let hashes: Arc<[Hash]> = hashes.into();
        let mut kept = self.kept.lock().expect("no holder of this lock panics");
        if kept.len() == limits::VERIFIED_TILES_KEPT_MAX {
            kept.remove(0);
        }
        kept.push((name, Arc::clone(&hashes)));
        Ok(hashes)
    }
}

impl NodeReader for VerifiedTree {
    type Error = FollowError;

    fn half_tile(&self, level: u8, tile: u64, half: u8) -> Result<Option<Vec<Hash>>, FollowError> {
        let hashes = self.full_tile(level, tile)?;
        let first = usize::from(half) * HALF_TILE_LEN;
        Ok(Some(hashes[first..first + HALF_TILE_LEN].to_vec()))
    }
}

impl From<TreeError<FollowError>> for FollowError {
    fn from(error: TreeError<Self>) -> Self {
        match error {
            TreeError::Read(error) => error,
            other => Self::Tree(other.to_string()),
        }
    }
}

pub(super) fn path(kind: TileKind, number: u64, width: u16) -> TilePath {
    TilePath::new(kind, number, width).expect("a level below 8 and a width of 1 to 256")
}

/// The bytes of a tile or bundle and the width they were served in: the partial
/// one, or where the log has grown and dropped it, the full one.
pub(super) fn fetch(
    source: &dyn LogSource,
    wanted: TilePath,
    size: u64,
    most: impl Fn(u16) -> usize,
) -> Result<(Vec<u8>, u16), FollowError> {
    let full = TILE_LEN as u16;
    for width in [wanted.width(), full] {
        let path = path(wanted.kind(), wanted.number(), width).to_string();
        if let Some(bytes) = source.get(&path, most(width))? {
            return Ok((bytes, width));
        }
    }
    Err(FollowError::Missing {
        from: source.name().to_owned(),
        path: wanted.to_string(),
        size,
    })
}

/// The first `width` hashes of a tile, not checked yet.
fn fetch_hashes(
    source: &dyn LogSource,
    level: u8,
    number: u64,
    width: u16,
    size: u64,
) -> Result<Vec<Hash>, FollowError> {
    let wanted = path(TileKind::Hashes(level), number, width);
    let (bytes, served) = fetch(source, wanted, size, |_| TILE_BYTES)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(served) {
        return Err(FetchError::Answer {
            what: format!("{}/{}", source.name(), path(wanted.kind(), number, served)),
            why: format!("{} bytes are no tile of {served} hashes", bytes.len()),
        }
        .into());
    }
    Ok(hashes[..usize::from(width)].to_vec())
}
