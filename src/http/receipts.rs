//! `/v1/receipts`: a till's sales become signed receipts.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::credential::details::{Line, ReceiptDetails, Tax, Tender};
use crate::credential::{ReceiptKind, ReceiptStub, Signed};
use crate::ledger::{Mark, ReceiptDraft};
use crate::node::{ReceiptAnswer, ReceiptStubAnswer};
use crate::primitives::Tag;

use super::auth::{Identity, May, has_proof, proves};
use super::negotiate::{self, wants_cose};
use super::problem::Problem;
use super::proofs::{AnswerWithProof, ProofBody, WithProof};
use super::receipt_stream::{self, ReceiptResult};
use super::request::{ByReference, NDJSON, Post, content_type};
use super::scalars::{
    Base64Url, Letters, Money, Quantity, Rate, Reference, RegisterName, Time, UnitPrice, null_is_absent,
    objects,
};
use super::{EntryBody, HttpState};

const STUB_ALONE: &str =
    "a stub carries no proof: ask for JSON, or for the proof of the receipt's entry alone";

/// What a receipt is for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReceiptType {
    Sale,
    Refund,
    Void,
    Training,
}

impl From<ReceiptType> for ReceiptKind {
    fn from(kind: ReceiptType) -> Self {
        match kind {
            ReceiptType::Sale => Self::Sale,
            ReceiptType::Refund => Self::Refund,
            ReceiptType::Void => Self::Void,
            ReceiptType::Training => Self::Training,
        }
    }
}

/// A line. Its `total` is what counts; quantity and unit price stand beside it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Line)]
pub(super) struct LineBody {
    /// What was bought, 1 to 200 bytes.
    #[schema(min_length = 1, max_length = 200, example = "Äpfel Topaz")]
    description: String,
    /// How much of it.
    quantity: Quantity,
    /// The quantity's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 16, example = "kg")]
    unit: Option<String>,
    /// The price of one unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price: Option<UnitPrice>,
    /// In minor units, of either sign.
    total: Money,
    /// Percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    tax_rate: Option<Rate>,
}

impl From<LineBody> for Line {
    fn from(line: LineBody) -> Self {
        Self {
            description: line.description,
            quantity: line.quantity.0,
            unit: line.unit,
            unit_price: line.unit_price.map(|price| price.0),
            total: line.total.0,
            tax_rate: line.tax_rate.map(|rate| rate.0),
        }
    }
}

impl From<Line> for LineBody {
    fn from(line: Line) -> Self {
        Self {
            description: line.description,
            quantity: Quantity(line.quantity),
            unit: line.unit,
            unit_price: line.unit_price.map(UnitPrice),
            total: Money(line.total),
            tax_rate: line.tax_rate.map(Rate),
        }
    }
}

/// The tax of one rate.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tax)]
struct TaxBody {
    /// Percent; absent where the till does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    /// Without tax.
    net: Money,
    /// The tax.
    tax: Money,
}

/// How a part of the total was paid.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tender)]
struct TenderBody {
    /// A snake_case word: cash, card, check, coupon, gift_card, store_credit, …
    #[schema(max_length = 32, pattern = "^[a-z][a-z0-9]*(_[a-z0-9]+)*$", example = "cash")]
    kind: String,
    /// In minor units; change is part of cash.
    amount: Money,
}

/// A receipt as a till posts it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Receipt)]
pub(super) struct ReceiptBody {
    /// The register it is issued at.
    pub(super) register: RegisterName,
    /// Unique per register: the same content under it gets the first answer.
    till_reference: Reference,
    #[serde(rename = "type")]
    kind: ReceiptType,
    currency: Letters,
    /// The node's clock if absent; more than 5 minutes from it only with `offline`.
    issued_at: Option<Time>,
    /// Whether the lines' totals include tax.
    prices_include_tax: bool,
    /// At most 1,000.
    #[schema(max_items = 1000)]
    #[serde(deserialize_with = "objects")]
    lines: Vec<LineBody>,
    /// Each rate once.
    #[schema(max_items = 100)]
    #[serde(deserialize_with = "objects")]
    taxes: Vec<TaxBody>,
    /// They sum to the total.
    #[schema(max_items = 100)]
    #[serde(deserialize_with = "objects")]
    tenders: Vec<TenderBody>,
    /// What the receipt comes to.
    total: Money,
    /// Who sat at the till.
    cashier: Option<Reference>,
    /// The member's number.
    member: Option<Reference>,
    /// The receipt that this one refunds or voids.
    refers_to: Option<Reference>,
    /// Posted after an outage of the till's link.
    #[serde(default, deserialize_with = "null_is_absent")]
    offline: bool,
}

