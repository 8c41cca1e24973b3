//! Paths of tiles and entry bundles, and the bundles (c2sp.org/tlog-tiles
//! v0.1.0).
//!
//! ```text
//! path   = "tile/" (level / "entries" / "stubs" / "tags") "/" number [".p/" width]
//! level  = 0 to 63
//! number = *("x" 3DIGIT "/") 3DIGIT
//! width  = 1 to 255
//! bundle = *(2-byte big-endian length, entry)
//! ```
//!
//! `stubs` and `tags` are Tallystick's own, laid out like the rest so that a copy
//! of the files has them too. A bundle of stubs has a place for each entry of the
//! bundle of entries, empty where the entry is no receipt's; a tile of tags has 32
//! bytes for each of 256 coupon positions.

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
    /// The receipt stubs beside those entries.
    Stubs,
    /// The tags of the coupons at 256 positions.
    Tags,
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
            "stubs" => TileKind::Stubs,
            "tags" => TileKind::Tags,
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

    /// The tile level; all but hashes lie under level 0.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries | TileKind::Stubs | TileKind::Tags => 0,
        }
    }

    /// Whether a tree of `size` leaves, or so many positions of coupons, have all
    /// that the path asks for.
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
            TileKind::Stubs => f.write_str("tile/stubs/")?,
            TileKind::Tags => f.write_str("tile/tags/")?,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_paths() {
        for (path, kind, number, width) in [
            ("tile/0/000", TileKind::Hashes(0), 0, 256),
            ("tile/0/x001/x234/067", TileKind::Hashes(0), 1_234_067, 256),
            ("tile/1/001.p/17", TileKind::Hashes(1), 1, 17),
            ("tile/63/999", TileKind::Hashes(63), 999, 256),
            ("tile/entries/x001/000.p/255", TileKind::Entries, 1000, 255),
            ("tile/stubs/x001/000.p/255", TileKind::Stubs, 1000, 255),
            ("tile/tags/007", TileKind::Tags, 7, 256),
            (
                "tile/0/x018/x446/x744/x073/x709/x551/615",
                TileKind::Hashes(0),
                u64::MAX,
                256,
            ),
        ] {
            let parsed = TilePath::parse(path).unwrap();
            assert_eq!(parsed, TilePath::new(kind, number, width).unwrap());
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/256/000",
            "tile/data/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/x000/001",
            "tile/0/x01/000",
            "tile/0/+01",
            "tile/0/000/",
            "tile/0/000.p",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/65537",
            "tile/0/000.p/1/",
            "tile/0/000.p/1.p/1",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert!(
                matches!(TilePath::parse(path), Err(LogError::TilePath(_))),
                "{path}"
            );
        }
        assert!(TilePath::new(TileKind::Hashes(64), 0, 256).is_err());
        assert!(TilePath::new(TileKind::Entries, 0, 0).is_err());
        assert!(TilePath::new(TileKind::Entries, 0, 257).is_err());
    }

    /// The specification's example: a tree of 70,000 leaves.
    #[test]
    fn widths_follow_from_the_size() {
        let widths: Vec<u16> = (0..10).map(|level| partial_width(level, 70_000)).collect();
        assert_eq!(widths, [112, 17, 1, 0, 0, 0, 0, 0, 0, 0]);
        for (path, within) in [
            ("tile/0/272", true),
            ("tile/0/273", false),
            ("tile/0/273.p/112", true),
            ("tile/0/273.p/113", false),
            ("tile/entries/273.p/112", true),
            ("tile/1/000", true),
            ("tile/1/001.p/17", true),
            ("tile/2/000.p/1", true),
            ("tile/2/000.p/2", false),
            ("tile/9/000.p/1", false),
            ("tile/0/x018/x446/x744/x073/x709/x551/615", false),
        ] {
            assert_eq!(TilePath::parse(path).unwrap().is_within(70_000), within, "{path}");
        }
    }

    #[test]
    fn bundles_are_whole_or_refused() {
        let entries: [&[u8]; 3] = [b"first", b"", &[7; 300]];
        let mut bundle = Vec::new();
        for entry in entries {
            write_bundle_entry(&mut bundle, entry).unwrap();
        }
        assert_eq!(bundle[..9], *b"\0\x05first\0\0");
        assert_eq!(read_bundle(&bundle, 3).unwrap(), entries);
        for (bytes, width) in [
            (&bundle[..], 2),
            (&bundle, 4),
            (&bundle[..bundle.len() - 1], 3),
            (&bundle[..8], 2),
            (&[][..], 1),
        ] {
            assert!(matches!(read_bundle(bytes, width), Err(LogError::Bundle(_))));
        }
        assert!(write_bundle_entry(&mut bundle, &[0; 65_536]).is_err());
        assert_eq!(read_bundle(&bundle, 3).unwrap().len(), 3);
    }

    proptest! {
        #[test]
        fn one_path_for_one_tile(level in 0..64_u8, number in any::<u64>(), shift in 0..64_u32, width in 1..257_u16) {
            for kind in [TileKind::Hashes(level), TileKind::Entries, TileKind::Stubs, TileKind::Tags] {
                let path = TilePath::new(kind, number >> shift, width).unwrap();
                prop_assert_eq!(TilePath::parse(&path.to_string()), Ok(path));
            }
        }

        #[test]
        fn any_path_is_parsed_or_refused(path in "tile/(entries|stubs|tags|[0-9]{1,2})/(x[0-9]{3}/){0,3}[0-9]{2,3}(\\.p/[0-9]{1,3})?") {
            if let Ok(parsed) = TilePath::parse(&path) {
                prop_assert_eq!(parsed.to_string(), path);
            }
        }
    }
}
