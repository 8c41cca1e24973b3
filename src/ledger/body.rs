//! Events as the bodies of log entries (`schemas/entry-bodies.cddl`).
//!
//! A body is an array of fixed length for its kind. Where a field is absent,
//! null stands. A body that names neither a coupon's nor a receipt's tag ends
//! with 16 random bytes: leaf hashes are public, and without them a day's
//! turnover could be found by trial (formats, section 4).
//!
//! Every entry's body is written in the writer's one thread, so it is written as
//! bytes; the tests build the values, and prove the bytes to be theirs.

use serde_cbor::Value;

use crate::credential::Algorithm;
use crate::encoding::cbor::{GateError, as_byte_array, as_bytes, as_int, as_optional, as_text, as_tuple};
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, KeyId, Position, RedemptionId, Register, Tag, UnixSeconds, limits,
};

use super::event::{
    Answers, BatchIssued, CampaignSigned, CredentialKeyAdded, Event, Genesis, Mark, ReceiptErased,
    ReceiptIssued, Redeemed, Reversed, StatusListSigned, StatusSet, StatusTarget,
};
use super::partner::{Intent, Place};
use super::revocation::NewStatus;

mod partner;

/// Why an entry's body is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A kind that this version does not know.
    #[error("an entry of unknown kind {0}")]
    UnknownKind(u64),
    /// The body is not of the kind's form.
    #[error("the entry's body is not of its kind's form: {0}")]
    Form(#[from] GateError),
}

/// [`Mark::Import`] as a number.
const MARK_IMPORT: u8 = Mark::Import as u8;

/// Whether bodies of `kind` name a tag, and so need no salt; `None` for an
/// unknown kind.
#[must_use]
pub fn kind_has_tag(kind: u64) -> Option<bool> {
    match kind {
        0 | 1 | 2 | 6 | 7 | 15 | 16 => Some(false),
        3..=5 | 8..=14 => Some(true),
        _ => None,
    }
}

impl ReceiptIssued {
    /// The kind of its entries.
    pub const KIND: u64 = 3;
}

impl Intent {
    /// The kind of its entries.
    pub const KIND: u64 = 9;
}

impl CredentialKeyAdded {
    /// The kind of its entries.
    pub const KIND: u64 = 16;
}

impl Event {
    /// The entry kind.
    #[must_use]
    pub fn kind(&self) -> u64 {
        match self {
            Self::Genesis(_) => 0,
            Self::CampaignSigned(_) => 1,
            Self::BatchIssued(_) => 2,
            Self::ReceiptIssued(_) => ReceiptIssued::KIND,
            Self::Redeemed(redeemed) => match redeemed.place {
                Place::Register(_) => 4,
                Place::Partner { .. } => 13,
            },
            Self::Reversed(Reversed { partner: None, .. }) => 5,
            Self::Reversed(_) => 14,
            Self::StatusSet(_) => 6,
            Self::StatusListSigned(_) => 7,
            Self::ReceiptErased(_) => 8,
            Self::Intent(_) => Intent::KIND,
            Self::RedeemerHalf(_) => 10,
            Self::IntentEnded(_) => 11,
            Self::CancelWished(_) => 12,
            Self::RequestCancelled(_) => 15,
            Self::CredentialKeyAdded(_) => CredentialKeyAdded::KIND,
        }
    }

    /// The time that counts, where it is not the entry's.
    #[must_use]
    pub fn at(&self) -> Option<UnixSeconds> {
        match self {
            Self::ReceiptIssued(receipt) => receipt.at,
            Self::Redeemed(redeemed) => redeemed.at,
            Self::Reversed(reversed) => reversed.at,
            _ => None,
        }
    }

