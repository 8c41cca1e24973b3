//! Mirrors that a node keeps by itself, each in a thread of low priority: tills are
//! served first.
//!
//! A mirror is followed in rounds, as `tallystick mirror` does. After a round that
//! found something the next one waits twice as long, up to an hour. A fork ends it:
//! which history to go on with is for a person to decide.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use prometheus::Registry;

use super::copy::{Keep, LogCopy};
use super::error::FollowError;
use super::follower::{Again, Follower, Round, Severity};
use super::metrics::FollowMetrics;
use super::source::{FetchError, LogSource};
use crate::log::VerifierKey;
use crate::node::give_way;
use crate::primitives::limits::{MIRROR_PAUSE_SECONDS_MAX, MIRROR_STOP_SECONDS_MAX};
use crate::primitives::{Clock, Entropy};

/// Bundles of known entries that a round reads once more.
const AGAIN: Again = Again::Bundles(1);

/// A mirror that is kept up to date.
#[derive(Clone, Debug)]
pub struct KeptMirror {
    /// What it is called in metrics and log lines.
    pub name: String,
    /// The copy's directory.
    pub dir: PathBuf,
    /// Where the log is read.
    pub source: Arc<dyn LogSource>,
    /// The log's key.
    pub log_key: VerifierKey,
    /// Between two rounds.
    pub every: Duration,
}

/// Keeps mirrors until it is dropped.
#[derive(Debug)]
pub struct Keeper {
    stopping: Arc<AtomicBool>,
    /// The threads wait for its end, and we for that of theirs.
    wake: Option<Sender<Infallible>>,
    ended: Receiver<Infallible>,
}

impl Keeper {
    /// Begins to keep `mirrors`; their metrics go to `registry`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    ///
    /// # Panics
    /// When `registry` has these metrics already.
    pub fn start(
        mirrors: &[KeptMirror],
        registry: &Registry,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        let metrics = FollowMetrics::new(registry);
        let ((wake, woken), (working, ended)) = (bounded(0), bounded(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let keeper = Self {
            stopping: Arc::clone(&stopping),
            wake: Some(wake),
            ended,
        };
        for mirror in mirrors {
            let mut mirror = mirror.clone();
            mirror.source = Arc::new(Ending {
                source: mirror.source,
                stopping: Arc::clone(&stopping),
            });
            let keeping = Keeping {
                mirror,
                metrics: metrics.clone(),
                woken: woken.clone(),
                clock: Arc::clone(clock),
                entropy: Arc::clone(entropy),
                follower: None,
                _working: working.clone(),
            };
            std::thread::Builder::new()
                .name("tallystick-mirror".to_owned())
                .spawn(move || keeping.keep())?;
        }
        Ok(keeper)
    }
}

impl Drop for Keeper {
    /// Ends the rounds under way with the answers that they wait for. Their copies
    /// are whole whenever they end, so a source that does not answer is not waited
    /// for.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.wake.take());
        let most = Duration::from_secs(MIRROR_STOP_SECONDS_MAX);
        if self.ended.recv_timeout(most) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a mirror's round is cut off: its copy is whole as of its checkpoint");
        }
    }
}

/// A source that answers nothing any more once the node stops.
struct Ending {
    source: Arc<dyn LogSource>,
    stopping: Arc<AtomicBool>,
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl LogSource for Ending {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(FetchError::Unreachable {
                what: format!("{}/{path}", self.name()),
                why: "the node is stopping".to_owned(),
            });
        }
        self.source.get(path, most)
    }

    fn name(&self) -> &str {
        self.source.name()
    }
}

/// One mirror in its thread.
struct Keeping {
    mirror: KeptMirror,
    metrics: FollowMetrics,
    woken: Receiver<Infallible>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    follower: Option<Follower>,
    /// Gone when the thread has ended.
    _working: Sender<Infallible>,
}

