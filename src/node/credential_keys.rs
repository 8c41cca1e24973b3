//! The keys that a node's credentials are and were signed with. Entry 0 names the
//! first one, an entry of kind 16 each that took the place of the one before, so that
//! the log alone tells an audit which signatures are the node's.
//!
//! That entry is written when the key is about to sign for the first time, not when
//! the node is opened: whoever only looks at a log does not change it, and a store
//! that was set back is found out before anything is appended to it.

use crate::credential::PublicKey;
use crate::ledger::{CredentialKeyAdded, Event};
use crate::primitives::limits;

use super::find::{CREDENTIAL_KEY, Lookup, misplaced};
use super::pending::Pending;
use super::writer::Writer;
use super::{Node, NodeError};

const LOCK: &str = "no holder of this lock panics";

/// The keys that the log names, the first one first, and the entry of the last one.
fn named(log: &impl Lookup) -> Result<(Vec<PublicKey>, u64), NodeError> {
    let newest = log.newest(CREDENTIAL_KEY)?.unwrap_or(0);
    let (mut keys, mut index) = (Vec::new(), newest);
    loop {
        let (key, previous) = match log.entry(index)?.event {
            Event::Genesis(genesis) if index == 0 => (genesis.credential_key, None),
            Event::CredentialKeyAdded(added) if added.previous < index => (added.key, Some(added.previous)),
            _ => return Err(misplaced(index, "a credential key's")),
        };
        keys.push(PublicKey::from_bytes(&key).map_err(|error| {
            NodeError::Inconsistent(format!("the credential key of entry {index}: {error}"))
        })?);
        match previous {
            Some(previous) => index = previous,
            None => break,
        }
    }
    keys.reverse();
    Ok((keys, newest))
}

impl Writer {
    /// Finds out which keys for credentials the log names, and whether the one in use
    /// is among them.
    pub(super) fn find_credential_keys(&mut self) -> Result<(), NodeError> {
        let (mut keys, newest) = named(&self.sight(&Pending::default()))?;
        let in_use = self.shared.keyring.credential.public();
        if !keys.contains(in_use) {
            if keys.len() >= limits::CREDENTIAL_KEYS_MAX {
                return Err(NodeError::Refuse(format!(
                    "this log names {} keys for credentials, and takes no more: put one of them back in the place of \
                     credential.pem",
                    keys.len()
                )));
            }
            keys.push(*in_use);
            self.unnamed = Some(newest);
        }
        *self.shared.credential_keys.write().expect(LOCK) = keys;
        Ok(())
    }

    /// Has the log name the key in use, before it signs for the first time.
    pub(super) fn name_credential_key(&mut self, pending: &mut Pending) -> Result<(), NodeError> {
        let Some(previous) = self.unnamed.take() else {
            return Ok(());
        };
        let key = *self.shared.keyring.credential.public().as_bytes();
        self.record(
            Event::CredentialKeyAdded(CredentialKeyAdded { key, previous }),
            None,
            pending,
        )?;
        Ok(())
    }
}

impl Node {
    /// The keys to check its credentials with: the one in use, the one that is to take
    /// its place, and those before it that are held still. (One that was taken out of
    /// keys/ vouches for nothing any more.)
    #[must_use]
    pub fn credential_keys(&self) -> Vec<PublicKey> {
        let keyring = &self.inner.shared.keyring;
        let named = self.inner.shared.credential_keys.read().expect(LOCK);
        let before = keyring.credentials_before.iter().map(|key| *key.public());
        std::iter::once(*keyring.credential.public())
            .chain(keyring.credential_next.iter().map(|key| *key.public()))
            .chain(before.filter(|key| named.contains(key)))
            .collect()
    }
}
