use proptest::option::of as maybe;
use proptest::prelude::*;

use super::partner::tests as partner_tests;
use super::*;
use crate::encoding::cbor::{self, bytes, int, optional, text};

/// The body as a value, for the CBOR library to encode.
fn slow_body(event: &Event, answers: Option<&Answers>, salt: [u8; 16]) -> Value {
    let answers = optional(answers, |answers| {
        Value::Array(vec![
            bytes(answers.key),
            optional(answers.reference, bytes),
            bytes(answers.request),
        ])
    });
    let salt = bytes(salt);
    let time = |at: UnixSeconds| int(at.0);
    let amount = |amount: Amount| int(amount.minor_units());
    let name = |name: CouponName| Value::Array(vec![int(name.list), int(name.index)]);
    Value::Array(match event {
        event if (9..=15).contains(&event.kind()) => partner_tests::slow_items(event, answers, salt),
        Event::Genesis(genesis) => vec![
            text(&genesis.name),
            text(&genesis.base_url),
            bytes(genesis.credential_key),
            bytes(genesis.log_key),
            bytes(genesis.witness_key),
        ],
        Event::CampaignSigned(signed) => vec![bytes(&signed.credential), bytes(signed.id), answers, salt],
        Event::BatchIssued(batch) => vec![
            bytes(batch.campaign),
            int(batch.first.0),
            int(batch.count),
            optional(batch.not_before, time),
            int(batch.not_after.0),
            optional(batch.amount, amount),
            bytes(batch.kid),
            int(batch.algorithm.number()),
            bytes(batch.tags_root),
            answers,
            salt,
        ],
        Event::ReceiptIssued(receipt) => vec![
            bytes(receipt.tag),
            text(receipt.register.as_str()),
            int(receipt.sequence_number),
            int(receipt.mark as u8),
            optional(receipt.at, time),
            answers,
        ],
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
            match &redeemed.place {
                Place::Register(register) => text(register.as_str()),
                Place::Partner { .. } => unreachable!("bodies of kind 4"),
            },
            bytes(redeemed.request),
            bytes(redeemed.previous),
            int(redeemed.uses_after),
            amount(redeemed.spent_after),
            Value::Bool(redeemed.used_up),
            optional(redeemed.at, |at| match redeemed.mark {
                Mark::Import => Value::Array(vec![int(2), int(at.0)]),
                Mark::Live | Mark::Offline => int(at.0),
            }),
            answers,
        ],
        Event::Reversed(reversed) => vec![
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
            optional(reversed.at, time),
            answers,
        ],
        Event::StatusSet(set) => vec![
            Value::Array(match set.target {
                StatusTarget::Coupon(name) => vec![int(1), int(name.list), int(name.index)],
                StatusTarget::Batch(entry) => vec![int(2), int(entry)],
                StatusTarget::Campaign(id) => vec![int(3), bytes(id)],
            }),
            int(set.status as u8),
            int(set.changed),
            answers,
            salt,
        ],
        Event::StatusListSigned(signed) => vec![
            int(signed.list),
            int(signed.issued_at.0),
            int(signed.expires.0),
            bytes(signed.token),
            salt,
        ],
        Event::ReceiptErased(erased) => vec![
            bytes(erased.tag),
            int(erased.receipt_entry),
            text(&erased.reason),
            int(erased.erased),
            answers,
        ],
        Event::CredentialKeyAdded(added) => vec![bytes(added.key), int(added.previous), salt],
        _ => unreachable!("a partner's"),
    })
}

pub(super) fn amounts() -> impl Strategy<Value = Amount> {
    (-limits::AMOUNT_MAX..=limits::AMOUNT_MAX).prop_map(|units| Amount::new(units).unwrap())
}

pub(super) fn times() -> impl Strategy<Value = UnixSeconds> {
    any::<u64>().prop_map(UnixSeconds)
}

pub(super) fn names() -> impl Strategy<Value = CouponName> {
    (any::<u32>(), 0..limits::STATUS_LIST_LEN).prop_map(|(list, index)| CouponName { list, index })
}

