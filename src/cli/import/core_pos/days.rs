//! Rows in, transactions out. Rows of one transaction need not stand together,
//! so those of a day are held until the day's last row has been read.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use csv::ByteRecord;
use jiff::civil::Date;

use super::Rules;
use super::columns::Columns;
use super::file::Survey;
use super::receipt::{Left, Transaction};
use super::row::{self, Key, Place, Row, Till};
use super::summary::Summary;
use crate::cli::import::Reader;
use crate::cli::import::pipeline::Emit;
use crate::cli::import::rows::{Found, Reject, RowCounts};
use crate::cli::import::sale::Sale;
use crate::primitives::limits;

/// The rows of one transaction so far.
#[derive(Debug, Default)]
struct Open {
    rows: Vec<Row>,
    first_line: u64,
    spoilt: Option<String>,
}

/// A day whose last row has not been read.
#[derive(Debug, Default)]
struct Day {
    transactions: HashMap<Key, Open>,
    /// Lines that cannot be read, and may belong to any transaction of these.
    spoilt: HashMap<Till, u64>,
}

/// Reads an export that was surveyed, day by day.
///
/// # Errors
/// When it cannot be read on, has changed since, or too many rows would have to
/// be held.
pub fn read(
    reader: &mut Reader,
    survey: &Survey,
    rules: &Rules,
    emit: Emit<'_>,
) -> anyhow::Result<(RowCounts, Summary)> {
    let mut walk = Walk {
        columns: &survey.columns,
        rules,
        emit,
        counts: RowCounts::default(),
        summary: Summary {
            files: 1,
            ..Summary::default()
        },
        days: HashMap::new(),
        held: 0,
        previous: None,
        spoils_next: None,
    };
    let mut record = ByteRecord::new();
    if survey.columns.header {
        reader.read_byte_record(&mut record)?;
    }
    while reader.read_byte_record(&mut record)? {
        walk.take(&mut record)?;
        let Some((day, _)) = &walk.previous else { continue };
        let (day, read) = (*day, walk.counts.rows);
        let last = survey.last_rows.get(&day).copied().unwrap_or(0);
        if read > last {
            anyhow::bail!("{} changes while it is read", survey.path.display());
        }
        if read == last && walk.close(day).is_break() {
            return Ok((walk.counts, walk.summary));
        }
    }
    if !walk.days.is_empty() {
        anyhow::bail!("{} changes while it is read", survey.path.display());
    }
    Ok((walk.counts, walk.summary))
}

struct Walk<'a> {
    columns: &'a Columns,
    rules: &'a Rules,
    emit: Emit<'a>,
    counts: RowCounts,
    summary: Summary,
    days: HashMap<Date, Day>,
    /// Rows held for days that go on.
    held: usize,
    /// Where the row before belongs.
    previous: Option<(Date, Place)>,
    /// The line of a row that may have belonged to the transaction that follows.
    spoils_next: Option<u64>,
}

