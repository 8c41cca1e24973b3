//! `tallystick export`: a period of a log as a directory, for an auditor's program
//! and for a person with a spreadsheet.

mod readme;
mod tables;

use std::fs::DirBuilder;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use self::tables::Tables;
use super::input::When;
use super::node_args::NodeArgs;
use super::{UsageError, output};
use crate::federation::client::CHECKPOINT;
use crate::federation::export::{check_shown, export, first_at, seal};
use crate::federation::follower::told;
use crate::federation::{FollowError, HttpSource, LogClient, LogSource, VerifiedTree};
use crate::log::VerifierKey;
use crate::primitives::{UnixSeconds, limits};

/// What of the log the directory holds; `audit` goes by it.
pub const EXPORT_FILE: &str = "export.json";

/// Where the log's files lie, next to its checkpoint.
const TILES: &str = "tile";

/// Entries between two words of progress.
const PROGRESS_ENTRIES: u64 = 10_000;

/// Write a period of a node's log as a directory: for `audit`, and for people
///
/// Entries, checkpoint, hashes, receipts' stubs and coupons' tags lie there as the
/// node serves them, so that `tallystick audit` needs nothing else; campaigns and
/// stubs as credentials, proofs of single entries as tlog-proofs, and receipts,
/// redemptions and campaigns as CSV. What is personal of receipts is not exported.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The period is one of the log: what was recorded in it, whatever time of sale an import gives.\n\n\
                  Examples:\n  tallystick export march --node shop --from 2026-03-01T00:00:00+01:00 --to \
                  2026-04-01T00:00:00+02:00\n  tallystick export all --node https://coop.example --key AUDITOR_KEY \
                  --log-key VKEY\n  tallystick audit march"
)]
pub struct Args {
    /// The directory to make
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// From this time on, or from this entry on [default: the log's beginning]
    #[arg(long, value_name = "TIME|ENTRY", value_parser = parse_edge)]
    from: Option<Edge>,
    /// Up to this time or entry, itself not included [default: the log's end]
    #[arg(long, value_name = "TIME|ENTRY", value_parser = parse_edge)]
    to: Option<Edge>,
    /// The log's key (vkey); without it that which the node tells
    #[arg(long, value_name = "VKEY", value_parser = parse_key)]
    log_key: Option<VerifierKey>,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// An end of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Entry(u64),
    Time(UnixSeconds),
}

