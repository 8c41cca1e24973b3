//! Requests and answers of a redemption between nodes: bodies of the messages
//! `redemption` and `redemption-answer` (`schemas/redemption.cddl`). Pure.
//!
//! ```text
//! redemption        = [ issuer-log-size, [+ bstr .cbor request] ]
//! redemption-answer = [ [+ outcome], proof / null ]
//! ```
//!
//! A request's identity is bound to the SHA-256 of its own bytes, whichever message
//! carries them: it may be signed again, with others, as often as it takes.

use serde_cbor::Value;
use sha2::{Digest as _, Sha256};

use crate::encoding::cbor::{
    self, GateError, as_array, as_byte_array, as_bytes, as_int, as_optional, as_text, as_tuple,
};
use crate::encoding::cbor_read::Reader;
use crate::encoding::cbor_write as write;
use crate::ledger::Basket;
use crate::log::cose_receipt::SignedTree;
use crate::merkle::Hash;
use crate::node::ConsistencyProof;
use crate::primitives::{Amount, Currency, Digest, RedemptionId, UnixSeconds, limits};

/// One request of a redeemer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `did:web` of the co-op that asks.
    pub redeemer: String,
    /// `did:web` of the co-op that is asked.
    pub issuer: String,
    /// Its identity, drawn by the redeemer.
    pub id: RedemptionId,
    /// What is wanted.
    pub wanted: Wanted,
}

/// What is wanted of the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To redeem a coupon.
    Redeem {
        /// It has no effect when it is first seen later than this.
        not_after: UnixSeconds,
        /// The redeemer's own reference: by it the redeemer finds the sale, and
        /// nobody else.
        reference: [u8; 16],
        /// The coupon, whole: to name it is no proof of having seen it.
        coupon: Vec<u8>,
        /// The customer's basket.
        basket: Basket,
        /// The benefit; of a stored value `None` for as much as there is.
        amount: Option<Amount>,
    },
    /// To reverse a redemption.
    Reverse {
        /// It has no effect when it is first seen later than this.
        not_after: UnixSeconds,
        /// The redeemer's own reference.
        reference: [u8; 16],
        /// The identity of the request that redeemed.
        redemption: RedemptionId,
        /// How much; `None` for all that is left.
        amount: Option<Amount>,
        /// Whether the use, or of a stored value the amount, returns to the coupon.
        give_back: bool,
    },
    /// That the request of this identity has no effect, if it has none yet.
    Cancel,
}

/// What the issuer says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: the issuer half.
    Half {
        /// The half: an entry of the issuer's log.
        entry: Vec<u8>,
    },
    /// It has no effect, and never will.
    Cancelled {
        /// The entry of the issuer's log that says so.
        entry: Vec<u8>,
    },
    /// It is refused.
    Refused {
        /// A stable code.
        code: String,
        /// A sentence.
        detail: String,
    },
    /// It could not be decided now: the same request may come again.
    NotNow,
}

/// The issuer's log, as the halves of an answer refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The checkpoint, a signed note.
    pub checkpoint: String,
    /// The size that its tree is proven to continue.
    pub old_size: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
}

/// That the log of an answer continues that of the issuer's answer before, to the same
/// redeemer: of messages under way at a time all name the same size, and their answers may
/// overtake each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The size of the log in the answer before.
    pub old_size: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of each request, by its identity.
    pub outcomes: Vec<(RedemptionId, Outcome)>,
    /// What proves the entries among them; `None` where there is none.
    pub proof: Option<Proof>,
}

/// What proves all entries of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The log that they are in.
    pub log: LogState,
    /// How that log continues the one of the answer before; `None` where that is not
    /// known, or `log` says it.
    pub link: Option<Link>,
    /// Their receipts.
    pub receipts: Receipts,
}

/// The COSE receipts (RFC 9942) of an answer's entries, as what they share: each is
/// put together from this, its entry's index and the size of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// Their protected header.
    pub protected: Vec<u8>,
    /// Their signature, which covers the root of the tree alone.
    pub signature: [u8; 64],
    /// The batch proof of the entries ([`crate::merkle::batch_proof`]).
    pub hashes: Vec<Hash>,
}

