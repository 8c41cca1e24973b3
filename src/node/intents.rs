//! Redemptions at partners, on the redeemer's side: intents from their durable
//! beginning to their one end (protocol, section 2).
//!
//! The log says everything but the request itself, which holds the coupon, a
//! bearer's value: while an intent is open its request lies in a row of its own,
//! and is removed with the entry that ends it.
//!
//! ```text
//! row i + id = entry u64  cancel u8  request bytes     (none: lost with an earlier store)
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ledger::{Answers, Place};
use crate::ledger::{
    CancelWished, End, Event, Intent, IntentEnded, IssuerHalf, Recorded, RedeemerHalf, Refusal, TakenBy, Wish,
};
use crate::primitives::{Amount, Digest, RedemptionId, Register, Tag, UnixSeconds, limits};
use crate::store::{Engine, rows};

use super::answers::EntryRef;
use super::commands::{Command, Reply, expect_recorded};
use super::find::{Lookup, misplaced, receipt_key};
use super::pending::Pending;
use super::requests::{Call, Caller, Scope};
use super::verified::VerifiedCheckpoint;
use super::writer::{Shared, Writer};
use super::{Node, NodeError};

/// A redemption at a partner, or the reversal of one, as it is about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIntent {
    /// What the log is to say.
    pub intent: Intent,
    /// What the issuer is to be sent, as long as it has not answered.
    pub request: Vec<u8>,
    /// The till's own reference.
    pub till_reference: String,
}

/// An intent that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIntent {
    /// Its entry.
    pub entry: EntryRef,
    /// The keyed hashes of the call that began it.
    pub(super) answers: Option<Answers>,
    /// What it says.
    pub intent: Intent,
    /// What the issuer is to be sent; empty when it was lost with an earlier store.
    pub request: Arc<[u8]>,
    /// The sale was given up: the issuer is to cancel it.
    pub is_cancelling: bool,
}

/// How the issuer ended it, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its half.
    Half {
        /// What the half says.
        half: IssuerHalf,
        /// The half with the proof that it is in the issuer's log, to be kept.
        proof: Vec<u8>,
    },
    /// With a refusal.
    Refused {
        /// Its code.
        code: String,
        /// Its words.
        detail: String,
    },
    /// By cancelling it.
    Cancelled {
        /// The issuer's entry that says so.
        entry: u64,
        /// Its hash.
        hash: Digest,
        /// The entry with the proof that it is in the issuer's log, to be kept.
        proof: Vec<u8>,
    },
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntentState {
    /// Not known yet.
    Open {
        /// The sale was given up.
        is_cancelling: bool,
    },
    /// Both halves are there.
    Made {
        /// The redeemer half.
        half: RedeemerHalf,
        /// Its entry.
        entry: EntryRef,
        /// When it was recorded.
        at: UnixSeconds,
    },
    /// It ended without effect.
    Ended {
        /// How.
        end: End,
        /// The entry that says so.
        entry: EntryRef,
    },
}

/// An intent and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentView {
    /// What it says.
    pub intent: Intent,
    /// Its entry.
    pub entry: EntryRef,
    /// What became of it.
    pub state: IntentState,
    /// How much of a redemption has been reversed.
    pub reversed: Amount,
}

/// An intent whose call is hashed, on its way to the writer.
pub struct PreparedIntent {
    new: Box<BeginIntent>,
    answers: Answers,
}

impl PreparedIntent {
    /// The identity that it was given.
    #[must_use]
    pub fn id(&self) -> RedemptionId {
        self.new.intent.id
    }

    pub(super) fn into_command(self) -> (Command, Option<Answers>) {
        (Command::BeginIntent(self.new), Some(self.answers))
    }
}

impl std::fmt::Debug for PreparedIntent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PreparedIntent").field(&self.id()).finish()
    }
}

/// The writer's own form of a new intent.
pub(super) struct BeginIntent {
    pub intent: Intent,
    pub request: Vec<u8>,
}

/// The open intents in memory.
pub(super) type OpenIntents = BTreeMap<RedemptionId, Arc<OpenIntent>>;

impl Node {
    /// Does for an intent what can be done without the log.
    #[must_use]
    pub fn prepare_intent(&self, caller: &Caller, new: NewIntent) -> PreparedIntent {
        let call = match new.intent.wish {
            Wish::Redeem { .. } => Call::Redemption,
            Wish::Reverse { redemption, .. } => Call::Reversal(redemption),
        };
        let hasher = &self.inner.shared.hasher;
        let reference = hasher.reference(&new.intent.register, &call, &new.till_reference);
        let answers = hasher.answers(caller, Some(reference));
        PreparedIntent {
            new: Box::new(BeginIntent {
                intent: new.intent,
                request: new.request,
            }),
            answers,
        }
    }

