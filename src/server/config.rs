//! `config.toml`: every setting with its meaning, default and remedy.
//!
//! One table (`SETTINGS`) makes the commented file that `init` writes and the
//! remedy of each error. Precedence: flags, then environment, then the file,
//! then the default; flags and environment arrive as [`Overrides`].

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use self::settings::{SETTINGS, Setting};

use super::federation;
use super::mirrors::{self, MirrorConfig, RawMirror};
use crate::credential::Algorithm;
use crate::http::QrForm;
use crate::log::{KeyKind, VerifierKey};
use crate::primitives::{Digest, Origin, limits};

/// Name of the file in a node's directory.
pub const CONFIG_FILE: &str = "config.toml";

/// Where a node listens when nobody says otherwise: loopback.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// How long a status list is good when nobody says otherwise: a day, so that a
/// till may be a day without its node.
pub const STATUS_LIST_SECONDS_DEFAULT: u64 = 86_400;

/// How often checkpoints are sent to witnesses when nobody says otherwise: often
/// enough that a proof waits for seconds only, seldom enough for their disks.
pub const WITNESS_SECONDS_DEFAULT: u64 = 10;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object to a line.
    Json,
}

/// All settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The base URL, fixed at `init`.
    pub base_url: Origin,
    /// The co-op's name.
    pub name: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// What new credentials name.
    pub algorithm: Algorithm,
    /// How QR texts are written.
    pub qr_form: QrForm,
    /// Web origins that may call from a browser.
    pub cors_origins: Vec<String>,
    /// Whether `/metrics` is for all.
    pub metrics_public: bool,
    /// Whether the log's entries are for all.
    pub entries_public: bool,
    /// Mirrored logs, by name.
    pub mirrors: BTreeMap<String, MirrorConfig>,
    /// Prefixes of mirrors of the own log.
    pub mirrored_at: Vec<String>,
    /// How long a status list is good, in seconds.
    pub status_list_seconds: u64,
    /// Keys of the logs whose checkpoints are cosigned.
    pub witness_logs: Vec<VerifierKey>,
    /// The policy file of the log's own witnesses.
    pub witness_policy: Option<PathBuf>,
    /// Seconds between two checkpoints that are sent to them.
    pub witness_seconds: u64,
    /// The hash of version 1 of the federation's roster.
    pub federation: Option<Digest>,
    /// Which of two versions of one number count.
    pub federation_decided: Vec<Digest>,
    /// Where other members' nodes are reached, if not at their base URLs.
    pub federation_reach: BTreeMap<Origin, reqwest::Url>,
    /// The certificate authorities for other members' nodes, relative to the
    /// directory; `None` for the system's.
    pub federation_ca: Option<PathBuf>,
    /// Seconds from one round of gossip to the next.
    pub gossip_seconds: u64,
    /// Dids of members whose fork is forgiven.
    pub federation_forgiven: BTreeSet<String>,
    /// The guard file; `None` for the place beside the directory.
    pub guard: Option<PathBuf>,
    /// Threads that answer HTTP; `None` for one to each processor.
    pub workers: Option<usize>,
    /// Connections served at a time.
    pub connections: usize,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: tracing::Level,
}

/// What flags and environment say: each overrides the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Where to listen.
    pub listen: Option<String>,
    /// Web origins.
    pub cors_origins: Option<Vec<String>>,
    /// Whether `/metrics` is for all.
    pub metrics_public: Option<bool>,
    /// Whether the log's entries are for all.
    pub entries_public: Option<bool>,
    /// The guard file, relative to the working directory.
    pub guard: Option<PathBuf>,
    /// Threads that answer HTTP.
    pub workers: Option<u64>,
    /// How log lines look.
    pub log_format: Option<String>,
    /// Which log lines are written.
    pub log_level: Option<String>,
}

