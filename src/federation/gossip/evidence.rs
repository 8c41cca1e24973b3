//! Evidence as it travels:
//!
//! ```text
//! [1, fork evidence: bstr] / [2, status list token: bstr, another: bstr]
//! ```
//!
//! A fork's two checkpoints carry the log's signature alone, and two lists stand in
//! the order of their hashes, so that one case has few forms; of those that are left
//! the smaller hash counts. Evidence stays good whatever became of key and member.

use serde_cbor::Value;

use super::super::roster::{Directory, Role};
use super::item::{Content, Item, ItemError, ItemKey, Kind, Name, hash, list_of, named};
use crate::credential::{CredentialError, ListEvidence};
use crate::encoding::cbor::{self, GateError};
use crate::log::{Checkpoint, ForkEvidence, KeyKind, Note, VerifierKey};
use crate::primitives::limits;

const FORK: u64 = 1;

/// What was proven.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A log has two histories.
    Fork {
        /// The two checkpoints, as they travel.
        evidence: ForkEvidence,
        /// What they show, in a sentence without its end.
        said: String,
    },
    /// Two status lists of one number have one version.
    TwoLists {
        /// Which list.
        list: u32,
        /// Its version, twice.
        version: u64,
    },
}

fn nothing(why: impl std::fmt::Display) -> ItemError {
    ItemError::ProvesNothing(why.to_string())
}

/// Checks evidence that came from anywhere.
///
/// # Errors
/// Why it convicts no member.
pub(in crate::federation) fn check(bytes: &[u8], directory: &Directory) -> Result<Item, ItemError> {
    let (author, name, evidence) = match unchecked(bytes)? {
        Unchecked::Fork(fork) => fork_of(fork, directory)?,
        Unchecked::TwoLists(lists) => two_lists(&lists, directory)?,
    };
    Ok(Item {
        key: ItemKey {
            kind: Kind::Evidence,
            author,
            name,
        },
        version: 1,
        identity: hash(bytes),
        bytes: bytes.to_vec(),
        content: Content::Evidence(Box::new(evidence)),
    })
}

fn fork_of(evidence: ForkEvidence, directory: &Directory) -> Result<(String, Name, Evidence), ItemError> {
    let key = VerifierKey::parse(&evidence.log_key).map_err(nothing)?;
    let member = directory
        .by_log_origin(key.name())
        .ok_or_else(|| ItemError::NotAMember(key.name().to_owned()))?;
    let listed = member
        .keys
        .iter()
        .filter(|listed| listed.role == Role::Log)
        .filter_map(|listed| named(key.name(), KeyKind::Ed25519, &listed.key))
        .any(|listed| listed == key);
    if !listed {
        return Err(ItemError::KeyNotGood(member.did()));
    }
    let said = evidence.verify(&key).map_err(nothing)?.to_string();
    if stripped(&evidence, &key).as_ref() != Some(&evidence) {
        return Err(nothing("its checkpoints carry more than the log's signature"));
    }
    let found = Evidence::Fork { evidence, said };
    Ok((member.did(), Name::Fork(key.key().to_bytes()), found))
}

/// The same with the log's signatures alone.
fn stripped(evidence: &ForkEvidence, key: &VerifierKey) -> Option<ForkEvidence> {
    let alone = |note: &[u8]| {
        let note = Note::parse(note).ok()?;
        let mut alone = Note::new(note.text()).ok()?;
        alone.push(note.signatures().iter().find(|line| key.made(line))?.clone());
        Checkpoint::open(alone.to_string().as_bytes(), key).ok()?;
        Some(alone.to_string().into_bytes())
    };
    Some(ForkEvidence {
        log_key: evidence.log_key.clone(),
        first: alone(&evidence.first)?,
        second: alone(&evidence.second)?,
        other_history: evidence.other_history.clone(),
    })
}

/// The item about a fork that was found, wherever; `None` where it proves nothing.
#[must_use]
pub fn of_fork(evidence: &ForkEvidence) -> Option<Vec<u8>> {
    let key = VerifierKey::parse(&evidence.log_key).ok()?;
    evidence.verify(&key).ok()?;
    let fork = stripped(evidence, &key)?.encode();
    Some(cbor::encode(&Value::Array(vec![
        cbor::int(FORK),
        cbor::bytes(fork),
    ])))
}

fn two_lists(evidence: &ListEvidence, directory: &Directory) -> Result<(String, Name, Evidence), ItemError> {
    let [first, _] = evidence.tokens();
    let (member, list) = list_of(first, directory)?;
    for token in evidence.tokens() {
        let kid = token.sign1().kid();
        let mut keys = member
            .keys
            .iter()
            .filter(|key| key.role == Role::Credentials && key.key.kid() == kid);
        if !keys.any(|key| token.verify(&key.key).is_ok()) {
            return Err(ItemError::SignatureWrong(member.did()));
        }
    }
    let found = Evidence::TwoLists {
        list,
        version: evidence.list().issued_at.0,
    };
    Ok((member.did(), Name::TwoLists(list), found))
}

/// What evidence is, whoever it is about: nothing of it was verified.
#[derive(Clone, Debug)]
pub enum Unchecked {
    /// That a log has two histories.
    Fork(ForkEvidence),
    /// That there are two status lists of one number and version.
    TwoLists(Box<ListEvidence>),
}

/// Reads evidence, as it travels.
///
/// # Errors
/// [`ItemError::Malformed`], [`ItemError::ProvesNothing`].
pub fn unchecked(bytes: &[u8]) -> Result<Unchecked, ItemError> {
    const WHAT: &str = "evidence is [1, fork] or [2, list, list]";
    let value = cbor::decode(bytes, limits::GOSSIPED_EVIDENCE_BYTES_MAX)?;
    match cbor::as_array(&value, WHAT)? {
        [Value::Integer(1), fork] => {
            let fork = ForkEvidence::decode(cbor::as_bytes(fork, WHAT)?).map_err(nothing)?;
            Ok(Unchecked::Fork(fork))
        }
        [Value::Integer(2), _, _] => match ListEvidence::from_value(&value) {
            Ok(lists) => Ok(Unchecked::TwoLists(Box::new(lists))),
            Err(CredentialError::Gate(error @ GateError::Shape(_))) => Err(error.into()),
            Err(error) => Err(nothing(error)),
        },
        _ => Err(GateError::Shape(WHAT).into()),
    }
}

/// Two checkpoints of one size that a log's key has signed: what convicts it.
pub(super) fn of_two_checkpoints(one: &Note, other: &Note, keys: &[VerifierKey]) -> Option<Vec<u8>> {
    let (one, other) = (one.to_string(), other.to_string());
    keys.iter()
        .find_map(|key| ForkEvidence::new(key, one.as_bytes(), other.as_bytes(), None).ok())
        .and_then(|evidence| of_fork(&evidence))
}
