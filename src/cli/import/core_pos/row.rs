//! One row of `dtransactions`: to which transaction it belongs, and what it is
//! there.

use std::fmt;

use csv::{ByteRecord, StringRecord};
use jiff::civil::{Date, DateTime, Time};

use super::Rules;
use super::columns::Columns;
use crate::cli::import::sale::description;
use crate::cli::import::{number, rows};
use crate::credential::details::Line;
use crate::primitives::{Amount, Decimal, limits};

/// The cashier's number, and the lane's, of training and tests.
const TRAINING_EMPLOYEE: u64 = 9999;
const TRAINING_REGISTER: u64 = 99;

/// The first year whose times a receipt can have.
const FIRST_YEAR: i16 = 1970;

/// What rows of one transaction have in common within a day, but for the
/// member's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Till {
    /// The shop; 0 where it is not told.
    pub store: u64,
    /// The lane.
    pub register: u64,
    /// The cashier.
    pub employee: u64,
    /// The transaction's number.
    pub number: u64,
}

impl Till {
    /// Training and tests, by the cashier's or the lane's number.
    #[must_use]
    pub fn is_training(self) -> bool {
        self.employee == TRAINING_EMPLOYEE || self.register == TRAINING_REGISTER
    }
}

/// A transaction's key within a day.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// All but the member.
    pub till: Till,
    /// The member's number as the export has it, without blanks.
    pub card: Box<str>,
}

impl Key {
    /// The key's parts, from which the till reference is made.
    #[must_use]
    pub fn parts(&self, day: Date) -> Vec<String> {
        let Till {
            store,
            register,
            employee,
            number,
        } = self.till;
        let numbers = [store, register, employee, number].map(|number| number.to_string());
        let card = if self.card.is_empty() { "0" } else { &self.card };
        let mut parts = vec![day.to_string()];
        parts.extend(numbers);
        parts.push(card.to_owned());
        parts
    }
}

/// Where a row belongs, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To this transaction.
    Transaction(Date, Key),
    /// To one of the transactions of this day, lane, cashier and number.
    Till(Date, Till),
    /// It cannot be told.
    Nowhere,
}

impl Place {
    /// The day, where it is known.
    #[must_use]
    pub fn day(&self) -> Option<Date> {
        match self {
            Self::Transaction(day, _) | Self::Till(day, _) => Some(*day),
            Self::Nowhere => None,
        }
    }
}

/// What a row is in its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An article.
    Item(Box<Line>),
    /// An amount rung to a department.
    OpenRing(Box<Line>),
    /// A discount.
    Discount(Box<Line>),
    /// A tender, with the shop's code.
    Tender(Box<str>),
    /// The tax of the whole.
    Tax,
    /// Shown on the screen only.
    Screen,
    /// Left out of reports by its status.
    LeftOut,
    /// Of a type or status that is not known, with an amount: a sentence.
    Unknown(Box<str>),
}

/// A row that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its line in the file.
    pub line: u64,
    /// Its place in the transaction.
    pub trans_id: u64,
    /// Its time on the shop's clock.
    pub at: DateTime,
    /// What the customer pays for it.
    pub total: Amount,
    /// What it is.
    pub what: What,
    /// Its whole transaction was cancelled.
    pub cancelled: bool,
    /// It takes another line back.
    pub void: bool,
    /// Its amount was rounded to the minor unit.
    pub rounded: bool,
    /// Its description was cut.
    pub cut: bool,
}

/// Where a row belongs, read from as little of it as that takes.
#[must_use]
pub fn place(record: &ByteRecord, columns: &Columns, rules: &Rules) -> Place {
    let text = |place: usize| std::str::from_utf8(record.get(place)?).ok().map(str::trim);
    let number = |place: usize| text(place).and_then(whole);
    let till = || {
        Some(Till {
            store: match columns.store {
                Some(place) => number(place)?,
                None => rules.store_id,
            },
            register: number(columns.register)?,
            employee: number(columns.employee)?,
            number: number(columns.number)?,
        })
    };
    let day = text(columns.datetime).and_then(|text| time(text, rules.year).ok());
    let (Some(day), Some(till)) = (day.map(DateTime::date), till()) else {
        return Place::Nowhere;
    };
    // What stands after a description cannot be trusted in a row of another width.
    match text(columns.card) {
        Some(card) if record.len() == columns.due => Place::Transaction(
            day,
            Key {
                till,
                card: unwritten(card).into(),
            },
        ),
        _ => Place::Till(day, till),
    }
}

