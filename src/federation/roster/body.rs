//! What one version of a roster says, and its bytes (`schemas/roster.cddl`).
//!
//! There is one encoding of each content: deterministic CBOR, and lists in an order
//! that their content gives. A field that follows from another (`did`, the log's
//! origin) stands there for readers, and is checked against it.

use serde_cbor::Value;
use sha2::{Digest as _, Sha256};

use super::{RosterError, rules};
use crate::credential::PublicKey;
use crate::encoding::cbor::{self, GateError};
use crate::primitives::{Digest, FederationId, Origin, UnixSeconds, limits};

/// One version of a federation's roster. What [`Roster::decode`] gives keeps every
/// rule that a version has to keep by itself ([`rules::check`]); who has signed it
/// is another question ([`super::SignedRoster`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The federation.
    pub federation: FederationId,
    /// Its name for people.
    pub name: String,
    /// Counted from 1.
    pub version: u64,
    /// SHA-256 of the previous version's body; zeros in version 1.
    pub previous: Digest,
    /// When it was drawn up.
    pub issued: UnixSeconds,
    /// From then on nodes read under it, but redeem nothing for partners.
    pub expires: UnixSeconds,
    /// How many signers have to sign: more than half, at most all.
    pub threshold: u64,
    /// Who signs the next version; sorted by key.
    pub signers: Vec<Signer>,
    /// Who signed earlier ones and does not any more; sorted by key.
    pub former_signers: Vec<Signer>,
    /// All that ever were members; sorted by did.
    pub members: Vec<Member>,
}

/// A key that signs rosters, kept offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Who holds it, for people.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// A co-op in the federation, or one that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name for people.
    pub name: String,
    /// Its node's base URL: fixes its did and its log's origin.
    pub base_url: Origin,
    /// The name of its witness in cosignatures (C2SP signed-note).
    pub witness_name: String,
    /// All keys that it ever had; sorted by role and key.
    pub keys: Vec<MemberKey>,
    /// Whether it is one now.
    pub status: MemberStatus,
    /// Since when.
    pub joined: UnixSeconds,
    /// The dids of the members that mirror its log; sorted.
    pub mirrors: Vec<String>,
}

/// Whether a listed co-op is a member now. Once removed it stays so: its log is
/// frozen, and what it signs afterwards counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStatus {
    /// It is.
    Active,
    /// It was.
    Removed {
        /// Until when.
        left: UnixSeconds,
        /// The size of its log below which batches of coupons still count.
        frozen: u64,
    },
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Signs credentials and status lists.
    Credentials,
    /// Signs the log's checkpoints.
    Log,
    /// Cosigns other logs' checkpoints.
    Witness,
    /// Signs messages to other nodes.
    Messages,
}

/// A key of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberKey {
    /// What it is for.
    pub role: Role,
    /// The key.
    pub key: PublicKey,
    /// That the member has it ([`super::possession`]).
    pub proof: [u8; 64],
    /// What it still counts for.
    pub state: KeyState,
}

/// What a key counts for; it only ever moves downwards in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It signs.
    Active,
    /// It signs nothing new; what it signed is good until then.
    VerifyOnly {
        /// The end, not included.
        until: UnixSeconds,
    },
    /// Others may have it.
    Compromised {
        /// Since when.
        since: UnixSeconds,
        /// The size of the member's log below which batches of coupons still
        /// count; of keys for credentials and the log only.
        frozen: Option<u64>,
    },
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Credentials, Self::Log, Self::Witness, Self::Messages];

    /// Its number in rosters and proofs of possession.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Credentials => 1,
            Self::Log => 2,
            Self::Witness => 3,
            Self::Messages => 4,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }

    /// A word for people and commands.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Log => "log",
            Self::Witness => "witness",
            Self::Messages => "messages",
        }
    }

    /// What it signs, in a sentence.
    #[must_use]
    pub fn signs(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Log => "the log",
            Self::Witness => "witnessing",
            Self::Messages => "messages",
        }
    }

    /// Whether what the key signed stands in the member's log, so that a size of
    /// the log can say what still counts.
    #[must_use]
    pub fn is_frozen_by_size(self) -> bool {
        matches!(self, Self::Credentials | Self::Log)
    }
}

impl Member {
    /// Its did.
    #[must_use]
    pub fn did(&self) -> String {
        self.base_url.did_web()
    }

    /// The origin of its log, and the name of the log's key.
    #[must_use]
    pub fn log_origin(&self) -> &str {
        self.base_url.authority()
    }

    /// Whether it is a member now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == MemberStatus::Active
    }
}

impl Roster {
    /// Reads a body through the gate and holds it against the rules of one
    /// version.
    ///
    /// # Errors
    /// [`RosterError::Gate`] and [`RosterError::Rule`].
    pub fn decode(body: &[u8]) -> Result<Self, RosterError> {
        let value = cbor::decode(body, limits::ROSTER_BYTES_MAX)?;
        let roster = read_roster(&value)?;
        rules::check(&roster)?;
        Ok(roster)
    }

