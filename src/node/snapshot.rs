//! Derived state in the store, so that opening reads only what follows the
//! last index checkpoint.
//!
//! A checkpoint writes the rows that changed since the last one, a few with
//! each commit, and counts once its last row (`derived("state")`, written in
//! the same batch as the index's manifest) is durable. Rows may so be newer
//! than the checkpoint that counts: counters say up to which entry they
//! include (`as_of`), everything else is set absolutely by its events, so
//! replay from the checkpoint on ends in the same state.
//!
//! A row that is lost would be taken for one that never was, and a register
//! would number its receipts from 1 again. The row `derived("rows")` therefore
//! counts the rows of each kind, and is written in the same batch as they are:
//! where it does not agree, everything is made anew from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError, as_int, as_tuple, int};
use crate::ledger::{CampaignState, Event, Recorded, RegisterState, State, StatusFlags, StatusTarget};
use crate::primitives::{Amount, CampaignId, CouponName, Position, Register, UnixSeconds, limits};
use crate::store::{Batch, Engine, StoreError, rows};

use super::NodeError;

/// Statuses in one row of the store.
const STATUS_ROW_LEN: usize = 4_096;

/// The name of the row that makes a checkpoint of derived state count.
const STATE: &[u8] = b"state";

/// The name of the row that counts the others.
const COUNTS: &[u8] = b"rows";

/// Rows that one batch of [`wipe`] removes: keys of some 50 bytes.
const WIPE_ROWS_MAX: usize = 1_024;

/// Which rows there are, which have changed, and which of them the checkpoint
/// under way has still to write.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    stored: Rows,
    changed: Rows,
    writing: Rows,
}

#[derive(Debug, Default)]
struct Rows {
    campaigns: BTreeSet<CampaignId>,
    registers: BTreeSet<Register>,
    statuses: BTreeSet<(u32, u16)>,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.campaigns.is_empty() && self.registers.is_empty() && self.statuses.is_empty()
    }

    /// `[campaigns, registers, rows of statuses]`.
    fn counts(&self) -> Vec<u8> {
        let counts = [self.campaigns.len(), self.registers.len(), self.statuses.len()];
        let counts = counts.map(|count| int(u64::try_from(count).expect("a length")));
        cbor::encode(&Value::Array(counts.to_vec()))
    }

    fn append(&mut self, mut other: Self) {
        self.campaigns.append(&mut other.campaigns);
        self.registers.append(&mut other.registers);
        self.statuses.append(&mut other.statuses);
    }
}

impl Snapshot {
    /// Notes which rows `recorded` changes, but for the statuses of coupons that
    /// it covers without naming them.
    pub fn touch(&mut self, recorded: &Recorded) {
        let changed = &mut self.changed;
        match &recorded.event {
            Event::Genesis(_)
            | Event::StatusListSigned(_)
            | Event::ReceiptErased(_)
            | Event::Intent(_)
            | Event::RedeemerHalf(_)
            | Event::IntentEnded(_)
            | Event::CancelWished(_)
            | Event::RequestCancelled(_)
            | Event::CredentialKeyAdded(_) => {}
            Event::CampaignSigned(signed) => {
                changed.campaigns.insert(signed.id);
            }
            Event::BatchIssued(batch) => {
                changed.campaigns.insert(batch.campaign);
            }
            Event::ReceiptIssued(receipt) => {
                if !changed.registers.contains(&receipt.register) {
                    changed.registers.insert(receipt.register.clone());
                }
            }
            Event::Redeemed(redeemed) => {
                changed.campaigns.insert(redeemed.campaign);
                changed.statuses.insert(status_row(redeemed.name));
            }
            Event::Reversed(reversed) => {
                changed.campaigns.insert(reversed.campaign);
                changed.statuses.insert(status_row(reversed.name));
            }
            Event::StatusSet(set) => {
                if let StatusTarget::Campaign(id) = set.target {
                    changed.campaigns.insert(id);
                }
            }
        }
    }

