//! What a version changes against the one before, in sentences for whoever is
//! asked to sign it.

use std::collections::HashMap;

use super::body::{KeyState, Member, MemberKey, MemberStatus, Roster, Signer};
use crate::primitives::UnixSeconds;

/// How a time is written.
pub type Written<'a> = &'a dyn Fn(UnixSeconds) -> String;

/// The changes of `next` against `before`, a sentence each; in version 1 all that
/// it says. `time` writes times.
#[must_use]
pub fn changes(before: Option<&Roster>, next: &Roster, time: Written<'_>) -> Vec<String> {
    let mut said = Vec::new();
    match before {
        None => said.push(format!(
            "It begins the federation {:?}, until {}: of {} {} have to sign.",
            next.name,
            time(next.expires),
            count(next.signers.len(), "signer"),
            next.threshold
        )),
        Some(before) => {
            if before.name != next.name {
                said.push(format!(
                    "The federation is called {:?}, not {:?} any more.",
                    next.name, before.name
                ));
            }
            if before.expires != next.expires {
                said.push(format!(
                    "It expires on {}, not on {}.",
                    time(next.expires),
                    time(before.expires)
                ));
            }
            if (before.threshold, before.signers.len()) != (next.threshold, next.signers.len()) {
                said.push(format!(
                    "Of {} {} have to sign; before, {} of {}.",
                    count(next.signers.len(), "signer"),
                    next.threshold,
                    before.threshold,
                    before.signers.len()
                ));
            }
        }
    }
    signers(before, next, &mut said);
    members(before, next, time, &mut said);
    if said.is_empty() {
        said.push("Nothing but its number and its date.".to_owned());
    }
    said
}

fn signers(before: Option<&Roster>, next: &Roster, said: &mut Vec<String>) {
    let held = before.map_or(&[][..], |before| &before.signers);
    let find =
        |signers: &'_ [Signer], signer: &Signer| signers.iter().position(|other| other.key == signer.key);
    for signer in &next.signers {
        let (name, kid) = (&signer.name, signer.key.kid());
        match find(held, signer) {
            None => said.push(format!("{name:?} becomes a signer, with the key {kid}.")),
            Some(at) if held[at].name != *name => {
                said.push(format!("The signer {:?} is called {name:?}.", held[at].name));
            }
            Some(_) => {}
        }
    }
    for signer in held.iter().filter(|signer| find(&next.signers, signer).is_none()) {
        let (name, kid) = (&signer.name, signer.key.kid());
        said.push(format!("{name:?}, with the key {kid}, is no signer any more."));
    }
}

fn members(before: Option<&Roster>, next: &Roster, time: Written<'_>, said: &mut Vec<String>) {
    let held: HashMap<_, _> = before
        .into_iter()
        .flat_map(|before| &before.members)
        .map(|member| (member.log_origin(), member))
        .collect();
    for member in &next.members {
        let who = format!("{:?} ({})", member.name, member.did());
        let before = held.get(member.log_origin()).copied();
        match before {
            None => said.push(format!(
                "{who} joins, with {}.",
                listed(member.keys.iter().map(|key| format!(
                    "the key {} for {}",
                    key.key.kid(),
                    key.role.signs()
                )))
            )),
            Some(before) if before.name != member.name => {
                said.push(format!("{who} is not called {:?} any more.", before.name));
            }
            Some(_) => {}
        }
        status(before, member, &who, time, said);
        if let Some(before) = before {
            keys(before, member, &who, time, said);
        }
        let mirrors = before.map_or(&[][..], |before| &before.mirrors);
        if mirrors != member.mirrors {
            said.push(if member.mirrors.is_empty() {
                format!("{who} is mirrored by nobody.")
            } else {
                format!("{who} is mirrored by {}.", listed(member.mirrors.iter().cloned()))
            });
        }
    }
}

fn status(before: Option<&Member>, member: &Member, who: &str, time: Written<'_>, said: &mut Vec<String>) {
    let MemberStatus::Removed { left, frozen } = member.status else {
        return;
    };
    match before.map(|before| before.status) {
        Some(status) if status == member.status => {}
        Some(MemberStatus::Removed { .. }) => said.push(format!(
            "{who} counts as removed on {}, with its log frozen at {frozen} entries.",
            time(left)
        )),
        _ => said.push(format!(
            "{who} is removed, as of {}: what it signs counts no more, its coupons are redeemed no more, and its log is \
             frozen at {frozen} entries.",
            time(left)
        )),
    }
}

fn keys(before: &Member, member: &Member, who: &str, time: Written<'_>, said: &mut Vec<String>) {
    for key in &member.keys {
        let held = before.keys.iter().find(|held| held.key == key.key);
        if held.is_some_and(|held| held.state == key.state) {
            continue;
        }
        let what = format!("the key {} for {}", key.key.kid(), key.role.signs());
        let is_new = if held.is_none() { "lists" } else { "has" };
        said.push(format!("{who} {is_new} {what} {}.", state(key, time)));
    }
}

/// What a key counts for, after its name in a sentence.
#[must_use]
pub fn state(key: &MemberKey, time: Written<'_>) -> String {
    match key.state {
        KeyState::Active => "that signs".to_owned(),
        KeyState::VerifyOnly { until } => {
            format!("that signs nothing new and verifies until {}", time(until))
        }
        KeyState::Compromised { since, frozen } => {
            let counts = frozen.map_or_else(
                || "nothing that it signed counts".to_owned(),
                |size| format!("of coupons under it those in the first {size} entries of the log count"),
            );
            format!("that is compromised since {}: {counts}", time(since))
        }
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    match items.as_slice() {
        [] => "nothing".to_owned(),
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        [.., last] => last.clone(),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
