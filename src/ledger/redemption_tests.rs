//! Redemptions and reversals at the edges that random commands seldom meet; the
//! counting is compared with a model in `model_tests`.

use super::*;
use crate::encoding::cbor;
use crate::ledger::Asked;
use crate::ledger::{Event, Recorded, StatusFlags};

const START: u64 = 1_000_000;
const END: u64 = START + 10_000;
/// Some time while the campaign runs.
const NOW: u64 = START + 5_000;
const WINDOW: u64 = 500;
const DID: &str = "did:web:coop.example";

fn cents(units: i64) -> Amount {
    Amount::new(units).unwrap()
}

fn euro() -> Currency {
    Currency::from_letters("EUR").unwrap()
}

const CAMPAIGN: CampaignId = CampaignId([7; 16]);

fn off(units: i64) -> Benefit {
    Benefit::AmountOff { amount: cents(units) }
}

fn card(units: i64) -> Benefit {
    Benefit::StoredValue { value: cents(units) }
}

/// A node with one campaign, from [`START`] to [`END`].
fn state(benefit: Benefit, change: impl FnOnce(&mut CampaignState)) -> State {
    let mut campaign = CampaignState {
        terms: Terms::new("Spring", "", euro(), benefit),
        issued_at: UnixSeconds(START),
        not_before: UnixSeconds(START),
        not_after: UnixSeconds(END),
        entry: 1,
        issued: 1,
        redemptions: 0,
        spent: Amount::ZERO,
        flags: StatusFlags::default(),
        as_of: 3,
    };
    campaign.terms.reversal_window_seconds = Some(WINDOW);
    change(&mut campaign);
    State {
        did: DID.to_owned(),
        campaigns: [(CAMPAIGN, campaign)].into(),
        ..State::default()
    }
}

/// The campaign's one coupon on a basket of 10.00.
fn order(change: impl FnOnce(&mut RedemptionOrder)) -> RedemptionOrder {
    let mut order = RedemptionOrder {
        id: RedemptionId([1; 16]),
        coupon: Presented {
            name: CouponName { list: 0, index: 5 },
            tag: Tag([9; 32]),
            batch_entry: 2,
            leaf: 0,
            campaign: CAMPAIGN,
            amount: None,
            not_before: None,
            not_after: UnixSeconds(END),
        },
        asked: Asked::Here(Register::new("lane-1").unwrap()),
        basket: Basket {
            total: cents(1_000),
            currency: euro(),
        },
        amount: None,
        request: Digest([3; 32]),
        at: None,
    };
    change(&mut order);
    order
}

fn decide(state: &State, order: &RedemptionOrder) -> Result<Redeemed, Refusal> {
    state.decide_redemption(order, UnixSeconds(NOW))
}

/// What is granted, or the refusal.
fn granted(state: &State, order: &RedemptionOrder) -> Result<i64, Refusal> {
    decide(state, order).map(|redeemed| redeemed.amount.minor_units())
}

#[test]
fn only_an_import_has_a_time_of_its_own_and_none_in_the_future() {
    let state = state(off(100), |_| ());
    let at = |seconds| order(|order| order.at = Some(UnixSeconds(seconds)));
    let earlier = NOW - 1;
    for (order, own, mark) in [
        (order(|_| ()), None, Mark::Live),
        (at(NOW), None, Mark::Live),
        (at(earlier), Some(UnixSeconds(earlier)), Mark::Import),
    ] {
        let redeemed = decide(&state, &order).unwrap();
        assert_eq!((redeemed.at, redeemed.mark), (own, mark));
    }
    let ahead = Refusal::TimeTooFar {
        seconds: 2,
        ahead: true,
    };
    assert_eq!(decide(&state, &at(NOW + 2)), Err(ahead));
}

#[test]
fn an_import_is_judged_at_its_own_time() {
    let state = state(off(100), |_| ());
    let late = UnixSeconds(END + 1);
    let at = |seconds| order(|order| order.at = Some(UnixSeconds(seconds)));
    for (seconds, refusal) in [
        (START - 1, Some(Refusal::CouponNotYetValid(UnixSeconds(START)))),
        (START, None),
        (END - 1, None),
        (END, Some(Refusal::CouponExpired(UnixSeconds(END)))),
    ] {
        let decided = state.decide_redemption(&at(seconds), late);
        assert_eq!(decided.err(), refusal, "{seconds}");
    }
}

