//! An audit of a log that is served elsewhere: in one go, or going on where an
//! earlier one stopped.

use std::ops::Range;
use std::path::Path;

use super::finding::{Findings, Rule};
use super::keys::LogKeys;
use super::pass::Pass;
use super::receipts::BesideSource;
use super::saved::{Head, SavedAudit, save};
use super::served::{Served, ServedLog};
use super::source::Source;
use super::tags::TagSource;
use super::{
    AuditError, AuditReport, Part, Sides, SignedPoint, keys_of_genesis, open_checkpoints, pass, quorum,
    stretch,
};
use crate::credential::verify::DidDocument;
use crate::log::{Checkpoint, Policy};
use crate::merkle::TILE_LEN;
use crate::primitives::{Digest, limits};

const BUNDLE_LEN: u64 = TILE_LEN as u64;

/// What a log that is served elsewhere is held against, besides what it shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// Signed checkpoints of the log: what they are called, and their bytes.
    pub checkpoints: &'a [(String, Vec<u8>)],
    /// Whose cosignatures the log has to have.
    pub policy: Option<&'a Policy>,
    /// Of a part: as [`AuditOptions::trusted`](super::AuditOptions::trusted).
    pub trusted: &'a [DidDocument],
}

/// Audits a log that is served elsewhere: entries, stubs and tags; not details,
/// which a node shows to nobody but their receipt's holder, nor rows that it
/// derives for itself.
///
/// # Errors
/// [`AuditError`] when it cannot be read; whatever is wrong with the log itself
/// is a finding.
pub fn audit_served(
    log: &dyn ServedLog,
    part: Part,
    against: Against<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<AuditReport, AuditError> {
    let range = part.of(log.size())?;
    let sides = Sides {
        trusted: against.trusted,
        ..sides_of(log)
    };
    let mut begun = Begun::of(log, range.clone(), against)?;
    let source = Source::Served { log, range };
    let report = pass(sides, begun.keys.as_ref(), &mut begun.points, &source, progress)?;
    Ok(begun.conclude(log, report, log.has_stubs()))
}

/// Where an audit writes down how far it has come.
#[derive(Clone, Copy, Debug)]
pub struct StateFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// Entries between two times, at least; a tenth of what was read where that is more.
    pub entries_min: u64,
}

impl<'a> StateFile<'a> {
    /// The file at `path`, written so seldom that it takes little of the time.
    #[must_use]
    pub fn at(path: &'a Path) -> Self {
        Self {
            path,
            entries_min: limits::AUDIT_STATE_ENTRIES_MIN,
        }
    }

    /// Where a stretch that begins at `from` ends: with a bundle.
    fn stretch_end(&self, from: u64, size: u64) -> u64 {
        let entries = self.entries_min.max(from / 10);
        let bundles = (from.saturating_add(entries) / BUNDLE_LEN).max(from / BUNDLE_LEN + 1);
        bundles.saturating_mul(BUNDLE_LEN).min(size)
    }
}

