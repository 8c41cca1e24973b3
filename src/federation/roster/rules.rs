//! What one version of a roster must keep, alone and after the one before.
//!
//! Nothing that was ever listed is dropped: members are removed by their status,
//! keys keep their place, signers who were replaced are former ones. So whether a
//! key was ever listed, and as whose, the newest version alone tells. Dates and
//! the sizes at which logs are frozen do not move back: what was honoured stays so.

use std::collections::{HashMap, HashSet};

use super::RosterError;
use super::body::{KeyState, Member, MemberKey, MemberStatus, Role, Roster, Signer};
use crate::primitives::{Digest, UnixSeconds, limits};

/// That a version breaks a rule.
pub(super) fn broken<T>(roster: &Roster, rule: impl Into<String>) -> Result<T, RosterError> {
    Err(RosterError::Rule {
        version: roster.version,
        rule: rule.into(),
    })
}

/// The rules of a version by itself. Proofs of possession are verified apart
/// ([`super::possession::check_all`]), since they take a signature each.
///
/// # Errors
/// [`RosterError::Rule`] with the first that is broken.
pub fn check(roster: &Roster) -> Result<(), RosterError> {
    let refuse = |rule: &str| broken(roster, rule);
    if !is_for_people(&roster.name) {
        return refuse("a federation's name has 1 to 100 characters, and none that is not shown");
    }
    if roster.version == 0 {
        return refuse("versions are counted from 1");
    }
    if (roster.version == 1) != (roster.previous == Digest::ZERO) {
        return refuse("version 1, and no other, names 32 zero bytes as the one before it");
    }
    if roster.expires <= roster.issued
        || roster.expires.0 - roster.issued.0 > limits::ROSTER_LIFETIME_SECONDS_MAX
    {
        return refuse("it expires after it was issued, and at most five years after");
    }
    check_signers(roster)?;
    if roster.members.len() > limits::ROSTER_MEMBERS_MAX {
        return refuse("it has at most 1,000 members");
    }
    if !is_sorted(&roster.members, |member| member.did()) {
        return refuse("members are sorted by their dids, and each stands there once");
    }
    for member in &roster.members {
        check_member(roster, member)?;
        if roster.version == 1 {
            joins(member).or_else(|rule| broken(roster, format!("{}: {rule}", member.did())))?;
        }
    }
    check_mirrors(roster)?;
    check_names(roster)?;
    check_distinct(roster)
}

fn check_signers(roster: &Roster) -> Result<(), RosterError> {
    let refuse = |rule: &str| broken(roster, rule);
    let count = roster.signers.len();
    if count == 0 || count > limits::ROSTER_SIGNERS_MAX {
        return refuse("a roster has 1 to 100 signers");
    }
    if roster.former_signers.len() > limits::ROSTER_FORMER_SIGNERS_MAX {
        return refuse("a roster has at most 1,000 former signers");
    }
    let all = count as u64;
    if roster.threshold > all || roster.threshold <= all / 2 {
        return broken(
            roster,
            format!(
                "the threshold is {}, but of {all} signers it has to be more than half and at most all",
                roster.threshold
            ),
        );
    }
    let by_key = |signer: &Signer| *signer.key.as_bytes();
    if !is_sorted(&roster.signers, by_key) || !is_sorted(&roster.former_signers, by_key) {
        return refuse("signers are sorted by their keys, and each stands there once");
    }
    let all = roster.signers.iter().chain(&roster.former_signers);
    if !all.clone().all(|signer| is_for_people(&signer.name)) {
        return refuse("a signer's name has 1 to 100 characters, and none that is not shown");
    }
    let names: HashSet<_> = roster.signers.iter().map(|signer| &signer.name).collect();
    if names.len() != count {
        return refuse("two signers have one name");
    }
    Ok(())
}

