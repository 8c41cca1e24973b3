//! Streaming: rows of an export in, purchases and rejected rows out. No more
//! than one purchase is held at a time. Putting rows together is a step of its
//! own, so that what they say can be read by several threads.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use csv::{ByteRecord, StringRecord};

use super::replay::Use;
use super::sale::{Row, Rules, Sale, assemble};
use crate::primitives::limits;

/// Rows that a purchase has room for at first, and bytes of each: most need no more.
const ROOM_ROWS: usize = 12;
const ROOM_ROW_BYTES: usize = 96;

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

/// Which columns of an export say what. Rows are put together by one thread and
/// understood by several.
pub trait Layout: Send + Sync {
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
    fn key(&self, record: Fields<'_>) -> Result<Vec<String>, String>;

    /// Whether the row belongs to the purchase of `key`: asked for every row, so
    /// that most need no key of their own.
    fn continues(&self, record: Fields<'_>, key: &[String]) -> bool {
        self.key(record).is_ok_and(|own| own == key)
    }

    /// The row. Where it says of the purchase what the one before says, its head
    /// can be had from there.
    ///
    /// # Errors
    /// A sentence.
    fn row(&self, record: Fields<'_>, before: Option<Before<'_>>) -> Result<Row, String>;
}

/// The row before in the same purchase: its text, and what was read of it.
pub type Before<'a> = (Fields<'a>, &'a Row);

/// A row's fields, wherever their text lies.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// The text of all of them, one after the other.
    text: &'a str,
    /// Where each of them ends, counted from the place where the first begins.
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// The field in column `place`; `None` past the last.
    #[must_use]
    pub fn get(self, place: usize) -> Option<&'a str> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }
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

/// What stands in a file, in its order.
pub enum Found {
    /// The rows of a purchase.
    Purchase(Purchase),
    /// A row that cannot be placed.
    Rejected(Reject),
    /// A purchase that is understood already.
    Sale(Box<Sale>),
    /// Rows that are no sale by the export's own rules.
    SetAside(Reject),
    /// A coupon that was used.
    Used(Box<Use>),
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

impl RowCounts {
    /// Counts what others counted too.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in [
            (&mut self.rows, other.rows),
            (&mut self.bad, other.bad),
            (&mut self.left_out, other.left_out),
            (&mut self.rejected_receipts, other.rejected_receipts),
            (&mut self.rounded, other.rounded),
            (&mut self.cut, other.cut),
            (&mut self.gaps, other.gaps),
            (&mut self.overlaps, other.overlaps),
        ] {
            *count += more;
        }
    }
}

/// The rows of one purchase, as they stand in the file: their text in one piece,
/// since a million small ones cost more than reading them.
pub struct Purchase {
    layout: Arc<dyn Layout>,
    key: Vec<String>,
    first_line: u64,
    text: String,
    /// Where each field ends, counted from its row's place in `text`.
    ends: Vec<usize>,
    /// The line of each row, and its place in `text`.
    rows: Vec<(u64, usize)>,
    /// Rows beyond the most that a receipt takes.
    too_many: u64,
    spoilt: Option<String>,
}

/// What became of the rows of one purchase.
#[derive(Debug, Default)]
pub struct Understood {
    /// The receipt, unless it was rejected.
    pub sale: Option<Box<Sale>>,
    /// Bad rows, and the receipt if it was rejected.
    pub rejects: Vec<Reject>,
    /// Its part of the counts.
    pub counts: RowCounts,
}

impl Purchase {
    fn begin(layout: Arc<dyn Layout>, key: Vec<String>, first_line: u64, spoilt: Option<String>) -> Self {
        Self {
            key,
            first_line,
            text: String::with_capacity(ROOM_ROWS * ROOM_ROW_BYTES),
            ends: Vec::with_capacity(ROOM_ROWS * layout.columns()),
            rows: Vec::with_capacity(ROOM_ROWS),
            layout,
            too_many: 0,
            spoilt,
        }
    }

