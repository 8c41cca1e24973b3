//! Power cuts: a fresh ext4 file system on a loop device, a node under load,
//! and the moment from which nothing reaches the device any more.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tallystick::server::{NodeDir, Overrides};
use tokio::runtime::Runtime;

use super::load::Load;
use super::loop_fs::{Cut, LoopFs};
use super::victim::Victim;
use super::{Dice, SEED, init, rounds, seed, tallystick, verdict};

const CUTS: &str = "TALLYSTICK_POWER_CUTS";
const MEBIBYTES: u64 = 96;
/// Answers after which the power is cut, at most.
const ANSWERS_MAX: u64 = 500;
/// One node in so many works on until the store's journal has turned over and
/// is carried down meanwhile, which takes some `TURN_ANSWERS_MIN` answers.
const TURNS: u64 = 5;
const TURN_ANSWERS_MIN: u64 = 1_500;
/// One node in so many has its guard file on another device.
const GUARD_ELSEWHERE: u64 = 4;
/// One node in so many is cut off again while it opens, before it is looked at.
const CUT_AGAIN: u64 = 4;
const OPENING_MILLISECONDS_MAX: u64 = 200;
/// File systems after which a long run says how far it is.
const SAID_EVERY: u64 = 10;
/// Cuts of a store without its sync, each of which has to be found out.
const UNSYNCED_CUTS: u64 = 2;
/// Answers before such a cut: more than there may be while the first ones wait.
const UNSYNCED_ANSWERS: u64 = 100;

/// What is done to one node.
#[derive(Clone, Copy, Debug)]
struct Plan {
    cut: Cut,
    /// The guard file lies on another device, which keeps its power.
    guard_elsewhere: bool,
    /// Answers until the power is cut.
    answers: u64,
    /// It is cut again so long after the node was started anew.
    again: Option<Duration>,
}

impl Plan {
    fn of(dice: &mut Dice) -> Self {
        let again = Duration::from_millis(dice.roll(OPENING_MILLISECONDS_MAX));
        Self {
            cut: [Cut::Machine, Cut::Drive][usize::from(dice.roll(2) == 0)],
            guard_elsewhere: dice.roll(GUARD_ELSEWHERE) == 0,
            answers: dice.roll(ANSWERS_MAX)
                + if dice.roll(TURNS) == 0 {
                    TURN_ANSWERS_MIN
                } else {
                    0
                },
            again: (dice.roll(CUT_AGAIN) == 0).then_some(again),
        }
    }
}

/// Makes a node on a device of its own, cuts its power under load, and judges
/// what is left. Gives the number of calls that were answered.
///
/// # Errors
/// What is wrong with it.
fn cut(
    plan: Plan,
    serve: impl Fn(&Path) -> Result<Victim, String>,
    runtime: &Runtime,
) -> Result<u64, String> {
    let fs = LoopFs::fresh(MEBIBYTES).unwrap();
    let shop = fs.root().join("shop");
    let elsewhere = tempfile::tempdir().unwrap();
    let guard = elsewhere.path().join("guard");
    init(&shop, plan.guard_elsewhere.then_some(guard.as_path()));
    let load = Load::on(&NodeDir::at(&shop).unwrap());
    let victim = serve(&shop)?;
    let url = victim.url.clone();
    runtime.block_on(load.work_until(&url, plan.answers, || {
        fs.cut_power(plan.cut);
        victim.kill()
    }));
    fs.restart();
    if let Some(after) = plan.again {
        Victim::end_while_opening(&shop, after, || fs.cut_power(plan.cut));
        fs.restart();
    }
    verdict::judge(&shop, &load, runtime)?;
    Ok(load.exchanges().len() as u64)
}

/// Why there is no power to cut here; `None` where there is.
fn lacking() -> Option<String> {
    let why = LoopFs::fresh(MEBIBYTES).err()?;
    eprintln!("SKIPPED, no power can be cut here: {why}");
    Some(why)
}

#[test]
fn what_was_answered_outlives_a_power_cut() {
    if lacking().is_some() {
        return;
    }
    let (seed, wanted) = (seed(), rounds(CUTS, 4, 20));
    let runtime = Runtime::new().unwrap();
    let (mut cuts, mut calls) = (0, 0);
    for round in 0..wanted {
        let plan = Plan::of(&mut Dice::new(seed + round));
        let answered = cut(plan, Victim::serve, &runtime);
        calls +=
            answered.unwrap_or_else(|wrong| panic!("{SEED}={} {CUTS}=1, {plan:?}: {wrong}", seed + round));
        cuts += 1 + u64::from(plan.again.is_some());
        if (round + 1) % SAID_EVERY == 0 {
            println!(
                "{} of {wanted} file systems, {cuts} cuts, {calls} calls answered",
                round + 1
            );
        }
    }
    println!(
        "{wanted} file systems, {cuts} power cuts, {calls} calls answered, all there once ({SEED}={seed})"
    );
    assert!(calls > 10 * wanted, "only {calls} calls were answered");
}