impl Receipts {
    /// The receipts in a tree that the log's key has signed.
    #[must_use]
    pub fn of(tree: &SignedTree, hashes: Vec<Hash>) -> Self {
        let (protected, signature) = tree.common();
        Self {
            protected: protected.to_vec(),
            signature: *signature,
            hashes,
        }
    }
}

const NOT_A_REQUEST: &str = "a request is one of the forms in schemas/redemption.cddl";
const NOT_AN_ANSWER: &str = "an answer is of the form in schemas/redemption.cddl";

impl Request {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(384);
        let items = match &self.wanted {
            Wanted::Redeem { .. } => 10,
            Wanted::Reverse { .. } => 9,
            Wanted::Cancel => 4,
        };
        write::head(&mut out, write::ARRAY, items);
        write::uint(&mut out, self.wanted.kind());
        write::text(&mut out, &self.redeemer);
        write::text(&mut out, &self.issuer);
        write::bytes(&mut out, &self.id.0);
        match &self.wanted {
            Wanted::Redeem {
                not_after,
                reference,
                coupon,
                basket,
                amount,
            } => {
                write::uint(&mut out, not_after.0);
                write::bytes(&mut out, reference);
                write::bytes(&mut out, coupon);
                write::int(&mut out, basket.total.minor_units());
                write::uint(&mut out, u64::from(basket.currency.number()));
                write_amount(&mut out, *amount);
            }
            Wanted::Reverse {
                not_after,
                reference,
                redemption,
                amount,
                give_back,
            } => {
                write::uint(&mut out, not_after.0);
                write::bytes(&mut out, reference);
                write::bytes(&mut out, &redemption.0);
                write_amount(&mut out, *amount);
                write::bool(&mut out, *give_back);
            }
            Wanted::Cancel => {}
        }
        out
    }

    /// Reads one, through the gate.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, GateError> {
        if bytes.len() <= limits::REDEMPTION_REQUEST_BYTES_MAX
            && let Some(request) = Self::read_quickly(bytes)
        {
            return Ok(request);
        }
        Self::through_gate(bytes)
    }

    fn through_gate(bytes: &[u8]) -> Result<Self, GateError> {
        let value = cbor::decode(bytes, limits::REDEMPTION_REQUEST_BYTES_MAX)?;
        let what = NOT_A_REQUEST;
        let [kind, redeemer, issuer, id, rest @ ..] = as_array(&value, what)? else {
            return Err(GateError::Shape(what));
        };
        let wanted = match (kind, rest) {
            (Value::Integer(1), [not_after, reference, coupon, total, currency, amount]) => Wanted::Redeem {
                not_after: read_time(not_after)?,
                reference: as_byte_array(reference, what)?,
                coupon: as_bytes(coupon, what)?.to_vec(),
                basket: Basket {
                    total: read_amount(total)?,
                    currency: Currency::from_number(as_int(currency, what)?).map_err(|_| {
                        GateError::Shape("a currency is an ISO 4217 number with a minor unit")
                    })?,
                },
                amount: as_optional(amount, read_amount)?,
            },
            (Value::Integer(2), [not_after, reference, redemption, amount, give_back]) => Wanted::Reverse {
                not_after: read_time(not_after)?,
                reference: as_byte_array(reference, what)?,
                redemption: RedemptionId(as_byte_array(redemption, what)?),
                amount: as_optional(amount, read_amount)?,
                give_back: match give_back {
                    Value::Bool(give_back) => *give_back,
                    _ => return Err(GateError::Shape(what)),
                },
            },
            (Value::Integer(3), []) => Wanted::Cancel,
            _ => return Err(GateError::Shape(what)),
        };
        Ok(Self {
            redeemer: as_text(redeemer, what)?.to_owned(),
            issuer: as_text(issuer, what)?.to_owned(),
            id: RedemptionId(as_byte_array(id, what)?),
            wanted,
        })
    }
}

