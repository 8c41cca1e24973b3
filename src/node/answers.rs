//! What callers get. Each answer is made from the entry that records the
//! effect and from what lies beside it, the first time and every time after:
//! so a repeat is the same byte for byte.

use crate::credential::Terms;
use crate::credential::details::ReceiptDetails;
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write;
use crate::ledger::{Event, Mark, Place, Quote, Recorded};
use crate::primitives::{
    Amount, CampaignId, CouponName, Currency, Digest, RedemptionId, Register, Tag, UnixSeconds, limits,
};
use crate::store::beside;

use super::NodeError;
use super::find::{Lookup as _, misplaced, receipt_key};
use super::writer::Shared;

/// An entry by index and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef {
    /// Its index in the log.
    pub index: u64,
    /// Its hash, the leaf hash of the tree.
    pub hash: Digest,
}

impl From<&Recorded> for EntryRef {
    fn from(recorded: &Recorded) -> Self {
        Self {
            index: recorded.index,
            hash: recorded.hash,
        }
    }
}

/// A signed campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignAnswer {
    /// Its identity.
    pub id: CampaignId,
    /// The signed campaign (COSE).
    pub credential: Vec<u8>,
}

/// A campaign as anyone may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignView {
    /// Its identity.
    pub id: CampaignId,
    /// The signed campaign (COSE).
    pub credential: Vec<u8>,
    /// Its terms.
    pub terms: Terms,
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// When its coupons become valid.
    pub not_before: UnixSeconds,
    /// When they expire.
    pub not_after: UnixSeconds,
    /// The entry that signed it.
    pub entry: EntryRef,
}

/// One coupon as it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCoupon {
    /// Its name in office work.
    pub name: CouponName,
    /// The coupon (COSE): bearer value.
    pub credential: Vec<u8>,
}

/// A batch of coupons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponsAnswer {
    /// The batch: the index of its entry.
    pub batch: u64,
    /// Its coupons, in order.
    pub coupons: Vec<IssuedCoupon>,
    /// Its entry.
    pub entry: EntryRef,
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptAnswer {
    /// Its tag.
    pub id: Tag,
    /// Its register.
    pub register: Register,
    /// Its number there.
    pub sequence_number: u64,
    /// The signed stub (COSE).
    pub stub: Vec<u8>,
    /// The receipt secret, 32 bytes.
    pub secret: [u8; 32],
    /// Lines, tenders, taxes and the rest: the leaves of the details root.
    pub details: ReceiptDetails,
    /// How its time of sale came about.
    pub mark: Mark,
    /// Its entry.
    pub entry: EntryRef,
}

/// What of a receipt stays for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptStubAnswer {
    /// The register.
    pub register: Register,
    /// The signed stub.
    pub stub: Vec<u8>,
    /// Its entry.
    pub entry: EntryRef,
}

/// A redemption that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedemptionAnswer {
    /// Its identity.
    pub id: RedemptionId,
    /// The benefit granted.
    pub amount: Amount,
    /// Uses left; `None` where they are not limited.
    pub remaining_uses: Option<u32>,
    /// Value left; `None` unless it is a stored value.
    pub remaining_value: Option<Amount>,
    /// Its entry.
    pub entry: EntryRef,
}

/// A redemption as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedemptionView {
    /// What the till was answered.
    pub made: RedemptionAnswer,
    /// The coupon.
    pub coupon: CouponName,
    /// The campaign.
    pub campaign: CampaignId,
    /// The campaign's currency.
    pub currency: Currency,
    /// The basket's total.
    pub basket_total: Amount,
    /// Who asked for it.
    pub place: Place,
    /// `did:web` of the co-op that made it.
    pub redeemer: String,
    /// When it was made.
    pub at: UnixSeconds,
    /// How much of it has been reversed.
    pub reversed: Amount,
}

/// A reversal that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReversalAnswer {
    /// Its identity.
    pub id: RedemptionId,
    /// How much was taken back.
    pub amount: Amount,
    /// Its entry.
    pub entry: EntryRef,
}

/// A change of status that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusAnswer {
    /// How many coupons changed.
    pub changed: u64,
    /// Its entry.
    pub entry: EntryRef,
}

