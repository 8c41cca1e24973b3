//! Random damage to the files of a real store.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tallystick::testkit::{Dice, for_each_seed};

use super::*;

/// Longest piece that is damaged at one place, in bytes.
const PIECE_MAX: usize = 64;

/// What an engine gives: every row, and the entries in them.
#[derive(PartialEq)]
struct Content {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    entries: Vec<Vec<u8>>,
}

impl Content {
    /// The rows of the log and of what lies beside it that are not so in `other`;
    /// indexes, counters and statuses are made of them.
    fn without_upkeep(&self, other: &Self) -> Vec<String> {
        let of_log = [
            keys::ENTRY,
            keys::BESIDE,
            keys::HASH_TILE,
            keys::TAG_TILE,
            keys::BATCH,
        ];
        let rows = self.rows.iter().filter(|(key, _)| of_log.contains(&key[0]));
        rows.filter(|(key, value)| other.rows.get(*key) != Some(value))
            .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
            .collect()
    }
}

/// `None` where the engine fails, or gives up.
fn content(store: &Path) -> Option<Content> {
    let read = || {
        let (engine, _) = SledEngine::open(store).ok()?;
        let mut rows = BTreeMap::new();
        let scanned = engine.scan(&[], &[], &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        });
        scanned.ok()?;
        let mut entries = Vec::new();
        let scanned = keys::scan_entries(&engine, 0, &mut |_, bytes| {
            entries.push(bytes.to_vec());
            ControlFlow::Continue(())
        });
        // Up to a row that is damaged.
        let _ = scanned;
        Some(Content { rows, entries })
    };
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
}

/// The files of a store and its guard, by name.
type Files = Vec<(String, Vec<u8>)>;

const GUARD: &str = "guard";

fn files_of(world: &World) -> Files {
    let stored = files(&store_of(world)).into_iter();
    let mut all: Files = stored
        .map(|(path, bytes)| (path.file_name().unwrap().to_string_lossy().into_owned(), bytes))
        .collect();
    all.push((GUARD.to_owned(), std::fs::read(&world.guard).unwrap()));
    all
}

/// The guard is in the directory above the store.
fn put(all: &Files, dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
    for (name, bytes) in all {
        let at = if name == GUARD { dir.parent().unwrap() } else { dir };
        std::fs::write(at.join(name), bytes).unwrap();
    }
}

/// Flips a bit, overwrites, swaps or cuts at one place, and says what it did.
fn damage(bytes: &mut Vec<u8>, dice: &Dice) -> String {
    // sled's files end in zeros: damage goes where data is.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |at| at + 1);
    let at = dice.place(end);
    let len = (1 + dice.place(PIECE_MAX)).min(bytes.len() - at);
    match dice.below(8) {
        0..3 => {
            bytes[at] ^= 1 << dice.below(8);
            format!("a bit flipped at {at}")
        }
        3 => {
            bytes[at..at + len]
                .iter_mut()
                .for_each(|byte| *byte = dice.below(256) as u8);
            format!("{len} bytes overwritten at {at}")
        }
        4 => {
            bytes[at..at + len].fill(0);
            format!("{len} bytes zeroed at {at}")
        }
        5 | 6 => {
            let other = dice.place(end);
            for n in 0..len.min(bytes.len() - other) {
                bytes.swap(at + n, other + n);
            }
            format!("{len} bytes swapped between {at} and {other}")
        }
        _ if dice.once_in(4) => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        _ => {
            bytes.drain(at..at + len);
            format!("{len} bytes cut out at {at}")
        }
    }
}

/// Damages one to five places of the files, and says what it did. Most are in
/// sled's file and the journal, where everything is; the rest are hints.
fn spoil(all: &mut Files, dice: &Dice) -> Vec<String> {
    let places = if dice.once_in(4) { 2 + dice.below(4) } else { 1 };
    let mut done = Vec::new();
    while (done.len() as u64) < places {
        let wanted = match dice.below(10) {
            0..5 => "db",
            5..8 => "journal",
            8 => GUARD,
            _ => "",
        };
        let picked: Vec<_> = all
            .iter_mut()
            .filter(|(name, bytes)| name.starts_with(wanted) && bytes.iter().any(|byte| *byte != 0))
            .collect();
        let one = dice.place(picked.len().max(1));
        if let Some((name, bytes)) = picked.into_iter().nth(one) {
            done.push(format!("{name}: {}", damage(bytes, dice)));
        }
    }
    done
}

