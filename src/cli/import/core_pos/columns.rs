//! Which column of an export says what: by its header, or by the orders in
//! which CORE-POS has kept its table `dtransactions` over the years.

use csv::ByteRecord;

use super::row;
use crate::cli::import::number;

/// The columns of `dtransactions`, in their order.
const ORDER: [&str; 39] = [
    "datetime",
    STORE,
    "register_no",
    "emp_no",
    "trans_no",
    "upc",
    "description",
    "trans_type",
    "trans_subtype",
    "trans_status",
    "department",
    "quantity",
    "scale",
    "cost",
    "unitPrice",
    "total",
    "regPrice",
    "tax",
    "foodstamp",
    "discount",
    "memDiscount",
    "discountable",
    "discounttype",
    "voided",
    "percentDiscount",
    "ItemQtty",
    "volDiscType",
    "volume",
    "VolSpecial",
    "mixMatch",
    "matched",
    "memType",
    "staff",
    "numflag",
    "charflag",
    "card_no",
    "trans_id",
    "pos_row_id",
    "store_row_id",
];

/// Names by which a header is known: words that stand in no row (others do,
/// such as `TAX`).
const HEADER: [&str; 6] = [
    "datetime",
    "register_no",
    "emp_no",
    "trans_no",
    "card_no",
    "trans_id",
];

/// The types of row by which an order is known: one is never empty, as the
/// columns after it may be.
const TYPES: [&str; 7] = ["I", "D", "T", "A", "S", "C", "0"];

/// The column that older tables lack.
const STORE: &str = "store_id";

/// Row numbers at the table's end, which older tables lack: no receipt needs
/// them.
const ROW_NUMBERS: usize = 2;

/// Where the columns stand that receipts are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// How many columns a row has.
    pub due: usize,
    /// Whether the file begins with their names.
    pub header: bool,
    /// The date and time of the row.
    pub datetime: usize,
    /// The shop, in newer tables.
    pub store: Option<usize>,
    /// The lane.
    pub register: usize,
    /// The cashier.
    pub employee: usize,
    /// The transaction's number at its lane and cashier on its day.
    pub number: usize,
    /// The article, or what stands in its place.
    pub upc: usize,
    /// What people read.
    pub description: usize,
    /// What kind of row it is.
    pub kind: usize,
    /// Its subtype; of a tender, the shop's code.
    pub subtype: usize,
    /// What became of it.
    pub status: usize,
    /// The department.
    pub department: usize,
    /// How much.
    pub quantity: usize,
    /// The price of one.
    pub unit_price: usize,
    /// What the customer pays for the row.
    pub total: usize,
    /// The member's number.
    pub card: usize,
    /// The row's place in its transaction.
    pub trans_id: usize,
}

impl Columns {
    /// Takes the header, or tells the order of the columns from the first rows.
    ///
    /// # Errors
    /// Names the columns that are missing or stand twice, or says that the
    /// order is not known.
    pub fn find(first_rows: &[ByteRecord]) -> anyhow::Result<Self> {
        let Some(first) = first_rows.first() else {
            anyhow::bail!("the file is empty");
        };
        let names: Vec<String> = first.iter().map(name).collect();
        if names
            .iter()
            .any(|name| HEADER.iter().any(|known| same(known, name)))
        {
            return Self::named(&names);
        }
        let mut orders: Vec<(usize, Self)> = Self::orders()
            .map(|columns| (first_rows.iter().filter(|row| columns.fit(row)).count(), columns))
            .collect();
        orders.sort_by_key(|(fitting, _)| std::cmp::Reverse(*fitting));
        match orders.as_slice() {
            [(fitting, columns), (next, _), ..] if fitting > next => Ok(columns.clone()),
            _ => anyhow::bail!(
                "its first line names no columns, and its {} columns stand in no order that is known: put their names \
                 before them, as CORE-POS has them: {}",
                first.len(),
                ORDER.join(",")
            ),
        }
    }

