//! `tallystick revoke`: coupons made void, suspended, or let go again.

use std::process::ExitCode;

use serde_json::json;

use super::campaign::object;
use super::input::{self, RepeatArgs};
use super::node_args::NodeArgs;
use super::output;

/// Revoke or suspend coupons, or lift a suspension; a revocation is for good
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick revoke --node shop coupon.txt --reason 'lost'\n  \
                  tallystick revoke --node shop --name 0-4711 --status suspended\n  \
                  tallystick revoke --node shop --batch 12"
)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["coupon", "name", "batch", "campaign"]))]
pub struct Args {
    /// The coupon's QR text, or a file with it, or - for standard input
    #[arg(value_name = "TEXT|FILE|-")]
    coupon: Option<String>,
    /// The coupon's name, such as 0-4711
    #[arg(long, value_name = "LIST-INDEX")]
    name: Option<String>,
    /// All coupons of a batch, by the number that `tallystick issue` gave
    #[arg(long, value_name = "N")]
    batch: Option<u64>,
    /// All coupons of a campaign
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,
    /// What they are from now on
    #[arg(long, value_enum, default_value_t = Status::Revoked)]
    status: Status,
    /// Why, for the log; name no person
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    repeat: RepeatArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Status {
    /// For good
    Revoked,
    /// Until it is lifted
    Suspended,
    /// Lifts a suspension
    Valid,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::Valid => "valid",
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let key = self.repeat.key([])?;
        let coupon = self.coupon.as_deref().map(input::qr_text).transpose()?;
        let body = object([
            ("coupon", json!(coupon)),
            ("name", json!(self.name)),
            ("batch", json!(self.batch)),
            ("campaign", json!(self.campaign)),
            ("status", json!(self.status.word())),
            ("reason", json!(self.reason)),
        ]);
        let answer = self
            .node
            .with(|client| client.post("/v1/revocations", &key, &body.to_string()))?;
        output::result(self.json, &answer, |value| {
            format!("changed {}\n", output::text(value, "changed"))
        });
        Ok(ExitCode::SUCCESS)
    }
}
