//! What one version has to keep, alone and after the one before.

use serde_cbor::Value;

use super::super::{possession, rules};
use super::*;
use crate::encoding::cbor;

#[test]
fn nobody_lists_a_key_that_he_does_not_have() {
    let Valley { second, chain, .. } = valley();
    let theirs = description(1, 1);
    let mut claimed = description(3, 0);
    // The key of another co-op, with that one's proof; then with a proof of one's own.
    let credential = |description: &Description| {
        let keys = &description.member.keys;
        keys.iter()
            .find(|key| key.role == Role::Credentials)
            .unwrap()
            .clone()
    };
    for proof in [credential(&theirs).proof, credential(&claimed).proof] {
        claimed.member.keys[0] = MemberKey {
            proof,
            ..credential(&theirs)
        };
        assert!(Description::decode(&claimed.encode()).is_err());
        let forged = forged_after(&second, |roster| {
            let mut member = claimed.member.clone();
            member.joined = roster.issued;
            roster.members.push(member);
        });
        let said = refused(&chain, &signed(&forged, &[1, 2, 3])).to_string();
        assert!(said.contains("did:web:coop-3.example has not proven"), "{said}");
    }
    // A proof is bound to federation, did and role.
    let key = member_key(3, Role::Log, 0);
    let did = base_url(3).did_web();
    let listed = |proof| MemberKey {
        role: Role::Log,
        key: *key.public(),
        proof,
        state: KeyState::Active,
    };
    let prove = possession::prove;
    assert!(possession::holds(
        FEDERATION,
        &did,
        &listed(prove(FEDERATION, &did, Role::Log, &key))
    ));
    for proof in [
        prove(FederationId([1; 16]), &did, Role::Log, &key),
        prove(FEDERATION, "did:web:coop-4.example", Role::Log, &key),
        prove(FEDERATION, &did, Role::Witness, &key),
        prove(FEDERATION, &did, Role::Log, &signer_key(1)),
    ] {
        assert!(!possession::holds(FEDERATION, &did, &listed(proof)));
    }
    let elsewhere = Description {
        federation: FederationId([1; 16]),
        ..description(3, 0)
    };
    assert!(Draft::after(&second, NOW).member(elsewhere).is_err());
}

#[test]
fn keys_of_small_order_and_other_spellings_are_no_keys() {
    // The neutral element, and a point whose y is written beyond the prime.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut beyond = [0xff; 32];
    (beyond[0], beyond[31]) = (0xee, 0x7f);
    let body = valley().second.encode();
    let listed = *member_key(1, Role::Credentials, 0).public().as_bytes();
    let at = body.windows(32).position(|window| window == listed).unwrap();
    for weak in [neutral, beyond] {
        assert!(PublicKey::from_bytes(&weak).is_err());
        let mut forged = body.clone();
        forged[at..at + 32].copy_from_slice(&weak);
        let said = Roster::decode(&forged).unwrap_err().to_string();
        assert!(said.contains("small order"), "{said}");
    }
}

#[test]
fn a_key_is_one_holders_for_one_purpose() {
    let Valley { first, second, .. } = valley();
    let log = *member_key(1, Role::Log, 0).public();
    let twice = "listed twice";
    // Another member's, another role's, a signer's, a former signer's.
    let said = rule_of(&forged(&second, |roster| roster.members[1].keys[0].key = log));
    assert!(said.contains(twice), "{said}");
    let said = rule_of(&forged(&second, |roster| roster.members[0].keys[0].key = log));
    assert!(said.contains(twice), "{said}");
    let said = rule_of(&forged(&second, |roster| roster.signers[0].key = log));
    assert!(said.contains(twice), "{said}");
    let said = rule_of(&forged(&second, |roster| {
        roster.former_signers.push(Signer {
            name: "x".to_owned(),
            key: log,
        });
    }));
    assert!(said.contains(twice), "{said}");
    let said = rule_of(&forged(&first, |roster| roster.former_signers.push(signer(1))));
    assert!(said.contains(twice), "{said}");
    let said = rule_of(&forged(&first, |roster| {
        roster.signers[0] = roster.signers[1].clone()
    }));
    assert!(said.contains("each stands there once"), "{said}");
}

