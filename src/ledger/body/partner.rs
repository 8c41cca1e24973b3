//! Bodies of entries about redemptions between co-ops: kinds 9 to 15.

use serde_cbor::Value;

use super::{
    Answered, Read, read_amount, read_answers, read_bool, read_name, read_register, read_salt, read_time,
    write_amount, write_answers, write_name, write_optional, write_time,
};
use crate::encoding::cbor::{GateError, as_array, as_byte_array, as_int, as_optional, as_text, as_tuple};
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::ledger::event::{Answers, Event, Mark, PartnerCall, Redeemed, Reversed};
use crate::ledger::partner::{
    CancelWished, End, Intent, IntentEnded, Place, RedeemerHalf, RequestCancelled, Reverses, Wish,
};
use crate::primitives::{Amount, CampaignId, CouponName, Currency, Digest, RedemptionId, Tag, limits};

pub(super) fn write_intent(out: &mut Vec<u8>, intent: &Intent, answers: Option<&Answers>) {
    write::head(out, write::ARRAY, 11);
    write::bytes(out, &intent.id.0);
    write::bytes(out, &intent.tag.0);
    write_name(out, intent.name);
    write::text(out, &intent.issuer);
    write::bytes(out, &intent.campaign.0);
    write::uint(out, u64::from(intent.currency.number()));
    write::text(out, intent.register.as_str());
    write_wish(out, &intent.wish);
    write_time(out, intent.not_after);
    write::bytes(out, &intent.request.0);
    write_answers(out, answers);
}

fn write_wish(out: &mut Vec<u8>, wish: &Wish) {
    match wish {
        Wish::Redeem { basket_total, amount } => {
            write::head(out, write::ARRAY, 3);
            write::uint(out, 1);
            write_amount(out, *basket_total);
            write_optional(out, *amount, write_amount);
        }
        Wish::Reverse {
            redemption,
            redemption_entry,
            amount,
            give_back,
        } => {
            write::head(out, write::ARRAY, 5);
            write::uint(out, 2);
            write::bytes(out, &redemption.0);
            write::uint(out, *redemption_entry);
            write_optional(out, *amount, write_amount);
            write::bool(out, *give_back);
        }
    }
}

pub(super) fn write_half(out: &mut Vec<u8>, half: &RedeemerHalf, answers: Option<&Answers>) {
    write::head(out, write::ARRAY, 13);
    write::bytes(out, &half.id.0);
    write::bytes(out, &half.tag.0);
    write::uint(out, half.intent_entry);
    write::text(out, &half.issuer);
    write::uint(out, half.issuer_entry);
    write::bytes(out, &half.issuer_hash.0);
    write::bytes(out, &half.campaign.0);
    write::uint(out, u64::from(half.currency.number()));
    write_amount(out, half.amount);
    write_optional(out, half.remaining_uses, |out, uses| {
        write::uint(out, u64::from(uses))
    });
    write_optional(out, half.remaining_value, write_amount);
    write_optional(out, half.reverses, |out, reverses| {
        write::head(out, write::ARRAY, 3);
        write::bytes(out, &reverses.redemption.0);
        write::uint(out, reverses.entry);
        write_amount(out, reverses.reversed_after);
    });
    write_answers(out, answers);
}

pub(super) fn write_ended(out: &mut Vec<u8>, ended: &IntentEnded, answers: Option<&Answers>) {
    write::head(out, write::ARRAY, 5);
    write::bytes(out, &ended.id.0);
    write::bytes(out, &ended.tag.0);
    write::uint(out, ended.intent_entry);
    match &ended.end {
        End::Refused { code, detail } => {
            write::head(out, write::ARRAY, 3);
            write::uint(out, 1);
            write::text(out, code);
            write::text(out, detail);
        }
        End::Cancelled {
            issuer_entry,
            issuer_hash,
        } => {
            write::head(out, write::ARRAY, 3);
            write::uint(out, 2);
            write::uint(out, *issuer_entry);
            write::bytes(out, &issuer_hash.0);
        }
    }
    write_answers(out, answers);
}