fn unreadable(index: u64) -> NodeError {
    NodeError::Inconsistent(format!("what lies beside entry {index} cannot be read"))
}

impl Shared {
    pub(super) fn campaign_answer(&self, recorded: &Recorded) -> Result<CampaignAnswer, NodeError> {
        match &recorded.event {
            Event::CampaignSigned(signed) => Ok(CampaignAnswer {
                id: signed.id,
                credential: signed.credential.clone(),
            }),
            _ => Err(misplaced(recorded.index, "a campaign's")),
        }
    }

    pub(super) fn receipt_answer(&self, recorded: &Recorded) -> Result<ReceiptAnswer, NodeError> {
        let answer = match beside::read(self.engine.as_ref(), recorded.index)? {
            Some(record) => ReceiptRecord::decode(&record)
                .ok_or_else(|| unreadable(recorded.index))?
                .answer(recorded)?,
            None => None,
        };
        match answer {
            Some(answer) => Ok(answer),
            None => Err(self.why_not_there(recorded)?),
        }
    }

    /// Why what lay beside a receipt's entry is not there.
    fn why_not_there(&self, recorded: &Recorded) -> Result<NodeError, NodeError> {
        let Event::ReceiptIssued(receipt) = &recorded.event else {
            return Err(misplaced(recorded.index, "a receipt's"));
        };
        let erased = self.erased(&receipt.tag, self.newest(receipt_key(&receipt.tag))?)?;
        Ok(erased.unwrap_or(NodeError::DoneBeforeLoss {
            entry: recorded.index,
        }))
    }

    /// The stub of the receipt that `recorded` records.
    pub(super) fn receipt_stub(&self, recorded: &Recorded) -> Result<Vec<u8>, NodeError> {
        match beside::read(self.engine.as_ref(), recorded.index)? {
            Some(record) => ReceiptRecord::stub_of(&record)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| unreadable(recorded.index)),
            None => Err(self.why_not_there(recorded)?),
        }
    }

    pub(super) fn redemption_answer(&self, recorded: &Recorded) -> Result<RedemptionAnswer, NodeError> {
        let Event::Redeemed(redeemed) = &recorded.event else {
            return Err(misplaced(recorded.index, "a redemption's"));
        };
        let campaign = self.campaign(&redeemed.campaign)?;
        let own = match &campaign.terms.benefit {
            crate::credential::Benefit::StoredValue { .. } => self.batch_amount(redeemed.batch_entry)?,
            _ => None,
        };
        let quote = Quote::after(
            &campaign.terms,
            own,
            redeemed.amount,
            redeemed.uses_after,
            redeemed.spent_after,
        );
        Ok(RedemptionAnswer {
            id: redeemed.id,
            amount: quote.amount,
            remaining_uses: quote.remaining_uses,
            remaining_value: quote.remaining_value,
            entry: recorded.into(),
        })
    }

    pub(super) fn reversal_answer(&self, recorded: &Recorded) -> Result<ReversalAnswer, NodeError> {
        match &recorded.event {
            Event::Reversed(reversed) => Ok(ReversalAnswer {
                id: reversed.id,
                amount: reversed.amount,
                entry: recorded.into(),
            }),
            _ => Err(misplaced(recorded.index, "a reversal's")),
        }
    }

    pub(super) fn status_answer(&self, recorded: &Recorded) -> Result<StatusAnswer, NodeError> {
        match &recorded.event {
            Event::StatusSet(set) => Ok(StatusAnswer {
                changed: set.changed,
                entry: recorded.into(),
            }),
            _ => Err(misplaced(recorded.index, "a change of status's")),
        }
    }
}

/// What lies beside a receipt's entry.
pub(crate) struct ReceiptRecord {
    /// The signed stub, which names no person and stays.
    pub stub: Vec<u8>,
    /// `None` where it was erased, or lost.
    pub personal: Option<Personal>,
}

/// Details, and the root that they give.
pub(crate) type RootedDetails = (ReceiptDetails, Digest);

/// What of a receipt's record can be erased.
pub(crate) struct Personal {
    pub secret: [u8; 32],
    pub details: ReceiptDetails,
}

