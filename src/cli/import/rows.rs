//! Streaming: rows of an export in, purchases and rejected rows out. No more
//! than one purchase is held at a time.

use std::io::Read;
use std::ops::ControlFlow;

use csv::{ByteRecord, StringRecord};

use super::sale::{Row, Rules, Sale, assemble};
use crate::primitives::limits;

/// How the text of an export is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1: a byte a character.
    Latin1,
}

/// Which columns of an export say what.
pub trait Layout: Send {
    /// How its rows become receipts.
    fn rules(&self) -> &Rules;

    /// How many columns a row has.
    fn columns(&self) -> usize;

    /// Its encoding.
    fn encoding(&self) -> Encoding;

    /// What rows of one purchase have in common.
    ///
    /// # Errors
    /// A sentence; it is not known then to which purchase the row belongs.
    fn key(&self, record: &StringRecord) -> Result<Vec<String>, String>;

    /// The row.
    ///
    /// # Errors
    /// A sentence.
    fn row(&self, record: &StringRecord) -> Result<Row, String>;
}

/// Something that does not become a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The row's line in the file; of a receipt, its first.
    pub line: u64,
    /// The receipt it belongs to.
    pub receipt: Option<String>,
    /// Why.
    pub reason: String,
    /// True for a whole receipt, false for a row.
    pub whole: bool,
}

/// What comes out of a file.
#[derive(Debug)]
pub enum Found {
    /// A purchase.
    Sale(Box<Sale>),
    /// A bad row, or a receipt that was rejected for one.
    Rejected(Reject),
}

/// What was read. Every row is in exactly one of the purchases, `bad` and
/// `left_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows read, without the header.
    pub rows: u64,
    /// Rows that are bad themselves.
    pub bad: u64,
    /// Good rows whose receipt was rejected whole.
    pub left_out: u64,
    /// Receipts that were rejected whole while reading.
    pub rejected_receipts: u64,
    /// Rows with an amount that was rounded to the minor unit.
    pub rounded: u64,
    /// Rows whose description was cut.
    pub cut: u64,
    /// Receipts at a time that the clock skipped.
    pub gaps: u64,
    /// Receipts at a time that the clock showed twice.
    pub overlaps: u64,
}

/// The purchase whose rows are being read.
struct Open {
    key: Vec<String>,
    first_line: u64,
    rows: Vec<Row>,
    count: u64,
    bad: u64,
    spoilt: Option<String>,
}

/// Reads all rows, giving purchases and rejects to `emit` in their order.
///
/// # Errors
/// When the file cannot be read on.
pub fn read<R: Read>(
    reader: &mut csv::Reader<R>,
    layout: &dyn Layout,
    emit: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<RowCounts, csv::Error> {
    let mut walk = Walk {
        layout,
        emit,
        counts: RowCounts::default(),
        open: None,
        spoils_next: None,
    };
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if walk.take(line, &record).is_break() {
            return Ok(walk.counts);
        }
    }
    let _ = walk.close();
    Ok(walk.counts)
}

struct Walk<'a> {
    layout: &'a dyn Layout,
    emit: &'a mut dyn FnMut(Found) -> ControlFlow<()>,
    counts: RowCounts,
    open: Option<Open>,
    /// The line of a row that may have belonged to the purchase that follows.
    spoils_next: Option<u64>,
}

impl Walk<'_> {
    fn take(&mut self, line: u64, record: &ByteRecord) -> ControlFlow<()> {
        self.counts.rows += 1;
        let placed = self
            .text(record)
            .and_then(|text| Ok((self.layout.key(&text)?, text)));
        let (key, text) = match placed {
            Ok(placed) => placed,
            Err(reason) => return self.unplaced(line, reason),
        };
        if self.open.as_ref().is_none_or(|open| open.key != key) {
            self.close()?;
            self.begin(key, line);
        }
        let row = self.layout.row(&text);
        let open = self.open.as_mut().expect("begun above");
        open.count += 1;
        match row {
            Ok(row) => {
                self.counts.rounded += u64::from(row.rounded);
                self.counts.cut += u64::from(row.cut);
                if open.rows.len() < limits::RECEIPT_LINES_MAX {
                    open.rows.push(row);
                } else {
                    open.spoilt = Some(format!("it has more than {} lines", limits::RECEIPT_LINES_MAX));
                }
                ControlFlow::Continue(())
            }
            Err(reason) => {
                open.bad += 1;
                self.counts.bad += 1;
                let receipt = Some(open.key.join("/"));
                self.reject(line, receipt, reason, false)
            }
        }
    }

    fn text(&self, record: &ByteRecord) -> Result<StringRecord, String> {
        if record.as_slice().len() > limits::IMPORT_ROW_BYTES_MAX {
            return Err(format!(
                "the row has more than {} bytes; is a quote not closed?",
                limits::IMPORT_ROW_BYTES_MAX
            ));
        }
        let due = self.layout.columns();
        if record.len() != due {
            return Err(format!("the row has {} columns, {due} are due", record.len()));
        }
        match self.layout.encoding() {
            Encoding::Utf8 => StringRecord::from_byte_record(record.clone())
                .map_err(|_| "the row is not UTF-8; is the encoding another one?".to_owned()),
            Encoding::Latin1 => Ok(record
                .iter()
                .map(|field| field.iter().copied().map(char::from).collect::<String>())
                .collect()),
        }
    }

    /// A row of unknown purchase: the ones before and after it may lack it.
    fn unplaced(&mut self, line: u64, reason: String) -> ControlFlow<()> {
        self.counts.bad += 1;
        if let Some(open) = &mut self.open {
            open.spoilt.get_or_insert_with(|| spoilt_by(line));
        }
        self.spoils_next = Some(line);
        self.reject(line, None, reason, false)
    }

    fn begin(&mut self, key: Vec<String>, line: u64) {
        self.open = Some(Open {
            key,
            first_line: line,
            rows: Vec::new(),
            count: 0,
            bad: 0,
            spoilt: self.spoils_next.take().map(spoilt_by),
        });
    }

    fn close(&mut self) -> ControlFlow<()> {
        let Some(open) = self.open.take() else {
            return ControlFlow::Continue(());
        };
        let spoilt = if open.bad > 0 {
            Some(format!("{} of its {} rows cannot be read", open.bad, open.count))
        } else {
            open.spoilt
        };
        let made = match spoilt {
            Some(reason) => Err(reason),
            None => assemble(self.layout.rules(), &open.key, open.first_line, open.rows),
        };
        match made {
            Ok(sale) => {
                self.counts.gaps += u64::from(sale.shift.gap);
                self.counts.overlaps += u64::from(sale.shift.overlap);
                (self.emit)(Found::Sale(Box::new(sale)))
            }
            Err(reason) => {
                self.counts.left_out += open.count - open.bad;
                self.counts.rejected_receipts += 1;
                let reason = format!("the whole receipt is rejected: {reason}");
                self.reject(open.first_line, Some(open.key.join("/")), reason, true)
            }
        }
    }

    fn reject(&mut self, line: u64, receipt: Option<String>, reason: String, whole: bool) -> ControlFlow<()> {
        (self.emit)(Found::Rejected(Reject {
            line,
            receipt,
            reason,
            whole,
        }))
    }
}

fn spoilt_by(line: u64) -> String {
    format!("line {line} beside it cannot be read and may belong to it")
}
