//! Status lists (draft-ietf-oauth-status-list, CWT form; formats, section 3,
//! 'Status').
//!
//! In scope: packing, the signed token, reading one. Out of scope: whose list
//! it is (its `sub` is compared whole, by the caller) and how old it may be.

use serde_cbor::Value;

use crate::encoding::cbor::{self, GateError};
use crate::encoding::zlib;
use crate::primitives::{UnixSeconds, limits};

use super::claims::{self, Claims, EXP, IAT};
use super::cose::{self, Algorithm, Sign1, TYP_STATUS_LIST};
use super::error::CredentialError;
use super::keys::{SecretKey, Verifies};

const SUB: i64 = 2;
const STATUS_LIST: i64 = 65_533;
const TTL: i64 = 65_534;
const KEY_BITS: &str = "bits";
const KEY_LIST: &str = "lst";

/// Bytes of a whole list of 2-bit statuses.
const LIST_BYTES_MAX: usize = limits::STATUS_LIST_LEN as usize * limits::STATUS_BITS as usize / 8;
const STATUSES_PER_BYTE: u32 = 8 / limits::STATUS_BITS as u32;
const STATUS_MASK: u8 = (1 << limits::STATUS_BITS) - 1;

/// A status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Status {
    /// 0: valid.
    #[default]
    Valid,
    /// 1: invalid, here revoked. For good.
    Revoked,
    /// 2: suspended.
    Suspended,
    /// 3: application-specific, here used up.
    UsedUp,
}

impl Status {
    /// Its number, 0 to 3.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Revoked => 1,
            Self::Suspended => 2,
            Self::UsedUp => 3,
        }
    }

    /// The snake_case word, for machines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::UsedUp => "used_up",
        }
    }

    fn from_low_bits(bits: u8) -> Self {
        match bits & STATUS_MASK {
            0 => Self::Valid,
            1 => Self::Revoked,
            2 => Self::Suspended,
            _ => Self::UsedUp,
        }
    }
}

/// Packs statuses of `bits` (1, 2, 4 or 8) bits from the least significant bit
/// of each byte on (the draft's section on compression). Higher bits of a
/// status are cut off.
#[must_use]
pub fn pack(bits: u8, statuses: &[u8]) -> Vec<u8> {
    debug_assert!(matches!(bits, 1 | 2 | 4 | 8));
    let per_byte = usize::from(8 / bits);
    let mask = u8::MAX >> (8 - bits);
    let pack_byte = |chunk: &[u8]| {
        chunk.iter().rev().fold(0_u8, |byte, status| {
            byte.wrapping_shl(bits.into()) | (status & mask)
        })
    };
    statuses
        .chunks(per_byte)
        .map(|chunk| if per_byte == 1 { chunk[0] } else { pack_byte(chunk) })
        .collect()
}

/// The statuses of one list, packed as they travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses {
    packed: Vec<u8>,
}

impl Default for Statuses {
    fn default() -> Self {
        Self::new()
    }
}

impl Statuses {
    /// A whole list of [`limits::STATUS_LIST_LEN`] valid coupons.
    #[must_use]
    pub fn new() -> Self {
        Self {
            packed: vec![0; LIST_BYTES_MAX],
        }
    }