impl Request {
    /// The quick way, for redemptions, which nearly all requests are; it leaves what it
    /// does not take to the gate.
    fn read_quickly(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.tuple(10)?;
        reader.uint()?;
        let request = Self {
            redeemer: reader.text()?.to_owned(),
            issuer: reader.text()?.to_owned(),
            id: RedemptionId(reader.byte_array()?),
            wanted: Wanted::Redeem {
                not_after: {
                    let time = reader.uint()?;
                    (time <= limits::UNIX_SECONDS_MAX).then_some(UnixSeconds(time))?
                },
                reference: reader.byte_array()?,
                coupon: reader.bytes()?.to_vec(),
                basket: Basket {
                    total: Amount::new(reader.int()?).ok()?,
                    currency: Currency::from_number(reader.uint()?.try_into().ok()?).ok()?,
                },
                amount: reader.optional(|reader| Amount::new(reader.int()?).ok())?,
            },
        };
        (request.encode() == bytes).then_some(request)
    }
}

impl Wanted {
    fn kind(&self) -> u64 {
        match self {
            Self::Redeem { .. } => 1,
            Self::Reverse { .. } => 2,
            Self::Cancel => 3,
        }
    }
}

/// What a request's identity is bound to.
#[must_use]
pub fn request_digest(request: &[u8]) -> Digest {
    Digest(Sha256::digest(request).into())
}

/// The body of a message with these requests, to an issuer whose log was last
/// verified at `log_size`.
#[must_use]
pub fn requests_body<'a>(log_size: u64, requests: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(400 * requests.len() + 16);
    write::head(&mut out, write::ARRAY, 2);
    write::uint(&mut out, log_size);
    write::head(&mut out, write::ARRAY, requests.len() as u64);
    for request in requests {
        write::bytes(&mut out, request);
    }
    out
}

/// The log's size and the requests in such a body, each with its bytes.
///
/// # Errors
/// [`GateError`] where the body or one request is not of the form, or there are more
/// than [`limits::REQUESTS_PER_MESSAGE_MAX`].
pub fn read_requests(body: &Value) -> Result<(u64, Vec<(Digest, Request)>), GateError> {
    let [size, requests] = as_tuple(body, NOT_A_REQUEST)?;
    let requests = as_array(requests, NOT_A_REQUEST)?;
    if requests.is_empty() || requests.len() > limits::REQUESTS_PER_MESSAGE_MAX {
        return Err(GateError::Shape("a message has 1 to 64 requests"));
    }
    let read = |request: &Value| {
        let bytes = as_bytes(request, NOT_A_REQUEST)?;
        Ok((request_digest(bytes), Request::decode(bytes)?))
    };
    let requests = requests.iter().map(read).collect::<Result<_, GateError>>()?;
    Ok((as_int(size, NOT_A_REQUEST)?, requests))
}

impl Answer {
    /// The body of the message that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 * self.outcomes.len() + 4_096);
        write::head(&mut out, write::ARRAY, 2);
        write::head(&mut out, write::ARRAY, self.outcomes.len() as u64);
        for (id, outcome) in &self.outcomes {
            outcome.write(&mut out, id);
        }
        match &self.proof {
            None => write::null(&mut out),
            Some(proof) => proof.write(&mut out),
        }
        out
    }

    /// Reads the body of an answer.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn decode(body: &Value) -> Result<Self, GateError> {
        let [outcomes, proof] = as_tuple(body, NOT_AN_ANSWER)?;
        let outcomes = as_array(outcomes, NOT_AN_ANSWER)?;
        if outcomes.len() > limits::REQUESTS_PER_MESSAGE_MAX {
            return Err(GateError::Shape("an answer has at most 64 outcomes"));
        }
        let proof = as_optional(proof, Proof::read)?;
        let outcomes = outcomes.iter().map(Outcome::read).collect::<Result<_, _>>()?;
        Ok(Self { outcomes, proof })
    }
}

