//! The audit: is a log whole, and did its node follow the rules?
//!
//! It trusts nothing of what it audits. The public keys come from entry 0,
//! what was signed from the guard file and from checkpoints that others hold,
//! and every claim of an entry is decided again from the entries before it, by
//! the ledger's own rules.
//!
//! It works on a copy, since opening a damaged store can change it, and looks
//! through the raw file of the store itself, which stays as it is: what the
//! engine has lost may still stand there.
//!
//! | module | what it is |
//! |---|---|
//! | `workdir` | the copy and its place |
//! | `source` | entries from the engine, from the raw file, or from elsewhere |
//! | `served` | the port to a log that is read from elsewhere |
//! | `outside` | an audit of such a log, in one go or going on with an earlier one |
//! | `saved` | what is written down of an audit, so that a later one goes on with it |
//! | `pass` | one pass over the entries: form, links, tree |
//! | `books`, `statuses`, `judge` | coupons, campaigns and registers, replayed and held against the ledger's rules |
//! | `keys` | the log's keys, and those that credentials are signed with |
//! | `erasures` | what was erased, and whether it was |
//! | `receipts` | stubs and details, checked by all cores |
//! | `tags` | coupon tags, and what may stand only once |
//! | `derived` | stored state and index against the log |
//! | `quorum` | checkpoints against a policy's witnesses |
//! | `finding`, `summary` | what comes out |
//!
//! # Cost
//! One pass. Time is mostly hashes, signatures (by a table of the key) and moving
//! bytes: some 30 us a receipt of nine lines and core. Memory
//! for each million of: receipts 16 MB (fingerprints of request keys and till
//! references), batches 100 MB, coupons redeemed 200 MB,
//! redemptions 120 MB; and what the engine takes.

mod books;
mod derived;
mod erasures;
mod finding;
mod halves;
mod judge;
mod keys;
mod outside;
mod pass;
mod quorum;
mod receipts;
mod saved;
mod served;
mod source;
mod statuses;
mod summary;
mod tags;
mod workdir;

use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};

use crate::credential::verify::DidDocument;
use crate::log::{Checkpoint, Policy};
use crate::primitives::{Digest, WithRemedy};
use crate::store::{Engine, Guard, SledEngine, StoreError, Witnessed, rows};

use self::keys::LogKeys;
use self::pass::Pass;
use self::receipts::{BesideSource, work};
use self::source::{Coverage, RawIndex, Source, Spool, StoreSource};
use self::tags::TagSource;
use self::workdir::{StoreLock, WorkDir, copy_store};
use super::cosigned;
use super::gossiped;
use super::rosters;
use super::witnessing::StoredLogs;

pub use self::finding::{Finding, Findings, Rule};
pub use self::outside::{Against, StateFile, audit_served, audit_served_on};
pub use self::receipts::{Total, TotalKey, Totals, is_turnover, show_sum};
pub use self::served::{Served, ServedLog, ShownCheckpoint};
pub use self::summary::{CampaignTotal, DayTotal, Summary};

/// Bundles of receipts waiting for each worker: enough to keep it busy.
const QUEUE_PER_WORKER: usize = 4;

/// Why there is no audit. It says nothing about the log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Nothing to audit there.
    #[error("there is no store in {}; name a node's directory, or its store/", path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A node is running on it.
    #[error(
        "{} is open in another process, most likely its node. Stop the node for the audit, or audit a copy that was \
         made while it was stopped (or a snapshot of its volume)",
        store.display()
    )]
    InUse {
        /// The store.
        store: PathBuf,
    },
    /// The store failed in a way that says nothing about the log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused.
    #[error("{context}: {}", WithRemedy(source))]
    Io {
        /// What was being done.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A log that is served elsewhere could not be read on.
    #[error("{0}")]
    Served(String),
    /// What was written down of an earlier audit is of no use.
    #[error(
        "{} is no state of an audit that this one can go on with: {why}. Name another --state FILE to begin anew",
        path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There are no such entries.
    #[error("the log has {size} entries, so there is nothing to audit from {from} on")]
    Range {
        /// Entries of the log.
        size: u64,
        /// Where the audit was to begin.
        from: u64,
    },
    /// The audit failed inside: its verdict would be worth nothing.
    #[error("the audit could not be finished: {0}")]
    Internal(String),
}

