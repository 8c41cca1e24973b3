//! Tills at simulated members: they sell, lose answers, ask again under the same key,
//! give sales up, take them back, and remember all that they were told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::prepared::MEMBERS;
use super::world::{Life, World};
use crate::federation::redemption::RedeemError;
use crate::ledger::{Basket, End, Refusal};
use crate::node::{Caller, IntentState, IntentView, NodeError, RedemptionRequest, ReversalRequest, Scope};
use crate::primitives::{Amount, Currency, Digest, RedemptionId, Register};
use crate::testkit::Dice;

/// How often a till asks at most before it walks away.
const ATTEMPTS_MAX: u32 = 12;

/// What became of a call, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Final {
    /// It is done.
    Made(Amount),
    /// The issuer refuses, with this code.
    Refused(String),
    /// It has no effect.
    Cancelled,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A partner's coupon to be redeemed.
    Redeem(RedemptionRequest),
    /// Such a redemption to be reversed.
    Reverse(ReversalRequest),
}

/// Final answers, by member and identity.
pub type Finals = BTreeMap<(usize, RedemptionId), (Caller, Asked, Final)>;

/// Everything that tills were told.
#[derive(Debug, Default)]
pub struct Told {
    /// Final answers about partners' coupons.
    pub finals: RefCell<Finals>,
    /// The identity that each key stands for.
    keys: RefCell<BTreeMap<(usize, String), RedemptionId>>,
    /// Redemptions of a member's own coupons.
    pub own: RefCell<Vec<(usize, RedemptionId, Amount)>>,
    /// Answers of each kind, to see that a run was one.
    pub counts: RefCell<BTreeMap<String, u64>>,
}

impl Told {
    /// Counts something.
    pub fn count(&self, what: &str) {
        *self.counts.borrow_mut().entry(what.to_owned()).or_default() += 1;
    }

    fn key(&self, member: usize, caller: &Caller, id: RedemptionId) {
        let mut keys = self.keys.borrow_mut();
        let held = *keys.entry((member, caller.idempotency_key.clone())).or_insert(id);
        assert_eq!(
            held, id,
            "the key {} stands for two calls",
            caller.idempotency_key
        );
    }

    fn last(&self, member: usize, caller: &Caller, id: RedemptionId, asked: &Asked, said: Final) {
        self.key(member, caller, id);
        let mut finals = self.finals.borrow_mut();
        let (_, _, held) = finals
            .entry((member, id))
            .or_insert_with(|| (caller.clone(), asked.clone(), said.clone()));
        assert_eq!(*held, said, "a till was told two things of {id}");
    }
}

/// Where a call stands after an answer.
enum Stands {
    /// It is over.
    Over(Option<(RedemptionId, Final)>),
    /// It is not known yet, under this identity if it has one.
    Open(Option<RedemptionId>),
}

/// A till.
pub struct Till {
    /// Where it stands.
    pub member: usize,
    /// Its number.
    pub number: usize,
    /// Its luck.
    pub dice: Dice,
    /// How many sales it makes.
    pub sales: u32,
}

impl Till {
    fn register(&self) -> Register {
        Register::new(format!("lane-{}", self.number)).expect("a register's name")
    }

    fn caller(&self, what: &str, sale: u32) -> Caller {
        Caller {
            scope: Scope::Register(self.register()),
            idempotency_key: format!("{what}-{}-{sale}", self.number),
            request: Digest([u8::try_from(sale).expect("few sales"); 32]),
        }
    }

    fn pause(&self) -> Duration {
        // Mostly short, now and then long.
        let most = if self.dice.once_in(5) { 40_000 } else { 4_000 };
        Duration::from_millis(50 + self.dice.below(most))
    }

    /// Makes its sales, one after the other.
    pub async fn sell(self, world: Rc<World>) {
        for sale in 0..self.sales {
            sleep(self.pause()).await;
            let (issuer, request) = self.chosen(&world, sale);
            if issuer == self.member {
                self.sell_own(&world, sale, request).await;
                continue;
            }
            let caller = self.caller("sale", sale);
            let asked = Asked::Redeem(request);
            let made = self.insist(&world, &caller, &asked, sale).await;
            if let Some((id, Final::Made(amount))) = made
                && self.dice.once_in(3)
            {
                sleep(self.pause()).await;
                self.take_back(&world, sale, (id, amount)).await;
            }
        }
    }

