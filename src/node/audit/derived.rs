//! What the store keeps beside the entries to save reading them: does it say
//! what the log says? Rows may be newer than the checkpoint that counts; their
//! `as of`, or the range from that checkpoint on, says at which size to look
//! (see `node::snapshot`).

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

use crate::ledger::{Recorded, State, StatusFlags};
use crate::node::batches::{Reservation, left_reservations};
use crate::node::find::{keys_of, shares_reference};
use crate::node::index::{Index, IndexReader};
use crate::node::pending::BatchRow;
use crate::node::snapshot::{CampaignRow, campaign_row, load_state_row, register_row};
use crate::primitives::{CampaignId, CouponName, Position, Register, limits};
use crate::store::{Engine, StoreError, rows};

use super::books::Books;
use super::finding::{Findings, Rule};
use super::tags::fingerprint;

/// Statuses in one row of the store.
const STATUS_ROW_LEN: usize = 4_096;

/// A counter's row that is compared once as many entries have been read as it
/// includes.
enum Due {
    Campaign(CampaignId),
    Register(Register),
}

/// The checkpoint of derived state that counts.
#[derive(Default)]
struct StoredState {
    covers: u64,
    next_position: u64,
    versions: BTreeMap<u32, u64>,
}

/// Stored derived state, compared while the log is read.
pub(super) struct Derived<'a> {
    engine: &'a dyn Engine,
    stored: StoredState,
    campaigns: HashMap<CampaignId, CampaignRow>,
    registers: BTreeMap<Register, (u64, u64)>,
    due: BTreeMap<u64, Vec<Due>>,
    /// As the log had them at the checkpoint.
    versions_then: BTreeMap<u32, u64>,
    next_position_then: u64,
    index: Option<(Index, u64)>,
    sample_every: u128,
    sample: HashMap<[u8; 16], u64>,
    occurrences: HashMap<u64, u32>,
}

impl<'a> Derived<'a> {
    /// Reads the rows that are compared on the way.
    pub fn read(engine: &'a dyn Engine, findings: &mut Findings) -> Result<Self, StoreError> {
        let mut derived = Self {
            engine,
            stored: StoredState::default(),
            campaigns: HashMap::new(),
            registers: BTreeMap::new(),
            due: BTreeMap::new(),
            versions_then: BTreeMap::new(),
            next_position_then: 0,
            index: None,
            sample_every: 1,
            sample: HashMap::new(),
            occurrences: HashMap::new(),
        };
        derived.read_state(findings)?;
        derived.read_campaigns(findings)?;
        derived.read_registers(findings)?;
        match Index::open(engine) {
            Ok((index, covers)) => {
                // Some four keys an entry; a sample by key, so that all entries of a key are in it.
                let keys = u128::from(covers) * 4;
                derived.sample_every = (keys / limits::AUDIT_INDEX_KEYS_MAX as u128).max(1);
                derived.index = Some((index, covers));
            }
            Err(StoreError::Damaged(why)) => {
                findings.store(Rule::StoredIndex, format!("the index cannot be read: {why}"));
            }
            Err(error) => return Err(error),
        }
        Ok(derived)
    }

    fn read_state(&mut self, findings: &mut Findings) -> Result<(), StoreError> {
        let Some(row) = self.engine.get(&rows::derived(b"state"))? else {
            return Ok(());
        };
        let mut state = State::default();
        match load_state_row(&row, &mut state) {
            Ok(covers) => {
                self.stored.covers = covers;
                self.stored.next_position = state.next_position.0;
                let versions = state.list_versions.into_iter();
                self.stored.versions = versions.map(|(list, iat)| (list, iat.0)).collect();
            }
            Err(error) => findings.store(
                Rule::StoredState,
                format!("the row with the checkpoint of derived state cannot be read: {error}"),
            ),
        }
        Ok(())
    }

    fn read_campaigns(&mut self, findings: &mut Findings) -> Result<(), StoreError> {
        let prefix = [rows::CAMPAIGN];
        self.engine.scan(&prefix, &prefix, &mut |key, value| {
            match (CampaignId::from_slice(&key[1..]), campaign_row(value)) {
                (Some(id), Ok(row)) => {
                    self.due.entry(row.as_of).or_default().push(Due::Campaign(id));
                    self.campaigns.insert(id, row);
                }
                _ => findings.store(
                    Rule::StoredCampaign,
                    "a campaign's stored counters cannot be read",
                ),
            }
            ControlFlow::Continue(())
        })
    }

