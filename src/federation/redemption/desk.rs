//! Requests on their way to one issuer. New ones are made durable together and so become
//! one message: at once where none is under way, and otherwise when enough have gathered,
//! or the first of them has waited long enough (as RFC 896 has it for small packets).
//! What is not answered goes again, after pauses that grow.

mod continued;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::answers::{self, AnswerError, Known, Tree, VerifiedLog};
use super::doubts::Doubts;
use super::redeemer::{Redeemer, Told};
use super::wire::{self, Answer, Link, LogState, Outcome, Proof, Request, Wanted};
use crate::federation::catch_up::catch_up;
use crate::federation::message::{self, Head, MessageName};
use crate::federation::peers::PeerError;
use crate::federation::roster::{Directory, Member};
use crate::log::VerifierKey;
use crate::node::{Ending, IntentView, NodeError, OpenIntent, PreparedIntent, VerifiedCheckpoint};
use crate::primitives::{RedemptionId, limits};

/// The shortest pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The line to one issuer.
pub(super) struct Desk {
    issuer: String,
    state: Mutex<State>,
    news: Notify,
    work: Notify,
}

/// What is to be begun, and who waits for its end.
struct New {
    intent: PreparedIntent,
    done: oneshot::Sender<Told>,
}

/// The newest tree of the issuer's log that was verified.
#[derive(Clone)]
struct Newest {
    tree: Tree,
    /// The key that has signed it.
    key: VerifierKey,
    /// Its checkpoint, a signed note.
    note: Arc<str>,
    /// How it continues the tree of the answer before, which may come later.
    link: Option<Link>,
}

#[derive(Default)]
struct State {
    /// What waits to be made durable, in order, and since when.
    new: VecDeque<New>,
    since: Option<Instant>,
    /// What waits to be sent, in order.
    line: VecDeque<RedemptionId>,
    /// Messages that are not answered yet.
    under_way: usize,
    /// What waits or is under way.
    in_hand: BTreeSet<RedemptionId>,
    /// Failures since the last answer, and until when nothing is sent.
    failures: u32,
    pause_until: Option<Instant>,
    /// The issuer's log as it was verified last.
    log: Option<Newest>,
    /// What else was cosigned or verified, until the log is shown to continue that too.
    earlier: Vec<Newest>,
    /// Intents whose halves were not believed.
    doubts: Doubts,
}

impl State {
    /// Until when what is new gathers; `None` where it is to be begun now.
    fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let is_idle = self.under_way == 0 && self.line.is_empty();
        if is_idle || self.new.len() >= limits::MESSAGE_GATHERS {
            return None;
        }
        let until = self.since? + Duration::from_millis(limits::MESSAGE_GATHERS_MS);
        (until > now).then_some(until)
    }

    fn take_new(&mut self) -> Vec<New> {
        let count = self.new.len().min(limits::REQUESTS_PER_MESSAGE_MAX);
        let taken = self.new.drain(..count).collect();
        self.since = (!self.new.is_empty()).then(Instant::now);
        taken
    }

    fn take_line(&mut self) -> Vec<RedemptionId> {
        let count = self.line.len().min(limits::REQUESTS_PER_MESSAGE_MAX);
        self.under_way += 1;
        self.line.drain(..count).collect()
    }

    /// A pause that has grown long is cut short for a till that waits.
    fn cut_pause(&mut self) -> bool {
        let soon = Instant::now() + Duration::from_secs(limits::TILL_PAUSE_SECONDS_MAX);
        let is_cut = self.pause_until.is_some_and(|until| until > soon);
        if is_cut {
            self.pause_until = Some(soon);
        }
        is_cut
    }
}

