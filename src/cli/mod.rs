//! Floor 8: the command line. One file per subcommand.
//!
//! Data goes to standard output, everything else to standard error. Exit codes:
//! 0 done, 1 failed, 2 wrong usage; `verify`, `audit`, `monitor` and `mirror` have
//! more. What acts on a node speaks HTTP to it; for a directory that no process
//! has open the node is served here for as long as the command runs, so each
//! command is written once (`node_args`).

mod audit;
mod campaign;
mod client;
mod compact;
mod demo;
mod erase;
mod export;
mod federation;
mod follow;
mod health;
pub mod import;
mod init;
mod input;
mod issue;
mod key;
mod mirror;
mod monitor;
mod node_args;
mod output;
mod playground;
mod ports;
mod qr;
mod receipt;
mod recover;
mod redeem;
mod reverse;
mod revoke;
mod serve;
mod sheet;
pub mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "tallystick",
    version,
    about = "Signed receipts and coupons for co-operatives, in a log that anyone can check",
    after_help = "Begin with `tallystick init shop` and `tallystick serve shop`.",
    max_term_width = 100,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Serve(serve::Args),
    Key(key::Args),
    Campaign(campaign::Args),
    Issue(issue::Args),
    Qr(qr::Args),
    Redeem(redeem::Args),
    Reverse(reverse::Args),
    Revoke(revoke::Args),
    Receipt(receipt::Args),
    Erase(erase::Args),
    Import(import::ImportArgs),
    Verify(verify::VerifyArgs),
    Audit(audit::Args),
    Monitor(monitor::Args),
    Mirror(mirror::Args),
    Export(export::Args),
    Federation(federation::Args),
    Compact(compact::Args),
    Recover(recover::Args),
    Health(health::Args),
    Playground(playground::Args),
    Demo(demo::Args),
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init(args) => args.run(),
            Self::Serve(args) => args.run(),
            Self::Key(args) => args.run(),
            Self::Campaign(args) => args.run(),
            Self::Issue(args) => args.run(),
            Self::Qr(args) => args.run(),
            Self::Redeem(args) => args.run(),
            Self::Reverse(args) => args.run(),
            Self::Revoke(args) => args.run(),
            Self::Receipt(args) => args.run(),
            Self::Erase(args) => args.run(),
            Self::Import(args) => import_into(&args),
            Self::Audit(args) => args.run(),
            Self::Monitor(args) => args.run(),
            Self::Mirror(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Federation(args) => args.run(),
            Self::Compact(args) => args.run(),
            Self::Recover(args) => args.run(),
            Self::Health(args) => args.run(),
            Self::Playground(args) => args.run(),
            Self::Demo(args) => args.run(),
            Self::Verify(args) => {
                let (stdin, stdout, stderr) = (
                    &mut std::io::stdin(),
                    &mut std::io::stdout(),
                    &mut std::io::stderr(),
                );
                Ok(ExitCode::from(verify::run(&args, stdin, stdout, stderr)?))
            }
        }
    }
}

fn import_into(args: &import::ImportArgs) -> anyhow::Result<ExitCode> {
    let open = |path: &std::path::Path| Ok(node_args::open_dir(path)?.node);
    let (stdout, stderr) = (&mut std::io::stdout(), &mut std::io::stderr());
    Ok(ExitCode::from(import::run(args, &open, stdout, stderr)?))
}

/// The arguments do not go together in a way that the parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Runs the program on the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    // The provider is chosen once for the process; a second choice would fail,
    // and there is none.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse_from(std::env::args_os().map(spell_out)).command.run() {
        Ok(code) => code,
        Err(error) => {
            output::note(&format!("error: {}", sentence(&error)));
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

/// An id may begin with a hyphen (it is base64url), so where an id is due any
/// `-x` is read as one: the two short flags are written out before.
fn spell_out(arg: OsString) -> OsString {
    match arg.to_str() {
        Some("-h") => "--help".into(),
        Some("-V") => "--version".into(),
        _ => arg,
    }
}

/// An error and its causes in one line, each told once: some errors say their
/// cause themselves.
fn sentence(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use clap::Parser as _;

    use super::{Cli, sentence, spell_out};

    #[test]
    fn ids_may_begin_with_a_hyphen() {
        let parse = |line: &str| {
            Cli::try_parse_from(line.split(' ').map(|arg| spell_out(arg.into())))
                .map_err(|error| error.kind())
        };
        for line in [
            "tallystick issue -ehEy4LvJVK95BHrXleRlA --count 2 --node shop",
            "tallystick issue --count 2 --node shop --json --hEy4LvJVK95BHrXleRlA",
            "tallystick reverse -ehEy4LvJVK95BHrXleRlA --give-back --node shop",
            "tallystick campaign show -hEy4LvJVK95BHrXleRlAA --node shop",
            "tallystick revoke --campaign -hEy4LvJVK95BHrXleRlAA --node shop",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
        use clap::error::ErrorKind;
        assert_eq!(parse("tallystick issue -h").unwrap_err(), ErrorKind::DisplayHelp);
        assert_eq!(
            parse("tallystick issue a/b --node x").unwrap_err(),
            ErrorKind::ValueValidation
        );
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("a").context("b: a").context("c");
        assert_eq!(sentence(&error), "c: b: a");
    }

    #[test]
    fn the_command_line_is_well_formed_and_every_command_shows_an_example() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        let mut left: Vec<_> = cli.get_subcommands().cloned().collect();
        while let Some(command) = left.pop() {
            left.extend(command.get_subcommands().cloned());
            assert!(
                command.get_about().is_some(),
                "{} says nothing",
                command.get_name()
            );
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                command.has_subcommands() || help.contains("tallystick "),
                "{} shows no example",
                command.get_name()
            );
        }
    }
}
