//! One look at the whole tree: stored half tiles and the unfinished rest.

use std::cell::RefCell;
use std::collections::HashMap;

use super::frontier::{fold, subtrees};
use super::tiles::{TILE_HEIGHT, required_half, subtree_in};
use super::{HALF_TILE_LEN, Hash, NodeReader, TILE_LEN, TileBuilder, TreeError, node_hash};

/// Which half tile: tile level, tile number, half.
type HalfName = (u8, u64, u8);

/// The tree up to the builder's size: any node, tile, root or proof at any
/// size up to it. Reads each half tile at most once in a row; make one view
/// for each request.
#[derive(Debug)]
pub struct TreeView<'a, R> {
    builder: &'a TileBuilder,
    reader: &'a R,
    /// The half tile read last: neighbouring nodes of a proof share it.
    last: RefCell<Option<(HalfName, Vec<Hash>)>>,
    /// Nodes that were computed, where many proofs are made with one look.
    known: Option<RefCell<HashMap<(u32, u64), Hash>>>,
}

impl<'a, R: NodeReader> TreeView<'a, R> {
    /// Joins the unfinished tiles of `builder` with the stored ones.
    #[must_use]
    pub fn new(builder: &'a TileBuilder, reader: &'a R) -> Self {
        Self {
            builder,
            reader,
            last: RefCell::new(None),
            known: None,
        }
    }

    /// The same look, which remembers every node that it computes: proofs of
    /// neighbouring leaves share most of theirs.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self {
            known: Some(RefCell::default()),
            ..self
        }
    }

    /// Leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.builder.size()
    }

    /// The node `index` of tree level `tree_level` (leaves are level 0), which
    /// covers 2^`tree_level` leaves, all of them within the tree.
    ///
    /// # Errors
    /// [`TreeError`] when it is not within the tree or cannot be read.
    pub fn node(&self, tree_level: u32, index: u64) -> Result<Hash, TreeError<R::Error>> {
        if index >= self.size().checked_shr(tree_level).unwrap_or(0) {
            return Err(self.out_of_range("a node"));
        }
        let Some(known) = self
            .known
            .as_ref()
            .filter(|_| !tree_level.is_multiple_of(TILE_HEIGHT))
        else {
            return self.computed(tree_level, index);
        };
        if let Some(hash) = known.borrow().get(&(tree_level, index)) {
            return Ok(*hash);
        }
        // Within a tile a node is made of two, each of which is remembered.
        let (left, right) = (
            self.node(tree_level - 1, 2 * index)?,
            self.node(tree_level - 1, 2 * index + 1)?,
        );
        let hash = node_hash(&left, &right);
        known.borrow_mut().insert((tree_level, index), hash);
        Ok(hash)
    }

    fn computed(&self, tree_level: u32, index: u64) -> Result<Hash, TreeError<R::Error>> {
        let level = u8::try_from(tree_level / TILE_HEIGHT).expect("at most 64 tree levels");
        let height = tree_level % TILE_HEIGHT;
        // No overflow: the node's first leaf is below the tree's size.
        let first = index << height;
        let tile = first >> TILE_HEIGHT;
        if tile == self.unfinished_tile(level) {
            return Ok(subtree_in(self.builder.unfinished(level), height, index));
        }
        let half = u8::from(first % TILE_LEN as u64 >= HALF_TILE_LEN as u64);
        self.with_half((level, tile, half), |hashes| {
            // Heights are 0 to 7: a node's hashes never cross a half.
            subtree_in(hashes, height, index % (HALF_TILE_LEN as u64 >> height))
        })
    }

    /// The first `width` hashes (1 to 256) of tile `tile` of tile level
    /// `level`, as c2sp.org/tlog-tiles serves them.
    ///
    /// # Errors
    /// [`TreeError`] when the tree has not that many or they cannot be read.
    pub fn tile(&self, level: u8, tile: u64, width: usize) -> Result<Vec<Hash>, TreeError<R::Error>> {
        let count = self
            .size()
            .checked_shr(u32::from(level) * TILE_HEIGHT)
            .unwrap_or(0);
        let end = tile
            .checked_mul(TILE_LEN as u64)
            .and_then(|first| first.checked_add(width as u64));
        if width == 0 || width > TILE_LEN || end.is_none_or(|end| end > count) {
            return Err(self.out_of_range("a tile"));
        }
        if tile == self.unfinished_tile(level) {
            return Ok(self.builder.unfinished(level)[..width].to_vec());
        }
        let mut hashes = required_half(self.reader, level, tile, 0)?;
        if width > HALF_TILE_LEN {
            hashes.extend(required_half(self.reader, level, tile, 1)?);
        }
        hashes.truncate(width);
        Ok(hashes)
    }

    /// The root of the tree as it was at `size` leaves.
    ///
    /// # Errors
    /// [`TreeError`] when the tree is smaller or cannot be read.
    pub fn root_at(&self, size: u64) -> Result<Hash, TreeError<R::Error>> {
        if size > self.size() {
            return Err(self.out_of_range("a root"));
        }
        if size == self.size() {
            return Ok(self.builder.root());
        }
        self.range(0, size)
    }

    /// The tree hash of the leaves `from..to` as RFC 9162 section 2.1.1 splits
    /// them; `from` is a multiple of the largest complete subtree within.
    pub(super) fn range(&self, from: u64, to: u64) -> Result<Hash, TreeError<R::Error>> {
        let mut peaks = Vec::new();
        for (level, index) in subtrees(from, to - from) {
            peaks.push(self.node(level, index)?);
        }
        Ok(fold(&peaks))
    }

    pub(super) fn out_of_range(&self, what: &'static str) -> TreeError<R::Error> {
        TreeError::OutOfRange {
            what,
            size: self.size(),
        }
    }

    fn unfinished_tile(&self, level: u8) -> u64 {
        self.size()
            .checked_shr((u32::from(level) + 1) * TILE_HEIGHT)
            .unwrap_or(0)
    }

    fn with_half<T>(
        &self,
        name: HalfName,
        read: impl FnOnce(&[Hash]) -> T,
    ) -> Result<T, TreeError<R::Error>> {
        let mut last = self.last.borrow_mut();
        match &mut *last {
            Some((found, hashes)) if *found == name => Ok(read(hashes)),
            slot => {
                let hashes = required_half(self.reader, name.0, name.1, name.2)?;
                let (_, hashes) = slot.insert((name, hashes));
                Ok(read(hashes))
            }
        }
    }
}
