//! The port to a log that is read from elsewhere: a node's URL, a mirror. Who
//! reads it has checked a signed checkpoint and finds every entry in its tree;
//! whether the entries follow the rules is for the audit to say.

use std::ops::Range;

use super::finding::Rule;
use crate::log::VerifierKey;
use crate::primitives::Digest;

/// What comes of a log, in the order of the entries.
pub enum Served<'a> {
    /// An entry, with the hash that it has in the tree.
    Entry {
        /// Its index.
        index: u64,
        /// Its bytes.
        bytes: &'a [u8],
        /// The stub that is said to lie beside it, where stubs can be had.
        stub: Option<&'a [u8]>,
    },
    /// Entries that are not what was signed, or cannot be had although they were.
    Wrong {
        /// First and last of them.
        entries: (u64, u64),
        /// The next entry that is visited: those in between could not be looked at.
        resumes_at: u64,
        /// The rule that is broken.
        rule: Rule,
        /// A sentence.
        message: String,
    },
}

/// A checkpoint that the log's key has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCheckpoint {
    /// Where that is known from, for people.
    pub source: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Digest,
    /// The signed note, cosignatures included.
    pub note: Vec<u8>,
    /// The tree of the checkpoint that is audited begins with this one's.
    pub is_of_tree: bool,
}

/// A log of which a signed checkpoint is known.
pub trait ServedLog {
    /// Where it is read, for people.
    fn name(&self) -> &str;

    /// The log's key, under which the checkpoint was verified.
    fn key(&self) -> &VerifierKey;

    /// Entries that the checkpoint covers.
    fn size(&self) -> u64;

    /// That checkpoint as it is shown, first, and others that are shown with it.
    fn checkpoints(&self) -> Vec<ShownCheckpoint>;

    /// Whether stubs and tags can be had, or only entries.
    fn has_stubs(&self) -> bool;

    /// The root of the first `size` entries, of at most [`size`](Self::size), in the
    /// tree of that checkpoint.
    ///
    /// # Errors
    /// A sentence where the tree cannot be read.
    fn root_at(&self, size: u64) -> Result<Digest, String>;

    /// Visits entries in order. Memory does not grow with them.
    ///
    /// # Errors
    /// A sentence where nothing is known of the rest: the log cannot be reached.
    fn visit(&self, range: Range<u64>, visit: &mut dyn FnMut(Served<'_>)) -> Result<(), String>;

    /// The tags at the first `width` of the 256 positions of tile `number`, 32
    /// bytes each; `None` where they cannot be had.
    fn tags(&self, number: u64, width: u16) -> Option<Vec<u8>>;
}
