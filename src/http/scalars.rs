//! The scalars of JSON bodies (formats, section 6): integer minor units,
//! decimals as strings, ISO letters, RFC 3339 times, base64url without padding;
//! and that objects are objects.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::encoding::qr_text;
use crate::primitives::{
    Amount, CampaignId, CouponName, Currency, Decimal, Origin, Register, UnixSeconds, limits,
};

use super::problem::Problem;

/// Calls a function with a text, without a copy where the text has no escapes.
struct TextVisitor<F>(&'static str, F);

impl<T, F: FnOnce(&str) -> Result<T, String>> de::Visitor<'_> for TextVisitor<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.1(text).map_err(E::custom)
    }
}

fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    what: &'static str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(TextVisitor(what, read))
}

/// A `T` that stands as a JSON object. What serde derives takes an array too,
/// as the members in order: a till that sends one has made a mistake, and which
/// member each of its items was meant to be would be a guess.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(members))
    }
}

/// For a member: reads a `T` that stands as an object.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

/// For a member: reads a list of `T`s, each an object.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list: Vec<Object<T>> = Vec::deserialize(deserializer)?;
    Ok(list.into_iter().map(|object| object.0).collect())
}

/// For a member that may be absent: a list of `T`s, each an object.
pub fn maybe_objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list: Option<Vec<Object<T>>> = Option::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(|object| object.0).collect()))
}

/// For a member with a default: `null` is as if it were absent, as for all
/// members that may be.
pub fn null_is_absent<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An amount in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = Amount, value_type = i64, minimum = -9007199254740991i64, maximum = 9007199254740991i64, example = 144)]
pub struct Money(pub Amount);

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = i64::deserialize(deserializer)?;
        Amount::new(units).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.minor_units())
    }
}

/// The ISO 4217 letters of a currency that has a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = Currency, value_type = String, pattern = "^[A-Z]{3}$", example = "EUR")]
pub struct Letters(pub Currency);

impl<'de> Deserialize<'de> for Letters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "the letters of a currency", |letters| {
            Currency::from_letters(letters)
                .map(Self)
                .map_err(|error| error.to_string())
        })
    }
}

impl Serialize for Letters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.letters())
    }
}

/// A time: RFC 3339 with an offset; answers are in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = Time, value_type = String, format = DateTime, example = "2026-03-07T16:21:09+01:00")]
pub struct Time(pub UnixSeconds);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "an RFC 3339 time with an offset", |text| {
            read_rfc3339(text).map(Self).ok_or_else(|| {
                "a time is written as RFC 3339 has it, with an offset, such as 2026-03-07T16:21:09+01:00"
                    .to_owned()
            })
        })
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

/// The beginning of time, as dates without an offset count it: jiff's
/// timestamps end a day before the year 9999 does.
const EPOCH: jiff::civil::DateTime = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);

/// `time` as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(time: UnixSeconds) -> String {
    time.rfc3339()
}

/// Reads RFC 3339 with an offset (section 5.6, capitals only); parts of a
/// second are cut off. `None` before 1970 and for everything else.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<UnixSeconds> {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let (date_time, rest) = text.split_at_checked(shape.len())?;
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if !(1..=9).contains(&(fraction.len() - after.len())) {
                return None;
            }
            after
        }
        None => rest,
    };
    if !has_shape(shape, date_time) {
        return None;
    }
    let civil: jiff::civil::DateTime = date_time.parse().ok()?;
    let seconds = civil.duration_since(EPOCH).as_secs() - offset_seconds(offset)?;
    u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= limits::UNIX_SECONDS_MAX)
        .map(UnixSeconds)
}

/// `Z`, or sign, hours and minutes.
fn offset_seconds(offset: &str) -> Option<i64> {
    if offset == "Z" {
        return Some(0);
    }
    if !has_shape("sdd:dd", offset) {
        return None;
    }
    let hours: i64 = offset[1..3].parse().ok()?;
    let minutes: i64 = offset[4..6].parse().ok()?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Digits where the shape has `d`, a sign where it has `s`, itself elsewhere.
fn has_shape(shape: &str, text: &str) -> bool {
    shape.len() == text.len()
        && shape
            .bytes()
            .zip(text.bytes())
            .all(|(wanted, found)| match wanted {
                b'd' => found.is_ascii_digit(),
                b's' => matches!(found, b'+' | b'-'),
                literal => literal == found,
            })
}

/// A till's place in a shop.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = Register, value_type = String, min_length = 1, max_length = 19, example = "shop1-lane3")]
pub struct RegisterName(pub Register);

impl<'de> Deserialize<'de> for RegisterName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a register's name", |name| {
            Register::new(name).map(Self).map_err(|error| error.to_string())
        })
    }
}

impl Serialize for RegisterName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// The till's own reference for a call: 1 to 128 bytes on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TillReference, value_type = String, min_length = 1, max_length = 128, example = "2026-03-07/000812")]
pub struct Reference(pub String);

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a reference", |text| {
            let fits = (1..=limits::REFERENCE_BYTES_MAX).contains(&text.len());
            if fits && !text.chars().any(char::is_control) {
                Ok(Self(text.to_owned()))
            } else {
                Err("a reference is text of 1 to 128 bytes on one line".to_owned())
            }
        })
    }
}

/// A coupon's QR text, in either form.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = CouponText, value_type = String)]
pub struct CouponText(pub String);

impl<'de> Deserialize<'de> for CouponText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl CouponText {
    /// What the text says.
    pub fn parse(&self) -> Result<qr_text::QrText, Problem> {
        Ok(qr_text::parse(&self.0)?)
    }

