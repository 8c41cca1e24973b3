//! The rules, and attacks on them.

mod chain;
mod formats;
mod rules;

use super::*;
use crate::credential::{Algorithm, PublicKey, SecretKey};
use crate::primitives::{Digest, FederationId, UnixSeconds, limits};
use crate::testkit::roster::{
    EXPIRES, FEDERATION, ISSUED, after, base_url, description, founded, member_key, signed, signer,
    signer_key,
};

const NOW: UnixSeconds = ISSUED;

/// The chain after these versions, each of which has to be followed.
fn following(pin: Digest, versions: &[&SignedRoster]) -> Chain {
    versions
        .iter()
        .fold(Chain::new(pin, 0), |chain, next| followed(&chain, next))
}

fn followed(chain: &Chain, next: &SignedRoster) -> Chain {
    match chain.offer(next, NOW) {
        Ok(Offered::Next(chain)) => chain,
        other => panic!("not followed: {other:?}"),
    }
}

fn refused(chain: &Chain, offered: &SignedRoster) -> RosterError {
    match chain.offer(offered, NOW) {
        Err(error) => error,
        Ok(other) => panic!("taken: {other:?}"),
    }
}

/// One co-op one vote, three of five; version 2 lists two members.
struct Valley {
    first: Roster,
    second: Roster,
    chain: Chain,
}

fn valley() -> Valley {
    let first = founded(&[1, 2, 3, 4, 5], 3);
    let second = after(&first, |draft| {
        draft.member(description(1, 0)).unwrap();
        draft.member(description(2, 0)).unwrap();
    });
    let chain = following(
        first.hash(),
        &[&signed(&first, &[1, 2, 3]), &signed(&second, &[3, 4, 5])],
    );
    Valley { first, second, chain }
}

/// `roster` after a change that no draft would make.
fn forged(roster: &Roster, change: impl FnOnce(&mut Roster)) -> Roster {
    let mut roster = roster.clone();
    change(&mut roster);
    roster.sort();
    roster
}

/// The version after `before` with such a change.
fn forged_after(before: &Roster, change: impl FnOnce(&mut Roster)) -> Roster {
    forged(before, |roster| {
        roster.version += 1;
        roster.previous = before.hash();
        change(roster);
    })
}

fn rule_of(roster: &Roster) -> String {
    match Roster::decode(&roster.encode()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    }
}