    fn read_registers(&mut self, findings: &mut Findings) -> Result<(), StoreError> {
        let prefix = [rows::REGISTER];
        self.engine.scan(&prefix, &prefix, &mut |key, value| {
            let name = std::str::from_utf8(&key[1..])
                .ok()
                .and_then(|name| Register::new(name).ok());
            match (name, register_row(value)) {
                (Some(name), Ok(row)) => {
                    let due = Due::Register(name.clone());
                    self.due.entry(row.as_of).or_default().push(due);
                    self.registers.insert(name, (row.last_sequence_number, row.as_of));
                }
                _ => findings.store(Rule::StoredRegister, "a register's stored counter cannot be read"),
            }
            ControlFlow::Continue(())
        })
    }

    /// An entry has been read and counted.
    pub fn recorded(&mut self, recorded: &Recorded) {
        let Some((_, covers)) = &self.index else { return };
        let covers = *covers;
        let mut nth = 0;
        if let (true, Some(reference)) = (
            shares_reference(&recorded.event),
            recorded.answers.and_then(|answers| answers.reference),
        ) {
            let seen = self.occurrences.entry(fingerprint(&reference)).or_default();
            nth = *seen;
            *seen = seen.saturating_add(1);
        }
        if recorded.index < covers {
            for key in keys_of(recorded, nth) {
                if u128::from_be_bytes(key).is_multiple_of(self.sample_every) {
                    self.sample.insert(key, recorded.index);
                }
            }
        }
    }

