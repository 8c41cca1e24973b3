//! Why a log could not be followed.

use crate::log::{ForkEvidence, LogError};

use super::source::FetchError;

/// Why a log could not be followed. Only some of it says something about the log:
/// [`is_about_the_log`](Self::is_about_the_log).
#[derive(Clone, Debug, thiserror::Error)]
pub enum FollowError {
    /// A file could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What a signed checkpoint covers is not there.
    #[error("{from} has no {path}, which its checkpoint of {size} entries covers")]
    Missing {
        /// Where it was looked for.
        from: String,
        /// The file.
        path: String,
        /// Size of the checkpoint.
        size: u64,
    },
    /// What is served as checkpoint is none that the log's key has signed.
    #[error("what {from} shows as its checkpoint is refused: {error}{}", hint(error))]
    Checkpoint {
        /// Where it was read.
        from: String,
        /// What is wrong with it.
        error: LogError,
    },
    /// What is shown is not valid by the policy.
    #[error("what {from} shows as its checkpoint of {size} entries is not valid by the policy: {error}")]
    NoQuorum {
        /// Where it was read.
        from: String,
        /// Size of the checkpoint.
        size: u64,
        /// What the policy asks for.
        error: LogError,
    },
    /// Hashes that do not give the root that was signed.
    #[error("{path} of {from} does not give what its signed checkpoint of {size} entries commits to")]
    Tile {
        /// Where it was read.
        from: String,
        /// The file, or several.
        path: String,
        /// Size of the checkpoint.
        size: u64,
    },
    /// A bundle that cannot be cut into as many entries as it has to have.
    #[error("{path} of {from}, with the entries from {first} on, is no bundle: {error}")]
    Bundle {
        /// Where it was read.
        from: String,
        /// The file.
        path: String,
        /// Index of its first entry.
        first: u64,
        /// What is wrong with it.
        error: LogError,
    },
    /// An entry's bytes are not what was signed.
    #[error(
        "entry {index} was changed: the bytes that {from} shows do not hash to what its signed checkpoint of {size} \
         entries commits to"
    )]
    EntryChanged {
        /// Where it was read.
        from: String,
        /// Which entry.
        index: u64,
        /// Size of the checkpoint.
        size: u64,
    },
    /// Beside an entry another stub is shown than it names.
    #[error("the stub that {from} shows beside entry {index} is not one that the entry names by its tag")]
    Stub {
        /// Where it was read.
        from: String,
        /// Which entry.
        index: u64,
    },
    /// Tags that do not give what a batch's entry commits to.
    #[error(
        "the coupon tags that {from} shows for the batch of entry {index} do not give the root in that entry"
    )]
    Tags {
        /// Where they were read.
        from: String,
        /// Which entry.
        index: u64,
    },
    /// An entry was signed that breaks the rules of the log.
    #[error("entry {index} stands in the signed log but breaks its rules: {error}")]
    EntryRule {
        /// Which entry.
        index: u64,
        /// The rule.
        error: LogError,
    },
    /// Entry 0 names other keys than the log is followed under.
    #[error("entry 0 names {found} as the log's key, not {key}")]
    Genesis {
        /// The key that entry 0 names.
        found: String,
        /// The key that the log is followed under.
        key: String,
    },
    /// A shorter log than was verified before, and no contradiction to it.
    #[error("{from} shows {shown} entries, but {held} were verified before: the log went back")]
    WentBack {
        /// Where it was read.
        from: String,
        /// Entries verified before.
        held: u64,
        /// Entries that it shows now.
        shown: u64,
    },
    /// Two histories were signed.
    #[error("the log has signed two histories")]
    Forked(Box<ForkEvidence>),
    /// Whose log it is cannot be told.
    #[error("{0}")]
    Key(String),
    /// The copy in a directory cannot be read or written.
    #[error("{what}: {why}")]
    Copy {
        /// The file or directory.
        what: String,
        /// Why.
        why: String,
    },
    /// The tree cannot have what was asked of it.
    #[error("the tree: {0}")]
    Tree(String),
}

impl FollowError {
    /// Whether the log, or who serves it, did wrong; otherwise nothing is known.
    #[must_use]
    pub fn is_about_the_log(&self) -> bool {
        !matches!(
            self,
            Self::Fetch(_) | Self::Key(_) | Self::Copy { .. } | Self::Tree(_)
        )
    }

    /// Whether a file is not shown at all, or not to us: no fault where it lies
    /// beside the log.
    #[must_use]
    pub fn is_not_shown(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Fetch(FetchError::Forbidden { .. })
        )
    }

    /// What was found, as a word for machines.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::Forbidden { .. }) => "forbidden",
            Self::Fetch(FetchError::Unreachable { .. }) => "unreachable",
            Self::Fetch(_) => "wrong_answer",
            Self::Missing { .. } => "missing",
            Self::Checkpoint { .. } => "checkpoint_refused",
            Self::NoQuorum { .. } => "no_quorum",
            Self::Tile { .. } => "tile_contradicts",
            Self::Bundle { .. } => "bundle_malformed",
            Self::EntryChanged { .. } => "entry_changed",
            Self::Stub { .. } => "stub_differs",
            Self::Tags { .. } => "tags_differ",
            Self::EntryRule { .. } => "entry_breaks_rule",
            Self::Genesis { .. } => "genesis_names_other_key",
            Self::WentBack { .. } => "went_back",
            Self::Forked(_) => "fork",
            Self::Key(_) => "key_unknown",
            Self::Copy { .. } => "copy",
            Self::Tree(_) => "tree",
        }
    }

    /// The entry that is wrong, where one can be named.
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::EntryChanged { index, .. }
            | Self::Stub { index, .. }
            | Self::Tags { index, .. }
            | Self::EntryRule { index, .. } => Some(*index),
            Self::Genesis { .. } => Some(0),
            _ => None,
        }
    }
}

/// What the person who gave a key can look at.
fn hint(error: &LogError) -> &'static str {
    match error {
        LogError::NotSigned => {
            ": it is the checkpoint of another log, or the key that was given is not this log's"
        }
        _ => "",
    }
}
