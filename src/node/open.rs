//! Making a log, and opening one: what is checked before a node serves.
//!
//! Opening reads what follows the last index checkpoint, compares size and
//! root with the guard, repairs what is derived, says what it did, and refuses
//! to start when the store is behind what was signed (protocol, section 6).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use ed25519_dalek::VerifyingKey;
use prometheus::Registry;

use crate::credential::{Algorithm, Campaign, SecretKey, Signed};
use crate::ledger::{BatchIssued, CampaignSigned, CampaignState, Event, Genesis, Recorded, State};
use crate::log::{self, KeyKind, VerifierKey};
use crate::merkle::{NodeReader, TileBuilder, TreeView, half_tile_from_bytes};
use crate::primitives::{Clock, Digest, Entropy, Origin, Position, UnixSeconds, limits};
use crate::store::{Batch, Engine, GuardFile, GuardState, StoreError, rows, scan_entries};

use super::answers::{CampaignView, EntryRef};
use super::batches::left_reservations;
use super::commands::Job;
use super::cosigned::CosignedHeads;
use super::coupons::Permutations;
use super::damage;
use super::erasure::Erasing;
use super::find::recorded;
use super::halves::KeptRefusals;
use super::index::Index;
use super::intents;
use super::keyring::Keyring;
use super::lists::Lists;
use super::pending::BatchRow;
use super::requests::RequestHasher;
use super::rosters;
use super::signers::Signers;
use super::snapshot::{self, Snapshot};
use super::upkeep::Upkeep;
use super::witnessing::StoredLogs;
use super::writer::{Head, Shared, Writer};
use super::{Inner, Node, NodeError, NodeMetrics};

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The base URL: fixes links, uris, did:web and the log's origin.
    pub origin: Origin,
    /// The algorithm that new credentials name.
    pub algorithm: Algorithm,
    /// How long a status list is good, in seconds.
    pub status_list_seconds: u64,
    /// It signs no list by itself before [`Node::compared`]: what others hold of its log
    /// is to be compared with it first.
    pub compares_first: bool,
}

/// What a new log begins with.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// The co-op's name for people.
    pub name: String,
    /// The base URL.
    pub origin: Origin,
}

/// Everything that a node works with, passed in.
pub struct NodeParts {
    /// Where rows are kept.
    pub engine: Arc<dyn Engine>,
    /// What was signed last; the state is what the guard held when it was opened.
    pub guard: (Box<dyn GuardFile>, GuardState),
    /// The node's keys.
    pub keyring: Arc<Keyring>,
    /// How it is set up.
    pub options: NodeOptions,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where metrics are registered.
    pub registry: Registry,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Entries in the log.
    pub size: u64,
    /// Entries read because they follow the last index checkpoint.
    pub replayed: u64,
    /// What was repaired or finished, a sentence each.
    pub notes: Vec<String>,
}

/// Half tiles in the store.
pub(super) struct StoredTiles<'a>(pub &'a dyn Engine);

impl NodeReader for StoredTiles<'_> {
    type Error = StoreError;

    fn half_tile(
        &self,
        level: u8,
        tile: u64,
        half: u8,
    ) -> Result<Option<Vec<crate::merkle::Hash>>, StoreError> {
        let row = self.0.get(&rows::hash_tile(level, tile, half))?;
        row.map(|bytes| {
            half_tile_from_bytes(&bytes)
                .ok_or_else(|| StoreError::Damaged(format!("half tile {level}/{tile}/{half}")))
        })
        .transpose()
    }
}

/// Writes entry 0 into an empty engine, durably, and gives the guard state to
/// make the guard file with.
///
/// # Errors
/// [`NodeError`] when the engine fails or holds a log already.
pub fn create_log(
    engine: &dyn Engine,
    new: &NewNode,
    keyring: &Keyring,
    now: UnixSeconds,
) -> Result<GuardState, NodeError> {
    let genesis = Event::Genesis(Genesis {
        name: new.name.clone(),
        base_url: new.origin.to_string(),
        credential_key: *keyring.credential.public().as_bytes(),
        log_key: *keyring.log.public().as_bytes(),
        witness_key: *keyring.witness.public().as_bytes(),
    });
    let mut bytes = Vec::new();
    let body = genesis.encode_body(None, [0; 16]);
    log::entry::write_entry(&mut bytes, 0, now, &Digest::ZERO, genesis.kind(), &body)
        .map_err(|error| NodeError::Inconsistent(error.to_string()))?;
    let mut batch = Batch::default();
    rows::append_entries(&mut batch, 0, [bytes.as_slice()])?;
    batch.put(rows::derived(SECRETS), secrets_check(keyring));
    engine.commit(batch)?;
    Ok(GuardState::new(1, log::entry_hash(&bytes).0))
}