impl Walk<'_> {
    fn take(&mut self, record: &mut ByteRecord) -> anyhow::Result<()> {
        self.counts.rows += 1;
        let line = record.position().map_or(0, csv::Position::line);
        let place = row::place(record, self.columns, self.rules);
        let read = row::read(record, self.columns, self.rules);
        if let Some(day) = place.day() {
            if let Some(line) = self.spoils_next.take() {
                self.spoil(&place, line);
            }
            self.previous = Some((day, place.clone()));
        } else {
            if let Some((_, before)) = self.previous.clone() {
                self.spoil(&before, line);
            }
            self.spoils_next = Some(line);
        }
        let reason = match (read, &place) {
            (Ok(row), Place::Transaction(day, key)) => return self.hold(*day, key.clone(), row),
            (Ok(_), _) => "card_no cannot be read".to_owned(),
            (Err(reason), _) => reason,
        };
        self.spoil(&place, line);
        self.bad(line, &place, reason);
        Ok(())
    }

    fn hold(&mut self, day: Date, key: Key, row: Row) -> anyhow::Result<()> {
        self.held += 1;
        if self.held > limits::IMPORT_ROWS_HELD_MAX {
            anyhow::bail!(
                "more than {} rows of days that go on later in the file: sort the export by datetime first",
                limits::IMPORT_ROWS_HELD_MAX
            );
        }
        self.counts.rounded += u64::from(row.rounded);
        self.counts.cut += u64::from(row.cut);
        let open = self.open(day, key, row.line);
        open.rows.push(row);
        Ok(())
    }

    fn open(&mut self, day: Date, key: Key, line: u64) -> &mut Open {
        let transactions = &mut self.days.entry(day).or_default().transactions;
        let open = transactions.entry(key).or_default();
        if open.first_line == 0 {
            open.first_line = line;
        }
        open
    }

    /// The transactions at a place may lack what stands in a line.
    fn spoil(&mut self, place: &Place, line: u64) {
        match place {
            Place::Transaction(day, key) => {
                let open = self.open(*day, key.clone(), line);
                open.spoilt.get_or_insert_with(|| spoilt_by(line));
            }
            Place::Till(day, till) => {
                let spoilt = &mut self.days.entry(*day).or_default().spoilt;
                spoilt.entry(*till).or_insert(line);
            }
            Place::Nowhere => {}
        }
    }

    fn bad(&mut self, line: u64, place: &Place, reason: String) {
        self.counts.bad += 1;
        let receipt = match place {
            Place::Transaction(day, key) => Some(key.parts(*day).join("/")),
            _ => None,
        };
        let reject = Reject {
            line,
            receipt,
            reason,
            whole: false,
        };
        // When the other side is gone, the next transaction notices.
        let _ = (self.emit)(Found::Rejected(reject));
    }

    /// A day is whole: its transactions, in the order of their times.
    fn close(&mut self, date: Date) -> ControlFlow<()> {
        let Some(day) = self.days.remove(&date) else {
            return ControlFlow::Continue(());
        };
        let tills: HashSet<Till> = day.transactions.keys().map(|key| key.till).collect();
        self.summary.keys += tills.len() as u64;
        let spoilt = day.spoilt;
        let mut transactions: Vec<Transaction> = day
            .transactions
            .into_iter()
            .map(|(key, mut open)| {
                open.rows.sort_by_key(|row| (row.trans_id, row.line));
                let by_till = spoilt.get(&key.till).map(|line| spoilt_by(*line));
                Transaction {
                    day: date,
                    key,
                    rows: open.rows,
                    spoilt: open.spoilt.or(by_till),
                    first_line: open.first_line,
                }
            })
            .collect();
        transactions.sort_by_key(|transaction| {
            let first = transaction.rows.first().map(|row| row.at);
            (first, transaction.first_line)
        });
        transactions
            .into_iter()
            .try_for_each(|transaction| self.settle(&transaction))
    }

    /// Puts a transaction into exactly one bucket.
    fn settle(&mut self, transaction: &Transaction) -> ControlFlow<()> {
        let (rows, sums) = (transaction.rows.len() as u64, transaction.sums());
        self.held -= transaction.rows.len();
        self.summary.seen(transaction);
        let made = transaction.clear().and_then(|()| {
            self.summary.clear(rows, sums);
            transaction.receipt(self.rules)
        });
        match made {
            Ok(sale) => {
                self.summary.receipt(rows, sums, &sale);
                self.issue(sale)
            }
            Err(left) => {
                self.summary.left_out(left.0, rows, sums);
                self.leave_out(transaction, left)
            }
        }
    }

    fn issue(&mut self, sale: Sale) -> ControlFlow<()> {
        self.counts.gaps += u64::from(sale.shift.gap);
        self.counts.overlaps += u64::from(sale.shift.overlap);
        (self.emit)(Found::Sale(Box::new(sale)))
    }

    fn leave_out(&mut self, transaction: &Transaction, (why, reason): Left) -> ControlFlow<()> {
        let reject = Reject {
            line: transaction.first_line,
            receipt: Some(transaction.key.parts(transaction.day).join("/")),
            reason,
            whole: true,
        };
        if why.is_no_sale() {
            return (self.emit)(Found::SetAside(reject));
        }
        self.counts.rejected_receipts += 1;
        self.counts.left_out += transaction.rows.len() as u64;
        (self.emit)(Found::Rejected(reject))
    }
}

fn spoilt_by(line: u64) -> String {
    format!("line {line} cannot be read, and is of it or may be")
}
