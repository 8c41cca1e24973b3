//! A co-op of the demo: its node, which can go away and come back.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::super::client::Client;
use crate::federation::{HttpSource, LogSource as _};
use crate::primitives::{Origin, Register};
use crate::server::federation::with_setting;
use crate::server::{Initialised, NewDir, NodeDir, OpenedNode, Overrides, Serving};

/// Longest text that is read of a node of the demo: its metrics.
const METRICS_BYTES_MAX: usize = 1024 * 1024;

/// A co-op with its node on loopback.
pub struct Shop {
    /// What it is called.
    pub name: &'static str,
    /// Its directory and keys.
    pub made: Initialised,
    /// Where its node answers.
    pub address: SocketAddr,
    serving: Option<Serving>,
}

impl Shop {
    /// Makes a node in `root` that is to answer at `address`.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn make(name: &'static str, root: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let made = NodeDir::create(
            root,
            &NewDir {
                // The port first: links and QR codes name it.
                base_url: Origin::parse(&format!("http://{address}"))?,
                name: name.to_owned(),
                register: Register::new("till-1")?,
                guard: None,
                passphrase: None,
            },
        )?;
        // Nobody wants to wait for the usual five seconds.
        let config = made.directory.config_file();
        let text = std::fs::read_to_string(&config).context("the settings cannot be read")?;
        std::fs::write(&config, with_setting(&text, "gossip_seconds", "1"))
            .context("the settings cannot be written")?;
        Ok(Self {
            name,
            made,
            address,
            serving: None,
        })
    }

    /// Its node answers from now on.
    ///
    /// # Errors
    /// When it cannot be opened, or its port is taken.
    pub fn open(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address)
            .with_context(|| format!("{} was taken meanwhile", self.address))?;
        self.serving = Some(Serving::on(self.opened()?, listener)?);
        Ok(())
    }

    /// Its node answers from now on, has asked nobody what they hold of its log, and is told
    /// not to mind what it hears of it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_unasked(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address)
            .with_context(|| format!("{} was taken meanwhile", self.address))?;
        let mut opened = self.opened()?;
        opened.asks_members = false;
        let own = opened.node.options().origin.did_web();
        opened.config.federation_forgiven.insert(own);
        self.serving = Some(Serving::on(opened, listener)?);
        Ok(())
    }

    /// Its node, opened and not served.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn opened(&self) -> anyhow::Result<OpenedNode> {
        Ok(self.made.directory.open(&overrides(), None)?)
    }

    /// Its node goes away.
    ///
    /// # Errors
    /// When it could not be closed.
    pub fn close(&mut self) -> anyhow::Result<()> {
        match self.serving.take() {
            Some(serving) => serving.stop().context("closing the node"),
            None => Ok(()),
        }
    }

    /// Where a copy of its directory is put.
    pub fn twin(&self) -> PathBuf {
        let root = self.made.directory.root();
        root.with_file_name(format!(
            "{}-before",
            root.file_name().unwrap_or_default().to_string_lossy()
        ))
    }

    /// Entries in its log.
    ///
    /// # Errors
    /// When its node does not show its checkpoint.
    pub fn size(&self) -> anyhow::Result<u64> {
        size_in(&self.shown("/checkpoint")?.context("no checkpoint is shown")?)
    }

    /// Entries of `other`'s log in the checkpoint that this node cosigned last.
    ///
    /// # Errors
    /// When its node does not answer.
    pub fn has_seen(&self, other: &Self) -> anyhow::Result<u64> {
        let origin = HEXLOWER.encode(&Sha256::digest(other.address.to_string()));
        match self.shown(&format!("/{origin}/checkpoint"))? {
            Some(note) => size_in(&note),
            None => Ok(0),
        }
    }

    /// Logs of others that it holds evidence against.
    ///
    /// # Errors
    /// When its node does not show its metrics.
    pub fn forks(&self) -> anyhow::Result<u64> {
        let metrics = self.shown("/metrics")?.context("no metrics are shown")?;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("tallystick_gossip_forked_logs "));
        Ok(line.and_then(|count| count.trim().parse().ok()).unwrap_or(0))
    }

    /// A public file of its node, in text; `None` where there is none.
    fn shown(&self, path: &str) -> anyhow::Result<Option<String>> {
        let source = HttpSource::new(&self.url(), None)?;
        let bytes = source.get(path.trim_start_matches('/'), METRICS_BYTES_MAX)?;
        bytes
            .map(|bytes| String::from_utf8(bytes).context("a text is not UTF-8"))
            .transpose()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its till.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn till(&self) -> anyhow::Result<Client> {
        Client::new(&self.url(), Some(&self.made.till_key))
    }

    /// Its office.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn office(&self) -> anyhow::Result<Client> {
        Client::new(&self.url(), Some(&self.made.office_key))
    }
}

/// The size in a checkpoint's text.
fn size_in(note: &str) -> anyhow::Result<u64> {
    let size = note.lines().nth(1).and_then(|size| size.parse().ok());
    size.context("a checkpoint has no size")
}

fn overrides() -> Overrides {
    Overrides {
        workers: Some(2),
        // A made-up shop has no trade to hide, and its log is there to be looked at.
        entries_public: Some(true),
        ..Overrides::default()
    }
}