    fn push(&mut self, line: u64, record: Fields<'_>) {
        if self.rows.len() >= limits::RECEIPT_LINES_MAX {
            self.too_many += 1;
            return;
        }
        self.rows.push((line, self.text.len()));
        self.text.push_str(record.text);
        self.ends.extend_from_slice(record.ends);
    }

    /// The row at place `at` of its rows.
    fn fields(&self, at: usize) -> Fields<'_> {
        let columns = self.layout.columns();
        Fields {
            text: self.rows.get(at).map_or("", |(_, start)| &self.text[*start..]),
            ends: &self.ends[at * columns..(at + 1) * columns],
        }
    }

    /// Reads the rows, and makes a receipt of them if all are good.
    pub fn understand(self) -> Understood {
        let layout = self.layout.as_ref();
        let mut out = Understood::default();
        let name = self.key.join("/");
        let count = self.rows.len() as u64 + self.too_many;
        let mut rows = Vec::with_capacity(self.rows.len());
        for (at, (line, _)) in self.rows.iter().enumerate() {
            // A receipt with a bad row is rejected: from there on none is looked back at.
            let last = rows.last().filter(|_| out.counts.bad == 0);
            let before = last.map(|row| (self.fields(at - 1), row));
            match layout.row(self.fields(at), before) {
                Ok(row) => {
                    out.counts.rounded += u64::from(row.rounded);
                    out.counts.cut += u64::from(row.cut);
                    rows.push(row);
                }
                Err(reason) => {
                    out.counts.bad += 1;
                    out.rejects.push(Reject {
                        line: *line,
                        receipt: Some(name.clone()),
                        reason,
                        whole: false,
                    });
                }
            }
        }
        let spoilt = if out.counts.bad > 0 {
            let bad = out.counts.bad;
            Some(format!("{bad} of its {count} rows cannot be read"))
        } else if self.too_many > 0 {
            Some(format!("it has more than {} lines", limits::RECEIPT_LINES_MAX))
        } else {
            self.spoilt
        };
        let made = match spoilt {
            Some(reason) => Err(reason),
            None => assemble(layout.rules(), &self.key, self.first_line, rows),
        };
        match made {
            Ok(sale) => {
                out.counts.gaps += u64::from(sale.shift.gap);
                out.counts.overlaps += u64::from(sale.shift.overlap);
                out.sale = Some(Box::new(sale));
            }
            Err(reason) => {
                out.counts.left_out += count - out.counts.bad;
                out.counts.rejected_receipts += 1;
                out.rejects.push(Reject {
                    line: self.first_line,
                    receipt: Some(name),
                    reason: format!("the whole receipt is rejected: {reason}"),
                    whole: true,
                });
            }
        }
        out
    }
}

/// Takes a row as text.
///
/// # Errors
/// A sentence, for a row that is too long, of another width than `due`, or in
/// another encoding.
pub fn text(record: &mut ByteRecord, due: usize, encoding: Encoding) -> Result<StringRecord, String> {
    if record.as_slice().len() > limits::IMPORT_ROW_BYTES_MAX {
        return Err(format!(
            "the row has more than {} bytes; is a quote not closed?",
            limits::IMPORT_ROW_BYTES_MAX
        ));
    }
    if record.len() != due {
        return Err(format!("the row has {} columns, {due} are due", record.len()));
    }
    match encoding {
        Encoding::Utf8 => StringRecord::from_byte_record(std::mem::take(record))
            .map_err(|_| "the row is not UTF-8; is the encoding another one?".to_owned()),
        Encoding::Latin1 => Ok(record
            .iter()
            .map(|field| field.iter().copied().map(char::from).collect::<String>())
            .collect()),
    }
}