    /// The body's bytes. What breaks a rule is written too, but not read back.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let signers = |signers: &[Signer]| Value::Array(signers.iter().map(Signer::to_value).collect());
        cbor::encode(&numbered([
            cbor::bytes(self.federation),
            cbor::text(self.name.clone()),
            cbor::int(self.version),
            cbor::bytes(self.previous),
            cbor::int(self.issued.0),
            cbor::int(self.expires.0),
            cbor::int(self.threshold),
            signers(&self.signers),
            signers(&self.former_signers),
            Value::Array(self.members.iter().map(Member::to_value).collect()),
        ]))
    }

    /// The version's identity: SHA-256 of its body.
    #[must_use]
    pub fn hash(&self) -> Digest {
        hash_of(&self.encode())
    }

    /// The member with this did, removed or not.
    #[must_use]
    pub fn member(&self, did: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.did() == did)
    }

    /// Puts every list in its order.
    pub fn sort(&mut self) {
        self.signers.sort_by_key(|signer| *signer.key.as_bytes());
        self.former_signers.sort_by_key(|signer| *signer.key.as_bytes());
        self.members.sort_by_cached_key(Member::did);
        for member in &mut self.members {
            member.sort();
        }
    }
}

/// The identity of the version whose body this is.
#[must_use]
pub fn hash_of(body: &[u8]) -> Digest {
    Digest(Sha256::digest(body).into())
}

impl Signer {
    fn to_value(&self) -> Value {
        Value::Array(vec![
            cbor::text(self.name.clone()),
            cbor::bytes(self.key.as_bytes()),
        ])
    }

    fn read(value: &Value) -> Result<Self, GateError> {
        let [name, key] = cbor::as_tuple(value, "a signer is a name and a key")?;
        Ok(Self {
            name: cbor::as_text(name, "a signer's name is text")?.to_owned(),
            key: read_key(key)?,
        })
    }
}

impl Member {
    pub(super) fn sort(&mut self) {
        self.keys.sort_by_key(|key| (key.role, *key.key.as_bytes()));
        self.mirrors.sort_unstable();
    }

    pub(super) fn to_value(&self) -> Value {
        let status = match self.status {
            MemberStatus::Active => vec![cbor::int(1)],
            MemberStatus::Removed { left, frozen } => {
                vec![cbor::int(2), cbor::int(left.0), cbor::int(frozen)]
            }
        };
        numbered([
            cbor::text(self.name.clone()),
            cbor::text(self.did()),
            cbor::text(self.base_url.to_string()),
            cbor::text(self.log_origin()),
            cbor::text(self.witness_name.clone()),
            Value::Array(self.keys.iter().map(MemberKey::to_value).collect()),
            Value::Array(status),
            cbor::int(self.joined.0),
            Value::Array(self.mirrors.iter().map(cbor::text).collect()),
        ])
    }

    pub(super) fn read(value: &Value) -> Result<Self, GateError> {
        let [
            name,
            did,
            base_url,
            origin,
            witness,
            keys,
            status,
            joined,
            mirrors,
        ] = read_numbered(value, "a member is a map of exactly the keys 1 to 9")?;
        let written = cbor::as_text(base_url, "a base URL is text")?;
        let base_url = Origin::parse(written)
            .ok()
            .filter(|origin| origin.to_string() == written)
            .ok_or(GateError::Shape(
                "a base URL is https://HOST or https://HOST:PORT in its shortest spelling (http for loopback hosts)",
            ))?;
        if cbor::as_text(did, "a did is text")? != base_url.did_web() {
            return Err(GateError::Shape("a member's did is the did:web of its base URL"));
        }
        if cbor::as_text(origin, "a log's origin is text")? != base_url.authority() {
            return Err(GateError::Shape(
                "the origin of a member's log is the host and port of its base URL",
            ));
        }
        Ok(Self {
            name: cbor::as_text(name, "a member's name is text")?.to_owned(),
            base_url,
            witness_name: cbor::as_text(witness, "a witness's name is text")?.to_owned(),
            keys: list(
                keys,
                limits::ROSTER_MEMBER_KEYS_MAX,
                "a member has 1 to 64 keys",
                MemberKey::read,
            )?,
            status: read_status(status)?,
            joined: read_time(joined)?,
            mirrors: list(
                mirrors,
                limits::ROSTER_MIRRORS_MAX,
                "at most two members mirror a member",
                |did| cbor::as_text(did, "a mirror is named by its did").map(str::to_owned),
            )?,
        })
    }
}

impl MemberKey {
    fn to_value(&self) -> Value {
        let state = match self.state {
            KeyState::Active => vec![cbor::int(1)],
            KeyState::VerifyOnly { until } => vec![cbor::int(2), cbor::int(until.0)],
            KeyState::Compromised { since, frozen } => {
                vec![
                    cbor::int(3),
                    cbor::int(since.0),
                    cbor::optional(frozen, cbor::int),
                ]
            }
        };
        Value::Array(vec![
            cbor::int(self.role.number()),
            cbor::bytes(self.key.as_bytes()),
            cbor::bytes(self.proof),
            Value::Array(state),
        ])
    }

