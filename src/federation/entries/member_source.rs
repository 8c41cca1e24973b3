//! A fellow member's log as a mirror reads it: what is public as a file, entries and
//! tags by message.

use super::asker::{AskError, Letters, Pieces};
use crate::federation::http_source::HttpSource;
use crate::federation::message::MessageName;
use crate::federation::source::{FetchError, LogSource};
use crate::log::TilePath;
use crate::log::tile_path::TileKind;

/// The log of the member whose log has the name `origin`.
#[derive(Debug)]
pub struct MemberSource {
    http: HttpSource,
    letters: Letters,
    origin: String,
}

impl MemberSource {
    /// Reads at `http`, which has no key, and writes `letters`.
    #[must_use]
    pub fn new(http: HttpSource, letters: Letters, origin: String) -> Self {
        Self {
            http,
            letters,
            origin,
        }
    }

    /// The did of the member, as the roster has it now; `None` where it has none.
    fn did(&self) -> Option<String> {
        let chain = self.letters.rosters.chain();
        let member = chain.directory()?.by_log_origin(&self.origin)?;
        member.is_active().then(|| member.did())
    }

    fn by_message(&self, did: &str, path: TilePath, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let mut pieces = Pieces::of(path, most);
        loop {
            let letter = self.letters.seal(did, &pieces.request());
            let letter = letter.map_err(|error| self.refused(path, &error))?;
            let to = super::PATH.trim_start_matches('/');
            let Some(bytes) = self.http.post(to, &letter.bytes, MessageName::Entries.most())? else {
                return Err(FetchError::Forbidden {
                    what: self.what(path),
                    why: "its node takes no requests for entries by message".to_owned(),
                });
            };
            let taken = self.letters.open(&letter, &bytes);
            let taken = taken.and_then(|answer| pieces.take(answer));
            if let Some(file) = taken.map_err(|error| self.refused(path, &error))? {
                return Ok(file);
            }
        }
    }

    fn what(&self, path: TilePath) -> String {
        format!("{}/{path}", self.http.name())
    }

    fn refused(&self, path: TilePath, error: &AskError) -> FetchError {
        let what = self.what(path);
        match error {
            AskError::TooLong { most, .. } => FetchError::TooLong { what, most: *most },
            error => FetchError::Answer {
                what,
                why: error.to_string(),
            },
        }
    }
}

impl LogSource for MemberSource {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let by_message = TilePath::parse(path)
            .ok()
            .filter(|path| matches!(path.kind(), TileKind::Entries | TileKind::Tags));
        match (by_message, self.did()) {
            (Some(path), Some(did)) => self.by_message(&did, path, most),
            // Of a log of no member's, or of one that left, its node says who may read.
            _ => self.http.get(path, most),
        }
    }

    fn name(&self) -> &str {
        self.http.name()
    }
}
