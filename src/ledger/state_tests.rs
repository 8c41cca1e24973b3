//! What is kept and counted, and what a status covers, by hand; the whole state
//! under random commands is compared with a model in `model_tests`.

use super::*;
use crate::credential::{Algorithm, Benefit};
use crate::ledger::{
    CampaignSigned, Mark, ReceiptIssued, StatusDecision, StatusListSigned, StatusOrder, StatusSet,
    StatusTarget,
};
use crate::primitives::{Currency, KeyId};

const CAMPAIGN: CampaignId = CampaignId([7; 16]);
const NOW: UnixSeconds = UnixSeconds(1_000_000);

fn cents(units: i64) -> Amount {
    Amount::new(units).unwrap()
}

fn name(list: u32, index: u32) -> CouponName {
    CouponName { list, index }
}

fn campaign() -> CampaignState {
    let benefit = Benefit::AmountOff { amount: cents(100) };
    CampaignState {
        terms: Terms::new("Spring", "", Currency::from_letters("EUR").unwrap(), benefit),
        issued_at: NOW,
        not_before: NOW,
        not_after: NOW.plus(10_000),
        entry: 1,
        issued: 0,
        redemptions: 0,
        spent: Amount::ZERO,
        flags: StatusFlags::default(),
        as_of: 2,
    }
}

fn state() -> State {
    State {
        campaigns: [(CAMPAIGN, campaign())].into(),
        ..State::default()
    }
}

fn recorded(index: u64, event: Event) -> Recorded {
    Recorded {
        index,
        hash: Digest([9; 32]),
        time: NOW,
        event,
        answers: None,
    }
}

fn batch(first: u64, count: u32) -> Event {
    Event::BatchIssued(BatchIssued {
        campaign: CAMPAIGN,
        first: Position(first),
        count,
        not_before: None,
        not_after: NOW.plus(10_000),
        amount: None,
        kid: KeyId([1; 8]),
        algorithm: Algorithm::EdDsa,
        tags_root: Digest([2; 32]),
    })
}

fn receipt(register: &Register, sequence_number: u64) -> Event {
    Event::ReceiptIssued(ReceiptIssued {
        tag: Tag([3; 32]),
        register: register.clone(),
        sequence_number,
        mark: Mark::Live,
        at: None,
    })
}

fn redeemed(amount: i64) -> Event {
    Event::Redeemed(Redeemed {
        id: RedemptionId([1; 16]),
        tag: Tag([3; 32]),
        name: name(0, 5),
        batch_entry: 2,
        leaf: 0,
        campaign: CAMPAIGN,
        amount: cents(amount),
        basket_total: cents(1_000),
        issuer: String::new(),
        redeemer: String::new(),
        place: Place::Register(Register::new("lane-1").unwrap()),
        request: Digest::default(),
        previous: Digest::default(),
        uses_after: 1,
        spent_after: cents(amount),
        used_up: true,
        at: None,
        mark: Mark::Live,
    })
}

fn reversed(amount: i64) -> Event {
    Event::Reversed(Reversed {
        id: RedemptionId([2; 16]),
        redemption: RedemptionId([1; 16]),
        redemption_entry: 3,
        tag: Tag([3; 32]),
        name: name(0, 5),
        campaign: CAMPAIGN,
        amount: cents(amount),
        give_back: true,
        previous: Digest([9; 32]),
        latest_redemption_entry: 3,
        uses_after: 0,
        spent_after: Amount::ZERO,
        reversed_after: cents(amount),
        used_up: false,
        at: None,
        partner: None,
    })
}

fn set(target: StatusTarget, status: NewStatus) -> Event {
    Event::StatusSet(StatusSet {
        target,
        status,
        changed: 1,
    })
}

#[test]
fn flags_fit_a_byte() {
    for byte in 0..8 {
        let flags = StatusFlags::from_byte(byte);
        assert_eq!(flags.to_byte(), byte);
        assert_eq!(flags.revoked, byte % 2 == 1);
        assert_eq!(flags.suspended, byte / 2 % 2 == 1);
        assert_eq!(flags.used_up, byte / 4 == 1);
    }
}

#[test]
fn a_suspension_is_lifted_and_a_revocation_stays() {
    use NewStatus::{Revoked, Suspended, Valid};
    for (before, status, after) in [
        (0b000, Revoked, 0b001),
        (0b000, Suspended, 0b010),
        (0b000, Valid, 0b000),
        (0b111, Valid, 0b101),
        (0b110, Revoked, 0b111),
        (0b101, Suspended, 0b111),
    ] {
        assert_eq!(StatusFlags::from_byte(before).set(status).to_byte(), after);
    }
}

