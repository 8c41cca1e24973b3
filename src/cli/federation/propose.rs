//! `tallystick federation propose`: the next version.

use std::path::PathBuf;
use std::process::ExitCode;

use super::draft;
use super::files::{self, Version};
use crate::cli::UsageError;
use crate::cli::input::When;
use crate::federation::roster::{Draft, Signer};
use crate::primitives::{Clock as _, KeyId, SystemClock};

/// Draw up the next version: members, keys, signers, threshold, expiry
///
/// Nobody has signed it yet, and the one before goes on counting until enough have.
/// What is proposed has to keep every rule of rosters; nothing is ever left out of
/// one, so a removal and a retired key are final.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick federation propose valley-1.roster --out valley-2.roster --member corner.member\n  \
                  tallystick federation propose valley-2.roster --out valley-3.roster \\\n    \
                  --remove did:web:hill.example=4711 --expires +365d"
)]
pub struct Args {
    /// The newest version
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// List a member as it describes itself: new, or with new keys, name or mirrors
    #[arg(long, value_name = "FILE")]
    member: Vec<PathBuf>,
    /// Remove a member: its log is frozen at SIZE entries, and its coupons are redeemed no more
    #[arg(long, value_name = "DID=SIZE", value_parser = removal)]
    remove: Vec<(String, u64)>,
    /// Name the one or two members that mirror a member's log
    #[arg(long, value_name = "DID=DID[,DID]", value_parser = mirrors)]
    mirrors: Vec<(String, Vec<String>)>,
    /// Retire a key: it signs nothing new, and verifies until then
    #[arg(long, value_name = "KID=TIME", value_parser = retired)]
    retire: Vec<(KeyId, When)>,
    /// Mark a key as compromised since then; of a key for credentials or the log, with the size of the
    /// log up to which coupons still count
    #[arg(long, value_name = "KID=TIME[,SIZE]", value_parser = compromised)]
    compromised: Vec<(KeyId, When, Option<u64>)>,
    /// Add a signer
    #[arg(long, value_name = "NAME=DID", value_parser = files::signer)]
    add_signer: Vec<Signer>,
    /// Take a signer out, by name or kid
    #[arg(long, value_name = "NAME|KID")]
    drop_signer: Vec<String>,
    /// How many signers have to sign this version, together with enough of the one before, and the next
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<u64>,
    /// When it expires, at most five years from now [default: when the version before does]
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    expires: Option<When>,
    /// Give the federation another name
    #[arg(long)]
    name: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let before = Version::read(&self.from)?.roster;
        let mut draft = Draft::after(&before, SystemClock.now());
        for path in &self.member {
            draft.member(files::description(path)?)?;
        }
        for (did, frozen) in self.remove {
            draft.remove(&did, frozen)?;
        }
        for (did, mirrors) in self.mirrors {
            draft.mirrors(&did, mirrors)?;
        }
        for (kid, until) in self.retire {
            draft.retire(kid, until.seconds())?;
        }
        for (kid, since, frozen) in self.compromised {
            draft.compromised(kid, since.seconds(), frozen)?;
        }
        for name in &self.drop_signer {
            draft.drop_signer(name)?;
        }
        for signer in self.add_signer {
            draft.add_signer(signer)?;
        }
        if let Some(need) = self.threshold {
            draft.threshold(need);
        }
        if let Some(at) = self.expires {
            draft.expires(at.seconds());
        } else if before.expires <= SystemClock.now() {
            return Err(UsageError(format!(
                "{} has expired: say with --expires until when the next version counts",
                self.from.display()
            ))
            .into());
        }
        if let Some(name) = self.name {
            draft.rename(name);
        }
        draft::write(draft.finish()?, Some(&before), self.out, self.json)
    }
}

fn pair<'a>(text: &'a str, expected: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=').ok_or_else(|| format!("it is {expected}"))
}

fn kid(text: &str) -> Result<KeyId, String> {
    KeyId::parse(text).ok_or_else(|| format!("{text} is no kid: 16 digits as `federation show` has them"))
}

fn size(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text} is no size of a log: a number of entries, as its checkpoint has it"))
}

fn removal(text: &str) -> Result<(String, u64), String> {
    let (did, frozen) = pair(text, "DID=SIZE, such as did:web:hill.example=4711")?;
    Ok((did.to_owned(), size(frozen)?))
}

fn mirrors(text: &str) -> Result<(String, Vec<String>), String> {
    let (did, mirrors) = pair(text, "DID=DID or DID=DID,DID; nobody after = for none")?;
    let mirrors = mirrors.split(',').filter(|mirror| !mirror.is_empty());
    Ok((did.to_owned(), mirrors.map(str::to_owned).collect()))
}

fn retired(text: &str) -> Result<(KeyId, When), String> {
    let (key, until) = pair(text, "KID=TIME, such as 5f0c81aa00112233=+30d")?;
    Ok((kid(key)?, When::parse(until)?))
}

fn compromised(text: &str) -> Result<(KeyId, When, Option<u64>), String> {
    let (key, rest) = pair(text, "KID=TIME or KID=TIME,SIZE")?;
    let (since, frozen) = match rest.split_once(',') {
        Some((since, frozen)) => (since, Some(size(frozen)?)),
        None => (rest, None),
    };
    Ok((kid(key)?, When::parse(since)?, frozen))
}
