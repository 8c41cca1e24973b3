//! What travels: items that their authors have signed, so that anybody may bring
//! them. Each is checked here as if it came from its author.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::super::roster::{Directory, Member, MemberKey, Role, Standing};
use super::evidence::{self, Evidence};
use super::held::Held;
use crate::credential::status_list::StatusListToken;
use crate::credential::{Campaign, PublicKey, Signed};
use crate::encoding::cbor::GateError;
use crate::log::{Checkpoint, KeyKind, LogError, Note, NoteSignature, VerifierKey};
use crate::primitives::{CampaignId, Digest, KeyId, Origin, UnixSeconds, limits};

/// What an item is. The roster travels otherwise: who is behind it fetches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A status list; its version is its `iat`.
    StatusList,
    /// A campaign's terms, which never change.
    Campaign,
    /// A log's checkpoint with the cosignatures of members; its version is its size.
    Checkpoint,
    /// A proof of somebody's misbehaviour.
    Evidence,
}

impl Kind {
    /// All kinds that travel.
    pub const ALL: [Self; 4] = [Self::StatusList, Self::Campaign, Self::Checkpoint, Self::Evidence];

    /// Its number in messages and rows.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::StatusList => 2,
            Self::Campaign => 3,
            Self::Checkpoint => 4,
            Self::Evidence => 5,
        }
    }

    /// The kind with this number.
    ///
    /// # Errors
    /// [`ItemError::KindReserved`] for lease grants, [`ItemError::KindUnknown`].
    pub fn from_number(number: u64) -> Result<Self, ItemError> {
        match Self::ALL.iter().find(|kind| u64::from(kind.number()) == number) {
            Some(kind) => Ok(*kind),
            None if number == LEASE_GRANT => Err(ItemError::KindReserved),
            None => Err(ItemError::KindUnknown(number)),
        }
    }

    /// A word for metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::StatusList => "status_list",
            Self::Campaign => "campaign",
            Self::Checkpoint => "checkpoint",
            Self::Evidence => "evidence",
        }
    }

    /// Most bytes of an item.
    #[must_use]
    pub fn most(self) -> usize {
        match self {
            Self::StatusList => limits::STATUS_TOKEN_BYTES_MAX,
            Self::Campaign => limits::CREDENTIAL_BYTES_MAX,
            Self::Checkpoint => limits::GOSSIPED_CHECKPOINT_BYTES_MAX,
            Self::Evidence => limits::GOSSIPED_EVIDENCE_BYTES_MAX,
        }
    }
}

/// The number that lease grants will have. Nodes that know nothing of them refuse
/// them: who relays what it cannot check vouches for nothing.
const LEASE_GRANT: u64 = 6;

/// What an item is called among those of its author and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// There is one: a checkpoint.
    Only,
    /// The number of a status list.
    List(u32),
    /// A campaign's identity.
    Campaign(CampaignId),
    /// Evidence that the author's log has two histories, under this key.
    Fork([u8; 32]),
    /// Evidence of two status lists of this number with one version.
    TwoLists(u32),
}

/// Author, kind and name: of what has the same, the newest counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// What it is.
    pub kind: Kind,
    /// The did of the member that has signed it; of evidence, whom it convicts.
    pub author: String,
    /// Which of its kind.
    pub name: Name,
}

/// What a key is called in digests, wants and rows.
pub type ItemId = [u8; 16];

impl ItemKey {
    /// What it is called in digests, wants and rows: a hash.
    #[must_use]
    pub fn id(&self) -> ItemId {
        let mut hasher = Sha256::new();
        hasher.update([self.kind.number()]);
        match self.name {
            Name::Only => hasher.update([0]),
            Name::List(list) => hasher.update([&[1][..], &list.to_be_bytes()].concat()),
            Name::Campaign(id) => hasher.update([&[2][..], id.as_ref()].concat()),
            Name::Fork(key) => hasher.update([&[3][..], &key].concat()),
            Name::TwoLists(list) => hasher.update([&[4][..], &list.to_be_bytes()].concat()),
        }
        hasher.update(self.author.as_bytes());
        first_half(hasher.finalize().into())
    }
}

