//! Rounds that alternate between two sides, so that a noisy machine does not
//! decide, and the numbers on a command line.

use std::time::Duration;

/// Takes both sides' times once a round, the first side first in every other one.
pub fn alternate(
    rounds: usize,
    left: &mut dyn FnMut() -> Duration,
    right: &mut dyn FnMut() -> Duration,
) -> Vec<(Duration, Duration)> {
    (0..rounds)
        .map(|round| {
            if round % 2 == 0 {
                let first = left();
                (first, right())
            } else {
                let first = right();
                (left(), first)
            }
        })
        .collect()
}

/// The middle one of `values`.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints how many things a second either side did, and the ratio of the right
/// one to the left one: the median over the rounds.
pub fn report(what: &str, names: (&str, &str), count: u64, rounds: &[(Duration, Duration)]) {
    let per_second = |time: Duration| count as f64 / time.as_secs_f64();
    let left = median(rounds.iter().map(|round| per_second(round.0)).collect());
    let right = median(rounds.iter().map(|round| per_second(round.1)).collect());
    let ratio = |round: &(Duration, Duration)| round.0.as_secs_f64() / round.1.as_secs_f64();
    println!("{what}: {count}, median of {} rounds", rounds.len());
    println!("  {:<34} {left:>10.0} a second", names.0);
    println!("  {:<34} {right:>10.0} a second", names.1);
    println!(
        "  {:<34} {:>10.2}\n",
        "ratio",
        median(rounds.iter().map(ratio).collect())
    );
}

/// Puts the numbers behind `--name` into their places.
///
/// # Panics
/// On a name that is not among them, and a missing number.
pub fn read_arguments(places: &mut [(&str, &mut u64)], quick: &mut bool) {
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--quick" => *quick = true,
            // Cargo's own.
            "--bench" => {}
            name => {
                let known: Vec<&str> = places.iter().map(|place| place.0).collect();
                let found = known.iter().position(|known| *known == name);
                let at =
                    found.unwrap_or_else(|| panic!("{name} is not known: {}, --quick", known.join(", ")));
                let value = arguments.next().expect("a number after the name");
                *places[at].1 = value.parse().expect("a number");
            }
        }
    }
}