impl Proof {
    fn write(&self, out: &mut Vec<u8>) {
        write::head(out, write::ARRAY, 5);
        self.log.write(out);
        match &self.link {
            None => write::null(out),
            Some(Link { old_size, proof }) => {
                write::head(out, write::ARRAY, 2);
                write::uint(out, *old_size);
                write_hashes(out, proof);
            }
        }
        write::bytes(out, &self.receipts.protected);
        write::bytes(out, &self.receipts.signature);
        write_hashes(out, &self.receipts.hashes);
    }

    fn read(value: &Value) -> Result<Self, GateError> {
        let what = NOT_AN_ANSWER;
        let [log, link, protected, signature, hashes] = as_tuple(value, what)?;
        let link = as_optional(link, |link| {
            let [old_size, proof] = as_tuple(link, what)?;
            Ok(Link {
                old_size: as_int(old_size, what)?,
                proof: read_hashes(proof, what)?,
            })
        })?;
        Ok(Self {
            log: LogState::read(log)?,
            link,
            receipts: Receipts {
                protected: as_bytes(protected, what)?.to_vec(),
                signature: as_byte_array(signature, what)?,
                hashes: read_hashes(hashes, what)?,
            },
        })
    }
}

impl From<&ConsistencyProof> for LogState {
    fn from(proof: &ConsistencyProof) -> Self {
        Self {
            checkpoint: proof.checkpoint.to_string(),
            old_size: proof.first,
            proof: proof.path.iter().map(|hash| hash.0).collect(),
        }
    }
}

impl From<&ConsistencyProof> for Link {
    fn from(proof: &ConsistencyProof) -> Self {
        Self {
            old_size: proof.first,
            proof: proof.path.iter().map(|hash| hash.0).collect(),
        }
    }
}

impl LogState {
    /// Writes it into a body.
    pub(in crate::federation) fn write(&self, out: &mut Vec<u8>) {
        write::head(out, write::ARRAY, 3);
        write::text(out, &self.checkpoint);
        write::uint(out, self.old_size);
        write_hashes(out, &self.proof);
    }

    /// Reads it out of one.
    ///
    /// # Errors
    /// [`GateError`].
    pub(in crate::federation) fn read(value: &Value) -> Result<Self, GateError> {
        let [checkpoint, old_size, proof] = as_tuple(value, NOT_AN_ANSWER)?;
        Ok(Self {
            checkpoint: as_text(checkpoint, NOT_AN_ANSWER)?.to_owned(),
            old_size: as_int(old_size, NOT_AN_ANSWER)?,
            proof: read_hashes(proof, NOT_AN_ANSWER)?,
        })
    }
}

/// Writes the hashes of a proof.
pub(in crate::federation) fn write_hashes(out: &mut Vec<u8>, hashes: &[Hash]) {
    write::head(out, write::ARRAY, hashes.len() as u64);
    for hash in hashes {
        write::bytes(out, hash);
    }
}

/// Reads them.
///
/// # Errors
/// [`GateError`].
pub(in crate::federation) fn read_hashes(value: &Value, what: &'static str) -> Result<Vec<Hash>, GateError> {
    let hashes = as_array(value, what)?.iter();
    hashes.map(|hash| as_byte_array(hash, what)).collect()
}

