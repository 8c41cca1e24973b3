//! The mapping file of `import csv`: which columns of any till's export say
//! what. docs/import.md explains every member.

use std::collections::BTreeMap;

use anyhow::Context as _;
use csv::StringRecord;
use serde::Deserialize;

use super::rows::{Encoding, Fields};

/// A mapping file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The export's name: receipts are told apart by it and their key.
    pub name: String,
    /// Whether amounts include tax.
    #[serde(default = "yes")]
    pub prices_include_tax: bool,
    /// The zone of local times, unless the command line says another.
    pub time_zone: Option<String>,
    /// How the file is written.
    #[serde(default)]
    pub file: Format,
    /// What a receipt is.
    pub receipt: ReceiptFields,
    /// What a line is.
    pub line: LineFields,
}

fn yes() -> bool {
    true
}

/// How the file is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// Between columns; a comma if absent.
    pub delimiter: Option<char>,
    /// Around text; a double quote if absent.
    pub quote: Option<char>,
    /// Before a quote inside of text, where it is not doubled.
    pub escape: Option<char>,
    /// The columns, for a file without a header line.
    pub columns: Option<Vec<String>>,
    /// Numbers are written `1,50`.
    #[serde(default)]
    pub decimal_comma: bool,
    /// UTF-8 if absent.
    #[serde(default)]
    pub encoding: Encoding,
}

/// Where the parts of a receipt stand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFields {
    /// Columns that rows of one receipt have in common, and no other receipt has.
    pub key: Vec<String>,
    /// The register; may be given on the command line instead.
    pub register: Option<Field>,
    /// The time of sale.
    pub time: TimeField,
    /// ISO 4217 letters.
    pub currency: Field,
    /// The receipt's type; by the sign of its total if absent.
    #[serde(rename = "type")]
    pub kind: Option<Field>,
    /// How it was paid.
    pub tender: Option<Field>,
    /// The member's number.
    pub member: Option<Field>,
    /// Who sat at the till.
    pub cashier: Option<Field>,
}

/// Where the parts of a line stand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineFields {
    /// What was bought.
    pub description: Field,
    /// How much; 1 if absent.
    pub quantity: Option<Field>,
    /// Its unit.
    pub unit: Option<Field>,
    /// The price of one unit.
    pub unit_price: Option<Field>,
    /// What the line comes to.
    pub total: Field,
    /// The tax rate in percent.
    pub tax_rate: Option<Field>,
}

/// A column by its name, or more about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Field {
    /// The column's name.
    Column(String),
    /// More about it.
    Detailed(DetailedField),
}

/// A column with what is to be done to it, or a fixed value.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailedField {
    /// The column.
    pub column: Option<String>,
    /// The same for all rows, where no column says it.
    pub value: Option<String>,
    /// Put before what the column says.
    #[serde(default)]
    pub prefix: String,
    /// What the column's words mean; others are bad rows, unless there is a default.
    pub values: Option<BTreeMap<String, String>>,
    /// Where the column is empty, or its word is not among `values`.
    pub default: Option<String>,
}

/// The time of sale.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeField {
    /// One column, or several whose texts are joined by a space.
    pub columns: Vec<String>,
    /// As strftime writes it; RFC 3339 if absent.
    pub format: Option<String>,
}

/// A [`Field`] whose column was found.
#[derive(Clone, Debug)]
pub struct Bound {
    name: String,
    place: Option<usize>,
    prefix: String,
    values: Option<BTreeMap<String, String>>,
    default: Option<String>,
}

impl Field {
    /// Finds its column in the header.
    ///
    /// # Errors
    /// Names the column that is missing, or the member that is.
    pub fn bind(&self, name: &str, header: &StringRecord) -> anyhow::Result<Bound> {
        let place = |column: &str| {
            super::complete_journey::column(header, column).with_context(|| format!("{name} in the mapping"))
        };
        let bound = match self {
            Self::Column(column) => Bound {
                name: name.to_owned(),
                place: Some(place(column)?),
                prefix: String::new(),
                values: None,
                default: None,
            },
            Self::Detailed(field) => {
                if field.column.is_some() == field.value.is_some() {
                    anyhow::bail!("{name} in the mapping needs either column or value");
                }
                Bound {
                    name: name.to_owned(),
                    place: field.column.as_deref().map(place).transpose()?,
                    prefix: field.prefix.clone(),
                    values: field.values.clone(),
                    default: field.value.clone().or_else(|| field.default.clone()),
                }
            }
        };
        Ok(bound)
    }
}

impl Bound {
    /// What a row says; `None` where it says nothing.
    ///
    /// # Errors
    /// A word that the mapping does not know.
    pub fn optional(&self, record: Fields<'_>) -> Result<Option<String>, String> {
        let text = self
            .place
            .and_then(|place| record.get(place))
            .map(str::trim)
            .unwrap_or_default();
        let found = match &self.values {
            _ if text.is_empty() => None,
            Some(values) => match values.get(text) {
                Some(word) => Some(word.clone()),
                None if self.default.is_some() => None,
                None => {
                    return Err(format!(
                        "{}: the word {text:?} is not in the mapping's values",
                        self.name
                    ));
                }
            },
            None => Some(text.to_owned()),
        };
        Ok(match found {
            Some(text) => Some(format!("{}{text}", self.prefix)),
            None => self.default.clone(),
        })
    }

    /// What a row has to say.
    ///
    /// # Errors
    /// A sentence when it says nothing.
    pub fn need(&self, record: Fields<'_>) -> Result<String, String> {
        self.optional(record)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("{} is empty", self.name))
    }
}

/// An optional field of a row.
///
/// # Errors
/// As [`Bound::optional`].
pub fn optional(field: Option<&Bound>, record: Fields<'_>) -> Result<Option<String>, String> {
    field.map_or(Ok(None), |field| field.optional(record))
}
