//! The storage contract that the node is written against.

use std::ops::{Bound, ControlFlow};

use crate::primitives::WithRemedy;
use crate::primitives::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a scan calls with each key and value, until it breaks.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The process must stop: what is on disk is not known any more.
    #[error("the store failed and the node must stop: {0}")]
    Fatal(String),
    /// Another writer has moved the log's head; nothing was written.
    #[error("another process has written to this log")]
    HeadMoved,
    /// Another process has the store open.
    #[error("{path} is open in another process (lock file {lock}); stop that process first")]
    Locked {
        /// The store's directory.
        path: String,
        /// The lock file.
        lock: String,
    },
    /// A row is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store cannot be opened as it stands.
    #[error("{0}")]
    Refused(String),
    /// A store stands without its guard file: what was signed last is not known.
    #[error(
        "the guard file {path} is missing; put it back, or run `tallystick recover` to compare this log \
         with a checkpoint that others hold"
    )]
    GuardMissing {
        /// Where it should be.
        path: String,
    },
    /// An operating-system error outside the commit path.
    #[error("{context}: {}", WithRemedy(source))]
    Io {
        /// What was being done.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StoreError {
    /// For `map_err`: an operating-system error with what was being done.
    pub(crate) fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

/// Rows written together. Of several writes to one key the last one counts.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// A key that must not exist yet: the compare-and-swap of the log's head
    /// (the first packed row of the new entries), so that two writers can
    /// never both extend one log.
    pub require_absent: Option<Vec<u8>>,
    /// Keys with their new values, or `None` to remove them.
    pub writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Adds a row.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), Some(value.into())));
    }

    /// Removes a row.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), None));
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// An ordered map of byte strings with an atomic, durable batch.
///
/// # Contract
/// - [`commit`](Self::commit) is atomic: after a kill or a power cut at any
///   moment, all of its writes are there or none.
/// - When `commit` returns `Ok`, the writes outlive a power cut.
/// - When it returns [`StoreError::HeadMoved`], nothing was written.
/// - When it returns [`StoreError::Fatal`], the writes may or may not be
///   there; the caller stops and opens anew.
/// - Reads see whole commits only, and see a commit once it has returned.
/// - One process at a time has an engine open, unless the engine is a shared
///   database whose `require_absent` is checked in the same transaction.
pub trait Engine: Send + Sync + 'static {
    /// The value at `key`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The row with the greatest key that begins with `prefix` and is not
    /// greater than `key`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, StoreError>;

    /// Visits, in ascending order, the rows whose keys begin with `prefix` and
    /// are not less than `from`, until `visit` breaks.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError>;

    /// Writes `batch`, all or nothing, durably.
    ///
    /// # Errors
    /// [`StoreError::HeadMoved`] when `require_absent` exists;
    /// [`StoreError::Fatal`] when the disk fails.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
}

/// Refuses a batch with a key or a value that the engines do not take.
pub(super) fn check_sizes(batch: &Batch) -> Result<(), StoreError> {
    for (key, value) in &batch.writes {
        let length = value.as_ref().map_or(0, Vec::len);
        if key.is_empty() || key.len() > KEY_BYTES_MAX || length > VALUE_BYTES_MAX {
            return Err(StoreError::Refused(format!(
                "a row with a key of {} bytes and a value of {length} bytes: the most is {KEY_BYTES_MAX} and \
                 {VALUE_BYTES_MAX}",
                key.len()
            )));
        }
    }
    Ok(())
}

/// [`Engine::at_or_before`] for an engine that can find the last row below a bound.
pub(super) fn floor_row(
    prefix: &[u8],
    key: &[u8],
    last_below: impl FnOnce(Bound<&[u8]>) -> Option<Row>,
) -> Option<Row> {
    if key >= prefix && !key.starts_with(prefix) {
        // `key` lies past the prefix's rows: their last one is asked for.
        let end = after_prefix(prefix);
        return last_below(end.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
            .filter(|(found, _)| found.starts_with(prefix));
    }
    last_below(Bound::Included(key)).filter(|(found, _)| found.starts_with(prefix))
}

/// The least key that is greater than every key with `prefix`.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
