//! A node that lost its guard file, or entries, or its whole store: what others
//! have kept of its log puts it right again, or it does not start.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use super::directory::{is_there, make_store_dir, node_options, verifier_key};
use super::{NodeDir, Overrides, Passphrase, ServerError};
use crate::federation::beside::fetch_stubs;
use crate::federation::{EntryForm, FollowError, LogClient, LogSource, VerifiedTree};
use crate::log::KeyKind;
use crate::merkle::TILE_LEN;
use crate::node::{Restore, guard_from_checkpoint};
use crate::primitives::{Tag, limits};
use crate::store::{Guard, GuardState, SledEngine};

/// What a recovery from a copy has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The guard file.
    pub guard: PathBuf,
    /// Whether it was lost, and made again.
    pub guard_made: bool,
    /// Entries in the store now.
    pub size: u64,
    /// Those of them that were fetched.
    pub fetched: u64,
    /// Receipts' stubs, where a copy was asked for them.
    pub stubs: Option<StubsBack>,
}

/// The stubs of receipts beside which nothing lay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StubsBack {
    /// Those that were fetched.
    pub fetched: u64,
    /// Receipts that are still without.
    pub lacking: u64,
    /// Why the copy was not asked for all of them.
    pub stopped: Option<String>,
}

impl NodeDir {
    /// Makes a lost guard file again, after comparing the log with `note`, a
    /// checkpoint that the node has signed.
    ///
    /// # Errors
    /// [`ServerError`] when the guard is there, or the log does not agree.
    pub fn recover(
        &self,
        overrides: &Overrides,
        passphrase: Option<&Passphrase>,
        note: &[u8],
    ) -> Result<Recovered, ServerError> {
        let config = self.config(overrides)?;
        let keyring = self.keyring(passphrase)?;
        let (engine, _) = SledEngine::open(&self.store())?;
        let state = guard_from_checkpoint(&engine, &keyring, &node_options(&config), note)?;
        let guard = self.guard_file(&config);
        Guard::create(&guard, &state)?;
        Ok(Recovered {
            guard,
            guard_made: true,
            size: state.size,
            fetched: 0,
            stubs: None,
        })
    }

