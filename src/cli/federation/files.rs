//! Rosters and descriptions as files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::credential::PublicKey;
use crate::federation::roster::{Description, Roster, SignedRoster, Signer};
use crate::primitives::{UnixSeconds, limits};

/// What files of rosters are called, so that a version finds the one before it.
const EXTENSION: &str = "roster";

/// Files of a directory that are looked through for the version before another.
const SIBLINGS_MAX: usize = 10_000;

/// A version as it was read.
pub struct Version {
    /// Where.
    pub path: PathBuf,
    /// With its signatures.
    pub signed: SignedRoster,
    /// What it says.
    pub roster: Roster,
}

impl Version {
    /// Reads the version in a file.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = read(path, limits::ROSTER_BYTES_MAX)?;
        Self::decode(path, &bytes).with_context(|| format!("{} cannot be used", path.display()))
    }

    /// The version in `bytes`, which came from `path`.
    ///
    /// # Errors
    /// When they are none.
    pub fn decode(path: &Path, bytes: &[u8]) -> anyhow::Result<Self> {
        let signed = SignedRoster::decode(bytes)?;
        Ok(Self {
            path: path.to_owned(),
            roster: signed.roster()?,
            signed,
        })
    }

    /// The version before this one: the file `named`, or the one beside it that this
    /// version names by its hash; `None` where there is no such file, or this is
    /// version 1.
    ///
    /// # Errors
    /// When `named` cannot be read, or is another version.
    pub fn before(&self, named: Option<&Path>) -> anyhow::Result<Option<Roster>> {
        if let Some(path) = named {
            let before = Self::read(path)?;
            if before.signed.hash() != self.roster.previous {
                bail!(
                    "{} is not the version before {}: that names {}",
                    path.display(),
                    self.path.display(),
                    self.roster.previous
                );
            }
            return Ok(Some(before.roster));
        }
        if self.roster.version == 1 {
            return Ok(None);
        }
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let Ok(entries) = fs::read_dir(dir) else {
            return Ok(None);
        };
        let siblings = entries.take(SIBLINGS_MAX).flatten().map(|entry| entry.path());
        let is_roster = |path: &PathBuf| path.extension().is_some_and(|extension| extension == EXTENSION);
        let before = siblings
            .filter(is_roster)
            .filter_map(|path| Self::read(&path).ok())
            .find(|other| other.signed.hash() == self.roster.previous);
        Ok(before.map(|before| before.roster))
    }

    /// Writes it back into its file.
    ///
    /// # Errors
    /// When that fails; the file is then as it was.
    pub fn write(&self) -> anyhow::Result<()> {
        replace(&self.path, &self.signed.encode())
    }
}

/// Reads a member's description.
///
/// # Errors
/// When it cannot be read or is none.
pub fn description(path: &Path) -> anyhow::Result<Description> {
    let bytes = read(path, limits::MEMBER_DESCRIPTION_BYTES_MAX)?;
    Description::decode(&bytes).with_context(|| format!("{} cannot be used", path.display()))
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// When it cannot be read, or is longer.
pub fn read(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > most {
        bail!(
            "{} is longer than {most} bytes: it is no such file",
            path.display()
        );
    }
    Ok(bytes)
}

/// Writes a new file, durably.
///
/// # Errors
/// When it is there already: a version that others have is not written over.
pub fn create(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .with_context(|| {
            format!(
                "cannot write {}; nothing is overwritten, so name a file that is not there yet",
                path.display()
            )
        })
}

/// Puts `bytes` in the place of what a file holds, whole or not at all.
///
/// # Errors
/// When that fails; the file is then as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let half = path.with_file_name(name);
    create(&half, bytes)?;
    let meant = fs::metadata(path).map(|metadata| metadata.permissions());
    let replaced = meant
        .and_then(|meant| fs::set_permissions(&half, meant))
        .and_then(|()| fs::rename(&half, path));
    if replaced.is_err() {
        // What is left of the try; the error says what failed.
        let _ = fs::remove_file(&half);
    }
    replaced.with_context(|| format!("cannot write {}", path.display()))
}

/// Reads `NAME=did:key:z6Mk…`; for `value_parser`.
///
/// # Errors
/// What a signer looks like.
pub fn signer(text: &str) -> Result<Signer, String> {
    let expected =
        || "a signer is NAME=did:key:z6Mk…, as `tallystick federation signer FILE` shows the key".to_owned();
    let (name, key) = text.rsplit_once('=').ok_or_else(expected)?;
    if name.is_empty() {
        return Err(expected());
    }
    Ok(Signer {
        name: name.to_owned(),
        key: PublicKey::from_did_key(key).map_err(|error| error.to_string())?,
    })
}

/// A time for people.
pub fn time(time: UnixSeconds) -> String {
    crate::http::scalars::rfc3339(time)
}