    /// Notes rows of statuses.
    pub fn touch_statuses(&mut self, rows: StatusRows) {
        for (list, marks) in rows.lists {
            let marked = (0..u32::BITS).filter(|row| marks >> row & 1 == 1);
            let rows = marked.map(|row| (list, u16::try_from(row).expect("32 rows a list")));
            self.changed.statuses.extend(rows);
        }
    }

    /// Begins to write out what has changed.
    pub fn begin(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        self.writing.append(changed);
    }

    /// True when nothing waits to be written.
    pub fn is_idle(&self) -> bool {
        self.writing.is_empty()
    }

    /// Adds at most `rows_max` rows as they stand with `size` entries, which
    /// `batch` commits together with the last of these entries. Says how many.
    pub fn step(&mut self, state: &State, size: u64, batch: &mut Batch, rows_max: usize) -> usize {
        let mut rows = 0;
        while rows < rows_max {
            if let Some((list, row)) = self.writing.statuses.pop_first() {
                let first = usize::from(row) * STATUS_ROW_LEN;
                if let Some(bytes) = state
                    .lists
                    .get(&list)
                    .and_then(|all| all.get(first..first + STATUS_ROW_LEN))
                {
                    batch.put(rows::status(u64::from(list), row), bytes);
                    self.stored.statuses.insert((list, row));
                }
            } else if let Some(id) = self.writing.campaigns.pop_first() {
                if let Some(campaign) = state.campaigns.get(&id) {
                    batch.put(rows::campaign(&id), cbor::encode(&campaign_value(campaign, size)));
                    self.stored.campaigns.insert(id);
                }
            } else if let Some(name) = self.writing.registers.pop_first() {
                if let Some(register) = state.registers.get(&name) {
                    let value = Value::Array(vec![int(register.last_sequence_number), int(size)]);
                    batch.put(rows::register(name.as_str()), cbor::encode(&value));
                    self.stored.registers.insert(name);
                }
            } else {
                break;
            }
            rows += 1;
        }
        if rows > 0 {
            batch.put(rows::derived(COUNTS), self.stored.counts());
        }
        rows
    }

    /// Adds the row that makes the checkpoint count.
    pub fn conclude(&self, state: &State, covers: u64, batch: &mut Batch) {
        let versions = state
            .list_versions
            .iter()
            .map(|(list, iat)| (int(*list), int(iat.0)));
        let value = Value::Array(vec![int(covers), int(state.next_position.0), cbor::map(versions)]);
        batch.put(rows::derived(STATE), cbor::encode(&value));
        // A log of which nothing is counted has a checkpoint, too.
        batch.put(rows::derived(COUNTS), self.stored.counts());
    }
}

/// Rows of statuses, a bit for each of a list's 32: millions of coupons are
/// marked in passing.
#[derive(Debug, Default)]
pub(super) struct StatusRows {
    lists: BTreeMap<u32, u32>,
    /// The list marked last, and its bits so far.
    last: Option<(u32, u32)>,
}

impl StatusRows {
    /// Marks the row of the coupon `name`.
    pub fn mark(&mut self, name: CouponName) {
        let (list, row) = status_row(name);
        let marks = match self.last {
            Some((of, marks)) if of == list => marks,
            _ => self.lists.get(&list).copied().unwrap_or(0),
        };
        let marked = marks | 1 << row;
        if marked != marks {
            self.lists.insert(list, marked);
        }
        self.last = Some((list, marked));
    }
}

const _: () = assert!(limits::STATUS_LIST_LEN as usize / STATUS_ROW_LEN == u32::BITS as usize);

fn status_row(name: CouponName) -> (u32, u16) {
    let row = name.index as usize / STATUS_ROW_LEN;
    (name.list, u16::try_from(row).expect("32 rows a list"))
}

