//! Money and decimals: integers only.

use std::fmt;

use super::limits;

/// Why an amount or currency was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Beyond what a JSON number carries exactly.
    #[error("an amount lies between -{max} and {max} minor units", max = limits::AMOUNT_MAX)]
    OutOfRange,
    /// Not an ISO 4217 code with a minor unit.
    #[error("the currency is not an ISO 4217 code with a minor unit")]
    UnknownCurrency,
}

/// An amount in the minor unit of its currency (cents), within
/// ±[`limits::AMOUNT_MAX`]. Never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Takes a number of minor units.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`] beyond ±[`limits::AMOUNT_MAX`].
    pub fn new(minor_units: i64) -> Result<Self, AmountError> {
        if minor_units.unsigned_abs() <= limits::AMOUNT_MAX.unsigned_abs() {
            Ok(Self(minor_units))
        } else {
            Err(AmountError::OutOfRange)
        }
    }

    /// The number of minor units.
    #[must_use]
    pub fn minor_units(self) -> i64 {
        self.0
    }

    /// The sum, within range.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`].
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        self.0
            .checked_add(other.0)
            .ok_or(AmountError::OutOfRange)
            .and_then(Self::new)
    }

    /// The difference, within range.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`].
    pub fn minus(self, other: Self) -> Result<Self, AmountError> {
        self.0
            .checked_sub(other.0)
            .ok_or(AmountError::OutOfRange)
            .and_then(Self::new)
    }

    /// The sum of many amounts, within range at the end (the running sum is wider).
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, AmountError> {
        let total: i128 = amounts.into_iter().map(|a| i128::from(a.0)).sum();
        i64::try_from(total)
            .map_err(|_| AmountError::OutOfRange)
            .and_then(Self::new)
    }

    /// True below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ISO 4217 currency that has a minor unit, held by its numeric code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u16);

impl Currency {
    /// From three letters, such as `EUR`.
    ///
    /// # Errors
    /// [`AmountError::UnknownCurrency`], also for codes without a minor unit
    /// (gold, test codes).
    pub fn from_letters(letters: &str) -> Result<Self, AmountError> {
        let known = iso_currency::Currency::from_code(letters).ok_or(AmountError::UnknownCurrency)?;
        Self::known(known)
    }

    /// From the ISO 4217 number.
    ///
    /// # Errors
    /// [`AmountError::UnknownCurrency`].
    pub fn from_number(number: u16) -> Result<Self, AmountError> {
        let known = iso_currency::Currency::from_numeric(number).ok_or(AmountError::UnknownCurrency)?;
        Self::known(known)
    }

    fn known(currency: iso_currency::Currency) -> Result<Self, AmountError> {
        match currency.exponent() {
            Some(_) => Ok(Self(currency.numeric())),
            None => Err(AmountError::UnknownCurrency),
        }
    }

    fn iso(self) -> iso_currency::Currency {
        iso_currency::Currency::from_numeric(self.0).expect("checked when made")
    }

    /// The ISO 4217 number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// The ISO 4217 letters.
    #[must_use]
    pub fn letters(self) -> &'static str {
        self.iso().code()
    }

    /// Digits of the minor unit: 2 for EUR, 0 for JPY.
    #[must_use]
    pub fn exponent(self) -> u32 {
        self.iso().exponent().map_or(2, u32::from)
    }

    /// An amount as people read it: `1.44 EUR`.
    #[must_use]
    pub fn show(self, amount: Amount) -> String {
        format!("{} {}", self.decimal(amount), self.letters())
    }

    /// An amount in the currency's unit: `1.44`.
    #[must_use]
    pub fn decimal(self, amount: Amount) -> String {
        let digits = self.exponent() as usize;
        let sign = if amount.is_negative() { "-" } else { "" };
        let plain = format!(
            "{:0>width$}",
            amount.minor_units().unsigned_abs(),
            width = digits + 1
        );
        let (whole, part) = plain.split_at(plain.len() - digits);
        let point = if digits == 0 { "" } else { "." };
        format!("{sign}{whole}{point}{part}")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letters())
    }
}

/// Why a decimal was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a decimal is written like 12, -0.5 or 0.482, without exponent, spaces or needless zeros before it")]
pub struct DecimalError;

/// A decimal as a till writes it: an integer of `10^-places`, the places kept
/// as written, so that `7.00` stays `7.00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// The number times `10^places`.
    pub units: i64,
    /// Digits after the point.
    pub places: u8,
}

