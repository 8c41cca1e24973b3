//! Random damage to the file.

use super::*;

/// Whatever is done to the file, an audit ends, and calls only that clean
/// which still holds every entry.
#[test]
fn damage_never_goes_unseen() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(shop());
    let whole = files(&store_of(&world));
    let good = entries(&engine_of(&world));
    let place = tempfile::tempdir().unwrap();
    let config = ProptestConfig {
        cases: tallystick::testkit::repeats(24, 300),
        max_shrink_iters: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let damage = proptest::collection::vec((any::<u32>(), 1..=255_u8), 1..6);
    proptest!(config, |(flips in damage, with_guard in any::<bool>(), cut in 0..8_u32)| {
        let dir = place.path().join("store");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        for (path, bytes) in &whole {
            let name = path.file_name().unwrap();
            let mut bytes = bytes.clone();
            if name == "db" {
                // sled's file ends in zeros: damage goes where data is.
                let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u32;
                for (at, flip) in &flips {
                    bytes[(at % end) as usize] ^= flip;
                }
                if cut == 0 {
                    bytes.truncate((flips[0].0 % end) as usize);
                }
            } else if name.to_string_lossy().starts_with("snap") && flips.len() > 2 {
                continue;
            }
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        let options = AuditOptions {
            dir: dir.clone(),
            guard: with_guard.then(|| world.guard.clone()),
            ..AuditOptions::default()
        };
        let Ok(report) = audit(&options, &mut |_, _| {}) else { return Ok(()) };
        if !with_guard {
            prop_assert_ne!(report.verdict(), Verdict::Clean);
        } else if report.verdict() == Verdict::Clean {
            let left = entries(&SledEngine::open(&dir).unwrap().0);
            prop_assert!(left == good, "called clean with {} of {} entries", left.len(), good.len());
        }
    });
}
