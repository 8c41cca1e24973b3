//! One pass over the entries, in order.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::ops::ControlFlow;

use crossbeam_channel::Sender;
use serde_cbor::Value;

use crate::credential::verify::DidDocument;
use crate::ledger::{CredentialKeyAdded, Event, Mark, Recorded, Wish, kind_has_tag};
use crate::log::{Entry, entry_hash};
use crate::merkle::TileBuilder;
use crate::primitives::{CouponName, Digest, UnixSeconds};
use crate::store::{Engine, rows};

use super::books::Books;
use super::derived::{Derived, batch_ranges, reserved_ranges};
use super::erasures::Erasures;
use super::finding::{Findings, Rule};
use super::keys::{Credentials, LogKeys};
use super::receipts::{Desk, Jobs, Outcome, check_at};
use super::saved::{Keep, Out, SavedAudit};
use super::served::Served;
use super::source::{Met, Source};
use super::summary::Summary;
use super::tags::{self, Fingerprints, TagReader, fingerprint};
use super::{AuditError, AuditReport, Sides, SignedPoint};

/// Entries between two words of progress.
const PROGRESS_ENTRIES: u64 = 10_000;

/// What an audit looks at and gathers.
pub(super) struct Pass<'a> {
    engine: Option<&'a dyn Engine>,
    keys: Option<&'a LogKeys>,
    points: &'a mut [SignedPoint],
    findings: Findings,
    summary: Summary,
    books: Books,
    credentials: Credentials,
    trusted: &'a [DidDocument],
    derived: Option<Derived<'a>>,
    desk: Desk<'a>,
    tags: TagReader<'a>,
    erasures: Erasures,
    /// Entries of receipts beside which only the stub lies.
    bare: Vec<u64>,
    /// Of `points`, which the next audit may not be given.
    of_points: Findings,
    tree: TileBuilder,
    /// The entry before: hash and time, while it is known.
    previous: Option<(Digest, UnixSeconds)>,
    last_time: UnixSeconds,
    next: u64,
    /// End of what the source itself has called wrong.
    told_to: u64,
    tree_whole: bool,
    /// First of the entries under way that only the raw file has.
    from_file: Option<u64>,
    keys_seen: Fingerprints,
    references_seen: Fingerprints,
}

impl<'a> Pass<'a> {
    pub fn new(
        sides: &Sides<'a>,
        keys: Option<&'a LogKeys>,
        points: &'a mut [SignedPoint],
    ) -> Result<Self, AuditError> {
        let engine = sides.derived;
        let mut findings = Findings::default();
        let derived = match engine {
            Some(engine) => Some(Derived::read(engine, &mut findings)?),
            None => None,
        };
        let credentials = Credentials::new(keys.map(|keys| keys.credential));
        Ok(Self {
            engine,
            keys,
            points,
            findings,
            summary: Summary::default(),
            books: Books::new(keys.map(|keys| keys.origin.did_web()).unwrap_or_default()),
            desk: Desk::new(sides.beside, credentials.keys.clone()),
            credentials,
            trusted: sides.trusted,
            derived,
            tags: TagReader::new(sides.tags),
            erasures: Erasures::default(),
            bare: Vec::new(),
            of_points: Findings::default(),
            tree: TileBuilder::new(),
            previous: Some((Digest::ZERO, UnixSeconds(0))),
            last_time: UnixSeconds(0),
            next: 0,
            told_to: 0,
            tree_whole: true,
            from_file: None,
            keys_seen: Fingerprints::default(),
            references_seen: Fingerprints::default(),
        })
    }

    /// Reads what `source` has, and hands receipts on to whoever takes `jobs`.
    pub fn read(
        &mut self,
        source: &Source<'_>,
        jobs: Sender<Jobs>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), AuditError> {
        self.desk.open(jobs);
        source.visit(&mut |met| {
            if let Some(index) = self.take(met)
                && index.is_multiple_of(PROGRESS_ENTRIES)
            {
                progress(index, source.range().end);
            }
        })?;
        if let Some(first) = self.from_file.take() {
            self.lost(first, self.next);
        }
        self.desk.flush_all(&mut self.findings);
        Ok(())
    }

    /// Lets those end who take receipts.
    pub fn hang_up(&mut self) {
        self.desk.hang_up();
    }