/// What to audit, and against what.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// A node's directory, or its `store/` alone.
    pub dir: PathBuf,
    /// The guard file; `None`: that of a node's directory, `DIR.guard`, if it is
    /// there. A `store/` that is named alone has none.
    pub guard: Option<PathBuf>,
    /// Signed checkpoints of the log: what they are called, and their bytes.
    pub checkpoints: Vec<(String, Vec<u8>)>,
    /// Of a part that begins after entry 0: what tells of the log's keys for credentials
    /// that earlier entries name. Documents of other nodes count for nothing.
    pub trusted: Vec<DidDocument>,
    /// Where the working copy is made; `None`: beside the store, else in the
    /// system's directory for temporary files.
    pub work_dir: Option<PathBuf>,
    /// Which entries.
    pub part: Part,
    /// Whose cosignatures the log has to have.
    pub policy: Option<Policy>,
}

/// Which entries are audited: those from `from` on, and none from `to` on.
///
/// What entries before `from` would explain is not held against those that
/// follow, and what is derived from the whole log is only compared with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Index of the first; 0: the genesis entry.
    pub from: u64,
    /// Index after the last; `None`: to the end.
    pub to: Option<u64>,
}

impl Part {
    fn of(self, size: u64) -> Result<Range<u64>, AuditError> {
        let end = self.to.unwrap_or(size).min(size);
        if self.from >= end && size > 0 {
            return Err(AuditError::Range {
                size: end,
                from: self.from,
            });
        }
        Ok(self.from..end)
    }
}

/// A size and root that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPoint {
    /// Where that is known from, for people.
    pub source: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Digest,
    /// The log reached that size, so that the roots were compared.
    pub compared: bool,
    /// More may have been signed: the guard file's other slot cannot be read.
    pub in_doubt: bool,
    /// It stands in the store that is audited: more may have been signed.
    pub from_store: bool,
    /// The signed note that says so, with whatever cosignatures it has.
    pub note: Option<Vec<u8>>,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything fits, up to what was signed at least.
    Clean,
    /// Everything fits, but nothing says for sure how long the log has to be.
    CleanAsFarAsKnown,
    /// Something is wrong.
    Findings,
}

/// What an audit has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// The entries that were looked at.
    pub part: Range<u64>,
    /// What lies beside the entries could not be had.
    pub is_partial: bool,
    /// What was counted.
    pub summary: Summary,
    /// What is wrong.
    pub findings: Findings,
    /// What the log was compared with.
    pub points: Vec<SignedPoint>,
    /// What else is worth knowing, a sentence each.
    pub notes: Vec<String>,
}

impl AuditReport {
    /// The verdict in one word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.findings.total() > 0 {
            Verdict::Findings
        } else if self.is_partial || self.points.iter().all(|point| point.in_doubt || point.from_store) {
            Verdict::CleanAsFarAsKnown
        } else {
            Verdict::Clean
        }
    }
}