impl Decimal {
    /// Reads `-?(0|[1-9][0-9]*)(\.[0-9]{1,places_max})?`, at most 15 digits.
    ///
    /// # Errors
    /// [`DecimalError`] for anything else.
    pub fn parse(text: &str, places_max: u8) -> Result<Self, DecimalError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = match digits.split_once('.') {
            Some((_, "")) => return Err(DecimalError),
            Some(split) => split,
            None => (digits, ""),
        };
        let plain = !whole.is_empty()
            && (whole == "0" || !whole.starts_with('0'))
            && whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit())
            && whole.len() + part.len() <= limits::DECIMAL_DIGITS_MAX;
        let places = u8::try_from(part.len()).map_err(|_| DecimalError)?;
        if !plain || places > places_max {
            return Err(DecimalError);
        }
        // At most DECIMAL_DIGITS_MAX digits, so it fits.
        let digits = whole.bytes().chain(part.bytes());
        let units = digits.fold(0, |units, digit| units * 10 + i64::from(digit - b'0'));
        let units = if negative { -units } else { units };
        Ok(Self { units, places })
    }

    /// The number in units of `10^-places`, for `places` at least as many as written.
    #[must_use]
    pub fn scaled(self, places: u8) -> Option<i128> {
        let shift = places.checked_sub(self.places)?;
        Some(i128::from(self.units) * 10_i128.pow(u32::from(shift)))
    }
}

/// Bytes of the longest decimal that its fields could hold: a sign, a point,
/// and one digit more than it has places.
const DECIMAL_TEXT_BYTES: usize = 2 + 1 + u8::MAX as usize;

/// The same for one of at most [`SHORT_PLACES_MAX`] places.
const SHORT_TEXT_BYTES: usize = 2 + 20;

/// Places that are within the digits of the largest number anyway.
const SHORT_PLACES_MAX: u8 = 18;

impl Decimal {
    /// Gives `read` how it is written, with its places; allocates nothing.
    pub fn with_text<T>(self, read: impl FnOnce(&str) -> T) -> T {
        // Receipts hold thousands of short ones: room for the longest costs more than its digits.
        if self.places <= SHORT_PLACES_MAX {
            self.in_room(&mut [0; SHORT_TEXT_BYTES], read)
        } else {
            self.in_room(&mut [0; DECIMAL_TEXT_BYTES], read)
        }
    }

    fn in_room<T>(self, room: &mut [u8], read: impl FnOnce(&str) -> T) -> T {
        let mut start = room.len();
        let mut put = |byte| {
            start -= 1;
            room[start] = byte;
        };
        let places = u16::from(self.places);
        let (mut rest, mut written) = (self.units.unsigned_abs(), 0_u16);
        while rest > 0 || written <= places {
            if written == places && written > 0 {
                put(b'.');
            }
            put(b'0' + (rest % 10).to_le_bytes()[0]);
            rest /= 10;
            written += 1;
        }
        if self.units < 0 {
            put(b'-');
        }
        read(std::str::from_utf8(&room[start..]).expect("digits, a point and a sign"))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_stay_exact_in_json() {
        assert!(Amount::new(limits::AMOUNT_MAX).is_ok());
        assert_eq!(Amount::new(limits::AMOUNT_MAX + 1), Err(AmountError::OutOfRange));
        assert_eq!(Amount::new(i64::MIN), Err(AmountError::OutOfRange));
        let most = Amount::new(limits::AMOUNT_MAX).unwrap();
        assert_eq!(most.plus(Amount(1)), Err(AmountError::OutOfRange));
        assert_eq!(Amount::sum([most, most, Amount(-limits::AMOUNT_MAX)]), Ok(most));
    }

    #[test]
    fn currencies_need_a_minor_unit() {
        let euro = Currency::from_letters("EUR").unwrap();
        assert_eq!(euro.number(), 978);
        assert_eq!(Currency::from_number(978), Ok(euro));
        for letters in ["eur", "XXX", "XAU", "ABC", "", "EURO"] {
            assert!(Currency::from_letters(letters).is_err(), "{letters}");
        }
        assert_eq!(euro.show(Amount(-5)), "-0.05 EUR");
        assert_eq!(
            Currency::from_letters("JPY").unwrap().show(Amount(1200)),
            "1200 JPY"
        );
        assert_eq!(
            Currency::from_letters("KWD").unwrap().show(Amount(1200)),
            "1.200 KWD"
        );
    }

    #[test]
    fn decimals_are_kept_as_written() {
        for text in ["0", "7.00", "0.482", "-1.5", "89638"] {
            assert_eq!(Decimal::parse(text, 6).unwrap().to_string(), text);
        }
        for text in [
            "",
            ".5",
            "5.",
            "05",
            "1e3",
            "+1",
            " 1",
            "1.1234567",
            "--1",
            "1234567890123456",
        ] {
            assert_eq!(Decimal::parse(text, 6), Err(DecimalError), "{text}");
        }
        let least = Decimal {
            units: i64::MIN,
            places: 3,
        };
        assert_eq!(least.to_string(), "-9223372036854775.808");
        let most_places = Decimal {
            units: -1,
            places: u8::MAX,
        };
        assert_eq!(most_places.to_string().len(), DECIMAL_TEXT_BYTES);
        for places in [0, 1, 17, 18, 19, 20] {
            let least = Decimal {
                units: i64::MIN,
                places,
            };
            let text = least.to_string();
            assert_eq!(
                text.replace('.', ""),
                format!(
                    "-{}9223372036854775808",
                    "0".repeat(usize::from(places.saturating_sub(18)))
                )
            );
            assert_eq!(
                text.split_once('.').map_or(0, |(_, part)| part.len()),
                usize::from(places)
            );
        }
        assert_eq!(Decimal::parse("7.5", 2).unwrap().scaled(2), Some(750));
    }
}