/// Reads a row.
///
/// # Errors
/// A sentence.
pub fn read(record: &mut ByteRecord, columns: &Columns, rules: &Rules) -> Result<Row, String> {
    let line = record.position().map_or(0, csv::Position::line);
    let record = rows::text(record, columns.due, rules.encoding)
        .map_err(|error| error.replace("another one?", "another one? (--encoding latin1)"))?;
    let field = |place: usize| unwritten(record.get(place).unwrap_or_default().trim());
    for (name, place) in [
        ("register_no", columns.register),
        ("emp_no", columns.employee),
        ("trans_no", columns.number),
    ] {
        need(name, field(place))?;
    }
    if let Some(place) = columns.store {
        need("store_id", field(place))?;
    }
    let total = match field(columns.total) {
        "" => number::Money {
            amount: Amount::ZERO,
            fits: true,
        },
        text => number::money(text, rules.currency.exponent(), false)
            .map_err(|error| format!("total: {error}"))?,
    };
    let status = field(columns.status);
    let mut row = Row {
        line,
        trans_id: need("trans_id", field(columns.trans_id))?,
        at: time(field(columns.datetime), rules.year)?,
        total: total.amount,
        what: What::Screen,
        cancelled: status == "X",
        void: status == "V",
        rounded: !total.fits,
        cut: false,
    };
    row.what = what(&mut row, &record, columns)?;
    Ok(row)
}

fn need(name: &str, text: &str) -> Result<u64, String> {
    whole(text).ok_or_else(|| format!("{name}: {text:?} is not a whole number"))
}

/// What a row is: the data's own description of its codes, in docs/import.md.
fn what(row: &mut Row, record: &StringRecord, columns: &Columns) -> Result<What, String> {
    let field = |place: usize| unwritten(record.get(place).unwrap_or_default().trim());
    let (kind, subtype) = (field(columns.kind), field(columns.subtype));
    let no_amount = row.total == Amount::ZERO;
    match field(columns.status) {
        "" | "0" | "X" | "R" | "V" | "M" | "C" => {}
        "D" | "Z" => return Ok(What::LeftOut),
        _ if no_amount => return Ok(What::Screen),
        other => return Ok(What::Unknown(format!("trans_status {other:?}").into())),
    }
    match (kind, subtype) {
        // In older data a coupon is a tender whatever its type; but the shop's
        // own coupons are items, taken off the goods.
        (_, "CP") => return Ok(What::Tender(subtype.into())),
        (other, "IC") if other != "I" => return Ok(What::Tender(subtype.into())),
        _ => {}
    }
    let upc = field(columns.upc);
    let found = match kind {
        "I" if upc == "0" => What::Screen,
        "I" if upc == "DISCOUNT" => What::Discount(line(row, record, columns, "Discount")?),
        "I" => What::Item(line(row, record, columns, &format!("upc {upc}"))?),
        "D" => {
            let department = format!("department {}", field(columns.department));
            What::OpenRing(line(row, record, columns, &department)?)
        }
        "S" => What::Discount(line(row, record, columns, "Discount")?),
        "T" => What::Tender(subtype.into()),
        "A" => What::Tax,
        "C" | "0" => What::Screen,
        _ if no_amount => What::Screen,
        other => What::Unknown(format!("trans_type {other:?}").into()),
    };
    Ok(found)
}

