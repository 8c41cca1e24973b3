//! Redemptions for partners, on the issuer's side: what a signed request is
//! answered with, once and for ever the same (protocol, section 2).
//!
//! A request's identity is scoped to its redeemer and bound to its hash. Halves
//! and tombstones are entries and so remembered for ever; a refusal is remembered
//! until the request's time is over, in a row, since an old copy of the message
//! must not have an effect after the sale was called off.
//!
//! ```text
//! row q + scoped id = not_after u64  request [32]  length of code u8  code  detail
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ledger::{
    Asked, Basket, Event, Mark, PartnerCall, Presented, Recorded, RedemptionOrder, Refusal, RequestCancelled,
    ReversalOrder, half_id,
};
use crate::primitives::{Amount, Digest, RedemptionId, UnixSeconds, limits};
use crate::store::{Engine, rows};

use super::commands::{Command, Reply};
use super::find::Lookup;
use super::pending::Pending;
use super::writer::Writer;
use super::{Node, NodeError};

/// A partner's request, its signature verified and its sender a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerRequest {
    /// `did:web` of the co-op that asks.
    pub redeemer: String,
    /// The request's identity, as that co-op drew it.
    pub id: RedemptionId,
    /// SHA-256 of the request.
    pub request: Digest,
    /// It has no effect when it is first seen later than this.
    pub not_after: UnixSeconds,
    /// What is wanted.
    pub wanted: PartnerWish,
}

/// What a partner wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartnerWish {
    /// To redeem a coupon.
    Redeem {
        /// The coupon, whole.
        coupon: Vec<u8>,
        /// The customer's basket.
        basket: Basket,
        /// How much; of a stored value `None` for as much as there is.
        amount: Option<Amount>,
    },
    /// To reverse a redemption that it made.
    Reverse {
        /// The redemption, by the identity that it drew.
        redemption: RedemptionId,
        /// How much; `None` for all that is left.
        amount: Option<Amount>,
        /// Whether the use, or the amount, returns to the coupon.
        give_back: bool,
    },
    /// To make sure that the request of this identity has no effect.
    Cancel,
}

/// What the request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartnerOutcome {
    /// The issuer half is in the log.
    Half(Arc<Recorded>),
    /// It has no effect, and never will: the log says so.
    Cancelled(Arc<Recorded>),
    /// It is refused.
    Refused {
        /// A stable code.
        code: String,
        /// A sentence.
        detail: String,
    },
}

/// The writer's own form: the coupon has been looked at.
pub(super) struct ServeCommand {
    pub redeemer: String,
    pub id: RedemptionId,
    pub request: Digest,
    pub not_after: UnixSeconds,
    pub wanted: ServeWish,
}

pub(super) enum ServeWish {
    Redeem {
        coupon: Result<Box<Presented>, Refusal>,
        basket: Basket,
        amount: Option<Amount>,
    },
    Reverse {
        redemption: RedemptionId,
        amount: Option<Amount>,
        give_back: bool,
    },
    Cancel,
}

/// A refusal that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptRefusal {
    pub not_after: UnixSeconds,
    pub request: Digest,
    pub code: String,
    pub detail: String,
}

/// Remembered refusals, and the order in which their time is over.
#[derive(Default)]
pub(super) struct KeptRefusals {
    by_id: BTreeMap<[u8; 16], KeptRefusal>,
    by_time: BTreeMap<(UnixSeconds, [u8; 16]), ()>,
}

impl Node {
    /// Decides the requests of a partner, in their order, and makes what they come
    /// to durable. A request that was answered before gets its first answer.
    ///
    /// # Errors
    /// [`NodeError`] where nothing could be decided; the same requests may come again.
    pub async fn serve_partner(
        &self,
        requests: Vec<PartnerRequest>,
    ) -> Result<Vec<Result<PartnerOutcome, NodeError>>, NodeError> {
        let shared = &self.inner.shared;
        let mut commands = Vec::with_capacity(requests.len());
        for request in requests {
            let wanted = match request.wanted {
                PartnerWish::Redeem {
                    coupon,
                    basket,
                    amount,
                } => {
                    let coupon = match shared.present(&coupon) {
                        Ok(presented) => Ok(Box::new(presented)),
                        Err(NodeError::Refused(refusal)) => Err(refusal),
                        Err(error) => return Err(error),
                    };
                    ServeWish::Redeem {
                        coupon,
                        basket,
                        amount,
                    }
                }
                PartnerWish::Reverse {
                    redemption,
                    amount,
                    give_back,
                } => ServeWish::Reverse {
                    redemption,
                    amount,
                    give_back,
                },
                PartnerWish::Cancel => ServeWish::Cancel,
            };
            commands.push(ServeCommand {
                redeemer: request.redeemer,
                id: request.id,
                request: request.request,
                not_after: request.not_after,
                wanted,
            });
        }
        match self.ask(Command::Serve(commands), None).await? {
            Reply::Several(replies) => Ok(replies
                .into_iter()
                .map(|reply| match reply {
                    Reply::Served(outcome) => Ok(outcome),
                    Reply::Failed(error) => Err(error),
                    _ => Err(NodeError::Inconsistent(
                        "the writer answered another question".to_owned(),
                    )),
                })
                .collect()),
            Reply::Failed(error) => Err(error),
            _ => Err(NodeError::Inconsistent(
                "the writer answered another question".to_owned(),
            )),
        }
    }
}

