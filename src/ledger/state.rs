//! The state that decisions are taken against, and how events change it.

use std::collections::{BTreeMap, HashMap};

use crate::credential::Terms;
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, Position, RedemptionId, Register, Tag, UnixSeconds,
};

use super::event::{BatchIssued, Event, Recorded, Redeemed, Reversed};
use super::partner::Place;
use super::refusal::{Refusal, TakenBy};
use super::revocation::NewStatus;

/// Status flags of a coupon. What a status list says of it is computed:
/// revoked over suspended over used up over valid (protocol, section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusFlags {
    /// Revoked for good.
    pub revoked: bool,
    /// Suspended for the time being.
    pub suspended: bool,
    /// Nothing is left of it.
    pub used_up: bool,
}

impl StatusFlags {
    /// The flags after `status` was set. A revocation stays.
    #[must_use]
    pub fn set(self, status: NewStatus) -> Self {
        match status {
            NewStatus::Revoked => Self {
                revoked: true,
                ..self
            },
            NewStatus::Suspended => Self {
                suspended: true,
                ..self
            },
            NewStatus::Valid => Self {
                suspended: false,
                ..self
            },
        }
    }

    /// One byte: bit 0 revoked, bit 1 suspended, bit 2 used up.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        u8::from(self.revoked) | u8::from(self.suspended) << 1 | u8::from(self.used_up) << 2
    }

    /// The flags in such a byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        Self {
            revoked: byte & 1 != 0,
            suspended: byte & 2 != 0,
            used_up: byte & 4 != 0,
        }
    }
}

/// A campaign and what has been counted under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignState {
    /// Its terms.
    pub terms: Terms,
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// When its coupons become valid.
    pub not_before: UnixSeconds,
    /// When they expire.
    pub not_after: UnixSeconds,
    /// Index of its entry.
    pub entry: u64,
    /// Coupons issued under it.
    pub issued: u64,
    /// Redemptions made under it.
    pub redemptions: u64,
    /// Benefits granted, less reversals.
    pub spent: Amount,
    /// Revoked or suspended as a whole.
    pub flags: StatusFlags,
    /// The counters include every entry below this index.
    pub as_of: u64,
}

impl CampaignState {
    /// What is left of the budget; `None` where there is none.
    #[must_use]
    pub fn budget_left(&self) -> Option<Amount> {
        let budget = self.terms.budget?;
        Some(budget.minus(self.spent).unwrap_or(Amount::ZERO).max(Amount::ZERO))
    }

    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        match self.flags {
            StatusFlags { revoked: true, .. } => Err(Refusal::CampaignClosed("revoked")),
            StatusFlags { suspended: true, .. } => Err(Refusal::CampaignClosed("suspended")),
            _ => Ok(()),
        }
    }

    pub(super) fn check_enforced(&self) -> Result<(), Refusal> {
        let unsupported = self.terms.unsupported();
        if unsupported.is_empty() {
            Ok(())
        } else {
            Err(Refusal::TermsNotSupported(unsupported))
        }
    }
}

/// What has been counted of a coupon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CouponState {
    /// Uses made and not given back.
    pub uses: u32,
    /// Value spent and not given back.
    pub spent: Amount,
    /// Hash of its latest entry, zero before the first.
    pub last_entry: Digest,
    /// The latest redemption.
    pub last_use: Option<TakenBy>,
}

/// A redemption and what has been reversed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedemptionState {
    /// Index of its entry.
    pub entry: u64,
    /// The coupon's tag.
    pub tag: Tag,
    /// The coupon.
    pub name: CouponName,
    /// The coupon's own amount, if it has one.
    pub coupon_amount: Option<Amount>,
    /// The campaign.
    pub campaign: CampaignId,
    /// `did:web` of the co-op that made it.
    pub redeemer: String,
    /// Who asked for it.
    pub place: Place,
    /// The time that counts.
    pub at: UnixSeconds,
    /// The benefit granted.
    pub amount: Amount,
    /// How much of it is reversed.
    pub reversed: Amount,
}

