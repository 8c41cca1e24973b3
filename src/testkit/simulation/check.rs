//! What must hold in the end, whatever has happened.

use std::collections::{BTreeMap, BTreeSet};

use super::prepared::MEMBERS;
use super::till::{Asked, Final};
use super::world::{Life, World};
use crate::credential::{Benefit, Terms};
use crate::federation::redemption::{Knowledge, RedeemError, Status};
use crate::ledger::{End, Event, NewStatus, Place, StatusTarget, half_id};
use crate::log::Entry;
use crate::node::{EntryRef, IntentState};
use crate::primitives::{Amount, CampaignId, CouponName, Digest, RedemptionId};

/// An entry of a log, read.
pub struct Told {
    /// Where it is.
    pub at: EntryRef,
    /// What it says.
    pub event: Event,
}

/// A member's log.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn log_of(life: &Life) -> Vec<Told> {
    let read = |index| {
        let stored = life.node.log_entry(index).expect("an entry below the size");
        let entry = Entry::decode(&stored.bytes).expect("a good entry");
        let (event, _) = Event::from_body(entry.kind, &entry.body).expect("a good body");
        Told {
            at: stored.entry,
            event,
        }
    };
    (0..life.node.size()).map(read).collect()
}

/// A half as both sides have to have it: request, entry and hash at the issuer, amount,
/// whether it reverses.
type Half = (RedemptionId, u64, Digest, Amount, bool);

/// All members' logs.
pub struct Logs<'a> {
    world: &'a World,
    logs: Vec<Vec<Told>>,
}

impl<'a> Logs<'a> {
    /// Reads them.
    ///
    /// # Panics
    /// When a member is down.
    #[must_use]
    pub fn of(world: &'a World) -> Self {
        Self {
            world,
            logs: (0..MEMBERS).map(|member| log_of(&world.up(member))).collect(),
        }
    }

    fn did(&self, member: usize) -> &str {
        &self.world.prepared.members[member].did
    }

    /// The halves that `issuer` has made for `redeemer`.
    fn issued(&self, issuer: usize, redeemer: usize) -> Vec<Half> {
        let own = self.did(redeemer);
        let half = |told: &Told| match &told.event {
            Event::Redeemed(half) if half.redeemer == own => match half.place {
                Place::Partner { request_id } => Some((request_id, half.amount, false)),
                Place::Register(_) => None,
            },
            Event::Reversed(half) => half
                .partner
                .as_ref()
                .filter(|call| call.redeemer == own)
                .map(|call| (call.request_id, half.amount, true)),
            _ => None,
        };
        let halves = self.logs[issuer].iter().filter_map(|told| {
            let (id, amount, reverses) = half(told)?;
            Some((id, told.at.index, told.at.hash, amount, reverses))
        });
        halves.collect()
    }

    /// The halves that `redeemer` has recorded of `issuer`, in the issuer's order.
    fn recorded(&self, issuer: usize, redeemer: usize) -> Vec<Half> {
        let did = self.did(issuer);
        let mut halves: Vec<Half> = self.logs[redeemer]
            .iter()
            .filter_map(|told| match &told.event {
                Event::RedeemerHalf(half) if half.issuer == did => Some((
                    half.id,
                    half.issuer_entry,
                    half.issuer_hash,
                    half.amount,
                    half.reverses.is_some(),
                )),
                _ => None,
            })
            .collect();
        halves.sort_by_key(|half| half.1);
        halves
    }

