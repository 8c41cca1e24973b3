//! Gossip in a node: rounds over HTTP, the node's own items, and what has come made
//! durable before it counts. What is decided is decided in [`super::gossip`].

mod evidence;
mod knowledge;
mod metrics;
mod own;
mod unread;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use prometheus::Registry;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

pub use self::evidence::{HeldEvidence, SomeEvidence, WhichEvidence};
use self::metrics::Metrics;
use self::own::OwnFork;
use self::unread::Unread;
use super::catch_up::catch_up;
use super::gossip::{
    CouponStatus, Effects, Gossip, GossipError, Identity, Kind, KnownCampaign, KnownFork, Sending, View,
};
use super::message::MessageName;
use super::mirrored::Lost;
use super::peers::Peers;
use super::roster::{Directory, KnownAs, Role, Standing};
use super::rosters::Rosters;
use crate::node::{GossipedToKeep, Node, NodeError};
use crate::primitives::{CampaignId, Entropy, UnixSeconds, limits};

/// Where gossip is posted.
pub const PATH: &str = "/federation/gossip";

/// How often own campaigns and lists that grow old are looked for.
const OWN_EVERY: Duration = Duration::from_secs(30);

/// What a gossiping node is made of.
pub struct GossiperParts {
    /// The node.
    pub node: Node,
    /// The roster that it follows.
    pub rosters: Arc<Rosters>,
    /// How it calls others.
    pub peers: Peers,
    /// Chooses peers, and names messages.
    pub entropy: Arc<dyn Entropy>,
    /// Time from one round to the next.
    pub every: Duration,
    /// Dids of members whose log is convicted of a fork and with whom the node goes on
    /// all the same: its operator has decided so.
    pub forgiven: BTreeSet<String>,
}

/// A node's part in gossip, with its driver.
pub struct Gossiper {
    parts: GossiperParts,
    own: String,
    /// Held while what has come is made durable, so that rows are written in the order
    /// in which items were taken.
    machine: tokio::sync::Mutex<Gossip>,
    view: View,
    outbox: mpsc::Sender<Sending>,
    sending: std::sync::Mutex<Option<mpsc::Receiver<Sending>>>,
    /// The checkpoints of others that were not held against the ones cosigned yet.
    unread: std::sync::Mutex<Unread>,
    seen_more: Notify,
    /// Checkpoints that members have shown elsewhere: they go the way of those that
    /// gossip brings.
    shown: std::sync::Mutex<Shown>,
    /// Since when the newest own checkpoint is shown.
    shown_since: std::sync::Mutex<Option<UnixSeconds>>,
    /// Why this node has stopped: its log is not what it has signed.
    stopped_by: OnceLock<Lost>,
    metrics: Metrics,
}

/// Why a message was not answered.
#[derive(Debug, thiserror::Error)]
pub enum GossiperError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] GossipError),
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl fmt::Debug for Gossiper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossiper")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// Checkpoints that members have shown elsewhere.
#[derive(Default)]
struct Shown {
    /// By did: the newest one, which continues those before it. Looked at in each round.
    newest: BTreeMap<String, String>,
    /// Those that do not. Looked at at once.
    others: Vec<String>,
}

/// What the node itself has told the others of.
#[derive(Default)]
struct Told {
    lists: BTreeMap<u32, UnixSeconds>,
    campaigns: BTreeSet<CampaignId>,
}

impl Gossiper {
    /// Takes up what the store holds; what does not count any more is forgotten with
    /// the first round.
    ///
    /// # Errors
    /// [`NodeError::Store`] when the store cannot be read.
    ///
    /// # Panics
    /// When `registry` has its metrics already.
    pub fn open(parts: GossiperParts, registry: &Registry) -> Result<Arc<Self>, NodeError> {
        let node = &parts.node;
        let own = node.options().origin.did_web();
        let identity = Identity {
            did: own.clone(),
            key: node.messages_key().clone(),
        };
        let mut machine = Gossip::new(identity, Arc::clone(&parts.entropy));
        let view = View::default();
        let (kept, damaged) = node.gossiped()?;
        for (kind, _) in &damaged {
            tracing::warn!(
                kind,
                "an item of another member is damaged in the store, and is fetched anew"
            );
        }
        if let Some(directory) = parts.rosters.chain().directory() {
            machine.follow(Arc::clone(directory), node.now());
            let kept = kept
                .into_iter()
                .filter_map(|(kind, _, bytes)| Some((Kind::from_number(kind.into()).ok()?, bytes)));
            let effects = machine.restore(kept.collect(), node.now());
            view.keep(&effects.kept);
        }
        let (outbox, sending) = mpsc::channel(limits::GOSSIP_OUTBOX_MAX);
        Ok(Arc::new(Self {
            own,
            machine: tokio::sync::Mutex::new(machine),
            view,
            outbox,
            sending: std::sync::Mutex::new(Some(sending)),
            unread: std::sync::Mutex::default(),
            seen_more: Notify::new(),
            shown: std::sync::Mutex::default(),
            shown_since: std::sync::Mutex::default(),
            stopped_by: OnceLock::new(),
            metrics: Metrics::new(registry),
            parts,
        }))
    }

