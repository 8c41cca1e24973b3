//! The envelope of every message between nodes (formats, section 5). Pure.
//!
//! ```text
//! COSE_Sign1, typ "application/coop-message+cbor", external_aad "tallystick/NAME/v1",
//! payload [ sender: did, audience: did, time, id: bstr .size 16, roster version, body ]
//! ```
//!
//! The name is signed along but does not travel: what was signed as one message is
//! refused as any other, and no message passes for a credential.
//!
//! In scope: sealing a body, and whether what came is from a member, for this node,
//! of now. Out of scope: what bodies say; whether it came before ([`replays`]).

pub mod replays;

use serde_cbor::Value;

use super::roster::{Directory, KnownAs, Role, Standing};
use crate::credential::cose::{self, Parts};
use crate::credential::{Algorithm, CredentialError, SecretKey, Sign1};
use crate::encoding::cbor::{self, GateError};
use crate::encoding::cbor_write as write;
use crate::primitives::{UnixSeconds, limits};

pub use replays::Replays;

/// The media type of a message.
pub const CONTENT_TYPE: &str = "application/cose; cose-type=\"cose-sign1\"";

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageName {
    /// Redeemer to issuer: redemptions, cancellations and what else asks for an
    /// entry in the issuer's log.
    Redemption,
    /// What the issuer answers.
    RedemptionAnswer,
    /// What one node holds of the federation's news, or lacks.
    Gossip,
    /// What the other one says to that.
    GossipAnswer,
    /// A member asks for entries of another's log, or for what proves a coupon.
    EntriesRequest,
    /// What that one answers.
    Entries,
}

impl MessageName {
    /// All names.
    pub const ALL: [Self; 6] = [
        Self::Redemption,
        Self::RedemptionAnswer,
        Self::Gossip,
        Self::GossipAnswer,
        Self::EntriesRequest,
        Self::Entries,
    ];

    /// What its signature is bound to.
    #[must_use]
    pub fn external_aad(self) -> &'static [u8] {
        match self {
            Self::Redemption => b"tallystick/redemption/v1",
            Self::RedemptionAnswer => b"tallystick/redemption-answer/v1",
            Self::Gossip => b"tallystick/gossip/v1",
            Self::GossipAnswer => b"tallystick/gossip-answer/v1",
            Self::EntriesRequest => b"tallystick/entries-request/v1",
            Self::Entries => b"tallystick/entries/v1",
        }
    }

    /// Most bytes of the whole message.
    #[must_use]
    pub fn most(self) -> usize {
        match self {
            Self::Redemption => limits::REDEMPTION_MESSAGE_BYTES_MAX,
            Self::RedemptionAnswer => limits::REDEMPTION_ANSWER_BYTES_MAX,
            Self::Gossip | Self::GossipAnswer => limits::GOSSIP_MESSAGE_BYTES_MAX,
            Self::EntriesRequest => limits::ENTRIES_REQUEST_BYTES_MAX,
            Self::Entries => limits::ENTRIES_ANSWER_BYTES_MAX,
        }
    }

    /// Whether it is read though its sender follows a newer roster: what brings
    /// news has to get through to whoever lacks it.
    fn is_for_those_behind(self) -> bool {
        matches!(self, Self::Gossip | Self::GossipAnswer)
    }
}

/// What stands before the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The did of the member that sends it.
    pub sender: String,
    /// The did of the member that it is for.
    pub audience: String,
    /// When it was signed, by the sender's clock.
    pub time: UnixSeconds,
    /// Random; an answer has that of the message which it answers.
    pub id: [u8; 16],
    /// The version of the roster that the sender follows.
    pub roster_version: u64,
}