fn check_member(roster: &Roster, member: &Member) -> Result<(), RosterError> {
    let did = member.did();
    let refuse = |rule: &str| broken(roster, format!("{did}: {rule}"));
    if !is_for_people(&member.name) {
        return refuse("a member's name has 1 to 100 characters, and none that is not shown");
    }
    let witness = member.witness_name.as_bytes();
    let is_plain = witness
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'+');
    if witness.is_empty() || witness.len() > limits::AUTHORITY_CHARS_MAX || !is_plain {
        return refuse("a witness's name has 1 to 253 characters of printable ASCII, and no space and no +");
    }
    if member.joined > roster.issued {
        return refuse("a member joined before the version was issued");
    }
    if let MemberStatus::Removed { left, .. } = member.status
        && (left < member.joined || left > roster.issued)
    {
        return refuse("a member left after it had joined, and before the version was issued");
    }
    if member.keys.is_empty() || member.keys.len() > limits::ROSTER_MEMBER_KEYS_MAX {
        return refuse("a member has 1 to 64 keys");
    }
    if !is_sorted(&member.keys, |key| (key.role, *key.key.as_bytes())) {
        return refuse("keys are sorted by role and key, and each stands there once");
    }
    for key in &member.keys {
        if let KeyState::Compromised { since, frozen } = key.state {
            if since > roster.issued {
                return refuse("a key was compromised before the version was issued");
            }
            if frozen.is_some() != key.role.is_frozen_by_size() {
                return refuse(
                    "of a compromised key for credentials or the log, and of no other, the size of the log is named",
                );
            }
        }
    }
    Ok(())
}

/// Mirrors are active members, and nobody mirrors itself.
fn check_mirrors(roster: &Roster) -> Result<(), RosterError> {
    let active: HashSet<_> = roster
        .members
        .iter()
        .filter(|member| member.is_active())
        .map(Member::did)
        .collect();
    for member in &roster.members {
        let did = member.did();
        if member.mirrors.len() > limits::ROSTER_MIRRORS_MAX || !is_sorted(&member.mirrors, Clone::clone) {
            return broken(
                roster,
                format!("{did}: at most two members mirror it, sorted, and each stands there once"),
            );
        }
        for mirror in &member.mirrors {
            if *mirror == did || !active.contains(mirror) {
                return broken(
                    roster,
                    format!("{did} names {mirror} as its mirror, which is no other active member"),
                );
            }
        }
    }
    Ok(())
}

/// A witness bears a name of its own: no other one's, nor that of another's log.
fn check_names(roster: &Roster) -> Result<(), RosterError> {
    let mut taken: HashMap<&str, usize> = HashMap::new();
    for (at, member) in roster.members.iter().enumerate() {
        for name in [member.log_origin(), &member.witness_name] {
            if *taken.entry(name).or_insert(at) != at {
                return broken(
                    roster,
                    format!("two members use the name {name} for a log or a witness"),
                );
            }
        }
    }
    Ok(())
}

/// All keys ever listed are distinct across members and roles, signers included.
fn check_distinct(roster: &Roster) -> Result<(), RosterError> {
    let signers = roster.signers.iter().chain(&roster.former_signers);
    let keys = roster.members.iter().flat_map(|member| &member.keys);
    let all = signers.map(|signer| &signer.key).chain(keys.map(|key| &key.key));
    let mut seen = HashSet::new();
    for key in all {
        if !seen.insert(*key.as_bytes()) {
            return broken(
                roster,
                format!(
                    "the key {} is listed twice: each is one holder's, for one purpose",
                    key.kid()
                ),
            );
        }
    }
    Ok(())
}

/// The rules of `next` as the version after `before`.
///
/// # Errors
/// [`RosterError::Follows`] with the first that is broken.
pub fn check_follows(before: &Roster, next: &Roster) -> Result<(), RosterError> {
    let refuse = |rule: String| {
        Err(RosterError::Follows {
            version: next.version,
            rule,
        })
    };
    if next.federation != before.federation {
        return refuse("it is of another federation".to_owned());
    }
    if next.version != before.version + 1 {
        return refuse(format!("version {} comes next", before.version + 1));
    }
    if next.previous != before.hash() {
        return refuse("it names another version as the one before it".to_owned());
    }
    if next.issued < before.issued {
        return refuse("it was issued before that one".to_owned());
    }
    signers_stay(before, next).or_else(refuse)?;
    let (held, now) = (by_origin(before), by_origin(next));
    for member in &before.members {
        let did = member.did();
        let Some(now) = now.get(member.log_origin()) else {
            return refuse(format!(
                "{did} is missing: members are removed by their status, not left out"
            ));
        };
        member_follows(member, now).or_else(|rule| refuse(format!("{did}: {rule}")))?;
    }
    for member in &next.members {
        if !held.contains_key(member.log_origin()) {
            joins(member).or_else(|rule| refuse(format!("{}: {rule}", member.did())))?;
            if member.joined < before.issued {
                return refuse(format!(
                    "{} cannot have joined before version {} was issued",
                    member.did(),
                    before.version
                ));
            }
        }
    }
    Ok(())
}

