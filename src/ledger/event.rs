//! What happened: one event is one log entry's body.

use crate::credential::Algorithm;
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, KeyId, Position, RedemptionId, Register, Tag, UnixSeconds,
};

use super::partner::{CancelWished, Intent, IntentEnded, Place, RedeemerHalf, RequestCancelled};
use super::revocation::NewStatus;

/// The three keyed hashes of an entry that answers a request (formats,
/// section 4): they rebuild what retries need, and tell nothing to anyone
/// without the node's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// HMAC of scope and `Idempotency-Key`.
    pub key: [u8; 16],
    /// HMAC of register, kind of call and till reference, where the call has one.
    pub reference: Option<[u8; 16]>,
    /// HMAC of method, path, content type and body.
    pub request: [u8; 16],
}

/// How the decisive time of a receipt came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Posted as the sale was made.
    Live = 0,
    /// Posted after an outage of the till's link.
    Offline = 1,
    /// Taken over from a till's export.
    Import = 2,
}

/// The first entry: who keeps this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The co-op's name for people.
    pub name: String,
    /// The node's base URL.
    pub base_url: String,
    /// Public key that signs credentials.
    pub credential_key: [u8; 32],
    /// Public key that signs checkpoints.
    pub log_key: [u8; 32],
    /// Public key that cosigns others' checkpoints.
    pub witness_key: [u8; 32],
}

/// A campaign's terms were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignSigned {
    /// The campaign's identity.
    pub id: CampaignId,
    /// The signed campaign, whole.
    pub credential: Vec<u8>,
}

/// A batch of coupons was issued (a single coupon is a batch of one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchIssued {
    /// The campaign.
    pub campaign: CampaignId,
    /// The first coupon's position.
    pub first: Position,
    /// How many, at positions `first..first + count`.
    pub count: u32,
    /// The coupons' own start, if they have one.
    pub not_before: Option<UnixSeconds>,
    /// The coupons' end.
    pub not_after: UnixSeconds,
    /// The coupons' own amount, if they have one.
    pub amount: Option<Amount>,
    /// The key that signed them.
    pub kid: KeyId,
    /// The algorithm they name.
    pub algorithm: Algorithm,
    /// Merkle root (RFC 6962) over the coupons' tags in order of position.
    pub tags_root: Digest,
}

impl BatchIssued {
    /// The position of its coupon number `leaf`.
    #[must_use]
    pub fn position(&self, leaf: u32) -> Position {
        Position(self.first.0 + u64::from(leaf))
    }
}

/// A receipt was issued. Stub, details and secret lie beside the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptIssued {
    /// The receipt's tag.
    pub tag: Tag,
    /// The register.
    pub register: Register,
    /// Its number at that register, from 1, without gaps.
    pub sequence_number: u64,
    /// How the time of sale came about.
    pub mark: Mark,
    /// The time of sale, where it is not the entry's time.
    pub at: Option<UnixSeconds>,
}

/// A coupon was redeemed. At a register of its issuer's one entry is both halves;
/// for a partner it is the issuer half, of a kind of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// The redemption's identity.
    pub id: RedemptionId,
    /// The coupon's tag.
    pub tag: Tag,
    /// The coupon's status list and index.
    pub name: CouponName,
    /// Index of the entry of the coupon's batch.
    pub batch_entry: u64,
    /// The coupon's place in that batch.
    pub leaf: u32,
    /// The campaign.
    pub campaign: CampaignId,
    /// The benefit granted.
    pub amount: Amount,
    /// What the customer's basket came to.
    pub basket_total: Amount,
    /// `did:web` of the co-op that issued the coupon.
    pub issuer: String,
    /// `did:web` of the co-op that redeemed it.
    pub redeemer: String,
    /// Who asked.
    pub place: Place,
    /// SHA-256 of the request.
    pub request: Digest,
    /// Hash of the coupon's latest earlier entry, zero for the first.
    pub previous: Digest,
    /// Uses counted, this one included.
    pub uses_after: u32,
    /// Value spent, this included.
    pub spent_after: Amount,
    /// True when nothing is left of the coupon.
    pub used_up: bool,
    /// The time that counts, where it is not the entry's time.
    pub at: Option<UnixSeconds>,
    /// How that time came about.
    pub mark: Mark,
}