pub(super) fn registers() -> impl Strategy<Value = Register> {
    "[!-~]{1,19}".prop_map(|name| Register::new(name).unwrap())
}

pub(super) fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

pub(super) fn ids() -> impl Strategy<Value = RedemptionId> {
    any::<[u8; 16]>().prop_map(RedemptionId)
}

pub(super) fn campaigns() -> impl Strategy<Value = CampaignId> {
    any::<[u8; 16]>().prop_map(CampaignId)
}

fn genesis_events() -> impl Strategy<Value = Event> {
    (".{0,40}", ".{0,40}", any::<[[u8; 32]; 3]>()).prop_map(|(name, base_url, [a, b, c])| {
        Event::Genesis(Genesis {
            name,
            base_url,
            credential_key: a,
            log_key: b,
            witness_key: c,
        })
    })
}

fn batches() -> impl Strategy<Value = Event> {
    let algorithms = prop_oneof![Just(Algorithm::EdDsa), Just(Algorithm::Ed25519)];
    let times = (maybe(times()), times(), maybe(amounts()));
    let rest = (any::<[u8; 8]>(), algorithms, digests());
    (campaigns(), any::<u64>(), any::<u32>(), times, rest).prop_map(
        |(campaign, first, count, (not_before, not_after, amount), (kid, algorithm, tags_root))| {
            Event::BatchIssued(BatchIssued {
                campaign,
                first: Position(first),
                count,
                not_before,
                not_after,
                amount,
                kid: KeyId(kid),
                algorithm,
                tags_root,
            })
        },
    )
}

fn receipts() -> impl Strategy<Value = Event> {
    let marks = prop_oneof![Just(Mark::Live), Just(Mark::Offline), Just(Mark::Import)];
    (digests(), registers(), any::<u64>(), marks, maybe(times())).prop_map(
        |(tag, register, sequence_number, mark, at)| {
            Event::ReceiptIssued(ReceiptIssued {
                tag: Tag(tag.0),
                register,
                sequence_number,
                mark,
                at,
            })
        },
    )
}

fn redemptions() -> impl Strategy<Value = Event> {
    let what = (ids(), digests(), names(), any::<u64>(), any::<u32>(), campaigns());
    let who = (".{0,60}", ".{0,60}", registers(), digests(), digests());
    let counted = (
        amounts(),
        amounts(),
        any::<u32>(),
        amounts(),
        any::<bool>(),
        maybe(times()),
    );
    (what, who, counted).prop_map(|(what, who, counted)| {
        Event::Redeemed(Redeemed {
            id: what.0,
            tag: Tag(what.1.0),
            name: what.2,
            batch_entry: what.3,
            leaf: what.4,
            campaign: what.5,
            amount: counted.0,
            basket_total: counted.1,
            issuer: who.0,
            redeemer: who.1,
            place: Place::Register(who.2),
            request: who.3,
            previous: who.4,
            uses_after: counted.2,
            spent_after: counted.3,
            used_up: counted.4,
            at: counted.5,
            // A mark stands beside a time.
            mark: match counted.5 {
                Some(at) if at.0.is_multiple_of(2) => Mark::Import,
                _ => Mark::Live,
            },
        })
    })
}

fn reversals() -> impl Strategy<Value = Event> {
    let what = (ids(), ids(), any::<u64>(), digests(), names(), campaigns());
    let counted = (
        amounts(),
        amounts(),
        amounts(),
        any::<u32>(),
        any::<bool>(),
        any::<bool>(),
    );
    (what, digests(), any::<u64>(), counted, maybe(times())).prop_map(
        |(what, previous, latest_redemption_entry, counted, at)| {
            Event::Reversed(Reversed {
                id: what.0,
                redemption: what.1,
                redemption_entry: what.2,
                tag: Tag(what.3.0),
                name: what.4,
                campaign: what.5,
                amount: counted.0,
                give_back: counted.4,
                previous,
                latest_redemption_entry,
                uses_after: counted.3,
                spent_after: counted.1,
                reversed_after: counted.2,
                used_up: counted.5,
                at,
                partner: None,
            })
        },
    )
}

