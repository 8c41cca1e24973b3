//! Whether a node that was cut off is whole: it opens; every answered call gets
//! its answer again and does nothing anew; each effect stands in the log once;
//! the log is one history, as far as anything of it was ever signed; and an
//! audit finds nothing.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use data_encoding::BASE64;
use serde_json::Value;
use tallystick::ledger::Event;
use tallystick::log::{Entry, entry_hash};
use tallystick::merkle::{self, Frontier};
use tallystick::node::audit::{AuditOptions, Verdict, audit};
use tallystick::primitives::Digest;
use tallystick::server::{NodeDir, OpenedNode, Overrides, Serving, System};
use tallystick::store::{Guard, SledEngine, scan_entries};
use tokio::runtime::Runtime;

use super::load::Load;

/// What answers requests, not the node's own upkeep.
const EFFECTS: [&str; 6] = [
    "campaign",
    "batch",
    "receipt",
    "redemption",
    "reversal",
    "revocation",
];

/// Judges the node in `dir`, which no process has open. Gives its log's size.
///
/// # Errors
/// Everything that is wrong, in sentences.
pub fn judge(dir: &Path, load: &Load, runtime: &Runtime) -> Result<u64, String> {
    judge_at(dir, load, runtime, &System::default())
}

/// [`judge`], with another system's clock.
///
/// # Errors
/// As [`judge`].
pub fn judge_at(dir: &Path, load: &Load, runtime: &Runtime, system: &System) -> Result<u64, String> {
    let dir = NodeDir::at(dir).map_err(|error| error.to_string())?;
    let overrides = Overrides {
        workers: Some(1),
        ..Overrides::default()
    };
    let opened = dir.open_in(system, &overrides, None);
    let opened = opened.map_err(|error| format!("the node does not open: {error}"))?;
    let guard = dir.guard_file(&opened.config);
    answers_again(opened, load, runtime)?;
    let size = one_history(&dir.store(), &guard, load)?;
    audits_clean(&dir, &guard)?;
    Ok(size)
}

fn answers_again(opened: OpenedNode, load: &Load, runtime: &Runtime) -> Result<(), String> {
    let node = opened.node.clone();
    let effects = || -> u64 {
        let recorded = &node.metrics().recorded_total;
        EFFECTS
            .iter()
            .map(|kind| recorded.with_label_values(&[*kind]).get())
            .sum()
    };
    // Opening finishes the batches that were cut off between their passes.
    let at_opening = effects();
    let serving = Serving::start(opened).map_err(|error| error.to_string())?;
    let other = runtime.block_on(load.repeat_all(&serving.url()));
    let anew = effects() - at_opening;
    drop(node);
    serving.stop().map_err(|error| error.to_string())?;
    if let Some(first) = other.first() {
        return Err(format!(
            "{} answers are others now, the first: {first}",
            other.len()
        ));
    }
    if anew > 0 {
        return Err(format!("{anew} of the calls that were answered were done again"));
    }
    Ok(())
}

/// Reads the log itself, without the node.
fn one_history(store: &Path, guard: &Path, load: &Load) -> Result<u64, String> {
    let (engine, _) = SledEngine::open(store).map_err(|error| error.to_string())?;
    let mut heads = load.heads();
    let mut tree = Frontier::new();
    let mut keys = BTreeSet::new();
    let mut hashes: Vec<Digest> = Vec::new();
    let mut wrong = Vec::new();
    let scanned = scan_entries(&engine, 0, &mut |index, bytes| {
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                wrong.push(format!("entry {index} cannot be read: {error}"));
                return ControlFlow::Break(());
            }
        };
        let before = hashes.last().copied().unwrap_or(Digest::ZERO);
        if entry.index != hashes.len() as u64 || entry.previous != before {
            wrong.push(format!("entry {index} does not follow the one before it"));
        }
        let answers = Event::from_body(entry.kind, &entry.body)
            .ok()
            .and_then(|(_, answers)| answers);
        if answers.is_some_and(|answers| !keys.insert(answers.key)) {
            wrong.push(format!(
                "entry {index} answers a request that was answered before"
            ));
        }
        hashes.push(entry_hash(bytes));
        tree.push(merkle::leaf_hash(bytes));
        let signed = heads.remove(&tree.size());
        if signed.is_some_and(|root| root != BASE64.encode(&tree.root())) {
            wrong.push(format!("another root was signed at size {}", tree.size()));
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| error.to_string())?;
    if let Some((size, _)) = heads.first_key_value() {
        wrong.push(format!("{size} entries were signed, {} are there", tree.size()));
    }
    let guard = Guard::read(guard).map_err(|error| error.to_string())?;
    if (guard.size, guard.root) != (tree.size(), tree.root()) {
        wrong.push("the guard says something else than the log".to_owned());
    }
    for exchange in load.exchanges() {
        let said: Value = serde_json::from_slice(&exchange.answer).expect("the node answers JSON");
        // A campaign's answer names no entry.
        let Some(index) = said["entry"]["index"].as_u64() else {
            continue;
        };
        let there = usize::try_from(index).ok().and_then(|index| hashes.get(index));
        if there.is_none_or(|hash| said["entry"]["hash"] != hash.to_string()) {
            wrong.push(format!("entry {index} was answered and is not there"));
        }
    }
    if wrong.is_empty() {
        Ok(tree.size())
    } else {
        Err(wrong.join("\n"))
    }
}

fn audits_clean(dir: &NodeDir, guard: &Path) -> Result<(), String> {
    let options = AuditOptions {
        dir: dir.root().to_owned(),
        guard: Some(guard.to_owned()),
        ..AuditOptions::default()
    };
    let report = audit(&options, &mut |_, _| {}).map_err(|error| error.to_string())?;
    match report.verdict() {
        Verdict::Clean => Ok(()),
        other => Err(format!("the audit says {other:?}: {:?}", report.findings)),
    }
}