impl Writer {
    /// Decides a partner's requests, each as if it came by itself.
    pub(super) fn serve(
        &mut self,
        commands: Vec<ServeCommand>,
        pending: &mut Pending,
    ) -> Result<Reply, NodeError> {
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            pending.commands += 1;
            match self.serve_one(command, pending) {
                Ok(outcome) => replies.push(Reply::Served(outcome)),
                Err(error @ NodeError::Store(crate::store::StoreError::Fatal(_))) => return Err(error),
                Err(error) => replies.push(Reply::Failed(error)),
            }
        }
        Ok(Reply::Several(replies))
    }

    fn serve_one(
        &mut self,
        command: ServeCommand,
        pending: &mut Pending,
    ) -> Result<PartnerOutcome, NodeError> {
        let id = half_id(&command.redeemer, command.id);
        let is_cancel = matches!(command.wanted, ServeWish::Cancel);
        if let Some(index) = self.sight(pending).newest(id.0)? {
            return self.served_before(id, index, &command, pending);
        }
        if is_cancel {
            let cancelled = RequestCancelled {
                request_id: command.id,
                redeemer: command.redeemer,
            };
            let recorded = self.record(Event::RequestCancelled(cancelled), None, pending)?;
            return Ok(PartnerOutcome::Cancelled(recorded));
        }
        let now = self.now();
        // A refusal of it is forgotten then, sooner or later.
        if now > command.not_after {
            return Ok(refused(&Refusal::RequestExpired(command.not_after)));
        }
        if let Some(kept) = self.refusals.by_id.get(&id.0) {
            return Ok(if kept.request == command.request {
                PartnerOutcome::Refused {
                    code: kept.code.clone(),
                    detail: kept.detail.clone(),
                }
            } else {
                refused(&Refusal::RequestReused)
            });
        }
        if command.not_after > now.plus(limits::REQUEST_SECONDS_MAX + limits::CLOCK_SKEW_SECONDS_MAX) {
            return Ok(refused(&Refusal::TimeTooFar {
                seconds: command.not_after.distance(now),
                ahead: true,
            }));
        }
        if self.refusals.by_id.len() >= limits::REFUSALS_KEPT_MAX {
            return Err(NodeError::Busy);
        }
        let (not_after, request) = (command.not_after, command.request);
        match self.effect(id, command, pending) {
            Ok(recorded) => Ok(PartnerOutcome::Half(recorded)),
            Err(NodeError::Refused(refusal)) => {
                self.shared.metrics.refused(refusal.code());
                Ok(self.remember(id, not_after, request, &refusal, pending))
            }
            Err(error) => Err(error),
        }
    }

    /// What a request of this identity came to before.
    fn served_before(
        &self,
        id: RedemptionId,
        index: u64,
        command: &ServeCommand,
        pending: &Pending,
    ) -> Result<PartnerOutcome, NodeError> {
        let sight = self.sight(pending);
        let mut recorded = sight.entry(index)?;
        // Of a redemption that was reversed since, the reversal is the newest entry.
        if let Event::Reversed(reversed) = &recorded.event
            && reversed.redemption == id
        {
            recorded = sight.entry(reversed.redemption_entry)?;
        }
        let request = match &recorded.event {
            Event::Redeemed(redeemed) if redeemed.id == id => redeemed.request,
            Event::Reversed(reversed) if reversed.id == id => reversed
                .partner
                .as_ref()
                .map_or(Digest::ZERO, |call| call.request),
            Event::RequestCancelled(_) => {
                return Ok(match command.wanted {
                    ServeWish::Cancel => PartnerOutcome::Cancelled(Arc::new(recorded)),
                    _ => refused(&Refusal::RequestCancelled),
                });
            }
            _ => return Ok(refused(&Refusal::RequestReused)),
        };
        if matches!(command.wanted, ServeWish::Cancel) || request == command.request {
            Ok(PartnerOutcome::Half(Arc::new(recorded)))
        } else {
            Ok(refused(&Refusal::RequestReused))
        }
    }

    fn effect(
        &mut self,
        id: RedemptionId,
        command: ServeCommand,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        let now = self.now();
        match command.wanted {
            ServeWish::Redeem {
                coupon,
                basket,
                amount,
            } => {
                let order = RedemptionOrder {
                    id,
                    coupon: *coupon?,
                    asked: Asked::By {
                        redeemer: command.redeemer,
                        request_id: command.id,
                    },
                    basket,
                    amount,
                    request: command.request,
                    at: None,
                };
                self.hydrate_coupon(order.coupon.name, pending)?;
                let redeemed = self.state.decide_redemption(&order, now)?;
                debug_assert_eq!(redeemed.mark, Mark::Live);
                self.plan_list(redeemed.name, redeemed.used_up);
                self.record(Event::Redeemed(redeemed), None, pending)
            }
            ServeWish::Reverse {
                redemption,
                amount,
                give_back,
            } => {
                let order = ReversalOrder {
                    id,
                    redemption: half_id(&command.redeemer, redemption),
                    amount,
                    give_back,
                    at: None,
                    partner: Some(PartnerCall {
                        redeemer: command.redeemer,
                        request_id: command.id,
                        request: command.request,
                    }),
                };
                self.hydrate_redemption(order.redemption, pending)?;
                let reversed = self.state.decide_reversal(&order, now)?;
                self.plan_list(reversed.name, reversed.used_up);
                self.record(Event::Reversed(reversed), None, pending)
            }
            ServeWish::Cancel => Err(NodeError::Inconsistent(
                "a cancellation has no effect of its own".to_owned(),
            )),
        }
    }

    fn remember(
        &mut self,
        id: RedemptionId,
        not_after: UnixSeconds,
        request: Digest,
        refusal: &Refusal,
        pending: &mut Pending,
    ) -> PartnerOutcome {
        let kept = KeptRefusal {
            not_after,
            request,
            code: refusal.code().to_owned(),
            detail: cut(&refusal.to_string(), limits::PARTNER_DETAIL_BYTES_MAX).to_owned(),
        };
        pending.batch.put(rows::partner_refusal(&id), kept.encode());
        let outcome = PartnerOutcome::Refused {
            code: kept.code.clone(),
            detail: kept.detail.clone(),
        };
        self.refusals.insert(id.0, kept);
        outcome
    }

    /// Forgets refusals of requests whose time is over: such a request is refused
    /// for that from now on.
    pub(super) fn forget_refusals(&mut self, pending: &mut Pending) {
        let now = self.now();
        for _ in 0..limits::REFUSALS_FORGOTTEN_AT_ONCE {
            let Some((&(not_after, id), ())) = self.refusals.by_time.first_key_value() else {
                return;
            };
            if now <= not_after {
                return;
            }
            self.refusals.by_time.pop_first();
            self.refusals.by_id.remove(&id);
            pending.batch.remove(rows::partner_refusal(&RedemptionId(id)));
        }
    }
}

