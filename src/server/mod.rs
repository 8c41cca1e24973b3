//! Floor 8: the program around a node: its directory, its settings, its log
//! lines, and how it starts and stops.
//!
//! | module | what it is |
//! |---|---|
//! | [`compact`] | a new store in the place of one that has grown |
//! | [`config`] | `config.toml`: every setting, where it may come from, what is wrong with it |
//! | [`directory`] | a node's directory: making it and opening it |
//! | [`federation`] | which federation the node belongs to |
//! | [`files`] | how many connections there is room for |
//! | [`mirrors`] | copies of other logs: the setting, and what it says to keep |
//! | [`run`] | serving a node until it is told to stop |
//! | [`telemetry`] | log lines on standard error |

pub mod compact;
pub mod config;
pub mod directory;
pub mod federation;
pub mod files;
pub mod line;
pub mod mirrors;
mod recover;
pub mod run;
pub mod telemetry;

pub use compact::{Compacted, Step};
pub use config::{CONFIG_FILE, Config, Overrides};
pub use directory::{Initialised, NewDir, NodeDir, OpenedNode, Passphrase, System};
pub use recover::{Recovered, StubsBack};
pub use run::{Serving, serve};

use std::path::PathBuf;

/// Why a node's directory could not be made, opened or served. Each is a
/// sentence for the operator that says what to do; none is cured by trying
/// again unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// There is something in the way, or something is missing.
    #[error("{0}")]
    Refused(String),
    /// The keys cannot be had.
    #[error(transparent)]
    Keyring(#[from] crate::node::keyring::KeyringError),
    /// The store or the guard cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The node cannot start.
    #[error(transparent)]
    Node(#[from] crate::node::NodeError),
    /// A copy of the log cannot be had or is not one.
    #[error(transparent)]
    Copy(#[from] crate::federation::FollowError),
    /// The file of access keys cannot be read or written.
    #[error(transparent)]
    Access(#[from] crate::node::access::AccessError),
    /// The operating system refused.
    #[error("{what} {path}: {}", crate::primitives::WithRemedy(source))]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it, or choose another with --listen")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The log's witnesses cannot be sent anything.
    #[error("the witness_policy cannot be used: {0}")]
    Witnesses(#[from] crate::federation::SubmitError),
    /// A witness holds more of the log than the store does.
    #[error(transparent)]
    Behind(#[from] crate::federation::Behind),
    /// A mirror holds more of the log than the store does, or another history.
    #[error(transparent)]
    Mirrored(#[from] crate::federation::MirroredError),
    /// Gossip has shown that the log is not what the node has signed.
    #[error("the node signs nothing any more, so the process ends: {0}")]
    Convicted(crate::federation::Lost),
    /// The HTTP server or its runtime failed.
    #[error("the HTTP server failed: {0}")]
    Http(std::io::Error),
    /// The writer stopped; nothing is answered any more.
    #[error("the node has stopped writing, so the process ends: {0}. Look at the disk, then start it again")]
    WriterStopped(String),
}

impl ServerError {
    /// For `map_err`: an operating-system error with what was being done.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