/// A setting that is wrong: where, which, what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}: {source}; restore it, or copy the one of another node and set base_url and name"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of the file is wrong.
    #[error("{path} line {line}: {key}{what}. {remedy}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// `key: `, or nothing where no key can be made out.
        key: String,
        /// What is wrong.
        what: String,
        /// What to write.
        remedy: String,
    },
    /// A key that has to be there is not.
    #[error("{path}: {key} is missing. {remedy}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What to write.
        remedy: String,
    },
    /// A flag or variable is wrong.
    #[error("{key} from the command line or the environment: {what}. Give it as in {example}")]
    Override {
        /// The setting.
        key: &'static str,
        /// What is wrong.
        what: String,
        /// A right value.
        example: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    base_url: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    listen: Option<Spanned<String>>,
    algorithm: Option<Spanned<String>>,
    qr_form: Option<Spanned<String>>,
    cors_origins: Option<Spanned<Vec<String>>>,
    metrics_public: Option<bool>,
    entries_public: Option<bool>,
    mirrors: Option<Spanned<BTreeMap<String, RawMirror>>>,
    mirrored_at: Option<Spanned<Vec<String>>>,
    status_list_seconds: Option<Spanned<u64>>,
    witness_logs: Option<Spanned<Vec<String>>>,
    witness_policy: Option<PathBuf>,
    witness_seconds: Option<Spanned<u64>>,
    federation: Option<Spanned<String>>,
    federation_decided: Option<Spanned<Vec<String>>>,
    federation_reach: Option<Spanned<BTreeMap<String, String>>>,
    federation_ca: Option<PathBuf>,
    gossip_seconds: Option<Spanned<u64>>,
    federation_forgiven: Option<Spanned<Vec<String>>>,
    guard: Option<PathBuf>,
    workers: Option<Spanned<u64>>,
    connections: Option<Spanned<u64>>,
    log_format: Option<Spanned<String>>,
    log_level: Option<Spanned<String>>,
}

/// Names file and line in errors.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// Reads `value`, which stands in the file under `key`.
    fn read<T, U>(
        &self,
        key: &'static str,
        value: Option<Spanned<T>>,
        parse: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<Option<U>, ConfigError> {
        let Some(value) = value else { return Ok(None) };
        let at = value.span().start;
        parse(value.into_inner())
            .map(Some)
            .map_err(|what| self.line(at, key, what))
    }

    fn line(&self, at: usize, key: &str, what: String) -> ConfigError {
        ConfigError::Line {
            path: self.path.to_owned(),
            line: 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count(),
            key: if key.is_empty() {
                String::new()
            } else {
                format!("{key}: ")
            },
            what,
            remedy: remedy(key),
        }
    }

    fn missing(&self, key: &'static str) -> ConfigError {
        ConfigError::Missing {
            path: self.path.to_owned(),
            key,
            remedy: remedy(key),
        }
    }

    /// An error of the TOML reader, which knows a place but not always a key.
    fn toml(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start).min(self.text.len());
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        let known = SETTINGS.iter().find(|setting| setting.key == key);
        match known {
            Some(setting) => self.line(at, setting.key, error.message().to_owned()),
            None if error.message().starts_with("unknown field") => {
                self.line(at, key, "there is no such setting".to_owned())
            }
            None => self.line(at, "", error.message().replace('\n', "; ")),
        }
    }
}

fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

fn remedy(key: &str) -> String {
    match setting(key) {
        Some(setting) => format!("Write it as in `{} = {}`", setting.key, setting.example),
        None if key.is_empty() => "A line is a `key = value` or a comment that begins with #".to_owned(),
        None => {
            let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
            let near = keys
                .iter()
                .filter(|known| likeness(known, key) * 3 >= known.len() * 2)
                .max_by_key(|known| likeness(known, key));
            match near {
                Some(near) => format!("Did you mean {near}? Otherwise remove the line"),
                None => format!("Remove the line; the settings are {}", keys.join(", ")),
            }
        }
    }
}

/// Characters of `known` that stand in `key` in the same order.
fn likeness(known: &str, key: &str) -> usize {
    let mut rest = key.chars();
    known
        .chars()
        .filter(|c| rest.clone().any(|r| r == *c) && rest.any(|r| r == *c))
        .count()
}

