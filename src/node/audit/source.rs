//! Where the entries come from: the storage engine, and where it has lost
//! some, the raw file as it was before anything opened it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::log::{Entry, entry_hash};
use crate::merkle::TILE_LEN;
use crate::primitives::Digest;
use crate::store::scan::scan_raw;
use crate::store::{Engine, Packed, StoreError, rows};

use super::AuditError;
use super::served::{Served, ServedLog};

/// Rows that an entry may be in without being the first of it: looked back at.
const LOOK_BACK: usize = 64;

/// A packed row as the raw scan knows it: first index, index after the last,
/// and the first bytes of its SHA-256. 24 bytes each in memory.
type RawRow = (u64, u64, [u8; 8]);

fn raw_row(packed: &Packed<'_>) -> RawRow {
    let mut digest = [0; 8];
    digest.copy_from_slice(&packed.as_bytes()[18..26]);
    (packed.first(), packed.end(), digest)
}

/// What the raw files hold.
#[derive(Debug, Default)]
pub(super) struct RawIndex {
    rows: Vec<RawRow>,
}

impl RawIndex {
    pub fn read(dir: &Path) -> Result<Self, AuditError> {
        let mut found = HashSet::new();
        scan_raw(dir, &mut |packed| {
            found.insert(raw_row(&packed));
        })?;
        let mut rows: Vec<RawRow> = found.into_iter().collect();
        rows.sort_unstable();
        Ok(Self { rows })
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Index after the last entry that stands anywhere in the files.
    pub fn end(&self) -> u64 {
        self.rows.iter().map(|row| row.1).max().unwrap_or(0)
    }
}

/// A range of entries, the second index excluded.
pub(super) type Range = (u64, u64);

/// What the engine holds of the log.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// Ranges that can be read, in order, none touching the next.
    pub present: Vec<Range>,
    /// Ranges that stand in two rows.
    pub overlaps: Vec<Range>,
    /// First index, by their keys, of rows that are not what was written.
    pub damaged: Vec<u64>,
}

impl Coverage {
    pub fn read(engine: &dyn Engine) -> Result<Self, StoreError> {
        let mut coverage = Self::default();
        engine.scan(&[rows::ENTRY], &[rows::ENTRY], &mut |key, value| {
            match packed(key, value) {
                Some(packed) => coverage.add(packed.first(), packed.end()),
                None => coverage.damaged.push(rows::number_of(key).unwrap_or(u64::MAX)),
            }
            ControlFlow::Continue(())
        })?;
        Ok(coverage)
    }

    fn add(&mut self, first: u64, end: u64) {
        match self.present.last_mut() {
            Some(last) if first < last.1 => {
                self.overlaps.push((first, end.min(last.1)));
                last.1 = last.1.max(end);
            }
            Some(last) if first == last.1 => last.1 = end,
            _ => self.present.push((first, end)),
        }
    }

    pub fn end(&self) -> u64 {
        self.present.last().map_or(0, |range| range.1)
    }

    /// True when the entries from 0 on are there without a gap, up to `end`.
    pub fn is_whole_to(&self, end: u64) -> bool {
        end == 0 || matches!(self.present.first(), Some((0, last)) if *last >= end)
    }
}

fn packed<'a>(key: &[u8], value: &'a [u8]) -> Option<Packed<'a>> {
    let packed = Packed::parse(value).ok()?;
    (key.len() == 9 && rows::number_of(key) == Some(packed.first())).then_some(packed)
}

/// The raw rows written out in a file of the audit's own, to be read in order.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    rows: Vec<SpoolRow>,
}

#[derive(Debug)]
struct SpoolRow {
    first: u64,
    end: u64,
    offset: u64,
    len: usize,
    /// What its first entry carries as the hash before it.
    previous: Option<Digest>,
    /// Hash of its last entry.
    last: Digest,
}

