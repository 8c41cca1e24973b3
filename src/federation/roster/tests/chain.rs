//! What a chain follows, and what it refuses.

use super::super::chain::tallies;
use super::*;

#[test]
fn a_convening_body_alone_and_a_vote_of_co_ops() {
    let alone = founded(&[9], 1);
    let chain = following(alone.hash(), &[&signed(&alone, &[9])]);
    assert_eq!((chain.version(), chain.may_redeem(NOW)), (1, Ok(())));
    let Valley { chain, second, .. } = valley();
    assert_eq!(chain.version(), 2);
    assert_eq!(chain.directory().unwrap().hash(), second.hash());
    assert_eq!(chain.directory().unwrap().active().count(), 2);
    // A convening body hands over to the co-ops: the old signer and three of the new ones.
    let handed = after(&alone, |draft| {
        draft.drop_signer("signer 9").unwrap();
        for n in 1..=5 {
            draft.add_signer(signer(n)).unwrap();
        }
        draft.threshold(3);
    });
    let held = following(alone.hash(), &[&signed(&alone, &[9])]);
    let chain = followed(&held, &signed(&handed, &[9, 1, 2, 3]));
    assert_eq!(chain.directory().unwrap().roster().former_signers, [signer(9)]);
}

#[test]
fn signers_of_both_versions_have_to_sign() {
    let Valley { second, chain, .. } = valley();
    // Two signers are replaced.
    let third = after(&second, |draft| {
        draft.drop_signer("signer 1").unwrap();
        draft.drop_signer("signer 2").unwrap();
        draft.add_signer(signer(6)).unwrap();
        draft.add_signer(signer(7)).unwrap();
    });
    let too_few = |version, have| RosterError::TooFewSigners {
        version,
        have,
        need: 3,
    };
    // Too few of all; of the old version only; of the new one only.
    assert_eq!(refused(&chain, &signed(&third, &[3, 4])), too_few(2, 2));
    assert_eq!(refused(&chain, &signed(&third, &[1, 2, 3])), too_few(3, 1));
    assert_eq!(refused(&chain, &signed(&third, &[6, 7, 3])), too_few(2, 1));
    assert_eq!(followed(&chain, &signed(&third, &[3, 4, 5])).version(), 3);
    assert_eq!(followed(&chain, &signed(&third, &[1, 2, 3, 6, 7])).version(), 3);
    // Strangers count for nothing, and are not kept.
    assert_eq!(
        refused(&chain, &signed(&third, &[3, 4, 20, 21, 22])),
        too_few(2, 2)
    );
    let with_stranger = followed(&chain, &signed(&third, &[3, 4, 5, 20]));
    assert_eq!(with_stranger.signed().unwrap().signatures(), 3);
}

#[test]
fn a_signer_counts_once_and_for_himself() {
    let Valley { second, chain, .. } = valley();
    let third = after(&second, |draft| draft.expires(EXPIRES.plus(1)));
    // Both algorithms' numbers, one key.
    let mut twice = signed(&third, &[1, 2]);
    twice.sign(&signer_key(1), Algorithm::Ed25519).unwrap();
    assert_eq!(twice.signatures(), 3);
    assert!(matches!(
        refused(&chain, &twice),
        RosterError::TooFewSigners { have: 2, .. }
    ));
    // A signature whose header names another signer's kid.
    let bytes = signed(&third, &[1, 2, 8]).encode();
    let (from, to) = (signer(8).key.kid().0, signer(3).key.kid().0);
    let at = bytes.windows(8).rposition(|window| window == from).unwrap();
    let mut claimed = bytes;
    claimed[at..at + 8].copy_from_slice(&to);
    if let Ok(claimed) = SignedRoster::decode(&claimed) {
        assert!(matches!(
            refused(&chain, &claimed),
            RosterError::TooFewSigners { have: 2, .. }
        ));
    }
    // One over another body.
    let other = after(&second, |draft| draft.expires(EXPIRES.plus(2)));
    let mut bytes = signed(&third, &[1, 2]).encode();
    let body = bytes
        .windows(third.encode().len())
        .position(|window| window == third.encode());
    let begin = body.unwrap();
    bytes.splice(begin..begin + other.encode().len(), other.encode());
    let moved = SignedRoster::decode(&bytes).unwrap();
    assert_eq!(moved.hash(), other.hash());
    assert!(matches!(
        refused(&chain, &moved),
        RosterError::TooFewSigners { have: 0, .. }
    ));
}

