//! Coupons and registers, replayed from the entries alone: what each entry
//! claims is decided again by the ledger's own rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::credential::{Campaign, Signed};
use crate::ledger::{
    Asked, Basket, BatchIssued, BatchOrder, CampaignDraft, CampaignSigned, CouponState, Place, Presented,
    ReceiptIssued, Recorded, Redeemed, RedemptionOrder, RedemptionState, Refusal, ReversalOrder, Reversed,
    State, StatusFlags, TakenBy,
};
use crate::node::answers::EntryRef;
use crate::node::open::{campaign_state, view_of};
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, Position, RedemptionId, Register, Tag, UnixSeconds, limits,
};

use super::finding::{Findings, Rule};
use super::halves::Halves;
use super::judge::{judge_redemption, judge_reversal};
use super::keys::SignedBy;
use super::saved::keep;
use super::statuses::Changes;
use super::tags::TagReader;

/// A batch as its entry has it.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub campaign: CampaignId,
    pub first: u64,
    pub count: u32,
    amount: Option<Amount>,
    not_before: Option<UnixSeconds>,
    not_after: UnixSeconds,
}

impl Batch {
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }
}

/// A coupon that was redeemed: 112 bytes with its place in the table.
#[derive(Clone, Debug)]
pub(super) struct Coupon {
    position: u64,
    pub batch: u64,
    tag: Tag,
    pub uses: u32,
    pub spent: Amount,
    /// Hash of its latest entry.
    pub last: Digest,
    last_use: u64,
    pub used_up: bool,
    /// Index of its latest entry.
    pub touched: u64,
}

/// A redemption, for what may be reversed of it.
#[derive(Clone, Debug)]
struct Redemption {
    entry: u64,
    batch: u64,
    name: CouponName,
    at: UnixSeconds,
    amount: Amount,
    reversed: Amount,
    /// The partner that made it, if it was one.
    partner: Option<Arc<str>>,
}

/// What the log says, as far as it has been read.
#[derive(Default)]
pub(super) struct Books {
    pub state: State,
    pub batches: HashMap<u64, Batch>,
    pub coupons: HashMap<CouponName, Coupon>,
    positions: HashMap<u64, CouponName>,
    redemptions: HashMap<RedemptionId, Redemption>,
    reversals: HashMap<RedemptionId, u64>,
    pub named: HashMap<CouponName, Changes>,
    pub of_batches: HashMap<u64, Changes>,
    pub of_campaigns: HashMap<CampaignId, Changes>,
    /// Campaigns with the entry that last changed their flags.
    pub flags_changed: BTreeMap<CampaignId, u64>,
    /// Status lists with the entries that signed them: list, iat and entry.
    pub lists: BTreeMap<u32, (UnixSeconds, u64)>,
    pub status_changes: u64,
    /// The latest batch that came into the world revoked or suspended.
    pub closed_batch: Option<u64>,
    /// Every entry so far was there and could be read.
    pub whole: bool,
    /// Registers whose numbers may have a gap because entries were missing.
    uncertain: bool,
    settled: std::collections::HashSet<Register>,
    /// Redemptions at partners, and their requests.
    pub halves: Halves,
}

keep!(Batch {
    campaign,
    first,
    count,
    amount,
    not_before,
    not_after,
});
keep!(Coupon {
    position,
    batch,
    tag,
    uses,
    spent,
    last,
    last_use,
    used_up,
    touched,
});
keep!(Redemption {
    entry,
    batch,
    name,
    at,
    amount,
    reversed,
    partner,
});
keep!(Books {
    state,
    batches,
    coupons,
    positions,
    redemptions,
    reversals,
    named,
    of_batches,
    of_campaigns,
    flags_changed,
    lists,
    status_changes,
    closed_batch,
    whole,
    uncertain,
    settled,
    halves,
});

impl Books {
    pub fn new(did: String) -> Self {
        Self {
            state: State {
                did,
                ..State::default()
            },
            whole: true,
            ..Self::default()
        }
    }

