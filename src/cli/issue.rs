//! `tallystick issue`: coupons of a campaign.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::campaign::object;
use super::client::{BrokenOff, Client};
use super::input::{self, RepeatArgs, When};
use super::node_args::NodeArgs;
use super::output;
use crate::primitives::limits;

/// Issue coupons of a campaign; prints each one's name and QR text
///
/// A coupon is worth money to whoever has it, and no call shows it again except
/// a repeat with the same --idempotency-key: keep what is printed. Up to 1,000,000
/// coupons are issued in one go and printed as they come, a line each.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick issue --node shop CAMPAIGN --count 20 > coupons.txt\n  \
                        tallystick issue --node shop CAMPAIGN --json | jq -r '.coupons[0].qr' | tallystick qr -\n  \
                        tallystick issue --node shop CAMPAIGN --count 100000 --idempotency-key spring > coupons.txt\n  \
                        tallystick issue --node shop CAMPAIGN --count 100000 --idempotency-key spring \\\n    \
                        --from $(wc -l < coupons.txt) >> coupons.txt"
)]
pub struct Args {
    /// The campaign's id
    #[arg(value_name = "CAMPAIGN", value_parser = input::id, allow_hyphen_values = true)]
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
    /// Go on after the first N lines, which an earlier run with this key has printed
    #[arg(long, value_name = "N", requires = "idempotency_key")]
    from: Option<u32>,
    #[command(flatten)]
    repeat: RepeatArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Print JSON: the whole answer for up to 1,000 coupons, for more (or with --from) a line for each
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
        ])
        .to_string();
        if self.json && self.count <= limits::ANSWER_COUPONS_MAX && self.from.is_none() {
            let answer = self.node.with(|client| client.post("/v1/coupons", &key, &body))?;
            output::data(&serde_json::to_string_pretty(&answer).expect("JSON values are written"));
            return Ok(ExitCode::SUCCESS);
        }
        let batch = self.node.with(|client| self.print(client, &key, &body))?;
        output::note(&format!("batch {batch}"));
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the coupons as they come; the batch comes back.
    fn print(&self, client: &Client, key: &str, body: &str) -> anyhow::Result<String> {
        let from = u64::from(self.from.unwrap_or(0));
        let mut out = output::Lines::begin();
        let mut lines = from;
        let done = client.post_lines("/v1/coupons", key, body, from, &mut |line| {
            lines += 1;
            if self.json {
                out.print(format_args!("{line}"));
                return Ok(());
            }
            let coupon: Value = serde_json::from_str(line).context("a line of the answer is no JSON")?;
            let (name, qr) = (output::text(&coupon, "name"), output::text(&coupon, "qr"));
            out.print(format_args!("{name}\t{qr}"));
            Ok(())
        });
        out.flush();
        let location = match done {
            Ok(location) => location.unwrap_or_default(),
            Err(error) => {
                let lines = error.downcast_ref::<BrokenOff>().map(|broken| broken.lines);
                return Err(match lines {
                    Some(lines) => error.context(self.how_to_go_on(key, lines)),
                    None => error,
                });
            }
        };
        anyhow::ensure!(
            lines == u64::from(self.count),
            "the node sent {lines} lines for {} coupons",
            self.count
        );
        Ok(location.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Times are said as they were sent: another time would be another request.
    fn how_to_go_on(&self, key: &str, lines: u64) -> String {
        let mut flags = format!("--idempotency-key {key}");
        if lines > 0 {
            flags.push_str(&format!(" --from {lines}"));
        }
        for (flag, time) in [
            ("--not-before", &self.not_before),
            ("--not-after", &self.not_after),
        ] {
            if let Some(time) = time {
                flags.push_str(&format!(" {flag} {}", time.as_str()));
            }
        }
        format!(
            "{lines} of {} coupons were printed; to go on, run the command again with {flags}, all else as before, and \
             add what it prints to what you have",
            self.count
        )
    }
}
