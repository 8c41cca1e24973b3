//! What a campaign's terms and an order of coupons may say, at each boundary.

use super::*;
use crate::credential::{Algorithm, Terms};
use crate::encoding::cbor;
use crate::ledger::{BatchIssued, CampaignState, StatusFlags};
use crate::primitives::{Currency, Digest, KeyId, Position};

const START: u64 = 1_000_000;
const END: u64 = START + 10_000;

fn cents(units: i64) -> Amount {
    Amount::new(units).unwrap()
}

fn euro_off() -> Benefit {
    Benefit::AmountOff { amount: cents(100) }
}

fn draft(change: impl FnOnce(&mut CampaignDraft)) -> CampaignDraft {
    let mut draft = CampaignDraft {
        terms: Terms::new(
            "Spring",
            "One euro off",
            Currency::from_letters("EUR").unwrap(),
            euro_off(),
        ),
        not_before: UnixSeconds(START),
        not_after: UnixSeconds(END),
    };
    change(&mut draft);
    draft
}

fn terms(change: impl FnOnce(&mut Terms)) -> CampaignDraft {
    draft(|draft| change(&mut draft.terms))
}

fn benefit(benefit: Benefit) -> CampaignDraft {
    terms(|terms| terms.benefit = benefit)
}

fn percent(basis_points: u32, cap: Option<i64>) -> CampaignDraft {
    let cap = cap.map(cents);
    benefit(Benefit::PercentOff { basis_points, cap })
}

