//! The one writer: group commit in the order that never forks a log.
//!
//! A cycle gathers what has arrived, decides each command against the state,
//! and then: entries and derived rows durable in one atomic batch; guard slot
//! durable; one checkpoint signed; published; and only then every answer
//! (protocol, section 6, 'Never fork oneself'). All of it is serial, in one
//! thread: batches form by themselves while the last one is written.
//!
//! A cycle that has only begun intents ends with the store: they have to be durable
//! before the issuer is asked, and nobody outside is told of their entries yet. The next
//! cycle's checkpoint covers them, or one of their own a moment later.
//!
//! When the store or the guard fails the writer stops for good. What is on
//! disk is not known then; opening anew finds out.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::credential::PublicKey;
use crate::ledger::{Answers, CampaignState, Event, Place, Recorded, State};
use crate::log::{self, Checkpoint, VerifierKey};
use crate::merkle::TileBuilder;
use crate::primitives::{CampaignId, Clock, Digest, Entropy, UnixSeconds, limits};
use crate::store::{Engine, GuardFile, GuardState, StoreError, beside, rows};

use super::answers::CampaignView;
use super::batches::Reservation;
use super::commands::{Command, Job, Reply, Reserving};
use super::cosigned::CosignedHeads;
use super::coupons::{Covered, Permutations};
use super::damage::IndexDamage;
use super::erasure::Erasing;
use super::find::{self, Lookup, keys_of, shares_reference};
use super::halves::KeptRefusals;
use super::index::{Index, IndexReader};
use super::intents::{OpenIntents, other_coupon};
use super::keyring::Keyring;
use super::lists::Lists;
use super::numbers::NextNumbers;
use super::pending::Pending;
use super::repeats::same_content;
use super::requests::{RequestHasher, Scope, occurrence};
use super::signers::Signers;
use super::snapshot::{Snapshot, StatusRows};
use super::upkeep::Upkeep;
use super::witnessing::HeldLogs;
use super::{NodeError, NodeMetrics, NodeOptions};

/// How long the writer waits for work before it looks after lists and upkeep.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// How long it waits for a reader to leave a run of the index that is to be
/// removed: without this it would turn in a circle.
const STALLED_WAIT: Duration = Duration::from_millis(5);

/// The newest checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub size: u64,
    /// When the last entry was made.
    pub time: UnixSeconds,
    pub note: Arc<str>,
    /// The tree of that size: what is in no stored row yet. Readers so see the
    /// tree of the checkpoint, and nothing of the batch under way.
    pub tree: Arc<TileBuilder>,
}

/// How long entries that nobody was told of wait for a checkpoint together with others.
const UNSIGNED_WAIT: Duration = Duration::from_millis(2);

/// Commits in a row that may wait so.
const UNSIGNED_COMMITS_MAX: u32 = 8;

/// What the writer shares with every reader.
pub(crate) struct Shared {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) options: NodeOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) hasher: RequestHasher,
    pub(super) permutations: Permutations,
    pub(super) batches: super::coupons::KnownBatches,
    pub(super) signers: Signers,
    pub(super) index: IndexReader,
    pub(super) index_damage: Mutex<IndexDamage>,
    pub(super) log_key: VerifierKey,
    pub(super) witness_key: VerifierKey,
    /// Those that the log names for credentials, and the one in use.
    pub(super) credential_keys: RwLock<Vec<PublicKey>>,
    pub(super) witnessed: RwLock<HeldLogs>,
    pub(super) cosigned: RwLock<CosignedHeads>,
    pub(super) head: RwLock<Head>,
    pub(super) campaigns: RwLock<BTreeMap<CampaignId, Arc<CampaignView>>>,
    pub(super) lists: RwLock<BTreeMap<u32, Arc<super::lists::SignedList>>>,
    /// Changes whenever lists were signed.
    pub(super) lists_signed: tokio::sync::watch::Sender<u64>,
    pub(super) next_numbers: Arc<NextNumbers>,
    pub(super) erasing: Erasing,
    pub(super) intents: RwLock<OpenIntents>,
    pub(super) stopped: RwLock<Option<String>>,
    /// Whether it may sign by itself: what others hold of its log was compared.
    pub(super) is_compared: AtomicBool,
    pub(super) metrics: NodeMetrics,
    /// The highest version of the roster that was known when the node was opened.
    pub(super) roster_floor: u64,
}

