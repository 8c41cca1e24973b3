//! The setting `mirrors`: copies of other nodes' logs that are served, and kept up
//! to date where a URL stands with them. And `mirrored_at`: who has a copy of this one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::ServerError;
use crate::federation::entries::{Letters, MemberSource};
use crate::federation::keeper::KeptMirror;
use crate::federation::{HttpSource, LogSource};
use crate::log::{KeyKind, VerifierKey};
use crate::primitives::limits;

/// How often a mirrored log is looked at when nobody says otherwise: what a node
/// loses with its disk is then at most a minute of receipts' stubs.
pub const MIRROR_SECONDS_DEFAULT: u64 = 60;

/// A copy of another log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorConfig {
    /// Its directory, relative to the node's.
    pub dir: PathBuf,
    /// What it is kept up to date from; `None` where something else does that.
    pub follow: Option<FollowConfig>,
}

/// Where a mirrored log is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowConfig {
    /// The URL that `/checkpoint` follows.
    pub url: String,
    /// The log's key.
    pub log_key: VerifierKey,
    /// The file with the bearer key for entries, relative to the node's directory.
    pub key_file: Option<PathBuf>,
    /// Seconds between two rounds.
    pub seconds: u64,
}

/// A mirror as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMirror {
    dir: PathBuf,
    url: Option<String>,
    log_key: Option<String>,
    key_file: Option<PathBuf>,
    seconds: Option<u64>,
}

/// Reads the setting.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(named: BTreeMap<String, RawMirror>) -> Result<BTreeMap<String, MirrorConfig>, String> {
    let most = limits::MIRRORS_SERVED_MAX;
    if named.len() > most {
        return Err(format!("at most {most} mirrors are served"));
    }
    let mut mirrors: BTreeMap<String, MirrorConfig> = BTreeMap::new();
    for (name, raw) in named {
        if !is_name(&name) {
            return Err(format!(
                "{name:?} is no name: a-z, 0-9, - and ., a letter or digit first"
            ));
        }
        if mirrors.values().any(|other| other.dir == raw.dir) {
            return Err(format!(
                "{name}: another mirror has the directory {}",
                raw.dir.display()
            ));
        }
        let mirror = of_raw(raw).map_err(|what| format!("{name}: {what}"))?;
        mirrors.insert(name, mirror);
    }
    let kept = mirrors.values().filter(|mirror| mirror.follow.is_some()).count();
    if kept > limits::MIRRORS_KEPT_MAX {
        return Err(format!(
            "at most {} mirrors are kept up to date by the node itself; `tallystick mirror` can keep the others",
            limits::MIRRORS_KEPT_MAX
        ));
    }
    Ok(mirrors)
}

/// Reads the setting `mirrored_at`: the prefixes of mirrors of the own log.
///
/// # Errors
/// What is wrong with it.
pub(super) fn mirrored_at(urls: Vec<String>) -> Result<Vec<String>, String> {
    let most = limits::MIRRORED_AT_MAX;
    if urls.len() > most {
        return Err(format!("at most {most} mirrors of this log are asked"));
    }
    for (at, url) in urls.iter().enumerate() {
        let is_prefix = (url.starts_with("https://") || url.starts_with("http://"))
            && reqwest::Url::parse(url).is_ok_and(|url| {
                url.query().is_none() && url.fragment().is_none() && !url.cannot_be_a_base()
            });
        if !is_prefix {
            return Err(format!(
                "{url:?} is no URL of a mirror (https://HOST/mirror/NAME/)"
            ));
        }
        if urls[..at].contains(url) {
            return Err(format!("{url:?} stands there twice"));
        }
    }
    Ok(urls)
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=limits::MIRROR_NAME_CHARS_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
}

fn of_raw(raw: RawMirror) -> Result<MirrorConfig, String> {
    let Some(url) = raw.url else {
        if raw.log_key.is_some() || raw.key_file.is_some() || raw.seconds.is_some() {
            return Err("log_key, key_file and seconds are for a mirror with a url".to_owned());
        }
        return Ok(MirrorConfig {
            dir: raw.dir,
            follow: None,
        });
    };
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err(format!("url: {url:?} is no URL (https://…)"));
    }
    let log_key = raw
        .log_key
        .ok_or("log_key is missing: the log's key (vkey), as the co-op publishes it")?;
    let log_key = VerifierKey::parse(&log_key).map_err(|error| format!("log_key: {log_key:?}: {error}"))?;
    if log_key.kind() != KeyKind::Ed25519 {
        return Err(format!("log_key: {log_key} is a witness's key, not a log's"));
    }
    let seconds = raw.seconds.unwrap_or(MIRROR_SECONDS_DEFAULT);
    if !(1..=86_400).contains(&seconds) {
        return Err(format!("seconds: {seconds} is not from 1 to 86400"));
    }
    Ok(MirrorConfig {
        dir: raw.dir,
        follow: Some(FollowConfig {
            url,
            log_key,
            key_file: raw.key_file,
            seconds,
        }),
    })
}

/// A mirror that is to be kept up to date, before its node is open.
pub(super) struct Followed {
    mirror: String,
    dir: PathBuf,
    http: HttpSource,
    log_key: VerifierKey,
    every: Duration,
}

impl Followed {
    /// What its node keeps. Without a key for entries they are asked for by message,
    /// where the node belongs to a federation and so writes `letters`.
    pub fn kept(self, letters: Option<&Letters>) -> KeptMirror {
        let source: Arc<dyn LogSource> = match letters {
            Some(letters) if !self.http.has_key() => {
                let origin = self.log_key.name().to_owned();
                Arc::new(MemberSource::new(self.http, letters.clone(), origin))
            }
            _ => Arc::new(self.http),
        };
        KeptMirror {
            name: self.mirror,
            dir: self.dir,
            source,
            log_key: self.log_key,
            every: self.every,
        }
    }
}

/// The mirrors that are to be kept up to date, of a node in `root`.
///
/// # Errors
/// [`ServerError::Io`] when a key file cannot be read, [`ServerError::Refused`] when
/// it holds no key, or a URL cannot be used.
pub(super) fn to_keep(
    mirrors: &BTreeMap<String, MirrorConfig>,
    root: &Path,
) -> Result<Vec<Followed>, ServerError> {
    let followed = mirrors
        .iter()
        .filter_map(|(name, mirror)| Some((name, mirror, mirror.follow.as_ref()?)));
    followed
        .map(|(name, mirror, follow)| {
            let key = match &follow.key_file {
                // `join` takes an absolute path as it is.
                Some(path) => Some(key_in(&root.join(path))?),
                None => None,
            };
            let http = HttpSource::new(&follow.url, key.as_deref()).map_err(|error| {
                ServerError::Refused(format!("the mirror {name} cannot be kept: {error}"))
            })?;
            Ok(Followed {
                mirror: name.clone(),
                dir: root.join(&mirror.dir),
                http,
                log_key: follow.log_key.clone(),
                every: Duration::from_secs(follow.seconds),
            })
        })
        .collect()
}

fn key_in(path: &Path) -> Result<String, ServerError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| {
            let most = limits::ACCESS_KEY_FILE_BYTES_MAX as u64;
            file.take(most + 1).read_to_string(&mut text)
        })
        .map_err(ServerError::io("cannot read the key_file", path))?;
    let key = text.trim();
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_key || text.len() > limits::ACCESS_KEY_FILE_BYTES_MAX {
        return Err(ServerError::Refused(format!(
            "the key_file {} holds no key: it is one line, as `tallystick key add` printed it",
            path.display()
        )));
    }
    Ok(key.to_owned())
}