impl ReceiptBody {
    pub(super) fn into_draft(self, now: crate::primitives::UnixSeconds) -> ReceiptDraft {
        let taxes = self.taxes.into_iter().map(|tax| Tax {
            rate: tax.rate.map(|rate| rate.0),
            net: tax.net.0,
            tax: tax.tax.0,
        });
        let tenders = self.tenders.into_iter().map(|tender| Tender {
            kind: tender.kind,
            amount: tender.amount.0,
        });
        ReceiptDraft {
            register: self.register.0,
            kind: self.kind.into(),
            currency: self.currency.0,
            issued_at: self.issued_at.map_or(now, |time| time.0),
            mark: if self.offline { Mark::Offline } else { Mark::Live },
            prices_include_tax: self.prices_include_tax,
            total: self.total.0,
            details: ReceiptDetails {
                lines: self.lines.into_iter().map(Line::from).collect(),
                taxes: taxes.collect(),
                tenders: tenders.collect(),
                cashier: self.cashier.map(|text| text.0),
                member: self.member.map(|text| text.0),
                till_reference: Some(self.till_reference.0),
                refers_to: self.refers_to.map(|text| text.0),
            },
        }
    }
}

/// A receipt as it was signed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceiptAnswer)]
pub(super) struct ReceiptAnswerBody<'a> {
    /// Its tag.
    id: String,
    /// Its number at its register, without gaps.
    sequence_number: u64,
    /// The text of its QR code.
    qr: String,
    /// The signed stub (COSE).
    credential: Base64Url<'a>,
    /// The receipt secret: with it all leaves can be checked. Never in a QR code.
    secret: Base64Url<'a>,
    entry: EntryBody,
    /// With `?proof=cose`: what proves that it is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    proof: Option<ProofBody>,
}

impl<'a> ReceiptAnswerBody<'a> {
    pub(super) fn new(state: &HttpState, receipt: &'a ReceiptAnswer) -> Self {
        Self {
            id: receipt.id.to_string(),
            sequence_number: receipt.sequence_number,
            qr: state.qr(&receipt.stub),
            credential: (&receipt.stub).into(),
            secret: (&receipt.secret).into(),
            entry: receipt.entry.into(),
            proof: None,
        }
    }
}

/// What stands on a receipt beside its stub.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceiptDetails)]
struct DetailsBody {
    lines: Vec<LineBody>,
    taxes: Vec<TaxBody>,
    tenders: Vec<TenderBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cashier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    till_reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refers_to: Option<String>,
}

impl From<ReceiptDetails> for DetailsBody {
    fn from(details: ReceiptDetails) -> Self {
        let taxes = details.taxes.into_iter().map(|tax| TaxBody {
            rate: tax.rate.map(Rate),
            net: Money(tax.net),
            tax: Money(tax.tax),
        });
        let tenders = details.tenders.into_iter().map(|tender| TenderBody {
            kind: tender.kind,
            amount: Money(tender.amount),
        });
        Self {
            lines: details.lines.into_iter().map(LineBody::from).collect(),
            taxes: taxes.collect(),
            tenders: tenders.collect(),
            cashier: details.cashier,
            member: details.member,
            till_reference: details.till_reference,
            refers_to: details.refers_to,
        }
    }
}

/// A receipt with all that is on it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceiptView)]
struct ReceiptViewBody<'a> {
    #[serde(flatten)]
    answer: ReceiptAnswerBody<'a>,
    register: RegisterName,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(value_type = ReceiptType)]
    kind: &'static str,
    currency: Letters,
    total: Money,
    issued_at: Time,
    /// `live`, `offline` (posted after an outage) or `import` (from a till's export).
    #[schema(pattern = "^(live|offline|import)$", example = "live")]
    mark: &'static str,
    details: DetailsBody,
    /// The leaves of the details root, in order: CBOR `[salt, label, value]` each.
    leaves: Vec<Base64Url<'a>>,
}

/// Receipts that were found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipts)]
struct ReceiptsBody<'a> {
    receipts: Vec<ReceiptViewBody<'a>>,
}

fn parsed(stub: &[u8]) -> Result<Signed<ReceiptStub>, Problem> {
    Signed::parse(stub).map_err(|error| Problem::internal(&error))
}

fn view<'a>(
    state: &HttpState,
    receipt: &'a ReceiptAnswer,
    stub: &Signed<ReceiptStub>,
) -> ReceiptViewBody<'a> {
    let leaves = receipt.details.leaves(&receipt.secret);
    let content = stub.content();
    ReceiptViewBody {
        answer: ReceiptAnswerBody::new(state, receipt),
        register: RegisterName(receipt.register.clone()),
        kind: content.kind.word(),
        currency: Letters(content.currency),
        total: Money(content.total),
        issued_at: Time(content.issued_at),
        mark: match receipt.mark {
            Mark::Live => "live",
            Mark::Offline => "offline",
            Mark::Import => "import",
        },
        details: receipt.details.clone().into(),
        leaves: leaves.into_iter().map(|leaf| Base64Url(leaf.into())).collect(),
    }
}