    /// Entries are missing from here on: what they would explain is not held
    /// against those that follow.
    pub fn gap(&mut self) {
        self.whole = false;
        self.uncertain = true;
        self.settled.clear();
    }

    pub fn receipt(&mut self, recorded: &Recorded, receipt: &ReceiptIssued, findings: &mut Findings) {
        let register = self.state.registers.entry(receipt.register.clone()).or_default();
        let last = register.last_sequence_number;
        let number = receipt.sequence_number;
        let follows = last.checked_add(1) == Some(number);
        let explained = self.uncertain && number > last && !self.settled.contains(&receipt.register);
        if !follows && !explained {
            let why = if number > last {
                format!(
                    "register {}: number {number} comes after number {last}, {} are missing",
                    receipt.register,
                    number - last - 1
                )
            } else {
                format!(
                    "register {}: number {number} comes after number {last}, so it was given out twice",
                    receipt.register
                )
            };
            findings.at(recorded.index, Rule::SequenceNumber, why);
        }
        register.last_sequence_number = number.max(last);
        register.as_of = recorded.index + 1;
        if self.uncertain {
            self.settled.insert(receipt.register.clone());
        }
    }

    pub fn campaign(
        &mut self,
        recorded: &Recorded,
        signed: &CampaignSigned,
        by: SignedBy<'_>,
        findings: &mut Findings,
    ) {
        let index = recorded.index;
        let mut note = |rule, message: String| findings.at(index, rule, message);
        let credential = match Signed::<Campaign>::parse(&signed.credential) {
            Ok(credential) => credential,
            Err(error) => {
                return note(
                    Rule::CampaignSignature,
                    format!("the campaign cannot be read: {error}"),
                );
            }
        };
        if credential.id() != signed.id {
            note(
                Rule::CampaignIdentity,
                format!(
                    "the entry names the campaign {}, what is signed is the campaign {}",
                    signed.id,
                    credential.id()
                ),
            );
        }
        if by.refuses(credential.kid(), |key| credential.verify(key).is_ok()) {
            note(
                Rule::CampaignSignature,
                format!(
                    "the campaign {} is not signed by this log's credential key",
                    signed.id
                ),
            );
        }
        let campaign = credential.content();
        let draft = CampaignDraft {
            terms: campaign.terms.clone(),
            not_before: campaign.not_before,
            not_after: campaign.not_after,
        };
        if let Err(refusal) = draft.check() {
            note(Rule::CampaignTerms, format!("campaign {}: {refusal}", signed.id));
        }
        if self.state.campaigns.contains_key(&signed.id) {
            return note(
                Rule::CampaignRepeated,
                format!("the campaign {} was signed before", signed.id),
            );
        }
        let entry = EntryRef {
            index,
            hash: recorded.hash,
        };
        if let Ok(view) = view_of(&signed.credential, entry) {
            let state = campaign_state(&view, index);
            self.state.apply(recorded, Some(state));
        }
    }

    pub fn batch(
        &mut self,
        recorded: &Recorded,
        batch: &BatchIssued,
        by: SignedBy<'_>,
        findings: &mut Findings,
    ) {
        let index = recorded.index;
        if let Some(why) = self.against_terms(batch) {
            findings.at(index, Rule::BatchTerms, why);
        }
        // What it has signed are its coupons, and of them only tags are kept.
        if by.refuses(batch.kid, |_| true) {
            findings.at(
                index,
                Rule::BatchKey,
                format!(
                    "the batch's coupons are signed under the key {}, which is not this log's",
                    batch.kid
                ),
            );
        }
        if batch.first.0.checked_add(u64::from(batch.count)).is_none() {
            return findings.at(
                index,
                Rule::BatchTerms,
                "the batch's positions run past the largest number",
            );
        }
        self.batches.insert(
            index,
            Batch {
                campaign: batch.campaign,
                first: batch.first.0,
                count: batch.count,
                amount: batch.amount,
                not_before: batch.not_before,
                not_after: batch.not_after,
            },
        );
        let flags = self
            .state
            .campaigns
            .get(&batch.campaign)
            .map(|campaign| campaign.flags);
        if flags.is_some_and(|flags| flags.revoked || flags.suspended) {
            self.closed_batch = Some(index);
        }
        self.state.apply(recorded, None);
    }

