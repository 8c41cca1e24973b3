//! The claims map that coupons, receipts, memberships and campaigns share
//! (RFC 8392; formats, section 3): allow-listed keys, typed reading.

use std::collections::BTreeMap;

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError};
use crate::primitives::{Amount, UnixSeconds, limits};

use super::error::CredentialError;
use super::keys::PublicKey;

/// Expiry (RFC 8392 section 3.1.4).
pub const EXP: i64 = 4;
/// Not before (RFC 8392 section 3.1.5).
pub const NBF: i64 = 5;
/// Issued at (RFC 8392 section 3.1.6).
pub const IAT: i64 = 6;
/// Confirmation key (RFC 8747).
pub const CNF: i64 = 8;
/// Status (draft-ietf-oauth-status-list).
pub const STATUS: i64 = 65_535;
/// Our private claim: `[kind, …]`.
pub const CONTENT: i64 = -65_537;

const CNF_COSE_KEY: i64 = 1;
const KEY_TYPE: i64 = 1;
const KEY_TYPE_OKP: i64 = 1;
const KEY_CURVE: i64 = -1;
const KEY_CURVE_ED25519: i64 = 6;
const KEY_X: i64 = -2;

/// A claims map whose keys are all allowed.
pub struct Claims<'a> {
    map: &'a BTreeMap<Value, Value>,
}

impl<'a> Claims<'a> {
    /// Takes the payload's map if it holds no key but `allowed`.
    pub fn read(payload: &'a Value, allowed: &[i64]) -> Result<Self, CredentialError> {
        let map = cbor::as_map(payload, "the claims are a map")?;
        let known =
            |key: &Value| matches!(key, Value::Integer(n) if allowed.iter().any(|a| i128::from(*a) == *n));
        if map.keys().all(known) {
            Ok(Self { map })
        } else {
            Err(GateError::Shape("a claim that does not belong to this kind of credential").into())
        }
    }

    /// The value of a claim that may be absent.
    pub fn get(&self, key: i64) -> Option<&'a Value> {
        self.map.get(&cbor::int(key))
    }

    /// The value of a claim that has to be there.
    pub fn need(&self, key: i64) -> Result<&'a Value, GateError> {
        self.get(key).ok_or(GateError::Shape("a claim is missing"))
    }

    /// A time that has to be there.
    pub fn time(&self, key: i64) -> Result<UnixSeconds, GateError> {
        read_time(self.need(key)?)
    }

    /// A time that may be absent.
    pub fn optional_time(&self, key: i64) -> Result<Option<UnixSeconds>, GateError> {
        self.get(key).map(read_time).transpose()
    }
}

fn read_time(value: &Value) -> Result<UnixSeconds, GateError> {
    const WHAT: &str = "a time is whole seconds since 1970, up to the year 9999";
    let seconds: u64 = cbor::as_int(value, WHAT)?;
    if seconds <= limits::UNIX_SECONDS_MAX {
        Ok(UnixSeconds(seconds))
    } else {
        Err(GateError::Shape(WHAT))
    }
}

/// The kind in the private claim: its array's first item.
pub fn kind_of(payload: &Value) -> Result<u64, GateError> {
    let map = cbor::as_map(payload, "the claims are a map")?;
    let content = map
        .get(&cbor::int(CONTENT))
        .ok_or(GateError::Shape("the private claim -65537 is missing"))?;
    let first = cbor::as_array(content, "the private claim is an array")?.first();
    cbor::as_int(
        first.unwrap_or(&Value::Null),
        "the private claim begins with the kind",
    )
}

/// A time as a value.
pub fn time(at: UnixSeconds) -> Value {
    cbor::int(at.0)
}

/// An amount as a value.
pub fn amount(amount: Amount) -> Value {
    cbor::int(amount.minor_units())
}

/// Reads an amount of either sign.
pub fn read_amount(value: &Value) -> Result<Amount, GateError> {
    const WHAT: &str = "an amount is an integer of minor units within 2^53";
    Amount::new(cbor::as_int(value, WHAT)?).map_err(|_| GateError::Shape(WHAT))
}

/// Reads an amount above zero.
pub fn read_positive(value: &Value) -> Result<Amount, GateError> {
    let amount = read_amount(value)?;
    if amount > Amount::ZERO {
        Ok(amount)
    } else {
        Err(GateError::Shape("this amount has to be above zero"))
    }
}

/// Reads text of 1 to `max` bytes.
pub fn read_text(value: &Value, max: usize, what: &'static str) -> Result<String, GateError> {
    let text = cbor::as_text(value, what)?;
    if (1..=max).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(GateError::Shape(what))
    }
}

/// A holder's key as `cnf` (RFC 8747 section 3.2).
pub fn cnf(key: &PublicKey) -> Value {
    let cose_key = cbor::map([
        (cbor::int(KEY_TYPE), cbor::int(KEY_TYPE_OKP)),
        (cbor::int(KEY_CURVE), cbor::int(KEY_CURVE_ED25519)),
        (cbor::int(KEY_X), cbor::bytes(key.as_bytes())),
    ]);
    cbor::map([(cbor::int(CNF_COSE_KEY), cose_key)])
}

/// Reads `cnf`: exactly one Ed25519 COSE Key.
pub fn read_cnf(value: &Value) -> Result<PublicKey, CredentialError> {
    const WHAT: &str = "cnf holds exactly one Ed25519 COSE Key";
    let outer = cbor::as_map(value, WHAT)?;
    let key = outer
        .get(&cbor::int(CNF_COSE_KEY))
        .ok_or(GateError::Shape(WHAT))?;
    let key = cbor::as_map(key, WHAT)?;
    let x = key.get(&cbor::int(KEY_X)).ok_or(GateError::Shape(WHAT))?;
    let public = PublicKey::from_bytes(&cbor::as_byte_array(x, WHAT)?)?;
    // The one shape is the one that is written.
    if *value == cnf(&public) {
        Ok(public)
    } else {
        Err(GateError::Shape(WHAT).into())
    }
}
