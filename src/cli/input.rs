//! What people type: times, files, QR texts.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

use super::UsageError;
use crate::primitives::{UnixSeconds, limits};

/// A point in time as it was typed: an RFC 3339 time, or `+30d`, `+12h`, `+5m`
/// from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    text: String,
    relative: bool,
}

impl When {
    /// Reads a time; for `value_parser`.
    ///
    /// # Errors
    /// What a time looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "a time is as in 2026-12-31T23:59:59+01:00, or from now as in +30d, +12h or +5m";
        let Some(span) = text.strip_prefix('+') else {
            // An offset is part of it: a shop's midnight is not UTC's.
            text.parse::<Timestamp>().map_err(|_| expected.to_owned())?;
            return Ok(Self {
                text: text.to_owned(),
                relative: false,
            });
        };
        let seconds = match span.chars().last() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            _ => return Err(expected.to_owned()),
        };
        let count: i64 = span[..span.len() - 1].parse().map_err(|_| expected.to_owned())?;
        let later = count
            .checked_mul(seconds)
            .and_then(|seconds| now().checked_add(SignedDuration::from_secs(seconds)).ok())
            .ok_or_else(|| "that is too far away".to_owned())?;
        Ok(Self {
            text: later.to_string(),
            relative: true,
        })
    }

    /// The present time.
    pub fn now() -> Self {
        Self {
            text: now().to_string(),
            relative: true,
        }
    }

    /// In whole seconds since 1970; times before are none.
    pub fn seconds(&self) -> UnixSeconds {
        let time: Timestamp = self.text.parse().expect("it was parsed before");
        UnixSeconds(u64::try_from(time.as_second()).unwrap_or(0))
    }

    /// As RFC 3339 has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The present time in whole seconds.
fn now() -> Timestamp {
    let seconds = Timestamp::now().as_second();
    Timestamp::from_second(seconds).expect("the present is a time")
}

/// The key of one call, so that repeating it changes nothing twice.
#[derive(Debug, clap::Args)]
pub struct RepeatArgs {
    /// Repeat an earlier call: the same key with the same arguments changes nothing twice
    ///
    /// Without it every run is a new call. Times have to be absolute with it,
    /// for times that count from now make another request.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl RepeatArgs {
    /// The key to send; a new one unless one was given.
    ///
    /// # Errors
    /// [`UsageError`] when a time counts from now and a key was given.
    pub fn key<'a>(&self, times: impl IntoIterator<Item = &'a When>) -> anyhow::Result<String> {
        match &self.idempotency_key {
            None => Ok(random_key()),
            Some(_) if times.into_iter().any(|time| time.relative) => Err(UsageError(
                "with --idempotency-key give --not-before and --not-after as absolute times, such as \
                 2026-12-31T23:59:59+01:00: otherwise it is another request"
                    .to_owned(),
            )
            .into()),
            Some(key) => Ok(key.clone()),
        }
    }
}

fn random_key() -> String {
    let entropy: &dyn crate::primitives::Entropy = &crate::primitives::OsEntropy;
    data_encoding::HEXLOWER.encode(&entropy.bytes::<16>())
}

/// The content of a file, or of standard input for `-`, up to `max` bytes.
///
/// # Errors
/// When it cannot be read, is longer, or is no text.
pub fn read(path: &str, max: usize) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let limit = max as u64 + 1;
    if path == "-" {
        let input = std::io::stdin().lock();
        input
            .take(limit)
            .read_to_end(&mut bytes)
            .context("standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| path.to_owned())?;
        file.take(limit)
            .read_to_end(&mut bytes)
            .with_context(|| path.to_owned())?;
    }
    anyhow::ensure!(
        bytes.len() <= max,
        "{path} has more than {max} bytes, which is too much here"
    );
    String::from_utf8(bytes).with_context(|| format!("{path} is not text"))
}

/// An id, which may stand in a path: nothing in it is read as another path. For
/// `value_parser`.
///
/// # Errors
/// What an id looks like.
pub fn id(text: &str) -> Result<String, String> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("an id has letters, digits, - and _ only".to_owned())
    }
}

/// A coupon's QR text: as typed, or the content of a file, or of standard
/// input for `-`.
///
/// # Errors
/// As [`read`].
pub fn qr_text(text: &str) -> anyhow::Result<String> {
    let trimmed = text.trim();
    let looks_typed =
        trimmed.contains('#') || trimmed.contains("%23") || trimmed.bytes().all(|b| b.is_ascii_digit());
    if text == "-" || (!looks_typed && Path::new(text).is_file()) {
        // A link's host and path may stand before the digits.
        Ok(read(text, limits::QR_DIGITS_MAX + 1_024)?.trim().to_owned())
    } else {
        Ok(trimmed.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_from_now() {
        assert!(!When::parse("2026-12-31T23:59:59+01:00").unwrap().relative);
        assert!(When::parse("+30d").unwrap().relative);
        assert!(When::parse("+30d").unwrap().as_str() > When::now().as_str());
        for bad in [
            "2026-12-31",
            "tomorrow",
            "+d",
            "+5",
            "+99999999999999999d",
            "2026-12-31T23:59:59",
        ] {
            assert!(When::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repeated_call_has_absolute_times() {
        let given = RepeatArgs {
            idempotency_key: Some("k".into()),
        };
        assert!(given.key([&When::now()]).is_err());
        assert_eq!(given.key([]).unwrap(), "k");
        let none = RepeatArgs {
            idempotency_key: None,
        };
        assert_ne!(none.key([]).unwrap(), none.key([]).unwrap());
    }
}
