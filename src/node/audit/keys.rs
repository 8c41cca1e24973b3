//! A log's keys, as its entries name them. Those that sign credentials: entry 0 names the first one, an entry of
//! kind 16 each that came after it, before its first use. A signature by any other key
//! is a finding.
//!
//! Where entries were not read, one of them may have named a key: what such a key has
//! signed is left unchecked, and counted.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::credential::{KnownKey, PublicKey};
use crate::ledger::{CredentialKeyAdded, Event, Genesis};
use crate::log::{Entry, KeyKind, VerifierKey};
use crate::primitives::{KeyId, Origin, limits};

use super::saved::{In, Keep, Out, keep};

/// Kids of keys that were not named, as many as are told.
const KIDS_TOLD_MAX: usize = 8;

/// What the genesis entry says of the log.
pub(super) struct LogKeys {
    pub origin: Origin,
    pub credential: PublicKey,
    pub log: VerifierKey,
    pub witness: VerifierKey,
}

impl LogKeys {
    /// The keys in entry 0, or why there are none.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let entry = Entry::decode(bytes).map_err(|error| format!("entry 0 cannot be read: {error}"))?;
        match Event::from_body(entry.kind, &entry.body) {
            Ok((Event::Genesis(genesis), _)) => Self::of_genesis(&genesis),
            Ok(_) => Err("the log does not begin with a genesis entry".to_owned()),
            Err(error) => Err(format!("entry 0: {error}")),
        }
    }

    fn of_genesis(genesis: &Genesis) -> Result<Self, String> {
        let key = |what: &str, bytes: &[u8; 32]| {
            PublicKey::from_bytes(bytes).map_err(|error| format!("the {what} key in entry 0: {error}"))
        };
        let origin =
            Origin::parse(&genesis.base_url).map_err(|error| format!("the base URL in entry 0: {error}"))?;
        let credential = key("credential", &genesis.credential_key)?;
        key("log", &genesis.log_key)?;
        key("witness", &genesis.witness_key)?;
        let [a, b, c] = [genesis.credential_key, genesis.log_key, genesis.witness_key];
        if a == b || b == c || a == c {
            return Err("the keys in entry 0 are not three different ones".to_owned());
        }
        let named = |what: &str, kind, bytes: &[u8; 32]| {
            ed25519_dalek::VerifyingKey::from_bytes(bytes)
                .map_err(|error| error.to_string())
                .and_then(|key| {
                    VerifierKey::new(origin.authority(), kind, key).map_err(|error| error.to_string())
                })
                .map_err(|error| format!("the {what} key in entry 0: {error}"))
        };
        let log = named("log", KeyKind::Ed25519, &genesis.log_key)?;
        let witness = named("witness", KeyKind::Cosignature, &genesis.witness_key)?;
        Ok(Self {
            origin,
            credential,
            log,
            witness,
        })
    }
}

/// The keys for credentials up to some entry. Cheap to clone.
#[derive(Clone)]
pub(super) struct CredentialKeys {
    keys: Vec<Arc<KnownKey>>,
    /// Every entry so far was read.
    is_whole: bool,
}

/// What a credential's signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// It is by a key of the log.
    Good,
    /// It names a key of the log, and is not its.
    Wrong,
    /// It names a key that is none of the log's.
    Foreign,
    /// It names a key that an entry may have named which was not read.
    Unknown,
}

impl CredentialKeys {
    /// The key in entry 0.
    pub fn new(first: PublicKey) -> Self {
        Self {
            keys: vec![Arc::new(KnownKey::new(first))],
            is_whole: true,
        }
    }

    /// Adds a key that an entry names.
    ///
    /// # Errors
    /// Why it is none that the node would have added.
    pub fn add(&mut self, key: &[u8; 32]) -> Result<(), String> {
        let key = PublicKey::from_bytes(key).map_err(|error| error.to_string())?;
        if self.keys.iter().any(|known| *known.key() == key) {
            return match self.is_whole {
                true => Err("an entry before it names it already".to_owned()),
                // What is trusted may have told it first.
                false => Ok(()),
            };
        }
        if self.keys.len() >= limits::CREDENTIAL_KEYS_MAX {
            return Err(format!(
                "it is one more than the {} keys that a log names at most",
                limits::CREDENTIAL_KEYS_MAX
            ));
        }
        self.keys.push(Arc::new(KnownKey::new(key)));
        Ok(())
    }

