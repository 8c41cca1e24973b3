//! What the tests of bodies need to know of kinds 9 to 15: the same bodies built of
//! values, and events of each kind.

use proptest::option::of as maybe;
use proptest::prelude::*;
use serde_cbor::Value;

use super::super::tests::{amounts, campaigns, digests, ids, names, registers, times};
use super::*;
use crate::encoding::cbor::{bytes, int, optional, text};
use crate::primitives::{Amount, CouponName, Register, UnixSeconds};

/// The body's items, built of values.
pub(in super::super) fn slow_items(event: &Event, answers: Value, salt: Value) -> Vec<Value> {
    let amount = |amount: Amount| int(amount.minor_units());
    let name = |name: CouponName| Value::Array(vec![int(name.list), int(name.index)]);
    match event {
        Event::Intent(intent) => vec![
            bytes(intent.id),
            bytes(intent.tag),
            name(intent.name),
            text(&intent.issuer),
            bytes(intent.campaign),
            int(intent.currency.number()),
            text(intent.register.as_str()),
            Value::Array(match intent.wish {
                Wish::Redeem {
                    basket_total,
                    amount: asked,
                } => vec![int(1), amount(basket_total), optional(asked, amount)],
                Wish::Reverse {
                    redemption,
                    redemption_entry,
                    amount: asked,
                    give_back,
                } => vec![
                    int(2),
                    bytes(redemption),
                    int(redemption_entry),
                    optional(asked, amount),
                    Value::Bool(give_back),
                ],
            }),
            int(intent.not_after.0),
            bytes(intent.request),
            answers,
        ],
        Event::RedeemerHalf(half) => vec![
            bytes(half.id),
            bytes(half.tag),
            int(half.intent_entry),
            text(&half.issuer),
            int(half.issuer_entry),
            bytes(half.issuer_hash),
            bytes(half.campaign),
            int(half.currency.number()),
            amount(half.amount),
            optional(half.remaining_uses, int),
            optional(half.remaining_value, amount),
            optional(half.reverses, |reverses| {
                Value::Array(vec![
                    bytes(reverses.redemption),
                    int(reverses.entry),
                    amount(reverses.reversed_after),
                ])
            }),
            answers,
        ],
        Event::IntentEnded(ended) => vec![
            bytes(ended.id),
            bytes(ended.tag),
            int(ended.intent_entry),
            Value::Array(match &ended.end {
                End::Refused { code, detail } => vec![int(1), text(code), text(detail)],
                End::Cancelled {
                    issuer_entry,
                    issuer_hash,
                } => vec![int(2), int(*issuer_entry), bytes(issuer_hash)],
            }),
            answers,
        ],
        Event::CancelWished(wished) => vec![
            bytes(wished.id),
            bytes(wished.tag),
            int(wished.intent_entry),
            answers,
        ],
        Event::RequestCancelled(cancelled) => {
            vec![bytes(cancelled.request_id), text(&cancelled.redeemer), salt]
        }
        Event::Redeemed(redeemed) => vec![
            bytes(redeemed.id),
            bytes(redeemed.tag),
            name(redeemed.name),
            int(redeemed.batch_entry),
            int(redeemed.leaf),
            bytes(redeemed.campaign),
            amount(redeemed.amount),
            amount(redeemed.basket_total),
            text(&redeemed.issuer),
            text(&redeemed.redeemer),
            match redeemed.place {
                Place::Partner { request_id } => bytes(request_id),
                Place::Register(_) => unreachable!("a body of kind 4"),
            },
            bytes(redeemed.request),
            bytes(redeemed.previous),
            int(redeemed.uses_after),
            amount(redeemed.spent_after),
            Value::Bool(redeemed.used_up),
        ],
        Event::Reversed(reversed) => {
            let call = reversed.partner.as_ref().expect("a body of kind 14");
            vec![
                bytes(reversed.id),
                bytes(reversed.redemption),
                int(reversed.redemption_entry),
                bytes(reversed.tag),
                name(reversed.name),
                bytes(reversed.campaign),
                amount(reversed.amount),
                Value::Bool(reversed.give_back),
                bytes(reversed.previous),
                int(reversed.latest_redemption_entry),
                int(reversed.uses_after),
                amount(reversed.spent_after),
                amount(reversed.reversed_after),
                Value::Bool(reversed.used_up),
                text(&call.redeemer),
                bytes(call.request_id),
                bytes(call.request),
            ]
        }
        _ => unreachable!("of another kind"),
    }
}

fn dids() -> impl Strategy<Value = String> {
    "did:web:[a-z]{1,20}\\.example"
}