    /// What one of them has found.
    pub fn take_in(&mut self, outcome: Outcome) {
        self.findings.append(outcome.findings);
        self.bare.extend(outcome.bare);
        self.credentials.unchecked.append(outcome.unchecked);
        for (key, total) in outcome.totals {
            let sum = self.summary.receipts.entry(key).or_default();
            sum.count += total.count;
            sum.sum += total.sum;
        }
    }

    /// Begins at entry `first`: what came before is not held against it.
    pub fn begin_at(&mut self, first: u64) {
        if first > 0 {
            self.next = first;
            self.previous = None;
            self.tree_whole = false;
            if let Some(LogKeys { origin, .. }) = self.keys {
                let own = self
                    .trusted
                    .iter()
                    .filter(|told| told.authority == origin.authority());
                self.credentials.trust(own.flat_map(|told| &told.keys));
            }
            self.unread();
        }
    }

    /// Some entry was not read, or not understood.
    fn unread(&mut self) {
        self.books.gap();
        if let Some(keys) = &mut self.credentials.keys
            && keys.gap()
        {
            self.desk.go_on_with(keys, &mut self.findings);
        }
    }

    fn take(&mut self, met: Met<'_>) -> Option<u64> {
        match met {
            Met::Entry {
                index,
                bytes,
                from_file,
            } => {
                self.entry(index, bytes, from_file);
                Some(index)
            }
            Met::Served(Served::Entry { index, bytes, stub }) => {
                if let Some(stub) = stub {
                    self.desk.stub(index, stub);
                }
                self.entry(index, bytes, false);
                Some(index)
            }
            Met::Served(Served::Wrong {
                entries,
                resumes_at,
                rule,
                message,
            }) => {
                self.findings.range(entries.0, entries.1, rule, message);
                self.told_to = resumes_at;
                None
            }
        }
    }

    fn entry(&mut self, index: u64, bytes: &[u8], from_file: bool) {
        if index > self.next {
            self.gap(index);
        }
        self.note_origin(index, from_file);
        self.next = index + 1;
        let hash = entry_hash(bytes);
        self.grow_tree(hash);
        let time = self.check_entry(index, bytes, hash);
        self.previous = Some((hash, time));
        self.last_time = time;
        self.summary.size = index + 1;
        if let Some(derived) = &mut self.derived {
            derived.reached(index + 1, &self.books, &mut self.findings);
        }
        self.desk.step(&mut self.findings);
    }

    /// Entries `self.next..index` are nowhere.
    fn gap(&mut self, index: u64) {
        let first = self.next.max(self.told_to);
        if first < index {
            self.findings.range(
                first,
                index - 1,
                Rule::EntriesUnreadable,
                format!(
                    "entries {first} to {} unreadable: they are nowhere in the store",
                    index - 1
                ),
            );
        }
        self.summary.unreadable += index - self.next;
        self.previous = None;
        self.tree_whole = false;
        self.unread();
    }

    /// Gathers runs of entries that only the raw file has.
    fn note_origin(&mut self, index: u64, from_file: bool) {
        match (self.from_file, from_file) {
            (None, true) => self.from_file = Some(index),
            (Some(first), true) if index > self.next => {
                self.lost(first, self.next);
                self.from_file = Some(index);
            }
            (Some(first), false) => {
                self.lost(first, self.next);
                self.from_file = None;
            }
            _ => {}
        }
    }

    fn lost(&mut self, first: u64, end: u64) {
        if self.engine.is_none() {
            // The store as a whole cannot be opened: that is said once.
            return;
        }
        self.findings.range(
            first,
            end - 1,
            Rule::EntriesLost,
            format!(
                "entries {first} to {} unreadable through the store; its raw file still holds them",
                end - 1
            ),
        );
    }

