//! What the floors above may ask of a node.

use std::sync::Arc;
use std::sync::mpsc::TrySendError;
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::credential::{Campaign, Content};
use crate::ledger::{
    Answers, Asked, Basket, BatchOrder, CampaignDraft, Event, NewStatus, Place, Quote, Recorded,
    RedemptionOrder, Refusal, ReversalOrder, StatusTarget,
};
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, RedemptionId, Register, UnixSeconds, limits,
};

use super::answers::{
    CampaignAnswer, CouponsAnswer, EntryRef, IssuedCoupon, RedemptionAnswer, ReversalAnswer, StatusAnswer,
};
use super::commands::{Command, Job, Reply, Reserving, entry_of, expect_recorded};
use super::find::{Lookup, misplaced};
use super::requests::{Call, Caller, Scope};
use super::signers::{Make, Pieces};
use super::{Node, NodeError};

/// A coupon by what a till or the office has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevocationTarget {
    /// The coupon's bytes, out of its QR text.
    Coupon(Vec<u8>),
    /// Its name.
    Name(CouponName),
    /// All coupons of a batch, by the index of its entry.
    Batch(u64),
    /// All coupons of a campaign.
    Campaign(CampaignId),
}

/// A redemption as a till asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedemptionRequest {
    /// The coupon's bytes, out of its QR text.
    pub coupon: Vec<u8>,
    /// The register that asks.
    pub register: Register,
    /// The till's own reference.
    pub till_reference: String,
    /// What the customer buys.
    pub basket: Basket,
    /// How much of a stored value.
    pub amount: Option<Amount>,
}

/// A reversal as a till or the office asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReversalRequest {
    /// The redemption.
    pub redemption: RedemptionId,
    /// The till's own reference.
    pub till_reference: String,
    /// How much; all that is left when `None`.
    pub amount: Option<Amount>,
    /// Whether the use (of stored value: the amount) returns to the coupon.
    pub give_back: bool,
}

/// The coupons of a batch, in pieces and in order, signed as they are read: a
/// reader that stops holds up nobody.
pub struct CouponStream<T> {
    entry: EntryRef,
    count: u32,
    node: Node,
    pieces: Pieces<T>,
    /// Its place among the streams, given back when it is dropped.
    place: Option<OwnedSemaphorePermit>,
}

impl<T: Send + 'static> CouponStream<T> {
    /// The batch's entry; its index is the batch's name.
    #[must_use]
    pub fn entry(&self) -> EntryRef {
        self.entry
    }

    /// Coupons in the batch.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<T, NodeError>> {
        let piece = self.pieces.take()?;
        Some(piece.await.map_err(|_| self.node.not_signed()))
    }
}

