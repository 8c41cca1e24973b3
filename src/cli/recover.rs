//! `tallystick recover`: lost entries are fetched from a copy, a lost guard file is
//! made again.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::follow;
use super::node_args::PassphraseArgs;
use super::output;
use crate::server::{NodeDir, Overrides, Recovered, StubsBack};

/// Put right a node that lost its guard file, entries or its whole store
///
/// The guard file says what a node has signed, and keeps it from signing a second
/// history. Where the store is behind it, as after a backup was restored, the
/// entries that are missing are fetched with --from from a mirror of the log,
/// checked against the checkpoint and the guard, and appended. A store that is
/// gone is made anew in the same way; settings and keys have to be there.
/// Receipts' stubs come back where the mirror has them, each checked against its
/// entry; receipts' details and secrets are in no mirror: a till that repeats such
/// a call is told that it was done.
///
/// When the guard file is lost, the log is compared with the newest checkpoint
/// that anyone holds: a mirror, an auditor, a partner, a witness. An older
/// checkpoint than the newest would not protect the entries that follow it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick recover shop --from https://partner.example/mirror/shop --key KEY\n  \
                        tallystick recover shop --from /srv/mirrors/shop\n  \
                        tallystick recover shop --checkpoint newest-checkpoint.txt"
)]
pub struct Args {
    /// The node's directory, which no process has open
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    by: By,
    /// The bearer key for entries at a URL
    #[arg(long, value_name = "KEY", env = "TALLYSTICK_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Where the guard file is, or goes [default: as the settings have it]
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_GUARD")]
    guard: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What the log is recovered by.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct By {
    /// A mirror of this node's log: the URL it is served under, or its directory
    #[arg(long, value_name = "URL|DIR")]
    from: Option<String>,
    /// The newest checkpoint that anyone holds, as /checkpoint served it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides {
            guard: self.guard.clone(),
            ..Overrides::default()
        };
        let dir = NodeDir::at(&self.dir)?;
        let passphrase = self.passphrase.read()?;
        let recovered = match (&self.by.from, &self.by.checkpoint) {
            (Some(from), _) => {
                let source = follow::open(from, self.key.as_deref())?;
                let terminal = std::io::stderr().is_terminal();
                let mut progress = |size| {
                    if terminal {
                        let _ = write!(std::io::stderr(), "\r{size} entries\u{1b}[K");
                    }
                };
                let recovered = dir.recover_from(&overrides, passphrase.as_ref(), source, &mut progress);
                if terminal {
                    let _ = write!(std::io::stderr(), "\r\u{1b}[K");
                }
                recovered?
            }
            (None, Some(checkpoint)) => {
                let note = std::fs::read(checkpoint)
                    .with_context(|| format!("could not read {}", checkpoint.display()))?;
                dir.recover(&overrides, passphrase.as_ref(), &note)?
            }
            (None, None) => unreachable!("clap requires one of the two"),
        };
        self.tell(&recovered);
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, recovered: &Recovered) {
        let Recovered {
            guard,
            guard_made,
            size,
            fetched,
            stubs,
        } = recovered;
        let result = json!({
            "guard": guard, "guard_made": guard_made, "size": size, "fetched": fetched,
            "stubs": stubs.as_ref().map(|stubs| json!({
                "fetched": stubs.fetched, "lacking": stubs.lacking, "stopped": stubs.stopped,
            })),
        });
        output::result(self.json, &result, |_| {
            let entries = match fetched {
                0 => format!("The log agrees with the checkpoint at {size} entries"),
                _ => format!("{fetched} entries were fetched and checked; the log has {size} again"),
            };
            let guard = if *guard_made {
                format!("; {} was made again", guard.display())
            } else {
                String::new()
            };
            let stubs = stubs.as_ref().map(stubs_in_words).unwrap_or_default();
            format!(
                "{entries}{guard}.{stubs} `tallystick serve {}` starts the node.",
                self.dir.display()
            )
        });
    }
}

fn stubs_in_words(stubs: &StubsBack) -> String {
    let mut text = String::new();
    if stubs.fetched > 0 {
        let _ = write!(
            text,
            " The signed stubs of {} receipts came back, not their details.",
            stubs.fetched
        );
    }
    if stubs.lacking > 0 {
        let _ = write!(text, " {} receipts are left without their stubs", stubs.lacking);
        match &stubs.stopped {
            Some(why) => {
                let _ = write!(text, ": {why}.");
            }
            None => text.push_str(", which are not there either, or are not theirs."),
        }
        text.push_str(" Another mirror may have them: the command can be run again.");
    }
    text
}