    /// Makes intents durable. Of each the identity that counts comes back, in their
    /// order: that of an earlier one where the same request, or the same content under
    /// the same till reference, came before; or why it is refused, and has no effect.
    ///
    /// # Errors
    /// [`NodeError`] when nothing could be recorded at all.
    pub async fn begin_intents(
        &self,
        intents: Vec<PreparedIntent>,
    ) -> Result<Vec<Result<RedemptionId, NodeError>>, NodeError> {
        match self.ask(Command::BeginIntents(intents), None).await? {
            Reply::Several(replies) => Ok(replies
                .into_iter()
                .map(|reply| intent_id(expect_recorded(reply)?.as_ref()))
                .collect()),
            reply => Err(expect_recorded(reply).err().unwrap_or(NodeError::Busy)),
        }
    }

    /// The intent that the same call began before, if it did.
    ///
    /// # Errors
    /// [`NodeError::Refused`] where its key was used for something else.
    pub fn begun_intent(&self, caller: &Caller) -> Result<Option<RedemptionId>, NodeError> {
        let shared = &self.inner.shared;
        let answers = shared.hasher.answers(caller, None);
        let Some(index) = shared.newest(answers.key)? else {
            return Ok(None);
        };
        let first = shared.entry(index)?;
        if first.answers.is_none_or(|a| a.request != answers.request) {
            return Err(Refusal::KeyReused.into());
        }
        Ok(intent_id(&first).ok())
    }

    /// Records, durably, how the issuer ended each intent, and with that the newest
    /// checkpoint of its log that was `verified`; the entries that say so come back in
    /// their order. One that has ended already stays as it is.
    ///
    /// # Errors
    /// [`NodeError`] when nothing could be recorded at all.
    pub async fn end_intents(
        &self,
        endings: Vec<(RedemptionId, Ending)>,
        verified: Option<VerifiedCheckpoint>,
    ) -> Result<Vec<Result<Arc<Recorded>, NodeError>>, NodeError> {
        let verified = verified.map(Box::new);
        match self.ask(Command::EndIntents { endings, verified }, None).await? {
            Reply::Several(replies) => Ok(replies.into_iter().map(expect_recorded).collect()),
            reply => Err(expect_recorded(reply).err().unwrap_or(NodeError::Busy)),
        }
    }

    /// Notes durably that a sale was given up: its intent is to be cancelled.
    ///
    /// # Errors
    /// [`Refusal::NoIntent`] where none with that identity is open,
    /// [`NodeError::Forbidden`] to another register.
    pub async fn wish_cancel(&self, caller: &Caller, id: RedemptionId) -> Result<(), NodeError> {
        let answers = self.inner.shared.hasher.answers(caller, None);
        let command = Command::WishCancel {
            id,
            scope: caller.scope.clone(),
        };
        expect_recorded(self.ask(command, Some(answers)).await?).map(|_| ())
    }

    /// By what this node, and nobody else, finds a sale again: the keyed hash of a
    /// register and its till's reference.
    #[must_use]
    pub fn own_reference(&self, register: &Register, till_reference: &str) -> [u8; 16] {
        let hasher = &self.inner.shared.hasher;
        hasher.reference(register, &Call::Redemption, till_reference)
    }

    /// All intents that have not ended.
    #[must_use]
    pub fn open_intents(&self) -> Vec<Arc<OpenIntent>> {
        let open = self.inner.shared.intents.read();
        open.expect("no holder of this lock panics")
            .values()
            .cloned()
            .collect()
    }

    /// One of them.
    #[must_use]
    pub fn open_intent(&self, id: RedemptionId) -> Option<Arc<OpenIntent>> {
        let open = self.inner.shared.intents.read();
        open.expect("no holder of this lock panics").get(&id).cloned()
    }

    /// An intent and what became of it.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub fn intent(&self, id: RedemptionId) -> Result<IntentView, NodeError> {
        let found = self.inner.shared.intent(id)?;
        found.ok_or(NodeError::NotFound("there is no such redemption"))
    }

    /// The intents that `register` began under `till_reference`, in order.
    ///
    /// # Errors
    /// [`NodeError`] when the store cannot be read.
    pub fn intents_by_reference(
        &self,
        register: &Register,
        till_reference: &str,
    ) -> Result<Vec<IntentView>, NodeError> {
        let shared = &self.inner.shared;
        let mut found = Vec::new();
        for event in shared.sale(register, till_reference)? {
            if let Event::Intent(intent) = event {
                found.extend(shared.intent(intent.id)?);
            }
        }
        Ok(found)
    }
}

