//! `tallystick import`: real purchases become signed receipts. Each keeps its
//! own time of sale; what cannot become one is reported with line and reason.
//! docs/import.md describes it.

mod any_till;
mod complete_journey;
mod mapping;
mod number;
mod pipeline;
mod rows;
mod sale;
mod tally;
mod target;
mod zone;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use csv::StringRecord;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;

use self::any_till::AnyTill;
use self::complete_journey::{CompleteJourney, TRANSACTIONS};
use self::mapping::{Format, Mapping};
use self::rows::Layout;
use self::tally::Tally;
use self::target::{Remote, Target};
use crate::node::Node;

/// The exit code when something was rejected: the rest was imported.
pub const SOME_REJECTED: u8 = 3;

const EXIT_CODES: &str = "Exit codes: 0 all imported, 1 stopped (importing again goes on), 2 usage, \
3 imported but for what was rejected.";
const JOURNEY_HELP: &str = "Example:\n  scripts/complete-journey-csv journey\n  \
tallystick import complete-journey journey --node shop --report rejected.csv";
const CSV_HELP: &str =
    "Example:\n  tallystick import csv sales.csv --map till.toml --node shop --report rejected.csv";

/// Turn real purchases into signed receipts
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum From {
    /// The Complete Journey, as scripts/complete-journey-csv writes it
    #[command(after_help = JOURNEY_HELP)]
    CompleteJourney {
        /// The directory with transactions.csv and products.csv
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Any till's export, a line a row
    #[command(after_help = CSV_HELP)]
    Csv {
        /// The export
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Which columns say what: see docs/import.md
        #[arg(long, value_name = "MAP.toml")]
        map: PathBuf,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args, Clone, Debug)]
struct Common {
    /// The node's directory, which no process has open, or its URL
    #[arg(long, value_name = "DIR|URL", env = "TALLYSTICK_NODE")]
    node: String,
    /// An office key, for a URL
    #[arg(long, value_name = "KEY", env = "TALLYSTICK_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The zone of local times: UTC, Europe/Berlin, +01:00 [default: the mapping's, or UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone::parse)]
    time_zone: Option<TimeZone>,
    /// One register for all receipts
    #[arg(long, value_name = "NAME")]
    register: Option<String>,
    /// Write all that was rejected into this CSV file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the counts as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command and gives the exit code. `open` opens the node in a
/// directory; it is not called for a URL.
///
/// # Errors
/// What stops an import.
pub fn run(
    args: &ImportArgs,
    open: &dyn Fn(&Path) -> anyhow::Result<Node>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> anyhow::Result<u8> {
    let (export, common) = match &args.from {
        From::CompleteJourney { directory, common } => (journey(directory, common)?, common),
        From::Csv { file, map, common } => (any_till(file, map, common)?, common),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(import(export, common, open, stdout, stderr))
}

/// A file, and how it is read.
struct Export {
    reader: csv::Reader<Box<dyn Read + Send>>,
    layout: Box<dyn Layout>,
    progress: ProgressBar,
}

async fn import(
    export: Export,
    common: &Common,
    open: &dyn Fn(&Path) -> anyhow::Result<Node>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut tally = Tally::new(common.report.as_deref())?;
    let target = Arc::new(if common.node.contains("://") {
        let key = common.key.clone().context(
            "importing over HTTP takes an office key: --key KEY, or TALLYSTICK_KEY in the environment",
        )?;
        Target::Url(Remote::connect(&common.node, key).await?)
    } else {
        Target::directory(open(Path::new(&common.node))?)
    });
    let began = Instant::now();
    let result = pipeline::run(
        export.reader,
        export.layout,
        Arc::clone(&target),
        &mut tally,
        &export.progress,
    )
    .await;
    export.progress.finish_and_clear();
    if let Target::Directory { node, .. } = target.as_ref() {
        node.shut_down().await;
    }
    tally.finish(stderr)?;
    let counts = result?;
    let seconds = began.elapsed().as_secs_f64();
    if common.json {
        writeln!(stdout, "{}", tally.json(&counts, seconds))?;
    } else {
        writeln!(stdout, "{}", tally.words(&counts, seconds))?;
    }
    Ok(if tally.is_whole() { 0 } else { SOME_REJECTED })
}

fn journey(directory: &Path, common: &Common) -> anyhow::Result<Export> {
    let path = directory.join(TRANSACTIONS);
    let (mut reader, progress) = open_csv(&path, &Format::default())?;
    let header = header(&mut reader, &path)?;
    let zone = common.time_zone.clone().unwrap_or(TimeZone::UTC);
    let layout = CompleteJourney::new(directory, &header, zone, common.register.clone())?;
    Ok(Export {
        reader,
        layout: Box::new(layout),
        progress,
    })
}

fn any_till(file: &Path, map: &Path, common: &Common) -> anyhow::Result<Export> {
    let shown = map.display();
    let text = std::fs::read_to_string(map).with_context(|| format!("cannot read {shown}"))?;
    let mapping: Mapping = toml::from_str(&text).with_context(|| format!("the mapping {shown} is wrong"))?;
    let (mut reader, progress) = open_csv(file, &mapping.file)?;
    let header = match &mapping.file.columns {
        Some(columns) => columns.iter().map(String::as_str).collect(),
        None => header(&mut reader, file)?,
    };
    let zone = match (&common.time_zone, &mapping.time_zone) {
        (Some(zone), _) => zone.clone(),
        (None, Some(name)) => zone::parse(name)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("time_zone in {shown}"))?,
        (None, None) => TimeZone::UTC,
    };
    let layout = AnyTill::new(&mapping, &header, zone, common.register.clone())
        .with_context(|| format!("{} does not go with {shown}", file.display()))?;
    Ok(Export {
        reader,
        layout: Box::new(layout),
        progress,
    })
}

type Reader = csv::Reader<Box<dyn Read + Send>>;

fn open_csv(path: &Path, format: &Format) -> anyhow::Result<(Reader, ProgressBar)> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    // Hidden by itself where standard error is no terminal.
    let progress = ProgressBar::new(bytes).with_style(
        ProgressStyle::with_template("{bar:30} {percent}% of {total_bytes} {msg} {eta} left")
            .expect("a template that is known to be right"),
    );
    let ascii = |name: &str, given: Option<char>, default: char| {
        u8::try_from(given.unwrap_or(default))
            .ok()
            .filter(u8::is_ascii)
            .with_context(|| format!("file.{name} in the mapping is one ASCII character"))
    };
    let escape = format
        .escape
        .map(|escape| ascii("escape", Some(escape), '\\'))
        .transpose()?;
    let reader: Box<dyn Read + Send> = Box::new(progress.wrap_read(file));
    let reader = csv::ReaderBuilder::new()
        .delimiter(ascii("delimiter", format.delimiter, ',')?)
        .quote(ascii("quote", format.quote, '"')?)
        .escape(escape)
        .double_quote(escape.is_none())
        // Rows of a wrong width are reported one by one.
        .flexible(true)
        .has_headers(format.columns.is_none())
        .from_reader(reader);
    Ok((reader, progress))
}

fn header(reader: &mut Reader, path: &Path) -> anyhow::Result<StringRecord> {
    let shown = path.display();
    let header = reader
        .headers()
        .with_context(|| format!("cannot read the header of {shown}"))?;
    // Spreadsheets put a byte order mark before it.
    let clean = |column: &str| column.trim_start_matches('\u{feff}').trim().to_owned();
    let header: StringRecord = header.iter().map(clean).collect();
    if header.is_empty() {
        anyhow::bail!("{shown} is empty");
    }
    Ok(header)
}
