//! Coupon tags as tiles of 256 positions, from batches in the order of their
//! entries.
//!
//! Batches that are issued at the same time end in another order than their
//! positions, so a tile may be written before all of its tags are known: until then
//! zeros stand there, as a node has them. Whoever goes through the log asks for the
//! last tile in the width that the batches up to there reach; so of the unfinished
//! tile each width is kept that some batch ends at.

use std::collections::BTreeSet;

use super::files::CopyFiles;
use crate::federation::error::FollowError;
use crate::federation::tree::path;
use crate::log::tile_path::TileKind;
use crate::merkle::TILE_LEN;
use crate::primitives::Tag;

const TILE: u64 = TILE_LEN as u64;

/// Tiles of tags that grow.
#[derive(Debug)]
pub struct TagTiles<'a> {
    files: &'a CopyFiles,
    /// End of the last batch when it began: what lies beyond counts for nothing.
    begun_at: u64,
    /// Tiles from there on that were written since.
    fresh: BTreeSet<u64>,
    /// End of the last batch.
    positions: u64,
    /// The tile at that end, as far as it is known, and the widths of it that are
    /// kept.
    edge: Vec<u8>,
    widths: BTreeSet<u16>,
}

impl<'a> TagTiles<'a> {
    /// Goes on where the last batch ended at `positions`, 0 for none.
    ///
    /// # Errors
    /// [`FollowError::Copy`] when what is there cannot be read.
    pub fn begin(files: &'a CopyFiles, positions: u64) -> Result<Self, FollowError> {
        let mut tiles = Self {
            files,
            begun_at: positions,
            fresh: BTreeSet::new(),
            positions,
            edge: empty(),
            widths: BTreeSet::new(),
        };
        let width = u16::try_from(positions % TILE).expect("below 256");
        if width > 0 {
            let number = positions / TILE;
            tiles.edge = tiles.begun(number, width)?;
            tiles.widths = files.partial_widths(TileKind::Tags, number)?;
            tiles.widths.retain(|kept| *kept <= width);
        }
        Ok(tiles)
    }

    /// End of the last batch.
    #[must_use]
    pub fn positions(&self) -> u64 {
        self.positions
    }

    /// Takes the tags of a batch whose first coupon is at position `first`.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn put(&mut self, first: u64, tags: &[Tag]) -> Result<(), FollowError> {
        let Some(end) = first.checked_add(tags.len() as u64) else {
            return Err(FollowError::Tree(
                "positions beyond what a number can be".to_owned(),
            ));
        };
        if end > self.positions {
            self.reach(end)?;
        }
        let mut at = first;
        while at < end {
            let number = at / TILE;
            let stop = end.min((number + 1) * TILE);
            let place = |position: u64| usize::try_from(position - number * TILE).expect("at most 256");
            let of = |position: u64| usize::try_from(position - first).expect("within the batch");
            let tags = &tags[of(at)..of(stop)];
            let mut tile = if number == self.positions / TILE {
                std::mem::take(&mut self.edge)
            } else if number < self.begun_at / TILE || self.fresh.contains(&number) {
                self.read(number, TILE_LEN as u16)?
            } else {
                empty()
            };
            for (held, tag) in tile[place(at) * Tag::LEN..place(stop) * Tag::LEN]
                .chunks_exact_mut(Tag::LEN)
                .zip(tags)
            {
                held.copy_from_slice(&tag.0);
            }
            if number == self.positions / TILE {
                self.edge = tile;
            } else {
                self.put_full(number, &tile)?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Writes the unfinished tile in each of its widths; durable with
    /// [`CopyFiles::sync`].
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn finish(&mut self) -> Result<(), FollowError> {
        for width in &self.widths {
            let path = path(TileKind::Tags, self.positions / TILE, *width);
            self.files
                .put_tile(&path, &self.edge[..usize::from(*width) * Tag::LEN])?;
        }
        Ok(())
    }

    /// A batch ends beyond the last one.
    fn reach(&mut self, end: u64) -> Result<(), FollowError> {
        let number = self.positions / TILE;
        if end / TILE > number {
            if !self.positions.is_multiple_of(TILE) {
                let edge = std::mem::take(&mut self.edge);
                let put = self.put_full(number, &edge);
                self.edge = edge;
                put?;
                self.edge.fill(0);
            }
            self.widths.clear();
        }
        self.positions = end;
        let width = u16::try_from(end % TILE).expect("below 256");
        if width > 0 {
            self.widths.insert(width);
        }
        Ok(())
    }

    fn put_full(&mut self, number: u64, tile: &[u8]) -> Result<(), FollowError> {
        let path = path(TileKind::Tags, number, TILE_LEN as u16);
        self.files.put_tile(&path, tile)?;
        if number >= self.begun_at / TILE {
            self.fresh.insert(number);
        }
        Ok(())
    }

    /// The first `width` tags of the tile at the end, zeros behind them. A run that was
    /// cut off may have finished it, and dropped its widths, without going on record.
    fn begun(&self, number: u64, width: u16) -> Result<Vec<u8>, FollowError> {
        for there in [width, TILE_LEN as u16] {
            if let Some(mut tile) = self.find(number, there)? {
                tile[usize::from(width) * Tag::LEN..].fill(0);
                return Ok(tile);
            }
        }
        Err(FollowError::Copy {
            what: self
                .files
                .dir()
                .join(path(TileKind::Tags, number, width).to_string())
                .display()
                .to_string(),
            why: "it is not there; remove the file .beside in the copy's directory, and stubs and tags are read once \
                  more"
                .to_owned(),
        })
    }

    /// A tile that is there, zeros behind it; nothing but zeros where there is none.
    fn read(&self, number: u64, width: u16) -> Result<Vec<u8>, FollowError> {
        Ok(self.find(number, width)?.unwrap_or_else(empty))
    }

    /// A tile in that width, zeros behind it; `None` where there is none.
    fn find(&self, number: u64, width: u16) -> Result<Option<Vec<u8>>, FollowError> {
        let path = path(TileKind::Tags, number, width).to_string();
        let most = usize::from(width) * Tag::LEN;
        let Some(mut tile) = self.files.read(&path, most)? else {
            return Ok(None);
        };
        if tile.len() != most {
            return Err(FollowError::Copy {
                what: self.files.dir().join(path).display().to_string(),
                why: format!("it is not {width} tags long"),
            });
        }
        tile.resize(TILE_LEN * Tag::LEN, 0);
        Ok(Some(tile))
    }
}

fn empty() -> Vec<u8> {
    vec![0; TILE_LEN * Tag::LEN]
}

#[cfg(test)]
#[path = "tags_tests.rs"]
mod tests;