    /// `size` entries have been read.
    pub fn reached(&mut self, size: u64, books: &Books, findings: &mut Findings) {
        if size == self.stored.covers {
            self.at_checkpoint(books, findings);
        }
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > size {
                break;
            }
            for due in entry.remove() {
                match due {
                    Due::Campaign(id) if books.whole => self.compare_campaign(id, books, findings),
                    Due::Register(name) if books.whole => self.compare_register(&name, books, findings),
                    Due::Campaign(_) | Due::Register(_) => {}
                }
            }
        }
    }

    /// At the checkpoint that counts: which rows must be there by now.
    fn at_checkpoint(&mut self, books: &Books, findings: &mut Findings) {
        let state = &books.state;
        self.next_position_then = state.next_position.0;
        let versions = state.list_versions.iter();
        self.versions_then = versions.map(|(list, iat)| (*list, iat.0)).collect();
        if !books.whole {
            return;
        }
        let covers = self.stored.covers;
        for (id, campaign) in &state.campaigns {
            let flags_changed = books.flags_changed.get(id).map_or(0, |index| index + 1);
            let needed = campaign.as_of.max(flags_changed);
            if self.campaigns.get(id).is_none_or(|row| row.as_of < needed) {
                findings.at(
                    campaign.entry,
                    Rule::StoredCampaign,
                    format!(
                        "the stored counters of campaign {id} are missing or too old: they have to include the \
                         entries before {covers}"
                    ),
                );
            }
        }
        for (name, register) in &state.registers {
            if self.registers.get(name).is_none_or(|row| row.1 < register.as_of) {
                findings.store(
                    Rule::StoredRegister,
                    format!(
                        "the stored counter of register {name} is missing or too old: it has to include the entries \
                         before {covers}"
                    ),
                );
            }
        }
    }

    fn compare_campaign(&self, id: CampaignId, books: &Books, findings: &mut Findings) {
        let Some(row) = self.campaigns.get(&id) else {
            return;
        };
        let Some(counted) = books.state.campaigns.get(&id) else {
            return findings.store(
                Rule::StoredCampaign,
                format!(
                    "counters are stored for the campaign {id}, which no entry before {} signs",
                    row.as_of
                ),
            );
        };
        for (what, stored, logged) in [
            ("entry", row.entry as i128, i128::from(counted.entry)),
            (
                "coupons issued",
                i128::from(row.issued),
                i128::from(counted.issued),
            ),
            (
                "redemptions",
                i128::from(row.redemptions),
                i128::from(counted.redemptions),
            ),
            (
                "benefits granted",
                i128::from(row.spent.minor_units()),
                i128::from(counted.spent.minor_units()),
            ),
            (
                "status",
                i128::from(row.flags.to_byte()),
                i128::from(counted.flags.to_byte()),
            ),
        ] {
            if stored != logged {
                findings.at(
                    counted.entry,
                    Rule::StoredCampaign,
                    format!(
                        "campaign {id}: {what} are stored as {stored} at size {}, the entries give {logged}",
                        row.as_of
                    ),
                );
            }
        }
    }

    fn compare_register(&self, name: &Register, books: &Books, findings: &mut Findings) {
        let Some((stored, as_of)) = self.registers.get(name) else {
            return;
        };
        let logged = books
            .state
            .registers
            .get(name)
            .map_or(0, |register| register.last_sequence_number);
        if *stored != logged {
            findings.store(
                Rule::StoredRegister,
                format!(
                    "register {name}: the last number is stored as {stored} at size {as_of}, the entries give {logged}"
                ),
            );
        }
    }

    /// The whole log has been read: the rest is compared.
    pub fn finish(mut self, size: u64, books: &Books, findings: &mut Findings) -> Result<(), StoreError> {
        let late: Vec<u64> = self.due.keys().copied().collect();
        if let Some(last) = late.last() {
            findings.store(
                Rule::StoredState,
                format!("stored counters include the entries before {last}, but the log has {size}"),
            );
        }
        if self.stored.covers > size {
            findings.store(
                Rule::StoredState,
                format!(
                    "derived state is stored for {} entries, but the log has {size}",
                    self.stored.covers
                ),
            );
        }
        let ranges = batch_ranges(books);
        self.compare_positions(&ranges, books, findings)?;
        if books.whole {
            self.compare_batches(books, findings)?;
            books.halves.compare_rows(self.engine, findings)?;
            self.compare_versions(books, findings);
            self.compare_statuses(&ranges, books, findings)?;
            self.look_up(findings)?;
        }
        Ok(())
    }

    /// Positions have no overlaps, and no gaps but those that are reserved.
    fn compare_positions(
        &self,
        ranges: &[(u64, u64, u64)],
        books: &Books,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let reserved = match reserved_ranges(self.engine) {
            Ok(reserved) => reserved,
            Err(crate::node::NodeError::Store(error)) => return Err(error),
            Err(error) => {
                findings.store(Rule::StoredBatch, error.to_string());
                Vec::new()
            }
        };
        let mut next = 0;
        for &(first, end, entry) in ranges {
            if first < next {
                findings.at(
                    entry,
                    Rule::BatchOverlap,
                    format!(
                        "the batch takes positions from {first} on, which were given out up to {next} already"
                    ),
                );
            }
            if first > next && books.whole && !is_reserved(&reserved, next, first) {
                findings.at(
                    entry,
                    Rule::BatchGap,
                    format!(
                        "no batch and no reservation accounts for the positions {next} to {}",
                        first - 1
                    ),
                );
            }
            next = next.max(end);
        }
        let most = reserved.iter().map(|range| range.1).max().unwrap_or(0).max(next);
        let stored = self.stored.next_position;
        if self.stored.covers > 0 && books.whole && !(self.next_position_then..=most).contains(&stored) {
            findings.store(
                Rule::StoredState,
                format!(
                    "the next free position is stored as {stored}, the entries and reservations allow {} to {most}",
                    self.next_position_then
                ),
            );
        }
        Ok(())
    }

    fn compare_batches(&self, books: &Books, findings: &mut Findings) -> Result<(), StoreError> {
        let mut by_first: BTreeMap<u64, u64> = BTreeMap::new();
        for (entry, batch) in &books.batches {
            by_first.insert(batch.first, *entry);
        }
        let prefix = [rows::BATCH];
        self.engine.scan(&prefix, &prefix, &mut |key, value| {
            let first = rows::number_of(key).unwrap_or(u64::MAX);
            let row = BatchRow::decode(first, value);
            let entry = by_first.remove(&first);
            let batch = entry.and_then(|entry| books.batches.get(&entry));
            let same = matches!((&row, entry, batch), (Some(row), Some(entry), Some(batch))
                if row.entry == entry && row.count == batch.count && row.campaign == batch.campaign);
            if !same {
                findings.store(
                    Rule::StoredBatch,
                    format!("the stored row of the batch from position {first} is not what its entry says"),
                );
            }
            ControlFlow::Continue(())
        })?;
        for (first, entry) in by_first {
            findings.at(
                entry,
                Rule::StoredBatch,
                format!("the row of this batch, from position {first}, is missing: its coupons could not be redeemed"),
            );
        }
        Ok(())
    }

    fn compare_versions(&self, books: &Books, findings: &mut Findings) {
        if self.stored.covers == 0 {
            return;
        }
        let now = &books.state.list_versions;
        let lists = now.keys().chain(self.stored.versions.keys());
        let lists: std::collections::BTreeSet<u32> = lists.copied().collect();
        for list in lists {
            let least = self.versions_then.get(&list).copied().unwrap_or(0);
            let most = now.get(&list).map_or(0, |iat| iat.0);
            let stored = self.stored.versions.get(&list).copied().unwrap_or(0);
            if !(least..=most).contains(&stored) {
                findings.store(
                    Rule::StoredState,
                    format!("the version of status list {list} is stored as {stored}, the entries give {least} to {most}"),
                );
            }
        }
    }

    fn compare_statuses(
        &self,
        ranges: &[(u64, u64, u64)],
        books: &Books,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let lists = self.read_statuses(findings)?;
        let covers = self.stored.covers;
        let settled = books.latest_wide_change().is_none_or(|index| index < covers);
        for name in books.coupons.keys() {
            let Some((logged, touched)) = books.status_byte(*name) else {
                continue;
            };
            let stored = lists
                .get(&name.list)
                .and_then(|list| list.get(name.index as usize));
            let stored = stored.copied().unwrap_or(0);
            if touched < covers && stored != logged {
                findings.at(
                    touched,
                    Rule::StoredStatus,
                    format!(
                        "coupon {name} is stored as {}, the entries say {}",
                        words(stored),
                        words(logged)
                    ),
                );
            }
        }
        let expected = expected_unnamed(ranges, books);
        for (list, bytes) in &lists {
            let named = |index: usize| {
                let name = CouponName {
                    list: *list,
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                };
                books.coupons.contains_key(&name) || books.named.contains_key(&name)
            };
            let marked = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
            let marked = marked.filter(|(index, _)| !named(*index)).count() as u64;
            let most = expected.get(list).copied().unwrap_or(0);
            let unplaced = books
                .named
                .keys()
                .filter(|name| name.list == *list && !books.coupons.contains_key(name))
                .count() as u64;
            if settled && covers > 0 && !(most.saturating_sub(unplaced)..=most).contains(&marked) {
                findings.store(
                    Rule::StoredStatus,
                    format!(
                        "status list {list}: {marked} coupons are stored as revoked, suspended or used up that were \
                         neither redeemed nor named; the entries give {most}"
                    ),
                );
            }
        }
        Ok(())
    }

    fn read_statuses(&self, findings: &mut Findings) -> Result<BTreeMap<u32, Vec<u8>>, StoreError> {
        let mut lists: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let prefix = [rows::STATUS];
        self.engine.scan(&prefix, &prefix, &mut |key, value| {
            let list = rows::number_of(key).and_then(|list| u32::try_from(list).ok());
            let row = key
                .get(9..11)
                .map(|row| usize::from(u16::from_be_bytes([row[0], row[1]])));
            let place = row.map(|row| row * STATUS_ROW_LEN);
            let (Some(list), Some(first)) = (list, place) else {
                findings.store(
                    Rule::StoredStatus,
                    "a row of statuses lies under an impossible key",
                );
                return ControlFlow::Continue(());
            };
            let bytes = lists
                .entry(list)
                .or_insert_with(|| vec![0; limits::STATUS_LIST_LEN as usize]);
            match bytes.get_mut(first..first + STATUS_ROW_LEN) {
                Some(place) if value.len() == STATUS_ROW_LEN => place.copy_from_slice(value),
                _ => findings.store(
                    Rule::StoredStatus,
                    format!("a row of status list {list} has a wrong place or length"),
                ),
            }
            ControlFlow::Continue(())
        })?;
        Ok(lists)
    }

    /// Looks the sample up, in as many threads as there are cores.
    fn look_up(&mut self, findings: &mut Findings) -> Result<(), StoreError> {
        let Some((index, _)) = &self.index else {
            return Ok(());
        };
        let (engine, reader) = (self.engine, index.reader());
        let sample: Vec<([u8; 16], u64)> = self.sample.drain().collect();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let looking: Vec<_> = sample
                .chunks(sample.len().div_ceil(threads).max(1))
                .map(|part| scope.spawn(|| led_astray(engine, &reader, part)))
                .collect();
            // A panic of the engine is caught further up.
            let join =
                |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            looking.into_iter().map(join).collect()
        });
        let mut damaged = None;
        for outcome in outcomes {
            match outcome {
                Ok(astray) => {
                    for (expected, found) in astray {
                        let why = match found {
                            Some(found) => {
                                format!("the index leads to entry {found} where it should lead here")
                            }
                            None => "the index does not know this entry under one of its keys".to_owned(),
                        };
                        findings.at(expected, Rule::StoredIndex, why);
                    }
                }
                Err(StoreError::Damaged(why)) => damaged = Some(why),
                Err(error) => return Err(error),
            }
        }
        if let Some(why) = damaged {
            findings.store(Rule::StoredIndex, format!("the index cannot be read: {why}"));
        }
        Ok(())
    }
}

