//! `tallystick audit`: is a log whole, and did its node follow the rules?

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::log::{Checkpoint, Note};
use crate::node::audit::{
    AuditOptions, AuditReport, Finding, Summary, Verdict, audit, is_turnover, show_sum,
};
use crate::primitives::{UnixSeconds, limits};
use crate::server::{CONFIG_FILE, Config, NodeDir, Overrides};

/// Findings that the text shows for each rule; `--json` has them all.
const SHOWN_PER_RULE: usize = 5;

/// Registers that the text names one by one.
const REGISTERS_SHOWN: usize = 20;

/// Check a log offline: every hash, link, tree node, signature, number, total and use
///
/// DIR is a node's directory, or its store/ alone. The node must not be running
/// on it; nothing in it is changed. The log is compared with the guard file
/// beside the directory, and with any signed checkpoint that is given: without
/// either it is not known how long the log has to be. A store/ that is named
/// alone is compared with no guard file unless --guard names one.
///
/// Exit codes: 0 clean, 20 something is wrong, 21 clean as far as can be known
/// (nothing to compare with, or only a guard file that is damaged in part),
/// 1 could not read, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick audit shop\n  tallystick audit shop/store --checkpoint \
                        checkpoint.txt --json"
)]
pub struct Args {
    /// A node's directory, or its store/ alone
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// A checkpoint that this log has signed, as /checkpoint serves it; may be given several times
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The guard file, where it is neither DIR.guard nor where DIR/config.toml says
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_GUARD")]
    guard: Option<PathBuf>,
    /// Where the working copy is made: it takes as much room as the store
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Audits and prints.
    ///
    /// # Errors
    /// What could not be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let guard = match self.guard {
            Some(path) => Some(path),
            None => configured_guard(&self.dir)?,
        };
        let mut options = AuditOptions {
            dir: self.dir,
            guard,
            checkpoints: Vec::new(),
            work_dir: self.work_dir,
        };
        for path in self.checkpoints {
            let size = std::fs::metadata(&path).map(|file| file.len());
            let size = size.with_context(|| format!("could not read {}", path.display()))?;
            anyhow::ensure!(
                size <= limits::NOTE_BYTES_MAX as u64,
                "{} is too long for a checkpoint",
                path.display()
            );
            let note = std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
            // Whether this log's key has signed it is for the audit to say.
            let body = Note::parse(&note).and_then(|note| Checkpoint::parse(note.text()));
            body.with_context(|| format!("{} is not a checkpoint", path.display()))?;
            options.checkpoints.push((path.display().to_string(), note));
        }
        let terminal = std::io::stderr().is_terminal();
        let report = audit(&options, &mut |done, size| {
            if terminal && size > 0 {
                let _ = write!(std::io::stderr(), "\r{done} of {size} entries\u{1b}[K");
            }
        })?;
        if terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
        let shown = if self.json {
            let mut text = serde_json::to_string_pretty(&to_json(&report)).expect("JSON values are written");
            text.push('\n');
            text
        } else {
            to_text(&report)
        };
        // A reader that has gone away (`| head`) changes nothing about the verdict.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
        Ok(ExitCode::from(exit_code(report.verdict())))
    }
}

/// The guard file that the directory's settings name, if they name one.
fn configured_guard(dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !dir.join(CONFIG_FILE).exists() {
        return Ok(None);
    }
    let node = NodeDir::at(dir)?;
    let config = Config::load(&node.config_file(), &Overrides::default())
        .context("the settings say where the guard file is; name it with --guard FILE to do without them")?;
    Ok(config.guard.is_some().then(|| node.guard_file(&config)))
}

/// Audits a node's directory and gives the report's text, and whether it is
/// clean.
///
/// # Errors
/// What could not be read.
pub(super) fn in_words(dir: &Path) -> anyhow::Result<(String, bool)> {
    let options = AuditOptions {
        dir: dir.to_owned(),
        guard: None,
        checkpoints: Vec::new(),
        work_dir: None,
    };
    let report = audit(&options, &mut |_, _| {})?;
    Ok((to_text(&report), report.verdict() == Verdict::Clean))
}

fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Clean => 0,
        Verdict::Findings => 20,
        Verdict::CleanAsFarAsKnown => 21,
    }
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "clean",
        Verdict::CleanAsFarAsKnown => "clean_as_far_as_known",
        Verdict::Findings => "findings",
    }
}

