//! A log that is read from elsewhere, for an audit: every entry is found in the
//! tree of a signed checkpoint before the audit sees it. Stubs and tags come
//! 256 at a time; they are bound to entries by hashes, which the audit checks.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use super::beside::{fetch_stubs, fetch_tags};
use super::bundles::{Bundle, EntryForm};
use super::client::{LogClient, SignedCheckpoint};
use super::error::FollowError;
use super::tree::VerifiedTree;
use crate::log::VerifierKey;
use crate::merkle::TILE_LEN;
use crate::node::audit::{Rule, Served, ServedLog, ShownCheckpoint};
use crate::primitives::{Digest, limits};

const BUNDLE_LEN: u64 = TILE_LEN as u64;

/// Tags of a tile, by number and width.
type KeptTags = ((u64, u16), Vec<u8>);

/// A log at some place, up to its newest checkpoint.
#[derive(Debug)]
pub struct AuditedLog {
    tree: VerifiedTree,
    key: VerifierKey,
    has_stubs: bool,
    /// What a quorum has cosigned, where a policy asks for that; and whether it is of
    /// this tree.
    witnessed: Option<(SignedCheckpoint, bool)>,
    /// Tiles of tags, the one used last at the end: coupons are redeemed in any
    /// order.
    tags: Mutex<Vec<KeptTags>>,
    /// Why tags could not be read, which says nothing about the log.
    unread: Mutex<Option<FollowError>>,
}

impl AuditedLog {
    /// Reads the checkpoint that `client` shows and the edge of its tree.
    ///
    /// # Errors
    /// [`FollowError`]; also where entries may not be read.
    pub fn open(client: &LogClient) -> Result<Self, FollowError> {
        // Before the newest checkpoint: it is not longer, then, than that one.
        let witnessed = match client.policy() {
            Some(_) => client.told_witnessed()?,
            None => None,
        };
        let tree = client.update(None)?;
        let witnessed = match witnessed {
            Some(signed) => {
                let checkpoint = &signed.checkpoint;
                let is_of_tree =
                    checkpoint.size <= tree.size() && tree.root_at(checkpoint.size)? == checkpoint.root.0;
                Some((signed, is_of_tree))
            }
            None => None,
        };
        let mut log = Self {
            witnessed,
            key: client.key().clone(),
            has_stubs: false,
            tags: Mutex::default(),
            unread: Mutex::default(),
            tree,
        };
        if log.tree.size() > 0 {
            let bundle = log.tree.bundle(0, EntryForm::Tallystick);
            match bundle.and_then(|bundle| log.fetch_stubs(&bundle)) {
                Ok(stubs) => log.has_stubs = stubs.is_some(),
                // A finding of the audit, which reads it again.
                Err(error) if error.is_about_the_log() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(log)
    }

    /// The stubs beside a bundle's entries; `None` where there are none to be had.
    fn fetch_stubs(&self, bundle: &Bundle) -> Result<Option<Vec<Vec<u8>>>, FollowError> {
        let source = self.tree.source().as_ref();
        match fetch_stubs(source, bundle.number(), bundle.width(), self.tree.size()) {
            Ok(stubs) => Ok(Some(stubs)),
            Err(error) if error.is_not_shown() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn unread(&self) -> MutexGuard<'_, Option<FollowError>> {
        self.unread.lock().expect("no holder of this lock panics")
    }

    fn stubs(&self, bundle: &Bundle) -> Result<Vec<Vec<u8>>, FollowError> {
        if !self.has_stubs {
            return Ok(Vec::new());
        }
        // What is not shown is a finding at each receipt.
        Ok(self.fetch_stubs(bundle)?.unwrap_or_default())
    }
}

impl ServedLog for AuditedLog {
    fn name(&self) -> &str {
        self.tree.source().name()
    }

    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn size(&self) -> u64 {
        self.tree.size()
    }

    fn checkpoints(&self) -> Vec<ShownCheckpoint> {
        let shown = |signed: &SignedCheckpoint, what: &str, is_of_tree| ShownCheckpoint {
            source: format!("the {what} that {} shows", self.name()),
            size: signed.checkpoint.size,
            root: signed.checkpoint.root,
            note: signed.note.as_bytes().to_vec(),
            is_of_tree,
        };
        let newest = self.tree.signed();
        let witnessed = self.witnessed.iter();
        let others = witnessed.filter(|(other, _)| other.checkpoint != newest.checkpoint);
        std::iter::once(shown(newest, "checkpoint", true))
            .chain(others.map(|(other, is_of_tree)| shown(other, "witnessed checkpoint", *is_of_tree)))
            .collect()
    }

    fn has_stubs(&self) -> bool {
        self.has_stubs
    }

    fn root_at(&self, size: u64) -> Result<Digest, String> {
        self.tree
            .root_at(size)
            .map(Digest)
            .map_err(|error| error.to_string())
    }

    fn visit(&self, range: Range<u64>, visit: &mut dyn FnMut(Served<'_>)) -> Result<(), String> {
        let mut next = range.start;
        while next < range.end {
            let read = self.tree.read_entries(
                next..range.end,
                EntryForm::Tallystick,
                &|bundle| self.stubs(bundle),
                &mut |bundle, stubs| {
                    let mut stubs = stubs.iter();
                    for (index, bytes) in bundle.entries() {
                        let stub = stubs.next().map(Vec::as_slice);
                        if range.contains(&index) && index >= next {
                            visit(Served::Entry { index, bytes, stub });
                        }
                        if let Some(error) = self.unread().take() {
                            return Err(error);
                        }
                    }
                    next = bundle.first() + bundle.hashes().len() as u64;
                    Ok(())
                },
            );
            let error = match read {
                Ok(()) => return Ok(()),
                Err(error) if error.is_about_the_log() => error,
                Err(error) => return Err(error.to_string()),
            };
            let resumes_at = (next / BUNDLE_LEN + 1).saturating_mul(BUNDLE_LEN).min(range.end);
            let entries = error
                .entry()
                .map_or((next, resumes_at - 1), |entry| (entry, entry));
            let rule = match error {
                FollowError::EntryChanged { .. } => Rule::EntryChanged,
                FollowError::Tile { .. } => Rule::TileWrong,
                _ => Rule::EntriesUnreadable,
            };
            visit(Served::Wrong {
                entries,
                resumes_at,
                rule,
                message: format!(
                    "{error}; entries {next} to {} were not looked at any further",
                    resumes_at - 1
                ),
            });
            next = resumes_at;
        }
        Ok(())
    }

    fn tags(&self, number: u64, width: u16) -> Option<Vec<u8>> {
        let wanted = (number, width);
        let mut kept = self.tags.lock().expect("no holder of this lock panics");
        if let Some(at) = kept.iter().position(|(kept, _)| *kept == wanted) {
            let found = kept.remove(at);
            let tags = found.1.clone();
            kept.push(found);
            return Some(tags);
        }
        if width == 0 || usize::from(width) > TILE_LEN {
            return None;
        }
        let source = self.tree.source().as_ref();
        let tags = match fetch_tags(source, number, width, self.tree.size()) {
            Ok(tags) => tags,
            Err(error) => {
                // What is not shown, or not as it should be, is for the audit to say.
                if !error.is_about_the_log() && !error.is_not_shown() {
                    *self.unread() = Some(error);
                }
                return None;
            }
        };
        let tags: Vec<u8> = tags.iter().flat_map(|tag| tag.0).collect();
        if kept.len() == limits::TAG_TILES_KEPT_MAX {
            kept.remove(0);
        }
        kept.push((wanted, tags.clone()));
        Some(tags)
    }
}