    /// The coupon's bytes. A link has to lead to this node, `origin`.
    pub fn bytes(&self, origin: &Origin) -> Result<Vec<u8>, Problem> {
        let read = qr_text::parse(&self.0)?;
        match read.origin {
            Some(linked) if linked != *origin => Err(Problem::new(
                "coupon_link_foreign",
                format!("the code's link leads to {linked}, its issuer would be {origin}"),
            )),
            _ => Ok(read.bytes),
        }
    }
}

macro_rules! decimal {
    ($(#[$doc:meta])* $name:ident, $places:expr, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
        #[schema(value_type = String, pattern = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$", example = $example)]
        pub struct $name(pub Decimal);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text(deserializer, concat!("a decimal in a string, such as ", $example), |text| {
                    Decimal::parse(text, $places).map(Self).map_err(|error| {
                        format!("{text:?}: {error}, and with at most {} places", $places)
                    })
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
    };
}

decimal!(
    /// How much of something, up to six places.
    Quantity, limits::QUANTITY_PLACES_MAX, "0.482"
);
decimal!(
    /// The price of one unit, in the currency's major unit, up to six places.
    UnitPrice, limits::UNIT_PRICE_PLACES_MAX, "2.99"
);
decimal!(
    /// A tax rate in percent, up to two places.
    Rate, limits::RATE_PLACES_MAX, "7.00"
);

/// A campaign's id in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = CampaignId, value_type = String, example = "q0Jz9n5oYwX3hYb0o2m1Xg")]
pub struct CampaignRef(pub CampaignId);

impl<'de> Deserialize<'de> for CampaignRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a campaign's id", |id| {
            CampaignId::parse(id)
                .map(Self)
                .ok_or_else(|| "a campaign's id is 16 bytes in base64url without padding".to_owned())
        })
    }
}

impl Serialize for CampaignRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A coupon's name in office work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = CouponName, value_type = String, pattern = "^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$", example = "0-81264")]
pub struct NameOfCoupon(pub CouponName);

impl<'de> Deserialize<'de> for NameOfCoupon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a coupon's name", |name| {
            CouponName::parse(name)
                .map(Self)
                .map_err(|error| error.to_string())
        })
    }
}

impl Serialize for NameOfCoupon {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Bytes: base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9_-]*$", example = "0oRYLKMBJwRI")]
pub struct Base64Url<'a>(pub Cow<'a, [u8]>);

impl Base64Url<'static> {
    /// A copy of `bytes`.
    pub fn owned(bytes: &[u8]) -> Self {
        Self(Cow::Owned(bytes.to_vec()))
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Base64Url<'a> {
    fn from(bytes: &'a T) -> Self {
        Self(Cow::Borrowed(bytes.as_ref()))
    }
}

impl Serialize for Base64Url<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_need_an_offset_and_the_one_form() {
        for (text, seconds) in [
            ("2026-03-07T16:21:09+01:00", 1_772_896_869),
            ("2026-03-07T15:21:09Z", 1_772_896_869),
            ("2026-03-07T15:21:09.999Z", 1_772_896_869),
            ("1970-01-01T00:00:00-00:00", 0),
            ("9999-12-31T23:59:59Z", limits::UNIX_SECONDS_MAX),
        ] {
            assert_eq!(read_rfc3339(text), Some(UnixSeconds(seconds)), "{text}");
        }
        for text in [
            "",
            "2026-03-07",
            "2026-03-07T16:21:09",
            "2026-03-07 16:21:09Z",
            "2026-03-07T16:21Z",
            "2026-03-07T16:21:09+0100",
            "2026-03-07T16:21:09+01",
            "2026-03-07T16:21:09+01:00[Europe/Berlin]",
            "2026-02-30T16:21:09Z",
            "2026-03-07T24:00:00Z",
            "2026-03-07T16:21:09.Z",
            "2026-03-07T16:21:09.0000000001Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2026-03-07T16:21:09+24:00",
            "2026-03-07T16:21:09+01:60",
            "+002026-03-07T16:21:09Z",
            " 2026-03-07T16:21:09Z",
            "2026-03-07T16:21:09é",
        ] {
            assert_eq!(read_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_time_comes_back(seconds in 0..=limits::UNIX_SECONDS_MAX) {
            let time = UnixSeconds(seconds);
            prop_assert_eq!(read_rfc3339(&rfc3339(time)), Some(time));
        }
    }

    #[test]
    fn amounts_are_whole_numbers_in_range() {
        let read = |text: &str| {
            serde_json::from_str::<Money>(text)
                .ok()
                .map(|m| m.0.minor_units())
        };
        assert_eq!(read("-5"), Some(-5));
        assert_eq!(read("9007199254740991"), Some(limits::AMOUNT_MAX));
        for text in [
            "9007199254740992",
            "1e3",
            "1.0",
            "\"1\"",
            "99999999999999999999",
            "null",
            "true",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_strings_and_stay_as_written() {
        let read = |text: &str| serde_json::from_str::<Rate>(text).ok();
        assert_eq!(
            serde_json::to_string(&read("\"7.00\"").unwrap()).unwrap(),
            "\"7.00\""
        );
        for text in ["7.00", "\"7.000\"", "\"07\"", "\"7,00\"", "\"\""] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_link_has_to_lead_here() {
        let origin = Origin::parse("https://coop.example").unwrap();
        let text = |prefix: &str| CouponText(format!("{prefix}{}", qr_text::encode_digits(b"x")));
        assert_eq!(text("HTTPS://COOP.EXAMPLE/V#").bytes(&origin).unwrap(), b"x");
        assert_eq!(text(" ").bytes(&origin).unwrap(), b"x");
        let code = |text: CouponText| text.bytes(&origin).unwrap_err().row().code;
        assert_eq!(code(text("HTTPS://EVIL.EXAMPLE/V#")), "coupon_link_foreign");
        assert_eq!(code(text("junk")), "coupon_unreadable");
    }
}
