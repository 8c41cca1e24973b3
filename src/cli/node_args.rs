//! Which node a command acts on, and with which key.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::client::Client;
use crate::node::access::Role;
use crate::primitives::{Clock as _, OsEntropy, SystemClock};
use crate::server::run::compare_before_work;
use crate::server::{NodeDir, OpenedNode, Overrides, Passphrase, ServerError, Serving};
use crate::store::StoreError;

/// Where the passphrase of encrypted key files comes from.
#[derive(Debug, clap::Args)]
pub struct PassphraseArgs {
    /// A file whose first line is the passphrase of the key files
    ///
    /// Without it the environment variable TALLYSTICK_KEY_PASSPHRASE counts,
    /// and without that the key files are not encrypted, only owner-only.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Option<Passphrase>, ServerError> {
        match &self.passphrase_file {
            Some(path) => Passphrase::from_file(path).map(Some),
            // Not a flag with `env`: a passphrase is never part of a command line.
            None => Ok(std::env::var("TALLYSTICK_KEY_PASSPHRASE")
                .ok()
                .filter(|text| !text.is_empty())
                .map(Passphrase::new)),
        }
    }
}

/// Which node, and with which key.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    /// The node: its URL, or its directory if no process has it open
    #[arg(long, value_name = "URL|DIR", env = "TALLYSTICK_NODE")]
    node: String,
    /// The bearer key for a URL, of till, office or auditor; a directory needs none
    #[arg(long, value_name = "KEY", env = "TALLYSTICK_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Where the directory's guard file is
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_GUARD", hide = true)]
    guard: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl NodeArgs {
    /// Does `work` against the node. A directory's node is opened and served on
    /// a loopback port of its own for as long as the work takes.
    ///
    /// # Errors
    /// What the work or the opening of the directory gives.
    pub fn with<T>(&self, work: impl FnOnce(&Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
        if self.node.starts_with("http://") || self.node.starts_with("https://") {
            return work(&Client::new(&self.node, self.key.as_deref())?);
        }
        let serving = self.serve(Path::new(&self.node))?;
        let done = Client::new(&serving.server.url(), Some(&serving.key)).and_then(|client| work(&client));
        // Why the node ended says more than that it could not be reached any more.
        serving.server.stop()?;
        done
    }

    fn serve(&self, path: &Path) -> anyhow::Result<OneOff> {
        let overrides = Overrides {
            guard: self.guard.clone(),
            workers: Some(1),
            ..Overrides::default()
        };
        let opened = open_with(path, &overrides, &self.passphrase)?;
        let key = opened
            .access
            .add_one_off(Role::Office, SystemClock.now(), &OsEntropy);
        Ok(OneOff {
            server: Serving::start(opened)?,
            key,
        })
    }
}

/// Opens the node in a directory that no process has open; guard file and
/// passphrase as the environment says. Its mirrors and witnesses are asked first, as
/// before a node serves.
///
/// # Errors
/// A sentence that says what to do.
pub fn open_dir(path: &Path) -> anyhow::Result<OpenedNode> {
    let overrides = Overrides {
        guard: std::env::var_os("TALLYSTICK_GUARD").map(PathBuf::from),
        ..Overrides::default()
    };
    let passphrase = PassphraseArgs {
        passphrase_file: None,
    };
    let opened = open_with(path, &overrides, &passphrase)?;
    compare_before_work(&opened)?;
    Ok(opened)
}

fn open_with(path: &Path, overrides: &Overrides, passphrase: &PassphraseArgs) -> anyhow::Result<OpenedNode> {
    let dir = NodeDir::at(path)?;
    let opened = match dir.open(overrides, passphrase.read()?.as_ref()) {
        Err(ServerError::Store(StoreError::Locked { .. })) => {
            let listen = dir.config(overrides)?.listen;
            anyhow::bail!(
                "{0} is open in another process: while the node runs, name its URL and a key instead, such as \
                 --node http://{listen} --key KEY (`tallystick key add {0} --role office` makes one)",
                path.display(),
            );
        }
        opened => opened?,
    };
    for note in &opened.report.notes {
        super::output::note(&format!("note: {note}"));
    }
    Ok(opened)
}

/// A node that is served for one command.
struct OneOff {
    server: Serving,
    key: Zeroizing<String>,
}