/// Audits a log that is served elsewhere, from where the audit stopped of which
/// `state` tells, else from its first entry; how far this one has come is written there
/// on the way and at the end. The report is that of an audit of the whole log.
///
/// A log that does not continue the checkpoint in `state` is a finding; it is audited
/// from its first entry then, and `state` is left as it was.
///
/// # Errors
/// As [`audit_served`], and [`AuditError::State`] when `state` is of no use.
pub fn audit_served_on(
    log: &dyn ServedLog,
    state: StateFile<'_>,
    against: Against<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<AuditReport, AuditError> {
    let (file, size) = (state.path, log.size());
    let useless = |why: String| AuditError::State {
        path: file.to_owned(),
        why,
    };
    let mut saved = SavedAudit::open(file)?;
    let last = saved.as_ref().map(|saved| last_of(log, &saved.head)).transpose();
    let last = last.map_err(useless)?;
    let mut checkpoints = against.checkpoints.to_vec();
    if let Some(saved) = &saved {
        let name = format!("in {}, up to which the log was audited before", file.display());
        checkpoints.push((name, saved.head.note.clone()));
    }
    let against = Against {
        checkpoints: &checkpoints,
        ..against
    };
    let mut begun = Begun::of(log, 0..size, against)?;
    let mut notes = Vec::new();
    let mut is_kept = true;
    let last_size = last.as_ref().map_or(0, |last| last.size);
    if let Some(last) = last
        && !(last.size <= size && root_at(log, last.size)? == last.root)
    {
        // The checkpoint is among the points: the pass tells what is wrong.
        (saved, is_kept) = (None, false);
        notes.push(format!(
            "the log does not continue the checkpoint in {0}, so it was audited from its first entry, and {0} was left as \
             it was: keep it, it is evidence",
            file.display()
        ));
    }
    let keys = begun.keys.as_ref();
    let mut pass = Pass::new(&sides_of(log), keys, &mut begun.points)?;
    let mut has_stubs = log.has_stubs();
    if let Some(saved) = saved {
        has_stubs &= saved.head.has_stubs;
        pass.take_up(saved).map_err(useless)?;
        if pass.resumes_at() > last_size {
            return Err(useless(
                "it tells of more entries than its checkpoint covers".to_owned(),
            ));
        }
        if let Some((size, root)) = pass.tree()
            && root_at(log, size)? != root
        {
            return Err(useless("its entries are not those of its checkpoint".to_owned()));
        }
        pass.compare_earlier(&|size| root_at(log, size))?;
        notes.push(format!(
            "entries before {} were audited earlier, as {} tells, and were not read again",
            pass.resumes_at(),
            file.display()
        ));
    }
    let head = Head {
        log_key: log.key().to_string(),
        note: log.checkpoints().swap_remove(0).note,
        has_stubs,
    };
    let whole = Source::Served { log, range: 0..size };
    let mut next = pass.resumes_at();
    if is_kept {
        // What cannot be written is told before hours of reading.
        save(file, &head, &pass)?;
    }
    while next < size {
        let end = state.stretch_end(next, size);
        let source = Source::Served {
            log,
            range: next..end,
        };
        stretch(&mut pass, keys, &source, &mut |done, _| progress(done, size))?;
        next = end;
        if is_kept {
            pass.check_erasures(&whole)?;
            save(file, &head, &pass)?;
        }
    }
    let report = pass.finish(&whole)?;
    let mut report = begun.conclude(log, report, has_stubs);
    notes.append(&mut report.notes);
    report.notes = notes;
    Ok(report)
}

/// The checkpoint up to which the log was known when the state was written.
fn last_of(log: &dyn ServedLog, head: &Head) -> Result<Checkpoint, String> {
    let key = log.key();
    if head.log_key != key.to_string() {
        return Err(format!("it is of the log {}, not of {key}", head.log_key));
    }
    Checkpoint::open(&head.note, key).map_err(|error| format!("its checkpoint: {error}"))
}

fn root_at(log: &dyn ServedLog, size: u64) -> Result<Digest, AuditError> {
    log.root_at(size).map_err(AuditError::Served)
}

fn sides_of(log: &dyn ServedLog) -> Sides<'_> {
    let has_stubs = log.has_stubs();
    Sides {
        derived: None,
        beside: if has_stubs {
            BesideSource::Served
        } else {
            BesideSource::Nowhere
        },
        tags: if has_stubs {
            TagSource::Served(log)
        } else {
            TagSource::Nowhere
        },
        trusted: &[],
    }
}

/// What is known before any entry is judged.
struct Begun {
    findings: Findings,
    keys: Option<LogKeys>,
    points: Vec<SignedPoint>,
    notes: Vec<String>,
}

impl Begun {
    fn of(log: &dyn ServedLog, range: Range<u64>, against: Against<'_>) -> Result<Self, AuditError> {
        let mut findings = Findings::default();
        let size = log.size();
        let mut first = None;
        log.visit(0..size.min(1), &mut |served| {
            if let Served::Entry { index: 0, bytes, .. } = served {
                first = Some(bytes.to_vec());
            }
        })
        .map_err(AuditError::Served)?;
        let keys = keys_of_genesis(first.as_deref(), &mut findings);
        // Every entry that is visited is found in the tree of the first of them.
        let is_part = range.start > 0 || range.end < size;
        let mut points = Vec::new();
        for shown in log.checkpoints() {
            if is_part && !shown.is_of_tree && shown.size > 0 {
                // Of a whole log the entries tell.
                let why = format!("{} is not of the tree of the newest one", shown.source);
                findings.range(0, shown.size - 1, Rule::RootDiffers, why);
            }
            points.push(SignedPoint {
                source: shown.source,
                size: shown.size,
                root: shown.root,
                compared: is_part && shown.is_of_tree,
                in_doubt: false,
                from_store: false,
                note: Some(shown.note),
            });
        }
        if let Some(keys) = &keys
            && keys.log != *log.key()
        {
            findings.at(
                0,
                Rule::Genesis,
                format!(
                    "entry 0 names {} as the log's key, but {} was given",
                    keys.log,
                    log.key()
                ),
            );
        }
        open_checkpoints(against.checkpoints, keys.as_ref(), &mut points, &mut findings);
        let vouched = against
            .policy
            .and_then(|policy| quorum::judge(policy, log.key(), &mut points, &mut findings));
        let notes = vouched.and_then(|vouched| quorum::note(vouched, size));
        Ok(Self {
            findings,
            keys,
            points,
            notes: notes.into_iter().collect(),
        })
    }

    /// The report with what was known before; `has_stubs`: stubs and tags could be had
    /// beside all entries.
    fn conclude(mut self, log: &dyn ServedLog, mut report: AuditReport, has_stubs: bool) -> AuditReport {
        self.findings.append(report.findings);
        self.findings.sort();
        report.findings = self.findings;
        report.points = self.points;
        report.notes.append(&mut self.notes);
        if !has_stubs {
            report.is_partial = true;
            let when = if log.has_stubs() {
                "when earlier entries were audited"
            } else {
                "here"
            };
            report.notes.push(format!(
                "stubs and tags could not be had {when}, so neither receipts' signatures and totals nor batches' roots \
                 were checked there"
            ));
        }
        report
    }
}