/// `[entry, issued, redemptions, spent, flags, as of]`; terms and dates are in
/// the campaign's entry.
fn campaign_value(campaign: &CampaignState, size: u64) -> Value {
    Value::Array(vec![
        int(campaign.entry),
        int(campaign.issued),
        int(campaign.redemptions),
        int(campaign.spent.minor_units()),
        int(campaign.flags.to_byte()),
        int(size),
    ])
}

/// Counters of a campaign as its row has them.
pub(crate) struct CampaignRow {
    pub entry: u64,
    pub issued: u64,
    pub redemptions: u64,
    pub spent: Amount,
    pub flags: StatusFlags,
    pub as_of: u64,
}

/// Reads a campaign's row.
pub(crate) fn campaign_row(bytes: &[u8]) -> Result<CampaignRow, GateError> {
    let value = cbor::decode(bytes, limits::ENTRY_BYTES_MAX)?;
    let [entry, issued, redemptions, spent, flags, as_of] = as_tuple(&value, "6 items")?;
    Ok(CampaignRow {
        entry: as_int(entry, "entry")?,
        issued: as_int(issued, "issued")?,
        redemptions: as_int(redemptions, "redemptions")?,
        spent: Amount::new(as_int(spent, "spent")?).map_err(|_| GateError::Shape("spent"))?,
        flags: StatusFlags::from_byte(as_int(flags, "flags")?),
        as_of: as_int(as_of, "as of")?,
    })
}

/// Reads the derived state that the store holds into `state`, and says how
/// many entries it covers: 0 when there is none yet.
///
/// # Errors
/// [`NodeError::Inconsistent`] for a row that cannot be read, or is missing:
/// `state` is not to be used then.
pub(super) fn load(engine: &dyn Engine, state: &mut State) -> Result<(Snapshot, u64), NodeError> {
    let mut snapshot = Snapshot::default();
    let Some(row) = engine.get(&rows::derived(STATE))? else {
        // What the first checkpoint had written before it was cut off.
        wipe(engine)?;
        return Ok((snapshot, 0));
    };
    let covers = load_state_row(&row, state).map_err(|error| broken("the state row", &error))?;
    load_registers(engine, state)?;
    load_campaigns(engine, state)?;
    let stored = &mut snapshot.stored;
    stored.statuses = load_statuses(engine, state)?;
    stored.campaigns = state.campaigns.keys().copied().collect();
    stored.registers = state.registers.keys().cloned().collect();
    if engine.get(&rows::derived(COUNTS))? != Some(stored.counts()) {
        return Err(NodeError::Inconsistent(
            "derived state: rows are missing".to_owned(),
        ));
    }
    Ok((snapshot, covers))
}