impl ReceiptRecord {
    /// The answer to the call that `recorded` records; `None` where only the
    /// stub is left.
    pub fn answer(self, recorded: &Recorded) -> Result<Option<ReceiptAnswer>, NodeError> {
        let Event::ReceiptIssued(receipt) = &recorded.event else {
            return Err(misplaced(recorded.index, "a receipt's"));
        };
        Ok(self.personal.map(|personal| ReceiptAnswer {
            id: receipt.tag,
            register: receipt.register.clone(),
            sequence_number: receipt.sequence_number,
            details: personal.details,
            stub: self.stub,
            secret: personal.secret,
            mark: receipt.mark,
            entry: recorded.into(),
        }))
    }

    /// `[stub, details with the secret]`, both byte strings.
    pub fn encode(stub: &[u8], details: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(stub.len() + details.len() + 8);
        cbor_write::head(&mut out, cbor_write::ARRAY, 2);
        cbor_write::bytes(&mut out, stub);
        cbor_write::bytes(&mut out, details);
        out
    }

    /// `[stub]`: what is left of a receipt whose details were erased, or lost.
    pub fn encode_stub(stub: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(stub.len() + 4);
        cbor_write::head(&mut out, cbor_write::ARRAY, 1);
        cbor_write::bytes(&mut out, stub);
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (stub, details) = Self::parts(bytes)?;
        let personal = match details {
            Some(details) => {
                let (details, secret) = ReceiptDetails::decode(details).ok()?;
                Some(Personal { secret, details })
            }
            None => None,
        };
        Some(Self {
            stub: stub.to_vec(),
            personal,
        })
    }

    /// As [`ReceiptRecord::decode`], with the root that the details give; of the
    /// secret an audit has no use.
    pub fn decode_with_root(bytes: &[u8]) -> Option<(&[u8], Option<RootedDetails>)> {
        let (stub, details) = Self::parts(bytes)?;
        let details = match details {
            Some(details) => {
                let (details, _, root) = ReceiptDetails::decode_with_root(details).ok()?;
                Some((details, root))
            }
            None => None,
        };
        Some((stub, details))
    }

    /// The signed stub of a stored record.
    pub fn stub_of(bytes: &[u8]) -> Option<&[u8]> {
        Self::parts(bytes).map(|(stub, _)| stub)
    }

    /// Stub and stored details. Byte strings have but one deterministic
    /// encoding: what is read is written again and compared.
    fn parts(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
        if bytes.len() > limits::DETAIL_RECORD_BYTES_MAX {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let items = reader.array()?;
        let stub = reader.bytes()?;
        let (details, again) = match items {
            1 => (None, Self::encode_stub(stub)),
            2 => {
                let details = reader.bytes()?;
                (Some(details), Self::encode(stub, details))
            }
            _ => return None,
        };
        (again == bytes).then_some((stub, details))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_whole_or_as_its_stub_alone() {
        let details = ReceiptDetails {
            member: Some("4711".to_owned()),
            ..ReceiptDetails::default()
        };
        let whole = ReceiptRecord::encode(b"stub", &details.encode(&[7; 32]));
        let read = ReceiptRecord::decode(&whole).unwrap();
        let personal = read.personal.unwrap();
        assert_eq!((read.stub.as_slice(), personal.secret), (&b"stub"[..], [7; 32]));
        assert_eq!(personal.details, details);

        let stub = ReceiptRecord::encode_stub(b"stub");
        let read = ReceiptRecord::decode(&stub).unwrap();
        assert!(read.personal.is_none() && read.stub == b"stub");
        for record in [&whole, &stub] {
            assert_eq!(ReceiptRecord::stub_of(record), Some(&b"stub"[..]));
        }
    }

    #[test]
    fn other_bytes_are_no_record() {
        let stub = ReceiptRecord::encode_stub(b"stub");
        let longer = [stub.as_slice(), &[0]].concat();
        let long_head = [&[0x98, 1], &stub[1..]].concat();
        for bytes in [
            &b""[..],
            &[0x80],
            &stub[..4],
            &longer,
            &long_head,
            &[0x83, 0x40, 0x40, 0x40],
        ] {
            assert!(ReceiptRecord::decode(bytes).is_none(), "{bytes:?}");
        }
    }
}
