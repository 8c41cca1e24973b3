//! Numbers as tills export them: exact, never through floats.

use crate::primitives::{Amount, Decimal, limits};

/// Longest number that is looked at: floats printed in full have up to 20
/// digits and a point, tills pad with zeros.
const NUMBER_CHARS_MAX: usize = 64;

/// An amount, and whether it was written in whole minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The amount, rounded half away from zero where it did not fit.
    pub amount: Amount,
    /// False where it had to be rounded.
    pub fits: bool,
}

/// Sign, whole digits and digits after the point.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    part: &'a str,
}

fn split(text: &str, comma: bool) -> Result<Parts<'_>, String> {
    let text = text.trim();
    let refuse = || {
        let example = if comma { "1234,50" } else { "1234.50" };
        format!("{text:?} is not a number such as {example}")
    };
    if text.len() > NUMBER_CHARS_MAX {
        return Err(format!(
            "a number of {} characters, at most {NUMBER_CHARS_MAX} are read",
            text.len()
        ));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let point = if comma { ',' } else { '.' };
    let (whole, part) = digits.split_once(point).unwrap_or((digits, ""));
    let plain = whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit());
    if !plain || whole.len() + part.len() == 0 {
        return Err(refuse());
    }
    Ok(Parts {
        negative,
        whole: whole.trim_start_matches('0'),
        part: part.trim_end_matches('0'),
    })
}

/// Reads an amount in the major unit of a currency with `exponent` digits
/// after the point.
///
/// # Errors
/// A sentence, for what is no number and for amounts out of range.
pub fn money(text: &str, exponent: u32, comma: bool) -> Result<Money, String> {
    let parts = split(text, comma)?;
    let places = exponent as usize;
    let kept = &parts.part[..parts.part.len().min(places)];
    let rest = &parts.part[kept.len()..];
    let missing = std::iter::repeat_n(b'0', places - kept.len());
    let mut minor = parts.whole.bytes().chain(kept.bytes()).chain(missing);
    // Read digit by digit: there are millions of them, and a text of them is not needed.
    let minor = minor.try_fold(0_i64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
    });
    let minor = minor.ok_or_else(|| format!("{text:?} is too large an amount"))?;
    // Half away from zero, as tills round.
    let up = rest.starts_with(|first: char| first >= '5');
    let minor = minor.saturating_add(i64::from(up));
    let amount =
        Amount::new(if parts.negative { -minor } else { minor }).map_err(|error| error.to_string())?;
    Ok(Money {
        amount,
        fits: rest.is_empty(),
    })
}

/// Reads a decimal of at most `places_max` places, and writes it as the node
/// does: without needless zeros before it, a point, no plus.
///
/// # Errors
/// A sentence.
pub fn decimal(text: &str, places_max: u8, comma: bool) -> Result<Decimal, String> {
    // Most are written as the node does already.
    if let Some(decimal) = (!comma)
        .then(|| Decimal::parse(text.trim(), places_max).ok())
        .flatten()
    {
        return Ok(decimal);
    }
    let parts = split(text, comma)?;
    // Zeros after the point are kept as written, as far as they fit.
    let written = text.trim().split_once(if comma { ',' } else { '.' });
    let part = match written {
        Some((_, written)) if written.len() <= usize::from(places_max) => written,
        _ => parts.part,
    };
    let whole = if parts.whole.is_empty() { "0" } else { parts.whole };
    let sign = if parts.negative { "-" } else { "" };
    let point = if part.is_empty() { "" } else { "." };
    Decimal::parse(&format!("{sign}{whole}{point}{part}"), places_max).map_err(|_| {
        format!(
            "{text:?} has more than {} digits, or more than {places_max} after the point",
            limits::DECIMAL_DIGITS_MAX
        )
    })
}

/// The price of one unit, where quantity divides the total exactly; `None`
/// otherwise, for a price that is not exact is not a price.
pub fn unit_price(total: Amount, quantity: Decimal, exponent: u32) -> Option<Decimal> {
    if quantity.units == 0 {
        return None;
    }
    let scale = 10_i64.checked_pow(u32::from(quantity.places))?;
    let scaled = total.minor_units().checked_mul(scale)?;
    (scaled % quantity.units == 0).then_some(Decimal {
        units: scaled / quantity.units,
        places: u8::try_from(exponent).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cents(text: &str) -> (i64, bool) {
        let money = money(text, 2, false).unwrap();
        (money.amount.minor_units(), money.fits)
    }

    #[test]
    fn amounts_are_exact_or_rounded_and_said_so() {
        for (text, expected) in [
            ("0.50", (50, true)),
            ("1.5", (150, true)),
            ("-3", (-300, true)),
            (".05", (5, true)),
            ("5.", (500, true)),
            ("0001.2300", (123, true)),
            ("-0.00", (0, true)),
            ("1.005", (101, false)),
            ("1.0049", (100, false)),
            ("-1.005", (-101, false)),
            ("2.9999999999999996", (300, false)),
            ("+7.10", (710, true)),
        ] {
            assert_eq!(cents(text), expected, "{text}");
        }
        assert_eq!(money("12,5", 2, true).unwrap().amount.minor_units(), 1250);
        assert_eq!(money("1200", 0, false).unwrap().amount.minor_units(), 1200);
        assert_eq!(money("0.9", 0, false).unwrap().amount.minor_units(), 1);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", ".", "-", "1e3", "1,000.00", "1 000", "NaN", "--1", "1.2.3", "€1", "٣",
        ] {
            assert!(money(text, 2, false).is_err(), "{text}");
            assert!(decimal(text, 6, false).is_err(), "{text}");
        }
        assert!(money("99999999999999999999", 2, false).is_err());
        assert!(money(&"1".repeat(65), 2, false).is_err());
    }

    #[test]
    fn decimals_keep_their_zeros() {
        for (text, expected) in [
            ("1", "1"),
            ("0.482", "0.482"),
            ("7.00", "7.00"),
            ("007", "7"),
            (".5", "0.5"),
            ("2.", "2"),
            ("1.50000000000", "1.5"),
            ("-1.250", "-1.250"),
        ] {
            assert_eq!(decimal(text, 6, false).unwrap().to_string(), expected, "{text}");
        }
        assert!(decimal("1.1234567", 6, false).is_err());
        assert_eq!(decimal("1,5", 6, true).unwrap().to_string(), "1.5");
    }

    #[test]
    fn unit_prices_only_where_they_are_exact() {
        let price = |total, quantity| {
            unit_price(
                Amount::new(total).unwrap(),
                decimal(quantity, 6, false).unwrap(),
                2,
            )
            .map(|price| price.to_string())
        };
        assert_eq!(price(300, "2"), Some("1.50".to_owned()));
        assert_eq!(price(100, "3"), None);
        assert_eq!(price(100, "0"), None);
        assert_eq!(price(0, "4"), Some("0.00".to_owned()));
        assert_eq!(price(150, "0.5"), Some("3.00".to_owned()));
        assert_eq!(price(-200, "-2"), Some("1.00".to_owned()));
    }

    proptest! {
        #[test]
        fn cents_round_trip(minor in -limits::AMOUNT_MAX..=limits::AMOUNT_MAX) {
            let sign = if minor < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:02}", minor.abs() / 100, minor.abs() % 100);
            prop_assert_eq!(cents(&text), (minor, true));
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = money(&text, 2, false);
            let _ = decimal(&text, 6, true);
        }
    }
}
