//! Coupons (formats, section 3, kind 1).

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError};
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::primitives::{Amount, CampaignId, CouponName, KeyId, Origin, UnixSeconds, limits};

use super::claims::{self, CNF, CONTENT, Claims, EXP, NBF, STATUS};
use super::cose;
use super::error::CredentialError;
use super::keys::PublicKey;
use super::signed::{Content, Signed};

const STATUS_LIST: &str = "status_list";
const IDX: &str = "idx";
const URI: &str = "uri";

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
            (cbor::text(IDX), cbor::int(self.index)),
            (cbor::text(URI), cbor::text(self.uri.as_str())),
        ]);
        cbor::map([(cbor::text(STATUS_LIST), list)])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::head(out, write::MAP, 1);
        write::text(out, STATUS_LIST);
        write::head(out, write::MAP, 2);
        write::text(out, IDX);
        write::uint(out, u64::from(self.index));
        write::text(out, URI);
        write::text(out, &self.uri);
    }

    /// The caller writes it again and compares, keys and order included.
    fn read_quickly(reader: &mut Reader<'_>) -> Option<Self> {
        reader.map()?;
        reader.text()?;
        reader.map()?;
        reader.text()?;
        let index = u32::try_from(reader.uint()?).ok()?;
        reader.text()?;
        let uri = reader.text()?;
        let inside =
            index < limits::STATUS_LIST_LEN && (1..=limits::STATUS_URI_BYTES_MAX).contains(&uri.len());
        inside.then(|| Self {
            uri: uri.to_owned(),
            index,
        })
    }

    pub(super) fn read(value: &Value) -> Result<Self, GateError> {
        const WHAT: &str = "status holds exactly one status_list with idx and uri";
        const INDEX: &str = "the status index is out of bounds";
        let outer = cbor::as_map(value, WHAT)?;
        let list = outer
            .get(&cbor::text(STATUS_LIST))
            .ok_or(GateError::Shape(WHAT))?;
        let list = cbor::as_map(list, WHAT)?;
        let item = |key: &str| list.get(&cbor::text(key)).ok_or(GateError::Shape(WHAT));
        if outer.len() != 1 || list.len() != 2 {
            return Err(GateError::Shape(WHAT));
        }
        let index = cbor::as_int(item(IDX)?, INDEX)?;
        if index >= limits::STATUS_LIST_LEN {
            return Err(GateError::Shape(INDEX));
        }
        let uri = claims::read_text(
            item(URI)?,
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

    fn to_payload(&self) -> Vec<u8> {
        if self.holder.is_some() {
            return cbor::encode(&self.to_value());
        }
        let mut out = Vec::with_capacity(96 + self.status.uri.len());
        write::head(&mut out, write::MAP, 3 + u64::from(self.not_before.is_some()));
        write::int(&mut out, EXP);
        write::uint(&mut out, self.not_after.0);
        if let Some(at) = self.not_before {
            write::int(&mut out, NBF);
            write::uint(&mut out, at.0);
        }
        write::int(&mut out, STATUS);
        self.status.write(&mut out);
        write::int(&mut out, CONTENT);
        write::head(&mut out, write::ARRAY, 2 + u64::from(self.amount.is_some()));
        write::uint(&mut out, Self::KIND);
        write::bytes(&mut out, &self.campaign.0);
        if let Some(amount) = self.amount {
            write::int(&mut out, amount.minor_units());
        }
        out
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

impl Coupon {
    /// What a coupon says, read as [`Signed::parse`] reads it and without its
    /// signature: for whoever knows the coupon otherwise, as its issuer does.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn parse_unverified(bytes: &[u8]) -> Result<Self, CredentialError> {
        match read_quickly(bytes) {
            Some((coupon, _)) => Ok(coupon),
            None => Signed::parse(bytes).map(Signed::into_content),
        }
    }
}

/// A well-formed coupon, with what its signature is to be verified over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponToVerify {
    /// What it says.
    pub coupon: Coupon,
    /// The signer's kid.
    pub kid: KeyId,
    /// The signed bytes (RFC 9052 section 4.4).
    pub message: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
}

impl CouponToVerify {
    /// Reads a coupon as [`Signed::parse`] does.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialError> {
        if let Some((coupon, parts)) = read_quickly(bytes) {
            return Ok(Self {
                coupon,
                kid: parts.kid,
                message: parts.sig_structure(&[]),
                signature: parts.signature,
            });
        }
        let signed = Signed::<Coupon>::parse(bytes)?;
        Ok(Self {
            kid: signed.kid(),
            message: signed.sign1().sig_structure(&[]),
            signature: *signed.sign1().signature(),
            coupon: signed.into_content(),
        })
    }
}

/// The quick way, for coupons that are bound to nobody; it leaves what it does
/// not take to the gate.
fn read_quickly(bytes: &[u8]) -> Option<(Coupon, cose::Parts<'_>)> {
    let parts = cose::Parts::read(bytes, cose::TYP_CREDENTIAL, limits::CREDENTIAL_BYTES_MAX)?;
    let coupon = read_payload(parts.payload).filter(|coupon| coupon.to_payload() == parts.payload)?;
    Some((coupon, parts))
}

