//! Random commands against a model that counts by itself: from the list of
//! what was granted and taken back, not from the state.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::credential::{Algorithm, Benefit, Terms};
use crate::encoding::cbor;
use crate::primitives::{
    Amount, CampaignId, CouponName, Currency, Digest, KeyId, Position, RedemptionId, Register, Tag,
    UnixSeconds,
};

const START: u64 = 1_000_000;
const END: u64 = START + 10_000;
const WINDOW: u64 = 500;

#[derive(Clone, Debug)]
enum Op {
    Issue {
        campaign: usize,
        count: u32,
        own: Option<u32>,
    },
    Redeem {
        coupon: usize,
        basket: i64,
        asked: Option<i64>,
    },
    Reverse {
        redemption: usize,
        part: Option<i64>,
        give_back: bool,
    },
    Status {
        coupon: Option<usize>,
        status: u8,
    },
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let any_index = 0..64_usize;
    let op = prop_oneof![
        2 => (any_index.clone(), 1..4_u32, prop::option::of(1..900_u32))
            .prop_map(|(campaign, count, own)| Op::Issue { campaign, count, own }),
        8 => (any_index.clone(), -5..3_000_i64, prop::option::weighted(0.3, 0..900_i64))
            .prop_map(|(coupon, basket, asked)| Op::Redeem { coupon, basket, asked }),
        4 => (any_index.clone(), prop::option::of(-1..700_i64), any::<bool>())
            .prop_map(|(redemption, part, give_back)| Op::Reverse { redemption, part, give_back }),
        1 => (prop::option::weighted(0.7, any_index), 0..4_u8)
            .prop_map(|(coupon, status)| Op::Status { coupon, status }),
        1 => (0..400_u64).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..60)
}

fn all_terms() -> impl Strategy<Value = Vec<Terms>> {
    let benefit = prop_oneof![
        (1..900_i64).prop_map(|units| Benefit::AmountOff { amount: cents(units) }),
        (1..=10_000_u32, prop::option::of(1..500_i64)).prop_map(|(basis_points, cap)| Benefit::PercentOff {
            basis_points,
            cap: cap.map(cents)
        }),
        (1..2_000_i64).prop_map(|units| Benefit::StoredValue { value: cents(units) }),
    ];
    let terms = (
        benefit,
        prop::option::of(1..4_u32),
        prop::option::of(1..3_000_i64),
        prop::option::of(1..500_i64),
        any::<bool>(),
    );
    let terms = terms.prop_map(|(benefit, uses, budget, minimum, window)| {
        let mut terms = Terms::new("c", "", euro(), benefit);
        terms.uses_per_coupon = uses;
        terms.budget = budget.map(cents);
        terms.minimum_basket = minimum.map(cents);
        terms.reversal_window_seconds = window.then_some(WINDOW);
        terms
    });
    prop::collection::vec(terms, 1..4)
}

fn cents(units: i64) -> Amount {
    Amount::new(units).unwrap()
}

fn euro() -> Currency {
    Currency::from_letters("EUR").unwrap()
}

/// What the model knows of a redemption.
struct Granted {
    id: RedemptionId,
    coupon: usize,
    at: u64,
    amount: i64,
    reversed: i64,
    /// Value that went back to the coupon.
    returned: i64,
    use_returned: bool,
}

struct Issued {
    presented: Presented,
    campaign: usize,
}

struct Run {
    state: State,
    terms: Vec<Terms>,
    now: u64,
    log: Vec<(Event, Vec<CouponName>, Option<CampaignState>)>,
    coupons: Vec<Issued>,
    granted: Vec<Granted>,
    revoked: BTreeMap<CouponName, bool>,
    suspended: BTreeMap<CouponName, bool>,
    closed: Vec<(bool, bool)>,
}

impl Run {
    fn new(terms: Vec<Terms>) -> Self {
        let mut run = Self {
            state: State::default(),
            now: START,
            log: Vec::new(),
            coupons: Vec::new(),
            granted: Vec::new(),
            revoked: BTreeMap::new(),
            suspended: BTreeMap::new(),
            closed: vec![(false, false); terms.len()],
            terms: terms.clone(),
        };
        for (n, terms) in terms.into_iter().enumerate() {
            let event = Event::CampaignSigned(CampaignSigned {
                id: campaign_id(n),
                credential: vec![],
            });
            let entry = run.log.len() as u64;
            let state = CampaignState {
                terms,
                issued_at: UnixSeconds(START),
                not_before: UnixSeconds(START),
                not_after: UnixSeconds(END),
                entry,
                issued: 0,
                redemptions: 0,
                spent: Amount::ZERO,
                flags: StatusFlags::default(),
                as_of: entry + 1,
            };
            run.record(event, Vec::new(), Some(state));
        }
        run
    }

