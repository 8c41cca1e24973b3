//! What gossip counts.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::federation::gossip::{Gossip, Kind, View};
use crate::primitives::UnixSeconds;

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    exchanges: IntCounterVec,
    items: IntCounterVec,
    held: IntGaugeVec,
    refused: IntCounterVec,
    items_refused: IntCounterVec,
    heard: IntGaugeVec,
    failing: IntGauge,
    list_age: IntGaugeVec,
    forked: IntGauge,
    watched: IntCounterVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Self {
        const PLAIN: &str = "fixed names and labels";
        let options = |name: &str, help: &str| Opts::new(format!("tallystick_gossip_{name}"), help);
        let counter = |name: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(options(name, help), &[label]).expect(PLAIN);
            registry
                .register(Box::new(counter.clone()))
                .expect("a registry without these names");
            counter
        };
        let gauge = |name: &str, help: &str, label: &str| {
            let gauge = IntGaugeVec::new(options(name, help), &[label]).expect(PLAIN);
            registry
                .register(Box::new(gauge.clone()))
                .expect("a registry without these names");
            gauge
        };
        let plain = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(options(name, help)).expect(PLAIN);
            registry
                .register(Box::new(gauge.clone()))
                .expect("a registry without these names");
            gauge
        };
        Self {
            exchanges: counter(
                "exchanges_total",
                "Messages of gossip that were sent, by what became of them",
                "result",
            ),
            items: counter("items_total", "Items that were new and are kept, by kind", "kind"),
            held: gauge("held_items", "Items that are held, by kind", "kind"),
            refused: counter(
                "refused_messages_total",
                "Messages of gossip that were refused, by reason",
                "reason",
            ),
            items_refused: counter(
                "refused_items_total",
                "Items in messages of members that were refused, by reason",
                "reason",
            ),
            heard: gauge(
                "heard_timestamp_seconds",
                "When a peer last answered, since 1970",
                "peer",
            ),
            failing: plain("failing_peers", "Peers that did not answer lately"),
            list_age: gauge(
                "list_age_seconds",
                "Age of the oldest of a member's newest status lists",
                "member",
            ),
            watched: counter(
                "watched_checkpoints_total",
                "Checkpoints of members that were held against the ones cosigned before, by what became of them",
                "result",
            ),
            forked: plain("forked_logs", "Members whose log is convicted of a fork"),
        }
    }

    pub fn exchanged(&self, result: &str) {
        self.exchanges.with_label_values(&[result]).inc();
    }

    pub fn kept(&self, kind: Kind) {
        self.items.with_label_values(&[kind.word()]).inc();
    }

    pub fn watched(&self, result: &str) {
        self.watched.with_label_values(&[result]).inc();
    }

    pub fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    pub fn item_refused(&self, reason: &str) {
        self.items_refused.with_label_values(&[reason]).inc();
    }

    pub fn heard(&self, peer: &str, now: UnixSeconds) {
        self.heard.with_label_values(&[peer]).set(gauge(now.0));
    }

    pub fn show(&self, machine: &Gossip, view: &View, now: UnixSeconds) {
        for kind in Kind::ALL {
            let held = machine.held().count(kind);
            self.held
                .with_label_values(&[kind.word()])
                .set(i64::try_from(held).unwrap_or(i64::MAX));
        }
        self.failing
            .set(i64::try_from(machine.failing()).unwrap_or(i64::MAX));
        self.list_age.reset();
        for (member, age) in view.list_ages(now) {
            self.list_age.with_label_values(&[&member]).set(gauge(age));
        }
        self.forked
            .set(i64::try_from(view.forks().len()).unwrap_or(i64::MAX));
    }
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