#[test]
fn coupons_own_dates_narrow_the_campaigns() {
    let state = state(off(100), |_| ());
    let dated = |from: u64, until: u64| {
        order(|order| {
            order.coupon.not_before = Some(UnixSeconds(from));
            order.coupon.not_after = UnixSeconds(until);
        })
    };
    for (from, until, refusal) in [
        (NOW, NOW + 1, None),
        (
            NOW + 1,
            END,
            Some(Refusal::CouponNotYetValid(UnixSeconds(NOW + 1))),
        ),
        (START, NOW, Some(Refusal::CouponExpired(UnixSeconds(NOW)))),
    ] {
        assert_eq!(decide(&state, &dated(from, until)).err(), refusal);
    }
}

#[test]
fn nothing_is_redeemed_of_a_stored_value_only_where_it_has_happened() {
    let nothing = |at: Option<u64>| {
        order(|order| {
            order.amount = Some(Amount::ZERO);
            order.at = at.map(UnixSeconds);
        })
    };
    let (till, import) = (nothing(None), nothing(Some(NOW - 1)));
    let card = state(card(500), |_| ());
    assert_eq!(granted(&card, &import), Ok(0));
    assert_eq!(granted(&card, &till), Err(Refusal::NothingToRedeem));

    let coupon = state(off(100), |_| ());
    let differs = Refusal::AmountDiffers {
        computed: cents(100),
        given: Amount::ZERO,
    };
    assert_eq!(granted(&coupon, &import), Err(differs.clone()));
    assert_eq!(granted(&coupon, &till), Err(differs));
}

#[test]
fn what_a_till_computed_is_compared() {
    let state = state(off(100), |_| ());
    for (given, agreed) in [(99, false), (100, true), (101, false)] {
        let given = cents(given);
        let computed = cents(100);
        let decided = granted(&state, &order(|order| order.amount = Some(given)));
        let differs = Refusal::AmountDiffers { computed, given };
        assert_eq!(decided, if agreed { Ok(100) } else { Err(differs) });
    }
}

#[test]
fn a_budget_is_spent_to_the_cent() {
    let any = order(|_| ());
    for (budget, spent, expected) in [
        (1_000, 900, Ok(100)),
        (1_000, 901, Err(Refusal::BudgetExhausted { left: cents(99) })),
        (1_000, 1_000, Err(Refusal::BudgetExhausted { left: Amount::ZERO })),
    ] {
        let state = state(off(100), |campaign| {
            campaign.terms.budget = Some(cents(budget));
            campaign.spent = cents(spent);
        });
        assert_eq!(granted(&state, &any), expected);
    }
}

#[test]
fn the_minimum_basket_is_enough() {
    let state = state(off(100), |campaign| {
        campaign.terms.minimum_basket = Some(cents(1_000));
    });
    let basket = |units| order(|order| order.basket.total = cents(units));
    assert_eq!(granted(&state, &basket(1_000)), Ok(100));
    let below = Refusal::BasketBelowMinimum {
        minimum: cents(1_000),
        total: cents(999),
    };
    assert_eq!(granted(&state, &basket(999)), Err(below));
}

#[test]
fn nothing_is_redeemed_under_terms_that_are_not_enforced() {
    let state = state(off(100), |campaign| {
        let stacking = 10;
        campaign.terms.other.insert(stacking, cbor::int(1));
    });
    let refused = Refusal::TermsNotSupported(vec![10]);
    assert_eq!(granted(&state, &order(|_| ())), Err(refused));
}

#[test]
fn a_basket_is_in_the_campaigns_currency() {
    let state = state(off(100), |_| ());
    let dollars = order(|order| order.basket.currency = Currency::from_letters("USD").unwrap());
    assert!(matches!(
        decide(&state, &dollars),
        Err(Refusal::CurrencyDiffers { .. })
    ));
}

#[test]
fn only_named_co_ops_redeem_where_some_are_named() {
    let other = "did:web:other.example";
    let any = order(|_| ());
    for (names, expected) in [
        (None, Ok(100)),
        (Some(vec![DID]), Ok(100)),
        (Some(vec![other, DID]), Ok(100)),
        (Some(vec![other]), Err(Refusal::RedeemerNotAllowed)),
    ] {
        let state = state(off(100), |campaign| {
            campaign.terms.redeemers = names.map(|names| names.into_iter().map(str::to_owned).collect());
        });
        assert_eq!(granted(&state, &any), expected);
    }
}

