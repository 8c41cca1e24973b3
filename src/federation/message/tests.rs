use proptest::prelude::*;

use super::*;
use crate::federation::roster::Roster;
use crate::testkit::roster::{EXPIRES, ISSUED, after, description, founded, member_key};

const NOW: UnixSeconds = ISSUED;

fn did(n: u8) -> String {
    description(n, 0).member.did()
}

/// Version 2, with the members 1 to 3.
fn three() -> Roster {
    after(&founded(&[1], 1), |draft| {
        for n in 1..=3 {
            draft.member(description(n, 0)).unwrap();
        }
    })
}

fn head() -> Head {
    Head {
        sender: did(1),
        audience: did(2),
        time: NOW,
        id: [7; 16],
        roster_version: 2,
    }
}

fn key(n: u8) -> SecretKey {
    member_key(n, Role::Messages, 0)
}

fn body() -> Vec<u8> {
    cbor::encode(&Value::Array(vec![cbor::int(1), cbor::text("to be told")]))
}

fn opened(bytes: &[u8]) -> Result<(Head, Value), MessageError> {
    open(bytes, MessageName::Gossip, &Directory::new(three()), &did(2), NOW)
}

/// What becomes of a message whose head was changed.
fn with(change: impl FnOnce(&mut Head)) -> Result<(Head, Value), MessageError> {
    let mut head = head();
    change(&mut head);
    opened(&seal(&key(1), MessageName::Gossip, &head, &body()))
}

#[test]
fn what_was_sealed_is_opened() {
    let (read, value) = with(|_| ()).unwrap();
    assert_eq!((read, cbor::encode(&value)), (head(), body()));
}

#[test]
fn a_message_is_of_one_name() {
    for sealed in MessageName::ALL {
        let bytes = seal(&key(1), sealed, &head(), &body());
        for name in MessageName::ALL {
            let opened = open(&bytes, name, &Directory::new(three()), &did(2), NOW);
            let expected = (sealed != name).then_some(MessageError::SignatureWrong);
            assert_eq!(opened.err(), expected, "{sealed:?} as {name:?}");
        }
    }
}

#[test]
fn strangers_and_other_keys_are_refused() {
    let by = |key: &SecretKey| opened(&seal(key, MessageName::Gossip, &head(), &body())).unwrap_err();
    assert_eq!(by(&key(4)), MessageError::NotAMember);
    assert_eq!(
        by(&member_key(1, Role::Log, 0)),
        MessageError::KeyNotForMessages("the log")
    );
    let wrong = MessageError::WrongSender {
        said: did(1),
        signer: did(3),
    };
    assert_eq!(by(&key(3)), wrong);
    // A stranger who names a member's kid.
    let (payload, aad) = (body(), MessageName::Gossip.external_aad());
    let forged = cose::sign1(
        &key(4),
        Algorithm::EdDsa,
        cose::TYP_MESSAGE,
        key(1).kid(),
        &payload,
        aad,
    );
    assert_eq!(opened(&forged), Err(MessageError::SignatureWrong));
}

#[test]
fn members_and_keys_that_have_gone_are_refused() {
    let bytes = seal(&key(1), MessageName::Gossip, &head(), &body());
    let kid = key(1).kid();
    let after = |change: &dyn Fn(&mut crate::federation::roster::Draft)| {
        let roster = after(&three(), |draft| change(draft));
        move |now| {
            let directory = Directory::new(roster.clone());
            open(&bytes, MessageName::Gossip, &directory, &did(2), now).map(|_| ())
        }
    };
    let removed = after.clone()(&|draft| draft.remove(&did(1), 9).unwrap());
    assert_eq!(removed(NOW), Err(MessageError::RemovedMember(did(1))));
    let stolen = after.clone()(&|draft| draft.compromised(kid, ISSUED, None).unwrap());
    assert_eq!(stolen(NOW), Err(MessageError::KeyNotGood(did(1))));
    // A key that is being replaced is good until its date.
    let retired = after(&|draft| draft.retire(kid, NOW.plus(10)).unwrap());
    assert_eq!(retired(NOW.plus(9)), Ok(()));
    assert_eq!(retired(NOW.plus(10)), Err(MessageError::KeyNotGood(did(1))));
}

#[test]
fn it_has_to_be_for_this_node_and_of_now() {
    assert_eq!(
        with(|head| head.audience = did(3)),
        Err(MessageError::WrongAudience(did(3)))
    );
    assert!(with(|head| head.time = NOW.plus(300)).is_ok());
    assert!(with(|head| head.time = NOW.minus(300)).is_ok());
    assert_eq!(
        with(|head| head.time = NOW.plus(301)),
        Err(MessageError::FromTheFuture(301))
    );
    assert_eq!(
        with(|head| head.time = NOW.minus(301)),
        Err(MessageError::TooOld(301))
    );
}

#[test]
fn whoever_is_behind_the_roster_is_told_so_except_where_news_come() {
    let mut head = head();
    head.roster_version = 3;
    for name in MessageName::ALL {
        let bytes = seal(&key(1), name, &head, &body());
        let opened = open(&bytes, name, &Directory::new(three()), &did(2), NOW);
        match name {
            MessageName::Gossip | MessageName::GossipAnswer => assert!(opened.is_ok()),
            _ => assert_eq!(opened.err(), Some(MessageError::RosterAhead { theirs: 3 })),
        }
    }
}