impl Shared {
    fn set_stopped(&self, why: &str) {
        let mut stopped = self.stopped.write().unwrap_or_else(PoisonError::into_inner);
        *stopped = Some(why.to_owned());
    }

    /// The present time, by the node's clock, but never before the last entry:
    /// so a clock that was set back makes no sale that lies before its entry.
    pub(super) fn now(&self) -> UnixSeconds {
        let head = self.head.read().expect("no holder of this lock panics");
        self.clock.now().max(head.time)
    }

    pub(super) fn campaign(&self, id: &CampaignId) -> Result<Arc<CampaignView>, NodeError> {
        let campaigns = self.campaigns.read().expect("no holder of this lock panics");
        campaigns
            .get(id)
            .cloned()
            .ok_or(NodeError::Refused(crate::ledger::Refusal::CampaignUnknown))
    }
}

/// Says that the writer has stopped when a bug makes it panic: without this
/// the process would go on and serve reads only.
struct StopOnPanic(Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_stopped("a defect: its thread panicked");
        }
    }
}

impl Lookup for Shared {
    fn entry(&self, index: u64) -> Result<Recorded, NodeError> {
        find::committed_entry(self.engine.as_ref(), index)
    }

    fn newest(&self, key: [u8; 16]) -> Result<Option<u64>, NodeError> {
        let found = self.index.lookup(self.engine.as_ref(), key);
        found.map_err(|error| self.index_error(error))
    }
}

/// The writer's own state; it lives in the writer's thread.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub guard: Box<dyn GuardFile>,
    pub state: State,
    pub index: Index,
    pub tree: TileBuilder,
    pub last_hash: Digest,
    pub last_time: UnixSeconds,
    /// The time of the command under way: one for its decision and its entry.
    pub time: UnixSeconds,
    /// What the guard holds.
    pub signed: GuardState,
    /// Commits whose entries no checkpoint covers yet.
    pub unsigned: u32,
    /// Other logs as they were cosigned last, in the batch under way too.
    pub witnessed: HeldLogs,
    /// The highest version of the roster in the store, in the batch under way too.
    pub rosters: u64,
    pub upkeep: Upkeep,
    /// Entries that state and index include: the log's size, but while replaying.
    pub applied: u64,
    pub reservations: BTreeMap<u64, Reservation>,
    /// The entry of the credential key before, while the log does not name the one in use.
    pub unnamed: Option<u64>,
    /// Redemptions at partners that have not ended, in the batch under way too.
    pub intents: OpenIntents,
    /// Sizes of issuers' logs as they were verified last, once they were looked up.
    pub verified: BTreeMap<([u8; 32], super::witnessing::KeyId), u64>,
    /// Partners' requests that were refused, until their time is over.
    pub refusals: KeptRefusals,
    pub lists: Lists,
    pub snapshot: Snapshot,
    /// The body under way: kept for its memory.
    pub body: Vec<u8>,
}

/// What a cycle of the writer came to.
pub(super) struct Cycle {
    /// False after `Shutdown`.
    pub goes_on: bool,
    /// Nothing had arrived, and nothing was to be made durable.
    pub was_idle: bool,
}

/// The store or the guard has failed, and everyone who waits was told so.
#[derive(Debug)]
pub(super) struct Stopped;

/// The writer together with its unfinished batch: what a decision may look at.
pub(super) struct Sight<'a> {
    writer: &'a Writer,
    pending: &'a Pending,
}