pub(super) fn write_cancel_wished(out: &mut Vec<u8>, wished: &CancelWished, answers: Option<&Answers>) {
    write::head(out, write::ARRAY, 4);
    write::bytes(out, &wished.id.0);
    write::bytes(out, &wished.tag.0);
    write::uint(out, wished.intent_entry);
    write_answers(out, answers);
}

pub(super) fn write_redeemed_for(out: &mut Vec<u8>, redeemed: &Redeemed, request_id: RedemptionId) {
    write::head(out, write::ARRAY, 16);
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
    write::bytes(out, &request_id.0);
    write::bytes(out, &redeemed.request.0);
    write::bytes(out, &redeemed.previous.0);
    write::uint(out, u64::from(redeemed.uses_after));
    write_amount(out, redeemed.spent_after);
    write::bool(out, redeemed.used_up);
}

pub(super) fn write_reversed_for(out: &mut Vec<u8>, reversed: &Reversed, call: &PartnerCall) {
    write::head(out, write::ARRAY, 17);
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
    write::text(out, &call.redeemer);
    write::bytes(out, &call.request_id.0);
    write::bytes(out, &call.request.0);
}

pub(super) fn write_cancelled(out: &mut Vec<u8>, cancelled: &RequestCancelled, salt: [u8; 16]) {
    write::head(out, write::ARRAY, 3);
    write::bytes(out, &cancelled.request_id.0);
    write::text(out, &cancelled.redeemer);
    write::bytes(out, &salt);
}

pub(super) fn intent(body: &Value) -> Read<Answered> {
    let items: &[Value; 11] = as_tuple(body, "intent: 11 items")?;
    let [id, tag, name, issuer, campaign, currency, ..] = items;
    let [.., register, wish, not_after, request, answers] = items;
    let event = Intent {
        id: read_id(id)?,
        tag: read_tag(tag)?,
        name: read_name(name)?,
        issuer: read_did(issuer)?,
        campaign: read_campaign(campaign)?,
        currency: read_currency(currency)?,
        register: read_register(register)?,
        wish: read_wish(wish)?,
        not_after: read_time(not_after, "intent: not after")?,
        request: read_digest(request)?,
    };
    Ok((Event::Intent(event), read_answers(answers)?))
}

fn read_wish(value: &Value) -> Read<Wish> {
    let what = "intent: what is wanted";
    match as_array(value, what)? {
        [Value::Integer(1), basket_total, amount] => Ok(Wish::Redeem {
            basket_total: read_amount(basket_total)?,
            amount: as_optional(amount, read_amount)?,
        }),
        [Value::Integer(2), redemption, entry, amount, give_back] => Ok(Wish::Reverse {
            redemption: read_id(redemption)?,
            redemption_entry: as_int(entry, what)?,
            amount: as_optional(amount, read_amount)?,
            give_back: read_bool(give_back)?,
        }),
        _ => Err(GateError::Shape(what)),
    }
}

pub(super) fn half(body: &Value) -> Read<Answered> {
    let items: &[Value; 13] = as_tuple(body, "redeemer half: 13 items")?;
    let [id, tag, intent_entry, issuer, issuer_entry, issuer_hash, ..] = items;
    let [.., campaign, currency, amount, uses, value, reverses, answers] = items;
    let event = RedeemerHalf {
        id: read_id(id)?,
        tag: read_tag(tag)?,
        intent_entry: as_int(intent_entry, "redeemer half: intent's entry")?,
        issuer: read_did(issuer)?,
        issuer_entry: as_int(issuer_entry, "redeemer half: issuer's entry")?,
        issuer_hash: read_digest(issuer_hash)?,
        campaign: read_campaign(campaign)?,
        currency: read_currency(currency)?,
        amount: read_amount(amount)?,
        remaining_uses: as_optional(uses, |uses| as_int(uses, "redeemer half: uses left"))?,
        remaining_value: as_optional(value, read_amount)?,
        reverses: as_optional(reverses, |value| {
            let [redemption, entry, after] = as_tuple(value, "redeemer half: what it reverses")?;
            Ok(Reverses {
                redemption: read_id(redemption)?,
                entry: as_int(entry, "redeemer half: reversed half")?,
                reversed_after: read_amount(after)?,
            })
        })?,
    };
    Ok((Event::RedeemerHalf(event), read_answers(answers)?))
}

