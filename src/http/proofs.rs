//! `/v1/log/…`: single entries, and proofs of inclusion and consistency as
//! JSON, as COSE receipts (RFC 9942) and as text (C2SP tlog-proof).

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::log::checkpoint::parse_decimal;
use crate::node::{ConsistencyProof, EntryRef, InclusionProof, LogEntry};
use crate::primitives::{CouponName, Digest, RedemptionId, Tag};

use super::auth::{Identity, May, has_proof};
use super::negotiate::{self, wants_cbor, wants_cose, wants_text};
use super::problem::Problem;
use super::receipts::proven_stub;
use super::request::query;
use super::scalars::{Base64Url, NameOfCoupon};
use super::tiles::may_read_entries;
use super::{EntryBody, HttpState};

/// An entry of the log, whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogEntry)]
struct LogEntryBody {
    #[serde(flatten)]
    entry: EntryBody,
    /// The entry: CBOR (`schemas/entry.cddl`). Its hash is SHA-256(0x00 || entry).
    bytes: Base64Url<'static>,
}

/// That an entry is in the log's tree (RFC 9162, section 2.1.3).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InclusionProof)]
struct InclusionBody {
    entry: EntryBody,
    /// The entry: CBOR. There where the entry was asked for by what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bytes: Option<Base64Url<'static>>,
    /// Leaves in the tree.
    tree_size: u64,
    /// The tree's root.
    root: Base64Url<'static>,
    /// The hashes beside the way up, the lowest first.
    path: Vec<Base64Url<'static>>,
    /// The newest checkpoint, a signed note: of this tree, unless `tree_size` was asked for.
    checkpoint: String,
}

/// That the tree at one size begins with the tree at an earlier one (RFC 9162,
/// section 2.1.4).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsistencyProof)]
struct ConsistencyBody {
    /// Leaves in the earlier tree.
    first: u64,
    /// Its root.
    first_root: Base64Url<'static>,
    /// Leaves in the later tree.
    second: u64,
    /// Its root.
    second_root: Base64Url<'static>,
    /// The proof's hashes; none where `first` is 0 or equals `second`.
    path: Vec<Base64Url<'static>>,
    /// The newest checkpoint, a signed note: of the later tree, unless `second` was asked for.
    checkpoint: String,
}

/// What proves offline that something is in the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Proof)]
pub(super) struct ProofBody {
    /// The entry: CBOR. Its hash is what the receipt is about.
    entry_bytes: Base64Url<'static>,
    /// The entry's COSE receipt (RFC 9942).
    cose: Base64Url<'static>,
    /// The checkpoint, a signed note, of the tree that the receipt is about.
    checkpoint: String,
}

/// Which proof a receipt or redemption is to carry.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WithProof {
    /// `cose`: the answer, in JSON, has a member `proof` with the entry's COSE receipt.
    #[param(value_type = Option<String>, nullable = false, pattern = "^cose$", example = "cose")]
    proof: Option<ProofForm>,
    /// `true`: of the newest checkpoint that a quorum of the node's witnesses has
    /// cosigned, in place of the newest one.
    #[param(nullable = false, example = true)]
    witnessed: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProofForm {
    Cose,
}

impl WithProof {
    /// The proof of `entry`, if the query asks for one.
    pub(super) fn of(
        state: &HttpState,
        request: &HttpRequest,
        entry: EntryRef,
    ) -> Result<Option<ProofBody>, Problem> {
        let asked: Self = query(request)?;
        let Some(ProofForm::Cose) = asked.proof else {
            return Ok(None);
        };
        let proof = if asked.witnessed == Some(true) {
            state.node.witnessed_inclusion(entry.index)?
        } else {
            state.node.inclusion(entry.index, None)?
        };
        ProofBody::of(state, &proof).map(Some)
    }
}

impl ProofBody {
    fn of(state: &HttpState, proof: &InclusionProof) -> Result<Self, Problem> {
        Ok(Self {
            entry_bytes: bytes_of(state, proof)?,
            cose: Base64Url(cose_of(state, proof)?.into()),
            checkpoint: proof.checkpoint.to_string(),
        })
    }
}

/// Whether the answer to a call that makes an entry carries the entry's proof.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AnswerWithProof {
    /// `cose`: the answer, in JSON, has a member `proof` with the entry's COSE receipt,
    /// of the newest checkpoint. A repeat gets the first answer, with a proof of
    /// the checkpoint that is the newest then.
    #[param(value_type = Option<String>, nullable = false, pattern = "^cose$", example = "cose")]
    proof: Option<ProofForm>,
}

impl AnswerWithProof {
    /// What the query asks for: read before anything is done.
    pub(super) fn asked(request: &HttpRequest) -> Result<Self, Problem> {
        if request.query_string().is_empty() {
            return Ok(Self::default());
        }
        query(request)
    }