#[test]
fn every_rule_of_a_version_is_kept() {
    let Valley { first, second, .. } = valley();
    assert_eq!(Roster::decode(&second.encode()).unwrap(), second);
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Roster));
    let of_first: &[Change<'_>] = &[
        ("32 zero bytes", &|roster| roster.previous = Digest([1; 32])),
        ("counted from 1", &|roster| roster.version = 0),
        ("five years", &|roster| roster.expires = roster.issued),
        ("five years", &|roster| {
            roster.expires = roster.issued.plus(limits::ROSTER_LIFETIME_SECONDS_MAX + 1)
        }),
        ("more than half", &|roster| roster.threshold = 2),
        ("more than half", &|roster| roster.threshold = 6),
        ("more than half", &|roster| roster.threshold = 0),
        ("1 to 100 signers", &|roster| roster.signers.clear()),
        ("one name", &|roster| {
            roster.signers[0].name = roster.signers[1].name.clone()
        }),
        ("not shown", &|roster| roster.name = "a\u{202e}b".to_owned()),
        ("not shown", &|roster| roster.name.clear()),
        ("not shown", &|roster| {
            roster.signers[0].name = "\u{1b}[2J".to_owned()
        }),
    ];
    let of_second: &[Change<'_>] = &[
        ("32 zero bytes", &|roster| roster.previous = Digest::ZERO),
        ("each stands there once", &|roster| {
            roster.members[1] = roster.members[0].clone()
        }),
        ("joined before", &|roster| {
            roster.members[0].joined = roster.issued.plus(1)
        }),
        ("1 to 64 keys", &|roster| roster.members[0].keys.clear()),
        ("no other active member", &|roster| {
            roster.members[0].mirrors = vec!["did:web:coop-9.example".into()]
        }),
        ("no other active member", &|roster| {
            roster.members[0].mirrors = vec![roster.members[0].did()]
        }),
        ("a witness's name", &|roster| {
            roster.members[0].witness_name = "a+b".to_owned()
        }),
        ("use the name", &|roster| {
            roster.members[0].witness_name = "coop-2.example".to_owned()
        }),
        ("not shown", &|roster| roster.members[0].name = " x".to_owned()),
        ("a member left", &|roster| {
            let (left, frozen) = (roster.issued.plus(1), 5);
            roster.members[0].status = MemberStatus::Removed { left, frozen };
        }),
        ("was compromised before", &|roster| {
            let (since, frozen) = (roster.issued.plus(1), Some(5));
            roster.members[0].keys[0].state = KeyState::Compromised { since, frozen };
        }),
        ("and of no other", &|roster| {
            let (since, frozen) = (roster.issued, None);
            roster.members[0].keys[0].state = KeyState::Compromised { since, frozen };
        }),
        ("and of no other", &|roster| {
            let (since, frozen) = (roster.issued, Some(3));
            roster.members[0].keys[3].state = KeyState::Compromised { since, frozen };
        }),
    ];
    for (roster, changes) in [(&first, of_first), (&second, of_second)] {
        for (what, change) in changes {
            let said = rule_of(&forged(roster, change));
            assert!(said.contains(what), "{what}: {said}");
        }
    }
    // Out of order, and with a member of maps that is not known.
    let mut crooked = second.clone();
    crooked.members.swap(0, 1);
    assert!(rule_of(&crooked).contains("sorted"));
    let mut crooked = second.clone();
    crooked.members[0].keys.swap(0, 1);
    assert!(rule_of(&crooked).contains("sorted"));
    let Value::Map(mut map) = cbor::decode(&second.encode(), limits::ROSTER_BYTES_MAX).unwrap() else {
        panic!("a map")
    };
    map.insert(cbor::int(11), cbor::int(1));
    assert!(Roster::decode(&cbor::encode(&Value::Map(map.clone()))).is_err());
    map.remove(&cbor::int(11));
    let Some(Value::Array(members)) = map.get_mut(&cbor::int(10)) else {
        panic!("members")
    };
    let Value::Map(member) = &mut members[0] else {
        panic!("a member")
    };
    member.insert(cbor::text("x"), cbor::int(1));
    assert!(Roster::decode(&cbor::encode(&Value::Map(map))).is_err());
    // did, base URL and origin belong together.
    let body = second.encode();
    for (from, to) in [
        ("did:web:coop-1", "did:web:coop-3"),
        ("https://coop-1", "https://coop-3"),
    ] {
        let at = body
            .windows(from.len())
            .position(|window| window == from.as_bytes());
        let mut other = body.clone();
        other.splice(at.unwrap()..at.unwrap() + from.len(), to.bytes());
        assert!(Roster::decode(&other).is_err(), "{to}");
    }
}