/// Members by the origins of their logs, which no two share.
fn by_origin(roster: &Roster) -> HashMap<&str, &Member> {
    let members = roster.members.iter();
    members.map(|member| (member.log_origin(), member)).collect()
}

/// Who signed once is a signer or a former one.
fn signers_stay(before: &Roster, next: &Roster) -> Result<(), String> {
    let listed: HashSet<_> = next
        .signers
        .iter()
        .chain(&next.former_signers)
        .map(|signer| signer.key.as_bytes())
        .collect();
    let missing = before
        .signers
        .iter()
        .chain(&before.former_signers)
        .find(|signer| !listed.contains(signer.key.as_bytes()));
    match missing {
        None => Ok(()),
        Some(signer) => Err(format!(
            "the signer {:?} is neither a signer nor a former one",
            signer.name
        )),
    }
}

fn member_follows(before: &Member, now: &Member) -> Result<(), String> {
    let refuse = |rule: &str| Err(rule.to_owned());
    if now.base_url != before.base_url || now.witness_name != before.witness_name {
        return refuse("base URL and witness's name stay as they are");
    }
    if now.joined != before.joined {
        return refuse("the date on which it joined stays as it is");
    }
    if let MemberStatus::Removed { left, frozen } = before.status {
        match now.status {
            MemberStatus::Active => return refuse("it was removed, and that is final: its log is frozen"),
            MemberStatus::Removed {
                left: left_now,
                frozen: frozen_now,
            } if left_now < left || frozen_now < frozen => {
                return refuse("when it left, and the size at which its log is frozen, do not move back");
            }
            MemberStatus::Removed { .. } => {}
        }
    }
    for key in &before.keys {
        let Some(key_now) = now.keys.iter().find(|now| now.key == key.key) else {
            return Err(format!(
                "its key {} is missing: keys stay, with their state",
                key.key.kid()
            ));
        };
        key_follows(key, key_now).map_err(|rule| format!("its key {}: {rule}", key.key.kid()))?;
    }
    Ok(())
}

fn key_follows(before: &MemberKey, now: &MemberKey) -> Result<(), &'static str> {
    if before.role != now.role || before.proof != now.proof {
        return Err("role and proof stay as they are");
    }
    match (before.state, now.state) {
        (KeyState::Active, _) | (KeyState::VerifyOnly { .. }, KeyState::Compromised { .. }) => Ok(()),
        (_, KeyState::Active) => Err("a key that was taken out of use does not come back"),
        (KeyState::Compromised { .. }, KeyState::VerifyOnly { .. }) => {
            Err("a key that was compromised stays so")
        }
        (KeyState::VerifyOnly { until }, KeyState::VerifyOnly { until: now }) if now < until => {
            Err("the date until which it verifies does not move back; mark it compromised instead")
        }
        (
            KeyState::Compromised { since, frozen },
            KeyState::Compromised {
                since: since_now,
                frozen: frozen_now,
            },
        ) if since_now < since || frozen_now < frozen => {
            Err("since when it is compromised, and the size at which the log is frozen, do not move back")
        }
        _ => Ok(()),
    }
}

/// A member that was not listed before.
fn joins(member: &Member) -> Result<(), String> {
    if !member.is_active() {
        return Err("who was no member cannot have been removed".to_owned());
    }
    let is_active = |role| {
        member
            .keys
            .iter()
            .any(|key| key.role == role && key.state == KeyState::Active)
    };
    match Role::ALL.into_iter().find(|role| !is_active(*role)) {
        None => Ok(()),
        Some(role) => Err(format!("who joins needs an active key for {}", role.word())),
    }
}

/// Whether a version was issued at `now`, as far as clocks may differ.
#[must_use]
pub fn is_issued(roster: &Roster, now: UnixSeconds) -> bool {
    roster.issued <= now.plus(limits::CLOCK_SKEW_SECONDS_MAX)
}

/// One line that does nothing to the terminal it is shown on, and is read as it
/// is written: no controls, nor marks that turn the direction of writing.
pub(super) fn is_for_people(name: &str) -> bool {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (1..=limits::NODE_NAME_CHARS_MAX).contains(&name.chars().count())
        && !name.chars().any(|c| c.is_control() || turns(c))
        && name.trim() == name
}

/// Whether `items` are in strictly rising order of `key`.
fn is_sorted<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> bool {
    items.is_sorted_by(|a, b| key(a) < key(b))
}
