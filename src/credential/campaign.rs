//! Campaigns (formats, section 3, kind 4): the signed terms of a coupon series.

use std::collections::BTreeMap;

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError};
use crate::encoding::did;
use crate::primitives::{Amount, Currency, UnixSeconds, limits};

use super::claims::{self, CONTENT, Claims, EXP, IAT, NBF};
use super::error::CredentialError;
use super::signed::Content;

const NAME: u64 = 1;
const TEXT: u64 = 2;
const CURRENCY: u64 = 3;
const BENEFIT: u64 = 4;
const MINIMUM_BASKET: u64 = 5;
const USES_PER_COUPON: u64 = 6;
const BUDGET: u64 = 8;
const REDEEMERS: u64 = 9;
const REVERSAL_WINDOW: u64 = 14;

const BENEFIT_AMOUNT_OFF: u64 = 1;
const BENEFIT_PERCENT_OFF: u64 = 2;
const BENEFIT_STORED_VALUE: u64 = 3;

/// 100 %.
const BASIS_POINTS_MAX: u32 = 10_000;

/// What a coupon of the campaign gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benefit {
    /// An amount off the basket, above zero.
    AmountOff {
        /// The amount, unless the coupon carries its own.
        amount: Amount,
    },
    /// A percentage off the basket.
    PercentOff {
        /// Hundredths of a percent, 1 to 10,000.
        basis_points: u32,
        /// At most this much off.
        cap: Option<Amount>,
    },
    /// Value that may be spent in parts.
    StoredValue {
        /// The value, unless the coupon carries its own.
        value: Amount,
    },
}

impl Benefit {
    fn to_value(self) -> Value {
        Value::Array(match self {
            Self::AmountOff { amount } => vec![cbor::int(BENEFIT_AMOUNT_OFF), claims::amount(amount)],
            Self::PercentOff { basis_points, cap } => vec![
                cbor::int(BENEFIT_PERCENT_OFF),
                cbor::int(basis_points),
                cbor::optional(cap, claims::amount),
            ],
            Self::StoredValue { value } => vec![cbor::int(BENEFIT_STORED_VALUE), claims::amount(value)],
        })
    }

    fn read(value: &Value) -> Result<Self, GateError> {
        const WHAT: &str = "a benefit is [1, amount], [2, basis points, cap or null] or [3, value]";
        let items = cbor::as_array(value, WHAT)?;
        let kind: u64 = cbor::as_int(items.first().unwrap_or(&Value::Null), WHAT)?;
        match (kind, &items[1..]) {
            (BENEFIT_AMOUNT_OFF, [amount]) => Ok(Self::AmountOff {
                amount: claims::read_positive(amount)?,
            }),
            (BENEFIT_PERCENT_OFF, [basis_points, cap]) => {
                let basis_points = read_count(basis_points, BASIS_POINTS_MAX, WHAT)?;
                let cap = cbor::as_optional(cap, claims::read_positive)?;
                Ok(Self::PercentOff { basis_points, cap })
            }
            (BENEFIT_STORED_VALUE, [value]) => Ok(Self::StoredValue {
                value: claims::read_positive(value)?,
            }),
            _ => Err(GateError::Shape(WHAT)),
        }
    }
}

/// A campaign's terms. What this node enforces is typed; the rest is kept as
/// it came, so that the campaign can be relayed, and named by
/// [`Terms::unsupported`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The campaign's name for people, 1 to 200 bytes.
    pub name: String,
    /// What people are to know of it, up to 2,000 bytes.
    pub text: String,
    /// The currency of every amount in it and of the baskets it applies to.
    pub currency: Currency,
    /// What a coupon gives.
    pub benefit: Benefit,
    /// The least total of a basket; above zero.
    pub minimum_basket: Option<Amount>,
    /// How often a coupon can be redeemed; once if absent.
    pub uses_per_coupon: Option<u32>,
    /// What all redemptions may give together; above zero.
    pub budget: Option<Amount>,
    /// The did:web of every co-op that may redeem; the issuer alone or all, as
    /// the federation has it, if absent. Not empty.
    pub redeemers: Option<Vec<String>>,
    /// For how long a redemption can be reversed, in seconds.
    pub reversal_window_seconds: Option<u64>,
    /// Terms that this node does not enforce, by number.
    pub other: BTreeMap<u64, Value>,
}