impl Node {
    /// Signs a campaign.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub async fn sign_campaign(
        &self,
        caller: &Caller,
        draft: CampaignDraft,
    ) -> Result<CampaignAnswer, NodeError> {
        let shared = &self.inner.shared;
        draft.check()?;
        let answers = shared.hasher.answers(caller, None);
        let campaign = Campaign {
            issued_at: shared.now(),
            not_before: draft.not_before,
            not_after: draft.not_after,
            terms: draft.terms,
        };
        let credential = campaign.sign(&shared.keyring.credential, shared.options.algorithm);
        if credential.len() > limits::CREDENTIAL_BYTES_MAX {
            return Err(Refusal::TermsInvalid(format!(
                "signed, the campaign has {} bytes, at most {} are allowed; shorten its text",
                credential.len(),
                limits::CREDENTIAL_BYTES_MAX
            ))
            .into());
        }
        let view = super::open::view_of(
            &credential,
            EntryRef {
                index: 0,
                hash: Digest::ZERO,
            },
        )?;
        let reply = self
            .ask(Command::SignCampaign { view: Box::new(view) }, Some(answers))
            .await?;
        shared.campaign_answer(expect_recorded(reply)?.as_ref())
    }

    /// Issues coupons, in the two passes of protocol section 1, and gives all of
    /// them at once.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub async fn issue_coupons(
        &self,
        caller: &Caller,
        order: BatchOrder,
    ) -> Result<CouponsAnswer, NodeError> {
        self.issue_at_once(caller, order, Reserving::Now).await
    }

    async fn issue_at_once(
        &self,
        caller: &Caller,
        order: BatchOrder,
        when: Reserving,
    ) -> Result<CouponsAnswer, NodeError> {
        if order.count > limits::ANSWER_COUPONS_MAX {
            return Err(Refusal::BatchInvalid(format!(
                "one answer holds at most {} coupons, more of them go out as a stream: send the header \
                 `Accept: application/x-ndjson`",
                limits::ANSWER_COUPONS_MAX
            ))
            .into());
        }
        // Kept until all is signed: it bounds what waits for the signing threads.
        let (recorded, _turn) = self.issue(caller, order, when).await?;
        let all = |coupons: &mut dyn Iterator<Item = IssuedCoupon>| coupons.collect::<Vec<_>>();
        let mut stream = self.coupons_of(&recorded, 0, Arc::new(all))?;
        let mut coupons = Vec::new();
        while let Some(piece) = stream.next().await {
            coupons.extend(piece?);
        }
        Ok(CouponsAnswer {
            batch: recorded.index,
            coupons,
            entry: recorded.as_ref().into(),
        })
    }

    /// Issues coupons of a campaign as it was at `at`: for imports of what has
    /// happened, which may have ended since.
    ///
    /// # Errors
    /// As [`issue_coupons`](Self::issue_coupons).
    pub async fn issue_coupons_at(
        &self,
        caller: &Caller,
        order: BatchOrder,
        at: UnixSeconds,
    ) -> Result<CouponsAnswer, NodeError> {
        self.issue_at_once(caller, order, Reserving::At(at)).await
    }

    /// Issues coupons like [`issue_coupons`](Self::issue_coupons), as many as
    /// [`limits::BATCH_COUPONS_MAX`], and gives them out piece by piece, signed
    /// as they are read. `make` makes of each piece, in a thread of its own,
    /// whatever the reader wants.
    ///
    /// With a `from` above 0 the coupons from that number on, counted from 0, of
    /// a batch that the same request issued before.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then. [`NodeError::NotFound`] where a
    /// `from` above 0 finds no batch, [`NodeError::Gone`] when the key that
    /// signed it is not held any more, [`NodeError::Busy`] with
    /// [`limits::COUPON_STREAMS_MAX`] streams open.
    pub async fn stream_coupons<T: Send + 'static>(
        &self,
        caller: &Caller,
        order: BatchOrder,
        from: u32,
        make: impl Fn(&mut dyn Iterator<Item = IssuedCoupon>) -> T + Send + Sync + 'static,
    ) -> Result<CouponStream<T>, NodeError> {
        let place = self.inner.shared.signers.stream_permit()?;
        let when = if from > 0 {
            Reserving::Before
        } else {
            Reserving::Now
        };
        let (recorded, _) = self.issue(caller, order, when).await?;
        let mut stream = self.coupons_of(&recorded, from, Arc::new(make))?;
        stream.place = Some(place);
        Ok(stream)
    }

    /// The first pass; the turn comes back with it.
    async fn issue(
        &self,
        caller: &Caller,
        order: BatchOrder,
        when: Reserving,
    ) -> Result<(Arc<Recorded>, OwnedSemaphorePermit), NodeError> {
        if order.count > limits::BATCH_COUPONS_MAX {
            return Err(Refusal::BatchInvalid(format!(
                "one request issues at most {} coupons",
                limits::BATCH_COUPONS_MAX
            ))
            .into());
        }
        let answers = self.inner.shared.hasher.answers(caller, None);
        let turn = self.inner.shared.signers.batch_permit().await;
        // Once it is reserved the batch is going to be issued, whether or not
        // the caller is still there: a dropped future must not leave it.
        let node = self.clone();
        let first_pass = tokio::spawn(async move {
            let recorded = node.first_pass(order, when, answers).await?;
            Ok((recorded, turn))
        });
        let broken = |error: tokio::task::JoinError| NodeError::Inconsistent(error.to_string());
        first_pass.await.map_err(broken)?
    }

    async fn first_pass(
        &self,
        order: BatchOrder,
        when: Reserving,
        answers: Answers,
    ) -> Result<Arc<Recorded>, NodeError> {
        let reserve = Command::Reserve { order, when };
        let reservation = match self.ask(reserve, Some(answers)).await? {
            Reply::Reserved(reservation) => reservation,
            reply => return expect_recorded(reply),
        };
        let node = self.clone();
        tokio::task::spawn_blocking(move || node.finish_reserved(reservation.batch))
            .await
            .map_err(|error| NodeError::Inconsistent(error.to_string()))?
    }

    /// The second pass: signs the batch's coupons again, Ed25519 being
    /// deterministic.
    fn coupons_of<T: Send + 'static>(
        &self,
        recorded: &Recorded,
        from: u32,
        make: Arc<Make<T>>,
    ) -> Result<CouponStream<T>, NodeError> {
        let shared = &self.inner.shared;
        let Event::BatchIssued(batch) = &recorded.event else {
            return Err(misplaced(recorded.index, "a batch's"));
        };
        if shared.keyring.credential_of(batch.kid).is_none() {
            return Err(NodeError::Gone(
                "these coupons were signed by a key that this node no longer holds, so they cannot be shown again",
            ));
        }
        Ok(CouponStream {
            entry: recorded.into(),
            count: batch.count,
            node: self.clone(),
            pieces: Pieces::new(Arc::clone(shared), batch.clone(), from, make),
            place: None,
        })
    }

    /// Says what redeeming a coupon would give; changes nothing.
    ///
    /// # Errors
    /// [`NodeError::Refused`] with the refusal that a redemption would get.
    pub async fn validate(
        &self,
        coupon: &[u8],
        basket: Basket,
        amount: Option<Amount>,
    ) -> Result<Quote, NodeError> {
        let coupon = self.inner.shared.present(coupon)?;
        match self
            .ask(
                Command::Quote {
                    coupon,
                    basket,
                    amount,
                },
                None,
            )
            .await?
        {
            Reply::Quoted(quote) => Ok(quote),
            reply => Err(expect_recorded(reply).err().unwrap_or(NodeError::Busy)),
        }
    }

    /// Redeems a coupon.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub async fn redeem(
        &self,
        caller: &Caller,
        request: RedemptionRequest,
    ) -> Result<RedemptionAnswer, NodeError> {
        let (command, answers) = self.redemption_command(caller, request, None)?;
        let reply = self.ask(command, Some(answers)).await?;
        self.inner
            .shared
            .redemption_answer(expect_recorded(reply)?.as_ref())
    }

    /// Puts a redemption of the past in line, decided at `at`: for imports. The
    /// entry is marked as such. Blocks the thread while the line is full; what
    /// comes back tells its entry once it is durable.
    ///
    /// # Errors
    /// As [`Node::redeem`]; [`Refusal::TimeTooFar`] for a time to come.
    pub fn enqueue_redemption(
        &self,
        caller: &Caller,
        request: RedemptionRequest,
        at: UnixSeconds,
    ) -> Result<impl Future<Output = Result<EntryRef, NodeError>> + Send + use<>, NodeError> {
        let (command, answers) = self.redemption_command(caller, request, Some(at))?;
        let answer = self.insist_for(command, Some(answers));
        let node = self.clone();
        Ok(async move { entry_of(node.answered(answer).await?) })
    }

    fn redemption_command(
        &self,
        caller: &Caller,
        request: RedemptionRequest,
        at: Option<UnixSeconds>,
    ) -> Result<(Command, Answers), NodeError> {
        let shared = &self.inner.shared;
        let reference =
            shared
                .hasher
                .reference(&request.register, &Call::Redemption, &request.till_reference);
        let answers = shared.hasher.answers(caller, Some(reference));
        let coupon = match shared.present(&request.coupon) {
            Ok(coupon) => coupon,
            // The key may belong to another request: that is the more useful answer.
            Err(error) => return Err(self.used_before(&answers)?.unwrap_or(error)),
        };
        let order = RedemptionOrder {
            id: RedemptionId(shared.entropy.bytes()),
            coupon,
            asked: Asked::Here(request.register),
            basket: request.basket,
            amount: request.amount,
            request: caller.request,
            at,
        };
        Ok((Command::Redeem(order), answers))
    }

    /// Reverses a redemption in whole or part.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub async fn reverse(
        &self,
        caller: &Caller,
        request: ReversalRequest,
    ) -> Result<ReversalAnswer, NodeError> {
        let shared = &self.inner.shared;
        let (redemption, _) = shared
            .redemption(request.redemption)?
            .ok_or(NodeError::NotFound("there is no such redemption"))?;
        let Place::Register(register) = &redemption.place else {
            return Err(Refusal::MadeElsewhere(redemption.redeemer).into());
        };
        if matches!(&caller.scope, Scope::Register(own) if own != register) {
            return Err(NodeError::Forbidden(
                "a till reverses redemptions of its own register; the office reverses any",
            ));
        }
        let call = Call::Reversal(request.redemption);
        let reference = shared.hasher.reference(register, &call, &request.till_reference);
        let answers = shared.hasher.answers(caller, Some(reference));
        let order = ReversalOrder {
            id: RedemptionId(shared.entropy.bytes()),
            redemption: request.redemption,
            amount: request.amount,
            give_back: request.give_back,
            at: None,
            partner: None,
        };
        let command = Command::Reverse {
            order,
            scope: caller.scope.clone(),
        };
        let reply = self.ask(command, Some(answers)).await?;
        shared.reversal_answer(expect_recorded(reply)?.as_ref())
    }

    /// Revokes or suspends coupons, or lifts a suspension.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub async fn set_status(
        &self,
        caller: &Caller,
        target: &RevocationTarget,
        status: NewStatus,
        reason: Option<String>,
    ) -> Result<StatusAnswer, NodeError> {
        let shared = &self.inner.shared;
        let fits = |reason: &String| (1..=limits::REASON_BYTES_MAX).contains(&reason.len());
        if !reason.as_ref().is_none_or(fits) {
            return Err(Refusal::ReasonInvalid.into());
        }
        let answers = shared.hasher.answers(caller, None);
        let target = match target {
            RevocationTarget::Coupon(bytes) => match shared.present(bytes) {
                Ok(presented) => StatusTarget::Coupon(presented.name),
                Err(error) => return Err(self.used_before(&answers)?.unwrap_or(error)),
            },
            RevocationTarget::Name(name) => StatusTarget::Coupon(*name),
            RevocationTarget::Batch(entry) => StatusTarget::Batch(*entry),
            RevocationTarget::Campaign(id) => StatusTarget::Campaign(*id),
        };
        let command = Command::SetStatus {
            target,
            status,
            reason,
        };
        let reply = self.ask(command, Some(answers)).await?;
        shared.status_answer(expect_recorded(reply)?.as_ref())
    }

    /// Finishes what was accepted, writes out what is kept in memory beside
    /// the log, and closes the store. Further calls get [`NodeError::Stopped`].
    pub async fn shut_down(&self) {
        let thread = self
            .inner
            .thread
            .lock()
            .expect("no holder of this lock panics")
            .take();
        let left = self
            .inner
            .left
            .lock()
            .expect("no holder of this lock panics")
            .take();
        let node = self.clone();
        let _ = tokio::task::spawn_blocking(move || {
            // It stands in line behind what was accepted, however long the line is.
            drop(node.insist(Command::Shutdown));
            let stopped = thread.map(JoinHandle::join);
            // Without the writer they come to an end, and let go of the store.
            node.inner.shared.signers.close();
            (stopped, left.map(JoinHandle::join))
        })
        .await;
    }

    /// Nothing is decided or signed any more, for the reason `why`: what was not answered
    /// yet has no effect, and each further call gets [`NodeError::Stopped`].
    pub async fn halt(&self, why: String) {
        let node = self.clone();
        // It stands in line behind what was accepted, however long the line is.
        let halted = self.aside(move || node.insist(Command::Halt(why))).await;
        if let Ok(halted) = halted {
            // Without an answer the writer had stopped before.
            let _ = halted.await;
        }
    }

    /// Whether a request that cannot be decided for other reasons came under a
    /// key that stands for something else, or was answered before.
    fn used_before(&self, answers: &Answers) -> Result<Option<NodeError>, NodeError> {
        let shared = &self.inner.shared;
        let Some(index) = shared.newest(answers.key)? else {
            return Ok(None);
        };
        let first = shared.entry(index)?;
        let same = first.answers.is_some_and(|a| a.request == answers.request);
        Ok((!same).then(|| Refusal::KeyReused.into()))
    }

    pub(super) async fn ask(&self, command: Command, answers: Option<Answers>) -> Result<Reply, NodeError> {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            command,
            answers,
            reply,
        };
        self.inner.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NodeError::Busy,
            TrySendError::Disconnected(_) => self.stopped_error(),
        })?;
        self.answered(answer).await
    }

    /// Puts a command into the queue even when it is full: blocks the thread
    /// until there is room. For what must not be left half done.
    pub(super) fn insist(&self, command: Command) -> oneshot::Receiver<Reply> {
        self.insist_for(command, None)
    }

    fn insist_for(&self, command: Command, answers: Option<Answers>) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        // A queue without its writer drops the job, and the answer says so.
        let _ = self.inner.jobs.send(Job {
            command,
            answers,
            reply,
        });
        answer
    }

    pub(super) async fn answered(&self, answer: oneshot::Receiver<Reply>) -> Result<Reply, NodeError> {
        match answer.await {
            Ok(Reply::Failed(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(_) => Err(self.stopped_error()),
        }
    }

    pub(super) fn stopped_error(&self) -> NodeError {
        NodeError::Stopped(self.stopped().unwrap_or_else(|| "its writer is gone".to_owned()))
    }
}