    /// From here on some entry was not read; whether that is news.
    pub fn gap(&mut self) -> bool {
        std::mem::replace(&mut self.is_whole, false)
    }

    /// What a signature under `kid` is worth that `is_by` tells of one key.
    pub fn judge(&self, kid: KeyId, is_by: impl Fn(&KnownKey) -> bool) -> Signature {
        let mut named = self.keys.iter().filter(|key| key.kid() == kid).peekable();
        match (named.peek().is_some(), self.is_whole) {
            (true, _) if named.any(|key| is_by(key)) => Signature::Good,
            (true, _) => Signature::Wrong,
            (false, true) => Signature::Foreign,
            (false, false) => Signature::Unknown,
        }
    }

    /// The same of many: kid, message and signature of each.
    pub fn judge_each(&self, signed: &[(KeyId, &[u8], &[u8; 64])]) -> Vec<Signature> {
        let mut judged: Vec<Signature> = signed
            .iter()
            .map(|(kid, ..)| self.judge(*kid, |_| false))
            .collect();
        for key in &self.keys {
            let places: Vec<usize> = (0..signed.len())
                .filter(|place| signed[*place].0 == key.kid())
                .collect();
            let its: Vec<(&[u8], &[u8; 64])> = places
                .iter()
                .map(|place| (signed[*place].1, signed[*place].2))
                .collect();
            for (place, good) in places.iter().zip(key.verify_each(&its)) {
                if good {
                    judged[*place] = Signature::Good;
                }
            }
        }
        judged
    }
}

/// Their kids, in the order in which they came.
impl fmt::Display for CredentialKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, key) in self.keys.iter().enumerate() {
            let before = if number == 0 { "" } else { ", " };
            write!(f, "{before}{}", key.kid())?;
        }
        Ok(())
    }
}

impl Keep for CredentialKeys {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        let keys: Vec<[u8; 32]> = self.keys.iter().map(|key| *key.key().as_bytes()).collect();
        keys.write(out)?;
        self.is_whole.write(out)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let mut read = Self {
            keys: Vec::new(),
            is_whole: true,
        };
        for key in Vec::<[u8; 32]>::read(from)? {
            read.add(&key)?;
        }
        read.is_whole = Keep::read(from)?;
        Ok(read)
    }
}

/// Signatures that could not be checked, since nothing that was read names their key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unchecked {
    count: u64,
    kids: BTreeSet<[u8; 8]>,
}

keep!(Unchecked { count, kids });

impl Unchecked {
    /// Counts one.
    pub fn add(&mut self, kid: KeyId) {
        self.append(Self {
            count: 1,
            kids: BTreeSet::from([kid.0]),
        });
    }

    /// Counts those of another.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        for kid in other.kids {
            if self.kids.len() < KIDS_TOLD_MAX {
                self.kids.insert(kid);
            }
        }
    }

    /// What is to be said of them; `None` where there are none.
    pub fn note(&self) -> Option<String> {
        let kids: Vec<String> = self.kids.iter().map(|kid| KeyId(*kid).to_string()).collect();
        (self.count > 0).then(|| {
            format!(
                "{} signatures could not be checked: they are under {}, which entry 0 does not name, nor an entry that \
                 was read. Name the node's keys (--trust did.json), or audit the log from its beginning",
                self.count,
                kids.join(", ")
            )
        })
    }
}

/// What is known of a log's credentials.
pub(super) struct Credentials {
    /// `None` where entry 0 names none.
    pub keys: Option<CredentialKeys>,
    pub unchecked: Unchecked,
    /// The entry that names the newest key.
    newest: u64,
}

keep!(Credentials {
    keys,
    unchecked,
    newest
});

impl Credentials {
    /// With the key in entry 0.
    pub fn new(first: Option<PublicKey>) -> Self {
        Self {
            keys: first.map(CredentialKeys::new),
            unchecked: Unchecked::default(),
            newest: 0,
        }
    }