/// Sixteen bytes of a hash.
pub(super) fn first_half(hash: [u8; 32]) -> [u8; 16] {
    let (half, _) = hash.split_at(16);
    half.try_into().expect("half of 32 bytes")
}

/// An item whose signatures were checked.
#[derive(Clone, Debug)]
pub struct Item {
    /// Author, kind and name.
    pub key: ItemKey,
    /// Which of several: the newest counts.
    pub version: u64,
    /// As it travels.
    pub bytes: Vec<u8>,
    /// SHA-256 of what its author has signed, signature included: of two with one
    /// version the smaller counts.
    pub identity: Digest,
    /// What it says.
    pub content: Content,
}

/// What an item says.
#[derive(Clone, Debug)]
pub enum Content {
    /// A status list.
    StatusList(StatusListToken),
    /// A campaign.
    Campaign(Box<Signed<Campaign>>),
    /// A checkpoint, and the note with the cosignatures of members alone.
    Checkpoint(Checkpoint, Note),
    /// Evidence.
    Evidence(Box<Evidence>),
}

/// Why an item is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// No such kind is known.
    #[error("an item of the unknown kind {0}")]
    KindUnknown(u64),
    /// A kind that is reserved.
    #[error("lease grants are not relayed yet")]
    KindReserved,
    /// Longer than its kind may be.
    #[error("an item of {len} bytes, and at most {max} are taken of its kind")]
    TooLong {
        /// Bytes that came.
        len: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// It does not have the form of its kind.
    #[error("an item that is none: {0}")]
    Malformed(String),
    /// Its author is no member.
    #[error("an item of {0}, who is no member")]
    NotAMember(String),
    /// Its author was removed.
    #[error("an item of {0}, who was removed from the federation")]
    RemovedMember(String),
    /// By a key that is none of its author's for such items, or counts no more.
    #[error("an item of {0} that none of its keys in force has signed")]
    KeyNotGood(String),
    /// The signature is wrong.
    #[error("an item of {0} whose signature is wrong")]
    SignatureWrong(String),
    /// Its version is a time that is too far ahead.
    #[error("a status list that was signed {0} s from now")]
    FromTheFuture(u64),
    /// Evidence that convicts nobody.
    #[error("evidence that proves nothing: {0}")]
    ProvesNothing(String),
    /// Its author has more items than are kept of one.
    #[error("an item more of {0} than is kept of one member")]
    ShareFull(String),
}

impl ItemError {
    /// The reason as a word for machines.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::KindUnknown(_) => "kind_unknown",
            Self::KindReserved => "kind_reserved",
            Self::TooLong { .. } => "item_too_long",
            Self::Malformed(_) => "item_malformed",
            Self::NotAMember(_) => "author_not_a_member",
            Self::RemovedMember(_) => "author_removed",
            Self::KeyNotGood(_) => "author_key_not_good",
            Self::SignatureWrong(_) => "item_signature_wrong",
            Self::FromTheFuture(_) => "item_from_the_future",
            Self::ProvesNothing(_) => "evidence_proves_nothing",
            Self::ShareFull(_) => "author_share_full",
        }
    }
}

fn malformed(why: impl fmt::Display) -> ItemError {
    ItemError::Malformed(why.to_string())
}

impl From<GateError> for ItemError {
    fn from(error: GateError) -> Self {
        malformed(error)
    }
}

/// Checks an item that came from anywhere. Of a checkpoint that is `held` already, the
/// cosignatures that it is held with are not verified once more.
///
/// # Errors
/// [`ItemError`].
pub fn check(
    kind: Kind,
    bytes: &[u8],
    directory: &Directory,
    held: &Held,
    now: UnixSeconds,
) -> Result<Item, ItemError> {
    let (len, max) = (bytes.len(), kind.most());
    if len > max {
        return Err(ItemError::TooLong { len, max });
    }
    match kind {
        Kind::StatusList => status_list(bytes, directory, now),
        Kind::Campaign => campaign(bytes, directory, now),
        Kind::Checkpoint => checkpoint(bytes, directory, held, now),
        Kind::Evidence => evidence::check(bytes, directory),
    }
}