/// Audits a log. `progress` is told how many entries of how many were read.
///
/// # Errors
/// [`AuditError`] when there is nothing that can be audited; whatever is wrong
/// with the log itself is a finding.
pub fn audit(options: &AuditOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<AuditReport, AuditError> {
    let (store, guard_path) = places(options)?;
    let work = WorkDir::make(options.work_dir.as_deref(), &store)?;
    let lock = StoreLock::take(&store)?;
    let mut findings = Findings::default();
    let mut notes = Vec::new();
    let mut points = Vec::new();
    let mut witnessed = Vec::new();
    if let Some(path) = guard_path {
        match Guard::read(&path).and_then(|state| Ok((state, Guard::is_whole(&path)?))) {
            Ok((state, is_whole)) => {
                points.push(SignedPoint {
                    source: format!("the guard file {}", path.display()),
                    size: state.size,
                    root: Digest(state.root),
                    compared: false,
                    in_doubt: !is_whole,
                    from_store: false,
                    note: None,
                });
                witnessed = state.witnessed;
            }
            Err(error) => findings.store(Rule::GuardUnreadable, error.to_string()),
        }
    }
    let copy = work.path().join("store");
    // Nobody opens the store itself meanwhile: it is locked.
    let (raw, opened) = std::thread::scope(|scope| {
        let raw = scope.spawn(|| RawIndex::read(&store));
        let opened = copy_store(&store, &copy).map(|()| open_copy(&copy, &mut notes));
        (raw.join().unwrap_or_else(|panic| resume_unwind(panic)), opened)
    });
    let (raw, opened) = (raw?, opened?);
    let (engine, coverage) = match opened {
        Ok((engine, coverage)) => (Some(engine), coverage),
        Err(error) if raw.is_empty() => return Err(error.into()),
        Err(error) => {
            findings.store(
                Rule::StoreUnreadable,
                format!(
                    "the store cannot be opened, so only the entries in its raw file were looked at: {error}"
                ),
            );
            (None, Coverage::default())
        }
    };
    if engine.is_some() && coverage.end() == 0 && raw.is_empty() {
        return Err(StoreError::Refused("the store holds no log".to_owned()).into());
    }
    // While nobody else can have opened the store: what only its raw file has.
    let incomplete = !coverage.is_whole_to(coverage.end().max(raw.end()));
    let spool = if incomplete || engine.is_none() {
        Some(Spool::write(&store, &work.path().join("entries"))?)
    } else {
        None
    };
    drop(lock);
    for first in &coverage.damaged {
        findings.at(
            *first,
            Rule::EntriesUnreadable,
            format!("the row of entries that begins with {first} does not match its SHA-256"),
        );
    }
    for (first, end) in &coverage.overlaps {
        findings.range(
            *first,
            end - 1,
            Rule::EntriesOverlap,
            format!("entries {first} to {} stand in the store twice", end - 1),
        );
    }
    let audit = Audit {
        options,
        coverage: &coverage,
        spool: spool.as_ref(),
        raw_end: raw.end(),
        witnessed: &witnessed,
    };
    let run =
        |engine: Option<&dyn Engine>, points: &mut Vec<SignedPoint>, progress: &mut dyn FnMut(u64, u64)| {
            // sled panics on pages that it cannot make sense of.
            std::panic::catch_unwind(AssertUnwindSafe(|| audit.run(engine, points, progress)))
        };
    let given = points.clone();
    let through = engine.as_ref().map(|engine| engine as &dyn Engine);
    let mut report = match run(through, &mut points, progress) {
        Ok(Ok(report)) => report,
        Ok(Err(AuditError::Store(error))) if engine.is_some() => {
            findings.store(
                Rule::StoreUnreadable,
                format!("the store could not be read to its end: {error}"),
            );
            points = given;
            again_from_file(&audit, &store, &work, &mut points, progress)?
        }
        Ok(Err(error)) => return Err(error),
        Err(_) if engine.is_some() => {
            findings.store(
                Rule::StoreUnreadable,
                "the storage engine gave up while the store was read, so only its raw file was looked at",
            );
            points = given;
            again_from_file(&audit, &store, &work, &mut points, progress)?
        }
        Err(_) => {
            return Err(AuditError::Internal(
                "it met something that it could not read".to_owned(),
            ));
        }
    };
    // Closing a damaged store may panic too.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(engine)));
    findings.append(std::mem::take(&mut report.findings));
    findings.sort();
    report.findings = findings;
    report.points = points;
    notes.append(&mut report.notes);
    report.notes = notes;
    Ok(report)
}

/// The store's directory and the guard file, if there is one.
fn places(options: &AuditOptions) -> Result<(PathBuf, Option<PathBuf>), AuditError> {
    let missing = || AuditError::NoStore {
        path: options.dir.clone(),
    };
    let dir = options.dir.canonicalize().map_err(|_| missing())?;
    let is_store = |dir: &Path| dir.join(crate::store::sled::DATA_FILE).is_file();
    let inner = dir.join("store");
    let (store, node) = if is_store(&inner) {
        (inner, Some(dir))
    } else if is_store(&dir) {
        // A store that is named alone is judged alone, wherever it lies.
        (dir, None)
    } else {
        return Err(missing());
    };
    let beside = node.and_then(|node| {
        let mut name = node.file_name()?.to_owned();
        name.push(".guard");
        Some(node.with_file_name(name)).filter(|path| path.is_file())
    });
    Ok((store, options.guard.clone().or(beside)))
}

fn open_copy(copy: &Path, notes: &mut Vec<String>) -> Result<(SledEngine, Coverage), StoreError> {
    let (engine, said) = SledEngine::open(copy)?;
    let coverage = std::panic::catch_unwind(AssertUnwindSafe(|| Coverage::read(&engine)));
    match coverage {
        Ok(Ok(coverage)) => {
            notes.extend(said);
            Ok((engine, coverage))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(engine)));
            Err(StoreError::Damaged(
                "the storage engine gave up while it read the entries".to_owned(),
            ))
        }
    }
}