    /// A coupon, few of which are much in demand, and a basket.
    fn chosen(&self, world: &World, sale: u32) -> (usize, RedemptionRequest) {
        let batches = &world.prepared.batches;
        let batch = loop {
            let hot = &world.hot;
            let batch = if self.dice.once_in(3) {
                &batches[hot[self.dice.place(hot.len())]]
            } else {
                &batches[self.dice.place(batches.len())]
            };
            if batch.issuer != self.member || self.dice.once_in(4) {
                break batch;
            }
        };
        let len = if self.dice.once_in(2) {
            1
        } else {
            batch.coupons.len()
        };
        let coupon = &batch.coupons[self.dice.place(len)];
        let cents =
            |minor: u64| Amount::new(i64::try_from(minor).expect("a small amount")).expect("a small amount");
        let amount = (batch.terms.is_stored_value() && self.dice.once_in(2))
            .then(|| cents(100 + self.dice.below(900)));
        let request = RedemptionRequest {
            coupon: coupon.credential.clone(),
            register: self.register(),
            till_reference: format!("till-{}-{sale}", self.number),
            basket: Basket {
                total: cents(900 + self.dice.below(2_000)),
                currency: Currency::from_letters("EUR").expect("a currency"),
            },
            amount,
        };
        (batch.issuer, request)
    }

    async fn sell_own(&self, world: &World, sale: u32, request: RedemptionRequest) {
        let caller = self.caller("own", sale);
        for _ in 0..ATTEMPTS_MAX {
            let answer = world
                .at(self.member, async |life: &Life| {
                    life.node.redeem(&caller, request.clone()).await
                })
                .await;
            match answer {
                Some(Ok(made)) => {
                    world.told.count("own made");
                    let mut own = world.told.own.borrow_mut();
                    return own.push((self.member, made.id, made.amount));
                }
                Some(Err(NodeError::Refused(_))) => return world.told.count("own refused"),
                None | Some(Err(NodeError::Stopped(_))) => sleep(self.pause()).await,
                Some(Err(error)) => panic!("an own coupon: {error}"),
            }
        }
    }

    async fn take_back(&self, world: &World, sale: u32, (redemption, amount): (RedemptionId, Amount)) {
        let part = self.dice.once_in(2).then(|| {
            let half = amount.minor_units() / 2;
            Amount::new(half.max(1)).expect("a small amount")
        });
        let asked = Asked::Reverse(ReversalRequest {
            redemption,
            till_reference: format!("back-{}-{sale}", self.number),
            amount: part,
            give_back: self.dice.once_in(2),
        });
        let caller = self.caller("back", sale);
        self.insist(world, &caller, &asked, sale).await;
    }

    /// Asks until it is told, or walks away.
    async fn insist(
        &self,
        world: &World,
        caller: &Caller,
        asked: &Asked,
        sale: u32,
    ) -> Option<(RedemptionId, Final)> {
        let mut begun: Option<RedemptionId> = None;
        for _ in 0..ATTEMPTS_MAX {
            let answer = self.ask(world, caller, asked).await;
            match self.stands(world, answer, begun) {
                Stands::Over(None) => return None,
                Stands::Over(Some((id, said))) => {
                    world.told.last(self.member, caller, id, asked, said.clone());
                    return Some((id, said));
                }
                Stands::Open(None) => {}
                Stands::Open(Some(id)) => {
                    world.told.key(self.member, caller, id);
                    begun = Some(id);
                    if self.dice.once_in(4) {
                        let said = self.give_up(world, sale, id).await?;
                        world.told.last(self.member, caller, id, asked, said.clone());
                        return Some((id, said));
                    }
                }
            }
            self.look_up(world, asked, begun);
            sleep(self.pause()).await;
        }
        world.told.count("walked away");
        None
    }

    /// Asks once; `None` when the answer is lost, or the till is tired of waiting.
    async fn ask(
        &self,
        world: &World,
        caller: &Caller,
        asked: &Asked,
    ) -> Option<Result<IntentView, RedeemError>> {
        let patience = if self.dice.once_in(4) {
            Duration::from_millis(self.dice.below(1_500))
        } else {
            Duration::from_secs(30)
        };
        let answer = world.at(self.member, async |life: &Life| match asked {
            Asked::Redeem(request) => life.redeemer.redeem(caller, request.clone()).await,
            Asked::Reverse(request) => life.redeemer.reverse(caller, request.clone()).await,
        });
        timeout(patience, answer).await.ok().flatten()
    }

