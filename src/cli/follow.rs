//! What `monitor` and `mirror` have in common: logs are followed in rounds.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use data_encoding::BASE64;
use prometheus::{Encoder as _, Registry, TextEncoder};
use serde_json::{Value, json};

use super::verify::proof::read_policy;
use super::{UsageError, output};
use crate::federation::copy::{Keep, LogCopy};
use crate::federation::follower::{Again, Finding, Follower, Round, Severity, Trust};
use crate::federation::metrics::FollowMetrics;
use crate::federation::{DirSource, HttpSource, LogSource};
use crate::log::{Policy, VerifierKey};
use crate::primitives::{Clock as _, OsEntropy, SystemClock};

/// Seconds between two rounds unless another number is given.
const INTERVAL_SECONDS: u64 = 60;

/// What every exit code of the two commands means.
pub const EXIT_CODES: &str = "Exit codes: 0 all was looked at and nothing is wrong, 20 something is wrong but cannot be \
proven to others, 22 two histories were signed and a file of evidence convicts the log, 23 something could not be looked \
at, 1 the command failed, 2 wrong usage. Of several the first of 22, 20, 23.";

/// How logs are followed.
#[derive(Debug, clap::Args)]
pub struct FollowArgs {
    /// The bearer key of an auditor; for several logs, URL=KEY for each
    #[arg(
        long = "key",
        value_name = "KEY|URL=KEY",
        env = "TALLYSTICK_KEY",
        hide_env_values = true
    )]
    keys: Vec<String>,
    /// The log's key (vkey), as the co-op publishes it; may be repeated
    ///
    /// Without it the key counts that is told beside the log itself, trusted on
    /// first use and held from then on.
    #[arg(long = "log-key", value_name = "VKEY", value_parser = parse_key)]
    log_keys: Vec<VerifierKey>,
    /// A witness's key (vkey) whose cosignatures are checked and told; may be repeated
    #[arg(long = "witness", value_name = "VKEY", value_parser = parse_key)]
    witnesses: Vec<VerifierKey>,
    /// A policy file (C2SP tlog-policy): a quorum of its witnesses has to have cosigned what is shown
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where others keep the same log, a mirror or another monitor's state; may be repeated
    #[arg(long, value_name = "URL|DIR")]
    compare: Vec<String>,
    /// Bundles of 256 known entries, picked at random, that each round reads once more; or all
    #[arg(long, value_name = "BUNDLES|all", default_value = "4", value_parser = parse_again)]
    again: Again,
    /// One round, and the exit code tells
    #[arg(long, conflicts_with = "interval")]
    once: bool,
    /// Seconds between two rounds [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    interval: Option<u64>,
    /// A file that each round writes metrics to, for Prometheus's textfile collector
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Print a JSON object a round and log
    #[arg(long)]
    json: bool,
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|error| error.to_string())
}

fn parse_again(text: &str) -> Result<Again, String> {
    if text == "all" {
        return Ok(Again::All);
    }
    let bundles = text.parse().map_err(|_| "it is a number of bundles, or all")?;
    Ok(Again::Bundles(bundles))
}

/// A log to follow, and where what is verified of it is kept.
pub struct Watched {
    /// Its address as it was given.
    pub address: String,
    /// The copy's directory.
    pub dir: PathBuf,
    source: Arc<dyn LogSource>,
    follower: Option<Follower>,
}

impl FollowArgs {
    /// The logs at `addresses`, kept where `dir_of` says.
    ///
    /// # Errors
    /// When an address or key is none.
    pub fn watched(
        &self,
        addresses: &[String],
        dir_of: impl Fn(&str) -> PathBuf,
    ) -> anyhow::Result<Vec<Watched>> {
        for given in &self.keys {
            let known = |address: &String| {
                let for_it = given.strip_prefix(address.as_str());
                for_it.is_some_and(|rest| rest.starts_with('='))
            };
            if addresses.len() > 1 && !addresses.iter().any(known) {
                return Err(UsageError(
                    "which of the logs is the key for? With several logs give --key URL=KEY, the URL as it is given".to_owned(),
                )
                .into());
            }
        }
        addresses
            .iter()
            .map(|address| {
                Ok(Watched {
                    dir: dir_of(address),
                    source: open(address, self.key_for(address))?,
                    address: address.clone(),
                    follower: None,
                })
            })
            .collect()
    }

    fn key_for(&self, address: &str) -> Option<&str> {
        let named = self.keys.iter().find_map(|given| {
            let rest = given.strip_prefix(address)?;
            rest.strip_prefix('=')
        });
        // An access key holds no `=`.
        named.or_else(|| {
            self.keys
                .iter()
                .find(|given| !given.contains('='))
                .map(String::as_str)
        })
    }

    /// Follows `logs` until it is told to stop, or once.
    ///
    /// # Errors
    /// What keeps all rounds from being made.
    pub fn follow(self, mut logs: Vec<Watched>, keep: Keep, hashes_only: bool) -> anyhow::Result<ExitCode> {
        let others = self
            .compare
            .iter()
            .map(|address| open(address, None))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let policy = self.policy.as_deref().map(read_policy).transpose()?.map(Arc::new);
        let registry = Registry::new();
        let metrics = FollowMetrics::new(&registry);
        let mut first = true;
        loop {
            let mut worst = None;
            for log in &mut logs {
                let round = self.round(log, (keep, hashes_only), policy.as_ref(), &others);
                let now = SystemClock.now();
                metrics.count(&log.address, &round, now);
                worst = worst.max(round.severity());
                if self.json {
                    output::data(&to_json(log, &round, now.0).to_string());
                } else if first || self.once || round.new_entries > 0 || !round.findings.is_empty() {
                    output::data(&to_text(log, &round));
                }
            }
            if let Some(path) = &self.metrics {
                write_metrics(path, &registry)?;
            }
            if self.once {
                return Ok(ExitCode::from(exit_code(worst)));
            }
            first = false;
            std::thread::sleep(Duration::from_secs(self.interval.unwrap_or(INTERVAL_SECONDS)));
        }
    }