impl Lookup for Sight<'_> {
    fn entry(&self, index: u64) -> Result<Recorded, NodeError> {
        match self.pending.entry(index) {
            Some(recorded) => Ok(recorded.clone()),
            None => self.writer.shared.entry(index),
        }
    }

    fn newest(&self, key: [u8; 16]) -> Result<Option<u64>, NodeError> {
        let shared = &self.writer.shared;
        let found = self.writer.index.lookup(shared.engine.as_ref(), key);
        found.map_err(|error| shared.index_error(error))
    }
}

impl Writer {
    /// What a decision may look at: the store and the batch under way.
    pub(super) fn sight<'a>(&'a self, pending: &'a Pending) -> Sight<'a> {
        Sight {
            writer: self,
            pending,
        }
    }

    /// Works until the last handle is gone or a `Shutdown` arrives.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let alarm = StopOnPanic(Arc::clone(&self.shared));
        let (mut running, mut stalled) = (true, false);
        while running {
            let wait = match (self.index.is_idle() && self.snapshot.is_idle(), stalled) {
                (true, _) if self.unsigned > 0 => UNSIGNED_WAIT,
                (true, _) => IDLE_WAIT,
                (false, true) => STALLED_WAIT,
                (false, false) => Duration::ZERO,
            };
            let first = match jobs.recv_timeout(wait) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    running = false;
                    None
                }
            };
            match self.cycle(first, jobs) {
                Ok(cycle) => {
                    running &= cycle.goes_on;
                    stalled = cycle.was_idle;
                }
                Err(Stopped) => return,
            }
        }
        if let Err(error) = self.settle() {
            return self.stop(&error, Pending::default());
        }
        self.shared.set_stopped("it is shutting down");
        drop(alarm);
    }

    /// One cycle: decides `first` and whatever else has arrived, makes it durable, and
    /// answers. After an error the writer has stopped for good.
    pub(super) fn cycle(&mut self, first: Option<Job>, jobs: &Receiver<Job>) -> Result<Cycle, Stopped> {
        self.bound_memory();
        let mut pending = Pending::default();
        let cycle = self.gather_and_finish(first, jobs, &mut pending);
        cycle.map_err(|error| {
            self.stop(&error, pending);
            Stopped
        })
    }

    fn gather_and_finish(
        &mut self,
        first: Option<Job>,
        jobs: &Receiver<Job>,
        pending: &mut Pending,
    ) -> Result<Cycle, NodeError> {
        let goes_on = match first {
            Some(job) => self.gather(job, jobs, pending)?,
            None => {
                // What has waited for others waits no longer.
                pending.is_due = true;
                true
            }
        };
        let nothing_came = pending.replies.is_empty();
        let committed = self.finish(pending)?;
        Ok(Cycle {
            goes_on,
            was_idle: nothing_came && !committed,
        })
    }

    /// Decides `job` and whatever else has arrived; false after `Shutdown`.
    fn gather(&mut self, job: Job, jobs: &Receiver<Job>, pending: &mut Pending) -> Result<bool, NodeError> {
        let mut running = self.take(job, pending)?;
        while running
            && !pending.is_full()
            && let Ok(job) = jobs.try_recv()
        {
            running = self.take(job, pending)?;
        }
        Ok(running)
    }

    /// Decides one job; false for `Shutdown`. An error is one after which
    /// nothing may be decided any more.
    fn take(&mut self, job: Job, pending: &mut Pending) -> Result<bool, NodeError> {
        let Job {
            command,
            answers,
            reply,
        } = job;
        pending.is_due |= !matches!(command, Command::BeginIntents(_));
        if matches!(command, Command::Shutdown) {
            pending.replies.push((reply, Reply::Done));
            return Ok(false);
        }
        if let Command::Halt(why) = command {
            let _ = reply.send(Reply::Done);
            return Err(NodeError::Refuse(why));
        }
        let outcome = match command {
            Command::IssueReceipts(receipts) => receipts
                .into_iter()
                .map(|receipt| self.decided(receipt.into_command(), pending))
                .collect::<Result<_, _>>()
                .map(Reply::Several),
            Command::BeginIntents(intents) => intents
                .into_iter()
                .map(|intent| self.decided(intent.into_command(), pending))
                .collect::<Result<_, _>>()
                .map(Reply::Several),
            command => self.decided((command, answers), pending),
        };
        match outcome {
            Ok(outcome) => pending.replies.push((reply, outcome)),
            Err(error) => {
                let _ = reply.send(Reply::Failed(NodeError::Stopped(error.to_string())));
                return Err(error);
            }
        }
        Ok(true)
    }

    /// What is to be said of one command. An error is one after which nothing may
    /// be decided any more.
    fn decided(
        &mut self,
        (command, answers): (Command, Option<Answers>),
        pending: &mut Pending,
    ) -> Result<Reply, NodeError> {
        self.tick();
        pending.commands += 1;
        let outcome = match self.repeated(answers.as_ref(), &command, pending) {
            Ok(Some(recorded)) => Ok(Reply::Recorded(Arc::new(recorded))),
            Ok(None) => self.decide(command, answers, pending),
            Err(error) => Err(error),
        };
        match outcome {
            Err(NodeError::Store(error @ StoreError::Fatal(_))) => Err(error.into()),
            Err(error) => {
                if let NodeError::Refused(refusal) = &error {
                    self.shared.metrics.refused(refusal.code());
                }
                Ok(Reply::Failed(error))
            }
            outcome => outcome,
        }
    }

    /// The entry that answered this request before, if one did.
    fn repeated(
        &self,
        answers: Option<&Answers>,
        command: &Command,
        pending: &Pending,
    ) -> Result<Option<Recorded>, NodeError> {
        use crate::ledger::Refusal;
        let Some(answers) = answers else { return Ok(None) };
        if self
            .reservations
            .values()
            .any(|r| r.answers.is_some_and(|a| a.key == answers.key))
        {
            return Err(NodeError::InProgress);
        }
        let sight = self.sight(pending);
        let same = |first: &Recorded| first.answers.is_some_and(|a| a.request == answers.request);
        if let Some(index) = sight.newest(answers.key)? {
            let first = sight.entry(index)?;
            return if same(&first) {
                Ok(Some(first))
            } else {
                Err(Refusal::KeyReused.into())
            };
        }
        let Some(reference) = answers.reference else {
            return Ok(None);
        };
        for n in 0..limits::COUPONS_PER_SALE_MAX {
            let Some(index) = sight.newest(occurrence(reference, n))? else {
                return Ok(None);
            };
            let first = sight.entry(index)?;
            let engine = self.shared.engine.as_ref();
            if same(&first) || same_content(engine, pending, &first, command)? {
                return Ok(Some(first));
            }
            let is_other = match (&first.event, command) {
                (Event::Redeemed(redeemed), Command::Redeem(order)) => redeemed.name != order.coupon.name,
                // A coupon of another co-op.
                (Event::Intent(_), Command::Redeem(_)) => true,
                (first, Command::BeginIntent(new)) => other_coupon(first, &new.intent.tag),
                _ => false,
            };
            if !is_other {
                return Err(Refusal::ReferenceReused.into());
            }
        }
        Err(Refusal::TooManyCoupons.into())
    }

    fn decide(
        &mut self,
        command: Command,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Reply, NodeError> {
        let now = self.now();
        let recorded = match command {
            Command::SignCampaign { view } => self.sign_campaign(*view, answers, pending)?,
            Command::Reserve {
                when: Reserving::Before,
                ..
            } => {
                return Err(NodeError::NotFound(
                    "no coupons were issued under this Idempotency-Key; leave `from` out to issue them",
                ));
            }
            Command::Reserve { order, when } => {
                let at = match when {
                    Reserving::At(at) => at.min(now),
                    Reserving::Now | Reserving::Before => now,
                };
                return self.reserve(&order, answers, pending, at);
            }
            Command::StoreTags { first, from, tags } => {
                self.store_tags(first, from, &tags, pending)?;
                return Ok(Reply::Done);
            }
            Command::Finish {
                first,
                from,
                tags,
                root,
            } => self.finish_batch(first, (from, &tags), root, pending)?,
            Command::IssueReceipt(receipt) => return self.issue_receipt(*receipt, answers, pending),
            Command::Quote {
                coupon,
                basket,
                amount,
            } => {
                self.hydrate_coupon(coupon.name, pending)?;
                return Ok(Reply::Quoted(self.state.quote(&coupon, &basket, amount, now)?));
            }
            Command::Redeem(order) => {
                self.hydrate_coupon(order.coupon.name, pending)?;
                let redeemed = self.state.decide_redemption(&order, now)?;
                let (name, used_up) = (redeemed.name, redeemed.used_up);
                self.plan_list(name, used_up);
                self.record(Event::Redeemed(redeemed), answers, pending)?
            }
            Command::BeginIntent(new) => self.begin_intent(*new, answers, pending)?,
            Command::EndIntents { endings, verified } => {
                if let Some(verified) = verified {
                    self.keep_verified(*verified, pending)?;
                }
                return self.end_intents(endings, pending);
            }
            Command::WishCancel { id, scope } => self.wish_cancel(id, &scope, answers, pending)?,
            Command::Serve(commands) => return self.serve(commands, pending),
            Command::Reverse { order, scope } => {
                let place = self.hydrate_redemption(order.redemption, pending)?;
                if matches!(&scope, Scope::Register(own) if place.register() != Some(own)) {
                    return Err(NodeError::Forbidden(
                        "a till reverses redemptions of its own register; the office reverses any",
                    ));
                }
                let reversed = self.state.decide_reversal(&order, now)?;
                let (name, used_up) = (reversed.name, reversed.used_up);
                self.plan_list(name, used_up);
                self.record(Event::Reversed(reversed), answers, pending)?
            }
            Command::SetStatus {
                target,
                status,
                reason,
            } => self.set_status(target, status, reason, answers, pending)?,
            Command::SignList(list) => {
                if !self.has_fresh_list(list) {
                    self.sign_list(list, now, pending)?;
                }
                return Ok(Reply::Done);
            }
            Command::KeepCosigned { cosigned, is_quorum } => {
                return Ok(self.keep_cosigned(cosigned, is_quorum, pending));
            }
            Command::Erase(erasures) => self.erase(erasures, answers, pending)?,
            Command::KeepRoster(command) => return self.keep_roster(*command, pending),
            Command::KeepGossiped(keep) => return self.keep_gossiped(*keep, pending),
            Command::Witness(asked) => return self.witness(*asked, pending),
            // They are taken apart before.
            Command::IssueReceipts(_) | Command::BeginIntents(_) | Command::Shutdown | Command::Halt(_) => {
                return Ok(Reply::Done);
            }
        };
        Ok(Reply::Recorded(recorded))
    }

    /// The time of the entries made now: the clock's, never decreasing. It
    /// stands still from one [`tick`](Self::tick) to the next, so that a
    /// decision and its entry have one time.
    pub fn now(&self) -> UnixSeconds {
        self.time
    }

    fn tick(&mut self) {
        self.time = self.shared.clock.now().max(self.last_time);
    }

    /// Makes `event` the next entry of the batch under way, and applies it.
    pub fn record(
        &mut self,
        event: Event,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        self.record_with(event, answers, pending, None, &Covered::default())
    }

    pub(super) fn record_with(
        &mut self,
        event: Event,
        answers: Option<Answers>,
        pending: &mut Pending,
        campaign: Option<CampaignState>,
        covered: &Covered,
    ) -> Result<Arc<Recorded>, NodeError> {
        let mut nth = 0;
        if let (true, Some(reference)) = (shares_reference(&event), answers.and_then(|a| a.reference)) {
            let sight = self.sight(pending);
            while sight.newest(occurrence(reference, nth))?.is_some() {
                nth += 1;
            }
        }
        let index = self.tree.size();
        let time = self.now();
        let salt = self.shared.entropy.bytes();
        self.body.clear();
        event.write_body(&mut self.body, answers.as_ref(), salt);
        let mut bytes = Vec::with_capacity(self.body.len() + 64);
        log::entry::write_entry(&mut bytes, index, time, &self.last_hash, event.kind(), &self.body)
            .map_err(|error| NodeError::Inconsistent(error.to_string()))?;
        let hash = log::entry_hash(&bytes);
        let batch = &mut pending.batch;
        self.tree.append(hash.0, &mut |half| {
            batch.put(rows::hash_tile(half.level, half.tile, half.half), half.as_bytes());
        });
        let recorded = Arc::new(Recorded {
            index,
            hash,
            time,
            event,
            answers,
        });
        for key in keys_of(&recorded, nth) {
            self.index.insert(key, index);
        }
        self.state.apply(&recorded, campaign);
        self.snapshot.touch(&recorded);
        self.cover(&recorded.event, covered);
        self.last_hash = hash;
        self.last_time = time;
        self.applied = index + 1;
        pending.bytes += bytes.len();
        pending.entries.push((bytes, Arc::clone(&recorded)));
        Ok(recorded)
    }

    /// Gives the coupons that `event` covers their status.
    pub(super) fn cover(&mut self, event: &Event, covered: &Covered) {
        let shared = Arc::clone(&self.shared);
        let mut rows = StatusRows::default();
        let names = shared.permutations.names(covered);
        self.state.cover(event, names.inspect(|name| rows.mark(*name)));
        self.snapshot.touch_statuses(rows);
    }

    fn sign_campaign(
        &mut self,
        view: CampaignView,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        if self.state.campaigns.contains_key(&view.id) {
            return Err(crate::ledger::Refusal::CampaignExists.into());
        }
        self.name_credential_key(pending)?;
        let event = Event::CampaignSigned(crate::ledger::CampaignSigned {
            id: view.id,
            credential: view.credential.clone(),
        });
        let state = super::open::campaign_state(&view, self.tree.size());
        let recorded = self.record_with(event, answers, pending, Some(state), &Covered::default())?;
        pending.campaigns.push(view.id);
        Ok(recorded)
    }

    pub(super) fn hydrate_coupon(
        &mut self,
        name: crate::primitives::CouponName,
        pending: &Pending,
    ) -> Result<(), NodeError> {
        if self.state.coupons.contains_key(&name) {
            return Ok(());
        }
        if let Some(coupon) = self.sight(pending).coupon(name)? {
            self.state.coupons.insert(name, coupon);
        }
        Ok(())
    }

    /// Puts a redemption and its coupon into the state; who asked for it comes back.
    pub(super) fn hydrate_redemption(
        &mut self,
        id: crate::primitives::RedemptionId,
        pending: &Pending,
    ) -> Result<Place, NodeError> {
        if !self.state.redemptions.contains_key(&id) {
            let found = self.sight(pending).redemption(id)?;
            let (redemption, _) = found.ok_or(crate::ledger::Refusal::RedemptionUnknown)?;
            self.state.redemptions.insert(id, redemption);
        }
        let redemption = &self.state.redemptions[&id];
        let (name, place) = (redemption.name, redemption.place.clone());
        self.hydrate_coupon(name, pending)?;
        Ok(place)
    }

    /// Everything that must hold before an answer goes out, in its order. Says
    /// whether there was anything to make durable.
    fn finish(&mut self, pending: &mut Pending) -> Result<bool, NodeError> {
        self.tick();
        self.sign_due_lists(pending)?;
        self.forget_refusals(pending);
        self.add_upkeep(pending)?;
        self.shared.mark_index_damage(&mut pending.batch);
        let mut committed = !pending.is_empty();
        if committed {
            self.commit(pending)?;
        } else if self.unsigned > 0 && pending.is_due {
            self.sign()?;
            committed = true;
        }
        let metrics = &self.shared.metrics;
        for event in pending.kinds() {
            metrics.recorded(event);
        }
        for (reply, outcome) in pending.replies.drain(..) {
            // Whoever waited may have gone away; the effect stays.
            let _ = reply.send(outcome);
        }
        Ok(committed)
    }

    pub(super) fn commit(&mut self, pending: &mut Pending) -> Result<(), NodeError> {
        let shared = Arc::clone(&self.shared);
        let timer = shared.metrics.commit_seconds.start_timer();
        let mut batch = std::mem::take(&mut pending.batch);
        if let Some((_, first)) = pending.entries.first() {
            let bytes = pending.entries.iter().map(|(bytes, _)| bytes.as_slice());
            rows::append_entries(&mut batch, first.index, bytes)?;
        }
        beside::edit(shared.engine.as_ref(), &mut batch, &pending.changed_beside)?;
        beside::append(
            &mut batch,
            pending
                .beside
                .iter()
                .map(|(index, bytes)| (*index, bytes.as_slice())),
        )?;
        shared.engine.commit(batch)?;
        if !pending.witnessed.is_empty() {
            self.signed.witnessed = self.guarded_logs();
        }
        if let Some(version) = pending.roster {
            self.signed.roster_version = self.signed.roster_version.max(version);
        }
        self.unsigned += u32::from(!pending.entries.is_empty());
        let waits = !pending.needs_checkpoint() && self.unsigned < UNSIGNED_COMMITS_MAX;
        if self.unsigned > 0 && !waits {
            self.sign()?;
        } else if !pending.witnessed.is_empty() || pending.roster.is_some() {
            self.guard.write(&self.signed)?;
        }
        self.index.committed();
        self.publish(pending);
        timer.observe_duration();
        Ok(())
    }

    /// Signs the checkpoint of all entries in the store, once the guard holds it.
    fn sign(&mut self) -> Result<(), NodeError> {
        let size = self.tree.size();
        self.signed.size = size;
        self.signed.root = self.tree.root();
        self.guard.write(&self.signed)?;
        let shared = &self.shared;
        let head = shared.sign_head(&self.tree, self.last_time)?;
        *shared.head.write().expect("no holder of this lock panics") = head;
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        shared.metrics.log_entries.set(size);
        self.unsigned = 0;
        Ok(())
    }

    /// Lets readers see what is durable now.
    fn publish(&self, pending: &Pending) {
        let shared = &self.shared;
        if !pending.campaigns.is_empty() {
            let mut campaigns = shared.campaigns.write().expect("no holder of this lock panics");
            for (_, recorded) in &pending.entries {
                if let Event::CampaignSigned(signed) = &recorded.event
                    && let Ok(view) = super::open::campaign_view(signed, recorded)
                {
                    campaigns.insert(signed.id, Arc::new(view));
                }
            }
        }
        self.publish_lists(pending);
        self.publish_witnessed(pending);
        self.publish_cosigned(pending);
        self.publish_intents(pending);
    }

    /// Stops for good and tells everyone who waits.
    ///
    /// Whoever is still in the queue is told by its end: dropping it drops what
    /// is in it, and what comes later finds no queue.
    fn stop(&self, error: &NodeError, pending: Pending) {
        tracing::error!(%error, "the writer has stopped");
        self.shared.set_stopped(&error.to_string());
        for (reply, _) in pending.replies {
            let _ = reply.send(Reply::Failed(NodeError::Stopped(error.to_string())));
        }
    }
}

impl Shared {
    /// Signs the checkpoint of a log whose entries and guard are durable.
    pub(super) fn sign_head(&self, tree: &TileBuilder, time: UnixSeconds) -> Result<Head, NodeError> {
        let (size, root) = (tree.size(), Digest(tree.root()));
        let note = Checkpoint::new(self.options.origin.authority(), size, root)
            .sign(&self.log_key, |message| self.keyring.log.sign(message))
            .map_err(|error| NodeError::Inconsistent(error.to_string()))?;
        Ok(Head {
            size,
            time,
            note: note.to_string().into(),
            tree: Arc::new(tree.clone()),
        })
    }
}