impl Terms {
    /// Terms with the required fields, nothing else.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        text: impl Into<String>,
        currency: Currency,
        benefit: Benefit,
    ) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            currency,
            benefit,
            minimum_basket: None,
            uses_per_coupon: None,
            budget: None,
            redeemers: None,
            reversal_window_seconds: None,
            other: BTreeMap::new(),
        }
    }

    /// Whether its coupons hold a value that is spent in parts.
    #[must_use]
    pub fn is_stored_value(&self) -> bool {
        matches!(self.benefit, Benefit::StoredValue { .. })
    }

    /// The numbers of terms that this node does not enforce. Where there is
    /// one, it neither signs nor redeems (`terms_not_supported`).
    #[must_use]
    pub fn unsupported(&self) -> Vec<u64> {
        self.other.keys().copied().collect()
    }

    /// Checks what the types do not: the same rules that reading applies.
    ///
    /// # Errors
    /// [`CredentialError`] with the rule that is broken.
    pub fn check(&self) -> Result<(), CredentialError> {
        Self::read(&self.to_value()).map(|_| ())
    }

    /// The terms alone, in the form that they have in a campaign.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&self.to_value())
    }

    /// Reads what [`encode`](Self::encode) has written, by the rules for a campaign's.
    ///
    /// # Errors
    /// [`CredentialError`] with the rule that is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        Self::read(&cbor::decode(bytes, limits::CREDENTIAL_BYTES_MAX)?)
    }

    fn to_value(&self) -> Value {
        let mut pairs = vec![
            (cbor::int(NAME), cbor::text(self.name.as_str())),
            (cbor::int(TEXT), cbor::text(self.text.as_str())),
            (cbor::int(CURRENCY), cbor::int(self.currency.number())),
            (cbor::int(BENEFIT), self.benefit.to_value()),
        ];
        let redeemers = |list: &Vec<String>| Value::Array(list.iter().map(cbor::text).collect());
        let optional = [
            (MINIMUM_BASKET, self.minimum_basket.map(claims::amount)),
            (USES_PER_COUPON, self.uses_per_coupon.map(cbor::int)),
            (BUDGET, self.budget.map(claims::amount)),
            (REDEEMERS, self.redeemers.as_ref().map(redeemers)),
            (REVERSAL_WINDOW, self.reversal_window_seconds.map(cbor::int)),
        ];
        pairs.extend(
            optional
                .into_iter()
                .filter_map(|(number, value)| Some((cbor::int(number), value?))),
        );
        pairs.extend(
            self.other
                .iter()
                .map(|(number, value)| (cbor::int(*number), value.clone())),
        );
        cbor::map(pairs)
    }

    fn read(value: &Value) -> Result<Self, CredentialError> {
        let mut by_number: BTreeMap<u64, &Value> = BTreeMap::new();
        for (key, value) in cbor::as_map(value, "the terms are a map")? {
            by_number.insert(cbor::as_int(key, "terms are keyed by unsigned numbers")?, value);
        }
        let required = GateError::Shape("the terms need a name, a text, a currency and a benefit");
        let mut need = |number| by_number.remove(&number).ok_or(required.clone());
        let (name, text, currency, benefit) = (need(NAME)?, need(TEXT)?, need(CURRENCY)?, need(BENEFIT)?);
        let currency = cbor::as_int(currency, "the currency is a number")?;
        let mut take = |number| by_number.remove(&number);
        Ok(Self {
            name: claims::read_text(
                name,
                limits::CAMPAIGN_NAME_BYTES_MAX,
                "a name is text of 1 to 200 bytes",
            )?,
            text: read_long_text(text)?,
            currency: Currency::from_number(currency).map_err(|_| {
                CredentialError::Content("the currency is not an ISO 4217 code with a minor unit")
            })?,
            benefit: Benefit::read(benefit)?,
            minimum_basket: take(MINIMUM_BASKET).map(claims::read_positive).transpose()?,
            uses_per_coupon: take(USES_PER_COUPON)
                .map(|value| read_count(value, u32::MAX, "uses per coupon is a number from 1"))
                .transpose()?,
            budget: take(BUDGET).map(claims::read_positive).transpose()?,
            redeemers: take(REDEEMERS).map(read_redeemers).transpose()?,
            reversal_window_seconds: take(REVERSAL_WINDOW).map(read_window).transpose()?,
            other: by_number
                .into_iter()
                .map(|(number, value)| (number, value.clone()))
                .collect(),
        })
    }
}

