//! The batch under way: what will become durable together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::ledger::{Event, Recorded};
use crate::primitives::{CampaignId, RedemptionId, limits};
use crate::store::Batch;

use super::commands::Reply;
use super::cosigned::CosignedHeads;
use super::witnessing::Held;

/// A batch of issued coupons as its row in the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchRow {
    pub first: u64,
    pub count: u32,
    pub entry: u64,
    pub campaign: CampaignId,
}

impl BatchRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(28);
        bytes.extend(self.entry.to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(self.campaign.0);
        bytes
    }

    pub fn decode(first: u64, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 28] = bytes.try_into().ok()?;
        Some(Self {
            first,
            entry: u64::from_be_bytes(bytes[..8].try_into().ok()?),
            count: u32::from_be_bytes(bytes[8..12].try_into().ok()?),
            campaign: CampaignId::from_slice(&bytes[12..])?,
        })
    }

    pub fn positions(&self) -> Range<u64> {
        self.first..self.first + u64::from(self.count)
    }

    pub fn holds(&self, position: u64) -> bool {
        position >= self.first && position - self.first < u64::from(self.count)
    }
}

/// Everything that the writer has decided since its last commit.
#[derive(Default)]
pub(super) struct Pending {
    /// Encoded entries with what they record, in order.
    pub entries: Vec<(Vec<u8>, Arc<Recorded>)>,
    /// Rows besides the entries.
    pub batch: Batch,
    /// Records beside entries, by entry index.
    pub beside: Vec<(u64, Vec<u8>)>,
    /// Records beside earlier entries, as they are from now on.
    pub changed_beside: BTreeMap<u64, Option<Vec<u8>>>,
    /// Bytes of entries and of records beside them.
    pub bytes: usize,
    /// Commands decided.
    pub commands: usize,
    /// Whether a checkpoint is due: more than intents has come, or nothing any more.
    pub is_due: bool,
    /// Who waits for what.
    pub replies: Vec<(oneshot::Sender<Reply>, Reply)>,
    /// Intents that this batch begins, changes or ends.
    pub intents: Vec<RedemptionId>,
    /// Batches issued in this batch.
    pub batches: Vec<BatchRow>,
    /// Campaigns signed in this batch.
    pub campaigns: Vec<CampaignId>,
    /// Status list tokens signed in this batch.
    pub lists: Vec<(u32, Vec<u8>)>,
    /// Other logs' checkpoints cosigned in this batch.
    pub witnessed: Vec<([u8; 16], Held)>,
    /// The highest version of the roster, where this batch brings it.
    pub roster: Option<u64>,
    /// Own checkpoints with cosignatures, where this batch changes them.
    pub cosigned: Option<CosignedHeads>,
}

impl Pending {
    /// The entry at `index`, if it is in this batch.
    pub fn entry(&self, index: u64) -> Option<&Recorded> {
        let first = self.entries.first()?.1.index;
        let at = usize::try_from(index.checked_sub(first)?).ok()?;
        self.entries.get(at).map(|(_, recorded)| recorded.as_ref())
    }

    /// Adds a record beside the entry at `index`.
    pub fn put_beside(&mut self, index: u64, record: Vec<u8>) {
        self.bytes += record.len();
        self.beside.push((index, record));
    }

    /// Replaces the record beside an earlier entry, in a row that is rewritten.
    pub fn replace_beside(&mut self, index: u64, record: Vec<u8>) {
        self.bytes += limits::DETAIL_ROW_BYTES_MAX;
        self.changed_beside.insert(index, Some(record));
    }

    /// True when it takes no further commands.
    pub fn is_full(&self) -> bool {
        self.commands >= limits::BATCH_COMMANDS_MAX || self.bytes >= limits::BATCH_BYTES_MAX
    }

    /// True when there is nothing to make durable.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.batch.is_empty() && self.beside.is_empty()
    }

    /// Whether a checkpoint has to cover it before it is answered: all but intents that
    /// have begun.
    pub fn needs_checkpoint(&self) -> bool {
        let is_more = |event: &Event| !matches!(event, Event::Intent(_));
        self.is_due || !self.lists.is_empty() || self.kinds().any(is_more)
    }

    /// The name of what an entry records, for metrics.
    pub fn kinds(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().map(|(_, recorded)| &recorded.event)
    }
}
