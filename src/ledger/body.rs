//! Events as the bodies of log entries (`schemas/entry-bodies.cddl`).
//!
//! A body is an array of fixed length for its kind. Where a field is absent,
//! null stands. A body that names neither a coupon's nor a receipt's tag ends
//! with 16 random bytes: leaf hashes are public, and without them a day's
//! turnover could be found by trial (formats, section 4).

use serde_cbor::Value;

use crate::credential::Algorithm;
use crate::encoding::cbor::{
    GateError, as_byte_array, as_bytes, as_int, as_optional, as_text, as_tuple, bytes, int, optional, text,
};
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, KeyId, Position, RedemptionId, Register, Tag, UnixSeconds, limits,
};

use super::event::{
    Answers, BatchIssued, CampaignSigned, Event, Genesis, Mark, ReceiptIssued, Redeemed, Reversed,
    StatusListSigned, StatusSet, StatusTarget,
};
use super::revocation::NewStatus;

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
        0 | 1 | 2 | 6 | 7 => Some(false),
        3..=5 => Some(true),
        _ => None,
    }
}

impl Event {
    /// The entry kind.
    #[must_use]
    pub fn kind(&self) -> u64 {
        match self {
            Self::Genesis(_) => 0,
            Self::CampaignSigned(_) => 1,
            Self::BatchIssued(_) => 2,
            Self::ReceiptIssued(_) => 3,
            Self::Redeemed(_) => 4,
            Self::Reversed(_) => 5,
            Self::StatusSet(_) => 6,
            Self::StatusListSigned(_) => 7,
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

    /// The entry's body; `salt` is used where the kind asks for one.
    #[must_use]
    pub fn to_body(&self, answers: Option<&Answers>, salt: [u8; 16]) -> Value {
        let answers = optional(answers, answers_value);
        let salt = bytes(salt);
        let time = |at: UnixSeconds| int(at.0);
        let items = match self {
            Self::Genesis(genesis) => vec![
                text(&genesis.name),
                text(&genesis.base_url),
                bytes(genesis.credential_key),
                bytes(genesis.log_key),
                bytes(genesis.witness_key),
            ],
            Self::CampaignSigned(signed) => vec![bytes(&signed.credential), bytes(signed.id), answers, salt],
            Self::BatchIssued(batch) => vec![
                bytes(batch.campaign),
                int(batch.first.0),
                int(batch.count),
                optional(batch.not_before, time),
                int(batch.not_after.0),
                optional(batch.amount, amount),
                bytes(batch.kid),
                int(batch.algorithm.number()),
                bytes(batch.tags_root),
                answers,
                salt,
            ],
            Self::ReceiptIssued(receipt) => vec![
                bytes(receipt.tag),
                text(receipt.register.as_str()),
                int(receipt.sequence_number),
                int(receipt.mark as u8),
                optional(receipt.at, time),
                answers,
            ],
            Self::Redeemed(redeemed) => vec![
                bytes(redeemed.id),
                bytes(redeemed.tag),
                name(redeemed.name),
                int(redeemed.batch_entry),
                int(redeemed.leaf),
                bytes(redeemed.campaign),
                amount(redeemed.amount),
                amount(redeemed.basket_total),
                text(&redeemed.issuer),
                text(&redeemed.redeemer),
                text(redeemed.register.as_str()),
                bytes(redeemed.request),
                bytes(redeemed.previous),
                int(redeemed.uses_after),
                amount(redeemed.spent_after),
                Value::Bool(redeemed.used_up),
                optional(redeemed.at, |at| marked(at, redeemed.mark)),
                answers,
            ],
            Self::Reversed(reversed) => vec![
                bytes(reversed.id),
                bytes(reversed.redemption),
                int(reversed.redemption_entry),
                bytes(reversed.tag),
                name(reversed.name),
                bytes(reversed.campaign),
                amount(reversed.amount),
                Value::Bool(reversed.give_back),
                bytes(reversed.previous),
                int(reversed.latest_redemption_entry),
                int(reversed.uses_after),
                amount(reversed.spent_after),
                amount(reversed.reversed_after),
                Value::Bool(reversed.used_up),
                optional(reversed.at, time),
                answers,
            ],
            Self::StatusSet(set) => {
                vec![
                    target(&set.target),
                    int(set.status as u8),
                    int(set.changed),
                    answers,
                    salt,
                ]
            }
            Self::StatusListSigned(signed) => vec![
                int(signed.list),
                int(signed.issued_at.0),
                int(signed.expires.0),
                bytes(signed.token),
                salt,
            ],
        };
        Value::Array(items)
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
            _ => return Err(BodyError::UnknownKind(kind)),
        })
    }
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

/// A redemption's time: with the mark of an import, or alone.
fn marked(at: UnixSeconds, mark: Mark) -> Value {
    match mark {
        Mark::Import => Value::Array(vec![int(MARK_IMPORT), int(at.0)]),
        Mark::Live | Mark::Offline => int(at.0),
    }
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
        register: read_register(register)?,
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

fn answers_value(answers: &Answers) -> Value {
    Value::Array(vec![
        bytes(answers.key),
        optional(answers.reference, bytes),
        bytes(answers.request),
    ])
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

fn target(target: &StatusTarget) -> Value {
    Value::Array(match target {
        StatusTarget::Coupon(name) => vec![int(1), int(name.list), int(name.index)],
        StatusTarget::Batch(entry) => vec![int(2), int(*entry)],
        StatusTarget::Campaign(id) => vec![int(3), bytes(id)],
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

fn name(name: CouponName) -> Value {
    Value::Array(vec![int(name.list), int(name.index)])
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

fn amount(amount: Amount) -> Value {
    int(amount.minor_units())
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
