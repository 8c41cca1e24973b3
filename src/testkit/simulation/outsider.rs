//! Somebody outside the roster who asks for redemptions, under its own key or the id of a
//! member's, and sends old messages again.

use super::forged;
use super::line::{Call, Lines};
use super::prepared::{MEMBERS, Prepared};
use crate::federation::message::{Head, MessageName};
use crate::federation::redemption::PATH;
use crate::federation::redemption::wire::{Request, Wanted, requests_body};
use crate::ledger::Basket;
use crate::primitives::{Amount, Currency, RedemptionId, UnixSeconds, limits};
use crate::testkit::Dice;
use crate::testkit::node::keyring;

/// One who is no member, under its own name or under a member's.
pub struct Outsider<'a> {
    /// What there is to be had.
    pub prepared: &'a Prepared,
    /// Its luck.
    pub dice: &'a Dice,
    /// The requests that it made, by sender and identity.
    pub asked: Vec<(String, RedemptionId)>,
}

impl Outsider<'_> {
    /// Asks a member for a redemption.
    ///
    /// # Panics
    /// When it is answered.
    pub async fn ask(&mut self, lines: &Lines, now: UnixSeconds) {
        let to = self.dice.place(MEMBERS);
        let issuer = &self.prepared.members[to];
        let other = &self.prepared.members[(to + 1) % MEMBERS];
        let sender = if self.dice.once_in(4) {
            "did:web:coop-9.example".to_owned()
        } else {
            other.did.clone()
        };
        let batches = self.prepared.batches.iter().filter(|batch| batch.issuer == to);
        let batches: Vec<_> = batches.collect();
        let batch = batches[self.dice.place(batches.len())];
        let coupon = &batch.coupons[self.dice.place(batch.coupons.len())];
        let mut id = [0xee; 16];
        id[..8].copy_from_slice(&self.dice.below(u64::MAX).to_be_bytes());
        let id = RedemptionId(id);
        let request = Request {
            redeemer: sender.clone(),
            issuer: issuer.did.clone(),
            id,
            wanted: Wanted::Redeem {
                not_after: now.plus(limits::REQUEST_SECONDS),
                reference: [1; 16],
                coupon: coupon.credential.clone(),
                basket: Basket {
                    total: Amount::new(2_000).expect("a small amount"),
                    currency: Currency::from_letters("EUR").expect("a currency"),
                },
                amount: None,
            },
        };
        let head = Head {
            sender: sender.clone(),
            audience: issuer.did.clone(),
            time: now,
            id: id.0,
            roster_version: 2,
        };
        let bytes = request.encode();
        let body = requests_body(0, std::iter::once(bytes.as_slice()));
        let name = MessageName::Redemption;
        let message = if sender == other.did && !self.dice.once_in(3) {
            let kid = keyring(other.seed).messages.kid();
            forged::seal(kid, name, &head, &body)
        } else {
            forged::own(name, &head, &body)
        };
        self.asked.push((sender, id));
        let call = Call {
            path: PATH.to_owned(),
            message: Some(message),
        };
        if let Some((status, _)) = lines.from_outside(to, call).await {
            assert_ne!(status, 200, "a stranger was answered by member {to}");
        }
    }

    /// Sends a message once more that somebody has sent before, to whom it was for or
    /// to somebody else.
    pub async fn replay(&self, lines: &Lines) {
        if let Some((to, call)) = lines.posted(|count| self.dice.place(count)) {
            let to = if self.dice.once_in(3) {
                self.dice.place(MEMBERS)
            } else {
                to
            };
            // What it does is looked for in the logs.
            let _ = lines.from_outside(to, call).await;
        }
    }

    /// Sends everything once more, to whom it was for, that asked for redemptions: what was
    /// lost on its way, or was called off since, has to stay without effect.
    pub async fn replay_all(&self, lines: &Lines) {
        for (to, call) in lines.asked() {
            let _ = lines.from_outside(to, call).await;
        }
    }
}