    /// Appends the entry's body, deterministic CBOR, to `out`; `salt` is used
    /// where the kind asks for one.
    pub fn write_body(&self, out: &mut Vec<u8>, answers: Option<&Answers>, salt: [u8; 16]) {
        match self {
            Self::Genesis(genesis) => {
                write::head(out, write::ARRAY, 5);
                write::text(out, &genesis.name);
                write::text(out, &genesis.base_url);
                write::bytes(out, &genesis.credential_key);
                write::bytes(out, &genesis.log_key);
                write::bytes(out, &genesis.witness_key);
            }
            Self::CampaignSigned(signed) => {
                write::head(out, write::ARRAY, 4);
                write::bytes(out, &signed.credential);
                write::bytes(out, &signed.id.0);
                write_answers(out, answers);
                write::bytes(out, &salt);
            }
            Self::BatchIssued(batch) => write_batch(out, batch, answers, salt),
            Self::ReceiptIssued(receipt) => {
                write::head(out, write::ARRAY, 6);
                write::bytes(out, &receipt.tag.0);
                write::text(out, receipt.register.as_str());
                write::uint(out, receipt.sequence_number);
                write::uint(out, receipt.mark as u64);
                write_optional(out, receipt.at, write_time);
                write_answers(out, answers);
            }
            Self::Redeemed(redeemed) => match &redeemed.place {
                Place::Register(register) => write_redeemed(out, redeemed, register, answers),
                Place::Partner { request_id } => partner::write_redeemed_for(out, redeemed, *request_id),
            },
            Self::Reversed(reversed) => match &reversed.partner {
                None => write_reversed(out, reversed, answers),
                Some(call) => partner::write_reversed_for(out, reversed, call),
            },
            Self::Intent(intent) => partner::write_intent(out, intent, answers),
            Self::RedeemerHalf(half) => partner::write_half(out, half, answers),
            Self::IntentEnded(ended) => partner::write_ended(out, ended, answers),
            Self::CancelWished(wished) => partner::write_cancel_wished(out, wished, answers),
            Self::RequestCancelled(cancelled) => partner::write_cancelled(out, cancelled, salt),
            Self::CredentialKeyAdded(added) => {
                write::head(out, write::ARRAY, 3);
                write::bytes(out, &added.key);
                write::uint(out, added.previous);
                write::bytes(out, &salt);
            }
            Self::StatusSet(set) => {
                write::head(out, write::ARRAY, 5);
                write_target(out, &set.target);
                write::uint(out, set.status as u64);
                write::uint(out, set.changed);
                write_answers(out, answers);
                write::bytes(out, &salt);
            }
            Self::StatusListSigned(signed) => {
                write::head(out, write::ARRAY, 5);
                write::uint(out, u64::from(signed.list));
                write_time(out, signed.issued_at);
                write_time(out, signed.expires);
                write::bytes(out, &signed.token.0);
                write::bytes(out, &salt);
            }
            Self::ReceiptErased(erased) => {
                write::head(out, write::ARRAY, 5);
                write::bytes(out, &erased.tag.0);
                write::uint(out, erased.receipt_entry);
                write::text(out, &erased.reason);
                write::uint(out, erased.erased);
                write_answers(out, answers);
            }
        }
    }

    /// The entry's body, as [`write_body`](Self::write_body) writes it.
    #[must_use]
    pub fn encode_body(&self, answers: Option<&Answers>, salt: [u8; 16]) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_body(&mut out, answers, salt);
        out
    }

    /// The same as a value, for an entry that is built of values.
    #[must_use]
    pub fn to_body(&self, answers: Option<&Answers>, salt: [u8; 16]) -> Value {
        let body = self.encode_body(answers, salt);
        serde_cbor::from_slice(&body).expect("it was just written")
    }

    /// The issuer half of a partner's redemption (kind 13), read quickly from a body's
    /// bytes: what does not encode to the same bytes again is not what was read, and what
    /// does not come back is to be read through the gate
    /// ([`cbor_read`](crate::encoding::cbor_read)).
    #[must_use]
    pub fn issuer_half_of(body: &[u8]) -> Option<Self> {
        partner::read_redeemed_for(&mut Reader::new(body))
    }

    /// The event and the answered request in an entry's body.
    ///
    /// # Errors
    /// [`BodyError`] for an unknown kind and for a body not of its kind's form.
    pub fn from_body(kind: u64, body: &Value) -> Result<(Self, Option<Answers>), BodyError> {
        Ok(match kind {
            0 => (genesis(body)?, None),
            1 => campaign_signed(body)?,
            2 => batch_issued(body)?,
            3 => receipt_issued(body)?,
            4 => redeemed(body)?,
            5 => reversed(body)?,
            6 => status_set(body)?,
            7 => (status_list_signed(body)?, None),
            8 => receipt_erased(body)?,
            9 => partner::intent(body)?,
            10 => partner::half(body)?,
            11 => partner::ended(body)?,
            12 => partner::cancel_wished(body)?,
            13 => (partner::redeemed_for(body)?, None),
            14 => (partner::reversed_for(body)?, None),
            15 => (partner::cancelled(body)?, None),
            16 => (credential_key_added(body)?, None),
            _ => return Err(BodyError::UnknownKind(kind)),
        })
    }
}

