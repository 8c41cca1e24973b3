//! Any till's export, read as a mapping file says.

use std::sync::Arc;

use anyhow::Context as _;
use csv::StringRecord;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::complete_journey::{TENDER_NOT_RECORDED, column};
use super::mapping::{Bound, Field, Mapping, optional};
use super::number;
use super::rows::{Before, Encoding, Fields, Layout};
use super::sale::{Head, Row, Rules, description};
use super::zone::When;
use crate::credential::ReceiptKind;
use crate::credential::details::Line;
use crate::primitives::{Currency, limits};

/// A mapping whose columns were found in a file's header.
pub struct AnyTill {
    rules: Rules,
    encoding: Encoding,
    comma: bool,
    columns: usize,
    key: Vec<(String, usize)>,
    time: Vec<(String, usize)>,
    time_format: Option<String>,
    register: Option<Bound>,
    register_for_all: Option<String>,
    currency: Bound,
    kind: Option<Bound>,
    tender: Option<Bound>,
    member: Option<Bound>,
    cashier: Option<Bound>,
    description: Bound,
    quantity: Option<Bound>,
    unit: Option<Bound>,
    unit_price: Option<Bound>,
    total: Bound,
    tax_rate: Option<Bound>,
}

impl AnyTill {
    /// Finds the mapping's columns. `register`, of the command line, goes
    /// before the mapping's.
    ///
    /// # Errors
    /// Names a column that is missing, and what else the mapping lacks.
    pub fn new(
        mapping: &Mapping,
        header: &StringRecord,
        zone: TimeZone,
        register: Option<String>,
    ) -> anyhow::Result<Self> {
        check_name(&mapping.name)?;
        if mapping.receipt.key.is_empty() || mapping.receipt.time.columns.is_empty() {
            anyhow::bail!(
                "receipt.key and receipt.time.columns in the mapping name at least one column each"
            );
        }
        if mapping.receipt.register.is_none() && register.is_none() {
            anyhow::bail!("the mapping has no receipt.register; add it, or give --register NAME");
        }
        let bind = |name: &str, field: &Field| field.bind(name, header);
        let maybe = |name: &str, field: &Option<Field>| -> anyhow::Result<Option<Bound>> {
            field.as_ref().map(|field| field.bind(name, header)).transpose()
        };
        let places = |name: &str, columns: &[String]| -> anyhow::Result<Vec<(String, usize)>> {
            let place = |text: &String| {
                let place = column(header, text).with_context(|| format!("{name} in the mapping"))?;
                Ok((text.clone(), place))
            };
            columns.iter().map(place).collect()
        };
        let (receipt, line) = (&mapping.receipt, &mapping.line);
        Ok(Self {
            rules: Rules {
                name: format!("csv/{}", mapping.name),
                prices_include_tax: mapping.prices_include_tax,
                times_may_differ: true,
                zone,
            },
            encoding: mapping.file.encoding,
            comma: mapping.file.decimal_comma,
            columns: header.len(),
            key: places("receipt.key", &receipt.key)?,
            time: places("receipt.time", &receipt.time.columns)?,
            time_format: receipt.time.format.clone(),
            register: maybe("receipt.register", &receipt.register)?,
            register_for_all: register,
            currency: bind("receipt.currency", &receipt.currency)?,
            kind: maybe("receipt.type", &receipt.kind)?,
            tender: maybe("receipt.tender", &receipt.tender)?,
            member: maybe("receipt.member", &receipt.member)?,
            cashier: maybe("receipt.cashier", &receipt.cashier)?,
            description: bind("line.description", &line.description)?,
            quantity: maybe("line.quantity", &line.quantity)?,
            unit: maybe("line.unit", &line.unit)?,
            unit_price: maybe("line.unit_price", &line.unit_price)?,
            total: bind("line.total", &line.total)?,
            tax_rate: maybe("line.tax_rate", &line.tax_rate)?,
        })
    }

    fn when(&self, record: Fields<'_>) -> Result<When, String> {
        let parts: Vec<&str> = self
            .time
            .iter()
            .filter_map(|(_, place)| record.get(*place))
            .map(str::trim)
            .collect();
        let text = parts.join(" ");
        let read = match &self.time_format {
            Some(format) => with_format(format, &text),
            None => without_format(&text),
        };
        read.ok_or_else(|| {
            let due = self.time_format.as_deref().unwrap_or("2026-03-07T16:21:09+01:00");
            format!("receipt.time: {text:?} is not a time of the form {due}")
        })
    }