    /// Refuses a proof in an answer that has no room for one.
    pub(super) fn refuse(&self, why: &'static str) -> Result<(), Problem> {
        match self.proof {
            None => Ok(()),
            Some(ProofForm::Cose) => Err(Problem::new("not_acceptable", why)),
        }
    }

    /// The proof of `entry`, if it was asked for.
    pub(super) fn of(&self, state: &HttpState, entry: EntryRef) -> Result<Option<ProofBody>, Problem> {
        match self.proof {
            None => Ok(None),
            Some(ProofForm::Cose) => {
                let proof = state.node.inclusion(entry.index, None)?;
                ProofBody::of(state, &proof).map(Some)
            }
        }
    }
}

/// Which entry is to be proven: one of the first four.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Inclusion {
    /// The entry's index.
    #[param(nullable = false)]
    index: Option<u64>,
    /// A receipt's tag: the entry that issued it. With a key, or with `Receipt-Proof`.
    #[param(nullable = false)]
    receipt: Option<String>,
    /// A redemption's identity: the entry that made it. With a key.
    #[param(nullable = false)]
    redemption: Option<String>,
    /// A coupon's name: the entry of its batch. With an office or auditor key.
    #[param(value_type = Option<NameOfCoupon>, nullable = false)]
    coupon: Option<String>,
    /// Leaves in the tree; without it those of the newest checkpoint.
    #[param(nullable = false)]
    tree_size: Option<u64>,
    /// `true`: the tree of the newest checkpoint that a quorum of the node's
    /// witnesses has cosigned. Without `tree_size`.
    #[param(nullable = false)]
    witnessed: Option<bool>,
}

/// Two sizes of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Consistency {
    /// Leaves in the earlier tree.
    first: u64,
    /// Leaves in the later tree; without it those of the newest checkpoint.
    #[param(nullable = false)]
    second: Option<u64>,
}

fn hashes(path: &[Digest]) -> Vec<Base64Url<'static>> {
    path.iter().map(|hash| Base64Url::owned(&hash.0)).collect()
}

fn bytes_of(state: &HttpState, proof: &InclusionProof) -> Result<Base64Url<'static>, Problem> {
    let LogEntry { entry, bytes } = state.node.log_entry(proof.entry.index)?;
    if entry == proof.entry {
        Ok(Base64Url(bytes.into()))
    } else {
        Err(Problem::internal(&format!(
            "entry {} has not the hash that the tree has of it",
            entry.index
        )))
    }
}

fn cose_of(state: &HttpState, proof: &InclusionProof) -> Result<Vec<u8>, Problem> {
    state.node.cose_receipt(proof)?.ok_or_else(|| {
        Problem::new(
            "not_acceptable",
            "there is no COSE receipt for a tree of size 1: ask for JSON or text/plain",
        )
    })
}

/// One entry of the log.
///
/// For the office and auditors, unless the node's setting `entries_public`
/// makes entries public.
#[utoipa::path(
    tag = "office",
    operation_id = "getEntry",
    params(("index" = u64, Path, description = "The entry's index")),
    responses((status = 200, description = "The entry; as application/cbor its bytes alone",
        content((LogEntryBody = "application/json"), (Vec<u8> = "application/cbor"))))
)]
#[get("/v1/log/entries/{index}")]
pub async fn get_entry(
    state: Data<HttpState>,
    request: HttpRequest,
    index: Path<String>,
) -> Result<HttpResponse, Problem> {
    may_read_entries(&state, &request)?;
    let absent = || Problem::new("not_found", "the log's checkpoint covers no such entry");
    let index = parse_decimal(&index).ok_or_else(absent)?;
    let LogEntry { entry, bytes } = state.node.log_entry(index)?;
    Ok(if wants_cbor(&request) {
        HttpResponse::Ok().content_type(negotiate::CBOR).body(bytes)
    } else {
        let body = LogEntryBody {
            entry: entry.into(),
            bytes: Base64Url(bytes.into()),
        };
        negotiate::json(StatusCode::OK, &body)
    })
}