/// Why a message brought no end of its requests.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("{0} is no member of the federation any more")]
    NotAMember(String),
    #[error("its answer is refused: {0}")]
    Message(#[from] message::MessageError),
    #[error("its answer is refused: {0}")]
    Answer(#[from] answers::AnswerError),
    #[error("its answer answers another message")]
    OtherMessage,
    #[error("its answer is not of the form: {0}")]
    Form(#[from] crate::encoding::cbor::GateError),
    #[error(transparent)]
    Node(#[from] crate::node::NodeError),
}

impl Failure {
    fn word(&self) -> &'static str {
        match self {
            Self::Peer(error) => error.word(),
            Self::NotAMember(_) => "not_a_member",
            Self::Message(error) => error.reason(),
            Self::Answer(_) => "answer_not_believed",
            Self::OtherMessage => "other_message",
            Self::Form(_) => "malformed",
            Self::Node(_) => "node_failed",
        }
    }
}

impl Desk {
    /// Opens the line; it is worked at until the redeemer is gone.
    pub fn open(redeemer: &Arc<Redeemer>, issuer: &str) -> Arc<Self> {
        let desk = Arc::new(Self {
            issuer: issuer.to_owned(),
            state: Mutex::default(),
            news: Notify::new(),
            work: Notify::new(),
        });
        let (line, weak) = (Arc::clone(&desk), Arc::downgrade(redeemer));
        redeemer.runtime.spawn(async move { line.work(weak).await });
        let (line, weak) = (Arc::clone(&desk), Arc::downgrade(redeemer));
        redeemer.runtime.spawn(async move { line.begin_all(weak).await });
        desk
    }

    /// Begins an intent and puts its request in line; `done` is told what became of it.
    pub fn begin(&self, intent: PreparedIntent, done: oneshot::Sender<Told>) {
        let mut state = self.state();
        if state.new.len() >= limits::INTENTS_NEW_MAX {
            let _ = done.send(Told::Failed(NodeError::Busy));
            return;
        }
        state.new.push_back(New { intent, done });
        state.since.get_or_insert_with(Instant::now);
        let is_cut = state.cut_pause();
        // Between the first and the last that it gathers nothing changes for it.
        let is_news = state.new.len() == 1 || state.new.len() == limits::MESSAGE_GATHERS;
        drop(state);
        if is_news {
            self.news.notify_one();
        }
        if is_cut {
            self.work.notify_one();
        }
    }

    async fn begin_all(self: Arc<Self>, redeemer: Weak<Redeemer>) {
        loop {
            let new = self.next_new().await;
            let Some(redeemer) = redeemer.upgrade() else {
                return;
            };
            let ids = begin_together(&redeemer, new).await;
            self.put(ids);
        }
    }

    /// Waits until something is to be begun, and takes it.
    async fn next_new(&self) -> Vec<New> {
        loop {
            let until = {
                let mut state = self.state();
                match state.gathers_until(Instant::now()) {
                    _ if state.new.is_empty() => None,
                    None => return state.take_new(),
                    until => until,
                }
            };
            wait(&self.news, until).await;
        }
    }

    /// Puts requests in line, unless they are in hand already, or their last half was not
    /// believed a short while ago.
    pub fn put(&self, ids: impl IntoIterator<Item = RedemptionId>) {
        let mut state = self.state();
        for id in ids {
            if state.doubts.is_due(id, Instant::now()) && state.in_hand.insert(id) {
                state.line.push_back(id);
            }
        }
        drop(state);
        self.work.notify_one();
    }

    /// The same for a till that waits: a pause that has grown long is cut short.
    pub fn put_for_till(&self, id: RedemptionId) {
        let mut state = self.state();
        state.cut_pause();
        state.doubts.hurry(id, Instant::now());
        drop(state);
        self.put([id]);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(self: Arc<Self>, redeemer: Weak<Redeemer>) {
        loop {
            let ids = self.next_batch().await;
            let Some(redeemer) = redeemer.upgrade() else {
                return;
            };
            let under_way = UnderWay(Arc::clone(&self));
            tokio::spawn(async move { under_way.0.send(&redeemer, ids).await });
        }
    }

    /// Waits until something may be sent, and takes it.
    async fn next_batch(&self) -> Vec<RedemptionId> {
        loop {
            let until = {
                let mut state = self.state();
                let is_full = state.under_way >= limits::ISSUER_MESSAGES_UNDER_WAY_MAX;
                match state.pause_until.filter(|until| *until > Instant::now()) {
                    _ if is_full || state.line.is_empty() => None,
                    None => return state.take_line(),
                    until => until,
                }
            };
            wait(&self.work, until).await;
        }
    }

    async fn send(&self, redeemer: &Arc<Redeemer>, ids: Vec<RedemptionId>) {
        let mut open: Vec<Arc<OpenIntent>> = Vec::with_capacity(ids.len());
        for id in ids {
            match redeemer.node.open_intent(id) {
                Some(intent) => open.push(intent),
                None => {
                    self.let_go(&[id]);
                    self.settle(redeemer, &[id]);
                    redeemer.tell(id, None);
                }
            }
        }
        if open.is_empty() {
            return;
        }
        let timer = redeemer.metrics.answer_seconds.start_timer();
        let outcome = self.ask(redeemer, &open).await;
        let all: Vec<RedemptionId> = open.iter().map(|intent| intent.intent.id).collect();
        let word = match &outcome {
            Ok(()) => {
                timer.observe_duration();
                let mut state = self.state();
                state.failures = 0;
                state.pause_until = None;
                "answered"
            }
            Err(failure) => {
                timer.stop_and_discard();
                let word = failure.word();
                redeemer.metrics.messages_total.with_label_values(&[word]).inc();
                if self.is_mended(redeemer, failure).await {
                    return self.state().line.extend(all);
                }
                self.pause(redeemer, failure);
                return self.end(redeemer, &all);
            }
        };
        redeemer.metrics.messages_total.with_label_values(&[word]).inc();
        self.end(redeemer, &all);
    }

    /// Lets go of these, and tells whoever waits for them.
    fn end(&self, redeemer: &Redeemer, all: &[RedemptionId]) {
        self.let_go(all);
        // What has not ended stands in line again with the next round.
        for id in all {
            redeemer.tell(*id, None);
        }
    }

    fn let_go(&self, ids: &[RedemptionId]) {
        let mut state = self.state();
        for id in ids {
            state.in_hand.remove(id);
        }
    }

    /// Whether the reason of a failure is gone: an older roster, once it has caught up.
    async fn is_mended(&self, redeemer: &Redeemer, failure: &Failure) -> bool {
        let is_behind = matches!(failure, Failure::Peer(error) if error.code() == Some("roster_outdated"));
        let chain = redeemer.rosters.chain();
        let member = chain
            .directory()
            .and_then(|directory| directory.by_did(&self.issuer));
        let (true, Some(member)) = (is_behind, member) else {
            return false;
        };
        let reached = catch_up(&redeemer.peers, &redeemer.rosters, member).await;
        reached.is_ok_and(|version| version > chain.version())
    }

    fn pause(&self, redeemer: &Redeemer, failure: &Failure) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let most = Duration::from_secs(limits::ISSUER_PAUSE_SECONDS_MAX);
        let doubled = FIRST_PAUSE.saturating_mul(1 << state.failures.min(10).saturating_sub(1));
        // Between half and whole, so that those whom one failure held up do not all
        // come back at once.
        let share = u32::from(redeemer.entropy.bytes::<1>()[0]) + 256;
        let pause = doubled.min(most) * share / 512;
        state.pause_until = Some(Instant::now() + pause);
        let failures = state.failures;
        drop(state);
        match failure {
            Failure::Answer(_) => {
                tracing::error!(issuer = self.issuer, %failure, "an issuer is not believed")
            }
            _ if failures == 1 => tracing::warn!(issuer = self.issuer, %failure, "an issuer did not answer"),
            _ => tracing::debug!(issuer = self.issuer, %failure, failures, "an issuer did not answer"),
        }
    }

    async fn ask(&self, redeemer: &Arc<Redeemer>, open: &[Arc<OpenIntent>]) -> Result<(), Failure> {
        let chain = redeemer.rosters.chain();
        let not_a_member = || Failure::NotAMember(self.issuer.clone());
        let directory = chain.directory().ok_or_else(not_a_member)?;
        let member = directory
            .by_did(&self.issuer)
            .filter(|member| member.is_active())
            .ok_or_else(not_a_member)?;
        let now = redeemer.node.now();
        let keys = answers::log_keys(directory, member, now);
        let named = self.named(redeemer, member, &keys);
        let own_did = redeemer.own_did();
        let requests: Vec<Vec<u8>> = open.iter().map(|intent| request_of(intent, &own_did)).collect();
        let head = Head {
            sender: own_did,
            audience: self.issuer.clone(),
            time: now,
            id: redeemer.entropy.bytes(),
            roster_version: chain.version(),
        };
        let body = wire::requests_body(named.size, requests.iter().map(Vec::as_slice));
        let message = message::seal(
            redeemer.node.messages_key(),
            MessageName::Redemption,
            &head,
            &body,
        );
        let most = MessageName::RedemptionAnswer.most();
        let bytes = redeemer
            .peers
            .post(&member.base_url, super::PATH, message, most)
            .await?;
        let answer = self.open_answer(redeemer, directory, &head, &bytes)?;
        self.take(redeemer, (directory, member), open, answer, &keys, &named)
            .await
    }

    /// The state of the issuer's log that a request names: the newest one that was
    /// verified here, or cosigned.
    pub(super) fn named(&self, redeemer: &Redeemer, member: &Member, keys: &[VerifierKey]) -> Tree {
        let mut state = self.state();
        // What a key has signed that the roster no longer lists as good binds no other one.
        if let Some(newest) = state.log.as_ref().filter(|newest| keys.contains(&newest.key)) {
            return newest.tree;
        }
        let origin = origin_hash(member);
        let cosigned = redeemer.node.witnessed(&origin);
        let verified = keys.iter().filter_map(|key| {
            let verified = redeemer.node.verified(&origin, key.key_id());
            verified.unwrap_or_else(|error| {
                tracing::error!(%error, "what was verified of an issuer's log cannot be read");
                None
            })
        });
        let newest = |note: Arc<str>| {
            let (tree, key) = answers::tree_of(&note, keys)?;
            let link = None;
            Some(Newest {
                tree,
                key,
                note,
                link,
            })
        };
        let held = cosigned.into_iter().chain(verified.map(Arc::from));
        let mut held: Vec<Newest> = held.filter_map(newest).collect();
        held.sort_by_key(|held| held.tree.size);
        held.dedup_by(|one, other| one.tree == other.tree);
        state.log = held.pop();
        state.earlier = held;
        state.log.as_ref().map_or_else(Tree::empty, |held| held.tree)
    }

    fn open_answer(
        &self,
        redeemer: &Redeemer,
        directory: &Directory,
        asked: &Head,
        bytes: &[u8],
    ) -> Result<Answer, Failure> {
        let now = redeemer.node.now();
        let name = MessageName::RedemptionAnswer;
        let (head, body) = message::open(bytes, name, directory, &asked.sender, now)?;
        if head.id != asked.id || head.sender != self.issuer {
            return Err(Failure::OtherMessage);
        }
        Ok(Answer::decode(&body)?)
    }

    /// Verifies what came, and makes each end durable.
    async fn take(
        &self,
        redeemer: &Arc<Redeemer>,
        (directory, member): (&Directory, &Member),
        open: &[Arc<OpenIntent>],
        answer: Answer,
        keys: &[VerifierKey],
        named: &Tree,
    ) -> Result<(), Failure> {
        let Answer { outcomes, proof } = answer;
        let log = match proof {
            Some(Proof { log, link, receipts }) => {
                let log = self.log_of(redeemer, member, (&log, link), keys, named).await?;
                Some((log, receipts))
            }
            None => None,
        };
        let (own_did, now) = (redeemer.own_did(), redeemer.node.now());
        let entries = outcomes.iter().filter_map(|(_, outcome)| outcome.entry());
        let proven = match &log {
            Some((log, receipts)) => {
                answers::prove_entries(entries, receipts, log).map(|proven| (proven, log))
            }
            None => Err(AnswerError::NoCheckpoint),
        };
        let mut shown = 0;
        let mut endings = Vec::with_capacity(outcomes.len());
        let mut ended = Vec::with_capacity(outcomes.len());
        for (id, outcome) in &outcomes {
            let id = *id;
            let nth = shown;
            shown += usize::from(outcome.entry().is_some());
            let Some(intent) = open.iter().find(|intent| intent.intent.id == id) else {
                continue;
            };
            let proven = || match &proven {
                Ok((proven, log)) => Ok((&proven[nth], *log)),
                Err(error) => Err(error.clone()),
            };
            let believed = match outcome {
                Outcome::Half { .. } => proven().and_then(|(proven, log)| {
                    let campaign = redeemer.known_campaign(directory, member, intent.intent.campaign, now);
                    let known = Known {
                        own_did: &own_did,
                        terms: campaign.as_ref().map(|known| &known.campaign.terms),
                        // Only of a stored value does it say what is left.
                        coupon_amount: campaign
                            .as_ref()
                            .filter(|known| known.campaign.terms.is_stored_value())
                            .and_then(|_| answers::coupon_amount(&intent.request)),
                    };
                    let half = answers::verify_half(intent, &known, proven)?;
                    let proof = proven.to_keep(log);
                    Ok(Ending::Half { half, proof })
                }),
                // Only who asked for that is told so.
                Outcome::Cancelled { .. } if wants_cancel(intent) => proven().and_then(|(proven, log)| {
                    let (entry, hash) = answers::verify_cancelled(intent, &own_did, proven)?;
                    let proof = proven.to_keep(log);
                    Ok(Ending::Cancelled { entry, hash, proof })
                }),
                Outcome::Refused { code, detail } if !wants_cancel(intent) => Ok(Ending::Refused {
                    code: code.clone(),
                    detail: detail.clone(),
                }),
                Outcome::Cancelled { .. } | Outcome::Refused { .. } | Outcome::NotNow => continue,
            };
            let ending = match believed {
                Ok(ending) => ending,
                Err(error) => {
                    self.not_believed(redeemer, id, &error);
                    continue;
                }
            };
            ended.push((intent, ending_word(&ending)));
            endings.push((id, ending));
        }
        if endings.is_empty() {
            return Ok(());
        }
        let ids: Vec<RedemptionId> = endings.iter().map(|(id, _)| *id).collect();
        let verified = self.verified(member);
        let recorded = redeemer.node.end_intents(endings, verified).await?;
        for (recorded, (intent, word)) in recorded.into_iter().zip(ended) {
            match recorded {
                Ok(recorded) => {
                    redeemer.metrics.outcomes_total.with_label_values(&[word]).inc();
                    let view = IntentView::ended(intent, &recorded).map(Box::new);
                    redeemer.tell(intent.intent.id, view);
                }
                Err(error) => {
                    tracing::error!(issuer = self.issuer, %error, "an issuer's answer cannot be recorded")
                }
            }
        }
        self.settle(redeemer, &ids);
        Ok(())
    }

    /// The newest checkpoint of the issuer's log, to be kept.
    fn verified(&self, member: &Member) -> Option<VerifiedCheckpoint> {
        let state = self.state();
        let newest = state.log.as_ref()?;
        Some(VerifiedCheckpoint {
            origin_hash: origin_hash(member),
            key_id: newest.key.key_id(),
            size: newest.tree.size,
            note: newest.note.as_ref().to_owned(),
        })
    }

    /// Forgets doubts about intents that have ended.
    fn settle(&self, redeemer: &Redeemer, ended: &[RedemptionId]) {
        let mut state = self.state();
        let settled = ended.iter().filter(|id| state.doubts.settle(**id)).count();
        drop(state);
        redeemer
            .metrics
            .doubted
            .sub(i64::try_from(settled).unwrap_or_default());
    }

    /// Verifies the log of an answer, with its link if it has one, and tells those who
    /// watch it.
    pub(super) async fn log_of(
        &self,
        redeemer: &Redeemer,
        member: &Member,
        (log, link): (&LogState, Option<Link>),
        keys: &[VerifierKey],
        named: &Tree,
    ) -> Result<VerifiedLog, Failure> {
        let verified = match answers::verify_log(log, keys, named) {
            Ok(verified) => self
                .continue_held(redeemer, member, named, (&verified, link))
                .await
                .map(|()| verified),
            Err(error) => Err(error.into()),
        };
        match &verified {
            Ok(_) => redeemer.knowledge.saw(&self.issuer, &log.checkpoint),
            // Two histories, if the log has signed this one.
            Err(Failure::Answer(_)) => redeemer.knowledge.saw_other(&log.checkpoint),
            Err(_) => {}
        }
        verified
    }

    fn not_believed(&self, redeemer: &Redeemer, id: RedemptionId, error: &answers::AnswerError) {
        let is_new = self.state().doubts.add(id, Instant::now());
        if is_new {
            redeemer.metrics.doubted.inc();
            tracing::error!(
                issuer = self.issuer,
                redemption = %id,
                %error,
                "an issuer's answer about a redemption is not believed: the issuer is asked again less and less often; see docs/partners.md"
            );
        } else {
            tracing::debug!(issuer = self.issuer, redemption = %id, %error, "an issuer's answer about a redemption is not believed");
        }
        let outcomes = &redeemer.metrics.outcomes_total;
        outcomes.with_label_values(&["half_not_believed"]).inc();
    }
}

fn origin_hash(member: &Member) -> [u8; 32] {
    Sha256::digest(member.log_origin()).into()
}

/// Makes intents durable, and gives the identities of those that are so by this.
async fn begin_together(redeemer: &Redeemer, new: Vec<New>) -> Vec<RedemptionId> {
    let (intents, waiting): (Vec<_>, Vec<_>) = new
        .into_iter()
        .map(|New { intent, done }| {
            let id = intent.id();
            (intent, (id, done))
        })
        .unzip();
    let begun = match redeemer.node.begin_intents(intents).await {
        Ok(begun) => begun,
        Err(error) => {
            tracing::error!(%error, "redemptions at partners cannot be begun");
            for (_, done) in waiting {
                let told = match &error {
                    NodeError::Busy => NodeError::Busy,
                    other => NodeError::Stopped(other.to_string()),
                };
                let _ = done.send(Told::Failed(told));
            }
            return Vec::new();
        }
    };
    let mut ids = Vec::with_capacity(begun.len());
    for (begun, (id, done)) in begun.into_iter().zip(waiting) {
        match begun {
            Ok(first) if first == id => {
                redeemer.wait_for(id, done);
                ids.push(id);
            }
            Ok(first) => {
                let _ = done.send(Told::Before(first));
            }
            Err(error) => {
                let _ = done.send(Told::Failed(error));
            }
        }
    }
    ids
}

/// Waits for `notify`, no longer than `until`.
async fn wait(notify: &Notify, until: Option<Instant>) {
    match until {
        Some(until) => {
            let _ = tokio::time::timeout_at(until, notify.notified()).await;
        }
        None => notify.notified().await,
    }
}

/// A message that is under way.
struct UnderWay(Arc<Desk>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.work.notify_one();
        self.0.news.notify_one();
    }
}

/// What the issuer is sent: the request as it was made durable, or that it be
/// cancelled. One that was lost with an earlier store can only be cancelled.
fn request_of(open: &OpenIntent, own_did: &str) -> Vec<u8> {
    if wants_cancel(open) {
        let cancel = Request {
            redeemer: own_did.to_owned(),
            issuer: open.intent.issuer.clone(),
            id: open.intent.id,
            wanted: Wanted::Cancel,
        };
        return cancel.encode();
    }
    open.request.to_vec()
}

fn wants_cancel(open: &OpenIntent) -> bool {
    open.is_cancelling || open.request.is_empty()
}

fn ending_word(ending: &Ending) -> &'static str {
    match ending {
        Ending::Half { .. } => "made",
        Ending::Refused { .. } => "refused",
        Ending::Cancelled { .. } => "cancelled",
    }
}