/// Why a message is refused. None has had an effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than messages of this name may be.
    #[error("the message has {len} bytes, and at most {max} are read of one of its name")]
    TooLong {
        /// Bytes that came.
        len: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// Not the one form of a message.
    #[error("it is no message: {0} (schemas/messages.cddl)")]
    Malformed(GateError),
    /// No key of the roster has the kid of its signature.
    #[error(
        "it is signed by nobody that the roster lists: is the sender a member, and the roster the newest?"
    )]
    NotAMember,
    /// Another key of that kid made the signature, or it is of another message.
    #[error("its signature is not by the key that it names, over this message under this name")]
    SignatureWrong,
    /// By a key that a member has for something else.
    #[error("it is signed with a key that its sender has for {0}: sign messages with the key for messages")]
    KeyNotForMessages(&'static str),
    /// By a member that was removed.
    #[error("{0} was removed from the federation")]
    RemovedMember(String),
    /// By a key that signs no more.
    #[error("the key of {0} that signed it is retired or compromised in the roster: use the newest one")]
    KeyNotGood(String),
    /// The sender it names is not the key's.
    #[error("it names {said} as its sender, but {signer} has signed it")]
    WrongSender {
        /// What it says.
        said: String,
        /// Who signed.
        signer: String,
    },
    /// It is for somebody else.
    #[error("it is for {0}, not for this node")]
    WrongAudience(String),
    /// Its time is too far ahead.
    #[error("it is {0} s from the future: one of the two clocks is wrong")]
    FromTheFuture(u64),
    /// Its time is too far back.
    #[error("it is {0} s old, and is refused as one that may have been kept and sent again: sign it anew")]
    TooOld(u64),
    /// Its sender follows a newer roster.
    #[error(
        "its sender follows version {theirs} of the roster, which this node has to fetch first: try again soon"
    )]
    RosterAhead {
        /// The version that the sender follows.
        theirs: u64,
    },
    /// The same message came before.
    #[error("the same message came before")]
    Replayed,
    /// It came before ids could be kept any longer.
    #[error("its sender sends more messages than are remembered: slow down")]
    TooMany,
}

impl MessageError {
    /// All reasons, for metrics.
    pub const REASONS: [&'static str; 14] = [
        "too_long",
        "malformed",
        "not_a_member",
        "signature_wrong",
        "key_not_for_messages",
        "removed_member",
        "key_not_good",
        "wrong_sender",
        "wrong_audience",
        "from_the_future",
        "too_old",
        "roster_ahead",
        "replayed",
        "too_many",
    ];

    /// The reason as a word for machines.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Malformed(_) => "malformed",
            Self::NotAMember => "not_a_member",
            Self::SignatureWrong => "signature_wrong",
            Self::KeyNotForMessages(_) => "key_not_for_messages",
            Self::RemovedMember(_) => "removed_member",
            Self::KeyNotGood(_) => "key_not_good",
            Self::WrongSender { .. } => "wrong_sender",
            Self::WrongAudience(_) => "wrong_audience",
            Self::FromTheFuture(_) => "from_the_future",
            Self::TooOld(_) => "too_old",
            Self::RosterAhead { .. } => "roster_ahead",
            Self::Replayed => "replayed",
            Self::TooMany => "too_many",
        }
    }
}

impl From<GateError> for MessageError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::TooLong { len, max } => Self::TooLong { len, max },
            error => Self::Malformed(error),
        }
    }
}

/// Signs a message. `body` is one item of deterministic CBOR.
#[must_use]
pub fn seal(key: &SecretKey, name: MessageName, head: &Head, body: &[u8]) -> Vec<u8> {
    let length = head.sender.len() + head.audience.len() + body.len();
    let mut payload = Vec::with_capacity(length + 48);
    write::head(&mut payload, write::ARRAY, 6);
    write::text(&mut payload, &head.sender);
    write::text(&mut payload, &head.audience);
    write::uint(&mut payload, head.time.0);
    write::bytes(&mut payload, &head.id);
    write::uint(&mut payload, head.roster_version);
    payload.extend_from_slice(body);
    let (alg, kid) = (Algorithm::EdDsa, key.kid());
    cose::sign1(key, alg, cose::TYP_MESSAGE, kid, &payload, name.external_aad())
}

