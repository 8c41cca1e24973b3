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
    failed: IntCounterVec,
    lag: IntGaugeVec,
    beside: IntGaugeVec,
    vouched: IntGaugeVec,
    ended: IntGaugeVec,
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
        let failed = IntCounterVec::new(
            options("failed_rounds_total", "Rounds that found something"),
            &["log"],
        );
        let lag = IntGaugeVec::new(
            options(
                "lag_entries",
                "Entries that the log has shown and that are not verified yet",
            ),
            &["log"],
        );
        let beside = IntGaugeVec::new(
            options(
                "beside_entries",
                "Entries beside which a mirror keeps receipts' stubs and coupons' tags",
            ),
            &["log"],
        );
        let vouched = IntGaugeVec::new(
            options(
                "vouched_entries",
                "Entries that a quorum of the policy's witnesses vouches for",
            ),
            &["log"],
        );
        let ended = IntGaugeVec::new(
            options(
                "ended",
                "1 when a fork was found and the node follows the log no further",
            ),
            &["log"],
        );
        let metrics = Self {
            entries: entries.expect(PLAIN),
            verified_at: verified_at.expect(PLAIN),
            findings: findings.expect(PLAIN),
            read: read.expect(PLAIN),
            rounds: rounds.expect(PLAIN),
            failed: failed.expect(PLAIN),
            lag: lag.expect(PLAIN),
            beside: beside.expect(PLAIN),
            vouched: vouched.expect(PLAIN),
            ended: ended.expect(PLAIN),
        };
        let all: [Box<dyn prometheus::core::Collector>; 10] = [
            Box::new(metrics.entries.clone()),
            Box::new(metrics.verified_at.clone()),
            Box::new(metrics.findings.clone()),
            Box::new(metrics.read.clone()),
            Box::new(metrics.rounds.clone()),
            Box::new(metrics.failed.clone()),
            Box::new(metrics.lag.clone()),
            Box::new(metrics.beside.clone()),
            Box::new(metrics.vouched.clone()),
            Box::new(metrics.ended.clone()),
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
        let set = |gauge: &IntGaugeVec, entries: u64| {
            let entries = i64::try_from(entries).unwrap_or(i64::MAX);
            gauge.with_label_values(&[log]).set(entries);
        };
        set(&self.entries, round.size);
        if let Some(shown) = round.shown {
            set(&self.lag, shown.saturating_sub(round.size));
        }
        if let Some(beside) = &round.beside {
            set(&self.beside, beside.entries);
        }
        if let Some(vouched) = round.vouched {
            set(&self.vouched, vouched);
        }
        let failed = u64::from(!round.findings.is_empty());
        self.failed.with_label_values(&[log]).inc_by(failed);
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

    /// A fork has ended the rounds of the log at `log`.
    pub fn ended(&self, log: &str) {
        self.ended.with_label_values(&[log]).set(1);
    }
}