fn tags() -> impl Strategy<Value = Tag> {
    digests().prop_map(|digest| Tag(digest.0))
}

fn currencies() -> impl Strategy<Value = Currency> {
    prop_oneof![Just("EUR"), Just("GBP"), Just("JPY")]
        .prop_map(|letters| Currency::from_letters(letters).unwrap())
}

fn wishes() -> impl Strategy<Value = Wish> {
    let redeem = (amounts(), maybe(amounts()))
        .prop_map(|(basket_total, amount)| Wish::Redeem { basket_total, amount });
    let reverse = (ids(), any::<u64>(), maybe(amounts()), any::<bool>()).prop_map(
        |(redemption, redemption_entry, amount, give_back)| Wish::Reverse {
            redemption,
            redemption_entry,
            amount,
            give_back,
        },
    );
    prop_oneof![redeem, reverse]
}

fn intents() -> impl Strategy<Value = Event> {
    let what = (ids(), tags(), names(), dids(), campaigns(), currencies());
    let how = (registers(), wishes(), times(), digests());
    (what, how).prop_map(|(what, how): (_, (Register, Wish, UnixSeconds, Digest))| {
        Event::Intent(Intent {
            id: what.0,
            tag: what.1,
            name: what.2,
            issuer: what.3,
            campaign: what.4,
            currency: what.5,
            register: how.0,
            wish: how.1,
            not_after: how.2,
            request: how.3,
        })
    })
}

fn halves() -> impl Strategy<Value = Event> {
    let reverses =
        (ids(), any::<u64>(), amounts()).prop_map(|(redemption, entry, reversed_after)| Reverses {
            redemption,
            entry,
            reversed_after,
        });
    let what = (ids(), tags(), any::<u64>(), dids(), any::<u64>(), digests());
    let how = (
        campaigns(),
        currencies(),
        amounts(),
        maybe(any::<u32>()),
        maybe(amounts()),
        maybe(reverses),
    );
    (what, how).prop_map(|(what, how)| {
        Event::RedeemerHalf(RedeemerHalf {
            id: what.0,
            tag: what.1,
            intent_entry: what.2,
            issuer: what.3,
            issuer_entry: what.4,
            issuer_hash: what.5,
            campaign: how.0,
            currency: how.1,
            amount: how.2,
            remaining_uses: how.3,
            remaining_value: how.4,
            reverses: how.5,
        })
    })
}

fn ends() -> impl Strategy<Value = Event> {
    let refused = ("[a-z_]{1,30}", ".{0,60}").prop_map(|(code, detail)| End::Refused { code, detail });
    let cancelled = (any::<u64>(), any::<[u8; 32]>()).prop_map(|(issuer_entry, hash)| End::Cancelled {
        issuer_entry,
        issuer_hash: Digest(hash),
    });
    let end = prop_oneof![refused, cancelled];
    (ids(), tags(), any::<u64>(), end).prop_map(|(id, tag, intent_entry, end)| {
        Event::IntentEnded(IntentEnded {
            id,
            tag,
            intent_entry,
            end,
        })
    })
}

fn small() -> impl Strategy<Value = Event> {
    let wished = (ids(), tags(), any::<u64>()).prop_map(|(id, tag, intent_entry)| {
        Event::CancelWished(CancelWished {
            id,
            tag,
            intent_entry,
        })
    });
    let cancelled = (ids(), dids()).prop_map(|(request_id, redeemer)| {
        Event::RequestCancelled(RequestCancelled { request_id, redeemer })
    });
    prop_oneof![wished, cancelled]
}

/// An issuer half of what was recorded at a register.
fn for_partner(event: Event, request_id: RedemptionId, redeemer: String) -> Event {
    match event {
        Event::Redeemed(redeemed) => Event::Redeemed(Redeemed {
            issuer: redeemer.clone(),
            redeemer,
            place: Place::Partner { request_id },
            at: None,
            mark: Mark::Live,
            ..redeemed
        }),
        Event::Reversed(reversed) => Event::Reversed(Reversed {
            at: None,
            partner: Some(PartnerCall {
                redeemer,
                request_id,
                request: reversed.previous,
            }),
            ..reversed
        }),
        other => other,
    }
}

/// An event of any of these kinds; `at_registers` gives redemptions and reversals.
pub(in super::super) fn events(
    at_registers: impl Strategy<Value = Event> + 'static,
) -> impl Strategy<Value = Event> {
    let served =
        (at_registers, ids(), dids()).prop_map(|(event, id, redeemer)| for_partner(event, id, redeemer));
    prop_oneof![intents(), halves(), ends(), small(), served]
}