/// The report as JSON.
fn to_json(report: &AuditReport) -> Value {
    let summary = &report.summary;
    let receipts = summary.receipts.iter().map(|(key, total)| {
        json!({
            "register": key.register.as_str(), "currency": key.currency, "type": key.kind,
            "count": total.count,
            // A sum beyond what a JSON number carries is text.
            "total": i64::try_from(total.sum).map_or_else(|_| json!(total.sum.to_string()), |sum| json!(sum)),
        })
    });
    let campaigns = summary.campaigns.iter().map(|(id, campaign)| {
        json!({
            "id": id.to_string(), "name": campaign.name, "currency": campaign.currency,
            "coupons": campaign.issued, "redemptions": campaign.redemptions,
            "granted": campaign.spent.minor_units(),
        })
    });
    let compared = report.points.iter().map(|point| {
        json!({"source": point.source, "size": point.size, "root": point.root.to_string(), "reached": point.compared,
            "in_doubt": point.in_doubt})
    });
    let findings = report.findings.kept().iter().map(|finding| {
        json!({
            "first_entry": finding.entries.map(|range| range.0),
            "last_entry": finding.entries.map(|range| range.1),
            "rule": finding.rule.id(), "message": finding.message, "hint": finding.rule.hint(),
        })
    });
    let counts: serde_json::Map<String, Value> = report
        .findings
        .counts()
        .iter()
        .map(|(rule, count)| (rule.id().to_owned(), json!(count)))
        .collect();
    json!({
        "verdict": verdict_word(report.verdict()),
        "exit_code": exit_code(report.verdict()),
        "name": summary.name,
        "base_url": summary.base_url,
        "size": summary.size,
        "root": summary.root.map(|root| root.to_string()),
        "whole": summary.whole,
        "unreadable_entries": summary.unreadable,
        "undecodable_entries": summary.undecodable,
        "first_time": summary.first_time.map(show_time),
        "last_time": summary.last_time.map(show_time),
        "entries": summary.kinds,
        "coupons": summary.coupons,
        "coupons_redeemed": summary.coupons_redeemed,
        "receipts": receipts.collect::<Vec<_>>(),
        "campaigns": campaigns.collect::<Vec<_>>(),
        "compared_with": compared.collect::<Vec<_>>(),
        "notes": report.notes,
        "findings_total": report.findings.total(),
        "findings_by_rule": counts,
        "findings": findings.collect::<Vec<_>>(),
    })
}

fn show_time(time: UnixSeconds) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("{time} seconds since 1970"), |time| time.to_string())
}

/// The report in sentences.
fn to_text(report: &AuditReport) -> String {
    let mut text = String::new();
    write_summary(&mut text, &report.summary).expect("writing to a string does not fail");
    write_verdict(&mut text, report).expect("writing to a string does not fail");
    text
}

fn write_summary(out: &mut String, summary: &Summary) -> std::fmt::Result {
    if !summary.base_url.is_empty() {
        writeln!(out, "The log of {} ({})", summary.name, summary.base_url)?;
    }
    writeln!(out, "  entries      {}", summary.size)?;
    if let (Some(first), Some(last)) = (summary.first_time, summary.last_time) {
        writeln!(out, "  written      {} to {}", show_time(first), show_time(last))?;
    }
    if let Some(root) = summary.root {
        writeln!(out, "  root         {root}")?;
    }
    writeln!(
        out,
        "  coupons      {} issued in {} batches, {} of them redeemed; {} redemptions, {} reversals",
        summary.coupons,
        summary.kind("batch"),
        summary.coupons_redeemed,
        summary.kind("redemption"),
        summary.kind("reversal"),
    )?;
    writeln!(
        out,
        "  statuses     {} changes, {} lists signed",
        summary.kind("status_change"),
        summary.kind("status_list")
    )?;
    write_receipts(out, summary)?;
    for campaign in summary.campaigns.values() {
        writeln!(
            out,
            "  campaign     {}: {} coupons, {} redemptions, {} granted",
            campaign.name,
            campaign.issued,
            campaign.redemptions,
            show_sum(campaign.currency, i128::from(campaign.spent.minor_units())),
        )?;
    }
    Ok(())
}