pub(super) fn ended(body: &Value) -> Read<Answered> {
    let [id, tag, intent_entry, end, answers] = as_tuple(body, "intent's end: 5 items")?;
    let what = "intent's end: refused or cancelled";
    let event = IntentEnded {
        id: read_id(id)?,
        tag: read_tag(tag)?,
        intent_entry: as_int(intent_entry, "intent's end: intent's entry")?,
        end: match as_array(end, what)? {
            [Value::Integer(1), code, detail] => End::Refused {
                code: as_text(code, what)?.to_owned(),
                detail: as_text(detail, what)?.to_owned(),
            },
            [Value::Integer(2), entry, hash] => End::Cancelled {
                issuer_entry: as_int(entry, what)?,
                issuer_hash: read_digest(hash)?,
            },
            _ => return Err(GateError::Shape(what)),
        },
    };
    Ok((Event::IntentEnded(event), read_answers(answers)?))
}

pub(super) fn cancel_wished(body: &Value) -> Read<Answered> {
    let [id, tag, intent_entry, answers] = as_tuple(body, "wish to cancel: 4 items")?;
    let event = CancelWished {
        id: read_id(id)?,
        tag: read_tag(tag)?,
        intent_entry: as_int(intent_entry, "wish to cancel: intent's entry")?,
    };
    Ok((Event::CancelWished(event), read_answers(answers)?))
}

/// As [`redeemed_for`], without building a value.
pub(super) fn read_redeemed_for(reader: &mut Reader<'_>) -> Option<Event> {
    let amount = |reader: &mut Reader<'_>| Amount::new(reader.int()?).ok();
    let did = |reader: &mut Reader<'_>| {
        let did = reader.text()?;
        (did.len() <= limits::DID_CHARS_MAX).then(|| did.to_owned())
    };
    reader.tuple(16)?;
    Some(Event::Redeemed(Redeemed {
        id: RedemptionId(reader.byte_array()?),
        tag: Tag(reader.byte_array()?),
        name: {
            reader.tuple(2)?;
            let list = u32::try_from(reader.uint()?).ok()?;
            let index = u32::try_from(reader.uint()?).ok()?;
            let name = CouponName { list, index };
            (index < limits::STATUS_LIST_LEN).then_some(name)?
        },
        batch_entry: reader.uint()?,
        leaf: reader.uint()?.try_into().ok()?,
        campaign: CampaignId(reader.byte_array()?),
        amount: amount(reader)?,
        basket_total: amount(reader)?,
        issuer: did(reader)?,
        redeemer: did(reader)?,
        place: Place::Partner {
            request_id: RedemptionId(reader.byte_array()?),
        },
        request: Digest(reader.byte_array()?),
        previous: Digest(reader.byte_array()?),
        uses_after: reader.uint()?.try_into().ok()?,
        spent_after: amount(reader)?,
        used_up: reader.bool()?,
        at: None,
        mark: Mark::Live,
    }))
}