    /// How many statuses it holds.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.packed.len()).map_or(u32::MAX, |bytes| bytes * STATUSES_PER_BYTE)
    }

    /// True if it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// The status at `index`; `None` out of bounds.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Status> {
        let byte = self.packed.get((index / STATUSES_PER_BYTE) as usize)?;
        Some(Status::from_low_bits(byte >> Self::shift(index)))
    }

    /// Sets the status at `index`; `false` out of bounds.
    pub fn set(&mut self, index: u32, status: Status) -> bool {
        let Some(byte) = self.packed.get_mut((index / STATUSES_PER_BYTE) as usize) else {
            return false;
        };
        let shift = Self::shift(index);
        *byte = (*byte & !(STATUS_MASK << shift)) | (status.number() << shift);
        true
    }

    fn shift(index: u32) -> u32 {
        index % STATUSES_PER_BYTE * u32::from(limits::STATUS_BITS)
    }

    /// The packed bytes, four statuses each.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Takes packed bytes: 1 up to a whole list's.
    ///
    /// # Errors
    /// [`CredentialError::Content`] for none or too many.
    pub fn from_packed(packed: Vec<u8>) -> Result<Self, CredentialError> {
        if (1..=LIST_BYTES_MAX).contains(&packed.len()) {
            Ok(Self { packed })
        } else {
            Err(CredentialError::Content(
                "a status list holds 1 to 131,072 statuses",
            ))
        }
    }
}

/// What a status list token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusList {
    /// The list's URI (`sub`), exactly what coupons name.
    pub uri: String,
    /// When it was signed: its version.
    pub issued_at: UnixSeconds,
    /// Undetermined from here on.
    pub expires: UnixSeconds,
    /// Seconds after which a newer one should be fetched.
    pub ttl: u64,
    /// The statuses.
    pub statuses: Statuses,
}

impl StatusList {
    /// The status at `index`; `None` out of bounds: to be rejected.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Status> {
        self.statuses.get(index)
    }

    /// Signs the token.
    #[must_use]
    pub fn sign(&self, key: &SecretKey, alg: Algorithm) -> Vec<u8> {
        let list = cbor::map([
            (cbor::text(KEY_BITS), cbor::int(limits::STATUS_BITS)),
            (
                cbor::text(KEY_LIST),
                cbor::bytes(zlib::deflate(self.statuses.packed())),
            ),
        ]);
        let payload = cbor::map([
            (cbor::int(SUB), cbor::text(self.uri.as_str())),
            (cbor::int(IAT), claims::time(self.issued_at)),
            (cbor::int(EXP), claims::time(self.expires)),
            (cbor::int(TTL), cbor::int(self.ttl)),
            (cbor::int(STATUS_LIST), list),
        ]);
        cose::sign1(key, alg, TYP_STATUS_LIST, key.kid(), &cbor::encode(&payload), &[])
    }
}

/// A well-formed status list token, its signature not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusListToken {
    list: StatusList,
    sign1: Sign1,
}

impl StatusListToken {
    /// Reads a token: gate, type, claims, bounded inflation.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialError> {
        let sign1 = Sign1::parse(bytes, limits::STATUS_TOKEN_BYTES_MAX)?;
        if sign1.typ() != TYP_STATUS_LIST {
            return Err(CredentialError::WrongType {
                expected: TYP_STATUS_LIST,
            });
        }
        let claims = Claims::read(sign1.value(), &[SUB, IAT, EXP, TTL, STATUS_LIST])?;
        let list = StatusList {
            uri: claims::read_text(
                claims.need(SUB)?,
                limits::STATUS_URI_BYTES_MAX,
                "sub is the list's uri",
            )?,
            issued_at: claims.time(IAT)?,
            expires: claims.time(EXP)?,
            ttl: cbor::as_int(claims.need(TTL)?, "ttl is a number of seconds")?,
            statuses: read_list(claims.need(STATUS_LIST)?)?,
        };
        Ok(Self { list, sign1 })
    }

    /// What it says.
    #[must_use]
    pub fn list(&self) -> &StatusList {
        &self.list
    }

    /// What it says, without the rest.
    #[must_use]
    pub fn into_list(self) -> StatusList {
        self.list
    }

    /// The COSE structure.
    #[must_use]
    pub fn sign1(&self) -> &Sign1 {
        &self.sign1
    }

    /// Verifies the signature strictly.
    ///
    /// # Errors
    /// [`CredentialError::BadSignature`].
    pub fn verify(&self, key: &impl Verifies) -> Result<(), CredentialError> {
        self.sign1.verify(key, &[])
    }
}

