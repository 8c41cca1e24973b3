//! `tallystick erase`: what is personal of receipts, removed for good.

use std::process::ExitCode;

use serde_json::json;

use super::campaign::object;
use super::input::{self, RepeatArgs};
use super::node_args::NodeArgs;
use super::output;

/// Erase what is on a receipt, or on all receipts of a member, for good
///
/// Lines, payments, taxes, cashier, member, till reference and the receipt's
/// secret are removed. The signed stub stays, which names no person: register,
/// number, time and total, so that the log still adds up. The log says when it
/// was erased and why.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The bytes are gone from the disk after `tallystick compact`, with the node stopped. Backups keep \
                  what they hold: see docs/erasure.md.\n\nExamples:\n  \
                  tallystick erase --node shop --member 4711 --reason 'request of the person concerned'\n  \
                  tallystick erase --node http://127.0.0.1:8080 --key KEY ID --reason 'wrong member at the till'"
)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["receipt", "member"]))]
pub struct Args {
    /// The receipt's id
    #[arg(value_name = "ID", value_parser = input::id, allow_hyphen_values = true)]
    receipt: Option<String>,
    /// All receipts that name this member
    #[arg(long, value_name = "NUMBER")]
    member: Option<String>,
    /// Why, for the log, where it stays for good: name no person
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    repeat: RepeatArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let key = self.repeat.key([])?;
        let body = object([
            ("receipt", json!(self.receipt)),
            ("member", json!(self.member)),
            ("reason", json!(self.reason)),
        ]);
        let answer = self
            .node
            .with(|client| client.post("/v1/erasures", &key, &body.to_string()))?;
        output::result(self.json, &answer, |value| {
            format!("erased {}\n", output::text(value, "erased"))
        });
        Ok(ExitCode::SUCCESS)
    }
}
