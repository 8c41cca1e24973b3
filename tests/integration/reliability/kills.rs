//! SIGKILL at random moments under load, over HTTP: the client knows what was
//! answered.

use std::time::Duration;

use tallystick::server::NodeDir;
use tokio::runtime::Runtime;

use super::load::Load;
use super::victim::Victim;
use super::{Dice, SEED, init, rounds, seed, verdict};

const KILLS: &str = "TALLYSTICK_KILLS";
/// Kills that one store lives through.
const LIVES: u64 = 10;
/// Answers after which a process is killed, at most.
const ANSWERS_MAX: u64 = 400;
/// One life in so many is cut off within the first few answers.
const SHORT: u64 = 3;
/// One life in so many is cut off while it opens.
const UNOPENED: u64 = 6;
const OPENING_MILLISECONDS_MAX: u64 = 200;

#[test]
fn what_was_answered_outlives_sigkill() {
    let (seed, kills) = (seed(), rounds(KILLS, 5, 20));
    let mut dice = Dice::new(seed);
    let runtime = Runtime::new().unwrap();
    let (mut killed, mut calls, mut answers, mut entries) = (0, 0, 0, 0);
    while killed < kills {
        let place = tempfile::tempdir().unwrap();
        let shop = place.path().join("shop");
        init(&shop, None);
        let load = Load::on(&NodeDir::at(&shop).unwrap());
        let mut size = 0;
        for _ in 0..LIVES.min(kills - killed) {
            killed += 1;
            let life = format!("{SEED}={seed}, kill {killed}");
            // The first life is a whole one, so that there is something to look for.
            let whole = killed == 1;
            if !whole && dice.roll(UNOPENED) == 0 {
                Victim::end_while_opening(
                    &shop,
                    Duration::from_millis(dice.roll(OPENING_MILLISECONDS_MAX)),
                    || (),
                );
            } else {
                let victim = Victim::serve(&shop).unwrap_or_else(|said| panic!("{life}: {said}"));
                let after = match (whole, dice.roll(SHORT)) {
                    (true, _) => ANSWERS_MAX,
                    (false, 0) => dice.roll(8),
                    (false, _) => dice.roll(ANSWERS_MAX),
                };
                let url = victim.url.clone();
                let said = runtime.block_on(load.work_until(&url, after, || victim.kill()));
                assert!(!said.contains("ERROR"), "{life}: {said}");
            }
            size = verdict::judge(&shop, &load, &runtime).unwrap_or_else(|wrong| panic!("{life}: {wrong}"));
        }
        calls += load.exchanges().len();
        answers += load.answers();
        entries += size;
    }
    println!(
        "{killed} kills: {calls} calls answered ({answers} times), {entries} entries, all there once ({SEED}={seed})"
    );
    assert!(calls > 10, "only {calls} calls were answered");
}