/// A store to damage, with what it gives while it is whole.
struct Whole {
    files: Files,
    content: Content,
    guard: GuardState,
}

impl Whole {
    fn new(world: &World, scratch: &Path) -> Self {
        let files = files_of(world);
        put(&files, scratch);
        Self {
            files,
            content: content(scratch).unwrap(),
            guard: Guard::read(&world.guard).unwrap(),
        }
    }
}

/// The store of a day, as its node leaves it; and of a longer one, as it is
/// after a kill: some in sled, and some in the journal alone.
async fn stores(scratch: &Path) -> [Whole; 2] {
    let world = shop().await;
    let stopped = Whole::new(&world, scratch);
    let node = world.open();
    for n in 0..20 {
        let lane = lane(1 + n % 2);
        let draft = receipt(&lane, &format!("later{n}"), node.now().0);
        node.issue_receipt(&till(&lane), draft).await.unwrap();
    }
    // What was answered is on the disk.
    let killed = Whole::new(&world, scratch);
    node.shut_down().await;
    [stopped, killed]
}

/// A copy of a store with one to five places flipped, overwritten, swapped or
/// cut, in sled's file, the journal, the guard and what lies beside. What the
/// engine still gives is compared with what it gave before: an audit reports
/// every damage that reaches the log, and calls only that clean which holds all
/// of it, or, where nothing sure says how long it was, a true beginning of it.
///
/// Where damage hits the end of sled's file, sled takes it for unwritten and gives
/// what was there before. When that was a row of upkeep, the log is whole, and the
/// rest is what a kill a moment earlier would have left.
#[test]
fn damage_never_goes_unseen() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let guard = place.path().join(GUARD);
    let stores = runtime.block_on(stores(&dir));
    let (mut live, mut none, mut beyond, mut earlier) = (0, 0, 0, 0);
    for_each_seed(12, 100, |seed| {
        let dice = Dice::new(seed);
        let whole = &stores[dice.place(stores.len())];
        let mut files = whole.files.clone();
        let done = spoil(&mut files, &dice);
        put(&files, &dir);
        let with_guard = !dice.once_in(6);
        let options = AuditOptions {
            dir: dir.clone(),
            guard: with_guard.then(|| guard.clone()),
            ..AuditOptions::default()
        };
        // An audit works on a copy, so that the damage is still there after it.
        let verdict = audit(&options, &mut |_, _| {}).map(|report| report.verdict());
        let guard_is_whole = Guard::read(&guard).is_ok_and(|state| state == whole.guard)
            && Guard::is_whole(&guard).unwrap_or(false);
        let left = content(&dir);
        let is_whole = left.as_ref() == Some(&whole.content);
        if is_whole && guard_is_whole {
            none += 1;
        } else {
            live += 1;
        }
        match verdict {
            Ok(Verdict::Clean) => {
                assert!(
                    with_guard && guard_is_whole,
                    "called clean without anything to compare with: {done:?}"
                );
                let left = left.expect("what is clean can be read");
                let gone = whole.content.without_upkeep(&left);
                assert!(
                    gone.is_empty(),
                    "called clean without the rows {gone:?}: {done:?}"
                );
                assert!(whole.content.entries == left.entries, "{done:?}");
                earlier += u64::from(!is_whole);
            }
            Ok(Verdict::CleanAsFarAsKnown) => {
                assert!(!with_guard || !guard_is_whole, "{done:?}");
                let left = left.expect("what is clean can be read");
                assert!(whole.content.entries.starts_with(&left.entries), "{done:?}");
            }
            // Nothing that can be audited is an answer, too; never a panic.
            Ok(Verdict::Findings) | Err(_) => beyond += u64::from(is_whole && guard_is_whole),
        }
    });
    println!("{live} damages reached a row or the guard, {none} neither");
    println!("{earlier} took back no more than the last upkeep; {beyond} that reached nothing were reported");
}
