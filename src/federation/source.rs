//! The port to a log's files (c2sp.org/tlog-tiles v0.1.0): bytes at a path
//! under the log's prefix. Who reads them believes nothing of them.

use std::fmt;

/// Why a file could not be read. Nothing here says anything about the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer, or an answer that broke off; worth a retry.
    #[error("{what} could not be read: {why}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// Why.
        why: String,
    },
    /// The server or the system does not let us.
    #[error("{what} may not be read: {why}")]
    Forbidden {
        /// What was asked for.
        what: String,
        /// The reason that was given.
        why: String,
    },
    /// The server answers what no log does.
    #[error("{what}: {why}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What was wrong with the answer.
        why: String,
    },
    /// Longer than it may be.
    #[error("{what} is longer than {most} bytes")]
    TooLong {
        /// What was asked for.
        what: String,
        /// Most bytes that were taken.
        most: usize,
    },
}

/// Where the files of a log lie.
pub trait LogSource: fmt::Debug + Send + Sync {
    /// The file at `path`, which has no leading slash; `None` where there is
    /// none. At most `most` bytes, also after unpacking.
    ///
    /// # Errors
    /// [`FetchError`], after the retries that make sense.
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError>;

    /// The URL or directory, for people.
    fn name(&self) -> &str;
}