const REDEMPTION: RedemptionId = RedemptionId([1; 16]);

/// The same node after the coupon gave 3.00 at [`NOW`].
fn redeemed(benefit: Benefit) -> State {
    let mut state = state(benefit, |_| ());
    let order = order(|order| order.amount = Some(cents(300)));
    let event = decide(&state, &order).unwrap();
    state.redemptions.insert(
        REDEMPTION,
        crate::ledger::RedemptionState {
            entry: 3,
            tag: event.tag,
            name: event.name,
            coupon_amount: None,
            campaign: CAMPAIGN,
            redeemer: event.redeemer.clone(),
            place: event.place.clone(),
            at: UnixSeconds(NOW),
            amount: event.amount,
            reversed: Amount::ZERO,
        },
    );
    apply(&mut state, 3, Event::Redeemed(event));
    state
}

fn apply(state: &mut State, index: u64, event: Event) {
    let recorded = Recorded {
        index,
        hash: Digest([index as u8; 32]),
        time: UnixSeconds(NOW),
        event,
        answers: None,
    };
    state.apply(&recorded, None);
}

fn reversal(change: impl FnOnce(&mut ReversalOrder)) -> ReversalOrder {
    let mut order = ReversalOrder {
        id: RedemptionId([2; 16]),
        redemption: REDEMPTION,
        amount: None,
        give_back: false,
        at: None,
        partner: None,
    };
    change(&mut order);
    order
}

#[test]
fn a_reversal_has_to_come_within_its_window() {
    let state = redeemed(off(300));
    let until = NOW + WINDOW;
    let any = reversal(|_| ());
    assert!(state.decide_reversal(&any, UnixSeconds(until)).is_ok());
    let over = Refusal::ReversalWindowOver(UnixSeconds(until));
    assert_eq!(state.decide_reversal(&any, UnixSeconds(until + 1)), Err(over));

    // Its own time counts where it has one, and is told where it differs.
    for (at, told) in [(until, Some(UnixSeconds(until))), (until + 9, None)] {
        let own = reversal(|order| order.at = Some(UnixSeconds(at)));
        let decided = state.decide_reversal(&own, UnixSeconds(until + 9));
        assert_eq!(decided.ok().map(|reversed| reversed.at), told.map(Some));
    }
    let now = reversal(|order| order.at = Some(UnixSeconds(NOW)));
    let decided = state.decide_reversal(&now, UnixSeconds(NOW)).unwrap();
    assert_eq!(decided.at, None);
}

#[test]
fn no_more_is_reversed_than_was_granted() {
    let state = redeemed(card(500));
    let part = |units| reversal(|order| order.amount = Some(cents(units)));
    for (units, fits) in [(1, true), (300, true), (0, false), (-1, false), (301, false)] {
        let decided = state.decide_reversal(&part(units), UnixSeconds(NOW));
        let refused = Refusal::ReversalTooLarge { left: cents(300) };
        assert_eq!(decided.err(), (!fits).then_some(refused), "{units}");
    }
}

#[test]
fn a_single_use_is_given_back_whole() {
    let part = |give_back| {
        reversal(|order| {
            order.amount = Some(cents(299));
            order.give_back = give_back;
        })
    };
    let whole = reversal(|order| order.give_back = true);
    let now = UnixSeconds(NOW);

    let coupon = redeemed(off(300));
    let refused = coupon.decide_reversal(&part(true), now);
    assert_eq!(refused, Err(Refusal::GiveBackNeedsWhole));
    let kept = coupon.decide_reversal(&part(false), now).unwrap();
    assert_eq!((kept.uses_after, kept.used_up), (1, true));
    let given = coupon.decide_reversal(&whole, now).unwrap();
    assert_eq!((given.uses_after, given.used_up), (0, false));

    // Of a stored value any part goes back.
    let card = redeemed(card(500));
    let given = card.decide_reversal(&part(true), now).unwrap();
    assert_eq!((given.spent_after, given.used_up), (cents(1), false));
}

#[test]
fn a_redemption_that_is_not_known_is_not_reversed() {
    let state = redeemed(off(300));
    let other = reversal(|order| order.redemption = RedemptionId([8; 16]));
    let decided = state.decide_reversal(&other, UnixSeconds(NOW));
    assert_eq!(decided, Err(Refusal::RedemptionUnknown));
}