/// Opens a message that came to `own_did` at `now`, and gives what it says. The
/// payload is looked into only once a member's signature is found good, so that a
/// stranger costs a look-up or one verification.
///
/// # Errors
/// [`MessageError`]; never [`MessageError::Replayed`], which [`Replays`] tells.
pub fn open(
    bytes: &[u8],
    name: MessageName,
    directory: &Directory,
    own_did: &str,
    now: UnixSeconds,
) -> Result<(Head, Value), MessageError> {
    let max = name.most();
    if bytes.len() > max {
        let len = bytes.len();
        return Err(MessageError::TooLong { len, max });
    }
    let Some(parts) = Parts::read(bytes, cose::TYP_MESSAGE, max) else {
        return Err(malformed(bytes, max));
    };
    let signer = signer(&parts, name, directory)?;
    check_standing(signer, now)?;
    let (head, body) = read_payload(parts.payload, max)?;
    if head.sender != signer.member.did() {
        return Err(MessageError::WrongSender {
            said: head.sender,
            signer: signer.member.did(),
        });
    }
    if head.audience != own_did {
        return Err(MessageError::WrongAudience(head.audience));
    }
    check_time(head.time, now)?;
    let theirs = head.roster_version;
    if theirs > directory.roster().version && !name.is_for_those_behind() {
        return Err(MessageError::RosterAhead { theirs });
    }
    Ok((head, body))
}

/// The member that the key which `bytes` name belongs to; whether it has signed them is
/// another question.
#[must_use]
pub fn signed_by<'a>(bytes: &[u8], directory: &'a Directory) -> Option<&'a super::roster::Member> {
    let kid = Parts::read(bytes, cose::TYP_MESSAGE, bytes.len())?.kid;
    directory.by_kid(kid).next().map(|known| known.member)
}

/// What the gate says of bytes that are no message.
fn malformed(bytes: &[u8], max: usize) -> MessageError {
    let why = match Sign1::parse(bytes, max) {
        Err(CredentialError::Gate(why)) => why,
        Err(_) => GateError::Shape("its algorithm is neither EdDSA (-8) nor Ed25519 (-19)"),
        Ok(_) => GateError::Shape("its type (16) is not application/coop-message+cbor"),
    };
    MessageError::Malformed(why)
}

/// Whose listed key has signed it, whatever that is worth.
fn signer<'a>(
    parts: &Parts<'_>,
    name: MessageName,
    directory: &'a Directory,
) -> Result<KnownAs<'a>, MessageError> {
    let mut listed = directory.by_kid(parts.kid).peekable();
    if listed.peek().is_none() {
        return Err(MessageError::NotAMember);
    }
    let signed = parts.sig_structure(name.external_aad());
    listed
        .find(|known| known.key.key.verify_strict(&signed, &parts.signature))
        .ok_or(MessageError::SignatureWrong)
}

fn check_standing(signer: KnownAs<'_>, now: UnixSeconds) -> Result<(), MessageError> {
    if signer.key.role != Role::Messages {
        return Err(MessageError::KeyNotForMessages(signer.key.role.signs()));
    }
    if !signer.member.is_active() {
        return Err(MessageError::RemovedMember(signer.member.did()));
    }
    // A key that is being replaced is good until its date, so that no message is
    // lost while nodes learn of the new one.
    match signer.standing(now) {
        Standing::Good => Ok(()),
        Standing::Frozen { .. } | Standing::Void => Err(MessageError::KeyNotGood(signer.member.did())),
    }
}

fn read_payload(payload: &[u8], max: usize) -> Result<(Head, Value), GateError> {
    const WHAT: &str = "a message is [sender, audience, time, id of 16 bytes, roster version, body]";
    let Value::Array(items) = cbor::decode(payload, max)? else {
        return Err(GateError::Shape(WHAT));
    };
    let [sender, audience, time, id, roster_version, body] =
        <[Value; 6]>::try_from(items).map_err(|_| GateError::Shape(WHAT))?;
    let time = cbor::as_int(&time, WHAT)?;
    if time > limits::UNIX_SECONDS_MAX {
        return Err(GateError::Shape("a message's time is before the year 10000"));
    }
    let head = Head {
        sender: cbor::as_text(&sender, WHAT)?.to_owned(),
        audience: cbor::as_text(&audience, WHAT)?.to_owned(),
        time: UnixSeconds(time),
        id: cbor::as_byte_array(&id, WHAT)?,
        roster_version: cbor::as_int(&roster_version, WHAT)?,
    };
    Ok((head, body))
}

fn check_time(time: UnixSeconds, now: UnixSeconds) -> Result<(), MessageError> {
    let apart = time.distance(now);
    if apart <= limits::CLOCK_SKEW_SECONDS_MAX {
        Ok(())
    } else if time > now {
        Err(MessageError::FromTheFuture(apart))
    } else {
        Err(MessageError::TooOld(apart))
    }
}

#[cfg(test)]
mod tests;
