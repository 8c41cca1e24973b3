//! What the fuzz targets do: one function for each decoder and for each POST
//! body. `fuzz/` gives them random bytes (`scripts/fuzz`), and `cargo test`
//! replays the corpora in `tests/data/fuzz-corpus`.
//!
//! A target panics where a property does not hold: what is read is written
//! again as the same bytes, what is signed verifies, what another way of
//! computing it says is the same. It answers whether its input was accepted,
//! and has seeds that all are, so that fuzzing begins behind the gates.

mod canonical;
mod credentials;
mod encodings;
mod files;
mod http;
mod imports;
mod logs;
mod messages;
mod redemptions;
mod rosters;
mod rows;
mod streams;
mod witnessing;

pub use canonical::{Canonical, canonical};
pub use redemptions::{entries_seeds, redemption_seeds};

/// One fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of the program in `fuzz/` and of its corpus.
    pub name: &'static str,
    /// Reads the input; true when it was accepted. Panics on a finding.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
#[must_use]
pub fn targets() -> Vec<Target> {
    [
        encodings::TARGETS,
        credentials::TARGETS,
        logs::TARGETS,
        witnessing::TARGETS,
        rosters::TARGETS,
        messages::TARGETS,
        redemptions::TARGETS,
        rows::TARGETS,
        files::TARGETS,
        imports::TARGETS,
        http::TARGETS,
        streams::TARGETS,
    ]
    .concat()
}

/// The target `name`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    targets()
        .into_iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("there is no fuzz target {name}"))
}

/// Cuts `N` bytes off the front; zeros where there are fewer.
fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let len = N.min(data.len());
    let (front, rest) = data.split_at(len);
    taken[..len].copy_from_slice(front);
    *data = rest;
    taken
}

/// Texts as seeds.
fn texts<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