    fn head(&self, record: Fields<'_>) -> Result<Head, String> {
        let register = match (&self.register_for_all, &self.register) {
            (Some(name), _) => name.clone(),
            (None, Some(field)) => field.need(record)?,
            (None, None) => return Err("receipt.register is missing".to_owned()),
        };
        let letters = self.currency.need(record)?;
        let kind = match optional(self.kind.as_ref(), record)? {
            Some(word) => Some(
                ReceiptKind::from_word(&word)
                    .ok_or_else(|| format!("receipt.type: {word:?} is no type of receipt"))?,
            ),
            None => None,
        };
        Ok(Head {
            register,
            currency: Currency::from_letters(&letters)
                .map_err(|error| format!("receipt.currency: {letters:?}: {error}"))?,
            kind,
            tender: optional(self.tender.as_ref(), record)?.unwrap_or_else(|| TENDER_NOT_RECORDED.to_owned()),
            member: optional(self.member.as_ref(), record)?,
            cashier: optional(self.cashier.as_ref(), record)?,
        })
    }
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = (1..=limits::IMPORT_NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain {
        Ok(())
    } else {
        anyhow::bail!(
            "name in the mapping has 1 to {} letters, digits, '-', '_' or '.'",
            limits::IMPORT_NAME_CHARS_MAX
        )
    }
}

fn with_format(format: &str, text: &str) -> Option<When> {
    let broken_down = strtime::parse(format, text).ok()?;
    match broken_down.offset() {
        Some(_) => broken_down.to_timestamp().ok().map(When::Exact),
        None => broken_down.to_datetime().ok().map(When::Local),
    }
}

fn without_format(text: &str) -> Option<When> {
    let exact = text.parse::<jiff::Timestamp>().ok().map(When::Exact);
    exact.or_else(|| text.parse::<DateTime>().ok().map(When::Local))
}

impl Layout for AnyTill {
    fn rules(&self) -> &Rules {
        &self.rules
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn key(&self, record: Fields<'_>) -> Result<Vec<String>, String> {
        let part = |(name, place): &(String, usize)| match record.get(*place).map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(format!("receipt.key: {name} is empty")),
        };
        self.key.iter().map(part).collect()
    }

    fn row(&self, record: Fields<'_>, _: Option<Before<'_>>) -> Result<Row, String> {
        let head = self.head(record)?;
        let exponent = head.currency.exponent();
        let decimal = |field: &Option<Bound>, name: &str, places_max: u8| {
            optional(field.as_ref(), record)?
                .map(|text| number::decimal(&text, places_max, self.comma))
                .transpose()
                .map_err(|error| format!("{name}: {error}"))
        };
        let total = number::money(&self.total.need(record)?, exponent, self.comma)
            .map_err(|error| format!("line.total: {error}"))?;
        let unit = optional(self.unit.as_ref(), record)?;
        if unit
            .as_ref()
            .is_some_and(|unit| unit.len() > limits::UNIT_BYTES_MAX)
        {
            return Err(format!(
                "line.unit has more than {} bytes",
                limits::UNIT_BYTES_MAX
            ));
        }
        let one = number::decimal("1", 0, false)?;
        let quantity = decimal(&self.quantity, "line.quantity", limits::QUANTITY_PLACES_MAX)?.unwrap_or(one);
        let unit_price = match &self.unit_price {
            Some(_) => decimal(&self.unit_price, "line.unit_price", limits::UNIT_PRICE_PLACES_MAX)?,
            None => number::unit_price(total.amount, quantity, exponent),
        };
        let (description, cut) = description(&self.description.need(record)?);
        if description.is_empty() {
            return Err("line.description is empty".to_owned());
        }
        Ok(Row {
            when: self.when(record)?,
            line: Line {
                description,
                quantity,
                unit,
                unit_price,
                total: total.amount,
                tax_rate: decimal(&self.tax_rate, "line.tax_rate", limits::RATE_PLACES_MAX)?,
            },
            head: Arc::new(head),
            rounded: !total.fits,
            cut,
        })
    }
}