#[test]
fn a_chain_never_goes_back_nor_to_another_federation() {
    let Valley { first, second, chain } = valley();
    let again = signed(&first, &[1, 2, 3, 4, 5]);
    assert_eq!(
        refused(&chain, &again),
        RosterError::Older { version: 1, held: 2 }
    );
    assert!(matches!(
        chain.offer(&signed(&second, &[3]), NOW),
        Ok(Offered::Known)
    ));
    let other = founded(&[1, 2, 3], 3);
    let (found, pin) = (other.hash(), first.hash());
    let fresh = Chain::new(pin, 0);
    assert_eq!(
        refused(&fresh, &signed(&other, &[1, 2, 3])),
        RosterError::NotPinned { found, pin }
    );
    let held = following(pin, &[&signed(&first, &[1, 2, 3])]);
    assert_eq!(
        refused(&held, &signed(&other, &[1, 2, 3])),
        RosterError::NotPinned { found, pin }
    );
    let third = after(&second, |_| ());
    let all = [1, 2, 3, 4, 5];
    assert_eq!(
        refused(&held, &signed(&third, &all)),
        RosterError::Gap { version: 3, next: 2 }
    );
    assert_eq!(
        refused(&fresh, &signed(&third, &all)),
        RosterError::Gap { version: 3, next: 1 }
    );
    for (why, change) in [
        (
            "another federation",
            &(|roster: &mut Roster| roster.federation = FederationId([1; 16])) as &dyn Fn(&mut Roster),
        ),
        ("another version", &|roster| roster.previous = first.hash()),
        ("issued before", &|roster| {
            roster.issued = UnixSeconds(ISSUED.0 - 1)
        }),
    ] {
        let forged = forged_after(&second, change);
        let said = refused(&chain, &signed(&forged, &all)).to_string();
        assert!(
            said.contains(why) || said.contains("joined before"),
            "{why}: {said}"
        );
    }
}

#[test]
fn versions_from_the_future_wait() {
    let Valley { second, chain, .. } = valley();
    let third = |ahead| forged_after(&second, |roster| roster.issued = NOW.plus(ahead));
    let by = [1, 2, 3];
    let skew = limits::CLOCK_SKEW_SECONDS_MAX;
    assert_eq!(followed(&chain, &signed(&third(skew), &by)).version(), 3);
    let said = refused(&chain, &signed(&third(skew + 1), &by)).to_string();
    assert!(said.contains("ahead"), "{said}");
}

#[test]
fn an_expired_roster_reads_and_a_chain_behind_redeems_nothing() {
    let Valley { first, second, chain } = valley();
    assert_eq!(chain.may_redeem(UnixSeconds(EXPIRES.0 - 1)), Ok(()));
    assert_eq!(chain.may_redeem(EXPIRES), Err(NotRedeeming::Expired));
    assert!(
        chain
            .directory()
            .unwrap()
            .by_did("did:web:coop-1.example")
            .is_some()
    );
    // It can be renewed.
    let third = after(&second, |draft| draft.expires(EXPIRES.plus(1_000)));
    assert_eq!(
        followed(&chain, &signed(&third, &[1, 2, 3])).may_redeem(EXPIRES),
        Ok(())
    );
    // With an older store.
    let mut behind = Chain::new(first.hash(), 2);
    assert_eq!(behind.may_redeem(NOW), Err(NotRedeeming::NoRoster));
    behind = followed(&behind, &signed(&first, &[1, 2, 3]));
    assert_eq!(
        behind.may_redeem(NOW),
        Err(NotRedeeming::Behind { floor: 2, held: 1 })
    );
    behind = followed(&behind, &signed(&second, &[1, 2, 3]));
    assert_eq!(behind.may_redeem(NOW), Ok(()));
}

