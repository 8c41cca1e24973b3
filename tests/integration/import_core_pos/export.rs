//! Exports of `dtransactions`, made by hand.

/// The table's columns.
pub const COLUMNS: &str = "datetime,store_id,register_no,emp_no,trans_no,upc,description,trans_type,trans_subtype,\
trans_status,department,quantity,scale,cost,unitPrice,total,regPrice,tax,foodstamp,discount,memDiscount,\
discountable,discounttype,voided,percentDiscount,ItemQtty,volDiscType,volume,VolSpecial,mixMatch,matched,memType,\
staff,numflag,charflag,card_no,trans_id,pos_row_id,store_row_id";

/// The columns that older tables lack.
pub const NEWER: [&str; 3] = ["store_id", "pos_row_id", "store_row_id"];

/// A row; what is not set is as in an ordinary sale.
#[derive(Clone)]
pub struct Row {
    set: Vec<(&'static str, String)>,
}

impl Row {
    pub fn with(mut self, column: &'static str, text: &str) -> Self {
        assert!(COLUMNS.split(',').any(|known| known == column), "{column}");
        self.set.retain(|(known, _)| *known != column);
        self.set.push((column, text.to_owned()));
        self
    }

    pub fn status(self, letter: &str) -> Self {
        self.with("trans_status", letter)
    }

    fn field(&self, column: &str) -> &str {
        let set = self.set.iter().find(|(known, _)| *known == column);
        match (set, column) {
            (Some((_, text)), _) => text,
            (None, "datetime") => "2026-03-07 10:00:00",
            (None, "register_no") => "3",
            (None, "emp_no") => "7",
            (None, "trans_no" | "store_id" | "department") => "1",
            (None, "card_no") => "204",
            (None, "charflag" | "trans_subtype" | "trans_status") => "",
            (None, _) => "0",
        }
    }
}

fn row(kind: &str, subtype: &str, upc: &str, description: &str, total: &str) -> Row {
    Row { set: Vec::new() }
        .with("trans_type", kind)
        .with("trans_subtype", subtype)
        .with("upc", upc)
        .with("description", description)
        .with("total", total)
}

pub fn item(description: &str, total: &str) -> Row {
    row("I", " ", "0001234567890", description, total)
        .with("quantity", "1")
        .with("unitPrice", total)
}

pub fn ring(description: &str, total: &str) -> Row {
    row("D", " ", &format!("{total}DP150"), description, total).with("quantity", "1")
}

pub fn tender(code: &str, total: &str) -> Row {
    row("T", code, "0", "Tender", total).status("0")
}

pub fn change(total: &str) -> Row {
    row("T", "CA", "0", "Change", total).status("0")
}

pub fn tax(total: &str) -> Row {
    row("A", "0", "TAX", "Tax", total).status("0")
}

pub fn discount(total: &str) -> Row {
    row("I", "0", "DISCOUNT", "Discount", total)
        .status("0")
        .with("quantity", "1")
}

pub fn comment(text: &str) -> Row {
    row("C", "0", "0", text, "0").status("D")
}

pub fn typed(kind: &str, subtype: &str, total: &str) -> Row {
    row(kind, subtype, "0009999900018", "A row", total).with("quantity", "1")
}

/// Rows of one transaction, numbered in their order.
pub fn transaction(trans_no: u32, rows: Vec<Row>) -> Vec<Row> {
    let numbered = rows.into_iter().enumerate();
    numbered
        .map(|(place, row)| {
            row.with("trans_no", &trans_no.to_string())
                .with("trans_id", &(place + 1).to_string())
        })
        .collect()
}

/// All rows of a transaction get the same.
pub fn all(rows: Vec<Row>, column: &'static str, text: &str) -> Vec<Row> {
    rows.into_iter().map(|row| row.with(column, text)).collect()
}

/// A sale in cash that adds up.
pub fn sale(trans_no: u32, total: &str) -> Vec<Row> {
    let paid = format!("-{total}");
    transaction(
        trans_no,
        vec![item("BREAD", total), tender("CA", &paid), tax("0")],
    )
}

/// Rows as MySQL writes them, with these columns.
pub fn rows(columns: &[&str], rows: &[Row]) -> String {
    let line = |row: &Row| {
        let fields: Vec<String> = columns
            .iter()
            .map(|column| format!("\"{}\"", row.field(column).replace('"', "\\\"")))
            .collect();
        fields.join(",") + "\n"
    };
    rows.iter().map(line).collect()
}

/// All columns but these.
pub fn without(missing: &[&str]) -> Vec<&'static str> {
    COLUMNS
        .split(',')
        .filter(|column| !missing.contains(column))
        .collect()
}

/// In the older tables' order, without a header.
pub fn older(all: &[Row]) -> String {
    rows(&without(&NEWER), all)
}
