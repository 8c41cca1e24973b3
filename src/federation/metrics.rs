//! What monitors and mirrors count, for alerts.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::follower::{Round, Severity};
use crate::primitives::UnixSeconds;

/// Counts of the logs that are followed, each under the address it was given by.
#[derive(Clone, Debug)]
pub struct FollowMetrics {
    entries: IntGaugeVec,
    verified_at: GaugeVec,
    findings: IntGaugeVec,
    read: IntCounterVec,
    rounds: IntCounterVec,
}

impl FollowMetrics {
    /// Metrics in `registry`.
    ///
    /// # Panics
    /// When `registry` has them already.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        const PLAIN: &str = "fixed names and labels";
        let options = |name: &str, help: &str| Opts::new(format!("tallystick_follow_{name}"), help);
        let entries = IntGaugeVec::new(
            options(
                "verified_entries",
                "Entries that the last verified checkpoint covers",
            ),
            &["log"],
        );
        let verified_at = GaugeVec::new(
            options(
                "verified_timestamp_seconds",
                "When a round last found nothing wrong, since 1970",
            ),
            &["log"],
        );
        let findings = IntGaugeVec::new(
            options(
                "findings",
                "What the last round found: unknown (could not be looked at), wrong, or fork (with evidence)",
            ),
            &["log", "severity"],
        );
        let read = IntCounterVec::new(
            options("entries_read_total", "Entries that were read and hashed"),
            &["log"],
        );
        let rounds = IntCounterVec::new(options("rounds_total", "Rounds that were made"), &["log"]);
        let metrics = Self {
            entries: entries.expect(PLAIN),
            verified_at: verified_at.expect(PLAIN),
            findings: findings.expect(PLAIN),
            read: read.expect(PLAIN),
            rounds: rounds.expect(PLAIN),
        };
        let all: [Box<dyn prometheus::core::Collector>; 5] = [
            Box::new(metrics.entries.clone()),
            Box::new(metrics.verified_at.clone()),
            Box::new(metrics.findings.clone()),
            Box::new(metrics.read.clone()),
            Box::new(metrics.rounds.clone()),
        ];
        for collector in all {
            registry
                .register(collector)
                .expect("a registry without these metrics");
        }
        metrics
    }

    /// Counts a round of the log at `log`, made at `now`.
    pub fn count(&self, log: &str, round: &Round, now: UnixSeconds) {
        self.rounds.with_label_values(&[log]).inc();
        let read = round.new_entries + round.entries_again;
        self.read.with_label_values(&[log]).inc_by(read);
        let entries = i64::try_from(round.size).unwrap_or(i64::MAX);
        self.entries.with_label_values(&[log]).set(entries);
        for severity in [Severity::Unknown, Severity::Wrong, Severity::Fork] {
            let found = round
                .findings
                .iter()
                .filter(|finding| finding.severity == severity);
            let found = i64::try_from(found.count()).unwrap_or(i64::MAX);
            self.findings
                .with_label_values(&[log, severity.word()])
                .set(found);
        }
        if round.findings.is_empty() {
            // Seconds since 1970 are far below 2^53.
            self.verified_at.with_label_values(&[log]).set(now.0 as f64);
        }
    }
}
