//! Coupons (formats, section 3, kind 1).

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError};
use crate::primitives::{Amount, CampaignId, CouponName, Origin, UnixSeconds, limits};

use super::claims::{self, CNF, CONTENT, Claims, EXP, NBF, STATUS};
use super::error::CredentialError;
use super::keys::PublicKey;
use super::signed::Content;

/// Where a credential's status stands: a list and an index in it
/// (draft-ietf-oauth-status-list).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatusRef {
    /// The list's absolute URI, `https://HOST/s/<n>`.
    pub uri: String,
    /// The index in it, below [`limits::STATUS_LIST_LEN`].
    pub index: u32,
}

impl StatusRef {
    /// The place of `name` at a node's base URL.
    #[must_use]
    pub fn new(origin: &Origin, name: CouponName) -> Self {
        Self {
            uri: origin.status_uri(name.list),
            index: name.index,
        }
    }

    /// The name in office work, if the uri is exactly one of `origin`'s.
    #[must_use]
    pub fn name(&self, origin: &Origin) -> Option<CouponName> {
        let list = origin.status_list_of(&self.uri)?;
        Some(CouponName {
            list,
            index: self.index,
        })
    }

    pub(super) fn to_value(&self) -> Value {
        let list = cbor::map([
            (cbor::text("idx"), cbor::int(self.index)),
            (cbor::text("uri"), cbor::text(self.uri.as_str())),
        ]);
        cbor::map([(cbor::text("status_list"), list)])
    }

    pub(super) fn read(value: &Value) -> Result<Self, GateError> {
        const WHAT: &str = "status holds exactly one status_list with idx and uri";
        const INDEX: &str = "the status index is out of bounds";
        let outer = cbor::as_map(value, WHAT)?;
        let list = outer
            .get(&cbor::text("status_list"))
            .ok_or(GateError::Shape(WHAT))?;
        let list = cbor::as_map(list, WHAT)?;
        let item = |key: &str| list.get(&cbor::text(key)).ok_or(GateError::Shape(WHAT));
        if outer.len() != 1 || list.len() != 2 {
            return Err(GateError::Shape(WHAT));
        }
        let index = cbor::as_int(item("idx")?, INDEX)?;
        if index >= limits::STATUS_LIST_LEN {
            return Err(GateError::Shape(INDEX));
        }
        let uri = claims::read_text(
            item("uri")?,
            limits::STATUS_URI_BYTES_MAX,
            "the status uri's length",
        )?;
        Ok(Self { uri, index })
    }
}

/// What a coupon says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// The terms it is issued under.
    pub campaign: CampaignId,
    /// Its own amount in place of the benefit's; above zero.
    pub amount: Option<Amount>,
    /// Valid from; else the campaign's.
    pub not_before: Option<UnixSeconds>,
    /// Valid until, this second excluded (RFC 8392: 'on or after' is expired).
    pub not_after: UnixSeconds,
    /// Where its status stands. Same list and index: the same coupon.
    pub status: StatusRef,
    /// The holder's key that it is bound to.
    pub holder: Option<PublicKey>,
}

impl Content for Coupon {
    const KIND: u64 = 1;
    const NAME: &'static str = "coupon";

    fn to_value(&self) -> Value {
        let mut content = vec![cbor::int(Self::KIND), cbor::bytes(self.campaign)];
        content.extend(self.amount.map(claims::amount));
        let mut pairs = vec![
            (cbor::int(EXP), claims::time(self.not_after)),
            (cbor::int(STATUS), self.status.to_value()),
            (cbor::int(CONTENT), Value::Array(content)),
        ];
        pairs.extend(self.not_before.map(|at| (cbor::int(NBF), claims::time(at))));
        pairs.extend(self.holder.as_ref().map(|key| (cbor::int(CNF), claims::cnf(key))));
        cbor::map(pairs)
    }

    fn read(payload: &Value) -> Result<Self, CredentialError> {
        const WHAT: &str = "a coupon's content is [1, campaign, ? amount]";
        let claims = Claims::read(payload, &[EXP, NBF, CNF, STATUS, CONTENT])?;
        let (campaign, amount) = match cbor::as_array(claims.need(CONTENT)?, WHAT)? {
            [_, campaign] => (campaign, None),
            [_, campaign, amount] => (campaign, Some(claims::read_positive(amount)?)),
            _ => return Err(GateError::Shape(WHAT).into()),
        };
        Ok(Self {
            campaign: CampaignId(cbor::as_byte_array(campaign, WHAT)?),
            amount,
            not_before: claims.optional_time(NBF)?,
            not_after: claims.time(EXP)?,
            status: StatusRef::read(claims.need(STATUS)?)?,
            holder: claims.get(CNF).map(claims::read_cnf).transpose()?,
        })
    }
}
