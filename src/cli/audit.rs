//! `tallystick audit`: is a log whole, and did its node follow the rules?

mod html;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::verify::{proof::read_policy, read_file};
use super::{UsageError, export, follow, output};
use crate::credential::verify::DidDocument;
use crate::federation::client::CHECKPOINT;
use crate::federation::follower::told;
use crate::federation::{AuditedLog, LogClient};
use crate::log::{Checkpoint, Note, Policy, VerifierKey};
use crate::node::audit::{
    Against, AuditOptions, AuditReport, Finding, Part, StateFile, Summary, Verdict, audit, audit_served,
    audit_served_on, is_turnover, show_sum,
};
use crate::primitives::{UnixSeconds, limits};
use crate::server::{CONFIG_FILE, Config, NodeDir, Overrides};

/// Findings that the text shows for each rule; `--json` has them all.
const SHOWN_PER_RULE: usize = 5;

/// Registers that the text names one by one.
const REGISTERS_SHOWN: usize = 20;

/// Days and reasons of erasures that are named in the text.
const ERASURES_SHOWN: usize = 20;

/// Check a log: every hash, link, tree node, signature, number, total and use
///
/// DIR is a node's directory, or its store/ alone. The node must not be running
/// on it; nothing in it is changed. The log is compared with the guard file
/// beside the directory, and with any signed checkpoint that is given: without
/// either it is not known how long the log has to be. A store/ that is named
/// alone is compared with no guard file unless --guard names one.
///
/// A URL is that of a node that is running, or of a mirror; DIR may be a mirror's
/// directory too. Each entry is then found in the tree of the checkpoint that is
/// shown there, receipts' stubs and coupons' tags are read beside them, and
/// nothing grows with the log but what is counted. A receipt's details are not
/// looked at, which are no part of what a node serves of its log.
///
/// With --state FILE the audit goes on where the one before stopped that had this
/// file, even if that one was interrupted, as long as the log continues the
/// checkpoint of then; the report is about the whole log. What was read earlier is
/// not read again, so audit without it from time to time.
///
/// Exit codes: 0 clean, 20 something is wrong, 21 clean as far as can be known
/// (nothing to compare with, or only a guard file that is damaged in part; a
/// mirror without stubs), 1 could not read, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick audit shop\n  tallystick audit shop/store --checkpoint checkpoint.txt \
                  --json\n  tallystick audit https://tally.coop.example --key AUDITOR_KEY --from 1000000\n  tallystick audit \
                  https://tally.coop.example --key AUDITOR_KEY --state coop.audit"
)]
pub struct Args {
    /// A node's directory, or its store/ alone; a node's or mirror's URL; a mirror's directory
    #[arg(value_name = "DIR|URL")]
    log: String,
    /// The bearer key of an auditor, for a URL
    #[arg(long, value_name = "KEY", env = "TALLYSTICK_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The log's key (vkey), as the co-op publishes it; without it the one counts that is told at the URL
    #[arg(long, value_name = "VKEY", value_parser = parse_key)]
    log_key: Option<VerifierKey>,
    /// Begin at entry N [default: 0, of an export its first entry]: what entries before it would explain is not held against those that follow
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Stop before entry M [default: the log's end]
    #[arg(long, value_name = "M")]
    to: Option<u64>,
    /// Go on where the audit before stopped, as FILE tells, and write there how far this one comes; of a URL or a mirror's directory
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    state: Option<PathBuf>,
    /// A checkpoint that this log has signed, as /checkpoint serves it; may be given several times
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The node's did.json, where the audit does not begin at entry 0 and the node has changed its key for credentials before; may be given several times
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// A policy file (C2SP tlog-policy): a quorum of its witnesses has to have cosigned a checkpoint of the log
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The guard file, where it is neither DIR.guard nor where DIR/config.toml says
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_GUARD")]
    guard: Option<PathBuf>,
    /// Where the working copy is made: it takes as much room as the store
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write the result as a page with charts too, which opens offline
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Args {
    /// Audits and prints.
    ///
    /// # Errors
    /// What could not be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let part = self.part()?;
        let checkpoints = read_checkpoints(&self.checkpoints)?;
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let trusted = read_trusted(&self.trust)?;
        let terminal = std::io::stderr().is_terminal();
        let mut progress = |done, end| {
            if terminal && end > 0 {
                let _ = write!(std::io::stderr(), "\r{done} of {end} entries\u{1b}[K");
            }
        };
        let report = if is_served(&self.log) {
            if self.guard.is_some() || self.work_dir.is_some() {
                let what = "--guard and --work-dir are for a node's directory; give --checkpoint FILE to compare with what \
                            was signed before";
                return Err(UsageError(what.to_owned()).into());
            }
            let log = self.open_served(policy.clone())?;
            let against = Against {
                checkpoints: &checkpoints,
                policy: policy.as_ref(),
                trusted: &trusted,
            };
            match &self.state {
                Some(file) => audit_served_on(&log, StateFile::at(file), against, &mut progress)?,
                None => audit_served(&log, part, against, &mut progress)?,
            }
        } else {
            if self.state.is_some() {
                let what = "--state is for a URL or a mirror's directory: of a node's own directory everything is read each \
                            time, since what it stores may change; audit its URL, or a mirror of it";
                return Err(UsageError(what.to_owned()).into());
            }
            let dir = PathBuf::from(&self.log);
            let guard = match self.guard {
                Some(path) => Some(path),
                None => configured_guard(&dir)?,
            };
            let options = AuditOptions {
                dir,
                guard,
                checkpoints,
                trusted,
                work_dir: self.work_dir,
                part,
                policy,
            };
            audit(&options, &mut progress)?
        };
        if terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
        if let Some(path) = &self.html {
            std::fs::write(path, html::to_html(&report))
                .with_context(|| format!("could not write {}", path.display()))?;
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

impl Args {
    /// The entries to audit; of an export those that it holds.
    fn part(&self) -> anyhow::Result<Part> {
        let held = export::part_of(Path::new(&self.log))?;
        let (from, to) = held.map_or((0, None), |(from, to)| (from, Some(to)));
        let part = Part {
            from: self.from.unwrap_or(from),
            to: self.to.or(to),
        };
        if held.is_some() && self.state.is_some() {
            let what = format!("{} holds a part of a log: --state is for a whole one", self.log);
            return Err(UsageError(what).into());
        }
        if let Some(to) = part.to
            && to <= part.from
        {
            let what = format!("--to {to} has to be above --from {}", part.from);
            return Err(UsageError(what).into());
        }
        if let Some((first, end)) = held
            && (part.from < first || part.to.is_some_and(|to| to > end))
        {
            let what = format!("{} holds the entries {first} to {} alone", self.log, end - 1);
            return Err(UsageError(what).into());
        }
        Ok(part)
    }

    fn open_served(&self, policy: Option<Policy>) -> anyhow::Result<AuditedLog> {
        let source = follow::open(&self.log, self.key.as_deref())?;
        let key = if let Some(key) = &self.log_key {
            key.clone()
        } else {
            let key = told(source.as_ref())?;
            output::note(&format!(
                "note: {} tells {key} as its log's key, and nobody vouches for it but who serves it; give --log-key with \
                 what the co-op publishes elsewhere",
                self.log
            ));
            key
        };
        let mut client = LogClient::new(source, key);
        if let Some(policy) = policy {
            client = client.with_policy(Arc::new(policy));
        }
        Ok(AuditedLog::open(&client)?)
    }
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|error| error.to_string())
}

/// Whether the files of a log lie there as C2SP logs serve them, rather than a
/// node's store.
fn is_served(log: &str) -> bool {
    log.starts_with("http://") || log.starts_with("https://") || Path::new(log).join(CHECKPOINT).is_file()
}

/// The checkpoints in these files, with the files' names.
fn read_checkpoints(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut checkpoints = Vec::with_capacity(paths.len());
    for path in paths {
        let size = std::fs::metadata(path).map(|file| file.len());
        let size = size.with_context(|| format!("could not read {}", path.display()))?;
        anyhow::ensure!(
            size <= limits::NOTE_BYTES_MAX as u64,
            "{} is too long for a checkpoint",
            path.display()
        );
        let note = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        // Whether this log's key has signed it is for the audit to say.
        let body = Note::parse(&note).and_then(|note| Checkpoint::parse(note.text()));
        body.with_context(|| format!("{} is not a checkpoint", path.display()))?;
        checkpoints.push((path.display().to_string(), note));
    }
    Ok(checkpoints)
}

fn read_trusted(paths: &[PathBuf]) -> anyhow::Result<Vec<DidDocument>> {
    let read = |path: &PathBuf| {
        let json = read_file(path, limits::DID_DOCUMENT_BYTES_MAX)?;
        DidDocument::parse(&json).with_context(|| format!("{} is no did.json of a node", path.display()))
    };
    paths.iter().map(read).collect()
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
        ..AuditOptions::default()
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
    let erasures = summary.erasures.iter().map(
        |((day, reason), receipts)| json!({"day": day_name(*day), "reason": reason, "receipts": receipts}),
    );
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
        "from": report.part.start,
        "to": report.part.end,
        "size": summary.size,
        "root": summary.root.map(|root| root.to_string()),
        "whole": summary.whole,
        "unreadable_entries": summary.unreadable,
        "undecodable_entries": summary.undecodable,
        "first_time": summary.first_time.map(UnixSeconds::rfc3339),
        "last_time": summary.last_time.map(UnixSeconds::rfc3339),
        "entries": summary.kinds,
        "coupons": summary.coupons,
        "coupons_redeemed": summary.coupons_redeemed,
        "receipts": receipts.collect::<Vec<_>>(),
        "campaigns": campaigns.collect::<Vec<_>>(),
        "redemptions_by_partner": summary.partners,
        "erasures": erasures.collect::<Vec<_>>(),
        "compared_with": compared.collect::<Vec<_>>(),
        "notes": report.notes,
        "findings_total": report.findings.total(),
        "findings_by_rule": counts,
        "findings": findings.collect::<Vec<_>>(),
    })
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
        writeln!(out, "  written      {} to {}", first.rfc3339(), last.rfc3339())?;
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
    write_erasures(out, summary)?;
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

/// When and why receipts were erased.
fn write_erasures(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let count = summary.kind("erasure");
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "  erasures     {count}")?;
    for ((day, reason), receipts) in summary.erasures.iter().take(ERASURES_SHOWN) {
        let plural = if *receipts == 1 { "receipt" } else { "receipts" };
        writeln!(
            out,
            "    {receipts} {plural} erased on {}, because: {}",
            day_name(*day),
            on_one_line(reason)
        )?;
    }
    if summary.erasures.len() > ERASURES_SHOWN {
        let more = summary.erasures.len() - ERASURES_SHOWN;
        writeln!(out, "    and {more} more days and reasons; --json has them")?;
    }
    Ok(())
}

/// What a log says, without what a terminal would take for a command.
fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A day since 1970, UTC.
fn day_name(day: u64) -> String {
    i64::try_from(day)
        .ok()
        .and_then(|day| day.checked_mul(86_400))
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(
            || format!("day {day}"),
            |time| time.strftime("%Y-%m-%d").to_string(),
        )
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
        Verdict::Clean if report.part.start > 0 => writeln!(
            out,
            "Clean: every rule that can be judged without what came before holds for the entries {} to {}.",
            report.part.start,
            report.part.end.saturating_sub(1)
        ),
        Verdict::Clean => {
            let signed = report.points.iter().map(|point| point.size).max().unwrap_or(0);
            writeln!(
                out,
                "Clean: every rule holds for all {} entries, {} of which are known to be signed.",
                report.summary.size,
                signed.min(report.part.end)
            )
        }
        Verdict::CleanAsFarAsKnown => {
            let why = if report.is_partial {
                return writeln!(
                    out,
                    "Clean as far as can be known: every rule holds that the entries {} to {} alone can be judged by.",
                    report.part.start,
                    report.part.end.saturating_sub(1)
                );
            } else if report.points.iter().all(|point| point.from_store) {
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
            part: 0..8,
            is_partial: false,
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
            note: None,
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
