//! Coupons and registers, replayed from the entries alone: what each entry
//! claims is decided again by the ledger's own rules.

use std::collections::{BTreeMap, HashMap};

use crate::credential::{Campaign, PublicKey, Signed};
use crate::ledger::{
    Basket, BatchIssued, BatchOrder, CampaignDraft, CampaignSigned, CouponState, NewStatus, Presented,
    ReceiptIssued, Recorded, Redeemed, RedemptionOrder, RedemptionState, Refusal, ReversalOrder, Reversed,
    State, StatusFlags, StatusListSigned, StatusSet, StatusTarget, TakenBy,
};
use crate::node::answers::EntryRef;
use crate::node::open::{campaign_state, view_of};
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, Position, RedemptionId, Register, Tag, UnixSeconds, limits,
};

use super::finding::{Findings, Rule};
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
    uses: u32,
    spent: Amount,
    last: Digest,
    last_use: u64,
    used_up: bool,
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
}

/// Changes of status of one coupon, batch or campaign: the latest of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    revoked: Option<u64>,
    suspended: Option<(u64, bool)>,
}

impl Changes {
    fn note(&mut self, index: u64, status: NewStatus) {
        match status {
            NewStatus::Revoked => self.revoked = Some(index),
            NewStatus::Suspended => self.suspended = Some((index, true)),
            NewStatus::Valid => self.suspended = Some((index, false)),
        }
    }

