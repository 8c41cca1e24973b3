//! A member that goes on from an older copy of its disk, rows and guard alike: what it
//! signs from then on contradicts what it has signed before.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::SETTLES_WITHIN;
use super::prepared::MEMBERS;
use super::world::{Disk, Life, World};
use crate::credential::{Benefit, Terms};
use crate::federation::gossiper::WhichEvidence;
use crate::federation::redemption::RedeemError;
use crate::ledger::{Basket, CampaignDraft};
use crate::node::{Caller, NodeError, RedemptionRequest, Scope};
use crate::primitives::{Amount, Currency, Digest, Register, UnixSeconds};
use crate::testkit::Dice;
use crate::testkit::node::START;

/// What is to become of such a member.
#[derive(Debug)]
pub struct Fork {
    member: usize,
    copy: Option<(Disk, u64)>,
    /// Entries of its first history.
    first: Option<u64>,
    /// Entries that it was made to write.
    grown: u32,
}

impl Fork {
    /// The fork of `member`'s log, which is still one.
    #[must_use]
    pub fn of(member: usize) -> Self {
        Self {
            member,
            copy: None,
            first: None,
            grown: 0,
        }
    }

    /// Takes the copy, or sets the member back to it once somebody holds a checkpoint
    /// that goes beyond. The member that was set back just now comes back.
    pub fn step(&mut self, world: &World, dice: &Dice) -> Option<usize> {
        if self.first.is_some() || !dice.once_in(2) {
            return None;
        }
        let life = world.life(self.member)?;
        let Some((_, copied)) = &self.copy else {
            self.copy = Some((world.copy_of_disk(self.member), life.node.size()));
            return None;
        };
        // The last member may leave, and takes what it knows along.
        let mut others = (0..MEMBERS - 1).filter(|other| *other != self.member);
        let is_held =
            |other: usize| matches!(world.cosigned(other, self.member), Some((_, size)) if size > *copied);
        if !others.any(is_held) {
            return None;
        }
        self.first = Some(life.node.size());
        let (copy, _) = self.copy.take()?;
        world.set_back(self.member, copy);
        Some(self.member)
    }

    /// Sees to it that there are two histories, and that the second one is the longer:
    /// before, nobody can prove anything. The member that was set back for that comes back.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn finish(&mut self, world: &World, dice: &Dice) -> Option<usize> {
        let until = Instant::now() + SETTLES_WITHIN;
        let mut set_back = None;
        while self.first.is_none() {
            assert!(
                Instant::now() < until,
                "nobody cosigns what member {} signs",
                self.member
            );
            set_back = self.step(world, dice).or(set_back);
            if set_back.is_none() {
                self.grow(world).await;
                sleep(Duration::from_secs(5)).await;
            }
        }
        self.outgrow(world).await;
        set_back
    }

    /// Has the second history become longer than the first one, as long as the member is up.
    pub async fn outgrow(&mut self, world: &World) {
        while let (Some(first), Some(life)) = (self.first, world.life(self.member)) {
            if life.node.size() > first {
                return;
            }
            self.grow(world).await;
        }
    }

    /// Has the member write an entry that concerns nobody.
    async fn grow(&mut self, world: &World) {
        self.grown += 1;
        grow(world, self.member, self.grown).await;
    }
}

/// Has a member write an entry that concerns nobody, another one for each number.
pub(super) async fn grow(world: &World, member: usize, number: u32) {
    let name = format!("Fork {number}");
    let caller = Caller {
        scope: Scope::Office,
        idempotency_key: name.clone(),
        request: Digest::ZERO,
    };
    let amount = Amount::new(1).expect("a small amount");
    let euro = Currency::from_letters("EUR").expect("a currency");
    let draft = CampaignDraft {
        terms: Terms::new(&name, "Simulated", euro, Benefit::AmountOff { amount }),
        not_before: UnixSeconds(START.0),
        not_after: UnixSeconds(START.0 + 86_400),
    };
    let signed = world.at(member, async |life: &Life| {
        life.node.sign_campaign(&caller, draft).await.map(|_| ())
    });
    // A crash in between is no matter.
    let _ = signed.await;
}

/// Those who have signed two histories are convicted of it, and nobody else; their coupons
/// are refused, which is for a person to change.
///
/// # Panics
/// When it is otherwise.
pub async fn those_who_forked_are_convicted(world: &World) {
    let forked = world.forked.get();
    for member in (0..MEMBERS).filter(|member| world.counts(*member)) {
        let life = world.up(member);
        let Some(gossiper) = &life.gossiper else { return };
        for held in gossiper.evidence(&WhichEvidence::default()).await.shown {
            let convicted = world.by_did(&held.member);
            assert_eq!(convicted, forked, "convicted at member {member}: {}", held.said());
        }
        let Some(forked) = forked else { continue };
        let batches = world.prepared.batches.iter();
        let batch = batches
            .filter(|batch| batch.issuer == forked)
            .min_by_key(|batch| batch.terms.redeemers.is_some());
        let batch = batch.expect("everyone has issued some");
        let mut refused = 0;
        for (number, coupon) in batch.coupons.iter().enumerate() {
            let asked = redemption_of(coupon.credential.clone(), number);
            match life.redeemer.redeem(&asked.0, asked.1).await {
                Err(RedeemError::IssuerForked { .. }) => refused += 1,
                // Its list says so.
                Err(RedeemError::Node(NodeError::Refused(_))) => {}
                other => {
                    panic!("a coupon of member {forked}, which has forked, at member {member}: {other:?}")
                }
            }
        }
        assert!(
            refused > 0,
            "no coupon of member {forked} is refused at member {member} for its fork"
        );
    }
}

fn redemption_of(coupon: Vec<u8>, number: usize) -> (Caller, RedemptionRequest) {
    let register = Register::new("lane-99").expect("a register's name");
    let caller = Caller {
        scope: Scope::Register(register.clone()),
        idempotency_key: format!("after-the-fork-{number}"),
        request: Digest::ZERO,
    };
    let request = RedemptionRequest {
        coupon,
        register,
        till_reference: format!("after-the-fork-{number}"),
        basket: Basket {
            total: Amount::new(2_000).expect("a small amount"),
            currency: Currency::from_letters("EUR").expect("a currency"),
        },
        amount: None,
    };
    (caller, request)
}