/// A test of the test: a node that does not sync its store is found out.
#[test]
fn a_store_without_its_sync_does_not_outlive_a_power_cut() {
    if lacking().is_some() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    for _ in 0..UNSYNCED_CUTS {
        let plan = Plan {
            cut: Cut::Drive,
            // Beside the store the guard's own sync would flush the drive.
            guard_elsewhere: true,
            answers: UNSYNCED_ANSWERS,
            again: None,
        };
        let wrong = cut(plan, Victim::serve_unsynced, &runtime).expect_err("a loss that goes unnoticed");
        println!("found: {wrong}");
    }
}

/// What a power cut has left of an `init`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// A node.
    Whole,
    /// A directory that says itself that it is to be removed.
    Unfinished,
    /// Nothing, or an empty directory.
    Nothing,
}

/// `init` is cut off: what is left is a whole node, or says what to remove; and
/// what was printed is there.
#[test]
fn init_outlives_a_power_cut_or_says_what_to_remove() {
    if lacking().is_some() {
        return;
    }
    let (seed, wanted) = (seed(), rounds(CUTS, 4, 20));
    let mut dice = Dice::new(seed);
    let mut found: BTreeMap<Left, u64> = BTreeMap::new();
    let whole = {
        let place = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        init(&place.path().join("shop"), None);
        u64::try_from(begun.elapsed().as_micros()).unwrap()
    };
    for round in 0..wanted {
        let fs = LoopFs::fresh(MEBIBYTES).unwrap();
        let cut = [Cut::Machine, Cut::Drive][usize::from(dice.roll(2) == 0)];
        let shop = fs.root().join("shop");
        let mut child = init_command(&shop)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The moment is what is random here: there is no condition to wait for.
        std::thread::sleep(Duration::from_micros(dice.roll(whole + whole / 4)));
        fs.cut_power(cut);
        let _ = child.kill();
        let printed = child.wait_with_output().unwrap();
        fs.restart();
        match after_init(&shop, &printed) {
            Ok(left) => *found.entry(left).or_default() += 1,
            Err(wrong) => panic!("{SEED}={seed}, round {round}: {wrong}"),
        }
    }
    println!("{wanted} inits cut off: {found:?} ({SEED}={seed})");
}

fn init_command(shop: &Path) -> Command {
    tallystick(&[
        "init",
        shop.to_str().expect("a temporary directory's name is text"),
        "--json",
    ])
}

/// Goes on as whoever typed the command would.
fn after_init(shop: &Path, printed: &Output) -> Result<Left, String> {
    if printed.status.success() {
        let made: Value = serde_json::from_slice(&printed.stdout).unwrap();
        return opens(shop, &[&made["till_key"], &made["office_key"]]).map(|()| Left::Whole);
    }
    let again = init_command(shop).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    if again.status.success() {
        return opens(shop, &[]).map(|()| Left::Nothing);
    }
    if said.contains("is not empty, and nothing is overwritten") {
        return opens(shop, &[]).map(|()| Left::Whole);
    }
    if !said.contains("did not finish; nothing was issued from it: remove") {
        return Err(format!("init says: {said}"));
    }
    let served = Victim::serve(shop).err().ok_or("half a node was served")?;
    if !served.contains("did not finish") {
        return Err(format!("serve says: {served}"));
    }
    std::fs::remove_dir_all(shop).map_err(|error| error.to_string())?;
    let guard = shop.with_extension("guard");
    if guard.exists() {
        std::fs::remove_file(guard).map_err(|error| error.to_string())?;
    }
    let again = init_command(shop).output().unwrap();
    if !again.status.success() {
        return Err(format!(
            "a third init says: {}",
            String::from_utf8_lossy(&again.stderr)
        ));
    }
    opens(shop, &[]).map(|()| Left::Unfinished)
}

/// The node serves, and knows these keys.
fn opens(shop: &Path, keys: &[&Value]) -> Result<(), String> {
    let dir = NodeDir::at(shop).map_err(|error| error.to_string())?;
    let opened = dir
        .open(&Overrides::default(), None)
        .map_err(|error| format!("it does not open: {error}"))?;
    let unknown = |key: &&&Value| key.as_str().is_none_or(|key| opened.access.find(key).is_none());
    match keys.iter().find(unknown) {
        Some(_) => Err("a key that was printed is not known".to_owned()),
        None => Ok(()),
    }
}
