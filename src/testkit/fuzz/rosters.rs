//! Floor 6: rosters and members' descriptions.

use super::Target;
use crate::federation::roster::{Chain, Description, Offered, Role, SignedRoster, possession, rules};
use crate::testkit::roster::{EXPIRES, ISSUED, after, description, founded, member_key, signed, signer};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "roster",
        run: roster,
        seeds: roster_seeds,
    },
    Target {
        name: "member_description",
        run: member_description,
        seeds: || vec![description(1, 0).encode(), description(2, 1).encode()],
    },
];

/// Reads bytes as they are, and then their body as if the signers had signed it.
fn roster(data: &[u8]) -> bool {
    let Ok(read) = SignedRoster::decode(data) else {
        return false;
    };
    assert_eq!(read.encode(), data, "read and written again");
    let Ok(roster) = read.roster() else {
        return false;
    };
    assert_eq!(roster.encode(), read.body(), "one body for one content");
    assert_eq!(read.version_said(), Some(roster.version));
    let first = founded(&[1, 2, 3], 2);
    let begun = offered(&Chain::new(first.hash(), 0), &signed(&first, &[1, 2]));
    let begun = begun.expect("version 1 of these signers");
    // Of the input's own signatures none is by these signers, but in the seeds.
    if let Some(followed) = offered(&begun, &signed(&roster, &[1, 2, 3])) {
        let held = followed.directory().expect("what was followed").roster();
        assert_eq!((held, followed.version()), (&roster, 2));
        assert_eq!(rules::check_follows(&first, held), Ok(()));
        assert_eq!(possession::check_all(held, None), Ok(()));
        assert!(
            offered(&followed, &signed(&first, &[1, 2])).is_none(),
            "it went back"
        );
    }
    true
}

fn offered(chain: &Chain, offered: &SignedRoster) -> Option<Chain> {
    match chain.offer(offered, ISSUED) {
        Ok(Offered::Next(chain)) => Some(chain),
        _ => None,
    }
}

fn roster_seeds() -> Vec<Vec<u8>> {
    let first = founded(&[1, 2, 3], 2);
    let second = after(&first, |draft| {
        for n in 1..=3 {
            draft.member(description(n, 0)).expect("a new member");
        }
        let mirrored = (description(1, 0).member.did(), description(2, 0).member.did());
        draft.mirrors(&mirrored.0, vec![mirrored.1]).expect("two members");
    });
    let third = after(&second, |draft| {
        let kid = |role| member_key(1, role, 0).kid();
        draft.retire(kid(Role::Witness), EXPIRES).expect("a key");
        draft.compromised(kid(Role::Log), ISSUED, Some(7)).expect("a key");
        draft
            .remove(&description(3, 0).member.did(), 9)
            .expect("a member");
        draft.drop_signer("signer 3").expect("a signer");
        draft.add_signer(signer(4)).expect("a new signer");
    });
    vec![
        signed(&first, &[1, 2]).encode(),
        signed(&second, &[]).encode(),
        signed(&third, &[1, 2, 4]).encode(),
    ]
}

fn member_description(data: &[u8]) -> bool {
    let Ok(read) = Description::decode(data) else {
        return false;
    };
    assert_eq!(read.encode(), data, "read and written again");
    let member = &read.member;
    let proven = |key| possession::holds(read.federation, &member.did(), key);
    assert!(member.keys.iter().all(proven), "a key without its proof");
    true
}
