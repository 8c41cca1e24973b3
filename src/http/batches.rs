//! `/v1/batches` and the path of a coupon's tag into its batch: for the office
//! and auditors, who can so check a coupon against the log without the key that
//! signed it.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::log::checkpoint::parse_decimal;
use crate::node::{BatchView, TagPath};
use crate::primitives::CouponName;

use super::auth::{Identity, May};
use super::negotiate;
use super::problem::Problem;
use super::scalars::{Base64Url, CampaignRef, Money, NameOfCoupon, Time};
use super::{EntryBody, HttpState};

/// A batch as its entry has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
struct BatchBody {
    /// The batch's name: the index of its entry.
    batch: u64,
    #[schema(value_type = String)]
    campaign: CampaignRef,
    /// How many coupons it has.
    count: u32,
    /// Their own amount, if they have one.
    amount: Option<Money>,
    /// Their own start, if they have one.
    not_before: Option<Time>,
    /// Their end.
    not_after: Time,
    /// The Merkle root (RFC 6962) over the coupons' tags, in their order.
    tags_root: Base64Url<'static>,
    entry: EntryBody,
}

impl From<&BatchView> for BatchBody {
    fn from(view: &BatchView) -> Self {
        let batch = &view.batch;
        Self {
            batch: view.entry.index,
            campaign: CampaignRef(batch.campaign),
            count: batch.count,
            amount: batch.amount.map(Money),
            not_before: batch.not_before.map(Time),
            not_after: Time(batch.not_after),
            tags_root: Base64Url::owned(&batch.tags_root.0),
            entry: view.entry.into(),
        }
    }
}

/// The way from a coupon's tag to the root in its batch's entry. The leaf's hash
/// is SHA-256(0x00 || tag); RFC 9162, section 2.1.3.2, says how it is checked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TagPath)]
struct TagPathBody {
    /// The coupon.
    name: NameOfCoupon,
    /// Its number in the batch, from 0: the leaf's index in a tree of `count`.
    leaf: u32,
    /// Its tag, SHA-256("tallystick/coupon-tag/v1" || credential).
    tag: Base64Url<'static>,
    /// The hashes beside the way up, the lowest first.
    path: Vec<Base64Url<'static>>,
    batch: BatchBody,
}

impl From<TagPath> for TagPathBody {
    fn from(found: TagPath) -> Self {
        Self {
            name: NameOfCoupon(found.name),
            leaf: found.leaf,
            tag: Base64Url::owned(&found.tag.0),
            path: found.path.iter().map(|hash| Base64Url::owned(&hash.0)).collect(),
            batch: (&found.batch).into(),
        }
    }
}

/// A number in an address; what is none names nothing.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    parse_decimal(text).ok_or_else(|| Problem::new("not_found", "there is no such batch or coupon"))
}

/// One batch.
#[utoipa::path(
    tag = "office",
    operation_id = "getBatch",
    params(("batch" = u64, Path, description = "The batch: the index of its entry")),
    responses((status = 200, description = "The batch", body = BatchBody))
)]
#[get("/v1/batches/{batch}")]
pub async fn get_batch(
    state: Data<HttpState>,
    request: HttpRequest,
    batch: Path<String>,
) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Examine)?;
    let view = state.node.batch(number(&batch)?)?;
    Ok(negotiate::json(StatusCode::OK, &BatchBody::from(&view)))
}

/// The path of a coupon's tag into its batch, by its number there.
#[utoipa::path(
    tag = "office",
    operation_id = "getTagPath",
    params(
        ("batch" = u64, Path, description = "The batch: the index of its entry"),
        ("leaf" = u32, Path, description = "The coupon's number in the batch, from 0"),
    ),
    responses((status = 200, description = "The path", body = TagPathBody))
)]
#[get("/v1/batches/{batch}/tags/{leaf}")]
pub async fn get_tag_path(
    state: Data<HttpState>,
    request: HttpRequest,
    place: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Examine)?;
    let (batch, leaf) = (number(&place.0)?, number(&place.1)?);
    let found = state.node.tag_path(batch, leaf).await?;
    Ok(negotiate::json(StatusCode::OK, &TagPathBody::from(found)))
}

/// The path of a coupon's tag into its batch, by the coupon's name.
#[utoipa::path(
    tag = "office",
    operation_id = "getCouponPath",
    params(("name" = NameOfCoupon, Path, description = "The coupon's name, `{list}-{index}`")),
    responses((status = 200, description = "The path", body = TagPathBody))
)]
#[get("/v1/coupons/{name}/path")]
pub async fn get_coupon_path(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Examine)?;
    let absent = |_| {
        Problem::new(
            "not_found",
            "a coupon's name is its list and its index, as in 0-81264",
        )
    };
    let found = state
        .node
        .tag_path_of(CouponName::parse(&name).map_err(absent)?)
        .await?;
    Ok(negotiate::json(StatusCode::OK, &TagPathBody::from(found)))
}
