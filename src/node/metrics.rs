//! What a node counts. The registry is passed in.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, exponential_buckets,
};

use crate::ledger::Event;

/// The node's metrics.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    /// Seconds from the first write of a batch until its checkpoint is signed.
    pub commit_seconds: Histogram,
    /// Entries in the log.
    pub log_entries: IntGauge,
    /// Entries recorded since the start, by kind.
    pub recorded_total: IntCounterVec,
    /// Requests that the domain refused, by code.
    pub refused_total: IntCounterVec,
    /// Well-signed coupons that were never issued: an alarm.
    pub unissued_coupons: IntCounter,
}

impl NodeMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Panics
    /// When `registry` has metrics of these names.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let opts = |name: &str, help: &str| Opts::new(name, help);
        let buckets = exponential_buckets(0.000_25, 2.0, 14).expect("constants that fit");
        let metrics = Self {
            commit_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "tallystick_commit_seconds",
                    "Time from a batch's first write until its checkpoint is signed",
                )
                .buckets(buckets),
            )
            .expect("constants that fit"),
            log_entries: IntGauge::with_opts(opts("tallystick_log_entries", "Entries in the log"))
                .expect("constants that fit"),
            recorded_total: IntCounterVec::new(
                opts(
                    "tallystick_recorded_total",
                    "Entries recorded since the start, by kind",
                ),
                &["kind"],
            )
            .expect("constants that fit"),
            refused_total: IntCounterVec::new(
                opts(
                    "tallystick_refused_total",
                    "Requests that the domain refused, by code",
                ),
                &["code"],
            )
            .expect("constants that fit"),
            unissued_coupons: IntCounter::with_opts(opts(
                "tallystick_unissued_coupons_total",
                "Coupons with a good signature that were never issued here: a key may be stolen",
            ))
            .expect("constants that fit"),
        };
        let all: [Box<dyn prometheus::core::Collector>; 5] = [
            Box::new(metrics.commit_seconds.clone()),
            Box::new(metrics.log_entries.clone()),
            Box::new(metrics.recorded_total.clone()),
            Box::new(metrics.refused_total.clone()),
            Box::new(metrics.unissued_coupons.clone()),
        ];
        for collector in all {
            registry
                .register(collector)
                .expect("a registry without these names");
        }
        metrics
    }

    pub(super) fn recorded(&self, event: &Event) {
        let kind = match event {
            Event::Genesis(_) => "genesis",
            Event::CampaignSigned(_) => "campaign",
            Event::BatchIssued(_) => "batch",
            Event::ReceiptIssued(_) => "receipt",
            Event::Redeemed(_) => "redemption",
            Event::Reversed(_) => "reversal",
            Event::StatusSet(_) => "revocation",
            Event::StatusListSigned(_) => "status_list",
            Event::ReceiptErased(_) => "erasure",
            Event::Intent(_) => "intent",
            Event::RedeemerHalf(_) => "redeemer_half",
            Event::IntentEnded(_) => "intent_ended",
            Event::CancelWished(_) => "cancel_wished",
            Event::RequestCancelled(_) => "request_cancelled",
            Event::CredentialKeyAdded(_) => "credential_key",
        };
        self.recorded_total.with_label_values(&[kind]).inc();
    }

    pub(super) fn refused(&self, code: &str) {
        self.refused_total.with_label_values(&[code]).inc();
    }
}
