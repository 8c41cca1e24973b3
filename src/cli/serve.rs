//! `tallystick serve`: runs a node until it is told to stop.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use super::node_args::PassphraseArgs;
use crate::server::{self, NodeDir, Overrides, ServerError, telemetry};

/// Run a node until SIGINT or SIGTERM
///
/// It listens on loopback unless told otherwise. When it is told to stop, it
/// finishes what it has accepted first. Flags go before environment variables,
/// and these before DIR/config.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick serve shop --listen 127.0.0.1:9000")]
pub struct Args {
    /// The node's directory, as `tallystick init` made it
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", env = "TALLYSTICK_LISTEN")]
    listen: Option<String>,
    /// Threads that answer HTTP
    #[arg(long, value_name = "N", env = "TALLYSTICK_WORKERS")]
    workers: Option<u64>,
    /// Where the guard file is
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_GUARD")]
    guard: Option<PathBuf>,
    /// A web origin whose pages may call the node; may be given several times
    #[arg(
        long = "cors-origin",
        value_name = "ORIGIN",
        env = "TALLYSTICK_CORS_ORIGINS",
        value_delimiter = ','
    )]
    cors_origins: Option<Vec<String>>,
    /// Whether /metrics answers others than loopback without a key
    #[arg(long, value_name = "BOOL", env = "TALLYSTICK_METRICS_PUBLIC", num_args = 0..=1, default_missing_value = "true")]
    metrics_public: Option<bool>,
    /// Whether everyone may read the log's entries and receipts' stubs without a key
    #[arg(long, value_name = "BOOL", env = "TALLYSTICK_ENTRIES_PUBLIC", num_args = 0..=1, default_missing_value = "true")]
    entries_public: Option<bool>,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT", env = "TALLYSTICK_LOG_FORMAT")]
    log_format: Option<String>,
    /// Which log lines are written: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "TALLYSTICK_LOG_LEVEL")]
    log_level: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let passphrase = self.passphrase.read()?;
        let overrides = Overrides {
            listen: self.listen,
            cors_origins: self.cors_origins,
            metrics_public: self.metrics_public,
            entries_public: self.entries_public,
            guard: self.guard,
            workers: self.workers,
            log_format: self.log_format,
            log_level: self.log_level,
        };
        let dir = NodeDir::at(&self.dir)?;
        let config = dir.config(&overrides)?;
        telemetry::start(config.log_format, config.log_level);
        // The port first: a node that cannot be reached need not be opened.
        let address = config.listen;
        let listener =
            TcpListener::bind(address).map_err(|source| ServerError::Listen { address, source })?;
        let opened = dir.open(&overrides, passphrase.as_ref())?;
        server::run::until_signal(&opened, listener)?;
        Ok(ExitCode::SUCCESS)
    }
}