impl IntentView {
    /// What became of `open` by the entry that has just ended it; `None` where that
    /// entry is about something else.
    #[must_use]
    pub fn ended(open: &OpenIntent, recorded: &Recorded) -> Option<Self> {
        let id = open.intent.id;
        let entry = EntryRef::from(recorded);
        let state = match &recorded.event {
            Event::RedeemerHalf(half) if half.id == id => IntentState::Made {
                half: half.clone(),
                entry,
                at: recorded.time,
            },
            Event::IntentEnded(ended) if ended.id == id => IntentState::Ended {
                end: ended.end.clone(),
                entry,
            },
            _ => return None,
        };
        Some(Self {
            intent: open.intent.clone(),
            entry: open.entry,
            state,
            reversed: Amount::ZERO,
        })
    }
}

fn intent_id(recorded: &Recorded) -> Result<RedemptionId, NodeError> {
    match &recorded.event {
        Event::Intent(intent) => Ok(intent.id),
        _ => Err(misplaced(recorded.index, "an intent's")),
    }
}

impl Shared {
    /// An intent with what became of it.
    pub(super) fn intent(&self, id: RedemptionId) -> Result<Option<IntentView>, NodeError> {
        let Some(index) = self.newest(id.0)? else {
            return Ok(None);
        };
        let newest = self.entry(index)?;
        let (latest, reversed) = match &newest.event {
            Event::RedeemerHalf(half) => match half.reverses.filter(|reverses| reverses.redemption == id) {
                Some(reverses) => (self.entry(reverses.entry)?, reverses.reversed_after),
                None => (newest, Amount::ZERO),
            },
            _ => (newest, Amount::ZERO),
        };
        let at = latest.time;
        let entry = EntryRef::from(&latest);
        let (state, intent_entry) = match latest.event {
            Event::Intent(intent) if intent.id == id => {
                return Ok(Some(IntentView {
                    intent,
                    entry,
                    state: IntentState::Open { is_cancelling: false },
                    reversed,
                }));
            }
            Event::CancelWished(wished) if wished.id == id => {
                let is_cancelling = true;
                (IntentState::Open { is_cancelling }, wished.intent_entry)
            }
            Event::RedeemerHalf(half) if half.id == id => {
                let intent_entry = half.intent_entry;
                (IntentState::Made { half, entry, at }, intent_entry)
            }
            Event::IntentEnded(ended) if ended.id == id => {
                let end = ended.end;
                (IntentState::Ended { end, entry }, ended.intent_entry)
            }
            _ => return Ok(None),
        };
        let recorded = self.entry(intent_entry)?;
        let entry = EntryRef::from(&recorded);
        match recorded.event {
            Event::Intent(intent) => Ok(Some(IntentView {
                intent,
                entry,
                state,
                reversed,
            })),
            _ => Err(misplaced(intent_entry, "an intent's")),
        }
    }
}

impl Writer {
    /// Records a new intent and keeps its request.
    pub(super) fn begin_intent(
        &mut self,
        new: BeginIntent,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        if self.intents.len() >= limits::INTENTS_OPEN_MAX {
            return Err(NodeError::Busy);
        }
        match new.intent.wish {
            Wish::Redeem { .. } => self.check_own_log(&new.intent, pending)?,
            Wish::Reverse { redemption_entry, .. } => {
                let recorded = self.sight(pending).entry(redemption_entry)?;
                if !matches!(&recorded.event, Event::RedeemerHalf(half) if half.tag == new.intent.tag) {
                    return Err(Refusal::RedemptionUnknown.into());
                }
            }
        }
        let intent = new.intent.clone();
        let recorded = self.record(Event::Intent(new.intent), answers, pending)?;
        let open = OpenIntent {
            entry: recorded.as_ref().into(),
            answers,
            intent,
            request: new.request.into(),
            is_cancelling: false,
        };
        self.keep_intent(open, pending);
        Ok(recorded)
    }