#[test]
fn two_versions_of_one_number_are_evidence() {
    let Valley { second, chain, .. } = valley();
    let one = signed(
        &after(&second, |draft| draft.expires(EXPIRES.plus(1))),
        &[1, 2, 3],
    );
    let other = signed(
        &after(&second, |draft| draft.expires(EXPIRES.plus(2))),
        &[3, 4, 5],
    );
    let chain = followed(&chain, &one);
    let Ok(Offered::Conflict(alarmed)) = chain.offer(&other, NOW) else {
        panic!("two versions were taken")
    };
    let conflict = alarmed.conflict().unwrap();
    assert_eq!(
        (conflict.version, &conflict.held, &conflict.other),
        (3, &one, &other)
    );
    assert_eq!(
        alarmed.directory().unwrap().hash(),
        one.hash(),
        "it stays where it is"
    );
    assert_eq!(
        alarmed.may_redeem(NOW),
        Err(NotRedeeming::Conflict { version: 3 })
    );
    // Once more, either, or a third one: nothing new.
    let third = signed(
        &after(&second, |draft| draft.expires(EXPIRES.plus(3))),
        &[1, 2, 3],
    );
    for offered in [&one, &other, &third] {
        assert!(matches!(alarmed.offer(offered, NOW), Ok(Offered::Known)));
    }
    let fourth = |before: &SignedRoster| signed(&after(&before.roster().unwrap(), |_| ()), &[1, 2, 3]);
    assert!(matches!(
        refused(&alarmed, &fourth(&one)),
        RosterError::Undecided { version: 3, .. }
    ));
    // A person decides, for either.
    assert!(alarmed.decide(second.hash()).is_none());
    let stays = alarmed.decide(one.hash()).unwrap();
    assert_eq!(stays.may_redeem(NOW), Ok(()));
    assert!(
        matches!(stays.offer(&other, NOW), Ok(Offered::Known)),
        "decided once"
    );
    assert_eq!(followed(&stays, &fourth(&one)).version(), 4);
    let moved = alarmed.decide(other.hash()).unwrap();
    assert_eq!(moved.directory().unwrap().hash(), other.hash());
    assert_eq!(moved.conflict().unwrap().held, other);
    let passed = followed(&moved, &fourth(&other));
    assert_eq!((passed.version(), passed.may_redeem(NOW)), (4, Ok(())));
    // Signers of long ago cannot stop it any more.
    assert_eq!(refused(&passed, &one), RosterError::Older { version: 3, held: 4 });
    // What too few have signed is no evidence.
    let weak = signed(&third.roster().unwrap(), &[1, 2]);
    assert!(matches!(
        refused(&chain, &weak),
        RosterError::TooFewSigners {
            version: 2,
            have: 2,
            ..
        }
    ));
}

#[test]
fn signatures_are_merged_and_are_no_part_of_the_identity() {
    let Valley { second, chain, .. } = valley();
    let third = after(&second, |_| ());
    let (mut one, other) = (signed(&third, &[1, 2]), signed(&third, &[2, 5]));
    assert_eq!(one.hash(), other.hash());
    one.merge(&other).unwrap();
    assert_eq!((one.signatures(), &one), (3, &signed(&third, &[5, 1, 2])));
    assert!(one.merge(&signed(&second, &[1])).is_err());
    let chain = followed(&chain, &one);
    let Ok(Offered::Signatures(more)) = chain.offer(&signed(&third, &[3, 9]), NOW) else {
        panic!("more signatures are taken")
    };
    assert_eq!(more.signed().unwrap(), &signed(&third, &[1, 2, 3, 5]));
    assert!(matches!(
        more.offer(&signed(&third, &[3]), NOW),
        Ok(Offered::Known)
    ));
    // Whatever one signs with, one signature of his is kept.
    let mut twice = signed(&third, &[]);
    twice.sign(&signer_key(1), Algorithm::Ed25519).unwrap();
    assert!(matches!(more.offer(&twice, NOW), Ok(Offered::Known)));
    let tally = &tallies(&signed(&third, &[1, 4]), &third, Some(&second))[0];
    assert_eq!((tally.version, tally.need, tally.lacking()), (2, 3, 1));
    assert_eq!(tally.signed.len() + tally.missing.len(), 5);
    assert!(tally.signed.contains(&"signer 4".to_owned()));
}

