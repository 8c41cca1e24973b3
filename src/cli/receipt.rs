//! `tallystick receipt`: a sale as a till would post it.

use std::process::ExitCode;

use anyhow::Context as _;

use super::input::{self, RepeatArgs};
use super::node_args::NodeArgs;
use super::output;
use crate::primitives::limits;

/// Post a receipt in the till's JSON; prints its id, number and QR text
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick receipt --node http://127.0.0.1:8080 --key KEY sale.json")]
pub struct Args {
    /// A file with the body of POST /v1/receipts, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
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
        let body = input::read(&self.file, limits::BODY_BYTES_MAX)?;
        serde_json::from_str::<serde::de::IgnoredAny>(&body)
            .with_context(|| format!("{} is no JSON", self.file))?;
        let key = self.repeat.key([])?;
        let answer = self
            .node
            .with(|client| client.post("/v1/receipts", &key, &body))?;
        output::result(self.json, &answer, |value| {
            format!(
                "receipt {}\nnumber {}\nqr {}\n",
                output::text(value, "id"),
                output::text(value, "sequence_number"),
                output::text(value, "qr")
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}
