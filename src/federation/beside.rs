//! What lies beside a log's entries and is shown with them: the signed stubs of
//! receipts, and the tags of coupons. Each is bound to its entry by a hash; what an
//! entry does not name is refused.

use super::bundles::Bundle;
use super::error::FollowError;
use super::source::LogSource;
use super::tree::{fetch, path};
use crate::credential::receipt_tag;
use crate::ledger::{BatchIssued, Event};
use crate::log::Entry;
use crate::log::tile_path::{TileKind, read_bundle};
use crate::merkle::{Frontier, TILE_LEN, leaf_hash};
use crate::primitives::{Digest, Tag, limits};

const TILE: u64 = TILE_LEN as u64;

/// The stubs that are said to lie beside the first `width` entries of a bundle, one
/// an entry, empty where there is none; not checked. `size` is the log's.
///
/// # Errors
/// [`FollowError::Missing`] where none are shown, [`FollowError::Bundle`] for what
/// cannot be cut into as many; [`FollowError::Fetch`].
pub fn fetch_stubs(
    source: &dyn LogSource,
    number: u64,
    width: u16,
    size: u64,
) -> Result<Vec<Vec<u8>>, FollowError> {
    let wanted = path(TileKind::Stubs, number, width);
    let most = |width| usize::from(width) * (2 + limits::CREDENTIAL_BYTES_MAX);
    let (bytes, served) = fetch(source, wanted, size, most)?;
    let stubs = read_bundle(&bytes, served).map_err(|error| FollowError::Bundle {
        from: source.name().to_owned(),
        path: wanted.to_string(),
        first: number.saturating_mul(TILE),
        error,
    })?;
    let wanted = stubs.into_iter().take(usize::from(width));
    Ok(wanted.map(<[u8]>::to_vec).collect())
}

/// The first `width` tags of a tile, not checked.
///
/// # Errors
/// As [`fetch_stubs`].
pub fn fetch_tags(
    source: &dyn LogSource,
    number: u64,
    width: u16,
    size: u64,
) -> Result<Vec<Tag>, FollowError> {
    let wanted = path(TileKind::Tags, number, width);
    let most = |width| usize::from(width) * Tag::LEN;
    let (bytes, served) = fetch(source, wanted, size, most)?;
    if bytes.len() != most(served) {
        return Err(FollowError::Bundle {
            from: source.name().to_owned(),
            path: wanted.to_string(),
            first: number.saturating_mul(TILE),
            error: crate::log::LogError::Bundle("it is not as many tags as its width"),
        });
    }
    let tags = bytes.chunks_exact(Tag::LEN).filter_map(Tag::from_slice);
    Ok(tags.take(usize::from(width)).collect())
}

/// What beside a bundle's entries they name, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Each entry's stub; empty where it is no receipt's, or none is shown.
    pub stubs: Vec<Vec<u8>>,
    /// Indices of the receipts whose stub is not shown.
    pub lacking: Vec<u64>,
    /// The batches among the entries, with their entries' indices.
    pub batches: Vec<(u64, BatchIssued)>,
}

impl Beside {
    /// Reads the stubs beside a bundle of a Tallystick log and finds each of them
    /// in its entry.
    ///
    /// # Errors
    /// As [`fetch_stubs`]; [`FollowError::Stub`] names the first entry beside which
    /// another stub is shown than it names.
    pub fn read(source: &dyn LogSource, bundle: &Bundle, size: u64) -> Result<Self, FollowError> {
        let mut beside = Self {
            stubs: fetch_stubs(source, bundle.number(), bundle.width(), size)?,
            ..Self::default()
        };
        for ((index, bytes), stub) in bundle.entries().zip(&beside.stubs) {
            let event = Entry::decode(bytes)
                .ok()
                .and_then(|entry| Event::from_body(entry.kind, &entry.body).ok());
            let is_named = match event {
                Some((Event::ReceiptIssued(_), _)) if stub.is_empty() => {
                    beside.lacking.push(index);
                    true
                }
                Some((Event::ReceiptIssued(receipt), _)) => receipt_tag(stub) == receipt.tag,
                Some((Event::BatchIssued(batch), _)) => {
                    beside.batches.push((index, batch));
                    stub.is_empty()
                }
                _ => stub.is_empty(),
            };
            if !is_named {
                return Err(FollowError::Stub {
                    from: source.name().to_owned(),
                    index,
                });
            }
        }
        Ok(beside)
    }
}