fn line(row: &mut Row, record: &StringRecord, columns: &Columns, unnamed: &str) -> Result<Box<Line>, String> {
    let field = |place: usize| unwritten(record.get(place).unwrap_or_default().trim());
    let decimal = |name: &str, place: usize, places_max: u8| match field(place) {
        "" => Ok(None),
        text => number::decimal(text, places_max, false)
            .map(Some)
            .map_err(|error| format!("{name}: {error}")),
    };
    let one = Decimal { units: 1, places: 0 };
    let (name, cut) = description(field(columns.description));
    row.cut = cut;
    // A price of a fraction of a cent that never ends is no price to show; what
    // is no number at all is a sign that the row is broken.
    let unit_price = match decimal("unitPrice", columns.unit_price, limits::UNIT_PRICE_PLACES_MAX) {
        Err(error) if number::money(field(columns.unit_price), 2, false).is_err() => return Err(error),
        read => read.unwrap_or_default(),
    };
    Ok(Box::new(Line {
        description: if name.is_empty() { unnamed.to_owned() } else { name },
        quantity: decimal("quantity", columns.quantity, limits::QUANTITY_PLACES_MAX)?.unwrap_or(one),
        unit: None,
        unit_price,
        total: row.total,
        tax_rate: None,
    }))
}

/// MySQL writes `\N` for nothing.
fn unwritten(text: &str) -> &str {
    if text == "\\N" { "" } else { text }
}

/// A whole number that is not negative.
#[must_use]
pub fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The year of a time, where it looks like one.
#[must_use]
pub fn year(text: &str) -> Option<i16> {
    let (year, rest) = text.split_once('-')?;
    let plain = year.len() == 4 && rest.len() >= 5;
    plain.then(|| whole(year)).flatten()?.try_into().ok()
}

/// Why a time cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTime {
    /// It is none.
    NotATime,
    /// It lies before 1970, and no year was given for such times.
    TooEarly,
}

impl fmt::Display for BadTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotATime => "is not a time such as 2026-03-07 16:21:09",
            Self::TooEarly => {
                "lies before 1970; where an export's years were replaced, --year gives the right one"
            }
        })
    }
}

fn time(text: &str, year: Option<i16>) -> Result<DateTime, String> {
    moment(text, year).map_err(|bad| format!("datetime: {text:?} {bad}"))
}

/// Reads a local time; one before 1970 is put into `year`.
///
/// # Errors
/// [`BadTime`].
pub fn moment(text: &str, year: Option<i16>) -> Result<DateTime, BadTime> {
    let read = || -> Option<(i16, i8, i8, Time)> {
        let (date, time) = text.split_once([' ', 'T'])?;
        let written = self::year(text)?;
        let mut parts = date.split('-').skip(1).map(str::parse::<i8>);
        let (month, day) = (parts.next()?.ok()?, parts.next()?.ok()?);
        if parts.next().is_some() {
            return None;
        }
        Some((written, month, day, time.trim().parse().ok()?))
    };
    let (written, month, day, time) = read().ok_or(BadTime::NotATime)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(BadTime::NotATime);
    }
    let due = match year {
        _ if written >= FIRST_YEAR => written,
        Some(year) => year,
        None => return Err(BadTime::TooEarly),
    };
    let date = Date::new(due, month, day).map_err(|_| BadTime::NotATime)?;
    Ok(date.to_datetime(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_put_into_the_year_that_is_given() {
        let read = |text, year| moment(text, year).map(|at| at.to_string());
        assert_eq!(read("2026-03-07 16:21:09", None).unwrap(), "2026-03-07T16:21:09");
        assert_eq!(
            read("2026-03-07 16:21:09", Some(2013)).unwrap(),
            "2026-03-07T16:21:09"
        );
        assert_eq!(
            read("1900-07-02 07:10:58", Some(2013)).unwrap(),
            "2013-07-02T07:10:58"
        );
        // A leap day whose year was replaced by one without.
        assert_eq!(
            read("1900-02-29 07:10", Some(2012)).unwrap(),
            "2012-02-29T07:10:00"
        );
        assert_eq!(read("1900-07-02 07:10:58", None), Err(BadTime::TooEarly));
        for bad in [
            "",
            "0000-00-00 00:00:00",
            "1900-02-30 07:10:58",
            "2026-03-07",
            "7/2/2026 10:00",
            "2026-13-07 10:00:00",
            "2026-03-07 25:00:00",
        ] {
            assert_eq!(read(bad, Some(2013)), Err(BadTime::NotATime), "{bad}");
        }
    }

    #[test]
    fn whole_numbers_are_digits() {
        assert_eq!(whole("0101"), Some(101));
        for bad in ["", "-1", "1.0", "+1", " 1", "99999999999999999999", "٣"] {
            assert_eq!(whole(bad), None, "{bad}");
        }
    }
}