    fn grow_tree(&mut self, hash: Digest) {
        if !self.tree_whole {
            return;
        }
        let (engine, findings) = (self.engine, &mut self.findings);
        self.tree.append(hash.0, &mut |half| {
            let Some(engine) = engine else { return };
            let stored = engine.get(&rows::hash_tile(half.level, half.tile, half.half));
            let span = 1_u64.checked_shl(u32::from(half.level) * 8).unwrap_or(u64::MAX);
            let first = (half.tile * 256 + u64::from(half.half) * 128).saturating_mul(span);
            let last = first.saturating_add(span.saturating_mul(128)) - 1;
            let name = format!("half {} of tile {} at level {}", half.half, half.tile, half.level);
            match stored {
                Ok(Some(bytes)) if bytes == half.as_bytes() => {}
                Ok(Some(_)) => findings.range(
                    first,
                    last,
                    Rule::TileWrong,
                    format!("{name} of the Merkle tree does not fit entries {first} to {last}"),
                ),
                Ok(None) => findings.range(
                    first,
                    last,
                    Rule::TileMissing,
                    format!("{name} of the Merkle tree, over entries {first} to {last}, is missing"),
                ),
                Err(error) => findings.range(
                    first,
                    last,
                    Rule::TileMissing,
                    format!("{name} of the Merkle tree cannot be read: {error}"),
                ),
            }
        });
        let size = self.tree.size();
        if self.points.iter().any(|point| point.size == size) {
            self.compare(size, Digest(self.tree.root()));
        }
    }

    /// Holds what was signed of `size` entries against their root.
    fn compare(&mut self, size: u64, root: Digest) {
        for point in self.points.iter_mut().filter(|point| point.size == size) {
            point.compared = true;
            if point.root != root {
                self.of_points.at(
                    size - 1,
                    Rule::RootDiffers,
                    format!(
                        "the {size} entries up to here have the root {root}, but {} says that {} was signed",
                        point.source, point.root
                    ),
                );
            }
        }
    }