/// The engine has failed on the way: what the raw file has, by itself.
fn again_from_file(
    audit: &Audit<'_>,
    store: &Path,
    work: &WorkDir,
    points: &mut Vec<SignedPoint>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<AuditReport, AuditError> {
    let spool = Spool::write(store, &work.path().join("entries-again"))?;
    let audit = Audit {
        spool: Some(&spool),
        ..*audit
    };
    std::panic::catch_unwind(AssertUnwindSafe(|| audit.run(None, points, progress))).unwrap_or_else(|_| {
        Err(AuditError::Internal(
            "it met something that it could not read".to_owned(),
        ))
    })
}

/// What the node holds of others: their checkpoints that it has cosigned, its own that
/// they have, with which its log is compared, and the federation's roster.
fn stored_of_others(
    engine: &dyn Engine,
    keys: &LogKeys,
    guarded: &[Witnessed],
    points: &mut Vec<SignedPoint>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let stored = StoredLogs::read(engine, &keys.witness)?;
    for wrong in stored.behind(guarded).into_iter().chain(stored.unreadable) {
        findings.store(Rule::StoredWitness, wrong);
    }
    let (own, unreadable) = cosigned::examine(engine, &keys.log)?;
    for wrong in unreadable {
        findings.store(Rule::StoredCosigned, wrong);
    }
    for wrong in rosters::examine(engine)? {
        findings.store(Rule::StoredRoster, wrong);
    }
    for wrong in gossiped::examine(engine)? {
        findings.store(Rule::StoredGossip, wrong);
    }
    points.extend(own.into_iter().map(|own| SignedPoint {
        source: "a checkpoint in the store that witnesses have cosigned".to_owned(),
        size: own.size,
        root: own.root,
        compared: false,
        in_doubt: false,
        from_store: true,
        note: Some(own.note.as_bytes().to_vec()),
    }));
    Ok(())
}

#[derive(Clone, Copy)]
struct Audit<'a> {
    options: &'a AuditOptions,
    coverage: &'a Coverage,
    spool: Option<&'a Spool>,
    raw_end: u64,
    /// Other logs as the guard has them.
    witnessed: &'a [Witnessed],
}

impl Audit<'_> {
    fn run(
        &self,
        engine: Option<&dyn Engine>,
        points: &mut Vec<SignedPoint>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<AuditReport, AuditError> {
        let mut findings = Findings::default();
        let keys = self.log_keys(engine, &mut findings)?;
        open_checkpoints(&self.options.checkpoints, keys.as_ref(), points, &mut findings);
        if let (Some(engine), Some(keys)) = (engine, &keys) {
            stored_of_others(engine, keys, self.witnessed, points, &mut findings)?;
        }
        let vouched = match (&self.options.policy, &keys) {
            (Some(policy), Some(keys)) => quorum::judge(policy, &keys.log, points, &mut findings),
            _ => None,
        };
        let signed = points.iter().map(|point| point.size).max().unwrap_or(0);
        // Beyond the engine's end the raw file can hold entries that were being
        // written when the node died, and were never answered: only what was
        // signed is taken from there.
        let end = match engine {
            Some(_) => self.coverage.end().max(signed.min(self.raw_end)),
            None => self.raw_end,
        };
        let range = self.options.part.of(end)?;
        let is_part = range != (0..end);
        let source = Source::Store(StoreSource {
            engine,
            coverage: self.coverage,
            spool: self.spool,
            from: range.start,
            end: range.end,
            is_cut: range.end < end,
        });
        let beside = Sides {
            // Derived rows are of the whole log.
            derived: engine.filter(|_| !is_part),
            beside: engine.map_or(BesideSource::Nowhere, BesideSource::Store),
            tags: engine.map_or(TagSource::Nowhere, TagSource::Store),
            trusted: &self.options.trusted,
        };
        let mut notes = self.notes(engine, points, end);
        notes.extend(vouched.and_then(|size| quorum::note(size, end)));
        points.retain(|point| {
            let is_reached = range.start == 0 && (point.size <= range.end || range.end == end);
            if !is_reached {
                notes.push(format!(
                    "{}, of {} entries, could not be compared: only the entries {} to {} were to be read",
                    point.source,
                    point.size,
                    range.start,
                    range.end - 1
                ));
            }
            is_reached
        });
        let mut report = pass(beside, keys.as_ref(), points, &source, progress)?;
        findings.append(std::mem::take(&mut report.findings));
        report.findings = findings;
        notes.append(&mut report.notes);
        report.notes = notes;
        report.is_partial |= is_part && points.iter().all(|point| point.from_store);
        Ok(report)
    }

    fn log_keys(
        &self,
        engine: Option<&dyn Engine>,
        findings: &mut Findings,
    ) -> Result<Option<LogKeys>, AuditError> {
        let mut first = match engine {
            Some(engine) => rows::read_entry(engine, 0).ok().flatten(),
            None => None,
        };
        if first.is_none() {
            let source = StoreSource {
                engine: None,
                coverage: self.coverage,
                spool: self.spool,
                from: 0,
                end: 1,
                is_cut: false,
            };
            source.visit(&mut |_, bytes, _| first = Some(bytes.to_vec()))?;
        }
        Ok(keys_of_genesis(first.as_deref(), findings))
    }

    fn notes(&self, engine: Option<&dyn Engine>, points: &[SignedPoint], end: u64) -> Vec<String> {
        let mut notes = Vec::new();
        if engine.is_some() && self.raw_end > end {
            let why = if points.is_empty() {
                "they were being written when the node died, or the store has lost them: only a checkpoint could tell"
            } else {
                "they were never signed: they were being written when the node died"
            };
            notes.push(format!(
                "the raw file holds entries {end} to {}, which the store has not; {why}",
                self.raw_end - 1
            ));
        }
        notes
    }
}