/// Reads batches' tags, and keeps the tile that was read last: small batches share
/// one.
#[derive(Debug)]
pub struct TagFetcher<'a> {
    source: &'a dyn LogSource,
    /// Entries of the log, for errors.
    size: u64,
    /// End of the last batch that is known of: beyond, nothing is asked for.
    positions: u64,
    last: Option<((u64, u16), Vec<Tag>)>,
}

impl<'a> TagFetcher<'a> {
    /// Of a log of `size` entries at `source`.
    #[must_use]
    pub fn new(source: &'a dyn LogSource, size: u64) -> Self {
        Self {
            source,
            size,
            positions: 0,
            last: None,
        }
    }

    /// Batches are known up to the position `end`.
    pub fn reach(&mut self, end: u64) {
        self.positions = self.positions.max(end);
    }

    /// The tags of the batch of entry `index`, which give the root that it names;
    /// some 32 MB for the largest.
    ///
    /// # Errors
    /// As [`fetch_tags`]; [`FollowError::Tags`] where they give another root.
    pub fn batch(&mut self, index: u64, batch: &BatchIssued) -> Result<Vec<Tag>, FollowError> {
        let wrong = || FollowError::Tags {
            from: self.source.name().to_owned(),
            index,
        };
        if batch.count == 0 || batch.count > limits::BATCH_COUPONS_MAX {
            return Err(wrong());
        }
        let (first, count) = (batch.first.0, u64::from(batch.count));
        let end = first.checked_add(count).ok_or_else(wrong)?;
        self.reach(end);
        let mut tags = Vec::with_capacity(usize::try_from(count).expect("BATCH_COUPONS_MAX at most"));
        let numbers: Vec<u64> = (first / TILE..end.div_ceil(TILE)).collect();
        for numbers in numbers.chunks(limits::BUNDLES_IN_FLIGHT_MAX) {
            for (number, tile) in numbers.iter().zip(self.tiles(numbers)?) {
                let begin = number * TILE;
                let place = |position: u64| usize::try_from(position - begin).expect("at most 256");
                tags.extend_from_slice(&tile[place(first.max(begin))..place(end.min(begin + TILE))]);
            }
        }
        let mut tree = Frontier::new();
        tags.iter().for_each(|tag| tree.push(leaf_hash(&tag.0)));
        if Digest(tree.root()) == batch.tags_root {
            Ok(tags)
        } else {
            Err(wrong())
        }
    }

    /// Several tiles that follow one another, in the widths that are known of.
    fn tiles(&mut self, numbers: &[u64]) -> Result<Vec<Vec<Tag>>, FollowError> {
        let wanted: Vec<(u64, u16)> = numbers
            .iter()
            .map(|number| {
                let width = self.positions.saturating_sub(number * TILE).min(TILE);
                (*number, u16::try_from(width).expect("at most 256"))
            })
            .collect();
        let tiles = match (&wanted[..], &self.last) {
            ([only], Some((held, tags))) if only == held => return Ok(vec![tags.clone()]),
            ([(number, width)], _) => vec![fetch_tags(self.source, *number, *width, self.size)?],
            _ => std::thread::scope(|scope| {
                let under_way: Vec<_> = wanted
                    .iter()
                    .map(|(number, width)| {
                        scope.spawn(|| fetch_tags(self.source, *number, *width, self.size))
                    })
                    .collect();
                let joined = under_way.into_iter().map(|one| {
                    one.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                });
                joined.collect::<Result<Vec<_>, _>>()
            })?,
        };
        self.last = wanted.last().copied().zip(tiles.last().cloned());
        Ok(tiles)
    }
}