    /// Answers another node's message.
    ///
    /// # Errors
    /// [`GossiperError`].
    pub async fn receive(&self, bytes: &[u8]) -> Result<Vec<u8>, GossiperError> {
        let mut machine = self.machine.lock().await;
        let now = self.parts.node.now();
        match machine.receive(bytes, now) {
            Ok((answer, effects)) => {
                self.apply(&mut machine, effects).await?;
                Ok(answer)
            }
            Err(error) => {
                self.metrics.refused(error.reason());
                Err(error.into())
            }
        }
    }

    /// The campaign with this identity, if gossip has brought it.
    #[must_use]
    pub fn campaign(&self, id: &CampaignId) -> Option<Arc<KnownCampaign>> {
        self.view.campaign(id)
    }

    /// What the lists that gossip has brought say of a coupon.
    #[must_use]
    pub fn status(&self, issuer: &str, list: u32, index: u32, now: UnixSeconds) -> CouponStatus {
        self.view.status(issuer, list, index, now, None)
    }

    /// What convicts the log of the member `did`, if anything does: evidence under a key
    /// that the roster has marked compromised since is the thief's, and convicts nobody.
    #[must_use]
    pub fn fork(&self, did: &str) -> Option<Arc<KnownFork>> {
        if self.parts.forgiven.contains(did) {
            return None;
        }
        let forks = self.view.forks_of(did);
        if forks.is_empty() {
            return None;
        }
        let chain = self.parts.rosters.chain();
        let counts = |fork: &Arc<KnownFork>| {
            chain.directory().is_none_or(|directory| {
                key_counts(directory, did, &fork.evidence.log_key, self.parts.node.now())
            })
        };
        forks.into_iter().find(counts)
    }

    /// Evidence that is held, by the member whom it convicts.
    pub async fn evidence(&self, which: &WhichEvidence) -> SomeEvidence {
        // Under this lock what is held is durable.
        let machine = self.machine.lock().await;
        let Some(directory) = machine.directory() else {
            return SomeEvidence::default();
        };
        let mut some = which.read(machine.held(), directory);
        drop(machine);
        for one in &mut some.shown {
            one.stops_redemptions = one.is_fork() && self.fork(&one.member).is_some();
        }
        some
    }

