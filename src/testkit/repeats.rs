//! How often tests repeat, and with which seeds.

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

/// Runs `test` with as many seeds, from 0 on, as [`repeats`] says. A seed under
/// which it panics is printed, and `TALLYSTICK_SEED=N` runs that one alone;
/// `TALLYSTICK_SEEDS=N` runs the first `N` instead.
///
/// # Panics
/// When a variable is no number.
pub fn for_each_seed(short: u32, long: u32, mut test: impl FnMut(u64)) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is not a number")),
        )
    };
    let seeds = match (number("TALLYSTICK_SEED"), number("TALLYSTICK_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..u64::from(repeats(short, long)),
    };
    for seed in seeds {
        let told = ToldOnPanic(seed);
        test(seed);
        drop(told);
    }
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