/// Removes all rows of derived state, the one that makes them count first.
///
/// # Errors
/// Any error of the engine. Wiping again afterwards is safe.
pub(super) fn wipe(engine: &dyn Engine) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.remove(rows::derived(STATE));
    batch.remove(rows::derived(COUNTS));
    for prefix in [rows::REGISTER, rows::CAMPAIGN, rows::STATUS] {
        loop {
            let before = batch.writes.len();
            engine.scan(&[prefix], &[prefix], &mut |key, _| {
                batch.remove(key);
                if batch.writes.len() < WIPE_ROWS_MAX {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            if batch.writes.len() == before {
                break;
            }
            engine.commit(std::mem::take(&mut batch))?;
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    engine.commit(batch)
}

fn broken(what: &str, error: &dyn std::fmt::Display) -> NodeError {
    NodeError::Inconsistent(format!("derived state: {what} cannot be read: {error}"))
}

/// Reads the row that makes a checkpoint count: how many entries it covers.
pub(crate) fn load_state_row(row: &[u8], state: &mut State) -> Result<u64, GateError> {
    let value = cbor::decode(row, limits::STATUS_TOKEN_BYTES_MAX)?;
    let [covers, next_position, versions] = as_tuple(&value, "3 items")?;
    state.next_position = Position(as_int(next_position, "next position")?);
    for (list, version) in cbor::as_map(versions, "list versions")? {
        let version = UnixSeconds(as_int(version, "list version")?);
        state.list_versions.insert(as_int(list, "list")?, version);
    }
    as_int(covers, "covers")
}

/// Reads a register's row.
pub(crate) fn register_row(bytes: &[u8]) -> Result<RegisterState, GateError> {
    let value = cbor::decode(bytes, limits::ENTRY_BYTES_MAX)?;
    let [last, as_of] = as_tuple(&value, "2 items")?;
    Ok(RegisterState {
        last_sequence_number: as_int(last, "sequence number")?,
        as_of: as_int(as_of, "as of")?,
    })
}

fn load_registers(engine: &dyn Engine, state: &mut State) -> Result<(), NodeError> {
    each(engine, rows::REGISTER, |key, bytes| {
        let name = std::str::from_utf8(key)
            .ok()
            .and_then(|name| Register::new(name).ok());
        let register = register_row(bytes)?;
        state
            .registers
            .insert(name.ok_or(GateError::Shape("a register's name"))?, register);
        Ok(())
    })
    .map_err(|error| broken("a register", &error))
}

fn load_statuses(engine: &dyn Engine, state: &mut State) -> Result<BTreeSet<(u32, u16)>, NodeError> {
    let mut found = BTreeSet::new();
    each(engine, rows::STATUS, |key, bytes| {
        let what = GateError::Shape("a row of statuses");
        let (list, row) = key.split_at_checked(8).ok_or(what.clone())?;
        let list = u64::from_be_bytes(list.try_into().map_err(|_| what.clone())?);
        let row = u16::from_be_bytes(row.try_into().map_err(|_| what.clone())?);
        let list = u32::try_from(list).map_err(|_| what.clone())?;
        let all = state
            .lists
            .entry(list)
            .or_insert_with(|| vec![0; limits::STATUS_LIST_LEN as usize]);
        let first = usize::from(row) * STATUS_ROW_LEN;
        match all.get_mut(first..first + STATUS_ROW_LEN) {
            Some(place) if bytes.len() == STATUS_ROW_LEN => {
                place.copy_from_slice(bytes);
                found.insert((list, row));
                Ok(())
            }
            _ => Err(what),
        }
    })
    .map_err(|error| broken("statuses", &error))?;
    Ok(found)
}

fn load_campaigns(engine: &dyn Engine, state: &mut State) -> Result<(), NodeError> {
    let mut found = Vec::new();
    each(engine, rows::CAMPAIGN, |_, bytes| {
        found.push(campaign_row(bytes)?);
        Ok(())
    })
    .map_err(|error| broken("a campaign", &error))?;
    for row in found {
        let recorded = super::find::committed_entry(engine, row.entry)?;
        let Event::CampaignSigned(signed) = &recorded.event else {
            return Err(super::find::misplaced(row.entry, "a campaign's"));
        };
        let view = super::open::campaign_view(signed, &recorded)?;
        let mut campaign = super::open::campaign_state(&view, row.entry);
        campaign.issued = row.issued;
        campaign.redemptions = row.redemptions;
        campaign.spent = row.spent;
        campaign.flags = row.flags;
        campaign.as_of = row.as_of;
        state.campaigns.insert(signed.id, campaign);
    }
    Ok(())
}

/// Visits the rows of one prefix, the prefix cut off their keys.
fn each(
    engine: &dyn Engine,
    prefix: u8,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), GateError>,
) -> Result<(), NodeError> {
    let mut outcome = Ok(());
    engine.scan(&[prefix], &[prefix], &mut |key, value| {
        outcome = visit(&key[1..], value);
        if outcome.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    outcome.map_err(|error| NodeError::Inconsistent(error.to_string()))
}
