//! A draft that is finished: written, and shown for whoever is to sign it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::files::{self, Version};
use super::picture::Picture;
use crate::cli::output;
use crate::federation::roster::{Roster, SignedRoster};

/// Writes `roster`, the version after `before`, to `out` without signatures.
///
/// # Errors
/// When the file is there, or cannot be written.
pub fn write(roster: Roster, before: Option<&Roster>, out: PathBuf, json: bool) -> anyhow::Result<ExitCode> {
    let version = Version {
        signed: SignedRoster::unsigned(&roster),
        path: out,
        roster,
    };
    files::create(&version.path, &version.signed.encode())?;
    let picture = Picture::of(&version.signed, &version.roster, before);
    output::result(json, &picture.to_json(), |_| picture.to_text());
    if !json {
        output::note(&format!(
            "Written to {0}. Each signer signs it with: tallystick federation sign {0} --key FILE",
            version.path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