fn read_list(value: &Value) -> Result<Statuses, CredentialError> {
    const WHAT: &str = "status_list holds exactly bits, which is 2, and lst";
    let map = cbor::as_map(value, WHAT)?;
    let item = |key: &str| map.get(&cbor::text(key)).ok_or(GateError::Shape(WHAT));
    let bits: u8 = cbor::as_int(item(KEY_BITS)?, WHAT)?;
    if map.len() != 2 || bits != limits::STATUS_BITS {
        return Err(GateError::Shape(WHAT).into());
    }
    let stream = cbor::as_bytes(item(KEY_LIST)?, WHAT)?;
    Statuses::from_packed(zlib::inflate(stream, LIST_BYTES_MAX)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::fixtures::hex;
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[4; 32])
    }

    fn list(statuses: Statuses) -> StatusList {
        StatusList {
            uri: "https://shop.coop-example.eu/s/0".to_owned(),
            issued_at: UnixSeconds(1_790_000_000),
            expires: UnixSeconds(1_790_086_400),
            ttl: 60,
            statuses,
        }
    }

    /// The draft's published examples: 1-bit and 2-bit arrays, and what they
    /// deflate to.
    #[test]
    fn known_answers_of_the_draft() {
        let one_bit = pack(1, &[1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
        assert_eq!(one_bit, hex("b9a3"));
        let statuses = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3];
        let two_bit = pack(2, &statuses);
        assert_eq!(two_bit, hex("c944f9"));
        for (packed, stream) in [(&one_bit, "eNrbuRgAAhcBXQ"), (&two_bit, "eNo76fITAAPfAgc")] {
            let stream = BASE64URL_NOPAD.decode(stream.as_bytes()).unwrap();
            assert_eq!(&zlib::inflate(&stream, 64).unwrap(), packed);
            assert_eq!(zlib::deflate(packed), stream);
        }
        let read = Statuses::from_packed(two_bit).unwrap();
        let numbers: Vec<u8> = (0..read.len()).map(|i| read.get(i).unwrap().number()).collect();
        assert_eq!(numbers, statuses);
        assert_eq!(read.get(12), None);
        assert_eq!(pack(8, &[1, 255]), [1, 255]);
        assert_eq!(pack(4, &[1, 15]), [0xf1]);
    }

    #[test]
    fn a_status_leaves_its_neighbours_as_they_are() {
        let all = [Status::Valid, Status::Revoked, Status::Suspended, Status::UsedUp];
        let mut statuses = Statuses::from_packed(vec![0; 3]).unwrap();
        for before in all {
            for after in all {
                for index in 0..statuses.len() {
                    statuses.set(index, before);
                }
                assert!(statuses.set(5, after));
                for index in 0..statuses.len() {
                    let expected = if index == 5 { after } else { before };
                    assert_eq!(statuses.get(index), Some(expected), "{index}");
                }
            }
        }
        assert!(!statuses.set(12, Status::Revoked));
    }

    #[test]
    fn a_list_holds_four_statuses_a_byte() {
        for (bytes, len) in [(1, 4), (2, 8), (LIST_BYTES_MAX, limits::STATUS_LIST_LEN)] {
            let statuses = Statuses::from_packed(vec![0; bytes]).unwrap();
            assert_eq!(statuses.len(), len);
            assert!(!statuses.is_empty());
        }
        for bytes in [0, LIST_BYTES_MAX + 1] {
            assert!(Statuses::from_packed(vec![0; bytes]).is_err());
        }
        assert_eq!(Statuses::default(), Statuses::new());
        assert_eq!(Statuses::new().len(), limits::STATUS_LIST_LEN);
    }

    #[test]
    fn tokens_come_back_and_are_small() {
        let mut one = Statuses::new();
        assert!(one.set(77_777, Status::Revoked));
        let mut thousand = Statuses::new();
        let permutation = crate::credential::coupon_series::StatusPermutation::new(&[1; 32], 0);
        for offset in 0..1_000 {
            assert!(thousand.set(permutation.index_of(offset), Status::Revoked));
        }
        for (statuses, len_max) in [(one, 250), (thousand, 1_750)] {
            let list = list(statuses);
            let bytes = list.sign(&key(), Algorithm::EdDsa);
            println!("status list token: {} bytes", bytes.len());
            assert!(bytes.len() <= len_max, "{} bytes", bytes.len());
            let token = StatusListToken::parse(&bytes).unwrap();
            assert_eq!(token.list(), &list);
            assert_eq!(token.verify(key().public()), Ok(()));
            let stranger = SecretKey::from_seed(&[5; 32]);
            assert_eq!(
                token.verify(stranger.public()),
                Err(CredentialError::BadSignature)
            );
            assert_eq!(token.list().get(limits::STATUS_LIST_LEN), None);
        }
    }

    fn token_of(stream: Vec<u8>, bits: u8, extra: Option<(Value, Value)>) -> Vec<u8> {
        token_with(list_of(stream, bits), extra)
    }

    fn list_of(stream: Vec<u8>, bits: u8) -> Vec<(Value, Value)> {
        vec![
            (cbor::text("bits"), cbor::int(bits)),
            (cbor::text("lst"), cbor::bytes(stream)),
        ]
    }

    fn token_with(list: Vec<(Value, Value)>, extra: Option<(Value, Value)>) -> Vec<u8> {
        let list = cbor::map(list);
        let mut pairs = vec![
            (cbor::int(SUB), cbor::text("https://coop.example/s/0")),
            (cbor::int(IAT), cbor::int(1)),
            (cbor::int(EXP), cbor::int(2)),
            (cbor::int(TTL), cbor::int(60)),
            (cbor::int(STATUS_LIST), list),
        ];
        pairs.extend(extra);
        let payload = cbor::encode(&cbor::map(pairs));
        cose::sign1(
            &key(),
            Algorithm::EdDsa,
            TYP_STATUS_LIST,
            key().public().kid(),
            &payload,
            &[],
        )
    }

    #[test]
    fn crooked_tokens_are_refused() {
        let whole = zlib::deflate(&vec![0; LIST_BYTES_MAX]);
        assert!(StatusListToken::parse(&token_of(whole.clone(), 2, None)).is_ok());
        let bomb = zlib::deflate(&vec![0; 10_000_000]);
        for (why, token) in [
            ("a bomb", token_of(bomb, 2, None)),
            (
                "one byte too many",
                token_of(zlib::deflate(&vec![0; LIST_BYTES_MAX + 1]), 2, None),
            ),
            ("none at all", token_of(zlib::deflate(&[]), 2, None)),
            ("another width", token_of(whole.clone(), 1, None)),
            ("no stream", token_of(vec![1, 2, 3], 2, None)),
            ("more in the list", {
                let uri = (cbor::text("aggregation_uri"), cbor::text("https://coop.example"));
                let mut list = list_of(whole.clone(), 2);
                list.push(uri);
                token_with(list, None)
            }),
            (
                "an extra claim",
                token_of(whole, 2, Some((cbor::int(1), cbor::text("x")))),
            ),
        ] {
            assert!(StatusListToken::parse(&token).is_err(), "{why}");
        }
    }

    proptest! {
        #[test]
        fn set_and_get(changes in proptest::collection::vec((0..limits::STATUS_LIST_LEN, 0..4_u8), 1..50)) {
            let mut statuses = Statuses::new();
            let mut model = std::collections::BTreeMap::new();
            for (index, number) in changes {
                let status = Status::from_low_bits(number);
                prop_assert!(statuses.set(index, status));
                model.insert(index, status);
            }
            for (index, status) in model {
                prop_assert_eq!(statuses.get(index), Some(status));
            }
            prop_assert!(!statuses.set(limits::STATUS_LIST_LEN, Status::Revoked));
        }
    }
}