fn read_count(value: &Value, max: u32, what: &'static str) -> Result<u32, GateError> {
    let count = cbor::as_int(value, what)?;
    if (1..=max).contains(&count) {
        Ok(count)
    } else {
        Err(GateError::Shape(what))
    }
}

fn read_long_text(value: &Value) -> Result<String, GateError> {
    const WHAT: &str = "a campaign's text has at most 2,000 bytes";
    let text = cbor::as_text(value, WHAT)?;
    if text.len() <= limits::CAMPAIGN_TEXT_BYTES_MAX {
        Ok(text.to_owned())
    } else {
        Err(GateError::Shape(WHAT))
    }
}

fn read_window(value: &Value) -> Result<u64, GateError> {
    const WHAT: &str = "the reversal window is a number of seconds";
    let seconds = cbor::as_int(value, WHAT)?;
    if seconds <= limits::UNIX_SECONDS_MAX {
        Ok(seconds)
    } else {
        Err(GateError::Shape(WHAT))
    }
}

fn read_redeemers(value: &Value) -> Result<Vec<String>, GateError> {
    const WHAT: &str = "redeemers are 1 to 20 did:web texts";
    let items = cbor::as_array(value, WHAT)?;
    if !(1..=limits::CAMPAIGN_REDEEMERS_MAX).contains(&items.len()) {
        return Err(GateError::Shape(WHAT));
    }
    let read = |item| {
        let text = cbor::as_text(item, WHAT)?;
        did::did_web_authority(text).map_err(|_| GateError::Shape(WHAT))?;
        Ok(text.to_owned())
    };
    items.iter().map(read).collect()
}

/// A campaign: terms that never change, and when they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// Coupons are redeemed from here, unless a coupon says otherwise.
    pub not_before: UnixSeconds,
    /// Until here, this second excluded.
    pub not_after: UnixSeconds,
    /// The terms.
    pub terms: Terms,
}

impl Content for Campaign {
    const KIND: u64 = 4;
    const NAME: &'static str = "campaign";

    fn to_value(&self) -> Value {
        let content = vec![cbor::int(Self::KIND), self.terms.to_value()];
        cbor::map([
            (cbor::int(EXP), claims::time(self.not_after)),
            (cbor::int(NBF), claims::time(self.not_before)),
            (cbor::int(IAT), claims::time(self.issued_at)),
            (cbor::int(CONTENT), Value::Array(content)),
        ])
    }

