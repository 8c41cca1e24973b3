//! The tree kept for storage: tiles of 256 hashes in rows of 128.
//!
//! A tile of level L and number N holds the 256 nodes of tree level 8L with
//! the indices 256N to 256N + 255 (c2sp.org/tlog-tiles). It is stored as two
//! halves of 128 hashes (4,096 bytes), since the store keeps values under
//! 7 KB. Only finished halves are stored; what is unfinished can be computed
//! again from the halves of the level below, at level 0 from the entries.

use super::frontier::{self, Frontier};
use super::{Hash, root_of};

/// Hashes in a full tile.
pub const TILE_LEN: usize = 256;

/// Hashes in half a tile, the unit of storage.
pub const HALF_TILE_LEN: usize = 128;

/// Tree levels that one tile level spans.
pub(super) const TILE_HEIGHT: u32 = 8;

/// A finished half tile, to be stored.
#[derive(Clone, Copy, Debug)]
pub struct HalfTile<'a> {
    /// Tile level: the hashes are nodes of tree level `8 * level`.
    pub level: u8,
    /// Number of the tile within its level.
    pub tile: u64,
    /// 0 for the first 128 hashes of the tile, 1 for the others.
    pub half: u8,
    /// The 128 hashes.
    pub hashes: &'a [Hash],
}

impl<'a> HalfTile<'a> {
    /// The 4,096 bytes to store: the hashes one after the other.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.hashes.as_flattened()
    }
}

/// The hashes of a stored half tile; `None` when `bytes` is not 4,096 long.
#[must_use]
pub fn half_tile_from_bytes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == HALF_TILE_LEN).then(|| hashes.to_vec())
}

/// Where stored half tiles are read from.
pub trait NodeReader {
    /// Why a read failed.
    type Error;

    /// The 128 hashes of half `half` (0 or 1) of tile `tile` of tile level
    /// `level`; `None` when it is not stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn half_tile(&self, level: u8, tile: u64, half: u8) -> Result<Option<Vec<Hash>>, Self::Error>;
}

/// Why a part of the tree cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// The store failed.
    #[error("{0}")]
    Read(E),
    /// A half tile that the tree's size requires is not stored.
    #[error("half {half} of tile {tile} at level {level} is missing")]
    MissingHalf {
        /// Tile level.
        level: u8,
        /// Tile number.
        tile: u64,
        /// 0 or 1.
        half: u8,
    },
    /// A stored half tile has not 128 hashes.
    #[error("half {half} of tile {tile} at level {level} has {len} hashes instead of 128")]
    HalfLength {
        /// Tile level.
        level: u8,
        /// Tile number.
        tile: u64,
        /// 0 or 1.
        half: u8,
        /// Hashes found.
        len: usize,
    },
    /// What was asked for lies outside of the tree.
    #[error("{what} is outside of a tree of {size} leaves")]
    OutOfRange {
        /// What was asked for.
        what: &'static str,
        /// Leaves in the tree.
        size: u64,
    },
}

/// Keeps the tree while it grows: hands out every half tile as it is finished
/// and holds in memory only the unfinished tile of each level (at most 255
/// hashes a level) and the frontier.
#[derive(Clone, Debug, Default)]
pub struct TileBuilder {
    frontier: Frontier,
    /// By tile level: the hashes of that level's unfinished tile.
    unfinished: Vec<Vec<Hash>>,
}

impl TileBuilder {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The frontier, to go on with elsewhere.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// What it holds: its size, the roots of the complete subtrees (the largest first),
    /// and by tile level the hashes of the unfinished tile.
    #[must_use]
    pub fn parts(&self) -> (u64, &[Hash], &[Vec<Hash>]) {
        (self.frontier.size(), self.frontier.peaks(), &self.unfinished)
    }