/// Reads all rows, giving purchases, coupons and rows that cannot be placed to
/// `emit` in their order. What is counted is rows, and the bad ones among those
/// that cannot be placed.
///
/// # Errors
/// When the file cannot be read on.
pub fn read<'a, R: Read>(
    reader: &mut csv::Reader<R>,
    layout: &'a Arc<dyn Layout>,
    replay: Option<&'a mut (dyn Watch + 'a)>,
    emit: &'a mut (dyn FnMut(Found) -> ControlFlow<()> + 'a),
) -> Result<RowCounts, csv::Error> {
    let mut walk = Walk {
        layout,
        replay,
        emit,
        counts: RowCounts::default(),
        open: None,
        spoils_next: None,
        ends: Vec::new(),
    };
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if walk.take(line, &mut record).is_break() {
            return Ok(walk.counts);
        }
    }
    let _ = walk.end();
    Ok(walk.counts)
}

/// Whoever looks at the rows of purchases to tell which coupons were used.
pub trait Watch {
    /// Takes a row; the coupons come whose time is over with it.
    fn see(&mut self, record: Fields<'_>) -> Vec<Use>;

    /// All that are left.
    fn end(&mut self) -> Vec<Use>;
}

struct Walk<'a> {
    layout: &'a Arc<dyn Layout>,
    replay: Option<&'a mut (dyn Watch + 'a)>,
    emit: &'a mut (dyn FnMut(Found) -> ControlFlow<()> + 'a),
    counts: RowCounts,
    open: Option<Purchase>,
    /// The line of a row that may have belonged to the purchase that follows.
    spoils_next: Option<u64>,
    /// Where the fields of the row under way end.
    ends: Vec<usize>,
}

impl Walk<'_> {
    fn take(&mut self, line: u64, record: &mut ByteRecord) -> ControlFlow<()> {
        self.counts.rows += 1;
        let text = match self.text(record) {
            Ok(text) => text,
            Err(reason) => return self.unplaced(line, reason),
        };
        self.ends.clear();
        let ends = (0..text.len()).filter_map(|field| Some(text.range(field)?.end));
        self.ends.extend(ends);
        let row = Fields {
            text: text.as_slice(),
            ends: &self.ends,
        };
        let open = self.open.as_ref();
        if !open.is_some_and(|open| self.layout.continues(row, &open.key)) {
            let key = match self.layout.key(row) {
                Ok(key) => key,
                Err(reason) => return self.unplaced(line, reason),
            };
            Self::close(&mut self.open, self.emit)?;
            let spoilt = self.spoils_next.take().map(spoilt_by);
            self.open = Some(Purchase::begin(Arc::clone(self.layout), key, line, spoilt));
        }
        if let Some(replay) = &mut self.replay {
            for used in replay.see(row) {
                (self.emit)(Found::Used(Box::new(used)))?;
            }
        }
        let open = self.open.as_mut().expect("begun above");
        open.push(line, row);
        // The next row is read into the same memory.
        *record = text.into_byte_record();
        ControlFlow::Continue(())
    }

    fn text(&self, record: &mut ByteRecord) -> Result<StringRecord, String> {
        text(record, self.layout.columns(), self.layout.encoding())
    }

    /// A row of unknown purchase: the ones before and after it may lack it.
    fn unplaced(&mut self, line: u64, reason: String) -> ControlFlow<()> {
        self.counts.bad += 1;
        if let Some(open) = &mut self.open {
            open.spoilt.get_or_insert_with(|| spoilt_by(line));
        }
        self.spoils_next = Some(line);
        (self.emit)(Found::Rejected(Reject {
            line,
            receipt: None,
            reason,
            whole: false,
        }))
    }

    fn close(
        open: &mut Option<Purchase>,
        emit: &mut (dyn FnMut(Found) -> ControlFlow<()> + '_),
    ) -> ControlFlow<()> {
        match open.take() {
            Some(purchase) => emit(Found::Purchase(purchase)),
            None => ControlFlow::Continue(()),
        }
    }

    fn end(&mut self) -> ControlFlow<()> {
        Self::close(&mut self.open, self.emit)?;
        let left = self.replay.as_mut().map(|replay| replay.end());
        for used in left.into_iter().flatten() {
            (self.emit)(Found::Used(Box::new(used)))?;
        }
        ControlFlow::Continue(())
    }
}

fn spoilt_by(line: u64) -> String {
    format!("line {line} beside it cannot be read and may belong to it")
}