/// Ranges are judged here; keys, order and what follows by writing it again.
fn read_payload(payload: &[u8]) -> Option<Coupon> {
    let mut reader = Reader::new(payload);
    reader.map()?;
    reader.int()?;
    let not_after = read_time(&mut reader)?;
    let mut not_before = None;
    if reader.int()? == NBF {
        not_before = Some(read_time(&mut reader)?);
        reader.int()?;
    }
    let status = StatusRef::read_quickly(&mut reader)?;
    reader.int()?;
    let items = reader.array()?;
    reader.uint()?;
    let campaign = CampaignId(reader.byte_array()?);
    let amount = match items {
        3 => Some(
            Amount::new(reader.int()?)
                .ok()
                .filter(|amount| *amount > Amount::ZERO)?,
        ),
        _ => None,
    };
    Some(Coupon {
        campaign,
        amount,
        not_before,
        not_after,
        status,
        holder: None,
    })
}

fn read_time(reader: &mut Reader<'_>) -> Option<UnixSeconds> {
    let seconds = reader.uint()?;
    (seconds <= limits::UNIX_SECONDS_MAX).then_some(UnixSeconds(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credential::{Algorithm, fixtures};

    fn any_coupon() -> impl Strategy<Value = Coupon> {
        let times = || prop_oneof![0..300_u64, 0..=limits::UNIX_SECONDS_MAX].prop_map(UnixSeconds);
        let amounts = prop_oneof![1..300_i64, 1..=limits::AMOUNT_MAX];
        let holder = proptest::option::weighted(0.2, Just(*fixtures::key().public()));
        let place = (
            "https://[a-z]{1,30}\\.coop/s/[0-9]{1,3}",
            0..limits::STATUS_LIST_LEN,
            0..22_u32,
        );
        (
            any::<[u8; 16]>(),
            proptest::option::of(amounts),
            proptest::option::of(times()),
            times(),
            place,
            holder,
        )
            .prop_map(
                |(campaign, amount, not_before, not_after, (uri, index, shift), holder)| Coupon {
                    campaign: CampaignId(campaign),
                    amount: amount.map(|units| Amount::new(units).unwrap()),
                    not_before,
                    not_after,
                    status: StatusRef {
                        uri,
                        index: index >> shift,
                    },
                    holder,
                },
            )
    }

    fn slowly(bytes: &[u8]) -> Result<CouponToVerify, CredentialError> {
        Signed::<Coupon>::parse(bytes).map(|signed| CouponToVerify {
            coupon: signed.content().clone(),
            kid: signed.kid(),
            message: signed.sign1().sig_structure(&[]),
            signature: *signed.sign1().signature(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn the_quick_ways_equal_the_slow_ones(
            coupon in any_coupon(),
            newer in any::<bool>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 16),
        ) {
            prop_assert_eq!(coupon.to_payload(), cbor::encode(&coupon.to_value()));
            let alg = if newer { Algorithm::Ed25519 } else { Algorithm::EdDsa };
            let bytes = coupon.sign(&fixtures::key(), alg);
            prop_assert_eq!(read_quickly(&bytes).is_some(), coupon.holder.is_none());
            prop_assert_eq!(Coupon::parse_unverified(&bytes), Ok(coupon));
            prop_assert_eq!(CouponToVerify::parse(&bytes), slowly(&bytes));
            // Whatever else the quick way takes, the gate takes as the same.
            for (at, byte) in changes {
                let mut changed = bytes.clone();
                let at = at.index(changed.len());
                changed[at] = byte;
                let slow = Signed::<Coupon>::parse(&changed).map(Signed::into_content);
                if let Some((quick, _)) = read_quickly(&changed) {
                    prop_assert_eq!(slow.as_ref(), Ok(&quick));
                }
                prop_assert_eq!(Coupon::parse_unverified(&changed), slow);
                prop_assert_eq!(CouponToVerify::parse(&changed), slowly(&changed));
            }
        }
    }

    #[test]
    fn a_status_has_a_name_at_its_own_node_only() {
        let name = CouponName {
            list: 7,
            index: 131_071,
        };
        let origin = Origin::parse("https://shop.coop-example.eu").unwrap();
        let status = StatusRef::new(&origin, name);
        assert_eq!(status, fixtures::coupon().status);
        assert_eq!(status.name(&origin), Some(name));
        let other = Origin::parse("https://shop.coop-example.e").unwrap();
        assert_eq!(status.name(&other), None);
    }

    #[test]
    fn what_is_cut_off_or_carried_on_is_left_to_the_gate() {
        let bytes = fixtures::coupon().sign(&fixtures::key(), Algorithm::EdDsa);
        for end in 0..bytes.len() {
            assert!(read_quickly(&bytes[..end]).is_none());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(read_quickly(&longer).is_none());
        assert!(Coupon::parse_unverified(&longer).is_err());
    }
}
