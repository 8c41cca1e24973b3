//! Checkpoints: the signed size and root of a log (c2sp.org/tlog-checkpoint
//! v1.0.0).
//!
//! ```text
//! body = origin LF size LF base64(root) LF *(extension LF)
//! ```

use std::fmt;

use data_encoding::BASE64;

use super::note::Signed;
use super::{LogError, Note, VerifierKey};
use crate::merkle::root_of;
use crate::primitives::Digest;

/// Size and root of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: the base URL's host and port, also the name of its key.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the Merkle tree over them.
    pub root: Digest,
    /// Further lines without their newlines; ours have none.
    pub extensions: Vec<String>,
}

/// A checkpoint whose signatures have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCheckpoint<'k> {
    /// What the log has signed.
    pub checkpoint: Checkpoint,
    /// The note it came in, all signature lines included.
    pub note: Note,
    /// The known witnesses that have cosigned it.
    pub cosigned: Vec<Signed<'k>>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub fn new(origin: impl Into<String>, size: u64, root: Digest) -> Self {
        Self {
            origin: origin.into(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// The checkpoint of a log without entries: the root is SHA-256 of nothing.
    #[must_use]
    pub fn empty(origin: impl Into<String>) -> Self {
        Self::new(origin, 0, Digest(root_of(&[])))
    }

    /// Reads a checkpoint's body (the note's text). Whether a tree of that
    /// size can have that root is not checked.
    ///
    /// # Errors
    /// [`LogError::Checkpoint`] with the reason.
    pub fn parse(body: &str) -> Result<Self, LogError> {
        let refuse = LogError::Checkpoint;
        let lines = body
            .strip_suffix('\n')
            .ok_or(refuse("it does not end in a newline"))?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(refuse("fewer than three lines"));
        };
        if origin.is_empty() {
            return Err(refuse("the origin is empty"));
        }
        let size = parse_decimal(size).ok_or(refuse("the size is no decimal without leading zeros"))?;
        let root = BASE64
            .decode(root.as_bytes())
            .ok()
            .and_then(|root| Digest::from_slice(&root))
            .ok_or(refuse("the root is not 32 bytes in base64"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(refuse("an extension line is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }

    /// Signs the checkpoint under the log's key: `sign` is given the bytes to
    /// sign. The caller has made the entries and the guard durable before.
    ///
    /// # Errors
    /// [`LogError::WrongKey`] when the key's name is not the origin or its kind
    /// not Ed25519, [`LogError::Checkpoint`] when origin or extensions do not
    /// each fit one line.
    pub fn sign(&self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<Note, LogError> {
        if key.name() != self.origin {
            return Err(LogError::WrongKey {
                name: key.name().to_owned(),
            });
        }
        let body = self.to_string();
        if Self::parse(&body)? != *self {
            return Err(LogError::Checkpoint("origin or extension with a newline"));
        }
        let mut note = Note::new(body)?;
        note.sign(key, sign)?;
        Ok(note)
    }

    /// Opens a signed checkpoint of the log whose key is `log_key`.
    ///
    /// # Errors
    /// [`LogError`]: not a note, not signed by that key, or not a checkpoint
    /// of the origin that the key names.
    pub fn open(note: &[u8], log_key: &VerifierKey) -> Result<Self, LogError> {
        Self::open_cosigned(note, log_key, &[]).map(|open| open.checkpoint)
    }

    /// Opens a signed checkpoint of the log whose key is `log_key` and tells
    /// which of the known witnesses have cosigned it.
    ///
    /// # Errors
    /// As [`open`](Self::open); and a known witness's wrong cosignature refuses
    /// the whole note.
    pub fn open_cosigned<'k>(
        note: &[u8],
        log_key: &VerifierKey,
        witnesses: &'k [VerifierKey],
    ) -> Result<OpenCheckpoint<'k>, LogError> {
        let note = Note::parse(note)?;
        note.verify(std::slice::from_ref(log_key))?;
        let cosigned = match note.verify(witnesses) {
            Err(LogError::NotSigned) => Vec::new(),
            checked => checked?,
        };
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin != log_key.name() {
            return Err(LogError::Checkpoint(
                "the origin is not the name of the log's key",
            ));
        }
        Ok(OpenCheckpoint {
            checkpoint,
            note,
            cosigned,
        })
    }
}

impl fmt::Display for Checkpoint {
    /// The body: what is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.origin)?;
        writeln!(f, "{}", self.size)?;
        writeln!(f, "{}", BASE64.encode(&self.root.0))?;
        for extension in &self.extensions {
            writeln!(f, "{extension}")?;
        }
        Ok(())
    }
}

/// A decimal without sign or leading zeros.
pub(super) fn parse_decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}