#[test]
fn keys_are_replaced_without_a_gap() {
    let Valley { second, chain, .. } = valley();
    let (old, new) = (
        member_key(1, Role::Credentials, 0),
        member_key(1, Role::Credentials, 1),
    );
    let good = |chain: &Chain, key: &SecretKey, now| {
        let directory = chain.directory().unwrap();
        let member = directory.by_did("did:web:coop-1.example").unwrap();
        let keys: Vec<_> = directory
            .keys(member, Role::Credentials, now)
            .map(|key| key.key)
            .collect();
        keys.contains(key.public())
    };
    let third = after(&second, |draft| draft.member(description(1, 1)).unwrap());
    let both = followed(&chain, &signed(&third, &[1, 2, 3]));
    assert!(good(&both, &old, NOW) && good(&both, &new, NOW));
    let fourth = after(&third, |draft| draft.retire(old.kid(), ISSUED.plus(500)).unwrap());
    let retired = followed(&both, &signed(&fourth, &[1, 2, 3]));
    let known = |chain: &Chain, key: &SecretKey| {
        let directory = chain.directory().unwrap();
        let found: Vec<_> = directory
            .by_kid(key.kid())
            .map(|known| (known.signs(), known.standing(NOW)))
            .collect();
        found
    };
    assert_eq!(known(&retired, &old), [(false, Standing::Good)]);
    assert_eq!(known(&retired, &new), [(true, Standing::Good)]);
    assert!(good(&retired, &old, ISSUED.plus(499)) && !good(&retired, &old, ISSUED.plus(500)));
}

#[test]
fn what_was_frozen_counts_by_the_size_of_the_log() {
    let Valley { second, chain, .. } = valley();
    let key = |role| member_key(2, role, 0);
    let third = after(&second, |draft| {
        draft
            .mirrors("did:web:coop-1.example", vec!["did:web:coop-2.example".into()])
            .unwrap();
    });
    let fourth = after(&third, |draft| {
        draft
            .compromised(key(Role::Credentials).kid(), ISSUED, Some(70))
            .unwrap();
        draft.remove("did:web:coop-2.example", 50).unwrap();
    });
    assert!(
        fourth.members[0].mirrors.is_empty(),
        "nobody is mirrored by who left"
    );
    let chain = followed(&chain, &signed(&third, &[1, 2, 3]));
    let chain = followed(&chain, &signed(&fourth, &[1, 2, 3]));
    let directory = chain.directory().unwrap();
    let standing = |role| {
        let known = directory.by_kid(key(role).kid()).next().unwrap();
        assert!(!known.signs());
        known.standing(NOW)
    };
    assert_eq!(standing(Role::Credentials), Standing::Frozen { size: 50 });
    assert_eq!(standing(Role::Log), Standing::Frozen { size: 50 });
    assert_eq!(standing(Role::Witness), Standing::Void);
    assert_eq!(standing(Role::Messages), Standing::Void);
    assert_eq!(directory.active().count(), 1);
    let gone = directory.by_log_origin("coop-2.example").unwrap();
    assert!(!gone.is_active());
    assert_eq!(directory.by_base_url(&base_url(2)), Some(gone));
    let plain = crate::primitives::Origin::parse("http://localhost").unwrap();
    assert_eq!(directory.by_base_url(&plain), None);
    assert_eq!(directory.by_kid(crate::primitives::KeyId([0; 8])).count(), 0);
    let said = Draft::after(&fourth, NOW)
        .member(description(2, 1))
        .unwrap_err()
        .to_string();
    assert!(said.contains("another host name"), "{said}");
}
