//! The federation in a node's settings: which one, and what was decided.

use std::sync::Arc;

use prometheus::Registry;

use super::ServerError;
use super::config::Config;
use crate::federation::rosters::{Rosters, RostersError};
use crate::node::Node;
use crate::primitives::Digest;

/// Decisions that are kept in the settings: one a conflict, and there is none
/// among honest signers.
const DECIDED_MAX: usize = 16;

/// Reads the hash of a version.
pub(super) fn hash(text: &str) -> Result<Digest, String> {
    Digest::parse(text).ok_or_else(|| {
        "the hash of a roster has 43 characters, as `tallystick federation show` prints it".to_owned()
    })
}

/// Reads several.
pub(super) fn decided(texts: Vec<String>) -> Result<Vec<Digest>, String> {
    if texts.len() > DECIDED_MAX {
        return Err(format!("at most {DECIDED_MAX} versions are named"));
    }
    texts.iter().map(|text| hash(text)).collect()
}

/// The text of a settings file with one more setting: in the place of the comment
/// that shows it, or else above the first table, where all settings stand.
#[must_use]
pub fn with_setting(text: &str, key: &str, value: &str) -> String {
    let line = format!("{key} = {value}\n");
    let shown = format!("# {key} = ");
    let mut out = String::with_capacity(text.len() + line.len());
    let mut is_there = false;
    for old in text.split_inclusive('\n') {
        let is_place = old.starts_with(&shown) || old.trim_start().starts_with('[');
        if is_place && !is_there {
            out.push_str(&line);
            is_there = true;
            if old.starts_with(&shown) {
                continue;
            }
        }
        out.push_str(old);
    }
    if !is_there {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&line);
    }
    out
}

/// The rosters of the federation that `config` pins, if it pins one.
pub(super) fn rosters(
    node: &Node,
    config: &Config,
    registry: &Registry,
    notes: &mut Vec<String>,
) -> Result<Option<Arc<Rosters>>, ServerError> {
    let Some(pin) = config.federation else {
        return Ok(None);
    };
    match Rosters::open(node.clone(), pin, &config.federation_decided, registry) {
        Ok((rosters, said)) => {
            notes.extend(said);
            Ok(Some(rosters))
        }
        Err(RostersError::Node(error)) => Err(error.into()),
        Err(error) => Err(ServerError::Refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::with_setting;

    #[test]
    fn a_setting_stands_above_the_tables() {
        for (before, after) in [
            ("", "a = 1\n"),
            ("b = 2", "b = 2\na = 1\n"),
            ("b = 2\n# a = 0\nc = 3\n", "b = 2\na = 1\nc = 3\n"),
            ("b = 2\n\n[t]\n# a = 0\n", "b = 2\n\na = 1\n[t]\n# a = 0\n"),
            ("# about = 5\n", "# about = 5\na = 1\n"),
        ] {
            assert_eq!(with_setting(before, "a", "1"), after);
        }
    }
}