    /// Why the batch does not fit its campaign. Whether the campaign was still
    /// open is not asked: its positions were reserved before, perhaps long
    /// before its entry.
    fn against_terms(&self, batch: &BatchIssued) -> Option<String> {
        let Some(campaign) = self.state.campaigns.get(&batch.campaign) else {
            let unknown = format!(
                "the batch belongs to the campaign {}, which no earlier entry signs",
                batch.campaign
            );
            return self.whole.then_some(unknown);
        };
        let mut open = campaign.clone();
        open.flags = StatusFlags::default();
        let scratch = State {
            campaigns: BTreeMap::from([(batch.campaign, open)]),
            ..State::default()
        };
        let order = BatchOrder {
            campaign: batch.campaign,
            count: batch.count,
            amount: batch.amount,
            not_before: batch.not_before,
            not_after: Some(batch.not_after),
        };
        let refusal = scratch.decide_batch(&order, UnixSeconds(0)).err()?;
        Some(format!("campaign {}: {refusal}", batch.campaign))
    }

    /// An entry about a redemption at a partner, or of a request for one.
    pub fn partner(&mut self, recorded: &Recorded, findings: &mut Findings) {
        let known = &self.redemptions;
        let is_known = |id| known.contains_key(&id);
        self.halves.record(recorded, self.whole, is_known, findings);
        self.state.apply(recorded, None);
    }

    pub fn redeemed(
        &mut self,
        recorded: &Recorded,
        redeemed: &Redeemed,
        tags: &mut TagReader<'_>,
        findings: &mut Findings,
    ) {
        let index = recorded.index;
        let position = self.place(index, redeemed, tags, findings);
        let coupon = self.coupons.get(&redeemed.name).cloned();
        if self.redemptions.contains_key(&redeemed.id) || self.reversals.contains_key(&redeemed.id) {
            findings.at(
                index,
                Rule::IdentityRepeated,
                format!("the identity {} was used before", redeemed.id),
            );
        }
        self.halves.served(recorded, findings);
        self.hydrate(redeemed.name, redeemed.batch_entry, coupon.as_ref());
        let mut counted = redeemed.clone();
        if self.whole
            && let Some(batch) = self.batches.get(&redeemed.batch_entry)
        {
            let decided = self.decide_again(recorded, redeemed, batch);
            judge_redemption(index, redeemed, coupon.as_ref(), decided, &mut counted, findings);
        }
        let mut truth = recorded.clone();
        truth.event = crate::ledger::Event::Redeemed(counted.clone());
        self.state.apply(&truth, None);
        self.forget(redeemed.name);
        let row = Coupon {
            position: position.unwrap_or(u64::MAX),
            batch: redeemed.batch_entry,
            tag: redeemed.tag,
            uses: counted.uses_after,
            spent: counted.spent_after,
            last: recorded.hash,
            last_use: index,
            used_up: counted.used_up,
            touched: index,
        };
        if let Some(position) = position {
            self.positions.entry(position).or_insert(redeemed.name);
        }
        self.coupons.insert(redeemed.name, row);
        self.redemptions.entry(redeemed.id).or_insert(Redemption {
            entry: index,
            batch: redeemed.batch_entry,
            name: redeemed.name,
            at: redeemed.at.unwrap_or(recorded.time),
            amount: redeemed.amount,
            reversed: Amount::ZERO,
            partner: match redeemed.place {
                Place::Register(_) => None,
                Place::Partner { .. } => Some(self.halves.partner(&redeemed.redeemer)),
            },
        });
    }

