//! Who asks, and what they may do (formats, section 4, 'Who may read').

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};
use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;

use crate::credential::{ReceiptStub, Signed};
use crate::ledger::Place;
use crate::node::Scope;
use crate::node::access::{AccessKey, Role};
use crate::primitives::Register;

use super::problem::Problem;
use super::{HttpState, observe};

/// SHA-256 of the stub's signature, base64url: only who has the receipt has it.
pub const RECEIPT_PROOF: HeaderName = HeaderName::from_static("receipt-proof");

/// What a call needs of an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Sell: tills and the office.
    Sell,
    /// Administer: the office.
    Administer,
    /// Read: tills (their own register), the office, auditors.
    Read,
    /// Examine what is no till's business: the office and auditors.
    Examine,
}

impl May {
    fn holds(self, role: &Role) -> bool {
        match self {
            Self::Sell => matches!(role, Role::Till(_) | Role::Office),
            Self::Administer => matches!(role, Role::Office),
            Self::Read => true,
            Self::Examine => matches!(role, Role::Office | Role::Auditor),
        }
    }

    fn who(self) -> &'static str {
        match self {
            Self::Sell => "this is for till and office keys",
            Self::Administer => "this is for office keys",
            Self::Read => "this is for till, office and auditor keys",
            Self::Examine => "this is for office and auditor keys",
        }
    }
}

/// A caller with a key that is good for what it asks.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<AccessKey>,
}

impl Identity {
    /// The caller's key, which has to be good for `may`.
    pub fn of(state: &HttpState, request: &HttpRequest, may: May) -> Result<Self, Problem> {
        let presented = bearer(request)?.ok_or_else(|| {
            Problem::new(
                "access_key_missing",
                "the header Authorization: Bearer KEY is missing",
            )
        })?;
        let key = state
            .keys
            .find(presented)
            .ok_or_else(|| Problem::new("access_key_unknown", "this access key is unknown or was revoked"))?;
        if !may.holds(&key.role) {
            let detail = format!("{}, this is an {} key", may.who(), key.role.word());
            let detail = detail.replace("an till", "a till");
            return Err(Problem::new("role_forbidden", detail));
        }
        observe::note_key(&key);
        Ok(Self { key })
    }

    /// What `Idempotency-Key` is scoped to.
    pub fn scope(&self) -> Scope {
        match &self.key.role {
            Role::Till(register) => Scope::Register(register.clone()),
            Role::Office | Role::Auditor => Scope::Office,
        }
    }

    /// Refuses a till that acts for, or reads of, another register.
    pub fn check_register(&self, register: &Register) -> Result<(), Problem> {
        match self.key.role.register() {
            Some(own) if own != register => Err(Problem::new(
                "register_mismatch",
                format!("this key is bound to register {own}, the call is about another"),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a till that reads a redemption of another register, or of a partner.
    pub fn check_place(&self, place: &Place) -> Result<(), Problem> {
        match (place, self.key.role.register()) {
            (Place::Register(register), _) => self.check_register(register),
            (Place::Partner { .. }, None) => Ok(()),
            (Place::Partner { .. }, Some(own)) => Err(Problem::new(
                "register_mismatch",
                format!("this key is bound to register {own}, this redemption was made by a partner"),
            )),
        }
    }

    /// The register to look in: a till's own, unless it is named anyway.
    pub fn register_or(&self, named: Option<Register>) -> Result<Register, Problem> {
        match (named, self.key.role.register()) {
            (Some(named), _) => self.check_register(&named).map(|()| named),
            (None, Some(own)) => Ok(own.clone()),
            (None, None) => Err(Problem::new("query_invalid", "name the register: ?register=…")),
        }
    }
}

/// The bearer key, `None` when there is no such header.
fn bearer(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let unreadable = || {
        Problem::new(
            "access_key_unknown",
            "the header Authorization is not of the form Bearer KEY, once",
        )
    };
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let (scheme, key) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(unreadable)?;
    if scheme.eq_ignore_ascii_case("bearer") && values.next().is_none() {
        Ok(Some(key.trim()))
    } else {
        Err(unreadable())
    }
}

/// True when the request has a header `Receipt-Proof` at all.
pub fn has_proof(request: &HttpRequest) -> bool {
    request.headers().contains_key(RECEIPT_PROOF)
}

/// True when the request proves that its sender has the receipt of `stub`.
pub fn proves(request: &HttpRequest, stub: &Signed<ReceiptStub>) -> bool {
    let mut values = request.headers().get_all(RECEIPT_PROOF);
    let presented = values
        .next()
        .and_then(|value| BASE64URL_NOPAD.decode(value.as_bytes()).ok());
    match (presented, values.next()) {
        (Some(presented), None) => stub.receipt_proof().0.ct_eq(&presented[..]).into(),
        _ => false,
    }
}
