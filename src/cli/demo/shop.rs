//! A co-op of the demo: its node, which can go away and come back.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context as _;

use super::super::client::Client;
use crate::primitives::{Origin, Register};
use crate::server::{Initialised, NewDir, NodeDir, OpenedNode, Overrides, Serving};

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

fn overrides() -> Overrides {
    Overrides {
        workers: Some(2),
        // A made-up shop has no trade to hide, and its log is there to be looked at.
        entries_public: Some(true),
        ..Overrides::default()
    }
}