impl Config {
    /// Reads the file at `path` and lays `overrides` over it.
    ///
    /// # Errors
    /// [`ConfigError`], which names file, line and key and says what to write.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config = Self::parse(path, &text)?;
        config.apply(overrides)?;
        Ok(config)
    }

    /// Reads the text of a file; `path` is for errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source { path, text };
        let raw: Raw = toml::from_str(text).map_err(|error| source.toml(&error))?;
        let base_url = source
            .read("base_url", raw.base_url, |text| {
                Origin::parse(&text).map_err(|error| error.to_string())
            })?
            .ok_or_else(|| source.missing("base_url"))?;
        Ok(Self {
            name: source
                .read("name", raw.name, name)?
                .ok_or_else(|| source.missing("name"))?,
            listen: source
                .read("listen", raw.listen, |text| address(&text))?
                .unwrap_or_else(|| LISTEN_DEFAULT.parse().expect("a constant, valid address")),
            algorithm: source
                .read("algorithm", raw.algorithm, |text| algorithm(&text))?
                .unwrap_or_default(),
            qr_form: source
                .read("qr_form", raw.qr_form, |text| qr_form(&text))?
                .unwrap_or_default(),
            cors_origins: source
                .read("cors_origins", raw.cors_origins, origins)?
                .unwrap_or_default(),
            metrics_public: raw.metrics_public.unwrap_or_default(),
            entries_public: raw.entries_public.unwrap_or_default(),
            mirrors: source
                .read("mirrors", raw.mirrors, mirrors::parse)?
                .unwrap_or_default(),
            mirrored_at: source
                .read("mirrored_at", raw.mirrored_at, mirrors::mirrored_at)?
                .unwrap_or_default(),
            status_list_seconds: source
                .read("status_list_seconds", raw.status_list_seconds, list_seconds)?
                .unwrap_or(STATUS_LIST_SECONDS_DEFAULT),
            witness_logs: source
                .read("witness_logs", raw.witness_logs, |keys| {
                    witness_logs(keys, base_url.authority())
                })?
                .unwrap_or_default(),
            witness_policy: raw.witness_policy,
            witness_seconds: source
                .read("witness_seconds", raw.witness_seconds, witness_seconds)?
                .unwrap_or(WITNESS_SECONDS_DEFAULT),
            base_url,
            federation: source.read("federation", raw.federation, |text| federation::hash(&text))?,
            federation_decided: source
                .read("federation_decided", raw.federation_decided, federation::decided)?
                .unwrap_or_default(),
            federation_reach: source
                .read("federation_reach", raw.federation_reach, federation::reach)?
                .unwrap_or_default(),
            federation_ca: raw.federation_ca,
            gossip_seconds: source
                .read("gossip_seconds", raw.gossip_seconds, federation::gossip_seconds)?
                .unwrap_or(limits::GOSSIP_SECONDS_DEFAULT),
            federation_forgiven: source
                .read(
                    "federation_forgiven",
                    raw.federation_forgiven,
                    federation::forgiven,
                )?
                .unwrap_or_default(),
            guard: raw.guard,
            workers: source.read("workers", raw.workers, workers)?,
            connections: source
                .read("connections", raw.connections, connections)?
                .unwrap_or(limits::CONNECTIONS_DEFAULT),
            log_format: source
                .read("log_format", raw.log_format, |text| log_format(&text))?
                .unwrap_or_default(),
            log_level: source
                .read("log_level", raw.log_level, |text| log_level(&text))?
                .unwrap_or(tracing::Level::INFO),
        })
    }

    fn apply(&mut self, overrides: &Overrides) -> Result<(), ConfigError> {
        fn over<T, U>(
            key: &'static str,
            given: Option<T>,
            place: &mut U,
            parse: impl FnOnce(T) -> Result<U, String>,
        ) -> Result<(), ConfigError> {
            if let Some(given) = given {
                *place = parse(given).map_err(|what| ConfigError::Override {
                    key,
                    what,
                    example: setting(key).map_or("", |setting| setting.example),
                })?;
            }
            Ok(())
        }
        let given = overrides.clone();
        over("listen", given.listen, &mut self.listen, |text| address(&text))?;
        over(
            "cors_origins",
            given.cors_origins,
            &mut self.cors_origins,
            origins,
        )?;
        over(
            "metrics_public",
            given.metrics_public,
            &mut self.metrics_public,
            Ok,
        )?;
        over(
            "entries_public",
            given.entries_public,
            &mut self.entries_public,
            Ok,
        )?;
        over("guard", given.guard, &mut self.guard, |path| {
            // A flag is relative to where it was typed, not to the node's directory.
            std::path::absolute(path)
                .map(Some)
                .map_err(|error| error.to_string())
        })?;
        over("workers", given.workers, &mut self.workers, |n| {
            workers(n).map(Some)
        })?;
        over("log_format", given.log_format, &mut self.log_format, |text| {
            log_format(&text)
        })?;
        over("log_level", given.log_level, &mut self.log_level, |text| {
            log_level(&text)
        })
    }

    /// The commented file that `init` writes: what differs from the default is
    /// set, all else stands there as a comment.
    #[must_use]
    pub fn commented(base_url: &Origin, name: &str, listen: SocketAddr, guard: Option<&Path>) -> String {
        let mut out = String::from(
            "# Settings of a Tallystick node. A line that begins with # is a comment; a setting that is\n\
             # commented out has the value shown, or none where an example is shown. Flags go before\n\
             # environment variables, and these before this file. Restart the node after a change.\n",
        );
        for setting in SETTINGS {
            out.push('\n');
            for line in setting.meaning {
                writeln!(out, "# {line}").expect("a String takes everything");
            }
            let set = match setting.key {
                "base_url" => Some(toml::Value::from(base_url.to_string()).to_string()),
                "name" => Some(toml::Value::from(name).to_string()),
                "listen" if listen.to_string() != LISTEN_DEFAULT => {
                    Some(toml::Value::from(listen.to_string()).to_string())
                }
                "guard" => guard.map(|path| toml::Value::from(path.display().to_string()).to_string()),
                _ => None,
            };
            let line = match set {
                Some(value) => format!("{} = {value}", setting.key),
                None => format!("# {} = {}", setting.key, setting.example),
            };
            writeln!(out, "{line}").expect("a String takes everything");
        }
        out
    }
}