impl Node {
    /// Opens the log in `parts` and starts its writer.
    ///
    /// # Errors
    /// [`NodeError::Refuse`] when the store is behind the guard, or does not
    /// fit it or the keys; the sentence says what to do.
    pub fn open(parts: NodeParts) -> Result<(Self, OpenReport), NodeError> {
        Self::open_with(parts, Upkeep::default())
    }

    /// [`open`](Self::open) with other intervals of upkeep.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(parts: NodeParts, upkeep: Upkeep) -> Result<(Self, OpenReport), NodeError> {
        let (writer, mut report) = Writer::open(parts, upkeep)?;
        let left: Vec<_> = writer
            .reservations
            .values()
            .map(|left| left.batch.clone())
            .collect();
        let (node, queue) = Self::over(&writer, false);
        let thread = std::thread::Builder::new()
            .name("tallystick-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| {
                NodeError::Refuse(format!("the writer's thread could not be started: {error}"))
            })?;
        *node.inner.thread.lock().expect("no holder of this lock panics") = Some(thread);
        node.finish_left(left, &mut report)?;
        Ok((node, report))
    }

    /// A handle to the node of `writer`, and the queue that leads there.
    pub(super) fn over(writer: &Writer, is_by_hand: bool) -> (Self, std::sync::mpsc::Receiver<Job>) {
        let (jobs, queue) = std::sync::mpsc::sync_channel(limits::WRITER_QUEUE_MAX);
        let inner = Inner {
            shared: Arc::clone(&writer.shared),
            jobs,
            is_by_hand,
            thread: Mutex::default(),
            left: Mutex::default(),
        };
        let node = Self {
            inner: Arc::new(inner),
        };
        (node, queue)
    }

    /// Has batches that a crash cut off finished, in a thread of its own: small
    /// ones before the node is open, large ones while it serves. Until then the
    /// requests that ordered them are told to wait.
    fn finish_left(&self, mut left: Vec<BatchIssued>, report: &mut OpenReport) -> Result<(), NodeError> {
        if left.is_empty() {
            return Ok(());
        }
        left.sort_by_key(|batch| batch.count);
        let small = left.partition_point(|batch| batch.count <= limits::ANSWER_COUPONS_MAX);
        for large in &left[small..] {
            report.notes.push(format!(
                "a batch of {} coupons that was cut off is being finished in the background",
                large.count
            ));
        }
        let (said, heard) = std::sync::mpsc::sync_channel(left.len());
        let node = self.clone();
        let thread = std::thread::Builder::new()
            .name("tallystick-left-batches".to_owned())
            .spawn(move || {
                for batch in left {
                    let count = batch.count;
                    let finished = node.finish_reserved(batch);
                    if let Err(error) = &finished {
                        tracing::error!(%error, "a batch of {count} coupons that was cut off is not finished");
                    } else {
                        tracing::info!("a batch of {count} coupons that was cut off has been finished");
                    }
                    // Nobody listens any more for the large ones.
                    let _ = said.send(finished.map(|_| count));
                }
            })
            .map_err(|error| NodeError::Refuse(format!("a thread could not be started: {error}")))?;
        *self.inner.left.lock().expect("no holder of this lock panics") = Some(thread);
        for finished in heard.iter().take(small) {
            let count = finished?;
            report.notes.push(format!(
                "a batch of {count} coupons that was cut off has been finished"
            ));
        }
        report.size = self.size();
        Ok(())
    }
}