    /// Works until it is dropped, or the node stops. One call at a time.
    pub async fn run(self: Arc<Self>) {
        let taken = self.sending.lock().expect("no holder of this lock panics").take();
        let Some(mut sending) = taken else { return };
        let told = tokio::sync::Mutex::new(Told::default());
        // Nothing is awaited but all of it at once: any of these may hold the machine while
        // it waits for the disk, and another one wait for the machine.
        let (mut under_way, mut watching) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut working: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut lists = self.parts.node.lists_signed();
        let (mut round, mut own) = (Instant::now(), Instant::now());
        while self.parts.node.stopped().is_none() {
            // In an order that is fixed, so that a simulation runs the same each time; the
            // clock comes first, so that nothing keeps a round from its time.
            tokio::select! {
                biased;
                () = sleep_until(round) => {
                    round = Instant::now() + self.jittered();
                    self.see_newest();
                    working.push(Box::pin(self.round()));
                }
                () = sleep_until(own) => {
                    own = Instant::now() + OWN_EVERY;
                    working.push(Box::pin(self.publish_own(&told)));
                }
                changed = lists.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    working.push(Box::pin(self.publish_lists(&told)));
                }
                () = self.seen_more.notified(), if watching.is_empty() => {
                    watching.push(self.watch_all());
                }
                Some(()) = working.next() => {}
                Some(()) = watching.next() => {}
                Some(()) = under_way.next() => {}
                Some(next) = sending.recv(), if under_way.len() < limits::GOSSIP_SENDS_MAX => {
                    under_way.push(self.send(next));
                }
            }
        }
    }

    /// The newest checkpoints that members have shown are looked at, too.
    fn see_newest(&self) {
        let mut shown = self.shown.lock().expect("no holder of this lock panics");
        let newest = std::mem::take(&mut shown.newest);
        if !newest.is_empty() {
            shown.others.extend(newest.into_values());
            self.seen_more.notify_one();
        }
    }

    /// Holds checkpoints that have come against those cosigned before, one after the
    /// other.
    async fn watch_all(&self) {
        loop {
            let shown = {
                let mut shown = self.shown.lock().expect("no holder of this lock panics");
                std::mem::take(&mut shown.others)
            };
            for note in shown {
                self.watch_shown(&note).await;
            }
            let next = self.unread().next();
            if let Some((did, note)) = next {
                self.watch(&did, &note).await;
                continue;
            }
            let next = self.unread().next_older();
            let Some((did, notes)) = next else { return };
            self.watch_older(&did, &notes).await;
        }
    }

    fn unread(&self) -> std::sync::MutexGuard<'_, Unread> {
        self.unread.lock().expect("no holder of this lock panics")
    }

    /// The time to the next round: a fifth sooner or later, so that nodes do not keep
    /// step.
    fn jittered(&self) -> Duration {
        let [random] = self.parts.entropy.bytes::<1>();
        self.parts.every * (204 + u32::from(random) * 103 / 255) / 255
    }

    async fn round(&self) {
        let mut machine = self.machine.lock().await;
        let now = self.parts.node.now();
        if let Err(error) = self.follow(&mut machine, now).await {
            tracing::error!("gossip is not kept: {error}");
            return;
        }
        self.look_again(&machine);
        let mut effects = self.publish_checkpoint(&mut machine, now);
        let begun = machine.tick(now);
        effects.sends.extend(begun.sends);
        if let Err(error) = self.apply(&mut machine, effects).await {
            tracing::error!("gossip is not kept: {error}");
        }
        self.metrics.show(&machine, &self.view, now);
    }

    /// Goes by the roster that is in force now.
    async fn follow(&self, machine: &mut Gossip, now: UnixSeconds) -> Result<(), NodeError> {
        let chain = self.parts.rosters.chain();
        let Some(directory) = chain.directory() else {
            return Ok(());
        };
        if machine
            .directory()
            .is_some_and(|held| held.hash() == directory.hash())
        {
            return Ok(());
        }
        let is_first = machine.directory().is_none();
        let effects = machine.follow(Arc::clone(directory), now);
        self.apply(machine, effects).await?;
        if is_first {
            let (kept, _) = self.parts.node.gossiped()?;
            let kept = kept
                .into_iter()
                .filter_map(|(kind, _, bytes)| Some((Kind::from_number(kind.into()).ok()?, bytes)));
            let effects = machine.restore(kept.collect(), now);
            self.apply(machine, effects).await?;
        }
        Ok(())
    }

    /// Lists that were signed since they were last told of.
    async fn publish_lists(&self, told: &tokio::sync::Mutex<Told>) {
        let mut told = told.lock().await;
        for (list, version, token) in self.parts.node.signed_lists() {
            if told.lists.get(&list) != Some(&version) && self.publish(Kind::StatusList, &token).await {
                told.lists.insert(list, version);
            }
        }
    }

    /// Own campaigns, and lists of which nobody has asked for a fresh one.
    async fn publish_own(&self, told: &tokio::sync::Mutex<Told>) {
        {
            let mut told = told.lock().await;
            for campaign in self.parts.node.campaigns() {
                if !told.campaigns.contains(&campaign.id)
                    && self.publish(Kind::Campaign, &campaign.credential).await
                {
                    told.campaigns.insert(campaign.id);
                }
            }
        }
        for list in 0.. {
            if self.parts.node.status_list(list).await.is_err() {
                break;
            }
        }
        self.publish_lists(told).await;
    }

    /// Whether an own item was taken.
    async fn publish(&self, kind: Kind, bytes: &[u8]) -> bool {
        let mut machine = self.machine.lock().await;
        let now = self.parts.node.now();
        if machine.directory().is_none() {
            return false;
        }
        let effects = machine.publish(kind, bytes, now);
        let is_taken = effects.refused.is_empty();
        match self.apply(&mut machine, effects).await {
            Ok(()) => is_taken,
            Err(error) => {
                tracing::error!("gossip is not kept: {error}");
                false
            }
        }
    }

    /// Makes durable what is new, lets it count, and sends what follows. Where it shows that
    /// the node's own key has signed two histories, the evidence goes the same way.
    async fn apply(&self, machine: &mut Gossip, effects: Effects) -> Result<(), NodeError> {
        let Some(own) = self.apply_one(machine, effects).await? else {
            return Ok(());
        };
        let effects = machine.publish(Kind::Evidence, &own.evidence, self.parts.node.now());
        let kept = self.apply_one(machine, effects).await;
        // It has stopped by now, unless the roster does not list its key.
        self.stop(own.lost).await;
        kept.map(|_| ())
    }

    /// The same without evidence against the node itself, which is yet to be kept.
    async fn apply_one(&self, machine: &mut Gossip, effects: Effects) -> Result<Option<OwnFork>, NodeError> {
        for error in &effects.refused {
            self.metrics.item_refused(error.reason());
        }
        let keep = GossipedToKeep {
            put: effects
                .kept
                .iter()
                .map(|kept| {
                    let key = &kept.stored.key;
                    (key.kind.number(), key.id(), kept.stored.bytes.to_vec())
                })
                .collect(),
            remove: effects
                .forgotten
                .iter()
                .map(|gone| (gone.key.kind.number(), gone.key.id()))
                .collect(),
        };
        self.parts.node.keep_gossiped(keep).await?;
        self.view.keep(&effects.kept);
        self.view.forget(&effects.forgotten);
        let mut own_fork = None;
        for older in &effects.older {
            if older.key.author == self.own {
                own_fork = own_fork.or(self.take_own(older, false).await);
            } else {
                self.take_older(older);
            }
        }
        for kept in &effects.kept {
            self.metrics.kept(kept.stored.key.kind);
            if kept.stored.key.author == self.own {
                own_fork = own_fork.or(self.take_own(&kept.stored, true).await);
            } else {
                self.take_checkpoint(kept);
            }
            if kept.stored.key.kind == Kind::Evidence {
                tracing::error!(
                    member = kept.stored.key.author,
                    "evidence against a member has come: {:?}",
                    kept.stored.key.name
                );
            }
        }
        if let Some(did) = effects.ask_for_roster {
            self.ask_for_roster(&did);
        }
        let mut sends = effects.sends;
        while let Some(sending) = sends.pop() {
            if let Err(full) = self.outbox.try_send(sending) {
                // Too much is under way: the next rounds will bring it.
                machine.dropped(full.into_inner().exchange);
            }
        }
        Ok(own_fork)
    }

    /// Sends a message, and takes its answer in.
    async fn send(self: &Arc<Self>, sending: Sending) {
        let chain = self.parts.rosters.chain();
        let to = chain
            .directory()
            .and_then(|directory| directory.by_did(&sending.to));
        let Some(base_url) = to.map(|member| member.base_url.clone()) else {
            self.machine.lock().await.dropped(sending.exchange);
            return;
        };
        let Sending { exchange, bytes, to } = sending;
        let most = MessageName::GossipAnswer.most();
        let answer = self.parts.peers.post(&base_url, PATH, bytes, most).await;
        let mut machine = self.machine.lock().await;
        let now = self.parts.node.now();
        let effects = match answer {
            Ok(answer) => match machine.answered(exchange, &answer, now) {
                Ok(effects) => {
                    self.metrics.exchanged("answered");
                    self.metrics.heard(&to, now);
                    effects
                }
                Err(error) => {
                    self.metrics.exchanged("refused");
                    self.metrics.refused(error.reason());
                    machine.failed(exchange, now)
                }
            },
            Err(error) => {
                self.metrics.exchanged(error.word());
                tracing::debug!(peer = to, "gossip has not got through: {error}");
                machine.failed(exchange, now)
            }
        };
        if let Err(error) = self.apply(&mut machine, effects).await {
            tracing::error!("gossip is not kept: {error}");
        }
    }

    /// Catches up with the roster of a member, without anybody waiting for it.
    fn ask_for_roster(&self, did: &str) {
        let chain = self.parts.rosters.chain();
        let member = chain
            .directory()
            .and_then(|directory| directory.by_did(did))
            .cloned();
        let Some(member) = member else { return };
        let (peers, rosters) = (self.parts.peers.clone(), Arc::clone(&self.parts.rosters));
        tokio::spawn(async move {
            if let Err(error) = catch_up(&peers, &rosters, &member).await {
                tracing::warn!(member = member.did(), "its roster was not followed: {error}");
            }
        });
    }
}

/// Whether the log's key, as evidence names it, is one that counts still.
fn key_counts(directory: &Directory, did: &str, log_key: &str, now: UnixSeconds) -> bool {
    let Some(member) = directory.by_did(did) else {
        return true;
    };
    let named = |key: &crate::credential::PublicKey| {
        super::gossip::item::named(member.log_origin(), crate::log::KeyKind::Ed25519, key)
            .is_some_and(|key| key.to_string() == log_key)
    };
    let mut keys = member
        .keys
        .iter()
        .filter(|key| key.role == Role::Log && named(&key.key));
    keys.all(|key| KnownAs { member, key }.standing(now) == Standing::Good)
}