/// Issues a receipt.
///
/// The node adds number, secret and signature. The same `till_reference` with
/// the same content gets the first answer, with other content a 422.
///
/// As `application/x-ndjson` it takes a stream of any length, a receipt a line
/// of at most 512 KiB, and answers 200 with a result a line, in the lines'
/// order, while the stream is still being sent: read the answer meanwhile. A
/// line's `Idempotency-Key` is the stream's, `/` and the line's number from 1.
/// A line that is refused does not end the stream. One that was cut off may be
/// posted again whole: what was done is not done again.
#[utoipa::path(
    tag = "tills",
    operation_id = "issueReceipt",
    params(AnswerWithProof),
    request_body(content((ReceiptBody = "application/json"), (ReceiptBody = "application/x-ndjson"))),
    responses(
        (status = 200, description = "For a stream: a result a line", body = ReceiptResult,
            content_type = "application/x-ndjson"),
        (status = 201, description = "The receipt; as application/cose its stub",
            content((ReceiptAnswerBody = "application/json"), (Vec<u8> = "application/cose")),
            headers(("Location" = String, description = "Where it can be read"))))
)]
#[post("/v1/receipts")]
pub async fn post_receipt(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Sell)?;
    let proof = AnswerWithProof::asked(&request)?;
    if let Some(content_type) = content_type(&request, NDJSON)? {
        proof.refuse("a stream carries no proofs: ask for them by GET /v1/receipts/{id}?proof=cose")?;
        return receipt_stream::answer(&state, &request, content_type, payload);
    }
    if wants_cose(&request) {
        proof.refuse(STUB_ALONE)?;
    }
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: ReceiptBody = post.json()?;
    identity.check_register(&body.register.0)?;
    let draft = body.into_draft(state.node.now());
    let receipt = state.node.issue_receipt(&post.caller, draft).await?;
    let path = format!("/v1/receipts/{}", receipt.id);
    let response = if wants_cose(&request) {
        negotiate::cose(StatusCode::CREATED, receipt.stub)
    } else {
        let mut answer = ReceiptAnswerBody::new(&state, &receipt);
        answer.proof = proof.of(&state, receipt.entry)?;
        negotiate::json(StatusCode::CREATED, &answer)
    };
    Ok(negotiate::located(response, &path))
}

/// Finds what became of a call by its till reference: at most one receipt.
#[utoipa::path(
    tag = "tills",
    operation_id = "findReceipts",
    params(ByReference),
    responses((status = 200, description = "The receipts, none if there is none", body = ReceiptsBody))
)]
#[get("/v1/receipts")]
pub async fn find_receipts(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Read)?;
    let (register, reference) = ByReference::read(&request, &identity)?;
    let found = state.node.receipt_by_reference(&register, &reference)?;
    let mut receipts = Vec::new();
    if let Some(receipt) = &found {
        receipts.push(view(&state, receipt, &parsed(&receipt.stub)?));
    }
    Ok(negotiate::json(StatusCode::OK, &ReceiptsBody { receipts }))
}

/// One receipt with all that is on it: for whoever has a key, and for whoever
/// has the receipt (`Receipt-Proof`).
#[utoipa::path(
    tag = "tills",
    operation_id = "getReceipt",
    params(("id" = String, Path, description = "The receipt's tag"), WithProof),
    responses((status = 200, description = "The receipt; as application/cose its stub",
        content((ReceiptViewBody = "application/json"), (Vec<u8> = "application/cose"))))
)]
#[get("/v1/receipts/{id}")]
pub async fn get_receipt(
    state: Data<HttpState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = Tag::parse(&id).ok_or_else(absent);
    let (id, kept) = if has_proof(&request) {
        let id = id?;
        (id, proven_stub(&state, &request, &id)?)
    } else {
        let identity = Identity::of(&state, &request, May::Read)?;
        let id = id?;
        identity.check_register(&state.node.receipt_entry(&id)?.0)?;
        (id, state.node.receipt_stub(&id)?)
    };
    let proof = WithProof::of(&state, &request, kept.entry)?;
    if !wants_cose(&request) {
        let receipt = state.node.receipt(&id)?;
        let mut body = view(&state, &receipt, &parsed(&receipt.stub)?);
        body.answer.proof = proof;
        return Ok(negotiate::json(StatusCode::OK, &body));
    }
    if proof.is_some() {
        return Err(Problem::new("not_acceptable", STUB_ALONE));
    }
    Ok(negotiate::cose(StatusCode::OK, kept.stub))
}

/// The stub of the receipt `id`, which an erasure leaves, for whoever presents
/// `Receipt-Proof` of it. A wrong proof and an unknown receipt look the same.
pub(super) fn proven_stub(
    state: &HttpState,
    request: &HttpRequest,
    id: &Tag,
) -> Result<ReceiptStubAnswer, Problem> {
    let opened = state.node.receipt_stub(id).map_err(Problem::from);
    match opened.and_then(|kept| Ok((parsed(&kept.stub)?, kept))) {
        Ok((stub, kept)) if proves(request, &stub) => Ok(kept),
        Err(problem) if problem.row().status >= 500 => Err(problem),
        _ => Err(absent()),
    }
}

fn absent() -> Problem {
    Problem::new("not_found", "there is no such receipt")
}