    fn read(payload: &Value) -> Result<Self, CredentialError> {
        const WHAT: &str = "a campaign's content is [4, terms]";
        let claims = Claims::read(payload, &[IAT, NBF, EXP, CONTENT])?;
        let [_, terms] = cbor::as_tuple::<2>(claims.need(CONTENT)?, WHAT)?;
        Ok(Self {
            issued_at: claims.time(IAT)?,
            not_before: claims.time(NBF)?,
            not_after: claims.time(EXP)?,
            terms: Terms::read(terms)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(minor_units: i64) -> Amount {
        Amount::new(minor_units).unwrap()
    }

    fn terms() -> Terms {
        let benefit = Benefit::AmountOff { amount: amount(500) };
        Terms::new(
            "Apple week",
            "5 EUR off",
            Currency::from_letters("EUR").unwrap(),
            benefit,
        )
    }

    fn with(number: u64, value: Value) -> Result<Terms, CredentialError> {
        let mut terms = terms();
        terms.other.insert(number, value);
        Terms::read(&terms.to_value())
    }

    #[test]
    fn terms_come_back_typed() {
        let mut full = terms();
        full.minimum_basket = Some(amount(2_000));
        full.uses_per_coupon = Some(3);
        full.budget = Some(amount(1_000_000));
        full.redeemers = Some(vec![
            "did:web:coop.example".to_owned(),
            "did:web:shop.example%3A8443".to_owned(),
        ]);
        full.reversal_window_seconds = Some(86_400);
        let cap = Some(amount(1_000));
        for benefit in [
            Benefit::AmountOff { amount: amount(1) },
            Benefit::PercentOff {
                basis_points: 1_000,
                cap,
            },
            Benefit::PercentOff {
                basis_points: 10_000,
                cap: None,
            },
            Benefit::StoredValue { value: amount(5_000) },
        ] {
            full.benefit = benefit;
            assert_eq!(Terms::read(&full.to_value()).unwrap(), full);
            assert_eq!(full.check(), Ok(()));
        }
        assert!(full.unsupported().is_empty());
    }

    #[test]
    fn what_is_not_enforced_is_kept_and_named() {
        let mut full = terms();
        for number in [7, 10, 11, 12, 13, 15, 4_000] {
            full.other.insert(number, cbor::text("as it came"));
        }
        let read = Terms::read(&full.to_value()).unwrap();
        assert_eq!(read, full);
        assert_eq!(read.unsupported(), [7, 10, 11, 12, 13, 15, 4_000]);
    }

    #[test]
    fn terms_reach_to_their_limits_and_no_further() {
        let name = |bytes| cbor::text("x".repeat(bytes));
        let redeemers = |count| Value::Array(vec![cbor::text("did:web:coop.example"); count]);
        let percent =
            |basis_points: u32| Value::Array(vec![cbor::int(2), cbor::int(basis_points), Value::Null]);
        for (number, least, most, beyond) in [
            (NAME, name(1), name(200), name(201)),
            (TEXT, name(0), name(2_000), name(2_001)),
            (BENEFIT, percent(1), percent(10_000), percent(10_001)),
            (
                USES_PER_COUPON,
                cbor::int(1),
                cbor::int(u32::MAX),
                cbor::int(1_u64 << 32),
            ),
            (REDEEMERS, redeemers(1), redeemers(20), redeemers(21)),
            (
                REVERSAL_WINDOW,
                cbor::int(0),
                cbor::int(limits::UNIX_SECONDS_MAX),
                cbor::int(limits::UNIX_SECONDS_MAX + 1),
            ),
        ] {
            assert!(with(number, least).is_ok(), "the least of {number}");
            assert!(with(number, most).is_ok(), "the most of {number}");
            assert!(with(number, beyond).is_err(), "more than the most of {number}");
        }
        for nothing in [(BENEFIT, percent(0)), (USES_PER_COUPON, cbor::int(0))] {
            assert!(with(nothing.0, nothing.1).is_err(), "nothing of {}", nothing.0);
        }
    }

    #[test]
    fn terms_that_would_not_come_back_fail_the_check() {
        let mut crooked = terms();
        crooked.redeemers = Some(vec!["https://coop.example".to_owned()]);
        assert!(crooked.check().is_err());
    }

    #[test]
    fn crooked_terms_are_refused() {
        let list = |texts: &[&str]| Value::Array(texts.iter().map(|text| cbor::text(*text)).collect());
        let many = vec!["did:web:coop.example"; 21];
        for (why, number, value) in [
            ("an empty name", 1, cbor::text("")),
            ("a long text", 2, cbor::text("x".repeat(2_001))),
            ("gold", 3, cbor::int(959)),
            (
                "an unknown benefit",
                4,
                Value::Array(vec![cbor::int(4), cbor::int(1)]),
            ),
            ("an empty benefit", 4, Value::Array(vec![])),
            ("nothing off", 4, Value::Array(vec![cbor::int(1), cbor::int(0)])),
            (
                "more than all off",
                4,
                Value::Array(vec![cbor::int(2), cbor::int(10_001), Value::Null]),
            ),
            (
                "a percentage without cap",
                4,
                Value::Array(vec![cbor::int(2), cbor::int(100)]),
            ),
            ("a negative basket", 5, cbor::int(-1)),
            ("no use", 6, cbor::int(0)),
            ("a budget of nothing", 8, cbor::int(0)),
            ("nobody", 9, list(&[])),
            ("a url", 9, list(&["https://coop.example"])),
            ("too many", 9, list(&many)),
            ("a negative window", 14, cbor::int(-1)),
        ] {
            assert!(with(number, value).is_err(), "{why}");
        }
        for missing in [NAME, TEXT, CURRENCY, BENEFIT] {
            let Value::Map(mut map) = terms().to_value() else {
                panic!("terms are a map")
            };
            map.remove(&cbor::int(missing));
            assert!(Terms::read(&Value::Map(map)).is_err(), "without {missing}");
        }
        let Value::Map(mut map) = terms().to_value() else {
            panic!("terms are a map")
        };
        map.insert(cbor::text("x"), cbor::int(1));
        assert!(Terms::read(&Value::Map(map)).is_err(), "a text key");
    }
}
