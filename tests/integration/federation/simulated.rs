//! Whole federations in simulated time: see `testkit::simulation`.

use std::collections::BTreeMap;

use tallystick::testkit::for_each_seed;
use tallystick::testkit::simulation::{Outcome, run};

fn simulated(seed: u64) -> Outcome {
    run(
        seed,
        tokio::runtime::Builder::new_current_thread().start_paused(true),
    )
}

#[test]
fn whatever_happens_both_logs_agree_and_tills_are_told_the_truth() {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for_each_seed(24, 2_000, |seed| {
        for (what, count) in simulated(seed).counts {
            *counts.entry(what).or_default() += count;
        }
    });
    eprintln!("{counts:#?}");
}

#[test]
fn a_seed_fixes_everything() {
    for seed in [3, 4] {
        let once = simulated(seed);
        assert_eq!(once, simulated(seed));
    }
    assert_ne!(simulated(3).trace, simulated(4).trace);
}