fn status_list(bytes: &[u8], directory: &Directory, now: UnixSeconds) -> Result<Item, ItemError> {
    let token = StatusListToken::parse(bytes).map_err(malformed)?;
    let (member, list) = list_of(&token, directory)?;
    check_active(member)?;
    let version = token.list().issued_at;
    if version > now.plus(limits::CLOCK_SKEW_SECONDS_MAX) {
        return Err(ItemError::FromTheFuture(version.distance(now)));
    }
    let good = |standing| standing == Standing::Good;
    signed_by(member, Role::Credentials, token.sign1().kid(), now, good, |key| {
        token.verify(key).is_ok()
    })?;
    Ok(Item {
        key: ItemKey {
            kind: Kind::StatusList,
            author: member.did(),
            name: Name::List(list),
        },
        version: version.0,
        identity: hash(bytes),
        bytes: bytes.to_vec(),
        content: Content::StatusList(token),
    })
}

/// Whose list it is, and which: its `sub` is exactly the member's base URL, `/s/` and
/// the number.
pub(super) fn list_of<'a>(
    token: &StatusListToken,
    directory: &'a Directory,
) -> Result<(&'a Member, u32), ItemError> {
    let uri = &token.list().uri;
    let stranger = || ItemError::NotAMember(uri.clone());
    let (base, _) = uri.rsplit_once("/s/").ok_or_else(stranger)?;
    let origin = Origin::parse(base).map_err(|_| stranger())?;
    let member = directory.by_base_url(&origin).ok_or_else(stranger)?;
    let list = member.base_url.status_list_of(uri).ok_or_else(stranger)?;
    Ok((member, list))
}

fn campaign(bytes: &[u8], directory: &Directory, now: UnixSeconds) -> Result<Item, ItemError> {
    let signed = Signed::<Campaign>::parse(bytes).map_err(malformed)?;
    // A coupon of a member that has gone may still count: its campaign is to be had.
    let worth = |standing| standing != Standing::Void;
    let kid = signed.kid();
    let mut members: Vec<&Member> = directory.by_kid(kid).map(|known| known.member).collect();
    members.dedup_by_key(|member| member.log_origin());
    let verifies = |key: &PublicKey| signed.verify(key).is_ok();
    let mut outcome = Err(ItemError::NotAMember(format!("the key {kid}")));
    for member in members {
        outcome = signed_by(member, Role::Credentials, kid, now, worth, verifies).map(|_| member);
        if outcome.is_ok() {
            break;
        }
    }
    let author = outcome?.did();
    Ok(Item {
        key: ItemKey {
            kind: Kind::Campaign,
            author,
            name: Name::Campaign(signed.id()),
        },
        version: 1,
        identity: hash(bytes),
        bytes: bytes.to_vec(),
        content: Content::Campaign(Box::new(signed)),
    })
}