    fn record(&mut self, event: Event, names: Vec<CouponName>, campaign: Option<CampaignState>) {
        let (index, own) = (self.log.len() as u64, self.own_amount(&event));
        apply(
            &mut self.state,
            index,
            self.now,
            &event,
            &names,
            campaign.clone(),
            own,
        );
        self.log.push((event, names, campaign));
    }

    /// The own amount of the coupon that was redeemed.
    fn own_amount(&self, event: &Event) -> Option<Amount> {
        let Event::Redeemed(redeemed) = event else {
            return None;
        };
        let issued = self
            .coupons
            .iter()
            .find(|issued| issued.presented.name == redeemed.name);
        issued.and_then(|issued| issued.presented.amount)
    }

    fn play(&mut self, op: &Op) {
        let before = self.state.clone();
        let events = self.log.len();
        match *op {
            Op::Issue { campaign, count, own } => self.issue(campaign % self.terms.len(), count, own),
            Op::Redeem {
                coupon,
                basket,
                asked,
            } if !self.coupons.is_empty() => {
                self.redeem(coupon % self.coupons.len(), basket, asked);
            }
            Op::Reverse {
                redemption,
                part,
                give_back,
            } if !self.granted.is_empty() => {
                self.reverse(redemption % self.granted.len(), part, give_back);
            }
            Op::Status { coupon, status } => self.status(coupon, status),
            Op::Wait(seconds) => self.now += seconds,
            _ => {}
        }
        if self.log.len() == events {
            assert_eq!(self.state, before, "a refusal has changed something");
        }
        self.check();
    }

    fn issue(&mut self, campaign: usize, count: u32, own: Option<u32>) {
        let order = BatchOrder {
            campaign: campaign_id(campaign),
            count,
            amount: own.map(|units| cents(units.into())),
            not_before: None,
            not_after: None,
        };
        let percent = matches!(self.terms[campaign].benefit, Benefit::PercentOff { .. });
        let (revoked, suspended) = self.closed[campaign];
        let allowed = !(revoked || suspended || self.now >= END || (percent && own.is_some()));
        let decided = self.state.decide_batch(&order, UnixSeconds(self.now));
        assert_eq!(decided.is_ok(), allowed, "{decided:?}");
        let Ok(not_after) = decided else { return };
        let first = self.state.next_position;
        let entry = self.log.len() as u64;
        for leaf in 0..count {
            let name = CouponName {
                list: 0,
                index: first.0 as u32 + leaf,
            };
            let mut tag = [9; 32];
            tag[..4].copy_from_slice(&name.index.to_be_bytes());
            let presented = Presented {
                name,
                tag: Tag(tag),
                batch_entry: entry,
                leaf,
                campaign: order.campaign,
                amount: order.amount,
                not_before: None,
                not_after,
            };
            self.coupons.push(Issued { presented, campaign });
        }
        let event = Event::BatchIssued(BatchIssued {
            campaign: order.campaign,
            first: Position(first.0),
            count,
            not_before: None,
            not_after,
            amount: order.amount,
            kid: KeyId([1; 8]),
            algorithm: Algorithm::EdDsa,
            tags_root: Digest::ZERO,
        });
        self.record(event, Vec::new(), None);
    }

    /// Uses, value and budget as the list of redemptions has them.
    fn counted(&self, coupon: usize) -> (i64, i64, i64) {
        let campaign = self.coupons[coupon].campaign;
        let of_coupon = self.granted.iter().filter(|granted| granted.coupon == coupon);
        let uses = of_coupon.clone().filter(|granted| !granted.use_returned).count();
        let value = of_coupon.map(|granted| granted.amount - granted.returned).sum();
        let of_campaign = self
            .granted
            .iter()
            .filter(|granted| self.coupons[granted.coupon].campaign == campaign);
        let spent = of_campaign.map(|granted| granted.amount - granted.reversed).sum();
        (uses as i64, value, spent)
    }

