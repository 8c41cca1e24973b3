//! Keeping what lies beside a log's entries: receipts' stubs and coupons' tags.
//!
//! How far they are kept is written down in a file of its own, since they may be
//! refused while entries are shown, or come later: entries count without them.

use super::files::CopyFiles;
use super::tags::TagTiles;
use super::{BUNDLE_LEN, LogCopy};
use crate::federation::beside::{Beside, TagFetcher};
use crate::federation::bundles::EntryForm;
use crate::federation::error::FollowError;
use crate::federation::tree::VerifiedTree;
use crate::log::tile_path::TileKind;
use crate::primitives::limits;

/// What is kept beside the entries.
const STATE: &str = ".beside";

/// How far stubs and tags are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BesideKept {
    /// Entries beside which all is kept that was shown.
    pub entries: u64,
    /// Receipts among them whose stub is not shown.
    pub lacking: u64,
    /// End of the last batch of coupons among them.
    positions: u64,
}

impl BesideKept {
    fn read(copy: &LogCopy) -> Result<Self, FollowError> {
        let Some(text) = copy.files.read(STATE, limits::REFUSAL_BYTES_MAX)? else {
            return Ok(Self::default());
        };
        let text = String::from_utf8_lossy(&text);
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.trim().parse::<u64>().ok())
        };
        let kept = (|| {
            Some(Self {
                entries: number("entries")?,
                lacking: number("lacking")?,
                positions: number("positions")?,
            })
        })();
        kept.ok_or_else(|| FollowError::Copy {
            what: copy.dir().join(STATE).display().to_string(),
            why: "it cannot be read; remove it, and stubs and tags are read once more".to_owned(),
        })
    }

    fn write(&self, files: &CopyFiles) -> Result<(), FollowError> {
        let Self {
            entries,
            lacking,
            positions,
        } = self;
        let text = format!("entries {entries}\nlacking {lacking}\npositions {positions}\n");
        files.put_synced(STATE, text.as_bytes())
    }
}

/// What became of stubs and tags in a round.
#[derive(Clone, Debug)]
pub struct BesideTaken {
    /// How far they are kept now.
    pub kept: BesideKept,
    /// Why they are not kept any further. What is not shown, and what may not be
    /// read, says nothing about the log.
    pub stopped: Option<FollowError>,
    /// How far they were kept before, where that is not the same.
    before: Option<BesideKept>,
}

impl BesideTaken {
    /// Makes it last: what was written is durable already.
    pub(super) fn settle(&self, files: &CopyFiles) -> Result<(), FollowError> {
        let Some(before) = &self.before else { return Ok(()) };
        let full = |from: u64, to: u64| from / BUNDLE_LEN..to / BUNDLE_LEN;
        files.drop_partial(TileKind::Stubs, full(before.entries, self.kept.entries))?;
        files.drop_partial(TileKind::Tags, full(before.positions, self.kept.positions))?;
        self.kept.write(files)
    }

    /// Whether anything was written.
    pub(super) fn is_news(&self) -> bool {
        self.before.is_some()
    }
}

/// Why the reading ended: the copy's own files, or the source.
enum Halt {
    Copy(FollowError),
    Source(FollowError),
}

impl From<FollowError> for Halt {
    /// Entries are read from the copy.
    fn from(error: FollowError) -> Self {
        Self::Copy(error)
    }
}

impl LogCopy {
    /// Takes over what lies beside the entries of `tree`, which are kept already;
    /// `progress` is told beside how many.
    ///
    /// # Errors
    /// [`FollowError::Copy`]. What is wrong at the source stands in what comes back.
    pub(super) fn take_beside(
        &self,
        tree: &VerifiedTree,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BesideTaken, FollowError> {
        let before = BesideKept::read(self)?;
        let mut taken = BesideTaken {
            kept: before.clone(),
            stopped: None,
            before: None,
        };
        let size = tree.size();
        if before.entries >= size {
            return Ok(taken);
        }
        let source = tree.source().as_ref();
        let own = self.tree(tree.signed().clone())?;
        let mut tags = TagTiles::begin(&self.files, before.positions)?;
        let mut fetcher = TagFetcher::new(source, size);
        fetcher.reach(before.positions);
        let result = own.read_entries(
            before.entries..size,
            EntryForm::Tallystick,
            &|bundle| Beside::read(source, bundle, size).map_err(Halt::Source),
            &mut |bundle, beside| {
                let known = before.entries;
                self.take_tags(&beside, known, &mut fetcher, &mut tags)?;
                self.files.put_stubs(&bundle, &beside.stubs)?;
                taken.kept.lacking += beside.lacking.iter().filter(|index| **index >= known).count() as u64;
                taken.kept.entries = bundle.first() + bundle.hashes().len() as u64;
                progress(taken.kept.entries);
                Ok(())
            },
        );
        match result {
            Ok(()) => {}
            Err(Halt::Source(error)) => taken.stopped = Some(error),
            Err(Halt::Copy(error)) => {
                return Err(FollowError::Copy {
                    what: self.dir().display().to_string(),
                    why: error.to_string(),
                });
            }
        }
        tags.finish()?;
        taken.kept.positions = tags.positions();
        if taken.kept != before {
            taken.before = Some(before);
        }
        Ok(taken)
    }

    /// The tags of the batches among a bundle's entries, those before entry `known`
    /// aside.
    fn take_tags(
        &self,
        beside: &Beside,
        known: u64,
        fetcher: &mut TagFetcher<'_>,
        tags: &mut TagTiles<'_>,
    ) -> Result<(), Halt> {
        let batches = || beside.batches.iter().filter(|(index, _)| *index >= known);
        // The tiles that small batches share are asked for once.
        for (_, batch) in batches() {
            fetcher.reach(batch.first.0.saturating_add(u64::from(batch.count)));
        }
        for (index, batch) in batches() {
            let of_batch = fetcher.batch(*index, batch).map_err(Halt::Source)?;
            tags.put(batch.first.0, &of_batch)?;
        }
        Ok(())
    }
}
