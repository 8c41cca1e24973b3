//! The strict CBOR gate: the only way in for CBOR from outside, and the only
//! way out.
//!
//! In scope: RFC 8949 section 4.2.1 (core deterministic encoding) by
//! re-encoding, typed walks over the decoded value. Out of scope: floats, tags
//! other than those a caller asks for.
//!
//! `serde_cbor` decodes leniently: last-wins duplicate keys, non-shortest
//! integers, unsorted maps and indefinite lengths all pass. [`decode`] closes
//! every one of these at once by demanding that the decoded value encodes to
//! the very bytes that came in.

use serde_cbor::Value;

/// Why bytes did not pass the gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Longer than the caller allows.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not one complete CBOR item.
    #[error("not well-formed CBOR")]
    NotCbor,
    /// Well-formed, but not the one deterministic encoding of its value.
    #[error("not deterministic CBOR (RFC 8949 section 4.2.1)")]
    NotDeterministic,
    /// The value is not of the form that is expected here.
    #[error("{0}")]
    Shape(&'static str),
}

/// Passes `input` through the gate: length cap, decoding, and the demand that
/// it is the deterministic encoding of what was decoded.
///
/// # Errors
/// [`GateError`], never a panic, for whatever bytes.
pub fn decode(input: &[u8], max: usize) -> Result<Value, GateError> {
    if input.len() > max {
        return Err(GateError::TooLong {
            len: input.len(),
            max,
        });
    }
    let value: Value = serde_cbor::from_slice(input).map_err(|_| GateError::NotCbor)?;
    if contains_float(&value) {
        return Err(GateError::NotDeterministic);
    }
    if encode(&value) == input {
        Ok(value)
    } else {
        Err(GateError::NotDeterministic)
    }
}

/// The deterministic encoding of `value`.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    serde_cbor::to_vec(value).expect("a value in memory encodes")
}

fn contains_float(value: &Value) -> bool {
    match value {
        Value::Float(_) => true,
        Value::Array(items) => items.iter().any(contains_float),
        Value::Map(map) => map.iter().any(|(k, v)| contains_float(k) || contains_float(v)),
        Value::Tag(_, inner) => contains_float(inner),
        _ => false,
    }
}

/// An unsigned or negative integer.
#[must_use]
pub fn int(number: impl Into<i128>) -> Value {
    Value::Integer(number.into())
}

/// A byte string.
#[must_use]
pub fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bytes(bytes.as_ref().to_vec())
}

/// A text string.
#[must_use]
pub fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// `value` or null.
#[must_use]
pub fn optional<T>(value: Option<T>, encode: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Null, encode)
}

/// A map of the given pairs.
#[must_use]
pub fn map(pairs: impl IntoIterator<Item = (Value, Value)>) -> Value {
    Value::Map(pairs.into_iter().collect())
}

/// The integer in `value`, within the range of `T`.
///
/// # Errors
/// [`GateError::Shape`] with `what`.
pub fn as_int<T: TryFrom<i128>>(value: &Value, what: &'static str) -> Result<T, GateError> {
    match value {
        Value::Integer(number) => T::try_from(*number).map_err(|_| GateError::Shape(what)),
        _ => Err(GateError::Shape(what)),
    }
}

/// The text in `value`.
///
/// # Errors
/// [`GateError::Shape`] with `what`.
pub fn as_text<'a>(value: &'a Value, what: &'static str) -> Result<&'a str, GateError> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(GateError::Shape(what)),
    }
}

/// The byte string in `value`.
///
/// # Errors
/// [`GateError::Shape`] with `what`.
pub fn as_bytes<'a>(value: &'a Value, what: &'static str) -> Result<&'a [u8], GateError> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(GateError::Shape(what)),
    }
}

/// The byte string of exactly `N` bytes in `value`.
///
/// # Errors
/// [`GateError::Shape`] with `what`.
pub fn as_byte_array<const N: usize>(value: &Value, what: &'static str) -> Result<[u8; N], GateError> {
    as_bytes(value, what)?
        .try_into()
        .map_err(|_| GateError::Shape(what))
}

/// The items of the array in `value`.
///
/// # Errors
/// [`GateError::Shape`] with `what`.
pub fn as_array<'a>(value: &'a Value, what: &'static str) -> Result<&'a [Value], GateError> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(GateError::Shape(what)),
    }
}

/// The items of the array of exactly `N` items in `value`.
///
/// # Errors
/// [`GateError::Shape`] with `what`.
pub fn as_tuple<'a, const N: usize>(
    value: &'a Value,
    what: &'static str,
) -> Result<&'a [Value; N], GateError> {
    as_array(value, what)?
        .try_into()
        .map_err(|_| GateError::Shape(what))
}

/// The map in `value`.
///
/// # Errors
/// [`GateError::Shape`] with `what`.
pub fn as_map<'a>(
    value: &'a Value,
    what: &'static str,
) -> Result<&'a std::collections::BTreeMap<Value, Value>, GateError> {
    match value {
        Value::Map(map) => Ok(map),
        _ => Err(GateError::Shape(what)),
    }
}

/// `None` for null, otherwise what `read` makes of the value.
///
/// # Errors
/// Those of `read`.
pub fn as_optional<T>(
    value: &Value,
    read: impl FnOnce(&Value) -> Result<T, GateError>,
) -> Result<Option<T>, GateError> {
    match value {
        Value::Null => Ok(None),
        value => read(value).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn deterministic_bytes_pass_and_come_back_the_same() {
        for text in ["00", "1818", "3903e7", "a0", "a201020304", "d280", "83f4f5f6"] {
            let input = hex(text);
            let value = decode(&input, 64).unwrap();
            assert_eq!(encode(&value), input, "{text}");
        }
    }

    #[test]
    fn every_leniency_of_the_library_is_closed() {
        for (text, why) in [
            ("1801", "non-shortest integer"),
            ("5801aa", "non-shortest length"),
            ("a201020103", "duplicate key"),
            ("a20102180103", "duplicate key in another form"),
            ("a203040102", "unsorted keys"),
            ("9f01ff", "indefinite array"),
            ("bf0102ff", "indefinite map"),
            ("5f4101ff", "indefinite bytes"),
            ("0000", "trailing bytes"),
            ("f93c00", "float"),
            ("fb3ff0000000000000", "double"),
            ("f7", "undefined"),
            ("f83b", "simple value"),
            ("6180", "wrong UTF-8"),
            ("82", "truncated"),
            ("", "nothing"),
            ("9b7fffffffffffffff", "a huge declared length"),
            ("d80018", "a padded tag"),
        ] {
            assert!(decode(&hex(text), 64).is_err(), "{why}");
        }
        let deep = vec![0x81; 10_000];
        assert!(decode(&deep, 20_000).is_err());
        assert_eq!(decode(&[0; 3], 2), Err(GateError::TooLong { len: 3, max: 2 }));
    }

    #[test]
    fn map_keys_sort_by_their_encodings() {
        let value = map([
            (int(-1), int(1)),
            (int(1), int(2)),
            (int(256), int(3)),
            (text("a"), int(4)),
        ]);
        assert_eq!(encode(&value), hex("a40102190100032001616104"));
    }
}