    /// The benefit by another road than the code's.
    fn benefit(&self, coupon: usize, basket: i64) -> i64 {
        let own = self.coupons[coupon].presented.amount.map(Amount::minor_units);
        let benefit = match self.terms[self.coupons[coupon].campaign].benefit {
            Benefit::AmountOff { amount } => own.unwrap_or(amount.minor_units()),
            Benefit::PercentOff { basis_points, cap } => {
                let exact = basket as f64 * f64::from(basis_points) / 10_000.0;
                let share = (exact + 0.5).floor() as i64;
                cap.map_or(share, |cap| share.min(cap.minor_units()))
            }
            Benefit::StoredValue { value } => own.unwrap_or(value.minor_units()) - self.counted(coupon).1,
        };
        benefit.min(basket).max(0)
    }

    fn redeem(&mut self, coupon: usize, basket: i64, asked: Option<i64>) {
        let issued = &self.coupons[coupon];
        let (terms, name) = (&self.terms[issued.campaign], issued.presented.name);
        let (uses, _, spent) = self.counted(coupon);
        let most = self.benefit(coupon, basket);
        let stored = matches!(terms.benefit, Benefit::StoredValue { .. });
        let amount = asked.unwrap_or(most);
        let uses_allowed = terms
            .uses_per_coupon
            .map_or(if stored { i64::MAX } else { 1 }, i64::from);
        let (revoked, suspended) = self.closed[issued.campaign];
        let flagged = |flags: &BTreeMap<CouponName, bool>| flags.get(&name).copied().unwrap_or(false);
        let open = !revoked && !suspended && !flagged(&self.revoked) && !flagged(&self.suspended);
        let fits = if stored { amount <= most } else { amount == most };
        let allowed = open
            && self.now < END
            && uses < uses_allowed
            && terms
                .minimum_basket
                .is_none_or(|minimum| basket >= minimum.minor_units())
            && fits
            && amount > 0
            && terms
                .budget
                .is_none_or(|budget| spent + amount <= budget.minor_units());
        let order = RedemptionOrder {
            id: redemption_id(self.log.len()),
            coupon: issued.presented.clone(),
            asked: Asked::Here(Register::new("lane").unwrap()),
            basket: Basket {
                total: cents(basket),
                currency: euro(),
            },
            amount: asked.map(cents),
            request: Digest([1; 32]),
            at: None,
        };
        let decided = self.state.decide_redemption(&order, UnixSeconds(self.now));
        let quote = self
            .state
            .quote(&order.coupon, &order.basket, order.amount, UnixSeconds(self.now));
        assert_eq!(
            quote.as_ref().err(),
            decided.as_ref().err(),
            "a quote says what a redemption would"
        );
        assert_eq!(decided.is_ok(), allowed, "{decided:?} for {order:?}");
        let Ok(redeemed) = decided else { return };
        assert_eq!(redeemed.amount, cents(amount));
        assert_eq!(quote.unwrap().amount, redeemed.amount);
        self.granted.push(Granted {
            id: redeemed.id,
            coupon,
            at: self.now,
            amount,
            reversed: 0,
            returned: 0,
            use_returned: false,
        });
        self.record(Event::Redeemed(redeemed), Vec::new(), None);
    }

    fn reverse(&mut self, at: usize, part: Option<i64>, give_back: bool) {
        let order = ReversalOrder {
            id: redemption_id(self.log.len()),
            redemption: self.granted[at].id,
            amount: part.map(cents),
            give_back,
            at: None,
            partner: None,
        };
        let granted = &self.granted[at];
        let terms = &self.terms[self.coupons[granted.coupon].campaign];
        let stored = matches!(terms.benefit, Benefit::StoredValue { .. });
        let left = granted.amount - granted.reversed;
        let amount = part.unwrap_or(left);
        let in_time = terms
            .reversal_window_seconds
            .is_none_or(|window| self.now <= granted.at + window);
        let allowed = in_time && (1..=left).contains(&amount) && (!give_back || stored || amount == left);
        let decided = self.state.decide_reversal(&order, UnixSeconds(self.now));
        assert_eq!(decided.is_ok(), allowed, "{decided:?} for {order:?}");
        let Ok(reversed) = decided else { return };
        assert_eq!(reversed.amount, cents(amount));
        let granted = &mut self.granted[at];
        granted.reversed += amount;
        if give_back {
            granted.returned = if stored {
                granted.returned + amount
            } else {
                granted.amount
            };
            granted.use_returned |= amount == left;
        }
        self.record(Event::Reversed(reversed), Vec::new(), None);
    }