impl Keeping {
    fn keep(mut self) {
        give_way("a mirror's thread");
        let mut failures = 0_u32;
        loop {
            let round = self.round();
            // What a stop has cut off says nothing.
            if self.woken.try_recv() == Err(TryRecvError::Disconnected) {
                return;
            }
            self.metrics.count(&self.mirror.name, &round, self.clock.now());
            self.tell(&round);
            if round.severity() == Some(Severity::Fork) {
                self.metrics.ended(&self.mirror.name);
                return;
            }
            failures = if round.findings.is_empty() {
                0
            } else {
                failures.saturating_add(1)
            };
            let pause = pause(
                self.mirror.every,
                failures,
                u32::from_be_bytes(self.entropy.bytes()),
            );
            if self.woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn round(&mut self) -> Round {
        let follower = match &mut self.follower {
            Some(follower) => follower,
            None => match self.begin() {
                Ok(follower) => {
                    let kept = follower.kept();
                    let follower = self.follower.insert(follower);
                    if kept.severity() == Some(Severity::Fork) {
                        return kept;
                    }
                    follower
                }
                Err(error) => return Round::not_begun(&error),
            },
        };
        follower.round(&[], AGAIN, self.entropy.as_ref(), &mut |_| {})
    }

    fn begin(&self) -> Result<Follower, FollowError> {
        let copy = LogCopy::open(&self.mirror.dir, Keep::Entries)?;
        let key = std::slice::from_ref(&self.mirror.log_key);
        let source = Arc::clone(&self.mirror.source);
        let (follower, _) = Follower::begin(source, copy, key, Vec::new(), false)?;
        Ok(follower)
    }

    fn tell(&self, round: &Round) {
        let name = &self.mirror.name;
        for finding in &round.findings {
            let detail = &finding.detail;
            match finding.severity {
                Severity::Unknown => {
                    tracing::warn!(mirror = name, rule = finding.rule, "not looked at: {detail}");
                }
                Severity::Wrong => {
                    tracing::error!(
                        mirror = name,
                        rule = finding.rule,
                        "the mirrored log is wrong: {detail}"
                    );
                }
                Severity::Fork => tracing::error!(
                    mirror = name,
                    evidence = ?finding.evidence,
                    "{detail}. The log is not mirrored any further: show the file of evidence to whoever keeps it and to \
                     its other readers; move it away and start the node again to go on"
                ),
            }
        }
        if let Some(why) = round.beside.as_ref().and_then(|beside| beside.not_shown.as_ref()) {
            tracing::warn!(
                mirror = name,
                "receipts' stubs and coupons' tags are not shown: {why}"
            );
        }
        tracing::debug!(
            mirror = name,
            entries = round.size,
            new = round.new_entries,
            "a round is over"
        );
    }
}

/// Until the next round: longer after failures, and never quite the same, so that
/// many nodes do not ask one at once. `roll` is random.
fn pause(every: Duration, failures: u32, roll: u32) -> Duration {
    let doubled = every.saturating_mul(2_u32.saturating_pow(failures.min(16)));
    let longest = Duration::from_secs(MIRROR_PAUSE_SECONDS_MAX).max(every);
    // From nine tenths to eleven.
    let tenths = 0.9 + 0.2 * f64::from(roll) / f64::from(u32::MAX);
    doubled.min(longest).mul_f64(tenths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_are_never_quite_the_same() {
        let every = Duration::from_secs(60);
        let seconds = |failures, roll| pause(every, failures, roll).as_secs_f64().round();
        assert_eq!([seconds(0, 0), seconds(0, u32::MAX)], [54.0, 66.0]);
        let longer = [0, 1, 2, 5, 6, 40, u32::MAX].map(|failures| seconds(failures, u32::MAX / 2));
        assert_eq!(longer, [60.0, 120.0, 240.0, 1_920.0, 3_600.0, 3_600.0, 3_600.0]);
        // A mirror that is to be asked once a day is not asked more often for failing.
        let day = Duration::from_secs(86_400);
        assert!(pause(day, 3, 0) > Duration::from_secs(70_000));
    }
}