#[test]
fn what_is_left_of_a_budget() {
    for (budget, spent, left) in [
        (None, 5, None),
        (Some(100), 0, Some(100)),
        (Some(100), 99, Some(1)),
        (Some(100), 100, Some(0)),
        // Another's log may overspend; ours says that nothing is left.
        (Some(100), 101, Some(0)),
    ] {
        let mut campaign = campaign();
        campaign.terms.budget = budget.map(cents);
        campaign.spent = cents(spent);
        assert_eq!(campaign.budget_left(), left.map(cents));
    }
}

#[test]
fn a_status_is_kept_by_list_and_index() {
    let mut state = State::default();
    let last = crate::primitives::limits::STATUS_LIST_LEN - 1;
    let suspended = StatusFlags::from_byte(2);
    for at in [name(0, 0), name(3, last)] {
        assert_eq!(state.status(at), StatusFlags::default());
        state.set_status(at, suspended);
        assert_eq!(state.status(at), suspended);
    }
    assert_eq!(state.status(name(3, 0)), StatusFlags::default());
    // Beyond a list there is none.
    state.set_status(name(0, last + 1), suspended);
    assert_eq!(state.status(name(0, last + 1)), StatusFlags::default());
}

#[test]
fn a_register_counts_from_1_and_no_entry_twice() {
    let mut state = State::default();
    let lane = Register::new("lane-1").unwrap();
    assert_eq!(state.next_sequence_number(&lane), 1);
    state.apply(&recorded(0, receipt(&lane, 1)), None);
    state.apply(&recorded(1, receipt(&lane, 2)), None);
    assert_eq!(state.next_sequence_number(&lane), 3);
    // As when entries are replayed over a newer snapshot.
    for (index, number) in [(0, 1), (1, 2)] {
        state.apply(&recorded(index, receipt(&lane, number)), None);
        assert_eq!(state.next_sequence_number(&lane), 3);
    }
    assert_eq!(state.registers[&lane].as_of, 2);
}

#[test]
fn a_campaign_counts_no_entry_twice() {
    let mut state = state();
    let counted = |state: &State| {
        let campaign = &state.campaigns[&CAMPAIGN];
        (
            campaign.issued,
            campaign.redemptions,
            campaign.spent.minor_units(),
        )
    };
    let entries = [
        (2, batch(10, 4), (4, 0, 0)),
        (3, redeemed(100), (4, 1, 100)),
        (4, reversed(40), (4, 1, 60)),
    ];
    for (index, event, after) in entries.clone() {
        state.apply(&recorded(index, event), None);
        assert_eq!(counted(&state), after);
        assert_eq!(state.campaigns[&CAMPAIGN].as_of, index + 1);
    }
    for (index, event, _) in entries {
        state.apply(&recorded(index, event), None);
        assert_eq!(counted(&state), (4, 1, 60));
    }
}

#[test]
fn positions_are_taken_to_the_furthest_batch() {
    let mut state = state();
    for (first, count, next) in [(0, 3, 3), (10, 5, 15), (3, 7, 15)] {
        state.apply(&recorded(2, batch(first, count)), None);
        assert_eq!(state.next_position, Position(next));
    }
}

#[test]
fn a_redemption_is_known_by_its_coupon_until_it_is_reversed() {
    let mut state = state();
    let at = name(0, 5);
    state.apply(&recorded(3, redeemed(100)), None);
    let coupon = state.coupon(at);
    assert_eq!((coupon.uses, coupon.spent), (1, cents(100)));
    let taken = coupon.last_use.unwrap();
    assert_eq!((taken.entry, taken.at), (3, NOW));
    assert!(state.status(at).used_up);

    state.redemptions.insert(
        RedemptionId([1; 16]),
        RedemptionState {
            entry: 3,
            tag: Tag([3; 32]),
            name: at,
            coupon_amount: None,
            campaign: CAMPAIGN,
            redeemer: String::new(),
            place: Place::Register(Register::new("lane-1").unwrap()),
            at: NOW,
            amount: cents(100),
            reversed: Amount::ZERO,
        },
    );
    state.apply(&recorded(4, reversed(40)), None);
    let coupon = state.coupon(at);
    assert_eq!((coupon.uses, coupon.spent), (0, Amount::ZERO));
    assert_eq!(coupon.last_entry, Digest([9; 32]));
    assert!(!state.status(at).used_up);
    assert_eq!(state.redemptions[&RedemptionId([1; 16])].reversed, cents(40));
}

#[test]
fn a_campaign_is_kept_as_it_was_first_signed() {
    let mut state = State::default();
    let signed = Event::CampaignSigned(CampaignSigned {
        id: CAMPAIGN,
        credential: Vec::new(),
    });
    state.apply(&recorded(1, signed.clone()), Some(campaign()));
    let counted = CampaignState {
        issued: 5,
        ..campaign()
    };
    state.apply(&recorded(1, signed), Some(counted));
    assert_eq!(state.campaign(&CAMPAIGN), Ok(&campaign()));
    assert_eq!(
        state.campaign(&CampaignId([8; 16])),
        Err(Refusal::CampaignUnknown)
    );
}