    fn status(&mut self, coupon: Option<usize>, status: u8) {
        // Lifting is the likeliest, so that suspensions do not end every story.
        let new = [
            NewStatus::Revoked,
            NewStatus::Suspended,
            NewStatus::Valid,
            NewStatus::Valid,
        ][usize::from(status)];
        let Some(coupon) = coupon.filter(|_| !self.coupons.is_empty()) else {
            return self.campaign_status(new);
        };
        let name = self.coupons[coupon % self.coupons.len()].presented.name;
        let order = StatusOrder {
            target: StatusTarget::Coupon(name),
            status: new,
        };
        let is_revoked = self.revoked.get(&name).copied().unwrap_or(false);
        let decided = self.state.decide_status(&order, [name]);
        assert_eq!(decided.is_ok(), !is_revoked || new == NewStatus::Revoked);
        if let Ok(decision) = decided {
            let event = Event::StatusSet(StatusSet {
                target: order.target,
                status: new,
                changed: decision.changed,
            });
            self.set(name, new);
            self.record(event, vec![name], None);
        }
    }

    fn set(&mut self, name: CouponName, new: NewStatus) {
        match new {
            NewStatus::Revoked => drop(self.revoked.insert(name, true)),
            NewStatus::Suspended => drop(self.suspended.insert(name, true)),
            NewStatus::Valid => drop(self.suspended.insert(name, false)),
        }
    }

    fn campaign_status(&mut self, new: NewStatus) {
        // The last campaign only, so that the others live on.
        let campaign = self.terms.len() - 1;
        let of = |issued: &&Issued| issued.campaign == campaign;
        let names: Vec<_> = self
            .coupons
            .iter()
            .filter(of)
            .map(|issued| issued.presented.name)
            .collect();
        let target = StatusTarget::Campaign(campaign_id(campaign));
        let order = StatusOrder { target, status: new };
        let Ok(decision) = self.state.decide_status(&order, names.iter().copied()) else {
            assert!(self.closed[campaign].0 && new != NewStatus::Revoked);
            return;
        };
        match new {
            NewStatus::Revoked => self.closed[campaign].0 = true,
            NewStatus::Suspended => self.closed[campaign].1 = true,
            NewStatus::Valid => self.closed[campaign].1 = false,
        }
        for name in &names {
            self.set(*name, new);
        }
        self.record(
            Event::StatusSet(StatusSet {
                target,
                status: new,
                changed: decision.changed,
            }),
            names,
            None,
        );
    }

    fn check(&self) {
        for (n, issued) in self.coupons.iter().enumerate() {
            let (uses, value, _) = self.counted(n);
            let coupon = self.state.coupon(issued.presented.name);
            assert_eq!((i64::from(coupon.uses), coupon.spent), (uses, cents(value)));
            let terms = &self.terms[issued.campaign];
            let stored = matches!(terms.benefit, Benefit::StoredValue { .. });
            let allowed = terms
                .uses_per_coupon
                .map_or(if stored { i64::MAX } else { 1 }, i64::from);
            assert!(uses <= allowed, "redeemed too often");
            let mut nothing_left = uses == allowed;
            if let Benefit::StoredValue { value: most } = terms.benefit {
                let most = issued.presented.amount.unwrap_or(most);
                assert!(value <= most.minor_units(), "spent more than was stored");
                nothing_left |= value == most.minor_units();
            }
            assert_eq!(self.state.status(issued.presented.name).used_up, nothing_left);
        }
        for (n, terms) in self.terms.iter().enumerate() {
            let of = |granted: &&Granted| self.coupons[granted.coupon].campaign == n;
            let spent: i64 = self
                .granted
                .iter()
                .filter(of)
                .map(|granted| granted.amount - granted.reversed)
                .sum();
            let campaign = &self.state.campaigns[&campaign_id(n)];
            assert_eq!(campaign.spent, cents(spent), "a cent was lost");
            assert_eq!(
                campaign.redemptions,
                self.granted.iter().filter(of).count() as u64
            );
            assert_eq!(
                campaign.issued,
                self.coupons.iter().filter(|issued| issued.campaign == n).count() as u64
            );
            assert!(
                terms.budget.is_none_or(|budget| spent <= budget.minor_units()),
                "over the budget"
            );
        }
    }