    /// The builder that [`parts`](Self::parts) told of; `None` where their numbers
    /// cannot be those of a tree of `size` leaves.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Hash>, unfinished: Vec<Vec<Hash>>) -> Option<Self> {
        let nodes = |level: usize| size.checked_shr(level as u32 * TILE_HEIGHT).unwrap_or(0);
        let levels = (0..).take_while(|level| nodes(*level) > 0).count();
        let fits = peaks.len() == size.count_ones() as usize
            && unfinished.len() == levels
            && (0..)
                .zip(&unfinished)
                .all(|(level, tile)| tile.len() as u64 == nodes(level) % TILE_LEN as u64);
        fits.then(|| Self {
            frontier: Frontier::from_peaks(size, peaks),
            unfinished,
        })
    }

    /// Appends a leaf by its leaf hash. `emit` is given each half tile that
    /// this finishes, lower levels first; together with all earlier ones they
    /// are what [`resume`](Self::resume) needs.
    pub fn append(&mut self, leaf_hash: Hash, emit: &mut dyn FnMut(HalfTile<'_>)) {
        let unfinished = &mut self.unfinished;
        self.frontier.push_with(leaf_hash, |tree_level, index, hash| {
            if !tree_level.is_multiple_of(TILE_HEIGHT) {
                return;
            }
            let level = (tree_level / TILE_HEIGHT) as usize;
            if unfinished.len() == level {
                unfinished.push(Vec::with_capacity(TILE_LEN));
            }
            let tile = &mut unfinished[level];
            tile.push(*hash);
            if tile.len().is_multiple_of(HALF_TILE_LEN) {
                emit(HalfTile {
                    level: u8::try_from(level).expect("a tree of 64 levels has 8 tile levels"),
                    tile: index >> TILE_HEIGHT,
                    half: u8::from(tile.len() == TILE_LEN),
                    hashes: &tile[tile.len() - HALF_TILE_LEN..],
                });
            }
            if tile.len() == TILE_LEN {
                tile.clear();
            }
        });
    }

    /// The builder as it was at `size - size % 128` leaves, read from stored
    /// half tiles.
    ///
    /// Half tiles of level 0 are stored when 128 leaves are there, so the last
    /// `size % 128` leaf hashes (127 at the most) are in no row: append them
    /// again, from their entries; that finishes no half tile a second time.
    /// Unfinished halves of the higher levels are computed here from the full
    /// tiles below them: at most 127 tiles, 254 rows, for each level.
    ///
    /// # Errors
    /// [`TreeError`] when a half tile is missing or cannot be read.
    pub fn resume<R: NodeReader>(size: u64, reader: &R) -> Result<Self, TreeError<R::Error>> {
        let size = stored_size(size);
        let mut unfinished = Vec::new();
        for level in 0..=u8::MAX {
            let tree_level = u32::from(level) * TILE_HEIGHT;
            let count = size.checked_shr(tree_level).unwrap_or(0);
            if count == 0 {
                break;
            }
            let mut tile = Vec::with_capacity(TILE_LEN);
            let in_tile = count % TILE_LEN as u64;
            if in_tile >= HALF_TILE_LEN as u64 {
                tile.extend(required_half(reader, level, count >> TILE_HEIGHT, 0)?);
            }
            for index in count - count % HALF_TILE_LEN as u64..count {
                tile.push(tile_root(reader, level, index)?);
            }
            unfinished.push(tile);
        }
        Ok(Self::from_right_edge(size, unfinished).expect("as many hashes as the size asks for"))
    }

    /// The builder of a tree of `size` leaves, given what stands at its right
    /// edge: for each tile level that has hashes the unfinished tile, from level 0
    /// upwards, empty where there is none. Says nothing of where the hashes come
    /// from: compare [`root`](Self::root) with what is trusted.
    ///
    /// `None` when a tile has not as many hashes as `size` asks for.
    #[must_use]
    pub fn from_right_edge(size: u64, unfinished: Vec<Vec<Hash>>) -> Option<Self> {
        let widths = (0..u64::BITS / TILE_HEIGHT)
            .map(|level| size >> (level * TILE_HEIGHT))
            .take_while(|count| *count > 0)
            .map(|count| count % TILE_LEN as u64);
        if !widths.eq(unfinished.iter().map(|tile| tile.len() as u64)) {
            return None;
        }
        let peaks = frontier::subtrees(0, size)
            .map(|(tree_level, index)| {
                let tile = &unfinished[(tree_level / TILE_HEIGHT) as usize];
                subtree_in(tile, tree_level % TILE_HEIGHT, index)
            })
            .collect();
        Some(Self {
            frontier: Frontier::from_peaks(size, peaks),
            unfinished,
        })
    }

    /// The hashes of the unfinished tile of `level`.
    pub(super) fn unfinished(&self, level: u8) -> &[Hash] {
        self.unfinished.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }
}