    /// Each half of a pair of co-ops is there twice, with the same amount.
    ///
    /// # Panics
    /// When one is not.
    pub fn halves_match(&self) {
        let left = self.world.left.borrow();
        // A log that has forgotten entries is no pair to any other.
        let whole = || (0..MEMBERS).filter(|member| self.world.forked.get() != Some(*member));
        for issuer in whole() {
            for redeemer in whole().filter(|redeemer| *redeemer != issuer) {
                let (issued, recorded) = (self.issued(issuer, redeemer), self.recorded(issuer, redeemer));
                let pair = format!("of member {issuer}'s coupons at member {redeemer}");
                let ids: BTreeSet<RedemptionId> = recorded.iter().map(|half| half.0).collect();
                assert_eq!(ids.len(), recorded.len(), "a half is there twice, {pair}");
                for half in &recorded {
                    assert!(
                        issued.contains(half),
                        "a redeemer half without the issuer's, {pair}"
                    );
                }
                let ends: Vec<&Half> = issued.iter().filter(|half| !recorded.contains(half)).collect();
                if left.contains(&issuer) || left.contains(&redeemer) {
                    // Nobody asks or answers one who has left.
                } else {
                    let ends = ends
                        .first()
                        .map(|half| self.world.up(redeemer).node.intent(half.0));
                    assert_eq!(
                        issued, recorded,
                        "the halves differ, {pair}; of one lacking: {ends:?}"
                    );
                    let sum = |halves: &[Half]| -> i64 {
                        let signed = |half: &Half| half.3.minor_units() * if half.4 { -1 } else { 1 };
                        halves.iter().map(signed).sum()
                    };
                    assert_eq!(sum(&issued), sum(&recorded), "the sums differ, {pair}");
                }
            }
        }
    }

    /// Whoever has seen one history of a log takes nothing of another one, after a crash
    /// neither.
    ///
    /// # Panics
    /// When somebody has.
    pub fn nobody_believes_two_histories(&self) {
        let Some(forked) = self.world.forked.get() else {
            return;
        };
        let first = self.world.first_history.borrow();
        let second: BTreeSet<Digest> = self.logs[forked].iter().map(|told| told.at.hash).collect();
        for member in (0..MEMBERS).filter(|member| *member != forked) {
            let halves = self.recorded(forked, member);
            let mut only_in = [false; 2];
            for (_, index, hash, ..) in &halves {
                match (first.contains(hash), second.contains(hash)) {
                    (true, false) => only_in[0] = true,
                    (false, true) => only_in[1] = true,
                    (true, true) => {}
                    (false, false) => panic!("entry {index} of member {forked} is in neither history"),
                }
            }
            assert_ne!(
                only_in, [true; 2],
                "member {member} took halves of two histories of member {forked}"
            );
        }
    }