/// A redemption was reversed, in whole or part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reversed {
    /// The reversal's own identity.
    pub id: RedemptionId,
    /// The redemption it reverses.
    pub redemption: RedemptionId,
    /// Index of that redemption's entry.
    pub redemption_entry: u64,
    /// The coupon's tag.
    pub tag: Tag,
    /// The coupon's status list and index.
    pub name: CouponName,
    /// The campaign.
    pub campaign: CampaignId,
    /// How much is taken back.
    pub amount: Amount,
    /// Whether the use (of stored value: the amount) returns to the coupon.
    pub give_back: bool,
    /// Hash of the coupon's latest earlier entry.
    pub previous: Digest,
    /// Index of the entry of the coupon's latest redemption.
    pub latest_redemption_entry: u64,
    /// Uses counted after this.
    pub uses_after: u32,
    /// Value spent after this.
    pub spent_after: Amount,
    /// How much of the redemption is reversed after this.
    pub reversed_after: Amount,
    /// True when nothing is left of the coupon.
    pub used_up: bool,
    /// The time that counts, where it is not the entry's time.
    pub at: Option<UnixSeconds>,
    /// The partner that asked, where it was one.
    pub partner: Option<PartnerCall>,
}

/// A partner's request that an entry answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerCall {
    /// `did:web` of the co-op that asked.
    pub redeemer: String,
    /// The request's identity, as that co-op drew it.
    pub request_id: RedemptionId,
    /// SHA-256 of the request.
    pub request: Digest,
}

/// What a change of status is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusTarget {
    /// One coupon.
    Coupon(CouponName),
    /// All coupons of a batch, by the index of its entry.
    Batch(u64),
    /// All coupons of a campaign, present and future.
    Campaign(CampaignId),
}

/// Coupons were revoked or suspended, or a suspension was lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet {
    /// Which coupons.
    pub target: StatusTarget,
    /// What they are now.
    pub status: NewStatus,
    /// How many coupons changed.
    pub changed: u64,
}

/// A status list was signed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusListSigned {
    /// The list's number.
    pub list: u32,
    /// The token's `iat`, its version.
    pub issued_at: UnixSeconds,
    /// The token's `exp`.
    pub expires: UnixSeconds,
    /// SHA-256 of the token.
    pub token: Digest,
}

/// A receipt's details and secret were erased. Its stub stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptErased {
    /// The receipt's tag.
    pub tag: Tag,
    /// Index of the receipt's entry.
    pub receipt_entry: u64,
    /// Why; names no person.
    pub reason: String,
    /// How many receipts the request has erased, this one included: an entry is
    /// about one, a request about all of a member's.
    pub erased: u64,
}

/// From here on credentials are signed with another key too: the node has been given
/// it in the place of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialKeyAdded {
    /// The public key.
    pub key: [u8; 32],
    /// Index of the entry that names the key before: 0 for the first one's.
    pub previous: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Kind 0.
    Genesis(Genesis),
    /// Kind 1.
    CampaignSigned(CampaignSigned),
    /// Kind 2.
    BatchIssued(BatchIssued),
    /// Kind 3.
    ReceiptIssued(ReceiptIssued),
    /// Kind 4; for a partner kind 13.
    Redeemed(Redeemed),
    /// Kind 5; for a partner kind 14.
    Reversed(Reversed),
    /// Kind 6.
    StatusSet(StatusSet),
    /// Kind 7.
    StatusListSigned(StatusListSigned),
    /// Kind 8.
    ReceiptErased(ReceiptErased),
    /// Kind 9.
    Intent(Intent),
    /// Kind 10.
    RedeemerHalf(RedeemerHalf),
    /// Kind 11.
    IntentEnded(IntentEnded),
    /// Kind 12.
    CancelWished(CancelWished),
    /// Kind 15.
    RequestCancelled(RequestCancelled),
    /// Kind 16.
    CredentialKeyAdded(CredentialKeyAdded),
}

/// An event in its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The entry's index.
    pub index: u64,
    /// The entry's hash.
    pub hash: Digest,
    /// The entry's time.
    pub time: UnixSeconds,
    /// What happened.
    pub event: Event,
    /// The request it answers, if it answers one.
    pub answers: Option<Answers>,
}
