//! Which cosignatures make a checkpoint valid (c2sp.org/tlog-policy, as its main
//! branch has it).
//!
//! ```text
//! log     <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group   <name> all|any|<k> <name>...
//! quorum  <name>|none
//! ```
//!
//! A line each; items are parted by spaces and tabs; empty lines, and lines that
//! begin with `#`, mean nothing. Names stand for what is defined on lines before.
//!
//! In scope: the file, and whether a checkpoint is valid by it. Out of scope: what
//! is done at the URLs; witnesses' keys of type 0x06 (ML-DSA-44), which are
//! refused, since a policy of which a part is not understood says nothing.

use std::collections::BTreeMap;

use super::checkpoint::{OpenCheckpoint, parse_decimal};
use super::{Checkpoint, KeyKind, LogError, VerifierKey};
use crate::primitives::limits::{POLICY_BYTES_MAX, POLICY_GROUPS_MAX, POLICY_LOGS_MAX, POLICY_WITNESSES_MAX};

/// What no group and no witness may be called.
const NONE: &[u8] = b"none";

/// A log whose checkpoints are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key; the key's name is its origin.
    pub key: VerifierKey,
    /// Where it is, if that is told.
    pub url: Option<String>,
}

/// A witness that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// What it is called in the policy, for people.
    pub name: String,
    /// The key that it cosigns with.
    pub key: VerifierKey,
    /// Its submission prefix, if that is told.
    pub url: Option<String>,
}