pub(super) fn redeemed_for(body: &Value) -> Read<Event> {
    let items: &[Value; 16] = as_tuple(body, "issuer half: 16 items")?;
    let [
        id,
        tag,
        name,
        batch_entry,
        leaf,
        campaign,
        amount,
        basket_total,
        ..,
    ] = items;
    let [
        ..,
        issuer,
        redeemer,
        request_id,
        request,
        previous,
        uses,
        spent,
        used_up,
    ] = items;
    Ok(Event::Redeemed(Redeemed {
        id: read_id(id)?,
        tag: read_tag(tag)?,
        name: read_name(name)?,
        batch_entry: as_int(batch_entry, "issuer half: batch's entry")?,
        leaf: as_int(leaf, "issuer half: leaf")?,
        campaign: read_campaign(campaign)?,
        amount: read_amount(amount)?,
        basket_total: read_amount(basket_total)?,
        issuer: read_did(issuer)?,
        redeemer: read_did(redeemer)?,
        place: Place::Partner {
            request_id: read_id(request_id)?,
        },
        request: read_digest(request)?,
        previous: read_digest(previous)?,
        uses_after: as_int(uses, "issuer half: uses")?,
        spent_after: read_amount(spent)?,
        used_up: read_bool(used_up)?,
        at: None,
        mark: Mark::Live,
    }))
}

pub(super) fn reversed_for(body: &Value) -> Read<Event> {
    let items: &[Value; 17] = as_tuple(body, "issuer half of a reversal: 17 items")?;
    let [id, redemption, redemption_entry, tag, name, campaign, amount, ..] = items;
    let [.., give_back, previous, latest, uses, spent, _, _, _, _, _] = items;
    let [.., reversed, used_up, redeemer, request_id, request] = items;
    Ok(Event::Reversed(Reversed {
        id: read_id(id)?,
        redemption: read_id(redemption)?,
        redemption_entry: as_int(redemption_entry, "reversal: redemption's entry")?,
        tag: read_tag(tag)?,
        name: read_name(name)?,
        campaign: read_campaign(campaign)?,
        amount: read_amount(amount)?,
        give_back: read_bool(give_back)?,
        previous: read_digest(previous)?,
        latest_redemption_entry: as_int(latest, "reversal: latest redemption's entry")?,
        uses_after: as_int(uses, "reversal: uses")?,
        spent_after: read_amount(spent)?,
        reversed_after: read_amount(reversed)?,
        used_up: read_bool(used_up)?,
        at: None,
        partner: Some(PartnerCall {
            redeemer: read_did(redeemer)?,
            request_id: read_id(request_id)?,
            request: read_digest(request)?,
        }),
    }))
}

pub(super) fn cancelled(body: &Value) -> Read<Event> {
    let [request_id, redeemer, salt] = as_tuple(body, "cancelled request: 3 items")?;
    read_salt(salt)?;
    Ok(Event::RequestCancelled(RequestCancelled {
        request_id: read_id(request_id)?,
        redeemer: read_did(redeemer)?,
    }))
}

fn read_id(value: &Value) -> Read<RedemptionId> {
    Ok(RedemptionId(as_byte_array(value, "an identity of 16 bytes")?))
}

fn read_tag(value: &Value) -> Read<Tag> {
    Ok(Tag(as_byte_array(value, "a tag of 32 bytes")?))
}

fn read_digest(value: &Value) -> Read<Digest> {
    Ok(Digest(as_byte_array(value, "a hash of 32 bytes")?))
}

fn read_campaign(value: &Value) -> Read<CampaignId> {
    Ok(CampaignId(as_byte_array(value, "a campaign of 16 bytes")?))
}

fn read_currency(value: &Value) -> Read<Currency> {
    let what = "a currency's number";
    Currency::from_number(as_int(value, what)?).map_err(|_| GateError::Shape(what))
}

fn read_did(value: &Value) -> Read<String> {
    let did = as_text(value, "a did")?;
    if did.len() > limits::DID_CHARS_MAX {
        return Err(GateError::Shape("a did that is not too long"));
    }
    Ok(did.to_owned())
}

#[cfg(test)]
#[path = "partner_tests.rs"]
#[allow(clippy::unwrap_used)]
pub(super) mod tests;