    /// Checks one entry by itself and against the one before; its time.
    fn check_entry(&mut self, index: u64, bytes: &[u8], hash: Digest) -> UnixSeconds {
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.findings
                    .at(index, Rule::EntryForm, format!("it cannot be read: {error}"));
                self.summary.undecodable += 1;
                self.unread();
                self.desk.unknown(index);
                return self.last_time;
            }
        };
        self.check_place(index, &entry);
        match Event::from_body(entry.kind, &entry.body) {
            Ok((event, answers)) => {
                let recorded = Recorded {
                    index,
                    hash,
                    time: entry.time,
                    event,
                    answers,
                };
                self.check_salt(index, &entry);
                self.check_event(&recorded);
            }
            Err(error) => {
                let rule = match error {
                    crate::ledger::BodyError::UnknownKind(_) => Rule::EntryKind,
                    crate::ledger::BodyError::Form(_) => Rule::EntryBody,
                };
                self.findings
                    .at(index, rule, format!("it cannot be read: {error}"));
                self.summary.undecodable += 1;
                self.unread();
                self.desk.unknown(index);
            }
        }
        self.summary.time(entry.time);
        entry.time.max(self.last_time)
    }

    fn check_place(&mut self, index: u64, entry: &Entry) {
        let mut note = |rule, why: String| self.findings.at(index, rule, why);
        if entry.index != index {
            note(
                Rule::EntryIndex,
                format!(
                    "it stands in the place of entry {index} and says that it is entry {}",
                    entry.index
                ),
            );
        }
        let Some((hash, _)) = self.previous else { return };
        if entry.previous != hash {
            let why = if index == 0 {
                "the first entry names an entry before it".to_owned()
            } else {
                format!(
                    "it does not carry the hash of entry {}: one of the two was changed after it was written",
                    index - 1
                )
            };
            note(Rule::EntryLink, why);
        }
        if entry.time < self.last_time {
            note(
                Rule::EntryTime,
                format!(
                    "its time, {}, lies before the {} of the entry before it",
                    entry.time, self.last_time
                ),
            );
        }
    }

    fn check_salt(&mut self, index: u64, entry: &Entry) {
        let salted = entry.kind != 0 && kind_has_tag(entry.kind) == Some(false);
        let Value::Array(items) = &entry.body else { return };
        if let (true, Some(Value::Bytes(salt))) = (salted, items.last())
            && salt.iter().all(|byte| *byte == 0)
        {
            self.findings
                .at(index, Rule::SaltMissing, "its salt is nothing but zero bytes");
        }
    }

    fn check_event(&mut self, recorded: &Recorded) {
        let index = recorded.index;
        // What an intent came to answers the same request.
        let ends = matches!(recorded.event, Event::RedeemerHalf(_) | Event::IntentEnded(_));
        if let Some(answers) = recorded.answers.as_ref().filter(|_| !ends) {
            self.keys_seen.add(&answers.key);
            if let Some(reference) = unique_reference(recorded) {
                self.references_seen.add(&reference);
            }
        }
        let marked = match &recorded.event {
            Event::ReceiptIssued(receipt) => receipt.mark != Mark::Live,
            Event::Redeemed(redeemed) => redeemed.mark != Mark::Live,
            _ => false,
        };
        if let Some(why) = check_at(recorded.event.at(), recorded.time, marked) {
            self.findings.at(index, Rule::TimeTooFar, why);
        }
        let by = self.credentials.signed_by();
        let (books, findings) = (&mut self.books, &mut self.findings);
        match &recorded.event {
            Event::Genesis(genesis) if index == 0 => self.summary.genesis(genesis),
            Event::Genesis(_) => {
                findings.at(index, Rule::Genesis, "a second genesis entry inside the log");
            }
            Event::CampaignSigned(campaign) => books.campaign(recorded, campaign, by, findings),
            Event::BatchIssued(batch) => {
                self.tags.check_batch(index, batch, findings);
                books.batch(recorded, batch, by, findings);
            }
            Event::ReceiptIssued(receipt) => {
                books.receipt(recorded, receipt, findings);
                self.desk.receipt(index, recorded.time, receipt.clone());
            }
            Event::Redeemed(redeemed) => books.redeemed(recorded, redeemed, &mut self.tags, findings),
            Event::Reversed(reversed) => books.reversed(recorded, reversed, findings),
            Event::StatusSet(set) => books.status(recorded, set, findings),
            Event::StatusListSigned(signed) => books.list(recorded, signed, findings),
            Event::ReceiptErased(erased) => self.erasures.add(recorded, erased, findings),
            Event::CredentialKeyAdded(added) => self.credential_key(index, added),
            Event::Intent(_)
            | Event::RedeemerHalf(_)
            | Event::IntentEnded(_)
            | Event::CancelWished(_)
            | Event::RequestCancelled(_) => books.partner(recorded, findings),
        }
        if !matches!(recorded.event, Event::ReceiptIssued(_)) {
            self.desk.other(index, &recorded.event);
        }
        self.summary.count(recorded);
        if let Some(derived) = &mut self.derived {
            derived.recorded(recorded);
        }
    }

    /// Credentials may be signed with one more key from here on.
    fn credential_key(&mut self, index: u64, added: &CredentialKeyAdded) {
        let log = self.keys.map(|keys| [&keys.log, &keys.witness]);
        let others = log.into_iter().flatten().map(|key| key.key().as_bytes());
        for why in self.credentials.add(index, added, others) {
            let message = format!("the key for credentials that it names: {why}");
            self.findings.at(index, Rule::CredentialKey, message);
        }
        if let Some(keys) = &self.credentials.keys {
            self.desk.go_on_with(keys, &mut self.findings);
        }
    }

    /// Where the next stretch begins.
    pub fn resumes_at(&self) -> u64 {
        self.next.max(self.told_to)
    }

    /// Size and root of the tree so far, where every entry was there.
    pub fn tree(&self) -> Option<(u64, Digest)> {
        self.tree_whole
            .then(|| (self.tree.size(), Digest(self.tree.root())))
    }

    /// Holds what was signed of entries that an earlier audit has read against
    /// `root_at`, which gives the roots of the tree that they stand in.
    pub fn compare_earlier(
        &mut self,
        root_at: &dyn Fn(u64) -> Result<Digest, AuditError>,
    ) -> Result<(), AuditError> {
        let Some((end, _)) = self.tree() else {
            return Ok(());
        };
        let sizes: BTreeSet<u64> = self.points.iter().map(|point| point.size).collect();
        for size in sizes.into_iter().filter(|size| (1..=end).contains(size)) {
            self.compare(size, root_at(size)?);
        }
        Ok(())
    }

    /// Looks at the entries of receipts that were erased: what is written down of
    /// an audit tells of them.
    pub fn check_erasures(&mut self, source: &Source<'_>) -> Result<(), AuditError> {
        self.erasures.check_entries(source, &mut self.findings)
    }

    /// Goes on with what was written down of an earlier audit.
    pub fn take_up(&mut self, mut saved: SavedAudit) -> Result<(), String> {
        let from = &mut saved.rest;
        self.findings = Keep::read(from)?;
        self.summary = Keep::read(from)?;
        self.books = Keep::read(from)?;
        self.credentials = Keep::read(from)?;
        if let Some(keys) = &self.credentials.keys {
            self.desk.go_on_with(keys, &mut self.findings);
        }
        self.tags.take_up(from)?;
        self.erasures = Keep::read(from)?;
        self.tree = Keep::read(from)?;
        self.previous = Keep::read(from)?;
        self.last_time = Keep::read(from)?;
        self.next = Keep::read(from)?;
        self.told_to = Keep::read(from)?;
        self.tree_whole = Keep::read(from)?;
        self.keys_seen = Keep::read(from)?;
        self.references_seen = Keep::read(from)?;
        saved.end()
    }

    /// Writes down what an audit needs that goes on with this one: what
    /// [`take_up`](Self::take_up) reads. Only between stretches, and not of a store.
    pub fn write(&self, out: &mut Out) -> io::Result<()> {
        self.findings.write(out)?;
        self.summary.write(out)?;
        self.books.write(out)?;
        self.credentials.write(out)?;
        self.tags.write(out)?;
        self.erasures.write(out)?;
        self.tree.write(out)?;
        self.previous.write(out)?;
        self.last_time.write(out)?;
        self.next.write(out)?;
        self.told_to.write(out)?;
        self.tree_whole.write(out)?;
        self.keys_seen.write(out)?;
        self.references_seen.write(out)
    }

    /// What can only be judged at the end; `source` is all that was read.
    pub fn finish(mut self, source: &Source<'_>) -> Result<AuditReport, AuditError> {
        let signed = self.points.iter().map(|point| point.size).max().unwrap_or(0);
        if self.told_to > self.next {
            // The last ones are among what the source has called wrong.
            self.summary.unreadable += self.told_to - self.next;
            self.tree_whole = false;
            self.unread();
        } else if signed > self.next && !source.is_cut() {
            self.shorter(signed);
        }
        self.summary.whole = self.tree_whole && self.books.whole;
        if self.tree_whole {
            self.summary.root = Some(Digest(self.tree.root()));
        }
        self.check_doubled(source)?;
        self.erasures.check_entries(source, &mut self.findings)?;
        if let Some(engine) = self.engine {
            self.erasures.check_rows(engine, &mut self.findings);
        }
        match self.engine {
            Some(engine) if !source.is_cut() => self.check_rest(engine)?,
            _ => self.tags.check_seen(&mut self.findings),
        }
        self.summary.close(&self.books);
        self.findings.append(std::mem::take(&mut self.of_points));
        let mut notes = self.check_bare(source.is_cut());
        let unchecked = self.credentials.unchecked.note();
        let is_partial = unchecked.is_some();
        notes.extend(unchecked);
        Ok(AuditReport {
            part: source.range(),
            is_partial,
            summary: self.summary,
            findings: self.findings,
            points: Vec::new(),
            notes,
        })
    }

    /// Receipts without details were erased, or something is wrong.
    fn check_bare(&mut self, is_cut: bool) -> Vec<String> {
        let bare: Vec<u64> = std::mem::take(&mut self.bare);
        let untold: Vec<u64> = bare
            .into_iter()
            .filter(|index| !self.erasures.tell_of(*index))
            .collect();
        if untold.is_empty() {
            return Vec::new();
        }
        if is_cut {
            let count = untold.len();
            let receipts = if count == 1 {
                "receipt has"
            } else {
                "receipts have"
            };
            return vec![format!(
                "{count} {receipts} no details in the store: whether they were erased is told by entries behind those \
                 that were read"
            )];
        }
        for index in untold {
            self.findings.at(
                index,
                Rule::DetailsMissing,
                "only its signed stub is in the store, not its details, and no entry says that they were erased",
            );
        }
        Vec::new()
    }

    fn shorter(&mut self, signed: u64) {
        let by: Vec<&str> = self
            .points
            .iter()
            .filter(|point| point.size > self.next)
            .map(|point| point.source.as_str())
            .collect();
        self.findings.range(
            self.next,
            signed - 1,
            Rule::LogShorterThanSigned,
            format!(
                "entries {} to {} are lost: the store ends after {} entries, but {} says that {signed} were signed",
                self.next,
                signed - 1,
                self.next,
                by.join(" and ")
            ),
        );
    }

    /// Looks again at whatever looked doubled by its fingerprint.
    fn check_doubled(&mut self, source: &Source<'_>) -> Result<(), AuditError> {
        let keys = std::mem::take(&mut self.keys_seen).doubled();
        let references = std::mem::take(&mut self.references_seen).doubled();
        if keys.is_empty() && references.is_empty() {
            return Ok(());
        }
        let (mut keys_met, mut references_met) = (HashSet::new(), HashSet::new());
        let findings = &mut self.findings;
        source.visit(&mut |met| {
            let Some((index, bytes)) = met.entry() else { return };
            let Ok(entry) = Entry::decode(bytes) else { return };
            let Ok((event, Some(answers))) = Event::from_body(entry.kind, &entry.body) else {
                return;
            };
            let recorded = Recorded {
                index,
                hash: Digest::ZERO,
                time: entry.time,
                event,
                answers: Some(answers),
            };
            if keys.contains(&fingerprint(&answers.key)) && !keys_met.insert(answers.key) {
                findings.at(
                    index,
                    Rule::KeyRepeated,
                    "it answers a request with an Idempotency-Key that an earlier entry has answered",
                );
            }
            if let Some(reference) = unique_reference(&recorded)
                && references.contains(&fingerprint(&reference))
                && !references_met.insert(reference)
            {
                findings.at(
                    index,
                    Rule::ReferenceRepeated,
                    "it answers a call with a till reference that an earlier entry of this kind has",
                );
            }
        })
    }

    /// What is not met on the way: rows that no entry accounts for.
    fn check_rest(&mut self, engine: &dyn Engine) -> Result<(), AuditError> {
        let (size, findings) = (self.next, &mut self.findings);
        if self.tree_whole {
            let prefix = [rows::HASH_TILE];
            engine.scan(&prefix, &prefix, &mut |key, _| {
                if !tile_is_within(key, size) {
                    findings.store(
                        Rule::TileExtra,
                        format!(
                            "a tile of the Merkle tree is stored that a log of {size} entries has not yet"
                        ),
                    );
                }
                ControlFlow::Continue(())
            })?;
        }
        let beyond = crate::store::beside::scan(engine, size, &mut |index, _| {
            findings.at(
                index,
                Rule::DetailsUnexpected,
                format!("a record lies beside entry {index}, but the log ends before it"),
            );
            ControlFlow::Continue(())
        });
        if let Err(error) = beyond {
            findings.store(Rule::DetailsUnreadable, error.to_string());
        }
        if self.books.whole {
            // What cannot be read of them is told with the positions.
            let reserved = reserved_ranges(engine).unwrap_or_default();
            tags::check_all(engine, &batch_ranges(&self.books), &reserved, findings)?;
        }
        if let Some(derived) = self.derived.take() {
            derived.finish(size, &self.books, &mut self.findings)?;
        }
        Ok(())
    }
}