fn checkpoint(bytes: &[u8], directory: &Directory, held: &Held, now: UnixSeconds) -> Result<Item, ItemError> {
    let note = Note::parse(bytes).map_err(malformed)?;
    let said = Checkpoint::parse(note.text()).map_err(malformed)?;
    let member = directory
        .by_log_origin(&said.origin)
        .ok_or_else(|| ItemError::NotAMember(said.origin.clone()))?;
    check_active(member)?;
    let keys: Vec<_> = directory
        .keys(member, Role::Log, now)
        .filter_map(|key| named(member.log_origin(), KeyKind::Ed25519, &key.key))
        .collect();
    let signer = match note.verify(&keys) {
        Ok(signed) => signed[0].key,
        Err(LogError::NotSigned) => return Err(ItemError::KeyNotGood(member.did())),
        Err(_) => return Err(ItemError::SignatureWrong(member.did())),
    };
    let key = ItemKey {
        kind: Kind::Checkpoint,
        author: member.did(),
        name: Name::Only,
    };
    let held = held
        .get(key.kind, &key.id())
        .and_then(|held| Note::parse(&held.bytes).ok())
        .filter(|held| held.text() == note.text());
    let verified = held.as_ref().map_or(&[][..], Note::signatures);
    let cosigned = note
        .signatures()
        .iter()
        .filter(|line| verified.contains(line) || is_cosignature(&note, line, directory, now));
    let own = note.signatures().iter().find(|line| signer.made(line));
    let note = normal(&note, own.expect("its line was verified"), cosigned);
    Ok(Item {
        key,
        version: said.size,
        // One text, by whichever of the log's keys: what is cosigned is the text.
        identity: hash(note.text().as_bytes()),
        bytes: note.to_string().into_bytes(),
        content: Content::Checkpoint(said, note),
    })
}

/// Whether a line is a member's witness's, and verifies.
fn is_cosignature(note: &Note, line: &NoteSignature, directory: &Directory, now: UnixSeconds) -> bool {
    let keys: Vec<_> = directory
        .active()
        .filter(|member| member.witness_name == line.name)
        .flat_map(|member| directory.keys(member, Role::Witness, now))
        .filter_map(|key| named(&line.name, KeyKind::Cosignature, &key.key))
        .collect();
    let mut alone = Note::new(note.text()).expect("the text of a note");
    alone.push(line.clone());
    alone.verify(&keys).is_ok()
}

/// The note with the log's own line first and then the others, sorted, one of each
/// key: so that all hold the same bytes.
fn normal<'a>(note: &Note, own: &NoteSignature, cosigned: impl Iterator<Item = &'a NoteSignature>) -> Note {
    let key = |line: &NoteSignature| (line.name.clone(), line.key_id);
    let mut lines: Vec<_> = cosigned.filter(|line| key(line) != key(own)).collect();
    lines.sort_by(|a, b| (&a.name, a.key_id, &a.payload).cmp(&(&b.name, b.key_id, &b.payload)));
    lines.dedup_by_key(|line| key(line));
    let mut normal = Note::new(note.text()).expect("the text of a note");
    normal.push(own.clone());
    for line in lines.into_iter().take(limits::GOSSIPED_COSIGNATURES_MAX) {
        normal.push(line.clone());
    }
    normal
}

/// Two copies of one checkpoint, both in that form: with the lines of both.
pub(super) fn merged(one: &Note, other: &Note) -> Note {
    let own = &one.signatures()[0];
    let lines = one.signatures().iter().chain(other.signatures());
    normal(one, own, lines)
}

/// A key under a name, as signed notes have it.
pub fn named(name: &str, kind: KeyKind, key: &PublicKey) -> Option<VerifierKey> {
    VerifierKey::of(name, kind, key).ok()
}

fn check_active(member: &Member) -> Result<(), ItemError> {
    if member.is_active() {
        Ok(())
    } else {
        Err(ItemError::RemovedMember(member.did()))
    }
}

/// The key of `member` that has signed, if it counts.
fn signed_by(
    member: &Member,
    role: Role,
    kid: KeyId,
    now: UnixSeconds,
    counts: impl Fn(Standing) -> bool,
    verifies: impl Fn(&PublicKey) -> bool,
) -> Result<&MemberKey, ItemError> {
    let known = member.keys.iter().filter(|key| {
        let known = super::super::roster::KnownAs { member, key };
        key.role == role && key.key.kid() == kid && counts(known.standing(now))
    });
    let mut known = known.peekable();
    if known.peek().is_none() {
        return Err(ItemError::KeyNotGood(member.did()));
    }
    known
        .find(|key| verifies(&key.key))
        .ok_or_else(|| ItemError::SignatureWrong(member.did()))
}

pub(super) fn hash(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
