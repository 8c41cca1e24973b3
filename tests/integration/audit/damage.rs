//! Random damage to the files of a real store.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tallystick::testkit::{Dice, for_each_seed};

use super::*;

/// Longest piece that is damaged at one place, in bytes.
const PIECE_MAX: usize = 64;

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every row that the engine gives; `None` where it fails, or gives up.
fn content(store: &Path) -> Option<Content> {
    let read = || {
        let (engine, _) = SledEngine::open(store).ok()?;
        let mut rows = Content::new();
        let scanned = engine.scan(&[], &[], &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        });
        scanned.ok().map(|()| rows)
    };
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
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

/// What was done to a copy of the store in `dir`.
fn spoil(whole: &[(PathBuf, Vec<u8>)], dir: &Path, dice: &Dice) -> Vec<String> {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
    let places = if dice.once_in(4) { 2 + dice.below(4) } else { 1 };
    let (mut done, mut spoilt) = (Vec::new(), false);
    for (path, bytes) in whole {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut bytes = bytes.clone();
        // Snapshots are small and only hints, and a stopped node's journal is below.
        let often = name == "db" || (name.starts_with("journal") && dice.once_in(4)) || dice.once_in(8);
        if bytes.iter().any(|byte| *byte != 0) && often {
            for _ in 0..places {
                done.push(format!("{name}: {}", damage(&mut bytes, dice)));
            }
            spoilt = true;
        }
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    assert!(spoilt, "there is no file `db`");
    done
}

/// A copy of a store with one to five places flipped, overwritten, swapped or
/// cut. What the engine still gives is compared with what it gave before: an
/// audit reports every damage that reaches a row, and calls only that clean
/// which holds every row.
#[test]
fn damage_never_goes_unseen() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(shop());
    let whole = files(&store_of(&world));
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let good = {
        let copy = place.path().join("whole");
        std::fs::create_dir_all(&copy).unwrap();
        for (path, bytes) in &whole {
            std::fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
        }
        content(&copy).unwrap()
    };
    let (mut live, mut none, mut beyond) = (0, 0, 0);
    for_each_seed(16, 120, |seed| {
        let dice = Dice::new(seed);
        let done = spoil(&whole, &dir, &dice);
        let with_guard = !dice.once_in(6);
        let options = AuditOptions {
            dir: dir.clone(),
            guard: with_guard.then(|| world.guard.clone()),
            ..AuditOptions::default()
        };
        // An audit works on a copy, so that the damage is still there after it.
        let verdict = audit(&options, &mut |_, _| {}).map(|report| report.verdict());
        let left = content(&dir);
        let is_whole = left.as_ref() == Some(&good);
        if is_whole {
            none += 1;
        } else {
            live += 1;
        }
        match verdict {
            Ok(Verdict::Clean) => {
                assert!(
                    with_guard,
                    "called clean without anything to compare with: {done:?}"
                );
                let lost: Vec<_> = left.map_or_else(Vec::new, |left| {
                    let gone = good.iter().filter(|(key, value)| left.get(*key) != Some(value));
                    gone.map(|(key, _)| String::from_utf8_lossy(key).into_owned())
                        .collect()
                });
                assert!(is_whole, "called clean without the rows {lost:?}: {done:?}");
            }
            Ok(Verdict::CleanAsFarAsKnown) => assert!(!with_guard, "{done:?}"),
            // Nothing that can be audited is an answer, too; never a panic.
            Ok(Verdict::Findings) | Err(_) => beyond += u64::from(is_whole),
        }
    });
    println!("{live} damages reached a row, {none} none; of these {beyond} were reported all the same");
}