#[test]
fn nothing_that_was_listed_is_dropped_or_moved_back() {
    let Valley { second, .. } = valley();
    let kid = |n, role| member_key(n, role, 0).public().kid();
    let second = after(&second, |draft| {
        draft.member(description(3, 0)).unwrap();
        draft.remove("did:web:coop-2.example", 40).unwrap();
        draft.retire(kid(1, Role::Messages), ISSUED.plus(100)).unwrap();
        draft
            .compromised(kid(1, Role::Log), UnixSeconds(ISSUED.0 - 50), Some(30))
            .unwrap();
        draft.drop_signer("signer 5").unwrap();
        draft.add_signer(signer(6)).unwrap();
    });
    let place = |roster: &Roster, role| {
        roster.members[0]
            .keys
            .iter()
            .position(|key| key.role == role)
            .unwrap()
    };
    let (log, messages) = (place(&second, Role::Log), place(&second, Role::Messages));
    let since = UnixSeconds(ISSUED.0 - 50);
    let compromised = |since, frozen| KeyState::Compromised {
        since,
        frozen: Some(frozen),
    };
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Roster));
    let changes: &[Change<'_>] = &[
        ("is missing", &|roster| drop(roster.members.remove(0))),
        ("keys stay", &|roster| roster.members[0].keys.truncate(3)),
        ("neither a signer nor a former", &|roster| {
            roster.former_signers.clear()
        }),
        ("neither a signer nor a former", &|roster| {
            drop(roster.signers.pop())
        }),
        ("joined stays", &|roster| roster.members[0].joined = since),
        ("witness's name stay", &|roster| {
            roster.members[0].witness_name = "w.example".to_owned()
        }),
        ("that is final", &|roster| {
            roster.members[1].status = MemberStatus::Active
        }),
        ("do not move back", &|roster| {
            roster.members[1].status = MemberStatus::Removed {
                left: ISSUED,
                frozen: 39,
            };
        }),
        ("taken out of use", &|roster| {
            roster.members[0].keys[messages].state = KeyState::Active
        }),
        ("does not move back", &|roster| {
            roster.members[0].keys[messages].state = KeyState::VerifyOnly {
                until: ISSUED.plus(99),
            };
        }),
        ("taken out of use", &|roster| {
            roster.members[0].keys[log].state = KeyState::Active
        }),
        ("stays so", &|roster| {
            roster.members[0].keys[log].state = KeyState::VerifyOnly { until: EXPIRES };
        }),
        ("do not move back", &|roster| {
            roster.members[0].keys[log].state = compromised(since, 29)
        }),
        ("do not move back", &|roster| {
            roster.members[0].keys[log].state = compromised(UnixSeconds(since.0 - 1), 30);
        }),
        ("role and proof", &|roster| {
            roster.members[0].keys[messages].proof[0] ^= 1
        }),
    ];
    for (what, change) in changes {
        let forged = forged_after(&second, change);
        // Dropping a signer has to leave a threshold that is none of the reasons.
        let said = match rules::check_follows(&second, &forged) {
            Err(error) => error.to_string(),
            Ok(()) => panic!("accepted: {what}"),
        };
        assert!(said.contains(what), "{what}: {said}");
    }
    // Forward they may.
    let further = forged_after(&second, |roster| {
        roster.members[0].keys[log].state = compromised(since.plus(1), 31);
        roster.members[0].keys[messages].state = KeyState::VerifyOnly {
            until: ISSUED.plus(101),
        };
        roster.members[1].status = MemberStatus::Removed {
            left: ISSUED,
            frozen: 41,
        };
    });
    assert_eq!(rules::check_follows(&second, &further), Ok(()));
    // Who joins is active, with a key for each purpose, and did not join long ago.
    for (what, change) in [
        (
            "active key for messages",
            &(|member: &mut Member| member.keys.truncate(3)) as &dyn Fn(&mut Member),
        ),
        ("cannot have been removed", &|member| {
            member.status = MemberStatus::Removed {
                left: ISSUED,
                frozen: 1,
            };
        }),
        ("cannot have joined", &|member| {
            member.joined = UnixSeconds(ISSUED.0 - 1)
        }),
    ] {
        let forged = forged_after(&second, |roster| {
            let mut member = description(4, 0).member;
            member.joined = ISSUED;
            change(&mut member);
            roster.members.push(member);
        });
        let said = rules::check_follows(&second, &forged).unwrap_err().to_string();
        assert!(said.contains(what), "{what}: {said}");
    }
}