    /// Adds the key that entry `index` names, and says what is wrong with it: it is to
    /// be none of `others`.
    pub fn add<'a>(
        &mut self,
        index: u64,
        added: &CredentialKeyAdded,
        mut others: impl Iterator<Item = &'a [u8; 32]>,
    ) -> Vec<String> {
        let before = std::mem::replace(&mut self.newest, index);
        let Some(keys) = &mut self.keys else {
            return Vec::new();
        };
        let mut wrong = Vec::new();
        if keys.is_whole && added.previous != before {
            wrong.push(format!(
                "it is said to follow that of entry {}, but follows that of entry {before}",
                added.previous
            ));
        }
        if others.any(|other| *other == added.key) {
            wrong.push("it signs for the log, too".to_owned());
        } else if let Err(why) = keys.add(&added.key) {
            wrong.push(why);
        }
        wrong
    }

    /// Adds keys that entries which are not read are said to name.
    pub fn trust<'a>(&mut self, told: impl Iterator<Item = &'a PublicKey>) {
        let Some(keys) = &mut self.keys else { return };
        for key in told {
            // One that is there already, or one too many.
            let _ = keys.add(key.as_bytes());
        }
    }

    /// What an entry's own credentials are held against.
    pub fn signed_by(&mut self) -> SignedBy<'_> {
        SignedBy {
            keys: self.keys.as_ref(),
            unchecked: &mut self.unchecked,
        }
    }
}

/// What an entry's credentials are held against.
pub(super) struct SignedBy<'a> {
    keys: Option<&'a CredentialKeys>,
    unchecked: &'a mut Unchecked,
}

impl SignedBy<'_> {
    /// Whether a signature under `kid` that `is_by` tells of one key is a finding.
    pub fn refuses(self, kid: KeyId, is_by: impl Fn(&KnownKey) -> bool) -> bool {
        match self.keys.map(|keys| keys.judge(kid, is_by)) {
            None | Some(Signature::Good) => false,
            Some(Signature::Wrong | Signature::Foreign) => true,
            Some(Signature::Unknown) => {
                self.unchecked.add(kid);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::SecretKey;

    fn secret(number: u8) -> SecretKey {
        SecretKey::from_seed(&[number; 32])
    }

    #[test]
    fn a_signature_counts_under_each_key_that_was_named() {
        let (first, second, third) = (secret(1), secret(2), secret(3));
        let mut keys = CredentialKeys::new(*first.public());
        let signed = |by: &SecretKey, named: &SecretKey| (named.kid(), by.sign(b"message"));
        let of = |keys: &CredentialKeys, all: &[(KeyId, [u8; 64])]| {
            let all: Vec<_> = all.iter().map(|(kid, by)| (*kid, &b"message"[..], by)).collect();
            let judged = keys.judge_each(&all);
            // One by one it is the same.
            for ((kid, message, by), judged) in all.iter().zip(&judged) {
                assert_eq!(keys.judge(*kid, |key| key.verify_strict(message, by)), *judged);
            }
            judged
        };
        let all = [
            signed(&first, &first),
            signed(&second, &second),
            signed(&second, &first),
            signed(&third, &third),
        ];
        use Signature::{Foreign, Good, Unknown, Wrong};
        assert_eq!(of(&keys, &all), [Good, Foreign, Wrong, Foreign]);
        keys.add(second.public().as_bytes()).unwrap();
        assert_eq!(of(&keys, &all), [Good, Good, Wrong, Foreign]);
        assert!(keys.gap() && !keys.gap());
        assert_eq!(of(&keys, &all), [Good, Good, Wrong, Unknown]);
        assert_eq!(keys.to_string(), format!("{}, {}", first.kid(), second.kid()));
    }

    #[test]
    fn a_key_is_named_once_and_there_are_not_too_many() {
        let mut keys = CredentialKeys::new(*secret(0).public());
        assert!(keys.add(secret(0).public().as_bytes()).is_err());
        assert!(keys.add(&[0; 32]).is_err(), "a point of small order");
        for number in 1..limits::CREDENTIAL_KEYS_MAX {
            let number = u8::try_from(number).unwrap();
            keys.add(secret(number).public().as_bytes()).unwrap();
        }
        assert!(keys.add(secret(255).public().as_bytes()).is_err());
    }

    #[test]
    fn what_was_not_checked_is_told_in_bounds() {
        let mut unchecked = Unchecked::default();
        assert_eq!(unchecked.note(), None);
        for number in 0..100 {
            unchecked.add(KeyId([number; 8]));
        }
        let note = unchecked.note().unwrap();
        assert!(note.starts_with("100 signatures") && note.len() < 500, "{note}");
    }
}