/// The keys that the index leads elsewhere: the entry that each should lead to,
/// and the one that it leads to.
fn led_astray(
    engine: &dyn Engine,
    reader: &IndexReader,
    sample: &[([u8; 16], u64)],
) -> Result<Vec<(u64, Option<u64>)>, StoreError> {
    let mut astray = Vec::new();
    for (key, expected) in sample {
        let found = reader.lookup(engine, *key)?;
        if found != Some(*expected) {
            astray.push((*expected, found));
        }
    }
    Ok(astray)
}

/// The batches' positions with their entries, in order.
pub(super) fn batch_ranges(books: &Books) -> Vec<(u64, u64, u64)> {
    let ranges = books.batches.iter();
    let mut ranges: Vec<_> = ranges
        .map(|(entry, batch)| (batch.first, batch.end(), *entry))
        .collect();
    ranges.sort_unstable();
    ranges
}

/// The positions of batches that are still being signed.
pub(super) fn reserved_ranges(engine: &dyn Engine) -> Result<Vec<(u64, u64)>, crate::node::NodeError> {
    let left = left_reservations(engine)?;
    let range = |left: &Reservation| {
        let first = left.batch.first.0;
        (first, first.saturating_add(u64::from(left.batch.count)))
    };
    Ok(left.iter().map(range).collect())
}