fn write_batch(out: &mut Vec<u8>, batch: &BatchIssued, answers: Option<&Answers>, salt: [u8; 16]) {
    write::head(out, write::ARRAY, 11);
    write::bytes(out, &batch.campaign.0);
    write::uint(out, batch.first.0);
    write::uint(out, u64::from(batch.count));
    write_optional(out, batch.not_before, write_time);
    write_time(out, batch.not_after);
    write_optional(out, batch.amount, write_amount);
    write::bytes(out, &batch.kid.0);
    write::int(out, batch.algorithm.number());
    write::bytes(out, &batch.tags_root.0);
    write_answers(out, answers);
    write::bytes(out, &salt);
}

fn write_redeemed(out: &mut Vec<u8>, redeemed: &Redeemed, register: &Register, answers: Option<&Answers>) {
    write::head(out, write::ARRAY, 18);
    write::bytes(out, &redeemed.id.0);
    write::bytes(out, &redeemed.tag.0);
    write_name(out, redeemed.name);
    write::uint(out, redeemed.batch_entry);
    write::uint(out, u64::from(redeemed.leaf));
    write::bytes(out, &redeemed.campaign.0);
    write_amount(out, redeemed.amount);
    write_amount(out, redeemed.basket_total);
    write::text(out, &redeemed.issuer);
    write::text(out, &redeemed.redeemer);
    write::text(out, register.as_str());
    write::bytes(out, &redeemed.request.0);
    write::bytes(out, &redeemed.previous.0);
    write::uint(out, u64::from(redeemed.uses_after));
    write_amount(out, redeemed.spent_after);
    write::bool(out, redeemed.used_up);
    write_optional(out, redeemed.at, |out, at| write_marked(out, at, redeemed.mark));
    write_answers(out, answers);
}

fn write_reversed(out: &mut Vec<u8>, reversed: &Reversed, answers: Option<&Answers>) {
    write::head(out, write::ARRAY, 16);
    write::bytes(out, &reversed.id.0);
    write::bytes(out, &reversed.redemption.0);
    write::uint(out, reversed.redemption_entry);
    write::bytes(out, &reversed.tag.0);
    write_name(out, reversed.name);
    write::bytes(out, &reversed.campaign.0);
    write_amount(out, reversed.amount);
    write::bool(out, reversed.give_back);
    write::bytes(out, &reversed.previous.0);
    write::uint(out, reversed.latest_redemption_entry);
    write::uint(out, u64::from(reversed.uses_after));
    write_amount(out, reversed.spent_after);
    write_amount(out, reversed.reversed_after);
    write::bool(out, reversed.used_up);
    write_optional(out, reversed.at, write_time);
    write_answers(out, answers);
}

fn write_optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => write::null(out),
    }
}

fn write_time(out: &mut Vec<u8>, time: UnixSeconds) {
    write::uint(out, time.0);
}

fn write_amount(out: &mut Vec<u8>, amount: Amount) {
    write::int(out, amount.minor_units());
}

/// A redemption's time: with the mark of an import, or alone.
fn write_marked(out: &mut Vec<u8>, at: UnixSeconds, mark: Mark) {
    if mark == Mark::Import {
        write::head(out, write::ARRAY, 2);
        write::uint(out, u64::from(MARK_IMPORT));
    }
    write_time(out, at);
}

fn write_name(out: &mut Vec<u8>, name: CouponName) {
    write::head(out, write::ARRAY, 2);
    write::uint(out, u64::from(name.list));
    write::uint(out, u64::from(name.index));
}