fn statuses() -> impl Strategy<Value = Event> {
    let targets = prop_oneof![
        names().prop_map(StatusTarget::Coupon),
        any::<u64>().prop_map(StatusTarget::Batch),
        campaigns().prop_map(StatusTarget::Campaign),
    ];
    let status = prop_oneof![
        Just(NewStatus::Revoked),
        Just(NewStatus::Suspended),
        Just(NewStatus::Valid)
    ];
    (targets, status, any::<u64>()).prop_map(|(target, status, changed)| {
        Event::StatusSet(StatusSet {
            target,
            status,
            changed,
        })
    })
}

fn lists() -> impl Strategy<Value = Event> {
    (any::<u32>(), times(), times(), digests()).prop_map(|(list, issued_at, expires, token)| {
        Event::StatusListSigned(StatusListSigned {
            list,
            issued_at,
            expires,
            token,
        })
    })
}

fn erasures() -> impl Strategy<Value = Event> {
    (digests(), any::<u64>(), ".{0,60}", any::<u64>()).prop_map(|(tag, receipt_entry, reason, erased)| {
        Event::ReceiptErased(ReceiptErased {
            tag: Tag(tag.0),
            receipt_entry,
            reason,
            erased,
        })
    })
}

fn key_events() -> impl Strategy<Value = Event> {
    (any::<[u8; 32]>(), any::<u64>())
        .prop_map(|(key, previous)| Event::CredentialKeyAdded(CredentialKeyAdded { key, previous }))
}

fn campaign_events() -> impl Strategy<Value = Event> {
    (campaigns(), prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(id, credential)| Event::CampaignSigned(CampaignSigned { id, credential }))
}

/// An event of any kind; a kind that is missing here fails a test below.
fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        genesis_events(),
        campaign_events(),
        key_events(),
        batches(),
        receipts(),
        redemptions(),
        reversals(),
        statuses(),
        lists(),
        erasures(),
        partner_tests::events(prop_oneof![redemptions(), reversals()]),
    ]
}

fn answered() -> impl Strategy<Value = Option<Answers>> {
    maybe(
        (any::<[u8; 16]>(), maybe(any::<[u8; 16]>()), any::<[u8; 16]>()).prop_map(
            |(key, reference, request)| Answers {
                key,
                reference,
                request,
            },
        ),
    )
}

