//! `/v1/coupons` and `/v1/validations`. Coupons cannot be fetched by any name:
//! they are bearer value.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::ledger::{Basket, BatchOrder, Quote, Refusal, check_line};
use crate::node::IssuedCoupon;
use crate::primitives::limits;

use super::auth::{Identity, May};
use super::negotiate::{self, wants_cose, wants_ndjson};
use super::partners::{self, Whose};
use super::problem::Problem;
use super::receipts::LineBody;
use super::request::{NDJSON, Post, query, read_json};
use super::scalars::{
    Base64Url, CampaignRef, CouponText, Letters, Money, NameOfCoupon, Time, maybe_objects, object,
};
use super::{EntryBody, HttpState};

/// Coupons as the office orders them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CouponOrder)]
struct CouponOrderBody {
    campaign: CampaignRef,
    /// How many; one if absent. More than 1,000 only as a stream.
    #[serde(default = "one", deserialize_with = "one_if_null")]
    #[schema(minimum = 1, maximum = 1_000_000, default = 1)]
    count: u32,
    /// An amount in place of the benefit's.
    amount: Option<Money>,
    /// A start in place of the campaign's.
    not_before: Option<Time>,
    /// An end in place of the campaign's.
    not_after: Option<Time>,
}

fn one() -> u32 {
    1
}

fn one_if_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Option::deserialize(deserializer).map(|count| count.unwrap_or_else(one))
}

/// One coupon: bearer value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Coupon)]
struct CouponBody<'a> {
    /// What it is called in office work.
    name: NameOfCoupon,
    /// The text of its QR code.
    qr: String,
    /// The signed coupon (COSE).
    credential: Base64Url<'a>,
}

/// A batch of coupons.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Coupons)]
struct CouponsBody<'a> {
    /// The batch's name: the index of its entry.
    batch: u64,
    coupons: Vec<CouponBody<'a>>,
    entry: EntryBody,
}

/// Where a stream of coupons is taken up again.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FromLine {
    /// With `Accept: application/x-ndjson`: how many lines the caller has already. The same request, with the same
    /// `Idempotency-Key` and body, then gives the lines that follow, byte for byte.
    #[param(minimum = 0, maximum = 1_000_000, default = 0, example = 0)]
    from: Option<u32>,
}

impl FromLine {
    /// The line to begin with, of a batch of `count`.
    fn read(request: &HttpRequest, streamed: bool, count: u32) -> Result<u32, Problem> {
        let asked: Self = query(request)?;
        let invalid = |why: String| Problem::new("query_invalid", why);
        match asked.from {
            Some(_) if !streamed => Err(invalid(format!(
                "`from` goes with a stream: send the header `Accept: {}`",
                NDJSON
            ))),
            Some(from) if from > count => Err(invalid(format!(
                "there are {count} lines, so none follows the first {from}"
            ))),
            from => Ok(from.unwrap_or(0)),
        }
    }
}

/// Issues coupons: in one answer up to 1,000, as a stream up to 1,000,000.
///
/// With `Accept: application/x-ndjson` each coupon is a line, a `Coupon` in JSON, in the order of the batch; `Location`
/// names the batch. A stream that broke off is taken up again with `?from=N`. The first line comes when all coupons
/// are issued, which takes some seconds for 100,000.
#[utoipa::path(
    tag = "office",
    operation_id = "issueCoupons",
    params(FromLine),
    request_body(content = CouponOrderBody, content_type = "application/json"),
    responses((status = 201,
        description = "The coupons; application/cose goes with a count of 1, application/x-ndjson has a coupon a line",
        headers(("Location" = String, description = "Where the batch can be read: `/v1/batches/{batch}`")),
        content((CouponsBody = "application/json"), (CouponBody = "application/x-ndjson"),
            (Vec<u8> = "application/cose"))))
)]
#[post("/v1/coupons")]
pub async fn post_coupons(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Administer)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: CouponOrderBody = post.json()?;
    let (as_cose, as_lines) = (wants_cose(&request), wants_ndjson(&request));
    if as_cose && body.count != 1 {
        return Err(Problem::new(
            "not_acceptable",
            format!("application/cose holds one coupon, not {}", body.count),
        ));
    }
    let from = FromLine::read(&request, as_lines, body.count)?;
    let order = BatchOrder {
        campaign: body.campaign.0,
        count: body.count,
        amount: body.amount.map(|amount| amount.0),
        not_before: body.not_before.map(|time| time.0),
        not_after: body.not_after.map(|time| time.0),
    };
    if as_lines {
        return stream(state, &post, order, from).await;
    }
    let mut issued = state.node.issue_coupons(&post.caller, order).await?;
    if as_cose {
        let coupon = issued.coupons.pop();
        let coupon = coupon.ok_or_else(|| Problem::internal(&"a batch without coupons"))?;
        return Ok(of_batch(
            negotiate::cose(StatusCode::CREATED, coupon.credential),
            issued.batch,
        ));
    }
    let answer = CouponsBody {
        batch: issued.batch,
        coupons: issued
            .coupons
            .iter()
            .map(|coupon| coupon_body(&state, coupon))
            .collect(),
        entry: issued.entry.into(),
    };
    Ok(of_batch(
        negotiate::json(StatusCode::CREATED, &answer),
        issued.batch,
    ))
}