/// A name that is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// `None` where no cosignature is required.
    quorum: Option<Member>,
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is too long, or its last line is cut off.
    #[error("{0}")]
    Text(&'static str),
    /// A line is wrong.
    #[error("line {line}: {what}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// There is no quorum line.
    #[error("there is no line `quorum NAME`; `quorum none` asks for no cosignatures")]
    NoQuorum,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`], which names the line.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::Text("it is longer than any policy"));
        }
        let lines = match text {
            [] => return Err(PolicyError::NoQuorum),
            text => text
                .strip_suffix(b"\n")
                .ok_or(PolicyError::Text("its last line does not end in a newline"))?,
        };
        let mut reader = Reader::default();
        for (number, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            reader.line(line).map_err(|what| PolicyError::Line {
                line: number + 1,
                what,
            })?;
        }
        Ok(Self {
            quorum: reader.quorum.ok_or(PolicyError::NoQuorum)?,
            logs: reader.logs,
            witnesses: reader.witnesses,
            groups: reader.groups,
        })
    }

    /// The logs; none where they are known otherwise.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether the quorum asks for any cosignature.
    #[must_use]
    pub fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether cosignatures by these keys are a quorum.
    #[must_use]
    pub fn is_met(&self, cosigned: &[&VerifierKey]) -> bool {
        let has: Vec<bool> = self
            .witnesses
            .iter()
            .map(|witness| cosigned.contains(&&witness.key))
            .collect();
        self.quorum.is_none_or(|quorum| self.witnessed(quorum, &has))
    }

    /// A group holds what was defined before it, so this ends.
    fn witnessed(&self, member: Member, has: &[bool]) -> bool {
        match member {
            Member::Witness(index) => has[index],
            Member::Group(index) => {
                let group = &self.groups[index];
                let of_it = group
                    .members
                    .iter()
                    .filter(|member| self.witnessed(**member, has));
                of_it.count() >= group.threshold
            }
        }
    }

    /// Opens a checkpoint that is valid by this policy: signed by one of its logs,
    /// or, where `log` is given, by that log, which the policy has to list if it
    /// lists any; and cosigned by a quorum.
    ///
    /// # Errors
    /// What [`Checkpoint::open_cosigned`] gives, [`LogError::NotSigned`] for
    /// another log's, and [`LogError::NoQuorum`].
    pub fn open(&self, note: &[u8], log: Option<&VerifierKey>) -> Result<Checkpoint, LogError> {
        let open = self.open_cosigned(note, log)?;
        let cosigned: Vec<&VerifierKey> = open.by.iter().collect();
        if !self.is_met(&cosigned) {
            let by: Vec<&str> = cosigned.iter().map(|key| key.name()).collect();
            return Err(LogError::NoQuorum {
                cosigned: if by.is_empty() {
                    "none of its witnesses".to_owned()
                } else {
                    format!("only {}", by.join(", "))
                },
            });
        }
        Ok(open.checkpoint)
    }

    fn open_cosigned(&self, note: &[u8], log: Option<&VerifierKey>) -> Result<Opened, LogError> {
        let listed = self.logs.iter().map(|log| &log.key);
        let mut trusted: Vec<&VerifierKey> = match log {
            Some(log) if self.logs.is_empty() || listed.clone().any(|key| key == log) => vec![log],
            Some(_) => Vec::new(),
            None => listed.collect(),
        };
        let keys: Vec<VerifierKey> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let mut refused = LogError::NotSigned;
        while let Some(key) = trusted.pop() {
            match Checkpoint::open_cosigned(note, key, &keys) {
                Ok(OpenCheckpoint {
                    checkpoint, cosigned, ..
                }) => {
                    let by = cosigned.iter().map(|signed| signed.key.clone()).collect();
                    return Ok(Opened { checkpoint, by });
                }
                // Another log may have signed it.
                Err(LogError::NotSigned) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

struct Opened {
    checkpoint: Checkpoint,
    by: Vec<VerifierKey>,
}

/// A policy that is being read.
#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Option<Member>>,
    /// Names, opaque octets, with what they stand for and whether a group has them.
    names: BTreeMap<Vec<u8>, (Member, bool)>,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.iter().any(|byte| matches!(byte, 0..=8 | 10..=0x1f | 0x7f)) {
            return Err("a control character other than tab".to_owned());
        }
        let mut items = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|item| !item.is_empty());
        let Some(word) = items.next() else { return Ok(()) };
        if word.starts_with(b"#") {
            return Ok(());
        }
        let items: Vec<&[u8]> = items.collect();
        match (word, &items[..]) {
            (b"log", [vkey]) => self.log(vkey, None),
            (b"log", [vkey, url]) => self.log(vkey, Some(url)),
            (b"witness", [name, vkey]) => self.witness(name, vkey, None),
            (b"witness", [name, vkey, url]) => self.witness(name, vkey, Some(url)),
            (b"group", [name, threshold, members @ ..]) if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            (b"quorum", [name]) => self.quorum(name),
            (b"log", _) => Err("a log is `log VKEY [URL]`".to_owned()),
            (b"witness", _) => Err("a witness is `witness NAME VKEY [URL]`".to_owned()),
            (b"group", _) => Err("a group is `group NAME all|any|K NAME...`".to_owned()),
            (b"quorum", _) => Err("the quorum is `quorum NAME`".to_owned()),
            _ => Err(format!(
                "{} is neither log, witness, group nor quorum",
                shown(word)
            )),
        }
    }

    fn log(&mut self, vkey: &[u8], url: Option<&&[u8]>) -> Result<(), String> {
        let key = key(vkey, KeyKind::Ed25519)?;
        if self.logs.len() == POLICY_LOGS_MAX {
            return Err(format!("more than {POLICY_LOGS_MAX} logs"));
        }
        if self.logs.iter().any(|log| log.key.key() == key.key()) {
            return Err("a log with the same key stands there already".to_owned());
        }
        let url = url.map(|url| shown(url));
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(&mut self, name: &[u8], vkey: &[u8], url: Option<&&[u8]>) -> Result<(), String> {
        let key = key(vkey, KeyKind::Cosignature)?;
        if self.witnesses.len() == POLICY_WITNESSES_MAX {
            return Err(format!("more than {POLICY_WITNESSES_MAX} witnesses"));
        }
        if self.witnesses.iter().any(|other| other.key.key() == key.key()) {
            return Err("a witness with the same key stands there already".to_owned());
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness {
            name: shown(name),
            key,
            url: url.map(|url| shown(url)),
        });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), String> {
        let count = members.len();
        let threshold = match threshold {
            b"all" => count,
            b"any" => 1,
            number => str::from_utf8(number)
                .ok()
                .and_then(parse_decimal)
                .filter(|k| (1..=count).contains(k))
                .ok_or_else(|| format!("{} is neither all, any nor from 1 to {count}", shown(number)))?,
        };
        if self.groups.len() == POLICY_GROUPS_MAX {
            return Err(format!("more than {POLICY_GROUPS_MAX} groups"));
        }
        let mut found = Vec::with_capacity(count);
        for member in members {
            let (stands_for, taken) = self
                .names
                .get_mut(*member)
                .ok_or_else(|| format!("{} is not defined on a line before", shown(member)))?;
            if std::mem::replace(taken, true) {
                return Err(format!("{} is a member already", shown(member)));
            }
            found.push(*stands_for);
        }
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group {
            threshold,
            members: found,
        });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is one quorum".to_owned());
        }
        let member = match self.names.get(name) {
            Some((member, _)) => Some(*member),
            None if name == NONE => None,
            None => return Err(format!("{} is not defined on a line before", shown(name))),
        };
        self.quorum = Some(member);
        Ok(())
    }

    fn define(&mut self, name: &[u8], stands_for: Member) -> Result<(), String> {
        if name == NONE || self.names.contains_key(name) {
            return Err(format!("the name {} is taken", shown(name)));
        }
        self.names.insert(name.to_owned(), (stands_for, false));
        Ok(())
    }
}

fn key(vkey: &[u8], kind: KeyKind) -> Result<VerifierKey, String> {
    let text = str::from_utf8(vkey).map_err(|_| "a vkey is UTF-8".to_owned())?;
    let key = VerifierKey::parse(text).map_err(|error| format!("{text}: {error}"))?;
    match (key.kind() == kind, kind) {
        (true, _) => Ok(key),
        (false, KeyKind::Ed25519) => Err(format!("{text} is a witness's key, not a log's")),
        (false, KeyKind::Cosignature) => Err(format!("{text} is a log's key, not a witness's")),
    }
}

/// Octets for people.
fn shown(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