/// What must not come twice: the hash of a till reference; for redemptions,
/// many of which may be made in one sale, with the coupon's name.
fn unique_reference(recorded: &Recorded) -> Option<Vec<u8>> {
    let mut reference = recorded.answers?.reference?.to_vec();
    let name = match &recorded.event {
        Event::Redeemed(redeemed) => Some(redeemed.name),
        Event::Intent(intent) if matches!(intent.wish, Wish::Redeem { .. }) => Some(intent.name),
        _ => None,
    };
    if let Some(CouponName { list, index }) = name {
        // Into the first bytes: they are the fingerprint.
        for (byte, name) in reference
            .iter_mut()
            .zip([list.to_be_bytes(), index.to_be_bytes()].concat())
        {
            *byte ^= name;
        }
        reference.extend(list.to_be_bytes());
        reference.extend(index.to_be_bytes());
    }
    Some(reference)
}

/// Whether a stored half tile is one that a tree of `size` leaves has finished.
fn tile_is_within(key: &[u8], size: u64) -> bool {
    let Some((level, tile, half)) = (|| {
        let level = *key.get(1)?;
        let tile = u64::from_be_bytes(key.get(2..10)?.try_into().ok()?);
        Some((level, tile, *key.get(10)?))
    })() else {
        return false;
    };
    let nodes = size.checked_shr(u32::from(level) * 8).unwrap_or(0);
    let end = tile
        .checked_mul(256)
        .and_then(|first| first.checked_add((u64::from(half) + 1) * 128));
    half < 2 && end.is_some_and(|end| end <= nodes)
}