/// A register and its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterState {
    /// Receipts issued there: the last sequence number.
    pub last_sequence_number: u64,
    /// The count includes every entry below this index.
    pub as_of: u64,
}

/// What the next decision needs to know.
///
/// Campaigns, registers and statuses are all here. Coupons and redemptions are
/// here only while they are being worked with: whoever holds the log puts them
/// in before a decision (from the coupon's latest entry) and takes them out
/// when memory is wanted. Absent means untouched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// `did:web` of this co-op.
    pub did: String,
    /// Campaigns by identity.
    pub campaigns: BTreeMap<CampaignId, CampaignState>,
    /// Registers by name.
    pub registers: BTreeMap<Register, RegisterState>,
    /// Status flags, a byte a coupon, by list and index.
    pub lists: BTreeMap<u32, Vec<u8>>,
    /// The `iat` of each list's newest token.
    pub list_versions: BTreeMap<u32, UnixSeconds>,
    /// The next free position.
    pub next_position: Position,
    /// Coupons at work.
    pub coupons: HashMap<CouponName, CouponState>,
    /// Redemptions at work.
    pub redemptions: HashMap<RedemptionId, RedemptionState>,
}

impl State {
    /// The campaign of that identity.
    ///
    /// # Errors
    /// [`Refusal::CampaignUnknown`].
    pub fn campaign(&self, id: &CampaignId) -> Result<&CampaignState, Refusal> {
        self.campaigns.get(id).ok_or(Refusal::CampaignUnknown)
    }

    /// What has been counted of a coupon.
    #[must_use]
    pub fn coupon(&self, name: CouponName) -> CouponState {
        self.coupons.get(&name).cloned().unwrap_or_default()
    }

    /// The status flags of a coupon.
    #[must_use]
    pub fn status(&self, name: CouponName) -> StatusFlags {
        let byte = self
            .lists
            .get(&name.list)
            .and_then(|list| list.get(name.index as usize));
        StatusFlags::from_byte(byte.copied().unwrap_or(0))
    }

    /// Sets the status flags of a coupon.
    pub fn set_status(&mut self, name: CouponName, flags: StatusFlags) {
        let list = self
            .lists
            .entry(name.list)
            .or_insert_with(|| vec![0; crate::primitives::limits::STATUS_LIST_LEN as usize]);
        if let Some(byte) = list.get_mut(name.index as usize) {
            *byte = flags.to_byte();
        }
    }

    /// The number that the next receipt at `register` gets.
    #[must_use]
    pub fn next_sequence_number(&self, register: &Register) -> u64 {
        self.registers
            .get(register)
            .map_or(1, |state| state.last_sequence_number + 1)
    }

    /// Applies one recorded event. `campaign` gives the terms of a campaign
    /// that was just signed. Coupons that the event covers without naming them
    /// are [`cover`](Self::cover)ed besides. Counters that already include the
    /// entry (`as_of` above its index) stay as they are, so that replay over a
    /// newer snapshot counts nothing twice.
    pub fn apply(&mut self, recorded: &Recorded, campaign: Option<CampaignState>) {
        let index = recorded.index;
        match &recorded.event {
            Event::Genesis(_)
            | Event::ReceiptErased(_)
            | Event::Intent(_)
            | Event::RedeemerHalf(_)
            | Event::IntentEnded(_)
            | Event::CancelWished(_)
            | Event::RequestCancelled(_)
            | Event::CredentialKeyAdded(_) => {}
            Event::CampaignSigned(signed) => {
                if let Some(campaign) = campaign {
                    self.campaigns.entry(signed.id).or_insert(campaign);
                }
            }
            Event::BatchIssued(batch) => self.apply_batch(index, batch),
            Event::ReceiptIssued(receipt) => {
                let register = self.registers.entry(receipt.register.clone()).or_default();
                if index >= register.as_of {
                    register.last_sequence_number = receipt.sequence_number;
                    register.as_of = index + 1;
                }
            }
            Event::Redeemed(redeemed) => self.apply_redeemed(recorded, redeemed),
            Event::Reversed(reversed) => self.apply_reversed(recorded, reversed),
            Event::StatusSet(set) => {
                if let super::event::StatusTarget::Campaign(id) = set.target
                    && let Some(campaign) = self.campaigns.get_mut(&id)
                {
                    campaign.flags = campaign.flags.set(set.status);
                }
            }
            Event::StatusListSigned(signed) => {
                self.list_versions.insert(signed.list, signed.issued_at);
            }
        }
    }