    fn read(value: &Value) -> Result<Self, GateError> {
        let [role, key, proof, state] =
            cbor::as_tuple(value, "a member's key is a role, the key, a proof and a state")?;
        Ok(Self {
            role: Role::from_number(cbor::as_int(role, ROLE)?).ok_or(GateError::Shape(ROLE))?,
            key: read_key(key)?,
            proof: cbor::as_byte_array(proof, "a proof of possession is 64 bytes")?,
            state: read_state(state)?,
        })
    }
}

const ROLE: &str = "a key's role is 1 (credentials), 2 (log), 3 (witness) or 4 (messages)";

fn read_roster(value: &Value) -> Result<Roster, GateError> {
    let [
        federation,
        name,
        version,
        previous,
        issued,
        expires,
        threshold,
        signers,
        former,
        members,
    ] = read_numbered(value, "a roster is a map of exactly the keys 1 to 10")?;
    Ok(Roster {
        federation: FederationId(cbor::as_byte_array(federation, "a federation's id is 16 bytes")?),
        name: cbor::as_text(name, "a federation's name is text")?.to_owned(),
        version: cbor::as_int(version, "a version is a whole number")?,
        previous: Digest(cbor::as_byte_array(
            previous,
            "the previous version's hash is 32 bytes",
        )?),
        issued: read_time(issued)?,
        expires: read_time(expires)?,
        threshold: cbor::as_int(threshold, "a threshold is a whole number")?,
        signers: list(
            signers,
            limits::ROSTER_SIGNERS_MAX,
            "a roster has 1 to 100 signers",
            Signer::read,
        )?,
        former_signers: list(
            former,
            limits::ROSTER_FORMER_SIGNERS_MAX,
            "a roster has at most 1,000 former signers",
            Signer::read,
        )?,
        members: list(
            members,
            limits::ROSTER_MEMBERS_MAX,
            "a roster has at most 1,000 members",
            Member::read,
        )?,
    })
}

fn read_status(value: &Value) -> Result<MemberStatus, GateError> {
    const STATUS: GateError =
        GateError::Shape("a member's status is [1], or [2, when it left, the size of its log]");
    match cbor::as_array(value, "a member's status is an array")? {
        [Value::Integer(1)] => Ok(MemberStatus::Active),
        [Value::Integer(2), left, frozen] => Ok(MemberStatus::Removed {
            left: read_time(left)?,
            frozen: cbor::as_int(frozen, "the size of a log is a whole number")?,
        }),
        _ => Err(STATUS),
    }
}

fn read_state(value: &Value) -> Result<KeyState, GateError> {
    const STATE: GateError = GateError::Shape(
        "a key's state is [1] (active), [2, until when] (verify-only) or [3, since when, the size of the log or null] \
         (compromised)",
    );
    match cbor::as_array(value, "a key's state is an array")? {
        [Value::Integer(1)] => Ok(KeyState::Active),
        [Value::Integer(2), until] => Ok(KeyState::VerifyOnly {
            until: read_time(until)?,
        }),
        [Value::Integer(3), since, frozen] => Ok(KeyState::Compromised {
            since: read_time(since)?,
            frozen: cbor::as_optional(frozen, |size| {
                cbor::as_int(size, "the size of a log is a whole number")
            })?,
        }),
        _ => Err(STATE),
    }
}

fn read_key(value: &Value) -> Result<PublicKey, GateError> {
    let bytes = cbor::as_byte_array(value, "a key is 32 bytes")?;
    PublicKey::from_bytes(&bytes).map_err(|_| {
        GateError::Shape("a key is an Ed25519 public key in its one encoding, and not of small order")
    })
}

fn read_time(value: &Value) -> Result<UnixSeconds, GateError> {
    const TIME: &str = "a time is whole seconds since 1970, up to the year 9999";
    let seconds = cbor::as_int(value, TIME)?;
    if seconds > limits::UNIX_SECONDS_MAX {
        return Err(GateError::Shape(TIME));
    }
    Ok(UnixSeconds(seconds))
}

fn list<T>(
    value: &Value,
    most: usize,
    what: &'static str,
    read: impl Fn(&Value) -> Result<T, GateError>,
) -> Result<Vec<T>, GateError> {
    let items = cbor::as_array(value, what)?;
    if items.len() > most {
        return Err(GateError::Shape(what));
    }
    items.iter().map(read).collect()
}

/// A map with the keys 1 to `N`.
pub(super) fn numbered<const N: usize>(values: [Value; N]) -> Value {
    cbor::map((1_u64..).map(cbor::int).zip(values))
}

/// The values of a map with exactly the keys 1 to `N`.
pub(super) fn read_numbered<'a, const N: usize>(
    value: &'a Value,
    what: &'static str,
) -> Result<[&'a Value; N], GateError> {
    let map = cbor::as_map(value, what)?;
    let keys = (1_u64..).map(cbor::int);
    if map.len() != N || !map.keys().zip(keys).all(|(key, due)| *key == due) {
        return Err(GateError::Shape(what));
    }
    let values: Vec<_> = map.values().collect();
    values.try_into().map_err(|_| GateError::Shape(what))
}
