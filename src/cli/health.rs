//! `tallystick health`: is a node there, and does it write?

use std::process::ExitCode;

use super::client::Client;
use super::output;

/// Ask a node whether it is ready: exit code 0 if it is, 1 if not
///
/// For health checks of containers and service managers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick health --node http://127.0.0.1:8080")]
pub struct Args {
    /// The node's URL
    #[arg(long, value_name = "URL", env = "TALLYSTICK_NODE")]
    node: String,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let ready = Client::new(&self.node, None)?.get("/readyz")?;
        output::data(&ready.to_string());
        Ok(ExitCode::SUCCESS)
    }
}