impl Spool {
    /// Writes every distinct whole row of the store in `store` to `path`.
    pub fn write(store: &Path, path: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Io {
            context: format!("could not write {}", path.display()),
            source,
        };
        let mut out = BufWriter::new(File::create(path).map_err(failed)?);
        let mut seen = HashSet::new();
        let (mut rows, mut offset, mut outcome) = (Vec::new(), 0, Ok(()));
        scan_raw(store, &mut |packed| {
            if outcome.is_err() || !seen.insert(raw_row(&packed)) {
                return;
            }
            let bytes = packed.as_bytes();
            outcome = out.write_all(bytes);
            let (mut previous, mut last) = (None, Digest::ZERO);
            for (index, entry) in packed.iter() {
                if index == packed.first() {
                    previous = Entry::decode(entry).ok().map(|entry| entry.previous);
                }
                if index + 1 == packed.end() {
                    last = entry_hash(entry);
                }
            }
            rows.push(SpoolRow {
                first: packed.first(),
                end: packed.end(),
                offset,
                len: bytes.len(),
                previous,
                last,
            });
            offset += bytes.len() as u64;
        })?;
        outcome.map_err(failed)?;
        let _ = out.into_inner().map_err(|error| failed(error.into_error()))?;
        rows.sort_unstable_by_key(|row| (row.first, row.end));
        let file = File::open(path).map_err(failed)?;
        Ok(Self { file, rows })
    }

    /// Visits what can be recovered of the entries `from..to`, in order. Of
    /// several rows for the same entries, that one counts which carries the
    /// hash before it and is carried by the row after it.
    fn recover(
        &self,
        from: u64,
        to: u64,
        link: Option<Digest>,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), AuditError> {
        let (mut next, mut link) = (from, link);
        while next < to {
            let after = self.rows.partition_point(|row| row.first <= next);
            let candidates = &self.rows[after.saturating_sub(LOOK_BACK)..after];
            let best = candidates.iter().filter(|row| row.end > next).max_by_key(|row| {
                let linked = row.first == next && row.previous.is_some() && row.previous == link;
                (linked, self.is_carried_on(row), row.end)
            });
            let Some(row) = best else {
                next = self.rows.get(after).map_or(to, |row| row.first);
                link = None;
                continue;
            };
            let mut bytes = vec![0; row.len];
            self.file
                .read_exact_at(&mut bytes, row.offset)
                .map_err(|source| AuditError::Io {
                    context: "could not read the recovered entries back".to_owned(),
                    source,
                })?;
            if let Ok(packed) = Packed::parse(&bytes) {
                for (index, entry) in packed.iter().filter(|(index, _)| (next..to).contains(index)) {
                    visit(index, entry);
                }
            }
            (next, link) = (row.end, Some(row.last));
        }
        Ok(())
    }

    fn is_carried_on(&self, row: &SpoolRow) -> bool {
        let from = self.rows.partition_point(|other| other.first < row.end);
        self.rows[from..]
            .iter()
            .take_while(|other| other.first == row.end)
            .any(|other| other.previous == Some(row.last))
    }
}

/// What is met on the way through a log.
pub(super) enum Met<'a> {
    /// An entry of a store.
    Entry {
        index: u64,
        bytes: &'a [u8],
        /// It is from the raw file: the engine has lost it.
        from_file: bool,
    },
    /// What a served log gives.
    Served(Served<'a>),
}

impl<'a> Met<'a> {
    pub fn entry(self) -> Option<(u64, &'a [u8])> {
        match self {
            Self::Entry { index, bytes, .. } | Self::Served(Served::Entry { index, bytes, .. }) => {
                Some((index, bytes))
            }
            Self::Served(Served::Wrong { .. }) => None,
        }
    }
}

/// The entries that are audited, in order.
pub(super) enum Source<'a> {
    Store(StoreSource<'a>),
    Served {
        log: &'a dyn ServedLog,
        range: std::ops::Range<u64>,
    },
}

impl Source<'_> {
    /// The entries that are looked at.
    pub fn range(&self) -> std::ops::Range<u64> {
        match self {
            Self::Store(store) => store.from..store.end,
            Self::Served { range, .. } => range.clone(),
        }
    }

    /// Whether the log is known to go on behind the range.
    pub fn is_cut(&self) -> bool {
        match self {
            Self::Store(store) => store.is_cut,
            Self::Served { log, range } => range.end < log.size(),
        }
    }

    /// Visits every entry that can be had, in order of index.
    pub fn visit(&self, visit: &mut dyn FnMut(Met<'_>)) -> Result<(), AuditError> {
        match self {
            Self::Store(store) => store.visit(&mut |index, bytes, from_file| {
                visit(Met::Entry {
                    index,
                    bytes,
                    from_file,
                });
            }),
            Self::Served { log, range } => log
                .visit(range.clone(), &mut |served| visit(Met::Served(served)))
                .map_err(AuditError::Served),
        }
    }
}

