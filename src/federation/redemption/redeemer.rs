//! The redeemer's side: a till's call becomes an intent, the intent a request, its
//! answer the redeemer half, and the till is told the truth at every moment.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::campaigns::{CampaignError, Campaigns, PartnerCampaign};
use super::desk::Desk;
use super::proving::check_issuer;
use super::signatures::Signatures;
use super::wire::{Request, Wanted, request_digest};
use crate::credential::{Campaign, Coupon, CouponToVerify, Signed, coupon_tag};
use crate::federation::entries::{Asker, Letters};
use crate::federation::peers::Peers;
use crate::federation::roster::{Directory, KnownAs, Member, NotRedeeming, Role};
use crate::federation::rosters::Rosters;
use crate::ledger::{
    Basket, CampaignState, End, Intent, Presented, Quote, Refusal, State, StatusFlags, Wish,
};
use crate::node::{
    Caller, IntentState, IntentView, NewIntent, Node, NodeError, RedemptionRequest, ReversalRequest,
};
use crate::primitives::{
    Amount, CampaignId, CouponName, Entropy, KeyId, Origin, RedemptionId, Tag, UnixSeconds, limits,
};

/// What this node knows of other co-ops' coupons besides what they show themselves.
pub trait Knowledge: Send + Sync + 'static {
    /// The status of the coupon called `name` of the co-op `issuer`.
    fn status(&self, issuer: &str, name: CouponName, now: UnixSeconds) -> Status;
    /// A campaign of the co-op `issuer`, signed by a key of its own.
    fn campaign(&self, issuer: &str, id: &CampaignId) -> Option<Arc<Signed<Campaign>>>;
    /// What convicts the log of the co-op `did`, in a sentence, if something does and
    /// nobody has decided yet.
    fn forked(&self, did: &str) -> Option<String>;
    /// The log of the co-op `did` has shown this node a checkpoint, which continues those
    /// that it showed before.
    fn saw(&self, did: &str, checkpoint: &str);
    /// A checkpoint was shown, signed by a member's log, that does not continue what the
    /// log showed before.
    fn saw_other(&self, checkpoint: &str);
}

/// What the status lists say of a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Valid.
    Valid,
    /// Revoked.
    Revoked,
    /// Suspended.
    Suspended,
    /// Used up.
    UsedUp,
    /// No list that is new enough is held. The issuer knows.
    Undetermined,
}

/// Knows nothing: what the issuer says counts anyway.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKnowledge;

impl Knowledge for NoKnowledge {
    fn status(&self, _issuer: &str, _name: CouponName, _now: UnixSeconds) -> Status {
        Status::Undetermined
    }

    fn campaign(&self, _issuer: &str, _id: &CampaignId) -> Option<Arc<Signed<Campaign>>> {
        None
    }

    fn forked(&self, _did: &str) -> Option<String> {
        None
    }

    fn saw(&self, _did: &str, _checkpoint: &str) {}

    fn saw_other(&self, _checkpoint: &str) {}
}

/// Why a till's call did not end with a redemption.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// Refused by this node, or it failed; nothing has changed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// This node may not redeem for others now.
    #[error("this node redeems no other co-op's coupons now: {0}")]
    NotRedeeming(#[from] NotRedeeming),
    /// The campaign's terms could not be had, so nothing was begun.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// The issuer was removed, or its key no longer counts for itself.
    #[error("{0}")]
    IssuerNotGood(String),
    /// The issuer was not reached to prove a coupon of a key that was stolen. Nothing
    /// was begun.
    #[error(
        "the key that signed this coupon was stolen, so its co-op {issuer} has to prove that it was issued before; it \
         cannot be asked now: {why}"
    )]
    IssuerNotAsked {
        /// `did:web` of the issuer.
        issuer: String,
        /// Why.
        why: String,
    },
    /// The issuer's log is convicted of a fork.
    #[error(
        "the log of {issuer} is convicted of a fork, so its halves are refused until a person decides: {why}"
    )]
    IssuerForked {
        /// `did:web` of the issuer.
        issuer: String,
        /// What convicts it.
        why: String,
    },
    /// What became of it is not known yet; it is asked for again in the background.
    #[error(
        "the issuing co-op {issuer} has not answered yet: whether the coupon was redeemed is not known. It is asked \
         again until it is known"
    )]
    Unknown {
        /// The redemption's identity.
        id: RedemptionId,
        /// `did:web` of the issuer.
        issuer: String,
    },
    /// The issuer refused.
    #[error("{detail}")]
    Refused {
        /// The redemption's identity.
        id: RedemptionId,
        /// Its code.
        code: String,
        /// Its words.
        detail: String,
    },
    /// It was cancelled.
    #[error("this redemption was cancelled before it was made, and has no effect")]
    Cancelled {
        /// The redemption's identity.
        id: RedemptionId,
    },
    /// It was made before it could be cancelled.
    #[error("this redemption was made before it could be cancelled: reverse it")]
    Made {
        /// The redemption's identity.
        id: RedemptionId,
    },
}