    /// Fetches the entries that the store lacks, or all of them where it is lost,
    /// from `source`, a copy of this node's log, after checking them against a
    /// checkpoint that the node has signed, and against the guard where it is there.
    /// A lost guard file is made again. Then the stubs of receipts beside which
    /// nothing lies are fetched, as far as the copy has them: the log is whole without
    /// them. `progress` is told how many entries there are.
    ///
    /// # Errors
    /// [`ServerError`] when the copy does not reach what was signed, or the log does
    /// not agree with it, or it cannot be read.
    pub fn recover_from(
        &self,
        overrides: &Overrides,
        passphrase: Option<&Passphrase>,
        source: Arc<dyn LogSource>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Recovered, ServerError> {
        let config = self.config(overrides)?;
        let keyring = self.keyring(passphrase)?;
        let options = node_options(&config);
        let key = verifier_key(&config.base_url, KeyKind::Ed25519, keyring.log.public());
        let path = self.guard_file(&config);
        let guard = if is_there(&path)? {
            Some(Guard::read(&path)?)
        } else {
            None
        };
        let tree = LogClient::new(source, key).update(None)?;
        if let Some(guard) = &guard {
            check_copy(&tree, guard)?;
        }
        let store = self.store();
        let engine = if is_there(&store)? {
            SledEngine::open(&store)?.0
        } else {
            make_store_dir(&store)?;
            SledEngine::create(&store)?
        };
        let mut restore = Restore::begin(&engine, &keyring, &options)?;
        let held = restore.size();
        let common = held.min(tree.size());
        if restore.root_at(common)? != tree.root_at(common)? {
            return Err(ServerError::Refused(format!(
                "the store's first {common} entries are not those of {}: this is another history. Run `tallystick audit` \
                 on the store, and keep both",
                tree.source().name()
            )));
        }
        fetch_missing(&tree, &mut restore, progress)?;
        let size = restore.size();
        if guard.is_none() {
            Guard::create(
                &path,
                &GuardState::new(tree.size(), tree.signed().checkpoint.root.0),
            )?;
        }
        let stubs = fetch_stubs_back(&tree, &mut restore)?;
        Ok(Recovered {
            guard: path,
            guard_made: guard.is_none(),
            size,
            fetched: size - held,
            stubs: Some(stubs),
        })
    }
}

/// A copy has to reach what was signed, and to be of the same history.
fn check_copy(tree: &VerifiedTree, guard: &GuardState) -> Result<(), ServerError> {
    let name = tree.source().name();
    if tree.size() < guard.size {
        return Err(ServerError::Refused(format!(
            "{name} holds {} entries, but {} were signed (so says the guard file). Name a copy that holds them all; if \
             there is none, this log cannot go on: make a new node with `tallystick init`",
            tree.size(),
            guard.size
        )));
    }
    if tree.root_at(guard.size)? != guard.root {
        return Err(ServerError::Refused(format!(
            "{name} holds another history than the guard file: its first {} entries have another root than was signed",
            guard.size
        )));
    }
    Ok(())
}

/// Appends what the tree has more than the store, bundle by bundle.
fn fetch_missing(
    tree: &VerifiedTree,
    restore: &mut Restore<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ServerError> {
    let missing = restore.size()..tree.size();
    if missing.is_empty() {
        return Ok(());
    }
    tree.read_entries(
        missing.clone(),
        EntryForm::Tallystick,
        &|_| Ok::<_, ServerError>(()),
        &mut |bundle, ()| {
            let wanted = bundle.entries().filter(|(index, _)| missing.contains(index));
            let entries: Vec<&[u8]> = wanted.map(|(_, bytes)| bytes).collect();
            restore.append(&entries)?;
            progress(restore.size());
            Ok(())
        },
    )
}

/// Fetches the stubs of receipts beside which nothing lies, several bundles at a
/// time.
fn fetch_stubs_back(tree: &VerifiedTree, restore: &mut Restore<'_>) -> Result<StubsBack, ServerError> {
    let mut back = StubsBack::default();
    let mut waiting = Vec::new();
    let bundles = restore.size().div_ceil(TILE_LEN as u64);
    for number in 0..bundles {
        let lacking = restore.without_stub(number)?;
        back.lacking += lacking.len() as u64;
        if !lacking.is_empty() && back.stopped.is_none() {
            waiting.push((number, lacking));
        }
        let is_enough = waiting.len() == limits::BUNDLES_IN_FLIGHT_MAX || number + 1 == bundles;
        if is_enough && let Err(error) = put_bundles(tree, restore, &std::mem::take(&mut waiting), &mut back)?
        {
            back.stopped = Some(error.to_string());
        }
    }
    back.lacking -= back.fetched;
    Ok(back)
}

/// The receipts of a bundle that have no stub.
type Lacking = (u64, Vec<(u64, Tag)>);

/// The inner error says why the copy gave no more.
fn put_bundles(
    tree: &VerifiedTree,
    restore: &mut Restore<'_>,
    bundles: &[Lacking],
    back: &mut StubsBack,
) -> Result<Result<(), FollowError>, ServerError> {
    let source = tree.source().as_ref();
    let fetched: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = bundles
            .iter()
            .map(|(number, _)| {
                let width = tree.size().saturating_sub(number * TILE_LEN as u64);
                let width = u16::try_from(width.min(TILE_LEN as u64)).expect("at most 256");
                scope.spawn(move || match width {
                    0 => Ok(Vec::new()),
                    width => fetch_stubs(source, *number, width, tree.size()),
                })
            })
            .collect();
        let joined = threads.into_iter().map(ScopedJoinHandle::join);
        joined
            .map(|one| one.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    for ((number, lacking), stubs) in bundles.iter().zip(fetched) {
        let stubs = match stubs {
            Ok(stubs) => stubs,
            Err(error) => return Ok(Err(error)),
        };
        let first = number * TILE_LEN as u64;
        let found: Vec<_> = lacking
            .iter()
            .filter_map(|(index, tag)| {
                let stub = stubs.get(usize::try_from(index - first).ok()?)?;
                Some(((*index, *tag), stub.as_slice()))
            })
            .collect();
        back.fetched += restore.put_stubs(&found)?;
    }
    Ok(Ok(()))
}