    /// Gives the coupons that `event` covers their status: those of a changed
    /// coupon, batch or campaign, and those of a batch whose campaign is revoked
    /// or suspended. They are visited once and not kept: there may be millions.
    pub fn cover(&mut self, event: &Event, coupons: impl IntoIterator<Item = CouponName>) {
        match event {
            Event::StatusSet(set) => {
                for name in coupons {
                    self.set_status(name, self.status(name).set(set.status));
                }
            }
            Event::BatchIssued(batch) => {
                let flags = self.campaigns.get(&batch.campaign).map(|campaign| campaign.flags);
                if let Some(flags) = flags.filter(|flags| *flags != StatusFlags::default()) {
                    for name in coupons {
                        self.set_status(name, flags);
                    }
                }
            }
            _ => {}
        }
    }

    fn apply_batch(&mut self, index: u64, batch: &BatchIssued) {
        let end = Position(batch.first.0 + u64::from(batch.count));
        self.next_position = self.next_position.max(end);
        self.count(index, batch.campaign, |campaign| {
            campaign.issued += u64::from(batch.count)
        });
    }

    fn apply_redeemed(&mut self, recorded: &Recorded, redeemed: &Redeemed) {
        let at = redeemed.at.unwrap_or(recorded.time);
        let taken = TakenBy {
            redemption: redeemed.id,
            entry: recorded.index,
            at,
            redeemer: redeemed.redeemer.clone(),
            place: redeemed.place.clone(),
        };
        self.coupons.insert(
            redeemed.name,
            CouponState {
                uses: redeemed.uses_after,
                spent: redeemed.spent_after,
                last_entry: recorded.hash,
                last_use: Some(taken),
            },
        );
        self.set_used_up(redeemed.name, redeemed.used_up);
        self.count(recorded.index, redeemed.campaign, |campaign| {
            campaign.redemptions += 1;
            campaign.spent = campaign.spent.plus(redeemed.amount).unwrap_or(campaign.spent);
        });
    }

    fn apply_reversed(&mut self, recorded: &Recorded, reversed: &Reversed) {
        let coupon = self.coupons.entry(reversed.name).or_default();
        coupon.uses = reversed.uses_after;
        coupon.spent = reversed.spent_after;
        coupon.last_entry = recorded.hash;
        if let Some(redemption) = self.redemptions.get_mut(&reversed.redemption) {
            redemption.reversed = reversed.reversed_after;
        }
        self.set_used_up(reversed.name, reversed.used_up);
        self.count(recorded.index, reversed.campaign, |campaign| {
            campaign.spent = campaign.spent.minus(reversed.amount).unwrap_or(campaign.spent);
        });
    }

    fn set_used_up(&mut self, name: CouponName, used_up: bool) {
        let flags = StatusFlags {
            used_up,
            ..self.status(name)
        };
        self.set_status(name, flags);
    }

    fn count(&mut self, index: u64, id: CampaignId, change: impl FnOnce(&mut CampaignState)) {
        if let Some(campaign) = self.campaigns.get_mut(&id)
            && index >= campaign.as_of
        {
            change(campaign);
            campaign.as_of = index + 1;
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
