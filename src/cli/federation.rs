//! `tallystick federation`: who belongs to a federation, and who says so
//! (docs/federation.md).

mod create;
mod draft;
mod evidence;
mod files;
pub mod found;
mod member;
mod picture;
mod pin;
mod propose;
mod publish;
mod show;
mod sign;
mod signer;

use std::process::ExitCode;

/// Draw up, sign, show and publish the roster of a federation of co-ops
///
/// A roster lists the members with their keys. Each version is signed by signers,
/// the co-ops or a convening body, whose keys are kept offline. Each version is a
/// file; keep all of them in one directory, so that what a version changes can be
/// shown.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Signer(signer::Args),
    Create(create::Args),
    Member(member::Args),
    NewKey(member::NewKey),
    Propose(propose::Args),
    Sign(sign::Sign),
    Merge(sign::Merge),
    Show(show::Args),
    Pin(pin::Args),
    Publish(publish::Args),
    Evidence(evidence::Args),
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Signer(args) => args.run(),
            Command::Create(args) => args.run(),
            Command::Member(args) => args.run(),
            Command::NewKey(args) => args.run(),
            Command::Propose(args) => args.run(),
            Command::Sign(args) => args.run(),
            Command::Merge(args) => args.run(),
            Command::Show(args) => args.run(),
            Command::Pin(args) => args.run(),
            Command::Publish(args) => args.run(),
            Command::Evidence(args) => args.run(),
        }
    }
}
