//! A version for people: what it changes, who has signed what, who is listed.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::files::time;
use crate::federation::roster::chain::tallies;
use crate::federation::roster::changes::state;
use crate::federation::roster::{
    Description, KeyState, Member, MemberKey, MemberStatus, Roster, SignedRoster, Signer, Tally, changes,
};
use crate::primitives::{Clock as _, SystemClock, UnixSeconds};

/// What is to be shown of a version.
pub struct Picture<'a> {
    roster: &'a Roster,
    hash: String,
    /// Known only with the version before, or in version 1.
    changes: Option<Vec<String>>,
    tallies: Vec<Tally>,
    /// Whether the version before is lacking, so that its signers are not known.
    is_partial: bool,
    now: UnixSeconds,
}

impl<'a> Picture<'a> {
    /// The picture of `roster`, signed as in `signed`, after `before`.
    pub fn of(signed: &SignedRoster, roster: &'a Roster, before: Option<&Roster>) -> Self {
        let is_partial = before.is_none() && roster.version > 1;
        Self {
            roster,
            hash: signed.hash().to_string(),
            changes: (!is_partial).then(|| changes(before, roster, &time)),
            tallies: tallies(signed, roster, before),
            is_partial,
            now: SystemClock.now(),
        }
    }

    /// Whether it has all signatures that it needs; `None` where that is not known.
    fn is_complete(&self) -> Option<bool> {
        let enough = self.tallies.iter().all(|tally| tally.lacking() == 0);
        (!enough || !self.is_partial).then_some(enough)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let roster = self.roster;
        json!({
            "federation": roster.federation.to_string(),
            "name": roster.name,
            "version": roster.version,
            "hash": self.hash,
            "previous": roster.previous.to_string(),
            "issued": time(roster.issued),
            "expires": time(roster.expires),
            "expired": self.now >= roster.expires,
            "threshold": roster.threshold,
            "signers": signers(&roster.signers),
            "former_signers": signers(&roster.former_signers),
            "members": roster.members.iter().map(member).collect::<Vec<_>>(),
            "changes": self.changes,
            "signatures": self.tallies.iter().map(|tally| json!({
                "of_version": tally.version,
                "needed": tally.need,
                "signed": tally.signed,
                "missing": tally.missing,
                "lacking": tally.lacking(),
            })).collect::<Vec<_>>(),
            "complete": self.is_complete(),
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let roster = self.roster;
        let mut out = format!("{}, version {}\n", roster.name, roster.version);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:<11}{value}");
        };
        line("hash", self.hash.clone());
        line("federation", roster.federation.to_string());
        line("issued", time(roster.issued));
        let expired = if self.now >= roster.expires { " (over)" } else { "" };
        line("expires", format!("{}{expired}", time(roster.expires)));
        match &self.changes {
            Some(changes) => {
                out.push_str("\nWhat it changes\n");
                for change in changes {
                    let _ = writeln!(out, "  - {change}");
                }
            }
            None => {
                let _ = writeln!(
                    out,
                    "\nWhat it changes cannot be said without version {}: name its file with --after.",
                    roster.version - 1
                );
            }
        }
        out.push('\n');
        out.push_str(&self.who_has_signed());
        out.push_str("\nMembers\n");
        if roster.members.is_empty() {
            out.push_str("  none yet\n");
        }
        for member in &roster.members {
            out.push_str(&member_text(member));
        }
        out
    }

    /// Who has signed, and who is lacking.
    pub fn who_has_signed(&self) -> String {
        let mut out = String::from("Signatures\n");
        for tally in &self.tallies {
            let lacking = match tally.lacking() {
                0 => "enough".to_owned(),
                1 => "one more is needed".to_owned(),
                more => format!("{more} more are needed"),
            };
            let _ = writeln!(
                out,
                "  of the signers of version {}: {} of {}, {} needed: {lacking}",
                tally.version,
                tally.signed.len(),
                tally.signed.len() + tally.missing.len(),
                tally.need
            );
            for (names, word) in [(&tally.signed, "signed"), (&tally.missing, "not signed")] {
                if !names.is_empty() {
                    let _ = writeln!(out, "    {word:<11}{}", names.join(", "));
                }
            }
        }
        let number = self.roster.version;
        out.push_str(&match self.is_complete() {
            None => format!(
                "  whether enough signers of version {} have signed is not known here\n",
                number - 1
            ),
            Some(true) => "  it has every signature that it needs, and can be published\n".to_owned(),
            Some(false) => "  it does not count yet\n".to_owned(),
        });
        out
    }
}

fn signers(signers: &[Signer]) -> Vec<Value> {
    let signers = signers.iter();
    signers
        .map(|signer| json!({ "name": signer.name, "kid": signer.key.kid().to_string(), "key": signer.key.did_key() }))
        .collect()
}

fn member(member: &Member) -> Value {
    let (status, left, frozen) = match member.status {
        MemberStatus::Active => ("active", None, None),
        MemberStatus::Removed { left, frozen } => ("removed", Some(time(left)), Some(frozen)),
    };
    json!({
        "name": member.name,
        "did": member.did(),
        "base_url": member.base_url.to_string(),
        "log_origin": member.log_origin(),
        "witness_name": member.witness_name,
        "status": status,
        "joined": time(member.joined),
        "left": left,
        "frozen_at": frozen,
        "mirrors": member.mirrors,
        "keys": member.keys.iter().map(key).collect::<Vec<_>>(),
    })
}

fn key(key: &MemberKey) -> Value {
    let (state, until, since, frozen) = match key.state {
        KeyState::Active => ("active", None, None, None),
        KeyState::VerifyOnly { until } => ("verify_only", Some(time(until)), None, None),
        KeyState::Compromised { since, frozen } => ("compromised", None, Some(time(since)), frozen),
    };
    json!({
        "role": key.role.word(),
        "kid": key.key.kid().to_string(),
        "key": key.key.did_key(),
        "state": state,
        "until": until,
        "since": since,
        "frozen_at": frozen,
    })
}

fn member_text(member: &Member) -> String {
    let standing = match member.status {
        MemberStatus::Active => format!("since {}", time(member.joined)),
        MemberStatus::Removed { left, frozen } => {
            format!("removed on {}, log frozen at {frozen} entries", time(left))
        }
    };
    let mut out = format!("  {} ({}), {standing}\n", member.name, member.did());
    out.push_str(&keys_text(member));
    if !member.mirrors.is_empty() {
        let _ = writeln!(out, "    mirrored by {}", member.mirrors.join(", "));
    }
    out
}

fn keys_text(member: &Member) -> String {
    let mut out = String::new();
    for key in &member.keys {
        let said = match key.state {
            KeyState::Active => String::new(),
            _ => format!(" {}", state(key, &time)),
        };
        let _ = writeln!(out, "    {:<12}{}{said}", key.role.word(), key.key.kid());
    }
    out
}

/// A description, for programs.
pub fn described(description: &Description) -> Value {
    let member = &description.member;
    json!({
        "federation": description.federation.to_string(),
        "name": member.name,
        "did": member.did(),
        "base_url": member.base_url.to_string(),
        "mirrors": member.mirrors,
        "keys": member.keys.iter().map(key).collect::<Vec<_>>(),
    })
}

/// A description, for people.
pub fn described_text(description: &Description) -> String {
    let member = &description.member;
    let mut out = format!(
        "{} ({}), as it describes itself for the federation {}\n",
        member.name,
        member.did(),
        description.federation
    );
    out.push_str(&keys_text(member));
    if !member.mirrors.is_empty() {
        let _ = writeln!(out, "    mirrored by {}", member.mirrors.join(", "));
    }
    out
}