    /// Checks that the coupon was issued, under this tag and name; its position.
    fn place(
        &self,
        index: u64,
        redeemed: &Redeemed,
        tags: &mut TagReader<'_>,
        findings: &mut Findings,
    ) -> Option<u64> {
        let name = redeemed.name;
        let Some(batch) = self.batches.get(&redeemed.batch_entry) else {
            if self.whole {
                findings.at(
                    index,
                    Rule::CouponNotIssued,
                    format!(
                        "coupon {name} was redeemed, but entry {}, which is named as its batch, is no earlier \
                         batch's entry",
                        redeemed.batch_entry
                    ),
                );
            }
            return None;
        };
        if redeemed.leaf >= batch.count {
            findings.at(
                index,
                Rule::CouponNotIssued,
                format!(
                    "coupon {name} is said to be number {} of a batch of {}",
                    redeemed.leaf, batch.count
                ),
            );
            return None;
        }
        if redeemed.campaign != batch.campaign {
            findings.at(
                index,
                Rule::RedeemedAgainstTerms,
                format!(
                    "coupon {name} was redeemed under the campaign {}, its batch belongs to {}",
                    redeemed.campaign, batch.campaign
                ),
            );
        }
        let position = batch.first + u64::from(redeemed.leaf);
        if tags.at(position).is_some_and(|tag| tag != redeemed.tag) {
            findings.at(
                index,
                Rule::CouponTag,
                format!("the tag of coupon {name} is not the one that was issued at its place in the batch"),
            );
        }
        let other = self.positions.get(&position).filter(|known| **known != name);
        let elsewhere = self
            .coupons
            .get(&name)
            .filter(|known| known.position != position && known.position != u64::MAX);
        if Position(position).list() != name.list || other.is_some() || elsewhere.is_some() {
            findings.at(
                index,
                Rule::CouponName,
                format!(
                    "the coupon at place {} of the batch in entry {} cannot be called {name}: list or index belong \
                     to another coupon",
                    redeemed.leaf, redeemed.batch_entry
                ),
            );
        }
        Some(position)
    }

    fn decide_again(
        &self,
        recorded: &Recorded,
        redeemed: &Redeemed,
        batch: &Batch,
    ) -> Result<Redeemed, Refusal> {
        let currency = self.state.campaign(&redeemed.campaign)?.terms.currency;
        let order = RedemptionOrder {
            id: redeemed.id,
            coupon: Presented {
                name: redeemed.name,
                tag: redeemed.tag,
                batch_entry: redeemed.batch_entry,
                leaf: redeemed.leaf,
                campaign: redeemed.campaign,
                amount: batch.amount,
                not_before: batch.not_before,
                not_after: batch.not_after,
            },
            asked: match &redeemed.place {
                Place::Register(register) => Asked::Here(register.clone()),
                Place::Partner { request_id } => Asked::By {
                    redeemer: redeemed.redeemer.clone(),
                    request_id: *request_id,
                },
            },
            basket: Basket {
                total: redeemed.basket_total,
                currency,
            },
            amount: Some(redeemed.amount),
            request: redeemed.request,
            at: redeemed.at,
        };
        self.state.decide_redemption(&order, recorded.time)
    }

