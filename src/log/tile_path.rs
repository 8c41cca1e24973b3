//! Paths of tiles and entry bundles, and the bundles (c2sp.org/tlog-tiles
//! v0.1.0).
//!
//! ```text
//! path   = "tile/" (level / "entries") "/" number [".p/" width]
//! level  = 0 to 63
//! number = *("x" 3DIGIT "/") 3DIGIT
//! width  = 1 to 255
//! bundle = *(2-byte big-endian length, entry)
//! ```

use std::fmt;

use super::LogError;
use super::checkpoint::parse_decimal;
use crate::merkle::TILE_LEN;

/// Highest level a path may name.
const LEVEL_MAX: u8 = 63;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileKind {
    /// Hashes of this tile level (0 to 63).
    Hashes(u8),
    /// The entries under a tile of level 0.
    Entries,
}

/// The path of a tile or entry bundle, without a leading slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TilePath {
    kind: TileKind,
    number: u64,
    width: u16,
}

impl TilePath {
    /// The path of a full tile (width 256) or a partial one (1 to 255).
    ///
    /// # Errors
    /// [`LogError::TilePath`] when level or width is out of range.
    pub fn new(kind: TileKind, number: u64, width: u16) -> Result<Self, LogError> {
        if matches!(kind, TileKind::Hashes(level) if level > LEVEL_MAX) {
            return Err(LogError::TilePath("a level is 0 to 63"));
        }
        if width == 0 || usize::from(width) > TILE_LEN {
            return Err(LogError::TilePath("a width is 1 to 256"));
        }
        Ok(Self { kind, number, width })
    }

    /// Reads a path.
    ///
    /// # Errors
    /// [`LogError::TilePath`] with the reason.
    pub fn parse(path: &str) -> Result<Self, LogError> {
        let refuse = LogError::TilePath;
        let (kind, rest) = path
            .strip_prefix("tile/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or(refuse("a path is tile/LEVEL/NUMBER"))?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(parse_decimal(level).ok_or(refuse("a level is 0 to 63"))?),
        };
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, TILE_LEN as u16),
            Some((number, width)) => {
                let width = parse_decimal(width).ok_or(refuse("a partial width is 1 to 255"))?;
                if usize::from(width) >= TILE_LEN {
                    return Err(refuse("a partial width is 1 to 255"));
                }
                (number, width)
            }
        };
        let number = parse_number(number).ok_or(refuse("a number is in groups of three digits"))?;
        Self::new(kind, number, width)
    }

    /// Hashes or entries.
    #[must_use]
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Number within the level.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Hashes or entries in it: 256 for a full one.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The tile level; entries lie under level 0.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        }
    }

    /// Whether a tree of `size` leaves has all that the path asks for.
    #[must_use]
    pub fn is_within(&self, size: u64) -> bool {
        let count = nodes_at(self.level(), size);
        self.number
            .checked_mul(TILE_LEN as u64)
            .and_then(|first| first.checked_add(u64::from(self.width)))
            .is_some_and(|end| end <= count)
    }
}

/// Width of the partial tile at `level` in a tree of `size` leaves:
/// floor(size / 256^level) mod 256. 0: there is none.
#[must_use]
pub fn partial_width(level: u8, size: u64) -> u16 {
    u16::try_from(nodes_at(level, size) % TILE_LEN as u64).expect("below 256")
}

fn nodes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * 8).unwrap_or(0)
}

fn parse_number(text: &str) -> Option<u64> {
    let mut groups = text.split('/').peekable();
    let mut number: u64 = 0;
    let mut first = true;
    while let Some(group) = groups.next() {
        let is_last = groups.peek().is_none();
        let digits = if is_last { group } else { group.strip_prefix('x')? };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // One path for one tile: no leading group of zeros.
        if first && !is_last && digits == "000" {
            return None;
        }
        first = false;
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(number)
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.number % 1000];
        let mut rest = self.number / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups[1..].iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if usize::from(self.width) < TILE_LEN {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Appends an entry to a bundle.
///
/// # Errors
/// [`LogError::Bundle`] when it is longer than 65,535 bytes.
pub fn write_bundle_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), LogError> {
    let len = u16::try_from(entry.len()).map_err(|_| LogError::Bundle("an entry above 65,535 bytes"))?;
    bundle.extend(len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle of exactly `width` entries.
///
/// # Errors
/// [`LogError::Bundle`] when it is cut short or holds more or fewer entries.
pub fn read_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, LogError> {
    let cut = LogError::Bundle("it is cut short");
    let mut entries = Vec::with_capacity(usize::from(width).min(TILE_LEN));
    let mut rest = bundle;
    while !rest.is_empty() {
        if entries.len() == usize::from(width) {
            return Err(LogError::Bundle("more entries than its width"));
        }
        let (len, after) = rest.split_first_chunk::<2>().ok_or(cut.clone())?;
        let (entry, after) = after
            .split_at_checked(usize::from(u16::from_be_bytes(*len)))
            .ok_or(cut.clone())?;
        entries.push(entry);
        rest = after;
    }
    if entries.len() == usize::from(width) {
        Ok(entries)
    } else {
        Err(LogError::Bundle("fewer entries than its width"))
    }
}