#[test]
fn the_newest_token_of_a_list_is_known() {
    let mut state = State::default();
    let signed = |issued_at| {
        Event::StatusListSigned(StatusListSigned {
            list: 3,
            issued_at,
            expires: NOW,
            token: Digest::default(),
        })
    };
    for at in [NOW, NOW.plus(1)] {
        state.apply(&recorded(1, signed(at)), None);
        assert_eq!(state.list_versions, [(3, at)].into());
    }
}

#[test]
fn a_status_covers_what_it_is_set_for() {
    let mut state = state();
    let coupons = [name(0, 1), name(1, 2)];
    let revoke = set(StatusTarget::Batch(2), NewStatus::Revoked);
    state.cover(&revoke, coupons);
    assert!(coupons.iter().all(|at| state.status(*at).revoked));
    assert!(!state.status(name(0, 2)).revoked);

    // Coupons issued under a closed campaign are closed from the first.
    let later = [name(0, 3), name(0, 4)];
    state.cover(&batch(3, 2), later);
    assert!(later.iter().all(|at| state.status(*at) == StatusFlags::default()));
    assert!(later.iter().all(|at| state.lists[&0][at.index as usize] == 0));
    let suspend = set(StatusTarget::Campaign(CAMPAIGN), NewStatus::Suspended);
    state.apply(&recorded(5, suspend), None);
    state.cover(&batch(3, 2), later);
    assert!(later.iter().all(|at| state.status(*at).suspended));

    // What is no status covers nothing.
    state.cover(&redeemed(1), [name(0, 9)]);
    assert_eq!(state.status(name(0, 9)), StatusFlags::default());
}

#[test]
fn an_open_campaigns_batch_needs_no_list() {
    let mut state = state();
    state.cover(&batch(0, 1), [name(0, 0)]);
    assert!(state.lists.is_empty());
}

fn decide(
    state: &State,
    target: StatusTarget,
    status: NewStatus,
    coupons: &[CouponName],
) -> Result<StatusDecision, Refusal> {
    state.decide_status(&StatusOrder { target, status }, coupons.iter().copied())
}

#[test]
fn a_change_of_status_counts_what_it_changes() {
    let mut state = state();
    state.set_status(name(0, 1), StatusFlags::from_byte(2));
    let coupons = [name(0, 0), name(0, 1), name(1, 0), name(2, 0), name(0, 2)];
    for (status, changed, lists) in [
        (NewStatus::Suspended, 4, vec![0, 1, 2]),
        (NewStatus::Valid, 1, vec![0]),
        (NewStatus::Revoked, 5, vec![0, 1, 2]),
    ] {
        let decided = decide(&state, StatusTarget::Batch(2), status, &coupons).unwrap();
        let lists = lists.into_iter().collect();
        assert_eq!(decided, StatusDecision { changed, lists });
    }
}

#[test]
fn a_status_needs_something_to_be_set_for() {
    let state = state();
    let (campaign, batch) = (StatusTarget::Campaign(CAMPAIGN), StatusTarget::Batch(9));
    let unknown = decide(&state, batch, NewStatus::Revoked, &[]);
    assert_eq!(unknown, Err(Refusal::TargetUnknown));
    // A campaign without coupons is closed for those to come.
    assert!(decide(&state, campaign, NewStatus::Revoked, &[]).is_ok());
    let other = StatusTarget::Campaign(CampaignId([8; 16]));
    let unknown = decide(&state, other, NewStatus::Revoked, &[]);
    assert_eq!(unknown, Err(Refusal::CampaignUnknown));
}

#[test]
fn what_is_revoked_stays_so() {
    let mut state = state();
    let coupon = name(0, 1);
    state.set_status(coupon, StatusFlags::from_byte(1));
    state.campaigns.get_mut(&CAMPAIGN).unwrap().flags.revoked = true;
    for target in [StatusTarget::Coupon(coupon), StatusTarget::Campaign(CAMPAIGN)] {
        for status in [NewStatus::Suspended, NewStatus::Valid] {
            let decided = decide(&state, target, status, &[coupon]);
            assert_eq!(decided, Err(Refusal::RevocationFinal));
        }
        let again = decide(&state, target, NewStatus::Revoked, &[coupon]).unwrap();
        assert_eq!(again, StatusDecision::default());
    }
    // Of a batch the others change.
    let coupons = [coupon, name(0, 2)];
    let decided = decide(&state, StatusTarget::Batch(2), NewStatus::Suspended, &coupons);
    assert!(decided.is_ok());
}