/// Kinds 0 and 7 answer nobody; 13 to 15 answer a partner's message.
fn answers_nobody(kind: u64) -> bool {
    matches!(kind, 0 | 7 | 13..=16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_body_comes_back_from_its_bytes(
        event in events(), answers in answered(), salt in any::<[u8; 16]>()
    ) {
        let body = event.encode_body(answers.as_ref(), salt);
        prop_assert_eq!(&body, &cbor::encode(&slow_body(&event, answers.as_ref(), salt)));
        let read = cbor::decode(&body, limits::ENTRY_BYTES_MAX).unwrap();
        let (again, back) = Event::from_body(event.kind(), &read).unwrap();
        prop_assert_eq!(&again, &event);
        let expected = if answers_nobody(event.kind()) { None } else { answers };
        prop_assert_eq!(back, expected);
        // What came back is written the same, salt and all.
        prop_assert_eq!(&again.encode_body(back.as_ref(), salt), &body);
        prop_assert_eq!(event.to_body(answers.as_ref(), salt), read);
        let half = (event.kind() == 13).then_some(event);
        prop_assert_eq!(Event::issuer_half_of(&body), half);
    }

    #[test]
    fn a_body_with_an_item_changed_is_another_event_or_none(
        event in events(), at in any::<prop::sample::Index>(), junk in 0_usize..5
    ) {
        let Value::Array(mut items) = slow_body(&event, None, [3; 16]) else { panic!("an array") };
        let at = at.index(items.len());
        let junk = [
            Value::Null, Value::Bool(true), cbor::int(-1), cbor::text("x"), Value::Array(Vec::new()),
        ][junk].clone();
        prop_assume!(items[at] != junk);
        items[at] = junk;
        let body = cbor::encode(&Value::Array(items.clone()));
        if let Some(half) = Event::issuer_half_of(&body).filter(|half| half.encode_body(None, [0; 16]) == body) {
            let read = Event::from_body(13, &Value::Array(items.clone()));
            prop_assert_eq!(read, Ok((half, None)));
        }
        // The salt is read and forgotten; nothing else is.
        if let Ok((again, answers)) = Event::from_body(event.kind(), &Value::Array(items.clone())) {
            let salted = slow_body(&again, answers.as_ref(), [3; 16]);
            prop_assert_eq!(salted, Value::Array(items));
            prop_assert_ne!(again, event);
        }
    }

    #[test]
    fn a_body_too_short_or_too_long_is_none(event in events()) {
        let Value::Array(mut items) = slow_body(&event, None, [3; 16]) else { panic!("an array") };
        items.push(Value::Null);
        prop_assert!(Event::from_body(event.kind(), &Value::Array(items.clone())).is_err());
        items.truncate(items.len() - 2);
        prop_assert!(Event::from_body(event.kind(), &Value::Array(items)).is_err());
    }

    #[test]
    fn every_kind_has_a_tag_or_a_salt(event in events(), salt in any::<[u8; 16]>()) {
        let Value::Array(items) = slow_body(&event, None, salt) else { panic!("an array") };
        let tag = match &event {
            Event::ReceiptIssued(receipt) => Some(receipt.tag),
            Event::Redeemed(redeemed) => Some(redeemed.tag),
            Event::Reversed(reversed) => Some(reversed.tag),
            Event::ReceiptErased(erased) => Some(erased.tag),
            Event::Intent(intent) => Some(intent.tag),
            Event::RedeemerHalf(half) => Some(half.tag),
            Event::IntentEnded(ended) => Some(ended.tag),
            Event::CancelWished(wished) => Some(wished.tag),
            _ => None,
        };
        prop_assert_eq!(kind_has_tag(event.kind()), Some(tag.is_some()));
        match tag {
            Some(tag) => prop_assert!(items.contains(&cbor::bytes(tag))),
            // The genesis entry holds public keys, and needs none.
            None if event.kind() == 0 => {}
            None => prop_assert_eq!(items.last(), Some(&cbor::bytes(salt))),
        }
    }
}

#[test]
fn the_kinds_are_those_that_are_tested_here() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..400 {
        seen.insert(events().new_tree(&mut runner).unwrap().current().kind());
    }
    let known: std::collections::BTreeSet<u64> =
        (0..100).filter(|kind| kind_has_tag(*kind).is_some()).collect();
    assert_eq!(seen, known);
    let unknown = Event::from_body(17, &Value::Array(Vec::new()));
    assert_eq!(unknown, Err(BodyError::UnknownKind(17)));
}

#[test]
fn an_index_lies_within_its_status_list() {
    let last = limits::STATUS_LIST_LEN - 1;
    let body = |index: u32| {
        let target = Value::Array(vec![int(1), int(0), int(index)]);
        Value::Array(vec![target, int(0), int(1), Value::Null, bytes([3; 16])])
    };
    let (event, _) = Event::from_body(6, &body(last)).unwrap();
    let Event::StatusSet(set) = event else {
        panic!("a status")
    };
    assert_eq!(
        set.target,
        StatusTarget::Coupon(CouponName { list: 0, index: last })
    );
    let beyond = GateError::Shape("coupon name: index out of bounds");
    assert_eq!(Event::from_body(6, &body(last + 1)), Err(BodyError::Form(beyond)));
}

#[test]
fn only_sales_redemptions_and_reversals_have_a_time_of_their_own() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..400 {
        let mut event = events().new_tree(&mut runner).unwrap().current();
        for own in [None, Some(UnixSeconds(17))] {
            let told = match &mut event {
                Event::ReceiptIssued(receipt) => {
                    receipt.at = own;
                    own
                }
                Event::Redeemed(redeemed) => {
                    redeemed.at = own;
                    own
                }
                Event::Reversed(reversed) => {
                    reversed.at = own;
                    own
                }
                _ => None,
            };
            assert_eq!(event.at(), told, "{event:?}");
        }
    }
}