/// By type and currency, then by register.
fn write_receipts(out: &mut String, summary: &Summary) -> std::fmt::Result {
    use std::collections::BTreeMap;
    writeln!(out, "  receipts     {}", summary.kind("receipt"))?;
    let mut kinds: BTreeMap<(&str, &str), (u64, i128)> = BTreeMap::new();
    let mut registers: BTreeMap<(&str, &str), (u64, i128)> = BTreeMap::new();
    for (key, total) in &summary.receipts {
        let kind = kinds.entry((key.kind, key.currency)).or_default();
        *kind = (kind.0 + total.count, kind.1 + total.sum);
        let register = registers
            .entry((key.register.as_str(), key.currency))
            .or_default();
        let turnover = if is_turnover(key.kind) { total.sum } else { 0 };
        *register = (register.0 + total.count, register.1 + turnover);
    }
    for ((kind, currency), (count, sum)) in &kinds {
        writeln!(out, "    {kind:<10} {count:>9}  {}", show_sum(currency, *sum))?;
    }
    for ((register, currency), (count, sum)) in registers.iter().take(REGISTERS_SHOWN) {
        writeln!(
            out,
            "    at {register:<19} {count:>9}  {} without training",
            show_sum(currency, *sum)
        )?;
    }
    if registers.len() > REGISTERS_SHOWN {
        writeln!(
            out,
            "    and {} more registers; --json has them all",
            registers.len() - REGISTERS_SHOWN
        )?;
    }
    Ok(())
}

fn write_verdict(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    writeln!(out)?;
    for point in &report.points {
        let reached = if point.compared {
            ""
        } else {
            ", which the log does not reach"
        };
        writeln!(
            out,
            "Compared with {}: {} entries{reached}.",
            point.source, point.size
        )?;
    }
    for note in &report.notes {
        writeln!(out, "Note: {note}.")?;
    }
    match report.verdict() {
        Verdict::Clean => {
            let signed = report.points.iter().map(|point| point.size).max().unwrap_or(0);
            writeln!(
                out,
                "Clean: every rule holds for all {} entries, {signed} of which are known to be signed.",
                report.summary.size
            )
        }
        Verdict::CleanAsFarAsKnown => {
            let why = if report.points.iter().all(|point| point.from_store) {
                "there is neither a guard file nor a checkpoint (--checkpoint FILE) to compare with"
            } else {
                "one of the guard file's two slots is damaged, or its writing was cut short, and could have said more; \
                 a checkpoint (--checkpoint FILE) could tell"
            };
            writeln!(
                out,
                "Clean as far as can be known: whole up to entry {}; what follows cannot be known, for {why}.",
                report.summary.size.saturating_sub(1)
            )
        }
        Verdict::Findings => write_findings(out, report),
    }
}

fn write_findings(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    for (rule, count) in report.findings.counts() {
        writeln!(out, "{} ({count})", rule.id())?;
        let of_rule = report
            .findings
            .kept()
            .iter()
            .filter(|finding| finding.rule == *rule);
        for finding in of_rule.take(SHOWN_PER_RULE) {
            writeln!(out, "  {}: {}", place(finding), finding.message)?;
        }
        if *count > SHOWN_PER_RULE as u64 {
            writeln!(
                out,
                "  and {} more; --json has them",
                count - SHOWN_PER_RULE as u64
            )?;
        }
        writeln!(out, "  What to do: {}.", rule.hint())?;
    }
    writeln!(out)?;
    let (total, rules) = (report.findings.total(), report.findings.counts().len());
    writeln!(
        out,
        "Something is wrong: {total} finding{} under {rules} rule{}.",
        if total == 1 { "" } else { "s" },
        if rules == 1 { "" } else { "s" },
    )
}

fn place(finding: &Finding) -> String {
    match finding.entries {
        None => "the store".to_owned(),
        Some((first, last)) if first == last => format!("entry {first}"),
        Some((first, last)) => format!("entries {first} to {last}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::node::audit::{Findings, SignedPoint};
    use crate::primitives::Digest;

    use super::*;

    #[test]
    fn the_verdict_is_a_sentence_and_an_exit_code() {
        let mut report = AuditReport {
            summary: Summary::default(),
            findings: Findings::default(),
            points: Vec::new(),
            notes: Vec::new(),
        };
        report.summary.size = 8;
        assert_eq!(exit_code(report.verdict()), 21);
        assert!(to_text(&report).contains("whole up to entry 7; what follows cannot be known"));
        report.points.push(SignedPoint {
            source: "the guard file".to_owned(),
            size: 8,
            root: Digest::ZERO,
            compared: true,
            in_doubt: true,
            from_store: false,
        });
        assert_eq!(exit_code(report.verdict()), 21);
        assert!(to_text(&report).contains("one of the guard file's two slots"));
        report.points[0].in_doubt = false;
        assert_eq!(exit_code(report.verdict()), 0);
        assert!(to_text(&report).contains("Clean: every rule holds for all 8 entries"));
        assert_eq!(to_json(&report)["verdict"], "clean");
        assert_eq!(to_json(&report)["findings"], json!([]));
    }
}