impl From<Refusal> for RedeemError {
    fn from(refusal: Refusal) -> Self {
        Self::Node(refusal.into())
    }
}

/// A partner's coupon, looked at without asking anybody.
pub(super) struct LookedAt {
    pub issuer: String,
    pub name: CouponName,
    pub tag: Tag,
    pub kid: KeyId,
    pub coupon: Coupon,
    /// Of a key that was stolen: entries of the issuer's log whose batches count.
    pub frozen: Option<u64>,
}

/// What whoever waits for an intent is told.
pub(super) enum Told {
    /// It has come to this; without that, the node is to be asked.
    Look(Option<Box<IntentView>>),
    /// It is the one of this identity that was begun before.
    Before(RedemptionId),
    /// It was not begun.
    Failed(NodeError),
}

/// What is counted.
#[derive(Clone, Debug)]
pub(super) struct RedeemerMetrics {
    pub outcomes_total: IntCounterVec,
    pub messages_total: IntCounterVec,
    pub answer_seconds: Histogram,
    pub open: IntGauge,
    pub doubted: IntGauge,
}

/// What a redeemer works with.
pub struct RedeemerParts {
    /// The node.
    pub node: Node,
    /// Who is a member.
    pub rosters: Arc<Rosters>,
    /// How they are called.
    pub peers: Peers,
    /// What is known of their coupons and logs.
    pub knowledge: Arc<dyn Knowledge>,
    /// Where identities come from.
    pub entropy: Arc<dyn Entropy>,
    /// How long a till is kept waiting at most.
    pub waits: Duration,
}

/// Redeems coupons of other co-ops.
pub struct Redeemer {
    pub(super) node: Node,
    pub(super) rosters: Arc<Rosters>,
    pub(super) peers: Peers,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) asker: Asker,
    pub(super) campaigns: Campaigns,
    pub(super) knowledge: Arc<dyn Knowledge>,
    pub(super) metrics: RedeemerMetrics,
    desks: Mutex<HashMap<String, Arc<Desk>>>,
    waiting: Mutex<HashMap<RedemptionId, Vec<oneshot::Sender<Told>>>>,
    signatures: Signatures,
    pub(super) waits: Duration,
    /// Where issuers are asked: callers come and go.
    pub(super) runtime: Handle,
}

impl fmt::Debug for Redeemer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeemer")
            .field("waits", &self.waits)
            .finish_non_exhaustive()
    }
}

impl Redeemer {
    /// The redeemer's side of a node. Issuers are asked in the runtime that this is
    /// called in.
    ///
    /// # Panics
    /// When `registry` has its metrics already, and outside a runtime.
    #[must_use]
    pub fn new(parts: RedeemerParts, registry: &Registry) -> Arc<Self> {
        let letters = Letters {
            node: parts.node.clone(),
            rosters: Arc::clone(&parts.rosters),
            entropy: Arc::clone(&parts.entropy),
        };
        Arc::new(Self {
            asker: Asker {
                letters,
                peers: parts.peers.clone(),
            },
            node: parts.node,
            rosters: parts.rosters,
            peers: parts.peers,
            entropy: parts.entropy,
            campaigns: Campaigns::default(),
            knowledge: parts.knowledge,
            metrics: RedeemerMetrics::new(registry),
            desks: Mutex::default(),
            waiting: Mutex::default(),
            signatures: Signatures::default(),
            waits: parts.waits,
            runtime: Handle::current(),
        })
    }