    pub fn reversed(&mut self, recorded: &Recorded, reversed: &Reversed, findings: &mut Findings) {
        let index = recorded.index;
        if self.redemptions.contains_key(&reversed.id) || self.reversals.insert(reversed.id, index).is_some()
        {
            findings.at(
                index,
                Rule::IdentityRepeated,
                format!("the identity {} was used before", reversed.id),
            );
        }
        self.halves.served(recorded, findings);
        let coupon = self.coupons.get(&reversed.name).cloned();
        let mut counted = reversed.clone();
        match self.redemptions.get(&reversed.redemption).cloned() {
            None => {
                if self.whole {
                    findings.at(
                        index,
                        Rule::ReversalOfNothing,
                        format!(
                            "it reverses the redemption {}, which no earlier entry makes",
                            reversed.redemption
                        ),
                    );
                }
            }
            Some(redemption) => {
                let campaign = self.batches.get(&redemption.batch).map(|batch| batch.campaign);
                self.hydrate(redemption.name, redemption.batch, coupon.as_ref());
                self.state.redemptions.insert(
                    reversed.redemption,
                    self.redemption_state(&redemption, reversed, campaign),
                );
                if self.whole {
                    let decided = self.decide_reversal_again(recorded, reversed);
                    judge_reversal(index, reversed, decided, &mut counted, findings);
                }
            }
        }
        let mut truth = recorded.clone();
        truth.event = crate::ledger::Event::Reversed(counted.clone());
        self.state.apply(&truth, None);
        self.forget(reversed.name);
        self.state.redemptions.clear();
        if let Some(redemption) = self.redemptions.get_mut(&reversed.redemption) {
            redemption.reversed = counted.reversed_after;
        }
        if let Some(row) = self.coupons.get_mut(&reversed.name) {
            row.uses = counted.uses_after;
            row.spent = counted.spent_after;
            row.used_up = counted.used_up;
            row.last = recorded.hash;
            row.touched = index;
        }
    }

    fn redemption_state(
        &self,
        redemption: &Redemption,
        reversed: &Reversed,
        campaign: Option<CampaignId>,
    ) -> RedemptionState {
        RedemptionState {
            entry: redemption.entry,
            tag: self
                .coupons
                .get(&redemption.name)
                .map_or(reversed.tag, |coupon| coupon.tag),
            name: redemption.name,
            coupon_amount: self.batches.get(&redemption.batch).and_then(|batch| batch.amount),
            campaign: campaign.unwrap_or(reversed.campaign),
            redeemer: match &redemption.partner {
                Some(partner) => partner.to_string(),
                None => self.state.did.clone(),
            },
            place: nowhere(),
            at: redemption.at,
            amount: redemption.amount,
            reversed: redemption.reversed,
        }
    }

    fn decide_reversal_again(&self, recorded: &Recorded, reversed: &Reversed) -> Result<Reversed, Refusal> {
        let order = ReversalOrder {
            id: reversed.id,
            redemption: reversed.redemption,
            amount: Some(reversed.amount),
            give_back: reversed.give_back,
            at: reversed.at,
            partner: reversed.partner.clone(),
        };
        self.state.decide_reversal(&order, recorded.time)
    }

    /// Puts one coupon into the ledger's state, for one decision.
    fn hydrate(&mut self, name: CouponName, batch: u64, coupon: Option<&Coupon>) {
        let flags = StatusFlags {
            used_up: coupon.is_some_and(|coupon| coupon.used_up),
            ..self.flags(name, batch)
        };
        self.state.set_status(name, flags);
        if let Some(coupon) = coupon {
            let taken = TakenBy {
                redemption: RedemptionId([0; 16]),
                entry: coupon.last_use,
                at: UnixSeconds(0),
                redeemer: String::new(),
                place: nowhere(),
            };
            self.state.coupons.insert(
                name,
                CouponState {
                    uses: coupon.uses,
                    spent: coupon.spent,
                    last_entry: coupon.last,
                    last_use: Some(taken),
                },
            );
        }
    }

    fn forget(&mut self, name: CouponName) {
        self.state.coupons.clear();
        self.state.set_status(name, StatusFlags::default());
        // A log that names lists at will must not take up memory for each.
        if self.state.lists.len() > limits::AUDIT_LISTS_HELD_MAX {
            self.state.lists.clear();
        }
    }
}

/// The ledger asks for a place where an audit has none to tell.
fn nowhere() -> Place {
    Place::Partner {
        request_id: RedemptionId([0; 16]),
    }
}
