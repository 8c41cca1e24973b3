//! What the floors above may read of a node.

use crate::ledger::{Event, Recorded};
use crate::log::VerifierKey;
use crate::primitives::{CampaignId, RedemptionId, Register, Tag, UnixSeconds, limits};

use super::answers::{CampaignView, EntryRef, ReceiptAnswer, ReceiptStubAnswer, RedemptionView};
use super::commands::{Command, Reply, expect_recorded};
use super::find::{Lookup, receipt_key};
use super::requests::{Call, occurrence};
use super::writer::Shared;
use super::{Node, NodeError, NodeMetrics, NodeOptions};

impl Node {
    /// All campaigns, the newest last.
    #[must_use]
    pub fn campaigns(&self) -> Vec<std::sync::Arc<CampaignView>> {
        let campaigns = self
            .inner
            .shared
            .campaigns
            .read()
            .expect("no holder of this lock panics");
        let mut all: Vec<_> = campaigns.values().cloned().collect();
        all.sort_by_key(|campaign| campaign.entry.index);
        all
    }

    /// One campaign.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub fn campaign(&self, id: &CampaignId) -> Result<std::sync::Arc<CampaignView>, NodeError> {
        self.inner
            .shared
            .campaign(id)
            .map_err(|_| NodeError::NotFound("there is no such campaign"))
    }

    /// A receipt by its tag.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Erased`], [`NodeError::DoneBeforeLoss`].
    pub fn receipt(&self, id: &Tag) -> Result<ReceiptAnswer, NodeError> {
        let shared = &self.inner.shared;
        shared.receipt_answer(&shared.receipt_issued(id)?.0)
    }

    /// The stub of the receipt `id`, which an erasure leaves.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::DoneBeforeLoss`].
    pub fn receipt_stub(&self, id: &Tag) -> Result<ReceiptStubAnswer, NodeError> {
        let shared = &self.inner.shared;
        let (recorded, register) = shared.receipt_issued(id)?;
        Ok(ReceiptStubAnswer {
            register,
            stub: shared.receipt_stub(&recorded)?,
            entry: (&recorded).into(),
        })
    }

    /// The register that issued the receipt `id`, and the entry: erased details
    /// change neither.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub fn receipt_entry(&self, id: &Tag) -> Result<(Register, EntryRef), NodeError> {
        let (recorded, register) = self.inner.shared.receipt_issued(id)?;
        Ok((register, (&recorded).into()))
    }

    /// The receipt that `register` posted under `till_reference`, if it did.
    ///
    /// # Errors
    /// [`NodeError`] when the store cannot be read.
    pub fn receipt_by_reference(
        &self,
        register: &Register,
        till_reference: &str,
    ) -> Result<Option<ReceiptAnswer>, NodeError> {
        let shared = &self.inner.shared;
        let reference = shared.hasher.reference(register, &Call::Receipt, till_reference);
        match shared.newest(occurrence(reference, 0))? {
            Some(index) => shared.receipt_answer(&shared.entry(index)?).map(Some),
            None => Ok(None),
        }
    }

    /// A redemption as it stands.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub fn redemption(&self, id: RedemptionId) -> Result<RedemptionView, NodeError> {
        let shared = &self.inner.shared;
        let found = shared.redemption(id)?;
        let (state, original) = found.ok_or(NodeError::NotFound("there is no such redemption"))?;
        let Event::Redeemed(redeemed) = &original.event else {
            return Err(NodeError::NotFound("there is no such redemption"));
        };
        Ok(RedemptionView {
            made: shared.redemption_answer(&original)?,
            coupon: redeemed.name,
            campaign: redeemed.campaign,
            currency: shared.campaign(&redeemed.campaign)?.terms.currency,
            basket_total: redeemed.basket_total,
            place: state.place,
            redeemer: state.redeemer,
            at: state.at,
            reversed: state.reversed,
        })
    }

    /// The redemptions that `register` made under `till_reference`, in order.
    ///
    /// # Errors
    /// [`NodeError`] when the store cannot be read.
    pub fn redemptions_by_reference(
        &self,
        register: &Register,
        till_reference: &str,
    ) -> Result<Vec<RedemptionView>, NodeError> {
        let mut found = Vec::new();
        for event in self.inner.shared.sale(register, till_reference)? {
            if let Event::Redeemed(redeemed) = event {
                found.push(self.redemption(redeemed.id)?);
            }
        }
        Ok(found)
    }

    /// A signed status list token that has not run through half of its life.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for a list that was never begun.
    pub async fn status_list(&self, list: u32) -> Result<Vec<u8>, NodeError> {
        let shared = &self.inner.shared;
        let held = || {
            let lists = shared.lists.read().expect("no holder of this lock panics");
            lists.get(&list).cloned()
        };
        let half = shared.options.status_list_seconds / 2;
        let fresh = |issued_at: UnixSeconds| shared.clock.now() < issued_at.plus(half);
        if let Some(signed) = held()
            && fresh(signed.issued_at)
        {
            return Ok(signed.token.clone());
        }
        match self.ask(Command::SignList(list), None).await? {
            Reply::Done => held()
                .map(|signed| signed.token.clone())
                .ok_or(NodeError::NotFound("there is no such status list")),
            reply => Err(expect_recorded(reply).err().unwrap_or(NodeError::Busy)),
        }
    }

    /// The newest signed checkpoint, a signed note, with the cosignatures that
    /// were collected for exactly this one.
    #[must_use]
    pub fn checkpoint(&self) -> std::sync::Arc<str> {
        let shared = &self.inner.shared;
        let head = shared.head.read().expect("no holder of this lock panics");
        shared.note_of(&head)
    }

    /// The log's size in that checkpoint, in entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner
            .shared
            .head
            .read()
            .expect("no holder of this lock panics")
            .size
    }

    /// Why the writer has stopped, if it has: the process is to end then.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.inner
            .shared
            .stopped
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }

    /// How this node is set up.
    #[must_use]
    pub fn options(&self) -> &NodeOptions {
        &self.inner.shared.options
    }

    /// What others hold of its log agrees with it: from now on it signs by itself, too.
    pub fn compared(&self) {
        let is_compared = &self.inner.shared.is_compared;
        is_compared.store(true, std::sync::atomic::Ordering::Release);
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &NodeMetrics {
        &self.inner.shared.metrics
    }

    /// The public key of its credentials.
    #[must_use]
    pub fn credential_key(&self) -> crate::credential::PublicKey {
        *self.inner.shared.keyring.credential.public()
    }

    /// The key that signs its messages to other nodes.
    #[must_use]
    pub fn messages_key(&self) -> &crate::credential::SecretKey {
        &self.inner.shared.keyring.messages
    }

    /// The key that its log's checkpoints are signed with, by the log's name.
    #[must_use]
    pub fn log_key(&self) -> VerifierKey {
        self.inner.shared.log_key.clone()
    }

    /// The present time, by the node's clock; never before the last entry.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        self.inner.shared.now()
    }
}