fn write_target(out: &mut Vec<u8>, target: &StatusTarget) {
    match target {
        StatusTarget::Coupon(name) => {
            write::head(out, write::ARRAY, 3);
            write::uint(out, 1);
            write::uint(out, u64::from(name.list));
            write::uint(out, u64::from(name.index));
        }
        StatusTarget::Batch(entry) => {
            write::head(out, write::ARRAY, 2);
            write::uint(out, 2);
            write::uint(out, *entry);
        }
        StatusTarget::Campaign(id) => {
            write::head(out, write::ARRAY, 2);
            write::uint(out, 3);
            write::bytes(out, &id.0);
        }
    }
}

fn write_answers(out: &mut Vec<u8>, answers: Option<&Answers>) {
    write_optional(out, answers, |out, answers| {
        write::head(out, write::ARRAY, 3);
        write::bytes(out, &answers.key);
        write_optional(out, answers.reference, |out, reference| {
            write::bytes(out, &reference)
        });
        write::bytes(out, &answers.request);
    });
}

type Read<T> = Result<T, GateError>;
type Answered = (Event, Option<Answers>);

fn genesis(body: &Value) -> Read<Event> {
    let [name, base_url, credential_key, log_key, witness_key] = as_tuple(body, "genesis: 5 items")?;
    Ok(Event::Genesis(Genesis {
        name: as_text(name, "genesis: name")?.to_owned(),
        base_url: as_text(base_url, "genesis: base URL")?.to_owned(),
        credential_key: as_byte_array(credential_key, "genesis: credential key of 32 bytes")?,
        log_key: as_byte_array(log_key, "genesis: log key of 32 bytes")?,
        witness_key: as_byte_array(witness_key, "genesis: witness key of 32 bytes")?,
    }))
}

fn campaign_signed(body: &Value) -> Read<Answered> {
    let [credential, id, answers, salt] = as_tuple(body, "campaign: 4 items")?;
    read_salt(salt)?;
    let event = CampaignSigned {
        id: CampaignId(as_byte_array(id, "campaign: identity of 16 bytes")?),
        credential: as_bytes(credential, "campaign: credential")?.to_vec(),
    };
    Ok((Event::CampaignSigned(event), read_answers(answers)?))
}

fn batch_issued(body: &Value) -> Read<Answered> {
    let [
        campaign,
        first,
        count,
        not_before,
        not_after,
        amount,
        kid,
        alg,
        root,
        answers,
        salt,
    ] = as_tuple(body, "batch: 11 items")?;
    read_salt(salt)?;
    let alg: i64 = as_int(alg, "batch: algorithm")?;
    let event = BatchIssued {
        campaign: CampaignId(as_byte_array(campaign, "batch: campaign of 16 bytes")?),
        first: Position(as_int(first, "batch: first position")?),
        count: as_int(count, "batch: count")?,
        not_before: as_optional(not_before, |value| read_time(value, "batch: not before"))?,
        not_after: read_time(not_after, "batch: not after")?,
        amount: as_optional(amount, read_amount)?,
        kid: KeyId(as_byte_array(kid, "batch: kid of 8 bytes")?),
        algorithm: Algorithm::from_number(alg).map_err(|_| GateError::Shape("batch: algorithm -8 or -19"))?,
        tags_root: Digest(as_byte_array(root, "batch: root of 32 bytes")?),
    };
    Ok((Event::BatchIssued(event), read_answers(answers)?))
}

fn receipt_issued(body: &Value) -> Read<Answered> {
    let [tag, register, sequence_number, mark, at, answers] = as_tuple(body, "receipt: 6 items")?;
    let event = ReceiptIssued {
        tag: Tag(as_byte_array(tag, "receipt: tag of 32 bytes")?),
        register: read_register(register)?,
        sequence_number: as_int(sequence_number, "receipt: sequence number")?,
        mark: match as_int::<u8>(mark, "receipt: mark")? {
            0 => Mark::Live,
            1 => Mark::Offline,
            MARK_IMPORT => Mark::Import,
            _ => return Err(GateError::Shape("receipt: mark 0, 1 or 2")),
        },
        at: as_optional(at, |value| read_time(value, "receipt: at"))?,
    };
    Ok((Event::ReceiptIssued(event), read_answers(answers)?))
}