    /// Redeems a partner's coupon.
    ///
    /// # Errors
    /// [`RedeemError`]; of [`RedeemError::Unknown`] only does something follow.
    pub async fn redeem(
        self: &Arc<Self>,
        caller: &Caller,
        request: RedemptionRequest,
    ) -> Result<IntentView, RedeemError> {
        if let Some(id) = self.node.begun_intent(caller)? {
            return self.outcome(id).await;
        }
        let now = self.node.now();
        let chain = self.rosters.chain();
        chain.may_redeem(now)?;
        let directory = chain.directory().ok_or(Refusal::CouponForeign)?;
        let looked = self.look_at(directory, &request.coupon, now).await?;
        self.check_fork(&looked.issuer)?;
        let member = directory.by_did(&looked.issuer).ok_or(Refusal::CouponForeign)?;
        self.prove_issued(directory, member, &looked).await?;
        let campaign = self
            .campaign(directory, member, looked.coupon.campaign, now)
            .await?;
        let amount = self.benefit(&looked, &campaign, &request.basket, request.amount, now)?;
        let id = RedemptionId(self.entropy.bytes());
        let not_after = now.plus(limits::REQUEST_SECONDS);
        let asked = Request {
            redeemer: self.own_did(),
            issuer: looked.issuer.clone(),
            id,
            wanted: Wanted::Redeem {
                not_after,
                reference: self
                    .node
                    .own_reference(&request.register, &request.till_reference),
                coupon: request.coupon,
                basket: request.basket,
                amount,
            },
        };
        let bytes = asked.encode();
        let intent = Intent {
            id,
            tag: looked.tag,
            name: looked.name,
            issuer: looked.issuer,
            campaign: looked.coupon.campaign,
            currency: campaign.campaign.terms.currency,
            register: request.register,
            wish: Wish::Redeem {
                basket_total: request.basket.total,
                amount,
            },
            not_after,
            request: request_digest(&bytes),
        };
        self.begin(caller, intent, bytes, request.till_reference).await
    }

    /// Reverses a redemption that was made at a partner.
    ///
    /// # Errors
    /// As [`redeem`](Self::redeem).
    pub async fn reverse(
        self: &Arc<Self>,
        caller: &Caller,
        request: ReversalRequest,
    ) -> Result<IntentView, RedeemError> {
        if let Some(id) = self.node.begun_intent(caller)? {
            return self.outcome(id).await;
        }
        let view = self.node.intent(request.redemption)?;
        let IntentState::Made { entry, .. } = view.state else {
            return Err(Refusal::RedemptionUnknown.into());
        };
        let now = self.node.now();
        self.rosters.chain().may_redeem(now)?;
        self.check_fork(&view.intent.issuer)?;
        let id = RedemptionId(self.entropy.bytes());
        let not_after = now.plus(limits::REQUEST_SECONDS);
        let first = view.intent;
        let asked = Request {
            redeemer: self.own_did(),
            issuer: first.issuer.clone(),
            id,
            wanted: Wanted::Reverse {
                not_after,
                reference: self.node.own_reference(&first.register, &request.till_reference),
                redemption: request.redemption,
                amount: request.amount,
                give_back: request.give_back,
            },
        };
        let bytes = asked.encode();
        let intent = Intent {
            id,
            wish: Wish::Reverse {
                redemption: request.redemption,
                redemption_entry: entry.index,
                amount: request.amount,
                give_back: request.give_back,
            },
            not_after,
            request: request_digest(&bytes),
            ..first
        };
        self.begin(caller, intent, bytes, request.till_reference).await
    }

    /// The terms of a campaign, from memory, from gossip, or else from their author.
    async fn campaign(
        &self,
        directory: &Directory,
        member: &Member,
        id: CampaignId,
        now: UnixSeconds,
    ) -> Result<Arc<PartnerCampaign>, CampaignError> {
        if let Some(known) = self.known_campaign(directory, member, id, now) {
            return Ok(known);
        }
        self.campaigns
            .fetch(&self.peers, directory, member, id, now)
            .await
    }

    /// The same without asking anybody.
    pub(super) fn known_campaign(
        &self,
        directory: &Directory,
        member: &Member,
        id: CampaignId,
        now: UnixSeconds,
    ) -> Option<Arc<PartnerCampaign>> {
        self.campaigns.known(&id).or_else(|| {
            let signed = self.knowledge.campaign(&member.did(), &id)?;
            self.campaigns.take(directory, member, id, &signed, now).ok()
        })
    }

