//! Opening an export, and looking through it before anything is issued.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use csv::ByteRecord;
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use jiff::civil::Date;

use super::Rules;
use super::columns::Columns;
use super::row::{self, BadTime};
use crate::cli::import::{Reader, progress};
use crate::primitives::limits;

/// What gzip files begin with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An export that was looked through once.
#[derive(Debug)]
pub struct Survey {
    /// Where it is.
    pub path: PathBuf,
    /// Its columns.
    pub columns: Columns,
    /// The number of each day's last row: once it is read, the day is whole,
    /// however the rows are ordered.
    pub last_rows: HashMap<Date, u64>,
}

/// Opens an export.
///
/// # Errors
/// When it cannot be read.
pub fn open(path: &Path) -> anyhow::Result<(Reader, ProgressBar)> {
    let file = File::open(path)?;
    let progress = progress(file.metadata().map_or(0, |metadata| metadata.len()));
    Ok((rows_of(progress.wrap_read(file))?, progress))
}

/// The rows of an export, packed with gzip or plain. Text is quoted as MySQL does
/// it (`\"`) or as spreadsheets do (`""`).
///
/// # Errors
/// When it cannot be read.
pub fn rows_of(export: impl Read + Send + 'static) -> anyhow::Result<Reader> {
    let mut plain = BufReader::new(export);
    let packed = plain.fill_buf()?.starts_with(&GZIP);
    let bytes: Box<dyn Read + Send> = if packed {
        Box::new(MultiGzDecoder::new(plain))
    } else {
        Box::new(plain)
    };
    let reader = csv::ReaderBuilder::new()
        .escape(Some(b'\\'))
        .double_quote(true)
        // Rows of a wrong width are reported one by one.
        .flexible(true)
        .has_headers(false)
        .from_reader(bytes);
    Ok(reader)
}

/// Looks through an export: can it be read to its end, what are its columns,
/// and where does each day end?
///
/// # Errors
/// When it cannot be read, is empty, has unknown columns, or has times whose
/// years were replaced and no year is given.
pub fn survey(path: &Path, rules: &Rules) -> anyhow::Result<Survey> {
    look_through(path, &|| Ok(open(path)?.0), rules)
        .with_context(|| format!("cannot import {}", path.display()))
}

/// Does it for an export that `open` opens.
pub fn look_through(
    path: &Path,
    open: &dyn Fn() -> anyhow::Result<Reader>,
    rules: &Rules,
) -> anyhow::Result<Survey> {
    let columns = Columns::find(&first_rows(open()?)?)?;
    let mut reader = open()?;
    let mut record = ByteRecord::new();
    if columns.header {
        reader.read_byte_record(&mut record)?;
    }
    let mut last_rows = HashMap::new();
    let (mut rows, mut previous, mut too_early) = (0, None, None);
    while reader.read_byte_record(&mut record)? {
        rows += 1;
        let place = row::place(&record, &columns, rules);
        // A row that cannot be placed may belong to the one before it.
        let Some(day) = place.day().or(previous) else {
            too_early = too_early.or_else(|| early(&record, &columns));
            continue;
        };
        if last_rows.len() >= limits::IMPORT_DAYS_MAX && !last_rows.contains_key(&day) {
            anyhow::bail!("it holds more than {} days", limits::IMPORT_DAYS_MAX);
        }
        last_rows.insert(day, rows);
        previous = Some(day);
    }
    if let (Some(early), true) = (too_early, last_rows.is_empty()) {
        anyhow::bail!(
            "its times lie before 1970 (such as {early}), which receipts cannot have; if the years were replaced, give \
             the right one: --year YEAR"
        );
    }
    Ok(Survey {
        path: path.to_owned(),
        columns,
        last_rows,
    })
}

fn first_rows(reader: Reader) -> anyhow::Result<Vec<ByteRecord>> {
    let rows = reader.into_byte_records().take(limits::IMPORT_FIRST_ROWS_MAX);
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The row's time, if it lies before 1970.
fn early(record: &ByteRecord, columns: &Columns) -> Option<String> {
    let text = std::str::from_utf8(record.get(columns.datetime)?).ok()?.trim();
    let early = row::moment(text, None) == Err(BadTime::TooEarly);
    early.then(|| text.to_owned())
}