    fn named(names: &[String]) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        let mut twice = Vec::new();
        let mut place = |known: &'static str, needed: bool| {
            let mut found = names.iter().enumerate().filter(|(_, name)| same(known, name));
            let first = found.next().map(|(place, _)| place);
            if found.next().is_some() {
                twice.push(known);
            }
            if needed && first.is_none() {
                missing.push(known);
            }
            first
        };
        let store = place(STORE, false);
        let mut need = |known| place(known, true).unwrap_or_default();
        let columns = Self {
            due: names.len(),
            header: true,
            datetime: need("datetime"),
            store,
            register: need("register_no"),
            employee: need("emp_no"),
            number: need("trans_no"),
            upc: need("upc"),
            description: need("description"),
            kind: need("trans_type"),
            subtype: need("trans_subtype"),
            status: need("trans_status"),
            department: need("department"),
            quantity: need("quantity"),
            unit_price: need("unitPrice"),
            total: need("total"),
            card: need("card_no"),
            trans_id: need("trans_id"),
        };
        if !missing.is_empty() {
            anyhow::bail!(
                "there is no column {}; the columns are {}",
                missing.join(", "),
                names.join(", ")
            );
        }
        if !twice.is_empty() {
            anyhow::bail!("its header names {} more than once", twice.join(", "));
        }
        Ok(columns)
    }

    /// The orders of the table with and without store and row numbers.
    fn orders() -> impl Iterator<Item = Self> {
        let with_store = [true, false].into_iter();
        with_store.flat_map(|store| {
            (0..=ROW_NUMBERS).map(move |row_numbers| {
                let names: Vec<String> = ORDER[..ORDER.len() - ROW_NUMBERS + row_numbers]
                    .iter()
                    .filter(|name| store || **name != STORE)
                    .map(ToString::to_string)
                    .collect();
                let named = Self::named(&names).expect("the table's own names are whole");
                Self {
                    header: false,
                    ..named
                }
            })
        })
    }

    /// Whether a row can be read in this order: the width alone does not tell
    /// a store before it from a row number after it.
    fn fit(&self, record: &ByteRecord) -> bool {
        let text = |place: usize| {
            let bytes = record.get(place).unwrap_or_default();
            std::str::from_utf8(bytes).map_or("?", str::trim)
        };
        let whole = |place: usize| row::whole(text(place)).is_some();
        record.len() == self.due
            && row::year(text(self.datetime)).is_some()
            && [self.register, self.employee, self.number, self.trans_id]
                .into_iter()
                .all(whole)
            && self.store.is_none_or(whole)
            && TYPES.contains(&text(self.kind))
            && text(self.subtype).len() <= 2
            && text(self.status).len() <= 1
            && number::money(text(self.total), 2, false).is_ok()
    }
}

/// A column's name as a header has it: spreadsheets put a byte order mark
/// before the first.
fn name(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_start_matches('\u{feff}').trim().to_owned()
}

fn same(known: &str, name: &str) -> bool {
    known.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(without: &[&str]) -> Vec<&'static str> {
        ORDER.into_iter().filter(|name| !without.contains(name)).collect()
    }

    fn row(names: &[&str]) -> ByteRecord {
        let field = |name: &&str| match *name {
            "datetime" => "2026-03-07 10:00:00",
            "upc" => "0001234567890",
            "description" => "APPLES",
            "trans_type" => "I",
            "trans_subtype" | "trans_status" | "charflag" => "",
            "card_no" => "11    ",
            _ => "1",
        };
        names.iter().map(field).collect::<Vec<_>>().into()
    }

    #[test]
    fn every_known_order_is_told() {
        for without in [
            &[][..],
            &["store_row_id"],
            &["pos_row_id", "store_row_id"],
            &["store_id"],
            &["store_id", "store_row_id"],
            &["store_id", "pos_row_id", "store_row_id"],
        ] {
            let names = order(without);
            let columns = Columns::find(&[row(&names), row(&names)]).unwrap();
            assert_eq!(columns.due, names.len());
            assert_eq!(
                columns.store.is_some(),
                !without.contains(&"store_id"),
                "{without:?}"
            );
            let at = |name| names.iter().position(|known| *known == name).unwrap();
            assert_eq!((columns.card, columns.total), (at("card_no"), at("total")));
        }
    }

    #[test]
    fn a_header_may_have_any_order_and_case() {
        let mut names = order(&["cost", "scale"]);
        names.reverse();
        let mut header: Vec<String> = names
            .iter()
            .map(|name| format!(" {}", name.to_uppercase()))
            .collect();
        header[0].insert(0, '\u{feff}');
        let columns = Columns::find(&[ByteRecord::from(header)]).unwrap();
        assert!(columns.header);
        assert_eq!(columns.datetime, names.len() - 1);
        let fails = |header: &[&str]| {
            Columns::find(&[ByteRecord::from(header.to_vec())])
                .unwrap_err()
                .to_string()
        };
        let short = order(&["total", "card_no"]);
        assert!(
            fails(&short).starts_with("there is no column total, card_no;"),
            "{}",
            fails(&short)
        );
        assert!(fails(&[&order(&[])[..], &["Total"]].concat()).contains("total more than once"));
    }

    #[test]
    fn what_is_no_export_is_refused() {
        assert!(Columns::find(&[]).unwrap_err().to_string().contains("empty"));
        let other = ByteRecord::from(vec!["1", "2", "3"]);
        assert!(
            Columns::find(&[other])
                .unwrap_err()
                .to_string()
                .contains("datetime,store_id,")
        );
        let shuffled = ByteRecord::from(vec!["1"; 36]);
        assert!(Columns::find(&[shuffled]).is_err());
    }
}