impl Writer {
    /// Checks, replays and repairs, up to where the writer can begin to work.
    pub(super) fn open(parts: NodeParts, upkeep: Upkeep) -> Result<(Self, OpenReport), NodeError> {
        let mut report = OpenReport::default();
        let (guard, signed) = parts.guard;
        let engine = parts.engine;
        let (size, last) = log_end(engine.as_ref())?;
        report.size = size;
        report.notes.extend(clock_behind(parts.clock.now(), last.time));
        if size < signed.size {
            return Err(behind(size, signed.size));
        }
        check_genesis(engine.as_ref(), &parts.keyring, &parts.options)?;
        check_secrets(engine.as_ref(), &parts.keyring)?;
        let tree = open_tree(engine.as_ref(), size, &signed, &mut report)?;
        damage::wipe_if_marked(engine.as_ref(), &mut report)?;
        let (index, index_covers) = open_index(engine.as_ref(), size, &mut report)?;
        let mut state = State {
            did: parts.options.origin.did_web(),
            ..State::default()
        };
        let (snapshot, state_covers) = load_state(engine.as_ref(), size, &mut state, &mut report)?;
        let origin = &parts.options.origin;
        let log_key = named_key(origin, KeyKind::Ed25519, &parts.keyring.log)?;
        let witness_key = named_key(origin, KeyKind::Cosignature, &parts.keyring.witness)?;
        let stored = StoredLogs::read(engine.as_ref(), &witness_key)?;
        report.notes.extend(stored.unreadable.iter().cloned());
        report.notes.extend(stored.behind(&signed.witnessed));
        let witnessed = stored.with(&signed.witnessed);
        let rosters = rosters::highest(engine.as_ref())?;
        let cosigned = CosignedHeads::load(engine.as_ref(), &log_key, &tree, &mut report)?;
        let shared = Arc::new(Shared {
            index: index.reader(),
            index_damage: Mutex::default(),
            hasher: RequestHasher::new(&parts.keyring.request_secret),
            permutations: Permutations::new(*parts.keyring.index_secret),
            batches: super::coupons::KnownBatches::default(),
            signers: Signers::new(),
            log_key,
            witness_key,
            credential_keys: RwLock::default(),
            witnessed: RwLock::default(),
            cosigned: RwLock::new(cosigned),
            head: RwLock::new(Head {
                size: 0,
                time: last.time,
                note: Arc::from(""),
                tree: Arc::default(),
            }),
            campaigns: RwLock::default(),
            lists: RwLock::default(),
            lists_signed: tokio::sync::watch::Sender::default(),
            next_numbers: Arc::default(),
            erasing: Erasing::default(),
            intents: RwLock::default(),
            stopped: RwLock::default(),
            is_compared: AtomicBool::new(!parts.options.compares_first),
            metrics: NodeMetrics::new(&parts.registry),
            roster_floor: rosters.max(signed.roster_version),
            engine,
            keyring: parts.keyring,
            options: parts.options,
            clock: parts.clock,
            entropy: parts.entropy,
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            guard,
            state,
            index,
            tree,
            last_hash: last.hash,
            last_time: last.time,
            time: shared.clock.now().max(last.time),
            // The store is ahead of the guard after a crash between the two.
            signed: GuardState {
                roster_version: rosters.max(signed.roster_version),
                ..signed.clone()
            },
            unsigned: 0,
            rosters,
            witnessed,
            upkeep,
            applied: 0,
            reservations: BTreeMap::new(),
            unnamed: None,
            intents: intents::load(shared.engine.as_ref())?,
            verified: BTreeMap::new(),
            refusals: KeptRefusals::load(shared.engine.as_ref())?,
            lists: Lists::default(),
            snapshot,
            body: Vec::new(),
        };
        match writer.replay(index_covers, state_covers, &mut report) {
            Err(NodeError::IndexDamaged(row)) => writer.replay_all(&row, &mut report)?,
            Ok(()) if state_covers < index_covers => writer.write_state()?,
            replayed => replayed?,
        }
        match writer.find_credential_keys() {
            Err(NodeError::IndexDamaged(row)) => {
                writer.replay_all(&row, &mut report)?;
                writer.find_credential_keys()?;
            }
            found => found?,
        }
        writer.resume(&signed, &mut report)?;
        Ok((writer, report))
    }
}

/// A clock that was set back does no damage: times never decrease. But sales
/// are dated wrong, and tills whose clocks are right are refused.
fn clock_behind(now: UnixSeconds, last: UnixSeconds) -> Option<String> {
    let behind = last.0.saturating_sub(now.0);
    (behind > limits::CLOCK_SKEW_SECONDS_MAX).then(|| {
        format!(
            "this machine's clock is {behind} s behind the last entry of the log: set it right. Until it has caught \
             up, entries get the time of that last entry, and tills whose clocks are right are refused as being \
             ahead"
        )
    })
}

pub(super) fn named_key(origin: &Origin, kind: KeyKind, key: &SecretKey) -> Result<VerifierKey, NodeError> {
    VerifierKey::new(origin.authority(), kind, verifying_key(key.public().as_bytes())?)
        .map_err(|error| NodeError::Refuse(error.to_string()))
}

fn verifying_key(bytes: &[u8; 32]) -> Result<VerifyingKey, NodeError> {
    VerifyingKey::from_bytes(bytes)
        .map_err(|error| NodeError::Refuse(format!("a key of the keyring: {error}")))
}

pub(super) fn behind(size: u64, signed: u64) -> NodeError {
    NodeError::Refuse(format!(
        "the store holds {size} entries, but {signed} were signed (so says the guard file). \
         Starting would give out a second history. If the store was restored from a backup, \
         `tallystick recover` fetches what is missing from a mirror of this log (--from URL|DIR), or put the newer \
         store back; do not delete the guard file"
    ))
}

/// Size of the log and its last entry.
pub(super) fn log_end(engine: &dyn Engine) -> Result<(u64, Recorded), NodeError> {
    let last = rows::last_entry(engine)?;
    let Some((at, bytes)) = last else {
        return Err(NodeError::Refuse(
            "the store holds no log: initialise the directory again, or restore it".to_owned(),
        ));
    };
    Ok((at + 1, recorded(at, &bytes)?))
}

fn check_genesis(engine: &dyn Engine, keyring: &Keyring, options: &NodeOptions) -> Result<(), NodeError> {
    let first = super::find::committed_entry(engine, 0)?;
    let Event::Genesis(genesis) = &first.event else {
        return Err(super::find::misplaced(0, "the genesis"));
    };
    if genesis.log_key != *keyring.log.public().as_bytes() {
        return Err(NodeError::Refuse(
            "the log key in keys/ is not the one in the log's first entry: these keys belong to another node"
                .to_owned(),
        ));
    }
    if genesis.witness_key != *keyring.witness.public().as_bytes() {
        return Err(NodeError::Refuse(
            "the witness key in keys/ is not the one in the log's first entry: these keys belong to another node"
                .to_owned(),
        ));
    }
    if genesis.base_url != options.origin.to_string() {
        return Err(NodeError::Refuse(format!(
            "base_url is {} in the config, but this log was begun as {}: links, status uris and the log's \
             name depend on it, so set it back",
            options.origin, genesis.base_url
        )));
    }
    Ok(())
}

/// The name of the row that tells whether the two secrets are those that the
/// store was written with.
const SECRETS: &[u8] = b"secrets";

/// A hash of both secrets: 64 random bytes that nobody finds by trial.
fn secrets_check(keyring: &Keyring) -> [u8; 32] {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    hasher.update(b"tallystick/secrets-check/v1");
    hasher.update(keyring.index_secret.as_slice());
    hasher.update(keyring.request_secret.as_slice());
    hasher.finalize().into()
}

/// With another index secret no coupon would be found, and with another
/// request secret every repeat would be done twice.
fn check_secrets(engine: &dyn Engine, keyring: &Keyring) -> Result<(), NodeError> {
    let check = secrets_check(keyring);
    match engine.get(&rows::derived(SECRETS))? {
        Some(stored) if stored == check => Ok(()),
        Some(_) => Err(NodeError::Refuse(
            "index-secret.pem or request-secret.pem in keys/ is not the one that this store was written with: \
             put the right one back"
                .to_owned(),
        )),
        // A store put together from the log alone has no such row yet.
        None => {
            let mut batch = Batch::default();
            batch.put(rows::derived(SECRETS), check);
            Ok(engine.commit(batch)?)
        }
    }
}

/// The tree over the log, checked against the guard. Half tiles are derived:
/// where they do not give the signed root they are made anew from the entries.
fn open_tree(
    engine: &dyn Engine,
    size: u64,
    signed: &GuardState,
    report: &mut OpenReport,
) -> Result<TileBuilder, NodeError> {
    let stored = stored_tree(engine, size, signed.size);
    if let Ok((tree, root)) = &stored
        && *root == signed.root
    {
        return Ok(tree.clone());
    }
    let tree = rebuild_tiles(engine)?;
    let (_, root) = stored_tree(engine, size, signed.size)?;
    if tree.size() != size || root != signed.root {
        return Err(NodeError::Refuse(format!(
            "the entries in the store do not give the root that was signed at size {}: the store is damaged or \
             was replaced. Run `tallystick audit` on it, and restore the store that belongs to this guard file",
            signed.size
        )));
    }
    report
        .notes
        .push("the tree's tiles did not fit the signed root and were made anew from the entries".to_owned());
    Ok(tree)
}

/// The stored tree at `size`, and its root at the size that was signed.
fn stored_tree(
    engine: &dyn Engine,
    size: u64,
    signed: u64,
) -> Result<(TileBuilder, crate::merkle::Hash), NodeError> {
    let tiles = StoredTiles(engine);
    let broken = |error: crate::merkle::TreeError<StoreError>| NodeError::Inconsistent(error.to_string());
    let mut tree = TileBuilder::resume(size, &tiles).map_err(broken)?;
    let from = tree.size();
    scan_entries(engine, from, &mut |index, bytes| {
        if index >= from && index < size {
            tree.append(crate::merkle::leaf_hash(bytes), &mut |_| {});
        }
        ControlFlow::Continue(())
    })?;
    if tree.size() != size {
        return Err(NodeError::Inconsistent(format!(
            "the tree has {} leaves, the log {size}",
            tree.size()
        )));
    }
    let root = TreeView::new(&tree, &tiles).root_at(signed).map_err(broken)?;
    Ok((tree, root))
}

fn rebuild_tiles(engine: &dyn Engine) -> Result<TileBuilder, NodeError> {
    let mut tree = TileBuilder::new();
    let mut batch = Batch::default();
    let mut outcome = Ok(());
    scan_entries(engine, 0, &mut |_, bytes| {
        tree.append(crate::merkle::leaf_hash(bytes), &mut |half| {
            batch.put(rows::hash_tile(half.level, half.tile, half.half), half.as_bytes());
        });
        ControlFlow::Continue(())
    })?;
    // Written after the scan, some 1 MB at a time: the engine is not written to while it is read.
    for rows in batch.writes.chunks(256) {
        outcome = outcome.and_then(|()| {
            engine.commit(Batch {
                require_absent: None,
                writes: rows.to_vec(),
            })
        });
    }
    outcome?;
    Ok(tree)
}

fn open_index(engine: &dyn Engine, size: u64, report: &mut OpenReport) -> Result<(Index, u64), NodeError> {
    match Index::open(engine) {
        Ok((index, covers)) if covers <= size => Ok((index, covers)),
        Ok(_) | Err(StoreError::Damaged(_)) => {
            Index::wipe(engine)?;
            report
                .notes
                .push("the index did not fit the log and was made anew from the entries".to_owned());
            Ok(Index::open(engine)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn load_state(
    engine: &dyn Engine,
    size: u64,
    state: &mut State,
    report: &mut OpenReport,
) -> Result<(Snapshot, u64), NodeError> {
    let did = state.did.clone();
    match snapshot::load(engine, state) {
        Ok((snapshot, covers)) if covers <= size => Ok((snapshot, covers)),
        Ok(_) | Err(NodeError::Inconsistent(_)) => {
            *state = State {
                did,
                ..State::default()
            };
            snapshot::wipe(engine)?;
            report
                .notes
                .push("the derived state did not fit the log and was made anew from the entries".to_owned());
            Ok((Snapshot::default(), 0))
        }
        Err(error) => Err(error),
    }
}

impl Writer {
    /// Signs what is durable, publishes it, and finds what a crash cut off.
    fn resume(&mut self, signed: &GuardState, report: &mut OpenReport) -> Result<(), NodeError> {
        let shared = Arc::clone(&self.shared);
        let size = self.tree.size();
        if size > signed.size {
            report.notes.push(format!(
                "entries {} to {} were durable but not signed yet: they are signed now",
                signed.size,
                size - 1
            ));
            self.signed.size = size;
            self.signed.root = self.tree.root();
        }
        // Rows may be ahead of the guard: nothing of them is shown before it is.
        self.signed.witnessed = self.guarded_logs();
        if self.signed != *signed {
            self.guard.write(&self.signed)?;
        }
        *shared.witnessed.write().expect("no holder of this lock panics") = self.witnessed.clone();
        *shared.head.write().expect("no holder of this lock panics") =
            shared.sign_head(&self.tree, self.last_time)?;
        shared
            .metrics
            .log_entries
            .set(i64::try_from(size).unwrap_or(i64::MAX));
        self.publish_campaigns()?;
        self.settle_intents()?;
        for (register, state) in &self.state.registers {
            shared
                .next_numbers
                .begin(register, state.last_sequence_number + 1);
        }
        for (list, version) in self.state.list_versions.clone() {
            self.lists.signed_at(list, version);
        }
        self.take_reservations()
    }

    fn publish_campaigns(&self) -> Result<(), NodeError> {
        let mut campaigns = self
            .shared
            .campaigns
            .write()
            .expect("no holder of this lock panics");
        for (id, state) in &self.state.campaigns {
            let recorded = super::find::committed_entry(self.shared.engine.as_ref(), state.entry)?;
            if let Event::CampaignSigned(signed) = &recorded.event {
                campaigns.insert(*id, Arc::new(campaign_view(signed, &recorded)?));
            }
        }
        Ok(())
    }

    /// Batches that were cut off while they were being signed.
    fn take_reservations(&mut self) -> Result<(), NodeError> {
        for reservation in left_reservations(self.shared.engine.as_ref())? {
            let (first, count) = (reservation.batch.first.0, reservation.batch.count);
            let end = Position(first + u64::from(count));
            self.state.next_position = self.state.next_position.max(end);
            if self.shared.keyring.credential_of(reservation.batch.kid).is_none() {
                return Err(NodeError::Refuse(format!(
                    "a batch of {count} coupons was cut off while it was being signed, and its key {} is no longer \
                     in keys/: put the key back and start once",
                    reservation.batch.kid
                )));
            }
            self.reservations.insert(first, reservation);
        }
        Ok(())
    }
}

/// All batches, in order of their positions.
pub(super) fn all_batches(engine: &dyn Engine) -> Result<Vec<BatchRow>, NodeError> {
    let mut found = Vec::new();
    engine.scan(&[rows::BATCH], &[rows::BATCH], &mut |key, value| {
        found.push(rows::number_of(key).and_then(|first| BatchRow::decode(first, value)));
        ControlFlow::Continue(())
    })?;
    found
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| NodeError::Inconsistent("a row of a batch cannot be read".to_owned()))
}

/// A campaign as it stands in its entry.
pub(super) fn campaign_view(signed: &CampaignSigned, recorded: &Recorded) -> Result<CampaignView, NodeError> {
    let view = view_of(&signed.credential, recorded.into())?;
    if view.id == signed.id {
        Ok(view)
    } else {
        Err(NodeError::Inconsistent(format!(
            "entry {} names another campaign than it holds",
            recorded.index
        )))
    }
}

/// A campaign's bytes as a view.
pub(super) fn view_of(credential: &[u8], entry: EntryRef) -> Result<CampaignView, NodeError> {
    let signed = Signed::<Campaign>::parse(credential)
        .map_err(|error| NodeError::Inconsistent(format!("a campaign: {error}")))?;
    let campaign = signed.content();
    Ok(CampaignView {
        id: signed.id(),
        credential: credential.to_vec(),
        terms: campaign.terms.clone(),
        issued_at: campaign.issued_at,
        not_before: campaign.not_before,
        not_after: campaign.not_after,
        entry,
    })
}

/// A campaign with nothing counted yet.
pub(super) fn campaign_state(view: &CampaignView, entry: u64) -> CampaignState {
    CampaignState {
        terms: view.terms.clone(),
        issued_at: view.issued_at,
        not_before: view.not_before,
        not_after: view.not_after,
        entry,
        issued: 0,
        redemptions: 0,
        spent: crate::primitives::Amount::ZERO,
        flags: crate::ledger::StatusFlags::default(),
        as_of: entry + 1,
    }
}
