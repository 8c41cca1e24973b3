//! A log's files in a directory of the same layout: a mirror, a monitor's
//! state, an export.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::source::{FetchError, LogSource};

/// The log in a directory.
#[derive(Clone, Debug)]
pub struct DirSource {
    dir: PathBuf,
    name: String,
}

impl DirSource {
    /// The log whose `checkpoint` lies in `dir`. Nothing is read yet.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let name = dir.display().to_string();
        Self { dir, name }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl LogSource for DirSource {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let file = self.dir.join(path);
        let what = || file.display().to_string();
        let opened = match File::open(&file) {
            Ok(opened) => opened,
            // A tile's path may pass through what is a file in a small log.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(FetchError::Forbidden {
                    what: what(),
                    why: error.to_string(),
                });
            }
            Err(error) => {
                return Err(FetchError::Unreachable {
                    what: what(),
                    why: error.to_string(),
                });
            }
        };
        let mut bytes = Vec::new();
        let read = opened.take(most as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| FetchError::Unreachable {
            what: what(),
            why: error.to_string(),
        })?;
        if bytes.len() > most {
            return Err(FetchError::TooLong { what: what(), most });
        }
        Ok(Some(bytes))
    }

    fn name(&self) -> &str {
        &self.name
    }
}