    /// Says what redeeming a partner's coupon would give; what is left of it is not known
    /// here. Its issuer is asked for nothing but what is not known of its campaign, and of
    /// a coupon whose key was stolen.
    ///
    /// # Errors
    /// As [`redeem`](Self::redeem).
    pub async fn validate(
        self: &Arc<Self>,
        coupon: &[u8],
        basket: Basket,
        amount: Option<Amount>,
    ) -> Result<Quote, RedeemError> {
        let now = self.node.now();
        let chain = self.rosters.chain();
        chain.may_redeem(now)?;
        let directory = chain.directory().ok_or(Refusal::CouponForeign)?;
        let looked = self.look_at(directory, coupon, now).await?;
        self.check_fork(&looked.issuer)?;
        let member = directory.by_did(&looked.issuer).ok_or(Refusal::CouponForeign)?;
        self.prove_issued(directory, member, &looked).await?;
        let campaign = self
            .campaign(directory, member, looked.coupon.campaign, now)
            .await?;
        let quote = self.quote(&looked, &campaign, &basket, amount, now)?;
        Ok(Quote {
            amount: quote.amount,
            remaining_uses: None,
            remaining_value: None,
        })
    }

    /// Makes sure that a redemption whose outcome is not known has no effect.
    ///
    /// # Errors
    /// [`RedeemError::Unknown`] while the issuer does not answer,
    /// [`RedeemError::Made`] where it was too late.
    pub async fn cancel(
        self: &Arc<Self>,
        caller: &Caller,
        id: RedemptionId,
    ) -> Result<IntentView, RedeemError> {
        let view = self.node.intent(id)?;
        if let IntentState::Open { is_cancelling: false } = view.state {
            match self.node.wish_cancel(caller, id).await {
                // It ended in this moment: what it came to is what counts.
                Ok(()) | Err(NodeError::Refused(Refusal::NoIntent)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match self.outcome(id).await {
            Err(RedeemError::Cancelled { .. }) => Ok(self.node.intent(id)?),
            Ok(_) => Err(RedeemError::Made { id }),
            Err(error) => Err(error),
        }
    }

    /// What became of a redemption, now.
    ///
    /// # Errors
    /// As [`redeem`](Self::redeem).
    pub fn state(&self, id: RedemptionId) -> Result<IntentView, RedeemError> {
        told(self.node.intent(id)?)
    }

    /// The base URL of the member whose status list `uri` names, if one does.
    #[must_use]
    pub fn member_of(&self, uri: &str) -> Option<Origin> {
        let chain = self.rosters.chain();
        let (origin, _) = uri.rsplit_once("/s/")?;
        let origin = Origin::parse(origin).ok()?;
        let member = chain.directory()?.by_base_url(&origin)?;
        Some(member.base_url.clone())
    }

    /// Asks all issuers again whose answers are lacking; ends when the node does.
    pub async fn run(self: Arc<Self>) {
        loop {
            let open = self.node.open_intents();
            self.metrics
                .open
                .set(i64::try_from(open.len()).unwrap_or(i64::MAX));
            for intent in open {
                self.desk(&intent.intent.issuer).put([intent.intent.id]);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        intent: Intent,
        request: Vec<u8>,
        till_reference: String,
    ) -> Result<IntentView, RedeemError> {
        let (id, desk) = (intent.id, self.desk(&intent.issuer));
        let new = NewIntent {
            intent,
            request,
            till_reference,
        };
        let (done, ended) = oneshot::channel();
        desk.begin(self.node.prepare_intent(caller, new), done);
        match tokio::time::timeout(self.waits, ended).await {
            Ok(Ok(Told::Failed(error))) => Err(error.into()),
            Ok(Ok(Told::Before(first))) => self.outcome(first).await,
            Ok(Ok(Told::Look(view))) => self.outcome_of(id, view),
            Ok(Err(_)) | Err(_) => match self.outcome_of(id, None) {
                // Not even durable yet, if it ever will be: its key tells.
                Err(RedeemError::Node(NodeError::NotFound(_))) => Err(NodeError::Busy.into()),
                outcome => outcome,
            },
        }
    }

    /// Waits for the end of an intent, for a while.
    async fn outcome(self: &Arc<Self>, id: RedemptionId) -> Result<IntentView, RedeemError> {
        let (done, ended) = oneshot::channel();
        self.wait_for(id, done);
        let mut view = None;
        if let Some(open) = self.node.open_intent(id) {
            self.desk(&open.intent.issuer).put_for_till(id);
            // Told at its end, or when the issuer could not be reached at all.
            let woken = tokio::time::timeout(self.waits, ended).await;
            view = match woken {
                Ok(Ok(Told::Look(view))) => view,
                _ => None,
            };
        }
        self.outcome_of(id, view)
    }

    /// The outcome that a till is told, which waits no longer.
    fn outcome_of(&self, id: RedemptionId, view: Option<Box<IntentView>>) -> Result<IntentView, RedeemError> {
        self.forget_waiting(id);
        let outcome = view.map_or_else(|| self.state(id), |view| told(*view));
        if let Err(RedeemError::Unknown { .. }) = &outcome {
            self.metrics.outcomes_total.with_label_values(&["unknown"]).inc();
        }
        outcome
    }

    /// `done` is told of the end of an intent.
    pub(super) fn wait_for(&self, id: RedemptionId, done: oneshot::Sender<Told>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(id).or_default().push(done);
    }

    /// Takes out those that nobody waits for any more.
    fn forget_waiting(&self, id: RedemptionId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = waiting.get_mut(&id) {
            all.retain(|done| !done.is_closed());
            if all.is_empty() {
                waiting.remove(&id);
            }
        }
    }

    /// Tells whoever waits for `id` what became of it, or without that to look again.
    pub(super) fn tell(&self, id: RedemptionId, view: Option<Box<IntentView>>) {
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.remove(&id)
        };
        for done in waiting.into_iter().flatten() {
            let _ = done.send(Told::Look(view.clone()));
        }
    }

    pub(super) fn own_did(&self) -> String {
        self.node.options().origin.did_web()
    }

    pub(super) fn desk(self: &Arc<Self>, issuer: &str) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        match desks.get(issuer) {
            Some(desk) => Arc::clone(desk),
            None => {
                let desk = Desk::open(self, issuer);
                desks.insert(issuer.to_owned(), Arc::clone(&desk));
                desk
            }
        }
    }

    fn check_fork(&self, issuer: &str) -> Result<(), RedeemError> {
        match self.knowledge.forked(issuer) {
            None => Ok(()),
            Some(why) => Err(RedeemError::IssuerForked {
                issuer: issuer.to_owned(),
                why,
            }),
        }
    }

    /// Everything about a coupon that can be told without asking (protocol, section
    /// 2, step 2): gate, signature, whose it is, status.
    async fn look_at(
        &self,
        directory: &Directory,
        bytes: &[u8],
        now: UnixSeconds,
    ) -> Result<LookedAt, RedeemError> {
        let forged = |why: String| Refusal::CouponForged(why);
        let signed = CouponToVerify::parse(bytes).map_err(|error| forged(error.to_string()))?;
        let mut listed = directory.by_kid(signed.kid).peekable();
        if listed.peek().is_none() {
            return Err(Refusal::CouponForeign.into());
        }
        let known = self
            .signer(listed, signed.message, signed.signature)
            .await
            .ok_or_else(|| forged("its signature does not fit".to_owned()))?;
        let frozen = check_issuer(known.member, known.standing(now))?;
        let (tag, kid, coupon) = (coupon_tag(bytes), signed.kid, signed.coupon);
        let name = coupon
            .status
            .name(&known.member.base_url)
            .ok_or_else(|| forged("its status list is not its issuer's".to_owned()))?;
        if coupon.holder.is_some() {
            return Err(Refusal::HolderSignatureMissing.into());
        }
        let issuer = known.member.did();
        match self.knowledge.status(&issuer, name, now) {
            Status::Valid | Status::Undetermined => {}
            Status::Revoked => return Err(Refusal::CouponRevoked.into()),
            Status::Suspended => return Err(Refusal::CouponSuspended.into()),
            Status::UsedUp => return Err(Refusal::CouponUsedUpElsewhere.into()),
        }
        Ok(LookedAt {
            issuer,
            name,
            tag,
            kid,
            coupon,
            frozen,
        })
    }

    /// Whose key for credentials has signed a coupon, of those that are `listed` under
    /// the kid that it names.
    async fn signer<'a>(
        &self,
        listed: impl Iterator<Item = KnownAs<'a>>,
        message: Vec<u8>,
        signature: [u8; 64],
    ) -> Option<KnownAs<'a>> {
        for known in listed.filter(|known| known.key.role == Role::Credentials) {
            let (key, message) = (&known.key.key, message.clone());
            if self.signatures.is_good(key, message, signature).await {
                return Some(known);
            }
        }
        None
    }

    /// What the terms give, as if nothing of the coupon were used.
    fn quote(
        &self,
        looked: &LookedAt,
        campaign: &PartnerCampaign,
        basket: &Basket,
        amount: Option<Amount>,
        now: UnixSeconds,
    ) -> Result<Quote, RedeemError> {
        if campaign.author != looked.issuer {
            return Err(Refusal::CouponForged("its campaign is another co-op's".to_owned()).into());
        }
        let id = looked.coupon.campaign;
        let terms = &campaign.campaign;
        let counted = CampaignState {
            terms: terms.terms.clone(),
            issued_at: terms.issued_at,
            not_before: terms.not_before,
            not_after: terms.not_after,
            entry: 0,
            issued: 0,
            redemptions: 0,
            spent: Amount::ZERO,
            flags: StatusFlags::default(),
            as_of: 0,
        };
        let state = State {
            did: self.own_did(),
            campaigns: [(id, counted)].into(),
            ..State::default()
        };
        let presented = Presented {
            name: looked.name,
            tag: looked.tag,
            batch_entry: 0,
            leaf: 0,
            campaign: id,
            amount: looked.coupon.amount,
            not_before: looked.coupon.not_before,
            not_after: looked.coupon.not_after,
        };
        Ok(state.quote(&presented, basket, amount, now)?)
    }

    /// What the issuer is asked for: of a stored value what the till wants, since only
    /// the issuer knows what is left.
    fn benefit(
        &self,
        looked: &LookedAt,
        campaign: &PartnerCampaign,
        basket: &Basket,
        asked: Option<Amount>,
        now: UnixSeconds,
    ) -> Result<Option<Amount>, RedeemError> {
        let quote = self.quote(looked, campaign, basket, asked, now)?;
        Ok(match campaign.campaign.terms.benefit {
            crate::credential::Benefit::StoredValue { .. } => asked,
            _ => Some(quote.amount),
        })
    }
}

/// What a till is told of an intent.
fn told(view: IntentView) -> Result<IntentView, RedeemError> {
    let id = view.intent.id;
    match &view.state {
        IntentState::Made { .. } => Ok(view),
        IntentState::Open { .. } => Err(RedeemError::Unknown {
            id,
            issuer: view.intent.issuer,
        }),
        IntentState::Ended { end, .. } => Err(match end.clone() {
            End::Cancelled { .. } => RedeemError::Cancelled { id },
            End::Refused { code, detail } => RedeemError::Refused { id, code, detail },
        }),
    }
}

impl RedeemerMetrics {
    fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| {
            IntCounterVec::new(Opts::new(name, help), &["result"]).expect("constants that fit")
        };
        let metrics = Self {
            outcomes_total: counter(
                "tallystick_partner_redemptions_total",
                "Redemptions of other co-ops' coupons and their reversals, by what became of them",
            ),
            messages_total: counter(
                "tallystick_issuer_messages_total",
                "Messages to the issuers of coupons, by what became of them",
            ),
            answer_seconds: Histogram::with_opts(HistogramOpts::new(
                "tallystick_issuer_answer_seconds",
                "Time until an issuer's answer was there and verified",
            ))
            .expect("constants that fit"),
            open: IntGauge::new(
                "tallystick_intents_open",
                "Redemptions at partners whose outcome is not known yet",
            )
            .expect("constants that fit"),
            doubted: IntGauge::new(
                "tallystick_intents_doubted",
                "Redemptions at partners about which the issuer has said something that is not believed",
            )
            .expect("constants that fit"),
        };
        let collectors: [Box<dyn prometheus::core::Collector>; 5] = [
            Box::new(metrics.outcomes_total.clone()),
            Box::new(metrics.messages_total.clone()),
            Box::new(metrics.answer_seconds.clone()),
            Box::new(metrics.open.clone()),
            Box::new(metrics.doubted.clone()),
        ];
        for collector in collectors {
            registry
                .register(collector)
                .expect("a registry without these names");
        }
        metrics
    }
}