fn redeemers(names: &[&str]) -> CampaignDraft {
    terms(|terms| terms.redeemers = Some(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[track_caller]
fn accepted(what: &str, draft: &CampaignDraft) {
    assert_eq!(draft.check(), Ok(()), "{what}");
}

#[track_caller]
fn refused(what: &str, draft: &CampaignDraft, why: &str) {
    assert_eq!(
        draft.check(),
        Err(Refusal::TermsInvalid(why.to_owned())),
        "{what}"
    );
}

#[test]
fn terms_that_this_node_does_not_know_are_named() {
    let unknown = terms(|terms| {
        terms.other.insert(10, cbor::int(1));
        terms.other.insert(13, cbor::int(1));
    });
    assert_eq!(unknown.check(), Err(Refusal::TermsNotSupported(vec![10, 13])));
}

#[test]
fn a_campaign_ends_after_it_begins_and_before_the_year_10000() {
    let last = limits::UNIX_SECONDS_MAX;
    let lasting = |from, until| {
        draft(|draft| {
            draft.not_before = UnixSeconds(from);
            draft.not_after = UnixSeconds(until);
        })
    };
    accepted("one second", &lasting(START, START + 1));
    for (from, until) in [(START, START), (START + 1, START)] {
        let why = "not_after has to be later than not_before";
        refused("nothing or less", &lasting(from, until), why);
    }
    accepted("to the last second of 9999", &lasting(START, last));
    let why = "not_after lies beyond the year 9999";
    refused("a second more", &lasting(START, last + 1), why);
}

#[test]
fn what_a_coupon_gives_is_more_than_nothing() {
    type Make = fn(i64) -> Benefit;
    let by_amount: [Make; 2] = [
        |units| Benefit::AmountOff { amount: cents(units) },
        |units| Benefit::StoredValue { value: cents(units) },
    ];
    for make in by_amount {
        accepted("a cent", &benefit(make(1)));
        for units in [0, -1] {
            let why = "the benefit's amount has to be positive";
            refused("no cent", &benefit(make(units)), why);
        }
    }

    accepted("a hundredth of a percent", &percent(1, None));
    accepted("all of it", &percent(10_000, None));
    for basis_points in [0, 10_001] {
        let why = "basis_points have to be from 1 to 10,000";
        refused("no share", &percent(basis_points, None), why);
        refused("no share, with a cap", &percent(basis_points, Some(1)), why);
    }

    accepted("at most a cent", &percent(500, Some(1)));
    for cap in [0, -1] {
        refused(
            "at most nothing",
            &percent(500, Some(cap)),
            "the cap has to be positive",
        );
    }
}

#[test]
fn limits_leave_room_for_something() {
    type Set = fn(&mut Terms, i64);
    let amounts: [(Set, &str); 2] = [
        (
            |terms, units| terms.minimum_basket = Some(cents(units)),
            "minimum_basket has to be positive, or left out",
        ),
        (
            |terms, units| terms.budget = Some(cents(units)),
            "the budget has to be positive",
        ),
    ];
    for (set, why) in amounts {
        accepted("a cent", &terms(|terms| set(terms, 1)));
        for units in [0, -1] {
            refused("no cent", &terms(|terms| set(terms, units)), why);
        }
    }
    let uses = |uses| terms(|terms| terms.uses_per_coupon = Some(uses));
    accepted("one use", &uses(1));
    refused("no use", &uses(0), "uses_per_coupon is at least 1");
}

#[test]
fn a_name_has_1_to_200_bytes_in_one_line() {
    let named = |name: &str| terms(|terms| terms.name = name.to_owned());
    accepted("a letter", &named("x"));
    accepted("200 bytes of 100 letters", &named(&"Ä".repeat(100)));
    for name in ["", "  ", &"x".repeat(201), "bell\u{7}", "two\nlines"] {
        let why = "the name has 1 to 200 bytes without control characters";
        refused(name, &named(name), why);
    }
}

#[test]
fn a_text_has_at_most_2000_bytes_in_any_number_of_lines() {
    let saying = |text: &str| terms(|terms| terms.text = text.to_owned());
    accepted("nothing", &saying(""));
    accepted("2,000 bytes", &saying(&"x".repeat(2_000)));
    accepted("two lines", &saying("one\ntwo"));
    for text in [&*"x".repeat(2_001), "bell\u{7}"] {
        let why = "the text has at most 2,000 bytes without control characters but newlines";
        refused(text, &saying(text), why);
    }
}

#[test]
fn redeemers_are_1_to_20_co_ops_by_did_web() {
    let coop = "did:web:coop.example";
    accepted("one", &redeemers(&[coop]));
    accepted("twenty", &redeemers(&[coop; 20]));
    for names in [vec![], vec![coop; 21]] {
        let why = "redeemers names 1 to 20 co-ops, or is left out";
        refused("none or too many", &redeemers(&names), why);
    }
    let long = format!("did:web:{}", "x".repeat(293));
    for other in [
        "did:web:",
        "coop.example",
        "did:key:z6Mk",
        "did:web:co\u{7}op",
        &long,
    ] {
        let why = "redeemers are named by did:web, such as did:web:coop.example";
        refused(other, &redeemers(&[coop, other]), why);
    }
}

#[test]
fn what_is_no_address_is_refused_by_the_credentials_own_rules() {
    // Rules that reading a campaign has beyond those above.
    let cases = [
        redeemers(&["did:web:co op"]),
        terms(|terms| terms.reversal_window_seconds = Some(limits::UNIX_SECONDS_MAX + 1)),
    ];
    for draft in cases {
        assert!(
            matches!(draft.check(), Err(Refusal::TermsInvalid(_))),
            "{draft:?}"
        );
    }
}

const CAMPAIGN: CampaignId = CampaignId([7; 16]);

/// A node that knows one campaign, from [`START`] to [`END`].
fn state(benefit: Benefit, flags: StatusFlags) -> State {
    let CampaignDraft {
        mut terms,
        not_before,
        not_after,
    } = draft(|_| ());
    terms.benefit = benefit;
    let campaign = CampaignState {
        terms,
        issued_at: not_before,
        not_before,
        not_after,
        entry: 1,
        issued: 0,
        redemptions: 0,
        spent: Amount::ZERO,
        flags,
        as_of: 2,
    };
    State {
        campaigns: [(CAMPAIGN, campaign)].into(),
        ..State::default()
    }
}

fn order(change: impl FnOnce(&mut BatchOrder)) -> BatchOrder {
    let mut order = BatchOrder {
        campaign: CAMPAIGN,
        count: 1,
        amount: None,
        not_before: None,
        not_after: None,
    };
    change(&mut order);
    order
}

/// The end of the coupons ordered at `now` from an open campaign of one euro off.
fn ordered(order: &BatchOrder, now: u64) -> Result<u64, Refusal> {
    let state = state(euro_off(), StatusFlags::default());
    state.decide_batch(order, UnixSeconds(now)).map(|end| end.0)
}

fn unfit<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::BatchInvalid(why.to_owned()))
}

#[test]
fn coupons_are_ordered_from_an_open_campaign_until_it_ends() {
    let any = order(|_| ());
    // Before it begins too: coupons may be handed out ahead.
    for now in [0, START, END - 1] {
        assert_eq!(ordered(&any, now), Ok(END));
    }
    assert_eq!(ordered(&any, END), Err(Refusal::CampaignEnded(UnixSeconds(END))));

    let unknown = order(|order| order.campaign = CampaignId([8; 16]));
    assert_eq!(ordered(&unknown, START), Err(Refusal::CampaignUnknown));

    for (flags, closed) in [(1, "revoked"), (2, "suspended"), (3, "revoked")] {
        let state = state(euro_off(), StatusFlags::from_byte(flags));
        let decided = state.decide_batch(&any, UnixSeconds(START));
        assert_eq!(decided, Err(Refusal::CampaignClosed(closed)));
    }
}

#[test]
fn at_least_one_coupon_is_ordered() {
    assert_eq!(
        ordered(&order(|order| order.count = 0), START),
        unfit("count is at least 1")
    );
}

#[test]
fn an_amount_of_their_own_is_positive_and_in_place_of_another() {
    let own = |units| order(|order| order.amount = Some(cents(units)));
    assert_eq!(ordered(&own(1), START), Ok(END));
    for units in [0, -1] {
        assert_eq!(
            ordered(&own(units), START),
            unfit("the amount has to be positive")
        );
    }
    let percentage = Benefit::PercentOff {
        basis_points: 500,
        cap: None,
    };
    let state = state(percentage, StatusFlags::default());
    assert_eq!(
        state.decide_batch(&own(1), UnixSeconds(START)),
        unfit("a coupon's own amount does not go with a percentage")
    );
    assert!(state.decide_batch(&order(|_| ()), UnixSeconds(START)).is_ok());
}

#[test]
fn coupons_own_dates_lie_within_the_campaigns() {
    let dated = |from: u64, until: u64| {
        order(|order| {
            order.not_before = Some(UnixSeconds(from));
            order.not_after = Some(UnixSeconds(until));
        })
    };
    for (from, until) in [(START, END), (START, START + 1), (END - 1, END)] {
        assert_eq!(ordered(&dated(from, until), START), Ok(until));
    }
    for (from, until) in [(START - 1, END), (START, END + 1)] {
        let why = "coupons are valid within their campaign's dates";
        assert_eq!(ordered(&dated(from, until), START), unfit(why));
    }
    for (from, until) in [(START + 5, START + 5), (START + 6, START + 5)] {
        let why = "not_after has to be later than not_before";
        assert_eq!(ordered(&dated(from, until), START), unfit(why));
    }
}

#[test]
fn the_coupons_of_a_batch_stand_one_after_another() {
    let batch = BatchIssued {
        campaign: CAMPAIGN,
        first: Position(1_000),
        count: 3,
        not_before: None,
        not_after: UnixSeconds(END),
        amount: None,
        kid: KeyId([1; 8]),
        algorithm: Algorithm::EdDsa,
        tags_root: Digest([2; 32]),
    };
    let positions = [0, 1, 2].map(|leaf| batch.position(leaf).0);
    assert_eq!(positions, [1_000, 1_001, 1_002]);
}
