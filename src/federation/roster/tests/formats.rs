//! Bytes, sizes, sentences.

use proptest::prelude::*;

use super::super::body::hash_of;
use super::*;

#[test]
fn what_is_too_long_is_not_looked_into() {
    let most = limits::ROSTER_BYTES_MAX;
    assert!(SignedRoster::decode(&vec![0x82; most + 1]).is_err());
    let mut too_many = valley().second;
    for n in 0..=u16::try_from(limits::ROSTER_MEMBERS_MAX).unwrap() {
        let mut member = too_many.members[0].clone();
        member.base_url = crate::primitives::Origin::parse(&format!("https://m{n}.example")).unwrap();
        too_many.members.push(member);
    }
    too_many.sort();
    assert!(rule_of(&too_many).contains("1,000 members"));
    let mut many = founded(&[1], 1);
    many.signers = (0..=100)
        .map(|n| Signer {
            name: n.to_string(),
            ..signer(n)
        })
        .collect();
    (many.threshold, many.signers[0]) = (101, signer(200));
    many.sort();
    assert!(rule_of(&many).contains("1 to 100 signers"));
    assert!(Description::decode(&vec![0; limits::MEMBER_DESCRIPTION_BYTES_MAX + 1]).is_err());
}

#[test]
fn a_thousand_members_fit() {
    let first = founded(&[1], 1);
    let roster = after(&first, |draft| {
        for n in 0..limits::ROSTER_MEMBERS_MAX {
            let seed = u32::try_from(n).unwrap().to_be_bytes();
            let key = |role: Role| {
                let mut bytes = [role.number(); 32];
                bytes[..4].copy_from_slice(&seed);
                SecretKey::from_seed(&bytes)
            };
            let keys = Role::ALL.map(|role| (role, key(role)));
            let origin =
                crate::primitives::Origin::parse(&format!("https://tally.coop-{n}.example")).unwrap();
            let keys = keys.iter().map(|(role, key)| (*role, key));
            let name = format!("The consumers' co-op number {n}");
            draft
                .member(Description::new(FEDERATION, name, origin, keys, Vec::new()))
                .unwrap();
        }
    });
    let bytes = signed(&roster, &[1]).encode();
    assert!(bytes.len() < limits::ROSTER_BYTES_MAX * 7 / 10, "{}", bytes.len());
    let chain = following(first.hash(), &[&signed(&first, &[1])]);
    let chain = followed(&chain, &SignedRoster::decode(&bytes).unwrap());
    assert_eq!(chain.directory().unwrap().active().count(), 1_000);
}