    fn round(
        &self,
        log: &mut Watched,
        (keep, hashes_only): (Keep, bool),
        policy: Option<&Arc<Policy>>,
        others: &[Arc<dyn LogSource>],
    ) -> Round {
        if log.follower.is_none() {
            let begun = LogCopy::open(&log.dir, keep).and_then(|copy| {
                let source = Arc::clone(&log.source);
                Follower::begin(source, copy, &self.log_keys, self.witnesses.clone(), hashes_only)
            });
            match begun {
                Ok((follower, trust)) => {
                    if trust == Trust::FirstUse {
                        output::note(&format!(
                            "note: {} tells {} as its log's key; it is trusted on first use and held from now on. Compare it \
                             with what the co-op publishes elsewhere",
                            log.address,
                            follower.client().key()
                        ));
                    }
                    log.follower = Some(match policy {
                        Some(policy) => follower.with_policy(Arc::clone(policy)),
                        None => follower,
                    });
                }
                Err(error) => return Round::not_begun(&error),
            }
        }
        let follower = log.follower.as_mut().expect("it has just begun");
        let terminal = std::io::stderr().is_terminal();
        let round = follower.round(others, self.again, &OsEntropy, &mut |read| {
            if terminal {
                let _ = write!(std::io::stderr(), "\r{read} entries read\u{1b}[K");
            }
        });
        if terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
        round
    }
}

/// A log at a URL, or in a directory.
///
/// # Errors
/// When the URL is none.
pub fn open(address: &str, key: Option<&str>) -> anyhow::Result<Arc<dyn LogSource>> {
    if address.starts_with("http://") || address.starts_with("https://") {
        return Ok(Arc::new(HttpSource::new(address, key)?));
    }
    if !Path::new(address).is_dir() {
        return Err(UsageError(format!(
            "{address:?} is neither a URL (https://…) nor a directory that is there"
        ))
        .into());
    }
    Ok(Arc::new(DirSource::new(address)))
}

fn exit_code(worst: Option<Severity>) -> u8 {
    match worst {
        None => 0,
        Some(Severity::Wrong) => 20,
        Some(Severity::Fork) => 22,
        Some(Severity::Unknown) => 23,
    }
}

fn status(round: &Round) -> &'static str {
    round.severity().map_or("ok", Severity::word)
}

fn to_json(log: &Watched, round: &Round, now: u64) -> Value {
    let findings = round.findings.iter().map(|finding| {
        json!({
            "severity": finding.severity.word(), "rule": finding.rule, "detail": finding.detail,
            "entry": finding.entry, "evidence": finding.evidence,
        })
    });
    let cosigned = round
        .cosigned
        .iter()
        .map(|(name, time)| json!({"name": name, "time": time.0}));
    json!({
        "log": log.address,
        "origin": log.follower.as_ref().map(|follower| follower.client().key().name()),
        "time": now,
        "status": status(round),
        "size": round.size,
        "root": BASE64.encode(&round.root.0),
        "new_entries": round.new_entries,
        "entries_again": round.entries_again,
        "cosigned": cosigned.collect::<Vec<_>>(),
        "vouched": round.vouched,
        "agreeing": round.agreeing,
        "beside": round.beside.as_ref().map(|beside| json!({
            "entries": beside.entries, "lacking": beside.lacking, "not_shown": beside.not_shown,
        })),
        "findings": findings.collect::<Vec<_>>(),
        "kept_in": log.dir,
    })
}

fn to_text(log: &Watched, round: &Round) -> String {
    let mut text = format!(
        "{}: {} entries verified, {} of them new, {} read again",
        log.address, round.size, round.new_entries, round.entries_again
    );
    for (name, _) in &round.cosigned {
        let _ = write!(text, "; cosigned by {name}");
    }
    if let Some(vouched) = round.vouched {
        let _ = write!(text, "; a quorum vouches for {vouched} of them");
    }
    if let Some(beside) = &round.beside {
        if beside.entries < round.size || beside.lacking > 0 {
            let _ = write!(
                text,
                "; receipts' stubs and coupons' tags are kept for {} entries, without the stubs of {} receipts",
                beside.entries, beside.lacking
            );
        }
        if let Some(why) = &beside.not_shown {
            let _ = write!(text, " ({why})");
        }
    }
    for name in &round.agreeing {
        let _ = write!(text, "; {name} agrees");
    }
    for finding in &round.findings {
        let _ = write!(text, "\n  {}", in_words(finding));
    }
    text
}

fn in_words(finding: &Finding) -> String {
    let begin = match finding.severity {
        Severity::Unknown => "NOT LOOKED AT",
        Severity::Wrong => "WRONG",
        Severity::Fork => "FORK",
    };
    let mut text = format!("{begin}: {} ({})", finding.detail, finding.rule);
    if let (Severity::Fork, Some(entry)) = (finding.severity, finding.entry) {
        let _ = write!(text, "; entry {entry} is the first that differs");
    }
    if let Some(path) = &finding.evidence {
        let _ = write!(
            text,
            "; the evidence is {0}, and `tallystick verify --evidence {0} --log-key VKEY` checks it anywhere",
            path.display()
        );
    }
    text
}

/// Replaces the file whole: who reads it sees one round's numbers.
fn write_metrics(path: &Path, registry: &Registry) -> anyhow::Result<()> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("could not write {}", path.display()))
}
