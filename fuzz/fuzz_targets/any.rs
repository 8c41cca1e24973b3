//! Every fuzz target: the program's name says which one it is, unless
//! `TALLYSTICK_FUZZ_TARGET` names another, so that `scripts/fuzz` links one
//! program for all. What a target does is in `src/testkit/fuzz`.
#![no_main]

use std::sync::LazyLock;

use tallystick::testkit::fuzz::{Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let named = std::env::var("TALLYSTICK_FUZZ_TARGET");
    target(named.as_deref().unwrap_or(env!("CARGO_BIN_NAME")))
});

libfuzzer_sys::fuzz_target!(
    init: {
        // libFuzzer reads its corpora after this.
        if let Some(dir) = std::env::var_os("TALLYSTICK_FUZZ_SEEDS") {
            let dir = std::path::Path::new(&dir);
            for (n, seed) in (TARGET.seeds)().iter().enumerate() {
                std::fs::write(dir.join(format!("seed-{n}")), seed).expect("a directory for seeds");
            }
        }
    },
    |data: &[u8]| {
        (TARGET.run)(data);
    }
);