impl Outcome {
    /// The entry of the issuer's log that it shows, if it shows one.
    #[must_use]
    pub fn entry(&self) -> Option<&[u8]> {
        match self {
            Self::Half { entry } | Self::Cancelled { entry } => Some(entry),
            Self::Refused { .. } | Self::NotNow => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>, id: &RedemptionId) {
        let (items, kind) = match self {
            Self::Half { .. } => (3, 1),
            Self::Cancelled { .. } => (3, 2),
            Self::Refused { .. } => (4, 3),
            Self::NotNow => (2, 4),
        };
        write::head(out, write::ARRAY, items);
        write::bytes(out, &id.0);
        write::uint(out, kind);
        match self {
            Self::Half { entry } | Self::Cancelled { entry } => write::bytes(out, entry),
            Self::Refused { code, detail } => {
                write::text(out, code);
                write::text(out, detail);
            }
            Self::NotNow => {}
        }
    }

    fn read(value: &Value) -> Result<(RedemptionId, Self), GateError> {
        let what = NOT_AN_ANSWER;
        let [id, kind, rest @ ..] = as_array(value, what)? else {
            return Err(GateError::Shape(what));
        };
        let outcome = match (kind, rest) {
            (Value::Integer(1), [entry]) => Self::Half {
                entry: as_bytes(entry, what)?.to_vec(),
            },
            (Value::Integer(2), [entry]) => Self::Cancelled {
                entry: as_bytes(entry, what)?.to_vec(),
            },
            (Value::Integer(3), [code, detail]) => Self::Refused {
                code: read_code(code)?,
                detail: read_detail(detail)?,
            },
            (Value::Integer(4), []) => Self::NotNow,
            _ => return Err(GateError::Shape(what)),
        };
        Ok((RedemptionId(as_byte_array(id, what)?), outcome))
    }
}

/// What goes into the own log, and to tills: a word.
fn read_code(value: &Value) -> Result<String, GateError> {
    let code = as_text(value, NOT_AN_ANSWER)?;
    let is_word = (1..=limits::PARTNER_CODE_BYTES_MAX).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_word {
        Ok(code.to_owned())
    } else {
        Err(GateError::Shape("a refusal's code is a word in snake_case"))
    }
}

/// A sentence for people, in which nothing controls a terminal.
fn read_detail(value: &Value) -> Result<String, GateError> {
    let detail = as_text(value, NOT_AN_ANSWER)?;
    if detail.len() > limits::PARTNER_DETAIL_BYTES_MAX || detail.chars().any(char::is_control) {
        return Err(GateError::Shape("a refusal's detail is one short line"));
    }
    Ok(detail.to_owned())
}

fn write_amount(out: &mut Vec<u8>, amount: Option<Amount>) {
    match amount {
        Some(amount) => write::int(out, amount.minor_units()),
        None => write::null(out),
    }
}

fn read_amount(value: &Value) -> Result<Amount, GateError> {
    Amount::new(as_int(value, "an amount is a whole number")?)
        .map_err(|_| GateError::Shape("an amount is at most 2^53 - 1"))
}

fn read_time(value: &Value) -> Result<UnixSeconds, GateError> {
    let time: u64 = as_int(value, "a time is a whole number of seconds")?;
    if time > limits::UNIX_SECONDS_MAX {
        return Err(GateError::Shape("a time lies before the year 10000"));
    }
    Ok(UnixSeconds(time))
}

#[cfg(test)]
mod tests {
    use proptest::option::of as maybe;
    use proptest::prelude::*;

    use super::*;

    fn redemptions() -> impl Strategy<Value = Request> {
        let amount = || (0..=limits::AMOUNT_MAX).prop_map(|units| Amount::new(units).unwrap());
        let call = (
            "[a-z:.]{0,40}",
            "[a-z:.]{0,40}",
            any::<[u8; 16]>(),
            0..1_u64 << 40,
        );
        let wanted = (
            any::<[u8; 16]>(),
            prop::collection::vec(any::<u8>(), 0..300),
            amount(),
            maybe(amount()),
        );
        (call, wanted).prop_map(|((redeemer, issuer, id, time), wanted)| {
            let (reference, coupon, total, amount) = wanted;
            let currency = Currency::from_number(978).unwrap();
            Request {
                redeemer,
                issuer,
                id: RedemptionId(id),
                wanted: Wanted::Redeem {
                    not_after: UnixSeconds(time.min(limits::UNIX_SECONDS_MAX)),
                    reference,
                    coupon,
                    basket: Basket { total, currency },
                    amount,
                },
            }
        })
    }

    proptest! {
        #[test]
        fn the_quick_way_reads_what_the_gate_reads(
            request in redemptions(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut bytes = request.encode();
            prop_assert_eq!(Request::read_quickly(&bytes), Some(request.clone()));
            prop_assert_eq!(Request::through_gate(&bytes), Ok(request));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(quick) = Request::read_quickly(&bytes) {
                prop_assert_eq!(Request::through_gate(&bytes), Ok(quick));
            }
            prop_assert_eq!(Request::read_quickly(&bytes[..at]), None);
        }
    }
}
