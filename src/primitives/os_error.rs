//! What the operating system said, and what to do about it.

use std::fmt;
use std::io::{Error, ErrorKind};

/// An error of the operating system with advice, where there is one remedy.
#[derive(Clone, Copy, Debug)]
pub struct WithRemedy<'a>(pub &'a Error);

impl fmt::Display for WithRemedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        f.write_str(match self.0.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "; the disk is full: free some space on it, then start again"
            }
            ErrorKind::ReadOnlyFilesystem => {
                "; the disk is mounted read-only: mount it writable (systems do this after disk errors, so look at \
                 the system's log first), then start again"
            }
            ErrorKind::PermissionDenied => {
                "; run it as the user who owns the node's directory, or give that user the right to write there"
            }
            _ => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_mended_says_how() {
        let said = |kind: ErrorKind| WithRemedy(&Error::from(kind)).to_string();
        assert!(said(ErrorKind::StorageFull).contains("free some space"));
        assert!(said(ErrorKind::ReadOnlyFilesystem).contains("mount it writable"));
        assert!(said(ErrorKind::PermissionDenied).contains("owns the node's directory"));
        let other = Error::from(ErrorKind::NotFound);
        assert_eq!(WithRemedy(&other).to_string(), other.to_string());
    }
}