fn is_reserved(reserved: &[(u64, u64)], from: u64, to: u64) -> bool {
    let mut next = from;
    for (first, end) in reserved {
        if *first <= next {
            next = next.max(*end);
        }
    }
    next >= to
}

/// By list, how many coupons that were never redeemed carry a status of their
/// whole batch or campaign.
fn expected_unnamed(ranges: &[(u64, u64, u64)], books: &Books) -> BTreeMap<u32, u64> {
    let nameless = CouponName {
        list: u32::MAX,
        index: 0,
    };
    let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
    if books.latest_wide_change().is_none() {
        return expected;
    }
    for &(first, end, entry) in ranges {
        if books.flags(nameless, entry) == StatusFlags::default() {
            continue;
        }
        let mut from = first;
        while from < end {
            let list = Position(from).list();
            let list_end = (u64::from(list) + 1).saturating_mul(u64::from(limits::STATUS_LIST_LEN));
            let to = end.min(list_end).max(from + 1);
            *expected.entry(list).or_default() += to - from;
            from = to;
        }
    }
    for (name, coupon) in &books.coupons {
        if books.flags(nameless, coupon.batch) != StatusFlags::default()
            && let Some(count) = expected.get_mut(&name.list)
        {
            *count = count.saturating_sub(1);
        }
    }
    expected
}

fn words(byte: u8) -> String {
    let flags = StatusFlags::from_byte(byte);
    let named = [
        (flags.revoked, "revoked"),
        (flags.suspended, "suspended"),
        (flags.used_up, "used up"),
    ];
    let words: Vec<&str> = named
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, word)| *word)
        .collect();
    if words.is_empty() {
        "valid".to_owned()
    } else {
        words.join(" and ")
    }
}