/// A line for each coupon, written while the caller reads.
async fn stream(
    state: Data<HttpState>,
    post: &Post,
    order: BatchOrder,
    from: u32,
) -> Result<HttpResponse, Problem> {
    let node = state.node.clone();
    let lines = move |coupons: &mut dyn Iterator<Item = IssuedCoupon>| {
        let mut lines = Vec::new();
        for coupon in coupons {
            let body = coupon_body(&state, &coupon);
            serde_json::to_writer(&mut lines, &body).expect("answers hold nothing that JSON cannot");
            lines.push(b'\n');
        }
        Bytes::from(lines)
    };
    let coupons = node.stream_coupons(&post.caller, order, from, lines).await?;
    let batch = coupons.entry().index;
    // An error ends the connection in the middle: the caller goes on from the line it has.
    let pieces = futures_util::stream::unfold(coupons, |mut coupons| async {
        let piece = coupons.next().await?;
        if let Err(error) = &piece {
            tracing::error!(%error, "a stream of coupons broke off");
        }
        Some((piece, coupons))
    });
    let response = HttpResponse::Created().content_type(NDJSON).streaming(pieces);
    Ok(of_batch(response, batch))
}

fn coupon_body<'a>(state: &HttpState, coupon: &'a IssuedCoupon) -> CouponBody<'a> {
    CouponBody {
        name: NameOfCoupon(coupon.name),
        qr: state.qr(&coupon.credential),
        credential: (&coupon.credential).into(),
    }
}

fn of_batch(response: HttpResponse, batch: u64) -> HttpResponse {
    negotiate::located(response, &format!("/v1/batches/{batch}"))
}

/// What the customer buys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Basket)]
pub(super) struct BasketBody {
    /// What it comes to.
    total: Money,
    currency: Letters,
    /// Its lines; no terms look at them yet, but what is wrong in them is told.
    #[schema(max_items = 1000)]
    #[serde(default, deserialize_with = "maybe_objects")]
    lines: Option<Vec<LineBody>>,
}

impl BasketBody {
    pub(super) fn into_basket(self) -> Result<Basket, Problem> {
        let lines = self.lines.unwrap_or_default();
        let refused = |why: String| Problem::new("body_invalid", format!("basket.lines: {why}"));
        if lines.len() > limits::RECEIPT_LINES_MAX {
            return Err(refused(format!(
                "at most {} are allowed",
                limits::RECEIPT_LINES_MAX
            )));
        }
        for line in lines {
            check_line(&line.into()).map_err(|refusal| refused(refusal.to_string()))?;
        }
        Ok(Basket {
            total: self.total.0,
            currency: self.currency.0,
        })
    }
}

/// A coupon and the basket it is meant for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Validation)]
struct ValidationBody {
    coupon: CouponText,
    #[serde(deserialize_with = "object")]
    basket: BasketBody,
    /// How much of a stored value.
    amount: Option<Money>,
}

/// Whether the coupon would work. `code`, `detail` and the rest only if not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValidationAnswer)]
#[serde(untagged)]
enum ValidationAnswer {
    /// It would.
    Valid {
        /// `true`.
        valid: bool,
        /// What it gives.
        amount: Money,
        /// Uses left afterwards; null where they are not limited.
        remaining_uses: Option<u32>,
        /// Value left afterwards; null unless it is a stored value.
        remaining_value: Option<Money>,
    },
    /// It would be refused.
    Refused {
        /// `false`.
        valid: bool,
        /// The code that a redemption would get.
        code: &'static str,
        /// This case, for people.
        detail: String,
        /// What to do.
        action: &'static str,
        /// What else is to be said, such as `used_at` and `used_register`.
        #[serde(flatten)]
        #[schema(value_type = Object)]
        more: Map<String, Value>,
    },
}

impl From<Quote> for ValidationAnswer {
    fn from(quote: Quote) -> Self {
        Self::Valid {
            valid: true,
            amount: Money(quote.amount),
            remaining_uses: quote.remaining_uses,
            remaining_value: quote.remaining_value.map(Money),
        }
    }
}

impl From<Problem> for ValidationAnswer {
    fn from(problem: Problem) -> Self {
        let row = problem.row();
        let more = problem
            .members()
            .map(|(name, value)| (name.to_owned(), value.clone()));
        Self::Refused {
            valid: false,
            code: row.code,
            detail: problem.detail().into_owned(),
            action: row.action,
            more: more.collect(),
        }
    }
}

/// Would this coupon work? Changes nothing.
#[utoipa::path(
    tag = "tills",
    operation_id = "validateCoupon",
    request_body(content = ValidationBody, content_type = "application/json"),
    responses((status = 200, description = "Whether it would, and what it would give", body = ValidationAnswer))
)]
#[post("/v1/validations")]
pub async fn post_validation(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Sell)?;
    let body: ValidationBody = read_json(&state, &request, payload).await?;
    let amount = body.amount.map(|amount| amount.0);
    let basket = body.basket.into_basket()?;
    let answer = match partners::read_coupon(&state, &body.coupon) {
        Ok(Whose::Own(coupon)) => {
            let quote = state.node.validate(&coupon, basket, amount).await;
            quote.map(ValidationAnswer::from).map_err(Problem::from)
        }
        Ok(Whose::Partner(coupon)) => {
            let redeemer = partners::redeemer(&state).ok_or(Refusal::CouponForeign)?;
            let quote = redeemer.validate(&coupon, basket, amount).await;
            quote.map(ValidationAnswer::from).map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let answer = answer.or_else(|problem| match problem.row().status {
        422 => Ok(problem.into()),
        _ => Err(problem),
    })?;
    Ok(negotiate::json(StatusCode::OK, &answer))
}