    /// A coupon that this node itself has used up needs no question.
    fn check_own_log(&self, intent: &Intent, pending: &Pending) -> Result<(), NodeError> {
        let sight = self.sight(pending);
        let Some(index) = sight.newest(receipt_key(&intent.tag))? else {
            return Ok(());
        };
        let newest = sight.entry(index)?;
        let Event::RedeemerHalf(half) = &newest.event else {
            return Ok(());
        };
        let spent = half.remaining_uses == Some(0) || half.remaining_value == Some(Amount::ZERO);
        if half.tag != intent.tag || half.reverses.is_some() || !spent {
            return Ok(());
        }
        let place = match sight.entry(half.intent_entry)?.event {
            Event::Intent(first) => Place::Register(first.register),
            _ => return Err(misplaced(half.intent_entry, "an intent's")),
        };
        Err(Refusal::CouponUsedUp(TakenBy {
            redemption: half.id,
            entry: newest.index,
            at: newest.time,
            redeemer: self.state.did.clone(),
            place,
        })
        .into())
    }

    fn keep_intent(&mut self, open: OpenIntent, pending: &mut Pending) {
        let id = open.intent.id;
        pending.bytes += open.request.len();
        pending.batch.put(rows::intent(&id), encode(&open));
        self.intents.insert(id, Arc::new(open));
        pending.intents.push(id);
    }

    /// Records how each intent ended.
    pub(super) fn end_intents(
        &mut self,
        endings: Vec<(RedemptionId, Ending)>,
        pending: &mut Pending,
    ) -> Result<Reply, NodeError> {
        let mut replies = Vec::with_capacity(endings.len());
        for (id, ending) in endings {
            match self.end_intent(id, ending, pending) {
                Ok(recorded) => replies.push(Reply::Recorded(recorded)),
                Err(error @ NodeError::Store(crate::store::StoreError::Fatal(_))) => return Err(error),
                Err(error) => replies.push(Reply::Failed(error)),
            }
        }
        Ok(Reply::Several(replies))
    }

    fn end_intent(
        &mut self,
        id: RedemptionId,
        ending: Ending,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        let Some(open) = self.intents.get(&id).cloned() else {
            return self.ended_before(id, pending);
        };
        let answers = open.answers;
        let intent = &open.intent;
        let mut proof = None;
        let event = match ending {
            Ending::Half { half, proof: kept } => {
                proof = Some(kept);
                Event::RedeemerHalf(intent.half(open.entry.index, &half)?)
            }
            Ending::Refused { code, detail } => Event::IntentEnded(IntentEnded {
                id,
                tag: intent.tag,
                intent_entry: open.entry.index,
                end: End::Refused { code, detail },
            }),
            Ending::Cancelled {
                entry,
                hash,
                proof: kept,
            } => {
                proof = Some(kept);
                Event::IntentEnded(IntentEnded {
                    id,
                    tag: intent.tag,
                    intent_entry: open.entry.index,
                    end: End::Cancelled {
                        issuer_entry: entry,
                        issuer_hash: hash,
                    },
                })
            }
        };
        let recorded = self.record(event, answers, pending)?;
        if let Some(proof) = proof {
            pending.put_beside(recorded.index, proof);
        }
        self.intents.remove(&id);
        pending.batch.remove(rows::intent(&id));
        pending.intents.push(id);
        Ok(recorded)
    }

    fn ended_before(&self, id: RedemptionId, pending: &Pending) -> Result<Arc<Recorded>, NodeError> {
        let sight = self.sight(pending);
        let index = sight.newest(id.0)?.ok_or(Refusal::NoIntent)?;
        let recorded = sight.entry(index)?;
        match &recorded.event {
            Event::RedeemerHalf(_) | Event::IntentEnded(_) => Ok(Arc::new(recorded)),
            _ => Err(Refusal::NoIntent.into()),
        }
    }

    /// Records that a sale was given up.
    pub(super) fn wish_cancel(
        &mut self,
        id: RedemptionId,
        scope: &Scope,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        let open = self.intents.get(&id).cloned().ok_or(Refusal::NoIntent)?;
        if matches!(scope, Scope::Register(own) if *own != open.intent.register) {
            return Err(NodeError::Forbidden(
                "a till cancels redemptions of its own register; the office cancels any",
            ));
        }
        let wished = CancelWished {
            id,
            tag: open.intent.tag,
            intent_entry: open.entry.index,
        };
        let recorded = self.record(Event::CancelWished(wished), answers, pending)?;
        let cancelling = OpenIntent {
            is_cancelling: true,
            ..open.as_ref().clone()
        };
        self.keep_intent(cancelling, pending);
        Ok(recorded)
    }

    /// Lets readers see what is durable now.
    pub(super) fn publish_intents(&self, pending: &Pending) {
        if pending.intents.is_empty() {
            return;
        }
        let mut shown = self
            .shared
            .intents
            .write()
            .expect("no holder of this lock panics");
        for id in &pending.intents {
            match self.intents.get(id) {
                Some(open) => shown.insert(*id, Arc::clone(open)),
                None => shown.remove(id),
            };
        }
    }