fn parse_edge(text: &str) -> Result<Edge, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let entry = text.parse().map_err(|_| "there is no such entry".to_owned())?;
        return Ok(Edge::Entry(entry));
    }
    let time = When::parse(text)
        .map_err(|_| "it is an entry's number, or a time as in 2026-03-01T00:00:00+01:00".to_owned())?;
    let time: jiff::Timestamp = time.as_str().parse().expect("it was just read");
    u64::try_from(time.as_second())
        .map(|seconds| Edge::Time(UnixSeconds(seconds)))
        .map_err(|_| "it lies before 1970".to_owned())
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|error| error.to_string())
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.check_out()?;
        let done = self.node.with(|client| {
            let source = HttpSource::new(client.base(), client.key())?;
            self.export(std::sync::Arc::new(source))
        })?;
        output::result(self.json, &done, |value| {
            format!(
                "exported entries {} to {} of {}\nreceipts {}\nredemptions {}\n",
                value["from"],
                value["to"].as_u64().unwrap_or_default().saturating_sub(1),
                output::text(value, "origin"),
                value["receipts"],
                value["redemptions"],
            )
        });
        Ok(ExitCode::SUCCESS)
    }

    /// Only a new or an empty directory: what lies there already would be taken for
    /// a part of the export.
    fn check_out(&self) -> anyhow::Result<()> {
        let shown = self.out.display();
        match std::fs::read_dir(&self.out).map(|mut files| files.next().is_some()) {
            Ok(false) => Ok(()),
            Ok(true) => Err(UsageError(format!("{shown} is not empty; name a new directory")).into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("could not read {shown}")),
        }
    }

    /// For its owner alone: it shows a shop's trade.
    fn make_out(&self) -> anyhow::Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.out);
        made.with_context(|| format!("could not make {}", self.out.display()))
    }

    fn export(&self, source: std::sync::Arc<dyn LogSource>) -> anyhow::Result<Value> {
        let key = match &self.log_key {
            Some(key) => key.clone(),
            None => told(source.as_ref())?,
        };
        let client = LogClient::new(std::sync::Arc::clone(&source), key.clone());
        let tree = client.update(None)?;
        let (from, to) = (edge(&tree, self.from, 0)?, edge(&tree, self.to, tree.size())?);
        if from >= to {
            return Err(UsageError(format!(
                "there are no entries in that period: it begins with entry {from} and ends before entry {to}, of {}",
                tree.size()
            ))
            .into());
        }
        // A key that was forgotten leaves no directory behind.
        check_shown(&tree, from)?;
        self.make_out()?;
        let mut tables = Tables::begin(&self.out, source.as_ref(), &tree)?;
        let terminal = std::io::stderr().is_terminal();
        export::<anyhow::Error>(&tree, &self.out, from..to, &mut |entry| {
            if terminal && entry.index.is_multiple_of(PROGRESS_ENTRIES) {
                let _ = write!(
                    std::io::stderr(),
                    "\r{} of {} entries\u{1b}[K",
                    entry.index - from,
                    to - from
                );
            }
            tables.take(entry)
        })?;
        if terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
        let counted = tables.finish()?;
        let about = json!({
            "origin": key.name(), "log_key": key.to_string(),
            "from": from, "to": to,
            "size": tree.size(),
            "receipts": counted.receipts, "redemptions": counted.redemptions, "reversals": counted.reversals,
        });
        write(
            &self.out.join("README.txt"),
            &readme::text(&about, &counted, tree.size()),
        )?;
        let mut text = serde_json::to_string_pretty(&about).expect("JSON values are written");
        text.push('\n');
        write(&self.out.join(EXPORT_FILE), &text)?;
        seal(&tree, &key, &self.out)?;
        Ok(about)
    }
}

fn edge(tree: &VerifiedTree, edge: Option<Edge>, otherwise: u64) -> Result<u64, FollowError> {
    match edge {
        None => Ok(otherwise),
        Some(Edge::Entry(index)) => Ok(index.min(tree.size())),
        Some(Edge::Time(time)) => first_at(tree, time),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

/// The entries that an exported directory holds; `None` where it is none.
///
/// # Errors
/// When `export.json` cannot be read, and of an export that was cut off.
pub fn part_of(dir: &Path) -> anyhow::Result<Option<(u64, u64)>> {
    let path = dir.join(EXPORT_FILE);
    if dir.join(TILES).is_dir() && !dir.join(CHECKPOINT).exists() {
        anyhow::bail!(
            "{} has no checkpoint, which an export or a mirror writes last: it was cut off. Begin an export again in a \
             new directory; a mirror goes on where it was",
            dir.display()
        );
    }
    let told = std::fs::metadata(&path).map(|file| file.len());
    match told {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("could not read {}", path.display())),
        Ok(size) if size > limits::BODY_BYTES_MAX as u64 => {
            anyhow::bail!("{} is too long for what an export writes", path.display())
        }
        Ok(_) => {}
    }
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    let about: Value = serde_json::from_str(&text).unwrap_or_default();
    match (about["from"].as_u64(), about["to"].as_u64()) {
        (Some(from), Some(to)) if from < to => Ok(Some((from, to))),
        _ => anyhow::bail!(
            "{} does not say which entries the directory holds",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_an_entry_or_a_time() {
        assert_eq!(parse_edge("4711"), Ok(Edge::Entry(4_711)));
        assert_eq!(
            parse_edge("2026-03-07T16:21:09+01:00"),
            Ok(Edge::Time(UnixSeconds(1_772_896_869)))
        );
        for wrong in [
            "",
            "-1",
            "march",
            "2026-03-07",
            "99999999999999999999",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(parse_edge(wrong).is_err(), "{wrong}");
        }
    }
}