/// The keys that entry 0 names; without them a finding.
fn keys_of_genesis(first: Option<&[u8]>, findings: &mut Findings) -> Option<LogKeys> {
    match first.map(LogKeys::of) {
        Some(Ok(keys)) => Some(keys),
        Some(Err(why)) => {
            findings.at(0, Rule::Genesis, format!("{why}; no signature could be checked"));
            None
        }
        None => {
            findings.at(
                0,
                Rule::Genesis,
                "the first entry, with the log's keys, is missing; no signature could be checked",
            );
            None
        }
    }
}

fn open_checkpoints(
    given: &[(String, Vec<u8>)],
    keys: Option<&LogKeys>,
    points: &mut Vec<SignedPoint>,
    findings: &mut Findings,
) {
    let Some(keys) = keys else { return };
    for (name, note) in given {
        match Checkpoint::open(note, &keys.log) {
            Ok(checkpoint) => points.push(SignedPoint {
                source: format!("the checkpoint {name}"),
                size: checkpoint.size,
                root: checkpoint.root,
                compared: checkpoint.size == 0,
                in_doubt: false,
                from_store: false,
                note: Some(note.clone()),
            }),
            Err(error) => findings.store(
                Rule::CheckpointForeign,
                format!("{name} is not a checkpoint that this log's key has signed: {error}"),
            ),
        }
    }
}

/// Where what is not an entry comes from.
struct Sides<'a> {
    /// The store, for what it derives from the log.
    derived: Option<&'a dyn Engine>,
    beside: BesideSource<'a>,
    tags: TagSource<'a>,
    /// What tells of the keys that entries before the first one name.
    trusted: &'a [DidDocument],
}

/// One pass over the entries.
fn pass(
    sides: Sides<'_>,
    keys: Option<&LogKeys>,
    points: &mut [SignedPoint],
    source: &Source<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<AuditReport, AuditError> {
    let mut pass = Pass::new(&sides, keys, points)?;
    pass.begin_at(source.range().start);
    stretch(&mut pass, keys, source, progress)?;
    pass.finish(source)
}

/// Reads a stretch of entries, receipts checked by all cores meanwhile.
fn stretch(
    pass: &mut Pass<'_>,
    keys: Option<&LogKeys>,
    source: &Source<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), AuditError> {
    // Without keys there is nothing to check them against.
    let workers = match keys {
        Some(_) => std::thread::available_parallelism().map_or(1, NonZero::get),
        None => 0,
    };
    let (jobs, queue) = crossbeam_channel::bounded(workers.max(1) * QUEUE_PER_WORKER);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let queue = queue.clone();
                scope.spawn(move || work(&queue))
            })
            .collect();
        drop(queue);
        // The scope waits for the workers, and they for the desk, whatever panics.
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| pass.read(source, jobs, progress)));
        pass.hang_up();
        for thread in threads {
            let outcome = thread.join().map_err(|_| {
                AuditError::Internal("a worker met a receipt that it could not read".to_owned())
            })?;
            pass.take_in(outcome);
        }
        read.unwrap_or_else(|panic| resume_unwind(panic))
    })
}