    fn stands(
        &self,
        world: &World,
        answer: Option<Result<IntentView, RedeemError>>,
        begun: Option<RedemptionId>,
    ) -> Stands {
        let Some(answer) = answer else {
            world.told.count("lost");
            return Stands::Open(None);
        };
        match answer {
            Ok(view) => {
                let IntentState::Made { half, .. } = &view.state else {
                    panic!("a till was answered with {view:?}");
                };
                world.told.count("made");
                Stands::Over(Some((view.intent.id, Final::Made(half.amount))))
            }
            Err(RedeemError::Refused { id, code, .. }) => {
                world.told.count(&format!("issuer: {code}"));
                Stands::Over(Some((id, Final::Refused(code))))
            }
            Err(RedeemError::Cancelled { id }) => Stands::Over(Some((id, Final::Cancelled))),
            Err(RedeemError::Unknown { id, .. }) => {
                world.told.count("unknown");
                Stands::Open(Some(id))
            }
            Err(RedeemError::Node(NodeError::Refused(refusal))) => {
                world.told.count(&format!("here: {}", refusal.code()));
                let said = format!("what was unknown is refused by the till's own node: {refusal}");
                assert!(begun.is_none(), "{said}");
                assert!(
                    !matches!(refusal, Refusal::KeyReused | Refusal::ReferenceReused),
                    "{refusal}"
                );
                Stands::Over(None)
            }
            // Its node ends: that says nothing.
            Err(RedeemError::Node(NodeError::Stopped(_))) => {
                world.told.count("stopped");
                Stands::Open(begun)
            }
            // Nothing was begun.
            Err(error) => {
                assert!(begun.is_none(), "what was unknown is answered with: {error}");
                world.told.count(&format!("not begun: {}", word(&error)));
                Stands::Open(None)
            }
        }
    }

    /// Gives the sale up, until that or something else is certain.
    async fn give_up(&self, world: &World, sale: u32, id: RedemptionId) -> Option<Final> {
        let caller = self.caller("cancel", sale);
        for _ in 0..ATTEMPTS_MAX {
            let answer = world.at(self.member, async |life: &Life| {
                let answer = life.redeemer.cancel(&caller, id).await;
                let made = life.redeemer.state(id);
                (answer, made)
            });
            match answer.await {
                None
                | Some((Err(RedeemError::Unknown { .. } | RedeemError::Node(NodeError::Stopped(_))), _)) => {}
                Some((Ok(view), _)) => {
                    let is_cancelled = matches!(
                        view.state,
                        IntentState::Ended {
                            end: End::Cancelled { .. },
                            ..
                        }
                    );
                    assert!(is_cancelled, "a cancellation was answered with {view:?}");
                    world.told.count("cancelled");
                    return Some(Final::Cancelled);
                }
                Some((Err(RedeemError::Made { .. }), made)) => {
                    world.told.count("too late to cancel");
                    let Ok(IntentState::Made { half, .. }) = made.map(|view| view.state) else {
                        panic!("what was made is not");
                    };
                    return Some(Final::Made(half.amount));
                }
                Some((Err(RedeemError::Refused { code, .. }), _)) => return Some(Final::Refused(code)),
                Some((Err(error), _)) => panic!("a cancellation: {error}"),
            }
            sleep(self.pause()).await;
        }
        None
    }

    /// A till may ask by its own reference at any time.
    fn look_up(&self, world: &World, asked: &Asked, begun: Option<RedemptionId>) {
        let (Asked::Redeem(request), Some(id), Some(life)) = (asked, begun, world.life(self.member)) else {
            return;
        };
        let found = life
            .node
            .intents_by_reference(&request.register, &request.till_reference);
        let found = found.expect("a readable store");
        let ids: Vec<RedemptionId> = found.iter().map(|view| view.intent.id).collect();
        assert_eq!(ids, [id], "a till's reference leads to other calls than its key");
    }
}

fn word(error: &RedeemError) -> &'static str {
    match error {
        RedeemError::Node(_) => "node",
        RedeemError::NotRedeeming(_) => "not redeeming",
        RedeemError::Campaign(_) => "campaign",
        RedeemError::IssuerNotGood(_) => "issuer not good",
        RedeemError::IssuerNotAsked { .. } => "issuer not asked",
        RedeemError::IssuerForked { .. } => "issuer forked",
        _ => "other",
    }
}

/// Tills at all members, and more at some.
#[must_use]
pub fn tills(count: usize, sales: u32, seed: u64) -> Vec<Till> {
    (0..count)
        .map(|number| Till {
            member: number % MEMBERS,
            number,
            dice: Dice::new(seed.wrapping_mul(97).wrapping_add(number as u64)),
            sales,
        })
        .collect()
}
