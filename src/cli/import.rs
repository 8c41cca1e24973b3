//! `tallystick import`: real purchases become signed receipts. Each keeps its
//! own time of sale; what cannot become one is reported with line and reason.
//! docs/import.md describes it.

mod any_till;
mod complete_journey;
mod core_pos;
mod coupons;
mod mapping;
mod number;
mod pipeline;
mod replay;
mod rows;
mod sale;
mod tally;
mod target;
mod turnstile;
pub(crate) mod whole;
mod zone;

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use csv::StringRecord;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;

use self::any_till::AnyTill;
use self::complete_journey::{CompleteJourney, TRANSACTIONS};
use self::coupons::Signed;
use self::mapping::{Format, Mapping};
use self::replay::REDEMPTIONS;
pub(super) use self::replay::{Loaded, Plan, Use};
use self::rows::{Found, Layout, Watch};
use self::tally::{Replayed, Tally};
use self::target::{Remote, Target};
use crate::node::Node;
use crate::primitives::Currency;

/// The exit code when something was rejected: the rest was imported.
pub const SOME_REJECTED: u8 = 3;

const EXIT_CODES: &str = "Exit codes: 0 all imported, 1 stopped (importing again goes on), 2 usage, \
3 imported but for what was rejected.";
const JOURNEY_HELP: &str = "Example:\n  scripts/complete-journey-csv journey\n  \
tallystick import complete-journey journey --node shop --report rejected.csv";
const CSV_HELP: &str =
    "Example:\n  tallystick import csv sales.csv --map till.toml --node shop --report rejected.csv";
const CORE_POS_HELP: &str = "Example:\n  tallystick import core-pos dtransactions.csv.gz --time-zone America/Chicago \
--no-member 11 \\\n    --node shop --report left-out.csv\n\n\
Of codes that are not known, and of what cannot be told apart, no receipt is made: the report says which and why.";

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
        /// The directory with transactions.csv, products.csv, campaigns.csv and
        /// coupon_redemptions.csv; without the last, receipts alone are imported
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
    /// CORE-POS: exports of its table dtransactions, plain or packed with gzip
    #[command(after_help = CORE_POS_HELP)]
    CorePos {
        /// The exports
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        settings: core_pos::Settings,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args, Clone, Debug, Default)]
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    match &args.from {
        From::CompleteJourney { directory, common } => {
            let export = journey(directory, common)?;
            runtime.block_on(import(export, common, open, stdout, stderr))
        }
        From::Csv { file, map, common } => {
            let export = any_till(file, map, common)?;
            runtime.block_on(import(export, common, open, stdout, stderr))
        }
        From::CorePos {
            files,
            settings,
            common,
        } => runtime.block_on(core_pos::import(files, settings, common, open, stdout, stderr)),
    }
}

/// A file, and how it is read.
struct Export {
    path: PathBuf,
    reader: Reader,
    layout: Arc<dyn Layout>,
    /// Tells which coupons were used.
    watch: Option<Box<dyn Watch + Send>>,
    progress: ProgressBar,
    /// Coupons to replay, with what was read of them and their currency.
    coupons: Option<(Loaded, Currency)>,
    /// What the user should know before the import begins.
    note: Option<String>,
}

impl Export {
    fn of_receipts(
        path: PathBuf,
        reader: Reader,
        layout: impl Layout + 'static,
        progress: ProgressBar,
    ) -> Self {
        Self {
            path,
            reader,
            layout: Arc::new(layout),
            watch: None,
            progress,
            coupons: None,
            note: None,
        }
    }
}