/// Leaves whose half tiles are all stored in a tree of `size` leaves.
pub(super) fn stored_size(size: u64) -> u64 {
    size - size % HALF_TILE_LEN as u64
}

/// Root of the subtree of 2^`height` hashes with index `index` among its
/// like, all of which lie in the one tile `hashes` begins.
pub(super) fn subtree_in(hashes: &[Hash], height: u32, index: u64) -> Hash {
    let len = 1 << height;
    let first = usize::try_from((index << height) % TILE_LEN as u64).expect("below 256");
    root_of(&hashes[first..first + len])
}

/// A half tile that is required to be stored.
pub(super) fn required_half<R: NodeReader>(
    reader: &R,
    level: u8,
    tile: u64,
    half: u8,
) -> Result<Vec<Hash>, TreeError<R::Error>> {
    optional_half(reader, level, tile, half)?.ok_or(TreeError::MissingHalf { level, tile, half })
}

fn optional_half<R: NodeReader>(
    reader: &R,
    level: u8,
    tile: u64,
    half: u8,
) -> Result<Option<Vec<Hash>>, TreeError<R::Error>> {
    match reader.half_tile(level, tile, half).map_err(TreeError::Read)? {
        Some(hashes) if hashes.len() != HALF_TILE_LEN => Err(TreeError::HalfLength {
            level,
            tile,
            half,
            len: hashes.len(),
        }),
        found => Ok(found),
    }
}

/// The hash with index `index` at tile level `level` above 0, computed from
/// the full tile below it.
fn tile_root<R: NodeReader>(reader: &R, level: u8, index: u64) -> Result<Hash, TreeError<R::Error>> {
    let below = level.checked_sub(1).expect("leaves have no tile below them");
    let mut hashes = required_half(reader, below, index, 0)?;
    hashes.extend(required_half(reader, below, index, 1)?);
    Ok(root_of(&hashes))
}

/// A node that rests on whole stored half tiles: read from its own half tile
/// or, while that one is unfinished, computed from those below.
pub(super) fn stored_node<R: NodeReader>(
    reader: &R,
    tree_level: u32,
    index: u64,
) -> Result<Hash, TreeError<R::Error>> {
    let level = u8::try_from(tree_level / TILE_HEIGHT).expect("at most 64 tree levels");
    let height = tree_level % TILE_HEIGHT;
    let first = index << height;
    let tile = first >> TILE_HEIGHT;
    let half = u8::from(first % TILE_LEN as u64 >= HALF_TILE_LEN as u64);
    match optional_half(reader, level, tile, half)? {
        Some(hashes) => {
            let first = usize::try_from(first % HALF_TILE_LEN as u64).expect("below 128");
            Ok(root_of(&hashes[first..first + (1 << height)]))
        }
        None if level == 0 => Err(TreeError::MissingHalf { level, tile, half }),
        None => {
            let mut hashes = Vec::with_capacity(1 << height);
            for entry in first..first + (1 << height) {
                hashes.push(tile_root(reader, level, entry)?);
            }
            Ok(root_of(&hashes))
        }
    }
}