/// Checks a co-op's name.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: String) -> Result<String, String> {
    let length = text.chars().count();
    if (1..=limits::NODE_NAME_CHARS_MAX).contains(&length) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(format!(
            "a name has 1 to {} characters, none of them a control character",
            limits::NODE_NAME_CHARS_MAX
        ))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address and a port (an IPv6 address stands in brackets)"))
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "eddsa" => Ok(Algorithm::EdDsa),
        "ed25519" => Ok(Algorithm::Ed25519),
        _ => Err(format!("{text:?} is neither \"eddsa\" nor \"ed25519\"")),
    }
}

fn qr_form(text: &str) -> Result<QrForm, String> {
    match text {
        "link" => Ok(QrForm::Link),
        "bare" => Ok(QrForm::Bare),
        _ => Err(format!("{text:?} is neither \"link\" nor \"bare\"")),
    }
}

fn origins(texts: Vec<String>) -> Result<Vec<String>, String> {
    if texts.len() > limits::CORS_ORIGINS_MAX {
        return Err(format!(
            "at most {} origins are allowed",
            limits::CORS_ORIGINS_MAX
        ));
    }
    texts
        .into_iter()
        .map(|text| {
            Origin::parse(&text)
                .map(|origin| origin.to_string())
                .map_err(|error| format!("{text:?}: {error}"))
        })
        .collect()
}

/// Keys of logs, none of them the node's own.
fn witness_logs(texts: Vec<String>, own: &str) -> Result<Vec<VerifierKey>, String> {
    if texts.len() > limits::WITNESS_LOGS_MAX {
        return Err(format!("at most {} logs are witnessed", limits::WITNESS_LOGS_MAX));
    }
    let mut keys: Vec<VerifierKey> = Vec::new();
    for text in texts {
        let key = VerifierKey::parse(&text).map_err(|error| format!("{text:?}: {error}"))?;
        if key.kind() != KeyKind::Ed25519 {
            return Err(format!("{text:?} is a witness's key, not a log's"));
        }
        if key.name() == own {
            return Err(format!(
                "{text:?} is this node's own log, which others have to witness"
            ));
        }
        if keys.contains(&key) {
            return Err(format!("{text:?} stands there twice"));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn witness_seconds(seconds: u64) -> Result<u64, String> {
    if (1..=86_400).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{seconds} is not from 1 to 86400"))
    }
}

fn list_seconds(seconds: u64) -> Result<u64, String> {
    if (60..=31_536_000).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{seconds} is not from 60 to 31536000"))
    }
}

fn workers(count: u64) -> Result<usize, String> {
    match usize::try_from(count) {
        Ok(count @ 1..=256) => Ok(count),
        _ => Err(format!("{count} is not from 1 to 256")),
    }
}

fn connections(count: u64) -> Result<usize, String> {
    let most = limits::CONNECTIONS_MAX;
    match usize::try_from(count) {
        Ok(fits) if (16..=most).contains(&count) => Ok(fits),
        _ => Err(format!("{count} is not from 16 to {most}")),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither \"text\" nor \"json\"")),
    }
}

fn log_level(text: &str) -> Result<tracing::Level, String> {
    match text {
        "error" | "warn" | "info" | "debug" | "trace" => Ok(text.parse().expect("the five names are levels")),
        _ => Err(format!("{text:?} is no level")),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