impl Shared {
    /// What `register` redeemed under `till_reference`, or began to, in order.
    pub(super) fn sale(&self, register: &Register, till_reference: &str) -> Result<Vec<Event>, NodeError> {
        let reference = self.hasher.reference(register, &Call::Redemption, till_reference);
        let mut found = Vec::new();
        for n in 0..limits::COUPONS_PER_SALE_MAX {
            let Some(index) = self.newest(occurrence(reference, n))? else {
                break;
            };
            found.push(self.entry(index)?.event);
        }
        Ok(found)
    }

    /// The entry that issued the receipt `id`, and its register.
    pub(super) fn receipt_issued(&self, id: &Tag) -> Result<(Recorded, Register), NodeError> {
        const ABSENT: NodeError = NodeError::NotFound("there is no such receipt");
        let index = self.newest(receipt_key(id))?.ok_or(ABSENT)?;
        let mut recorded = self.entry(index)?;
        if let Event::ReceiptErased(erased) = &recorded.event
            && erased.tag == *id
        {
            recorded = self.entry(erased.receipt_entry)?;
        }
        match &recorded.event {
            Event::ReceiptIssued(receipt) if receipt.tag == *id => {
                let register = receipt.register.clone();
                Ok((recorded, register))
            }
            _ => Err(ABSENT),
        }
    }
}