fn read_marked(value: &Value) -> Read<(UnixSeconds, Mark)> {
    let Value::Array(_) = value else {
        return Ok((read_time(value, "redemption: at")?, Mark::Live));
    };
    let [mark, at] = as_tuple(value, "redemption: mark and time")?;
    match as_int(mark, "redemption: mark")? {
        MARK_IMPORT => Ok((read_time(at, "redemption: at")?, Mark::Import)),
        _ => Err(GateError::Shape("redemption: mark of an import")),
    }
}

fn redeemed(body: &Value) -> Read<Answered> {
    let items: &[Value; 18] = as_tuple(body, "redemption: 18 items")?;
    let [
        id,
        tag,
        name,
        batch_entry,
        leaf,
        campaign,
        amount,
        basket_total,
        issuer,
        redeemer,
        ..,
    ] = items;
    let [.., register, request, previous, uses, spent, used_up, at, answers] = items;
    let at = as_optional(at, read_marked)?;
    let event = Redeemed {
        id: RedemptionId(as_byte_array(id, "redemption: id of 16 bytes")?),
        tag: Tag(as_byte_array(tag, "redemption: tag of 32 bytes")?),
        name: read_name(name)?,
        batch_entry: as_int(batch_entry, "redemption: batch entry")?,
        leaf: as_int(leaf, "redemption: leaf")?,
        campaign: CampaignId(as_byte_array(campaign, "redemption: campaign of 16 bytes")?),
        amount: read_amount(amount)?,
        basket_total: read_amount(basket_total)?,
        issuer: as_text(issuer, "redemption: issuer")?.to_owned(),
        redeemer: as_text(redeemer, "redemption: redeemer")?.to_owned(),
        place: Place::Register(read_register(register)?),
        request: Digest(as_byte_array(request, "redemption: request of 32 bytes")?),
        previous: Digest(as_byte_array(previous, "redemption: previous of 32 bytes")?),
        uses_after: as_int(uses, "redemption: uses")?,
        spent_after: read_amount(spent)?,
        used_up: read_bool(used_up)?,
        at: at.map(|(at, _)| at),
        mark: at.map_or(Mark::Live, |(_, mark)| mark),
    };
    Ok((Event::Redeemed(event), read_answers(answers)?))
}

fn reversed(body: &Value) -> Read<Answered> {
    let items: &[Value; 16] = as_tuple(body, "reversal: 16 items")?;
    let [
        id,
        redemption,
        redemption_entry,
        tag,
        name,
        campaign,
        amount,
        give_back,
        ..,
    ] = items;
    let [.., previous, latest, uses, spent, reversed, used_up, at, answers] = items;
    let event = Reversed {
        id: RedemptionId(as_byte_array(id, "reversal: id of 16 bytes")?),
        redemption: RedemptionId(as_byte_array(redemption, "reversal: redemption of 16 bytes")?),
        redemption_entry: as_int(redemption_entry, "reversal: redemption's entry")?,
        tag: Tag(as_byte_array(tag, "reversal: tag of 32 bytes")?),
        name: read_name(name)?,
        campaign: CampaignId(as_byte_array(campaign, "reversal: campaign of 16 bytes")?),
        amount: read_amount(amount)?,
        give_back: read_bool(give_back)?,
        previous: Digest(as_byte_array(previous, "reversal: previous of 32 bytes")?),
        latest_redemption_entry: as_int(latest, "reversal: latest redemption's entry")?,
        uses_after: as_int(uses, "reversal: uses")?,
        spent_after: read_amount(spent)?,
        reversed_after: read_amount(reversed)?,
        used_up: read_bool(used_up)?,
        at: as_optional(at, |value| read_time(value, "reversal: at"))?,
        partner: None,
    };
    Ok((Event::Reversed(event), read_answers(answers)?))
}

fn status_set(body: &Value) -> Read<Answered> {
    let [target, status, changed, answers, salt] = as_tuple(body, "status: 5 items")?;
    read_salt(salt)?;
    let event = StatusSet {
        target: read_target(target)?,
        status: match as_int::<u8>(status, "status: status")? {
            0 => NewStatus::Revoked,
            1 => NewStatus::Suspended,
            2 => NewStatus::Valid,
            _ => return Err(GateError::Shape("status: 0, 1 or 2")),
        },
        changed: as_int(changed, "status: changed")?,
    };
    Ok((Event::StatusSet(event), read_answers(answers)?))
}

