//! `tallystick issue`: coupons of a campaign.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::campaign::object;
use super::input::{RepeatArgs, When};
use super::node_args::NodeArgs;
use super::output;

/// Issue coupons of a campaign; prints each one's name and QR text
///
/// A coupon is worth money to whoever has it, and no call shows it again except
/// a repeat with the same --idempotency-key: keep what is printed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick issue --node shop CAMPAIGN --count 20 > coupons.txt\n  \
                        tallystick issue --node shop CAMPAIGN --json | jq -r '.coupons[0].qr' | tallystick qr -"
)]
pub struct Args {
    /// The campaign's id
    #[arg(value_name = "CAMPAIGN")]
    campaign: String,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// Each one's own amount or value in minor units, in place of the campaign's
    #[arg(long, value_name = "MINOR")]
    amount: Option<u64>,
    /// From when they are good [default: as the campaign]
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    not_before: Option<When>,
    /// Until when, as in 2026-12-31T23:59:59+01:00 or +90d [default: as the campaign]
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    not_after: Option<When>,
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
        let key = self.repeat.key(self.not_before.iter().chain(&self.not_after))?;
        let body = object([
            ("campaign", json!(self.campaign)),
            ("count", json!(self.count)),
            ("amount", json!(self.amount)),
            ("not_before", json!(self.not_before.as_ref().map(When::as_str))),
            ("not_after", json!(self.not_after.as_ref().map(When::as_str))),
        ]);
        let answer = self
            .node
            .with(|client| client.post("/v1/coupons", &key, &body.to_string()))?;
        output::result(self.json, &answer, |value| {
            let coupons = value["coupons"].as_array().map_or(&[][..], Vec::as_slice);
            let line = |coupon: &Value| {
                format!(
                    "{}\t{}\n",
                    output::text(coupon, "name"),
                    output::text(coupon, "qr")
                )
            };
            coupons.iter().map(line).collect()
        });
        if !self.json {
            output::note(&format!("batch {}", output::text(&answer, "batch")));
        }
        Ok(ExitCode::SUCCESS)
    }
}
