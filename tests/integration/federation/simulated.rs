//! Whole federations in simulated time: see `testkit::simulation`.

use std::collections::BTreeMap;

use tallystick::testkit::for_each_seed_at_once;
use tallystick::testkit::simulation::shown::{self, Shown};
use tallystick::testkit::simulation::{Outcome, run};

fn simulated(seed: u64) -> Outcome {
    run(
        seed,
        tokio::runtime::Builder::new_current_thread().start_paused(true),
    )
}

/// What has to happen in a few seeds, or they show nothing.
const HAPPENS: [&str; 16] = [
    "made",
    "unknown",
    "lost",
    "cancelled",
    "too late to cancel",
    "walked away",
    "issuer: coupon_used_up",
    "own made",
    "crashes",
    "revoked",
    "rosters told",
    "lie: OtherHalves",
    "lie: OtherTree",
    "stopped",
    "forks",
    "audits",
];

/// What has to happen in some hundred.
const HAPPENS_SELDOM: [&str; 2] = ["here: coupon_revoked", "not begun: issuer forked"];

#[test]
fn whatever_happens_both_logs_agree_and_tills_are_told_the_truth() {
    let each = for_each_seed_at_once(16, 1_000, |seed| simulated(seed).counts);
    let seeds = each.len();
    let mut counts = BTreeMap::<String, u64>::new();
    for (what, count) in each.into_iter().flatten() {
        *counts.entry(what).or_default() += count;
    }
    println!("{counts:?}");
    let demanded = [(16, &HAPPENS[..]), (200, &HAPPENS_SELDOM[..])];
    for (_, happens) in demanded.iter().filter(|(least, _)| seeds >= *least) {
        for what in *happens {
            assert!(counts.contains_key(*what), "never: {what}; {counts:?}");
        }
    }
}

#[test]
fn a_seed_fixes_everything() {
    for seed in [3, 4] {
        assert_eq!(simulated(seed), simulated(seed));
    }
    assert_ne!(simulated(3).trace, simulated(4).trace);
}

/// Whoever is shown a second history in one checkpoint alone finds it, though it is older
/// than what is held, or could not be read when it came.
#[test]
fn a_second_history_that_one_checkpoint_shows_is_found() {
    for_each_seed_at_once(6, 200, |seed| {
        for what in Shown::ALL {
            println!("{what:?}");
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            shown::run(seed, what, runtime.start_paused(true));
        }
    });
}