    /// No coupon was redeemed beyond its uses, its value or its campaign's budget, where
    /// it may not be redeemed, or after it was revoked.
    ///
    /// # Panics
    /// When one was.
    pub fn nothing_is_exceeded(&self) {
        let terms: BTreeMap<CampaignId, &Terms> = self
            .world
            .prepared
            .batches
            .iter()
            .map(|batch| (batch.campaign, &batch.terms))
            .collect();
        for (issuer, log) in self.logs.iter().enumerate() {
            let mut counted: BTreeMap<CouponName, (i64, i64)> = BTreeMap::new();
            let mut given: BTreeMap<CampaignId, i64> = BTreeMap::new();
            let mut revoked = BTreeSet::new();
            for told in log {
                let (at, index) = (
                    format!("in entry {} of member {issuer}", told.at.index),
                    told.at.index,
                );
                match &told.event {
                    Event::Redeemed(half) => {
                        let terms = terms[&half.campaign];
                        assert!(
                            !revoked.contains(&half.name),
                            "redeemed after it was revoked, {at}"
                        );
                        self.may_redeem(issuer, &half.redeemer, terms, &at);
                        let (uses, value) = counted.entry(half.name).or_default();
                        *uses += 1;
                        *value += half.amount.minor_units();
                        match terms.benefit {
                            Benefit::StoredValue { value: all } => {
                                assert!(*value <= all.minor_units(), "beyond its value, {at}");
                            }
                            _ => {
                                let most = i64::from(terms.uses_per_coupon.unwrap_or(1));
                                assert!(*uses <= most, "beyond its uses, {at}");
                            }
                        }
                        let given = given.entry(half.campaign).or_default();
                        *given += half.amount.minor_units();
                        let most = terms.budget.map_or(i64::MAX, Amount::minor_units);
                        assert!(*given <= most, "beyond the campaign's budget, {at}");
                    }
                    Event::Reversed(half) => {
                        *given.entry(half.campaign).or_default() -= half.amount.minor_units();
                        if half.give_back {
                            let (uses, value) = counted.entry(half.name).or_default();
                            *uses -= 1;
                            *value -= half.amount.minor_units();
                        }
                        let first = &log[usize::try_from(half.redemption_entry).expect("a short log")];
                        let Event::Redeemed(first) = &first.event else {
                            panic!("entry {index} of member {issuer} reverses no redemption");
                        };
                        assert!(
                            half.reversed_after <= first.amount,
                            "more is reversed than was made, {at}"
                        );
                    }
                    Event::StatusSet(set) => {
                        if let (StatusTarget::Coupon(name), NewStatus::Revoked) = (set.target, set.status) {
                            revoked.insert(name);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn may_redeem(&self, issuer: usize, redeemer: &str, terms: &Terms, at: &str) {
        let is_member = (0..MEMBERS).any(|member| self.did(member) == redeemer);
        assert!(is_member, "redeemed by {redeemer}, who is no member, {at}");
        let may = match &terms.redeemers {
            Some(named) => named.iter().any(|named| named == redeemer),
            None => true,
        };
        assert!(
            may,
            "{redeemer} may not redeem these coupons of member {issuer}, {at}"
        );
    }

    /// Nothing was cancelled that nobody had given up: what a node has begun it sees
    /// through, whatever became of it meanwhile.
    ///
    /// # Panics
    /// When something was.
    pub fn nothing_is_cancelled_unasked(&self) {
        for (member, log) in self.logs.iter().enumerate() {
            let mut given_up = BTreeSet::new();
            for told in log {
                match &told.event {
                    Event::CancelWished(wished) => {
                        given_up.insert(wished.id);
                    }
                    Event::IntentEnded(ended) if matches!(ended.end, End::Cancelled { .. }) => {
                        let is_asked = given_up.contains(&ended.id);
                        assert!(
                            is_asked,
                            "{} at member {member} was cancelled for nobody",
                            ended.id
                        );
                    }
                    _ => {}
                }
            }
        }
    }

    /// What tills were told is so, in both logs.
    ///
    /// # Panics
    /// When it is not.
    pub fn tills_were_told_the_truth(&self) {
        let world = self.world;
        let forked = world.forked.get();
        let finals = world.told.finals.borrow();
        let finals = finals.iter().filter(|((member, _), _)| forked != Some(*member));
        for ((member, id), (_, asked, said)) in finals {
            let life = world.up(*member);
            let view = life.node.intent(*id).expect("what a till was told of");
            let issuer = world.by_did(&view.intent.issuer).expect("a member");
            let has_forgotten = forked == Some(issuer);
            let halves = self.issued(issuer, *member);
            let half = halves.iter().find(|half| half.0 == *id);
            let what = format!("of {id} at member {member}, a till was told {said:?}");
            match (said, &view.state) {
                (Final::Made(amount), IntentState::Made { half: own, .. }) if has_forgotten => {
                    assert_eq!(own.amount, *amount, "{what}");
                }
                (Final::Made(amount), IntentState::Made { half: own, .. }) => {
                    let (.., at_issuer, reverses) = half.expect("what was made is in the issuer's log");
                    assert!(
                        own.amount == *amount && at_issuer == amount,
                        "{what}: other amounts"
                    );
                    assert_eq!(*reverses, matches!(asked, Asked::Reverse(_)), "{what}");
                }
                (Final::Refused(code), IntentState::Ended { end, .. }) => {
                    let is_so = matches!(end, End::Refused { code: ended, .. } if ended == code);
                    assert!(
                        is_so && (half.is_none() || has_forgotten),
                        "{what}, it ended as {end:?}, with {half:?}"
                    );
                }
                (Final::Cancelled, IntentState::Ended { end, .. }) => {
                    let is_so = matches!(end, End::Cancelled { .. }) && (half.is_none() || has_forgotten);
                    assert!(is_so, "{what}, it ended as {end:?}, with {half:?}");
                }
                (_, state) => panic!("{what}, it is {state:?}"),
            }
        }
        let own = world.told.own.borrow();
        for (member, id, amount) in own.iter().filter(|(member, ..)| forked != Some(*member)) {
            let is_it = |told: &Told| matches!(&told.event, Event::Redeemed(made) if made.id == *id && made.amount == *amount);
            let count = self.logs[*member].iter().filter(|told| is_it(told)).count();
            assert_eq!(count, 1, "the own redemption {id} at member {member}");
        }
    }

    /// None of these requests, which nobody who may has signed, is in a log.
    ///
    /// # Panics
    /// When one is.
    pub fn nothing_is_from_outside(&self, forged: &[(String, RedemptionId)]) {
        for (member, log) in self.logs.iter().enumerate() {
            for told in log {
                let id = match &told.event {
                    Event::Redeemed(half) => half.id,
                    Event::Reversed(half) => half.id,
                    Event::RequestCancelled(cancelled) => half_id(&cancelled.redeemer, cancelled.request_id),
                    _ => continue,
                };
                let is_forged = forged
                    .iter()
                    .any(|(sender, request)| half_id(sender, *request) == id);
                assert!(
                    !is_forged,
                    "a stranger's request is entry {} of member {member}",
                    told.at.index
                );
            }
        }
    }
}

/// Asks again for everything that a till was told: the answer is the first one.
///
/// # Panics
/// When it is not.
pub async fn repeats_are_the_same(world: &World) {
    let mut finals = world.told.finals.borrow().clone();
    finals.retain(|(member, _), _| world.forked.get() != Some(*member));
    for ((member, id), (caller, asked, said)) in finals {
        let life = world.up(member);
        let again = match asked {
            Asked::Redeem(request) => life.redeemer.redeem(&caller, request).await,
            Asked::Reverse(request) => life.redeemer.reverse(&caller, request).await,
        };
        let again = match again {
            Ok(view) => match view.state {
                IntentState::Made { half, .. } => (view.intent.id, Final::Made(half.amount)),
                state => panic!("{id}, once more: {state:?}"),
            },
            Err(RedeemError::Refused { id, code, .. }) => (id, Final::Refused(code)),
            Err(RedeemError::Cancelled { id }) => (id, Final::Cancelled),
            Err(error) => panic!("{id}, once more: {error}"),
        };
        assert_eq!(again, (id, said), "asked once more");
    }
}

/// What has to come to pass still, if anything does.
#[must_use]
pub fn lacking(world: &World, revoked: &[(usize, CouponName)]) -> Option<String> {
    for member in 0..MEMBERS {
        let Some(life) = world.life(member) else {
            return Some(format!("member {member} is down"));
        };
        if !world.counts(member) {
            continue;
        }
        for open in life.node.open_intents() {
            let issuer = world.by_did(&open.intent.issuer).expect("a member");
            if world.counts(issuer) {
                return Some(format!("{} at member {member} has not ended", open.intent.id));
            }
        }
        let Some(gossiper) = &life.gossiper else { continue };
        for (issuer, name) in revoked.iter().filter(|(issuer, _)| world.counts(*issuer)) {
            let did = &world.prepared.members[*issuer].did;
            if Knowledge::status(gossiper.as_ref(), did, *name, life.node.now()) != Status::Revoked {
                return Some(format!(
                    "that {name} of member {issuer} is revoked is not known at {member}"
                ));
            }
        }
        if let Some(forked) = world.forked.get()
            && gossiper.fork(&world.prepared.members[forked].did).is_none()
        {
            return Some(format!(
                "that member {forked} has forked is not known at {member}"
            ));
        }
    }
    None
}