#[test]
fn changes_are_told_in_sentences() {
    let Valley { first, second, .. } = valley();
    let time = |time: UnixSeconds| format!("T{}", time.0 - ISSUED.0);
    let said = changes(None, &first, &time);
    assert!(
        said[0].contains("\"Valley Co-ops\"") && said[0].contains("5 signers 3 have to sign"),
        "{said:?}"
    );
    assert_eq!(said.len(), 6);
    let said = changes(Some(&first), &second, &time);
    assert_eq!(said.len(), 2);
    assert!(
        said[0].starts_with("\"Co-op 1\" (did:web:coop-1.example) joins, with the key "),
        "{said:?}"
    );
    let kid = |role| member_key(1, role, 0).public().kid();
    let third = after(&second, |draft| {
        draft.rename("Hills".to_owned());
        draft.expires(EXPIRES.plus(1));
        draft.drop_signer(&signer(1).key.kid().to_string()).unwrap();
        draft.retire(kid(Role::Witness), ISSUED.plus(7)).unwrap();
        draft
            .compromised(kid(Role::Credentials), ISSUED, Some(12))
            .unwrap();
        draft.member(description(1, 1)).unwrap();
        draft.remove("did:web:coop-2.example", 9).unwrap();
    });
    let said = changes(Some(&second), &third, &time).join("\n");
    for part in [
        "is called \"Hills\", not \"Valley Co-ops\"",
        "Of 4 signers 3 have to sign; before, 3 of 5.",
        "\"signer 1\", with the key ",
        "is no signer any more.",
        "signs nothing new and verifies until T7.",
        "is compromised since T0: of coupons under it those in the first 12 entries of the log count.",
        "lists the key ",
        "\"Co-op 2\" (did:web:coop-2.example) is removed, as of T0: ",
        "its coupons are redeemed no more, and its log is frozen at 9 entries.",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert_eq!(
        changes(Some(&third), &after(&third, |_| ()), &time),
        ["Nothing but its number and its date."]
    );
}

/// Known answers, made by another implementation (`tests/data/roster-vectors.py`):
/// whoever writes one more begins with these.
#[test]
fn known_answers() {
    let first = founded(&[1], 1);
    let second = after(&first, |draft| draft.member(description(1, 0)).unwrap());
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let known: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/data/roster-vectors.json")).unwrap();
    let made = serde_json::json!({
        "signer_seed": hex(&[1; 32]),
        "signer_kid": signer(1).key.kid().to_string(),
        "member_seeds": Role::ALL.map(|role| hex(&*member_key(1, role, 0).seed())),
        "version_1": hex(&signed(&first, &[1]).encode()),
        "version_1_hash": hex(&first.hash().0),
        "description": hex(&description(1, 0).encode()),
        "version_2": hex(&signed(&second, &[1]).encode()),
        "version_2_hash": hex(&second.hash().0),
    });
    assert_eq!(made, known, "made now:\n{made:#}");
    // What is there suffices to follow.
    let bytes = |name: &str| {
        data_encoding::HEXLOWER
            .decode(known[name].as_str().unwrap().as_bytes())
            .unwrap()
    };
    let read = |name| SignedRoster::decode(&bytes(name)).unwrap();
    let chain = following(
        read("version_1").hash(),
        &[&read("version_1"), &read("version_2")],
    );
    assert_eq!(hex(&chain.directory().unwrap().hash().0), known["version_2_hash"]);
}

#[test]
fn the_published_schema_says_the_same() {
    let schema = include_str!("../../../../schemas/roster.cddl");
    let valid = |bytes: &[u8]| cddl::validate_cbor_from_slice(schema, bytes, None);
    let Valley { first, second, .. } = valley();
    let third = after(&second, |draft| {
        let kid = |role| member_key(1, role, 0).public().kid();
        draft.retire(kid(Role::Witness), ISSUED.plus(7)).unwrap();
        draft
            .compromised(kid(Role::Credentials), ISSUED, Some(12))
            .unwrap();
        draft.compromised(kid(Role::Messages), ISSUED, None).unwrap();
        draft
            .mirrors("did:web:coop-1.example", vec!["did:web:coop-2.example".into()])
            .unwrap();
        draft.drop_signer("signer 5").unwrap();
    });
    let fourth = after(&third, |draft| draft.remove("did:web:coop-2.example", 9).unwrap());
    for roster in [&first, &second, &third, &fourth] {
        for by in [&[][..], &[1, 2, 3]] {
            let bytes = signed(roster, by).encode();
            assert!(valid(&bytes).is_ok(), "{}: {:?}", roster.version, valid(&bytes));
        }
    }
    let none = forged(&second, |roster| roster.members[0].keys.clear());
    assert!(valid(&signed(&none, &[1]).encode()).is_err());
    let none = forged(&second, |roster| roster.threshold = 0);
    assert!(valid(&signed(&none, &[1]).encode()).is_err());
    assert!(valid(&second.encode()).is_err());
}

fn any_state() -> impl Strategy<Value = KeyState> {
    prop_oneof![
        Just(KeyState::Active),
        (0..EXPIRES.0).prop_map(|at| KeyState::VerifyOnly {
            until: UnixSeconds(at)
        }),
        (0..ISSUED.0, any::<u64>()).prop_map(|(since, frozen)| KeyState::Compromised {
            since: UnixSeconds(since),
            frozen: Some(frozen),
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_the_same(
        members in proptest::collection::btree_set(0_u8..8, 0..5), threshold in 3_u64..6,
        name in "[A-Za-z0-9äß'-]{1,40}", version in 2_u64.., previous: [u8; 32], states in proptest::collection::vec(any_state(), 8),
        left in proptest::option::of((0..ISSUED.0, any::<u64>())), by in proptest::collection::btree_set(1_u8..9, 0..6),
    ) {
        let mut roster = founded(&[1, 2, 3, 4, 5], threshold);
        (roster.version, roster.previous, roster.name) = (version, Digest(previous), name);
        for (n, state) in members.iter().zip(&states) {
            let mut member = description(*n, 0).member;
            member.keys[0].state = *state;
            if let Some((left, frozen)) = left {
                member.status = MemberStatus::Removed { left: UnixSeconds(left), frozen };
            }
            roster.members.push(member);
        }
        roster.sort();
        prop_assume!(roster.previous != Digest::ZERO);
        let body = roster.encode();
        prop_assert_eq!(Roster::decode(&body), Ok(roster.clone()));
        prop_assert_eq!(hash_of(&body), roster.hash());
        let by: Vec<_> = by.into_iter().collect();
        let signed = signed(&roster, &by);
        let read = SignedRoster::decode(&signed.encode()).unwrap();
        prop_assert_eq!(read.version_said(), Some(version));
        prop_assert_eq!(read, signed);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
        if let Ok(read) = SignedRoster::decode(&bytes) {
            prop_assert_eq!(read.encode(), &bytes[..]);
        }
        let mut good = signed(&valley().second, &[1, 2]).encode();
        let at = at.index(good.len());
        good[at] ^= bytes.first().copied().unwrap_or(1);
        if let Ok(read) = SignedRoster::decode(&good) {
            prop_assert_eq!(read.encode(), good);
            if let Ok(roster) = read.roster() {
                prop_assert_eq!(roster.encode(), read.body());
            }
        }
    }
}
