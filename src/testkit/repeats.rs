//! How often tests repeat, and with which seeds.

use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

/// How often a test repeats: `short`, or `long` where `TALLYSTICK_LONG_TESTS`
/// is set, as it is in CI.
#[must_use]
pub fn repeats(short: u32, long: u32) -> u32 {
    if std::env::var_os("TALLYSTICK_LONG_TESTS").is_some() {
        long
    } else {
        short
    }
}

/// The seeds of a test: as many, from 0 on, as [`repeats`] says, or as the variables do.
fn seeds(short: u32, long: u32) -> Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is not a number")),
        )
    };
    match (number("TALLYSTICK_SEED"), number("TALLYSTICK_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..u64::from(repeats(short, long)),
    }
}

/// Runs `test` with as many seeds, from 0 on, as [`repeats`] says. A seed under
/// which it panics is printed, and `TALLYSTICK_SEED=N` runs that one alone;
/// `TALLYSTICK_SEEDS=N` runs the first `N` instead.
///
/// # Panics
/// When a variable is no number.
pub fn for_each_seed(short: u32, long: u32, mut test: impl FnMut(u64)) {
    for seed in seeds(short, long) {
        let told = ToldOnPanic(seed);
        test(seed);
        drop(told);
    }
}

/// The same on all cores, for a test that shares nothing between its seeds: seeds are
/// begun in their order, and none any more once one has failed. What `test` gives comes
/// back, in no order.
///
/// # Panics
/// When a variable is no number, or `test` panics.
pub fn for_each_seed_at_once<T: Send>(short: u32, long: u32, test: impl Fn(u64) -> T + Sync) -> Vec<T> {
    at_once(seeds(short, long), test)
}

fn at_once<T: Send>(seeds: Range<u64>, test: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let left = Mutex::new(seeds);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut given = Vec::new();
        while let Some(seed) = next() {
            let told = ToldOnPanic(seed);
            let none_left = OnPanic(|| *left.lock().unwrap_or_else(PoisonError::into_inner) = 0..0);
            given.push(test(seed));
            drop((told, none_left));
        }
        given
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let given = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        given.flatten().collect()
    })
}

struct ToldOnPanic(u64);

impl Drop for ToldOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the failing seed is {0}: TALLYSTICK_SEED={0} runs it again",
                self.0
            );
        }
    }
}

struct OnPanic<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::at_once;

    #[test]
    fn each_seed_is_run_once() {
        let mut seeds = at_once(0..500, |seed| seed);
        seeds.sort_unstable();
        assert_eq!(seeds, (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn no_seed_is_begun_any_more_once_one_has_failed() {
        let for_ever = || at_once(0..u64::MAX, |seed| assert_ne!(seed, 3, "a bad seed"));
        let failed = catch_unwind(AssertUnwindSafe(for_ever)).unwrap_err();
        assert!(failed.downcast_ref::<String>().unwrap().contains("a bad seed"));
    }
}