fn status_list_signed(body: &Value) -> Read<Event> {
    let [list, issued_at, expires, token, salt] = as_tuple(body, "status list: 5 items")?;
    read_salt(salt)?;
    Ok(Event::StatusListSigned(StatusListSigned {
        list: as_int(list, "status list: number")?,
        issued_at: read_time(issued_at, "status list: iat")?,
        expires: read_time(expires, "status list: exp")?,
        token: Digest(as_byte_array(token, "status list: hash of 32 bytes")?),
    }))
}

fn credential_key_added(body: &Value) -> Read<Event> {
    let [key, previous, salt] = as_tuple(body, "credential key: 3 items")?;
    read_salt(salt)?;
    Ok(Event::CredentialKeyAdded(CredentialKeyAdded {
        key: as_byte_array(key, "credential key: key of 32 bytes")?,
        previous: as_int(previous, "credential key: entry of the one before")?,
    }))
}

fn receipt_erased(body: &Value) -> Read<Answered> {
    let [tag, receipt_entry, reason, erased, answers] = as_tuple(body, "erasure: 5 items")?;
    let event = ReceiptErased {
        tag: Tag(as_byte_array(tag, "erasure: tag of 32 bytes")?),
        receipt_entry: as_int(receipt_entry, "erasure: receipt's entry")?,
        reason: as_text(reason, "erasure: reason")?.to_owned(),
        erased: as_int(erased, "erasure: count")?,
    };
    Ok((Event::ReceiptErased(event), read_answers(answers)?))
}

fn read_answers(value: &Value) -> Read<Option<Answers>> {
    as_optional(value, |value| {
        let [key, reference, request] = as_tuple(value, "answered request: 3 items")?;
        Ok(Answers {
            key: as_byte_array(key, "answered request: key of 16 bytes")?,
            reference: as_optional(reference, |value| {
                as_byte_array(value, "answered request: reference of 16 bytes")
            })?,
            request: as_byte_array(request, "answered request: request of 16 bytes")?,
        })
    })
}

fn read_target(value: &Value) -> Read<StatusTarget> {
    let what = "status: target";
    match crate::encoding::cbor::as_array(value, what)? {
        [Value::Integer(1), list, index] => Ok(StatusTarget::Coupon(CouponName {
            list: as_int(list, what)?,
            index: read_index(index)?,
        })),
        [Value::Integer(2), entry] => Ok(StatusTarget::Batch(as_int(entry, what)?)),
        [Value::Integer(3), id] => Ok(StatusTarget::Campaign(CampaignId(as_byte_array(id, what)?))),
        _ => Err(GateError::Shape(what)),
    }
}

fn read_name(value: &Value) -> Read<CouponName> {
    let [list, index] = as_tuple(value, "coupon name: list and index")?;
    Ok(CouponName {
        list: as_int(list, "coupon name: list")?,
        index: read_index(index)?,
    })
}

fn read_index(value: &Value) -> Read<u32> {
    let index: u32 = as_int(value, "coupon name: index")?;
    if index < limits::STATUS_LIST_LEN {
        Ok(index)
    } else {
        Err(GateError::Shape("coupon name: index out of bounds"))
    }
}

fn read_amount(value: &Value) -> Read<Amount> {
    Amount::new(as_int(value, "an amount")?).map_err(|_| GateError::Shape("an amount out of range"))
}

fn read_time(value: &Value, what: &'static str) -> Read<UnixSeconds> {
    Ok(UnixSeconds(as_int(value, what)?))
}

fn read_register(value: &Value) -> Read<Register> {
    Register::new(as_text(value, "a register")?).map_err(|_| GateError::Shape("a register's name"))
}

fn read_bool(value: &Value) -> Read<bool> {
    match value {
        Value::Bool(value) => Ok(*value),
        _ => Err(GateError::Shape("true or false")),
    }
}

fn read_salt(value: &Value) -> Read<[u8; 16]> {
    as_byte_array(value, "a salt of 16 bytes")
}

#[cfg(test)]
#[path = "body_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