async fn import(
    export: Export,
    common: &Common,
    open: &dyn Fn(&Path) -> anyhow::Result<Node>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> anyhow::Result<u8> {
    let began = Instant::now();
    let mut tally = Tally::new(common.report.as_deref())?;
    if let Some(note) = &export.note {
        writeln!(stderr, "{note}")?;
    }
    let mut target = connect(common, open).await?;
    if let (
        Target::Directory {
            node,
            campaigns: signed,
            ..
        },
        Some((loaded, currency)),
    ) = (&mut target, &export.coupons)
    {
        let file = export.path.with_file_name(REDEMPTIONS);
        *signed = Some(campaigns(node, loaded, *currency, &file, &mut tally).await?);
    }
    let target = Arc::new(target);
    tally.begin(&export.path);
    let (mut reader, layout, mut watch) = (export.reader, export.layout, export.watch);
    let result = pipeline::run(
        move |emit| {
            let watch = watch.as_mut().map(|watch| &mut **watch as &mut dyn Watch);
            Ok(rows::read(&mut reader, &layout, watch, emit)?)
        },
        Arc::clone(&target),
        &mut tally,
        &export.progress,
    )
    .await;
    export.progress.finish_and_clear();
    close(&target).await;
    tally.finish(stderr)?;
    let (mut counts, after) = result?;
    counts.add(&after);
    let seconds = began.elapsed().as_secs_f64();
    if common.json {
        writeln!(stdout, "{}", tally.json(&counts, seconds))?;
    } else {
        writeln!(stdout, "{}", tally.words(&counts, seconds))?;
    }
    Ok(if tally.is_whole() { 0 } else { SOME_REJECTED })
}

/// The node that receipts go to.
async fn connect(common: &Common, open: &dyn Fn(&Path) -> anyhow::Result<Node>) -> anyhow::Result<Target> {
    if is_url(common) {
        let key = common.key.clone().context(
            "importing over HTTP takes an office key: --key KEY, or TALLYSTICK_KEY in the environment",
        )?;
        return Ok(Target::Url(Remote::connect(&common.node, key).await?));
    }
    let node = open(Path::new(&common.node))?;
    let size = node.size();
    Ok(Target::Directory {
        node,
        size,
        campaigns: None,
    })
}

async fn close(target: &Target) {
    if let Target::Directory { node, .. } = target {
        node.shut_down().await;
    }
}

fn journey(directory: &Path, common: &Common) -> anyhow::Result<Export> {
    let path = directory.join(TRANSACTIONS);
    let (mut reader, progress) = open_csv(&path, &Format::default())?;
    let header = header(&mut reader, &path)?;
    let zone = common.time_zone.clone().unwrap_or(TimeZone::UTC);
    let mut layout = CompleteJourney::new(directory, &header, zone.clone(), common.register.clone())?;
    let currency = layout.currency();
    let loaded = replay::load(directory, currency, &zone, common.register.clone())?;
    let (mut coupons, mut watch, mut note) = (None, None, None);
    match loaded {
        None => note = Some(format!("there is no {REDEMPTIONS}: receipts alone are imported")),
        Some((loaded, _)) if is_url(common) => {
            note = Some(format!(
                "receipts alone are imported: the {} redemptions of {REDEMPTIONS} are decided at their own times, \
                 which only a node's directory can do",
                loaded.rows
            ));
        }
        Some((loaded, replay)) => {
            let watcher = layout.watcher(&header, replay)?;
            watch = Some(Box::new(watcher) as Box<dyn Watch + Send>);
            coupons = Some((loaded, currency));
        }
    }
    let export = Export::of_receipts(path, reader, layout, progress);
    Ok(Export {
        watch,
        coupons,
        note,
        ..export
    })
}

/// The coupons of The Complete Journey in `directory`: what was read of them, and
/// their uses in the order of their days.
///
/// # Errors
/// What cannot be read, and when there are none.
pub(super) fn journey_uses(directory: &Path) -> anyhow::Result<(Loaded, Vec<Use>)> {
    let mut export = journey(directory, &Common::default())?;
    let (loaded, _) = export.coupons.with_context(|| {
        format!(
            "there is no {REDEMPTIONS} in {}: `scripts/complete-journey-csv DIR` writes it",
            directory.display()
        )
    })?;
    let mut uses = Vec::new();
    let watch = export.watch.as_mut().map(|watch| &mut **watch as &mut dyn Watch);
    rows::read(&mut export.reader, &export.layout, watch, &mut |found| {
        if let Found::Used(used) = found {
            uses.push(*used);
        }
        ControlFlow::Continue(())
    })?;
    export.progress.finish_and_clear();
    Ok((loaded, uses))
}

fn is_url(common: &Common) -> bool {
    common.node.contains("://")
}

/// Signs the campaigns, and counts what was read of the coupons.
async fn campaigns(
    node: &Node,
    loaded: &Loaded,
    currency: Currency,
    file: &Path,
    tally: &mut Tally,
) -> anyhow::Result<Signed> {
    tally.begin(file);
    let signed = coupons::sign(node, &loaded.plans, currency).await?;
    tally.replayed = Some(Replayed {
        campaigns: (signed.issued, signed.repeated),
        rows: loaded.rows,
        bad: loaded.rejects.len() as u64,
        later_uses: loaded.later_uses,
        currency: currency.letters(),
        file: file.display().to_string(),
        ..Replayed::default()
    });
    for reject in &loaded.rejects {
        tally.reject(reject)?;
    }
    Ok(signed)
}

fn any_till(file: &Path, map: &Path, common: &Common) -> anyhow::Result<Export> {
    let shown = map.display();
    let text = std::fs::read_to_string(map).with_context(|| format!("cannot read {shown}"))?;
    let mapping: Mapping = toml::from_str(&text).with_context(|| format!("the mapping {shown} is wrong"))?;
    let (mut reader, progress) = open_csv(file, &mapping.file)?;
    let layout = layout_of(&mapping, &mut reader, common, (file, map))?;
    Ok(Export::of_receipts(file.to_owned(), reader, layout, progress))
}

/// Finds the mapping's columns; `file` and `map` are for errors.
fn layout_of(
    mapping: &Mapping,
    reader: &mut Reader,
    common: &Common,
    (file, map): (&Path, &Path),
) -> anyhow::Result<AnyTill> {
    let shown = map.display();
    let header = match &mapping.file.columns {
        Some(columns) => columns.iter().map(String::as_str).collect(),
        None => header(reader, file)?,
    };
    let zone = match (&common.time_zone, &mapping.time_zone) {
        (Some(zone), _) => zone.clone(),
        (None, Some(name)) => zone::parse(name)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("time_zone in {shown}"))?,
        (None, None) => TimeZone::UTC,
    };
    AnyTill::new(mapping, &header, zone, common.register.clone())
        .with_context(|| format!("{} does not go with {shown}", file.display()))
}

type Reader = csv::Reader<Box<dyn Read + Send>>;

fn open_csv(path: &Path, format: &Format) -> anyhow::Result<(Reader, ProgressBar)> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let progress = progress(bytes);
    Ok((csv_reader(Box::new(progress.wrap_read(file)), format)?, progress))
}

fn csv_reader(reader: Box<dyn Read + Send>, format: &Format) -> anyhow::Result<Reader> {
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
    Ok(csv::ReaderBuilder::new()
        .delimiter(ascii("delimiter", format.delimiter, ',')?)
        .quote(ascii("quote", format.quote, '"')?)
        .escape(escape)
        .double_quote(escape.is_none())
        // Rows of a wrong width are reported one by one.
        .flexible(true)
        .has_headers(format.columns.is_none())
        .from_reader(reader))
}

/// How far a file is read. Hidden by itself where standard error is no terminal.
fn progress(bytes: u64) -> ProgressBar {
    ProgressBar::new(bytes).with_style(
        ProgressStyle::with_template("{bar:30} {percent}% of {total_bytes} {msg} {eta} left")
            .expect("a template that is known to be right"),
    )
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
