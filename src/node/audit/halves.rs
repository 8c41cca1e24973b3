//! Redemptions between co-ops, each side by itself: an intent ends once, with what
//! was asked; a cancelled request has no effect. Whether two logs' halves match is
//! for whoever reads both.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::ledger::{Event, Intent, IssuerHalf, Place, Recorded, RedeemerHalf, half_id};
use crate::node::find::sha256;
use crate::node::halves::KeptRefusals;
use crate::node::{NodeError, intents};
use crate::primitives::RedemptionId;
use crate::store::{Engine, StoreError};

use super::finding::{Findings, Rule};
use super::saved::keep;

/// What has to be remembered: open intents, and requests that were cancelled.
#[derive(Default)]
pub(super) struct Halves {
    open: BTreeMap<RedemptionId, (u64, Intent)>,
    cancelled: HashSet<RedemptionId>,
    partners: HashSet<Arc<str>>,
}

keep!(Halves {
    open,
    cancelled,
    partners,
});

impl Halves {
    /// A partner's name, held once.
    pub fn partner(&mut self, did: &str) -> Arc<str> {
        if let Some(known) = self.partners.get(did) {
            return Arc::clone(known);
        }
        let known: Arc<str> = Arc::from(did);
        self.partners.insert(Arc::clone(&known));
        known
    }

    /// An entry of the redeemer's, or a cancelled request. `is_whole`: every entry so
    /// far was there; `is_known`: whether an issuer half has that identity.
    pub fn record(
        &mut self,
        recorded: &Recorded,
        is_whole: bool,
        is_known: impl Fn(RedemptionId) -> bool,
        findings: &mut Findings,
    ) {
        let index = recorded.index;
        match &recorded.event {
            Event::Intent(intent) => {
                let first = self.open.insert(intent.id, (index, intent.clone()));
                if let Some((first, _)) = first {
                    let why = format!("the intent {} was begun before, by entry {first}", intent.id);
                    findings.at(index, Rule::IdentityRepeated, why);
                }
            }
            Event::CancelWished(wished) => {
                self.find(index, wished.id, wished.intent_entry, is_whole, findings);
            }
            Event::IntentEnded(ended) => {
                self.find(index, ended.id, ended.intent_entry, is_whole, findings);
                self.open.remove(&ended.id);
            }
            Event::RedeemerHalf(half) => {
                if let Some(intent) = self.find(index, half.id, half.intent_entry, is_whole, findings)
                    && !answers(intent, half)
                {
                    let why = format!(
                        "it answers something else than the intent in entry {}",
                        half.intent_entry
                    );
                    findings.at(index, Rule::HalfDiffers, why);
                }
                self.open.remove(&half.id);
            }
            Event::RequestCancelled(cancelled) => {
                let id = half_id(&cancelled.redeemer, cancelled.request_id);
                if is_known(id) || !self.cancelled.insert(id) {
                    let why = format!(
                        "the request {} of {} had been answered before it was cancelled",
                        cancelled.request_id, cancelled.redeemer
                    );
                    findings.at(index, Rule::CancelledHonoured, why);
                }
            }
            _ => {}
        }
    }

    fn find(
        &self,
        index: u64,
        id: RedemptionId,
        entry: u64,
        is_whole: bool,
        findings: &mut Findings,
    ) -> Option<&Intent> {
        let found = self.open.get(&id).filter(|(begun, _)| *begun == entry);
        if found.is_none() && is_whole {
            let why = format!("entry {entry} is not that of an open intent {id}");
            findings.at(index, Rule::IntentUnknown, why);
        }
        found.map(|(_, intent)| intent)
    }

    /// Holds the stored rows against the log: each open intent has one, with its entry
    /// and, where it is there still, just the request that it made; and no other has.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn compare_rows(&self, engine: &dyn Engine, findings: &mut Findings) -> Result<(), StoreError> {
        let mut wrong = |message: String| findings.store(Rule::StoredIntent, message);
        match intents::rows_of(engine) {
            Ok(stored) => {
                for (id, (begun, intent)) in &self.open {
                    match stored.get(id) {
                        None => wrong(format!(
                            "the row of the open intent {id}, entry {begun}, is missing"
                        )),
                        Some((entry, ..)) if entry != begun => wrong(format!(
                            "the row of the open intent {id} names entry {entry}, it was begun by entry {begun}"
                        )),
                        Some((_, _, request)) if !request.is_empty() && sha256(request) != intent.request => {
                            wrong(format!("the row of the open intent {id} holds another request"));
                        }
                        Some(_) => {}
                    }
                }
                for id in stored.keys().filter(|id| !self.open.contains_key(id)) {
                    wrong(format!("a row stands for the intent {id}, which is not open"));
                }
            }
            Err(NodeError::Store(error)) => return Err(error),
            Err(error) => wrong(error.to_string()),
        }
        match KeptRefusals::load(engine) {
            Ok(_) => Ok(()),
            Err(NodeError::Store(error)) => Err(error),
            Err(error) => {
                wrong(error.to_string());
                Ok(())
            }
        }
    }

    /// An issuer half: its identity, and that its request was not cancelled.
    pub fn served(&self, recorded: &Recorded, findings: &mut Findings) {
        let (id, redeemer, request_id) = match &recorded.event {
            Event::Redeemed(redeemed) => match redeemed.place {
                Place::Partner { request_id } => (redeemed.id, &redeemed.redeemer, request_id),
                Place::Register(_) => return,
            },
            Event::Reversed(reversed) => match &reversed.partner {
                Some(call) => (reversed.id, &call.redeemer, call.request_id),
                None => return,
            },
            _ => return,
        };
        if id != half_id(redeemer, request_id) {
            let why = format!("its identity is not that of the request {request_id} of {redeemer}");
            findings.at(recorded.index, Rule::HalfIdentity, why);
        }
        if self.cancelled.contains(&id) {
            let why = format!("the request {request_id} of {redeemer} had been cancelled");
            findings.at(recorded.index, Rule::CancelledHonoured, why);
        }
    }
}

/// Whether `half` is one that the intent can have.
fn answers(intent: &Intent, half: &RedeemerHalf) -> bool {
    let said = IssuerHalf {
        entry: half.issuer_entry,
        hash: half.issuer_hash,
        amount: half.amount,
        remaining_uses: half.remaining_uses,
        remaining_value: half.remaining_value,
        reversed_after: half.reverses.map(|reverses| reverses.reversed_after),
    };
    intent.half(half.intent_entry, &said).as_ref() == Ok(half)
}