    /// The same state out of encoded bodies, but for the times of entries,
    /// which are no part of a body.
    fn replay(&self) {
        let mut state = State::default();
        for (index, (event, names, campaign)) in self.log.iter().enumerate() {
            let body = event.encode_body(None, [1; 16]);
            let (again, _) = Event::from_body(event.kind(), &cbor::decode(&body, 6_144).unwrap()).unwrap();
            let (time, own) = (START + index as u64, self.own_amount(&again));
            apply(
                &mut state,
                index as u64,
                time,
                &again,
                names,
                campaign.clone(),
                own,
            );
        }
        let times = |state: &State| {
            let mut state = state.clone();
            for redemption in state.redemptions.values_mut() {
                redemption.at = UnixSeconds(0);
            }
            for coupon in state.coupons.values_mut() {
                if let Some(taken) = &mut coupon.last_use {
                    taken.at = UnixSeconds(0);
                }
            }
            state
        };
        assert_eq!(times(&state), times(&self.state));
    }
}

fn apply(
    state: &mut State,
    index: u64,
    now: u64,
    event: &Event,
    names: &[CouponName],
    campaign: Option<CampaignState>,
    own: Option<Amount>,
) {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(index + 1).to_be_bytes());
    let recorded = Recorded {
        index,
        hash: Digest(hash),
        time: UnixSeconds(now),
        event: event.clone(),
        answers: None,
    };
    state.apply(&recorded, campaign);
    state.cover(&recorded.event, names.iter().copied());
    // What the node reads back from the log before a reversal.
    if let Event::Redeemed(redeemed) = event {
        let redemption = RedemptionState {
            entry: index,
            tag: redeemed.tag,
            name: redeemed.name,
            coupon_amount: own,
            campaign: redeemed.campaign,
            redeemer: redeemed.redeemer.clone(),
            place: redeemed.place.clone(),
            at: UnixSeconds(now),
            amount: redeemed.amount,
            reversed: Amount::ZERO,
        };
        state.redemptions.insert(redeemed.id, redemption);
    }
}

fn campaign_id(n: usize) -> CampaignId {
    CampaignId([n as u8; 16])
}

fn redemption_id(n: usize) -> RedemptionId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&(n as u64).to_be_bytes());
    RedemptionId(id)
}

/// Each seed gives terms and commands; a failing story is made as short as it
/// can be, and its seed is printed.
#[test]
fn nothing_is_granted_twice_or_lost() {
    crate::testkit::for_each_seed(400, 8_000, |seed| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let config = ProptestConfig {
            cases: 1,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        TestRunner::new_with_rng(config, rng)
            .run(&(all_terms(), ops()), |(terms, ops)| {
                let mut run = Run::new(terms);
                for op in &ops {
                    run.play(op);
                }
                run.replay();
                Ok(())
            })
            .unwrap_or_else(|failure| panic!("{failure}"));
    });
}

#[test]
fn percentages_are_rounded_half_up() {
    for (total, basis_points, expected) in [
        (100, 1_250, 13),
        (99, 1_250, 12),
        (1, 5_000, 1),
        (1, 4_999, 0),
        (3, 5_000, 2),
        (999, 10_000, 999),
        (10_000, 1, 1),
        (4_999, 1, 0),
        (5_000, 1, 1),
        (
            crate::primitives::limits::AMOUNT_MAX,
            10_000,
            crate::primitives::limits::AMOUNT_MAX,
        ),
        (
            crate::primitives::limits::AMOUNT_MAX,
            5_000,
            4_503_599_627_370_496,
        ),
    ] {
        let benefit = Benefit::PercentOff {
            basis_points,
            cap: None,
        };
        let mut run = Run::new(vec![Terms::new("c", "", euro(), benefit)]);
        run.play(&Op::Issue {
            campaign: 0,
            count: 1,
            own: None,
        });
        let quote = run.state.quote(
            &run.coupons[0].presented,
            &Basket {
                total: cents(total),
                currency: euro(),
            },
            None,
            UnixSeconds(START),
        );
        match quote {
            Ok(quote) => assert_eq!(quote.amount, cents(expected), "{total} at {basis_points}"),
            Err(refusal) => assert_eq!((refusal, expected), (Refusal::NothingToRedeem, 0)),
        }
    }
}