#[test]
fn other_forms_are_refused() {
    for name in MessageName::ALL {
        let bytes = vec![0; name.most() + 1];
        let max = name.most();
        let opened = open(&bytes, name, &Directory::new(three()), &did(2), NOW);
        assert_eq!(opened.err(), Some(MessageError::TooLong { len: max + 1, max }));
    }
    let aad = MessageName::Gossip.external_aad();
    let signed = |typ: &str, payload: &[u8]| {
        let key = key(1);
        cose::sign1(&key, Algorithm::EdDsa, typ, key.kid(), payload, aad)
    };
    let refused = |bytes: &[u8]| match opened(bytes) {
        Err(MessageError::Malformed(why)) => why.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(&signed(cose::TYP_CREDENTIAL, &body())).contains("type"));
    assert!(refused(&signed(cose::TYP_MESSAGE, &body())).contains("a message is ["));
    assert!(refused(&signed(cose::TYP_MESSAGE, &[0x82, 1])).contains("not well-formed"));
    assert!(refused(b"").contains("not well-formed"));
    assert!(refused(&body()).contains("tag 18"));
    // Bodies pass the gate as everything does: here 1 in two bytes.
    let bytes = seal(&key(1), MessageName::Gossip, &head(), &[0x18, 1]);
    assert!(refused(&bytes).contains("not deterministic"));
    // Nothing may follow the body.
    let bytes = seal(&key(1), MessageName::Gossip, &head(), &[1, 1]);
    assert!(refused(&bytes).contains("not well-formed"));
    let bytes = seal(
        &key(1),
        MessageName::Gossip,
        &Head {
            time: UnixSeconds(u64::MAX),
            ..head()
        },
        &body(),
    );
    assert!(refused(&bytes).contains("year 10000"));
}

#[test]
fn every_error_has_its_reason() {
    let errors = [
        MessageError::TooLong { len: 2, max: 1 },
        MessageError::Malformed(GateError::NotCbor),
        MessageError::NotAMember,
        MessageError::SignatureWrong,
        MessageError::KeyNotForMessages("the log"),
        MessageError::RemovedMember(did(1)),
        MessageError::KeyNotGood(did(1)),
        MessageError::WrongSender {
            said: did(1),
            signer: did(2),
        },
        MessageError::WrongAudience(did(1)),
        MessageError::FromTheFuture(301),
        MessageError::TooOld(301),
        MessageError::RosterAhead { theirs: 3 },
        MessageError::Replayed,
        MessageError::TooMany,
    ];
    assert_eq!(
        errors.map(|error| error.reason()),
        MessageError::REASONS,
        "a word for each"
    );
}

/// Made by another implementation (`tests/data/message-vectors.py`).
#[test]
fn known_answers() {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let known: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/data/message-vectors.json")).unwrap();
    let messages: serde_json::Map<_, _> = MessageName::ALL
        .into_iter()
        .map(|name| {
            let label = std::str::from_utf8(name.external_aad()).unwrap();
            (
                label.to_owned(),
                hex(&seal(&key(1), name, &head(), &body())).into(),
            )
        })
        .collect();
    let made = serde_json::json!({ "seed": hex(&*key(1).seed()), "messages": messages });
    assert_eq!(made, known, "made now:\n{made:#}");
}

#[test]
fn the_published_schema_says_the_same() {
    let schema = include_str!("../../../schemas/messages.cddl");
    let valid = |bytes: &[u8]| cddl::validate_cbor_from_slice(schema, bytes, None);
    let good = seal(&key(1), MessageName::Gossip, &head(), &body());
    valid(&good).unwrap();
    let sealed = |change: &dyn Fn(&mut Head)| {
        let mut head = head();
        change(&mut head);
        seal(&key(1), MessageName::Gossip, &head, &body())
    };
    assert!(valid(&sealed(&|head| head.time = UnixSeconds(253_402_300_800))).is_err());
    let key = key(1);
    let credential = cose::sign1(
        &key,
        Algorithm::EdDsa,
        cose::TYP_CREDENTIAL,
        key.kid(),
        &body(),
        &[],
    );
    assert!(valid(&credential).is_err());
}

proptest! {
    #[test]
    fn heads_go_there_and_back(
        time in NOW.0 - 300..=NOW.0 + 300,
        id in any::<[u8; 16]>(),
        roster_version in any::<u64>(),
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let head = Head { time: UnixSeconds(time), id, roster_version, ..head() };
        let body = cbor::encode(&cbor::bytes(body));
        let (read, value) = opened(&seal(&key(1), MessageName::Gossip, &head, &body)).unwrap();
        prop_assert_eq!((read, cbor::encode(&value)), (head, body));
    }

    #[test]
    fn one_byte_changed_is_refused(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut bytes = seal(&key(1), MessageName::Gossip, &head(), &body());
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        prop_assert!(opened(&bytes).is_err());
    }
}

#[test]
fn rosters_that_expired_are_no_matter_here() {
    // Who may redeem is another question; news have to get through.
    let head = Head {
        time: EXPIRES,
        ..head()
    };
    let bytes = seal(&key(1), MessageName::Gossip, &head, &body());
    let directory = Directory::new(three());
    assert!(open(&bytes, MessageName::Gossip, &directory, &did(2), EXPIRES).is_ok());
}