    fn latest(&self) -> Option<u64> {
        self.revoked.max(self.suspended.map(|(index, _)| index))
    }
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
    of_batches: HashMap<u64, Changes>,
    of_campaigns: HashMap<CampaignId, Changes>,
    /// Campaigns with the entry that last changed their flags.
    pub flags_changed: BTreeMap<CampaignId, u64>,
    /// Status lists with the entries that signed them: list, iat and entry.
    pub lists: BTreeMap<u32, (UnixSeconds, u64)>,
    status_changes: u64,
    /// The latest batch that came into the world revoked or suspended.
    closed_batch: Option<u64>,
    /// Every entry so far was there and could be read.
    pub whole: bool,
    /// Registers whose numbers may have a gap because entries were missing.
    uncertain: bool,
    settled: std::collections::HashSet<Register>,
}

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
        key: Option<&PublicKey>,
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
        if key.is_some_and(|key| credential.kid() != key.kid() || credential.verify(key).is_err()) {
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
            self.state.apply(recorded, Some(state), &[]);
        }
    }

    pub fn batch(
        &mut self,
        recorded: &Recorded,
        batch: &BatchIssued,
        key: Option<&PublicKey>,
        findings: &mut Findings,
    ) {
        let index = recorded.index;
        if let Some(why) = self.against_terms(batch) {
            findings.at(index, Rule::BatchTerms, why);
        }
        if key.is_some_and(|key| key.kid() != batch.kid) {
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
        self.state.apply(recorded, None, &[]);
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
        self.hydrate(redeemed.name, redeemed.batch_entry, coupon.as_ref());
        let mut counted = redeemed.clone();
        if self.whole {
            if let Some(batch) = self.batches.get(&redeemed.batch_entry).cloned() {
                let decided = self.decide_again(recorded, redeemed, &batch);
                judge_redemption(index, redeemed, coupon.as_ref(), decided, &mut counted, findings);
            }
        }
        let mut truth = recorded.clone();
        truth.event = crate::ledger::Event::Redeemed(counted.clone());
        self.state.apply(&truth, None, &[]);
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
            register: redeemed.register.clone(),
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
        self.state.apply(&truth, None, &[]);
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
            register: nowhere(),
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
                register: nowhere(),
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

    /// What the log's changes of status make of a coupon; used up is not in it.
    pub fn flags(&self, name: CouponName, batch: u64) -> StatusFlags {
        let named = self.named.get(&name).copied().unwrap_or_default();
        let of_batch = self.of_batches.get(&batch).copied().unwrap_or_default();
        let campaign = self.batches.get(&batch).map(|batch| batch.campaign);
        let of_campaign = campaign.and_then(|id| self.of_campaigns.get(&id)).copied();
        // A campaign's status goes to the coupons that are there, and to those
        // of a batch that was still being signed.
        let of_campaign = of_campaign.unwrap_or_default();
        let all = [named, of_batch, of_campaign];
        StatusFlags {
            revoked: all.iter().any(|changes| changes.revoked.is_some()),
            suspended: all
                .iter()
                .filter_map(|changes| changes.suspended)
                .max()
                .is_some_and(|(_, suspended)| suspended),
            used_up: false,
        }
    }

    /// A redeemed coupon's byte in a row of statuses, and the index of the
    /// latest entry that can have changed it.
    pub fn status_byte(&self, name: CouponName) -> Option<(u8, u64)> {
        let coupon = self.coupons.get(&name)?;
        let flags = StatusFlags {
            used_up: coupon.used_up,
            ..self.flags(name, coupon.batch)
        };
        let named = self.named.get(&name).and_then(Changes::latest);
        let latest = [named, self.latest_wide_change()].into_iter().flatten().max();
        Some((flags.to_byte(), coupon.touched.max(latest.unwrap_or(0))))
    }

    /// Index of the latest change of status of a whole batch or campaign.
    pub fn latest_wide_change(&self) -> Option<u64> {
        let batches = self.of_batches.values().filter_map(Changes::latest).max();
        let campaigns = self.of_campaigns.values().filter_map(Changes::latest).max();
        batches.max(campaigns).max(self.closed_batch)
    }

    pub fn status(&mut self, recorded: &Recorded, set: &StatusSet, findings: &mut Findings) {
        let index = recorded.index;
        let covered = match self.covered(set) {
            Ok(covered) => covered,
            Err(why) => {
                if self.whole {
                    findings.at(index, Rule::StatusTarget, why);
                }
                u64::MAX
            }
        };
        let exact = self.changed_exactly(set, covered);
        if set.changed > covered || exact.is_some_and(|exact| self.whole && exact != set.changed) {
            findings.at(
                index,
                Rule::StatusCount,
                format!(
                    "it says that {} coupons changed; {} did",
                    set.changed,
                    exact.map_or(format!("at most {covered}"), |exact| exact.to_string())
                ),
            );
        }
        self.status_changes += 1;
        let changes = match set.target {
            StatusTarget::Coupon(name) => self.named.entry(name).or_default(),
            StatusTarget::Batch(entry) => self.of_batches.entry(entry).or_default(),
            StatusTarget::Campaign(id) => {
                self.flags_changed.insert(id, index);
                self.of_campaigns.entry(id).or_default()
            }
        };
        changes.note(index, set.status);
        self.state.apply(recorded, None, &[]);
    }

    /// How many coupons the target covers; why it cannot be one.
    fn covered(&self, set: &StatusSet) -> Result<u64, String> {
        let taken_back = "it takes back a revocation, which is for good";
        match set.target {
            StatusTarget::Coupon(name) => {
                let revoked = match self.coupons.get(&name) {
                    Some(coupon) => self.flags(name, coupon.batch).revoked,
                    None => self
                        .named
                        .get(&name)
                        .is_some_and(|changes| changes.revoked.is_some()),
                };
                let lists = self
                    .state
                    .next_position
                    .0
                    .div_ceil(u64::from(limits::STATUS_LIST_LEN));
                if u64::from(name.list) >= lists {
                    return Err(format!(
                        "coupon {name} was never issued: there is no list of that number"
                    ));
                }
                if revoked && set.status != NewStatus::Revoked {
                    return Err(format!("coupon {name}: {taken_back}"));
                }
                Ok(1)
            }
            StatusTarget::Batch(entry) => match self.batches.get(&entry) {
                Some(batch) => Ok(u64::from(batch.count)),
                None => Err(format!("entry {entry} is no earlier batch's entry")),
            },
            StatusTarget::Campaign(id) => match self.state.campaigns.get(&id) {
                Some(campaign) if campaign.flags.revoked && set.status != NewStatus::Revoked => {
                    Err(format!("campaign {id}: {taken_back}"))
                }
                Some(campaign) => Ok(campaign.issued),
                None => Err(format!("no earlier entry signs the campaign {id}")),
            },
        }
    }

    /// How many coupons change, where that can be told without the secret that
    /// turns positions into names.
    fn changed_exactly(&self, set: &StatusSet, covered: u64) -> Option<u64> {
        if covered == u64::MAX {
            return None;
        }
        if self.status_changes == 0 {
            return Some(if set.status == NewStatus::Valid {
                0
            } else {
                covered
            });
        }
        let StatusTarget::Coupon(name) = set.target else {
            return None;
        };
        let flags = match self.coupons.get(&name) {
            Some(coupon) => self.flags(name, coupon.batch),
            None if self.of_batches.is_empty() && self.of_campaigns.is_empty() => self.flags(name, u64::MAX),
            None => return None,
        };
        Some(u64::from(flags.set(set.status) != flags))
    }

    pub fn list(&mut self, recorded: &Recorded, signed: &StatusListSigned, findings: &mut Findings) {
        let index = recorded.index;
        let list = signed.list;
        let mut note = |why: String| findings.at(index, Rule::StatusList, why);
        if let Some((last, entry)) = self.lists.get(&list)
            && signed.issued_at <= *last
        {
            note(format!(
                "status list {list} has the version {}, entry {entry} had {last} already",
                signed.issued_at
            ));
        }
        if signed.expires <= signed.issued_at {
            note(format!("status list {list} expires before it is issued"));
        }
        if signed.issued_at.distance(recorded.time) > limits::CLOCK_SKEW_SECONDS_MAX {
            note(format!(
                "status list {list} says that it was issued {} seconds away from its entry's time",
                signed.issued_at.distance(recorded.time)
            ));
        }
        self.lists.insert(list, (signed.issued_at, index));
        self.state.apply(recorded, None, &[]);
    }
}

/// The ledger asks for a register where an audit has none to tell.
fn nowhere() -> Register {
    Register::new("-").expect("one printable character")
}

fn judge_redemption(
    index: u64,
    redeemed: &Redeemed,
    coupon: Option<&Coupon>,
    decided: Result<Redeemed, Refusal>,
    counted: &mut Redeemed,
    findings: &mut Findings,
) {
    let name = redeemed.name;
    let (uses, spent, last) = coupon.map_or((0, Amount::ZERO, Digest::ZERO), |coupon| {
        (coupon.uses, coupon.spent, coupon.last)
    });
    counted.uses_after = uses.saturating_add(1);
    counted.spent_after = spent.plus(redeemed.amount).unwrap_or(spent);
    match decided {
        Ok(expected) => {
            counted.used_up = expected.used_up;
            if expected.issuer != redeemed.issuer || expected.redeemer != redeemed.redeemer {
                findings.at(
                    index,
                    Rule::RedeemedAgainstTerms,
                    format!(
                        "coupon {name} is said to be of {} and redeemed by {}; both are {}",
                        redeemed.issuer, redeemed.redeemer, expected.issuer
                    ),
                );
            }
        }
        Err(refusal) => {
            let (rule, why) = broken_rule(&refusal, uses);
            findings.at(index, rule, format!("coupon {name} was redeemed although {why}"));
        }
    }
    if redeemed.previous != last {
        findings.at(
            index,
            Rule::CouponChain,
            format!(
                "it does not name the latest earlier entry of coupon {name}: an entry was left out or doubled"
            ),
        );
    }
    for (what, said, true_value) in [
        (
            "uses",
            i64::from(redeemed.uses_after),
            i64::from(counted.uses_after),
        ),
        (
            "value spent",
            redeemed.spent_after.minor_units(),
            counted.spent_after.minor_units(),
        ),
        ("used up", i64::from(redeemed.used_up), i64::from(counted.used_up)),
    ] {
        if said != true_value {
            findings.at(
                index,
                Rule::CountWrong,
                format!(
                    "coupon {name}: the entry says {what} {said}, counting the entries gives {true_value}"
                ),
            );
        }
    }
}

fn broken_rule(refusal: &Refusal, uses: u32) -> (Rule, String) {
    let rule = match refusal {
        Refusal::CouponUsedUp(_) => {
            return (
                Rule::OverRedeemed,
                format!(
                    "nothing was left of it: it had been used {uses} times, as often or for as much as it allows"
                ),
            );
        }
        Refusal::CouponRevoked | Refusal::CouponSuspended | Refusal::CampaignClosed(_) => {
            Rule::RedeemedWhileRevoked
        }
        Refusal::CouponExpired(_) | Refusal::CouponNotYetValid(_) => Rule::RedeemedOutsideDates,
        Refusal::AmountDiffers { .. } | Refusal::AmountTooLarge { .. } | Refusal::NothingToRedeem => {
            Rule::BenefitWrong
        }
        Refusal::BudgetExhausted { .. } => Rule::BudgetOverspent,
        _ => Rule::RedeemedAgainstTerms,
    };
    (rule, refusal.to_string())
}

fn judge_reversal(
    index: u64,
    reversed: &Reversed,
    decided: Result<Reversed, Refusal>,
    counted: &mut Reversed,
    findings: &mut Findings,
) {
    let expected = match decided {
        Ok(expected) => expected,
        Err(refusal) => {
            return findings.at(
                index,
                Rule::ReversalRefused,
                format!(
                    "the redemption {} was reversed although {refusal}",
                    reversed.redemption
                ),
            );
        }
    };
    if expected.previous != reversed.previous {
        findings.at(
            index,
            Rule::CouponChain,
            format!(
                "it does not name the latest earlier entry of coupon {}: an entry was left out or doubled",
                expected.name
            ),
        );
    }
    let differs = [
        (
            "the entry of the redemption",
            expected.redemption_entry != reversed.redemption_entry,
        ),
        (
            "the entry of the coupon's latest redemption",
            expected.latest_redemption_entry != reversed.latest_redemption_entry,
        ),
        ("the coupon's tag", expected.tag != reversed.tag),
        ("the coupon's name", expected.name != reversed.name),
        ("the campaign", expected.campaign != reversed.campaign),
        ("the uses", expected.uses_after != reversed.uses_after),
        ("the value spent", expected.spent_after != reversed.spent_after),
        (
            "how much is reversed",
            expected.reversed_after != reversed.reversed_after,
        ),
        ("whether it is used up", expected.used_up != reversed.used_up),
    ];
    let wrong: Vec<&str> = differs
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(what, _)| *what)
        .collect();
    if !wrong.is_empty() {
        findings.at(
            index,
            Rule::ReversalWrong,
            format!(
                "the reversal of {} is wrong about {}",
                reversed.redemption,
                wrong.join(", ")
            ),
        );
    }
    counted.uses_after = expected.uses_after;
    counted.spent_after = expected.spent_after;
    counted.reversed_after = expected.reversed_after;
    counted.used_up = expected.used_up;
}