impl Source<'_> {
    /// Looks at single entries, named in ascending order, wherever they stand; those
    /// that cannot be had are left out.
    pub fn look_at(&self, wanted: &[u64], visit: &mut dyn FnMut(u64, &[u8])) -> Result<(), AuditError> {
        match self {
            Self::Store(store) => {
                let Some(engine) = store.engine else { return Ok(()) };
                for &index in wanted {
                    if let Ok(Some(bytes)) = rows::read_entry(engine, index) {
                        visit(index, &bytes);
                    }
                }
            }
            Self::Served { log, .. } => {
                let bundle = |index: u64| index / TILE_LEN as u64;
                for some in wanted.chunk_by(|a, b| bundle(*a) == bundle(*b)) {
                    let range = some[0]..some[some.len() - 1] + 1;
                    log.visit(range, &mut |served| {
                        if let Served::Entry { index, bytes, .. } = served
                            && some.binary_search(&index).is_ok()
                        {
                            visit(index, bytes);
                        }
                    })
                    .map_err(AuditError::Served)?;
                }
            }
        }
        Ok(())
    }
}

/// The entries of a store, in order.
pub(super) struct StoreSource<'a> {
    pub engine: Option<&'a dyn Engine>,
    pub coverage: &'a Coverage,
    pub spool: Option<&'a Spool>,
    /// Where to begin.
    pub from: u64,
    /// Where to stop.
    pub end: u64,
    /// It stops before the log does.
    pub is_cut: bool,
}

impl StoreSource<'_> {
    /// Visits every entry that can be had, in order of index; what cannot be
    /// had is left out. `visit` gets `true` for an entry out of the raw file.
    pub fn visit(&self, visit: &mut dyn FnMut(u64, &[u8], bool)) -> Result<(), AuditError> {
        let mut next = self.from;
        let mut link = (self.from == 0).then_some(Digest::ZERO);
        let none = Vec::new();
        let present = if self.engine.is_some() {
            &self.coverage.present
        } else {
            &none
        };
        let wanted = present
            .iter()
            .map(|&(first, end)| (first.max(self.from), end.min(self.end)));
        for (first, end) in wanted.filter(|(first, end)| first < end) {
            self.out_of_file(next, first, link, visit)?;
            self.through_engine(first, end, &mut |index, bytes| {
                if index + 1 == end {
                    link = Some(entry_hash(bytes));
                }
                visit(index, bytes, false);
            })?;
            next = end;
        }
        self.out_of_file(next, self.end, link, visit)
    }

    fn out_of_file(
        &self,
        from: u64,
        to: u64,
        link: Option<Digest>,
        visit: &mut dyn FnMut(u64, &[u8], bool),
    ) -> Result<(), AuditError> {
        match self.spool {
            Some(spool) if from < to => {
                spool.recover(from, to, link, &mut |index, bytes| visit(index, bytes, true))
            }
            _ => Ok(()),
        }
    }

    fn through_engine(
        &self,
        from: u64,
        to: u64,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), AuditError> {
        let Some(engine) = self.engine else { return Ok(()) };
        let mut next = from;
        // The row that holds it may begin before it.
        let start = engine.at_or_before(&[rows::ENTRY], &rows::entry(from))?;
        let start = start.map_or_else(|| rows::entry(from), |(key, _)| key);
        engine.scan(&[rows::ENTRY], &start, &mut |key, value| {
            if let Some(packed) = packed(key, value) {
                for (index, bytes) in packed.iter() {
                    if index >= to {
                        return ControlFlow::Break(());
                    }
                    if index == next {
                        visit(index, bytes);
                        next += 1;
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_joins_what_touches_and_tells_what_overlaps() {
        let mut coverage = Coverage::default();
        for (first, end) in [(0, 4), (4, 9), (12, 20), (15, 22)] {
            coverage.add(first, end);
        }
        assert_eq!(coverage.present, [(0, 9), (12, 22)]);
        assert_eq!(coverage.overlaps, [(15, 20)]);
        assert!(coverage.is_whole_to(9) && !coverage.is_whole_to(10));
        assert_eq!(coverage.end(), 22);
    }
}