    /// While opening: what the entry `recorded` says of an intent. Rows are written
    /// with their entries, so only a store that was recovered from the log lacks one.
    pub(super) fn replay_intent(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Intent(intent) => {
                self.intents.entry(intent.id).or_insert_with(|| {
                    Arc::new(OpenIntent {
                        entry: recorded.into(),
                        answers: recorded.answers,
                        intent: intent.clone(),
                        request: Arc::default(),
                        is_cancelling: false,
                    })
                });
            }
            Event::CancelWished(wished) => {
                if let Some(open) = self.intents.get_mut(&wished.id) {
                    Arc::make_mut(open).is_cancelling = true;
                }
            }
            Event::RedeemerHalf(RedeemerHalf { id, .. }) | Event::IntentEnded(IntentEnded { id, .. }) => {
                self.intents.remove(id);
            }
            _ => {}
        }
    }

    /// After the replay: rows of intents that only the log tells of.
    pub(super) fn settle_intents(&mut self) -> Result<(), NodeError> {
        let engine = Arc::clone(&self.shared.engine);
        let mut batch = crate::store::Batch::default();
        let kept = rows_of(engine.as_ref())?;
        for (id, open) in &self.intents {
            if !kept.contains_key(id) {
                batch.put(rows::intent(id), encode(open));
            }
        }
        for id in kept.keys().filter(|id| !self.intents.contains_key(id)) {
            batch.remove(rows::intent(id));
        }
        if !batch.is_empty() {
            engine.commit(batch)?;
        }
        *self
            .shared
            .intents
            .write()
            .expect("no holder of this lock panics") = self.intents.clone();
        Ok(())
    }
}

fn encode(open: &OpenIntent) -> Vec<u8> {
    let mut row = Vec::with_capacity(9 + open.request.len());
    row.extend(open.entry.index.to_be_bytes());
    row.push(u8::from(open.is_cancelling));
    row.extend(open.request.iter());
    row
}

/// The rows: entry, whether it is to be cancelled, request.
pub(super) type IntentRow = (u64, bool, Vec<u8>);

/// All rows of open intents.
///
/// # Errors
/// [`NodeError::Inconsistent`] for one that cannot be read.
pub(super) fn rows_of(engine: &dyn Engine) -> Result<BTreeMap<RedemptionId, IntentRow>, NodeError> {
    let mut found = Vec::new();
    engine.scan(&[rows::INTENT], &[rows::INTENT], &mut |key, value| {
        found.push(decode(key, value));
        ControlFlow::Continue(())
    })?;
    found
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| NodeError::Inconsistent("the row of an intent cannot be read".to_owned()))
}

fn decode(key: &[u8], value: &[u8]) -> Option<(RedemptionId, IntentRow)> {
    let id = RedemptionId::from_slice(key.get(1..)?)?;
    let (entry, rest) = value.split_first_chunk::<8>()?;
    let (cancel, request) = rest.split_first()?;
    if *cancel > 1 {
        return None;
    }
    Some((id, (u64::from_be_bytes(*entry), *cancel == 1, request.to_vec())))
}

/// The open intents of a store, from their rows and entries.
///
/// # Errors
/// [`NodeError::Inconsistent`] where row and entry do not belong together.
pub(super) fn load(engine: &dyn Engine) -> Result<OpenIntents, NodeError> {
    let mut open = OpenIntents::new();
    for (id, (entry, is_cancelling, request)) in rows_of(engine)? {
        let recorded = super::find::committed_entry(engine, entry)?;
        let (entry_ref, answers) = (EntryRef::from(&recorded), recorded.answers);
        let Event::Intent(intent) = recorded.event else {
            return Err(misplaced(entry, "an intent's"));
        };
        let open_intent = OpenIntent {
            entry: entry_ref,
            answers,
            intent,
            request: request.into(),
            is_cancelling,
        };
        open.insert(id, Arc::new(open_intent));
    }
    Ok(open)
}

/// Whether `first` began just what `new` asks for.
pub(super) fn same_intent(first: &Intent, new: &Intent) -> bool {
    first.tag == new.tag && first.wish == new.wish && first.register == new.register
}

/// Whether two intents under one till reference are about different coupons.
pub(super) fn other_coupon(first: &Event, tag: &Tag) -> bool {
    match first {
        Event::Intent(intent) => intent.tag != *tag,
        Event::Redeemed(_) => true,
        _ => false,
    }
}
