//! What an audit counts, for people.

use std::collections::BTreeMap;
use std::io;

use crate::ledger::{Event, Genesis, Recorded};
use crate::primitives::{Amount, CampaignId, Digest, UnixSeconds, limits};

use super::books::Books;
use super::receipts::Totals;
use super::saved::{In, Keep, Out, keep};

/// What happened under one campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignTotal {
    /// Its name.
    pub name: String,
    /// Letters of its currency.
    pub currency: &'static str,
    /// Coupons issued.
    pub issued: u64,
    /// Redemptions made.
    pub redemptions: u64,
    /// Benefits granted, less reversals.
    pub spent: Amount,
}

/// What an audit has read and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The co-op's name, from entry 0.
    pub name: String,
    /// The node's base URL, from entry 0.
    pub base_url: String,
    /// Index after the last entry that could be read.
    pub size: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Entries that could be read but make no sense.
    pub undecodable: u64,
    /// Every entry up to `size` was there and made sense.
    pub whole: bool,
    /// Root of the Merkle tree over the entries; `None` where some are missing.
    pub root: Option<Digest>,
    /// Time of the first entry.
    pub first_time: Option<UnixSeconds>,
    /// Time of the last entry.
    pub last_time: Option<UnixSeconds>,
    /// Entries by kind, under the kind's word.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Coupons issued.
    pub coupons: u64,
    /// Coupons redeemed at least once.
    pub coupons_redeemed: u64,
    /// Campaigns by identity.
    pub campaigns: BTreeMap<CampaignId, CampaignTotal>,
    /// Receipts by register, currency and type.
    pub receipts: Totals,
    /// Redemptions by the co-op (`did:web`) that made them.
    pub partners: BTreeMap<String, u64>,
    /// Receipts erased, by day (UTC, days since 1970) and reason.
    pub erasures: BTreeMap<(u64, String), u64>,
    /// What happened on each day (UTC, days since 1970), by the time that counts.
    pub days: BTreeMap<u64, DayTotal>,
}

/// What happened on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayTotal {
    /// Receipts.
    pub receipts: u64,
    /// Redemptions.
    pub redemptions: u64,
}

const DAY_SECONDS: u64 = 86_400;

/// The words that [`kind_word`] gives.
const KIND_WORDS: [&str; 9] = [
    "genesis",
    "campaign",
    "batch",
    "receipt",
    "redemption",
    "reversal",
    "status_change",
    "status_list",
    "erasure",
];

keep!(DayTotal {
    receipts,
    redemptions,
});

/// What [`Summary::close`] and the end of an audit fill in is empty until then.
impl Keep for Summary {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        let kinds = self
            .kinds
            .iter()
            .map(|(word, count)| ((*word).to_owned(), *count));
        kinds.collect::<BTreeMap<String, u64>>().write(out)?;
        self.name.write(out)?;
        self.base_url.write(out)?;
        self.size.write(out)?;
        self.unreadable.write(out)?;
        self.undecodable.write(out)?;
        self.first_time.write(out)?;
        self.last_time.write(out)?;
        self.coupons.write(out)?;
        self.receipts.write(out)?;
        self.partners.write(out)?;
        self.erasures.write(out)?;
        self.days.write(out)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let mut kinds = BTreeMap::new();
        for (word, count) in BTreeMap::<String, u64>::read(from)? {
            let known = KIND_WORDS.iter().find(|known| **known == word);
            kinds.insert(*known.ok_or("it counts entries of an unknown kind")?, count);
        }
        Ok(Self {
            kinds,
            name: Keep::read(from)?,
            base_url: Keep::read(from)?,
            size: Keep::read(from)?,
            unreadable: Keep::read(from)?,
            undecodable: Keep::read(from)?,
            first_time: Keep::read(from)?,
            last_time: Keep::read(from)?,
            coupons: Keep::read(from)?,
            receipts: Keep::read(from)?,
            partners: Keep::read(from)?,
            erasures: Keep::read(from)?,
            days: Keep::read(from)?,
            ..Self::default()
        })
    }
}

impl Summary {
    pub(super) fn genesis(&mut self, genesis: &Genesis) {
        self.name.clone_from(&genesis.name);
        self.base_url.clone_from(&genesis.base_url);
    }

    pub(super) fn time(&mut self, time: UnixSeconds) {
        self.first_time.get_or_insert(time);
        self.last_time = Some(time);
    }

    pub(super) fn count(&mut self, recorded: &Recorded) {
        *self.kinds.entry(kind_word(&recorded.event)).or_default() += 1;
        if let Event::BatchIssued(batch) = &recorded.event {
            self.coupons = self.coupons.saturating_add(u64::from(batch.count));
        }
        if let Event::Redeemed(redeemed) = &recorded.event
            && (self.partners.contains_key(&redeemed.redeemer)
                || self.partners.len() < limits::AUDIT_PARTNERS_MAX)
        {
            *self.partners.entry(redeemed.redeemer.clone()).or_default() += 1;
        }
        if let Event::ReceiptErased(erased) = &recorded.event {
            let told = (recorded.time.0 / DAY_SECONDS, erased.reason.clone());
            // Every request has a reason of its own, and there may be millions.
            if self.erasures.contains_key(&told) || self.erasures.len() < limits::AUDIT_ERASURES_MAX {
                *self.erasures.entry(told).or_default() += 1;
            }
        }
        let at = recorded.event.at().unwrap_or(recorded.time);
        let counts: fn(&mut DayTotal) -> &mut u64 = match recorded.event {
            Event::ReceiptIssued(_) => |day| &mut day.receipts,
            Event::Redeemed(_) => |day| &mut day.redemptions,
            _ => return,
        };
        let day = at.0 / DAY_SECONDS;
        // A tampered log may name any day: what is kept of them is bounded.
        if self.days.contains_key(&day) || self.days.len() < limits::AUDIT_DAYS_MAX {
            *counts(self.days.entry(day).or_default()) += 1;
        }
    }

    pub(super) fn close(&mut self, books: &Books) {
        self.coupons_redeemed = books.coupons.len() as u64;
        for (id, campaign) in &books.state.campaigns {
            let total = CampaignTotal {
                name: campaign.terms.name.clone(),
                currency: campaign.terms.currency.letters(),
                issued: campaign.issued,
                redemptions: campaign.redemptions,
                spent: campaign.spent,
            };
            self.campaigns.insert(*id, total);
        }
    }

    /// Entries of the kind with that word.
    #[must_use]
    pub fn kind(&self, word: &str) -> u64 {
        self.kinds.get(word).copied().unwrap_or(0)
    }
}

fn kind_word(event: &Event) -> &'static str {
    match event {
        Event::Genesis(_) => "genesis",
        Event::CampaignSigned(_) => "campaign",
        Event::BatchIssued(_) => "batch",
        Event::ReceiptIssued(_) => "receipt",
        Event::Redeemed(_) => "redemption",
        Event::Reversed(_) => "reversal",
        Event::StatusSet(_) => "status_change",
        Event::StatusListSigned(_) => "status_list",
        Event::ReceiptErased(_) => "erasure",
        Event::Intent(_) => "intent",
        Event::RedeemerHalf(_) => "redeemer_half",
        Event::IntentEnded(_) => "intent_ended",
        Event::CancelWished(_) => "cancel_wished",
        Event::RequestCancelled(_) => "request_cancelled",
        Event::CredentialKeyAdded(_) => "credential_key",
    }
}
