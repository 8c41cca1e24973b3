//! Intents whose issuer half was not believed: asked for again after pauses of their
//! own, since a half that says something else will most likely say so the next time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::primitives::{RedemptionId, limits};

/// The pause after the first half that was not believed.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// All of one issuer's; as many as its open intents at most.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<RedemptionId, Doubt>);

#[derive(Debug)]
struct Doubt {
    times: u32,
    until: Instant,
}

impl Doubts {
    /// Counts a half that is not believed; whether it is the first about this intent.
    pub fn add(&mut self, id: RedemptionId, now: Instant) -> bool {
        let doubt = self.0.entry(id).or_insert(Doubt { times: 0, until: now });
        let most = Duration::from_secs(limits::ISSUER_PAUSE_SECONDS_MAX);
        // Doubled each time; ten times are beyond the most.
        let pause = FIRST_PAUSE.saturating_mul(1 << doubt.times.min(10)).min(most);
        doubt.times = doubt.times.saturating_add(1);
        doubt.until = now + pause;
        doubt.times == 1
    }

    /// Whether this intent may be asked for.
    pub fn is_due(&self, id: RedemptionId, now: Instant) -> bool {
        self.0.get(&id).is_none_or(|doubt| doubt.until <= now)
    }

    /// Ends the pause: somebody waits, or wants something else of the issuer.
    pub fn hurry(&mut self, id: RedemptionId, now: Instant) {
        if let Some(doubt) = self.0.get_mut(&id) {
            doubt.until = now;
        }
    }

    /// The intent has ended; whether it was in doubt.
    pub fn settle(&mut self, id: RedemptionId) -> bool {
        self.0.remove(&id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_only_the_first_doubt_is_new() {
        let (id, other) = (RedemptionId([1; 16]), RedemptionId([2; 16]));
        let (mut doubts, mut now) = (Doubts::default(), Instant::now());
        assert!(doubts.is_due(id, now));
        let mut pauses = Vec::new();
        for time in 0..12 {
            assert_eq!(doubts.add(id, now), time == 0);
            let mut pause = 0;
            while !doubts.is_due(id, now) {
                now += Duration::from_secs(1);
                pause += 1;
            }
            pauses.push(pause);
        }
        assert_eq!(pauses[..3], [2, 4, 8]);
        assert_eq!(pauses[11], limits::ISSUER_PAUSE_SECONDS_MAX);
        doubts.add(id, now);
        assert!(!doubts.is_due(id, now) && doubts.is_due(other, now));
        doubts.hurry(id, now);
        assert!(doubts.is_due(id, now));
        assert!(doubts.settle(id) && !doubts.settle(id));
        assert!(doubts.add(id, now), "what comes after its end is new");
    }
}
