//! `tallystick reverse`: a redemption taken back.

use std::process::ExitCode;

use serde_json::json;

use super::campaign::{object, segment};
use super::input::RepeatArgs;
use super::node_args::NodeArgs;
use super::output;

/// Reverse a redemption, whole or in part, within the campaign's reversal window
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick reverse --node shop REDEMPTION --give-back")]
pub struct Args {
    /// The redemption's id
    #[arg(value_name = "REDEMPTION")]
    id: String,
    /// The till's own reference [default: one made from the idempotency key]
    #[arg(long, value_name = "TEXT")]
    till_reference: Option<String>,
    /// How much, in minor units [default: all that is left]
    #[arg(long, value_name = "MINOR")]
    amount: Option<u64>,
    /// Give the use, or the stored value, back to the coupon
    #[arg(long)]
    give_back: bool,
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
        let path = format!("/v1/redemptions/{}/reversals", segment(&self.id)?);
        let reference = self.till_reference.unwrap_or_else(|| format!("cli-{key:.100}"));
        let body = object([
            ("till_reference", json!(reference)),
            ("amount", json!(self.amount)),
            ("give_back", json!(self.give_back)),
        ]);
        let answer = self
            .node
            .with(|client| client.post(&path, &key, &body.to_string()))?;
        output::result(self.json, &answer, |value| {
            format!(
                "reversal {}\namount {}\n",
                output::text(value, "id"),
                output::text(value, "amount")
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}