/// Proves that an entry is in the log.
///
/// By `index` for everyone. By what the entry is about for whoever may read
/// that; the answer in JSON then has the entry's bytes too. As
/// `application/cose` it is a COSE receipt (RFC 9942), whose subject is the entry
/// and whose signature does not bind the tree's size: compare it with a
/// checkpoint. As `text/plain` it is a C2SP tlog-proof, of the newest
/// checkpoint's tree only, or, with `witnessed=true`, of the newest that a quorum
/// of the node's witnesses has cosigned: that one proves to whoever has the policy.
#[utoipa::path(
    tag = "public",
    operation_id = "getInclusionProof",
    params(Inclusion),
    responses((status = 200, description = "The proof",
        content((InclusionBody = "application/json"), (Vec<u8> = "application/cose"),
            (String = "text/plain; charset=utf-8"))))
)]
#[get("/v1/log/proofs/inclusion")]
pub async fn get_inclusion(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asked: Inclusion = query(&request)?;
    let (tree_size, witnessed) = (asked.tree_size, asked.witnessed == Some(true));
    if witnessed && tree_size.is_some() {
        let why = "the witnesses' checkpoint says the size: leave tree_size out";
        return Err(Problem::new("query_invalid", why));
    }
    let (index, named) = place(&state, &request, asked)?;
    let proof = if witnessed {
        state.node.witnessed_inclusion(index)?
    } else {
        state.node.inclusion(index, tree_size)?
    };
    if wants_cose(&request) {
        return Ok(negotiate::cose(StatusCode::OK, cose_of(&state, &proof)?));
    }
    if wants_text(&request) {
        let text = proof.to_tlog_proof().ok_or_else(|| {
            let why = "a tlog-proof is about a signed checkpoint's tree: leave tree_size out";
            Problem::new("not_acceptable", why)
        })?;
        return Ok(HttpResponse::Ok()
            .content_type(negotiate::TEXT)
            .body(text.to_string()));
    }
    let body = InclusionBody {
        bytes: named.then(|| bytes_of(&state, &proof)).transpose()?,
        entry: proof.entry.into(),
        tree_size: proof.tree_size,
        root: Base64Url::owned(&proof.root.0),
        path: hashes(&proof.path),
        checkpoint: proof.checkpoint.to_string(),
    };
    Ok(negotiate::json(StatusCode::OK, &body))
}

/// The index that is asked for, and whether it was named by what it is about.
fn place(state: &HttpState, request: &HttpRequest, asked: Inclusion) -> Result<(u64, bool), Problem> {
    let absent = |what| Problem::new("not_found", what);
    match (asked.index, asked.receipt, asked.redemption, asked.coupon) {
        (Some(index), None, None, None) => Ok((index, false)),
        (None, Some(tag), None, None) => {
            let tag = Tag::parse(&tag).ok_or_else(|| absent("there is no such receipt"));
            if has_proof(request) {
                return Ok((proven_stub(state, request, &tag?)?.entry.index, true));
            }
            let identity = Identity::of(state, request, May::Read)?;
            let tag = tag?;
            let (register, entry) = state.node.receipt_entry(&tag)?;
            identity.check_register(&register)?;
            Ok((entry.index, true))
        }
        (None, None, Some(id), None) => {
            let identity = Identity::of(state, request, May::Read)?;
            let id = RedemptionId::parse(&id).ok_or_else(|| absent("there is no such redemption"))?;
            let view = state.node.redemption(id)?;
            identity.check_place(&view.place)?;
            Ok((view.made.entry.index, true))
        }
        (None, None, None, Some(name)) => {
            Identity::of(state, request, May::Examine)?;
            let name = CouponName::parse(&name).map_err(|_| absent("no such coupon was issued"))?;
            Ok((state.node.coupon_entry(name)?, true))
        }
        _ => Err(Problem::new(
            "query_invalid",
            "name one entry: ?index=…, ?receipt=…, ?redemption=… or ?coupon=…",
        )),
    }
}

/// Proves that the log at one size begins with the log at an earlier one.
///
/// As `application/cose` it is a COSE receipt (RFC 9942), whose signature is over
/// the later tree's root and does not bind the sizes: compare it with checkpoints.
#[utoipa::path(
    tag = "public",
    operation_id = "getConsistencyProof",
    params(Consistency),
    responses((status = 200, description = "The proof",
        content((ConsistencyBody = "application/json"), (Vec<u8> = "application/cose"))))
)]
#[get("/v1/log/proofs/consistency")]
pub async fn get_consistency(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Consistency { first, second } = query(&request)?;
    if second.is_some_and(|second| first > second) {
        return Err(Problem::new("query_invalid", "first is not above second"));
    }
    let proof = state.node.consistency(first, second)?;
    if wants_cose(&request) {
        let receipt = state.node.cose_consistency(&proof)?.ok_or_else(|| {
            let why = "there is no COSE receipt where first is 0 or equals second: ask for JSON";
            Problem::new("not_acceptable", why)
        })?;
        return Ok(negotiate::cose(StatusCode::OK, receipt));
    }
    let ConsistencyProof {
        first,
        first_root,
        second,
        second_root,
        path,
        checkpoint,
    } = proof;
    let body = ConsistencyBody {
        first,
        first_root: Base64Url::owned(&first_root.0),
        second,
        second_root: Base64Url::owned(&second_root.0),
        path: hashes(&path),
        checkpoint: checkpoint.to_string(),
    };
    Ok(negotiate::json(StatusCode::OK, &body))
}