fn refused(refusal: &Refusal) -> PartnerOutcome {
    PartnerOutcome::Refused {
        code: refusal.code().to_owned(),
        detail: refusal.to_string(),
    }
}

/// The first `most` bytes of `text`, cut between two characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

impl KeptRefusals {
    fn insert(&mut self, id: [u8; 16], kept: KeptRefusal) {
        self.by_time.insert((kept.not_after, id), ());
        self.by_id.insert(id, kept);
    }

    /// The refusals in a store's rows.
    ///
    /// # Errors
    /// [`NodeError::Inconsistent`] for a row that cannot be read.
    pub fn load(engine: &dyn Engine) -> Result<Self, NodeError> {
        let mut rows_found = Vec::new();
        engine.scan(&[rows::REFUSAL], &[rows::REFUSAL], &mut |key, value| {
            let id = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            rows_found.push(id.zip(KeptRefusal::decode(value)));
            ControlFlow::Continue(())
        })?;
        let mut kept = Self::default();
        for row in rows_found {
            let (id, refusal) = row.ok_or_else(|| {
                NodeError::Inconsistent("the row of a refused request cannot be read".to_owned())
            })?;
            kept.insert(id, refusal);
        }
        Ok(kept)
    }
}

impl KeptRefusal {
    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(41 + self.code.len() + self.detail.len());
        row.extend(self.not_after.0.to_be_bytes());
        row.extend(self.request.0);
        row.push(u8::try_from(self.code.len()).expect("codes are short words"));
        row.extend(self.code.as_bytes());
        row.extend(self.detail.as_bytes());
        row
    }

    pub fn decode(row: &[u8]) -> Option<Self> {
        let (not_after, rest) = row.split_first_chunk::<8>()?;
        let (request, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first()?;
        let (code, detail) = rest.split_at_checked(usize::from(*length))?;
        Some(Self {
            not_after: UnixSeconds(u64::from_be_bytes(*not_after)),
            request: Digest(*request),
            code: std::str::from_utf8(code).ok()?.to_owned(),
            detail: std::str::from_utf8(detail).ok()?.to_owned(),
        })
    }
}
